"""Numbers, dates and lists as Indonesian readers write them."""

import math

from cxr_helpers.engine import indonesian
from report.chapter import FORMATS


def test_numbers_have_a_decimal_comma():
    written = {(1234.5, 1): "1.234,5", (-0.25, 2): "−0,25", (1234567, 0): "1.234.567"}
    written |= {(-0.04, 1): "0,0", (math.nan, 1): "–"}
    for (value, digits), text in written.items():
        assert indonesian.number(value, digits) == text


def test_shares_differences_and_intervals():
    assert [indonesian.percent(value) for value in (0.853, None)] == ["85,3%", "–"]
    points = [indonesian.points(value) for value in (0.021, -0.021, 0.0002, -0.0002)]
    assert points == ["+2,1", "−2,1", "0,0", "0,0"]
    assert indonesian.interval((0.81, 0.88)) == "81,0–88,0"
    assert indonesian.interval((-0.02, 0.03)) == "−2,0 hingga 3,0"
    written = [FORMATS["nilai_p"](p) for p in (0.00099, 0.001, 0.0213, 1.0)]
    assert written == ["<0,001", "0,001", "0,021", "1,000"]
    assert [indonesian.plain(value) for value in (0.0004, 32, 0.0)] == ["0,0004", "32", "0"]


def test_durations_dates_and_lists():
    assert [indonesian.duration(seconds) for seconds in (0.2, 59.6, 75, 3600, 3725)] == [
        "0 detik", "1 menit", "1 menit 15 detik", "1 jam", "1 jam 2 menit 5 detik",
    ]  # fmt: skip
    assert indonesian.date("2026-08-17T10:00:00+00:00") == "17 Agustus 2026"
    assert [indonesian.join("abc"[:n]) for n in (1, 2, 3)] == ["a", "a dan b", "a, b, dan c"]
