"""Hand-ins are read, never extracted; answers are found whatever an editor did; judging happens on plain JSON."""

import io
import os
import subprocess
import zipfile

import nbformat
import pytest

from cxr_helpers.engine.errors import InputError
from grading import answers, claims, grade, marking, package, pages
from grading.course import load
from tests import grading_class as made


def write(folder, content: bytes, name="130001.zip"):
    path = folder / name
    path.write_bytes(content)
    return path


def test_unsafe_names_and_links_are_left_out_and_said(tmp_path):
    files = {
        "../keluar.json": "{}",
        "/mutlak.json": "{}",
        "C:\\x.json": "{}",
        "a\\..\\..\\b.json": "{}",
        "baik/satu.json": "{}",
    }
    handin = package.read(write(tmp_path, made.linked(files)))
    assert list(handin.files) == ["baik/satu.json"]
    assert sum("tidak aman" in one for one in handin.remarks) == 4 and any(
        "tautan" in one for one in handin.remarks
    )
    assert [path.name for path in tmp_path.iterdir()] == ["130001.zip"]


def bomb_by_count() -> bytes:
    return made.zipped({f"{i}.json": "" for i in range(package.MEMBERS + 1)})


def bomb_by_total() -> bytes:
    part = bytes(package.ONE - 1)
    return made.zipped({f"{i}.json": part for i in range(7)})


def lying_bomb() -> bytes:
    """Its directory says 10 bytes where 60 MB come out."""
    content = bytearray(made.zipped({"a.json": bytes(60 * 2**20)}))
    place = content.rindex(b"PK\x01\x02")
    content[place + 24 : place + 28] = (10).to_bytes(4, "little")
    return bytes(content)


def locked() -> bytes:
    content = bytearray(made.zipped({"a.json": "{}"}))
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(sign) + offset] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (bomb_by_count(), {"terlalu besar"}),
        (bomb_by_total(), {"terlalu besar"}),
        (made.zipped({"a.json": bytes(package.ONE + 1)}), {"terlalu besar"}),
        (lying_bomb(), {"rusak", "terlalu besar"}),
        (locked(), {"terkunci"}),
        (made.zipped({"a.ipynb": "{}"})[:-5], {"rusak"}),
        (made.zipped({"a.ipynb": "{}"})[10:], {"rusak"}),
        (b"", {"rusak"}),
        (made.zipped({}), {"kosong"}),
        (made.zipped({"a.zip": made.zipped({"b.zip": made.zipped({"c.json": "{}"})})}), {"kosong"}),
        (made.zipped({"a.zip": b"x", "b.zip": b"y"}), {"rusak"}),
    ],
)
def test_what_cannot_be_read_has_a_status_of_its_own(tmp_path, content, statuses):
    with pytest.raises(package.Refused) as refused:
        package.read(write(tmp_path, content))
    assert refused.value.status in statuses


def test_names_are_nfc_and_any_encoding_of_a_text_is_read(tmp_path):
    handin = package.read(write(tmp_path, made.zipped({"Tugas e\u0301/satu.json": "{}"})))
    assert list(handin.files) == ["Tugas \u00e9/satu.json"]
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert package.text("Citra é".encode(encoding)) == "Citra é"


def test_a_git_clone_is_read_without_its_history_and_links(tmp_path):
    for name, content in made.texts(made.GOOD, "130001").items():
        path = tmp_path / "klon" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8")
    subprocess.run(["git", "init", "-q", str(tmp_path / "klon")], check=True)
    os.symlink("/etc", tmp_path / "klon" / "tautan")
    handin = package.read(tmp_path / "klon")
    assert sorted(handin.files) == [
        "manifest.json",
        "notebooks/01_adaptasi_bobot.ipynb",
        "notebooks/02_pelatihan.ipynb",
    ]
    assert handin.remarks == ["tautan, tidak dibaca: 'tautan'"]


