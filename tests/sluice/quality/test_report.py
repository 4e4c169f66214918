from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from uuid import uuid4

import pytest
from gates import CARRIERS, NULLS, RUN, UNIQUE, a_gate
from hypothesis import given
from hypothesis import strategies as st

from sluice.lake import Lake
from sluice.ledger.quality import State
from sluice.quality.report import CONTENT_SECURITY_POLICY, path_of, render, write_report
from sluice.quality.results import Expectation, Result

MOMENT = datetime(2013, 1, 5, 13, 1, tzinfo=UTC)
RECONCILIATION = Result(
    Expectation("expect_reconciliation"), True, "reconciliation", observed="500 lines, 500 events"
)
HISTORY = Result(
    Expectation("expect_row_count_like_weeks_before", {"weeks": 4}, "warning"),
    False,
    "history",
    observed="500 rows, 9,000 in the median of 4 weeks",
)
BROKEN = Result(
    Expectation("expect_column_values_to_be_of_type", {"column": "city"}, "warning"),
    False,
    "sample",
    error="TypeError: no such type",
)


class Page(HTMLParser):
    """What a browser would make of a report: its tags, and its text by heading."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sections: dict[str, str] = {"": ""}
        self._section, self._in = "", ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._in = tag

    def handle_data(self, data):
        if self._in == "h2" and data.strip():
            self._section = data
        if self._in not in ("style", "title"):
            self.sections[self._section] = self.sections.get(self._section, "") + " " + data.strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.sections.values()).split())


def test_expectations_stand_in_groups_with_how_each_was_looked_at():
    page = Page(render(a_gate(UNIQUE, CARRIERS, BROKEN, NULLS, RECONCILIATION, HISTORY)))
    assert list(page.sections) == [
        "",
        "What to do",
        "What stopped it (1)",
        "Could not be evaluated (1)",
        "Warnings (2)",
        "What holds (2)",
    ]
    said = {title: " ".join(text.split()) for title, text in page.sections.items()}
    assert "event_time" in said["What stopped it (1)"]
    assert "12 of 500 rows fail exact, over all 500 rows" in said["What stopped it (1)"]
    assert "critical, built in" in said["What stopped it (1)"]
    assert "TypeError: no such type" in said["Could not be evaluated (1)"]
    warned = said["Warnings (2)"]
    assert "warning, in the configuration Two characters, says IATA." in warned
    assert "3 of 200 rows fail sample of 200 of 500 rows" in warned
    assert "9,000 in the median of 4 weeks history: beside earlier runs" in warned
    assert "500 lines, 500 events reconciliation: two sides must be the same" in said["What holds (2)"]
    assert "rows 500, 200 of them looked at one by one" in said[""]


def test_what_is_held_says_until_when_and_what_to_do():
    gate = a_gate(held_until=MOMENT)
    page = Page(render(gate))
    assert "Held: nothing of it is visible" in page.text
    assert "held until 2013-01-05 13:01:00 UTC" in page.text
    todo = page.sections["What to do"]
    assert f"sluice quality release {gate.id} --reason '…'" in todo
    assert f"sluice quality discard {gate.id} --reason '…'" in todo
    dag_id, _, run_id = RUN.partition("/")
    assert f"airflow dags clear {dag_id} --run-id {run_id} --only-failed --yes" in todo


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("passed", "Passed: every expectation holds."),
        ("warned", "Passed with warnings"),
        ("overridden", "Passed by a person's word"),
        ("released", "Released: the gate had stopped it"),
        ("discarded", "Discarded: a person gave up"),
        ("expired", "Expired: nobody decided in time"),
    ],
)
def test_a_verdict_is_said_in_words_with_who_decided_and_why(state: State, words: str):
    page = Page(render(a_gate(state=state, decided_at=MOMENT, decided_by="ann", reason="A strike.")))
    assert words in page.text
    assert "decided 2013-01-05 13:01:00 UTC by ann" in page.text
    assert "reason A strike." in page.text
    assert ("What to do" in page.sections) == (state in ("released", "discarded", "expired"))


def test_values_are_there_only_if_the_result_has_them():
    shown = replace(CARRIERS, values=("united", "<b>"))
    assert "values that fail" not in render(a_gate(CARRIERS))
    assert "values that fail: united, <b>" in Page(render(a_gate(shown))).text


def test_a_long_argument_is_cut():
    codes = [f"carrier {number}" for number in range(1_000)]
    long = replace(
        CARRIERS, expectation=Expectation("expect_column_values_to_be_in_set", {"value_set": codes})
    )
    html = render(a_gate(long))
    assert "characters)" in html
    assert len(html) < len(render(a_gate(CARRIERS))) + 1_000


# The tags that a report has, and their attributes, whatever is in it.
TAGS = {
    "html", "meta", "title", "style", "h1", "h2", "p", "dl", "dt", "dd", "pre", "table", "tr", "th", "td",
    "code", "b", "br",
}  # fmt: skip
HOSTILE = st.one_of(
    st.sampled_from(
        [
            "</title><script>alert(1)</script>",
            '"><img src=x onerror=alert(1)>',
            "</style><link rel=stylesheet href=//evil>",
            "</pre><iframe srcdoc='<script>1</script>'>",
            "&lt;script&gt; &#60;",
            "\x00\u202egpj.exe\ud800\u2028",
            "javascript:alert(1)",
        ]
    ),
    st.text(),
)


@given(HOSTILE)
def test_nothing_hostile_becomes_markup(text):
    result = Result(
        Expectation(text, {text: text, "column": [text]}, "critical", text, True),
        False,
        "sample",
        10,
        3,
        text,
        (text,),
        None,
    )
    gate = a_gate(
        result,
        replace(result, error=text),
        run=f"dag/{text}",
        unit=text,
        name=text,
        decided_at=MOMENT,
        decided_by=text,
        reason=text,
    )
    html = render(gate)
    html.encode()
    tags = Page(html).tags
    assert {tag for tag, _ in tags} <= TAGS
    assert {name for _, attributes in tags for name in attributes} <= {
        "lang", "charset", "http-equiv", "content", "name", "class"
    }  # fmt: skip
    plain = Page(render(a_gate(replace(result, values=("x",)), replace(result, error="x")))).tags
    assert [tag for tag, _ in tags if tag not in ("b", "br", "p", "dt", "dd")] == [
        tag for tag, _ in plain if tag not in ("b", "br", "p", "dt", "dd")
    ]


def test_a_report_loads_nothing():
    html = render(a_gate())
    assert "default-src 'none'" in CONTENT_SECURITY_POLICY
    (policy,) = [
        attributes["content"]
        for tag, attributes in Page(html).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy == CONTENT_SECURITY_POLICY
    assert "url(" not in html
    assert "@import" not in html


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.integration)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Lake:
    """The place of a lake that has no tables yet, on each kind of store in turn."""
    if request.param == "local":
        return Lake(str(tmp_path / "lake" / "deep"))
    bucket = request.getfixturevalue("bucket")
    store = request.getfixturevalue("s3_store")
    return Lake(f"s3://{bucket}/lake", store.delta_options())


def test_a_report_lies_in_the_lake_and_a_second_check_replaces_it(place):
    if place.is_local:
        Path(place.uri).mkdir(parents=True)
    gate = a_gate(id=uuid4().hex)
    written = write_report(place, gate)
    assert written == replace(gate, report=path_of(gate))
    assert written.report == f"_quality/export/warehouse/{gate.id}.html"
    with place.filesystem().open_input_stream(written.report) as stream:
        assert stream.read().decode() == render(gate)
    released = replace(written, state="released", decided_by="ann")
    assert write_report(place, released).report == written.report
    with place.filesystem().open_input_stream(written.report) as stream:
        assert stream.read().decode() == render(released)


def test_a_browser_is_told_that_a_report_is_html(s3, bucket, s3_store):
    written = write_report(Lake(f"s3://{bucket}/lake", s3_store.delta_options()), a_gate())
    listed = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert listed == [f"lake/{written.report}"]
    assert s3.head_object(Bucket=bucket, Key=listed[0])["ContentType"] == "text/html; charset=utf-8"
