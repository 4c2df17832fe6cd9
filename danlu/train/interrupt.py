"""Ctrl-C and SIGTERM as a request that the loop answers between two steps: it checkpoints and raises `Interrupted`."""

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from ..errors import DanluError


class Interrupted(DanluError):
    """Training was stopped from outside and can be resumed. `exit_code` is 128 + the signal: 130 Ctrl-C, 143 SIGTERM."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Interrupts:
    """Notes signals while it is entered, in the main thread; elsewhere only `stop` counts. Puts the old handlers back.

    A second Ctrl-C does not wait for the step to end: it raises KeyboardInterrupt at once.
    """

    def __init__(self, stop: Callable[[], bool] | None = None) -> None:
        self._stop = stop
        self._got: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            # None means that the old handler was not set from Python; the default is the nearest thing to it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._got is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self._got = number

    @property
    def wanted(self) -> bool:
        """Whether somebody asked to stop."""
        if self._got is None and self._stop is not None and self._stop():
            self._got = signal.SIGINT
        return self._got is not None

    def error(self, message: str) -> Interrupted:
        """The error to raise once the state is safe."""
        got = signal.Signals(self._got or signal.SIGINT)
        return Interrupted(message, 128 + got)
