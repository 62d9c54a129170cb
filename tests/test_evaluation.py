"""Metrics against scikit-learn; intervals and differences by their definitions; verdicts on both
sides of each boundary."""

from itertools import combinations

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import kurtosis, norm, t, ttest_ind
from sklearn import metrics
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from cxr_helpers import evaluation
from cxr_helpers.evaluation import (
    BETTER,
    EQUAL,
    MAJORITY,
    UNDECIDED,
    WORSE,
    Measured,
    of_images,
    wilson,
)
from report.reference import seeds_needed

LABELS = (np.arange(40) % 3 > 0).astype(int)


def networks(n: int, seed: int = 0) -> list[np.ndarray]:
    """Logits of n networks on the images of LABELS, with ties and zeros."""
    generator = np.random.default_rng(seed)
    return [np.round(2 * generator.normal(0.6 * LABELS - 0.3, 1, 40)) / 2 for _ in range(n)]


def ece(logits: np.ndarray, labels: np.ndarray) -> float:
    """Guo et al. (2017), eq. 3, image by image."""
    bins: dict[int, list[float]] = {}
    for p, label in zip(expit(logits).tolist(), labels.tolist(), strict=True):
        sure = p if p > 0.5 else 1 - p
        bins.setdefault(min(int(sure * 15), 14), []).append(((p > 0.5) == label) - sure)
    return sum(abs(sum(gaps)) for gaps in bins.values()) / len(labels)


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    """Logits of 60 images, with ties and zeros, and labels of which two thirds are 1."""
    labels = (np.arange(60) % 3 > 0).astype(np.uint8)
    logits = np.round(np.random.default_rng(3).normal(size=60) + 1.4 * labels - 0.5, 1)
    logits[:3] = 0
    return logits, labels


# --- one set of predictions


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


def test_one_training_has_intervals_of_images(case):
    """Wilson's, at the number of images that would have this variance (of the AUC DeLong's)."""
    logits, labels = case
    found = evaluation.metrics(logits, labels)
    assert (found["n"], found["patients"], found["majority"]) == (60, None, pytest.approx(2 / 3))
    assert evaluation.majority_share(1 - labels) == pytest.approx(2 / 3)
    assert found["ece"] == {"value": pytest.approx(ece(logits, labels))}
    for name, which in (
        ("acc", labels < 2),
        ("sensitivity", labels == 1),
        ("specificity", labels == 0),
    ):
        share, n = found[name]["value"], which.sum() - 1
        assert found[name]["ci95"] == pytest.approx(wilson(share, n)), name
        hits = evaluation.share(((logits > 0) == labels)[which])
        assert hits == {"value": pytest.approx(share), "ci95": pytest.approx(found[name]["ci95"])}
    pairs = logits[labels == 1][:, None] - logits[labels == 0]
    above = (pairs > 0) + 0.5 * (pairs == 0)
    auc, se = above.mean(), np.sqrt(above.mean(1).var(ddof=0) / 40 + above.mean(0).var(ddof=0) / 20)
    assert found["auc"]["value"] == pytest.approx(auc)
    n = auc * (1 - auc) / (se**2 * 60 / 59)
    assert n < 60 and found["auc"]["ci95"] == pytest.approx(wilson(auc, n))
    four = np.arange(60) // 4  # no more patients than fifteen know the AUC
    few = evaluation.metrics(logits * 9 + labels * 12, labels, four)["auc"]
    assert few["ci95"] == pytest.approx(wilson(few["value"], 15))


