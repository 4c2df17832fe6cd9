"""Encode the weights of layers in place of their plain tensors: the counterpart of `surgery.replace` for parametrisations."""

import copy
from collections.abc import Callable, Collection

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..encodings import Encoding, Penalty, WeightNorm, decode, encode
from .surgery import Change, Keep, Outcome, check_skip, count_params, is_skipped

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
WEIGHTED: tuple[type[nn.Module], ...] = (*CONVS, *TRANSPOSED, nn.Linear)
Decide = Callable[[str, nn.Module, Tensor], "list[Encoding] | Keep"]


def encode_layers(model: nn.Module, decide: Decide, skip: Collection[str] = (), tensor: str = "weight") -> Outcome:
    """Copy `model` and encode `tensor` of every convolution and linear layer as `decide(name, layer, weight)` says.

    What `decide` gives takes the place of the encodings the tensor had, so it has to hold what they held; the penalties of
    a training that is over are dropped. A layer hung in two places is decided once; a tensor that two layers share is kept.
    """
    check_skip(model, skip)
    before = count_params(model)
    model = copy.deepcopy(model)
    outcome = Outcome(model)
    owners = shared_tensors(model)
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, WEIGHTED) or getattr(layer, tensor, None) is None:
            continue
        if is_skipped(name, skip):
            outcome.kept.append((name, "named in skip"))
            continue
        other = next((o for o in owners.get(id(trained(layer, tensor)), []) if o != name), None)
        if other is not None:
            outcome.kept.append((name, f"it shares its {tensor} with {other}"))
            continue
        weight = getattr(layer, tensor).detach()
        verdict = decide(name, layer, weight)
        if isinstance(verdict, Keep):
            outcome.kept.append((name, verdict.reason))
            continue
        said = told(layer, tensor)
        wanted = trained(layer, tensor).requires_grad
        decode(layer, tensor)
        for encoding in verdict:
            encode(layer, tensor, encoding.to(weight.device, weight.dtype).train(layer.training))
        for parameter in layer.parametrizations[tensor].parameters():  # type: ignore[index, union-attr]
            parameter.requires_grad_(wanted)
        outcome.changed.append(Change(name, said, told(layer, tensor)))
    outcome.params = (before, count_params(model))
    return outcome


def trained(layer: nn.Module, tensor: str) -> Tensor:
    """The parameter behind a tensor of a layer, encoded or not."""
    if parametrize.is_parametrized(layer, tensor):
        found: Tensor = layer.parametrizations[tensor].original  # type: ignore[index, union-attr]
    else:
        found = getattr(layer, tensor)
    return found


def chain_of(layer: nn.Module, tensor: str) -> list[nn.Module]:
    """The parametrisations of a tensor, in order, but those that only steer its training; danlu's or not."""
    if not parametrize.is_parametrized(layer, tensor):
        return []
    return [part for part in layer.parametrizations[tensor] if not isinstance(part, Penalty | WeightNorm)]  # type: ignore[index]


def told(layer: nn.Module, tensor: str) -> str:
    """One line for a tensor as it is stored now."""
    with torch.no_grad():
        weight = getattr(layer, tensor)
        chain = layer.parametrizations[tensor] if parametrize.is_parametrized(layer, tensor) else []  # type: ignore[index]
        words = [part.describe(weight) for part in chain if isinstance(part, Encoding) and not isinstance(part, Penalty)]
    shape = "x".join(str(n) for n in weight.shape)
    return f"{tensor} {shape}: {', '.join(words) or f'{weight.numel():,} numbers'}"


def shared_tensors(model: nn.Module) -> dict[int, list[str]]:
    """The names of the layers that hold each tensor (weights and biases) under a parameter of their own."""
    owners: dict[int, list[str]] = {}
    for name, layer in model.named_modules():
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(name)
    return {key: names for key, names in owners.items() if len(names) > 1}
