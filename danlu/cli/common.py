"""What every verb shares: one JSON object on stdout, everything else on stderr, and the exit codes."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from ..errors import DanluError

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; everything else goes to stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr; warnings and errors stay.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of splits, weights, shuffling and augmentation.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")]

# The wall clock of a verb counts from the start of the process, imports included.
STARTED = time.monotonic()

DONE, FAILED, USAGE, NOT_MET = 0, 1, 2, 3


def say(text: str, quiet: bool = False) -> None:
    """A line for people, on stderr."""
    if not quiet:
        print(text, file=sys.stderr, flush=True)


def give(value: dict[str, Any], as_json: bool, show: Callable[[], None]) -> None:
    """The answer of a verb: `value` as JSON on stdout, or `show()` for people."""
    if as_json:
        print(json.dumps(value, allow_nan=False))
    else:
        show()


class Terminated(BaseException):
    """SIGTERM arrived: unwinds like Ctrl-C does, so that locks are given free and half-written files removed."""


def _terminate(*_: object) -> None:
    raise Terminated


@contextlib.contextmanager
def verb() -> Iterator[None]:
    """Turn errors a user can act on into one line and an exit code; anything else keeps its traceback."""
    before = signal.signal(signal.SIGTERM, _terminate) if threading.current_thread() is threading.main_thread() else None
    try:
        yield
    except DanluError as error:
        say(f"danlu: {error}")
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        say("danlu: interrupted")
        raise typer.Exit(130) from None
    except Terminated:
        say("danlu: terminated")
        raise typer.Exit(143) from None
    except MemoryError:
        say("danlu: out of memory; try a smaller --batch-size or --size")
        raise typer.Exit(FAILED) from None
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def check_device(device: str) -> str:
    """The device, if torch has it. Raises UsageError otherwise."""
    import torch

    from ..errors import UsageError

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"device {device!r} is not available ({str(error).splitlines()[0]}); use cpu") from error
    return device
