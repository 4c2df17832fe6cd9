"""Pictures inside the page: pixels to a PNG data URI, and back to its size."""

import base64
import binascii
import io
import re
import struct

import numpy as np
from PIL import Image

from ..errors import UsageError

PREFIX = "data:image/png;base64,"


def to_data_uri(pixels: np.ndarray) -> str:
    """A PNG of `pixels`, uint8 [H, W, C] with C = 1 or 3 (or [H, W]), as a data URI.

    Raises: UsageError for another type or shape.
    """
    array = np.asarray(pixels)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3) or 0 in array.shape:
        raise UsageError(f"a picture is uint8 [H, W, 1 or 3], got {array.dtype} {list(array.shape)}")
    image = Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return PREFIX + base64.b64encode(file.getvalue()).decode()


def png_size(uri: object) -> tuple[int, int] | None:
    """(width, height) of a PNG data URI; None for anything else, so that a report never holds an address that loads."""
    if not isinstance(uri, str) or not uri.startswith(PREFIX) or not re.fullmatch(r"[A-Za-z0-9+/]+=*", uri[len(PREFIX) :]):
        return None
    try:
        head = base64.b64decode(uri[len(PREFIX) :][:44], validate=True)
    except binascii.Error:
        return None
    if len(head) < 24 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", head[16:24])
    return (width, height) if width and height else None
