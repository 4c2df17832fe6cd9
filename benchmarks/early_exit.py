"""LeNet-5 with early exits on MNIST against the same LeNet-5 without, in onnxruntime, one image at a time.

    python benchmarks/early_exit.py DATA/mnist --work bench-exits --out docs/results/early_exit.json

The net is Caffe's LeNet-5 (20-50-500). Three trainings, each a stage that is kept in --work; a second call goes on with what is
missing:

    main    the net, `--first` epochs
    plain   the net for `--then` epochs more
    exits   the same weights with an exit added, for `--then` epochs more: the joint loss of BranchyNet

The exit sees the image itself (two small convolutions). Its threshold is chosen on 5,000 validation images for the lowest mean
latency without a drop against the last exit. `exits` is then compared with `plain` on the 10,000 test images: accuracy paired by
image, and the mean milliseconds of an image, both files in turn.

Published (BranchyNet, B-LeNet on a CPU): 5.4x, 94.3 % leave at the first exit, accuracy 99.20 -> 99.25 %. Their main net differs:
5-10-20 maps in three convolutions and 84 units; the first exit shares the first convolution.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from danlu.codec import load_saved, save
from danlu.cost import profile
from danlu.data import Source, load_data
from danlu.deploy import bench, calibrate_exits, export_exits, export_onnx, predict, race_exits
from danlu.deploy.thresholds import report_exits, score_exits
from danlu.edits import edit
from danlu.files import write_json
from danlu.metrics import paired_difference
from danlu.runs import environment
from danlu.train import TrainConfig, evaluate, fit
from danlu.zoo import create

NET = "lenet5_caffe"
EXITS = "add_exits(at=['input'], head='conv', channels=12, kernel=5, stride=2, grid=7, threshold=0.05, weights=[1.0, 1.0])"
PUBLISHED = {"times_faster": 5.4, "first_exit": 0.943, "accuracy": [0.9920, 0.9925], "paper": "arxiv:1709.01686"}


def train(net: torch.nn.Module, source: Source, home: Path, epochs: float, lr: float, seed: int) -> dict[str, Any]:
    """Train, store, and say how it went; goes on from a checkpoint where there is one. Fresh heads learn four times as fast."""
    steps = max(1, round(epochs * len(source.train) / 128))
    config = TrainConfig(
        steps=steps, batch_size=128, optimizer="adamw", lr=lr, weight_decay=0.01, augment="affine", precision="fp32", seed=seed,
        rates={"*.head.*": 4.0} if hasattr(net, "exits") else {},
    )  # fmt: skip
    started = time.monotonic()
    done = fit(net, source, config, run=home, resume=True, log=lambda text: print(f"{home.name}: {text}", flush=True))
    save(done.model, home, input=source.input, classes=source.classes)
    spent = time.monotonic() - started
    return {
        "steps": steps,
        "lr": lr,
        "val_accuracy": done.best_accuracy,
        "seconds": round(spent, 1),
        "train_seconds": done.seconds,
    }


def judge(source: Source, work: Path, max_drop: float, rounds: int) -> dict[str, Any]:
    """Choose the thresholds on validation; then accuracy and speed on the test images."""
    facts: dict[str, Any] = {"input": source.input, "classes": source.classes}
    plain = load_saved(work / "plain").model
    model, report = calibrate_exits(load_saved(work / "exits").model, source, max_drop=max_drop)
    save(model, work / "calibrated", **facts)
    whole = export_onnx(plain, work / "plain.onnx", **facts)
    file = export_exits(model, work / "exits.onnx", **facts)
    tested = report_exits(model, score_exits(model, source, split="test"), report.exit_ms, "test")
    labels = source.test.labels
    ours, theirs = (predict(path, source.test, batch_size=1).argmax(1) == labels for path in (file, whole))
    difference, low, high = paired_difference(ours, theirs)
    speed = race_exits(file, whole, source, most=len(source.test), rounds=rounds)
    (timing,) = bench([whole], seconds=3.0, repeats=300)
    shape = source.input.shape
    return {
        "accuracy": float(ours.mean()), "plain_accuracy": float(theirs.mean()), "difference": difference, "interval": [low, high],
        "times_faster": speed.times_faster, "speed": speed.to_json(), "plain_median_ms": timing.median_ms,
        "val": report.to_json(), "test": tested.to_json(), "val_plain_accuracy": evaluate(plain, source, split="val").accuracy,
        "macs": {"plain": profile(plain, shape).macs, "all_exits": profile(model, shape).macs},
        "size_bytes": {"plain": whole.stat().st_size, "exits": file.stat().st_size},
    }  # fmt: skip


def main() -> None:
    """Run the stages that have no result yet, then print what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with the MNIST IDX files")
    parser.add_argument("--work", type=Path, default=Path("bench-exits"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--first", type=float, default=4.0, help="epochs of main")
    parser.add_argument("--then", type=float, default=11.0, help="epochs of plain and of exits")
    parser.add_argument("--max-drop", type=float, default=0.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work, seed = options.work, options.seed
    source = load_data(options.data, seed=seed)
    stages: dict[str, dict[str, Any]] = {}

    def stage(name: str, make: Callable[[Path], dict[str, Any]]) -> None:
        """Make a stage that has no result yet."""
        file = work / f"{name}.json"
        if not file.exists():
            write_json(file, make(work / name))
        stages[name] = json.loads(file.read_text())

    fresh = create(NET, num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)
    stage("main", lambda home: train(fresh, source, home, options.first, 2e-3, seed))
    trained = load_saved(work / "main").model
    stage("plain", lambda home: train(trained, source, home, options.then, 1e-3, seed + 1))
    torch.manual_seed(seed)
    with_exits = edit(trained, EXITS).model
    stage("exits", lambda home: train(with_exits, source, home, options.then, 1e-3, seed + 1))
    stage("judge", lambda _: judge(source, work, options.max_drop, options.rounds))
    found = stages["judge"]
    low, high = (100 * v for v in found["interval"])
    print(f"without exits {100 * found['plain_accuracy']:.2f} %, {1000 * found['speed']['whole_ms']:.1f} us an image")
    print(f"with exits    {100 * found['accuracy']:.2f} %, {1000 * found['speed']['mean_ms']:.1f} us an image")
    print(f"{found['times_faster']:.2f}x faster, {100 * found['difference']:+.2f} points [{low:+.2f}, {high:+.2f}]")
    print("leave at exit: " + ", ".join(f"{100 * rate:.1f} %" for rate in found["test"]["rates"]))
    if options.out:
        command = "python benchmarks/early_exit.py " + " ".join(sys.argv[1:])
        about = {"command": command, "date": time.strftime("%Y-%m-%d"), "seed": seed, "net": NET, "exits": EXITS}
        write_json(options.out, {**about, "machine": environment(), "published": PUBLISHED, "stages": stages})


if __name__ == "__main__":
    main()
