"""docs/evaluation.md names every view with options that exist, and its code runs as it stands."""

import ast
import re
from pathlib import Path

import pytest

from danlu.train.crops import Crops
from danlu.views import views

PAGE = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.S)


def test_every_view_has_its_line_with_all_its_options() -> None:
    lines = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", PAGE, flags=re.M)
    assert {name for name, _ in lines} == set(views.names())
    for name, options in lines:
        written = dict(re.findall(r"`(\w+)=([^`]*)`", options))
        known = views[name].options()
        assert written.keys() == known.keys()
        for option, default in written.items():
            assert "..." in default or ast.literal_eval(default) == known[option].default


def test_the_table_of_crops_is_what_crops_does() -> None:
    for count in (1, 2):
        assert Crops(count).resized((224, 224)) == (224, 224)
    for count in (5, 10, 4, 9, 16, 8, 18, 32):
        assert Crops(count).resized((224, 224)) == (256, 256)
        assert Crops(count).mirrored is (count in (10, 8, 18, 32))


@pytest.mark.parametrize("code", BLOCKS, ids=[str(i) for i in range(len(BLOCKS))])
def test_its_code_runs(code: str) -> None:
    exec(compile(code, "docs/evaluation.md", "exec"), {})
