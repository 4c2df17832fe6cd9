"""What may be tried: zoo x width x depth x resolution, fitted to the input, plus the baseline with channels pruned.

A family is a list of recipes of one architecture; the search walks each family from large to small.
"""

from dataclasses import dataclass

from ..data.spec import Input
from ..edits.recipe import Call, parse, show


@dataclass(frozen=True)
class Proposal:
    """A recipe to consider at an input size. `pruned` recipes start from the baseline's weights.

    Within a family parameters grow about with `width` squared, and MACs with `width` and the side of the input squared.
    """

    recipe: str
    size: tuple[int, int]
    family: str
    pruned: bool = False
    width: float = 1.0

    @property
    def scale(self) -> float:
        """What MACs grow with the square of, within a family."""
        return self.width * min(self.size)


# SqueezeNet and VGG are not among them: without normalisation they learn too slowly for a search by the clock.
# Widths are factors on the published channels. Rows: (net, its variants as options, widths).
CONVOLUTIONAL: tuple[tuple[str, tuple[dict[str, int | bool], ...], tuple[float, ...]], ...] = (
    ("resnet8", ({},), (4.0, 3.0, 2.0, 1.5, 1.0, 0.5)),
    ("resnet20", ({},), (2.0, 1.5, 1.0, 0.5)),
    ("resnet14", ({},), (3.0, 2.0, 1.5, 1.0, 0.5)),
    ("resnet18", ({},), (0.5, 0.375, 0.25, 0.125)),
    ("mobilenet_v1", ({}, {"depth": 18}), (1.0, 0.75, 0.5, 0.25)),
    ("allconv6", ({"batch_norm": True},), (1.0, 0.5, 0.25)),
)
SMALL_GREY: tuple[tuple[str, tuple[float, ...]], ...] = (
    ("lenet5_caffe", (1.0, 0.5, 0.25)),
    ("lenet_300_100", (1.0, 0.5, 0.25, 0.125)),
)
# The sides of square inputs that these nets have been built for, about.
GREY_SIDES = {"lenet5_caffe": (16, 40), "lenet_300_100": (8, 40)}
PRUNE_RATIOS = (0.3, 0.5, 0.65, 0.75, 0.85)


def resolutions(size: tuple[int, int], smallest: int = 24) -> list[tuple[int, int]]:
    """The input size, and 3/4 and 1/2 of it where that leaves at least `smallest` pixels."""
    sizes = [size]
    for factor in (0.75, 0.5):
        small = (round(size[0] * factor), round(size[1] * factor))
        if min(small) >= smallest:
            sizes.append(small)
    return sizes


def fitted(base: Call, size: tuple[int, int]) -> str:
    """The recipe of `base` fitted to inputs of `size` (H, W)."""
    return show([base, Call("fit_input", {"size": size[0] if size[0] == size[1] else size})])


def proposals(input: Input, baseline_recipe: str | None) -> list[Proposal]:
    """Every candidate, unfiltered, largest first within a family."""
    found = []
    if baseline_recipe is not None:
        # The baseline's own last step stays; "layer" keeps the shapes independent of the weights, so cost is known untrained.
        for ratio in PRUNE_RATIOS:
            step = Call("prune_channels", {"ratio": ratio, "scope": "layer"})
            found.append(Proposal(show([*parse(baseline_recipe), step]), input.size, "pruned baseline", True, 1 - ratio))
    for size in resolutions(input.size):
        for net, variants, widths in CONVOLUTIONAL:
            for variant in variants:
                for width in widths:
                    base = Call(net, {**({"width": width} if width != 1.0 else {}), **variant})
                    family = net + (f"-{variant['depth']}" if "depth" in variant else "")
                    found.append(Proposal(fitted(base, size), size, family, width=width))
        for net, widths in SMALL_GREY if input.channels == 1 and size[0] == size[1] else ():
            low, high = GREY_SIDES[net]
            for width in widths if low <= size[0] <= high else ():
                base = Call(net, {"size": size[0], **({"width": width} if width != 1.0 else {})})
                found.append(Proposal(show([base]), size, net, width=width))
    return sorted(found, key=lambda p: -p.scale)
