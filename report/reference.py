"""Compute the reference study: `make reference`, resumable; `make reference CHECK=3` trains three
of its trainings again. What it says beside a reader's rows in notebook 04: `beside`.

What is planned, in this order, first seed first: the course's recipe (ten seeds), every remedy
(five), the learning curve (three), the folds of a cross-validation, and the combination that the
validation of all these chooses (five); with OWN_SETS=1 then `own_sets` (fifteen). Each training
that has ended lies as one file in notebooks/reference/trainings/; results.json is made of these
files and never edited by hand. It needs no network: the data are the phantom, the weights random.
Ctrl-C keeps what is done.
"""

import hashlib
import io
import json
import os
import platform
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

import phantom
from cxr_helpers import data as datasets
from cxr_helpers import evaluation, overfitting, remedies, training
from cxr_helpers.data import FOLDS, Dataset, Split
from cxr_helpers.engine import files, indonesian, results, settings
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.runtime import bar
from cxr_helpers.evaluation import Measured, area_under_curve
from cxr_helpers.model import Weights
from cxr_helpers.remedies import BASELINE, REMEDIES, Remedy, Row, Trained
from cxr_helpers.study import Study, open_study
from cxr_helpers.training import TrainConfig
from report import status

EXTRA = 6000  # further test images
BASELINE_SEEDS, SEEDS, FEW_SEEDS = 10, 5, 3
MOST_SEEDS = 100  # that a plan still names
SIZES = (0.02, 0.01)  # differences in AUC for which the report says how many seeds are needed
OWN_SETS = "own_sets_"  # before the name of a row whose seeds each draw their own training images


@dataclass(frozen=True)
class Job:
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


def plan(study: Study, data: Dataset) -> list[Job]:
    """Every training but those of the combination."""
    jobs = []
    for seed in range(BASELINE_SEEDS):
        remedies_of_seed = [BASELINE, *REMEDIES] if seed < SEEDS else [BASELINE]
        jobs += [_job(study, remedy, seed, data) for remedy in remedies_of_seed]
    for part in overfitting.PARTS:
        n = round(part * len(data.train))
        size = Remedy(f"part{n}", None, f"{n} citra")
        smaller = replace(data, train=datasets.subset(data.train, n, 0))
        jobs += [_job(study, size, seed, smaller) for seed in range(FEW_SEEDS)]
    for number, fold in enumerate(datasets.folds(data, 0), start=1):
        jobs.append(_job(study, Remedy(f"fold{number}", None, f"Lipatan {number}"), 0, fold))
    return jobs


def _job(study: Study, remedy: Remedy, seed: int, data: Dataset) -> Job:
    return Job(remedy, study.config(seed=seed, **remedy.changes), data, study.weights)


def own_sets(study: Study, data: Dataset, chosen: list[Remedy]) -> list[Job]:
    """Remedies whose seeds each train on images of their own: a phantom of other patients."""
    jobs = []
    for seed in range(1, SEEDS + 1):  # that of seed 0 is everybody's
        path, truth = phantom.ensure(files.data_folder(), seed)
        drawn = datasets.load(replace(data.source, path=path, truth=truth)).train
        other = replace(data, train=datasets.subset(drawn, len(data.train), seed))
        named = [replace(remedy, name=OWN_SETS + remedy.name) for remedy in chosen]
        jobs += [_job(study, remedy, seed, other) for remedy in named]
    return jobs


# --- its files ------------------------------------------------------------------------------------


def _digest(trained: Trained) -> str:
    """SHA-256 of the logits as they were computed, in float32."""
    logits = [trained.logits[name] for name in ("train", "val", "test", "extra")]
    return hashlib.sha256(np.concatenate(logits).astype(np.float32).tobytes()).hexdigest()


