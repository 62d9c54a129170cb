"""The remedies that the course's report recommends, each as a change of the recipe, and their measurement (notebook 04).

Validation chooses (the combination), the test split judges, and every row is compared with the baseline on the same test images
(paired bootstrap: Efron & Tibshirani 1993, ch. 13), with p-values adjusted for the number of rows (Holm 1979).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, islice

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cxr_helpers import augment, evaluation
from cxr_helpers.data import Dataset, Split, enough, to_tensor, with_splits
from cxr_helpers.engine import parallel, runs, settings
from cxr_helpers.engine.progress import bar
from cxr_helpers.engine.runtime import cores
from cxr_helpers.model import small_cnn
from cxr_helpers.study import Study
from cxr_helpers.training import evaluate

BETTER, WORSE, SAME = "lebih baik", "lebih buruk", "tidak terbedakan"
SIGNIFICANCE = 0.05
FOLDS = 5
LISTED = 6  # rows that a sentence still names one by one; the table names them all
COMBINED = 4  # at most so many remedies in the combination: each more makes it harder to say what helped
EXCLUSIVE = {
    "simpler_architecture",
    "fewer_layers",
}  # both take capacity away; a smaller network may not have the layers to freeze
# The eleven recommendations in the course's order.
RECOMMENDED = {
    "dropout": "dropout",
    "weight_decay": "weight decay",
    "augmentation": "augmentasi data",
    "simpler_architecture": "arsitektur lebih sederhana",
    "fewer_layers": "menyetel lebih sedikit lapisan",
    "schedule": "jadwal learning rate",
    "batch_size": "ukuran batch",
    "early_stopping": "early stopping",
    "balancing": "penyeimbangan kelas",
    "minority_augmentation": "augmentasi kelas minoritas",
    "cross_validation": "validasi silang",
}


@dataclass(frozen=True)
class Remedy:
    """`recommendation` is a key of RECOMMENDED; `changes` are TrainConfig settings; `which` is the epoch that is judged."""

    name: str
    recommendation: str
    title: str
    changes: dict = field(default_factory=dict)
    which: str = "last"


@dataclass(frozen=True)
class Combination(Remedy):
    """Several remedies at once; `parts` are their titles."""

    parts: tuple[str, ...] = ()


ANATOMICAL = ("geometry", "exposure")
BASELINE = Remedy("baseline", "", "Pembanding (resep mata kuliah)")
REMEDIES = (
    Remedy("dropout", "dropout", "Dropout 0,5", {"dropout": 0.5}),
    Remedy("weight_decay", "weight_decay", "Weight decay 0,05 (AdamW)", {"optimizer": "adamw", "weight_decay": 0.05}),
    Remedy("augmentation", "augmentation", "Augmentasi geometri dan pencahayaan", {"augment": ANATOMICAL}),
    Remedy("flip", "augmentation", "Augmentasi cermin kiri-kanan", {"augment": ("flip",)}),
    Remedy("small_cnn", "simpler_architecture", "CNN kecil", {"architecture": "small_cnn"}),
    Remedy("resnet18_layer2", "simpler_architecture", "ResNet-18 hingga layer2", {"architecture": "resnet18_layer2"}),
    Remedy("head_only", "fewer_layers", "Hanya kepala", {"trainable": "head"}),
    Remedy("layer4_and_head", "fewer_layers", "Layer4 dan kepala", {"trainable": "layer4+head"}),
    Remedy("cosine", "schedule", "Jadwal kosinus", {"schedule": "cosine"}),
    # Its point is a peak far above the constant rate (Smith & Topin 2018).
    Remedy("onecycle", "schedule", "Jadwal one-cycle, puncak 0,0015", {"schedule": "onecycle", "lr": 1.5e-3}),
    Remedy("batch_8", "batch_size", "Batch 8", {"batch_size": 8}),
    Remedy("batch_128", "batch_size", "Batch 128", {"batch_size": 128}),
    Remedy("early_stopping", "early_stopping", "Early stopping (sabar 2 epoch)", {"patience": 2}, which="best"),
    Remedy("pos_weight", "balancing", "Bobot kelas pada loss", {"balance": "pos_weight"}),
    Remedy("weighted_sampler", "balancing", "Pengambilan berimbang", {"balance": "sampler"}),
    Remedy(
        "minority_augmentation",
        "minority_augmentation",
        "Augmentasi kelas minoritas saja",
        {"augment": ANATOMICAL, "augment_target": "minority"},
    ),
    Remedy(
        "minority_repeated",
        "minority_augmentation",
        "Kelas minoritas diulang, augmentasi kedua kelas",
        {"augment": ANATOMICAL, "balance": "repeat"},
    ),
)
CROSS_VALIDATION = Remedy("cross_validation", "cross_validation", f"Validasi silang {FOLDS} lipatan")


@dataclass(frozen=True)
class Measured:
    """A remedy with its runs and the data of each run (folds differ in training and validation images, never in test images)."""

    remedy: Remedy
    fits: list[runs.Run]
    data: list[Dataset]

    def logits(self, split: str) -> list[np.ndarray]:
        if split == "test":
            return [fit.open_test()[self.remedy.which] for fit in self.fits]
        return [fit.logits[f"{split}_{self.remedy.which}"] for fit in self.fits]

    def labels(self, split: str) -> list[np.ndarray]:
        return [getattr(data, split).labels for data in self.data]

    def patients(self, split: str) -> list[np.ndarray | None]:
        return [getattr(data, split).patients for data in self.data]


def folds(data: Dataset, seed: int, n: int = FOLDS) -> list[Dataset]:
    """n data sets over the pooled training and validation images: stratified folds, one for validation each; test untouched.

    Where patients are known, all images of a patient are in one fold.
    """
    enough(data, n)
    known = data.train.patients is not None
    names = ("images", "labels", "rows", *(("patients",) if known else ()))
    pool = {name: np.concatenate([getattr(data.train, name), getattr(data.val, name)]) for name in names}
    splitter = (StratifiedGroupKFold if known else StratifiedKFold)(n, shuffle=True, random_state=seed)
    made = []
    for train, val in splitter.split(pool["images"], pool["labels"], pool.get("patients")):
        parts = (Split(**{name: array[rows] for name, array in pool.items()}) for rows in (train, val))
        made.append(with_splits(data, **dict(zip(("train", "val"), parts, strict=True))))
    return made


def _tasks(study: Study, remedy: Remedy) -> list[parallel.Task]:
    """The trainings that a row rests on: one a seed, or one a fold."""
    config = study.config(epochs=study.preset.remedy_epochs, **remedy.changes)
    if remedy is CROSS_VALIDATION:
        return [(config, data) for data in folds(study.remedy_data, study.seed)]
    return [(replace(config, seed=study.seed + i), study.remedy_data) for i in range(study.preset.remedy_seeds)]


def _train(study: Study, planned: Sequence[Remedy], n_jobs: int, cluster: str) -> list[Measured]:
    """Train what the planned rows rest on, under one bar that counts trainings and shows the time left."""
    each = [_tasks(study, remedy) for remedy in planned]
    tasks = [task for row in each for task in row]
    with bar(len(tasks), f"Perbaikan ({len(planned)} baris)", unit="pelatihan") as progress:
        found = iter(parallel.train(tasks, study.weights, study.device, n_jobs, cluster, progress.update))
    return [
        Measured(remedy, [next(found) for _ in row], [data for _, data in row]) for remedy, row in zip(planned, each, strict=True)
    ]


def _validation(measured: Measured) -> dict[str, float]:
    """Mean validation loss and AUC over the runs."""
    pairs = list(zip(measured.logits("val"), measured.labels("val"), strict=True))
    return {
        "loss": float(np.mean([evaluation.mean_loss([logits], labels)["value"] for logits, labels in pairs])),
        "auc": float(np.mean([evaluation.area_under_curve(logits, labels) for logits, labels in pairs])),
    }


def combine(validation: dict[str, dict[str, float]]) -> Combination | None:
    """The remedies that help most on validation as one; at most COMBINED, one a recommendation. The test split has no say.

    validation: {name: {"loss", "auc"}} of the baseline and the remedies. A candidate has a lower loss and a higher AUC than the
    baseline (loss alone would choose networks that learned too little to be wrong with confidence); the highest AUC goes first.
    Of two remedies that change the same setting the better one stays. None when fewer than two remain.
    """
    base = validation["baseline"]
    found = [(r, validation[r.name]) for r in REMEDIES]
    better = [r for r, value in found if value["loss"] < base["loss"] and value["auc"] > base["auc"]]
    better.sort(key=lambda r: -validation[r.name]["auc"])
    chosen: list[Remedy] = []
    for remedy in better:
        taken = {key for one in chosen for key in one.changes}
        advice = {one.recommendation for one in chosen}
        if (
            len(chosen) < COMBINED
            and not taken & set(remedy.changes)
            and remedy.recommendation not in advice
            and len(EXCLUSIVE & (advice | {remedy.recommendation})) < 2
        ):
            chosen.append(remedy)
    if len(chosen) < 2:
        return None
    changes = {key: value for one in chosen for key, value in one.changes.items()}
    which = "best" if any(one.which == "best" for one in chosen) else "last"
    return Combination("combination", "", "Gabungan pilihan validasi", changes, which, tuple(one.title for one in chosen))


def _gap(measured: Measured) -> dict:
    train, val = measured.labels("train"), measured.labels("val")
    if measured.remedy is not CROSS_VALIDATION:
        patients = [measured.patients(split)[0] for split in ("train", "val")]
        return evaluation.accuracy_gap(measured.logits("train"), train[0], measured.logits("val"), val[0], *patients)
    # Every fold has other images: all of them together are one sample of training and one of validation images.
    pooled = [np.concatenate(each) for each in (measured.logits("train"), train, measured.logits("val"), val)]
    every = [measured.patients(split) for split in ("train", "val")]
    patients = [None if each[0] is None else np.concatenate(each) for each in every]
    return evaluation.accuracy_gap([pooled[0]], pooled[1], [pooled[2]], pooled[3], *patients)


def _variant(study: Study, measured: Measured, baseline: Measured) -> dict:
    labels, patients = study.remedy_data.test.labels, study.remedy_data.test.patients
    first = measured.fits[0]
    test = measured.logits("test")
    compared = list(islice(cycle(baseline.logits("test")), len(test)))
    row = {
        "name": measured.remedy.name,
        "recommendation": measured.remedy.recommendation,
        "title": measured.remedy.title,
        "changed": first.config.changed(),
        "epoch_judged": measured.remedy.which,
        "seeds": [run.config.seed for run in measured.fits],
        "n_train": len(measured.data[0].train),
        "epochs": study.preset.remedy_epochs,
        "seconds": sum(run.info["seconds"] for run in measured.fits),
        "parameters": first.info["parameters"],
        "trained_parameters": first.info["trained_parameters"],
        "gap": _gap(measured),
        "validation": _validation(measured),
        "test": evaluation.mean_over_seeds(test, labels, patients=patients),
        "difference": None if measured is baseline else evaluation.paired_difference(test, compared, labels, patients=patients),
        "history": first.history.to_dict("records"),
    }
    truth = study.remedy_data.test.truth
    if truth is not None:  # the phantom knows which labels were flipped
        row["truth_acc"] = evaluation.mean_over_seeds(test, labels ^ truth["flipped"].astype(labels.dtype))["acc"]
    if isinstance(measured.remedy, Combination):
        row["parts"] = list(measured.remedy.parts)
    if measured.remedy is CROSS_VALIDATION:
        each = zip(measured.logits("val"), measured.labels("val"), strict=True)
        accuracies = [float(((logits > 0) == (y == 1)).mean()) for logits, y in each]
        row["folds"] = {"val_acc": accuracies, "mean": float(np.mean(accuracies)), "sd": float(np.std(accuracies, ddof=1))}
    return row


def verdict(difference: float, adjusted_p: float) -> str:
    """lebih baik / lebih buruk when the p-value, adjusted for the number of remedies, is below 0.05; else tidak terbedakan."""
    if adjusted_p >= SIGNIFICANCE:
        return SAME
    return BETTER if difference > 0 else WORSE


def shortcut(study: Study) -> list[dict]:
    """What either form of minority augmentation teaches a small CNN (seed of the study): to see the class, or the augmentation?

    One dict a form and class of the test images: title, label, n, patients (None where not known), plain and augmented (shares of
    these images that are given class 1, {"value", "ci95"}), difference (augmented − plain, paired by image) and side (of zero, on
    which its interval lies). An image means the same before and after an augmentation that is plausible, so a network that judges
    anatomy shows no difference (notebook 04).
    """
    data, rows = study.remedy_data, []
    images, labels, patients = to_tensor(data.test.images), data.test.labels, data.test.patients
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)
        changed = augment.apply(images, ANATOMICAL)
    for remedy in (r for r in REMEDIES if r.recommendation == "minority_augmentation"):
        config = study.config(epochs=study.preset.remedy_epochs, architecture="small_cnn", **remedy.changes)
        network = small_cnn()
        network.load_state_dict(runs.get(config, data, study.weights, study.device).weights("last"))
        plain, augmented = ((evaluate(network, x).numpy() > 0) for x in (images, changed))
        for label in (0, 1):
            which = labels == label
            moved = np.where(which, augmented.astype(float) - plain, np.nan)
            ci = evaluation.bootstrap(lambda rows, moved=moved: np.nanmean(moved[rows], axis=1), labels, patients=patients)
            rows.append(
                {
                    "title": remedy.title,
                    "label": label,
                    "n": int(which.sum()),
                    "patients": None if patients is None else len(np.unique(patients[which])),
                    "plain": evaluation.share(plain[which], evaluation.among(patients, which)),
                    "augmented": evaluation.share(augmented[which], evaluation.among(patients, which)),
                    "difference": {"value": float(np.nanmean(moved)), "ci95": list(ci)},
                    "side": evaluation.side(ci),
                }
            )
    return rows


def summarise(rows: list[dict]) -> dict:
    """What the sentences about the rows of `measure` say (notebook 04); rows are named by their place.

    "n": rows beside the baseline; "verdicts": for each verdict that was reached, in the order better, worse, same, its "n"
    and "titles" (None where more than LISTED); "best": the row with the largest difference in test accuracy, and
    "best_is_better" whether its verdict says so; "compared": the names of baseline and best; "smaller": rows that train
    another number of parameters than the baseline; "combination": its row or None; "cross_validation": "n", "lowest",
    "highest", "mean", "sd" of the folds' validation accuracy.
    """
    groups = {verdict: [row["title"] for row in rows[1:] if row["verdict"] == verdict] for verdict in (BETTER, WORSE, SAME)}
    best = max(range(1, len(rows)), key=lambda i: rows[i]["difference"]["acc"]["value"])
    place = {row["name"]: i for i, row in enumerate(rows)}
    folds = rows[place["cross_validation"]]["folds"]
    accuracies = folds["val_acc"]
    return {
        "n": len(rows) - 1,
        "verdicts": [
            {"verdict": verdict, "n": len(titles), "titles": titles if len(titles) <= LISTED else None}
            for verdict, titles in groups.items()
            if titles
        ],
        "best": best,
        "best_is_better": rows[best]["verdict"] == BETTER,
        "compared": [rows[0]["name"], rows[best]["name"]],
        "smaller": [i for i, row in enumerate(rows) if row["trained_parameters"] != rows[0]["trained_parameters"]],
        "combination": place.get("combination"),
        "cross_validation": {
            "n": len(accuracies),
            "lowest": min(accuracies),
            "highest": max(accuracies),
            "mean": folds["mean"],
            "sd": folds["sd"],
        },
    }


def measure(study: Study, n_jobs: int | str = 1, cluster: str = "") -> list[dict]:
    """Run baseline, remedies, folds and combination (or read them from the store).

    One dict a row as 04_perbaikan.json holds them, baseline first. n_jobs processes share the cores of this computer, or the
    workers of `cluster` ("dask://host:port") do the work; on a CPU the number of threads of a training, cores // n_jobs, is part
    of a run's identity.
    """
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    if n_jobs > 1 and study.device.type == "cpu":
        torch.set_num_threads(max(1, cores() // n_jobs))
    measured = _train(study, (BASELINE, *REMEDIES, CROSS_VALIDATION), n_jobs, cluster)
    combination = combine({one.remedy.name: _validation(one) for one in measured})
    if combination is not None:
        measured += _train(study, [combination], n_jobs, cluster)
    rows = [_variant(study, one, measured[0]) for one in measured]
    adjusted = evaluation.holm([row["difference"]["acc"]["p"] for row in rows[1:]])
    rows[0]["verdict"] = "pembanding"
    for row, p in zip(rows[1:], adjusted, strict=True):
        row["p_adjusted"] = p
        row["verdict"] = verdict(row["difference"]["acc"]["value"], p)
    return rows
