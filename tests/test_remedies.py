"""The study of remedies: every recommendation is measured, and validation alone chooses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxr_helpers import remedies, training
from cxr_helpers.data import Split, folds
from cxr_helpers.engine import files, settings
from cxr_helpers.evaluation import MAJORITY, UNDECIDED
from cxr_helpers.model import resolve_weights
from cxr_helpers.remedies import REMEDIES
from cxr_helpers.study import Study
from cxr_helpers.training import TrainConfig
from report import reference
from tests.conftest import lesson, made


class Small(Study):
    """A study whose recipe trains the small CNN."""

    def config(self, **changes) -> TrainConfig:
        return super().config(**{"architecture": "small_cnn"} | changes)


def study(data, **preset) -> Small:
    preset = replace(settings.PRESETS["smoke"], **preset)
    there = (resolve_weights("random"), preset, 3, torch.device("cpu"), "float32", Path())
    return Small(data, data, *there, "", 0.0)


@pytest.fixture
def store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv(files.RUNS, str(tmp_path))
    return tmp_path


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


def test_a_row_is_computed_from_the_stored_predictions_of_its_seeds(store, monkeypatch):
    monkeypatch.setattr(remedies, "REMEDIES", (REMEDIES[0], REMEDIES[12]))
    one = study(made(), seeds=2, epochs=3)
    rows = remedies.measure(one, repeat="all")
    labels = {name: getattr(one.used, name).labels for name in ("train", "val", "test")}
    found = []
    for name, which, changed in (
        ("baseline", "last", {}),
        ("dropout", "last", {"dropout": 0.5}),
        ("early_stopping", "best", {"patience": 2}),
    ):
        row, acc, auc = rows[len(found)], {"train": [], "val": [], "test": []}, []
        for seed in (3, 4):
            config = one.config(seed=seed, **changed)
            run = training.run(config, one.used, one.weights, keep_weights=False)
            logits = {split: run.logits[f"{split}_{which}"] for split in ("train", "val")}
            logits["test"] = run.open_test()[which]
            auc.append(roc_auc_score(labels["test"], logits["test"]))
            for split, each in logits.items():
                acc[split].append(np.mean((each > 0) == labels[split]))
        gap = np.mean(acc["train"]) - np.mean(acc["test"])
        found.append((np.mean(acc["test"]), np.mean(auc), gap))
        values = row["test"]["acc"]["value"], row["test"]["auc"]["value"], row["gap"]["value"]
        assert values == pytest.approx(found[-1])
        said = [row[key] for key in ("name", "epoch_judged", "seeds", "n_train", "epochs")]
        assert said == [name, which, [3, 4], 48, 3]
        if changed:
            change = row["predicts"]["value"], row["overfits"]["value"]
            assert change == pytest.approx((np.array(found[-1]) - found[0])[1:])
            assert row["verdict"] in (UNDECIDED, MAJORITY)  # two seeds


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


def test_the_folds_are_told_by_the_range_of_their_auc(store):
    one, auc = study(made(), epochs=1), []
    found = reference.cross_validation(one, 1, "")
    for part in folds(one.used, one.seed):
        run = training.run(one.config(), part, one.weights, keep_weights=False)
        auc.append(roc_auc_score(part.val.labels, run.logits["val_last"]))
    assert found == {"n": 5, "val_auc": {"min": min(auc), "max": max(auc)}}
    assert len(list(store.glob("*/info.json"))) == 5


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


# --- the shortcut of minority augmentation


def test_only_augmenting_the_rarer_class_teaches_the_augmentation(store, monkeypatch):
    """On noise that tells nothing about the class the augmentation is all that can be learned."""
    generator = np.random.default_rng(0)

    def split(n: int) -> Split:
        labels = (np.arange(n) % 3 == 0).astype(np.uint8)
        images = generator.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        return Split(images, labels, np.arange(n), None, np.arange(n) // 6)

    monkeypatch.setattr(remedies, "read_reference", lambda: {"combination": None})
    data = replace(made(), train=split(240), val=split(9), test=split(60))
    one = study(data, epochs=4)
    cells = ("jalan-pintas-kode", "jalan-pintas-selisih")
    rows = lesson("04_perbaikan", *cells, study=one, test=data.test)["shortcut"]
    forms = np.repeat(REMEDIES[15:], 2)
    assert [row["n"] for row in rows] == [40, 20] * 2 and {row["patients"] for row in rows} == {10}
    for row, form in zip(rows, forms, strict=True):
        test = training.run(one.config(**form.changes), data, one.weights).open_test()["last"]
        called = (test > 0)[data.test.labels == row["label"]].mean()
        assert (row["title"], row["plain"]["value"]) == (form.title, pytest.approx(called))
        moved = row["augmented"]["value"] - row["plain"]["value"]
        assert row["difference"]["value"] == pytest.approx(moved)
        # Also where every answer changes, the interval has a width.
        assert np.ptp(row["difference"]["ci95"]) > 0.02
        if form is forms[0]:
            assert moved > 0.5 and row["side"] == "above"
        else:
            assert abs(moved) < 0.3
