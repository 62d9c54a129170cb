"""What `make lab DATA=… SEED=…` says reaches the notebooks opened there, unless their own cell says otherwise."""

import json
import os
import subprocess
import sys

import pytest

from cxr_helpers.engine import settings
from cxr_helpers.study import open_study
from tests.conftest import ROOT, environment


@pytest.fixture
def lab(monkeypatch, tmp_path_factory):
    """As a kernel of `make lab DATA=phantom WEIGHTS=random PRESET=smoke SEED=7` finds its environment."""
    given = {
        "DATA": "phantom",
        "WEIGHTS": "random",
        "PRESET": "smoke",
        "SEED": "7",
        "DEVICE": "cpu",
        "SIZE": "28",
        settings.LAB: "1",
    }
    folder = tmp_path_factory.getbasetemp() / "study"
    for name, value in (
        given | {"CXR_DATA": str(folder / "data"), "CXR_RUNS": str(folder / "runs")}
    ).items():
        monkeypatch.setenv(name, value)


def test_what_make_lab_was_given_takes_the_place_of_a_default(lab, capsys):
    study = open_study("auto", "auto", "auto", 0, "auto", 28)
    assert (study.used.source.kind, study.weights.kind, study.preset.name, study.seed) == (
        "phantom",
        "random",
        "smoke",
        7,
    )
    assert (
        "Dari make lab: DATA=phantom, WEIGHTS=random, PRESET=smoke, SEED=7, DEVICE=cpu."
        in capsys.readouterr().out
    )


def test_what_a_cell_says_itself_stays_and_outside_the_lab_nothing_is_taken(lab, monkeypatch):
    given = settings.of_lab(data="auto", seed=3, size=28)
    assert given == {"data": "phantom", "seed": 3, "size": 28}
    monkeypatch.delenv(settings.LAB)
    assert settings.of_lab(data="auto", seed=0) == {"data": "auto", "seed": 0}


def test_make_lab_hands_its_settings_to_jupyterlab(tmp_path):
    stub = tmp_path / "python"
    stub.write_text(
        f'#!/bin/sh\n[ "$2" = jupyterlab ] && echo "${settings.LAB} $DATA $PRESET $SEED" || exit 0\n'
    )
    stub.chmod(0o755)
    words = [
        "lab",
        "DATA=phantom",
        "PRESET=smoke",
        "SEED=7",
        f"PYTHON={stub}",
        f"BUILD={tmp_path / 'build'}",
    ]
    done = subprocess.run(
        ["make", "-s", *words], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert (
        done.returncode == 0 and done.stdout.strip() == f"1 phantom smoke 7{os.linesep}".strip()
    ), done.stdout + done.stderr


def test_the_lab_has_the_seed_of_the_report_of_the_same_student(tmp_path):
    """Else a student trains everything twice, and discusses other numbers than the report's."""
    stub = tmp_path / "python"
    stub.write_text(
        f'#!/bin/sh\n[ "$2" = jupyterlab ] && echo "seed $SEED" || exec {sys.executable} "$@"\n'
    )
    stub.chmod(0o755)
    (tmp_path / "build").mkdir()
    seeds = []
    for cover in ({}, {"name": "Siti Contoh", "nim": "2101234"}):
        (tmp_path / "build/.cover").write_text(json.dumps(cover))
        words = ["make", "-s", "lab", f"PYTHON={stub}", f"BUILD={tmp_path / 'build'}"]
        done = subprocess.run(words, cwd=ROOT, env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seeds.append(done.stdout.split("seed ")[1].strip())
    assert seeds == ["0", str(settings.seed_of("2101234"))]
