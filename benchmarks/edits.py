"""What each edit changes: parameters, MACs and latency in torch, before and after, measured turn by turn in one run.

    python benchmarks/edits.py                     all tables of cost
    python benchmarks/edits.py fold_bn             the table of one card
    python benchmarks/edits.py fold_bn --write     and put it into the card
    python benchmarks/edits.py fit_input --train   its table of accuracy on the digits, a few minutes

Latency is the median of single 3x32x32 images on one thread, with the 10th and 90th percentile; before and after alternate, so
that a machine that slows down slows both down. The ratio is the median of the ratios of neighbouring runs.
Accuracy: see `edits_accuracy.py`.
"""

import argparse
import contextlib
import io
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from edits_accuracy import ENCODED, Digits, accuracy_table
from torch import nn

import danlu.edits
from danlu.cost import profile
from danlu.data.spec import Input
from danlu.deploy import export_onnx, export_segments, interleave
from danlu.deploy.bench import runner
from danlu.deploy.runtime import session
from danlu.edits import edit
from danlu.edits.surgery import count_params
from danlu.files import write_text
from danlu.zoo import create

NETS = ("resnet20", "resnet18 | fit_input(size=32)", "mobilenet_v1 | fit_input(size=32)")
MERGING = tuple(f"{net}(width=0.5) | fit_input(size=32)" for net in ("googlenet", "googlenet_lrn"))
STEPS: dict[str, tuple[tuple[str, str], ...]] = {
    "fit_input": tuple(
        (net, f"fit_input(size={size})")
        for net, size in (("resnet18", 32), ("mobilenet_v1", 32), ("vgg16_bn", 32), ("resnet20", 64), ("squeezenet1_1", 224))
    ),
    "add_exits": tuple(
        ("resnet20", step) for step in ("add_exits(at=1)", "add_exits(at=2)", "add_exits(at=2, head='conv')", "add_exits(at=3)")
    ),
    "fold_bn": tuple((net, "fold_bn") for net in NETS),
    "swap_activation": tuple(
        ("resnet20", f"swap_activation(to={to!r})")
        for to in ("leaky_relu", "hardswish", "silu", "gelu", "mish", "prelu", "swish", "elish", "sinusoid")
    ),
    "swap_norm": tuple(
        ("resnet20", f"swap_norm(to={to!r})") for to in ("group", "layer", "instance", "none", "batch_renorm", "l1")
    ),
    "weight_norm": (("resnet20", "weight_norm"), ("resnet20", "swap_norm(to='none') | weight_norm")),
    "swap_pool": (
        *(
            ("vgg16_bn | fit_input(size=32)", f"swap_pool(to={to!r})")
            for to in ("mean", "conv", "lp", "mixed", "gated", "stochastic", "weighted_max", "detail_preserving")
        ),
        *(("resnet20", f"swap_pool(to={to!r}, strided=True)") for to in ("max", "mean")),
    ),
    "dense": tuple(
        (net, step)
        for net in ("vgg16_bn | fit_input(size=32)", "mobilenet_v1 | fit_input(size=32)")
        for step in ("dense", "dense(growth=32)")
    ),
    "skip": tuple(
        (net, step)
        for net in ("vgg16_bn | fit_input(size=32)", "mobilenet_v1 | fit_input(size=32)")
        for step in ("skip", "skip(shortcut='project')", "skip(mode='concat')")
    ),
    "prune_channels": tuple(
        (net, f"prune_channels(ratio={ratio}, scope='layer')") for net in NETS for ratio in (0.25, 0.5, 0.75)
    ),
    "low_rank": tuple(
        (net, f"low_rank(ratio={ratio}, method={method!r})")
        for net in ("resnet20", "resnet18 | fit_input(size=32)", "vgg16_bn(width=0.5) | fit_input(size=32)")
        for ratio, method in ((0.75, "auto"), (0.5, "channel"), (0.5, "spatial"), (0.25, "auto"))
    ),
    **{
        name: tuple((net, step) for net in MERGING for step in steps)
        for name, steps in {
            "merge_streamline": ("merge_streamline(init='copy')", "merge_branches(init='copy') | merge_streamline(init='copy')"),
            "merge_branches": tuple(f"merge_branches(ratio={ratio}, init='copy')" for ratio in (0.5, 0.75, 1.0)),
        }.items()
    },
    "cbam": tuple((net, step) for net in ("resnet20", "resnet18 | fit_input(size=32)") for step in ("cbam", "cbam(kernel=3)")),
    "non_local": (
        *(("resnet20", f"non_local(kind={kind!r})") for kind in ("embedded", "gaussian", "dot", "concat")),
        ("resnet20", "non_local(subsample=False)"),
        ("resnet18 | fit_input(size=32)", "non_local"),
    ),
    "se": tuple((net, "se") for net in ("resnet20", "resnet18 | fit_input(size=32)", "vgg16_bn | fit_input(size=32)")),
    "sk": tuple((net, step) for net in ("resnet20", "resnet18 | fit_input(size=32)") for step in ("sk", "sk(split=True)")),
    "octave": (
        ("resnet20", "octave(alpha=0.25)"),
        ("resnet20", "octave(alpha=0.5)"),
        ("vgg16_bn | fit_input(size=32)", "octave(alpha=0.5)"),
        ("resnet50 | fit_input(size=32)", "octave(alpha=0.5, pointwise=True)"),
    ),
    "deform": (
        ("resnet20", "deform(last=3)"),
        ("resnet20", "deform(last=3, modulated=True)"),
        ("resnet18 | fit_input(size=32)", "deform(last=3)"),
    ),
    "big_little": tuple(
        (net, "big_little(alpha=4, beta=4)") for net in ("resnet20", "resnet56", "vgg16_bn | fit_input(size=32)")
    ),
    "slim": (("resnet20", "slim(l1=0.0001)"),),
    "condense": tuple((net, "condense") for net in ("condensenet_cifar", "condensenet74 | fit_input(size=32)")),
    "crelu": tuple(
        (net, step) for net in ("resnet20", "vgg16_bn | fit_input(size=32)") for step in ("crelu", "crelu(scale=True)")
    ),
    "factorize_kernel": (
        ("resnet20", "factorize_kernel"),
        ("vgg16_bn | fit_input(size=32)", "factorize_kernel"),
        ("googlenet_lrn | fit_input(size=32)", "factorize_kernel"),
        ("googlenet_lrn | fit_input(size=32)", "factorize_kernel(method='stack')"),
    ),
    "flatten_conv": tuple(
        (net, step)
        for net in ("resnet20", "resnet18 | fit_input(size=32)")
        for step in ("flatten_conv", "flatten_conv(stages=2)")
    ),
    "group_shuffle": tuple(
        (net, f"group_shuffle(groups={groups})")
        for net in ("resnet20", "resnet18 | fit_input(size=32)")
        for groups in (2, 4, 8)
    ),
    "separate": tuple(
        (net, "separate") for net in ("resnet20", "resnet18 | fit_input(size=32)", "vgg16_bn | fit_input(size=32)")
    ),
    "stochastic_depth": tuple((net, "stochastic_depth") for net in ("resnet20", "resnet18 | fit_input(size=32)")),
    "deepen": tuple(
        (net, f"deepen(stage=2, by={by})") for net in ("resnet20", "vgg16_bn | fit_input(size=32)") for by in (1, 2)
    ),
    "shorten": (
        ("resnet20", "shorten(stage=1)"),
        ("resnet20", "shorten(stage=3, by=2)"),
        ("mobilenet_v1 | fit_input(size=32)", "shorten(stage=3, by=5)"),
    ),
    "widen": tuple((net, f"widen(factor={factor})") for net in NETS for factor in (0.5, 1.5, 2.0)),
}  # fmt: skip
IN_ONNXRUNTIME = ("low_rank", "merge_branches", "merge_streamline")  # their tables time the exported file


