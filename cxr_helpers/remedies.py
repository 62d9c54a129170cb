"""The remedies that the course's report recommends, each as a change of the recipe, and their
measurement (notebook 04).

Validation chooses (the combination), the test split judges. What may be said of a row, verdicts.py
and comparison.py decide, the same for the rows of the reference study that ships with the package
(reference.py).
"""

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

from cxr_helpers import augment, evaluation, model, overfitting, training
from cxr_helpers import data as datasets
from cxr_helpers.data import FOLDS, Dataset, folds, grey, to_tensor
from cxr_helpers.engine import files, npz, runs, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Outcome, Run
from cxr_helpers.engine.runtime import bar
from cxr_helpers.evaluation import Fitted
from cxr_helpers.model import Weights, small_cnn
from cxr_helpers.training import TrainConfig, evaluate

LISTED = 6  # rows that a sentence still names one by one; the table names them all
COMPARED = "pembanding"  # the verdict of the row that the others are compared with
QUESTIONS = ("predicts", "overfits")
CHANCE = (3, 5, 10)  # seeds for which the report says what difference would be seen


@dataclass(frozen=True)
class Remedy:
    """recommendation: a key of remedies.RECOMMENDED; changes: TrainConfig settings; which: the
    epoch that is judged.
    """

    name: str
    recommendation: str
    title: str
    changes: dict = field(default_factory=dict)
    which: str = "last"


@dataclass(frozen=True)
class Combination(Remedy):
    """Several remedies at once; `parts` are their titles."""

    parts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trained:
    """What one training left that a judgement needs. Logits (N,) of the epoch that is judged, in
    eval mode.

    extra: logits of further test images, or None. val_last: validation logits of the last epoch, by
    which every row is chosen.
    """

    seed: int
    train: np.ndarray
    val: np.ndarray
    val_last: np.ndarray
    test: np.ndarray
    extra: np.ndarray | None
    history: list[dict]
    seconds: float
    parameters: int
    trained_parameters: int


