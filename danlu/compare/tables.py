"""Tables of a comparison: combinations, what each setting does, which differences are real, and the look at the test images."""

from collections.abc import Sequence
from typing import Any

from ..report import numbers
from ..report.table import Cell, Column, Table, build, number, text

Row = dict[str, Any]
MOST_PAIRS = 300
STATES = {
    "best": ("best", "badge chosen"), "level": ("not told apart", "badge trained"), "worse": ("worse", "badge"),
    "failed": ("failed", "badge failed"),
}  # fmt: skip
SECONDS = "Seconds of training, mean over the seeds"


def combinations(rows: Sequence[Row], axes: dict[str, list[str]]) -> Table:
    """One row a combination, best first."""
    known = [row["accuracy"] for row in rows if row["accuracy"] is not None]
    low = min(known, default=0.0)
    whole = max((value - low for value in known), default=0.0)
    networks = len({row["recipe"] for row in rows}) > 1

    def accuracy(row: Row) -> Cell:
        mean = row["accuracy"]
        share = (mean - low) / whole if whole and mean is not None else None
        return Cell(percent(mean), mean, share)

    columns: list[Any] = [(Column(name), lambda row, name=name: text(row["values"][name], "code")) for name in axes]
    columns += [
        (Column("Accuracy", True, "Mean over the seeds, on validation; the bar begins at the lowest"), accuracy),
        (Column("Range", True, "Lowest and highest seed"), lambda row: spread(row["range"])),
        (Column("To the best", True, "Points, with the 95 % interval"), difference),
        (Column("p (Holm)", True, "For the difference to the best, after Holm's correction"), lambda row: chance(row["p_holm"])),
        (
            Column("Result"),
            lambda row: Cell(STATES[row["state"]][0], order(row, rows), None, STATES[row["state"]][1]),
        ),
        (
            Column("Best at", True, "The epoch of the best weights, mean over the seeds"),
            lambda row: number(row["best_epoch"], numbers.plain),
        ),
        (Column("Time", True, SECONDS), lambda row: number(row["seconds"], numbers.duration)),
    ]
    if len({row["epochs"] for row in rows if row["epochs"] is not None}) > 1:
        columns.insert(
            -1, (Column("Epochs", True, "Passes over the data, mean"), lambda row: number(row["epochs"], numbers.plain))
        )
    if networks:
        columns += [
            (Column("Parameters", True), lambda row: number(row["params"], numbers.count)),
            (Column("MACs", True), lambda row: number(row["macs"], numbers.count)),
        ]
    filters = {name: values for name, values in axes.items() if len(values) > 1 and len(rows) > 6}
    table = build("combinations-table", "All combinations, best first", rows, columns, filters=filters, search=len(rows) > 12)
    for line, row in zip(table.lines, rows, strict=True):
        line.facets.update(row["values"])
    return table


def order(row: Row, rows: Sequence[Row]) -> str:
    """By which the column of results is sorted: the place, as words of one length."""
    return f"{[other['id'] for other in rows].index(row['id']):06d}"


def percent(share: float | None) -> str:
    """Two digits behind the point: settings differ by little."""
    return numbers.NONE if share is None else f"{100 * share:.2f} %"


def spread(ends: Sequence[float] | None) -> Cell:
    """`92.80–93.50`, sorted by its width."""
    if ends is None:
        return Cell(numbers.NONE)
    return Cell(f"{100 * ends[0]:.2f}–{100 * ends[1]:.2f}", ends[1] - ends[0])


def difference(row: Row) -> Cell:
    """`−1.2 [−2.0, −0.4]` points."""
    if row["difference"] is None:
        return Cell(numbers.NONE)
    low, high = (numbers.points(end, unit=False) for end in row["interval"])
    return Cell(f"{numbers.points(row['difference'], unit=False)} [{low}, {high}]", row["difference"])


def chance(p: float | None) -> Cell:
    """A p value; very small ones as a bound."""
    if p is None:
        return Cell(numbers.NONE)
    return Cell("< 0.0001" if p < 1e-4 else f"{p:.4f}" if p < 0.1 else f"{p:.2f}", p)


def verdict(pair: Row) -> Cell:
    """Whether a difference is real."""
    return Cell("real", "0", None, "badge chosen") if pair["real"] else Cell("not told apart", "1", None, "badge")


COMPARED = (
    (Column("Difference", True, "Points, A minus B, with the 95 % interval"), difference),
    (Column("p", True), lambda pair: chance(pair["p"])),
    (Column("p (Holm)", True, "After Holm's correction over this table"), lambda pair: chance(pair["p_holm"])),
    (Column("Verdict"), verdict),
)


def pairs(found: Sequence[Row], names: dict[int, str]) -> Table:
    """Every combination against every other; the smallest p first where there are very many."""
    kept = sorted(found, key=lambda pair: pair["p"])[:MOST_PAIRS] if len(found) > MOST_PAIRS else found
    columns = [
        (Column("A"), lambda pair: text(names[pair["a"]], "code")), (Column("B"), lambda pair: text(names[pair["b"]], "code")),
        *COMPARED,
    ]  # fmt: skip
    return build("pairs-table", "Every combination against every other", kept, columns, search=len(kept) > 12)


def effect(found: Row) -> tuple[Table, Table]:
    """Of one setting: the means of its values, and their differences."""
    setting = found["setting"]
    means = build(
        f"effect-{setting}", f"Mean accuracy by {setting}", found["means"],
        [(Column(setting), lambda row: text(row["value"], "code")),
         (Column("Accuracy", True, "Mean over seeds and partners"), lambda row: number(row["accuracy"], percent))],
        sortable=False,
    )  # fmt: skip
    columns = [
        (Column("A"), lambda pair: text(pair["a"], "code")),
        (Column("B"), lambda pair: text(pair["b"], "code")),
        *COMPARED,
    ]
    return means, build(f"effect-{setting}-pairs", f"Differences by {setting}", found["pairs"], columns)


def tested(test: Row, rows: Sequence[Row]) -> Table:
    """The combinations on the test images, in the order that validation made."""
    names = {row["id"]: row["short"] for row in rows}
    against = {pair["b"]: pair | {"difference": -pair["difference"], "interval": [-e for e in reversed(pair["interval"])]}
               for pair in test["pairs"]}  # fmt: skip
    empty = {"difference": None, "interval": None, "p_holm": None}

    def judged(row: Row) -> Cell:
        return verdict(against[row["id"]]) if row["id"] in against else Cell("chosen", "", None, "badge trained")

    columns = [
        (Column("Combination"), lambda row: text(names[row["id"]], "code")),
        (Column("Accuracy on test", True), lambda row: number(row["accuracy"], percent)),
        (Column("Range", True, "Lowest and highest seed"), lambda row: spread(row["range"])),
        (Column("To the chosen", True, "Points, with the 95 % interval"), lambda row: difference(against.get(row["id"], empty))),
        (Column("p (Holm)", True), lambda row: chance(against.get(row["id"], empty)["p_holm"])),
        (Column("Verdict"), lambda row: judged(row)),
    ]  # fmt: skip
    return build("test-table", "All combinations on the test images", test["rows"], columns)
