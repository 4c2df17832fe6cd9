"""What lies in a data set: names, classes and splits; and how class folders are recognised from a list of paths."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from ..errors import UsageError, unknown

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": 0, "val": 1, "valid": 1, "validation": 1, "test": 2}
IMAGE_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in (
        *("jpg", "jpeg", "jpe", "jfif", "mpo", "png", "apng", "gif", "webp", "avif", "bmp", "dib", "tif", "tiff", "qoi"),
        *("ppm", "pgm", "pbm", "pnm", "pfm", "tga", "ico", "jp2", "j2k"),
    )
)
LAYOUTS = """layouts that are understood:
  CLASS/*.jpg                                a folder for each class (png, bmp, webp, tiff, gif, ... too)
  train|val|test/CLASS/*.jpg                 the same, split; val (or valid, validation) and test may be missing
  .zip .tar .tar.gz .tar.bz2 .tar.xz         an archive of either
  .csv                                       rows of path,label or path,label,split; paths are relative to the file
  *-images-idx3-ubyte(.gz), *-labels-idx1-ubyte(.gz)    a folder of MNIST-style files (train and t10k)
  .npz                                       x_train, y_train (x_val, y_val, x_test, y_test), or images, labels; classes
  digits                                     the built-in handwritten digits"""


@dataclass(frozen=True)
class Listing:
    """The images of a data set, sorted by name.

    `labels` [N] index `classes`; `splits` [N] index SPLITS, -1 where the data set is not split. `empty` are classes that
    have a folder but no image; `ignored` counts files that are no images by their name.
    """

    names: list[str]
    labels: np.ndarray
    splits: np.ndarray
    classes: tuple[str, ...]
    empty: tuple[str, ...] = ()
    ignored: int = 0

    @classmethod
    def of(
        cls,
        rows: Iterable[tuple[str, str, int]],
        empty: Iterable[str] = (),
        ignored: int = 0,
        classes: Sequence[str] | None = None,
    ) -> "Listing":
        """From rows of (name, class, split); without `classes` these are the ones that occur, in `class_order`."""
        table = sorted(rows)
        found = {label for _, label, _ in table}
        order = tuple(name for name in classes if name in found) if classes is not None else class_order(found)
        index = {name: i for i, name in enumerate(order)}
        missing = tuple(name for name in classes if name not in found) if classes is not None else class_order(set(empty) - found)
        return cls(
            [name for name, _, _ in table],
            np.array([index[label] for _, label, _ in table], dtype=np.int64),
            np.array([split for _, _, split in table], dtype=np.int8),
            order,
            missing,
            ignored,
        )


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Sorted; by value when all are whole numbers, so that 2 comes before 10."""
    names = set(names)
    if all(re.fullmatch(r"[0-9]{1,18}", name) for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


def split_index(text: str, where: str) -> int:
    """'validation' -> 1. Raises UsageError for anything that is not a split's name."""
    key = text.strip().casefold()
    if key not in SPLIT_NAMES:
        raise UsageError(f"{where}: {unknown('split', text, SPLIT_NAMES)}")
    return SPLIT_NAMES[key]


def is_hidden(path: str) -> bool:
    """Whether a path is one that systems leave behind: hidden files, macOS resource forks, thumbnails."""
    return any(part.startswith((".", "__MACOSX")) for part in path.split("/")) or path.endswith(("Thumbs.db", "desktop.ini"))


def class_folders(where: str, files: Sequence[str], folders: Iterable[str]) -> tuple[Listing, str]:
    """Read classes and splits off the paths of `files` (relative, with /); `folders` lets empty classes be seen.

    Folders that merely wrap everything are stripped: the second value is that prefix ('' or 'photos/'), the names in the
    listing come without it. The class of an image is the first folder (below the split's); deeper folders are allowed.
    Raises UsageError when there are no images or the layout is not understood; it shows the tree found.
    """
    visible = [file for file in files if not is_hidden(file)]
    images = [file for file in visible if PurePosixPath(file).suffix.casefold() in IMAGE_SUFFIXES]
    if not images:
        raise UsageError(f"{where}: no images found\n{tree(visible)}\n{LAYOUTS}")
    prefix = _wrapping(images)
    inner = [file[len(prefix) :] for file in images]
    parts = [file.split("/") for file in inner]
    stray = sum(len(p) == 1 for p in parts)
    if stray == len(parts):
        raise UsageError(f"{where}: the images lie in no class folder\n{tree(visible)}\n{LAYOUTS}")
    tops = {p[0] for p in parts if len(p) > 1}
    split_tops = {top for top in tops if top.casefold() in SPLIT_NAMES}
    deep = all(len(p) > 2 for p in parts if p[0] in split_tops)
    dirs = [folder[len(prefix) :].split("/") for folder in folders if folder.startswith(prefix) and not is_hidden(folder)]
    ignored = len(visible) - len(images) + stray
    if split_tops and (deep or split_tops == tops):
        _check_split_folders(where, visible, tops, split_tops, deep)
        rows = [(name, p[1], SPLIT_NAMES[p[0].casefold()]) for name, p in zip(inner, parts, strict=True) if len(p) > 1]
        empty = {d[1] for d in dirs if len(d) == 2 and d[0] in split_tops}
        return Listing.of(rows, empty, ignored), prefix
    if any(len(p) > 2 and p[1].casefold() in SPLIT_NAMES for p in parts):
        raise UsageError(
            f"{where}: splits lie inside class folders; put CLASS inside train, val, test\n{tree(visible)}\n{LAYOUTS}"
        )
    rows = [(name, p[0], -1) for name, p in zip(inner, parts, strict=True) if len(p) > 1]
    return Listing.of(rows, {d[0] for d in dirs if d[0]}, ignored), prefix


def _wrapping(images: Sequence[str]) -> str:
    """The folders that all images share, as long as a class folder is left below them."""
    prefix = ""
    while True:
        parts = [file[len(prefix) :].split("/") for file in images]
        if len({p[0] for p in parts}) > 1 or min(len(p) for p in parts) < 3:
            return prefix
        prefix += parts[0][0] + "/"


def _check_split_folders(where: str, files: Sequence[str], tops: set[str], split_tops: set[str], deep: bool) -> None:
    """Raise UsageError unless the top folders are train and at most one each of val and test, with class folders inside."""
    used = Counter(SPLITS[SPLIT_NAMES[top.casefold()]] for top in split_tops)
    problem = ""
    if not deep:
        problem = f"images lie directly in {', '.join(sorted(split_tops))}, in no class folder"
    elif split_tops != tops:
        problem = f"beside {', '.join(sorted(split_tops))} there are images in {', '.join(sorted(tops - split_tops)[:5])}"
    elif "train" not in used:
        problem = f"{', '.join(sorted(split_tops))} found, but no train"
    elif max(used.values()) > 1:
        problem = f"two folders for one split: {', '.join(sorted(split_tops))}"
    if problem:
        raise UsageError(f"{where}: {problem}\n{tree(files)}\n{LAYOUTS}")


def tree(files: Sequence[str], most: int = 20) -> str:
    """The folders found with how many files of which kind each holds, at most `most` lines."""
    kinds: dict[str, Counter[str]] = {}
    for file in files:
        path = PurePosixPath(file)
        folder = "/".join(path.parts[:-1][:3])
        kinds.setdefault(folder, Counter())[path.suffix.casefold() or "no suffix"] += 1
    if not kinds:
        return "found: nothing"
    lines = []
    for folder in sorted(kinds)[:most]:
        held = ", ".join(f"{n} {kind}" for kind, n in kinds[folder].most_common(3))
        lines.append(f"  {folder + '/' if folder else './'}  {held}{', ...' if len(kinds[folder]) > 3 else ''}")
    if len(kinds) > most:
        lines.append(f"  ... and {len(kinds) - most} more folders")
    return "found:\n" + "\n".join(lines)
