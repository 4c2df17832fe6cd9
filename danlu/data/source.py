"""A data set that is ready to learn from: images at the input size, labels, splits, normalisation and health."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from ..errors import UsageError
from ..spec import read
from .choose import as_pair, check_choice, choose_channels, choose_flip, choose_resize, choose_size
from .health import DataError, Health
from .images import ImageSet
from .layout import SPLITS
from .normalise import fitted, normalizations
from .passes import Progress
from .scan import Scan
from .spec import Input
from .splits import make_splits, stratified_order
from .store import Store


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one split. Shape: labels int64 [N]; names N paths within the source."""

    labels: np.ndarray
    names: Sequence[str]
    input: Input
    _store: Store = field(repr=False)
    _rows: np.ndarray = field(repr=False)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def streams(self) -> bool:
        """Whether images are decoded from their files each time."""
        return self._store.streams

    def take(self, index: np.ndarray | Sequence[int]) -> Tensor:
        """Copies of some images. Shape: uint8 [B, H, W, C]."""
        return self._store.take(self._rows[np.asarray(index, dtype=np.int64)])

    def images(self, index: np.ndarray | Sequence[int]) -> Tensor:
        """Copies of some images. Shape: uint8 [B, C, H, W], channels last in memory."""
        return self.take(index).permute(0, 3, 1, 2)

    def only(self, index: np.ndarray) -> "Split":
        """The split of these images, in this order."""
        return replace(self, labels=self.labels[index], names=[self.names[i] for i in index.tolist()], _rows=self._rows[index])


@dataclass(frozen=True, eq=False)
class Source:
    """Images and labels to learn from, made by `load_data`.

    `fingerprint` is a SHA-256 over names, classes, given splits and contents: the same images in another place, or in an
    archive, have the same. `flip` says whether a mirror image keeps its class (see `choose_flip`). `normalize` is the
    normalisation that was fitted on the training images, as text.
    """

    name: str
    where: str
    classes: tuple[str, ...]
    input: Input
    health: Health = field(repr=False)
    fingerprint: str
    train: Split = field(repr=False)
    val: Split = field(repr=False)
    test: Split = field(repr=False)
    flip: bool
    _images: ImageSet = field(repr=False)
    normalize: str = "z_score"

    def at(self, size: int | tuple[int, int]) -> "Source":
        """The same images in the same splits at another input size (H, W), with the normalisation of that size."""
        pair = as_pair(size)
        if pair == self.input.size:
            return self
        return self._fitted(replace(self.input, size=pair), self.normalize)

    def normalized(self, how: str) -> "Source":
        """The same images in the same splits under another normalisation, fitted on the training images: "min_max", "box_cox".

        Raises UsageError as `load_data` does.
        """
        return self._fitted(self.input, how)

    def _fitted(self, wanted: Input, how: str) -> "Source":
        input, _ = fitted(wanted.plain(), read(normalizations, how), self._images.store(wanted), self._images.train_rows)
        return replace(self.with_input(input), normalize=how)

    def with_input(self, input: Input) -> "Source":
        """The same images in the same splits as a saved model wants them: its size, channels, resize rule and normalisation."""
        store = self._images.store(input)
        moved = {name: replace(getattr(self, name), input=input, _store=store) for name in SPLITS}
        return replace(self, input=input, **moved)

    def subset(self, train: int, seed: int = 0) -> "Source":
        """With only `train` training images, stratified; a larger subset of one seed contains every smaller one.

        val, test and the normalisation stay, so that models of both sources can be compared.
        Raises UsageError below one image per class.
        """
        if train < len(self.classes):
            raise UsageError(f"a training subset needs an image of each of the {len(self.classes)} classes, got {train}")
        if train >= len(self.train):
            return self
        chosen = np.sort(stratified_order(self.train.labels, seed)[:train])
        return replace(self, train=self.train.only(chosen))


