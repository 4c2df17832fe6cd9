"""CapsNet: a class is a vector, long when an object is there and turned as the object is; parts vote for wholes by routing.

    logit_k = log(l_k / (1 - l_k)) = log |s_k|^2,    l_k = length of capsule k,  s_k the sum that it squashes

so that sigmoid(logits) are the lengths of the paper, on which its margin loss stands (`danlu.nn.margin_loss`), and cross-entropy
on the logits is that of the shares |s_k|^2 / sum_j |s_j|^2: lengths as logits would leave it a floor of log(1 + 9 / e) = 1.46.

Source: Sabour et al. 2017, https://arxiv.org/abs/1710.09829, the net for 28x28 MNIST, 6.8 M parameters, 8.2 M with the decoder.
Differs: the logits above stand for the lengths; both order the classes alike.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..nn import PrimaryCapsules, RoutedCapsules
from ._init import initialised
from ._knobs import scaled, side
from ._registry import models

KERNEL = 9
DIM, CLASS_DIM = 8, 16
SMALLEST = 17  # two 9x9 convolutions leave one pixel
SURE = 1e-6  # lengths are held this far from 0 and 1, where a logit has no end


class CapsuleLogits(nn.Module):
    """log(l / (1 - l)) of the lengths l of capsules. Shape: [B, K, D] -> [B, K]."""

    def forward(self, capsules: Tensor) -> Tensor:
        """Shape: [B, K, D] -> [B, K]."""
        return torch.logit(torch.linalg.vector_norm(capsules, dim=2), eps=SURE)


class Decoder(nn.Sequential):
    """Draws the image from the capsule of one class: 512 and 1024 units, then the pixels. Shape: [B, K * D] -> [B, pixels]."""

    def __init__(self, inputs: int, pixels: int, *, width: float) -> None:
        super().__init__()
        first, second = scaled(512, width), scaled(1024, width)
        self.fc1 = nn.Linear(inputs, first)
        self.relu1 = nn.ReLU(inplace=True)
        self.fc2 = nn.Linear(first, second)
        self.relu2 = nn.ReLU(inplace=True)
        self.fc3 = nn.Linear(second, pixels)
        self.sigmoid = nn.Sigmoid()


class CapsuleNet(nn.Sequential):
    """The trunk in order, with a decoder beside it, which a call leaves out.

    Shape: [B, C, size, size] -> [B, num_classes]
    """

    def capsules(self, x: Tensor) -> Tensor:
        """The class capsules. Shape: [B, C, size, size] -> [B, num_classes, 16]."""
        for name, layer in self.named_children():
            if name == "logits":
                break
            x = layer(x)
        return x

    def forward(self, input: Tensor) -> Tensor:
        """Shape: [B, C, size, size] -> [B, num_classes]."""
        return self.get_submodule("logits")(self.capsules(input))

    def with_reconstruction(self, x: Tensor, targets: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The logits and the image drawn from the capsule of the target, or of the longest capsule without `targets`.

        The paper trains on margin loss + 0.0005 sum over pixels of (image - x)^2, pixels from 0 to 1.

        Shape: x [B, C, size, size], targets int64 [B] -> [B, num_classes], [B, C, size, size]
        """
        capsules = self.capsules(x)
        logits = self.get_submodule("logits")(capsules)
        chosen = logits.argmax(1) if targets is None else targets
        mask = nn.functional.one_hot(chosen, logits.shape[1]).to(capsules.dtype)
        image = self.get_submodule("decoder")((capsules * mask[:, :, None]).flatten(1))
        return logits, image.view_as(x)


@models(input=(1, 28, 28), smallest=(1, 20, 20), params=6_804_224, macs=201_793_536, year=2017, paper="arxiv:1710.09829")
def capsule_net(
    *,
    in_channels: int = 1,
    num_classes: int = 10,
    width: float = 1.0,
    size: int = 28,
    iterations: int = 3,
    decoder: bool = False,
) -> nn.Sequential:
    """CapsNet: a 9x9 convolution, 32 types of capsules of 8 units, one capsule of 16 units for each class.

    `size` is the side of the input in pixels, 17 to 1024; `iterations` those of the routing. `decoder` adds the three layers
    of the reconstruction loss, 8,215,568 parameters in all; a call gives the logits all the same, `with_reconstruction` both.
    """
    size = side("capsule_net", size, smallest=SMALLEST)
    if isinstance(iterations, bool) or not 1 <= iterations <= 100:
        raise UsageError(f"iterations of the routing are from 1 to 100, got {iterations!r}")
    stem, types = scaled(256, width), scaled(256, width) // DIM
    last = (size - 2 * KERNEL + 1) // 2 + 1
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv=nn.Conv2d(in_channels, stem, KERNEL),
        relu=nn.ReLU(inplace=True),
        primary=PrimaryCapsules(stem, types, DIM, kernel=KERNEL, stride=2),
        classes=RoutedCapsules(types * last * last, DIM, num_classes, CLASS_DIM, iterations=iterations),
        logits=CapsuleLogits(),
    )
    if decoder:
        parts["decoder"] = Decoder(num_classes * CLASS_DIM, in_channels * size * size, width=width)
        return initialised(CapsuleNet(parts))
    return initialised(nn.Sequential(parts))
