"""Compute the reference study: `make reference`, resumable; `make reference CHECK=3` trains three
of its trainings again.

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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t

from cxr_helpers import data as datasets
from cxr_helpers import (
    evaluation,
    overfitting,
    reference,
    remedies,
    training,
    verdicts,
)
from cxr_helpers.data import Dataset, Split
from cxr_helpers.engine import files, indonesian, phantom, results, runtime, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.progress import bar
from cxr_helpers.engine.runs import Run
from cxr_helpers.remedies import BASELINE, REMEDIES
from cxr_helpers.setup import Setup, open_setup
from cxr_helpers.training import TrainConfig
from cxr_helpers.verdicts import Combination, Images, Remedy, Row, Trained
from cxr_helpers.weights import Weights, resolve_weights
from report import environment

EXTRA = 6000  # further test images
BASELINE_SEEDS, SEEDS, FEW_SEEDS = 10, 5, 3
STARTS = ("gabor",)  # beside the random start of the baseline


@dataclass(frozen=True)
class Planned:
    """One training of the study: the row that it belongs to, and what it needs."""

    remedy: Remedy
    config: TrainConfig
    data: Dataset
    weights: Weights

    @property
    def path(self) -> Path:
        return reference.TRAININGS / f"{self.remedy.name}-s{self.config.seed}.npz"

    @property
    def is_fold(self) -> bool:
        return self.remedy.recommendation == "cross_validation"


# --- what is planned ------------------------------------------------------------------------------


def with_extra(data: Dataset) -> Dataset:
    """The phantom with EXTRA more test images."""
    images, labels, truth = phantom.more_test_images(EXTRA)
    return datasets.with_splits(
        data,
        extra=Split(images, labels, np.arange(EXTRA), truth, truth["patient"].astype(np.int64)),
    )


def plan(study: Setup, data: Dataset) -> list[Planned]:
    """Every training but those of the combination."""
    planned = []
    for seed in range(BASELINE_SEEDS):
        known = [BASELINE, *REMEDIES] if seed < SEEDS else [BASELINE]
        planned += [_planned(study, remedy, seed, data) for remedy in known]
        planned += _few(study, seed, data) if seed < FEW_SEEDS else []
    for number, fold in enumerate(remedies.folds(data, 0), start=1):
        planned.append(
            _planned(
                study, Remedy(f"fold{number}", "cross_validation", f"Lipatan {number}"), 0, fold
            )
        )
    return planned


def _planned(
    study: Setup, remedy: Remedy, seed: int, data: Dataset, weights: Weights | None = None
) -> Planned:
    return Planned(remedy, remedies.config_of(study, remedy, seed), data, weights or study.weights)


def plan_combination(study: Setup, data: Dataset, chosen: Combination) -> list[Planned]:
    return [_planned(study, chosen, seed, data) for seed in range(SEEDS)]


def _few(study: Setup, seed: int, data: Dataset) -> Iterator[Planned]:
    """What is done with few seeds: the learning curve and the starting weights."""
    for part in overfitting.PARTS:
        n = round(part * len(data.train))
        smaller = datasets.with_splits(data, train=datasets.subset(data.train, n, 0))
        yield _planned(study, Remedy(f"part{n}", "", f"{n} citra"), seed, smaller)
    for kind in STARTS:
        start = resolve_weights(kind)
        yield _planned(study, Remedy(f"start_{kind}", "", start.title), seed, data, start)


# --- its files ------------------------------------------------------------------------------------


def _digest(one: Trained) -> str:
    """SHA-256 of the logits as they were computed, in float32."""
    digest = hashlib.sha256()
    for name in ("train", "val", "test", "extra"):
        digest.update(np.ascontiguousarray(getattr(one, name), np.float32).tobytes())
    return digest.hexdigest()


def keep(planned: Planned, run: Run) -> None:
    """Write the file of one finished training."""
    one, identity = verdicts.trained(run, planned.remedy.which), _identity(planned)
    identity.pop("config")
    about = {
        "remedy": asdict(planned.remedy),
        "config": asdict(run.config),
        "changed": run.config.changed(),
        "identity": identity,
        "n_train": len(planned.data.train),
        "patients": planned.data.train.n_patients,
        "digest": _digest(one),
        **{
            name: getattr(one, name)
            for name in ("seconds", "parameters", "trained_parameters", "history")
        },
        "machine": runtime.processor(),
        "python": platform.python_version(),
        "ended": results.now(),
    }
    arrays = {name: getattr(one, name).astype(np.float32) for name in reference.EXACT}
    arrays |= {name: getattr(one, name).astype(np.float16) for name in ("train", "extra")}
    if planned.is_fold:  # a fold's validation images are its own
        arrays["val_labels"] = planned.data.val.labels
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    planned.path.parent.mkdir(parents=True, exist_ok=True)
    files.write(planned.path, stream.getvalue())


def _identity(planned: Planned) -> dict:
    return training.identity(planned.config, planned.data, planned.weights, "cpu")


def is_kept(planned: Planned) -> bool:
    """Whether the file of this very training is there: same settings, images and starting
    weights.
    """
    found = reference.load(planned.path)
    if found is None:
        return False
    wanted = _identity(planned)
    defaults = asdict(TrainConfig())  # a setting that has come to TrainConfig since had its default
    same = json.loads(json.dumps(wanted["config"])) == json.loads(
        json.dumps(defaults | found[0]["config"])
    )
    return same and all(found[0]["identity"][name] == wanted[name] for name in ("data", "weights"))


def rows(planned: list[Planned], names: list[str]) -> list[Row]:
    """The rows of these names from the files that are there, in this order; seeds ascending. Rows
    without a file are left out.
    """
    found = []
    for name in names:
        each = sorted(
            (one for one in planned if one.remedy.name == name), key=lambda one: one.config.seed
        )
        loaded = [reference.load(one.path) for one in each if is_kept(one)]
        if loaded:
            about = loaded[0][0]
            found.append(
                Row(
                    each[0].remedy,
                    [reference.trained(*one) for one in loaded],
                    about["changed"],
                    about["n_train"],
                    len(about["history"]),
                )
            )
    return found


# --- what it says ---------------------------------------------------------------------------------


def _names() -> list[str]:
    """Of the rows that are judged, without the combination."""
    return [BASELINE.name, *(remedy.name for remedy in REMEDIES)]


def combination(planned: list[Planned], study: Setup, data: Dataset) -> list[Planned] | None:
    """The trainings of the combination that validation chooses, none where it points at fewer than
    two remedies.

    None as long as a row lacks a seed: one seed may choose another combination than five, and every
    quick report trains it.
    """
    names = _names()
    if not all(is_kept(one) for one in planned if one.remedy.name in names):
        return None
    chosen = remedies.choose_combination(rows(planned, names), Images.of(data))
    return plan_combination(study, data, chosen) if chosen else []


def summarise(planned: list[Planned], study: Setup, data: Dataset) -> dict:
    """Write results.json from the files that are there, and give it back.

    "precisions", how far training in bfloat16 was from float32, was measured once and is carried
    over.
    """
    path = reference.FOLDER / "results.json"
    earlier = reference.read(reference.FOLDER) if path.exists() else {}
    images = Images.of(data)
    combined = combination(planned, study, data)
    everything = [*planned, *(combined or [])]
    judged = rows(everything, [*_names(), "combination"])
    if not judged:
        return {}
    body = {
        "schema": results.SCHEMA,
        "variants": [
            one | {"each": reference.each_seed(row, images)}
            for one, row in zip(verdicts.judge(judged, images), judged, strict=True)
        ],
        "combination": asdict(combined[0].remedy) if combined else None,
        "ensemble": verdicts.ensemble(judged[0], images),
        "detectable": verdicts.detectable(judged[0], images),
        "cross_validation": _folds(planned, images),
        "precisions": earlier.get("precisions", []),
        "provenance": _provenance(study, data, everything, SEEDS if combined is None else 0),
    }
    text = json.dumps(results.plain(body), ensure_ascii=False, indent=1) + "\n"
    files.write(path, text.encode())
    return body


def _folds(planned: list[Planned], images: Images) -> dict | None:
    """What the folds say, once all of them are there."""
    found = [reference.load(one.path) for one in planned if one.is_fold and is_kept(one)]
    if len(found) < remedies.FOLDS:
        return None
    val = [(arrays["val_last"], arrays["val_labels"]) for _, arrays in found]
    return verdicts.summarise_folds(val, [reference.trained(*one) for one in found], images)


def _provenance(study: Setup, data: Dataset, planned: list[Planned], more: int) -> dict:
    """What the study was made with: of what differs between trainings, every value; more: trainings
    not named yet.
    """
    extra = {
        "fingerprint": data.fingerprint,
        "extra": EXTRA,
        "without_extra": study.used.fingerprint,
    }
    about = [found[0] for one in planned if (found := reference.load(one.path))]
    each = {
        name: sorted({str(one["identity"][name]) for one in about})
        for name in ("torch", "threads", "code")
    }
    return {
        "data": study.provenance()["data"] | extra,
        "weights": study.provenance()["weights"],
        "precision": study.precision,
        **each,
        "machines": sorted({one["machine"] for one in about}),
        "first": min(one["ended"] for one in about),
        "last": max(one["ended"] for one in about),
        "seconds": sum(one["seconds"] for one in about),
        "trainings": len(about),
        "planned": len(planned) + more,
    }


# --- computing it ---------------------------------------------------------------------------------


def train(
    planned: list[Planned], study: Setup, n_jobs: int, cluster: str, title: str = "Studi acuan"
) -> None:
    """Train what has no file yet, n_jobs at a time (on a cluster all at once); each file is written
    when its group has ended.
    """
    missing = [one for one in planned if not is_kept(one)]
    with bar(
        len(planned), title, initial=len(planned) - len(missing), unit="pelatihan"
    ) as progress:
        while missing:
            group = missing if cluster else missing[:n_jobs]
            given = [(one.config, one.data, one.weights, study.device) for one in group]
            for one, run in zip(group, training.run_all(given, n_jobs, cluster), strict=True):
                keep(one, run)
                progress.update(1)
            missing = [one for one in missing if one not in group]


def check(planned: list[Planned], study: Setup, n: int) -> bool:
    """Train n kept trainings, drawn at random, again; say of each whether it agrees.

    Bit for bit on the same kind of machine; else its AUC must lie where another seed's would:
    within the 95% prediction interval of the row's seeds, for a fold of all folds (two tell no
    spread: then only the bits count). A processor's name does not tell its kind, which virtual
    machines hide. So other bits on a processor of that name are said, and judged by the interval
    too.
    """
    kept = [one for one in planned if is_kept(one)]
    drawn = random.sample(kept, min(n, len(kept)))
    # a list: each is trained and said, also after one that disagrees
    return all([_agrees(one, kept, study) for one in drawn])


def _agrees(planned: Planned, kept: list[Planned], study: Setup) -> bool:
    about, arrays = reference.load(planned.path)
    again = _anew(planned, study, int(about["identity"]["threads"] or 1))
    labels = planned.data.test.labels
    auc, auc_kept = (
        float(evaluation.area_under_curve(logits, labels))
        for logits in (again.test, arrays["test"])
    )
    if planned.is_fold:
        alike = [one.remedy.name for one in kept if one.is_fold]
    else:
        alike = [planned.remedy.name]
    seeds = [
        evaluation.area_under_curve(trained.test, labels)
        for row in rows(kept, alike)
        for trained in row.trained
    ]
    same, near = _digest(again) == about["digest"], _within(auc, np.array(seeds))
    verdict = "sama bit demi bit" if same else "dalam sebaran seed" if near else "TIDAK COCOK"
    if not same and about["machine"] == runtime.processor():
        verdict += ", bitnya lain walaupun nama prosesornya sama"
    shown, stored = indonesian.number(auc, 4), indonesian.number(auc_kept, 4)
    print(f"{planned.path.stem}: {verdict}; AUC uji {shown}, tersimpan {stored}.", flush=True)
    return same or near


def _anew(planned: Planned, study: Setup, threads: int) -> Trained:
    """A training made again, not read from the run store, with this number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as empty, environment({files.RUNS: empty}):
            run = training.run(
                planned.config, planned.data, planned.weights, study.device, keep_weights=False
            )
            return verdicts.trained(run, planned.remedy.which)
    finally:
        torch.set_num_threads(before)


