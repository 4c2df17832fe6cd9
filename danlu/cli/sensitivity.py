"""danlu sensitivity RUN DATA: which layers can be pruned, shared or factorised how far."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb


def run(
    model: Annotated[Path, typer.Argument(help="A run folder, or a saved model's .safetensors.")],
    data: Annotated[str, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")],
    edit: Annotated[str, typer.Option(help="prune (levels: sparsities), share (bits) or low_rank (energies).")] = "prune",
    levels: Annotated[str | None, typer.Option(help="Levels from mild to strong, e.g. 0.5,0.8,0.9,0.95.")] = None,
    images: Annotated[int, typer.Option(min=1, help="Validation images to judge on, at most.")] = 2000,
    max_drop: Annotated[float, typer.Option(help="Accuracy that a layer may cost alone: 0.01 is one point.")] = 0.01,
    trust: Annotated[bool, typer.Option(help="Run the module:function that a saved recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Edit each layer alone, at each level and without fine-tuning, and print what it costs; suggest a level for each layer."""
    with verb():
        from ..search.sensitivity import sensitivity

        check_device(device)
        found = sensitivity(
            model, data, edit=edit, levels=numbers(levels), images=images, max_drop=max_drop, seed=seed, device=device,
            trust=trust, log=lambda text: say(text, quiet),
        )  # fmt: skip
        result = found.to_json()
        give(result, as_json, lambda: show(result))


def numbers(text: str | None) -> list[float] | None:
    """'0.5, 0.8' -> [0.5, 0.8]."""
    from ..errors import UsageError

    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise UsageError(f"levels {text!r} are not understood; write numbers with commas, e.g. 0.5,0.8,0.9") from error


def show(result: dict[str, Any]) -> None:
    """The scan as a table, and the suggestion to paste."""
    from rich.console import Console
    from rich.table import Table

    table = Table(
        title=f"accuracy with one layer at this {result['option']}; {100 * result['accuracy']:.1f} % as it is, on "
        f"{result['images']} validation images"
    )
    table.add_column("layer", overflow="fold")
    table.add_column("weights", justify="right")
    for level in result["levels"]:
        table.add_column(f"{level:g}", justify="right")
    table.add_column("accepted", justify="right")
    for row in result["rows"]:
        cells = [
            "kept" if c["accuracy"] is None else f"{100 * c['accuracy']:.1f}" + ("" if c["accepted"] else " !")
            for c in row["cells"]
        ]
        chosen = "–" if row["chosen"] is None else f"{row['chosen']:g}"
        table.add_row(row["name"], f"{row['weights']:,}", *cells, chosen)
    console = Console()
    console.print(table)
    if not result["suggestion"]:
        console.print("No layer can be edited at these levels within the accepted drop.")
        return
    console.print("Each layer alone, no fine-tuning: together they cost more, fine-tuning wins most of it back. To start with:")
    console.print(result["suggestion"], markup=False, highlight=False, soft_wrap=True)
