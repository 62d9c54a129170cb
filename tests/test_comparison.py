"""Differences between recipes: each part against an independent computation, and verdicts on both sides of each boundary."""

import numpy as np
import pytest
from scipy.stats import norm, t, ttest_ind
from sklearn.metrics import brier_score_loss, f1_score, roc_auc_score

from cxr_helpers import comparison
from cxr_helpers.comparison import BETTER, EQUAL, MAJORITY, UNDECIDED, WORSE, Difference


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def scores(generator, n=400, shift=1.0, labels=None):
    labels = (generator.random(n) < 0.65).astype(int) if labels is None else labels
    return generator.normal(shift * labels, 1, len(labels)), labels


def test_values_are_those_of_scikit_learn(generator):
    logits, labels = scores(generator)
    logits = np.round(logits, 1)  # with ties
    found = comparison.influence(logits, labels)
    assert found["auc"][0] == pytest.approx(roc_auc_score(labels, logits))
    assert found["f1"][0] == pytest.approx(f1_score(labels, logits > 0))
    assert found["brier"][0] == pytest.approx(brier_score_loss(labels, 1 / (1 + np.exp(-logits))))
    sure = np.maximum(1 / (1 + np.exp(-logits)), 1 - 1 / (1 + np.exp(-logits)))
    assert found["overconfidence"][0] == pytest.approx(sure.mean() - found["acc"][0])
    assert found["acc"][0] == pytest.approx(((logits > 0) == labels).mean())
    assert found["sensitivity"][0] == pytest.approx((logits > 0)[labels == 1].mean())
    assert found["balanced_acc"][0] == pytest.approx(
        (found["sensitivity"][0] + found["specificity"][0]) / 2
    )
    assert comparison.influence(logits, labels, 0.75)["acc_chosen"][0] == pytest.approx(
        ((logits > 0.75) == labels).mean()
    )
    for name, (_, influences) in found.items():
        assert influences.sum() == pytest.approx(0, abs=1e-12), name


def test_image_variance_is_what_other_images_would_show(generator):
    """Of 3,000 sets of images the spread of each metric's difference, against the mean of its estimated variance."""
    found = {}
    for _ in range(3000):
        one, labels = scores(generator, 200)
        other = 0.6 * one + 0.8 * generator.normal(0.4 * labels, 1)
        for name, (value, ours) in comparison.influence(one, labels).items():
            base, theirs = comparison.influence(other, labels)[name]
            found.setdefault(name, []).append(
                (value - base, comparison.image_variance(ours - theirs))
            )
    for name, pairs in found.items():
        values, variances = np.transpose(pairs)
        assert variances.mean() / values.var() == pytest.approx(1, abs=0.15), name


def test_images_of_a_patient_count_together(generator):
    logits, labels = scores(generator, 300)
    influences = comparison.influence(logits, labels)["auc"][1]
    alone = comparison.image_variance(influences)
    assert comparison.image_variance(influences, np.arange(300)) == pytest.approx(alone)
    # Three copies of every image say no more than one, if they are known to show one patient.
    again, patients = np.tile(logits, 3), np.tile(np.arange(300), 3)
    tripled = comparison.influence(again, np.tile(labels, 3))["auc"][1]
    assert comparison.image_variance(tripled, patients) == pytest.approx(alone, rel=1e-6)
    assert comparison.image_variance(tripled) == pytest.approx(alone / 3, rel=0.01)


def test_without_images_it_is_welchs_test(generator):
    ours, theirs = generator.normal(0.92, 0.01, 5), generator.normal(0.90, 0.02, 10)
    found, wanted = comparison.combine(ours, theirs, 0.0), ttest_ind(ours, theirs, equal_var=False)
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.ci95 == pytest.approx(tuple(wanted.confidence_interval(0.95)))
    assert found.df == pytest.approx(wanted.df)


def test_below_five_seeds_the_degrees_of_freedom_are_the_fewest_possible(generator):
    ours, theirs = generator.normal(0.92, 0.002, 4), generator.normal(0.90, 0.02, 10)
    found, welch = comparison.combine(ours, theirs, 0.0), ttest_ind(ours, theirs, equal_var=False)
    assert found.df == pytest.approx(3) and welch.df > 9
    half = t.ppf(0.975, 3) * welch.statistic**-1 * found.value
    assert found.ci95 == pytest.approx((found.value - half, found.value + half))
    assert found.p == pytest.approx(2 * t.sf(welch.statistic, 3)) and found.p > welch.pvalue


def test_with_few_seeds_there_is_an_interval_of_images_and_no_p():
    found = comparison.combine(np.array([0.92, 0.93]), np.array([0.9, 0.9, 0.91]), 0.01**2)
    assert found.p is None and found.se_seeds is None and found.df is None
    assert found.ci95[1] - found.value == pytest.approx(norm.ppf(0.975) * 0.01)


