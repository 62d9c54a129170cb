"""Where a network looks: integrated gradients against the phantom's anatomy (notebook 03).

Sundararajan et al., Axiomatic Attribution for Deep Networks, ICML 2017, computed by captum.
"""

import numpy as np
import torch
from captum.attr import IntegratedGradients
from scipy.special import expit
from torch import nn

from cxr_helpers import evaluation, model
from cxr_helpers.data import to_tensor
from cxr_helpers.engine.runs import Run
from cxr_helpers.setup import Setup

ATTRIBUTED, STEPS = 48, 20  # images with an attribution map, and points of the integral of each
FEWEST = 10  # images with a region, to say anything of it
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
    if has.sum() < FEWEST:
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


def chosen_network(run: Run, study: Setup) -> nn.Module:
    """The network of the chosen epoch, on the CPU."""
    network = model.build(
        study.weights, run.config.seed, study.used.source.size, **run.config.adaptation
    )
    network.load_state_dict(run.weights("best"))
    return network.eval()


def measure(run: Run, study: Setup) -> dict:
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
