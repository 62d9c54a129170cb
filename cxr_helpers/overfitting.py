"""The generalisation gap and overfitting, how large and how sure, and what a network uses: the
measurements of notebook 03, from stored runs (only `learning_curve` trains) and the phantom. What
asks for patients or for the truth gives None where they are not known.
"""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.neighbors import KNeighborsRegressor
from torch import nn

import phantom
from cxr_helpers import data as datasets
from cxr_helpers import evaluation, training
from cxr_helpers.data import Dataset, Split, to_tensor
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
REGIONS = {"heart": "jantung", "pneumothorax": "pneumotoraks", "tube_mask": "selang dada"}
PATIENTS = 50  # that are drawn again with one thing changed
THINGS = {  # what is changed (phantom.redraw), and how far
    "ratio": (0.40, 0.45, 0.50, 0.55, 0.60, 0.65, 0.70),
    "air": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6),
    "tube": (0, 1),
    "side": (-1, 1),
    "exposure": (0.5, 0.7, 1.0, 1.4, 2.0),
}
EDITS = {"mirror": (1, -1), "exposure": THINGS["exposure"]}  # what needs no anatomy
DARKER = 25  # grey levels by which e times the exposure darkens an image, as in the phantom


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


def accuracies(fits: list[Run], data: Dataset) -> list[Measured]:
    """Accuracy on training and on validation images in eval mode, after the last epoch."""
    splits = {"train_last": data.train, "val_last": data.val}
    return [accuracy([fit.logits[name] for fit in fits], part) for name, part in splits.items()]


def gap(fits: list[Run], data: Dataset) -> dict:
    """How much more accurate a network is on training than on validation images; see accuracies."""
    return _sided(minus(*accuracies(fits, data)))


def turn(fits: list[Run], data: Dataset) -> dict:
    """Where validation loss is lowest and, from there to the last epoch, the rise of the loss and
    the change of the AUC ("ranking"). One half of the images chooses the epoch, the other measures:
    noise makes the lowest too low where it was chosen (cross-fitting: Chernozhukov et al. 2018).
    """
    val, epochs = data.val, min(len(fit.history) for fit in fits)
    logits = np.stack([fit.logits["val"][:epochs] for fit in fits])  # (seeds, epochs, N)
    losses = evaluation.loss(logits, val.labels)
    places = np.apply_along_axis(evaluation.placements, -1, logits, val.labels)
    values, mean = np.stack([losses, places]), losses.mean(axis=0)
    moved = np.zeros_like(values[:, :, 0])
    splitter = StratifiedKFold if val.patients is None else StratifiedGroupKFold
    for seed in range(HALVINGS):
        halves = splitter(2, shuffle=True, random_state=seed)
        for chooses, measures in halves.split(val.labels, val.labels, val.patients):
            lowest = mean[:, chooses].mean(axis=1).argmin()
            change = values[:, :, -1] - values[:, :, lowest]
            moved[..., measures] += change[..., measures] / HALVINGS
    rise, ranking = moved
    lowest = int(mean.mean(axis=1).argmin())
    return {
        "epoch": lowest + 1,
        "epochs": epochs,
        "each_seed": [int(fit.history["val_loss"].argmin()) + 1 for fit in fits],
        "turned": lowest + 1 < epochs,
        "rise": _sided(of_images(rise, val.patients)),
        "ranking": _sided(_of_places(ranking, val)),
    }


def _of_places(change: np.ndarray, split: Split) -> Measured:
    """A change of the AUC, from that of each image's placement (seeds, N) (DeLong et al. 1988)."""
    of_class, mean = np.bincount(split.labels)[split.labels], change.mean(axis=1, keepdims=True)
    return Measured(mean[:, 0], (((change - mean) / of_class, split.patients),))


def paired(ours: Measured, theirs: Measured) -> Measured:
    """ours − theirs, of the same trainings on the same images."""
    pairs = zip(ours.parts, theirs.parts, strict=True)
    parts = tuple((a - b, patients) for (a, patients), (b, _) in pairs)
    return Measured(ours.values - theirs.values, parts)


