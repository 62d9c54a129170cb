"""What overfitting is, how large, and how sure: the measurements of notebook 03, from stored runs and the phantom's ground truth.

Everything reads what a run recorded; only `learning_curve` trains, through the run store. Memorisation of flipped labels: Arpit
et al. 2017; temperature scaling: Guo et al. 2017; shortcuts and subgroups: Oakden-Rayner et al. 2020 (hidden stratification).
Where a network looks stands in attribution.py.
"""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import expit

from cxr_helpers import data as datasets
from cxr_helpers import evaluation
from cxr_helpers.data import Dataset, Split
from cxr_helpers.engine import runs
from cxr_helpers.engine.runs import Run
from cxr_helpers.study import Study

CONFIDENT = 0.9  # the course's report calls a prediction above it confident
PARTS = (1 / 8, 1 / 4, 1 / 2)  # of the training images, for the learning curve
SHOWN = 10  # images in a gallery
BORDERLINE = (0.47, 0.53)  # cardiothoracic ratios near the threshold of 0.50
SMALL = 0.10  # of the hemithorax's area: a small pneumothorax


# --- the gap --------------------------------------------------------------------------------------------------------


def by_epoch(fits: list[Run], data: Dataset) -> list[dict]:
    """One dict an epoch: epoch, train_loss, val_loss, train_acc, val_acc, loss_gap, gap, each but the first {"value", "ci95"}
    over the seeds.
    """
    rows = []
    for i in range(min(len(fit.history) for fit in fits)):
        row = {"epoch": i + 1}
        train, val = ([fit.logits[split][i] for fit in fits] for split in ("train", "val"))
        for split, logits, part in (("train", train, data.train), ("val", val, data.val)):
            row[f"{split}_loss"] = evaluation.mean_loss(logits, part.labels, patients=part.patients)
            row[f"{split}_acc"] = evaluation.mean_accuracy(logits, part.labels, part.patients)
        a, b = row["val_loss"], row["train_loss"]
        ci = evaluation.square_and_add(a["value"], a["ci95"], b["value"], b["ci95"], sign=-1)
        row["loss_gap"] = {"value": a["value"] - b["value"], "ci95": list(ci)}
        row["gap"] = _accuracy_gap(train, val, data)
        rows.append(row)
    return rows


def _accuracy_gap(train: list[np.ndarray], val: list[np.ndarray], data: Dataset) -> dict:
    a, b = data.train, data.val
    return evaluation.accuracy_gap(train, a.labels, val, b.labels, a.patients, b.patients)


def final_gap(epochs: list[dict]) -> dict:
    """The gap of the last of `by_epoch`'s rows, and on which "side" of zero its interval lies: overfitting is certain "above"
    it.
    """
    gap = epochs[-1]["gap"]
    return {**gap, "side": evaluation.side(gap["ci95"])}


def turn(fits: list[Run], data: Dataset) -> dict:
    """Where validation loss turns: epoch of its lowest mean over the seeds, epochs of each seed, and how much it rises until
    the end.

    turned: whether the lowest came before the last epoch; rise: {"value", "ci95"}, the mean loss of the last epoch minus that of
    the lowest, paired by image; rises: whether its whole interval is above zero.
    """
    epochs = min(len(fit.history) for fit in fits)
    loss = np.mean([[evaluation.loss(fit.logits["val"][i], data.val.labels) for i in range(epochs)] for fit in fits], axis=0)
    lowest = int(loss.mean(1).argmin())
    rise = loss[-1] - loss[lowest]
    ci = evaluation.bootstrap(lambda rows: rise[rows].mean(1), data.val.labels, patients=data.val.patients)
    return {
        "epoch": lowest + 1,
        "epochs": epochs,
        "each_seed": [int(fit.history["val_loss"].argmin()) + 1 for fit in fits],
        "turned": lowest + 1 < epochs,
        "rise": {"value": rise.mean(), "ci95": list(ci)},
        "rises": evaluation.side(ci) == "above",
    }


