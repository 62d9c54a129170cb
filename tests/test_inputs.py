"""The bench that tries what people bring tells right, one clear line and fault apart, and finds no fault (bench/inputs.py)."""

import pytest

from bench import inputs
from cxr_helpers.engine.errors import InputError


def saying(text: str):
    def run(folder):
        raise InputError(text)

    return run


@pytest.mark.parametrize(
    ("run", "line", "verdict"),
    [
        (lambda folder: None, None, "benar"),
        (lambda folder: None, "rusak", "CACAT"),  # taken, though it should be refused
        (saying("Berkas rusak: ganti."), "rusak", "baris jelas"),
        (saying("Berkas rusak: ganti."), None, "CACAT"),  # refused, though it should be taken
        (saying("Berkas rusak: ganti."), "kosong", "CACAT"),  # another reason than the right one
        (saying("Berkas rusak"), "rusak", "CACAT"),  # no sentence
        (lambda folder: 1 / 0, "rusak", "CACAT"),
    ],
)
def test_what_counts_as_a_fault(run, line, verdict):
    assert inputs.judge(inputs.Case("data", "uji", run, line))[0] == verdict


def test_a_message_is_one_line_whatever_a_name_holds():
    assert str(InputError("Berkas a\nb.npz\r\nrusak.")) == "Berkas a b.npz rusak."


def test_a_wrong_value_is_a_fault():
    def run(folder):
        raise AssertionError("label berbeda")

    assert inputs.judge(inputs.Case("data", "uji", run)) == ("CACAT", "nilai salah: label berbeda")


@pytest.mark.parametrize("cases", [inputs.data_files, inputs.settings_given])
def test_data_files_and_settings_have_no_fault(cases):
    found = cases()
    assert len(found) >= 30
    assert [
        (case.name, said)
        for case in found
        for verdict, said in [inputs.judge(case)]
        if verdict == "CACAT"
    ] == []
