"""The repeated steps of a net, which edits of depth and of shortcuts work on, and where its residual branches end.

A unit is a block module in a plain `nn.Sequential`, or a run conv[-norm][-activation] of children of one, in which a layer of
danlu may stand for the convolution. Nothing depends on the size of the input: each unit is run alone, without data, to see what
it does to channels and to the map.
"""

import operator
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils import parametrize

from ..nn import ExitPoint, layers
from ._maps import _without_data
from ._trace import FORWARD_ERRORS, evaluating, first_tensor, trace
from .swap_activation import ACTIVATIONS
from .swap_norm import NORMS

SIDE = 64  # pixels of the map that a unit is run on alone: any size that all kernels fit into
CHANGED = 1.5  # a side that grows or shrinks by this factor is another map size; a convolution without padding takes less
SUMS = frozenset((operator.add, operator.iadd, torch.add, "add", "add_"))
JOINS = frozenset((torch.cat, torch.concat, torch.stack))
PRODUCTS = ("conv1d", "conv2d", "conv3d", "linear", "matmul", "einsum", "bmm")
SIZES = ("size", "dim", "numel", "shape")


@dataclass(frozen=True)
class Unit:
    """One repeated step: the children `first` to `last` (inclusive) of the plain nn.Sequential named `parent`, "" for the net.

    stride       side of its input map / side of its output map
    residual     a sum of its input and of what it computes is inside
    stage        from 1; another one begins where the map changes its size
    keeps_shape  its output has the channels, the height and the width of its input
    """

    parent: str
    first: int
    last: int
    names: tuple[str, ...]
    in_channels: int
    out_channels: int
    stride: int
    residual: bool
    stage: int
    keeps_shape: bool


def units(model: nn.Module) -> list[Unit]:
    """The units of a net, in running order.

    The stem (what holds the first convolution) and everything behind the last convolution are no units; nor is a block with
    an exit inside, whose copy would be another exit. Children of modules with a forward of their own are none either; the
    nn.Sequentials among them are searched, unless that forward adds or concatenates, which makes them branches of a block.
    """
    shadow = _without_data(model).eval()
    walk = _Walk(next((module for module in shadow.modules() if _is_weighted(module)), None))
    walk.visit("", shadow)
    return walk.units


def branch_ends(model: nn.Module) -> list[str]:
    """The last layer of each residual branch, in running order: the layer whose output is added to a shortcut.

    What is to act on a branch as a whole goes there, as `nn.Sequential(last, new)`. A branch that ends in arithmetic of the
    forward itself, or in a layer that is called twice, has no such layer.
    """
    with evaluating(model):
        return list(dict.fromkeys(_ends(model, "")))


def _ends(part: nn.Module, prefix: str) -> Iterator[str]:
    graph = trace(part)
    if graph is None:
        for name, child in part.named_children():
            yield from _ends(child, f"{prefix}{name}.")
        return
    called = [str(node.target) for node in graph.nodes if node.op == "call_module"]
    for total, branch in residual_sums(graph, part):
        name = _maker(branch)
        if name and set(branch.users) == {total} and called.count(name) < 2 and name not in _stack(total):
            yield prefix + name


def residual_sums(graph: fx.Graph, part: nn.Module) -> list[tuple[fx.Node, fx.Node]]:
    """The sums of a forward with a shortcut in them: (the sum, the operand that is the branch).

    The branch is the operand with more convolutions before it, a kxk one counting twice; operands with as many are parallel
    branches, not a branch and its shortcut.
    """
    depth: dict[fx.Node, int | None] = {}  # None where the input does not come in: numbers, sizes, parameters
    found = []
    for node in graph.nodes:
        before = [seen for source in node.all_input_nodes if (seen := depth[source]) is not None]
        name = str(node.args[1] if node.target is getattr else getattr(node.target, "__name__", node.target))
        if node.op == "placeholder":
            depth[node] = 0
        elif not before or name in SIZES:
            depth[node] = None
        elif node.op == "call_module":
            depth[node] = max(before) + sum(_weight(m) for m in part.get_submodule(str(node.target)).modules())
        else:
            depth[node] = max(before) + 2 * (name in PRODUCTS)
        if node.target in SUMS and node.op != "call_module" and len(node.args) >= 2:
            a, b = node.args[:2]
            if isinstance(a, fx.Node) and isinstance(b, fx.Node):
                left, right = depth[a], depth[b]
                if left is not None and right is not None and left != right:
                    found.append((node, a if left > right else b))
    return found


def _joins(part: nn.Module) -> bool:
    """Whether the forward of a module itself, not those inside, adds or concatenates maps."""
    graph = trace(part)
    nodes = [node for node in graph.nodes if not _stack(node)] if graph is not None else []
    return any(node.target in JOINS or (node.target in SUMS and len(node.all_input_nodes) > 1) for node in nodes)


def _weight(module: nn.Module) -> int:
    """How much a layer counts as part of a branch."""
    if isinstance(module, _ConvNd):
        return 2 if max(module.kernel_size) > 1 else 1
    return int(isinstance(module, nn.Linear))


def _stack(node: fx.Node) -> list[str]:
    """The names of the modules in whose forwards a node is, outermost first."""
    return [str(path) for path, _ in (node.meta.get("nn_module_stack") or {}).values()]


def _maker(node: fx.Node) -> str:
    """The name of the module whose output a node is; "" for arithmetic of the outermost forward."""
    if node.op == "call_module":
        return str(node.target)
    return (_stack(node) or [""])[-1]


