"""The report of a gate: one self-contained page in the lake's folder `_quality/`.

It loads nothing and runs nothing: no script, no font, no picture. Names, arguments and reasons may be
hostile, so every text goes through `text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from html import escape
from typing import Any

from sluice.lake import Lake
from sluice.ledger.quality import Gate, State
from sluice.quality.advice import VERDICTS, steps
from sluice.quality.results import Expectation, Result, sentence, stopping, warning

FOLDER = "_quality"
# What a browser may load for a report: nothing but its own style.
CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"

# An argument or value is cut here: a set may have thousands of members.
_MAX_CHARS = 300
# The class that colours a verdict; its words say the same.
COLOURS: dict[State, str] = {
    "passed": "good",
    "warned": "warn",
    "held": "bad",
    "overridden": "warn",
    "released": "warn",
    "discarded": "bad",
    "expired": "bad",
}
_STYLE = """
:root { color-scheme: light dark; --line: #d9dde3; --soft: #f4f6f8; --text: #1c2430; --dim: #5b6675;
  --good: #17723b; --warn: #8a5a00; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --line: #39424e; --soft: #222932; --text: #e6eaf0;
  --dim: #a3aebb; --good: #6fd394; --warn: #f0bd58; --bad: #ff8f86; } body { background: #171c23; } }
body { margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.verdict { border-left: .3rem solid; padding: .4rem .8rem; margin: 1rem 0; background: var(--soft);
  font-weight: 600; }
.good { color: var(--good); } .warn { color: var(--warn); } .bad { color: var(--bad); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; }
dt, .dim { color: var(--dim); } dd { margin: 0; overflow-wrap: anywhere; } a { color: inherit; }
code, pre { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; unicode-bidi: isolate; }
pre { background: var(--soft); padding: .5rem .8rem; margin: .2rem 0 .8rem; white-space: pre-wrap; }
table { border-collapse: collapse; width: 100%; table-layout: fixed; }
th, td { text-align: left; vertical-align: top; padding: .45rem .8rem .45rem 0;
  border-top: 1px solid var(--line); overflow-wrap: anywhere; }
th { color: var(--dim); font-weight: 500; border: 0; } th:first-child { width: 46%; }
p { margin: .3rem 0; } td p:first-child { margin-top: 0; }
"""


def write_report(lake: Lake, gate: Gate) -> Gate:
    """Write a gate's report below the lake's root, in the place of an earlier one.

    Return the gate with the report's path.
    """
    gate = replace(gate, report=path_of(gate))
    path = path_of(gate)
    filesystem = lake.filesystem()
    if lake.is_local:
        filesystem.create_dir(path.rpartition("/")[0])
    with filesystem.open_output_stream(path, metadata={"Content-Type": "text/html; charset=utf-8"}) as stream:
        stream.write(render(gate).encode())
    return gate


def path_of(gate: Gate) -> str:
    """Return where a gate's report lies below the lake's root: the same place whenever it is checked."""
    return f"{FOLDER}/{gate.pipeline}/{gate.name}/{gate.id}.html"


def render(gate: Gate) -> str:
    """Return the report as HTML, everything in it escaped."""
    results = [Result.from_json(result) for result in gate.results]
    body = [
        f"<h1>{text(gate.unit)}</h1>",
        f'<p class="dim">{text(gate.pipeline)} {text(gate.name)}</p>',
        f'<p class="verdict {COLOURS[gate.state]}">{text(VERDICTS[gate.state])}</p>',
        _facts(gate, results),
        *_next(gate),
        *_group("What stopped it", "bad", _failed(results), gate),
        *_group("Could not be evaluated", "bad", [one for one in results if one.error is not None], gate),
        *_group("Warnings", "warn", warning(results), gate),
        *_group("What holds", "good", [one for one in results if _holds(one)], gate),
    ]
    return page(f"{gate.unit} of {gate.name}: {gate.state}", body)


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole page in the reports' style; `title` is any text, `body` is HTML."""
    return "\n".join([
        "<!doctype html>",
        '<html lang="en">',
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{text(title)}</title>",
        f"<style>{_STYLE}</style>",
        *body,
        "</html>\n",
    ])  # fmt: skip


def text(value: object) -> str:
    """Return any text for HTML: printable and escaped."""
    return escape(printable(value))


def printable(value: object) -> str:
    """Return any text with a code for each character that prints nothing, or turns lines or colours round."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value)
    )


def _facts(gate: Gate, results: Sequence[Result]) -> str:
    facts = {
        "run": gate.run,
        "gate": gate.id,
        "rows": f"{gate.rows:,}, {gate.sampled:,} of them looked at one by one",
        "expectations": sentence(results) or "none",
        "checked": f"{_moment(gate.checked_at)}, in {gate.seconds:.1f} s",
    }
    if gate.state == "held" and gate.held_until is not None:
        facts["held until"] = f"{_moment(gate.held_until)}; then what is staged is given up"
    if gate.decided_at is not None:
        by = f" by {gate.decided_by}" if gate.decided_by else ""
        facts["decided"] = f"{_moment(gate.decided_at)}{by}"
    if gate.reason:
        facts["reason"] = gate.reason
    rows = "".join(f"<dt>{name}</dt><dd>{text(fact)}</dd>" for name, fact in facts.items())
    return f"<dl>{rows}</dl>"


def _next(gate: Gate) -> Iterable[str]:
    todo = steps(gate)
    if not todo:
        return
    yield "<h2>What to do</h2>"
    for step in todo:
        yield f"<p>{text(step.text)}</p>"
        if step.command is not None:
            yield f"<pre>{text(step.command)}</pre>"


def _group(title: str, colour: str, results: Sequence[Result], gate: Gate) -> Iterable[str]:
    if not results:
        return
    yield f'<h2 class="{colour}">{title} ({len(results):,})</h2>'
    yield "<table><tr><th>expectation</th><th>found</th><th>how</th></tr>"
    for result in results:
        yield f"<tr><td>{_asked(result)}</td><td>{_found(result)}</td><td>{how(result, gate)}</td></tr>"
    yield "</table>"


def _asked(result: Result) -> str:
    expectation = result.expectation
    origin = origin_of(expectation)
    return (
        f"<code><b>{text(expectation.type)}</b></code>{_arguments(expectation.kwargs)}"
        f'<p class="dim">{text(expectation.severity)}, {origin}</p>'
        + (f"<p>{text(expectation.notes)}</p>" if expectation.notes else "")
    )


def origin_of(expectation: Expectation) -> str:
    """Say whether an expectation stands in the configuration, or every gate of its kind has it."""
    return "in the configuration" if expectation.configured else "built in"


def _arguments(kwargs: Mapping[str, Any]) -> str:
    return "".join(
        f"<br><code>{text(name)} = {text(_short(repr(value)))}</code>" for name, value in kwargs.items()
    )


def _found(result: Result) -> str:
    if result.error is not None:
        return f"<p>{text(result.error)}</p>"
    said = ["holds" if result.success else "does not hold", *counts(result)]
    return "".join(f"<p>{text(one)}</p>" for one in said)


def counts(result: Result) -> list[str]:
    """Say how many rows fail, what was observed, and which values fail where they are shown."""
    said = []
    if result.unexpected is not None:
        said.append(f"{result.unexpected:,} of {result.checked:,} rows fail")
    if result.observed is not None:
        said.append(f"observed {_short(result.observed)}")
    if result.values:
        said.append("values that fail: " + ", ".join(_short(value) for value in result.values))
    return said


def how(result: Result, gate: Gate) -> str:
    """Say in which way an expectation was looked at: over all rows, by a sample, or by numbers."""
    if result.method == "exact":
        return f"exact, over all {gate.rows:,} rows"
    if result.method == "sample" and result.error is not None:
        return "by a sample of the rows"
    if result.method == "sample":
        return f"sample of {result.checked:,} of {gate.rows:,} rows"
    if result.method == "reconciliation":
        return "reconciliation: two sides must be the same"
    return "history: beside earlier runs"


def _failed(results: Iterable[Result]) -> list[Result]:
    return [result for result in stopping(results) if result.error is None]


def _holds(result: Result) -> bool:
    return result.success and result.error is None


def _short(value: str) -> str:
    return value if len(value) <= _MAX_CHARS else f"{value[:_MAX_CHARS]}… ({len(value):,} characters)"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
