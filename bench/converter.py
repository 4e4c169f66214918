"""The mapping alone: a converter of 20 fields with three nested objects, against other ways to map JSON to
JSON.

Every contestant gets the same parsed rows and must give the same events; each is prepared once. Figures are
CPU seconds of this process, medians of repeats that take turns, so that a busy machine slows all alike.
"""

from __future__ import annotations

import gc
import importlib.util
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jmespath
import jq
import jsonata

from sluice.converter import Converter

Row = dict[str, Any]
REPEATS = 5
# Enough rows for about half a second each.
ROWS = {"converter": 20_000, "interpreter": 5_000, "jmespath": 5_000, "jq": 2_000, "jsonata": 200}

MAPPING = {
    "event_type": "action",
    "user_id": "user",
    "device_id": ["any", "device", "cookie"],
    "insert_id": ["concat", "user", ["value", "-"], "seq"],
    "time": ["multiply", "epoch", ["int", 1000]],
    "session_id": "session",
    "app_version": "version",
    "platform": "platform",
    "os_name": "os",
    "os_version": "os_version",
    "device_brand": "brand",
    "device_model": "model",
    "country": "country",
    "region": "region",
    "city": "city",
    "language": "language",
    "ip": "ip",
    "event_properties": {
        "page": ["path", "context", "page"],
        "referrer": ["path", "context", "referrer"],
        "price": "price",
        "currency": "currency",
        "tags": "tags",
    },
    "user_properties": {
        "plan": "plan",
        "seats": "seats",
        "paying": ["ifelse", ["equals", "plan", ["value", "free"]], ["value", "no"], ["value", "yes"]],
    },
    "groups": {"company": "company"},
}
JMESPATH = """{
    event_type: action, user_id: user, device_id: device || cookie,
    insert_id: join('', [user, '-', to_string(seq)]), epoch: epoch, session_id: session, app_version: version,
    platform: platform, os_name: os, os_version: os_version, device_brand: brand, device_model: model,
    country: country, region: region, city: city, language: language, ip: ip,
    event_properties: {
        page: context.page, referrer: context.referrer, price: price, currency: currency, tags: tags
    },
    user_properties: {plan: plan, seats: seats, paying: plan == 'free' && 'no' || 'yes'},
    groups: {company: company}
}"""
JQ = """{
    event_type: .action, user_id: .user, device_id: (.device // .cookie), insert_id: "\\(.user)-\\(.seq)",
    time: (.epoch * 1000), session_id: .session, app_version: .version, platform: .platform, os_name: .os,
    os_version: .os_version, device_brand: .brand, device_model: .model, country: .country, region: .region,
    city: .city, language: .language, ip: .ip,
    event_properties: {page: .context.page, referrer: .context.referrer, price, currency, tags},
    user_properties: {plan, seats, paying: (if .plan == "free" then "no" else "yes" end)},
    groups: {company}
}"""
JSONATA = """{
    "event_type": action, "user_id": user, "device_id": device ? device : cookie,
    "insert_id": user & "-" & $string(seq), "time": epoch * 1000, "session_id": session,
    "app_version": version, "platform": platform, "os_name": os, "os_version": os_version,
    "device_brand": brand, "device_model": model,
    "country": country, "region": region, "city": city, "language": language, "ip": ip,
    "event_properties": {
        "page": context.page, "referrer": context.referrer, "price": price, "currency": currency, "tags": tags
    },
    "user_properties": {"plan": plan, "seats": seats, "paying": plan = "free" ? "no" : "yes"},
    "groups": {"company": company}
}"""


