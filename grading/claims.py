"""What a report claims, held against the predictions handed in: do its metrics follow, and whose
are they.

Labels are never taken from a student: the data set is opened here, with the settings that the
report names, and must have the same fingerprint. again.py trains claimed runs again.
"""

import hashlib
import io
import json
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
UNCHECKED = (
    "Baris notebook 04 dan 05 tidak dapat diperiksa: config.json pelatihannya tidak dikumpulkan."
)
ARRAY = 64 * 2**20  # bytes of one array of predictions.npz, as they come out


@dataclass
class Claim:
    """status: "cocok", "tidak cocok", "data lain", "tanpa prediksi", "tanpa hasil", "rusak", or
    "data tidak ada di sini".

    claimed, recomputed: {metric: value}; prediction: digest of the test predictions, "" where there
    are none; seconds: of the training as its own file says; rows: of notebooks 04 and 05 that were
    held against their predictions, too (None: see rows).
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
    """The arrays of an .npz, read member by member within bounds, without pickle. Raises Refused
    "rusak".
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = {}
            for member in archive.infolist()[:50]:
                with archive.open(member) as stream:
                    raw = stream.read(ARRAY + 1)
                if len(raw) > ARRAY:
                    raise ValueError("too large")
                found[member.filename.removesuffix(".npy")] = np.lib.format.read_array(
                    io.BytesIO(raw), allow_pickle=False
                )
            return found
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for a damaged file
        raise package.Refused(
            "rusak", f"predictions.npz tidak dapat dibaca ({type(error).__name__})."
        ) from None


def content(handin: package.Handin, key: str, name: str) -> bytes | None:
    """The content of runs/{key}/{name}."""
    return next(
        (
            found
            for path, found in handin.files.items()
            if f"/{path}".endswith(f"/runs/{key}/{name}")
        ),
        None,
    )


class Studies:
    """The studies that reports name, each opened once. They know the labels."""

    def __init__(self):
        self._open: dict[tuple, Study | str] = {}
        self._lock = threading.Lock()  # two hand-ins are graded at a time

    def get(self, provenance: dict, training: bool = True) -> Study:
        """Raises InputError where the data set is not here, or the settings are none. training:
        with the weights that the report names, which must then be here; labels alone need none.
        """
        data = provenance["data"]
        kind, size, preset = str(data["kind"]), int(data["size"]), str(provenance["preset"]["name"])
        kind = (
            kind if kind in ("phantom", "chestmnist") else str(data.get("collection") or "").lower()
        )
        # a report may name anything, also a path of ours
        if kind not in FLAGS and kind != "phantom":
            raise InputError("laporan itu memakai data yang tidak dikenal di sini")
        weights = str(provenance["weights"]["kind"])
        weights = weights if training and weights in WEIGHTS else "random"
        classes = ",".join(map(str, data["classes"]))
        known = (kind, weights, preset, size, classes)
        with self._lock:
            if known not in self._open:
                try:
                    self._open[known] = open_study(
                        kind, weights, preset, 0, "cpu", size, classes, "float32"
                    )
                except InputError as error:
                    self._open[known] = str(error)
        if isinstance(self._open[known], str):
            raise InputError(self._open[known])
        return self._open[known]


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
    kept = content(handin, key, "predictions.npz")
    if kept is None:
        claim.status, claim.why = "tanpa prediksi", f"runs/{key}/predictions.npz tidak dikumpulkan."
        return claim
    try:
        logits = arrays(kept)["test_best"].astype(np.float64)
        claim.prediction = hashlib.sha256(np.round(logits, 5).tobytes()).hexdigest()
        claim.seconds = float(read_json(content(handin, key, "info.json")).get("seconds", 0))
        dataset = studies.get(provenance, training=False).used
    except package.Refused as error:
        claim.status, claim.why = error.status, str(error)
    except InputError as error:
        claim.status, claim.why = "data tidak ada di sini", str(error)
    except (KeyError, TypeError, ValueError, AttributeError):
        claim.status, claim.why = "rusak", "Prediksi atau keterangan pelatihannya tidak lengkap."
    else:
        if dataset.fingerprint != fingerprint:
            claim.status, claim.why = (
                "data lain",
                "Sidik data dalam laporan bukan sidik data yang disebutkannya.",
            )
        elif logits.shape != dataset.test.labels.shape or not np.isfinite(logits).all():
            claim.status, claim.why = "rusak", "Banyaknya prediksi bukan banyaknya citra uji."
        else:
            values = evaluation.metric_values(logits, dataset.test.labels)
            claim.recomputed = {name: float(values[name]) for name in COMPARED}
            # NaN is off
            off = [
                name
                for name in COMPARED
                if not abs(claimed[name] - claim.recomputed[name]) <= CLOSE
            ]
            claim.rows, wrong = rows(handin, key, dataset.test.labels)
            off += wrong
            claim.status = "tidak cocok" if off else "cocok"
            claim.why = (
                f"Tidak sesuai dengan prediksinya: {', '.join(off)}."
                if off
                else UNCHECKED
                if claim.rows is None
                else ""
            )
    return claim


