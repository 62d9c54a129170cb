"""What a report claims follows from the predictions handed in and our labels, or it is said."""

import copy
import io
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from cxr_helpers import experiments, remedies
from cxr_helpers.engine import results, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Task
from cxr_helpers.model import Weights
from cxr_helpers.study import Study
from grading import claims, package
from tests.conftest import made

DATA, NIM = made(), "21/4738"
SEED = settings.seed_of(NIM)
ABOUT = settings.PRESETS["smoke"], SEED, torch.device("cpu"), "float32", Path("x"), "", 0.0
STUDY = Study(DATA, DATA, Weights("random", "", "", None, "w"), *ABOUT)
STUDIES = SimpleNamespace(get=lambda provenance, training=True: STUDY)
OWN = "def jaringan():\n    ...\n\nBAGIAN = {\n    'network': jaringan,\n}\n"


def files_of_run(shift: int = 0, **changes) -> tuple[str, dict]:
    """(key, {file: plain data}) of a run of this study with made-up predictions."""
    config = STUDY.config(**{"seed": SEED + shift} | changes)
    identity = {"config": asdict(config), "data": DATA.fingerprint, "weights": "w"}
    identity = json.loads(json.dumps(identity))
    key = Task(identity, (), "").key
    generator, arrays = np.random.default_rng(int(key, 16)), {}
    for name, split in DATA.splits.items():
        logits = generator.normal(split.labels - 0.3, size=(2, len(split.labels)))
        arrays |= {name: logits, f"{name}_best": logits[0], f"{name}_last": logits[1]}
    names = ("train_loss", "train_acc", "val_loss", "val_acc", "val_auc")
    history = [{"epoch": i + 1} | dict.fromkeys(names, 0.5 + i / 4) for i in range(2)]
    info = {"seconds": 12.5, "best_epoch": 1, "trained_parameters": 9}
    files = {"config.json": identity, "predictions.npz": arrays, "info.json": info}
    return key, files | {"history.csv": pd.DataFrame(history).to_csv(index=False).encode()}


def packed(content) -> bytes:
    if isinstance(content, dict) and any(isinstance(v, np.ndarray) for v in content.values()):
        stream = io.BytesIO()
        np.savez(stream, **content)
        return stream.getvalue()
    return content if isinstance(content, bytes) else json.dumps(content).encode()


def handin(body: dict) -> package.Handin:
    kept = {name: packed(content) for name, content in body.items() if content is not None}
    places = {name: "x/runs/" if "/" in name else "x/build/results/" for name in kept}
    return package.Handin("x", {places[name] + name: content for name, content in kept.items()})


def body() -> dict:
    """What an honest report hands in: the recipe, a remedy of two seeds, an own network."""
    trained = [files_of_run(), files_of_run(lr=2.0), files_of_run(1, lr=2.0), files_of_run(own=OWN)]
    found = {f"{key}/{name}": c for key, files in trained for name, c in files.items()}
    key, given = trained[0][0], handin(found)
    runs = [claims.run_of(given, key, STUDY) for key, _ in trained]
    recipe = remedies.Row(remedies.BASELINE, [remedies.trained(runs[0])], {})
    remedy = remedies.Remedy("laju", 6, "Laju", {"lr": 2.0})
    rows = [recipe, remedies.Row(remedy, [remedies.trained(r) for r in runs[1:3]], {"lr": 2.0})]
    own = experiments._row(STUDY, "experiment1", "Jaringan", experiments.Result((runs[3],)))
    about = {"fingerprint": DATA.fingerprint, "kind": "chestmnist"}
    provenance = {"seed": SEED, "seeds": [SEED], "data": about, "weights": {"kind": "random"}}
    provenance |= {"precision": "float32"}
    said = claims.made_again(runs[:1], STUDY)
    said[claims.LESSON] |= {"run": {"key": key}, "provenance": provenance}
    said["04_perbaikan"] = {"variants": remedies.judge(rows, DATA)}
    said["05_percobaan"] = {"variants": remedies.judge([recipe, own], DATA)}
    found |= {f"{name}.json": results.plain(content) for name, content in said.items()}
    return found | {"manifest.json": {"nims": [NIM]}}


BODY = body()
KEY = BODY["02_pelatihan.json"]["run"]["key"]
OTHER, NETWORK = files_of_run(lr=2.0)[0], files_of_run(own=OWN)[0]


def place(path: str, tree: dict) -> tuple:
    """(what holds the last part of a path within the hand-in, that part)."""
    *way, last = path.split(":")
    for name in way:
        tree = tree[int(name) if isinstance(tree, list) else name]
    return tree, last


def check(path: str = "", value=None) -> claims.Claim:
    """The claim of the hand-in with a new value at a path; None removes."""
    given = copy.deepcopy(BODY)
    if path:
        holder, last = place(path, given)
        holder[last] = value
    return claims.check(handin(given), STUDIES)


def test_an_honest_report_agrees_in_every_number():
    logits, labels = BODY[f"{KEY}/predictions.npz"]["test_best"], DATA.test.labels
    predicted = labels, logits > 0
    expected = {
        "acc": metrics.accuracy_score(*predicted),
        "balanced_acc": metrics.balanced_accuracy_score(*predicted),
        "auc": metrics.roc_auc_score(labels, logits),
        "f1": metrics.f1_score(*predicted),
        "sensitivity": metrics.recall_score(*predicted),
        "specificity": metrics.recall_score(*predicted, pos_label=0),
    }
    found = check()
    assert (found.status, found.why, found.rows, found.of_rows) == ("cocok", "", 4, 4)
    assert found.claimed == pytest.approx(expected) and found.recomputed == pytest.approx(expected)
    assert set(found.trained.values()) == {"baseline", "laju", "experiment1"}
    assert (found.key, found.seed, len(found.trained)) == (KEY, SEED, 4)


