"""Places the boxes of a small directed graph in layers, top to bottom, and routes its edges around them.

    rank      the longest way from a source
    order     in each rank by the mean place of the neighbours above and below, a few sweeps, fewest crossings kept
    lane      boxes and long edges that follow each other without a branch share one x
    x         each lane as close to its neighbours as the boxes beside it allow
    edges     down, across in the gap between two ranks, down; a long edge keeps a narrow lane free in every rank it passes

Source: Sugiyama et al. 1981, Methods for visual understanding of hierarchical system structures,
https://doi.org/10.1109/TSMC.1981.4308636.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

Edge = tuple[int, int]
Point = tuple[float, float]

SWEEPS = 6
ROUNDS = 40  # of moving lanes towards their neighbours
LEAST = 12.0  # between the ends of the edges and the boxes next to them
STRAIGHT = 0.5  # two boxes no further apart than this stand under each other
ASIDE = 30.0  # how far from the middle the last box may be for the drawing to be centred on it
LANE = 10.0  # width kept free for a long edge
TRACK = 8.0  # between two edges that run across in the same gap


@dataclass
class Layout:
    """Centre x and top y of each box, the way of each edge, and the size of it all, from (0, 0)."""

    x: list[float]
    y: list[float]
    routes: list[list[Point]]
    width: float
    height: float


def ranks(count: int, edges: Sequence[Edge]) -> list[int]:
    """The longest way from a source to each box; boxes are numbered in an order in which edges only go forward."""
    rank = [0] * count
    for u, v in sorted(edges):
        rank[v] = max(rank[v], rank[u] + 1)
    return rank


class _Graph:
    """The graph with a dummy for every rank that an edge passes."""

    def __init__(self, sizes: Sequence[tuple[float, float]], edges: Sequence[Edge]) -> None:
        self.real = len(sizes)
        self.rank = ranks(self.real, edges)
        if self.real > 1:  # the end of the flow comes last, below branches that end on their own
            self.rank[-1] = max(self.rank[-1], 1 + max(self.rank[:-1]))
        self.width = [w for w, _ in sizes]
        self.height = [h for _, h in sizes]
        self.paths: list[list[int]] = []  # of each edge: its boxes with the dummies between them
        self.below: dict[int, list[int]] = defaultdict(list)
        self.above: dict[int, list[int]] = defaultdict(list)
        for u, v in edges:
            path = [u, *(self._dummy(rank) for rank in range(self.rank[u] + 1, self.rank[v])), v]
            self.paths.append(path)
            for a, b in pairwise(path):
                self.below[a].append(b)
                self.above[b].append(a)
        self.rows: list[list[int]] = [[] for _ in range(max(self.rank, default=0) + 1)]
        for node in range(len(self.rank)):
            self.rows[self.rank[node]].append(node)

    def _dummy(self, rank: int) -> int:
        self.rank.append(rank)
        self.width.append(LANE)
        self.height.append(0.0)
        return len(self.rank) - 1

    def order(self) -> None:
        """Sort each row to have few crossings; a tie keeps boxes left of long edges."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(SWEEPS):
            down = sweep % 2 == 0
            for r in range(1, len(self.rows)) if down else range(len(self.rows) - 2, -1, -1):
                near = self.above if down else self.below
                place = {node: i for i, node in enumerate(self.rows[r - 1 if down else r + 1])}
                now = {node: i for i, node in enumerate(self.rows[r])}

                def key(node: int, near: dict[int, list[int]] = near, place: dict[int, int] = place,
                        now: dict[int, int] = now, first: bool = sweep == 0) -> tuple[float, bool, int]:  # fmt: skip
                    places = [place[n] for n in near[node]]
                    mean = sum(places) / len(places) if places else float(now[node])
                    return mean, first and node >= self.real, now[node]

                self.rows[r].sort(key=key)
            crossings = self._crossings()
            if crossings < fewest or sweep == 0:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _crossings(self) -> int:
        total = 0
        for upper, lower in pairwise(self.rows):
            place = {node: i for i, node in enumerate(lower)}
            ends = [place[n] for node in upper for n in sorted(self.below[node], key=lambda n: place[n])]
            total += sum(a > b for i, a in enumerate(ends) for b in ends[i + 1 :])
        return total

    def lanes(self) -> list[list[int]]:
        """Boxes and dummies that follow each other without a branch; every one alone where lanes would have to cross."""
        lane = list(range(len(self.rank)))
        for node in sorted(lane, key=lambda n: self.rank[n]):
            if len(self.above[node]) == 1 and len(self.below[self.above[node][0]]) == 1:
                lane[node] = lane[self.above[node][0]]
        groups: dict[int, list[int]] = defaultdict(list)
        for node, head in enumerate(lane):
            groups[head].append(node)
        found = list(groups.values())
        return found if _sorted_lanes(self.rows, found) is not None else [[node] for node in range(len(lane))]


