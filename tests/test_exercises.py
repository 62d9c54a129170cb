"""The exercises of the notebooks: solved, open, and wrong in the ways in which students are wrong."""

import re

import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup

from cxr_helpers import exercises
from grading import answers
from tests.conftest import ROOT, SOLVED

CHAPTERS = sorted((ROOT / "notebooks").glob("0[1-4]*.ipynb"))
SOLUTIONS = ROOT / "grading/solutions"


def cells(path):
    return nbformat.read(path, 4).cells


def notebook_of(name):
    return next(
        path for path in CHAPTERS if any(answers.identity(cell) == name for cell in cells(path))
    )


def imports(path):
    """What the notebook imports for its exercises."""
    return next(cell.source for cell in cells(path) if cell.source.endswith("import periksa"))


def check(name: str, source: str, capsys) -> str:
    """What the notebook's own check says of an answer cell with this source."""
    path = notebook_of(name)
    call = next(cell.source for cell in cells(path) if cell.source.startswith(f'periksa("{name}"'))
    space = {}
    exec(imports(path), space)
    exec(compile(source, "<jawaban>", "exec"), space)
    exec(call, space)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    return said.strip()


def skeleton(name: str) -> str:
    return next(cell.source for cell in cells(notebook_of(name)) if answers.identity(cell) == name)


@pytest.mark.parametrize("name", exercises.CHECKS)
def test_the_solution_is_right_and_the_handed_out_cell_is_open(name, capsys):
    assert check(name, (SOLUTIONS / f"{name}.py").read_text("utf-8"), capsys) == f"✔ {name}: benar."
    assert check(name, skeleton(name), capsys) == f"○ {name}: belum dikerjakan."
    assert answers.unanswered(skeleton(name)) and not answers.unanswered(
        (SOLUTIONS / f"{name}.py").read_text("utf-8")
    )


WRONG = [
    ("jumlah-kanal", "return weight.mean(dim=1, keepdim=True)", "rata-rata"),
    ("jumlah-kanal", "return weight.sum(dim=1)", "keepdim=True"),
    ("jumlah-kanal", "return weight[:, :1]", "responsnya"),
    ("jumlah-kanal", "return weight.numpy().sum(1)", "ndarray berbentuk (8, 7, 7)"),
    ("banyak-bobot", "return outputs * side**2", "kanal masukan"),
    ("banyak-bobot", "outputs * inputs * side**2", "return"),
    ("bagian-terbaca", "return (5 if target == 3 else 7) / 7", "dua sumbu"),
    ("bagian-terbaca", "return (target / source) ** 2", "kolom"),
    ("bagian-terbaca", "return 25", "proporsi"),
    ("mayoritas", "return labels.mean()", "tidak selalu kelas 1"),
    (
        "ambang",
        "return ((logits > probability) == (labels == 1)).mean()",
        "ubah dahulu salah satunya",
    ),
    ("ambang", "return ((logits > 0) == (labels == 1)).mean()", "0,2"),
    ("ambang", "return ((logits > 0) == (labels == 1)).sum()", "proporsi"),
    ("youden", "return 0.0", "cobalah setiap logit"),
    (
        "kesenjangan",
        "return ((train_logits > 0) == train_labels).mean() - ((val_logits > 0) == val_labels).mean()",
        "poin persen",
    ),
    (
        "kesenjangan",
        "return 100 * (((val_logits > 0) == val_labels).mean() - ((train_logits > 0) == train_labels).mean())",
        "terbalik",
    ),
    ("ece", "return abs((probability > 0.5).mean() - labels.mean())", "lima belas"),
    (
        "ece",
        "return abs((np.maximum(probability, 1 - probability) - ((probability > 0.5) == labels)).mean())",
        "saling menghapus",
    ),
    ("banyak-citra", "return 1.96**2 * share * (1 - share) / (2 * half) ** 2", "setengah lebarnya"),
    ("banyak-citra", "return 1.96 * share * (1 - share) / half", "1,96"),
    ("holm", "return [min(1, p * len(p_values)) for p in p_values]", "Bonferroni"),
    ("holm", "return sorted(min(1, p * len(p_values)) for p in p_values)", "turun"),
    ("holm", "return p_values[0]", "nilai-p"),
    ("putusan", 'return "lebih baik" if low > 0 else "belum dapat diputuskan"', "Anda putuskan"),
    ("putusan", 'return "bagus"', "tidak dikenal"),
]


