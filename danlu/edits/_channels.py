"""Groups of channels that can only be cut together, over the dependency graph of torch-pruning; and the proof of a cut.

A cut removes channels. It is right when the smaller net computes exactly what the larger one computes with those channels
silenced: the weights that read them and the weights that make them set to zero. `same_function` checks that on noise, so a
forward that the graph misread (a channel shuffle, a size built into a view) cannot slip through.

Source: Fang et al. 2023, DepGraph, https://arxiv.org/abs/2301.12900.
"""

import copy
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning as tp
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize
from torch_pruning.ops import OPTYPE

from ..nn.side_classified import SideClassified
from ._trace import FORWARD_ERRORS, evaluating

ROOTS = (_ConvNd, nn.Linear)
MIXING = (nn.GroupNorm, nn.LayerNorm)  # their statistics run over channels, so a silenced channel still counts
TOLERANCE = 1e-4  # of the largest output: float32 sums in another order differ by about 1e-6
Removed = dict[tuple[str, bool], set[int]]  # (layer, whether inputs rather than outputs) -> channels


@dataclass(frozen=True)
class Group:
    """Channels cut together. `root` is the layer whose outputs number them; `blocks` are equal parts that must be cut alike.

    `layers` are the convolutions and linear layers whose outputs they are, `keep` the reason if they may not be cut.
    """

    root: str
    width: int
    blocks: int
    layers: tuple[str, ...]
    items: Any  # the group of torch-pruning over all channels
    keep: str | None


class Graph:
    """The dependency graph of a net in eval mode; `cut` changes that net."""

    def __init__(self, model: nn.Module, example: Tensor) -> None:
        self.model = model
        self.names: dict[Any, str] = {}
        for name, module in model.named_modules():
            self.names.setdefault(module, name)
        with torch.enable_grad():
            self.graph = tp.DependencyGraph().build_dependency(
                model,
                example,
                # Left alone, torch-pruning first tries model(*example), the images of a batch as separate arguments.
                # Side classifiers, which eval mode leaves out, must lose the channels that their trunk loses.
                forward_fn=lambda net, x: net.exits(x) if isinstance(net, SideClassified) else net(x),
                # An operation behind every output, so that the graph has a node there even if the net ends in a layer.
                output_transform=lambda out: [tensor * 1 for tensor in tensors(out)],
                verbose=False,
            )

    def groups(self, skip: Iterable[str]) -> list[Group]:
        """All groups, in the order of the forward's end to its start, which is the order of the graph."""
        users: dict[nn.Parameter, set[nn.Module]] = defaultdict(set)
        for module in self.model.modules():
            for parameter in module.parameters(recurse=False):
                users[parameter].add(module)
        tied = {module for modules in users.values() if len(modules) > 1 for module in modules}
        found = []
        for items in self.graph.get_all_groups(root_module_types=ROOTS):
            targets = [(dep.target, self._is_in(dep)) for dep, _ in items]
            made = [node.module for node, reads in targets if isinstance(node.module, ROOTS) and not reads]
            blocks = math.lcm(1, *(_blocks(node.module) for node, _ in targets))
            root = items[0].dep.target.module
            width = len(items[0].idxs)
            layers = tuple(dict.fromkeys(self.names[module] for module in made))
            keep = next((reason for node, reads in targets if (reason := _protected(node, reads, tied))), None)
            if any(name == entry or name.startswith(entry + ".") for name in layers for entry in skip):
                keep = "named in skip"
            if keep is None and width % blocks:
                keep = f"its {width} channels do not fall into {blocks} equal blocks"
            found.append(Group(self.names[root], width, blocks, layers, items, keep))
        return found

    def touched(self, cuts: dict[str, list[int]]) -> Removed:
        """What cutting these outputs of these roots would remove, by the indices before any cut."""
        removed: Removed = defaultdict(set)
        for root, indices in cuts.items():
            for dep, gone in self._items(root, indices):
                if dep.target.module in self.names:
                    removed[self.names[dep.target.module], self._is_in(dep)].update(gone)
        return removed

    def cut(self, cuts: dict[str, list[int]]) -> None:
        """Remove these outputs of these roots, and all that hangs on them. New tensors all want a gradient."""
        for root, indices in cuts.items():
            self._items(root, indices).prune(record_history=False)

    def _items(self, root: str, indices: list[int]) -> Any:
        layer = self.model.get_submodule(root)
        prune = self.graph.get_pruner_of_module(layer).prune_out_channels
        return self.graph.get_pruning_group(layer, prune, indices)

    def _is_in(self, dep: Any) -> bool:
        """Whether an item removes inputs only; a norm or a depthwise convolution loses both."""
        return bool(self.graph.is_in_channel_pruning_fn(dep.handler) and not self.graph.is_out_channel_pruning_fn(dep.handler))


