"""Training speed, end to end with data loading: danlu's `fit` against a plain PyTorch loop, in one interleaved run.

    python benchmarks/training.py DATA --out docs/results/training.json

The plain loop is the one of the tutorials: a Dataset that opens each image with Pillow, crops, flips, makes a tensor of it and
normalises it, a DataLoader, fp32, NCHW, SGD with momentum, zero_grad / backward / step, the loss read with .item() at every
step. It is timed with num_workers 0 and 2, and danlu is compared with the faster of the two. Both train the same network with the
same batch size, augmentation and optimiser on the same files: LeNet-5 (20-50-500) on MNIST, ResNet-20 on CIFAR-10 unpacked
into class folders.

The rivals take turns, round by round, so that a machine that changes its speed does so for all; the ratio is the median over
rounds. What happens once (decoding into danlu's cache, autotune, starting the workers) is left out on all sides.
"""

import argparse
import gzip
import random
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from danlu.data import Source, load_data
from danlu.files import write_json
from danlu.runs import environment
from danlu.train import Interrupted, TrainConfig, fit
from danlu.zoo import create

BATCH = 128
WORKERS = (0, 2)
WARM_STEPS = 3


class Images(Dataset[tuple[Tensor, int]]):
    """One image at a time, the usual way. `open` gives a Pillow image; `pad` and `flip` augment it."""

    def __init__(self, items: list[Any], labels: list[int], mean: list[float], std: list[float], pad: int, flip: bool) -> None:
        self.items, self.labels, self.pad, self.flip = items, labels, pad, flip
        self.mean, self.std = torch.tensor(mean).view(-1, 1, 1), torch.tensor(std).view(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, i: int) -> tuple[Tensor, int]:
        item = self.items[i]
        if isinstance(item, np.ndarray):
            image = Image.fromarray(item)
        else:
            with Image.open(item) as file:
                image = file.convert("RGB")
        if self.pad:
            w, h = image.size
            image = ImageOps.expand(image, self.pad)
            left, top = random.randint(0, 2 * self.pad), random.randint(0, 2 * self.pad)
            image = image.crop((left, top, left + w, top + h))
        if self.flip and random.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        pixels = np.asarray(image)
        pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
        x = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).float().div_(255)
        return x.sub_(self.mean).div_(self.std), self.labels[i]


@dataclass(frozen=True)
class Case:
    """One network on one data set, for both sides."""

    name: str
    recipe: str
    source: Source
    rival: Images
    augment: str
    steps: int

    def net(self) -> nn.Module:
        """The same weights on every call."""
        return create(self.recipe, num_classes=10, in_channels=self.source.input.channels, seed=0)


