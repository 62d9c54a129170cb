"""The ledger of claims: what the course's report said, what is measured here, and what may be
concluded from it (notebook 03). A claimed number is tested for equivalence (Schuirmann 1987) within
a tolerance set before anything was measured: an interval that merely holds it would reward
imprecision. It can be tested only where data, weights, recipe and size are the course's own, over
three seeds; the shape of a claim (falls, rises, exceeds) on any data.
"""

from collections.abc import Sequence

import numpy as np

from cxr_helpers import adaptation, evaluation, overfitting
from cxr_helpers.data import DEFAULT_CLASSES, Dataset
from cxr_helpers.engine.runs import Run
from cxr_helpers.evaluation import Measured, estimate, minus, of_images, prediction
from cxr_helpers.model import build

SUPPORTED, REFUTED, UNDECIDED = "didukung", "dibantah", "belum dapat diputuskan"
COARSE, UNTESTABLE = "ketelitian data tidak cukup", "tidak dapat diuji di sini"
VERDICTS = (SUPPORTED, REFUTED, UNDECIDED, COARSE, UNTESTABLE)
# By how finely the report writes its numbers: a step of its losses, half a step of its accuracies;
# the gap, "about 10 points", is a difference of two and gets a little more.
TOLERANCE = {"loss": 0.05, "acc": 0.025, "gap": 0.03}
UNKNOWN = {"value": None, "ci95": None}  # where nothing can be measured
PIXELS = 28  # along a side of the course's images
# (id, kind, what the text of the course's report claims, what its own training curve shows, as read
# off its figure); the curve's gap is that of its last two accuracies, its best of validation.
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
CURVE_BEST = {"loss": {"epoch": 3, "value": 0.36}, "acc": {"epoch": 4, "value": 0.855}}
# (id, what, split, since which epoch, the side of zero of the change until the last epoch). That
# validation loss falls "to its end" is judged from the middle: noise would choose the lowest epoch.
SHAPES = (
    ("train_loss_falls", "loss", "train", "first", "below"),
    ("val_loss_falls", "loss", "val", "first", "below"),
    ("val_loss_falls_to_end", "loss", "val", "middle", "below"),
    ("train_acc_rises", "acc", "train", "first", "above"),
    ("val_acc_rises", "acc", "val", "first", "above"),
)


def equivalent(ci: Sequence[float], claimed: float, tolerance: float, images: float = 0.0) -> str:
    """Where the interval lies from claimed ± tolerance; images: half of what images alone leave."""
    (low, high), least, most = ci, claimed - tolerance, claimed + tolerance
    if high < least or low > most:
        return REFUTED
    if images > tolerance:  # whatever the number of seeds
        return COARSE
    return SUPPORTED if least <= low and high <= most else UNDECIDED


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
    classes = set(data.classes) == set(DEFAULT_CLASSES.split(","))
    theirs = {
        "data": data.source.kind == "chestmnist" and classes,
        "weights": study.weights.kind == "imagenet",
        "recipe": not fits[0].config.changed(),
        "images": all(len(data.splits[n]) == len(whole.splits[n]) for n in ("train", "val")),
        "pixels": data.source.size == PIXELS,
    }
    return [name for name, same in theirs.items() if not same]


def _row(id: str, kind: str, measured: dict, verdict: str, reasons: Sequence = ()) -> dict:
    """A row of the ledger; reasons: why there is no verdict."""
    return {"id": id, "kind": kind, **measured, "verdict": verdict, "reasons": [*reasons]}


def _number(id: str, fits: list[Run], data: Dataset) -> Measured:
    """What is measured of a number of COURSE; training numbers as recorded while training."""
    if id == "gap_last":
        return minus(*overfitting.accuracies(fits, data))
    split, what, when = id.split("_")
    measure = overfitting.loss if what == "loss" else overfitting.accuracy
    epoch = 0 if when == "first" else -1
    return measure([fit.logits[split][epoch] for fit in fits], getattr(data, split))


def numbers(fits: list[Run], data: Dataset, different: list[str]) -> list[dict]:
    """A row a number of COURSE, each of one training, measured even where it cannot be tested."""
    rows = []
    for id, kind, claimed, _ in COURSE:
        recipe, tolerance = _number(id, fits, data), TOLERANCE[kind]
        measured = prediction(recipe, "share" if kind == "acc" else "plain")
        images = evaluation.NORMAL * np.sqrt(recipe.image_variance())
        verdict = equivalent(measured["ci95"], claimed, tolerance, images)
        reasons = different or ([] if verdict == COARSE else too_few(len(fits)))
        if reasons:
            verdict = UNTESTABLE if different else UNDECIDED
        measured |= {"claimed": claimed, "tolerance": tolerance}
        rows.append(_row(id, kind, measured, verdict, reasons))
    return rows