def keep(job: Job, run: Run) -> None:
    """Write the file of one finished training."""
    trained, identity = remedies.trained(run, job.remedy.which), _identity(job)
    identity.pop("config")
    about = {
        "remedy": asdict(job.remedy),
        "config": asdict(run.config),
        "changed": run.config.changed(),
        "identity": identity,
        "digest": _digest(trained),
        **{name: trained.info[name] for name in ("seconds", "parameters", "trained_parameters")},
        "history": trained.history,
        "machine": _processor(),
        "ended": results.now(),
    }
    arrays = {name: trained.logits[name].astype(np.float32) for name in remedies.EXACT}
    arrays |= {name: trained.logits[name].astype(np.float16) for name in ("train", "extra")}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    job.path.parent.mkdir(parents=True, exist_ok=True)
    files.write(job.path, stream.getvalue())


def _processor() -> str:
    """The processor's name as the system gives it, with the number of cores that may be used."""
    try:
        models = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        models = []
    return f"{models[0] if models else platform.processor()}, {settings.cores()} core"


def _identity(job: Job) -> dict:
    return training.task(job.config, job.data, job.weights, "cpu").identity


def kept(job: Job) -> Trained | None:
    """What the file of this very training holds: same settings, images and start; else None."""
    trained, wanted = remedies.load_training(job.path), _identity(job)
    if trained is None:
        return None
    # a setting that has come to TrainConfig since had its default
    config, identity = asdict(TrainConfig()) | trained.info["config"], trained.info["identity"]
    same = json.loads(json.dumps(wanted["config"])) == json.loads(json.dumps(config))
    same = same and all(identity[name] == wanted[name] for name in ("data", "weights"))
    return trained if same else None


def is_kept(job: Job) -> bool:
    return kept(job) is not None


def rows(jobs: list[Job]) -> dict[str, Row]:
    """{name: row}, as far as the files of these trainings are there."""
    made = {}
    for job in jobs:
        trained, name = kept(job), job.remedy.name
        if trained:
            made.setdefault(name, Row(job.remedy, [], trained.info["changed"]))
            made[name].trained.append(trained)
    return made


# --- what it says ---------------------------------------------------------------------------------


def combination(stored: dict[str, Row], study: Study, data: Dataset) -> list[Job] | None:
    """The trainings of the combination that validation chooses, none where it points at fewer than
    two remedies. None as long as a row lacks a seed: every quick report trains the combination.
    """
    planned = {BASELINE.name: BASELINE_SEEDS} | {remedy.name: SEEDS for remedy in REMEDIES}
    if any(name not in stored or len(stored[name].trained) < n for name, n in planned.items()):
        return None
    chosen = remedies.combine({name: stored[name].validation(data) for name in planned})
    return [_job(study, chosen, seed, data) for seed in range(SEEDS)] if chosen else []


def summarise(jobs: list[Job], study: Study, data: Dataset) -> None:
    """Write results.json from the files that are there."""
    stored, file = rows(jobs), remedies.REFERENCE / "results.json"
    combined = combination(stored, study, data)
    stored |= rows(combined or [])
    names = [BASELINE.name, *(remedy.name for remedy in REMEDIES), "combination"]
    judged = [stored[name] for name in names if name in stored]
    if not judged:
        return
    variants = remedies.judge(judged, data)
    for variant, row in zip(variants, judged, strict=True):  # what a single training shows
        auc = area_under_curve(np.stack(row.logits("test")), data.test.labels)
        variant["each"] = {"auc": auc, "gap": row.gap(replace(data, extra=None)).values}
    before = remedies.read_reference(remedies.REFERENCE) if file.exists() else {}
    planned = len(jobs) + (SEEDS if combined is None else len(combined))
    body = {
        "schema": results.SCHEMA,
        "variants": variants,
        "combination": asdict(combined[0].remedy) if combined else None,
        "ensemble": remedies.ensemble(judged[0], data),
        "detectable": _detectable(judged, data),
        "training_sets": _training_sets(variants, data),
        "cross_validation": _folds(jobs, stored),
        "learning_curve": _learning_curve(jobs, stored),
        # how far training in bfloat16 was from float32: measured once, and carried over
        "precisions": before.get("precisions", []),
        "provenance": _provenance(study, data, stored) | {"planned": planned},
    }
    text = json.dumps(results.plain(body), ensure_ascii=False, indent=1) + "\n"
    files.write(file, text.encode())


