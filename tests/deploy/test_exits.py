"""Exported early exits: both forms against torch image by image, thresholds against brute force, and the verb."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
import typer
from typer.testing import CliRunner

import danlu.cli.exits
from danlu.codec import load_saved, save
from danlu.data import Source, batches, load_data
from danlu.data.spec import Input
from danlu.deploy import ExitRunner, calibrate_exits, export_exits, export_onnx, export_segments, predict, race_exits, session
from danlu.deploy.exits import nats
from danlu.deploy.thresholds import ExitReport, ExitScores, bound, choose_thresholds, report_exits, score_exits
from danlu.errors import UsageError
from danlu.nn import EarlyExit, exit_entropy
from danlu.train import TrainConfig, fit
from danlu.zoo import create


@pytest.fixture(scope="module")
def source() -> Source:
    return load_data("digits")


@pytest.fixture(scope="module")
def trained(source: Source) -> EarlyExit:
    """A small residual net with two exits that know something; each of its three exits answers for some images."""
    recipe = "resnet8(width=0.5) | fit_input(size=8) | add_exits(at=2, head='conv', channels=8, grid=2)"
    net = create(recipe, num_classes=10, in_channels=1, seed=0)
    config = TrainConfig(steps=80, batch_size=64, lr=0.1, precision="fp32", memory_format="nchw", augment="none")
    model = fit(net, source, config).model
    entropy = score_exits(model, source).entropy
    model.thresholds.copy_(torch.tensor([np.quantile(entropy[:, 0], 0.4), np.quantile(entropy[:, 1], 0.6)]))  # type: ignore[operator]
    return model  # type: ignore[return-value]


def images(source: Source, split: str = "test") -> np.ndarray:
    return next(iter(batches(getattr(source, split), source.input, 10_000, channels_last=False)))[0].numpy()


def expected(model: EarlyExit, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(logits, exit) of every image, from the definition."""
    with torch.no_grad():
        exits = model.exits(torch.from_numpy(x))
    sure = torch.stack([exit_entropy(z) < t for z, t in zip(exits[:-1], model.thresholds, strict=True)], 1).numpy()
    at = np.where(sure.any(1), sure.argmax(1), len(exits) - 1)
    return torch.stack(exits, 1).numpy()[np.arange(len(x)), at], at


def test_one_file_stops_where_torch_does(trained: EarlyExit, source: Source, tmp_path: Path) -> None:
    file = export_exits(trained, tmp_path / "exits.onnx", input=source.input, classes=source.classes, recipe="mine")
    onnx.checker.check_model(str(file), full_check=True)
    x = images(source)
    logits, at = expected(trained, x)
    assert set(at) == {0, 1, 2}
    running = session(file, threads=1)
    for i, image in enumerate(x):
        answer, left = running.run(["logits", "exit"], {"input": image[None]})
        np.testing.assert_allclose(answer[0], logits[i], rtol=1e-4, atol=1e-4)
        assert left.tolist() == [at[i]]
    np.testing.assert_allclose(predict(file, source.test), logits, rtol=1e-4, atol=1e-4)
    proto = onnx.load(str(file))
    assert [node.op_type for node in proto.graph.node].count("If") == 1
    first = sum(node.op_type == "Conv" for node in proto.graph.node)
    assert 0 < first < 5, "only the convolutions up to the first exit run for every image"


def test_segments_stop_where_torch_does(trained: EarlyExit, source: Source, tmp_path: Path) -> None:
    files = export_segments(trained, tmp_path, input=source.input, classes=source.classes)
    assert [file.name for file in files] == ["exit_1.onnx", "exit_2.onnx", "exit_3.onnx"]
    for file in files:
        onnx.checker.check_model(str(file), full_check=True)
    x = images(source)[:100]
    logits, at = expected(trained, x)
    runner = ExitRunner(files)
    for i, image in enumerate(x):
        answer, left = runner.run(image[None])
        np.testing.assert_allclose(answer[0], logits[i], rtol=1e-4, atol=1e-4)
        assert left == at[i]
    with pytest.raises(UsageError, match="one image at a time"):
        runner.run(x)
    with pytest.raises(UsageError, match="name all files in order"):
        ExitRunner(files[1:])


