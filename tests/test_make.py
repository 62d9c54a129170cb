"""make as a person uses it: what it rebuilds, what it says, and what it leaves alone when something is wrong."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from report import depends
from tests.conftest import ROOT, SETTINGS, environment


def changed(before: dict, after: dict) -> set[str]:
    """Names (without folder and ending) of the outputs that are new or written anew."""
    return {os.path.basename(path) for path in after if after[path] != before.get(path)}


def galat(text: str) -> str:
    """The one line for the person; fails if there are more, or a traceback."""
    lines = [line for line in text.splitlines() if line.startswith("Galat:")]
    assert len(lines) == 1 and "Traceback" not in text, text
    return lines[0]


# --- what is rebuilt ------------------------------------------------------------------------------------------------


def test_help_is_indonesian_and_the_default(built):
    done = built.make()
    assert (
        done.returncode == 0
        and "make report" in done.stdout
        and "menjalankan kelima notebook" in done.stdout
    )


def test_second_report_does_no_work(built):
    before = built.outputs()
    done = built.make(*SETTINGS)
    assert done.returncode == 0 and "Tidak ada yang perlu dikerjakan" in done.stdout
    assert built.outputs() == before


def test_a_notebook_that_jupyterlab_has_only_opened_is_not_run_again(built):
    path = built.folder / "notebooks/02_pelatihan.ipynb"
    good, state, before = path.read_text("utf-8"), path.stat(), built.outputs()
    opened = json.loads(good)
    opened["metadata"]["language_info"] = {"name": "python", "version": "3.12.0"}
    path.write_text(json.dumps(opened), "utf-8")
    done = built.make(*SETTINGS)
    path.write_text(good, "utf-8")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert done.returncode == 0 and "Tidak ada yang perlu dikerjakan" in done.stdout
    assert built.outputs() == before


def test_a_changed_template_typesets_only(built):
    before = built.outputs()
    (built.folder / "report/templates/laporan.css").touch()
    assert built.make(*SETTINGS).returncode == 0
    pages = {f"{path.stem}.html" for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert len(pages) == 5 and changed(before, built.outputs()) == {
        "laporan.html",
        "laporan.pdf",
        *pages,
    }


def test_a_changed_helper_runs_its_notebook_only(built):
    before = built.outputs()
    (built.folder / "cxr_helpers/claims.py").touch()
    done = built.make(*SETTINGS)
    assert done.returncode == 0, done.stdout
    own = {f"03_analisis_overfitting.{kind}" for kind in ("ipynb", "json", "html")}
    expected = {*own, "laporan.ipynb", "laporan.html", "laporan.pdf"}
    assert changed(before, built.outputs()) == expected


def test_a_changed_name_makes_the_report_again_but_no_notebook(built):
    before = built.outputs()
    done = built.make(*(word.replace("Siti", "Sari") for word in SETTINGS))
    assert done.returncode == 0, done.stdout
    assert changed(before, built.outputs()) == {"laporan.ipynb", "laporan.html", "laporan.pdf"}
    assert built.make(*SETTINGS).returncode == 0


def test_the_name_stays_until_it_is_changed(built):
    before = built.outputs()
    bare = [word for word in SETTINGS if not word.startswith(("NAME=", "NIM="))]
    assert (
        "Tidak ada yang perlu dikerjakan" in built.make(*bare).stdout and built.outputs() == before
    )
    assert built.make(*bare, "NIM=99").returncode == 0
    page = (built.folder / "build/report/laporan.html").read_text("utf-8")
    assert "Siti &lt;b&gt;Rahma" in page and "99" in page and "13_22*01" not in page
    assert built.make(*SETTINGS).returncode == 0


def test_results_of_another_student_or_seed_are_not_joined(built):
    path = built.folder / "build/results/02_pelatihan.json"
    good, before = path.read_bytes(), built.outputs()
    for place, value, says in (
        ("student", {"name": "Orang Lain", "nim": "7"}, "Orang Lain"),
        ("seed", 5, "seed"),
    ):
        body = json.loads(good)
        body["provenance"][place] = value
        path.write_text(json.dumps(body), encoding="utf-8")
        (built.folder / "report/laporan.ipynb").touch()
        done = built.make(*SETTINGS)
        assert (
            done.returncode != 0
            and says in galat(done.stdout)
            and "02_pelatihan" in galat(done.stdout)
        )
    path.write_bytes(good)
    assert built.make(*SETTINGS).returncode == 0 and before


def test_a_reworded_chapter_runs_its_notebook_and_the_report_only(built):
    """A helper that it once rested on is gone too, which must not stop make."""
    noted = built.folder / "build/notebooks/.02_pelatihan.ipynb.d"
    noted.write_text(
        noted.read_text("utf-8")
        + "build/notebooks/02_pelatihan.ipynb: cxr_helpers/gone.py\ncxr_helpers/gone.py:\n"
    )
    before = built.outputs()
    words = built.folder / "notebooks/text/02_pelatihan.md.j2"
    words.write_text(
        words.read_text("utf-8").replace("Resep pelatihan mata kuliah", "Resep yang dipakai"),
        encoding="utf-8",
    )
    done = built.make(*SETTINGS)
    assert done.returncode == 0, done.stdout
    expected = {
        "02_pelatihan.ipynb",
        "02_pelatihan.json",
        "02_pelatihan.html",
        "laporan.ipynb",
        "laporan.html",
        "laporan.pdf",
    }
    assert changed(before, built.outputs()) == expected
    assert "Resep yang dipakai" in (built.folder / "build/report/laporan.html").read_text("utf-8")


def to_run(project, *words: str, build: str = "build") -> set[str]:
    """What `make -n report` would run anew while the settings stay as they are: names of notebooks, and "sources"."""
    keep = [word for name in (".settings", ".cover") for word in ("-o", f"{build}/{name}")]
    done = project.make("-n", *keep, *SETTINGS, f"BUILD={build}", *words)
    assert done.returncode == 0, done.stdout
    return set(re.findall(r"-m report\.execute \S+/(\w+)\.ipynb ", done.stdout)) | set(
        re.findall(r"-m report\.(sources)", done.stdout)
    )


CHAPTERS = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}


@pytest.mark.parametrize("how", ["changed", "deleted"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("cxr_helpers/attribution.py", {"03_analisis_overfitting", "laporan"}),
        ("cxr_helpers/engine/download.py", {"sources", *CHAPTERS, "laporan"}),
        (
            "cxr_helpers/engine/worker.py",
            {*CHAPTERS, "laporan"},
        ),  # `study.train` trains in workers too
        ("notebooks/text/04_perbaikan.md.j2", {"04_perbaikan", "laporan"}),
        (
            "notebooks/reference/results.json",
            {*CHAPTERS, "laporan"},
        ),  # `study.compare` reads the recipe's seeds there
        ("notebooks/text/istilah.md.j2", {*CHAPTERS, "laporan"}),
        ("notebooks/text/laporan.md.j2", {"laporan"}),
        ("report/depends.py", {"sources", *CHAPTERS, "laporan"}),
        ("report/compare.py", set()),
    ],
)
def test_what_a_changed_or_deleted_file_runs_anew(built, path, expected, how):
    assert to_run(built) == set()
    file = built.folder / path
    content, state = file.read_bytes(), file.stat()
    file.touch() if how == "changed" else file.unlink()
    try:
        assert to_run(built) == expected
    finally:
        file.write_bytes(content)
        os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("path", ["report/execute.py", "report/sources.py"])
def test_the_programs_that_run_a_step_count_too(built, path):
    state = (built.folder / path).stat()
    (built.folder / path).touch()
    try:
        assert to_run(built) >= {*CHAPTERS, "laporan"}
    finally:
        os.utime(built.folder / path, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_the_build_folder_may_be_written_in_another_way(built):
    helper = built.folder / "cxr_helpers/attribution.py"
    state = helper.stat()
    helper.touch()
    try:
        for build in ("build/", "./build", str(built.folder / "build")):
            assert to_run(built, build=build) == {"03_analisis_overfitting", "laporan"}, build
    finally:
        os.utime(helper, ns=(state.st_atime_ns, state.st_mtime_ns))


def needs(start: str) -> set[str]:
    return {path.as_posix() for path in depends.needed(Path(start))}


def test_what_a_step_rests_on_is_what_it_imports():
    report, first, sources = (
        needs("report/laporan.ipynb"),
        needs("notebooks/01_adaptasi_bobot.ipynb"),
        needs("report/sources.py"),
    )
    assert {
        "cxr_helpers/show.py",
        "cxr_helpers/plots.py",
        "cxr_helpers/engine/results.py",
        "cxr_helpers/__init__.py",
    } <= report
    assert not {"cxr_helpers/training.py", "cxr_helpers/remedies.py"} & report
    assert {
        "cxr_helpers/adaptation.py",
        "cxr_helpers/training.py",
        "cxr_helpers/engine/runs.py",
    } <= first
    assert not {"cxr_helpers/claims.py", "cxr_helpers/attribution.py"} & first
    assert {
        "cxr_helpers/engine/phantom.py",
        "cxr_helpers/engine/anatomy.py",
    } <= sources and "cxr_helpers/plots.py" not in sources


def test_a_chapter_rests_on_its_own_words_and_the_report_on_all():
    words = {path.relative_to(ROOT).as_posix() for path in (ROOT / "notebooks/text").glob("*.j2")}
    assert len(words) >= 6 and words <= needs("report/laporan.ipynb")
    own = {"notebooks/text/istilah.md.j2", "notebooks/text/03_analisis_overfitting.md.j2"}
    assert needs("notebooks/03_analisis_overfitting.ipynb") & words == own


def test_imports_in_functions_count_and_a_broken_file_rests_on_nothing(tmp_path):
    (tmp_path / "cxr_helpers").mkdir()
    for name, source in (
        ("__init__", ""),
        ("a", "def f():\n    from cxr_helpers import b\n"),
        ("b", "import ("),
        ("c", ""),
    ):
        (tmp_path / f"cxr_helpers/{name}.py").write_text(source)
    (tmp_path / "start.py").write_text("import numpy\nfrom cxr_helpers.a import f\n")
    found = [path.as_posix() for path in depends.needed(Path("start.py"), tmp_path)]
    assert found == ["cxr_helpers/__init__.py", "cxr_helpers/a.py", "cxr_helpers/b.py"]


def test_ipythons_own_commands_and_named_templates_are_followed(tmp_path):
    cells = [
        "%%time\nfrom cxr_helpers import a",
        "1 +",
        "names = !ls\n%matplotlib inline\nimport cxr_helpers.b.d as d",
    ]
    code = [{"cell_type": "code", "source": [cell]} for cell in cells]
    files = {
        "notebooks/x.ipynb": json.dumps(
            {"cells": [*code, {"cell_type": "markdown", "source": "import cxr_helpers.never"}]}
        ),
        "notebooks/text/x.md.j2": "{%- from 'umum.md.j2' import a %}{% include \"hilang.md.j2\" %}",
        "notebooks/text/umum.md.j2": "{% extends 'dasar.j2' %}",
        "notebooks/text/dasar.j2": "",
        "notebooks/text/y.md.j2": "",
        **{
            f"cxr_helpers/{name}.py": "" for name in ("__init__", "a", "never", "b/__init__", "b/d")
        },
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")
    found = [path.as_posix() for path in depends.needed(Path("notebooks/x.ipynb"), tmp_path)]
    helpers = [
        "cxr_helpers/__init__.py",
        "cxr_helpers/a.py",
        "cxr_helpers/b/__init__.py",
        "cxr_helpers/b/d.py",
    ]
    assert found == [
        *helpers,
        *(f"notebooks/text/{name}" for name in ("dasar.j2", "umum.md.j2", "x.md.j2")),
    ]


# --- what goes wrong ------------------------------------------------------------------------------------------------


def processes_in(folder: Path) -> dict[int, str]:
    """{number: command line} of the processes that work in a folder or below it."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if Path(os.readlink(entry / "cwd")).is_relative_to(folder):
                found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
    return {pid: line for pid, line in found.items() if line}


