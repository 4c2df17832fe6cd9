"""danlu train RECIPE DATA: train one network, into a run folder that can be resumed."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, check_device, give, say, verb

if TYPE_CHECKING:
    from torch import nn

    from ..data import Source
    from ..train import TrainConfig

EXAMPLE = "danlu train resnet20 photos/ --time 5m"
Show = Callable[[str], None]


def option(default: str, text: str, *names: str, **limits: Any) -> Any:
    """A training setting; left out it takes the default of TrainConfig, or with --resume the value of the run."""
    return typer.Option(*names, help=text, show_default=default, **limits)


def run(
    recipe: Annotated[str | None, typer.Argument(help="The network: a recipe, module:function or timm:NAME.")] = None,
    data: Annotated[str | None, typer.Argument(help="Folder or archive of class folders, CSV, IDX, .npz, or `digits`.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Train for this many passes over the data.")] = None,
    time: Annotated[str | None, typer.Option(help="Train for this long, validation included: 90s, 5m, 2h.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Train for this many steps.")] = None,
    batch_size: Annotated[str | None, option("128", "Images a step, or all.")] = None,
    grow_batch: Annotated[
        bool | None, option("False", "The batch grows instead of the rate falling.", "--grow-batch/--no-grow-batch")
    ] = None,
    optimizer: Annotated[str | None, option("sgd", "With options: 'adam(beta2=0.99)'; see `danlu list optimizers`.")] = None,
    lr: Annotated[float | None, option("by optimizer and batch size", "Highest learning rate.")] = None,
    scaling: Annotated[
        str | None, option("auto", "How the rate grows with the batch, from that of 128 images: linear, sqrt, none.")
    ] = None,
    rates: Annotated[
        str | None, option("1", "Factors on the rate by parameter name, 0 freezes, the last match counts: '*=0,fc.*=10'.")
    ] = None,
    bias_rate: Annotated[float | None, option("1.0", "One more factor on the rate of biases (Caffe: 2).")] = None,
    head_first: Annotated[float | None, option("0.0", "Share of the training in which the last layer learns alone.")] = None,
    momentum: Annotated[float | None, option("0.9", "Momentum of sgd, momentum, nesterov and kfac.")] = None,
    nesterov: Annotated[bool | None, option("nesterov", "Nesterov momentum.", "--nesterov/--no-nesterov")] = None,
    weight_decay: Annotated[float | None, option("0.0005", "On weights, not on biases and normalisation.")] = None,
    schedule: Annotated[str | None, option("cosine", "With options: 'step(period=0.3)'; see `danlu list schedules`.")] = None,
    warmup: Annotated[float | None, option("0.05", "Linear warm-up: below 1 a share of the training, from 1 steps.")] = None,
    period: Annotated[float | None, option("0.333", "Share of the training between two falls (step, exponential).")] = None,
    gamma: Annotated[float | None, option("0.1", "Factor at each fall (step, multistep, exponential).")] = None,
    milestones: Annotated[str | None, option("0.5,0.75", "Shares of the training at which the rate falls (multistep).")] = None,
    power: Annotated[float | None, option("1.0", "Power of poly and inverse.")] = None,
    loss: Annotated[str | None, option("cross_entropy", "With options: 'focal(gamma=2)'; see `danlu list losses`.")] = None,
    init: Annotated[
        str | None, option("the net's own", "Draw the weights so: he, 'normal(std=0.01)'; see `danlu list inits`.")
    ] = None,
    regularize: Annotated[str | None, option("none", "A chain: 'l1(strength=1e-5) | max_norm(limit=3)'.")] = None,
    mix: Annotated[str | None, option("none", "A chain: 'mixup(alpha=0.2) | cutout(size=8)'.")] = None,
    label_smoothing: Annotated[float | None, option("0.0", "Share of the target spread over all classes.")] = None,
    ema: Annotated[float | None, option("0.0", "Decay of an average of the weights, kept in their place; 0 is off.")] = None,
    patience: Annotated[int | None, option("0", "Stop after this many validations without a better one; 0 is off.")] = None,
    snapshots: Annotated[int | None, option("0", "Run the schedule so many times, keep the net of each; 0 is off.")] = None,
    clip: Annotated[float | None, option("0.0", "Largest norm of the gradient; 0 is off.")] = None,
    augment: Annotated[str | None, option("auto", "Parts such as crop+flip+rotate; see `danlu list augmentations`.")] = None,
    precision: Annotated[str | None, option("auto", "fp32, bf16, or auto: the fastest here.")] = None,
    memory_format: Annotated[str | None, option("auto", "nchw, channels_last, or auto: the fastest here.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Distil from this run folder or saved model.")] = None,
    temperature: Annotated[float | None, option("4.0", "Temperature of distillation.")] = None,
    alpha: Annotated[float | None, option("0.9", "Weight of the teacher's part of the loss.")] = None,
    weights: Annotated[str | None, typer.Option(help="Start from this file: .safetensors or .pth.")] = None,
    weights_partial: Annotated[
        bool, typer.Option("--weights-partial", help="Of --weights take what fits by name and shape, and say what does not.")
    ] = False,
    size: Annotated[
        str | None, typer.Option(help="Input size in pixels, 96 or 96x128; chosen from the images if not given.")
    ] = None,
    resize: Annotated[str | None, typer.Option(help="stretch or short_side_crop; chosen from the images if not given.")] = None,
    normalize: Annotated[
        str | None, typer.Option(help="Of the images: z_score if not given; see `danlu list normalizations`.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder that run folders are made in.")] = Path("runs"),
    resume: Annotated[Path | None, typer.Option(help="Continue this run folder; a larger budget extends it.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the module:function that a saved teacher names.")] = False,
    seed: Annotated[int | None, option("0", "Seed of splits, weights, shuffling and augmentation.", min=0)] = None,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on your images. Ctrl-C and kill leave a run folder that --resume continues."""
    with verb():
        from ..errors import UsageError
        from ..units import parse_seconds

        given = {
            "epochs": epochs, "seconds": parse_seconds(time) if time else None, "steps": steps,
            "batch_size": images(batch_size) if batch_size is not None else None, "grow_batch": grow_batch, "scaling": scaling,
            "bias_rate": bias_rate, "head_first": head_first,
            "optimizer": optimizer, "lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay,
            "rates": factors(rates) if rates is not None else None,
            "schedule": schedule, "warmup": warmup, "period": period, "gamma": gamma,
            "milestones": shares(milestones) if milestones else None, "power": power, "loss": loss,
            "init": init, "regularize": regularize, "mix": mix, "label_smoothing": label_smoothing,
            "ema": ema, "patience": patience, "snapshots": snapshots, "clip": clip, "augment": augment, "precision": precision,
            "memory_format": memory_format, "temperature": temperature, "alpha": alpha, "seed": seed,
        }  # fmt: skip
        settings = {name: value for name, value in given.items() if value is not None}
        about = {
            "recipe": recipe, "data": data, "teacher": teacher, "weights": weights, "weights_partial": weights_partial or None,
            "size": size, "resize": resize, "normalize": normalize,
        }  # fmt: skip
        if weights_partial and weights is None:
            raise UsageError("--weights-partial says how to take the file of --weights, and there is none")
        if resume is None:
            if recipe is None or data is None:
                raise UsageError(f"say which network and which images: {EXAMPLE}")
            if not settings.keys() & {"epochs", "seconds", "steps"}:
                raise UsageError(f"say how long, with --epochs, --time or --steps: {EXAMPLE}")
        else:
            about, settings = stored(resume, about, settings)
        check_device(device)
        from ..train import TrainConfig

        config = TrainConfig.from_json(settings)
        value = train(about, config, out, resume, trust, device, lambda text: say(text, quiet), quiet)
        give(value, as_json, lambda: summary(value))


