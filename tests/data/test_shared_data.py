"""Real data sets, where the folder `shared` lies beside the checkout."""

import zipfile
from pathlib import Path

import numpy as np
import pytest

from danlu.data import load_data
from danlu.data.sources import open_reader
from danlu.errors import UsageError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"shared/data/{name} is not beside the checkout")
    return path


def test_mnist_has_its_published_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_data(shared("mnist"))
    assert [len(source.train) + len(source.val), len(source.test)] == [60_000, 10_000]
    assert source.input.shape == (1, 28, 28)
    assert source.input.mean[0] == pytest.approx(0.1307, abs=5e-4)  # of all 60,000, as everyone quotes it
    assert source.input.std[0] == pytest.approx(0.3081, abs=5e-4)
    assert np.bincount(source.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def test_faces() -> None:
    source = load_data(shared("orl_faces.zip"))
    assert len(source.classes) == 40
    assert source.health.sizes["max"] == source.health.sizes["min"] == [92, 112]
    assert source.input.shape == (1, 64, 64)
    for split, each in ((source.train, 6), (source.val, 2), (source.test, 2)):
        assert np.bincount(split.labels).tolist() == [each] * 40


def test_cifar_is_listed_and_a_part_of_it_has_the_published_mean(tmp_path: Path) -> None:
    path = shared("cifar10.zip")
    listing = open_reader(path).listing()
    assert len(listing.names) == 60_000
    assert np.bincount(listing.splits).tolist() == [50_000, 0, 10_000]
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(tmp_path / "part.zip", "w") as part:
        for name in listing.names[::60]:
            part.writestr(name, archive.read(name))
    source = load_data(tmp_path / "part.zip")
    assert source.input.shape == (3, 32, 32)
    assert source.flip
    assert source.input.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.02)
    assert source.input.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.02)


def test_segmentation_masks_are_no_class() -> None:
    with pytest.raises(UsageError, match="splits lie inside class folders"):
        load_data(shared("camvid.zip"))
