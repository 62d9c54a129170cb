"""Rows of a study: what is said of each, on made-up predictions whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr_helpers import evaluation, remedies
from cxr_helpers.evaluation import BETTER, EQUAL, MAJORITY, UNDECIDED, WORSE
from cxr_helpers.remedies import Combination, Images, Row, Trained

N = {"train": 400, "val": 150, "test": 300, "extra": 100}
LABELS = {split: (np.arange(n) % 3 > 0).astype(np.uint8) for split, n in N.items()}
SIGN = {split: np.where(labels == 1, 1.0, -1.0) for split, labels in LABELS.items()}
FLIPPED = {split: np.arange(N[split]) % 20 == 0 for split in ("test", "extra")}
PATIENTS = {split: np.arange(n) // 2 + 1000 * (split == "extra") for split, n in N.items()}
IMAGES = Images(LABELS, PATIENTS, FLIPPED)
TEST = np.concatenate([LABELS["test"], LABELS["extra"]])


def row(name: str, skill: float, seeds: int = 5, fit: float = 3.0, guess: bool = False) -> Row:
    """Networks of this skill on new images that tell the training images apart by `fit`."""
    generator, each = np.random.default_rng(sum(map(ord, name))), []
    easy = {split: np.random.default_rng(1).normal(0, 1, n) for split, n in N.items()}
    for seed in range(seeds):
        logits = {}
        for split, n in N.items():
            apart = fit if split == "train" else skill * (1 + 0.02 * generator.normal())
            told = apart / 2 * SIGN[split] + easy[split] + 0.3 * generator.normal(0, 1, n)
            logits[split] = told / 100 + 5 if guess else told
        logits["val_last"] = logits["val"] / 2
        each.append(Trained(seed, **logits, history=[], seconds=2.0, parameters=9,
                            trained_parameters=9 - len(name) % 2))  # fmt: skip
    parts = ("A", "B") if name == "strong" else ()
    return Row(Combination(name, "", name.title(), parts=parts), each, {}, N["train"], 10)


ROWS = {
    "baseline": row("baseline", 1.5, seeds=6, fit=4),
    "strong": row("strong", 3.0, fit=3),
    "feeble": row("feeble", 0.5, fit=6),
    "same": row("same", 1.5, fit=4),
    "guess": row("guess", 2.0, guess=True),
    "lonely": row("lonely", 3.0, seeds=1),
}


@pytest.fixture(scope="module")
def judged() -> dict[str, dict]:
    return {found["name"]: found for found in remedies.judge(list(ROWS.values()), IMAGES)}


def test_a_row_holds_what_its_predictions_say(judged):
    """Of test and extra images together, each with its own label, patient and truth."""
    each, row = ROWS["strong"].trained, judged["strong"]
    test = [np.concatenate([one.test, one.extra]) for one in each]
    drawn = TEST ^ np.concatenate([FLIPPED["test"], FLIPPED["extra"]])
    points = [evaluation.chosen_threshold(one.val, LABELS["val"]) for one in each]
    acc = [np.mean((one > 0) == TEST) for one in test]
    assert row["test"]["acc"]["sd"] == pytest.approx(np.std(acc, ddof=1))
    for name, values in (
        ("acc", acc),
        ("acc_chosen", [np.mean((x > at) == TEST) for x, at in zip(test, points, strict=True)]),
        ("truth_acc", [np.mean((one > 0) == drawn) for one in test]),
        ("truth_auc", [roc_auc_score(drawn, one) for one in test]),
    ):
        assert row["test"][name]["value"] == pytest.approx(np.mean(values)), name
    counts = [row["test"][name] for name in ("n", "patients", "majority")]
    assert counts == [400, 200, pytest.approx(266 / 400)]
    loss = np.mean([np.logaddexp(0, -SIGN["val"] * one.val_last).mean() for one in each])
    auc = np.mean([roc_auc_score(LABELS["val"], one.val_last) for one in each])
    assert row["validation"] == pytest.approx({"loss": loss, "auc": auc})
    assert (row["seconds"], row["seeds"], row["parts"]) == (10, [0, 1, 2, 3, 4], ["A", "B"])


def test_rows_are_compared_with_the_baseline_by_patients_thresholds_margins_and_holm(judged):
    def parts(row: Row) -> tuple:
        right = [
            np.array([SIGN[split] * getattr(one, split) > 0 for one in row.trained])
            for split in ("train", "val")
        ]
        points = [evaluation.chosen_threshold(one.val, LABELS["val"]) for one in row.trained]
        return points, evaluation.Fitted(*right, PATIENTS["train"], PATIENTS["val"])

    others, patients = list(ROWS)[1:], IMAGES.judging()[1]
    base, (base_points, base_fitted) = ROWS["baseline"], parts(ROWS["baseline"])
    apart, gaps = [], []
    for name in others:
        points, fitted = parts(ROWS[name])
        both = ROWS[name].test(), base.test()
        found = evaluation.differences(*both, TEST, patients, (points, base_points))
        assert judged[name]["difference"] == {n: one.as_dict() for n, one in found.items()}
        assert judged[name]["gap"] == evaluation.mean_gap(fitted)
        apart.append(found["auc"])
        gaps.append(evaluation.gap_difference(fitted, base_fitted))
    guessing = [name == "guess" for name in others]
    predicts = evaluation.judge(apart, 0.01, True, guessing)
    overfits = evaluation.judge(gaps, 0.02, False, guessing)
    assert [judged[name]["predicts"] for name in others] == predicts
    assert [judged[name]["overfits"] for name in others] == overfits
    said = [judged[name]["verdict"] for name in ROWS]
    assert said == ["pembanding", BETTER, WORSE, said[3], MAJORITY, UNDECIDED]
    assert said[3] in (EQUAL, UNDECIDED)


# --- beside the rows


def noisy(seed: int, size: float) -> np.ndarray:
    return SIGN["test"] + np.random.default_rng(seed).normal(0, size, N["test"])


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        ([noisy(seed, 2) for seed in range(5)], BETTER),  # each errs by itself
        ([noisy(0, 1)] * 5, EQUAL),  # all err alike
        ([10 + noisy(seed, 2) for seed in range(5)], MAJORITY),  # every image is called 1
    ],
    ids=["better", "equal", "majority"],
)
def test_an_ensemble_gets_the_verdict_that_was_built_in(test, verdict):
    like = ROWS["lonely"].trained[0]
    each = [replace(like, seed=i, test=one, extra=None) for i, one in enumerate(test)]
    images = Images({"test": LABELS["test"]}, {"test": PATIENTS["test"]})
    found = remedies.ensemble(replace(ROWS["lonely"], trained=each), images)
    together = roc_auc_score(LABELS["test"], np.mean(test, axis=0))
    wanted = evaluation.ensemble_difference(test, LABELS["test"], PATIENTS["test"]).as_dict()
    assert found["difference"]["verdict"] == verdict and found["seeds"] == [0, 1, 2, 3, 4]
    assert found["difference"].items() >= wanted.items()
    assert found["test"]["auc"]["value"] == pytest.approx(together)
    assert remedies.ensemble(replace(ROWS["lonely"], trained=each[:2]), images) is None


def test_folds_are_told_by_their_spread_and_as_an_ensemble():
    each, (labels, patients, _) = row("fold", 2.0, seeds=4).trained, IMAGES.judging()
    val = [(one.val[i : i + 40], LABELS["val"][i : i + 40]) for i, one in enumerate(each)]
    found = remedies.summarise_folds(val, each, IMAGES)
    acc = [np.mean((logits > 0) == y) for logits, y in val]
    for name, values in (("val_acc", acc), ("val_auc", [roc_auc_score(y, x) for x, y in val])):
        assert found[name].pop("each") == pytest.approx(values)
        spread = {"lowest": min(values), "highest": max(values), "sd": np.std(values, ddof=1)}
        assert found[name] == pytest.approx(spread | {"mean": np.mean(values)})
    test = [np.concatenate([one.test, one.extra]) for one in each]
    for name, some in (("single", test), ("ensemble", [np.mean(test, axis=0)])):
        mean = evaluation.means(some, labels, patients)
        assert found[name] == {"auc": mean["auc"], "acc": mean["acc"]}
    assert found["n"] == 4


# --- what the sentences say


def test_the_summary_counts_every_row_once_under_each_question(judged):
    found = remedies.summarise(list(judged.values()))
    assert (found["n"], found["seeds"], found["combination"]) == (5, [1, 6], None)
    assert [sum(one["n"] for one in found[name]) for name in ("predicts", "overfits")] == [5, 5]
    assert found["predicts"][0] == {"verdict": BETTER, "n": 1, "titles": ["Strong"]}
    assert found["smaller"] == [i for i, name in enumerate(judged) if len(name) % 2]
    for n in (6, 7):  # a sentence names no more than six
        titles = remedies.summarise([judged["baseline"], *[judged["strong"]] * n])["predicts"][0]
        assert titles["n"] == n and (titles["titles"] is None) is (n > 6)


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (("baseline", "feeble", "guess", "strong", "combination"), 4),  # not the best on test
        (("baseline", "feeble", "guess", "strong"), 3),  # the first that overfits less
        (("baseline", "guess", "feeble"), 1),
    ],
)
def test_one_row_is_shown_beside_the_baseline(judged, names, shown):
    combination = judged["feeble"] | {"name": "combination", "parts": ["A", "B"]}
    of = judged | {"combination": combination}
    found = remedies.summarise([of[name] for name in names])
    assert found["compared"] == ["baseline", names[shown]] and found["shown"] == shown
    assert found["combination"] == (4 if "combination" in names else None)
