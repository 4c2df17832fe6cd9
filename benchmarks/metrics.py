"""What every metric costs on a million predictions, against another way to compute it, turn by turn in one run.

    python benchmarks/metrics.py                       all, on one thread
    python benchmarks/metrics.py roc_auc mean_ap       these
    python benchmarks/metrics.py --out docs/results/metrics.json

Times are the median of the rounds, with the fastest and slowest; the ratio is the median of the ratios of neighbouring runs. The
other way is torchmetrics where it has the metric, else loops in Python, or none. Loops run on 1/100 of the predictions, and 100
times their time is what is shown: an estimate, marked with ~. Both ways are held to the same value before they are timed.

A million is that of pixels for images, of the pairs that the kernel MMD compares, and of the numbers that sliced Wasserstein
sorts.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torchmetrics.functional import classification as over
from torchmetrics.functional.image import peak_signal_noise_ratio
from torchmetrics.image.kid import poly_mmd

from danlu.files import write_json
from danlu.metrics import metrics
from danlu.runs import environment

MILLION = 1_000_000
SHARE = 100  # loops run on one part in so many


@dataclass(frozen=True)
class Case:
    """`ours` and `other` give one value each; a loop judges only the first 1 / SHARE of the predictions."""

    size: str
    ours: Callable[[], float]
    other: Callable[[], float] | None = None
    against: str = "-"
    part: Callable[[], float] | None = None  # ours on what the loop judges


def cases(n: int) -> dict[str, Case]:
    """A case for each metric of predictions, on the same random data."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 10, (n,), generator=draws)
    scores = torch.randn(n, 10, generator=draws)
    scores[torch.arange(n), labels] += 1
    answers, true = scores.argmax(1), labels > 4
    chance = torch.sigmoid(torch.randn(n, generator=draws) + true)
    found, objects = boxes(n)
    few, wanted = boxes(n // SHARE)
    features, real = torch.randn(n, 8, generator=draws), torch.randn(n, 8, generator=draws) + 0.1
    many = max(int(n**0.5), 2)  # of the kernel MMD, which compares all with all
    heap, other_heap = torch.randn(many, 64, generator=draws).double(), torch.randn(many, 64, generator=draws).double()
    pixels = torch.randint(0, 10, (16, 250, n // 4000), generator=draws)
    guess = torch.where(torch.rand(pixels.shape, generator=draws) < 0.8, pixels, 0)
    shares, true_shares = scores.softmax(1), scores.roll(1, 1).softmax(1)
    side = max(int((n / 16) ** 0.5), 1)
    images = torch.rand(16, 1, side, side, generator=draws)
    spoiled = (images + 0.05 * torch.randn(images.shape, generator=draws)).clamp(0, 1)
    samples = max(n // 128, 2)  # of sliced Wasserstein, along 128 directions
    run = {entry.name: entry.build for entry in metrics}
    part = slice(n // SHARE)

    def classes(name: str) -> Case:
        theirs = getattr(over, f"multiclass_{name}")
        return Case(
            f"{n:,} of 10 classes", lambda: run["f1" if name == "f1_score" else name](answers, labels),
            lambda: float(theirs(answers, labels, num_classes=10, average="micro" if name == "accuracy" else "macro")),
            "torchmetrics",
        )  # fmt: skip

    def pairs(name: str, theirs: Callable[..., torch.Tensor]) -> Case:
        return Case(f"{n:,} scores", lambda: run[name](chance, true), lambda: float(theirs(chance, true.int())), "torchmetrics")

    def counted(name: str, among: bool) -> Case:
        return Case(
            f"{n:,} scores", lambda: run[name](chance, true),
            lambda: rate(chance[part].tolist(), true[part].tolist(), among, name == "frr"), "loop",
            lambda: run[name](chance[part], true[part]),
        )  # fmt: skip

    def picture(name: str, other: Callable[[], float] | None = None) -> Case:
        judge = (lambda: run[name](images)) if name == "cpbd" else (lambda: run[name](spoiled, images))
        return Case(f"{images.numel():,} pixels", judge, other, "torchmetrics" if other else "-")

    return {
        "accuracy": classes("accuracy"),
        "zero_one": Case(
            f"{n:,} of 10 classes", lambda: run["zero_one"](answers, labels),
            lambda: 1 - float(over.multiclass_accuracy(answers, labels, num_classes=10, average="micro")), "torchmetrics",
        ),
        "precision": classes("precision"),
        "recall": classes("recall"),
        "f1": classes("f1_score"),
        "top_k": Case(
            f"{n:,} x 10 scores", lambda: run["top_k"](scores, labels),
            lambda: float(over.multiclass_accuracy(scores, labels, num_classes=10, top_k=5, average="micro")), "torchmetrics",
        ),
        "roc_auc": pairs("roc_auc", over.binary_auroc),
        "pr_auc": pairs("pr_auc", over.binary_average_precision),
        "tar_at_far": Case(
            f"{n:,} scores", lambda: run["tar_at_far"](chance, true),
            lambda: float(over.binary_sensitivity_at_specificity(chance, true.int(), min_specificity=0.999)[0]), "torchmetrics",
        ),
        "tar": counted("tar", True),
        "frr": counted("frr", True),
        "far": counted("far", False),
        "average_precision": Case(
            f"{n:,} scores", lambda: run["average_precision"](chance, true),
            lambda: ranking(chance[part].tolist(), true[part].tolist()), "loop",
            lambda: run["average_precision"](chance[part], true[part]),
        ),
        "mean_ap": Case(
            f"{n:,} boxes, {len(objects):,} objects", lambda: run["mean_ap"](found, objects),
            lambda: devkit(few, wanted), "loop", lambda: run["mean_ap"](few, wanted),
        ),
        "mean_iou": Case(
            f"{pixels.numel():,} pixels", lambda: run["mean_iou"](guess, pixels),
            lambda: float(over.multiclass_jaccard_index(guess, pixels, num_classes=10)), "torchmetrics",
        ),
        "inception_score": Case(
            f"{n:,} x 10 chances", lambda: run["inception_score"](shares),
            lambda: inception(shares[part].tolist()), "loop",
            lambda: run["inception_score"](shares[part]),
        ),
        "mode_score": Case(
            f"{n:,} and {n:,} x 10 chances", lambda: run["mode_score"](shares, true_shares),
            lambda: modes(shares[part].tolist(), true_shares[part].tolist()), "loop",
            lambda: run["mode_score"](shares[part], true_shares[part]),
        ),
        "wasserstein": Case(
            f"{n:,} and {n:,} numbers", lambda: run["wasserstein"](features[:, 0], real[:, 0]),
            lambda: work(features[part, 0].tolist(), real[part, 0].tolist()), "loop",
            lambda: run["wasserstein"](features[part, 0], real[part, 0]),
        ),
        "sliced_wasserstein": Case(
            f"{samples:,} and {samples:,} x 8 features, 128 directions",
            lambda: run["sliced_wasserstein"](features[:samples], real[:samples]),
        ),
        "frechet": Case(
            f"{n:,} and {n:,} x 8 features", lambda: run["frechet"](features, real),
            lambda: product(features.double(), real.double()), "eigenvalues of C1 C2",
        ),
        "kernel_mmd": Case(
            f"{many:,} and {many:,} x 64 features",
            lambda: run["kernel_mmd"](heap, other_heap, kernel="polynomial", unbiased=True),
            lambda: float(poly_mmd(heap, other_heap)), "torchmetrics",
        ),
        "psnr": picture("psnr", lambda: float(peak_signal_noise_ratio(spoiled, images, data_range=1.0, dim=(1, 2, 3)))),
        **{name: picture(name) for name in ("snr", "ssim", "ms_ssim", "cpbd")},
    }  # fmt: skip


def boxes(n: int) -> tuple[np.ndarray, np.ndarray]:
    """n detections around n / 10 objects of 20 classes in n / 100 images; scores are all different."""
    rng = np.random.default_rng(0)
    objects, images = n // 10, max(n // 100, 1)
    corner, size = rng.uniform(0, 400, (objects, 2)), rng.uniform(20, 100, (objects, 2))
    truths = np.column_stack([rng.integers(0, images, objects), rng.integers(0, 20, objects), corner, corner + size])
    of = rng.integers(0, objects, n)
    shift = np.tile(rng.normal(0, 8, (n, 2)), 2)
    return np.column_stack([truths[of, :2], rng.permutation(n) / n, truths[of, 2:] + shift]), truths


def rate(scores: list[float], truth: list[bool], among: bool, rejected: bool) -> float:
    """The share of accepts, or of rejects, among the true or the false pairs, counted."""
    accepted = pairs = 0
    for score, same in zip(scores, truth, strict=True):
        if same == among:
            pairs += 1
            accepted += score >= 0.5
    return 1 - accepted / pairs if rejected else accepted / pairs


def ranking(scores: list[float], truth: list[bool]) -> float:
    """Average precision of scores that are all different: the mean over the true ones of the best precision from there on."""
    hits, precisions = 0, []
    for rank, (_, same) in enumerate(sorted(zip(scores, truth, strict=True), reverse=True), 1):
        if same:
            hits += 1
            precisions.append(hits / rank)
    highest, area = 0.0, 0.0
    for precision in reversed(precisions):
        highest = max(highest, precision)
        area += highest
    return area / hits


def devkit(found: np.ndarray, truths: np.ndarray) -> float:
    """mAP by the loops of the PASCAL VOC development kit."""
    values = []
    for one in np.unique(truths[:, 1]):
        by_image: dict[float, list[list[float]]] = {}
        for row in truths[truths[:, 1] == one].tolist():
            by_image.setdefault(row[0], []).append([*row[2:], 0])
        objects, hits, precisions, recalls = sum(map(len, by_image.values())), 0, [], []
        for rank, row in enumerate(sorted(found[found[:, 1] == one].tolist(), key=lambda row: -row[2]), 1):
            best, match = 0.0, None
            for box in by_image.get(row[0], []):
                wide = min(row[5], box[2]) - max(row[3], box[0])
                high = min(row[6], box[3]) - max(row[4], box[1])
                if wide > 0 and high > 0:
                    both = (row[5] - row[3]) * (row[6] - row[4]) + (box[2] - box[0]) * (box[3] - box[1])
                    if wide * high / (both - wide * high) > best:
                        best, match = wide * high / (both - wide * high), box
            if match is not None and best >= 0.5 and not match[4]:
                match[4] = 1
                hits += 1
            precisions.append(hits / rank)
            recalls.append(hits / objects)
        area, highest = 0.0, 0.0
        for i in range(len(precisions) - 1, -1, -1):
            highest = max(highest, precisions[i])
            area += (recalls[i] - (recalls[i - 1] if i else 0)) * highest
        values.append(area)
    return sum(values) / len(values)


def inception(rows: list[list[float]]) -> float:
    """The inception score, row by row."""
    marginal = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    logs = [np.log(share) for share in marginal]
    return float(np.exp(sum(p * (np.log(p) - q) for row in rows for p, q in zip(row, logs, strict=True)) / len(rows)))


def modes(rows: list[list[float]], real: list[list[float]]) -> float:
    """The mode score, row by row."""
    made = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
    wanted = [sum(column) / len(real) for column in zip(*real, strict=True)]
    apart = sum(p * np.log(p / q) for p, q in zip(made, wanted, strict=True))
    return inception(rows) / float(np.exp(apart))


def work(x: list[float], y: list[float]) -> float:
    """The distance of two heaps of one size, sample by sample."""
    return sum(abs(a - b) for a, b in zip(sorted(x), sorted(y), strict=True)) / len(x)


def product(x: torch.Tensor, y: torch.Tensor) -> float:
    """The Fréchet distance by the eigenvalues of the product of the covariances, as torchmetrics computes it."""
    first, second = x.T.cov(), y.T.cov()
    roots = torch.linalg.eigvals(first @ second).sqrt().real.sum()
    return float((x.mean(0) - y.mean(0)).square().sum() + first.trace() + second.trace() - 2 * roots)


def seconds(call: Callable[[], float]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(case: Case, rounds: int) -> dict[str, object]:
    """Times and ratio of one case; the two take turns."""
    about = {"size": case.size, "against": case.against, "estimated": case.part is not None}
    if case.other is None:
        mine = [seconds(case.ours) for _ in range(rounds)]
        return {
            **about,
            "seconds": statistics.median(mine),
            "range": [min(mine), max(mine)],
            "other_seconds": None,
            "ratio": None,
        }
    part = case.part or case.ours
    if not np.isclose(part(), case.other(), rtol=1e-3):
        raise SystemExit(f"not the same value: {part()} and {case.other()}")
    scale = SHARE if case.part else 1
    turns = [(seconds(case.ours), scale * seconds(case.other)) for _ in range(rounds)]
    mine, theirs = map(list, zip(*turns, strict=True))
    return {
        **about, "seconds": statistics.median(mine), "range": [min(mine), max(mine)],
        "other_seconds": statistics.median(theirs), "ratio": statistics.median(b / a for a, b in turns),
    }  # fmt: skip


def main() -> None:
    """Measure, print the table, write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="metrics; all without")
    parser.add_argument("--predictions", type=int, default=MILLION)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    known = cases(options.predictions)
    missing = set(options.names) - set(known)
    if missing:
        parser.error(f"no case for {', '.join(sorted(missing))}; there are {', '.join(known)}")
    found = {name: measure(known[name], options.rounds) for name in options.names or known}
    print("| metric | of | s | range | other | s | times faster |\n|---|---|---|---|---|---|---|")
    for name, row in found.items():
        low, high = row["range"]  # type: ignore[misc]
        about = "~" if row["estimated"] else ""
        other = f"{about}{row['other_seconds']:.3f} | {about}{row['ratio']:.1f}" if row["ratio"] else "- | -"
        print(f"| {name} | {row['size']} | {row['seconds']:.3f} | {low:.3f} .. {high:.3f} | {row['against']} | {other} |")
    if options.out:
        write_json(options.out, {
            "command": f"python benchmarks/metrics.py --rounds {options.rounds}", "date": time.strftime("%Y-%m-%d"),
            "machine": environment(), "threads": options.threads, "seed": 0, "metrics": found,
        })  # fmt: skip


if __name__ == "__main__":
    main()