def start(folder: Path, words: list[str], **variables: str) -> subprocess.Popen:
    """`make WORDS` in a process group of its own, as a terminal starts it."""
    return subprocess.Popen(
        ["make", *words, f"PYTHON={sys.executable}"],
        cwd=folder,
        env=environment() | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for orphans in /proc")
def test_ctrl_c_says_how_to_go_on_and_leaves_nobody_behind(built):
    before = built.outputs()
    words = [
        *SETTINGS,
        "SEED=7",
        "BUILD=build-berhenti",
    ]  # another seed: its trainings are not in the store
    process = start(built.folder, words)
    runs = {path.name for path in (built.folder / "runs").iterdir()}
    for _ in range(1200):  # until a training has begun
        if {path.name for path in (built.folder / "runs").iterdir()} - runs:
            break
        time.sleep(0.1)
    assert processes_in(built.folder)
    os.killpg(process.pid, signal.SIGINT)  # what a terminal does on Ctrl-C
    said, _ = process.communicate(timeout=180)
    assert (
        process.returncode != 0
        and "Traceback" not in said
        and "Jalankan perintah yang sama" in said
    ), said
    for _ in range(100):
        if not processes_in(built.folder):
            break
        time.sleep(0.1)
    assert not processes_in(built.folder)
    assert built.outputs() == before and not list(
        (built.folder / "build-berhenti").rglob("*.sementara*")
    )


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="looks for orphans in /proc")
@pytest.mark.parametrize(
    ("how", "says"), [("Ctrl-C", "Jalankan perintah yang sama"), ("killed", "memori habis")]
)
def test_the_processes_of_notebook_04_end_with_it(built, tmp_path, how, says):
    """N_JOBS=2, stopped by Ctrl-C, or its kernel killed as a system without memory does it."""
    before, helper, store = (
        built.outputs(),
        built.folder / "cxr_helpers/laboratory.py",
        tmp_path / "runs",
    )
    state = helper.stat()
    os.utime(helper)  # notebook 04 is to be made again, with nothing in the store
    process = start(built.folder, [*SETTINGS, "N_JOBS=2"], CXR_RUNS=str(store))
    for _ in range(1200):  # until both processes train
        if len(list(store.glob("*/config.json"))) >= 2:
            break
        time.sleep(0.1)
    working = processes_in(built.folder)
    assert sum("popen_loky" in line for line in working.values()) == 2
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(
            next(pid for pid, line in working.items() if "ipykernel_launcher" in line),
            signal.SIGKILL,
        )
    said, _ = process.communicate(timeout=180)  # its pipe is open until the last process has ended
    assert process.returncode != 0 and "Traceback" not in said and says in said, said
    assert not processes_in(built.folder)
    assert built.outputs() == before
    os.utime(helper, ns=(state.st_atime_ns, state.st_mtime_ns))