def test_the_ordinary_export_computes_all_exits(trained: EarlyExit, source: Source, tmp_path: Path) -> None:
    file = export_onnx(trained, tmp_path / "all.onnx", input=source.input, classes=source.classes)
    with pytest.raises(UsageError, match="not a segment"):
        ExitRunner([file])
    logits, _ = expected(trained, images(source))
    np.testing.assert_allclose(predict(file, source.test), logits, rtol=1e-4, atol=1e-4)


def test_an_exit_at_the_image_of_a_net_with_vectors(tmp_path: Path) -> None:
    source = load_data("digits", size=28)
    step = (
        "add_exits(at=['input', '1', '6'], head=['conv', 'linear', 'linear'], channels=[16, 16], stride=2, grid=7, threshold=0.9)"
    )
    model: Any = create(f"lenet5_caffe | {step}", num_classes=10, in_channels=1, seed=3).eval()
    x = images(source)[:40]
    with torch.no_grad():
        entropy = torch.stack([exit_entropy(z) for z in model.exits(torch.from_numpy(x))[:-1]], 1)
        model.thresholds.copy_(entropy.quantile(0.3, dim=0))
    logits, at = expected(model, x)
    assert set(at) == {0, 1, 2, 3}
    file = export_exits(model, tmp_path / "exits.onnx", input=source.input, classes=source.classes)
    runner = ExitRunner(export_segments(model, tmp_path, input=source.input, classes=source.classes))
    running = session(file, threads=1)
    for i, image in enumerate(x):
        answer, left = running.run(["logits", "exit"], {"input": image[None]})
        np.testing.assert_allclose(answer[0], logits[i], rtol=1e-4, atol=1e-5)
        assert (left.item(), runner.run(image[None])[1]) == (at[i], at[i])
    assert "MaxPool" not in [node.op_type for node in onnx.load(str(file)).graph.node], "the pool over single pixels is gone"


def test_nats() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32) * 4
    torch.testing.assert_close(
        torch.from_numpy(nats(logits)) / np.log(7), exit_entropy(torch.from_numpy(logits)), rtol=1e-4, atol=1e-6
    )


def random_scores(seed: int, n: int, exits: int) -> ExitScores:
    rng = np.random.default_rng(seed)
    entropy = rng.integers(1, 12, (n, exits - 1)) / 12  # with ties
    right = rng.random((n, exits)) < np.concatenate([1 - 0.8 * entropy, np.full((n, 1), 0.8)], 1)
    return ExitScores(right, entropy)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("max_drop", [0.0, 0.05])
def test_the_threshold_of_one_exit_is_the_best_there_is(seed: int, max_drop: float) -> None:
    scores, costs = random_scores(seed, 60, 2), (1.0, 5.0)
    need = scores.right[:, 1].mean() - max_drop
    best = np.inf
    for threshold in np.arange(14) / 12 - 0.01:
        at = scores.leaves([threshold])
        if scores.right[np.arange(60), at].mean() >= need - 1e-9:
            best = min(best, np.asarray(costs)[at].mean())
    chosen = scores.leaves(choose_thresholds(scores, costs, max_drop))
    assert np.asarray(costs)[chosen].mean() == pytest.approx(best)
    assert scores.right[np.arange(60), chosen].mean() >= need - 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_two_thresholds_keep_the_accuracy_and_come_near_the_best(seed: int) -> None:
    scores, costs = random_scores(seed, 80, 3), np.array([1.0, 3.0, 8.0])
    means = {}
    for pair in itertools.product(np.arange(14) / 12 - 0.01, repeat=2):
        at = scores.leaves(pair)
        if scores.right[np.arange(80), at].sum() >= scores.right[:, -1].sum():
            means[pair] = costs[at].mean()
    chosen = scores.leaves(choose_thresholds(scores, costs.tolist()))
    assert scores.right[np.arange(80), chosen].sum() >= scores.right[:, -1].sum()
    assert min(means.values()) - 1e-9 <= costs[chosen].mean() <= 1.25 * min(means.values())


