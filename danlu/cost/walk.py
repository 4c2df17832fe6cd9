"""Follow a forward pass through the modules of a net: which module is running, as which call, in which gap between its children.

`enter(frame)` and `leave(frame)` are called around every module call. Hooks are removed at the end, whatever happens.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

Key = tuple[str, int, int]


@dataclass
class Frame:
    """One running call of a module. `gap` counts the children it has called so far (always 0 for a leaf)."""

    name: str
    module: nn.Module
    leaf: bool
    call: int
    gap: int = 0
    input: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None

    @property
    def key(self) -> Key:
        """Identifies the piece of work across runs: (module, which call of it, after which child)."""
        return self.name, self.call, self.gap


def first_shape(value: Any) -> tuple[int, ...] | None:
    """The shape of the first tensor in a nest of containers."""
    for leaf in tree_leaves(value):
        if isinstance(leaf, Tensor):
            return tuple(leaf.shape)
    return None


def layers(model: nn.Module) -> list[tuple[str, nn.Module, bool]]:
    """(name, module, is leaf) of every distinct module; the inside of a weight parametrisation is part of its layer.

    Scripted modules take no hooks: what they do is booked on whoever calls them.
    """
    inside: set[int] = set()
    found = []
    for name, module in model.named_modules():
        if id(module) in inside or isinstance(module, torch.jit.ScriptModule):
            continue
        children = []
        for key, child in module.named_children():
            if key == "parametrizations" and isinstance(child, nn.ModuleDict):
                inside.update(id(m) for m in child.modules())
            else:
                children.append(child)
        found.append((name, module, not children))
    return found


@contextlib.contextmanager
def watching(
    model: nn.Module,
    enter: Callable[[Frame], None],
    leave: Callable[[Frame], None],
    *,
    shapes: bool = True,
) -> Iterator[None]:
    """Hook every module of `layers(model)`; `shapes=False` skips reading shapes, for timing."""
    calls: dict[str, int] = {}
    stack: list[Frame] = []
    handles: list[torch.utils.hooks.RemovableHandle] = []

    def hook(name: str, module: nn.Module, leaf: bool) -> None:
        def before(module: nn.Module, args: Any, kwargs: Any) -> None:
            call = calls.get(name, 0)
            calls[name] = call + 1
            frame = Frame(name, module, leaf, call)
            if shapes:
                frame.input = first_shape((args, kwargs))
            stack.append(frame)
            enter(frame)

        def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if not stack or stack[-1].module is not module:  # a failed forward unwinds without outputs
                return
            frame = stack.pop()
            if shapes:
                frame.output = first_shape(output)
            leave(frame)
            if stack:
                stack[-1].gap += 1

        # First in line, so that what the module's own hooks compute (weight_norm) is its own work too.
        handles.append(module.register_forward_pre_hook(before, with_kwargs=True, prepend=True))
        handles.append(module.register_forward_hook(after, with_kwargs=True, always_call=True))

    try:
        for name, module, leaf in layers(model):
            hook(name, module, leaf)
        yield
    finally:
        for handle in handles:
            handle.remove()


class Scripted(nn.Module):
    """A plain module around a scripted one, to have something that takes hooks."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the inner module gives."""
        return self.inner(*args, **kwargs)


@contextlib.contextmanager
def inference(model: nn.Module) -> Iterator[None]:
    """Eval mode for the time of a run. Flags are set one by one: a user's own `train()` may do more than set a flag."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            module.training = False
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        for module, training in flags:
            module.training = training
