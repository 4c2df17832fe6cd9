"""What each edit does to the accuracy of nets trained on the digits: the tables of `edits.py --train`.

Accuracy is on the 538 digits held out of 1,797 (8x8 pixels): the mean over the seeds and its spread (lowest-highest). A plain
loop: SGD with Nesterov momentum, cosine schedule, batches of 64, no augmentation; Adam where weights are shared.
"""

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from danlu.codec import pack_model
from danlu.data import load_data
from danlu.edits import edit, rates_of
from danlu.edits.surgery import count_params
from danlu.encodings import advance
from danlu.zoo import create
from danlu.zoo._init import initialised
from danlu.zoo.googlenet import Inception

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


def accuracy_table(digits: Digits, name: str, seeds: int) -> None:
    """Print the table of an edit; nothing for one that has none."""
    if name in TRAINED:
        accuracy_of_structure(digits, TRAINED[name], seeds)
    elif name in MERGED:
        accuracy_of_merging(digits, MERGED[name])
    elif name == "prune_channels":
        accuracy_of_pruning(digits, seeds)
    elif name == "low_rank":
        accuracy_of_low_rank(digits, seeds)
    elif name == "slim":
        accuracy_of_slimming(digits, seeds)
    elif name in ENCODED:
        accuracy_of_encoding(digits, ENCODED[name], seeds)
