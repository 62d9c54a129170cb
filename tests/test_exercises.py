"""The exercises and their hidden tests: solved, open, and wrong in the ways students are wrong."""

import json

import nbformat
import numpy as np
import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell

from cxr_helpers import evaluation, remedies
from grading import answers, exercises, inside, marking
from grading.course import read_course
from tests.conftest import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("0[1-4]*.ipynb"))
CELLS = {path.stem: nbformat.read(path, 4).cells for path in CHAPTERS}
COURSE = read_course()
ASKED = {name: asked for chapter in COURSE.chapters for name, asked in chapter.asked.items()}


def space_of(source: str, name: str) -> dict:
    """What a notebook imported for its exercises, and what an answer to one of them then made."""
    cells = next(cells for cells in CELLS.values() if name in map(answers.identity, cells))
    space = {}
    exec(next(cell.source for cell in cells if cell.source.endswith("import periksa")), space)
    exec(compile(source, "<jawaban>", "exec"), space)
    space["periksa_ini"] = next(c.source for c in cells if c.source.startswith(f'periksa("{name}"'))
    return space


def check(name: str, source: str, capsys) -> str:
    """What the notebook's own check says of an answer cell with this source."""
    space = space_of(source, name)
    exec(space["periksa_ini"], space)
    (said,) = capsys.readouterr().out.splitlines()
    return said


def hidden(name: str, answer) -> dict:
    """What the hidden test brings back of an answer (a function), as the box does."""
    names = {ASKED[name].names[0]: answer, "np": np, "torch": torch}
    return json.loads(inside.ask(COURSE.probes[name], names))


def solved(name: str):
    return space_of(COURSE.solutions[name], name)[ASKED[name].names[0]]


def points(name: str, answer) -> float:
    outcome, expected = ("", None, hidden(name, answer)), hidden(name, solved(name))
    return marking.grade_part(ASKED[name], answers.Answer("x"), outcome, expected).points


@pytest.mark.parametrize("name", exercises.EXERCISES)
def test_the_solution_is_right_the_skeleton_open_and_what_is_praised_gets_points(name, capsys):
    solution, skeleton = COURSE.solutions[name], ASKED[name].skeleton
    assert check(name, solution, capsys) == f"✔ {name}: benar."
    assert check(name, skeleton, capsys) == f"○ {name}: belum dikerjakan."
    assert answers.unanswered(skeleton) and not answers.unanswered(solution)
    values = hidden(name, solved(name))
    assert len(values) >= 2 and "galat" not in str(values)
    for constant in (1, "setara", ..., None):
        assert points(name, lambda *given, constant=constant: constant) == 0, constant
    mistakes = exercises.MISTAKES[name]
    assert len(mistakes) > 5
    for value in filter(None, mistakes):
        source = skeleton.replace("return ...", f"return {value}")
        said = check(name, source, capsys)
        hint = mistakes[value] or mistakes[""]
        assert said.startswith(f"✘ {name}: ") and said.endswith(hint), (value, said)
        assert points(name, space_of(source, name)[ASKED[name].names[0]]) < ASKED[name].points


def test_a_cell_with_a_syntax_error_is_said_and_its_older_function_not_judged(monkeypatch, capsys):
    shell = InteractiveShell()
    monkeypatch.setattr(exercises, "get_ipython", lambda: shell)
    good = "# JAWABAN: mayoritas\n" + COURSE.solutions["mayoritas"]
    asking = "from grading.exercises import periksa\nperiksa('mayoritas', majority_accuracy)"
    broken = good.replace("):", ")", 1)
    for cell, said in ((good, "benar."), (broken, "SyntaxError"), (good, "benar.")):
        shell.run_cell("import numpy as np\n" + cell, store_history=True)
        capsys.readouterr()
        shell.run_cell(asking, store_history=True)
        assert said in capsys.readouterr().out


def test_the_rule_of_exercise_4_1_gives_the_verdicts_of_the_table():
    for row in remedies.read_reference()["variants"][1:]:
        found, (low, high) = row["predicts"], row["predicts"]["ci95"]
        verdict = solved("putusan")(low, high, found["p_adjusted"], evaluation.MARGIN["auc"])
        assert verdict == found["verdict"] or found["verdict"] == evaluation.MAJORITY, row["name"]
