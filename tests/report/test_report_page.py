"""The page as text: structure, escaping, nothing to load, missing parts, extreme values."""

import copy
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from danlu.errors import UsageError
from danlu.report import write_card, write_report
from danlu.report.page import SECTIONS, asset, embedded

HOSTILE = [
    '</script><b id="evil">',
    "<img src=x onerror=alert(1)>",
    "a & b \"c\" 'd'",
    "{{ 7 * 7 }}",
    "<!--",
    "x" * 300,
    "猫\u2028\u202e",
]
VOID = {"meta", "link", "input", "img", "br", "hr"}


class Page(HTMLParser):
    """What a browser would see: elements, attributes, text outside scripts, and whether the tags balance."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> without a start"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def ids(self) -> list[str]:
        return [attrs["id"] or "" for _, attrs in self.tags if "id" in attrs]


def read(folder: Path, result: dict[str, Any]) -> Page:
    """Write a report and read it back."""
    page = Page(write_report(folder, result).read_text(encoding="utf-8"))
    assert page.open == []
    return page


def test_the_page_has_every_section_and_a_contents_that_reaches_them(
    tmp_path: Path, example: Callable[..., dict[str, Any]]
) -> None:
    page = read(tmp_path, example())
    ids = page.ids()
    assert len(ids) == len(set(ids))
    assert {id for id, _, _ in SECTIONS} <= set(ids)
    targets = {attrs["href"].removeprefix("#") for tag, attrs in page.tags if tag == "a" and attrs["href"]}  # type: ignore[union-attr]
    assert targets == {"verdict", *(id for id, _, _ in SECTIONS)}
    assert [tag for tag, _ in page.tags].count("h1") == 1
    assert "Left out of this report" not in page.text
    assert "Met: 123 KB of 500 KB, 0.412 ms of 3 ms, accuracy" in page.text
    for word in (
        "squeezenet1_1",
        "stages.0.0.conv",
        "factorize_linear(energy=0.95)",
        "image file is truncated",
        "danlu optimize photos/flowers",
        "octave",
    ):
        assert word in page.text
    assert all(attrs.get("alt") for tag, attrs in page.tags if tag == "img")
    assert all(attrs.get("scope") for tag, attrs in page.tags if tag == "th")


def test_nothing_is_loaded_from_anywhere(tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    page = read(tmp_path, example())
    for tag, attrs in page.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster", "background", "xlink:href", "formaction"):
            value = attrs.get(name)
            assert value is None or value.startswith(("data:image/", "#")), (tag, name, value)
        assert "url(" not in (attrs.get("style") or "")
    style = str(asset("style.css"))
    assert "url(" not in style
    assert "@import" not in style
    (policy,) = [attrs["content"] or "" for tag, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|\*|unsafe-eval", policy)
    for script in ("tables.js", "plots.js", "page.js"):
        assert not re.search(r"https?://|fetch\(|XMLHttpRequest|import\(", str(asset(script)))


def test_hostile_names_are_only_text(tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    result = example(HOSTILE)
    evil = HOSTILE[0]
    result |= {"name": evil, "command": evil, "log": evil, "run": evil, "machine": {"processor": evil, "versions": {evil: evil}}}
    result["best"]["recipe"] = evil
    result["budget"]["in_the_way"] = evil
    result["candidates"][0] |= {"recipe": evil, "why": evil, "status": evil, "precision": evil}
    result["steps"][0] |= {"name": evil, "recipe": evil}
    result["curves"][0]["name"] = evil
    result["layers"]["best"]["rows"][0] |= {"name": evil, "kind": evil, evil: evil}
    result["layers"]["best"]["notes"] = [evil]
    result["advice"] = [{"why": evil, "edit": evil, "saving": {evil: evil}}]
    result["not_compressed"] = [{"what": evil, "why": evil}]
    result["stages"][0]["name"] = evil
    result["failed"] = [{"recipe": evil, "why": evil}]
    result["data"] |= {
        "where": evil,
        "health": {"warnings": [evil], "unreadable": [{"name": evil, "reason": evil}], "counts": {evil: {evil: 1}}, evil: evil},
    }
    result["test"]["mistakes"][0] |= {"name": evil, "truth": evil, "predicted": evil}
    result["test"]["mistakes"][1]["image"] = "https://example.org/x.png"
    page = read(tmp_path, result)
    assert "evil" not in page.ids()
    assert not any("onerror" in attrs for _, attrs in page.tags)
    assert len(page.scripts) == [tag for tag, _ in page.tags].count("script") == 3
    assert page.text.count(evil) > 15  # it is shown, as text
    assert "{{ 7 * 7 }}" in page.text
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 11  # the picture with an address is not shown
    figures = json.loads(page.scripts[0])
    for name in ("<b id=", "<img"):
        assert name not in json.dumps(figures)  # plotly reads some HTML: there names come as entities
    assert "&lt;/script&gt;" in json.dumps(figures)


def test_embedded_json_survives_and_cannot_close_its_element() -> None:
    value = {"a": "</script><!--&\u2028\u2029猫", "b": [1.5, None, True]}
    text = str(embedded(value))
    assert json.loads(text) == value
    assert not re.search("[<>&\u2028\u2029]", text)


OPTIONAL = [
    "speedup",
    "test",
    "candidates",
    "failed",
    "steps",
    "curves",
    "layers",
    "advice",
    "not_compressed",
    "stages",
    "log",
    "machine",
    "data",
    "seconds",
    "time_budget",
    "seed",
    "threads",
    "command",
    "date",
    "danlu",
    "run",
]


@pytest.mark.parametrize("part", OPTIONAL)
@pytest.mark.parametrize("how", ["absent", "none"])
def test_every_optional_part_may_be_missing(part: str, how: str, tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    result = example()
    if how == "absent":
        del result[part]
    else:
        result[part] = None
    page = read(tmp_path, result)
    write_card(tmp_path, result)
    gone = {
        "test": "confusion matrix",
        "candidates": "candidates",
        "steps": "each step bought",
        "curves": None,
        "layers": "layer tables",
        "advice": "advice",
        "not_compressed": "not compressed",
        "stages": "time of each stage",
        "data": "data's description",
    }
    if gone.get(part):
        assert gone[part] in page.text[page.text.index("Left out of this report") :]
    assert "None" not in page.text.replace("None-", "")


def test_the_bare_minimum_makes_a_report_and_less_does_not(tmp_path: Path) -> None:
    bare: dict[str, Any] = {"name": "x", "budget": {"met": True}, "baseline": {"recipe": "a"}, "best": {"recipe": "b"}}
    page = read(tmp_path, bare)
    assert "Met:" in page.text
    assert page.text.count(";") > 8  # the sections that were left out
    write_card(tmp_path, bare)
    (tmp_path / "report.html").unlink()
    with pytest.raises(UsageError, match=r"lacks budget, best, baseline\.recipe"):
        write_report(tmp_path, {"name": "x", "baseline": {}})
    with pytest.raises(UsageError, match=r"budget\.met"):
        write_report(tmp_path, bare | {"budget": {}})
    with pytest.raises(UsageError, match="list"):
        write_card(tmp_path, [])  # type: ignore[arg-type]
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]


def extreme(result: dict[str, Any], how: str) -> dict[str, Any]:
    """A result bent out of shape."""
    if how == "no candidates":
        result["candidates"] = []
    elif how == "one candidate":
        result["candidates"] = result["candidates"][:1]
    elif how == "nothing measured":
        for row in [*result["candidates"], result["best"], result["baseline"], *result["steps"]]:
            row |= dict.fromkeys(
                ("latency_ms", "latency_p10_ms", "latency_p90_ms", "size_bytes", "macs", "params", "accuracy", "val_accuracy")
            )
        result["speedup"] = None
    elif how == "zeros":
        for row in [*result["candidates"], result["best"], result["baseline"], *result["steps"]]:
            row |= dict.fromkeys(
                ("latency_ms", "latency_p10_ms", "latency_p90_ms", "size_bytes", "macs", "params", "accuracy", "val_accuracy"), 0
            )
        result |= {"seconds": 0, "stages": [{"name": "a", "seconds": 0}], "speedup": None}
        result["test"] |= {"difference": 0.0, "interval": [0.0, 0.0], "confusion": [[0, 0], [0, 0]]}
    elif how == "not finite":
        result["best"] |= {"latency_ms": float("inf"), "macs": float("nan")}
        result["candidates"][0]["accuracy"] = float("nan")
        result["curves"][0]["points"][3]["train_loss"] = float("nan")
        result["test"]["interval"] = [float("nan"), 0.1]
    elif how == "bytes that are no text":
        result["test"]["mistakes"][0]["name"] = "caf\udce9.jpg"
        result["data"]["health"]["unreadable"] = [{"name": "\udcff.png", "reason": "x"}]
    elif how == "huge":
        result["best"] |= {"size_bytes": 10**13, "latency_ms": 1e7, "macs": 10**15}
    return result


@pytest.mark.parametrize(
    "how", ["no candidates", "one candidate", "nothing measured", "zeros", "not finite", "bytes that are no text", "huge"]
)
def test_extreme_values(how: str, tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    result = extreme(example(["cat", "dog"]), how)
    before = copy.deepcopy(result)
    page = read(tmp_path, result)
    card = write_card(tmp_path, result).read_text(encoding="utf-8")
    assert repr(result) == repr(before)  # the caller's dict is not touched
    for text in (page.text, re.sub("```python.*?```", "", card, flags=re.DOTALL)):
        assert not re.search(r"\bnan\b|\binf\b|\bNone\b|\de\+\d", text)


def test_two_hundred_classes_stay_readable_and_small(tmp_path: Path, example: Callable[..., dict[str, Any]]) -> None:
    result = example([f"class {i}" for i in range(200)], images=20)
    page = read(tmp_path, result)
    plotly = len(page.scripts[1])
    assert (tmp_path / "report.html").stat().st_size - plotly < 2_000_000
    rows = json.loads(page.scripts[0])["confusion"]["views"][""]["data"][0]["z"]
    assert len(rows) == 200


def colours(block: str) -> dict[str, str]:
    """The colours of one set of style variables."""
    return dict(re.findall(r"(--[a-z0-9-]+): (#[0-9a-f]{6})", block))


def luminance(colour: str) -> float:
    """WCAG 2: relative luminance of an sRGB colour."""
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    """WCAG 2: contrast ratio."""
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_text_has_enough_contrast_in_light_and_dark() -> None:
    style = str(asset("style.css"))
    light = colours(style[style.index(":root") : style.index("@media")])
    dark = light | colours(style[style.index("prefers-color-scheme: dark") : style.index("*, *::before")])
    pairs = [(ink, back) for ink in ("--ink", "--muted", "--accent", "--int8") for back in ("--page", "--card")]
    pairs += [
        ("--ink", back)
        for back in ("--wash", "--bar", "--warn-wash", "--bad-wash", "--heat-0", "--right-1", "--wrong-0", "--wrong-1")
    ]
    pairs += [("--good", "--page"), ("--bad", "--page"), ("--card", "--accent"), ("--muted", "--wash"), ("--baseline", "--card")]
    for name, theme in (("light", light), ("dark", dark)):
        for ink, back in pairs:
            assert contrast(theme[ink], theme[back]) >= 4.5, (name, ink, back)
        for mark in ("--fp32", "--int8", "--accent-soft", "--limit"):
            assert contrast(theme[mark], theme["--card"]) >= (2 if mark == "--accent-soft" else 3), (name, mark)
