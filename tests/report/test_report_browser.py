"""The page in a real browser: it draws, it sorts, it switches, it fits a phone, it asks for nothing."""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from danlu.report import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
HOSTILE = ["</script><script>window.hacked = 1</script>", "<img src=x onerror='window.hacked = 1'>", "W" * 300]
OPTIONS = ["--no-sandbox", "--headless", "--disable-gpu", "--disable-background-networking"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless browser for the module."""
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, example: Callable[..., dict[str, Any]]) -> Path:
    """A usual report, and one with hostile and endless names."""
    root = tmp_path_factory.mktemp("report")
    write_report(root / "usual", example())
    bad = example(HOSTILE, met=False)
    bad["name"] = bad["command"] = bad["best"]["recipe"] = bad["budget"]["in_the_way"] = HOSTILE[2]
    bad["advice"][0] |= {"why": HOSTILE[2], "edit": HOSTILE[2]}
    bad["curves"][1]["name"] = HOSTILE[1]
    bad["test"]["mistakes"][0] |= {"truth": HOSTILE[1], "predicted": HOSTILE[0], "name": HOSTILE[2]}
    write_report(root / "hostile", bad)
    return root


class Seen:
    """A page that is open, with everything it complained about or asked for."""

    def __init__(self, browser: Any, file: Path, width: int, **options: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(file.as_uri())
        self.until("document.querySelectorAll('.canvas .main-svg').length >= 4")

    def until(self, condition: str, seconds: float = 20.0) -> None:
        """Wait from outside: the page's own policy forbids the evaluation that playwright's waiting needs."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"never came true: {condition}"
            self.page.wait_for_timeout(20)

    def close(self) -> None:
        """It must have been quiet and have asked for nothing but itself."""
        complaints, requests = self.complaints, [url for url in self.requests if not url.startswith(("data:", "blob:"))]
        self.context.close()
        assert complaints == []
        assert len(requests) == 1
        assert requests[0].startswith("file:")


@pytest.fixture(scope="module")
def shared(browser: Any, folder: Path) -> Iterator[Seen]:
    """The usual report on a desktop; opening it takes seconds, so the tests share it and leave it as they found it."""
    seen = Seen(browser, folder / "usual" / "report.html", 1280, color_scheme="light")
    yield seen
    seen.close()


def check_fit(seen: Seen, heading: str) -> None:
    """No sideways scrolling of the page with everything unfolded, plots inside their boxes, the verdict on top."""
    page = seen.page
    assert heading in " ".join(page.locator("h1").inner_text().split())
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= page.evaluate("innerWidth")
    for box in page.locator(".canvas").all():
        drawn, room = box.locator(".main-svg").first.bounding_box(), box.bounding_box()
        assert drawn["width"] <= room["width"] + 1


@pytest.mark.parametrize(
    ("name", "heading"),
    [("usual", "Met: 123 KB of 500 KB, 0.412 ms of 3 ms, accuracy"), ("hostile", "Not met: 123 KB of 100 KB")],
)
def test_it_fits_a_phone(browser: Any, folder: Path, name: str, heading: str) -> None:
    seen = Seen(browser, folder / name / "report.html", 390, has_touch=True)
    check_fit(seen, heading)
    assert seen.page.evaluate("window.hacked") is None
    assert seen.page.locator("#hacked, main script, main b[onerror]").count() == 0
    seen.close()


def test_it_fits_a_desktop(shared: Seen) -> None:
    check_fit(shared, "Met: 123 KB of 500 KB, 0.412 ms of 3 ms, accuracy")
    links = shared.page.locator(".toc a")
    assert links.count() == 14
    links.filter(has_text="Confusion").click()
    shared.until("document.querySelector('.toc [aria-current]').hash === '#confusion'")


def values(seen: Seen, table: str, column: int) -> list[str | None]:
    """What the cells of a column are sorted by, in the order they are shown."""
    return seen.page.evaluate(
        "([id, n]) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => row.cells[n].dataset.v ?? null)",
        [table, column],
    )


def test_a_click_sorts_and_missing_values_stay_last(shared: Seen) -> None:
    head = shared.page.locator("#candidates-table thead th").nth(2)
    assert "Accuracy" in head.inner_text()
    assert head.get_attribute("aria-sort") == "none"
    before = values(shared, "candidates-table", 2)
    for order, sign in (("descending", -1), ("ascending", 1)):
        head.locator("button").click()
        assert head.get_attribute("aria-sort") == order
        now = values(shared, "candidates-table", 2)
        known = [float(value) for value in now if value is not None]
        assert known == sorted(known, key=lambda value: sign * value)
        assert now[len(known) :] == [None] * (len(now) - len(known))
        assert len(known) < len(now) == len(before)


def test_the_keyboard_sorts_words_and_moves_the_mark(shared: Seen) -> None:
    heads = shared.page.locator("#layers-best thead th")
    heads.nth(2).locator("button").click()
    heads.nth(0).locator("button").focus()
    shared.page.keyboard.press("Enter")
    assert heads.nth(0).get_attribute("aria-sort") == "ascending"
    assert heads.nth(2).get_attribute("aria-sort") == "none"
    names = [name or "" for name in values(shared, "layers-best", 0)]
    # Numbers inside names count as numbers: stages.2 comes before stages.10.
    assert names == sorted(
        names, key=lambda name: [part.zfill(6) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
    )


def test_filters_show_what_was_asked_for(shared: Seen) -> None:
    box = shared.page.locator("#candidates-table")
    box.locator("select[data-facet=precision]").select_option("int8")
    assert {row.locator("td").first.inner_text() for row in box.locator("tbody tr:visible").all()} == {"int8"}
    shown = box.locator("tbody tr:visible")
    box.locator("[data-search]").fill("squeezenet 0.35")
    assert shown.count() == 2
    assert box.locator("output").inner_text() == "2 of 29 rows"
    box.locator("[data-search]").fill("no such network")
    assert shown.count() == 0
    box.locator("[data-search]").fill("")
    box.locator("select[data-facet=precision]").select_option("")
    assert box.locator("output").inner_text() == "29 rows"


def test_the_axis_of_the_pareto_plot_can_be_switched(shared: Seen) -> None:
    plot = shared.page.locator("[data-figure=pareto]")
    title, ticks = plot.locator(".xtitle"), plot.locator(".xtick")
    assert "File size" in title.text_content()
    before = ticks.all_text_contents()
    for label, unit in (("Latency", "ms"), ("MACs", "M")):
        plot.get_by_text(label, exact=True).click()
        assert label in title.text_content()
        now = ticks.all_text_contents()
        assert now != before
        assert any(unit in tick for tick in now)
    plot.locator("input[value=macs]").focus()
    shared.page.keyboard.press("ArrowLeft")
    assert "Latency" in title.text_content()
    heights = plot.locator(".ytick").all_text_contents()
    plot.get_by_text("Near the best").click()
    assert plot.locator(".ytick").all_text_contents() != heights


def test_pointing_at_the_chosen_star_names_it(shared: Seen) -> None:
    star = shared.page.locator("[data-figure=pareto] .textpoint", has_text="chosen")
    star.scroll_into_view_if_needed()
    box = star.bounding_box()
    shared.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] + 12, steps=3)
    shared.page.wait_for_selector("[data-figure=pareto] .hovertext")
    text = shared.page.locator("[data-figure=pareto] .hovertext").text_content()
    assert "mobilenet_v1" in text
    assert "80.6 %" in text


