"""danlu check DATA: what is in a data set, and what is wrong with it."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, give, say, verb

if TYPE_CHECKING:
    from ..data import Health

MOST_ROWS = 20


def run(
    data: Annotated[str, typer.Argument(help="digits, a folder of class folders, an archive of one, CSV, IDX folder or .npz.")],
    size: Annotated[int | None, typer.Option(min=1, help="Input size in pixels; chosen from the images if left out.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Report what is in a data set: counts, sizes, unreadable files, copies across splits."""
    with verb():
        from ..data import DataError, load_data

        try:
            with progress_bar(quiet) as progress:
                source = load_data(data, size=size, seed=seed, progress=progress)
        except DataError as error:
            health = error.health
            give({"data": data, "ok": False, "health": health.to_json()}, as_json, lambda: show(data, health))
            raise
        answer: dict[str, Any] = {
            "data": data,
            "ok": True,
            "name": source.name,
            "classes": list(source.classes),
            "input": source.input.to_json(),
            "flip": source.flip,
            "fingerprint": source.fingerprint,
            "health": source.health.to_json(),
        }
        give(answer, as_json, lambda: show(data, source.health, answer))
        say(f"danlu: {data} is good to train on", quiet or as_json)


def show(data: str, health: "Health", answer: dict[str, Any] | None = None) -> None:
    """Print the report for people."""
    from rich.console import Console
    from rich.markup import escape as markup
    from rich.table import Table

    def escape(text: str) -> str:
        # Names of files may hold bytes that are no UTF-8, and square brackets.
        return markup(text.encode("utf-8", "backslashreplace").decode())

    console = Console(highlight=False)
    line = partial(console.print, soft_wrap=True)
    line(escape(f"{data}: {health.images:,} images, {len(health.classes)} classes"))
    table = Table()
    table.add_column("class", overflow="fold")
    for split in health.counts:
        table.add_column(split, justify="right")
    names = list(next(iter(health.counts.values()), {}))
    for name in names[:MOST_ROWS]:
        table.add_row(escape(name), *(f"{count[name]:,}" for count in health.counts.values()))
    if len(names) > MOST_ROWS:
        table.add_row(f"... and {len(names) - MOST_ROWS} more", *("" for _ in health.counts))
    table.add_section()
    table.add_row("all", *(f"{sum(count.values()):,}" for count in health.counts.values()))
    console.print(table)
    if health.sizes:
        sizes = ", ".join(f"{name} {w:g} x {h:g}" for name, (w, h) in health.sizes.items())
        line(f"sizes (width x height): {sizes}")
        line("modes: " + ", ".join(f"{mode} {n:,}" for mode, n in health.modes.items()))
    if answer:
        spec = answer["input"]
        mean, std = (", ".join(f"{value:.4f}" for value in spec[key]) for key in ("mean", "std"))
        h, w = spec["size"]
        line(f"input: {h} x {w}, {spec['channels']} channel(s), {spec['resize']}; mean {mean}; std {std}")
    _show_some(line, "unreadable", [escape(f"{bad['name']}: {bad['reason']}") for bad in health.unreadable])
    _show_some(
        line,
        "the same image in more than one split",
        [
            escape(" = ".join(f"{name} ({split})" for name, split in zip(*group.values(), strict=True)))
            for group in health.duplicates
        ],
    )
    _show_some(
        line,
        "the same image in more than one class",
        [escape(" = ".join(group["names"])) for group in health.conflicts],
    )
    if health.repeated:
        line(f"exact copies, in any split: {health.repeated:,}")
    for warning in health.warnings:
        line(f"[yellow]warning[/yellow] {escape(warning)}")
    for error in health.errors:
        line(f"[red]error[/red] {escape(error)}")


def _show_some(say_line: Callable[[str], None], title: str, lines: list[str]) -> None:
    if lines:
        say_line(f"{title} ({len(lines)}):")
    for line in lines[:MOST_ROWS]:
        say_line(f"  {line}")
    if len(lines) > MOST_ROWS:
        say_line(f"  ... and {len(lines) - MOST_ROWS} more (all with --json)")


@contextlib.contextmanager
def progress_bar(quiet: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on stderr for the first look at a large set; None unless stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield step
