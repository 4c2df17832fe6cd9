"""danlu atlas build: the atlas of networks, edits and layers as an offline site."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb


def run(
    action: Annotated[Literal["build"], typer.Argument(help="What to do: build.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The folder to write: a new one, or one with an atlas in it.")] = Path("atlas"),
    measured: Annotated[
        Path | None, typer.Option(help="Results of benchmarks/atlas.py; else those that come with danlu.")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the atlas of networks, edits and layers as a site that opens from the disk."""
    with verb():
        from ..atlas import build_atlas

        check_device(device)

        def tell(i: int, count: int, name: str) -> None:
            if i % 20 == 0:
                say(f"{i} of {count} pages: {name}", quiet)

        index = build_atlas(out, measured=measured, on_page=tell)
        give({"action": action, "index": str(index)}, as_json, lambda: print(f"wrote {index}"))
