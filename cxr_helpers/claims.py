"""The ledger of claims: what the course's report said, what is measured here, and a verdict from the interval (notebook 03)."""

import numpy as np

from cxr_helpers import adaptation, evaluation, overfitting
from cxr_helpers.engine.indonesian import interval, number, percent, points
from cxr_helpers.engine.runs import Run
from cxr_helpers.model import build
from cxr_helpers.study import Study

SUPPORTED, UNSUPPORTED, UNTESTABLE = "didukung", "tidak didukung", "tidak dapat diuji"


def _contains(estimate: dict, claimed: float) -> str:
    low, high = estimate["ci95"]
    return SUPPORTED if low <= claimed <= high else UNSUPPORTED


def _loss_text(estimate: dict) -> str:
    return f"{number(estimate['value'])} (IK 95% {interval(estimate['ci95'], 3, 1)})"


def _share_text(estimate: dict) -> str:
    return f"{percent(estimate['value'])} (IK 95% {interval(estimate['ci95'])})"


def _points_text(estimate: dict) -> str:
    return f"{points(estimate['value'])} poin persen (IK 95% {interval(estimate['ci95'])})"


def _transfer(study: Study) -> list[dict]:
    """The two claims on ImageNet weights; they need those weights.

    The transfer works when training from them ends with a higher test accuracy than from random weights (paired difference clear of
    zero); the grey adaptation works when a logistic regression on the adapted network's untrained features beats guessing the more
    frequent class on validation.
    """
    titles = ("Transfer dari ImageNet berhasil pada citra medis", "Adaptasi ke skala keabuan berhasil")
    if study.weights.kind != "imagenet":
        why = "perlu bobot ImageNet, yang tidak dipakai pada pelatihan ini"
        return [
            {"claim": title, "claimed": None, "value": None, "ci95": None, "measured": why, "verdict": UNTESTABLE}
            for title in titles
        ]
    data = study.remedy_data
    change = adaptation.measure_starts(study)[1]["difference"]["acc"]
    features = adaptation.probe(build(study.weights, study.seed, data.source.size), data.train, data.val, study.seed)
    majority = evaluation.majority_share(data.val.labels)
    return [
        {
            "claim": titles[0],
            "claimed": None,
            **change,
            "measured": f"{_points_text(change)} dari bobot acak",
            "verdict": SUPPORTED if change["ci95"][0] > 0 else UNSUPPORTED,
        },
        {
            "claim": titles[1],
            "claimed": None,
            **features,
            "measured": f"fitur tanpa pelatihan {_share_text(features)}; tebakan mayoritas {percent(majority)}",
            "verdict": SUPPORTED if features["ci95"][0] > majority else UNSUPPORTED,
        },
    ]


def ledger(fits: list[Run], study: Study) -> list[dict]:
    """One row a claim of the course's report: claim, claimed, value, ci95, measured (text), verdict.

    A claimed number is supported when the 95% interval of the same quantity, measured under the same recipe over the seeds of `fits`, contains
    it; the first epoch stands for where a curve begins, the last for where it ends. What cannot be measured with this data or these
    weights says so.
    """
    data = study.baseline_data
    epochs = overfitting.by_epoch(fits, data)
    first, last = epochs[0], epochs[-1]
    logits = np.stack([fit.logits["val"][last["epoch"] - 1] for fit in fits])
    right, sure = (logits > 0) == (data.val.labels == 1), evaluation.confidence(logits) > overfitting.CONFIDENT
    measured = [
        ("*Loss* latih bermula dari 0,65", 0.65, first["train_loss"], _loss_text),
        ("*Loss* latih berakhir pada 0,05", 0.05, last["train_loss"], _loss_text),
        ("*Loss* validasi bermula dari 0,65", 0.65, first["val_loss"], _loss_text),
        ("*Loss* validasi berakhir pada 0,3", 0.3, last["val_loss"], _loss_text),
        ("Akurasi latih bermula dari 75%", 0.75, first["train_acc"], _share_text),
        ("Akurasi latih berakhir pada 95%", 0.95, last["train_acc"], _share_text),
        ("Akurasi validasi bermula dari 80%", 0.80, first["val_acc"], _share_text),
        ("Akurasi validasi berakhir pada 85%", 0.85, last["val_acc"], _share_text),
        ("Kesenjangan akhir sekitar 10 poin persen", 0.10, last["gap"], _points_text),
    ]
    rows = [
        {"claim": claim, "claimed": claimed, **estimate, "measured": text(estimate), "verdict": _contains(estimate, claimed)}
        for claim, claimed, estimate, text in measured
    ]
    share = float(sure.mean())
    above = {"value": share, "ci95": list(evaluation.wilson(share * len(data.val), len(data.val)))}
    rows.append(
        {
            "claim": "Sebagian besar prediksi memiliki keyakinan di atas 0,9",
            "claimed": 0.5,
            **above,
            "measured": _share_text(above),
            "verdict": SUPPORTED if above["ci95"][0] > 0.5 else UNSUPPORTED,
        }
    )
    errors = evaluation.share(~right[0][sure[0]])
    rows.append(
        {
            "claim": "Ada kesalahan dengan keyakinan tinggi",
            "claimed": None,
            **errors,
            "measured": f"{number((~right & sure)[0].sum(), 0)} dari {number(sure[0].sum(), 0)} prediksi yang yakin, seed {fits[0].config.seed}",
            "verdict": UNTESTABLE if not sure[0].any() else SUPPORTED if (~right & sure)[0].any() else UNSUPPORTED,
        }
    )
    return rows + _transfer(study)
