"""The ledger of claims: a verdict on either side of each boundary (cxr_helpers/claims.py)."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t as student

from cxr_helpers import claims, evaluation
from cxr_helpers.claims import REFUTED, SUPPORTED, UNDECIDED, UNTESTABLE
from cxr_helpers.data import subset, with_splits
from cxr_helpers.engine import settings
from cxr_helpers.engine.runs import Run
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import resolve_weights
from tests.conftest import made

EPOCHS = 10


# --- the rules ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.51, 0.74, SUPPORTED),
        (0.50, 0.75, SUPPORTED),  # the margin's ends belong to it
        (0.49, 0.70, UNDECIDED),
        (0.55, 0.76, UNDECIDED),
        (
            0.40,
            0.90,
            UNDECIDED,
        ),  # it holds the claimed number, and says nothing: imprecision is not rewarded
        (0.30, 0.49, REFUTED),
        (0.76, 0.90, REFUTED),
        (0.40, 0.50, UNDECIDED),
    ],
)
def test_a_claimed_number_is_tested_for_equivalence(low, high, verdict):
    assert claims.equivalent([low, high], 0.625, 0.125) == verdict


@pytest.mark.parametrize(
    ("ci", "claimed", "of", "verdict"),
    [
        ([0.1, 0.2], "above", 0.0, SUPPORTED),
        ([-0.2, -0.1], "above", 0.0, REFUTED),
        ([-0.1, 0.1], "above", 0.0, UNDECIDED),
        ([-0.2, -0.1], "below", 0.0, SUPPORTED),
        ([0.1, 0.2], "below", 0.0, REFUTED),
        ([0.0, 0.2], "below", 0.0, UNDECIDED),
        ([0.4, 0.49], "above", 0.5, REFUTED),
        ([0.51, 0.6], "above", 0.5, SUPPORTED),
    ],
)
def test_a_claimed_direction_is_judged_by_the_side_of_its_interval(ci, claimed, of, verdict):
    assert claims.directed(ci, claimed, of) == verdict


def test_a_recipe_is_judged_from_three_seeds_on():
    assert [claims.too_few(seeds) for seeds in (1, 2, 3, 5)] == [
        ["one_seed"],
        ["two_seeds"],
        [],
        [],
    ]


# --- made-up runs ---------------------------------------------------------------------------------------------------


def signed(labels: np.ndarray, right: float, size: float) -> np.ndarray:
    """Logits of this size of which the first `right` share of images is decided rightly."""
    sign = np.where(np.arange(len(labels)) < round(right * len(labels)), 1, -1)
    return size * sign * np.where(labels == 1, 1, -1)


def fit(data, right: dict[str, list[float]], size: float = 1.0, seed: int = 0, **changes) -> Run:
    """A run whose share of right decisions follows `right` ({"train", "val"}: one an epoch), with logits of one size."""
    logits = {
        split: np.stack([signed(getattr(data, split).labels, share, size) for share in shares])
        for split, shares in right.items()
    }
    logits |= {f"{split}_last": logits[split][-1] for split in right}
    history = pd.DataFrame({"epoch": range(1, len(right["val"]) + 1)})
    return Run("key", Path(), TrainConfig(seed=seed, **changes), history, logits, {})


def growing(first: float, last: float) -> list[float]:
    return np.linspace(first, last, EPOCHS).tolist()


def study(data, whole=None, weights: str = "imagenet"):
    return SimpleNamespace(
        data=whole or data, used=data, weights=SimpleNamespace(kind=weights), seed=0
    )


@pytest.fixture(scope="module")
def theirs():
    """The course's data as far as `differences` looks: source, classes, size."""
    data = made()
    source = dataclasses.replace(data.source, kind="chestmnist")
    return dataclasses.replace(data, source=source, classes=("cardiomegaly", "pneumothorax"))


@pytest.fixture(scope="module")
def fitted(theirs):
    return fit(theirs, {"train": growing(0.5, 1.0), "val": growing(0.5, 0.75)})


# --- what may be tested ---------------------------------------------------------------------------------------------


def test_the_course_s_own_study_differs_in_nothing(theirs, fitted):
    assert claims.differences([fitted], study(theirs)) == []


