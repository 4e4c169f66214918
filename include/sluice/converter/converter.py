"""The public face: a compiled converter, and the evaluation of one source."""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any, Self

from sluice.converter.compiler import Compiler, TooLarge, Usage, no_value
from sluice.converter.config import ConverterConfig, read_config
from sluice.converter.fields import EVENT_KEYS, EXPORT_KEYS, PROPERTY_OPERATIONS
from sluice.converter.grammar import json_key
from sluice.converter.javaregex import BoundedPattern
from sluice.converter.jsontext import canonical_hash, fault, show
from sluice.converter.limits import MAX_SOURCE_DEPTH
from sluice.converter.logic import truth
from sluice.converter.outcomes import (
    MISSING,
    Absence,
    ConfigError,
    Json,
    NoValue,
    Problem,
    RowError,
    Source,
    column_of,
)
from sluice.converter.structure import fields_of

logger = logging.getLogger(__name__)

SKIP_SYNC = "$skip_user_properties_sync"
MAPPING_POINTER = "/converterConfig/convertToAmplitudeFunc"
# Types whose values are within the limits, whatever they are, and no value.
_PLAIN = {str, int, bool, type(None), Absence}
_SCALARS = {str, int, bool, float, type(None)}
_FLAT = {dict, type(None), Absence}
_TOO_DEEP = "the row or the configuration is nested too deeply to evaluate"


def now_ms() -> int:
    """Now, in epoch milliseconds."""
    return time.time_ns() // 1_000_000


def evaluate(source: Json, element: Json, *, clock_ms: int | None = None) -> Json:
    """Evaluate one source description on one JSON element.

    `clock_ms` is the epoch milliseconds that the clock operators give; None is now. Raises `NoValue`,
    `ConfigError` for a bad source, and `RowError` for a value beyond a stated limit (decisions D-01).
    """
    compiler = Compiler()
    compiled: Source = no_value
    with _stopping_at_limits(compiler):
        compiled = compiler.source(source, "")
    if compiler.problems:
        raise ConfigError(compiler.problems)
    try:
        value = compiled(element, now_ms() if clock_ms is None else clock_ms)
    except RecursionError:
        raise RowError("", _TOO_DEEP) from None
    if value is MISSING:
        raise NoValue(f"the source gives no value on {show(element)}")
    if (reason := fault(value)) is not None:
        raise RowError("", reason)
    return value


@contextlib.contextmanager
def _stopping_at_limits(compiler: Compiler) -> Iterator[None]:
    """Compile until a stated limit; a caller that is deep in the stack already leaves less room than that."""
    try:
        yield
    except TooLarge:
        pass
    except RecursionError:
        compiler.problem("", "", "sources are nested too deeply to be compiled here")


@dataclass
class Columns:
    """Fields of many events: `kept` are the places of the rows that are not ignored, in their order.

    `values` has a list for each field, None where an event has none. `odd` are those numbers of kept rows
    for which `Converter.convert` must be asked.
    """

    kept: list[int]
    values: dict[str, list[Json]]
    odd: set[int]

    def append(self, other: Columns) -> None:
        """Add the columns of later rows; their kept places count from where those rows begin."""
        self.odd.update(number + len(self.kept) for number in other.odd)
        self.kept += other.kept
        for name, values in other.values.items():
            self.values.setdefault(name, []).extend(values)


