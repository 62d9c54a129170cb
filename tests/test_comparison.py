"""Differences between recipes by their definition; verdicts on both sides of each boundary."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm, t, ttest_ind
from sklearn import metrics

from cxr_helpers import evaluation
from cxr_helpers.evaluation import BETTER, EQUAL, MAJORITY, UNDECIDED, WORSE, Difference, Fitted

LABELS = (np.arange(40) % 3 > 0).astype(int)


def networks(n: int, seed: int = 0) -> list[np.ndarray]:
    """Logits of n networks on the images of LABELS, with ties and zeros."""
    generator = np.random.default_rng(seed)
    return [np.round(2 * generator.normal(0.6 * LABELS - 0.3, 1, 40)) / 2 for _ in range(n)]


def weighted(logits: np.ndarray, weights: np.ndarray) -> dict[str, float]:
    """Every metric by scikit-learn where some images count more than others."""
    called, chosen, probability = logits > 0, logits > 0.5, expit(logits)
    sure = np.maximum(probability, 1 - probability) - (called == LABELS)
    given = {"sample_weight": weights}
    return {
        "auc": metrics.roc_auc_score(LABELS, logits, **given),
        "acc": metrics.accuracy_score(LABELS, called, **given),
        "acc_chosen": metrics.accuracy_score(LABELS, chosen, **given),
        "balanced_acc": metrics.balanced_accuracy_score(LABELS, called, **given),
        "sensitivity": metrics.recall_score(LABELS, called, **given),
        "specificity": metrics.recall_score(LABELS, called, pos_label=0, **given),
        "f1": metrics.f1_score(LABELS, called, **given),
        "brier": metrics.brier_score_loss(LABELS, probability, **given),
        "overconfidence": np.average(sure, weights=weights),
    }


def test_values_are_scikit_learns_and_influences_their_derivatives():
    """What an image adds to a metric is how fast the metric moves when the image counts more."""
    (logits,), step = networks(1), 1e-4
    found = evaluation.influence(logits, LABELS, threshold=0.5)
    value = weighted(logits, np.ones(40))
    assert {name: one[0] for name, one in found.items()} == pytest.approx(value)
    for image in range(0, 40, 7):
        more = step * np.eye(40)[image]
        up, down = weighted(logits, 1 + more), weighted(logits, 1 - more)
        for name, (_, influence) in found.items():
            slope = (up[name] - down[name]) / (2 * step)
            assert influence[image] == pytest.approx(slope, abs=1e-6), name


# --- images and seeds


def same(found: dict, value: float, images: float, seeds: float, df_seeds: float) -> None:
    """What was found follows from the variances of images and seeds (Satterthwaite 1946)."""
    se, df = np.sqrt(images + seeds), (images + seeds) ** 2 * df_seeds / seeds**2
    half = t.ppf(0.975, df) * se
    assert found["value"] == pytest.approx(value)
    assert list(found["ci95"]) == pytest.approx([value - half, value + half])
    if "p" in found:
        wanted = (2 * t.sf(abs(value) / se, df), df, images**0.5, seeds**0.5)
        assert [found[n] for n in ("p", "df", "se_images", "se_seeds")] == pytest.approx(wanted)


@pytest.mark.parametrize(("n", "m"), [(5, 10), (5, 5), (4, 10), (10, 4), (3, 3)])
def test_a_difference_counts_images_and_seeds(n, m):
    """Welch's degrees of freedom between seeds; below five seeds the fewest that they can be."""
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(0.90, 0.01, n), generator.normal(0.92, 0.02, m)
    welch = ttest_ind(ours, theirs, equal_var=False)
    df = welch.df if min(n, m) >= 5 else min(n, m) - 1
    seeds = ours.var(ddof=1) / n + theirs.var(ddof=1) / m
    for images in (1e-4, 0.0):
        found = evaluation.combine(ours, theirs, images)
        same(found.as_dict(), ours.mean() - theirs.mean(), images, seeds, df)


def test_with_few_seeds_or_no_spread_between_them_images_alone_count():
    found = evaluation.combine(np.array([0.92, 0.93]), np.array([0.9, 0.9, 0.91]), 0.01**2)
    assert found.p is None and found.se_seeds is None and found.df is None
    assert found.ci95[1] - found.value == pytest.approx(norm.ppf(0.975) * 0.01)
    assert found.se_images == pytest.approx(0.01)
    alike = evaluation.combine(np.full(3, 0.5), np.full(3, 0.25), 0.1**2)
    assert alike.df is None and alike.p == pytest.approx(2 * norm.sf(2.5))
    assert evaluation.combine(np.full(3, 0.5), np.full(3, 0.25), 0.0).p == 0
    assert evaluation.combine(np.full(3, 0.5), np.full(3, 0.5), 0.0).p == 1
    assert evaluation.image_variance(np.array([0.3, -0.3])) == pytest.approx(0.36)
    assert evaluation.image_variance(np.array([0.3, -0.3]), np.zeros(2)) == np.inf  # one patient


