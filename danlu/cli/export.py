"""danlu export RUN_OR_RECIPE --out FILE.onnx: write a network as one checked ONNX file, in fp32 or int8."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

if TYPE_CHECKING:
    from ..codec import Saved
    from ..data import Source


def run(
    what: Annotated[
        str, typer.Argument(help="A run folder, a saved .safetensors, or a recipe (fresh weights).", metavar="RUN_OR_RECIPE")
    ],
    out: Annotated[Path, typer.Option(help="The file to write, FILE.onnx.")],
    int8: Annotated[bool, typer.Option("--int8", help="Quantise to int8; needs --data.")] = False,
    reduce_range: Annotated[bool, typer.Option("--reduce-range", help="int8 with 7-bit weights, for x86 without VNNI.")] = False,
    data: Annotated[
        str | None, typer.Option(help="Images: int8 is calibrated on them; a recipe takes its input from them.")
    ] = None,
    input: Annotated[str | None, typer.Option(help="Channels, height, width of a recipe's input, e.g. 3,32,32.")] = None,
    classes: Annotated[int | None, typer.Option(min=2, help="Number of classes of a recipe.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a network as one ONNX file, compared with torch at batch 1, 2 and 7 before it takes its name."""
    with verb():
        from ..errors import UsageError

        if out.suffix != ".onnx":
            raise UsageError(f"--out must end in .onnx, got {out}")
        if int8 and data is None:
            raise UsageError("--int8 needs --data, the images to calibrate on")
        if reduce_range and not int8:
            raise UsageError("--reduce-range is for --int8")
        check_device(device)
        saved, source = find(what, data, input, classes, trust, seed)
        trained = is_saved(what)
        if not trained:
            say(f"danlu: {what} is a recipe: the weights are fresh, untrained", quiet)
        value = {"recipe": saved.recipe, "trained": trained, "input": saved.input.to_json(), "classes": len(saved.classes)}
        value |= write(saved, out, source if int8 else None, seed, reduce_range)
        give(value, as_json, lambda: show(value))


def is_saved(what: str) -> bool:
    """Whether the text names something on disk rather than a recipe."""
    return Path(what).exists() or Path(what).suffix in (".safetensors", ".json", ".onnx", ".pth") or "/" in what.split("(")[0]


def find(
    what: str, data: str | None, input: str | None, classes: int | None, trust: bool, seed: int
) -> tuple["Saved", "Source | None"]:
    """The network with its input and classes: as saved, or made from a recipe for the data or for --input and --classes."""
    from ..codec import Saved, load_saved
    from ..data import Input, load_data
    from ..errors import UsageError
    from ..zoo import create

    if is_saved(what):
        if input is not None or classes is not None:
            raise UsageError("a saved model has its input and classes; --input and --classes are for recipes")
        saved = load_saved(what, trust=trust)
        if data is None:
            return saved, None
        wanted = saved.input
        return saved, load_data(data, size=wanted.size, resize=wanted.resize, channels=wanted.channels, seed=seed)
    if data is not None:
        if input is not None or classes is not None:
            raise UsageError("give --data, or --input and --classes, not both")
        source = load_data(data, seed=seed)
        model = create(what, num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)
        return Saved(model, source.input, tuple(source.classes), str(model.danlu_recipe)), source
    stated, default = facts(what)
    shape = stated if input is None else shape_of(input)
    if shape is None:
        raise UsageError(f"{what} does not state its input; give --input, e.g. 3,224,224")
    channels, height, width = shape
    spec = Input((height, width), channels, (0.0,) * channels, (1.0,) * channels)
    model = create(what, num_classes=classes or default, in_channels=channels, seed=seed)
    names = tuple(str(i) for i in range(int(model.danlu_num_classes)))  # type: ignore[arg-type]  # a plain attribute
    return Saved(model, spec, names, str(model.danlu_recipe)), None


def facts(recipe: str) -> tuple[tuple[int, int, int] | None, int]:
    """(C, H, W) and the number of classes that the recipe's base has by itself; (None, 1000) for one from outside the zoo."""
    from ..edits.recipe import parse
    from ..zoo import models

    base = parse(recipe)[0].name
    if ":" in base:
        return None, 1000
    entry = models[base]
    return entry.facts["input"], entry.options()["num_classes"].default


def shape_of(text: str) -> tuple[int, int, int]:
    """(C, H, W) from "3,32,32"."""
    from ..errors import UsageError

    parts = text.split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"--input {text!r} not understood; write channels,height,width, e.g. 3,32,32")
    channels, height, width = map(int, parts)
    return channels, height, width


def write(saved: "Saved", out: Path, source: "Source | None", seed: int, reduce_range: bool) -> dict[str, Any]:
    """Export, check, and quantise where there is a source to calibrate on; `out` appears only when all went well."""
    import tempfile

    from ..deploy import calibration_batches, export_onnx, int8_report, quantize_int8, verify
    from ..files import write_bytes

    with tempfile.TemporaryDirectory(prefix="danlu-export-") as folder:
        fp32 = export_onnx(
            saved.model, Path(folder, "fp32.onnx"), input=saved.input, classes=saved.classes, recipe=saved.recipe, check=False
        )
        checks = [check.to_json() for check in verify(saved.model, fp32, saved.input)]
        fp32_bytes = fp32.stat().st_size
        if source is None:
            write_bytes(out, fp32.read_bytes())
        else:
            quantize_int8(fp32, out, calibration_batches(source.train, saved.input, seed=seed), reduce_range=reduce_range)
    value = {"file": str(out), "size_bytes": out.stat().st_size, "checks": checks}
    return value | ({} if source is None else {"int8": int8_report(out).to_json() | {"fp32_size_bytes": fp32_bytes}})


def show(value: dict[str, Any]) -> None:
    """The file, how closely it agrees, and what int8 left in float."""
    from rich.console import Console

    from ..units import show_bytes

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    console = Console()
    worst = max(check["max_difference"] for check in value["checks"])
    batches = ", ".join(str(check["batch"]) for check in value["checks"])
    line(f"{value['file']}: {show_bytes(value['size_bytes'])}; differs from torch by at most {worst:.2g} (batches {batches})")
    if "int8" in value:
        report = value["int8"]
        line(f"int8: {report['quantized']} operators quantised, {show_bytes(report['fp32_size_bytes'])} in fp32")
        for row in report["kept"]:
            line(f"  {row['node']} stays in float: {row['reason']}")
