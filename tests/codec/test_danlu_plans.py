"""Any tensor through any plan: what is written and read is the same tensor, in no more bytes than it must be."""

import hashlib
import io

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from danlu.codec import coders, entropy
from danlu.codec.container import Container, front
from danlu.codec.decode import Decoding
from danlu.codec.entropy.positions import DECODERS as MASK_DECODERS
from danlu.codec.entropy.symbols import DECODERS as SYMBOL_DECODERS
from danlu.codec.header import Header, write_header
from danlu.codec.layouts import as_rows, order, rows
from danlu.codec.numbers import TYPES, decode_numbers, encode_numbers, exact_kind
from danlu.codec.plan import Planner
from danlu.codec.symbols import from_levels
from danlu.codec.tables import as_grid, grid_values
from danlu.encodings import Levels


def file_of(planner: Planner) -> bytes:
    """The bytes of a file with the planned tensors."""
    streams, tables, plans = planner.finish()
    header = write_header(Header({}, [[draft.piece() for draft in stream] for stream in streams], tables, plans))
    bodies = [b"".join(draft.data for draft in stream) for stream in streams]
    return front(header, [hashlib.sha256(body).digest() for body in bodies]) + b"".join(bodies)


def read(data: bytes) -> dict[str, np.ndarray]:
    """All float tensors of a file, in float32."""
    container = Container(io.BytesIO(data), len(data), "file")
    decoding, found = Decoding(container), {}
    for plan in container.header.tensors:
        out = np.zeros(plan.shape, np.float32)
        if plan.kind == "tied":
            out = found[container.header.tensors[plan.source].name]
        decoding.tensor(plan, out)
        found[plan.name] = out
    decoding.end()
    return found


def kinds(data: bytes) -> dict[str, str]:
    return {plan.name: plan.kind for plan in Container(io.BytesIO(data), len(data), "file").header.tensors}


shapes = hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=9)
plain_values = st.floats(-(2.0**100), 2.0**100, width=32) | st.sampled_from([0.0, 1.0, -0.5, 2.0**127, 2.0**-140])
few_values = st.sampled_from([0.0, 0.25, -0.75, 0.125])


@st.composite
def tensors(draw: st.DrawFn) -> tuple[np.ndarray, Levels | None]:
    """A weight, with its symbols for half of them."""
    shape = draw(shapes)
    if not shape or 0 in shape or draw(st.booleans()):
        return draw(hnp.arrays(np.float32, shape, elements=draw(st.sampled_from([plain_values, few_values])))), None
    axis = draw(st.integers(0, min(1, len(shape) - 1)))
    size = draw(st.sampled_from([1, 2, 3, 5, 16, 300]))
    groups = draw(st.sampled_from([1, shape[axis]]))
    table = draw(hnp.arrays(np.float32, (groups, size), elements=st.floats(-4, 4, width=16)))
    zero = draw(st.none() | st.integers(0, size - 1))
    if zero is not None:
        table[:, zero] = 0
    if draw(st.booleans()) and groups == 1:
        table[0] = (np.arange(size) - size // 2) * np.float32(0.1)
    scale = draw(st.none() | hnp.arrays(np.float32, shape[axis], elements=st.floats(0.125, 2, width=32)))
    indices = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, size - 1)))
    levels = Levels(
        torch.from_numpy(indices), torch.from_numpy(table), None if scale is None else torch.from_numpy(scale), zero, axis
    )  # fmt: skip
    values = np.take_along_axis(
        np.broadcast_to(table, (shape[axis], size)), np.moveaxis(indices, axis, 0).reshape(shape[axis], -1), 1
    )
    if scale is not None:
        values = values * scale[:, None]
    moved = [shape[axis], *(side for d, side in enumerate(shape) if d != axis)]
    return np.ascontiguousarray(np.moveaxis(values.reshape(moved), 0, axis)), levels


@settings(max_examples=40, deadline=None)
@given(st.lists(tensors(), max_size=5))
def test_what_is_written_is_read(found: list[tuple[np.ndarray, Levels | None]]) -> None:
    planner = Planner("fp32", fast=True)
    for i, (weight, levels) in enumerate(found):
        planner.floats(f"t{i}", weight, from_levels(levels) if levels is not None else None)
    got = read(file_of(planner))
    assert list(got) == [f"t{i}" for i in range(len(found))]
    for i, (weight, _) in enumerate(found):
        np.testing.assert_array_equal(got[f"t{i}"], weight)


@pytest.mark.parametrize("floats", ["fp16", "bf16"])
def test_rounding_is_that_of_torch(floats: str) -> None:
    weight = torch.randn(40, 50, generator=torch.Generator().manual_seed(0))
    planner = Planner(floats)
    planner.floats("w", weight.numpy(), None)
    expected = weight.to(torch.float16 if floats == "fp16" else torch.bfloat16).float()
    np.testing.assert_array_equal(read(file_of(planner))["w"], expected.numpy())


def test_weights_too_large_for_float16_are_not_rounded_to_infinity() -> None:
    weight = np.array([1.1, 70000.5, 3.3], np.float32)
    planner = Planner("fp16")
    planner.floats("w", weight, None)
    np.testing.assert_array_equal(read(file_of(planner))["w"], weight)


def test_encoded_weights_are_never_rounded() -> None:
    indices = torch.arange(6).view(2, 3)
    table = torch.tensor([[0.1, 0.2, 0.3, 0.4, 0.5, 0.6]])
    weight = Levels(indices, table).weight().numpy()
    planner = Planner("bf16")
    planner.floats("w", weight, from_levels(Levels(indices, table)))
    np.testing.assert_array_equal(read(file_of(planner))["w"], weight)