def test_each_condition_fails_by_itself(theirs, fitted):
    def source(**changes):
        return dataclasses.replace(theirs, source=dataclasses.replace(theirs.source, **changes))

    part = {
        split: with_splits(theirs, **{split: subset(getattr(theirs, split), 12, 0)})
        for split in ("train", "val", "test")
    }
    changed = dataclasses.replace(fitted, config=TrainConfig(epochs=8))
    for expected, run, one in (
        (["data"], fitted, study(source(kind="phantom"))),
        (["data"], fitted, study(source(kind="file"))),
        (["data"], fitted, study(dataclasses.replace(theirs, classes=("cardiomegaly", "edema")))),
        ([], fitted, study(dataclasses.replace(theirs, classes=theirs.classes[::-1]))),
        (["weights"], fitted, study(theirs, weights="random")),
        (["recipe"], changed, study(theirs)),
        ([], dataclasses.replace(fitted, config=TrainConfig(seed=7)), study(theirs)),
        (["images"], fitted, study(part["train"], theirs)),
        (["images"], fitted, study(part["val"], theirs)),
        ([], fitted, study(part["test"], theirs)),
        (["pixels"], fitted, study(source(size=64))),
        (
            ["data", "weights", "recipe", "pixels"],
            changed,
            study(source(kind="phantom", size=64), weights="gabor"),
        ),
    ):
        assert claims.differences([run], one) == expected


# --- claimed numbers ------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_first_and_the_last_epoch(theirs, fitted):
    rows = {row["id"]: row for row in claims.numbers([fitted], theirs, [])}
    assert list(rows) == [id for id, *_ in claims.COURSE]
    wanted = {
        "train_acc_first": 0.5,
        "train_acc_last": 1.0,
        "val_acc_first": 0.5,
        "val_acc_last": 0.75,
        "gap_last": 0.25,
    }
    for id, value in wanted.items():
        assert rows[id]["value"] == pytest.approx(value), id
    right, wrong = np.log1p(np.exp(-1.0)), np.log1p(np.exp(1.0))
    assert rows["train_loss_last"]["value"] == pytest.approx(right)
    assert rows["val_loss_last"]["value"] == pytest.approx(0.75 * right + 0.25 * wrong)
    for row in rows.values():
        assert row["ci95"][0] <= row["value"] <= row["ci95"][1]
        assert row["tolerance"] == {"loss": 0.05, "acc": 0.025, "gap": 0.03}[row["kind"]]


def test_the_gap_is_measured_in_eval_mode(theirs, fitted):
    while_training = fitted.logits | {"train": np.zeros_like(fitted.logits["train"]) - 1}
    row = claims.numbers([dataclasses.replace(fitted, logits=while_training)], theirs, [])[-1]
    assert (row["id"], row["value"]) == ("gap_last", pytest.approx(0.25))


@pytest.mark.parametrize(
    ("seeds", "different", "verdict", "reasons"),
    [
        (3, [], None, []),
        (2, [], UNDECIDED, ["two_seeds"]),
        (1, [], UNDECIDED, ["one_seed"]),
        (1, ["data"], UNTESTABLE, ["data"]),
        (5, ["weights", "pixels"], UNTESTABLE, ["weights", "pixels"]),
    ],
)
def test_a_number_without_a_verdict_says_why_and_still_shows_what_was_measured(
    theirs, fitted, seeds, different, verdict, reasons
):
    for row in claims.numbers([fitted] * seeds, theirs, different):
        tested = claims.equivalent(row["ci95"], row["claimed"], row["tolerance"])
        assert (row["verdict"], row["reasons"]) == (verdict or tested, reasons)
        assert np.isfinite([row["value"], *row["ci95"]]).all()


def test_enough_images_and_seeds_support_one_number_and_refute_another():
    data = made()
    many = {split: np.tile(np.arange(len(getattr(data, split))), 100) for split in ("train", "val")}
    data = with_splits(
        data, **{s: dataclasses.replace(p, images=p.images[i], labels=p.labels[i], rows=i) for s, i in many.items()
                 for p in [getattr(data, s)]}
    )  # fmt: skip
    fits = [
        fit(data, {"train": growing(0.75, 0.95), "val": growing(0.5, 0.85)}, seed=seed)
        for seed in range(3)
    ]
    verdicts = {row["id"]: row["verdict"] for row in claims.numbers(fits, data, [])}
    assert verdicts["train_acc_first"] == verdicts["train_acc_last"] == SUPPORTED
    assert verdicts["gap_last"] == SUPPORTED
    assert verdicts["val_acc_first"] == verdicts["train_loss_last"] == REFUTED


