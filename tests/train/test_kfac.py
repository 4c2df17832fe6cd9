"""K-FAC against the dense curvature matrix that its factors stand for, and the manners of its hooks."""

import copy
import gc
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from danlu.data import Source
from danlu.edits import edit
from danlu.train import Interrupted, TrainConfig, fit
from danlu.train import plan as planning
from danlu.train.optimizers import build, set_rate
from danlu.train.optimizers._curvature import curved_layers, inverse, patches, places, rows_of
from danlu.train.optimizers.kfac import KFAC

Make = Callable[..., nn.Sequential]
Config = Callable[..., TrainConfig]
Array = np.ndarray
IMAGES, DAMPING, KEEP, TRUST, MOMENTUM, DECAY = 6, 0.05, 0.6, 1e-2, 0.9, 0.1
TEXT = f"kfac(damping={DAMPING}, decay={KEEP}, trust={TRUST}"


def tiny() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh(), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 4, bias=False)
    ).double()


def windows(x: Array) -> Array:
    """Patches of a 3x3 convolution with stride 2 and padding 1, by hand. [B, C, 4, 4] -> [B, 4 places, C * 9 + 1]."""
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    found = [padded[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].reshape(len(x), -1) for i in (0, 1) for j in (0, 1)]
    stacked = np.stack(found, 1)
    return np.concatenate([stacked, np.ones((*stacked.shape[:2], 1))], 2)


class Dense:
    """One layer's damped curvature as a dense matrix over (output, input), and the natural gradient by solving with it."""

    def __init__(self) -> None:
        self.a: Array | None = None
        self.g: Array | None = None
        self.k = 0

    def see(self, inputs: Array, gradients: Array) -> None:
        """Shape: inputs [B, T, N], gradients of each image's own loss [B, T, M]."""
        a = sum(np.outer(row, row) for image in inputs for row in image) / len(inputs)
        g = sum(np.outer(row, row) for image in gradients for row in image) / (len(inputs) * inputs.shape[1])
        self.k += 1
        keep = min(1 - 1 / self.k, KEEP)
        self.a = a if self.a is None else keep * self.a + (1 - keep) * a
        self.g = g if self.g is None else keep * self.g + (1 - keep) * g

    def invert(self) -> None:
        pi = np.sqrt((np.trace(self.a) / len(self.a)) / (np.trace(self.g) / len(self.g)))
        left = self.g + np.sqrt(DAMPING) / pi * np.eye(len(self.g))
        right = self.a + pi * np.sqrt(DAMPING) * np.eye(len(self.a))
        self.curvature = np.kron(left, right)

    def natural(self, gradient: Array) -> Array:
        return np.linalg.solve(self.curvature, gradient.reshape(-1)).reshape(gradient.shape)


