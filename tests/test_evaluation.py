"""Metrics against scikit-learn; intervals against their definitions, written out in plain loops."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import fisher_exact
from sklearn import metrics as reference
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from cxr_helpers import evaluation
from cxr_helpers.evaluation import wilson

REPEATS = 2000


def ece(logits: np.ndarray, labels: np.ndarray) -> float:
    """Guo et al. (2017), eq. 3, image by image."""
    bins: dict[int, list[float]] = {}
    for p, label in zip(expit(logits).tolist(), labels.tolist(), strict=True):
        sure = p if p > 0.5 else 1 - p
        bins.setdefault(min(int(sure * 15), 14), []).append(((p > 0.5) == label) - sure)
    return sum(abs(sum(gaps)) for gaps in bins.values()) / len(labels)


def auc(logits: np.ndarray, labels: np.ndarray) -> float:
    ones, zeros = logits[labels == 1][:, None], logits[labels == 0]
    return float(((ones > zeros) + 0.5 * (ones == zeros)).mean())


def acc(logits: np.ndarray, labels: np.ndarray) -> float:
    return float(((logits > 0) == (labels == 1)).mean())


def bootstrap(metric, logits: list[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """The metric (seeds, REPEATS) of images drawn within each class, which has its own stream."""
    drawn = []
    for value, stream in enumerate(np.random.default_rng(0).spawn(2)):
        rows = np.flatnonzero(labels == value)
        drawn.append(rows[stream.integers(0, len(rows), (REPEATS, len(rows)))])
    drawn = np.concatenate(drawn, axis=1)
    return np.array([[metric(one[rows], labels[rows]) for rows in drawn] for one in logits])


def over_seeds(samples: np.ndarray) -> np.ndarray:
    """From three seeds on each resample draws seeds, too."""
    if len(samples) < 3:
        return samples.mean(axis=0)
    picks = np.random.default_rng(1).integers(0, len(samples), (REPEATS, len(samples)))
    return np.array([samples[chosen, place].mean() for place, chosen in enumerate(picks)])


def interval(samples: np.ndarray):
    return pytest.approx(np.quantile(samples, [0.025, 0.975]).tolist(), abs=1e-12)


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    """Logits of 60 images, with ties and zeros, and labels of which two thirds are 1."""
    labels = (np.arange(60) % 3 > 0).astype(np.uint8)
    logits = np.round(np.random.default_rng(3).normal(size=60) + 1.4 * labels - 0.5, 1)
    logits[:3] = 0
    return logits, labels


# --- one set of predictions


def test_every_metric_equals_scikit_learn(case):
    logits, labels = case
    called = logits > 0
    expected = {
        "acc": reference.accuracy_score(labels, called),
        "balanced_acc": reference.balanced_accuracy_score(labels, called),
        "auc": reference.roc_auc_score(labels, logits),
        "f1": reference.f1_score(labels, called),
        "sensitivity": reference.recall_score(labels, called),
        "specificity": reference.recall_score(1 - labels, ~called),
        "ece": ece(logits, labels),
    }
    assert evaluation.metric_values(logits, labels) == pytest.approx(expected)
    several = np.stack([[np.roll(logits, 7)], [logits]]), np.stack([[labels], [labels]])
    found = evaluation.metric_values(*several)
    assert {name: values[1, 0] for name, values in found.items()} == pytest.approx(expected)


def test_every_interval_is_the_one_it_is_said_to_be(case):
    logits, labels = case
    found, values = evaluation.metrics(logits, labels), evaluation.metric_values(logits, labels)
    assert (found["n"], found["majority"]) == (60, pytest.approx(40 / 60))
    assert evaluation.majority_share(1 - labels) == pytest.approx(40 / 60)
    for name in ("acc", "balanced_acc", "auc", "f1", "sensitivity", "specificity"):
        assert found[name]["value"] == pytest.approx(values[name])
    for name, n in (("acc", 60), ("sensitivity", 40), ("specificity", 20)):
        assert found[name]["ci95"] == pytest.approx(wilson(values[name] * n, n)), name
    parts = [
        np.array([values[name], *found[name]["ci95"]]) for name in ("sensitivity", "specificity")
    ]
    (value, low, high), (other, least, most) = (part / 2 for part in parts)
    down, up = np.hypot(value - low, other - least), np.hypot(high - value, most - other)
    both = values["balanced_acc"]
    assert found["balanced_acc"]["ci95"] == pytest.approx([both - down, both + up])
    assert found["auc"]["ci95"] == interval(bootstrap(auc, [logits], labels)[0])
    samples = bootstrap(ece, [logits], labels)[0]
    assert found["ece"]["value"] == pytest.approx(max(0, 2 * values["ece"] - samples.mean()))
    assert found["ece"]["ci95"] == interval(np.maximum(0, 2 * values["ece"] - samples))


def test_two_equal_images_of_each_of_m_patients_say_as_much_as_m_minus_one_images(case):
    logits, labels = (np.repeat(array, 2) for array in case)
    found = evaluation.metrics(logits, labels, patients=np.arange(120) // 2)
    for name, n in (("acc", 59), ("sensitivity", 39), ("specificity", 19)):
        assert found[name]["ci95"] == pytest.approx(wilson(found[name]["value"] * n, n)), name
    alone = evaluation.metrics(*case)["auc"]["ci95"]
    assert np.ptp(found["auc"]["ci95"]) == pytest.approx(np.ptp(alone), rel=0.1)


def test_calibration_error_at_the_edges_of_its_bins():
    """0.5 is called 0 with confidence 0.5; 0 and 1 lie in the last bin; 0.6 begins a bin."""
    probability, labels = np.array([0.5, 0.5, 1.0, 0.0, 0.6, 0.59]), np.array([0, 1, 0, 0, 1, 0])
    found = evaluation.expected_calibration_error(probability, labels)
    assert found == pytest.approx((abs(0.5 - 0.5) + abs(-1 + 0) + 0.4 + 0.59) / 6)


def test_the_calibration_error_of_chance_is_that_of_labels_drawn_from_the_network_itself(case):
    logits, _ = case
    drawn = np.random.default_rng(0).random((REPEATS, 60)) < expit(logits)
    errors = np.array([ece(logits, labels) for labels in drawn])
    found = evaluation.chance_calibration_error(logits)
    assert found["value"] == pytest.approx(errors.mean())
    assert found["range95"] == interval(errors)
    patients = evaluation.chance_calibration_error(np.repeat(logits, 2), np.arange(120) // 2)
    assert patients["value"] == pytest.approx(found["value"])  # they share the draw of their label


# --- seeds, and differences on the same images


@pytest.mark.parametrize("n", [1, 2, 3])
def test_means_over_seeds_and_paired_differences_by_their_definitions(case, n):
    """From three seeds on seeds are drawn, too, the same of both networks."""
    logits, labels = case
    generator = np.random.default_rng(1)
    ours, theirs = logits + generator.normal(0.3 * (labels - 0.5), 0.6, (2, n, 60))
    mean = evaluation.mean_over_seeds(list(ours), labels)
    found = evaluation.paired_difference(list(ours), list(theirs), labels)
    for name, metric in (("auc", auc), ("ece", ece)):
        value = np.array([[metric(one, labels) for one in each] for each in (ours, theirs)]).mean(1)
        samples = np.array([over_seeds(bootstrap(metric, each, labels)) for each in (ours, theirs)])
        change, moved = value[0] - value[1], samples[0] - samples[1]
        if name == "ece":
            change, moved = 2 * change - moved.mean(), 2 * change - moved
            value, samples = 2 * value - samples.mean(axis=1), 2 * value[:, None] - samples
            value, samples = np.maximum(value, 0), np.maximum(samples, 0)
        assert found[name]["value"] == pytest.approx(change)
        assert found[name]["ci95"] == interval(moved)
        p = 2 * min((moved <= 0).mean(), (moved >= 0).mean())
        assert found[name]["p"] == pytest.approx(p, abs=0.01)
        assert mean[name]["value"] == pytest.approx(value[0])
        assert mean[name]["ci95"] == interval(samples[0])
    assert (mean["n"], mean["majority"]) == (60, pytest.approx(2 / 3))
    assert n > 1 or mean == evaluation.metrics(ours[0], labels)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_p_value_is_never_below_what_the_number_of_resamples_can_show(sign):
    """Every image changes to right, or to wrong: no resample lies on the other side of zero."""
    labels = np.arange(40) % 2
    right = sign * np.where(labels == 1, 1.0, -1.0)
    found = evaluation.paired_difference([right], [-right], labels)["acc"]
    assert found == {"value": sign, "ci95": [sign, sign], "p": 2 / 2001}
    same = evaluation.paired_difference([right], [right], labels)["acc"]
    assert same == {"value": 0, "ci95": [0, 0], "p": 1}


@pytest.mark.parametrize("n", [1, 3])
def test_a_paired_change_by_its_definition_leaves_out_what_is_not_known(case, n):
    labels = case[1]
    changes = np.random.default_rng(0).normal(0.05, 0.3, (n, 60))
    changes[0, ::7] = np.nan
    found = evaluation.paired_change(changes, labels)
    samples = over_seeds(bootstrap(lambda change, _: np.nanmean(change), list(changes), labels))
    value = np.mean([np.mean(one[~np.isnan(one)]) for one in changes])
    assert found["value"] == pytest.approx(value) and found["ci95"] == interval(samples)


@pytest.mark.parametrize(
    ("gains", "losses", "side"),
    [(0, 0, "across"), (4, 0, "across"), (9, 0, "above"), (0, 9, "below"), (9, 7, "across")],
)
def test_few_images_that_change_decide_nothing(gains, losses, side):
    """Of four gains, no loss, McNemar's exact p is 0.125, where a bootstrap leaves out zero."""
    change = np.repeat([1.0, -1.0, 0.0, np.nan], [gains, losses, 400 - gains - losses, 20])
    labels = np.arange(420) % 2
    found = evaluation.paired_change(change[None], labels, hits=True)
    low, high = confint_proportions_2indep(
        gains, 400, losses, 400, method="newcomb", compare="diff"
    )
    least, most = evaluation.paired_change(change[None], labels)["ci95"]
    assert found["ci95"] == pytest.approx([min(low, least), max(high, most)], abs=1e-9)
    assert found["side"] == side and found["value"] == pytest.approx((gains - losses) / 400)


