"""Hand-ins are read, never extracted; answers are found whatever an editor did to them."""

import os

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading import answers, grade, marking, package, pages
from tests import grading_class as made


def read(folder, content: bytes, name="130001.zip") -> package.Handin:
    (folder / name).write_bytes(content)
    return package.read(folder / name)


def test_unsafe_names_and_links_are_left_out_and_said(tmp_path):
    unsafe = ("../keluar.json", "/mutlak.json", "C:\\x.json", "a\\..\\..\\b.json")
    handin = read(tmp_path, made.linked(dict.fromkeys((*unsafe, "e\u0301\\satu.json"), "{}")))
    assert list(handin.files) == ["\u00e9/satu.json"]
    kinds = [("tidak aman" in one, "tautan" in one) for one in handin.remarks]
    assert sorted(kinds) == [(False, True)] + [(True, False)] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["130001.zip"]


def test_a_folder_is_read_without_its_history_and_links(tmp_path):
    made.lay_out([made.Planted("klon", {"satu.json": "{}", ".git/dua.json": "{}"})], tmp_path)
    os.symlink("/etc", tmp_path / "klon/tautan")
    handin = package.read(tmp_path / "klon")
    assert list(handin.files) == ["satu.json"]
    assert handin.remarks == ["tautan, tidak dibaca: 'tautan'"]


def lying_bomb() -> bytes:
    """Its directory says 10 bytes where 60 MB come out."""
    content = bytearray(made.zipped({"a.json": bytes(60 * 2**20)}))
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (made.zipped({f"{i}.json": bytes(package.ONE - 1) for i in range(6)}), "terlalu besar"),
        (made.zipped({"a.json": bytes(package.ONE + 1)}), "terlalu besar"),
        (lying_bomb(), "rusak|terlalu besar"),
        (made.zipped({"a.ipynb": "{}"})[10:], "rusak"),
        (made.zipped({"a.zip": b"x", "b.zip": b"y"}), "rusak"),
    ],
)
def test_what_cannot_be_read_has_a_status_of_its_own(tmp_path, content, statuses):
    with pytest.raises(package.Refused) as refused:
        read(tmp_path, content)
    assert refused.value.status in statuses.split("|")


def test_the_notebook_itself_goes_before_copies_and_executed_ones(tmp_path):
    own = "x/notebooks/01_a.ipynb"
    names = ("x/build/notebooks/01_a.ipynb", "x/notebooks/01_a (1).ipynb", own, "01_a-Copy1.ipynb")
    handin = read(tmp_path, made.zipped({name: name for name in names}))
    assert package.find(handin, "01_a") == (own, own.encode())
    assert any("lebih dari satu salinan" in one for one in handin.remarks)
    with pytest.raises(package.Refused, match="02_b"):
        package.find(handin, "02_b")


DEEP, NO_CELLS = b"[" * 100_000, b'{"cells": [3], "nbformat": 4}'


@pytest.mark.parametrize("content", [b"[]", b"{}", DEEP, NO_CELLS, b"\xff\xfe\x00"])
def test_no_odd_notebook_gets_past_with_anything_but_a_status(content):
    try:
        assert package.notebook(content).cells == []
    except package.Refused as refused:
        assert refused.status in ("rusak", "kosong")


def test_what_no_encoding_can_write_stops_nobody(tmp_path):
    odd = nbformat.writes(made.notebook(made.FIRST)).replace("def akurasi", "\\ud800")
    assert "?" in package.notebook(odd.encode()).cells[2].source
    name = os.fsdecode(b"130\xff.zip")
    handin = read(tmp_path, made.zipped(made.texts(made.GOOD, "\ud800")), name)
    assert grade.who(handin, tmp_path / name)[0] == ["?"] and pages.table([[handin.name]])


def cell(source="", name=None, id="", cls=new_code_cell, tags=(), **marked):
    """A cell; with a name it carries nbgrader's metadata, with those marks."""
    about = {"nbgrader": {"grade_id": name, "solution": True, **marked}} if name or marked else {}
    made_up = cls(source, metadata=about | {"tags": [*tags]})
    made_up.id = id or made_up.id
    return made_up


def chapter(folder, *cells) -> answers.Chapter:
    nbformat.write(new_notebook(cells=cells), folder / "01_a.ipynb")
    return answers.chapter(folder / "01_a.ipynb")


def test_a_chapter_knows_its_parts_points_and_steps(tmp_path):
    found = chapter(
        tmp_path,
        cell("x = 1", tags=["parameters"]),
        cell("import a.b as c\nx = train()\nfrom d import e"),
        cell("%matplotlib inline\nimport f"),
        cell("g = 3\nclass F:\n    h = 1\nasync def k(): ...\nb == 2", "f", id="j-f"),
        cell("periksa('f', 1)", "t1", solution=False, locked=True, points=1.5),
        cell('periksa( "f", 2)', "t2", solution=False, locked=True, points=2),
        cell('periksa("ff", 3)', "t4", solution=False, locked=True, points=10),
        cell("\n\n# JAWABAN: g-2\ny = 1"),
        cell("\n\n\n# JAWABAN: h\ny = 1"),
        cell("Mengapa?", "esai", cls=new_markdown_cell, points=5),
    )
    given = {n: (a.essay, a.names, a.points) for n, a in found.asked.items()}
    f, g = (False, ("F", "k", "g"), 3.5), (False, ("y",), 0)
    assert given == {"f": f, "g-2": g, "esai": (True, (), 5)}
    assert found.name == "01_a" and found.asked["f"].cell_id == "j-f"
    steps = [(name, code.strip().splitlines()[0]) for name, code in found.steps]
    asked = [("f", "g = 3"), ("g-2", "# JAWABAN: g-2")]
    assert steps == [("", "x = 1"), ("", "import a.b as c"), *asked]
    assert found.steps[1][1] == "import a.b as c\nfrom d import e"


