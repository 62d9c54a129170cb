"""What is handed out and handed in, on a real smoke report, and the commands that do it."""

import dataclasses
import json
import shutil
import subprocess
import zipfile

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from grading import answers, box, claims, grade, package, pages, release, shown, submit
from grading.course import read_course
from grading.roster import Roster, Student
from tests import grading_class as made
from tests.conftest import Project

SECRET = "def akurasi(logit, label):\n    rahasia = 42\n    return rahasia"


def instructor(folder):
    """A repository whose one notebook holds the answers between marks."""
    marked = "{0}\n{2}### BEGIN SOLUTION\n{1}\n{2}### END SOLUTION"
    code = marked.format("# JAWABAN: akurasi", SECRET, "")
    essay = marked.format("<!-- JAWABAN: esai-bocor -->", "rahasia besar", "")
    within = marked.format("# JAWABAN: f\ndef f(x):", "    return x + 4711", "    ")
    cells = [new_code_cell(code), new_markdown_cell(essay), new_code_cell(within)]
    content = {"notebooks/01_a.ipynb": nbformat.writes(new_notebook(cells=cells))}
    content |= {"cxr_helpers/x.py": "", "grading/solutions/g.py": "rahasia = 1"}
    made.lay_out([made.Planted(folder.name, content)], folder.parent)
    return folder


def test_what_is_handed_out_holds_no_solution_and_what_stays_holds_all(tmp_path):
    assert release.release(instructor(tmp_path / "asal"), tmp_path / "keluar") == (2, 3)
    student, teacher = tmp_path / "keluar/mahasiswa", tmp_path / "keluar/pengajar"
    given = [path.read_text() for path in student.rglob("*") if path.is_file()]
    assert len(given) == 2
    assert not [word for word in ("rahasia", "4711", "SOLUTION") if word in str(given)]
    handed = nbformat.read(student / "notebooks/01_a.ipynb", 4).cells
    assert handed[2].source == "# JAWABAN: f\ndef f(x):\n    ..."
    assert all(answers.unanswered(cell.source) for cell in handed)
    assert (teacher / "solusi/akurasi.py").read_text() == f"# JAWABAN: akurasi\n{SECRET}"
    stays = sorted(str(path.relative_to(teacher)) for path in teacher.rglob("*.*"))
    solutions = ("akurasi.py", "esai-bocor.md", "f.py", "g.py")
    assert stays == [f"solusi/{name}" for name in solutions]
    with pytest.raises(InputError, match="sudah berisi"):
        release.release(tmp_path / "asal", tmp_path / "keluar")
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)  # around the project
    assert release.release(tmp_path / "asal", tmp_path / "lagi") == (2, 3)
    for wrong in ("", "pengajar/solusi"):
        with pytest.raises(InputError, match=r"KUNCI=.*berikan pengajar/"):
            read_course(tmp_path / "asal/notebooks", tmp_path / "keluar" / wrong)
    assert read_course(tmp_path / "asal/notebooks", teacher).asked


