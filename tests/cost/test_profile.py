"""What a profile says of itself: invariants, order, JSON, text and the drawn table."""

import dataclasses
import io
import json

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from danlu.cost import Profile, profile
from danlu.cost.table import print_profile
from danlu.cost.text import columns, grid, row_cells, side, summary_lines
from danlu.errors import UsageError


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.spare = nn.Linear(2, 2)
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.fc((x + self.deep(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def counted() -> Profile:
    return profile(Net(), (3, 16, 16))


@pytest.fixture(scope="module")
def timed() -> Profile:
    return profile(Net(), (3, 16, 16), time=True, repeats=2)


def test_totals_are_sums_of_rows(counted: Profile) -> None:
    assert counted.macs == sum(row.macs for row in counted.rows)
    assert counted.params == sum(row.params for row in counted.rows) + 6  # the spare layer is held, and never called
    assert counted.activation_bytes == sum(row.activation_bytes for row in counted.rows)
    assert counted.bytes == sum(row.bytes_read + row.bytes_written for row in counted.rows)
    assert counted.output == (1, 4)


def test_json_is_json_and_carries_the_agreed_keys(timed: Profile) -> None:
    data = json.loads(json.dumps(timed.to_json(), allow_nan=False))
    agreed = {
        "input",
        "params",
        "macs",
        "rows",
        "uncounted",
        "peak_activation_bytes",
        "activation_bytes",
        "param_bytes",
        "time_ms",
    }
    assert agreed | {"notes", "batch", "threads"} <= set(data)
    assert "buffers" not in data
    assert data["input"] == [3, 16, 16]
    assert data["uncounted"] == [{"what": "module", "name": "spare", "calls": 0}]
    assert [row["name"] for row in data["rows"]] == ["conv", "deep", "", "fc"]
    row = data["rows"][0]
    assert {f.name for f in dataclasses.fields(timed.rows[0])} | {"intensity"} == set(row)
    assert row["intensity"] == pytest.approx(row["macs"] / (row["bytes_read"] + row["bytes_written"]))


def test_ranked_orders_rows(counted: Profile, timed: Profile) -> None:
    assert counted.ranked() == [0, 1, 2, 3]
    for key, value in {"macs": "macs", "params": "params", "bytes": "bytes"}.items():
        values = [getattr(counted.rows[i], value) for i in counted.ranked(key)]
        assert values == sorted(values, reverse=True)
    times = [timed.rows[i].median_ms for i in timed.ranked("time")]
    assert times == sorted(times, reverse=True)
    with pytest.raises(UsageError, match="time=True"):
        counted.ranked("time")
    with pytest.raises(UsageError, match="did you mean macs"):
        counted.ranked("mac")


def test_depthwise_is_seen(counted: Profile) -> None:
    assert [row.depthwise for row in counted.rows] == [False, True, False, False]
    assert not profile(nn.Conv2d(4, 4, 1, groups=2), (4, 5, 5)).rows[0].depthwise


def test_text_has_a_cell_for_every_column_and_the_conventions(counted: Profile, timed: Profile) -> None:
    for result in (counted, timed):
        assert all(len(row_cells(result, row)) == len(columns(result)) for row in result.rows)
    words = "\n".join(summary_lines(timed))
    for said in ("batch 1", "multiply-accumulates", "not counted: spare (module never called)", "median of 2", "thread"):
        assert said in words
    assert (grid((64, 7, 7)), grid(None), side((3, 3)), side((3.0, 5.0))) == ("64x7x7", "", "3", "3x5")


def drawn(result: Profile, width: int, **options) -> str:
    out = io.StringIO()
    print_profile(result, console=Console(file=out, width=width), **options)
    return out.getvalue()


def test_a_narrow_table_drops_columns_and_says_which(timed: Profile) -> None:
    wide, narrow = drawn(timed, 200), drawn(timed, 60)
    assert "hidden" not in wide
    assert "p10-p90" in wide.splitlines()[0]
    assert "p10-p90" not in narrow.splitlines()[0]
    assert "hidden for want of width: p10-p90" in narrow
    assert all(row.label in narrow for row in timed.rows)
    assert "…" not in narrow


def test_a_short_table_says_what_it_leaves_out(counted: Profile) -> None:
    text = drawn(counted, 200, sort="macs", top=1)
    assert "... 3 more layers" in text
    assert counted.rows[counted.ranked("macs")[0]].label in text.splitlines()[1]


def test_a_compiled_model_is_profiled_as_what_it_wraps() -> None:
    model = torch.compile(nn.Linear(4, 4), backend="eager")
    assert profile(model, (4,)).macs == 16


def test_the_recipe_is_carried() -> None:
    model = nn.Linear(4, 4)
    model.danlu_recipe = "some | recipe"
    assert profile(model, (4,)).recipe == "some | recipe"
    assert profile(nn.Linear(4, 4), (4,)).recipe == ""