def test_from_three_seeds_on_the_interval_counts_them(theirs):
    shares = (0.5, 0.75, 1.0)
    fits = [
        fit(theirs, {"train": growing(0.5, 1.0), "val": growing(0.5, share)}, seed=i)
        for i, share in enumerate(shares)
    ]

    def measure(some):
        return evaluation.mean_accuracy([one.logits["val_last"] for one in some], theirs.val.labels)

    assert claims.over_seeds(measure, fits[:2]) == measure(fits[:2])
    images, whole = measure(fits), claims.over_seeds(measure, fits)
    half = student.ppf(0.975, 2) * np.std(shares, ddof=1) / np.sqrt(3)
    assert whole["value"] == images["value"] == pytest.approx(0.75)
    assert whole["ci95"][1] - 0.75 == pytest.approx(np.hypot(images["ci95"][1] - 0.75, half))
    assert claims.over_seeds(measure, fits, (0, 1))["ci95"][1] == 1 < whole["ci95"][1]
    same = claims.over_seeds(measure, [fits[1]] * 3)
    assert same["ci95"] == pytest.approx(measure(fits[1:2])["ci95"])


# --- shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "val", "verdicts"),
    [
        (growing(0.4, 1), growing(0.3, 0.9), [SUPPORTED] * 5),
        (growing(1, 0.4), growing(0.9, 0.3), [REFUTED] * 5),
        (growing(0.7, 0.7), growing(0.7, 0.7), [UNDECIDED] * 5),
        # validation is best at the fifth epoch of ten and ends better than it began
        (
            growing(0.4, 1),
            [0, 0.3, 0.5, 0.8, 1, 0.9, 0.8, 0.7, 0.6, 0.5],
            [SUPPORTED, SUPPORTED, REFUTED, SUPPORTED, SUPPORTED],
        ),
    ],
)
def test_a_shape_is_judged_by_the_paired_change(theirs, train, val, verdicts):
    *changes, exceeds = claims.shapes([fit(theirs, {"train": train, "val": val})], theirs)
    assert [row["verdict"] for row in changes] == verdicts
    assert [row["from_epoch"] for row in changes] == [1, 1, 5, 1, 1] and {
        row["to_epoch"] for row in changes
    } == {EPOCHS}
    assert changes[3]["value"] == pytest.approx(changes[3]["last"] - changes[3]["first"])
    # 48 images: the shares are rounded to whole images
    assert (changes[3]["first"], changes[3]["last"]) == (
        pytest.approx(train[0], abs=0.02),
        pytest.approx(train[-1], abs=0.02),
    )
    assert exceeds["id"] == "train_exceeds_val"


@pytest.mark.parametrize(
    ("train", "val", "verdict"), [(1, 0.4, SUPPORTED), (0.3, 1, REFUTED), (0.75, 0.75, UNDECIDED)]
)
def test_training_exceeds_validation_by_the_gap(theirs, train, val, verdict):
    row = claims.shapes(
        [fit(theirs, {"train": growing(0.5, train), "val": growing(0.5, val)})], theirs
    )[-1]
    assert row["verdict"] == verdict
    assert (
        row["ci95"]
        == claims.numbers([fit(theirs, {"train": [train], "val": [val]})], theirs, [])[-1]["ci95"]
    )


def test_a_change_counts_the_images_that_both_epochs_visited(theirs, fitted):
    train = fitted.logits["train"].copy()
    train[0, :24] = np.nan  # half of the images, all of those that the first epoch had right
    train[-1, 24:30] = np.nan
    run = dataclasses.replace(fitted, logits=fitted.logits | {"train": train})
    row = claims.shapes([run], theirs)[3]
    assert (row["id"], row["first"], row["last"], row["value"]) == ("train_acc_rises", 0, 1, 1)


