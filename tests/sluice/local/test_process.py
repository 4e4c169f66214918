"""A service leaves nothing behind, however it or its launcher ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from sluice.local.errors import AlreadyRunningError, ServiceFailedError
from sluice.local.pids import end_leftovers
from sluice.local.ports import HOST, free_port, is_free
from sluice.local.process import Service

# A server whose family is as unruly as real ones: a child, and a grandchild that left the session,
# lost its parent and ignores SIGTERM.
UNRULY = """
    import os, signal, socket, subprocess, sys, time
    port, pids = int(sys.argv[1]), sys.argv[2]
    deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    lost = f"import os, signal, time; os.setsid(); {deaf}; time.sleep(600)"
    quiet = "stdout=subprocess.DEVNULL"
    middle = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {lost!r}], {quiet}).pid)"
    orphan = subprocess.run([sys.executable, "-c", middle], stdout=subprocess.PIPE, text=True).stdout
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open(pids, "w").write(f"{os.getpid()} {child.pid} {orphan}")
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = socket.create_server(("127.0.0.1", port))
    while True:
        server.accept()[0].close()
"""


class Unruly(Service):
    """The server above."""

    name = "unruly"
    ready_seconds = 10.0
    grace_seconds = 1.0

    def __init__(self, data_dir: Path, *words: str) -> None:
        super().__init__(data_dir)
        self.words = words
        self.port = free_port()
        self.pids_written = data_dir / "pids"

    def command(self) -> Sequence[str]:
        return [
            sys.executable,
            "-c",
            textwrap.dedent(UNRULY),
            str(self.port),
            str(self.pids_written),
            *self.words,
        ]

    def probe(self) -> None:
        socket.create_connection((HOST, self.port), 1).close()

    def family(self) -> list[psutil.Process]:
        return [psutil.Process(int(pid)) for pid in self.pids_written.read_text().split()]


class Failing(Service):
    """A program that says why and ends, or one that never answers."""

    name = "failing"

    def __init__(self, data_dir: Path, script: str) -> None:
        super().__init__(data_dir)
        self.script = script

    def command(self) -> Sequence[str]:
        return ["/bin/sh", "-c", self.script]

    def probe(self) -> None:
        raise ConnectionError("nobody answers")


def gone(processes: list[psutil.Process], seconds: float = 15) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [
        process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    ]


@pytest.mark.parametrize("words", [(), ("stubborn",)], ids=["obedient", "stubborn"])
def test_stop_ends_the_whole_family(tmp_path: Path, words: tuple[str, ...]) -> None:
    with Unruly(tmp_path, *words) as service:
        family = service.family()
        assert len(family) == 3
        assert all(process.is_running() for process in family)
    assert gone(family, 0)
    assert is_free(service.port)
    assert not service.pid_file.exists()


def test_the_rest_of_the_family_ends_with_its_head(tmp_path: Path) -> None:
    with Unruly(tmp_path) as service:
        family = service.family()
        family[0].kill()
        assert gone(family)
        with pytest.raises(ServiceFailedError, match="unruly ended with exit code 137"):
            service.wait_ready()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_family_ends_with_its_launcher(
    launcher: Callable[[str], tuple[int, Unruly]], number: int
) -> None:
    pid, service = launcher("service.start(); print('up', flush=True); import time; time.sleep(600)")
    family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True), *service.family()]
    os.kill(pid, number)
    assert gone(family)
    assert is_free(service.port)


def test_a_killed_guard_takes_its_server_along(tmp_path: Path) -> None:
    with Unruly(tmp_path) as service:
        head = service.family()[0]
        family = service.family()
        psutil.Process(service.pid).kill()
        assert gone([head])
        for process in family[1:]:
            process.kill()


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Callable[[str], tuple[int, Unruly]]]:
    """Runs a service in another process, as `sluice demo` does."""
    started: list[subprocess.Popen[str]] = []

    def launch(script: str) -> tuple[int, Unruly]:
        service = Unruly(tmp_path)
        facts = json.dumps([__file__, str(tmp_path), service.port])
        code = textwrap.dedent(
            f"""
            import importlib.util, json, pathlib, signal
            # A test run in the background of a script has Ctrl-C ignored, and its children inherit that.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            file, data, port = json.loads({facts!r})
            spec = importlib.util.spec_from_file_location("launched", file)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            service = module.Unruly(pathlib.Path(data))
            service.port = port
            """
        )
        process = subprocess.Popen([sys.executable, "-c", code + script], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process.pid, service

    yield launch
    for process in started:
        process.kill()
        process.communicate()


def test_a_service_that_ends_shows_its_last_lines(tmp_path: Path) -> None:
    service = Failing(tmp_path, "echo the disk is full >&2; exit 3")
    with pytest.raises(ServiceFailedError) as caught:
        service.start()
    first, *rest = str(caught.value).splitlines()
    assert first == f"failing ended with exit code 3; its log is {tmp_path}/logs/failing.log"
    assert rest == ["    the disk is full"]


def test_a_service_that_never_answers_is_ended(tmp_path: Path) -> None:
    service = Failing(tmp_path, "echo waiting; sleep 600")
    service.ready_seconds = 0.5
    before = set(psutil.Process().children(recursive=True))
    with pytest.raises(ServiceFailedError, match=r"did not become healthy within 0 s \(nobody answers\)"):
        service.start()
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    service = Failing(tmp_path, "")
    service.command = lambda: ["/nowhere/server"]  # type: ignore[method-assign]
    with pytest.raises(ServiceFailedError, match=r"exit code 127[\s\S]*cannot run /nowhere/server: "):
        service.start()


def test_a_second_start_of_a_running_service_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    with Unruly(tmp_path) as service:
        with pytest.raises(AlreadyRunningError, match="unruly already runs in"):
            service.start()
        with pytest.raises(AlreadyRunningError, match="unruly already runs in"):
            Unruly(tmp_path).start()
        service.probe()


def test_leftovers_of_a_crash_are_ended_and_named(tmp_path: Path) -> None:
    service = Unruly(tmp_path).start()
    family = service.family()
    began = time.monotonic()
    assert end_leftovers(tmp_path / "run") == ["unruly"]
    assert time.monotonic() - began < 10
    assert gone(family, 0)
    assert end_leftovers(tmp_path / "run") == []
    service.stop()
