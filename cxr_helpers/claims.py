"""The ledger of claims: what the course's report said, what is measured here, and what may be
concluded from it (notebook 03).

A claimed number is tested for equivalence, within a tolerance set before anything was measured: an
interval that merely holds the number would reward imprecision. Two one-sided tests at 5%
(Schuirmann 1987) ask that the 90% interval lie within claimed ± tolerance; here the whole 95%
interval must, the one that the reader sees printed. A number belongs to a recipe on a data set: it
can be tested only where data, weights, recipe and size are the course's own, over three seeds. The
shape of a claim (falls, rises, exceeds) can be tested on any data; with fewer seeds it is said of
this very training. The words stand in notebooks/text/03_analisis_overfitting.md.j2, by `id`.
"""

from collections.abc import Sequence

import numpy as np

from cxr_helpers import adaptation, evaluation, overfitting
from cxr_helpers.data import DEFAULT_CLASSES, Dataset
from cxr_helpers.engine.runs import Run
from cxr_helpers.evaluation import estimate, of_images
from cxr_helpers.model import build

SUPPORTED, REFUTED, UNDECIDED = "didukung", "dibantah", "belum dapat diputuskan"
UNTESTABLE = "tidak dapat diuji di sini"
VERDICTS = (SUPPORTED, REFUTED, UNDECIDED, UNTESTABLE)
# Set in advance, by how finely the report writes its numbers: its losses come in steps of 0.05 (one
# step is allowed), its accuracies in steps of 5 points (half a step); the gap, "about 10 points",
# is a difference of two and gets a little more.
TOLERANCE = {"loss": 0.05, "acc": 0.025, "gap": 0.03}
UNKNOWN = {"value": None, "ci95": None}  # where nothing can be measured
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


def equivalent(ci: Sequence[float], claimed: float, tolerance: float) -> str:
    """Whether the whole interval lies within claimed ± tolerance, or outside."""
    (low, high), least, most = ci, claimed - tolerance, claimed + tolerance
    if least <= low and high <= most:
        return SUPPORTED
    return REFUTED if high < least or low > most else UNDECIDED


def directed(ci: Sequence[float], claimed: str = "above", of: float = 0.0) -> str:
    """Whether the whole interval lies on the claimed side of the value `of`, or on the other."""
    side = evaluation.side(ci, of)
    return {claimed: SUPPORTED, "across": UNDECIDED}.get(side, REFUTED)


def too_few(seeds: int) -> list[str]:
    """Why a recipe cannot be judged on so many seeds; empty from three on."""
    return [("one_seed", "two_seeds")[seeds - 1]] if seeds < evaluation.LEAST_SEEDS else []


def differences(fits: list[Run], study) -> list[str]:
    """What is not the course's own: any of "data", "weights", "recipe", "images", "pixels"."""
    data, whole = study.used, study.data
    sizes = [(len(part.train), len(part.val)) for part in (data, whole)]
    classes = set(data.classes) == set(DEFAULT_CLASSES.split(","))
    theirs = {
        "data": data.source.kind == "chestmnist" and classes,
        "weights": study.weights.kind == "imagenet",
        "recipe": not fits[0].config.changed(),
        "images": sizes[0] == sizes[1],
        "pixels": data.source.size == PIXELS,
    }
    return [name for name, same in theirs.items() if not same]


def _row(id: str, kind: str, measured: dict, verdict: str, reasons: Sequence = (), **more) -> dict:
    """A row of the ledger; reasons: why there is no verdict."""
    return {"id": id, "kind": kind, **measured, "verdict": verdict, "reasons": [*reasons], **more}


def _number(id: str, fits: list[Run], data: Dataset) -> dict:
    """What is measured of a number of COURSE; training numbers as recorded while training."""
    if id == "gap_last":
        gap = overfitting.gap(fits, data)
        return {name: gap[name] for name in ("value", "ci95")}
    split, what, when = id.split("_")
    logits = [fit.logits[split][0 if when == "first" else -1] for fit in fits]
    if what == "loss":
        return estimate(overfitting.loss(logits, getattr(data, split)))
    return estimate(overfitting.accuracy(logits, getattr(data, split)), "share")


def numbers(fits: list[Run], data: Dataset, different: list[str]) -> list[dict]:
    """A row a number of COURSE: it shows what was measured even where it cannot be tested."""
    rows, few = [], too_few(len(fits))
    for id, kind, claimed, _ in COURSE:
        measured, tolerance = _number(id, fits, data), TOLERANCE[kind]
        verdict = equivalent(measured["ci95"], claimed, tolerance)
        if different or few:
            verdict = UNTESTABLE if different else UNDECIDED
        claim = {"claimed": claimed, "tolerance": tolerance}
        rows.append(_row(id, kind, measured, verdict, different or few, **claim))
    return rows


