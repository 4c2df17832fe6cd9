"""docs/format.md against the code, and a reader written from that page alone.

When the description of a coder changes in its file, `python tests/codec/test_danlu_format.py` copies it into the page.
"""

import ast
import hashlib
import importlib
import json
import math
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch

from danlu.codec import coders, numbers, plan
from danlu.codec.container import MAGIC, VERSION
from danlu.codec.entropy.plain import encode_packed
from danlu.codec.fields import Writer
from danlu.codec.header import PIECES, PLANS, TABLES, Header, Piece, Plan, Table, write_header
from danlu.codec.pack import pack_model
from danlu.codec.unpack import unpack_model
from danlu.codec.words import WORDS
from danlu.data.spec import Input
from danlu.zoo import create

PAGE = Path(__file__).parents[2] / "docs" / "format.md"
CODER_FILES = ("plain", "ranges", "adaptive", "huffman", "static", "gaps", "blocks", "context", "logistic")
DUMP = re.compile(r"^    ([0-9a-f]{4})  ((?:[0-9a-f]{2} ?)+)", re.M)


def coder_texts() -> str:
    """The end of the page: what the coders' files say of their bytes."""
    parts = []
    for name in CODER_FILES:
        text = importlib.import_module(f"danlu.codec.entropy.{name}").__doc__
        parts.append(f"### {name}\n```text\n{text.strip()}\n```\n")
    return "\n".join(parts)


def example() -> bytes:
    """The file of the page: a table of two values and one evenly spaced one, two tensors that share a piece."""
    half = np.array([-0.5, 0.5, 1, -1, 2, -2, 0.25, -0.25, 3, -3], "<f2").tobytes()
    symbols = encode_packed(np.arange(80) % 3, 4)
    about = {"recipe": "lenet_300_100(width=0.01, size=1)", "classes": ["no", "yes"],
             "input": {"size": [1, 1], "channels": 1, "mean": [0.5], "std": [0.25], "resize": "stretch"}}  # fmt: skip
    streams = [[Piece("numbers", "plain", 20, 10, type="float16"), Piece("symbols", "packed", 20, 80, 4)]]
    tables = [Table("explicit", 1, 3, True, 0), Table("grid", 1, 4, False, first=-1.5, step=0.5)]
    tensors = [
        Plan("dense", "1.weight", (8, 1), numbers=0),
        Plan("constant", "1.bias", (8,), value=0.25),
        Plan("indices", "3.weight", (8, 8), table=0, symbols=1),
        Plan("tied", "3.bias", (8,), source=1),
        Plan("indices", "5.weight", (2, 8), table=1, symbols=1),
        Plan("constant", "5.bias", (2,)),
    ]
    header = write_header(Header(about, streams, tables, tensors))
    out = Writer()
    out.data += MAGIC + bytes([VERSION, 0])
    out.number(len(header))
    out.number(1)
    out.data += header + hashlib.sha256(half + symbols).digest()
    return bytes(out.data) + hashlib.sha256(out.data).digest() + half + symbols


def dump(data: bytes) -> str:
    """Sixteen bytes a line: place, bytes, text."""
    lines = []
    for at in range(0, len(data), 16):
        part = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"    {at:04x}  {part.hex(' '):<47}  {text}")
    return "\n".join(lines)


def from_page() -> bytes:
    return b"".join(bytes.fromhex(match[2]) for match in DUMP.finditer(PAGE.read_text()))


def dictionary() -> bytes:
    literal = PAGE.read_text().split("## The preset dictionary")[1].split("```python\n")[1].split("```")[0]
    return ast.literal_eval(literal)