def test_plots_follow_the_colour_scheme(shared: Seen) -> None:
    colour = "getComputedStyle(document.querySelector('[data-figure=confusion] .xtick text')).fill"
    light = shared.page.evaluate(colour)
    shared.page.emulate_media(color_scheme="dark")
    shared.until(f"{colour} !== '{light}'")
    back = shared.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(int(part) for part in back[4:-1].split(",")) < 120
    shared.page.emulate_media(color_scheme="light")
    shared.until(f"{colour} === '{light}'")


def test_on_paper_everything_is_open_and_fits(shared: Seen) -> None:
    page = shared.page
    page.evaluate("document.querySelectorAll('main details').forEach((part) => { part.open = false; })")
    page.set_viewport_size({"width": 720, "height": 900})
    page.emulate_media(media="print")
    shared.until("document.documentElement.scrollWidth <= 720")
    assert not page.locator(".toc").is_visible()
    assert not page.locator("#candidates-table .filters").is_visible()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("main details:not([open])").count() == 0
    shared.until("document.documentElement.scrollWidth <= 720")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("main details[open]").count() == 0
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_without_scripts_the_words_and_tables_are_there(browser: Any, folder: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((folder / "usual" / "report.html").as_uri())
    assert "123 KB of 500 KB" in page.locator("h1").inner_text()
    assert page.locator("#candidates-table tbody tr").count() == 29
    assert page.locator("#candidates-table thead button").count() == 0
    assert not page.locator(".filters").first.is_visible()
    assert "needs JavaScript" in page.locator("#pareto").inner_text()
    context.close()
