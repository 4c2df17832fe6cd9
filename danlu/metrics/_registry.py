"""Where metrics register: `@metrics(kind="classify", higher_is_better=True, paper="arxiv:...")`.

    metric(predictions, truth, *, options...) -> float

Facts: `kind` says what it judges, and so what it takes (NumPy arrays or tensors, on any device):

    classify    outputs [N, K] scores, or int [N] the classes answered; targets int [N], classes from 0
    verify      scores [N], the higher the surer; targets bool or 0/1 [N]: is it so, such as one person in two photographs
    segment     int [...] the class of each pixel; the same of the truth
    detect      detections [N, 7], rows of image, class, score, x1, y1, x2, y2; truths [M, 6], rows without the score
    image       images [B, C, H, W], uint8 or float; their references alike (a no-reference metric takes the images alone)
    generate    generated [N, D], real [M, D] (some take the generated alone); `takes` says whether D are "features" or the
                "probabilities" of D classes

`higher_is_better` is the direction, `paper` the source. The order of the samples never matters, nor how a sort treats ties: each
file says what they do. What is empty, or not finite, is refused. Options are keyword-only and literal.
"""

from collections.abc import Callable

from ..registry import Registry

KINDS = ("classify", "verify", "segment", "detect", "image", "generate")

metrics: Registry[Callable[..., float]] = Registry("metric")
