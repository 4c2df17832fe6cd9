"""Small data sets made on the spot, and a cache of their own for every test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Maker = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of this test; nothing is left in the user's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("DANLU_CACHE", str(folder))
    monkeypatch.delenv("DANLU_STREAM_ABOVE", raising=False)
    return folder


@pytest.fixture
def make_set(tmp_path: Path) -> Maker:
    """make_set({"cat": 5, "train/dog": 3}, size=(20, 16), suffix=".png") -> the folder; every image is different noise."""

    def make(
        counts: dict[str, int], *, size: tuple[int, int] = (12, 10), mode: str = "RGB", suffix: str = ".png", name: str = "photos"
    ) -> Path:
        rng = np.random.default_rng(0)
        root = tmp_path / name
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for i in range(count):
                shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(root / folder / f"{i:03d}{suffix}")
        return root

    return make
