"""What each edit changes: parameters, MACs and latency in torch, before and after, measured turn by turn in one run.

    python benchmarks/edits.py                     all tables of cost
    python benchmarks/edits.py fold_bn             the table of one card
    python benchmarks/edits.py fit_input --train   its table of accuracy on the digits, a few minutes

Latency is the median of single 3x32x32 images on one thread, with the 10th and 90th percentile; before and after alternate, so
that a machine that slows down slows both down. The ratio is the median of the ratios of neighbouring runs.

Accuracy is on the 538 digits held out of 1,797 (8x8 pixels): the mean over the seeds and its spread (lowest-highest). A plain
loop: SGD with Nesterov momentum, cosine schedule, batches of 64, no augmentation.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.codec.pack import pack_model
from danlu.cost import profile
from danlu.data import load_data
from danlu.data.spec import Input
from danlu.deploy import export_onnx, export_segments, interleave
from danlu.deploy.bench import runner
from danlu.deploy.runtime import session
from danlu.edits import edit, rates_of
from danlu.edits.surgery import count_params
from danlu.encodings import advance
from danlu.zoo import create
from danlu.zoo._init import initialised
from danlu.zoo.googlenet import Inception

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
        ("resnet20", f"swap_activation(to={to!r})") for to in ("leaky_relu", "hardswish", "silu", "gelu", "mish", "prelu")
    ),
    "swap_norm": tuple(("resnet20", f"swap_norm(to={to!r})") for to in ("group", "layer", "instance", "none")),
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
    "slim": (("resnet20", "slim(l1=0.0001)"),),
}  # fmt: skip
IN_ONNXRUNTIME = ("low_rank", "merge_branches", "merge_streamline")  # their tables time the exported file


TRAINED: dict[str, tuple[str, ...]] = {
    "fit_input": tuple(
        f"{net}{end}"
        for net in ("allconv6(width=0.5, batch_norm=True)", "resnet18(width=0.25)", "mobilenet_v1(width=0.5)")
        for end in ("", " | fit_input(size=8)")
    ),
    "swap_activation": tuple(
        f"resnet8 | fit_input(size=8) | swap_activation(to={to!r})" for to in ("relu", "silu", "tanh", "sigmoid")
    ),
    "swap_norm": tuple(
        f"resnet8 | fit_input(size=8) | swap_norm(to={to!r})" for to in ("batch", "group", "layer", "instance", "none")
    ),
}  # fmt: skip


# Edits that change how weights are stored: their table has bytes and accuracy, and no cost.
ENCODED: dict[str, tuple[str, ...]] = {
    "prune": (
        "prune(sparsity=0.5)", "prune(sparsity=0.8)", "prune(sparsity=0.9)", "prune(sparsity=0.95)",
        "prune(sparsity=0.9, scope='layer')", "prune(sparsity=0.9, schedule='gradual')",
        "prune(sparsity=0.95, schedule='gradual')", "prune(sparsity=0.9, schedule='gradual', group=3e-05)",
        "prune(structure='2:4')",
    ),
    "share": (
        "share(bits=8)", "share(bits=5)", "share(bits=3)", "share(bits=3, moving=True)", "share(bits=2)",
        "share(bits=2, moving=True)", "share(bits=2, init='density')", "share(bits=2, per='channel')",
        "share(bits='auto')", "share(bits=4, rate=0.02)", "share(bits=4, rate=0.1)",
        "prune(sparsity=0.8) | share(bits=4)", "prune(sparsity=0.8) | share(bits=4, rate=0.02)",
    ),
    "binarize": (
        "binarize(scale='none')", "binarize", "binarize(stochastic=True)", "binarize(ends=True)", "binarize(activations=True)",
    ),
    "quantize_weights": (
        "quantize_weights(bits=8)", "quantize_weights(bits=4, clip='max')", "quantize_weights(bits=4)",
        "quantize_weights(bits=4, per='layer')", "quantize_weights(bits=4, method='dsconv', block=16)",
        "quantize_weights(bits=2, clip='max')", "quantize_weights(bits=2)", "quantize_weights(bits=2, method='dsconv', block=16)",
        "prune(sparsity=0.8) | quantize_weights(bits=4)",
    ),
}  # fmt: skip


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
        print(
            f"| {label} | `{step}` | {params[0]:.3f} M -> {params[1]:.3f} M | {macs[0]:.1f} M -> {macs[1]:.1f} M "
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


class Digits:
    """The digits as two pairs of tensors: 1,259 to train on, 538 to test on."""

    def __init__(self) -> None:
        source = load_data("digits")
        splits = [
            (split.images(np.arange(len(split))), torch.as_tensor(split.labels))
            for split in (source.train, source.val, source.test)
        ]
        mean, std = 255 * source.input.mean[0], 255 * source.input.std[0]
        (self.x, self.y), *held = [((images.float() - mean) / std, labels) for images, labels in splits]
        self.test_x, self.test_y = (torch.cat(parts) for parts in zip(*held, strict=True))

    def batches(self, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch in an order of its own."""
        order = torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed))
        for index in order[: len(order) // 64 * 64].split(64):
            yield self.x[index], self.y[index]

    def train(self, net: nn.Module, epochs: int, seed: int, lr: float = 0.05, adam: bool = False) -> nn.Module:
        """Train `net` in place, by SGD with momentum or by Adam."""
        if adam:
            optimizer: torch.optim.Optimizer = torch.optim.Adam(net.parameters(), lr=lr)
        else:
            optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(self.x) // 64))
        net.train()
        steps, step = epochs * (len(self.x) // 64), 0
        for epoch in range(epochs):
            for x, y in self.batches(1000 * seed + epoch):
                step += 1
                advance(net, step / steps)
                optimizer.zero_grad()
                F.cross_entropy(net(x), y).backward()
                optimizer.step()
                schedule.step()
        return net.eval()

    @torch.inference_mode()
    def accuracy(self, net: nn.Module) -> float:
        """Share of the held-out digits that are right, in %."""
        return 100 * (net.eval()(self.test_x).argmax(1) == self.test_y).float().mean().item()


def over_seeds(score: Callable[[int], float], seeds: int) -> str:
    """Mean and range."""
    scores = [score(seed) for seed in range(seeds)]
    return f"{statistics.mean(scores):.1f} ({min(scores):.1f}-{max(scores):.1f})"


def fresh(recipe: str, seed: int) -> nn.Module:
    """A net for the digits."""
    torch.manual_seed(seed)
    return create(recipe, num_classes=10, in_channels=1, seed=seed)


def accuracy_of_structure(digits: Digits, recipes: tuple[str, ...], seeds: int, epochs: int = 20) -> None:
    """Each recipe trained from scratch."""
    print(f"| recipe, {epochs} epochs | accuracy, % |\n|---|---|")
    for recipe in recipes:
        result = over_seeds(lambda seed, r=recipe: digits.accuracy(digits.train(fresh(r, seed), epochs, seed)), seeds)
        print(f"| `{recipe}` | {result} |", flush=True)


def accuracy_of_pruning(digits: Digits, seeds: int) -> None:
    """A trained net pruned, then fine-tuned; and a net of that size trained directly for as long."""
    base = "resnet8 | fit_input(size=8)"
    trained = [digits.train(fresh(base, seed), 20, seed) for seed in range(seeds)]
    print("| net | parameters | accuracy, % | after 10 epochs more |\n|---|---|---|---|")
    before = over_seeds(lambda seed: digits.accuracy(trained[seed]), seeds)
    print(f"| trained 20 epochs | {count_params(trained[0]):,} | {before} | |", flush=True)
    for importance in ("l1", "bn", "taylor", "random"):
        step = f"prune_channels(ratio=0.75, scope='layer', round_to=1, importance={importance!r})"
        pruned = [edit(net, step, example=digits.x[:2], batches=lambda: digits.batches(7)).model for net in trained]
        at_once = over_seeds(lambda seed, nets=pruned: digits.accuracy(nets[seed]), seeds)
        tuned = over_seeds(lambda seed, nets=pruned: digits.accuracy(digits.train(nets[seed], 10, seed, lr=0.02)), seeds)
        print(f"| `{step}` | {count_params(pruned[0]):,} | {at_once} | {tuned} |", flush=True)
    small = "resnet8(width=0.5) | fit_input(size=8)"
    result = over_seeds(lambda seed: digits.accuracy(digits.train(fresh(small, seed), 30, seed)), seeds)
    print(f"| `{small}`, 30 epochs from scratch | {count_params(fresh(small, 0)):,} | {result} | |", flush=True)


def accuracy_of_encoding(digits: Digits, steps: tuple[str, ...], seeds: int) -> None:
    """A trained net whose weights are encoded, then trained on; the bytes are those of its .danlu file.

    Shared values are trained by Adam: they get the summed gradients of all their weights, which are too large for SGD.
    """
    source = load_data("digits")
    base = "resnet8 | fit_input(size=8)"
    trained = [digits.train(fresh(base, seed), 20, seed) for seed in range(seeds)]

    def size(net: nn.Module) -> int:
        with tempfile.TemporaryDirectory() as folder:
            packed = pack_model(net, Path(folder) / "x.danlu", input=source.input, classes=source.classes, floats="fp16")
        return packed.size_bytes

    print("| edit | bytes | accuracy, % | after 10 epochs more |\n|---|---|---|---|")
    before = over_seeds(lambda seed: digits.accuracy(trained[seed]), seeds)
    print(f"| none (fp16) | {size(trained[0]):,} | {before} | |", flush=True)
    for step in steps:
        nets = [edit(net, step, batches=lambda: digits.batches(7)).model for net in trained]
        at_once = over_seeds(lambda seed, nets=nets: digits.accuracy(nets[seed]), seeds)
        adam = "share" in step
        more = {"lr": 1e-3 if adam else 0.02, "adam": adam}
        tuned = over_seeds(lambda seed, nets=nets, more=more: digits.accuracy(digits.train(nets[seed], 10, seed, **more)), seeds)
        print(f"| `{step.replace('|', chr(92) + '|')}` | {size(nets[0]):,} | {at_once} | {tuned} |", flush=True)


PLAIN = "allconv6(width=0.5, batch_norm=True) | fit_input(size=8)"  # no shortcuts: every width may shrink


def accuracy_of_low_rank(digits: Digits, seeds: int) -> None:
    """A trained net factorised, then fine-tuned."""
    trained = [digits.train(fresh(PLAIN, seed), 20, seed) for seed in range(seeds)]
    print("| net | parameters | accuracy, % | after 5 epochs more |\n|---|---|---|---|")
    before = over_seeds(lambda seed: digits.accuracy(trained[seed]), seeds)
    print(f"| trained 20 epochs | {count_params(trained[0]):,} | {before} | |", flush=True)
    for step in (
        "low_rank(energy=0.95)", "low_rank(energy=0.8)", "low_rank(energy=0.6)",
        "low_rank(ratio=0.25)", "low_rank(ratio=0.25, method='channel')", "low_rank(ratio=0.25, method='spatial')",
    ):  # fmt: skip
        cut = [edit(net, step, example=digits.x[:2]).model for net in trained]
        at_once = over_seeds(lambda seed, nets=cut: digits.accuracy(nets[seed]), seeds)
        tuned = over_seeds(lambda seed, nets=cut: digits.accuracy(digits.train(nets[seed], 5, seed, lr=0.02)), seeds)
        print(f"| `{step}` | {statistics.mean(map(count_params, cut)):,.0f} | {at_once} | {tuned} |", flush=True)


def accuracy_of_slimming(digits: Digits, seeds: int) -> None:
    """Nets trained with and without the penalty: their scales, and what is left of them when channels are cut by scale."""
    print("| trained 20 epochs | accuracy, % | scales below 0.01 | median scale |\n|---|---|---|---|")
    nets: dict[str, list[nn.Module]] = {}
    for step in ("", " | slim(l1=0.01)", " | slim(l1=0.03)"):
        start = [fresh(PLAIN, seed) for seed in range(seeds)]
        nets[step] = [digits.train(edit(net, step[3:]).model if step else net, 20, seed) for seed, net in enumerate(start)]
        scales = [
            torch.cat([m.weight.detach().abs() for m in net.modules() if isinstance(m, nn.BatchNorm2d)]) for net in nets[step]
        ]
        small = over_seeds(lambda seed, s=scales: 100 * (s[seed] < 0.01).float().mean().item(), seeds)
        accuracy = over_seeds(lambda seed, n=nets[step]: digits.accuracy(n[seed]), seeds)
        label = f"`{step[3:]}`" if step else "no penalty"
        print(f"| {label} | {accuracy} | {small} % | {torch.cat(scales).median():.3f} |", flush=True)
    print("\n| trained | cut | parameters | accuracy, % | after 5 epochs more |\n|---|---|---|---|---|")
    for ratio in (0.3, 0.5, 0.6):
        cut = f"prune_channels(ratio={ratio}, importance='bn', round_to=1)"
        for step, trained in nets.items():
            pruned = [edit(net, cut, example=digits.x[:2]).model for net in trained]
            at_once = over_seeds(lambda seed, nets=pruned: digits.accuracy(nets[seed]), seeds)
            tuned = over_seeds(lambda seed, nets=pruned: digits.accuracy(digits.train(nets[seed], 5, seed, lr=0.02)), seeds)
            size = statistics.mean(map(count_params, pruned))
            label = f"`{step[3:]}`" if step else "no penalty"
            print(f"| {label} | {ratio:.0%} | {size:,.0f} | {at_once} | {tuned} |", flush=True)


def inception_net() -> nn.Module:
    """A stem with LRN and a pool, three inception blocks with batch norm: 97 % on the digits after five epochs."""
    torch.manual_seed(0)

    def block(channels: int) -> nn.Module:
        return Inception(channels, (8, 16, 16, 8, 8, 8), large=5, batch_norm=True)

    stem = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2, ceil_mode=True)]
    body = [block(16), block(40), nn.MaxPool2d(3, 2, ceil_mode=True), block(40)]
    return initialised(nn.Sequential(*stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(40, 10)))