def test_the_notebook_itself_goes_before_copies_and_executed_ones(tmp_path):
    names = (
        "x/build/notebooks/01_a.ipynb",
        "x/notebooks/01_a (1).ipynb",
        "x/notebooks/01_a.ipynb",
        "01_a-Copy1.ipynb",
    )
    handin = package.read(write(tmp_path, made.zipped({name: name for name in names})))
    assert package.find(handin, "01_a")[0] == "x/notebooks/01_a.ipynb"
    assert any("lebih dari satu salinan" in one for one in handin.remarks)
    with pytest.raises(package.Refused, match="tidak ada"):
        package.find(handin, "02_b")


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b"null",
        b"[" * 100_000,
        b'{"cells": 3}',
        b'{"cells": [3], "nbformat": 4}',
        b"\xff\xfe\x00",
    ],
)
def test_no_odd_notebook_gets_past_with_anything_but_a_status(content):
    try:
        assert package.notebook(content).cells == []
    except package.Refused as refused:
        assert refused.status in ("rusak", "kosong")


def test_what_no_encoding_can_write_stops_nobody(tmp_path):
    made_up = nbformat.writes(made.notebook(made.FIRST)).replace("def akurasi", "\\ud800")
    assert "?" in package.notebook(made_up.encode()).cells[4].source
    path = write(
        tmp_path,
        made.zipped(made.texts(made.GOOD, "\ud800") | {"x": "y"}),
        os.fsdecode(b"130\xff.zip"),
    )
    handin = package.read(path)
    assert grade.who(handin, path)[0] == ["?"] and pages.table([[handin.name]])
    assert (
        len({grade.record_path(tmp_path, path), grade.record_path(tmp_path, tmp_path / "130.zip")})
        == 2
    )


def test_an_old_notebook_is_read():
    old = '{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": [{"cell_type": "code", "language": "py",'
    old += ' "metadata": {}, "input": ["# JAWABAN: akurasi\\n", "x = 1"], "outputs": []}]}]}'
    assert package.notebook(old.encode()).cells[0].source == "# JAWABAN: akurasi\nx = 1"


@pytest.fixture
def course(tmp_path):
    made.course_folder(tmp_path / "kuliah")
    return load(
        tmp_path / "kuliah/notebooks", tmp_path / "kuliah/kunci", tmp_path / "kuliah/solutions"
    )


@pytest.mark.parametrize(
    "change", [made.without_metadata, made.without_ids, made.without_markers, made.duplicated]
)
def test_answers_are_found_whatever_an_editor_stripped(course, change):
    chapter = course.chapters[0]
    lifted = answers.lift(chapter, package.notebook(made.edited(made.FIRST, change).encode()))
    for name in ("rerata", "akurasi", "jumlah"):
        assert made.SOLUTIONS[name] in lifted[name].source and not lifted[name].empty


def test_of_an_answer_that_nothing_tells_it_is_said_that_it_is_not_there(course):
    lifted = answers.lift(
        course.chapters[0], package.notebook(made.edited(made.FIRST, made.without_one).encode())
    )
    assert lifted["akurasi"].source is None
    assert (
        marking.judge(course.chapters[0].asked["akurasi"], lifted["akurasi"], None, {}).status
        == "tidak ada"
    )


def test_two_different_answers_are_remarked(course):
    def twice(notebook):
        notebook.cells.append(
            nbformat.v4.new_code_cell("# JAWABAN: akurasi\nakurasi = None", id="lagi")
        )

    lifted = answers.lift(
        course.chapters[0], package.notebook(made.edited(made.FIRST, twice).encode())
    )
    assert (
        made.SOLUTIONS["akurasi"] in lifted["akurasi"].source
        and "ganda" in lifted["akurasi"].remark
    )


def test_points_and_parts_come_from_the_notebook(course):
    assert {n: a.points for c in course.chapters for n, a in c.asked.items()} == made.POINTS
    assert (
        course.chapters[0].steps[0] == ("", "import numpy as np")
        and len(course.chapters[0].steps) == 4
    )


def test_only_the_imports_that_somebody_mentions_are_run():
    steps = [
        ("", "import torch\nimport numpy as np, copy\nfrom x import (a, b as c)"),
        ("f", "def f(): ..."),
        ("", "y = copy.copy(1)"),
    ]
    assert answers.needed(steps, ["def f(): return np.mean(c)"]) == [
        ("", "import numpy as np, copy\nfrom x import b as c"),
        ("f", "def f(): ..."),
        ("", "y = copy.copy(1)"),
    ]
    assert answers.needed([("", "%matplotlib inline"), ("", "from x import *")], []) == [
        ("", "%matplotlib inline"),
        ("", "from x import *"),
    ]


