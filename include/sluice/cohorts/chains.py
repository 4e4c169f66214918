"""What a sync's turns hang on, how long a run holds it, and where its bytes go (decisions K-17)."""

from __future__ import annotations

from sluice.config.cohort_destinations import KinesisCohortDestination, S3CohortDestination
from sluice.config.syncs import Sync
from sluice.ledger.syncs import Chain

# How long a claim lasts without being renewed, in seconds: then its run is taken for dead.
CLAIM_SECONDS = 600.0
REAL_TIME_CLAIM_SECONDS = 90.0


def chain_of(sync: Sync) -> Chain:
    """Return the chain of a sync: a destination made again under its name goes on with its baselines."""
    return Chain(sync.id, sync.destination.name, sync.cohort.id)


def claim_seconds(cadence: str) -> float:
    """Return how long a run's claim on a sync of a cadence lasts, in seconds."""
    return REAL_TIME_CLAIM_SECONDS if cadence == "real_time" else CLAIM_SECONDS


def target_of(destination: S3CohortDestination | KinesisCohortDestination) -> str:
    """Name the place that a destination's bytes go to; fixed bytes are sent to no other place."""
    if isinstance(destination, S3CohortDestination):
        return f"s3://{destination.bucket}/{destination.path} by {destination.connection}"
    region = destination.region or "the connection's region"
    return f"kinesis:{region}:{destination.stream} by {destination.connection}"
