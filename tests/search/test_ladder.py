"""The ladder: what its rungs cost, and that bisection finds on it what walking every rung would find."""

import math
from pathlib import Path

import pytest

from danlu import create, edit
from danlu.codec.pack import pack_model
from danlu.data.spec import Input
from danlu.edits import parse
from danlu.search.ladder import LADDER, Rung, mildest, next_rung, predicted_bytes

RUNGS = range(len(LADDER))


@pytest.mark.parametrize(("rung", "bits"), [(Rung(0.5, 6), 1 + 3.0), (Rung(0.0, 5), 5.0), (Rung(0.75, 4), 0.811278 + 1.0)])
def test_bits_of_a_weight_are_those_of_its_position_and_its_index(rung: Rung, bits: float) -> None:
    # The binary entropy at 1/2 is 1, at 3/4 it is 2 - 3/4 log2 3.
    assert rung.weight_bits == pytest.approx(bits, abs=1e-6)


def test_each_rung_is_smaller_than_the_one_before_and_a_recipe() -> None:
    bits = [rung.weight_bits for rung in LADDER]
    assert bits == sorted(bits, reverse=True)
    assert all([call.name for call in parse(str(rung))] == ["prune", "share"] for rung in LADDER)


@pytest.mark.parametrize("first", [*RUNGS, None])
def test_the_mildest_rung_that_fits_is_found_in_three_looks(first: int | None) -> None:
    looked: list[int] = []

    def fits(rung: int) -> bool:
        looked.append(rung)
        return first is not None and rung >= first

    assert mildest(fits) == first
    assert len(looked) <= math.ceil(math.log2(len(LADDER) + 1))


@pytest.mark.parametrize("last", [-1, *RUNGS])
def test_the_strongest_rung_that_keeps_the_accuracy_is_found_in_three_looks(last: int) -> None:
    kept: dict[int, bool] = {}
    while (rung := next_rung(kept)) is not None:
        assert rung not in kept
        kept[rung] = rung <= last
    assert max((r for r, good in kept.items() if good), default=-1) == last
    assert len(kept) == 3


def test_the_prediction_is_near_the_file_and_above_it(tmp_path: Path) -> None:
    number = 3
    net = create("lenet_300_100(size=8, width=0.5)", num_classes=10, in_channels=1, seed=0)
    small = edit(net, str(LADDER[number])).model
    classes = [str(i) for i in range(10)]
    packed = pack_model(small, tmp_path / "x.danlu", input=Input((8, 8), 1, (0.5,), (0.5,)), classes=classes, floats="fp16")
    # The formula takes full index bits and the same sparsity for all layers: both are upper bounds.
    assert packed.size_bytes <= predicted_bytes(net, LADDER[number]) <= 1.5 * packed.size_bytes
