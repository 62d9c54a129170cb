"""What a report claims, held against the predictions handed in: do its metrics follow, and whose
are they.

Labels are never taken from a student: the data set is opened here, with the settings that the
report names, and must have the same fingerprint. again.py trains claimed runs again.
"""

import hashlib
import io
import threading
import zipfile
from dataclasses import dataclass

import numpy as np

from cxr_helpers import evaluation
from cxr_helpers.engine import settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.sources import FLAGS
from cxr_helpers.study import Study, open_study
from grading import package

COMPARED = {
    "acc": "Akurasi",
    "balanced_acc": "Akurasi seimbang",
    "auc": "AUC",
    "f1": "F1",
    "sensitivity": "Sensitivitas",
    "specificity": "Spesifisitas",
}
CLOSE = 1e-6
WEIGHTS = ("random", "imagenet", "gabor")
UNCHECKED = "Baris notebook 04 dan 05 tidak dapat diperiksa: config.json-nya tidak dikumpulkan."
ARRAY = 64 * 2**20  # bytes of one array of predictions.npz, as they come out


@dataclass
class Claim:
    """status: Indonesian, as the table for an instructor has it; claimed, recomputed: {metric:
    value}; prediction: digest of the test predictions; seconds: of the training, as its own file
    says; rows: how many of notebooks 04 and 05 were checked, too (None: see rows).
    """

    status: str
    why: str = ""
    claimed: dict | None = None
    recomputed: dict | None = None
    prediction: str = ""
    seed: int | None = None
    key: str = ""
    seconds: float = 0.0
    rows: int | None = 0


def arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz, read within bounds, without pickle. Raises Refused "rusak"."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            contents = {}
            for member in archive.infolist()[:50]:
                with archive.open(member) as stream:
                    raw = stream.read(ARRAY + 1)
                if len(raw) > ARRAY:
                    raise ValueError("too large")
                values = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
                contents[member.filename.removesuffix(".npy")] = values
            return contents
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for a damaged file
        raise package.Refused(
            "rusak", f"predictions.npz tidak dapat dibaca ({type(error).__name__})."
        ) from None


def content(handin: package.Handin, key: str, name: str) -> bytes | None:
    """The content of runs/{key}/{name}."""
    ending = f"/runs/{key}/{name}"
    return next((raw for path, raw in handin.files.items() if f"/{path}".endswith(ending)), None)


def predictions(handin: package.Handin, key: str, which: str = "test_best") -> np.ndarray:
    """Logits (N,) that were handed in of a run. Raises Refused, KeyError."""
    return arrays(content(handin, key, "predictions.npz") or b"")[which].astype(np.float64)


class Studies:
    """The studies that reports name, each opened once. They know the labels."""

    def __init__(self):
        self._open: dict[tuple, Study | str] = {}
        self._lock = threading.Lock()  # two hand-ins are graded at a time

    def get(self, provenance: dict, training: bool = True) -> Study:
        """The study with a report's settings and, for a `training`, its weights. Raises InputError
        where it cannot be opened here.
        """
        data = provenance["data"]
        kind, size, preset = str(data["kind"]), int(data["size"]), str(provenance["preset"]["name"])
        if kind not in ("phantom", "chestmnist"):
            kind = str(data.get("collection") or "").lower()
        # a report may name anything, also a path of ours
        if kind not in FLAGS and kind != "phantom":
            raise InputError("laporan itu memakai data yang tidak dikenal di sini")
        weights = str(provenance["weights"]["kind"])
        weights = weights if training and weights in WEIGHTS else "random"
        classes = ",".join(map(str, data["classes"]))
        named = (kind, weights, preset, size, classes)
        with self._lock:
            if named not in self._open:
                try:
                    self._open[named] = open_study(
                        kind, weights, preset, 0, "cpu", size, classes, "float32"
                    )
                except InputError as error:
                    self._open[named] = str(error)
        if isinstance(self._open[named], str):
            raise InputError(self._open[named])
        return self._open[named]


