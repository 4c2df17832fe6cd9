"""Replace layers by products of thinner ones where their spectrum allows it and the product costs less.

    linear, 1x1 convolution   W = U S V^T:  two layers of rank r                     energy(r) = sum s_1..r^2 / sum s^2
    convolution, "channel"    Tucker-2:     1x1, the kernel between r1 and r2 channels, 1x1
    convolution, "spatial"    kh x 1, then 1 x kw, r channels between them

A product is taken only if it has fewer parameters and fewer MACs than the layer; the outcome says why another was kept.

Source: Denton et al. 2014, https://arxiv.org/abs/1404.0736; Jaderberg et al. 2014, https://arxiv.org/abs/1405.3866 (spatial);
Kim et al. 2015, https://arxiv.org/abs/1511.06530 (channel). Card: low_rank.md
"""

from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from ..errors import UsageError, unknown
from ._check import check_choice
from ._factor import Channel, Factoring, Pair, Sites, Spatial
from ._factor_places import Places
from ._penalties import without_penalties
from ._registry import edits
from .surgery import Change, Keep, Outcome, replace

Method = Literal["auto", "channel", "spatial"]
ENERGY = 0.9  # kept when nothing is asked for
NOUNS = {"pair": "pair", "spatial": "spatial pair", "channel": "Tucker-2"}
SLACK = 1e-12  # of the energy: sums in float64 are not exactly 1


@edits(exact=False, needs=("weights", "example"), reduces=("params", "macs", "latency"), paper="arxiv:1404.0736", layers=True)
def low_rank(
    model: nn.Module,
    *,
    energy: float | None = None,
    rank: int | dict[str, int] | None = None,
    ratio: float | None = None,
    method: Method = "auto",
    round_to: int = 8,
    min_saving: float = 0.1,
    skip: Collection[str] = (),
    example: Tensor | None = None,
) -> Outcome:
    """Factorise linear layers and convolutions; fine-tuning brings back what the cut took.

    At most one of three says how far:

    energy   share of the squared singular values kept, in (0, 1]; 0.9 when none of the three is given. Of all ranks that keep
             it, those with the fewest MACs are taken: Tucker-2 has two, and the search weighs one against the other
    rank     the rank of every layer, or {"layer name": rank} for some; both ranks of Tucker-2
    ratio    share of each layer's weights that its product may have, in (0, 1): the ranks that keep the most energy in it

    `method` is for convolutions larger than 1x1; "auto" takes the one with fewer MACs for an energy or a rank, and the one
    that keeps more energy for a ratio. Ranks are multiples of `round_to`, or full: kernels work in such blocks. A product that
    saves less than `min_saving` of the layer's parameters or MACs is not worth its second kernel. `skip` holds names of
    layers, or of modules, to leave alone.

    MACs are counted at the sizes of an `example` [B, C, H, W]; without one, as if a convolution divided the size of its input
    by its stride.

    Kept, with the reason: grouped and transposed convolutions, layers whose weights are parametrised, shared or read from
    outside, and what would not shrink.

    Raises: UsageError for options out of range or more than one of the three, or when the net does not run on `example`.
    """
    goal = Goal(energy, rank, ratio, round_to, min_saving)
    check_choice("method", method, Method)
    places = Places(model, example)
    if isinstance(rank, dict):
        layers = {name for name, module in model.named_modules() if isinstance(module, _ConvNd | nn.Linear)}
        for name in rank:
            if name not in layers:
                raise unknown("layer in rank", str(name), layers)
    texts: dict[nn.Module, str] = {}

    def decide(name: str, layer: nn.Module) -> nn.Module | Keep:
        reason = why_not(layer) or places.why_not(name)
        if reason is not None:
            return Keep(reason)
        plain = without_penalties(layer)  # a penalty ends here; the net around keeps its own
        ways = factorings(plain, method, places.sites(name))
        if isinstance(ways, str):
            return Keep(ways)
        found = goal.choose(name, plain, ways)
        if isinstance(found, str):
            return Keep(found)
        way, ranks = found
        new = way.build(*ranks)
        texts[new] = describe(way, ranks)
        return new

    outcome = replace(model, (_ConvNd, nn.Linear), decide, skip)
    outcome.changed = [
        Change(change.name, change.before, texts[outcome.model.get_submodule(change.name)]) for change in outcome.changed
    ]
    return outcome


def why_not(layer: Any) -> str | None:
    """Why this layer cannot be factorised at all; None when it can."""
    if isinstance(layer, _ConvTransposeNd):
        return "it is a transposed convolution"
    if isinstance(layer, _ConvNd) and layer.groups > 1:
        depthwise = layer.groups == layer.in_channels
        return "it is depthwise: its channels do not mix" if depthwise else f"its {layer.groups} groups are thin already"
    return None


def factorings(layer: Any, method: str, sites: Sites) -> list[Factoring] | str:
    """The ways to write this layer that `method` allows; the reason when there are none."""
    if not layer.weight.isfinite().all():
        return "its weight has values that are not finite"
    if not layer.weight.any():
        return "its weight is all zeros"
    if isinstance(layer, nn.Linear) or max(layer.kernel_size) == 1:
        return [Pair(layer)]
    two_ways = type(layer) is nn.Conv2d and min(layer.kernel_size) > 1
    if method == "spatial" and not two_ways:
        return f"its kernel {'x'.join(map(str, layer.kernel_size))} has no two directions to split"
    ways: list[Factoring] = []
    if method != "spatial":
        ways.append(Channel(layer, sites))
    if method != "channel" and two_ways:
        ways.append(Spatial(layer, sites))
    return ways


