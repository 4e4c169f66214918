"""What a gate holds of a destination that is gone does not wait for ever."""

from pathlib import Path

from gates import a_gate

from sluice.exports.removed import expire_of_removed
from sluice.ledger import quality
from sluice.quality.report import path_of


def test_only_gates_of_removed_destinations_expire_and_only_in_time(lake, ledger):
    due = quality.record(ledger, a_gate(id="1" * 32, name="gone"), -1)
    quality.record(ledger, a_gate(id="2" * 32, name="gone", unit="another hour"), 72)
    quality.record(ledger, a_gate(id="3" * 32, name="warehouse"), -1)
    assert expire_of_removed(lake, ledger, ["warehouse"]) == 1
    expired = quality.by_id(ledger, due.id)
    assert expired.state == "expired"
    assert "Expired" in Path(lake.uri, path_of(expired)).read_text()
    assert {gate.id[0] for gate in quality.held(ledger)} == {"2", "3"}
    assert expire_of_removed(lake, ledger, ["warehouse"]) == 0
