"""Diagrams: every entry of the zoo gives a whole drawing without overlaps, and a drawing says what the net does."""

import copy
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import danlu
from danlu.atlas.diagram import diagram
from danlu.atlas.flow import Reader
from danlu.atlas.parts import wide
from danlu.atlas.words import describe
from danlu.errors import UsageError
from danlu.zoo import models

SVG = "{http://www.w3.org/2000/svg}"
Box = tuple[float, float, float, float]


def box_of(part: ET.Element) -> Box | None:
    """The frame, box or circle of a part; None for a bare end of an edge."""
    for rect in part.findall(f"{SVG}rect"):
        if rect.get("class") in ("frame", "box", "op"):
            x, y, w, h = (float(rect.get(key, "")) for key in ("x", "y", "width", "height"))
            return x, y, x + w, y + h
    return None


def texts(part: ET.Element) -> list[str]:
    return [text.text or "" for text in part.iter(f"{SVG}text")]


def check(svg: str) -> ET.Element:
    """Well-formed, accessible, nothing outside, no siblings that overlap, every part inside the frame around it."""
    root = ET.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root[0].tag == f"{SVG}title"
    assert root[0].text
    assert (root[1].tag, bool(root[1].text)) == (f"{SVG}desc", True)
    _, _, width, height = map(float, root.get("viewBox", "").split())
    assert width < 1000
    walk(root.findall(f"{SVG}g"), (0, 0, width, height))
    for text in root.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x", "")) <= width
        assert 0 <= float(text.get("y", "")) <= height
    return root


def walk(levels: list[ET.Element], around: Box) -> None:
    for level in levels:
        placed = []
        for part in level.findall(f"{SVG}g"):
            box = box_of(part)
            if box is None:
                continue
            assert box[0] >= around[0] - 0.1
            assert box[1] >= around[1] - 0.1
            assert box[2] <= around[2] + 0.1
            assert box[3] <= around[3] + 0.1
            for other in placed:
                assert not (box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]), texts(part)
            placed.append(box)
            walk(part.findall(f"{SVG}g"), box)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=entry.name) for entry in models])
def test_every_entry_is_drawn(entry: Any) -> None:
    with torch.device("meta"):
        net = entry.build()
    root = check(diagram(net, entry.facts["input"]))
    words = texts(root)
    assert f"in {' × '.join(map(str, entry.facts['input']))}" in words
    assert any(word.startswith("out ") for word in words)
    assert len(root.findall(f".//{SVG}g[@class='part']")) >= 3


def test_a_resnet_says_what_it_is() -> None:
    with torch.device("meta"):
        net = models["resnet18"].build()
    svg = diagram(net)
    root = check(svg)
    words = texts(root)
    for word in ("7×7 conv 64", "max pool 3×3", "64 × 112 × 112", "64 × 56 × 56", "512 × 7 × 7", "global mean", "linear 1000"):
        assert word in words
    assert words.count("3×3 conv 64") == 2, "the block of the first stage is drawn inside once"
    assert words.count("+") == 2, "and so is the block with a projection"
    assert words.count("3×3 conv 512") == 0
    assert words.count("× 2") == 1
    assert words.count("B") == 3
    assert words.count("A") == 4 + 1, "once inside, once for each later stage, once in the legend"
    for stage in range(1, 5):
        assert f"layer{stage}" in words
    assert root[0].text == "Sequential"
    assert root[1].text == (
        "Block diagram, top to bottom: 7×7 conv 64 and batch norm and ReLU, max pool 3×3, layer1, layer2, layer3, layer4, "
        "global mean and flatten, linear 1000."
    )
    assert svg == diagram(net)


