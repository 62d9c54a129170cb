"""What overfitting is, how large, and how sure: the measurements of notebook 03, from stored runs
and the phantom's ground truth.

Only `learning_curve` trains, through the run store. Estimates are those of evaluation.py; what asks
for patients or for the ground truth gives None where they are not known.
"""

from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from captum.attr import IntegratedGradients
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.stats import t as student
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from torch import nn

from cxr_helpers import data as datasets
from cxr_helpers import evaluation, training
from cxr_helpers.data import Dataset, Split, to_tensor
from cxr_helpers.engine import owncode
from cxr_helpers.engine.runs import Run
from cxr_helpers.evaluation import Measured, among, estimate, minus, n_patients, of_images, side
from cxr_helpers.model import resolve_weights

HALVINGS = 20  # of the validation images, to measure how far the loss rises
JUDGED = {"acc": "share", "auc": "auc"}  # metrics by which rules that choose an epoch are compared
CONFIDENT = 0.9  # the course's report calls a prediction above it confident
PARTS = (1 / 8, 1 / 4, 1 / 2)  # of the training images, for the learning curve
FOLD_REPEATS = 5  # shufflings of `by_patient`: one alone would add its own luck
FOLD_PIXELS = 28  # along a side, at most, of the images that are held against each other
SHOWN = 10  # images in a gallery
BORDERLINE = (0.47, 0.53)  # cardiothoracic ratios near the threshold of 0.50
SMALL = 0.10  # of the hemithorax's area: a small pneumothorax
STEPS = 20  # points of the integral of an attribution map
REGION_IMAGES = 30  # on which a region is judged; of fewer Student's interval is not to be trusted
REGIONS = {"heart": "jantung", "pneumothorax": "pneumotoraks", "tube_mask": "selang dada"}
FAINT = 1e-6  # the least share of an attribution map that has a logarithm


def accuracy(logits: list[np.ndarray], split: Split) -> Measured:
    """The share of right decisions by logits (N,), one array a seed."""
    return of_images(evaluation.right(logits, split.labels), split.patients)


def loss(logits: list[np.ndarray], split: Split) -> Measured:
    """The mean binary cross-entropy of logits (N,), one array a seed."""
    return of_images(evaluation.loss(np.stack(logits), split.labels), split.patients)


def _sided(measured: Measured) -> dict:
    """The estimate, and on which side of zero its interval lies."""
    found = estimate(measured)
    return found | {"side": side(found["ci95"])}


def by_epoch(fits: list[Run], data: Dataset) -> list[dict]:
    """Validation loss, a row an epoch."""
    rows = []
    for i in range(min(len(fit.history) for fit in fits)):
        logits = [fit.logits["val"][i] for fit in fits]
        rows.append({"epoch": i + 1, "val_loss": estimate(loss(logits, data.val))})
    return rows


def gap(fits: list[Run], data: Dataset, which: str = "last") -> dict:
    """How much more accurate the network of the "last" or of the chosen epoch ("best") is on
    training than on validation images, both judged in eval mode; with the accuracies and losses.
    """
    right, losses = {}, {}
    for name, split in (("train", data.train), ("val", data.val)):
        logits = [fit.logits[f"{name}_{which}"] for fit in fits]
        right[name], losses[name] = accuracy(logits, split), loss(logits, split)
    return {
        **_sided(minus(right["train"], right["val"])),
        "loss_gap": estimate(minus(losses["val"], losses["train"])),
        **{f"{name}_acc": estimate(measured, "share") for name, measured in right.items()},
    }


