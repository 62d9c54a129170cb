"""From trainings to verdicts: what a study of several rows says of each against its baseline
(notebook 04).

A row is a change of the recipe with its trainings, one a seed, on the same images. remedies.py
trains rows and report/reference.py reads them from the reference study; both are judged here.
"""

from dataclasses import dataclass, field

import numpy as np

from cxr_helpers import comparison, evaluation
from cxr_helpers.comparison import Fitted
from cxr_helpers.data import Dataset
from cxr_helpers.engine.runs import Run

LISTED = 6  # rows that a sentence still names one by one; the table names them all
BASELINE = "pembanding"  # the verdict of the row that the others are compared with
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
        return [comparison.chosen_threshold(one.val, images.labels["val"]) for one in self.trained]

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
    found = comparison.means(row.test(), labels, patients, row.thresholds(images))
    if flipped is not None:  # the phantom knows which labels the anatomy contradicts
        truth = comparison.means(row.test(), labels ^ flipped.astype(labels.dtype), patients)
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
                "gap": comparison.mean_gap(row.fitted(images)),
                "validation": row.validation(images),
                "test": _means(row, images),
                "guesses": comparison.guesses(row.test()),
                **dict.fromkeys(("difference", *QUESTIONS)),
                "history": first.history,
            }
        )
    others = rows[1:]
    thresholds = [row.thresholds(images) for row in rows]
    apart = [
        comparison.differences(row.test(), base.test(), labels, patients, (own, thresholds[0]))
        for row, own in zip(others, thresholds[1:], strict=True)
    ]
    gaps = [comparison.gap_difference(row.fitted(images), base.fitted(images)) for row in others]
    guessing = [one["guesses"] for one in found[1:]]
    predicts = comparison.judge(
        [one["auc"] for one in apart], comparison.MARGIN["auc"], True, guessing
    )
    overfits = comparison.judge(gaps, comparison.MARGIN["gap"], False, guessing)
    for row, difference, auc, gap in zip(found[1:], apart, predicts, overfits, strict=True):
        row["difference"] = {name: one.as_dict() for name, one in difference.items()}
        row |= {"predicts": auc, "overfits": gap, "verdict": auc["verdict"]}
    found[0]["verdict"] = BASELINE
    return found


def ensemble(row: Row, images: Images) -> dict | None:
    """The mean of a row's logits over its seeds as one prediction, against the mean of its single
    seeds; None below LEAST_SEEDS.

    seeds, test: {metric: {"value", "ci95"}} of the ensemble, and "difference" of its AUC as
    comparison.Difference with its verdict. What other seeds would have given is estimated by
    leaving out each seed in turn (jackknife: Efron & Tibshirani 1993, ch. 11).
    """
    logits = row.test()
    if len(logits) < comparison.LEAST_SEEDS:
        return None
    labels, patients, _ = images.judging()
    mean = np.mean(logits, axis=0)
    difference = comparison.ensemble_difference(logits, labels, patients)
    return {
        "seeds": [one.seed for one in row.trained],
        "test": comparison.means([mean], labels, patients),
        "difference": comparison.judge(
            [difference], comparison.MARGIN["auc"], guessing=[comparison.guesses([mean])]
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
            name: comparison.means([np.mean(test, axis=0)], labels, patients)[name]
            for name in ("auc", "acc")
        },
        "single": {name: comparison.means(test, labels, patients)[name] for name in ("auc", "acc")},
    }


def detectable(row: Row, images: Images) -> list[dict] | None:
    """How large a true difference in AUC between two recipes must be to be seen in four of five
    studies like this one.

    One dict a number of seeds a recipe (CHANCE) and set of test images (the test split alone, then
    all): seeds, images, patients (None where not known), difference. From the spread of this row's
    seeds (None below LEAST_SEEDS); the interval is that of `comparison`, without Holm's correction.
    """
    if len(row.trained) < comparison.LEAST_SEEDS:
        return None
    found = []
    sets = [([one.test for one in row.trained], images.labels["test"], images.patients["test"])]
    if row.trained[0].extra is not None:
        sets.append((row.test(), *images.judging()[:2]))
    for logits, labels, patients in sets:
        for seeds in CHANCE:
            difference = comparison.detectable(logits, labels, patients, seeds)
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
            for verdict in comparison.VERDICTS
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
        i for i, row in enumerate(rows) if i and row["overfits"]["verdict"] == comparison.BETTER
    ]
    shown = place.get("combination", (calmer or [1])[0])
    return found | {
        "compared": [rows[0]["name"], rows[shown]["name"]],
        "shown": shown,
        "smaller": [i for i, row in enumerate(rows) if row["fewer_parameters"]],
        "combination": place.get("combination"),
        "seeds": [min(len(row["seeds"]) for row in rows), max(len(row["seeds"]) for row in rows)],
    }
