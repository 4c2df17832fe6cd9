"""The decoder, against Pillow used by hand and against numbers worked out by hand."""

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from danlu.data.decoding import TooLargeError, UnreadableError, decode, header, resize, to_8bit, with_channels
from danlu.data.spec import Input
from danlu.errors import UsageError


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def by_hand(data: bytes, mode: str) -> np.ndarray:
    """What an outsider does: exif_transpose, convert."""
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert(mode))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM"])
@pytest.mark.parametrize(("source", "channels"), [("RGB", 3), ("RGB", 1), ("L", 1), ("L", 3)])
def test_ordinary_images_are_bit_identical_to_pillow(kind: str, source: str, channels: int) -> None:
    image = Image.fromarray(noise(17, 23, 3)).convert(source)
    data = encoded(image, kind)
    found = decode(data, channels)
    assert found.shape == (17, 23, channels)
    assert np.array_equal(found.squeeze(), by_hand(data, "RGB" if channels == 3 else "L"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotation_is_applied(kind: str, orientation: int) -> None:
    image = Image.fromarray(noise(8, 24, 3))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(image, kind, exif=exif)
    found = decode(data, 3)
    assert np.array_equal(found, by_hand(data, "RGB"))
    seen = header(data)
    assert (seen.height, seen.width) == found.shape[:2] == ((24, 8) if orientation >= 5 else (8, 24))


def test_broken_exif_does_not_spoil_the_picture() -> None:
    data = encoded(Image.fromarray(noise(8, 8, 3)), "JPEG", exif=b"Exif\0\0XX*garbage that is no TIFF")
    assert decode(data, 3).shape == (8, 8, 3)
    assert header(data).width == 8


def test_16_bit_grey_is_divided_by_257() -> None:
    values = np.array([[0, 1, 128, 129, 256, 257, 32768, 65535]], np.uint16)
    data = encoded(Image.fromarray(values), "PNG")
    assert decode(data, 1)[0, :, 0].tolist() == [0, 0, 0, 1, 1, 1, 128, 255]
    assert decode(data, 3).shape == (1, 8, 3)


def test_16_bit_tiff_and_pgm_agree_with_png() -> None:
    values = np.random.default_rng(1).integers(0, 65536, (9, 7), dtype=np.uint16)
    expected = np.rint(values / 257).astype(np.uint8)
    pgm = b"P5\n7 9\n65535\n" + values.astype(">u2").tobytes()
    for data in (encoded(Image.fromarray(values), "TIFF"), pgm, encoded(Image.fromarray(values.astype(np.int32)), "TIFF")):
        assert np.array_equal(decode(data, 1)[:, :, 0], expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),  # 0..1
        ([0.0, 2.4, 255.0], [0, 2, 255]),  # 0..255
        ([0.0, 257.0, 65535.0], [0, 1, 255]),  # 0..65535
        ([-1.0, 0.0, 1.0], [0, 128, 255]),  # anything else: stretched
        ([-5.0, -5.0, -5.0], [0, 0, 0]),
    ],
)
def test_float_images_are_rescaled_by_range(values: list[float], expected: list[int]) -> None:
    data = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert decode(data, 1)[0, :, 0].tolist() == expected


def test_float_image_with_nan_is_unreadable() -> None:
    data = encoded(Image.fromarray(np.array([[0.0, np.nan]], np.float32)), "TIFF")
    with pytest.raises(UnreadableError, match="NaN"):
        decode(data, 1)


