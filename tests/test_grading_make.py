"""The commands as an instructor types them: hand out, collect, grade, mark, publish; refused, killed, and gone on with."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time

import pytest

from grading import box, bundle
from tests import grading_class as made
from tests.conftest import ROOT, Project, environment

REFUSED = box.refusal()
boxed = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))


@pytest.fixture
def school(tmp_path) -> Project:
    """A project whose notebooks are the small course, and six hand-ins in kelas/."""
    (tmp_path / "proyek").mkdir()
    project = Project(tmp_path / "proyek")
    made.course_folder(tmp_path / "kuliah")
    for path in (project.folder / "notebooks").glob("0*.ipynb"):
        path.unlink()
    shutil.copytree(tmp_path / "kuliah/notebooks", project.folder / "notebooks", dirs_exist_ok=True)
    for part, name in (("solutions", "solutions"), ("kunci", "keys")):
        shutil.rmtree(project.folder / "grading" / name, ignore_errors=True)
        shutil.copytree(tmp_path / "kuliah" / part, project.folder / "grading" / name)
    class_ = [
        made.Planted(f"13000{i}.zip", made.zipped(made.texts(made.GOOD, f"13000{i}")))
        for i in range(6)
    ]
    made.lay_out(class_, tmp_path / "kelas")
    return project


@boxed
def test_hand_out_collect_grade_mark(school):
    base = school.folder.parent
    given = school.make("tugas", f"OUT={base}/tugas")
    assert given.returncode == 0 and "5 bagian" in given.stdout, given.stdout
    assert (
        not list((base / "tugas/mahasiswa").rglob("solutions"))
        and (base / "tugas/pengajar/solusi/akurasi.py").exists()
    )
    grading = (
        "nilai",
        f"KUMPULAN={base}/kelas",
        f"KUNCI={base}/tugas/pengajar",
        "BATAS=2026-11-19 08:00+00:00",
    )
    first = school.make(*grading)
    assert first.returncode == 0 and "6 kumpulan dinilai" in first.stdout, first.stdout
    out = school.folder / "build/nilai"
    assert len(list((out / "mahasiswa").glob("*.html"))) == 6
    marks = (
        (out / "tangan.csv")
        .read_text("utf-8-sig")
        .replace("130003;esai-bocor;;", "130003;esai-bocor;4,5;tepat")
    )
    (out / "tangan.csv").write_text(marks, "utf-8-sig")
    second = school.make(*grading)
    assert second.returncode == 0 and "Tidak ada kumpulan baru" in second.stdout, second.stdout
    line = next(
        row
        for row in (out / "nilai.csv").read_text("utf-8-sig").splitlines()
        if row.startswith("130003")
    )
    assert ";14,5;15;0;" in line and "tepat" in (out / "mahasiswa/130003.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nilai",), "berikan folder yang berisi kumpulan"),
        (("nilai", "KUMPULAN=tidak-ada"), "folder itu tidak ada"),
        (("nilai", "KUMPULAN=.", "ULANG=2"), "ULANG=2 tidak dikenal"),
        (("nilai", "KUMPULAN=.", "BATAS=besok"), "BATAS=besok tidak dapat dibaca"),
        (("nilai", "KUMPULAN=.", "KUNCI=tidak-ada"), "KUNCI=tidak-ada"),
        (("tugas",), "berikan folder baru"),
        (("tugas", "OUT=build"), "di dalam repositori"),
        (("tantangan",), "bukan folder dari `make tugas`"),
        (("tantangan", "OUT=tidak-ada"), "OUT=tidak-ada bukan folder"),
        (("bundel",), "bukan folder dari `make tugas`"),
        (("bundel", "OUT=tidak-ada"), "OUT=tidak-ada bukan folder"),
    ],
)
def test_wrong_words_are_answered_with_one_line(school, words, why):
    said = school.make(*words)
    assert said.returncode == 2 and why in said.stdout and "Traceback" not in said.stdout, (
        said.stdout
    )


def test_a_bundle_holds_what_is_handed_out_and_the_packages_alone(tmp_path):
    for name in (
        "mahasiswa/cxr_helpers/x.py",
        "mahasiswa/data/phantom.npz",
        "mahasiswa/runs/k/info.json",
        "mahasiswa/.venv/x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    for name in ("pengajar/rahasia.json", "wheels/a.whl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    size = bundle.pack(tmp_path / "mahasiswa", tmp_path / "wheels", tmp_path / bundle.name())
    with tarfile.open(tmp_path / bundle.name()) as archive:
        found = sorted(member.name for member in archive if member.isfile())
    assert found == ["cxr/cxr_helpers/x.py", "cxr/data/phantom.npz", "cxr/wheels/a.whl"]
    assert size == (tmp_path / bundle.name()).stat().st_size and bundle.name().startswith("bundel-")


def test_of_the_lock_a_bundle_takes_what_a_cpu_needs():
    lock = (ROOT / "requirements.txt").read_text("utf-8")
    kept = subprocess.run(
        ["awk", "-f", ROOT / "report/cpu.awk"],
        input=lock,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = set(re.findall(r"^([\w-]+)==", kept, re.M))
    assert {"torch", "numpy", "uv", "nvidia-cublas"} <= names and not {
        "triton",
        "nvidia-cusolver",
    } & names
    assert kept.count("--hash=") > 500


def test_without_the_box_it_is_refused_and_goes_on_only_when_told(school, tmp_path):
    """A machine without bubblewrap: a PATH that holds the rest."""
    bare = tmp_path / "bin"
    bare.mkdir()
    for program in ("git", "uname", "env"):
        if found := shutil.which(program):
            (bare / program).symlink_to(found)
    command = [sys.executable, "-m", "grading", "nilai"]
    where = environment() | {
        "PYTHONPATH": str(school.folder),
        "PATH": str(bare),
        "KUMPULAN": str(tmp_path / "kelas"),
        "PYTHONUTF8": "1",
    }
    run = {"cwd": school.folder, "capture_output": True, "text": True, "timeout": 300}
    for path in sorted((tmp_path / "kelas").iterdir())[1:]:
        path.unlink()
    refused = subprocess.run(command, env=where, **run)
    assert (
        refused.returncode == 2
        and "bwrap belum terpasang" in refused.stderr
        and refused.stderr.count("\n") == 1
    )
    done = subprocess.run(command, env=where | {"TANPA_KOTAK": "1"}, **run)
    assert done.returncode == 0, done.stderr
    assert "tanpa kotak" in (school.folder / "build/nilai/nilai.csv").read_text("utf-8-sig")
    assert "tanpa kotak" in (school.folder / "build/nilai/mahasiswa/130000.html").read_text("utf-8")


@boxed
def test_killed_in_the_middle_it_goes_on(school, tmp_path):
    where = environment() | {
        "PYTHONPATH": str(school.folder),
        "KUMPULAN": str(tmp_path / "kelas"),
        "PYTHONUTF8": "1",
    }
    command = [sys.executable, "-m", "grading", "nilai"]
    process = subprocess.Popen(command, cwd=school.folder, env=where, start_new_session=True)
    kept = school.folder / "build/nilai/hasil"
    until = time.monotonic() + 240
    while not list(kept.glob("*.json")) and time.monotonic() < until and process.poll() is None:
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {path.name: path.stat().st_mtime_ns for path in kept.glob("*.json")}
    assert 1 <= len(before) < 6
    done = subprocess.run(
        command, cwd=school.folder, env=where, capture_output=True, text=True, timeout=300
    )
    assert f"{6 - len(before)} kumpulan dinilai; 6 mahasiswa" in done.stdout, (
        done.stdout + done.stderr
    )
    assert all((kept / name).stat().st_mtime_ns == when for name, when in before.items())
