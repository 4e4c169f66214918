"""The plan of a project against converted events."""

import pickle
from collections import Counter

import pytest

from sluice.config.taxonomies import Taxonomy
from sluice.converter import Converter, RowError
from sluice.imports.identity import RowNames
from sluice.imports.rows import RowPipeline
from sluice.imports.tally import Tally
from sluice.imports.taxonomy import TaxonomyCheck
from sluice.imports.times import EventTimes

PLAN = {
    "event_types": {"open": {"page": "string", "count": "integer", "price": "number"}, "close": {}},
    "event_properties": {"shop": "string", "tags": "array", "sure": "boolean", "more": "object", "x": "any"},
    "user_properties": {"age": "integer"},
}


def check(event, **unplanned):
    """Return what is counted; a rejected event raises."""
    counts = Counter()
    checker = TaxonomyCheck(Taxonomy.model_validate(PLAN | {"unplanned": unplanned}))
    pickle.loads(pickle.dumps(checker)).check(event, counts)
    return dict(counts)


def of_open(**properties):
    return {"event_type": "open", "event_properties": properties}


@pytest.mark.parametrize(
    "event",
    [
        of_open(page="a", count=1, price=1.5, shop="b", tags=[], sure=True, more={}, x=[1]),
        of_open(count=2.0, price=3),
        of_open(page=None, count=None),
        {"event_type": "close", "event_properties": {"shop": "b"}, "user_properties": {"age": 5}},
        {"event_type": "close"},
        of_open(**{"$revenue": 1.5, "[Amplitude] Page URL": "u"}),
        {"event_type": "[Amplitude] Start Session", "event_properties": {"any": 1}},
        # No events at all: their own checks say so.
        {"event_type": 5},
        {"event_type": "open", "event_properties": "text"},
        {},
    ],
)
def test_what_is_planned_is_neither_counted_nor_rejected(event):
    assert check(event, event_types="reject", properties="reject", value_types="reject") == {}


@pytest.mark.parametrize(
    ("kind", "event", "field", "reason"),
    [
        ("event_types", {"event_type": "opne"}, "event_type", "opne is not planned"),
        ("properties", of_open(pgae="a"), "event_properties.pgae", "is not planned"),
        # A property of another type is not one of this.
        (
            "properties",
            {"event_type": "close", "event_properties": {"page": "a"}},
            "event_properties.page",
            "is not planned",
        ),
        (
            "properties",
            {"event_type": "open", "user_properties": {"name": "a"}},
            "user_properties.name",
            "is not planned",
        ),
        ("value_types", of_open(count="1"), "event_properties.count", "is string, but planned as integer"),
        ("value_types", of_open(count=1.5), "event_properties.count", "is number, but planned as integer"),
        ("value_types", of_open(count=True), "event_properties.count", "is boolean, but planned as integer"),
        ("value_types", of_open(price="1.5"), "event_properties.price", "is string, but planned as number"),
        ("value_types", of_open(tags={}), "event_properties.tags", "is object, but planned as array"),
        (
            "value_types",
            {"event_type": "opne", "event_properties": {"shop": 5}},
            "event_properties.shop",
            "is integer, but planned as string",
        ),
    ],
)
def test_what_is_not_planned_is_let_pass_counted_or_rejected(kind, event, field, reason):
    quiet = dict.fromkeys(("event_types", "properties", "value_types"), "allow")
    assert check(event, **quiet) == {}
    assert check(event, **quiet | {kind: "warn"}) == {f"{field}: {reason}": 1}
    with pytest.raises(RowError, match="in the project's taxonomy") as caught:
        check(event, **quiet | {kind: "reject"})
    assert (caught.value.field, caught.value.reason) == (field, f"{reason} in the project's taxonomy")


def test_the_properties_of_an_unplanned_type_are_no_further_surprise():
    event = {"event_type": "opne", "event_properties": {"a": 1, "b": 2}}
    assert check(event, event_types="warn", properties="warn") == {"event_type: opne is not planned": 1}


class Lines:
    """A piece of a file."""

    def __init__(self, records):
        self.records = records
        self.count = len(records)

    def reader(self):
        return self

    def __iter__(self):
        return iter(self.records)

    def raw(self):
        return "raw"


def test_the_pipeline_counts_and_rejects_over_the_blocks_of_a_file():
    from datetime import UTC, date, datetime

    document = {
        "converterConfig": {
            "fileType": "json",
            "compressionType": "none",
            "convertToAmplitudeFunc": {
                "event_type": "t",
                "user_id": "u",
                "time": "at",
                "event_properties": "p",
            },
        },
        "keyValidatorConfig": {"filterPattern": ".*"},
    }
    taxonomy = TaxonomyCheck(Taxonomy.model_validate(PLAN | {"unplanned": {"event_types": "reject"}}))
    times = EventTimes("now", datetime(2026, 1, 1, tzinfo=UTC), date(2000, 1, 1), require_time=True)
    names = RowNames("shop", "b", "k")
    pipeline = RowPipeline(Converter.from_config(document), names, times, taxonomy)
    good = {"t": "open", "u": "user-1", "at": 1357034400000}
    tally = Tally()
    for first, records in enumerate(
        [[dict(good, p={"new": 1})], [dict(good, p={"new": 2}), dict(good, t="x")]]
    ):
        block = pickle.loads(pickle.dumps(pipeline)).block(first, Lines(records))
        tally.add(block.tally)
    assert tally.unplanned == {"event_properties.new: is not planned": 2}
    assert tally.reasons == {"event_type: x is not planned in the project's taxonomy": 1}
    assert (tally.read, tally.rejected) == (3, 1)