FOUR = "04_perbaikan.json:variants:1"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        *[(f"02_pelatihan.json:test:{name}:value", "02: test") for name in claims.COMPARED],
        ("03_analisis_overfitting.json:final_gap:value", "03: final_gap"),
        ("03_analisis_overfitting.json:temperature:after:ece_measured", "03: temperature"),
        ("03_analisis_overfitting.json:claims:numbers:3:value", "03: claims"),
        *[(f"{FOUR}:test:{name}:value", "04: Laju") for name in claims.COMPARED],
        ("05_percobaan.json:variants:1:gap:value", "05: Jaringan"),
    ],
)
def test_a_claimed_number_must_be_the_recomputed_one(path, said):
    holder, last = place(path, BODY)
    for off, status in ((5e-7, "cocok"), (-5e-7, "cocok"), (1e-5, "tidak cocok")):
        value = holder[last] + (off if holder[last] < 0.9 else -off)
        found = check(path, value)
        assert found.status == status and (said in found.why) is (status != "cocok"), value


@pytest.mark.parametrize(
    ("path", "value", "status", "said"),
    [
        ("02_pelatihan.json", None, "tanpa hasil", "02_pelatihan.json"),
        ("02_pelatihan.json:run:key", "../..", "tanpa prediksi", "tidak dikumpulkan"),
        ("02_pelatihan.json:run:key", NETWORK, "bukan resep", "bukan resep: own"),
        ("02_pelatihan.json:test:acc:value", 10**400, "rusak", "tidak lengkap"),
        ("02_pelatihan.json:provenance:data:fingerprint", "lain", "data lain", "Sidik"),
        (f"{KEY}/predictions.npz", None, "tanpa prediksi", KEY),
        (f"{KEY}/predictions.npz", b"PK", "rusak", "tidak dapat dibaca"),
        (f"{KEY}/predictions.npz", {"a": np.array([{}])}, "rusak", "tidak dapat dibaca"),  # pickle
        (f"{KEY}/predictions.npz", {"a": np.zeros(5 * 2**20)}, "rusak", "tidak dapat dibaca"),
        (f"{KEY}/predictions.npz:test_best", np.full(16, np.inf), "rusak", "Banyaknya"),
        (f"{KEY}/config.json:config:lr", 3.0, "rusak", "diubah"),
        (f"{OTHER}/config.json", None, "tidak cocok", "04: Laju (tanpa pelatihan)"),
        (f"{FOUR}:changed", {"lr": 5.0}, "tidak cocok", "04: Laju (tanpa pelatihan)"),
        (f"{FOUR}:seeds", [SEED, SEED], "tidak cocok", "04: Laju (tanpa pelatihan)"),
        (f"{KEY}/history.csv", b"," * 10**5, "rusak", "riwayat"),
        (f"{FOUR}:verdict", "lebih baik", "tidak cocok", "04: Laju (angkanya lain)"),
        ("04_perbaikan.json:variants", ["x"], "rusak", "tidak lengkap"),
        ("04_perbaikan.json:shown", [], "tidak cocok", "04: tabel acuan"),
        ("04_perbaikan.json", None, "tidak cocok", "04: tidak ada"),
        ("03_analisis_overfitting.json", None, "tidak cocok", "03: final_gap"),
        ("manifest.json", {"nims": []}, "bukan resep", f"seed {SEED}, dari NIM tidak disebut"),
        ("manifest.json", {"nims": ["7"]}, "bukan resep", f"seed {SEED}, dari NIM"),
    ],
)
def test_what_does_not_follow_from_predictions_has_its_status(path, value, status, said):
    found = check(path, value)
    assert found.status == status and said in found.why


def test_predictions_of_a_friend_or_of_no_seed_are_remarked():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(8, 600))
    logits[7] = logits[0] + generator.normal(0, 0.05, 600)
    ranks = logits.argsort().argsort().tolist()
    auc = [*np.linspace(0.78, 0.82, 6), 0.92, 0.8]
    every = [claims.Claim(ranks=ranks[i], last=auc[i], like="x", seed=i) for i in range(8)]
    every += [claims.Claim("rusak"), claims.Claim("rusak")]
    found = claims.remarks({f"m{place}": claim for place, claim in enumerate(every)})
    assert found.keys() == {"m0", "m7", "m6"} and "(seed 0, di sana 7)" in found["m0"][0]
    assert "AUC uji 0,920 di luar sebaran" in found["m6"][0]


def test_a_study_is_opened_once_and_from_no_file_of_ours(monkeypatch):
    opened = []
    monkeypatch.setattr(claims, "open_study", lambda *given: opened.append(given) or object())
    studies, data = claims.Studies(), {"kind": "phantom", "size": 28, "classes": [1, 7]}
    named = {"data": data, "preset": {"name": "smoke"}, "weights": {"kind": "/etc/passwd"}}
    assert studies.get(named) is studies.get(named)
    assert opened == [("phantom", "random", "smoke", 0, "cpu", 28, "1,7", "float32")]
    data |= {"kind": "file", "collection": "/etc/passwd"}
    with pytest.raises(InputError, match="tidak dikenal"):
        studies.get(named)