def test_a_failed_notebook_is_named_with_its_cell_and_nothing_is_lost(built):
    path = built.folder / "notebooks/03_analisis_overfitting.ipynb"
    good, state = path.read_text("utf-8"), path.stat()
    notebook = json.loads(good)
    notebook["cells"][-1] = {
        "cell_type": "code",
        "id": "rusak",
        "metadata": {},
        "source": ["1 / 0"],
        "outputs": [],
        "execution_count": None,
    }
    before = built.outputs()
    path.write_text(json.dumps(notebook), "utf-8")
    done = built.make(*SETTINGS)
    path.write_text(good, "utf-8")
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    line = galat(done.stdout)
    assert done.returncode != 0
    assert "03_analisis_overfitting" in line and "1 / 0" in line and "ZeroDivisionError" in line
    assert f"sel ke-{len(notebook['cells'])}" in line
    assert built.outputs() == before


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("PRESET=besar", "PRESET"),
        ("SEED=abc", "SEED"),
        ("SEED=-1", "SEED"),
        ("DEVICE=tpu", "DEVICE"),
        ("PRECISION=float16", "PRECISION"),
        ("SEEDS=0", "SEEDS"),
        ("REPEAT=semua", "REPEAT"),
        ("DATA=tidak-ada.npz", "tidak-ada.npz"),
        ("DATA=entah", "DATA"),
        ("WEIGHTS=tidak-ada.pth", "tidak-ada.pth"),
        ("SIZE=30", "SIZE"),
        ("CLASSES=cardiomegaly", "CLASSES"),
        ("CLASSES=cardiomegaly,pneumotorax", "pneumotorax"),
        ("BUILD=Makefile", "BUILD"),
        ("BUILD=/proc/1/baru", "BUILD"),
    ],
)
def test_bad_settings_get_one_line_and_leave_everything(built, word, says):
    before = built.outputs()
    done = built.make(*SETTINGS, word)
    assert done.returncode != 0 and says in galat(done.stdout)
    assert built.outputs() == before


def bad_files(folder, phantom):
    with np.load(phantom) as arrays:
        whole = dict(arrays)
    rows = whole["val_labels"][:, 1] == 1
    broken = {
        "tanpa-kunci.npz": {name: value for name, value in whole.items() if name != "test_labels"},
        "tanpa-kelas.npz": {
            **whole,
            "val_images": whole["val_images"][~rows],
            "val_labels": whole["val_labels"][~rows],
        },
    }
    for name, arrays in broken.items():
        np.savez(folder / name, **arrays)
    content = phantom.read_bytes()
    (folder / "terpotong.npz").write_bytes(content[: len(content) // 2])
    return ("terpotong.npz", *broken)


def test_bad_files_get_one_line_and_cost_nothing(built):
    phantom = next(p for p in (built.folder / "data").glob("phantom*.npz") if "truth" not in p.name)
    before = built.outputs()
    for name in bad_files(built.folder, phantom):
        done = built.make(*SETTINGS, f"DATA={name}")
        assert done.returncode != 0 and name in galat(done.stdout)
        assert built.outputs() == before
    # and the good settings still find their work done
    assert "Tidak ada yang perlu dikerjakan" in built.make(*SETTINGS).stdout
