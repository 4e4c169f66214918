"""What is tried again by itself, and what waits for a person."""

import pytest

from sluice.access.errors import BucketAccessError, BucketUnavailable, StreamAccessError, StreamUnavailable
from sluice.cohorts.deliver_messages import MessageTooLarge, PartlyDelivered
from sluice.cohorts.errors import CohortQueryError
from sluice.cohorts.fix import SyncRefused
from sluice.disk import DiskFull
from sluice.ledger.syncs import NameTaken
from sluice_airflow.retries import RETRY_POLICY

ACCESS = [BucketAccessError("x"), StreamAccessError("x")]
BUSY = [BucketUnavailable("x"), StreamUnavailable("x"), PartlyDelivered("x", 1, 2), DiskFull("x")]
WRONG = [MessageTooLarge("x"), CohortQueryError("x"), SyncRefused("x"), NameTaken("x")]


@pytest.mark.parametrize("error", [*ACCESS, *BUSY], ids=lambda error: type(error).__name__)
def test_what_may_pass_by_itself_is_tried_again(error):
    decision = RETRY_POLICY.evaluate(error, 1, 3)
    assert decision.action.value == "retry"
    # Who reads the log is told whether to mend a policy or to wait.
    assert ("policy" in decision.reason) is (error in ACCESS)


@pytest.mark.parametrize("error", WRONG, ids=lambda error: type(error).__name__)
def test_what_a_person_has_to_change_fails_at_once(error):
    assert RETRY_POLICY.evaluate(error, 1, 3).action.value == "fail"


def test_what_nobody_thought_of_is_tried_again_as_any_task():
    assert RETRY_POLICY.evaluate(OSError("x"), 1, 3).action.value == "default"
