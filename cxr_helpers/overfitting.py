"""What overfitting is, how large, and how sure: the measurements of notebook 03, from stored runs
and the phantom's ground truth.

Everything reads what a run recorded; only `learning_curve` trains, through the run store.
Memorisation of flipped labels: Arpit et al. 2017; temperature scaling: Guo et al. 2017; shortcuts
and subgroups: Oakden-Rayner et al. 2020 (hidden stratification). Where a network looks stands in
attribution.py.
"""

from collections.abc import Iterator

import numpy as np
import torch
from captum.attr import IntegratedGradients
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from torch import nn

from cxr_helpers import data as datasets
from cxr_helpers import evaluation, model, training
from cxr_helpers.data import Dataset, Split, to_tensor
from cxr_helpers.engine.runs import Run
from cxr_helpers.evaluation import SIGNIFICANCE

HALVINGS = 20  # of the validation images, to measure how far the loss rises
JUDGED = ("acc", "auc")  # metrics by which rules that choose an epoch are compared
CONFIDENT = 0.9  # the course's report calls a prediction above it confident
PARTS = (1 / 8, 1 / 4, 1 / 2)  # of the training images, for the learning curve
FOLD_REPEATS = 5  # shufflings of `by_patient`: one alone would add its own luck
FOLD_PIXELS = 28  # along a side, at most, of the images that are held against each other
SHOWN = 10  # images in a gallery
BORDERLINE = (0.47, 0.53)  # cardiothoracic ratios near the threshold of 0.50
SMALL = 0.10  # of the hemithorax's area: a small pneumothorax


# --- the gap --------------------------------------------------------------------------------------


def by_epoch(fits: list[Run], data: Dataset) -> list[dict]:
    """One dict an epoch: epoch, train_loss, val_loss, train_acc, val_acc, each but the first
    {"value", "ci95"} over the seeds.

    The training values are those met while training, as the course plots them: the network still
    changes under them, and dropout and batch statistics are at work. They are no part of the gap,
    see `gap`.
    """
    rows = []
    for i in range(min(len(fit.history) for fit in fits)):
        row = {"epoch": i + 1}
        for split, part in (("train", data.train), ("val", data.val)):
            logits = [fit.logits[split][i] for fit in fits]
            row[f"{split}_loss"] = evaluation.mean_loss(logits, part.labels, patients=part.patients)
            row[f"{split}_acc"] = evaluation.mean_accuracy(logits, part.labels, part.patients)
        rows.append(row)
    return rows


def gap(fits: list[Run], data: Dataset, which: str = "last") -> dict:
    """How much better the network of an epoch (`which`: "last" or the chosen, "best") is on
    training than on validation images.

    Both are judged by the same network in eval mode. {"value", "ci95", "side"} of training −
    validation accuracy, mean over the seeds, and on which side of zero its interval lies; "epochs",
    one a seed; the accuracies and losses {"value", "ci95"} it rests on, train_acc, val_acc,
    train_loss, val_loss, and loss_gap, validation − training loss.
    """
    row = {
        "epochs": [fit.info["best_epoch"] if which == "best" else len(fit.history) for fit in fits]
    }
    for split, part in (("train", data.train), ("val", data.val)):
        logits = [fit.logits[f"{split}_{which}"] for fit in fits]
        row[f"{split}_acc"] = evaluation.mean_accuracy(logits, part.labels, part.patients)
        row[f"{split}_loss"] = evaluation.mean_loss(logits, part.labels, patients=part.patients)
    row["loss_gap"] = evaluation.difference(row["val_loss"], row["train_loss"])
    found = evaluation.difference(row["train_acc"], row["val_acc"])
    return {**found, "side": evaluation.side(found["ci95"]), **row}


