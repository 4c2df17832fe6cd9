"""Decides what a diagram shows: which layers stack into one box, what folds into a count, which blocks are drawn inside."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .flow import Flow, Reader, Shape, Step, inner, is_layer, is_plain_chain
from .layered import Point, place
from .words import describe

BAND, LINE, HEAD, PAD, CIRCLE = 15.0, 24.0, 24.0, 9.0, 11.0
LEAST = 74.0  # width of a stack
SLIM = ("norm", "act", "drop", "shape")  # drawn as bands
GAP, DOWN, TRUNK_DOWN = 13.0, 17.0, 25.0
LONGEST = 34  # characters of a text
DEEPEST = 8  # frames in each other


@dataclass
class Block:
    """A kind of block; it gets its letter when it is referred to."""

    letter: str = ""


@dataclass
class Part:
    """A thing with a place: a stack of layers, a circle, a frame with a drawing in it, an end of the flow.

    `kind` is stack, op, block, input or output. `bands` are (kind, title, note) from top to bottom; `count` is how many of it
    follow each other. `x` is the centre and `y` the top in the drawing it belongs to. `routes` are the edges that lead to it.
    """

    kind: str
    title: str = ""
    name: str = ""
    module: nn.Module | None = None
    bands: list[tuple[str, str, str]] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    shapes: list[Shape] = field(default_factory=list)
    out: Shape = None
    key: Any = None
    count: int = 1
    block: Block | None = None
    drawing: "Drawing | None" = None
    width: float = 0.0
    height: float = 0.0
    x: float = 0.0
    y: float = 0.0
    labels: list[str] = field(default_factory=list)
    routes: list[list[Point]] = field(default_factory=list)

    def heading(self) -> tuple[str, str]:
        """The texts of a block: what it is, and the name it has there."""
        if not self.title:
            return short(re.sub(r"\.\d+$", "", self.name) if self.count > 1 else self.name), ""
        return short(self.title), "" if self.count > 1 or self.name.isdigit() else short(self.name)

    def tooltip(self) -> str:
        """What the pointer shows."""
        layers = ", ".join(" ".join(filter(None, (text, note))) for _, text, note in self.bands)
        shape = sizes(self.out)
        return " · ".join(filter(None, (self.name, self.title, layers, f"gives {shape}" if shape else "")))

    def measure(self) -> None:
        """Set width and height."""
        if self.kind in ("input", "output"):
            self.width, self.height = (wide(self.title, small=True) + 24, 20) if self.title else (0.0, 0.0)
        elif self.kind == "op":
            self.width, self.height = max(2 * CIRCLE, wide(self.title, small=True) + 14), 2 * CIRCLE
        elif self.kind == "block":
            head, soft = self.heading()
            texts = wide(head, bold=True) + (wide(soft, small=True) + 6 if soft else 0)
            texts += (19 if self.block else 0) + (34 if self.count > 1 else 0)
            self.width, self.height = texts + 2 * PAD, HEAD
            if self.drawing is not None:
                self.width = max(self.width, self.drawing.width + 2 * PAD)
                self.height = HEAD + self.drawing.height
        else:
            self.width = max(LEAST, *(wide(text, small=kind in SLIM) + 16 for kind, text, _ in self.bands))
            self.width = max(self.width, *(wide(note, small=True) + 12 for _, _, note in self.bands))
            self.height = sum(BAND if kind in SLIM else LINE + (12 if note else 0) for kind, _, note in self.bands)


@dataclass
class Drawing:
    """Parts in their places; `traced` is False where only the order of the parts is known."""

    parts: list[Part]
    width: float
    height: float
    traced: bool


class Planner:
    """Plans the drawing of a whole net from what a reader finds in it."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.blocks: dict[Any, Block] = {}
        self.letters = 0
        self.depth = 0

    def whole(self) -> Drawing:
        """The drawing of the net."""
        flow = self.reader.read(self.reader.model)
        for step in flow.steps:
            if step.kind in ("input", "output"):
                shape = step.out if step.kind == "input" else (step.shapes[0] if step.shapes else None)
                step.title = " ".join(filter(None, ("in" if step.kind == "input" else "out", sizes(shape))))
        return self._draw(flow, trunk=True)

    def _draw(self, flow: Flow, *, trunk: bool) -> Drawing:
        parts = [_part(step) for step in flow.steps]
        entries = [part for part in parts if part.kind == "input"]
        for part in entries if len(entries) > 1 else ():
            part.title = part.title or part.name
        parts = _joined(_joined(parts, _stack), _fold)
        for part in parts:
            if part.kind == "block" and part.module is not None:
                self._open(part, part.module)
            part.measure()
        edges = [(source, i) for i, part in enumerate(parts) for source in part.inputs]
        for i, part in enumerate(parts):
            part.labels = [_label(parts, source, i, shape, trunk) for source, shape in zip(part.inputs, part.shapes, strict=True)]
        room = [
            (max(_room(part), *(2 * wide(text, small=True) + 14 for text in ("", *part.labels))), part.height) for part in parts
        ]
        layout = place(room, edges, [part.kind == "op" for part in parts], gap=GAP, down=TRUNK_DOWN if trunk else DOWN)
        for part, x, y in zip(parts, layout.x, layout.y, strict=True):
            part.x, part.y = x, y
        for (_, to), route in zip(edges, layout.routes, strict=True):
            parts[to].routes.append(_clipped(route, parts[to]))
        return Drawing(parts, layout.width, layout.height, flow.traced)

    def _open(self, part: Part, module: nn.Module) -> None:
        """Draw a block inside where it comes first; give it a letter where it comes again."""
        stage = part.key is None
        known = self.blocks.get(part.key)
        if self.depth == DEEPEST:
            return
        if known is not None and not stage:
            if not known.letter:
                known.letter = _letter(self.letters)
                self.letters += 1
            part.block = known
            return
        if not stage:
            part.block = self.blocks.setdefault(part.key, Block())
        self.depth += 1
        part.drawing = self._draw(self.reader.read(module), trunk=is_plain_chain(module))
        self.depth -= 1