def selection(fits: list[Run], data: Dataset) -> list[dict]:
    """What choosing the epoch by validation loss, by validation AUC, or not at all (last) does to
    the test result; differs: metrics whose difference from "last", training by training, shows.
    """
    rules = {
        "last": [len(fit.history) - 1 for fit in fits],
        "loss": [int(fit.history["val_loss"].argmin()) for fit in fits],
        "auc": [int(fit.history["val_auc"].argmax()) for fit in fits],
    }
    rows, last, test = [], {}, data.test
    for rule, epochs in rules.items():
        logits = [fit.open_test()["epochs"][epoch] for fit, epoch in zip(fits, epochs, strict=True)]
        ours = evaluation.measured(logits, test.labels, test.patients)
        last = last or ours
        apart = {name: _sided(paired(ours[name], last[name])) for name in JUDGED}
        row = {"rule": rule, "epochs": [epoch + 1 for epoch in epochs], "difference": apart}
        row["differs"] = [name for name in apart if apart[name]["side"] != "across"]
        rows.append(row | {name: estimate(ours[name], kind) for name, kind in JUDGED.items()})
    return rows


def learning_curve(study, fits: list[Run]) -> list[dict]:
    """The course's recipe on ever more training images, over the seeds of `fits`; see `curve`."""
    whole, seeds, points = study.used, [fit.config.seed for fit in fits], []
    for n in (max(2, round(part * len(whole.train))) for part in PARTS):
        data = replace(whole, train=datasets.subset(whole.train, n, study.seed))
        given = (data, study.weights, study.device, False)
        points.append((data, [training.run(study.config(seed=seed), *given) for seed in seeds]))
    return curve([*points, (whole, fits)])


def curve(points: list[tuple[Dataset, list]]) -> list[dict]:
    """A row a size, of data sets and the runs on them, the largest last, after the last epoch."""
    val, rows, right = points[-1][0].val, [], []
    for data, fits in points:
        train_acc, val_acc = (estimate(shares, "share") for shares in accuracies(fits, data))
        right.append(evaluation.right([fit.logits["val_last"] for fit in fits], val.labels))
        row = {"n": len(data.train), "patients": data.train.n_patients}
        row |= {"train_acc": train_acc, "val_acc": val_acc}
        for name, before in (("from_first", 0), ("from_previous", -2)):
            moved = right[-1] - right[before] if rows else None
            row[name] = None if moved is None else evaluation.change(moved, val.patients)
        rows.append(row)
    return rows


def signs(split: Split, which: np.ndarray) -> dict[str, float | None]:
    """Of a mask's images: how many, of how many patients, the mean cardiothoracic ratio of those
    without air and the mean share of air of those with it.
    """
    truth, air = split.truth, split.truth["side"] > 0
    drawn = {"ctr": truth["ctr"][which & ~air], "air": truth["size"][which & air]}
    means = {sign: float(values.mean()) if len(values) else None for sign, values in drawn.items()}
    return means | {"n": int(which.sum()), "patients": n_patients(split.patients, which)}


def memorisation(fits: list[Run], train: Split) -> dict | None:
    """How fast correct and flipped labels are fitted (Arpit et al. 2017): shares of training images
    whose prediction while training agrees with the label as written; follows: flipped labels rise
    after correct ones lead in the first epoch.
    """
    if train.truth is None or not train.truth["flipped"].any():
        return None
    flipped, who = train.truth["flipped"] > 0, train.patients
    groups, rows, right = {"correct": ~flipped, "flipped": flipped}, [], []
    for i in range(min(len(fit.history) for fit in fits)):
        right.append(evaluation.right([fit.logits["train"][i] for fit in fits], train.labels))
        row = {"epoch": i + 1}
        for name, which in groups.items():
            row[name] = estimate(of_images(right[-1][:, which], among(who, which)), "share")
        rows.append(row)
    rise = evaluation.change((right[-1] - right[0])[:, flipped], among(who, flipped))
    lead = evaluation.unpaired(rows[0]["correct"], rows[0]["flipped"])
    drawn = {name: signs(train, which) for name, which in groups.items()}
    pairs = [(drawn["flipped"][sign], drawn["correct"][sign]) for sign in ("ctr", "air")]
    return drawn | {
        "weaker": all(None not in pair and pair[0] < pair[1] for pair in pairs),
        "by_epoch": rows,
        "rise": rise,
        "lead": lead,
        "follows": rise["side"] == lead["side"] == "above",
    }


