"""The notebooks as they are kept in git: valid, without outputs, with parameters, telling a story and defining nothing."""

import ast
import json
import re

import nbformat
import pypandoc
import pytest

from cxr_helpers import show
from report import execute
from tests.conftest import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPORT = ROOT / "report/laporan.ipynb"
KEYS = set(re.findall(r"@\w+\{(\w+),", (ROOT / "report/pustaka.bib").read_text("utf-8")))


def code(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")


def prose(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.fixture(params=[*CHAPTERS, REPORT], ids=lambda path: path.stem)
def notebook(request):
    found = nbformat.read(request.param, as_version=4)
    nbformat.validate(found)
    return found


def test_no_outputs_are_kept(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert not cell.outputs and cell.execution_count is None


def test_one_parameters_cell_with_known_names(notebook):
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    names = {node.targets[0].id for node in ast.parse(tagged[0].source).body}
    assert names and names <= set(execute.DEFAULTS)


def test_no_notebook_defines_again_what_a_helper_defines(notebook):
    kinds = (ast.FunctionDef, ast.ClassDef)
    helpers = [
        node
        for path in (ROOT / "cxr_helpers").rglob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
    ]
    defined = {node.name for node in ast.walk(ast.parse(code(notebook))) if isinstance(node, kinds)}
    assert not defined & {node.name for node in helpers if isinstance(node, kinds)}


def test_every_citation_is_in_the_bibliography(notebook):
    cited = set(show.CITED.findall(prose(notebook)))
    assert cited <= KEYS


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_jupyterlab_shows_author_and_year_as_the_bibliography_has_them(path):
    text = prose(nbformat.read(path, 4))
    assert not re.findall(r"\[@\w+", text)
    named = re.findall(r"\[(\([^\]]*\))\]\(#ref-(\w+)\)", text)
    assert {key for _, key in named} == set(show.CITED.findall(text))
    for label, key in named:
        options = {
            "extra_args": ["--citeproc", "--bibliography=pustaka.bib", "--wrap=none"],
            "cworkdir": str(ROOT / "report"),
        }
        cited = pypandoc.convert_text(
            f"---\nlang: id\n...\n[@{key}]", "plain", format="markdown", **options
        )
        assert cited.splitlines()[0] == label


def test_the_chapters_share_their_parameters():
    cells = [
        next(
            c.source
            for c in nbformat.read(p, 4).cells
            if "parameters" in c.metadata.get("tags", [])
        )
        for p in CHAPTERS
    ]
    of_trainings = ("n_jobs", "cluster", "repeat")
    only = [
        {line.split()[0] for line in cell.splitlines() if line.startswith(of_trainings)}
        for cell in cells
    ]
    assert only == [set(), set(), set(), {*of_trainings}, {"n_jobs", "cluster"}]
    shared = {
        "\n".join(line for line in cell.splitlines() if not line.startswith(of_trainings))
        for cell in cells
    }
    assert len(shared) == 1


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_each_chapter_writes_the_results_of_its_own_name(path):
    assert re.findall(r'results\.write\(\s*"(\w+)"', code(nbformat.read(path, 4))) == [path.stem]


def test_no_measured_number_is_typed_into_the_report():
    """The prose may give sizes of the architecture and the level of the intervals, nothing that was measured."""
    text = re.sub(r"\d+×\d+(×\d+)*|95%|\[@[^\]]*\]|ResNet-18", "", prose(nbformat.read(REPORT, 4)))
    assert not re.findall(r"\d+,\d+|\d+\s?%|\d{2,}", text)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_no_time_is_typed_into_a_chapter(path):
    """How long something takes depends on the computer: it is measured and printed, or left unsaid."""
    assert not re.findall(
        r"[^.\n]*\b(?:detik|menit|jam-jam)\b[^.\n]*", prose(nbformat.read(path, 4))
    )


def test_every_citation_of_the_templates_is_in_the_bibliography():
    used = set()
    for path in (ROOT / "notebooks/text").glob("*.md.j2"):
        used |= set(re.findall(r"@([a-z]+\d{4})", path.read_text("utf-8")))
    assert len(used) > 5 and used <= KEYS


def test_notebooks_are_plain_json_with_stable_ids():
    for path in (*CHAPTERS, REPORT):
        text = path.read_text("utf-8")
        ids = [cell["id"] for cell in json.loads(text)["cells"]]
        assert len(ids) == len(set(ids))
        assert text == nbformat.writes(nbformat.reads(text, 4)) + "\n", (
            "JupyterLab would write it in another order"
        )
