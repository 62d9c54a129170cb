"""The ledger of claims: what is measured, and a verdict on either side of each boundary."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from cxr_helpers import claims, evaluation
from cxr_helpers.claims import COARSE, REFUTED, SUPPORTED, UNDECIDED, UNTESTABLE
from cxr_helpers.data import Dataset, subset
from cxr_helpers.engine import settings
from cxr_helpers.engine.runs import Run
from cxr_helpers.model import resolve_weights
from cxr_helpers.training import TrainConfig
from tests.conftest import made


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.50, 0.75, SUPPORTED),  # the margin's ends belong to it
        (0.49, 0.70, UNDECIDED),
        (0.55, 0.76, UNDECIDED),
        (0.40, 0.90, UNDECIDED),  # it holds the claimed number: imprecision is not rewarded
        (0.30, 0.49, REFUTED),
        (0.40, 0.50, UNDECIDED),
        (0.75, 0.90, UNDECIDED),
        (0.76, 0.90, REFUTED),
    ],
)
def test_a_claimed_number_is_tested_for_equivalence(low, high, verdict):
    assert claims.equivalent([low, high], 0.625, 0.125, images=0.125) == verdict
    coarse = COARSE if verdict != REFUTED else REFUTED  # though more seeds may still refute it
    assert claims.equivalent([low, high], 0.625, 0.125, images=0.126) == coarse


def fit(data, train: list[float], val: list[float], size: float = 1.0) -> Run:
    """A run whose share of right decisions follows these, one an epoch, with logits of one size."""
    logits = {}
    for split, shares in (("train", train), ("val", val)):
        labels = getattr(data, split).labels
        place, n = np.arange(len(labels)), len(labels)
        sign = np.stack([np.where(place < round(share * n), 1, -1) for share in shares])
        logits[split] = size * sign * np.where(labels == 1, 1, -1)
        logits[f"{split}_last"] = logits[split][-1]
    history = pd.DataFrame({"epoch": range(1, len(val) + 1)})
    return Run("key", Path(), TrainConfig(), history, logits, {})


def growing(first: float, last: float) -> list[float]:
    return np.linspace(first, last, 10).tolist()


def study(data: Dataset, whole: Dataset | None = None, weights: str = "imagenet", **more):
    given = replace(resolve_weights("random"), kind=weights)
    return SimpleNamespace(data=whole or data, used=data, weights=given, seed=0, **more)


def of_kind(data: Dataset, **changes) -> Dataset:
    return replace(data, source=replace(data.source, **changes))


@pytest.fixture(scope="module")
def theirs() -> Dataset:
    """The course's data as far as `differences` looks: source, classes, size."""
    data = replace(made(), classes=("cardiomegaly", "pneumothorax"))
    return of_kind(data, kind="chestmnist")


@pytest.fixture(scope="module")
def fitted(theirs) -> Run:
    return fit(theirs, growing(0.5, 1.0), growing(0.25, 0.75))


def test_numbers_can_be_tested_on_the_courses_own_study_alone(theirs, fitted):
    def part(split: str) -> Dataset:
        return replace(theirs, **{split: subset(getattr(theirs, split), 12, 0)})

    shorter = replace(fitted, config=TrainConfig(epochs=8))
    everything = study(of_kind(theirs, kind="phantom", size=64), weights="gabor")
    for expected, run, one in (
        ([], fitted, study(theirs)),
        ([], fitted, study(replace(theirs, classes=theirs.classes[::-1]))),
        ([], fitted, study(part("test"), theirs)),
        (["data"], fitted, study(of_kind(theirs, kind="file"))),
        (["data"], fitted, study(replace(theirs, classes=("cardiomegaly", "edema")))),
        (["weights"], fitted, study(theirs, weights="random")),
        (["recipe"], shorter, study(theirs)),
        (["images"], fitted, study(part("train"), theirs)),
        (["pixels"], fitted, study(of_kind(theirs, size=64))),
        (["data", "weights", "recipe", "pixels"], shorter, everything),
    ):
        assert claims.differences([run], one) == expected