class Goal:
    """How far to go, checked; `choose` finds the ranks of a layer."""

    def __init__(self, energy: float | None, rank: Any, ratio: float | None, round_to: int, min_saving: float) -> None:
        asked = {"energy": energy, "rank": rank, "ratio": ratio}
        given = [f"{name}={value!r}" for name, value in asked.items() if value is not None]
        if len(given) > 1:
            raise UsageError(f"low_rank takes one of energy, rank and ratio, got {' and '.join(given)}")
        if energy is not None and not 0 < energy <= 1:
            raise UsageError(f"low_rank: energy lies in (0, 1], got {energy}")
        if ratio is not None and not 0 < ratio < 1:
            raise UsageError(f"low_rank: ratio lies in (0, 1), got {ratio}")
        numbers = list(rank.values()) if isinstance(rank, dict) else [] if rank is None else [rank]
        if any(not isinstance(number, int) or isinstance(number, bool) or number < 1 for number in numbers):
            raise UsageError(f"low_rank: a rank is a whole number above zero, or {{'layer name': rank}}, got {rank!r}")
        if round_to < 1 or not 0 <= min_saving < 1:
            raise UsageError(
                f"low_rank: round_to >= 1 and 0 <= min_saving < 1, got round_to={round_to} and min_saving={min_saving}"
            )
        self.energy = ENERGY if not given else energy
        self.rank, self.ratio, self.round_to, self.most = rank, ratio, round_to, 1 - min_saving

    def choose(self, name: str, layer: Any, ways: list[Factoring]) -> tuple[Factoring, tuple[int, ...]] | str:
        """The best way and its ranks, or why there is none that pays."""
        if isinstance(self.rank, dict) and name not in self.rank:
            return "no rank is given for it"
        weights = layer.weight.numel()
        found: list[tuple[Factoring, tuple[int, ...]]] = []
        dear: list[tuple[float, str]] = []
        for way in ways:
            allowed = self.allowed(name, way, weights)
            pays = allowed & (way.params < weights) & (way.macs < weights)
            pays &= (way.params <= self.most * weights) & (way.macs <= self.most * weights)
            if pays.any():
                found.append((way, self.best(way, pays)))
            elif allowed.any():
                ranks = self.best(way, allowed)
                dear.append((at(way.macs, ranks), self.too_dear(way, ranks, weights)))
        if found:
            keep_most = self.ratio is not None
            return min(found, key=lambda f: -at(f[0].energy, f[1]) if keep_most else at(f[0].macs, f[1]))
        if dear:
            return min(dear)[1]
        return f"no rank that is a multiple of {self.round_to} has {self.ratio:.0%} of its {weights:,} parameters or fewer"

    def allowed(self, name: str, way: Factoring, weights: int) -> Tensor:
        """Which ranks meet what is asked."""
        if self.rank is not None:
            wanted = self.rank[name] if isinstance(self.rank, dict) else self.rank
            mask = torch.zeros_like(way.energy, dtype=torch.bool)
            mask[tuple(min(wanted, full) - 1 for full in way.full)] = True
            return mask
        mask = torch.ones_like(way.energy, dtype=torch.bool)
        for axis, full in enumerate(way.full):
            ranks = torch.arange(1, full + 1).view([-1 if d == axis else 1 for d in range(mask.dim())])
            mask &= (ranks % self.round_to == 0) | (ranks == full)
        if self.ratio is not None:
            return mask & (way.params <= self.ratio * weights)
        return mask & (way.energy >= (self.energy or 0) - SLACK)

    def best(self, way: Factoring, mask: Tensor) -> tuple[int, ...]:
        """The ranks in `mask` with the fewest MACs, or under a ratio with the most energy; ties go to the other."""
        orders = [(way.macs, way.params, -way.energy), (-way.energy, way.macs, way.params)]
        for key in orders[self.ratio is not None]:
            mask = mask & (key == key[mask].min())
        return tuple(int(place) + 1 for place in mask.nonzero()[0])

    def too_dear(self, way: Factoring, ranks: tuple[int, ...], weights: int) -> str:
        """Why a product does not pay."""
        params, macs = at(way.params, ranks), at(way.macs, ranks)
        label = f"rank {' and '.join(map(str, ranks))} {NOUNS[way.method]}"
        enough = "" if max(params, macs) >= weights else f", which saves less than {1 - self.most:.0%}"
        if params >= macs:
            return f"{label} costs {params:,.0f} parameters, the layer {weights:,}{enough}"
        return f"{label} costs {macs:,.0f} MACs for a position of the output, the layer {weights:,}{enough}"


def at(table: Tensor, ranks: tuple[int, ...]) -> float:
    """The entry of a table over the ranks."""
    return table[tuple(rank - 1 for rank in ranks)].item()


def describe(way: Factoring, ranks: tuple[int, ...]) -> str:
    """What took the place of a layer."""
    kept, params = at(way.energy, ranks), at(way.params, ranks)
    return f"{NOUNS[way.method]} of rank {' and '.join(map(str, ranks))}: {kept:.1%} of the energy, {params:,.0f} weights"