@pytest.mark.parametrize("metric", ["acc", "acc_chosen"])
def test_differences_and_means_are_those_of_the_seeds_on_the_same_images(metric):
    """Either recipe decides by a threshold of each seed's own, or by 0; two images a patient."""
    recipes, who = (networks(3), networks(4, seed=9)), np.arange(40) // 2
    points = [0.5, -0.5, 0.0], [0.5, 0.5, 0.0, 0.5]
    acc, shown = [], []
    for logits, own in zip(recipes, points, strict=True):
        limits = np.array(own)[:, None] * (metric == "acc_chosen")
        right = (np.array(logits) > limits) == LABELS
        acc.append(right.mean(axis=1))
        shown.append(right.mean(axis=0).reshape(20, 2).mean(axis=1))  # of each patient
    seeds = [values.var(ddof=1) / len(values) for values in acc]
    found = evaluation.differences(*recipes, LABELS, who, points)[metric]
    images = (shown[0] - shown[1]).var(ddof=1) / 20
    same(found.as_dict(), acc[0].mean() - acc[1].mean(), images, sum(seeds), 2)
    mean = evaluation.means(recipes[0], LABELS, who, points[0])[metric]
    same(mean, acc[0].mean(), shown[0].var(ddof=1) / 20, seeds[0], 2)
    assert mean["sd"] == pytest.approx(acc[0].std(ddof=1))
    plain = evaluation.differences(*recipes, LABELS)
    assert plain["acc_chosen"] == plain["acc"] and plain["acc"].se_images != found.se_images


def test_a_mean_of_few_seeds_counts_images_and_none_leaves_its_range():
    right = np.where(LABELS == 1, 1.0, -1.0)
    for n in (1, 2):
        one = evaluation.means(networks(n), LABELS)["acc"]
        values = np.array([(x > 0) == LABELS for x in networks(n)])
        half = norm.ppf(0.975) * np.sqrt(values.mean(axis=0).var(ddof=1) / 40)
        assert one["ci95"] == pytest.approx([values.mean() - half, values.mean() + half])
        assert (one["sd"] is None) is (n == 1)
    wide = evaluation.means([right / 99, right / 99, -9 * right], LABELS)
    assert wide["acc"]["ci95"] == [0, 1] and wide["overconfidence"]["ci95"] == [-1, 1]


