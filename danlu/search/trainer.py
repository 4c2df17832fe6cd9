"""Training candidates: the same `fit` as everywhere, distilled from the baseline, continued from rung to rung."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..codec import load, save
from ..data import Source, batches
from ..data.spec import Input
from ..edits import edit, parse, show
from ..files import write_json
from ..train import Fit, TrainConfig, fit
from ..zoo import create
from .candidate import Candidate
from .space import Proposal


class Teacher(nn.Module):
    """The baseline as a teacher for a student of another input size: brings the batch to the size the baseline knows.

    Shape: x [B, C, H, W] at the student's size -> logits [B, classes].
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-2:] != self.size:
            x = nn.functional.interpolate(x, self.size, mode="bilinear", align_corners=False)
        return self.model(x)


def has_norm(model: nn.Module) -> bool:
    """Whether batch normalisation steadies the net."""
    return any(isinstance(m, nn.BatchNorm2d) for m in model.modules())


def settings(model: nn.Module, images: int, base: TrainConfig, pruned: bool) -> TrainConfig:
    """Optimiser and rate: SGD where batch norm allows high rates, AdamW where not.

    A heavily pruned net learns again rather than being tuned: at 20 epochs after losing 65 % of its channels a ResNet-18 reached
    73.9 % with 0.04 and 71.9 % with 0.01 (CIFAR-10, 8,500 images, validation).
    """
    batch = 64 if images < 20_000 else 128
    if not has_norm(model):
        return replace(base, optimizer="adamw", lr=1e-3, weight_decay=0.01, clip=1.0, batch_size=batch)
    return replace(base, optimizer="sgd", lr=(0.04 if pruned else 0.05) * batch / 64, weight_decay=5e-4, batch_size=batch)


def keep(done: Fit, home: Path, source: Source) -> None:
    """Store the best weights and the curve of a training in its folder."""
    save(done.model, home, input=source.input, classes=source.classes)
    write_json(home / "history.json", done.history)


# A teacher's forward pass is paid for only when the student sees every image this often all the same.
DISTILLED_EPOCHS = 60


def affords_teacher(seconds: float, images: int, teacher_speed: float, teacher_macs: int, macs: int) -> bool:
    """Whether a student that trains for `seconds` should be distilled.

    A training step costs about three forward passes, of the student; a teacher adds one of its own, often the larger part. A
    student short of time learns more from more steps; one with time to spare learns more from the teacher.
    `teacher_speed` is the images/s at which the teacher itself was trained; the student's is predicted from the MACs.
    """
    speed = teacher_speed * 3 * teacher_macs / (3 * macs + teacher_macs)
    return speed * seconds / images >= DISTILLED_EPOCHS


class Trainer:
    """Builds candidates and trains them for a number of seconds in all; a second call goes on where the first stopped.

    `distils(macs)` says whether a student of so many MACs is worth the teacher's time.
    """

    def __init__(
        self, source: Source, baseline: nn.Module, baseline_input: Input, config: TrainConfig, folder: Path, device: str,
        seed: int, stop: Callable[[], bool] | None, log: Callable[[str], None], distils: Callable[[int], bool] = lambda _: True,
        on_epoch: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:  # fmt: skip
        self.source, self.baseline, self.config = source, baseline, config
        self.folder, self.device, self.seed, self.stop, self.log = folder, device, seed, stop, log
        self.distils, self.on_epoch = distils, on_epoch
        folded = edit(baseline, "fold_bn").model.eval()
        self.teacher = Teacher(folded, baseline_input.size).eval().requires_grad_(False)

    def at(self, size: tuple[int, int]) -> Source:
        """The data at a candidate's input size."""
        return self.source if size == self.source.input.size else self.source.at(size)

    def build(self, proposal: Proposal) -> nn.Module:
        """The untrained network of a proposal; a pruned one starts from the baseline's weights."""
        source = self.at(proposal.size)
        if not proposal.pruned:
            return create(proposal.recipe, num_classes=len(source.classes), in_channels=source.input.channels, seed=self.seed)
        step = show(parse(proposal.recipe)[-1:])
        example = torch.zeros(1, *source.input.shape)

        def feed() -> object:
            return batches(source.train, source.input, 64, shuffle=True, seed=self.seed)

        return edit(self.baseline, step, example=example, batches=feed).model  # type: ignore[arg-type]

    def home(self, candidate: Candidate) -> Path:
        """The folder of a candidate inside the run."""
        return self.folder / f"{candidate.id:03d}"

    def train(self, candidate: Candidate, seconds: float) -> Fit:
        """Train to `seconds` in all. Continues from the candidate's checkpoint where there is one."""
        home = self.home(candidate)
        source = self.at(candidate.proposal.size)
        model = self.build(candidate.proposal)
        config = replace(settings(model, len(source.train), self.config, candidate.proposal.pruned), seconds=seconds)
        teacher = self.teacher if self.distils(candidate.costs[0].macs) else None
        if teacher is None:
            config = replace(config, label_smoothing=0.1)
        resume = (home / "checkpoints").exists()
        done = fit(
            model, source, config, run=home, teacher=teacher, resume=resume, device=self.device, stop=self.stop, log=self.log,
            on_epoch=self.on_epoch,
        )  # fmt: skip
        keep(done, home, source)
        return done

    def saved(self, candidate: Candidate) -> nn.Module:
        """The stored best weights of a trained candidate."""
        return load(self.home(candidate), trust=True)
