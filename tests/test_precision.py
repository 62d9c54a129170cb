"""PRECISION=auto: bfloat16 where the device has it, the study shows it as good, and it pays."""

import json

import pytest
import torch

from cxr_helpers.engine import files, precision
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import open_study
from tests.medmnist_files import made, written

CPU = torch.device("cpu")


@pytest.fixture
def study_file(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "REFERENCE", tmp_path)
    return tmp_path / "results.json"


@pytest.mark.parametrize(
    ("native", "shown", "gain", "wanted"),
    [
        (True, (True, True), 1.21, "bfloat16"),
        (False, (True, True), None, "float32"),  # emulated: a step takes seconds, none is timed
        (True, (True, False), 1.5, "float32"),  # not shown for the combination
        (True, (), 1.5, "float32"),
        (True, (True, True), 1.2, "float32"),  # does not pay
    ],
)
def test_auto_asks_for_all_three(study_file, monkeypatch, native, shown, gain, wanted):
    rows = [{"shown": one} for one in shown]
    study_file.write_text(json.dumps({"precisions": rows}))
    monkeypatch.setattr(precision, "native", lambda device: native)
    monkeypatch.setattr(precision, "gain", lambda device: gain or pytest.fail("timed"))
    assert precision.pick("auto", CPU) == wanted
    for named in ("float32", "bfloat16"):
        assert precision.pick(named, CPU) == named


@pytest.mark.parametrize(
    "content", [None, "", "{", "[]", "{}", '{"precisions": [{}]}', '{"precisions": 3}']
)
def test_a_study_that_is_missing_or_says_nothing_shows_nothing(study_file, content):
    if content is not None:
        study_file.write_text(content)
    assert not precision.equivalent()


@pytest.mark.parametrize("name", ["avx512_bf16", "amx_bf16", "avx2"])
def test_the_processor_says_what_it_has_and_a_mac_has_none(monkeypatch, name):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {name: True}, raising=False)
    assert precision.native(CPU) == (name != "avx2") and not precision.native(torch.device("mps"))
    with pytest.raises(InputError, match="bfloat16"):
        precision.pick("bfloat16", torch.device("mps"))
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # an older PyTorch
    assert not precision.native(CPU)


def test_the_gain_is_measured_once(monkeypatch):
    monkeypatch.setattr(precision, "ROUNDS", 1)  # where bfloat16 is emulated, a step takes long
    precision.gain.cache_clear()
    first = precision.gain(CPU)
    assert first > 0 and precision.gain(CPU) == first and precision.gain.cache_info().misses == 1
    precision.gain.cache_clear()


def test_notebooks_take_what_the_build_has_decided(tmp_path, monkeypatch):
    """`auto` was answered once, before the first notebook; who names a precision gets that one."""
    path = str(written(tmp_path / "pneumoniamnist.npz", made("pneumoniamnist")))
    before = open_study(path, "random", "smoke", device="cpu", precision="float32")
    source = vars(before.data.source) | {"path": path}
    choice = {"source": source, "weights": "random", "weights_note": "", "precision": "bfloat16"}
    (tmp_path / "sources").write_text(json.dumps(choice))
    monkeypatch.setenv(files.SOURCES, str(tmp_path / "sources"))
    for given, wanted in (("auto", "bfloat16"), ("float32", "float32")):
        study = open_study("auto", "random", "smoke", device="cpu", precision=given)
        assert study.precision == study.config().precision == wanted
        assert study.provenance()["precision"] == wanted
