"""The stage that compresses a finalist: which rungs are tried, what ships, what the waterfall says; on a tiny trained net."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from danlu import TrainConfig, create, fit, load_data
from danlu.codec.unpack import unpack_model
from danlu.data.feed import batches
from danlu.deploy import export_onnx, predict
from danlu.runs import Run
from danlu.search import Budget
from danlu.search.clock import Clock
from danlu.search.context import Search
from danlu.search.finish import choose, steps
from danlu.search.ladder import LADDER
from danlu.search.measure import Cost, count
from danlu.search.squeeze import Squeeze, squeeze
from danlu.search.state import State
from danlu.search.trainer import Trainer, keep

SOURCE = load_data("digits")
RECIPE = "lenet_300_100(size=8, width=0.5)"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A baseline that was trained for a few epochs."""
    net = create(RECIPE, num_classes=10, in_channels=1, seed=0)
    return fit(net, SOURCE, TrainConfig(epochs=6, optimizer="adamw", lr=3e-3, precision="fp32", memory_format="nchw"))


@pytest.fixture
def searching(trained: Any, tmp_path: Path) -> Iterator[Any]:
    """`searching(seconds, budget, format=..., edits=...)`: a search whose baseline is there and which has no other candidate."""
    run = Run(tmp_path / "run")

    def make(seconds: float, budget: Budget, **how: Any) -> tuple[Search, Trainer]:
        state = State.open(run.path / "state.json")
        clock = Clock(seconds, state.elapsed)
        search = Search(SOURCE, budget, run, clock, state, 0, "cpu", 1, lambda text: None, None, **how)
        if not state.baseline:
            keep(trained, search.baseline_home, SOURCE)
            file = export_onnx(trained.model, search.baseline_file, input=SOURCE.input, classes=SOURCE.classes, recipe=RECIPE)
            macs, params = count(trained.model, SOURCE.input)
            cost = Cost("fp32", str(file), file.stat().st_size, 0.01, 0.01, 0.01, 1.0, macs, params)
            accuracy = float((predict(file, SOURCE.val).argmax(1) == SOURCE.val.labels).mean())
            state.baseline = {"recipe": RECIPE, "ready": True, "accuracy": accuracy, "cost": cost.to_json(), "speed": 1e4}
            state.phase = "choose"
            search.save()
        config = TrainConfig(seconds=1.0, precision="fp32", memory_format="nchw")
        trainer = Trainer(SOURCE, trained.model, SOURCE.input, config, search.folder / "candidates", "cpu", 0, None, search.log)
        return search, trainer

    yield make
    run.close()


def logits_of(model: nn.Module) -> np.ndarray:
    with torch.no_grad():
        return np.concatenate([model(x).numpy() for x, _ in batches(SOURCE.val, SOURCE.input, 512)])


