"""The class's challenge: `make tantangan OUT=../tugas` draws it, notebook 05 predicts it, `make
nilai` ranks what was handed in.

OUT/mahasiswa/data/tantangan/citra.npz: ids and images of a phantom, nothing else.
OUT/pengajar/tantangan.json, which stays: the secret (128 bits from the system's source of
randomness, made once), labels, and the prediction of the course's recipe. Ids say nothing of order
or label; the file carries no time.

A public half (by a salted hash of the id) is shown while the challenge runs, the private half once
BATAS has passed. Of a student the last answer counts, of the first MOST different ones.
"""

import hashlib
import io
import json
import os
import secrets
import zipfile
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
from grading import package, release

IMAGES = Path("tantangan") / "citra.npz"  # in the data folder
ANSWER = "tantangan.csv"  # beside the results files
COUNT = 1000  # images
MOST = 5  # answers of a student that count
BITS = 128
KEY = "tantangan.json"
HALVES = ("public", "private")
BASELINE, MAJORITY = "Resep mata kuliah", "Tebakan mayoritas"
EDGE = 1e-9  # probabilities 0 and 1 have no logit


# --- making it ------------------------------------------------------------------------------------


def token(secret: str, purpose: str) -> str:
    """A word of 12 hexadecimal digits that only the secret can make."""
    return hashlib.sha256(f"{secret}:{purpose}".encode()).hexdigest()[:12]


