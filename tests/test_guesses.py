"""A guess that was written down before the training, beside what came out."""

import pytest

from cxr_helpers import experiments
from cxr_helpers.experiments import duga

UP, DOWN, BOTH = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.03)


def outcome(guess: experiments.Guess, ci95: tuple[float, float]) -> dict:
    found = {"value": sum(ci95) / 2, "ci95": ci95}
    return experiments.outcome(guess, {"predicts": found, "overfits": found})


@pytest.mark.parametrize(
    ("direction", "size", "ci95", "within"),
    [
        ("naik", 0.01, UP, True),  # the interval holds its bounds
        ("naik", 0.03, UP, True),
        ("naik", 0.031, UP, False),
        ("naik", 0.02, DOWN, False),  # as large, the other way
        ("turun", 0.02, DOWN, True),
        ("naik", 0.02, BOTH, True),  # the size may be right where the direction is not decided
        ("sama", 0.0, UP, False),
        ("turun", None, DOWN, None),
    ],
)
def test_a_guessed_size_lies_within_the_interval_or_outside(direction, size, ci95, within):
    assert outcome(duga(direction, size, "kesenjangan"), ci95)["within"] is within


def test_a_guessed_direction_is_judged_by_the_side_of_the_interval():
    for ci95, agrees in ((DOWN, "ya"), (UP, "tidak"), (BOTH, "belum dapat diputuskan")):
        assert outcome(duga("turun"), ci95)["agrees"] == agrees
        assert outcome(duga("naik"), tuple(-bound for bound in ci95[::-1]))["agrees"] == agrees


@pytest.mark.parametrize(("measure", "margin"), [("auc", 0.01), ("kesenjangan", 0.02)])
def test_a_guess_that_nothing_changes_is_judged_by_the_margin_of_its_measure(measure, margin):
    guess = duga("sama", ukuran=measure)
    for low, high, agrees in (
        (-0.9 * margin, 0.9 * margin, "ya"),
        (1.1 * margin, 2 * margin, "tidak"),
        (0.5 * margin, 1.1 * margin, "belum dapat diputuskan"),
    ):
        assert outcome(guess, (low, high))["agrees"] == agrees
        assert outcome(guess, (-high, -low))["agrees"] == agrees
