"""Ctrl-C, `kill` and a closed terminal as exceptions, so that whoever holds something can give it back."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def _raise(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise SystemExit(128 + number)


class EndingSignals:
    """Turns the signals that end a program into exceptions, later ignores them while things are stopped."""

    def __init__(self) -> None:
        self._before: dict[signal.Signals, Any] = {}

    def catch(self) -> None:
        """Raise on each of the signals from now on; only a main thread can."""
        if threading.current_thread() is threading.main_thread():
            for number in ENDING:
                self._before.setdefault(number, signal.signal(number, _raise))

    def ignore(self) -> None:
        """Let none of them interrupt what follows."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        """Go back to how it was before `catch`."""
        while self._before:
            number, handler = self._before.popitem()
            # None: it was set by something other than Python
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
