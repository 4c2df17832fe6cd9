"""Sizes that are one number for both axes, or one for each."""


def sides(size: int | tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a kernel, a stride, a padding or a dilation."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])
