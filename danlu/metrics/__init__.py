"""How good is it? Metrics by name, one idea a file, over torchmetrics where it has them; and intervals of accuracies."""

from ._registry import KINDS, metrics
from .accuracy import accuracy, top_k, zero_one
from .classification import classification_metrics
from .cpbd import cpbd
from .curves import PrecisionRecall, Roc, pr_auc, pr_curve, roc_auc, roc_curve
from .detection import average_precision, mean_ap
from .features import features, score_generated
from .frechet import frechet
from .inception_score import inception_score, mode_score
from .iou import box_iou, mean_iou
from .kernel_mmd import kernel_mmd
from .noise import psnr, snr
from .paired import paired_difference
from .precision_recall import confusion_matrix, f1, precision, recall
from .score import score
from .ssim import ms_ssim, ssim
from .verification import far, frr, tar, tar_at_far
from .wasserstein import sliced_wasserstein, wasserstein
from .wilson import wilson

__all__ = [
    "KINDS", "PrecisionRecall", "Roc", "accuracy", "average_precision", "box_iou", "classification_metrics",
    "confusion_matrix", "cpbd", "f1", "far", "features", "frechet", "frr", "inception_score", "kernel_mmd", "mean_ap",
    "mean_iou", "metrics", "mode_score", "ms_ssim", "paired_difference", "pr_auc", "pr_curve", "precision", "psnr", "recall",
    "roc_auc", "roc_curve", "score", "score_generated", "sliced_wasserstein", "snr", "ssim", "tar", "tar_at_far", "top_k",
    "wasserstein", "wilson", "zero_one",
]  # fmt: skip