class Copied(io.StringIO):
    """Text that is also printed."""

    def write(self, text: str) -> int:
        """To both."""
        sys.__stdout__.write(text)  # type: ignore[union-attr]
        return super().write(text)


def size_of(net: str, step: str) -> int:
    """The input size that a case is about."""
    return int(step.partition("size=")[2].rstrip(")")) if "size=" in step else 32


@torch.inference_mode()
def race(before: nn.Module, after: nn.Module, x: torch.Tensor, repeats: int) -> tuple[list[float], list[float]]:
    """Milliseconds of both nets, one call each in turn, after a warm-up."""
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(repeats + 10):
        for model, into in zip((before, after), times, strict=True):
            start = time.perf_counter()
            model(x)
            if i >= 10:
                into.append((time.perf_counter() - start) * 1e3)
    return times


def spread(times: list[float]) -> str:
    """Median and the middle four fifths."""
    tenths = statistics.quantiles(times, n=10)
    return f"{statistics.median(times):.2f} ({tenths[0]:.2f}-{tenths[-1]:.2f})"


def table(name: str, repeats: int, seed: int) -> None:
    """Print the table of one edit, as its card has it."""
    print("| net | edit | parameters | MACs | latency, ms (p10-p90) | ratio |\n|---|---|---|---|---|---|")
    for net, step in STEPS[name]:
        size = size_of(net, step)
        before = create(net, num_classes=10, seed=seed).eval()
        x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(seed))
        torch.manual_seed(seed)
        after = edit(before, step, example=x).model.eval()
        macs = [profile(model, (3, size, size)).macs / 1e6 for model in (before, after)]
        params = [count_params(model) / 1e6 for model in (before, after)]
        old, new = race(before, after, x, repeats)
        ratio = statistics.median(b / a for a, b in zip(old, new, strict=True))
        label = net.split(" | ")[0] + (f" at {size}" if size != 32 else "")
        shown = step.replace("|", r"\|")  # a bar ends a cell of a table
        print(
            f"| {label} | `{shown}` | {params[0]:.3f} M -> {params[1]:.3f} M | {macs[0]:.1f} M -> {macs[1]:.1f} M "
            f"| {spread(old)} -> {spread(new)} | {ratio:.2f} |",
            flush=True,
        )


