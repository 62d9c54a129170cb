"""The remedies that the course's report recommends, each as a change of the recipe, their training
and what may be said of them (notebook 04), also in the reference study that ships with the package,
which report/reference.py computes. Validation chooses (the combination), the test split judges.
"""

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from cxr_helpers import evaluation, training
from cxr_helpers.data import Dataset
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.runtime import bar
from cxr_helpers.evaluation import Measured, minus, of_images, right, side


@dataclass(frozen=True)
class Remedy:
    """recommendation: its number in the course's report; changes: TrainConfig settings; which: the
    epoch that is judged, "last" or "best"; parts: of a combination, the titles of its remedies.
    """

    name: str
    recommendation: int | None
    title: str
    changes: dict = field(default_factory=dict)
    which: str = "last"
    parts: tuple[str, ...] = ()


ANATOMICAL = ("geometry", "exposure")
BASELINE = Remedy("baseline", None, "Pembanding (resep mata kuliah)")
# The eleventh recommendation, cross-validation, is a way to judge, not a remedy that competes.
REMEDIES = (
    Remedy("dropout", 1, "Dropout 0,5", {"dropout": 0.5}),
    Remedy(
        "weight_decay", 2, "Weight decay 0,05 (AdamW)", {"optimizer": "adamw", "weight_decay": 0.05}
    ),
    Remedy("augmentation", 3, "Augmentasi geometri, paparan, dan kontras", {"augment": ANATOMICAL}),
    Remedy("flip", 3, "Augmentasi cermin kiri-kanan", {"augment": ("flip",)}),
    Remedy("small_cnn", 4, "CNN kecil", {"architecture": "small_cnn"}),
    Remedy("resnet18_layer2", 4, "ResNet-18 tanpa layer3–4", {"architecture": "resnet18_layer2"}),
    Remedy("head_only", 5, "Hanya lapisan klasifikasi", {"trainable": "head"}),
    Remedy("layer4_and_head", 5, "Layer4 dan lapisan klasifikasi", {"trainable": "layer4+head"}),
    Remedy("cosine", 6, "Jadwal kosinus", {"schedule": "cosine"}),
    # Its point is a peak far above the constant rate (Smith & Topin 2018).
    Remedy(
        "onecycle", 6, "Jadwal one-cycle, puncak 0,0015", {"schedule": "onecycle", "lr": 1.5e-3}
    ),
    Remedy("batch_8", 7, "Batch 8", {"batch_size": 8}),
    Remedy("batch_128", 7, "Batch 128", {"batch_size": 128}),
    Remedy("early_stopping", 8, "Early stopping (patience 2 epoch)", {"patience": 2}, which="best"),
    Remedy("pos_weight", 9, "Bobot kelas pada loss", {"balance": "pos_weight"}),
    Remedy("weighted_sampler", 9, "Pencuplikan berimbang", {"balance": "sampler"}),
    Remedy(
        "minority_augmentation",
        10,
        "Augmentasi kelas minoritas saja",
        {"augment": ANATOMICAL, "augment_target": "minority"},
    ),
    Remedy(
        "minority_repeated",
        10,
        "Oversampling kelas minoritas, augmentasi kedua kelas",
        {"augment": ANATOMICAL, "balance": "repeat"},
    ),
)
ALONE = ("augmentation",)  # what REPEAT=augmentation trains beside the combination
COMBINED = 4  # remedies at most: each more makes it harder to say what helped
SHOWN = ("auc", "acc", "acc_chosen", "brier", "overconfidence")  # metrics that chapter 4 shows
EXCLUSIVE = {4, 5}  # recommendations: a smaller network may not have the layers to freeze


def combine(validation: dict[str, dict[str, float]]) -> Remedy | None:
    """The remedies that help most on validation as one; None where fewer than two go together.
    validation: {name: Row.validation} of the baseline and the remedies; test has no say. A
    candidate has a lower loss and a higher AUC than the baseline: loss alone would choose networks
    that learned too little to be wrong with confidence. The highest AUC goes first.
    """
    base, chosen = validation["baseline"], []
    known = [remedy for remedy in REMEDIES if remedy.name in validation]
    for remedy in sorted(known, key=lambda remedy: -validation[remedy.name]["auc"]):
        own, full = validation[remedy.name], len(chosen) == COMBINED
        better = own["loss"] < base["loss"] and own["auc"] > base["auc"]
        if better and not full and all(_go_together(remedy, other) for other in chosen):
            chosen.append(remedy)
    if len(chosen) < 2:
        return None
    changes = {name: value for remedy in chosen for name, value in remedy.changes.items()}
    which = "best" if any(remedy.which == "best" for remedy in chosen) else "last"
    parts = tuple(remedy.title for remedy in chosen)
    return Remedy("combination", None, "Gabungan pilihan validasi", changes, which, parts)


