"""The report of a gate: one self-contained page in the lake's folder `_quality/`."""

from __future__ import annotations

from dataclasses import replace
from html import escape

from sluice.lake import Lake
from sluice.ledger.quality import Gate
from sluice.quality.results import Result

FOLDER = "_quality"


def write_report(lake: Lake, gate: Gate) -> Gate:
    """Write a gate's report below the lake's root; return the gate with its path."""
    folder = f"{FOLDER}/{gate.pipeline}/{gate.name}"
    path = f"{folder}/{gate.id}.html"
    filesystem = lake.filesystem()
    filesystem.create_dir(folder)
    with filesystem.open_output_stream(path) as stream:
        stream.write(render(gate).encode())
    return replace(gate, report=path)


def render(gate: Gate) -> str:
    """Return the report as HTML, everything in it escaped."""
    lines = "".join(f"<li>{escape(str(Result.from_json(result)))}</li>" for result in gate.results)
    return (
        f"<!doctype html><meta charset=utf-8><title>{escape(str(gate.gate))}</title>"
        f"<h1>{escape(str(gate.gate))}: {gate.state}</h1><ul>{lines}</ul>"
    )
