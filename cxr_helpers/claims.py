"""The ledger of claims: what the course's report said, what is measured here, and a verdict from the interval (notebook 03)."""

import numpy as np

from cxr_helpers import evaluation
from cxr_helpers.data import Dataset
from cxr_helpers.results import interval, number, percent
from cxr_helpers.runs import Run

SUPPORTED, UNSUPPORTED, UNTESTABLE = "didukung", "tidak didukung", "tidak dapat diuji"


def _contains(estimate: dict, claimed: float) -> str:
    low, high = estimate["ci95"]
    return SUPPORTED if low <= claimed <= high else UNSUPPORTED


def _loss_text(estimate: dict) -> str:
    return f"{number(estimate['value'])} (IK 95% {interval(estimate['ci95'], 3, 1)})"


def _share_text(estimate: dict) -> str:
    return f"{percent(estimate['value'])} (IK 95% {interval(estimate['ci95'])})"


def ledger(run: Run, data: Dataset, weights_kind: str) -> list[dict]:
    """One row a claim of the course's report: claim, claimed, value, ci95, measured (text), verdict.

    A claimed number is supported when the 95% interval of the same quantity, measured under the same recipe at the last epoch,
    contains it. What cannot be measured with this data or these weights says so.
    """
    y_train, y_val = data.train.labels, data.val.labels
    last_train, last_val = run.logits["train"][-1], run.logits["val"][-1]
    right = (last_val > 0) == (y_val == 1)
    sure = evaluation.confidence(last_val) > 0.9
    seen = ~np.isnan(last_train)
    gap = evaluation.accuracy_gap([last_train], y_train, [last_val], y_val)
    measured = [
        ("Loss latih akhir 0,05", 0.05, evaluation.mean_loss(last_train, y_train), _loss_text),
        ("Loss validasi akhir 0,3", 0.3, evaluation.mean_loss(last_val, y_val), _loss_text),
        ("Akurasi latih akhir 95%", 0.95, evaluation.share(((last_train > 0) == (y_train == 1))[seen]), _share_text),
        ("Akurasi validasi akhir 85%", 0.85, evaluation.share(right), _share_text),
        ("Kesenjangan sekitar 10 poin persen", 0.10, gap, _share_text),
    ]
    rows = [
        {"claim": claim, "claimed": claimed, **estimate, "measured": text(estimate), "verdict": _contains(estimate, claimed)}
        for claim, claimed, estimate, text in measured
    ]
    above = evaluation.share(sure)
    rows.append(
        {
            "claim": "Sebagian besar prediksi memiliki keyakinan di atas 0,9",
            "claimed": 0.5,
            **above,
            "measured": _share_text(above),
            "verdict": SUPPORTED if above["ci95"][0] > 0.5 else UNSUPPORTED,
        }
    )
    errors = evaluation.share(~right[sure])
    rows.append(
        {
            "claim": "Ada kesalahan dengan keyakinan tinggi",
            "claimed": None,
            **errors,
            "measured": f"{number((~right & sure).sum(), 0)} dari {number(sure.sum(), 0)} prediksi yang yakin",
            "verdict": UNTESTABLE if not sure.any() else SUPPORTED if (~right & sure).any() else UNSUPPORTED,
        }
    )
    if weights_kind != "imagenet":
        why = "bobot ImageNet tidak dipakai pada pelatihan ini"
    else:
        why = "perlu pelatihan pembanding dari bobot acak"
    for claim in ("Transfer dari ImageNet berhasil pada citra medis", "Adaptasi ke skala keabuan berhasil"):
        rows.append({"claim": claim, "claimed": None, "value": None, "ci95": None, "measured": why, "verdict": UNTESTABLE})
    return rows
