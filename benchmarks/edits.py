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
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.cost import profile
from danlu.data import load_data
from danlu.edits import edit
from danlu.edits.surgery import count_params
from danlu.zoo import create

NETS = ("resnet20", "resnet18 | fit_input(size=32)", "mobilenet_v1 | fit_input(size=32)")
STEPS: dict[str, tuple[tuple[str, str], ...]] = {
    "fit_input": tuple(
        (net, f"fit_input(size={size})")
        for net, size in (("resnet18", 32), ("mobilenet_v1", 32), ("vgg16_bn", 32), ("resnet20", 64), ("squeezenet1_1", 224))
    ),
    "fold_bn": tuple((net, "fold_bn") for net in NETS),
    "swap_activation": tuple(
        ("resnet20", f"swap_activation(to={to!r})") for to in ("leaky_relu", "hardswish", "silu", "gelu", "mish", "prelu")
    ),
    "swap_norm": tuple(("resnet20", f"swap_norm(to={to!r})") for to in ("group", "layer", "instance", "none")),
    "prune_channels": tuple(
        (net, f"prune_channels(ratio={ratio}, scope='layer')") for net in NETS for ratio in (0.25, 0.5, 0.75)
    ),
}  # fmt: skip


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

    def train(self, net: nn.Module, epochs: int, seed: int, lr: float = 0.05) -> nn.Module:
        """Train `net` in place."""
        optimizer = torch.optim.SGD(net.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(self.x) // 64))
        net.train()
        for epoch in range(epochs):
            for x, y in self.batches(1000 * seed + epoch):
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


def processor() -> str:
    """The model name of the CPU."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.processor())


def main() -> None:
    """Print one table, or all of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("edit", nargs="?", choices=sorted(STEPS))
    parser.add_argument("--train", action="store_true", help="accuracy on the digits in the place of cost")
    parser.add_argument("--seeds", type=int, default=5, help="nets trained for each row")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    names = [arguments.edit] if arguments.edit else list(STEPS)
    if arguments.train:
        digits = Digits()
        for name in names:
            if name in TRAINED:
                accuracy_of_structure(digits, TRAINED[name], arguments.seeds)
            elif name == "prune_channels":
                accuracy_of_pruning(digits, arguments.seeds)
        return
    print(f"torch {torch.__version__}, 1 thread, {processor()}, seed {arguments.seed}, {arguments.repeats} runs of each\n")
    for name in names:
        print(f"{name}\n")
        table(name, arguments.repeats, arguments.seed)
        print()


if __name__ == "__main__":
    main()
