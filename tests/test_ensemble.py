"""What the mean of a row's seeds is worth: each verdict on predictions in which it was built in (`ensemble` of verdicts.py)."""

import numpy as np
import pytest

from cxr_helpers import comparison, verdicts
from cxr_helpers.comparison import BETTER, EQUAL, MAJORITY, UNDECIDED, WORSE
from cxr_helpers.verdicts import Images, Remedy, Row, Trained

LABELS = (np.arange(400) % 2).astype(np.uint8)
SIGN = np.where(LABELS == 1, 1.0, -1.0)
SEEDS = 5


def noise(seed: int, size: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, size, len(LABELS))


def ensemble(test: list[np.ndarray], patients: np.ndarray | None = None) -> dict:
    """`verdicts.ensemble` of a row whose seeds give these logits on the test images."""
    rest = dict(extra=None, history=[], seconds=1.0, parameters=1, trained_parameters=1)
    each = [
        Trained(seed, train=one, val=one, val_last=one, test=one, **rest)
        for seed, one in enumerate(test)
    ]
    splits = ("train", "val", "test")
    images = Images(dict.fromkeys(splits, LABELS), dict.fromkeys(splits, patients))
    return verdicts.ensemble(Row(Remedy("a", "", "A"), each, {}, len(LABELS), 1), images)


COMMON = SIGN + noise(0, 1)
# Each seed is sure of the opposite on a fifth of the images of its own, and right on all others.
OWN_BLIND_SPOT = [
    np.where(np.arange(400) // 2 % SEEDS == seed, -100.0, 1.0) * SIGN for seed in range(SEEDS)
]
# One seed guesses, with logits so large that they drown all others: without that seed nothing is lost.
ONE_DROWNS_ALL = [SIGN + noise(seed, 1) for seed in range(1, SEEDS)] + [noise(SEEDS, 100)]


@pytest.mark.parametrize(
    ("test", "verdict"),
    [
        ([SIGN + noise(seed, 2) for seed in range(SEEDS)], BETTER),  # each errs by itself
        (OWN_BLIND_SPOT, WORSE),
        ([COMMON] * SEEDS, EQUAL),  # all err alike
        ([COMMON + noise(seed + 1, 0.02) for seed in range(SEEDS)], EQUAL),
        (ONE_DROWNS_ALL, UNDECIDED),
        (
            [10 + SIGN + noise(seed, 2) for seed in range(SEEDS)],
            MAJORITY,
        ),  # every image is called 1, however well they are told
    ],
    ids=["better", "worse", "equal", "nearly equal", "undecided", "majority"],
)
def test_an_ensemble_gets_the_verdict_that_was_built_in(test, verdict):
    assert ensemble(test)["difference"]["verdict"] == verdict


@pytest.mark.parametrize(
    ("test", "side"),
    [
        (ONE_DROWNS_ALL, "across"),
        (OWN_BLIND_SPOT, "below"),
        ([SIGN + noise(s, 2) for s in range(5)], "above"),
    ],
)
def test_its_difference_is_that_from_the_mean_of_its_seeds(test, side):
    difference = ensemble(test)["difference"]
    alone = [comparison.influence(one, LABELS)["auc"][0] for one in test]
    together = comparison.influence(np.mean(test, axis=0), LABELS)["auc"][0]
    assert difference["value"] == pytest.approx(together - np.mean(alone))
    assert comparison.evaluation.side(difference["ci95"]) == side


def test_images_of_a_patient_count_together_in_what_an_ensemble_gains():
    """Two copies of every image say no more than one, if they are known to show one patient."""
    test = [SIGN + noise(seed, 2) for seed in range(SEEDS)]
    alone = ensemble(test)["difference"]
    twice = [
        np.tile(one[:200], 2) for one in test
    ]  # the labels alternate: those of the second half are those of the first
    known, unknown = (
        ensemble(twice, who)["difference"]["se_images"]
        for who in (np.tile(np.arange(200), 2), None)
    )
    assert known == pytest.approx(np.sqrt(2) * unknown, rel=0.01)
    assert ensemble(test, np.arange(400))["difference"]["se_images"] == pytest.approx(
        alone["se_images"]
    )
