"""The measurements of the atlas: `measured.json`, written by `benchmarks/atlas.py`, checked before anything is drawn from it."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError

OURS = Path(__file__).parent / "measured.json"
# What a row may hold besides its name and recipe.
NUMBERS = (
    "params", "macs", "accuracy", "val_accuracy", "latency_ms", "times_resnet20", "onnx_bytes",
    "train_images_per_second",
)  # fmt: skip
# What the pages say of how they were measured.
ABOUT = ("command", "date", "seed", "machine", "protocol")
PROTOCOL = ("images", "val_images", "test_images", "epochs", "batch_size", "optimizer", "lr", "precision")
MACHINE = ("processor", "cores", "versions")
MOST_BYTES = 16_000_000


@dataclass(frozen=True)
class Measured:
    """One row a net, by name, each with what was measured of it; and the protocol, command, seed, data and machine."""

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)


def load_measured(path: str | Path | None = None) -> Measured:
    """Read a file of results; without one, those that come with danlu.

    Raises: UsageError for a file that is missing, too large, not JSON, or of another form.
    """
    file = Path(OURS if path is None else path)
    if path is None and not file.is_file():
        return Measured()
    if not file.is_file():
        raise UsageError(f"there is no file {file}; benchmarks/atlas.py --out writes one")
    if file.stat().st_size > MOST_BYTES:
        raise UsageError(f"{file} is larger than {MOST_BYTES:,} bytes: these are no results of benchmarks/atlas.py")
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    rows = value.get("rows") if isinstance(value, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("name"), str) for row in rows):
        raise UsageError(f"{file} has no list of rows with names: these are no results of benchmarks/atlas.py")
    for row in rows:
        for key in NUMBERS:
            number = row.get(key, 0)
            if isinstance(number, bool) or not isinstance(number, int | float) or number < 0:
                raise UsageError(f"{file}: {key} of {row['name']} must be a number of at least 0, got {number!r}")
    about = {key: item for key, item in value.items() if key != "rows"}
    for part, keys in ((about, ABOUT), (about.get("protocol"), PROTOCOL), (about.get("machine"), MACHINE)):
        missing = [key for key in keys if key not in part] if isinstance(part, dict) else keys
        if missing:
            raise UsageError(
                f"{file} does not say its {', '.join(missing)}: it must tell how it was measured, as benchmarks/atlas.py does"
            )
    return Measured({row["name"]: row for row in rows}, about)
