"""`danlu advise`: ranked edits with their predicted savings; limits absolute or as a share."""

import json

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import advise
from danlu.edits.recipe import parse

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.command("advise")(advise.run)
app.command("other")(lambda: None)


def call(*words):
    return CliRunner().invoke(app, ["advise", *words])


def told(*words):
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    return json.loads(result.stdout)


def test_advice_is_ranked_and_pasteable():
    answer = told("resnet18", "--no-time")
    assert [item["rank"] for item in answer["advice"]] == list(range(1, len(answer["advice"]) + 1))
    edits = [item["edit"] for item in answer["advice"] if item["edit"]]
    assert "fold_bn" in edits
    assert all(parse(edit) for edit in edits)
    assert (answer["params"], answer["macs"], answer["time_ms"]) == (11_689_512, 1_814_073_344, None)


def test_time_is_measured_unless_told_not_to():
    answer = told("lenet5", "--repeats", "2")
    assert answer["time_ms"] > 0
    assert any("most time" in item["why"] for item in answer["advice"])


@pytest.mark.parametrize("limit", ["1/4", "2922378"])
def test_a_limit_is_bytes_or_a_share(limit):
    budget = [item for item in told("resnet20", "--no-time", "--max-size", limit)["advice"] if item["kind"] == "budget"]
    assert len(budget) == 1
    assert ("4x the limit" in budget[0]["why"]) == (limit == "1/4")


def test_all_limits_are_judged():
    words = ("lenet5", "--repeats", "1", "--max-size", "10KB", "--max-latency", "1/2", "--max-macs", "1K")
    budget = [item for item in told(*words)["advice"] if item["kind"] == "budget"]
    assert len(budget) == 3
    assert budget[0]["rank"] == 1


def test_the_text_for_people():
    text = call("resnet18", "--no-time", "--input", "3,448,448").stdout
    assert text.startswith("1. fit_input(size=256)\n   predicted: 67 % fewer MACs")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resnet18", "--max-size", "big"], "500KB"),
        (["resnet18", "--max-latency", "-1"], "3ms"),
        (["net.onnx"], "danlu bench"),
        (["resnet19"], "did you mean"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words, said):
    result = call(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not result.stdout
