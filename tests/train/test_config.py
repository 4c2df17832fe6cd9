"""Settings: every mistake at once, and the way there and back."""

import pytest

from danlu.errors import UsageError
from danlu.train import TrainConfig


def test_all_errors_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        TrainConfig(
            epochs=3, seconds=5.0, batch_size=0, optimizer="adamm", schedule="cosin", lr=-1, momentum=1.0, precision="fp16",
            milestones=(0.7, 0.5), alpha=2, augment="flop", gamma=0,
        )  # fmt: skip
    text = str(caught.value)
    assert text.startswith("11 training settings are wrong")
    for part in (
        "exactly one of epochs, seconds and steps must be set, got epochs=3, seconds=5.0", "batch_size must be", "milestones",
        "did you mean adam", "did you mean cosine", "lr must be above 0", "momentum must be from 0 and below 1, got 1.0",
        "precision 'fp16'", "alpha must be from 0 to 1", "augmentation 'flop'", "gamma",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"epochs": 0}, {"epochs": 1.5}, {"epochs": True}, {"seconds": 0}, {"seconds": float("nan")},
        {"seconds": float("inf")}, {"steps": "10"}, {"epochs": 1, "seed": -1}, {"epochs": 1, "ema": 1},
        {"epochs": 1, "patience": -1},
        {"epochs": 1, "milestones": [0.5]}, {"epochs": 1, "milestones": ()}, {"epochs": 1, "temperature": 0},
    ],
)  # fmt: skip
def test_refused(settings: dict) -> None:
    with pytest.raises(UsageError, match="a training setting is wrong"):
        TrainConfig(**settings)


def test_json_and_back() -> None:
    config = TrainConfig(seconds=2.5, milestones=(0.1, 0.2), lr=0.3, optimizer="adamw")
    assert TrainConfig.from_json(config.to_json()) == config
    assert config.budget == {"seconds": 2.5}
    with pytest.raises(UsageError, match="did you mean momentum"):
        TrainConfig.from_json({"epochs": 1, "momentun": 0.5})
