"""Predictions and truths from files, brought to what each kind of metric takes.

    .npy              one array
    .npz              one array; FILE.npz:NAME picks one of several
    .csv .tsv         a table (see `tables`); FILE.csv:NAME picks a column by its header
    images, folders   label maps (see `pictures`)

In tables targets of yes or no may be the words true and false, and classes may be words: answers and targets as they are, targets
of scores [N, K] by the header of the scores. A table of detections has the columns image, class, score, x1, y1, x2, y2, one of
truths the same without score: in this order, or in any order under a header; images and classes may be words.

Nothing is unpickled, and sizes are checked before memory is taken.
Source: the array files are those of https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..data.layout import class_order
from ..data.memory import physical_memory
from ..data.sources.npz import declared
from ..errors import UsageError, unknown
from ..units import show_bytes
from .pictures import is_picture, label_maps
from .tables import Column, Table, read_table

TABLES = (".csv", ".tsv")
SUFFIXES = (".npy", ".npz", *TABLES)
BOXES = {"detections": ("image", "class", "score", "x1", "y1", "x2", "y2"), "truths": ("image", "class", "x1", "y1", "x2", "y2")}
NAMES = ("image", "class")  # columns of boxes that may be words
TRUTH = {"true": True, "false": False}
EXPANSION = 4  # "1," is two bytes of a table, and eight of memory
EXACT = 2**53  # floats hold all whole numbers up to here

Held = np.ndarray | Table


def read_arrays(kind: str, inputs: Sequence[str]) -> list[np.ndarray]:
    """What metrics of a kind take, from files: predictions, and the truth where there is a second.

    Raises: UsageError for a file that is missing, damaged, too large or of another kind, and for cells that are no numbers.
    """
    if kind == "segment" and all(map(is_picture, inputs)):
        return label_maps(inputs)
    return READERS.get(kind, numbers)([load(text) for text in inputs])


# By kind.


def numbers(held: Sequence[Held]) -> list[np.ndarray]:
    """Numbers as they are."""
    return [one.numbers() if isinstance(one, Table) else one for one in held]


def classes(held: Sequence[Held]) -> list[np.ndarray]:
    """Scores or answers, and targets; words become numbers."""
    words = [one.words() if isinstance(one, Table) else None for one in held]
    scores, wanted = held[0], words[-1]
    if len(held) == 2 and wanted is not None and isinstance(scores, Table) and len(scores.columns) > 1:
        return [scores.numbers(), numbered(wanted, scores)]
    if all(column is not None for column in words):
        return coded([column for column in words if column is not None])
    found = numbers(held)
    return [whole(one) if isinstance(of, Table) and one.ndim == 1 else one for one, of in zip(found, held, strict=True)]


def numbered(targets: Sequence[str], scores: Table) -> np.ndarray:
    """The number of the column that each target names. Shape: int64 [N]."""
    if not scores.names:
        raise UsageError(f"the targets are words, so {scores.where} needs a header line that names the class of each column")
    number = {name: i for i, name in enumerate(scores.names)}
    strange = next((name for name in targets if name not in number), None)
    if strange is not None:
        raise unknown(f"class among the targets for {scores.where}", strange, number)
    return np.array([number[name] for name in targets], np.int64)


def pairs(held: Sequence[Held]) -> list[np.ndarray]:
    """Scores, and whether it is so; the words true and false count as 1 and 0."""
    words = held[-1].words() if isinstance(held[-1], Table) else None
    if len(held) < 2 or words is None:
        return numbers(held)
    strange = next((word for word in words if word.casefold() not in TRUTH), None)
    if strange is not None:
        raise UsageError(f"targets are 1 or 0, or the words true and false, got {strange!r}")
    return [*numbers(held[:1]), np.array([TRUTH[word.casefold()] for word in words])]


def samples(held: Sequence[Held]) -> list[np.ndarray]:
    """Features or probabilities: a row for each image, also where a row is one number."""
    return [
        one if one.ndim > 1 or not isinstance(of, Table) else one[:, None] for one, of in zip(numbers(held), held, strict=True)
    ]


def pixels(held: Sequence[Held]) -> list[np.ndarray]:
    """Classes of pixels."""
    return [whole(one.numbers()) if isinstance(one, Table) else one for one in held]


def boxes(held: Sequence[Held]) -> list[np.ndarray]:
    """Rows of detections and of truths; images and classes that are words become numbers."""
    tables = [one for one in held if isinstance(one, Table)]
    sides = [columns_of(table, what) for table, what in zip(tables, BOXES, strict=False)] if len(tables) == len(held) else []
    if not sides:
        return [rows_of(one, what) for one, what in zip(held, BOXES, strict=False)]
    filled = [side for side in sides if len(side[0])]  # a detector may find nothing
    for i, what in enumerate(NAMES):
        words = [column for side in filled if isinstance(column := side[i], list)]
        if 0 < len(words) < len(filled):
            raise UsageError(
                f"the column {what} holds words in one of {' and '.join(t.where for t in tables)}, numbers in the other"
            )
        for side, column in zip(filled, coded(words), strict=False):
            side[i] = column
    return [np.column_stack(side) for side in sides]


def rows_of(one: Held, what: str) -> np.ndarray:
    """Boxes of an array, or of a table of numbers beside an array."""
    if not isinstance(one, Table):
        return one
    columns = columns_of(one, what)
    if any(isinstance(column, list) for column in columns):
        raise UsageError(
            f"{one.where} calls images or classes by words, which the array beside it does not know; give two tables"
        )
    return np.column_stack(columns)


def columns_of(table: Table, what: str) -> list[Column]:
    """The columns of boxes in their order."""
    wanted = BOXES[what]
    missing = [name for name in wanted if name not in table.names]
    if table.names and missing:
        raise UsageError(f"{table.where}: no column {', '.join(missing)}; {what} have {', '.join(wanted)}")
    if not table.names and len(table.columns) != len(wanted):
        raise UsageError(f"{table.where}: {what} have the columns {', '.join(wanted)}; got {len(table.columns)} columns")
    order = [table.names.index(name) for name in wanted] if table.names else range(len(wanted))
    return [table.columns[i] if name in NAMES else table.number(i) for name, i in zip(wanted, order, strict=True)]


READERS: dict[str, Callable[[Sequence[Held]], list[np.ndarray]]] = {
    "classify": classes, "verify": pairs, "segment": pixels, "detect": boxes, "generate": samples,
}  # fmt: skip


def coded(columns: Sequence[Sequence[str]]) -> list[np.ndarray]:
    """Words as numbers, the same in each column. Shape: int64 [N] each."""
    number = {name: i for i, name in enumerate(class_order({name for column in columns for name in column}))}
    return [np.array([number[name] for name in column], np.int64) for column in columns]


def whole(values: np.ndarray) -> np.ndarray:
    """Numbers of a table as int64 where all are whole; others stay, for the metric to refuse."""
    is_whole = bool(((np.abs(values) < EXACT) & (values == np.floor(values))).all())
    return values.astype(np.int64) if is_whole else values


# Files.


def load(text: str) -> Held:
    """An array or a table from FILE or FILE:NAME. Raises: UsageError for what is missing, damaged, too large or unknown."""
    path, name = Path(text), ""
    if not path.exists() and Path(text.rpartition(":")[0]).suffix.casefold() in SUFFIXES:
        path, name = Path(text.rpartition(":")[0]), text.rpartition(":")[2]
    if not path.is_file():
        raise UsageError(f"{path}: {'a folder, where a file is wanted' if path.is_dir() else 'no such file'}")
    suffix = path.suffix.casefold()
    if suffix not in SUFFIXES:
        raise UsageError(f"{path}: arrays and tables are read from {', '.join(SUFFIXES)} files, got {suffix or 'no suffix'}")
    if name and suffix == ".npy":
        raise UsageError(f"{path} holds one array, without names; got {text}")
    try:
        if suffix == ".npy":
            return read_npy(path)
        if suffix == ".npz":
            return read_npz(path, name)
        check_memory(str(path), EXPANSION * path.stat().st_size)
        table = read_table(path)
        return table.pick(name) if name else table
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # readers raise anything over a broken file
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise UsageError(f"{path}: damaged, or not a plain {suffix} file ({reason})") from error


def read_npy(path: Path) -> np.ndarray:
    """An array, when its length is that of its header and memory holds it."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        reads = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = reads(file)
        held = path.stat().st_size - file.tell()
    if dtype.hasobject:
        raise UsageError(f"{path} holds pickled objects, which are never loaded; save plain numbers")
    size = int(np.prod([int(n) for n in shape], dtype=object)) * dtype.itemsize
    if held != size:
        raise UsageError(f"{path} declares {size:,} bytes, holds {held:,}")
    check_memory(str(path), size)
    found: np.ndarray = np.load(path, allow_pickle=False)
    return found


def read_npz(path: Path, name: str) -> np.ndarray:
    """The array of this name; without one the only array."""
    sizes = {key: size for key, (_, size) in declared(path).items()}
    if not name and len(sizes) != 1:
        raise UsageError(f"{path} holds the arrays {', '.join(sorted(sizes)) or '(none)'}; pick one as {path}:NAME")
    name = name or next(iter(sizes))
    if name not in sizes:
        raise unknown(f"array of {path}", name, sizes)
    check_memory(f"{path}:{name}", sizes[name])
    with np.load(path, allow_pickle=False) as arrays:
        found: np.ndarray = arrays[name]
    return found


def check_memory(where: str, size: int) -> None:
    """Raise UsageError when `size` bytes would take over half of the machine's memory."""
    if size > physical_memory() // 2:
        raise UsageError(f"{where}: {show_bytes(size)} are over half of this machine's memory; score it in parts")
