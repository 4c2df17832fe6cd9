"""Where the layers of a net stand: at how many positions each works, and whether anything but its call needs its weight."""

import copy
import math
from collections import Counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from ..errors import UsageError
from ._factor import CONVS, Sites
from ._penalties import only_penalised
from ._trace import FORWARD_ERRORS, evaluating, trace

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)


class Places:
    """Questions about the layers of `model` by name. With `example` [B, C, H, W] the net is run once, to see the sizes."""

    def __init__(self, model: nn.Module, example: Tensor | None) -> None:
        self.model = model
        self.read = read_outside(model)
        self.uses: Counter[int] = Counter()
        for module in model.modules():
            for tensor in module.parameters(recurse=False):
                self.uses[id(tensor)] += 1
        self.seen = {} if example is None else positions(model, example)

    def why_not(self, name: str) -> str | None:
        """Why the layer of this name must stay one layer; None when it may go."""
        layer: Any = self.model.get_submodule(name)
        if not only_penalised(layer):
            return "a weight is parametrised: bake it first"
        parts = name.split(".") if name else []
        for end in range(len(parts)):
            owner = self.model.get_submodule(".".join(parts[:end]))
            if type(owner).__module__.startswith("torch.nn.") and not isinstance(owner, CONTAINERS):
                return f"the {type(owner).__name__} it belongs to reads its weight itself"
        base = parametrize.type_before_parametrizations(layer)
        if base not in CONVS and base is not nn.Linear:
            return f"it is a {base.__name__}, which may do more than its weight says"
        if layer._forward_hooks or layer._forward_pre_hooks:
            return "a hook watches it"
        if layer in self.read:
            return "the forward reads its weight from outside"
        if any(self.uses[id(tensor)] > 1 for tensor in layer.parameters()):
            return "its weight is shared with another layer"
        return None

    def sites(self, name: str) -> Sites:
        """The positions of a layer's input, and between a vertical and a horizontal half, for each of its output."""
        layer = self.model.get_submodule(name)
        if not isinstance(layer, _ConvNd):
            return Sites()
        before, between, after = self.seen.get(layer, (0, 0, 0))
        if after:
            return Sites(before / after, between / after)
        return Sites(float(math.prod(layer.stride)), float(layer.stride[-1]))


def read_outside(model: nn.Module) -> set[nn.Module]:
    """Modules a tensor of which is read by another module's forward, as far as the forwards can be traced."""
    graph = trace(model)
    if graph is None:
        return {module for child in model.children() for module in read_outside(child)}
    holders = {str(node.target).rpartition(".")[0] for node in graph.nodes if node.op == "get_attr"}
    return {model.get_submodule(holder) for holder in holders if holder}


@torch.no_grad()
def positions(model: nn.Module, example: Tensor) -> dict[nn.Module, tuple[int, int, int]]:
    """Positions of each convolution's input, between the halves of a spatial pair, and of its output, over all its calls.

    Between the vertical and the horizontal half the map has the height of the output and the width of the input.
    """
    work = copy.deepcopy(model)
    counts: dict[nn.Module, list[int]] = {}

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        count = counts.setdefault(module, [0, 0, 0])
        size = len(module.kernel_size)  # type: ignore[arg-type]
        into, out = inputs[0].shape[-size:], output.shape[-size:]
        for i, number in enumerate((math.prod(into), math.prod(out[:-1]) * into[-1], math.prod(out))):
            count[i] += number

    for module in work.modules():
        if isinstance(module, _ConvNd):
            module.register_forward_hook(note)
    try:
        with evaluating(work):
            work(example[:1])
    except FORWARD_ERRORS as error:
        raise UsageError(f"low_rank: the net does not run on the example {tuple(example.shape)}: {error}") from error
    twins = dict(zip(work.modules(), model.modules(), strict=True))
    return {twins[module]: (count[0], count[1], count[2]) for module, count in counts.items()}
