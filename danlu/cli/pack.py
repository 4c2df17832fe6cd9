"""danlu pack RUN: write a model as one small .danlu file, and read it back to check it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

if TYPE_CHECKING:
    from torch import Tensor, nn

CHECKED_IMAGES = 8


def run(
    what: Annotated[Path, typer.Argument(help="A run folder or a saved .safetensors.", metavar="RUN")],
    out: Annotated[Path | None, typer.Option(help="The file to write; RUN/model.danlu by default.")] = None,
    floats: Annotated[str, typer.Option(help="Weights that are not encoded: fp32 (exact), fp16 or bf16 (rounded).")] = "fp32",
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model as one small .danlu file, encoded weights as coded symbols; it is read back and compared."""
    with verb():
        from ..codec import load_saved
        from ..codec.pack import pack_model
        from ..codec.unpack import unpack_model
        from ..errors import DanluError, UsageError

        check_device(device)
        if out is not None and out.suffix != ".danlu":
            raise UsageError(f"--out must end in .danlu, got {out}")
        saved = load_saved(what, trust=trust)
        path = out if out is not None else (what / "model.danlu" if what.is_dir() else what.with_suffix(".danlu"))
        say(f"danlu: packing {what} ...", quiet)
        packed = pack_model(saved.model, path, input=saved.input, classes=saved.classes, floats=floats, recipe=saved.recipe)
        images = sample(saved.input.shape, seed)
        difference = compare(saved.model, unpack_model(path, trust=trust).model, images)
        if floats == "fp32" and difference > 1e-3:
            raise DanluError(f"{path} answers otherwise than {what}: logits differ by {difference:.3g}")
        stored = tensors_bytes(what)
        value: dict[str, Any] = {
            "file": str(path), "size_bytes": packed.size_bytes, "header_bytes": packed.header_bytes, "params": packed.params,
            "fp32_bytes": packed.fp32_bytes, "ratio": packed.ratio, "safetensors_bytes": stored,
            "safetensors_ratio": stored / packed.size_bytes if stored else None, "floats": floats, "max_difference": difference,
        }  # fmt: skip
        give(value, as_json, lambda: show(value))


def sample(shape: tuple[int, int, int], seed: int) -> "Tensor":
    """Random images, normalised. Shape: [8, C, H, W]."""
    import torch

    return torch.randn(CHECKED_IMAGES, *shape, generator=torch.Generator().manual_seed(seed))


def compare(model: "nn.Module", other: "nn.Module", images: "Tensor") -> float:
    """The largest difference of the logits, relative to the largest logit."""
    import torch

    with torch.inference_mode():
        wanted, got = model.eval()(images), other(images)
    return float((wanted - got).abs().max() / wanted.abs().max().clamp_min(1e-6))


def tensors_bytes(what: Path) -> int | None:
    """The size of the .safetensors that was packed, if there is one."""
    file = what / "model.safetensors" if what.is_dir() else what.with_suffix(".safetensors")
    return file.stat().st_size if file.is_file() else None


def show(value: dict[str, Any]) -> None:
    """Sizes and ratios."""
    from rich.console import Console

    from ..units import show_bytes, show_count

    console = Console()

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    line(f"{value['file']}: {value['size_bytes']:,} bytes, of which {value['header_bytes']:,} are header")
    fp32 = f"{show_bytes(value['fp32_bytes'])} of {show_count(value['params'])} parameters in fp32"
    line(f"{value['ratio']:.1f}x smaller than {fp32}")
    if value["safetensors_bytes"]:
        line(f"{value['safetensors_ratio']:.1f}x smaller than the .safetensors of {show_bytes(value['safetensors_bytes'])}")
    line(f"read back: logits differ by at most {value['max_difference']:.2g} of the largest")
