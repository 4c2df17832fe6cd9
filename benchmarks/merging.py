"""DeepRebirth's merging on CIFAR-10: a slim GoogLeNet fitted to 32x32, merged, fine-tuned by the paper's recipe, exported.

    python benchmarks/merging.py DATA/cifar10.zip --work bench-merging --out docs/results/merging.json

One net is trained. Then, for each of streamline, branches and both: merge, train the new layers alone at ten times the rate
(`rates_of`), train all, export. Beside them the same steps without a merging (more training alone), and a narrower net of the
same kind trained for all the time (a smaller net directly). Weights are chosen on validation images; test images are looked at
once, at the end. Every part writes its result when it ends; a second call goes on with the parts that are missing.

Latency: onnxruntime, one thread, batch 1, all files in one interleaved run, as a ratio to the unmerged net's file.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from danlu.cost import profile
from danlu.data import Source, batches, load_data
from danlu.deploy import bench, export_onnx, predict
from danlu.edits import Outcome, edit, rates_of
from danlu.edits.surgery import count_params
from danlu.files import write_json
from danlu.metrics import paired_difference
from danlu.runs import environment
from danlu.train import TrainConfig, fit
from danlu.zoo import create

BASE = "{net}(width={width}, dropout=0.0) | fit_input(size=32)"
MERGINGS = {
    "streamline": "merge_streamline(init={init!r}, bn=False)",
    "branches": "merge_branches(init={init!r}, ratio={ratio})",
    "both": "merge_branches(init={init!r}, ratio={ratio}) | merge_streamline(init={init!r}, bn=False)",
}
NEW_SHARE = 0.5  # of the fine-tuning: the new layers alone; the rest of it trains all


def config(seconds: float, rates: dict[str, float], lr: float, seed: int) -> TrainConfig:
    """The settings of every training here."""
    return TrainConfig(seconds=seconds, rates=rates, lr=lr, batch_size=64, clip=1.0, seed=seed)


def export(net: nn.Module, file: Path, source: Source) -> Path:
    """An ONNX file of the net."""
    return export_onnx(net, file, input=source.input, classes=source.classes, recipe=str(getattr(net, "danlu_recipe", "")))


def train_base(home: Path, source: Source, o: argparse.Namespace, width: float, seconds: float) -> dict[str, Any]:
    """A net trained from scratch; its weights stay in `home`."""
    recipe = BASE.format(net=o.net, width=width)
    net = create(recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=o.seed)
    done = fit(net, source, config(seconds, {}, o.lr, o.seed), run=home, resume=True)
    torch.save(done.model.state_dict(), home / "weights.pt")
    export(done.model, home / "model.onnx", source)
    return facts(done.model, source, recipe) | {"val_accuracy": done.best_accuracy, "seconds": done.seconds}


def trained(home: Path, source: Source, o: argparse.Namespace) -> nn.Module:
    """The base with its weights."""
    net = create(BASE.format(net=o.net, width=o.width), num_classes=len(source.classes), in_channels=source.input.channels)
    net.load_state_dict(torch.load(home / "weights.pt", weights_only=True))
    return net.eval()


def facts(net: nn.Module, source: Source, recipe: str) -> dict[str, Any]:
    """Its size."""
    return {"recipe": recipe, "params": count_params(net), "macs": profile(net, source.input.shape).macs}


def images(source: Source, seed: int) -> Callable[[], Iterator[tuple[Tensor, Tensor]]]:
    """Training images for the fits."""
    return lambda: batches(source.train, source.input, 64, shuffle=True, seed=seed)


def merge_part(name: str, step: str, base: Path, home: Path, source: Source, o: argparse.Namespace) -> dict[str, Any]:
    """Merge, train the new layers, train all. Without a `step`: only train all."""
    home.mkdir(parents=True, exist_ok=True)
    net = trained(base, source, o)
    began = time.monotonic()
    outcome = edit(net, step, batches=images(source, o.seed)) if step else Outcome(net)
    merging = time.monotonic() - began
    raw = quick(outcome.model, source)
    seconds = 60 * o.tune_minutes
    accuracy = []
    model = outcome.model
    if step:
        # Merged layers have no norm behind them and start from a fit: the base's own rate would throw them off.
        done = fit(
            model, source, config(NEW_SHARE * seconds, rates_of(outcome), o.tune_lr / 10, o.seed), run=home / "new", resume=True
        )
        accuracy.append(done.best_accuracy)
        model, seconds = done.model, (1 - NEW_SHARE) * seconds
    done = fit(model, source, config(seconds, {}, o.tune_lr / 2, o.seed), run=home / "all", resume=True)
    accuracy.append(done.best_accuracy)
    export(done.model, home / "model.onnx", source)
    about = facts(done.model, source, f"{BASE.format(net=o.net, width=o.width)} | {step}".rstrip(" |"))
    return about | {
        "merge_seconds": merging,
        "val_merged": raw,
        "val_tuned": accuracy,
        "layers": [c.name for c in outcome.changed],
    }


@torch.inference_mode()
def quick(net: nn.Module, source: Source) -> float:
    """Accuracy on validation."""
    right = count = 0
    for x, y in batches(source.val, source.input, 256):
        right += int((net.eval()(x).argmax(1) == y).sum())
        count += len(y)
    return right / count


def judge(files: dict[str, Path], source: Source) -> dict[str, dict[str, Any]]:
    """Test accuracy of every file, its difference to the first on the same images, bytes and interleaved latency."""
    timings = bench([str(file) for file in files.values()], repeats=400, seconds=4.0 * len(files))
    labels = source.test.labels
    right = {name: predict(file, source.test).argmax(1) == labels for name, file in files.items()}
    first = next(iter(right.values()))
    rows = {}
    for (name, file), timing in zip(files.items(), timings, strict=True):
        difference, low, high = paired_difference(right[name], first)
        rows[name] = {
            "test_accuracy": float(right[name].mean()), "difference": difference, "interval": [low, high],
            "size_bytes": file.stat().st_size, "latency_ms": timing.median_ms, "p10_ms": timing.p10_ms, "p90_ms": timing.p90_ms,
            "times_faster": 1 / timing.ratio,
        }  # fmt: skip
    return rows


def main() -> None:
    """Run the parts that have no result yet, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder or archive of class folders with train and test")
    parser.add_argument("--work", type=Path, default=Path("bench-merging"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--subset", type=int, help="train on this many images")
    parser.add_argument("--net", choices=("googlenet", "googlenet_lrn"), default="googlenet")
    parser.add_argument("--width", type=float, default=0.5)
    parser.add_argument("--direct-width", type=float, default=0.25, help="of the smaller net trained directly")
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--init", choices=("least_squares", "copy", "standard"), default="least_squares")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--tune-lr", type=float, default=0.01, help="of the new layers; all are trained at half of it")
    parser.add_argument("--minutes", type=float, default=30.0, help="of the base")
    parser.add_argument("--tune-minutes", type=float, default=10.0, help="of each merged net")
    parser.add_argument("--seed", type=int, default=0)
    o = parser.parse_args()
    torch.set_num_threads(1)
    source = load_data(o.data, seed=o.seed)
    if o.subset:
        source = source.subset(o.subset)
    work: Path = o.work
    parts: dict[str, dict[str, Any]] = {}

    def part(name: str, make: Callable[[], dict[str, Any]]) -> None:
        file = work / f"{name}.json"
        if not file.exists():
            (work / name).mkdir(parents=True, exist_ok=True)
            write_json(file, make())
        parts[name] = json.loads(file.read_text())

    part("base", lambda: train_base(work / "base", source, o, o.width, 60 * o.minutes))
    part("longer", lambda: merge_part("longer", "", work / "base", work / "longer", source, o))
    for name, text in MERGINGS.items():
        step = text.format(init=o.init, ratio=o.ratio)
        part(name, lambda n=name, s=step: merge_part(n, s, work / "base", work / n, source, o))
    part("direct", lambda: train_base(work / "direct", source, o, o.direct_width, 60 * (o.minutes + o.tune_minutes)))
    rows = judge(
        {name: work / name / "model.onnx" for name in ("longer", "base", "streamline", "branches", "both", "direct")}, source
    )
    for name, row in rows.items():
        row.update(parts[name])
        low, high = (100 * value for value in row["interval"])
        print(
            f"{name:11} {100 * row['test_accuracy']:.2f} % ({100 * row['difference']:+.2f} [{low:+.2f}, {high:+.2f}])  "
            f"{row['size_bytes'] / 1000:.0f} KB  {row['macs'] / 1e6:.1f} MMAC  {row['latency_ms']:.3f} ms = "
            f"{row['times_faster']:.2f}x faster"
        )
    if o.out:
        about = {"command": "python benchmarks/merging.py " + " ".join(sys.argv[1:]), "date": time.strftime("%Y-%m-%d")}
        settings = {name: value for name, value in vars(o).items() if name not in ("data", "work", "out")}
        write_json(o.out, {**about, "seed": o.seed, "settings": settings, "machine": environment(), "rows": rows})


if __name__ == "__main__":
    main()
