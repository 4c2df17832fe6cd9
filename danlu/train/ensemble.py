"""Several networks, several crops of each image, one answer: what it gains, and what it costs.

The answer is the mean of the probabilities (danlu/train/members.py). Networks of equal strength that err on different images gain
most. The accuracy of every combination comes with its difference from the first network alone on the same images, and with the
time of a single image.

Source: Krizhevsky et al. 2012, sections 4.1 and 6.1; the difference: danlu/metrics/paired.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ..data import Source
from ..data.layout import SPLITS
from ..errors import UsageError, unknown
from ..metrics import paired_difference
from .crops import Crops
from .evaluate import Scores, score_logits
from .members import Member, combined

PLAIN = Crops()
WARMUP, ROUNDS = 3, 50


@dataclass(frozen=True)
class Row:
    """One way to judge: these members with these crops; `ms` is the median time of a single image, `times` that of the first row.

    `difference` is (its accuracy minus that of the first row, low, high), paired; None in the first row.
    """

    name: str
    scores: Scores
    ms: float
    ms_p10: float
    ms_p90: float
    times: float
    difference: tuple[float, float, float] | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, without the scores that are not accuracy."""
        kept = {"name": self.name, "accuracy": self.scores.accuracy, "interval": list(self.scores.interval)}
        timed = {"ms": self.ms, "ms_p10": self.ms_p10, "ms_p90": self.ms_p90, "times": self.times}
        return {**kept, **timed, "difference": None if self.difference is None else list(self.difference)}


def together(
    members: Sequence[Member], source: Source, *, split: str = "test", crops: Crops = PLAIN, batch_size: int = 256,
    seconds: float = 3.0,
) -> list[Row]:  # fmt: skip
    """Judge each member alone, each with the crops, and all of them together: first the first alone, last what was asked for.

    Every row is timed for `seconds` in all, in turns, on one image of the split; reading the image is not part of it.
    Raises: UsageError for no members, another split, or crops that a member cannot take.
    """
    from ..deploy.bench import interleave

    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    if not members:
        raise UsageError("an ensemble needs at least one model")
    plan = rows_of(members, crops)
    found: dict[tuple[int, Crops], np.ndarray] = {}
    images: dict[tuple[int, Crops], Tensor] = {}
    for which, how in sorted({(m, how) for _, chosen, how in plan for m in chosen}, key=lambda pair: pair[0]):
        found[which, how] = members[which].logits(source, split, how, batch_size)
        images[which, how] = members[which].images(source, split, how).take([0])

    def call(chosen: tuple[int, ...], how: Crops) -> Callable[[], object]:
        return lambda: [members[m].judge(images[m, how], how) for m in chosen]

    times = interleave([call(chosen, how) for _, chosen, how in plan], warmup=WARMUP, repeats=ROUNDS, seconds=seconds)
    labels, rows = getattr(source, split).labels, list[Row]()
    for i, (name, chosen, how) in enumerate(plan):
        scores = score_logits(combined([found[m, how] for m in chosen]), labels, source.classes)
        low, middle, high = np.percentile(times[:, i], (10, 50, 90)).tolist()
        difference = paired_difference(right(scores), right(rows[0].scores)) if rows else None
        rows.append(Row(name, scores, middle, low, high, float(np.median(times[:, i] / times[:, 0])), difference))
    return rows


def rows_of(members: Sequence[Member], crops: Crops) -> list[tuple[str, tuple[int, ...], Crops]]:
    """What is compared: (name, which members, how)."""
    plan: list[tuple[str, tuple[int, ...], Crops]] = [(member.name, (i,), PLAIN) for i, member in enumerate(members)]
    if not crops.plain:
        plan += [(f"{member.name}, {crops}", (i,), crops) for i, member in enumerate(members)]
    if len(members) > 1:
        plan.append((f"all {len(members)}" + ("" if crops.plain else f", {crops}"), tuple(range(len(members))), crops))
    return plan


def right(scores: Scores) -> np.ndarray:
    """Which images were answered right. Shape: bool [N]."""
    answered: np.ndarray = scores.logits.argmax(1) == scores.labels
    return answered
