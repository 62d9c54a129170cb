"""What README and docs tell a reader to type is typed here, and what they point to is there."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest

from report import check
from tests.conftest import ROOT, SETTINGS, environment

PAGES = [ROOT / "README.md", ROOT / "README.en.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(path.read_text("utf-8") for path in PAGES)
BLOCKS = re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S)
TYPED = [line.partition("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
TYPED = [line for line in dict.fromkeys(TYPED) if line]
NAMED = re.findall(r"`(make [a-z][^`…]*)`", TEXT)  # in a sentence
# They train, fetch, grade or delete, which other tests have them do with less.
LONG = "report lab reference bench test bundel tantangan nilai clean distclean".split()
OTHERS = "conda sudo tar .venv/bin/dask".split()  # programs that are not ours
MADE_UP = {"ALAMAT-REPOSITORI": "../git", "ADDRESS-OF-THE-REPOSITORY": "../git"}
MADE_UP |= {"ALAMAT-SITUS": "../git", "BUILD_A": "build", "BUILD_B": "build"}


def table() -> set[str]:
    """The settings that docs/pengaturan.md explains."""
    text = (ROOT / "docs/pengaturan.md").read_text("utf-8")
    names = re.findall(r"^\| (`[A-Z_`, ]+`) \|", text, re.M)
    return set(re.findall(r"\w+", " ".join(names)))


def test_every_command_of_a_block_is_typed(built, tmp_path):
    project = shutil.copytree(built.folder, tmp_path / "project")
    subprocess.run(["git", "init", "-q", "--bare", str(tmp_path / "git")], check=True)
    both = [f"GIT_{who}_{part}" for who in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")]
    env = environment() | dict.fromkeys(both, "uji") | {"PYTHON": sys.executable, "BELUM": "1"}
    env |= dict(word.split("=", 1) for word in SETTINGS[1:5])
    for command in TYPED:
        program, target = [*shlex.split(command), ""][:2]
        if program in OTHERS:
            continue
        for name, stand_in in MADE_UP.items():
            command = command.replace(name, stand_in)
        if program == "make" and target in LONG:
            command = command.replace("make", "make -n", 1)
        given = {"cwd": project, "env": env, "capture_output": True, "text": True}
        done = subprocess.run(command, shell=True, **given)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert (project / "kumpulan/12345.zip").exists() and (tmp_path / "situs/index.html").exists()


@pytest.mark.parametrize("command", sorted({*TYPED, *NAMED}))
def test_make_knows_each_target_and_setting(tmp_path, monkeypatch, command):
    """Those named in a sentence too; the values of settings are checked as `make report` does."""
    words = shlex.split(command)
    if words[0] == "make":
        assert re.search(rf"^[\w ]*\b{words[1]}\b[\w ]*:", (ROOT / "Makefile").read_text(), re.M)
        given = dict(word.split("=", 1) for word in words[2:])
        assert given.keys() <= table()
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        check.wanted("settings", tmp_path)


def test_every_setting_is_explained_in_one_table():
    exported = re.search(r"^export (.*)", (ROOT / "Makefile").read_text("utf-8"), re.M)[1].split()
    helped = re.findall(r"\b([A-Z_]+)=", (ROOT / "report/bantuan.txt").read_text("utf-8"))
    assert {*exported, *helped} - {"TYPED", "PY"} <= table()


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere_and_the_front_page_stays_short(page):
    text = page.read_text("utf-8")
    for place, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        path = page.parent / place if place else page
        assert path.exists(), place
        assert path.suffix != ".png" or path.stat().st_size < 300_000, place
        titles = re.findall(r"^#+ (.*)", path.read_text("utf-8"), re.M) if anchor else []
        assert not anchor or anchor in [title.lower().replace(" ", "-") for title in titles]
    assert not page.name.startswith("README") or len(text.split()) <= 900


def test_continuous_integration_runs_the_test_command_of_readme():
    last = (ROOT / ".ci/run").read_text("utf-8").splitlines()[-1]
    assert last in [*TYPED] and last.startswith("make ")
