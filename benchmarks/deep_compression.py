"""How small can a trained net's file get? Train, prune, share, pack; beside what simpler ways give for the same net.

    python benchmarks/deep_compression.py lenet_300_100 --data DATA/mnist --out docs/results/lenet_300_100.json

Nets: lenet_300_100, lenet5 (20-50-500), resnet20. For each seed: a dense net is trained; its weights are pruned gradually, then
shared with a rate, both with a teacher (the dense net, or a larger one that is trained once for all seeds); the result is packed
into a .danlu file, unpacked, and the unpacked net judged on the test images, once. Everything was chosen on validation images.
Rivals, from the same dense net and in the same run: int8 ONNX, fp16 + zstd, k-means without pruning, pruning without sharing.

Each stage is stored in --work when it ends, and a training goes on from its checkpoint: a second call continues.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from torch import nn

from danlu.codec import inspect_file, load, pack_model, save, unpack_model
from danlu.data import Source, load_data
from danlu.deploy import calibration_batches, export_onnx, predict, quantize_int8
from danlu.edits import edit
from danlu.encodings import bake
from danlu.files import write_json
from danlu.metrics import paired_difference
from danlu.runs import environment
from danlu.train import TrainConfig, evaluate, fit
from danlu.zoo import create


@dataclass(frozen=True)
class Stage:
    """One step: an edit (none for the dense net) and the training after it, with the teacher but for the dense net."""

    name: str
    edit: str
    epochs: int
    lr: float
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Net:
    """A row of the table: what is published, what has to be reached."""

    recipe: str
    stages: tuple[Stage, ...]
    options: dict[str, Any]
    published: str
    teacher: tuple[str, Stage] | None = None  # recipe and training; without one the dense net teaches


ADAM: dict[str, Any] = {"optimizer": "adam", "weight_decay": 0.0, "schedule": "cosine"}
SGD: dict[str, Any] = {"optimizer": "sgd", "weight_decay": 5e-4, "schedule": "one_cycle"}
TUNE: dict[str, Any] = {"optimizer": "sgd", "weight_decay": 1e-4, "schedule": "cosine"}
FAST: dict[str, Any] = {"precision": "bf16", "memory_format": "channels_last"}
GRADUAL = "schedule='gradual', ramp=0.5, group=6e-05"

NETS = {
    "lenet_300_100": Net(
        "lenet_300_100",
        (
            Stage("dense", "", 12, 1e-3),
            Stage("pruned", f"prune(sparsity={{'1': 0.977, '3': 0.91, '5': 0.5}}, {GRADUAL})", 20, 2e-3),
            Stage("shared", "share(bits=4, rate=0.003, biases=4)", 10, 1e-4),
        ),
        {**ADAM, "augment": "affine", "precision": "fp32", "memory_format": "nchw"},
        "Deep Compression: 27 KB, 40x, 1.58 %",
        ("lenet5_caffe", Stage("teacher", "", 12, 1e-3, FAST)),
    ),
    "lenet5": Net(
        "lenet5_caffe",
        (
            Stage("dense", "", 14, 1e-3),
            Stage("pruned", f"prune(sparsity={{'0': 0.42, '2': 0.91, '5': 0.9865, '7': 0.86}}, {GRADUAL})", 24, 2e-3),
            Stage("shared", "share(bits=4, moving=True, biases=3)", 8, 1e-4),
        ),
        {**ADAM, **FAST, "augment": "affine"},
        "Deep Compression: 44 KB, 39x, 0.74 %",
        ("resnet8", Stage("teacher", "", 12, 0.1, SGD)),
    ),
    "resnet20": Net(
        "resnet20",
        (
            Stage("dense", "", 30, 0.3, {"schedule": "one_cycle"}),
            Stage("pruned", "prune(sparsity=0.8, schedule='gradual', ramp=0.5)", 11, 0.05, TUNE),
            Stage("shared", "share(bits=4, rate=0.002)", 5, 2e-4, ADAM),
        ),
        {**FAST, "augment": "crop+flip"},
        "none",
    ),
}  # fmt: skip


class Bench:
    """One net with one seed: its stages, each stored when it ends."""

    def __init__(self, net: Net, source: Source, home: Path, seed: int) -> None:
        self.net, self.source, self.home, self.seed = net, source, home, seed
        home.mkdir(parents=True, exist_ok=True)

    def config(self, stage: Stage) -> TrainConfig:
        """The training of a stage."""
        return TrainConfig(epochs=stage.epochs, lr=stage.lr, seed=self.seed, **{**self.net.options, **stage.options})

    def train(self) -> dict[str, nn.Module]:
        """Run the stages that are missing; the net after each."""
        found: dict[str, nn.Module] = {}
        before: nn.Module | None = None
        for stage in self.net.stages:
            home = self.home / stage.name
            if not (home / "stage.json").exists():
                self._stage(stage, home, before, self._teacher(found["dense"]) if found else None)
            found[stage.name] = before = load(home)
        return found

    def _teacher(self, dense: nn.Module) -> nn.Module:
        """The net to learn from: one for all seeds, trained when it is first asked for; or the dense net."""
        if self.net.teacher is None:
            return dense
        recipe, stage = self.net.teacher
        home = self.home.parent / f"{self.home.name.rpartition('-')[0]}-teacher"
        if not (home / "stage.json").exists():
            other = Net(recipe, (stage,), self.net.options, "")
            Bench(other, self.source, self.home, 0)._stage(stage, home, None, None)
        return edit(load(home), "fold_bn").model

    def _stage(self, stage: Stage, home: Path, before: nn.Module | None, teacher: nn.Module | None) -> None:
        classes, channels = self.source.classes, self.source.input.channels
        if before is None:
            model = create(self.net.recipe, num_classes=len(classes), in_channels=channels, seed=self.seed)
        else:
            model = edit(before, stage.edit).model
        done = fit(model, self.source, self.config(stage), run=home, teacher=teacher, resume=True, log=say)
        save(done.model, home, input=self.source.input, classes=classes)
        seconds = done.history[-1]["seconds"]
        accuracy = evaluate(bake(done.model), self.source, split="val").accuracy
        write_json(home / "stage.json", {"edit": stage.edit, "seconds": seconds, "val_accuracy": accuracy})
        say(f"{self.home.name} {stage.name}: validation error {100 * (1 - accuracy):.2f} %, {seconds:.0f} s")

    def stages(self) -> list[dict[str, Any]]:
        """Name, edit, training settings, seconds and validation accuracy of each stage."""
        rows = []
        for stage in self.net.stages:
            about = json.loads((self.home / stage.name / "stage.json").read_text())
            rows.append({"name": stage.name, **about, "epochs": stage.epochs, "lr": stage.lr})
        if self.net.teacher is not None:
            home = self.home.parent / f"{self.home.name.rpartition('-')[0]}-teacher"
            about = json.loads((home / "stage.json").read_text())
            rows.append({"name": f"teacher {self.net.teacher[0]}, for all seeds", **about, "epochs": self.net.teacher[1].epochs})
        return rows

    def pack(self, model: nn.Module, name: str) -> Path:
        """The .danlu file of a net; numbers that nothing encodes go as float16."""
        path = self.home / f"{name}.danlu"
        pack_model(model, path, input=self.source.input, classes=self.source.classes, floats="fp16")
        return path

    def judge(self, nets: dict[str, nn.Module]) -> dict[str, Any]:
        """Files, bytes and test accuracies: the packed net, its dense net, and the rivals."""
        source, dense = self.source, nets["dense"]
        final = list(nets)[-1]
        fp32 = 4 * sum(parameter.numel() for parameter in dense.parameters())
        right: dict[str, np.ndarray] = {}
        rows: dict[str, dict[str, Any]] = {}

        def row(name: str, size: int, answers: np.ndarray) -> None:
            right[name] = answers == source.test.labels
            error = 1 - float(right[name].mean())
            rows[name] = {"size_bytes": size, "times_smaller": fp32 / size, "test_error": error}
            if name != "dense fp32":
                difference, low, high = paired_difference(right[name], right["dense fp32"])
                rows[name] |= {"difference": difference, "interval": [low, high]}

        def answers(model: nn.Module) -> np.ndarray:
            return evaluate(model, source, split="test").logits.argmax(1)

        row("dense fp32", fp32, answers(dense))
        packed = self.pack(nets[final], "model")
        started = time.perf_counter()
        unpacked = unpack_model(packed).model
        seconds = time.perf_counter() - started
        row("danlu", packed.stat().st_size, answers(unpacked))
        onnx = export_onnx(dense, self.home / "dense.onnx", input=source.input, classes=source.classes)
        int8 = quantize_int8(onnx, self.home / "int8.onnx", calibration_batches(source.train, source.input))
        row("int8 ONNX", Path(int8).stat().st_size, predict(int8, source.test).argmax(1))
        half = bake(dense).half()
        numbers = b"".join(tensor.numpy().tobytes() for tensor in half.state_dict().values())
        row("fp16 + zstd -19", len(zstandard.compress(numbers, 19)), answers(half.float()))
        for name, (stem, model) in self.packed_rivals(nets).items():
            file = self.pack(model, stem)
            row(name, file.stat().st_size, answers(unpack_model(file).model))
        inspected = {key: value for key, value in inspect_file(packed).to_json().items() if key != "file"}
        return {"seed": self.seed, "rows": rows, "stages": self.stages(), "unpack_seconds": seconds, "file": inspected}

    def packed_rivals(self, nets: dict[str, nn.Module]) -> dict[str, tuple[str, nn.Module]]:
        """Half of what danlu does, each packed as well: row -> (name of the file, net)."""
        clustered = edit(nets["dense"], "share(bits=5)").model
        return {
            "k-means, 5 bits, no pruning": ("clustered", clustered),
            "pruning, no sharing": ("pruned", nets["pruned"]),
        }


def run_seeds(bench_of: Callable[[int], Bench], seeds: list[int]) -> list[dict[str, Any]]:
    """The results of all seeds; those that are stored are not made again."""
    results = []
    for seed in seeds:
        bench = bench_of(seed)
        file = bench.home / "result.json"
        if not file.exists():
            write_json(file, bench.judge(bench.train()))
        results.append(json.loads(file.read_text()))
    return results


def say(text: str) -> None:
    """Progress goes to stderr."""
    print(text, file=sys.stderr, flush=True)


def table(results: list[dict[str, Any]], published: str) -> None:
    """The rows of every seed, then median and worst."""
    for result in results:
        print(f"seed {result['seed']}: " + ", ".join(f"{s['name']} {s['seconds']:.0f} s" for s in result["stages"]))
        for name, row in result["rows"].items():
            change = ""
            if "difference" in row:
                low, high = (100 * v for v in row["interval"])
                change = f"({100 * row['difference']:+.2f} points [{low:+.2f}, {high:+.2f}])"
            size = f"{row['size_bytes']:>9,} B {row['times_smaller']:6.1f}x"
            print(f"  {name:28} {size}  error {100 * row['test_error']:.2f} % {change}")
    ours = [result["rows"]["danlu"] for result in results]
    summary: list[tuple[str, Callable[[list[float]], float], Callable[[list[float]], float]]] = [
        ("median", statistics.median, statistics.median),
        ("worst", max, max),
    ]
    for name, of_size, of_error in summary:
        size, error = of_size([r["size_bytes"] for r in ours]), of_error([r["test_error"] for r in ours])
        print(f"{name}: {size:,.0f} B, error {100 * error:.2f} %")
    print(f"published: {published}")


def main() -> None:
    """Run what is missing for each seed, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("net", choices=NETS)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, default=Path("bench-compression"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    net = NETS[options.net]
    source = load_data(options.data, seed=0)
    results = run_seeds(lambda seed: Bench(net, source, options.work / f"{options.net}-{seed}", seed), options.seeds)
    table(results, net.published)
    if options.out:
        command = "python benchmarks/deep_compression.py " + " ".join(sys.argv[1:])
        about = {"command": command, "date": time.strftime("%Y-%m-%d"), "net": net.recipe, "published": net.published}
        write_json(options.out, {**about, "machine": environment(), "results": results})


if __name__ == "__main__":
    main()
