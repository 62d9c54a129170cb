"""What a report claims follows from the predictions handed in and our labels, or it is said."""

import copy
import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn import metrics

from cxr_helpers.engine import settings
from cxr_helpers.engine.errors import InputError
from grading import claims, package
from tests.conftest import made

DATA = made()
LABELS = DATA.test.labels
LOGITS = {  # of the baseline, and of the two trainings of a row
    key: np.random.default_rng(i).normal(LABELS - 0.3) for i, key in enumerate(("k", "r7", "r8"))
}
STUDIES = SimpleNamespace(get=lambda provenance, training=True: SimpleNamespace(used=DATA))


def measured(logits) -> dict[str, float]:
    """The compared metrics, by scikit-learn."""
    predicted = logits > 0
    return {
        "acc": metrics.accuracy_score(LABELS, predicted),
        "balanced_acc": metrics.balanced_accuracy_score(LABELS, predicted),
        "auc": metrics.roc_auc_score(LABELS, logits),
        "f1": metrics.f1_score(LABELS, predicted),
        "sensitivity": metrics.recall_score(LABELS, predicted),
        "specificity": metrics.recall_score(LABELS, predicted, pos_label=0),
    }


def said(*logits) -> dict:
    """As a results file holds them: means over the trainings."""
    each = [measured(one) for one in logits]
    return {name: {"value": np.mean([one[name] for one in each])} for name in each[0]}


def saved(**arrays) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def body() -> dict:
    """Everything that a report with a row of two trainings hands in, as plain data."""
    found = {}
    for key, seed, lr in (("k", 7, 1), ("r7", 7, 2), ("r8", 8, 2)):
        config = {"config": {"lr": lr, "seed": seed}, "data": DATA.fingerprint, "weights": "w"}
        found |= {f"{key}/config.json": config, f"{key}/info.json": {"seconds": 12.5}}
        found[f"{key}/predictions.npz"] = {"test_best": LOGITS[key], "test_last": -LOGITS[key]}
    found["02_pelatihan.json"] = {
        "run": {"key": "k"},
        "provenance": {"seed": 7, "data": {"fingerprint": DATA.fingerprint}},
        "test": said(LOGITS["k"]),
    }
    row = {"name": "laju", "changed": {"lr": 2}, "seeds": [7, 8], "epoch_judged": "best"}
    row |= {"test": said(LOGITS["r7"], LOGITS["r8"])}
    last = row | {"name": "akhir", "seeds": [7], "epoch_judged": "last"}
    found["04_perbaikan.json"] = {"variants": [row, row | {"changed": {"lr": 3}}]}
    found["05_percobaan.json"] = {"variants": [last | {"test": said(-LOGITS["r7"])}]}
    return found


BODY = body()


def check(*changes) -> claims.Claim:
    """The claim of the hand-in after changes, (path within it, new value); None removes."""
    given = copy.deepcopy(BODY)
    for path, value in changes:
        *way, last = path.split(":")
        place = given
        for name in way:
            place = place[int(name) if isinstance(place, list) else name]
        place[last] = value
    files = {}
    for name, content in given.items():
        if isinstance(content, dict):
            content = saved(**content) if name.endswith("npz") else json.dumps(content).encode()
        if content is not None:
            files[f"x/{'runs/' if '/' in name else 'build/results/'}{name}"] = content
    return claims.check(package.Handin("x", files), STUDIES)


def test_an_honest_report_agrees_in_every_number():
    found, expected = check(), pytest.approx(measured(LOGITS["k"]), abs=1e-12)
    assert (found.status, found.why, found.rows) == ("cocok", "", 2)
    assert found.claimed == expected and found.recomputed == expected
    assert (found.key, found.seed, found.seconds) == ("k", 7, 12.5)


NOT = "tidak cocok"


@pytest.mark.parametrize(
    ("off", "status"),
    [(9e-7, "cocok"), (-9e-7, "cocok"), (1.1e-6, NOT), (-1.1e-6, NOT), (float("nan"), NOT)],
)
@pytest.mark.parametrize("name", claims.COMPARED)
def test_a_claimed_number_must_be_the_recomputed_one(name, off, status):
    value = measured(LOGITS["k"])[name] + off
    found = check((f"02_pelatihan.json:test:{name}:value", value))
    assert found.status == status and found.why.endswith(f": {name}.") is (status != "cocok")
    path = f"04_perbaikan.json:variants:0:test:{name}:value"
    found = check((path, said(LOGITS["r7"], LOGITS["r8"])[name]["value"] + off))
    assert (found.status, found.rows) == (status, 2)
    assert ("baris laju" in found.why) is (status != "cocok")


PREDICTIONS = "k/predictions.npz"
KIND = "02_pelatihan.json"