def test_feedback_carries_no_name_that_a_student_invented():
    assert "ValueError" in marking.wrong(1, {"galat": "ValueError"}) and "Tensor" in marking.wrong(
        1, {"objek": "Tensor"}
    )
    assert "rahasia" not in marking.wrong(1, {"galat": "rahasia"}) + marking.wrong(
        1, {"objek": "rahasia"}
    )


@pytest.mark.parametrize(
    ("expected", "value", "same"),
    [
        (0.5, 0.5 + 1e-7, True),
        (0.5, 0.51, False),
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        ([1.0, [2]], [1, [2.0]], True),
        ([1, 2], [1], False),
        ("a", "a", True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": 1}, {"b": 1}, False),
        (0.5, {"objek": "Sama"}, False),
        (0.5, None, False),
        (0.0, {"galat": "ZeroDivisionError"}, False),
    ],
)
def test_values_are_compared_as_what_they_are(expected, value, same):
    assert marking.equal(expected, value) is same and (marking.wrong(expected, value) == "") is same


def test_a_table_that_excel_left_is_read(tmp_path):
    for encoding, sign in (("utf-16", "\t"), ("utf-8-sig", ";"), ("cp1252", ",")):
        path = tmp_path / "t.csv"
        path.write_bytes(
            f"NIM{sign}Poin\r\n130001{sign}{'1.5' if sign == ',' else '1,5'}\r\n".encode(encoding)
        )
        assert package.table(path.read_bytes())[0]["nim"] == "130001"


def test_what_looks_like_a_formula_stays_text():
    assert (
        pages.table([["=HYPERLINK(1)", "-1,5", 2.5, None]]).decode("utf-8-sig")
        == "'=HYPERLINK(1);-1,5;2,5;\r\n"
    )


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("2,0509E+14;esai;5;baik", "ditulis ulang oleh Excel"),
        ("catatan saya", "tidak menyebut bagian"),
    ],
)
def test_marks_that_no_longer_say_whose_they_are_are_one_line_and_stay(tmp_path, line, why):
    path = tmp_path / "tangan.csv"
    path.write_text(f"nim;bagian;poin;catatan\n1;esai;4;\n;;;\n{line}\n")
    before = path.read_bytes()
    with pytest.raises(InputError, match=why):
        pages.marks(path, [])
    assert path.read_bytes() == before


def test_the_newest_hand_in_is_the_newest_in_any_time_zone(tmp_path):
    made = {
        "first.zip": "2026-12-01T23:30:00+07:00",
        "second.zip": "2026-12-01T17:00:00+00:00",
    }  # 16:30 and 17:00 UTC
    records = {
        tmp_path / name: grade.Record(name, "1", ["1"], [], made=when)
        for name, when in made.items()
    }
    assert [one.name for one in grade.latest(records)] == ["second.zip"]


def test_a_year_in_two_files_names_does_not_make_them_one_students(tmp_path):
    found = []
    for name in ("Tugas_2026_Budi.zip", "Tugas_2026_Siti.zip", "2026_130012.zip"):
        (tmp_path / name).touch()
        found.append(grade.who(package.Handin(name), tmp_path / name)[0])
    assert found == [["Tugas_2026_Budi"], ["Tugas_2026_Siti"], ["130012"]]


def test_lateness_counts_days_that_have_begun():
    limit = pages.deadline("2026-12-01T12:00+00:00")
    assert [
        pages.days_late(f"2026-12-0{d}T{h}:00+00:00", limit)
        for d, h in ((1, "11"), (1, 13), (2, 13), (4, "12"))
    ] == [
        0,
        1,
        2,
        3,
    ]
    with pytest.raises(InputError, match="BATAS="):
        pages.deadline("besok")


def test_arrays_of_a_student_load_no_pickle_and_no_bomb():
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, a=np.array([{}], dtype=object))
    with pytest.raises(package.Refused):
        claims.arrays(stream.getvalue())
    stream = io.BytesIO()
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as member,
    ):
        np.lib.format.write_array_header_1_0(
            member, {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
        )
    with pytest.raises(package.Refused):
        claims.arrays(stream.getvalue())