@dataclass(frozen=True)
class Images:
    """Labels (N,) and patients (N,) or None of the images that the rows of a study were trained and
    judged on, by split.

    flipped: {split: (N,) bool} of the test images where the written label contradicts the anatomy
    (the phantom knows), or None.
    """

    labels: dict[str, np.ndarray]
    patients: dict[str, np.ndarray | None]
    flipped: dict[str, np.ndarray] | None = None

    @classmethod
    def of(cls, data: Dataset) -> "Images":
        splits = {
            name: getattr(data, name)
            for name in ("train", "val", "test", "extra")
            if getattr(data, name) is not None
        }
        known = data.test.truth is not None
        return cls(
            {name: part.labels for name, part in splits.items()},
            {name: part.patients for name, part in splits.items()},
            {
                name: part.truth["flipped"]
                for name, part in splits.items()
                if name in ("test", "extra")
            }
            if known
            else None,
        )

    def judging(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Labels, patients and flipped of all test images, the extra ones behind those of the test
        split.
        """
        names = [name for name in ("test", "extra") if name in self.labels]
        apart = [None if self.patients[name] is None else self.patients[name] for name in names]
        patients = None if apart[0] is None else np.concatenate(apart)
        flipped = (
            None if self.flipped is None else np.concatenate([self.flipped[name] for name in names])
        )
        return np.concatenate([self.labels[name] for name in names]), patients, flipped


@dataclass(frozen=True)
class Row:
    """A remedy with its trainings, one a seed, on the same images."""

    remedy: Remedy
    trained: list[Trained]
    changed: dict
    n_train: int
    epochs: int

    def test(self) -> list[np.ndarray]:
        """Logits of all test images, the extra ones last, one array a seed."""
        return [
            one.test if one.extra is None else np.concatenate([one.test, one.extra])
            for one in self.trained
        ]

    def fitted(self, images: Images) -> Fitted:
        right = {
            split: np.array(
                [(getattr(one, split) > 0) == (images.labels[split] == 1) for one in self.trained]
            )
            for split in ("train", "val")
        }
        return Fitted(
            right["train"], right["val"], images.patients["train"], images.patients["val"]
        )

    def thresholds(self, images: Images) -> list[float]:
        return [evaluation.chosen_threshold(one.val, images.labels["val"]) for one in self.trained]

    def validation(self, images: Images) -> dict[str, float]:
        """Mean validation loss and AUC over the seeds after the last epoch, the same measure for
        every row.
        """
        labels = images.labels["val"]
        return {
            "loss": float(
                np.mean([evaluation.loss(one.val_last, labels).mean() for one in self.trained])
            ),
            "auc": float(
                np.mean([evaluation.area_under_curve(one.val_last, labels) for one in self.trained])
            ),
        }


def trained(run: Run, which: str = "last") -> Trained:
    """What a judgement needs of a finished run."""
    test = run.open_test()
    return Trained(
        seed=run.config.seed,
        **{split: run.logits[f"{split}_{which}"] for split in ("train", "val")},
        val_last=run.logits["val_last"],
        test=test[which],
        extra=test.get(f"extra_{which}"),
        history=run.history.to_dict("records"),
        seconds=run.info["seconds"],
        parameters=run.info["parameters"],
        trained_parameters=run.info["trained_parameters"],
    )


def _means(row: Row, images: Images) -> dict:
    """Metrics of a row on all test images: {metric: {"value", "sd" over the seeds (None for one),
    "ci95"}}, n, patients (None where not known) and majority.

    ci95 counts images and seeds, from three seeds on; of fewer seeds it counts images alone.
    """
    labels, patients, flipped = images.judging()
    found = evaluation.means(row.test(), labels, patients, row.thresholds(images))
    if flipped is not None:  # the phantom knows which labels the anatomy contradicts
        truth = evaluation.means(row.test(), labels ^ flipped.astype(labels.dtype), patients)
        found |= {"truth_auc": truth["auc"], "truth_acc": truth["acc"]}
    return {
        "n": len(labels),
        "patients": evaluation.n_patients(patients),
        "majority": evaluation.majority_share(labels),
        **found,
    }


def judge(rows: list[Row], images: Images) -> list[dict]:
    """Each row as 04_perbaikan.json holds it; the first is the baseline, with which the others are
    compared.

    difference: {metric: as comparison.Difference}; predicts, overfits: the difference of AUC and of
    the gap between training and validation accuracy, each with its "verdict", adjusted by Holm over
    the rows of that question.
    """
    labels, patients, _ = images.judging()
    base, found = rows[0], []
    for row in rows:
        first = row.trained[0]
        found.append(
            {
                "name": row.remedy.name,
                "recommendation": row.remedy.recommendation,
                "title": row.remedy.title,
                "changed": row.changed,
                "parts": list(getattr(row.remedy, "parts", ())),
                "epoch_judged": row.remedy.which,
                "seeds": [one.seed for one in row.trained],
                "n_train": row.n_train,
                "epochs": row.epochs,
                "seconds": sum(one.seconds for one in row.trained),
                "parameters": first.parameters,
                "trained_parameters": first.trained_parameters,
                "fewer_parameters": first.trained_parameters < base.trained[0].trained_parameters,
                "gap": evaluation.mean_gap(row.fitted(images)),
                "validation": row.validation(images),
                "test": _means(row, images),
                "guesses": evaluation.guesses(row.test()),
                **dict.fromkeys(("difference", *QUESTIONS)),
                "history": first.history,
            }
        )
    others = rows[1:]
    thresholds = [row.thresholds(images) for row in rows]
    apart = [
        evaluation.differences(row.test(), base.test(), labels, patients, (own, thresholds[0]))
        for row, own in zip(others, thresholds[1:], strict=True)
    ]
    gaps = [evaluation.gap_difference(row.fitted(images), base.fitted(images)) for row in others]
    guessing = [one["guesses"] for one in found[1:]]
    predicts = evaluation.judge(
        [one["auc"] for one in apart], evaluation.MARGIN["auc"], True, guessing
    )
    overfits = evaluation.judge(gaps, evaluation.MARGIN["gap"], False, guessing)
    for row, difference, auc, gap in zip(found[1:], apart, predicts, overfits, strict=True):
        row["difference"] = {name: one.as_dict() for name, one in difference.items()}
        row |= {"predicts": auc, "overfits": gap, "verdict": auc["verdict"]}
    found[0]["verdict"] = COMPARED
    return found


def ensemble(row: Row, images: Images) -> dict | None:
    """The mean of a row's logits over its seeds as one prediction, against the mean of its single
    seeds; None below LEAST_SEEDS.

    seeds, test: {metric: {"value", "ci95"}} of the ensemble, and "difference" of its AUC as
    comparison.Difference with its verdict. What other seeds would have given is estimated by
    leaving out each seed in turn (jackknife: Efron & Tibshirani 1993, ch. 11).
    """
    logits = row.test()
    if len(logits) < evaluation.LEAST_SEEDS:
        return None
    labels, patients, _ = images.judging()
    mean = np.mean(logits, axis=0)
    difference = evaluation.ensemble_difference(logits, labels, patients)
    return {
        "seeds": [one.seed for one in row.trained],
        "test": evaluation.means([mean], labels, patients),
        "difference": evaluation.judge(
            [difference], evaluation.MARGIN["auc"], guessing=[evaluation.guesses([mean])]
        )[0],
    }


def summarise_folds(
    val: list[tuple[np.ndarray, np.ndarray]], each: list[Trained], images: Images
) -> dict:
    """val: logits and labels of each fold's validation images; each: its training.

    n; val_acc and val_auc: {"each", "mean", "sd", "lowest", "highest"} over the folds; "ensemble":
    the mean of the folds' logits as one prediction of the test images, {metric: {"value", "ci95"}},
    and "single": the folds' mean of the same metrics.
    """
    labels, patients, _ = images.judging()
    spread = {
        "val_acc": [float(((logits > 0) == (y == 1)).mean()) for logits, y in val],
        "val_auc": [float(evaluation.area_under_curve(logits, y)) for logits, y in val],
    }
    test = Row(Remedy("folds", "", ""), each, {}, 0, 0).test()
    return {
        "n": len(val),
        **{
            name: {
                "each": values,
                "mean": float(np.mean(values)),
                "sd": float(np.std(values, ddof=1)),
                "lowest": min(values),
                "highest": max(values),
            }
            for name, values in spread.items()
        },
        "ensemble": {
            name: evaluation.means([np.mean(test, axis=0)], labels, patients)[name]
            for name in ("auc", "acc")
        },
        "single": {name: evaluation.means(test, labels, patients)[name] for name in ("auc", "acc")},
    }


def detectable(row: Row, images: Images) -> list[dict] | None:
    """How large a true difference in AUC between two recipes must be to be seen in four of five
    studies like this one.

    One dict a number of seeds a recipe (CHANCE) and set of test images (the test split alone, then
    all): seeds, images, patients (None where not known), difference. From the spread of this row's
    seeds (None below LEAST_SEEDS); the interval is that of `comparison`, without Holm's correction.
    """
    if len(row.trained) < evaluation.LEAST_SEEDS:
        return None
    found = []
    sets = [([one.test for one in row.trained], images.labels["test"], images.patients["test"])]
    if row.trained[0].extra is not None:
        sets.append((row.test(), *images.judging()[:2]))
    for logits, labels, patients in sets:
        for seeds in CHANCE:
            difference = evaluation.detectable(logits, labels, patients, seeds)
            counted = {"images": len(labels), "patients": evaluation.n_patients(patients)}
            found.append({"seeds": seeds, **counted, "difference": difference})
    return found


def summarise(rows: list[dict]) -> dict:
    """What the sentences about the rows of `judge` say; rows are named by their place.

    n: rows beside the baseline; predicts, overfits: for each verdict that was reached, in the order
    of comparison.VERDICTS, its "n" and "titles" (None where more than LISTED); compared: names of
    the baseline and of the row whose curve is shown beside it: the combination, else the first that
    overfits less, else the first; smaller: rows that train fewer parameters; combination: its row
    or None; seeds: the fewest and the most that a row has.
    """
    others = rows[1:]
    place = {row["name"]: i for i, row in enumerate(rows)}
    found = {"n": len(others)}
    for question in QUESTIONS:
        groups = {
            verdict: [row["title"] for row in others if row[question]["verdict"] == verdict]
            for verdict in evaluation.VERDICTS
        }
        found[question] = [
            {
                "verdict": verdict,
                "n": len(titles),
                "titles": titles if len(titles) <= LISTED else None,
            }
            for verdict, titles in groups.items()
            if titles
        ]
    calmer = [
        i for i, row in enumerate(rows) if i and row["overfits"]["verdict"] == evaluation.BETTER
    ]
    shown = place.get("combination", (calmer or [1])[0])
    return found | {
        "compared": [rows[0]["name"], rows[shown]["name"]],
        "shown": shown,
        "smaller": [i for i, row in enumerate(rows) if row["fewer_parameters"]],
        "combination": place.get("combination"),
        "seeds": [min(len(row["seeds"]) for row in rows), max(len(row["seeds"]) for row in rows)],
    }


# at most so many remedies in the combination: each more makes it harder to say what helped
COMBINED = 4
EXCLUSIVE = {
    "simpler_architecture",
    "fewer_layers",
}  # both take capacity away; a smaller network may not have the layers to freeze
# the single remedies that are trained even where the preset doesn't train every row
ALWAYS = ("augmentation",)
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


ANATOMICAL = ("geometry", "exposure")
BASELINE = Remedy("baseline", "", "Pembanding (resep mata kuliah)")
REMEDIES = (
    Remedy("dropout", "dropout", "Dropout 0,5", {"dropout": 0.5}),
    Remedy(
        "weight_decay",
        "weight_decay",
        "Weight decay 0,05 (AdamW)",
        {"optimizer": "adamw", "weight_decay": 0.05},
    ),
    Remedy(
        "augmentation",
        "augmentation",
        "Augmentasi geometri dan pencahayaan",
        {"augment": ANATOMICAL},
    ),
    Remedy("flip", "augmentation", "Augmentasi cermin kiri-kanan", {"augment": ("flip",)}),
    Remedy("small_cnn", "simpler_architecture", "CNN kecil", {"architecture": "small_cnn"}),
    Remedy(
        "resnet18_layer2",
        "simpler_architecture",
        "ResNet-18 hingga layer2",
        {"architecture": "resnet18_layer2"},
    ),
    Remedy("head_only", "fewer_layers", "Hanya lapisan klasifikasi", {"trainable": "head"}),
    Remedy(
        "layer4_and_head",
        "fewer_layers",
        "Layer4 dan lapisan klasifikasi",
        {"trainable": "layer4+head"},
    ),
    Remedy("cosine", "schedule", "Jadwal kosinus", {"schedule": "cosine"}),
    # Its point is a peak far above the constant rate (Smith & Topin 2018).
    Remedy(
        "onecycle",
        "schedule",
        "Jadwal one-cycle, puncak 0,0015",
        {"schedule": "onecycle", "lr": 1.5e-3},
    ),
    Remedy("batch_8", "batch_size", "Batch 8", {"batch_size": 8}),
    Remedy("batch_128", "batch_size", "Batch 128", {"batch_size": 128}),
    Remedy(
        "early_stopping",
        "early_stopping",
        "Early stopping (patience 2 epoch)",
        {"patience": 2},
        which="best",
    ),
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
PRETRAINED = Remedy("pretrained", "", "Prapelatihan dengan semua label (tambahan kami)")
CROSS_VALIDATION = Remedy(
    "cross_validation", "cross_validation", f"Validasi silang {FOLDS} lipatan"
)


def config_of(study, remedy: Remedy, seed: int) -> TrainConfig:
    """The settings of one training of a row."""
    return study.config(**{"seed": seed, **remedy.changes})


def _train(study, remedies: Sequence[Remedy], n_jobs: int, cluster: str) -> list[Row]:
    """Train what these rows rest on, under one bar that counts trainings and shows the time
    left.
    """
    seeds = [study.seed + i for i in range(study.preset.seeds)]
    configs = [config_of(study, remedy, seed) for remedy in remedies for seed in seeds]
    given = [(config, study.used, study.weights, study.device) for config in configs]
    with bar(len(given), f"Perbaikan ({len(remedies)} baris)", unit="pelatihan") as progress:
        found = iter(training.run_all(given, n_jobs, cluster, progress.update))
    rows = []
    for remedy in remedies:
        fits = [next(found) for _ in seeds]
        each = [trained(run, remedy.which) for run in fits]
        rows.append(
            Row(remedy, each, fits[0].config.changed(), len(study.used.train), study.preset.epochs)
        )
    return rows


def choose_combination(rows: Sequence[Row], images: Images) -> Combination | None:
    """`combine` by the rows' validation."""
    return combine({row.remedy.name: row.validation(images) for row in rows})


def combine(validation: dict[str, dict[str, float]]) -> Combination | None:
    """The remedies that help most on validation as one; at most COMBINED, one a recommendation. The
    test split has no say.

    validation: {name: {"loss", "auc"}} of the baseline and the remedies. A candidate has a lower
    loss and a higher AUC than the baseline (loss alone would choose networks that learned too
    little to be wrong with confidence); the highest AUC goes first. Of two remedies that change the
    same setting the better one stays. None when fewer than two remain.
    """
    base = validation["baseline"]
    found = [(r, validation[r.name]) for r in REMEDIES if r.name in validation]
    better = [
        r for r, value in found if value["loss"] < base["loss"] and value["auc"] > base["auc"]
    ]
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
    return Combination(
        "combination",
        "",
        "Gabungan pilihan validasi",
        changes,
        which,
        tuple(one.title for one in chosen),
    )


def _baseline(study) -> Row:
    """The recipe's row, from the runs of notebook 02: with their threads, however the other rows
    share the cores.
    """
    each = [trained(run) for run in study.baseline()]
    return Row(BASELINE, each, {}, len(study.used.train), study.preset.epochs)


def _train_pretrained(study) -> list[Row]:
    """The recipe after pre-training on every label of the file (pretraining.py), one a seed; none
    where the file has no more.
    """
    if wider(study) is None:
        return []
    each = []
    for i in range(study.preset.seeds):
        config = study.config(seed=study.seed + i)
        start = pretrain(study, config)
        one = trained(
            training.run(config, study.used, start.start(), study.device, keep_weights=False)
        )
        each.append(replace(one, seconds=one.seconds + start.about["seconds"]))
    return [
        Row(PRETRAINED, each, {"start": "pretraining"}, len(study.used.train), study.preset.epochs)
    ]


def about_pretraining(study, rows: list[dict]) -> dict | None:
    """What the pre-trained row of `measure` rests on, as of Wider.about, and its place ("row");
    None where there is none.
    """
    place = next((i for i, row in enumerate(rows) if row["name"] == PRETRAINED.name), None)
    return None if place is None else wider(study).about() | {"row": place}


def planned(study, chosen: Combination | None = None, repeat: str = "auto") -> list[Remedy]:
    """The rows that are trained before validation has chosen: all of them, or the baseline, ALWAYS
    and `chosen`.
    """
    every = trains_every_row(study, repeat)
    return [BASELINE, *(one for one in REMEDIES if every or one.name in ALWAYS)] + (
        [chosen] if chosen and not every else []
    )


def trains_every_row(study, repeat: str = "auto") -> bool:
    """Whether every remedy is trained: the preset says so, or REPEAT=all."""
    return bool(settings.parse_repeat(repeat) or study.preset.every_row)


def cross_validation(study, n_jobs: int | str = 1, cluster: str = "") -> dict:
    """What folds say of the spread: see verdicts.summarise_folds. One training a fold; the test
    split is the same for all.
    """
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    parts = folds(study.used, study.seed)
    given = [(study.config(), part, study.weights, study.device) for part in parts]
    with bar(len(given), "Validasi silang", unit="pelatihan") as progress:
        fits = training.run_all(given, n_jobs, cluster, progress.update)
    val = [(run.logits["val_last"], part.val.labels) for run, part in zip(fits, parts, strict=True)]
    return summarise_folds(val, [trained(run) for run in fits], Images.of(study.used))


def beside(study, n_jobs: int | str = 1, cluster: str = "", repeat: str = "auto") -> dict | None:
    """What stands beside the rows of a study that trains every one of them; None of another.

    cross_validation; ensemble and detectable of the baseline's seeds (verdicts; None where they are
    too few).
    """
    if not trains_every_row(study, repeat):
        return None
    row, images = _baseline(study), Images.of(study.used)
    return {
        "cross_validation": cross_validation(study, n_jobs, cluster),
        "ensemble": ensemble(row, images),
        "detectable": detectable(row, images),
    }


def shortcut(study) -> list[dict]:
    """What either form of minority augmentation teaches a small CNN (seed of the study): to see the
    class, or the augmentation?

    One dict a form and class of the test images: title, label, n, patients (None where not known),
    plain and augmented (shares of these images that are given class 1, {"value", "ci95"}),
    difference (augmented − plain, paired by image) and side (of zero, on which its interval lies).
    An image means the same before and after an augmentation that is plausible, so a network that
    judges anatomy shows no difference (notebook 04).
    """
    data, rows = study.used, []
    images, labels, patients = to_tensor(data.test.images), data.test.labels, data.test.patients
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)
        changed = augment.apply(images, ANATOMICAL)
    for remedy in (r for r in REMEDIES if r.recommendation == "minority_augmentation"):
        config = study.config(architecture="small_cnn", **remedy.changes)
        network = small_cnn()
        network.load_state_dict(
            training.run(config, data, study.weights, study.device).weights("last")
        )
        plain, augmented = ((evaluate(network, x).numpy() > 0) for x in (images, changed))
        for label in (0, 1):
            which = labels == label
            moved = np.where(which, augmented.astype(float) - plain, np.nan)
            change = evaluation.paired_change(moved[None], labels, patients, hits=True)
            rows.append(
                {
                    "title": remedy.title,
                    "label": label,
                    "n": int(which.sum()),
                    "patients": None if patients is None else len(np.unique(patients[which])),
                    "plain": evaluation.share(plain[which], evaluation.among(patients, which)),
                    "augmented": evaluation.share(
                        augmented[which], evaluation.among(patients, which)
                    ),
                    "difference": {"value": change["value"], "ci95": change["ci95"]},
                    "side": change["side"],
                }
            )
    return rows


