"""Results files are whole or absent (cxr_helpers/engine/results.py)."""

import json
import math
import time

import numpy as np
import pytest

from cxr_helpers.engine import files, results
from cxr_helpers.engine.errors import InputError


def test_written_results_are_strict_json_and_read_back(tmp_path, monkeypatch):
    monkeypatch.delenv(files.RESULTS, raising=False)
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
    monkeypatch.delenv(files.RESULTS, raising=False)
    if content is not None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results/uji.json").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        results.read("uji", tmp_path)
    assert "\n" not in str(caught.value)
