"""Compute the reference study: `make reference`, resumable; `make reference CHECK=3` trains three
of its trainings again. What it says beside a reader's rows in notebook 04: `beside`.

What is planned, in this order, first seed first: the course's recipe (ten seeds), every remedy
(five), the learning curve and the other starting weights (three), the folds of a cross-validation,
and the combination that the validation of all these chooses (five). Each training that has ended
lies as one file in notebooks/reference/trainings/; results.json is made of these files and never
edited by hand. It needs no network: the data are the phantom, the weights random. Ctrl-C keeps what
is done.
"""

import hashlib
import io
import json
import os
import platform
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.stats import t

import phantom
from cxr_helpers import data as datasets
from cxr_helpers import evaluation, overfitting, remedies, training
from cxr_helpers.data import FOLDS, Dataset, Split
from cxr_helpers.engine import files, indonesian, results, runtime, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.runtime import bar
from cxr_helpers.model import Weights, resolve_weights
from cxr_helpers.remedies import BASELINE, REMEDIES, Remedy, Row, Trained
from cxr_helpers.study import Study, open_study
from cxr_helpers.training import TrainConfig
from report import environment, status

EXTRA = 6000  # further test images
BASELINE_SEEDS, SEEDS, FEW_SEEDS = 10, 5, 3
STARTS = ("gabor",)  # beside the random start of the baseline
CHANCE = (3, 5, 10)  # seeds for which the report says what difference would be seen


@dataclass(frozen=True)
class Planned:
    """One training of the study: the row that it belongs to, and what it needs."""

    remedy: Remedy
    config: TrainConfig
    data: Dataset
    weights: Weights

    @property
    def path(self) -> Path:
        return remedies.TRAININGS / f"{self.remedy.name}-s{self.config.seed}.npz"

    @property
    def family(self) -> str:
        """The folds are alike, and the seeds of a row."""
        return "fold" if self.remedy.name.startswith("fold") else self.remedy.name


# --- what is planned ------------------------------------------------------------------------------


def with_extra(data: Dataset) -> Dataset:
    """The phantom with EXTRA more test images."""
    images, labels, truth = phantom.more_test_images(EXTRA)
    patients = truth["patient"].astype(np.int64)
    extra = Split(images, labels, np.arange(EXTRA), truth, patients)
    return replace(data, extra=extra)


def plan(study: Study, data: Dataset) -> list[Planned]:
    """Every training but those of the combination."""
    planned = []
    for seed in range(BASELINE_SEEDS):
        remedies_of_seed = [BASELINE, *REMEDIES] if seed < SEEDS else [BASELINE]
        planned += [_planned(study, remedy, seed, data) for remedy in remedies_of_seed]
        planned += _few(study, seed, data) if seed < FEW_SEEDS else []
    for number, fold in enumerate(datasets.folds(data, 0), start=1):
        remedy = Remedy(f"fold{number}", None, f"Lipatan {number}")
        planned.append(_planned(study, remedy, 0, fold))
    return planned


def _planned(
    study: Study, remedy: Remedy, seed: int, data: Dataset, weights: Weights | None = None
) -> Planned:
    config = study.config(seed=seed, **remedy.changes)
    return Planned(remedy, config, data, weights or study.weights)


def _few(study: Study, seed: int, data: Dataset) -> Iterator[Planned]:
    """What is done with few seeds: the learning curve and the starting weights."""
    for part in overfitting.PARTS:
        n = round(part * len(data.train))
        smaller = replace(data, train=datasets.subset(data.train, n, 0))
        yield _planned(study, Remedy(f"part{n}", None, f"{n} citra"), seed, smaller)
    for kind in STARTS:
        start = resolve_weights(kind)
        yield _planned(study, Remedy(f"start_{kind}", None, start.title), seed, data, start)


# --- its files ------------------------------------------------------------------------------------


def _digest(one: Trained) -> str:
    """SHA-256 of the logits as they were computed, in float32."""
    logits = [one.logits[name] for name in ("train", "val", "test", "extra")]
    return hashlib.sha256(np.concatenate(logits).astype(np.float32).tobytes()).hexdigest()