def measure(
    study,
    n_jobs: int | str = 1,
    cluster: str = "",
    chosen: Combination | None = None,
    repeat: str = "auto",
) -> list[dict]:
    """Train the baseline and the remedies (or read them from the store), and judge them: rows as of
    `judge`, baseline first.

    Where the preset does not train every row and `repeat` is not "all": the baseline, ALWAYS and
    `chosen`, the combination that the reference study chose. Else every remedy, then the
    combination that this study's validation chooses, and where the preset trains every row and the
    file has many labels, the recipe after pre-training on all of them. n_jobs processes share the
    cores of this computer, or the workers of `cluster` ("dask://host:port") do the work; see
    parallel.sharing. The baseline's runs are those of notebook 02.
    """
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    every, rows = trains_every_row(study, repeat), [_baseline(study)]
    # one after the other, with every core
    last = _train_pretrained(study) if study.preset.every_row else []
    rows += _train(study, planned(study, chosen, repeat)[1:], n_jobs, cluster)
    images = Images.of(study.used)
    combination = choose_combination(rows, images) if every else None
    if combination is not None:
        rows += _train(study, [combination], n_jobs, cluster)
    return judge(rows + last, images)


# over all images of the file: of ChestMNIST ten times the steps that the pair's ten epochs take
PRETRAINING_EPOCHS = 3
PRETRAINING_CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


