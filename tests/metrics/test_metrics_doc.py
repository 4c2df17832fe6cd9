"""docs/metrics.md: its lines run, and its tables name every metric and the smallest images they take."""

import re
from pathlib import Path

import pytest
import torch

from danlu.errors import UsageError
from danlu.metrics import metrics

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def test_its_lines_run() -> None:
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "docs/metrics.md", "exec"), {})


def test_its_tables_name_every_metric() -> None:
    cells = " ".join(line.split("|")[1] for line in TEXT.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", cells)) == {entry.name for entry in metrics}


def test_smallest_images() -> None:
    sizes = re.findall(r"^\| `(\w+)` \|.*\| (\d+)x\2 \|$", TEXT, flags=re.MULTILINE)
    assert {name for name, _ in sizes} == {"ssim", "ms_ssim", "cpbd"}
    for name, size in sizes:
        entry, side = metrics[name], int(size)
        image = torch.rand(1, 1, side, side)
        given = (image,) if name == "cpbd" else (image, image)
        assert 0 <= entry.build(*given) <= 1.0001
        with pytest.raises(UsageError, match=f"{side}x{side}"):
            entry.build(*[values[..., 1:] for values in given])
