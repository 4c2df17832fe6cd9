"""What a diagnosis means: in words, which of several is best, and as a drawing."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..plot_file import check_plot, write_figure
from .diagnose import RECTIFIERS, Diagnosis, Layer, finite

FAR = 100.0  # a factor of variances over the whole depth that is too much
FAR_NORMED = 1e9  # batch norms make the scale of weights irrelevant: nets with them bear more
SAME = 1e-3  # a smaller part of the outputs that differs between images is too small
FULL, DEAD = 0.3, 0.5  # larger shares of saturated values, and of units that are never active, are too large
LOUD = 5.0  # times the loss of guessing
LADDER = {  # what to try for an activation, one after the other; for those not named kumar, then lsuv
    **dict.fromkeys(("", "Tanh", "Hardtanh", "Softsign"), ("xavier", "lsuv")),
    **dict.fromkeys(("ReLU", "ReLU6", "LeakyReLU", "PReLU", "RReLU"), ("he", "lsuv")),
    "Sigmoid": ("kumar",),
}
RECTIFIED = {kind.__name__ for kind in RECTIFIERS}


def words(found: Diagnosis) -> list[str]:
    """What is wrong, and what helps; empty where nothing stands out."""
    broken = list(_broken(found))
    return broken[:1] or [*_fading(found), *_faint(found), *_saturated(found), *_loud(found)]


def best(found: Sequence[Diagnosis]) -> Diagnosis:
    """The one with the fewest complaints; among these the one whose variances drift least."""

    def drift(one: Diagnosis) -> float:
        factors = [factor for factor in (one.forward, one.backward) if factor]
        return sum(abs(math.log(factor)) for factor in factors) if factors else math.inf

    return min(found, key=lambda one: (bool(list(_broken(one))), len(words(one)), drift(one)))


def remedy(found: Diagnosis) -> str:
    """What to take instead: the scale for the activation that most layers have, or what looks at the images."""
    counts = Counter(layer.activation for layer in found.hidden)
    kind = counts.most_common(1)[0][0] if counts else ""
    now = found.init.partition("(")[0].strip()
    ladder = LADDER.get(kind, ("kumar", "lsuv"))
    left = ladder[ladder.index(now) + 1 :] if now in ladder else ladder
    return f"use {left[0]}" if left else "take another activation, fewer layers or batch norms"


def _broken(found: Diagnosis) -> Iterator[str]:
    """What leaves nothing else to be said. A few layers may start from zero on purpose: branches that grow into a net."""
    few = len(found.layers) / 2
    for what, layers, least in (
        ("the numbers overflow in {}: the weights are too large", [x for x in found.layers if not math.isfinite(x.outputs)], 0),
        ("all weights are one number in {}: units that start alike stay alike", [x for x in found.layers if x.alike], few),
        ("nothing passes {}: all outputs are the same", [x for x in found.layers if x.outputs == 0], few),
        (
            "the gradients overflow in {}: the weights are too large",
            [x for x in found.layers if not math.isfinite(x.gradients)],
            0,
        ),
        ("no gradient comes back to {}", [x for x in found.layers if x.gradients == 0], few),
    ):
        if len(layers) > least:
            yield f"{what.format(some(layers))}; {remedy(found)}"


def _fading(found: Diagnosis) -> Iterator[str]:
    limit = FAR_NORMED if found.normed else FAR
    for what, factor, way in (("activations", found.forward, "over"), ("gradients", found.backward, "on their way back over")):
        if factor is not None and not 1 / limit <= factor <= limit:
            does, size = ("shrinks", "small") if factor < 1 else ("grows", "large")
            text = f"the variance of {what} {does} by a factor of {factor:.1g} {way} {len(found.hidden)} layers"
            yield f"{text}: the weights are too {size}; {remedy(found)}"


def _faint(found: Diagnosis) -> Iterator[str]:
    faint = [layer for layer in found.hidden if layer.differs < SAME and layer.outputs > 0]
    if faint:
        least = min(layer.differs for layer in faint)
        yield f"images look alike to {some(faint)}: as little as {least:.1g} of the outputs differs between them; {remedy(found)}"


def _saturated(found: Diagnosis) -> Iterator[str]:
    full = [layer for layer in found.hidden if layer.activation not in RECTIFIED and (layer.saturated or 0) > FULL]
    dead = [layer for layer in found.hidden if layer.activation in RECTIFIED and (layer.saturated or 0) > DEAD]
    if full:
        share = max(layer.saturated or 0 for layer in full)
        yield f"up to {share:.0%} of the values behind {some(full)} are saturated: the weights are too large; {remedy(found)}"
    if dead:
        share = max(layer.saturated or 0 for layer in dead)
        yield f"up to {share:.0%} of the units of {some(dead)} are never active on these images; {remedy(found)}"


def _loud(found: Diagnosis) -> Iterator[str]:
    if found.loss > LOUD:
        last = found.layers[-1].name
        yield f"the loss starts at {found.loss:.2g} times that of guessing: the outputs of {last} are too large"


def some(layers: Sequence[Layer], most: int = 3) -> str:
    """Names; of many the first."""
    names = [layer.name for layer in layers]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more layers" if len(names) > most else "")


def write_plot(found: Sequence[Diagnosis], path: Path, title: str) -> None:
    """Draw variances and saturation by layer into one HTML file that needs no network. Raises UsageError for another suffix."""
    check_plot(path)
    from plotly.colors import qualitative
    from plotly.subplots import make_subplots

    rows = {
        "outputs": "variance of outputs", "activations": "variance of activations", "gradients": "variance of gradients",
        "saturated": "saturated share",
    }  # fmt: skip
    figure = make_subplots(rows=len(rows), cols=1, shared_xaxes=True, vertical_spacing=0.04)
    for number, one in enumerate(found):
        colour = qualitative.D3[number % len(qualitative.D3)]
        for row, fact in enumerate(rows, 1):
            values = [finite(getattr(layer, fact)) for layer in one.layers]
            if fact != "saturated":
                values = [value or None for value in values]  # the axis is logarithmic
            figure.add_scatter(
                x=[layer.name for layer in one.layers], y=values, row=row, col=1, name=one.init, mode="lines+markers",
                legendgroup=str(number), showlegend=row == 1, line={"color": colour, "width": 2}, marker={"size": 5},
            )  # fmt: skip
    for row, (fact, text) in enumerate(rows.items(), 1):
        if fact == "saturated":
            figure.update_yaxes(title=text, range=[-0.03, 1.03], tickformat=".0%", row=row, col=1)
        else:
            figure.update_yaxes(title=text, type="log", exponentformat="power", row=row, col=1)
    below_title = {"orientation": "h", "y": 1, "yanchor": "bottom", "x": 0}  # beside the plots it would take half a phone
    above = {"text": title, "y": 0.98, "yanchor": "top", "font": {"size": 14}}
    figure.update_layout(
        title=above, template="plotly_white", hovermode="x", height=1100, legend=below_title, margin={"t": 110, "l": 70, "r": 20}
    )
    write_figure(figure, path)