@dataclass(frozen=True)
class Wider:
    """images (N, H, W) uint8 and labels (N, K) uint8 of the file's train split; left_out: how many
    of its images are not here.
    """

    images: np.ndarray
    labels: np.ndarray
    left_out: int

    def about(self) -> dict[str, int]:
        """n, labels and left_out as numbers, and epochs, how long a network is trained on them."""
        return {
            "n": len(self.images),
            "labels": self.labels.shape[1],
            "left_out": self.left_out,
            "epochs": PRETRAINING_EPOCHS,
        }


@dataclass(frozen=True)
class Pretrained:
    """What pre-training left: `start()` begins another training, as that of an experiment's result
    (Study.train, start=).

    about: that of Wider, losses (mean training loss of each epoch) and seconds.
    """

    weights: Weights
    about: dict

    def start(self) -> Weights:
        return self.weights


def wider(study) -> Wider | None:
    """Every image of the file's train split with all its labels; None where the file has one label
    an image, is the phantom (which draws the two classes alone), or is too large to be read whole.

    Left out are images that equal one of the pair's validation or test images pixel by pixel, and
    those of a patient who is known to be among these.
    """
    source, data = study.data.source, study.data
    if not source.many_labels or source.kind == "phantom":
        return None
    if npz.is_large(npz.headers(source.path)["train_images"][0]):
        return None
    with npz.one_line(source.path), np.load(source.path, allow_pickle=False) as arrays:
        images = grey(arrays["train_images"])
        labels = arrays["train_labels"] if source.flag else npz.own_labels(source.path)[2]["train"]
    kept = np.ones(len(images), bool)
    judged = {image.tobytes() for part in (data.val, data.test) for image in part.images}
    kept[[image.tobytes() in judged for image in images]] = False
    if data.train.patients is not None:
        others = np.concatenate([data.val.patients, data.test.patients])
        kept[data.train.rows[np.isin(data.train.patients, others)]] = False
    return Wider(images[kept], labels[kept].astype(np.uint8), int((~kept).sum()))


