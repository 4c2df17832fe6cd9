"""`danlu optimize` against two rivals on a 10,000-image subset of CIFAR-10, each with the same data and the same time.

    python benchmarks/optimize.py DATA/cifar10.zip --work bench-optimize --out docs/results/optimize.json

(danlu) the whole command with its own baseline, under limits of 1/8 of the baseline's file and 1/5 of its latency.
(a)     torch-pruning + fine-tuning + onnxruntime int8, by hand, on danlu's baseline, for the time danlu had left after it.
(b)     a small net (ResNet-20) trained directly for the whole time, then onnxruntime int8.

The rivals get danlu's fast training loop, so that what is compared is the method; their rates are usual ones, not tuned. Every
part writes its result when it ends; a second call goes on with the parts that are missing. Test images are looked at once, at
the end of each part.
"""

import argparse
import json
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_pruning as tp

from danlu.codec import load_saved
from danlu.data import Source, load_data
from danlu.deploy import bench, calibration_batches, export_onnx, predict, quantize_int8
from danlu.files import write_json
from danlu.metrics import paired_difference
from danlu.runs import environment
from danlu.train import TrainConfig, fit
from danlu.zoo import create

PER_CLASS = 1000


def make_subset(archive: Path, folder: Path, seed: int) -> None:
    """The first `PER_CLASS` of a seeded shuffle of every training class, and the whole test split, as files."""
    if (folder / ".complete").exists():
        return
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(archive) as file:
        names = sorted(n for n in file.namelist() if n.endswith(".jpg"))
        classes = sorted({n.split("/")[1] for n in names})
        chosen = [n for n in names if n.startswith("test/")]
        for label in classes:
            mine = [n for n in names if n.startswith(f"train/{label}/")]
            chosen += [mine[i] for i in rng.permutation(len(mine))[:PER_CLASS]]
        for name in chosen:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read(name))
    (folder / ".complete").touch()


def danlu_part(data: Path, work: Path, minutes: float, seed: int) -> dict[str, Any]:
    """The one command, as a user types it."""
    limits = ["--max-size", "1/8", "--max-latency", "1/5", "--max-drop", "0.01"]
    command = [sys.executable, "-m", "danlu.cli.main", "optimize", str(data), *limits]
    command += ["--time", f"{minutes}m", "--seed", str(seed)]
    run = subprocess.run([*command, "--out", str(work / "runs"), "--json"], stdout=subprocess.PIPE, text=True, check=False)
    if run.returncode not in (0, 3):
        raise SystemExit(f"danlu optimize failed with exit code {run.returncode}")
    return dict(json.loads(run.stdout))


def score(file: Path, source: Source, baseline: Path) -> dict[str, Any]:
    """Test accuracy, bytes, and latency against the baseline's file in one interleaved run."""
    logits, base = predict(file, source.test), predict(baseline, source.test)
    labels = source.test.labels
    difference, low, high = paired_difference(logits.argmax(1) == labels, base.argmax(1) == labels)
    old, new = bench([str(baseline), str(file)], repeats=400, seconds=6.0)
    return {
        "file": str(file),
        "accuracy": float((logits.argmax(1) == labels).mean()),
        "baseline_accuracy": float((base.argmax(1) == labels).mean()),
        "difference": difference,
        "interval": [low, high],
        "size_bytes": file.stat().st_size,
        "times_smaller": baseline.stat().st_size / file.stat().st_size,
        "latency_ms": new.median_ms,
        "baseline_latency_ms": old.median_ms,
        "times_faster": 1 / new.ratio,
    }


def finish(net: torch.nn.Module, source: Source, home: Path, recipe: str) -> Path:
    """Export and quantise as a careful engineer would."""
    fp32 = export_onnx(net, home / "fp32.onnx", input=source.input, classes=source.classes, recipe=recipe)
    return Path(quantize_int8(fp32, home / "int8.onnx", calibration_batches(source.train, source.input)))


def pruned(net: torch.nn.Module, source: Source, ratio: float) -> torch.nn.Module:
    """torch-pruning as in its own tutorial: group magnitude, the same ratio in every layer, the classifier left alone."""
    net = net.train(False)
    last = [m for m in net.modules() if isinstance(m, torch.nn.Linear)][-1]
    example = torch.zeros(1, *source.input.shape)
    for parameter in net.parameters():
        parameter.requires_grad_(True)
    pruner = tp.pruner.MagnitudePruner(
        net, example, importance=tp.importance.GroupMagnitudeImportance(p=2), pruning_ratio=ratio, ignored_layers=[last],
        round_to=8, global_pruning=False,
    )  # fmt: skip
    pruner.step()
    return net


