"""The ledger of claims: a verdict on either side of each boundary (cxr_helpers/claims.py)."""

from types import SimpleNamespace

import numpy as np
import pytest

from cxr_helpers import claims
from cxr_helpers.weights import resolve_weights


def estimate(low: float, high: float) -> dict:
    return {"value": (low + high) / 2, "ci95": [low, high]}


@pytest.mark.parametrize(("low", "high", "holds"), [(0.6, 0.7, True), (0.65, 0.7, True), (0.66, 0.7, False), (0.5, 0.64, False)])
def test_a_claimed_number_is_supported_when_the_interval_holds_it(low, high, holds):
    epoch = {name: estimate(0.0, 1.0) for name in ("train_loss", "val_loss", "train_acc", "val_acc", "gap")}
    first, *others = claims._curves([epoch | {"train_loss": estimate(low, high)}, epoch])
    assert (first["id"], first["claimed"]) == ("train_loss_first", 0.65)
    assert first["verdict"] == (claims.SUPPORTED if holds else claims.UNSUPPORTED)
    assert len(others) == 8 and {row["verdict"] for row in others} == {claims.SUPPORTED}


@pytest.mark.parametrize(
    ("sure", "wrong", "verdicts"),
    [
        (30, 2, [claims.SUPPORTED, claims.SUPPORTED]),
        (20, 2, [claims.UNSUPPORTED, claims.SUPPORTED]),  # half of them: the interval holds one half
        (30, 0, [claims.SUPPORTED, claims.UNSUPPORTED]),
        (0, 0, [claims.UNSUPPORTED, claims.UNTESTABLE]),
    ],
)
def test_confidence_is_judged_by_its_share_and_its_errors(sure, wrong, verdicts):
    labels = np.ones(40)
    logits = np.where(np.arange(40) < sure, 5.0, 0.5)
    logits[:wrong] *= -1
    mostly, errors = claims._confidence(logits[None], labels, seed=7)
    assert [mostly["verdict"], errors["verdict"]] == verdicts
    assert (errors["n_wrong"], errors["n_confident"], errors["seed"]) == (wrong, sure, 7)


def test_claims_on_imagenet_need_its_weights_and_the_summary_counts_every_row():
    rows = claims._transfer(SimpleNamespace(weights=resolve_weights("random")))
    assert [row["id"] for row in rows] == ["transfer", "grey_adaptation"]
    assert {row["verdict"] for row in rows} == {claims.UNTESTABLE}
    counted = claims.summarise([*rows, {"verdict": claims.SUPPORTED}])
    assert counted == {"n": 3, claims.SUPPORTED: 1, claims.UNSUPPORTED: 0, claims.UNTESTABLE: 2}


def test_the_smoke_reports_ledger_is_whole(built):
    rows = built.result("03_analisis_overfitting")["claims"]
    assert len(rows) == 13 and len({row["id"] for row in rows}) == 13
    for row in rows[: len(claims.CLAIMED)]:
        low, high = row["ci95"]
        assert row["verdict"] == (claims.SUPPORTED if low <= row["claimed"] <= high else claims.UNSUPPORTED), row
