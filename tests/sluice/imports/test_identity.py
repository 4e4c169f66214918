"""Ids that are none, the row's uuid, the default insert id, the dedup key."""

from __future__ import annotations

from hashlib import blake2b
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sluice.imports.identity import ROW_NAMESPACE, RowNames, dedup_key, device_of_user, id_fault


@pytest.mark.parametrize("value", ["N14228", "UA-1545-EWR", "nullable", "12345", "user@example.com"])
def test_an_id_is_an_id(value: str) -> None:
    assert id_fault(value) is None


@pytest.mark.parametrize(
    "value",
    [
        *("anonymous", "Unknown", " UNDEFINED ", "lmy47d", "null", "N/A", "none", "", '""', "{}", "0", "-1"),
        *("00000000-0000-0000-0000-000000000000", "00000000000000000000000000000000"),
    ],
)
def test_what_stands_for_no_id_is_none(value: str) -> None:
    assert id_fault(value) == "stands for no id"


@pytest.mark.parametrize("value", ["abcd", "  ab  ", "1234"])
def test_a_short_id_is_none(value: str) -> None:
    assert id_fault(value) == "is shorter than 5 characters"


def test_a_row_has_the_uuid5_of_its_place() -> None:
    names = RowNames("flights", "bucket", "a/ü.csv")
    for row in (0, 7, 10**9):
        expected = uuid5(ROW_NAMESPACE, f"flights\0bucket\0a/ü.csv\0{row}")
        assert names.uuid(row) == str(expected)
        assert UUID(names.uuid(row)).version == 5


def test_the_default_insert_id_is_the_vendors() -> None:
    assert RowNames("s", "bucket", "folder/file.csv").insert_id(12) == "bucket/folder/file.csv:0:0:12"


def test_a_user_without_device_has_always_the_same() -> None:
    device_of_user.cache_clear()
    first = device_of_user("N14228")
    device_of_user.cache_clear()
    assert device_of_user("N14228") == first == str(UUID(first))
    assert device_of_user("N14229") != first


@given(device=st.text(), insert=st.text())
def test_the_dedup_key_is_the_signed_halves_of_the_hash(device: str, insert: str) -> None:
    digest = int.from_bytes(
        blake2b(f"{device}\0{insert}".encode(), digest_size=16).digest(), "big", signed=True
    )
    high, low = dedup_key(device, insert)
    assert (high << 64) + low % 2**64 == digest
    assert all(-(2**63) <= half < 2**63 for half in (high, low))