class Converter:
    """A configuration, compiled once; `convert` then parses nothing of it.

    `config` is the typed configuration, `hash` the hex SHA-256 of its canonical JSON, `warnings` what is
    legal but probably not meant, `usage` which fields of the row and which operators it uses.
    """

    def __init__(
        self,
        config: ConverterConfig,
        mapping: Source,
        fields: Mapping[str, Source] | None,
        pattern: BoundedPattern | None,
        usage: Usage,
        digest: str,
    ) -> None:
        self.config = config
        self.hash = digest
        self.usage = usage
        self._mapping = mapping
        self._pattern = pattern
        self._reported_clock: object = MISSING
        self._document: Json = None
        self.target_fields = (
            None if fields is None else tuple(name for name in fields if name != config.ignore_flag)
        )
        """The event's fields, in order; None if the mapping is no object, so that only rows can tell."""
        self._fields: list[tuple[str, str | None, Source]] | None = None
        self._flag: Source | None = None
        if fields is not None:
            others = dict(fields)
            self._flag = None if config.ignore_flag is None else others.pop(config.ignore_flag, None)
            self._fields = fields_of(others.items())

    @classmethod
    def from_config(cls, config: Json) -> Self:
        """Compile a whole configuration; ConfigError lists every problem that it has."""
        if not isinstance(config, dict):
            raise ConfigError([Problem("", "", f"found {show(config)}; a configuration is an object")])
        compiler = Compiler()
        typed, pattern = read_config(compiler, config)
        fields: dict[str, Source] | None = None
        mapping: Source = no_value
        inner = config.get("converterConfig")
        if isinstance(inner, dict) and "convertToAmplitudeFunc" in inner:
            description = inner["convertToAmplitudeFunc"]
            with _stopping_at_limits(compiler):
                if isinstance(description, dict):
                    fields = compiler.members(description, MAPPING_POINTER)
                else:
                    mapping = compiler.source(description, MAPPING_POINTER)
        if compiler.problems or typed is None:
            raise ConfigError(compiler.problems)
        converter = cls(typed, mapping, fields, pattern, compiler.usage, canonical_hash(config))
        converter._document = config
        return converter

    def __reduce__(self) -> tuple[Any, ...]:
        # Closures cannot be pickled: another process compiles the configuration again.
        return type(self).from_config, (self._document,)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """Read and compile a configuration file, UTF-8 JSON; ConfigError also for text that is not JSON."""
        return cls.from_config(read_document(path))

    def convert(self, row: Mapping[str, Json], *, clock_ms: int | None = None) -> dict[str, Json] | None:
        """Turn one source row into an event, or None if the ignore flag leaves it out (amplitude-spec 5.6).

        `clock_ms` is the epoch milliseconds of the clock operators; a reader passes the same for all rows of
        a file. Top-level nulls are dropped (decisions D-04), `$skip_user_properties_sync` is added unless set
        (decisions D-05), values are not cast. RowError names the field and the reason. The row is never
        changed, but the event may share its nested values.
        """
        clock = (now_ms() if self.usage.clock else 0) if clock_ms is None else clock_ms
        name = ""
        try:
            if self._fields is None:
                event = self._convert_whole(row, clock, clock_ms)
            elif self._flag is not None and self._ignores(self._flag(row, clock), clock_ms):
                event = None
            else:
                event = {}
                is_object = isinstance(row, dict)
                for name, key, source in self._fields:
                    value = row.get(key, MISSING) if key is not None and is_object else source(row, clock)
                    kind = value.__class__
                    if kind is str or kind is int:
                        event[name] = value
                    elif value is not MISSING and value is not None:
                        if (reason := fault(value)) is not None:
                            raise RowError(name, reason)
                        event[name] = value
        except RowError as error:
            raise RowError(error.field or name, error.reason) from None
        except RecursionError:
            raise RowError(name, _TOO_DEEP) from None
        if event is not None:
            for properties in ("user_properties", "group_properties"):
                if properties in event:
                    _check_operations(properties, event[properties])
            event.setdefault(SKIP_SYNC, True)
        return event

    def convert_columns(self, rows: Sequence[dict[str, Json]], *, clock_ms: int) -> Columns:
        """Turn many source rows into the fields of their events, one field after the other, which is quicker.

        Where `convert` would raise an error, the row is `odd`, and its values mean nothing. Raises ValueError
        if the mapping is no object (`target_fields` is None): then only a row says which fields it has.
        """
        if self._fields is None:
            raise ValueError("a mapping that is no object has no columns")
        result = Columns(list(range(len(rows))), {}, set())
        if (flag := self._flag) is not None:
            flags = _evaluate(flag, rows, clock_ms, result.odd)
            ignored = [
                place not in result.odd and self._ignores(flags[place], clock_ms) for place in result.kept
            ]
            result.kept = [place for place in result.kept if not ignored[place]]
            odd = [number for number, place in enumerate(result.kept) if place in result.odd]
            result.odd.clear()
            result.odd.update(odd)
            rows = [rows[place] for place in result.kept]
        for name, key, source in self._fields:
            values = (
                _evaluate(source, rows, clock_ms, result.odd)
                if key is None
                else [row.get(key) for row in rows]
            )
            kinds = set(map(type, values))
            if Absence in kinds:
                values = [None if value is MISSING else value for value in values]
            if not kinds <= _PLAIN and not (kinds <= _FLAT and _all_flat(values)):
                result.odd.update(
                    place
                    for place, value in enumerate(values)
                    if type(value) not in _PLAIN and fault(value) is not None
                )
            if dict in kinds and name in ("user_properties", "group_properties"):
                result.odd.update(
                    place
                    for place, value in enumerate(values)
                    if type(value) is dict and not PROPERTY_OPERATIONS.isdisjoint(value)
                )
            result.values[name] = values
        return result

    def _convert_whole(
        self, row: Mapping[str, Json], clock: int, clock_ms: int | None
    ) -> dict[str, Json] | None:
        """Evaluate a mapping that is no JSON object; the event's fields are known only now."""
        whole = self._mapping(row, clock)
        if not isinstance(whole, dict):
            raise RowError(
                "", f"the mapping gave {'no value' if whole is MISSING else show(whole)}, not an object"
            )
        event = {key: value for key, value in whole.items() if value is not None}
        flag = self.config.ignore_flag
        if flag is not None and self._ignores(event.pop(flag, None), clock_ms):
            return None
        for name, value in event.items():
            if (reason := fault(value)) is not None:
                raise RowError(name, reason)
        return event

    def _ignores(self, value: Json, clock_ms: int | None) -> bool:
        """Cast the ignore flag; what is no boolean doesn't ignore and is logged once for each file (decisions
        D-09): the next file is known by its clock.
        """
        ignored = truth(value)
        if ignored is None and self._reported_clock != clock_ms:
            self._reported_clock = clock_ms
            logger.warning(
                "%s: the ignore flag %s gave %s, which is no boolean; such rows are not ignored",
                self.config.name or "converter", self.config.ignore_flag, show(value),
            )  # fmt: skip
        return bool(ignored)

    def matches(self, key: str, prefix: str = "") -> bool:
        """Whether an object key is a data file: `filterPattern` matches the whole key or the key without
        `prefix`.

        Folder placeholders, keys ending in `/`, never are (decisions D-16). RowError if the match takes
        longer than the stated time.
        """
        if key.endswith("/"):
            return False
        if self._pattern is None or self._pattern.fullmatch(key):
            return True
        return bool(prefix) and key.startswith(prefix) and self._pattern.fullmatch(key[len(prefix) :])

    @property
    def warnings(self) -> list[Problem]:
        """What is legal but probably not meant: target fields that are ignored, a missing filter."""
        found = []
        for name in self.target_fields or ():
            if name not in EVENT_KEYS:
                pointer = f"{MAPPING_POINTER}/{json_key(name)}"
                fate = (
                    "; Sluice keeps it as the column of that name in exports, Amplitude need not"
                    if name in EXPORT_KEYS
                    else " and will be ignored; put it into event_properties or user_properties"
                )
                found.append(Problem(pointer, "", f"{name} is neither an HTTP V2 nor an Identify key{fate}"))
        if self.config.filter_pattern is None:
            found.append(
                Problem("", "", "without keyValidatorConfig.filterPattern every key counts as a data file")
            )
        if self.config.ignore_flag is not None and self._fields is not None and self._flag is None:
            pointer = "/converterConfig/ignoreEventFlag"
            found.append(
                Problem(
                    pointer, "", f"the mapping has no field {self.config.ignore_flag}, so no row is ignored"
                )
            )
        return found


