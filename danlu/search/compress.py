"""Apply a chain of edits to a trained model, fine-tune with the untouched model as teacher, export, and measure every step."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..codec import load_saved, save
from ..data import batches, load_data
from ..deploy import calibration_batches, export_onnx, int8_report, predict, quantize_int8
from ..edits import edit, parse
from ..edits.chain import check
from ..errors import UsageError
from ..files import replacing, write_json
from ..runs import Run
from ..train import TrainConfig, fit
from .measure import count, latencies
from .trainer import Teacher, has_norm, settings


def compress(
    model: str | Path,
    data: str | Path,
    edits: str,
    *,
    seconds: float | None = None,
    epochs: int | None = None,
    lr: float | None = 0.01,
    int8: bool = True,
    trust: bool = False,
    out: str | Path = "runs",
    seed: int = 0,
    device: str = "cpu",
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Edit the saved `model` by the recipe `edits`; fine-tune for `seconds` or `epochs` (0 for none); export; compare.

    Returns the steps (name, accuracy on validation of the exported file, size_bytes, latency_ms, macs, params), the layers
    kept with the reason, and the file. Raises: UsageError for edits that do not apply or data of other classes.
    """
    saved = load_saved(model, trust=trust)
    source = load_data(data, seed=seed).with_input(saved.input)
    if source.classes != saved.classes:
        raise UsageError(f"the model knows the classes {list(saved.classes)[:8]}, the data has {list(source.classes)[:8]}")
    example = torch.zeros(1, *source.input.shape)

    def feed() -> Iterator[tuple[Tensor, Tensor]]:
        return batches(source.train, source.input, 64, shuffle=True, seed=seed)

    check(parse(edits), {"example": example, "batches": feed}, saved.recipe)
    with Run.create(out, f"{source.name}-compressed") as run:
        run.write_config({"verb": "compress", "model": str(model), "data": str(data), "edits": edits, "seed": seed,
                          "seconds": seconds, "epochs": epochs, "lr": lr})  # fmt: skip
        files: list[tuple[str, Path, nn.Module]] = []

        def export(name: str, net: nn.Module) -> None:
            file = run.path / f"{len(files)}.onnx"
            recipe = getattr(net, "danlu_recipe", saved.recipe)
            files.append((name, export_onnx(net, file, input=source.input, classes=source.classes, recipe=recipe), net))

        export("before", saved.model)
        net, kept = saved.model, []
        for step in parse(edits):
            outcome = edit(net, str(step), example=example, batches=feed)
            net = outcome.model
            kept += [{"what": f"{step.name}: {name}", "why": why} for name, why in outcome.kept]
            log(f"{step}: {outcome}")
            export(str(step), net)
        if epochs != 0 or seconds is not None:
            config = settings(net, len(source.train), TrainConfig(seconds=seconds, epochs=epochs, seed=seed), pruned=True)
            config = replace(config, lr=lr) if lr is not None and has_norm(net) else config
            teacher = Teacher(edit(saved.model, "fold_bn").model, source.input.size).eval().requires_grad_(False)
            net = fit(net, source, config, run=run.path, teacher=teacher, device=device, log=log).model
            export("fine-tuned with distillation", net)
        last = files[-1][1]
        if int8:
            small = quantize_int8(last, run.path / "int8.onnx", calibration_batches(source.train, source.input))
            kept += [{"what": f"int8: {name}", "why": why} for name, why in int8_report(small).kept]
            files.append(("int8", small, net))
        timed = latencies([file for _, file, _ in files], 1, 6.0)
        steps: list[dict[str, Any]] = []
        for (name, file, at), (median, low, high, ratio) in zip(files, timed, strict=True):
            macs, params = count(at, source.input)
            accuracy = float((predict(file, source.val).argmax(1) == source.val.labels).mean())
            steps.append({"name": name, "accuracy": accuracy, "size_bytes": file.stat().st_size, "latency_ms": median,
                          "latency_p10_ms": low, "latency_p90_ms": high, "latency_ratio": ratio, "macs": macs,
                          "params": params})  # fmt: skip
        if int8:
            fp32, eight = steps[-2], steps[-1]
            worth = eight["size_bytes"] < fp32["size_bytes"] or eight["latency_ms"] < fp32["latency_ms"]
            if worth and fp32["accuracy"] - eight["accuracy"] <= 0.01:
                last = files[-1][1]
            else:
                kept.append({"what": "int8", "why": "not used: it lost more than a point, or was neither smaller nor faster"})
        with replacing(run.path / "model.onnx") as temp:
            shutil.copyfile(last, temp)
        save(net, run.path, input=source.input, classes=source.classes)
        for _, file, _ in files:
            file.unlink()
        result = {"run": str(run.path), "file": str(run.path / "model.onnx"), "steps": steps, "kept": kept}
        write_json(run.path / "result.json", result)
    return result
