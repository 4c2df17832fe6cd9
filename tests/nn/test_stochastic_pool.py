"""Stochastic pooling: the chances it draws with, and that inference gives the mean of what training draws."""

import torch

from danlu.nn import StochasticPool2d


def test_draws_each_pixel_with_its_share_of_the_sum() -> None:
    # The example of the paper's figure 1: activations 1.6 and 2.4 among zeros are drawn with 0.4 and 0.6.
    torch.manual_seed(0)
    window = torch.tensor([[1.6, 0.0, 0.0], [0.0, 0.0, 2.4], [0.0, 0.0, 0.0]])
    drawn = StochasticPool2d(3)(window.expand(20_000, 1, 3, 3)).flatten()
    assert set(drawn.unique().tolist()) == {window[0, 0].item(), window[1, 2].item()}
    share = (drawn > 2).double().mean().item()
    assert abs(share - 0.6) < 5 * (0.24 / 20_000) ** 0.5
    weighted = StochasticPool2d(3).eval()(window.expand(1, 1, 3, 3))
    torch.testing.assert_close(weighted.item(), 0.4 * 1.6 + 0.6 * 2.4)


def test_inference_is_the_mean_of_training_also_where_windows_overlap() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 2, 5, 6, generator=torch.Generator().manual_seed(1))
    pool = StochasticPool2d(3, 2, 1, True)
    times = 20_000
    drawn = pool(x.expand(times, -1, -1, -1))
    error = (drawn.mean(0) - pool.eval()(x)[0]).abs()
    assert (error <= 5 * drawn.std(0) / times**0.5 + 1e-6).all()


def test_what_is_drawn_is_in_the_window_and_alone_gets_the_gradient() -> None:
    torch.manual_seed(0)
    x = (torch.rand(2, 3, 6, 6) + 0.1).requires_grad_()
    y = StochasticPool2d(2)(x)
    y.sum().backward()
    cells = x.detach().unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    chosen = x.grad.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
    assert torch.equal(chosen.sum(-1), torch.ones_like(y))
    assert torch.equal((cells * chosen).sum(-1), y)


def test_negative_activations_are_never_drawn() -> None:
    torch.manual_seed(0)
    x = torch.tensor([[-5.0, 2.0], [-1.0, 0.0]]).expand(1000, 1, 2, 2)
    assert (StochasticPool2d(2)(x) == 2).all()
    assert (StochasticPool2d(2).eval()(x) == 2).all()
    assert (StochasticPool2d(2)(-x.abs()) == 0).all()


def test_two_passes_differ_in_training_only() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 3, 16, 16)
    pool = StochasticPool2d(2)
    assert not torch.equal(pool(x), pool(x))
    assert torch.equal(pool.eval()(x), pool(x))
