"""ResNet in DSConv form: kernels of fixed small integers, of which a scale and a shift for every block of inputs are trained.

The net is a ResNet whose convolutions behind the stem are `danlu.nn.DSConv2d`, with the integers of fresh weights. To bring a
trained ResNet into this form, use the edit `quantize_weights(method="dsconv")`.

Source: Gennari do Nascimento et al. 2019, https://arxiv.org/abs/1901.01928; He et al. 2015, https://arxiv.org/abs/1512.03385.
Differs: the parameters of the facts are those that are trained; the integers, `bits` bits each, are buffers. The stem stays a
convolution: in a block of 3 inputs every 3 weights would have a scale and a shift. Fresh integers are no pretrained ones: the
paper takes them from a trained net.
"""

from torch import nn

from ..nn import DSConv2d
from ._registry import models
from .resnet import resnet18


def dsconv(net: nn.Module, *, bits: int, block: int) -> nn.Module:
    """Put a DSConv2d in the place of every convolution of `net` but its first, in place; and return it."""
    first = next(layer for layer in net.modules() if isinstance(layer, nn.Conv2d))
    for parent in list(net.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d) and layer is not first:
                setattr(parent, name, DSConv2d.of(layer, bits=bits, block=block))
    return net


@models(
    input=(3, 224, 224), smallest=(3, 32, 32), params=890_152, macs=1_814_073_344, year=2019, paper="arxiv:1901.01928"
)  # fmt: skip
def dsconv_resnet18(
    *, in_channels: int = 3, num_classes: int = 1000, width: float = 1.0, bits: int = 4, block: int = 64
) -> nn.Module:
    """ResNet-18 in DSConv form: 11.2 million integers that stay, and two trained numbers for each `block` of them.

    Raises: UsageError for bits out of 2..8 or a block below 1.
    """
    return dsconv(resnet18(in_channels=in_channels, num_classes=num_classes, width=width), bits=bits, block=block)
