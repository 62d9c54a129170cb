"""The exercises and their hidden tests: solved, open, and wrong in the ways students are wrong."""

import json
import re

import nbformat
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup

from cxr_helpers import exercises
from grading import answers, box, inside, marking
from grading.course import load
from tests.conftest import ROOT, SOLVED

CHAPTERS = sorted((ROOT / "notebooks").glob("0[1-4]*.ipynb"))
CELLS = {path.stem: nbformat.read(path, 4).cells for path in CHAPTERS}
COURSE = load()
ASKED = {name: asked for chapter in COURSE.chapters for name, asked in chapter.asked.items()}
CODE = sorted(exercises.CHECKS)
REFUSED = box.refusal()


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
    return marking.judge(ASKED[name], answers.Answer("x"), outcome, expected).points


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
    ("jumlah-kanal", "weight.mean(dim=1, keepdim=True)", "rata-rata"),
    ("jumlah-kanal", "weight.sum(dim=1)", "keepdim=True"),
    ("jumlah-kanal", "weight[:, :1]", "responsnya"),
    ("jumlah-kanal", "weight.numpy().sum(1)", "ndarray berbentuk (8, 7, 7)"),
    ("banyak-bobot", "outputs * side**2", "kanal masukan"),
    ("banyak-bobot", "outputs * inputs * side", "(5, 2, 1)"),
    ("banyak-bobot", "outputs * inputs * side**2 + outputs", "(5, 2, 1)"),
    ("banyak-bobot", "None", "return"),
    ("bagian-terbaca", "(5 if target == 3 else 7) / 7", "dua sumbu"),
    ("bagian-terbaca", "(target / source) ** 2", "kolom"),
    ("bagian-terbaca", "min(1, 2 * target / source)", "kolom"),
    ("bagian-terbaca", "25", "proporsi"),
    ("mayoritas", "float(labels.mean())", "tidak selalu kelas 1"),
    ("ambang", "float(((logits > probability) == (labels == 1)).mean())", "salah satunya"),
    ("ambang", "float(((logits > 0) == (labels == 1)).mean())", "0,2"),
    ("ambang", "int(((logits > 0) == (labels == 1)).sum())", "proporsi"),
    ("youden", "0.0", "cobalah setiap logit"),
    ("youden", "float(np.median(logits))", "cobalah setiap logit"),
    ("kesenjangan", f"float({GAP})", "poin persen"),
    ("kesenjangan", f"float(-100 * ({GAP}))", "terbalik"),
    ("ece", "0.0", "lima belas"),
    ("ece", f"float(abs(({SIDE} - ((probability > 0.5) == labels)).mean()))", "saling menghapus"),
    ("banyak-citra", "1.96**2 * share * (1 - share) / (2 * half) ** 2", "setengah lebarnya"),
    ("banyak-citra", "4 * share * (1 - share) / half**2", "1,96"),
    ("holm", "[min(1, p * len(p_values)) for p in p_values]", "Bonferroni"),
    ("holm", "sorted(min(1, p * len(p_values)) for p in p_values)", "turun"),
    ("holm", "list(p_values)", "turun"),
    ("holm", "p_values[0]", "nilai-p"),
    ("putusan", '"lebih baik" if low > 0 else "belum dapat diputuskan"', "Anda putuskan"),
    ("putusan", '"setara" if low < 0 < high else "lebih baik" if low > 0 else "lebih buruk"', "±"),
    ("putusan", '"bagus"', "tidak dikenal"),
]


@pytest.mark.parametrize(("name", "value", "hint"), WRONG)
def test_a_usual_mistake_gets_its_hint_and_loses_points(name, value, hint, capsys):
    source = ASKED[name].skeleton.replace("return ...", f"return {value}")
    said = check(name, source, capsys)
    assert said.startswith(f"✘ {name}: ") and hint in said
    assert points(name, space_of(source, name)[ASKED[name].names[0]]) < ASKED[name].points


