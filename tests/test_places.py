"""Folders with odd names, broken notebooks, a wrong clock and what killed processes leave: each works, or gets one line."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cxr_helpers.engine import settings
from cxr_helpers.engine.errors import InputError
from report import check, execute
from tests.conftest import ROOT, Project, environment

ODD = 'ni\'la "i" $x 50% é: a&b;(c) #1'


def shell(script: str, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    command = ["sh", str(ROOT / "report" / script), *words]
    return subprocess.run(
        command, cwd=cwd, env={**os.environ, **variables}, capture_output=True, text=True
    )


def clean(folder: Path, build: str) -> subprocess.CompletedProcess:
    return shell("clean.sh", cwd=folder, BUILD=build, TYPED=build)


# --- where a build lies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["build", "../lain", "a-b_c.d+e,f@g~/h"])
def test_a_harmless_folder_is_known_by_its_own_name(tmp_path, name):
    done = shell("link.sh", name, cwd=tmp_path)
    assert done.stdout == f"{name}\n" and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["a b", ODD, "$(touch jebol)", "`touch jebol`", "*", "folder baru/lagi", "C:x", "é"]
)
def test_any_other_is_known_by_a_link_that_stays_the_same(tmp_path, name):
    link = shell("link.sh", name, cwd=tmp_path).stdout.strip()
    assert (tmp_path / link).resolve() == (tmp_path / name).resolve() and (tmp_path / name).is_dir()
    assert (
        link == shell("link.sh", name, cwd=tmp_path).stdout.strip()
        and link.replace(".build-", "").isdigit()
    )
    assert not (tmp_path / "jebol").exists()


def test_make_takes_odd_names_for_the_clone_and_the_build(tmp_path):
    folder = tmp_path / ODD
    folder.mkdir()
    project = Project(folder)
    done = subprocess.run(
        ["make", f"PYTHON={sys.executable}", f"BUILD=hasil {ODD}", "PRESET=besar", "report"],
        cwd=folder,
        env=environment() | {"LC_ALL": "C", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2
        and done.stderr.startswith("Galat: PRESET=besar")
        and "Traceback" not in done.stderr
    )
    assert (folder / f"hasil {ODD}" / ".environment").exists() and project.folder == folder


def test_neither_a_window_nor_a_ban_on_bytecode_is_passed_on(tmp_path):
    shown = "include Makefile\nshown:\n\t@env"
    command = ["make", "-f", "-", "shown", f"PYTHON={sys.executable}", f"BUILD={tmp_path}"]
    given = environment() | {
        "MPLBACKEND": "tidak_ada",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CXR_RUNS": "di sini",
    }
    done = subprocess.run(command, cwd=ROOT, input=shown, env=given, capture_output=True, text=True)
    assert done.returncode == 0 and "CXR_RUNS=di sini" in done.stdout, done.stderr
    assert "MPLBACKEND" not in done.stdout and "PYTHONDONTWRITEBYTECODE" not in done.stdout


def test_an_empty_build_is_one_line(built):
    done = built.make("report", "BUILD=")
    assert done.returncode != 0 and "BUILD tidak boleh kosong" in done.stdout


# --- make clean -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [".", "./", "notebooks/..", "$PWD"])
def test_clean_never_deletes_the_project(tmp_path, build):
    for name in ("cxr_helpers", "notebooks", "report"):
        (tmp_path / name).mkdir()
    for name in (".begin", "notebooks/a.ipynb", "report/b.py"):
        (tmp_path / name).touch()
    done = clean(tmp_path, build.replace("$PWD", str(tmp_path)))
    assert (
        done.returncode == 2
        and done.stderr.startswith("Galat: ")
        and "tidak ada yang dihapus" in done.stderr
    )
    assert (tmp_path / "notebooks/a.ipynb").exists() and (tmp_path / "report/b.py").exists()


def test_clean_leaves_a_folder_that_make_has_not_made(tmp_path):
    (tmp_path / "tugas/report").mkdir(parents=True)
    (tmp_path / "tugas/report/skripsi.docx").touch()
    assert "Tidak ada hasil" in clean(tmp_path, "tugas").stdout
    assert (tmp_path / "tugas/report/skripsi.docx").exists()


def test_clean_deletes_what_make_has_made_and_nothing_else(tmp_path):
    for name in ("results", "report", "lab", "milikku"):
        (tmp_path / "a b" / name).mkdir(parents=True)
    (tmp_path / "a b/.begin").touch()
    assert "dihapus" in clean(tmp_path, "a b").stdout
    assert [path.name for path in (tmp_path / "a b").iterdir()] == ["milikku"]
    assert clean(tmp_path, "tidak/ada").returncode == 0


@pytest.mark.parametrize("build", [ROOT, ROOT / "notebooks", ROOT / "cxr_helpers/../report"])
def test_a_build_among_the_sources_is_refused(build, monkeypatch):
    monkeypatch.delenv("TYPED", raising=False)
    before = sorted(os.listdir(build))
    with pytest.raises(InputError, match="memuat berkas proyek"):
        check.note(Path(build), "settings")
    assert sorted(os.listdir(build)) == before


# --- notebooks as they come -----------------------------------------------------------------------------------------


def notebook(*cells) -> str:
    return nbformat.writes(new_notebook(cells=list(cells)))


PARAMETERS = new_code_cell('build = "build"', metadata={"tags": ["parameters"]})
GOOD = notebook(PARAMETERS, new_markdown_cell("a\nb"))
BROKEN = {
    "kosong": ("", "kosong"),
    "spasi": ("\n \n", "kosong"),
    "terpotong": (GOOD[: len(GOOD) // 2], "terpotong"),
    "bukan json": ("halo", "terpotong"),
    "json lain": ("[1, 2]", "terpotong"),
    "json angka": ('{"nbformat": 4, "nbformat_minor": 5, "cells": 3}', "terpotong"),
    "konflik": (
        GOOD.replace('"a\\n",', '<<<<<<< HEAD\n"a\\n",\n=======\n"c\\n",\n>>>>>>> main'),
        "konflik Git pada baris",
    ),
    "konflik dalam sel": (
        notebook(PARAMETERS, new_code_cell("<<<<<<< HEAD\nx = 1\n=======\n>>>>>>> b")),
        "sel ke-2 memuat",
    ),
    "tanpa parameter": (notebook(new_code_cell("x = 1")), "tidak ada sel bertanda"),
    "parameter asing": (
        notebook(new_code_cell("lr = 1", metadata={"tags": ["parameters"]})),
        "lr tidak dikenal",
    ),
    "parameter rusak": (
        notebook(new_code_cell("seed = ", metadata={"tags": ["parameters"]})),
        "sel parameter .*baris 1",
    ),
    "tanpa sel": (notebook(), "tidak ada sel bertanda"),
}


@pytest.mark.parametrize(("text", "says"), BROKEN.values(), ids=BROKEN)
def test_a_broken_notebook_is_one_line_that_names_it(tmp_path, text, says):
    path = tmp_path / "02_pelatihan.ipynb"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=says) as caught:
        execute.parameters(path)
    assert "02_pelatihan" in str(caught.value) and "\n" not in str(caught.value)


def test_other_bytes_than_text_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "02_pelatihan.ipynb"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match="tidak dapat dibaca"):
        execute.parameters(path)
    assert execute.parameters(tmp_path / put(tmp_path, GOOD))["build"]


def put(folder: Path, text: str) -> str:
    (folder / "baik.ipynb").write_text(text, encoding="utf-8")
    return "baik.ipynb"


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Execute a notebook with these code cells behind its parameters into a build folder of its own."""
    monkeypatch.setenv("BUILD", str(tmp_path / "build"))

    def ran(*sources: str) -> Path:
        cells = [PARAMETERS, *(new_code_cell(source) for source in sources)]
        (tmp_path / "coba.ipynb").write_text(notebook(*cells), encoding="utf-8")
        execute.execute(tmp_path / "coba.ipynb", tmp_path / "build/notebooks/coba.ipynb")
        return tmp_path / "build/notebooks/coba.ipynb"

    return ran


