"""The history as a drawing: a lane for each group, a row for each year, a line from each idea to those that grew from it."""

from collections import defaultdict
from html import escape

from .lineage import GROUPS, LINEAGE

LANE, BOX_W, BOX_H, GAP, ROW_GAP, LEFT, TOP = 176, 156, 30, 10, 34, 58, 46


def positions() -> dict[str, tuple[int, int]]:
    """Left and top of each family's box. Families of one year in one lane stand below each other."""
    lanes = {group: i for i, group in enumerate(GROUPS)}
    cells: dict[tuple[int, str], list[str]] = defaultdict(list)
    for idea in LINEAGE.values():
        cells[idea.year, idea.group].append(idea.family)
    placed: dict[str, tuple[int, int]] = {}
    y = TOP
    for year in sorted({idea.year for idea in LINEAGE.values()}):
        tallest = max(len(families) for (when, _), families in cells.items() if when == year)
        for (when, group), families in cells.items():
            if when == year:
                for i, family in enumerate(_parents_first(families)):
                    placed[family] = (LEFT + lanes[group] * LANE, y + i * (BOX_H + GAP))
        y += tallest * (BOX_H + GAP) - GAP + ROW_GAP
    return placed


def _parents_first(families: list[str]) -> list[str]:
    """Families of one cell, each behind those of the cell that it grew from."""
    left, done = list(families), []
    while left:
        ready = [f for f in left if not any(parent in left for parent, _ in LINEAGE[f].grew)]
        done += ready
        left = [family for family in left if family not in ready]
    return done


def draw(links: dict[str, str]) -> str:
    """The drawing as SVG. `links` maps a family to the address that its box leads to."""
    placed = positions()
    width = LEFT + len(GROUPS) * LANE
    height = max(y for _, y in placed.values()) + BOX_H + 12
    parts = [
        f'<svg class="lineage" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="group" '
        f'aria-label="Which idea came from which, by year"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>'
    ]
    for i, (group, title) in enumerate(GROUPS.items()):
        middle = LEFT + i * LANE + BOX_W / 2
        parts.append(f'<text class="lane g-{group}" x="{middle:g}" y="20" text-anchor="middle">{escape(title)}</text>')
    seen: dict[int, int] = {}
    for family, (_, y) in placed.items():
        year = LINEAGE[family].year
        seen[year] = min(y, seen.get(year, y))
    for year, y in seen.items():
        parts.append(f'<line class="year" x1="0" x2="{width}" y1="{y - ROW_GAP // 2}" y2="{y - ROW_GAP // 2}"/>')
        parts.append(f'<text class="year" x="6" y="{y + 20}">{year}</text>')
    for family, (x, y) in placed.items():
        for parent, new in LINEAGE[family].grew:
            parts.append(_edge(placed[parent], (x, y), parent, family, new, LINEAGE[family].group))
    for family, (x, y) in placed.items():
        box = (
            f'<g class="idea g-{LINEAGE[family].group}" data-family="{family}">'
            f'<rect x="{x}" y="{y}" width="{BOX_W}" height="{BOX_H}" rx="6"/>'
            f'<text x="{x + BOX_W / 2:g}" y="{y + 19.5:g}" text-anchor="middle">{escape(_short(family))}</text></g>'
        )
        parts.append(f'<a href="{escape(links[family])}">{box}</a>' if family in links else box)
    return "".join(parts) + "</svg>"


def _short(family: str) -> str:
    return family.replace("_", " ")


def _edge(a: tuple[int, int], b: tuple[int, int], parent: str, child: str, new: str, group: str) -> str:
    """A curve from the box `a` to the box `b`, around the boxes between where both stand in one lane."""
    (ax, ay), (bx, by) = a, b
    start: tuple[float, float]
    end: tuple[float, float]
    if ax == bx and by - ay > BOX_H + GAP:  # along the left side of the lane
        start, end = (ax, ay + BOX_H * 0.7), (bx, by + BOX_H / 2)
        bend = ax - 13
        path = f"M{start[0]} {start[1]:g}C{bend} {start[1] + 8:g} {bend} {end[1] - 14:g} {end[0] - 1} {end[1]:g}"
    elif ay == by or by - ay < BOX_H:  # the same row
        right = bx > ax
        start, end = (ax + BOX_W if right else ax, ay + BOX_H / 2), (bx if right else bx + BOX_W, by + BOX_H / 2)
        middle = (start[0] + end[0]) / 2
        path = f"M{start[0]} {start[1]:g}C{middle:g} {start[1]:g} {middle:g} {end[1]:g} {end[0]} {end[1]:g}"
    else:
        start, end = (ax + BOX_W / 2, ay + BOX_H), (bx + BOX_W / 2, by)
        half = max(18.0, (end[1] - start[1]) * 0.45)
        path = f"M{start[0]:g} {start[1]}C{start[0]:g} {start[1] + half:g} {end[0]:g} {end[1] - half:g} {end[0]:g} {end[1] - 1}"
    words = f"{_short(parent)} → {_short(child)}: {new}"
    return (
        f'<path class="edge g-{group}" data-from="{parent}" data-to="{child}" d="{path}" marker-end="url(#tip)">'
        f"<title>{escape(words)}</title></path>"
    )