def _go_together(a: Remedy, b: Remedy) -> bool:
    """Whether they follow two recommendations, not both EXCLUSIVE, and change no setting twice."""
    advice = {a.recommendation, b.recommendation}
    return len(advice) == 2 and advice != EXCLUSIVE and not set(a.changes) & set(b.changes)


# --- a row: a remedy with its trainings -----------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """What one training left that a judgement needs. logits: (N,) in eval mode of "train", "val",
    "test" and further ("extra") test images in the epoch that is judged; "val_last" of the last
    one, by which every row is chosen. info: as of Run.
    """

    seed: int
    logits: dict[str, np.ndarray]
    history: list[dict]
    info: dict


def trained(run: Run, which: str = "last") -> Trained:
    """What a judgement needs of a finished run; which: the epoch that is judged."""
    test = run.open_test()
    logits = {split: run.logits[f"{split}_{which}"] for split in ("train", "val")}
    logits |= {"val_last": run.logits["val_last"], "test": test[which]}
    if f"extra_{which}" in test:
        logits["extra"] = test[f"extra_{which}"]
    return Trained(run.config.seed, logits, run.history.to_dict("records"), run.info)


def test_images(data: Dataset) -> tuple[np.ndarray, np.ndarray | None]:
    """Labels (N,) and patients of all test images, the extra ones last."""
    splits = [data.test] if data.extra is None else [data.test, data.extra]
    labels = np.concatenate([split.labels for split in splits])
    known = data.test.patients is not None
    return labels, np.concatenate([split.patients for split in splits]) if known else None


@dataclass(frozen=True)
class Row:
    """A remedy with its trainings, one a seed; changed: the settings unlike the recipe's."""

    remedy: Remedy
    trained: list[Trained]
    changed: dict

    def logits(self, split: str) -> list[np.ndarray]:
        """Of each seed, (N,)."""
        return [run.logits[split] for run in self.trained]

    def test(self, data: Dataset) -> list[np.ndarray]:
        """Logits of all test images of `data`, as `test_images`, of each seed."""
        splits = ["test"] if data.extra is None else ["test", "extra"]
        return [np.concatenate([run.logits[name] for name in splits]) for run in self.trained]

    def thresholds(self, data: Dataset) -> list[float]:
        """Of each seed the logit above which it decides for class 1, chosen on validation."""
        return [evaluation.chosen_threshold(val, data.val.labels) for val in self.logits("val")]

    def gap(self, data: Dataset) -> Measured:
        """Training minus test accuracy: with the validation images early stopping chose."""
        labels, patients = test_images(data)
        fitted = of_images(right(self.logits("train"), data.train.labels), data.train.patients)
        return minus(fitted, of_images(right(self.test(data), labels), patients))

    def measured(self, data: Dataset) -> dict[str, Measured]:
        """What chapter 4 shows: on all test images, the gap, and the validation loss, which is high
        where a network never learned and its gap is small.
        """
        labels, patients = test_images(data)
        of_test = evaluation.measured(self.test(data), labels, patients, self.thresholds(data))
        losses = evaluation.loss(np.stack(self.logits("val")), data.val.labels)
        shown = {name: of_test[name] for name in SHOWN}
        return shown | {"gap": self.gap(data), "val_loss": of_images(losses, data.val.patients)}

    def validation(self, data: Dataset) -> dict[str, float]:
        """Mean validation loss and AUC after the last epoch, the same measure for every row."""
        labels, logits = data.val.labels, np.stack(self.logits("val_last"))
        loss, auc = evaluation.loss(logits, labels), evaluation.area_under_curve(logits, labels)
        return {"loss": float(loss.mean(axis=1).mean()), "auc": float(auc.mean())}


# --- what may be said of rows ---------------------------------------------------------------------

