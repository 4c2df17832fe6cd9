"""A run folder: runs/0001-flowers with its lock, config, environment, metrics and log."""

import fcntl
import json
import os
import platform
import re
import shlex
import sys
import time
from pathlib import Path
from typing import IO, Any

import yaml

from .errors import UsageError
from .files import write_json, write_text


class Run:
    """A numbered folder, locked by its process from opening until `close()`.

    Raises UsageError when another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] | None = open(path / ".lock", "a+")  # noqa: SIM115 - held open: the lock lives as long as the run
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip()
            self._lock.close()
            who = f"process {holder}" if holder else "another process"
            raise UsageError(f"run folder {path} is in use by {who}; wait for it, or write elsewhere with --out") from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    @classmethod
    def create(cls, root: str | Path, name: str) -> "Run":
        """Make the next numbered folder under `root`: 0001-name, 0002-name, ..."""
        root = Path(root)
        root.mkdir(parents=True, exist_ok=True)
        slug = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:40] or "run"
        while True:
            taken = [int(m[1]) for p in root.iterdir() if (m := re.match(r"(\d{4,})-", p.name))]
            path = root / f"{max(taken, default=0) + 1:04d}-{slug}"
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path)

    def close(self) -> None:
        """Give the folder free."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write_config(self, config: dict[str, Any]) -> None:
        """config.yaml: the resolved settings."""
        write_text(self.path / "config.yaml", yaml.safe_dump(config, sort_keys=False, allow_unicode=True))
        write_json(self.path / "env.json", environment())

    def metric(self, **values: Any) -> None:
        """Append one JSON line to metrics.jsonl."""
        with open(self.path / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"time": round(time.time(), 3), **values}) + "\n")

    def log(self, text: str) -> None:
        """Append one line with the time of day to log.txt."""
        with open(self.path / "log.txt", "a") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")


def environment() -> dict[str, Any]:
    """The machine and the versions a result was made with."""
    from importlib import metadata

    names = ("danlu", "torch", "onnx", "onnxruntime", "numpy", "torch-pruning", "optuna")
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {"python": platform.python_version(), "system": platform.platform(), "processor": processor(), "cores": os.cpu_count(),
            "versions": versions, "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])}  # fmt: skip


def processor() -> str:
    """The processor's name as the system gives it."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