def test_thresholds_that_cannot_be() -> None:
    scores = ExitScores(np.array([[False, True]] * 5), np.full((5, 1), 0.5))
    assert choose_thresholds(scores, (1, 2)) == (0.0,)
    with pytest.raises(UsageError, match="better than the last exit"):
        choose_thresholds(scores, (1, 2), max_drop=-0.1)
    with pytest.raises(UsageError, match="2 rising numbers"):
        choose_thresholds(scores, (2, 1))


def test_calibration_reports_what_the_net_then_does(trained: EarlyExit, source: Source) -> None:
    before = trained.thresholds.clone()
    new, report = calibrate_exits(trained, source, max_drop=0.01)
    assert torch.equal(trained.thresholds, before)
    assert report.accuracy >= report.accuracies[-1] - 0.01 - 1e-9
    assert sum(report.rates) == pytest.approx(1)
    x = images(source, "val")
    with torch.no_grad():
        answers = new(torch.from_numpy(x)).argmax(1).numpy()
    assert (answers == source.val.labels).mean() == pytest.approx(report.accuracy)
    np.testing.assert_allclose(np.bincount(expected(new, x)[1], minlength=3) / len(x), report.rates)
    assert list(report.exit_ms) == sorted(report.exit_ms)
    assert report == report_exits(new, score_exits(new, source), report.exit_ms, "val")
    with pytest.raises(UsageError, match="no exits"):
        calibrate_exits(new.plain(), source)


def test_the_race_counts_every_image_once_a_round(trained: EarlyExit, source: Source, tmp_path: Path) -> None:
    facts: Any = {"input": source.input, "classes": source.classes}
    files = export_exits(trained, tmp_path / "a.onnx", **facts), export_onnx(trained.plain(), tmp_path / "b.onnx", **facts)
    speed = race_exits(*files, source, most=120, rounds=3)
    assert (speed.images, len(speed.rounds)) == (120, 3)
    assert speed.times_faster == pytest.approx(speed.whole_ms / speed.mean_ms)
    assert 0 < speed.mean_ms < 100


def test_the_verb(trained: EarlyExit, source: Source, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(trained, tmp_path / "run", input=source.input, classes=source.classes)
    app = typer.Typer()
    app.command()(danlu.cli.exits.run)
    command = [str(tmp_path / "run"), "digits", "--max-drop", "0.02", "--segments", "--json"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    value = json.loads(result.stdout)
    assert value["splits"]["val"]["accuracy"] >= value["splits"]["val"]["accuracies"][-1] - 0.02 - 1e-9
    assert value["splits"]["test"]["n"] == len(source.test)
    back: Any = load_saved(tmp_path / "run" / "exits").model
    assert back.thresholds.tolist() == pytest.approx(value["thresholds"])
    logits, _ = expected(back, images(source))
    np.testing.assert_allclose(predict(value["files"][0], source.test), logits, rtol=1e-4, atol=1e-4)
    assert len(value["files"]) == 4
    danlu.cli.exits.show(value, [ExitReport(**report) for report in value["splits"].values()])
    assert "faster than the net without exits" in " ".join(capsys.readouterr().out.split())
    plain = create("resnet8", num_classes=10, in_channels=1)
    save(plain, tmp_path / "none", input=source.input, classes=source.classes)
    refused = CliRunner().invoke(app, [str(tmp_path / "none"), "digits"])
    assert refused.exit_code == 2
    assert "has no exits" in refused.stderr


def test_bound_buffers_give_the_answers_of_a_plain_run(tmp_path: Path) -> None:
    net = create("lenet_300_100(size=8)", num_classes=10, in_channels=1, seed=0)
    file = export_onnx(net, tmp_path / "x.onnx", input=Input((8, 8), 1, (0.5,), (0.5,)), classes=[str(i) for i in range(10)])
    images = np.random.default_rng(0).standard_normal((3, 1, 1, 8, 8), np.float32)
    call, plain = bound(file, images[0], 10, 1), session(file, threads=1)
    for image in images:
        assert np.array_equal(call(image), plain.run(["logits"], {"input": image})[0])
