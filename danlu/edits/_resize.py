"""Other numbers of channels in a whole net: each layer takes what arrives, and gives what a rule says.

The net runs once without data; in front of every layer a hook looks at the channels that arrive, and makes the layer fit. What
the forward then adds, concatenates or reshapes either agrees, or the run stops and says where. Layers of danlu are built anew
from their arguments. `apply` does to the real net what the run did to its copy.
"""

import copy
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils import parametrize
from torch.utils.flop_counter import FlopCounterMode

from ..errors import UsageError
from ..nn import layers
from ._maps import _without_data
from ._trace import first_tensor
from .blueprint import arguments
from .price import Price
from .surgery import set_module

Width = Callable[[str, int], int]  # (layer, its number of outputs) -> the new number
NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
SIZED = (_ConvNd, nn.Linear, nn.PReLU, *NORMS)
ARRIVING, GIVEN = ("in_channels", "channels"), ("out_channels", "residual", "growth")


class Resizing:
    """Makes the layers of `net`, a copy without data, fit while it runs; `found` has the new numbers of each by name.

    `inputs` has what each layer of danlu was called with. Without a `width` nothing changes, and only they are noted.
    """

    def __init__(self, net: nn.Module, width: Width | None) -> None:
        self.found: dict[str, dict[str, Any]] = {}
        self.inputs: dict[str, tuple[Any, ...]] = {}
        inside: set[nn.Module] = set()
        for name, module in net.named_modules():
            if module in inside:
                continue
            if is_rebuilt(module):
                inside.update(module.modules())
                # In its place, not in a hook in front: a module looks its forward up before it runs its hooks.
                module.forward = self._noted(name, module.forward) if width is None else self._rebuilt(name, module, width)
            elif isinstance(module, SIZED) and width is not None:
                module.register_forward_pre_hook(self._resize(name, width))

    def _noted(self, name: str, own: Callable[..., Any]) -> Callable[..., Any]:
        def forward(*args: Any) -> Any:
            self.inputs[name] = args
            return own(*args)

        return forward

    def _resize(self, name: str, width: Width) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, args: Any) -> None:
            x = first_tensor(args)
            if x is None or x.dim() < 2:
                return
            old = sizes(module)
            if name not in self.found:
                arrives = x.shape[-1] if isinstance(module, nn.Linear | nn.LayerNorm) else x.shape[1]
                self.found[name] = {**old, **_fitted(name, module, arrives, width)}
            if parametrize.is_parametrized(module) and self.found[name] != old:
                raise UsageError(f"the weight of {name} is encoded; this comes before that")
            resize(module, self.found[name])

        return hook

    def _rebuilt(self, name: str, module: nn.Module, width: Width) -> Callable[..., Any]:
        def forward(*args: Any) -> Any:
            options = arguments(module)
            for key, value in options.items():
                if key in ARRIVING and isinstance(value, int):
                    options[key] = sum(x.shape[1] for x in (args[0] if isinstance(args[0], tuple) else args[:1]))
                elif key in GIVEN and isinstance(value, int):
                    options[key] = width(name, value)
                elif key == "channels":
                    options[key] = [width(name, each) for each in value]
            if self.found.setdefault(name, options) != options:
                raise UsageError(f"{name} is called with different numbers of channels")
            self.inputs[name] = args
            return build_like(module, options)(*args)

        return forward


def is_rebuilt(module: nn.Module) -> bool:
    """Whether a layer of danlu is what its arguments make, some of them numbers of channels."""
    kind = parametrize.type_before_parametrizations(module)
    if kind.__name__ not in layers or layers[kind.__name__].build is not kind:
        return False
    try:
        options = arguments(module)
    except UsageError:
        return False
    # An edit may have changed what is inside: then its layers are taken one by one.
    return bool(options.keys() & {*ARRIVING, *GIVEN}) and repr(build_like(module, options, torch.device("meta"))) == repr(module)


def build_like(module: nn.Module, options: dict[str, Any], device: torch.device | None = None) -> nn.Module:
    """A layer of the same class with these arguments, of the type and in the mode of the other, and on its device."""
    tensors = [*module.parameters(), *module.buffers(), torch.empty(0)]
    like = next(tensor for tensor in tensors if tensor.is_floating_point())
    with torch.device(device or like.device):
        options = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
        new: nn.Module = parametrize.type_before_parametrizations(module)(**options)
    return new.to(device or like.device, like.dtype).train(module.training)


def sizes(module: Any) -> dict[str, Any]:
    """The numbers of channels a layer of torch is made for."""
    if isinstance(module, _ConvNd):
        return {"in_channels": module.in_channels, "out_channels": module.out_channels, "groups": module.groups}
    if isinstance(module, nn.Linear):
        return {"in_features": module.in_features, "out_features": module.out_features}
    if isinstance(module, nn.LayerNorm):
        return {"normalized_shape": tuple(module.normalized_shape)}
    name = {nn.GroupNorm: "num_channels", nn.PReLU: "num_parameters"}.get(type(module), "num_features")
    return {name: getattr(module, name)}


