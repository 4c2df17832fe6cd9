"""What the data costs: reading, augmenting and normalising a batch, as a share of a ResNet-20 training step on CIFAR-10.

    python benchmarks/data_cost.py DATA/cifar10.zip --out docs/results/data_cost.json

After the first look, images come decoded out of the cache. Each round times `batches` alone (random crop, flip, normalisation)
for some steps, then danlu's whole training loop; the share is the one over the other, the median over rounds. What the first look
at the files costs is printed beside it.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from danlu.data import Augment, Source, batches, load_data
from danlu.files import write_json
from danlu.runs import environment
from danlu.train import Interrupted, TrainConfig, fit
from danlu.zoo import create

BATCH = 128
WARM_STEPS = 3


def data_seconds(source: Source, steps: int, seed: int) -> float:
    """Seconds a batch, data alone."""
    feed = batches(source.train, source.input, BATCH, shuffle=True, augment=Augment.named("crop+flip", source), seed=seed)
    for _ in range(WARM_STEPS):
        next(feed)
    start = time.perf_counter()
    for _ in range(steps):
        next(feed)
    return (time.perf_counter() - start) / steps


def step_seconds(source: Source, steps: int, seed: int, fixed: dict[str, str]) -> float:
    """Seconds a step of the whole loop."""
    marks: list[float] = []
    net = create("resnet20", num_classes=len(source.classes), in_channels=source.input.channels, seed=0)
    config = TrainConfig(epochs=1000, batch_size=BATCH, augment="crop+flip", seed=seed, **fixed)  # type: ignore[arg-type]
    try:
        fit(
            net, source, config, on_step=lambda step, total: marks.append(time.perf_counter()),
            stop=lambda: len(marks) == steps + WARM_STEPS,
        )  # fmt: skip
    except Interrupted:
        if len(marks) < steps + WARM_STEPS:  # Ctrl-C, not the end of the turn
            raise
    return (marks[-1] - marks[WARM_STEPS - 1]) / steps


def main() -> None:
    """Time, print the share, write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="cifar10.zip, or a folder of class folders of 32x32 images")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        os.environ["DANLU_CACHE"] = cache
        start = time.perf_counter()
        source = load_data(options.data)
        first = time.perf_counter() - start
        start = time.perf_counter()
        source = load_data(options.data)
        again = time.perf_counter() - start
        net = create("resnet20", num_classes=len(source.classes), in_channels=source.input.channels, seed=0)
        tune = fit(net, source.subset(10 * BATCH), TrainConfig(steps=1, batch_size=BATCH)).tune
        fixed = {"precision": tune.precision, "memory_format": tune.memory_format}
        rounds = [
            (data_seconds(source, 10 * options.steps, seed), step_seconds(source, options.steps, seed, fixed))
            for seed in range(options.rounds + 1)
        ][1:]
    shares = sorted(data / step for data, step in rounds)
    share, batch_ms, step_ms = (
        statistics.median(values) for values in (shares, [1000 * data for data, _ in rounds], [1000 * step for _, step in rounds])
    )
    images = len(source.train)
    print(f"{images:,} training images; the first look decodes them: {first:.1f} s; opened again: {again:.2f} s")
    print(f"a batch of {BATCH}: {batch_ms:.2f} ms of data in a step of {step_ms:.1f} ms ({tune.name})")
    print(f"data: {100 * share:.1f} % of an epoch   ({100 * shares[0]:.1f} .. {100 * shares[-1]:.1f})")
    if options.out:
        write_json(options.out, {
            "command": f"python benchmarks/data_cost.py {options.data}", "date": time.strftime("%Y-%m-%d"),
            "machine": environment(), "threads": torch.get_num_threads(), "images": images, "batch": BATCH,
            "first_look_seconds": first, "open_again_seconds": again, "batch_ms": batch_ms, "step_ms": step_ms,
            "chosen": tune.name, "share": share, "share_range": [shares[0], shares[-1]],
        })  # fmt: skip


if __name__ == "__main__":
    main()
