"""What the caller's shell holds cannot lead a local service astray."""

from __future__ import annotations

import pytest

from sluice.local.environment import clean_environment


@pytest.mark.parametrize(
    "name",
    [
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL_S3",
        "AIRFLOW__CORE__EXECUTOR",
        "AIRFLOW_CONN_AWS_DEFAULT",
        "PGHOST",
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPATH",
        "WEED_S3_SSE_KEY",
        "SLUICE_CONFIG",
    ],
)
def test_misleading_variables_are_dropped(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "x")
    assert name not in clean_environment()
    assert clean_environment({name: "ours"})[name] == "ours"


def test_loopback_is_reached_past_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy:3128")
    monkeypatch.setenv("NO_PROXY", "internal,localhost")
    environment = clean_environment()
    assert environment["HTTP_PROXY"] == "http://proxy:3128"
    assert environment["NO_PROXY"] == "internal,localhost,127.0.0.1"