def shapes(fits: list[Run], data: Dataset) -> list[dict]:
    """A row a shape of SHAPES, by its change on the same images, and one of the gap."""
    rows, epochs = [], len(fits[0].logits["val"])
    for id, what, split, since, claimed in SHAPES:
        part, start = getattr(data, split), 0 if since == "first" else (epochs - 1) // 2
        of_image = evaluation.loss if what == "loss" else evaluation.right
        logits = np.stack([fit.logits[split] for fit in fits])
        first, last = (of_image(logits[:, epoch], part.labels) for epoch in (start, -1))
        change = estimate(of_images(last - first, part.patients))
        if what == "acc":
            change = evaluation.change(last - first, part.patients)
        change |= {"from_epoch": start + 1, "to_epoch": epochs}
        rows.append(_row(id, f"{what}_change", change, directed(change["ci95"], claimed)))
    gap = estimate(_number("gap_last", fits, data))
    return [*rows, _row("train_exceeds_val", "gap", gap, directed(gap["ci95"]))]


def confidence(fits: list[Run], data: Dataset) -> list[dict]:
    """The two claims on validation after the last epoch: most predictions are above 0.9, and some
    of those (of the first seed) err; that none is seen on these images does not refute it.
    """
    logits = np.stack([fit.logits["val_last"] for fit in fits])
    sure = evaluation.confidence(logits) > overfitting.CONFIDENT
    share = estimate(of_images(sure, data.val.patients), "share")
    wrong = sure[0] & ((logits[0] > 0) != (data.val.labels == 1))
    errors = {"n_wrong": int(wrong.sum()), "n_confident": int(sure[0].sum())}
    some_err = SUPPORTED if errors["n_wrong"] else UNDECIDED
    return [
        _row("mostly_confident", "share", share, directed(share["ci95"], of=0.5)),
        _row("confident_errors", "count", errors, some_err),
    ]


def transfer(study) -> dict:
    """The claim that transfer works: the course's start against a random one, by test AUC."""
    unlike = ["artificial"] if study.used.source.kind == "phantom" else []
    unlike += [] if study.weights.kind == "imagenet" else ["weights"]
    if unlike:
        return _row("transfer", "needs", UNKNOWN, UNTESTABLE, unlike)
    if not study.preset.side_studies:
        return _row("transfer", "untrained", UNKNOWN, UNDECIDED, ["untrained"])
    course = adaptation.measure_starts(study)[1]
    auc, few = course["difference"]["auc"], too_few(len(course["seeds"]))
    verdict = UNDECIDED if few else directed(auc["ci95"])
    return _row("transfer", "transfer", auc, verdict, few)


def grey_adaptation(study) -> dict:
    """The claim that the grey adaptation works: a logistic regression on the adapted network's
    untrained features is right on more of the same images than guessing.
    """
    if study.weights.kind != "imagenet":
        return _row("grey_adaptation", "needs", UNKNOWN, UNTESTABLE, ["weights"])
    data, labels = study.used, study.used.val.labels
    network = build(study.weights, study.seed, data.source.size)
    logits = adaptation.probe_logits(network, data.train, data.val, study.seed)
    right, guess = evaluation.right([logits], labels), labels == (labels.mean() > 0.5)
    change = evaluation.change(right - guess, data.val.patients)
    return _row("grey_adaptation", "features", change, directed(change["ci95"]))


def contradictions() -> dict:
    """The course's report against itself: do text and curve agree within the tolerance?"""
    rows = [dict(zip(("id", "kind", "text", "curve"), row, strict=True)) for row in COURSE]
    for row in rows:
        row["agrees"] = abs(row["text"] - row["curve"]) <= TOLERANCE[row["kind"]]
    return {"rows": rows, "n_apart": sum(not row["agrees"] for row in rows), "best": CURVE_BEST}


def ledger(fits: list[Run], study) -> dict:
    """What the course's report claims, row by row."""
    data, different, grey = study.used, differences(fits, study), grey_adaptation(study)
    return {
        "numbers": numbers(fits, data, different),
        "shapes": [*shapes(fits, data), *confidence(fits, data), transfer(study), grey],
        "different": different,
        "of_recipe": not too_few(len(fits)),
        "course": contradictions(),
    }


def summarise(found: dict) -> dict[str, int]:
    """How many claims the ledger holds, how many were tested, and how many have each verdict."""
    rows = found["numbers"] + found["shapes"]
    verdicts, tested = [row["verdict"] for row in rows], sum(not row["reasons"] for row in rows)
    counts = {verdict: verdicts.count(verdict) for verdict in VERDICTS}
    return {"n": len(rows), "tested": tested} | counts
