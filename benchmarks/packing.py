"""What packing a large net costs: VGG-16 at Deep Compression's densities into a .danlu file and back, on one core.

    python benchmarks/packing.py --out docs/results/packing.json

The weights are drawn from a normal distribution with VGG's own standard deviations, pruned by magnitude to the densities that
Deep Compression published for VGG-16, and shared: 8 bits for convolutions, 5 for linear layers, evenly spaced centroids. Real
weights have more structure; sizes here say what the coders do with positions and indices that have none. Rivals take the same
weights: fp16 + zstd, and int8 (one scale a layer) + zlib.

Unpacking runs in a process of its own, so that its peak memory can be told from what python and torch take by themselves.
"""

import argparse
import hashlib
import io
import json
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import nn

from danlu.codec.inspect import inspect_file
from danlu.codec.pack import pack_model
from danlu.codec.unpack import unpack_model
from danlu.data.spec import Input
from danlu.encodings import Codebook, bake, encode
from danlu.files import write_json
from danlu.runs import environment
from danlu.zoo import create

# Han et al. 2015, https://arxiv.org/abs/1510.00149, table 5: weights kept, layer by layer.
DENSITIES = (0.58, 0.22, 0.34, 0.36, 0.53, 0.24, 0.42, 0.32, 0.27, 0.34, 0.35, 0.29, 0.36, 0.04, 0.04, 0.23)
PUBLISHED_RATIO = 49
INPUT = Input((224, 224), 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CLASSES = [str(i) for i in range(1000)]


@torch.no_grad()
def shared_vgg(seed: int) -> nn.Module:
    """VGG-16 with masks and codebooks."""
    net = create("vgg16", num_classes=1000, in_channels=3, seed=seed).eval()
    draw = torch.Generator().manual_seed(seed)
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for layer, density in zip(layers, DENSITIES, strict=True):
        weight = layer.weight.detach()
        nn.init.normal_(layer.bias, std=0.1, generator=draw)
        magnitude = weight.abs()
        threshold = magnitude.flatten().kthvalue(max(1, round(weight.numel() * (1 - density)))).values
        size = 256 if isinstance(layer, nn.Conv2d) else 32
        low, high = float(weight.min()), float(weight.max())
        table = torch.linspace(low, high, size - 1)
        step = (high - low) / (size - 2)
        indices = ((weight - low) / step).round_().add_(1).to(torch.uint8) * (magnitude > threshold)
        encode(layer, "weight", Codebook.of(torch.cat([torch.zeros(1), table])[None], indices, zero=True))
    return net


def peak_bytes() -> int:
    """The most memory this process has had since its program started (getrusage would count its parent's, too)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell the peak memory of a process")


class Watch:
    """Seconds on the clock and of the processor since it was made: on a shared machine the second is what the work costs."""

    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        return {"wall_seconds": time.perf_counter() - self.wall, "cpu_seconds": time.process_time() - self.cpu}


def digest(model: nn.Module) -> str:
    """SHA-256 of all weights, by name."""
    found = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        found.update(name.encode() + parameter.detach().numpy().tobytes())
    return found.hexdigest()


def unpack_here(path: Path) -> None:
    """In a process of its own: unpack once, print seconds and memory as JSON."""
    torch.set_num_threads(1)
    create("lenet5")  # what the first net built imports belongs to the baseline
    before = peak_bytes()
    watch = Watch()
    saved = unpack_model(path)
    took = watch.read()
    peak = peak_bytes() - before
    print(json.dumps(took | {"peak_bytes": peak, "sha256": digest(saved.model)}))


def spell(took: dict[str, float]) -> str:
    """Both times."""
    return f"{took['wall_seconds']:.1f} s ({took['cpu_seconds']:.1f} s of processor)"


def rivals(net: nn.Module, level: int) -> list[dict[str, object]]:
    """The same weights through two simple programs."""
    import zstandard

    tensors = [parameter.detach().numpy() for parameter in bake(net).parameters()]
    found = []

    def timed(name: str, data: bytes, compress, expand) -> None:  # type: ignore[no-untyped-def]
        watch = Watch()
        small = compress(data)
        packed, watch = watch.read(), Watch()
        expand(small)
        found.append({"name": name, "bytes": len(small), "pack": packed, "unpack": watch.read()})

    halves = b"".join(tensor.astype(np.float16).tobytes() for tensor in tensors)
    packer, opener = zstandard.ZstdCompressor(level=level), zstandard.ZstdDecompressor()
    timed(f"fp16 + zstd level {level}", halves, packer.compress, opener.decompress)
    del halves
    parts = io.BytesIO()
    for tensor in tensors:
        scale = float(np.abs(tensor).max()) / 127 or 1.0
        parts.write(np.rint(tensor / scale).astype(np.int8).tobytes() + np.float32(scale).tobytes())
    timed("int8 + zlib level 6", parts.getvalue(), lambda data: zlib.compress(data, 6), zlib.decompress)
    return found


def main() -> None:
    """Pack, unpack, compare, print, write down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3, help="unpackings; the median counts")
    parser.add_argument("--zstd-level", type=int, default=12)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--unpack", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.unpack:
        unpack_here(options.unpack)
        return
    torch.set_num_threads(1)
    net = shared_vgg(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "vgg16.danlu")
        watch = Watch()
        packed = pack_model(net, path, input=INPUT, classes=CLASSES)
        packing = watch.read()
        command = [sys.executable, __file__, "--unpack", str(path)]
        runs = [
            json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout) for _ in range(options.repeats)
        ]
        rows = inspect_file(path).to_json()["tensors"]
    wanted = digest(bake(net))
    if any(run.pop("sha256") != wanted for run in runs):
        raise SystemExit("what was unpacked is not what was packed")
    unpacking = sorted(runs, key=lambda run: run["cpu_seconds"])[len(runs) // 2]
    peak = max(run["peak_bytes"] for run in runs)
    others = rivals(net, options.zstd_level)
    fp32 = packed.fp32_bytes
    print(f"VGG-16, {packed.params:,} weights, {fp32 / 1e6:.0f} MB in fp32; one core")
    print(f"packed in {spell(packing)}: {packed.size_bytes:,} bytes, {packed.ratio:.1f}x (published: {PUBLISHED_RATIO}x)")
    speed = packed.params / unpacking["cpu_seconds"]
    print(f"unpacked in {spell(unpacking)}, {speed / 1e6:.0f} M weights/s of processor; peak memory {peak / fp32:.2f} of fp32")
    for row in others:
        sizes = f"{row['bytes']:,} bytes, {fp32 / row['bytes']:.1f}x"  # type: ignore[operator]
        print(f"{row['name']}: {sizes}, {spell(row['pack'])}, and back {spell(row['unpack'])}")  # type: ignore[arg-type]
    if options.out:
        write_json(options.out, {
            "command": "python benchmarks/packing.py", "date": time.strftime("%Y-%m-%d"), "machine": environment(),
            "seed": options.seed, "params": packed.params, "fp32_bytes": fp32, "bytes": packed.size_bytes,
            "header_bytes": packed.header_bytes, "ratio": packed.ratio, "pack": packing, "unpack": runs,
            "weights_per_cpu_second": speed, "unpack_peak_bytes": peak, "unpack_peak_of_fp32": peak / fp32,
            "tensors": rows, "rivals": others,
        })  # fmt: skip


if __name__ == "__main__":
    main()
