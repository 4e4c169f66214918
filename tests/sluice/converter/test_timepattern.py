"""Patterns of java.time.format.DateTimeFormatter: what they read, and what is refused by name."""

import datetime
import time

import pytest

from sluice.converter import RowError, timepattern
from sluice.converter.timepattern import TimePatternProblem, compile_pattern

READ = [
    ("M/d/yyyy H:mm:ss", "1/1/2021 5:06:07", "2021-01-01T05:06:07"),
    ("MM/dd/yyyy HH:mm", "12/31/2021 23:59", "2021-12-31T23:59:00"),
    ("yyyyMMddHHmmssSSS", "20210203040506789", "2021-02-03T04:05:06.789"),
    ("yyMMdd", "210203", "2021-02-03T00:00:00"),
    ("uuuu-MM-dd", "2021-02-03", "2021-02-03T00:00:00"),
    ("yyyy-MM", "2021-02", "2021-02-01T00:00:00"),
    ("yyyy", "2021", "2021-01-01T00:00:00"),
    ("yyyy-D", "2021-34", "2021-02-03T00:00:00"),
    ("yyyyDDD", "2021034", "2021-02-03T00:00:00"),
    ("d MMM yyyy", "5 Mar 2021", "2021-03-05T00:00:00"),
    ("d MMMM yyyy", "5 MARCH 2021", "2021-03-05T00:00:00"),
    ("d LLL uu", "5 Mar 21", "2021-03-05T00:00:00"),
    ("EEE, d MMM yyyy HH:mm:ss Z", "Fri, 5 Mar 2021 01:02:03 +0100", "2021-03-05T00:02:03"),
    ("EEEE d.M.yyyy", "Friday 5.3.2021", "2021-03-05T00:00:00"),
    ("M/d/yyyy h:mm a", "1/1/2021 12:05 AM", "2021-01-01T00:05:00"),
    ("M/d/yyyy h:mm a", "1/1/2021 12:05 pm", "2021-01-01T12:05:00"),
    ("M/d/yyyy K:mm a", "1/1/2021 0:05 PM", "2021-01-01T12:05:00"),
    ("M/d/yyyy k:mm", "1/1/2021 24:05", "2021-01-01T00:05:00"),
    ("yyyy-MM-dd HH:mm", "2021-01-01 24:00", "2021-01-02T00:00:00"),
    ("yyyy-MM-dd'T'HH:mm:ss.SSSSSSSSS", "2021-01-01T00:00:00.123456789", "2021-01-01T00:00:00.123"),
    ("yyyy-MM-dd HH:mm:ss.S", "2021-01-01 00:00:00.1", "2021-01-01T00:00:00.100"),
    ("yyyy-MM-dd HH:mm:ss n", "2021-01-01 00:00:00 5000000", "2021-01-01T00:00:00.005"),
    ("yyyy-MM-dd A", "2021-01-01 3600000", "2021-01-01T01:00:00"),
    ("yyyy-MM-dd HHX", "2021-01-01 00+02", "2020-12-31T22:00:00"),
    ("yyyy-MM-dd HH:mmXXX", "2021-01-01 00:00Z", "2021-01-01T00:00:00"),
    ("yyyy-MM-dd HH:mmXXX", "2021-01-01 00:00-05:30", "2021-01-01T05:30:00"),
    ("yyyy-MM-dd HH:mmxx", "2021-01-01 00:00+0000", "2021-01-01T00:00:00"),
    ("yyyy-MM-dd HH:mm O", "2021-01-01 00:00 GMT+8", "2020-12-31T16:00:00"),
    ("yyyy-MM-dd HH:mm ZZZZ", "2021-01-01 00:00 GMT-08:00", "2021-01-01T08:00:00"),
    ("yyyy-MM-dd HH:mm VV", "2021-07-01 00:00 Europe/Berlin", "2021-06-30T22:00:00"),
    ("yyyy-MM-dd HH:mm VV", "2021-07-01 00:00 UTC+02:00", "2021-06-30T22:00:00"),
    ("yyyy-MM-dd HH:mm z", "2021-01-01 00:00 PST", "2021-01-01T08:00:00"),
    ("yyyy-MM-dd HH:mm z", "2021-07-01 00:00 EDT", "2021-07-01T04:00:00"),
    ("yyyy-MM-dd HH:mm zzzz", "2021-01-01 00:00 Central European Standard Time", "2020-12-31T23:00:00"),
    # In the hour that is skipped or repeated the offset before the change holds, as in Java.
    ("yyyy-MM-dd HH:mm VV", "2021-03-28 02:30 Europe/Berlin", "2021-03-28T01:30:00"),
    ("yyyy-MM-dd HH:mm VV", "2021-10-31 02:30 Europe/Berlin", "2021-10-31T00:30:00"),
    ("yyyy-MM-dd[ HH:mm[:ss]]", "2021-01-01", "2021-01-01T00:00:00"),
    ("yyyy-MM-dd[ HH:mm[:ss]]", "2021-01-01 01:02:03", "2021-01-01T01:02:03"),
    ("[yyyy-MM-dd][M/d/yyyy]", "2/3/2021", "2021-02-03T00:00:00"),
    ("h 'o''clock' a, d.M.y", "5 o'clock PM, 3.2.2021", "2021-02-03T17:00:00"),
    ("yyyy''MM", "2021'02", "2021-02-01T00:00:00"),
]