def load_data(
    where: str | Path,
    *,
    size: int | tuple[int, int] | None = None,
    resize: str | None = None,
    channels: int | None = None,
    seed: int = 0,
    val: float | None = None,
    test: float | None = None,
    normalize: str = "z_score",
    stream_above: int | None = None,
    progress: Progress | None = None,
) -> Source:
    """Open a data set: "digits", or a folder, archive, CSV, IDX folder or .npz (see `danlu.data.layout.LAYOUTS`).

    `size` (pixels, or (H, W)), `resize` ("stretch", "short_side_crop") and `channels` (1, 3) are chosen from the images
    where they are None. Missing splits are made stratified from `seed`; `val` and `test` are their shares (None: 15 %, at
    most 5,000 and 10,000 images). `normalize` names one of `normalizations`, fitted on the training images: "min_max",
    "box_cox(shift=1)"; it is stored with the models that learn from this source. Sets above `stream_above` bytes of decoded
    pixels (None: DANLU_STREAM_ABOVE, else a third of memory) are decoded batch by batch; smaller ones once, into a cache.
    `progress(what, done, total)` is called now and then.
    Raises UsageError for what cannot be learned from; as DataError it carries the health found.
    """
    check_choice(size, resize, channels)
    fit = read(normalizations, normalize)
    images = ImageSet.open(where, stream_above=stream_above, progress=progress)
    images.check()
    plain = _choose(images.scan, size, resize, channels)
    store = images.store(plain)  # decodes everything on first use, and may find more unreadable images
    scan = images.scan
    seen = scan.readable()
    listing = scan.listing
    member = np.full(len(listing.names), -1, np.int8)
    member[seen] = make_splits(listing.labels[seen], listing.splits[seen], scan.digests[seen], val=val, test=test, seed=seed)
    made = [name for i, name in enumerate(SPLITS) if i and not (listing.splits[seen] == i).any()]
    health = Health.of(scan, member, made)
    if health.errors:
        raise DataError(images.where, health)
    classes, labels = _alive(listing.classes, listing.labels, seen)
    rows = {name: np.flatnonzero(member == i) for i, name in enumerate(SPLITS)}
    images.train_rows = rows["train"]
    input, warnings = fitted(plain, fit, store, rows["train"])
    health.warnings.extend(warnings)
    splits = {name: Split(labels[r], [listing.names[i] for i in r.tolist()], input, store, r) for name, r in rows.items()}
    return Source(
        name=images.name,
        where=str(where),
        classes=classes,
        input=input,
        health=health,
        fingerprint=_fingerprint(scan, seen),
        flip=choose_flip(input.channels, classes),
        _images=images,
        normalize=normalize,
        **splits,
    )


def _choose(scan: Scan, size: int | tuple[int, int] | None, resize: str | None, channels: int | None) -> Input:
    """The input, not normalised yet. By the headers alone: a truncated image found later must not change the size."""
    known = np.flatnonzero(scan.widths)
    widths, heights = scan.widths[known], scan.heights[known]
    channels = channels or choose_channels({scan.modes[i] for i in known})
    pair = as_pair(size) if size is not None else choose_size(widths, heights)
    return Input(pair, channels, (0.0,) * channels, (1.0,) * channels, resize or choose_resize(widths, heights))


def _alive(classes: tuple[str, ...], labels: np.ndarray, seen: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes that have a readable image, and the labels renumbered to them."""
    used = np.unique(labels[seen])
    number = np.full(len(classes), -1, np.int64)
    number[used] = np.arange(len(used))
    return tuple(classes[i] for i in used), number[labels]


def _fingerprint(scan: Scan, seen: np.ndarray) -> str:
    listing = scan.listing
    hasher = hashlib.sha256()
    for i in seen.tolist():
        row = f"{listing.names[i]}\0{listing.classes[listing.labels[i]]}\0{listing.splits[i]}\0"
        hasher.update(row.encode("utf-8", "surrogateescape"))
        hasher.update(scan.digests[i].tobytes())
    return hasher.hexdigest()
