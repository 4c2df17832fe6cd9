"""`danlu profile`: every kind of MODEL, one JSON object for programs, a table for people, exit 2 with the way out."""

import json
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from danlu.cli import profile
from danlu.codec import save
from danlu.data.spec import Input
from danlu.zoo import create, models

app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
app.command("profile")(profile.run)
app.command("other")(lambda: None)  # with a single command typer would not expect its name


def call(*words):
    return CliRunner().invoke(app, ["profile", *words])


def told(*words):
    result = call(*words, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    return json.loads(result.stdout)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A saved net of 3 classes on 1x12x20."""
    model = create("resnet20(width=0.5)", num_classes=3, in_channels=1)
    return save(model, tmp_path / "run", input=Input((12, 20), 1, (0.5,), (0.5,)), classes=("a", "b", "c"))


@pytest.mark.parametrize("name", ["resnet18", "lenet5", "squeezenet1_1"])
def test_a_net_is_counted_at_its_published_input(name):
    facts, answer = models[name].facts, told(name)
    assert (answer["params"], answer["macs"]) == (facts["params"], facts["macs"])
    assert answer["input"] == list(facts["input"])
    assert answer["uncounted"] == []
    assert sum(row["macs"] for row in answer["rows"]) == answer["macs"]
    assert answer["time_ms"] is None
    assert answer["model"] == name


def test_the_input_of_a_recipe_is_that_of_its_last_fit_input():
    answer = told("resnet18 | fit_input(size=64) | swap_activation(to='silu') | fit_input(size=(32, 48))", "--classes", "7")
    assert answer["input"] == [3, 32, 48]
    assert answer["output"] == [1, 7]
    assert {row["kind"] for row in answer["rows"]} >= {"Conv2d", "SiLU"}


def test_edits_that_need_weights_or_an_example_run():
    plain, edited = told("resnet20"), told('resnet20 | prune_channels(ratio=0.5, scope="layer") | fold_bn')
    assert edited["macs"] < 0.7 * plain["macs"]
    assert "BatchNorm2d" not in {row["kind"] for row in edited["rows"]}


@pytest.mark.parametrize("text", ["3,48,64", "3x48x64", " 3, 48, 64 "])
def test_input_may_be_written_in_two_ways(text):
    assert told("resnet20", "--input", text)["input"] == [3, 48, 64]


def test_channels_come_from_the_input_and_batch_multiplies():
    one, four = told("resnet20", "--input", "1,32,32"), told("resnet20", "--input", "1,32,32", "--batch", "4")
    assert one["rows"][0]["input"] == [1, 1, 32, 32]
    assert four["macs"] == 4 * one["macs"]
    assert four["params"] == one["params"]


def test_time_is_measured_on_request():
    answer = told("lenet5", "--time", "--repeats", "2", "--sort", "time")
    assert answer["time_ms"] > 0
    assert all(row["p10_ms"] <= row["median_ms"] <= row["p90_ms"] for row in answer["rows"])
    assert (answer["repeats"], answer["device"]) == (2, "cpu")
    times = [answer["rows"][i]["median_ms"] for i in answer["order"]]
    assert times == sorted(times, reverse=True)


def test_a_saved_model_brings_its_input_and_classes(saved: Path):
    for where in (saved.parent, saved, saved.with_suffix(".json")):
        answer = told(str(where))
        assert (answer["input"], answer["output"]) == ([1, 12, 20], [1, 3])
        assert answer["recipe"] == "resnet20(width=0.5)"
    assert told(str(saved), "--input", "1,16,16")["input"] == [1, 16, 16]
    refused = call(str(saved), "--classes", "5")
    assert refused.exit_code == 2
    assert "3 classes" in refused.stderr


def test_a_users_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ours_to_profile.py").write_text("from torch import nn\ndef net(side=2):\n    return nn.Conv2d(3, side, 1)\n")
    assert told("ours_to_profile:net(side=5)", "--input", "3,4,4")["macs"] == 3 * 5 * 16


def test_a_folder_with_the_name_of_a_net_hides_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lenet5").mkdir()
    assert told("lenet5")["params"] == 61_706


def test_an_onnx_file(tmp_path: Path):
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path = tmp_path / "net.onnx"
    node = helper.make_node("Conv", ["input", "w"], ["logits"])
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 3, 4, 4]) for name in ("input", "logits")]
    weight = numpy_helper.from_array(torch.ones(3, 3, 1, 1).numpy(), "w")
    onnx.save(helper.make_model(helper.make_graph([node], "net", ends[:1], ends[1:], [weight])), str(path))
    answer = told(str(path))
    assert (answer["params"], answer["macs"], answer["input"], answer["uncounted"]) == (9, 144, [1, 3, 4, 4], [])
    assert len(answer["rows"]) == 1
    assert "144 MACs" in call(str(path)).stdout
    refused = call(str(path), "--time")
    assert refused.exit_code == 2
    assert "danlu bench" in refused.stderr


def test_the_table_for_people():
    text = call("lenet5", "--sort", "params", "--top", "2").stdout
    lines = text.splitlines()
    assert lines[0].split()[:3] == ["layer", "kind", "kernel"]
    assert "more layers" in text
    assert "61,706 parameters" in text
    assert "multiply-accumulates" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resnet19"], "did you mean resnet18"),
        (["resnet18 | fold_bm"], "did you mean fold_bn"),
        (["resnet18", "--input", "big"], "3,224,224"),
        (["resnet18", "--input", "3,0,8"], "3,224,224"),
        (["resnet18", "--sort", "speed"], "known: bytes, macs, params, time"),
        (["resnet18", "--sort", "time"], "--time"),
        (["lenet5", "--input", "1,64,64"], "does not take an input of shape [1, 1, 64, 64]"),
        (["missing/folder"], "does not exist"),
        (["missing.safetensors"], "does not exist"),
        (["missing.onnx"], "cannot be read"),
        (["resnet18", "--device", "cuda:99"], "not available"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(words, said):
    result = call(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not result.stdout