def test_branches_of_an_inception_block_stand_side_by_side() -> None:
    with torch.device("meta"):
        net = models["googlenet"].build()
    root = check(diagram(net))
    block = next(part for part in root.iter(f"{SVG}g") if part.get("class") == "part" and "Inception" in texts(part)[:2])
    inside = block.find(f"{SVG}g")
    assert inside is not None
    at = {word: box for part in inside.findall(f"{SVG}g") if (box := box_of(part)) for word in texts(part)}
    first = [at["1×1 conv 64"], at["1×1 conv 96"], at["1×1 conv 16"], at["max pool 3×3"]]
    assert all(a[2] < b[0] for a, b in pairwise(first))
    for below, above in (("3×3 conv 128", "1×1 conv 96"), ("3×3 conv 32", "1×1 conv 16"), ("1×1 conv 32", "max pool 3×3")):
        assert at[below][1] > at[above][3]
        assert (at[below][0] + at[below][2]) / 2 == pytest.approx((at[above][0] + at[above][2]) / 2, abs=0.1)
    assert {"64", "128", "32"} <= set(texts(inside)), "the channels that are concatenated"
    assert "cat" in at


class Odd(nn.Module):
    """Cannot be traced, and calls its children in another order than it holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(8, 4)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU()) for _ in range(3))
        self.first = nn.Conv2d(3, 8, 3)
        self.never = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if x.shape[0] > 1000:
            x = -x
        for block in self.blocks:
            x = x + block(x)
        return self.last(x.mean((2, 3)))


class ByValue(Odd):
    def forward(self, x: Tensor) -> Tensor:
        if x.max() > 1e9:
            return x
        return super().forward(x)


@pytest.mark.parametrize("kind", [Odd, ByValue])
def test_what_cannot_be_followed_is_drawn_in_the_order_it_ran(kind: type[nn.Module]) -> None:
    root = check(diagram(kind(), (3, 12, 12)))
    words = texts(root)
    order = [words.index(word) for word in ("in 3 × 12 × 12", "3×3 conv 8", "blocks", "linear 4", "out 4")]
    assert order == sorted(order)
    assert "8 × 10 × 10" in words
    assert "× 3" in words
    assert "linear 2" not in words
    assert 'class="edge order"' in diagram(kind(), (3, 12, 12))
    assert 'class="edge order"' not in diagram(nn.Sequential(nn.Flatten(), nn.Linear(9, 2)), (1, 3, 3))


class Gate(nn.Module):
    """x f(x), and what attention modules do to shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(6, 6)
        self.other = nn.Conv2d(6, 6, 1, groups=6)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc(self.pool(x).flatten(1)).sigmoid()
        unused = x.transpose(1, 2).contiguous()  # noqa: F841
        y = x * gate[:, :, None, None]
        return torch.cat([y[:, :3], 1 - self.other(y)], dim=1)


def test_the_flow_of_a_gate() -> None:
    reader = Reader(Gate(), (6, 5, 5))
    flow = reader.read(reader.model)
    seen = [(step.kind, step.title, step.inputs, step.out) for step in flow.steps]
    assert seen == [
        ("input", "", [], (6, 5, 5)),
        ("pool", "global mean", [0], (6, 1, 1)),
        ("shape", "reshape", [1], (6,)),
        ("linear", "linear 6", [2], (6,)),
        ("act", "sigmoid", [3], (6,)),
        ("op", "×", [0, 4], (6, 5, 5)),
        ("shape", "slice", [5], (3, 5, 5)),
        ("conv", "1×1 conv 6", [5], (6, 5, 5)),
        ("shape", "1 − x", [7], (6, 5, 5)),
        ("op", "cat", [6, 8], (9, 5, 5)),
        ("output", "", [9], None),
    ]
    assert flow.steps[7].note == "depthwise"
    assert flow.traced
    check(diagram(Gate(), (6, 5, 5)))


def test_shapes_are_those_of_a_run() -> None:
    net = danlu.create("resnet20", num_classes=10)
    reader = Reader(net, (3, 32, 32))
    x, shapes = torch.randn(1, 3, 32, 32), {}
    for name, layer in net.named_children():
        x = layer.eval()(x)
        shapes[name] = tuple(x.shape[1:])
    assert {step.name: step.out for step in reader.read(reader.model).steps if step.name} == shapes | {"input": (3, 32, 32)}


