"""The ledger of claims: what the course's report said, what is measured here, and a verdict from the interval (notebook 03).

The claims are worded in notebooks/text/03_analisis_overfitting.md.j2, by their `id`.
"""

import numpy as np

from cxr_helpers import adaptation, evaluation, overfitting
from cxr_helpers.engine.runs import Run
from cxr_helpers.model import build
from cxr_helpers.study import Study

SUPPORTED, UNSUPPORTED, UNTESTABLE = "didukung", "tidak didukung", "tidak dapat diuji"
# (id, kind, what the course's report claims): a curve begins with its first epoch and ends with its last.
CLAIMED = (
    ("train_loss_first", "loss", 0.65),
    ("train_loss_last", "loss", 0.05),
    ("val_loss_first", "loss", 0.65),
    ("val_loss_last", "loss", 0.3),
    ("train_acc_first", "accuracy", 0.75),
    ("train_acc_last", "accuracy", 0.95),
    ("val_acc_first", "accuracy", 0.80),
    ("val_acc_last", "accuracy", 0.85),
    ("gap_last", "gap", 0.10),
)


def _verdict(holds: bool) -> str:
    return SUPPORTED if holds else UNSUPPORTED


def _curves(epochs: list[dict]) -> list[dict]:
    """A row for each of CLAIMED, from `overfitting.by_epoch`: supported when the interval holds the claimed number."""
    rows = []
    for id, kind, claimed in CLAIMED:
        quantity, _, when = id.rpartition("_")
        estimate = epochs[0 if when == "first" else -1][quantity]
        holds = evaluation.side(estimate["ci95"], claimed) == "across"
        rows.append({"id": id, "kind": kind, "claimed": claimed, **estimate, "verdict": _verdict(holds)})
    return rows


def _confidence(logits: np.ndarray, labels: np.ndarray, seed: int, patients: np.ndarray | None = None) -> list[dict]:
    """The two claims on confidence, from validation logits (seeds, N) of the last epoch, of patients (N,) where known.

    The errors are those of the first seed.
    """
    sure, wrong = evaluation.confidence(logits) > overfitting.CONFIDENT, (logits > 0) != (labels == 1)
    share = float(sure.mean())
    n = evaluation.effective_size(sure.mean(axis=0), patients)
    ci = evaluation.wilson(share * n, n)
    n_wrong, n_confident = int((wrong & sure)[0].sum()), int(sure[0].sum())
    mostly = {"value": share, "ci95": list(ci), "verdict": _verdict(evaluation.side(ci, 0.5) == "above")}
    errors = {
        "n_wrong": n_wrong,
        "n_confident": n_confident,
        "seed": seed,
        **evaluation.share(wrong[0][sure[0]], evaluation.among(patients, sure[0])),
        "verdict": _verdict(n_wrong > 0) if n_confident else UNTESTABLE,
    }
    return [
        {"id": "mostly_confident", "kind": "share", "claimed": 0.5, **mostly},
        {"id": "confident_errors", "kind": "count", "claimed": None, **errors},
    ]


def _transfer(study: Study) -> list[dict]:
    """The two claims on ImageNet weights; they need those weights.

    The transfer works when training from them ends with a higher test accuracy than from random weights (paired difference clear
    of zero); the grey adaptation works when a logistic regression on the adapted network's untrained features beats guessing the
    more frequent class on validation.
    """
    if study.weights.kind != "imagenet":
        unknown = {"kind": "needs_imagenet", "claimed": None, "value": None, "ci95": None, "verdict": UNTESTABLE}
        return [{"id": id, **unknown} for id in ("transfer", "grey_adaptation")]
    data = study.remedy_data
    change = adaptation.measure_starts(study)[1]["difference"]["acc"]
    features = adaptation.probe(build(study.weights, study.seed, data.source.size), data.train, data.val, study.seed)
    majority = evaluation.majority_share(data.val.labels)
    learned = _verdict(evaluation.side(features["ci95"], majority) == "above")
    return [
        {
            "id": "transfer",
            "kind": "transfer",
            "claimed": None,
            **change,
            "verdict": _verdict(evaluation.side(change["ci95"]) == "above"),
        },
        {"id": "grey_adaptation", "kind": "features", "claimed": None, **features, "majority": majority, "verdict": learned},
    ]


def ledger(fits: list[Run], study: Study) -> list[dict]:
    """One row a claim of the course's report: id, kind, claimed, value, ci95, verdict and what else its kind needs.

    A claimed number is supported when the 95% interval of the same quantity, measured under the same recipe over the seeds of
    `fits`, contains it. What cannot be measured with this data or these weights says so.
    """
    data = study.baseline_data
    epochs = overfitting.by_epoch(fits, data)
    logits = np.stack([fit.logits["val"][len(epochs) - 1] for fit in fits])
    return [*_curves(epochs), *_confidence(logits, data.val.labels, fits[0].config.seed, data.val.patients), *_transfer(study)]


def summarise(rows: list[dict]) -> dict[str, int]:
    """How many claims the ledger holds ("n"), and how many have each verdict."""
    verdicts = [row["verdict"] for row in rows]
    return {"n": len(rows)} | {verdict: verdicts.count(verdict) for verdict in (SUPPORTED, UNSUPPORTED, UNTESTABLE)}
