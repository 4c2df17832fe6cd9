"""danlu exits MODEL DATA: set the thresholds of a trained net with early exits, and export it so that it stops at the exit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

if TYPE_CHECKING:
    from ..deploy.thresholds import ExitReport


def run(
    model: Annotated[Path, typer.Argument(help="A run folder or a saved model of a net with exits (add_exits), trained.")],
    data: Annotated[str, typer.Argument(help="The images: thresholds are chosen on val, and judged on test.")],
    max_drop: Annotated[
        float, typer.Option(help="Accuracy on val that may be lost against the last exit: 0.001 is 0.1 points.")
    ] = 0.0,
    out: Annotated[Path | None, typer.Option(help="Folder for the results; exits/ in the model's own if not given.")] = None,
    segments: Annotated[bool, typer.Option("--segments", help="Also write one ONNX file per exit.")] = False,
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Set the thresholds of early exits for a drop of accuracy; report exit rates and latency; export with If nodes."""
    with verb():
        from ..codec import load_saved, save
        from ..deploy import export_exits, export_onnx, export_segments
        from ..deploy.exits import with_exits
        from ..deploy.thresholds import calibrate_exits, race_exits, report_exits, score_exits
        from ..errors import UsageError
        from .evaluate import images_for

        check_device(device)
        if not -1 < max_drop < 1:
            raise UsageError(f"--max-drop is a share between -1 and 1, such as 0.005 for half a point; got {max_drop}")
        saved = load_saved(model, trust=trust)
        with_exits(saved.model)
        source = images_for(data, saved.input, saved.classes, model, seed)
        folder = out or (model if model.is_dir() else model.parent) / "exits"
        say(f"{source.name}: choosing thresholds on {len(source.val):,} images ...", quiet)
        new, report = calibrate_exits(saved.model, source, max_drop=max_drop)
        facts: dict[str, Any] = {"input": saved.input, "classes": saved.classes}
        save(new, folder, **facts)
        files = [export_exits(new, folder / "model.onnx", recipe=saved.recipe, **facts)]
        if segments:
            files += export_segments(new, folder / "segments", recipe=saved.recipe, **facts)
        whole = export_onnx(new.plain(), folder / "no_exits.onnx", recipe=saved.recipe, **facts)
        speed = race_exits(files[0], whole, source)
        reports = [report]
        if len(source.test):
            reports.append(report_exits(new, score_exits(new, source, split="test"), report.exit_ms, "test"))
        value = {
            "model": str(model), "recipe": saved.recipe, "data": data, "max_drop": max_drop,
            "thresholds": list(report.thresholds), "splits": {r.split: r.to_json() for r in reports},
            "speed": speed.to_json(), "files": [str(file) for file in files],
        }  # fmt: skip
        give(value, as_json, lambda: show(value, reports))


def show(value: dict[str, Any], reports: "list[ExitReport]") -> None:
    """One row an exit, and what it comes to."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    for report in reports:
        table = Table(title=f"{report.split}, {report.n:,} images")
        for column in ("exit", "threshold", "leave here", "accuracy if all did", "ms"):
            table.add_column(column, justify="right")
        for i, rate in enumerate(report.rates):
            threshold = f"{report.thresholds[i]:.4f}" if i < len(report.thresholds) else ""
            row = (f"{100 * rate:.2f} %", f"{100 * report.accuracies[i]:.2f} %", f"{report.exit_ms[i]:.4g}")
            table.add_row(str(i + 1), threshold, *row)
        console.print(table)
        drop = 100 * (report.accuracy - report.accuracies[-1])
        console.print(f"accuracy {100 * report.accuracy:.2f} % ({drop:+.2f} points against the last exit)")
    speed = value["speed"]
    console.print(
        f"mean latency at batch 1: {speed['mean_ms']:.4g} ms, {speed['times_faster']:.2f}x faster than the net without exits "
        f"({speed['whole_ms']:.4g} ms)"
    )
    console.print("Files: " + ", ".join(value["files"]), markup=False)
