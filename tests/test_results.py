"""Results files are whole or absent, and only those of one study are joined."""

import json
import math
import time

import numpy as np
import pytest

from cxr_helpers.engine import files, results
from cxr_helpers.engine.errors import InputError


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    """As in a notebook that was opened in JupyterLab."""
    monkeypatch.delenv(files.RESULTS, raising=False)


def test_written_results_are_strict_json_and_read_back(tmp_path):
    body = {"a": np.float32(0.5), "b": np.arange(3), "c": math.nan, 4: (True, None)}
    path = results.write("uji", body, {"clock": time.time(), "seed": 1}, tmp_path)
    strict = json.loads(path.read_text("utf-8"), parse_constant=pytest.fail)
    assert [strict[name] for name in "abc4"] == [0.5, [0, 1, 2], None, [True, None]]
    assert results.read("uji", tmp_path)["provenance"]["seed"] == 1
    assert list(tmp_path.rglob("*.json")) == [tmp_path / "lab/uji.json"]  # not the report's


def test_what_was_run_by_hand_is_read_by_hand_and_never_by_make(tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results/uji.json").write_text(json.dumps({"schema": 1, "whose": "make"}))
    assert results.read("uji", tmp_path)["whose"] == "make"
    results.write("uji", {"whose": "hand"}, {"clock": time.time()}, tmp_path)
    assert results.read("uji", tmp_path)["whose"] == "hand"
    monkeypatch.setenv(files.RESULTS, str(tmp_path / "draft"))
    assert results.read("uji", tmp_path)["whose"] == "make"


@pytest.mark.parametrize(
    ("place", "word"),
    [(("data", "fingerprint"), "data"), (("weights", "digest"), "bobot"), (("seed",), "seed")],
)
def test_results_that_differ_are_not_joined(place, word):
    def body(value):
        for name in reversed(place):
            value = {name: value}
        return {"provenance": value}

    results.agree({"01": body(8), "02": body(8), "03": {}})
    with pytest.raises(InputError, match=f"pada {word} .*01: .*8.*; 02: .*9"):
        results.agree({"01": body(8), "02": body(9), "03": body(8)})


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "belum ada"), ("{", "rusak"), ('{"schema": 0}', "versi lain")],
)
def test_a_missing_or_damaged_file_is_said_in_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results/uji.json").write_text(content)
    with pytest.raises(InputError, match=rf"uji\.json.*{words}"):
        results.read("uji", tmp_path)
