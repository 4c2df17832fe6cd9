"""danlu show NAME: all that is known of a network, an edit or a layer."""

import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .common import Device, Json, Quiet, Seed, give, verb
from .listing import KINDS, console, describe, family_of, registry, spell

if TYPE_CHECKING:
    from ..cost import Profile
    from ..registry import Entry


def run(
    name: Annotated[str, typer.Argument(help="A name that `danlu list` prints; of one kind: activations:step.")],
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the facts, options and source of a network or an edit; the layers of a network, the card of an edit."""
    with verb():
        kind, entry = find(name)
        value = {"kind": registry(kind).kind, **describe(kind, entry), "options": options(kind, entry), "about": about(entry)}
        counted = layers(entry) if kind == "models" else None
        if counted is not None:
            value["rows"] = counted.to_json()["rows"]
            value |= history(entry)
        if kind == "edits":
            value["card"] = card(entry)
        give(value, as_json, lambda: page(value, entry, counted))


def find(name: str) -> "tuple[str, Entry[Any]]":
    """The kind and the entry of a name, or of "kind:name"; UsageError names the nearest of all kinds."""
    from ..errors import unknown

    only, colon, inside = name.partition(":")
    if colon and only in KINDS:
        return only, registry(only)[inside]
    registries = {kind: registry(kind) for kind in KINDS}
    for kind, known in registries.items():
        if name in known:
            return kind, known[name]
    raise unknown("name", name, [entry.name for known in registries.values() for entry in known])


def options(kind: str, entry: "Entry[Any]") -> list[dict[str, Any]]:
    """What a recipe may set (of a layer: all its arguments): name, type as text, and the default where there is one."""
    from ..edits._registry import CONTEXT
    from ..literals import spell as spell_hint
    from ..train.init import CONTEXT as GIVEN

    found = []
    parameters = inspect.signature(entry.build).parameters if kind == "layers" else entry.options()
    for name, parameter in parameters.items():
        if name in CONTEXT or (kind == "optimizers" and name == "model") or (kind == "inits" and name in GIVEN):
            continue
        option: dict[str, Any] = {"name": name, "type": spell_hint(parameter.annotation)}
        required = parameter.default is inspect.Parameter.empty
        if required and kind in ("optimizers", "schedules"):
            found.append(option | {"required": False, "default": "that of the training"})
            continue
        found.append(option | {"required": required} | ({} if required else {"default": plain(parameter.default)}))
    return found


def plain(default: Any) -> Any:
    """A default as JSON has it; anything else as text."""
    if isinstance(default, tuple | list):
        return [plain(value) for value in default]
    return default if default is None or isinstance(default, bool | int | float | str) else repr(default)


def about(entry: "Entry[Any]") -> str:
    """The docstring of the entry, then that of its file, which names the source and what differs from it."""
    module = inspect.getmodule(entry.build)
    texts = (inspect.getdoc(entry.build), inspect.getdoc(module) if module else None)
    return "\n\n".join(text for text in texts if text)


def card(entry: "Entry[Any]") -> str | None:
    """The text of the card beside the file of an edit."""
    path = Path(inspect.getfile(entry.build)).with_name(f"{entry.name}.md")
    return path.read_text() if path.is_file() else None


def layers(entry: "Entry[Any]") -> "Profile":
    """The profile of a network at its published input, by layer; nothing is computed."""
    import torch

    from ..cost import profile

    with torch.device("meta"):
        model = entry.build()
    return profile(model.eval(), entry.facts["input"])


def history(entry: "Entry[Any]") -> dict[str, Any]:
    """What the family of a network grew from and what it led to, each with what was new."""
    from ..atlas.lineage import idea_of, led_to

    family = family_of(entry)
    grew = [{"family": parent, "new": new} for parent, new in idea_of(family).grew]
    return {"came_from": grew, "led_to": [{"family": child, "new": new} for child, new in led_to(family)]}


def page(value: dict[str, Any], entry: "Entry[Any]", counted: "Profile | None") -> None:
    """The page for people, on stdout."""
    from rich.markdown import Markdown

    from ..cost.table import print_profile

    screen = console()

    def line(text: str = "") -> None:
        screen.print(text, markup=False, soft_wrap=True)

    line(f"{value['name']} ({value['kind']}, family {value['family']})")
    line()
    line(value["about"])
    line()
    for label, key in (("came from", "came_from"), ("led to", "led_to")):
        for kin in value.get(key, ()):
            line(f"{label:<12}{kin['family']}: {kin['new']}")
    for fact in entry.facts:
        label = {"macs": "MACs", "params": "parameters", "paper": "source"}.get(fact, fact)
        exact = f" ({value[fact]:,})" if fact in ("params", "macs") else ""
        line(f"{label:<12}{spell(fact, value[fact])}{exact}")
    if value["options"]:
        line()
        line("options")
        for option in value["options"]:
            default = "required" if option["required"] else f"default {option['default']!r}"
            line(f"  {option['name']}: {option['type']}, {default}")
    if counted is not None:
        line()
        print_profile(counted, console=screen)
    if value.get("card"):
        line()
        if sys.stdout.isatty():
            screen.print(Markdown(value["card"]))
        else:
            line(value["card"])
