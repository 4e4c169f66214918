"""Yes or no from a template: a DAG without native rendering makes text of a flag."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowFailException

_WORDS = {"true": True, "false": False}


def flag(name: str, value: bool | str) -> bool:
    """Return what a templated parameter says. Raises AirflowFailException for anything but true and false."""
    if isinstance(value, bool):
        return value
    try:
        return _WORDS[str(value).strip().lower()]
    except KeyError:
        raise AirflowFailException(f"{name} is {value!r}: say true or false.") from None