@pytest.fixture(scope="module")
def handed(built, tmp_path_factory):
    """(project, hand-in as `make kumpul` wrote it) of a student whose report is built."""
    project = tmp_path_factory.mktemp("serah") / "proyek"
    shutil.copytree(built.folder, project)
    (project / "build/.cover").write_text(json.dumps({"name": "Siti", "nim": "130001"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(files.RUNS, str(project / "runs"))
        patch.setenv(files.DATA, str(project / "data"))
        with pytest.raises(InputError, match="belum lengkap"):
            submit.pack(project, project / "build", "Siti", "130001")
        path, lacks = submit.pack(project, project / "build", "Siti", "130001", unfinished=True)
        assert path == project / "kumpulan/130001.zip"
        assert lacks and all(one.endswith("masih kosong") for one in lacks)
        yield project, path


def test_what_does_not_fit_together_is_listed_and_nothing_written(handed, tmp_path, capsys):
    project = tmp_path / "proyek"
    shutil.copytree(handed[0], project, ignore=shutil.ignore_patterns("kumpulan", "data"))
    path = project / "notebooks/02_pelatihan.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.append(new_code_cell("# JAWABAN: baru\nx = ..."))
    nbformat.write(notebook, path)
    shutil.copy2(path, path.with_stem("02_pelatihan-Copy1"))
    (project / "build/report/laporan.pdf").unlink()
    with pytest.raises(InputError, match="hal belum lengkap"):
        submit.pack(project, project / "build", "Budi", "130002")
    lines = capsys.readouterr().err.splitlines()
    for words in ("baru masih kosong", "diubah sesudah", "laporan.pdf belum ada", "menyebut Siti"):
        assert sum(words in line for line in lines) == 1
    assert "Copy1" not in str(lines) and not (project / "kumpulan").exists()
    assert submit.pack(project, project / "build", "Budi", "130002", unfinished=True)[0].exists()


def test_one_person_may_have_a_comma_and_a_group_writes_semicolons():
    assert submit.people("Siti, S.T.", "21/4/TK/8") == (["Siti, S.T."], ["21/4/TK/8"])
    assert submit.people("Siti, S.T.; Budi", "1, 2") == (["Siti, S.T.", "Budi"], ["1", "2"])
    for names, nims in (("Siti, S.T., Budi", "1,2"), ("A,B,C,D", "1,2,3,4"), ("A", "12345/")):
        with pytest.raises(InputError):
            submit.people(names, nims)


def test_a_hand_in_has_no_weights_and_agrees_and_an_edited_page_is_remarked(handed):
    handin, boxed = package.read(handed[1]), box.refusal() is None
    with zipfile.ZipFile(handed[1]) as archive:
        ends = (".safetensors", ".pt", "lock")
        assert not [name for name in archive.namelist() if name.endswith(ends)]
    assert package.manifest(handin)["nims"] == ["130001"]
    assert "notebooks/02_pelatihan.ipynb" in handin.files
    claim = claims.check(handin, claims.Studies())
    assert claim.status == "cocok" and claim.rows >= 2, claim.why
    assert shown.remarks(handin, boxed) == []
    page, body = handin.files["build/report/laporan.html"], package.results(handin, "02_pelatihan")
    hidden = page.replace(b"<main", b"<style>main { display: none }</style>Lulus<main")
    for edited, said in (
        (page.replace(b"belum", b"sudah"), "belum"),
        (page.replace(b" citra", b"1 citra"), " citra"),  # of whole numbers, too
        (hidden, "gaya halaman"),
        (page.replace(b"text-align: right;", b"display: none;"), "gaya halaman"),
    ):
        handin.files["build/report/laporan.html"] = edited
        (remark,) = shown.remarks(handin, boxed)
        assert remark.startswith(f"laporan.html: {shown.LOST}: ") and said in remark
    handin.files["salinan/laporan.html"] = page
    assert "berkas lain dengan nama itu" in shown.remarks(handin, boxed)[0]
    body["test"]["auc"]["value"] = 0.98765
    handin.files["build/results/02_pelatihan.json"] = json.dumps(body).encode()
    _, pdf = shown.remarks(handin, boxed)
    assert pdf.startswith(f"laporan.pdf: {shown.LOST}: 0,988")
    handin.files["build/report/laporan.pdf"] = b"%PDF-1.7"
    assert f"laporan.pdf: {shown.LOST}: semuanya" in shown.remarks(handin, boxed)


ATTACK = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>"


def test_pages_run_no_script_keep_marks_and_show_late_hand_ins(tmp_path):
    made.course_folder(tmp_path / "kuliah")
    course = read_course(tmp_path / "kuliah/notebooks", None, tmp_path / "kuliah/solutions")
    part = {"status": "benar", "checks": {}, "error": ATTACK, "remark": ATTACK}
    parts = {name: part | {"points": n, "most": n} for name, n in made.POINTS.items()}
    parts["esai-bocor"]["points"] = None
    late = {"made": "2026-12-02T00:00:00+00:00", "remarks": [ATTACK]}
    record = grade.Record(ATTACK, "7", ["7"], [ATTACK], parts=parts, **late)
    record.given = {"esai-bocor": ATTACK}
    limit, marks = pages.deadline("2026-12-01T12:00+00:00"), tmp_path / "tangan.csv"
    pages.write(tmp_path, [record], course, limit)
    given = "nim;bagian;poin;catatan\r\n7;esai-bocor;4,5;baik\r\n999;jumlah;1;tetap\r\n"
    marks.write_bytes(f"{given}7;lama;1;\r\n7;akurasi;45;\r\n".encode("utf-16"))
    huge = dict.fromkeys(claims.COMPARED, 1e300)
    claim = dataclasses.asdict(claims.Claim("cocok", claimed=huge, recomputed=huge))
    second = dataclasses.replace(record, student="0088", nims=["0088"], claim=claim)
    said = pages.write(tmp_path, [record, second], course, limit)
    for words in ("siapa pun (1): 999", "tidak ada (1): 7 lama", "(4), tidak dihitung (1): 7 aku"):
        assert words in said
    assert f"Perlu dilihat (1): {ATTACK}" in said  # nobody's page can show 1e300
    kept = {(row["nim"], row["bagian"]): row["poin"] for row in package.table(marks.read_bytes())}
    assert kept["7", "esai-bocor"] == "4,5" and kept["'0088", "esai-bocor"] == "" and len(kept) == 5
    assert ";12,5;13;0;10;11,25;" in (tmp_path / "nilai.csv").read_text("utf-8-sig")
    longer = Roster([Student("7", limit="2026-12-02"), Student("0088", limit="2026-11-30")])
    pages.write(tmp_path, [record, second], course, limit, longer, 0.25)  # a day ends at night
    unread = dataclasses.replace(record, status="rusak", parts={}, given={})
    (tmp_path / "lain").mkdir()
    pages.write(tmp_path / "lain", [unread], course, limit, Roster([Student("7", "", "a@b")]))
    assert "7,a@b" not in (tmp_path / "lain/moodle-nilai.csv").read_text()  # no silent zero
    for points in (";12,5;13;0;0;12,5;", ";8;13;1;25;6;"):
        assert points in (tmp_path / "nilai.csv").read_text("utf-8-sig")
    for path in tmp_path.rglob("*.html"):
        assert not BeautifulSoup(path.read_text("utf-8"), "html.parser")(["script", "img"]), path
    marks.write_text("nim;bagian;poin;tingkat\n88;esai-bocor;;3 2 2 3\n")  # the zeros are gone
    pages.write(tmp_path, [second], course, limit)
    assert ";4,17;benar;" in (tmp_path / "nilai.csv").read_text("utf-8-sig")
    marks.write_text("nim;bagian;poin\n7;esai-bocor;empat\n")
    with pytest.raises(InputError, match="empat"):
        pages.write(tmp_path, [record], course, limit)
    assert "empat" in marks.read_text()


def test_another_sender_is_a_conflict_and_the_same_one_hands_in_again():
    rows = [
        ("a.zip", "1", "x", "siti", 1),
        ("a (1).zip", "1", "y", "siti", 2),
        ("b.zip", "2", "z", "budi", 1),
        ("nanti.zip", "23", "w", "lain", 9),
        ("rusak.zip", "1", "", "siti", 9),
        ("A_4711_assignsubmission_file_", "2", "v", "Moodle 4711 di a", 9),
    ]
    records = []
    for name, nims, digest, sender, day in rows:
        record = grade.Record(name, "", [*nims], [], sender, digest)
        records.append(dataclasses.replace(record, made=f"2026-11-{day:02}T08:00:00+00:00"))
    people = Roster([Student("1", "Siti"), Student("2"), Student("4", moodle="4711")])
    chosen = {record.name: record for record in grade.latest(dict(enumerate(records)), people)}
    assert [*chosen] == ["a (1).zip", "b.zip", "nanti.zip", records[5].name]
    assert [record.conflict for record in chosen.values()] == [False, True, True, False]
    assert chosen["a (1).zip"].names == ["Siti"] and chosen[records[5].name].nims == ["4"]
    said = {name: "; ".join(record.remarks) for name, record in chosen.items()}
    assert "menggantikan kumpulan sebelumnya: a.zip" in said["a (1).zip"]
    assert "kelas" in said["nanti.zip"]
    assert "oleh 4, padahal manifesnya menyebut 2" in said[records[5].name]


def test_a_hand_in_is_graded_without_the_box_with_a_mark_by_hand(tmp_path, monkeypatch):
    (tmp_path / "proyek").mkdir()
    school, out = Project(tmp_path / "proyek"), tmp_path / "proyek/build/nilai"
    (made.course_folder(tmp_path / "kuliah") / f"notebooks/{made.FIRST}.ipynb").unlink()
    for part, place in (("notebooks", "notebooks"), ("solutions", "grading/solutions")):
        for path in (school.folder / place).glob("*.*"):
            path.unlink()
        shutil.copytree(tmp_path / "kuliah" / part, school.folder / place, dirs_exist_ok=True)
    texts = made.texts(made.GOOD, "130003")
    made.lay_out([made.Planted("130003.zip", made.zipped(texts))], tmp_path / "kelas")
    monkeypatch.setenv("OUT", str(files.ROOT / "build"))
    with pytest.raises(InputError, match="di dalam repositori"):
        release.main()
    out.mkdir(parents=True)
    (out / "tangan.csv").write_text("nim;bagian;poin;catatan\n130003;esai-bocor;4,5;tepat\n")
    places = [f"KUMPULAN={tmp_path}/kelas", f"KUNCI={tmp_path}/kuliah/kunci"]
    graded = school.make("nilai", *places, "TANPA_KOTAK=1", "BATAS=2026-11-19 08:00+00:00")
    assert "1 kumpulan dinilai" in graded.stdout, graded.stdout
    (line,) = (out / "nilai.csv").read_text("utf-8-sig").splitlines()[1:]
    assert line.startswith("130003;") and ";6,5;7;0;10;5,85;" in line and "tanpa kotak" in line
