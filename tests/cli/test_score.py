"""danlu score: the values are those of the metrics, and whatever does not belong together is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from PIL import Image
from typer.testing import CliRunner

from danlu import metrics
from danlu.cli.score import run
from danlu.codec import save
from danlu.data import Input
from danlu.errors import UsageError
from danlu.metrics.network import network
from danlu.metrics.plots import thinned
from danlu.zoo import create

Call = Callable[..., Any]


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch) -> Call:
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.command()(run)
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    draws = np.random.default_rng(0)
    labels, scores = draws.integers(0, 7, 60), draws.normal(size=(60, 7))
    np.savez(folder / "classes.npz", scores=scores, labels=labels)
    np.save(folder / "labels.npy", labels)
    alike, same = draws.normal(size=50), draws.random(50) > 0.5
    (folder / "pairs.csv").write_text(
        "score,same\n" + "".join(f"{a!r},{int(b)}\n" for a, b in zip(alike.tolist(), same, strict=True))
    )
    for name in ("fakes", "reals"):
        (folder / name).mkdir()
        for i in range(6):
            Image.fromarray(draws.integers(0, 256, (16, 16), dtype=np.uint8)).save(folder / name / f"{i}.png")
            np.save(folder / f"{name}.npy", draws.normal(size=(9, 4)))
    Image.open(folder / "reals" / "0.png").save(folder / "fakes" / "0.png")
    net = create("lenet5(width=0.5)", num_classes=4, in_channels=1, seed=0)
    save(net, folder / "run", input=Input((32, 32), 1, (0.4,), (0.2,)), classes=("a", "b", "c", "d"))
    return folder


def values(result: Any) -> dict[str, Any]:
    assert result.exit_code == 0, result.stderr
    return {row["metric"]: row["value"] for row in json.loads(result.stdout)["metrics"]}


def test_classes_and_their_table(score: Call, files: Path, tmp_path: Path) -> None:
    arrays = np.load(files / "classes.npz")
    asked = ("accuracy", "top_k(k=3)", "f1(average='weighted')")
    found = values(score(*asked, f"{files}/classes.npz:scores", files / "labels.npy", "--json", "--plot", tmp_path / "c.html"))
    assert found == {name: metrics.score(name, arrays["scores"], arrays["labels"]) for name in asked}
    assert "answered" in (tmp_path / "c.html").read_text()
    shown = score("accuracy", "zero_one", f"{files}/classes.npz:scores", files / "labels.npy")
    assert "higher  The share of right answers." in shown.stdout
    assert "lower" in shown.stdout
    assert "60 answers" in shown.stderr


def test_yes_or_no_with_curves(score: Call, files: Path, tmp_path: Path) -> None:
    alike, same = np.loadtxt(files / "pairs.csv", delimiter=",", skiprows=1).T
    pair = f"{files}/pairs.csv:score", f"{files}/pairs.csv:same"
    asked = ("roc_auc", "pr_auc", "tar_at_far(far=0.2)", "far(threshold=0.1)", "average_precision(points='eleven')")
    found = values(score(*asked, *pair, "--json", "--plot", tmp_path / "r.html"))
    assert found == {name: metrics.score(name, alike, same) for name in asked}
    text = (tmp_path / "r.html").read_text()
    assert "false positive rate" in text
    assert "<script src=" not in text


def test_images_each_and_their_mean(score: Call, files: Path) -> None:
    result = score("psnr", "ssim", files / "fakes", files / "reals", "--json")
    found = {row["metric"]: row for row in json.loads(result.stdout)["metrics"]}
    assert found["psnr"]["value"] == found["psnr"]["each"]["0"] == "inf"  # JSON has no infinity
    images = [torch.stack([torch.from_numpy(np.array(Image.open(files / name / f"{i}.png")))[None] for i in range(6)])
              for name in ("fakes", "reals")]  # fmt: skip
    assert found["ssim"]["value"] == pytest.approx(metrics.ssim(*images), rel=1e-6)
    assert found["psnr"]["each"]["3"] == pytest.approx(metrics.psnr(images[0][3:4], images[1][3:4]), rel=1e-9)
    assert "worst first: " in score("ssim", files / "fakes", files / "reals").stdout
    one = values(score("psnr", files / "fakes" / "1.png", files / "reals" / "2.png", "--json"))
    assert one["psnr"] == pytest.approx(metrics.psnr(images[0][1:2], images[1][2:3]), rel=1e-9)


def test_generated_images_by_a_network(score: Call, files: Path) -> None:
    folders = files / "fakes", files / "reals"
    asked = ("frechet", "sliced_wasserstein", "inception_score", "mode_score")
    found = values(score(*asked, *folders, "--features", files / "run", "--json", "--seed", 3))
    see = network(files / "run")
    seen = [see(sorted(folder.iterdir()), at="penultimate") for folder in folders]
    chances = [see(sorted(folder.iterdir())).double().softmax(1) for folder in folders]
    assert found["frechet"] == pytest.approx(metrics.frechet(*seen), rel=1e-9)
    assert found["sliced_wasserstein"] == pytest.approx(metrics.sliced_wasserstein(*seen, seed=3), rel=1e-9)
    assert found["inception_score"] == pytest.approx(metrics.inception_score(chances[0]), rel=1e-9)
    assert found["mode_score"] == pytest.approx(metrics.mode_score(*chances), rel=1e-9)
    features = files / "fakes.npy", files / "reals.npy"
    assert values(score("frechet", *features, "--json"))["frechet"] == metrics.frechet(*map(np.load, features))


@pytest.mark.parametrize(("words", "match"), [
    (["acuracy", "labels.npy", "labels.npy"], "did you mean accuracy"),
    (["accuracy", "roc_auk", "labels.npy", "labels.npy"], "did you mean roc_auc"),
    (["top_k(j=3)", "labels.npy", "labels.npy"], "unknown option of top_k 'j'"),
    (["top_k(k=0.5)", "labels.npy", "labels.npy"], "k takes"),
    (["accuracy"], "name the predictions too"),
    (["accuracy", "labels.npy", "labels.npy", "labels.npy"], "two inputs at most"),
    (["accuracy", "labels.npy"], "compares outputs with targets"),
    (["accuracy", "roc_auc", "labels.npy", "labels.npy"], "of one kind"),
    (["inception_score", "fakes.npy", "reals.npy"], "judges generated alone"),
    (["accuracy", "gone.npy", "labels.npy"], "no such file"),
    (["accuracy", "fakes.npy", "labels.npy"], "one row for each"),
    (["psnr", "fakes", "labels.npy"], "images are compared with images"),
    (["cpbd", "fakes"], "64x64"),
    (["frechet", "fakes", "reals"], "--features"),
    (["frechet", "fakes.npy", "reals.npy", "--features", "run"], "looks at folders"),
    (["frechet", "fakes.npy", "reals.npy", "--at", "fc"], "--at"),
    (["accuracy", "labels.npy", "labels.npy", "--features", "run"], "--features is for generated"),
    (["accuracy", "labels.npy", "labels.npy", "--plot", "c.png"], ".html"),
    (["frechet", "fakes.npy", "reals.npy", "--plot", "c.html"], "--plot draws"),
])  # fmt: skip
def test_what_does_not_belong_together(
    score: Call, files: Path, monkeypatch: pytest.MonkeyPatch, words: list, match: str
) -> None:
    monkeypatch.chdir(files)
    result = score(*words)
    assert result.exit_code == 2
    assert match in result.stderr
    assert not list(files.glob("c.*"))


def test_score_from_python() -> None:
    assert metrics.score("accuracy", [0, 1, 1], [0, 1, 2]) == pytest.approx(2 / 3)
    with pytest.raises(UsageError, match="takes 2 inputs, outputs and targets; got 1"):
        metrics.score("accuracy", [0, 1])
    with pytest.raises(UsageError, match="did you mean accuracy"):
        metrics.score("acuracy", [0], [0])


def test_thin_curves_keep_their_shape() -> None:
    draws = np.random.default_rng(0)
    curve = metrics.roc_curve(draws.normal(size=20_000), draws.random(20_000) > 0.9)
    few = thinned(curve.fpr, curve.tpr, 300)
    assert len(few) <= 301
    assert few[0] == 0
    assert few[-1] == len(curve.fpr) - 1
    assert np.abs(np.interp(curve.fpr, curve.fpr[few], curve.tpr[few]) - curve.tpr).max() < 0.02
    assert thinned(np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 1.0])).tolist() == [0, 1, 2]
