"""What every registered mixing promises: it says where it is from, keeps shapes and shares, and draws from its generator."""

import inspect
from pathlib import Path

import pytest
import torch
from torch import Tensor

from danlu.errors import UsageError
from danlu.registry import Entry
from danlu.spec import read
from danlu.train.mixing import mixings

DOCS = Path(__file__).parents[3] / "docs" / "regularisation.md"
NAMES = mixings.names()


def batch(count: int = 40, dtype: torch.dtype = torch.float32, size: tuple[int, int] = (20, 24)) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    x = torch.rand(count, 3, *size, generator=generator).to(dtype) + 1
    return x, torch.nn.functional.one_hot(torch.arange(count) % 7, 7).to(dtype)


def mixed(name: str, seed: int, x: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return read(mixings, name)()(x, targets, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("entry", mixings, ids=lambda entry: entry.name)
def test_says_what_it_is(entry: Entry) -> None:
    module = inspect.getmodule(entry.build)
    assert module is not None
    assert "Source: " in (module.__doc__ or "")
    assert len((module.__doc__ or "").split("\n\n")[0].splitlines()) <= 3
    assert entry.summary.endswith(".")
    assert "Raises: UsageError" in (entry.build.__doc__ or "")
    assert entry.facts["paper"]
    assert all(parameter.default is not parameter.empty for parameter in entry.options().values())
    assert f"| `{entry.name}` |" in DOCS.read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_generator_decides_and_nothing_else(name: str) -> None:
    x, targets = batch()
    kept = x.clone(), targets.clone()
    torch.manual_seed(0)
    state = torch.get_rng_state()
    a, b, c = mixed(name, 1, x, targets), mixed(name, 1, x, targets), mixed(name, 2, x, targets)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, kept[0])
    assert torch.equal(targets, kept[1])
    assert all(torch.equal(p, q) for p, q in zip(a, b, strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(a, c, strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(a, kept, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("count", [1, 2, 33])
@pytest.mark.parametrize("name", NAMES)
def test_shapes_types_and_shares(name: str, count: int, dtype: torch.dtype) -> None:
    x, targets = batch(count, dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    for seed in range(5):
        y, shares = mixed(name, seed, x, targets)
        assert (y.shape, y.dtype, shares.shape, shares.dtype) == (x.shape, dtype, targets.shape, dtype)
        assert y.is_contiguous(memory_format=torch.channels_last)
        assert bool(y.isfinite().all())
        assert float(shares.min()) >= 0
        assert torch.allclose(shares.float().sum(1), torch.ones(count), atol=1e-2 if dtype == torch.bfloat16 else 1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_they_work_behind_each_other(name: str) -> None:
    x, targets = batch()
    generator = torch.Generator().manual_seed(0)
    for step in (name, "disturb_labels", "mixup", name):
        x, targets = read(mixings, step)()(x, targets, generator)
    assert torch.allclose(targets.sum(1), torch.ones(40), atol=1e-6)


@pytest.mark.parametrize("entry", mixings, ids=lambda entry: entry.name)
def test_refuses_options_that_cannot_be(entry: Entry) -> None:
    assert entry.options()
    for option in entry.options():
        for value in (-1, 0, "'a'"):
            with pytest.raises(UsageError):
                read(mixings, f"{entry.name}({option}={value})")()
