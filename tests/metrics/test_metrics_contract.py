"""What every metric keeps, whichever file it is in."""

import inspect
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

import danlu.metrics
from danlu.errors import UsageError
from danlu.metrics import KINDS, metrics
from danlu.registry import Entry
from danlu.spec import read

Case = tuple[Tensor, Tensor]
ALL = pytest.mark.parametrize("entry", list(metrics), ids=lambda entry: entry.name)
# Metrics with a narrower input than their kind: what to keep of it.
NARROWER: dict[str, Callable[[Tensor], Tensor]] = {"wasserstein": lambda samples: samples[:, :1]}


def perfect(kind: str) -> Case:
    """Predictions that could not be better, and the truth: eight classes, or two images."""
    draws = torch.Generator().manual_seed(0)
    truth = torch.arange(48) % 8
    if kind == "classify":
        return torch.nn.functional.one_hot(truth).double(), truth
    if kind == "verify":
        return (truth > 3) * torch.linspace(0.9, 1, 48, dtype=torch.float64), truth > 3
    if kind == "segment":
        return truth.view(2, 4, 6), truth.view(2, 4, 6)
    if kind == "detect":
        corners = 10 * torch.rand(48, 2, generator=draws, dtype=torch.float64)
        objects = torch.cat([truth[:, None] % 3, truth[:, None], corners, corners + 1], 1)
        return torch.cat([objects[:, :2], torch.rand(48, 1, generator=draws), objects[:, 2:]], 1), objects
    if kind == "image":
        checks = (torch.arange(176)[:, None] // 16 + torch.arange(176) // 16) % 2  # sharp edges, and large enough for five scales
        image = (0.25 + 0.5 * checks.double()).expand(2, 1, 176, 176).clone()
        return image, image
    chances = torch.nn.functional.one_hot(truth).double()  # as features too: eight equal heaps
    return chances, chances


def worse(kind: str, predictions: Tensor) -> Tensor:
    """The same predictions, spoiled."""
    if kind == "classify":
        return predictions.roll(1, 0)
    if kind == "segment":
        return (predictions + (torch.arange(4) % 2)[None, :, None]) % 8
    if kind == "verify":
        return 1 - predictions
    if kind == "detect":
        return torch.cat([predictions[:, :3], predictions[:, 3:] + 5], 1)
    if kind == "image":
        return torch.nn.functional.avg_pool2d(predictions, 9, 1, 4, count_include_pad=False)
    return (predictions + predictions[:1]) / 2


def arguments(entry: Entry, predictions: Tensor, truth: Tensor) -> tuple[Tensor, ...]:
    """What of a case an entry takes."""
    keep = NARROWER.get(entry.name, lambda samples: samples)
    positional = [p for p in inspect.signature(entry.build).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    return (keep(predictions), keep(truth))[: len(positional)]


@ALL
def test_facts_and_words(entry: Entry) -> None:
    assert entry.facts["kind"] in KINDS
    assert isinstance(entry.facts["higher_is_better"], bool)
    assert entry.facts["paper"].startswith(("arxiv:", "doi:", "isbn:", "jmlr:"))
    assert (entry.facts["kind"] == "generate") == (entry.facts.get("takes") in ("features", "probabilities"))
    words = inspect.getdoc(entry.build) or ""
    assert entry.summary.endswith(".")
    assert "Shape: " in words
    assert "Raises: UsageError" in words
    module = inspect.getmodule(entry.build)
    idea = (module.__doc__ or "").split("\n\n")[0]
    assert 1 <= len(idea.splitlines()) <= 3
    assert "Source: " in (module.__doc__ or "")
    assert getattr(danlu.metrics, entry.name) is entry.build
    assert entry.name in danlu.metrics.__all__


@ALL
def test_a_plain_number_and_perfect_is_best(entry: Entry) -> None:
    kind = entry.facts["kind"]
    best, truth = perfect(kind)
    top = entry.build(*arguments(entry, best, truth))
    spoiled = entry.build(*arguments(entry, worse(kind, best), truth))
    assert type(top) is float
    assert type(spoiled) is float
    assert not math.isnan(top)
    assert not math.isnan(spoiled)
    assert top > spoiled if entry.facts["higher_is_better"] else top < spoiled


@ALL
def test_the_order_of_samples_does_not_matter(entry: Entry) -> None:
    """Also not where scores are equal: a third of them are."""
    kind = entry.facts["kind"]
    best, truth = perfect(kind)
    draws = torch.Generator().manual_seed(2)
    if kind == "verify":
        best = torch.randint(0, 6, (len(best),), generator=draws) / 6
    if kind == "detect":
        best = torch.cat([best, worse(kind, best)])
        best[:, 2] = torch.randint(0, 4, (len(best),), generator=draws) / 4
    if kind == "classify":
        best = torch.randint(0, 3, best.shape, generator=draws) / 3
    before = entry.build(*arguments(entry, best, truth))
    if kind in ("detect", "generate"):
        ours, theirs = torch.randperm(len(best), generator=draws), torch.randperm(len(truth), generator=draws)
    else:
        ours = theirs = torch.randperm(len(best), generator=draws)
    after = entry.build(*arguments(entry, best[ours], truth[theirs]))
    assert after == pytest.approx(before, rel=1e-9, abs=1e-9)


@ALL
def test_arrays_tensors_and_precisions(entry: Entry) -> None:
    """NumPy, float32, a view that is not contiguous, one that is read-only, a tensor with a gradient; and nothing is changed."""
    kind = entry.facts["kind"]
    best, truth = perfect(kind)
    given = arguments(entry, worse(kind, best), truth)
    expected = entry.build(*given)
    arrays = [values.numpy().copy() for values in given]
    for array in arrays:
        array.flags.writeable = False
    assert entry.build(*arrays) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert entry.build(*[array[::-1] for array in arrays]) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    single = [values.float() if values.is_floating_point() else values.int() for values in given]
    assert entry.build(*single) == pytest.approx(expected, rel=1e-4, abs=1e-4)
    graded = [values.clone().requires_grad_() if values.is_floating_point() else values.clone() for values in given]
    assert entry.build(*graded) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    for values, still in zip(given, graded, strict=True):
        assert torch.equal(values, still.detach())


@ALL
def test_nothing_to_judge_is_refused(entry: Entry) -> None:
    best, truth = perfect(entry.facts["kind"])
    with pytest.raises(UsageError):
        entry.build(*arguments(entry, best[:0], truth[:0]))
    with pytest.raises(UsageError):
        entry.build(*[np.zeros(0)] * len(arguments(entry, best, truth)))


@ALL
def test_numbers_that_are_not_finite_are_refused(entry: Entry) -> None:
    best, truth = perfect(entry.facts["kind"])
    if not best.is_floating_point():
        pytest.skip("takes classes, which are whole numbers")
    for bad in (math.nan, math.inf):
        spoiled = best.clone()
        spoiled[0, ...] = bad
        with pytest.raises(UsageError):
            entry.build(*arguments(entry, spoiled, truth))


@ALL
def test_shapes_that_do_not_fit_are_refused(entry: Entry) -> None:
    best, truth = perfect(entry.facts["kind"])
    given = arguments(entry, best, truth)
    with pytest.raises(UsageError):
        entry.build(given[0][None, None], *given[1:])
    with pytest.raises(UsageError):
        entry.build(np.array("images"), *given[1:])
    if len(given) == 2 and entry.facts["kind"] not in ("detect", "generate"):
        with pytest.raises(UsageError):
            entry.build(given[0], given[1][1:])


@ALL
def test_options_are_read_by_name(entry: Entry) -> None:
    with pytest.raises(UsageError, match="unknown option"):
        read(metrics, f"{entry.name}(no_such_option=1)")
    best, truth = perfect(entry.facts["kind"])
    assert read(metrics, entry.name)(*arguments(entry, best, truth)) == entry.build(*arguments(entry, best, truth))
    for name, parameter in entry.options().items():
        assert parameter.default is not parameter.empty, name


@ALL
@pytest.mark.parametrize("bad", [-1, "no such word"])
def test_bad_values_of_options_are_refused(entry: Entry, bad: object) -> None:
    """Each option refuses what its type or its range does not hold; a threshold may be any number."""
    best, truth = perfect(entry.facts["kind"])
    for name in entry.options():
        if (name == "threshold" or name == "seed") and bad == -1:
            continue
        with pytest.raises(UsageError):
            read(metrics, f"{entry.name}({name}={bad!r})")(*arguments(entry, best, truth))
