"""Advice: each rule fires on the net it is for, its edit exists and parses, and its saving is what the edit then saves."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from danlu.cost import Advice, Bounds, Profile, advise, profile
from danlu.cost.predict import Flow
from danlu.cost.target import find_target
from danlu.edits import edits
from danlu.edits.recipe import parse
from danlu.zoo import models

MEASURED = {"macs": "macs", "params": "params", "peak_activation_bytes": "peak_activation_bytes"}


def of(recipe: str, size: tuple[int, ...] | None = None) -> Profile:
    target = find_target(recipe, input=size)
    return profile(target.model, target.input)


def by_kind(advice: list[Advice]) -> dict[str, Advice]:
    return {item.kind: item for item in advice}


def timed(result: Profile, times: dict[str, float]) -> Profile:
    """The profile as if these rows had taken these milliseconds and all others one."""
    rows = [replace(row, median_ms=times.get(row.name, 1.0), p10_ms=0.0, p90_ms=0.0) for row in result.rows]
    total = sum(row.median_ms for row in rows)
    return replace(result, rows=tuple(rows), time_ms=total, time_p10_ms=total, time_p90_ms=total, hooked_ms=total, repeats=1)


def measured_saving(old: Profile, recipe: str, edit: str) -> tuple[dict[str, float], Profile]:
    """What the edit saves when it is made."""
    step = parse(edit)[0]
    if step.name == "fit_input":
        new = of(f"{recipe} | {edit}")
    elif step.name in edits:
        target = find_target(f"{recipe} | {edit}", input=old.input)
        new = profile(target.model, old.input)
    else:
        new = of(edit, old.input)
    return {name: 1 - getattr(new, field) / getattr(old, field) for name, field in MEASURED.items()}, new


@pytest.mark.parametrize("side", [64, 224, 448])
@pytest.mark.parametrize("name", ["allconv6", "mobilenet_v1", "resnet18", "resnet20", "squeezenet1_1", "vgg11"])
def test_predicted_savings_are_what_the_edits_save(name: str, side: int) -> None:
    """Within 2 % of what is left; 20 % where early strides go in a net that does not pad (squeezenet)."""
    old = of(name, (3, side, side))
    checked = set()
    for item in advise(old):
        if not item.edit or item.edit == "fold_bn" or item.edit.startswith("prune_channels"):
            continue
        got, new = measured_saving(old, name, item.edit)
        slack = 0.25 if name == "squeezenet1_1" and item.saving.get("macs", 0) < 0 else 0.02
        for key, saving in item.saving.items():
            assert 1 - saving == pytest.approx(1 - got[key], rel=slack, abs=1e-3), (item.edit, key)
        if item.edit.startswith("fit_input"):
            assert 4 <= min(Flow(new).last_map) <= 8
        checked.add(item.kind)
    assert "macs" in checked


def test_pruning_saves_what_is_predicted() -> None:
    """Within 3 %: groups round to whole channels, and these widths divide by 8."""
    recipe = "resnet18(width=0.25) | fit_input(size=32)"
    target = find_target(recipe, classes=10, real=True)
    old = profile(target.model, target.input)
    item = by_kind(advise(old))["params"]
    assert item.edit == 'prune_channels(ratio=0.5, scope="layer")'
    new = profile(find_target(f"{recipe} | {item.edit}", classes=10).model, old.input)
    for key, field in MEASURED.items():
        assert 1 - item.saving[key] == pytest.approx(getattr(new, field) / getattr(old, field), rel=0.03), key


def test_folding_saves_what_is_predicted_and_keeps_the_outputs() -> None:
    target = find_target("resnet20", real=True)
    old = profile(target.model, target.input)
    item = next(item for item in advise(old) if item.edit == "fold_bn")
    new = of("resnet20 | fold_bn")
    assert item.saving["params"] == pytest.approx(1 - new.params / old.params, abs=1e-4)
    assert set(item.saving) == {"params"}


# The first net of each family: its siblings are wider or deeper.
FAMILIES = {entry.build.__module__: entry for entry in reversed(list(models))}


@pytest.mark.parametrize("entry", FAMILIES.values(), ids=lambda entry: entry.name)
def test_every_edit_that_is_advised_exists(entry) -> None:
    result = of(entry.name)
    result = timed(result, {row.name: 2.0 for row in result.rows if row.kind != "Conv2d"})
    advice = advise(result, Bounds(max_size_bytes=50_000, max_latency_ms=result.time_ms / 4, max_macs=result.macs / 3))
    assert [item.rank for item in advice] == list(range(1, len(advice) + 1))
    for item in advice:
        assert item.why
        assert bool(item.edit) or not item.saving
        for step in parse(item.edit) if item.edit else []:
            known = edits[step.name] if step.name in edits else models[step.name]
            known.check(step.options)
    texts = [item.edit for item in advice if item.edit]
    assert len(texts) == len(set(texts))


def test_a_map_in_range_needs_no_other_input() -> None:
    assert "input" not in by_kind(advise(of("resnet18")))
    assert "input" not in by_kind(advise(of("resnet20")))


def test_a_large_input_is_named_with_the_square_law() -> None:
    item = by_kind(advise(of("resnet18", (3, 448, 448))))["input"]
    assert item.edit == "fit_input(size=256)"
    assert item.saving["macs"] == pytest.approx(1 - (256 / 448) ** 2, abs=1e-3)
    assert "14x14" in item.why


def test_a_small_last_map_is_named() -> None:
    item = by_kind(advise(of("resnet18", (3, 32, 32))))["input"]
    assert item.edit == "fit_input(size=32)"
    assert "1x1" in item.why
    assert item.saving["macs"] < -10
    assert item.rank == 1


def test_linear_layers_that_hold_the_parameters_are_named() -> None:
    why = by_kind(advise(of("vgg16")))["params"].why
    assert "classifier.0 74 %" in why
    assert "3 Linear layers hold 89 %" in why
    assert "flattened 7x7 map" in why


class Separable(nn.Module):
    """Depthwise and pointwise convolutions with SiLU."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2, 1)
        self.deep = nn.Conv2d(32, 32, 3, padding=1, groups=32)
        self.act = nn.SiLU()
        self.relu = nn.ReLU()
        self.point = nn.Conv2d(32, 64, 1)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        x = self.act(self.deep(x))
        return self.head(self.point(x).mean((2, 3)))


