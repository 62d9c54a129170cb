"""Whether a report's numbers follow from the predictions handed in, and whose those are.

Labels are never taken from a student: the data set is opened here. What notebooks 02 to 05 say of
predictions is made from them once more, by the functions that the notebooks use.
"""

import io
import json
import threading
import zipfile
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
from scipy.stats import median_abs_deviation, rankdata

import cxr_helpers.claims
from cxr_helpers import evaluation, overfitting, remedies, training
from cxr_helpers.engine import indonesian, owncode, results, settings, sources
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Run, Task
from cxr_helpers.study import Study, open_study
from grading import package
from report.check import nims as in_one_form

LESSON, ANALYSIS = "02_pelatihan", "03_analisis_overfitting"
COMPARED = ("acc", "balanced_acc", "auc", "f1", "sensitivity", "specificity")
CLOSE = 1e-6
WEIGHTS = ("random", "imagenet", "gabor")
# bytes of what predictions.npz holds, as they come out, and of all of a hand-in
ARRAYS, EVERY_ARRAY = 32 * 2**20, 256 * 2**20
WIDE_LINE = 1000  # bytes of a line of history.csv: pandas takes its time for each column
MOST = 60  # rows of a table, seeds of a row
# what an odd file makes of code that expects a sound one
ODD = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
ODD += (SyntaxError, MemoryError)
NAMES = {"test": "epochs", "test_best": "best", "test_last": "last"}  # as of Run.open_test
# of a row: what does not follow from its runs; what hangs on every row of its table
TOLD = ("name", "title", "recommendation", "parts", "changed", "seconds")
BY_ALL = ("p_adjusted", "verdict", "by_holm")
# Rank correlation: of two seeds of the reference study at most 0.985; of a friend's predictions
# with noise of a tenth of their spread 0.99
ALIKE = 0.99
# AUCs that make a distribution; so many times their median distance from its middle is far
FEWEST, WIDE = 5, 8


@dataclass
class Claim:
    """claimed, recomputed: {metric: value}; ranks: of the test predictions; last: AUC of the last
    epoch; usual: that of the reference study's seeds; like: equal where `last` may be compared;
    rows, of_rows: checked and all; trained: {run: name of the row that rests on it}.
    """

    status: str = ""
    why: str = ""
    claimed: dict | None = None
    recomputed: dict | None = None
    ranks: list[int] = field(default_factory=list)
    last: float | None = None
    usual: list[float] = field(default_factory=list)
    like: str = ""
    seed: int | None = None
    key: str = ""
    rows: int = 0
    of_rows: int = 0
    trained: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class HandedIn(Run):
    """A run of a hand-in: it lies in no folder."""

    test: dict = field(default_factory=dict)

    def open_test(self) -> dict[str, np.ndarray]:
        return self.test


