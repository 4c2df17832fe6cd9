"""`create`: a recipe in, a network with fresh weights out.

base                                 base from the zoo, with its options
base | structure edit | ...          edited before it has learned anything
module:function(option=literal)      the user's own function; its module is imported
timm:NAME(option=literal)            a net of timm, where it is installed
"""

import contextlib
import importlib
import inspect
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from ..edits.recipe import Call, parse, show
from ..errors import UsageError, unknown
from ._options import check_options
from ._registry import models


def create(recipe: str, *, num_classes: int = 1000, in_channels: int = 3, seed: int | None = None) -> nn.Module:
    """Build the network that `recipe` describes.

    `num_classes` and `in_channels` written in the recipe's base win over the arguments. With `seed` the weights are the same
    on every call and torch's own generator is left as it was; without, they are drawn from it.

    The model carries what it takes to build it again: `danlu_recipe` (text), `danlu_num_classes`, `danlu_in_channels`.

    Raises: UsageError for a recipe that does not parse, an unknown net, option or edit, a value of the wrong type or out of
    range, and a module that cannot be imported.
    """
    base, *edits = parse(recipe)
    counts = {"num_classes": num_classes, "in_channels": in_channels}
    for name, value in counts.items():
        counts[name] = value = base.options.get(name, value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, got {value!r}")
    with _seeded(seed):
        model = _build(base, counts)
        _label(model, [base], counts)
        if edits:
            from ..edits import edit

            model = edit(model, show(edits)).model
    _label(model, [base, *edits], counts)
    return model


def _label(model: nn.Module, steps: list[Call], counts: dict[str, int]) -> None:
    # Plain attributes, so that copying a model copies them and its state dict stays as it is.
    labels = {"danlu_recipe": show(steps), **{f"danlu_{name}": value for name, value in counts.items()}}
    for name, value in labels.items():
        setattr(model, name, value)


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    if seed is None:
        yield
        return
    # Only the CPU generator: nets are built there, and asking for the others would wake an accelerator.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _build(base: Call, counts: dict[str, int]) -> nn.Module:
    if base.name.startswith("timm:"):
        return _from_timm(base, counts)
    if ":" in base.name:
        return _from_module(base, counts)
    entry = models[base.name]
    options = {**counts, **base.options}
    check_options(entry, options)
    return entry.build(**options)


def _from_module(base: Call, counts: dict[str, int]) -> nn.Module:
    """`module:function(...)`: the function gets the options, and the counts it has parameters for."""
    module_name, _, path = base.name.partition(":")
    with _current_folder_first():
        function: Any = _import(module_name, base.name)
        for part in path.split("."):
            if not hasattr(function, part):
                names = [name for name, thing in vars(function).items() if callable(thing) and not name.startswith("_")]
                raise unknown(f"function of {module_name}", part, names)
            function = getattr(function, part)
        if not callable(function):
            raise UsageError(
                f"{base.name} is of type {type(function).__name__}; it must be a function that returns a torch.nn.Module"
            )
        options = {**counts, **base.options}
        try:
            signature = inspect.signature(function)
        except ValueError as error:
            raise UsageError(f"{base.name} has no signature to call it by") from error
        options = {name: value for name, value in options.items() if name in base.options or name in signature.parameters}
        try:
            signature.bind(**options)
        except TypeError as error:
            raise UsageError(f"{base.name}{signature} cannot be called with {options}: {error}") from error
        try:
            model = function(**options)
        except Exception as error:
            raise UsageError(f"{base.name} failed: {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise UsageError(f"{base.name} must return a torch.nn.Module, got {type(model).__name__}")
    return model


def _import(module: str, name: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(error.name + ".")):
            where = f"neither in {os.getcwd()} nor among the installed packages"
            raise UsageError(f"{name}: there is no module {error.name!r}, {where}") from error
        raise UsageError(f"{name}: importing {module} failed: {error}") from error
    except Exception as error:
        raise UsageError(f"{name}: importing {module} failed: {type(error).__name__}: {error}") from error


@contextlib.contextmanager
def _current_folder_first() -> Iterator[None]:
    # A console script does not search the current folder. First, as `python -m` has it; and only while the user's code is
    # imported and called, so that a file beside it cannot hide a library that is imported later.
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


def _from_timm(base: Call, counts: dict[str, int]) -> nn.Module:
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UsageError(f"{base.name} needs {error.name}, which is not installed; pip install timm") from error
    except Exception as error:
        raise UsageError(f"{base.name}: timm is installed but cannot be imported: {type(error).__name__}: {error}") from error
    name = base.name.removeprefix("timm:")
    if not timm.is_model(name):
        raise unknown("model of timm", name, timm.list_models())
    options = {key: value for key, value in base.options.items() if key not in counts}
    try:
        return timm.create_model(name, num_classes=counts["num_classes"], in_chans=counts["in_channels"], **options)
    except Exception as error:
        raise UsageError(f"{base.name} failed: {type(error).__name__}: {error}") from error
