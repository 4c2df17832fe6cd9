"""Ten steps of every first-order optimiser against its paper's formula, written out in float64 with NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from danlu.train.optimizers import build, optimizers, set_rate

Array = np.ndarray
STEPS, RATE, DECAY = 10, 0.02, 0.1


class Steps:
    """A rule w <- w - move(w, g, rate, t) with up to three memories; coupled decay is added to the gradient."""

    coupled = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.a, self.b, self.c = np.zeros(shape), np.zeros(shape), np.zeros(shape)

    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        """What is taken from the weight."""
        raise NotImplementedError

    def run(self, w: Array, gradients: list[Array], rates: list[float], decay: float) -> Array:
        for t, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
            if self.coupled:
                w = w - self.move(w, g + decay * w, rate, t)
            else:
                move = self.move(w, g, rate, t)
                w = (1 - rate * decay) * w - move
        return w


class Gd(Steps):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        return rate * g


class Momentum(Steps):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        self.a = 0.9 * self.a + g
        return rate * self.a


class Nesterov(Steps):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        self.a = 0.9 * self.a + g
        return rate * (g + 0.9 * self.a)


class Adagrad(Steps):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        self.a = self.a + g**2
        return rate * g / (np.sqrt(self.a) + 1e-10)


class Rmsprop(Steps):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        self.a = 0.9 * self.a + 0.1 * g**2
        return rate * g / (np.sqrt(self.a) + 1e-8)


class Adadelta(Steps):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        self.a = 0.9 * self.a + 0.1 * g**2
        step = np.sqrt(self.b + 1e-6) / np.sqrt(self.a + 1e-6) * g
        self.b = 0.9 * self.b + 0.1 * step**2
        return rate * step


class Adam(Steps):
    def means(self, g: Array, t: int) -> tuple[Array, Array]:
        self.a = 0.9 * self.a + 0.1 * g
        self.b = 0.999 * self.b + 0.001 * g**2
        return self.a / (1 - 0.9**t), self.b / (1 - 0.999**t)

    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        m, v = self.means(g, t)
        return rate * m / (np.sqrt(v) + 1e-8)


class Adamw(Adam):
    coupled = False


class Amsgrad(Adam):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        m, _ = self.means(g, t)
        self.c = np.maximum(self.c, self.b)
        return rate * m / (np.sqrt(self.c / (1 - 0.999**t)) + 1e-8)


class Adamax(Steps):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        self.a = 0.9 * self.a + 0.1 * g
        self.b = np.maximum(0.999 * self.b, np.abs(g) + 1e-8)
        return rate / (1 - 0.9**t) * self.a / self.b


class Nadam(Adam):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        mu = [0.9 * (1 - 0.5 * 0.96 ** (0.004 * i)) for i in range(1, t + 2)]
        _, v = self.means(g, t)
        m = mu[t] * self.a / (1 - np.prod(mu)) + (1 - mu[t - 1]) * g / (1 - np.prod(mu[:t]))
        return rate * m / (np.sqrt(v) + 1e-8)


class Adabound(Adam):
    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        self.means(g, t)
        final = rate * 100
        low, high = final * (1 - 1 / (1e-3 * t + 1)), final * (1 + 1 / (1e-3 * t))
        # The authors' code: both corrections are in the numerator, and eps is added to the uncorrected root.
        rates = rate * np.sqrt(1 - 0.999**t) / (1 - 0.9**t) / (np.sqrt(self.b) + 1e-8)
        return np.clip(rates, low, high) * self.a


def rms(x: Array) -> float:
    return float(np.sqrt((x**2).mean()))


class Adafactor(Steps):
    coupled = False
    rows: Array | float = 0.0
    columns: Array | float = 0.0

    def move(self, w: Array, g: Array, rate: float, t: int) -> Array:
        keep, square = 1 - t**-0.8, g.reshape(len(g), -1) ** 2 + 1e-30
        if g.ndim > 1:
            self.rows = keep * self.rows + (1 - keep) * square.mean(1)
            self.columns = keep * self.columns + (1 - keep) * square.mean(0)
            v = np.outer(self.rows, self.columns) / self.rows.mean()
        else:
            self.rows = v = keep * self.rows + (1 - keep) * square[:, 0]
        u = g / np.sqrt(v).reshape(g.shape)
        return max(1e-3, rms(w)) * min(rate, t**-0.5) * u / max(1.0, rms(u))


RULES = {rule.__name__.lower(): rule for rule in (
    Gd, Momentum, Nesterov, Adagrad, Rmsprop, Adadelta, Adam, Adamw, Amsgrad, Adamax, Nadam, Adabound, Adafactor
)} | {"sgd": Nesterov}  # fmt: skip


def test_every_first_order_optimizer_is_here() -> None:
    assert set(RULES) | {"kfac"} == set(optimizers.names())


@pytest.mark.parametrize("kind", ["linear", "conv"])
@pytest.mark.parametrize("name", sorted(RULES))
def test_ten_steps(name: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    net = (nn.Linear(3, 4) if kind == "linear" else nn.Conv2d(2, 3, 3)).double()
    start = {key: rng.normal(size=tuple(p.shape)) for key, p in net.named_parameters()}
    gradients = {key: [rng.normal(size=w.shape) * 10 ** rng.uniform(-3, 1) for _ in range(STEPS)] for key, w in start.items()}
    rates = [RATE * (1 - 0.05 * i) for i in range(STEPS)]  # a falling one, as a schedule makes it
    with torch.no_grad():
        for key, p in net.named_parameters():
            p.copy_(torch.from_numpy(start[key]))
    optimizer = build(name, net, lr=RATE, weight_decay=DECAY, momentum=0.9, nesterov=True)
    for i, rate in enumerate(rates):
        set_rate(optimizer, rate)
        for key, p in net.named_parameters():
            p.grad = torch.from_numpy(gradients[key][i].copy())  # torch may change it
        optimizer.step()
    for key, p in net.named_parameters():
        decay = DECAY if p.ndim > 1 else 0.0
        expected = RULES[name](start[key].shape).run(start[key], gradients[key], rates, decay)
        np.testing.assert_allclose(p.detach().numpy(), expected, rtol=1e-6, atol=1e-9, err_msg=f"{name} {key}")


def test_nesterov_is_the_gradient_at_the_point_ahead() -> None:
    # Sutskever's form keeps the point behind: v <- m v - lr g(w + m v), w <- w + v; ours keeps w + m v.
    rng = np.random.default_rng(1)
    root = rng.normal(size=(3, 3))
    curve, w, v, m, rate = root @ root.T, rng.normal(size=3), np.zeros(3), 0.9, 0.01
    net = nn.Linear(3, 1, bias=False).double()
    with torch.no_grad():
        net.weight.copy_(torch.from_numpy(w[None]))
    optimizer = build("nesterov", net, lr=rate, weight_decay=0.0, momentum=m)
    for _ in range(STEPS):
        v = m * v - rate * curve @ (w + m * v)
        w = w + v
        net.weight.grad = torch.from_numpy((curve @ net.weight.detach().numpy()[0])[None])
        optimizer.step()
        np.testing.assert_allclose(net.weight.detach().numpy()[0], w + m * v, rtol=1e-9)


def test_adabound_goes_from_adam_to_sgd() -> None:
    def path(name: str, steps: int, **settings: float) -> float:
        net = nn.Linear(1, 1, bias=False).double()
        nn.init.zeros_(net.weight)
        optimizer = build(name, net, lr=1e-3, weight_decay=0.0, momentum=0.0, nesterov=False)
        for _ in range(steps):
            net.weight.grad = torch.full_like(net.weight, 2.0)
            optimizer.step()
        return float(net.weight.detach())

    assert path("adabound", 1) == pytest.approx(path("adam", 1), rel=1e-6)
    # With bounds that are closed from the start every step is final * lr * m, SGD at a rate of 100 lr with the mean of m.
    closed = path("adabound(gamma=1e9)", 200)
    assert closed == pytest.approx(sum(-0.1 * 2.0 * (1 - 0.9**t) for t in range(1, 201)), rel=1e-6)


def test_adafactor_of_matrices_and_vectors_is_that_of_torch() -> None:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    net, other = nn.Linear(5, 4).double(), nn.Linear(5, 4).double()
    other.load_state_dict(net.state_dict())
    ours = build("adafactor", net, lr=0.02, weight_decay=0.0)
    theirs = torch.optim.Adafactor(other.parameters(), lr=0.02)
    for _ in range(STEPS):
        for a, b in zip(net.parameters(), other.parameters(), strict=True):
            a.grad = torch.randn(a.shape, generator=generator, dtype=torch.float64)
            b.grad = a.grad.clone()
        ours.step()
        theirs.step()
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)
