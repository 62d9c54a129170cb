"""What is handed out, what a student hands in, and whether its numbers follow: on a real smoke report."""

import dataclasses
import io
import json
import shutil
import zipfile

import nbformat
import numpy as np
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


def instructor(folder):
    """A repository whose one notebook holds the answers between marks."""
    for name in ("notebooks", "grading/solutions", "grading/keys", "cxr_helpers"):
        (folder / name).mkdir(parents=True)
    code = f"# JAWABAN: akurasi\n### BEGIN SOLUTION\n{SECRET}\n### END SOLUTION"
    essay = "<!-- JAWABAN: esai-bocor -->\n### BEGIN SOLUTION\nrahasia besar\n### END SOLUTION"
    within = (
        "# JAWABAN: f\ndef f(x):\n    ### BEGIN SOLUTION\n    return x + 4711\n    ### END SOLUTION"
    )
    cells = [new_code_cell(code), new_markdown_cell(essay), new_code_cell(within)]
    cells[0].outputs = [nbformat.v4.new_output("stream", text="rahasia 42")]
    nbformat.write(new_notebook(cells=cells), folder / "notebooks/01_a.ipynb")
    (folder / "grading/solutions/g.py").write_text("rahasia = 1")
    (folder / "grading/keys/g.py").write_text("hasil['rahasia'] = 1")
    (folder / "cxr_helpers/x.py").write_text("")
    return folder


def test_what_is_handed_out_holds_no_solution_and_what_stays_holds_all(tmp_path):
    count, asked = release.release(instructor(tmp_path / "asal"), tmp_path / "keluar")
    given = [path for path in (tmp_path / "keluar/mahasiswa").rglob("*") if path.is_file()]
    assert len(given) == count == 2 and asked == 3
    for path in given:
        assert not {"rahasia", "4711", "SOLUTION"} & set(
            path.read_text().replace('"', " ").replace("\\n", " ").split()
        )
        assert "rahasia" not in path.read_text() and "4711" not in path.read_text()
    handed = nbformat.read(tmp_path / "keluar/mahasiswa/notebooks/01_a.ipynb", 4).cells
    assert handed[2].source == "# JAWABAN: f\ndef f(x):\n    ..."
    assert all(answers.unanswered(cell.source) for cell in handed)
    teacher = tmp_path / "keluar/pengajar"
    assert (teacher / "solusi/akurasi.py").read_text() == f"# JAWABAN: akurasi\n{SECRET}"
    assert sorted(path.name for path in teacher.rglob("*.*")) == [
        "akurasi.py",
        "esai-bocor.md",
        "f.py",
        "g.py",
        "g.py",
    ]
    with pytest.raises(InputError, match="sudah berisi"):
        release.release(tmp_path / "asal", tmp_path / "keluar")


def test_a_mark_without_its_partner_is_refused(tmp_path):
    folder = instructor(tmp_path / "asal")
    nbformat.write(
        new_notebook(cells=[new_code_cell("# JAWABAN: a\n### BEGIN SOLUTION\nx = 1")]),
        folder / "notebooks/02_b.ipynb",
    )
    with pytest.raises(
        InputError, match=r"02_b\.ipynb: tanda ### BEGIN SOLUTION tidak berpasangan pada sel a"
    ):
        release.release(folder, tmp_path / "keluar")


@pytest.mark.parametrize(
    ("source", "gap"),
    [
        ("# JAWABAN: a\ndef f(x):\n    ...", True),
        ("# JAWABAN: a\nx = ...  # isi", True),
        ("# JAWABAN: a\nx = y[..., 0]", False),
        ("<!-- JAWABAN: e -->\n> Mengapa?\n\nTulis jawaban Anda di sini.", True),
        (
            "<!-- JAWABAN: e -->\n**1.4 (5 poin).** Jelaskan mengapa data uji itu disimpan.\n\nTulis jawaban Anda di sini.",
            True,
        ),
        (
            "<!-- JAWABAN: e -->\n**1.4 (5 poin).** Mengapa?\n\n**Karena** data uji dipakai untuk memilih epoch.",
            False,
        ),
        ("<!-- JAWABAN: e -->\n# Karena data uji dipakai untuk memilih epoch.", False),
        ("<!-- JAWABAN: e -->\nKarena data uji dipakai untuk memilih epoch.", False),
    ],
)
def test_a_gap_is_seen(source, gap):
    assert answers.unanswered(source) is gap


def test_an_essay_is_shown_without_its_question_and_loses_no_word():
    skeleton = "<!-- JAWABAN: e -->\n**1.4 (5 poin).** Mengapa?\n\nTulis jawaban Anda di sini."
    written = "<!-- JAWABAN: e -->\n**1.4 (5 poin).** Mengapa?\n\nKarena begitu.\n\nSelesai."
    assert answers.own_words(written, skeleton) == "Karena begitu.\n\nSelesai."
    assert answers.own_words(
        skeleton.replace("Mengapa?", "Mengapa? Karena begitu."), skeleton
    ).endswith("Karena begitu.")