def test_numbers_are_those_of_the_first_and_the_last_epoch(theirs, fitted):
    """The gap alone is measured in eval mode: there this network is right on 3/4 and on 1/2."""
    finished = fit(theirs, [0.75], [0.5]).logits
    last = {name: finished[name] for name in ("train_last", "val_last")}
    found = claims.numbers([replace(fitted, logits=fitted.logits | last)], theirs, [])
    rows = {row["id"]: row for row in found}
    for split, n, first, last in (("train", 48, 0.5, 1.0), ("val", 16, 0.25, 0.75)):
        for when, share in (("first", first), ("last", last)):
            acc, loss = rows[f"{split}_acc_{when}"], rows[f"{split}_loss_{when}"]
            assert (acc["value"], acc["tolerance"]) == (pytest.approx(share), 0.025)
            assert acc["ci95"] == evaluation.share(np.arange(n) < share * n)["ci95"]
            wanted = share * np.log1p(np.exp(-1)) + (1 - share) * np.log1p(np.exp(1))
            assert (loss["value"], loss["tolerance"]) == (pytest.approx(wanted), 0.05)
    gap = rows["gap_last"]
    assert (gap["value"], gap["tolerance"], len(rows)) == (pytest.approx(0.25), 0.03, 9)


@pytest.mark.parametrize(
    ("seeds", "different", "tolerance", "verdict", "reasons"),
    [
        (3, [], 0.9, None, []),
        (2, [], 0.9, UNDECIDED, ["two_seeds"]),
        (1, [], 0.9, UNDECIDED, ["one_seed"]),
        (1, [], 0.01, COARSE, []),  # 16 images say too little, however many seeds
        (5, ["weights", "pixels"], 0.01, UNTESTABLE, ["weights", "pixels"]),
    ],
)
def test_a_number_without_a_verdict_says_why_and_still_shows_what_was_measured(
    theirs, fitted, monkeypatch, seeds, different, tolerance, verdict, reasons
):
    monkeypatch.setattr(claims, "TOLERANCE", dict.fromkeys(("loss", "acc", "gap"), tolerance))
    rows = claims.numbers([fitted] * seeds, theirs, different)
    tested = claims.equivalent(rows[7]["ci95"], rows[7]["claimed"], tolerance)
    assert (rows[7]["verdict"], rows[7]["reasons"]) == (verdict or tested, reasons)
    assert np.isfinite([[row["value"], *row["ci95"]] for row in rows]).all()


PEAK = [0, 0.3, 0.5, 0.8, 1, 0.9, 0.8, 0.7, 0.6, 0.5]  # better at its end than at its beginning


@pytest.mark.parametrize(
    ("train", "val", "verdicts"),
    [
        (growing(0.4, 1), growing(0.1, 0.6), [SUPPORTED] * 6),
        (growing(0.9, 0.1), growing(1, 0.5), [REFUTED] * 6),
        (growing(0.7, 0.7), growing(0.7, 0.7), [UNDECIDED] * 6),
        (growing(0.4, 1), PEAK, [SUPPORTED, SUPPORTED, REFUTED] + [SUPPORTED] * 3),
    ],
)
def test_a_shape_is_judged_by_the_paired_change(theirs, train, val, verdicts):
    run = fit(theirs, train, val)
    rows = claims.shapes([run], theirs)
    *changes, gap = rows
    assert [row["verdict"] for row in rows] == verdicts
    assert gap["ci95"] == claims.numbers([run], theirs, [])[-1]["ci95"]
    assert [row["from_epoch"] for row in changes] == [1, 1, 5, 1, 1]
    assert {row["to_epoch"] for row in changes} == {10}
    losses = evaluation.loss(run.logits["val"], theirs.val.labels)
    rights = evaluation.right(run.logits["val"], theirs.val.labels)
    for row, each, since in ((changes[2], losses, 4), (changes[4], rights, 0)):
        change = each[-1] - each[since]
        half = 1.96 * np.std(change, ddof=1) / np.sqrt(len(change))
        low, high = row["ci95"]  # of a few decisions never narrower than as shares
        assert low < change.mean() - half + 1e-4 and high > change.mean() + half - 1e-4


@pytest.mark.parametrize(
    ("sure", "wrong", "mostly", "err"),
    [
        (15, 2, SUPPORTED, SUPPORTED),
        (8, 1, UNDECIDED, SUPPORTED),  # half of them: the interval holds one half
        (15, 0, SUPPORTED, UNDECIDED),  # none seen among these is not none
        (0, 0, REFUTED, UNDECIDED),
    ],
)
def test_confidence_is_judged_by_its_share_and_its_errors(theirs, sure, wrong, mostly, err):
    logits = np.where(np.arange(16) < sure, 2.3, 2.1) * np.where(theirs.val.labels == 1, 1, -1)
    logits[:wrong] *= -1  # σ(2.3) is above 0.9, σ(2.1) below
    run = replace(fit(theirs, [1.0], [1.0]), logits={"val_last": logits})
    share, errors = claims.confidence([run], theirs)
    assert (share["verdict"], errors["verdict"]) == (mostly, err)
    assert share["value"] == sure / 16
    assert share["ci95"] == evaluation.share(np.arange(16) < sure)["ci95"]
    assert (errors["n_wrong"], errors["n_confident"]) == (wrong, sure)


