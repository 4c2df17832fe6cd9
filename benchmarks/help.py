"""How long `danlu --help` takes beside an empty Python, interleaved in one run, and whether it loads torch.

python benchmarks/help.py [--rounds 10] [--out FILE]
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from danlu.errors import DanluError
from danlu.files import write_json

EMPTY = [sys.executable, "-c", "pass"]
HELP = [sys.executable, "-m", "danlu.cli.main", "--help"]
PROMISED_SECONDS = 0.4
HEAVY = ("torch", "onnx", "onnxruntime", "optuna", "plotly")


def wall(command: list[str]) -> float:
    """Seconds of one run of a command that must succeed."""
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        raise DanluError(f"{' '.join(command)} exited {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    return seconds


def imported() -> list[str]:
    """The heavy packages that --help loads."""
    command = [HELP[0], "-X", "importtime", *HELP[1:]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    modules = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    return [name for name in HEAVY if name in modules]


def measure(rounds: int) -> dict[str, Any]:
    """One interleaved run; the first round fills the caches and is not counted."""
    wall(EMPTY), wall(HELP)
    empty, helped = [], []
    for _ in range(rounds):
        empty.append(wall(EMPTY))
        helped.append(wall(HELP))
    seconds, base, loaded = statistics.median(helped), statistics.median(empty), imported()
    return {
        "seconds": seconds,
        "spread_seconds": [min(helped), max(helped)],
        "empty_python_seconds": base,
        "ratio": seconds / base,
        "heavy_imports": loaded,
        "promised_seconds": PROMISED_SECONDS,
        "kept": seconds <= PROMISED_SECONDS and "torch" not in loaded,
        "rounds": rounds,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
    }


def main() -> None:
    """Print the comparison, and write it when asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    result = measure(options.rounds)
    print(f"danlu --help   {1e3 * result['seconds']:6.0f} ms (median of {options.rounds})")
    print(f"python -c pass {1e3 * result['empty_python_seconds']:6.0f} ms; ratio {result['ratio']:.1f}x")
    print(f"heavy imports: {', '.join(result['heavy_imports']) or 'none'}")
    print(f"promised {PROMISED_SECONDS} s without torch: {'kept' if result['kept'] else 'BROKEN'}")
    if options.out:
        write_json(options.out, result)


if __name__ == "__main__":
    main()