def table_in_onnxruntime(name: str, repeats: int, seed: int) -> None:
    """As `table`, with the time that the exported files take of one core in onnxruntime."""
    print("| net | edit | parameters | MACs | onnxruntime, ms of a core (p10-p90) | ratio |\n|---|---|---|---|---|---|")
    form = Input((32, 32), 3, (0.5,) * 3, (0.25,) * 3)
    with tempfile.TemporaryDirectory() as folder:
        for net in dict.fromkeys(net for net, _ in STEPS[name]):
            before = create(net, num_classes=10, seed=seed).eval()
            steps = [step for other, step in STEPS[name] if other == net]
            example = torch.zeros(1, *form.shape)
            models = [before, *(edit(before, step, example=example).model.eval() for step in steps)]
            files = [
                export_onnx(m, Path(folder, f"{i}.onnx"), input=form, classes=list("0123456789")) for i, m in enumerate(models)
            ]
            times = core_ms(files, repeats, seed)
            macs = [profile(model, form.shape).macs / 1e6 for model in models]
            params = [count_params(model) / 1e6 for model in models]
            for i, step in enumerate(steps, 1):
                ratio = statistics.median(b / a for a, b in zip(times[0], times[i], strict=True))
                print(
                    f"| {net.split(' | ')[0]} | `{step}` | {params[0]:.3f} M -> {params[i]:.3f} M "
                    f"| {macs[0]:.1f} M -> {macs[i]:.1f} M | {spread(times[0])} -> {spread(times[i])} | {ratio:.2f} |",
                    flush=True,
                )


def ranks_in_onnxruntime(repeats: int, seed: int) -> None:
    """The time of one 3x3 convolution at 32x32 as products of different ranks: which ranks are fast."""
    form = Input((32, 32), 3, (0.5,) * 3, (0.25,) * 3)
    print("| channels | method | whole, ms | rank: ms |\n|---|---|---|---|")
    for width, ranks in ((64, (15, 16, 17, 24, 31, 32)), (16, (4, 6, 8, 12))):
        ends = nn.Conv2d(3, width, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)
        whole = nn.Sequential(ends[0], nn.Conv2d(width, width, 3, padding=1), *ends[1:]).eval()
        for method in ("channel", "spatial"):
            cut = [edit(whole, f"low_rank(rank={{'1': {rank}}}, method={method!r})").model.eval() for rank in ranks]
            with tempfile.TemporaryDirectory() as folder:
                files = [
                    export_onnx(m, Path(folder, f"{i}.onnx"), input=form, classes=list("0123456789"))
                    for i, m in enumerate([whole, *cut])
                ]
                first, *times = [statistics.median(column) for column in core_ms(files, repeats, seed)]
            told = ", ".join(f"{rank}: {ms:.3f}" for rank, ms in zip(ranks, times, strict=True))
            print(f"| {width} | `{method}` | {first:.3f} | {told} |", flush=True)


