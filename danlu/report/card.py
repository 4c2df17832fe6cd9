"""README.md, the model card: what the file is, how good, how to run it, how it was made, what it is not for."""

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from ..files import write_text
from . import facts, numbers
from .schema import Result, checked
from .verdict import accuracy_words, verdict

LISTED_CLASSES = 60

RUN = """import json

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])
about = session.get_modelmeta().custom_metadata_map
classes, mean, std, (height, width) = (json.loads(about[key]) for key in ("classes", "mean", "std", "size"))

image = ImageOps.exif_transpose(Image.open("photo.jpg")).convert("RGB" if len(mean) == 3 else "L")
if about["resize"] == "short_side_crop":
    scale = max(width / image.width, height / image.height)
    size = round(image.width * scale), round(image.height * scale)
    image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    image = image.crop((left, top, left + width, top + height))
else:
    image = image.resize((width, height), Image.Resampling.BILINEAR)

x = np.asarray(image).reshape(height, width, len(mean))  # [H, W, C]
curve = np.float32(json.loads(about["curve"])) if "curve" in about else [np.arange(256, dtype=np.float32) / 255] * len(mean)
x = np.stack([curve[c][x[:, :, c]] for c in range(len(mean))], axis=2)
x = ((x - np.float32(mean)) / np.float32(std)).transpose(2, 0, 1)[None]  # [1, C, H, W]
logits = session.run(["logits"], {{"input": x}})[0][0]
shares = np.exp(logits - logits.max())
shares /= shares.sum()
for i in shares.argsort()[::-1][:3]:
    print(f"{{classes[i]}}: {{shares[i]:.1%}}")"""


def write_card(run: Path, result: Result | dict[str, Any]) -> Path:
    """Write `run/README.md` atomically and return its path.

    Raises: UsageError when `result` lacks what a card needs; DanluError when the file cannot be written.
    """
    path = Path(run) / "README.md"
    write_text(path, render(result))
    return path


