"""A million users to the messages of a stream, before the network: Sluice beside loops over orjson and json.

Each writes one file from the same Parquet, with and without two properties, three times; the best counts. The
loops read batches of 65,536 rows, as Sluice does, and check no size, which is less than what Sluice does.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench._measure import in_child

USERS = 1_000_000
TRIES = 3
PROPERTIES = ("city", "plan")
PEERS = ("sluice", "orjson", "json")


def run() -> dict[str, float]:
    figures: dict[str, float] = {"messages.users": USERS}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        write_values(Path(folder))
        for what in PEERS:
            for properties in ((), PROPERTIES):
                order = {"what": what, "folder": folder, "properties": properties}
                said = in_child("bench.cohort_messages", order)
                name = f"messages.{'two_properties' if properties else 'ids'}.{what}"
                figures[f"{name}.users_per_cpu_second"] = USERS / said["cpu_seconds"]
                figures[f"{name}.seconds"] = said["seconds"]
                figures[f"{name}.peak_memory_mb"] = said["peak_memory_mb"]
                figures[f"{name}.megabytes"] = said["bytes"] / 1e6
    return figures


def write_values(folder: Path) -> None:
    """Write a million sorted addresses; a city of 400, and a JSON text that hardly two users share."""
    import random

    import pyarrow as pa
    import pyarrow.parquet as pq

    dice = random.Random(2013)
    users = sorted(f"user{number}@example.com" for number in dice.sample(range(10**9), USERS))
    cities = [
        f"{name} {number}" for name in ("Zürich", "Seattle", "São Paulo", "Oslo") for number in range(100)
    ]
    plans = pa.array([f'"plan-{dice.randrange(10**6)}"' for _ in range(USERS)])
    table = pa.table(
        {
            "value": users,
            "property:city": [dice.choice(cities) for _ in range(USERS)],
            "property:plan": pa.ExtensionArray.from_storage(pa.json_(pa.string()), plans),
        }
    )
    pq.write_table(table, folder / "enter_values.parquet", row_group_size=122_880)
    pq.write_table(table.slice(0, 0), folder / "exit_values.parquet")


def by_sluice(folder: Path, properties: tuple[str, ...]) -> Path:
    from types import SimpleNamespace

    from sluice.cohorts.messages import write_messages

    sync: Any = SimpleNamespace(
        id="bench",
        properties=properties,
        cohort=SimpleNamespace(id="gs72ns", name="Test Cohort"),
        destination=SimpleNamespace(id="crm", name="CRM", max_users=1_000, max_message_bytes=921_600),
    )
    lists: Any = SimpleNamespace(
        enter_values_path=folder / "enter_values.parquet", exit_values_path=folder / "exit_values.parquet"
    )
    turn: Any = SimpleNamespace(computed_time=1685748245)
    return folder / write_messages(lists, sync, sync.destination, turn, folder).file.name


def by_loop(
    folder: Path, properties: tuple[str, ...], dumps: Callable[[Any], bytes], parse: Callable[[str], Any]
) -> Path:
    path = folder / "loop.jsonl"
    with path.open("wb") as file:
        for number, users in enumerate(_thousands(folder, properties, parse)):
            message = {
                "cohort_name": "Test Cohort",
                "cohort_id": "gs72ns",
                "in_cohort": True,
                "computed_time": "1685748245",
                "message_id": f"9baaa88f-9d46-4ee5-a946-be0c6aea0046::enter::{number}",
                "users": users,
            }
            file.write(dumps(message) + b"\n")
    return path


def _thousands(
    folder: Path, properties: tuple[str, ...], parse: Callable[[str], Any]
) -> Iterator[list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    users: list[dict[str, Any]] = []
    for batch in pq.ParquetFile(folder / "enter_values.parquet").iter_batches(
        65_536, columns=["value", *(f"property:{name}" for name in properties)]
    ):
        values = batch.column("value").to_pylist()
        if properties:
            cities = batch.column("property:city").to_pylist()
            plans = map(parse, batch.column("property:plan").storage.to_pylist())
            users += [
                {"user_id": value, "user_properties": {"city": city, "plan": plan}}
                for value, city, plan in zip(values, cities, plans, strict=True)
            ]
        else:
            users += [{"user_id": value} for value in values]
        while len(users) >= 1_000:
            yield users[:1_000]
            del users[:1_000]
    if users:
        yield users


def work(order: dict[str, Any]) -> dict[str, float]:
    folder, properties = Path(order["folder"]), tuple(order["properties"])
    seconds, cpu = [], []
    for _ in range(TRIES):
        began, began_cpu = time.perf_counter(), time.process_time()
        if order["what"] == "sluice":
            path = by_sluice(folder, properties)
        elif order["what"] == "orjson":
            import orjson

            # A fragment is copied as it is.
            path = by_loop(folder, properties, orjson.dumps, orjson.Fragment)
        else:
            path = by_loop(
                folder,
                properties,
                lambda message: json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode(),
                json.loads,
            )
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - began_cpu)
    lines = path.read_bytes().splitlines()
    if sum(len(json.loads(line)["users"]) for line in lines) != USERS:
        raise RuntimeError(f"{order['what']} lost users")
    return {"seconds": min(seconds), "cpu_seconds": min(cpu), "bytes": path.stat().st_size}


if __name__ == "__main__":
    print(json.dumps(work(json.load(sys.stdin))))