def turn(fits: list[Run], data: Dataset) -> dict:
    """Where validation loss is lowest, and how much it rises from there to the last epoch.

    The lowest of noisy losses is too low on the very images that made it so: one half of the images
    chooses the epoch, the other measures the rise (cross-fitting: Chernozhukov et al. 2018).
    """
    val, epochs = data.val, min(len(fit.history) for fit in fits)
    # (seeds, epochs, N)
    losses = np.stack([evaluation.loss(fit.logits["val"][:epochs], val.labels) for fit in fits])
    mean, rise = losses.mean(axis=0), np.zeros_like(losses[:, 0])
    splitter = StratifiedKFold if val.patients is None else StratifiedGroupKFold
    for seed in range(HALVINGS):
        halves = splitter(2, shuffle=True, random_state=seed)
        for chooses, measures in halves.split(val.labels, val.labels, val.patients):
            lowest = mean[:, chooses].mean(axis=1).argmin()
            rise[:, measures] += (losses[:, -1] - losses[:, lowest])[:, measures] / HALVINGS
    lowest = int(mean.mean(axis=1).argmin())
    return {
        "epoch": lowest + 1,
        "epochs": epochs,
        "each_seed": [int(fit.history["val_loss"].argmin()) + 1 for fit in fits],
        "turned": lowest + 1 < epochs,
        "rise": _sided(of_images(rise, val.patients)),
    }


def selection(fits: list[Run], data: Dataset) -> list[dict]:
    """What choosing the epoch by validation loss, by validation AUC, or not at all (last) does to
    the test result: a row a rule; differs: metrics whose difference from "last" is clear of zero.
    """
    rules = {
        "last": [len(fit.history) - 1 for fit in fits],
        "loss": [int(fit.history["val_loss"].argmin()) for fit in fits],
        "auc": [int(fit.history["val_auc"].argmax()) for fit in fits],
    }
    rows, last, test = [], None, data.test
    for rule, epochs in rules.items():
        logits = [fit.open_test()["epochs"][epoch] for fit, epoch in zip(fits, epochs, strict=True)]
        metrics = evaluation.measured(logits, test.labels, test.patients)
        last = last or metrics
        apart = {n: evaluation.difference(metrics[n], last[n]).as_dict() for n in JUDGED}
        row = {"rule": rule, "epochs": [epoch + 1 for epoch in epochs]}
        row |= {name: estimate(metrics[name], kind) for name, kind in JUDGED.items()}
        row["difference"] = None if rule == "last" else apart
        row["differs"] = [name for name in JUDGED if side(apart[name]["ci95"]) != "across"]
        rows.append(row)
    return rows


def learning_curve(study, fits: list[Run]) -> list[dict]:
    """The course's recipe on ever more training images, over the seeds of `fits`, which are on all
    of them; see `curve`.
    """
    whole, points = study.used, []
    for part in PARTS:
        n = round(part * len(whole.train))
        if n < 4:
            continue
        data = replace(whole, train=datasets.subset(whole.train, n, study.seed))
        given = (data, study.weights, study.device)
        configs = [study.config(seed=fit.config.seed) for fit in fits]
        runs = [training.run(config, *given, keep_weights=False) for config in configs]
        points.append((data, runs))
    return curve([*points, (whole, fits)])


def curve(points: list[tuple[Dataset, list]]) -> list[dict]:
    """A row a size, from data sets and the runs on them, the largest last: accuracies and gap after
    the last epoch, and the change of validation accuracy (None for the smallest).
    """
    val, rows, right = points[-1][0].val, [], []
    for data, fits in points:
        measured = gap(fits, data)
        right.append(evaluation.right([fit.logits["val_last"] for fit in fits], val.labels))
        row = {"n": len(data.train), "patients": data.train.n_patients, "seeds": len(fits)}
        row |= {name: measured[name] for name in ("train_acc", "val_acc")}
        row["gap"] = {name: measured[name] for name in ("value", "ci95", "side")}
        for name, before in (("from_first", 0), ("from_previous", -2)):
            moved = right[-1] - right[before] if rows else None
            row[name] = None if moved is None else evaluation.change(moved, val.patients)
        rows.append(row)
    return rows


def _apart(hits: np.ndarray, a: np.ndarray, b: np.ndarray, patients: np.ndarray | None) -> dict:
    """How much larger the share of hits (N,) is among the images a than among the images b."""
    return evaluation.compare_groups(hits[a], hits[b], among(patients, a), among(patients, b))


