"""What is handed out, and what a student hands in: on a real smoke report."""

import dataclasses
import json
import shutil
import zipfile

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from cxr_helpers.engine import files, results, settings
from cxr_helpers.engine.errors import InputError
from grading import again, answers, claims, grade, package, pages, release, submit
from grading.course import load
from report import check, execute
from tests import grading_class as made
from tests.conftest import ROOT, SOLVED, Project

SECRET = "def akurasi(logit, label):\n    rahasia = 42\n    return rahasia"


def between(before: str, answer: str, indent: str = "") -> str:
    return f"{before}\n{indent}### BEGIN SOLUTION\n{answer}\n{indent}### END SOLUTION"


def instructor(folder):
    """A repository whose one notebook holds the answers between marks."""
    essay = between("<!-- JAWABAN: esai-bocor -->", "rahasia besar")
    within = between("# JAWABAN: f\ndef f(x):", "    return x + 4711", "    ")
    cells = [new_code_cell(between("# JAWABAN: akurasi", SECRET)), new_markdown_cell(essay)]
    cells[0].outputs = [nbformat.v4.new_output("stream", text="rahasia 42")]
    notebook = nbformat.writes(new_notebook(cells=[*cells, new_code_cell(within)]))
    content = {"notebooks/01_a.ipynb": notebook, "cxr_helpers/x.py": ""}
    content |= {
        "grading/solutions/g.py": "rahasia = 1",
        "grading/keys/g.py": "hasil['rahasia'] = 1",
    }
    made.lay_out([made.Planted(folder.name, content)], folder.parent)
    return folder


def test_what_is_handed_out_holds_no_solution_and_what_stays_holds_all(tmp_path):
    assert release.release(instructor(tmp_path / "asal"), tmp_path / "keluar") == (2, 3)
    student, teacher = tmp_path / "keluar/mahasiswa", tmp_path / "keluar/pengajar"
    given = [path.read_text() for path in student.rglob("*") if path.is_file()]
    assert len(given) == 2
    for word in ("rahasia", "4711", "SOLUTION"):
        assert not [text for text in given if word in text]
    handed = nbformat.read(student / "notebooks/01_a.ipynb", 4).cells
    assert handed[2].source == "# JAWABAN: f\ndef f(x):\n    ..."
    assert all(answers.unanswered(cell.source) for cell in handed)
    assert (teacher / "solusi/akurasi.py").read_text() == f"# JAWABAN: akurasi\n{SECRET}"
    stays = sorted(str(path.relative_to(teacher)) for path in teacher.rglob("*.*"))
    solutions = ("akurasi.py", "esai-bocor.md", "f.py", "g.py")
    assert stays == ["g.py", *(f"solusi/{name}" for name in solutions)]
    with pytest.raises(InputError, match="sudah berisi"):
        release.release(tmp_path / "asal", tmp_path / "keluar")


def test_a_mark_without_its_partner_is_refused(tmp_path):
    folder = instructor(tmp_path / "asal")
    half = new_notebook(cells=[new_code_cell("# JAWABAN: a\n### BEGIN SOLUTION\nx = 1")])
    nbformat.write(half, folder / "notebooks/02_b.ipynb")
    with pytest.raises(InputError, match=r"02_b\.ipynb: .*### BEGIN SOLUTION.* sel a"):
        release.release(folder, tmp_path / "keluar")


@pytest.mark.parametrize(
    ("name", "nim", "why"),
    [
        ("", "1", "NAME="),
        ("A", "", "NIM="),
        ("A", "1,2,3,4", "paling banyak 3"),
        ("A", "1,2", "sama banyak"),
        ("A", "../x", r"\.\./x tidak dapat dipakai"),
        ("A,B", "1,1", "1,1 tidak dapat dipakai"),
    ],
)
def test_who_hands_in_is_checked(name, nim, why):
    with pytest.raises(InputError, match=why):
        submit.people(name, nim)
    assert submit.people("A, B,C", "1, 2,3") == (["A", "B", "C"], ["1", "2", "3"])


