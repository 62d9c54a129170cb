"""A class graded in one run: the planted points, no silent loss, nothing of ours touched."""

import csv
import dataclasses
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


def state(base: Path) -> dict[Path, str]:
    """Digest of every file that is the instructor's or a student's."""
    found = [p for part in ("kuliah", "rumah", "kumpulan") for p in (base / part).rglob("*")]
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in found if p.is_file()}


def course_of(base: Path):
    made.course_folder(base / "kuliah")
    return load(base / "kuliah/notebooks", base / "kuliah/kunci", base / "kuliah/solutions")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """(folder, planted, records, course) of the class, which reached nothing."""
    if REFUSED:
        pytest.skip(REFUSED)
    base, reached = tmp_path_factory.mktemp("kelas"), []
    course = course_of(base)
    (base / "rumah").mkdir()
    (base / "rumah/rahasia").write_text("rahasia")
    with socket.create_server(("127.0.0.1", 0)) as server, pytest.MonkeyPatch.context() as patch:
        threading.Thread(target=lambda: reached.append(server.accept()), daemon=True).start()
        places = [str(base / "rumah"), str(base / "kuliah/kunci")]
        planted = made.planted_class(places, server.getsockname()[1])
        made.lay_out(planted, base / "kumpulan")
        before = state(base)
        patch.setattr(marking, "CELL", 6)
        patch.setattr(box, "GRACE", 1)
        records, now = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
    assert now == len(planted)
    assert state(base) == before and not reached
    return base, planted, records, course


def test_every_point_and_status_is_the_planted_one(graded):
    base, planted, records, _ = graded
    for one in planted:
        record = records[base / "kumpulan" / one.name]
        assert record.status == one.status and bool(record.why) == (one.status != "dinilai")
        assert {name: part["points"] for name, part in record.parts.items()} == one.points()
        for name, part in record.parts.items():
            usual = marking.HAND if name.startswith("esai") else "benar"
            status, _ = one.parts.get(name, (usual, None))
            assert part["status"] in status.split("|"), (one.name, name)


def test_a_second_run_grades_only_what_was_cut_short(graded):
    base, planted, records, course = graded
    path = base / "kumpulan" / next(one.name for one in planted if one.status == "rusak")
    grade.record_path(base / "nilai/hasil", path).write_text('{"name": "cut sho')
    again, now = grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True)
    assert now == 1 and again == records
    assert grade.grade_class(base / "kumpulan", base / "nilai", course, boxed=True) == (again, 0)


def test_the_table_opens_in_excel_and_no_page_tells_a_hidden_test(graded):
    base, planted, records, course = graded
    pages.write(base / "nilai", grade.latest(records), course, None)
    raw = (base / "nilai/nilai.csv").read_bytes()
    assert raw.startswith(b"\xef\xbb\xbf")
    rows = csv.DictReader(io.StringIO(raw.decode("utf-8-sig")), delimiter=";")
    sums = {row["Kumpulan"]: row["Jumlah"] for row in rows}
    assert sums == {one.name: f"{sum(v or 0 for v in one.points().values()):g}" for one in planted}
    page = (base / "nilai/mahasiswa/130001.html").read_text("utf-8")
    assert "sebagian" in page
    for key in made.KEYS.values():
        assert not [line for line in key.splitlines() if line.split("lambda: ")[1] in page]


def test_an_interrupted_run_keeps_what_it_has_and_goes_on(tmp_path, monkeypatch):
    course = dataclasses.replace(course_of(tmp_path), probes={}, solutions={})
    broken = [made.Planted(f"13000{i}.zip", b"x") for i in range(4)]
    made.lay_out(broken, tmp_path / "kumpulan")
    keep, kept = grade.keep, []

    def interrupted(path, record):
        if len(kept) == 2:
            raise KeyboardInterrupt
        kept.append(path)
        keep(path, record)

    def run():
        return grade.grade_class(tmp_path / "kumpulan", tmp_path / "nilai", course, boxed=True)

    monkeypatch.setattr(grade, "keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run()
    monkeypatch.setattr(grade, "keep", keep)
    before = {path: path.stat().st_mtime_ns for path in kept}
    records, now = run()
    assert now == 2 and [one.status for one in records.values()] == ["rusak"] * 4
    assert {path: path.stat().st_mtime_ns for path in kept} == before
