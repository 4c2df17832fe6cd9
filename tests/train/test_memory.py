"""Freed memory is kept during a training: a tensor that is made again touches no new pages."""

import platform
import resource

import pytest
import torch

from danlu.train.memory import kept_memory

MEGABYTES = 40  # above the size from which glibc otherwise always asks the system anew


def faults() -> int:
    """New pages that making and freeing a tensor touches."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(MEGABYTES * 2**18).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is asked to keep memory")
def test_pages_are_touched_once() -> None:
    pages = MEGABYTES * 2**20 // resource.getpagesize()
    with kept_memory("cpu"):
        again = [faults() for _ in range(5)][2:]
    assert max(again) < 0.05 * pages


def test_accelerators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.train import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("malloc was touched"))
    with kept_memory("cuda:0"):
        pass
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("musl", "1.2"))
    with kept_memory("cpu"):
        pass