def test_a_probability_as_threshold_and_empty_groups_are_told(capsys):
    """Of the probabilities the best threshold is another number than of the logits."""
    probability = "1 / (1 + np.exp(-logits))"
    source = COURSE.solutions["youden"].replace("np.unique(logits)", f"np.unique({probability})")
    source = source.replace("predicted = logits >", f"predicted = {probability} >")
    assert "ambang probabilitas" in check("youden", source, capsys)
    source = COURSE.solutions["ece"].replace("np.unique(group)", "range(15)")
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning):
        assert check("ece", source, capsys).startswith("✘ ece: ")


def test_an_error_in_an_answer_is_told_with_its_line(capsys):
    source = "def majority_accuracy(labels):\n    share = labels.mean()\n    return tidak_ada"
    said = check("mayoritas", source, capsys)
    assert said.startswith("✘ mayoritas: ") and "baris 3 dengan NameError" in said


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("mayoritas", 0.5, "sebuah fungsi"),
        ("mayoritas", ..., "belum dikerjakan"),
        ("mayoritas", lambda labels: None, "return"),
        ("mayoritass", print, "✘ mayoritass: tidak ada latihan"),
        ("jumlah-kanal", lambda weight: weight.zero_().sum(1, keepdim=True), "✘"),  # empties it
    ],
)
def test_what_is_no_answer_is_said(name, given, said, capsys):
    exercises.periksa(name, given)
    assert said in capsys.readouterr().out


def test_every_exercise_has_its_points_solution_check_and_hidden_test():
    essays = {name for name, one in ASKED.items() if one.essay}
    code = set(ASKED) - essays
    assert code == set(CODE) == COURSE.solutions.keys() == COURSE.probes.keys() - essays
    assert essays == COURSE.rubrics.keys() and all(COURSE.probes[name] for name in CODE)
    assert all(one.points > 0 and answers.unanswered(one.skeleton) for one in ASKED.values())


@pytest.mark.parametrize("chapter", COURSE.chapters, ids=lambda chapter: chapter.name)
def test_points_are_printed_as_they_are_given(chapter):
    words = "\n".join(cell.source for cell in CELLS[chapter.name])
    printed = re.findall(r"^\*\*\d\.\d \((\d+) poin\)\.\*\*", words, re.M)
    given = [int(asked.points) for asked in chapter.asked.values()]
    assert [int(n) for n in printed] == given and f"Seluruhnya {sum(given)} poin" in words
    for found in filter(None, map(answers.marks, CELLS[chapter.name])):
        assert {"schema_version", "grade_id", "grade", "solution", "locked", "task"} <= found.keys()
        assert re.fullmatch(r"[\w\-]+", found["grade_id"])
        assert ("points" in found) == found["grade"]


@pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))
def test_in_the_box_an_answer_may_use_what_the_notebook_imported():
    first, chapter = COURSE.chapters[:2]
    assert marking.expect(first, COURSE.solutions, COURSE.probes, boxed=True).keys() <= set(CODE)
    expected = marking.expect(chapter, COURSE.solutions, COURSE.probes, boxed=True)
    own = (
        "def accuracy_at(logits, labels, probability):\n"
        "    return float(((expit(logits) > probability) == (labels == 1)).mean())"
    )
    outcome = marking.run(chapter, {"ambang": own}, COURSE.probes, boxed=True)["ambang"]
    part = marking.judge(chapter.asked["ambang"], answers.Answer(own), outcome, expected["ambang"])
    assert (part.status, part.points) == ("benar", 4)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_solved_and_open_exercises_stand_on_the_page_of_the_notebook(built, path):
    """The report was made with SOLVED solved and all others open: neither stops it."""
    page = (built.folder / f"build/report/{path.stem}.html").read_text("utf-8")
    words = BeautifulSoup(page, "html.parser").get_text()
    for name in set(answers.chapter(path).asked) & set(CODE):
        sign, state = ("✔", "benar") if path.stem in SOLVED else ("○", "belum dikerjakan")
        assert f"{sign} {name}: {state}." in words
