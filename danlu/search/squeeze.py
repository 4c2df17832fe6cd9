"""The stage that makes the file small: the best finalist is pruned, shared and packed, or goes through the user's chain.

Without a limit on size the ladder is bisected: the next rung lies between the strongest that kept the accuracy and the mildest
that did not. With a limit the net is pruned, shared and packed without training, which takes seconds and predicts the size of
the file to a few per cent; the mildest rung that fits gets all the time. Every attempt is a candidate of its own.
"""

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from ..codec import load_saved, save
from ..edits import edit
from ..edits.recipe import parse
from ..train import TrainConfig
from ..units import show_bytes, show_seconds
from .candidate import Candidate
from .chain import Editor, walk
from .context import Search
from .ladder import LADDER, mildest, next_rung
from .measure import Cost, latencies
from .shipped import fixed_width_bytes, pack, recipe_of, shared, ship
from .subject import the_subject
from .trainer import Teacher, Trainer

# The stage's share of the time, taken from the finalists.
SHARE = 0.25
# A rung is taken when the size predicted is below the limit by this much: fine-tuning moves the size a little.
MARGIN = 0.97
# Below this much fine-tuning an attempt says nothing; three attempts are made only where each has more.
SHORTEST_TUNING = 4.0
STEPS = {"prune": "sparsity", "share": "sharing", "prune_channels": "channels", "low_rank": "low rank", "fold_bn": "norms folded"}
COMPUTED = "computed: shared values at a fixed width, without entropy coding"


def squeeze(search: Search, trainer: Trainer, reserve: float) -> None:
    """Stage 5: attempts at a smaller file, each a candidate; afterwards they are what is chosen from."""
    started = time.monotonic()
    work = Squeeze(search, trainer, reserve)
    if search.edits:
        work.attempt(search.edits, work.left)
    else:
        work.plain()
        if search.limits.size_bytes is not None:
            work.to_size(search.limits.size_bytes)
        else:
            work.to_accuracy()
    state = search.state
    state.live = [number for number in state.attempts if state.by_id(number).status == "trained"]
    state.phase = "confirm"
    search.clock.stage("compress", time.monotonic() - started)
    search.save()


