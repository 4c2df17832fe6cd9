"""The cards: their code runs, their option tables are the signatures', their recipes parse."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import danlu.edits
from danlu.edits import edits, parse
from danlu.edits._registry import CONTEXT
from danlu.registry import Entry

FOLDER = Path(danlu.edits.__file__).parent


def card(entry: Entry[Any]) -> str:
    return (FOLDER / f"{entry.name}.md").read_text()


def section(text: str, heading: str) -> str:
    return re.split(r"^## ", text, flags=re.M)[["", *re.findall(r"^## (.+)$", text, re.M)].index(heading)]


@pytest.mark.parametrize("entry", list(edits), ids=lambda e: e.name)
def test_code_runs(entry: Entry[Any], capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```$", card(entry), re.M | re.S)
    assert blocks, "a card shows how it is used"
    for block in blocks:
        torch.manual_seed(0)
        exec(compile(block, f"{entry.name}.md", "exec"), {})
        printed = capsys.readouterr().out.splitlines()
        promised = re.findall(r"^print\(.*\)  # (.+)$", block, re.M)
        assert printed == promised, "what a comment behind a print promises is printed"
        assert "assert" in block or promised


@pytest.mark.parametrize("entry", list(edits), ids=lambda e: e.name)
def test_options_are_those_of_the_signature(entry: Entry[Any]) -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\| (.+) \|$", section(card(entry), "Options"), re.M)
    options = {name: option for name, option in entry.options().items() if name not in CONTEXT}
    assert [name for name, _ in rows] == list(options)
    for name, default in rows:
        value = options[name].default
        if value is options[name].empty:
            assert default == "required"
        elif value is not None:
            assert default.strip("`") in (repr(value), f'"{value}"')


@pytest.mark.parametrize("entry", list(edits), ids=lambda e: e.name)
def test_the_numbers_say_where_they_are_from(entry: Entry[Any]) -> None:
    measured = section(card(entry), "Measured")
    assert f"python benchmarks/edits.py {entry.name}" in measured
    assert "AMD EPYC" in measured
    assert "seed" in measured
    for recipe in re.findall(r"^\| (?:[\w. ]+ \| )?`([^`]+)` \|", measured, re.M):
        assert parse(recipe.replace("\\|", "|"))
    assert "https://" in section(card(entry), "Source")
