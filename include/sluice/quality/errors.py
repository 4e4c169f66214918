"""What a gate raises. Light to import: DAG files name it, for what is tried again and what is not."""

from sluice.errors import SluiceError


class QualityStopped(SluiceError):
    """A gate has stopped the work, and a person has to look at it."""


class QualityNotChecked(SluiceError):
    """What is to become visible has passed no gate."""