def starts(auc: tuple, seeds: int) -> list[dict]:
    """What adaptation.measure_starts gives, as far as `transfer` looks."""
    row = {"seeds": list(range(seeds)), "difference": None}
    return [row, row | {"difference": {"auc": {"value": sum(auc) / 2, "ci95": auc}}}]


@pytest.mark.parametrize(
    ("auc", "seeds", "verdict", "reasons"),
    [
        ((0.01, 0.03), 3, SUPPORTED, []),
        ((-0.03, -0.01), 5, REFUTED, []),
        ((-0.01, 0.03), 5, UNDECIDED, []),
        ((0.01, 0.03), 2, UNDECIDED, ["two_seeds"]),
    ],
)
def test_transfer_is_judged_by_the_difference_of_auc(
    theirs, monkeypatch, auc, seeds, verdict, reasons
):
    monkeypatch.setattr(claims.adaptation, "measure_starts", lambda study: starts(auc, seeds))
    row = claims.transfer(study(theirs, preset=settings.PRESETS["full"]))
    assert (row["verdict"], row["reasons"], row["ci95"]) == (verdict, reasons, auc)


def test_claims_on_imagenet_need_its_weights_medical_images_and_the_other_start(
    theirs, monkeypatch
):
    labels = theirs.val.labels
    monkeypatch.setattr(claims.adaptation, "probe_logits", lambda network, *given: answers)
    monkeypatch.setattr(claims.adaptation, "measure_starts", None)  # it would train
    phantom, answers = of_kind(theirs, kind="phantom"), np.ones(16)
    for given, *reasons in (
        (study(phantom, weights="random"), ["artificial", "weights"], ["weights"]),
        (study(theirs, weights="random"), ["weights"], ["weights"]),
        (study(phantom), ["artificial"], []),
    ):
        rows = claims.transfer(given), claims.grey_adaptation(given)
        assert [row["reasons"] for row in rows] == reasons
        assert [row["verdict"] == UNTESTABLE for row in rows] == [True, reasons[1] != []]
    row = claims.transfer(study(theirs, preset=settings.PRESETS["quick"]))
    assert (row["verdict"], row["reasons"]) == (UNDECIDED, ["untrained"])
    for n, verdict in ((1, SUPPORTED), (0, UNDECIDED), (-1, REFUTED)):
        answers = np.where(labels == 1, n, -n) if n else np.ones(16)  # all right, as majority, none
        row = claims.grey_adaptation(study(theirs))
        acc = {1: 1.0, 0: labels.mean(), -1: 0.0}[n]
        assert row["value"] == pytest.approx(acc - labels.mean()) and row["verdict"] == verdict


def test_the_courses_text_and_curve_contradict_each_other():
    found = claims.contradictions()
    apart = " ".join(row["id"] for row in found["rows"] if not row["agrees"])
    assert apart == "train_loss_first val_loss_last train_acc_last val_acc_first gap_last"
    best = {"loss": {"epoch": 3, "value": 0.36}, "acc": {"epoch": 4, "value": 0.855}}
    assert found["best"] == best and (len(found["rows"]), found["n_apart"]) == (9, 5)


def test_the_ledger_holds_every_claim_once_and_its_summary_counts_them(theirs, fitted):
    for seeds in (1, 3):
        found = claims.ledger([fitted] * seeds, study(theirs, weights="random"))
        ids = {row["id"] for row in found["numbers"] + found["shapes"]}
        assert len(ids) == claims.summarise(found)["n"] == 19
        assert found["different"] == ["weights"] and found["of_recipe"] is (seeds == 3)
    rows = [{"verdict": verdict, "reasons": []} for verdict in (SUPPORTED, COARSE, REFUTED)]
    rows += [{"verdict": UNTESTABLE, "reasons": ["data"]}] * 2
    counted = claims.summarise({"numbers": rows[:1], "shapes": rows[1:]})
    wanted = {SUPPORTED: 1, REFUTED: 1, UNDECIDED: 0, COARSE: 1, UNTESTABLE: 2}
    assert counted == {"n": 5, "tested": 3} | wanted