def keep(planned: Planned, run: Run) -> None:
    """Write the file of one finished training."""
    one, identity = remedies.trained(run, planned.remedy.which), _identity(planned)
    identity.pop("config")
    about = {
        "remedy": asdict(planned.remedy),
        "config": asdict(run.config),
        "changed": run.config.changed(),
        "identity": identity,
        "n_train": len(planned.data.train),
        "patients": planned.data.train.n_patients,
        "digest": _digest(one),
        **{name: one.info[name] for name in ("seconds", "parameters", "trained_parameters")},
        "history": one.history,
        "machine": runtime.processor(),
        "python": platform.python_version(),
        "ended": results.now(),
    }
    arrays = {name: one.logits[name].astype(np.float32) for name in remedies.EXACT}
    arrays |= {name: one.logits[name].astype(np.float16) for name in ("train", "extra")}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    planned.path.parent.mkdir(parents=True, exist_ok=True)
    files.write(planned.path, stream.getvalue())


def _identity(planned: Planned) -> dict:
    return training.identity(planned.config, planned.data, planned.weights, "cpu")


def is_kept(planned: Planned) -> bool:
    """Whether the file of this very training is there: same settings, images and start."""
    kept = remedies.load_training(planned.path)
    if kept is None:
        return False
    wanted, identity = _identity(planned), kept[0]["identity"]
    # a setting that has come to TrainConfig since had its default
    config = asdict(TrainConfig()) | kept[0]["config"]
    same = json.loads(json.dumps(wanted["config"])) == json.loads(json.dumps(config))
    return same and all(identity[name] == wanted[name] for name in ("data", "weights"))


def rows(planned: list[Planned], names: list[str]) -> list[Row]:
    """The rows of these names, in this order, as far as their files are there."""
    made = []
    for name in names:
        kept = [one for one in planned if one.remedy.name == name and is_kept(one)]
        trainings = [remedies.load_training(one.path)[1] for one in kept]
        if trainings:
            made.append(Row(kept[0].remedy, trainings, trainings[0].info["changed"]))
    return made


# --- what it says ---------------------------------------------------------------------------------


def _names() -> list[str]:
    """Of the judged rows but the combination."""
    return [BASELINE.name, *(remedy.name for remedy in REMEDIES)]


def combination(planned: list[Planned], study: Study, data: Dataset) -> list[Planned] | None:
    """The trainings of the combination that validation chooses, none where it points at fewer than
    two remedies. None as long as a row lacks a seed: every quick report trains the combination.
    """
    names = _names()
    if not all(is_kept(one) for one in planned if one.remedy.name in names):
        return None
    validation = {row.remedy.name: row.validation(data) for row in rows(planned, names)}
    chosen = remedies.combine(validation)
    return [_planned(study, chosen, seed, data) for seed in range(SEEDS)] if chosen else []


def summarise(planned: list[Planned], study: Study, data: Dataset) -> dict:
    """Write results.json from the files that are there, and give it back."""
    combined = combination(planned, study, data)
    everything = [*planned, *(combined or [])]
    judged = rows(everything, [*_names(), "combination"])
    if not judged:
        return {}
    body = {
        "schema": results.SCHEMA,
        "variants": [
            one | {"each": _each_seed(row, data)}
            for one, row in zip(remedies.judge(judged, data), judged, strict=True)
        ],
        "combination": asdict(combined[0].remedy) if combined else None,
        "ensemble": remedies.ensemble(judged[0], data),
        "detectable": _detectable(judged[0], data),
        "cross_validation": _folds(planned),
        "learning_curve": _learning_curve(planned, study),
        "precisions": _precisions(),
        "provenance": _provenance(study, data, everything, SEEDS if combined is None else 0),
    }
    text = json.dumps(results.plain(body), ensure_ascii=False, indent=1) + "\n"
    files.write(remedies.REFERENCE / "results.json", text.encode())
    return body


def _each_seed(row: Row, data: Dataset) -> dict[str, list[float]]:
    """AUC and gap of each seed on the test split alone: what a single training shows."""
    auc = evaluation.area_under_curve(np.stack(row.logits("test")), data.test.labels)
    return {"auc": auc.tolist(), "gap": row.gap(replace(data, extra=None)).values.tolist()}


