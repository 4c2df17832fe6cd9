"""The net that a recipe stands for, without memory: built on torch's meta device, checked, then filled tensor by tensor.

A hostile file may ask for a net of any size. What is built is bounded while it is built: the number of its parameters and
their total, before a byte is taken for them.
"""

import contextlib
import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.overrides import TorchFunctionMode

from ..edits.blueprint import rebuild
from ..edits.recipe import parse
from ..edits.reshape import fit_shapes
from ..errors import DanluError, UsageError
from .entropy import Damaged
from .header import MOST_TENSORS, MOST_WEIGHTS
from .saved import structure

Shape = tuple[int, ...]
# Merged layers may have more channels than those of the recipe; a net many times as large is another net.
MOST_GROWTH, SPARE_WEIGHTS = 4, 2**16
DRAWS = {Tensor.normal_, Tensor.uniform_, nn.init.normal_, nn.init.uniform_, nn.init.trunc_normal_, nn.init.kaiming_normal_,
         nn.init.kaiming_uniform_, nn.init.xavier_normal_, nn.init.xavier_uniform_, nn.init.orthogonal_}  # fmt: skip


def skeleton(about: Mapping[str, Any], shapes: Mapping[str, Shape], *, channels: int, trust: bool) -> nn.Module:
    """The net on the meta device, in eval mode, its state dict with exactly these names and shapes.

    `about` is what a header describes: the recipe, the classes, and the "layers" that edits put in.

    Raises: UsageError for a recipe that would run code nobody trusts, that names what is unknown, or whose net has other
    tensors; Damaged for one that asks for more than a file can hold.
    """
    recipe = about["recipe"]
    base = parse(recipe)[0].name
    if ":" in base and not base.startswith("timm:") and not trust:
        raise UsageError(f"the file would run {base}; load it with trust=True (--trust) if you trust its origin")
    model = built(about, channels, "meta")
    most = MOST_GROWTH * sum(tensor.numel() for tensor in model.state_dict().values()) + SPARE_WEIGHTS
    wanted = sum(math.prod(shape) for shape in shapes.values())
    if wanted > most:
        raise Damaged(f"the file declares {wanted:,} weights; the net of its recipe has at most {most:,}")
    model = fit_shapes(model, shapes)
    model.danlu_recipe = recipe
    return model.eval()


def built(about: Mapping[str, Any], channels: int, device: str) -> nn.Module:
    """The net that recipe and layers describe on `device`, stopped where it grows past the caps; channels not yet fitted."""
    try:
        with torch.device(device), bounded(), Blank() if device == "meta" else contextlib.nullcontext():
            return rebuild(structure(about["recipe"], len(about["classes"]), channels), about.get("layers", {}))
    except DanluError:
        raise
    except Exception as error:
        first = (str(error).splitlines() or [""])[0]
        raise UsageError(f"the recipe {about['recipe'][:200]!r} cannot be built: {type(error).__name__}: {first}") from error


class Blank(TorchFunctionMode):
    """Draws no weights: on the meta device there is nothing to fill, and torch would load its compiler to find that out."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Raise Damaged as soon as more than 2^31 weights, or more tensors than a file can list, are made."""
    made = [0, 0]

    def count(module: nn.Module, name: str, parameter: Any) -> None:
        if parameter is None:
            return
        made[0] += 1
        made[1] += parameter.numel()
        if made[0] > MOST_TENSORS or made[1] > MOST_WEIGHTS:
            raise Damaged(f"the recipe asks for a net of over {MOST_TENSORS} tensors or {MOST_WEIGHTS} weights")

    handle = hooks.register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        handle.remove()


def places(model: nn.Module) -> dict[str, tuple[nn.Module, str, Tensor]]:
    """Every entry of the state dict, in its order: (module, attribute, tensor). A shared tensor stands under each name."""
    found: dict[str, tuple[nn.Module, str, Tensor]] = {}
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in model.state_dict(keep_vars=True):
        path, _, key = name.rpartition(".")
        if path not in modules or not isinstance(getattr(modules[path], key, None), Tensor):
            raise UsageError(f"{name} is stored by the net in a way of its own, which a .danlu file cannot hold")
        found[name] = (modules[path], key, getattr(modules[path], key))
    return found


def put(module: nn.Module, key: str, tensor: Tensor, old: Tensor) -> None:
    """`tensor` in the place of `old`, as a parameter where that was one."""
    if isinstance(old, nn.Parameter):
        module._parameters[key] = nn.Parameter(tensor, old.requires_grad) if not isinstance(tensor, nn.Parameter) else tensor
    else:
        module._buffers[key] = tensor


def revive(model: nn.Module, about: Mapping[str, Any], channels: int) -> None:
    """Fill what no file stores: buffers outside the state dict, which a module computes when it is made."""
    left = [
        (path, key)
        for path, module in model.named_modules()
        for key, buffer in module._buffers.items()
        if buffer is not None and buffer.is_meta
    ]
    if not left:
        return
    fresh = built(about, channels, "cpu")
    for path, key in left:
        model.get_submodule(path)._buffers[key] = fresh.get_submodule(path)._buffers[key]