def test_the_gap_and_its_difference_count_both_splits_their_patients_and_the_seeds():
    generator, patients = np.random.default_rng(0), (np.arange(90) // 3, np.arange(40) // 2)

    def variance(train: np.ndarray, val: np.ndarray) -> float:
        train, val = train.mean(axis=0).reshape(30, 3), val.mean(axis=0).reshape(20, 2)
        return train.mean(axis=1).var(ddof=1) / 30 + val.mean(axis=1).var(ddof=1) / 20

    right = generator.random((2, 4, 90)) < 0.9, generator.random((2, 4, 40)) < 0.8
    train, val = (one.astype(float) for one in right)
    ours, theirs = (Fitted(right[0][i], right[1][i], *patients) for i in (0, 1))
    gaps = train.mean(axis=2) - val.mean(axis=2)
    seeds = gaps.var(axis=1, ddof=1) / 4
    images = variance(train[0] - train[1], val[0] - val[1])
    found = evaluation.gap_difference(ours, theirs).as_dict()
    same(found, gaps[0].mean() - gaps[1].mean(), images, seeds.sum(), 3)
    alone = variance(train[0], val[0])
    same(evaluation.mean_gap(ours), gaps[0].mean(), alone, seeds[0], 3)


def test_what_an_ensemble_gains_counts_images_and_by_jackknife_seeds():
    logits, who = networks(4), np.arange(40) // 2

    def gain(some: list[np.ndarray]) -> float:
        alone = np.mean([metrics.roc_auc_score(LABELS, one) for one in some])
        return metrics.roc_auc_score(LABELS, np.mean(some, axis=0)) - alone

    without = np.array([gain(logits[:i] + logits[i + 1 :]) for i in range(4)])
    seeds = 3 / 4 * ((without - without.mean()) ** 2).sum()
    alone = np.mean([evaluation.influence(one, LABELS)["auc"][1] for one in logits], axis=0)
    apart = evaluation.influence(np.mean(logits, axis=0), LABELS)["auc"][1] - alone
    for patients in (None, who):
        found = evaluation.ensemble_difference(logits, LABELS, patients).as_dict()
        same(found, gain(logits), evaluation.image_variance(apart, patients), seeds, 3)


@pytest.mark.parametrize(("seeds", "df_seeds"), [(3, 2), (5, 8)])
def test_a_detectable_difference_is_half_the_interval_and_what_80_percent_power_needs(
    seeds, df_seeds
):
    logits, who = networks(4), np.arange(40) // 2
    each = [evaluation.influence(one, LABELS)["auc"] for one in logits]
    pairs = [evaluation.image_variance(a[1] - b[1], who) for a, b in combinations(each, 2)]
    images = np.mean(pairs) / seeds
    between = 2 * np.var([value for value, _ in each], ddof=1) / seeds
    df = (images + between) ** 2 / between**2 * df_seeds
    wanted = (t.ppf(0.975, df) + t.ppf(0.8, df)) * np.sqrt(images + between)
    assert evaluation.detectable(logits, LABELS, who, seeds) == pytest.approx(wanted)


# --- verdicts


@pytest.mark.parametrize(
    ("logits", "labels", "wanted"),
    [
        ([-1, 1, 3], [0, 1, 1], 0),
        ([2, 4, 4, 6], [0, 0, 1, 1], 3),  # equal logits fall on one side
        ([-3, -1, 1, 2], [0, 1, 0, 1], 1.5),  # as good as −2, and nearer to 0
        ([0.5, 1, 2], [1, 1, 1], -0.5),
        ([0.5, 1, 2], [0, 0, 0], 3),
    ],
)
def test_the_threshold_is_the_best_on_validation(logits, labels, wanted):
    order = np.array([*range(1, len(logits)), 0])
    found = evaluation.chosen_threshold(np.array(logits)[order], np.array(labels)[order])
    assert found == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("value", "half", "p", "wanted"),
    [
        (0.03, 0.02, 0.049, BETTER),
        (0.03, 0.02, 0.05, UNDECIDED),
        (-0.03, 0.02, 0.049, WORSE),
        (0.0, 0.0099, 0.2, EQUAL),
        (0.0, 0.01, 0.2, UNDECIDED),  # the margin's ends do not belong to it
        (0.004, 0.0061, 0.2, UNDECIDED),
        (0.005, 0.004, 0.01, EQUAL),  # surely not zero, and surely too small to matter
        (0.03, 0.02, None, UNDECIDED),  # one seed
        (0.0, 0.001, None, UNDECIDED),
    ],
)
def test_verdicts_on_both_sides_of_each_boundary(value, half, p, wanted):
    one = Difference(value, (value - half, value + half), p, 0.1, None, None)
    assert evaluation.verdict(one, p, 0.01) == wanted
    turned = {BETTER: WORSE, WORSE: BETTER}.get(wanted, wanted)
    assert evaluation.verdict(one, p, 0.01, higher_is_better=False) == turned


def test_rows_are_judged_by_holm_over_those_that_have_a_p_and_say_when_holm_alone_decides():
    def judged(*given: float | None, **more) -> list[tuple]:
        rows = [Difference(0.03, (0.01, 0.05), p, 0.1, None, None) for p in given]
        found = evaluation.judge(rows, 0.01, **more)
        return [(row["p_adjusted"], row["verdict"], row["by_holm"]) for row in found]

    assert judged(0.02, 0.03, None, 0.01) == [
        (pytest.approx(0.04), BETTER, False),
        (pytest.approx(0.04), BETTER, False),
        (None, UNDECIDED, False),
        (pytest.approx(0.03), BETTER, False),
    ]
    assert judged(0.03, 0.03) == [(pytest.approx(0.06), UNDECIDED, True)] * 2
    assert judged(0.06) == [(pytest.approx(0.06), UNDECIDED, False)]
    assert judged(None, higher_is_better=False) == [(None, UNDECIDED, False)]
    guessing = judged(0.001, 0.001, higher_is_better=False, guessing=[True, False])
    assert [row[1] for row in guessing] == [MAJORITY, WORSE]


def test_networks_that_give_more_than_95_percent_to_one_class_are_said_to_guess():
    half, zero, nearly = np.repeat([0.3, -0.3], 10), np.repeat([0.0, -1.0], 10), np.ones(20)
    nearly[0] = -1
    assert not evaluation.guesses([half]) and evaluation.guesses([zero])  # 0 is class 0
    for sign in (1, -1):
        assert not evaluation.guesses([sign * nearly])  # 95% exactly
        assert evaluation.guesses([np.ones(20), sign * nearly, -np.ones(20)])
    assert not evaluation.guesses([np.ones(20), half])
