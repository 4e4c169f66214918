"""Ports are free when they are given out, and a taken one is named."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from sluice.local import ports
from sluice.local.errors import PortTakenError


@pytest.fixture(params=["127.0.0.1", "0.0.0.0"])
def taken(request: pytest.FixtureRequest) -> Iterator[int]:
    with socket.create_server((request.param, 0)) as server:
        yield server.getsockname()[1]


def test_a_listener_takes_the_port(taken: int) -> None:
    assert not ports.is_free(taken)


def test_a_port_is_free_again_at_once_after_connections_were_closed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        client = socket.create_connection(("127.0.0.1", port))
        server.accept()[0].close()
        client.close()
    assert ports.is_free(port)


def test_free_ports_differ_and_stay_clear_of_outgoing_connections() -> None:
    given = [ports.free_port() for _ in range(200)]
    assert len(set(given)) == 200
    assert all(20_000 <= port <= 32_000 for port in given)


def test_the_next_free_port_stands_in_for_a_taken_one(taken: int) -> None:
    assert taken < ports.preferred_port(taken) <= taken + 100


def test_no_free_port_is_one_clear_line(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "PREFERRED_TRIES", 1)
    with pytest.raises(
        PortTakenError, match=f"^ports {taken} to {taken} of 127.0.0.1 are all taken; name another"
    ):
        ports.preferred_port(taken)


def test_a_required_port_that_is_taken_is_named(taken: int) -> None:
    with pytest.raises(
        PortTakenError, match=f"^the server needs port {taken} of 127.0.0.1, which another program"
    ):
        ports.require_port(taken, "the server")
