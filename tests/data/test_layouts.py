"""Every layout gives the same answers: classes, splits and labels; and what is not understood says so."""

import csv
import gzip
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from danlu.data import load_data
from danlu.data.layout import Listing, class_order, tree
from danlu.data.sources import open_reader
from danlu.errors import UsageError


def listing(where: object) -> Listing:
    return open_reader(where).listing()  # type: ignore[arg-type]


def rows(found: Listing) -> list[tuple[str, str, int]]:
    return [(n, found.classes[i], s) for n, i, s in zip(found.names, found.labels.tolist(), found.splits.tolist(), strict=True)]


def test_flat_folder(make_set) -> None:
    found = listing(make_set({"dog": 2, "cat": 1}))
    assert found.classes == ("cat", "dog")
    assert rows(found) == [("cat/000.png", "cat", -1), ("dog/000.png", "dog", -1), ("dog/001.png", "dog", -1)]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folder(make_set, val: str) -> None:
    found = listing(make_set({"train/a": 2, "train/b": 1, f"{val}/a": 1, f"{val}/b": 1, "test/a": 1, "test/b": 1}))
    assert found.classes == ("a", "b")
    assert sorted(found.splits.tolist()) == [0, 0, 0, 1, 1, 2, 2]


def test_number_names_sort_by_value_others_as_text(make_set) -> None:
    assert listing(make_set({"10": 1, "9": 1, "2": 1})).classes == ("2", "9", "10")
    assert class_order(["s10", "s2"]) == ("s10", "s2")


def test_wrapping_folders_are_stripped_and_deeper_ones_belong_to_their_class(make_set) -> None:
    found = listing(make_set({"data/set/cat/indoor": 1, "data/set/cat": 1, "data/set/dog": 1}))
    assert found.names == ["cat/000.png", "cat/indoor/000.png", "dog/000.png"]
    assert found.classes == ("cat", "dog")


def test_one_class_stays_one_class(make_set) -> None:
    with pytest.raises(UsageError, match="two classes with images are needed, found only 'cat'"):
        load_data(make_set({"cat": 4}))


def test_hidden_files_are_skipped_and_others_counted(make_set) -> None:
    root = make_set({"a": 1, "b": 1, ".git": 1})
    (root / "a" / "._000.png").write_bytes(b"resource fork")
    (root / "a" / "Thumbs.db").write_bytes(b"x")
    (root / "a" / "notes.txt").write_text("x")
    found = listing(root)
    assert len(found.names) == 2
    assert found.ignored == 1


def test_empty_class_folder_is_seen(make_set) -> None:
    root = make_set({"a": 4, "b": 4})
    (root / "c").mkdir()
    source = load_data(root)
    assert source.classes == ("a", "b")
    assert source.health.empty == ["c"]


def test_links_to_folders_are_followed_and_loops_end(make_set, tmp_path: Path) -> None:
    root = make_set({"a": 1})
    other = make_set({"x": 2}, name="elsewhere")
    os.symlink(other / "x", root / "b")
    os.symlink(root, root / "loop")
    found = listing(root)
    assert sorted(found.names) == ["a/000.png", "b/000.png", "b/001.png"]


def test_pipes_are_not_opened(make_set) -> None:
    root = make_set({"a": 1, "b": 1})
    os.mkfifo(root / "a" / "pipe.png")
    assert len(listing(root).names) == 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no images found"),
        ({"": 2}, "the images lie in no class folder"),
        ({"train": 2, "test": 2}, "images lie directly in test, train"),
        ({"val/a": 1, "val/b": 1, "test/a": 1}, "test, val found, but no train"),
        ({"train/a": 1, "train/b": 1, "extra/a": 1}, "beside train there are images in extra"),
        ({"train/a": 1, "val/a": 1, "valid/a": 1}, "two folders for one split"),
        ({"a/train": 1, "b/train": 1}, "splits lie inside class folders"),
    ],
)
def test_unknown_layouts_show_the_tree_and_what_is_accepted(make_set, tmp_path: Path, counts: dict, message: str) -> None:
    (tmp_path / "photos").mkdir()
    make_set(counts)
    with pytest.raises(UsageError, match=message) as caught:
        listing(tmp_path / "photos")
    text = str(caught.value)
    assert "photos" in text
    assert "found:" in text
    assert "CLASS/*.jpg" in text
    if counts:
        assert f"{sorted(counts)[0]}/" in text


