"""Folds of whole patients, and what forgetting the patients would report (notebooks 03 and 04)."""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cxr_helpers import evaluation
from cxr_helpers.data import Dataset, Split, enough, with_splits

FOLDS = 5
REPEATS = 5  # shufflings of `by_patient`: one alone would add its own luck
PIXELS = 28  # along a side, at most, of the images that are held against each other


def _pool(data: Dataset) -> dict[str, np.ndarray]:
    """Images, labels, rows and (where known) patients of the training and validation images
    together.
    """
    names = (
        "images",
        "labels",
        "rows",
        *(("patients",) if data.train.patients is not None else ()),
    )
    return {
        name: np.concatenate([getattr(data.train, name), getattr(data.val, name)]) for name in names
    }


def folds(data: Dataset, seed: int, n: int = FOLDS) -> list[Dataset]:
    """n data sets over the pooled training and validation images: stratified folds, one for
    validation each; test untouched.

    Where patients are known, all images of a patient are in one fold.
    """
    enough(data, n)
    pool = _pool(data)
    splitter = (StratifiedGroupKFold if "patients" in pool else StratifiedKFold)(
        n, shuffle=True, random_state=seed
    )
    made = []
    for train, val in splitter.split(pool["images"], pool["labels"], pool.get("patients")):
        parts = (
            Split(**{name: array[rows] for name, array in pool.items()}) for rows in (train, val)
        )
        made.append(with_splits(data, **dict(zip(("train", "val"), parts, strict=True))))
    return made


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
    pool = _pool(data)
    labels, who = pool["labels"], pool.get("patients")
    if who is None or min(len(np.unique(who[labels == label])) for label in (0, 1)) < FOLDS:
        return None
    apart = _distances(pool["images"])
    right = {name: np.zeros((REPEATS, len(labels))) for name in ("random", "grouped")}
    shared, recognised = np.zeros((2, REPEATS, len(labels)))
    for i in range(REPEATS):
        for name, splitter, groups in (
            ("random", StratifiedKFold, None),
            ("grouped", StratifiedGroupKFold, who),
        ):
            for train, held in splitter(FOLDS, shuffle=True, random_state=seed + i).split(
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
    step = max(1, images.shape[1] // PIXELS)
    flat = images[:, ::step, ::step].reshape(len(images), -1).astype(np.float32)
    flat -= flat.mean(axis=0)
    square = (flat**2).sum(axis=1)
    return square[:, None] + square[None] - 2 * flat @ flat.T
