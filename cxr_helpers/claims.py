"""The ledger of claims: what the course's report said, what is measured here, and what may be
concluded from it (notebook 03).

A claimed number is tested for equivalence, within a tolerance set before anything was measured: an
interval that merely holds the number would reward imprecision. Two one-sided tests at 5%
(Schuirmann 1987) ask that the 90% interval lie within claimed ± tolerance; here the whole 95%
interval must, the one that the reader sees printed. The rule is stricter (2.5% a side), the same
for "inside" and "outside", and can be checked by eye. A number belongs to a recipe on a data set,
so it can be tested only where data, weights, recipe and size are the course's own, and only over
three seeds. The shape of a claim (falls, rises, exceeds) can be tested on any data; with fewer
seeds it is said of this very training.

The claims are worded in notebooks/text/03_analisis_overfitting.md.j2, by their `id`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import t as student

from cxr_helpers import adaptation, evaluation, overfitting
from cxr_helpers.data import DEFAULT_CLASSES, Dataset
from cxr_helpers.engine.runs import Run
from cxr_helpers.model import build

SUPPORTED, REFUTED, UNDECIDED = "didukung", "dibantah", "belum dapat diputuskan"
UNTESTABLE = "tidak dapat diuji di sini"
VERDICTS = (SUPPORTED, REFUTED, UNDECIDED, UNTESTABLE)
# Set in advance, by how finely the report writes its numbers: its losses come in steps of 0.05 (one
# step is allowed), its accuracies in steps of 5 points (half a step); the gap, "about 10 points",
# is a difference of two and gets a little more.
TOLERANCE = {"loss": 0.05, "acc": 0.025, "gap": 0.03}
RANGE = {"loss": (0, np.inf), "acc": (0, 1), "gap": (-1, 1)}
PIXELS = 28  # along a side of the course's images
# (id, kind, what the text of the course's report claims, what its own training curve shows, as read
# off its figure). A curve begins with its first epoch and ends with its last; the curve's gap is
# that of its last two accuracies.
COURSE = (
    ("train_loss_first", "loss", 0.65, 0.49),
    ("train_loss_last", "loss", 0.05, 0.05),
    ("val_loss_first", "loss", 0.65, 0.64),
    ("val_loss_last", "loss", 0.30, 0.53),
    ("train_acc_first", "acc", 0.75, 0.76),
    ("train_acc_last", "acc", 0.95, 0.98),
    ("val_acc_first", "acc", 0.80, 0.72),
    ("val_acc_last", "acc", 0.85, 0.84),
    ("gap_last", "gap", 0.10, 0.14),
)
# of validation, on the same curve
CURVE_BEST = {"loss": {"epoch": 3, "value": 0.36}, "acc": {"epoch": 4, "value": 0.855}}
# (id, what, split, since which epoch, where zero must lie from the change until the last epoch):
# the shapes of those claims. That validation loss falls "to its end" is judged from the middle
# epoch, fixed beforehand: the lowest would be chosen by the noise.
SHAPES = (
    ("train_loss_falls", "loss", "train", "first", "below"),
    ("val_loss_falls", "loss", "val", "first", "below"),
    ("val_loss_falls_to_end", "loss", "val", "middle", "below"),
    ("train_acc_rises", "acc", "train", "first", "above"),
    ("val_acc_rises", "acc", "val", "first", "above"),
)


# --- verdicts -------------------------------------------------------------------------------------


def equivalent(ci: Sequence[float], claimed: float, tolerance: float) -> str:
    """The verdict on a claimed number: SUPPORTED where the whole interval lies within claimed ±
    tolerance, REFUTED where all of it lies outside, else UNDECIDED.
    """
    low, high = ci
    if claimed - tolerance <= low and high <= claimed + tolerance:
        return SUPPORTED
    return REFUTED if high < claimed - tolerance or low > claimed + tolerance else UNDECIDED


def directed(ci: Sequence[float], claimed: str = "above", of: float = 0.0) -> str:
    """The verdict on a claimed direction, "above" or "below" the value `of`: SUPPORTED where the
    whole interval lies there, REFUTED where it lies on the other side, else UNDECIDED.
    """
    side = evaluation.side(ci, of)
    return {claimed: SUPPORTED, "across": UNDECIDED}.get(side, REFUTED)


def too_few(seeds: int) -> list[str]:
    """Why a recipe cannot be judged on so many seeds: ["one_seed"], ["two_seeds"], or nothing from
    three on.
    """
    return [("one_seed", "two_seeds")[seeds - 1]] if seeds < evaluation.FEWEST_SEEDS else []


def differences(fits: list[Run], study) -> list[str]:
    """What is not the course's own: any of "data" (or its classes), "weights", "recipe" (epochs
    too), "images", "pixels".
    """
    data, whole = study.used, study.data
    theirs = {
        "data": data.source.kind == "chestmnist"
        and set(data.classes) == set(DEFAULT_CLASSES.split(",")),
        "weights": study.weights.kind == "imagenet",
        "recipe": not fits[0].config.changed(),
        "images": all(
            len(getattr(data, split)) == len(getattr(whole, split)) for split in ("train", "val")
        ),
        "pixels": data.source.size == PIXELS,
    }
    return [name for name, same in theirs.items() if not same]


# --- what is measured -----------------------------------------------------------------------------


def over_seeds(
    measure: Callable[[list[Run]], dict], fits: list[Run], within: tuple = (-np.inf, np.inf)
) -> dict:
    """measure(fits), whose "ci95" counts images (of patients, where known), with one that counts
    the seeds too, from three on.

    The spread between seeds has Student's interval of their mean, and widens the other as an
    independent source of error (Newcombe's square-and-add), though not beyond the values `within`
    which the quantity can lie.
    """
    whole = measure(fits)
    if len(fits) < evaluation.FEWEST_SEEDS:
        return whole
    each = [measure([fit])["value"] for fit in fits]
    half = (
        student.ppf((1 + evaluation.LEVEL) / 2, len(each) - 1)
        * np.std(each, ddof=1)
        / np.sqrt(len(each))
    )
    ci = evaluation.square_and_add(whole["value"], whole["ci95"], 0.0, (-half, half))
    return whole | {"ci95": np.clip(ci, *within).tolist()}


def _gap(fits: list[Run], data: Dataset) -> dict:
    train, val = ([fit.logits[f"{split}_last"] for fit in fits] for split in ("train", "val"))
    return evaluation.accuracy_gap(
        train, data.train.labels, val, data.val.labels, data.train.patients, data.val.patients
    )


def _number(id: str, fits: list[Run], data: Dataset) -> dict:
    """{"value", "ci95"} of one number of COURSE; training numbers as recorded while training, as
    the course plotted them.
    """
    if id == "gap_last":
        return _gap(fits, data)
    split, what, when = id.split("_")
    part, logits = (
        getattr(data, split),
        [fit.logits[split][0 if when == "first" else -1] for fit in fits],
    )
    if what == "loss":
        return evaluation.mean_loss(logits, part.labels, patients=part.patients)
    return evaluation.mean_accuracy(logits, part.labels, part.patients)


def _of_image(what: str, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The loss of each image, or 1 where it is decided rightly and 0 where not; NaN where logits
    (…, N) are.
    """
    if what == "loss":
        return evaluation.loss(logits, labels)
    return np.where(np.isnan(logits), np.nan, (logits > 0) == (labels == 1))


def _change(what: str, split: str, since: int, fits: list[Run], data: Dataset) -> dict:
    """Mean change of loss or accuracy from epoch `since` (from 0) to the last, paired on the images
    that both visited.

    {"first", "last", "value", "ci95"}: value = last − first, means over the seeds.
    """
    part = getattr(data, split)
    first, last = (
        np.stack([_of_image(what, fit.logits[split][e], part.labels) for fit in fits])
        for e in (since, -1)
    )
    known = ~np.isnan(last - first).all(axis=0)
    change = np.nanmean((last - first)[:, known], axis=0)
    before = np.nanmean(np.where(np.isnan(last), np.nan, first)[:, known])
    patients = evaluation.among(part.patients, known)
    ci = evaluation.bootstrap(
        lambda rows: change[rows].mean(axis=1), part.labels[known], patients=patients
    )
    value = change.mean()
    return {
        "first": float(before),
        "last": float(before + value),
        "value": float(value),
        "ci95": list(ci),
    }


# --- the rows -------------------------------------------------------------------------------------


def numbers(fits: list[Run], data: Dataset, different: list[str]) -> list[dict]:
    """One row a claimed number: id, kind, claimed, tolerance, value, ci95, verdict, reasons.

    reasons: why there is no verdict, `different` (of `differences`: UNTESTABLE, and the measured
    number only stands beside the claimed one) or too few seeds (UNDECIDED); else empty.
    """
    rows, few = [], too_few(len(fits))
    for id, kind, claimed, _ in COURSE:
        measured = over_seeds(lambda some, id=id: _number(id, some, data), fits, RANGE[kind])
        tested = equivalent(measured["ci95"], claimed, TOLERANCE[kind])
        verdict = UNTESTABLE if different else UNDECIDED if few else tested
        row = {"id": id, "kind": kind, "claimed": claimed, "tolerance": TOLERANCE[kind], **measured}
        rows.append(row | {"verdict": verdict, "reasons": different or few})
    return rows


def shapes(fits: list[Run], data: Dataset) -> list[dict]:
    """One row a shape of SHAPES, and that training exceeds validation after the last epoch: id,
    kind, value, ci95, verdict, reasons (none), and for a change first, last and their epochs.
    """
    rows, epochs = [], len(fits[0].logits["val"])
    for id, what, split, since, side in SHAPES:
        start = 0 if since == "first" else (epochs - 1) // 2
        measured = over_seeds(lambda some, c=(what, split, start): _change(*c, some, data), fits)
        row = {
            "id": id,
            "kind": f"{what}_change",
            "from_epoch": start + 1,
            "to_epoch": epochs,
            **measured,
        }
        rows.append(row | {"verdict": directed(measured["ci95"], side), "reasons": []})
    gap = over_seeds(lambda some: _gap(some, data), fits, RANGE["gap"])
    return [
        *rows,
        {
            "id": "train_exceeds_val",
            "kind": "gap",
            **gap,
            "verdict": directed(gap["ci95"]),
            "reasons": [],
        },
    ]


def confidence(fits: list[Run], data: Dataset) -> list[dict]:
    """The two claims on confidence, from validation after the last epoch: most predictions are
    above 0.9, and some of those err.

    The errors are those of the first seed, among n_confident images of patients (how many, None
    where not known). One is enough for the claim; that none is seen on these images does not refute
    it.
    """
    labels, patients = data.val.labels, data.val.patients

    def sure(some: list[Run]) -> np.ndarray:
        return np.stack(
            [evaluation.confidence(fit.logits["val_last"]) > overfitting.CONFIDENT for fit in some]
        )

    share = over_seeds(
        lambda some: evaluation.share(sure(some).mean(axis=0), patients), fits, (0, 1)
    )
    above, wrong = sure(fits)[0], (fits[0].logits["val_last"] > 0) != (labels == 1)
    errors = {
        "n_wrong": int((wrong & above).sum()),
        "n_confident": int(above.sum()),
        "patients": evaluation.n_patients(patients, above),
        "seed": fits[0].config.seed,
        **evaluation.share(wrong[above], evaluation.among(patients, above)),
    }
    some_err = SUPPORTED if errors["n_wrong"] else UNDECIDED
    return [
        {
            "id": "mostly_confident",
            "kind": "share",
            **share,
            "verdict": directed(share["ci95"], of=0.5),
            "reasons": [],
        },
        {"id": "confident_errors", "kind": "count", **errors, "verdict": some_err, "reasons": []},
    ]


def transfer(starts: list[dict]) -> dict:
    """The row of the claim that transfer works: the course's start against a random one, from
    `adaptation.measure_starts`.

    Judged by the paired difference of test AUC (accuracy stands beside it) after the last epoch:
    neither the start nor the epoch was chosen by the test. A claim about a recipe needs three
    seeds.
    """
    course = starts[1]
    few = too_few(len(course["seeds"]))
    auc, acc = (
        {key: course["difference"][name][key] for key in ("value", "ci95")}
        for name in ("auc", "acc")
    )
    verdict = UNDECIDED if few else directed(auc["ci95"])
    return {
        "id": "transfer",
        "kind": "transfer",
        **auc,
        "acc": acc,
        "verdict": verdict,
        "reasons": few,
    }


def grey_adaptation(features: dict, majority: float) -> dict:
    """The row of the claim that the grey adaptation works: the accuracy {"value", "ci95"} of a
    logistic regression on the adapted network's untrained features beats the share of the more
    frequent class.
    """
    verdict = directed(features["ci95"], of=majority)
    row = {"id": "grey_adaptation", "kind": "features", **features, "majority": majority}
    return row | {"verdict": verdict, "reasons": []}


def on_imagenet(study) -> list[dict]:
    """The two claims on ImageNet's weights, which need them; that transfer works on medical images
    needs such images too.
    """
    data = study.used
    unlike = [] if study.weights.kind == "imagenet" else ["weights"]
    artificial = ["artificial"] if data.source.kind == "phantom" else []
    unknown = {"kind": "needs", "value": None, "ci95": None, "verdict": UNTESTABLE}
    if reasons := artificial + unlike:
        rows = [{"id": "transfer", **unknown, "reasons": reasons}]
    elif not study.preset.side_studies:
        # the random start has not been trained, and one seed of it would decide nothing
        rows = [
            {"id": "transfer", **unknown, "kind": "untrained", "verdict": UNDECIDED, "reasons": []}
        ]
    else:
        rows = [transfer(adaptation.measure_starts(study))]
    if unlike:
        return [*rows, {"id": "grey_adaptation", **unknown, "reasons": unlike}]
    features = adaptation.probe(
        build(study.weights, study.seed, data.source.size), data.train, data.val, study.seed
    )
    return [*rows, grey_adaptation(features, evaluation.majority_share(data.val.labels))]


# --- the ledger -----------------------------------------------------------------------------------


def contradictions() -> dict:
    """The course's report against itself: {"rows": [{"id", "kind", "text", "curve", "agrees"}],
    "n", "n_apart", "best"}.

    Text and curve agree where they differ by no more than the tolerance of their kind; n_apart rows
    do not. "best": the lowest validation loss and the highest validation accuracy on the curve,
    with their epochs.
    """
    rows = [
        {
            "id": id,
            "kind": kind,
            "text": text,
            "curve": curve,
            "agrees": abs(text - curve) <= TOLERANCE[kind],
        }
        for id, kind, text, curve in COURSE
    ]
    return {
        "rows": rows,
        "n": len(rows),
        "n_apart": sum(not row["agrees"] for row in rows),
        "best": CURVE_BEST,
    }


def ledger(fits: list[Run], study) -> dict:
    """What the course's report claims, row by row: {"numbers", "shapes", "different", "of_recipe",
    "course"}.

    numbers and shapes: rows with id, kind, value, ci95, verdict, reasons and what else their kind
    needs; different: why the numbers cannot be tested here (empty where they can); of_recipe:
    whether there are seeds enough to speak of the recipe, not of this training only; course: the
    report against itself.
    """
    data, different = study.used, differences(fits, study)
    return {
        "numbers": numbers(fits, data, different),
        "shapes": [*shapes(fits, data), *confidence(fits, data), *on_imagenet(study)],
        "different": different,
        "of_recipe": not too_few(len(fits)),
        "course": contradictions(),
    }


def summarise(found: dict) -> dict[str, int]:
    """How many claims the ledger holds ("n"), and how many have each verdict."""
    verdicts = [row["verdict"] for row in found["numbers"] + found["shapes"]]
    return {"n": len(verdicts)} | {verdict: verdicts.count(verdict) for verdict in VERDICTS}
