"""Facts as label and value: predicted savings, the data and its health, the machine and the run."""

from dataclasses import dataclass
from typing import Any

from . import numbers
from .tables import class_counts

SHOWN_FILES = 50
ELSEWHERE = {"warnings", "errors", "classes", "images"}  # keys of the health report that are shown in another place
SPLITS = (("train", "training"), ("val", "validation"), ("test", "test"))


def saving(values: Any) -> list[tuple[str, str]]:
    """A predicted saving as (what, how much): a float up to 1 is a share, else the key's ending tells the unit."""
    if not isinstance(values, dict):
        return [("", str(values))] if values not in (None, "") else []
    return [(_label(key), _value(key, value)) for key, value in values.items() if value is not None]


def _label(key: str) -> str:
    for ending in ("_bytes", "_ms", "_share"):
        key = key.removesuffix(ending)
    return {"macs": "MACs", "params": "parameters"}.get(key, key.replace("_", " "))


def _value(key: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "yes" if value is True else "no" if value is False else str(value)
    if isinstance(value, float) and abs(value) <= 1 and not key.endswith("_ms"):
        return f"{numbers.MINUS if value > 0 else '+'}{numbers.percent(abs(value))}"  # a share saved; below zero it grows
    if key.endswith("_bytes"):
        return numbers.size(value)
    return numbers.ms(value) if key.endswith("_ms") else numbers.count(value)


@dataclass(frozen=True)
class Health:
    """The data check: the counts go to a table, lists to lists, the rest to facts."""

    facts: list[tuple[str, str]]
    warnings: list[str]
    lists: list[tuple[str, list[str], int]]  # title, the first entries, how many there are


def health(data: dict[str, Any]) -> Health:
    """Read whatever the health report holds: it is free-form."""
    report = data.get("health") or {}
    facts, lists = [], []
    for key, value in report.items():
        title = key.replace("_", " ").capitalize()
        elsewhere = key in ELSEWHERE or (key == "counts" and class_counts(value, ()) is not None)
        if elsewhere or not value:
            continue
        if isinstance(value, list) and not all(isinstance(v, int | float) for v in value):
            lists.append((title, [_entry(v) for v in value[:SHOWN_FILES]], len(value)))
        else:
            facts.append((title, _flat(value)))
    said = [*(report.get("errors") or []), *(report.get("warnings") or [])]
    return Health(facts, [_entry(line) for line in said], lists)


def _entry(value: Any) -> str:
    """One line of a list: a file with its reason, a group of equal files with where they lie, or anything."""
    if isinstance(value, dict) and "reason" in value:
        return f"{value.get('name') or value.get('file')}: {value['reason']}"
    if isinstance(value, dict) and isinstance(value.get("names"), list):
        where = [_flat(item) for key, item in value.items() if key != "names"]
        return " = ".join(map(str, value["names"])) + (f" ({'; '.join(where)})" if where else "")
    return _flat(value)


def _flat(value: Any) -> str:
    """Anything in one line."""
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        numeric = len(value) == 2 and all(isinstance(item, int | float) for item in value)
        return numbers.shape(value) if numeric else ", ".join(_flat(item) for item in value)
    if isinstance(value, float):
        return numbers.plain(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def data_facts(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Where the images came from and how they enter the network."""
    counts, form = data.get("counts") or {}, data.get("input") or {}
    facts = [("Source", str(data.get("where") or data.get("name") or ""))]
    split = [f"{counts[key]:,} {word}" for key, word in SPLITS if isinstance(counts.get(key), int)]
    if split:
        facts.append(("Images", " + ".join(split)))
    if data.get("classes"):
        facts.append(("Classes", f"{len(data['classes']):,}"))
    if form.get("size"):
        colour = {1: "grey", 3: "RGB"}.get(form.get("channels") or 0, f"{form.get('channels')} channels")
        facts.append(("Input", f"{numbers.shape(form['size'])} pixels (height × width), {colour}"))
    if form.get("resize"):
        how = {"stretch": "both sides stretched to the size", "short_side_crop": "short side to the size, centre cropped"}
        facts.append(("Resize", how.get(form["resize"], str(form["resize"]))))
    if form.get("mean"):
        facts.append(
            (
                "Normalisation",
                f"mean {_digits(form['mean'])}; standard deviation {_digits(form.get('std'))} (of pixels in 0 to 1)",
            )
        )
    return facts


def _digits(values: Any) -> str:
    return ", ".join(f"{v:.4f}" for v in values or [])


def reproduce_facts(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Seed, time, machine and versions."""
    machine = result.get("machine") or {}
    facts = [
        ("Seed", result.get("seed")),
        ("Date", result.get("date")),
        ("danlu", result.get("danlu")),
        ("Run folder", result.get("run")),
    ]
    if result.get("seconds") is not None:
        budget = f" of {numbers.duration(result['time_budget'])}" if result.get("time_budget") else ""
        facts.append(("Time", numbers.duration(result["seconds"]) + budget))
    threads = f"{result['threads']} thread{'s' if result['threads'] != 1 else ''}" if result.get("threads") else ""
    cores = f", {machine['cores']} cores" if machine.get("cores") else ""
    facts += [
        ("Processor", f"{machine['processor']}{cores}" if machine.get("processor") else None),
        ("Latency measured with", f"onnxruntime, {threads}, batch 1" if threads else None),
        ("System", machine.get("system")),
        ("Python", machine.get("python")),
    ]
    facts += [(str(name), version) for name, version in (machine.get("versions") or {}).items() if name != "danlu"]
    return [(label, str(value)) for label, value in facts if value not in (None, "")]


def title(result: dict[str, Any]) -> str:
    """The document's title, at a length that fits a tab."""
    name = str(result["name"])
    return f"{name if len(name) <= 60 else name[:59] + '…'} · danlu report"
