"""The large-margin classifier: psi against its definition by angles, the annealing, eval mode, and putting it in and back."""

import math

import pytest
import torch
from torch import fx, nn

import danlu
from danlu.errors import UsageError
from danlu.nn import LargeMarginLinear, angle_margin, large_margin_head, plain_head


def psi(angle: float, margin: int) -> float:
    """(-1)^j cos(m theta) - 2 j on the piece j that holds the angle."""
    j = min(int(angle * margin / math.pi), margin - 1)
    return (-1) ** j * math.cos(margin * angle) - 2 * j


@pytest.mark.parametrize("margin", range(1, 9))
def test_psi_is_that_of_the_angle(margin: int) -> None:
    angles = torch.linspace(0, math.pi, 1001, dtype=torch.float64)
    found = angle_margin(angles.cos(), margin)
    assert found.tolist() == pytest.approx([psi(angle, margin) for angle in angles.tolist()], abs=1e-10)
    assert (found.diff() <= 1e-12).all(), "it falls all the way"
    assert (found <= angles.cos() + 1e-12).all(), "so the right class has it harder"
    assert found[0] == 1
    assert float(found[-1]) == pytest.approx(1 - 2 * margin)
    single = angle_margin(angles.cos().float(), margin)
    assert torch.allclose(single.double(), found, atol=2e-3 if margin > 6 else 2e-4)


@pytest.mark.parametrize("margin", [1, 2, 3, 4])
def test_its_slope_is_that_of_its_values_across_the_joints(margin: int) -> None:
    cosine = torch.linspace(-0.999, 0.999, 40, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda c: angle_margin(c, margin), (cosine,))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("margin", "share"), [(2, 0.0), (3, 5.0), (4, 1000.0)])
def test_the_two_rows_of_logits_by_a_loop_over_images_and_classes(margin: int, share: float, bias: bool) -> None:
    torch.manual_seed(0)
    layer = LargeMarginLinear(5, 3, bias, margin=margin, base=share, gamma=0).double().train()
    x = torch.randn(4, 5, dtype=torch.float64)
    both = layer(x)
    assert both.shape == (4, 2, 3)
    offsets = layer.bias.tolist() if bias else [0.0] * 3
    for i, image in enumerate(x.tolist()):
        for k, weight in enumerate(layer.weight.tolist()):
            dot = sum(a * b for a, b in zip(image, weight, strict=True))
            size = math.hypot(*image) * math.hypot(*weight)
            wide = (share * dot + size * psi(math.acos(dot / size), margin)) / (1 + share)
            assert float(both[i, 0, k].detach()) == pytest.approx(wide + offsets[k])
            assert float(both[i, 1, k].detach()) == pytest.approx(dot + offsets[k])
    assert torch.allclose(layer.eval()(x), both[:, 1])
    assert type(layer.eval()(x)) is torch.Tensor


def test_gradients_of_images_and_weights() -> None:
    torch.manual_seed(0)
    layer = LargeMarginLinear(4, 3, margin=3, base=2.0, gamma=0).double().train()
    x = torch.randn(5, 4, dtype=torch.float64, requires_grad=True)

    def both(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, {"weight": w}, (x,))

    assert torch.autograd.gradcheck(both, (x, layer.weight.detach().requires_grad_(True)))


def test_an_image_of_zeros_and_one_along_a_weight_have_finite_gradients() -> None:
    layer = LargeMarginLinear(3, 2, margin=4, base=0.0).train()
    x = torch.stack([torch.zeros(3), layer.weight[0].detach(), -layer.weight[1].detach()]).requires_grad_(True)
    layer(x).square().sum().backward()
    for gradient in (x.grad, layer.weight.grad):
        assert gradient is not None
        assert gradient.isfinite().all()


