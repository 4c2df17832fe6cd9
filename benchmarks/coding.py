"""The entropy coders of the .danlu file: size beside the entropy, zlib and zstd, and decoding speed, on one core.

python benchmarks/coding.py [--small] [--out FILE]

The streams are drawn, with fixed seeds, to look like those of compressed nets: rows and columns with densities of their own, a
neuron's pixels close together, codebook indices of Laplacian weights. Entropy is of order 0: every position or symbol on its own.
zlib -9 and zstd -19 pack the same bits or bit-packed indices. Seconds are CPU seconds of this process; a stream's speed counts
all weights of its tensor, zeros too. Memory is the peak of decoding, beside the tensor in fp32.
"""

import argparse
import platform
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from danlu.codec.entropy import decode_positions, decode_symbols, encode_positions, encode_symbols, entropy_bits
from danlu.codec.entropy.plain import encode_packed
from danlu.errors import DanluError
from danlu.files import write_json

PROMISED = 20.0  # million weights a second
SLOW_UP_TO = 1 << 20  # weights of a tensor that the context coder may take; larger ones must keep the promise


def uneven(rows: int, columns: int, density: float) -> np.ndarray:
    """A mask whose rows and columns have densities of their own, a few of them dead."""
    random = np.random.default_rng(rows + columns)
    row, column = random.gamma(1.5, size=rows), random.gamma(1.5, size=columns)
    row[random.random(rows) < 0.1], column[random.random(columns) < 0.1] = 0, 0
    scale, mask = density / (row.mean() * column.mean()), np.empty((rows, columns), bool)
    for at in range(rows):
        mask[at] = random.random(columns, dtype=np.float32) < scale * row[at] * column
    return mask


def strokes(rows: int, side: int, kept: int) -> np.ndarray:
    """A mask of neurons on an image: each row a walk of `kept` steps away from the border."""
    random, mask = np.random.default_rng(side), np.zeros((rows, side, side), bool)
    for row in range(rows):
        y, x = random.integers(5, side - 5, 2)
        for _ in range(kept):
            mask[row, y, x] = True
            y, x = (int(np.clip(at + random.integers(-2, 3), 3, side - 4)) for at in (y, x))
    return mask.reshape(rows, -1)


def indices(count: int, size: int) -> np.ndarray:
    """Codebook indices of Laplacian weights on a uniform grid."""
    drawn = np.random.default_rng(size).laplace(0, size / 12, count)
    return np.clip(np.rint(drawn + size / 2), 0, size - 1).astype(np.uint8)


def zstd(data: bytes) -> int | None:
    """Bytes of zstd -19, or None where the package is not installed."""
    try:
        import zstandard
    except ImportError:
        return None
    return len(zstandard.ZstdCompressor(level=19).compress(data))


def measure(
    name: str,
    weights: int,
    entropy: float,
    plain: bytes,
    encode: Callable[[], tuple[str, bytes]],
    decode: Callable[[str, bytes], np.ndarray],
    same: Callable[[np.ndarray], bool],
) -> dict[str, Any]:
    """One stream: sizes, seconds, peak of memory."""
    start = time.process_time()
    coder, data = encode()
    coded = time.process_time()
    back = decode(coder, data)
    decoded = time.process_time() - coded
    if not same(back):
        raise DanluError(f"{name} did not come back")
    del back
    tracemalloc.start()
    decode(coder, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "stream": name,
        "weights": weights,
        "coder": coder,
        "bytes": len(data),
        "entropy_bytes": entropy / 8,
        "over_entropy": len(data) / (entropy / 8) - 1,
        "zlib_9_bytes": len(zlib.compress(plain, 9)),
        "zstd_19_bytes": zstd(plain),
        "encode_seconds": coded - start,
        "decode_seconds": decoded,
        "decode_million_weights_per_second": weights / 1e6 / decoded,
        "peak_over_fp32": peak / (4 * weights),
    }


def positions(name: str, mask: np.ndarray, fast: bool = False) -> dict[str, Any]:
    """The positions of one tensor."""
    ones = int(mask.sum())
    return measure(
        name,
        mask.size,
        entropy_bits(np.array([ones, mask.size - ones])),
        np.packbits(mask).tobytes(),
        lambda: encode_positions(mask, fast=fast),
        lambda coder, data: decode_positions(coder, data, mask.shape),
        lambda back: np.array_equal(back, mask),
    )


def values(name: str, drawn: np.ndarray, size: int, weights: int) -> dict[str, Any]:
    """The codebook indices of one tensor of `weights` weights."""
    return measure(
        name,
        weights,
        entropy_bits(np.bincount(drawn, minlength=size)),
        encode_packed(drawn, size),
        lambda: encode_symbols(drawn, size),
        lambda coder, data: decode_symbols(coder, data, len(drawn), size),
        lambda back: np.array_equal(back, drawn),
    )


def streams(small: bool) -> Iterator[dict[str, Any]]:
    """All streams, measured one by one; `small` leaves the large ones out."""
    yield positions("LeNet-300-100 fc1 positions, 300x784", strokes(300, 28, 16))
    yield positions("LeNet-300-100 fc1 positions, fast", strokes(300, 28, 16), fast=True)
    yield positions("LeNet-5 fc1 positions, 500x800, 0.6 %", uneven(500, 800, 0.006))
    yield positions("LeNet-5 fc1 positions, fast", uneven(500, 800, 0.006), fast=True)
    yield positions("ResNet-20 stage 3 positions, 64x576, 20 %", uneven(64, 576, 0.2))
    yield values("LeNet-5 fc1 values, 16 symbols", indices(2400, 16), 16, 400_000)
    yield values("LeNet-5 biases, 32 symbols", indices(500, 32), 32, 500)
    yield values("a million values, 32 symbols", indices(1_000_000, 32), 32, 1_000_000)
    if small:
        return
    yield positions("VGG-16 fc1 positions, 4096x25088, 4 %", uneven(4096, 25088, 0.04))
    yield values("VGG-16 fc1 values, 32 symbols", indices(4_110_000, 32), 32, 4096 * 25088)
    yield positions("VGG-16 conv5 positions, 512x4608, 30 %", uneven(512, 4608, 0.3))
    yield values("dense 8-bit weights, 256 symbols", indices(8_000_000, 256), 256, 8_000_000)


def main() -> None:
    """Print the table, and write it when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="leave the streams of many million weights out")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    heads = f"{'bytes':>10} {'entropy':>10} {'over':>7} {'zlib -9':>10} {'zstd -19':>10} {'Mw/s':>7} {'peak':>6}"
    print(f"{'stream':45} {'coder':8} {heads}")
    rows = []
    for row in streams(options.small):
        rows.append(row)
        other = row["zstd_19_bytes"] if row["zstd_19_bytes"] is not None else "-"
        print(
            f"{row['stream']:45} {row['coder']:8} {row['bytes']:10} {row['entropy_bytes']:10.0f} {row['over_entropy']:+7.1%} "
            f"{row['zlib_9_bytes']:10} {other:>10} {row['decode_million_weights_per_second']:7.1f} {row['peak_over_fp32']:5.2f}x",
            flush=True,
        )
    large = [row["decode_million_weights_per_second"] for row in rows if row["weights"] > SLOW_UP_TO]
    if large:
        print(f"slowest of the tensors above {SLOW_UP_TO:,} weights: {min(large):.0f} million weights/s, promised {PROMISED:.0f}")
    if options.out:
        machine = f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}, numpy {np.__version__}"
        write_json(options.out, {"promised_million_weights_per_second": PROMISED, "rows": rows, "machine": machine})


if __name__ == "__main__":
    main()