@pytest.mark.parametrize(
    ("name", "nim", "why"),
    [
        ("", "1", "NAME="),
        ("A", "", "NIM="),
        ("A", "1,2,3,4", "paling banyak 3"),
        ("A", "1,2", "sama banyak"),
        ("A", "../x", "tidak dapat dipakai"),
        ("A,B", "1,1", "tidak dapat dipakai"),
    ],
)
def test_who_hands_in_is_checked(name, nim, why):
    with pytest.raises(InputError, match=why):
        submit.people(name, nim)
    assert submit.people("A, B,C", "1, 2,3") == (["A", "B", "C"], ["1", "2", "3"])


def test_forty_numbers_give_forty_seeds_none_of_the_reference():
    seeds = {settings.seed_of(f"1300{i:02d}") for i in range(40)}
    assert (
        len(seeds) == 40
        and min(seeds) >= 1000
        and settings.seed_of(" 13 0001") == settings.seed_of("130001")
    )
    assert settings.seed_of("") == 0 and settings.parse(
        seed=settings.seed_of("1,2")
    ).seed != settings.seed_of("1")


def test_without_seed_the_number_decides_it_and_stays_with_the_build(tmp_path, monkeypatch):
    for name in ("SEED", "NIM", "NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BUILD", str(tmp_path))
    notebook = files.ROOT / "notebooks/02_pelatihan.ipynb"

    def seen() -> set[int]:
        return {check.wanted("settings", tmp_path)["seed"], execute.parameters(notebook)["seed"]}

    assert seen() == {0}
    monkeypatch.setenv("NIM", "130001")
    check.note(tmp_path, "cover")
    assert seen() == {settings.seed_of("130001")}
    monkeypatch.setenv("NIM", "130002")
    assert seen() == {settings.seed_of("130002")}
    assert execute._one_student(tmp_path)["nim"] == "130002"
    monkeypatch.setenv(files.STUDENT, '{"name": "", "nim": "130002"}')
    monkeypatch.setenv(files.RESULTS, str(tmp_path / "results"))
    for number, said in ((settings.seed_of("130002"), True), (0, False)):
        path = results.write("x", {}, {"seed": number, "clock": 0.0})
        assert json.loads(path.read_text())["provenance"]["seed_of_nim"] is said
    monkeypatch.delenv("NIM")
    assert seen() == {settings.seed_of("130001")}
    monkeypatch.setenv("SEED", "0")
    assert seen() == {0}


def left_open() -> list[tuple[str, str]]:
    """(notebook, answer) of what the built report leaves open: the essays, and the exercises of all notebooks but SOLVED."""
    found = []
    for path in sorted((ROOT / "notebooks").glob("0*.ipynb")):
        asked = answers.chapter(path).asked.items()
        found += [(path.stem, name) for name, one in asked if one.essay or path.stem not in SOLVED]
    return found


