import csv
import gzip

from sluice.demo.flights import monthly_files, some_flights
from sluice.demo.gates import swap_columns


def rows(content):
    return list(csv.DictReader(gzip.decompress(content).decode().splitlines()))


def test_two_columns_change_places_and_nothing_else():
    [month] = monthly_files([2]).values()
    right = some_flights(month, 0, 50)
    wrong = swap_columns(right)
    for before, after in zip(rows(right), rows(wrong), strict=True):
        assert (after["carrier"], after["tailnum"]) == (before["tailnum"], before["carrier"])
        assert after | {"carrier": None, "tailnum": None} == before | {"carrier": None, "tailnum": None}
    assert rows(swap_columns(wrong)) == rows(right)