def train(
    about: dict[str, Any], config: "TrainConfig", out: Path, resume: Path | None, trust: bool, device: str, log: Show, quiet: bool
) -> dict[str, Any]:  # fmt: skip
    """Load, build, fit, save; the answer of the verb."""
    from ..codec import save
    from ..runs import Run
    from ..train import fit
    from ..zoo import create, load_weights
    from .optimize import load

    source: Source = load(about["data"], about["size"], about["resize"], config.seed, about["normalize"])
    net = create(about["recipe"], num_classes=len(source.classes), in_channels=source.input.channels, seed=config.seed)
    loaded = None
    if about["weights"] and resume is None:
        loaded = load_weights(net, about["weights"], partial=bool(about["weights_partial"]))
        log(f"weights: {loaded}")
    known = teacher_for(source, about["teacher"], trust) if about["teacher"] else None
    with Run.create(out, source.name) if resume is None else Run(resume) as folder:
        folder.write_config({"verb": "train", **about, "config": config.to_json(), "device": device})
        with screen(quiet, log) as (show, on_step):

            def speak(text: str) -> None:
                folder.log(text)
                show(text)

            def on_epoch(row: dict[str, Any]) -> None:
                folder.metric(**row)
                speak(line(row))

            speak(f"{source.name}: {len(source.train):,} + {len(source.val):,} images, input {source.input.shape}; {folder.path}")
            done = fit(
                net, source, config, run=folder.path, teacher=known, resume=resume is not None, device=device,
                on_epoch=on_epoch, on_step=on_step, log=speak,
            )  # fmt: skip
        file = save(done.model, folder.path, input=source.input, classes=source.classes)
        return {
            "run": str(folder.path), "file": str(file), "recipe": str(done.model.danlu_recipe),
            "val_accuracy": done.best_accuracy, "steps": done.steps, "epochs": done.steps / done.plan.per_epoch,
            "seconds": done.seconds, "stopped_early": done.stopped_early, "tune": done.tune.to_json(),
            "history": done.history, **({"weights": loaded.to_json()} if loaded else {}),
        }  # fmt: skip


