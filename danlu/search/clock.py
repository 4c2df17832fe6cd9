"""The wall-clock promise: one deadline, counted over interruptions, from which every stage takes its share."""

import time


class Clock:
    """Counts against a total in seconds. `spent` is what an interrupted earlier process had used."""

    def __init__(self, total: float, spent: float = 0.0, started: float | None = None) -> None:
        self.total = total
        self._start = (time.monotonic() if started is None else started) - spent
        self.stages: list[dict[str, float | str]] = []

    @property
    def elapsed(self) -> float:
        """Seconds used so far, earlier processes included."""
        return time.monotonic() - self._start

    @property
    def left(self) -> float:
        """Seconds to the deadline; negative when it has passed."""
        return self.total - self.elapsed

    def stage(self, name: str, seconds: float) -> None:
        """Record what a stage took; a stage resumed after an interruption adds up."""
        for row in self.stages:
            if row["name"] == name:
                row["seconds"] = float(row["seconds"]) + seconds
                return
        self.stages.append({"name": name, "seconds": seconds})
