"""The reference page and the JSON Schema, written from the tables; `python -m sluice.converter.reference`
does it.
"""

from __future__ import annotations

import json
from pathlib import Path

from sluice.converter import arithmetic, limits, logic, structure, text, times
from sluice.converter.config import CONVERTER_KEYS, TOP_KEYS, VALIDATOR_KEYS, Key
from sluice.converter.grammar import Example, Operator
from sluice.converter.schema import json_schema
from sluice.converter.timepattern import LETTERS

FAMILIES: tuple[tuple[str, tuple[Operator, ...]], ...] = (
    ("Choosing and building", structure.OPERATORS),
    ("Text", text.OPERATORS),
    ("Time", times.OPERATORS),
    ("Truth", logic.OPERATORS),
    ("Numbers", arithmetic.OPERATORS),
)

_INTRODUCTION = """\
# Converter configuration

<!-- Written by `python -m sluice.converter.reference` from the operator table; a test keeps it current. -->

A converter says which objects of a bucket are data files, how they are written, and how each row becomes an
event. `sluice converter init FILE` proposes one, `check` names everything wrong with it, `preview` shows rows
beside their events, `test` runs the cases in `<name>.tests.json` beside it, and `explain` counts what each
field got from a file.

```json
{
  "$schema": "./schema.json",
  "config_name": ["Shop events"],
  "converterConfig": {
    "fileType": "json",
    "compressionType": "gzip",
    "convertToAmplitudeFunc": {
      "event_type": "action",
      "user_id": "user",
      "time": ["iso_time_to_ms", "occurred_at"],
      "event_properties": {"sku": ["path", "item", "sku"]}
    }
  },
  "keyValidatorConfig": {"filterPattern": "shop/.*\\\\.json\\\\.gz"}
}
```

## Sources

A source describes how to get a value from the current element, at first the row:

- a **string** is one key of it, dots included; on a list, a digit string is an index from 0;
- a **list** `["operator", argument…]` calls an operator; in the signatures below everything behind `|` may
  be repeated, always as a whole group;
- an **object** builds an object: its keys are kept, its values are sources.

A static value is written `["value", …]`. Evaluation gives a JSON value (null included) or *no value*; a key
without value is left out of its object. `not`, `and`, `or`, `condition`, `ifelse`, `equals`, `contains`,
`typeof` and the number operators see no value as null; `any`, `array`, `merge_dicts` and objects pass over
it; for all other operators null is no value, and no value in means no value out.

## The event

The mapping is evaluated, top-level nulls are dropped, a row whose ignore flag is true is left out, and
`$skip_user_properties_sync` is set to true unless the mapping sets it. Values are not cast. In
`user_properties` and `group_properties`, property operations (`$set`, `$append`, …) and plain properties must
not be mixed. Target fields that neither the HTTP V2 nor the Identify API knows are ignored, all but
`device_type` and `library`, which exports have as columns: `check` warns of them.

## Cases

`sluice converter test shop.json` runs the cases in `shop.tests.json` beside it and shows each field in which
an event is not the expected one:

```json
[
  {
    "name": "a purchase",
    "row": {"action": "buy", "user": "jo-17", "occurred_at": "2024-01-02T03:04:05Z", "item": {"sku": "A1"}},
    "event": {
      "event_type": "buy",
      "user_id": "jo-17",
      "time": 1704164645000,
      "event_properties": {"sku": "A1"},
      "$skip_user_properties_sync": true
    }
  }
]
```

`event` is null for a row that the ignore flag leaves out. Instead of `event`, `error` names the field of a
row error (`""` for the event as a whole). `clock_ms` sets the clock of `iso_time_now` and `ms_time_now`.

Two converters come with Sluice, each with its cases: `flights.json` for the demo, and
`amplitude_export.json`, which takes files that Amplitude or Sluice exported and gives the events that they
came from.
"""


def example_line(example: Example) -> str:
    """Show an example as one line of code."""
    row = json.dumps(example.element, ensure_ascii=False)
    result = "no value" if example.no_value else json.dumps(example.result, ensure_ascii=False)
    return f"{json.dumps(example.source, ensure_ascii=False)}  on  {row}  →  {result}"


