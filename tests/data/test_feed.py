"""Batches: normalised by the formula, deterministic, resumable, in the layout asked for."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.data import Augment, Source, batches, load_data
from danlu.errors import DanluError, UsageError

AUGMENT = Augment(crop=2, flip=True)


@pytest.fixture
def source(make_set) -> Source:
    return load_data(make_set({"train/a": 20, "train/b": 17, "test/a": 3, "test/b": 4}))


def test_values_are_normalised_by_the_formula(source: Source) -> None:
    x, y = next(batches(source.train, source.input, 8))
    pixels = source.train.images(range(8)).numpy().astype(np.float64)
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (source.input.mean, source.input.std))
    assert np.allclose(x.numpy(), (pixels / 255 - mean) / std, atol=1e-6)
    assert y.dtype == torch.int64
    assert y.tolist() == source.train.labels[:8].tolist()


def test_the_training_set_has_mean_0_and_deviation_1(source: Source) -> None:
    x = torch.cat([x for x, _ in batches(source.train, source.input, 7)]).double()
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert (x.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("channels_last", [True, False])
def test_type_and_layout(source: Source, dtype: torch.dtype, channels_last: bool) -> None:
    expected = next(batches(source.train, source.input, 5))[0]
    x, _ = next(batches(source.train, source.input, 5, dtype=dtype, channels_last=channels_last))
    assert x.dtype == dtype
    assert x.is_contiguous(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    assert torch.equal(x, expected.to(dtype))
    assert source.train.images([0, 1]).is_contiguous(memory_format=torch.channels_last)


def run(source: Source, **options: object) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(batches(source.train, source.input, 8, shuffle=True, augment=AUGMENT, **options))  # type: ignore[arg-type]


def same(one: list, two: list) -> bool:
    return len(one) == len(two) and all(torch.equal(a, b) and torch.equal(c, d) for (a, c), (b, d) in zip(one, two, strict=True))


def test_same_seed_same_batches_another_seed_or_epoch_others(source: Source) -> None:
    first = run(source, seed=1, epoch=2)
    assert same(first, run(source, seed=1, epoch=2))
    assert not same(first, run(source, seed=2, epoch=2))
    assert not same(first, run(source, seed=1, epoch=3))


@pytest.mark.parametrize("start", range(6))
def test_starting_at_a_batch_is_the_same_as_skipping_to_it(source: Source, start: int) -> None:
    assert same(run(source, seed=3, epoch=1, start=start), run(source, seed=3, epoch=1)[start:])


def test_every_image_comes_once_and_the_last_batch_is_short(source: Source) -> None:
    n = len(source.train)
    got = list(batches(source.train, source.input, 8, shuffle=True, seed=5))
    assert [len(y) for _, y in got] == [8] * (n // 8) + ([n % 8] if n % 8 else [])
    everything = torch.cat([x for x, _ in got])
    plain = torch.cat([x for x, _ in batches(source.train, source.input, 100)])
    assert torch.equal(everything.flatten(1).sum(1).sort().values, plain.flatten(1).sum(1).sort().values)
    assert not torch.equal(everything, plain)
    assert [len(y) for _, y in batches(source.train, source.input, 8, drop_last=True)] == [8] * (n // 8)


def test_wrong_arguments_are_told_at_the_call(source: Source) -> None:
    with pytest.raises(UsageError, match=r"use source.at"):
        batches(source.train, source.at(20).input, 8)
    with pytest.raises(UsageError, match="batch_size"):
        batches(source.train, source.input, 0)


def test_a_streaming_set_gives_the_same_batches(make_set) -> None:
    root = make_set({"train/a": 20, "train/b": 17, "test/a": 3, "test/b": 4}, size=(40, 24))
    kept, streamed = load_data(root), load_data(root, stream_above=1)
    assert streamed.train.streams
    assert not kept.train.streams
    assert streamed.input == kept.input  # so small a set is sampled whole
    for start in (0, 2):
        assert same(run(streamed, start=start), run(kept, start=start))


def test_leaving_a_streaming_epoch_early_leaves_no_reader_behind(make_set) -> None:
    source = load_data(make_set({"a": 20, "b": 20}), stream_above=1)
    epoch = batches(source.train, source.input, 2)
    next(epoch)
    epoch.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("danlu-ahead")]


def test_a_streamed_file_that_breaks_is_named(make_set) -> None:
    root = make_set({"a": 9, "b": 9})
    source = load_data(root, stream_above=1)
    victim = Path(root / source.train.names[0])
    victim.write_bytes(b"")
    with pytest.raises(DanluError, match=f"{source.train.names[0]} could be read before, but now: empty file"):
        next(batches(source.train, source.input, 4))
