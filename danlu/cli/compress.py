"""danlu compress RUN DATA --edits RECIPE: edit a trained model, fine-tune it with its old self as teacher, export and compare."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb


def run(
    model: Annotated[Path, typer.Argument(help="A run folder, or a saved model's .safetensors.")],
    data: Annotated[str, typer.Argument(help="The images to fine-tune and judge on.")],
    edits: Annotated[str, typer.Option(help="Edits in order, e.g. 'prune_channels(ratio=0.5) | fold_bn'.")],
    time: Annotated[str | None, typer.Option(help="Fine-tune for this long in all, e.g. 5m.")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=0, help="Fine-tune for this many epochs in all; 0 for none. 5 if no --time is given.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate where SGD fine-tunes; chosen if not given.")] = None,
    int8: Annotated[bool, typer.Option(help="Also quantise to int8; kept only where smaller or faster.")] = True,
    trust: Annotated[bool, typer.Option(help="Run the module:function that a saved recipe names.")] = False,
    out: Annotated[Path, typer.Option(help="Folder that run folders are made in.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="Continue this interrupted run folder, with the same arguments.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Apply edits to a trained model one by one, fine-tune after each that needs it, export, pack, and say what it bought."""
    with verb():
        from ..errors import UsageError
        from ..search.compress import compress
        from ..units import parse_seconds

        if time is not None and epochs is not None:
            raise UsageError("give --time or --epochs, not both")
        check_device(device)
        result = compress(
            model, data, edits, seconds=parse_seconds(time) if time else None,
            epochs=5 if epochs is None and not time else epochs, lr=lr, int8=int8, trust=trust,
            out=out, resume=resume, seed=seed, device=device, log=lambda text: say(text, quiet),
        )  # fmt: skip
        give(result, as_json, lambda: show(result))


def show(result: dict[str, Any]) -> None:
    """The steps as a table."""
    from rich.console import Console
    from rich.table import Table

    from ..units import show_bytes, show_count

    table = Table(title="what each step bought (accuracy on validation)")
    for column in ("step", "accuracy", ".onnx", ".danlu", "latency", "MACs"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for step in result["steps"]:
        table.add_row(
            step["name"], f"{100 * step['accuracy']:.1f} %", show_bytes(step["size_bytes"]),
            "–" if step["danlu_bytes"] is None else show_bytes(step["danlu_bytes"]), f"{step['latency_ms']:.3g} ms",
            show_count(step["macs"]),
        )  # fmt: skip
    console = Console()
    console.print(table)
    for row in result["kept"][:10]:
        console.print(f"kept {row['what']}: {row['why']}", markup=False, highlight=False)
    console.print(f"Model: {result['file']} and {result['danlu']}", markup=False)