def _keys(title: str, keys: tuple[Key, ...]) -> list[str]:
    lines = [f"### {title}", "", "| key | required | meaning |", "|---|---|---|"]
    for key in keys:
        meaning = key.meaning + (" (Sluice only)" if key.extension else "")
        lines.append(f"| `{key.name}` | {'yes' if key.required else 'no'} | {meaning} |")
    return [*lines, ""]


def _operator(operator: Operator) -> list[str]:
    aliases = ", ".join(f"`{alias}`" for alias in operator.aliases)
    lines = [
        f"#### `{operator.name}`" + (f" (also {aliases})" if aliases else ""),
        "",
        f"`{operator.signature}`",
        "",
    ]
    lines += [f"{operator.summary} {operator.rules}".strip(), "", "```text"]
    lines += [example_line(example) for example in operator.examples]
    return [*lines, "```", "", f"Source: {operator.origin}.", ""]


def reference_page() -> str:
    """Write docs/converter.md."""
    lines = [_INTRODUCTION, "## Keys", ""]
    lines += _keys("The configuration", TOP_KEYS)
    lines += _keys("`converterConfig`", CONVERTER_KEYS)
    lines += _keys("`keyValidatorConfig`", VALIDATOR_KEYS)
    lines += ["## Operators", ""]
    for title, operators in FAMILIES:
        lines += [f"### {title}", ""]
        for operator in operators:
            lines += _operator(operator)
    lines += [
        "## Regular expressions",
        "",
        "`filterPattern` and `replace_with` take the syntax of Java 7, translated construct by construct: "
        "`\\d`, `\\w`",
        "and `\\s` are ASCII, `(?i)` folds ASCII letters only, `.`, `^` and `$` know Java's line ends, "
        "classes may be",
        "nested and intersected (`[a-z&&[^aeiou]]`), and possessive and atomic groups work. What has no "
        "exact",
        "counterpart is a configuration error that names it: `\\p{java…}`, `\\h`, `\\R` and other "
        "constructs of later",
        "versions, and a negated class with a class or `&&` inside, which Java 7 and Java 9 read "
        "differently.",
        "",
        "## Time patterns",
        "",
        "| letter | reads |",
        "|---|---|",
        *(f"| `{letter}` | {meaning} |" for letter, (_, meaning) in LETTERS.items()),
        "",
        "Text stands in single quotes, `''` is a quote, `[…]` is optional. Names are English, in any case. "
        "A missing",
        "month or day is the first. Unlike Java, which would take the last day of the month, 30 February "
        "is no time.",
        "",
        "## Limits",
        "",
        "| limit | value |",
        "|---|---|",
        f"| operators in a configuration | {limits.MAX_OPERATORS:,} |",
        f"| sources in a configuration | {limits.MAX_SOURCES:,} |",
        f"| sources nested in each other | {limits.MAX_SOURCE_DEPTH} |",
        f"| levels of objects and lists in a value | {limits.MAX_NESTING:,} |",
        f"| digits of a number in arithmetic | {limits.MAX_DIGITS:,} |",
        f"| characters of a text that an operator builds | {limits.MAX_TEXT:,} |",
        f"| characters of a pattern | {limits.MAX_PATTERN:,} |",
        f"| counted repetitions of a regular expression, multiplied | {limits.MAX_REPEATS:,} |",
        f"| time of the first slow match | {limits.MATCH_SECONDS:g} s, once more for each "
        f"{limits.MATCH_CHARACTERS:,} characters |",
        f"| time of later slow matches | half each time, down to {limits.MIN_MATCH_SECONDS * 1000:.0f} ms |",
        "",
        "Beyond a limit of the configuration is a configuration error, beyond one of a value a row error: "
        "the row is",
        "rejected with the field and the reason, the rest of the file goes on.",
        "",
    ]
    return "\n".join(lines)


def schema_text() -> str:
    """Write include/config/converters/schema.json."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def write(root: Path) -> None:
    """Write both files below the repository's root."""
    (root / "docs/converter.md").write_text(reference_page(), encoding="utf-8")
    (root / "include/config/converters/schema.json").write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).resolve().parents[3])