def test_the_share_of_the_plain_logit_falls_with_the_steps_and_is_stored() -> None:
    layer = LargeMarginLinear(2, 2, base=100.0, gamma=0.5, power=2.0, least=3.0)
    shares = []
    for _ in range(12):
        shares.append(float(layer.plain_share()))
        layer.train()(torch.zeros(1, 2))
        layer.eval()(torch.zeros(1, 2))  # which is no step
    assert shares == pytest.approx([max(3.0, 100 * (1 + 0.5 * t) ** -2) for t in range(12)])
    again = LargeMarginLinear(2, 2, base=100.0, gamma=0.5, power=2.0, least=3.0)
    again.load_state_dict(layer.state_dict())
    assert int(again.steps) == 12
    default = LargeMarginLinear(2, 2)
    for steps, share in ((0, 1000.0), (653, 5.0), (1204, 0.1)):
        default.steps.fill_(steps)
        assert float(default.plain_share()) == pytest.approx(share, rel=0.02)


@pytest.mark.parametrize(
    "name", ["resnet20", "vgg11(width=0.125) | fit_input(size=32)", "mobilenet_v1(width=0.25) | fit_input(size=32)"]
)
def test_a_net_gets_the_head_and_gives_it_back(name: str) -> None:
    torch.manual_seed(0)
    net = danlu.create(name, num_classes=5).eval()
    x, before, random = torch.randn(2, 3, 32, 32), net.state_dict(), torch.get_rng_state()
    new = large_margin_head(net, margin=2, base=0.0)
    assert torch.equal(random, torch.get_rng_state()), "nothing is drawn: the weights are the old ones"
    plain = net(x)
    assert torch.equal(new(x), plain)
    heads = [name for name, module in new.named_modules() if isinstance(module, LargeMarginLinear)]
    assert len(heads) == 1
    assert set(new.state_dict()) == {*before, f"{heads[0]}.steps"}
    both = new.train()(x)
    assert both.shape == (2, 2, 5)
    assert (both[:, 0] < both[:, 1]).any()
    back = plain_head(new)
    assert back.training
    assert set(back.state_dict()) == set(before)
    assert torch.equal(plain_head(large_margin_head(net))(x), plain)
    assert not any(isinstance(module, LargeMarginLinear) for module in [*net.modules(), *back.modules()])
    assert isinstance(new.get_submodule(heads[0]), LargeMarginLinear), "a copy is what is changed"


def test_a_linear_layer_alone_is_a_net() -> None:
    net = nn.Linear(3, 2, bias=False)
    head = large_margin_head(net)
    assert isinstance(head, LargeMarginLinear)
    assert head.bias is None
    assert type(plain_head(head)) is nn.Linear


def test_it_says_what_it_is_and_refuses_what_it_cannot_be() -> None:
    assert repr(LargeMarginLinear(3, 2, margin=3)) == (
        "LargeMarginLinear(in_features=3, out_features=2, bias=True, margin=3, base=1000, gamma=0.00025, power=35, least=0)"
    )
    for margin in (0, 9):
        with pytest.raises(UsageError, match=f"1 to 8, got margin={margin}"):
            LargeMarginLinear(3, 2, margin=margin)
    with pytest.raises(UsageError, match="are from 0"):
        LargeMarginLinear(3, 2, least=-1)
    with pytest.raises(UsageError, match=r"ends in nn.Linear; this one ends in 1 Conv2d"):
        large_margin_head(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(2, 2, 1)))
    with pytest.raises(UsageError, match="ends in a ReLU"):
        large_margin_head(nn.ReLU())
    with pytest.raises(UsageError, match="already has"):
        large_margin_head(large_margin_head(nn.Linear(2, 2)))
    with pytest.raises(UsageError, match="this one has several"):
        large_margin_head(danlu.create("googlenet(width=0.25, aux=True)", num_classes=3))


def test_it_is_a_linear_layer_to_whoever_traces_or_exports_it_and_runs_in_low_precision() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Flatten(), LargeMarginLinear(12, 3)).eval(), torch.randn(4, 3, 2, 2)
    assert torch.equal(fx.symbolic_trace(net)(x), net(x))
    exported = torch.export.export(net, (x,), dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},))
    assert torch.allclose(exported.module()(x[:3]), net(x[:3]))
    exact = net.train()(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = net(x)
    assert torch.allclose(low.float(), exact, atol=0.15)
