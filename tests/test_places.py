"""Odd folder names, broken notebooks, a wrong clock: each works, or is one line."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cxr_helpers.engine.errors import InputError
from report import execute
from tests.conftest import ROOT, Project, environment

ODD = 'ni\'la "i" $x 50% é: a&b;(c) #1'


def clean(folder: Path, build: str) -> subprocess.CompletedProcess:
    command, given = ["sh", ROOT / "report/clean.sh"], {"BUILD": build, "TYPED": build}
    known = {"cwd": folder, "env": os.environ | given, "capture_output": True, "text": True}
    return subprocess.run(command, **known)


def test_clean_deletes_what_make_has_made_and_nothing_else(tmp_path):
    for name in ("cxr_helpers", "tugas/report", "a b/results", "a b/report", "a b/milikku"):
        (tmp_path / name).mkdir(parents=True)
    for name in (".begin", "a b/.begin"):
        (tmp_path / name).touch()
    assert "dihapus" in clean(tmp_path, "a b").stdout
    assert list((tmp_path / "a b").iterdir()) == [tmp_path / "a b/milikku"]
    assert "Tidak ada hasil" in clean(tmp_path, "tugas").stdout  # a folder of somebody's own
    project = clean(tmp_path, "tugas/..")
    assert project.returncode == 2 and "tidak ada yang dihapus" in project.stderr
    assert (tmp_path / "tugas/report").exists() and (tmp_path / "cxr_helpers").exists()


def test_make_takes_odd_names_for_the_clone_and_the_build(tmp_path):
    (tmp_path / ODD).mkdir()
    project = Project(tmp_path / ODD)
    done = project.make("report", f"BUILD=hasil {ODD}", "PRESET=besar")
    assert done.returncode == 2 and "Galat: PRESET=besar" in done.stdout
    assert "Traceback" not in done.stdout
    assert (project.folder / f"hasil {ODD}/.environment").exists()
    (link,) = project.folder.glob(".build-*")  # by which make knows it
    assert link.resolve() == (project.folder / f"hasil {ODD}").resolve()


def notebook(*cells) -> str:
    return nbformat.writes(new_notebook(cells=list(cells)))


def parameters(source: str):
    return new_code_cell(source, metadata={"tags": ["parameters"]})


PARAMETERS = parameters('build = "build"')
GOOD = notebook(PARAMETERS, new_markdown_cell("a\nb"))
CONFLICT = '<<<<<<< HEAD\n"a\\n",\n=======\n"c\\n",\n>>>>>>> main'
BROKEN = {
    "\n \n": "kosong",
    GOOD[: len(GOOD) // 2]: "terpotong",
    GOOD.replace('"a\\n",', CONFLICT): "konflik Git pada baris",
    notebook(PARAMETERS, new_code_cell(CONFLICT)): "sel ke-2 memuat",
    notebook(new_code_cell("x = 1")): "tidak ada sel bertanda",
    notebook(parameters("seed = ")): "baris 1",
}


@pytest.mark.parametrize(("text", "says"), BROKEN.items(), ids=BROKEN.values())
def test_a_broken_notebook_is_one_line_that_names_it(tmp_path, text, says):
    path = tmp_path / "02_pelatihan.ipynb"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=f"02_pelatihan.*{says}"):
        execute.parameters(path)


def test_a_person_without_a_home_gets_no_folder_of_that_name():
    command = ["make", "--eval=tampil: ; @echo $$HOME; echo $$PYTHONNOUSERSITE", "tampil"]
    without = {name: value for name, value in environment().items() if name != "HOME"}
    said = subprocess.run(command, cwd=ROOT, env=without, capture_output=True, text=True).stdout
    home, alone = said.split()
    assert Path(home).is_dir() and Path(home).is_absolute() and alone == "1"


PROFILE = ".ipython/profile_default"
MINE = {
    f"{PROFILE}/ipython_config.py": "c.InteractiveShell.ast_node_interactivity = 'all'",
    f"{PROFILE}/startup/a.py": "mine = 1",
    ".config/matplotlib/matplotlibrc": "text.usetex: True",
    ".local/share/jupyter/kernels/python3/kernel.json": '{"argv": ["false"], "display_name": "x"}',
    "startup.py": "mine = 1",
}
PLAIN = """import sys, matplotlib
"pertama"
"mine" in globals(), matplotlib.rcParams["text.usetex"], sys.executable"""


def test_nothing_that_a_person_has_set_up_reaches_a_notebook(tmp_path, monkeypatch):
    home, build = tmp_path / "rumah", tmp_path / "build"
    for name, text in MINE.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)
    for name in ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_DATA_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PYTHONSTARTUP", str(home / "startup.py"))
    monkeypatch.setenv("JUPYTER_PATH", str(home / ".local/share/jupyter"))
    monkeypatch.setenv("BUILD", str(build))
    (tmp_path / "uji.ipynb").write_text(notebook(PARAMETERS, new_code_cell(PLAIN)))
    execute.execute(tmp_path / "uji.ipynb", build / "notebooks/uji.ipynb")
    outputs = nbformat.read(build / "notebooks/uji.ipynb", 4).cells[-1].outputs
    assert [one.data["text/plain"] for one in outputs] == [str((False, False, sys.executable))]


def test_where_words_alone_have_changed_nothing_runs_again(tmp_path):
    given, output = (tmp_path / name for name in ("a.ipynb", "b.ipynb"))
    code = new_code_cell("1 / 0", outputs=[nbformat.v4.new_output("stream", text="dulu")])
    injected = new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    output.write_text(notebook(new_markdown_cell("Lama"), PARAMETERS, injected, code))
    words = [PARAMETERS, new_markdown_cell("Baru"), new_code_cell("1 / 0"), new_markdown_cell("!")]
    given.write_text(notebook(*words))
    assert not execute.retell(given, output, [str(given), "a.md.j2"])
    assert execute.retell(given, output, [str(given)])
    cells = nbformat.read(output, 4).cells
    assert [cell.source for cell in cells[1:]] == ["seed = 1", "Baru", "1 / 0", "!"]
    assert cells[3].outputs[0].text == "dulu"
    given.write_text(notebook(*words[:2], new_code_cell("1 / 1")))
    assert not execute.retell(given, output, [str(given)])
