"""Time of one update by each optimiser, against torch.optim.Adam(foreach=True), on the parameters of ResNet-20.

    python benchmarks/optimizers.py --out docs/results/optimizers.json

First only the update is timed: the gradients are there, drawn once. K-FAC's holds two matrix products for each layer, which no
other update has, and looks at the layers in the forward and the backward pass. So for it whole training steps are timed as well
(forward, backward, update), of ResNet-20 and LeNet-5 on 128 random images of 32x32, against those of the same Adam. All
numbers are means over turns of 20 steps: four looks and one inversion.

All take turns, round by round, so that a machine that changes its speed does so for all; a ratio is the median over the rounds.
"""

import argparse
import shlex
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
CHANNELS = {"resnet20": 3, "lenet5": 1}


class Bench:
    """A net with one optimiser; torch's Adam where there is no name."""

    def __init__(self, name: str | None, net: str = "resnet20") -> None:
        torch.manual_seed(0)
        channels = CHANNELS[net]
        self.net = create(net, num_classes=10, in_channels=channels, seed=0).train()
        settings = {"lr": LR, "weight_decay": DECAY, "momentum": 0.9, "nesterov": True}
        if name is None:
            groups = groups_of(self.net, DECAY)
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(groups, lr=LR, foreach=True)
        else:
            self.optimizer = build(name, self.net, **settings)
        self.x, self.y = torch.randn(BATCH, channels, 32, 32), torch.randint(10, (BATCH,))
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
    parser.add_argument("names", nargs="*", help="optimisers whose updates race; all without")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--updates", type=int, default=TURN, help="updates a turn; a multiple of 20 for K-FAC's inversions")
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    names = options.names or optimizers.names()
    benches = {"torch Adam": Bench(None), **{name: Bench(name) for name in names}}
    turns = {name: (lambda bench=bench: bench.update(options.updates)) for name, bench in benches.items()}
    updates = race(turns, "torch Adam", options.rounds)
    print(f"one update of ResNet-20, {torch.get_num_threads()} threads, {options.rounds} rounds of {options.updates}")
    show(updates, OWN)
    steps = {}
    for net in CHANNELS:
        pair = {"torch Adam": Bench(None, net), "kfac": Bench("kfac", net)}
        trains = {name: (lambda bench=bench: bench.train(TURN)) for name, bench in pair.items()}
        steps[net] = race(trains, "torch Adam", max(3, options.rounds // 5))
        print(f"one training step of {net} on {BATCH} images")
        show(steps[net], OWN)
    if options.out:
        write_json(options.out, {
            "command": shlex.join(["python", "benchmarks/optimizers.py", *options.names, "--rounds", str(options.rounds),
                                   "--updates", str(options.updates)]),
            "date": time.strftime("%Y-%m-%d"), "machine": environment(), "threads": torch.get_num_threads(),
            "updates": updates, "training_steps": steps,
        })  # fmt: skip


if __name__ == "__main__":
    main()
