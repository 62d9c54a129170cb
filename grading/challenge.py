"""The class's challenge: `make tantangan` draws it, notebook 05 predicts, `make nilai` ranks.

Handed out are ids and images; secret, labels and the recipe's prediction stay. A public half is
shown while it runs, the private half once BATAS has passed. Of a student the last answer counts.
"""

import hashlib
import io
import json
import os
import secrets
import zipfile
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit, logit

import phantom
from cxr_helpers import data, evaluation, experiments, training
from cxr_helpers.engine import files, results
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import Study, open_study
from grading import package

IMAGES = Path("tantangan") / "citra.npz"  # in the data folder
ANSWER = "tantangan.csv"  # beside the results files
COUNT = 1000  # images
KEY = "tantangan.json"
BASELINE, MAJORITY = "Resep mata kuliah", "Tebakan mayoritas"
EDGE = 1e-9  # probabilities 0 and 1 have no logit


def token(secret: str, purpose: str) -> str:
    """12 hexadecimal digits that only the secret can make."""
    return hashlib.sha256(f"{secret}:{purpose}".encode()).hexdigest()[:12]


def draw(secret: str, n: int = COUNT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids (n,), images (n, 28, 28) uint8, labels (n,)) of a secret, in the order of the ids."""
    images, labels, _ = phantom.more_test_images(n, int(secret, 16))
    # a letter first: Excel takes 12e34 for a number
    ids = np.array([f"c{token(secret, f'id {i}')}" for i in range(n)])
    order = np.argsort(ids)
    return ids[order], images[order], labels[order]


def make(out: Path, n: int = COUNT, **settings) -> int:
    """Write both files, of a key that is there the same images; how many. settings: the study's."""
    path = out / "pengajar" / KEY
    body = json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    secret = body["secret"] if body else secrets.token_hex(16)
    ids, images, labels = draw(secret, len(body["ids"]) if body else n)
    if not body:
        study = open_study("phantom", **settings)
        print("Pembandingnya resep mata kuliah, yang dilatih satu kali.", flush=True)
        guess = probabilities(study, experiments.Experiment(BASELINE), 1, images)
        arrays = {"ids": ids, "labels": labels, "baseline": guess}
        body = {"secret": secret} | {name: array.tolist() for name, array in arrays.items()}
        files.write(path, json.dumps(body).encode())
        path.chmod(0o600)
    target, stream = out / "mahasiswa" / "data" / IMAGES, io.BytesIO()
    np.savez_compressed(stream, id=ids, images=images)  # NumPy dates every member 1980
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, stream.getvalue())
    return len(ids)


def main() -> int:
    get = os.environ.get
    out = Path(get("OUT") or "OUT").resolve()
    if not all((out / name).is_dir() for name in ("mahasiswa", "pengajar")):
        raise InputError(f"OUT={out}: jalankan dahulu `make tugas OUT=../tugas`, lalu ulangi.")
    n = make(out, preset=get("PRESET") or "auto", weights=get("WEIGHTS") or "auto")
    print(f"{out}/mahasiswa/data/{IMAGES}: {n} citra tanpa label, untuk dibagikan.")
    print(f"{out}/pengajar/{KEY}: rahasia dan label untuk `make nilai`, jangan dibagikan.")
    return 0


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(ids (N,), images (N, 28, 28) uint8) that were handed out. Raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["id"], arrays["images"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        raise InputError(f"{path} rusak: salin lagi berkas dari pengajar.") from None


def probabilities(
    study: Study, experiment: experiments.Experiment, seeds: int, images: np.ndarray
) -> np.ndarray:
    """P(class 1) (N,) of images (N, H, W) uint8, averaged over seeds, each at its best epoch."""
    result = experiments.train(study, experiment.recipe, seeds, experiment.start)
    start = experiments.starting(study, result.runs[0].config, experiment.start)
    unknown = data.Split(images, np.zeros(len(images), np.uint8), np.arange(len(images)))
    asked, predicted = replace(study.used, extra=unknown), []
    for run in result.runs:
        fitting = training.Fitting(run.config, asked, start, study.device, experiment.recipe.live)
        fitting.take(run.weights("best"))
        predicted.append(expit(fitting.predict("extra").numpy().astype(np.float64)))
    return np.mean(predicted, axis=0)


def predict(study: Study, experiment: experiments.Experiment, seeds: int = 1) -> Path | None:
    """Write tantangan.csv beside the results; None without a challenge. Raises InputError."""
    path = files.data_folder() / IMAGES
    if not path.exists():
        print(f"Tidak ada tantangan: {path} belum dibagikan, sel ini dilewati.")
        return None
    ids, images = read_images(path)
    if images.shape[1:] != study.used.test.images.shape[1:]:
        sizes = f"{images.shape[1]} piksel, studi ini {study.used.source.size}"
        raise InputError(f"Citra tantangan berukuran {sizes}: pakai SIZE=28.")
    predicted = probabilities(study, experiment, seeds, images)
    answer = pd.DataFrame({"id": ids, "probability": predicted})
    target = results.folder(study.build) / ANSWER
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, answer.to_csv(index=False, float_format="%.8f").encode())
    said = f"Prediksi {len(answer)} citra tantangan dengan “{experiment.title}”"
    print(f"{said} ikut dikumpulkan oleh make kumpul sesudah make report dijalankan.")
    return target