def core_ms(files: list[Path], repeats: int, seed: int) -> list[list[float]]:
    """Milliseconds of one core for each run of each file, in turn: its latency on an idle core, whatever else runs there."""
    calls = [runner(session(file, threads=1), file, seed) for file in files]
    times: list[list[float]] = [[] for _ in files]
    for i in range(repeats + 10):
        for call, into in zip(calls, times, strict=True):
            call()  # brings its weights back into the caches
            start = time.process_time()
            call()
            if i >= 10:
                into.append((time.process_time() - start) * 1e3)
    return times


def table_of_exits(name: str, repeats: int, seed: int) -> None:
    """What the exits of a net add, and what share of the whole net's time an answer at each takes, in onnxruntime."""
    spec = Input((32, 32), 3, (0.5,) * 3, (0.25,) * 3)
    classes = [str(i) for i in range(10)]
    columns = ("net", "edit", "parameters", "MACs", "exits", "ms at each exit", "share of the net without")
    print(f"| {' | '.join(columns)} |\n{'|---' * len(columns)}|")
    for net, step in STEPS[name]:
        before = create(net, num_classes=10, seed=seed).eval()
        torch.manual_seed(seed)
        outcome = edit(before, step)
        after = outcome.model.eval()
        with tempfile.TemporaryDirectory() as folder:
            files = [export_onnx(before, Path(folder) / "whole.onnx", input=spec, classes=classes)]
            files += export_segments(after, folder, input=spec, classes=classes)
            rounds = interleave([runner(session(file, threads=1), file) for file in files], repeats=repeats)
        whole, *segments = np.median(rounds, 0).tolist()
        times = np.cumsum(segments).tolist()
        macs = [profile(model, (3, 32, 32)).macs / 1e6 for model in (before, after)]
        places = ", ".join(change.name.removeprefix("add_exits: ") for change in outcome.changed)
        print(
            f"| {net.split(' | ')[0]} | `{step}` | {count_params(before) / 1e6:.3f} M -> {count_params(after) / 1e6:.3f} M | "
            f"{macs[0]:.1f} M -> {macs[1]:.1f} M | {places} | {', '.join(f'{ms:.3f}' for ms in times)} | "
            f"{', '.join(f'{ms / whole:.2f}' for ms in times)} |",
            flush=True,
        )


def processor() -> str:
    """The model name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def into_card(name: str, printed: str) -> None:
    """Put a printed table in the place of the first one of the card's section Measured, or behind its first paragraph."""
    card = Path(danlu.edits.__file__).with_name(f"{name}.md")
    head, heading, rest = card.read_text().partition("## Measured\n")
    measured, source, tail = rest.partition("\n## Source")
    blocks = measured.strip().split("\n\n")
    tables = [i for i, block in enumerate(blocks) if block.startswith("|")]
    at = tables[0] if tables else 1
    blocks[at : at + len(tables[:1])] = [printed.strip()]
    write_text(card, head + heading + "\n\n".join(blocks) + "\n" + source + tail)


def main() -> None:
    """Print one table, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edit", nargs="?", choices=sorted({*STEPS, *ENCODED}))
    parser.add_argument("--train", action="store_true", help="accuracy on the digits in the place of cost")
    parser.add_argument("--write", action="store_true", help="put the tables of cost into the cards")
    parser.add_argument("--seeds", type=int, default=5, help="nets trained for each row")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = [arguments.edit] if arguments.edit else [*STEPS, *ENCODED]
    if arguments.train:
        digits = Digits()
        for name in names:
            accuracy_table(digits, name, arguments.seeds)
        return
    if arguments.edit in ENCODED:
        parser.error(f"{arguments.edit} costs nothing to run: its table has bytes and accuracy, made with --train")
    print(f"torch {torch.__version__}, 1 thread, {processor()}, seed {arguments.seed}, {arguments.repeats} runs of each\n")
    for name in (name for name in names if name in STEPS):
        print(f"{name}\n")
        write = table_of_exits if name == "add_exits" else table_in_onnxruntime if name in IN_ONNXRUNTIME else table
        with contextlib.redirect_stdout(Copied()) as printed:
            write(name, arguments.repeats, arguments.seed)
        if arguments.write:
            into_card(name, printed.getvalue())
        print()
        if name == "low_rank":
            ranks_in_onnxruntime(arguments.repeats, arguments.seed)
            print()


if __name__ == "__main__":
    main()
