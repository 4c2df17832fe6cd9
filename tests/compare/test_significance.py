"""The test of differences: against plain loops, McNemar's exact test, and how often it errs where nothing differs."""

import itertools
from math import comb, inf, sqrt

import numpy as np
import pytest

from danlu.compare.significance import holm, mean_of, paired, prior, sides
from danlu.compare.student import quantile, two_sided
from danlu.errors import UsageError


def runs(rng: np.random.Generator, level: float, scatter: float, ease: np.ndarray, seeds: int) -> np.ndarray:
    """Which images are right: their ease, a luck of each seed, and noise. Shape: bool [S, N]."""
    luck, noise = rng.normal(0, scatter, (seeds, 1)), rng.normal(0, 0.5, (seeds, len(ease)))
    return np.asarray(ease + level + luck + noise > 0)


@pytest.mark.parametrize(("only_a", "only_b"), [(3, 0), (6, 0), (10, 0), (15, 4), (30, 22), (5, 5)])
def test_one_seed_is_mcnemars_test(only_a: int, only_b: int) -> None:
    """The exact one, from the binomial distribution of the images on which the two differ."""
    a = np.array([1] * only_a + [0] * only_b + [1] * 400 + [0] * 100)
    b = np.array([0] * only_a + [1] * only_b + [1] * 400 + [0] * 100)
    found = paired(*sides({"a": a[None], "b": b[None]}).values())
    n = only_a + only_b
    exact = min(1.0, 2 * sum(comb(n, k) for k in range(max(only_a, only_b), n + 1)) / 2**n)
    assert found.mean == pytest.approx((only_a - only_b) / len(a))
    assert found.p == pytest.approx(exact, abs=0.03)
    assert found.low < found.mean < found.high


def test_seeds_and_images_against_plain_loops() -> None:
    rng = np.random.default_rng(0)
    ease = rng.normal(1, 1, 60)
    tables = {"a": runs(rng, 0.4, 0.6, ease, 4), "b": runs(rng, 0.0, 0.6, rng.permutation(ease), 4)}
    seeds, images = tables["a"].shape
    own = {}
    for name, table in tables.items():
        means = [sum(float(v) for v in row) / images for row in table]
        mean = sum(means) / seeds
        own[name] = sum((m - mean) ** 2 for m in means) / (seeds - 1)
    d = tables["a"].astype(float) - tables["b"]
    mean = sum(map(sum, d)) / (seeds * images)
    between = seeds * sum((sum(d[s][i] for s in range(seeds)) / seeds - mean) ** 2 for i in range(images)) / (images - 1)
    rest = sum(
        (d[s][i] - sum(d[s]) / images - sum(d[k][i] for k in range(seeds)) / seeds + mean) ** 2
        for s in range(seeds) for i in range(images)
    ) / ((seeds - 1) * (images - 1))  # fmt: skip
    parts = [(own["a"] / seeds, 3), (own["b"] / seeds, 3), ((between - rest) / (seeds * images), images - 1)]
    assert parts[2][0] > 0
    whole = sum(part for part, _ in parts)
    df = whole**2 / sum(part**2 / one for part, one in parts)
    found = paired(*sides(tables).values())
    assert (found.mean, found.df) == (pytest.approx(mean), pytest.approx(df))
    assert found.p == pytest.approx(two_sided((abs(mean) - 1 / (seeds * images)) / sqrt(whole), df))
    assert found.high == pytest.approx(mean + quantile(0.95, df) * sqrt(whole))
    back = paired(*reversed(sides(tables).values()))
    assert (back.mean, back.low, back.high, back.p) == pytest.approx((-found.mean, -found.high, -found.low, found.p))


def test_the_prior_is_found_again() -> None:
    """Variances drawn from a scaled inverse chi-square prior with k0 = 8 around 2, each seen with 3 degrees of freedom."""
    rng = np.random.default_rng(1)
    true = 8 * 2 / rng.chisquare(8, 40_000)
    seen = true * rng.chisquare(3, 40_000) / 3
    common, k0 = prior(list(seen), 3)
    assert common == pytest.approx(2, rel=0.03)
    assert k0 == pytest.approx(8, rel=0.1)
    same = list(5 * rng.chisquare(3, 50) / 3 + 5)
    assert prior(same, 3) == (pytest.approx(np.mean(same)), inf)  # closer together than chance has them
    assert prior([1.0, 2.0, 3.0], 3) == (0, 0)


def test_seeds_that_happen_to_agree_prove_nothing() -> None:
    """The variance between seeds is at least what single images that flip account for."""
    a = np.array([[1, 1, 0, 0] * 25, [0, 0, 1, 1] * 25, [1, 0, 1, 0] * 25])
    assert a.mean(1).var() == 0
    side = sides({"a": a, "b": 1 - a})["a"]
    rest = sum(float(v) ** 2 for v in (a - a.mean(0)).flat) / (2 * 99)
    assert side.variance == pytest.approx(rest / 100)


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_it_errs_as_seldom_as_it_says_and_finds_what_is_there(seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    trials, wrong, found = 40, 0, 0
    scatter = 0.0 if seeds == 1 else 0.05  # one seed cannot know of another
    for _ in range(trials):
        ease = rng.normal(1, 1, 1000)
        levels = [0.0] * 6 + [0.5]
        judged = sides({i: runs(rng, level, scatter, ease, seeds) for i, level in enumerate(levels)})
        pairs = list(itertools.combinations(judged, 2))
        p = holm([paired(judged[a], judged[b]).p for a, b in pairs])
        wrong += any(one < 0.05 for one, (_, b) in zip(p, pairs, strict=True) if b < 6)
        found += sum(one < 0.05 for one, (_, b) in zip(p, pairs, strict=True) if b == 6)
    assert wrong / trials <= 0.1
    assert found / (6 * trials) > 0.6


def test_means_of_settings_and_their_correction_for_continuity() -> None:
    rng = np.random.default_rng(2)
    ease = rng.normal(1, 1, 200)
    judged = sides({i: runs(rng, 0.0, 0.1, ease, 3) for i in range(4)})
    both = mean_of([judged[0], judged[1]])
    assert both.settings == 2
    assert both.variance == pytest.approx((judged[0].variance + judged[1].variance) / 4)
    assert both.right.mean() == pytest.approx((judged[0].right.mean() + judged[1].right.mean()) / 2)
    assert both.df <= judged[0].df + 1e-9
    assert paired(both, mean_of([judged[2], judged[3]])).p <= 1


def test_no_difference_at_all_and_one_on_every_image() -> None:
    ones, zeros = np.ones((2, 9)), np.zeros((2, 9))
    same = sides(dict.fromkeys(range(3), ones))
    assert (paired(same[0], same[1]).p, paired(same[0], same[1]).mean) == (1, 0)
    apart = sides({0: ones, 1: zeros})
    assert (paired(apart[0], apart[1]).p, paired(apart[0], apart[1]).mean) == (0, 1)


def test_holm_by_hand() -> None:
    # Holm 1979: 3 x 0.01, then max(0.03, 2 x 0.02), then max(0.04, 1 x 0.03).
    assert holm([0.02, 0.01, 0.03]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_tables_of_different_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match="one shape"):
        sides({"a": np.ones((2, 5)), "b": np.ones((2, 6))})
    with pytest.raises(UsageError, match="one shape"):
        sides({"a": np.ones(5)})
    assert sides({}) == {}
