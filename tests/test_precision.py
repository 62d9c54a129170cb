"""PRECISION=auto: bfloat16 only where the device has it, the shipped study shows it to be as good, and it pays."""

import json

import pytest
import torch

from cxr_helpers.engine import files, precision
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import open_study

CPU = torch.device("cpu")


def shown(folder, *rows: bool) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(
        json.dumps({"precisions": [{"shown": one} for one in rows]})
    )


@pytest.fixture
def study_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "REFERENCE", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("native", "rows", "gain", "wanted"),
    [
        (True, (True, True), 1.5, "bfloat16"),
        (False, (True, True), 1.5, "float32"),  # emulated
        (True, (True, False), 1.5, "float32"),  # not shown for the combination
        (True, (True, True), 1.1, "float32"),  # does not pay
    ],
)
def test_auto_asks_for_all_three(study_folder, monkeypatch, native, rows, gain, wanted):
    shown(study_folder, *rows)
    monkeypatch.setattr(precision, "native", lambda device: native)
    monkeypatch.setattr(precision, "gain", lambda device: gain)
    assert precision.pick("auto", CPU) == wanted
    assert [precision.pick(name, CPU) for name in ("float32", "bfloat16")] == [
        "float32",
        "bfloat16",
    ]


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "{}", '{"precisions": []}', '{"precisions": [{}]}', '{"precisions": 3}'],
)
def test_a_study_that_is_missing_or_says_nothing_shows_nothing(study_folder, content):
    if content is not None:
        (study_folder / "results.json").write_text(content)
    assert not precision.equivalent()


def test_what_is_slow_is_never_timed(study_folder, monkeypatch):
    """The emulation takes seconds a step."""
    shown(study_folder, True)
    monkeypatch.setattr(precision, "native", lambda device: False)
    monkeypatch.setattr(precision, "gain", lambda device: pytest.fail("timed"))
    assert precision.pick("auto", CPU) == "float32"


def test_old_pytorch_and_a_mac_are_taken_to_have_none(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not precision.native(CPU) and not precision.native(torch.device("mps"))
    with pytest.raises(InputError, match="GPU Apple"):
        precision.pick("bfloat16", torch.device("mps"))


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)],
)
def test_the_processor_says_what_it_has(monkeypatch, flags, wanted):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    assert precision.native(CPU) is wanted


def test_the_gain_is_measured_once(monkeypatch):
    precision.gain.cache_clear()
    first = precision.gain(CPU)
    assert first > 0
    monkeypatch.setattr(precision, "_step", lambda *_: pytest.fail("measured again"))
    assert precision.gain(CPU) == first


def test_notebooks_take_what_the_build_has_decided(tmp_path, monkeypatch):
    """`auto` was answered once, before the first notebook (report/sources.py); who names a precision gets that one."""
    before = open_study("phantom", "random", "smoke", device="cpu", precision="float32")
    fields = {
        name: str(value) if name in ("path", "truth") else value
        for name, value in vars(before.data.source).items()
    }
    choice = {"source": fields, "weights": "random", "weights_note": "", "precision": "bfloat16"}
    (tmp_path / "sources").write_text(json.dumps(choice))
    monkeypatch.setenv(files.SOURCES, str(tmp_path / "sources"))
    for given, wanted in (("auto", "bfloat16"), ("float32", "float32")):
        study = open_study("phantom", "random", "smoke", device="cpu", precision=given)
        assert (
            study.precision == study.config().precision == study.provenance()["precision"] == wanted
        )