def shapes(fits: list[Run], data: Dataset) -> list[dict]:
    """A row a shape of SHAPES, its change on the same images, and that training exceeds validation
    after the last epoch.
    """
    rows, epochs = [], len(fits[0].logits["val"])
    for id, what, split, since, claimed in SHAPES:
        part, start = getattr(data, split), 0 if since == "first" else (epochs - 1) // 2
        of_image = evaluation.loss if what == "loss" else evaluation.right
        logits = np.stack([fit.logits[split] for fit in fits])
        first, last = (of_image(logits[:, epoch], part.labels) for epoch in (start, -1))
        if what == "loss":
            change = estimate(of_images(last - first, part.patients))
        else:
            change = evaluation.change(last - first, part.patients)
        change |= {"first": float(np.nanmean(first)), "last": float(np.nanmean(last))}
        change |= {"from_epoch": start + 1, "to_epoch": epochs}
        rows.append(_row(id, f"{what}_change", change, directed(change["ci95"], claimed)))
    gap = _number("gap_last", fits, data)
    return [*rows, _row("train_exceeds_val", "gap", gap, directed(gap["ci95"]))]


def confidence(fits: list[Run], data: Dataset) -> list[dict]:
    """The two claims on validation after the last epoch: most predictions are above 0.9, and some
    of those (of the first seed) err; that none is seen on these images does not refute it.
    """
    labels, patients = data.val.labels, data.val.patients
    logits = np.stack([fit.logits["val_last"] for fit in fits])
    sure = evaluation.confidence(logits) > overfitting.CONFIDENT
    share = estimate(of_images(sure, patients), "share")
    wrong = (logits[0] > 0) != (labels == 1)
    errors = {
        "n_wrong": int((wrong & sure[0]).sum()),
        "n_confident": int(sure[0].sum()),
        "patients": evaluation.n_patients(patients, sure[0]),
        "seed": fits[0].config.seed,
    }
    some_err = SUPPORTED if errors["n_wrong"] else UNDECIDED
    return [
        _row("mostly_confident", "share", share, directed(share["ci95"], of=0.5)),
        _row("confident_errors", "count", errors, some_err),
    ]


def transfer(study) -> dict:
    """The claim that transfer works on medical images: the course's start against a random one, by
    test AUC after the last epoch (accuracy stands beside it); neither was chosen by the test.
    """
    artificial = ["artificial"] if study.used.source.kind == "phantom" else []
    unlike = [] if study.weights.kind == "imagenet" else ["weights"]
    if artificial or unlike:
        return _row("transfer", "needs", UNKNOWN, UNTESTABLE, artificial + unlike)
    if not study.preset.side_studies:
        # the random start has not been trained, and one seed of it would decide nothing
        return _row("transfer", "untrained", UNKNOWN, UNDECIDED)
    course = adaptation.measure_starts(study)[1]
    auc, acc = (course["difference"][name] for name in ("auc", "acc"))
    few = too_few(len(course["seeds"]))
    verdict = UNDECIDED if few else directed(auc["ci95"])
    return _row("transfer", "transfer", auc, verdict, few, acc=acc)


def grey_adaptation(study) -> dict:
    """The claim that the grey adaptation works: a logistic regression on untrained features of the
    adapted network is more accurate than guessing.
    """
    if study.weights.kind != "imagenet":
        return _row("grey_adaptation", "needs", UNKNOWN, UNTESTABLE, ["weights"])
    data, majority = study.used, evaluation.majority_share(study.used.val.labels)
    network = build(study.weights, study.seed, data.source.size)
    features = adaptation.probe(network, data.train, data.val, study.seed)
    verdict = directed(features["ci95"], of=majority)
    return _row("grey_adaptation", "features", features, verdict, majority=majority)


def contradictions() -> dict:
    """The course's report against itself: text and curve agree where they differ by no more than
    the tolerance of their kind; "best": of the curve's validation.
    """
    rows = []
    for id, kind, text, curve in COURSE:
        agrees = abs(text - curve) <= TOLERANCE[kind]
        rows.append({"id": id, "kind": kind, "text": text, "curve": curve, "agrees": agrees})
    apart = [row for row in rows if not row["agrees"]]
    return {"rows": rows, "n": len(rows), "n_apart": len(apart), "best": CURVE_BEST}


def ledger(fits: list[Run], study) -> dict:
    """What the course's report claims, row by row; of_recipe: whether there are seeds enough to
    speak of the recipe, not of this training only.
    """
    data, different, grey = study.used, differences(fits, study), grey_adaptation(study)
    return {
        "numbers": numbers(fits, data, different),
        "shapes": [*shapes(fits, data), *confidence(fits, data), transfer(study), grey],
        "different": different,
        "of_recipe": not too_few(len(fits)),
        "course": contradictions(),
    }


def summarise(found: dict) -> dict[str, int]:
    """How many claims the ledger holds ("n"), and how many have each verdict."""
    verdicts = [row["verdict"] for row in found["numbers"] + found["shapes"]]
    return {"n": len(verdicts)} | {verdict: verdicts.count(verdict) for verdict in VERDICTS}
