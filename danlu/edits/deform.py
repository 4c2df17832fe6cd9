"""Deformable convolutions in the place of plain ones: the kernel looks where a small convolution tells it to.

    y(p) = sum_k w_k x(s p + p_k + offset_k(p)) m_k(p)        offset = 0 and m = 1 at first: nothing changes until it learns

The convolution of the offsets costs 2 K (3 K with m) channels for a kernel of K places: K C (2 K) weights, as many MACs a
pixel.

Source: Dai et al. 2017, Deformable convolutional networks, https://arxiv.org/abs/1703.06211; `modulated`: Zhu et al. 2018,
https://arxiv.org/abs/1811.11168. Card: deform.md
"""

from collections.abc import Collection
from typing import cast

from torch import nn
from torch.nn.modules.conv import _ConvNd

from ..errors import UsageError
from ..nn import DeformableConv2d
from ._owner import owner, unusual
from ._registry import edits
from ._trace import evaluating, trace
from .price import price_of
from .surgery import Keep, Outcome, is_skipped, replace


@edits(exact=True, needs=(), reduces=(), paper="arxiv:1703.06211", first=True)
def deform(model: nn.Module, *, last: int = 3, modulated: bool = False, skip: Collection[str] = ()) -> Outcome:
    """Make the last `last` spatial convolutions of a net deformable; their weights carry over, and so does the function.

    Spatial are those with a kernel above 1x1, counted from the end of the forward (of the module tree, where the forward
    cannot be traced). `modulated` also learns how much each sample counts. Kept: 1x1 and depthwise convolutions, the first
    convolution, those that give a single map. `skip` holds names of layers, or of modules, to leave alone and not to count.

    Raises: UsageError when `last` is below 1.
    """
    if isinstance(last, bool) or last < 1:
        raise UsageError(f"deform: last is how many convolutions from the end become deformable, at least 1; got {last}")
    names, first = _running_order(model)
    free = [name for name in names if _why_not(model, name, first) is None and not is_skipped(name, skip)]
    chosen = {id(model.get_submodule(name)) for name in free[-last:]}

    def decide(name: str, module: nn.Module) -> nn.Module | Keep:
        original = model.get_submodule(name)
        if id(original) in chosen:
            return DeformableConv2d.like(cast(nn.Conv2d, module), modulated=modulated)
        return Keep(_why_not(model, name, first) or f"not among the last {last}")

    return replace(model, nn.Conv2d, decide, skip, lambda old, new: price_of(new) - price_of(old))


def _running_order(model: nn.Module) -> tuple[list[str], nn.Module | None]:
    """The names of the convolutions as the forward calls them, each at its last call; and the convolution called first."""
    with evaluating(model):
        graph = trace(model)
    names = [name for name, module in model.named_modules() if isinstance(module, _ConvNd)]
    called = [model.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"] if graph else []
    position = {module: i for i, module in enumerate(called)}
    if graph is not None:
        names.sort(key=lambda name: position.get(model.get_submodule(name), -1))
    first = next((module for module in (*called, *model.modules()) if isinstance(module, _ConvNd)), None)
    return names, first


def _why_not(model: nn.Module, name: str, first: nn.Module | None) -> str | None:
    """Why a convolution is not made deformable, or None."""
    conv = model.get_submodule(name)
    holder = owner(model, name)
    if holder is not None:
        return f"a part of {holder}"
    if not isinstance(conv, nn.Conv2d):
        return f"a {type(conv).__name__} is not a plain convolution"
    reason = unusual(conv)
    if reason is not None:
        return reason
    if max(conv.kernel_size) == 1:
        return "a 1x1 convolution has no shape"
    if conv is first:
        return "it reads the image"
    if conv.groups > 1 and conv.groups == conv.in_channels:
        return "a depthwise convolution costs less than the offsets for it"
    if conv.out_channels == 1:
        return "it gives a single map, no features"
    return None
