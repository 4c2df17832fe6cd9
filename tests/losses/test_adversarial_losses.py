"""Losses of generators and critics: closed forms, the optimal critic, finite differences, games that converge."""

import math

import pytest
import torch
from torch import Tensor, nn

from danlu.errors import UsageError
from danlu.losses import (
    clip_weights,
    gradient_norms,
    least_squares,
    loss_sensitive,
    losses,
    minimax,
    non_saturating,
    wasserstein,
    wgan_gp,
)
from danlu.spec import read


def scores(seed: int) -> Tensor:
    return 2 * torch.randn(9, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def test_closed_forms_number_by_number() -> None:
    fake, real, gap = scores(0), scores(1), scores(2).abs()
    f, r = fake.tolist(), real.tolist()

    def d(score: float) -> float:
        return 1 / (1 + math.exp(-score))

    critic = mean([-math.log(d(x)) for x in r]) + mean([-math.log(1 - d(x)) for x in f])
    assert float(minimax(fake, real, side="critic")) == pytest.approx(critic)
    assert float(non_saturating(fake, real, side="critic")) == pytest.approx(critic)
    assert float(minimax(fake, side="generator")) == pytest.approx(mean([math.log(1 - d(x)) for x in f]))
    assert float(non_saturating(fake, side="generator")) == pytest.approx(mean([-math.log(d(x)) for x in f]))
    squares = mean([(x - 0.9) ** 2 for x in r]) / 2 + mean([(x + 0.1) ** 2 for x in f]) / 2
    assert float(least_squares(fake, real, side="critic", fake=-0.1, real=0.9)) == pytest.approx(squares)
    assert float(least_squares(fake, side="generator", aim=0.8)) == pytest.approx(mean([(x - 0.8) ** 2 for x in f]) / 2)
    assert float(wasserstein(fake, real, side="critic")) == pytest.approx(mean(f) - mean(r))
    assert float(wasserstein(fake, side="generator")) == pytest.approx(-mean(f))
    hinges = [max(0.0, g + b - a) for a, b, g in zip(f, r, gap.tolist(), strict=True)]
    assert float(loss_sensitive(fake, real, gap, side="critic", strength=3)) == pytest.approx(mean(r) + 3 * mean(hinges))
    assert float(loss_sensitive(fake, side="generator")) == pytest.approx(mean(f))
    penalty = mean([(g - 1) ** 2 for g in gap.tolist()])
    assert float(wgan_gp(fake, real, gap, side="critic", strength=5)) == pytest.approx(mean(f) - mean(r) + 5 * penalty)
    assert float(read(losses, "wgan_gp(side='generator')")(fake)) == pytest.approx(-mean(f))


def test_the_best_critic_of_the_first_game_measures_the_jensen_shannon_divergence() -> None:
    """Goodfellow et al. 2014, theorem 1: with D = p / (p + q) the critic's loss is 2 log 2 - 2 JSD(p || q)."""
    p, q = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64), torch.tensor([0.1, 0.3, 0.6], dtype=torch.float64)
    best = (p / q).log()  # the score of D = p / (p + q)
    counts = (1000 * p).round().long(), (1000 * q).round().long()
    real, fake = (best.repeat_interleave(count) for count in counts)
    m = (p + q) / 2
    divergence = float((p * (p / m).log()).sum() + (q * (q / m).log()).sum()) / 2
    assert float(minimax(fake, real, side="critic")) == pytest.approx(2 * math.log(2) - 2 * divergence)


def test_the_log_d_trick_keeps_a_slope_where_the_critic_is_sure() -> None:
    slopes = []
    for loss in (minimax, non_saturating):
        f = torch.tensor([-12.0], requires_grad=True)
        loss(f, side="generator").backward()
        slopes.append(abs(float(f.grad)))  # type: ignore[arg-type]
    assert slopes[0] < 1e-5
    assert slopes[1] > 0.999


def test_the_norm_of_a_linear_critic_is_that_of_its_weights_and_its_gradient_reaches_them() -> None:
    torch.manual_seed(0)
    critic, real, fake = nn.Linear(5, 1).double(), torch.randn(6, 5).double(), torch.randn(6, 5).double()
    norms = gradient_norms(critic, real, fake)
    size = critic.weight.detach().norm()
    assert torch.allclose(norms, size.expand(6))
    wgan_gp(critic(fake).flatten(), critic(real).flatten(), norms, side="critic", strength=7).backward()
    outward = critic.weight.detach() / size
    wanted = (fake.mean(0) - real.mean(0)) + 7 * 2 * (size - 1) * outward[0]
    assert torch.allclose(critic.weight.grad[0], wanted)  # type: ignore[index]


