"""Any metric by name, with its options, as the command line writes it.

    score("top_k(k=5)", outputs, targets)
    score("mean_ap(iou=0.75, points='eleven')", detections, truths)

Source: the registry of this package; the grammar of names with options is that of `danlu.spec`.
"""

import inspect
from typing import Any

from ..errors import UsageError
from ..registry import Entry
from ..spec import Spec, read
from ._registry import metrics


def score(spec: str | Spec[Any], *inputs: Any) -> float:
    """The value of a metric written by name, such as "tar_at_far(far=1e-3)", on arrays or tensors of its kind.

    Shape: as the metric takes them: predictions, and the truth where it compares -> float
    Raises: UsageError for an unknown name or option, another number of inputs, and as the metric itself does.
    """
    found = read(metrics, spec) if isinstance(spec, str) else spec
    wanted = takes(found.entry)
    if len(inputs) != len(wanted):
        raise UsageError(f"{found.entry.name} takes {len(wanted)} inputs, {' and '.join(wanted)}; got {len(inputs)}")
    return float(found(*inputs))


def takes(entry: Entry[Any]) -> list[str]:
    """The names of what a metric judges: predictions, and the truth where it compares."""
    parameters = inspect.signature(entry.build).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