class Squeeze:
    """The stage on its way. Attempts that were finished before an interruption are not repeated."""

    def __init__(self, search: Search, trainer: Trainer, reserve: float) -> None:
        self.search, self.trainer, self.reserve = search, trainer, reserve
        begun = time.monotonic()
        self.subject = the_subject(search, trainer)
        # Shipping a step (pack, export, evaluate) takes about as long as it took for the subject, then as for the last step.
        self.overhead = max(time.monotonic() - begun, 1.0)
        source = self.subject.source
        self.teacher = Teacher(edit(self.subject.net, "fold_bn").model, source.input.size).eval().requires_grad_(False)
        self.editor = Editor(source, search.seed, search.device, search.log, search.stop, search.beat)

    @property
    def left(self) -> float:
        """Seconds the stage may still use."""
        return self.search.clock.left - self.reserve

    def home(self, candidate: Candidate) -> Path:
        """The folder of an attempt."""
        return self.trainer.home(candidate)

    def plain(self) -> Candidate:
        """The net as it is in the .danlu container: what is left when nothing else keeps the accuracy."""
        return self.attempt("", 0.0)

    def to_size(self, limit: float) -> None:
        """The mildest rung whose file is within `limit`, and the next one where fine-tuning moved it over the limit."""
        known: dict[int, int] = {}
        slowest = 0.0

        def fits(rung: int) -> bool:
            nonlocal slowest
            if known and self.left < slowest + 2 * (SHORTEST_TUNING + self.overhead):
                return False  # no time for another look: a stronger rung is smaller
            begun = time.monotonic()
            known[rung] = self.predicted(rung)
            slowest = max(slowest, time.monotonic() - begun)
            return known[rung] <= MARGIN * limit

        first = mildest(fits)
        if first is None:
            if len(LADDER) - 1 in known:
                self.search.log(f"  even {LADDER[-1]} is over {show_bytes(limit)}; it is the closest")
            first = len(LADDER) - 1
        for rung in range(first, len(LADDER)):
            done = self.attempt(str(LADDER[rung]), self.left)
            if done.costs[0].size_bytes <= limit or self.left < 2 * SHORTEST_TUNING + 2 * self.overhead:
                break

    def predicted(self, rung: int) -> int:
        """Bytes of the file at a rung, pruned and shared without fine-tuning."""
        subject = self.subject
        net = self.editor.all_at_once(subject.net, parse(str(LADDER[rung])))
        file = self.trainer.folder / "predicted.danlu"
        size = pack(net, file, subject.source.input, subject.source.classes, recipe_of(net))
        file.unlink()
        self.search.log(f"  {LADDER[rung]}: about {show_bytes(size)}")
        return size

    def to_accuracy(self) -> None:
        """The strongest rung that keeps the accuracy, by bisection with as many looks as there is time for."""
        search, kept = self.search, dict[int, bool]()
        floor = search.state.baseline["accuracy"] - search.limits.drop - 1e-9
        while (rung := next_rung(kept)) is not None:
            low = max((r for r, good in kept.items() if good), default=-1)
            high = min((r for r, good in kept.items() if not good), default=len(LADDER))
            looks = math.ceil(math.log2(high - low))
            dear = 2 * (self.overhead + SHORTEST_TUNING) + timing_seconds(search)
            looks = max(1, min(looks, int(self.left / dear)))
            if kept and self.left < dear:
                break
            milder = max((r for r in kept if r < rung), default=None)
            start = None if milder is None else self.tried(milder)
            done = self.attempt(str(LADDER[rung]), self.left / looks, start)
            kept[rung] = done.accuracy["danlu"] >= floor

    def tried(self, rung: int) -> Path | None:
        """The pruned, not yet shared net of an attempt at a milder rung: pruning goes on from there."""
        for number in self.search.state.attempts:
            candidate = self.search.state.by_id(number)
            if candidate.chain == str(LADDER[rung]):
                return self.home(candidate) / "0"
        return None

    def attempt(self, chain: str, seconds: float, start: Path | None = None) -> Candidate:
        """One chain, fine-tuned for `seconds` in all and shipped; from `start`, or from the subject."""
        search, subject = self.search, self.subject
        candidate = self.candidate(chain)
        if candidate.status == "trained":
            return candidate
        home, until = self.home(candidate), search.clock.elapsed + seconds
        timing = timing_seconds(search)
        home.mkdir(parents=True, exist_ok=True)
        net = subject.net if start is None else load_saved(start, trust=True).model
        calls = parse(chain) if chain else []
        # What a rung does is known; a chain of the user's own is tried once, to know what to fine-tune.
        wants = self.editor.rehearse(net, calls) if search.edits else [True] * len(calls)
        if chain:
            search.log(f"compressing {subject.proposal.recipe}: {chain}, in {show_seconds(max(seconds, 0))}")

        def budget(k: int) -> TrainConfig:
            left = until - search.clock.elapsed - self.overhead * (len(wants) - k) - timing
            return replace(self.trainer.config, seconds=max(left / sum(wants[k:]), 2.0))

        def as_file(k: int, name: str, net: nn.Module, before: bool) -> list[dict[str, Any]]:
            return [] if before else self.rows(k, calls[k].name, str(calls[k]), net, home)

        rows, kept = [], []
        if chain:
            net, progress = walk(net, chain, wants, home, self.editor, self.teacher, budget, as_file)
            rows, kept = progress.rows, progress.kept
        else:
            rows = self.rows(0, "packed", "", net, home)
        save(net, home, input=subject.source.input, classes=subject.source.classes)
        self.measured(candidate, rows)
        candidate.steps, candidate.kept = [*subject.rows, *candidate.steps], kept
        trained = sum(history_seconds(home / str(k)) for k in range(len(wants)))
        last = {"seconds": (subject.rungs[-1]["seconds"] if subject.rungs else 0.0) + trained, "accuracy": rows[-1]["accuracy"]}
        candidate.rungs = [*subject.rungs, *([last] if trained else [])]
        candidate.proposal = replace(candidate.proposal, recipe=recipe_of(net))  # with the steps of the attempt it started from
        candidate.status = "trained"
        search.log(
            f"  {chain or 'packed as it is'}: {100 * rows[-1]['accuracy']:.1f} % on validation, "
            f"{show_bytes(candidate.costs[0].size_bytes)}"
        )
        search.save()
        return candidate

    def candidate(self, chain: str) -> Candidate:
        """The attempt at this chain, a new one where there is none."""
        state, base = self.search.state, self.subject.proposal
        for number in state.attempts:
            if state.by_id(number).chain == chain:
                return state.by_id(number)
        recipe = " | ".join(filter(None, (base.recipe, chain)))
        number = max((c.id for c in state.candidates), default=0) + 1
        made = Candidate(number, replace(base, recipe=recipe), [], parent=self.subject.id, chain=chain)
        state.candidates.append(made)
        state.attempts.append(number)
        self.search.save()
        return made

    def rows(self, k: int, kind: str, step: str, net: nn.Module, home: Path) -> list[dict[str, Any]]:
        """A step as rows of the waterfall. A step that shares weights has two: at fixed widths, and coded."""
        search, begun = self.search, time.monotonic()
        done = ship(net, home / f"step{k}", self.subject.source, recipe_of(net), danlu=search.danlu)
        self.overhead = max(time.monotonic() - begun, 1.0)
        row = {"name": STEPS.get(kind, kind), "recipe": step, "accuracy": done.accuracy, "size_bytes": done.size_bytes,
               "macs": done.macs, "params": done.params, "onnx": str(done.onnx),
               "note": ".danlu file" if search.danlu else "ONNX file"}  # fmt: skip
        if done.danlu is None or not shared(net):
            return [row]
        fixed = row | {"size_bytes": fixed_width_bytes(net, done.danlu), "note": COMPUTED}
        return [fixed, row | {"name": "coding"}]

    def measured(self, candidate: Candidate, rows: list[dict[str, Any]]) -> None:
        """Time the files of all rows beside the baseline's, and take the last one as the candidate's cost."""
        search, base = self.search, self.search.baseline_cost
        files = list(dict.fromkeys(Path(row["onnx"]) for row in rows))
        timed = latencies([search.baseline_file, *files], search.threads, timing_seconds(search))[1:]
        found = {}
        for onnx, (median, low, high, ratio) in zip(files, timed, strict=True):
            scale = ratio * base.latency_ms / median
            found[str(onnx)] = (median * scale, low * scale, high * scale, ratio)
        for row in rows:
            row["latency_ms"] = found[row["onnx"]][0]
        last = rows[-1]
        precision = "danlu" if search.danlu else "fp32"
        file = str(Path(last["onnx"]).with_suffix(".danlu" if search.danlu else ".onnx"))
        candidate.costs = [Cost(precision, file, last["size_bytes"], *found[last["onnx"]], last["macs"], last["params"])]
        candidate.accuracy = {precision: last["accuracy"]}
        candidate.steps = [{key: value for key, value in row.items() if key != "onnx"} for row in rows]


def timing_seconds(search: Search) -> float:
    """How long the files of an attempt are timed."""
    return min(3.0, 0.015 * search.clock.total)


def history_seconds(home: Path) -> float:
    """Seconds of fine-tuning in a step's folder."""
    file = home / "history.json"
    return float(json.loads(file.read_text())[-1]["seconds"]) if file.exists() else 0.0
