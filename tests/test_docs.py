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
BLOCKS = "".join(re.findall(r"^```sh\n(.*?)^```", TEXT, re.M | re.S))
TYPED = [line.partition("#")[0].strip() for line in BLOCKS.splitlines()]
EXPLAINED = set(re.findall(r"`([A-Z_]+)`", (ROOT / "docs/pengaturan.md").read_text("utf-8")))
NAMED = re.findall(r"`(make [a-z][^`…]*)`", TEXT)  # in a sentence
# They train, fetch, grade or delete, which other tests have them do with less.
LONG = "report lab reference bench test compare bundel tantangan nilai clean distclean".split()
OTHERS = "conda sudo tar npm .venv/bin/dask".split()  # programs that are not ours


def test_every_command_of_a_block_is_typed(built, tmp_path):
    project = shutil.copytree(built.folder, tmp_path / "project")
    subprocess.run(["git", "init", "-q", "--bare", tmp_path / "git"], check=True)
    env = environment() | dict(word.split("=", 1) for word in SETTINGS[1:5])
    env |= {"PYTHON": sys.executable, "BELUM": "1"}
    for command in filter(None, dict.fromkeys(TYPED)):
        program, target = [*shlex.split(command), ""][:2]
        if program not in OTHERS:
            dry = "make -n" if target in LONG else "make"
            typed = re.sub("^make", dry, command.replace("URL", "../git"))
            given = {"cwd": project, "env": env, "capture_output": True, "text": True}
            done = subprocess.run(typed, shell=True, **given)
            assert done.returncode == 0, f"{typed}\n{done.stdout}{done.stderr}"
    assert (project / "kumpulan/12345.zip").exists()
    site = tmp_path / "situs"
    links = re.findall('href="(.*?)"', (site / "index.html").read_text("utf-8"))
    assert {*links, "index.html", ".git"} == {path.name for path in site.iterdir()}
    assert (ROOT / ".ci/run").read_text("utf-8").splitlines()[-1] in TYPED


def test_every_setting_is_explained_in_one_table():
    exported = re.search(r"^export (.*)", (ROOT / "Makefile").read_text("utf-8"), re.M)[1].split()
    helped = re.findall(r"\b([A-Z_]+)=", (ROOT / "report/bantuan.txt").read_text("utf-8"))
    assert {*exported, *helped} - {"TYPED", "PY"} <= EXPLAINED


@pytest.mark.parametrize("command", sorted({*TYPED, *NAMED}))
def test_make_knows_each_target_and_setting(tmp_path, monkeypatch, command):
    """Those named in a sentence too; values of settings are checked as `make report` does."""
    program, target, *words = [*shlex.split(command), "", ""]
    if program == "make":
        assert re.search(rf"^[\w ]*\b{target}\b[\w ]*:", (ROOT / "Makefile").read_text(), re.M)
        given = dict(word.split("=", 1) for word in words if word)
        assert given.keys() <= EXPLAINED
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        check.wanted("settings", tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere_and_the_front_page_stays_short(page):
    text = page.read_text("utf-8")
    for place, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)", text):
        path = page.parent / place if place else page
        assert path.exists() and (path.suffix != ".png" or path.stat().st_size < 300_000), place
        titles = re.findall(r"^#+ (.*)", path.read_text("utf-8"), re.M) if anchor else [""]
        assert anchor in [title.lower().replace(" ", "-") for title in titles]
    assert not page.name.startswith("README") or len(text.split()) <= 900