def test_each_kind_of_weight_gets_its_plan() -> None:
    draw = np.random.default_rng(0)
    normal = draw.standard_normal((64, 128)).astype(np.float32)
    kept = draw.random((64, 128)) < 0.02
    planner = Planner("fp32")
    planner.floats("constant", np.full((3, 3), 0.7, np.float32), None)
    planner.floats("dense", normal, None)
    planner.floats("sparse", normal * kept, None)
    planner.floats("shared", np.round(normal), None)
    planner.floats("both", np.round(4 * normal) / 4 * kept, None)
    planner.tied("twin", (64, 128), 1)
    data = file_of(planner)
    got = kinds(data)
    assert got["shared"] == "indices"
    assert got["both"] in ("indices", "sparse_indices")
    del got["shared"], got["both"]
    assert got == {"constant": "constant", "dense": "dense", "sparse": "sparse_numbers", "twin": "tied"}
    np.testing.assert_array_equal(read(data)["twin"], normal)


def test_a_file_is_near_the_entropy_of_its_symbols() -> None:
    """Ternary weights, 5 % non-zero: positions n H(0.05) bits, signs 1 bit each."""
    draw = np.random.default_rng(1)
    weight = (draw.random((200, 500)) < 0.05) * np.where(draw.random((200, 500)) < 0.5, np.float32(-0.3), np.float32(0.3))
    held = np.count_nonzero(weight)
    share = held / weight.size
    bits = held - weight.size * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
    planner = Planner("fp32")
    planner.floats("w", weight.astype(np.float32), None)
    assert bits / 8 < len(file_of(planner)) < 1.01 * bits / 8 + 200


def test_binary_weights_take_one_bit() -> None:
    draw = np.random.default_rng(2)
    signs = torch.from_numpy(draw.integers(0, 2, (128, 400)))
    scale = torch.from_numpy(draw.random(128, np.float32) + 1)
    levels = Levels(signs, torch.tensor([[-1.0, 1.0]]), scale)
    planner = Planner("fp32")
    planner.floats("w", levels.weight().numpy(), from_levels(levels))
    data = file_of(planner)
    assert len(data) <= 128 * 400 / 8 + 128 * 4 + 150
    np.testing.assert_array_equal(read(data)["w"], levels.weight().numpy())


def test_a_table_that_two_tensors_use_is_stored_once() -> None:
    draw = np.random.default_rng(3)
    table = draw.standard_normal(200).astype(np.float32)
    planner = Planner("fp32")
    planner.floats("a", table[np.concatenate([np.arange(200), draw.integers(0, 200, 3000)])], None)
    one = len(file_of(planner))
    planner = Planner("fp32")
    for name in "ab":
        planner.floats(name, table[np.concatenate([np.arange(200), draw.integers(0, 200, 3000)])], None)
    assert len(file_of(planner)) - one < 3200 + 400


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(-20, 20), st.floats(2.0**-10, 16, width=32), st.booleans())
def test_evenly_spaced_values_are_two_numbers(count: int, first: int, step: float, zero: bool) -> None:
    line = (np.arange(first, first + count + 1) * np.float32(step)).astype(np.float32)
    values = line[line != 0] if zero else line
    found = as_grid(values, zero and 0 in line)
    assert found is not None
    np.testing.assert_array_equal(grid_values(*found, len(values), zero and 0 in line), values)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(TYPES), st.data())
def test_numbers_of_every_type(kind: str, data: st.DataObject) -> None:
    stored = {"bfloat16": "float32", "float16": "float32"}.get(kind, kind)
    if kind in ("float32", "float16", "bfloat16"):
        values = data.draw(hnp.arrays(np.float32, st.integers(0, 50), elements=st.integers(-100, 100)))
    else:
        values = data.draw(hnp.arrays(np.dtype(kind), st.integers(0, 50)))
    got = decode_numbers(*encode_numbers(values, kind), len(values), kind)
    assert got.dtype == stored
    np.testing.assert_array_equal(got, values)


def test_the_byte_of_the_exponent_is_coded() -> None:
    values = np.random.default_rng(0).standard_normal(20000).astype(np.float32)
    coding, data = encode_numbers(values, "float32")
    assert coding == "planes"
    assert len(data) < 0.9 * values.nbytes  # sign and exponent of a normal distribution: about 3 of 9 bits


def test_the_shortest_exact_type() -> None:
    assert exact_kind(np.array([1.5, 0.1], np.float32)) == "float32"
    assert exact_kind(np.float16([1.5, 0.1]).astype(np.float32)) == "float16"
    assert exact_kind(np.array([2.0**100, 1.5], np.float32)) == "bfloat16"


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4)), st.sampled_from([0, 1, 2]))
def test_layouts_list_every_weight_once(tensor: np.ndarray, layout: int) -> None:
    tensor = np.arange(tensor.size).reshape(tensor.shape)
    listed = as_rows(tensor, layout)
    assert listed.shape == rows(tensor.shape, layout)
    assert sorted(listed.ravel()) == list(range(tensor.size))
    assert sorted(order(tensor.ndim, layout)) == list(range(tensor.ndim))


def test_every_coder_has_a_number_in_the_format() -> None:
    assert set(coders.SYMBOL_CODERS) == set(SYMBOL_DECODERS)
    assert set(coders.MASK_CODERS) == set(MASK_DECODERS)
    assert set(entropy.CODERS) == set(coders.SYMBOL_CODERS + coders.MASK_CODERS)
