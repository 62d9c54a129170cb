"""The exercises and their hidden tests: solved, open, and wrong in the ways students are wrong."""

import json

import nbformat
import numpy as np
import pytest
import torch

from grading import answers, exercises, inside, marking
from grading.course import read_course
from tests.conftest import ROOT

CHAPTERS = sorted((ROOT / "notebooks").glob("0[1-4]*.ipynb"))
CELLS = {path.stem: nbformat.read(path, 4).cells for path in CHAPTERS}
COURSE = read_course()
ASKED = {name: asked for chapter in COURSE.chapters for name, asked in chapter.asked.items()}
CODE = sorted(exercises.EXERCISES)


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


@pytest.mark.parametrize("name", CODE)
def test_the_solution_is_right_and_the_cell_that_is_handed_out_is_open(name, capsys):
    solution, skeleton = COURSE.solutions[name], ASKED[name].skeleton
    assert check(name, solution, capsys) == f"✔ {name}: benar."
    assert check(name, skeleton, capsys) == f"○ {name}: belum dikerjakan."
    assert answers.unanswered(skeleton) and not answers.unanswered(solution)
    values = hidden(name, solved(name))
    assert len(values) >= 2 and "galat" not in str(values)
    for constant in (1, "setara", ..., None):
        assert points(name, lambda *given, constant=constant: constant) == 0, constant


GAP = "((train_logits > 0) == train_labels).mean() - ((val_logits > 0) == val_labels).mean()"
SIDE = "np.maximum(probability, 1 - probability)"
WRONG = [
    ("jumlah-kanal", "weight.sum(dim=1)", "keepdim=True"),
    ("banyak-bobot", "outputs * side**2", "kanal masukan"),
    ("bagian-terbaca", "(5 if target == 3 else 7) / 7", "dua sumbu"),
    ("bagian-terbaca", "tidak_ada", "dengan NameError"),
    ("mayoritas", "float(labels.mean())", "tidak selalu kelas 1"),
    ("ambang", "float(((logits > probability) == (labels == 1)).mean())", "salah satunya"),
    ("youden", "float(np.median(logits))", "cobalah setiap logit"),
    ("kesenjangan", f"float({GAP})", "poin persen"),
    ("ece", f"float(abs(({SIDE} - ((probability > 0.5) == labels)).mean()))", "saling menghapus"),
    ("banyak-citra", "1.96**2 * share * (1 - share) / (2 * half) ** 2", "setengah lebarnya"),
    ("holm", "[min(1, p * len(p_values)) for p in p_values]", "Bonferroni"),
    ("putusan", '"lebih baik" if low > 0 else "belum dapat diputuskan"', "menurut letak interval"),
]


@pytest.mark.parametrize(("name", "value", "hint"), WRONG)
def test_a_usual_mistake_gets_its_hint_and_loses_points(name, value, hint, capsys):
    source = ASKED[name].skeleton.replace("return ...", f"return {value}")
    said = check(name, source, capsys)
    assert said.startswith(f"✘ {name}: ") and hint in said
    assert points(name, space_of(source, name)[ASKED[name].names[0]]) < ASKED[name].points