def _sorted_lanes(rows: list[list[int]], lanes: list[list[int]]) -> list[int] | None:
    """The lanes from left to right, as far as the rows say; None when they say it both ways."""
    of = {node: i for i, lane in enumerate(lanes) for node in lane}
    right: dict[int, set[int]] = defaultdict(set)
    waiting = dict.fromkeys(range(len(lanes)), 0)
    for row in rows:
        for a, b in pairwise(row):
            if of[b] not in right[of[a]]:
                right[of[a]].add(of[b])
                waiting[of[b]] += 1
    ready, done = [i for i, n in waiting.items() if n == 0], []
    while ready:
        lane = ready.pop()
        done.append(lane)
        for other in right[lane]:
            waiting[other] -= 1
            if waiting[other] == 0:
                ready.append(other)
    return done if len(done) == len(lanes) else None


def _columns(graph: _Graph, gap: float) -> list[float]:
    """The centre x of every box and dummy."""
    lanes = graph.lanes()
    order = _sorted_lanes(graph.rows, lanes) or []
    of = {node: i for i, lane in enumerate(lanes) for node in lane}
    left: dict[int, dict[int, float]] = defaultdict(dict)
    right: dict[int, dict[int, float]] = defaultdict(dict)
    for row in graph.rows:
        for a, b in pairwise(row):
            apart = (graph.width[a] + graph.width[b]) / 2 + gap
            left[of[b]][of[a]] = max(apart, left[of[b]].get(of[a], 0))
            right[of[a]][of[b]] = left[of[b]][of[a]]
    x = [0.0] * len(lanes)
    for lane in order:
        own = max(graph.width[node] for node in lanes[lane]) / 2
        x[lane] = max([own, *(x[other] + apart for other, apart in left[lane].items())])
    real = [any(node < graph.real for node in lane) for lane in lanes]
    for turn in range(ROUNDS):
        for lane in order if turn % 2 else reversed(order):
            near = [of[n] for node in lanes[lane] for n in (*graph.above[node], *graph.below[node]) if of[n] != lane]
            near = [n for n in near if real[n]] or near
            if near:
                wanted = sum(x[n] for n in near) / len(near)
                low = max((x[other] + apart for other, apart in left[lane].items()), default=-inf)
                high = min((x[other] - apart for other, apart in right[lane].items()), default=inf)
                x[lane] = max(low, min(high, wanted))
    return [x[of[node]] for node in range(len(graph.rank))]


def place(
    sizes: Sequence[tuple[float, float]], edges: Sequence[Edge], round: Sequence[bool], *, gap: float = 14, down: float = 20
) -> Layout:
    """Lay out boxes of these (width, height), `gap` apart at least, ranks `down` apart.

    Boxes are numbered so that edges (from, to) only go forward. Edges may enter a `round` box from its sides. A box of height 0
    is an end of the whole, and stands in the middle.
    """
    graph = _Graph(sizes, edges)
    graph.order()
    x = _columns(graph, gap)
    width = _centred(graph, x)
    tops, tracks, height = _rows(graph, x, round, down)
    y = [tops[graph.rank[n]] + (_tallest(graph, graph.rank[n]) - graph.height[n]) / 2 for n in range(len(x))]
    routes = [_route(graph, path, x, y, tops, tracks, round) for path in graph.paths]
    return Layout(x[: graph.real], y[: graph.real], routes, width, height)