def test_same_recipe_under_other_seeds_gets_no_verdict_in_95_of_100(generator):
    """Networks of one recipe: common truth of an image, a seed's own skill, and noise of both."""
    false, trials = 0, 400
    for _ in range(trials):
        labels = (generator.random(250) < 0.65).astype(int)
        easy = generator.normal(1.2 * labels, 1)
        logits = [
            easy * (1 + 0.4 * generator.normal()) + generator.normal(0, 1, 250) for _ in range(10)
        ]
        false += comparison.differences(logits[:5], logits[5:], labels)["auc"].p < 0.05
    assert false / trials < 0.075  # 5% and two standard errors


def test_gap_difference(generator):
    def fitted(train, val):
        return comparison.Fitted(
            generator.random((4, 900)) < train, generator.random((4, 300)) < val
        )

    ours, theirs = fitted(0.9, 0.85), fitted(0.98, 0.83)
    found = comparison.gap_difference(ours, theirs)
    assert found.value == pytest.approx(ours.gaps().mean() - theirs.gaps().mean())
    assert found.value == pytest.approx(-0.10, abs=0.03)
    assert found.ci95[1] < 0


def test_threshold_is_the_best_on_validation(generator):
    logits, labels = scores(generator, 150, shift=2)
    logits = np.round(logits, 1)
    found = comparison.chosen_threshold(logits, labels)
    every = np.concatenate([[-9], np.unique(logits) + 0.05])
    accuracy = [((logits > one) == labels).mean() for one in every]
    assert ((logits > found) == labels).mean() == max(accuracy)
    assert comparison.chosen_threshold(np.array([0.2, 0.4, 0.9]), np.array([1, 1, 1])) < 0.2
    assert comparison.chosen_threshold(np.array([0.2, 0.4, 0.9]), np.array([0, 0, 0])) > 0.9


@pytest.mark.parametrize(
    ("value", "half", "p", "wanted"),
    [
        (0.03, 0.02, 0.049, BETTER),
        (0.03, 0.02, 0.051, UNDECIDED),
        (-0.03, 0.02, 0.049, WORSE),
        (0.004, 0.0059, 0.2, EQUAL),
        (0.004, 0.0061, 0.2, UNDECIDED),
        (0.005, 0.004, 0.01, EQUAL),  # surely not zero, and surely too small to matter
        (-0.004, 0.0061, 0.2, UNDECIDED),
        (0.03, 0.02, None, UNDECIDED),  # one seed
        (0.0, 0.001, None, UNDECIDED),
    ],
)
def test_verdicts_on_both_sides_of_each_boundary(value, half, p, wanted):
    one = Difference(value, (value - half, value + half), p, 0.1, None, None)
    assert comparison.verdict(one, p, 0.01) == wanted
    turned = {BETTER: WORSE, WORSE: BETTER}.get(wanted, wanted)
    assert comparison.verdict(one, p, 0.01, higher_is_better=False) == turned


def test_holm_counts_the_rows_that_have_a_p():
    rows = [Difference(0.03, (0.01, 0.05), p, 0.1, None, None) for p in (0.02, 0.03, None, 0.01)]
    found = comparison.judge(rows, 0.01)
    assert [row["p_adjusted"] for row in found] == [
        pytest.approx(0.04),
        pytest.approx(0.04),
        None,
        pytest.approx(0.03),
    ]
    assert [row["verdict"] for row in found] == [BETTER, BETTER, UNDECIDED, BETTER]
    assert comparison.judge(rows[:2], 0.01)[1]["verdict"] == BETTER
    more = comparison.judge([rows[1]] * 2, 0.01)
    assert [row["verdict"] for row in more] == [UNDECIDED] * 2


def test_a_network_that_guesses_one_class_is_called_so():
    labels = np.repeat([0, 1], [4, 16])
    nearly = np.where(np.arange(20) == 0, -1.0, 1.0)
    assert not comparison.guesses([nearly])  # 95% exactly
    assert comparison.guesses([np.ones(20), nearly])
    better = Difference(0.3, (0.2, 0.4), 0.001, 0.01, 0.01, 9.0)
    found = comparison.judge([better, better], 0.01, guessing=[True, False])
    assert [row["verdict"] for row in found] == [MAJORITY, BETTER]
    assert ((nearly > 0) == labels).mean() > 0.8  # whatever its accuracy


@pytest.mark.parametrize(
    ("value", "se", "shown"),
    [(0.0, 0.005, True), (0.0, 0.0062, False), (0.005, 0.002, True), (-0.0075, 0.0018, False)],
)
def test_equivalence_on_both_sides_of_its_boundary(value, se, shown):
    """The 90% interval within ±0.01: at 0 a half width of 1.645 standard errors."""
    found = comparison.equivalent(Difference(value, (0, 0), 0.5, se, 0.0, None), 0.01)
    low, high = found.ci90
    assert found.shown is shown is (low > -0.01 and high < 0.01) is (found.p < 0.05)
    assert high - value == pytest.approx(1.645 * se, rel=1e-3)


def test_few_degrees_of_freedom_widen_the_interval_of_equivalence():
    many, few = (
        comparison.equivalent(Difference(0.0, (0, 0), 0.5, 0.003, 0.004, df), 0.01)
        for df in (None, 4.0)
    )
    assert many.shown and not few.shown
