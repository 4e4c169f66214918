"""What can keep the local services from running; each is one line that says what to do."""

from __future__ import annotations

from pathlib import Path

from sluice.errors import SluiceError

LOG_LINES_SHOWN = 15


class LocalServiceError(SluiceError):
    """The root of everything that goes wrong with the local services."""


class AlreadyRunningError(LocalServiceError):
    """Another launcher holds the data directory."""


class PortTakenError(LocalServiceError):
    """A port that was asked for is in use by another program."""


class IncompleteEnvironmentError(LocalServiceError):
    """A program, a wheel or a part of the data directory is missing or unusable."""


class ServiceFailedError(LocalServiceError):
    """A service ended or did not become healthy in time; the message carries the end of its log."""

    def __init__(self, service: str, what: str, log: Path) -> None:
        tail = "".join(f"\n    {line}" for line in last_lines(log))
        super().__init__(f"{service} {what}; its log is {log}{tail}")
        self.service = service
        self.log = log


def last_lines(log: Path, count: int = LOG_LINES_SHOWN) -> list[str]:
    """Read the end of a log file; an unreadable one has no lines."""
    try:
        with log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return []
    return [line for line in text.splitlines() if line.strip()][-count:]
