r"""The translation of Java 7 regular expressions: what they match in Java, and what is refused by name."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.converter import ConfigError, RowError, evaluate
from sluice.converter.javaregex import BoundedPattern, RegexProblem, replacement_parts, translate

# (pattern, texts that it matches whole, texts that it does not)
MATCHES = [
    (r"\d+", ["012"], ["٣", ""]),  # ASCII digits only
    (r"\w+", ["a_9"], ["é", "a-b"]),
    (r"\s", [" ", "\x0b"], ["\xa0", "\x1c"]),
    (r"\D\W\S", ["é-é"], ["1-a"]),
    (r"(?U)\d\w", ["٣é"], ["--"]),
    (r".", ["\x0b", "😀"], ["\n", "\r", "\u0085", "\u2028"]),
    (r"(?s).", ["\n", "\r"], [""]),
    (r"(?d).", ["\r"], ["\n"]),
    (r"(?i)straße", ["STRAßE", "Straße"], ["STRASSE", "ſtraße"]),
    (r"(?i)k", ["k", "K"], ["\u212a"]),  # KELVIN SIGN folds only under u
    (r"(?iu)k", ["K", "\u212a"], ["c"]),
    (r"(?i)[a-c]x(?-i)y", ["BXy"], ["BXY"]),
    (r"a(?i:b)c", ["aBc"], ["aBC"]),
    (r"(?x) a \s b # comment", ["a b"], ["ab"]),
    (r"[a-z&&[^aeiou]]+", ["xyz"], ["xaz"]),
    (r"[a-d[m-p]]+", ["amp"], ["xyz"]),
    (r"[a-z&&def]", ["d"], ["a"]),
    (r"[^\W_]+", ["a9"], ["_"]),
    (r"[]a]", ["]", "a"], ["b"]),
    (r"[a-]", ["-"], ["b"]),
    (r"[\Q^-]\E]", ["^", "]"], ["Q"]),
    (r"[.$*]+", [".$*"], ["a"]),
    (r"\Qa.b\E+", ["a.bb"], ["axb"]),
    (r"\p{Lower}\p{Upper}\p{Punct}", ["aB!"], ["éB!"]),
    (r"\p{L}\p{Lu}\P{L}\pN", ["éÉ-4"], ["éé-4"]),
    (r"\p{IsGreek}\p{InGreek}\p{script=Latin}\p{IsAlphabetic}", ["αβaé"], ["aβaé"]),
    (r"\x41\u0042\x{1F600}\t\0101\cA", ["AB😀\tA\x01"], ["AB"]),
    ("\\uD83D\\uDE00", ["😀"], ["\ud83d"]),
    (r"(a)(b)\2\1", ["abba"], ["abab"]),
    (r"(a)\11", ["aa1"], ["a1"]),  # group 11 does not exist: group 1, then the digit 1
    (r"(?<year>\d{4})-\k<year>", ["2024-2024"], ["2024-2025"]),
    (r"(?>a+)b", ["aab"], ["aa"]),
    (r"a++a", [], ["aaa"]),  # possessive
    (r"a{2}b{1,}c{0,2}?", ["aabcc"], ["ab"]),
    (r"(?=ab)a(?!c)b(?<=ab)(?<!x)", ["ab"], ["ac"]),
    (r"a$\n", ["a\n"], ["a"]),
    (r"(?m)a$\r\n^b", ["a\r\nb"], ["ab"]),
    (r"\Aa\Z\z", ["a"], ["b"]),
    (r"a|b|", ["a", "b", ""], ["ab"]),
    (r"ds=202011[1-2][0-9]/.*\.parquet", ["ds=20201115/x.parquet"], ["ds=20201130/x.parquet"]),
]


@pytest.mark.parametrize(("java", "texts", "others"), MATCHES, ids=[case[0] for case in MATCHES])
def test_matches_as_in_java(java, texts, others):
    pattern = BoundedPattern(java)
    assert [text for text in texts if not pattern.fullmatch(text)] == []
    assert [text for text in others if pattern.fullmatch(text)] == []


REPLACED = [
    ("a*", "X", "aab", "XXbX"),
    (r"(\d+)-(?<m>\d+)", r"${m}\$$1\\", "10-20", "20$10\\"),
    (r"(a)(b)?", "[$2$1]", "a", "[a]"),  # a group that took no part is empty
    (r"(a)", "$12", "a", "a2"),  # there is no group 12
    (r"\bé\b", "e", "é éa", "e éa"),  # \b knows Unicode letters
    ("(?m)^", ">", "a\r\nb\n", ">a\r\n>b\n"),  # CR LF is one line end, and none starts behind the last
    ("$", "!", "a\r\n", "a!\r\n!"),
    (r"\.", "", "1.2.3", "123"),
]


@pytest.mark.parametrize(("java", "replacement", "text", "result"), REPLACED)
def test_replaces_as_in_java(java, replacement, text, result):
    assert evaluate(["replace_with", java, replacement, "s"], {"s": text}) == result


REFUSED = [
    (r"\p{javaLowerCase}", "javaLowerCase"),
    (r"\p{IsKlingon}", "IsKlingon"),
    (r"\p{Lower", r"\p{"),
    (r"(?U)\p{Lower}", "(?U)"),
    (r"\h", "Java 8"),
    (r"\R", "Java 8"),
    (r"\X", "Java 9"),
    (r"\b{g}", "Java 9"),
    (r"\y", r"\y"),
    ("a\\", "backslash"),
    (r"\1", r"\1"),
    (r"\k<n>", r"\k"),
    ("(", "( without )"),
    (")", "unmatched )"),
    ("[a", "[ without ]"),
    ("[b-a]", "b-a"),
    (r"[a-\d]", "range"),
    (r"[\d-z]", "range"),
    ("[^a[b]]", "negated"),
    ("[^a-z&&b]", "negated"),
    ("[a&&]", "&&"),
    ("*a", "nothing to repeat"),
    ("a**", "repetition"),
    ("a{", "{"),
    ("{", "literal brace"),
    ("a{2,1}", "{2,1}"),
    ("(?<n>a)(?<n>b)", "twice"),
    ("(?<1>a)", "group name"),
    ("(?P<n>a)", "(?P"),
    ("(?", "(?"),
    (r"\x4", r"\x"),
    (r"\u12", r"\u"),
    (r"\x{110000}", r"\x{"),
    (r"\0", r"\0"),
    (r"\c", r"\c"),
    ("(a{1000}){1000}", "100,000"),
    ("a{2000000000}", "{2000000000}"),
    ("(" * 5000 + ")" * 5000, "deeper"),
    ("[" * 5000, "deeper"),
    ("a" * 10_001, "10,001"),
]


@pytest.mark.parametrize(("java", "named"), REFUSED, ids=[case[0][:20] for case in REFUSED])
def test_refusal_names_the_construct(java, named):
    with pytest.raises(RegexProblem) as refused:
        BoundedPattern(java)
    assert named in str(refused.value)


@pytest.mark.parametrize("replacement", ["$", "$x", "$2", "${m}", "${", "a\\"])
def test_bad_replacement_is_found_at_load(replacement):
    with pytest.raises(RegexProblem):
        replacement_parts(replacement, translate("(a)"))
    with pytest.raises(ConfigError) as refused:
        evaluate(["replace_with", "(a)", replacement, "s"], {})
    assert [(p.pointer, p.operator) for p in refused.value.problems] == [("/2", "replace_with")]


@pytest.mark.parametrize("replacement", ["${n", "x${n", "${", "${n}${n"])
def test_an_open_brace_in_a_replacement_is_found_at_load(replacement):
    with pytest.raises(RegexProblem, match="without }"):
        replacement_parts(replacement, translate("(?<n>a)"))


@settings(max_examples=300, deadline=None)
@given(
    java=st.text(r"ab(?<n>)[]{}\kQEpLx0,1-^&|*+$.", max_size=12), replacement=st.text(r"a$\{n}1", max_size=6)
)
def test_any_text_is_a_pattern_or_a_named_problem(java, replacement):
    for pattern in (java, f"(?<n>{java}b)"):
        with suppress(RegexProblem):
            parts = replacement_parts(replacement, translate(pattern))
            assert isinstance(BoundedPattern(pattern).replace_all("ab1", parts), str)


BOMB = "(a|aa)+$"


def test_a_regex_bomb_is_a_row_error_and_costs_less_each_time():
    pattern = BoundedPattern(BOMB)
    times = []
    for _ in range(4):
        with pytest.raises(RowError, match="took more than") as stopped:
            pattern.fullmatch("a" * 80 + "b")
        times.append(float(stopped.value.reason.split(" s on")[0].split()[-1]))
    assert times == [1.0, 0.5, 0.25, 0.13]
    assert pattern.fullmatch("a" * 80)


def test_a_replacement_cannot_fill_the_memory():
    text = "x" * 100_000
    with pytest.raises(RowError, match=r"67,108,864 characters"):
        evaluate(["replace_with", ".", "y" * 1_000, "s"], {"s": text})
