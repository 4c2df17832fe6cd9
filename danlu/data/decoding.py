"""The one decoder, for training, the health check and inference alike: any image file to uint8 RGB or grey.

What an image file may hold, and what becomes of it:

| in the file                                   | becomes                                                                     |
|-----------------------------------------------|-----------------------------------------------------------------------------|
| EXIF orientation                              | applied                                                                     |
| alpha, a transparent colour                   | composited on white                                                         |
| palette, 1 bit, CMYK, YCbCr                   | RGB or grey by Pillow's conversion                                          |
| 16-bit grey (also held in 32-bit integers)    | value / 257, rounded: 65535 -> 255                                          |
| integers outside 0..65535                     | the image's own minimum..maximum stretched to 0..255                        |
| float                                         | by range: 0..1 x 255; 0..255 as it is; 0..65535 / 257; else stretched       |
| 16-bit RGB                                    | the high byte (Pillow reads no more)                                        |
| animation, several pages                      | the first frame                                                             |

An ordinary 8-bit image comes out bit-identical to `ImageOps.exif_transpose(Image.open(f)).convert("RGB" or "L")`.
"""

import contextlib
import io
import os
import re
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageFile

from ..errors import UsageError
from .spec import Input

MAX_PIXELS = 100_000_000
MAX_FILE_BYTES = 1 << 30
VERSION = 1  # part of every cache key: raise it when the same file would decode to other pixels

GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_DEEP_MODES = frozenset({"I", "F", "I;16", "I;16B", "I;16L", "I;16N"})
_ALPHA_MODES = frozenset({"RGBA", "RGBa", "LA", "La", "PA"})
_ORIENTATION = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class UnreadableError(UsageError):
    """An image that cannot be decoded; `reason` says why, without the name of the file."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.reason = reason


class TooLargeError(UnreadableError):
    """An image that declares more than 100 megapixels."""


@dataclass(frozen=True)
class Header:
    """What an image file declares, before decoding: width and height as seen (after EXIF rotation), Pillow's mode."""

    width: int
    height: int
    mode: str


def header(source: str | Path | bytes, name: str = "") -> Header:
    """Read what an image declares, without decoding its pixels.

    Raises TooLargeError above 100 megapixels and UnreadableError when it is no image.
    """
    with _opened(source, name) as image:
        width, height = image.size
        if image.format != "TIFF" and _orientation(image) >= 5:  # Pillow swaps the size of a TIFF itself
            width, height = height, width
        return Header(width, height, image.mode)


def decode(source: str | Path | bytes, channels: int, name: str = "") -> np.ndarray:
    """Decode an image file, or the bytes of one, completely.

    `channels` is 3 (RGB) or 1 (grey); `name` is how errors call bytes. What the file may hold: see the top of this module.
    A file that ends early is an error: Pillow's LOAD_TRUNCATED_IMAGES is switched off.
    Shape: uint8 [H, W, channels].
    Raises TooLargeError above 100 megapixels (by the header, before decoding) and UnreadableError for what cannot be decoded.
    """
    if channels not in (1, 3):
        raise UsageError(f"channels must be 1 (grey) or 3 (RGB), got {channels!r}")
    ImageFile.LOAD_TRUNCATED_IMAGES = False
    with _opened(source, name) as image:
        image.load()
        turn = _ORIENTATION.get(_orientation(image))
        upright = image if turn is None else image.transpose(turn)
        if upright.mode in _DEEP_MODES:
            upright = Image.fromarray(to_8bit(np.asarray(upright)))
        elif upright.mode in _ALPHA_MODES or "transparency" in image.info:
            colours = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours).convert("RGB")
        elif upright.mode == "CMYK":
            upright = upright.convert("RGB")
        pixels = np.array(upright.convert("L" if channels == 1 else "RGB"))
    return pixels.reshape(*pixels.shape[:2], channels)


