"""danlu bench FILE...: compare the latency of ONNX files in one interleaved run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, give, say, verb


def run(
    files: Annotated[list[Path], typer.Argument(help="ONNX files; ratios are to the first.", show_default=False)],
    threads: Annotated[int, typer.Option(min=1, help="Threads of onnxruntime.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Rounds; each times every file once.")] = 100,
    warmup: Annotated[int, typer.Option(min=0, help="Untimed runs of every file first.")] = 10,
    time: Annotated[str | None, typer.Option(help="Stop after this long, e.g. 20s, however many rounds are left.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Compare the latency of ONNX files at batch 1 in one interleaved run: a machine that slows down slows all of them."""
    with verb():
        from ..errors import UsageError
        from ..units import parse_seconds

        if device != "cpu":
            raise UsageError(f"bench runs on onnxruntime's CPU provider, got --device {device}; use cpu")
        seconds = parse_seconds(time) if time else None
        from ..deploy import bench

        say(f"files: {len(files)}, threads: {threads}, rounds: {repeats} ...", quiet)
        timings = bench(files, threads=threads, warmup=warmup, repeats=repeats, seconds=seconds, seed=seed)
        value = {
            "files": [timing.to_json() for timing in timings],
            "threads": threads,
            "repeats": timings[0].rounds,
            "machine": machine(),
        }
        give(value, as_json, lambda: show(value))


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    from ..runs import environment

    about = environment()
    return {key: about[key] for key in ("processor", "cores", "system")} | {"onnxruntime": about["versions"]["onnxruntime"]}


def show(value: dict[str, Any]) -> None:
    """The files as a table."""
    from rich.console import Console
    from rich.table import Table

    from ..units import show_bytes

    table = Table(title=f"latency at batch 1, {value['threads']} thread(s), {value['repeats']} interleaved rounds")
    for column in ("file", "size", "median", "p10 .. p90", "ratio", "p10 .. p90"):
        table.add_column(column, justify="left" if column == "file" else "right", overflow="fold")
    for row in value["files"]:
        table.add_row(
            row["file"],
            show_bytes(row["size_bytes"]),
            f"{row['median_ms']:.4g} ms",
            f"{row['p10_ms']:.3g} .. {row['p90_ms']:.3g}",
            f"{row['ratio']:.3f}",
            f"{row['ratio_p10']:.3f} .. {row['ratio_p90']:.3f}",
        )
    console = Console()
    console.print(table)
    about = value["machine"]
    console.print(
        f"{about['processor']}, {about['cores']} cores, onnxruntime {about['onnxruntime']}", markup=False, highlight=False
    )
