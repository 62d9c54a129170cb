"""Metrics against scikit-learn, intervals against simulation, differences against their definition."""

import json
import re
import tracemalloc

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import fisher_exact, norm
from sklearn import metrics as reference
from statsmodels.stats.proportion import confint_proportions_2indep

from cxr_helpers import evaluation
from tests.conftest import ROOT


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
    assert evaluation.expected_calibration_error(
        1 / (1 + np.exp(-logits)), labels
    ) == pytest.approx(0.1)


def calibration(n: int, sure: float, seeds: int) -> tuple[list[dict], list[dict]]:
    """What is measured and what chance would give, of networks whose logits are `sure` times the true ones."""
    measured, chance = [], []
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        honest = generator.normal(0, 2, n)
        labels = (generator.random(n) < expit(honest)).astype(int)
        plain = evaluation.expected_calibration_error(expit(sure * honest), labels)
        measured.append({"plain": float(plain), **evaluation.metrics(sure * honest, labels)["ece"]})
        chance.append(evaluation.chance_calibration_error(sure * honest))
    return measured, chance


def test_the_calibration_error_of_a_calibrated_network_is_what_chance_gives():
    measured, chance = calibration(200, 1, 20)
    plain = np.mean([one["plain"] for one in measured])
    assert (
        plain == pytest.approx(np.mean([one["value"] for one in chance]), rel=0.15) and plain > 0.04
    )  # the truth is 0
    assert (
        sum(one["plain"] > other["range95"][1] for one, other in zip(measured, chance, strict=True))
        <= 3
    )
    assert np.mean([one["value"] for one in measured]) < 0.75 * plain
    assert any(one["ci95"][0] == 0 for one in measured)


def test_the_calibration_error_of_a_network_twice_too_sure_is_above_chance_and_held_by_its_interval():
    measured, chance = calibration(400, 2, 20)
    truth = 0.0932  # of 400,000 images
    assert all(
        one["plain"] > other["range95"][1] for one, other in zip(measured, chance, strict=True)
    )
    assert np.mean([one["value"] for one in measured]) == pytest.approx(truth, abs=0.01)
    assert sum(one["ci95"][0] <= truth <= one["ci95"][1] for one in measured) >= 15


def test_images_of_one_patient_share_the_draw_of_their_label():
    logits = np.random.default_rng(0).normal(0, 2, 100)
    alone, twice = (
        evaluation.chance_calibration_error(logits),
        evaluation.chance_calibration_error(np.repeat(logits, 2)),
    )
    patients = evaluation.chance_calibration_error(np.repeat(logits, 2), np.arange(200) // 2)
    assert (
        patients["value"] == pytest.approx(alone["value"], rel=1e-6)
        and twice["value"] < 0.85 * alone["value"]
    )


def test_ties_count_one_half_in_auc():
    labels, logits = np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 1.0, 2.0])
    assert (
        evaluation.area_under_curve(logits, labels)
        == reference.roc_auc_score(labels, logits)
        == 0.875
    )


def test_resampling_keeps_the_class_counts(case):
    labels, _ = case
    rows = np.concatenate(list(evaluation.resample(labels, repeats=50)))
    assert rows.shape == (50, 400) and (labels[rows].sum(1) == labels.sum()).all()
    assert len(np.unique(rows[0])) < len(labels)


