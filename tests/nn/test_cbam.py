"""CBAM: both attentions against their formulas, place by place and channel by channel."""

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from danlu.errors import UsageError
from danlu.nn import CBAM, ChannelAttention, SpatialAttention


def test_channel_attention_adds_what_the_shared_layers_make_of_mean_and_maximum() -> None:
    torch.manual_seed(0)
    layer = ChannelAttention(10, reduction=2).double()
    w1, b1, w2, b2 = layer.state_dict().values()
    x = torch.randn(3, 10, 4, 5, dtype=torch.float64)
    y = layer(x)
    for image, out in zip(x, y, strict=True):
        mean = torch.stack([channel.mean() for channel in image])
        largest = torch.stack([channel.max() for channel in image])
        scores = [w2 @ (w1 @ seen + b1).clamp(min=0) + b2 for seen in (mean, largest)]
        share = 1 / (1 + torch.exp(-(scores[0] + scores[1])))
        torch.testing.assert_close(out, torch.stack([s * channel for s, channel in zip(share, image, strict=True)]))


def test_spatial_attention_filters_the_maximum_and_the_mean_over_the_channels() -> None:
    torch.manual_seed(0)
    layer = SpatialAttention(kernel=3, batch_norm=False).double()
    weight, bias = layer.conv.weight[0], layer.conv.bias
    x = torch.randn(2, 6, 5, 4, dtype=torch.float64)
    y = layer(x)
    for image, out in zip(x, y, strict=True):
        seen = F.pad(torch.stack([image.max(0).values, image.mean(0)]), (1, 1, 1, 1))
        for i in range(5):
            for j in range(4):
                score = (seen[:, i : i + 3, j : j + 3] * weight).sum() + bias[0]
                torch.testing.assert_close(out[:, i, j], image[:, i, j] * score.sigmoid())


def test_the_norm_of_the_filter_is_in_front_of_the_gate() -> None:
    layer = SpatialAttention(kernel=1).eval()
    with torch.no_grad():
        layer.conv.weight.copy_(torch.tensor([1.0, 0.0]).view(1, 2, 1, 1))
        layer.norm.running_mean.fill_(2.0)
        layer.norm.running_var.fill_(9.0)
    x = torch.randn(1, 3, 2, 2)
    gate = ((x.amax(1, keepdim=True) - 2) / 3).sigmoid()
    torch.testing.assert_close(layer(x), x * gate, rtol=1e-4, atol=1e-5)


def test_channels_come_before_places() -> None:
    torch.manual_seed(0)
    layer = CBAM(8, kernel=5).eval()
    x = torch.randn(2, 8, 6, 7)
    torch.testing.assert_close(layer(x), layer.spatial(layer.channel(x)))
    torch.testing.assert_close(fx.symbolic_trace(layer)(x), layer(x))
    assert sum(p.numel() for p in layer.parameters()) == 2 * 8 * 8 + 16 + 2 * 25 + 2


def test_the_gradient_is_right() -> None:
    torch.manual_seed(0)
    layer = CBAM(3, kernel=3, batch_norm=False).double()
    layer.channel.relu = nn.Tanh()  # smooth
    x = torch.randn(1, 3, 3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, (x,))


@pytest.mark.parametrize("kernel", [0, 2, -1, 3.0, True])
def test_a_filter_without_a_middle_is_refused(kernel: object) -> None:
    with pytest.raises(UsageError, match="kernel is the side of the filter"):
        CBAM(8, kernel=kernel)  # type: ignore[arg-type]
