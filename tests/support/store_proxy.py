"""A proxy in front of an S3 server that can cut a request off: before the server gets it, or its answer.

Requests are passed on as they are, their `Host` too, which their signatures cover. It is a process of its
own, for a client that waits for an answer may keep Python's lock meanwhile.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from threading import Lock, Thread
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit


class StoreProxy:
    """The proxy's process, which listens on a free port of this machine."""

    def __init__(self, endpoint_url: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, endpoint_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = f"http://127.0.0.1:{self._heard()}"

    def cut(self, pattern: str, when: str, *, kill: bool = False) -> None:
        """Reset the connection of the next request whose `METHOD path` matches.

        `before` the server has it, or `after` it is done. With `kill` the victim is killed then.
        """
        self._tell({"pattern": pattern, "when": when, "kill": kill})
        assert self._heard() == "ready"

    def victim(self, pid: int) -> None:
        """Name the process that is killed; a cut that should kill waits for it."""
        self._tell({"pid": pid})

    def was_cut(self) -> str:
        """Wait for the cut; return the request and the server's status, if it got it."""
        return self._heard()

    def _tell(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def _heard(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def __enter__(self) -> StoreProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()  # it ends with its input


# --- In the proxy's process ---


@dataclass(frozen=True)
class _Cut:
    pattern: str
    when: str
    kill: bool


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    lock = Lock()
    cut: _Cut | None = None
    victims: Queue[int] = Queue()

    def take(self, request: str) -> _Cut | None:
        with self.lock:
            if self.cut is None or not re.search(self.cut.pattern, request):
                return None
            cut, self.cut = self.cut, None
        return cut


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    upstream: tuple[str, int]
    server: _Server

    def handle(self) -> None:
        with suppress(OSError):  # the client is gone, or was cut off
            super().handle()

    def finish(self) -> None:
        if self.connection.fileno() >= 0:
            super().finish()

    def pass_on(self) -> None:
        body = self.body()
        request = f"{self.command} {self.path}"
        cut = self.server.take(request)
        if cut and cut.when == "before":
            self.hang_up(cut, f"{request}: not passed on")
            return
        connection = HTTPConnection(*self.upstream, timeout=60)
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if cut:
            self.hang_up(cut, f"{request}: {answer.status}")
            return
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        self.wfile.write(content)

    def body(self) -> bytes:
        """Read the request's body as it is, chunks and trailers with their marks."""
        if "chunked" not in (self.headers.get("Transfer-Encoding") or "").lower():
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        raw, size = b"", -1
        while size:
            head = self.rfile.readline()
            size = int(head.partition(b";")[0], 16)
            raw += head + (self.rfile.read(size + 2) if size else b"")
        while not raw.endswith(b"\r\n\r\n"):
            raw += self.rfile.readline()
        return raw

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on

    def hang_up(self, cut: _Cut, what: str) -> None:
        if cut.kill:
            os.kill(self.server.victims.get(timeout=60), signal.SIGKILL)
        # A reset, not an end: the client knows that the answer is lost.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True
        print(what, flush=True)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def _serve(endpoint_url: str) -> None:
    upstream = urlsplit(endpoint_url)
    _Handler.upstream = (str(upstream.hostname), upstream.port or 80)
    server = _Server(("127.0.0.1", 0), _Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for line in sys.stdin:
        message = json.loads(line)
        if "pid" in message:
            server.victims.put(message["pid"])
        else:
            server.cut = _Cut(**message)
            print("ready", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