@pytest.mark.parametrize("patients", [None, np.arange(400) // 3])
def test_how_resamples_are_cut_into_chunks_changes_nothing(case, monkeypatch, patients):
    labels, _ = case
    whole = list(evaluation.resample(labels, repeats=50, patients=patients))
    monkeypatch.setattr(evaluation, "CHUNK", 7 * 400 + 1)
    cut = list(evaluation.resample(labels, repeats=50, patients=patients))
    assert [len(rows) for rows in cut] == [7] * 7 + [1] and [len(rows) for rows in whole] == [50]
    assert np.array_equal(np.concatenate(cut), whole[0])


@pytest.mark.parametrize("patients", [None, np.arange(100_000) // 3])
def test_a_bootstrap_of_100000_images_stays_below_100_mebibytes(patients):
    labels = np.arange(100_000) % 2
    logits = np.random.default_rng(0).normal(size=100_000)
    tracemalloc.start()
    try:
        low, high = evaluation.bootstrap(
            lambda rows: logits[rows].mean(1), labels, patients=patients
        )
        rows = next(evaluation.resample(labels, patients=patients))
        evaluation.metric_values(logits[rows], labels[rows])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert low < logits.mean() < high
    assert peak < 100 * 2**20, peak


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
        found = evaluation.metrics(
            generator.normal(size=200) + 1.2 * labels - 0.6, labels, seed=trial
        )
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
    assert found["value"] == pytest.approx(
        reference.roc_auc_score(labels, other) - reference.roc_auc_score(labels, logits)
    )


def test_a_clear_gain_has_a_small_p(case):
    labels, logits = case
    better = logits + 2.0 * (labels - 0.5)
    found = evaluation.paired_difference([better] * 3, [logits] * 3, labels)["acc"]
    assert found["value"] > 0.05
    assert found["ci95"][0] > 0
    assert found["p"] < 0.01


@pytest.mark.parametrize("sign", [1, -1])
def test_a_p_value_is_never_below_what_the_number_of_resamples_can_show(sign):
    """Every image of 40 changes to right, or to wrong: no resample lies on the other side of zero."""
    labels = np.arange(40) % 2
    right = sign * np.where(labels == 1, 1.0, -1.0)
    found = evaluation.paired_difference([right], [-right], labels)["acc"]
    assert found["value"] == sign and found["p"] == 2 / (evaluation.REPEATS + 1)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("changed", [1, 2, 3])
def test_a_p_value_is_twice_the_share_of_resamples_on_the_other_side(changed, sign):
    """A resample without any of the `changed` of 400 images lies at zero: of a hundred e^−changed."""
    labels = np.arange(400) % 2
    right = np.where(labels == 1, 1.0, -1.0)
    other = np.where(np.arange(400) < changed, -right, right)
    ours, theirs = (right, other)[::sign]
    found = evaluation.paired_difference([ours], [theirs], labels)["acc"]
    assert found["value"] == pytest.approx(sign * changed / 400) and found["p"] == pytest.approx(
        2 * np.exp(-changed), rel=0.2
    )


def overlapping() -> tuple[np.ndarray, np.ndarray]:
    """Labels, and right or wrong (2, 400) before and after: 80% and 84% right, the same images and more."""
    return np.arange(400) % 2, np.stack([np.arange(400) < 320, np.arange(400) < 336]).astype(float)


def test_a_paired_change_sees_what_overlapping_intervals_hide():
    labels, (before, after) = overlapping()
    assert evaluation.share(before)["ci95"][1] > evaluation.share(after)["ci95"][0]
    for change, side in (
        (after - before, "above"),
        (before - after, "below"),
        (after - after, "across"),
    ):
        found = evaluation.paired_change(change[None], labels)
        assert found["side"] == side and found["value"] == pytest.approx(change.mean())
    nothing = np.where(np.arange(400) < 20, -1.0, np.where(np.arange(400) < 40, 1.0, 0.0))
    assert evaluation.paired_change(nothing[None], labels)["side"] == "across"


@pytest.mark.parametrize(
    ("gains", "losses", "side"),
    [(2, 0, "across"), (4, 0, "across"), (9, 0, "above"), (0, 9, "below")],
)
def test_few_images_that_change_decide_nothing(gains, losses, side):
    """Four gains and no loss: the exact test of McNemar gives p = 0.125, where a bootstrap leaves out zero."""
    labels, change = np.arange(400) % 2, np.zeros(400)
    change[: gains + losses] = 1.0 if gains else -1.0
    found = evaluation.paired_change(change[None], labels, hits=True)
    assert found["side"] == side and found["ci95"][0] < found["value"] < found["ci95"][1]


def test_an_interval_of_no_change_has_a_width():
    low, high = evaluation.paired_change(np.zeros((1, 40)), np.arange(40) % 2, hits=True)["ci95"]
    assert low == pytest.approx(-high) and high == pytest.approx(evaluation.wilson(0, 40)[1])


def test_a_paired_change_counts_seeds_from_three_on_and_leaves_out_what_is_not_known():
    labels, (before, after) = overlapping()
    gain, loss = after - before, before - after
    assert evaluation.paired_change(np.stack([gain, gain]), labels)["side"] == "above"
    assert (
        evaluation.paired_change(np.stack([gain, gain, 0.9 * loss]), labels)["side"] == "across"
    )  # the next seed may lose
    unknown = np.where(np.arange(400) < 380, np.nan, 1.0)
    assert evaluation.paired_change(unknown[None], labels)["value"] == 1


def test_two_groups_are_compared_by_newcombe_and_fisher():
    a, b = np.arange(70) < 56, np.arange(80) < 48
    found = evaluation.compare_groups(a, b)
    assert [round(bound, 4) for bound in found["ci95"]] == [0.0524, 0.3339] and found[
        "side"
    ] == "above"
    assert found["p"] == pytest.approx(fisher_exact([[56, 14], [48, 32]]).pvalue)
    assert (
        evaluation.compare_groups(b, a)["side"] == "below"
        and evaluation.compare_groups(a, a)["side"] == "across"
    )
    two_a_patient = evaluation.compare_groups(
        np.repeat(a, 2), np.repeat(b, 2), np.arange(140) // 2, np.arange(160) // 2
    )
    assert two_a_patient["ci95"] == pytest.approx(found["ci95"], abs=0.005) and two_a_patient[
        "p"
    ] == pytest.approx(found["p"], rel=0.2)


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
    low, high = evaluation.square_and_add(
        a, evaluation.wilson(56, 70), b, evaluation.wilson(48, 80), sign=-1
    )
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


def test_a_model_that_always_says_one_class_still_has_an_honest_interval():
    labels = np.array([0] * 10 + [1] * 20)
    low, high = evaluation.metrics(np.ones(30), labels)["balanced_acc"]["ci95"]
    assert low < 0.45 < 0.5 < 0.6 < high


def test_loss_matches_the_course_loss(case):
    import torch

    labels, logits = case
    course = torch.nn.BCEWithLogitsLoss()(
        torch.from_numpy(logits), torch.from_numpy(labels.astype(float))
    )
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


@pytest.mark.parametrize(
    ("a", "b"), [((56, 70), (48, 80)), ((10, 10), (0, 20)), ((9, 10), (3, 10))]
)
def test_the_interval_of_a_difference_is_newcombes_as_statsmodels_has_it(a, b):
    (x, n), (y, m) = a, b
    ours = evaluation.square_and_add(
        x / n, evaluation.wilson(x, n), y / m, evaluation.wilson(y, m), sign=-1
    )
    assert ours == pytest.approx(
        confint_proportions_2indep(x, n, y, m, method="newcomb", compare="diff"), abs=1e-9
    )


# --- what sentences stand on ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ci", "side"),
    [
        ((0.1, 0.2), "above"),
        ((0.0, 0.2), "across"),
        ((-0.2, 0.0), "across"),
        ((-0.2, -0.1), "below"),
    ],
)
def test_an_interval_lies_above_below_or_across(ci, side):
    assert evaluation.side(ci) == side
    assert evaluation.side(tuple(bound + 0.5 for bound in ci), 0.5) == side


@pytest.mark.parametrize("rarer", [0, 1])
@pytest.mark.parametrize(
    ("right", "side"), [(0.9, "above"), (0.62, "across"), (0.6, "across"), (0.3, "below")]
)
def test_accuracy_is_held_against_the_majority_as_notebook_02_does(right, side, rarer):
    """Of 400 images 60% are of the more frequent class; the expression is the notebook's own."""
    cells = json.loads((ROOT / "notebooks/02_pelatihan.ipynb").read_text(encoding="utf-8"))["cells"]
    (expression,) = re.findall(
        r'"against_majority": (.+),\n', "".join("".join(cell["source"]) for cell in cells)
    )
    labels = np.where(np.arange(400) % 5 < 2, rarer, 1 - rarer)
    sign = np.where(np.arange(400) < right * 400, 1, -1) * np.where(labels == 1, 1, -1)
    test = evaluation.metrics(2.0 * sign, labels)
    assert test["majority"] == 0.6 and test["acc"]["value"] == right
    assert eval(expression, {"evaluation": evaluation, "test": test}) == side


def test_the_operating_point_is_read_off_the_matrix():
    assert evaluation.operating_point([[30, 10], [5, 15]]) == {
        "sensitivity": 0.75,
        "specificity": 0.75,
    }


@pytest.mark.parametrize("val_acc", [[0.5, 0.9], [0.9, 0.5]])
def test_leakage_flatters_when_the_test_would_choose_another_epoch(val_acc):
    labels = np.arange(20) % 2
    right = np.where(labels == 1, 1.0, -1.0)
    lesson = evaluation.leakage(
        np.array(val_acc), np.stack([np.where(np.arange(20) < 10, right, -right), right]), labels
    )
    assert lesson["course"] == [2, 1.0]
    assert lesson["flatters"] is (val_acc[0] > val_acc[1])
    assert lesson["flattery"]["value"] == pytest.approx(0.5 if lesson["flatters"] else 0)
