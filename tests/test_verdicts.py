"""Rows of a study: what is said of each, on made-up predictions whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr_helpers import evaluation, remedies
from cxr_helpers.data import Split
from cxr_helpers.evaluation import BETTER, EQUAL, MAJORITY, UNDECIDED, WORSE
from cxr_helpers.remedies import Remedy, Row, Trained
from tests.conftest import made

N = {"train": 400, "val": 150, "test": 300, "extra": 100}
LABELS = {split: (np.arange(n) % 3 > 0).astype(np.uint8) for split, n in N.items()}
SIGN = {split: np.where(labels == 1, 1.0, -1.0) for split, labels in LABELS.items()}
PATIENTS = {split: np.arange(n) // 2 + 1000 * (split == "extra") for split, n in N.items()}
SPLITS = {name: Split(np.zeros((n, 1, 1), np.uint8), LABELS[name], np.arange(n), None,
                      PATIENTS[name]) for name, n in N.items()}  # fmt: skip
DATA = replace(made(), **SPLITS)
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
        size = {"seconds": 2.0, "parameters": 9, "trained_parameters": 9 - len(name) % 2}
        each.append(Trained(seed, logits, [{"epoch": 1}], size))
    parts = ("A", "B") if name == "strong" else ()
    return Row(Remedy(name, None, name.title(), parts=parts), each, {})


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
    return {found["name"]: found for found in remedies.judge(list(ROWS.values()), DATA)}


def test_a_row_holds_what_its_predictions_say(judged):
    """Of test and extra images together, each with its own label and patient."""
    each, row = [one.logits for one in ROWS["strong"].trained], judged["strong"]
    test = [np.concatenate([one["test"], one["extra"]]) for one in each]
    points = [evaluation.chosen_threshold(one["val"], LABELS["val"]) for one in each]
    acc = [np.mean((one > 0) == TEST) for one in test]
    assert row["test"]["acc"]["sd"] == pytest.approx(np.std(acc, ddof=1))
    chosen = [np.mean((x > at) == TEST) for x, at in zip(test, points, strict=True)]
    auc = [roc_auc_score(TEST, one) for one in test]
    for name, values in (("acc", acc), ("acc_chosen", chosen), ("auc", auc)):
        assert row["test"][name]["value"] == pytest.approx(np.mean(values)), name
    counts = [row["test"][name] for name in ("n", "patients", "majority")]
    assert counts == [400, 200, pytest.approx(266 / 400)]
    loss = np.mean([np.logaddexp(0, -SIGN["val"] * one["val_last"]).mean() for one in each])
    auc = np.mean([roc_auc_score(LABELS["val"], one["val_last"]) for one in each])
    assert row["validation"] == pytest.approx({"loss": loss, "auc": auc})
    assert (row["seconds"], row["seeds"], row["parts"]) == (10, [0, 1, 2, 3, 4], ["A", "B"])
    alone = remedies.judge([ROWS["strong"]], replace(DATA, extra=None))[0]
    assert alone["test"]["n"] == 300 and judged["baseline"]["difference"] is None


def test_rows_are_compared_with_the_baseline_by_patients_thresholds_margins_and_holm(judged):
    def measured(row: Row) -> dict:
        logits = [one.logits for one in row.trained]
        train = [SIGN["train"] * one["train"] > 0 for one in logits]
        losses = [np.logaddexp(0, -SIGN["val"] * one["val"]) for one in logits]
        points = [evaluation.chosen_threshold(one["val"], LABELS["val"]) for one in logits]
        test = [np.concatenate([one["test"], one["extra"]]) for one in logits]
        patients = np.concatenate([PATIENTS["test"], PATIENTS["extra"]])
        right = evaluation.of_images([(one > 0) == TEST for one in test], patients)
        gap = evaluation.minus(evaluation.of_images(train, PATIENTS["train"]), right)
        of_test = evaluation.measured(test, TEST, patients, points) | {"gap": gap}
        of_test = {name: of_test[name] for name in (*remedies.SHOWN, "gap")}
        return of_test | {"val_loss": evaluation.of_images(losses, PATIENTS["val"])}

    base, others, apart = measured(ROWS["baseline"]), list(ROWS)[1:], []
    for name in others:
        own = measured(ROWS[name])
        apart.append({one: evaluation.difference(own[one], base[one]) for one in base})
        assert judged[name]["difference"] == apart[-1]
        assert judged[name]["gap"] == evaluation.estimate(own["gap"])
    guessing = [name == "guess" for name in others]
    for question, of, margin in (("predicts", "auc", 0.01), ("overfits", "gap", 0.02)):
        wanted = evaluation.judge([one[of] for one in apart], of, guessing)
        for name, row in zip(others, wanted, strict=True):
            narrow = np.ptp(row["ci95"]) < 2 * margin and name != "lonely"
            assert judged[name][question] == row and row["narrow"] == narrow
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
    each = [replace(like, seed=i, logits={"test": one}) for i, one in enumerate(test)]
    alone = replace(DATA, extra=None)
    found = remedies.ensemble(replace(ROWS["lonely"], trained=each), alone)
    together = roc_auc_score(LABELS["test"], np.mean(test, axis=0))
    wanted = evaluation.ensemble_difference(test, LABELS["test"], PATIENTS["test"])
    assert found["difference"]["verdict"] == verdict and found["seeds"] == [0, 1, 2, 3, 4]
    assert found["difference"].items() >= wanted.items()
    assert found["test"]["auc"]["value"] == pytest.approx(together)
    assert remedies.ensemble(replace(ROWS["lonely"], trained=each[:2]), alone) is None


# --- what the sentences say


def test_the_summary_counts_every_row_once_under_each_question(judged):
    found = remedies.summarise(list(judged.values()))
    assert (found["n"], found["combination"]) == (5, None)
    assert [sum(one["n"] for one in found[name]) for name in ("predicts", "overfits")] == [5, 5]
    assert found["predicts"][0] == {"verdict": BETTER, "n": 1, "titles": ["Strong"]}
    for name, question in zip(("predicts", "overfits"), found["narrow"], strict=True):
        assert question == sum(judged[row][name]["narrow"] for row in ROWS if row != "baseline")
    for n in (6, 7):  # a sentence names no more than six
        titles = remedies.summarise([judged["baseline"], *[judged["strong"]] * n])["predicts"][0]
        assert titles["n"] == n and (titles["titles"] is None) is (n > 6)


def test_the_combination_is_shown_beside_the_baseline_else_the_first_row(judged):
    combination = judged["feeble"] | {"name": "combination", "parts": ["A", "B"]}
    rows = [judged[name] for name in ("baseline", "feeble", "strong")]
    for given, shown in ((rows, 1), ([*rows, combination], 3)):
        found = remedies.summarise(given)
        assert found["compared"] == ["baseline", given[shown]["name"]] and found["shown"] == shown
        assert found["combination"] == (3 if shown == 3 else None)
