"""The commands as an instructor types them: hand out, grade, mark, and what is refused."""

import re
import shutil
import subprocess
import tarfile
from importlib import import_module

import pytest

from cxr_helpers.engine.errors import InputError
from grading import box, bundle, grade
from grading.__main__ import COMMANDS
from tests import grading_class as made
from tests.conftest import ROOT, Project


@pytest.fixture
def school(tmp_path) -> Project:
    """A project with one notebook of the small course, and a hand-in in kelas/."""
    (tmp_path / "proyek").mkdir()
    project = Project(tmp_path / "proyek")
    (made.course_folder(tmp_path / "kuliah") / f"notebooks/{made.FIRST}.ipynb").unlink()
    places = {"notebooks": "notebooks", "solutions": "grading/solutions", "kunci": "grading/keys"}
    for part, place in places.items():
        for path in (project.folder / place).glob("*.*"):
            path.unlink()
        shutil.copytree(tmp_path / "kuliah" / part, project.folder / place, dirs_exist_ok=True)
    one = made.Planted("130003.zip", made.zipped(made.texts(made.GOOD, "130003")))
    made.lay_out([one], tmp_path / "kelas")
    return project


def test_refused_hand_out_then_grade_without_the_box_with_a_mark_by_hand(school):
    base, out = school.folder.parent, school.folder / "build/nilai"
    refused = school.make("tugas", "OUT=build")
    assert refused.returncode == 2 and "di dalam repositori" in refused.stdout
    assert "Traceback" not in refused.stdout
    given = school.make("tugas", f"OUT={base}/tugas")
    assert given.returncode == 0 and "2 bagian" in given.stdout, given.stdout
    assert not list((base / "tugas/mahasiswa").rglob("solutions"))
    out.mkdir(parents=True)
    (out / "tangan.csv").write_text("nim;bagian;poin;catatan\n130003;esai-bocor;4,5;tepat\n")
    words = ("nilai", f"KUMPULAN={base}/kelas", f"KUNCI={base}/tugas/pengajar", "TANPA_KOTAK=1")
    graded = school.make(*words, "BATAS=2026-11-19 08:00+00:00")
    assert graded.returncode == 0 and "1 kumpulan dinilai" in graded.stdout, graded.stdout
    (line,) = (out / "nilai.csv").read_text("utf-8-sig").splitlines()[1:]
    assert line.startswith("130003;") and ";6,5;7;0;10;5,85;" in line and "tanpa kotak" in line
    page = (out / "mahasiswa/130003.html").read_text("utf-8")
    assert "tepat" in page and "tanpa kotak" in page


SETTINGS = ("KUMPULAN", "KUNCI", "BATAS", "ULANG", "TANPA_KOTAK", "OUT")


@pytest.mark.parametrize(
    ("word", "given", "why"),
    [
        ("nilai", {}, "KUMPULAN="),
        ("nilai", {"KUMPULAN": "tidak-ada"}, "KUMPULAN=tidak-ada"),
        ("nilai", {"KUMPULAN": ".", "ULANG": "2"}, "ULANG=2"),
        ("nilai", {"KUMPULAN": ".", "BATAS": "besok"}, "BATAS=besok"),
        ("nilai", {"KUMPULAN": ".", "KUNCI": "tidak-ada"}, "KUNCI=tidak-ada"),
        ("tugas", {}, "OUT="),
        ("tugas", {"OUT": str(ROOT / "build")}, "di dalam repositori"),
        ("tantangan", {}, "make tugas"),
        ("tantangan", {"OUT": "tidak-ada"}, "OUT=tidak-ada"),
        ("bundel", {"OUT": "tidak-ada"}, "OUT=tidak-ada"),
    ],
)
def test_a_wrong_setting_is_named_before_anything_is_done(word, given, why, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(box, "refusal", lambda: None)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=why):
        import_module(f"grading.{COMMANDS[word]}").main()
    assert not list(tmp_path.glob("*/nilai/*.csv"))


def test_what_lies_in_the_folder_and_is_no_hand_in_is_said(tmp_path, capsys):
    for name in ("1001.zip", "1002_01_a.ipynb", "daftar hadir.docx"):
        (tmp_path / name).touch()
    assert [path.name for path in grade.handins(tmp_path)] == ["1001.zip", "1002_01_a.ipynb"]
    assert "'daftar hadir.docx'" in capsys.readouterr().out


def test_a_bundle_holds_what_is_handed_out_and_the_packages_alone(tmp_path):
    kept = ("cxr_helpers/x.py", "data/phantom.npz")
    left = ("runs/k/info.json", ".venv/x", "build/x")
    content = {f"mahasiswa/{name}": "x" for name in (*kept, *left)}
    content |= {"pengajar/rahasia.json": "x", "wheels/a.whl": "x"}
    made.lay_out([made.Planted("tugas", content)], tmp_path)
    base, target = tmp_path / "tugas", tmp_path / bundle.name()
    size = bundle.pack(base / "mahasiswa", base / "wheels", target)
    with tarfile.open(target) as archive:
        found = sorted(member.name for member in archive if member.isfile())
    assert found == [*(f"cxr/{name}" for name in kept), "cxr/wheels/a.whl"]
    assert size == target.stat().st_size and bundle.name().startswith("bundel-")


def test_of_the_lock_a_bundle_takes_what_a_cpu_needs():
    command = ["awk", "-f", ROOT / "report/cpu.awk", ROOT / "requirements.txt"]
    kept = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"^([\w-]+)==", kept, re.M))
    assert {"torch", "numpy", "uv", "nvidia-cublas"} <= names
    assert not {"triton", "nvidia-cusolver"} & names and kept.count("--hash=") > 500
