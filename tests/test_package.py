"""The public surface: at most 15 names, none of them a folder, and no torch until something is used."""

import subprocess
import sys
from pathlib import Path

import pytest

import danlu


def test_at_most_fifteen_names_all_of_which_exist() -> None:
    assert len(danlu.__all__) <= 15
    for name in danlu.__all__:
        assert callable(getattr(danlu, name))


def test_no_name_is_a_folder() -> None:
    folders = {p.name for p in Path(danlu.__file__).parent.iterdir() if p.is_dir()}
    assert not folders & set(danlu.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = danlu.nothing


@pytest.mark.parametrize("code", ["import danlu", "from danlu.cli.main import app, register; register()"])
def test_importing_does_not_load_torch(code: str) -> None:
    check = f"{code}; import sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