GROUPS = (*evaluation.VERDICTS, "below", "across", "above")  # in this order; sides of zero
NOTHING_EARLIER = {"auc": (), "gap": ()}
LISTED = 6  # rows that a sentence still names one by one; the table names them all


def judge(rows: list[Row], data: Dataset, earlier: dict = NOTHING_EARLIER) -> list[dict]:
    """Each row as 04_perbaikan.json holds it, compared with the first, the baseline. difference: of
    the metrics of `Row.measured`. predicts, overfits: that of the AUC and that of the gap with
    their verdicts, by Holm over the rows and `earlier`, the p-values of what was compared before.
    """
    baseline, *others = (row.measured(data) for row in rows)
    differences = [
        {name: evaluation.difference(ours[name], baseline[name]) for name in baseline}
        for ours in others
    ]
    guessing = [evaluation.guesses(row.test(data)) for row in rows[1:]]
    predicts, overfits = (
        evaluation.judge([row[name] for row in differences], name, guessing, earlier[name])
        for name in NOTHING_EARLIER
    )
    judged = [_described(row, data) for row in rows]
    judged[0] |= dict.fromkeys(("difference", "predicts", "overfits")) | {"verdict": "pembanding"}
    for row, difference, auc, gap in zip(judged[1:], differences, predicts, overfits, strict=True):
        row |= {"difference": difference, "predicts": auc, "overfits": gap}
        row["verdict"] = auc["verdict"]
    return judged


def _described(row: Row, data: Dataset) -> dict:
    """What a row is, and its metrics over the seeds; without a comparison."""
    first, labels_patients = row.trained[0], test_images(data)
    return {
        "name": row.remedy.name,
        "recommendation": row.remedy.recommendation,
        "title": row.remedy.title,
        "changed": row.changed,
        "parts": list(row.remedy.parts),
        "epoch_judged": row.remedy.which,
        "seeds": [run.seed for run in row.trained],
        "n_train": len(data.train),
        "epochs": len(first.history),
        "seconds": sum(run.info["seconds"] for run in row.trained),
        "trained_parameters": first.info["trained_parameters"],
        "gap": evaluation.estimate(row.gap(data)),
        "validation": row.validation(data),
        "test": evaluation.metrics(row.test(data), *labels_patients, row.thresholds(data)),
        "history": first.history,
    }


def ensemble(row: Row, data: Dataset) -> dict | None:
    """The mean of a row's logits over its seeds as one prediction: its metrics on the test images,
    and how its AUC differs from the mean of the single seeds. None below LEAST_SEEDS.
    """
    logits, (labels, patients) = row.test(data), test_images(data)
    if len(logits) < evaluation.LEAST_SEEDS:
        return None
    mean = [np.mean(logits, axis=0)]
    difference = evaluation.ensemble_difference(logits, labels, patients)
    return {
        "seeds": [run.seed for run in row.trained],
        "test": evaluation.metrics(mean, labels, patients),
        "difference": evaluation.judge([difference], "auc", [evaluation.guesses(mean)])[0],
    }


def summarise(rows: list[dict]) -> dict:
    """What the sentences about the rows of `judge` say. closed: the rows whose gap is smaller, by
    the side of their difference in validation loss. shown: the place of the row whose curve stands
    beside the baseline's, the combination if there is one.
    """
    names, rivals = [row["name"] for row in rows], rows[1:]
    combination = names.index("combination") if "combination" in names else None
    shown = combination or 1
    closed = [row for row in rivals if row["overfits"]["verdict"] == evaluation.BETTER]
    return {
        "n": len(rivals),
        "predicts": _grouped(rivals, lambda row: row["predicts"]["verdict"]),
        "overfits": _grouped(rivals, lambda row: row["overfits"]["verdict"]),
        "closed": _grouped(closed, lambda row: side(row["difference"]["val_loss"]["ci95"])),
        "narrow": [sum(row[name]["narrow"] for row in rivals) for name in ("predicts", "overfits")],
        "compared": [names[0], names[shown]],
        "shown": shown,
        "combination": combination,
    }


def _grouped(rows: list[dict], word_of: Callable[[dict], str]) -> list[dict]:
    """For each word how many rows have it, if any, and their titles unless too many."""
    groups = []
    for word in GROUPS:
        titles = [row["title"] for row in rows if word_of(row) == word]
        named = titles if len(titles) <= LISTED else None
        groups.append({"verdict": word, "n": len(titles), "titles": named})
    return [group for group in groups if group["n"]]


