"""Which strategy fits which data type, and which pairs are there (amplitude-spec 4.5, decisions I-14).

The pair decides what a row becomes and how it enters the lake. A pair that is possible and not there yet is
refused here, so that all code behind the configuration knows only pairs that it can import; whoever builds
its import moves it from `LATER` to `AVAILABLE`.
"""

from __future__ import annotations

from typing import Literal, get_args

from sluice.config.problems import NotAllowed

DataType = Literal["event", "user_properties", "group_properties", "profiles"]
Strategy = Literal["append_only", "mirror"]

AVAILABLE: frozenset[tuple[DataType, Strategy]] = frozenset({("event", "append_only")})
LATER: frozenset[tuple[DataType, Strategy]] = frozenset(
    {
        ("event", "mirror"),
        ("user_properties", "append_only"),
        ("group_properties", "append_only"),
        ("profiles", "mirror"),
    }
)


def require_available(data_type: DataType, strategy: Strategy) -> None:
    """Raise NotAllowed, with the whole table, for a pair that cannot be imported (yet)."""
    pair = (data_type, strategy)
    if pair in AVAILABLE:
        return
    if pair in LATER:
        reason = f"{data_type} with {strategy} comes with a later version of Sluice"
    else:
        fitting = [other for other in get_args(Strategy) if (data_type, other) in AVAILABLE | LATER]
        reason = f"{data_type} cannot be imported with {strategy}, only with {' or '.join(fitting)}"
    raise NotAllowed(
        reason, f"the pairs with a yes.\n{table()}\n      (later: not there yet; -: no such pair)"
    )


def table() -> str:
    """Return the table of data types and strategies as aligned text."""
    strategies: tuple[Strategy, ...] = get_args(Strategy)
    lines = [("data_type", *strategies)]
    lines += [(kind, *(_cell(kind, strategy) for strategy in strategies)) for kind in get_args(DataType)]
    return "\n".join(f"      {kind:<18}{append:<13}{mirror}" for kind, append, mirror in lines)


def _cell(data_type: DataType, strategy: Strategy) -> str:
    pair = (data_type, strategy)
    return "yes" if pair in AVAILABLE else "later" if pair in LATER else "-"
