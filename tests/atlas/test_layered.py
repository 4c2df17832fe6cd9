"""Layouts of small graphs: nothing overlaps, edges go round boxes, and the simple shapes come out as one would draw them."""

import random
from itertools import pairwise

import pytest

from danlu.atlas.layered import Layout, place, ranks

Box = tuple[float, float, float, float]


def boxes(layout: Layout, sizes: list[tuple[float, float]]) -> list[Box]:
    return [(x - w / 2, y, x + w / 2, y + h) for x, y, (w, h) in zip(layout.x, layout.y, sizes, strict=True)]


def meet(a: Box, b: Box, spare: float = 0.0) -> bool:
    return a[0] + spare < b[2] and b[0] + spare < a[2] and a[1] + spare < b[3] and b[1] + spare < a[3]


def random_graph(seed: int) -> tuple[list[tuple[float, float]], list[tuple[int, int]], list[bool]]:
    draw = random.Random(seed)
    count = draw.randint(2, 14)
    edges = {(draw.randrange(v), v) for v in range(1, count)} | {
        tuple(sorted(draw.sample(range(count), 2))) for _ in range(draw.randint(0, count))
    }
    sizes = [(draw.choice([30.0, 80.0, 140.0]), draw.choice([22.0, 40.0, 120.0])) for _ in range(count)]
    sizes[0], sizes[-1] = (14.0, 0.0), (14.0, 0.0)
    return sizes, sorted(edges), [draw.random() < 0.3 and h > 0 for _, h in sizes]


@pytest.mark.parametrize("seed", range(150))
def test_nothing_overlaps_and_edges_go_round_boxes(seed: int) -> None:
    sizes, edges, round = random_graph(seed)
    layout = place(sizes, edges, round)
    placed = boxes(layout, sizes)
    assert not any(meet(a, b) for i, a in enumerate(placed) for b in placed[:i])
    assert all(x0 >= -1e-6 and y0 >= -1e-6 and x1 <= layout.width + 1e-6 for x0, y0, x1, y1 in placed)
    assert max(y1 for *_, y1 in placed) <= layout.height + 1e-6
    for (u, v), route in zip(edges, layout.routes, strict=True):
        assert route[0] == (pytest.approx(layout.x[u]), pytest.approx(placed[u][3]))
        x, y = route[-1]
        at_top = y == pytest.approx(placed[v][1]) and x == pytest.approx(layout.x[v], abs=1)
        at_side = round[v] and x in (pytest.approx(placed[v][0]), pytest.approx(placed[v][2]))
        assert at_top or at_side
        for (ax, ay), (bx, by) in pairwise(route):
            assert ax == bx or ay == by, "edges run down or across"
            line = (min(ax, bx), min(ay, by), max(ax, bx), max(ay, by))
            assert not any(meet(line, box, spare=0.6) for i, box in enumerate(placed) if i not in (u, v))


def test_rank_is_the_longest_way() -> None:
    assert ranks(5, [(0, 1), (1, 2), (0, 2), (0, 3), (2, 4), (3, 4)]) == [0, 1, 2, 1, 3]


def test_a_chain_is_straight_and_centred() -> None:
    layout = place([(14, 0), (80, 30), (50, 20), (120, 30), (14, 0)], [(i, i + 1) for i in range(4)], [False] * 5)
    assert layout.x == pytest.approx([60] * 5)
    assert all(a[0] == b[0] for route in layout.routes for a, b in pairwise(route))


def test_a_shortcut_runs_beside_a_straight_trunk() -> None:
    # in -> a -> b -> sum, in -> sum, sum -> out
    sizes = [(14.0, 0.0), (80.0, 30.0), (80.0, 30.0), (22.0, 22.0), (14.0, 0.0)]
    layout = place(sizes, [(0, 1), (1, 2), (0, 3), (2, 3), (3, 4)], [False, False, False, True, False])
    assert layout.x == pytest.approx([layout.width / 2] * 5)
    shortcut = layout.routes[2]
    lane = max(x for x, _ in shortcut)
    assert lane > layout.x[1] + 40
    assert shortcut[-1] == (pytest.approx(layout.x[3] + 11), pytest.approx(layout.y[3] + 11)), "it enters the sum from the side"


def test_branches_stand_side_by_side_under_their_source() -> None:
    sizes = [(14.0, 0.0), *[(70.0, 40.0)] * 4, (30.0, 22.0), (14.0, 0.0)]
    edges = [*((0, i) for i in range(1, 5)), *((i, 5) for i in range(1, 5)), (5, 6)]
    layout = place(sizes, edges, [False] * 5 + [True, False])
    assert layout.x[1:5] == sorted(layout.x[1:5])
    assert len(set(layout.y[1:5])) == 1
    assert layout.x[5] == pytest.approx(sum(layout.x[1:5]) / 4)


def test_two_streams_that_swap_cross_once() -> None:
    # Without reordering the second row, both edges would cross.
    layout = place([(40.0, 20.0)] * 4, [(0, 3), (1, 2)], [False] * 4)
    assert (layout.x[0] < layout.x[1]) == (layout.x[3] < layout.x[2])