def _fitted(name: str, module: Any, arrives: int, width: Width) -> dict[str, Any]:
    """What of its sizes changes when `arrives` channels arrive."""
    if isinstance(module, nn.Linear):
        return {"in_features": arrives, "out_features": width(name, module.out_features)}
    if isinstance(module, _ConvNd):
        if module.groups == module.in_channels > 1:  # depthwise: so many filters for each channel
            return {
                "in_channels": arrives,
                "out_channels": arrives * module.out_channels // module.in_channels,
                "groups": arrives,
            }
        out = width(name, module.out_channels)
        if arrives % module.groups or out % module.groups:
            raise UsageError(f"{module.groups} groups of {name} do not divide {arrives} and {out} channels")
        return {"in_channels": arrives, "out_channels": out}
    if isinstance(module, nn.LayerNorm):
        return {"normalized_shape": (arrives,)} if len(module.normalized_shape) == 1 else {}
    if isinstance(module, nn.PReLU):
        return {"num_parameters": arrives} if module.num_parameters > 1 else {}
    if isinstance(module, nn.GroupNorm) and arrives % module.num_groups:
        raise UsageError(f"{module.num_groups} groups of {name} do not divide {arrives} channels")
    return {next(iter(sizes(module))): arrives}


def resize(module: Any, new: dict[str, Any]) -> None:
    """Give a layer of torch these sizes in place: fresh tensors where their shape changes, running statistics start anew."""
    if sizes(module) == new:
        return
    for name, value in new.items():
        setattr(module, name, value)
    if isinstance(module, _ConvNd):
        own, other = (module.in_channels, module.out_channels) if module.transposed else (module.out_channels, module.in_channels)
        shapes = {"weight": (own, other // module.groups, *module.kernel_size), "bias": (module.out_channels,)}
    elif isinstance(module, nn.Linear):
        shapes = {"weight": (module.out_features, module.in_features), "bias": (module.out_features,)}
    else:
        (size,) = new.values()
        shape = size if isinstance(size, tuple) else (size,)
        shapes = dict.fromkeys(("weight", "bias", "running_mean", "running_var"), shape)
    for name, shape in shapes.items():
        old = getattr(module, name, None)
        if isinstance(old, nn.Parameter):
            setattr(module, name, fresh(old, shape))
        elif old is not None:
            setattr(module, name, old.new_full(shape, float(name == "running_var")))
    if getattr(module, "num_batches_tracked", None) is not None:
        module.num_batches_tracked.zero_()


@torch.no_grad()
def fresh(old: nn.Parameter, shape: tuple[int, ...]) -> nn.Parameter:
    """A tensor of another shape: weights such that what a layer gives keeps its spread, others with the old mean and spread."""
    new = torch.empty(shape, dtype=old.dtype, device=old.device)
    if not old.is_meta and old.is_floating_point():
        mean = 0.0 if old.dim() > 1 else old.mean().item()
        spread = old.std().item() if old.numel() > 1 else 0.0
        if old.dim() > 1:
            spread *= math.sqrt(old[0].numel() / max(1, math.prod(shape[1:])))
        new.normal_(mean, spread)
    return nn.Parameter(new, requires_grad=old.requires_grad)


def apply(model: nn.Module, found: dict[str, dict[str, Any]]) -> None:
    """Give the layers of `model`, in place, the sizes that a run found; a layer that keeps its size keeps its weights."""
    for name, options in found.items():
        old = model.get_submodule(name)
        if not is_rebuilt(old):
            resize(old, options)
        elif options != arguments(old):
            new = build_like(old, options)
            before = dict(old.named_parameters())
            for key, tensor in list(new.named_parameters()):
                owner, _, leaf = key.rpartition(".")
                same = before[key].shape == tensor.shape
                fitted = copy.deepcopy(before[key]) if same else fresh(before[key], tuple(tensor.shape))
                setattr(new.get_submodule(owner), leaf, fitted)
            if name:
                set_module(model, name, new)


def price_on(layer: nn.Module, args: tuple[Any, ...]) -> Price:
    """The price of any layer: torch's counter on maps of three sizes fixes the polynomial

    fixed + input n + pairs n^2        n pixels of the first map
    """
    shadow = _without_data(layer).eval()
    points = []
    for times_ in (1, 2, 4):
        inputs = [_scaled(x, times_) for x in args]
        n = first_tensor(inputs).shape[2:].numel()  # type: ignore[union-attr]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            shadow(*inputs)
        points.append((Fraction(n), Fraction(counter.get_total_flops() // 2)))
    (n1, a), (n2, b), (n3, c) = points
    pairs = ((c - b) / (n3 - n2) - (b - a) / (n2 - n1)) / (n3 - n1)
    each = (b - a) / (n2 - n1) - pairs * (n1 + n2)
    return Price(sum(t.numel() for t in layer.parameters()), input=each, pairs=pairs, fixed=a - each * n1 - pairs * n1 * n1)


def _scaled(x: Any, by: int) -> Any:
    """Inputs of a layer, on maps `by` times as high and wide; nothing but their shape."""
    if isinstance(x, Tensor):
        return torch.empty(1, x.shape[1], *(side * by for side in x.shape[2:]), dtype=x.dtype, device="meta")
    return type(x)(_scaled(each, by) for each in x) if isinstance(x, tuple | list) else x
