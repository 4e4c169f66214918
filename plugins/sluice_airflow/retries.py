"""How tasks are tried again: those that deliver to a bucket or stream (decisions E-17), and imports."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

# The first rule that fits decides; a class also stands for those that are made from it.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception="sluice.access.errors.BucketAccessError",
            action=RetryAction.RETRY,
            reason="A new bucket policy takes minutes to be in force everywhere.",
        ),
        RetryRule(
            exception="sluice.access.errors.StreamAccessError",
            action=RetryAction.RETRY,
            reason="A new policy takes minutes to be in force everywhere.",
        ),
        RetryRule(
            exception="sluice.disk.DiskFull",
            action=RetryAction.RETRY,
            reason="Other tasks give their temporary files back when they end.",
        ),
        RetryRule(
            exception="sluice.errors.TransientError",
            action=RetryAction.RETRY,
            reason="The store, the stream, the ledger or another writer was busy.",
        ),
        RetryRule(
            exception="sluice.exports.errors.LakeSchemaError",
            action=RetryAction.FAIL,
            reason="The lake's table was changed; trying again does not change it back.",
        ),
        RetryRule(
            exception="sluice.exports.errors.LakeRowError",
            action=RetryAction.FAIL,
            reason="A row of the lake is no event; somebody has to mend it first.",
        ),
        RetryRule(
            exception="sluice.exports.errors.LakeFileError",
            action=RetryAction.FAIL,
            reason="A data file of the lake is gone; somebody has to restore it first.",
        ),
        RetryRule(
            exception="sluice.errors.SluiceError",
            action=RetryAction.FAIL,
            reason="A person has to change something first; the message says what.",
        ),
    ]
)

# Three tries more, after 2, 4 and 8 minutes: a dead writer loses its hour, a policy is in force, and a
# throttled stream is free, by then.
DELIVERY_RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(minutes=2),
    "retry_exponential_backoff": 2.0,
    "max_retry_delay": timedelta(minutes=30),
    "retry_policy": RETRY_POLICY,
}
# A throttled store or a policy that was just mended: the same call may succeed a little later.
IMPORT_RETRIES: dict[str, Any] = {
    "retries": 3,
    "retry_delay": timedelta(seconds=30),
    "retry_exponential_backoff": True,
    "max_retry_delay": timedelta(minutes=10),
    "retry_policy": ExceptionRetryPolicy(
        rules=[
            RetryRule(
                exception=f"sluice.quality.errors.{error}",
                action=RetryAction.FAIL,
                reason="A person has to decide about what the quality gate holds.",
            )
            for error in ("QualityStopped", "QualityNotChecked")
        ]
    ),
}
# None: the next minute's turn goes on with what this one left, and must not meet a second try of it.
NEXT_MINUTE_RETRIES: dict[str, Any] = {"retries": 0}
