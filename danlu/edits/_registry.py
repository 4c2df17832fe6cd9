"""Where edits register: `@edits(exact=..., needs=(...), reduces=(...), paper=...)`.

Facts, checked by `tests/edits/test_contract.py`:

    exact     the outputs in eval mode stay equal
    needs     a subset of "weights", "example", "batches". An edit that needs no weights is a structure edit: it gives the
              same net again when a saved model is rebuilt from its recipe. The others are recovered from tensor shapes.
    reduces   a subset of "params", "macs", "latency", "memory", "size" (bytes of the .danlu file): what it is for, not a
              promise (the card has numbers)
    paper     "arxiv:1234.56789", a DOI, or a citation in words
    layers    True when it puts other layers in, which are stored with the net: see `blueprint.py`
    reads     for options that are themselves names with options: {option: "package.module:function"}, the function that
              raises UsageError for what it cannot read
    first     True for a structure edit that must come before any edit that needs weights (see `chain.py`)

The name of an edit is the name of its function, of its file and of its card. An edit is
`name(model, *, options...) -> Outcome`; the parameters `example` (an input tensor) and `batches` (a callable giving an
iterator of (x, y)) are filled from the context by `chain.edit`, never from the recipe text.
"""

from collections.abc import Callable
from typing import Any

from ..registry import Registry

CONTEXT = ("example", "batches")

edits: Registry[Callable[..., Any]] = Registry("edit")
