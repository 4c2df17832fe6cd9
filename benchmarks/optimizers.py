"""Time of one update by each optimiser, against torch.optim.Adam(foreach=True), on the parameters of ResNet-20.

    python benchmarks/optimizers.py --out docs/results/optimizers.json

Only the update is timed: the gradients are there, drawn once. K-FAC looks at the layers in the forward and the backward pass,
so for it whole training steps are timed as well, on 128 random images of 3x32x32, against those of the same Adam; its numbers
are means over a whole turn of looks and inversions.

All take turns, round by round, so that a machine that changes its speed does so for all; a ratio is the median over the rounds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from danlu.files import write_json
from danlu.runs import environment
from danlu.train.optimizers import build, groups_of, optimizers
from danlu.zoo import create

OWN = ("adabound", "adafactor", "kfac")
LR, DECAY = 1e-4, 5e-4
BATCH = 128
TURN = 20  # updates of K-FAC between two inversions


class Bench:
    """A ResNet-20 with one optimiser; torch's Adam where there is no name."""

    def __init__(self, name: str | None) -> None:
        torch.manual_seed(0)
        self.net = create("resnet20", num_classes=10, seed=0).train()
        settings = {"lr": LR, "weight_decay": DECAY, "momentum": 0.9, "nesterov": True}
        if name is None:
            groups = groups_of(self.net, DECAY)
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(groups, lr=LR, foreach=True)
        else:
            self.optimizer = build(name, self.net, **settings)
        self.x, self.y = torch.randn(BATCH, 3, 32, 32), torch.randint(10, (BATCH,))
        self.train(1)
        for parameter in self.net.parameters():
            parameter.grad = 1e-3 * torch.randn_like(parameter)
        self.update(3)

    def update(self, times: int) -> float:
        """Seconds of an update."""
        start = time.perf_counter()
        for _ in range(times):
            self.optimizer.step()
        return (time.perf_counter() - start) / times

    def train(self, times: int) -> float:
        """Seconds of a training step."""
        start = time.perf_counter()
        for _ in range(times):
            self.optimizer.zero_grad()
            nn.functional.cross_entropy(self.net(self.x), self.y).backward()
            self.optimizer.step()
        return (time.perf_counter() - start) / times


def race(rivals: dict[str, Callable[[], float]], against: str, rounds: int) -> list[dict[str, Any]]:
    """All in turn, `rounds` times."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, turn in rivals.items():
            seconds[name].append(turn())
    rows = []
    for name, values in seconds.items():
        ratios = sorted(a / b for a, b in zip(values, seconds[against], strict=True))
        rows.append({
            "name": name, "ms": 1e3 * statistics.median(values), "ratio": statistics.median(ratios),
            "ratio_range": [ratios[0], ratios[-1]],
        })  # fmt: skip
    return rows


def show(rows: list[dict[str, Any]], own: tuple[str, ...]) -> None:
    """A table."""
    for row in rows:
        low, high = row["ratio_range"]
        mark = "  own" if row["name"] in own else ""
        print(f"  {row['name']:16} {row['ms']:9.3f} ms   {row['ratio']:6.2f}x  ({low:.2f} .. {high:.2f}){mark}")


def main() -> None:
    """Race the updates, then the training steps of K-FAC."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=TURN, help="updates a turn; a multiple of 20 for K-FAC's inversions")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    names = optimizers.names()
    benches = {"torch Adam": Bench(None), **{name: Bench(name) for name in names}}
    turns = {name: (lambda bench=bench: bench.update(options.updates)) for name, bench in benches.items()}
    updates = race(turns, "torch Adam", options.rounds)
    print(f"one update of ResNet-20, {torch.get_num_threads()} threads, {options.rounds} rounds of {options.updates}")
    show(updates, OWN)
    pair = {name: (lambda bench=benches[name]: bench.train(TURN)) for name in ("torch Adam", "kfac")}
    steps = race(pair, "torch Adam", max(3, options.rounds // 5))
    print(f"one training step of ResNet-20 on {BATCH} images")
    show(steps, OWN)
    if options.out:
        write_json(options.out, {
            "command": f"python benchmarks/optimizers.py --rounds {options.rounds} --updates {options.updates}",
            "date": time.strftime("%Y-%m-%d"), "machine": environment(), "threads": torch.get_num_threads(),
            "updates": updates, "training_steps": steps,
        })  # fmt: skip


if __name__ == "__main__":
    main()
