"""The clock of a search and the goals of its trainings, on a simulated clock: what an interruption must not change."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from danlu.search import stages
from danlu.search.candidate import Candidate
from danlu.search.clock import Clock
from danlu.search.measure import Cost
from danlu.search.space import Proposal
from danlu.search.state import State


class Fake:
    """A clock that moves when it is told to."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Fake:
    clock = Fake()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def test_time_spent_before_an_interruption_counts(fake: Fake) -> None:
    clock = Clock(60.0, spent=20.0, started=95.0)
    assert clock.elapsed == 25.0
    fake.now += 10
    assert (clock.elapsed, clock.left) == (35.0, 25.0)


def test_a_resumed_stage_adds_up(fake: Fake) -> None:
    clock = Clock(60.0)
    clock.stage("baseline", 5.0)
    clock.stage("measure", 1.0)
    clock.stage("baseline", 2.0)
    assert clock.stages == [{"name": "baseline", "seconds": 7.0}, {"name": "measure", "seconds": 1.0}]


class Killed(Exception):
    """The process ended here."""


class FakeTrainer:
    """Trains at the pace of the fake clock; dies once, `dies_after` seconds into a training, as an interruption would."""

    def __init__(self, fake: Fake, beat: object, dies_after: float | None) -> None:
        self.fake, self.beat, self.dies_after = fake, beat, dies_after
        self.trained: dict[int, float] = {}
        self.goals: list[float] = []

    def train(self, candidate: Candidate, seconds: float) -> SimpleNamespace:
        self.goals.append(seconds)
        had = self.trained.get(candidate.id, candidate.seconds)
        now = min(seconds, had + (self.dies_after or seconds))
        self.fake.now += now - had
        self.trained[candidate.id] = now
        self.beat()  # type: ignore[operator]
        if self.dies_after is not None:
            self.dies_after = None
            raise Killed
        return SimpleNamespace(best_accuracy=0.9)


def search_at(folder: Path, fake: Fake, total: float) -> SimpleNamespace:
    """The part of a search that the finalists' stage uses, from what lies in `folder`."""
    state = State.open(folder / "state.json")
    clock = Clock(total, state.elapsed)
    search = SimpleNamespace(state=state, clock=clock, folder=folder, seed=0, log=lambda text: None)

    def save() -> None:
        state.elapsed = clock.elapsed
        state.save()

    search.save = save
    return search


def test_an_interrupted_finalist_gets_the_rest_of_its_time_and_no_more(tmp_path: Path, fake: Fake) -> None:
    first = search_at(tmp_path, fake, 100.0)
    cost = Cost("fp32", "f.onnx", 1, 1.0, 1.0, 1.0, 1.0, 1, 1)
    finalist = Candidate(1, Proposal("resnet8", (8, 8), "f"), [cost], rungs=[{"seconds": 4.0, "accuracy": 0.5}])
    first.state.candidates, first.state.live = [finalist], [1]
    fake.now += 10
    trainer = FakeTrainer(fake, first.save, dies_after=30.0)
    with pytest.raises(Killed):
        stages.train_finalists(first, trainer, reserve=20.0)  # type: ignore[arg-type]

    fake.now += 1000  # nobody is there for a while
    second = search_at(tmp_path, fake, 100.0)
    trainer.beat = second.save
    stages.train_finalists(second, trainer, reserve=20.0)  # type: ignore[arg-type]
    # 100 s, of which 10 had passed and 20 are kept: 70 for the finalist on top of its rung, interrupted or not.
    assert trainer.goals == [74.0, 74.0]
    assert trainer.trained == {1: 74.0}
    assert second.clock.left == pytest.approx(20.0)
    assert second.state.candidates[0].status == "trained"