def check(handin: package.Handin, studies: Studies) -> Claim:
    """Hold 02_pelatihan.json against runs/<key>/predictions.npz and our own labels."""
    body = package.results(handin, "02_pelatihan")
    if body is None:
        return Claim("tanpa hasil", "02_pelatihan.json tidak ada atau tidak dapat dibaca.")
    try:
        key, provenance = str(body["run"]["key"]), body["provenance"]
        claimed = {name: float(body["test"][name]["value"]) for name in COMPARED}
        seed, fingerprint = int(provenance["seed"]), provenance["data"]["fingerprint"]
    except (KeyError, TypeError, ValueError):
        return Claim("rusak", "02_pelatihan.json tidak memuat hasil yang lengkap.")
    claim = Claim("", claimed=claimed, seed=seed, key=key)
    if content(handin, key, "predictions.npz") is None:
        claim.status, claim.why = "tanpa prediksi", f"runs/{key}/predictions.npz tidak dikumpulkan."
        return claim
    try:
        logits = predictions(handin, key)
        claim.prediction = hashlib.sha256(np.round(logits, 5).tobytes()).hexdigest()
        info = package.read_json(content(handin, key, "info.json")) or {}
        claim.seconds = float(info.get("seconds", 0))
        dataset = studies.get(provenance, training=False).used
    except package.Refused as error:
        claim.status, claim.why = error.status, str(error)
    except InputError as error:
        claim.status, claim.why = "data tidak ada di sini", str(error)
    except (KeyError, TypeError, ValueError, AttributeError):
        claim.status, claim.why = "rusak", "Prediksi atau keterangan pelatihannya tidak lengkap."
    else:
        if dataset.fingerprint != fingerprint:
            claim.status = "data lain"
            claim.why = "Sidik data dalam laporan bukan sidik data yang disebutkannya."
        elif logits.shape != dataset.test.labels.shape or not np.isfinite(logits).all():
            claim.status, claim.why = "rusak", "Banyaknya prediksi bukan banyaknya citra uji."
        else:
            _hold(claim, handin, logits, dataset.test.labels)
    return claim


def _hold(claim: Claim, handin: package.Handin, logits: np.ndarray, labels: np.ndarray) -> None:
    """Hold what is claimed, and the rows of notebooks 04 and 05, against predictions (N,)."""
    claim.recomputed = _metrics([logits], labels)
    off = _off(claim.claimed, claim.recomputed)
    claim.rows, wrong = rows(handin, claim.key, labels)
    off += wrong
    claim.status = "tidak cocok" if off else "cocok"
    if off:
        claim.why = f"Tidak sesuai dengan prediksinya: {', '.join(off)}."
    elif claim.rows is None:
        claim.why = UNCHECKED


def _metrics(trainings: list[np.ndarray], labels: np.ndarray) -> dict[str, float]:
    """The compared metrics, means over trainings."""
    measured = evaluation.measured(trainings, labels)
    return {name: float(measured[name].values.mean()) for name in COMPARED}


def _off(claimed: dict[str, float], recomputed: dict[str, float]) -> list[str]:
    """The metrics that differ; NaN does."""
    return [n for n in COMPARED if not abs(float(claimed[n]) - recomputed[n]) <= CLOSE]


def rows(handin: package.Handin, key: str, labels: np.ndarray) -> tuple[int | None, list[str]]:
    """(how many rows of notebooks 04 and 05 have their trainings in the hand-in, which of them say
    something else); (None, []) where the settings of the baseline were not handed in.

    A row's trainings differ from the baseline `key` in what the row says it changed; rows with
    other data, other weights or parts of one's own have none here and are not counted.
    """
    base = package.read_json(content(handin, key, "config.json")) or {}
    if not isinstance(base.get("config"), dict):
        return None, []
    alike = {}
    for path in [path for path in handin.files if path.endswith("/config.json")]:
        identity = package.read_json(handin.files[path]) or {}
        if all(identity.get(n) == base.get(n) for n in ("data", "weights")):
            alike[path.split("/")[-2]] = identity
    checked, off = 0, []
    for notebook in ("04_perbaikan", "05_percobaan"):
        said = (package.results(handin, notebook) or {}).get("variants")
        for row in said if isinstance(said, list) else []:
            try:
                keys = []
                for seed in row["seeds"]:
                    config = base["config"] | row["changed"] | {"seed": seed}
                    keys += [k for k, other in alike.items() if other["config"] == config][:1]
                if not keys or len(keys) < len(row["seeds"]):
                    continue
                which = f"test_{'last' if row['epoch_judged'] == 'last' else 'best'}"
                logits = [predictions(handin, run, which) for run in keys]
                test = {name: row["test"][name]["value"] for name in COMPARED}
                right = not _off(test, _metrics(logits, labels))
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, package.Refused):
                right = False
            checked += 1
            name = row.get("name") if isinstance(row, dict) else None
            off += [] if right else [package.clean(f"baris {name}")[:60]]
    return checked, off


def copies(claimed: dict[str, Claim]) -> dict[str, list[str]]:
    """{student: remarks} for test predictions that equal another's."""
    remarks: dict[str, list[str]] = {}
    for student, a in claimed.items():
        alike: dict[str, list[str]] = {}
        for other, b in claimed.items():
            if student == other or not a.prediction or a.prediction != b.prediction:
                continue
            if a.seed != b.seed:
                words = f"padahal seed-nya lain ({a.seed} dan {b.seed})"
            elif a.seed < settings.OWN_SEEDS:
                words = "seed-nya juga sama, wajar pada mesin sejenis"
            else:
                words = "seed-nya juga sama, padahal NIM-nya lain"
            alike.setdefault(words, []).append(other)
        for words, others in alike.items():
            remark = f"prediksi sama persis dengan {package.listed(others)}: {words}"
            remarks.setdefault(student, []).append(remark)
    return remarks