def test_the_norms_are_finite_differences_at_points_between_the_pairs() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 1)).double()
    real, fake = torch.randn(4, 3, 2, 2).double(), torch.randn(4, 3, 2, 2).double()
    seen = []

    def watched(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        found: Tensor = critic(x)
        return found

    norms = gradient_norms(watched, real, fake, torch.Generator().manual_seed(3))
    share = ((seen[0] - fake) / (real - fake)).flatten(1)
    assert torch.allclose(share, share[:, :1].expand_as(share)), "one share for all pixels of an image"
    assert ((share >= 0) & (share <= 1)).all()
    assert len(share[:, 0].unique()) == 4
    for i in range(4):
        slopes = []
        for pixel in range(12):
            step = torch.zeros(12, dtype=torch.float64)
            step[pixel] = 1e-6
            ahead, behind = (float(critic(seen[0][i : i + 1] + sign * step.view(1, 3, 2, 2)).detach()) for sign in (1, -1))
            slopes.append((ahead - behind) / 2e-6)
        assert float(norms[i].detach()) == pytest.approx(math.hypot(*slopes), rel=1e-6)
    assert torch.equal(norms, gradient_norms(critic, real, fake, torch.Generator().manual_seed(3)))
    # The penalty has a gradient of its own, through the gradient.
    weight = critic[1].weight

    def penalty(w: Tensor) -> Tensor:
        x = seen[0].requires_grad_(True)
        y = torch.func.functional_call(critic, {"1.weight": w}, (x,))
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return (slope.flatten(1).norm(dim=1) - 1).square().mean()

    (by_danlu,) = torch.autograd.grad((norms - 1).square().mean(), weight)
    (by_hand,) = torch.autograd.grad(penalty(weight), weight)
    assert torch.allclose(by_danlu, by_hand)
    assert torch.autograd.gradcheck(penalty, (weight,))


def test_a_critic_with_a_penalty_finds_the_earth_movers_distance() -> None:
    """Two points at a distance of 3 on a line: a critic of slope s costs -3 s + 10 (s - 1)^2, least at s = 1 + 3 / (2 * 10)."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1))
    optimizer = torch.optim.Adam(critic.parameters(), lr=0.02)
    real, fake = torch.full((32, 1), 1.5), torch.full((32, 1), -1.5)
    for _ in range(300):
        loss = wgan_gp(critic(fake), critic(real), gradient_norms(critic, real, fake), side="critic")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    apart = (critic(real).mean() - critic(fake).mean()).detach()
    assert float(apart) == pytest.approx(3 * (1 + 3 / (2 * 10)), rel=0.02)


@pytest.mark.parametrize("name", ["non_saturating", "least_squares", "wasserstein", "loss_sensitive", "minimax"])
def test_a_generator_of_one_number_moves_to_the_real_one(name: str) -> None:
    """The critic looks at x through a few bumps; the generator is a shift, that starts at -1 and should reach the real 1."""
    torch.manual_seed(0)
    centres = torch.linspace(-3, 3, 25)
    critic, shift = nn.Linear(25, 1), nn.Parameter(torch.tensor([-1.0]))
    noise = 0.5 * torch.randn(64)
    step = {"critic": torch.optim.SGD(critic.parameters(), lr=0.05), "generator": torch.optim.SGD([shift], lr=0.1)}

    def see(x: Tensor) -> Tensor:
        scores: Tensor = critic((-(x[:, None] - centres).square()).exp())[:, 0]
        return scores

    for turn in range(240):
        side = "critic" if turn % 2 == 0 else "generator"
        real, fake = 1 + noise, shift + noise.flip(0)
        beside = [(fake.detach() - real).abs()] if name == "loss_sensitive" else []
        loss = read(losses, f"{name}(side='{side}')")(see(fake), see(real), *beside)
        step[side].zero_grad()
        loss.backward()
        step[side].step()
        if name == "wasserstein":
            clip_weights(critic, 1.0)
    assert abs(float(shift.detach()) - 1) < 0.7


def test_clipping_keeps_small_weights_and_cuts_large_ones() -> None:
    critic = nn.Linear(3, 1)
    critic.weight.data = torch.tensor([[-0.5, 0.005, 0.02]])
    critic.bias.data = torch.tensor([-0.0099])
    clip_weights(critic)
    assert torch.equal(critic.weight.detach(), torch.tensor([[-0.01, 0.005, 0.01]]))
    assert torch.equal(critic.bias.detach(), torch.tensor([-0.0099]))
    assert critic.weight.requires_grad


def test_what_a_game_cannot_be() -> None:
    with pytest.raises(UsageError, match="fake and real must differ"):
        least_squares(scores(0), scores(1), side="critic", fake=1.0)
    with pytest.raises(UsageError, match=r"one shape, got \[\[9\], \[9\], None\]"):
        loss_sensitive(scores(0), scores(1), side="critic")
    with pytest.raises(UsageError, match="needs norms"):
        wgan_gp(scores(0), scores(1), side="critic")
    with pytest.raises(UsageError, match="strength must be from 0"):
        wgan_gp(scores(0), side="generator", strength=-1)
    with pytest.raises(UsageError, match="limit must be above 0"):
        clip_weights(nn.Linear(1, 1), 0)
    with pytest.raises(UsageError, match="one shape"):
        gradient_norms(nn.Linear(2, 1), torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(UsageError, match="needs side"):
        read(losses, "minimax")
    with pytest.raises(UsageError, match="'critic' or 'generator'"):
        read(losses, "minimax(side='both')")