def test_forty_numbers_give_forty_seeds_none_of_the_reference():
    seeds = {settings.seed_of(f"1300{i:02d}") for i in range(40)}
    assert len(seeds) == 40 and min(seeds) >= settings.OWN_SEEDS
    assert settings.seed_of(" 13 0001") == settings.seed_of("130001") and not settings.seed_of("")


def test_without_seed_the_number_decides_it_and_stays_with_the_build(tmp_path, monkeypatch):
    for name in ("SEED", "NIM", "NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILD", str(tmp_path))
    notebook = files.ROOT / "notebooks/02_pelatihan.ipynb"

    def seen() -> set[int]:
        return {check.wanted("settings", tmp_path)["seed"], execute.parameters(notebook)["seed"]}

    assert seen() == {0}
    for nim in ("130001", "130002"):
        monkeypatch.setenv("NIM", nim)
        assert seen() == {settings.seed_of(nim)}
        check.note(tmp_path, "cover")
    monkeypatch.setenv(files.STUDENT, '{"name": "", "nim": "130002"}')
    monkeypatch.setenv(files.RESULTS, str(tmp_path / "results"))
    for number, said in ((settings.seed_of("130002"), True), (0, False)):
        path = results.write("x", {}, {"seed": number, "clock": 0.0})
        assert json.loads(path.read_text())["provenance"]["seed_of_nim"] is said
    monkeypatch.delenv("NIM")
    assert seen() == {settings.seed_of("130002")}
    monkeypatch.setenv("SEED", "0")
    assert seen() == {0}


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
        assert path == project / "kumpulan/130001.zip" and path.stat().st_size < submit.MOST
        open_ = [
            f"{chapter.stem}: jawaban {name} masih kosong"
            for chapter in sorted((ROOT / "notebooks").glob("0*.ipynb"))
            for name, one in answers.chapter(chapter).asked.items()
            if one.essay or chapter.stem not in SOLVED
        ]
        assert lacks == open_
        yield project, path


def test_a_hand_in_holds_what_grading_needs_and_no_weights(handed):
    with zipfile.ZipFile(handed[1]) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("manifest.json"))
    assert manifest["nims"] == ["130001"] and manifest["packages"]["torch"]
    assert set(manifest["files"]) == names - {"manifest.json"}
    wanted = {"notebooks/02_pelatihan.ipynb", "build/results/02_pelatihan.json"}
    assert wanted | {"build/report/laporan.pdf"} <= names
    assert any(name.endswith("predictions.npz") for name in names)
    assert not [name for name in names if name.endswith((".safetensors", ".pt", "lock"))]


def test_what_does_not_fit_together_is_listed_and_nothing_written(handed, tmp_path):
    project = tmp_path / "proyek"
    shutil.copytree(handed[0], project, ignore=shutil.ignore_patterns("kumpulan", "data"))
    path = project / "notebooks/02_pelatihan.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.append(new_code_cell("# JAWABAN: baru\nx = ..."))
    nbformat.write(notebook, path)
    (project / "build/report/laporan.pdf").unlink()
    with pytest.raises(InputError) as refused:
        submit.pack(project, project / "build", "Budi", "130002")
    for words in ("baru masih kosong", "diubah sesudah", "laporan.pdf belum ada", "menyebut Siti"):
        assert words in str(refused.value)
    assert not (project / "kumpulan").exists()
    assert submit.pack(project, project / "build", "Budi", "130002", unfinished=True)[0].exists()


def test_make_kumpul_says_one_line_and_fails(handed):
    project = Project.__new__(Project)  # the folder is there already
    project.folder = handed[0]
    said = project.make("kumpul", "NIM=130001")
    assert said.returncode == 2 and "berikan nama dan NIM" in said.stdout
    assert "Traceback" not in said.stdout


