"""What is wrong with a data set, and what is in it: counts, sizes, modes, unreadable files, copies across splits."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import UsageError
from .layout import SPLITS, Listing
from .scan import Scan
from .splits import copies

MAX_UNREADABLE = 0.05


@dataclass
class Health:
    """The state of a data set.

    `counts` maps split -> class -> images ("all" before splits are made). `sizes` holds [width, height] as min, median, max, each
    by itself. `duplicates` are groups of files with exactly the same content in more than one split; `conflicts` such
    groups under more than one class; `repeated` counts all copies beyond the first. `missing` maps a split to the classes
    it has no image of. `errors` are what stops training, `warnings` what should be known.
    """

    images: int
    classes: list[str]
    counts: dict[str, dict[str, int]]
    sizes: dict[str, list[float]]
    modes: dict[str, int]
    unreadable: list[dict[str, str]] = field(default_factory=list)
    ignored: int = 0
    duplicates: list[dict[str, list[str]]] = field(default_factory=list)
    conflicts: list[dict[str, list[str]]] = field(default_factory=list)
    repeated: int = 0
    one_image: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers, complete."""
        return dict(vars(self))

    @classmethod
    def of(cls, scan: Scan, member: np.ndarray, made: Collection[str]) -> "Health":
        """The health of a scanned set. `member` int [N] is the split of each image (-1: none); `made` are the splits we made."""
        listing = scan.listing
        keep = scan.readable()
        labels, member = listing.labels[keep], member[keep]
        splits = [(i, name) for i, name in enumerate(SPLITS) if (member == i).any()] or [(-1, "all")]
        counts = {}
        for i, name in splits:
            per_class = np.bincount(labels[member == i], minlength=len(listing.classes)).tolist()
            counts[name] = dict(zip(listing.classes, per_class, strict=True))
        total = np.bincount(labels, minlength=len(listing.classes)).tolist()
        alive = [name for name, n in zip(listing.classes, total, strict=True) if n]
        health = cls(len(keep), alive, counts, _sizes(scan, keep), dict(Counter(scan.modes[i] for i in keep).most_common()))
        health.unreadable = [{"name": listing.names[i], "reason": why} for i, why in sorted(scan.reasons.items())]
        health.ignored = listing.ignored
        health.one_image = [name for name, n in zip(listing.classes, total, strict=True) if n == 1]
        health.empty = [*listing.empty, *(name for name, n in zip(listing.classes, total, strict=True) if n == 0)]
        health.missing = {
            split: lacking for split, count in counts.items() if (lacking := [name for name in alive if count[name] == 0])
        }
        health._find_copies(listing, keep, labels, member, scan.digests[keep])
        health._judge(len(listing.names), made)
        return health

    def _find_copies(
        self, listing: Listing, keep: np.ndarray, labels: np.ndarray, member: np.ndarray, digests: np.ndarray
    ) -> None:
        if not digests.any():
            return  # not decoded yet
        for group in copies(digests):
            self.repeated += len(group) - 1
            names = [listing.names[keep[i]] for i in group]
            if len(set(member[group].tolist())) > 1:
                self.duplicates.append({"names": names, "splits": [SPLITS[i] for i in member[group]]})
            if len(set(labels[group].tolist())) > 1:
                self.conflicts.append({"names": names, "classes": [listing.classes[i] for i in labels[group]]})

    def _judge(self, listed: int, made: Collection[str]) -> None:
        """Fill errors and warnings from what was found."""
        bad = len(self.unreadable)
        if bad > MAX_UNREADABLE * listed:
            first = "; ".join(f"{one['name']} ({one['reason']})" for one in self.unreadable[:3])
            more = f" and {bad - 3} more, which `danlu check` lists" if bad > 3 else ""
            self.errors.append(
                f"{bad} of {listed} images ({bad / listed:.0%}) cannot be read, up to {MAX_UNREADABLE:.0%} would be left out: "
                f"{first}{more}; repair or remove them"
            )
        elif bad:
            self.warnings.append(f"{bad} of {listed} images cannot be read and are left out, e.g. {self.unreadable[0]['name']}")
        if len(self.classes) < 2:
            held = f"only {self.classes[0]!r}" if self.classes else "none"
            self.errors.append(f"at least two classes with images are needed, found {held}")
        self._judge_splits(made)
        if self.empty:
            self.warnings.append(f"no image in {_some(self.empty)}: left out of the classes")
        if self.one_image:
            self.warnings.append(f"only one image in {_some(self.one_image)}")
        if self.duplicates:
            example = " = ".join(self.duplicates[0]["names"][:2])
            self.warnings.append(f"{len(self.duplicates)} images lie in more than one split, e.g. {example}")
        if self.conflicts:
            example = " = ".join(self.conflicts[0]["names"][:2])
            self.warnings.append(f"{len(self.conflicts)} images lie in more than one class, e.g. {example}")
        if self.ignored:
            self.warnings.append(f"{self.ignored} files ignored: no images by their name, or outside the class folders")

    def _judge_splits(self, made: Collection[str]) -> None:
        if "all" in self.counts or not self.classes:
            return
        if "train" not in self.counts:
            self.errors.append(f"there are images for {' and '.join(self.counts)}, but none for train")
        for split in made:
            if split not in self.counts:
                self.errors.append(f"too few images to make {split}; at least three of one class are needed")
        for split, lacking in self.missing.items():
            text = f"{_some(lacking)} {'has' if len(lacking) == 1 else 'have'} no image in {split}"
            if split in made:
                self.warnings.append(f"{text}: too few images to split; add more")
            else:
                way_out = "" if split == "train" else f", or leave {split} away so that it is made from train"
                self.errors.append(f"{text}; add some{way_out}")


class DataError(UsageError):
    """A data set that cannot be trained on; `health` tells all that was found."""

    def __init__(self, where: str, health: Health) -> None:
        super().__init__(f"{where}: {'; '.join(health.errors)}")
        self.health = health


def _sizes(scan: Scan, keep: np.ndarray) -> dict[str, list[float]]:
    if not len(keep):
        return {}
    both = np.stack([scan.widths[keep], scan.heights[keep]])
    return {"min": both.min(1).tolist(), "median": np.median(both, axis=1).tolist(), "max": both.max(1).tolist()}


def _some(names: Sequence[str], most: int = 5) -> str:
    """class 'cat', or classes 'a', 'b', ... (9)."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"class{'' if len(names) == 1 else 'es'} {shown}{f', ... ({len(names)})' if len(names) > most else ''}"
