"""danlu unpack FILE.danlu: rebuild the model as model.safetensors, model.json and model.onnx."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb


def run(
    file: Annotated[Path, typer.Argument(help="A .danlu file.", show_default=False)],
    out: Annotated[Path | None, typer.Option(help="The folder to write; the file's name without .danlu by default.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that the file's recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rebuild the model of a .danlu file: a folder with model.safetensors, model.json and model.onnx, checked in onnxruntime."""
    with verb():
        from ..codec import save
        from ..codec.unpack import unpack_model
        from ..deploy import export_onnx
        from ..errors import UsageError

        check_device(device)
        folder = out if out is not None else file.with_suffix("")
        if folder == file or (folder.exists() and not folder.is_dir()):
            raise UsageError(f"{folder} is not a folder; name one with --out")
        saved = unpack_model(file, trust=trust)
        say(f"danlu: {file} is {saved.recipe}", quiet)
        tensors = save(saved.model, folder, input=saved.input, classes=saved.classes)
        onnx = export_onnx(
            saved.model, folder / "model.onnx", input=saved.input, classes=saved.classes, recipe=saved.recipe
        )  # fmt: skip
        files = [tensors, tensors.with_suffix(".json"), onnx]
        value: dict[str, Any] = {
            "folder": str(folder), "recipe": saved.recipe, "classes": list(saved.classes), "input": saved.input.to_json(),
            "packed_bytes": file.stat().st_size, "files": [{"file": str(f), "size_bytes": f.stat().st_size} for f in files],
        }  # fmt: skip
        give(value, as_json, lambda: show(value))


def show(value: dict[str, Any]) -> None:
    """The files."""
    from rich.console import Console

    from ..units import show_bytes

    console = Console()
    for row in value["files"]:
        console.print(f"{row['file']}: {show_bytes(row['size_bytes'])}", markup=False, highlight=False, soft_wrap=True)
