"""The other tables of the report: before and after, candidates, classes, images a class."""

from collections.abc import Callable, Sequence
from typing import Any

from . import classes as scoring
from . import numbers
from .points import STATUS, Point, points
from .table import Cell, Column, Line, Table, build, number, spread, text
from .verdict import gain


def before_after(result: dict[str, Any]) -> Table:
    """Baseline and chosen file, figure by figure; the recipes stand above the table."""
    old, new = result["baseline"], result["best"]
    test = result.get("test") or {}
    accuracy = numbers.points(test.get("difference"))
    ends = numbers.interval(test.get("interval"))
    if ends:
        accuracy += f" (95 % interval {ends})"

    def factor(what: str, key: str, less: str, more: str) -> str:
        return numbers.change(gain(result, what, key), 1.0, less, more)

    def row(label: str, key: str, show: Callable[[Any], str], change: str) -> list[Cell]:
        return [text(label), text(show(old.get(key))), text(show(new.get(key)), "strong"), text(change)]

    rows = [
        row("File size", "size_bytes", numbers.size, factor("size", "size_bytes", "smaller", "larger")),
        row("Latency, median", "latency_ms", numbers.ms, factor("latency", "latency_ms", "faster", "slower")),
        [text("80 % of runs"), text(_range(old)), text(_range(new), "strong"), text("")],
        row("MACs", "macs", numbers.count, factor("macs", "macs", "fewer", "more")),
        row("Parameters", "params", numbers.count, factor("params", "params", "fewer", "more")),
        row("Accuracy, validation", "val_accuracy", numbers.percent, numbers.points(_minus(new, old, "val_accuracy"))),
        row("Accuracy, test", "accuracy", numbers.percent, accuracy),
    ]
    kept = [Line(cells) for cells in rows if cells[1].text != numbers.NONE or cells[2].text != numbers.NONE]
    heads = [Column("Measure"), Column("Baseline"), Column("Chosen"), Column("Change")]
    return Table("before-after-table", "Baseline and chosen model", heads, kept, sortable=False)


def _range(model: dict[str, Any]) -> str:
    low, high = model.get("latency_p10_ms"), model.get("latency_p90_ms")
    return numbers.NONE if low is None or high is None else f"{numbers.plain(low)} to {numbers.plain(high)} ms"


def _minus(new: dict[str, Any], old: dict[str, Any], key: str) -> float | None:
    return None if new.get(key) is None or old.get(key) is None else new[key] - old[key]


def candidates(result: dict[str, Any]) -> Table | None:
    """Every candidate in every precision, the chosen one first, then by falling accuracy; None without any."""
    if not result.get("candidates"):
        return None
    order = {"chosen": 0, "baseline": 1}
    rows = sorted(points(result), key=lambda p: (order.get(p.status, 2), -(p.accuracy if p.accuracy is not None else -1.0)))
    several = len({row.input for row in rows}) > 1
    heads = [
        Column("Recipe"),
        Column("Precision"),
        Column("Accuracy", True, "On validation"),
        Column("Size", True),
        Column("Latency", True),
        Column("MACs", True),
        Column("Parameters", True),
        Column("Status"),
        *([Column("Input", True, "Height × width")] if several else []),
        Column("Trained", True, "Time of training"),
    ]
    lines = [Line(_candidate(row, several), _facets(row), row.status if row.status in order else "") for row in rows]
    filters = {
        "status": sorted({line.facets["status"] for line in lines}),
        "precision": sorted({line.facets["precision"] for line in lines}),
    }
    filters = {name: values for name, values in filters.items() if len(values) > 1}
    return Table("candidates-table", "All candidates", heads, lines, filters, search=True)


def _facets(row: Point) -> dict[str, str]:
    return {"status": STATUS.get(row.status, row.status), "precision": row.precision}


def _candidate(row: Point, several: bool) -> list[Cell]:
    seconds = row.rungs[-1].get("seconds") if row.rungs else None
    rungs = ", ".join(f"{numbers.percent(r.get('accuracy'))} after {numbers.plain(r.get('seconds'))} s" for r in row.rungs)
    area = row.input[0] * row.input[-1] if row.input else None
    return [
        text(row.recipe, "code"),
        text(row.precision),
        number(row.accuracy, numbers.percent, title=rungs),
        number(row.size_bytes, numbers.size),
        number(row.latency_ms, numbers.ms, title=spread(row.latency_p10_ms, row.latency_p90_ms)),
        number(row.macs, numbers.count),
        number(row.params, numbers.count),
        Cell(STATUS.get(row.status, row.status), row.status, None, f"badge {row.status}", row.why),
        *([Cell(numbers.shape(row.input), area)] if several else []),
        number(seconds, numbers.duration),
    ]


def per_class(test: dict[str, Any] | None, classes: Sequence[str]) -> Table | None:
    """Recall and precision of each class; None without a confusion matrix."""
    table = (test or {}).get("confusion")
    if not table:
        return None
    columns: list[tuple[Column, Callable[[scoring.ClassScore], Cell]]] = [
        (Column("Class"), lambda s: text(s.name, "name")),
        (Column("Images", True), lambda s: number(s.images, numbers.plain)),
        (Column("Recall", True, "Share of its images that are recognised"), lambda s: number(s.recall, numbers.percent, 1.0)),
        (
            Column("Precision", True, "Share of its predictions that are right"),
            lambda s: number(s.precision, numbers.percent, 1.0),
        ),
        (
            Column("Taken for", title="Its most frequent wrong answer, and how many images"),
            lambda s: text(f"{s.taken_for} ({s.taken})" if s.taken_for else "", "name"),
        ),
    ]
    return build(
        "classes-table", "Every class on the test images", scoring.scores(table, classes), columns, search=len(table) > 12
    )


def pairs(test: dict[str, Any] | None, classes: Sequence[str]) -> Table | None:
    """The pairs of classes most often confused; None without mistakes."""
    rows = scoring.pairs((test or {}).get("confusion") or [], classes)
    columns: list[tuple[Column, Callable[[tuple[str, str, int, float]], Cell]]] = [
        (Column("Truth"), lambda p: text(p[0], "name")),
        (Column("Predicted"), lambda p: text(p[1], "name")),
        (Column("Images", True), lambda p: number(p[2], numbers.plain)),
        (Column("Share", True, "Of the images of the class"), lambda p: number(p[3], numbers.percent)),
    ]
    return build("pairs-table", "Most frequent mistakes", rows, columns) if rows else None


def class_counts(counts: dict[str, Any] | None, classes: Sequence[str]) -> Table | None:
    """Images a class and split, from {"train": {"cat": 12}}; None where there is no such thing."""
    if not isinstance(counts, dict) or not counts or not all(isinstance(split, dict) for split in counts.values()):
        return None
    names = list(dict.fromkeys([*classes, *(name for split in counts.values() for name in split)]))
    most = {name: max((v for v in split.values() if isinstance(v, int | float)), default=0) for name, split in counts.items()}
    columns: list[tuple[Column, Callable[[str], Cell]]] = [(Column("Class"), lambda name: text(name, "name"))]
    for split, inside in counts.items():

        def cell(name: str, inside: dict[str, Any] = inside, whole: float = most[split]) -> Cell:
            return number(inside.get(name, 0), numbers.plain, whole)

        columns.append((Column(str(split).capitalize(), True), cell))
    return build("counts-table", "Images of each class in each split", names, columns, search=len(names) > 12)
