"""danlu optimize DATA: the main job."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .common import DONE, NOT_MET, STARTED, Device, Json, Quiet, Seed, check_device, give, say, verb

EXAMPLE = "danlu optimize photos/ --max-size 500KB --max-latency 3ms --max-drop 0.01 --time 20m"


def run(
    data: Annotated[str | None, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")] = None,
    max_size: Annotated[str | None, typer.Option(help="Largest file: 500KB, 64KiB, or a share of the baseline: 1/8.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Longest latency at batch 1: 3ms, or a share: 1/5.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="Most multiply-accumulates: 40M, or a share: 1/10.")] = None,
    max_drop: Annotated[float, typer.Option(help="Accuracy that may be lost against the baseline: 0.01 is one point.")] = 0.01,
    time: Annotated[str, typer.Option(help="Wall-clock time for everything: 90s, 20m, 2h.")] = "10m",
    model: Annotated[
        str | None, typer.Option(help="Your baseline: a recipe, module:function, timm:NAME, or a run folder.")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="Weights of --model: .safetensors or .pth.")] = None,
    trust: Annotated[bool, typer.Option(help="Run the module:function that a saved --model names.")] = False,
    size: Annotated[
        str | None, typer.Option(help="Input size in pixels, 96 or 96x128; chosen from the images if not given.")
    ] = None,
    resize: Annotated[str | None, typer.Option(help="stretch or short_side_crop; chosen from the images if not given.")] = None,
    format: Annotated[
        str, typer.Option(help="The file that ships and that --max-size is for: onnx, or danlu (pruned, shared, entropy coded).")
    ] = "onnx",
    edits: Annotated[
        str | None, typer.Option(help="Your own chain for the winner, e.g. 'prune(sparsity=0.9) | share(bits=5)'.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of onnxruntime when latency is measured.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder that run folders are made in.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="Continue this interrupted run folder.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the smallest, fastest network for your images within a budget, in a promised time.

    Exit code 3 means that no candidate kept the budget: the closest model is saved and the report says what stands in the way.
    """
    with verb():
        from ..errors import UsageError
        from ..units import parse_seconds

        budget: dict[str, Any] = {"max_size": max_size, "max_latency": max_latency, "max_macs": max_macs, "max_drop": max_drop}
        if resume is not None:
            if data is not None:
                raise UsageError("--resume takes its data and budget from the run folder; give no DATA beside it")
            from ..search.optimize import resumed_settings

            old = resumed_settings(resume)
            data, budget, time, model, weights = old["data"], old["budget"], str(old["time"]), old["model"], old["weights"]
            seed, device, threads = old["seed"], old["device"], old["threads"]
            format, edits = old["format"], old["edits"]
            size, resize = "x".join(str(s) for s in old["input"]["size"]), old["input"]["resize"]
        if data is None:
            raise UsageError(f"say which images: {EXAMPLE}")

        parse_seconds(time)
        from ..search import Budget, optimize

        limits = Budget(**budget)
        check_device(device)
        result = optimize(
            load(data, size, resize, seed), limits, time, model=model, weights=weights, out=out, resume=resume, seed=seed,
            device=device, threads=threads, format=format, edits=edits, trust=trust, command=shlex.join(["danlu", *sys.argv[1:]]),
            started=STARTED, log=lambda text: say(text, quiet),
        )  # fmt: skip
        give(result.to_json(), as_json, lambda: show(result.data))
        if not result.met:
            raise typer.Exit(NOT_MET)
    raise typer.Exit(DONE)


def load(data: str, size: str | None, resize: str | None, seed: int, normalize: str | None = None) -> Any:
    """The images, at the size that was asked for."""
    from ..data import load_data
    from ..errors import UsageError

    wanted: tuple[int, int] | None = None
    if size is not None:
        parts = size.lower().split("x")
        if len(parts) > 2 or not all(p.isdigit() and 0 < int(p) <= 4096 for p in parts):
            raise UsageError(f"size {size!r} is not understood; write 96 or 96x128 (height x width, at most 4096)")
        wanted = (int(parts[0]), int(parts[-1]))
    return load_data(data, size=wanted, resize=resize, seed=seed, normalize=normalize or "z_score")


def show(data: dict[str, Any]) -> None:
    """The verdict for people."""
    from rich.console import Console
    from rich.table import Table

    from ..units import show_bytes, show_count, show_seconds

    old, new, test, gain = data["baseline"], data["best"], data["test"], data["speedup"]
    table = Table(title=f"{data['name']}: {'within the budget' if data['budget']['met'] else 'BUDGET NOT MET'}")
    for column in ("", "baseline", "danlu", ""):
        table.add_column(column, justify="left" if not column else "right", overflow="fold")
    table.add_row("network", old["recipe"], f"{new['recipe']} ({new['precision']})", "")
    low, high = (100 * v for v in test["interval"])
    change = f"{100 * test['difference']:+.1f} points [{low:+.1f}, {high:+.1f}]"
    table.add_row(
        f"accuracy on {test['n']} test images", f"{100 * old['accuracy']:.1f} %", f"{100 * new['accuracy']:.1f} %", change
    )
    table.add_row("file", show_bytes(old["size_bytes"]), show_bytes(new["size_bytes"]), f"{gain['size']:.1f}x smaller")
    table.add_row("latency", f"{old['latency_ms']:.3g} ms", f"{new['latency_ms']:.3g} ms", f"{gain['latency']:.1f}x faster")
    table.add_row("MACs", show_count(old["macs"]), show_count(new["macs"]), f"{gain['macs']:.1f}x fewer")
    console = Console()
    console.print(table)
    if data["budget"]["in_the_way"]:
        console.print(f"In the way: {data['budget']['in_the_way']}", markup=False)
    console.print(f"{show_seconds(data['seconds'])}. Model: {new['file']}", markup=False)
    if new.get("onnx", new["file"]) != new["file"]:
        console.print(f"What it unpacks to, and what the accuracy and latency are of: {new['onnx']}", markup=False)
    console.print(f"Report: {data['run']}/report.html", markup=False)
