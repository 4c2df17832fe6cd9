"""The reference everything is compared with: a reliable net fitted to the input, as large as its share of the time can train."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from ..data.spec import Input
from ..edits.recipe import Call
from ..zoo import create
from .space import fitted

# From large to small. Residual nets with normalisation train reliably at any rate and size.
LADDER: tuple[Call, ...] = (
    Call("resnet18", {}),
    Call("resnet18", {"width": 0.5}),
    Call("resnet18", {"width": 0.25}),
    Call("resnet20", {}),
    Call("resnet8", {}),
)
# A net counts as trainable when it sees every image this often, and at least this many images in all.
EPOCHS, IMAGES = 15, 40_000


def step_seconds(model: nn.Module, input: Input, batch: int, device: str, repeats: int = 2) -> float:
    """Seconds of one training step (forward and backward), the fastest of `repeats` after one to warm up."""
    x = torch.randn(batch, *input.shape, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.zeros(batch, dtype=torch.long, device=device)
    model = model.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    fastest = float("inf")
    for i in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        float(loss)
        if i:
            fastest = min(fastest, time.perf_counter() - start)
    return fastest


def choose(
    input: Input, classes: int, images: int, seconds: float, *, device: str, seed: int, log: Callable[[str], None],
    ladder: Sequence[Call] = LADDER,
) -> str:  # fmt: skip
    """The recipe of the largest net of `ladder` that `seconds` can train; the smallest when none can be."""
    need = max(EPOCHS * images, IMAGES)
    batch = 64
    for base in ladder:
        recipe = fitted(base, input.size)
        model = create(recipe, num_classes=classes, in_channels=input.channels, seed=seed)
        seen = seconds / step_seconds(model, input, batch, device) * batch
        enough = seen >= need
        log(
            f"baseline: {recipe} would see {seen:,.0f} images in its share of the time; {need:,} are wanted"
            + (": taken" if enough else "")
        )
        if enough or base is ladder[-1]:
            return recipe
    raise ValueError("the ladder is empty")
