"""The feature maps of a net at any input size, found by running it without data; and moves that change its strides.

The net runs on the meta device, which computes shapes only; where its code needs values, on the CPU.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ._trace import FORWARD_ERRORS, first_tensor
from .surgery import set_module

Size = tuple[int, int]
ADAPTIVE = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
LOCAL_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
GLOBAL_KERNEL = 4  # a pool over 4x4 or more at the end of a net may stand for global pooling

# Norms keep the shape, and are slow on the meta device.
SHAPELESS = (nn.BatchNorm2d, nn.GroupNorm, nn.InstanceNorm2d)


@dataclass(frozen=True)
class Step:
    """One call of a layer on a map: [B, C, *before] -> [B, C', *after]."""

    name: str
    module: nn.Module
    before: Size
    after: Size


@dataclass
class Maps:
    """What happened in one forward: `linears` has the width each Linear met, and after how many steps; `error` why it stopped."""

    steps: list[Step] = field(default_factory=list)
    linears: dict[str, tuple[int, int]] = field(default_factory=dict)
    error: str | None = None

    def last(self, tail: str) -> Size:
        """The map that the layer `tail` gave; (0, 0) when the forward did not get that far."""
        return next((step.after for step in reversed(self.steps) if step.name == tail), (0, 0))


@dataclass(frozen=True)
class Move:
    """A change of one layer, given by its name, so that it can be done to any copy of the net."""

    name: str
    new: Callable[[nn.Module], nn.Module]

    def do(self, model: nn.Module) -> None:
        """Change the layer in `model`, in place."""
        old = model.get_submodule(self.name)
        new = self.new(old)
        if new is not old:
            set_module(model, self.name, new)


class Probe:
    """A copy of a net without its numbers, to run at many sizes and to try moves on.

    `moves` are those that were accepted, in order; each does to the real net what it did to this copy.
    """

    def __init__(self, model: nn.Module, channels: int) -> None:
        self.channels = channels
        self.moves: list[Move] = []
        self.names = {name for name, _ in model.named_modules()}
        self.model = _without_data(model).eval()
        for module in self.model.modules():
            if type(module) in SHAPELESS:  # the layers stay what they are to all who look, but compute nothing
                module.forward = _same
        on_meta = any(parameter.is_meta for parameter in model.parameters())
        self._fallback: nn.Module | None = None if on_meta else model
        self._runs: dict[Size, Maps] = {}

    def run(self, size: Size) -> Maps:
        """One forward of two images; every Linear takes the width it is given. Repeated only after a move."""
        if size not in self._runs:
            self._runs[size] = self._first_run(size)
        return self._runs[size]

    def _first_run(self, size: Size) -> Maps:
        maps = self._run(size)
        if maps.error is not None and self._fallback is not None:
            shapes_only, self.model = self.model, copy.deepcopy(self._fallback).cpu().eval()
            by_value = self._run(size)
            if by_value.error is None or len(by_value.steps) > len(maps.steps):
                maps = by_value
            else:
                self.model = shapes_only
        self._fallback = None  # decided by the first run: later ones have moves in them
        return maps

    def make(self, *moves: Move) -> Callable[[], None]:
        """Do moves and remember them; the result undoes them."""
        before = [(move.name, self.model.get_submodule(move.name)) for move in moves]
        strides = [getattr(module, "stride", None) for _, module in before]
        accepted = len(self.moves)
        for move in moves:
            move.do(self.model)
        self.moves.extend(moves)
        self._runs.clear()

        def undo() -> None:
            del self.moves[accepted:]
            self._runs.clear()
            for (name, module), stride in reversed(list(zip(before, strides, strict=True))):
                set_module(self.model, name, module)
                if stride is not None:
                    module.stride = stride

        return undo

    @torch.no_grad()
    def _run(self, size: Size) -> Maps:
        maps = Maps()
        hooks = []
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Linear):
                hooks.append(module.register_forward_pre_hook(_widener(maps, name)))
            elif not module._modules or hasattr(module, "stride"):
                hooks.append(module.register_forward_hook(_recorder(maps, name)))
        like = next(self.model.parameters(), torch.empty(0))
        x = torch.zeros(2, self.channels, *size, device=like.device, dtype=like.dtype)
        try:
            y = first_tensor(self.model(x))
            if y is None or y.dim() == 0 or len(y) != 2:
                maps.error = "the number of images changed on the way: a size is built into the forward"
        except FORWARD_ERRORS as error:
            maps.error = (str(error).strip() or type(error).__name__).splitlines()[0]
        finally:
            for hook in hooks:
                hook.remove()
        return maps


def _same(x: Tensor) -> Tensor:
    return x


