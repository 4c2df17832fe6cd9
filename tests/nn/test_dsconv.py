"""DSConv2d: its kernel by plain loops, its fit to a given convolution, and the encoding that is the same thing."""

import math

import pytest
import torch
from torch import fx, nn
from torch.nn import functional as F

from danlu.encodings import BlockGrid, bake, encode
from danlu.errors import UsageError
from danlu.nn import DSConv2d


def moved(layer: DSConv2d) -> DSConv2d:
    """With numbers of its own in every parameter, as after a training."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer


@pytest.mark.parametrize(("block", "groups"), [(1, 1), (4, 1), (3, 1), (64, 1), (2, 2)])
def test_the_kernel_is_the_formula(block: int, groups: int) -> None:
    torch.manual_seed(0)
    layer = moved(DSConv2d(10, 4, 3, padding=1, stride=2, groups=groups, bits=3, block=block, dtype=torch.float64))
    n, s, t = layer.weight, layer.kernel_scale, layer.kernel_shift
    expected = torch.empty(4, 10 // groups, 3, 3, dtype=torch.float64)
    for o in range(4):
        for i in range(10 // groups):
            for a in range(3):
                for b in range(3):
                    inner = n[o, i, a, b].item() * s[o, i // block, a, b] + t[o, i // block, a, b]
                    expected[o, i, a, b] = inner * layer.channel_scale[o, 0, 0, 0] + layer.channel_shift[o, 0, 0, 0]
    torch.testing.assert_close(layer.kernel(), expected)
    x = torch.randn(2, 10, 7, 6, dtype=torch.float64)
    torch.testing.assert_close(layer(x), F.conv2d(x, expected, layer.bias, 2, 1, groups=groups))


def test_the_integers_are_small_and_stay() -> None:
    torch.manual_seed(0)
    layer = DSConv2d(16, 8, 3, bits=4, block=8)
    before = layer.weight.clone()
    assert before.dtype == torch.int8
    assert before.abs().max() == 7
    assert "weight" not in dict(layer.named_parameters())
    layer(torch.randn(2, 16, 5, 5)).square().sum().backward()
    with torch.no_grad():
        for parameter in layer.parameters():
            assert parameter.grad.abs().max() > 0
            parameter -= 0.01 * parameter.grad
    assert torch.equal(layer.weight, before)


def test_its_gradients_are_those_of_the_formula() -> None:
    torch.manual_seed(0)
    layer = moved(DSConv2d(5, 3, 2, bits=3, block=2, dtype=torch.float64))
    x = torch.randn(1, 5, 3, 3, dtype=torch.float64)
    names, values = zip(*layer.named_parameters(), strict=True)

    def forward(*given: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, given, strict=True)), (x,))

    assert torch.autograd.gradcheck(forward, values)


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_takes_a_convolution_as_the_encoding_does(bits: int) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(20, 6, (3, 5), stride=(1, 2), padding=(0, 2), dilation=(2, 1)).double().eval()
    layer = DSConv2d.of(conv, bits=bits, block=8)
    encode(conv, "weight", BlockGrid.of(conv.weight, bits=bits, block=8))
    x = torch.randn(2, 20, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(layer(x), bake(conv)(x))
    assert not layer.training


def test_more_bits_come_closer() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 32, 3)
    errors = [(DSConv2d.of(conv, bits=bits).kernel() - conv.weight).norm() / conv.weight.norm() for bits in (2, 3, 4, 6, 8)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.005


def test_the_kernel_takes_a_fourteenth_of_its_memory() -> None:
    # The paper's figure. The integers take `bits` each, the four kinds of shifts 32 bits.
    layer = DSConv2d(512, 512, 3, bits=2, block=256, bias=False, device="meta")
    bits = 2 * layer.weight.numel() + 32 * sum(parameter.numel() for parameter in layer.parameters())
    assert 32 * layer.weight.numel() / bits > 14
    assert layer.kernel_scale.shape == (512, math.ceil(512 / 256), 3, 3)


@pytest.mark.parametrize("options", [{"bits": 1}, {"bits": 9}, {"block": 0}])
def test_refuses_options_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="2 to 8 bits and blocks of 1 input or more"):
        DSConv2d(4, 4, 3, **options)


def test_takes_no_other_padding_than_zeros() -> None:
    with pytest.raises(UsageError, match="pads with zeros"):
        DSConv2d.of(nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"))


def test_can_be_traced() -> None:
    layer = DSConv2d(6, 4, 3, block=4)
    x = torch.randn(1, 6, 5, 5)
    assert torch.equal(fx.symbolic_trace(layer)(x), layer(x))
