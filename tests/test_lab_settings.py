"""Settings from the environment: those of `make lab` reach the notebooks opened there."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cxr_helpers.engine import settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import open_study
from cxr_helpers.training import TrainConfig
from tests.conftest import ROOT, environment
from tests.medmnist_files import made, written

NIM = "2101234"


@pytest.fixture
def lab(monkeypatch, tmp_path):
    """As a kernel of `make lab DATA=… WEIGHTS=random PRESET=smoke SEED=7` finds its environment."""
    path = written(tmp_path / "pneumoniamnist.npz", made("pneumoniamnist"))
    given = {"DATA": str(path), "WEIGHTS": "random", "PRESET": "smoke", "SEED": "7"}
    given |= {"DEVICE": "cpu", "PRECISION": "bfloat16", settings.LAB: "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return path


def test_what_make_lab_was_given_takes_the_place_of_a_default(lab, capsys):
    study = open_study("auto", "auto", "auto", 0, "auto", 28, classes="normal,pneumonia")
    assert study.used.source.path == lab
    assert len(study.used.train) == settings.PRESETS["smoke"].train
    assert (study.weights.kind, study.preset.name, study.seed) == ("random", "smoke", 7)
    assert study.config().precision == study.provenance()["precision"] == "bfloat16"
    said = f"Dari make lab: DATA={lab}, WEIGHTS=random, PRESET=smoke, SEED=7, DEVICE=cpu, "
    assert said + "PRECISION=bfloat16." in capsys.readouterr().out


def test_what_a_cell_says_itself_stays_and_outside_the_lab_nothing_is_taken(lab, monkeypatch):
    given = settings.of_lab(data="auto", seed=3, size=28)
    assert given == {"data": str(lab), "seed": 3, "size": 28}
    monkeypatch.delenv(settings.LAB)
    assert settings.of_lab(data="auto", seed=0) == {"data": "auto", "seed": 0}


@pytest.mark.parametrize(("words", "seed"), [(["SEED=7"], 7), ([], settings.seed_of(NIM))])
def test_jupyterlab_is_opened_with_the_settings_of_the_report(tmp_path, words, seed):
    """Of the number on the cover too: else everything would be trained twice."""
    stub = tmp_path / "python"
    shown = f'echo "lab ${settings.LAB} $DATA $PRESET $SEED"'
    stub.write_text(f'#!/bin/sh\n[ "$2" = jupyterlab ] && {shown} || exec {sys.executable} "$@"\n')
    stub.chmod(0o755)
    (tmp_path / ".cover").write_text(json.dumps({"name": "Siti", "nim": NIM}))
    words = ["lab", "DATA=phantom", "PRESET=smoke", *words, f"PYTHON={stub}", f"BUILD={tmp_path}"]
    told = {"cwd": ROOT, "env": environment(), "capture_output": True, "text": True}
    done = subprocess.run(["make", "-s", *words], **told)
    assert f"lab 1 phantom smoke {seed}\n" in done.stdout, done.stderr


@pytest.mark.parametrize("given", ["3", " 3 ", 3.0, np.int64(3), np.float32(3)])
def test_a_whole_number_is_read_as_a_shell_a_cell_or_numpy_gives_it(given):
    assert repr(settings.parse(seed=given).seed) == repr(TrainConfig(epochs=given).epochs) == "3"


@pytest.mark.parametrize("given", [None, True, 1.5, float("nan"), "1_000", "٣", "9" * 5000])
def test_what_is_no_whole_number_is_one_line(given):
    with pytest.raises(InputError, match=r"^SEED=.*bilangan bulat"):
        settings.parse(seed=given)