def between(ours: Measured, theirs: Measured) -> float:
    """Variance between images of what sets two recipes apart, without what each training makes of
    the images, which more seeds average out.
    """
    (a, patients), (b, _) = ours.parts[0], theirs.parts[0]
    apart = evaluation.image_variance(a.mean(axis=0) - b.mean(axis=0), patients)
    pair = (ours, theirs)
    held = sum(np.var(r.values, ddof=1) / len(r.values) - r.seed_variance() for r in pair)
    return max(0.0, apart - held)


def seeds_needed(recipe: Measured, shows: str, size: float, **how: float) -> int | None:
    """The fewest seeds of either whose `plan` shows "seen" or "equal" at `size`; None: too many."""
    numbers = range(evaluation.LEAST_SEEDS, MOST_SEEDS + 1)
    return next((k for k in numbers if evaluation.plan(recipe, k, k, **how)[shows] <= size), None)


def _detectable(judged: list[Row], data: Dataset) -> list[dict] | None:
    """What a study like this one can show of AUC on the test split alone and on all test images, at
    Holm's first step among its rows: the difference that it sees in four of five cases, and how
    many seeds of a remedy and of its partner each of SIZES and "setara" need. None for few seeds.
    """
    baseline, *others = (len(row.trained) for row in judged)
    if baseline < evaluation.LEAST_SEEDS or min(others, default=0) < 2:  # one shows no spread
        return None
    plans, rows = [], len(judged) - 1
    for part in (replace(data, extra=None), data):
        labels, patients = remedies.test_images(part)
        recipe, *others = (
            evaluation.measured(row.test(part), labels, patients)["auc"] for row in judged
        )
        usual = float(np.median([between(other, recipe) for other in others]))
        margin = evaluation.MARGIN["auc"]
        plan = {"images": len(labels), "patients": evaluation.n_patients(patients), "rows": rows}
        plan |= {"seeds": [SEEDS, BASELINE_SEEDS], "most": MOST_SEEDS}
        how = {"rows": rows, "between": usual}
        plan["difference"] = evaluation.plan(recipe, SEEDS, BASELINE_SEEDS, **how)["seen"]
        needed = {size: seeds_needed(recipe, "seen", size, **how) for size in SIZES}
        plan["needed"] = [{"difference": size, "seeds": n} for size, n in needed.items()]
        plan["equal"] = seeds_needed(recipe, "equal", margin, between=usual)
        plans.append(plan)
    return plans


def _training_sets(variants: list[dict], data: Dataset) -> list[dict] | None:
    """The verdicts on AUC of the rows that `own_sets` trained, beside those of the one training set
    that all other rows share; None as long as a training lacks.
    """
    shared = {row["name"]: row for row in variants}
    names, recipes = [BASELINE.name, *remedies.ALONE, "combination"], []
    for name in names:
        paths = sorted(remedies.TRAININGS.glob(f"{OWN_SETS}{name}-s*.npz"))
        trainings = list(filter(None, map(remedies.load_training, paths)))
        if len(trainings) < SEEDS or name not in shared:
            return None
        logits = Row(BASELINE, trainings, {}).test(data)
        recipes.append(evaluation.measured(logits, *remedies.test_images(data))["auc"])
    differences = [evaluation.difference(recipe, recipes[0]) for recipe in recipes[1:]]
    verdicts = evaluation.judge(differences, "auc", [False] * len(differences))
    return [
        {"title": shared[name]["title"], "shared": shared[name]["predicts"], "own": verdict}
        for name, verdict in zip(names[1:], verdicts, strict=True)
    ]


def _learning_curve(jobs: list[Job], stored: dict[str, Row]) -> list[dict] | None:
    """overfitting.learning_curve over the seeds that every size has; None where there is none."""
    data = {job.remedy.name: job.data for job in jobs}
    names = [*(name for name in data if name.startswith("part")), BASELINE.name]
    if any(name not in stored for name in names):
        return None
    seeds = set.intersection(*({run.seed for run in stored[name].trained} for name in names))
    points = []
    for name in names:
        runs = [run for run in stored[name].trained if run.seed in seeds]
        for run in runs:
            run.logits["train_last"] = run.logits["train"]  # these rows are judged by their end
        points.append((data[name], runs))
    return overfitting.curve(points) if seeds else None


