"""Claimed runs trained again in the box: their own code agrees bit by bit, and reaches nothing of the instructor's."""

import dataclasses
import io
import json

import numpy as np
import pytest

from cxr_helpers.engine import files, runs
from cxr_helpers.study import open_study
from grading import again, box, claims, package

REFUSED = box.refusal()
boxed = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))
OWN = """from torch import nn

def network():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))

BAGIAN = {
    'network': network,
}
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        for name in (files.RUNS, files.DATA):
            patch.setenv(name, str(tmp_path_factory.mktemp("simpan")))
        patch.delenv(files.SOURCES, raising=False)
        yield open_study("phantom", "random", "smoke", 1234, "cpu")


def handin(study, **changes) -> package.Handin:
    """A hand-in of one run, trained here."""
    run = runs.get(study.config(**changes), study.used, study.weights, "cpu", keep_weights=False)
    found = {
        f"runs/{run.key}/{name}": (run.folder / name).read_bytes()
        for name in runs.FILES
        if (run.folder / name).exists()
    }
    found["build/results/02_pelatihan.json"] = json.dumps(
        {"provenance": study.provenance()}, default=str
    ).encode()
    return package.Handin("x", found, digest="0")


def changed(given: package.Handin, name: str, change) -> package.Handin:
    place = next(path for path in given.files if path.endswith(name))
    return dataclasses.replace(given, files=given.files | {place: change(given.files[place])})


def with_code(given: package.Handin, code: str) -> package.Handin:
    def put(content: bytes) -> bytes:
        body = json.loads(content)
        body["config"]["own"] = code
        return json.dumps(body).encode()

    return changed(given, "config.json", put)


@boxed
def test_own_code_is_trained_again_in_the_box_and_agrees_bit_by_bit(study):
    said = again.retrain(handin(study, own=OWN, lr=1e-3), claims.Studies(), boxed=True)
    assert said.endswith("(kode sendiri): sama bit demi bit"), said


@pytest.mark.parametrize(
    ("native", "end"), [(True, ": sama bit demi bit"), (False, "(dengan float32, karena")]
)
def test_what_this_processor_would_emulate_is_trained_in_float32_and_said(
    study, monkeypatch, native, end
):
    monkeypatch.setattr(again.precision, "native", lambda device: native)
    said = again.retrain(
        handin(study, precision="bfloat16", lr=1e-3), claims.Studies(), boxed=False
    )
    assert end in said and ("berbeda (AUC uji" in said) is not native, said


@boxed
def test_other_predictions_than_those_of_the_code_show(study):
    def other(content: bytes) -> bytes:
        arrays = dict(np.load(io.BytesIO(content)))
        arrays["test_best"] = arrays["test_best"][::-1]
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    said = again.retrain(
        changed(handin(study, own=OWN, lr=1e-3), "predictions.npz", other),
        claims.Studies(),
        boxed=True,
    )
    assert ": berbeda (AUC uji" in said, said


@boxed
def test_own_code_reaches_nothing_of_ours_while_it_trains(study, tmp_path):
    (tmp_path / "kunci").write_text("x")
    data = files.data_folder()
    before = sorted((path.name, path.stat().st_mtime_ns) for path in data.glob("[!.]*"))
    attack = f"""import os, pathlib, socket
seen = os.path.exists({str(tmp_path)!r}) or os.path.exists({str(files.ROOT / "grading")!r})
for place in ({str(tmp_path / "x")!r}, '/tmp/data/x'):
    try:
        pathlib.Path(place).write_text('x')
        seen = True
    except OSError:
        pass
try:
    socket.create_connection(('127.0.0.1', 9), 1)
    seen = True
except OSError:
    pass
if seen:
    raise ValueError('reached')
"""
    said = again.retrain(
        with_code(handin(study, own=OWN, lr=1e-3), attack + OWN), claims.Studies(), boxed=True
    )
    assert said.endswith("sama bit demi bit"), said
    assert (
        sorted((path.name, path.stat().st_mtime_ns) for path in data.glob("[!.]*")) == before
        and not (tmp_path / "x").exists()
    )


@boxed
def test_own_code_that_never_ends_is_ended(study, monkeypatch):
    monkeypatch.setattr(again, "LEAST", 20)
    said = again.retrain(
        with_code(handin(study, own=OWN, lr=1e-3), "while True:\n    pass\n"),
        claims.Studies(),
        boxed=True,
    )
    assert said.endswith("tidak dapat diulang (waktu habis)"), said


def test_without_the_box_own_code_is_never_run(study, tmp_path):
    trap = f"open({str(tmp_path / 'x')!r}, 'w').write('x')\n" + OWN
    said = again.retrain(
        with_code(handin(study, own=OWN, lr=1e-3), trap), claims.Studies(), boxed=False
    )
    assert said.endswith("tanpa kode sendiri") and not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "config", [b"{}", b"[]", b"x", b'{"config": {"epochs": 1e9}}', b'{"config": {"lr": "x"}}']
)
def test_an_odd_config_is_said_and_trains_nothing(study, config):
    given = changed(handin(study, own=OWN, lr=1e-3), "config.json", lambda _: config)
    assert "tidak dapat diulang" in again.retrain(given, claims.Studies(), boxed=False)
