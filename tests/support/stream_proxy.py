"""A real HTTP proxy in front of a Kinesis emulator, which itself never refuses: it throttles and breaks off.

What it refuses of a PutRecords request it does not forward, and the answer says so record by record, as
Kinesis does.
"""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from http_proxy import HttpProxy, ProxyHandler

THROTTLED = "ProvisionedThroughputExceededException"
INTERNAL = "InternalFailure"

# throttled: the whole request, with status 400; unavailable: 503; reset: the connection breaks before the
# stream has got anything; lost: the stream has got all, and the answer does not come back; hanging: nothing.
WholeFault = Literal["throttled", "unavailable", "reset", "lost", "hanging"]
# Of single records: place in the request to error code.
Fault = WholeFault | dict[int, str] | None


class _Handler(ProxyHandler):
    owner: StreamProxy

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.headers.get("X-Amz-Target", "").endswith(".PutRecords"):
            self._answer(*self._forward(body))
            return
        request = json.loads(body)
        fault = self.owner.decide(request["Records"])
        if isinstance(fault, dict):
            self._answer(*self._refuse_some(request, fault))
        elif fault == "throttled":
            self._answer(400, json.dumps({"__type": THROTTLED, "message": "Rate exceeded"}).encode())
        elif fault == "unavailable":
            self._answer(503, json.dumps({"__type": "ServiceUnavailable"}).encode())
        elif fault == "reset":
            self._break_off()
        elif fault == "hanging":
            self.owner.over.wait(30)
            self._break_off()
        else:
            answer = self._forward(body)
            if fault == "lost":
                self._break_off()
            else:
                self._answer(*answer)

    def _refuse_some(self, request: dict[str, Any], refused: dict[int, str]) -> tuple[int, bytes]:
        records = request["Records"]
        rest = [record for place, record in enumerate(records) if place not in refused]
        taken = []
        if rest:
            status, content = self._forward(json.dumps({**request, "Records": rest}).encode())
            assert status == 200, content
            taken = json.loads(content)["Records"]
        results = [
            {"ErrorCode": refused[place], "ErrorMessage": "injected"} if place in refused else taken.pop(0)
            for place in range(len(records))
        ]
        return 200, json.dumps({"FailedRecordCount": len(refused), "Records": results}).encode()

    def _forward(self, body: bytes) -> tuple[int, bytes]:
        target = urlsplit(self.owner.endpoint)
        emulator = http.client.HTTPConnection(target.hostname or "", target.port, timeout=60)
        try:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in ("content-length", "connection", "expect")
            }
            emulator.request("POST", self.path, body, headers)
            answer = emulator.getresponse()
            return answer.status, answer.read()
        finally:
            emulator.close()

    def _answer(self, status: int, body: bytes) -> None:
        # A client that has given up is no error here.
        with suppress(OSError):
            self.send_response_only(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)


@dataclass
class StreamProxy(HttpProxy):
    """Forwards to `endpoint`; `choose` is given each PutRecords request's number and its message ids."""

    handler = _Handler

    choose: Callable[[int, list[str]], Fault] = lambda number, ids: None
    # Per request the message ids that it brought, and what was made of it.
    requests: list[tuple[list[str], Fault]] = field(default_factory=list)
    # The sizes of the requests: records, and bytes of their data and keys.
    sizes: list[tuple[int, int]] = field(default_factory=list)

    def decide(self, records: list[dict[str, str]]) -> Fault:
        data = [base64.b64decode(record["Data"]) for record in records]
        ids = [json.loads(text)["message_id"] for text in data]
        size = sum(
            len(text) + len(record["PartitionKey"].encode())
            for text, record in zip(data, records, strict=True)
        )
        with self._lock:
            fault = self.choose(len(self.requests), ids)
            self.requests.append((ids, fault))
            self.sizes.append((len(records), size))
        return fault
