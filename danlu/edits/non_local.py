"""Insert non-local blocks: every pixel takes over a mean of the whole map, weighed by how alike the others are to it.

    z = x + norm(W y),   y_i = sum_j f(x_i, x_j) g(x_j) / Z_i         over N pixels i and, subsampled, N / 4 pixels j
    MACs of "embedded"   2 C^2 for each pixel, C for each pair (i, j)

The blocks start as the identity: a net gives the same outputs until they are trained.

Source: Wang et al. 2017, Non-local neural networks, https://arxiv.org/abs/1711.07971. Card: non_local.md
"""

from collections.abc import Collection

from torch import nn

from ..errors import UsageError, unknown
from ..nn import NonLocal2d
from ..nn.non_local import Kind
from ._behind import Shape, body, is_normed, put_behind
from ._check import check_choice
from ._registry import edits
from ._units import Unit
from .price import Price
from .surgery import Outcome


@edits(exact=True, needs=(), reduces=(), paper="arxiv:1711.07971", first=True)
def non_local(
    model: nn.Module,
    *,
    kind: Kind = "embedded",
    stages: Collection[int] = (2, 3),
    at: Collection[str] = (),
    subsample: bool = True,
    skip: Collection[str] = (),
) -> Outcome:
    """Put a non-local block before the last unit of some stages of the net, or behind the modules named.

    kind       how two pixels are compared: "gaussian", "embedded", "dot", "concat"
    stages     from 1, counted where the map changes its size; in a stage of one unit the block goes behind that
    at         names of modules that give a map, in the place of `stages`
    subsample  the pixels looked at are the maxima of 2x2 each: a quarter of the pairs
    skip       names of modules to leave alone

    Weights are fresh. In a net without norms the blocks have none either.

    Raises: UsageError for another `kind`, for stages that are no whole numbers from 1, for a name in `at` that is none.
    """
    check_choice("non_local: kind", kind, Kind)
    if isinstance(stages, str) or not all(isinstance(n, int) and not isinstance(n, bool) and n >= 1 for n in stages):
        raise UsageError(f"non_local: stages is a list of whole numbers from 1, got {stages!r}")
    if isinstance(at, str):
        raise UsageError(f"non_local: at is a list of module names, e.g. [{at!r}], got the text {at!r}")
    known = {name for name, _ in model.named_modules() if name}
    for name in at:
        if name not in known:
            raise unknown("module in non_local(at=...)", str(name), known)
    normed = is_normed(model)

    def make(_: Shape, out: Shape) -> tuple[nn.Module, Price]:
        block = NonLocal2d(out[0], kind=kind, subsample=subsample, batch_norm=normed)
        params = sum(parameter.numel() for parameter in block.parameters())
        return block, price(out[0], kind, subsample, params)

    if at:
        return put_behind(model, at, NonLocal2d, make, skip)
    steps, kept = body(model)
    outcome = put_behind(model, _places(steps, stages), NonLocal2d, make, skip)
    outcome.kept += kept
    present = sorted({unit.stage for unit in steps})
    if not outcome.changed and not outcome.kept:
        outcome.kept.append(("", f"it has no units in stages {list(stages)}; its stages are {present}"))
    return outcome


def _places(steps: list[Unit], stages: Collection[int]) -> list[str]:
    """The last layer of the last unit but one of each stage, or of its only one."""
    found = []
    for stage in stages:
        inside = [unit for unit in steps if unit.stage == stage]
        if inside:
            found.append(inside[max(0, len(inside) - 2)].names[-1])
    return found


def price(channels: int, kind: Kind, subsample: bool, params: int) -> Price:
    """What a block on a map of this many channels costs."""
    inner = max(1, channels // 2)
    embeddings = 0 if kind == "gaussian" else 2
    each = (embeddings + 2) * channels * inner
    compared = inner + {"gaussian": channels, "embedded": inner, "dot": inner, "concat": 0}[kind]
    cost = Price(params, output=each)
    cost += Price(halved_pairs=compared) if subsample else Price(output_pairs=compared)
    if kind == "concat":  # the two halves of w: one for all pixels i, one for the j
        cost += Price(output=inner, halved=inner) if subsample else Price(output=2 * inner)
    return cost
