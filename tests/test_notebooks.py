"""The notebooks as they are kept in git: valid, without outputs, citing what exists."""

import ast
import re

import nbformat
import pytest

from report import chapter, execute
from tests.conftest import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REPORT = ROOT / "report/laporan.ipynb"
BIBLIOGRAPHY = set(re.findall(r"@\w+\{(\w+),", (ROOT / "report/pustaka.bib").read_text("utf-8")))


def sources(path, kind: str) -> str:
    cells = nbformat.read(path, 4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == kind)


def parameters(path) -> str:
    cells = nbformat.read(path, 4).cells
    (found,) = [c.source for c in cells if "parameters" in c.metadata.get("tags", [])]
    return found


every_notebook = pytest.mark.parametrize("path", [*CHAPTERS, REPORT], ids=lambda path: path.stem)


@every_notebook
def test_a_notebook_is_as_jupyterlab_writes_it_and_without_outputs(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    saved = nbformat.writes(notebook) + "\n"  # saving changes nothing
    assert path.read_text("utf-8") == saved
    ids = [cell.id for cell in notebook.cells]
    assert len(ids) == len(set(ids))
    for cell in notebook.cells:
        assert not cell.get("outputs") and cell.get("execution_count") is None


@every_notebook
def test_the_parameters_of_a_notebook_are_those_that_make_gives(path):
    names = {node.targets[0].id for node in ast.parse(parameters(path)).body}
    assert names and names <= set(execute.DEFAULTS)


def test_no_measured_number_is_typed_into_the_prose():
    """The report may hold sizes."""
    said = re.sub(r"\d+×\d+(×\d+)*|95%|\[@[^\]]*\]|ResNet-18", "", sources(REPORT, "markdown"))
    assert not re.findall(r"\d+,\d+|\d+\s?%|\d{2,}", said)


def test_every_citation_is_in_the_bibliography():
    cited = set()
    for path in (*CHAPTERS, REPORT):
        cited |= set(chapter.CITED.findall(sources(path, "markdown")))
    for path in chapter.TEXTS.glob("*.md.j2"):
        cited |= set(re.findall(r"@([a-z]+\d{4})", path.read_text("utf-8")))
    assert len(cited) > 20 and cited <= BIBLIOGRAPHY


VIEWS = re.compile(r"(bab\.(text|figure|table)|panels\.\w+)\(|if ")  # what only shows


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter_is_a_lesson_and_no_viewer(path):
    cells = nbformat.read(path, 4).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    statements = [map(ast.unparse, ast.parse(source).body) for source in code]
    viewers = [cell for cell in statements if all(map(VIEWS.match, cell))]
    assert len(viewers) <= len(code) / 10
    assert max(len(source.splitlines()) for source in code) <= 20
    assert sources(path, "markdown").count("?") >= 8
