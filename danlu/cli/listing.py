"""danlu list [KIND] [GLOB]: what there is to start from, and what can be changed."""

import importlib
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, give, verb

if TYPE_CHECKING:
    from rich.console import Console

    from ..registry import Entry, Registry

# Kind -> where its registry is, and the facts that people see as columns, in order.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "models": ("danlu.zoo:models", ("input", "params", "macs", "year")),
    "edits": ("danlu.edits:edits", ("exact", "needs", "reduces")),
    "layers": ("danlu.nn:layers", ("paper",)),
    "optimizers": ("danlu.train.optimizers:optimizers", ("lr", "decay", "paper")),
    "schedules": ("danlu.train.schedules:schedules", ("paper",)),
    "losses": ("danlu.losses:losses", ("task", "paper")),
    "inits": ("danlu.train.init:inits", ("paper",)),
    "regularizers": ("danlu.train.regularizers:regularizers", ("paper",)),
    "mixings": ("danlu.train.mixing:mixings", ("paper",)),
    "augmentations": ("danlu.data.augment:augmentations", ("paper",)),
    "metrics": ("danlu.metrics:metrics", ("kind", "higher_is_better", "paper")),
    "activations": ("danlu.nn.activations:activations", ("paper",)),
    "norms": ("danlu.nn:norms", ("paper",)),
    "normalizations": ("danlu.data:normalizations", ("paper",)),
    "views": ("danlu.views:views", ("images", "paper")),
}


def run(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KINDS)}; or a pattern of model names.")] = "models",
    glob: Annotated[str, typer.Argument(help="Names that match this pattern, such as 'resnet*'.")] = "*",
    family: Annotated[str | None, typer.Option(help="Only this family: the file that an entry is written in.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the networks, edits, layers, or what a training is made of, with their facts."""
    with verb():
        if kind not in KINDS and any(char in kind for char in "*?["):
            kind, glob = "models", kind
        entries = [describe(kind, entry) for entry in matching(kind, glob, family)]
        give({"kind": kind, "count": len(entries), "entries": entries}, as_json, lambda: table(kind, entries))


def registry(kind: str) -> "Registry[Any]":
    """The registry of a kind; UsageError names the kinds there are."""
    from ..errors import unknown

    if kind not in KINDS:
        raise unknown("kind", kind, KINDS)
    module, _, name = KINDS[kind][0].partition(":")
    found: Registry[Any] = getattr(importlib.import_module(module), name)
    return found


def family_of(entry: "Entry[Any]") -> str:
    """The file an entry is written in."""
    return str(entry.build.__module__).rpartition(".")[2]


def matching(kind: str, glob: str, family: str | None) -> "list[Entry[Any]]":
    """The entries that match, sorted by name; UsageError when there are none."""
    from ..errors import UsageError, unknown

    known = registry(kind)
    families = {family_of(entry) for entry in known}
    if family is not None and family not in families:
        raise unknown("family", family, families)
    found = [known[name] for name in known.names(glob) if family is None or family_of(known[name]) == family]
    if not found:
        if not any(char in glob for char in "*?["):
            raise unknown(known.kind, glob, known.names())
        within = f" of family {family}" if family else ""
        raise UsageError(f"no {known.kind}{within} matches {glob!r}; known: {', '.join(known.names())}")
    return found


def describe(kind: str, entry: "Entry[Any]") -> dict[str, Any]:
    """An entry as JSON: name, family, summary and its facts."""
    return {"name": entry.name, "family": family_of(entry), "summary": entry.summary, **entry.facts}


def spell(fact: str, value: Any) -> str:
    """A fact for people."""
    from ..units import show_count

    if value is None:
        return ""
    if fact in ("params", "macs"):
        return show_count(value)
    if fact in ("input", "smallest"):
        return "x".join(str(side) for side in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(str(part) for part in value) if isinstance(value, tuple | list) else str(value)


def console() -> "Console":
    """Standard output; without a terminal nothing is folded to its width, so that lines can be searched."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 240, highlight=False)


def table(kind: str, entries: list[dict[str, Any]]) -> None:
    """The entries as a table on stdout."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False)
    drawn.add_column("name", no_wrap=True)
    for fact in KINDS[kind][1]:
        drawn.add_column({"macs": "MACs"}.get(fact, fact), justify="right" if fact in ("params", "macs") else "left")
    drawn.add_column("what it is")
    for entry in entries:
        facts = [Text(spell(fact, entry.get(fact))) for fact in KINDS[kind][1]]
        drawn.add_row(Text(entry["name"], style="bold"), *facts, Text(entry["summary"]))
    console().print(drawn)