def tensors(value: object) -> list[Tensor]:
    """All floating tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return [tensor for item in items for tensor in tensors(item)]


def _blocks(module: object) -> int:
    """In how many blocks a layer splits its channels; each block must lose the same ones."""
    if isinstance(module, nn.GroupNorm):
        return module.num_groups
    if isinstance(module, _ConvNd) and not _is_depthwise(module):
        return module.groups
    return 1


def _is_depthwise(module: _ConvNd) -> bool:
    return module.groups == module.in_channels == module.out_channels


def _protected(node: Any, reads: bool, tied: set[nn.Module]) -> str | None:
    """Why the channels that meet this node of the graph may not be cut; None when they may."""
    module = node.module
    if node.type == OPTYPE.OUTPUT:
        return "they are the output of the net"
    if _pads_channels(node):
        return "a shortcut fills them up with zero channels, at places that a cut would move"
    if isinstance(module, nn.MultiheadAttention | nn.LSTM | nn.Embedding):
        return f"a {type(module).__name__} ties them to its own width"
    if isinstance(module, _ConvTransposeNd) and module.groups > 1:
        return "a grouped transposed convolution meets them"
    if (
        isinstance(module, _ConvNd)
        and not _is_depthwise(module)
        and 1 < module.groups in (module.in_channels, module.out_channels)
    ):
        return "a convolution with one channel a group meets them"
    if isinstance(module, _InstanceNorm) and module.track_running_stats:
        return "an instance norm with running statistics meets them"
    if isinstance(module, nn.Module) and parametrize.is_parametrized(module):
        return "a weight that meets them is parametrised: bake it first"
    if module in tied:
        return "a weight that meets them is shared with another layer"
    return None


def _pads_channels(node: Any) -> bool:
    """Whether a node is F.pad over the channels of maps [B, C, H, W]."""
    pad = getattr(node.grad_fn, "_saved_pad", ()) if node.type == OPTYPE.ELEMENTWISE else ()
    return any(pad[4:6])  # two numbers a dimension, from the last one backwards


@torch.no_grad()
def silence(model: nn.Module, removed: Removed) -> None:
    """Zero the weights that make or read the removed channels, in place."""
    for (name, reads), indices in removed.items():
        layer: Any = model.get_submodule(name)
        gone = sorted(indices)
        if isinstance(layer, _ConvNd | nn.Linear) and reads:
            _silence_readers(layer, gone)
        elif isinstance(layer, _ConvNd | nn.Linear | _BatchNorm | _InstanceNorm):
            if layer.weight is not None:
                (layer.weight.transpose(0, 1) if isinstance(layer, _ConvTransposeNd) else layer.weight)[gone] = 0
            if layer.bias is not None:
                layer.bias[gone] = 0


def _silence_readers(layer: Any, gone: list[int]) -> None:
    """Zero the weights of a layer that read these inputs."""
    if isinstance(layer, _ConvTransposeNd):
        layer.weight[gone] = 0
    elif isinstance(layer, nn.Linear) or layer.groups == 1:
        layer.weight[:, gone] = 0
    else:  # [groups, out / groups, in / groups, ...]: input i is input i mod (in / groups) of its group
        by_group = layer.weight.unflatten(0, (layer.groups, -1))
        for channel in gone:
            group, place = divmod(channel, layer.in_channels // layer.groups)
            by_group[group, :, place] = 0


def same_function(
    smaller: nn.Module, larger: nn.Module, removed: dict[tuple[str, bool], set[int]], example: Tensor
) -> str | None:
    """None when `smaller` equals `larger` with the removed channels silenced, on noise like `example`; else what differs."""
    smaller, larger = _without_mixing(smaller), _without_mixing(larger)
    silence(larger, removed)
    noise = torch.randn(example.shape, generator=torch.Generator().manual_seed(0)).to(example)
    with evaluating(smaller), evaluating(larger), torch.no_grad():
        wanted = tensors(larger(noise))
        try:
            got = tensors(smaller(noise))
        except FORWARD_ERRORS as error:
            return f"without them the net stops: {(str(error).strip() or type(error).__name__).splitlines()[0]}"
    if [tensor.shape for tensor in got] != [tensor.shape for tensor in wanted]:
        return "without them the output has another shape"
    for a, b in zip(got, wanted, strict=True):
        if not torch.allclose(a, b, rtol=0, atol=TOLERANCE * b.abs().max().item() + 1e-6, equal_nan=True):
            return "the forward mixes channels in a way that the graph does not see"
    return None


def _without_mixing(model: nn.Module) -> nn.Module:
    """A copy whose norms over channels are gone."""
    model = copy.deepcopy(model)
    for parent in list(model.modules()):
        for key, child in parent._modules.items():
            if isinstance(child, MIXING):
                parent._modules[key] = nn.Identity()
    return model
