"""Numbers as Indonesian readers write them, and results files that are whole or absent."""

import json
import math
import time

import numpy as np
import pytest

from cxr_helpers.engine import results
from cxr_helpers.engine.errors import InputError


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(1234.5, 1, "1.234,5"), (-0.25, 2, "−0,25"), (7, 0, "7"), (1234567, 0, "1.234.567"), (math.nan, 1, "–"), (None, 1, "–")],
)
def test_numbers_have_a_decimal_comma(value, digits, text):
    assert results.number(value, digits) == text


def test_shares_differences_and_intervals():
    assert results.percent(0.853) == "85,3%"
    assert results.percent(None) == "–"
    assert results.points(0.021) == "+2,1"
    assert results.points(-0.021) == "−2,1"
    assert results.interval((0.81, 0.88)) == "81,0–88,0"
    assert results.interval((-0.02, 0.03)) == "−2,0 hingga 3,0"


def test_durations_dates_and_lists():
    assert [results.duration(s) for s in (0.2, 59.6, 75, 3600, 3725)] == [
        "0 detik", "1 menit", "1 menit 15 detik", "1 jam", "1 jam 2 menit 5 detik",
    ]  # fmt: skip
    assert results.date("2026-08-17T10:00:00+00:00") == "17 Agustus 2026"
    assert results.join(["a"]) == "a"
    assert results.join(["a", "b"]) == "a dan b"
    assert results.join(["a", "b", "c"]) == "a, b, dan c"


def test_written_results_are_strict_json_and_read_back(tmp_path, monkeypatch):
    monkeypatch.delenv(results.STAGING, raising=False)
    body = {"a": np.float32(0.5), "b": np.arange(3), "c": math.nan, 4: (True, None)}
    path = results.write("uji", body, {"clock": time.time(), "seed": 1}, tmp_path)
    strict = json.loads(path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name))
    assert strict["a"] == 0.5 and strict["b"] == [0, 1, 2] and strict["c"] is None and strict["4"] == [True, None]
    assert results.read("uji", tmp_path)["provenance"]["seed"] == 1
    assert [p.name for p in (tmp_path / "results").iterdir()] == ["uji.json"]


@pytest.mark.parametrize(
    ("content", "words"), [(None, "belum ada"), ("{", "rusak"), ('{"schema": 0}', "versi lain"), ("[]", "versi lain|rusak")]
)
def test_a_missing_or_damaged_file_is_said_in_one_line(tmp_path, monkeypatch, content, words):
    monkeypatch.delenv(results.STAGING, raising=False)
    if content is not None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results/uji.json").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        results.read("uji", tmp_path)
    assert "\n" not in str(caught.value)
