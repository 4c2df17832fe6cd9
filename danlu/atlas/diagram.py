"""A block diagram of a network, drawn from its module tree: SVG that needs nothing else, narrow enough for a phone.

The stages stand top to bottom with the maps between them. What repeats is drawn once with a count; each kind of block is drawn
inside where it first occurs, its branches side by side, and later stands there by its letter. Norms and activations are slim
bands on the layer that they belong to. The colours are CSS variables, with a light and a dark set.
"""

from html import escape
from itertools import pairwise

from torch import nn

from .flow import Reader
from .layered import Point
from .parts import BAND, CIRCLE, HEAD, LINE, PAD, SLIM, Drawing, Part, Planner, wide

WIDTH = 344.0  # at least, of the whole drawing
MARGIN = 12.0
CORNER = 5.0
SHORTEST = 11.0  # piece of an edge that a label stands beside
LEGEND = {
    "conv": "convolution", "linear": "linear", "pool": "pooling", "norm": "norm", "act": "activation", "drop": "dropout",
    "shape": "reshape", "other": "other layer",
}  # fmt: skip
STYLE = """
.danlu-diagram{--d-ink:#1c2126;--d-soft:#5f6973;--d-line:#87929d;--d-frame:#c5ccd3;--d-paper:#fff;--d-wash:rgba(110,130,150,.07);
--d-conv:#cde0f7;--d-linear:#dcd5f3;--d-pool:#c9eadf;--d-norm:#f7e6b5;--d-act:#fad6c6;--d-drop:#e4e7eb;--d-other:#e3e8c3;
--d-shape:#eceff2;--d-block:#eef1f5;color:var(--d-ink);
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Noto Sans CJK SC",sans-serif}
@media screen and (prefers-color-scheme:dark){.danlu-diagram{--d-ink:#e6e9ec;--d-soft:#9aa5af;--d-line:#7b8691;--d-frame:#47515a;
--d-paper:#1c2024;--d-wash:rgba(174,190,204,.06);--d-conv:#254b77;--d-linear:#473d79;--d-pool:#1d5a4d;--d-norm:#604b12;
--d-act:#703726;--d-drop:#3b424a;--d-other:#4c5420;--d-shape:#30373e;--d-block:#2a3138}}
.danlu-diagram text{fill:currentColor;font-size:12px}
.danlu-diagram .small{font-size:10px}
.danlu-diagram .soft{font-size:10px;fill:var(--d-soft)}
.danlu-diagram .head{font-weight:600}
.danlu-diagram .mid{text-anchor:middle}
.danlu-diagram .end{text-anchor:end}
.danlu-diagram .edge{fill:none;stroke:var(--d-line);stroke-width:1.4}
.danlu-diagram .order{stroke-dasharray:3 3}
.danlu-diagram .tip{fill:var(--d-line)}
.danlu-diagram .frame{fill:var(--d-wash);stroke:var(--d-frame)}
.danlu-diagram .box,.danlu-diagram .behind{stroke:var(--d-frame);fill:var(--d-paper)}
.danlu-diagram .op{fill:var(--d-paper);stroke:var(--d-ink);stroke-width:1.2}
.danlu-diagram .badge{fill:var(--d-soft)}
.danlu-diagram .on{fill:var(--d-paper);font-size:10px;font-weight:700;text-anchor:middle}
"""


def diagram(model: nn.Module, input: tuple[int, ...] = (3, 224, 224)) -> str:
    """An SVG drawing of `model` at work on an image of shape `input` (C, H, W), as text.

    The model is not changed, and runs without numbers where it can. A part whose forward torch.fx cannot follow is drawn as its
    children in the order in which they ran, with dashed lines.

    Raises: UsageError when the model does not take such an input.
    """
    model = getattr(model, "_orig_mod", model)  # what torch.compile wrapped
    recipe = getattr(model, "danlu_recipe", "")
    title = recipe if isinstance(recipe, str) and recipe else type(model).__name__
    return _Page(Planner(Reader(model, tuple(input))).whole(), title).svg()