@dataclass(frozen=True)
class Key:
    """labels, baseline (N,) in the order of ids; public (N,) bool."""

    ids: tuple[str, ...]
    labels: np.ndarray
    baseline: np.ndarray
    public: np.ndarray


def read_key(folder: Path | None) -> Key | None:
    """The key in KUNCI, None where the class has no challenge. Raises InputError."""
    if folder is None or not (folder / KEY).exists():
        return None
    try:
        body = json.loads((folder / KEY).read_text(encoding="utf-8"))
        public = [int(token(body["secret"], f"half {id}"), 16) % 2 == 0 for id in body["ids"]]
        values = map(np.array, (body["labels"], body["baseline"], public))
        return Key(tuple(body["ids"]), *values)
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / KEY} rusak: ambil lagi salinannya.") from None


def answer(handin: package.Handin) -> tuple[dict[str, float], str]:
    """({id: probability} of a hand-in's tantangan.csv or {}, what is wrong with it or "")."""
    paths = [path for path in handin.files if path.rsplit("/", 1)[-1].lower() == ANSWER]
    if not paths:
        return {}, ""
    rows = package.table(handin.files[min(paths, key=lambda path: (path.count("/"), path))])
    rows, values = [row for row in rows if any(row.values())], {}  # Excel leaves empty lines
    with suppress(KeyError, ValueError):
        values = {row["id"].lower(): float(row["probability"].replace(",", ".")) for row in rows}
    if values and len(values) == len(rows) and all(0 <= p <= 1 for p in values.values()):
        return values, ""
    return {}, f"{ANSWER}: tiap baris memuat id, satu kali saja, dan probability dari 0 sampai 1"


def in_order(values: dict[str, float], key: Key) -> tuple[np.ndarray | None, str]:
    """The answer in the key's order, or why it is none."""
    missing = [id for id in key.ids if id not in values]
    strange = len(values) - len(key.ids) + len(missing)
    if missing or strange:
        return None, f"{ANSWER}: {len(missing)} id tidak ada, {strange} id asing"
    return np.array([values[id] for id in key.ids]), ""


def rank(answers: dict[str, np.ndarray], key: Key, which: str) -> list[dict]:
    """Rows of one half ("public", "private"), best first; baseline and majority have no place.

    level: not to be told from the first student (the paired interval holds zero).
    """
    rows = key.public if which == "public" else ~key.public
    labels, board = key.labels[rows], []
    everyone = answers | {BASELINE: key.baseline, MAJORITY: np.full(len(rows), 0.5)}
    logits = {who: logit(np.clip(p[rows], EDGE, 1 - EDGE)) for who, p in everyone.items()}
    auc = {who: evaluation.metrics(given, labels)["auc"] for who, given in logits.items()}
    first = max(answers, key=lambda who: auc[who]["value"], default=None)
    for who, given in logits.items():
        place, level = None, False
        if who in answers:
            better = [auc[other]["value"] > auc[who]["value"] for other in answers]
            pair = [evaluation.measured([s], labels)["auc"] for s in (given, logits[first])]
            place = 1 + sum(better)
            level = evaluation.side(evaluation.difference(*pair)["ci95"]) == "across"
        row = {"place": place, "who": who, "auc": auc[who]["value"], "ci95": auc[who]["ci95"]}
        board.append(row | {"level": level})
    return sorted(board, key=lambda row: (-row["auc"], row["who"]))
