"""What every weight encoding is: a `torch.nn.utils.parametrize` parametrisation that knows its symbols.

    weight = encoding(original)          original: what the optimiser trains

The weight is recomputed from `original` in every forward, so that any training loop trains an encoded net unchanged; `bake`
turns the weights into plain tensors, and the codec reads `Encoding.levels` to write them small.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from ..errors import UsageError


@dataclass(frozen=True)
class Levels:
    """A weight as symbols: weight[c, ...] = scale[c] table[g, indices[c, ...]], with g = c, or 0 where one table serves all.

    indices   int64, the shape of the weight, 0 .. K - 1
    table     float32 [1 or C, K]
    scale     float32 [C], or None for 1
    zero      the index whose value is exactly 0, or None
    axis      the dimension of the weight that c counts: 0, but 1 for a transposed convolution
    """

    indices: Tensor
    table: Tensor
    scale: Tensor | None = None
    zero: int | None = None
    axis: int = 0

    def weight(self) -> Tensor:
        """The weight, float32. Shape: that of `indices`."""
        rows = self.indices.movedim(self.axis, 0)
        flat = rows.reshape(len(rows), -1)
        table = self.table.expand(len(flat), -1) if len(self.table) == 1 else self.table
        values = table.gather(1, flat)
        if self.scale is not None:
            values = values * self.scale[:, None]
        return values.view(rows.shape).movedim(0, self.axis).contiguous()


class Encoding(nn.Module):
    """A parametrisation of one tensor.

    A subclass registers itself, gives the literal arguments that rebuild it in `options` (its buffers and parameters come
    from the state dict), and, when its weights have few values, their symbols in `levels`.
    """

    def forward(self, original: Tensor) -> Tensor:
        """The weight."""
        raise NotImplementedError

    def right_inverse(self, weight: Tensor) -> Tensor:
        """What is trained, when `weight` is encoded for the first time."""
        return weight

    def options(self) -> dict[str, Any]:
        """Literal arguments: `type(self)(**options, shape=...)` has buffers of the right shape, to be loaded."""
        raise NotImplementedError

    def levels(self, original: Tensor) -> Levels | None:
        """The weight as symbols; None when it has too many values for that (a mask)."""
        return None

    @property
    def settled(self) -> bool:
        """Whether a schedule this encoding follows (a rising sparsity) has reached its end."""
        return True

    def advance(self, share: float) -> None:
        """The training has done this share, 0..1, of its steps."""

    def catch_up(self, original: Tensor) -> None:
        """Do to this tensor what the schedule wants now; a training forward does it by itself."""

    def describe(self, weight: Tensor) -> str:
        """A few words for an edit's outcome: "90.0 % zeros"."""
        raise NotImplementedError


def encode(module: nn.Module, name: str, encoding: Encoding) -> None:
    """Let the parameter `name` of `module` be computed by `encoding`, after the encodings it has."""
    # Unsafe: the trained tensor may have another shape than the weight (a codebook trains its few centroids).
    parametrize.register_parametrization(module, name, encoding, unsafe=True)


def encoded(model: nn.Module) -> Iterator[tuple[str, nn.Module, str, list[Encoding]]]:
    """Every parametrised tensor: (name of its module, the module, name of the tensor, its encodings in order).

    Raises: UsageError for a parametrisation that is not danlu's: nobody could store it.
    """
    for name, module in model.named_modules():
        if not parametrize.is_parametrized(module):
            continue
        for tensor, chain in module.parametrizations.items():
            foreign = [type(part).__name__ for part in chain if not isinstance(part, Encoding)]
            if foreign:
                raise UsageError(f"{name}.{tensor} has a parametrisation danlu does not know: {foreign[0]}; remove it first")
            yield name, module, tensor, list(chain)


def bake(model: nn.Module) -> nn.Module:
    """A copy whose parametrised weights are plain parameters with the same values; in the same mode.

    Raises: UsageError when a gradual schedule has not reached its end: what would be baked is not what was asked for.
    """
    check_settled(model)
    plain = copy.deepcopy(model)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]  # a ModuleDict, once parametrised
                decode(module, name)
    return plain


def decode(module: nn.Module, name: str) -> None:
    """Make a parametrised tensor a plain parameter with its present values, in place."""
    if not parametrize.is_parametrized(module, name):
        return
    # torch hangs the computed tensor on a class made for the module, which copies of the module share: removing it there
    # would break the other copies, so this one gets a class of its own first.
    kind = type(module)
    module.__class__ = type(kind.__name__, kind.__bases__, dict(kind.__dict__))
    chain: Any = module.parametrizations[name]  # type: ignore[index]
    wanted = any(parameter.requires_grad for parameter in chain.parameters())
    parametrize.remove_parametrizations(module, name, leave_parametrized=True)
    getattr(module, name).requires_grad_(wanted)


def settled(model: nn.Module) -> bool:
    """Whether every schedule of the model's encodings has reached its end."""
    return all(module.settled for module in model.modules() if isinstance(module, Encoding))


def check_settled(model: nn.Module) -> None:
    """Raise UsageError unless the schedules are at their end."""
    if not settled(model):
        raise UsageError(
            "a gradual schedule has not reached its end: train the net with danlu.fit, or call "
            "danlu.encodings.advance(model, share) in your own loop, share going from 0 to 1; or prune with schedule='oneshot'"
        )


def advance(model: nn.Module, share: float) -> None:
    """Tell the encodings that `share`, 0..1, of the training's steps is done. `fit` calls it; another loop calls it too."""
    for module in model.modules():
        if isinstance(module, Encoding):
            module.advance(share)


@torch.no_grad()
def finish(model: nn.Module) -> None:
    """End every schedule now, in place: what `advance(model, 1.0)` and one more training forward would do."""
    advance(model, 1.0)
    for _, module, tensor, chain in encoded(model):
        value = module.parametrizations[tensor].original  # type: ignore[index, union-attr]
        for part in chain:
            part.catch_up(value)
            value = part(value)
