"""Nets with attention: what they add to a ResNet, what they compute when attention is neutral, and their published sizes."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from danlu.deploy.quiet import quiet_export
from danlu.nn import CBAM, NonLocal2d, ProjectionShortcut, SelectiveKernel, SqueezeExcitation
from danlu.zoo import models
from danlu.zoo.preact_resnet import PreactBottleneck
from danlu.zoo.residual_attention import AttentionModule, Hourglass
from danlu.zoo.sk_resnet import SKBottleneck

OPEN = 1e4  # before a sigmoid: exactly 1


def scattered(net: nn.Module) -> nn.Module:
    """Norms that do something, in eval mode."""
    generator = torch.Generator().manual_seed(3)
    for norm in (layer for layer in net.modules() if isinstance(layer, nn.BatchNorm2d)):
        norm.running_mean.normal_(0, 0.2, generator=generator)
        norm.running_var.uniform_(0.5, 2, generator=generator)
        nn.init.uniform_(norm.weight, 0.3, 0.8, generator=generator)
    return net.eval()


@torch.no_grad()
def opened(net: nn.Module) -> nn.Module:
    """All gates at 1."""
    for layer in net.modules():
        if isinstance(layer, SqueezeExcitation):
            layer.excite.weight.zero_()
            layer.excite.bias.fill_(OPEN)
        if isinstance(layer, CBAM):
            layer.channel.excite.weight.zero_()
            layer.channel.excite.bias.fill_(OPEN)
            layer.spatial.norm.weight.zero_()
            layer.spatial.norm.bias.fill_(OPEN)
    return net


@pytest.mark.parametrize(
    ("name", "plain"),
    [
        ("seresnet18", "resnet18"),
        ("seresnet50", "resnet50"),
        ("se_resnet20", "resnet20"),
        ("cbam_resnet18", "resnet18"),
        ("cbam_resnet50", "resnet50"),
        ("non_local_resnet50", "resnet50"),
    ],
)
def test_with_neutral_attention_it_is_the_plain_net(name: str, plain: str) -> None:
    torch.manual_seed(0)
    net = models[name].build(num_classes=5, width=0.25)
    other = scattered(models[plain].build(num_classes=5, width=0.25))
    missing, unexpected = net.load_state_dict(other.state_dict(), strict=False)
    assert not unexpected
    assert all(part in key for key in missing for part in [{"s": ".se.", "c": ".cbam.", "n": ".non_local"}[name[0]]])
    x = torch.randn(2, 3, 40, 33)
    torch.testing.assert_close(opened(net).eval()(x), other(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("seresnet18", 11.78e6, None),  # timm
        ("seresnet101", 49.3e6, None),  # timm
        ("skresnext50_32x4d", 27.5e6, 4.47e9),  # Li et al. 2019, table 2
        ("skresnet50", 25.8e6, 4.1e9),  # timm
        ("cbam_resnet18", 11.78e6, 1.815e9),  # Woo et al. 2018, table 4
        ("cbam_resnet50", 28.09e6, None),
        ("residual_attention_56", 31.9e6, 6.3e9),  # Wang et al. 2017
    ],
)
def test_published_sizes(name: str, params: float, macs: float | None) -> None:
    facts = models[name].facts
    assert facts["params"] == pytest.approx(params, rel=0.005)
    assert macs is None or facts["macs"] == pytest.approx(macs, rel=0.015)


def test_squeeze_and_excitation_adds_two_matrices_a_block() -> None:
    # Hu et al. 2017, equation 5 (without biases): 2 / r sum over stages of blocks C^2.
    matrices = 2 / 16 * sum(count * channels**2 for count, channels in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
    biases = sum(count * (channels + channels // 16) for count, channels in ((3, 256), (4, 512), (6, 1024), (3, 2048)))
    assert models["seresnet50"].facts["params"] - models["resnet50"].facts["params"] == matrices + biases
    assert models["seresnet50"].facts["macs"] - models["resnet50"].facts["macs"] == matrices


def test_non_local_blocks_follow_every_other_block_of_the_middle_stages() -> None:
    with torch.device("meta"):
        net = models["non_local_resnet50"].build(kind="gaussian", subsample=False)
    assert list(dict(net.layer2.named_children())) == ["0", "1", "non_local1", "2", "3", "non_local3"]
    blocks = [layer for layer in net.modules() if isinstance(layer, NonLocal2d)]
    assert [layer.channels for layer in blocks] == [512, 512, 1024, 1024, 1024]
    assert {(layer.kind, layer.subsample) for layer in blocks} == {("gaussian", False)}


def test_a_block_of_sknet_with_one_branch_chosen_is_a_bottleneck() -> None:
    torch.manual_seed(0)
    block = scattered(SKBottleneck(16, 16, stride=2, downsample=ProjectionShortcut(16, 64, stride=2)))
    with torch.no_grad():
        block.sk.norm.weight.zero_()
        block.sk.norm.bias.fill_(1.0)
        block.sk.select[0].weight.zero_()
        block.sk.select[1].weight.fill_(1e4)
    x = torch.randn(2, 16, 8, 8)
    conv, norm, _ = block.sk.paths[1]
    y = norm(conv(block.bn1(block.conv1(x)).relu()[:, 8:])).relu()  # it sees the second half of the channels
    torch.testing.assert_close(block(x), (block.bn3(block.conv3(y)) + block.downsample(x)).relu(), rtol=1e-4, atol=1e-5)


def test_a_mask_of_one_half_makes_one_and_a_half_of_the_trunk() -> None:
    torch.manual_seed(0)
    module = scattered(AttentionModule(4, levels=2))
    nn.init.zeros_(module.mask.conv2.weight)
    x = torch.randn(2, 16, 9, 11)
    torch.testing.assert_close(module(x), module.last(1.5 * module.trunk(module.first(x))), rtol=1e-4, atol=1e-4)


def test_an_hourglass_goes_down_by_its_levels_and_back_to_its_input() -> None:
    torch.manual_seed(0)
    glass = Hourglass(4, levels=3).eval()
    sides: list[tuple[int, int]] = []
    for unit in (layer for layer in glass.modules() if isinstance(layer, PreactBottleneck)):
        unit.register_forward_hook(lambda _layer, _args, out: sides.append(tuple(out.shape[2:])))
    assert glass(torch.randn(1, 16, 56, 47)).shape == (1, 16, 56, 47)
    assert sides == [(28, 23), (28, 23), (14, 11), (14, 11), (7, 5), (7, 5), (14, 11), (28, 23)]


def test_56_layers_lie_along_the_trunk() -> None:
    with torch.device("meta"):
        net = models["residual_attention_56"].build()
    weighted = [name for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len([name for name in weighted if "mask" not in name and "shortcut" not in name]) == 56


def test_attention_in_onnxruntime(tmp_path) -> None:
    torch.manual_seed(0)
    layers = [NonLocal2d(8), NonLocal2d(8, kind="concat"), SqueezeExcitation(8), CBAM(8), SelectiveKernel(8, 8, stride=2)]
    net = scattered(nn.Sequential(*layers, Hourglass(2, levels=1)))
    x = torch.randn(3, 8, 9, 10)
    batch = ({0: torch.export.Dim("batch")},)
    with quiet_export():
        program = torch.onnx.export(net, (x[:2],), dynamo=True, verbose=False, input_names=["input"], dynamic_shapes=batch)
        program.save(tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"input": x.numpy()})[0], net(x).detach(), rtol=1e-3, atol=1e-4)
