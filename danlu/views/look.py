"""Look at a network by the name of a view: `look("translation(shift=8)", model, source)`."""

import torch
from torch import nn

from ..data import Source
from ..spec import Spec, read
from ._registry import View, views
from .subject import Subject


def look(
    view: str | Spec, model: nn.Module, source: Source, *, split: str = "test", images: int | None = None, seed: int = 0,
    device: str | torch.device = "cpu",
) -> View:  # fmt: skip
    """What the view named sees; `images` are those of its facts where not given. The model stays as it is.

    Raises: UsageError for an unknown view or option, and for what the view does not take.
    """
    spec = view if isinstance(view, Spec) else read(views, view)
    taken = spec.entry.facts["images"] if images is None else images
    subject = Subject.of(model, source, split=split, images=taken, seed=seed, device=device)
    found: View = spec(subject)
    return found
