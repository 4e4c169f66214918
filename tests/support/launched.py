"""A stack in another process, as `sluice demo` has it, and what is left of it in the end."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil

from sluice.local.ports import is_free
from sluice.local.seaweedfs import SeaweedFS

SCRIPT = """
import json, pathlib, sys
from sluice.local.stack import LocalStack
data, options = pathlib.Path(sys.argv[1]), json.loads(sys.argv[2])
with LocalStack(data, **options) as stack:
    print(json.dumps({"url": stack.airflow_url}), flush=True)
    try:
        stack.wait()
    finally:
        print("stopping", flush=True)
print("never", flush=True)
"""


class Launched:
    """The running stack's launcher, its processes and the ports on which they listen.

    The launcher's first line of output tells the stack's URL, as that of `SCRIPT` does.
    """

    def __init__(self, process: subprocess.Popen[str], data_dir: Path) -> None:
        assert process.stdout is not None
        self.process = process
        self.data_dir = data_dir
        first = process.stdout.readline()
        assert first, process.communicate()[1]
        self.url = str(json.loads(first)["url"])
        self.family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        self.addresses = {
            (connection.laddr.ip, connection.laddr.port)
            for member in self.family
            for connection in self._connections(member)
            if connection.status == psutil.CONN_LISTEN
        }
        self.ports = {port for _, port in self.addresses}

    @staticmethod
    def _connections(member: psutil.Process) -> list[psutil._common.pconn]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return member.net_connections("inet")
        return []

    @staticmethod
    def running_in(data_dir: Path) -> list[str]:
        """Name every process of this machine that works in the data directory."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                home = process.environ().get("AIRFLOW_HOME", "")
                if f"{data_dir}/" in " ".join([*process.cmdline(), process.cwd(), home]) + "/":
                    found.append(f"{process.pid} {process.cmdline()}")
        return found

    def end(self, number: signal.Signals, seconds: float = 60) -> None:
        """Signal the launcher alone; then nothing of the stack may run or listen any more."""
        self.family = [self.family[0], *self.family[0].children(recursive=True)]
        self.family[0].send_signal(number)
        _, alive = psutil.wait_procs(self.family[1:], timeout=seconds)
        assert alive == []
        self.process.wait(seconds)
        assert self.running_in(self.data_dir) == []
        assert [port for port in self.ports if not is_free(port)] == []

    def stopped_in_order(self) -> bool:
        """Tell whether the signal arrived as an exception in the launcher's `with` block."""
        out, _ = self.process.communicate()
        return out == "stopping\n" and self.process.returncode != 0


@contextlib.contextmanager
def launch(data_dir: Path, **options: object) -> Iterator[Launched]:
    """Start a stack in another process; whatever a failed test leaves of it is killed."""
    with launch_command(data_dir, ["-c", SCRIPT, str(data_dir), json.dumps(options)]) as launched:
        yield launched


@contextlib.contextmanager
def launch_command(data_dir: Path, arguments: Sequence[str]) -> Iterator[Launched]:
    """Let Python run what starts a stack, as `launch` does."""
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield Launched(process, data_dir)
    finally:
        process.kill()
        process.communicate()
        SeaweedFS(data_dir).remove_sockets()
