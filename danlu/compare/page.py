"""report.html of a comparison: one file that needs nothing but a browser, in the dress of the report of `optimize`."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_text
from ..report import numbers
from ..report.page import asset, embedded, plotly_js
from . import figures, tables
from .vary import show_value

Row = dict[str, Any]
STYLE = Path(__file__).parent / "templates" / "compare.css"


def write_report(run: Path, data: Row) -> Path:
    """Write `run/report.html` atomically and return its path."""
    path = Path(run) / "report.html"
    write_text(path, render(data))
    return path


def render(data: Row) -> str:
    """The page as text."""
    axes = {name: [show_value(tuple(v) if isinstance(v, list) else v) for v in values] for name, values in data["vary"].items()}
    rows = data["rows"]
    drawn = {"curves": figures.curves(rows, data["curves"]), "dots": figures.dots(rows), "heat": figures.heat(rows, axes)}
    drawn = {name: figure for name, figure in drawn.items() if figure}
    names = {row["id"]: row["short"] for row in rows}
    sections = [
        ("combinations", "Combinations", True),
        ("curves", "Curves", "curves" in drawn),
        ("map", "Both settings", "heat" in drawn),
        ("effects", "What each setting does", data["effects"]),
        ("pairs", "Which differences are real", data["pairs"]),
        ("test", "On the test images", data["test"]),
        ("reproduce", "How to reproduce", True),
    ]
    return environment().get_template("compare.html.j2").render(
        data=data, axes=axes, headline=headline(data), caution=caution(data), figures=drawn, figures_json=embedded(drawn),
        sections=[(id, heading) for id, heading, shown in sections if shown],
        combinations=tables.combinations(rows, axes), pairs=tables.pairs(data["pairs"], names),
        failed=failures(rows), pairs_left=max(0, len(data["pairs"]) - tables.MOST_PAIRS),
        effects=[(found, *tables.effect(found)) for found in data["effects"]],
        tested=tables.tested(data["test"], rows) if data["test"] else None, facts_list=facts(data),
        style=asset("style.css") + Markup(STYLE.read_text(encoding="utf-8")), plotly=plotly_js(),
        script=Markup(asset("tables.js") + asset("plots.js") + asset("page.js")),
    )  # fmt: skip


@cache
def environment() -> Environment:
    """Strict and escaping; tables and plots are the report's."""
    return Environment(
        loader=ChoiceLoader([PackageLoader("danlu.compare", "templates"), PackageLoader("danlu.report", "templates")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def headline(data: Row) -> tuple[str, str]:
    """What is best, and how sure that is."""
    best, others = data["rows"][0], [row for row in data["rows"][1:] if row["state"] != "failed"]
    if best["state"] != "best":
        return "None of the combinations could be trained", "The table says why."
    said = f"{best['label']}: {tables.percent(best['accuracy'])} on validation"
    level = sum(row["state"] == "level" for row in others)
    if not others:
        return said, "There is no other whole combination to compare it with."
    if not level:
        return said, "Better than every other combination: each of these differences is real." if len(others) > 1 else (
            "Better than the other combination: the difference is real."
        )
    if level == len(others):
        return said, f"{_count(level)} cannot be told apart from it: this comparison shows no winner."
    return said, f"{_count(level)} cannot be told apart from it, the other {len(others) - level} are worse."


def _count(many: int) -> str:
    return "One other combination" if many == 1 else f"{many} other combinations"


def caution(data: Row) -> list[str]:
    """What the reader must know before trusting the order."""
    found = []
    if data["seeds"] == 1:
        found.append("One seed: what another seed would change is not known. With --resume and --seeds 3 the comparison goes on.")
    failed = sum(row["state"] == "failed" for row in data["rows"])
    if failed and failed < len(data["rows"]):
        found.append(f"{failed} of {len(data['rows'])} combinations failed; the reasons are below the table.")
    short = [row for row in data["rows"] if row["epochs"] is not None and row["epochs"] < 1]
    if short:
        found.append(
            f"{len(short)} combinations saw less than one pass over the data: this budget says little about longer training."
        )
    late = data["rows"][0]
    if late["state"] == "best" and late["epochs"] and late["epochs"] >= 3 and late["best_epoch"] >= 0.999 * late["epochs"]:
        found.append("The best combination was best at its last epoch: a longer training may change the order.")
    return found


def arithmetic(tunes: dict[str, dict[str, str]]) -> list[tuple[str, str]]:
    """Precision and memory format: of each network, or of all where it is one."""
    ways = {recipe: f"{tune['precision']}, {tune['memory_format']}" for recipe, tune in tunes.items()}
    if len(set(ways.values())) == 1:
        return [("Arithmetic", next(iter(ways.values())))]
    return [(f"Arithmetic of {recipe}", way) for recipe, way in ways.items()]


def failures(rows: list[Row]) -> list[tuple[str, list[str]]]:
    """Each reason with the combinations that failed for it."""
    found: dict[str, list[str]] = {}
    for row in rows:
        if row["state"] == "failed":
            found.setdefault(row["why"], []).append(row["label"])
    return list(found.items())


def facts(data: Row) -> list[tuple[str, str]]:
    """What was compared on what, and with what."""
    machine, images = data["machine"], data["images"]
    shared = ", ".join(f"{name}={show_value(value)}" for name, value in data["settings"].items()) or "the defaults"
    found = [
        ("Network", data["recipe"] or "varied"), ("Shared settings", shared), ("Budget of a run", data["budget_text"]),
        ("Seeds", f"{data['seed']} to {data['seed'] + data['seeds'] - 1}" if data["seeds"] > 1 else str(data["seed"])),
        ("Images", f"{images['train']:,} training + {images['val']:,} validation + {images['test']:,} test"),
        ("Classes", f"{data['classes']:,}"), ("Data", data["data"]),
        ("Input", f"{numbers.shape(data['input']['size'])} pixels (height × width)"),
        *arithmetic(data["tunes"]),
        ("Training in all", numbers.duration(data["seconds_in_all"])), ("Run folder", data["run"]), ("Device", data["device"]),
        ("Processor", f"{machine['processor']}, {machine['cores']} cores"), ("System", machine["system"]),
        ("Python", machine["python"]), *machine["versions"].items(),
    ]  # fmt: skip
    return [(label, str(value)) for label, value in found]
