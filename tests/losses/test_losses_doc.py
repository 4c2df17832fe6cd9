"""docs/losses.md names every loss, with options that exist, and its code runs as it stands."""

import re
from pathlib import Path

import pytest
import torch

from danlu.losses import losses
from danlu.spec import read

PAGE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


def test_every_loss_has_its_line_and_every_line_is_a_loss() -> None:
    written = re.findall(r"^\| `([^`]+)` \|", PAGE, flags=re.M)
    named = {read(losses, text, ("side",)).entry.name for text in written}
    elsewhere = {name for name in ("zero_one", "perceptual") if f"`{name}" in PAGE}
    assert named | elsewhere == {entry.name for entry in losses}


@pytest.mark.parametrize("code", BLOCKS, ids=[str(i) for i in range(len(BLOCKS))])
def test_its_code_runs(code: str) -> None:
    torch.manual_seed(0)
    exec(compile(code, "docs/losses.md", "exec"), {})
