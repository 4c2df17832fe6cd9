"""Where normalisations register: `@norms(paper="arxiv:...")` on `name(place, *, options...) -> nn.Module | str`.

The answer is the layer for that place, or in words why there can be none.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ...errors import UsageError
from ...registry import Registry
from ...spec import Spec, read


@dataclass(frozen=True)
class Place:
    """What a norm is for: `width` channels, maps of `dims` dimensions (1 is also a vector); `like` holds device and dtype."""

    width: int
    dims: int = 2
    eps: float = 1e-5
    like: dict[str, Any] = field(default_factory=dict)


norms: Registry[Callable[..., nn.Module | str]] = Registry("norm")


def find(text: str) -> Spec[nn.Module | str]:
    """The entry and the options that a text names: "batch", "group(groups=8)", "batch_renorm(r_max=3, d_max=5)".

    Raises: UsageError for an unknown name or option, a value of another type, and one that cannot be.
    """
    if isinstance(text, str) and text.split("(")[0].strip() == "weight":
        raise UsageError("weight normalisation is of the weights: swap_norm(to='none') | weight_norm")
    spec = read(norms, text)
    spec(Place(64))  # says what is wrong with its options
    return spec
