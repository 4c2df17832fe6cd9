"""Every network of the zoo, and every structure edit on ResNet-20, on equal terms: 32x32 pixels, 5,000 images of CIFAR-10.

    python benchmarks/atlas.py DATA/cifar10.zip --work bench-atlas --out docs/results/atlas.json

The protocol, the same for all: the recipe `NET | fit_input(size=32)` (or `NET(size=32)` where the net has a fixed input), 10
classes; the same 5,000 training images (500 a class) with random crops and mirror images, batches of 32, 2 epochs, AdamW at 0.001
with a cosine schedule after a warm-up, mixed precision (bf16); the weights of the epoch that was best on 500 validation images;
accuracy on 2,000 test images (200 a class), looked at once: one standard error is 1.1 points. Nothing is tuned for a net: one
that learns slowly, or wants another rate, shows it. Two epochs are the beginning of a training; they tell what learns fast.

Parameters and MACs are counted; latency is the exported file's in onnxruntime, batch 1, one thread; images/s are those of
training steps in batches of 32, one thread. Times are taken by `--only time`, on a quiet machine, each beside ResNet-20 in one
interleaved run, so that a slow hour slows both: `times_resnet20` is the median of the ratios.

Each net writes its results when they are there, in --work; a second call goes on with what is missing, cheapest first. What an
earlier --out of the same protocol holds is taken over. By the measured speeds the whole takes about 9 hours of one core, where it
has bf16 instructions: half a night on two (two calls, each with a --match of its own); `--minutes` begins no net after so long.
"""

import argparse
import json
import re
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from danlu.cost import profile
from danlu.data import Source, Split, load_data
from danlu.deploy import bench, export_onnx
from danlu.edits import edits
from danlu.edits.surgery import count_params
from danlu.errors import DanluError
from danlu.files import write_json
from danlu.runs import environment
from danlu.train import Interrupted, TrainConfig, evaluate, fit
from danlu.zoo import create, models

IMAGES, VAL, TEST, BATCH, EPOCHS, RATE = 5000, 500, 2000, 32, 2, 1e-3
PROTOCOL = {
    "images": IMAGES, "val_images": VAL, "test_images": TEST, "epochs": EPOCHS, "batch_size": BATCH, "optimizer": "adamw",
    "lr": RATE, "precision": "bf16",
}  # fmt: skip
TRAINED = ("accuracy", "val_accuracy")
TIMED = ("latency_ms", "latency_p10_p90", "times_resnet20", "onnx_bytes", "not_exported", "train_images_per_second")
BASE = "resnet20"
# The structure edits with an option that has no default, and those that are about something else than ResNet-20.
CALLS = {"swap_activation": "swap_activation(to='silu')", "swap_norm": "swap_norm(to='group')", "widen": "widen(factor=2)"}
CALLS |= {"deepen": "deepen(stage=2)", "shorten": "shorten(stage=2)", "swap_pool": "swap_pool(to='max', strided=True)"}
LEFT_OUT = ("fit_input", "condense", "skip", "dense")  # ResNet-20 has its size, its shortcuts, and no learned groups


def recipes() -> dict[str, str]:
    """Name -> recipe: all nets, and ResNet-20 with each structure edit."""
    found = {}
    for entry in models:
        found[entry.name] = f"{entry.name}(size=32)" if "size" in entry.options() else f"{entry.name} | fit_input(size=32)"
    for step in edits:
        if not step.facts["needs"] and step.name not in LEFT_OUT:
            found[f"{BASE} | {step.name}"] = f"{BASE} | {CALLS.get(step.name, step.name)}"
    return found


def counted(recipe: str) -> dict[str, Any]:
    """Parameters and MACs of a fresh net."""
    with torch.device("meta"):
        net = create(recipe, num_classes=10)
    return {"recipe": recipe, "params": count_params(net), "macs": profile(net.eval(), (3, 32, 32)).macs}


def few(source: Source, seed: int) -> Source:
    """The images of the protocol, in each split as many of every class."""
    val, test = (
        only(getattr(source, split), count, len(source.classes), seed) for split, count in (("val", VAL), ("test", TEST))
    )
    return replace(source.subset(IMAGES, seed), val=val, test=test)