def test_a_deleted_parameter_is_called_one(run):
    with pytest.raises(
        InputError,
        match=r"sel ke-2 \(print\(weights\)\).*terhapus dari sel parameter.*weights = 'auto'",
    ):
        run("print(weights)")


def test_a_missing_kernel_is_one_line(run, monkeypatch, tmp_path):
    monkeypatch.setattr(execute, "KERNEL", "tidak-ada")
    with pytest.raises(InputError, match=r"kernel tidak-ada tidak terpasang.*make setup"):
        run("1")


def test_what_a_killed_run_left_is_cleared_and_a_living_one_is_left_alone(run, tmp_path):
    folder = tmp_path / "build/notebooks"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f".sementara-{ended.pid}-ab", ".sementara-tua", f".sementara-{os.getpid()}-cd"):
        (folder / name).mkdir(parents=True)
    shown = json.loads(run("print(1 + 1)").read_text("utf-8"))["cells"][-1]["outputs"][0]["text"]
    assert shown == ["2\n"]
    assert [path.name for path in folder.glob(".sementara-*")] == [f".sementara-{os.getpid()}-cd"]


def test_a_long_cell_is_no_silence(run, monkeypatch, capsys):
    monkeypatch.setattr(execute, "SILENT", 0.3)
    run("1", "import time\ntime.sleep(5)", "2")
    said = [line for line in capsys.readouterr().out.splitlines() if "sel ke-" in line]
    assert len(said) >= 2 and any(
        re.fullmatch(r"coba: sel ke-3 dari 4, .* …\.{5}", line) for line in said
    )
    time.sleep(1)
    assert capsys.readouterr().out == ""  # it ends with the notebook


# --- clock, cores ---------------------------------------------------------------------------------------------------


def test_files_from_the_future_are_dated_now(tmp_path, monkeypatch):
    for name in ("notebooks", "cxr_helpers"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    old, ahead = tmp_path / "notebooks/a.ipynb", tmp_path / "cxr_helpers/b.py"
    for path, when in ((old, 1000), (ahead, time.time() + 90_000)):
        path.touch()
        os.utime(path, (when, when))
    check.note(tmp_path / "build", "settings")
    assert old.stat().st_mtime == 1000 and ahead.stat().st_mtime <= time.time()


def test_more_processes_than_cores_are_not_started():
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert settings.parse_jobs(1024) == (there, "") and settings.parse_jobs(64, "dask://a:1") == (
        64,
        "dask://a:1",
    )
