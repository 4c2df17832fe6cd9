"""danlu: your images and a budget in; the smallest, fastest vision network that keeps the accuracy out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .codec import load, save
    from .cost import advise, profile  # type: ignore[no-redef]
    from .data import load_data
    from .edits import edit
    from .search import Budget, optimize  # type: ignore[no-redef]
    from .train import TrainConfig, evaluate, fit  # type: ignore[no-redef]
    from .zoo import create  # type: ignore[no-redef]

__version__ = "0.1.0"

_HOME = {
    "Budget": "search",
    "TrainConfig": "train",
    "advise": "cost",
    "create": "zoo",
    "edit": "edits",
    "evaluate": "train",
    "fit": "train",
    "load": "codec",
    "load_data": "data",
    "optimize": "search",
    "profile": "cost",
    "save": "codec",
}

__all__ = [
    "Budget", "TrainConfig", "advise", "create", "edit", "evaluate", "fit", "load", "load_data", "optimize", "profile", "save",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # Resolved on first use, so that `import danlu` (and `danlu --help`) does not load torch.
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module 'danlu' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
