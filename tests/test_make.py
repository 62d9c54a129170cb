"""make as a person uses it: what it rebuilds, what it says, what it leaves alone on bad input."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest

from cxr_helpers.engine import settings
from cxr_helpers.engine.errors import InputError
from report import check, execute
from tests.conftest import ROOT, SETTINGS, Project, environment

CHAPTERS = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
BARE = [word for word in SETTINGS if not word.startswith(("NAME=", "NIM="))]
NOTHING = "Tidak ada yang perlu dikerjakan"
LAST = "05_percobaan"


@pytest.fixture
def project(built, tmp_path) -> Project:
    """A copy that a test may change; data and trainings stay where they are."""
    copy = object.__new__(Project)
    there = shutil.ignore_patterns("data", "runs")
    copy.folder = shutil.copytree(built.folder, tmp_path / "project", ignore=there)
    for name in ("data", "runs"):
        (copy.folder / name).symlink_to(built.folder / name)
    return copy


def changed(before: dict, after: dict) -> set[str]:
    """Names of the outputs that are new or written anew."""
    return {os.path.basename(path) for path in after if after[path] != before.get(path)}


def galat(text: str) -> str:
    """The one line for the person; fails if there are more, or a traceback."""
    lines = [line for line in text.splitlines() if line.startswith("Galat:")]
    assert len(lines) == 1 and "Traceback" not in text, text
    return lines[0]


def edit(project: Project, words: str, source: str) -> int:
    """Rewrite the last notebook's first cell with these words, as a student does; its number."""
    path = project.folder / f"notebooks/{LAST}.ipynb"
    notebook = nbformat.read(path, 4)
    at = next(i for i, cell in enumerate(notebook.cells) if words in cell.source)
    notebook.cells[at].source = source
    nbformat.write(notebook, path)
    return at + 1


def test_without_a_change_no_work_is_done_and_the_name_stays(project):
    before = project.outputs()
    assert "menjalankan kelima notebook" in project.make().stdout  # the help
    path = project.folder / "notebooks/02_pelatihan.ipynb"
    opened = json.loads(path.read_text("utf-8"))  # by JupyterLab, which notes the version of Python
    opened["metadata"]["language_info"] = {"name": "python", "version": "3.12.0"}
    path.write_text(json.dumps(opened), "utf-8")
    for words in (SETTINGS, BARE):
        done = project.make(*words)
        assert done.returncode == 0 and NOTHING in done.stdout
    assert project.outputs() == before


def test_a_new_hypothesis_and_number_run_one_notebook_and_the_report_again(project):
    before = project.outputs()
    edit(project, "ResNet-18 dengan sebelas juta", "Saya menduga ABCXYZ.")
    done = project.make(*BARE, "NIM=99")
    assert done.returncode == 0, done.stdout
    report = {f"laporan.{kind}" for kind in ("ipynb", "html", "pdf")}
    own = {f"{LAST}.{kind}" for kind in ("ipynb", "html")}  # whose words alone have changed
    assert changed(before, project.outputs()) == own | report
    page = (project.folder / "build/report/laporan.html").read_text("utf-8")
    assert "Siti &lt;b&gt;Rahma" in page and "99" in page and "13/22.TK-01" not in page
    assert "Saya menduga ABCXYZ." in page


def planned(project: Project, path: str) -> set[str]:
    """What a changed file would run: names of notebooks, "sources", pages with their ending."""
    keep = ["-o", "build/.settings", "-o", "build/.cover"]
    done = project.make("-n", *keep, *SETTINGS, "BUILD=build", "-W", path)
    assert done.returncode == 0, done.stdout
    run = re.findall(r"-m report\.(?:execute \S+/(\w+)\.ipynb |(sources))", done.stdout)
    typeset = re.findall(r"-m report\.exporters .* \S+/(\w+\.(?:html|pdf))", done.stdout)
    return {name for names in run for name in names if name} | set(typeset)


PAGES = {*(f"{name}.html" for name in [*CHAPTERS, "laporan"]), "laporan.pdf"}


@pytest.mark.parametrize(
    ("path", "run"),
    [
        ("cxr_helpers/overfitting.py", {"sources", *CHAPTERS, "laporan"}),
        ("notebooks/text/04_perbaikan.md.j2", {"04_perbaikan", "laporan"}),
        ("notebooks/05_percobaan.ipynb", {LAST, "laporan"}),
        ("notebooks/text/laporan.md.j2", {"laporan"}),
        ("report/compare.py", set()),
        ("build/.cover", {"laporan"}),
        ("build/.settings", {"sources", *CHAPTERS, "laporan"}),
        ("report/templates/laporan.css", PAGES),
    ],
)
def test_what_a_changed_file_runs_anew(built, path, run):
    """Whatever runs is typeset too, and the report with it."""
    pages = {page for page in PAGES if page.split(".")[0] in run}
    assert planned(built, path) == run | pages