def changed(handin: package.Handin, name: str, change) -> package.Handin:
    """The hand-in with one file changed: change(content as text) → new text."""
    place = next(path for path in handin.files if path.endswith(name))
    content = change(handin.files[place].decode()).encode()
    return dataclasses.replace(handin, files=handin.files | {place: content})


def test_a_real_report_agrees_without_the_weights_that_it_began_with(handed, tmp_path, monkeypatch):
    handin = package.read(handed[1])
    claim = claims.check(handin, claims.Studies())
    assert claim.status == "cocok" and claim.rows >= 2, claim.why
    monkeypatch.setenv(files.DATA, str(tmp_path))  # no weights there, and no network to fetch them
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def elsewhere(text: str) -> str:
        body = json.loads(text)
        body["provenance"]["weights"]["kind"] = "imagenet"
        return json.dumps(body)

    other = changed(handin, "02_pelatihan.json", elsewhere)
    assert claims.check(other, claims.Studies()).status == "cocok"


def test_what_was_changed_after_it_was_packed_is_remarked(handed):
    handin = package.read(handed[1])
    assert package.altered(handin) == []
    (said,) = package.altered(changed(handin, "02_pelatihan.json", lambda text: text + " "))
    assert said.endswith(": build/results/02_pelatihan.json")
    gone = {path: content for path, content in handin.files.items() if not path.endswith(".ipynb")}
    assert "dan 2 lainnya" in package.altered(dataclasses.replace(handin, files=gone))[0]
    for odd in ("[]", "{", '{"files": 3}', '{"files": {"a.json": 3}}'):
        package.altered(changed(handin, "manifest.json", lambda _, odd=odd: odd))


def test_a_run_is_trained_again_and_agrees_bit_by_bit(handed):
    said = again.retrain(package.read(handed[1]), claims.Studies(), boxed=False)
    assert said.endswith("sama bit demi bit"), said


ATTACK = "</pre><script>document.title='x'</script><img src=x onerror=alert(1)>"


def test_pages_run_no_script_keep_marks_and_show_late_hand_ins(tmp_path, chromium):
    made.course_folder(tmp_path / "kuliah")
    course = load(tmp_path / "kuliah/notebooks", None, tmp_path / "kuliah/solutions")
    part = {"status": "benar", "checks": {}, "error": ATTACK, "remark": ATTACK}
    parts = {name: part | {"points": n, "most": n} for name, n in made.POINTS.items()}
    parts["esai-bocor"]["points"] = None
    late = {"made": "2026-12-02T00:00:00+00:00", "remarks": [ATTACK]}
    record = grade.Record(ATTACK, "7", ["7"], [ATTACK], parts=parts, **late)
    record.given = {"esai-bocor": ATTACK}
    limit, marks = pages.deadline("2026-12-01T12:00+00:00"), tmp_path / "tangan.csv"
    pages.write(tmp_path, [record], course, limit)
    given = "nim;bagian;poin;catatan\r\n7;esai-bocor;4,5;baik\r\n999;lama;1;tetap\r\n"
    marks.write_bytes(given.encode("utf-16"))
    second = dataclasses.replace(record, student="8", nims=["8"])
    pages.write(tmp_path, [record, second], course, limit)
    kept = {(row["nim"], row["bagian"]): row["poin"] for row in package.table(marks.read_bytes())}
    assert kept == {("7", "esai-bocor"): "4,5", ("999", "lama"): "1", ("8", "esai-bocor"): ""}
    assert ";12,5;13;0;10;11,25;" in (tmp_path / "nilai.csv").read_text("utf-8-sig")
    for path in tmp_path.rglob("*.html"):
        page = chromium.new_page()
        page.goto(path.as_uri())
        assert page.title() != "x" and page.locator("script, img").count() == 0, path
        page.close()
    marks.write_text("nim;bagian;poin\n7;esai-bocor;empat\n")
    with pytest.raises(InputError, match="empat"):
        pages.write(tmp_path, [record], course, limit)
    assert "empat" in marks.read_text()
