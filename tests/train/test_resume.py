"""Interrupted trainings end with the weights of those that were not."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.edits import edit
from danlu.errors import UsageError
from danlu.train import Fit, Interrupted, TrainConfig, fit
from danlu.train import plan as planning
from danlu.train.checkpoint import Checkpoints, Tensors

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]

SETTINGS = {"epochs": 8, "ema": 0.9, "lr": 0.02, "label_smoothing": 0.1, "clip": 1.0}


@pytest.fixture(autouse=True)
def _checkpoint_at_every_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))


def weights(done: Fit) -> dict[str, torch.Tensor]:
    return done.model.state_dict()


def same(a: Fit, b: Fit) -> bool:
    return all(torch.equal(tensor, weights(b)[name]) for name, tensor in weights(a).items())


def losses(done: Fit) -> list[tuple[float, ...]]:
    return [(row["step"], row["train_loss"], row["train_accuracy"], row["val_loss"], row["lr"]) for row in done.history]


def stop_after(steps: int) -> Callable[[], bool]:
    made = iter(range(1, 1_000_000))
    return lambda: next(made) >= steps


def test_checkpoints_that_take_their_time_become_rare(
    few: Source, net: Make, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[int] = []
    write = Checkpoints.write

    def counted(self: Checkpoints, tensors: Tensors, facts: dict[str, Any]) -> None:
        saved.append(facts["step"])
        write(self, tensors, facts)

    monkeypatch.setattr(Checkpoints, "write", counted)
    often = fit(net(), few, config(epochs=8), run=tmp_path / "often")
    assert saved == [0, 5, 10, 15, 20, 25, 30, 35, 40]
    saved.clear()
    monkeypatch.setattr(planning, "SAVE_SHARE", 1e-9)
    assert same(fit(net(), few, config(epochs=8), run=tmp_path / "seldom"), often)
    assert saved == [0, 5, 40]  # the one at 5 is timed; the last is the end


def test_schedules_of_encodings_are_resumed(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    settings = config(**SETTINGS | {"ema": 0.0, "epochs": 16}, optimizer="adamw")

    def encoded() -> nn.Module:
        chain = "prune(sparsity=0.5, schedule='gradual', ramp=0.4, skip=['{0}']) | share(bits=2, rate=0.05, skip=[{1}])"
        model = net()
        first, *others = [name for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        return edit(model, chain.format(first, ", ".join(map(repr, others)))).model

    straight = fit(encoded(), few, settings)
    for steps in (7, 24):  # both between two assignments of shared values, the first while the sparsity rises
        with pytest.raises(Interrupted):
            fit(encoded(), few, settings, run=tmp_path, resume=True, stop=stop_after(steps))
    resumed = fit(encoded(), few, settings, run=tmp_path, resume=True)
    assert same(resumed, straight)
    assert losses(resumed) == losses(straight)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_stopped_anywhere_and_resumed(few: Source, net: Make, config: Config, tmp_path: Path, optimizer: str) -> None:
    settings = config(**SETTINGS, optimizer=optimizer)
    straight = fit(net(dropout=0.3), few, settings)
    for steps in (3, 9):  # stopped in the middle of an epoch, twice
        with pytest.raises(Interrupted, match="its state is in") as caught:
            fit(net(dropout=0.3), few, settings, run=tmp_path, resume=True, stop=stop_after(steps))
        assert caught.value.exit_code == 130
    said: list[str] = []
    resumed = fit(net(dropout=0.3), few, settings, run=tmp_path, resume=True, log=said.append)
    assert "resumed at step 12 of 40" in said
    assert not any("images/s" in text for text in said)  # the decision of autotune is in the checkpoint
    assert same(resumed, straight)
    assert losses(resumed) == losses(straight)
    assert resumed.seconds > resumed.history[0]["seconds"]


def test_resuming_a_finished_training_gives_it_back(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    done = fit(net(), few, config(epochs=2), run=tmp_path)
    rows: list[dict] = []
    again = fit(net(1), few, config(epochs=2), run=tmp_path, resume=True, on_epoch=rows.append)
    assert same(again, done)
    assert rows == []
    assert again.best_accuracy == done.best_accuracy


def test_without_resume_it_starts_anew(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    fit(net(), few, config(epochs=2), run=tmp_path)
    done = fit(net(), few, config(epochs=2), run=tmp_path)
    assert len(done.history) == 2


def test_corrupt_checkpoint_falls_back_and_still_ends_the_same(
    few: Source, net: Make, config: Config, tmp_path: Path
) -> None:  # fmt: skip
    straight = fit(net(), few, config(**SETTINGS))
    with pytest.raises(Interrupted):
        fit(net(), few, config(**SETTINGS), run=tmp_path, stop=stop_after(17))
    last = tmp_path / "checkpoints" / "last.safetensors"
    data = bytearray(last.read_bytes())
    data[-5] ^= 1
    last.write_bytes(bytes(data))
    said: list[str] = []
    resumed = fit(net(), few, config(**SETTINGS), run=tmp_path, resume=True, log=said.append)
    assert "last.safetensors cannot be used" in said[0]
    assert "resumed at step 15 of 40" in said
    assert same(resumed, straight)


def test_a_larger_budget_extends(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    first = fit(net(), few, config(epochs=2, warmup=0, lr=0.02), run=tmp_path)
    second = fit(net(), few, config(epochs=6, warmup=0, lr=0.02), run=tmp_path, resume=True)
    assert second.history[:2] == first.history
    assert [row["epoch"] for row in second.history] == [1, 2, 3, 4, 5, 6]
    assert second.plan.changes == ((10, 30),)
    # The cosine goes on at its place in the new length: step 14 of 30 at the end of the third epoch.
    assert second.history[2]["lr"] == pytest.approx(0.02 * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * 14 / 30)).item()))
    assert second.best_accuracy >= first.best_accuracy


def test_more_seconds_extend(few: Source, net: Make, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(planning, "perf_counter", lambda: now[0])

    def on_step(step: int, total: int) -> None:
        now[0] += 0.1

    first = fit(net(), few, config(seconds=3.0), run=tmp_path, on_step=on_step)
    now[0] += 1000  # a pause between sessions does not count
    second = fit(net(), few, config(seconds=6.0), run=tmp_path, resume=True, on_step=on_step)
    assert first.steps == pytest.approx(30, abs=2)
    assert second.steps == pytest.approx(60, abs=3)
    assert second.seconds == pytest.approx(6.0, rel=0.05)


def test_a_smaller_budget_ends_at_once(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    fit(net(), few, config(epochs=3), run=tmp_path)
    assert fit(net(), few, config(epochs=1), run=tmp_path, resume=True).steps == 15
    with pytest.raises(Interrupted):
        fit(net(), few, config(epochs=3), run=tmp_path / "b", stop=stop_after(2))
    cut = fit(net(), few, config(steps=1), run=tmp_path / "b", resume=True)
    assert cut.steps == 2
    assert len(cut.history) == 1


def test_what_a_resumed_training_cannot_change(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    fit(net(), few, config(epochs=1), run=tmp_path)
    again = {"run": tmp_path, "resume": True}
    with pytest.raises(UsageError, match="batch_size was 32 and is now 16; seed was 0 and is now 2"):
        fit(net(), few, config(epochs=2, batch_size=16, seed=2), **again)
    with pytest.raises(UsageError, match="precision was 'fp32' and is now 'bf16'"):
        fit(net(), few, config(epochs=2, precision="bf16"), **again)
    with pytest.raises(UsageError, match="other training images"):
        fit(net(), few.subset(100), config(epochs=2), **again)
    with pytest.raises(UsageError, match="does not fit this network"):
        fit(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), few, config(epochs=2), **again)
    said: list[str] = []
    fit(net(), few, config(epochs=2, lr=0.001), **again, log=said.append)
    assert "changed since the checkpoint: lr None -> 0.001" in said


def test_an_interrupted_nan_is_not_stored(few: Source, net: Make, config: Config, tmp_path: Path) -> None:
    """Stopped after the weights were spoilt and before anybody noticed: the stored state is the last good one."""
    with pytest.raises(Interrupted):
        fit(net(), few, config(epochs=3, lr=1e30, warmup=0), run=tmp_path, stop=stop_after(3))
    done = fit(net(), few, config(epochs=3, lr=0.01, warmup=0), run=tmp_path, resume=True)
    assert done.history[-1]["val_accuracy"] > 0.2


CHILD = """
import hashlib, sys
import torch
from torch import nn
from danlu.data import load_data
from danlu.train import TrainConfig, fit
from danlu.train import plan