def test_layers_slower_than_their_arithmetic_are_named() -> None:
    result = profile(Separable(), (3, 16, 16))
    slow = timed(result, {"deep": 60.0, "act": 40.0, "relu": 4.0, "point": 90.0, "stem": 10.0})
    kinds = by_kind(advise(slow))
    swap = kinds["activation"]
    assert swap.edit == 'swap_activation(to="relu")'
    relu_time = 4.0 * result.rows[3].bytes / result.rows[1].bytes  # the same bytes at the rate of the ReLU of this profile
    assert swap.saving["time"] == pytest.approx((40.0 - relu_time) / slow.time_ms, abs=1e-3)
    deep = next(item for item in advise(slow) if "depthwise convolutions" in item.why)
    assert "to the 1x1 layers their time is 1:1.5" in deep.why
    assert not any("depthwise" in item.why for item in advise(timed(result, {"point": 500.0})))


def test_time_advice_needs_time() -> None:
    advice = advise(profile(Separable(), (3, 16, 16)))
    assert not {"activation", "overhead", "time"} & {item.kind for item in advice}
    assert any("most MACs: point" in item.why for item in advice)
    assert not any("time" in item.saving for item in advice)


def test_a_run_of_equal_layers_is_depth() -> None:
    item = by_kind(advise(of("mobilenet_v1")))["depth"]
    assert "5 equal 1x1 layers on 512 x 14x14" in item.why
    one = 512 * 512 * 14 * 14 / 568_740_352
    assert f"{100 * one:.2g} %" in item.why


def test_the_budget_comes_first_and_its_edit_meets_it() -> None:
    old = of("resnet18")
    advice = advise(old, Bounds(max_size_bytes=2_000_000, max_macs=500_000_000))
    size, macs = (item for item in advice if item.kind == "budget")
    assert (size.rank, macs.rank) == (1, 2)
    assert of(size.edit).param_bytes <= 2_000_000 < of("resnet18(width=0.25)").param_bytes
    assert of(macs.edit).macs <= 500_000_000
    assert "23.4x the limit" in size.why


def test_a_budget_may_be_met_impossible_or_unmeasured() -> None:
    old = of("resnet20")
    met, unknown_time = (i for i in advise(old, Bounds(max_macs=1e12, max_latency_ms=1.0)) if i.kind == "budget")
    assert "is met" in met.why
    assert "not measured" in unknown_time.why
    (hopeless,) = (i for i in advise(old, Bounds(max_size_bytes=100)) if i.kind == "budget")
    assert not hopeless.edit
    assert "smaller base" in hopeless.why


def test_a_budget_object_with_limits_is_taken() -> None:
    class Budget:
        def limits(self, size_bytes: float, latency_ms: float, macs: float) -> object:
            return type("Limits", (), {"size_bytes": size_bytes / 4, "latency_ms": None, "macs": None})()

    (item,) = (i for i in advise(of("resnet20"), Budget()) if i.kind == "budget")
    assert "4x the limit" in item.why


def test_any_module_gets_advice() -> None:
    for model, shape in ((nn.Linear(4, 2), (4,)), (nn.ReLU(), (3, 4, 4)), (nn.GRU(4, 4, batch_first=True), (3, 4))):
        for item in advise(profile(model, shape)):
            assert item.to_json()["why"]
    with torch.device("meta"):
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    assert "input" not in by_kind(advise(profile(layer, (9, 8))))
