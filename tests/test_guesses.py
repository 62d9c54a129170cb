"""A guess that was written down before the training, beside what came out (`outcome` of cxr_helpers/experiments.py)."""

import pytest

from cxr_helpers import experiments
from cxr_helpers.experiments import duga


def outcome(guess: experiments.Guess, ci95: tuple[float, float]) -> dict:
    found = {"value": sum(ci95) / 2, "ci95": ci95}
    return experiments.outcome(guess, {"predicts": found, "overfits": found})


@pytest.mark.parametrize("measure", ["auc", "kesenjangan"])
@pytest.mark.parametrize(
    ("direction", "size", "ci95", "within"),
    [
        ("naik", 0.02, (0.01, 0.03), True),
        ("naik", 0.009, (0.01, 0.03), False),
        ("naik", 0.031, (0.01, 0.03), False),
        ("naik", 0.01, (0.01, 0.03), True),  # the interval holds its bounds
        ("naik", 0.03, (0.01, 0.03), True),
        ("naik", 0.02, (-0.03, -0.01), False),  # as large, the other way
        ("turun", 0.02, (-0.03, -0.01), True),
        ("turun", 0.009, (-0.03, -0.01), False),
        ("turun", 0.031, (-0.03, -0.01), False),
        ("turun", 0.02, (0.01, 0.03), False),
        ("turun", -0.02, (-0.03, -0.01), True),  # a sign says nothing more than the direction
        (
            "naik",
            0.02,
            (-0.01, 0.03),
            True,
        ),  # the size may be right where the direction is not decided
        ("turun", 0.02, (-0.01, 0.03), False),
        ("sama", 0.0, (-0.005, 0.005), True),
        ("sama", 0.0, (0.001, 0.005), False),
    ],
)
def test_a_guessed_size_lies_within_the_interval_or_outside(measure, direction, size, ci95, within):
    found = outcome(duga(direction, size, measure), ci95)
    assert found["within"] is within
    assert found["size"] == (-abs(size) if direction == "turun" else size)


def test_of_a_guess_without_a_size_only_the_direction_is_judged():
    found = outcome(duga("turun"), (-0.03, -0.01))
    assert found["within"] is None and found["size"] is None and found["agrees"] == "ya"


@pytest.mark.parametrize(
    ("ci95", "agrees"),
    [((-0.03, -0.01), "ya"), ((0.01, 0.03), "tidak"), ((-0.03, 0.01), "belum dapat diputuskan")],
)
def test_a_guess_downwards_is_judged_on_both_sides(ci95, agrees):
    assert outcome(duga("turun"), ci95)["agrees"] == agrees


@pytest.mark.parametrize("measure", ["auc", "kesenjangan"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_guess_that_nothing_changes_is_judged_by_the_margin_of_its_measure(measure, sign):
    margin = experiments.comparison.MARGIN["auc" if measure == "auc" else "gap"]
    for low, high, agrees in (
        (-0.9, 0.9, "ya"),
        (1.1, 2, "tidak"),
        (0.5, 1.1, "belum dapat diputuskan"),
    ):
        ci95 = tuple(sorted((sign * low * margin, sign * high * margin)))
        assert outcome(duga("sama", ukuran=measure), ci95)["agrees"] == agrees
