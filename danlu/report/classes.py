"""What a confusion matrix says in words: recall and precision of each class, and the pairs most often confused."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class ClassScore:
    """One class on test; a share is None where it has no images (recall) or was never predicted (precision)."""

    name: str
    images: int
    recall: float | None
    precision: float | None
    taken_for: str
    taken: int


def scores(table: Sequence[Sequence[int]], classes: Sequence[str]) -> list[ClassScore]:
    """recall = right / images of the class; precision = right / predictions of the class."""
    found = []
    for i, row in enumerate(table):
        images, predicted = sum(row), sum(other[i] for other in table)
        wrong = [(cell, j) for j, cell in enumerate(row) if j != i and cell]
        most, other = max(wrong, key=lambda pair: (pair[0], -pair[1]), default=(0, -1))
        found.append(
            ClassScore(
                _name(classes, i), images, row[i] / images if images else None, row[i] / predicted if predicted else None,
                _name(classes, other) if other >= 0 else "", most,
            )
        )  # fmt: skip
    return found


def pairs(table: Sequence[Sequence[int]], classes: Sequence[str], most: int = 10) -> list[tuple[str, str, int, float]]:
    """(truth, predicted, images, share of the truth's images), the most frequent mistakes first."""
    cells = [(cell, i, j) for i, row in enumerate(table) for j, cell in enumerate(row) if i != j and cell]
    cells.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [(_name(classes, i), _name(classes, j), cell, cell / sum(table[i])) for cell, i, j in cells[:most]]


def _name(classes: Sequence[str], index: int) -> str:
    return classes[index] if index < len(classes) else str(index)