def _detectable(row: Row, data: Dataset) -> list[dict] | None:
    """How large a true difference in AUC must be to be seen in four of five studies like this one,
    before Holm's correction, on the test split alone and on all test images; None for few seeds.
    """
    if len(row.trained) < evaluation.LEAST_SEEDS:
        return None
    detectable = []
    for part in (replace(data, extra=None), data):
        labels, patients = remedies.test_images(part)
        recipe = evaluation.measured(row.test(part), labels, patients)["auc"]
        images = {"images": len(labels), "patients": evaluation.n_patients(patients)}
        differences = {seeds: evaluation.detectable(recipe, seeds) for seeds in CHANCE}
        detectable += [{"seeds": n, **images, "difference": d} for n, d in differences.items()]
    return detectable


def _learning_curve(planned: list[Planned], study: Study) -> list[dict] | None:
    """overfitting.learning_curve over the seeds that every size has; None where there is none."""
    sizes = [round(part * len(study.used.train)) for part in overfitting.PARTS]
    names = [*(f"part{n}" for n in sizes), BASELINE.name]
    data, points = {one.remedy.name: one.data for one in planned}, rows(planned, names)
    if len(points) < len(names):
        return None
    seeds = set.intersection(*({one.seed for one in row.trained} for row in points))
    whole = []
    for row in points:
        runs = [one for one in row.trained if one.seed in seeds]
        for one in runs:
            one.logits["train_last"] = one.logits["train"]  # these rows are judged by their end
        whole.append((data[row.remedy.name], runs))
    return overfitting.curve(whole) if seeds else None


def _precisions() -> list[dict]:
    """How far training in bfloat16 was from float32: measured once, and carried over."""
    try:
        return remedies.read_reference(remedies.REFERENCE)["precisions"]
    except (InputError, KeyError):
        return []


def _folds(planned: list[Planned]) -> dict | None:
    """What the folds say, once all of them are there."""
    kept = [one for one in planned if one.family == "fold" and is_kept(one)]
    if len(kept) < FOLDS:
        return None
    trainings = [remedies.load_training(one.path)[1] for one in kept]
    return summarise_folds([one.data for one in kept], trainings)


def summarise_folds(parts: list[Dataset], trainings: list[Trained]) -> dict:
    """Validation accuracy and AUC over the folds, and the test AUC of single folds and of the mean
    of their logits ("ensemble").
    """
    test, images = Row(BASELINE, trainings, {}).test(parts[0]), remedies.test_images(parts[0])
    folds = zip(trainings, parts, strict=True)
    val = [(run.logits["val_last"], part.val.labels) for run, part in folds]
    acc = [evaluation.right([logits], labels).mean() for logits, labels in val]
    auc = [evaluation.area_under_curve(logits, labels) for logits, labels in val]
    spread = pd.DataFrame({"val_acc": acc, "val_auc": auc}).agg(["min", "max", "std"])
    return spread.to_dict() | {
        "n": len(parts),
        "single": {"auc": evaluation.metrics(test, *images)["auc"]},
        "ensemble": {"auc": evaluation.metrics(np.mean(test, axis=0), *images)["auc"]},
    }


def _provenance(study: Study, data: Dataset, planned: list[Planned], more: int) -> dict:
    """What the study was made with: of what differs between trainings, every value; more: trainings
    not named yet.
    """
    used, origin = study.used.fingerprint, study.provenance()
    extra = {"fingerprint": data.fingerprint, "extra": EXTRA, "without_extra": used}
    about = [kept[0] for one in planned if (kept := remedies.load_training(one.path))]
    identities = [one["identity"] for one in about]
    return {
        "data": origin["data"] | extra,
        "weights": origin["weights"],
        "precision": study.precision,
        "torch": sorted({str(identity["torch"]) for identity in identities}),
        "threads": sorted({str(identity["threads"]) for identity in identities}),
        "code": sorted({str(identity["code"]) for identity in identities}),
        "machines": sorted({one["machine"] for one in about}),
        "first": min(one["ended"] for one in about),
        "last": max(one["ended"] for one in about),
        "seconds": sum(one["seconds"] for one in about),
        "trainings": len(about),
        "planned": len(planned) + more,
    }


# --- beside a reader's rows ----------------------------------------------------------------------

