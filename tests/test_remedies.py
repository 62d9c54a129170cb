"""The study of remedies: every recommendation is measured, and validation alone chooses."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cxr_helpers import remedies
from cxr_helpers.engine import settings
from cxr_helpers.model import resolve_weights
from cxr_helpers.remedies import REMEDIES
from cxr_helpers.study import Study
from cxr_helpers.training import TrainConfig
from tests.conftest import made


def study(data, **preset) -> Study:
    preset = replace(settings.PRESETS["smoke"], **preset)
    there = (resolve_weights("random"), preset, 3, torch.device("cpu"), "float32", Path())
    return Study(data, data, *there, "", 0.0)


# --- the rows


def test_each_of_the_eleven_recommendations_has_a_row_that_changes_the_recipe():
    """But the eleventh, cross-validation, which is a way to judge and no remedy."""
    assert {remedy.recommendation for remedy in REMEDIES} == set(range(1, 11))
    for remedy in remedies.planned(study(made()), repeat="all"):
        # A change that the recipe already has would be the baseline under another name.
        assert TrainConfig(**remedy.changes).changed().keys() == remedy.changes.keys()
        numbers = [v for v in remedy.changes.values() if isinstance(v, int | float)]
        assert all(f"{value:g}".replace(".", ",") in remedy.title for value in numbers)
    assert [r.name for r in REMEDIES if r.which == "best"] == ["early_stopping"]


EVERY, CHOSEN = [remedy.name for remedy in REMEDIES], ["combination"]


@pytest.mark.parametrize(
    ("every_row", "repeat", "names"),
    [
        (False, "auto", CHOSEN),
        (False, "augmentation", ["augmentation", *CHOSEN]),
        (False, "all", EVERY),
        (True, "auto", EVERY),
    ],
)
def test_what_is_trained_is_what_the_preset_or_the_person_asks(every_row, repeat, names):
    one = study(made(), every_row=every_row)
    assert [remedy.name for remedy in remedies.planned(one, repeat)] == names
    assert remedies.trains_every_row(one, repeat) is (names == EVERY)


# --- the combination


def validation(**auc: float) -> dict[str, dict[str, float]]:
    """Of the named remedies the AUC, with a loss below the baseline's; the others are worse."""
    found = {r.name: {"loss": 0.6, "auc": 0.6} for r in REMEDIES}
    found["baseline"] = {"loss": 0.5, "auc": 0.7}
    return found | {name: {"loss": 0.4, "auc": value} for name, value in auc.items()}


MANY = dict(pos_weight=0.95, weighted_sampler=0.94, onecycle=0.9, cosine=0.88)
MANY |= dict(dropout=0.85, batch_8=0.8, weight_decay=0.79)


@pytest.mark.parametrize(
    ("auc", "names"),
    [
        (MANY, "pos_weight onecycle dropout batch_8"),  # four at most, one a recommendation
        (dict(augmentation=0.9, minority_augmentation=0.8, dropout=0.75), "augmentation dropout"),
        (dict(small_cnn=0.9, layer4_and_head=0.85, dropout=0.8), "small_cnn dropout"),
        (dict(early_stopping=0.9, dropout=0.8), "early_stopping dropout"),
        (dict(dropout=0.7, cosine=0.8), ""),  # fewer than two that beat the baseline
    ],
)
def test_the_combination_takes_the_best_on_validation_that_go_together(auc, names):
    """Never two that change one setting, nor a smaller network that is frozen, too."""
    found = remedies.combine(validation(**auc))
    parts = [next(r for r in REMEDIES if r.name == name) for name in names.split()]
    if not parts:
        assert found is None
        return
    assert found.parts == tuple(part.title for part in parts)
    assert found.changes == {k: v for part in parts for k, v in part.changes.items()}
    assert found.which == ("best" if "early_stopping" in names else "last")


@pytest.mark.parametrize(("loss", "auc"), [(0.1, 0.7), (0.5, 0.99)])
def test_a_remedy_that_is_better_in_one_respect_alone_is_no_candidate(loss, auc):
    """A lower loss without a higher AUC (a network that learned little), or the reverse."""
    given = validation(dropout=0.8, cosine=0.9) | {"batch_8": {"loss": loss, "auc": auc}}
    assert remedies.combine(given).changes == {"schedule": "cosine", "dropout": 0.5}