def to_8bit(values: np.ndarray, span: tuple[float, float] | None = None) -> np.ndarray:
    """Rescale numbers of any type to uint8, by the rules at the top of this module; shape is kept.

    `span` is the (minimum, maximum) to decide by, where `values` is a piece of something larger.
    Raises ValueError for NaN and infinity.
    """
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    low, high = span or (float(values.min()), float(values.max()))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError("holds NaN or infinite values")
    if np.issubdtype(values.dtype, np.integer) and low >= 0 and high <= 65535:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    real = values.astype(np.float64)
    if low >= 0 and high <= 65535:
        real *= 255 if high <= 1 else 1 if high <= 255 else 1 / 257
    else:
        real = (real - low) / (high - low or 1) * 255
    return np.rint(real).astype(np.uint8)


def resize(array: np.ndarray, to: Input) -> np.ndarray:
    """Bring one image to the input size with Pillow's BILINEAR filter.

    "stretch" resizes both sides to (w, h). "short_side_crop": s = max(w / W, h / H); resize to (round(W s), round(H s)), then
    crop the centre at left = (W - w) // 2, top = (H - h) // 2.
    Shape: uint8 [H, W, C] -> uint8 [h, w, C].
    """
    h, w = to.size
    if array.shape[:2] == (h, w):
        return array
    image = Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)
    if to.resize == "stretch":
        image = image.resize((w, h), Image.Resampling.BILINEAR)
    else:
        scale = max(w / image.width, h / image.height)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - w) // 2, (image.height - h) // 2
        image = image.crop((left, top, left + w, top + h))
    return np.array(image).reshape(h, w, array.shape[2])


def with_channels(array: np.ndarray, channels: int) -> np.ndarray:
    """Turn a decoded image into grey or RGB: grey is repeated, RGB is weighed as Pillow's "L" does (ITU-R 601-2).

    Shape: uint8 [H, W, 1 or 3] -> uint8 [H, W, channels].
    """
    if array.shape[2] == channels:
        return array
    if channels == 3:
        return np.repeat(array, 3, axis=2)
    return np.array(Image.fromarray(array).convert("L"))[:, :, None]


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where there is none; a broken EXIF block does not make the picture unreadable."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # noqa: BLE001 - Pillow raises whatever the damage makes it stumble over; the pixels are still good
        return 1
    return value if isinstance(value, int) else 1


@contextlib.contextmanager
def _opened(source: str | Path | bytes, name: str) -> Iterator[Image.Image]:
    """Open an image with its header checked; whatever a decoder raises inside becomes UnreadableError with a short reason."""
    name = name or ("image" if isinstance(source, bytes) else str(source))
    try:
        size = len(source) if isinstance(source, bytes) else _file_size(source)
        if size == 0:
            raise UnreadableError(name, "empty file")
        if size > MAX_FILE_BYTES:
            raise UnreadableError(name, f"file of {size:,} bytes; at most {MAX_FILE_BYTES:,} are read")
        with _own_pixel_limit, Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            yield image
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        declared = f"{int(pixels[0]) / 1e6:.0f}" if pixels else "over 100"
        raise TooLargeError(name, f"declares {declared} megapixels; at most 100 are taken, scale it down") from error
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # a decoder may raise anything over a broken file
        raise UnreadableError(name, _reason(error)) from error


def _file_size(path: str | Path) -> int:
    info = os.stat(path)
    if not stat.S_ISREG(info.st_mode):
        raise OSError("not a regular file")  # reading a pipe would wait for ever
    return info.st_size


def _reason(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if type(error).__name__ == "UnidentifiedImageError":
        return "not an image in a format that Pillow reads"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).split("\n")[0][:200] or type(error).__name__


class _Ceiling(int):
    """A limit with one threshold: Pillow warns above its limit and raises above `2 * limit`; here both are the same number."""

    def __rmul__(self, _: int) -> int:
        return int(self)


class _PixelLimit:
    """While any thread is inside, Pillow refuses images above MAX_PIXELS and does not warn below, wherever it looks.

    Pillow keeps its limit in a module global, so the first thread in sets it aside and the last one out puts it back.
    Some of its decoders (WebP) allocate the picture as soon as it is opened, so a check afterwards would come too late.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._kept: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._kept, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, _Ceiling(MAX_PIXELS)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                Image.MAX_IMAGE_PIXELS = self._kept


_own_pixel_limit = _PixelLimit()
