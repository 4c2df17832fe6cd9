"""A source: the input chosen from the images, normalisation, other sizes, subsets, identity."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from danlu.data import Input, Source, batches, load_data, resize
from danlu.data.choose import choose_channels, choose_flip, choose_resize, choose_size
from danlu.errors import UsageError

SPLITS = ("train", "val", "test")


@pytest.mark.parametrize(
    ("sizes", "expected", "rule"),
    [
        ([(8, 8)], (8, 8), "stretch"),
        ([(28, 28), (28, 28)], (28, 28), "stretch"),
        ([(64, 48)], (48, 64), "stretch"),  # (W, H) -> (H, W)
        ([(92, 112)], (64, 64), "stretch"),  # one size, but above 64
        ([(640, 480), (640, 480)], (224, 224), "stretch"),
        ([(100, 100), (110, 100), (100, 90)], (96, 96), "stretch"),  # nearly square
        ([(500, 375), (375, 500), (500, 333)], (224, 224), "short_side_crop"),
        ([(150, 100), (160, 100), (120, 95)], (96, 96), "short_side_crop"),
        ([(20, 30), (21, 30)], (32, 32), "short_side_crop"),
    ],
)
def test_input_size_is_chosen_from_the_images(sizes: list[tuple[int, int]], expected: tuple[int, int], rule: str) -> None:
    widths, heights = np.array(sizes).T
    assert choose_size(widths, heights) == expected
    assert choose_resize(widths, heights) == rule


def test_channels_and_flip() -> None:
    assert choose_channels({"L", "1", "I;16", "F"}) == 1
    assert choose_channels({"L", "RGB"}) == choose_channels({"P"}) == 3
    assert choose_flip(3, ["cat", "dog"])
    assert not choose_flip(1, ["cat", "dog"])
    assert not choose_flip(3, list("0123456789"))
    assert not choose_flip(3, ["turn_left", "turn_right"])
    assert choose_flip(3, ["10", "11", "2"])


def test_choices_can_be_set(make_set) -> None:
    root = make_set({"a": 6, "b": 6}, size=(30, 20))
    assert load_data(root).input.shape == (3, 20, 30)
    source = load_data(root, size=(16, 8), resize="short_side_crop", channels=1)
    assert source.input.shape == (1, 16, 8)
    assert source.input.resize == "short_side_crop"
    assert source.train.images([0, 1]).shape == (2, 1, 16, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be"),
        ({"size": (3, 4, 5)}, "size must be"),
        ({"size": 100_000}, "size must be"),
        ({"resize": "strech"}, "did you mean stretch"),
        ({"channels": 2}, "channels must be 1"),
        ({"val": 0.0}, "val must be a share"),
        ({"val": 0.6, "test": 0.5}, "something to train on"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_wrong_options(options: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_data("digits", **options)


def by_hand(path: Path, source: Source) -> np.ndarray:
    """Preprocessing as an outsider writes it, with Pillow alone."""
    h, w = source.input.size
    image = ImageOps.exif_transpose(Image.open(path)).convert("L" if source.input.channels == 1 else "RGB")
    if source.input.resize == "stretch":
        image = image.resize((w, h), Image.Resampling.BILINEAR)
    else:
        s = max(w / image.width, h / image.height)
        image = image.resize((round(image.width * s), round(image.height * s)), Image.Resampling.BILINEAR)
        left, top = (image.width - w) // 2, (image.height - h) // 2
        image = image.crop((left, top, left + w, top + h))
    return np.asarray(image).reshape(h, w, source.input.channels)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp"])
@pytest.mark.parametrize("rule", ["stretch", "short_side_crop"])
def test_cached_pixels_are_bit_identical_to_preprocessing_by_hand(make_set, suffix: str, rule: str) -> None:
    root = make_set({"a": 3, "b": 3}, size=(50, 30), suffix=suffix)
    make_set({"a/more": 2, "b/more": 2}, size=(33, 70), suffix=suffix)
    for channels in (1, 3):
        source = load_data(root, size=(24, 20), resize=rule, channels=channels)
        for split in (source.train, source.val, source.test):
            for name, image in zip(split.names, split.take(range(len(split))).numpy(), strict=True):
                assert np.array_equal(image, by_hand(root / name, source)), name


def test_normalisation_is_that_of_the_training_pixels(make_set) -> None:
    source = load_data(make_set({"a": 15, "b": 9}, size=(11, 13)))
    pixels = source.train.take(range(len(source.train))).numpy().astype(np.float64) / 255
    assert source.input.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-12)
    assert source.input.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-12)


def test_at_another_size(make_set) -> None:
    source = load_data(make_set({"a": 9, "b": 9}, size=(40, 30)))
    small = source.at((8, 10))
    assert source.at((30, 40)) is source
    assert small.input.size == (8, 10)
    assert small.input.resize == source.input.resize
    for split in SPLITS:
        one, two = getattr(source, split), getattr(small, split)
        assert list(one.names) == list(two.names)
        assert one.labels.tolist() == two.labels.tolist()
        for before, after in zip(one.take(range(len(one))).numpy(), two.take(range(len(two))).numpy(), strict=True):
            assert np.array_equal(resize(before, small.input), after)
    pixels = small.train.take(range(len(small.train))).numpy() / 255
    assert small.input.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-12)
    assert small.fingerprint == source.fingerprint


def test_with_the_input_of_a_saved_model(make_set) -> None:
    root = make_set({"a": 9, "b": 9}, size=(40, 30))
    wanted = Input((8, 10), 1, (0.25,), (0.5,), "short_side_crop")
    source = load_data(root).with_input(wanted)
    assert source.input == wanted
    expected = load_data(root, size=(8, 10), channels=1, resize="short_side_crop")
    for split in SPLITS:
        one, two = getattr(source, split), getattr(expected, split)
        assert list(one.names) == list(two.names)
        assert np.array_equal(one.take(range(len(one))), two.take(range(len(two))))
    x, _ = next(batches(source.val, wanted, 2))
    assert np.allclose(x.numpy(), (source.val.images([0, 1]).numpy() / 255 - 0.25) / 0.5, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(st.integers(10, 1259), st.integers(0, 3))
def test_subsets_are_stratified_nested_and_leave_val_and_test(n: int, seed: int) -> None:
    whole = load_data("digits")
    part = whole.subset(n, seed)
    assert len(part.train) == n
    counts = np.bincount(part.train.labels, minlength=10)
    assert counts.max() - counts.min() <= 2 + 0.1 * counts.max()  # the classes of digits are nearly equal
    assert set(part.train.names) <= set(whole.subset(min(n + 50, 1259), seed).train.names) <= set(whole.train.names)
    assert part.val is whole.val
    assert part.test is whole.test
    assert part.input == whole.input
    label = dict(zip(whole.train.names, whole.train.labels.tolist(), strict=True))
    assert [label[name] for name in part.train.names] == part.train.labels.tolist()
    first = whole.train.names.index(part.train.names[n // 2])
    assert np.array_equal(part.train.take([n // 2]), whole.train.take([first]))


def test_subset_of_a_smaller_or_larger_number() -> None:
    source = load_data("digits")
    assert source.subset(10**6) is source
    assert source.subset(10).train.labels.tolist().sort() == list(range(10)).sort()
    with pytest.raises(UsageError, match="an image of each of the 10 classes, got 9"):
        source.subset(9)


def test_subset_keeps_its_images_at_another_size() -> None:
    source = load_data("digits").subset(50)
    assert list(source.at(16).train.names) == list(source.train.names)


def test_seed_decides_the_splits() -> None:
    one, again, other = load_data("digits", seed=1), load_data("digits", seed=1), load_data("digits", seed=2)
    assert list(one.test.names) == list(again.test.names) != list(other.test.names)
    assert one.fingerprint == again.fingerprint == other.fingerprint


def test_fingerprint_is_of_the_content(make_set, tmp_path: Path) -> None:
    root = make_set({"a": 6, "b": 6})
    source = load_data(root)
    shutil.copytree(root, tmp_path / "moved")
    assert load_data(tmp_path / "moved").fingerprint == source.fingerprint
    (tmp_path / "moved" / "a").rename(tmp_path / "moved" / "c")
    assert load_data(tmp_path / "moved").fingerprint != source.fingerprint


def test_deep_images_are_rescaled_in_training_as_in_decoding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for label in "ab":
        (tmp_path / "deep" / label).mkdir(parents=True)
        for i in range(4):
            Image.fromarray(rng.integers(0, 65536, (9, 9), dtype=np.uint16)).save(tmp_path / "deep" / label / f"{i}.png")
    source = load_data(tmp_path / "deep")
    assert source.input.channels == 1
    raw = np.asarray(Image.open(tmp_path / "deep" / source.train.names[0]).copy())
    assert np.array_equal(source.train.take([0]).numpy()[0, :, :, 0], np.rint(raw / 257).astype(np.uint8))


def test_progress_is_reported(make_set) -> None:
    seen = []
    load_data(make_set({"a": 40, "b": 40}), progress=lambda what, done, total: seen.append((what, done, total)))
    assert {what for what, _, _ in seen} == {"reading headers", "decoding images"}
    assert seen[-1][1:] == (80, 80)