def rows(handin: package.Handin, key: str, labels: np.ndarray) -> tuple[int | None, list[str]]:
    """Rows of notebooks 04 and 05 whose trainings were handed in: how many, and which of them say
    something else. None where the settings of the baseline were not handed in, so that no training
    can be told to be a row's.

    A row's trainings are those that differ from the baseline `key` in what the row says it changed,
    on the same data and from the same weights; rows with other data, other weights or parts of
    one's own have none here and are not counted.
    """
    base = read_json(content(handin, key, "config.json"))
    if not isinstance(base.get("config"), dict):
        return None, []
    found = {
        path.split("/")[-2]: read_json(content)
        for path, content in handin.files.items()
        if path.endswith("/config.json")
    }
    alike = {
        k: one
        for k, one in found.items()
        if all(one.get(n) == base.get(n) for n in ("data", "weights"))
    }
    checked, off = 0, []
    for notebook in ("04_perbaikan", "05_percobaan"):
        said = (package.results(handin, notebook) or {}).get("variants")
        for row in said if isinstance(said, list) else []:
            try:
                wanted = [base["config"] | row["changed"] | {"seed": seed} for seed in row["seeds"]]
                keys = [
                    next((k for k, one in alike.items() if one["config"] == config), None)
                    for config in wanted
                ]
                if not keys or None in keys:
                    continue
                which = f"test_{'last' if row['epoch_judged'] == 'last' else 'best'}"
                logits = [
                    arrays(content(handin, one, "predictions.npz") or b"")[which].astype(np.float64)
                    for one in keys
                ]
                values = [evaluation.metric_values(one, labels) for one in logits]
                mean = {name: float(np.mean([one[name] for one in values])) for name in COMPARED}
                right = all(
                    abs(mean[name] - float(row["test"][name]["value"])) <= CLOSE
                    for name in COMPARED
                )
            except (KeyError, TypeError, ValueError, AttributeError, IndexError, package.Refused):
                right = False
            checked += 1
            name = row.get("name") if isinstance(row, dict) else None
            off += [] if right else [package.clean(f"baris {name}")[:60]]
    return checked, off


def read_json(written: bytes | None) -> dict:
    """{} for what is no JSON object."""
    try:
        found = json.loads(written or b"{}")
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def copies(claimed: dict[str, Claim]) -> dict[str, list[str]]:
    """{student: remarks} for test predictions that equal another's; equal seeds on like machines
    may give them.
    """
    found: dict[str, list[str]] = {}
    for one, a in claimed.items():
        alike: dict[str, list[str]] = {}
        for other, b in claimed.items():
            if one == other or not a.prediction or a.prediction != b.prediction:
                continue
            same = a.seed == b.seed
            usual = (
                "wajar pada mesin sejenis"
                if same and a.seed < settings.OWN_SEEDS
                else "padahal NIM-nya lain"
            )
            words = (
                f"seed-nya juga sama, {usual}"
                if same
                else f"padahal seed-nya lain ({a.seed} dan {b.seed})"
            )
            alike.setdefault(words, []).append(other)
        for words, others in alike.items():
            more = (
                f" dan {len(others) - package.LISTED} lainnya"
                if len(others) > package.LISTED
                else ""
            )
            names = ", ".join(others[: package.LISTED])
            found.setdefault(one, []).append(f"prediksi sama persis dengan {names}{more}: {words}")
    return found
