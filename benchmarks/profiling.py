"""How long danlu takes to count ResNet-50, beside torch's own FLOP counter, interleaved in one run.

    python benchmarks/profiling.py [--rounds 10] [--out FILE]

danlu counts from the real model: parameters, MACs, bytes, lifetimes and receptive fields. The peer gets the same net already
on the meta device, so that neither copies weights or computes. Imports are not timed; the first call of each is shown apart.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.cost import profile
from danlu.errors import DanluError
from danlu.files import write_json
from danlu.zoo import create

SHAPE = (3, 224, 224)
PROMISED_SECONDS = 0.5


def timed(work: Callable[[], int]) -> tuple[float, int]:
    """Seconds, and what the work counted."""
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def peer(model: nn.Module) -> int:
    """FLOPs by torch; 2 a MAC."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, *SHAPE, device="meta"))
    return int(counter.get_total_flops())


def measure(rounds: int) -> dict[str, Any]:
    """One interleaved run."""
    model = create("resnet50").eval()
    on_meta = create("resnet50").eval().to("meta")
    first, macs = timed(lambda: profile(model, SHAPE).macs)
    peer_first, flops = timed(lambda: peer(on_meta))
    if flops != 2 * macs:
        raise DanluError(f"danlu counts {macs} MACs, torch {flops} FLOPs; they should be half")
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(timed(lambda: profile(model, SHAPE).macs)[0])
        theirs.append(timed(lambda: peer(on_meta))[0])
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "net": "resnet50",
        "macs": macs,
        "first_seconds": first,
        "seconds": mine,
        "spread_seconds": [min(ours), max(ours)],
        "peer": "torch.utils.flop_counter.FlopCounterMode on meta",
        "peer_first_seconds": peer_first,
        "peer_seconds": other,
        "ratio": other / mine,
        "promised_seconds": PROMISED_SECONDS,
        "kept": first <= PROMISED_SECONDS and mine <= PROMISED_SECONDS,
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    }


def main() -> None:
    """Print the comparison, and write it when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = measure(options.rounds)
    print(f"ResNet-50, {result['macs']:,} MACs, median of {options.rounds} (first call apart), {result['threads']} threads")
    print(f"  danlu          {1e3 * result['seconds']:7.1f} ms   first {1e3 * result['first_seconds']:7.1f} ms")
    print(f"  FlopCounterMode{1e3 * result['peer_seconds']:7.1f} ms   first {1e3 * result['peer_first_seconds']:7.1f} ms")
    print(f"  ratio {result['ratio']:.1f}x; promised {PROMISED_SECONDS} s: {'kept' if result['kept'] else 'BROKEN'}")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
