"""Peak activation memory by liveness: a buffer is alive from the operator that makes it to the last one that reads it.

    peak = max over operators t of  sum of bytes of the buffers with made <= t <= last read

The network's input is alive until its last use, its outputs until the end. In-place operators and views make no buffer; what
nobody reads (the indices of a max pool at inference) is never stored. Weights are not activations. An operator's input and
output are both alive while it runs, so a residual branch counts until its join.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass
class Buffer:
    """One activation. `made` and `last` are operator numbers, `last` None until something reads it.

    `writer` is the row that wrote it, -1 the network's input.
    """

    bytes: int
    made: int
    writer: int
    last: int | None = None

    @property
    def used(self) -> bool:
        """Whether anything reads it."""
        return self.last is not None


def peak(buffers: Iterable[Buffer], size: Callable[[Buffer], float] = lambda buffer: buffer.bytes) -> tuple[float, int]:
    """(bytes, operator number) of the moment when most is alive; the first such moment. (0, 0) without buffers.

    `size` gives the bytes of a buffer: what a change would make of it, in a prediction.
    """
    change: dict[int, float] = {}
    for buffer in buffers:
        if buffer.last is not None:
            change[buffer.made] = change.get(buffer.made, 0) + size(buffer)
            change[buffer.last + 1] = change.get(buffer.last + 1, 0) - size(buffer)
    best, alive, when = 0.0, 0.0, 0
    for moment in sorted(change):
        alive += change[moment]
        if alive > best:
            best, when = alive, moment
    return best, when
