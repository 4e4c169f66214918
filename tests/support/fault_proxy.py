"""A real HTTP proxy in front of a store that spoils chosen requests: throttles, breaks off, answers late."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from http_proxy import HttpProxy, ProxyHandler

# slow down: 503, as S3 throttles; reset: the connection breaks in the middle of the request; cut: in the
# middle of the answer; late: the store does what is asked, and its answer comes after `late_seconds`.
Fault = Literal["slow down", "reset", "cut", "late"]
_SLOW_DOWN = (
    b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length"}


class _Handler(ProxyHandler):
    owner: FaultProxy

    def _forward(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        fault = self.owner.decide(_kind(self.command, self.path), self.path)
        if fault == "reset":
            self.rfile.read(length // 2)
            self._break_off()
            return
        body = self.rfile.read(length)
        if fault == "slow down":
            self._answer(503, {"Content-Type": "application/xml"}, _SLOW_DOWN)
            return
        target = urlsplit(self.owner.endpoint)
        store = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            # The host as the client signed it.
            store.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    store.putheader(name, value)
            store.endheaders(body)
            answer = store.getresponse()
            content = answer.read()
        finally:
            store.close()
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _HOP_BY_HOP}
        if self.command == "HEAD":
            headers["Content-Length"] = answer.getheader("Content-Length") or "0"
        if fault == "late":
            self.owner.over.wait(self.owner.late_seconds)
        if fault == "cut":
            self._answer(answer.status, headers, content, sent=len(content) // 2)
            self._break_off()
            return
        self._answer(answer.status, headers, content)

    def _answer(self, status: int, headers: dict[str, str], body: bytes, sent: int | None = None) -> None:
        # A client that has given up is no error here.
        with suppress(OSError):
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if "Content-Length" not in headers and status not in (204, 304):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body if sent is None else body[:sent])

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _forward


@dataclass
class FaultProxy(HttpProxy):
    """Forwards to `endpoint`; `choose` is asked for each request: kind, path and how often it came before."""

    handler = _Handler

    choose: Callable[[str, str, int], Fault | None] = lambda kind, path, before: None
    late_seconds: float = 1.0
    # What was asked: kind, path, and the fault that was made of it.
    requests: list[tuple[str, str, Fault | None]] = field(default_factory=list)

    def faults(self, fault: Fault | None = None) -> list[str]:
        """The kinds of the requests that were spoiled, in their order."""
        return [kind for kind, _, made in self.requests if made and fault in (None, made)]

    def decide(self, kind: str, path: str) -> Fault | None:
        with self._lock:
            before = sum((kind, path) == (k, p) for k, p, _ in self.requests)
            fault = self.choose(kind, path, before)
            self.requests.append((kind, path, fault))
        return fault


def _kind(method: str, path: str) -> str:
    """Name a request as the export does: list, list uploads, head, read, create, part, complete, …"""
    query = urlsplit(path).query
    if method == "GET":
        if "uploads" in query and "uploadId" not in query:
            return "list uploads"
        return "list" if "list-type" in query else "read"
    if method == "POST":
        return "create" if query.startswith("uploads") else "complete"
    if method == "PUT":
        return "part" if "uploadId" in query else "put"
    if method == "DELETE":
        return "abort" if "uploadId" in query else "delete"
    return "head"