def test_a_limit_on_size_is_met_by_the_danlu_file(searching: Any) -> None:
    search, trainer = searching(12.0, Budget(max_size="1/12", max_drop=0.9), format="danlu")
    squeeze(search, trainer, reserve=2.0)
    chosen = choose(search, trainer)
    file, onnx = search.folder / "model.danlu", search.folder / "model.onnx"
    assert chosen.pick.cost.precision == "danlu"
    assert chosen.pick.cost.size_bytes == file.stat().st_size <= search.baseline_cost.size_bytes / 12
    np.testing.assert_allclose(predict(onnx, SOURCE.val), logits_of(unpack_model(file).model), atol=1e-4)
    assert chosen.pick.accuracy == (predict(onnx, SOURCE.val).argmax(1) == SOURCE.val.labels).mean()
    # The waterfall: every step in bytes of a file that was there, or said to be computed; coding is the last of them.
    baseline = {"recipe": RECIPE, "val_accuracy": search.state.baseline["accuracy"]}
    rows = steps(search, chosen, baseline, {"recipe": chosen.pick.candidate.proposal.recipe}, False)
    assert [row["name"] for row in rows] == ["baseline", "sparsity", "sharing", "coding"]
    sizes = [row["size_bytes"] for row in rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == file.stat().st_size
    assert rows[2]["note"].startswith("computed")
    assert all(row["latency_ms"] > 0 and 0 <= row["accuracy"] <= 1 for row in rows)
    # Also the net as it is was packed; the state that was written holds everything.
    assert [search.state.by_id(i).chain == "" for i in search.state.live] == [True, False]
    search.save()
    again = State.open(search.folder / "state.json")
    assert json.dumps([c.to_json() for c in again.candidates]) == json.dumps([c.to_json() for c in search.state.candidates])


def test_an_interrupted_stage_repeats_no_step(searching: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {"format": "danlu", "edits": "prune(sparsity=0.8) | share(bits=4)"}
    search, trainer = searching(14.0, Budget(max_drop=0.3), **how)
    begun: list[str] = []

    class Killed(Exception):
        pass

    original = Squeeze.rows

    def dies(self: Squeeze, k: int, kind: str, *rest: Any) -> Any:
        begun.append(kind)
        if kind == "share" and begun.count("share") == 1:
            raise Killed
        return original(self, k, kind, *rest)

    monkeypatch.setattr(Squeeze, "rows", dies)
    with pytest.raises(Killed):
        squeeze(search, trainer, reserve=2.0)
    search, trainer = searching(14.0, Budget(max_drop=0.3), **how)
    squeeze(search, trainer, reserve=2.0)
    assert begun == ["prune", "share", "share"]
    chosen = choose(search, trainer)
    assert chosen.pick.candidate.proposal.recipe == f"{RECIPE} | prune(sparsity=0.8) | share(bits=4)"
    assert len(search.state.live) == 1  # a chain of the user's own is what ships


def test_a_chain_of_the_users_own_ships_as_onnx_too(searching: Any) -> None:
    search, trainer = searching(10.0, Budget(max_drop=0.3), edits="low_rank(energy=0.9)")
    squeeze(search, trainer, reserve=2.0)
    chosen = choose(search, trainer)
    assert chosen.pick.candidate.proposal.recipe == f"{RECIPE} | low_rank(energy=0.9)"
    assert chosen.pick.cost.precision in ("fp32", "int8")
    assert (search.folder / "model.onnx").stat().st_size == chosen.pick.cost.size_bytes < search.baseline_cost.size_bytes
    assert not (search.folder / "model.danlu").exists()


def attempts_of(budget: Budget, sizes: list[int], accuracies: list[float], seconds: float = 1e4) -> list[int]:
    """The rungs that are tried when rung k has this file and this accuracy, and every attempt costs 100 s."""
    tried: list[int] = []
    left = [seconds]

    class Fake(Squeeze):
        left = property(lambda self: left[0])  # type: ignore[assignment]

        def __init__(self) -> None:
            limits = SimpleNamespace(drop=budget.max_drop)
            self.search = SimpleNamespace(
                state=SimpleNamespace(baseline={"accuracy": 0.9}), limits=limits, log=lambda text: None, clock=Clock(seconds)
            )
            self.overhead = 1.0

        def predicted(self, rung: int) -> int:
            return sizes[rung]

        def tried(self, rung: int) -> None:
            return None

        def attempt(self, chain: str, seconds: float, start: Path | None = None) -> Any:
            rung = [str(r) for r in LADDER].index(chain)
            tried.append(rung)
            left[0] -= 100
            return SimpleNamespace(costs=[SimpleNamespace(size_bytes=sizes[rung])], accuracy={"danlu": accuracies[rung]})

    fake = Fake()
    if budget.max_size is None:
        fake.to_accuracy()
    else:
        fake.to_size(float(budget.max_size))
    return tried


SIZES = [400, 240, 170, 140, 90, 60, 30]
ACCURACIES = [0.9, 0.9, 0.9, 0.895, 0.89, 0.8, 0.5]


@pytest.mark.parametrize(
    ("budget", "rungs"),
    [
        (Budget(max_size=150), [3]),  # the mildest that fits
        (Budget(max_size=10_000), [0]),
        (Budget(max_size=10), [6]),  # none fits: the strongest is the closest
        (Budget(max_size=140.5), [4]),  # 140 is within, but not by the margin
        (Budget(max_drop=0.011), [3, 5, 4]),  # bisection: 3 keeps it, 5 does not, 4 does
        (Budget(max_drop=0.0), [3, 1, 2]),
    ],
)
def test_the_rungs_that_are_tried(budget: Budget, rungs: list[int]) -> None:
    assert attempts_of(budget, SIZES, ACCURACIES) == rungs


def test_without_time_for_more_there_is_one_attempt() -> None:
    assert attempts_of(Budget(max_drop=0.011), SIZES, ACCURACIES, seconds=20.0) == [3]
