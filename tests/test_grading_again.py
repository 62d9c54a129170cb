"""Claimed runs trained again in the box: own code agrees bit by bit and reaches nothing of ours."""

import ast
import dataclasses
import json
import re

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr_helpers.engine import files, runs
from cxr_helpers.study import open_study
from grading import again, box, claims, package

REFUSED = box.refusal()
OWN = """from torch import nn

def network():
    layers = nn.Linear(784, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1)
    return nn.Sequential(nn.Flatten(), *layers)

BAGIAN = {'network': network}
"""


@pytest.fixture(scope="module")
def study():
    return open_study("phantom", "random", "smoke", 1234, "cpu")


@pytest.fixture(scope="module")
def given(study) -> package.Handin:
    """A hand-in of one run with a network of one's own, trained here in two epochs."""
    config = study.config(own=OWN, lr=1e-3)
    run = runs.get(config, study.used, study.weights, "cpu", keep_weights=False)
    paths = {f"x/runs/{run.key}/{name}": run.folder / name for name in runs.FILES}
    found = {name: path.read_bytes() for name, path in paths.items() if path.exists()}
    about = json.dumps({"provenance": study.provenance()}, default=str)
    return package.Handin("x", found | {"x/results/02_pelatihan.json": about.encode()}, digest="0")


def changed(given: package.Handin, name: str, change) -> package.Handin:
    """The hand-in with one file changed: change(what its JSON holds) → bytes, or None."""
    place = next(path for path in given.files if path.endswith(name))
    body = json.loads(given.files[place])
    content = change(body) or json.dumps(body).encode()
    return dataclasses.replace(given, files=given.files | {place: content})


def setting(given: package.Handin, **changes) -> package.Handin:
    return changed(given, "config.json", lambda body: body["config"].update(changes))


def retrained(given: package.Handin, boxed: bool = True) -> str:
    return again.retrain(given, claims.Studies(), boxed)


@pytest.fixture
def asked(monkeypatch) -> dict:
    """What a kernel would be asked to train, and how long it would have: it is ended at once."""
    seen = {}

    class Recorder(box.Kernel):
        def __enter__(self):
            return self

        def __exit__(self, *_): ...

        def run(self, code, seconds, question=""):
            said = ast.literal_eval(re.search(r"json\.loads\((.*)\)", code)[1])
            seen.update(json.loads(said), seconds=seconds)
            raise box.Ended("direkam")

    monkeypatch.setattr(box, "Kernel", Recorder)
    return seen


@pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))
def test_own_code_agrees_bit_by_bit_and_reaches_nothing_of_ours(given, tmp_path):
    (tmp_path / "kunci").write_text("x")
    attack = f"""import os, pathlib, socket
seen = any(map(os.path.exists, {[str(tmp_path / "kunci"), str(files.ROOT / "grading")]}))
for place in ({str(tmp_path / "x")!r}, '/tmp/data/x'):
    try:
        seen = pathlib.Path(place).write_text('x')
    except OSError:
        pass
try:
    seen = socket.create_connection(('127.0.0.1', 9), 1)
except OSError:
    pass
if seen:
    raise ValueError('reached')
"""
    said = retrained(setting(given, own=attack + OWN))
    assert said.endswith("(kode sendiri): sama bit demi bit"), said
    assert not (tmp_path / "x").exists() and not (files.data_folder() / "x").exists()


def test_other_predictions_show_with_both_auc(study):
    labels, noise = study.used.test.labels, np.random.default_rng(0).normal(size=(2, 32))
    one, other = labels + noise
    both = [f"{roc_auc_score(labels, each):.4f}".replace(".", ",") for each in (one, other)]
    assert again.agreement(one, one.copy(), study) == "sama bit demi bit"
    assert f"berbeda (AUC uji {both[0]} dan {both[1]})" in again.agreement(one, other, study)


def test_without_the_box_own_code_is_never_run(given, tmp_path, asked):
    trap = f"open({str(tmp_path / 'x')!r}, 'w').write('x')\n" + OWN
    said = retrained(setting(given, own=trap), boxed=False)
    assert said.endswith("tanpa kode sendiri") and not (tmp_path / "x").exists() and not asked


@pytest.mark.parametrize(("seconds", "limit"), [(10, 300), (80, 320), (1e9, 1800)])
def test_no_student_decides_how_long_a_computer_works(given, asked, seconds, limit):
    said = retrained(changed(given, "info.json", lambda body: body.update(seconds=seconds)))
    assert said.endswith("tidak dapat diulang (direkam)") and asked["seconds"] == limit
    asked.clear()
    retrained(setting(given, epochs=11))  # more than five times the preset's
    assert not asked


@pytest.mark.parametrize(("native", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_what_this_processor_would_emulate_is_trained_in_float32_and_said(
    given, asked, monkeypatch, native, precision
):
    monkeypatch.setattr(again.precision, "native", lambda device: native)
    said = retrained(setting(given, precision="bfloat16"))
    assert asked["config"]["precision"] == asked["study"]["precision"] == precision
    assert ("float32" in said) is not native


ODD = (b"{}", b"[]", b"x", b'{"config": {"epochs": 1e9}}', b'{"config": {"lr": "x"}}')


@pytest.mark.parametrize("config", ODD)
def test_an_odd_config_is_said_and_trains_nothing(given, asked, config):
    odd = changed(given, "config.json", lambda body: config)
    assert "tidak dapat diulang" in retrained(odd, boxed=False) and not asked


def test_an_hour_bounds_what_is_trained_again():
    one = claims.Claim("cocok", key="k", seconds=600)
    claimed = {f"m{i}": one for i in range(40)} | {"x": claims.Claim("rusak", key="k")}
    assert again.drawn(claimed, "0", "s") == []
    everyone = again.drawn(claimed, "all", "s")
    assert sorted(everyone) == sorted(claimed.keys() - {"x"})
    assert again.drawn(claimed, "1", "s") == everyone[:6] != again.drawn(claimed, "1", "t")
    assert again.drawn({"m": dataclasses.replace(one, seconds=1e6)}, "1", "s") == ["m"]
