"""Random chains of structure edits on random nets of the zoo: each builds, runs, counts, exports and costs what it said it
would, or is refused with a reason. DANLU_CHAINS says how many chains are drawn; `make chains` draws a thousand.
"""

import os
import random
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from danlu.cost import profile
from danlu.edits import edits, parse
from danlu.edits.price import predict
from danlu.edits.surgery import count_params
from danlu.errors import UsageError
from danlu.zoo import create, models

COUNT = int(os.environ.get("DANLU_CHAINS", "16"))
CALLS = runpy.run_path(str(Path(__file__).with_name("test_contract.py")))["CALLS"]
STEPS = {entry.name: CALLS.get(entry.name, [entry.name]) for entry in edits if not entry.facts["needs"]}


def bases() -> dict[str, int]:
    """Narrow builds of the nets, for 3x32x32, with the modules of each."""
    found = {}
    for entry in models:
        sized = "size" in entry.options()
        with torch.device("meta"):
            modules = sum(1 for _ in entry.build(width=0.25).modules())
        found[f"{entry.name}(width=0.25, size=32)" if sized else f"{entry.name}(width=0.25) | fit_input(size=32)"] = modules
    return found


BASES = bases()


def chain(seed: int) -> str:
    """A base and one to four steps, drawn from `seed`; deep nets, which repeat the blocks of their siblings, seldom."""
    draw = random.Random(seed)
    names = [name for name in STEPS if name != "fit_input"]
    steps = [draw.choice(STEPS[draw.choice(names)]) for _ in range(draw.randint(1, 4))]
    (base,) = draw.choices(list(BASES), [modules**-1.5 for modules in BASES.values()])
    return " | ".join([base, *steps])


def macs_of(net: nn.Module) -> int:
    """By torch's own counter, for one image."""
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        net.eval()(torch.zeros(1, 3, 32, 32))
    return flops.get_total_flops() // 2


@pytest.mark.parametrize("seed", range(COUNT))
def test_a_chain(seed: int) -> None:
    recipe = chain(seed)
    base, *steps = recipe.split(" | ")
    if steps and steps[0].startswith("fit_input"):
        base, steps = f"{base} | {steps[0]}", steps[1:]
    net = create(base, num_classes=10, in_channels=3, seed=seed)
    torch.manual_seed(seed)
    for step in steps:
        (call,) = parse(step)
        try:
            outcome = edits[call.name].build(net, **call.options)
        except UsageError:
            continue
        assert all(reason for _, reason in outcome.kept)
        before, after = macs_of(net), macs_of(outcome.model)
        params, macs = predict(net, outcome, (3, 32, 32))
        assert params == count_params(outcome.model) - count_params(net), f"{recipe}: {step}"
        assert macs == pytest.approx(after - before, rel=0.02, abs=0.01 * max(before, after)), f"{recipe}: {step}"
        net = outcome.model
    check(net, recipe)


def check(net: nn.Module, recipe: str) -> None:
    """It learns, answers, is counted, and exports with a free batch."""
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    logits: Any = net.train()(torch.cat([x, x]))
    assert logits.shape[0] == 4, recipe
    assert logits.shape[-1] == 10, recipe
    assert logits.isfinite().all(), recipe
    logits.logsumexp(-1).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters()), recipe
    with torch.no_grad():
        answer = net.eval()(x)
    assert answer.shape == (2, 10), recipe
    assert profile(net, (3, 32, 32)).macs == macs_of(net), recipe
    program = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    more = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(program.module()(more), net(more), rtol=1e-3, atol=1e-4, msg=recipe)
