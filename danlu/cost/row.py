"""One line of a profile: a layer call, or the work a container does itself between its children."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """What one layer costs, for the whole batch.

    `name` is the module's; a module called again gets another row with the next `call`, its parameters counted only once.
    A container has a row only where its own forward computes (a residual add, F.relu, torch.cat); `operators` names it.
    `input` and `output` are shapes [B, C, ...]. `macs` are multiply-accumulates of convolutions and matrix products.
    `bytes_read` (weights and activations) and `bytes_written` are what the operators move if nothing stays in a cache.
    `activation_bytes` are the buffers it makes and somebody reads. `receptive` and `jump` are (H, W) in input pixels; `jump`
    is None once the map has been pooled away, and `scales` says whether the output's map grows with the input.
    `sources` are the indices of the rows it reads from, -1 for the network's input. Times are in milliseconds.
    """

    name: str
    kind: str
    call: int = 0
    leaf: bool = True
    operators: tuple[str, ...] = ()
    kernel: tuple[int, ...] | None = None
    stride: tuple[int, ...] | None = None
    groups: int | None = None
    input: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None
    params: int = 0
    macs: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    activation_bytes: int = 0
    receptive: tuple[float, ...] | None = None
    jump: tuple[float, ...] | None = None
    scales: bool = False
    sources: tuple[int, ...] = ()
    median_ms: float | None = None
    p10_ms: float | None = None
    p90_ms: float | None = None

    @property
    def label(self) -> str:
        """The name for people: the root has none, and a later call says which one it is."""
        return (self.name or "(net)") + (f" #{self.call + 1}" if self.call else "")

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return self.bytes_read + self.bytes_written

    @property
    def intensity(self) -> float | None:
        """MACs per byte moved; None when no byte moves. Low means that memory, not arithmetic, sets the time."""
        return self.macs / self.bytes if self.bytes else None

    @property
    def depthwise(self) -> bool:
        """A convolution with one filter per channel."""
        return self.groups is not None and self.groups > 1 and self.input is not None and self.groups == self.input[1]

    def to_json(self) -> dict[str, Any]:
        """The fields, plus `intensity` in MAC/byte."""
        return asdict(self) | {"intensity": self.intensity}


@dataclass(frozen=True)
class Uncounted:
    """What the totals lack.

    `what` is "operator" (no MAC formula; `calls` says how often it ran), "module" (never called) or "parameter" (never read).
    """

    what: str
    name: str
    calls: int = 0
