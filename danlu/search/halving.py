"""Successive halving over the feasible candidates: everyone gets a little time, the better third three times as much, and so on.

Rungs are synchronous: all candidates of a rung are trained before any is promoted, so that the wall-clock plan can be kept
and the order of training does not decide. Optuna keeps the study (ask, report, tell) in a journal file that can be opened
with its own tools.

Source: Jamieson & Talwalkar 2016, https://arxiv.org/abs/1502.07943.
"""

import math
from pathlib import Path

import optuna
from optuna.storages.journal import JournalFileBackend

from .candidate import Candidate

ETA = 3
# A rung shorter than this says more about the initial weights than about the network.
SHORTEST_RUNG_SECONDS = 6.0


def plan(seconds: float, available: int, most: int = 5) -> tuple[int, float, int]:
    """(entrants, seconds of the first rung, rungs) that fill `seconds`.

    With n entrants and r rungs a rung costs n / eta**i x (eta**i - eta**(i-1)) x t, so all cost about n t (1 + (r-1) 2/3).
    """
    best = (1, seconds, 1)
    for count in range(1, min(most, available) + 1):
        rungs = 1 + (1 if count >= ETA else 0) + (1 if count >= ETA * ETA else 0)
        first = seconds / sum(cost_of_rung(count, rung) for rung in range(rungs))
        if first >= SHORTEST_RUNG_SECONDS or count == 1:
            best = (count, first, rungs)
    return best


def survivors(count: int, rung: int) -> int:
    """How many candidates of `count` are alive at `rung`."""
    return max(1, math.ceil(count / ETA**rung))


def resource(first: float, rung: int) -> float:
    """Seconds of training in all that a candidate has had at the end of `rung`."""
    return first * ETA**rung


def cost_of_rung(count: int, rung: int) -> float:
    """Seconds of a rung, in units of the first rung's seconds for one candidate."""
    return survivors(count, rung) * (resource(1, rung) - (resource(1, rung - 1) if rung else 0))


class Study:
    """The optuna study behind the search: one trial a candidate, its rung accuracies as intermediate values."""

    def __init__(self, path: Path, name: str, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        backend = JournalFileBackend(str(path))
        self.study = optuna.create_study(
            study_name=name,
            storage=optuna.storages.JournalStorage(backend),
            direction="maximize",
            sampler=optuna.samplers.RandomSampler(seed=seed),
            load_if_exists=True,
        )

    def trial(self, candidate: Candidate) -> int:
        """The id of the candidate's trial, asked for when it enters."""
        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.user_attrs.get("candidate") == candidate.id:
                return frozen._trial_id
        self.study.enqueue_trial({"candidate": candidate.id})
        trial = self.study.ask({"candidate": optuna.distributions.IntDistribution(0, 100_000)})
        trial.set_user_attr("candidate", candidate.id)
        trial.set_user_attr("recipe", candidate.proposal.recipe)
        return trial._trial_id

    def report(self, candidate: Candidate, rung: int, accuracy: float) -> None:
        """An accuracy at the end of a rung."""
        optuna.trial.Trial(self.study, self.trial(candidate)).report(accuracy, rung)

    def close(self, candidate: Candidate, pruned: bool) -> None:
        """Tell the outcome of a trial that is still open."""
        trial = optuna.trial.Trial(self.study, self.trial(candidate))
        if self.study._storage.get_trial(trial._trial_id).state.is_finished():
            return
        if pruned:
            self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            self.study.tell(trial, candidate.rung_accuracy)