def memorisation(fits: list[Run], train: Split) -> dict | None:
    """How fast correct and flipped labels are fitted (Arpit et al. 2017): shares of training images
    whose prediction while training agrees with the label as written; follows: flipped labels rise
    after correct ones lead in the first epoch, so what is general came before what is memorised.
    """
    if train.truth is None or not train.truth["flipped"].any():
        return None
    flipped, who = train.truth["flipped"] > 0, train.patients
    groups, rows, right = {"correct": ~flipped, "flipped": flipped}, [], []
    for i in range(min(len(fit.history) for fit in fits)):
        hits = evaluation.right([fit.logits["train"][i] for fit in fits], train.labels)
        row = {"epoch": i + 1}
        for name, which in groups.items():
            row[name] = estimate(of_images(hits[:, which], among(who, which)), "share")
        right.append(hits)
        rows.append(row)
    rise = evaluation.change((right[-1] - right[0])[:, flipped], among(who, flipped))
    lead = _apart(right[0].mean(axis=0), ~flipped, flipped, who)
    return {
        **{f"n_{name}": int(which.sum()) for name, which in groups.items()},
        **{f"patients_{name}": n_patients(who, which) for name, which in groups.items()},
        "by_epoch": rows,
        "rise": rise,
        "lead": lead,
        "follows": rise["side"] == lead["side"] == "above",
    }


