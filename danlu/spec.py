"""A named thing with its options, as settings write it: `focal(gamma=2)`, `l1(strength=1e-5) | max_norm(limit=3)`.

The grammar is that of recipes; the options are held against the signature of the registered function.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, get_type_hints

from .errors import UsageError
from .literals import fits, say
from .registry import Entry, Registry

F = TypeVar("F")


@dataclass(frozen=True)
class Spec(Generic[F]):
    """An entry of a registry with the options that were written."""

    entry: Entry[Any]
    options: dict[str, Any]

    def __call__(self, *arguments: Any, **context: Any) -> Any:
        """Call the function: with `arguments`, the written options, and what of `context` it has parameters for."""
        known = self.entry.options()
        given = {name: value for name, value in context.items() if name in known and name not in self.options}
        return self.entry.build(*arguments, **given, **self.options)


def read(registry: Registry[Any], text: str, context: Collection[str] = ()) -> Spec[Any]:
    """Read one name with its options. `context` names parameters that the program fills in where they are not written.

    Raises: UsageError for text that does not parse, an unknown name or option, a missing option, and a value of another type.
    """
    from .edits.recipe import parse_step

    if not isinstance(text, str):
        raise UsageError(f"{registry.kind} is written as text, such as {next(iter(registry)).name!r}, got {text!r}")
    call = parse_step(text)
    entry = registry[call.name]
    entry.check(call.options)
    hints = get_type_hints(entry.build)
    for name, value in call.options.items():
        if not fits(value, hints[name]):
            raise UsageError(f"{entry.name}: {name} takes {say(hints[name])}, got {value!r}")
    for name, parameter in entry.options().items():
        if parameter.default is parameter.empty and name not in call.options and name not in context:
            raise UsageError(f"{entry.name} needs {name}, e.g. {entry.name}({name}=...)")
    return Spec(entry, call.options)


def reads(registry: Registry[Any], text: str, context: Collection[str] = ()) -> list[Spec[Any]]:
    """Read a chain `name | name(option=value)`; empty text is an empty chain. Raises as `read` does."""
    from .edits.recipe import split_steps

    if not isinstance(text, str):
        raise UsageError(f"a chain of {registry.kind}s is written as text, got {text!r}")
    return [read(registry, step, context) for step in split_steps(text)] if text.strip() else []
