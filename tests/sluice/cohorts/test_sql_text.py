"""The as-of time in the text of any dialect, in each of the forms in which drivers want it."""

import pytest

from sluice.cohorts.sql_text import for_driver, without_semicolon

QUERY = """SELECT 'a $as_of %', "$as_of", /* $as_of */ $$ $as_of $$ FROM t -- $as_of
WHERE a < $as_of AND b LIKE 'x%' AND c > $as_of AND d = $as_offset"""
KEPT = """SELECT 'a $as_of %', "$as_of", /* $as_of */ $$ $as_of $$ FROM t -- $as_of
WHERE a < {} AND b LIKE 'x%' AND c > {} AND d = $as_offset"""


@pytest.mark.parametrize(
    ("style", "mark", "values"),
    [
        ("pyformat", "%(as_of)s", {"as_of": 1}),
        ("format", "%s", (1, 1)),
        ("named", ":as_of", {"as_of": 1}),
        ("qmark", "?", (1, 1)),
        ("numeric", ":1", (1,)),
    ],
)
def test_the_parameter_in_each_style(style, mark, values):
    expected = KEPT.replace("%", "%%") if style.endswith("format") else KEPT
    assert for_driver(QUERY, style, 1) == (expected.format(mark, mark), values)


@pytest.mark.parametrize("style", ["pyformat", "format", "qmark"])
def test_a_query_without_the_parameter_stays_as_it_is(style):
    assert for_driver("SELECT 5 % 2, '$as_of'", style, 1) == ("SELECT 5 % 2, '$as_of'", None)


@pytest.mark.parametrize(
    ("sql", "bare"),
    [
        ("SELECT 1;", "SELECT 1 "),
        ("SELECT ';', \";\" /* ; */ ; -- ;", "SELECT ';', \";\" /* ; */   -- ;"),
        (r"SELECT E'it\'s; so' ;", r"SELECT E'it\'s; so'  "),
        ("SELECT $x$ ; $x$;", "SELECT $x$ ; $x$ "),
    ],
)
def test_the_semicolon_goes_and_no_other_character(sql, bare):
    assert without_semicolon(sql) == bare