def make_rows(count: int) -> list[Row]:
    """Make rows of about 600 bytes, the same each time."""
    pick = random.Random(17)
    return [
        {
            "action": pick.choice(["view", "click", "buy"]),
            "user": f"user-{pick.randrange(100_000):06}",
            "device": f"device-{pick.randrange(10**9):09}",
            "cookie": "c-0",
            "seq": number,
            "epoch": 1_700_000_000 + number,
            "session": 1_700_000_000_000 + number,
            "version": "4.2.1",
            "platform": "Web",
            "os": "Chrome",
            "os_version": "137",
            "brand": "Acme",
            "model": "X1",
            "country": "Germany",
            "region": "Berlin",
            "city": "Berlin",
            "language": "German",
            "ip": "203.0.113.9",
            "context": {"page": f"/p/{pick.randrange(1000)}", "referrer": "https://example.com/"},
            "price": pick.randrange(1, 10_000) / 100,
            "currency": "EUR",
            "tags": ["a", "b"],
            "plan": pick.choice(["free", "pro"]),
            "seats": pick.randrange(1, 50),
            "company": "Acme GmbH",
            "unused_1": "x" * 40,
            "unused_2": None,
        }
        for number in range(count)
    ]


def interpreter() -> Callable[[Row], Row]:
    """Give the plain tree-walking evaluator that the tests compare the converter with."""
    path = Path(__file__).parents[1] / "tests/sluice/converter/reference.py"
    spec = importlib.util.spec_from_file_location("converter_reference", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def convert(row: Row) -> Row:
        event = {name: value for name, value in module.evaluate(MAPPING, row, 0).items() if value is not None}
        event.setdefault("$skip_user_properties_sync", True)
        return event

    return convert


def contestants() -> dict[str, Callable[[Row], Row]]:
    """Prepare each contestant once: a function row -> event."""
    inner = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": MAPPING}
    converter = Converter.from_config({"converterConfig": inner})
    by_jmespath = jmespath.compile(JMESPATH)
    by_jq = jq.compile(JQ)
    by_jsonata = jsonata.Jsonata(JSONATA)

    def with_jmespath(row: Row) -> Row:
        event: Row = by_jmespath.search(row)
        event["time"] = event.pop("epoch") * 1000  # the language has no arithmetic
        return event

    return {
        "converter": lambda row: converter.convert(row, clock_ms=0),
        "interpreter": interpreter(),
        "jmespath": with_jmespath,
        "jq": lambda row: by_jq.input_value(row).first(),
        "jsonata": lambda row: by_jsonata.evaluate(row),
    }


def cpu_seconds(convert: Callable[[Row], Row], rows: list[Row]) -> float:
    started = time.process_time()
    for row in rows:
        convert(row)
    return time.process_time() - started


def run() -> dict[str, float]:
    """Measure rows per CPU-second of each contestant and the converter's ratio to it."""
    rows = make_rows(max(ROWS.values()))
    mappers = contestants()
    for row in rows[:50]:
        events = {name: convert(row) for name, convert in mappers.items()}
        for event in events.values():
            event.pop("$skip_user_properties_sync", None)
        texts = {name: json.dumps(event, sort_keys=True) for name, event in events.items()}
        if len(set(texts.values())) != 1:
            raise AssertionError(f"the contestants disagree: {texts}")
    seconds: dict[str, list[float]] = {name: [] for name in mappers}
    gc.collect()
    gc.disable()
    try:
        for _ in range(REPEATS):
            for name, convert in mappers.items():
                seconds[name].append(cpu_seconds(convert, rows[: ROWS[name]]) / ROWS[name])
    finally:
        gc.enable()
    rate = {name: 1 / statistics.median(values) for name, values in seconds.items()}
    figures = {
        f"converter.{name}_rows_per_cpu_second": round(rate[name]) for name in mappers if name != "converter"
    }
    figures["converter.rows_per_cpu_second"] = round(rate["converter"])
    figures["converter.fastest_rows_per_cpu_second"] = round(1 / min(seconds["converter"]))
    for name in mappers:
        if name != "converter":
            figures[f"converter.ratio_vs_{name}"] = round(rate["converter"] / rate[name], 1)
    return dict(sorted(figures.items()))