@pytest.mark.parametrize(("name", "body", "hint"), WRONG)
def test_a_usual_mistake_gets_its_hint(name, body, hint, capsys):
    said = check(name, skeleton(name).replace("return ...", body), capsys)
    assert said.startswith(f"✘ {name}: ") and hint in said


def test_a_probability_given_as_logit_threshold_is_recognised(capsys):
    """Of the probabilities the best threshold is another number than of the logits."""
    source = (
        (SOLUTIONS / "youden.py")
        .read_text("utf-8")
        .replace("np.unique(logits)", "np.unique(1 / (1 + np.exp(-logits)))")
    )
    source = source.replace("predicted = logits >", "predicted = 1 / (1 + np.exp(-logits)) >")
    assert "ambang probabilitas" in check("youden", source, capsys)


def test_a_missing_skip_of_empty_groups_is_told(capsys):
    source = (SOLUTIONS / "ece.py").read_text("utf-8").replace("np.unique(group)", "range(15)")
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning):
        assert check("ece", source, capsys).startswith("✘ ece: ")


def test_an_error_in_an_answer_is_told_with_its_line(capsys):
    said = check(
        "mayoritas",
        "def majority_accuracy(labels):\n    share = labels.mean()\n    return tidak_ada",
        capsys,
    )
    assert said.startswith("✘ mayoritas: fungsi Anda berhenti pada baris 3 dengan NameError")


@pytest.mark.parametrize(
    ("given", "said"),
    [(0.5, "sebuah fungsi"), (..., "belum dikerjakan"), (lambda labels: None, "return")],
)
def test_what_is_no_function_is_said(given, said, capsys):
    exercises.periksa("mayoritas", given)
    assert said in capsys.readouterr().out


def test_an_unknown_exercise_is_said(capsys):
    exercises.periksa("mayoritass", print)
    assert capsys.readouterr().out.startswith("✘ mayoritass: tidak ada latihan")


def test_an_answer_cannot_change_what_it_is_judged_by(capsys):
    """An answer that empties its input is judged by an untouched copy."""
    said = check(
        "jumlah-kanal",
        "def sum_channels(weight):\n    return weight.zero_().sum(dim=1, keepdim=True)",
        capsys,
    )
    assert said.startswith("✘")


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_points_are_printed_as_they_are_given(path):
    chapter, printed, given = answers.chapter(path), [], []
    for cell in cells(path):
        if found := re.search(r"^\*\*\d\.\d \((\d+) poin\)\.\*\*", cell.source, re.M):
            printed.append(int(found[1]))
    given = [int(asked.points) for asked in chapter.asked.values()]
    assert printed == given and len(printed) in (3, 4)
    assert f"Seluruhnya {sum(given)} poin" in "\n".join(cell.source for cell in cells(path))


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_the_marks_of_the_cells_are_those_that_grading_tools_read(path):
    for cell in cells(path):
        marks = answers.marks(cell)
        if not marks:
            continue
        assert set(marks) - {"points"} == {
            "schema_version",
            "grade_id",
            "grade",
            "solution",
            "locked",
            "task",
        }
        assert (
            re.fullmatch(r"[a-zA-Z0-9_\-]+", marks["grade_id"])
            and ("points" in marks) == marks["grade"]
        )
    for name, asked in answers.chapter(path).asked.items():
        assert (SOLUTIONS / f"{name}{'.md' if asked.essay else '.py'}").is_file()
        assert asked.essay == name.startswith("esai-") and asked.points > 0


def test_every_check_belongs_to_a_notebook():
    asked = [
        name
        for path in CHAPTERS
        for name, one in answers.chapter(path).asked.items()
        if not one.essay
    ]
    assert sorted(asked) == sorted(exercises.CHECKS)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_solved_and_open_exercises_stand_on_the_page_of_the_notebook(built, path):
    """The report was made with the exercises of SOLVED solved and all others open: neither stops it."""
    page = BeautifulSoup(
        (built.folder / f"build/report/{path.stem}.html").read_text("utf-8"), "html.parser"
    ).get_text()
    for name in (name for name, asked in answers.chapter(path).asked.items() if not asked.essay):
        said = f"✔ {name}: benar." if path.stem in SOLVED else f"○ {name}: belum dikerjakan."
        assert said in page