class _Page:
    """Collects the elements of the drawing, back to front within each part."""

    def __init__(self, drawing: Drawing, title: str) -> None:
        self.drawing, self.title = drawing, title
        self.lines: list[str] = []
        self.kinds: set[str] = set()
        self.letters = False
        self.labels: list[tuple[float, float, float, float]] = []  # where edges have their labels

    def svg(self) -> str:
        """The whole element."""
        width = max(WIDTH, self.drawing.width + 2 * MARGIN)
        self._level(self.drawing, (width - self.drawing.width) / 2, MARGIN)
        height = self._legend(MARGIN, MARGIN + self.drawing.height + 22, width - MARGIN)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" class="danlu-diagram" role="img" viewBox="0 0 {num(width)} {num(height)}" '
            f'width="{num(width)}" height="{num(height)}" style="max-width:100%;height:auto">'
            f"<title>{clean(self.title)}</title><desc>{clean(self._description())}</desc>"
            f"<style>{escape(STYLE, quote=False)}</style>" + "".join(self.lines) + "</svg>"
        )

    def _description(self) -> str:
        """What is seen, in a sentence: the parts of the trunk from top to bottom."""
        words = [self._spoken(part) for part in self.drawing.parts if part.kind not in ("input", "output")]
        return f"Block diagram, top to bottom: {', '.join(words)}." if words else "Block diagram of an empty network."

    def _spoken(self, part: Part) -> str:
        what = part.title or " and ".join(text for _, text, _ in part.bands) or part.name
        return f"{part.count} times {what}" if part.count > 1 else what

    def _level(self, drawing: Drawing, left: float, top: float) -> None:
        self.lines.append('<g class="level">')
        style = "edge" if drawing.traced else "edge order"
        for part in drawing.parts:
            for route, label in zip(part.routes, part.labels, strict=True):
                points = [(left + x, top + y) for x, y in route]
                self._edge(points, style, tip=part.height > 0)
                self._label(points, label, left + drawing.width)
        for part in drawing.parts:
            self._part(part, left + part.x, top + part.y)
        self.lines.append("</g>")

    def _edge(self, points: list[Point], style: str, *, tip: bool) -> None:
        points = [p for i, p in enumerate(points) if i == 0 or p != points[i - 1]]
        if len(points) < 2:
            return
        self.lines.append(f'<path class="{style}" d="{rounded(points)}"/>')
        (x, y), (before, _) = points[-1], points[-2]
        if tip:
            head = "-3.5 -6h7z" if x == before else "6 -3.5v7z" if before > x else "-6 -3.5v7z"
            self.lines.append(f'<path class="tip" d="M{num(x)} {num(y)}l{head}"/>')

    def _label(self, points: list[Point], label: str, right: float) -> None:
        """Write beside the last piece of an edge that runs down and has room there; nowhere if no piece has."""
        width = wide(label, small=True)
        downs = [(x, high, low) for (x, high), (to, low) in pairwise(points) if x == to and low - high > SHORTEST]
        for x, high, low in reversed(downs if label else []):
            y = (low + high) / 2 + 3.5 if low - high < 40 else low - 12
            left, top, end, bottom = x + 6, y - 9, x + 6 + width, y + 2
            free = not any(left < c and a < end and top < d and b < bottom for a, b, c, d in self.labels)
            if free and end < right + 2:
                self.labels.append((left, top, end, bottom))
                self._text(left, y, label, "soft")
                return

    def _part(self, part: Part, x: float, y: float) -> None:
        """Draw a part around the centre line x, from y down."""
        self.lines.append(f'<g class="part"><title>{clean(part.tooltip())}</title>')
        left = x - part.width / 2
        if part.kind in ("input", "output"):
            self._end(part, x, left, y)
        elif part.kind == "op":
            self._rect("op", left, y, part.width, part.height, CIRCLE)
            sign = len(part.title) == 1
            self._text(x, y + part.height / 2 + (4.5 if sign else 3.5), part.title, "mid" if sign else "mid small")
        elif part.kind == "block":
            self._block(part, left, y)
        else:
            self._stack(part, x, left, y)
        self.lines.append("</g>")

    def _end(self, part: Part, x: float, left: float, y: float) -> None:
        if part.title:
            self._rect("box", left, y, part.width, part.height, part.height / 2)
            self._text(x, y + part.height / 2 + 4, part.title, "mid small")

    def _behind(self, part: Part, left: float, y: float, corner: float) -> None:
        """The edges of those that a counted part stands for."""
        for shift in (6, 3) if part.count > 2 else (3,) if part.count == 2 else ():
            self._rect("behind", left + shift, y + shift, part.width, part.height, corner)

    def _stack(self, part: Part, x: float, left: float, y: float) -> None:
        self._behind(part, left, y, 4)
        self._rect("box", left, y, part.width, part.height, 4)
        at = y
        for kind, text, note in part.bands:
            self.kinds.add(kind)
            slim = kind in SLIM
            tall = BAND if slim else LINE + (12 if note else 0)
            rest = (at == y, at + tall >= y + part.height - 0.1)
            self.lines.append(f'<path d="{band(left + 0.5, at + 0.5, part.width - 1, tall - 1, *rest)}" fill="var(--d-{kind})"/>')
            self._text(x, at + (11 if slim else 16), text, "mid small" if slim else "mid")
            if note:
                self._text(x, at + 29, note, "mid soft")
            at += tall
        if part.count > 1:
            self._text(left + part.width + 10, y + part.height / 2 + 4, f"× {part.count}", "head")

    def _block(self, part: Part, left: float, y: float) -> None:
        if part.drawing is None:
            self._behind(part, left, y, 6)
            self._rect("box", left, y, part.width, part.height, 6, "block")
        else:
            self._behind(part, left, y, 8)
            if part.count > 1:
                self._rect("behind", left, y, part.width, part.height, 8)
            self._rect("frame", left, y, part.width, part.height, 8)
        at = left + PAD
        if part.block is not None and part.block.letter:
            self.letters = True
            self._rect("badge", at - 1, y + 5, 14, 14, 7)
            self._text(at + 6, y + 15.5, part.block.letter, "on")
            at += 19
        head, soft = part.heading()
        self._text(at, y + 16, head, "head")
        if soft:
            self._text(at + wide(head, bold=True) + 6, y + 16, soft, "soft")
        if part.count > 1:
            self._text(left + part.width - PAD, y + 16, f"× {part.count}", "head end")
        if part.drawing is not None:
            inside = (part.width - part.drawing.width) / 2
            self._level(part.drawing, left + inside, y + HEAD)

    def _legend(self, left: float, y: float, right: float) -> float:
        """Chips of the kinds that were drawn, in lines; returns the height of the whole."""
        chips = [(kind, text) for kind, text in LEGEND.items() if kind in self.kinds]
        if self.letters:
            chips.append(("letter", "a block, drawn inside where it comes first"))
        x = left
        for kind, text in chips:
            length = 18 + wide(text, small=True) + 12
            if x > left and x + length - 12 > right:
                x, y = left, y + 18
            if kind == "letter":
                self._rect("badge", x - 1, y - 1, 14, 14, 7)
                self._text(x + 6, y + 9.5, "A", "on")
            else:
                self._rect("box", x, y, 12, 12, 3, kind)
            self._text(x + 18, y + 9.5, text, "soft")
            x += length
        return y + 12 + MARGIN

    def _rect(self, kind: str, x: float, y: float, width: float, height: float, corner: float, fill: str = "") -> None:
        colour = f' style="fill:var(--d-{fill})"' if fill else ""
        place = f'x="{num(x)}" y="{num(y)}" width="{num(width)}" height="{num(height)}"'
        self.lines.append(f'<rect class="{kind}" {place} rx="{num(corner)}"{colour}/>')

    def _text(self, x: float, y: float, text: str, kind: str) -> None:
        self.lines.append(f'<text class="{kind}" x="{num(x)}" y="{num(y)}">{clean(text)}</text>')