def test_a_folder_named_train_may_be_a_class(make_set) -> None:
    assert listing(make_set({"train": 1, "car": 1, "bus": 1})).classes == ("bus", "car", "train")


def test_tree_is_bounded() -> None:
    text = tree([f"folder{i:04d}/x.txt" for i in range(500)])
    assert text.count("\n") <= 22
    assert "480 more folders" in text


def test_nothing_there() -> None:
    with pytest.raises(UsageError, match="no such file or folder; built in: digits"):
        load_data("no_such_place")


def test_single_image_names_the_way_out(make_set) -> None:
    with pytest.raises(UsageError, match="one image; give the folder"):
        load_data(make_set({"a": 1}) / "a" / "000.png")


# --- CSV


def table(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_csv_with_and_without_header(make_set) -> None:
    root = make_set({"x": 3})
    plain = ["x/000.png,b", "x/001.png,a", "x/002.png,a"]
    expected = [("x/000.png", "b", -1), ("x/001.png", "a", -1), ("x/002.png", "a", -1)]
    assert rows(listing(table(root / "1.csv", *plain))) == expected
    assert rows(listing(table(root / "2.csv", "path,label", *plain))) == expected
    turned = [",".join(reversed(line.split(","))) for line in plain]
    assert rows(listing(table(root / "3.csv", "Class;File", *(line.replace(",", ";") for line in turned)))) == expected


def test_csv_with_splits_and_quotes(make_set) -> None:
    root = make_set({"x": 3})
    os.rename(root / "x" / "000.png", root / "x" / "a, b.png")
    with open(root / "t.csv", "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["x/a, b.png", "ä", "train"], ["x/001.png", "b", "validation"], ["x/002.png", "b", "test"]])
    assert rows(listing(root / "t.csv")) == [("x/001.png", "b", 1), ("x/002.png", "b", 2), ("x/a, b.png", "ä", 0)]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no images found"),
        (["path,label"], "no images found"),
        (["a.png,cat", "b.png,"], "line 2: empty label"),
        (["a.png,cat", "b.png"], "line 2: 1 cells"),
        (["a.png,cat,train", "b.png,cat,tset"], "line 2: unknown split 'tset'; did you mean test"),
        (["a.png,cat", "a.png,dog"], "line 2: a.png is listed twice"),
        (["id,breed", "a.png,cat"], "unknown columns id, breed"),
        (["number,label", "1,cat"], "one for label, got the header label"),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        listing(table(tmp_path / "t.csv", *lines))


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UsageError, match="UTF-8"):
        listing(tmp_path / "t.csv")


def test_csv_file_that_is_missing_counts_as_unreadable(make_set) -> None:
    root = make_set({"x": 40})
    lines = [f"x/{i:03d}.png,{'ab'[i % 2]}" for i in range(40)]
    source = load_data(table(root / "t.csv", *lines, "x/gone.png,a"))
    assert source.health.unreadable == [{"name": "x/gone.png", "reason": "no such file"}]
    assert len(source.train) + len(source.val) + len(source.test) == 40


# --- IDX


def idx(path: Path, array: np.ndarray) -> None:
    data = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


@pytest.fixture
def mnist_like(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    folder = tmp_path / "tiny_mnist"
    folder.mkdir()
    for part, n, gz in (("train", 40, ".gz"), ("t10k", 12, "")):
        idx(folder / f"{part}-images-idx3-ubyte{gz}", rng.integers(0, 256, (n, 7, 5), dtype=np.uint8))
        idx(folder / f"{part}-labels-idx1-ubyte{gz}", np.arange(n, dtype=np.uint8) % 3)
    return folder


def test_idx(mnist_like: Path) -> None:
    source = load_data(mnist_like)
    assert source.classes == ("0", "1", "2")
    assert source.input.shape == (1, 7, 5)
    assert len(source.test) == 12
    assert len(source.train) + len(source.val) == 40
    with open(mnist_like / "t10k-images-idx3-ubyte", "rb") as file:
        raw = np.frombuffer(file.read()[16:], np.uint8).reshape(12, 7, 5)
    assert np.array_equal(source.test.images(range(12)).numpy()[:, 0], raw)
    assert source.test.labels.tolist() == [i % 3 for i in range(12)]
    assert source.test.names[3] == "test/03"


def test_idx_errors(mnist_like: Path) -> None:
    images = mnist_like / "t10k-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1])
    with pytest.raises(UsageError, match="declares 420 bytes, holds 419"):
        load_data(mnist_like)
    images.write_bytes(whole + b"x")
    with pytest.raises(UsageError, match="holds more"):
        load_data(mnist_like)
    images.write_bytes(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2**31, 2**31, 2**31))
    with pytest.raises(UsageError, match="truncated"):
        load_data(mnist_like)
    images.write_bytes(b"\0\0\x0d\3" + whole[4:])
    with pytest.raises(UsageError, match="not an IDX file"):
        load_data(mnist_like)
    images.write_bytes(whole)
    packed = mnist_like / "train-images-idx3-ubyte.gz"
    packed.write_bytes(packed.read_bytes()[:-20])
    with pytest.raises(UsageError, match=r"train-images-idx3-ubyte.gz"):
        load_data(mnist_like)
    (mnist_like / "train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UsageError, match=r"its labels .* are missing"):
        load_data(mnist_like)


def test_idx_with_as_many_labels_as_images(mnist_like: Path) -> None:
    idx(mnist_like / "t10k-labels-idx1-ubyte", np.zeros(11, np.uint8))
    with pytest.raises(UsageError, match="12 images but 11 labels"):
        load_data(mnist_like)


# --- npz


def arrays(n: int = 30, *shape: int) -> tuple[np.ndarray, np.ndarray]:
    return np.random.default_rng(n).integers(0, 256, (n, *(shape or (6, 6))), dtype=np.uint8), np.arange(n) % 3


def test_npz_with_splits_and_classes(tmp_path: Path) -> None:
    (a, ya), (b, yb), (c, yc) = arrays(30, 6, 6, 3), arrays(9, 6, 6, 3), arrays(12, 6, 6, 3)
    np.savez(tmp_path / "d.npz", x_train=a, y_train=ya[:, None], x_val=b, y_val=yb, x_test=c, y_test=yc, classes=["z", "y", "x"])
    source = load_data(tmp_path / "d.npz")
    assert source.classes == ("z", "y", "x")  # the order that the numbers refer to
    assert [len(s) for s in (source.train, source.val, source.test)] == [30, 9, 12]
    assert np.array_equal(source.train.take(range(30)).numpy(), a)
    assert np.array_equal(source.train.labels, ya)


def test_npz_without_splits_and_text_labels(tmp_path: Path) -> None:
    x, y = arrays(30)
    np.savez(tmp_path / "d.npz", images=x, labels=np.array(["red", "green", "blue"])[y])
    source = load_data(tmp_path / "d.npz")
    assert source.classes == ("blue", "green", "red")
    assert source.input.shape == (1, 6, 6)


def test_npz_ranges_are_decided_for_all_splits_together(tmp_path: Path) -> None:
    dark, bright = np.zeros((30, 4, 4), np.float32), np.zeros((30, 4, 4), np.float32)
    dark[:, 0, 0], bright[:, 0, 0] = 1.0, 255.0
    dark += np.arange(30)[:, None, None] / 1000
    np.savez(tmp_path / "d.npz", x_train=bright, y_train=np.arange(30) % 3, x_test=dark, y_test=np.arange(30) % 3)
    assert load_data(tmp_path / "d.npz").test.images([0])[0, 0, 0, 0] == 1
    deep = np.full((30, 4, 4), 257 * 7, np.uint16)
    wide = np.full((30, 4, 4), 7, np.int64)
    for values in (deep, wide):
        np.savez(tmp_path / "e.npz", images=values, labels=np.arange(30) % 3)
        assert load_data(tmp_path / "e.npz").train.images([0]).unique().tolist() == [7]


def test_npz_alpha_goes_on_white(tmp_path: Path) -> None:
    x = np.zeros((30, 4, 4, 4), np.uint8)
    x[..., 3] = 51
    np.savez(tmp_path / "d.npz", images=x, labels=np.arange(30) % 3)
    assert load_data(tmp_path / "d.npz").train.images([0]).unique().tolist() == [204]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": np.zeros(3)}, "unknown layout, .*arrays"),
        ({"images": np.zeros((4, 3, 8, 8)), "labels": np.arange(4)}, r"transpose\(0, 2, 3, 1\)"),
        ({"images": np.zeros((4, 8, 8)), "labels": np.arange(3)}, "4 images but 3 labels"),
        ({"images": np.zeros((4, 8, 8)), "labels": np.zeros((4, 10))}, "one class number or name per image"),
        ({"images": np.full((4, 8, 8), np.nan), "labels": np.arange(4)}, "NaN"),
        ({"images": np.zeros((4, 8, 8)), "labels": np.arange(4), "classes": ["a", "b"]}, "0..3, but classes has 2"),
        ({"images": np.zeros((0, 8, 8)), "labels": np.arange(0)}, "no images found"),
        ({"images": np.array([["x"]], dtype=object), "labels": np.arange(1)}, "pickled objects"),
    ],
)
def test_npz_errors(tmp_path: Path, content: dict, message: str) -> None:
    np.savez(tmp_path / "d.npz", **content)
    with pytest.raises(UsageError, match=message):
        load_data(tmp_path / "d.npz")