# the verdicts that an interval on this side of zero suggests
LOOKS = {
    "above": (evaluation.BETTER,),
    "below": (evaluation.WORSE, evaluation.MAJORITY),
    "across": (evaluation.EQUAL, evaluation.UNDECIDED, evaluation.MAJORITY),
}


def among_seeds(value: float, seeds: Sequence[float], trainings: int = 1) -> dict:
    """The 95% prediction "interval" of the mean of so many further trainings from single seeds
    (Hahn & Meeker 1991), and whether a value lies "below", "within" or "above" it ("place"); None
    of fewer than three seeds.
    """
    k = len(seeds)
    if k < evaluation.LEAST_SEEDS:
        return {"interval": None, "place": None}
    error = np.std(seeds, ddof=1) * np.sqrt(1 / trainings + 1 / k)
    half = t.ppf((1 + evaluation.LEVEL) / 2, k - 1) * error
    low, high = np.mean(seeds) - half, np.mean(seeds) + half
    place = "within"
    if not low <= value <= high:
        place = "below" if value < low else "above"
    return {"interval": [float(low), float(high)], "place": place}


def place(rows: list[dict], reference: dict) -> list[dict]:
    """A reader's rows (of `judge`) beside the seeds of the same rows of the reference study.

    auc, gap: as of `among_seeds`. shown: on which side of zero the reader's own interval in AUC
    lies; misleads: whether it says something else than the verdict, which knows several seeds.
    """
    variants, repeated = {row["name"]: row for row in reference["variants"]}, []
    for i, row in enumerate(rows):
        theirs = variants.get(row["name"])
        if theirs is None or theirs["parts"] != row["parts"]:  # another combination
            continue
        shown = evaluation.side(row["predicts"]["ci95"]) if row["predicts"] else None
        misleads = shown is not None and theirs["verdict"] not in LOOKS[shown]
        place = {"row": i, "shown": shown, "verdict": theirs["verdict"], "misleads": misleads}
        for name, own in (("auc", row["test"]["auc"]), ("gap", row["gap"])):
            place[name] = among_seeds(own["value"], theirs["each"][name], len(row["seeds"]))
        repeated.append(place | {"seeds": len(theirs["seeds"])})
    return repeated


def cross_validation(study: Study, n_jobs: int, cluster: str) -> dict:
    """What folds say of the spread (`summarise_folds`), one training a fold."""
    parts = datasets.folds(study.used, study.seed)
    given = [(study.config(), part, study.weights, study.device) for part in parts]
    with bar(len(given), "Validasi silang", unit="pelatihan") as progress:
        fits = training.run_all(given, n_jobs, cluster, progress.update)
    return summarise_folds(parts, [remedies.trained(run) for run in fits])


def beside(
    study: Study, rows: list[dict], n_jobs: int | str = 1, cluster: str = "", repeat: str = "auto"
) -> dict:
    """What notebook 04 says beside the rows of `remedies.measure`: whose rows the table shows, with
    what belongs to them, and the reader's beside the reference's seeds (`place`).

    The reader's own are shown where they trained every remedy, and on the phantom, which the
    reference is about, with seeds enough for a verdict; their own folds in any case.
    """
    reference, phantom = remedies.read_reference(), study.used.source.kind == "phantom"
    shown = {name: reference[name] for name in ("ensemble", "detectable", "cross_validation")}
    every = remedies.trains_every_row(study, repeat)
    fewest = min(len(row["seeds"]) for row in rows)
    own = every and (not phantom or fewest >= evaluation.LEAST_SEEDS)
    if every:
        shown["cross_validation"] = cross_validation(study, *settings.parse_jobs(n_jobs, cluster))
    if own:
        ensemble = remedies.ensemble(remedies.baseline(study), study.used)
        shown |= {"ensemble": ensemble, "detectable": None}
    variants = rows if own else reference["variants"]
    return shown | {
        "shown": variants,
        "source": "own" if own else "reference",
        "folds_source": "own" if every else "reference",
        "summary": remedies.summarise(variants),
        "margin": evaluation.MARGIN,
        "reference": reference["provenance"],
        "background": remedies.summarise(reference["variants"]) if own and not phantom else None,
        "precisions": reference["precisions"],
        "repeated": place(rows, reference) if phantom else [],
    }