def _within(value: float, seeds: np.ndarray) -> bool:
    """Whether a value lies in the 95% prediction interval of these (n,): where one more would."""
    n = len(seeds)
    return n > 2 and bool(
        abs(value - seeds.mean()) <= t.ppf(0.975, n - 1) * seeds.std(ddof=1) * np.sqrt(1 + 1 / n)
    )


def main() -> int:
    n_jobs, cluster = settings.parse_jobs(
        os.environ.get("N_JOBS") or 1, os.environ.get("CLUSTER") or ""
    )
    again = os.environ.get("CHECK", "").strip()
    if again and not (again.isascii() and again.isdigit() and int(again) > 0):
        raise InputError(
            f"CHECK={again} tidak dapat dipakai: "
            "berikan banyaknya pelatihan yang diulang, mulai dari 1."
        )
    study = open_setup(
        data="phantom",
        weights="random",
        preset="full",
        device=os.environ.get("DEVICE") or "auto",
        precision="float32",
    )
    data = with_extra(study.used)
    planned = plan(study, data)
    if again:
        return 0 if check(planned, study, int(again)) else 1
    missing = sum(not is_kept(one) for one in planned)
    print(
        f"Studi acuan: {len(planned) - missing} dari {len(planned)} pelatihan tunggal sudah ada.",
        flush=True,
    )
    try:
        train(planned, study, n_jobs, cluster)
        train(combination(planned, study, data) or [], study, n_jobs, cluster)
    finally:
        summarise(planned, study, data)
    print(f"Studi acuan lengkap: {reference.FOLDER / 'results.json'}")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except InputError as error:
        print(f"Galat: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("Dihentikan. Jalankan `make reference` lagi untuk melanjutkan.", file=sys.stderr)
        sys.exit(130)
