"""What holds for every view: text, facts, plain numbers, the same ones for a seed, a page, errors; the model stays as it is."""

import copy
import inspect
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from danlu.data import Source
from danlu.errors import UsageError
from danlu.registry import Entry
from danlu.spec import read
from danlu.views import Subject, View, look, views
from danlu.views.page import render

# Cheaper settings than the defaults, and one more way for those that have two.
QUICK = {
    "one_pixel": ["one_pixel(population=6, generations=2)", "one_pixel(population=6, generations=1, pixels=3)"],
    "sharpness": ["sharpness(epsilons=(1e-3, 1e-2), steps=2, starts=1)"],
    "loss_slice": ["loss_slice(points=3)", "loss_slice(dimensions=2, points=3)"],
    "linear_regions": ["linear_regions(slices=1)", "linear_regions(dimensions=2, slices=1, span=0.2)"],
    "translation": ["translation(shift=2)", "translation(shift=2, step=2, fill='black')"],
    "layer_drop": ["layer_drop(draws=2)"],
    "layer_shuffle": ["layer_shuffle(swaps=2, draws=2)"],
}
CASES = [text for entry in views for text in QUICK.get(entry.name, [entry.name])]
every = pytest.mark.parametrize("entry", list(views), ids=lambda entry: entry.name)


def see(text: str, model: nn.Module, source: Source, seed: int = 0) -> View:
    return look(text, model, source, images=30, seed=seed)


@every
def test_it_says_what_it_is_and_where_it_is_from(entry: Entry[Any]) -> None:
    module, doc = inspect.getdoc(inspect.getmodule(entry.build)) or "", inspect.getdoc(entry.build) or ""
    assert "\nSource: " in module
    assert len(module.split("\n\n")[0].splitlines()) <= 3
    assert entry.summary.endswith(".")
    assert "Raises: " in doc
    assert entry.facts["images"] >= 1
    assert entry.facts["paper"].startswith(("arxiv:", "doi:", "https://"))
    assert entry.options()


@pytest.mark.parametrize("text", CASES)
def test_numbers_are_plain_and_those_of_the_seed_and_the_model_stays(
    text: str, net: Callable[..., nn.Module], digits: Source
) -> None:
    model = net().train()
    model[0].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    first, again = see(text, model, digits), see(text, model, digits)
    assert json.dumps(first.values, allow_nan=False) == json.dumps(again.values, allow_nan=False)
    assert json.loads(json.dumps(first.values)) is not None
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model[0].weight.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert first.said
    assert all(isinstance(line, str) for line in first.said)


@pytest.mark.parametrize("text", CASES)
def test_the_page_holds_the_figures_and_escapes_names(text: str, net: Callable[..., nn.Module], digits: Source) -> None:
    hostile = copy.copy(digits)
    object.__setattr__(hostile, "classes", tuple(f"<script>alert({i})</script>" for i in range(10)))
    found = see(text, net(), hostile)
    assert found.figures
    assert len({name for name, *_ in found.figures}) == len(found.figures)
    page = render(found, "<b>title", "idea", [("Data", "<i>")])
    assert "<script>alert" not in page
    assert "&lt;b&gt;title" in page
    for name, title, caption, figure in found.figures:
        assert title
        assert caption
        assert f'data-figure="{name}"' in page
        assert figure["views"]
        for view in figure["views"].values():
            assert view["data"]
            assert {"xaxis", "yaxis"} <= view["layout"].keys()


@every
def test_an_unknown_option_and_one_of_another_type_are_refused(entry: Entry[Any]) -> None:
    with pytest.raises(UsageError, match="nothing"):
        read(views, f"{entry.name}(nothing=1)")
    for name in entry.options():
        with pytest.raises(UsageError, match=name):
            read(views, f"{entry.name}({name}={{'a': None}})")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("translation(shift=0)", "1 <= step <= shift <= 7"), ("translation(shift=8)", "got step=1, shift=8"),
        ("translation(shift=2, step=3)", "step=3"), ("one_pixel(population=3)", "population from 4"),
        ("one_pixel(pixels=65)", "pixels <= 64"), ("layer_drop(draws=0)", "at least 1, got 0"),
        ("layer_shuffle(swaps=0)", "at least 1, got 0"),
        ("sharpness(epsilons=())", "epsilons above 0"), ("sharpness(epsilons=(0.0,))", "epsilons above 0"),
        ("sharpness(steps=0)", "steps=0"), ("loss_slice(points=4)", "odd number"), ("loss_slice(span=0)", "span above 0"),
        ("loss_slice(dimensions=3)", "1 or 2"), ("linear_regions(slices=0)", "at least 1"),
        ("linear_regions(most=3)", "more than 3 linear regions"), ("linear_regions(span=-1.0)", "span above 0"),
        ("translate", "did you mean translation"),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_told(text: str, says: str, net: Callable[..., nn.Module], digits: Source) -> None:
    with pytest.raises(UsageError, match=says):
        see(text, net(), digits)


def test_the_images_are_a_random_choice_of_the_split(net: Callable[..., nn.Module], digits: Source) -> None:
    some = Subject.of(net(), digits, split="val", images=20, seed=3)
    assert some.pixels.shape == (20, 8, 8, 1)
    assert torch.equal(some.pixels, Subject.of(net(), digits, split="val", images=20, seed=3).pixels)
    assert not torch.equal(some.pixels, Subject.of(net(), digits, split="val", images=20, seed=4).pixels)
    every = Subject.of(net(), digits, split="val", images=10_000)
    assert np.array_equal(every.labels.numpy(), digits.val.labels)
    with pytest.raises(UsageError, match="at least 1 image"):
        Subject.of(net(), digits, images=0)
    with pytest.raises(UsageError, match="did you mean val"):
        Subject.of(net(), digits, split="vall")
    with pytest.raises(UsageError, match=r"does not take images of \[C, H, W\] = \[1, 8, 8\]"):
        Subject.of(net(channels=3), digits)
    with pytest.raises(UsageError, match="num_classes=10"):
        Subject.of(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), digits)
