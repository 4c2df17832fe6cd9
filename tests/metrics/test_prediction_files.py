"""Predictions from files: what is read, what is refused, and that words and numbers mean the same."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from danlu.errors import UsageError
from danlu.metrics import accuracy, files, mean_ap, tables, tar
from danlu.metrics.files import load, read_arrays
from danlu.metrics.tables import Table

Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def text(name: str, content: str) -> str:
        (tmp_path / name).write_text(content, encoding="utf-8")
        return str(tmp_path / name)

    return text


def test_arrays_come_back_as_they_were(tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    for dtype in ("<f8", ">f4", "uint8", "int16", "bool"):
        array = (10 * draws.random((4, 3))).astype(dtype)
        np.save(tmp_path / "a.npy", array)
        np.savez_compressed(tmp_path / "one.npz", only=array)
        np.savez(tmp_path / "two.npz", scores=array, other=array[0])
        for where in ("a.npy", "one.npz", "two.npz:scores"):
            assert np.array_equal(load(str(tmp_path / where)), array)
    np.save(tmp_path / "odd:name.npy", array)
    assert np.array_equal(load(str(tmp_path / "odd:name.npy")), array)


def test_arrays_of_any_number_type_are_judged_alike() -> None:
    truth = np.array([0, 1, 2, 1])
    scores = np.eye(3)[[0, 1, 1, 1]]
    for kind in ("uint8", "uint16", "uint32", "uint64", ">i4", ">i8"):
        assert accuracy(scores, truth.astype(kind)) == 0.75
    for kind in (">f8", ">f4", "float16", np.longdouble):
        assert accuracy(scores.astype(kind), truth) == 0.75
    with pytest.raises(UsageError, match="at most"):
        accuracy(scores, np.array([0, 1, 2, 2**64 - 1], np.uint64))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("header", ["", "yes,no,maybe\n"])
def test_a_table_of_numbers(write: Write, delimiter: str, header: str) -> None:
    path = write("t.csv", "\ufeff" + (header + "1,-2.5,3e-2\n\n4,5.,.5\n").replace(",", delimiter))
    table = load(path)
    assert isinstance(table, Table)
    assert table.names == (("yes", "no", "maybe") if header else ())
    assert table.numbers().tolist() == [[1, -2.5, 0.03], [4, 5, 0.5]]
    if header:
        assert load(f"{path}:no").numbers().tolist() == [-2.5, 5]


def test_a_table_in_pieces_is_the_table_in_one(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write("t.csv", "image,score\n" + "".join(f"00{i},{i / 7!r}\n" for i in range(9)) + "x,1\n")
    whole = tables.read_table(Path(path))
    assert whole.columns[0] == [f"00{i}" for i in range(9)] + ["x"]
    monkeypatch.setattr(tables, "ROWS", 4)
    pieces = tables.read_table(Path(path))
    assert pieces.columns[0] == whole.columns[0]  # the first pieces hold numbers only, and still no zero is lost
    assert np.array_equal(pieces.number(1), whole.number(1))
    assert whole.number(1).tolist() == [i / 7 for i in range(9)] + [1]


def test_classes_by_words_and_by_numbers(write: Write) -> None:
    answers, targets = write("a.csv", "class\ncat\ndog\ndog\n"), write("t.csv", "truth\ncat\ndog\nbird\n")
    assert accuracy(*read_arrays("classify", [answers, targets])) == pytest.approx(2 / 3)
    scores = write("s.csv", "dog,cat,bird\n0.1,0.8,0.1\n0.6,0.2,0.2\n0.5,0.4,0.1\n")
    found = read_arrays("classify", [scores, targets])
    assert found[1].tolist() == [1, 0, 2]
    assert accuracy(*found) == pytest.approx(2 / 3)
    numbers = write("n.csv", "1\n0\n2\n")
    assert accuracy(*read_arrays("classify", [scores, numbers])) == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match=r"'bird'.*did you mean birds"):
        read_arrays("classify", [write("s.csv", "dog,cat,birds\n1,2,3\n"), targets])
    with pytest.raises(UsageError, match="needs a header"):
        read_arrays("classify", [write("s.csv", "1,2,3\n"), targets])
    with pytest.raises(UsageError, match="whole numbers"):
        accuracy(*read_arrays("classify", [scores, write("h.csv", "1\n0.5\n2\n")]))


def test_yes_and_no_by_words(write: Write) -> None:
    table = write("p.csv", ",score,same\n0,0.9,True\n1,0.3,False\n2,0.2,true\n")
    found = read_arrays("verify", [f"{table}:score", f"{table}:same"])
    assert found[1].tolist() == [True, False, True]
    assert tar(*found) == 0.5
    with pytest.raises(UsageError, match="got 'yes'"):
        read_arrays("verify", [f"{table}:score", write("y.csv", "same\nyes\nfalse\ntrue\n")])


def test_boxes_in_any_order_and_by_words(write: Write) -> None:
    found = [[0, 1, 0.9, 10, 10, 50, 60], [0, 0, 0.8, 1, 1, 9, 9], [1, 1, 0.7, 5, 5, 20, 20]]
    truths = [[0, 1, 12, 10, 50, 58], [1, 1, 6, 5, 20, 22], [1, 0, 1, 1, 9, 9]]
    expected = mean_ap(found, truths)
    assert 0 < expected < 1
    line = "{0[0]:g},{0[1]:g}," + ",".join(f"{{0[{i}]}}" for i in range(2, 7)) + "\n"
    plain = write("d.csv", "".join(line.format(row) for row in found))
    short = write("t.csv", "".join(",".join(map(str, row)) + "\n" for row in truths))
    assert mean_ap(*read_arrays("detect", [plain, short])) == expected
    images, classes = ("b.jpg", "a.jpg"), ("cat", "dog")
    named = write("n.csv", "score,class,image,x1,y1,x2,y2\n" + "".join(
        f"{row[2]},{classes[row[1]]},{images[row[0]]},{','.join(map(str, row[3:]))}\n" for row in found))  # fmt: skip
    truth = write("m.csv", "".join(f"{images[row[0]]},{classes[row[1]]},{','.join(map(str, row[2:]))}\n" for row in truths))
    assert mean_ap(*read_arrays("detect", [named, truth])) == expected
    nothing = write("e.csv", "image,class,score,x1,y1,x2,y2\n")
    assert mean_ap(*read_arrays("detect", [nothing, truth])) == 0
    with pytest.raises(UsageError, match="holds words in one"):
        read_arrays("detect", [plain, truth])
    with pytest.raises(UsageError, match="no column score"):
        read_arrays("detect", [write("x.csv", "image,class,x1,y1,x2,y2\na,b,1,2,3,4\n"), truth])
    with pytest.raises(UsageError, match="got 6 columns"):
        read_arrays("detect", [short, short])


def test_damage_is_refused(tmp_path: Path, write: Write) -> None:
    def refused(where: str, match: str) -> None:
        with pytest.raises(UsageError, match=match):
            load(str(tmp_path / where))

    np.save(tmp_path / "a.npy", np.arange(100.0))
    whole = (tmp_path / "a.npy").read_bytes()
    (tmp_path / "short.npy").write_bytes(whole[:-8])
    refused("short.npy", "declares 800 bytes, holds 792")
    (tmp_path / "huge.npy").write_bytes(whole.replace(b"(100,)", b"(10**9,)") if b"(100,)" in whole else b"")
    refused("huge.npy", "damaged")
    (tmp_path / "none.npy").write_bytes(b"")
    refused("none.npy", "damaged")
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    refused("pickle.npy", "pickled objects")
    np.savez(tmp_path / "pickle.npz", a=np.array([{}], object))
    refused("pickle.npz", "pickled objects")
    (tmp_path / "no.npz").write_bytes(b"PK nothing")
    refused("no.npz", "damaged")
    np.savez(tmp_path / "two.npz", scores=np.zeros(2), same=np.ones(2))
    refused("two.npz", "holds the arrays same, scores; pick one")
    refused("two.npz:score", "did you mean scores")
    refused("a.npy:x", "holds one array")
    refused("gone.npy", "no such file")
    refused(".", "a folder")
    write("a.txt", "1")
    refused("a.txt", r"\.txt")
    for name, text, match in (
        ("empty.csv", "\n\n", "is empty"), ("ragged.csv", "1,2\n3\n", "a row of 1 cells"), ("twice.csv", "a,a\n1,2\n", "twice"),
        ("header.csv", "cat\ndog\ncat\n", "add a header line"), ("quote.csv", '1,"2\n', "damaged"),
        ("bytes.csv", "1\n\udcff\n", "damaged"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        refused(name, match)
    write("a.csv", "score,same\n1,0\nhalf,1\n")
    refused("a.csv:scor", "did you mean score")
    with pytest.raises(UsageError, match="'half' is not a number, in column score, row 2"):
        read_arrays("verify", [str(tmp_path / "a.csv:score"), str(tmp_path / "a.csv:same")])


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write) -> None:
    monkeypatch.setattr(files, "physical_memory", lambda: 1000)
    np.save(tmp_path / "a.npy", np.zeros(100))
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(100))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", buffer.getvalue())
    write("a.csv", "1\n" * 100)
    for name in ("a.npy", "a.npz", "a.csv"):
        with pytest.raises(UsageError, match="half of this machine's memory"):
            load(str(tmp_path / name))