plan.SAVE_SECONDS = (0.0, 20.0)
plan.SAVE_SHARE = float("inf")
torch.manual_seed(0)
layers = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Linear(512, 10)
net = nn.Sequential(*layers)
config = TrainConfig(epochs=60, batch_size=32, ema=0.95, optimizer=sys.argv[2], lr=0.01, precision="bf16", memory_format="nchw")
done = fit(net, load_data("digits").subset(160), config, run=sys.argv[1], resume=True, on_step=lambda s, t: print(s, flush=True))
sha = hashlib.sha256(b"".join(t.contiguous().numpy().tobytes() for t in done.model.state_dict().values()))
print("sha", sha.hexdigest(), done.steps)
"""


def child(folder: Path, optimizer: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(folder), optimizer], stdout=subprocess.PIPE, text=True, env=environment
    )  # fmt: skip


def test_kill_9_and_resume_is_bit_for_bit(tmp_path: Path) -> None:
    whole = child(tmp_path / "whole", "adamw")
    process = child(tmp_path / "killed", "adamw")
    assert process.stdout is not None
    for text in process.stdout:
        if text.strip() == "131":
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    output = child(tmp_path / "killed", "adamw").communicate()[0].splitlines()
    expected = whole.communicate()[0].splitlines()[-1]
    assert expected.startswith("sha ")
    assert expected.endswith(" 300")
    assert output[-1] == expected
    assert int(output[0]) > 100  # it went on from a checkpoint, not from the start
