"""The header of a .danlu file: what rebuilds the net, what lies in which stream, and the plan of every tensor.

A *stream* is a run of bytes with one SHA-256. A *piece* is what one coder wrote: numbers, symbols or positions; a stream holds
one or more pieces. A tensor's plan says which pieces it is made of. Pieces of numbers and symbols may serve several tensors:
each takes the next ones. The format is described byte by byte in docs/format.md.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from .coders import MASK_CODERS, SYMBOL_CODERS
from .entropy import Damaged
from .fields import Reader, Writer
from .numbers import CODINGS, TYPES, WIDTHS

PIECES = ("numbers", "symbols", "positions")
PLANS = ("tied", "constant", "dense", "indices", "sparse_indices", "sparse_numbers")
TABLES = ("explicit", "grid", "line")
MOST_DIMENSIONS = 8
MOST_WEIGHTS = 2**31
MOST_TENSORS = 65536
MOST_SYMBOLS = 65536
MOST_BYTES = 4 * 2**30
MOST_HEADER_BYTES = 16_000_000


@dataclass(frozen=True)
class Piece:
    """What one coder wrote: `size` is the number of different symbols, `type` that of the numbers."""

    kind: str
    coder: str
    bytes: int
    count: int = 0
    size: int = 0
    type: str = "float32"


@dataclass(frozen=True)
class Table:
    """The values that indices stand for: `groups` rows of `size`. With `zero`, index 0 is 0 in every row and is not stored.

    explicit   the values follow in piece `piece`, row by row
    grid       value k = step (k + first)          both computed in double precision and rounded to float32;
    line       value k = first + step k            with `zero`, a k whose value is 0 is passed over
    """

    kind: str
    groups: int
    size: int
    zero: bool
    piece: int = 0
    first: float = 0.0
    step: float = 0.0

    @property
    def stored(self) -> int:
        """Values an explicit table takes from its piece."""
        return self.groups * (self.size - self.zero)


@dataclass(frozen=True)
class Plan:
    """How one tensor is stored. Fields that a kind does not use stay at their defaults; piece -1 is none."""

    kind: str
    name: str = ""
    shape: tuple[int, ...] = ()
    source: int = 0  # tied: the tensor it equals
    value: float = 0.0  # constant
    numbers: int = -1  # dense, sparse_numbers
    table: int = 0  # indices, sparse_indices
    axis: int = 0  # the dimension of groups and scales
    scale: int = -1
    symbols: int = -1
    positions: int = -1  # sparse
    layout: int = 0

    @property
    def count(self) -> int:
        """Weights."""
        total = 1
        for side in self.shape:
            total *= side
        return total


@dataclass(frozen=True)
class Header:
    """All that a file says before its streams."""

    about: dict[str, Any]  # recipe, classes, input, and what else JSON can hold
    streams: list[list[Piece]]
    tables: list[Table]
    tensors: list[Plan]
    pieces: list[Piece] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", [piece for stream in self.streams for piece in stream])


def write_header(header: Header) -> bytes:
    """The header's bytes, before compression."""
    out = Writer()
    out.text(json.dumps(header.about, separators=(",", ":"), ensure_ascii=False, allow_nan=False))
    for stream in header.streams:
        out.number(len(stream))
        for piece in stream:
            _write_piece(out, piece)
    out.number(len(header.tables))
    for table in header.tables:
        _write_table(out, table)
    out.number(len(header.tensors))
    out.text("\n".join(plan.name for plan in header.tensors))
    for plan in header.tensors:
        _write_plan(out, plan)
    return bytes(out.data)


def _write_piece(out: Writer, piece: Piece) -> None:
    out.number(PIECES.index(piece.kind))
    out.number({"numbers": CODINGS, "symbols": SYMBOL_CODERS, "positions": MASK_CODERS}[piece.kind].index(piece.coder))
    out.number(piece.bytes)
    if piece.kind == "numbers":
        out.number(TYPES.index(piece.type))
        out.number(piece.count)
    elif piece.kind == "symbols":
        out.number(piece.size)
        out.number(piece.count)


def _write_table(out: Writer, table: Table) -> None:
    out.number(TABLES.index(table.kind) * 2 + table.zero)
    out.number(table.size)
    if table.kind == "explicit":
        out.number(table.groups)
        out.number(table.piece)
    else:
        out.float32(table.first)
        out.float32(table.step)


