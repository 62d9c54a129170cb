"""What weight adaptation preserves, measured on the images at hand (notebook 01): how alike the
adapted kernels answer, what the features are worth, and whether a start beats a random one.
"""

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from cxr_helpers import evaluation, model
from cxr_helpers.data import Split, to_tensor
from cxr_helpers.model import COURSE, Weights

# torchvision's normalisation of the RGB values in [0, 1] for IMAGENET1K_V1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LEAST_SQUARES = {"reduce": "sum", "resize": "pinv", "scale": "none"}
# The course's choice first; then one thing changed at a time, then what theory favours.
STRATEGIES = (
    COURSE,
    COURSE | {"reduce": "sum"},
    COURSE | {"reduce": "luminance"},
    COURSE | {"resize": "bilinear_antialias"},
    COURSE | {"resize": "bicubic"},
    COURSE | {"resize": "area"},
    COURSE | {"resize": "crop"},
    LEAST_SQUARES,
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "dc"},
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "norm"},
)


def source(weights: Weights) -> Weights:
    """Weights with RGB kernels (64, 3, 7, 7): these, or the Gabor bank where they have none."""
    kernels = (weights.state or {}).get("conv1.weight")
    rgb = kernels is not None and kernels.shape[1:] == (3, 7, 7)
    return weights if rgb else model.resolve_weights("gabor")


@torch.no_grad()
def original_response(weight: Tensor, images: np.ndarray, enlarge: int = 2) -> Tensor:
    """Response (N, 64, H, W) of the original kernels, stride 2, to grey images (N, H, W) uint8,
    enlarged so that each pixel has one, in three channels and normalised as ImageNet's.
    """
    grey = torch.from_numpy(images).float().div(255).unsqueeze(1)
    large = F.interpolate(grey, scale_factor=enlarge, mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    seen = (large.expand(-1, 3, -1, -1) - mean) / std
    return F.conv2d(seen, weight, stride=2, padding=weight.shape[-1] // 2)


@torch.no_grad()
def adapted_response(weight: Tensor, images: np.ndarray, stride: int = 1) -> Tensor:
    """Response (N, 64, H, W) of adapted kernels (64, 1, k, k) to grey images (N, H, W) uint8."""
    return F.conv2d(to_tensor(images), weight, stride=stride, padding=weight.shape[-1] // 2)


def probe_logits(network: nn.Module, train: Split, test: Split, seed: int = 0) -> np.ndarray:
    """Logits (N,) on `test` of a logistic regression on the network's features as they are."""
    backbone, _ = model.split_frozen(network, "head")
    seen, unseen = (
        model.features(backbone, to_tensor(part.images)).flatten(1).numpy()
        for part in (train, test)
    )
    regression = LogisticRegression(C=0.01, max_iter=2000, random_state=seed)
    classifier = make_pipeline(StandardScaler(), regression)
    return classifier.fit(seen, train.labels).decision_function(unseen)


def starts(weights: Weights, kernel: int) -> list[tuple[str, Weights, dict]]:
    """(title, weights, strategy) of each start, the random one first; kernel: the stem's."""
    random = ("Bobot acak", model.resolve_weights("random"), COURSE)
    rgb = source(weights)
    if weights.state is not None and rgb is not weights:
        return [random, (weights.title, weights, COURSE)]
    way = "jumlah" if kernel == 7 else "jumlah dan pseudo-inverse"
    return [
        random,
        (f"{rgb.title}, cara mata kuliah", rgb, COURSE),
        (f"{rgb.title}, {way}", rgb, LEAST_SQUARES),
    ]


def measure_starts(study) -> list[dict]:
    """The course's recipe from each of `starts`, over the preset's seeds (Raghu et al. 2019);
    first: validation accuracy after one epoch; test: metrics after the last; difference: from the
    random start; side: where the interval of that of the accuracy lies.
    """
    data, rows, random = study.used, [], None
    for title, weights, strategy in starts(study.weights, model.stem_kernel(data.source.size)):
        # The course's own runs are the baseline's, whose weights notebooks 02 and 03 ask for.
        keep = strategy == COURSE and weights.digest == study.weights.digest
        runs = replace(study, weights=weights).baseline(keep, adaptation=strategy)
        first = evaluation.right([run.logits["val"][0] for run in runs], data.val.labels)
        first = evaluation.of_images(first, data.val.patients)
        logits = [run.open_test()["last"] for run in runs]
        test = evaluation.measured(logits, data.test.labels, data.test.patients)
        row = {
            "title": title,
            "kind": weights.kind,
            "seeds": [run.config.seed for run in runs],
            "n_train": len(data.train),
            "epochs": study.preset.epochs,
            "first": evaluation.estimate(first, "share"),
            "test": evaluation.metrics(logits, data.test.labels, data.test.patients),
            "difference": None,
            "side": None,
        }
        random = random or test
        if rows:
            apart = {name: evaluation.difference(test[name], random[name]) for name in test}
            row |= {"difference": apart, "side": evaluation.side(apart["acc"]["ci95"])}
        rows.append(row)
    return rows
