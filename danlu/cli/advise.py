"""danlu advise MODEL: what to change in a network, and what it would save."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from .common import Device, Json, Quiet, Seed, give, verb
from .profile import Batch, Classes, Input, Model, Repeats, Trust, profile_target


def run(
    model: Model,
    input: Input = None,
    max_size: Annotated[str | None, typer.Option(help="Limit on the weights, e.g. 500KB, or a share of them: 1/8.")] = None,
    max_latency: Annotated[str | None, typer.Option(help="Limit on the time of a pass, e.g. 3ms or 1/5.")] = None,
    max_macs: Annotated[str | None, typer.Option(help="Limit on the multiply-accumulates, e.g. 40M or 1/4.")] = None,
    time: Annotated[
        bool, typer.Option("--time/--no-time", help="Measure the layers, so that advice can weigh their time.")
    ] = True,
    classes: Classes = None,
    batch: Batch = 1,
    repeats: Repeats = 10,
    trust: Trust = False,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Rank what to change in a network: the edit as text, the predicted saving, and why."""
    with verb():
        from ..cost import Bounds, advise
        from ..cost.table import print_advice
        from ..errors import UsageError
        from ..units import parse_bytes, parse_count, parse_ms, parse_share

        def checked(text: str | None, parse: Callable[[str], float]) -> Callable[[float], float | None]:
            if text is None:
                return lambda whole: None
            share = parse_share(text)
            if share is not None:
                return lambda whole: share * whole
            value = parse(text)
            return lambda whole: value

        if Path(model).suffix.lower() == ".onnx":
            raise UsageError(f"advice is for models that can be edited; for {model} see: danlu profile, danlu bench")
        size, latency, macs = checked(max_size, parse_bytes), checked(max_latency, parse_ms), checked(max_macs, parse_count)
        result = profile_target(
            model, input=input, time=time, classes=classes, batch=batch, repeats=repeats, trust=trust, seed=seed,
            device=device, quiet=quiet,
        )  # fmt: skip
        bounds = Bounds(size(result.param_bytes), latency(result.time_ms or 0.0), macs(result.macs))
        advice = advise(result, bounds)
        answer = {
            "model": model,
            "input": list(result.input),
            "params": result.params,
            "macs": result.macs,
            "time_ms": result.time_ms,
            "advice": [item.to_json() for item in advice],
        }
        give(answer, as_json, lambda: print_advice(advice))
