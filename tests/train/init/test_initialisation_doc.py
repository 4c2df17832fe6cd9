"""docs/initialisation.md names every initialisation; its code runs, and gives the numbers of its table."""

import math
import re
from pathlib import Path

import pytest
from torch import nn

from danlu.data import Source
from danlu.spec import read
from danlu.train import diagnose
from danlu.train.init import CONTEXT, inits

PAGE = (Path(__file__).parents[3] / "docs" / "initialisation.md").read_text()
(CODE,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)
ROWS = {
    row[0].strip(): [cell.strip() for cell in row[1:]]
    for row in re.findall(r"^\| (\S+) \|([^|]+,[^|]+)\|([^|]+)\|([^|]+)\|$", PAGE, re.M)
}


def test_every_initialisation_has_its_line() -> None:
    written = re.findall(r"^\| `([^`]+)` \|", PAGE, flags=re.M)
    assert sorted(read(inits, text, CONTEXT).entry.name for text in written) == inits.names()


@pytest.mark.parametrize("column", range(3))
def test_its_code_runs_and_gives_its_numbers(column: int, digits: Source, capsys: pytest.CaptureFixture[str]) -> None:
    names = {}
    exec(compile(CODE, "docs/initialisation.md", "exec"), names)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["he", "xavier"]
    quick = [name for name in ROWS if name not in ("rbm", "autoencoder")]
    assert len(quick) == 7
    for found in diagnose(names["stack"]((nn.ReLU, nn.Tanh, nn.Sigmoid)[column]), digits, quick):
        written = [float(text) for text in ROWS[found.init][column].split(",")]
        for factor, expected in zip((found.forward, found.backward), written, strict=True):
            assert factor is not None
            assert math.log10(factor) == pytest.approx(math.log10(expected), abs=0.3)  # one digit is written