def prune_part(run: Path, source: Source, work: Path, seconds: float, seed: int) -> dict[str, Any]:
    """(a) The smallest pruning ratio whose int8 file is 1/8 and 5x faster, fine-tuned for the time danlu had left."""
    home = work / "prune"
    home.mkdir(parents=True, exist_ok=True)
    baseline = run / "baseline.onnx"
    started = time.monotonic()
    for ratio in (0.3, 0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85):
        net = pruned(load_saved(run / "baseline").model, source, ratio)
        file = finish(net, source, home, "by hand")
        old, new = bench([str(baseline), str(file)], repeats=200, seconds=2.0)
        if file.stat().st_size <= baseline.stat().st_size / 8 and new.median_ms <= old.median_ms / 5:
            break
    left = seconds - (time.monotonic() - started) - 15
    config = TrainConfig(seconds=left, lr=0.02, weight_decay=5e-4, batch_size=64, seed=seed)
    done = fit(net, source, config, run=home / "run")
    return {
        "ratio": ratio,
        "seconds": time.monotonic() - started,
        **score(finish(done.model, source, home, "by hand"), source, baseline),
    }


def small_part(run: Path, source: Source, work: Path, seconds: float, seed: int) -> dict[str, Any]:
    """(b) ResNet-20 trained directly for the whole time."""
    home = work / "small"
    home.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    net = create("resnet20", num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)
    config = TrainConfig(seconds=seconds - 15, lr=0.05, weight_decay=5e-4, batch_size=64, seed=seed)
    done = fit(net, source, config, run=home / "run")
    file = finish(done.model, source, home, "resnet20")
    return {"recipe": "resnet20", "seconds": time.monotonic() - started, **score(file, source, run / "baseline.onnx")}


def main() -> None:
    """Run the parts that have no result yet, then print all three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", type=Path)
    parser.add_argument("--work", type=Path, default=Path("bench-optimize"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--only", choices=("danlu", "prune", "small"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    work, seconds, seed = options.work, 60 * options.minutes, options.seed
    data = work / "cifar10-10k"
    make_subset(options.archive, data, seed)
    parts: dict[str, dict[str, Any]] = {}

    def part(name: str, make: Callable[[], dict[str, Any]]) -> None:
        """Make a part that has no result yet; with --only the others wait for a later call."""
        file = work / f"{name}.json"
        if file.exists():
            parts[name] = json.loads(file.read_text())
        elif options.only in (None, name):
            parts[name] = make()
            write_json(file, parts[name])

    part("danlu", lambda: danlu_part(data, work, options.minutes, seed))
    if "danlu" not in parts:
        raise SystemExit("the rivals need danlu's part first")
    run = Path(parts["danlu"]["run"])
    source = load_data(data, seed=seed).with_input(load_saved(run / "baseline").input)
    spent = {row["name"]: row["seconds"] for row in parts["danlu"]["stages"]}
    part("prune", lambda: prune_part(run, source, work, seconds - spent["baseline"], seed))
    part("small", lambda: small_part(run, source, work, seconds, seed))
    if len(parts) < 3:
        return
    chosen = Path(parts["danlu"]["best"]["file"])
    fed = load_data(data, seed=seed).with_input(load_saved(run).input)
    ours = score(chosen, fed, run / "baseline.onnx")
    rows = {
        "danlu optimize": ours,
        "(a) prune + fine-tune + int8 by hand": parts["prune"],
        "(b) ResNet-20 direct + int8": parts["small"],
    }
    right = predict(chosen, fed.test).argmax(1) == fed.test.labels
    for row in (parts["prune"], parts["small"]):
        # danlu's accuracy less the rival's, on the same images.
        rival = predict(row["file"], source.test).argmax(1) == source.test.labels
        row["danlu_ahead"] = list(paired_difference(right, rival))
    print(f"baseline {parts['danlu']['baseline']['recipe']}: {100 * ours['baseline_accuracy']:.2f} %")
    for name, row in rows.items():
        low, high = (100 * v for v in row["interval"])
        change = f"{100 * row['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"
        size = f"{row['size_bytes'] / 1000:.1f} KB = {row['times_smaller']:.1f}x smaller"
        speed = f"{row['latency_ms']:.3f} ms = {row['times_faster']:.1f}x faster"
        print(f"{name:40} {100 * row['accuracy']:.2f} % ({change})  {size}  {speed}")
        if "danlu_ahead" in row:
            ahead, low, high = (100 * v for v in row["danlu_ahead"])
            print(f"{'':40} danlu is {ahead:+.2f} points [{low:+.2f}, {high:+.2f}] ahead")
    if options.out:
        command = "python benchmarks/optimize.py " + " ".join(sys.argv[1:])
        kept = {key: parts["danlu"][key] for key in ("budget", "test", "seconds", "stages", "speedup")}
        for key in ("baseline", "best"):
            kept[key] = {name: value for name, value in parts["danlu"][key].items() if name != "file"}
        for row in rows.values():
            row.pop("file")
        about = {"command": command, "date": time.strftime("%Y-%m-%d"), "seed": seed, "minutes": options.minutes}
        write_json(options.out, {**about, "machine": environment(), "danlu": kept, "rows": rows})


if __name__ == "__main__":
    main()
