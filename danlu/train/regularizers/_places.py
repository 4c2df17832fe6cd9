"""Where layers of a regulariser go: in front of which layers of a net, by a word or by a pattern of names.

    "last"      the last convolution or linear layer in running order: the classifier
    "linear"    the linear layers of the chain that ends in the answer: the fully connected layers of VGG or AlexNet, but not
                the small ones of an attention, which end in a product
    "conv"      every convolution
    "all"       every convolution and linear layer
    pattern     the modules whose names match it: "layer3.0", "features.*"

The layer that sees the images themselves is none of these, unless a pattern names it: a pixel that is set to zero is no dropped
feature. What is put in hangs on the modules as a hook: the names of the weights stay, so that a checkpoint of the training
loads into the net that was asked for, and taking it out is exact.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from ...errors import UsageError
from ._registry import Regularizer

WORDS = ("last", "linear", "conv", "all")


def places(model: nn.Module, at: str, what: str) -> list[nn.Module]:
    """The modules that `at` means, in running order. Raises UsageError, in the name of `what`, where there is none."""
    layers, tail = _weighted(model)
    behind = layers[1:] if len(layers) > 1 else layers
    if at == "last":
        found = behind[-1:]
    elif at == "linear":
        found = [layer for layer in behind if layer in tail]
    elif at == "conv":
        found = [layer for layer in behind if isinstance(layer, _ConvNd)]
    elif at == "all":
        found = behind
    else:
        found = [module for name, module in model.named_modules() if name and fnmatchcase(name, at)]
    if not found:
        names = [name for name, _ in model.named_children()]
        raise UsageError(
            f"{what}: no layer of the net is meant by at={at!r}; use {', '.join(map(repr, WORDS))}, or a pattern of module names "
            f"such as {names[0] if names else '*'!r}"
        )
    return found


class Inserted(Regularizer):
    """Puts `layer`, a function of a tensor, in front of the layers that `at` means; in training mode it acts."""

    def __init__(self, what: str, at: str, layer: Callable[[Tensor], Tensor]) -> None:
        self.what, self.at, self.layer = what, at, layer
        self._handles: list[RemovableHandle] = []

    def prepare(self, model: nn.Module) -> None:
        """Hang the layer in front of each place."""
        for module in places(model, self.at, self.what):
            self._handles.append(module.register_forward_pre_hook(partial(_in_front, self.layer, self.what)))

    def restore(self, model: nn.Module) -> None:
        """Take all of them off."""
        take_off(self._handles)


def take_off(handles: list[RemovableHandle]) -> None:
    """Remove hooks, and forget them."""
    while handles:
        handles.pop().remove()


def check_rate(what: str, rate: float) -> None:
    """Raise UsageError unless it is a share that leaves something."""
    if not 0 < rate < 1:
        raise UsageError(f"{what}: rate must lie between 0 and 1, got {rate}")


def _in_front(layer: Callable[[Tensor], Tensor], what: str, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """A pre-hook: in training the first input goes through `layer`."""
    if not module.training:
        return inputs
    if not inputs or not isinstance(inputs[0], Tensor):
        raise UsageError(f"{what}: {type(module).__name__} takes no tensor as its first input; put it at another place")
    return (layer(inputs[0]), *inputs[1:])


def _weighted(model: nn.Module) -> tuple[list[nn.Module], set[nn.Module]]:
    """Convolutions and linear layers, each once, in running order; and the linear ones of the chain at the end.

    Where the forward can't be traced: in the order in which they are registered, and those behind the last convolution.
    """
    from ...edits._trace import evaluating, trace

    with evaluating(model):
        graph = trace(model)
    called = {node: model.get_submodule(str(node.target)) for node in graph.nodes if node.op == "call_module"} if graph else {}
    layers = [layer for layer in dict.fromkeys(called.values()) if _is_weighted(layer)]
    if graph is None or not layers:
        layers = [layer for layer in model.modules() if _is_weighted(layer)]
        convs = [i for i, layer in enumerate(layers) if isinstance(layer, _ConvNd)]
        return layers, set(layers[convs[-1] + 1 if convs else 0 :])
    tail: set[nn.Module] = set()
    node = next(node for node in graph.nodes if node.op == "output")
    while len(node.all_input_nodes) == 1 and not isinstance(called.get(node), _ConvNd):
        node = node.all_input_nodes[0]
        if isinstance(called.get(node), nn.Linear):
            tail.add(called[node])
    return layers, tail


def _is_weighted(layer: nn.Module) -> bool:
    return isinstance(layer, _ConvNd | nn.Linear)