def test_npz_that_is_damaged(tmp_path: Path) -> None:
    x, y = arrays(30, 20, 20)
    np.savez(tmp_path / "d.npz", images=x, labels=y)
    data = bytearray((tmp_path / "d.npz").read_bytes())
    data[500] ^= 255
    (tmp_path / "d.npz").write_bytes(data)
    with pytest.raises(UsageError, match="damaged"):
        load_data(tmp_path / "d.npz")
    (tmp_path / "d.npz").write_bytes(data[:1000])
    with pytest.raises(UsageError, match="damaged"):
        load_data(tmp_path / "d.npz")


# --- digits


def test_digits_are_the_uci_test_set() -> None:
    source = load_data("digits")
    splits = (source.train, source.val, source.test)
    assert sum(len(split) for split in splits) == 1797
    labels = np.concatenate([split.labels for split in splits])
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # UCI, optdigits.names, test set
    assert source.input.shape == (1, 8, 8)
    assert source.classes == tuple("0123456789")
    assert not source.flip
    everything = np.concatenate([split.take(range(len(split))).numpy() for split in splits])
    assert set(np.unique(everything)) == {round(v * 255 / 16) for v in range(17)}


def test_a_folder_called_digits_is_reached_by_its_path(make_set, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    make_set({"a": 4, "b": 4}, name="digits")
    monkeypatch.chdir(tmp_path)
    assert len(load_data("digits").classes) == 10
    assert load_data("./digits").classes == load_data(Path("digits")).classes == ("a", "b")


def test_user_files_are_not_touched(make_set) -> None:
    root = make_set({"a": 4, "b": 4})
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*.png")}
    load_data(root)
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in root.rglob("*.png")} == before
    assert sorted(p.name for p in root.iterdir()) == ["a", "b"]
