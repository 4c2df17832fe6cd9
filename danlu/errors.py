"""Errors a user can act on: what was wrong, what was got, what is allowed, the nearest name."""

import difflib
from collections.abc import Iterable


class DanluError(Exception):
    """Something failed that the user should know about in one line; the command line exits with `exit_code`."""

    exit_code = 1


class UsageError(DanluError, ValueError):
    """Wrong usage or bad input: a flag, a recipe, a file or a folder that cannot be taken."""

    exit_code = 2


def unknown(kind: str, got: str, allowed: Iterable[str], most: int = 12) -> UsageError:
    """The error for a name that is not in a registry: names the nearest ones, or lists what exists."""
    names = sorted(allowed)
    near = difflib.get_close_matches(got, names, n=3, cutoff=0.5)
    if near:
        hint = "did you mean " + " or ".join(near) + "?"
    else:
        hint = "known: " + ", ".join(names[:most]) + (f", ... ({len(names)} in all)" if len(names) > most else "")
    return UsageError(f"unknown {kind} {got!r}; {hint}")