def only(split: Split, count: int, classes: int, seed: int) -> Split:
    """`count` images of a split, drawn by `seed`."""
    generator = np.random.default_rng(seed)
    rows = [generator.permutation(np.flatnonzero(split.labels == label))[: count // classes] for label in range(classes)]
    return split.only(np.sort(np.concatenate(rows)))


def train(recipe: str, source: Source, home: Path, seed: int) -> dict[str, Any]:
    """Train by the protocol and judge on the test images."""
    net = create(recipe, num_classes=len(source.classes), in_channels=3, seed=seed)
    config = TrainConfig(
        epochs=EPOCHS, batch_size=BATCH, optimizer="adamw", lr=RATE, weight_decay=0.01, augment="crop+flip",
        precision="bf16", memory_format="channels_last", seed=seed,
    )  # fmt: skip
    done = fit(net, source, config, run=home, resume=True)
    with torch.autocast("cpu", torch.bfloat16):
        found = evaluate(done.model, source, batch_size=100)
    shutil.rmtree(home / "checkpoints")  # of all nets together they would be many gigabytes
    return {"accuracy": found.accuracy, "val_accuracy": done.best_accuracy}


def images_per_second(net: nn.Module, seconds: float) -> float:
    """Images that training steps go through in a second: forward, backward, AdamW, batches of 32, the median step."""
    net.train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, foreach=True)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 3, 32, 32, generator=generator).to(memory_format=torch.channels_last)
    labels = torch.randint(10, (BATCH,), generator=generator)
    steps: list[float] = []
    began = time.perf_counter()
    while len(steps) < 4 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        logits = net(x)
        logits = logits.flatten(0, 1) if logits.dim() == 3 else logits
        loss = nn.functional.cross_entropy(logits, labels.repeat_interleave(len(logits) // BATCH))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps.append(time.perf_counter() - start)
    return BATCH / float(np.median(steps[1:]))


def timed(recipe: str, source: Source, seconds: float) -> dict[str, Any]:
    """Latency and bytes of the exported file, its ratio to ResNet-20's, and the speed of training."""
    facts: dict[str, Any] = {"input": source.input, "classes": source.classes}
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        nets = [create(name, num_classes=10, in_channels=3, seed=0) for name in (BASE, recipe)]
        try:
            files = [export_onnx(net, Path(folder, f"{i}.onnx"), **facts) for i, net in enumerate(nets)]
            _, timing = bench(files, seconds=seconds, repeats=200)
            found = {
                "latency_ms": timing.median_ms, "latency_p10_p90": [timing.p10_ms, timing.p90_ms],
                "times_resnet20": timing.ratio, "onnx_bytes": timing.size_bytes,
            }  # fmt: skip
        except DanluError as error:
            found = {"not_exported": str(error)}
    return found | {"train_images_per_second": round(images_per_second(nets[1], seconds), 1)}


def take_over(out: Path | None, work: Path, data: str) -> None:
    """Put the results of an earlier `out` where --work lacks them: times of this processor, accuracies of this protocol."""
    if not out or not out.exists():
        return
    earlier = json.loads(out.read_text())
    here = earlier["machine"]["processor"] == environment()["processor"]
    same = earlier["protocol"] == PROTOCOL and earlier["data"] == data
    for row in earlier["rows"]:
        for part, keys in [("time", TIMED)] * here + [("train", TRAINED)] * same:
            file = work / row["name"].replace(" | ", "-") / f"{part}.json"
            found = {key: row[key] for key in keys if key in row}
            if found and not file.exists():
                write_json(file, found)


def main() -> None:
    """Run what has no result yet, then write all results that there are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="CIFAR-10: an archive or a folder of class folders, split into train and test")
    parser.add_argument("--work", type=Path, default=Path("bench-atlas"))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", choices=("train", "time"), help="one of the two parts")
    parser.add_argument("--match", default="", help="only nets whose name holds this regular expression")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no net after so long")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement of time")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.monotonic()
    source = few(load_data(options.data, seed=options.seed), options.seed)
    take_over(options.out, options.work, source.fingerprint)
    nets = {name: recipe for name, recipe in recipes().items() if re.search(options.match, name)}
    count = {name: attempt(lambda recipe=recipe: counted(recipe)) for name, recipe in nets.items()}
    for part in [options.only] if options.only else ["train", "time"]:
        for name in sorted(nets, key=lambda name: count[name].get("macs", 0)):
            file = options.work / name.replace(" | ", "-") / f"{part}.json"
            if file.exists() or "failed" in count[name] or time.monotonic() - began > 60 * options.minutes:
                continue
            if part == "train":
                result = attempt(lambda name=name, file=file: train(nets[name], source, file.parent, options.seed))
            else:
                result = attempt(lambda name=name: timed(nets[name], source, options.seconds))
            write_json(file, result)
            print(f"{name}: {json.dumps(result)}", flush=True)
    rows = []
    for name in nets:
        home = options.work / name.replace(" | ", "-")
        parts = [json.loads(file.read_text()) for file in (home / "train.json", home / "time.json") if file.exists()]
        rows.append({"name": name, **count[name], **{key: value for part in parts for key, value in part.items()}})
    print(f"{sum('accuracy' in row for row in rows)} of {len(rows)} trained, {sum('latency_ms' in row for row in rows)} timed")
    if options.out:
        command = "python benchmarks/atlas.py " + " ".join(sys.argv[1:])
        about = {"command": command, "date": time.strftime("%Y-%m-%d"), "seed": options.seed, "data": source.fingerprint}
        write_json(options.out, {**about, "protocol": PROTOCOL, "machine": environment(), "rows": rows})


def attempt(work: Any) -> dict[str, Any]:
    """The result of `work`, or why there is none."""
    try:
        found: dict[str, Any] = work()
    except Interrupted:
        raise  # it goes on next time
    except DanluError as error:
        return {"failed": str(error)}
    return found


if __name__ == "__main__":
    main()