def stored(path: Path, about: dict[str, Any], settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a run was started with, changed by what was given now. Raises UsageError when the folder is not such a run."""
    import yaml

    from ..errors import UsageError

    file = path / "config.yaml"
    found = yaml.safe_load(file.read_text()) if file.is_file() else None
    if not isinstance(found, dict) or found.get("verb") != "train":
        raise UsageError(f"{path} is not the folder of a training: it has no config.yaml of one")
    old = {name: found.get(name) for name in about}  # older runs do not have all of them
    for name, value in about.items():
        if value is not None and value != old[name]:
            raise UsageError(f"the run {path} has {name} {old[name]!r}; --resume cannot change it to {value!r}")
    config = dict(found["config"])
    if settings.keys() & {"epochs", "seconds", "steps"}:
        config |= {"epochs": None, "seconds": None, "steps": None}
    return old, config | settings


def teacher_for(source: "Source", path: str, trust: bool) -> "nn.Module":
    """A saved model as a teacher for these images. Raises UsageError when it knows other classes or channels."""
    from ..codec import load_saved
    from ..errors import UsageError
    from ..train.teacher import Teacher

    saved = load_saved(path, trust=trust)
    if saved.classes != source.classes:
        raise UsageError(
            f"the teacher {path} knows the classes {list(saved.classes)[:8]}, the data has {list(source.classes)[:8]}"
        )
    return Teacher(saved.model, saved.input, source.input)


def images(text: str) -> int | str:
    """ "64" -> 64; "all" stays. What it is worth, the settings say."""
    return int(text) if text.isdecimal() else text


def shares(text: str) -> tuple[float, ...]:
    """ "0.5,0.75" -> (0.5, 0.75)."""
    from ..errors import UsageError

    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"milestones {text!r} not understood; write shares of the training, e.g. 0.5,0.75") from None


def factors(text: str) -> dict[str, float]:
    """ "*=0,fc.*=10" -> {"*": 0.0, "fc.*": 10.0}."""
    from ..errors import UsageError

    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        pattern, _, factor = part.rpartition("=")
        try:
            found[pattern.strip()] = float(factor)
        except ValueError:
            pattern = ""
        if not pattern.strip():
            raise UsageError(f"rates {text!r} not understood; write pattern=factor, e.g. '*=0,fc.*=10'") from None
    return found


def line(row: dict[str, Any]) -> str:
    """A row of the history for people."""
    return (
        f"epoch {row['epoch']:g}  step {row['step']:,}  loss {row['train_loss']:.4f}, validation {row['val_loss']:.4f}  "
        f"accuracy {100 * row['train_accuracy']:.1f} %, validation {100 * row['val_accuracy']:.1f} %  "
        f"{row['images_per_second']:,.0f} images/s"
    )


@contextlib.contextmanager
def screen(quiet: bool, log: Show) -> Iterator[tuple[Show, Callable[[int, int], None] | None]]:
    """How to show a line and a step: with a bar below the lines on a terminal, lines alone elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield log, None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("steps", total=None)

        def show(text: str) -> None:
            bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

        yield show, lambda step, total: bar.update(task, completed=step, total=total)


def summary(value: dict[str, Any]) -> None:
    """The verdict for people."""
    from ..units import show_seconds

    tune = value["tune"]
    print(
        f"{value['recipe']}: {100 * value['val_accuracy']:.2f} % on validation after {value['epochs']:.3g} epochs, "
        f"{show_seconds(value['seconds'])} ({tune['precision']}, {tune['memory_format']})"
    )
    print(f"Model: {value['file']}")
