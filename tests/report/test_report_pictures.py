"""Pictures inside the page: what goes in comes out, and nothing else gets in."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from danlu.errors import UsageError
from danlu.report.pictures import png_size, to_data_uri


@pytest.mark.parametrize("shape", [(5, 7, 3), (5, 7, 1), (1, 1, 3), (28, 28)])
def test_the_pixels_survive(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    uri = to_data_uri(pixels)
    image = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,"))))
    assert np.array_equal(np.asarray(image), pixels.reshape(shape[:2]) if shape[-1] == 1 else pixels)
    assert png_size(uri) == (shape[1], shape[0])


@pytest.mark.parametrize(
    "bad", [np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8), np.zeros(4, np.uint8)]
)
def test_other_arrays_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(UsageError, match="uint8"):
        to_data_uri(bad)


@pytest.mark.parametrize(
    "address",
    [
        None,
        7,
        "",
        "https://example.org/cat.png",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:image/png;base64,",
        "data:image/png;base64,AAAA",
        'data:image/png;base64,iVBORw0KGgo"onerror="alert(1)',
        "data:image/png;base64," + base64.b64encode(b"GIF89a" + bytes(40)).decode(),
    ],
)
def test_only_embedded_pngs_are_pictures(address: object) -> None:
    assert png_size(address) is None
