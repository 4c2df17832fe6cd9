"""LeNet-5 (20-50-500) with binary weights on MNIST: train, binarise, pack; beside int8 and fp16 of the same net.

    python benchmarks/binarized.py --data DATA/mnist --out docs/results/binarized.json

A real net with batch norm is trained; its second convolution and its hidden layer, 98.7 % of the weights, get signs, its first
and last layer 4-bit integers, and the net is trained on with the real one as teacher. The best epoch on validation images is
packed into a .danlu file, unpacked, and the unpacked net judged on the test images, once. `--activations` puts signs in the
place of the ReLUs before the binary layers too.

The signs have no scales: the batch norm after each binary layer has them anyway. Each stage is stored in --work when it ends,
and a training goes on from its checkpoint: a second call continues.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from deep_compression import Bench, Net, Stage, run_seeds, table
from torch import nn

from danlu.data import load_data
from danlu.files import write_json
from danlu.runs import environment

PUBLISHED = "XNOR-Net LeNet-5: 102 KB, 0.55 %"
MUST_BYTES, MUST_ERROR = 60_000, 0.0070
TRAINING: dict[str, Any] = {
    "optimizer": "adam", "weight_decay": 0.0, "augment": "affine", "precision": "bf16", "memory_format": "channels_last",
}  # fmt: skip


def net_of(options: argparse.Namespace) -> Net:
    """The stages of the run."""
    binary = f"binarize(scale='none', activations={options.activations}) | quantize_weights(bits={options.end_bits})"
    stages = (
        Stage("dense", "", options.dense_epochs, options.dense_lr, {"schedule": "one_cycle"}),
        Stage("binary", binary, options.epochs, options.lr, {"schedule": "cosine"}),
    )
    return Net("lenet5_caffe(batch_norm=True)", stages, TRAINING, PUBLISHED)


class Binarized(Bench):
    """One seed: a real net, and the binary one that it teaches."""

    def packed_rivals(self, nets: dict[str, nn.Module]) -> dict[str, tuple[str, nn.Module]]:
        """None: int8 and fp16 are what a binary net is compared with."""
        return {}


def main() -> None:
    """Run what is missing for each seed, then print the table and whether it reaches what it must."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", type=Path, default=Path("bench-binarized"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--dense-epochs", type=int, default=12)
    parser.add_argument("--dense-lr", type=float, default=4e-3)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--end-bits", type=int, default=4, help="bits a weight of the first and the last layer")
    parser.add_argument("--activations", action="store_true", help="binary activations before the binary layers too")
    parser.add_argument("--train", type=int, help="training images, stratified (default: all)")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    net, source = net_of(options), load_data(options.data, seed=0)
    if options.train:
        source = source.subset(options.train)
    results = run_seeds(lambda seed: Binarized(net, source, options.work / f"seed-{seed}", seed), options.seeds)
    table(results, PUBLISHED)
    ours = [result["rows"]["danlu"] for result in results]
    met = all(row["size_bytes"] <= MUST_BYTES and row["test_error"] <= MUST_ERROR for row in ours)
    print(f"must: {MUST_BYTES:,} B, error {100 * MUST_ERROR:.2f} %: {'met' if met else 'not met'}")
    if options.out:
        command = "python benchmarks/binarized.py " + " ".join(sys.argv[1:])
        about = {"command": command, "date": time.strftime("%Y-%m-%d"), "net": net.recipe, "published": PUBLISHED}
        must = {"size_bytes": MUST_BYTES, "test_error": MUST_ERROR, "met": met}
        training = {**TRAINING, "seeds": options.seeds, "data": source.name, "train_images": len(source.train)}
        write_json(options.out, {**about, "must": must, "training": training, "machine": environment(), "results": results})


if __name__ == "__main__":
    main()
