"""danlu inspect FILE.danlu: where the bytes of a packed model are, and how near they come to their entropy."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, verb


def run(
    file: Annotated[Path, typer.Argument(help="A .danlu file.", show_default=False)],
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show where the bytes of a .danlu file are: plan, bits a weight, entropy bound and share of every tensor."""
    with verb():
        from ..codec.inspect import inspect_file

        check_device(device)
        value = inspect_file(file).to_json()
        give(value, as_json, lambda: show(value))


def show(value: dict[str, Any]) -> None:
    """The tensors as a table, then the whole."""
    from rich.console import Console
    from rich.table import Table

    from ..units import show_bytes

    console = Console()

    def line(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    table = Table(title=f"{value['file']}: {value['size_bytes']:,} bytes")
    for column in ("tensor", "shape", "plan", "zeros", "bytes", "bits/weight", "bound", "share"):
        table.add_column(column, justify="left" if column in ("tensor", "plan") else "right", overflow="fold")
    for row in value["tensors"]:
        bound = 8 * row["bound_bytes"] / row["weights"] if row["weights"] else 0.0
        table.add_row(
            row["name"],
            "x".join(map(str, row["shape"])),
            f"{row['plan']} ({row['coders']})" if row["coders"] else row["plan"],
            f"{row['zeros'] / row['weights']:.1%}" if row["weights"] else "",
            f"{row['bytes']:,.0f}",
            f"{row['bits_a_weight']:.3f}",
            f"{bound:.3f}",
            f"{row['share']:.1%}",
        )
    console.print(table)
    inside = sum(row["bytes"] for row in value["tensors"])
    line(f"header, with the SHA-256 of {value['streams']} stream(s): {value['header_bytes']:,} bytes; tensors: {inside:,.0f}")
    line(f"{value['weights']:,} weights; {8 * value['size_bytes'] / max(value['weights'], 1):.3f} bits a weight in all")
    line(f"fp32: {show_bytes(4 * value['weights'])}, {4 * value['weights'] / value['size_bytes']:.1f}x; bound: order-0 entropy")
    line(f"recipe: {value['about'].get('recipe')}")
