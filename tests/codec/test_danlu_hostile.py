"""Damaged and hostile .danlu files: one clear error each, never a crash, a hang, memory without end or a wrong model."""

import hashlib
import io
import json
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from danlu.codec import skeleton
from danlu.codec.container import MAGIC, Container, compressed, expanded, front, read_fixed
from danlu.codec.entropy import Damaged
from danlu.codec.fields import Reader, Writer
from danlu.codec.header import MOST_HEADER_BYTES, read_header
from danlu.codec.inspect import inspect_file
from danlu.codec.pack import pack_model
from danlu.codec.unpack import unpack_model
from danlu.data.spec import Input
from danlu.encodings import Codebook, encode
from danlu.errors import DanluError, UsageError
from danlu.zoo import create

RECIPE = "lenet_300_100(width=0.03, size=4)"
CORRUPTIONS = 100_000
REPAIRED = 1000


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file with shared, sparse, dense and constant tensors."""
    net = create(RECIPE, num_classes=3, in_channels=1, seed=0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in (layer for layer in net if isinstance(layer, nn.Linear)):
            kept = torch.rand(layer.weight.shape, generator=draw) < 0.3
            indices = torch.randint(1, 5, layer.weight.shape, generator=draw) * kept
            encode(layer, "weight", Codebook.of(torch.tensor([[0, -0.3, 0.1, 0.2, 0.7]]), indices, zero=True))
        net[-1].bias.normal_(generator=draw)
    path = tmp_path_factory.mktemp("small") / "net.danlu"
    pack_model(net, path, input=Input((4, 4), 1, (0.5,), (0.5,)), classes=("a", "b", "c"))
    return path.read_bytes()


def check(data: bytes) -> None:
    """Read all of a file up to its coded data."""
    container = Container(io.BytesIO(data), len(data), "file")
    for i in range(len(container.digests)):
        container.stream(i)


def taken_apart(data: bytes) -> tuple[bytes, list[bytes]]:
    """(header, streams) of a good file."""
    flags, stored, _, at = read_fixed(data[:25], "file")
    container = Container(io.BytesIO(data), len(data), "file")
    return expanded(data[at : at + stored], flags), [container.stream(i) for i in range(len(container.digests))]


def put_together(header: bytes, streams: list[bytes]) -> bytes:
    """A file with right digests, whatever it holds."""
    return front(header, [hashlib.sha256(stream).digest() for stream in streams]) + b"".join(streams)


def corrupted(data: bytes, draw: random.Random) -> bytes:
    """One of: bits flipped, a byte changed, bytes cut out, put in, moved, or the end cut off."""
    out, at = bytearray(data), draw.randrange(len(data))
    kind = draw.randrange(6)
    if kind == 0:
        out[at] ^= 1 << draw.randrange(8)
    elif kind == 1:
        out[at] = draw.randrange(256)
    elif kind == 2:
        del out[at : at + draw.randint(1, 40)]
    elif kind == 3:
        out[at:at] = draw.randbytes(draw.randint(1, 40))
    elif kind == 4:
        to, long = draw.randrange(len(data)), draw.randint(1, 40)
        part = out[at : at + long]
        del out[at : at + long]
        out[to:to] = part
    else:
        del out[at:]
    return bytes(out)


def test_the_small_file_is_good(small: bytes, tmp_path: Path) -> None:
    check(small)
    (tmp_path / "x.danlu").write_bytes(small)
    assert unpack_model(tmp_path / "x.danlu").recipe == RECIPE
    header, streams = taken_apart(small)
    assert put_together(header, streams) == small


def test_every_corruption_is_seen(small: bytes) -> None:
    draw = random.Random(0)
    for _ in range(CORRUPTIONS):
        data = corrupted(small, draw)
        if data == small:
            continue
        try:
            check(data)
        except DanluError:
            continue
        pytest.fail(f"{data.hex()} was taken for a good file")


def test_a_file_cut_anywhere_is_damaged_and_says_how(small: bytes) -> None:
    for end in range(len(small)):
        with pytest.raises(Damaged, match=r"cut short|ends inside"):
            check(small[:end])
    with pytest.raises(Damaged, match="has 1 bytes after its end"):
        check(small + b"\0")


def test_corruptions_with_right_digests_end_in_one_error_or_a_net(small: bytes, tmp_path: Path) -> None:
    """Whoever writes a hostile file can compute a SHA-256: the parsers and decoders are on their own."""
    header, streams = taken_apart(small)
    draw, path, made = random.Random(1), tmp_path / "x.danlu", 0
    said: list[int] = []
    for i in range(REPAIRED):
        if i % 2:
            data = put_together(corrupted(header, draw), streams)
        else:
            data = put_together(header, [corrupted(streams[0], draw)[: len(streams[0])].ljust(len(streams[0]), b"\7")])
        path.write_bytes(data)
        try:
            net = unpack_model(path).model
        except DanluError as error:
            said.append(len(str(error)))
            continue
        made += 1
        assert sum(tensor.numel() for tensor in net.state_dict().values()) < 10_000
    assert made < REPAIRED / 2
    assert 10 < min(said) <= max(said) < 1500


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        (b"", Damaged, "cut short"),
        (b"DAN", Damaged, "cut short"),
        (b"PK\3\4 a zip file", UsageError, "is not a .danlu file"),
        (MAGIC + b"\2\0" + bytes(100), UsageError, "version 2 of the .danlu format; this danlu reads version 1"),
        (MAGIC + b"\1\xfe" + bytes(100), Damaged, "flags 254"),
        (MAGIC + b"\1\0" + b"\xff" * 100, Damaged, "more than 9 bytes"),
        (MAGIC + b"\1\0" + b"\xff\xff\xff\x7f" + bytes(100), Damaged, "at most 16000000"),
    ],
)
def test_what_is_no_danlu_file(data: bytes, kind: type[DanluError], words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.danlu"
    path.write_bytes(data)
    for read in (unpack_model, inspect_file):
        with pytest.raises(kind, match=words):
            read(path)


def test_what_is_no_file_at_all(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        unpack_model(tmp_path / "nothing.danlu")
    with pytest.raises(UsageError, match="is not a file"):
        unpack_model(tmp_path)
    os.mkfifo(tmp_path / "pipe.danlu")
    with pytest.raises(UsageError, match="is not a file"):
        unpack_model(tmp_path / "pipe.danlu")


def test_streams_in_another_order_are_damaged(tmp_path: Path) -> None:
    net = create("lenet5_caffe", num_classes=10, in_channels=1, seed=0)
    packed = pack_model(net, tmp_path / "x.danlu", input=Input((28, 28), 1, (0.0,), (1.0,)), classes=tuple("abcdefghij"))
    assert packed.streams > 1
    data = (tmp_path / "x.danlu").read_bytes()
    header, streams = taken_apart(data)
    start = len(data) - sum(map(len, streams))
    (tmp_path / "x.danlu").write_bytes(data[:start] + b"".join(reversed(streams)))
    with pytest.raises(Damaged, match="does not match its SHA-256"):
        unpack_model(tmp_path / "x.danlu")
    (tmp_path / "x.danlu").write_bytes(put_together(header, streams[::-1]))
    with pytest.raises(DanluError):
        unpack_model(tmp_path / "x.danlu")


def test_a_header_that_decompresses_without_end_is_stopped() -> None:
    flags, data = compressed(bytes(MOST_HEADER_BYTES + 10))
    assert len(data) < 20_000
    with pytest.raises(Damaged, match="over 16000000 bytes"):
        expanded(data, flags)
    flags, data = compressed(b"a" * 1000)
    with pytest.raises(Damaged, match="does not end where it should"):
        expanded(data + b"x", flags)
    with pytest.raises(Damaged, match="does not end where it should"):
        expanded(data[:-1], flags)


def rewritten(small: bytes, change: Callable[[dict], None], tmp_path: Path) -> Path:
    """The file with another description."""
    header, streams = taken_apart(small)
    reader = Reader(header, "header")
    about = json.loads(reader.text("about"))
    change(about)
    out = Writer()
    out.text(json.dumps(about))
    (tmp_path / "x.danlu").write_bytes(put_together(bytes(out.data) + header[reader.at :], streams))
    return tmp_path / "x.danlu"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"recipe": "lenet_300_100(width=16.0, size=1024)"}, "over 65536 tensors or 2147483648 weights"),
        ({"recipe": "resnet20(width=16.0)"}, "another net"),
        ({"recipe": "lenet_300_100(width=1000000.0)"}, "at most 16"),
        ({"recipe": "os:system"}, "trust"),
        ({"recipe": "lenet_300"}, "lenet_300_100"),
        ({"recipe": 7}, "wrong kind"),
        ({"recipe": None}, "wrong kind"),
        ({"classes": []}, "wrong kind"),
        ({"classes": [1, 2, 3]}, "wrong kind"),
        ({"input": {}}, "KeyError"),
        ({"input": {"size": [4, 4], "channels": 10**30, "mean": [], "std": [], "resize": "stretch"}}, "mean and std need"),
        ({"input": {"size": [4, 0], "channels": 1, "mean": [0], "std": [1], "resize": "stretch"}}, "wrong kind"),
        ({"layers": {"1": {"type": "Linear", "args": {"in_features": 10**9, "out_features": 10**9}}}}, "over|built"),
        ({"layers": {"1": {"type": "system"}}}, "type of layer"),
        ({"layers": 5}, "mapping"),
    ],
)  # fmt: skip
def test_a_description_that_asks_for_too_much_or_makes_no_sense(small: bytes, change: dict, words: str, tmp_path: Path) -> None:
    path = rewritten(small, lambda about: about.update(change), tmp_path)
    with pytest.raises(DanluError, match=words):
        unpack_model(path)


def test_a_net_of_any_depth_is_stopped_while_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bytes) -> None:
    built = []

    def endless() -> nn.Module:
        net = nn.Sequential()
        while True:
            net.append(nn.Linear(1, 1))
            built.append(1)

    monkeypatch.setattr(skeleton, "MOST_TENSORS", 500)
    monkeypatch.setattr(sys.modules["danlu.zoo.create"], "_build", lambda base, counts: endless())
    path = rewritten(small, lambda about: None, tmp_path)
    with pytest.raises(Damaged, match="over 500 tensors"):
        unpack_model(path)
    assert len(built) < 500


def test_a_small_file_cannot_declare_a_large_net_of_its_own(small: bytes, tmp_path: Path) -> None:
    """Shapes come with the file, since channels may have been pruned; they cannot grow far beyond the recipe's."""
    plan = Writer()
    plan.text(json.dumps({"recipe": RECIPE, "classes": ["a", "b", "c"],
                          "input": {"size": [4, 4], "channels": 1, "mean": [0], "std": [1], "resize": "stretch"}}))  # fmt: skip
    plan.number(0)  # tables
    names = ["1.weight", "1.bias", "3.weight", "3.bias", "5.weight", "5.bias"]
    plan.number(len(names))
    plan.text("\n".join(names))
    wide = 30_000
    for shape in ((wide, 16), (wide,), (wide, wide), (wide,), (3, wide), (3,)):
        plan.number(len(shape))
        for side in shape:
            plan.number(side)
        plan.number(1)  # constant
        plan.float32(0.5)
    (tmp_path / "x.danlu").write_bytes(put_together(bytes(plan.data), []))
    with pytest.raises(Damaged, match="the net of its recipe has at most"):
        unpack_model(tmp_path / "x.danlu")


def test_numbers_of_the_header_have_limits(small: bytes) -> None:
    """Every varint of the header, replaced by a huge one: refused by the header alone, before anything is decoded."""
    header, streams = taken_apart(small)
    start = len(Writer().data) + Reader(header, "h").number("length", 10**6) + (2 if header[0] >= 128 else 1)
    huge = b"\xff" * 8 + b"\x7f"
    for at in range(start, len(header)):
        if header[at] < 128:
            with pytest.raises(Damaged):
                read_header(header[:at] + huge + header[at + 1 :], len(streams))


def test_float_bytes_of_the_small_file_are_what_was_packed(small: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.danlu").write_bytes(small)
    weight = unpack_model(tmp_path / "x.danlu").model[1].weight.detach().numpy()
    assert set(np.unique(weight)) <= {np.float32(np.float16(x)) for x in (0, -0.3, 0.1, 0.2, 0.7)}