def _halves(split: Split, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The images (row numbers) of a split in two halves, each once first and once second; whole
    patients, classes alike.
    """
    splitter = StratifiedKFold if split.patients is None else StratifiedGroupKFold
    return splitter(2, shuffle=True, random_state=seed).split(
        split.labels, split.labels, split.patients
    )


def turn(fits: list[Run], data: Dataset) -> dict:
    """Where validation loss turns: epoch of its lowest mean over the seeds, epochs of each seed,
    and how much it rises until the end.

    turned: whether the lowest came before the last epoch. rise: {"value", "ci95", "side" of zero},
    the mean loss of the last epoch minus that of the lowest. The lowest of several noisy losses is
    too low on the very images that made it the lowest, so one half of the images chooses the epoch
    and the other half measures the rise from it, and the other way round, averaged over HALVINGS
    halvings (cross-fitting: Chernozhukov et al. 2018); paired by image.
    """
    val, epochs = data.val, min(len(fit.history) for fit in fits)
    # (seeds, epochs, N)
    loss = np.stack([evaluation.loss(fit.logits["val"][:epochs], val.labels) for fit in fits])
    mean, rise = loss.mean(0), np.zeros_like(loss[:, 0])
    for seed in range(HALVINGS):
        for chooses, measures in _halves(val, seed):
            lowest = mean[:, chooses].mean(1).argmin()
            rise[:, measures] += (loss[:, -1] - loss[:, lowest])[:, measures] / HALVINGS
    lowest = int(mean.mean(1).argmin())
    return {
        "epoch": lowest + 1,
        "epochs": epochs,
        "each_seed": [int(fit.history["val_loss"].argmin()) + 1 for fit in fits],
        "turned": lowest + 1 < epochs,
        "rise": evaluation.paired_change(rise, val.labels, val.patients),
    }


def selection(fits: list[Run], data: Dataset) -> list[dict]:
    """What choosing the epoch by validation loss, by validation AUC, or not at all (last) does to
    the test result.

    One dict a rule: rule ("last", "loss", "auc"), epochs (one a seed), acc and auc {"value",
    "ci95"}, difference of both from "last" (paired on the same test images; None for "last"),
    differs: those of "acc" and "auc" whose interval leaves out zero.
    """
    val, test, patients = data.val.labels, data.test.labels, data.test.patients

    def chosen(fit: Run, rule: str) -> int:
        if rule == "last":
            return len(fit.history) - 1
        logits = fit.logits["val"]
        if rule == "loss":
            return int(fit.history["val_loss"].argmin())
        return int(
            np.argmax(evaluation.area_under_curve(logits, np.broadcast_to(val, logits.shape)))
        )

    found, last = [], None
    for rule in ("last", "loss", "auc"):
        epochs = [chosen(fit, rule) for fit in fits]
        logits = [fit.open_test()["epochs"][epoch] for fit, epoch in zip(fits, epochs, strict=True)]
        whole = evaluation.mean_over_seeds(logits, test, patients=patients)
        difference = (
            evaluation.paired_difference(logits, last, test, patients=patients) if last else {}
        )
        last = last or logits
        found.append(
            {
                "rule": rule,
                "epochs": [epoch + 1 for epoch in epochs],
                **{name: whole[name] for name in JUDGED},
                "difference": {name: difference[name] for name in JUDGED} if difference else None,
                "differs": [
                    name
                    for name in JUDGED
                    if difference and evaluation.side(difference[name]["ci95"]) != "across"
                ],
            }
        )
    return found


def learning_curve(study, fits: list[Run]) -> list[dict]:
    """The course's recipe on ever more training images, over the same seeds; the last point is
    `fits`, the whole training split.

    One dict a size: n, patients (None where not known), seeds (how many), train_acc, val_acc, gap,
    the last three {"value", "ci95"} after the last epoch, from_first and from_previous: the change
    of validation accuracy from the smallest size and from the one before, paired by image
    ({"value", "ci95", "side"}; None for the smallest). A smaller split is a stratified part of the
    whole; validation images are the same everywhere.
    """
    whole, points = study.used, []
    for part in PARTS:
        n = round(part * len(whole.train))
        if n < 4:
            continue
        data = datasets.with_splits(whole, train=datasets.subset(whole.train, n, study.seed))
        part_fits = [
            training.run(
                study.config(seed=fit.config.seed),
                data,
                study.weights,
                study.device,
                keep_weights=False,
            )
            for fit in fits
        ]
        points.append((data, part_fits))
    return curve([*points, (whole, fits)])


def curve(points: list[tuple[Dataset, list]]) -> list[dict]:
    """The rows of `learning_curve` from its points: a data set and the runs on it, over the same
    seeds; the whole split last.
    """
    whole, rows, right = points[-1][0], [], []
    for data, each in points:
        found = gap(each, data, "last")
        right.append(evaluation.right([fit.logits["val_last"] for fit in each], whole.val.labels))
        rows.append(
            {
                "n": len(data.train),
                "patients": data.train.n_patients,
                "seeds": len(each),
                **{name: found[name] for name in ("train_acc", "val_acc")},
                "gap": {name: found[name] for name in ("value", "ci95", "side")},
                "from_first": _change(right[0], right[-1], whole.val) if rows else None,
                "from_previous": _change(right[-2], right[-1], whole.val) if rows else None,
            }
        )
    return rows


def _change(before: np.ndarray, after: np.ndarray, split: Split) -> dict:
    return evaluation.paired_change(after - before, split.labels, split.patients, hits=True)


def memorisation(fits: list[Run], train: Split) -> dict | None:
    """How fast correct and flipped labels are fitted; None where the truth behind the labels is not
    known.

    {"n_correct", "n_flipped", "by_epoch": [{"epoch", "correct", "flipped": {"value", "ci95"}}]}:
    shares of training images whose prediction, as recorded while training, agrees with the label as
    written; "patients_correct" and "patients_flipped": how many patients these images show, None
    where not known. "rise": of the share of flipped labels from the first epoch to the last, paired
    by image; "lead": of correct over flipped labels in the first epoch (two groups of images), both
    {"value", "ci95", "side"}; "follows": whether both are above zero, so that what is general came
    before what is memorised.
    """
    if train.truth is None or not train.truth["flipped"].any():
        return None
    flipped = train.truth["flipped"].astype(bool)
    groups = {"correct": ~flipped, "flipped": flipped}
    patients = {name: evaluation.among(train.patients, which) for name, which in groups.items()}
    rows, fitted = [], []
    for i in range(min(len(fit.history) for fit in fits)):
        logits = {
            name: [fit.logits["train"][i][which] for fit in fits] for name, which in groups.items()
        }
        share = {
            n: evaluation.mean_accuracy(logits[n], train.labels[which], patients[n])
            for n, which in groups.items()
        }
        fitted.append(
            {n: evaluation.right(logits[n], train.labels[which]) for n, which in groups.items()}
        )
        rows.append({"epoch": i + 1, **share})
    moved = fitted[-1]["flipped"] - fitted[0]["flipped"]
    rise = evaluation.paired_change(moved, train.labels[flipped], patients["flipped"], hits=True)
    lead = evaluation.compare_groups(
        *(fitted[0][name].mean(0) for name in groups), *patients.values()
    )
    return {
        "n_correct": int((~flipped).sum()),
        "n_flipped": int(flipped.sum()),
        **{f"patients_{name}": evaluation.n_patients(who) for name, who in patients.items()},
        "by_epoch": rows,
        "rise": rise,
        "lead": lead,
        "follows": rise["side"] == lead["side"] == "above",
    }


# --- confidence -----------------------------------------------------------------------------------


def calibration(logits: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """The ECE of logits (N,) beside that of chance (notebooks 02 and 03).

    ece_measured: the ECE as defined, with its bias; ece_chance: {"value", "range95"} that a
    calibrated network with these logits would show, see evaluation.chance_calibration_error;
    beyond_chance: whether the measured one lies above that range.
    """
    measured = float(evaluation.expected_calibration_error(expit(logits), labels))
    chance = evaluation.chance_calibration_error(logits, patients)
    return {
        "ece_measured": measured,
        "ece_chance": chance,
        "beyond_chance": measured > chance["range95"][1],
    }


def confidence(logits: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """Probability of the predicted class of right and wrong predictions, the share above 0.9, the
    errors among those, and the calibration.

    logits, labels, patients (where known): (N,). ece: {"value", "ci95"} without its bias; the ECE
    as measured beside that of chance: see `calibration`.
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
        **calibration(logits, labels, patients),
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 by which logits (N,) are divided so that their mean cross-entropy is lowest (Guo et
    al. 2017, sec. 4.2).
    """
    found = minimize_scalar(
        lambda log_t: evaluation.loss(logits / np.exp(log_t), labels).mean(),
        bounds=(-3, 5),
        method="bounded",
    )
    return float(np.exp(found.x))


def temperature(
    val: np.ndarray,
    val_labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    test_patients: np.ndarray | None = None,
) -> dict:
    """Temperature scaling: fitted on validation logits, judged on test logits (N,) of test_patients
    (N,), where known.

    {"temperature", "before", "after", "difference"}: ece (without its bias) and loss {"value",
    "ci95"}; the difference after − before is paired. "before" and "after" also hold the ECE as
    measured beside that of chance, see `calibration`. "softens": whether the temperature is above
    1; "side": of zero, on which the interval of the ECE's difference lies; "reliability_before" and
    "reliability_after": the diagrams on the test split. The decisions, and so the accuracy, do not
    change.
    """
    t = fit_temperature(val, val_labels)

    def judged(rows: np.ndarray) -> np.ndarray:
        """(before, after, difference) × (ece, loss) × the shape of a mean over rows."""
        y, found = test_labels[rows], []
        for logits in (test[rows], test[rows] / t):
            found.append(
                [
                    evaluation.expected_calibration_error(expit(logits), y),
                    evaluation.loss(logits, y).mean(-1),
                ]
            )
        before, after = np.array(found)
        return np.stack([before, after, after - before])

    points = judged(np.arange(len(test_labels)))
    samples = evaluation.replicates(judged, test_labels, patients=test_patients)
    for i, least in enumerate((0, 0, -np.inf)):
        points[i, 0], samples[i, 0] = evaluation.without_bias(points[i, 0], samples[i, 0], least)
    body = {
        which: {
            name: {"value": float(points[i, j]), "ci95": list(evaluation.percentile(samples[i, j]))}
            for j, name in enumerate(("ece", "loss"))
        }
        for i, which in enumerate(("before", "after", "difference"))
    }
    for which, logits in (("before", test), ("after", test / t)):
        body[which] |= calibration(logits, test_labels, test_patients)
    return {
        "temperature": t,
        "softens": t > 1,
        "side": evaluation.side(body["difference"]["ece"]["ci95"]),
        **body,
        "reliability_before": evaluation.reliability(test, test_labels, test_patients).to_dict(
            "records"
        ),
        "reliability_after": evaluation.reliability(test / t, test_labels, test_patients).to_dict(
            "records"
        ),
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
    """The wrong predictions of highest confidence: images, labels, predicted, probability (of class
    1) and remarks.

    "n" and "n_flipped" count all above 0.9, "patients" those whom these n images show; n_flipped is
    None where the truth, and patients where the patients are not known.
    """
    sure, wrong = evaluation.confidence(logits), (logits > 0) != (split.labels == 1)
    rows = np.flatnonzero(wrong)[np.argsort(-sure[wrong], kind="stable")][:SHOWN]
    confident = wrong & (sure > CONFIDENT)
    return {
        "n": int(confident.sum()),
        "patients": evaluation.n_patients(split.patients, confident),
        "n_flipped": None
        if split.truth is None
        else int((confident & split.truth["flipped"].astype(bool)).sum()),
        "images": split.images[rows],
        "labels": split.labels[rows],
        "predicted": (logits[rows] > 0).astype(int),
        "probability": expit(logits[rows]),
        "remarks": [_remark(split.truth, row) for row in rows],
    }


# --- who it fails ---------------------------------------------------------------------------------


def tube_effect(fits: list[Run], data: Dataset) -> list[dict] | None:
    """Is the tube a shortcut? For each anatomy (without, with pneumothorax): how much more often
    images with a tube are given class 1.

    Test images, chosen epoch. Rows: pneumothorax, n_with, n_without, patients_with and
    patients_without (how many these images show, None where not known), with and without (shares,
    {"value", "ci95"}), difference (Newcombe), side (of zero, on which its interval lies); groups
    with fewer than 3 images are left out. None where the truth is not known.
    """
    if data.test.truth is None:
        return None
    positive, test = np.ones(len(data.test), np.uint8), [fit.open_test()["best"] for fit in fits]
    tube, air = data.test.truth["tube"].astype(bool), data.test.truth["side"] > 0
    called, patients = evaluation.right(test, positive).mean(0), data.test.patients
    rows = []
    for sick in (False, True):
        groups = [(air == sick) & tube, (air == sick) & ~tube]
        if min(group.sum() for group in groups) < 3:
            continue
        who = [evaluation.among(patients, group) for group in groups]
        shares = [
            evaluation.share(called[group], one) for group, one in zip(groups, who, strict=True)
        ]
        difference = evaluation.compare_groups(*(called[group] for group in groups), *who)
        rows.append(
            {
                "pneumothorax": sick,
                "n_with": int(groups[0].sum()),
                "n_without": int(groups[1].sum()),
                "patients_with": evaluation.n_patients(who[0]),
                "patients_without": evaluation.n_patients(who[1]),
                "with": shares[0],
                "without": shares[1],
                "difference": {name: difference[name] for name in ("value", "ci95")},
                "side": difference["side"],
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
    """Test accuracy of the chosen epoch in groups of the ground truth: divides, group, n, patients
    (None where not known), acc {"value", "ci95"}, and how far it is from the other images of the
    same division.

    difference: {"value", "ci95"} from those (Newcombe), p_adjusted (Fisher's exact test, adjusted
    by Holm over all groups that are compared) and side: "above" or "below" zero where that is below
    0.05, else "across". Of a division in two only the first group is compared, since the second
    would say the same; labels as written are no group of patients. Difference and p are None where
    nothing is compared. None where the truth is not known. Flipped labels are left out of all
    groups but those of the last division; empty groups are left out.
    """
    truth = data.test.truth
    if truth is None:
        return None
    kept, patients = ~truth["flipped"].astype(bool), data.test.patients
    right = evaluation.right([fit.open_test()["best"] for fit in fits], data.test.labels).mean(0)
    groups = [
        (d, group, mask if d == "Label" else mask & kept) for d, group, mask in _groups(truth)
    ]
    groups = [one for one in groups if one[2].any()]
    rows = []
    for i, (divides, group, which) in enumerate(groups):
        acc = evaluation.share(right[which], evaluation.among(patients, which))
        same = [j for j, one in enumerate(groups) if one[0] == divides]
        compared = divides != "Label" and (len(same) > 2 or same[0] == i < same[-1])
        row = {
            "divides": divides,
            "group": group,
            "n": int(which.sum()),
            "patients": evaluation.n_patients(patients, which),
        }
        row |= {"acc": acc, "difference": None, "p_adjusted": None}
        if compared:
            others = np.logical_or.reduce([groups[j][2] for j in same if j != i])
            who = [evaluation.among(patients, mask) for mask in (which, others)]
            row["difference"] = evaluation.compare_groups(right[which], right[others], *who)
        rows.append(row | {"side": "across"})
    tested = [row for row in rows if row["difference"]]
    for row, p in zip(
        tested,
        evaluation.holm([row["difference"]["p"] for row in tested]) if tested else [],
        strict=True,
    ):
        row["p_adjusted"] = p
        if p < SIGNIFICANCE:
            row["side"] = "above" if row["difference"]["value"] > 0 else "below"
    return rows


ATTRIBUTED, STEPS = 48, 20  # images with an attribution map, and points of the integral of each
FEWEST_REGIONS = 10  # images with a region, to say anything of it
REGIONS = {"heart": "jantung", "pneumothorax": "pneumotoraks", "tube_mask": "selang dada"}


def attribute(
    network: nn.Module, images: np.ndarray, reference: np.ndarray
) -> tuple[np.ndarray, float]:
    """Integrated gradients (Sundararajan et al. 2017) of the logit for uint8 images (N, H, W)
    against a reference image (H, W).

    Returns the maps (N, H, W), whose sum approximates logit(image) − logit(reference), and the mean
    size of what is missing from that sum, relative to the mean size of the difference.
    """
    network.eval()
    inputs, start = to_tensor(images), to_tensor(reference[None])
    method = IntegratedGradients(lambda x: network(x).squeeze(1))
    maps, missing = method.attribute(
        inputs,
        start,
        n_steps=STEPS,
        method="gausslegendre",
        internal_batch_size=64,
        return_convergence_delta=True,
    )
    with torch.no_grad():
        moved = (network(inputs) - network(start)).abs().mean()
    return maps.squeeze(1).detach().numpy().astype(np.float32), float(missing.abs().mean() / moved)


def inside(
    maps: np.ndarray, masks: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None
) -> dict | None:
    """How much of |attribution| (N, H, W) lies inside masks (N, H, W), over the images that have
    the region at all (None if fewer than FEWEST: a bootstrap of so few is too sure).

    n; patients: how many these n images show, None where not known; share and area: mean shares of
    the attribution and of the image; ratio of both {"value", "ci95"}: 1 is what scattering the
    attribution evenly would give; side: of 1, on which the interval of the ratio lies. Images (of
    patients (N,), where known) are resampled within each label.
    """
    has = masks.any((1, 2))
    if has.sum() < FEWEST_REGIONS:
        return None
    size, masks, labels = np.abs(maps[has]), masks[has], labels[has]
    share = (size * masks).sum((1, 2)) / np.maximum(size.sum((1, 2)), 1e-30)
    area = masks.mean((1, 2))
    who = evaluation.among(patients, has)
    ci = evaluation.bootstrap(
        lambda rows: share[rows].mean(1) / area[rows].mean(1), labels, patients=who
    )
    return {
        "n": int(has.sum()),
        "patients": evaluation.n_patients(who),
        "share": share.mean(),
        "area": area.mean(),
        "ratio": {"value": share.mean() / area.mean(), "ci95": list(ci)},
        "side": evaluation.side(ci, 1),
    }


def chosen_network(run: Run, study) -> nn.Module:
    """The network of the chosen epoch, on the CPU."""
    network = model.build(
        study.weights, run.config.seed, study.used.source.size, **run.config.adaptation
    )
    network.load_state_dict(run.weights("best"))
    return network.eval()


def attribution(run: Run, study) -> dict:
    """Attribution maps of the chosen epoch's network on validation images, and what they say
    against the ground truth.

    "examples": images, maps, labels, probability, outlines of up to three right and three wrong
    predictions; "regions": `inside` of each region of REGIONS, or None where the truth is not
    known; "missing": see `attribute`; "n" images of "patients" (how many, None where not known)
    were explained.
    """
    data, network = study.used, chosen_network(run, study)
    logits, labels = run.logits["val_best"], data.val.labels
    right = (logits > 0) == (labels == 1)
    generator = np.random.default_rng(run.config.seed)
    drawn = generator.permutation(len(labels))
    examples = np.concatenate([drawn[right[drawn]][:3], drawn[~right[drawn]][:3]])
    rows = np.unique(np.concatenate([examples, drawn[:ATTRIBUTED]]))
    maps, missing = attribute(
        network, data.val.images[rows], data.train.images.mean(0).round().astype(np.uint8)
    )
    at = np.searchsorted(rows, examples)
    truth = data.val.truth
    regions = outlines = None
    if truth is not None:
        fair = np.isin(rows, drawn[:ATTRIBUTED])  # the examples favour errors
        explained = rows[fair]
        who = evaluation.among(data.val.patients, explained)
        regions = {
            name: inside(maps[fair], truth[name][explained].astype(bool), labels[explained], who)
            for name in REGIONS
        }
        outlines = {title: truth[name][examples].astype(bool) for name, title in REGIONS.items()}
    return {
        "n": int(min(ATTRIBUTED, len(labels))),
        "patients": evaluation.n_patients(data.val.patients, drawn[:ATTRIBUTED]),
        "missing": missing,
        "regions": regions,
        "examples": {
            "images": data.val.images[examples],
            "maps": maps[at].round(5),
            "labels": labels[examples],
            "n_right": int(right[examples].sum()),
            "n_wrong": int((~right[examples]).sum()),
            "probability": expit(logits[examples]),
            "outlines": outlines,
        },
    }


def by_patient(data: Dataset, seed: int = 0) -> dict | None:
    """What folds of images drawn at random report of a pure memoriser, beside folds of whole
    patients; None where patients are not known, or a class has fewer of them than there are folds.

    The memoriser gives each held-out image the label of its nearest training image (1-NN on the
    pixels: Cover & Hart 1967), so all that helps it is likeness. Over FOLDS folds of the training
    and validation images, REPEATS times: {"n", "patients", "majority", "shared" and "recognised":
    shares of held-out images of random folds whose patient is also trained on, and whose nearest
    image is this patient's, "random", "grouped": accuracies {"value", "ci95"}, "flattery": random −
    grouped, paired by image, {"value", "ci95", "side"}}.
    """
    whole = datasets.pool(data)
    labels, who = whole.labels, whole.patients
    if (
        who is None
        or min(len(np.unique(who[labels == label])) for label in (0, 1)) < datasets.FOLDS
    ):
        return None
    apart = _distances(whole.images)
    right = {name: np.zeros((FOLD_REPEATS, len(labels))) for name in ("random", "grouped")}
    shared, recognised = np.zeros((2, FOLD_REPEATS, len(labels)))
    for i in range(FOLD_REPEATS):
        for name, splitter, groups in (
            ("random", StratifiedKFold, None),
            ("grouped", StratifiedGroupKFold, who),
        ):
            for train, held in splitter(datasets.FOLDS, shuffle=True, random_state=seed + i).split(
                labels, labels, groups
            ):
                nearest = train[apart[np.ix_(held, train)].argmin(axis=1)]
                right[name][i, held] = labels[nearest] == labels[held]
                if name == "random":
                    shared[i, held] = np.isin(who[held], who[train])
                    recognised[i, held] = who[nearest] == who[held]
    mean = {name: each.mean(axis=0) for name, each in right.items()}
    return {
        "n": len(labels),
        "patients": len(np.unique(who)),
        "majority": evaluation.majority_share(labels),
        "shared": float(shared.mean()),
        "recognised": float(recognised.mean()),
        **{name: evaluation.share(each, who) for name, each in mean.items()},
        "flattery": evaluation.paired_change(
            (mean["random"] - mean["grouped"])[None], labels, who, hits=True
        ),
    }


def _distances(images: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (N, N) of images (N, H, W) uint8, thinned out to PIXELS along a
    side.
    """
    step = max(1, images.shape[1] // FOLD_PIXELS)
    flat = images[:, ::step, ::step].reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=0)
    square = (flat**2).sum(axis=1)
    return square[:, None] + square[None] - 2 * flat @ flat.T