class Read:
    """A reader of plain, packed and constant pieces, written from the page; it shares no code with danlu."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 7
        assert data[:6] == b"DANLU\x01"
        length, streams = self.varint(), self.varint()
        head = self.take(length)
        digests = [self.take(32) for _ in range(streams)]
        assert hashlib.sha256(data[: self.at]).digest() == self.take(32)
        body, self.data, self.at = data[self.at :], head, 0
        if data[6] & 1:
            self.data = zlib.decompressobj(-15, dictionary()).decompress(head)
        self.about = json.loads(self.text())
        self.pieces, start = [], 0
        for digest in digests:
            first = start
            for _ in range(self.varint()):
                start = self.piece(body, start)
            assert hashlib.sha256(body[first:start]).digest() == digest
        assert start == len(body)
        tables = [self.table() for _ in range(self.varint())]
        count = self.varint()
        self.tensors: dict[str, np.ndarray] = {}
        for name in self.text().split("\n"):
            self.tensors[name] = self.tensor(tables)
        assert len(self.tensors) == count
        assert self.at == len(self.data)
        assert not any(self.pieces)

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def text(self) -> str:
        return self.take(self.varint()).decode()

    def piece(self, body: bytes, start: int) -> int:
        kind, coder, length = self.varint(), self.varint(), self.varint()
        data = body[start : start + length]
        if kind == 0:
            type, count = self.varint(), self.varint()
            assert coder == 0
            if type == 2:
                values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").tolist()
            else:
                values = np.frombuffer(data, ["<f4", "<f2", "", "<i8", "<i4", "<i2", "i1", "u1", "?"][type]).tolist()
        else:
            assert kind == 1
            size, count = self.varint(), self.varint()
            assert coder == 1
            width = (size - 1).bit_length()
            bits = "".join(f"{byte:08b}" for byte in data)
            values = [int(bits[i * width : (i + 1) * width], 2) for i in range(count)]
        assert len(values) == count
        self.pieces.append(values)
        return start + length

    def next(self, piece: int, count: int) -> list:
        taken, self.pieces[piece] = self.pieces[piece][:count], self.pieces[piece][count:]
        return taken

    def table(self) -> list[list[float]]:
        kind, zero = divmod(self.varint(), 2)
        size = self.varint()
        if kind == 0:
            groups, piece = self.varint(), self.varint()
            return [[0.0] * zero + self.next(piece, size - zero) for _ in range(groups)]
        first, step = struct.unpack("<ff", self.take(8))
        values: list[float] = []
        k = 0
        while len(values) < size - zero:
            value = float(np.float32(step * (k + first) if kind == 1 else first + step * k))
            values += [value] if value or not zero else []
            k += 1
        return [[0.0] * zero + values]

    def tensor(self, tables: list[list[list[float]]]) -> np.ndarray:
        shape = [self.varint() for _ in range(self.varint())]
        count, plan = math.prod(shape), self.varint()
        if plan == 0:
            return list(self.tensors.values())[self.varint()]
        if plan == 1:
            return np.full(shape, struct.unpack("<f", self.take(4))[0])
        if plan == 2:
            return np.array(self.next(self.varint(), count)).reshape(shape)
        assert plan == 3
        table, axis, scale, symbols = (self.varint() for _ in range(4))
        index = np.array(self.next(symbols - 1, count) if symbols else [0] * count).reshape(shape)
        assert (axis, scale, len(tables[table])) == (0, 0, 1)
        return np.array(tables[table][0])[index]


def test_the_example_of_the_page_is_what_danlu_writes_and_reads(tmp_path: Path) -> None:
    data = from_page()
    assert data == example()
    (tmp_path / "x.danlu").write_bytes(data)
    saved = unpack_model(tmp_path / "x.danlu")
    assert saved.classes == ("no", "yes")
    assert saved.input == Input((1, 1), 1, (0.5,), (0.25,))
    mine = Read(data)
    state = saved.model.state_dict()
    assert list(state) == list(mine.tensors)
    for name, tensor in state.items():
        np.testing.assert_array_equal(tensor.numpy(), mine.tensors[name].astype(np.float32))
    assert state["3.weight"].flatten()[:6].tolist() == [0, -0.5, 0.5, 0, -0.5, 0.5]
    assert state["5.weight"].flatten()[:3].tolist() == [-0.25, 0.25, -0.75]  # symbol 64 is 1


@pytest.mark.parametrize("floats", ["fp32", "fp16", "bf16"])
def test_another_program_reads_what_danlu_packs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, floats: str) -> None:
    monkeypatch.setattr(plan, "encode_symbols", lambda symbols, size: ("packed", encode_packed(symbols, size)))
    monkeypatch.setattr(numbers, "WORTH_BITS", 0)
    monkeypatch.setattr(plan, "SPARSE_FROM", 2)
    net = create("resnet8(width=0.25)", num_classes=3, in_channels=1, seed=0).eval()
    with torch.no_grad():
        net[0].weight.round_(decimals=1)
    pack_model(net, tmp_path / "x.danlu", input=Input((8, 8), 1, (0.1,), (0.3,)), classes=("a", "b", "c"), floats=floats)
    mine = Read((tmp_path / "x.danlu").read_bytes())
    assert mine.about["recipe"] == net.danlu_recipe
    for name, tensor in unpack_model(tmp_path / "x.danlu").model.state_dict().items():
        np.testing.assert_array_equal(tensor.numpy(), mine.tensors[name].astype(tensor.numpy().dtype), err_msg=name)


def test_the_page_numbers_things_as_the_code_does() -> None:
    page = PAGE.read_text()
    for coder_names, words in (
        (coders.SYMBOL_CODERS, "Coders of symbols, as they are numbered"),
        (coders.MASK_CODERS, "Coders of positions"),
    ):
        assert f"{words}: " + ", ".join(f"{i} `{name}`" for i, name in enumerate(coder_names)) + "." in page
    for i, name in enumerate(PLANS):
        assert f"| {i} {name.replace('_', ' ')} |" in page
    assert "kind: " + ", ".join(f"{i} {name}" for i, name in enumerate(PIECES)) in page
    assert ", ".join(f"{i} {name}" for i, name in enumerate(TABLES)) in page
    flat = " ".join(page.split())
    assert ", ".join(f"{i} {name}" for i, name in enumerate(numbers.TYPES)) in flat
    assert dictionary() == WORDS


def test_the_page_has_the_bytes_of_every_coder() -> None:
    assert coder_texts() in PAGE.read_text(), "run: python tests/codec/test_danlu_format.py"


if __name__ == "__main__":
    page = PAGE.read_text()
    lines = [repr(line)[1:] for line in WORDS.splitlines(keepends=True)]
    literal = "(\n" + "".join(f"    b{line}\n" for line in lines) + ")"
    page = re.sub(
        r"<!-- dictionary -->\n.*?(?=\n## )", lambda _: f"<!-- dictionary -->\n```python\n{literal}\n```\n", page, flags=re.S
    )
    page = re.sub(r"<!-- example -->\n\n(    .*\n)*", lambda _: f"<!-- example -->\n\n{dump(example())}\n", page)
    page = page.split("## The coders, byte by byte\n")[0] + "## The coders, byte by byte\n" + coder_texts()
    PAGE.write_text(page)
