"""The recipe grammar: `name(arg=literal, ...) | name | ...`. Literals only, parsed with `ast`, never evaluated.

    resnet18(width=0.5) | swap_activation(to="silu") | fold_bn
"""

import ast
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError


@dataclass(frozen=True)
class Call:
    """One step of a recipe: a name and its literal options. `str()` gives the text back."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{self.name}({inside})" if inside else self.name


def split_steps(text: str) -> list[str]:
    """Split at the bars that stand outside brackets and quotes."""
    steps, depth, quote, start = [], 0, "", 0
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote and text[i - 1] != "\\" else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "|" and depth == 0:
            steps.append(text[start:i])
            start = i + 1
    steps.append(text[start:])
    return [step.strip() for step in steps]


def parse_step(text: str) -> Call:
    """Parse one step. A base from outside the zoo keeps its colon: `module:function` or `timm:NAME`."""
    head, colon, tail = text.partition(":")
    prefix = ""
    if colon and "(" not in head:
        prefix, text = head.strip() + ":", tail.strip()
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UsageError(f"recipe step {text!r} is not of the form name(arg=literal, ...)") from error
    if isinstance(node, ast.Call):
        function, arguments, keywords = node.func, node.args, node.keywords
    else:
        function, arguments, keywords = node, [], []
    name = prefix + ast.unparse(function) if isinstance(function, ast.Name | ast.Attribute) else ""
    if not name or (isinstance(function, ast.Attribute) and not prefix):
        raise UsageError(f"recipe step {text!r} does not start with a name")
    if arguments:
        raise UsageError(f"recipe step {text!r}: options are written by name, e.g. {name}(size=32)")
    options: dict[str, Any] = {}
    for keyword in keywords:
        if keyword.arg is None:
            raise UsageError(f"recipe step {text!r}: ** is not allowed")
        if keyword.arg in options:
            raise UsageError(f"recipe step {text!r}: option {keyword.arg!r} is given twice")
        try:
            options[keyword.arg] = ast.literal_eval(keyword.value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            got = ast.unparse(keyword.value)
            raise UsageError(
                f"recipe step {text!r}: {keyword.arg}={got} is not a literal (number, quoted text, list, True, None)"
            ) from error
    return Call(name, options)


def parse(text: str) -> list[Call]:
    """Parse a whole recipe.

    Raises UsageError for an empty step, an option without a name, or a value that is not a literal.
    """
    if len(text) > 10_000:
        raise UsageError(f"a recipe has at most 10000 characters, got {len(text)}")
    steps = split_steps(text)
    if any(not step for step in steps):
        raise UsageError(f"recipe {text!r} has an empty step; write name | name | ...")
    return [parse_step(step) for step in steps]


def show(calls: list[Call]) -> str:
    """The recipe as text; `parse(show(calls)) == calls`."""
    return " | ".join(str(call) for call in calls)