def _part(step: Step) -> Part:
    if step.kind in ("input", "output", "op"):
        return Part(step.kind, step.title, step.name, None, [], step.inputs, step.shapes, step.out)
    if step.kind == "block" and step.module is not None:
        # A stage, which is a chain of blocks, is always drawn: it is the blocks in it that repeat.
        stage = is_plain_chain(step.module) and not all(is_layer(child) for _, child in inner(step.module))
        key = None if stage else signature(step.module)
        return Part("block", step.title, step.name, step.module, [], step.inputs, step.shapes, step.out, key)
    bands = [(step.kind, short(step.title), short(step.note))]
    return Part("stack", "", step.name, step.module, bands, step.inputs, step.shapes, step.out, tuple(bands))


def signature(module: nn.Module) -> Any:
    """Equal for modules that are drawn alike: the same layers with the same kernels and strides; channels do not count."""
    if is_layer(module):
        kind, title, note = describe(module)
        return kind, re.sub(r" \d+$", "", title), note
    return type(module).__qualname__, tuple((name, signature(child)) for name, child in inner(module))


def _joined(parts: list[Part], join: Callable[[Part, Part], bool]) -> list[Part]:
    """Let each part take in the one that alone follows it, as long as `join(part, next)` says that it did."""
    users = [0] * len(parts)
    for part in parts:
        for source in part.inputs:
            users[source] += 1
    kept: list[Part] = []
    at: list[int] = []  # where each of the old parts is now
    last: list[int] = []  # the old part that each of the kept ones ends with
    for i, part in enumerate(parts):
        before = at[part.inputs[0]] if len(part.inputs) == 1 else None
        if before is not None and last[before] == part.inputs[0] and users[last[before]] == 1 and join(kept[before], part):
            kept[before].out = part.out
            last[before] = i
            at.append(before)
        else:
            part.inputs = [at[source] for source in part.inputs]
            at.append(len(kept))
            last.append(i)
            kept.append(part)
    return kept


def _stack(part: Part, after: Part) -> bool:
    """Whether `after` was put under the layers of `part`: bands under a layer, or a layer under the bands before it.

    A norm or an activation on top belongs to the layer under it, and what follows that layer to the next one.
    """
    if part.kind != "stack" or after.kind != "stack":
        return False
    has_layer = any(kind not in SLIM for kind, _, _ in part.bands)
    before_it = part.bands[0][0] in ("norm", "act") and has_layer
    if before_it or (has_layer and after.bands[0][0] not in SLIM):
        return False
    part.bands = [*part.bands, *after.bands]
    part.key = tuple(part.bands)
    return True


def _fold(part: Part, after: Part) -> bool:
    """Whether `after` is one more of `part`."""
    if part.kind not in ("stack", "block") or part.kind != after.kind or part.key is None or part.key != after.key:
        return False
    part.count += 1
    return True


def _label(parts: list[Part], source: int, to: int, shape: Shape, trunk: bool) -> str:
    """What an edge says: in a trunk the map where it changed, in a block the channels that are concatenated or stretched."""
    before, after = parts[source], parts[to]
    if trunk:
        came = before.shapes[0] if before.shapes else None
        return "" if before.kind == "input" or after.kind == "output" or came == shape else sizes(shape)
    if after.kind != "op" or not shape:
        return ""
    return str(shape[0]) if after.title == "cat" or shape != after.out else ""


def _room(part: Part) -> float:
    """The width that a part needs, its count beside it included."""
    return part.width + (64 if part.kind == "stack" and part.count > 1 else 0)


def _clipped(route: list[Point], part: Part) -> list[Point]:
    """A route that comes from the side ends at the box, not at the room around it."""
    (x, y), (px, py) = route[-1], route[-2]
    if y == py and x != px:
        return [*route[:-1], (part.x + (part.width / 2 if px > part.x else -part.width / 2), y)]
    return route


def _letter(number: int) -> str:
    """A, B, ..., Z, AA, AB, ..."""
    letters = ""
    while number >= 0:
        letters = chr(ord("A") + number % 26) + letters
        number = number // 26 - 1
    return letters


def sizes(shape: Shape) -> str:
    """A shape as people write it: 64 × 56 × 56."""
    return " × ".join(map(str, shape)) if shape else ""


def short(text: str) -> str:
    """The text, cut if it is very long."""
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def wide(text: str, *, small: bool = False, bold: bool = False) -> float:
    """The width of a text in pixels, with a little to spare: the fonts differ."""
    em = sum(0.36 if c in "iljtfrI.,:;'|()[] " else 0.92 if c in "mwMW×" else 0.74 if c.isupper() else 0.62 for c in text)
    return em * (10 if small else 12) * (1.1 if bold else 1.0)
