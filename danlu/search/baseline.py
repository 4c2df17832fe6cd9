"""The reference everything is compared with: a reliable net fitted to the input, as large as its share of the time can train."""

import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from ..data.spec import Input
from ..edits.recipe import Call
from ..zoo import create
from .space import fitted

# From small to large. Residual nets with normalisation train reliably at any rate and size.
LADDER: tuple[Call, ...] = (
    Call("resnet8", {}),
    Call("resnet20", {}),
    Call("resnet18", {"width": 0.25}),
    Call("resnet18", {"width": 0.5}),
    Call("resnet18", {}),
)
# A net counts as trainable when it sees every image this often, and at least this many images in all.
EPOCHS, IMAGES = 10, 40_000


def step_seconds(model: nn.Module, input: Input, batch: int, device: str, patience: float = 3.0) -> float:
    """Seconds of one training step: the fastest of at most 5 after one to warm up, in about `patience` seconds."""
    x = torch.randn(batch, *input.shape, device=device).contiguous(memory_format=torch.channels_last)
    y = torch.zeros(batch, dtype=torch.long, device=device)
    model = model.to(device=device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < 2 or (len(times) < 6 and time.perf_counter() - begin < patience):
        start = time.perf_counter()
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        loss.item()  # waits for the device
        times.append(time.perf_counter() - start)
    return min(times[1:])


def choose(
    input: Input, classes: int, images: int, seconds: float, *, device: str, seed: int, log: Callable[[str], None],
    ladder: Sequence[Call] = LADDER,
) -> str:  # fmt: skip
    """The recipe of the largest net of `ladder` that `seconds` can train; the smallest when none can be.

    Walks up from the smallest and stops at the first that is too slow, so that a short time is not spent on timing.
    """
    need = max(EPOCHS * images, IMAGES)
    batch = 64
    chosen = fitted(ladder[0], input.size)
    begin = time.perf_counter()
    for base in ladder:
        recipe = fitted(base, input.size)
        model = create(recipe, num_classes=classes, in_channels=input.channels, seed=seed)
        left = seconds - (time.perf_counter() - begin)
        seen = left / step_seconds(model, input, batch, device) * batch
        log(f"baseline: {recipe} would see {seen:,.0f} images in its share of the time; {need:,} are wanted")
        if seen < need:
            break
        chosen = recipe
    return chosen
