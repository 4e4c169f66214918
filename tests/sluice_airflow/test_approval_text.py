"""What a person reads before a sync goes on: the right numbers, and values that cannot pose as text."""

from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt

from sluice_airflow.approval_text import HeldSync, body, code, subject


def held(**changes):
    return HeldSync(
        **{
            "sync": "recent_crm",
            "cohort": "Recent",
            "destination": "CRM",
            "as_of": datetime(2013, 1, 2, 10, tzinfo=UTC),
            "held_until": datetime(2013, 1, 2, 22, tzinfo=UTC),
            "reason": "70 % of the members would leave, and max_exit_share is 50 %.",
            "counts": {"existing": 4, "entering": 1, "exiting": 7, "skipped": 0},
            "entering": [{"amplitude_id": 11, "user_id": "new", "plan": "pro"}],
            "exiting": [{"amplitude_id": n, "user_id": f"u{n}", "plan": None} for n in range(5)],
        }
        | changes
    )


def shown(markdown):
    """Return the code spans and all other text, as a reader of Markdown takes it."""
    spans, rest = [], []
    for block in MarkdownIt("gfm-like", {"linkify": False}).parse(markdown):
        for token in block.children or []:
            (spans if token.type == "code_inline" else rest).append(token.content)
    return spans, " ".join(rest)


def test_the_headline_names_the_sync_and_what_it_would_do():
    assert subject(held()) == "Send recent_crm? 7 of 10 leave, 1 enter"


def test_the_body_has_the_numbers_the_reason_and_a_sample():
    spans, text = shown(body(held()))
    assert "70 % of the members would leave, and max_exit_share is 50 %." in spans
    for cells in ("delivered sync 10", "leaving 7 (70.0%)", "entering 1", "2013-01-02 10:00 UTC 4"):
        assert cells in text
    assert "(the first 5 of 7)" in text
    assert spans[-6:] == ["amplitude_id", "user_id", "plan", "11", "new", "pro"]
    assert text.count("–") == 5
    assert "2013-01-02 22:00 UTC" in text


def test_a_first_sync_has_no_share_of_nobody():
    counts = {"existing": 3, "entering": 3, "exiting": 0, "skipped": 0}
    assert subject(held(counts=counts)) == "Send recent_crm? 0 of 0 leave, 3 enter"
    assert "Leaving" not in shown(body(held(counts=counts, exiting=[])))[1]


@pytest.mark.parametrize(
    "value",
    [
        "`a` **b**",
        "``` `",
        "`",
        "</p><script>alert(1)</script>",
        "[click](https://evil.example)",
        "www.evil.example",
        "| a | b |",
        "back\\slash\\",
        "{{ var.value.secret }}",
        "",
        "  ",
    ],
)
def test_a_value_stays_a_value(value):
    spans, text = shown("before " + code(value) + " after")
    assert [span.strip() for span in spans] == [value.strip()]
    assert text.split() == ["before", "after"]


@pytest.mark.parametrize("char", ["\n", "\r", "\0", "\u202e", "\u200b", "\u2028", "\ud800"])
def test_what_cannot_be_seen_is_shown_as_such(char):
    assert code(f"a{char}b") == "` a\N{REPLACEMENT CHARACTER}b `"


def test_a_long_value_is_cut():
    assert code("x" * 1000) == "` " + "x" * 59 + "… `"
