"""The channels of the maps that a layer gives, for layers that do not say them themselves, as pools: the net is run to see."""

from collections.abc import Callable

from torch import Tensor, nn

from ._maps import _without_data
from ._units import _run_alone


def map_channels(model: nn.Module, kinds: tuple[type[nn.Module], ...]) -> dict[str, set[int]]:
    """For each layer of `kinds`, by name: the numbers of channels of the maps [B, C, H, W] that it gives, over all its calls.

    The net runs without data as far as it gets, and the parts that this does not reach alone; an empty set is left where none
    of that calls the layer.
    """
    shadow = _without_data(model).eval()
    seen: dict[str, set[int]] = {name: set() for name, module in shadow.named_modules() if isinstance(module, kinds)}
    for name, found in seen.items():
        shadow.get_submodule(name).register_forward_hook(_recorder(found))
    if seen:
        _run_alone(shadow, None)
    for name, found in seen.items():
        part = name
        while not found and "." in part:
            part = part.rpartition(".")[0]
            _run_alone(shadow.get_submodule(part), None)
    return seen


def _recorder(found: set[int]) -> Callable[..., None]:
    def record(module: nn.Module, inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.dim() == 4:
            found.add(output.shape[1])

    return record
