"""danlu profile MODEL: what every layer of a network costs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

if TYPE_CHECKING:
    from ..cost import Profile

Model = Annotated[str, typer.Argument(help="A recipe, module:function, run folder, .safetensors or .onnx file.")]
Input = Annotated[
    str | None, typer.Option("--input", help="Channels, height, width; the net's own if left out.", metavar="3,224,224")
]
Classes = Annotated[
    int | None, typer.Option("--classes", min=1, help="Number of classes of a recipe; the net's own if left out.")
]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Images in one pass; counts are for all of them.")]
Repeats = Annotated[int, typer.Option("--repeats", min=1, help="Timed passes.")]
Trust = Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved recipe names.")]


def run(
    model: Model,
    input: Input = None,
    time: Annotated[bool, typer.Option("--time", help="Also measure the time of every layer.")] = False,
    classes: Classes = None,
    sort: Annotated[str, typer.Option(help="Order the table by time, macs, params or bytes; running order if left out.")] = "",
    top: Annotated[int | None, typer.Option(min=1, help="Show only this many layers.")] = None,
    batch: Batch = 1,
    repeats: Repeats = 20,
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Count parameters, MACs, bytes, memory and receptive field of every layer; --time measures them too."""
    with verb():
        if Path(model).suffix.lower() == ".onnx":
            _onnx(model, time, as_json)
            return
        from ..cost.table import print_profile

        result = profile_target(
            model, input=input, time=time, sort=sort, classes=classes, batch=batch, repeats=repeats, trust=trust,
            seed=seed, device=device, quiet=quiet,
        )  # fmt: skip
        answer: dict[str, Any] = {"model": model, **result.to_json()}
        if sort:
            answer["order"] = result.ranked(sort)
        give(answer, as_json, lambda: print_profile(result, sort=sort, top=top))


def profile_target(
    model: str,
    *,
    input: str | None,
    time: bool,
    sort: str = "",
    classes: int | None,
    batch: int,
    repeats: int,
    trust: bool,
    seed: int,
    device: str,
    quiet: bool,
) -> "Profile":
    """Find the model and profile it. Raises UsageError before any work when the options do not fit."""
    from ..cost import profile
    from ..cost.profile import SORTS
    from ..cost.target import find_target, parse_input
    from ..errors import UsageError, unknown

    if sort and sort not in SORTS:
        raise unknown("sort key", sort, SORTS)
    if sort == "time" and not time:
        raise UsageError("--sort time needs --time")
    check_device(device)
    shape = parse_input(input) if input is not None else None
    target = find_target(model, input=shape, classes=classes, real=time, trust=trust, seed=seed)
    if target.note:
        say(target.note, quiet)
    return profile(target.model, target.input, time=time, batch=batch, repeats=repeats, device=device)


def _onnx(path: str, time: bool, as_json: bool) -> None:
    from ..cost.onnx_count import profile_onnx
    from ..cost.table import print_onnx
    from ..errors import UsageError

    if time:
        raise UsageError(f"--time is for PyTorch models; measure {path} in its runtime with: danlu bench {path}")
    result = profile_onnx(path)
    give({"model": path, **result.to_json()}, as_json, lambda: print_onnx(result))
