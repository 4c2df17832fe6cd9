"""danlu score METRIC ... A [B]: metrics of predictions that lie in files, whoever made them."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

if TYPE_CHECKING:
    import numpy as np

    from ..spec import Spec

MOST_ROWS = 20


def run(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="METRIC... A [B]",
            help="Metrics of one kind, with options as in 'top_k(k=5)'; then the predictions A and the truth B: .npy, .npz, .csv "
            "(FILE:NAME picks an array or a column), images or folders. `danlu list metrics` names them.",
        ),
    ],
    features: Annotated[
        Path | None,
        typer.Option(help="Generated images: the network that looks at them, a run folder, .safetensors, .danlu or .onnx."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Layer of that network; what its last linear layer or convolution takes in by default.")
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Also draw the curves (yes or no) or the confusion matrix (classes), into this .html file."),
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once, through the network.")] = 64,
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge predictions in files by any metric: classes, verification, label maps, boxes, images, generated images."""
    with verb():
        check_device(device)
        specs, inputs = parted(words)
        kind = kind_of(specs)
        check(kind, specs, inputs, features, at, plot)
        value: dict[str, Any] = {"kind": kind, "inputs": inputs}
        if kind == "image" and is_folder_or_image(inputs):
            value |= of_images(specs, inputs)
        elif features is not None:
            value |= of_generated(specs, inputs, features, at, device, batch_size, trust, seed)
        else:
            value |= of_arrays(kind, specs, inputs, plot, seed)
        if plot is not None:
            value["plot"] = str(plot)
        say(f"{' and '.join(inputs)}: {value['n']:,} {value['of']}", quiet)
        give(value, as_json, lambda: show(value))


# What was asked for.


def parted(words: Sequence[str]) -> "tuple[list[Spec[Any]], list[str]]":
    """The metrics and the inputs behind them. Raises: UsageError without either, or for more than two inputs."""
    from ..errors import UsageError, unknown
    from ..metrics import metrics
    from ..spec import read

    names = [word.partition("(")[0].strip() for word in words]
    count = next((i for i, name in enumerate(names) if name not in metrics), len(words))
    inputs = list(words[count:])
    if not count:
        raise unknown("metric", names[0], metrics.names())
    if not inputs:
        raise UsageError(f"score {' '.join(words)}: name the predictions too, and the truth where the metric compares")
    if len(inputs) > 2:
        if not Path(inputs[0]).exists():
            raise unknown("metric", names[count], metrics.names())
        raise UsageError(f"predictions and truth are two inputs at most, got {', '.join(inputs)}")
    return [read(metrics, word) for word in words[:count]], inputs


def kind_of(specs: "Sequence[Spec[Any]]") -> str:
    """The one kind of the metrics. Raises: UsageError for more."""
    from ..errors import UsageError

    kinds = {spec.entry.name: str(spec.entry.facts["kind"]) for spec in specs}
    if len(set(kinds.values())) > 1:
        listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
        raise UsageError(f"the metrics of one call are of one kind, got {listed}; ask for each kind alone")
    return next(iter(kinds.values()))


def check(
    kind: str, specs: "Sequence[Spec[Any]]", inputs: Sequence[str], features: Path | None, at: str | None, plot: Path | None
) -> None:
    """Raise UsageError for inputs and options that do not belong together."""
    from ..errors import UsageError
    from ..metrics.pictures import is_picture
    from ..metrics.score import takes
    from ..plot_file import check_plot

    most = max(len(takes(spec.entry)) for spec in specs)
    for spec in specs:
        wanted = takes(spec.entry)
        if len(inputs) < len(wanted):
            raise UsageError(f"{spec.entry.name} compares {' with '.join(wanted)}; got {inputs[0]} alone")
    if len(inputs) > most:
        raise UsageError(f"{specs[0].entry.name} judges {takes(specs[0].entry)[0]} alone; got {' and '.join(inputs)}")
    if features is None and at is not None:
        raise UsageError("--at names a layer of the network of --features; give that too")
    if features is not None and kind != "generate":
        raise UsageError(f"--features is for generated images, {specs[0].entry.name} judges {kind}")
    if features is not None and not all(map(is_picture, inputs)):
        raise UsageError(f"--features looks at folders of images, got {' and '.join(inputs)}")
    if features is None and kind == "generate" and any(map(is_picture, inputs)):
        raise UsageError("images are judged by what a network sees in them: name one with --features, or give features as .npy")
    if plot is not None:
        if kind not in ("classify", "verify"):
            raise UsageError(f"--plot draws curves of verify and the confusion matrix of classify, not {kind}")
        check_plot(plot)


def is_folder_or_image(inputs: Sequence[str]) -> bool:
    """Whether the inputs are images. Raises: UsageError where only one is."""
    from ..errors import UsageError
    from ..metrics.pictures import is_picture

    found = [is_picture(text) for text in inputs]
    if any(found) and not all(found):
        raise UsageError(f"images are compared with images, and arrays with arrays; got {' and '.join(inputs)}")
    return all(found)


