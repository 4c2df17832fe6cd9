"""Read a .danlu file: `unpack_model("x.danlu")` rebuilds the net and fills it tensor by tensor.

Order of the checks, so that nothing is taken on trust: the header's SHA-256, its limits, the sizes of all streams against the
file, the net of the recipe (without memory) against the shapes; then, stream by stream, SHA-256 and decoding.
"""

import math
from pathlib import Path

import torch
from torch import Tensor

from ..data.spec import Input
from ..errors import DanluError
from .container import Container
from .decode import Decoding
from .entropy import Damaged
from .header import Header, Plan
from .saved import Saved
from .skeleton import places, put, revive, skeleton


def unpack_model(path: str | Path, *, trust: bool = False) -> Saved:
    """The stored model, in eval mode, with its input, classes and recipe.

    Peak memory: the model, the largest tensor's symbols, and one stream.

    Raises: UsageError for what is no .danlu file, one of a later version, and a recipe that would run code (unless `trust`);
    Damaged for a file that is cut, changed, re-ordered or has bytes too many; DanluError when the memory does not suffice.
    """
    with Container.open(Path(path)) as container:
        recipe, classes, input = described(container.header)
        shapes = {plan.name: plan.shape for plan in container.header.tensors}
        model = skeleton(container.header.about, shapes, channels=input.channels, trust=trust)
        try:
            fill(model, container)
            revive(model, container.header.about, input.channels)
        except MemoryError as error:
            raise DanluError(f"{path} needs more memory than there is: {sum_weights(container.header):,} weights") from error
    return Saved(model, input, classes, recipe)


def sum_weights(header: Header) -> int:
    """Weights of all tensors."""
    return sum(plan.count for plan in header.tensors)


def described(header: Header) -> tuple[str, tuple[str, ...], Input]:
    """Recipe, classes and input of a header. Raises Damaged when one is missing or of another type."""
    about = header.about
    try:
        recipe, classes, input = about["recipe"], tuple(about["classes"]), Input.from_json(about["input"])
        numbers = [*input.mean, *input.std, *(value for row in input.curve for value in row)]
        good = isinstance(recipe, str) and classes and all(isinstance(name, str) for name in classes)
        good = good and min(input.shape) > 0 and all(math.isfinite(x) for x in numbers)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise Damaged(f"the description in the header cannot be used ({type(error).__name__}: {error})") from error
    if not good:
        raise Damaged("the description in the header has a recipe, classes or an input of the wrong kind")
    return recipe, classes, input


def fill(model: torch.nn.Module, container: Container) -> None:
    """Decode every tensor straight into the memory that the model keeps."""
    header = container.header
    where = places(model)
    order = {plan.name: i for i, plan in enumerate(header.tensors)}
    if set(order) != set(where):
        odd = sorted(set(order) ^ set(where))
        raise Damaged(f"the net of the recipe and the file differ in {odd[0]}")
    decoding = Decoding(container)
    made: dict[int, Tensor] = {}
    tensors: list[Tensor] = []
    for plan in header.tensors:
        module, key, old = where[plan.name]
        if tuple(old.shape) != plan.shape:
            raise Damaged(f"{plan.name} is {list(plan.shape)} in the file and {list(old.shape)} in the net of the recipe")
        if plan.kind == "tied" and made.get(id(old)) is tensors[plan.source]:
            tensor = tensors[plan.source]
        else:
            tensor = filled(plan, old, tensors, decoding)
        shared = made.get(id(old))  # one tensor under two names in the net stays one
        if shared is not None and tensor is not shared:
            if not torch.equal(tensor, shared):
                raise Damaged(f"{plan.name} shares its weights with another tensor in the net, but not in the file")
            tensor = shared
        put(module, key, tensor, old)
        tensors.append(getattr(module, key))
        made[id(old)] = tensors[-1]
    decoding.end()


def filled(plan: Plan, old: Tensor, tensors: list[Tensor], decoding: Decoding) -> Tensor:
    """A new tensor in the type of `old` with the values of the plan."""
    if plan.kind == "tied":
        return tensors[plan.source].detach().to(old.dtype).clone()
    try:
        tensor = torch.zeros(plan.shape, dtype=torch.float32 if old.dtype.is_floating_point else old.dtype)
    except RuntimeError as error:  # torch's way to say that there is not enough memory
        raise DanluError(f"{plan.name} has {plan.count:,} weights, for which there is not enough memory") from error
    decoding.tensor(plan, tensor.numpy())
    return tensor.to(old.dtype)
