"""What a network sees in images: the features and probabilities that judge generated images.

    score_generated("frechet", net, fakes, reals, at="avgpool")       at a layer of a network
    score_generated("frechet", net, fakes, reals, at="penultimate")   what its last linear layer or convolution takes in
    score_generated("inception_score", net, fakes)                    softmax of its outputs

The network is any callable from images to features or logits: one that danlu trained, one of the zoo, or a user's own. Numbers
compare only between images judged by the same network.
"""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from ..errors import UsageError, unknown
from ..spec import read
from ._registry import metrics

Net = Callable[[Tensor], Tensor]
PENULTIMATE = "penultimate"


def score_generated(
    metric: str, net: Net, generated: Tensor, real: Tensor | None = None, *, at: str | None = None, batch_size: int = 64
) -> float:
    """A metric of kind "generate", written as in "kernel_mmd(kernel='polynomial')", by what `net` sees in the images.

    Metrics that take probabilities get the softmax of the outputs. Shape: generated [N, C, H, W], real [M, C, H, W] -> float
    Raises: UsageError for a metric of another kind, for one that needs real images without them, and as `features` does.
    """
    spec = read(metrics, metric)
    if spec.entry.facts["kind"] != "generate":
        allowed = sorted(entry.name for entry in metrics if entry.facts["kind"] == "generate")
        raise UsageError(f"metric {metric!r} does not judge generated images; those that do are {', '.join(allowed)}")
    compares = "real" in inspect.signature(spec.entry.build).parameters
    if compares and real is None:
        raise UsageError(f"{spec.entry.name} compares generated images with real ones; give those too")
    sets = [features(net, images, at=at, batch_size=batch_size) for images in (generated, real) if images is not None]
    if spec.entry.facts["takes"] == "probabilities":
        sets = [seen.double().softmax(1) for seen in sets]
    return float(spec(*sets if compares else sets[:1]))


@torch.no_grad()
def features(net: Net, images: Tensor, *, at: str | None = None, batch_size: int = 64) -> Tensor:
    """What `net` gives for each image, or what its layer `at` gives, averaged over places; in eval mode, which is taken back.

    At "penultimate" it is what the last linear layer or convolution that runs takes in.

    Shape: images [N, C, H, W] -> float32 [N, D] on the CPU
    Raises: UsageError without images, for a layer that is not there or gave nothing, and for outputs without a row an image.
    """
    if not len(images):
        raise UsageError("no images: nothing to judge")
    if batch_size < 1:
        raise UsageError(f"batch_size must be 1 or more, got {batch_size}")
    if not isinstance(net, nn.Module):
        if at is not None:
            raise UsageError(f"at={at!r} names a layer of a torch module, got {type(net).__name__}")
        return torch.cat([rows(net(part), len(part)) for part in images.split(batch_size)])
    caught: list[Tensor] = []
    hooks = watch(net, at, caught) if at is not None else []
    modes = [(module, module.training) for module in net.modules()]
    where = next(net.parameters(), torch.empty(0)).device
    found = []
    try:
        net.eval()
        for part in images.split(batch_size):
            caught.clear()
            outputs = net(part.to(where))
            if at is not None and not caught:
                raise UsageError(f"layer {at!r} takes no part in the forward pass")
            found.append(rows(caught[-1] if at is not None else outputs, len(part)))
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes:
            module.training = mode
    return torch.cat(found)


def watch(net: nn.Module, at: str, caught: list[Tensor]) -> list[RemovableHandle]:
    """Keep in `caught` what the layer `at` gives, or the last of all linear layers and convolutions takes in."""

    def keep(tensor: Tensor) -> None:
        caught[:] = [tensor]

    layers = dict(net.named_modules())
    if at in layers:
        return [layers[at].register_forward_hook(lambda layer, inputs, output: keep(output))]
    if at != PENULTIMATE:
        raise unknown("layer", at, [*layers, PENULTIMATE])
    weighted = [layer for layer in layers.values() if isinstance(layer, nn.Linear | _ConvNd)]
    return [layer.register_forward_pre_hook(lambda layer, inputs: keep(inputs[0])) for layer in weighted]


def rows(outputs: Tensor, images: int) -> Tensor:
    """One row of features for each image; maps are averaged over places."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 2 or len(outputs) != images:
        got = list(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise UsageError(f"features are a tensor with one row for each of {images} images, got {got}")
    return outputs.flatten(2).mean(2).float().cpu() if outputs.ndim > 2 else outputs.float().cpu()
