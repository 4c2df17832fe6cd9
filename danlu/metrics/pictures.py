"""Images for metrics: one file, or a folder matched by name with another, whatever the suffix and however deep.

    fakes/a/7.png  and  reals/a/7.jpg  are of one name, a/7

Label maps are images as well: grey or with a palette, the number of each pixel its class.

Source: the layout of PASCAL VOC's segmentations, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from ..data.decoding import GREY_MODES, decode, header
from ..data.layout import IMAGE_SUFFIXES
from ..data.sources.folder import walk
from ..errors import UsageError

NUMBERED = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")  # modes whose pixels are one whole number


def is_picture(text: str) -> bool:
    """Whether an input is an image or a folder of images, by its name and by what is there."""
    path = Path(text)
    return path.is_dir() or path.suffix.casefold() in IMAGE_SUFFIXES


def pictures(text: str) -> dict[str, Path]:
    """The image files of a folder, at any depth, or the one file; by name without suffix, in order.

    Raises: UsageError where there is none, or two of one name.
    """
    path = Path(text)
    if path.is_file():
        return {path.stem: path}
    if not path.is_dir():
        raise UsageError(f"{path}: no such image or folder")
    found: dict[str, Path] = {}
    for file in sorted(file for file in walk(path)[0] if Path(file).suffix.casefold() in IMAGE_SUFFIXES):
        name = str(Path(file).with_suffix(""))
        if name in found:
            raise UsageError(
                f"{path}: {found[name].name} and {Path(file).name} are of one name, and could stand for the same image"
            )
        found[name] = path / file
    if not found:
        raise UsageError(f"{path}: no images found in the folder")
    return found


def matched(inputs: Sequence[str]) -> dict[str, tuple[Path, ...]]:
    """The images of each name, one of each input. Raises: UsageError where an image has no partner."""
    sides = [pictures(text) for text in inputs]
    files = [Path(text).is_file() for text in inputs]
    if all(files):
        return {next(iter(sides[0])): tuple(next(iter(side.values())) for side in sides)}
    if any(files):
        raise UsageError(f"two images or two folders are compared, got {' and '.join(inputs)}")
    for here, there, where in zip(sides, sides[::-1], inputs[::-1], strict=True):
        alone = [name for name in here if name not in there]
        if alone:
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            raise UsageError(f"{here[alone[0]]}{more}: no image of the same name in {where}")
    return {name: tuple(side[name] for side in sides) for name in sides[0]}


def decoded(paths: Sequence[Path]) -> list[np.ndarray]:
    """Images that belong together: grey when all are, else RGB. Shape: uint8 [1, C, H, W] each."""
    channels = 1 if all(header(path).mode in GREY_MODES for path in paths) else 3
    return [decode(path, channels).transpose(2, 0, 1)[None] for path in paths]


def label_maps(inputs: Sequence[str]) -> list[np.ndarray]:
    """The classes of all pixels, one image behind another. Shape: int32 [pixels] each.

    Raises: UsageError for maps of one name that differ in size, and for images that are no label maps.
    """
    sides: list[list[np.ndarray]] = [[] for _ in inputs]
    for name, paths in matched(inputs).items():
        pair = [label_map(path) for path in paths]
        if len({one.shape for one in pair}) > 1:
            raise UsageError(f"{name}: label maps of one image differ in size, {' and '.join(str(list(m.shape)) for m in pair)}")
        for side, one in zip(sides, pair, strict=True):
            side.append(one.ravel())
    return [np.concatenate(side) for side in sides]


def label_map(path: Path) -> np.ndarray:
    """The numbers of the pixels, not their colours. Shape: int32 [H, W]. Raises: UsageError for an image in colour."""
    mode = header(path).mode
    if mode not in NUMBERED:
        raise UsageError(f"{path}: a label map is grey or has a palette, each pixel the number of its class; got {mode}")
    try:
        with Image.open(path) as image:
            return np.asarray(image).astype(np.int32)
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"{path}: cannot be decoded ({error})") from error