def test_a_perfect_network_has_no_interval_of_no_width():
    right = np.where(LABELS == 1, 1.0, -1.0)
    found = evaluation.metrics([right] * 3, LABELS, np.arange(40) // 2)
    for name, n in (("auc", 20), ("acc", 20), ("f1", 20), ("specificity", 14**2 / 14)):
        assert found[name]["value"] == 1 and found[name]["sd"] == 0
        assert name == "specificity" or found[name]["ci95"] == pytest.approx(wilson(1, n)), name
    nothing = evaluation.share(np.array([]))
    assert np.isnan([nothing["value"], *nothing["ci95"]]).all()


def test_probabilities_are_told_from_the_logits_of_an_untrained_network(capsys):
    labels, values = np.tile([0, 1], 20), np.linspace(0.01, 0.99, 40)
    evaluation.metrics(values, labels)  # tells nothing of the classes
    assert not capsys.readouterr().out
    evaluation.metrics(values, np.sort(labels))
    assert "berikan logitnya, scipy.special.logit(p)" in capsys.readouterr().out


def test_calibration_error_at_the_edges_of_its_bins():
    """0.5 is called 0 with confidence 0.5; 0 and 1 lie in the last bin; 0.6 begins a bin."""
    probability, labels = np.array([0.5, 0.5, 1.0, 0.0, 0.6, 0.59]), np.array([0, 1, 0, 0, 1, 0])
    found = evaluation.expected_calibration_error(probability, labels)
    assert found == pytest.approx((abs(0.5 - 0.5) + abs(-1 + 0) + 0.4 + 0.59) / 6)


def test_the_calibration_error_of_chance_is_that_of_labels_drawn_from_the_network_itself(case):
    logits, _ = case
    drawn = np.random.default_rng(0).random((2000, 60)) < expit(logits)
    errors = np.array([ece(logits, labels) for labels in drawn])
    found = evaluation.calibration(logits, case[1])["ece_chance"]
    assert found["value"] == pytest.approx(errors.mean())
    assert found["range95"] == pytest.approx(np.quantile(errors, [0.025, 0.975]))
    twice = [np.repeat(values, 2) for values in (*case, np.arange(60))]
    patients = evaluation.calibration(*twice)["ece_chance"]
    assert patients["value"] == pytest.approx(found["value"])  # they share the draw of their label


# --- images and seeds


def same(found: dict, value: float, images, seeds: float, df_seeds, df_images=np.inf) -> None:
    """What was found follows from the variances of images and seeds (Satterthwaite 1946)."""
    se = np.sqrt(images + seeds)
    df = (images + seeds) ** 2 / (images**2 / df_images + seeds**2 / df_seeds)
    half = t.ppf(0.975, df) * se
    assert found["value"] == pytest.approx(value)
    assert list(found["ci95"]) == pytest.approx([value - half, value + half])
    if "p" in found:
        assert found["p"] == pytest.approx(2 * t.sf(abs(value) / se, df))


def freedom(*sets: np.ndarray) -> float:
    """Degrees of freedom of the variance of a sum of means of independent values."""
    each = [values.var() / len(values) for values in sets]
    pairs = zip(each, sets, strict=True)
    spread = [v**2 * (kurtosis(values, fisher=False) - 1) / len(values) for v, values in pairs]
    return 2 * sum(each) ** 2 / sum(spread)


def between(values: np.ndarray) -> float:
    """Variance between seeds of their mean over images, values (seeds, N), without the part that
    the images' own variance of that mean holds.
    """
    k, n = values.shape
    alone = values.var(axis=1, ddof=1).mean() / n
    together = values.mean(axis=0).var(ddof=1) / n
    return values.mean(axis=1).var(ddof=1) / k - (alone - together) / (k - 1)


def recipe(values: np.ndarray, images: float) -> Measured:
    """Seeds with these values on many images, whose variance between images is `images`."""
    n = 1_000_000
    apart = np.tile([1, -1], (len(values), n // 2)) * np.sqrt(images * (n - 1)) / n
    return Measured(values, ((apart, None),))


@pytest.mark.parametrize(("n", "m"), [(5, 10), (5, 5), (4, 10), (10, 4), (3, 3)])
def test_a_difference_counts_images_and_seeds(n, m):
    """Welch's degrees of freedom between seeds; below five seeds the fewest that they can be."""
    generator = np.random.default_rng(0)
    ours, theirs = generator.normal(0.90, 0.01, n), generator.normal(0.92, 0.02, m)
    welch = ttest_ind(ours, theirs, equal_var=False)
    df = welch.df if min(n, m) >= 5 else min(n, m) - 1
    seeds = ours.var(ddof=1) / n + theirs.var(ddof=1) / m
    for images in (1e-4, 0.0):
        found = evaluation.difference(recipe(ours, images), recipe(theirs, 0))
        same(found, ours.mean() - theirs.mean(), images, seeds, df)


def test_with_few_seeds_or_no_spread_between_them_images_alone_count():
    few = recipe(np.array([0.92, 0.93]), 0.01**2)
    found = evaluation.difference(few, recipe(np.array([0.9, 0.9, 0.91]), 0))
    assert found["p"] is None
    assert found["ci95"][1] - found["value"] == pytest.approx(norm.ppf(0.975) * 0.01)
    for name, mean in (("plain", 0.925), ("share", 0.925)):
        assert evaluation.estimate(few, name)["value"] == mean
    half = norm.ppf(0.975) * 0.01
    assert evaluation.estimate(few)["ci95"] == pytest.approx([0.925 - half, 0.925 + half])
    high, low = recipe(np.full(3, 0.5), 0.1**2), recipe(np.full(3, 0.25), 0)
    alike = evaluation.difference(high, low)
    assert alike["p"] == pytest.approx(2 * norm.sf(2.5))
    assert evaluation.difference(recipe(np.full(3, 0.5), 0), low)["p"] == 0
    assert evaluation.difference(low, low)["p"] == 1
    assert evaluation.image_variance(np.array([0.3, -0.3])) == pytest.approx(0.36)
    assert evaluation.image_variance(np.array([0.3, -0.3]), np.zeros(2)) == np.inf  # one patient


@pytest.mark.parametrize("metric", ["acc", "acc_chosen"])
def test_differences_and_means_are_those_of_the_seeds_on_the_same_images(metric):
    """Either recipe decides by a threshold of each seed's own, or by 0; two images a patient."""
    recipes, who = (networks(3), networks(4, seed=9)), np.arange(40) // 2
    points = [0.5, -0.5, 0.0], [0.5, 0.5, 0.0, 0.5]
    acc, shown, seeds = [], [], []
    for logits, own in zip(recipes, points, strict=True):
        limits = np.array(own)[:, None] * (metric == "acc_chosen")
        right = (np.array(logits) > limits) == LABELS
        of_patients = right.reshape(-1, 20, 2).mean(axis=2)
        acc.append(right.mean(axis=1))
        shown.append(of_patients.mean(axis=0))
        seeds.append(between(of_patients))
    pairs = zip(recipes, points, strict=True)
    each = [evaluation.measured(logits, LABELS, who, own)[metric] for logits, own in pairs]
    images = (shown[0] - shown[1]).var(ddof=1) / 20
    found = evaluation.difference(*each)
    same(found, acc[0].mean() - acc[1].mean(), images, sum(seeds), 2)
    mean = evaluation.metrics(recipes[0], LABELS, who, points[0])[metric]
    value, images = acc[0].mean(), shown[0].var(ddof=1) / 20
    df = (images + seeds[0]) ** 2 * 2 / seeds[0] ** 2
    n = min(40, value * (1 - value) / (images + seeds[0]))
    assert mean["ci95"] == pytest.approx(wilson(value, n, t.ppf(0.975, df)))
    same(evaluation.estimate(each[0]), value, images, seeds[0], 2, freedom(shown[0]))
    assert mean["sd"] == pytest.approx(acc[0].std(ddof=1))
    plain = [evaluation.measured(logits, LABELS) for logits in recipes]
    assert np.array_equal(plain[0]["acc_chosen"].values, plain[0]["acc"].values)


def test_a_mean_over_images_leaves_out_what_a_seed_did_not_visit():
    values = np.array([[0.0, 1, 1, 1, np.nan, 0], [1, np.nan, np.nan, 1, 0, 0]])
    found = of_images(values)
    assert found.values == pytest.approx([0.6, 0.5])
    influences = found.parts[0][0]
    assert influences[0] == pytest.approx([-0.12, 0.08, 0.08, 0.08, 0, -0.12])
    assert influences.sum(axis=1) == pytest.approx([0, 0])
    assert of_images(values[0]).values == pytest.approx([0.6])
    hits = evaluation.right([np.array([2.0, -1, np.nan])], np.array([1, 1, 0]))
    np.testing.assert_array_equal(hits, [[1, 0, np.nan]])
    logits = np.array([[0.3, -4.0]])
    loss = evaluation.loss(logits, np.array([1, 1]))
    assert loss == pytest.approx(-np.log(expit(logits)))


def test_the_gap_and_its_difference_count_both_splits_their_patients_and_the_seeds():
    generator, patients = np.random.default_rng(0), (np.arange(90) // 3, np.arange(40) // 2)

    def variance(train: np.ndarray, val: np.ndarray) -> float:
        train, val = train.mean(axis=0).reshape(30, 3), val.mean(axis=0).reshape(20, 2)
        return train.mean(axis=1).var(ddof=1) / 30 + val.mean(axis=1).var(ddof=1) / 20

    better = np.array([0.98, 0.6, 0.9, 0.7])[:, None]  # seeds differ by more than chance
    train = (generator.random((2, 4, 90)) < better).astype(float)
    val = (generator.random((2, 4, 40)) < 0.5).astype(float)
    ours, theirs = (
        evaluation.minus(of_images(train[i], patients[0]), of_images(val[i], patients[1]))
        for i in (0, 1)
    )
    gaps = train.mean(axis=2) - val.mean(axis=2)
    parts = (train.reshape(2, 4, 30, 3).mean(axis=3), val.reshape(2, 4, 20, 2).mean(axis=3))
    shared = [
        [one[i].mean(axis=1).var(ddof=1) / 4 - between(one[i]) for one in parts] for i in (0, 1)
    ]
    seeds = gaps.var(axis=1, ddof=1) / 4 - np.sum(shared, axis=1)
    images = variance(train[0] - train[1], val[0] - val[1])
    found = evaluation.difference(ours, theirs)
    same(found, gaps[0].mean() - gaps[1].mean(), images, seeds.sum(), 3)
    alone, df = variance(train[0], val[0]), freedom(*(part[0].mean(axis=0) for part in parts))
    same(evaluation.estimate(ours), gaps[0].mean(), alone, seeds[0], 3, df)


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
        found = evaluation.ensemble_difference(logits, LABELS, patients)
        same(found, gain(logits), evaluation.image_variance(apart, patients), seeds, 3)


@pytest.mark.parametrize(("seeds", "partners"), [(3, 10), (5, 5), (5, 10), (40, 40)])
def test_a_plan_says_what_a_study_of_two_recipes_that_spread_alike_would_show(seeds, partners):
    """In the variance between seeds is what each training makes of the images."""
    logits, who = networks(4), np.arange(40) // 2
    each = [evaluation.influence(one, LABELS)["auc"] for one in logits]
    pairs = [evaluation.image_variance(a[1] - b[1], who) for a, b in combinations(each, 2)]
    one_seed = np.var([value for value, _ in each], ddof=1)
    error = np.sqrt(one_seed * (1 / seeds + 1 / partners) + 1e-4)
    of_seeds = error**2 - min(error**2, 1e-4 + np.mean(pairs) / 2 * (1 / seeds + 1 / partners))
    parts = one_seed / np.array([seeds, partners])
    df = parts.sum() ** 2 / (parts**2 / [seeds - 1, partners - 1]).sum() if seeds > 4 else 2
    df *= error**4 / of_seeds**2 if of_seeds else np.inf
    recipe = evaluation.measured(logits, LABELS, who)["auc"]
    equal = (t.ppf(0.975, df) + t.ppf(0.9, df)) * error
    for rows in (1, 18):
        seen = (t.ppf(1 - 0.025 / rows, df) + t.ppf(0.8, df)) * error
        found = evaluation.plan(recipe, seeds, partners, rows, between=1e-4)
        assert found == pytest.approx({"seen": seen, "equal": equal})
    for shows in ("seen", "equal"):
        size = evaluation.plan(recipe, 10, 10, 18)[shows]
        needed = [seeds_needed(recipe, shows, size * much, rows=18) for much in (1, 0.999)]
        assert needed == [10, 11] and seeds_needed(recipe, shows, size / 9) is None
    assert seeds_needed(recipe, "seen", 9.0) == 3


def test_the_interval_of_further_trainings_counts_their_own_luck():
    values, own = np.array([0.7, 0.8, 0.9]), 4.3027 * 0.1  # Student's of 2 degrees of freedom
    for trainings in (1, 4):
        half = own * np.sqrt(1 / trainings + 1 / 3)
        same = evaluation.prediction(Measured(values, ()), trainings=trainings)["ci95"]
        assert same == pytest.approx([0.8 - half, 0.8 + half], abs=1e-4)
    images = np.tile(np.where(np.arange(400) % 5 > 0, 0.2, -0.8) / 400, (3, 1))
    others, two = (Measured(values[:k], ((images[:k], None),)) for k in (3, 2))
    wider = np.hypot(evaluation.estimate(others)["ci95"][1] - 0.8, own)
    found = evaluation.prediction(others)["ci95"]
    assert found == pytest.approx([0.8 - wider, 0.8 + wider], abs=1e-4)
    assert evaluation.prediction(others, "share")["ci95"][1] == 1
    assert evaluation.prediction(two) == evaluation.estimate(two)


@pytest.mark.parametrize(
    ("gains", "losses", "side"),
    [(0, 0, "across"), (4, 0, "across"), (9, 0, "above"), (0, 9, "below"), (9, 7, "across")],
)
def test_few_images_that_change_decide_nothing(gains, losses, side):
    """Of four gains, no loss, McNemar's exact p is 0.125."""
    moved = np.repeat([1.0, -1.0, 0.0, np.nan], [gains, losses, 401 - gains - losses, 20])
    found = evaluation.change(moved[None])
    low, high = confint_proportions_2indep(
        gains, 401, losses, 401, method="newcomb", compare="diff"
    )
    assert found["ci95"][0] <= low + 1e-4 and found["ci95"][1] >= high - 1e-4
    assert found["ci95"] == pytest.approx([low, high], abs=2e-3)
    assert found["side"] == side and found["value"] == pytest.approx((gains - losses) / 401)


def test_wilson_is_the_published_formula_and_holds_the_share_for_every_sample_size():
    for n in (*range(1, 100), 1000):
        for successes in {0, 1, n / 3, n / 2, n - 1, n}:
            low, high = wilson(successes / n, n)
            theirs = proportion_confint(successes, n, method="wilson")
            assert (low, high) == pytest.approx(theirs, abs=1e-12)
            assert 0 <= low <= successes / n <= high <= 1


def test_two_groups_are_compared_by_newcombes_interval():
    a, b = np.arange(70) < 56, np.arange(80) < 48
    shares = evaluation.share(a), evaluation.share(b)
    found = evaluation.unpaired(*shares)
    assert found["ci95"] == pytest.approx([0.0524, 0.3339], abs=2e-3)  # Newcombe 1998, table II (a)
    assert (found["value"], found["side"]) == (pytest.approx(0.2), "above")
    assert evaluation.unpaired(*shares[::-1])["side"] == "below"


def test_an_interval_lies_above_below_or_across():
    sides = {(0.1, 0.2): "above", (0, 0.2): "across", (-0.2, 0): "across", (-0.2, -0.1): "below"}
    for ci, side in sides.items():
        assert evaluation.side(ci) == evaluation.side((ci[0] + 0.5, ci[1] + 0.5), 0.5) == side


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
    one = {"value": value, "ci95": (value - half, value + half)}
    assert evaluation.verdict(one, p, 0.01) == wanted
    turned = {BETTER: WORSE, WORSE: BETTER}.get(wanted, wanted)
    assert evaluation.verdict(one, p, 0.01, higher_is_better=False) == turned


def test_rows_are_judged_by_holm_over_those_that_have_a_p_and_say_when_holm_alone_decides():
    def judged(*given: float | None, metric="auc", guessing=(False,) * 4) -> list[tuple]:
        rows = [{"value": 0.03, "ci95": (0.01, 0.05), "p": p} for p in given]
        found = evaluation.judge(rows, metric, guessing[: len(given)])
        assert not any(row["narrow"] for row in found)
        return [(row["p_adjusted"], row["verdict"], row["by_holm"]) for row in found]

    assert judged(0.02, 0.03, None, 0.01) == [
        (pytest.approx(0.04), BETTER, False),
        (pytest.approx(0.04), BETTER, False),
        (None, UNDECIDED, False),
        (pytest.approx(0.03), BETTER, False),
    ]
    assert judged(0.03, 0.03) == [(pytest.approx(0.06), UNDECIDED, True)] * 2
    assert judged(0.06) == [(pytest.approx(0.06), UNDECIDED, False)]
    assert judged(None, metric="gap") == [(None, UNDECIDED, False)]
    guessing = judged(0.001, 0.001, metric="gap", guessing=[True, False])
    assert [row[1] for row in guessing] == [MAJORITY, WORSE]


def test_networks_that_give_more_than_95_percent_to_one_class_are_said_to_guess():
    half, zero, nearly = np.repeat([0.3, -0.3], 10), np.repeat([0.0, -1.0], 10), np.ones(20)
    nearly[0] = -1
    assert not evaluation.guesses([half]) and evaluation.guesses([zero])  # 0 is class 0
    for sign in (1, -1):
        assert not evaluation.guesses([sign * nearly])  # 95% exactly
        assert evaluation.guesses([np.ones(20), sign * nearly, -np.ones(20)])
    assert not evaluation.guesses([np.ones(20), half])


# --- what the figures show


def test_each_point_of_the_reliability_diagram_is_that_of_its_images(case):
    logits, labels = case[0].copy(), case[1]
    logits[-1] = 60  # a confidence of 1
    sure, right = 1 / (1 + np.exp(-np.abs(logits))), (logits > 0) == labels
    rows = evaluation.reliability(logits, labels)
    assert sum(row["n"] for row in rows) == 60 and len(rows) > 4
    for row in rows:
        inside = np.minimum(sure * 15 // 1, 14) == min(row["confidence"] * 15 // 1, 14)
        assert row["n"] == inside.sum()
        assert row["confidence"] == pytest.approx(sure[inside].mean())
        assert row.items() >= evaluation.share(right[inside]).items()
