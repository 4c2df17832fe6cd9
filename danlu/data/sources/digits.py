"""The built-in data set: 1,797 handwritten digits, 8x8 pixels, 10 classes.

Optical Recognition of Handwritten Digits, by E. Alpaydin and C. Kaynak, UCI Machine Learning Repository (1998),
https://doi.org/10.24432/C50P49, licence CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/). This is its test part,
written by 13 people. Changed: stored as digits.npz, images uint8 [1797, 8, 8] with the original values 0..16, labels
uint8 [1797]; rescaled to 0..255 when loaded.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...files import sha256
from ._arrays import ArrayReader, Part
from ._base import key_of

FILE = Path(__file__).with_name("digits.npz")


class DigitsReader(ArrayReader):
    """The digits inside the package. They come without splits."""

    def __init__(self) -> None:
        super().__init__("digits", "digits", key_of("digits", sha256(FILE)))
        self.place = "built in"

    def load(self) -> tuple[Mapping[str, Part], None]:
        with np.load(FILE, allow_pickle=False) as arrays:
            images = np.rint(arrays["images"] * (255 / 16)).astype(np.uint8)
            return {"digits": Part(images[..., None], [str(label) for label in arrays["labels"]])}, None
