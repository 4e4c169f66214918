"""The root of every error that Sluice raises on purpose."""


class SluiceError(Exception):
    """Something a person can act on: the message names what is wrong and says what to do."""


class TransientError(SluiceError):
    """The same call may succeed later without anybody changing anything: retry it."""