def render(result: Result | dict[str, Any]) -> str:
    """The card as markdown; everything a user wrote is escaped."""
    data = checked(result)
    environment = Environment(
        loader=PackageLoader("danlu.report", "templates"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True, autoescape=False,  # markdown: `prose`, `code` and `fenced` escape
    )  # fmt: skip
    text = environment.get_template("card.md.j2").render(_context(data))
    return re.sub(r"\n{3,}", "\n\n", text)


def prose(text: object) -> str:
    """User text inside markdown prose or a table cell: one line, no markup, no HTML."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~!])", r"\\\1", line)


def code(text: object) -> str:
    """User text as inline code: the fence is longer than any run of backticks inside; bars are escaped for tables."""
    line = " ".join(str(text).split()) or " "
    fence = "`" * (max((len(run) for run in re.findall(r"`+", line)), default=0) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def cell(text: object) -> str:
    """Inline code inside a table cell, where a bar would end the cell."""
    return code(text).replace("|", "\\|")


def fenced(text: object) -> str:
    """User text inside a fenced block: a line cannot close the fence."""
    return str(text).replace("```", "` ` `")


def _context(result: dict[str, Any]) -> dict[str, Any]:
    best, base, data = result["best"], result["baseline"], result.get("data") or {}
    test, classes = result.get("test") or {}, [str(name) for name in data.get("classes") or []]
    file = Path(best.get("onnx") or best.get("file") or "model.onnx").name
    listed = ", ".join(code(name) for name in classes[:LISTED_CLASSES])
    if len(classes) > LISTED_CLASSES:
        listed += f" and {len(classes) - LISTED_CLASSES} more, in the file's metadata under `classes`"
    return {
        "name": prose(result["name"]),
        "lead": f"{_lead(best)}made by danlu {prose(result.get('danlu') or '')}".rstrip() + ".",
        "verdict": f"**Budget {_sentence(result)}**",
        "rows": _rows(best, base),
        "how_measured": _how_measured(result, test),
        "intended": _intended(classes, data),
        "form": _form(data),
        "classes": listed,
        "class_count": len(classes),
        "unpacked": code(Path(best["file"]).name) if best.get("precision") == "danlu" and best.get("file") else "",
        "code": RUN.format(file=fenced(file).replace("\\", "/").replace('"', "")),
        "made": _made(result),
        "steps": _steps(result),
        "limits": _limits(result, data, test),
        "command": fenced(result.get("command") or ""),
        "facts": [(label, prose(value)) for label, value in facts.reproduce_facts(result)],
    }


def _lead(best: dict[str, Any]) -> str:
    size = numbers.size(best["size_bytes"]) if best.get("size_bytes") is not None else ""
    if best.get("precision") == "danlu":
        name = code(Path(best.get("file") or "model.danlu").name)
        held = f" of {size}" if size else ""
        return f"An image classifier in {name}, a .danlu file{held} that unpacks to the ONNX file beside it, "
    return "An image classifier in ONNX, " + (f"{size}, " if size else "")


def _sentence(result: dict[str, Any]) -> str:
    """The verdict, starting small since it follows the word 'Budget'."""
    text = prose(verdict(result).sentence)
    return text[0].lower() + text[1:] + ("" if text.endswith(".") else ".")


def _rows(best: dict[str, Any], base: dict[str, Any]) -> list[tuple[str, str, str]]:
    rows = [("Recipe", cell(best["recipe"]), cell(base["recipe"]))]
    for label, key, show in (
        ("Precision", "precision", lambda v: prose(v or "fp32")), ("Accuracy on test", "accuracy", numbers.percent),
        ("File size", "size_bytes", numbers.size), ("Latency, median", "latency_ms", numbers.ms), ("MACs", "macs", numbers.count),
        ("Parameters", "params", numbers.count),
    ):  # fmt: skip
        if best.get(key) is not None or base.get(key) is not None:
            rows.append((label, show(best.get(key)), show(base.get(key))))
    return rows


def _how_measured(result: dict[str, Any], test: dict[str, Any]) -> str:
    machine = result.get("machine") or {}
    parts = []
    if result["best"].get("accuracy") is not None:
        parts.append(
            f"Accuracy: {accuracy_words(result)}, the exported file in onnxruntime"
            + (f" on {test['n']:,} test images, the interval from the same images under both files." if test.get("n") else ".")
        )
    if result["best"].get("latency_ms") is not None:
        threads = f", {result['threads']} thread{'s' if result['threads'] != 1 else ''}" if result.get("threads") else ""
        where = f" on {prose(machine['processor'])}" if machine.get("processor") else ""
        parts.append(f"Latency: one image at a time in onnxruntime{threads}{where}. 1 KB = 1000 bytes.")
    return " ".join(parts)


def _intended(classes: list[str], data: dict[str, Any]) -> str:
    kinds = f"one of {len(classes)} classes" if classes else "its classes"
    like = f" It expects images like those of {code(data['name'])}, which it was trained on." if data.get("name") else ""
    return f"Tells which of its classes an image shows: the answer is always {kinds}, whatever the image is.{like}"


def _form(data: dict[str, Any]) -> str:
    return "; ".join(prose(value) for label, value in facts.data_facts(data) if label in ("Input", "Resize", "Normalisation"))


def _made(result: dict[str, Any]) -> str:
    networks = {(row.get("id"), row["recipe"]) for row in result.get("candidates") or []}
    tried = f"out of {len(networks)} measured candidates " if len(networks) > 1 else ""
    text = (
        f"danlu trained a baseline, chose this network {tried}on the validation images, and confirmed the exported file on "
        "the test images once."
    )
    return text + (" Step by step (accuracy on validation):" if result.get("steps") else "")


def _steps(result: dict[str, Any]) -> list[str]:
    lines = []
    before = None
    for step in result.get("steps") or []:
        shown = [
            show(step[key])
            for key, show in (("size_bytes", numbers.size), ("latency_ms", numbers.ms), ("accuracy", numbers.percent))
            if step.get(key) is not None
        ]
        same = step.get("recipe") in (None, "", before)
        recipe = "" if same else f" ({code(step['recipe'])})"
        before = step.get("recipe")
        note = f"; {prose(step['note'])}" if step.get("note") and result.get("format") == "danlu" else ""
        lines.append(f"{prose(step['name'])}{recipe}: {', '.join(shown)}{note}".rstrip(": "))
    return lines


def _limits(result: dict[str, Any], data: dict[str, Any], test: dict[str, Any]) -> list[str]:
    train = (data.get("counts") or {}).get("train")
    lines = [
        "It knows only the data it was trained on"
        + (f" ({train:,} images)" if isinstance(train, int) else "")
        + "; other cameras, light, backgrounds or populations can lower its accuracy, and no test of that was made.",
        "It has no class for 'none of these', and its confidence is not calibrated.",
        "Latency is that of the machine named here; another processor or runtime needs its own measurement (`danlu bench`).",
    ]
    ends = numbers.interval(test.get("interval"))
    if ends and test.get("n"):
        lines.append(
            f"The change in accuracy is known to within its interval ({ends} points on {test['n']:,} images), no better."
        )
    if not result["budget"]["met"]:
        lines.append("The budget was not met; this is the closest model found.")
    lines += [prose(warning) for warning in facts.health(data).warnings[:5]]
    return lines
