"""Hand-ins are read, never extracted; answers are found whatever an editor did to them."""

import os
import time

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading import answers, grade, marking, package, pages, roster
from grading.course import read_course
from tests import grading_class as made


def read(folder, content: bytes, name="130001.zip") -> package.Handin:
    (folder / name).write_bytes(content)
    return package.read(folder / name)


def test_unsafe_names_and_links_are_left_out_and_said(tmp_path):
    unsafe = ("../keluar.json", "/mutlak.json", "C:\\x.json", "a\\..\\..\\b.json")
    members = dict.fromkeys((*unsafe, "e\u0301\\satu.json"), "{}")
    handin = read(tmp_path, made.zipped(members, "tautan.json"))
    assert list(handin.files) == ["\u00e9/satu.json"]
    kinds = [("tidak aman" in one, "tautan" in one) for one in handin.remarks]
    assert sorted(kinds) == [(False, True)] + [(True, False)] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["130001.zip"]
    made.lay_out([made.Planted("klon", {"satu.json": "{}", ".git/dua.json": "{}"})], tmp_path)
    os.symlink("/etc", tmp_path / "klon/tautan")
    folder = package.read(tmp_path / "klon")
    assert [*folder.files] == ["satu.json"]
    assert folder.remarks == ["tautan, tidak dibaca: 'tautan'"]


def lying_bomb() -> bytes:
    """Its directory says 10 bytes where 60 MB come out."""
    content = bytearray(made.zipped({"a.json": bytes(60 * 2**20)}))
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (made.zipped({f"{i}.npz": bytes(package.ONE - 1) for i in range(6)}), "terlalu besar"),
        (made.zipped({"a.csv": b"1\n" * 2**17, "b.json": b"[]" * 2**23}), "kosong"),
        (lying_bomb(), "rusak|kosong"),
        (made.zipped({"a.ipynb": "{}"})[10:], "rusak"),
        (made.zipped({"a.zip": b"x", "b.zip": b"y"}), "kosong"),
    ],
)
def test_what_cannot_be_read_has_a_status_of_its_own(tmp_path, content, statuses):
    with pytest.raises(package.Refused) as refused:
        read(tmp_path, content)
    assert refused.value.status in statuses.split("|")


def test_the_notebook_itself_goes_before_the_newest_copy_and_executed_ones(tmp_path):
    own = "x/notebooks/01_a.ipynb"
    copies = ("01_a (10).ipynb", "01_a (9).ipynb", "Salinan dari 01_a", "01_a-Copy1.ipynb.txt")
    names = (own, *copies, "x/build/notebooks/01_a.ipynb")
    handin = package.Handin("x", {name: name.encode() for name in names})
    for name in (own, copies[0]):
        assert package.find(handin, "01_a") == (name, name.encode())
        assert "salinan, yang dinilai" in handin.remarks.pop()
        del handin.files[name]
    with pytest.raises(package.Refused, match="02_b"):
        package.find(handin, "02_b")
    for name in ("05_percobaan-Copy1.ipynb", "05_percobaan.ipynb", "06_tugas-akhir.ipynb"):
        (tmp_path / name).touch()
    assert [path.stem for path in package.chapters(tmp_path)] == ["05_percobaan", "06_tugas-akhir"]


def test_moodles_archive_is_as_many_hand_ins_as_it_has_senders(tmp_path):
    good = made.texts(made.GOOD, "130001")
    parts = [f"{who}_assignsubmission_file_" for who in ("Budi_483922", "Siti Rahma_483921")]
    members = {f"{parts[0]}130002.zip": made.zipped(good | {"x.py": ""})}
    members |= {f"{parts[1]}/{name}": text for name, text in good.items()}
    (tmp_path / "tugas.zip").write_bytes(made.zipped(members))
    entries = grade.handins(tmp_path / "tugas.zip")
    assert [path.name for path in entries] == parts and entries == grade.handins(tmp_path)
    for entry, number in zip(entries, ("483922", "483921"), strict=True):
        handin = package.read(entry)
        assert len(package.find(handin, made.FIRST)[1]) > 100
        sender = grade.said(handin, entry)["sender"]
        assert sender == f"Moodle {number} di tugas.zip/{entry.name}"
        loose = grade.said(handin, tmp_path / f"{entry.name}x.zip")["sender"]  # anybody's file
        assert loose.startswith(f"Moodle {number} di ") and loose != sender
    for said, sender in (("Moodle 483921", "ZIP Moodle 483921"), ("", "berkas x.zip")):
        forged = package.Handin("x", {"manifest.json": b'{"sender": "%s"}' % said.encode()})
        assert grade.said(forged, tmp_path / "x.zip")["sender"] == sender


