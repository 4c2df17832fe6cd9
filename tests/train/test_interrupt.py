"""Signals: noted, not lost, and their old handlers put back."""

import os
import signal
import threading

import pytest

from danlu.train.interrupt import Interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_is_noted(number: signal.Signals, code: int) -> None:
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        assert not interrupts.wanted
        os.kill(os.getpid(), number)
        assert interrupts.wanted
        error = interrupts.error("stopped")
    assert error.exit_code == code
    assert str(error) == "stopped"
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_does_not_wait() -> None:
    with Interrupts() as interrupts:
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupts.wanted
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_stop_is_asked() -> None:
    answers = iter([False, False, True])
    with Interrupts(lambda: next(answers)) as interrupts:
        assert [interrupts.wanted for _ in range(4)] == [False, False, True, True]
        assert interrupts.error("").exit_code == 130


def test_other_threads_install_no_handlers() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work() -> None:
        with Interrupts(lambda: True) as interrupts:
            seen.append((signal.getsignal(signal.SIGTERM), interrupts.wanted))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(before, True)]
