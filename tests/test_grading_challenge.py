"""The challenge: nothing handed out tells the labels, answers are read as Excel leaves them, the ranking is what was planted."""

import json
import os
import time
import zipfile

import numpy as np
import pytest

import cxr_helpers.challenge as helpers
from cxr_helpers.engine import files, phantom
from cxr_helpers.engine.errors import InputError
from cxr_helpers.evaluation import area_under_curve
from cxr_helpers.experiments import Experiment
from cxr_helpers.study import open_study
from grading import challenge, grade, package, pages

SMOKE = {"preset": "smoke", "weights": "random", "device": "cpu"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(OUT with a challenge of 120 images, the study of the baseline, where CXR_DATA and CXR_RUNS lie)."""
    out = tmp_path_factory.mktemp("tugas")
    (out / "pengajar").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name in (files.RUNS, files.DATA):
            patch.setenv(name, str(tmp_path_factory.mktemp("simpan")))
        patch.delenv(files.SOURCES, raising=False)
        assert challenge.make(out, 120, **SMOKE) == 120
        yield out, open_study("phantom", **SMOKE)


def test_the_secret_stays_and_gives_the_same_images_again(made):
    out = made[0]
    handed = [path for path in (out / "mahasiswa").rglob("*") if path.is_file()]
    assert [path.name for path in handed] == ["citra.npz"]
    before, key = handed[0].read_bytes(), (out / "pengajar" / challenge.KEY).read_bytes()
    challenge.make(out, 7)
    assert (
        handed[0].read_bytes() == before and (out / "pengajar" / challenge.KEY).read_bytes() == key
    )
    body = json.loads(key)
    assert (
        int(body["secret"], 16) > 2**100
        and (out / "pengajar" / challenge.KEY).stat().st_mode & 0o077 == 0
    )
    for hidden in (body["secret"], *map(str, body["baseline"][:3])):
        assert hidden.encode() not in before


def test_the_time_of_the_baseline_is_said_before_it_is_trained(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(files.RUNS, str(tmp_path))
    challenge._say_time(made[1])
    assert "dilatih satu kali: sekitar" in capsys.readouterr().out
    made[1].baseline()
    challenge._say_time(made[1])
    assert capsys.readouterr().out == ""


def test_nothing_handed_out_lets_one_draw_the_labels_again(made):
    """File times, names, order, ids, seeds that one would try, the noise: each tried as a student could."""
    path = made[0] / "mahasiswa/data" / helpers.IMAGES
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["id.npy", "images.npy"] and not archive.comment
        assert {entry.date_time[:3] for entry in archive.infolist()} == {(1980, 1, 1)}
        assert not any(
            entry.extra or entry.comment
            for entry in archive.infolist()
            if entry.filename != "id.npy"
        )
    ids, images = helpers.read(path)
    labels = np.array(json.loads((made[0] / "pengajar" / challenge.KEY).read_text())["labels"])
    seen = {image.tobytes() for image in images}
    now = int(time.time())
    for seed in (*range(12), *range(now - 3, now + 1), int(path.stat().st_mtime), 2**31 - 1):
        drawn = phantom.more_test_images(120, seed)[0]
        assert not seen & {image.tobytes() for image in drawn}, seed
    arrays, _ = phantom.generate(0, progress=False)
    assert not seen & {
        image.tobytes() for split in ("train", "val", "test") for image in arrays[f"{split}_images"]
    }
    order, numbers = np.arange(len(ids)), np.array([int(one[1:], 16) for one in ids], float)
    noise = np.abs(np.diff(images.astype(float), n=2, axis=2)[:, :3, :3]).mean(
        (1, 2)
    )  # a corner, where no anatomy is
    for statistic in (order, numbers, order % 2, order % 16, np.roll(labels, 1), np.roll(noise, 1)):
        assert (
            abs(area_under_curve(np.asarray(statistic, float), labels) - 0.5) < 0.2
        )  # 0.5 ± 4 standard errors


def test_a_student_predicts_and_hands_in_what_is_ranked(made, tmp_path, monkeypatch, capsys):
    out, study = made
    monkeypatch.setenv(files.RESULTS, str(tmp_path / "results"))
    mine = Experiment("Dropout", dropout=0.2)
    assert helpers.predict(study, mine) is None and "belum dibagikan" in capsys.readouterr().out
    monkeypatch.setenv(files.DATA, str(out / "mahasiswa/data"))
    path = helpers.predict(study, mine, 2)
    assert path == tmp_path / "results/tantangan.csv"
    key = challenge.load(out / "pengajar")
    handin = package.Handin("x", {"build/results/tantangan.csv": path.read_bytes()})
    values, why = challenge.fitted(challenge.answer(handin)[0], key)
    images = helpers.read(out / "mahasiswa/data" / helpers.IMAGES)[1]
    assert not why and np.allclose(values, helpers.probabilities(study, mine, 2, images), atol=1e-7)
    assert np.array_equal(key.baseline, helpers.probabilities(study, Experiment(""), 1, images))
    own = helpers.probabilities(study, mine, 1, study.used.test.images)
    logits = study.train(dropout=0.2).runs[0].open_test()["best"]
    assert np.allclose(
        own, 1 / (1 + np.exp(-logits.astype(float))), atol=1e-6
    )  # the network that the report judged


def written(rows, sign=",", comma=".", head="id,probability", encoding="utf-8") -> bytes:
    lines = [
        head.replace(",", sign),
        *(f"{name}{sign}{str(value).replace('.', comma)}" for name, value in rows),
    ]
    return ("\r\n".join(lines) + f"\r\n{sign}\r\n").encode(encoding)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"sign": ";", "comma": ","},
        {"sign": ";", "comma": ",", "encoding": "utf-8-sig"},
        {"sign": "\t", "comma": ",", "encoding": "utf-16"},
        {"head": "ID,Probability", "sign": ";", "encoding": "cp1252"},
    ],
)
def test_answers_are_read_as_excel_leaves_them(how):
    handin = package.Handin("x", {"a/Tantangan.csv": written([("c1", 0.25), ("C2", 1)], **how)})
    assert challenge.answer(handin) == ({"c1": 0.25, "c2": 1.0}, "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (written([("c1", 0.1), ("c1", 0.2)]), "ada dua kali"),
        (written([("c1", "tinggi")]), "bukan bilangan dari 0 sampai 1"),
        (written([("c1", "nan")]), "bukan bilangan dari 0 sampai 1"),
        (written([("c1", -3.2)]), "bukan bilangan dari 0 sampai 1"),
        (written([("c1", 0.1)], head="nama,nilai"), "kolom id dan probability"),
        (b"\x00\xff" * 50, "kolom id dan probability"),
        (b"", "kolom id dan probability"),
    ],
)
def test_what_is_no_answer_is_said(content, why):
    values, said = challenge.answer(package.Handin("x", {"tantangan.csv": content}))
    assert not values and why in said


def test_ids_must_be_those_handed_out(made):
    key = challenge.load(made[0] / "pengajar")
    some = dict.fromkeys(key.ids[1:], 0.5) | {"asing": 0.5}
    assert challenge.fitted(some, key) == (None, "tantangan.csv: 1 id tidak ada, 1 id asing")


@pytest.fixture
def key():
    labels = np.arange(200) % 3 > 0
    weak = np.where(labels, 0.6, 0.4) + 0.3 * np.sin(np.arange(200) * 7)
    return challenge.Key(
        tuple(f"c{i}" for i in range(200)), labels.astype(int), weak, np.arange(200) % 2 == 0
    )


def test_the_ranking_is_what_was_planted(key):
    right = np.where(key.labels == 1, 0.9, 0.1)
    spoilt = np.where(np.arange(200) < 20, 1 - right, right)
    answers = {"a": spoilt, "b": spoilt.copy(), "c": 1 - right, "d": np.full(200, 0.5), "e": right}
    rows = {row["who"]: row for row in challenge.rank(answers, key, "public")}
    assert [rows[one]["place"] for one in "eabdc"] == [1, 2, 2, 4, 5]
    assert (
        rows["e"]["auc"] == 1
        and rows["c"]["auc"] == 0
        and rows["d"]["auc"] == rows[challenge.MAJORITY]["auc"] == 0.5
    )
    assert rows[challenge.BASELINE]["place"] is None and rows[challenge.BASELINE]["auc"] < 1
    assert rows["e"]["level"] and not rows["a"]["level"] and not rows["c"]["level"]
    low, high = rows["a"]["ci95"]
    assert low < rows["a"]["auc"] < high
    expected = area_under_curve(spoilt[~key.public], key.labels[~key.public])
    assert {row["who"]: row["auc"] for row in challenge.rank(answers, key, "private")}[
        "a"
    ] == pytest.approx(float(expected))


def test_both_halves_hold_both_classes_and_the_secret_decides_them(made, tmp_path):
    key = challenge.load(made[0] / "pengajar")
    assert 40 < key.public.sum() < 80
    body = json.loads((made[0] / "pengajar" / challenge.KEY).read_text())
    (tmp_path / challenge.KEY).write_text(json.dumps(body | {"secret": "0" * 32}))
    assert not np.array_equal(challenge.load(tmp_path).public, key.public)
    (tmp_path / challenge.KEY).write_text("{")
    with pytest.raises(InputError, match="rusak"):
        challenge.load(tmp_path)


def test_more_answers_than_the_limit_do_not_count_also_over_several_runs(tmp_path):
    path, one = tmp_path / "r.json", [np.full(3, i / 10) for i in range(8)]
    assert challenge.count(path, [("a", one[0]), ("a", one[1]), ("a", one[1])])["a"][1:] == (2, 0)
    for values in one[2:]:
        found = challenge.count(path, [("a", values)])
    assert found["a"][1:] == (5, 3) and np.array_equal(found["a"][0], one[4])


def test_who_goes_back_to_an_earlier_answer_is_ranked_by_it(tmp_path):
    first, second = np.array([0.1, 0.2]), np.array([0.3, 0.4])
    found, counted, over = challenge.count(
        tmp_path / "kept.json", [("a", first), ("a", second), ("a", first)]
    )["a"]
    assert (found.tolist(), counted, over) == (first.tolist(), 2, 0)


def test_the_board_hides_the_private_half_until_the_limit(key, tmp_path):
    right = dict(zip(key.ids, np.where(key.labels == 1, 0.9, 0.1).tolist(), strict=True))
    records = [
        grade.Record("a", "1", ["1"], [], made="2026-11-01", answer=right),
        grade.Record(
            "b", "<b>2", ["2"], [], made="2026-11-01", answer_fault="tantangan.csv: kolom hilang"
        ),
    ]
    pages.challenge_board(tmp_path, records, key, pages.deadline("2999-01-01"))
    page = (tmp_path / "tantangan.html").read_text("utf-8")
    assert (
        "Paruh terbuka" in page
        and "Paruh tertutup</h2>" not in page
        and "&lt;b&gt;2: tantangan.csv: kolom hilang" in page
    )
    assert records[1].remarks == ["tantangan.csv: kolom hilang"]
    pages.challenge_board(tmp_path, records, key, pages.deadline("2000-01-01"))
    assert "Paruh tertutup</h2>" in (tmp_path / "tantangan.html").read_text("utf-8")
    lines = (tmp_path / "tantangan.csv").read_text("utf-8-sig").splitlines()
    assert (
        "terbuka;1;1;1,0000;" in lines[1]
        and sum(line.startswith("tertutup") for line in lines) == 3
    )
    assert os.path.exists(tmp_path / "tantangan-riwayat.json")
