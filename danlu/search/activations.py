"""A search for activations: compositions b(u1(x), u2(x)) are drawn, a small net learns with each, the best are proven on seeds.

    random      each of the three functions evenly at random
    evolution   after the first `POPULATION` random ones: the best of `TOURNAMENT` of the last `POPULATION` gets one of its three
                functions drawn anew; the oldest leaves, however good

Every child is the same net in other activations, trained for the same steps from the same seed, as are relu and swish, the
references. The `finals` best, and the references, are then trained from further seeds, and judged by the mean: the best of many
single results is good luck as much as merit. Compositions that from -4 to 4 are constant, straight, not finite, or the same as an
earlier one are not tried.

Source: Ramachandran et al. 2017, https://arxiv.org/abs/1710.05941; the evolution: Real et al. 2018,
https://arxiv.org/abs/1802.01548.
Differs: the paper draws by a controller that learns by reinforcement, on ResNet-20 and CIFAR-10, 10,000 steps a child.
"""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass
from statistics import median
from time import monotonic
from typing import Any

import torch

from ..data import Source
from ..edits import edit
from ..errors import DanluError, UsageError
from ..nn.activations import BINARY, UNARY, ComposedActivation
from ..train import Interrupted, TrainConfig, fit
from ..zoo import create

Genes = tuple[str, str, str]
METHODS = ("evolution", "random")
REFERENCES = ("relu", "swish")
POPULATION, TOURNAMENT = 8, 3
DRAWS = 1000  # for a composition that is worth a try: there are 6,760
SHAPES = {
    "add": "{a} + {b}", "mul": "{a} * {b}", "sub": "{a} - {b}", "div": "{a} / {b}", "max": "max({a}, {b})",
    "min": "min({a}, {b})", "gated": "sigmoid({a}) * {b}", "near": "exp(-c ({a} - {b})^2)", "close": "exp(-c |{a} - {b}|)",
    "mix": "c {a} + (1 - c) {b}",
}  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One activation after one training. `accuracy` is on validation; None where the loss did not stay finite."""

    activation: str
    formula: str
    seed: int
    accuracy: float | None
    loss: float | None
    seconds: float

    @property
    def order(self) -> tuple[float, float]:
        """Larger is better: accuracy, then a smaller loss."""
        if self.accuracy is None or self.loss is None:
            return (-1.0, 0.0)
        return (self.accuracy, -self.loss)


@dataclass(frozen=True)
class Place:
    """A line of the leaderboard: mean, lowest and highest validation accuracy over `seeds` trainings."""

    activation: str
    formula: str
    reference: bool
    mean: float
    low: float
    high: float
    seeds: int


@dataclass(frozen=True)
class ActivationSearch:
    """What was tried, in order, and the leaderboard, best first."""

    net: str
    data: str
    method: str
    steps: int
    seed: int
    trials: list[Trial]
    leaderboard: list[Place]
    seconds: float

    @property
    def best(self) -> str:
        """The activation of highest mean, as swap_activation takes it."""
        return self.leaderboard[0].activation

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "best": self.best}


def search_activations(
    source: Source,
    *,
    net: str = "resnet8",
    trials: int | None = None,
    seconds: float | None = None,
    steps: int = 200,
    method: str = "evolution",
    finals: int = 3,
    seeds: int = 3,
    seed: int = 0,
    device: str = "cpu",
    log: Callable[[str], None] | None = None,
) -> ActivationSearch:
    """Try compositions on `net`, a recipe, until `trials` are made or `seconds` of wall clock are used, finals included.

    The draws and the trainings follow from `seed`; with `seconds` their number follows from the machine.
    Raises: UsageError for settings that cannot be, a net without activations, or seconds that do not suffice for the references.
    """
    check(trials, seconds, steps, method, finals, seeds)
    say = log or (lambda text: None)
    start = monotonic()
    child = Child(source, net, steps, device)
    found = [child.train(name, name, seed) for name in REFERENCES]
    for trial in found:
        say(line(trial))

    def needed() -> float:
        """Seconds of one more trial and of the finals; by the median, for the first training of a process is slow."""
        return median(trial.seconds for trial in found) * (1 + (finals + len(REFERENCES)) * (seeds - 1))

    if seconds is not None and monotonic() - start + needed() > seconds:
        raise UsageError(
            f"a search with one trial and its finals takes {monotonic() - start + needed():.0f} s, which is more than the "
            f"{seconds:.0f} s given; give more time, or fewer steps, finals or seeds"
        )
    draw = Draw(random.Random(seed), method)
    while len(draw.tried) < trials if trials is not None else monotonic() - start + needed() < (seconds or 0):
        genes = draw.next()
        if genes is None:
            say("no composition is left that was not tried")
            break
        trial = child.train(call(genes), formula(genes), seed)
        draw.judged(genes, trial.order)
        found.append(trial)
        say(line(trial))
    searched = sorted(found[len(REFERENCES) :], key=lambda trial: trial.order, reverse=True)
    chosen = found[: len(REFERENCES)] + [trial for trial in searched[:finals] if trial.accuracy is not None]
    places = []
    for trial in chosen:
        again = [child.train(trial.activation, trial.formula, seed + i) for i in range(1, seeds)]
        found += again
        places.append(place([trial, *again]))
        say(f"final: {places[-1].formula}  {100 * places[-1].mean:.2f} %")
    places.sort(key=lambda place: place.mean, reverse=True)
    return ActivationSearch(net, source.name, method, steps, seed, found, places, monotonic() - start)


def check(trials: int | None, seconds: float | None, steps: int, method: str, finals: int, seeds: int) -> None:
    """Raise UsageError for settings that cannot be."""
    if (trials is None) == (seconds is None):
        raise UsageError(f"a search needs one of trials and seconds, got trials={trials} and seconds={seconds}")
    if (trials is not None and trials < 1) or (seconds is not None and not seconds > 0):
        raise UsageError(f"trials must be from 1 and seconds above 0, got trials={trials} and seconds={seconds}")
    if method not in METHODS:
        raise UsageError(f"method is one of {', '.join(METHODS)}, got {method!r}")
    if min(steps, finals, seeds) < 1:
        raise UsageError(f"steps, finals and seeds must be from 1, got {steps}, {finals} and {seeds}")


class Child:
    """The net that every activation is put into, and how it is trained."""

    def __init__(self, source: Source, net: str, steps: int, device: str) -> None:
        self.source, self.steps, self.device = source, steps, device
        self.recipe = f"{net} | fit_input(size={source.input.size})" if "fit_input" not in net and "size=" not in net else net
        outcome = edit(self._made(0), 'swap_activation(to=\'composed(unary1="x", unary2="sin", binary="add")\')')
        if not outcome.changed:
            raise UsageError(
                f"{net} has no activation that can be swapped: {'; '.join(reason for _, reason in outcome.kept[:3])}"
            )

    def train(self, activation: str, shown: str, seed: int) -> Trial:
        """Train with an activation from a seed."""
        start = monotonic()
        net = edit(self._made(seed), f"swap_activation(to={activation!r})").model
        config = TrainConfig(steps=self.steps, batch_size=64, precision="fp32", memory_format="channels_last", seed=seed)
        try:
            done = fit(net, self.source, config, device=self.device)
        except (UsageError, Interrupted):
            raise
        except DanluError:  # the loss did not stay finite: that is an answer about the activation
            return Trial(activation, shown, seed, None, None, monotonic() - start)
        best = max(done.history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))
        return Trial(activation, shown, seed, done.best_accuracy, best["val_loss"], monotonic() - start)

    def _made(self, seed: int) -> torch.nn.Module:
        source = self.source
        return create(self.recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=seed)


class Draw:
    """Draws compositions that were not tried, at random or from the best of late."""

    def __init__(self, generator: random.Random, method: str = "evolution") -> None:
        self.generator, self.method = generator, method
        self.tried: list[Genes] = []
        self._seen: set[tuple[Any, ...]] = set()
        self._alive: list[tuple[tuple[float, float], Genes]] = []

    def next(self) -> Genes | None:
        """The next composition; None after `DRAWS` that are not worth a try."""
        for _ in range(DRAWS):
            genes = self._drawn()
            print_of = fingerprint(genes)
            if print_of is not None and print_of not in self._seen:
                self._seen.add(print_of)
                self.tried.append(genes)
                return genes
        return None

    def judged(self, genes: Genes, order: tuple[float, float]) -> None:
        """How good it was; the oldest of the population leaves."""
        self._alive = [*self._alive, (order, genes)][-POPULATION:]

    def _drawn(self) -> Genes:
        pools = (list(UNARY), list(UNARY), list(BINARY))
        if self.method == "random" or len(self._alive) < POPULATION:
            first, second, both = (self.generator.choice(pool) for pool in pools)
            return first, second, both
        _, parent = max(self.generator.sample(self._alive, TOURNAMENT))
        genes, gene = list(parent), self.generator.randrange(3)
        genes[gene] = self.generator.choice(pools[gene])
        return genes[0], genes[1], genes[2]


def fingerprint(genes: Genes) -> tuple[Any, ...] | None:
    """What tells compositions apart: their values from -4 to 4 and whether something is learned.

    None for one that no net needs: not finite there, constant, or a straight line.
    """
    x = torch.linspace(-4, 4, 65, dtype=torch.float64)
    layer = ComposedActivation(*genes).double()
    with torch.no_grad():
        y = layer(x)
    if not y.isfinite().all() or y.abs().max() > 1e4:
        return None
    bend = (y[2:] - 2 * y[1:-1] + y[:-2]).abs().max()
    if bend < 1e-6:
        return None
    return (layer.weight is not None, *(round(value, 6) + 0.0 for value in y.tolist()))


def call(genes: Genes) -> str:
    """As swap_activation takes it: "composed(unary1='x', unary2='gate', binary='mul')"."""
    return f"composed(unary1={genes[0]!r}, unary2={genes[1]!r}, binary={genes[2]!r})"


def formula(genes: Genes) -> str:
    """As people read it: "x * gate(x)"; b and c are learned."""
    short = {"x": "x", "neg": "-x", "abs": "|x|", "square": "x^2", "cube": "x^3", "beta": "b", "scale": "b x", "shift": "(x + b)"}
    names = [short.get(name, f"{name}(x)") for name in genes[:2]]
    return SHAPES[genes[2]].format(a=names[0], b=names[1])


def place(trials: list[Trial]) -> Place:
    """A line of the leaderboard; a training that did not stay finite counts as an accuracy of 0."""
    scores = [trial.accuracy or 0.0 for trial in trials]
    first = trials[0]
    reference = first.activation in REFERENCES
    mean = sum(scores) / len(scores)
    return Place(first.activation, first.formula, reference, mean, min(scores), max(scores), len(scores))


def line(trial: Trial) -> str:
    """A trial for people."""
    got = "diverged" if trial.accuracy is None else f"{100 * trial.accuracy:6.2f} %  loss {trial.loss:.4f}"
    return f"{got}  {trial.formula}  ({trial.seconds:.1f} s)"
