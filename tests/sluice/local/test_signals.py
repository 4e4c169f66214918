"""The signals that end a program arrive as exceptions, and everything is as before afterwards."""

from __future__ import annotations

import signal

import pytest

from sluice.local.signals import ENDING, EndingSignals


@pytest.mark.parametrize(
    ("number", "error"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit)],
)
def test_a_signal_is_an_exception_then_is_ignored_then_as_before(
    number: signal.Signals, error: type[BaseException]
) -> None:
    before = {each: signal.getsignal(each) for each in ENDING}
    signals = EndingSignals()
    signals.catch()
    try:
        with pytest.raises(error) as caught:
            signal.raise_signal(number)
        if isinstance(caught.value, SystemExit):
            assert caught.value.code == 128 + number
        signals.ignore()
        signal.raise_signal(number)
    finally:
        signals.restore()
    assert {each: signal.getsignal(each) for each in ENDING} == before


def test_ctrl_c_works_where_a_shell_had_it_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals = EndingSignals()
    try:
        signals.catch()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signals.restore()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
