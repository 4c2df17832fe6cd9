"""danlu compare RECIPE DATA --vary ...: which settings are better, and which differences are real."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import FAILED, Device, Json, Quiet, Seed, check_device, give, say, verb

EXAMPLE = "danlu compare resnet20 photos/ --vary optimizer=sgd,adam --epochs 5"
SHOWN = 40  # rows of the table; all are in the report


def run(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RECIPE] DATA", help="The network, resnet20 if none is named; and the images, as `danlu train` takes them."
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting of training and its values, once for each: optimizer=sgd,adam. Also recipe=... and edit=..."
        ),
    ] = None,
    set: Annotated[list[str] | None, typer.Option(help="A setting that all share: batch_size=64. See docs/compare.md.")] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, show_default="3", help="Seeds that each combination is trained with.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the data in each run.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each run.")] = None,
    time: Annotated[str | None, typer.Option(help="Time of all runs together, in equal shares: 10m, 2h.")] = None,
    test: Annotated[
        bool, typer.Option("--test", help="Look at the test images at the end; the order is made without them.")
    ] = False,
    size: Annotated[
        str | None, typer.Option(help="Input size in pixels, 96 or 96x128; chosen from the images if not given.")
    ] = None,
    resize: Annotated[str | None, typer.Option(help="stretch or short_side_crop; chosen from the images if not given.")] = None,
    out: Annotated[Path, typer.Option(help="Folder that run folders are made in.")] = Path("runs"),
    resume: Annotated[
        Path | None, typer.Option(help="Continue this run folder; with more --seeds, or --test, extend it.")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train every combination of settings with several seeds under one budget, and report which differences are real."""
    with verb():
        from ..errors import UsageError

        def log(text: str) -> None:
            say(text, quiet)

        if resume is not None:
            given = {"RECIPE or DATA": words, "--vary": vary, "--set": set, "--epochs": epochs, "--steps": steps, "--time": time,
                     "--size": size, "--resize": resize}  # fmt: skip
            beside = [name for name, value in given.items() if value]
            if beside:
                raise UsageError(f"--resume takes its grid and budget from the run folder; give no {', '.join(beside)} beside it")
            from ..compare import resume as go_on

            found = go_on(resume, seeds=seeds, test=test, log=log)
        else:
            if not words or len(words) > 2:
                raise UsageError(f"say which network and which images: {EXAMPLE}")
            check_device(device)
            from ..compare import compare
            from ..compare.grid import check
            from ..compare.vary import read_settings

            axes = read_settings(vary or ())
            shared = read_settings(set or (), "--set")
            for name, values in shared.items():
                if len(values) > 1:
                    raise UsageError(
                        f"--set {name} takes one value, got {len(values)}; values in a row belong to --vary {name}=..."
                    )
            recipe = words[0] if len(words) == 2 else None
            settings = {name: values[0] for name, values in shared.items()}
            budget: Any = {"seeds": 3 if seeds is None else seeds, "epochs": epochs, "steps": steps, "time": time, "seed": seed}
            check(recipe, axes, settings, **budget)  # before the images are read, which may take a while
            from .optimize import load

            found = compare(
                load(words[-1], size, resize, seed), recipe, vary=axes, settings=settings, test=test, out=out, device=device,
                command=shlex.join(["danlu", *sys.argv[1:]]), log=log, **budget,
            )  # fmt: skip
        give(found.to_json(), as_json, lambda: show(found.data))
        if found.best is None:
            say("danlu: no combination could be trained with every seed; the table and the report say why")
            raise typer.Exit(FAILED)


def show(data: dict[str, Any]) -> None:
    """The table for people."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..compare.page import caution, failures, headline
    from ..compare.tables import percent, spread
    from ..report.numbers import points
    from ..units import show_seconds

    console = Console()
    table = Table(
        title=f"{data['name']}: {len(data['rows'])} combinations, {data['seeds']} seeds, {data['budget_text']}",
        box=SIMPLE,
        pad_edge=False,
    )
    table.add_column(", ".join(data["vary"]), overflow="fold", min_width=12)
    for column in ("accuracy", "range, %", "to best", "epoch", "time"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=6)
    for row in data["rows"][:SHOWN]:
        epoch = "–" if row["best_epoch"] is None else f"{row['best_epoch']:.3g}"
        seconds = "–" if row["seconds"] is None else show_seconds(row["seconds"])
        behind = points(row["difference"], unit=False)
        name = ", ".join(row["values"].values())
        table.add_row(Text(name), percent(row["accuracy"]), spread(row["range"]).text, behind, epoch, seconds, row["state"])
    console.print(table)
    for why, labels in failures(data["rows"]):
        more = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        console.print(f"Failed: {labels[0]}{more}; {why}", markup=False, highlight=False)
    best, sure = headline(data)
    for text in (f"{best}. {sure}", *caution(data)):
        console.print(text, markup=False, highlight=False)
    if len(data["rows"]) > SHOWN:
        console.print(f"{len(data['rows']) - SHOWN} more combinations are in the report.", markup=False)
    console.print(f"Report: {data['run']}/report.html", markup=False, highlight=False, soft_wrap=True)
