"""The lines in docs/inference.md give what danlu gives: they are run as they stand."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from danlu.data.spec import Input
from danlu.deploy import export_onnx, preprocess, read_metadata, session

DOC = Path(__file__).parents[2] / "docs" / "inference.md"
FIRST = Image.Transpose.ROTATE_90


def blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", DOC.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("resize", ["stretch", "short_side_crop"])
@pytest.mark.parametrize(("channels", "shape"), [(3, (37, 61)), (1, (50, 23))])
def test_documented_lines_agree_with_danlu(
    resize: str,
    channels: int,
    shape: tuple[int, int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    input = Input((16, 20), channels, (0.4, 0.5, 0.6)[:channels], (0.2, 0.25, 0.3)[:channels], resize)
    if channels == 1:  # grey levels through a table
        input = replace(input, curve=(tuple(np.sqrt(np.arange(256) / 255).tolist()),))
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(channels * 16 * 20, 4))
    export_onnx(net, tmp_path / "model.onnx", input=input, classes=["ant", "bee", "cat", "狗"])
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    Image.fromarray(noise).save(tmp_path / "photo.jpg", exif=exif)

    monkeypatch.chdir(tmp_path)
    first, second = blocks()
    names: dict[str, object] = {}
    exec(compile(first, str(DOC), "exec"), names)

    x = preprocess(tmp_path / "photo.jpg", read_metadata(tmp_path / "model.onnx"))
    np.testing.assert_array_equal(names["x"], x)
    expected = session(tmp_path / "model.onnx").run(["logits"], {"input": x})[0][0]
    np.testing.assert_allclose(names["logits"], expected, rtol=1e-5, atol=1e-6)
    assert capsys.readouterr().out.split()[0] == ["ant", "bee", "cat", "狗"][int(expected.argmax())]

    exec(compile(second, str(DOC), "exec"), names)
    np.testing.assert_allclose(names["session"].run(None, {"input": x})[0][0], expected, rtol=1e-5, atol=1e-6)  # type: ignore[attr-defined]