def pretrain(study, config: TrainConfig | None = None) -> Pretrained:
    """Train the network of `config` (default: the recipe) on all labels of the study's file, or
    read it from the run store.

    One logit a label, mean binary cross-entropy, EPOCHS epochs with the recipe's batch, optimizer
    and learning rate; goes on from its last whole epoch. Afterwards the last layer is drawn anew
    for the pair. Raises InputError where `wider` gives None, or the network has no linear last
    layer.
    """
    config, found = config or study.config(), wider(study)
    if found is None:
        raise InputError(
            "Prapelatihan memerlukan berkas dengan banyak label setiap citra, "
            "misalnya DATA=chestmnist SIZE=28."
        )
    what = hashlib.sha256(np.ascontiguousarray(found.images))
    what.update(np.ascontiguousarray(found.labels))
    identity = training.identity(config, study.used, study.weights, study.device)
    identity |= {"pretraining": [PRETRAINING_EPOCHS, what.hexdigest(), PRETRAINING_CODE]}
    given = (config, found, study.used, study.weights, study.device)
    run = runs.get(runs.Task(identity, given, study.used.fingerprint), fit_all_labels)
    state = run.weights("last")
    note = "Dilatih lebih dahulu dengan semua label citra latih berkas yang sama."
    return Pretrained(
        Weights("run", "Prapelatihan dengan semua label", note, state, model.digest(state)),
        found.about()
        | {"losses": run.history["train_loss"].tolist(), "seconds": run.info["seconds"]},
    )


