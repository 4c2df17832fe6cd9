"""danlu evaluate MODEL... [DATA]: the scores of trained networks, in torch or as exported files, alone or together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, check_device, give, say, verb

if TYPE_CHECKING:
    from ..data import Input, Source
    from ..train import Scores
    from ..train.crops import Crops
    from ..train.members import Member

MOST_ROWS = 20
MODELS = (".safetensors", ".onnx", ".danlu")


def run(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL... [DATA]",
            help="Run folders, .safetensors, .danlu or .onnx files; several answer together. Then the images: a folder or "
            "archive of class folders, CSV, IDX, .npz, or `digits`; without them, those that the runs learned from.",
        ),
    ],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    crops: Annotated[int, typer.Option(help="Crops of each image: 5, 10, k*k, or 2*k*k with mirror images.")] = 1,
    scale: Annotated[
        float | None, typer.Option(help="Side of the image over that of the input, e.g. 1.15; 8/7 for several crops.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Show the network the whole image at --scale, without cropping.")
    ] = False,
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
    """Judge a model on a split: accuracy with its interval, loss, top-5, precision, recall, F1, calibration, confusion.

    Several models, or several crops of each image, are averaged by their probabilities, and compared with the first model alone.
    """
    with verb():
        from ..data.layout import SPLITS
        from ..errors import UsageError, unknown
        from ..train.crops import Crops

        if split not in SPLITS:
            raise unknown("split", split, SPLITS)
        how = Crops(crops, scale, whole)
        check_device(device)
        data = None if is_model(words[-1]) else words[-1]
        models = [Path(word) for word in (words if data is None else words[:-1])]
        if not models:
            raise UsageError(f"say which model to judge: {data} is neither a run folder nor a {' or '.join(MODELS)} file")
        if data is None:
            data, seed = learned_from(models)
            say(f"images: {data}, split as in training (seed {seed})", quiet)
        if len(models) > 1 or not how.plain:
            found = several(models, data, split, how, batch_size, threads, trust, seed, device, quiet)
            give(found, as_json, lambda: show_several(found))
            return
        (model,) = models
        if model.suffix.lower() == ".onnx":
            source, scores, recipe = of_onnx(model, data, split, batch_size, threads, seed)
        else:
            source, scores, recipe = of_saved(model, data, split, batch_size, trust, seed, device)
        say(f"{source.name}, {split}: {scores.n:,} images", quiet)
        value = {"model": str(model), "recipe": recipe, "data": data, "split": split, **scores.to_json()}
        give(value, as_json, lambda: show(value))


def is_model(word: str) -> bool:
    """Whether a word names a network: a run folder, or a file of one."""
    path = Path(word)
    return path.suffix.lower() in MODELS or (path / "model.json").is_file()


def learned_from(runs: list[Path]) -> tuple[str, int]:
    """The images that all of these runs learned from, and the seed that split them.

    Raises: UsageError for what is no run folder, and for runs of different images or splits.
    """
    import yaml

    from ..errors import UsageError

    found: list[tuple[str, int]] = []
    for run in runs:
        file = run / "config.yaml"
        read = yaml.safe_load(file.read_text()) if file.is_file() else None
        about: dict[str, Any] = read if isinstance(read, dict) else {}
        settings = about.get("config")
        data, seed = about.get("data"), (settings if isinstance(settings, dict) else about).get("seed")
        if not isinstance(data, str) or not isinstance(seed, int):
            raise UsageError(f"{run} does not say which images it learned from; name them last: danlu evaluate MODEL... DATA")
        found.append((data, seed))
    for run, (data, seed) in zip(runs, found, strict=True):
        if (data, seed) != found[0]:
            raise UsageError(
                f"{runs[0]} learned from {found[0][0]} with seed {found[0][1]}, {run} from {data} with seed {seed}: name the "
                f"images last; with other splits, some may have been trained on"
            )
    return found[0]


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


def several(
    models: list[Path], data: str, split: str, crops: "Crops", batch_size: int, threads: int | None, trust: bool, seed: int,
    device: str, quiet: bool,
) -> dict[str, Any]:  # fmt: skip
    """Models and crops together, and each way alone, with what it costs."""
    import torch

    from ..train.ensemble import together

    found = [member_of(model, threads, trust, device) for model in models]
    source = images_for(data, found[0][0].input, found[0][2], models[0], seed)
    for model, (_, _, classes) in zip(models, found, strict=True):
        check_classes(classes, source, model)
    members = [member for member, _, _ in found]
    say(f"{source.name}, {split}: {len(getattr(source, split).labels):,} images, {len(models)} model(s), {crops} ...", quiet)
    if crops.mirrored and not source.flip:
        say("danlu: a mirror image of these classes may be of another class; --crops 5 or k*k leaves mirror images out")
    rows = together(members, source, split=split, crops=crops, batch_size=batch_size)
    size = members[0].input.size
    return {
        "models": [str(model) for model in models], "recipes": [recipe for _, recipe, _ in found], "data": data, "split": split,
        "crops": crops.count, "image": list(crops.resized(size)), "input": list(crops.fed(size)),
        "threads": threads or torch.get_num_threads(), "rows": [row.to_json() for row in rows], **rows[-1].scores.to_json(),
    }  # fmt: skip


def member_of(model: Path, threads: int | None, trust: bool, device: str) -> "tuple[Member, str, tuple[str, ...]]":
    """A model with its recipe and its classes."""
    from ..train.members import of_model, of_onnx

    if model.suffix.lower() == ".onnx":
        from ..deploy import read_metadata

        about = read_metadata(model)
        return of_onnx(model, threads), str(about["recipe"]), tuple(about["classes"])
    from ..codec import load_saved

    saved = load_saved(model, trust=trust)
    return of_model(str(model), saved.model, saved.input, device), saved.recipe, saved.classes


def images_for(data: str, input: "Input", classes: tuple[str, ...], model: Path, seed: int) -> "Source":
    """The images as the model takes them. Raises UsageError when their classes are not the model's."""
    from ..data import load_data

    source = load_data(data, size=input.size, resize=input.resize, channels=input.channels, seed=seed)
    check_classes(classes, source, model)
    return source.with_input(input)


def check_classes(classes: tuple[str, ...], source: "Source", model: Path) -> None:
    """Raise UsageError when the classes of the images are not the model's."""
    from ..errors import UsageError

    if source.classes != classes:
        raise UsageError(f"{model} knows the classes {list(classes)[:8]}, the data has {list(source.classes)[:8]}")


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


def show_several(value: dict[str, Any]) -> None:
    """Each way to judge: accuracy, what it gains over the first, what it costs."""
    from rich.table import Table

    from .listing import console

    screen = console()
    table = Table(title=f"{value['n']:,} images of {value['split']}", box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for column in ("accuracy %", "95 %", "gain in points", "ms", "times"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in value["rows"]:
        low, high = (100 * v for v in row["interval"])
        gain = "" if row["difference"] is None else "{:+.2f} [{:+.1f}, {:+.1f}]".format(*(100 * v for v in row["difference"]))
        cells = (f"{100 * row['accuracy']:.2f}", f"{low:.1f} .. {high:.1f}", gain, f"{row['ms']:.3g}", f"{row['times']:.2f}")
        table.add_row(row["name"], *cells)
    screen.print(table)
    screen.print(f"Gain and times are over the first line; ms of a single image, {value['threads']} thread(s).", markup=False)
