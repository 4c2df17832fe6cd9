"""One registry class for every kind of named thing: models, edits, optimisers, schedules, metrics.

The name of an entry is the name of its function; facts ride along; a duplicate raises; a miss suggests.
"""

import fnmatch
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .errors import UsageError, unknown

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry(Generic[F]):
    """A registered function with the facts claimed of it."""

    name: str
    build: F
    facts: dict[str, Any]

    @property
    def summary(self) -> str:
        """The first line of the docstring."""
        return (inspect.getdoc(self.build) or "").split("\n", 1)[0]

    def options(self) -> dict[str, inspect.Parameter]:
        """The keyword-only parameters, by name: what a recipe may set."""
        params = inspect.signature(self.build).parameters
        return {n: p for n, p in params.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}

    def check(self, options: dict[str, Any]) -> None:
        """Raise UsageError unless every option is a parameter of this entry."""
        allowed = self.options()
        for name in options:
            if name not in allowed:
                raise unknown(f"option of {self.name}", name, allowed)


class Registry(Generic[F]):
    """Names to functions. Used as a decorator: `@models(params=..., paper=...)`, or bare: `@models()`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[F]] = {}

    def __call__(self, **facts: Any) -> Callable[[F], F]:
        def add(function: F) -> F:
            name = function.__name__
            if name in self._entries:
                raise UsageError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = Entry(name, function, facts)
            return function

        return add

    def __getitem__(self, name: str) -> Entry[F]:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry[F]]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    def names(self, pattern: str = "*") -> list[str]:
        """Sorted names that match a shell pattern."""
        return sorted(fnmatch.filter(self._entries, pattern))
