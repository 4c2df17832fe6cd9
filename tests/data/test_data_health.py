"""What the health check finds, in data sets with a known illness each."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danlu.data import DataError, load_data
from danlu.errors import UsageError


def test_a_healthy_set(make_set) -> None:
    source = load_data(make_set({"a": 20, "b": 40}, size=(12, 10)))
    health = source.health.to_json()
    assert health["images"] == 60
    assert health["counts"] == {"train": {"a": 14, "b": 28}, "val": {"a": 3, "b": 6}, "test": {"a": 3, "b": 6}}
    assert health["sizes"] == {"min": [12, 10], "median": [12.0, 10.0], "max": [12, 10]}
    assert health["modes"] == {"RGB": 60}
    for key in ("unreadable", "duplicates", "conflicts", "one_image", "empty", "warnings", "errors"):
        assert health[key] == []


def test_sizes_and_modes_are_those_of_the_files(make_set) -> None:
    root = make_set({"a": 3}, size=(10, 30))
    make_set({"b": 3}, size=(20, 8), mode="L")
    rotated = Image.fromarray(np.zeros((5, 50, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated.save(root / "a" / "turned.jpg", exif=exif)
    health = load_data(root).health
    assert health.sizes == {"min": [5, 8], "median": [10, 30], "max": [20, 50]}
    assert health.modes == {"RGB": 4, "L": 3}


def test_unreadable_images_are_listed_and_left_out(make_set) -> None:
    root = make_set({"a": 30, "b": 30}, suffix=".jpg", size=(40, 40))
    cut = root / "a" / "001.jpg"
    cut.write_bytes(cut.read_bytes()[:-200])
    (root / "b" / "zero.png").write_bytes(b"")
    (root / "b" / "text.png").write_text("hello")
    source = load_data(root)
    found = {bad["name"]: bad["reason"] for bad in source.health.unreadable}
    assert set(found) == {"a/001.jpg", "b/zero.png", "b/text.png"}
    assert "truncated" in found["a/001.jpg"]
    assert found["b/zero.png"] == "empty file"
    used = [name for split in (source.train, source.val, source.test) for name in split.names]
    assert len(used) == len(set(used)) == 59
    assert not set(used) & set(found)
    assert "3 of 62 images cannot be read" in source.health.warnings[0]


@pytest.mark.parametrize("kind", ["header", "pixels"])
def test_above_five_percent_unreadable_it_stops(make_set, kind: str) -> None:
    root = make_set({"a": 50, "b": 50}, suffix=".jpg", size=(40, 40))
    for i in range(6):
        path = root / "a" / f"{i:03d}.jpg"
        path.write_bytes(b"junk" if kind == "header" else path.read_bytes()[:-200])
    for _ in range(2):  # also when the scan comes from the cache
        with pytest.raises(DataError, match=r"6 of 100 images \(6%\) cannot be read.*a/000.jpg .*and 3 more") as caught:
            load_data(root)
        assert len(caught.value.health.unreadable) == 6
    shutil.copy(root / "a" / "020.jpg", root / "a" / "000.jpg")
    assert load_data(root).health.images == 95


def test_a_truncated_image_does_not_change_the_input_at_second_use(make_set) -> None:
    root = make_set({"a": 30, "b": 30}, suffix=".jpg", size=(40, 40))
    large = root / "a" / "large.jpg"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 130, 3), dtype=np.uint8)).save(large)
    large.write_bytes(large.read_bytes()[:-500])
    first, second = load_data(root), load_data(root)
    assert first.input == second.input
    assert first.input.size == (32, 32)
    assert first.health.to_json() == second.health.to_json()
    assert first.health.sizes["max"] == [40, 40]


def test_too_large_an_image_is_named(make_set) -> None:
    root = make_set({"a": 30, "b": 30})
    Image.new("1", (10_001, 10_000)).save(root / "b" / "huge.png")
    with pytest.raises(UsageError, match=r"b/huge.png: declares 100 megapixels; at most 100 are taken, scale it down"):
        load_data(root)


def test_exact_copies_across_given_splits(make_set) -> None:
    root = make_set({"train/a": 9, "train/b": 9, "test/a": 2, "test/b": 2})
    shutil.copy(root / "train" / "a" / "003.png", root / "test" / "a" / "copy.png")
    shutil.copy(root / "test" / "b" / "001.png", root / "test" / "b" / "again.png")
    health = load_data(root).health
    (group,) = health.duplicates
    assert group["names"] == ["test/a/copy.png", "train/a/003.png"]
    assert group["splits"][0] == "test"
    assert group["splits"][1] in ("train", "val")
    assert health.repeated == 2
    assert health.conflicts == []


def test_copies_stay_in_one_made_split_and_conflicts_are_told(make_set) -> None:
    root = make_set({"a": 20, "b": 20})
    for i in range(20):
        shutil.copy(root / "a" / f"{i:03d}.png", root / "a" / f"{i:03d}-copy.png")
    shutil.copy(root / "a" / "000.png", root / "b" / "zzz.png")
    health = load_data(root).health
    assert all("b/zzz.png" in group["names"] for group in health.duplicates)
    assert health.repeated == 21
    (conflict,) = health.conflicts
    assert conflict["names"] == ["a/000-copy.png", "a/000.png", "b/zzz.png"]
    assert conflict["classes"] == ["a", "a", "b"]


def test_arrays_are_compared_by_their_pixels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (12, 5, 5), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=np.arange(12) % 2, x_test=x[:4], y_test=np.arange(4) % 2)
    health = load_data(tmp_path / "d.npz").health
    assert len(health.duplicates) == 4
    assert health.duplicates[0]["names"] == ["test/0", "train/00"]


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_class_missing_from_a_given_split_is_an_error(make_set, split: str) -> None:
    root = make_set({"train/a": 5, "train/b": 5, "train/c": 5, f"{split}/a": 2})
    message = rf"classes 'b', 'c' have no image in {split}; add some, or leave {split} away so that it is made from train"
    with pytest.raises(DataError, match=message) as caught:
        load_data(root)
    assert caught.value.health.missing[split] == ["b", "c"]


def test_a_class_missing_from_train_is_an_error(make_set) -> None:
    with pytest.raises(DataError, match=r"class 'b' has no image in train; add some$"):
        load_data(make_set({"train/a": 5, "train/c": 5, "test/a": 2, "test/b": 2, "test/c": 2}))


def test_a_table_without_train_is_an_error(make_set) -> None:
    root = make_set({"x": 4})
    (root / "t.csv").write_text("x/000.png,a,val\nx/001.png,b,val\nx/002.png,a,test\nx/003.png,b,test\n")
    with pytest.raises(DataError, match="images for val and test, but none for train"):
        load_data(root / "t.csv")


def test_one_image_classes_are_told_and_kept_in_train(make_set) -> None:
    source = load_data(make_set({"a": 10, "b": 1}))
    assert source.health.one_image == ["b"]
    assert source.health.missing == {"val": ["b"], "test": ["b"]}
    assert 1 in source.train.labels
    assert any("only one image in class 'b'" in warning for warning in source.health.warnings)


def test_too_few_images_to_split(make_set) -> None:
    with pytest.raises(DataError, match="too few images to make val"):
        load_data(make_set({"a": 2, "b": 2}))


def test_a_class_whose_images_are_all_unreadable_is_empty(make_set) -> None:
    root = make_set({"a": 30, "b": 30, "c": 1})
    (root / "c" / "000.png").write_bytes(b"junk")
    source = load_data(root)
    assert source.classes == ("a", "b")
    assert source.health.empty == ["c"]
    assert set(source.train.labels.tolist()) == {0, 1}


def test_a_constant_channel_is_told(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (30, 5, 5, 3), dtype=np.uint8)
    x[..., 1] = 70
    np.savez(tmp_path / "d.npz", images=x, labels=np.arange(30) % 2)
    source = load_data(tmp_path / "d.npz")
    assert source.input.std[1] == 1 / 255
    assert source.input.mean[1] == pytest.approx(70 / 255)
    assert any("channel 1 is constant" in warning for warning in source.health.warnings)
