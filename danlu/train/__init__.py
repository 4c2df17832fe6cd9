"""How does it learn? One visible loop, and what it needs: settings, schedules, optimisers, autotune, checkpoints, judging."""

from .autotune import Tune
from .config import TrainConfig
from .diagnose import Diagnosis, diagnose
from .evaluate import Scores, evaluate, score_logits
from .interrupt import Interrupted
from .loop import fit
from .lr_find import LRFind, lr_find
from .optimizers import optimizers
from .result import Fit
from .schedules import schedules

__all__ = [
    "Diagnosis", "Fit", "Interrupted", "LRFind", "Scores", "TrainConfig", "Tune", "diagnose", "evaluate", "fit", "lr_find",
    "optimizers", "schedules", "score_logits",
]  # fmt: skip