def arrays(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of an .npz, read within bounds, without pickle. Raises Refused "rusak"."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # which reads no more than it says
            if sum(member.file_size for member in archive.infolist()) > ARRAYS:
                raise ValueError("too large")
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            return dict(kept)
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for a damaged file
        why = f"predictions.npz tidak dapat dibaca ({type(error).__name__})."
        raise package.Refused("rusak", why) from None


def content(handin: package.Handin, key: str, name: str) -> bytes | None:
    """The content of runs/{key}/{name}."""
    ending = f"/runs/{key}/{name}"
    return next((raw for path, raw in handin.files.items() if f"/{path}".endswith(ending)), None)


def _fetch_nothing(remote: sources.Remote, path: Path, *_, **__) -> Path:
    """In the place of sources.fetch while a student's report names the data."""
    raise InputError(f"{path.name} tidak ada di sini, dan penilaian tidak mengunduh apa pun")


class Studies:
    """The studies that reports name, each opened once. They know the labels."""

    def __init__(self):
        self._open, self._lock = cache(open_study), threading.Lock()

    def get(self, provenance: dict, training: bool = True) -> Study:
        """The study with a report's settings, for a `training` its weights. Raises InputError."""
        data = provenance["data"]
        kind, size, preset = str(data["kind"]), int(data["size"]), str(provenance["preset"]["name"])
        if kind not in ("phantom", "chestmnist"):
            kind = str(data.get("collection") or "").lower()
        # a report may name anything, also a path of ours
        if kind not in sources.FLAGS and kind != "phantom":
            raise InputError("laporan itu memakai data yang tidak dikenal di sini")
        weights = str(provenance["weights"]["kind"])
        weights = weights if training and weights in WEIGHTS else "random"
        classes = ",".join(map(str, data["classes"]))
        with self._lock, patch.object(sources, "fetch", _fetch_nothing):
            return self._open(kind, weights, preset, 0, "cpu", size, classes, "float32")


def identity(handin: package.Handin, key: str) -> dict:
    """What decides a run's numbers; {} where what was handed in is not what its key stands for."""
    body = package.read_json(content(handin, key, "config.json"))
    return body if body and Task(body, (), "").key == key else {}


def config_of(body: dict) -> training.TrainConfig:
    """The settings in an identity. Raises InputError and any of ODD."""
    given = body["config"].items()
    return training.TrainConfig(**{k: tuple(v) if isinstance(v, list) else v for k, v in given})


def run_of(handin: package.Handin, key: str, study: Study) -> HandedIn:
    """A run as it was handed in. Raises InputError and any of ODD."""
    logits = arrays(content(handin, key, "predictions.npz") or b"")
    lines = content(handin, key, "history.csv") or b""
    if max(map(len, lines.splitlines()), default=0) > WIDE_LINE:
        raise package.Refused("rusak", "history.csv bukan riwayat sebuah pelatihan.")
    history = pd.read_csv(io.BytesIO(lines))
    for name, values in logits.items():
        n = len(getattr(study.used, name.split("_")[0]).labels)
        whole = name == "train" or np.isfinite(values).all()  # a sampler leaves images out
        if not whole or values.shape not in ((n,), (len(history), n)):
            raise package.Refused("rusak", "Banyaknya prediksi bukan banyaknya citra.")
    test = {NAMES.get(k, k): v for k, v in logits.items() if k.startswith(("test", "extra"))}
    info = package.read_json(content(handin, key, "info.json")) or {}
    config = config_of(identity(handin, key))
    return HandedIn(key, None, config, history, logits, info, test)


class Runs:
    """The runs of a hand-in on the study's images, by settings and seed."""

    def __init__(self, handin: package.Handin, study: Study, key: str):
        self.handin, self.study, self.key = handin, study, key
        self._read, self._size = {}, 0
        keys = {path.split("/")[-2] for path in handin.files if path.endswith("/config.json")}
        identities = {name: identity(handin, name) for name in sorted(keys)}
        here = {k: b for k, b in identities.items() if b.get("data") == study.used.fingerprint}
        if key not in here:
            raise package.Refused("rusak", "config.json pelatihan itu tidak ada atau diubah.")
        self._base, self._groups = here[key]["config"], {}
        for name, body in here.items():
            config = body["config"]
            alike = json.dumps(body | {"config": config | {"seed": 0}}, sort_keys=True)
            # as rows name them
            changed = self._unlike(config) | owncode.expressions(config["own"])
            self._groups.setdefault(alike, (changed, {}))[1][config["seed"]] = name

    def _unlike(self, config: dict) -> dict:
        """The settings that differ from the recipe's, but for the seed and own code."""
        names = [name for name in config if name in self._base and name not in ("seed", "own")]
        return {name: config[name] for name in names if config[name] != self._base[name]}

    def find(self, changed: dict, seeds: list) -> list[list[HandedIn]]:
        """The runs with these changes and seeds, for each start that they were all made from."""
        own = {name: changed[name] for name in training.PARTS if name in changed}
        asked, seeds = self._unlike(changed) | own, seeds[:MOST]
        if len({*seeds}) < len(seeds):  # a training counted twice is no second one
            return []
        alike = [keys for theirs, keys in self._groups.values() if theirs == asked]
        there = [keys for keys in alike if set(seeds) <= keys.keys()]
        return [[self.run(keys[seed]) for seed in seeds] for keys in there]

    def run(self, key: str) -> HandedIn:
        """A run, read once. Raises InputError and any of ODD."""
        if key not in self._read:
            self._read[key] = run_of(self.handin, key, self.study)
            self._size += sum(values.nbytes for values in self._read[key].logits.values())
            if self._size > EVERY_ARRAY:
                raise package.Refused("terlalu besar", "Terlalu banyak prediksi untuk dibaca.")
        return self._read[key]

    def row(self, said: dict, trained: dict[str, str]) -> remedies.Row | None:
        """A row, of several starts the nearest to its AUC; its runs join `trained`; else None."""
        found, rows = self.find(said["changed"], said["seeds"]), []
        which = "last" if said["epoch_judged"] == "last" else "best"
        for runs in found:
            made = [remedies.trained(run, which) for run in runs]
            rows.append(remedies.Row(remedies.Remedy("", None, "", {}, which), made, {}))
        if not rows:
            return None
        auc = [row.validation(self.study.used)["auc"] for row in rows]
        nearest = int(np.argmin(np.abs(np.subtract(auc, said["validation"]["auc"]))))
        trained |= {run.key: package.clean(said["name"])[:60] for run in found[nearest]}
        return rows[nearest]


def table(name: str, runs: Runs, claim: Claim) -> list[str]:
    """What is wrong with the rows of notebook 04 or 05; counts them in the claim."""
    body = package.results(runs.handin, name)
    if body is None:
        return [f"{name[:2]}: tidak ada atau tidak terbaca"]
    said = (body.get("variants") or [])[:MOST]
    rows = [runs.row(row, claim.trained) for row in said]
    if rows and body.get("partner") == "reference":
        rows[0] = remedies.reference_baseline(runs.study)
    kept = [place for place, row in enumerate(rows) if row and rows[0]]
    again = remedies.judge([rows[place] for place in kept], runs.study.used) if kept else []
    every = len(kept) == len(rows) and name.startswith("04")  # of 05, whatever was tried before
    without = TOLD if every else TOLD + BY_ALL
    faults = {place: "tanpa pelatihan" for place in range(len(rows)) if place not in kept}
    for place, row in zip(kept, results.plain(again), strict=True):
        if not package.same(row, said[place], CLOSE, CLOSE, without):
            faults[place] = "angkanya lain"
    claim.rows, claim.of_rows = claim.rows + len(kept), claim.of_rows + len(rows)
    tables = body.get("variants"), remedies.read_reference()["variants"]
    words = [] if body.get("shown", tables[0]) in tables else ["tabel acuan"]
    words += [f"{package.clean(said[n]['title'])[:60]} ({why})" for n, why in faults.items()]
    return [f"{name[:2]}: {fault}" for fault in words]


def lesson(runs: Runs) -> list[str]:
    """What is wrong with the numbers of notebooks 02 and 03."""
    bodies = {name: package.results(runs.handin, name) or {} for name in (LESSON, ANALYSIS)}
    starts = runs.find({}, bodies[LESSON]["provenance"]["seeds"])
    fits = [alike for alike in starts if runs.key in [run.key for run in alike]]
    if not fits:
        return ["02: ada seed tanpa pelatihan"]
    made = results.plain(made_again(fits[0], runs.study))
    return [
        f"{name[:2]}: {part}"
        for name, parts in made.items()
        for part, right in parts.items()
        if not package.same(right, bodies[name].get(part), CLOSE, CLOSE)
    ]


def made_again(fits: list[Run], study: Study) -> dict[str, dict]:
    """What notebooks 02 and 03 say that follows from the predictions of the recipe's runs."""
    run, data = fits[0], study.used
    opened, val, test = run.open_test(), data.val, data.test
    last = run.logits["val_last"]
    columns = ["epoch", "train_loss", "train_acc", "val_loss", "val_acc", "val_auc"]
    different = cxr_helpers.claims.differences(fits, study)
    return {
        LESSON: {
            "history": run.history[columns].to_dict("records"),
            "validation": evaluation.metrics(run.logits["val_best"], val.labels, val.patients),
            "test": evaluation.metrics(opened["best"], test.labels, test.patients),
            "test_last": evaluation.metrics(opened["last"], test.labels, test.patients),
            "leakage": {"test_acc": evaluation.right(opened["epochs"], test.labels).mean(axis=1)},
        },
        ANALYSIS: {
            "final_gap": overfitting.gap(fits, data),
            "turn": overfitting.turn(fits, data),
            "selection": overfitting.selection(fits, data),
            "memorisation": overfitting.memorisation(fits, data.train),
            "confidence": evaluation.calibration(last, val.labels, val.patients),
            "confident_errors": overfitting.confident_errors(last, val),
            "temperature": overfitting.temperature(last, val, opened["last"], test),
            "claims": {"numbers": cxr_helpers.claims.numbers(fits, data, different)},
        },
    }


def usual(study: Study, row: str = "baseline") -> list[float]:
    """Test AUCs of the reference study's seeds of a row, [] where it has none on these images."""
    if remedies.reference_baseline(study) is None:
        return []
    paths = [p for p in remedies.TRAININGS.glob("*.npz") if p.stem.rpartition("-s")[0] == row]
    trained = filter(None, map(remedies.load_training, sorted(paths)))
    labels = study.used.test.labels
    return [float(evaluation.area_under_curve(run.logits["test"], labels)) for run in trained]


def check(handin: package.Handin, studies: Studies) -> Claim:
    """Hold the results files against runs/<key>/predictions.npz and our own labels."""
    claim = Claim()
    try:
        _check(claim, handin, studies)
    except package.Refused as error:
        claim.status, claim.why = error.status, str(error)
    except (InputError, *ODD):
        claim.status, claim.why = "rusak", "Hasil atau keterangan pelatihannya tidak lengkap."
    return claim


def _check(claim: Claim, handin: package.Handin, studies: Studies) -> None:
    """Fill a claim. Raises InputError and any of ODD."""
    body = package.results(handin, LESSON)
    if body is None:
        raise package.Refused("tanpa hasil", "02_pelatihan.json tidak ada atau tidak dapat dibaca.")
    claim.key = str(body["run"]["key"])[:40]
    claimed = {name: float(body["test"][name]["value"]) for name in COMPARED}
    if not all(0 <= value <= 1 for value in claimed.values()):
        raise ValueError
    claim.claimed = claimed
    if content(handin, claim.key, "predictions.npz") is None:
        why = f"runs/{claim.key}/predictions.npz tidak dikumpulkan."
        raise package.Refused("tanpa prediksi", why)
    study = _study(studies, body["provenance"])
    runs = Runs(handin, study, claim.key)
    run = runs.run(claim.key)
    claim.seed = int(run.config.seed) % 2**64  # what PyTorch takes, whatever is written there
    labels, best = study.used.test.labels, run.test["best"]
    measured = evaluation.influence(best, labels)
    claim.recomputed = {name: float(measured[name][0]) for name in COMPARED}
    claim.ranks = rankdata(best, "ordinal").tolist()
    claim.last = float(evaluation.area_under_curve(run.test["last"], labels))
    claim.like = f"{study.used.fingerprint} {study.weights.kind} {study.preset.name}"
    claim.usual, claim.trained = usual(study), {claim.key: "baseline"}
    unlike = unlike_recipe(run.config, study, package.manifest(handin).get("nims"))
    faults = [*lesson(runs), *table("04_perbaikan", runs, claim)]
    faults += table("05_percobaan", runs, claim)
    claim.status = "tidak cocok" if faults else "cocok"
    claim.status = "bukan resep" if unlike else claim.status
    said = {"Notebook 02 bukan resep: ": unlike, "Tidak sesuai dengan prediksinya: ": faults}
    claim.why = " ".join(f"{words}{', '.join(names)}." for words, names in said.items() if names)


def _study(studies: Studies, provenance: dict) -> Study:
    """The study that a report names, with the start and precision that it names. Raises Refused."""
    try:
        study = studies.get(provenance, training=False)
    except InputError as error:
        raise package.Refused("data tidak ada di sini", str(error)) from None
    if study.used.fingerprint != provenance["data"]["fingerprint"]:
        why = "Sidik data dalam laporan bukan sidik data yang disebutkannya."
        raise package.Refused("data lain", why)
    weights = replace(study.weights, kind=str(provenance["weights"]["kind"]))
    return replace(study, weights=weights, precision=str(provenance["precision"]))


def unlike_recipe(config: training.TrainConfig, study: Study, nims) -> list[str]:
    """The settings of notebook 02's run that are not the recipe's, with the seed of the NIM."""
    recipe = asdict(study.config(seed=config.seed, precision=config.precision))
    unlike = [name for name, value in asdict(config).items() if value != recipe[name]]
    said = ",".join(in_one_form(",".join(map(str, nims or []))))
    seed = settings.seed_of(said) if said else "tidak disebut"
    if config.seed != seed:
        unlike.append(f"seed {config.seed % 2**64}, dari NIM {seed}")
    return unlike


def remarks(claimed: dict[str, Claim]) -> dict[str, list[str]]:
    """{student: remarks} on predictions in another's order and an AUC that no seed gives."""
    said: dict[str, list[str]] = defaultdict(list)
    for student, ours in claimed.items():
        n, others = len(ours.ranks), {*claimed} - {student}
        there = [who for who in sorted(others) if len(claimed[who].ranks) == n > 2]
        order = {who: np.corrcoef(ours.ranks, claimed[who].ranks)[0, 1] for who in there}
        alike = [who for who, correlation in order.items() if correlation >= ALIKE]
        if alike:
            seeds = package.listed(sorted({str(claimed[who].seed) for who in alike}))
            words = f"urutan prediksinya sama dengan {package.listed(alike)}"
            said[student].append(f"{words} (seed {ours.seed}, di sana {seeds})")
        if outside(ours.last, distribution(student, claimed)):
            auc = indonesian.number(ours.last)
            said[student].append(f"AUC uji {auc} di luar sebaran seed resep yang sama")
    return dict(said)


def distribution(student: str, claimed: dict[str, Claim]) -> list[float]:
    """Test AUCs of the recipe on the same images, of the reference study, else of other reports."""
    ours = claimed[student]
    others = [claim for who, claim in claimed.items() if who != student and ours.like]
    return ours.usual or [claim.last for claim in others if claim.like == ours.like]


def outside(auc: float, others: list[float]) -> bool:
    """Whether an AUC lies far from the median of others, some of which may be false themselves."""
    if len(others) < FEWEST:
        return False
    far = WIDE * max(median_abs_deviation(others), CLOSE)
    return bool(abs(auc - np.median(others)) > far)
