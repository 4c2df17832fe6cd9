"""The pieces on which a network of ReLUs is linear: those that a line crosses, and those of a plane.

The units are taken layer by layer in the order in which they run. Between the bends of all units before it, what a unit gets is a
linear function of the place, so that where it bends follows from its values at the ends of a piece. Everything is computed by the
network itself in double precision: a unit within TOLERANCE of its bend, relative to its layer, is on it.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UsageError

TOLERANCE = 1e-9
STRAIGHT = 1e-6  # how far outputs in the middle of a piece may be from linear, relative to the largest
BATCH = 512

# What a module bends at.
BENDS: dict[type[nn.Module], Callable[[Any], tuple[float, ...]]] = {
    nn.ReLU: lambda module: (0.0,),
    nn.LeakyReLU: lambda module: (0.0,),
    nn.PReLU: lambda module: (0.0,),
    nn.ReLU6: lambda module: (0.0, 6.0),
    nn.Hardtanh: lambda module: (module.min_val, module.max_val),
}


class _Reached(Exception):
    """The layer that was asked for has run."""


class Bending:
    """A network on a slice of its inputs. `points` turns places [P, d] into inputs [P, C, H, W] in double precision.

    Raises: UsageError for a network without such units.
    """

    def __init__(self, model: nn.Module, points: Callable[[Tensor], Tensor], most: int) -> None:
        self.model, self.points, self.most = model, points, most
        self.bending = [module for module in model.modules() if type(module) in BENDS]
        if not self.bending:
            allowed = ", ".join(kind.__name__ for kind in BENDS)
            raise UsageError(f"linear regions are counted between the bends of units: the network has no module of {allowed}")
        self._wanted, self._calls = -1, 0
        self._seen: list[Tensor] = []

    @torch.no_grad()
    def outputs(self, places: np.ndarray) -> np.ndarray:
        """Shape: [P, d] -> [P, K]."""
        parts = torch.from_numpy(places).split(BATCH)
        found: np.ndarray = torch.cat([self.model(self.points(part)) for part in parts]).numpy()
        return found

    def before(self, call: int, places: np.ndarray) -> np.ndarray:
        """How far each unit of the layer called at this turn is from each of its bends. Shape: [P, d] -> [P, units]."""
        self._wanted, self._seen = call, []
        handles = [module.register_forward_pre_hook(self._note) for module in self.bending]
        try:
            for start in range(0, len(places), BATCH):
                self._calls = 0
                with suppress(_Reached):
                    self.outputs(places[start : start + BATCH])
        finally:
            for handle in handles:
                handle.remove()
        return torch.cat(self._seen).numpy()

    def _note(self, module: nn.Module, taken: tuple[Tensor, ...]) -> None:
        if self._calls == self._wanted:
            flat = taken[0].flatten(1)
            self._seen.append(torch.cat([flat - bend for bend in BENDS[type(module)](module)], 1))
            raise _Reached  # what comes behind this layer would be computed for nothing
        self._calls += 1

    def layers(self, place: np.ndarray) -> list[int]:
        """The units of every layer, in running order; a layer that is called twice counts twice. Shape: place [1, d]."""
        sizes: list[int] = []
        handles = [
            module.register_forward_pre_hook(lambda module, taken: sizes.append(taken[0][0].numel())) for module in self.bending
        ]
        try:
            self.outputs(place)
        finally:
            for handle in handles:
                handle.remove()
        return sizes

    def check(self, corners: np.ndarray, of_piece: Sequence[np.ndarray]) -> None:
        """Raise UsageError unless the network is linear on every piece: the middle is the mean of the corners.

        Shape: corners [P, d]; of_piece: the rows of corners that are the corners of each piece
        """
        at = self.outputs(corners)
        middles = self.outputs(np.stack([corners[rows].mean(0) for rows in of_piece]))
        means = np.stack([at[rows].mean(0) for rows in of_piece])
        if np.abs(middles - means).max() > STRAIGHT * max(np.abs(at).max(), 1e-30):
            raise UsageError(
                "linear regions are counted of networks that are linear between the bends of their ReLU modules; this one bends "
                "elsewhere too, in max pooling, another activation, or a ReLU that is no module"
            )

    def full(self, count: int) -> None:
        """Raise UsageError for more pieces than were asked for."""
        if count > self.most:
            raise UsageError(
                f"there are more than {self.most:,} linear regions on this slice; "
                "take a smaller network, a smaller `span` or a higher `most`"
            )


def pieces_of_line(bending: Bending, low: float, high: float) -> np.ndarray:
    """The places from low to high where a unit bends, with both ends: one piece lies between each two. Shape: [pieces + 1]."""
    knots = np.array([low, high])
    for call in range(len(bending.layers(knots[:1, None]))):
        values = bending.before(call, knots[:, None])
        limit = TOLERANCE * max(np.abs(values).max(), 1e-300)
        left, right = values[:-1], values[1:]
        piece, unit = np.nonzero((left * right < 0) & (np.abs(left) > limit) & (np.abs(right) > limit))
        share = left[piece, unit] / (left[piece, unit] - right[piece, unit])
        new = knots[piece] + share * (knots[piece + 1] - knots[piece])
        knots = apart(np.concatenate([knots, new]))
        bending.full(len(knots) - 1)
    bending.check(knots[:, None], [np.array([i, i + 1]) for i in range(len(knots) - 1)])
    return knots


def apart(knots: np.ndarray) -> np.ndarray:
    """Sorted, with those that are the same up to rounding once; the ends stay."""
    knots = np.sort(knots)
    kept = knots[np.concatenate([[True], np.diff(knots) > TOLERANCE * (knots[-1] - knots[0])])]
    kept[-1] = knots[-1]
    return kept


def pieces_of_plane(bending: Bending, low: float, high: float) -> list[np.ndarray]:
    """The convex polygons of the square from (low, low) to (high, high). Shape of each: [corners, 2]."""
    polygons = [np.array([[low, low], [high, low], [high, high], [low, high]])]
    for call in range(len(bending.layers(polygons[0][:1]))):
        values = bending.before(call, np.concatenate(polygons))
        limit = TOLERANCE * max(np.abs(values).max(), 1e-300)
        ends = np.cumsum([len(polygon) for polygon in polygons])[:-1]
        found: list[np.ndarray] = []
        for polygon, own in zip(polygons, np.split(values, ends), strict=True):
            crossing = (own.min(0) < -limit) & (own.max(0) > limit)
            found += split(polygon, own[:, crossing], limit)
            bending.full(len(found))
        polygons = found
    ends = np.cumsum([len(polygon) for polygon in polygons])
    rows = [np.arange(end - len(polygon), end) for polygon, end in zip(polygons, ends.tolist(), strict=True)]
    bending.check(np.concatenate(polygons), rows)
    return polygons


def split(polygon: np.ndarray, values: np.ndarray, limit: float) -> list[np.ndarray]:
    """A convex polygon cut along the zeros of linear functions, given at its corners. Shape: [n, 2], [n, units]."""
    pieces = [np.concatenate([polygon, values], 1)]  # the corners carry the values of all units along
    for unit in range(2, 2 + values.shape[1]):
        cut: list[np.ndarray] = []
        for piece in pieces:
            at = piece[:, unit]
            if at.min() < -limit and at.max() > limit:
                cut += halves(piece, unit, limit)
            else:
                cut.append(piece)
        pieces = cut
    return [piece[:, :2] for piece in pieces]


def halves(piece: np.ndarray, unit: int, limit: float) -> list[np.ndarray]:
    """Both sides of a polygon where column `unit` is 0; corners on the cut belong to both. Shape: [n, 2 + units]."""
    nothing, corners = np.abs(piece[:, unit]) <= limit, []
    for i, corner in enumerate(piece):
        after = (i + 1) % len(piece)
        corners.append(np.where(np.arange(len(corner)) == unit, 0.0, corner) if nothing[i] else corner)
        a, b = corner[unit], piece[after, unit]
        if a * b < 0 and not nothing[i] and not nothing[after]:
            new = corner + a / (a - b) * (piece[after] - corner)
            new[unit] = 0.0
            corners.append(new)
    every = np.stack(corners)
    return [every[every[:, unit] >= 0], every[every[:, unit] <= 0]]