class Plain:
    """The plain loop; `turn(steps)` gives images a second. Goes on through the epochs between turns."""

    def __init__(self, case: Case, workers: int) -> None:
        context = "forkserver" if workers else None
        self.loader = DataLoader(
            case.rival, BATCH, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0,
            multiprocessing_context=context,
        )  # fmt: skip
        self.net = case.net().train()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.feed = self.endless()
        self.loss_sum = 0.0

    def endless(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Epoch after epoch."""
        while True:
            yield from self.loader

    def turn(self, steps: int) -> float:
        """Train for `steps` steps."""
        for i in range(steps + WARM_STEPS):
            if i == WARM_STEPS:
                start = time.perf_counter()
            x, y = next(self.feed)
            self.optimizer.zero_grad()
            loss = nn.functional.cross_entropy(self.net(x), y)
            loss.backward()
            self.optimizer.step()
            self.loss_sum += loss.item()
        return steps * BATCH / (time.perf_counter() - start)


class Ours:
    """danlu's loop, with what autotune found at first."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.config = TrainConfig(epochs=1000, batch_size=BATCH, lr=0.01, augment=case.augment, warmup=0)
        self.tuned: dict[str, float] = {}
        self.turns = 0

    def tune(self) -> str:
        """Let autotune choose, once."""
        done = fit(self.case.net(), self.case.source, TrainConfig(steps=1, batch_size=BATCH, augment=self.case.augment))
        self.tuned = done.tune.images_per_second
        fixed = {"precision": done.tune.precision, "memory_format": done.tune.memory_format}
        self.config = TrainConfig.from_json({**self.config.to_json(), **fixed})
        return done.tune.name

    def turn(self, steps: int) -> float:
        """Train for `steps` steps; every turn shuffles anew."""
        self.turns += 1
        marks: list[float] = []
        config = TrainConfig.from_json({**self.config.to_json(), "seed": self.turns})
        try:
            fit(
                self.case.net(), self.case.source, config, on_step=lambda step, total: marks.append(time.perf_counter()),
                stop=lambda: len(marks) == steps + WARM_STEPS,
            )  # fmt: skip
        except Interrupted:
            if len(marks) < steps + WARM_STEPS:  # Ctrl-C, not the end of the turn
                raise
        return steps * BATCH / (marks[-1] - marks[WARM_STEPS - 1])


def mnist(data: Path, steps: int) -> Case:
    """LeNet-5 on MNIST: no augmentation, as usual."""
    source = load_data(data / "mnist")
    with gzip.open(data / "mnist" / "train-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(data / "mnist" / "train-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8).tolist()
    spec = source.input
    rival = Images(list(pixels), labels, list(spec.mean), list(spec.std), pad=0, flip=False)
    return Case("LeNet-5 on MNIST", "lenet5_caffe", source, rival, "none", steps)


def cifar(data: Path, folder: Path, steps: int) -> Case:
    """ResNet-20 on CIFAR-10: random crop and flip, as usual."""
    if not (folder / "train").exists():
        with zipfile.ZipFile(data / "cifar10.zip") as file:
            file.extractall(folder)
    source = load_data(folder)
    files = sorted((folder / "train").rglob("*.jpg"))
    classes = sorted({file.parent.name for file in files})
    spec = source.input
    labels = [classes.index(file.parent.name) for file in files]
    rival = Images(list(files), labels, list(spec.mean), list(spec.std), pad=4, flip=True)
    return Case("ResNet-20 on CIFAR-10", "resnet20", source, rival, "crop+flip", steps)


def race(case: Case, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All rivals in turn, `rounds` times."""
    ours = Ours(case)
    chosen = ours.tune()
    rivals: dict[str, Plain | Ours] = {f"plain, num_workers={n}": Plain(case, n) for n in WORKERS}
    rivals["danlu"] = ours
    for rival in rivals.values():
        rival.turn(case.steps // 4)
    speeds: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(rounds):
        for name, rival in rivals.items():
            speeds[name].append(rival.turn(case.steps))
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    best = max((name for name in rivals if name != "danlu"), key=lambda name: medians[name])
    ratios = sorted(a / b for a, b in zip(speeds["danlu"], speeds[best], strict=True))
    say(f"{case.name}, batch {BATCH}, {rounds} rounds of {case.steps} steps; danlu chose {chosen}")
    for name, value in medians.items():
        say(f"  {name:24} {value:10,.0f} images/s   ({min(speeds[name]):,.0f} .. {max(speeds[name]):,.0f})")
    say(f"  danlu / faster plain loop: {statistics.median(ratios):.2f}x   ({ratios[0]:.2f} .. {ratios[-1]:.2f})")
    return {
        "case": case.name, "recipe": case.recipe, "batch": BATCH, "rounds": rounds, "steps": case.steps, "chosen": chosen,
        "autotune": ours.tuned, "images_per_second": medians, "all": speeds, "against": best,
        "ratio": statistics.median(ratios), "ratio_range": [ratios[0], ratios[-1]],
    }  # fmt: skip


def main() -> None:
    """Race both cases and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mnist/*.gz and cifar10.zip")
    parser.add_argument("--work", type=Path, help="where CIFAR-10 is unpacked; a temporary folder if not given")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.work or Path(temporary)) / "cifar10"
        rows = [
            race(mnist(options.data, 100), options.rounds, print),
            race(cifar(options.data, folder, 20), options.rounds, print),
        ]
    if options.out:
        write_json(options.out, {
            "command": f"python benchmarks/training.py {options.data} --rounds {options.rounds}",
            "date": time.strftime("%Y-%m-%d"), "machine": environment(), "threads": torch.get_num_threads(), "rows": rows,
        })  # fmt: skip


if __name__ == "__main__":
    main()
