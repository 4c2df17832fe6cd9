"""danlu evaluate MODEL DATA: the scores of a trained network, in torch or as an exported file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

if TYPE_CHECKING:
    from ..data import Input, Source
    from ..train import Scores

MOST_ROWS = 20


def run(
    model: Annotated[Path, typer.Argument(help="A run folder, a saved .safetensors, or an .onnx file.")],
    data: Annotated[str, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 256,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of onnxruntime; as many as torch uses if not given.")
    ] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved recipe names.")] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge a model on a split: accuracy with its interval, loss, top-5, precision, recall, F1, calibration, confusion."""
    with verb():
        from ..data.layout import SPLITS
        from ..errors import unknown

        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        check_device(device)
        if model.suffix.lower() == ".onnx":
            source, scores, recipe = of_onnx(model, data, split, batch_size, threads, seed)
        else:
            source, scores, recipe = of_saved(model, data, split, batch_size, trust, seed, device)
        say(f"{source.name}, {split}: {scores.n:,} images", quiet)
        value = {"model": str(model), "recipe": recipe, "data": data, "split": split, **scores.to_json()}
        give(value, as_json, lambda: show(value))


def of_saved(
    model: Path, data: str, split: str, batch_size: int, trust: bool, seed: int, device: str
) -> "tuple[Source, Scores, str]":
    """A saved model, in torch."""
    from ..codec import load_saved
    from ..train import evaluate

    saved = load_saved(model, trust=trust)
    source = images_for(data, saved.input, saved.classes, model, seed)
    return source, evaluate(saved.model, source, split=split, device=device, batch_size=batch_size), saved.recipe


def of_onnx(
    model: Path, data: str, split: str, batch_size: int, threads: int | None, seed: int
) -> "tuple[Source, Scores, str]":  # fmt: skip
    """An exported file, in onnxruntime."""
    from ..deploy import predict, read_metadata
    from ..deploy.metadata import metadata_input
    from ..train import score_logits

    about = read_metadata(model)
    source = images_for(data, metadata_input(about), tuple(about["classes"]), model, seed)
    part = getattr(source, split)
    logits = predict(model, part, threads=threads, batch_size=batch_size)
    return source, score_logits(logits, part.labels, source.classes), str(about["recipe"])


def images_for(data: str, input: "Input", classes: tuple[str, ...], model: Path, seed: int) -> "Source":
    """The images as the model takes them. Raises UsageError when their classes are not the model's."""
    from ..data import load_data
    from ..errors import UsageError

    source = load_data(data, size=input.size, resize=input.resize, channels=input.channels, seed=seed)
    if source.classes != classes:
        raise UsageError(f"{model} knows the classes {list(classes)[:8]}, the data has {list(source.classes)[:8]}")
    return source.with_input(input)


def show(value: dict[str, Any]) -> None:
    """The scores, and the classes that are hardest."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    low, high = (100 * v for v in value["interval"])
    table = Table(title=f"{value['model']} on {value['split']}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("accuracy", f"{100 * value['accuracy']:.2f} %  [{low:.2f}, {high:.2f}]")
    if "top5" in value:
        table.add_row("top-5 accuracy", f"{100 * value['top5']:.2f} %")
    table.add_row("loss", f"{value['loss']:.4f}")
    for name in ("macro_precision", "macro_recall", "macro_f1"):
        table.add_row(name.replace("macro_", "mean ").replace("f1", "F1"), f"{100 * value[name]:.2f} %")
    table.add_row("calibration error", f"{100 * value['ece']:.2f} %")
    table.add_row("images", f"{value['n']:,}")
    console.print(table)
    recall = {name: share for name, share in value["per_class_recall"].items() if share is not None}
    worst = sorted(recall, key=lambda name: recall[name])[:MOST_ROWS]
    console.print("hardest classes: " + ", ".join(f"{name} {100 * recall[name]:.1f} %" for name in worst[:5]), markup=False)