@pytest.mark.parametrize(("every", "refresh"), [(1, 1), (2, 3)], ids=["full", "amortised"])
def test_ten_steps_against_the_dense_curvature(every: int, refresh: int) -> None:
    net, other = tiny().train(), tiny().train()
    optimizer = build(f"{TEXT}, every={every}, refresh={refresh})", net, lr=0.5, weight_decay=DECAY, momentum=MOMENTUM)
    conv, norm, linear = other[0], other[2], other[4]
    curves = {"conv": Dense(), "linear": Dense()}
    velocity: dict[str, Array] = {}
    generator = torch.Generator().manual_seed(1)
    for step in range(10):
        rate = 0.5 * (1 - 0.05 * step)
        set_rate(optimizer, rate)
        x = torch.randn(IMAGES, 2, 4, 4, generator=generator, dtype=torch.float64)
        y = torch.randint(4, (IMAGES,), generator=generator)
        nn.functional.cross_entropy(net(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

        between = conv(x)
        features = nn.Flatten()(norm(torch.tanh(between)))
        logits = linear(features)
        losses = nn.functional.cross_entropy(logits, y, reduction="none")
        # Of the sum of the losses: each image's own gradient (batch norm lets the images see each other).
        to_conv, to_linear = torch.autograd.grad(losses.sum(), [between, logits], retain_graph=True)
        losses.mean().backward()
        if step % every == 0:
            curves["conv"].see(windows(x.numpy()), to_conv.flatten(2).transpose(1, 2).numpy())
            curves["linear"].see(features.detach().numpy()[:, None], to_linear.numpy()[:, None])
        if step % refresh == 0:
            for curve in curves.values():
                curve.invert()
        g_conv = np.concatenate([conv.weight.grad.flatten(1).numpy(), conv.bias.grad.numpy()[:, None]], 1)
        g_linear = linear.weight.grad.numpy()
        d_conv, d_linear = curves["conv"].natural(g_conv), curves["linear"].natural(g_linear)
        nu = min(1.0, np.sqrt(TRUST / (rate**2 * ((d_conv * g_conv).sum() + (d_linear * g_linear).sum()))))
        moves = {
            "0.weight": nu * d_conv[:, :-1].reshape(3, 2, 3, 3), "0.bias": nu * d_conv[:, -1], "4.weight": nu * d_linear,
            "2.weight": norm.weight.grad.numpy(), "2.bias": norm.bias.grad.numpy(),
        }  # fmt: skip
        with torch.no_grad():
            for name, parameter in other.named_parameters():
                velocity[name] = MOMENTUM * velocity.get(name, 0.0) + moves[name]
                keep = 1 - rate * DECAY if name in ("0.weight", "4.weight") else 1.0
                parameter.copy_(parameter * keep - rate * torch.from_numpy(velocity[name]))
        other.zero_grad()
        for name, parameter in other.named_parameters():
            torch.testing.assert_close(net.get_parameter(name), parameter, rtol=1e-8, atol=1e-10, msg=f"step {step}: {name}")


def test_one_undamped_step_solves_a_linear_regression() -> None:
    # For the squared error the curvature of the outputs is the identity, and the natural step is Newton's.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(200, 5, generator=generator, dtype=torch.float64) @ torch.diag(torch.tensor([10.0, 3, 1, 0.3, 0.1]).double())
    y = x @ torch.randn(5, 3, generator=generator, dtype=torch.float64) + 2.0
    net = nn.Linear(5, 3).double()
    optimizer = build("kfac(damping=1e-18, trust=1e12)", net, lr=1.0, weight_decay=0.0, momentum=0.0)
    assert isinstance(optimizer, KFAC)
    net(x).square().sum(1).mean().backward()  # both factors are seen in a pass
    optimizer.zero_grad()
    state = optimizer.state[net.weight]
    state["g_sum"] = torch.eye(3, dtype=torch.float64) * state["g_seen"]
    optimizer.every = 10**9
    state["step"] = torch.ones(())  # no further look
    (0.5 * (net(x) - y).square().sum(1)).mean().backward()
    optimizer.step()
    expected = torch.linalg.lstsq(torch.cat([x, torch.ones(200, 1).double()], 1), y).solution
    torch.testing.assert_close(torch.cat([net.weight, net.bias[:, None]], 1).T, expected, rtol=1e-4, atol=1e-5)


def test_patches_of_tokens_and_images() -> None:
    tokens, linear = torch.randn(2, 3, 5), nn.Linear(5, 4)
    rows = patches(linear, tokens, linear(tokens), torch.arange(6))
    assert rows.shape == (6, 6)
    assert torch.equal(rows[:, :5], tokens.reshape(6, 5))
    assert bool((rows[:, 5] == 1).all())
    for settings in ({"stride": (1, 2), "dilation": (1, 2)}, {"padding": (2, 1), "stride": 2}):
        conv = nn.Conv2d(2, 7, (1, 3), bias=False, **settings)
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(3, 2, 4, 9).to(memory_format=layout)
            output = conv(x)
            some = torch.tensor([0, 5, 11, output.numel() // 7 - 1])
            by_patches = patches(conv, x, output, some) @ conv.weight.flatten(1).T
            torch.testing.assert_close(by_patches, rows_of(conv, output, some))
            torch.testing.assert_close(by_patches, output.movedim(1, -1).flatten(0, -2)[some])


def test_every_place_is_as_likely_as_any_other() -> None:
    assert places(9, 9, seed=3).tolist() == list(range(9))
    counts = torch.zeros(20)
    for seed in range(4000):
        chosen = places(20, 7, seed)
        assert len(chosen) == 7
        counts[chosen] += 1
    expected = 4000 * 7 / 20
    assert float((counts - expected).abs().max()) < 5 * expected**0.5
    last = [int(places(10**6, 3, seed).max()) for seed in range(50)]
    assert max(last) < 10**6


def test_looks_at_some_places_of_all_images() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(48, 2)).double().train()
    x = torch.randn(8, 2, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    between = model[0](x)
    gradient = torch.autograd.grad(model[2](model[1](between)).square().sum(1).mean(), between)[0] * 8
    inputs = nn.functional.unfold(x, 3).transpose(1, 2).flatten(0, 1)  # 8 images of 16 places
    inputs = torch.cat([inputs, torch.ones(128, 1).double()], 1)
    outputs = gradient.flatten(2).transpose(1, 2).flatten(0, 1)
    for rows in (33, 128, 4096):
        optimizer = build(f"kfac(rows={rows})", model, lr=0.01, weight_decay=0.0, momentum=0.9)
        model(x).square().sum(1).mean().backward()
        seen, chosen = optimizer.state[model[0].weight], places(128, rows, seed=0)
        assert len(chosen) == min(rows, 128)
        a, g = inputs[chosen], outputs[chosen]
        torch.testing.assert_close(seen["a_sum"], 16 * a.T @ a / len(chosen))  # of an image: the sum over its 16 places
        torch.testing.assert_close(seen["g_sum"], g.T @ g / len(chosen))
        assert isinstance(optimizer, KFAC)
        optimizer.release()


def test_layers_of_one_shape_go_together_as_they_would_alone() -> None:
    """Three equal layers, one of them at another rate, one without a gradient in some steps; against each alone."""
    torch.manual_seed(0)
    net = nn.ModuleList([nn.Linear(4, 4) for _ in range(3)]).double().train()
    text = "kfac(trust=1e12, every=1, refresh=2)"
    optimizer = build(text, net, lr=0.1, weight_decay=0.0, momentum=0.0, rates={"1.*": 0.5})
    alone = [copy.deepcopy(layer) for layer in net]
    singles = [
        build(text, layer, lr=0.1 * (0.5 if i == 1 else 1), weight_decay=0.0, momentum=0.0) for i, layer in enumerate(alone)
    ]
    for step in range(5):
        x = torch.randn(3, 7, 4, dtype=torch.float64)
        used = [i for i in range(3) if not (i == 2 and step in (1, 2))]
        for layers in (net, alone):
            sum(layers[i](x[i]).square().sum(1).mean() for i in used).backward()
        for one in (optimizer, *singles):
            one.step()
            one.zero_grad()
        for together, single in zip(net, alone, strict=True):
            torch.testing.assert_close(together.weight, single.weight, rtol=1e-9, atol=1e-12)
            torch.testing.assert_close(together.bias, single.bias, rtol=1e-9, atol=1e-12)


def test_inverses_against_numpy_and_what_has_none() -> None:
    root = torch.randn(3, 9, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrices, ridges = root.mT @ root, torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    expected = np.linalg.inv(matrices.numpy() + ridges.numpy()[:, None, None] * np.eye(5))
    found = inverse(matrices.clone(), ridges)
    assert np.allclose(found.numpy(), expected, rtol=1e-9)
    matrices[1] = -10 * torch.eye(5)
    matrices[2, 0, 0] = torch.nan
    found = inverse(matrices, ridges)
    assert np.allclose(found[0].numpy(), expected[0], rtol=1e-9)
    assert bool(found[1:].isnan().all())


def test_which_layers_have_curvature() -> None:
    shared = nn.Linear(4, 4)
    net = nn.ModuleDict({
        "linear": nn.Linear(4, 4), "conv": nn.Conv2d(4, 4, 3), "grouped": nn.Conv2d(4, 4, 3, groups=4),
        "same": nn.Conv2d(4, 4, 3, padding="same"), "reflect": nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        "norm": nn.BatchNorm2d(4), "line": nn.Conv1d(4, 4, 3), "a": shared, "b": nn.Linear(4, 4), "frozen": nn.Linear(4, 4),
    })  # fmt: skip
    net["b"].weight = shared.weight
    held = {id(p) for name, p in net.named_parameters() if not name.startswith("frozen")}
    assert curved_layers(net, held) == [net["linear"], net["conv"]]
    encoded = edit(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)), "prune(sparsity=0.5, skip=['1'])").model
    assert curved_layers(encoded, {id(p) for p in encoded.parameters()}) == [encoded[1]]


def test_hooks_go_with_the_training_and_copies_are_deaf(net: Make) -> None:
    model = net().train()
    optimizer = build("kfac", model, lr=0.01, weight_decay=0.0, momentum=0.9)
    twin = copy.deepcopy(model)
    twin(torch.randn(4, 1, 8, 8)).sum().backward()
    assert not any(optimizer.state.values())
    model.eval()(torch.randn(4, 1, 8, 8))
    assert not any(optimizer.state.values())
    with torch.no_grad():
        model.train()(torch.randn(4, 1, 8, 8))
    assert not any(optimizer.state.values())
    assert isinstance(optimizer, KFAC)
    optimizer.release()
    assert not any(module._forward_hooks for module in model.modules())
    known = weakref.ref(optimizer)
    del optimizer
    gc.collect()
    assert known() is None
    twin(torch.randn(4, 1, 8, 8))  # its hooks are still there, and find nobody


def test_a_gradient_that_is_not_finite_is_left_to_the_guard() -> None:
    net = nn.Linear(3, 2)
    optimizer = build("kfac", net, lr=0.01, weight_decay=0.0, momentum=0.9)
    net(torch.full((4, 3), torch.inf)).sum().backward()
    optimizer.step()
    assert not bool(net.weight.isfinite().all())


@pytest.mark.parametrize("settings", [{}, {"grow_batch": True, "schedule": "step", "batch_size": 8}])
def test_trains_and_resumes_bit_for_bit(
    settings: dict, few: Source, net: Make, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(planning, "SAVE_SECONDS", (0.0, 20.0))
    monkeypatch.setattr(planning, "SAVE_SHARE", float("inf"))
    made = config(**{"epochs": 4, "optimizer": "kfac(refresh=4)", "rates": {"8.*": 2}, **settings})
    straight = fit(net(), few, made)
    assert straight.best_accuracy > 0.6
    assert not any(module._forward_hooks for module in straight.model.modules())
    for stop in (7, 6):  # between two looks and two inversions
        steps = iter(range(1, 1000))
        with pytest.raises(Interrupted):
            fit(net(), few, made, run=tmp_path, resume=True, stop=lambda steps=steps, stop=stop: next(steps) >= stop)
    weights = fit(net(), few, made, run=tmp_path, resume=True).model.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in straight.model.state_dict().items())


def test_works_in_low_precision(few: Source, net: Make, config: Config) -> None:
    done = fit(net(), few, config(epochs=2, optimizer="kfac", precision="bf16"))
    assert all(bool(tensor.isfinite().all()) for tensor in done.model.state_dict().values() if isinstance(tensor, Tensor))
    assert done.best_accuracy > 0.4
