"""The page of a comparison: its words, and in a real browser that it draws, fits, and asks for nothing."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from danlu.compare.grid import check
from danlu.compare.page import caution, headline, render
from danlu.compare.runs import Result
from danlu.compare.significance import METHOD
from danlu.compare.summary import summarise

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
HOSTILE = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>" + "W" * 200
LEVELS = {"sgd": 0.3, "adam": -0.3, "rmsprop": -1.0}


def answer(
    seeds: int = 3, test: bool = True, name: str = "flowers", why: str = "the loss is not a finite number"
) -> dict[str, Any]:
    """A made-up comparison: three optimisers that differ, three schedules that do not, and one combination that fails."""
    rng = np.random.default_rng(0)
    grid = check("resnet20", {"optimizer": list(LEVELS), "schedule": ["step", "exp", "poly"]}, {"batch_size": 64}, epochs=5)
    ease, results = rng.normal(1, 1, 400), []
    for cell in grid.cells:
        for seed in range(seeds):
            if cell.id == 8 and seed == seeds - 1:
                results.append(Result(cell.id, seed, why=why))
                continue
            level = LEVELS[cell.config.optimizer]
            right = ease + level + rng.normal(0, 0.05) + rng.normal(0, 0.5, 400) > 0
            accuracy = float(right.mean())
            rows = [
                {"epoch": e, "step": 10 * e, "seconds": 1.5 * e + 0.1 * seed, "lr": 0.1 / e, "train_loss": 1 / e,
                 "train_accuracy": accuracy,
                 "val_loss": 1.2 / e, "val_accuracy": accuracy - 0.05 * (5 - e), "images_per_second": 100.0}
                for e in range(1, 6)
            ]  # fmt: skip
            tested = ease + level + rng.normal(0, 0.5, 400) > 0 if test else None
            results.append(
                Result(cell.id, seed, accuracy=accuracy, best_epoch=4, epochs=5, steps=50, seconds=7.5, history=rows, right=right,
                       test_right=tested)
            )  # fmt: skip
    costs = {"resnet20": {"params": 272_474, "macs": 40_551_808}}
    return {
        "name": name, "run": "runs/0001-flowers", "date": "2025-11-02 10:00", "data": "flowers/", "recipe": "resnet20",
        "vary": grid.axes, "settings": grid.settings, "seeds": seeds, "seed": 0, "budget": {"epochs": 5}, "time": None,
        "budget_text": "5 epochs each", "device": "cpu", "command": "danlu compare", "input": {"size": [32, 32], "channels": 3},
        "images": {"train": 2000, "val": 400, "test": 400}, "classes": 10, "seconds_in_all": 200.0, "method": METHOD,
        **summarise(grid.cells, results, grid.axes, costs), "tunes": {"resnet20": {"precision": "fp32", "memory_format": "nchw"}},
        "machine": {"processor": "a processor", "cores": 2, "system": "Linux", "python": "3.11", "versions": {"torch": "2.13"}},
        "curves": [{"cell": one.cell, "seed": one.seed, "points": one.history} for one in results if one.history],
    }  # fmt: skip


def test_the_summary_finds_what_was_put_in() -> None:
    data = json.loads(json.dumps(answer(), allow_nan=False))
    assert data["rows"][0]["values"]["optimizer"] == "sgd"
    states = {row["label"]: row["state"] for row in data["rows"]}
    assert states["optimizer=rmsprop, schedule=poly"] == "failed"
    assert {states[f"optimizer=rmsprop, schedule={name}"] for name in ("step", "exp")} == {"worse"}
    assert {state for label, state in states.items() if "=sgd" in label} == {"best", "level"}
    optimizer, schedule = data["effects"]
    assert (optimizer["setting"], optimizer["over"]) == ("optimizer", 2)  # rmsprop has no whole run with poly
    assert [mean["value"] for mean in optimizer["means"]] == list(LEVELS)
    assert all(pair["real"] for pair in optimizer["pairs"])
    assert schedule["over"] == 2
    assert not any(pair["real"] for pair in schedule["pairs"])
    assert len(data["pairs"]) == 28
    assert [row["id"] for row in data["test"]["rows"]] == [row["id"] for row in data["rows"][:8]]


def test_the_words() -> None:
    data = answer()
    said, sure = headline(data)
    assert said.startswith("optimizer=sgd, schedule=")
    assert sure == "2 other combinations cannot be told apart from it, the other 5 are worse."
    assert caution(data) == ["1 of 9 combinations failed; the reasons are below the table."]
    data["rows"][0]["best_epoch"] = 5
    assert "a longer training may change the order" in " ".join(caution(data))
    assert "One seed" in caution(answer(seeds=1))[0]
    for row in data["rows"]:
        row["state"] = "failed"
    assert headline(data)[0] == "None of the combinations could be trained"
    text = render(answer(test=False, name=HOSTILE, why=HOSTILE))
    assert "On the test images" not in text
    assert "<img src=x" not in text
    assert "1 of 3 seeds (2): &lt;/script&gt;" in text


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless", "--disable-gpu"])
        yield started
        started.close()


@pytest.mark.parametrize(("width", "hostile"), [(1280, False), (390, False), (390, True)])
def test_in_a_browser(browser: Any, tmp_path: Path, width: int, hostile: bool) -> None:
    file = tmp_path / "report.html"
    file.write_text(render(answer(name=HOSTILE, why=HOSTILE) if hostile else answer()), encoding="utf-8")
    page = browser.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url) if not request.url.startswith(("data:", "blob:")) else None)
    page.goto(file.as_uri())
    end = time.monotonic() + 20
    while page.evaluate("document.querySelectorAll('.canvas .main-svg').length") < 6:
        assert time.monotonic() < end, "the plots were never drawn"
        page.wait_for_timeout(50)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for box in page.locator(".canvas").all():
        assert box.locator(".main-svg").first.bounding_box()["width"] <= box.bounding_box()["width"] + 1
    assert page.locator("#combinations-table tbody tr").count() == 9
    assert page.locator("#combinations .badge.failed").count() == 1
    assert "1 of 3 seeds (2)" in page.locator("#combinations .warnings").inner_text()
    if not hostile:
        curves = page.locator("[data-figure=curves]")
        assert curves.locator(".scatterlayer .trace").count() == 24  # two edges of the band and the mean, of eight
        curves.get_by_text("Learning rate", exact=True).click()
        assert curves.locator(".ytitle").text_content() == "Learning rate"
        head = page.locator("#combinations-table thead th").nth(2)
        assert "Accuracy" in head.inner_text()
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == "descending"
    assert page.evaluate("window.hacked") is None
    page.close()
    assert complaints == []
    assert len(asked) == 1
