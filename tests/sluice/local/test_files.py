"""Secrets are made once, are private, and are whole or absent."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from sluice.local.airflow_settings import generated_secrets
from sluice.local.errors import IncompleteEnvironmentError
from sluice.local.files import made_once, write_private
from sluice.local.seaweedfs import generated_identity


def test_secrets_survive_a_restart_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "secrets.json"
    first = made_once(path, generated_secrets)
    assert made_once(path, generated_secrets) == first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_installations_share_no_secret() -> None:
    one, other = generated_secrets(), generated_secrets()
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())
    keys = [generated_identity()["identities"][0]["credentials"][0] for _ in range(2)]
    assert keys[0] != keys[1]
    assert all(len(key["secretKey"]) >= 20 for key in keys)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    write_private(path, '{"whole": true}')
    (tmp_path / "facts.json.new").write_text('{"wh')
    assert made_once(path, dict) == {"whole": True}
    write_private(path, '{"whole": 2}')
    assert made_once(path, dict) == {"whole": 2}


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_broken_file_is_named_with_its_remedy(tmp_path: Path, text: str) -> None:
    path = tmp_path / "s3.json"
    path.write_text(text)
    with pytest.raises(
        IncompleteEnvironmentError, match=rf"^{path} is not a JSON object; remove it and start again"
    ):
        made_once(path, generated_identity)
