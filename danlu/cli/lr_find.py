"""danlu lr-find RECIPE DATA: the learning-rate range test."""

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb


def run(
    recipe: Annotated[str, typer.Argument(help="The network: a recipe, module:function or timm:NAME.")],
    data: Annotated[str, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")],
    optimizer: Annotated[str, typer.Option(help="With options: 'adam(beta2=0.99)'; see `danlu list optimizers`.")] = "sgd",
    batch_size: Annotated[str, typer.Option(help="Images a step, or all.")] = "128",
    low: Annotated[float, typer.Option(help="First rate.")] = 1e-6,
    high: Annotated[float, typer.Option(help="Last rate, unless the loss explodes before.")] = 10.0,
    steps: Annotated[int, typer.Option(min=10, help="Steps from the first rate to the last.")] = 100,
    augment: Annotated[str, typer.Option(help="Parts such as crop+flip+rotate; see `danlu list augmentations`.")] = "auto",
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
    """Train for some steps while the learning rate rises; suggest a rate, and bounds for a cyclical one. Nothing else is kept."""
    with verb():
        from ..errors import UsageError

        if out is not None and out.suffix != ".html":
            raise UsageError(f"--out must end in .html, got {out}")
        check_device(device)
        from ..train import TrainConfig, lr_find
        from ..train.lr_find import write_plot
        from ..zoo import create
        from .optimize import load
        from .train import images

        source = load(data, size, resize, seed)
        model = create(recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)
        config = TrainConfig(steps=steps, optimizer=optimizer, batch_size=images(batch_size), augment=augment, seed=seed)
        say(f"{source.name}: {steps} steps of {batch_size} images, rates {low:.1g} to {high:.1g} ...", quiet)
        found = lr_find(model, source, config, low=low, high=high, steps=steps, device=device)
        value = {**found.to_json(), "recipe": recipe, "data": data, "optimizer": optimizer, "batch_size": config.batch_size}
        if out is not None:
            write_plot(found, out, f"{recipe} on {source.name}, {optimizer}, batch {batch_size}")
            value["plot"] = str(out)
        give(value, as_json, lambda: show(value))


def show(value: dict[str, Any]) -> None:
    """The suggestion, and a sketch of the curve."""
    from rich.console import Console

    console = Console(highlight=False)
    curve = value["smoothed"]
    shown = [curve[i * (len(curve) - 1) // 59] for i in range(60)] if len(curve) > 60 else curve
    low, high = min(shown), max(shown)
    bars = "".join("▁▂▃▄▅▆▇█"[min(7, int(8 * (y - low) / (high - low or 1)))] for y in shown)
    console.print(f"loss {high:.3g} .. {low:.3g}  {bars}  rates {value['lrs'][0]:.1g} .. {value['lrs'][-1]:.2g}", markup=False)
    console.print(f"suggestion {value['suggestion']:.2g}  (falls from {value['lower']:.2g}, lowest at {value['upper']:.2g})")
    words = ["danlu", "train", value["recipe"], value["data"], "--optimizer", value["optimizer"]]
    words += ["--batch-size", str(value["batch_size"]), "--epochs", "10"]
    for how, settings in (("To train at it", value["settings"]), ("Between two bounds", value["cyclical"])):
        options = [text for name, setting in settings.items() for text in (f"--{name}", str(setting))]
        console.print(f"{how}: {shlex.join(words + options)}", markup=False, soft_wrap=True)
    if "plot" in value:
        console.print(f"Plot: {value['plot']}", markup=False)
