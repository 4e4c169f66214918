"""Runs one command and ends it, with every descendant, when it is told to or when its launcher is gone.

    python -I -S guard.py LAUNCHER_PID STOP_SIGNAL GRACE_SECONDS COMMAND…

It is a program of its own, on the standard library alone, because the launcher may be killed with
SIGKILL: nothing in the launcher could clean up then. On Linux it also adopts orphans, so that a
grandchild that left the process group or lost its parent is found and ended like the others.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time

LAUNCHER_CHECK_SECONDS = 0.5
LEFTOVERS_GRACE_SECONDS = 2.0
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINUX = sys.platform == "linux"


def _prctl(option: int, value: int) -> None:
    if LINUX:
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


def die_with_parent() -> None:
    """Ask the kernel to kill the calling process when its parent ends, however that happens (Linux)."""
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def descendants(root: int) -> list[int]:
    """List the living processes below `root`, found through /proc; elsewhere than on Linux there are none."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc") if LINUX else ():
        if entry.isdigit():
            with (
                contextlib.suppress(OSError),
                open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat,
            ):
                state, parent = stat.read().rpartition(")")[2].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


class Guard:
    """One guarded command, from its start to the end of its last descendant."""

    def __init__(self, launcher: int, stop_signal: int, grace: float, command: list[str]) -> None:
        self.launcher = launcher
        self.stop_signal = stop_signal
        self.grace = grace
        self.stopping = False
        self.exit_code: int | None = None
        self._listen_for_signals()
        # The command leads a group of its own, so that a signal to it never reaches the guard.
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=die_with_parent
        )
        self.child = self._process.pid

    def _listen_for_signals(self) -> None:
        self.wakeup, write = os.pipe()
        os.set_blocking(self.wakeup, False)
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _rest(self, seconds: float) -> None:
        """Sleep until a signal arrives, at most `seconds`."""
        select.select([self.wakeup], [], [], max(0.0, seconds))
        with contextlib.suppress(BlockingIOError):
            os.read(self.wakeup, 1024)

    def _reap(self) -> None:
        """Collect every ended child, adopted ones too; remember how the guarded one ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                code = os.waitstatus_to_exitcode(status)
                self.exit_code = code if code >= 0 else 128 - code

    def _others(self) -> list[int]:
        return [pid for pid in descendants(os.getpid()) if pid != self.child or self.exit_code is None]

    def _signal_all(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.child, number)
        for pid in self._others():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)

    def run(self) -> int:
        """Wait for the command, a stop signal or the launcher's end; leave nothing behind."""
        while self.exit_code is None and not self.stopping and os.getppid() == self.launcher:
            self._rest(LAUNCHER_CHECK_SECONDS)
            self._reap()
        self._end_command()
        self._end_leftovers()
        return self.exit_code or 0

    def _end_command(self) -> None:
        if self.exit_code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, self.stop_signal)
        deadline = time.monotonic() + self.grace
        while self.exit_code is None and time.monotonic() < deadline:
            self._rest(min(0.1, deadline - time.monotonic()))
            self._reap()

    def _end_leftovers(self) -> None:
        if self.exit_code is not None and self._others():
            self._signal_all(signal.SIGTERM)
            deadline = time.monotonic() + LEFTOVERS_GRACE_SECONDS
            while self._others() and time.monotonic() < deadline:
                self._rest(0.1)
                self._reap()
        self._signal_all(signal.SIGKILL)
        while self.exit_code is None or self._others():
            self._signal_all(signal.SIGKILL)
            self._rest(0.05)
            self._reap()


def main(arguments: list[str]) -> int:
    """Guard the command that the arguments name."""
    launcher, stop_signal, grace, *command = arguments
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        guard = Guard(int(launcher), int(stop_signal), float(grace), command)
    except OSError as error:
        print(f"cannot run {command[0]}: {error}", file=sys.stderr, flush=True)
        return 127
    return guard.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
