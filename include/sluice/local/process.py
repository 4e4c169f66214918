"""A program as a guarded child process: start, wait until healthy or done, stop with every descendant."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from sluice.local import guard
from sluice.local.environment import clean_environment
from sluice.local.errors import AlreadyRunningError, ServiceFailedError
from sluice.local.pids import ProcessId, recall, remember

POLL_SECONDS = 0.1
# What the guard needs, beyond the service's own grace, to end what the service left behind.
GUARD_MARGIN_SECONDS = 10.0


class Program(ABC):
    """One program; a subclass says how it is prepared and run.

    Below `data_dir`, which programs share, are `logs/<name>.log`, `run/<name>.pid` and the program's
    own folder, its `home`.
    """

    name: str
    #: How the program is asked to end, and how long it may take before it is killed.
    stop_signal: int = signal.SIGTERM
    grace_seconds: float = 15.0
    #: How long it may take until it answers, or is done.
    ready_seconds: float = 60.0

    def __init__(self, data_dir: Path, folder: str | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.home = self.data_dir / (folder or self.name)
        self.log = self.data_dir / "logs" / f"{self.name}.log"
        self.pid_file = self.data_dir / "run" / f"{self.name}.pid"
        self._guard: subprocess.Popen[bytes] | None = None

    def prepare(self) -> None:  # noqa: B027 - optional
        """Check the program and make its folder whole, before anything is started."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Give the program and its arguments."""

    def additions(self) -> Mapping[str, str]:
        """Give what this program's environment has beyond the clean one."""
        return {}

    def after_stop(self) -> None:  # noqa: B027 - optional
        """Remove what the ended program left outside its data directory."""

    @property
    def pid(self) -> int | None:
        """The guard's process id, whose descendants are the program; None if it is not running."""
        return self._guard.pid if self._guard and self._guard.poll() is None else None

    def spawn(self) -> None:
        """Start the program under its guard without waiting for it."""
        before = recall(self.pid_file)
        if before is not None and before.is_running():
            raise AlreadyRunningError(f"{self.name} already runs in {self.data_dir}")
        self.home.mkdir(parents=True, exist_ok=True)
        self.prepare()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self._guard = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", guard.__file__),
                    *(str(os.getpid()), str(int(self.stop_signal)), str(self.grace_seconds)),
                    *self.command(),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=clean_environment(self.additions()),
                cwd=self.home,
                start_new_session=True,
            )
        process = ProcessId.of(self._guard.pid)
        if process is not None:
            remember(self.pid_file, process)

    def check(self) -> None:
        """Raise an error if the program is not running any more."""
        code = self._guard.poll() if self._guard else None
        if code is not None:
            raise ServiceFailedError(self.name, f"ended with exit code {code}", self.log)

    def wait_done(self) -> None:
        """Wait until a program that ends by itself has ended; a failure of it is an error."""
        if self._guard is None:
            return
        try:
            code = self._guard.wait(self.ready_seconds)
        except subprocess.TimeoutExpired as error:
            raise ServiceFailedError(
                self.name, f"did not finish within {self.ready_seconds:.0f} s", self.log
            ) from error
        if code != 0:
            raise ServiceFailedError(self.name, f"ended with exit code {code}", self.log)
        self.stop()

    def ask_to_stop(self) -> None:
        """Tell the guard to end the program, without waiting."""
        if self._guard is not None and self._guard.poll() is None:
            self._guard.terminate()

    def stop(self) -> None:
        """End the program and all its descendants, and wait until they are gone; harmless if they are."""
        if self._guard is None:
            return
        self.ask_to_stop()
        try:
            self._guard.wait(self.grace_seconds + GUARD_MARGIN_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in [*guard.descendants(self._guard.pid), self._guard.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._guard.wait()
        self._guard = None
        self.pid_file.unlink(missing_ok=True)
        self.after_stop()


class Service(Program):
    """A program that serves; a subclass says besides how it is probed."""

    @abstractmethod
    def probe(self) -> None:
        """Use the service once as a client would; raise an exception if it does not answer rightly."""

    def wait_ready(self) -> None:
        """Wait until the probe succeeds; a program that ends, or does not answer in time, is an error."""
        deadline = time.monotonic() + self.ready_seconds
        while True:
            self.check()
            try:
                self.probe()
            except Exception as error:
                if time.monotonic() > deadline:
                    reason = str(error).partition("\n")[0]
                    raise ServiceFailedError(
                        self.name,
                        f"did not become healthy within {self.ready_seconds:.0f} s ({reason})",
                        self.log,
                    ) from error
                time.sleep(POLL_SECONDS)
            else:
                return

    def start(self) -> Self:
        """Start the program and wait until it is healthy; on failure nothing of it is left."""
        if self.pid is not None:
            raise AlreadyRunningError(f"{self.name} already runs in {self.data_dir}")
        try:
            self.spawn()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