def _last_layer(network: nn.Module) -> tuple[nn.Module, str]:
    """The last linear layer as (the module that holds it, its name there)."""
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not names:
        raise InputError(
            "Prapelatihan memerlukan jaringan dengan lapisan linear terakhir: "
            "pilih resnet18 atau jaringan lain."
        )
    parent, _, last = names[-1].rpartition(".")
    return network.get_submodule(parent), last


def fit_all_labels(
    config: TrainConfig,
    found: Wider,
    data: Dataset,
    weights: Weights,
    device: torch.device,
    resume: dict | None = None,
    checkpoint: Callable[[int, dict], None] = lambda epoch, state: None,
    **_,
) -> Outcome:
    """As training.fit, on all labels: the state after EPOCHS epochs, with the pair's own last
    layer, and the mean loss of each epoch.
    """
    network = training.network_of(config, data, weights, device, {})
    holder, name = _last_layer(network)
    own = getattr(holder, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        setattr(holder, name, nn.Linear(own.in_features, found.labels.shape[1]).to(device))
    optimizer, history = training.make_optimizer(config, network, device, {}), []
    if resume:
        network.load_state_dict(resume["network"])
        optimizer.load_state_dict(resume["optimizer"])
        history = list(resume["history"])
    began, per_epoch = time.perf_counter(), -(-len(found.images) // config.batch_size)
    title, done = f"Prapelatihan, seed {config.seed}", len(history) * per_epoch
    with bar(PRETRAINING_EPOCHS * per_epoch, title, initial=done) as progress:
        for epoch in range(len(history), PRETRAINING_EPOCHS):
            loss = _pretraining_epoch(
                network, optimizer, config, found, device, epoch, progress.update
            )
            history.append({"epoch": epoch + 1, "train_loss": loss})
            parts = {"network": network, "optimizer": optimizer}
            state = {key: part.state_dict() for key, part in parts.items()}
            checkpoint(epoch + 1, state | {"history": history})
    setattr(holder, name, own)
    last = {key: t.detach().cpu().contiguous().clone() for key, t in network.state_dict().items()}
    info = {"seconds": time.perf_counter() - began}
    return Outcome(history, {}, {"last": last}, info)


def _pretraining_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    found: Wider,
    device: torch.device,
    epoch: int,
    tick: Callable[[], object],
) -> float:
    """One pass over all images in an order of (seed, epoch) alone; the mean loss."""
    network.train()
    generator, total = torch.Generator().manual_seed(config.seed * 10_007 + epoch + 1), 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed * 10_007 + epoch + 1)
        for rows in torch.randperm(len(found.images), generator=generator).split(config.batch_size):
            x = to_tensor(found.images[rows.numpy()], device).contiguous(
                memory_format=torch.channels_last
            )
            y = torch.from_numpy(found.labels[rows.numpy()]).float().to(device)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
            ):
                output = network(x)
            loss = nn.functional.binary_cross_entropy_with_logits(output.float(), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
            tick()
    return total / len(found.images)


REFERENCE = files.REFERENCE
TRAININGS = REFERENCE / "trainings"
BFLOAT16 = REFERENCE / "bfloat16"  # its recipe and combination in bfloat16
EXACT = ("val", "val_last", "test")  # kept in float32; the many other logits in float16
ROUNDING = 1e-6  # the same predictions in another order of sums
PLACED = ("auc", "gap")  # what is said of a reader's row


def read_reference(folder: Path = REFERENCE) -> dict:
    """What notebooks/reference/results.json holds: "variants" as of remedies.judge, each with
    "each", and its provenance.

    Raises InputError where it is missing or damaged.
    """
    try:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"Studi acuan di {folder} tidak ada atau rusak: "
            "ambil lagi folder itu dari repositori, atau jalankan `make reference`."
        ) from None