# --- computing it ---------------------------------------------------------------------------------


def train(planned: list[Planned], study: Study, n_jobs: int, cluster: str) -> None:
    """Train what has no file yet, n_jobs at a time (on a cluster all at once); each file is written
    when its group has ended.
    """
    missing = [one for one in planned if not is_kept(one)]
    done = len(planned) - len(missing)
    with bar(len(planned), "Studi acuan", initial=done, unit="pelatihan") as progress:
        while missing:
            group = missing if cluster else missing[:n_jobs]
            given = [(one.config, one.data, one.weights, study.device) for one in group]
            for one, run in zip(group, training.run_all(given, n_jobs, cluster), strict=True):
                keep(one, run)
                progress.update(1)
            missing = [one for one in missing if one not in group]


def check(planned: list[Planned], study: Study, n: int) -> bool:
    """Train n kept trainings, drawn at random, again; say of each whether it agrees.

    Bit for bit on the same kind of machine; else its AUC must lie where another seed's would
    (`among_seeds`), for a fold among all folds. A processor's name does not tell its kind, which
    virtual machines hide: other bits on a processor of that name are said, and judged so too.
    """
    kept = [one for one in planned if is_kept(one)]
    drawn = random.sample(kept, min(n, len(kept)))
    # a list: each is trained and said, also after one that disagrees
    return all([_agrees(one, kept, study) for one in drawn])


def _agrees(planned: Planned, kept: list[Planned], study: Study) -> bool:
    about, before = remedies.load_training(planned.path)
    again = _anew(planned, study, int(about["identity"]["threads"] or 1))
    logits = [again.logits["test"], before.logits["test"]]
    alike = [one.path for one in kept if one.family == planned.family]
    logits += [remedies.load_training(path)[1].logits["test"] for path in alike]
    labels = planned.data.test.labels
    auc, auc_kept, *seeds = evaluation.area_under_curve(np.stack(logits), labels).tolist()
    same = _digest(again) == about["digest"]
    near = among_seeds(auc, seeds)["place"] == "within"
    spread = "dalam sebaran seed" if near else "TIDAK COCOK"
    verdict = "sama bit demi bit" if same else spread
    if not same and about["machine"] == runtime.processor():
        verdict += ", bitnya lain walaupun nama prosesornya sama"
    shown, stored = indonesian.number(auc, 4), indonesian.number(auc_kept, 4)
    print(f"{planned.path.stem}: {verdict}; AUC uji {shown}, tersimpan {stored}.", flush=True)
    return same or near


def _anew(planned: Planned, study: Study, threads: int) -> Trained:
    """A training made again, not read from the run store, with this number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as empty, environment({files.RUNS: empty}):
            run = training.run(
                planned.config, planned.data, planned.weights, study.device, keep_weights=False
            )
            return remedies.trained(run, planned.remedy.which)
    finally:
        torch.set_num_threads(before)


def main() -> int:
    get = os.environ.get
    n_jobs, cluster = settings.parse_jobs(get("N_JOBS") or 1, get("CLUSTER") or "")
    again = get("CHECK", "").strip()
    if again and not (again.isascii() and again.isdigit() and int(again) > 0):
        raise InputError(
            f"CHECK={again} tidak dapat dipakai: "
            "berikan banyaknya pelatihan yang diulang, mulai dari 1."
        )
    device, fixed = get("DEVICE") or "auto", {"preset": "full", "precision": "float32"}
    study = open_study(data="phantom", weights="random", device=device, **fixed)
    data = with_extra(study.used)
    planned = plan(study, data)
    if again:
        return 0 if check(planned, study, int(again)) else 1
    done = sum(is_kept(one) for one in planned)
    print(f"Studi acuan: {done} dari {len(planned)} pelatihan tunggal sudah ada.", flush=True)
    try:
        train(planned, study, n_jobs, cluster)
        train(combination(planned, study, data) or [], study, n_jobs, cluster)
    finally:
        summarise(planned, study, data)
    print(f"Studi acuan lengkap: {remedies.REFERENCE / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(status(main, "Dihentikan. Jalankan `make reference` lagi untuk melanjutkan."))
