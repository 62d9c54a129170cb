"""The challenge: nothing tells the labels, answers are read as Excel leaves them, ranked right."""

import json
import time
import zipfile

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

import phantom
from grading import challenge, grade, package, pages


def test_the_secret_gives_the_same_images_and_cannot_be_told_from_them(tmp_path, monkeypatch):
    (tmp_path / "pengajar").mkdir()
    monkeypatch.setattr(challenge, "probabilities", lambda *given: np.linspace(0.1234, 0.9, 120))
    assert challenge.make(tmp_path, 120, preset="smoke", weights="random", device="cpu") == 120
    (handed,) = [path for path in (tmp_path / "mahasiswa").rglob("*") if path.is_file()]
    key = tmp_path / "pengajar" / challenge.KEY
    before, body = (handed.read_bytes(), key.read_bytes()), json.loads(key.read_text())
    assert challenge.make(tmp_path, 7) == 120 and (handed.read_bytes(), key.read_bytes()) == before
    assert 40 < challenge.read_key(tmp_path / "pengajar").public.sum() < 80
    assert int(body["secret"], 16) > 2**100 and key.stat().st_mode & 0o077 == 0
    for hidden in (body["secret"], *map(str, body["baseline"][:3])):
        assert hidden.encode() not in before[0]
    # nothing lets one draw the labels again: file times, order, ids, seeds that one would try
    with zipfile.ZipFile(handed) as archive:
        assert sorted(archive.namelist()) == ["id.npy", "images.npy"]
        assert {entry.date_time[:3] for entry in archive.infolist()} == {(1980, 1, 1)}
    (ids, images), labels = challenge.read_images(handed), np.array(body["labels"])
    drawn = [phantom.more_test_images(120, seed)[0] for seed in (0, 1234, int(time.time()))]
    assert not {x.tobytes() for x in images} & {x.tobytes() for x in np.concatenate(drawn)}
    for statistic in (np.arange(120), np.array([int(one[1:], 16) for one in ids], float)):
        assert abs(roc_auc_score(labels, statistic) - 0.5) < 0.2  # 4 standard errors


@pytest.fixture
def key():
    """200 images, the even ones public, and a baseline that is right more often than not."""
    labels = np.arange(200) % 3 > 0
    weak = np.where(labels, 0.6, 0.4) + 0.3 * np.sin(np.arange(200) * 7)
    ids = tuple(f"c{i}" for i in range(200))
    return challenge.Key(ids, labels.astype(int), weak, np.arange(200) % 2 == 0)


@pytest.mark.parametrize(
    ("content", "values", "why"),
    [
        (b"id,probability\r\nc1,0.25\r\nC2,1\r\n,\r\n", {"c1": 0.25, "c2": 1.0}, ""),
        ("\ufeffid;probability\nc1;0,25\n".encode(), {"c1": 0.25}, ""),  # as Excel leaves it
        (b"id,probability\nc1,0.1\nc1,0.2", {}, "satu kali saja"),
        (b"id,probability\nc1,nan", {}, "dari 0 sampai 1"),
        (b"\x00\xff" * 50, {}, "memuat id"),
    ],
)
def test_answers_are_read_or_their_fault_is_said(content, values, why):
    found, said = challenge.answer(package.Handin("x", {"a/Tantangan.csv": content}))
    assert found == values and why in said and bool(said) == bool(why)


def test_the_ranking_is_what_was_planted(key):
    some = dict.fromkeys(key.ids[1:], 0.5) | {"asing": 0.5}
    assert challenge.in_order(some, key) == (None, "tantangan.csv: 1 id tidak ada, 1 id asing")
    right = np.where(key.labels == 1, 0.9, 0.1)
    spoilt = np.where(np.arange(200) < 20, 1 - right, right)
    answers = {"a": spoilt, "b": spoilt.copy(), "c": 1 - right, "d": np.full(200, 0.5), "e": right}
    rows = {row["who"]: row for row in challenge.rank(answers, key, "public")}
    assert [rows[one]["place"] for one in "eabdc"] == [1, 2, 2, 4, 5]
    aucs = [rows[who]["auc"] for who in ("e", "d", challenge.MAJORITY, "c")]
    assert aucs == [1, 0.5, 0.5, 0] and rows[challenge.BASELINE]["place"] is None
    assert [rows[one]["level"] for one in "eac"] == [True, False, False]
    for half, chosen in (("public", key.public), ("private", ~key.public)):
        found = {row["who"]: row["auc"] for row in challenge.rank(answers, key, half)}
        for who, values in (("a", spoilt), (challenge.BASELINE, key.baseline)):
            expected = roc_auc_score(key.labels[chosen], values[chosen])
            assert found[who] == pytest.approx(expected)


def test_the_board_hides_the_private_half_until_the_limit(key, tmp_path):
    right = dict(zip(key.ids, np.where(key.labels == 1, 0.9, 0.1).tolist(), strict=True))
    good = grade.Record("a", "1", ["1"], [], made="2026-11-01", answer=right)
    for limit, halves in (("2999-01-01", ["terbuka"]), ("2000-01-01", ["terbuka", "tertutup"])):
        pages.challenge_board(tmp_path, [good], key, pages.deadline(limit))
        page = (tmp_path / "tantangan.html").read_text("utf-8")
        assert ("Paruh tertutup</h2>" in page) is ("tertutup" in halves)
        lines = (tmp_path / "tantangan.csv").read_text("utf-8-sig").splitlines()
        assert [line.split(";")[0] for line in lines[1:]] == [h for h in halves for _ in range(3)]
        assert lines[1].startswith("terbuka;1;1;1,0000;")