def selection(fits: list[Run], data: Dataset) -> list[dict]:
    """What choosing the epoch by validation loss, by validation AUC, or not at all (last) does to the test result.

    One dict a rule: rule ("last", "loss", "auc"), epochs (one a seed), acc and auc {"value", "ci95"}, difference of both from
    "last" (paired on the same test images; None for "last"), differs (whether the interval of the accuracy's difference leaves
    out zero).
    """
    val, test, patients = data.val.labels, data.test.labels, data.test.patients

    def chosen(fit: Run, rule: str) -> int:
        if rule == "last":
            return len(fit.history) - 1
        logits = fit.logits["val"]
        if rule == "loss":
            return int(fit.history["val_loss"].argmin())
        return int(np.argmax(evaluation.area_under_curve(logits, np.broadcast_to(val, logits.shape))))

    found, last = [], None
    for rule in ("last", "loss", "auc"):
        epochs = [chosen(fit, rule) for fit in fits]
        logits = [fit.open_test()["epochs"][epoch] for fit, epoch in zip(fits, epochs, strict=True)]
        whole = evaluation.mean_over_seeds(logits, test, patients=patients)
        difference = evaluation.paired_difference(logits, last, test, patients=patients) if last else None
        last = last or logits
        found.append(
            {
                "rule": rule,
                "epochs": [epoch + 1 for epoch in epochs],
                **{name: whole[name] for name in ("acc", "auc")},
                "difference": difference and {name: difference[name] for name in ("acc", "auc")},
                "differs": bool(difference) and evaluation.side(difference["acc"]["ci95"]) != "across",
            }
        )
    return found


def learning_curve(study: Study, fits: list[Run]) -> list[dict]:
    """The course's recipe on ever more training images, over the same seeds; the last point is `fits`, the whole training split.

    One dict a size: n, patients (None where not known), train_acc, val_acc, gap, the last three {"value", "ci95"} after the last
    epoch. A smaller split is a stratified part of the whole; validation images are the same everywhere.
    """
    whole, points = study.baseline_data, []
    short_test = study.remedy_data.test  # not read here: as few as a run may hold
    for part in PARTS:
        n = round(part * len(whole.train))
        if n < 4:
            continue
        data = datasets.with_splits(whole, train=datasets.subset(whole.train, n, study.seed), test=short_test)
        part_fits = [
            runs.get(study.config(seed=fit.config.seed), data, study.weights, study.device, keep_weights=False) for fit in fits
        ]
        points.append((data, part_fits))
    points.append((whole, fits))
    rows = []
    for data, each in points:
        train, val = ([fit.logits[f"{split}_last"] for fit in each] for split in ("train", "val"))
        rows.append(
            {
                "n": len(data.train),
                "patients": data.train.n_patients,
                "train_acc": evaluation.mean_accuracy(train, data.train.labels, data.train.patients),
                "val_acc": evaluation.mean_accuracy(val, data.val.labels, data.val.patients),
                "gap": _accuracy_gap(train, val, data),
            }
        )
    return rows


def more_data_helps(points: list[dict]) -> bool:
    """Whether validation accuracy with the most training images lies above that with the fewest, both intervals apart."""
    return points[-1]["val_acc"]["ci95"][0] > points[0]["val_acc"]["ci95"][1]


def memorisation(fits: list[Run], train: Split) -> dict | None:
    """How fast correct and flipped labels are fitted; None where the truth behind the labels is not known.

    {"n_correct", "n_flipped", "by_epoch": [{"epoch", "correct", "flipped": {"value", "ci95"}}]}: shares of training images whose
    prediction, as recorded while training, agrees with the label as written. "follows": whether the share of flipped labels rose
    from the first epoch to the last, both intervals apart.
    """
    if train.truth is None or not train.truth["flipped"].any():
        return None
    flipped = train.truth["flipped"].astype(bool)
    rows = []
    for i in range(min(len(fit.history) for fit in fits)):
        logits = [fit.logits["train"][i] for fit in fits]
        share = {
            name: evaluation.mean_accuracy([one[which] for one in logits], train.labels[which])
            for name, which in (("correct", ~flipped), ("flipped", flipped))
        }
        rows.append({"epoch": i + 1, **share})
    return {
        "n_correct": int((~flipped).sum()),
        "n_flipped": int(flipped.sum()),
        "by_epoch": rows,
        "follows": rows[-1]["flipped"]["ci95"][0] > rows[0]["flipped"]["ci95"][1],
    }


# --- confidence -----------------------------------------------------------------------------------------------------