def accuracy_of_merging(digits: Digits, steps: tuple[str, ...]) -> None:
    """A trained net merged, from three kinds of first weights; then one epoch of the new layers alone. One seed."""
    net = digits.train(inception_net(), 5, 0)
    print("| merged, from | accuracy, % | after 1 epoch of the new layers |\n|---|---|---|")
    print(f"| not merged | {digits.accuracy(net):.1f} | |", flush=True)
    for step in steps:
        for init in ("least_squares", "copy", "standard"):
            torch.manual_seed(1)
            outcome = edit(net, step.format(init=init), batches=lambda: digits.batches(7))
            at_once, model = digits.accuracy(outcome.model), outcome.model
            names = [pattern.rstrip("*") for pattern in rates_of(outcome) if pattern != "*"]
            for name, parameter in model.named_parameters():
                parameter.requires_grad_(any(name.startswith(prefix) for prefix in names))
            tuned = digits.accuracy(digits.train(model, 1, 3, lr=0.02))
            print(f"| `{step.format(init=init)}` | {at_once:.1f} | {tuned:.1f} |", flush=True)


MERGED = {
    "merge_streamline": ("merge_streamline(init={init!r}, bn=False)",),
    "merge_branches": tuple(f"merge_branches(init={{init!r}}, ratio={ratio})" for ratio in (0.5, 1.0, 2.0)),
}


