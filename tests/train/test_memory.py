"""Freed memory is kept during a training: a tensor that is made again touches no new pages."""

import platform
import subprocess
import sys

import pytest

from danlu.train.memory import kept_memory

# In a process of its own: where the heap of a long one can no longer grow in place, malloc does not keep large blocks.
FAULTS = """
import resource
import torch
from danlu.train.memory import kept_memory

megabytes = 40  # above the size from which glibc otherwise always asks the system anew

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.empty(megabytes * 2**18).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

pages = megabytes * 2**20 // resource.getpagesize()
outside = min(faults() for _ in range(3))
with kept_memory("cpu"):
    inside = max([faults() for _ in range(5)][2:])
print(outside / pages, inside / pages)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is asked to keep memory")
def test_pages_are_touched_once() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    outside, inside = map(float, done.stdout.split())
    if outside < 0.9:
        pytest.skip("the system gives larger pages here, or keeps them anyway: nothing would be seen")
    assert inside < 0.05


def test_accelerators_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from danlu.train import memory

    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("malloc was touched"))
    with kept_memory("cuda:0"):
        pass
    monkeypatch.setattr(memory.platform, "libc_ver", lambda: ("musl", "1.2"))
    with kept_memory("cpu"):
        pass
