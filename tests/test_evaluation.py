"""Metrics against scikit-learn, intervals against simulation, differences against their definition."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn import metrics as reference
from statsmodels.stats.proportion import confint_proportions_2indep

from cxr_helpers import evaluation


@pytest.fixture(scope="module")
def case():
    generator = np.random.default_rng(3)
    labels = (generator.random(400) < 0.65).astype(np.uint8)
    return labels, generator.normal(size=400) + 1.4 * labels - 0.5


def test_every_metric_equals_scikit_learn(case):
    labels, logits = case
    predicted = logits > 0
    found = evaluation.metrics(logits, labels)
    expected = {
        "acc": reference.accuracy_score(labels, predicted),
        "balanced_acc": reference.balanced_accuracy_score(labels, predicted),
        "auc": reference.roc_auc_score(labels, logits),
        "f1": reference.f1_score(labels, predicted),
        "sensitivity": reference.recall_score(labels, predicted),
        "specificity": reference.recall_score(1 - labels, ~predicted),
    }
    for name, value in expected.items():
        assert found[name]["value"] == pytest.approx(value), name
        low, high = found[name]["ci95"]
        assert low < value < high, name
    assert found["n"] == 400
    assert found["majority"] == max(labels.mean(), 1 - labels.mean())


def test_calibration_error_by_hand():
    logits = np.log(np.array([0.9 / 0.1] * 10 + [0.6 / 0.4] * 10))
    labels = np.array([1] * 7 + [0] * 3 + [1] * 6 + [0] * 4)
    # confidence 0.9 right 7 of 10, confidence 0.6 right 6 of 10, half the images each
    assert evaluation.expected_calibration_error(1 / (1 + np.exp(-logits)), labels) == pytest.approx(0.1)


def test_ties_count_one_half_in_auc():
    labels, logits = np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 1.0, 2.0])
    assert evaluation.area_under_curve(logits, labels) == reference.roc_auc_score(labels, logits) == 0.875


def test_resampling_keeps_the_class_counts(case):
    labels, _ = case
    rows = evaluation.resample(labels, repeats=50)
    assert (labels[rows].sum(1) == labels.sum()).all()
    assert len(np.unique(rows[0])) < len(labels)


def test_wilson_holds_the_share_itself_for_every_sample_size():
    for n in range(1, 700):
        for successes in (0, 1, n - 1, n):
            low, high = evaluation.wilson(successes, n)
            assert 0 <= low <= successes / n <= high <= 1, (successes, n)


def test_wilson_stays_honest_at_the_ends():
    low, high = evaluation.wilson(20, 20)
    assert high == 1.0
    assert low == pytest.approx(0.8389, abs=1e-4)  # Wilson 1927 at 20 of 20


def test_intervals_cover_the_truth_as_often_as_they_say():
    """200 simulated test splits: the 95% intervals of accuracy and AUC hold the population's value 95% of the time."""
    generator = np.random.default_rng(11)
    big_labels = np.repeat([0, 1], 200_000)
    big = generator.normal(size=400_000) + 1.2 * big_labels - 0.6
    truth = {k: float(v) for k, v in evaluation.metric_values(big, big_labels).items()}
    labels = np.repeat([0, 1], 100)
    hits = {"acc": 0, "auc": 0, "balanced_acc": 0}
    for trial in range(200):
        found = evaluation.metrics(generator.normal(size=200) + 1.2 * labels - 0.6, labels, seed=trial)
        for name in hits:
            low, high = found[name]["ci95"]
            hits[name] += low <= truth[name] <= high
    # 95% of 200 is 190; the binomial spread is about 3, so 180 is more than three of them away
    assert all(180 <= count <= 199 for count in hits.values()), hits


def test_paired_difference_of_equal_models_is_zero(case):
    labels, logits = case
    found = evaluation.paired_difference([logits], [logits], labels)
    assert found["acc"] == {"value": 0.0, "ci95": [0.0, 0.0], "p": 1.0}


def test_paired_difference_is_narrower_than_unpaired(case):
    labels, logits = case
    other = logits + np.random.default_rng(5).normal(scale=0.2, size=len(logits))
    found = evaluation.paired_difference([other], [logits], labels)["auc"]
    low, high = evaluation.metrics(logits, labels)["auc"]["ci95"]
    assert found["ci95"][1] - found["ci95"][0] < (high - low) / 2
    assert found["value"] == pytest.approx(reference.roc_auc_score(labels, other) - reference.roc_auc_score(labels, logits))


def test_a_clear_gain_has_a_small_p(case):
    labels, logits = case
    better = logits + 2.0 * (labels - 0.5)
    found = evaluation.paired_difference([better] * 3, [logits] * 3, labels)["acc"]
    assert found["value"] > 0.05
    assert found["ci95"][0] > 0
    assert found["p"] < 0.01


