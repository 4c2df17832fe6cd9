"""What every registered schedule promises: a factor from 0 to 1 for any length, the same shape at any length, errors in words."""

import inspect
from pathlib import Path

import pytest

from danlu.errors import UsageError
from danlu.registry import Entry
from danlu.train import TrainConfig
from danlu.train.schedules import CONTEXT, factor, never_falls, schedules

OPTIONS = {"period": 0.3, "gamma": 0.1, "milestones": (0.5, 0.75), "power": 1.0}
NAMES = schedules.names()
DOCS = Path(__file__).parents[2] / "docs" / "training.md"


@pytest.mark.parametrize("entry", schedules, ids=lambda entry: entry.name)
def test_says_what_it_is(entry: Entry) -> None:
    module = inspect.getmodule(entry.build)
    assert module is not None
    assert "Source" in (module.__doc__ or "")
    assert entry.summary.endswith(".")
    assert entry.facts["paper"]
    assert f"| `{entry.name}` |" in DOCS.read_text()
    for option, parameter in entry.options().items():
        own = entry.facts.get("own")
        assert (parameter.default is not parameter.empty) if own else option in CONTEXT


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("total", [1, 2, 7, 100, 1001])
def test_stays_within_one_and_gets_there(name: str, total: int) -> None:
    rates = [factor(name, step, total, warmup=0.1, **OPTIONS) for step in range(total)]
    assert all(0 <= rate <= 1 for rate in rates), rates
    if total >= 100:
        assert max(rates) > 0.8  # exp_range has fallen by a fifth at its first top
        assert schedules[name].facts.get("warms_up") or rates[max(total // 10 - 1, 0)] == 1


@pytest.mark.parametrize("name", NAMES)
def test_keeps_its_shape_at_any_length(name: str) -> None:
    # Shares of the training: a tenfold length has the same rates ten times as late, but for the rounding of edges.
    short = [factor(name, step, 400, **OPTIONS) for step in range(400)]
    long = [factor(name, 10 * step, 4000, **OPTIONS) for step in range(400)]
    differing = sum(abs(a - b) > 0.02 for a, b in zip(short, long, strict=True))
    assert differing <= 4


@pytest.mark.parametrize("name", NAMES)
def test_falls_unless_it_is_constant(name: str) -> None:
    said = never_falls(name, 1000, warmup=0.1, **OPTIONS)
    assert (said is not None) == (name in ("constant", "fixed"))


@pytest.mark.parametrize(
    "text",
    [
        "step(period=0)", "step(period=-3)", "step(gamma=2)", "multistep(milestones=(0.5, 0))", "exp(gamma=1.1)", "inv(gamma=-1)",
        "inv(power=0)", "poly(power=0)", "sigmoid(stepsize=0)", "triangular(low=2)", "triangular(low=-0.1)",
        "triangular2(stepsize=0)", "exp_range(gamma=2)", "sgdr(t_0=0)", "sgdr(t_mult=0.5)", "sgdr(low=-1)",
        "exponential(gamma=3)",
    ],
)  # fmt: skip
def test_bad_options_are_told_before_a_training(text: str) -> None:
    name, _, option = text.removesuffix(")").partition("(")
    with pytest.raises(UsageError, match=f"{name}: {option.partition('=')[0]} must be"):
        TrainConfig(steps=10, schedule=text)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_options_and_names(name: str) -> None:
    with pytest.raises(UsageError, match="unknown option"):
        TrainConfig(steps=10, schedule=f"{name}(no=1)")
    with pytest.raises(UsageError, match="did you mean"):
        TrainConfig(steps=10, schedule=f"{name}x")