# --- training them --------------------------------------------------------------------------------


def trains_every_row(study, repeat: str = "auto") -> bool:
    """Whether every remedy is trained: the preset says so, or REPEAT=all."""
    return settings.parse_repeat(repeat) == "all" or study.preset.every_row


def planned(study, repeat: str = "auto") -> list[Remedy]:
    """What is trained before validation has chosen: every remedy, or the combination that the
    reference study's validation chose, and ALONE where REPEAT asks for it.
    """
    if trains_every_row(study, repeat):
        return list(REMEDIES)
    chosen = read_reference()["combination"]
    combination = [Remedy(**chosen)] if chosen else []
    alone = [remedy for remedy in REMEDIES if remedy.name in ALONE]
    asked = settings.parse_repeat(repeat) == "augmentation" or not combination
    return alone * asked + combination


def measure(study, n_jobs: int | str = 1, cluster: str = "", repeat: str = "auto") -> list[dict]:
    """Rows as of `judge` of the baseline and of what is `planned`, trained or read from the store;
    where that is every remedy, then also of the combination that this study's validation chooses.
    n_jobs, cluster: as of training.run_all.
    """
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    rows = [baseline(study), *_train(study, planned(study, repeat), n_jobs, cluster)]
    if trains_every_row(study, repeat):
        chosen = combine({row.remedy.name: row.validation(study.used) for row in rows})
        rows += _train(study, [chosen], n_jobs, cluster) if chosen else []
    return judge(rows, study.used)


def baseline(study) -> Row:
    """The recipe's row, of the runs of notebook 02."""
    return Row(BASELINE, [trained(run) for run in study.baseline()], {})


def _train(study, remedies: list[Remedy], n_jobs: int, cluster: str) -> list[Row]:
    """Train these rows under one bar that counts trainings and shows the time left."""
    seeds, rows = range(study.seed, study.seed + study.preset.seeds), []
    configs = [study.config(seed=seed, **remedy.changes) for remedy in remedies for seed in seeds]
    given = [(config, study.used, study.weights, study.device) for config in configs]
    with bar(len(given), f"Perbaikan ({len(remedies)} baris)", unit="pelatihan") as progress:
        fits = iter(training.run_all(given, n_jobs, cluster, progress.update))
    for remedy in remedies:
        trainings = [trained(next(fits), remedy.which) for _ in seeds]
        rows.append(Row(remedy, trainings, study.config(**remedy.changes).changed()))
    return rows


# --- the reference study that ships with the package ----------------------------------------------

REFERENCE = files.REFERENCE
TRAININGS = REFERENCE / "trainings"
BFLOAT16 = REFERENCE / "bfloat16"  # its recipe and combination in bfloat16
EXACT = ("val", "val_last", "test")  # kept in float32; the many other logits in float16


def read_reference(folder: Path = REFERENCE) -> dict:
    """What notebooks/reference/results.json holds. Raises InputError."""
    try:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"Studi multiseed di {folder} tidak ada atau rusak: "
            "ambil lagi folder itu dari repositori, atau jalankan `make reference`."
        ) from None


def load_training(path: Path) -> Trained | None:
    """What a judgement needs of a training's file; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            logits = {name: arrays[name].astype(np.float32) for name in (*EXACT, "train", "extra")}
        return Trained(about["config"]["seed"], logits, about["history"], about)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def reference_baseline(study, folder: Path = REFERENCE) -> Row | None:
    """The reference's seeds of the recipe in this precision; None of other images or start."""
    images = read_reference(folder)["provenance"]["data"].get("without_extra")
    if (images, "random") != (study.used.fingerprint, study.weights.kind):
        return None
    folder = BFLOAT16 if study.precision == "bfloat16" else folder / "trainings"
    kept = filter(None, map(load_training, folder.glob("baseline-s*.npz")))
    trainings = [run for run in kept if run.info["config"]["epochs"] == study.preset.epochs]
    trainings.sort(key=lambda run: run.seed)
    return Row(BASELINE, trainings, {}) if trainings else None


def reference_curve(study, folder: Path = REFERENCE) -> list[dict] | None:
    """The reference study's overfitting.learning_curve, where it has images and start in common."""
    same = reference_baseline(replace(study, precision="float32"), folder)
    return read_reference(folder)["learning_curve"] if same else None