@pytest.mark.parametrize(("pattern", "text", "iso"), READ)
def test_reads(pattern, text, iso):
    moment = datetime.datetime.fromisoformat(iso).replace(tzinfo=datetime.UTC)
    assert compile_pattern(pattern)(text) == round(moment.timestamp() * 1000)


NO_INSTANT = [
    ("yyyy-MM-dd", "2021-1-1"),
    ("yyyy-MM-dd", "2021-13-01"),
    ("yyyy-MM-dd", "2021-02-30"),
    ("yyyy-MM-dd", "2021-01-01 "),
    ("yyyy-MM-dd", "0000-01-01"),
    ("yyyy-MM-dd", "٢٠٢١-01-01"),
    ("yyyy-MM-dd", ""),
    ("M/d/yyyy H:mm", "1/1/2021 25:00"),
    ("M/d/yyyy H:mm", "1/1/2021 24:01"),
    ("M/d/yyyy H:mm", "1/1/2021 1:60"),
    ("M/d/yyyy h:mm a", "1/1/2021 13:05 PM"),
    ("M/d/yyyy H:mm a", "1/1/2021 1:05 PM"),
    ("yyyy-D", "2021-366"),
    ("EEE yyyy-MM-dd", "Mon 2021-01-01"),  # a Friday
    ("yyyy-MM-dd HH:mm VV", "2021-01-01 00:00 Mars/Olympus"),
    ("yyyy-MM-dd HH:mm VV", "2021-01-01 00:00 ../../etc/passwd"),
    ("yyyy-MM-dd HH:mmXXX", "2021-01-01 00:00+19:00"),
    ("yyyy-MM-dd HH:mm:ss n", "2021-01-01 00:00:00 1000000000"),
    ("yyyy-MM-dd A", "2021-01-01 86400000"),
    ("[yyyy-MM-dd][M/d/yyyy]", ""),
    ("d.M.y", "1.1." + "9" * 5000),
]


@pytest.mark.parametrize(("pattern", "text"), NO_INSTANT)
def test_gives_no_instant(pattern, text):
    assert compile_pattern(pattern)(text) is None


REFUSED = [
    ("yyyy-MM-dd G", "letter G"),
    ("YYYY-MM-dd", "letter Y"),
    ("yyyy-ww", "letter w"),
    ("yyyy-MM-ddTHH:mm", "letter T"),
    ("yyyy-MMMMM", "MMMMM"),
    ("yyyy-MM-ddd", "ddd"),
    ("HHH", "HHH"),
    ("yyyy-MM-dd HH:mm V", "V"),
    ("yyyy-MM-dd HH:mm OO", "OO"),
    ("yyyy-MM-dd aa", "aa"),
    ("yyyy-MM-dd hh:mm", "AM or PM"),
    ("yyyy-mm-dd", "month"),
    ("yyyy-MM-dd HH:ss", "needs m"),
    ("yyyy-MM-dd HH:mm.SSS", "need s"),
    ("yyyy-MM-dd a", "needs an hour"),
    ("HH:mm", "no year"),
    ("yyyy-MM-dd D", "day of the year"),
    ("yyyy-MM-dd HH A", "without an hour"),
    ("yyyy-MM-dd yyyy", "second time"),
    ("yyyyMd", "nothing between"),
    ("yyyy-MM-dd HH:mm X z", "twice"),
    ("yyyy{MM}", "reserved"),
    ("yyyy 'T", "quoted"),
    ("yyyy[MM", "[ without ]"),
    ("yyyy]MM", "] without ["),
    ("y" * 10_001, "10,001"),
]


@pytest.mark.parametrize(("pattern", "named"), REFUSED, ids=[case[0][:20] for case in REFUSED])
def test_refusal_names_the_construct(pattern, named):
    with pytest.raises(TimePatternProblem) as refused:
        compile_pattern(pattern)
    assert named in str(refused.value)


def test_optional_sections_cannot_hang_a_worker(monkeypatch):
    pattern, hostile = "yyyy" + "[H]" * 12, "2021" + "9" * 60 + "x"
    began = time.process_time()
    assert compile_pattern(pattern)(hostile) is None
    assert time.process_time() - began < 2
    assert compile_pattern(pattern)("2021") == 1609459200000
    monkeypatch.setattr(timepattern, "MATCH_SECONDS", 1e-9)
    with pytest.raises(RowError, match=r"the time pattern 'yyyy\[H\].* took more than 1e-09 s"):
        compile_pattern(pattern)(hostile * 1_000)