@pytest.mark.parametrize(
    ("written", "nim"),
    [
        ("\uff11\uff12\u200b3 45", "12345"),
        ("12345/", "12345"),
        ("0012345", "12345"),  # as somebody writes it who never saw the zeros
        ("77", "0077"),  # as Excel leaves it
        ("20000000000", "2E10"),
        ("19-473", "19/473"),
        ("19", None),
        ("a b_c", None),
    ],
)
def test_a_number_is_found_as_people_and_excel_write_it(written, nim):
    people = roster.Roster(map(roster.Student, ("12345", "0077", "2E10", "19/473", "1-9", "1/9")))
    assert people.find(written) == nim
    if nim:
        assert nim in people.named(f"tugas_{nim.replace('/', '-')} (2)_4711_assignsubmission_file_")
    nobody = roster.Roster([], listed=False)  # numbers of Moodle and WhatsApp are no NIMs
    numbered = "A_483921_assignsubmission_file_", "DOC-20261120-WA0003", "WhatsApp 20261120"
    assert [nobody.named(name) for name in numbered] == [[], [], []]
    assert nobody.named("tugas 130001-final") == ["130001"]


def test_a_list_is_read_as_excel_and_moodle_write_it_or_its_fault_is_said(tmp_path):
    path = tmp_path / "daftar.csv"
    path.write_text("ID number;Full name;Identifier\n'0012;Siti, S.T.;Participant 4711\n;;\n")
    siti = roster.Student("0012", "Siti, S.T.", moodle="4711")
    assert roster.read(path).sender("Moodle 4711 di a.zip") == siti
    for rows in "nim|1|1 nim|a_b nama|Siti nim;nama|1;'A|2;B nim,moodle|1,4|2,4".split():
        path.write_text(rows.replace("|", "\n").replace("'", '"'))
        with pytest.raises(roster.InputError, match=r"daftar\.csv"):
            roster.read(path)


def test_eighty_thousand_empty_lines_are_read_in_no_time():
    begun = time.monotonic()
    heavy = (
        b'{"cells":[],"nbformat":4,"nbformat_minor":5,"metadata":{"x":[0' + b",{}" * 10**6 + b"]}}"
    )
    assert package.notebook(heavy).metadata == {}
    for text in ("\n" * 80_000, " \n" * 80_000, "= " * 80_000, "\n" * 80_000 + "..."):
        answers.lift(answers.Chapter("a", {"f": ASKED}, ()), new_notebook(cells=[cell(text)]))
        answers.unanswered(text), answers.unanswered(f"<!-- JAWABAN: e -->{text}")
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize("content", [b"[]", b"[" * 100_000, b'{"cells": [3]}', b"\xff\xfe\x00"])
def test_no_odd_notebook_gets_past_with_anything_but_a_status(content):
    with pytest.raises(package.Refused) as refused:
        package.notebook(content)
    assert refused.value.status in ("rusak", "kosong")