def processor() -> str:
    """The model name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Print one table, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edit", nargs="?", choices=sorted({*STEPS, *ENCODED}))
    parser.add_argument("--train", action="store_true", help="accuracy on the digits in the place of cost")
    parser.add_argument("--seeds", type=int, default=5, help="nets trained for each row")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = [arguments.edit] if arguments.edit else [*STEPS, *ENCODED]
    if arguments.train:
        digits = Digits()
        for name in names:
            if name in TRAINED:
                accuracy_of_structure(digits, TRAINED[name], arguments.seeds)
            elif name in MERGED:
                accuracy_of_merging(digits, MERGED[name])
            elif name == "prune_channels":
                accuracy_of_pruning(digits, arguments.seeds)
            elif name == "low_rank":
                accuracy_of_low_rank(digits, arguments.seeds)
            elif name == "slim":
                accuracy_of_slimming(digits, arguments.seeds)
            elif name in ENCODED:
                accuracy_of_encoding(digits, ENCODED[name], arguments.seeds)
        return
    print(f"torch {torch.__version__}, 1 thread, {processor()}, seed {arguments.seed}, {arguments.repeats} runs of each\n")
    for name in (name for name in names if name in STEPS):
        print(f"{name}\n")
        write = table_of_exits if name == "add_exits" else table_in_onnxruntime if name in IN_ONNXRUNTIME else table
        write(name, arguments.repeats, arguments.seed)
        print()
        if name == "low_rank":
            ranks_in_onnxruntime(arguments.repeats, arguments.seed)
            print()


if __name__ == "__main__":
    main()