def by_patient(data: Dataset, seed: int = 0) -> dict | None:
    """What random folds of the training and validation images report of a pure memoriser, beside
    folds of whole patients: it gives each held-out image the label of its nearest training image
    (1-NN on the pixels: Cover & Hart 1967). None, too, with fewer patients than folds.
    """
    pool = datasets.pool(data)
    labels, who, folds = pool.labels, pool.patients, datasets.FOLDS
    if who is None or min(n_patients(who, labels == label) for label in (0, 1)) < folds:
        return None
    step = max(1, pool.images.shape[1] // FOLD_PIXELS)
    pixels = pool.images[:, ::step, ::step].reshape(len(labels), -1).astype(np.float32)
    apart = euclidean_distances(pixels, squared=True)
    ways = ((StratifiedKFold, None), (StratifiedGroupKFold, who))
    # of each image the nearest one that is trained on, and whether its patient is
    nearest, shared = np.zeros((2, len(ways), FOLD_REPEATS, len(labels)), int)
    for way, (splitter, groups) in enumerate(ways):
        for i in range(FOLD_REPEATS):
            parts = splitter(folds, shuffle=True, random_state=seed + i)
            for train, held in parts.split(labels, labels, groups):
                nearest[way, i, held] = train[apart[np.ix_(held, train)].argmin(axis=1)]
                shared[way, i, held] = np.isin(who[held], who[train])
    random, grouped = (labels[nearest] == labels).mean(axis=1)
    return {
        "n": len(labels),
        "patients": n_patients(who),
        "majority": evaluation.majority_share(labels),
        "shared": float(shared[0].mean()),
        "recognised": float((who[nearest[0]] == who).mean()),
        "random": evaluation.share(random, who),
        "grouped": evaluation.share(grouped, who),
        "flattery": evaluation.change((random - grouped)[None], who),
    }


def calibration(logits: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """The measured ECE of logits (N,) beside that of chance (notebooks 02 and 03)."""
    measured = evaluation.expected_calibration_error(expit(logits), labels)
    chance = evaluation.chance_calibration_error(logits, patients)
    return {
        "ece_measured": measured,
        "ece_chance": chance,
        "beyond_chance": measured > chance["range95"][1],
    }


def confidence(logits: np.ndarray, split: Split) -> dict:
    """Probability of the predicted class, the errors above CONFIDENT, and the calibration."""
    labels, patients = split.labels, split.patients
    sure, right = evaluation.confidence(logits), (logits > 0) == (labels == 1)
    above = sure > CONFIDENT
    return {
        "n": len(labels),
        "right": sure[right],
        "wrong": sure[~right],
        "above_90": evaluation.share(above, patients),
        "n_above_90": int(above.sum()),
        "confident_errors": int((above & ~right).sum()),
        "confident_error_share": evaluation.share(~right[above], among(patients, above)),
        **calibration(logits, labels, patients),
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 that makes the mean cross-entropy of logits / T lowest (Guo et al. 2017)."""

    def mean_loss(log_t: float) -> float:
        return evaluation.loss(logits / np.exp(log_t), labels).mean()

    return float(np.exp(minimize_scalar(mean_loss, bounds=(-3, 5), method="bounded").x))


def temperature(logits: np.ndarray, val: Split, test_logits: np.ndarray, test: Split) -> dict:
    """Temperature scaling: fitted on validation logits (N,), judged on test logits before and after
    it by loss and calibration; difference: of the loss, after − before.
    """
    t = fit_temperature(logits, val.labels)
    body, losses = {"temperature": t, "softens": t > 1}, {}
    for name, scaled in (("before", test_logits), ("after", test_logits / t)):
        losses[name] = evaluation.loss(scaled, test.labels)
        body[name] = {"loss": estimate(of_images(losses[name], test.patients))}
        body[name] |= calibration(scaled, test.labels, test.patients)
        diagram = evaluation.reliability(scaled, test.labels, test.patients)
        body[f"reliability_{name}"] = diagram.to_dict("records")
    apart = _sided(of_images(losses["after"] - losses["before"], test.patients))
    return body | {"difference": apart}


def _remark(truth: dict[str, np.ndarray], row: int) -> str:
    """What the ground truth says about one image, in Indonesian."""
    notes = {
        "label terbalik": truth["flipped"][row],
        "pneumotoraks kecil": 0 < truth["size"][row] < SMALL,
        "rasio di ambang": BORDERLINE[0] <= truth["ctr"][row] <= BORDERLINE[1],
    }
    return ",\n".join(note for note, holds in notes.items() if holds) or "label benar"


def confident_errors(logits: np.ndarray, split: Split) -> dict:
    """The wrong predictions of highest confidence; n counts all above CONFIDENT."""
    sure, wrong = evaluation.confidence(logits), (logits > 0) != (split.labels == 1)
    rows = np.flatnonzero(wrong)[np.argsort(-sure[wrong], kind="stable")][:SHOWN]
    above, truth = wrong & (sure > CONFIDENT), split.truth
    return {
        "n": int(above.sum()),
        "patients": n_patients(split.patients, above),
        "n_flipped": None if truth is None else int(truth["flipped"][above].astype(bool).sum()),
        "images": split.images[rows],
        "labels": split.labels[rows],
        "predicted": (logits[rows] > 0).astype(int),
        "probability": expit(logits[rows]),
        "remarks": ["" if truth is None else _remark(truth, row) for row in rows],
    }


def tube_effect(fits: list[Run], data: Dataset) -> list[dict] | None:
    """Is the tube a shortcut? How much more often test images with a tube are given class 1, by the
    chosen epoch, without and with pneumothorax; groups of fewer than 3 images are left out.
    """
    truth, patients = data.test.truth, data.test.patients
    if truth is None:
        return None
    called = np.mean([fit.open_test()["best"] > 0 for fit in fits], axis=0)
    tube, air, rows = truth["tube"] > 0, truth["side"] > 0, []
    for sick in (False, True):
        groups = {"with": (air == sick) & tube, "without": (air == sick) & ~tube}
        if min(which.sum() for which in groups.values()) < 3:
            continue
        row = {"pneumothorax": sick, "difference": _apart(called, *groups.values(), patients)}
        for name, which in groups.items():
            row[f"n_{name}"] = int(which.sum())
            row[f"patients_{name}"] = n_patients(patients, which)
            row[name] = evaluation.share(called[which], among(patients, which))
        rows.append(row)
    return rows


def chosen_network(run: Run, study) -> nn.Module:
    """The network of the chosen epoch, as its settings or its own code build it, on the CPU."""
    parts = owncode.make(run.config.own) if run.config.own else {}
    start, cpu = resolve_weights("random"), torch.device("cpu")
    network = training.network_of(run.config, study.used, start, cpu, parts)
    network.load_state_dict(run.weights("best"))
    return network.eval()


def attribute(network: nn.Module, images: np.ndarray, reference: np.ndarray) -> tuple:
    """Integrated gradients (Sundararajan et al. 2017) of the logit for uint8 images (N, H, W): maps
    (N, H, W), whose sums approximate logit(image) − logit(reference), and how much is missing from
    that, relative to its mean size. reference: (H, W).
    """
    network.eval()
    inputs, start = to_tensor(images), to_tensor(reference[None])
    maps, missing = IntegratedGradients(lambda x: network(x).squeeze(1)).attribute(
        inputs,
        start,
        n_steps=STEPS,
        method="gausslegendre",
        internal_batch_size=max(64, len(images)),
        return_convergence_delta=True,
    )
    with torch.no_grad():
        moved = (network(inputs) - network(start)).abs().mean()
    return maps.squeeze(1).detach().numpy().astype(np.float32), float(missing.abs().mean() / moved)


def inside(maps: np.ndarray, masks: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """How much of |attribution| (N, H, W) lies inside the masks (N, H, W) of a region.

    ratio: the geometric mean of its shares of attribution and of area, 1 where it is scattered
    evenly, with Student's interval of the logarithm, over patients where known.
    """
    size = np.abs(maps)
    share = (size * masks).sum((1, 2)) / np.maximum(size.sum((1, 2)), 1e-30)
    area = masks.mean((1, 2))
    ratio = pd.Series(np.log(np.maximum(share, FAINT) / area))
    ratio = ratio if patients is None else ratio.groupby(patients).mean()
    half = student.ppf((1 + evaluation.LEVEL) / 2, len(ratio) - 1) * ratio.sem()
    ci = np.exp([ratio.mean() - half, ratio.mean() + half]).tolist()
    return {
        "n": len(maps),
        "patients": n_patients(patients),
        "share": float(share.mean()),
        "area": float(area.mean()),
        "ratio": {"value": float(np.exp(ratio.mean())), "ci95": ci},
        "side": side(ci, 1),
    }


def region_images(truth: dict[str, np.ndarray], drawn: np.ndarray) -> dict[str, np.ndarray]:
    """Of each region that enough images have, the first REGION_IMAGES rows of `drawn` with it."""
    having = {name: drawn[truth[name][drawn].any((1, 2))] for name in REGIONS}
    return {n: rows[:REGION_IMAGES] for n, rows in having.items() if len(rows) >= REGION_IMAGES}


def attribution(run: Run, study) -> dict:
    """Attribution maps of validation images by the chosen epoch's network: some right and wrong
    examples, and `inside` of each region on images drawn among those that have it.
    """
    val, logits = study.used.val, run.logits["val_best"]
    right = (logits > 0) == (val.labels == 1)
    drawn = np.random.default_rng(run.config.seed).permutation(len(val))
    examples = np.concatenate([drawn[right[drawn]][:3], drawn[~right[drawn]][:3]])
    judged = {} if val.truth is None else region_images(val.truth, drawn)
    rows = np.unique(np.concatenate([examples, *judged.values()]))
    mean = study.used.train.images.mean(axis=0).round().astype(np.uint8)
    maps, missing = attribute(chosen_network(run, study), val.images[rows], mean)
    regions = outlines = None
    if val.truth is not None:
        outlines = {title: val.truth[name][examples] > 0 for name, title in REGIONS.items()}
        regions = {}
        for name, having in judged.items():
            at, masks = np.searchsorted(rows, having), val.truth[name][having] > 0
            regions[name] = inside(maps[at], masks, among(val.patients, having))
    return {
        "missing": missing,
        "regions": regions,
        "examples": {
            "images": val.images[examples],
            "maps": maps[np.searchsorted(rows, examples)].round(5),
            "labels": val.labels[examples],
            "n_right": int(right[examples].sum()),
            "n_wrong": int((~right[examples]).sum()),
            "probability": expit(logits[examples]),
            "outlines": outlines,
        },
    }
