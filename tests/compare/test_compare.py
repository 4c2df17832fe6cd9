"""Comparisons from end to end on the digits: answers, failures, resuming, the look at the test images."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from danlu.codec import load
from danlu.compare import Comparison, compare, resume
from danlu.compare.runs import Result, pack, unpack
from danlu.data import Source, load_data
from danlu.errors import UsageError
from danlu.runs import Run
from danlu.train import Interrupted, TrainConfig, evaluate, fit
from danlu.zoo import create

NET = "resnet8(width=0.25)"
FAST = {"precision": "fp32", "memory_format": "nchw", "batch_size": 32}
VARY = {"optimizer": ["sgd", "adam"], "lr": [0.05, 1e30]}


@pytest.fixture(scope="module")
def digits() -> Source:
    return load_data("digits").subset(320)


@pytest.fixture(scope="module")
def done(digits: Source, tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    """Two optimisers at a good rate and at one that cannot work."""
    out = tmp_path_factory.mktemp("runs")
    return compare(digits, NET, vary=VARY, seeds=2, epochs=2, settings=FAST, out=out)


def without_time(data: Any) -> Any:
    """An answer without what the clock says."""
    timed = ("seconds", "images_per_second", "seconds_in_all", "date", "run", "machine", "report")
    if isinstance(data, dict):
        return {name: without_time(value) for name, value in data.items() if name not in timed}
    return [without_time(value) for value in data] if isinstance(data, list) else data


def test_rows_are_ranked_and_failures_stay_with_their_reason(done: Comparison) -> None:
    assert [row["state"] for row in done.rows][2:] == ["failed", "failed"]
    assert {row["values"]["lr"] for row in done.rows[2:]} == {"1e+30"}
    assert all(
        "the loss is not a finite number" in row["why"] and row["why"].startswith("2 of 2 seeds (0, 1): ")
        for row in done.rows[2:]
    )
    first, second = done.rows[:2]
    assert done.best == first
    assert first["state"] == "best"
    assert first["accuracy"] >= second["accuracy"]
    assert second["state"] in ("level", "worse")
    assert second["difference"] == pytest.approx(second["accuracy"] - first["accuracy"])
    assert second["interval"][0] <= second["difference"] <= second["interval"][1]
    for row in done.rows[:2]:
        assert row["accuracy"] == pytest.approx(np.mean(row["accuracies"]))
        assert row["range"] == [min(row["accuracies"]), max(row["accuracies"])]
        assert row["epochs"] == 2
        assert row["seconds"] > 0
        assert row["best_epoch"] in (1, 1.5, 2)


def test_a_run_is_what_fit_makes_of_its_settings(done: Comparison, digits: Source) -> None:
    row = next(row for row in done.rows if row["label"] == "optimizer=adam, lr=0.05")
    net = create(NET, num_classes=10, in_channels=1, seed=1)
    alone = fit(net, digits, TrainConfig(epochs=2, optimizer="adam", lr=0.05, seed=1, **FAST))
    assert row["accuracies"][1] == evaluate(alone.model, digits, split="val").accuracy
    curve = next(curve for curve in done.data["curves"] if (curve["cell"], curve["seed"]) == (row["id"], 1))
    assert [point["val_loss"] for point in curve["points"]] == [point["val_loss"] for point in alone.history]


def test_the_folder_holds_all_that_was_found(done: Comparison) -> None:
    run = Path(done.data["run"])
    assert done.report.is_file()
    assert json.loads((run / "result.json").read_text()) == done.data
    assert yaml.safe_load((run / "config.yaml").read_text())["vary"] == VARY
    homes = sorted((run / "cells").glob("*/seed-*"))
    assert len(homes) == 8
    assert all((home / "run.json").is_file() and not (home / "checkpoints").exists() for home in homes)
    assert sum((home / "model.safetensors").is_file() for home in homes) == 4
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert {(row["cell"], row["seed"]) for row in rows} >= {(0, 0), (0, 1), (2, 0), (2, 1)}
    answer = done.to_json()
    assert "curves" not in answer
    json.dumps(answer, allow_nan=False)


def test_the_test_images_are_looked_at_only_when_asked_and_more_seeds_join(
    done: Comparison, digits: Source, tmp_path: Path
) -> None:
    assert done.data["test"] is None
    run = tmp_path / "copy"
    shutil.copytree(done.data["run"], run)
    before = [row["id"] for row in done.rows]
    more = resume(run, source=digits, test=True)
    assert [row["id"] for row in more.rows] == before
    best = more.rows[0]
    seen = more.data["test"]["rows"][0]
    assert seen["id"] == best["id"]
    saved = load(run / "cells" / f"{best['id']:03d}" / "seed-0")
    assert seen["accuracies"][0] == evaluate(saved, digits, split="test").accuracy
    assert without_time(more.data["pairs"]) == without_time(done.data["pairs"])
    three = resume(run, source=digits, seeds=3)
    assert [len(row["accuracies"]) for row in three.rows] == [3] * 4
    assert three.data["test"] is not None
    with pytest.raises(UsageError, match="it can go on with more, not with 1"):
        resume(run, source=digits, seeds=1)
    with pytest.raises(UsageError, match="are not those"):
        resume(run, source=digits.subset(300))
    with Run(run), pytest.raises(UsageError, match="is in use by process"):
        resume(run, source=digits)


def test_an_interrupted_comparison_ends_as_one_that_was_not(digits: Source, tmp_path: Path) -> None:
    options: dict[str, Any] = {"vary": {"optimizer": ["sgd", "adam"]}, "seeds": 2, "epochs": 2, "settings": FAST}
    whole = compare(digits, NET, out=tmp_path / "a", **options)
    calls = iter(range(10_000))
    with pytest.raises(Interrupted, match=r"in run 2 of 4: optimizer=adam, seed 0; continue it with danlu compare --resume"):
        compare(digits, NET, out=tmp_path / "b", stop=lambda: next(calls) >= 26, **options)  # 20 steps a run
    (run,) = (tmp_path / "b").iterdir()
    assert (run / "cells/000/seed-0/run.json").is_file()
    assert (run / "cells/001/seed-0/checkpoints/last.safetensors").is_file()
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("batch_size: 32", "batch_size: 16"))
    with pytest.raises(UsageError, match=r"batch_size was 32 and is now 16; delete .*checkpoints, and this run begins again"):
        resume(run, source=digits)
    assert not (run / "cells/001/seed-0/run.json").exists()
    (run / "config.yaml").write_text(config)
    said: list[str] = []
    rest = resume(run, source=digits, log=said.append)
    assert "1 run is done and kept" in said
    assert not any(text.startswith("run 1 of 4") for text in said)
    assert "resumed at step 7 of 20" in (run / "log.txt").read_text()
    assert without_time(rest.data) == without_time(whole.data)


def test_a_run_whose_checkpoints_are_damaged_begins_again(digits: Source, tmp_path: Path) -> None:
    calls = iter(range(10_000))
    with pytest.raises(Interrupted):
        compare(
            digits, NET, vary={"lr": [0.05]}, seeds=1, epochs=2, settings=FAST, out=tmp_path, stop=lambda: next(calls) >= 5
        )  # fmt: skip
    (run,) = tmp_path.iterdir()
    for file in (run / "cells/000/seed-0/checkpoints").glob("*.safetensors"):
        file.write_bytes(b"not what it was")
    found = resume(run, source=digits)
    assert found.rows[0]["state"] == "best"
    assert "this run begins again" in (run / "log.txt").read_text()


def test_networks_edits_and_effects(digits: Source, tmp_path: Path) -> None:
    vary = {"recipe": ["resnet8(width=0.25)", "resnet8(width=0.5)"], "edit": ["", "se(reduction=4)"]}
    found = compare(digits, vary=vary, seeds=1, steps=4, settings=FAST, out=tmp_path)
    by_label = {row["label"]: row for row in found.rows}
    plain, squeezed = (
        by_label["recipe=resnet8(width=0.25), edit=none"],
        by_label["recipe=resnet8(width=0.25), edit=se(reduction=4)"],
    )
    assert squeezed["recipe"] == "resnet8(width=0.25) | se(reduction=4)"
    assert squeezed["params"] > plain["params"]
    assert plain["params"] == sum(p.numel() for p in create(NET, num_classes=10, in_channels=1).parameters())
    effects = {effect["setting"]: effect for effect in found.data["effects"]}
    assert effects["edit"]["over"] == 2
    none = next(mean["accuracy"] for mean in effects["edit"]["means"] if mean["value"] == "none")
    assert none == pytest.approx(np.mean([row["accuracy"] for row in found.rows if row["values"]["edit"] == "none"]))
    assert "McNemar" in found.data["method"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"vary": {"edit": ["", "see"]}}, "edit=see: unknown edit 'see'"),
        ({"vary": {"recipe": ["resnet8", "lenet5"]}, "recipe": None}, "recipe=lenet5: the network cannot take images of shape"),
        ({"vary": {"rates": [{}, {"nosuch.*": 0.0}]}}, r"rates=\{'nosuch"),
        ({"vary": {"batch_size": [32, 1]}}, "batch_size=1: batch normalisation needs at least two images"),
    ],
)
def test_what_does_not_fit_one_combination_is_told_before_anything_runs(
    digits: Source, tmp_path: Path, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        compare(digits, **{"recipe": NET, "seeds": 1, "steps": 2, "out": tmp_path / "runs", **options})
    assert not (tmp_path / "runs").exists()


def test_folders_of_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not the folder of a comparison"):
        resume(tmp_path)
    (tmp_path / "config.yaml").write_text("verb: train\n")
    with pytest.raises(UsageError, match="is not the folder of a comparison"):
        resume(tmp_path)


@pytest.mark.parametrize("count", [1, 8, 13])
def test_results_survive_being_stored(count: int) -> None:
    right = np.random.default_rng(count).random(count) < 0.5
    assert np.array_equal(unpack(pack(right)), right)
    back = Result.from_json(json.loads(json.dumps(Result(3, 1, accuracy=0.5, right=right, test_right=~right).to_json())))
    assert back.test_right is not None
    assert np.array_equal(back.right, right)
    assert np.array_equal(back.test_right, ~right)
    assert (back.cell, back.seed, back.accuracy) == (3, 1, 0.5)