@pytest.mark.parametrize(
    ("path", "value", "status"),
    [
        (KIND, None, "tanpa hasil"),
        (KIND, b"{}", "rusak"),
        (f"{KIND}:run:key", "../..", "tanpa prediksi"),
        (f"{KIND}:test:acc:value", "x", "rusak"),
        (f"{KIND}:provenance:data:fingerprint", "lain", "data lain"),
        (PREDICTIONS, None, "tanpa prediksi"),
        (PREDICTIONS, b"PK", "rusak"),
        (PREDICTIONS, {"test_best": LOGITS["k"][1:]}, "rusak"),
        (PREDICTIONS, {"test_best": np.where(np.arange(16) == 3, np.inf, 0)}, "rusak"),
        (PREDICTIONS, {"test_best": -LOGITS["k"]}, "tidak cocok"),
        ("k/info.json", None, "cocok"),
    ],
)
def test_what_cannot_be_held_against_predictions_has_its_status(path, value, status):
    found = check((path, value))
    assert found.status == status and bool(found.why) == (status != "cocok")
    assert found.rows == (2 if "cocok" in status else 0)


@pytest.mark.parametrize(
    ("path", "value", "rows", "wrong"),
    [
        ("k/config.json", None, None, claims.UNCHECKED),
        ("04_perbaikan.json", None, 1, ""),
        ("r8/config.json:data", "lain", 1, ""),
        ("r8/config.json:weights", "lain", 1, ""),
        ("r8/config.json:config:seed", 9, 1, ""),
        ("r8/predictions.npz", None, 2, "baris laju"),
        ("r7/predictions.npz", {"test_best": LOGITS["r7"]}, 2, "baris akhir"),
        ("r8/predictions.npz", {"test_best": -LOGITS["r8"]}, 2, "baris laju"),
        ("04_perbaikan.json:variants", ["x"], 2, "baris None"),
    ],
)
def test_rows_are_held_against_their_own_trainings(path, value, rows, wrong):
    found = check((path, value))
    assert found.rows == rows
    assert found.status == ("tidak cocok" if wrong.startswith("baris") else "cocok")
    assert wrong in found.why and bool(found.why) == bool(wrong)


@pytest.mark.parametrize(
    ("seeds", "words"),
    [((1, 2), "(1 dan 2)"), ((999, 999), "wajar"), ((1000, 1000), "NIM-nya lain")],
)
def test_copies_are_told_by_their_seeds(seeds, words):
    a, b = (claims.Claim("cocok", prediction="abc", seed=seed) for seed in seeds)
    other, none = claims.Claim("cocok", prediction="d", seed=1), claims.Claim("rusak")
    found = claims.copies({"a": a, "b": b, "c": other, "d": none, "e": none})
    assert found.keys() == {"a", "b"} and settings.OWN_SEEDS == 1000
    assert "dengan b:" in found["a"][0] and words in found["a"][0]
    near, far = (check((PREDICTIONS, {"test_best": LOGITS["k"] + off})) for off in (1e-9, 1e-4))
    assert near.prediction == check().prediction != far.prediction


def test_arrays_load_no_pickle_and_no_bomb(monkeypatch):
    stream, header = io.BytesIO(), {"descr": "<f8", "fortran_order": False, "shape": (10**13,)}
    with zipfile.ZipFile(stream, "w") as archive, archive.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
    for content in (saved(a=np.array([{}], dtype=object)), stream.getvalue(), b""):
        with pytest.raises(package.Refused, match="predictions") as refused:
            claims.arrays(content)
        assert refused.value.status == "rusak"
    monkeypatch.setattr(claims, "ARRAY", 128 + 80)  # NumPy's header and ten numbers
    assert claims.arrays(saved(a=np.arange(10.0)))["a"].tolist() == list(range(10))
    with pytest.raises(package.Refused):
        claims.arrays(saved(a=np.arange(10.0), b=np.arange(11.0)))


def test_a_study_is_opened_once_with_the_settings_named_but_from_no_file_of_ours(monkeypatch):
    opened, studies = [], claims.Studies()
    monkeypatch.setattr(claims, "open_study", lambda *given: opened.append(given) or object())
    data = {"kind": "phantom", "size": 28, "classes": [1, 7], "collection": None}
    named = {"data": data, "preset": {"name": "smoke"}, "weights": {"kind": "imagenet"}}
    assert studies.get(named) is studies.get(named) is not studies.get(named, False)
    studies.get(named | {"weights": {"kind": "/etc/passwd"}})
    data |= {"kind": "file", "collection": "PneumoniaMNIST"}
    studies.get(named)
    begun = [("phantom", "imagenet"), ("phantom", "random"), ("pneumoniamnist", "imagenet")]
    assert opened == [(*one, "smoke", 0, "cpu", 28, "1,7", "float32") for one in begun]
    data["collection"] = "/etc/passwd"
    with pytest.raises(InputError, match="tidak dikenal"):
        studies.get(named)
