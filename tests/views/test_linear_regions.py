"""Linear regions against arrangements of lines, and against the activation patterns of many points."""

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from danlu.errors import UsageError
from danlu.views import Subject
from danlu.views._regions import Bending, halves, pieces_of_line, pieces_of_plane
from danlu.views.linear_regions import linear_regions


def shallow(units: int, seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(2, units), nn.ReLU(), nn.Linear(units, 3)).double()


def deep(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    widths = (2, 9, 8, 7)
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(7, 3)).double()


def plane(places: Tensor) -> Tensor:
    return places.view(-1, 1, 1, 2)


def patterns(model: nn.Sequential, places: np.ndarray) -> np.ndarray:
    """Which units are on, at every place: [P, units] of all ReLUs."""
    x, found = plane(torch.from_numpy(places)), []
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.ReLU):
                found.append(x > 0)
            x = layer(x)
    return torch.cat(found, 1).numpy()


@pytest.mark.parametrize("seed", range(4))
def test_one_layer_on_a_square_is_an_arrangement_of_lines(seed: int) -> None:
    """Regions = 1 + lines that enter the square + crossings of two lines inside it, by Euler's formula."""
    model = shallow(10, seed)
    w, b = model[1].weight.detach().numpy(), model[1].bias.detach().numpy()
    corners = np.array([[x, y] for x in (-1, 2) for y in (-1, 2)])
    entering = sum(0 < (corners @ w[i] + b[i] > 0).sum() < 4 for i in range(10))
    inside = 0
    for i, j in combinations(range(10), 2):
        crossing = np.linalg.solve(w[[i, j]], -b[[i, j]])
        inside += bool((np.abs(crossing - 0.5) < 1.5).all())
    polygons = pieces_of_plane(Bending(model, plane, 1000), -1.0, 2.0)
    assert len(polygons) == 1 + entering + inside
    assert sum(map(area, polygons)) == pytest.approx(9.0)


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2


@pytest.mark.parametrize("seed", range(2))
def test_a_deep_net_has_one_pattern_in_every_polygon_and_no_other(seed: int) -> None:
    model = deep(seed)
    polygons = pieces_of_plane(Bending(model, plane, 5000), -2.0, 2.0)
    middles = {tuple(row) for row in patterns(model, np.stack([polygon.mean(0) for polygon in polygons])).tolist()}
    assert len(middles) == len(polygons) > 30
    side = (np.arange(300) + 0.5) / 75 - 2
    points = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    assert {tuple(row) for row in np.unique(patterns(model, points), axis=0).tolist()} <= middles
    assert sum(map(area, polygons)) == pytest.approx(16.0)


@pytest.mark.parametrize("seed", range(2))
def test_on_a_line_the_pattern_changes_at_every_knot_and_nowhere_else(seed: int) -> None:
    model = deep(seed)
    start, end = np.array([-3.0, 1.0]), np.array([4.0, -2.0])

    def line(places: Tensor) -> Tensor:
        return plane(torch.from_numpy(start) + places * torch.from_numpy(end - start))

    knots = pieces_of_line(Bending(model, line, 5000), -0.5, 1.5)
    dense = np.linspace(-0.5, 1.5, 40_001)
    seen = patterns(model, start + dense[:, None] * (end - start))
    changes = np.flatnonzero((seen[1:] != seen[:-1]).any(1))
    assert len(knots) - 2 == (seen[1:] != seen[:-1]).sum()  # by brute force: one unit changes at each
    inner = knots[1:-1]
    assert (knots[0], knots[-1]) == (-0.5, 1.5)
    for place in changes:
        assert ((inner >= dense[place]) & (inner <= dense[place + 1])).any()
    model_at = model(line(torch.from_numpy(knots[:, None]))).detach().numpy()
    z = model(line(torch.from_numpy(dense[:, None]))).detach().numpy()
    for k in range(3):
        assert np.allclose(np.interp(dense, knots, model_at[:, k]), z[:, k])


@pytest.mark.parametrize(
    ("bend", "wanted"), [(nn.ReLU(), 1), (nn.LeakyReLU(), 1), (nn.PReLU(), 1), (nn.ReLU6(), 2), (nn.Hardtanh(-2.0, 3.0), 2)]
)
def test_each_activation_bends_where_it_does(bend: nn.Module, wanted: int) -> None:
    model = nn.Sequential(nn.Flatten(), bend).double()
    knots = pieces_of_line(Bending(model, lambda places: 20 * places.view(-1, 1, 1, 1) - 10, 10), 0.0, 1.0)
    assert len(knots) - 2 == wanted
    places = {1: [0.5], 2: [0.5, 0.8] if isinstance(bend, nn.ReLU6) else [0.4, 0.65]}[wanted]
    assert knots[1:-1] == pytest.approx(places)


def test_a_layer_called_twice_counts_twice() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(self.act(x.flatten(1)) - 1)

    knots = pieces_of_line(Bending(Twice(), lambda places: 4 * places.view(-1, 1, 1, 1) - 2, 10), 0.0, 1.0)
    assert knots == pytest.approx([0, 0.5, 0.75, 1])


def test_a_cut_through_a_corner_makes_two_triangles() -> None:
    square = np.array([[0.0, 0, -1], [1, 0, 0], [1, 1, 1], [0, 1, 0]])
    low, high = sorted(halves(square, 2, 1e-12), key=lambda piece: piece[:, 2].sum())
    assert len(low) == len(high) == 3
    assert area(low[:, :2]) == area(high[:, :2]) == 0.5


def test_convolutions_and_blocks_count_as_well(net: Callable[..., nn.Module], subject: Callable[..., Subject]) -> None:
    looked = subject(net())
    values = linear_regions(looked, slices=2).values
    assert values["units"] == 4 * 16 * 3
    model, x = looked.model.double(), looked.x.double()
    signs: list[Tensor] = []
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_pre_hook(lambda module, taken: signs.append((taken[0] > 0).flatten(1)))
    for row in values["slices"]:
        a, b = (x[i] for i in row["images"])
        line = a + torch.linspace(0, 1, 20_001, dtype=torch.float64).view(-1, 1, 1, 1) * (b - a)
        signs.clear()
        with torch.no_grad():
            model(line)
        on = torch.cat(signs, 1)
        seen = int((on[1:] != on[:-1]).any(1).sum())
        assert 0 <= row["regions"] - 1 - seen <= 2  # two bends may fall between two neighbouring places


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([nn.Sigmoid()], "no module of ReLU"), ([nn.ReLU(), nn.Linear(4, 4), nn.Tanh()], "bends elsewhere"),
        ([nn.ReLU(), nn.Softplus()], "bends elsewhere"),
    ],
)  # fmt: skip
def test_networks_that_are_not_piecewise_linear_are_refused(layers: list[nn.Module], says: str, subject) -> None:
    torch.manual_seed(0)
    looked = subject(nn.Sequential(nn.Flatten(), nn.Linear(64, 4), *layers, nn.Linear(4, 10)))
    for dimensions in (1, 2):
        with pytest.raises(UsageError, match=says):
            linear_regions(looked, dimensions=dimensions, slices=1)
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(18, 10))
    with pytest.raises(UsageError, match="max pooling"):
        linear_regions(subject(pooled), slices=1)


def test_too_few_images_are_refused(net: Callable[..., nn.Module], subject: Callable[..., Subject]) -> None:
    with pytest.raises(UsageError, match="needs 3 images"):
        linear_regions(subject(net(), images=2), dimensions=2)
