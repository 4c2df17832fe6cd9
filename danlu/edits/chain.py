"""Run a recipe of edits on a model: `edit(model, "swap_activation(to='silu') | fold_bn")`."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from ..errors import UsageError
from ..registry import Entry
from ._check import option_errors
from ._registry import CONTEXT, edits
from .recipe import Call, parse, show
from .surgery import Change, Outcome, count_params

Batches = Callable[[], Iterator[tuple[Tensor, Tensor]]]
MARKS = ("danlu_recipe", "danlu_num_classes", "danlu_in_channels")


def edit(model: nn.Module, recipe: str, *, example: Tensor | None = None, batches: Batches | None = None) -> Outcome:
    """Apply the edits of `recipe` in order; `model` is untouched.

    Every name and option is checked before the first edit runs, and all that is wrong is said at once. Edits that need
    them get `example`, an input [B, C, H, W], and `batches`, a callable that gives a fresh iterator of (x, y) batches.

    The outcome names each change and each kept layer "edit: layer". `outcome.model.danlu_recipe` is that of `model`, if
    it has one, and the edits. A structure edit marked `first` (swap_norm) may not come after one that needs weights: a
    saved net is rebuilt from its structure edits first, and would come out different.

    Raises: UsageError for a recipe that cannot be run as it stands.
    """
    calls = parse(recipe)
    context = {"example": example, "batches": batches}
    history = getattr(model, "danlu_recipe", None)
    check(calls, context, history)
    outcome = Outcome(model)  # every edit returns a net of its own, so this is the input only until the first is done
    for call in calls:
        entry = edits[call.name]
        given = {name: context[name] for name in CONTEXT if name in entry.options()}
        step: Outcome = entry.build(outcome.model, **call.options, **given)
        outcome.model = step.model
        outcome.changed += [Change(_label(call, change.name), change.before, change.after) for change in step.changed]
        outcome.kept += [(_label(call, name), reason) for name, reason in step.kept]
    for mark in MARKS:  # an edit may return a new root
        if hasattr(model, mark):
            setattr(outcome.model, mark, getattr(model, mark))
    outcome.model.danlu_recipe = " | ".join(filter(None, (history, show(calls))))  # type: ignore[assignment]
    outcome.params = (count_params(model), count_params(outcome.model))
    return outcome


def check(calls: list[Call], context: dict[str, Any], history: str | None = None) -> None:
    """Raise one UsageError that lists everything wrong with a chain: names, options, missing context, order."""
    errors: list[str] = []
    weighted = _weighted(history)
    for call in calls:
        try:
            entry = edits[call.name]
        except UsageError as error:
            errors.append(str(error))
            continue
        errors += option_errors(entry, call)
        errors += [
            f"{call.name} needs {name}: {MEANING[name]}"
            for name in CONTEXT
            if context.get(name) is None and needs_context(entry, call, name)
        ]
        if entry.facts.get("first") and weighted:
            errors.append(f"{call.name} must come before {weighted}: it decides by the channels of the unpruned net")
        if "weights" in entry.facts["needs"]:
            weighted = weighted or call.name
    if errors:
        raise UsageError("; ".join(errors))


MEANING = {
    "example": "an input tensor [B, C, H, W], edit(..., example=x)",
    "batches": "a callable that gives an iterator of (x, y), edit(..., batches=f)",
}


def needs_context(entry: Entry[Any], call: Call, name: str) -> bool:
    """Whether this step cannot do without `example` or `batches`.

    A context parameter without a default is always needed; the fact `needs_if` says when one with a default is.
    """
    option = entry.options().get(name)
    if option is None:
        return False
    if option.default is option.empty:
        return True
    condition = entry.facts.get("needs_if", {}).get(name)
    return condition is not None and all(call.options.get(key) == value for key, value in condition.items())


def _weighted(history: str | None) -> str | None:
    """The first edit in a model's recipe that needs weights."""
    steps = parse(history) if history else []
    return next((s.name for s in steps if s.name in edits and "weights" in edits[s.name].facts["needs"]), None)


def _label(call: Call, name: str) -> str:
    return f"{call.name}: {name}" if name else call.name
