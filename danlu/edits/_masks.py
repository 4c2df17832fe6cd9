"""Edits that restructure a net work on plain weights: masks are taken off first, and put on what is left of the zeros after."""

import copy

from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..encodings import Encoding, Mask, decode, encode
from ..encodings.base import check_settled
from ..errors import UsageError
from ._encode import chain_of, trained


def without_masks(model: nn.Module, edit: str) -> tuple[nn.Module, list[str]]:
    """A copy whose masked weights are plain, and the names of the layers that were masked. Shared values cannot be cut.

    Raises: UsageError for a weight encoded otherwise, or a gradual schedule that has not ended.
    """
    model = copy.deepcopy(model)
    names = []
    for name, module in list(model.named_modules()):
        if not parametrize.is_parametrized(module):
            continue
        for tensor in list(module.parametrizations):
            chain = chain_of(module, tensor)
            if not chain or not all(isinstance(part, Encoding) for part in chain):
                continue  # penalties alone, or a parametrisation of the user's own: left to the edit
            others = [type(part).__name__ for part in chain if not isinstance(part, Mask)]
            if others:
                raise UsageError(f"{edit}: {name}.{tensor} is encoded by {others[0]}; {edit} comes before that")
            check_settled(module)
            decode(module, tensor)
            names.append(name)
    return model, names


def with_masks(model: nn.Module, names: list[str]) -> None:
    """Mask the zeros of the weights of these layers, in place, where there are any."""
    for name in names:
        layer = model.get_submodule(name)
        weight: Tensor = layer.weight  # type: ignore[assignment]  # it was masked, so it is there
        zeros = weight.numel() - int(weight.count_nonzero())
        if zeros:
            wanted = trained(layer, "weight").requires_grad
            encode(layer, "weight", Mask(sparsity=zeros / weight.numel(), shape=weight.shape).train(layer.training))
            trained(layer, "weight").requires_grad_(wanted)