def load_training(path: Path) -> tuple[dict, dict[str, np.ndarray]] | None:
    """(about, arrays) of a training's file; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            arrays = {name: kept[name] for name in kept.files}
        return json.loads(arrays.pop("about").tobytes()), arrays
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def trained_file(about: dict, arrays: dict[str, np.ndarray]) -> Trained:
    """What a judgement needs of a training's file, as `load` gives it."""
    known = ("history", "seconds", "parameters", "trained_parameters")
    logits = {name: arrays[name].astype(np.float32) for name in (*EXACT, "train", "extra")}
    return Trained(seed=about["config"]["seed"], **logits, **{name: about[name] for name in known})


def reference_baseline(study, folder: Path = REFERENCE) -> Row | None:
    """The reference study's seeds of the recipe in this study's precision as a row, judged on the
    test split alone; None where that study is not about this one's images, length or start.
    """
    known = read_reference(folder)["provenance"]
    same = (known["data"].get("without_extra"), "random") == (
        study.used.fingerprint,
        study.weights.kind,
    )
    there = BFLOAT16 if study.precision == "bfloat16" else folder / "trainings"
    kept = (
        [found for path in sorted(there.glob("baseline-s*.npz")) if (found := load_training(path))]
        if same
        else []
    )
    each = [
        replace(trained_file(*one), extra=None)
        for one in kept
        if one[0]["config"]["epochs"] == study.preset.epochs
    ]
    if not each:
        return None
    each.sort(key=lambda one: one.seed)
    return Row(BASELINE, each, {}, len(study.used.train), study.preset.epochs)


def reference_curve(study, folder: Path = REFERENCE) -> list[dict] | None:
    """The reference study's learning curve (overfitting.learning_curve), in float32, over the seeds
    that every size of it has.

    None where that study is not about this one's images, length or start, or has not trained every
    size yet.
    """
    whole, points = study.used, []
    base = reference_baseline(replace(study, precision="float32"), folder)
    if base is None:
        return None
    for part in overfitting.PARTS:
        n = round(part * len(whole.train))
        kept = [
            found
            for path in sorted((folder / "trainings").glob(f"part{n}-s*.npz"))
            if (found := load_training(path))
        ]
        data = datasets.with_splits(whole, train=datasets.subset(whole.train, n, 0))
        points.append((data, {one.seed: one for one in (trained_file(*each) for each in kept)}))
    points.append((whole, {one.seed: one for one in base.trained}))
    seeds = sorted(set.intersection(*(set(each) for _, each in points)))
    return (
        overfitting.curve(
            [(data, [_as_run(each[seed]) for seed in seeds]) for data, each in points]
        )
        if seeds
        else None
    )


def _as_run(one: Trained) -> SimpleNamespace:
    """What a measurement of notebook 03 reads of a run, from a kept training that is judged after
    its last epoch.
    """
    return SimpleNamespace(
        logits={"train_last": one.train, "val_last": one.val_last}, history=one.history
    )


def reference_combination(reference: dict) -> Combination | None:
    """The combination that the reference study's validation chose."""
    found = reference["combination"]
    if found is None:
        return None
    known = {one.name: found[one.name] for one in fields(Combination)}
    known["changes"] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in known["changes"].items()
    }
    return Combination(**known | {"parts": tuple(found["parts"])})


