"""A copy of the project in which tests run make, and the smoke report that many of them read."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest.mock import Mock

import nbformat
import numpy as np
import pytest
from filelock import FileLock
from IPython.core.interactiveshell import InteractiveShell
from playwright.sync_api import sync_playwright

from cxr_helpers import data
from cxr_helpers.engine import files

pytest_plugins = ["tests.medmnist_files"]  # its fixtures

FIRST = "test_make_report_gives_html_and_pdf"
ROOT = Path(__file__).resolve().parent.parent
COPIED = "Makefile pyproject.toml requirements.txt".split()
COPIED += "cxr_helpers phantom notebooks report grading".split()
# What a person's own make may have set.
OURS = "BUILD DATA WEIGHTS PRESET SEED DEVICE SIZE CLASSES PRECISION SEEDS REPEAT CHECK".split()
OURS += "NAME NIM MAKEFLAGS MAKELEVEL MFLAGS MAKEOVERRIDES".split()
# SEED: that of the number under which test_grading_handin.py hands the report in.
SETTINGS = "report PRESET=smoke DATA=phantom WEIGHTS=random SEED=6111 NIM=13/22.tk-01".split()
SETTINGS.append("REPEAT=augmentation")  # two trainings beside the recipe's, so for two processes
SETTINGS.append("NAME=Siti <b>Rahma</b> & Co $x")
SOLVED = ("01_adaptasi_bobot", "03_analisis_overfitting")


def pytest_configure(config):
    """One data folder and one run store for all tests: nothing is drawn or trained twice.

    Who counts trainings, or spoils a file, sets CXR_RUNS or CXR_DATA to a folder of its own.
    """
    if not hasattr(config, "workerinput"):  # the workers of xdist inherit it
        config.ours = Path(tempfile.mkdtemp(prefix="uji-"))
        os.environ.setdefault(files.DATA, str(config.ours / "data"))
        os.environ[files.RUNS] = str(config.ours / "runs")


def pytest_unconfigure(config):
    if hasattr(config, "ours"):
        shutil.rmtree(config.ours, ignore_errors=True)


def pytest_terminal_summary(terminalreporter):
    from tests import test_rooms  # not above: it imports this file

    terminalreporter.write_line(test_rooms.table())


def pytest_collection_modifyitems(items):
    """The report is made first; who reads it comes last, so that nobody waits for it."""
    items.sort(key=lambda item: 0 if item.name == FIRST else 1 + ("built" in item.fixturenames))


def environment() -> dict[str, str]:
    """Without our own settings, except the threads, which tests that run side by side share."""
    return {
        n: value
        for n, value in os.environ.items()
        if n not in OURS and (n == "CXR_THREADS" or not n.startswith("CXR_"))
    }


class Project:
    """A project folder of its own and the commands that a person types there."""

    def __init__(self, folder: Path):
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, folder / name, ignore=ignored)
            else:
                shutil.copy2(ROOT / name, folder / name)

    def make(self, *words: str) -> subprocess.CompletedProcess:
        """`make WORDS` with the interpreter of the tests, as text, stdout and stderr together."""
        return subprocess.run(
            ["make", *words, f"PYTHON={sys.executable}"],
            cwd=self.folder,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
        )

    def result(self, name: str) -> dict:
        """The content of a results file."""
        return json.loads((self.folder / f"build/results/{name}.json").read_text("utf-8"))

    def outputs(self) -> dict[str, tuple[int, int]]:
        """{path: (time, size)} of everything a person would miss: notebooks, results and report."""
        found = {}
        for part in ("notebooks", "results", "report"):
            for path in sorted((self.folder / "build" / part).rglob("*")):
                if path.is_file() and path.name[0] != ".":
                    state = path.stat()
                    found[str(path.relative_to(self.folder))] = (state.st_mtime_ns, state.st_size)
        return found


def solve(project: Project) -> None:
    """Put the solutions into the answer cells of the notebooks SOLVED; the others stay open."""
    for name in SOLVED:
        path = project.folder / f"notebooks/{name}.ipynb"
        notebook = nbformat.read(path, 4)
        for cell in notebook.cells:
            if cell.source.startswith("# JAWABAN: "):
                solution = cell.source.splitlines()[0].removeprefix("# JAWABAN: ")
                cell.source = (
                    (ROOT / f"grading/solutions/{solution}.py").read_text("utf-8").rstrip("\n")
                )
        nbformat.write(notebook, path)


def lesson(notebook: str, *ids: str, **known) -> dict:
    """The names that cells of a notebook leave behind; `bab` keeps what they record."""
    cells = {cell.id: cell for cell in nbformat.read(ROOT / f"notebooks/{notebook}.ipynb", 4).cells}
    known["bab"] = Mock()
    imports, _ = cells["sel-03"].source.split("\n\nstudy = ")
    for source in (imports, *(cells[id].source for id in ids)):
        exec(source, known)
    return known


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Project:
    """A project with its smoke report, made once by `make report` and copied for each worker."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "made"
    with FileLock(f"{shared}.lock"):
        if not (shared / "whole").exists():
            shared.mkdir()
            project = Project(shared)
            solve(project)
            done = project.make(*SETTINGS)
            assert done.returncode == 0 and "tautan" not in done.stdout, done.stdout
            (shared / "whole").touch()
    project = Project(tmp_path_factory.mktemp("project"))
    shutil.rmtree(project.folder)
    shutil.copytree(shared, project.folder)
    return project


@pytest.fixture(scope="module")
def chromium():
    """The system's own Chromium, headless.

    Playwright only drives it. Not for a whole session: beside it asyncio refuses to run.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        if os.environ.get("CXR_NEED_BROWSER"):
            pytest.fail("Chromium is not installed")
        pytest.skip("Chromium is not installed (Debian: apt-get install chromium)")
    with sync_playwright() as playwright:
        # Chromium would ask its maker for updates.
        alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        browser = playwright.chromium.launch(
            executable_path=path, chromium_sandbox=False, args=[alone]
        )
        yield browser
        browser.close()


@pytest.fixture
def shell():
    """A real IPython, as in a kernel; `shell(cell)` gives the cell's value or raises its error."""
    InteractiveShell.clear_instance()
    interpreter = InteractiveShell.instance()
    before, sys.stdout = sys.stdout, sys.__stderr__

    def run(cell: str):
        found = interpreter.run_cell(cell, store_history=True, silent=False)
        found.raise_error()
        return found.result

    yield run
    sys.stdout = before
    InteractiveShell.clear_instance()


def made() -> data.Dataset:
    """48 + 16 + 16 images whose class shows as a bright half."""
    generator = np.random.default_rng(0)

    def split(n: int) -> data.Split:
        labels = (np.arange(n) % 3 > 0).astype(np.uint8)
        images = generator.integers(60, 140, (n, 28, 28))
        images[labels == 1, :, :14] += 40
        return data.Split(images.astype(np.uint8), labels, np.arange(n))

    splits = {"train": split(48), "val": split(16), "test": split(16)}
    source = data.Source("file", "chestmnist", None, 28, "uji", "uji")
    return data.Dataset(source, ("a", "b"), **splits)