def test_holm_by_hand():
    assert evaluation.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])


def test_gap_is_training_minus_validation_accuracy():
    labels = np.tile([0, 1], 50)
    train = np.where(labels == 1, 1.0, -1.0)
    val = train.copy()
    val[:20] *= -1
    found = evaluation.accuracy_gap([train], labels, [val], labels)
    assert found["value"] == pytest.approx(0.2)
    assert 0.1 < found["ci95"][0] < 0.2 < found["ci95"][1] < 0.3


def test_newcombe_by_his_own_example():
    """Newcombe 1998, table II, example (a): 56/70 against 48/80 gives 0.0524 to 0.3339."""
    a, b = 56 / 70, 48 / 80
    low, high = evaluation.square_and_add(a, evaluation.wilson(56, 70), b, evaluation.wilson(48, 80), sign=-1)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_a_model_that_always_says_one_class_still_has_an_honest_interval():
    labels = np.array([0] * 10 + [1] * 20)
    low, high = evaluation.metrics(np.ones(30), labels)["balanced_acc"]["ci95"]
    assert low < 0.45 < 0.5 < 0.6 < high


def test_loss_matches_the_course_loss(case):
    import torch

    labels, logits = case
    course = torch.nn.BCEWithLogitsLoss()(torch.from_numpy(logits), torch.from_numpy(labels.astype(float)))
    assert evaluation.mean_loss([logits], labels)["value"] == pytest.approx(course.item())


# --- the libraries that compute them ---------------------------------------------------------------------------------


def wilson_by_hand(successes: float, n: int) -> tuple[float, float]:
    """Wilson (1927), written out."""
    z, share = norm.ppf(0.975), successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


@pytest.mark.parametrize("n", [1, 2, 7, 97, 1000])
def test_wilson_is_the_published_formula_also_at_the_ends_and_between_whole_numbers(n):
    for successes in {0, 1, n / 3, n / 2, n - 1, n}:
        low, high = evaluation.wilson(successes, n)
        assert (low, high) == pytest.approx(wilson_by_hand(successes, n), abs=1e-12)
        assert low <= successes / n <= high
    assert evaluation.wilson(0, n)[0] == 0 and evaluation.wilson(n, n)[1] == 1


def test_holm_is_the_published_procedure():
    p = [0.01, 0.04, 0.03, 0.005, 1.0]
    order, running, expected = np.argsort(p), 0.0, np.empty(5)
    for rank, index in enumerate(order):
        running = max(running, min(1.0, (5 - rank) * p[index]))
        expected[index] = running
    assert evaluation.holm(p) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(("a", "b"), [((56, 70), (48, 80)), ((10, 10), (0, 20)), ((9, 10), (3, 10))])
def test_the_interval_of_a_difference_is_newcombes_as_statsmodels_has_it(a, b):
    (x, n), (y, m) = a, b
    ours = evaluation.square_and_add(x / n, evaluation.wilson(x, n), y / m, evaluation.wilson(y, m), sign=-1)
    assert ours == pytest.approx(confint_proportions_2indep(x, n, y, m, method="newcomb", compare="diff"), abs=1e-9)


# --- what sentences stand on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ci", "side"), [((0.1, 0.2), "above"), ((0.0, 0.2), "across"), ((-0.2, 0.0), "across"), ((-0.2, -0.1), "below")]
)
def test_an_interval_lies_above_below_or_across(ci, side):
    assert evaluation.side(ci) == side
    assert evaluation.side(tuple(bound + 0.5 for bound in ci), 0.5) == side


@pytest.mark.parametrize(("low", "beats"), [(0.61, True), (0.6, False), (0.5, False)])
def test_the_majority_guess_is_beaten_by_a_whole_interval(low, beats):
    assert evaluation.beats_majority({"acc": {"value": 0.7, "ci95": [low, 0.8]}, "majority": 0.6}) is beats


def test_the_operating_point_is_read_off_the_matrix():
    assert evaluation.operating_point([[30, 10], [5, 15]]) == {"sensitivity": 0.75, "specificity": 0.75}


@pytest.mark.parametrize("val_acc", [[0.5, 0.9], [0.9, 0.5]])
def test_leakage_flatters_when_the_test_would_choose_another_epoch(val_acc):
    labels = np.arange(20) % 2
    right = np.where(labels == 1, 1.0, -1.0)
    lesson = evaluation.leakage(np.array(val_acc), np.stack([np.where(np.arange(20) < 10, right, -right), right]), labels)
    assert lesson["course"] == [2, 1.0]
    assert lesson["flatters"] is (val_acc[0] > val_acc[1])
    assert lesson["flattery"]["value"] == pytest.approx(0.5 if lesson["flatters"] else 0)