def processes_in(folder: Path) -> list[str]:
    """The command lines of the processes that work in a folder or below it."""
    found = psutil.process_iter(["cwd", "cmdline"])  # None where we may not look
    ours = [one.info for one in found if Path(one.info["cwd"] or "/").is_relative_to(folder)]
    return [" ".join(about["cmdline"]) for about in ours if about["cmdline"]]


def test_ctrl_c_says_how_to_go_on_and_leaves_nobody_behind(project, tmp_path):
    """Notebook 04 with N_JOBS=2 is stopped while it trains: on two cores in two processes."""
    before, store = project.outputs(), tmp_path / "store"
    workers = 2 if settings.cores() > 1 else 0
    (project.folder / "notebooks/text/04_perbaikan.md.j2").touch()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job would ignore it
    process = subprocess.Popen(
        ["make", *SETTINGS, "N_JOBS=2", f"PYTHON={sys.executable}"],
        cwd=project.folder,
        env=environment() | {"CXR_RUNS": str(store)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,  # a process group of its own, as a terminal starts it
    )
    working = []
    while process.poll() is None and (
        len(list(store.glob("*/config.json"))) < max(1, workers)
        or sum("popen_loky" in line for line in working) < workers
    ):
        time.sleep(0.1)
        working = processes_in(project.folder)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    said, _ = process.communicate(timeout=180)  # its pipe is open until the last process has ended
    assert sum("popen_loky" in line for line in working) == workers, said
    assert process.returncode != 0 and "Traceback" not in said
    assert "Jalankan perintah yang sama" in said, said
    assert not processes_in(project.folder)
    assert project.outputs() == before
    assert not list((project.folder / "build").rglob(f"{execute.STAGING}*"))


def test_a_failed_notebook_is_named_with_its_cell_and_nothing_is_lost(project):
    before = project.outputs()
    number = edit(project, "import torch", "1 / 0")
    done = project.make(*SETTINGS)
    line = galat(done.stdout)
    assert done.returncode != 0 and LAST in line and f"sel ke-{number} " in line
    assert "1 / 0" in line and "ZeroDivisionError" in line
    assert project.outputs() == before


def test_results_of_another_student_are_not_joined(tmp_path, monkeypatch):
    monkeypatch.setenv("BUILD", str(tmp_path))
    (tmp_path / "results").mkdir()
    other = {"provenance": {"student": {"name": "Orang Lain", "nim": "7"}}}
    (tmp_path / "results/02_pelatihan.json").write_text(json.dumps(other), "utf-8")
    output = tmp_path / "notebooks/05_percobaan.ipynb"
    with pytest.raises(InputError, match=r"02_pelatihan.*Orang Lain"):
        execute.execute(ROOT / "notebooks/05_percobaan.ipynb", output)
    assert not output.exists()


BAD = "PRESET=besar SEED=-1 DEVICE=tpu PRECISION=float16 SEEDS=0 REPEAT=semua N_JOBS=0 CLUSTER=dask"
BAD += " SIZE=30 DATA=tidak-ada.npz WEIGHTS=tidak-ada.pth"


@pytest.mark.parametrize("word", BAD.split())
def test_a_bad_setting_is_named_and_nothing_is_noted(tmp_path, monkeypatch, word):
    name, value = word.split("=")
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=word):
        check.note(tmp_path, "settings")
    assert not list(tmp_path.iterdir())


# The last shows only when it is opened.
@pytest.mark.parametrize("word", ["PRESET=besar", "BUILD=Makefile", "DATA=terpotong.npz"])
def test_what_is_wrong_gets_one_line_and_costs_nothing(project, word):
    phantom = next(p for p in project.folder.glob("data/phantom*.npz") if "truth" not in p.name)
    content = phantom.read_bytes()
    (project.folder / "terpotong.npz").write_bytes(content[: len(content) // 2])
    before = project.outputs()
    done = project.make(*SETTINGS, word)
    assert done.returncode != 0 and any(part in galat(done.stdout) for part in word.split("="))
    assert NOTHING in project.make(*SETTINGS).stdout and project.outputs() == before
