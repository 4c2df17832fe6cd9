"""A full result as the optimiser writes it, made up but consistent, for the tests of the report."""

import math
from typing import Any

import numpy as np

from danlu.report import to_data_uri

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
BASELINE = "resnet20(width=1.0)"
BEST = (
    "mobilenet_v1(width=0.25, depth=8) | fit_input(size=32) | swap_activation(to='hardswish') | "
    "prune_channels(amount=0.35, importance='taylor')"
)
FAMILIES = ("mobilenet_v1", "resnet20", "squeezenet1_1", "allconv5", "lenet5", "resnet56")


def candidates(rng: np.random.Generator, count: int = 13) -> list[dict[str, Any]]:
    """`count` networks in two precisions each; costs and accuracies follow a plausible law."""
    rows = []
    for i in range(count):
        width = [0.125, 0.25, 0.35, 0.5, 0.75, 1.0][i % 6]
        recipe = f"{FAMILIES[i % len(FAMILIES)]}(width={width}) | fit_input(size=32)" + (
            " | swap_activation(to='silu')" if i % 4 == 1 else ""
        )
        params = int(9_000 * 1.42**i)
        macs = int(380_000 * 1.55**i * rng.uniform(0.7, 1.4))
        status = "infeasible" if i >= 10 else "measured" if i % 5 == 4 else "trained" if i in (3, 6) else "stopped"
        top = 0.55 + 0.235 * (1 - math.exp(-i / 3)) + rng.normal(0, 0.008)
        trained = status in ("trained", "stopped")
        rungs = [
            {"seconds": s, "accuracy": top - 0.22 / (k + 1.0)}
            for k, s in enumerate([12.0, 36.0, 108.0][: 3 if status == "trained" else 1 + i % 2])
        ]
        for precision in ("fp32", "int8"):
            latency = (0.08 + macs / 9e6) * (0.62 if precision == "int8" else 1)
            rows.append(
                {
                    "id": i + 1,
                    "recipe": recipe,
                    "precision": precision,
                    "size": [32, 32] if i % 3 else [24, 24],
                    "params": params,
                    "macs": macs,
                    "size_bytes": int(params * (4 if precision == "fp32" else 1.25) + 9_000),
                    "latency_ms": latency,
                    "latency_p10_ms": latency * 0.97,
                    "latency_p90_ms": latency * 1.08,
                    "accuracy": (top if status == "trained" else rungs[-1]["accuracy"]) if trained else None,
                    "status": status,
                    "why": {"infeasible": "over the limit: size 612 KB of 500 KB", "stopped": "outrun in rung 1"}.get(status, ""),
                    "rungs": rungs if trained else [],
                }
            )
    for precision, size, latency, accuracy in (("fp32", 391_224, 0.71, 0.8085), ("int8", 123_400, 0.412, 0.8062)):
        rows.append(
            {
                "id": 20,
                "recipe": BEST,
                "precision": precision,
                "size": [32, 32],
                "params": 92_410,
                "macs": 4_160_000,
                "size_bytes": size,
                "latency_ms": latency,
                "latency_p10_ms": latency * 0.98,
                "latency_p90_ms": latency * 1.07,
                "accuracy": accuracy,
                "status": "chosen",
                "why": "",
                "rungs": [
                    {"seconds": 12.0, "accuracy": 0.621},
                    {"seconds": 36.0, "accuracy": 0.702},
                    {"seconds": 108.0, "accuracy": 0.768},
                    {"seconds": 420.0, "accuracy": 0.8085},
                ],
            }
        )
    return rows


