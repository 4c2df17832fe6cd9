"""The weights that penalties and projections are about."""

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd


def weights_of(model: nn.Module) -> list[Tensor]:
    """Trainable matrices and kernels; no biases, norms and other vectors."""
    return [parameter for parameter in model.parameters() if parameter.ndim > 1 and parameter.requires_grad]


def incoming(model: nn.Module) -> list[tuple[Tensor, int]]:
    """The weight of each convolution and linear layer that is trained, with the dimension that counts its units."""
    found = {}
    for module in model.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            weight = module._parameters.get("weight")  # a parametrised layer has none of its own
            if weight is not None and weight.requires_grad:
                found[weight] = int(isinstance(module, _ConvTransposeNd))
    return list(found.items())