def test_what_no_encoding_can_write_stops_nobody_and_no_cell_is_a_formula(tmp_path):
    odd = nbformat.writes(made.notebook(made.FIRST)).replace("def akurasi", "\\ud800")
    assert "?" in package.notebook(odd.encode()).cells[2].source
    name = os.fsdecode(b"130\xff.zip")
    handin = read(tmp_path, made.zipped(made.texts(made.GOOD, "\ud800")), name)
    assert grade.said(handin, tmp_path / name)["nims"] == ["?"] and pages.table([[handin.name]])
    written = pages.table([["=HYPERLINK(1)", "-1,5", 2.5, None, "0012", "2E10", 'a;"b"']])
    assert written.decode("utf-8-sig") == """'=HYPERLINK(1);-1,5;2,5;;'0012;'2E10;"a;""b""\"\r\n"""


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


ESSAY = "<!-- JAWABAN: e -->\n**1.4 (5 poin).** Jelaskan mengapa data uji itu disimpan.\n\n"


@pytest.mark.parametrize(
    ("source", "gap"),
    [
        ("# JAWABAN: a\nx = ...  # isi", True),
        ("# JAWABAN: a\nx = y[..., 0]", False),
        (ESSAY + "Satu dua tiga empat.", True),
        (ESSAY + "Satu dua tiga empat lima.", False),
        ("<!-- JAWABAN: e -->\n# Karena data uji dipakai untuk memilih.", False),
    ],
)
def test_a_gap_is_seen(source, gap):
    assert answers.unanswered(source) is gap


OURS = "# JAWABAN: f\ndef f(x):\n    ..."
ASKED = answers.Asked("f", "j-f", False, OURS, answers.defined(OURS), 1)
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
        ([], None, ""),
        ([cell("h"), cell(BLANKS, "f")], 1, ""),  # as it was handed out: empty
        ([cell(OURS, "f", id="j-f"), cell(f"{PLAIN}\nh = 2")], 1, BY_NAME),  # done before signs
        ([cell("a = 1", "f"), cell(DONE, "f")], 1, TWICE),  # more signs first
        ([cell(DONE, "f"), cell(f"{DONE}\n", id="x")], 0, TWICE),  # then the first
    ],
)
def test_an_answer_is_found_by_any_sign_and_the_likeliest_is_taken(cells, chosen, remark):
    lifted = answers.lift(answers.Chapter("01_a", {"f": ASKED}, ()), new_notebook(cells=cells))["f"]
    source = None if chosen is None else cells[chosen].source
    assert lifted == answers.Answer(source, source == BLANKS, remark)


SAME = [(0.5, 0.500049), (0.0, 0.9e-6), ({"a": [1.0]}, {"a": [1]})]
OTHER = [(0.5, 0.500051), (0.0, 1.1e-6), (1, True), ([1, 2], [1]), ({"a": 1}, {"b": 1}), (1, None)]


def test_values_are_compared_as_what_they_are_and_feedback_carries_no_invented_name():
    assert not [pair for pair in SAME if marking.wrong(*pair)]
    assert all(marking.wrong(*pair) for pair in OTHER)
    for kind, known in (("galat", "ValueError"), ("objek", "Tensor")):
        assert known in marking.wrong(1, {kind: known})
        assert "rahasia" not in marking.wrong(1, {kind: "rahasia"})


def test_a_copy_with_other_names_is_found_similar_and_other_answers_are_not(tmp_path):
    made.course_folder(tmp_path / "kuliah")
    course = read_course(tmp_path / "kuliah/notebooks", None, tmp_path / "kuliah/solutions")
    own = "def akurasi(logit, label):\n    benar = 0\n    for z, y in zip(logit, label):\n"
    own += "        if (z > 0) == bool(y):\n            benar += 1\n    return benar / len(label)"
    copy = own.replace("benar", "hits").replace("z", "nilai").replace(" y", " kelas")
    other = "def akurasi(a, b):\n    return sum(int((x > 0) == y) for x, y in zip(a, b)) / len(a)"
    records = []
    for source in (own, copy, other, made.SOLUTIONS["akurasi"]):
        records.append(grade.Record(str(len(records)), "", [], [], given={"akurasi": source}))
    ((first, second, share, texts),) = pages.resemblance(records, course)
    assert (first.name, second.name, texts) == ("0", "1", [("akurasi", own, copy)]) and share > 0.9