def confidence(logits: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """Probability of the predicted class of right and wrong predictions, the share above 0.9, the errors among those, and the
    ECE.

    logits, labels, patients (where known): (N,).
    """
    sure, right = evaluation.confidence(logits), (logits > 0) == (labels == 1)
    above = sure > CONFIDENT
    return {
        "n": len(labels),
        "right": sure[right],
        "wrong": sure[~right],
        "above_90": evaluation.share(above, patients),
        "n_above_90": int(above.sum()),
        "confident_errors": int((above & ~right).sum()),
        "confident_error_share": evaluation.share(~right[above], evaluation.among(patients, above)),
        "ece": evaluation.metrics(logits, labels, patients=patients)["ece"],
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 by which logits (N,) are divided so that their mean cross-entropy is lowest (Guo et al. 2017, sec. 4.2)."""
    found = minimize_scalar(
        lambda log_t: evaluation.loss(logits / np.exp(log_t), labels).mean(), bounds=(-3, 5), method="bounded"
    )
    return float(np.exp(found.x))


def temperature(
    val: np.ndarray, val_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, test_patients: np.ndarray | None = None
) -> dict:
    """Temperature scaling: fitted on validation logits, judged on test logits (N,) of test_patients (N,), where known.

    {"temperature", "before", "after", "difference"}: ece and loss {"value", "ci95"}; the difference after − before is paired.
    "softens": whether the temperature is above 1; "side": of zero, on which the interval of the ECE's difference lies;
    "reliability_before" and "reliability_after": the diagrams on the test split. The decisions, and so the accuracy, do not
    change.
    """
    t = fit_temperature(val, val_labels)
    rows = evaluation.resample(test_labels, patients=test_patients)
    drawn = test_labels[rows]

    def judged(logits: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
        return {"ece": evaluation.expected_calibration_error(expit(logits), y), "loss": evaluation.loss(logits, y).mean(-1)}

    points = {name: judged(logits, test_labels) for name, logits in (("before", test), ("after", test / t))}
    samples = {name: judged(logits[rows], drawn) for name, logits in (("before", test), ("after", test / t))}
    for store in (points, samples):
        store["difference"] = {name: store["after"][name] - store["before"][name] for name in ("ece", "loss")}
    body = {
        which: {
            name: {"value": float(points[which][name]), "ci95": list(evaluation.percentile(samples[which][name]))}
            for name in ("ece", "loss")
        }
        for which in ("before", "after", "difference")
    }
    return {
        "temperature": t,
        "softens": t > 1,
        "side": evaluation.side(body["difference"]["ece"]["ci95"]),
        **body,
        "reliability_before": evaluation.reliability(test, test_labels, test_patients).to_dict("records"),
        "reliability_after": evaluation.reliability(test / t, test_labels, test_patients).to_dict("records"),
    }


def _remark(truth: dict[str, np.ndarray] | None, row: int) -> str:
    """What the ground truth says about one image, in Indonesian; "" where nothing is known."""
    if truth is None:
        return ""
    notes = []
    if truth["flipped"][row]:
        notes.append("label terbalik")
    if 0 < truth["size"][row] < SMALL:
        notes.append("pneumotoraks kecil")
    if BORDERLINE[0] <= truth["ctr"][row] <= BORDERLINE[1]:
        notes.append("rasio di ambang")
    return ",\n".join(notes) or "label benar"


def confident_errors(logits: np.ndarray, split: Split) -> dict:
    """The wrong predictions of highest confidence: images, labels, predicted, probability (of class 1) and remarks.

    "n" and "n_flipped" count all above 0.9; n_flipped is None where the truth is not known.
    """
    sure, wrong = evaluation.confidence(logits), (logits > 0) != (split.labels == 1)
    rows = np.flatnonzero(wrong)[np.argsort(-sure[wrong], kind="stable")][:SHOWN]
    confident = wrong & (sure > CONFIDENT)
    return {
        "n": int(confident.sum()),
        "n_flipped": None if split.truth is None else int((confident & split.truth["flipped"].astype(bool)).sum()),
        "images": split.images[rows],
        "labels": split.labels[rows],
        "predicted": (logits[rows] > 0).astype(int),
        "probability": expit(logits[rows]),
        "remarks": [_remark(split.truth, row) for row in rows],
    }


# --- who it fails ---------------------------------------------------------------------------------------------------


def tube_effect(fits: list[Run], data: Dataset) -> list[dict] | None:
    """Is the tube a shortcut? For each anatomy (without, with pneumothorax): how much more often images with a tube are given
    class 1.

    Test images, chosen epoch. Rows: pneumothorax, n_with, n_without, with and without (shares, {"value", "ci95"}), difference
    (Newcombe), side (of zero, on which its interval lies); groups with fewer than 3 images are left out. None where the truth is
    not known.
    """
    if data.test.truth is None:
        return None
    positive, test = np.ones(len(data.test), np.uint8), [fit.open_test()["best"] for fit in fits]
    tube, air = data.test.truth["tube"].astype(bool), data.test.truth["side"] > 0
    rows = []
    for sick in (False, True):
        groups = [(air == sick) & tube, (air == sick) & ~tube]
        if min(group.sum() for group in groups) < 3:
            continue
        shares = [evaluation.mean_accuracy([one[g] for one in test], positive[g]) for g in groups]
        (a, a_ci), (b, b_ci) = ((s["value"], s["ci95"]) for s in shares)
        ci = evaluation.square_and_add(a, a_ci, b, b_ci, sign=-1)
        rows.append(
            {
                "pneumothorax": sick,
                "n_with": int(groups[0].sum()),
                "n_without": int(groups[1].sum()),
                "with": shares[0],
                "without": shares[1],
                "difference": {"value": a - b, "ci95": list(ci)},
                "side": evaluation.side(ci),
            }
        )
    return rows


def _groups(truth: dict[str, np.ndarray]) -> list[tuple[str, str, np.ndarray]]:
    """(what divides, group, mask (N,)) of the subgroups."""
    ctr, size, side = truth["ctr"], truth["size"], truth["side"]
    air, tube, exposure = side > 0, truth["tube"].astype(bool), truth["exposure"]
    return [
        ("Rasio kardiotoraks", "di bawah 0,47", ctr < BORDERLINE[0]),
        ("Rasio kardiotoraks", "0,47 sampai 0,53", (ctr >= BORDERLINE[0]) & (ctr <= BORDERLINE[1])),
        ("Rasio kardiotoraks", "di atas 0,53", ctr > BORDERLINE[1]),
        ("Luas pneumotoraks", "di bawah 10% hemitoraks", air & (size < SMALL)),
        ("Luas pneumotoraks", "10 sampai 25%", air & (size >= SMALL) & (size <= 0.25)),
        ("Luas pneumotoraks", "di atas 25%", air & (size > 0.25)),
        ("Sisi pneumotoraks", "kiri pasien", side == 1),
        ("Sisi pneumotoraks", "kanan pasien", side == 2),
        ("Selang dada", "ada", tube),
        ("Selang dada", "tidak ada", ~tube),
        ("Paparan sinar", "kurang (di bawah 0,8)", exposure < 0.8),
        ("Paparan sinar", "wajar (0,8 sampai 1,25)", (exposure >= 0.8) & (exposure <= 1.25)),
        ("Paparan sinar", "lebih (di atas 1,25)", exposure > 1.25),
        ("Label", "benar", ~truth["flipped"].astype(bool)),
        ("Label", "terbalik", truth["flipped"].astype(bool)),
    ]


def subgroups(fits: list[Run], data: Dataset) -> list[dict] | None:
    """Test accuracy of the chosen epoch in groups of the ground truth: divides, group, n, acc {"value", "ci95"}.

    None where it is not known. Flipped labels are left out of all groups but those of the last division; empty groups are
    left out.
    """
    truth = data.test.truth
    if truth is None:
        return None
    kept, test = ~truth["flipped"].astype(bool), [fit.open_test()["best"] for fit in fits]
    rows = []
    for divides, group, mask in _groups(truth):
        which = mask if divides == "Label" else mask & kept
        if which.any():
            acc = evaluation.mean_accuracy([one[which] for one in test], data.test.labels[which])
            rows.append({"divides": divides, "group": group, "n": int(which.sum()), "acc": acc})
    return rows


def groups_apart(rows: list[dict] | None) -> list[dict] | None:
    """For each division of `subgroups` whose worst and best groups have intervals apart: their places, {"worst", "best"}.

    Flipped labels are no group of patients and are left out. None where nothing is known.
    """
    if rows is None:
        return None
    apart = []
    for divides in dict.fromkeys(row["divides"] for row in rows if row["divides"] != "Label"):
        same = sorted((i for i, row in enumerate(rows) if row["divides"] == divides), key=lambda i: rows[i]["acc"]["value"])
        if rows[same[0]]["acc"]["ci95"][1] < rows[same[-1]]["acc"]["ci95"][0]:
            apart.append({"worst": same[0], "best": same[-1]})
    return apart
