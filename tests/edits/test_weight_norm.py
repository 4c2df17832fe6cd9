"""weight_norm: against torch's own parametrisation, its gradient's angle, and what becomes of it in files and in other edits."""

from pathlib import Path

import pytest
import torch
from torch import nn

from danlu.codec import load_saved, save
from danlu.data import Input
from danlu.edits import edit
from danlu.edits.weight_norm import weight_norm
from danlu.encodings import WeightNorm, bake, encode
from danlu.zoo import create


@pytest.mark.parametrize("layer", [nn.Linear(4, 3), nn.Conv2d(4, 6, 3, groups=2), nn.ConvTranspose2d(4, 6, 3)])
def test_it_trains_as_torchs_own(layer: nn.Module) -> None:
    layer = layer.double()
    axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    mine = weight_norm(nn.Sequential(layer)).model
    theirs = nn.utils.parametrizations.weight_norm(nn.Sequential(layer)[0], dim=axis)
    x = torch.randn(2, 4, dtype=torch.float64) if isinstance(layer, nn.Linear) else torch.randn(2, 4, 5, 5, dtype=torch.float64)
    for net in (mine, theirs):
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    torch.testing.assert_close(mine[0].weight, theirs.weight)


def test_the_gradient_stands_at_right_angles_to_the_direction() -> None:
    torch.manual_seed(0)
    model = weight_norm(nn.Sequential(nn.Linear(5, 3))).model
    model(torch.randn(7, 5)).square().sum().backward()
    v = model[0].parametrizations.weight.original
    assert (v * v.grad).sum(1).abs().max() < 1e-5
    assert v.grad.abs().max() > 0.1
    g = model[0].parametrizations.weight[0].g
    torch.testing.assert_close(g, v.norm(dim=1))
    assert g.grad is not None


def test_gradcheck_and_a_filter_of_zeros() -> None:
    v, g = torch.randn(3, 4, dtype=torch.float64, requires_grad=True), torch.rand(3, dtype=torch.float64, requires_grad=True)

    def weight(v: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        encoding = WeightNorm(shape=(3, 4)).double()
        return torch.func.functional_call(encoding, {"g": g}, (v,))

    assert torch.autograd.gradcheck(weight, (v, g))
    layer = nn.Linear(2, 2)
    nn.init.zeros_(layer.weight)
    encode(layer, "weight", WeightNorm(shape=(2, 2)))
    layer(torch.ones(1, 2)).sum().backward()
    assert layer.weight.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in layer.parameters())


def test_it_is_saved_baked_folded_and_ended(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = edit(create("resnet8 | fit_input(size=8)", num_classes=10, in_channels=1), "weight_norm").model.eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    x, input = torch.randn(2, 1, 8, 8), Input((8, 8), 1, (0.0,), (1.0,))
    y = net(x)
    for name, tolerance in (("model", 1e-6), ("model.danlu", 1e-2)):
        save(net, tmp_path / name, input=input, classes=[str(i) for i in range(10)])
        saved = load_saved(tmp_path / name).model.eval()
        torch.testing.assert_close(saved(x), y, rtol=tolerance, atol=tolerance)
        held = any(isinstance(module, WeightNorm) for module in saved.modules())
        assert held == (name == "model")
    torch.testing.assert_close(bake(net)(x), y)
    for step in ("fold_bn", "quantize_weights(bits=8)", "prune(sparsity=0.5)"):
        outcome = edit(net, step)
        assert outcome.changed, step
        assert not any(isinstance(module, WeightNorm) for module in outcome.model.modules()), step
    torch.testing.assert_close(edit(net, "fold_bn").model.eval()(x), y, rtol=1e-4, atol=1e-4)
    kept = dict(edit(edit(net, "prune(sparsity=0.5)").model, "weight_norm").kept)
    assert "its weight is encoded by Mask already" in kept.values()
