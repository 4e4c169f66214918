"""Cases that a converter's author writes beside it: source row -> expected event."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sluice.converter.converter import Converter
from sluice.converter.grammar import json_key
from sluice.converter.jsontext import fault, show
from sluice.converter.logic import equal
from sluice.converter.outcomes import MISSING, Json, RowError
from sluice.errors import SluiceError

FORM = (
    'a list of objects {"name": …, "row": {…}, "event": {…}}; "event" is null for an ignored row; '
    'instead of "event", "error" is the field of a row error ("" for the event); "clock_ms" is optional'
)


class CasesError(SluiceError):
    """A file of cases that cannot be read."""


@dataclass(frozen=True)
class Difference:
    """One place where the event differs from the expected one."""

    pointer: str
    expected: Json
    found: Json

    def __str__(self) -> str:
        place = self.pointer or "(event)"
        if self.expected is MISSING:
            return f"{place}: not expected, found {show(self.found)}"
        if self.found is MISSING:
            return f"{place}: expected {show(self.expected)}, found nothing"
        return f"{place}: expected {show(self.expected)}, found {show(self.found)}"


@dataclass(frozen=True)
class Result:
    """What became of one case; no differences means that it passed."""

    name: str
    differences: tuple[Difference, ...]


def cases_path(config: Path) -> Path:
    """Name the file of cases of a configuration: `orders.json` -> `orders.tests.json`."""
    return config.with_name(config.name.removesuffix(".json") + ".tests.json")


def differences(expected: Json, found: Json, pointer: str = "") -> Iterator[Difference]:
    """Give every place where two events differ, objects compared field by field."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            place = f"{pointer}/{json_key(key)}"
            yield from differences(expected.get(key, MISSING), found.get(key, MISSING), place)
    elif expected is MISSING or found is MISSING:
        if expected is not found:
            yield Difference(pointer, expected, found)
    elif not equal(expected, found):
        yield Difference(pointer, expected, found)


def run_cases(converter: Converter, path: Path) -> list[Result]:
    """Run the cases of a file; CasesError if it is missing or not of the form above."""
    try:
        cases = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CasesError(f"{path}: {error.strerror}; it must hold {FORM}") from None
    except (ValueError, RecursionError) as error:
        raise CasesError(f"{path}: is not JSON: {error}; it must hold {FORM}") from None
    if not isinstance(cases, list) or not all(map(_is_case, cases)) or fault(cases) is not None:
        raise CasesError(f"{path}: must hold {FORM}")
    return [_run(converter, case, f"case {number}") for number, case in enumerate(cases, start=1)]


def _is_case(case: Json) -> bool:
    return (
        isinstance(case, dict)
        and isinstance(case.get("row"), dict)
        and (("event" in case) != ("error" in case))
        and isinstance(case.get("error", ""), str)
        and isinstance(case.get("name", ""), str)
        and type(case.get("clock_ms", 0)) is int
    )


def _run(converter: Converter, case: Json, default_name: str) -> Result:
    name = case.get("name", default_name)
    try:
        found: Json = converter.convert(case["row"], clock_ms=case.get("clock_ms"))
    except RowError as error:
        if case.get("error", MISSING) == error.field:
            return Result(name, ())
        expected = case["event"] if "event" in case else f"an error of the field {case['error']}"
        return Result(name, (Difference("", expected, f"the row error {error}"),))
    if "error" in case:
        return Result(name, (Difference("", f"an error of the field {case['error']}", found),))
    return Result(name, tuple(differences(case["event"], found)))