def test_only_the_imports_that_somebody_mentions_are_run():
    both = [("f", "def f(): ..."), ("", "y = copy.copy(1)")]
    first = "import torch\nimport numpy as np, copy\nimport os.path\nfrom x import a, b as c"
    mentioned = ["def f(): return np.mean(c)", "os"]
    kept = "import numpy as np, copy\nimport os.path\nfrom x import b as c"
    assert answers.needed([("", first), *both], mentioned) == [("", kept), *both]
    strange = [("", "%matplotlib inline"), ("", "from x import *"), ("", "import torch")]
    assert answers.needed(strange, []) == [*strange[:2], ("", "")]


ESSAY = "<!-- JAWABAN: e -->\n**1.4 (5 poin).** Jelaskan mengapa data uji itu disimpan.\n\n"


@pytest.mark.parametrize(
    ("source", "gap"),
    [
        ("# JAWABAN: a\nx = ...  # isi", True),
        ("raise NotImplementedError", True),
        ("# JAWABAN: a\nx = y[..., 0]", False),
        (ESSAY + "Satu dua tiga empat.", True),
        (ESSAY + "Satu dua tiga empat lima.", False),
        ("<!-- JAWABAN: e -->\n# Karena data uji dipakai untuk memilih.", False),
    ],
)
def test_a_gap_is_seen(source, gap):
    assert answers.unanswered(source) is gap


OURS = "# JAWABAN: f\ndef f(x):\n    ..."
DONE, PLAIN = "# JAWABAN: f\ndef f(x):\n    return 1", "def f(x):\n    return 1"
BLANKS = "def f(x):\n  ...\n"
BY_NAME = "ditemukan dari nama yang dibuatnya"
TWICE = "jawaban ganda, satu yang dinilai"


@pytest.mark.parametrize(
    ("cells", "chosen", "remark"),
    [
        ([cell("x = 1"), cell("return", id="j-f")], 1, ""),  # each sign alone
        ([cell("return", "f")], 0, ""),
        ([cell("# JAWABAN: f\nreturn")], 0, ""),
        ([cell(f"{PLAIN}\nh = 2")], 0, BY_NAME),
        ([cell("return", "g", id="j-f")], None, ""),  # another's answer
        ([cell("return", "f", solution=False)], None, ""),  # a check
        ([cell(DONE.replace("f\n", "g\n", 1))], None, ""),
        ([], None, ""),
        ([cell("h"), cell(BLANKS, "f")], 1, ""),  # as it was handed out: empty
        ([cell(OURS, "f", id="j-f"), cell(f"{PLAIN}\nh = 2")], 1, BY_NAME),  # done before signs
        ([cell("a = 1", "f"), cell(DONE, "f")], 1, TWICE),  # more signs first
        ([cell("a = 1", "f"), cell(PLAIN, "f")], 1, TWICE),  # then the name
        ([cell(DONE, "f"), cell(f"{DONE}\n", id="x")], 0, TWICE),  # then the first
        ([cell(DONE), cell(DONE, id="x")], 0, ""),  # the same twice
    ],
)
def test_an_answer_is_found_by_any_sign_and_the_likeliest_is_taken(cells, chosen, remark):
    asked = answers.Asked("f", "j-f", False, OURS, answers.defined(OURS), 1)
    lifted = answers.lift(answers.Chapter("01_a", {"f": asked}, ()), new_notebook(cells=cells))["f"]
    source = None if chosen is None else cells[chosen].source
    assert lifted == answers.Answer(source, source == BLANKS, remark)


SAME = [(0.5, 0.500049), (0.0, 0.9e-6), ("a", "a"), ({"a": 1}, {"a": 1.0}), ([1.0, [2]], [1, [2]])]
OTHER = [(0.5, 0.500051), (0.0, 1.1e-6), (1, True), ([1, 2], [1]), ({"a": 1}, {"b": 1}), (1, None)]


def test_values_are_compared_as_what_they_are():
    for same, pairs in ((True, SAME), (False, OTHER)):
        for expected, value in pairs:
            assert marking.equal(expected, value) is same, (expected, value)
            assert (marking.wrong(expected, value) == "") is same, (expected, value)


def test_no_cell_of_a_table_is_a_formula():
    written = pages.table([["=HYPERLINK(1)", "-1,5", 2.5, None]]).decode("utf-8-sig")
    assert written == "'=HYPERLINK(1);-1,5;2,5;\r\n"


def test_feedback_carries_no_name_that_a_student_invented():
    for kind, known in (("galat", "ValueError"), ("objek", "Tensor")):
        assert known in marking.wrong(1, {kind: known})
        assert "rahasia" not in marking.wrong(1, {kind: "rahasia"})


def test_lateness_counts_days_that_have_begun():
    limit = pages.deadline("2026-12-01T12:00+00:00")
    times = ("01T11", "01T12", "01T13", "02T13", "04T12")
    assert [pages.days_late(f"2026-12-{t}:00+00:00", limit) for t in times] == [0, 0, 1, 2, 3]
