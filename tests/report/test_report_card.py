"""The model card: its code runs, its markup cannot be broken, its numbers are those of the result."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from markdown_it import MarkdownIt
from onnx import TensorProto, helper
from PIL import Image

from danlu.report import write_card


def colour_net(path: Path, resize: str) -> None:
    """An ONNX file whose logits are the mean of each channel, with the metadata of an exported model."""
    nodes = [
        helper.make_node("GlobalAveragePool", ["input"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    ends = [
        helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 4, 4]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3]),
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "net", ends[:1], ends[1:]), opset_imports=[helper.make_opsetid("", 17)], ir_version=9
    )
    about = {"classes": ["red", "green", "blue"], "mean": [0.5, 0.5, 0.5], "std": [0.1, 0.1, 0.1], "size": [4, 4]}
    helper.set_model_props(model, {**{key: json.dumps(value) for key, value in about.items()}, "resize": resize})
    onnx.save(model, path)


@pytest.mark.parametrize("resize", ["short_side_crop", "stretch"])
def test_the_code_of_the_card_runs_and_sees_what_the_network_should(
    resize: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    example: Callable[..., dict[str, Any]],
) -> None:
    # Three squares side by side: the centre crop sees the green one alone, stretching sees a third of each.
    pixels = np.zeros((40, 120, 3), np.uint8)
    for i in range(3):
        pixels[:, 40 * i : 40 * (i + 1), i] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.jpg", "PNG")
    colour_net(tmp_path / "model.onnx", resize)
    card = write_card(tmp_path, example()).read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "card", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    if resize == "short_side_crop":
        assert lines[0].startswith("green: ")
        assert float(lines[0].split()[1].rstrip("%")) > 99
    else:
        assert all(float(line.split()[1].rstrip("%")) == pytest.approx(33.3, abs=3) for line in lines)


def test_the_card_states_what_the_result_holds(tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    card = write_card(tmp_path, result).read_text(encoding="utf-8")
    for part in (
        "# flowers",
        "Budget met: 123 KB of 500 KB",
        "−1.1 to +0.3",
        "| File size | 123 KB | 1.1 MB |",
        "`airplane`",
        "`truck`",
        "Example CPU",
        "32 × 32 pixels",
        "mean 0.4914",
        "danlu optimize photos/flowers --max-size 500KB",
        "Seed: 0",
        "torch: 2.13.0",
        "40,000 images",
        "out of 14 measured candidates",
        "1 thread",
    ):
        assert part in card, part
    ids = {row["id"] for row in result["candidates"]}
    assert len(ids) == 14
    assert "not met" in write_card(tmp_path, example(met=False)).read_text(encoding="utf-8")


def test_many_classes_are_not_all_listed(tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    card = write_card(tmp_path, example([f"class {i}" for i in range(200)], images=5)).read_text(encoding="utf-8")
    assert "**Classes (200).**" in card
    assert "and 140 more" in card
    assert "`class 60`" not in card


def test_user_text_cannot_break_the_markup(tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    evil = ["<script>alert(1)</script>", "a | b", "`tick` ``two``", "[link](javascript:x)", "# head", "**bold**\n\n# next"]
    result = example(evil)
    result |= {"name": evil[0] + evil[3], "command": "danlu\n```\n<script>x</script>"}
    result["best"]["recipe"] = "net | `x` | <script>y</script>"
    result["data"]["health"]["warnings"] = [*evil]
    result["steps"][0]["name"] = evil[5]
    result["machine"]["processor"] = "CPU | `x` <b>"
    text = write_card(tmp_path, result).read_text(encoding="utf-8")
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script" not in html
    assert "<b>" not in html
    assert "<a " not in html
    assert [re.sub("<.*?>", "", head) for head in re.findall(r"<h[12]>(.*?)</h[12]>", html)][1:] == [
        "Intended use",
        "How to run",
        "How it was made",
        "Limits",
        "Reproduce",
    ]
    for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL):
        assert len(re.findall(r"<t[hd]", row)) == 3
    assert "net | `x` | &lt;script&gt;y&lt;/script&gt;" in html


def test_a_danlu_file_is_named_and_the_code_runs_what_it_unpacks_to(
    tmp_path: Path, example: Callable[..., dict[str, Any]]
) -> None:
    result = example()
    result["format"] = "danlu"
    result["best"] |= {"precision": "danlu", "file": "runs/1/model.danlu", "onnx": "runs/1/model.onnx", "size_bytes": 8_100}
    result["steps"][1]["note"] = "computed: shared values at a fixed width, without entropy coding"
    text = write_card(tmp_path, result).read_text(encoding="utf-8")
    assert "`model.danlu`, a .danlu file of 8.1 KB that unpacks to the ONNX file beside it" in text
    assert 'InferenceSession("model.onnx"' in text
    assert "`danlu unpack` makes the same file from `model.danlu`" in text
    assert "computed: shared values at a fixed width" in text
    plain = write_card(tmp_path, example()).read_text(encoding="utf-8")
    assert "danlu unpack" not in plain
    assert "The file needs onnxruntime" in plain