def each_seed(row: Row, images: Images) -> dict[str, list[float]]:
    """AUC on the test split alone and gap between training and validation accuracy of each seed:
    what a single training shows.
    """
    labels = images.labels["test"]
    return {
        "auc": [float(evaluation.area_under_curve(one.test, labels)) for one in row.trained],
        "gap": [float(gap) for gap in row.fitted(images).gaps()],
    }


def place(rows: list[dict], reference: dict) -> list[dict]:
    """Where a reader's rows (of remedies.judge, baseline first) fall among the reference's seeds,
    by name.

    One dict a row that the reference knows (the combination: the very same one): row and place
    (indices), seeds (of the reference: without those that the reader took too, for a training
    repeated falls where it fell before), and for each of PLACED value, lowest, highest, and where
    ("below", "within", "above" these seeds; the last three None where no seed is left). For all but
    the baseline also shown: "above", "below" or "across", the side of zero of the reader's own
    interval of the difference in AUC; verdict, the reference's; and `_alone`.
    """
    known = {row["name"]: i for i, row in enumerate(reference["variants"])}
    found = []
    for i, row in enumerate(rows):
        if (
            row["name"] not in known
            or row["parts"] != reference["variants"][known[row["name"]]]["parts"]
        ):
            continue
        theirs = reference["variants"][known[row["name"]]]
        others = [k for k, seed in enumerate(theirs["seeds"]) if seed not in row["seeds"]]
        placed = {"row": i, "place": known[row["name"]], "seeds": len(others)}
        for name, value in (("auc", row["test"]["auc"]["value"]), ("gap", row["gap"]["value"])):
            placed[name] = {
                "value": value,
                **_where(value, [theirs["each"][name][k] for k in others]),
            }
        shown = (
            None if row["difference"] is None else evaluation.side(row["difference"]["auc"]["ci95"])
        )
        found.append(
            placed
            | {
                "shown": shown,
                "verdict": theirs["verdict"],
                "alone": _alone(shown, theirs["verdict"]),
            }
        )
    return found


def _where(value: float, seeds: list[float]) -> dict:
    if not seeds:
        return dict.fromkeys(("lowest", "highest", "where"))
    low, high = min(seeds), max(seeds)
    where = "below" if value < low - ROUNDING else "above" if value > high + ROUNDING else "within"
    return {"lowest": low, "highest": high, "where": where}


def _alone(shown: str | None, verdict: str) -> str | None:
    """What a reader would have made of an interval on this side of zero alone (None: the
    baseline's), by the verdict of several seeds: "misleads" (a difference that the verdict does not
    confirm, or the contrary of it), "misses" (none, though the verdict found one), or None. A
    network that guesses the majority looks worse, and rightly.
    """
    confirmed = {"above": (evaluation.BETTER,), "below": (evaluation.WORSE, evaluation.MAJORITY)}
    if shown in confirmed:
        return None if verdict in confirmed[shown] else "misleads"
    return "misses" if shown and verdict in (evaluation.BETTER, evaluation.WORSE) else None


def spread(reference: dict) -> dict:
    """What two trainings of the baseline differ by: "sd" and "range" of the test split's AUC over
    its seeds, "n" of them.
    """
    each = np.array(reference["variants"][0]["each"]["auc"])
    return {
        "n": len(each),
        "sd": float(each.std(ddof=1)) if len(each) > 1 else None,
        "range": float(np.ptp(each)),
    }


def beside_rows(rows: list[dict], reference: dict, kind: str, own: dict | None = None) -> dict:
    """What notebook 04 hands on beside a reader's rows: whose rows are judged, and where the
    reader's fall.

    shown: the rows of the table, with "source" and "summary" of verdicts.summarise: the reader's
    ("own") where they trained every remedy, and on the phantom (kind), which the reference is
    about, with seeds enough for a verdict; else the reference's. With them "ensemble", "detectable"
    and "cross_validation" (own: remedies.beside, None unless every remedy was trained), and
    "folds_source": folds that the reader trained are shown in any case. margin: comparison.MARGIN;
    reference: its provenance; background: the reference's summary beside own rows of other data;
    repeated: `place`, empty on other data; precisions: bfloat16 beside float32 (report.reference);
    numbers: of the recommendations in the course's order.
    """
    enough = (
        kind != "phantom"
        or min((len(row["seeds"]) for row in rows), default=0) >= evaluation.LEAST_SEEDS
    )
    mine = own is not None and enough
    shown = rows if mine else reference["variants"]
    folds = own if own else reference
    return {
        "shown": shown,
        "source": "own" if mine else "reference",
        "summary": summarise(shown),
        "numbers": {name: place for place, name in enumerate(RECOMMENDED, start=1)},
        "margin": evaluation.MARGIN,
        **{name: (own if mine else reference)[name] for name in ("ensemble", "detectable")},
        "cross_validation": folds["cross_validation"],
        "folds_source": "own" if own else "reference",
        "reference": reference["provenance"],
        "background": summarise(reference["variants"]) if mine and kind != "phantom" else None,
        "precisions": reference.get("precisions", []),
        "spread": spread(reference),
        "repeated": place(rows, reference) if kind == "phantom" else [],
    }