def draw(secret: str, n: int = COUNT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ids (n,), images (n, 28, 28) uint8, labels (n,)) of a secret, in the order of the ids."""
    images, labels, _ = phantom.more_test_images(n, int(secret, 16))
    # a letter first: Excel takes 12e34 for a number
    ids = np.array([f"c{token(secret, f'id {i}')}" for i in range(n)])
    order = np.argsort(ids)
    return ids[order], images[order], labels[order]


def packed(ids: np.ndarray, images: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, id=ids, images=images)  # NumPy dates every member 1980
    return stream.getvalue()


def make(out: Path, n: int = COUNT, **settings) -> int:
    """Write both files; how many images. settings: of the study whose recipe is the baseline."""
    path = out / "pengajar" / KEY
    body = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    secret = body.get("secret") or f"{secrets.randbits(BITS):032x}"
    n = len(body.get("ids", ())) or n
    ids, images, labels = draw(secret, n)
    if "baseline" not in body:
        study = open_study("phantom", **settings)
        if not training.task(study.config(), study.used, study.weights, study.device).finished:
            print("Pembandingnya, resep mata kuliah, dilatih satu kali.", flush=True)
        guess = probabilities(study, experiments.Experiment(BASELINE), 1, images)
        arrays = {"ids": ids, "labels": labels, "baseline": guess}
        body = {"secret": secret} | {name: array.tolist() for name, array in arrays.items()}
        files.write(path, json.dumps(body).encode())
        path.chmod(0o600)
    target = out / "mahasiswa" / "data" / IMAGES
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, packed(ids, images))
    return n


def main() -> int:
    get = os.environ.get
    out = release.handed_out()
    n = make(out, preset=get("PRESET") or "auto", weights=get("WEIGHTS") or "auto")
    print(f"{out}/mahasiswa/data/{IMAGES}: {n} citra tanpa label, untuk dibagikan.")
    use = f"untuk `make nilai KUNCI={out}/pengajar`. Jangan dibagikan."
    print(f"{out}/pengajar/{KEY}: rahasia dan label, {use}")
    return 0


# --- predicting it, in a student's notebook -------------------------------------------------------


def read_images(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(ids (N,) text, images (N, 28, 28) uint8) that were handed out. Raises InputError."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["id"], arrays["images"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        cure = "salin lagi berkas tantangan yang dibagikan pengajar."
        raise InputError(f"{path} rusak: {cure}") from None


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
    """Write tantangan.csv (`id,probability`) beside the results files; None, and a line, where no
    challenge was handed out. Raises InputError for images of another size than the study's.
    """
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
    # which predicts them once more
    when = "" if target.parent.name == "results" else " sesudah make report dijalankan"
    said = f"Prediksi {len(answer)} citra tantangan dengan “{experiment.title}”"
    print(f"{said} ikut dikumpulkan oleh make kumpul{when}.")
    return target


# --- reading answers ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """labels, baseline (N,) in the order of ids; public (N,) bool."""

    ids: tuple[str, ...]
    labels: np.ndarray
    baseline: np.ndarray
    public: np.ndarray


def read_key(folder: Path | None) -> Key | None:
    """The key in KUNCI, None where the class has no challenge. Raises InputError."""
    path = folder / KEY if folder else None
    if path is None or not path.exists():
        return None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        public = [int(token(body["secret"], f"half {id}"), 16) % 2 == 0 for id in body["ids"]]
        values = map(np.array, (body["labels"], body["baseline"], public))
        return Key(tuple(body["ids"]), *values)
    except (OSError, ValueError, KeyError, TypeError):
        cure = "ambil lagi salinannya, atau buat tantangan baru."
        raise InputError(f"{path} rusak: {cure}") from None


def answer(handin: package.Handin) -> tuple[dict[str, float], str]:
    """({id: probability} of a hand-in's tantangan.csv or {}, what is wrong with it or "")."""
    paths = [path for path in handin.files if path.rsplit("/", 1)[-1].lower() == ANSWER]
    if not paths:
        return {}, ""
    rows = package.table(handin.files[min(paths, key=lambda path: (path.count("/"), path))])
    if not rows or not {"id", "probability"} <= rows[0].keys():
        return {}, f"{ANSWER}: kolom id dan probability tidak ditemukan"
    values = {}
    for row in rows:
        if not any(row.values()):
            continue  # Excel leaves empty lines
        name = row.get("id", "").lower()
        try:
            value = float(row.get("probability", "").replace(",", "."))
        except ValueError:
            value = np.nan
        if not 0 <= value <= 1:
            shown = ascii(name)[:30]
            return {}, f"{ANSWER}: probability untuk {shown} bukan bilangan dari 0 sampai 1"
        if name in values:
            return {}, f"{ANSWER}: id {ascii(name)[:30]} ada dua kali"
        values[name] = value
    return values, ""


def in_order(values: dict[str, float], key: Key) -> tuple[np.ndarray | None, str]:
    """The answer in the key's order, or why it is none."""
    missing = [id for id in key.ids if id not in values]
    strange = len(values) - len(key.ids) + len(missing)
    if missing or strange:
        return None, f"{ANSWER}: {len(missing)} id tidak ada, {strange} id asing"
    return np.array([values[id] for id in key.ids]), ""


# --- ranking --------------------------------------------------------------------------------------


def count(
    path: Path, given: list[tuple[str, np.ndarray]]
) -> dict[str, tuple[np.ndarray, int, int]]:
    """{student: (the answer that counts, how many counted, how many were over the limit)} of
    answers, oldest first; the file at `path` remembers those of earlier runs.
    """
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = {}
    last = {}
    for student, values in given:
        mine, rounded = kept.setdefault(student, []), np.round(values, 8).tolist()
        if rounded not in mine:
            mine.append(rounded)
        if rounded in mine[:MOST]:
            last[student] = rounded  # also one that was handed in before
    files.write(path, json.dumps(kept).encode())
    counted = {}
    for who, mine in kept.items():
        counts = min(len(mine), MOST), max(0, len(mine) - MOST)
        counted[who] = (np.array(last.get(who, mine[:MOST][-1])), *counts)
    return counted


def rank(answers: dict[str, np.ndarray], key: Key, which: str) -> list[dict]:
    """Rows of one half ("public", "private"), best first; baseline and majority have no place.

    level: not to be told from the first student (the paired interval holds zero).
    """
    rows = key.public if which == "public" else ~key.public
    labels = key.labels[rows]
    scores = {who: logit(np.clip(p[rows], EDGE, 1 - EDGE)) for who, p in answers.items()}
    beside = {
        BASELINE: logit(np.clip(key.baseline[rows], EDGE, 1 - EDGE)),
        MAJORITY: np.zeros(len(labels)),
    }
    everyone = scores | beside
    areas = [float(evaluation.area_under_curve(logits, labels)) for logits in everyone.values()]
    auc = dict(zip(everyone, areas, strict=True))
    first, board = max(scores, key=auc.get, default=None), []
    for who, logits in everyone.items():
        place = None if who in beside else 1 + sum(auc[other] > auc[who] for other in scores)
        level = False
        if who in scores:
            pair = [evaluation.measured([s], labels)["auc"] for s in (logits, scores[first])]
            level = evaluation.side(evaluation.difference(*pair).ci95) == "across"
        ci = evaluation.metrics(logits, labels)["auc"]["ci95"]
        board.append({"place": place, "who": who, "auc": auc[who], "ci95": ci, "level": level})
    return sorted(board, key=lambda row: (-row["auc"], row["who"]))