def _all_flat(values: Sequence[Json]) -> bool:
    """Whether all objects hold scalars only, and no number that is none."""
    members = [*chain.from_iterable([value.values() for value in values if value.__class__ is dict])]
    kinds = set(map(type, members))
    if float in kinds and not all(map(isfinite, [member for member in members if member.__class__ is float])):
        return False
    return kinds <= _SCALARS


def _evaluate(source: Source, rows: Sequence[Json], clock: int, odd: set[int]) -> list[Json]:
    try:
        return column_of(source)(rows, clock)
    except (RowError, RecursionError):
        pass
    values: list[Json] = []
    for place, row in enumerate(rows):
        try:
            values.append(source(row, clock))
        except (RowError, RecursionError):
            values.append(None)
            odd.add(place)
    return values


def _check_operations(field: str, properties: Json) -> None:
    """Refuse a mixture of property operations and plain properties (amplitude-spec 6.5, decisions D-20)."""
    if not isinstance(properties, dict) or PROPERTY_OPERATIONS.isdisjoint(properties):
        return
    plain = [key for key in properties if key not in PROPERTY_OPERATIONS]
    if plain:
        raise RowError(
            field, f"mixes property operations with the plain property {plain[0]!r}; all must be operations"
        )
    if "$clearAll" in properties and len(properties) > 1:
        raise RowError(field, "$clearAll must be the only operation")


def read_document(path: str | Path) -> Json:
    """Read a configuration file; ConfigError names each duplicate key, or where the text stops being JSON."""
    duplicates: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                duplicates.append(key)
            result[key] = value
        return result

    try:
        text = Path(path).read_text(encoding="utf-8")
        document = json.loads(text, object_pairs_hook=members)
    except RecursionError:
        reason = f"nested deeper than {MAX_SOURCE_DEPTH} levels"
    except OSError as error:
        reason = error.strerror or str(error)
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 text: {error}"
    except ValueError as error:
        reason = f"is not JSON: {error}" if text.strip() else "the file is empty"
    else:
        reason = ""
    if reason:
        raise ConfigError([Problem("", "", f"{path}: {reason}")])
    if duplicates:
        raise ConfigError(
            [Problem("", "", f'{path}: the key "{key}" is given twice in one object') for key in duplicates]
        )
    return document
