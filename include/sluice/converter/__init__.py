"""The converter-configuration language: from rows of CSV, JSON or parquet to Amplitude events.

A configuration is compiled once to closures; evaluating a row parses nothing of it. The language is that of
amplitude-spec section 5 with decisions D-01 to D-20; docs/converter.md is its reference.
"""

from sluice.converter.config import ConverterConfig
from sluice.converter.converter import Columns, Converter, evaluate
from sluice.converter.outcomes import ConfigError, NoValue, Problem, RowError

__all__ = [
    "Columns",
    "ConfigError",
    "Converter",
    "ConverterConfig",
    "NoValue",
    "Problem",
    "RowError",
    "evaluate",
]