@pytest.fixture(scope="module")
def handed(built, tmp_path_factory):
    """(project, hand-in as `make kumpul` wrote it) of a student whose report is built."""
    project = tmp_path_factory.mktemp("serah") / "proyek"
    shutil.copytree(built.folder, project)
    (project / "build/.cover").write_text(json.dumps({"name": "Siti", "nim": "130001"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_RUNS", str(project / "runs"))
        patch.setenv("CXR_DATA", str(project / "data"))
        with pytest.raises(InputError, match="belum lengkap"):
            submit.pack(project, project / "build", "Siti", "130001")
        path, lacks = submit.pack(project, project / "build", "Siti", "130001", unfinished=True)
        assert path == project / "kumpulan/130001.zip" and path.stat().st_size < submit.MOST
        assert lacks == [f"{stem}: jawaban {name} masih kosong" for stem, name in left_open()]
        yield project, path


def test_a_hand_in_holds_what_grading_needs_and_no_weights(handed):
    with zipfile.ZipFile(handed[1]) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("manifest.json"))
    assert (
        manifest["nims"] == ["130001"]
        and manifest["packages"]["torch"]
        and set(manifest["files"]) == set(names) - {"manifest.json"}
    )
    for wanted in (
        "notebooks/02_pelatihan.ipynb",
        "build/results/02_pelatihan.json",
        "build/report/laporan.pdf",
    ):
        assert wanted in names
    assert any(name.endswith("predictions.npz") for name in names)
    assert not [name for name in names if name.endswith((".safetensors", ".pt", "lock"))]


def test_what_does_not_fit_together_is_listed_and_nothing_written(handed, tmp_path):
    project = tmp_path / "proyek"
    shutil.copytree(handed[0], project, ignore=shutil.ignore_patterns("kumpulan", "data"))
    made_up = nbformat.read(project / "notebooks/02_pelatihan.ipynb", 4)
    made_up.cells.append(new_code_cell("# JAWABAN: baru\nx = ..."))
    nbformat.write(made_up, project / "notebooks/02_pelatihan.ipynb")
    (project / "build/report/laporan.pdf").unlink()
    with pytest.raises(InputError) as refused:
        submit.pack(project, project / "build", "Budi", "130002")
    for words in (
        "jawaban baru masih kosong",
        "diubah sesudah laporan",
        "laporan.pdf belum ada",
        "sampul laporan menyebut Siti",
    ):
        assert words in str(refused.value)
    assert not (project / "kumpulan").exists()
    assert submit.pack(project, project / "build", "Budi", "130002", unfinished=True)[0].exists()


def test_make_kumpul_says_one_line_and_fails(handed):
    project = Project.__new__(Project)  # the folder is there already
    project.folder = handed[0]
    said = project.make("kumpul", "NIM=130001")
    assert (
        said.returncode == 2
        and "berikan nama dan NIM" in said.stdout
        and "Traceback" not in said.stdout
    )


def changed(handin: package.Handin, name: str, change) -> package.Handin:
    """The hand-in with one file changed: change(content) → content."""
    place = next(path for path in handin.files if path.endswith(name))
    return dataclasses.replace(handin, files=handin.files | {place: change(handin.files[place])})


def better(content: bytes, value: float = 0.99) -> bytes:
    body = json.loads(content)
    body["test"]["auc"]["value"] = value
    return json.dumps(body).encode()


def none(content: bytes) -> bytes:
    return better(content, float("nan"))


def test_numbers_must_follow_from_predictions_and_our_labels(handed):
    handin, studies = package.read(handed[1]), claims.Studies()
    claim = claims.check(handin, studies)
    assert claim.status == "cocok", claim.why
    for change in (better, none):
        assert (
            claims.check(changed(handin, "02_pelatihan.json", change), studies).status
            == "tidak cocok"
        )
    key = claim.key
    assert claim.rows >= 2

    def row(content: bytes) -> bytes:
        body = json.loads(content)
        body["variants"][-1]["test"]["acc"]["value"] += 0.1
        return json.dumps(body).encode()

    found = claims.check(changed(handin, "04_perbaikan.json", row), studies)
    assert found.status == "tidak cocok" and "baris" in found.why

    def other(content: bytes) -> bytes:
        arrays = dict(np.load(io.BytesIO(content)))
        arrays["test_best"] = -arrays["test_best"]
        stream = io.BytesIO()
        np.savez(stream, **arrays)
        return stream.getvalue()

    assert (
        claims.check(changed(handin, f"{key}/predictions.npz", other), studies).status
        == "tidak cocok"
    )
    assert (
        claims.check(changed(handin, f"{key}/predictions.npz", lambda c: c[:100]), studies).status
        == "rusak"
    )
    bare = {path: c for path, c in handin.files.items() if f"{key}/config.json" not in path}
    unknown = claims.check(dataclasses.replace(handin, files=bare), studies)
    assert (
        unknown.status == "cocok"
        and unknown.rows is None
        and "tidak dapat diperiksa" in unknown.why
    )
    gone = {path: c for path, c in handin.files.items() if f"{key}/predictions" not in path}
    assert claims.check(dataclasses.replace(handin, files=gone), studies).status == "tanpa prediksi"
    for wrong in (
        b"{}",
        b"[]",
        b"x",
        b'{"run": {"key": "../.."}, "provenance": {"data": {"kind": "/etc/passwd"}}}',
    ):
        assert claims.check(
            changed(handin, "02_pelatihan.json", lambda _, w=wrong: w), studies
        ).status in (
            "rusak",
            "tanpa hasil",
        )


def test_what_was_changed_after_it_was_packed_is_remarked(handed):
    handin = package.read(handed[1])
    assert package.altered(handin) == []
    assert package.altered(changed(handin, "02_pelatihan.json", better)) == [
        "diubah atau hilang sesudah make kumpul: build/results/02_pelatihan.json"
    ]
    gone = {path: content for path, content in handin.files.items() if not path.endswith(".ipynb")}
    assert "dan 2 lainnya" in package.altered(dataclasses.replace(handin, files=gone))[0]
    for odd in (b"[]", b"{", b'{"files": 3}', b'{"files": {"a.json": 3}}'):
        package.altered(changed(handin, "manifest.json", lambda _, odd=odd: odd))


def test_labels_are_known_without_the_weights_that_a_report_began_with(
    handed, tmp_path, monkeypatch
):
    def elsewhere(content: bytes) -> bytes:
        body = json.loads(content)
        body["provenance"]["weights"]["kind"] = "imagenet"
        return json.dumps(body).encode()

    monkeypatch.setenv(files.DATA, str(tmp_path))  # no weights there, and no network to fetch them
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    handin = changed(package.read(handed[1]), "02_pelatihan.json", elsewhere)
    assert claims.check(handin, claims.Studies()).status == "cocok"


def test_a_run_is_trained_again_and_agrees_bit_by_bit(handed):
    handin, studies = package.read(handed[1]), claims.Studies()
    said = again.retrain(handin, studies, boxed=False)
    assert said.endswith("sama bit demi bit"), said


def test_what_is_no_hand_in_is_said(tmp_path, capsys):
    for name in ("1001.zip", "1002_01_a.ipynb", "daftar hadir.docx"):
        (tmp_path / name).touch()
    assert [path.name for path in grade.handins(tmp_path)] == ["1001.zip", "1002_01_a.ipynb"]
    assert "dilewati: 'daftar hadir.docx'" in capsys.readouterr().out


def test_copied_predictions_show_also_under_another_seed():
    one = claims.Claim("cocok", prediction="abc", seed=1, key="k")
    found = claims.copies(
        {
            "a": one,
            "b": dataclasses.replace(one, seed=2),
            "c": dataclasses.replace(one, prediction="d"),
        }
    )
    assert set(found) == {"a", "b"} and "seed-nya lain" in found["a"][0]
    assert "wajar" in claims.copies({"a": one, "b": one})["a"][0]
    own = dataclasses.replace(one, seed=settings.seed_of("130001"))
    assert "NIM-nya lain" in claims.copies({"a": own, "b": own})["a"][0]
    assert [len(each) for each in claims.copies(dict.fromkeys("abcdefgh", one)).values()] == [1] * 8
    assert "dengan b, c, d dan 4 lainnya" in claims.copies(dict.fromkeys("abcdefgh", one))["a"][0]


def test_an_hour_bounds_what_is_trained_again():
    claimed = {
        f"m{i}": claims.Claim("cocok", prediction="x", key="k", seconds=600) for i in range(40)
    }
    assert again.drawn(claimed, "0", "s") == [] and len(again.drawn(claimed, "all", "s")) == 40
    assert len(again.drawn(claimed, "1", "s")) == 6
    assert (
        again.drawn(claimed, "1", "s")
        == again.drawn(claimed, "1", "s")
        != again.drawn(claimed, "1", "t")
    )


ATTACK = "</pre><script>document.title='x'</script><img src=x onerror=alert(1)>"


def test_pages_run_no_script_keep_marks_and_show_late_hand_ins(tmp_path, chromium):
    made.course_folder(tmp_path / "kuliah")
    course = load(tmp_path / "kuliah/notebooks", None, tmp_path / "kuliah/solutions")
    parts = {
        n: {
            "status": "benar",
            "points": p,
            "most": p,
            "checks": {},
            "error": ATTACK,
            "remark": ATTACK,
        }
        for n, p in made.FULL.items()
    }
    parts["esai-bocor"] |= {"status": "periksa tangan", "points": None}
    record = grade.Record(
        ATTACK,
        "7",
        ["7"],
        [ATTACK],
        made="2026-12-02T00:00:00+00:00",
        parts=parts,
        remarks=[ATTACK],
    )
    record.given = {"esai-bocor": ATTACK}
    limit = pages.deadline("2026-12-01T12:00+00:00")
    pages.write(tmp_path, [record], course, limit)
    (tmp_path / "tangan.csv").write_bytes(
        "nim;bagian;poin;catatan\r\n7;esai-bocor;4,5;baik\r\n999;lama;1;tetap\r\n".encode("utf-16")
    )
    pages.write(tmp_path, [record], course, limit)
    pages.write(
        tmp_path, [record, dataclasses.replace(record, student="8", nims=["8"])], course, limit
    )
    kept = {
        (row["nim"], row["bagian"]): row["poin"]
        for row in package.table((tmp_path / "tangan.csv").read_bytes())
    }
    assert kept == {("7", "esai-bocor"): "4,5", ("999", "lama"): "1", ("8", "esai-bocor"): ""}
    table = (tmp_path / "nilai.csv").read_text("utf-8-sig")
    assert ";14,5;15;0;10;13,05;" in table
    for path in tmp_path.rglob("*.html"):
        page = chromium.new_page()
        page.goto(path.as_uri())
        assert page.title() != "x" and page.locator("script, img").count() == 0, path
        page.close()
    (tmp_path / "tangan.csv").write_text("nim;bagian;poin\n7;esai-bocor;empat\n")
    with pytest.raises(InputError, match="empat"):
        pages.write(tmp_path, [record], course, limit)
    assert "empat" in (tmp_path / "tangan.csv").read_text()
