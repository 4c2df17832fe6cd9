"""Apply a chain of edits to a trained model, fine-tune after each step that needs it, and measure every step in real bytes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from torch import nn

from ..codec import Saved, load_saved, save
from ..data import Source, load_data
from ..deploy import calibration_batches, int8_report, predict, quantize_int8
from ..edits import edit, parse
from ..encodings import settled
from ..errors import UsageError
from ..files import replacing, write_json
from ..runs import Run
from ..train import TrainConfig
from .chain import Editor, Progress, walk
from .measure import latencies
from .shipped import recipe_of, ship
from .trainer import Teacher, settings


def compress(
    model: str | Path,
    data: str | Path,
    edits: str,
    *,
    seconds: float | None = None,
    epochs: int | None = None,
    lr: float | None = None,
    int8: bool = True,
    trust: bool = False,
    out: str | Path = "runs",
    resume: str | Path | None = None,
    seed: int = 0,
    device: str = "cpu",
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Edit the saved `model` by the recipe `edits`, fine-tuned with its old self as teacher; pack, export and compare.

    `seconds` or `epochs` (0 for none) of fine-tuning are split evenly over the steps that need it: those that change what the
    net computes. `lr` is the rate where SGD is used. `resume` goes on with an interrupted run folder, at the step it was at.

    Returns the steps (name, accuracy on validation of the file, size_bytes of the ONNX file and danlu_bytes of the .danlu
    file, latency_ms, macs, params), the layers kept with the reason, and the files. The accuracy of a step is that of the ONNX
    file which its .danlu file unpacks to.
    Raises: UsageError for edits that do not apply or data of other classes.
    """
    saved = load_saved(model, trust=trust)
    source = load_data(data, seed=seed).with_input(saved.input)
    if source.classes != saved.classes:
        raise UsageError(f"the model knows the classes {list(saved.classes)[:8]}, the data has {list(source.classes)[:8]}")
    calls, editor = parse(edits), Editor(source, seed, device, log)
    editor.check(calls, saved.recipe)
    trained = seconds is not None or bool(epochs)
    wants = editor.rehearse(saved.model, calls, trained=trained)
    with Run(started(resume, edits)) if resume is not None else Run.create(out, f"{source.name}-compressed") as run:
        run.write_config({"verb": "compress", "model": str(model), "data": str(data), "edits": edits, "seed": seed,
                          "seconds": seconds, "epochs": epochs, "lr": lr, "int8": int8, "device": device,
                          "trust": trust})  # fmt: skip
        work = run.path / "steps"
        work.mkdir(exist_ok=True)
        teacher = Teacher(edit(saved.model, "fold_bn").model, source.input.size).eval().requires_grad_(False)

        def as_rows(k: int, name: str, net: nn.Module, before: bool) -> list[dict[str, Any]]:
            if before and not settled(net):
                return []  # a gradual step has done nothing yet
            return [step_row(name, net, work / f"{k}{'-before' if before else ''}", source)]

        budget = split(wants, saved, source, seconds, epochs, seed) if trained else None
        if not (work / "first.json").exists():
            write_json(work / "first.json", step_row("before", saved.model, work / "first", source))
        net, progress = walk(
            saved.model, edits, wants if trained else [False] * len(calls), work, editor, teacher,
            budget or (lambda k: None), as_rows, lr,
        )  # fmt: skip
        return finish(run, net, source, progress, int8=int8)


def started(resume: str | Path, edits: str) -> Path:
    """The folder of an interrupted run of the same chain. Raises UsageError when it is none."""
    path = Path(resume)
    file = path / "config.yaml"
    config = yaml.safe_load(file.read_text()) if file.exists() else None
    if not isinstance(config, dict) or config.get("verb") != "compress":
        raise UsageError(f"{path} is not a run of compress")
    if (path / "result.json").exists():
        raise UsageError(f"the run {path} is finished; its result is in {path / 'result.json'}")
    if config["edits"] != edits:
        raise UsageError(f"{path} runs {config['edits']!r}, not {edits!r}; a resumed run keeps its edits")
    return path


def split(
    wants: list[bool], saved: Saved, source: Source, seconds: float | None, epochs: int | None, seed: int
) -> Callable[[int], TrainConfig]:
    """How long each step is fine-tuned: an equal part of the seconds, or of the steps that the epochs have."""
    count = max(sum(wants), 1)
    if seconds is not None:
        return lambda k: TrainConfig(seconds=seconds / count, seed=seed)
    if count == 1:
        return lambda k: TrainConfig(epochs=epochs, seed=seed)
    batch = settings(saved.model, len(source.train), TrainConfig(steps=1), pruned=True).batch(len(source.train))
    steps = max(1, (epochs or 0) * max(1, len(source.train) // batch) // count)
    return lambda k: TrainConfig(steps=steps, seed=seed)


def step_row(name: str, net: nn.Module, stem: Path, source: Source) -> dict[str, Any]:
    """One step, packed, unpacked, exported and evaluated."""
    done = ship(net, stem, source, recipe_of(net), danlu=True)
    return {"name": name, "recipe": recipe_of(net), "accuracy": done.accuracy, "size_bytes": done.onnx.stat().st_size,
            "danlu_bytes": done.size_bytes, "macs": done.macs, "params": done.params, "onnx": str(done.onnx)}  # fmt: skip


def finish(run: Run, net: nn.Module, source: Source, progress: Progress, *, int8: bool) -> dict[str, Any]:
    """Quantise if wanted, time all files in one interleaved run, and put the result at the top of the run folder."""
    work, kept = run.path / "steps", list(progress.kept)
    rows = [json.loads((work / "first.json").read_text()), *progress.rows]
    last = Path(rows[-1]["onnx"])
    packed = last.with_suffix(".danlu")
    if int8:
        small = quantize_int8(last, work / "int8.onnx", calibration_batches(source.train, source.input))
        kept += [{"what": f"int8: {name}", "why": why} for name, why in int8_report(small).kept]
        accuracy = float((predict(small, source.val).argmax(1) == source.val.labels).mean())
        rows.append(rows[-1] | {"name": "int8", "accuracy": accuracy, "size_bytes": small.stat().st_size, "onnx": str(small),
                                "danlu_bytes": None})  # fmt: skip
    timed = latencies([Path(row["onnx"]) for row in rows], 1, 6.0)
    for row, (median, low, high, ratio) in zip(rows, timed, strict=True):
        row |= {"latency_ms": median, "latency_p10_ms": low, "latency_p90_ms": high, "latency_ratio": ratio}
    if int8:
        fp32, eight = rows[-2], rows[-1]
        worth = eight["size_bytes"] < fp32["size_bytes"] or eight["latency_ms"] < fp32["latency_ms"]
        if worth and fp32["accuracy"] - eight["accuracy"] <= 0.01:
            last = Path(eight["onnx"])
        else:
            kept.append({"what": "int8", "why": "not used: it lost more than a point, or was neither smaller nor faster"})
    for file, name in ((last, "model.onnx"), (packed, "model.danlu")):
        with replacing(run.path / name) as temp:
            shutil.copyfile(file, temp)
    save(net, run.path, input=source.input, classes=source.classes)
    steps = [{key: value for key, value in row.items() if key != "onnx"} for row in rows]
    result = {"run": str(run.path), "file": str(run.path / "model.onnx"), "danlu": str(run.path / "model.danlu"),
              "steps": steps, "kept": kept}  # fmt: skip
    write_json(run.path / "result.json", result)
    shutil.rmtree(work)
    return result
