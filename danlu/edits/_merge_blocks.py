"""Find inception blocks: modules whose forward is branches of the input, concatenated on the channels.

    y = [branch_1(x); branch_2(x); ...]        each branch a row of layers

A branch is told apart by its layers: a point (1x1 convolution), a pool (pool, 1x1 convolution), a host (1x1 convolution that
reduces the channels, then a larger one), or another. A BatchNorm behind a convolution and an activation belong to it.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize

from ._merge_shape import POOLS, pair
from ._trace import evaluating, trace
from .fold_bn import fold, why_not
from .swap_activation import ACTIVATIONS

RELUS: set[tuple[str, Any]] = {("call_function", f) for f in (F.relu, F.relu_, torch.relu, torch.relu_)}
RELUS |= {("call_method", name) for name in ("relu", "relu_")}
POOL_FUNCTIONS = (F.max_pool2d, F.avg_pool2d, torch.max_pool2d)


@dataclass
class Stage:
    """A convolution with the norm and the activation behind it."""

    conv: nn.Conv2d
    norm: _BatchNorm | None = None
    activation: nn.Module | None = None

    def folded(self) -> nn.Conv2d:
        """A copy of the convolution with the norm in it, and with a bias."""
        conv = copy.deepcopy(self.conv)
        if self.norm is not None:
            fold(conv, self.norm)
        elif conv.bias is None:
            conv.bias = nn.Parameter(conv.weight.new_zeros(conv.out_channels))
        return conv


@dataclass
class Branch:
    """A row of layers from the input of a block to its concatenation. `steps` are what computes it."""

    name: str
    steps: list[Callable[[Tensor], Tensor]]
    stages: list[Stage] = field(default_factory=list)
    pool: bool = False
    kind: str = "other"  # or "point", "pool", "host"

    def __call__(self, x: Tensor) -> Tensor:
        """Run it. Shape: [B, in, H, W] -> [B, out, H', W']."""
        for step in self.steps:
            x = step(x)
        return x

    @property
    def channels(self) -> int:
        return self.stages[-1].conv.out_channels


def blocks(model: nn.Module) -> list[tuple[str, list[Branch] | str]]:
    """Every module that ends in a concatenation of branches with convolutions: its name, and its branches or why it has none."""
    found: list[tuple[str, list[Branch] | str]] = []
    with evaluating(model), torch.no_grad():
        for name, part in model.named_modules():
            if sum(isinstance(layer, nn.Conv2d) for layer in part.modules()) < 2:
                continue
            graph = trace(part)
            if graph is None:
                continue
            outputs = [node for node in graph.nodes if node.op == "output"]
            ends = concatenated(outputs[0].args[0])
            if ends is not None:
                found.append((name, read(graph, part, ends)))
    return found


def read(graph: fx.Graph, part: nn.Module, ends: list[fx.Node]) -> list[Branch] | str:
    """The branches of a block; a reason where its forward is something else."""
    entries = [node for node in graph.nodes if node.op == "placeholder"]
    branches: list[Branch] = []
    used = 1 + sum(node.op in ("placeholder", "output") for node in graph.nodes)
    for end in ends:
        row: list[fx.Node] = []
        node: Any = end
        while node is not entries[0]:
            if not isinstance(node, fx.Node) or len(node.users) != 1 or len(node.all_input_nodes) != 1:
                return "its forward is not rows of layers beside each other from its input to a concatenation"
            row.insert(0, node)
            node = node.all_input_nodes[0]
        if not row:
            return "its input itself is concatenated"
        used += len(row)
        branches.append(branch_of(row, part, len(branches)))
    if used != len(graph.nodes):
        return "its forward does more than concatenate branches"
    targets = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    if len(set(targets)) != len(targets):
        return "a layer in it is called twice"
    return branches


def branch_of(row: list[fx.Node], part: nn.Module, index: int) -> Branch:
    """One branch: what computes it, and what it is."""
    targets = [str(node.target) for node in row if node.op == "call_module"]
    convs = [name for name in targets if isinstance(part.get_submodule(name), nn.Conv2d)]
    branch = Branch((convs or targets or [f"branch{index}"])[-1].split(".")[0], [])
    plain = True
    for i, node in enumerate(row):
        layer: nn.Module | None = part.get_submodule(str(node.target)) if node.op == "call_module" else None
        if (node.op, node.target) in RELUS:
            layer = nn.ReLU()
        if layer is not None:
            branch.steps.append(layer)
        else:
            branch.steps.append(called(node))
        pools = isinstance(layer, POOLS) or (node.op == "call_function" and node.target in POOL_FUNCTIONS)
        last = branch.stages[-1] if branch.stages else None
        if isinstance(layer, nn.Conv2d):
            branch.stages.append(Stage(layer))
        elif isinstance(layer, _BatchNorm) and last is not None and last.norm is None and last.activation is None:
            last.norm = layer
        elif isinstance(layer, ACTIVATIONS) and last is not None and last.activation is None:
            last.activation = layer
        elif pools and i == 0:
            branch.pool = True
        elif not isinstance(layer, nn.Identity):
            plain = False
    branch.kind = kind_of(branch) if plain else "other"
    return branch


def called(node: fx.Node) -> Callable[[Tensor], Tensor]:
    """A function of a forward as a function of its one tensor."""

    def step(x: Tensor) -> Tensor:
        args = fx.node.map_arg(node.args, lambda _: x)
        kwargs = fx.node.map_arg(node.kwargs, lambda _: x)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]  # the function of a call_function node

    return step


def kind_of(branch: Branch) -> str:
    """What a branch of convolutions is."""
    for stage in branch.stages:
        conv, norm = stage.conv, stage.norm
        simple = (
            conv.groups == 1 and conv.stride == (1, 1) and conv.padding_mode == "zeros" and not parametrize.is_parametrized(conv)
        )
        if not simple or conv._forward_hooks or conv._forward_pre_hooks or (norm is not None and why_not(conv, norm) is not None):
            return "other"
    sizes = [stage.conv.kernel_size for stage in branch.stages]
    if sizes == [(1, 1)] and branch.stages[0].conv.padding in ((0, 0), "valid", "same"):
        return "pool" if branch.pool else "point"
    if len(sizes) == 2 and sizes[0] == (1, 1) and not branch.pool:
        conv = branch.stages[1].conv
        square = sizes[1][0] == sizes[1][1] and sizes[1][0] % 2 == 1 and sizes[1][0] > 1
        if square and conv.dilation == (1, 1) and (conv.padding == "same" or pair(conv.padding) == (sizes[1][0] // 2,) * 2):
            return "host"
    return "other"


def groups(branches: list[Branch]) -> list[list[Branch]]:
    """Which neighbours in the concatenation become one branch: guests (points and pools) with the host beside them.

    Only neighbours keep the order of the channels. Of two hosts a point goes to the smaller kernel, a pool to the larger.
    """
    hosts = [i for i, branch in enumerate(branches) if branch.kind == "host"]
    home = list(range(len(branches)))
    for i, branch in enumerate(branches):
        if branch.kind not in ("point", "pool"):
            continue
        near = []
        for direction in (-1, 1):
            j = i + direction
            while 0 <= j < len(branches) and branches[j].kind in ("point", "pool"):
                j += direction
            if j in hosts and same_end(branch, branches[j]):
                near.append(j)
        if near:
            larger = branch.kind == "pool"
            home[i] = sorted(near, key=lambda j: (branches[j].stages[1].conv.kernel_size[0] * (-1 if larger else 1), abs(j - i)))[
                0
            ]
    # A guest between a host and another guest of that host's must go there too, or the channels would be mixed.
    found: list[list[Branch]] = []
    for i, branch in enumerate(branches):
        if i > 0 and home[i] == home[i - 1]:
            found[-1].append(branch)
        else:
            found.append([branch])
    return found


def same_end(guest: Branch, host: Branch) -> bool:
    """Whether both end in the same kind of activation, so that one layer can end both."""
    a, b = guest.stages[-1].activation, host.stages[-1].activation
    return type(a) is type(b) and repr(a).replace("inplace=True", "") == repr(b).replace("inplace=True", "")


def concatenated(node: object) -> list[fx.Node] | None:
    """The parts of a concatenation on the channels; None for anything else."""
    if (
        not isinstance(node, fx.Node)
        or node.op != "call_function"
        or node.target not in (torch.cat, torch.concat, torch.concatenate)
    ):
        return None
    parts = node.args[0] if node.args else node.kwargs.get("tensors")
    axis = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", node.kwargs.get("axis", 0))
    if axis not in (1, -3) or not isinstance(parts, tuple | list):
        return None
    nodes = [part for part in parts if isinstance(part, fx.Node)]
    return nodes if len(nodes) == len(parts) and len(set(nodes)) == len(nodes) else None
