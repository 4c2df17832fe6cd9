"""Memory of a training step on a CPU: freed tensors are kept for the next step instead of being given back to the system.

Every step allocates and frees the same tensors of some megabytes. glibc's malloc takes such blocks from the system and gives
them back at once, and the system clears each page anew when it is touched again: for ResNet-20 with batches of 128 some 60 MB
a step. While a training runs, malloc is asked to keep what is freed; afterwards it gives back what is unused.
"""

import contextlib
import ctypes
import platform
from collections.abc import Iterator

# Parameters of mallopt(3), from glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEEP_BLOCKS_BELOW, KEEP_UP_TO = 1 << 29, (1 << 31) - 1
# What glibc itself arrives at for a program that frees large blocks (its DEFAULT_MMAP_THRESHOLD_MAX, and twice that).
USUAL_BLOCKS_BELOW, USUAL_UP_TO = 1 << 25, 1 << 26


@contextlib.contextmanager
def kept_memory(device: str) -> Iterator[None]:
    """Keep freed memory while entered. Does nothing for an accelerator, and where malloc is not glibc's."""
    if not device.startswith("cpu") or platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_THRESHOLD, KEEP_BLOCKS_BELOW)
    libc.mallopt(M_TRIM_THRESHOLD, KEEP_UP_TO)
    try:
        yield
    finally:
        libc.mallopt(M_MMAP_THRESHOLD, USUAL_BLOCKS_BELOW)
        libc.mallopt(M_TRIM_THRESHOLD, USUAL_UP_TO)
        libc.malloc_trim(0)