def profile(layers: int, width: int, slow: float) -> dict[str, Any]:
    """A profile as `Profile.to_json()` gives it."""
    rows = []
    side, channels = 32, width
    for i in range(layers):
        stride = 2 if i in (layers // 3, 2 * layers // 3) else 1
        groups = channels if i % 2 and width < 12 else 1
        side //= stride
        into, channels = channels if i else 3, channels * stride
        macs = side * side * channels * into * 9 // (groups if groups == into else 1)
        rows.append(
            {
                "name": f"stages.{i // 4}.{i % 4}.conv",
                "kind": "Conv2d",
                "call": 0,
                "operators": ["convolution"],
                "kernel": [3, 3],
                "stride": [stride, stride],
                "groups": groups if groups == into else 1,
                "input": [1, into, side * stride, side * stride],
                "output": [1, channels, side, side],
                "params": channels * into * 9,
                "macs": macs,
                "bytes_read": 4 * into * side * side,
                "bytes_written": 4 * channels * side * side,
                "activation_bytes": 4 * channels * side * side,
                "receptive": [3 + 2 * i, 3 + 2 * i],
                "jump": [1, 1],
                "scales": False,
                "sources": [i - 1],
                "median_ms": slow * (macs / 4e6 + 0.02),
                "p10_ms": slow * (macs / 4e6 + 0.018),
                "p90_ms": slow * (macs / 4e6 + 0.03),
                "intensity": macs / (4 * side * side * (into + channels)),
            }
        )
        rows.append(
            {
                "name": f"stages.{i // 4}.{i % 4}",
                "kind": "Residual",
                "call": 0,
                "operators": ["add", "relu"],
                "kernel": None,
                "stride": None,
                "groups": None,
                "input": [1, channels, side, side],
                "output": [1, channels, side, side],
                "params": 0,
                "macs": 0,
                "bytes_read": 8 * channels * side * side,
                "bytes_written": 4 * channels * side * side,
                "activation_bytes": 4 * channels * side * side,
                "receptive": [3 + 2 * i, 3 + 2 * i],
                "jump": [1, 1],
                "scales": False,
                "sources": [i],
                "median_ms": slow * 0.01,
                "p10_ms": slow * 0.009,
                "p90_ms": slow * 0.012,
                "intensity": 0.0,
            }
        )
    rows.append(
        {
            "name": "head",
            "kind": "Linear",
            "call": 0,
            "operators": ["addmm"],
            "kernel": None,
            "stride": None,
            "groups": None,
            "input": [1, channels],
            "output": [1, 10],
            "params": channels * 10 + 10,
            "macs": channels * 10,
            "bytes_read": 4 * channels * 11,
            "bytes_written": 40,
            "activation_bytes": 40,
            "receptive": [32, 32],
            "jump": None,
            "scales": False,
            "sources": [2 * layers - 1],
            "median_ms": 0.004,
            "p10_ms": 0.0038,
            "p90_ms": 0.0047,
            "intensity": 0.24,
        }
    )
    return {
        "input": [1, 3, 32, 32],
        "params": sum(r["params"] for r in rows),
        "macs": sum(r["macs"] for r in rows),
        "peak_activation_bytes": 262_144,
        "param_bytes": 4 * sum(r["params"] for r in rows),
        "time_ms": slow * 1.4,
        "rows": rows,
        "uncounted": [{"what": "operator", "name": "aten.grid_sampler", "calls": 1}],
        "notes": [],
    }


def curve(name: str, epochs: int, end: float, seconds: float) -> dict[str, Any]:
    """A training curve that saturates at accuracy `end`."""
    points = []
    for e in range(1, epochs + 1):
        rise = 1 - math.exp(-3.2 * e / epochs)
        points.append(
            {
                "epoch": e,
                "seconds": seconds * e / epochs,
                "train_loss": 2.3 - 1.85 * rise,
                "val_loss": 2.3 - 1.68 * rise + 0.05 * math.sin(e),
                "train_accuracy": 0.1 + (end - 0.03) * rise,
                "val_accuracy": 0.1 + (end - 0.1) * rise + 0.01 * math.sin(2 * e),
                "lr": 0.05 * (1 + math.cos(math.pi * e / epochs)),
            }
        )
    return {"name": name, "points": points}


def confusion(rng: np.random.Generator, classes: int, images: int, accuracy: float) -> list[list[int]]:
    """counts[truth][predicted] with about `accuracy` on the diagonal; neighbours are confused most."""
    table = []
    for i in range(classes):
        weights = np.array([math.exp(-abs(i - j) / 2) if i != j else 0.0 for j in range(classes)])
        shares = (1 - accuracy) * weights / weights.sum()
        shares[i] = accuracy
        table.append(rng.multinomial(images, shares).tolist())
    return table


def pictures(rng: np.random.Generator, count: int, classes: list[str], side: int = 32) -> list[dict[str, Any]]:
    """Blurred colour noise: enough to see whether pictures are enlarged well."""
    found = []
    for i in range(count):
        small = rng.integers(30, 225, (8, 8, 3), dtype=np.uint8)
        pixels = np.kron(small, np.ones((side // 8, side // 8, 1), np.uint8))
        truth, other = int(rng.integers(len(classes))), int(rng.integers(len(classes) - 1))
        predicted = classes[other if other < truth else other + 1]
        found.append(
            {
                "image": to_data_uri(pixels),
                "truth": classes[truth],
                "predicted": predicted,
                "confidence": 0.995 - 0.012 * i,
                "name": f"test/{classes[truth]}/{1000 + 37 * i}.jpg",
            }
        )
    return found


def example(classes: list[str] | None = None, images: int = 1000, met: bool = True) -> dict[str, Any]:
    """The whole result: a 10-class run with 28 candidate rows, by default within its budget."""
    names = CIFAR if classes is None else classes
    rng = np.random.default_rng(7)
    table = confusion(rng, len(names), images, 0.801)
    n = sum(map(sum, table))
    right = sum(table[i][i] for i in range(len(names))) / n
    best = {
        "recipe": BEST,
        "precision": "int8",
        "accuracy": right,
        "val_accuracy": 0.8062,
        "size_bytes": 123_400,
        "latency_ms": 0.412,
        "latency_p10_ms": 0.404,
        "latency_p90_ms": 0.441,
        "macs": 4_160_000,
        "params": 92_410,
        "file": "runs/0001-flowers/model.onnx",
    }
    baseline = {
        "recipe": BASELINE,
        "precision": "fp32",
        "accuracy": right + 0.004,
        "val_accuracy": 0.8121,
        "size_bytes": 1_098_112,
        "latency_ms": 2.184,
        "latency_p10_ms": 2.13,
        "latency_p90_ms": 2.37,
        "macs": 40_813_184,
        "params": 272_474,
        "file": "runs/0001-flowers/baseline.onnx",
    }
    limit = 500_000 if met else 100_000
    return {
        "danlu": "0.1.0",
        "run": "runs/0001-flowers",
        "name": "flowers",
        "seconds": 1180.2,
        "time_budget": 1200.0,
        "seed": 0,
        "threads": 1,
        "command": f"danlu optimize photos/flowers --max-size {limit // 1000}KB --max-latency 3ms --max-drop 0.01 --time 20m",
        "date": "2026-03-02",
        "machine": {
            "processor": "Example CPU @ 2.90GHz",
            "cores": 2,
            "system": "Linux-6.1-x86_64",
            "python": "3.12.3",
            "versions": {
                "danlu": "0.1.0",
                "torch": "2.13.0",
                "onnx": "1.23.0",
                "onnxruntime": "1.32.0",
                "numpy": "2.4.1",
                "torch-pruning": "1.6.1",
                "optuna": "5.0.0",
            },
        },
        "data": {
            "name": "flowers",
            "where": "photos/flowers",
            "classes": names,
            "counts": {"train": 40_000, "val": 10_000, "test": n},
            "input": {
                "size": [32, 32],
                "channels": 3,
                "mean": [0.4914, 0.4822, 0.4465],
                "std": [0.247, 0.2435, 0.2616],
                "resize": "stretch",
            },
            "health": {
                "counts": {
                    "train": {c: 4000 - 37 * i for i, c in enumerate(names)},
                    "val": dict.fromkeys(names, 1000),
                    "test": dict.fromkeys(names, images),
                },
                "sizes": {"min": [32, 32], "median": [32, 32], "max": [48, 64]},
                "modes": {"RGB": 59_988, "L": 12},
                "unreadable": [{"name": "train/cat/0017.jpg", "reason": "image file is truncated (12 bytes not processed)"}],
                "duplicates": [
                    {"names": ["train/dog/0311.jpg", "test/dog/0020.jpg"], "splits": ["train", "test"]},
                    {"names": ["train/ship/0911.jpg", "val/ship/0120.jpg"], "splits": ["train", "val"]},
                ],
                "conflicts": [],
                "repeated": 2,
                "ignored": 0,
                "missing": {},
                "warnings": ["2 images are in more than one split; they were left in training only"],
            },
        },
        "budget": {
            "text": {"max_size": "500KB", "max_latency": "3ms", "max_macs": None, "max_drop": 0.01},
            "max_size_bytes": limit,
            "max_latency_ms": 3.0,
            "max_macs": None,
            "max_drop": 0.01,
            "met": met,
            "checks": [
                {"what": "size", "limit": limit, "got": 123_400, "unit": "bytes", "met": met},
                {"what": "latency", "limit": 3.0, "got": 0.412, "unit": "ms", "met": True},
                {"what": "accuracy drop", "limit": 0.01, "got": 0.004, "unit": "share", "met": True},
            ],
            "in_the_way": "" if met else "size 123 KB of 100 KB (the lightest candidate measured has 98.2 KB)",
        },
        "baseline": baseline,
        "best": best,
        "speedup": {
            "latency": 5.3,
            "latency_interval": [5.0, 5.6],
            "size": 1_098_112 / 123_400,
            "macs": 40_813_184 / 4_160_000,
            "params": 272_474 / 92_410,
        },
        "test": {
            "n": n,
            "accuracy": right,
            "baseline_accuracy": right + 0.004,
            "difference": -0.004,
            "interval": [-0.011, 0.003],
            "confusion": table,
            "mistakes": pictures(rng, 12, names),
        },
        "candidates": candidates(rng),
        "failed": [{"recipe": "octave(alpha=0.5)", "why": "the exporter does not know aten.grid_sampler"}],
        "steps": [
            {
                "name": "baseline",
                "recipe": BASELINE,
                "accuracy": 0.8121,
                "size_bytes": 1_098_112,
                "latency_ms": 2.184,
                "macs": 40_813_184,
                "params": 272_474,
            },
            {
                "name": "smaller network, distilled",
                "recipe": BEST,
                "accuracy": 0.8085,
                "size_bytes": 391_224,
                "latency_ms": 0.71,
                "macs": 4_160_000,
                "params": 92_410,
            },
            {
                "name": "int8",
                "recipe": BEST,
                "accuracy": 0.8062,
                "size_bytes": 123_400,
                "latency_ms": 0.412,
                "macs": 4_160_000,
                "params": 92_410,
            },
        ],
        "curves": [curve("baseline", 34, 0.83, 310.0), curve(BEST, 41, 0.81, 420.0)],
        "layers": {"baseline": profile(19, 16, 1.0), "best": profile(9, 8, 0.8)},
        "advice": [
            {
                "why": "The first layer makes 31 % of the time and 4 % of the MACs: it works on the full 32 × 32 input.",
                "edit": "fit_input(size=24)",
                "saving": {"macs": 0.418, "time": 0.27, "peak_activation_bytes": 0.437},
            },
            {
                "why": "The head holds 22 % of the parameters.",
                "edit": "factorize_linear(energy=0.95)",
                "saving": {"params": 0.133},
            },
        ],
        "not_compressed": [
            {"what": "head", "why": "int8 was slower here than fp32 (0.011 ms against 0.004 ms)"},
            {"what": "stages.0.0.conv", "why": "the drop in accuracy was more than the gain allows"},
        ],
        "stages": [
            {"name": "baseline", "seconds": 322.4},
            {"name": "measure candidates", "seconds": 94.0},
            {"name": "successive halving", "seconds": 188.2},
            {"name": "train finalists", "seconds": 498.8},
            {"name": "choose and confirm", "seconds": 76.8},
        ],
        "log": "12:00:01 flowers: 10 classes, 40000 + 10000 + 10000 images\n"
        "12:05:24 baseline: 81.2 % on validation, 1.1 MB, 2.18 ms, 40.8 M MACs",
    }