def _folds(jobs: list[Job], stored: dict[str, Row]) -> dict | None:
    """What the folds say, once all of them are there."""
    folds = [job for job in jobs if job.family == "fold" and job.remedy.name in stored]
    if len(folds) < FOLDS:
        return None
    trainings = [stored[job.remedy.name].trained[0] for job in folds]
    return summarise_folds([job.data for job in folds], trainings)


def summarise_folds(parts: list[Dataset], trainings: list[Trained]) -> dict:
    """How many folds there are, and the lowest and highest validation AUC among them."""
    folds = zip(trainings, parts, strict=True)
    auc = [area_under_curve(run.logits["val_last"], part.val.labels) for run, part in folds]
    return {"n": len(parts), "val_auc": {"min": min(auc), "max": max(auc)}}


def _provenance(study: Study, data: Dataset, stored: dict[str, Row]) -> dict:
    """What the study was made with: of what differs between trainings, every value."""
    used, origin = study.used.fingerprint, study.provenance()
    extra = {"fingerprint": data.fingerprint, "extra": EXTRA, "without_extra": used}
    about = [run.info for row in stored.values() for run in row.trained]
    names, ended = ("torch", "threads", "code"), sorted(kept["ended"] for kept in about)
    return {
        "data": origin["data"] | extra,
        "weights": origin["weights"],
        "precision": study.precision,
        **{name: sorted({str(kept["identity"][name]) for kept in about}) for name in names},
        "machines": sorted({kept["machine"] for kept in about}),
        "first": ended[0],
        "last": ended[-1],
        "seconds": sum(kept["seconds"] for kept in about),
        "trainings": len(about),
    }


# --- beside a reader's rows ----------------------------------------------------------------------

# the verdicts that an interval on this side of zero suggests
LOOKS = {
    "above": (evaluation.BETTER,),
    "below": (evaluation.WORSE, evaluation.MAJORITY),
    "across": (evaluation.EQUAL, evaluation.UNDECIDED, evaluation.MAJORITY),
}


def _placed(value: float, seeds: Sequence[float], trainings: int = 1) -> dict:
    """The prediction "interval" of the mean of so many further trainings, from single seeds, and
    whether a value lies "below", "within" or "above" it ("place"); None of too few seeds.
    """
    if len(seeds) < evaluation.LEAST_SEEDS:
        return {"interval": None, "place": None}
    recipe = Measured(np.array(seeds), ())  # on the same images
    interval = evaluation.prediction(recipe, trainings=trainings)["ci95"]
    place = {"above": "below", "across": "within", "below": "above"}
    return {"interval": interval, "place": place[evaluation.side(interval, value)]}


