"""danlu diagnose RECIPE DATA: what a network looks like before its first step."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb


def run(
    recipe: Annotated[str, typer.Argument(help="The network: a recipe, module:function or timm:NAME.")],
    data: Annotated[str, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")],
    init: Annotated[
        str, typer.Option(help="Initialisations to compare: 'he,xavier,normal(std=0.01)'; own are the weights it has.")
    ] = "own",
    weights: Annotated[str | None, typer.Option(help="Weights it has: .safetensors or .pth, as far as they fit.")] = None,
    images: Annotated[int, typer.Option(min=2, help="Training images to look at.")] = 64,
    size: Annotated[
        str | None, typer.Option(help="Input size in pixels, 96 or 96x128; chosen from the images if not given.")
    ] = None,
    resize: Annotated[str | None, typer.Option(help="stretch or short_side_crop; chosen from the images if not given.")] = None,
    out: Annotated[Path | None, typer.Option(help="Also draw the plot, into this .html file.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the variance of activations and gradients by layer before training, and what is saturated; say what is wrong."""
    with verb():
        from ..errors import UsageError

        if out is not None and out.suffix != ".html":
            raise UsageError(f"--out must end in .html, got {out}")
        check_device(device)
        from ..compare.vary import split_values
        from ..train.diagnose import diagnose
        from ..train.diagnose_report import best, words, write_plot
        from ..zoo import create, load_weights
        from .optimize import load

        source = load(data, size, resize, seed)
        model = create(recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)
        if weights is not None:
            say(f"weights: {load_weights(model, weights, partial=True)}", quiet)
        found = diagnose(
            model, source, split_values(init), images=images, seed=seed, device=device, say=lambda text: say(text, quiet)
        )  # fmt: skip
        value: dict[str, Any] = {
            "recipe": recipe, "data": data, "images": min(images, len(source.train)), "best": best(found).init,
            "inits": [{**one.to_json(), "words": words(one)} for one in found],
        }  # fmt: skip
        if out is not None:
            write_plot(found, out, f"{recipe} on {source.name} before the first step, {value['images']} images")
            value["plot"] = str(out)
        give(value, as_json, lambda: show(value))


def show(value: dict[str, Any]) -> None:
    """A table for each initialisation, and the verdict."""
    from rich.table import Table

    from .listing import console

    screen = console()
    for one in value["inits"]:
        table = Table(title=f"{one['init']}: loss {number(one['loss'])} times that of guessing", box=None, pad_edge=False)
        table.add_column("layer", no_wrap=True)
        for column in ("weights std", "var outputs", "differs", "behind", "var activations", "var gradients", "saturated"):
            table.add_column(column, justify="left" if column == "behind" else "right")
        for row in one["layers"]:
            share = "" if row["saturated"] is None else f"{row['saturated']:.0%}"
            cells = (row["weight_std"], row["outputs"], row["differs"]), (row["activations"], row["gradients"])
            table.add_row(row["name"], *map(number, cells[0]), row["activation"], *map(number, cells[1]), share)
        screen.print(table)
        for sentence in one["words"] or ["nothing stands out"]:
            screen.print(f"{one['init']}: {sentence}.", markup=False, soft_wrap=True)
        screen.print()
    if len(value["inits"]) > 1:
        screen.print(f"Best of these: {value['best']}", markup=False, soft_wrap=True)
    if "plot" in value:
        screen.print(f"Plot: {value['plot']}", markup=False, soft_wrap=True)


def number(value: float | None) -> str:
    """Two digits; a number that is not finite is None."""
    return "overflow" if value is None else f"{value:.2g}"
