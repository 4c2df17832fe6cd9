"""report.html: one file that needs nothing but a browser. Words, tables and figures meet the template here.

Everything a user wrote is escaped: by jinja2 in the page, by `\\u003c` in the embedded JSON, by entities in plotly's labels.
A content security policy in the page forbids every request, so that a report shows what it holds and nothing else.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..files import write_text
from . import charts, facts, layers, numbers, pareto, steps, tables
from .pictures import png_size
from .schema import Result, checked
from .verdict import doubt, tiles, verdict

# Section, its heading, and what is said where the result has nothing for it.
SECTIONS = (
    ("pareto", "Accuracy against cost", "the plot of candidates (none has both a cost and a validation accuracy)"),
    ("before-after", "Before and after", ""),
    ("steps", "What each step bought", "what each step bought (no steps were recorded)"),
    ("candidates", "Candidates", "the candidates (none were recorded)"),
    ("layers", "Layers", "the layer tables (no profile was recorded)"),
    ("training", "Training", "the training curves (none were recorded)"),
    ("confusion", "Confusion matrix", "the confusion matrix (no test predictions were recorded)"),
    ("mistakes", "Worst mistakes", "pictures of mistakes (none were recorded)"),
    ("advice", "Advice still open", "advice (there is none left)"),
    ("not-compressed", "Not compressed", "what was not compressed (nothing was listed)"),
    ("data", "Data", "the data's description (none was recorded)"),
    ("time", "Where the time went", "the time of each stage (none was recorded)"),
    ("reproduce", "How to reproduce", ""),
)
SMALL_PICTURE = 64  # pictures of at most this many pixels a side are enlarged with hard pixel edges


def write_report(run: Path, result: Result | dict[str, Any]) -> Path:
    """Write `run/report.html` atomically and return its path.

    Raises: UsageError when `result` lacks what a report needs; DanluError when the file cannot be written.
    """
    path = Path(run) / "report.html"
    write_text(path, render(result))
    return path


def render(result: Result | dict[str, Any]) -> str:
    """The page as text."""
    data = checked(result)
    script = Markup(asset("tables.js") + asset("plots.js") + asset("page.js"))
    template = environment().get_template("page.html.j2")
    return template.render(context(data), style=asset("style.css"), plotly=plotly_js(), script=script)


@cache
def environment() -> Environment:
    """Strict: an unknown name in a template is an error, and everything is escaped."""
    made = Environment(
        loader=PackageLoader("danlu.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["duration"] = numbers.duration
    made.filters["percent"] = numbers.percent
    return made


@cache
def asset(name: str) -> Markup:
    """One of our own style or script files."""
    return Markup((Path(__file__).parent / "templates" / name).read_text(encoding="utf-8"))


@cache
def plotly_js() -> Markup:
    """plotly.js as the installed package ships it (its only complete bundle is the minified one)."""
    from plotly.offline import get_plotlyjs

    return Markup(get_plotlyjs().replace("</script", "<\\/script").replace("<!--", "<\\!--"))


def embedded(value: Any) -> Markup:
    """JSON that can stand inside a script element whatever it holds."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


def context(result: dict[str, Any]) -> dict[str, Any]:
    """Everything the template shows, from a checked result."""
    test, data = result.get("test") or {}, result.get("data") or {}
    classes = [str(name) for name in data.get("classes") or []]
    profiles = result.get("layers") or {}
    networks = [
        found
        for key, title in (("best", "the chosen network"), ("baseline", "the baseline"))
        if (found := layers.layers(profiles.get(key), f"layers-{key}", title)) is not None
    ]
    figures = {
        "pareto": pareto.figure(result),
        "curves": charts.curves(result.get("curves"), result["best"]["recipe"]),
        "halving": charts.halving(result.get("candidates"), result["best"]["recipe"]),
        "confusion": charts.confusion(test.get("confusion"), classes),
    }
    shown = {
        "pareto": figures["pareto"],
        "before-after": True,
        "steps": steps.waterfall(result.get("steps")),
        "candidates": tables.candidates(result),
        "layers": networks,
        "training": figures["curves"] or figures["halving"],
        "confusion": figures["confusion"],
        "mistakes": mistakes(test.get("mistakes")),
        "advice": [a | {"saving": facts.saving(a.get("saving"))} for a in result.get("advice") or []],
        "not-compressed": result.get("not_compressed"),
        "data": data,
        "time": steps.stages(result),
        "reproduce": True,
    }
    return {
        "result": result,
        "title": facts.title(result),
        "verdict": verdict(result),
        "doubt": doubt(result),
        "tiles": tiles(result),
        "sections": [(id, heading) for id, heading, _ in SECTIONS if shown[id]],
        "left_out": [why for id, _, why in SECTIONS if not shown[id]],
        "shown": shown,
        "figures": figures,
        "figures_json": embedded({name: figure for name, figure in figures.items() if figure}),
        "before_after": tables.before_after(result),
        "per_class": tables.per_class(test, classes),
        "pairs": tables.pairs(test, classes),
        "health": facts.health(data),
        "class_counts": tables.class_counts((data.get("health") or {}).get("counts"), classes),
        "data_facts": facts.data_facts(data) if data else [],
        "machine_facts": facts.reproduce_facts(result),
    }


def mistakes(rows: Any) -> list[dict[str, Any]]:
    """The pictures that are embedded PNGs, with their sizes; anything else is not shown."""
    found = []
    for row in rows or []:
        size = png_size(row.get("image"))
        if size is not None:
            row = {"truth": "?", "predicted": "?", "name": "", "confidence": None} | row
            found.append(row | {"width": size[0], "height": size[1], "small": max(size) <= SMALL_PICTURE})
    return found
