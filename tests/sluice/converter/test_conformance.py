"""Every case of the conformance list, one test each; the list says what each kind of case means."""

import copy
import json
from pathlib import Path

import pytest

from sluice.converter import ConfigError, Converter, NoValue, evaluate

CASES = json.loads(Path(__file__).with_name("converter-cases.json").read_text())
SKIP_SYNC = "$skip_user_properties_sync"


def whole(mapping=None, **others):
    inner = {"fileType": "json", "compressionType": "none", "convertToAmplitudeFunc": mapping or {}}
    return {"converterConfig": inner, **others}


def outcome(case):
    row, clock = copy.deepcopy(case.get("input")), case.get("clock_ms")
    try:
        if case["kind"] == "source":
            return evaluate(case["config"], row, clock_ms=clock)
        if case["kind"] == "key_filter":
            return Converter.from_config(whole(keyValidatorConfig=case["config"])).matches(
                row, case["prefix"]
            )
        defaults = case["kind"] == "convert_defaults"
        converter = Converter.from_config(case["config"] if defaults else whole(case["config"]))
        event = converter.convert(row, clock_ms=clock)
        if defaults:
            return {"skipped": True} if event is None else {"skipped": False, "event": event}
        assert event is not None
        assert event.pop(SKIP_SYNC) is True
        return event
    except NoValue:
        return {"$error": "no_value"}
    except ConfigError:
        return {"$error": "config_error"}
    finally:
        assert row == case.get("input")


def test_list_is_complete():
    assert len(CASES) == len({case["name"] for case in CASES}) == 134


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_case(case):
    # As JSON text, so that 1, 1.0 and true are told apart.
    assert json.dumps(outcome(case), sort_keys=True) == json.dumps(case["expected"], sort_keys=True)
