"""`danlu list` and `danlu show`: one JSON object for programs, tables for people, exit 2 with the nearest name."""

import json

import pytest
import typer
from typer.testing import CliRunner

from danlu.cli import listing, show
from danlu.edits import edits
from danlu.nn import layers
from danlu.zoo import models

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.command("list")(listing.run)
app.command("show")(show.run)


def call(*words):
    return CliRunner().invoke(app, list(words))


def told(*words):
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    return json.loads(result.stdout)


@pytest.mark.parametrize(("kind", "registry"), [("models", models), ("edits", edits), ("layers", layers)])
def test_every_entry_of_every_kind_is_listed(kind, registry):
    answer = told("list", kind)
    assert answer["kind"] == kind
    assert answer["count"] == len(registry)
    assert [entry["name"] for entry in answer["entries"]] == registry.names()
    for entry in answer["entries"]:
        assert entry["summary"] == registry[entry["name"]].summary
        assert entry.keys() >= registry[entry["name"]].facts.keys()


def test_models_come_first_and_carry_their_facts():
    entries = {entry["name"]: entry for entry in told("list")["entries"]}
    assert entries["resnet18"]["params"] == 11_689_512
    assert entries["resnet18"]["input"] == [3, 224, 224]
    assert entries["resnet20"]["family"] == "resnet_cifar"


@pytest.mark.parametrize("words", [("models", "vgg*"), ("vgg*",), ("--family", "vgg"), ("models", "*11*", "--family", "vgg")])
def test_patterns_and_families(words):
    names = [entry["name"] for entry in told("list", *words)["entries"]]
    depths = (11,) if "*11*" in words else (11, 13, 16, 19)
    assert names == [f"vgg{depth}{norm}" for depth in depths for norm in ("", "_bn")]


def test_the_table_for_people_has_a_line_an_entry():
    lines = call("list", "resnet*").stdout.splitlines()
    assert lines[0].split()[:5] == ["name", "input", "params", "MACs", "year"]
    assert [line.split()[0] for line in lines[1:]] == models.names("resnet*")
    assert "11.7 M" in next(line for line in lines if line.startswith("resnet18 "))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("list", "modles"), "did you mean models"),
        (("list", "models", "resnet19"), "did you mean resnet18"),
        (("list", "models", "zzz*"), "no model matches 'zzz*'; known: active_"),
        (("list", "--family", "resnets"), "did you mean resnet"),
        (("list", "models", "vgg*", "--family", "lenet"), "no model of family lenet matches 'vgg*'"),
        (("show", "resnet19"), "did you mean resnet18"),
        (("show", "fold_bm"), "did you mean fold_bn"),
        (("show", "PadShortcuts"), "did you mean PadShortcut"),
    ],
)
def test_a_miss_names_the_nearest_and_exits_2(words, says):
    for extra in ([], ["--json"]):
        result = call(*words, *extra)
        assert result.exit_code == 2
        assert says in result.stderr
        assert result.stdout == ""


def test_show_tells_all_about_a_model():
    answer = told("show", "resnet20")
    assert (answer["kind"], answer["params"], answer["macs"]) == ("model", 269_722, 40_551_040)
    assert {option["name"]: option["default"] for option in answer["options"]} == {
        "in_channels": 3,
        "num_classes": 10,
        "width": 1.0,
    }
    assert "option A" in answer["about"]
    # The layer table adds up to the facts.
    assert sum(row["macs"] for row in answer["rows"]) == answer["macs"]
    assert sum(row["params"] for row in answer["rows"]) == answer["params"]


@pytest.mark.parametrize("name", models.names())
def test_every_model_can_be_shown(name):
    text = call("show", name).stdout
    for part in (models[name].summary, f"({models[name].facts['params']:,})", models[name].facts["paper"], "options", "MACs"):
        assert part in text


@pytest.mark.parametrize("name", edits.names())
def test_every_edit_can_be_shown_with_its_card(name):
    answer = told("show", name)
    assert answer["kind"] == "edit"
    assert answer["card"].startswith("#")
    assert {option["name"] for option in answer["options"]}.isdisjoint({"example", "batches", "model"})
    assert answer["card"].strip() in call("show", name).stdout


def test_a_layer_is_shown_with_its_arguments():
    answer = told("show", "PadShortcut")
    assert [(option["name"], option["required"]) for option in answer["options"]] == [
        ("in_channels", True),
        ("out_channels", True),
        ("stride", False),
    ]
    assert "Shape:" in answer["about"]


def test_a_name_of_two_kinds_is_found_by_its_kind():
    assert told("show", "step")["kind"] == "schedule"
    assert told("show", "activations:step")["kind"] == "activation"
    assert told("show", "norms:l1")["kind"] == "norm"
    assert "did you mean swish" in call("show", "activations:swich").stderr
