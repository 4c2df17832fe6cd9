"""Random numbers of a training: a function of (seed, step), and none of the caller's."""

import contextlib
from collections.abc import Iterator

import torch

SPREAD = 0x9E3779B1  # odd, so that different seeds stay different below 2**32


@contextlib.contextmanager
def private_randomness(device: str | torch.device) -> Iterator[None]:
    """Give torch's generators back as they were found."""
    place = torch.device(device)
    others = [] if place.type == "cpu" else [place]
    with torch.random.fork_rng(others, device_type=place.type if others else "cuda"):
        yield


def seed_step(seed: int, step: int, device: str | torch.device) -> None:
    """Seed dropout and the like for one step, so that no generator state has to be stored to go on from it.

    `torch.manual_seed` would do the same for every device torch knows, and costs a hundred times as much.
    """
    value = (seed * SPREAD + step) % 2**32
    torch.default_generator.manual_seed(value)
    kind = torch.device(device).type
    if kind != "cpu":
        getattr(torch, kind).manual_seed(value)