def place(rows: list[dict], reference: dict) -> list[dict]:
    """A reader's rows (of `judge`) beside the seeds of the same rows of the reference study.

    auc, gap: as of `_placed`. shown: on which side of zero the reader's own interval in AUC
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
            place[name] = _placed(own["value"], theirs["each"][name], len(row["seeds"]))
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
    names = ("ensemble", "detectable", "training_sets", "cross_validation")
    shown = {name: reference[name] for name in names}
    every = remedies.trains_every_row(study, repeat)
    fewest = min(len(row["seeds"]) for row in rows)
    own = every and (not phantom or fewest >= evaluation.LEAST_SEEDS)
    if every:
        shown["cross_validation"] = cross_validation(study, *settings.parse_jobs(n_jobs, cluster))
    if own:
        ensemble = remedies.ensemble(remedies.baseline(study), study.used)
        shown |= {"ensemble": ensemble, "detectable": None, "training_sets": None}
    variants = rows if own else reference["variants"]
    return shown | {
        "shown": variants,
        "source": "own" if own else "reference",
        "summary": remedies.summarise(variants),
        "margin": evaluation.MARGIN,
        "reference": reference["provenance"],
        "background": remedies.summarise(reference["variants"]) if own and not phantom else None,
        "precisions": reference["precisions"],
        "repeated": place(rows, reference) if phantom else [],
    }


# --- computing it ---------------------------------------------------------------------------------


def train(jobs: list[Job], study: Study, n_jobs: int, cluster: str) -> None:
    """Train what has no file yet, n_jobs at a time (on a cluster all at once); each file is written
    when its group has ended.
    """
    missing = [job for job in jobs if not is_kept(job)]
    done, size = len(jobs) - len(missing), len(jobs) if cluster else n_jobs
    with bar(len(jobs), "Studi multiseed", initial=done, unit="pelatihan") as progress:
        for start in range(0, len(missing), size):
            group = missing[start : start + size]
            given = [(job.config, job.data, job.weights, study.device) for job in group]
            for job, run in zip(group, training.run_all(given, n_jobs, cluster), strict=True):
                keep(job, run)
                progress.update(1)


def check(jobs: list[Job], study: Study, n: int) -> bool:
    """Train n kept trainings, drawn at random, again; say of each whether it agrees.

    Bit for bit on the same kind of machine; else its AUC must lie where another seed's would
    (`_placed`), for a fold among all folds.
    """
    stored = [(job, trained) for job in jobs if (trained := kept(job))]
    agree = []
    for job, before in random.sample(stored, min(n, len(stored))):
        again = _anew(job, study, int(before.info["identity"]["threads"] or 1))
        alike = [trained for other, trained in stored if other.family == job.family]
        test = np.stack([trained.logits["test"] for trained in (again, before, *alike)])
        auc = area_under_curve(test, job.data.test.labels).tolist()
        same = _digest(again) == before.info["digest"]
        near = _placed(auc[0], auc[2:])["place"] == "within"
        spread = "dalam sebaran seed" if near else "TIDAK COCOK"
        verdict = "sama bit demi bit" if same else spread
        shown, known = (indonesian.number(value, 4) for value in auc[:2])
        print(f"{job.path.stem}: {verdict}; AUC uji {shown}, tersimpan {known}.", flush=True)
        agree.append(same or near)
    return all(agree)


def _anew(job: Job, study: Study, threads: int) -> Trained:
    """A training made again, outside the run store, with this number of threads."""
    before, given = torch.get_num_threads(), (job.config, job.data, job.weights, study.device)
    torch.set_num_threads(threads)
    try:
        return remedies.trained(training.run(*given, False, parts={}), job.remedy.which)
    finally:
        torch.set_num_threads(before)


def main() -> int:
    get = os.environ.get
    n_jobs, cluster = settings.parse_jobs(get("N_JOBS") or 1, get("CLUSTER") or "")
    again = settings.to_number("CHECK", get("CHECK", "").strip() or 0, (0, 1000))
    device, fixed = get("DEVICE") or "auto", {"preset": "full", "precision": "float32"}
    study = open_study(data="phantom", weights="random", device=device, **fixed)
    data = with_extra(study.used)
    jobs = plan(study, data)
    if again:
        return 0 if check(jobs, study, again) else 1
    done = sum(is_kept(job) for job in jobs)
    print(f"Studi multiseed: {done} dari {len(jobs)} pelatihan tunggal sudah ada.", flush=True)
    try:
        train(jobs, study, n_jobs, cluster)
        combined = combination(rows(jobs), study, data) or []
        train(combined, study, n_jobs, cluster)
        if combined and get("OWN_SETS"):
            single = [remedy for remedy in REMEDIES if remedy.name in remedies.ALONE]
            chosen = [BASELINE, *single, combined[0].remedy]
            train(own_sets(study, data, chosen), study, n_jobs, cluster)
    finally:
        summarise(jobs, study, data)
    print(f"Studi multiseed lengkap: {remedies.REFERENCE / 'results.json'}")
    return 0


if __name__ == "__main__":
    sys.exit(status(main, "Dihentikan. Jalankan `make reference` lagi untuk melanjutkan."))
