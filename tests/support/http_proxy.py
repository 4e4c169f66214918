"""A real HTTP server of a test's own, in front of another one: what proxies that spoil requests share."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self


@dataclass
class HttpProxy:
    """Serves on `url` within a `with` block, by the class's `handler`, for what lies at `endpoint`."""

    handler: ClassVar[type[ProxyHandler]]

    endpoint: str
    url: str = field(default="", init=False)

    def __enter__(self) -> Self:
        handler = type("Handler", (self.handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._lock = threading.Lock()
        self.over = threading.Event()
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        return self

    def __exit__(self, *error: Any) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class ProxyHandler(BaseHTTPRequestHandler):
    """Answers one request for its `owner`, the proxy."""

    protocol_version = "HTTP/1.1"
    owner: Any

    def _break_off(self) -> None:
        # Without lingering, closing sends RST instead of FIN.
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""
