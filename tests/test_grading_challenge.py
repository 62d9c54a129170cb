"""The challenge: nothing tells the labels, answers are read as Excel leaves them, ranked right."""

import contextlib
import io
import json
import time
import zipfile
from functools import partial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import cxr_helpers.challenge as helpers
from cxr_helpers import laboratory
from cxr_helpers.engine import files, phantom
from cxr_helpers.engine.errors import InputError
from cxr_helpers.experiments import Experiment
from cxr_helpers.study import open_study
from grading import challenge, grade, package, pages

small = partial(Experiment, architecture="small_cnn")
SMOKE = {"preset": "smoke", "weights": "random", "device": "cpu"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(OUT with a challenge of 120 images, the study of the baseline, what was said meanwhile)."""
    out = tmp_path_factory.mktemp("tugas")
    (out / "pengajar").mkdir()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as said:
        patch.setenv(files.RUNS, str(tmp_path_factory.mktemp("simpan")))
        patch.setattr(challenge, "Experiment", small)  # the course's recipe takes half a minute
        patch.setattr(laboratory, "seconds_needed", lambda study, config: 120.0)
        assert challenge.make(out, 120, **SMOKE) == 120
        yield out, open_study("phantom", **SMOKE), said.getvalue()


def test_the_secret_stays_and_gives_the_same_images_again(made):
    out = made[0]
    (handed,) = [path for path in (out / "mahasiswa").rglob("*") if path.is_file()]
    key = out / "pengajar" / challenge.KEY
    before, body = (handed.read_bytes(), key.read_bytes()), json.loads(key.read_text())
    assert challenge.make(out, 7) == 120 and (handed.read_bytes(), key.read_bytes()) == before
    assert int(body["secret"], 16) > 2**100 and key.stat().st_mode & 0o077 == 0
    for hidden in (body["secret"], *map(str, body["baseline"][:3])):
        assert hidden.encode() not in before[0]
    assert "sekitar 2 menit" in made[2]  # how long, before it starts


def test_nothing_handed_out_lets_one_draw_the_labels_again(made):
    """File times, order, ids, seeds that one would try, the noise: each as a student could."""
    path = made[0] / "mahasiswa/data" / helpers.IMAGES
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["id.npy", "images.npy"] and not archive.comment
        assert {entry.date_time[:3] for entry in archive.infolist()} == {(1980, 1, 1)}
    ids, images = helpers.read(path)
    labels = np.array(json.loads((made[0] / "pengajar" / challenge.KEY).read_text())["labels"])
    seen, now = {image.tobytes() for image in images}, int(time.time())
    drawn = [phantom.more_test_images(120, seed)[0] for seed in (0, 1, 1234, now, now - 1)]
    with np.load(phantom.ensure(files.data_folder())[0]) as arrays:
        drawn += [arrays[f"{split}_images"] for split in ("train", "val", "test")]
    assert not seen & {image.tobytes() for each in drawn for image in each}
    order, numbers = np.arange(len(ids)), np.array([int(one[1:], 16) for one in ids], float)
    corner = np.diff(images.astype(float), n=2, axis=2)[:, :3, :3]  # where no anatomy is
    noise = np.roll(np.abs(corner).mean((1, 2)), 1)
    for statistic in (order, numbers, order % 2, order % 16, np.roll(labels, 1), noise):
        assert abs(roc_auc_score(labels, statistic) - 0.5) < 0.2  # 4 standard errors


def test_a_student_predicts_and_hands_in_what_is_ranked(made, tmp_path, monkeypatch, capsys):
    out, study, _ = made
    monkeypatch.setenv(files.RESULTS, str(tmp_path / "results"))
    mine = small("Dropout", dropout=0.2)
    with monkeypatch.context() as patch:
        patch.setenv(files.DATA, str(tmp_path))
        assert helpers.predict(study, mine) is None
    assert "belum dibagikan" in capsys.readouterr().out
    monkeypatch.setenv(files.DATA, str(out / "mahasiswa/data"))
    path = helpers.predict(study, mine, 2)
    assert path == tmp_path / "results/tantangan.csv"
    key = challenge.load(out / "pengajar")
    handin = package.Handin("x", {"build/results/tantangan.csv": path.read_bytes()})
    values, why = challenge.fitted(challenge.answer(handin)[0], key)
    images = helpers.read(out / "mahasiswa/data" / helpers.IMAGES)[1]
    assert not why and np.allclose(values, helpers.probabilities(study, mine, 2, images), atol=1e-7)
    assert np.array_equal(key.baseline, helpers.probabilities(study, small(""), 1, images))
    own = helpers.probabilities(study, mine, 2, study.used.test.images)
    trained = study.train(architecture="small_cnn", dropout=0.2, seeds=2).runs
    logits = np.array([run.open_test()["best"] for run in trained], float)
    judged = (1 / (1 + np.exp(-logits))).mean(0)  # by the networks that the report judged
    assert np.allclose(own, judged, atol=1e-6)


def written(*rows, sign=",", comma=".", head="id,probability", encoding="utf-8") -> bytes:
    lines = [f"{name}{sign}{str(value).replace('.', comma)}" for name, value in rows]
    return "\r\n".join([head.replace(",", sign), *lines, sign, ""]).encode(encoding)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"sign": ";", "comma": ",", "encoding": "utf-8-sig"},
        {"sign": "\t", "comma": ",", "encoding": "utf-16"},
        {"head": "ID,Probability", "sign": ";", "encoding": "cp1252"},
    ],
)
def test_answers_are_read_as_excel_leaves_them(how):
    handin = package.Handin("x", {"a/Tantangan.csv": written(("c1", 0.25), ("C2", 1), **how)})
    assert challenge.answer(handin) == ({"c1": 0.25, "c2": 1.0}, "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (written(("c1", 0.1), ("c1", 0.2)), "'c1' ada dua kali"),
        (written(("c1", "nan")), "untuk 'c1' bukan bilangan"),
        (written(("c1", -0.01)), "untuk 'c1' bukan bilangan"),
        (written(("c1", 1.01)), "untuk 'c1' bukan bilangan"),
        (written(("c1", 0.1), head="nama,nilai"), "kolom id dan probability"),
        (b"\x00\xff" * 50, "kolom id dan probability"),
        (b"", "kolom id dan probability"),
    ],
)
def test_what_is_no_answer_is_said(content, why):
    values, said = challenge.answer(package.Handin("x", {"tantangan.csv": content}))
    assert not values and why in said


@pytest.fixture
def key():
    """200 images, the even ones public, and a baseline that is right more often than not."""
    labels = np.arange(200) % 3 > 0
    weak = np.where(labels, 0.6, 0.4) + 0.3 * np.sin(np.arange(200) * 7)
    ids = tuple(f"c{i}" for i in range(200))
    return challenge.Key(ids, labels.astype(int), weak, np.arange(200) % 2 == 0)


def test_ids_must_be_those_handed_out(key):
    some = dict.fromkeys(key.ids[1:], 0.5) | {"asing": 0.5}
    assert challenge.fitted(some, key) == (None, "tantangan.csv: 1 id tidak ada, 1 id asing")


def test_the_ranking_is_what_was_planted(key):
    right = np.where(key.labels == 1, 0.9, 0.1)
    spoilt = np.where(np.arange(200) < 20, 1 - right, right)
    answers = {"a": spoilt, "b": spoilt.copy(), "c": 1 - right, "d": np.full(200, 0.5), "e": right}
    rows = {row["who"]: row for row in challenge.rank(answers, key, "public")}
    assert [rows[one]["place"] for one in "eabdc"] == [1, 2, 2, 4, 5]
    aucs = [rows[who]["auc"] for who in ("e", "d", challenge.MAJORITY, "c")]
    assert aucs == [1, 0.5, 0.5, 0] and rows[challenge.BASELINE]["place"] is None
    assert [rows[one]["level"] for one in "eac"] == [True, False, False]
    low, high = rows["a"]["ci95"]
    assert low < rows["a"]["auc"] < high
    for half, chosen in (("public", key.public), ("private", ~key.public)):
        found = {row["who"]: row["auc"] for row in challenge.rank(answers, key, half)}
        for who, values in (("a", spoilt), (challenge.BASELINE, key.baseline)):
            expected = roc_auc_score(key.labels[chosen], values[chosen])
            assert found[who] == pytest.approx(expected)


def test_the_secret_decides_the_halves_and_a_damaged_key_is_said(made, tmp_path):
    key = challenge.load(made[0] / "pengajar")
    assert 40 < key.public.sum() < 80 and challenge.load(tmp_path) is challenge.load(None) is None
    body = json.loads((made[0] / "pengajar" / challenge.KEY).read_text())
    (tmp_path / challenge.KEY).write_text(json.dumps(body | {"secret": "0" * 32}))
    assert not np.array_equal(challenge.load(tmp_path).public, key.public)
    (tmp_path / challenge.KEY).write_text("{")
    with pytest.raises(InputError, match="rusak"):
        challenge.load(tmp_path)


def test_of_the_first_five_answers_the_last_counts_also_over_several_runs(tmp_path):
    path, one = tmp_path / "r.json", [np.full(3, i / 10) for i in range(8)]
    assert challenge.count(path, [("a", one[0]), ("a", one[1]), ("a", one[1])])["a"][1:] == (2, 0)
    for values in one[2:]:
        found = challenge.count(path, [("a", values)])
    assert found["a"][1:] == (5, 3) and np.array_equal(found["a"][0], one[4])
    back = challenge.count(tmp_path / "s.json", [("a", one[0]), ("a", one[1]), ("a", one[0])])["a"]
    assert back[0].tolist() == one[0].tolist() and back[1:] == (2, 0)  # to an earlier answer


def test_the_board_hides_the_private_half_until_the_limit(key, tmp_path):
    right = dict(zip(key.ids, np.where(key.labels == 1, 0.9, 0.1).tolist(), strict=True))
    good = grade.Record("a", "1", ["1"], [], made="2026-11-01", answer=right)
    bad = grade.Record("b", "<b>2", ["2"], [], made="2026-11-01", answer_fault="kolom hilang")
    for limit, halves in (("2999-01-01", ["terbuka"]), ("2000-01-01", ["terbuka", "tertutup"])):
        pages.challenge_board(tmp_path, [good, bad], key, pages.deadline(limit))
        page = (tmp_path / "tantangan.html").read_text("utf-8")
        assert ("Paruh tertutup</h2>" in page) is ("tertutup" in halves)
        assert "&lt;b&gt;2: kolom hilang" in page and "kolom hilang" in bad.remarks
        lines = (tmp_path / "tantangan.csv").read_text("utf-8-sig").splitlines()
        assert [line.split(";")[0] for line in lines[1:]] == [h for h in halves for _ in range(3)]
        assert lines[1].startswith("terbuka;1;1;1,0000;")