def test_patients_widen_the_interval_of_a_change(theirs):
    who = dataclasses.replace(theirs.val, patients=np.arange(16) // 8)
    run = fit(theirs, {"train": growing(0.5, 1), "val": growing(0.5, 1)})
    alone, together = (
        claims.shapes([run], data)[4]["ci95"] for data in (theirs, with_splits(theirs, val=who))
    )
    assert together[0] < alone[0] and together[1] > alone[1]


@pytest.mark.parametrize(
    ("sure", "wrong", "verdicts"),
    [
        (15, 2, [SUPPORTED, SUPPORTED]),
        (8, 2, [UNDECIDED, SUPPORTED]),  # half of them: the interval holds one half
        (15, 0, [SUPPORTED, UNDECIDED]),  # none seen among these is not none
        (2, 0, [REFUTED, UNDECIDED]),
        (0, 0, [REFUTED, UNDECIDED]),
    ],
)
def test_confidence_is_judged_by_its_share_and_its_errors(theirs, sure, wrong, verdicts):
    logits = np.where(np.arange(16) < sure, 5.0, 0.5) * np.where(theirs.val.labels == 1, 1, -1)
    logits[:wrong] *= -1
    run = fit(theirs, {"train": [1.0], "val": [1.0]}, seed=7)
    mostly, errors = claims.confidence(
        [dataclasses.replace(run, logits={"val_last": logits})], theirs
    )
    assert [mostly["verdict"], errors["verdict"]] == verdicts
    assert mostly["value"] == sure / 16
    assert (errors["n_wrong"], errors["n_confident"], errors["patients"], errors["seed"]) == (
        wrong,
        sure,
        None,
        7,
    )
    known = dataclasses.replace(
        theirs, val=dataclasses.replace(theirs.val, patients=np.arange(16) // 2)
    )
    pairs = claims.confidence([dataclasses.replace(run, logits={"val_last": logits})], known)
    assert pairs[1]["patients"] == -(-sure // 2)


# --- ImageNet -------------------------------------------------------------------------------------------------------


def difference(auc: tuple, acc: tuple, seeds: int) -> list[dict]:
    """What measure_starts gives, as far as `transfer` looks."""
    both = {
        name: {"value": sum(ci) / 2, "ci95": list(ci), "p": 0.5}
        for name, ci in (("auc", auc), ("acc", acc))
    }
    return [
        {"seeds": list(range(seeds)), "difference": None},
        {"seeds": list(range(seeds)), "difference": both},
    ]


@pytest.mark.parametrize(
    ("auc", "seeds", "verdict", "reasons"),
    [
        ((0.01, 0.03), 3, SUPPORTED, []),
        ((-0.03, -0.01), 5, REFUTED, []),
        ((-0.01, 0.03), 5, UNDECIDED, []),
        ((0.01, 0.03), 2, UNDECIDED, ["two_seeds"]),
        ((0.01, 0.03), 1, UNDECIDED, ["one_seed"]),
    ],
)
def test_transfer_is_judged_by_the_paired_difference_of_auc(auc, seeds, verdict, reasons):
    row = claims.transfer(
        difference(auc, (-0.2, -0.1), seeds)
    )  # accuracy stands beside it and decides nothing
    assert (row["verdict"], row["reasons"], row["ci95"]) == (verdict, reasons, list(auc))
    assert row["acc"] == {"value": pytest.approx(-0.15), "ci95": [-0.2, -0.1]}


@pytest.mark.parametrize(
    ("ci", "verdict"),
    [
        ([0.7, 0.8], SUPPORTED),
        ([0.5, 0.6], REFUTED),
        ([0.6, 0.8], UNDECIDED),
        ([0.68, 0.8], UNDECIDED),
    ],
)
def test_the_grey_adaptation_must_beat_the_majority(ci, verdict):
    row = claims.grey_adaptation({"value": sum(ci) / 2, "ci95": ci}, 0.68)
    assert (row["verdict"], row["majority"]) == (verdict, 0.68)


@pytest.mark.parametrize(
    ("kind", "reasons"),
    [
        ("chestmnist", [["weights"], ["weights"]]),
        ("phantom", [["artificial", "weights"], ["weights"]]),
    ],
)
def test_claims_on_imagenet_need_its_weights_and_medical_images(theirs, kind, reasons):
    data = dataclasses.replace(theirs, source=dataclasses.replace(theirs.source, kind=kind))
    rows = claims.on_imagenet(SimpleNamespace(weights=resolve_weights("random"), used=data))
    assert [row["id"] for row in rows] == ["transfer", "grey_adaptation"]
    assert {row["verdict"] for row in rows} == {UNTESTABLE}
    assert [row["reasons"] for row in rows] == reasons


def test_transfer_is_left_undecided_where_the_other_start_is_not_trained(theirs, monkeypatch):
    """quick trains no other start: with the course's own data and weights it would cost two trainings that decide nothing."""
    data = dataclasses.replace(theirs, source=dataclasses.replace(theirs.source, kind="chestmnist"))
    given = dataclasses.replace(resolve_weights("random"), kind="imagenet")
    study = SimpleNamespace(weights=given, used=data, seed=0, preset=settings.PRESETS["quick"])
    trained = []
    monkeypatch.setattr(
        claims.adaptation,
        "measure_starts",
        lambda study: trained.append(study) or difference((0, 1), (0, 1), 5),
    )
    assert (claims.on_imagenet(study)[0]["kind"], trained) == ("untrained", [])
    study.preset = settings.PRESETS["full"]
    assert claims.on_imagenet(study)[0]["verdict"] == UNDECIDED and trained == [study]


def test_with_imagenet_the_phantom_still_shows_no_transfer_to_patients(theirs):
    data = dataclasses.replace(theirs, source=dataclasses.replace(theirs.source, kind="phantom"))
    given = dataclasses.replace(resolve_weights("random"), kind="imagenet")
    transfer, grey = claims.on_imagenet(SimpleNamespace(weights=given, used=data, seed=0))
    assert (transfer["verdict"], transfer["reasons"]) == (UNTESTABLE, ["artificial"])
    assert grey["kind"] == "features" and grey["verdict"] == claims.directed(
        grey["ci95"], of=grey["majority"]
    )


# --- the course's report against itself, and the whole ledger --------------------------------------------------------


def test_the_course_s_text_and_curve_contradict_each_other():
    found = claims.contradictions()
    apart = [row["id"] for row in found["rows"] if not row["agrees"]]
    assert apart == [
        "train_loss_first",
        "val_loss_last",
        "train_acc_last",
        "val_acc_first",
        "gap_last",
    ]
    assert (found["n"], found["n_apart"]) == (9, 5)
    curve = {row["id"]: row["curve"] for row in found["rows"]}
    assert curve["gap_last"] == pytest.approx(curve["train_acc_last"] - curve["val_acc_last"])
    assert (
        found["best"]["loss"]["value"] < curve["val_loss_last"]
        and found["best"]["acc"]["value"] > curve["val_acc_last"]
    )


def test_the_summary_counts_every_row():
    found = {
        "numbers": [{"verdict": SUPPORTED}, {"verdict": UNTESTABLE}, {"verdict": UNTESTABLE}],
        "shapes": [{"verdict": SUPPORTED}, {"verdict": REFUTED}],
    }
    assert claims.summarise(found) == {
        "n": 5,
        SUPPORTED: 2,
        REFUTED: 1,
        UNDECIDED: 0,
        UNTESTABLE: 2,
    }


def test_the_smoke_reports_ledger_is_whole(built):
    body = built.result("03_analisis_overfitting")
    found, epochs = body["claims"], body["epochs"]
    ids = [row["id"] for row in found["numbers"] + found["shapes"]]
    assert len(ids) == len(set(ids)) == body["claims_summary"]["n"] == 19
    assert found["different"] == ["data", "weights", "recipe", "images"] and not found["of_recipe"]
    assert {row["verdict"] for row in found["numbers"]} == {UNTESTABLE}
    for row in found["numbers"][:-1]:  # the very numbers that the figures of the chapter show
        quantity, _, when = row["id"].rpartition("_")
        assert row["ci95"] == epochs[0 if when == "first" else -1][quantity]["ci95"], row["id"]
    for row in found["shapes"]:
        assert row["verdict"] in claims.VERDICTS
    assert sum(body["claims_summary"][verdict] for verdict in claims.VERDICTS) == 19