# The scores.


def of_arrays(kind: str, specs: "Sequence[Spec[Any]]", inputs: Sequence[str], plot: Path | None, seed: int) -> dict[str, Any]:
    """Scores of arrays and tables, and the plot of them."""
    from ..metrics.files import read_arrays
    from ..metrics.plots import write_confusion, write_curves

    arrays = read_arrays(kind, inputs)
    values = [valued(spec, arrays, seed) for spec in specs]
    if plot is not None:
        write = write_curves if kind == "verify" else write_confusion
        predictions, truth = arrays
        write(predictions, truth, plot, f"{inputs[0]} against {inputs[1]}")
    return {"n": int(arrays[0].size if kind == "segment" else len(arrays[0])), "of": COUNTED[kind], "metrics": values}


COUNTED = {
    "classify": "answers", "verify": "pairs", "segment": "pixels", "detect": "detections", "image": "images",
    "generate": "samples",
}  # fmt: skip


def of_images(specs: "Sequence[Spec[Any]]", inputs: Sequence[str]) -> dict[str, Any]:
    """Scores of each image, and their means; one pair is held in memory at a time."""
    from ..errors import UsageError
    from ..metrics.pictures import decoded, matched
    from ..metrics.score import score, takes

    each: list[dict[str, float]] = [{} for _ in specs]
    for name, paths in matched(inputs).items():
        images = decoded(paths)
        for spec, values in zip(specs, each, strict=True):
            try:
                values[name] = score(spec, *images[: len(takes(spec.entry))])
            except UsageError as error:
                raise UsageError(f"{name}: {error}") from error
    rows = [
        {**described(spec, sum(found.values()) / len(found)), "each": {name: plain(one) for name, one in found.items()}}
        for spec, found in zip(specs, each, strict=True)
    ]
    return {"n": len(each[0]), "of": "images", "metrics": rows}


def of_generated(
    specs: "Sequence[Spec[Any]]", inputs: Sequence[str], model: Path, at: str | None, device: str, batch_size: int, trust: bool,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    """Scores of what a network sees: its outputs for metrics of probabilities, features before them for the others."""
    from ..metrics.features import PENULTIMATE
    from ..metrics.network import network
    from ..metrics.pictures import pictures

    see = network(model, device=device, batch_size=batch_size, trust=trust)
    folders = [list(pictures(text).values()) for text in inputs]
    seen: dict[str, list[Any]] = {}
    values = []
    for spec in specs:
        takes = spec.entry.facts["takes"]
        if takes == "probabilities" and takes not in seen:
            seen[takes] = [see(paths).double().softmax(1) for paths in folders]
        elif takes not in seen:
            seen[takes] = [see(paths, at=at or PENULTIMATE) for paths in folders]
        values.append(valued(spec, seen[takes], seed))
    return {"n": len(folders[0]), "of": "generated images", "features": str(model), "at": at or PENULTIMATE, "metrics": values}


def valued(spec: "Spec[Any]", arrays: "Sequence[np.ndarray]", seed: int) -> dict[str, Any]:
    """The value of one metric; one that draws takes the seed of the call, unless it was written."""
    from ..metrics.score import takes

    return described(spec, float(spec(*arrays[: len(takes(spec.entry))], seed=seed)))


def described(spec: "Spec[Any]", value: float) -> dict[str, Any]:
    """A value with what it is."""
    facts = spec.entry.facts
    options = ", ".join(f"{name}={option!r}" for name, option in spec.options.items())
    return {
        "metric": f"{spec.entry.name}({options})" if options else spec.entry.name, "value": plain(value),
        "higher_is_better": facts["higher_is_better"], "summary": spec.entry.summary,
    }  # fmt: skip


def plain(value: float) -> float | str:
    """JSON knows no infinity, which is the PSNR of equal images: it is written as a word."""
    return value if math.isfinite(value) else str(value)


def show(value: dict[str, Any]) -> None:
    """The values, and the images that are worst."""
    from rich.table import Table
    from rich.text import Text

    from .listing import console

    drawn = Table(box=None, pad_edge=False)
    for title in ("metric", "value", "better", "what it is"):
        drawn.add_column(title, justify="right" if title == "value" else "left", no_wrap=title != "what it is")
    for row in value["metrics"]:
        better = "higher" if row["higher_is_better"] else "lower"
        drawn.add_row(Text(row["metric"], style="bold"), f"{float(row['value']):.6g}", better, Text(row["summary"]))
    out = console()
    out.print(drawn)
    for row in value["metrics"]:
        each = sorted(row.get("each", {}).items(), key=lambda pair: float(pair[1]), reverse=not row["higher_is_better"])
        if len(each) > 1:
            listed = ", ".join(f"{name} {float(one):.4g}" for name, one in each[:MOST_ROWS])
            out.print(f"{row['metric']}, worst first: {listed}{' ...' if len(each) > MOST_ROWS else ''}", markup=False)
    if "plot" in value:
        out.print(f"Plot: {value['plot']}", markup=False)
