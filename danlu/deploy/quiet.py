"""Silence what the exporter prints by its own fault, and rest the garbage collector while time is measured or tight."""

import contextlib
import gc
import io
import logging
import sys
import warnings
from collections.abc import Iterator

# torch.onnx asks for every operator of a torchvision that is not installed, on every export; a failure to trace is logged
# and raised.
NOISE = {
    "torch.onnx._internal.exporter._registration": "torchvision is not installed",
    "torch.fx.experimental.symbolic_shapes": "Unable to find user code",
}


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(NOISE[record.name])


@contextlib.contextmanager
def quiet_export() -> Iterator[None]:
    """No line about a missing torchvision, no warning of torch about torch's own code, no graph printed beside an exception.

    Everything else passes: other warnings at once, other text on stderr at the end.
    """
    for name in NOISE:
        logging.getLogger(name).addFilter(_is_news)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()) as said:
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            yield
    finally:
        for name in NOISE:
            logging.getLogger(name).removeFilter(_is_news)
    sys.stderr.write(said.getvalue())


@contextlib.contextmanager
def no_collection() -> Iterator[None]:
    """No garbage collection inside, as in `timeit`."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()
