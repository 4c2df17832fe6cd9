"""Checkpoints: whole or not at all, at every place where a process may die."""

import errno
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from danlu.errors import DanluError
from danlu.train.checkpoint import Checkpoints


def tensors(value: float) -> dict[str, torch.Tensor]:
    value = float(value)
    weight = torch.full((2, 3, 4, 4), value).contiguous(memory_format=torch.channels_last)
    tied = torch.full((5,), value)
    return {
        "a.weight": weight,
        "tied.1": tied,
        "tied.2": tied,
        "count": torch.tensor(7),
        "half": torch.ones(3, dtype=torch.bfloat16),
    }


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, said: list[str]) -> Checkpoints:
    return Checkpoints(tmp_path / "run" / "checkpoints", said.append)


def test_round_trip(store: Checkpoints) -> None:
    assert store.read() is None
    facts = {"step": 3, "history": [{"loss": 0.1 + 0.2}], "text": "äöü"}
    store.write(tensors(1.5), facts)
    found, read = store.read()  # type: ignore[misc]
    assert read == facts
    assert found.keys() == tensors(0).keys()
    for name, tensor in tensors(1.5).items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


def test_the_one_before_is_kept(store: Checkpoints) -> None:
    for step in range(3):
        store.write(tensors(step), {"step": step})
    assert sorted(path.name for path in store.folder.iterdir()) == ["last.safetensors", "previous.safetensors"]
    assert store.read()[1] == {"step": 2}  # type: ignore[index]
    store.last.unlink()
    assert store.read()[1] == {"step": 1}  # type: ignore[index]


def flip_byte(path: Path, where: float) -> None:
    data = bytearray(path.read_bytes())
    data[int(where * (len(data) - 1))] ^= 0x10
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("where", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_one_flipped_bit_falls_back_and_says_so(store: Checkpoints, said: list[str], where: float) -> None:
    store.write(tensors(1), {"step": 1})
    store.write(tensors(2), {"step": 2})
    flip_byte(store.last, where)
    found, facts = store.read()  # type: ignore[misc]
    assert facts == {"step": 1}
    assert float(found["a.weight"].mean()) == 1
    assert len(said) == 1
    assert "last.safetensors cannot be used" in said[0]


@pytest.mark.parametrize("size", [0, 7, 100, 500])
def test_truncated(store: Checkpoints, said: list[str], size: int) -> None:
    store.write(tensors(1), {"step": 1})
    store.write(tensors(2), {"step": 2})
    store.last.write_bytes(store.last.read_bytes()[:size])
    assert store.read()[1] == {"step": 1}  # type: ignore[index]


def test_none_whole(store: Checkpoints, said: list[str]) -> None:
    store.write(tensors(1), {"step": 1})
    flip_byte(store.last, 0.9)
    with pytest.raises(DanluError, match=r"no checkpoint in .* is whole"):
        store.read()


@pytest.mark.parametrize("survives", [0, 1])
def test_killed_between_two_renames(store: Checkpoints, monkeypatch: pytest.MonkeyPatch, survives: int) -> None:
    """Whatever rename is the last one made, a whole checkpoint is found."""
    store.write(tensors(1), {"step": 1})
    store.write(tensors(2), {"step": 2})
    real, calls = os.replace, 0

    class Killed(BaseException):
        pass

    def replace(source: str, target: str) -> None:
        nonlocal calls
        if calls == survives:
            raise Killed
        calls += 1
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Killed):
        store.write(tensors(3), {"step": 3})
    monkeypatch.undo()
    found, facts = store.read()  # type: ignore[misc]
    assert facts == {"step": 2}
    assert float(found["a.weight"].mean()) == 2


def test_a_damaged_one_never_takes_the_place_of_a_whole_one(store: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(tensors(1), {"step": 1})
    store.write(tensors(2), {"step": 2})
    flip_byte(store.last, 0.9)
    resumed = Checkpoints(store.folder, lambda text: None)
    assert resumed.read()[1] == {"step": 1}  # type: ignore[index]
    resumed.write(tensors(3), {"step": 3})
    assert store.read()[1] == {"step": 3}  # type: ignore[index]
    flip_byte(store.last, 0.9)
    assert store.read()[1] == {"step": 1}  # type: ignore[index]


def test_full_disk_leaves_the_old_one(store: Checkpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write(tensors(1), {"step": 1})

    def write(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write)
    with pytest.raises(DanluError, match="No space left on device"):
        store.write(tensors(2), {"step": 2})
    monkeypatch.undo()
    assert store.read()[1] == {"step": 1}  # type: ignore[index]
    assert [path.name for path in store.folder.iterdir()] == ["last.safetensors"]


def test_best_is_plain_safetensors(store: Checkpoints) -> None:
    store.write_best(tensors(4))
    assert torch.equal(load_file(store.best)["a.weight"], tensors(4)["a.weight"])


def test_facts_that_are_not_json_are_refused(store: Checkpoints) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.write(tensors(1), {"loss": float("nan")})
    assert store.read() is None