# --- shares, losses and groups


def test_wilson_is_the_published_formula_and_holds_the_share_for_every_sample_size():
    for n in (*range(1, 100), 1000):
        for successes in {0, 1, n / 3, n / 2, n - 1, n}:
            low, high = wilson(successes, n)
            theirs = proportion_confint(successes, n, method="wilson")
            assert (low, high) == pytest.approx(theirs, abs=1e-12)
            assert 0 <= low <= successes / n <= high <= 1


def test_two_groups_are_compared_by_newcombe_and_fisher():
    a, b = np.arange(70) < 56, np.arange(80) < 48
    found = evaluation.compare_groups(a, b)
    assert found["ci95"] == evaluation.difference(evaluation.share(a), evaluation.share(b))["ci95"]
    assert found["ci95"] == pytest.approx([0.0524, 0.3339], abs=5e-5)  # Newcombe 1998, table II (a)
    assert found["p"] == pytest.approx(fisher_exact([[56, 14], [48, 32]]).pvalue)
    assert (found["value"], found["side"]) == (pytest.approx(0.2), "above")
    assert evaluation.compare_groups(b, a)["side"] == "below"
    # Two images a patient say as much as 69 and 79 images: 55.2 and 47.4 of them are hits.
    who = [np.arange(2 * n) // 2 for n in (70, 80)]
    pairs = evaluation.compare_groups(np.repeat(a, 2), np.repeat(b, 2), *who)
    assert pairs["p"] == pytest.approx(fisher_exact([[55, 14], [47, 32]]).pvalue)
    shares = [{"value": hits / n, "ci95": wilson(hits, n)} for hits, n in ((55.2, 69), (47.4, 79))]
    assert pairs["ci95"] == pytest.approx(evaluation.difference(*shares)["ci95"])


def test_accuracy_loss_and_gap_leave_out_images_that_an_epoch_did_not_visit(case):
    """Of 60 images 58 are known, two of them to one seed alone."""
    logits, labels = case
    seeds = np.stack([logits, -logits])
    seeds[:, [7, 8]] = seeds[0, [20, 21]] = np.nan
    known = ~np.isin(np.arange(60), [7, 8])
    right = np.where(np.isnan(seeds), np.nan, (seeds > 0) == (labels == 1))
    hits = np.nanmean(right[:, known], axis=0).sum()
    found = evaluation.mean_accuracy(list(seeds), labels)
    assert found["value"] == pytest.approx(hits / 58)
    assert found["ci95"] == pytest.approx(wilson(hits, 58))
    gap = evaluation.accuracy_gap(list(seeds), labels, [logits], labels)
    other = evaluation.share((logits > 0) == labels)
    assert gap == evaluation.difference(found, other)
    np.testing.assert_array_equal(evaluation.right(list(seeds), labels), right)
    each = np.nanmean(-np.log(expit(np.where(labels == 1, seeds, -seeds)))[:, known], axis=0)
    found = evaluation.mean_loss(list(seeds), labels)
    assert found["value"] == pytest.approx(each.mean())
    samples = bootstrap(lambda loss, _: loss.mean(), [each], labels[known])[0]
    assert found["ci95"] == interval(samples)
    nothing = evaluation.share(np.array([]))
    assert np.isnan([nothing["value"], *nothing["ci95"]]).all()


def test_holm_is_the_published_procedure():
    p = [0.01, 0.04, 0.03, 0.005, 1.0]
    assert evaluation.holm(p) == pytest.approx([0.04, 0.09, 0.09, 0.025, 1])


def test_an_interval_lies_above_below_or_across():
    for ci, side in (
        ((0.1, 0.2), "above"),
        ((0.0, 0.2), "across"),
        ((-0.2, 0.0), "across"),
        ((-0.2, -0.1), "below"),
    ):
        assert evaluation.side(ci) == evaluation.side((ci[0] + 0.5, ci[1] + 0.5), 0.5) == side


# --- what the figures show


def test_the_matrix_its_operating_point_and_the_roc_curve(case):
    logits, labels = case
    for threshold in (0.0, 0.5):
        matrix = evaluation.confusion(logits, labels, threshold)
        assert matrix == reference.confusion_matrix(labels, logits > threshold).tolist()
    point = evaluation.operating_point([[30, 10], [4, 16]])
    assert point == {"sensitivity": 0.8, "specificity": 0.75}
    curve = evaluation.roc(logits, labels)
    area = np.trapezoid(curve["true_positive"], curve["false_positive"])
    assert area == pytest.approx(auc(logits, labels))


def test_each_point_of_the_reliability_diagram_is_that_of_its_images(case):
    logits, labels = case[0].copy(), case[1]
    logits[-1] = 60  # a confidence of 1
    sure, right = 1 / (1 + np.exp(-np.abs(logits))), (logits > 0) == labels
    rows = evaluation.reliability(logits, labels).to_dict("records")
    assert sum(row["n"] for row in rows) == 60 and len(rows) > 4
    for row in rows:
        inside = np.minimum(sure * 15 // 1, 14) == min(row["confidence"] * 15 // 1, 14)
        assert row["n"] == inside.sum()
        assert row["confidence"] == pytest.approx(sure[inside].mean())
        assert row["accuracy"] == pytest.approx(right[inside].mean())
        assert (row["low"], row["high"]) == pytest.approx(wilson(right[inside].sum(), row["n"]))


@pytest.mark.parametrize(("val_acc", "honest"), [([0.5, 0.9], 2), ([0.9, 0.5], 1)])
def test_leakage_flatters_when_the_test_would_choose_another_epoch(val_acc, honest):
    labels = np.arange(20) % 2
    right = np.where(labels == 1, 1.0, -1.0)
    test = np.stack([np.where(np.arange(20) < 6, -right, right), right])
    lesson = evaluation.leakage(np.array(val_acc), test, labels)
    value = [0.7, 1.0][honest - 1]
    assert lesson["course"] == [2, 1] and lesson["honest"] == [honest, value]
    assert lesson["test_acc"] == pytest.approx([0.7, 1])
    assert lesson["course_ci95"] == pytest.approx(wilson(20, 20))
    assert lesson["honest_ci95"] == pytest.approx(wilson(20 * value, 20))
    ours, theirs = bootstrap(acc, [test[1], test[honest - 1]], labels)
    assert lesson["flattery"]["ci95"] == interval(ours - theirs)
    assert lesson["flattery"]["value"] == pytest.approx(1 - value)
    assert lesson["flatters"] is (value < 1)
