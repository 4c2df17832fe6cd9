"""The search for activations: what is drawn, how evolution goes on, finals on seeds, and a real search in miniature."""

import itertools
import random
from typing import Any

import pytest
import torch

from danlu.data import load_data
from danlu.edits import edit
from danlu.errors import DanluError, UsageError
from danlu.nn.activations import BINARY, UNARY, build
from danlu.search import activations
from danlu.search.activations import Draw, Trial, call, fingerprint, formula, search_activations
from danlu.train import Interrupted

SOURCE = load_data("digits")
NET = "lenet_300_100(size=8, width=0.1)"


def test_a_call_builds_what_the_formula_says() -> None:
    genes = ("x", "gate", "mul")
    assert formula(genes) == "x * gate(x)"
    x = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(build(call(genes))(x), x * torch.sigmoid(x))
    assert formula(("neg", "beta", "near")) == "exp(-c (-x - b)^2)"


def test_what_is_not_worth_a_try() -> None:
    for genes in (("x", "neg", "add"), ("x", "shift", "mix"), ("beta", "beta", "mul"), ("exp", "min0", "div")):
        assert fingerprint(genes) is None, genes
    assert fingerprint(("sin", "tanh", "mul")) == fingerprint(("tanh", "sin", "mul"))
    assert fingerprint(("x", "sigmoid", "mul")) != fingerprint(("x", "gate", "mul")), "one of them learns"


def test_draws_follow_from_the_seed_and_do_not_repeat() -> None:
    def drawn(seed: int) -> list[Any]:
        draw = Draw(random.Random(seed), "random")
        return [draw.next() for _ in range(60)]

    assert drawn(1) == drawn(1) != drawn(2)
    prints = [fingerprint(genes) for genes in drawn(1)]
    assert len(set(prints)) == 60


def test_a_space_that_is_used_up_ends_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "UNARY", {name: UNARY[name] for name in ("sin", "tanh")})
    monkeypatch.setattr(activations, "BINARY", {"add": BINARY["add"]})
    draw = Draw(random.Random(0), "random")
    found = [draw.next() for _ in range(5)]
    mixed = {"sin(x) + tanh(x)", "tanh(x) + sin(x)"}
    assert {formula(genes) for genes in found if genes} <= {"sin(x) + sin(x)", "tanh(x) + tanh(x)"} | mixed
    assert [genes is None for genes in found] == [False, False, False, True, True]


def test_evolution_finds_what_random_draws_do_not() -> None:
    """A made-up merit: one point for each function that is the right one."""
    goal = ("x", "gate", "mul")

    def best(method: Any, seed: int) -> int:
        draw = Draw(random.Random(seed), method)
        scores = []
        for _ in range(120):
            genes = draw.next()
            assert genes is not None
            scores.append(sum(a == b for a, b in zip(genes, goal, strict=True)))
            draw.judged(genes, (float(scores[-1]), 0.0))
        return max(scores)

    evolved, random_ones = ([best(method, seed) for seed in range(12)] for method in ("evolution", "random"))
    assert sum(evolved) > sum(random_ones)


def test_finals_are_judged_by_their_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lucky first seed of one activation is no merit."""
    order = itertools.count()

    def train(self: Any, activation: str, shown: str, seed: int) -> Trial:
        number = next(order)
        score = {"relu": 0.8, "swish": 0.7}.get(activation, 0.99 if number == 3 and seed == 0 else 0.5 + 0.001 * number)
        return Trial(activation, shown, seed, None if number == 4 else score, 1.0, 0.0)

    monkeypatch.setattr(activations.Child, "train", train)
    found = search_activations(SOURCE, net=NET, trials=6, finals=2, seeds=3)
    assert [place.activation for place in found.leaderboard[:2]] == ["relu", "swish"]
    assert [place.reference for place in found.leaderboard] == [True, True, False, False]
    assert found.trials[3].activation == found.leaderboard[2].activation
    assert all(place.seeds == 3 for place in found.leaderboard)
    assert found.leaderboard[2].high == 0.99
    assert len(found.trials) == 2 + 6 + 4 * 2
    assert found.trials[4].activation not in {place.activation for place in found.leaderboard}


def test_a_search_in_miniature() -> None:
    said: list[str] = []
    options: dict[str, Any] = {"net": NET, "trials": 2, "steps": 3, "finals": 1, "seeds": 2, "seed": 5, "method": "random"}
    found = search_activations(SOURCE, **options, log=said.append)
    assert [trial.activation for trial in found.trials[:2]] == ["relu", "swish"]
    assert len(found.leaderboard) == 3
    assert all(place.low <= place.mean <= place.high for place in found.leaderboard)
    best = found.to_json()["best"]
    assert edit(activations.Child(SOURCE, NET, 1, "cpu")._made(0), f"swap_activation(to={best!r})").model is not None
    assert len(said) == 4 + 3
    other = search_activations(SOURCE, **options)
    assert [(t.activation, t.accuracy) for t in other.trials] == [(t.activation, t.accuracy) for t in found.trials]


def test_a_divergence_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise DanluError("the loss is not a finite number")

    monkeypatch.setattr(activations, "fit", fails)
    trial = activations.Child(SOURCE, NET, 1, "cpu").train("relu", "relu", 0)
    assert (trial.accuracy, trial.loss) == (None, None)


def test_usage() -> None:
    for options, message in (
        ({}, "one of trials and seconds"),
        ({"trials": 1, "seconds": 1.0}, "one of trials and seconds"),
        ({"trials": 0}, "trials must be from 1"),
        ({"trials": 1, "method": "grid"}, "method is one of evolution, random, got 'grid'"),
        ({"trials": 1, "seeds": 0}, "seeds must be from 1"),
        ({"seconds": 0.01, "steps": 1, "net": NET}, "which is more than the 0 s given"),
    ):
        with pytest.raises(UsageError, match=message):
            search_activations(SOURCE, **options)


def test_a_search_that_is_asked_to_stop_does_not_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def stopped(*words: Any, **options: Any) -> None:
        calls.append(words)
        raise Interrupted("training was interrupted", 130)

    monkeypatch.setattr(activations, "fit", stopped)
    with pytest.raises(Interrupted):
        search_activations(SOURCE, net=NET, trials=2, steps=1)
    assert len(calls) == 1