def test_one_bit_palette_and_cmyk() -> None:
    bits = Image.fromarray(noise(6, 6)).convert("1")
    assert set(np.unique(decode(encoded(bits, "PNG"), 1))) <= {0, 255}
    palette = Image.fromarray(noise(6, 6, 3)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert np.array_equal(decode(encoded(palette, "PNG"), 3), np.asarray(palette.convert("RGB")))
    cmyk = Image.new("CMYK", (4, 4), (255, 0, 0, 0))
    assert decode(encoded(cmyk, "TIFF"), 3)[0, 0].tolist() == [0, 255, 255]
    assert decode(encoded(cmyk, "JPEG", quality=100), 1).shape == (4, 4, 1)


def test_alpha_is_composited_on_white() -> None:
    image = np.zeros((1, 3, 4), np.uint8)
    image[0, :, 3] = [0, 51, 255]  # black, at 0, 20 and 100 %
    assert decode(encoded(Image.fromarray(image), "PNG"), 3)[0, :, 0].tolist() == [255, 204, 0]
    assert decode(encoded(Image.fromarray(image), "PNG"), 1)[0, :, 0].tolist() == [255, 204, 0]
    grey = Image.fromarray(image[:, :, 2:])
    assert grey.mode == "LA"
    assert decode(encoded(grey, "PNG"), 1)[0, :, 0].tolist() == [255, 204, 0]


def test_transparent_colours_are_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 0])
    palette.putdata([0, 1])
    assert decode(encoded(palette, "PNG", transparency=0), 3)[0].tolist() == [[255, 255, 255], [200, 100, 0]]
    keyed = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert decode(encoded(keyed, "PNG", transparency=(1, 2, 3)), 3)[0].tolist() == [[255, 255, 255], [4, 5, 6]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "PNG"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert decode(data, 3)[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("cut", [1, 2, 50, 500])
def test_truncated_jpeg_is_unreadable_even_when_the_user_allowed_them(cut: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(Image.fromarray(noise(64, 64, 3)), "JPEG")[:-cut]
    Image.open(io.BytesIO(data)).verify()  # passes: the header is good
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(UnreadableError, match="truncated"):
        decode(data, 3, "photo.jpg")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF"])
def test_other_formats_cut_in_the_middle_are_unreadable(kind: str) -> None:
    data = encoded(Image.fromarray(noise(64, 64, 3)), kind)
    assert decode(data, 3).shape == (64, 64, 3)
    with pytest.raises(UnreadableError):
        decode(data[: len(data) // 2], 3)


def test_reasons_are_told(tmp_path: Path) -> None:
    (tmp_path / "zero.png").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    for name, why in (
        ("zero.png", "empty file"),
        ("text.png", "not an image"),
        ("gone.png", "no such file"),
        ("", "not a regular"),
    ):
        with pytest.raises(UnreadableError, match=why) as caught:
            decode(tmp_path / name, 3)
        assert str(tmp_path) in str(caught.value)
        assert caught.value.exit_code == 2


def png_that_declares(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (60_000, 60_000)])
def test_images_above_100_megapixels_are_refused_by_the_header(width: int, height: int) -> None:
    data = png_that_declares(width, height)
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (header, lambda d, name: decode(d, 3, name)):
            with pytest.raises(TooLargeError, match=r"big\.png: declares .* megapixels; at most 100"):
                read(data, "big.png")
    assert before == Image.MAX_IMAGE_PIXELS


def test_100_megapixels_are_taken_without_a_warning() -> None:
    assert header(png_that_declares(10_000, 10_000)).width == 10_000


def test_channels_must_be_1_or_3() -> None:
    with pytest.raises(UsageError, match="channels must be 1"):
        decode(png_that_declares(1, 1), 4)


@pytest.mark.parametrize("rule", ["stretch", "short_side_crop"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("height", "width"), [(50, 80), (80, 50), (33, 32), (7, 100), (32, 32), (31, 31)])
def test_resize_is_bit_identical_to_pillow_by_hand(rule: str, channels: int, height: int, width: int) -> None:
    h, w = 24, 32
    pixels = noise(height, width, channels)
    image = Image.fromarray(pixels.squeeze())
    if rule == "stretch":
        expected = image.resize((w, h), Image.Resampling.BILINEAR)
    else:
        s = max(w / width, h / height)
        expected = image.resize((round(width * s), round(height * s)), Image.Resampling.BILINEAR)
        left, top = (expected.width - w) // 2, (expected.height - h) // 2
        expected = expected.crop((left, top, left + w, top + h))
    found = resize(pixels, Input((h, w), channels, (0.5,) * channels, (0.5,) * channels, rule))
    assert found.shape == (h, w, channels)
    assert np.array_equal(found.squeeze(), np.asarray(expected))


def test_to_8bit_rounds_16_bit_as_exact_division_does() -> None:
    values = np.arange(65536, dtype=np.uint16)
    assert np.array_equal(to_8bit(values), np.rint(values.astype(np.float64) / 257).astype(np.uint8))
    assert to_8bit(np.array([False, True])).tolist() == [0, 255]
    assert to_8bit(np.array([-100, 0, 100])).tolist() == [0, 128, 255]


def test_with_channels_matches_pillow() -> None:
    pixels = noise(5, 6, 3)
    assert np.array_equal(with_channels(pixels, 1)[:, :, 0], np.asarray(Image.fromarray(pixels).convert("L")))
    grey = noise(5, 6, 1)
    assert np.array_equal(with_channels(grey, 3), np.repeat(grey, 3, axis=2))