def _centred(graph: _Graph, x: list[float]) -> float:
    """Move all to start at 0, the ends of the flow to the middle, and return the width.

    What goes on outside meets the ends there. Where the last box stands a little aside, room is left on its other side.
    """
    left = min((x[n] - graph.width[n] / 2 for n in range(len(x))), default=0.0)
    right = max((x[n] + graph.width[n] / 2 for n in range(len(x))), default=0.0)
    ends = [n for n in range(graph.real) if graph.height[n] == 0 and len(graph.rows[graph.rank[n]]) == 1]
    aside = 0.0
    if ends and graph.above[ends[-1]]:
        aside = x[graph.above[ends[-1]][0]] - (left + right) / 2
    aside = aside if abs(aside) <= ASIDE else 0.0
    shift = max(0.0, -2 * aside) - left
    x[:] = [value + shift for value in x]
    width = right - left + 2 * abs(aside)
    for node in ends:
        x[node] = width / 2
    return width


def _tallest(graph: _Graph, rank: int) -> float:
    return max((graph.height[n] for n in graph.rows[rank]), default=0.0)


def _rows(
    graph: _Graph, x: list[float], round: Sequence[bool], down: float
) -> tuple[list[float], dict[int, tuple[int, int]], float]:
    """The top of each rank; for each box whose edges run across below it, (its track, how many there are); the height."""
    tops, tracks, y = [], {}, 0.0
    for r, row in enumerate(graph.rows):
        tops.append(y)
        y += _tallest(graph, r)
        across = [
            a for a in row if any(abs(x[a] - x[b]) > STRAIGHT and not _enters_side(graph, a, b, x, round) for b in graph.below[a])
        ]
        for i, a in enumerate(across):
            tracks[a] = i, len(across)
        if r < len(graph.rows) - 1:
            at_an_end = _tallest(graph, r) == 0 or _tallest(graph, r + 1) == 0
            y += (max(LEAST, down * 0.55) if at_an_end else down) + TRACK * max(0, len(across) - 1)
    return tops, tracks, y


def _enters_side(graph: _Graph, a: int, b: int, x: list[float], round: Sequence[bool]) -> bool:
    """Whether the edge from a may come down beside the round box b and enter it from the side."""
    if b >= graph.real or not round[b] or abs(x[a] - x[b]) < graph.width[b] / 2 + 8:
        return False
    low, high = sorted((x[a], x[b]))
    return all(
        n == b or x[n] + graph.width[n] / 2 < low - 4 or x[n] - graph.width[n] / 2 > high + 4 for n in graph.rows[graph.rank[b]]
    )


def _route(
    graph: _Graph,
    path: list[int],
    x: list[float],
    y: list[float],
    tops: list[float],
    tracks: dict[int, tuple[int, int]],
    round: Sequence[bool],
) -> list[Point]:
    points: list[Point] = [(x[path[0]], y[path[0]] + graph.height[path[0]])]
    for a, b in pairwise(path):
        at = points[-1][0]
        if abs(x[a] - x[b]) <= STRAIGHT:
            points.append((at, y[b]))
        elif _enters_side(graph, a, b, x, round):
            middle = y[b] + graph.height[b] / 2
            points += [(at, middle), (x[b] + (graph.width[b] / 2 if at > x[b] else -graph.width[b] / 2), middle)]
        else:
            bottom = tops[graph.rank[a]] + _tallest(graph, graph.rank[a])
            track, count = tracks[a]
            level = bottom + (tops[graph.rank[b]] - bottom) * (track + 1) / (count + 1.6)
            points += [(at, level), (x[b], level), (x[b], y[b])]
    return points