@pytest.mark.parametrize(
    ("layer", "said"),
    [
        (nn.Conv2d(8, 16, (1, 7), stride=(2, 1), groups=4), ("conv", "1×7 conv 16", "stride 2×1, 4 groups")),
        (nn.Conv2d(8, 8, 3, dilation=2, groups=8), ("conv", "3×3 conv 8", "depthwise, dilation 2")),
        (nn.ConvTranspose2d(8, 4, 2, stride=2), ("conv", "2×2 deconv 4", "stride 2")),
        (nn.Conv3d(1, 4, 3), ("conv", "3×3×3 conv 4", "")),
        (nn.MaxPool2d(3, 2), ("pool", "max pool 3×3", "stride 2")),
        (nn.AdaptiveAvgPool2d(1), ("pool", "global mean", "")),
        (nn.AdaptiveMaxPool2d((2, 3)), ("pool", "max to 2×3", "")),
        (nn.BatchNorm2d(3), ("norm", "batch norm", "")),
        (nn.LocalResponseNorm(5), ("norm", "LRN", "")),
        (nn.PReLU(), ("act", "PReLU", "")),
        (nn.Dropout(0.25), ("drop", "dropout 0.25", "")),
        (nn.PixelShuffle(2), ("other", "PixelShuffle", "")),
    ],
)
def test_a_layer_in_words(layer: nn.Module, said: tuple[str, str, str]) -> None:
    assert describe(layer) == said


def test_exits_are_drawn_though_the_answer_does_not_need_them() -> None:
    words = texts(check(diagram(danlu.create("resnet20 | add_exits", num_classes=10), (3, 32, 32))))
    assert words.count("linear 10") == 2
    assert "ExitPoint" in words


def test_encoded_weights_are_no_blocks() -> None:
    plain = danlu.create("resnet20", num_classes=10)
    coded = danlu.edit(plain, "share(bits=2)").model
    for net in (plain, coded):
        net.danlu_recipe = "same"
    assert diagram(coded, (3, 32, 32)) == diagram(plain, (3, 32, 32))


def test_text_is_escaped_and_cut() -> None:
    class Name(nn.Sequential):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) + 1

    Name.__name__ = Name.__qualname__ = "<script>&\"'\x1b" + "x" * 90
    net = nn.Sequential()
    net.add_module('a<b>&"\x07', Name(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3)))
    net.danlu_recipe = "mine:<net>(a='&')"
    svg = diagram(net, (3, 8, 8))
    root = check(svg)
    assert root[0].text == "mine:<net>(a='&')"
    assert "<script>" not in svg
    assert any(word.startswith("<script>&") and word.endswith("…") for word in texts(root))


def test_the_model_stays_as_it_is() -> None:
    net = danlu.create("resnet20 | add_exits", num_classes=10).train()
    net.net.layer1.eval()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    kept = copy.deepcopy(
        [{k: v for k, v in m.__dict__.items() if isinstance(v, bool | int | str | tuple)} for m in net.modules()]
    )
    before = torch.random.get_rng_state()
    diagram(net, (3, 32, 32))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert kept == [{k: v for k, v in m.__dict__.items() if isinstance(v, bool | int | str | tuple)} for m in net.modules()]
    assert all(torch.equal(tensor, state[name]) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert net.net.get_submodule("layer2.0").logits is None


def test_odd_models() -> None:
    for net, shape in [
        (nn.Linear(4, 3), (4,)),
        (nn.Sequential(), (4,)),
        (nn.Identity(), (3, 4, 4)),
        (nn.Sequential(*(nn.Sequential(nn.Conv2d(3, 3, 1), Gate3()) for _ in range(3))), (3, 6, 6)),
        (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8)),
    ]:
        check(diagram(net, shape))


class Gate3(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((2, 3), keepdim=True).sigmoid()


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_wrong_input_is_refused(device: str) -> None:
    with torch.device(device):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    for shape in ((1, 3, 3), (3, 9, 9), (3, 1, 1)):
        with pytest.raises(UsageError, match=re.escape(f"does not take an input of shape {[1, *shape]}")):
            diagram(net, shape)


def test_width_of_text_grows_with_it() -> None:
    assert wide("3×3 conv 64") < wide("3×3 conv 512") < wide("3×3 conv 512", bold=True)
    assert wide("batch norm", small=True) < wide("batch norm")
    assert wide("iiii") < wide("mmmm")