def is_plain(module: nn.Module) -> bool:
    """Whether a module runs its children one after another and does nothing else."""
    return type(module) is nn.Sequential


def _is_weighted(module: nn.Module) -> bool:
    """A convolution, or a layer of danlu that stands in the place of one."""
    if isinstance(module, _ConvNd):
        return not isinstance(module, _ConvTransposeNd)
    replaces = _is_registered(module) and hasattr(module, "in_channels") and hasattr(module, "out_channels")
    return replaces and next(module.parameters(), None) is not None


def _is_registered(module: nn.Module) -> bool:
    kind = parametrize.type_before_parametrizations(module)
    return kind.__name__ in layers and layers[kind.__name__].build is kind


def role(module: nn.Module) -> str:
    """What a child of a chain is to its units: "conv", "norm", "activation", "chain", "block", or "other".

    A layer with something that an edit put behind it, nn.Sequential(layer, new), has the role of the layer; a chain of bare
    convolutions that of a convolution.
    """
    if _is_weighted(module):
        return "conv"
    if isinstance(module, NORMS):
        return "norm"
    if isinstance(module, ACTIVATIONS):
        return "activation"
    if is_plain(module) and len(module._modules):
        first, *rest = [role(child) for child in module.children()]
        if all(other == "other" for other in rest) and first in ("conv", "norm", "activation") and rest:
            return first
        return "conv" if {first, *rest} == {"conv"} else "chain"
    if _is_registered(module) and not isinstance(module, nn.Sequential):
        return "other"  # attention, a pool with weights: no step of its own
    has_convolution = any(_is_weighted(inner) for inner in module.modules())
    return "block" if has_convolution and not any(isinstance(inner, ExitPoint) for inner in module.modules()) else "other"


class _Walk:
    """Goes through a net in running order and remembers the channels, and whether the map has changed its size."""

    def __init__(self, stem: nn.Module | None) -> None:
        self.units: list[Unit] = []
        self._stem = stem
        self._channels: int | None = None
        self._resized = False
        self._seen: set[nn.Module] = set()

    def visit(self, name: str, module: nn.Module) -> None:
        if module in self._seen:
            return
        self._seen.add(module)
        if is_plain(module):
            self._chain(name, module)
        elif not _is_registered(module):
            if name and _joins(module):  # a block outside a chain
                return
            for key, child in module.named_children():
                self._channels = None  # a forward of its own may join anything to anything
                self.visit(f"{name}.{key}".lstrip("."), child)

    def _chain(self, name: str, chain: nn.Module) -> None:
        children = [(f"{name}.{key}".lstrip("."), child) for key, child in chain._modules.items() if child is not None]
        roles = [role(child) for _, child in children]
        at = 0
        while at < len(children):
            last = at
            if roles[at] == "conv" or (roles[at] == "block" and _is_registered(children[at][1])):
                for wanted in ("norm", "activation"):
                    last += last + 1 < len(children) and roles[last + 1] == wanted
            if roles[at] == "chain":
                self.visit(*children[at])
            else:
                self._step(name, at, children[at : last + 1], is_unit=roles[at] in ("conv", "block"))
            at = last + 1

    def _step(self, parent: str, first: int, children: list[tuple[str, nn.Module]], *, is_unit: bool) -> None:
        """Run some children alone; they are a unit, or stand between two."""
        part = children[0][1] if len(children) == 1 else nn.Sequential(*(child for _, child in children))
        shapes = _run_alone(part, self._channels)
        if shapes is None:
            self._channels = None
            return
        (into, *side), (out, *after) = shapes
        self._channels = out
        resized = not all(1 / CHANGED < a / b < CHANGED for a, b in zip(side, after, strict=True)) if after else False
        is_stem = self._stem is not None and self._stem in part.modules()
        if not is_unit or is_stem or not after:
            self._resized = self._resized or resized
            return
        stage = self.units[-1].stage + (resized or self._resized) if self.units else 1
        stride = max(1, round(side[0] / after[0]))
        names = tuple(name for name, _ in children)
        graph = trace(part)
        residual = graph is not None and bool(residual_sums(graph, part))
        last = first + len(children) - 1
        self.units.append(Unit(parent, first, last, names, into, out, stride, residual, stage, shapes[0] == shapes[1]))
        self._resized = False


@torch.no_grad()
def _run_alone(part: nn.Module, channels: int | None) -> tuple[list[int], list[int]] | None:
    """The shapes [C, H, W] before and after a part that has no data; None for a part that does not run alone.

    `channels` is tried first, where it is known, then what the layers of the part take.
    """
    dims = next((m.weight.dim() - 2 for m in part.modules() if isinstance(m, _ConvNd)), 2)
    like = next((tensor for tensor in part.parameters() if tensor.is_floating_point()), torch.empty(0, device="meta"))
    taken = [m.in_channels for m in part.modules() if isinstance(m, _ConvNd)]
    for width in dict.fromkeys([*([] if channels is None else [channels]), *taken]):
        x = torch.empty(2, width, *[SIDE] * dims, device="meta", dtype=like.dtype)
        try:
            y = first_tensor(part(x))
        except FORWARD_ERRORS:
            continue
        if isinstance(y, Tensor) and y.dim() >= 2 and len(y) == 2:
            spatial = list(y.shape[2:]) if y.dim() == x.dim() else []
            return list(x.shape[1:]), [y.shape[1], *spatial]
    return None
