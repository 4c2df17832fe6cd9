"""Who feeds whom in a forward: torch.fx where it can trace, the order inside nn.Sequential where it can't.

A part whose forward branches on values cannot be traced; its children still can, one by one. Layers that an untraced part
holds itself may be called from anywhere in it: their neighbours are unknown.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from ..nn.activations import Activation
from ..nn.norms import RunningNorm

# What user code raises when it is given a proxy, another size, or one channel less. Third-party forwards raise anything.
FORWARD_ERRORS = (RuntimeError, TypeError, ValueError, AttributeError, LookupError, ArithmeticError, AssertionError, NameError)


class _Tracer(fx.Tracer):
    """Stops at the layers of torch.nn, whatever subclass they are, as long as their forward is torch's own, and at danlu's own
    activations and batch norms, which stand in the places of torch's."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, Activation | RunningNorm):
            return True
        own = "forward" not in m.__dict__ and getattr(type(m).forward, "__module__", "").startswith("torch.nn.")
        return own and not isinstance(m, nn.Sequential)


def trace(model: nn.Module) -> fx.Graph | None:
    """The graph of the forward in the model's present mode; None where values decide what it does."""
    attributes = set(model.__dict__)
    try:
        return _Tracer().trace(model)
    except (fx.proxy.TraceError, *FORWARD_ERRORS):
        return None
    finally:
        for name in set(model.__dict__) - attributes:  # fx hangs the constants of a forward on the model
            delattr(model, name)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode inside; every module gets its own training flag back."""
    flags = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, flag in flags:
            module.training = flag


class Neighbours:
    """For every layer of torch.nn: which layers feed it and which it feeds, over all its uses.

    `before[layer]` and `after[layer]` are sets of layers; None in a set stands for anything else: a sum, the input, the
    output, a parameter read from outside, a place that cannot be traced. A layer without an entry is never called.
    """

    def __init__(self, model: nn.Module) -> None:
        self.before: dict[nn.Module, set[nn.Module | None]] = {}
        self.after: dict[nn.Module, set[nn.Module | None]] = {}
        self.untraced: set[nn.Module] = set()
        self._visited: set[nn.Module] = set()
        with evaluating(model), torch.no_grad():
            self._visit(model)

    def only_before(self, layer: nn.Module) -> nn.Module | None:
        """The one layer that feeds `layer` and nothing else, or None."""
        before = self.before.get(layer, set())
        first = next(iter(before), None)
        if len(before) != 1 or first is None or self.after[first] != {layer}:
            return None
        return first

    def _visit(self, part: nn.Module) -> None:
        if part in self._visited:
            return
        self._visited.add(part)
        graph = trace(part)
        if graph is not None:
            self._read(graph, part)
            return
        in_order = isinstance(part, nn.Sequential) and type(part).forward is nn.Sequential.forward
        children = list(part) if in_order else list(part.children())  # type: ignore[call-overload]
        if in_order:
            for left, right in zip([None, *children], [*children, None], strict=True):
                self._link(left, right)
        else:
            self.untraced.update(children)
            for child in children:
                self._link(None, child)
                self._link(child, None)
        for child in children:
            self._visit(child)

    def _read(self, graph: fx.Graph, part: nn.Module) -> None:
        layer_of: dict[fx.Node, nn.Module] = {n: part.get_submodule(str(n.target)) for n in graph.nodes if n.op == "call_module"}
        for node, layer in layer_of.items():
            for source in node.all_input_nodes:
                self._link(layer_of.get(source), layer)
            for user in node.users:
                if user not in layer_of:
                    self._link(layer, None)
        for node in graph.nodes:
            if node.op == "get_attr":  # the forward reads a tensor of a layer: nothing about that layer is certain
                holder = str(node.target).rpartition(".")[0]
                if holder:
                    self._link(None, part.get_submodule(holder))
                    self._link(part.get_submodule(holder), None)

    def _link(self, left: nn.Module | None, right: nn.Module | None) -> None:
        if left is not None:
            self.after.setdefault(left, set()).add(right)
            self.before.setdefault(left, set())
        if right is not None:
            self.before.setdefault(right, set()).add(left)
            self.after.setdefault(right, set())


def first_tensor(value: object) -> Tensor | None:
    """The first tensor in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return value
    items = value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ()
    return next((found for item in items if (found := first_tensor(item)) is not None), None)