def _write_plan(out: Writer, plan: Plan) -> None:
    out.number(len(plan.shape))
    for side in plan.shape:
        out.number(side)
    out.number(PLANS.index(plan.kind))
    if plan.kind == "tied":
        out.number(plan.source)
    elif plan.kind == "constant":
        out.float32(plan.value)
    if plan.kind in ("indices", "sparse_indices"):
        out.number(plan.table)
        out.number(plan.axis)
        out.number(plan.scale + 1)
        out.number(plan.symbols + 1)
    if plan.kind in ("sparse_indices", "sparse_numbers"):
        out.number(plan.layout)
        out.number(plan.positions)
    if plan.kind in ("dense", "sparse_numbers"):
        out.number(plan.numbers)


def read_header(data: bytes, streams: int) -> Header:
    """Parse and check a header of a file with this many streams.

    Raises: Damaged for whatever a file cannot mean: every number is within its limits, every reference is to something that
    exists and is of the right kind, and every piece is used up exactly.
    """
    reader = Reader(data, "the header")
    about = _about(reader.text("the description"))
    found: list[list[Piece]] = []
    for _ in range(streams):
        pieces = reader.number("the pieces of a stream", reader.left)
        found.append([_read_piece(reader) for _ in range(pieces)])
    tables = [_read_table(reader) for _ in range(reader.number("the number of tables", reader.left))]
    count = reader.number("the number of tensors", min(reader.left, MOST_TENSORS))
    text = reader.text("the names of the tensors")
    names = text.split("\n") if count else []
    if len(names) != count or len(set(names)) != count:
        raise Damaged(f"the header names {len(set(names))} different tensors and has the plans of {count}")
    header = Header(about, found, tables, [_read_plan(reader, name) for name in names])
    reader.end()
    check(header)
    return header


def _about(text: str) -> dict[str, Any]:
    try:
        about = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"the description in the header is not JSON: {error}") from error
    if not isinstance(about, dict):
        raise Damaged(f"the description in the header must be a JSON object, got {type(about).__name__}")
    return about


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _read_piece(reader: Reader) -> Piece:
    kind = reader.choice("the kind of a piece", PIECES)
    coders = {"numbers": CODINGS, "symbols": SYMBOL_CODERS, "positions": MASK_CODERS}[kind]
    coder = reader.choice("the coder of a piece", coders)
    size = reader.number("the length of a piece", MOST_BYTES)
    if kind == "positions":
        return Piece(kind, coder, size)
    if kind == "numbers":
        type = reader.choice("the type of numbers", TYPES)
        return Piece(kind, coder, size, reader.number("the count of numbers", MOST_WEIGHTS), type=type)
    alphabet = reader.number("the number of different symbols", MOST_SYMBOLS)
    if alphabet < 1:
        raise Damaged("the header has a piece of symbols that may take no value")
    return Piece(kind, coder, size, reader.number("the count of symbols", MOST_WEIGHTS), alphabet)


