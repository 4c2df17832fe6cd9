"""What the poolings of danlu share: the arguments of torch's max pool, and the windows that it looks into."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError

Pair = int | tuple[int, int]


def pair(size: Pair) -> tuple[int, int]:
    """One number for height and width, or one each."""
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


class Pool2d(nn.Module):
    """Base of the poolings: windows of `kernel_size`, `stride` apart (the kernel's size where it is None), as in nn.MaxPool2d.

    The output has the size that nn.MaxPool2d and nn.AvgPool2d give for the same arguments, with ceil_mode too: windows that
    reach over the edge see only what lies inside.

    Shape: [B, C, H, W] -> [B, C, H', W'],  H' = floor((H + 2 padding - kernel_size) / stride) + 1

    Raises: UsageError for a kernel or stride below 1, or for a padding of more than half of the kernel.
    """

    first: ClassVar[tuple[str, ...]] = ()  # names of arguments that come before the kernel's

    def __init__(self, kernel_size: Pair, stride: Pair | None = None, padding: Pair = 0, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        for kernel, step, pad in zip(pair(kernel_size), pair(self.stride), pair(padding), strict=True):
            if kernel < 1 or step < 1 or not 0 <= 2 * pad <= kernel:
                got = f"kernel_size={kernel_size}, stride={self.stride}, padding={padding}"
                raise UsageError(f"a pool takes a kernel and a stride of at least 1, and pads half a kernel at most; got {got}")

    @property
    def area(self) -> int:
        """Pixels in a window."""
        height, width = pair(self.kernel_size)
        return height * width

    def reaches_out(self) -> bool:
        """Whether windows may reach over the edge of the map."""
        return self.ceil_mode or max(pair(self.padding)) > 0

    def beyond(self) -> tuple[int, int]:
        """Rows and columns behind the padded map that ceil_mode lets windows reach into.

        One more window wherever the stride leaves pixels over, but none that starts behind the map.
        """
        if not self.ceil_mode:
            return 0, 0
        sides = zip(pair(self.kernel_size), pair(self.stride), pair(self.padding), strict=True)
        rows, columns = (min(stride - 1, kernel - pad - 1) for kernel, stride, pad in sides)
        return rows, columns

    def padded(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """The map with the edge that its windows reach into. Shape: [B, C, H, W] -> [B, C, H + edges, W + edges]."""
        if not self.reaches_out():
            return x
        (tall, wide), (below, right) = pair(self.padding), self.beyond()
        return F.pad(x, (wide, wide + right, tall, tall + below), value=fill)

    def windows(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """The pixels of each window, `fill` where it reaches out. Shape: [B, C, H, W] -> [B, C, H', W', *kernel_size]."""
        (tall, wide), (down, right) = pair(self.kernel_size), pair(self.stride)
        return self.padded(x, fill).unfold(2, tall, down).unfold(3, wide, right)

    def inside(self, x: Tensor) -> Tensor:
        """1 for each pixel of each window that lies on the map, else 0. Shape: [B, C, H, W] -> [1, 1, H', W', *kernel_size]."""
        return self.windows(torch.ones_like(x[:1, :1]))

    def mean(self, x: Tensor) -> Tensor:
        """The mean of what lies inside each window. Shape: [B, C, H, W] -> [B, C, H', W']."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, count_include_pad=False)

    def max(self, x: Tensor) -> Tensor:
        """The maximum of each window. Shape: [B, C, H, W] -> [B, C, H', W']."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)

    def extra_repr(self) -> str:
        """Its arguments."""
        own = "".join(f"{getattr(self, name)}, " for name in self.first)
        text = f"{own}kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"
        return text + (", ceil_mode=True" if self.ceil_mode else "")
