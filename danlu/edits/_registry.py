"""Where edits register: `@edits(exact=..., needs=(...), reduces=(...), paper=...)`.

Facts: `exact` (the outputs stay equal), `needs` (a subset of "weights", "example", "batches"), `reduces` (a subset of
"params", "macs", "latency", "memory"), `paper`. The name of an edit is the name of its function, of its file and of its card.
An edit is `edit(model, *, options...) -> Outcome`; the parameters `example` (an input tensor) and `batches` (a callable
giving an iterator of (x, y)) are filled from the context by the recipe runner, never from the recipe text.
"""

from collections.abc import Callable
from typing import Any

from ..registry import Registry

CONTEXT = ("example", "batches")

edits: Registry[Callable[..., Any]] = Registry("edit")
