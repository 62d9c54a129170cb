"""A class of forty graded in one run: the planted points, a status for every loss, nothing of the instructor's touched."""

import csv
import hashlib
import io
import socket
import threading
from pathlib import Path

import pytest

from grading import box, grade, marking, pages
from grading.course import load
from tests import grading_class as made

REFUSED = box.refusal()


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """(folder, planted, records, connections that reached us) of the whole class."""
    if REFUSED:
        pytest.skip(REFUSED)
    base = tmp_path_factory.mktemp("kelas")
    made.course_folder(base / "kuliah")
    home = base / "rumah"
    home.mkdir()
    (home / "rahasia").write_text("rahasia")
    server = socket.create_server(("127.0.0.1", 0))
    reached = []
    threading.Thread(target=lambda: reached.append(server.accept()), daemon=True).start()
    planted = made.planted_class(str(home), str(base / "kuliah" / "kunci"), server.getsockname()[1])
    made.lay_out(planted, base / "kumpulan")
    before = state(base)
    course = load(base / "kuliah/notebooks", base / "kuliah/kunci", base / "kuliah/solutions")
    usual = marking.CELL
    marking.CELL = 6
    try:
        records, now = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
    finally:
        marking.CELL = usual
    assert now == len(planted)
    server.close()
    return base, planted, records, reached, before, course


def state(base: Path) -> dict[str, str]:
    """Digest of every file that is the instructor's or a student's."""
    there = [
        p
        for part in ("kuliah", "rumah", "kumpulan")
        for p in sorted((base / part).rglob("*"))
        if p.is_file()
    ]
    return {
        str(path.relative_to(base)): hashlib.sha256(path.read_bytes()).hexdigest() for path in there
    }


def test_every_point_is_the_planted_one(graded):
    base, planted, records, *_ = graded
    assert len(planted) >= 40
    wrong = []
    for one in planted:
        record = records[base / "kumpulan" / one.name]
        points = {name: part["points"] for name, part in record.parts.items()} or dict.fromkeys(
            made.FULL, 0.0
        )
        if record.status != one.status or points != one.points:
            wrong.append((one.name, record.status, record.why, points))
        wrong += [
            (one.name, n, record.parts[n]["status"])
            for n, status in one.parts.items()
            if record.parts[n]["status"] not in status.split("|")
        ]
    assert not wrong


def test_no_zero_is_silent(graded):
    for record in graded[2].values():
        assert record.status != grade.LOOK, record.why
        if record.status != "dinilai":
            assert record.why
        for part in record.parts.values():
            assert part["points"] != 0 or part["status"] not in (
                "",
                "benar",
                "sebagian",
                marking.HAND,
            )


def test_nothing_of_the_instructors_was_touched_or_reached(graded):
    base, _, _, reached, before, _ = graded
    assert state(base) == before and not reached
    assert not (base.parent / "keluar.json").exists()


def test_a_second_run_does_nothing_and_one_cut_short_goes_on(graded):
    base, planted, records, *_, course = graded
    again, now = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
    assert now == 0 and again == records
    path = base / "kumpulan" / planted[0].name
    grade.record_path(base / "nilai/hasil", path).write_text('{"name": "cut sho')
    again, now = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
    assert now == 1 and again[path].parts == records[path].parts


def test_the_table_opens_in_excel_and_the_pages_name_no_hidden_test(graded):
    base, planted, records, *_, course = graded
    chosen = grade.latest(records)
    pages.write(base / "nilai", chosen, course, None)
    raw = (base / "nilai/nilai.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = {
        row["Kumpulan"]: row
        for row in csv.DictReader(io.StringIO(raw.decode("utf-8-sig")), delimiter=";")
    }
    assert len(rows) == len(planted)
    for one in planted:
        assert rows[one.name]["Jumlah"] == f"{sum(v or 0 for v in one.points.values()):g}".replace(
            ".", ","
        )
    page = (base / "nilai/mahasiswa/130013.html").read_text("utf-8")
    assert "sebagian" in page or "waktu habis" in page
    for key in made.KEYS.values():
        for line in key.splitlines():
            assert line.split("lambda: ")[1] not in page
