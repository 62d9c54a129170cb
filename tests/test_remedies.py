"""The study of remedies: every recommendation is measured, validation alone chooses, and the prose follows the numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cxr_helpers import remedies
from cxr_helpers.data import Split, with_splits
from cxr_helpers.engine import files, runs, settings
from cxr_helpers.study import open_study


@pytest.fixture
def study(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "study"
    monkeypatch.setenv("CXR_DATA", str(folder / "data"))
    monkeypatch.setenv(files.RUNS, str(folder / "runs"))
    return open_study(data="phantom", weights="random", preset="smoke", device="cpu")


@pytest.fixture(scope="module")
def result(built) -> dict:
    return json.loads((built.folder / "build/results/04_perbaikan.json").read_text(encoding="utf-8"))


# --- the rows -------------------------------------------------------------------------------------------------------


def test_each_of_the_eleven_recommendations_has_a_measured_row(result):
    assert len(remedies.RECOMMENDED) == 11
    measured = {row["recommendation"] for row in result["variants"][1:]}
    assert measured - {""} == set(remedies.RECOMMENDED)
    for row in result["variants"]:
        assert np.isfinite(row["test"]["acc"]["value"]) and row["seconds"] > 0
        assert {"acc", "balanced_acc", "auc", "ece"} <= set(row["test"])
        assert len(row["history"]) >= 1


def test_each_remedy_changes_one_thing_the_recipe_does_not_have(result):
    for remedy in remedies.REMEDIES:
        row = next(r for r in result["variants"] if r["name"] == remedy.name)
        # A change that the recipe already has would be the baseline under another name.
        assert row["changed"].keys() == remedy.changes.keys() | {"epochs"}


def test_fewer_trained_layers_train_fewer_parameters(result):
    size = {row["name"]: row["trained_parameters"] for row in result["variants"]}
    assert size["head_only"] < size["layer4_and_head"] < size["baseline"]
    assert size["small_cnn"] < size["resnet18_layer2"] < size["baseline"]


def test_a_row_is_computed_from_the_stored_predictions(study, monkeypatch):
    """Recomputed here with plain NumPy from the run that the store holds."""
    monkeypatch.setattr(remedies, "REMEDIES", remedies.REMEDIES[:1])
    rows = remedies.measure(study)
    config = study.config(epochs=study.preset.remedy_epochs)
    labels = study.remedy_data.test.labels
    accuracies = []
    for changed in ({}, {"dropout": 0.5}):
        run = runs.get(replace(config, **changed), study.remedy_data, study.weights, study.device, keep_weights=False)
        accuracies.append(np.mean((run.open_test()["last"] > 0) == labels))
    assert [row["name"] for row in rows[:2]] == ["baseline", "dropout"]
    assert rows[1]["difference"]["acc"]["value"] == pytest.approx(accuracies[1] - accuracies[0])
    assert rows[1]["test"]["acc"]["value"] == pytest.approx(accuracies[1])


def test_early_stopping_is_judged_at_its_best_epoch():
    assert {r.name: r.which for r in remedies.REMEDIES if r.which != "last"} == {"early_stopping": "best"}


def test_truth_accuracy_counts_flipped_labels_back(study, monkeypatch):
    monkeypatch.setattr(remedies, "REMEDIES", ())
    row = remedies.measure(study)[0]
    test = study.remedy_data.test
    run = runs.get(
        study.config(epochs=study.preset.remedy_epochs), study.remedy_data, study.weights, study.device, keep_weights=False
    )
    drawn = test.labels ^ test.truth["flipped"].astype(test.labels.dtype)
    assert row["truth_acc"]["value"] == pytest.approx(np.mean((run.open_test()["last"] > 0) == drawn))


# --- cross-validation -----------------------------------------------------------------------------------------------


def test_folds_are_stratified_share_nothing_and_leave_the_test_split_alone(study):
    data = study.remedy_data
    pool = {*map(bytes, data.train.images), *map(bytes, data.val.images)}
    share = np.concatenate([data.train.labels, data.val.labels]).mean()
    seen = []
    for fold in remedies.folds(data, seed=3):
        train, val = {*map(bytes, fold.train.images)}, {*map(bytes, fold.val.images)}
        assert not train & val
        assert train | val == pool
        assert abs(fold.val.labels.mean() - share) <= 1 / len(fold.val)
        assert fold.test is data.test
        assert fold.fingerprint != data.fingerprint  # else the run store would take one fold for another
        seen += map(bytes, fold.val.images)
    assert len(seen) == len(pool) == len(set(seen))


def test_cross_validation_trains_one_run_a_fold_and_states_the_spread(result):
    row = next(r for r in result["variants"] if r["name"] == "cross_validation")
    assert len(row["folds"]["val_acc"]) == remedies.FOLDS == len(row["seeds"])
    assert row["folds"]["sd"] == pytest.approx(np.std(row["folds"]["val_acc"], ddof=1))


# --- the combination ------------------------------------------------------------------------------------------------


def validation(**auc: float) -> dict[str, dict[str, float]]:
    """Of the named remedies the AUC, all with a lower loss than the baseline; the others are worse than the baseline in both."""
    others = {r.name: {"loss": 0.6, "auc": 0.6} for r in remedies.REMEDIES}
    return {"baseline": {"loss": 0.5, "auc": 0.7}} | others | {name: {"loss": 0.4, "auc": value} for name, value in auc.items()}


def test_the_combination_takes_the_highest_validation_auc_one_a_recommendation():
    chosen = remedies.combine(
        validation(
            pos_weight=0.95, weighted_sampler=0.94, cosine=0.88, onecycle=0.9, dropout=0.85, batch_8=0.8, weight_decay=0.79
        )
    )
    assert chosen.changes == {"balance": "pos_weight", "schedule": "onecycle", "lr": 1.5e-3, "dropout": 0.5, "batch_size": 8}
    assert chosen.parts == ("Bobot kelas pada loss", "Jadwal one-cycle, puncak 0,0015", "Dropout 0,5", "Batch 8")
    assert chosen.which == "last"


def test_two_remedies_that_change_one_setting_are_not_combined():
    chosen = remedies.combine(validation(augmentation=0.9, minority_augmentation=0.8, dropout=0.75))
    assert chosen.changes == {"augment": remedies.ANATOMICAL, "dropout": 0.5}


def test_a_smaller_network_is_not_frozen_too():
    chosen = remedies.combine(validation(small_cnn=0.9, layer4_and_head=0.85, dropout=0.8))
    assert chosen.changes == {"architecture": "small_cnn", "dropout": 0.5}


def test_early_stopping_in_the_combination_judges_the_best_epoch():
    assert remedies.combine(validation(early_stopping=0.9, dropout=0.8)).which == "best"


@pytest.mark.parametrize("given", [{}, {"dropout": 0.8}, {"dropout": 0.7, "cosine": 0.8}])
def test_no_combination_of_fewer_than_two_that_beat_the_baseline(given):
    assert remedies.combine(validation(**given)) is None


def test_a_remedy_that_only_avoids_confident_errors_is_no_candidate():
    """A lower loss with a lower AUC (a network that learned little), or the reverse, does not qualify."""
    given = validation(dropout=0.8, cosine=0.9)
    given["head_only"] = {"loss": 0.1, "auc": 0.55}
    given["batch_8"] = {"loss": 0.55, "auc": 0.99}
    assert remedies.combine(given).changes == {"schedule": "cosine", "dropout": 0.5}


def test_the_test_split_has_no_say_in_the_choice(study, monkeypatch):
    """With every test label turned round the same combination is chosen."""
    monkeypatch.setattr(remedies, "COMBINED", 2)
    monkeypatch.setattr(remedies, "REMEDIES", remedies.REMEDIES[:4])
    chosen = []
    real = remedies.combine
    monkeypatch.setattr(remedies, "combine", lambda given: chosen.append(given) or real(given))
    remedies.measure(study)
    data = study.remedy_data
    turned = replace(data, test=replace(data.test, labels=1 - data.test.labels))
    remedies.measure(replace(study, remedy_data=turned))
    assert chosen[0] == chosen[1]


# --- verdicts and prose ---------------------------------------------------------------------------------------------


def test_a_verdict_needs_an_adjusted_p_below_the_level():
    assert remedies.verdict(0.1, 0.01) == remedies.BETTER
    assert remedies.verdict(-0.1, 0.01) == remedies.WORSE
    assert remedies.verdict(0.1, 0.05) == remedies.verdict(-0.1, 0.9) == remedies.SAME


def test_only_augmenting_the_rarer_class_teaches_the_augmentation(study, monkeypatch):
    """On noise that tells nothing about the class, the augmentation is all that the first form can learn."""
    generator = np.random.default_rng(0)

    def split(n: int) -> Split:
        labels = (np.arange(n) % 3 > 0).astype(np.uint8)
        return Split(generator.integers(0, 256, (n, 28, 28)).astype(np.uint8), labels, np.arange(n))

    data = with_splits(study.remedy_data, train=split(300), val=split(30), test=split(90))
    noise = replace(study, remedy_data=data, preset=replace(study.preset, remedy_epochs=4))
    rows = remedies.shortcut(noise)
    assert [row["label"] for row in rows] == [0, 1, 0, 1] and [row["n"] for row in rows] == [30, 60, 30, 60]
    assert len({row["title"] for row in rows}) == 2
    assert all(row["side"] == "below" and row["difference"]["value"] < -0.5 for row in rows[:2])
    assert all(abs(row["difference"]["value"]) < 0.3 for row in rows[2:])


def row(name: str, verdict: str, value: float, parameters: int = 10) -> dict:
    return {
        "name": name,
        "title": name.title(),
        "verdict": verdict,
        "difference": {"acc": {"value": value, "ci95": [value - 0.1, value + 0.1]}},
        "trained_parameters": parameters,
        "folds": {"val_acc": [0.7, 0.9, 0.8], "mean": 0.8, "sd": 0.1},
    }


BASE = row("baseline", "pembanding", 0.0) | {"difference": None}


@pytest.mark.parametrize("better", [True, False])
def test_the_summary_names_the_largest_difference_and_whether_it_counts(better):
    rows = [BASE, row("a", remedies.SAME, 0.01), row("b", remedies.BETTER if better else remedies.SAME, 0.2, 5)]
    rows.append(row("cross_validation", remedies.WORSE, -0.1))
    found = remedies.summarise(rows)
    assert found["best"] == 2 and found["best_is_better"] is better and found["compared"] == ["baseline", "b"]
    assert found["smaller"] == [2] and found["combination"] is None
    assert found["cross_validation"] == {"n": 3, "lowest": 0.7, "highest": 0.9, "mean": 0.8, "sd": 0.1}


@pytest.mark.parametrize("n", [remedies.LISTED, remedies.LISTED + 1])
def test_the_summary_counts_every_row_once_and_names_only_a_few(n):
    rows = [BASE, *(row(f"r{i}", remedies.SAME, 0.0) for i in range(n)), row("cross_validation", remedies.WORSE, -0.1)]
    worse, same = remedies.summarise(rows)["verdicts"]
    assert (worse["verdict"], worse["n"], worse["titles"]) == (remedies.WORSE, 1, ["Cross_Validation"])
    assert same["n"] == n and (same["titles"] is None) is (n > remedies.LISTED)


def test_the_summary_points_at_the_combination():
    rows = [BASE, row("cross_validation", remedies.SAME, 0.0), row("combination", remedies.SAME, 0.1)]
    assert remedies.summarise(rows)["combination"] == 2


def test_quick_and_full_measure_the_same_rows():
    """A preset changes how much is computed, never what."""
    assert settings.PRESETS["full"].remedy_seeds >= 5
    assert settings.PRESETS["quick"].remedy_train >= 150