def _read_table(reader: Reader) -> Table:
    code = reader.number("the kind of a table", 2 * len(TABLES) - 1)
    kind, zero = TABLES[code // 2], bool(code % 2)
    size = reader.number("the size of a table", MOST_SYMBOLS)
    if size < 1 + zero:
        raise Damaged(f"the header has a table of {size} values")
    if kind == "explicit":
        groups = reader.number("the rows of a table", MOST_WEIGHTS)
        return Table(kind, groups, size, zero, reader.number("the piece of a table", reader.left + MOST_TENSORS))
    return Table(kind, 1, size, zero, first=reader.float32("a table"), step=reader.float32("a table"))


def _read_plan(reader: Reader, name: str) -> Plan:
    most = reader.left + 2**20  # a reference is checked once everything is known
    sides = reader.number(f"the dimensions of {name}", MOST_DIMENSIONS)
    shape = tuple(reader.number(f"the shape of {name}", MOST_WEIGHTS) for _ in range(sides))
    kind = reader.choice(f"the plan of {name}", PLANS)
    values: dict[str, Any] = {}
    if kind == "tied":
        values["source"] = reader.number(f"the tensor {name} is tied to", most)
    elif kind == "constant":
        values["value"] = reader.float32(f"the value of {name}")
    if kind in ("indices", "sparse_indices"):
        values["table"] = reader.number(f"the table of {name}", most)
        values["axis"] = reader.number(f"the axis of {name}", MOST_DIMENSIONS)
        values["scale"] = reader.number(f"the scale of {name}", most) - 1
        values["symbols"] = reader.number(f"the symbols of {name}", most) - 1
    if kind in ("sparse_indices", "sparse_numbers"):
        values["layout"] = reader.number(f"the layout of {name}", 2)
        values["positions"] = reader.number(f"the positions of {name}", most)
    if kind in ("dense", "sparse_numbers"):
        values["numbers"] = reader.number(f"the numbers of {name}", most)
    return Plan(kind, name, shape, **values)


def check(header: Header) -> None:
    """Raise Damaged unless every reference is to something that exists, of the right kind."""
    pieces = header.pieces
    positions: set[int] = set()

    def wants(index: int, kind: str, who: str) -> Piece:
        if not 0 <= index < len(pieces):
            raise Damaged(f"{who} names piece {index}; the file has {len(pieces)}")
        if pieces[index].kind != kind:
            raise Damaged(f"{who} wants {kind} from piece {index}, which holds {pieces[index].kind}")
        return pieces[index]

    def floats(index: int, who: str) -> None:
        if not wants(index, "numbers", who).type.endswith(("float16", "float32")):
            raise Damaged(f"{who} wants floats from piece {index}, which holds {pieces[index].type}")

    for i, table in enumerate(header.tables):
        if table.kind == "explicit":
            floats(table.piece, f"table {i}")
            if table.stored > pieces[table.piece].count:
                raise Damaged(f"table {i} has {table.stored} values; its piece holds {pieces[table.piece].count} numbers")
    total = 0
    for i, plan in enumerate(header.tensors):
        total += plan.count
        if total > MOST_WEIGHTS:
            raise Damaged(f"the header declares over {MOST_WEIGHTS} weights")
        if plan.kind == "tied":
            if plan.source >= i or header.tensors[plan.source].shape != plan.shape:
                raise Damaged(f"{plan.name} is tied to tensor {plan.source}, which is not an earlier one of its shape")
        elif plan.kind == "dense":
            wants(plan.numbers, "numbers", plan.name)
        elif plan.kind == "sparse_numbers":
            floats(plan.numbers, plan.name)
        elif plan.kind in ("indices", "sparse_indices"):
            _check_indices(plan, header)
            if plan.symbols >= 0:
                wants(plan.symbols, "symbols", plan.name)
            if plan.scale >= 0:
                floats(plan.scale, plan.name)
        if plan.positions >= 0:
            piece = wants(plan.positions, "positions", plan.name)
            if plan.positions in positions or piece.bytes > plan.count + 1024:
                raise Damaged(f"the positions of {plan.name} cannot be piece {plan.positions} of {piece.bytes} bytes")
            positions.add(plan.positions)
    _check_counts(header)
    _check_lengths(header)


def _check_indices(plan: Plan, header: Header) -> None:
    if plan.table >= len(header.tables):
        raise Damaged(f"{plan.name} names table {plan.table}; the file has {len(header.tables)}")
    table = header.tables[plan.table]
    if table.groups > 1 or plan.scale >= 0:
        if plan.axis >= len(plan.shape):
            raise Damaged(f"{plan.name} has {len(plan.shape)} dimensions, none of them number {plan.axis}")
        if table.groups not in (1, plan.shape[plan.axis]):
            raise Damaged(f"{plan.name} has {plan.shape[plan.axis]} channels and a table of {table.groups} rows")
    if table.kind == "explicit" and table.stored > plan.count:
        raise Damaged(f"{plan.name} has {plan.count} weights and a table of {table.stored} values")
    if plan.kind == "sparse_indices" and not table.zero:
        raise Damaged(f"{plan.name} is sparse, but its table has no zero")


def _check_counts(header: Header) -> None:
    """No piece holds more than its tensors and tables take: what is decoded is bounded by the net."""
    most = [0] * len(header.pieces)
    used = {plan.table for plan in header.tensors if plan.kind in ("indices", "sparse_indices")}
    for i, table in enumerate(header.tables):
        if i not in used:
            raise Damaged(f"table {i} serves no tensor")
        if table.kind == "explicit":
            most[table.piece] += table.stored
    for plan in header.tensors:
        for index in (plan.numbers, plan.symbols):
            if index >= 0:
                most[index] += plan.count
        if plan.scale >= 0:
            most[plan.scale] += plan.shape[plan.axis]
    for i, piece in enumerate(header.pieces):
        if piece.kind != "positions" and piece.count > most[i]:
            raise Damaged(f"piece {i} holds {piece.count} {piece.kind}; the tensors take at most {most[i]} from it")


def _check_lengths(header: Header) -> None:
    """A piece can be short, since equal symbols cost next to nothing; it cannot be longer than what it holds."""
    for i, piece in enumerate(header.pieces):
        if piece.kind == "numbers":
            width = WIDTHS[piece.type]
            most = piece.count * width + 16 * width
        elif piece.kind == "symbols":
            most = 4 * piece.count + 8 * piece.size + 1024
        else:
            continue
        if piece.bytes > most:
            raise Damaged(f"piece {i} has {piece.bytes} bytes, more than {piece.count} of its {piece.kind} can take")