def _recorder(maps: Maps, name: str) -> Callable[..., None]:
    def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        x, y = first_tensor(inputs), first_tensor(output)
        if x is not None and y is not None and x.dim() == y.dim() == 4:
            maps.steps.append(Step(name, module, (x.shape[2], x.shape[3]), (y.shape[2], y.shape[3])))

    return record


def _widener(maps: Maps, name: str) -> Callable[..., None]:
    def widen(module: nn.Linear, inputs: tuple[Any, ...]) -> None:
        x = first_tensor(inputs)
        if x is None:
            return
        maps.linears[name] = x.shape[-1], len(maps.steps)
        if x.shape[-1] != module.in_features:
            module.in_features = x.shape[-1]
            module.weight = nn.Parameter(module.weight.new_zeros(module.out_features, module.in_features))

    return widen


def _without_data(model: nn.Module) -> nn.Module:
    """A deep copy on the meta device that never copies a weight."""
    memo: dict[int, Tensor] = {}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad)
    for buffer in model.buffers():
        memo[id(buffer)] = buffer.detach().to("meta")
    return copy.deepcopy(model, memo)


def stride_of(module: nn.Module) -> Size:
    """The stride attribute as two numbers; (1, 1) for a module without one."""
    stride = getattr(module, "stride", 1)
    if isinstance(stride, int):
        return stride, stride
    if isinstance(stride, tuple | list) and len(stride) == 2 and all(isinstance(n, int) for n in stride):
        return stride[0], stride[1]
    return 1, 1


def kernel_of(module: nn.Module) -> Size:
    """The kernel of a convolution or a pool as two numbers."""
    kernel = getattr(module, "kernel_size", 1)
    return (kernel, kernel) if isinstance(kernel, int) else (kernel[0], kernel[1])


def downsamples(step: Step) -> bool:
    """Whether this layer makes its map smaller by its stride."""
    return not isinstance(step.module, ADAPTIVE) and max(stride_of(step.module)) > 1 and step.after < step.before


def is_conv(step: Step) -> bool:
    """Whether this is a convolution over a map: one on a single pixel is a linear layer after global pooling."""
    return isinstance(step.module, _ConvNd) and step.before != (1, 1)


def tail_of(maps: Maps, model: nn.Module) -> int | None:
    """The position of the layer that gives the last map: the last convolution, or a local pool after it; None without one."""
    convs = [i for i, step in enumerate(maps.steps) if is_conv(step)]
    if not convs:
        return None
    tail = convs[-1]
    for i in range(tail + 1, len(maps.steps)):
        module = maps.steps[i].module
        if isinstance(module, ADAPTIVE):
            break
        if isinstance(module, LOCAL_POOLS):
            if max(kernel_of(module)) >= GLOBAL_KERNEL and _left_one_pixel(maps, i, model):
                break
            tail = i
    return tail


def _left_one_pixel(maps: Maps, position: int, model: nn.Module) -> bool:
    """Whether a pool stands for global pooling: the Linear behind it was made for one pixel of each map."""
    height, width = maps.steps[position].after
    behind = [(name, met) for name, (met, at) in maps.linears.items() if at > position]
    if not behind:
        return height * width == 1
    name, met = behind[0]
    made_for: Any = model.get_submodule(name)
    return height * width * int(made_for.in_features) <= met


def levels(steps: list[Step]) -> list[list[str]]:
    """Layers that must change stride together, earliest level first.

    The branches of a block go from one map size to the next side by side; a layer called at two levels joins them.
    """
    by_size: dict[Size, list[str]] = {}
    for step in steps:
        if downsamples(step):
            by_size.setdefault(step.before, []).append(step.name)
    joined: list[list[str]] = []
    for names in by_size.values():
        touching = [level for level in joined if set(level) & set(names)]
        for level in touching[1:]:
            touching[0].extend(level)
            joined.remove(level)
        if touching:
            touching[0].extend(names)
        else:
            joined.append(list(names))
    return [list(dict.fromkeys(level)) for level in joined]


def with_stride(stride: Size, *, identity: bool = True) -> Callable[[nn.Module], nn.Module]:
    """Another stride, in place; a local pool of stride 1 becomes the identity, which keeps even maps even.

    Without `identity` it stays a pool, and takes from the borders what a convolution without padding beside it does.
    """

    def change(module: Any) -> nn.Module:
        if identity and isinstance(module, LOCAL_POOLS) and stride == (1, 1):
            return nn.Identity()
        module.stride = stride if isinstance(module.stride, tuple) else stride[0]
        return module

    return change


def with_pool(module: nn.Module) -> nn.Module:
    """A 2x2 max pool behind a layer without parameters: no tensor changes its name."""
    return nn.Sequential(module, nn.MaxPool2d(2))
