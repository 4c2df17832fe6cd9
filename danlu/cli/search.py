"""danlu search activations DATA: look for an activation that a small net learns these images better with."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

SUBJECTS = ("activations",)


def run(
    what: Annotated[str, typer.Argument(help="What to search for: activations.")],
    data: Annotated[str, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")],
    net: Annotated[str, typer.Option(help="The net that learns with each: a recipe.")] = "resnet8",
    time: Annotated[str | None, typer.Option(help="Search for this long, finals included: 90s, 5m; 5m if not given.")] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Or try so many compositions.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training, 64 images each.")] = 200,
    method: Annotated[str, typer.Option(help="evolution or random.")] = "evolution",
    finals: Annotated[int, typer.Option(min=1, help="So many of the best are trained from further seeds.")] = 3,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each of these, and of relu and swish.")] = 3,
    size: Annotated[
        str | None, typer.Option(help="Input size in pixels, 96 or 96x128; chosen from the images if not given.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Also write the answer into this .json file.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compose activations of one- and two-argument functions, train a small net with each, and rank them with relu and swish."""
    with verb():
        from ..errors import UsageError, unknown
        from ..units import parse_seconds

        if what not in SUBJECTS:
            raise unknown("subject of a search", what, SUBJECTS)
        if out is not None and out.suffix != ".json":
            raise UsageError(f"--out must end in .json, got {out}")
        if time is not None and trials is not None:
            raise UsageError(f"give --time or --trials, got {time} and {trials}")
        seconds = None if trials is not None else parse_seconds(time or "5m")
        check_device(device)
        from ..files import write_json
        from ..search.activations import METHODS, search_activations
        from .optimize import load

        if method not in METHODS:
            raise unknown("method", method, METHODS)
        found = search_activations(
            load(data, size, None, seed), net=net, trials=trials, seconds=seconds, steps=steps, method=method, finals=finals,
            seeds=seeds, seed=seed, device=device, log=lambda text: say(text, quiet),
        )  # fmt: skip
        value = found.to_json()
        if out is not None:
            write_json(out, value)
        give(value, as_json, lambda: show(value))


def show(value: dict[str, Any]) -> None:
    """The leaderboard, and how to go on."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    first = value["leaderboard"][0]
    how = f"{value['net']} on {value['data']}, {value['steps']} steps, {first['seeds']} seeds"
    table = Table(title=f"{how}: validation accuracy, %")
    for column, side in (("activation", "left"), ("mean", "right"), ("range", "right"), ("", "left")):
        table.add_column(column, justify=side, overflow="fold")  # type: ignore[arg-type]
    for row in value["leaderboard"]:
        spread = f"{100 * row['low']:.2f}-{100 * row['high']:.2f}"
        table.add_row(Text(row["formula"]), f"{100 * row['mean']:.2f}", spread, "reference" if row["reference"] else "")
    console = Console(highlight=False)
    console.print(table)
    tried = len({trial["activation"] for trial in value["trials"]})
    console.print(f"{tried} activations tried in {value['seconds']:.0f} s. Ranges that overlap are no difference.")
    console.print(f'The best: swap_activation(to="{value["best"]}")', markup=False, soft_wrap=True)