def by_patient(data: Dataset, seed: int = 0) -> dict | None:
    """What random folds and folds of whole patients report of a pure memoriser, which gives each
    held-out image the label of its nearest training image (1-NN on the pixels: Cover & Hart 1967).
    """
    pool = datasets.pool(data)
    labels, who, folds = pool.labels, pool.patients, datasets.FOLDS
    if who is None or min(n_patients(who, labels == label) for label in (0, 1)) < folds:
        return None
    step = max(1, pool.images.shape[1] // FOLD_PIXELS)
    pixels = pool.images[:, ::step, ::step].reshape(len(labels), -1).astype(np.float32)
    nearest, memoriser = [], KNeighborsRegressor(1)  # of each image the nearest that is trained on
    for splitter, groups in ((StratifiedKFold, None), (StratifiedGroupKFold, who)):
        for i in range(FOLD_REPEATS):
            parts = splitter(folds, shuffle=True, random_state=seed + i)
            parts = parts.split(labels, labels, groups)
            nearest.append(cross_val_predict(memoriser, pixels, np.arange(len(labels)), cv=parts))
    nearest = np.reshape(nearest, (2, FOLD_REPEATS, -1)).astype(int)
    random, grouped = (labels[nearest] == labels).mean(axis=1)
    return {
        "n": len(labels),
        "patients": n_patients(who),
        "majority": evaluation.majority_share(labels),
        "recognised": float((who[nearest[0]] == who).mean()),
        "random": evaluation.share(random, who),
        "grouped": evaluation.share(grouped, who),
        "flattery": evaluation.change((random - grouped)[None], who),
    }


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T > 0 that makes the mean cross-entropy of logits / T lowest (Guo et al. 2017)."""

    def mean_loss(log_t: float) -> float:
        return evaluation.loss(logits / np.exp(log_t), labels).mean()

    return float(np.exp(minimize_scalar(mean_loss, bounds=(-3, 5), method="bounded").x))


def temperature(logits: np.ndarray, val: Split, test_logits: np.ndarray, test: Split) -> dict:
    """Temperature scaling: fitted on validation logits (N,), judged on test logits before and after
    it by loss ("difference": its change) and calibration.
    """
    t = fit_temperature(logits, val.labels)
    before, after = evaluation.loss(np.stack([test_logits, test_logits / t]), test.labels)
    body = {"temperature": t, "difference": _sided(of_images(after - before, test.patients))}
    for name, scaled in (("before", test_logits), ("after", test_logits / t)):
        given = (scaled, test.labels, test.patients)
        body[name] = evaluation.calibration(*given)
        body[f"reliability_{name}"] = evaluation.reliability(*given)
    return body


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


def attribute(network: nn.Module, images: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Integrated gradients (Sundararajan et al. 2017) of the logit, (N, H, W) uint8: maps that
    sum to about logit(image) − logit(reference (H, W)).
    """
    from captum.attr import IntegratedGradients

    network.eval()
    gradients, at_once = IntegratedGradients(lambda x: network(x).squeeze(1)), max(64, len(images))
    how = {"n_steps": STEPS, "method": "gausslegendre", "internal_batch_size": at_once}
    maps = gradients.attribute(to_tensor(images), to_tensor(reference[None]), **how)
    return maps.squeeze(1).detach().numpy().astype(np.float32)


def grad_cam(network: nn.Module, images: np.ndarray) -> np.ndarray:
    """Grad-CAM (Selvaraju et al. 2017) at the last convolution: signed maps of (N, H, W) uint8."""
    from captum.attr import LayerAttribution, LayerGradCam

    last = [part for part in network.modules() if isinstance(part, nn.Conv2d)][-1]
    maps = LayerGradCam(lambda x: network(x).squeeze(1), last).attribute(to_tensor(images))
    maps = LayerAttribution.interpolate(maps, images.shape[1:], "bilinear")
    return maps.squeeze(1).detach().numpy().astype(np.float32)


def attribution(run: Run, study) -> dict:
    """Attribution maps (n, H, W) of validation images by the chosen epoch's network, some right and
    some wrong, none with a flipped label; "unlearnt" is of random weights, since a map that is the
    same there says nothing of what was learnt (Adebayo et al. 2018).
    """
    val, truth, logits = study.used.val, study.used.val.truth, run.logits["val_best"]
    right = (logits > 0) == (val.labels == 1)
    drawn = np.random.default_rng(run.config.seed).permutation(len(val))
    fair = drawn if truth is None else drawn[~truth["flipped"][drawn].astype(bool)]
    examples = np.concatenate([fair[right[fair]][:3], fair[~right[fair]][:3]])
    mean = study.used.train.images.mean(axis=0).round().astype(np.uint8)
    images, network = val.images[examples], training.restored(run)
    start = (run.config, study.used.source.size, resolve_weights("random"), torch.device("cpu"), {})
    maps = {
        "gradients": attribute(network, images, mean),
        "grad_cam": grad_cam(network, images),
        "unlearnt": attribute(training.network_of(*start), images, mean),
    }
    return {
        "images": images,
        "maps": {method: np.round(values, 5) for method, values in maps.items()},
        "labels": val.labels[examples],
        "probability": expit(logits[examples]),
        "outlines": truth and {t: truth[name][examples] > 0 for name, t in REGIONS.items()},
    }


def response(fits: list[Run], study) -> list[dict]:
    """How far the logit moves where one thing of the same patients changes, a row a thing: the n
    whose image changes, logits (n, values) as means over the seeds, change from first value to
    last, images (values, H, W) of the middle patient. Of real images only EDITS can be changed.
    """
    val, drawn = study.used.val, study.used.source.kind == "phantom"
    who = None if drawn else among(val.patients, slice(PATIENTS))
    networks, rows = [training.restored(fit) for fit in fits], []
    for thing, values in (THINGS if drawn else EDITS).items():
        images = _redrawn(thing) if drawn else _edited(val.images[:PATIENTS], thing)
        moves = (images != images[0]).any(axis=(0, 2, 3))
        inputs = [to_tensor(each) for each in images[:, moves]]
        logits = [[training.evaluate(network, x) for x in inputs] for network in networks]
        logits = np.array([np.stack(seed) for seed in logits])  # (seeds, values, n)
        row = {"thing": thing, "values": values, "n": int(moves.sum())}
        row["logits"] = logits.mean(axis=0).T.round(2)
        row["change"] = _sided(of_images(logits[:, -1] - logits[:, 0], among(who, moves)))
        rows.append(row | {"images": images[:, np.flatnonzero(moves)[moves.sum() // 2]]})
    return rows


@cache  # every network is asked about the same images
def _redrawn(thing: str) -> np.ndarray:
    """The phantom's patients (values, PATIENTS, H, W) at each value of a thing."""
    patients = phantom.patients(PATIENTS)
    return np.stack([phantom.redraw(patients, **{thing: value}) for value in THINGS[thing]])


def _edited(images: np.ndarray, thing: str) -> np.ndarray:
    """Images (N, H, W) uint8 at each value of a thing: (values, N, H, W)."""
    if thing == "mirror":
        return np.stack([images[..., ::side] for side in EDITS[thing]])
    exposed = np.stack([images - DARKER * np.log(times) for times in EDITS[thing]])
    return exposed.round().clip(0, 255).astype(np.uint8)
