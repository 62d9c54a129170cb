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
    strict = json.loads(
        path.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(name)
    )
    assert (
        strict["a"] == 0.5
        and strict["b"] == [0, 1, 2]
        and strict["c"] is None
        and strict["4"] == [True, None]
    )
    assert results.read("uji", tmp_path)["provenance"]["seed"] == 1
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.json")] == [
        "lab/uji.json"
    ]  # by hand, not for a report


def test_what_was_run_by_hand_is_read_by_hand_and_never_by_make(tmp_path, monkeypatch):
    monkeypatch.delenv(files.RESULTS, raising=False)
    (tmp_path / "results").mkdir()
    (tmp_path / "results/uji.json").write_text(json.dumps({"schema": 1, "whose": "make"}))
    assert results.read("uji", tmp_path)["whose"] == "make"
    results.write("uji", {"whose": "hand"}, {"clock": time.time()}, tmp_path)
    assert results.read("uji", tmp_path)["whose"] == "hand"
    monkeypatch.setenv(files.RESULTS, str(tmp_path / "draft"))
    assert results.read("uji", tmp_path)["whose"] == "make"


ORIGIN = {
    "data": {"fingerprint": "a1"},
    "weights": {"digest": "b2"},
    "preset": {"name": "quick", "epochs": 10},
    "seed": 0,
    "device": {"type": "cpu", "name": "CPU (2 thread)"},
    "precision": "float32",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data": {"fingerprint": "ff"}}, "pada data .*01, 03: a1; 02: ff"),
        ({"weights": {"digest": "ff"}}, "pada bobot"),
        ({"preset": {"name": "quick", "epochs": 9}}, "pada preset"),
        ({"seed": 1}, "pada seed .*01, 03: 0; 02: 1"),
        ({"device": {"type": "cuda", "name": "X"}}, r"pada perangkat .*CPU \(2 thread\); 02: X"),
        ({"precision": "bfloat16"}, "pada presisi"),
    ],
)
def test_results_that_differ_are_not_joined(change, words):
    bodies = {name: {"provenance": ORIGIN} for name in ("01", "02", "03")}
    results.agree(bodies)
    with pytest.raises(InputError, match=words):
        results.agree(bodies | {"02": {"provenance": ORIGIN | change}})


def test_a_second_clone_keeps_its_own_and_says_whose_code_it_uses(tmp_path, monkeypatch):
    monkeypatch.delenv(files.RESULTS, raising=False)
    clone = tmp_path / "lain"
    for folder in ("cxr_helpers/engine", "notebooks"):
        (clone / folder).mkdir(parents=True)
    (clone / "cxr_helpers/engine/files.py").touch()
    assert files.elsewhere() == ""
    monkeypatch.chdir(clone / "notebooks")
    path = results.write("uji", {}, {"clock": time.time()})
    assert path == clone / "build/lab/uji.json" and files.runs_folder() == clone / "runs"
    assert str(clone) in files.elsewhere() and str(files.ROOT) in files.elsewhere()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "belum ada"),
        ("{", "rusak"),
        ('{"schema": 0}', "versi lain"),
        ("[]", "versi lain|rusak"),
    ],
)
def test_a_missing_or_damaged_file_is_said_in_one_line(tmp_path, monkeypatch, content, words):
    monkeypatch.delenv(files.RESULTS, raising=False)
    if content is not None:
        (tmp_path / "results").mkdir()
        (tmp_path / "results/uji.json").write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        results.read("uji", tmp_path)
    assert "\n" not in str(caught.value)
