"""How a merged net is trained: the new layers at ten times the rate, the others not at all."""

from .surgery import Outcome

NEW = "new "  # how the text of a change says that a layer is new


def rates_of(outcome: Outcome, *, new: float = 10.0, others: float = 0.0) -> dict[str, float]:
    """`TrainConfig.rates` that train the layers a merging made at `new` times the rate, and the rest at `others` times.

    The paper keeps the others as they are (0) while the new ones learn, then trains all (others=1).
    """
    places = [change.name.rpartition(": ")[2] for change in outcome.changed if change.after.startswith(NEW)]
    return {"*": others, **{f"{name}.*" if name else "*": new for name in places}}