def num(value: float) -> str:
    """A length to a tenth of a pixel."""
    return f"{round(value, 1):g}"


def clean(text: str) -> str:
    """Text as XML takes it: escaped, and without the characters that XML forbids."""
    allowed = (c for c in text if c in "\t\n" or " " <= c < "\ud800" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000")
    return escape("".join(allowed))


def rounded(points: list[Point]) -> str:
    """The path through these points, its corners rounded."""
    path = [f"M{num(points[0][0])} {num(points[0][1])}"]
    for (ax, ay), (x, y), (bx, by) in zip(points, points[1:], points[2:], strict=False):
        before, after = abs(x - ax) + abs(y - ay), abs(bx - x) + abs(by - y)
        corner = min(CORNER, before / 2, after / 2)
        sx, sy = x + (ax - x) * corner / before, y + (ay - y) * corner / before
        ex, ey = x + (bx - x) * corner / after, y + (by - y) * corner / after
        path.append(f"L{num(sx)} {num(sy)}Q{num(x)} {num(y)} {num(ex)} {num(ey)}")
    return "".join(path) + f"L{num(points[-1][0])} {num(points[-1][1])}"


def band(x: float, y: float, width: float, height: float, first: bool, last: bool) -> str:
    """A rectangle whose upper corners are round if it is the first, whose lower ones if it is the last."""
    up, low = 3.5 * first, 3.5 * last
    pieces = (
        ("M", x, y + up), ("q", 0, -up, up, -up), ("h", width - 2 * up), ("q", up, 0, up, up), ("v", height - up - low),
        ("q", 0, low, -low, low), ("h", 2 * low - width), ("q", -low, 0, -low, -low),
    )  # fmt: skip
    return "".join(letter + " ".join(map(num, lengths)) for letter, *lengths in pieces) + "z"
