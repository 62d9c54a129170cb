"""The study of remedies: every recommendation is measured, validation alone chooses, and the prose follows the numbers."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cxr_helpers import comparison, remedies
from cxr_helpers.data import Split, with_splits
from cxr_helpers.engine import files, runs, settings
from cxr_helpers.study import open_study
from cxr_helpers.training import TrainConfig


@pytest.fixture
def study(monkeypatch, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "study"
    monkeypatch.setenv("CXR_DATA", str(folder / "data"))
    monkeypatch.setenv(files.RUNS, str(folder / "runs"))
    return open_study(data="phantom", weights="random", preset="smoke", device="cpu")


@pytest.fixture(scope="module")
def result(built) -> dict:
    return json.loads(
        (built.folder / "build/results/04_perbaikan.json").read_text(encoding="utf-8")
    )


# --- the rows -------------------------------------------------------------------------------------------------------


def test_each_of_the_eleven_recommendations_has_a_row():
    """Cross-validation is a way to judge, not a remedy that competes: it has a paragraph of its own."""
    assert len(remedies.RECOMMENDED) == 11
    assert {remedy.recommendation for remedy in remedies.REMEDIES} == set(remedies.RECOMMENDED) - {
        "cross_validation"
    }


def test_each_remedy_changes_what_the_recipe_does_not_have():
    for remedy in remedies.REMEDIES:
        # A change that the recipe already has would be the baseline under another name.
        assert TrainConfig(**remedy.changes).changed().keys() == remedy.changes.keys()


def test_a_smaller_preset_trains_the_baseline_some_remedies_and_the_chosen_combination(result):
    assert [row["name"] for row in result["variants"]][:2] == ["baseline", *remedies.ALWAYS]
    assert all(
        row["seeds"] == [0] and row["n_train"] == 64 and row["epochs"] == 2
        for row in result["variants"]
    )


def test_repeat_all_trains_every_row_and_what_validation_then_chooses(study, monkeypatch):
    monkeypatch.setattr(remedies, "REMEDIES", remedies.REMEDIES[:3])
    names = [row["name"] for row in remedies.measure(study, repeat="all")]
    assert names[:4] == ["baseline", *(remedy.name for remedy in remedies.REMEDIES)]
    assert names[4:] in ([], ["combination"])


def test_processes_that_share_the_cores_do_not_train_the_baseline_of_notebook_02_again(
    study, monkeypatch
):
    first = study.baseline()[0]
    asked, real = [], remedies.parallel.train
    monkeypatch.setattr(
        remedies.parallel,
        "train",
        lambda tasks, *rest: asked.extend(tasks) or real(tasks, *rest[:2]),
    )
    row = remedies.measure(study, n_jobs=2)[0]
    assert first.config not in [config for config, _ in asked] and len(asked) == len(
        remedies.ALWAYS
    )
    assert row["test"]["auc"]["value"] == pytest.approx(
        roc_auc_score(study.used.test.labels, first.open_test()["last"])
    )


def test_fewer_trained_layers_train_fewer_parameters(study, monkeypatch):
    wanted = ("head_only", "layer4_and_head", "small_cnn", "resnet18_layer2")
    monkeypatch.setattr(
        remedies, "REMEDIES", tuple(r for r in remedies.REMEDIES if r.name in wanted)
    )
    rows = remedies.measure(study, repeat="all")
    size = {row["name"]: row["trained_parameters"] for row in rows}
    assert size["head_only"] < size["layer4_and_head"] < size["baseline"]
    assert size["small_cnn"] < size["resnet18_layer2"] < size["baseline"]
    assert [row["fewer_parameters"] for row in rows[:5]] == [False, True, True, True, True]


def test_a_row_is_computed_from_the_stored_predictions(study, monkeypatch):
    """Recomputed here with plain NumPy from the runs that the store holds."""
    monkeypatch.setattr(remedies, "REMEDIES", remedies.REMEDIES[:1])
    rows = remedies.measure(study, repeat="all")
    found = []
    for changed in ({}, {"dropout": 0.5}):
        run = runs.get(
            study.config(**changed), study.used, study.weights, study.device, keep_weights=False
        )
        right = {
            s: np.mean((run.logits[f"{s}_last"] > 0) == getattr(study.used, s).labels)
            for s in ("train", "val")
        }
        test = run.open_test()["last"]
        labels = study.used.test.labels
        found.append(
            (
                np.mean((test > 0) == labels),
                roc_auc_score(labels, test),
                right["train"] - right["val"],
            )
        )
    assert [row["name"] for row in rows[:2]] == ["baseline", "dropout"]
    assert [rows[1]["test"][name]["value"] for name in ("acc", "auc")] == pytest.approx(
        found[1][:2]
    )
    assert rows[1]["gap"]["value"] == pytest.approx(found[1][2])
    assert rows[1]["difference"]["acc"]["value"] == pytest.approx(found[1][0] - found[0][0])
    assert rows[1]["predicts"]["value"] == pytest.approx(found[1][1] - found[0][1])
    assert rows[1]["overfits"]["value"] == pytest.approx(found[1][2] - found[0][2])
    assert rows[1]["verdict"] in (comparison.UNDECIDED, comparison.MAJORITY)  # one seed


def test_early_stopping_is_judged_at_its_best_epoch():
    assert {r.name: r.which for r in remedies.REMEDIES if r.which != "last"} == {
        "early_stopping": "best"
    }


def test_truth_accuracy_counts_flipped_labels_back(study, monkeypatch):
    monkeypatch.setattr(remedies, "REMEDIES", ())
    row = remedies.measure(study)[0]
    test = study.used.test
    run = runs.get(study.config(), study.used, study.weights, study.device, keep_weights=False)
    drawn = test.labels ^ test.truth["flipped"].astype(test.labels.dtype)
    assert row["test"]["truth_acc"]["value"] == pytest.approx(
        np.mean((run.open_test()["last"] > 0) == drawn)
    )


# --- cross-validation -----------------------------------------------------------------------------------------------


def test_folds_are_stratified_share_nothing_and_leave_the_test_split_alone(study):
    data = study.used
    pool = {*map(bytes, data.train.images), *map(bytes, data.val.images)}
    share = np.concatenate([data.train.labels, data.val.labels]).mean()
    seen = []
    for fold in remedies.folds(data, seed=3):
        train, val = {*map(bytes, fold.train.images)}, {*map(bytes, fold.val.images)}
        assert not train & val
        assert train | val == pool
        assert abs(fold.val.labels.mean() - share) <= 1 / len(fold.val)
        assert fold.test is data.test
        assert (
            fold.fingerprint != data.fingerprint
        )  # else the run store would take one fold for another
        seen += map(bytes, fold.val.images)
    assert len(seen) == len(pool) == len(set(seen))


def test_cross_validation_trains_one_run_a_fold_and_states_the_spread(study):
    found = remedies.cross_validation(study)
    assert found["n"] == len(found["val_acc"]["each"]) == remedies.FOLDS
    assert found["val_acc"]["sd"] == pytest.approx(np.std(found["val_acc"]["each"], ddof=1))
    assert found["val_auc"]["lowest"] == min(found["val_auc"]["each"])


# --- the combination ------------------------------------------------------------------------------------------------


def validation(**auc: float) -> dict[str, dict[str, float]]:
    """Of the named remedies the AUC, all with a lower loss than the baseline; the others are worse than the baseline in both."""
    others = {r.name: {"loss": 0.6, "auc": 0.6} for r in remedies.REMEDIES}
    return (
        {"baseline": {"loss": 0.5, "auc": 0.7}}
        | others
        | {name: {"loss": 0.4, "auc": value} for name, value in auc.items()}
    )


def test_the_combination_takes_the_highest_validation_auc_one_a_recommendation():
    chosen = remedies.combine(
        validation(
            pos_weight=0.95,
            weighted_sampler=0.94,
            cosine=0.88,
            onecycle=0.9,
            dropout=0.85,
            batch_8=0.8,
            weight_decay=0.79,
        )
    )
    assert chosen.changes == {
        "balance": "pos_weight",
        "schedule": "onecycle",
        "lr": 1.5e-3,
        "dropout": 0.5,
        "batch_size": 8,
    }
    assert chosen.parts == (
        "Bobot kelas pada loss",
        "Jadwal one-cycle, puncak 0,0015",
        "Dropout 0,5",
        "Batch 8",
    )
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
    remedies.measure(study, repeat="all")
    data = study.used
    turned = replace(data, test=replace(data.test, labels=1 - data.test.labels))
    remedies.measure(replace(study, used=turned), repeat="all")
    assert chosen[0] == chosen[1]


# --- the shortcut of minority augmentation --------------------------------------------------------------------------


def shortcuts(study, split, epochs: int = 4) -> list[dict]:
    """`shortcut` of a study on the images that split(n) makes."""
    data = with_splits(study.used, train=split(300), val=split(30), test=split(90))
    return remedies.shortcut(replace(study, used=data, preset=replace(study.preset, epochs=epochs)))


@pytest.mark.parametrize(("rare", "side"), [(0, "below"), (1, "above")])
def test_only_augmenting_the_rarer_class_teaches_the_augmentation(study, rare, side):
    """On noise that tells nothing about the class, the augmentation is all that the first form can learn."""
    generator = np.random.default_rng(0)

    def split(n: int) -> Split:
        labels = np.where(np.arange(n) % 3 > 0, 1 - rare, rare).astype(np.uint8)
        return Split(generator.integers(0, 256, (n, 28, 28)).astype(np.uint8), labels, np.arange(n))

    rows = shortcuts(study, split)
    n = [60, 30] if rare else [30, 60]
    assert [row["label"] for row in rows] == [0, 1, 0, 1] and [row["n"] for row in rows] == n * 2
    assert len({row["title"] for row in rows}) == 2
    assert all(row["side"] == side and abs(row["difference"]["value"]) > 0.5 for row in rows[:2])
    low, high = rows[rare]["difference"]["ci95"]
    assert high - low > 0.02, (
        "also where every answer changes, thirty images do not say that every answer would"
    )
    assert all(abs(row["difference"]["value"]) < 0.3 for row in rows[2:])


def test_a_network_that_sees_the_class_answers_augmented_images_alike(study, monkeypatch, tmp_path):
    """Dark and bright images without any pattern: no augmentation makes one look like the other."""
    monkeypatch.setenv(
        files.RUNS, str(tmp_path)
    )  # it knows a phantom by rows and labels: here those of the noise

    def split(n: int) -> Split:
        labels = (np.arange(n) % 3 > 0).astype(np.uint8)
        grey = np.where(labels == 1, 200, 40)[:, None, None]
        return Split(np.broadcast_to(grey, (n, 28, 28)).astype(np.uint8), labels, np.arange(n))

    rows = shortcuts(study, split)
    assert [row["plain"]["value"] for row in rows] == [0, 1, 0, 1]
    assert all(row["side"] == "across" and row["difference"]["value"] == 0 for row in rows)


def test_full_measures_every_row_with_seeds_enough_for_a_verdict():
    assert (
        settings.PRESETS["full"].every_row
        and settings.PRESETS["full"].seeds >= comparison.LEAST_SEEDS
    )
    for preset in ("quick", "full"):  # nothing is trained at toy size
        chosen = settings.PRESETS[preset]
        assert (chosen.train, chosen.val, chosen.test, chosen.epochs) == (
            None,
            None,
            None,
            TrainConfig().epochs,
        )
