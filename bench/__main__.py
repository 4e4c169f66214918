"""Runs the benchmarks and writes bench/results/<name>.json: `python -m bench [NAME …]`."""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
RESULTS = HERE / "results"


def names() -> list[str]:
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def machine() -> dict[str, object]:
    """Describe what the figures were measured on."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        models = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = models[0].partition(":")[2].strip() if models else processor
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "machine.cores": len(os.sched_getaffinity(0)),
        "machine.memory_gib": round(pages / 2**30, 1),
        "machine.processor": processor,
        "machine.system": platform.platform(),
        "machine.python": platform.python_version(),
    }


def main() -> None:
    wanted = sys.argv[1:] or names()
    if unknown := set(wanted) - set(names()):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}.")
    console = Console()
    RESULTS.mkdir(exist_ok=True)
    for name in wanted:
        console.print(f"[bold]{name}[/]")
        load_before = os.getloadavg()[0]
        figures = importlib.import_module(f"bench.{name}").run()
        document = {
            **figures,
            **machine(),
            "load_average.before": round(load_before, 2),
            "load_average.after": round(os.getloadavg()[0], 2),
            "measured_at": datetime.now(UTC).isoformat("T", "seconds"),
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=2) + "\n")
        table = Table("figure", "value")
        for key, value in document.items():
            table.add_row(key, f"{value:,.3f}" if isinstance(value, float) else str(value))
        console.print(table)


if __name__ == "__main__":
    main()
