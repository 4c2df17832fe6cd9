"""The interleaved measurement, on a clock of its own: what it reports can be computed by hand."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from danlu.data.spec import Input
from danlu.deploy import bench, export_onnx, interleave, session
from danlu.deploy.bench import runner
from danlu.errors import UsageError


class Clock:
    """Stands still except when a call takes its time; `drift` makes the whole machine slower after every call."""

    def __init__(self, drift: float = 0.0) -> None:
        self.ns = 0.0
        self.pace = 1.0
        self.drift = drift
        self.log: list[str] = []

    def perf_counter_ns(self) -> int:
        return round(self.ns)

    def perf_counter(self) -> float:
        return self.ns / 1e9

    def call(self, name: str, ms: float) -> Callable[[], None]:
        def run() -> None:
            self.log.append(name)
            self.ns += ms * 1e6 * self.pace
            self.pace += self.drift

        return run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(sys.modules["danlu.deploy.bench"], "time", made)  # danlu.deploy.bench itself is the function
    return made


def test_times_are_those_of_one_call(clock: Clock) -> None:
    times = interleave([clock.call("a", 1.0), clock.call("b", 2.5), clock.call("c", 0.01)], repeats=6, warmup=2)
    assert times.shape == (6, 3)
    np.testing.assert_allclose(times, np.tile([1.0, 2.5, 0.01], (6, 1)), rtol=1e-3)


def test_every_round_times_each_once_after_an_untimed_run(clock: Clock) -> None:
    interleave([clock.call("a", 1.0), clock.call("b", 2.0)], repeats=50, warmup=3)
    start, rounds = clock.log[:8], clock.log[8:]
    assert start == ["a", "b"] * 3 + ["a", "b"]  # warm-up, and one run to see how long it takes
    pairs = ["".join(rounds[i : i + 4]) for i in range(0, len(rounds), 4)]
    assert len(pairs) == 50
    assert set(pairs) == {"aabb", "bbaa"}  # the order changes
    assert 10 < pairs.count("aabb") < 40


def test_calls_below_the_grain_of_the_clock_are_repeated(clock: Clock) -> None:
    interleave([clock.call("slow", 1.0), clock.call("fast", 0.01)], repeats=5, warmup=0)
    assert clock.log.count("slow") == 1 + 5 * 2
    assert clock.log.count("fast") == 1 + 5 * (1 + 20)  # 20 x 0.01 ms a sample


def test_it_ends_when_the_time_is_over_but_not_before_five_rounds(clock: Clock) -> None:
    assert len(interleave([clock.call("a", 100.0)], repeats=1000, warmup=0, seconds=2.0)) == 10  # 0.1 + 10 * 0.2 > 2
    assert len(interleave([clock.call("a", 100.0)], repeats=1000, warmup=0, seconds=0.0)) == 5
    assert len(interleave([clock.call("a", 100.0)], repeats=3, warmup=0, seconds=0.0)) == 3


def test_a_machine_that_slows_down_slows_all_alike(clock: Clock) -> None:
    clock.drift = 0.002
    times = interleave([clock.call("a", 1.0), clock.call("b", 3.0)], repeats=200, warmup=0)
    ratio = times[:, 1] / times[:, 0]
    assert times[-1, 0] > 1.5 * times[0, 0]
    np.testing.assert_allclose(ratio, 3.0, rtol=0.01)


@pytest.mark.parametrize(("warmup", "repeats"), [(-1, 5), (0, 0)])
def test_impossible_counts_are_refused(warmup: int, repeats: int) -> None:
    with pytest.raises(UsageError, match="warmup must be at least 0 and repeats at least 1"):
        interleave([lambda: None], warmup=warmup, repeats=repeats)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A small net and one with 64 times the work."""
    folder = tmp_path_factory.mktemp("bench")
    made = []
    for width in (4, 32):
        net = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1), nn.AdaptiveAvgPool2d(1),
                            nn.Flatten(), nn.Linear(width, 2))  # fmt: skip
        input = Input((28, 28), 1, (0.5,), (0.5,))
        made.append(export_onnx(net, folder / f"{width}.onnx", input=input, classes=["a", "b"], check=False))
    return made


def test_files_are_timed_against_the_first(files: list[Path]) -> None:
    small, large = bench(files, repeats=15, warmup=2)
    assert [small.file, large.file] == [str(path) for path in files]
    assert [small.size_bytes, large.size_bytes] == [path.stat().st_size for path in files]
    assert (small.ratio, small.ratio_p10, small.ratio_p90) == (1, 1, 1)
    assert small.rounds == large.rounds == 15
    for timing in (small, large):
        assert 0 < timing.p10_ms <= timing.median_ms <= timing.p90_ms
        assert timing.ratio_p10 <= timing.ratio <= timing.ratio_p90
    assert set(small.to_json()) == {
        "file", "size_bytes", "median_ms", "p10_ms", "p90_ms", "ratio", "ratio_p10", "ratio_p90", "rounds"
    }  # fmt: skip


def test_the_time_limit_covers_the_whole_benchmark(files: list[Path]) -> None:
    assert bench(files, repeats=10**9, seconds=0.05)[0].rounds >= 5


def test_no_files_are_refused() -> None:
    with pytest.raises(UsageError, match="at least one ONNX file"):
        bench([])


def test_an_input_of_open_size_is_refused(tmp_path: Path) -> None:
    source = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, "height", 8])
    target = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3, "height", 8])
    graph = helper.make_graph([helper.make_node("Relu", ["image"], ["y"])], "main", [source], [target])
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), str(tmp_path / "open.onnx"))
    with pytest.raises(UsageError, match=r"open\.onnx: cannot make an input for 'image'"):
        bench([tmp_path / "open.onnx"])


def test_inputs_are_random_but_the_same_each_time(files: list[Path]) -> None:
    first, second, other = (runner(session(files[0]), files[0], seed)() for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    assert torch.tensor(np.array(first)).isfinite().all()
