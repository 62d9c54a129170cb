"""The reference study: computed in small by the same code, kept, resumed, checked; and the one that ships."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from cxr_helpers import comparison, overfitting, reference, remedies, verdicts
from cxr_helpers.engine import files, phantom
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import open_study
from report import reference as computing


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A study of three remedies on the smoke preset's images, in folders of its own."""
    patch, folder = pytest.MonkeyPatch(), tmp_path_factory.mktemp("reference")
    patch.setattr(reference, "TRAININGS", folder / "trainings")
    patch.setattr(reference, "FOLDER", folder)
    patch.setattr(reference, "BFLOAT16", folder / "bfloat16")
    for name, value in (("EXTRA", 40), ("BASELINE_SEEDS", 3), ("SEEDS", 2), ("FEW_SEEDS", 1)):
        patch.setattr(computing, name, value)
    patch.setattr(computing, "REMEDIES", remedies.REMEDIES[2:5])
    patch.setenv("CXR_DATA", str(folder / "data"))
    patch.setenv(files.RUNS, str(folder / "runs"))
    study = open_study(
        data="phantom", weights="random", preset="smoke", device="cpu", precision="float32"
    )
    data = computing.with_extra(study.used)
    yield study, data, computing.plan(study, data), folder
    patch.undo()


@pytest.fixture(scope="module")
def computed(small):
    study, data, planned, _folder = small
    computing.train(planned, study, 1, "")
    return computing.summarise(planned, study, data)


def test_the_plan_has_ten_seeds_of_the_baseline_and_five_of_each_row():
    assert (computing.BASELINE_SEEDS, computing.SEEDS, computing.FEW_SEEDS, computing.EXTRA) == (
        10,
        5,
        3,
        6000,
    )


def test_every_planned_training_has_a_file_and_is_not_trained_twice(small, computed, monkeypatch):
    study, _data, planned, folder = small
    assert (
        len({one.path for one in planned})
        == len(planned)
        == len(list((folder / "trainings").iterdir()))
    )
    names = {one.remedy.name for one in planned}
    assert {"baseline", "augmentation", "fold5", "part8", "start_gabor"} <= names

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(computing.parallel, "train", never)
    computing.train(planned, study, 1, "")


def test_the_combination_is_chosen_once_every_seed_of_every_row_is_there(
    small, computed, monkeypatch
):
    study, data, planned, _folder = small
    asked = []
    monkeypatch.setattr(computing.remedies, "choose_combination", lambda *_: asked.append(True))
    monkeypatch.setattr(
        computing.files, "write", lambda *_: None
    )  # the others read the summary that is there
    computing.summarise(planned, study, data)
    assert asked
    asked.clear()
    late = next(one for one in reversed(planned) if one.remedy.name == "augmentation")
    kept = computing.is_kept
    monkeypatch.setattr(computing, "is_kept", lambda one: one is not late and kept(one))
    assert computing.summarise(planned, study, data)["combination"] is None and not asked


def test_a_damaged_file_or_other_settings_are_trained_again(small, computed, tmp_path):
    one = small[2][0]
    whole = one.path.read_bytes()
    try:
        for wrong in (whole[:-50], b"", b"<html>"):
            one.path.write_bytes(wrong)
            assert not computing.is_kept(one)
    finally:
        one.path.write_bytes(whole)
    assert computing.is_kept(one)
    other = computing.Planned(one.remedy, small[0].config(dropout=0.1), one.data, one.weights)
    assert not computing.is_kept(other)


def test_the_results_are_those_of_the_predictions(small, computed):
    _study, data, planned, folder = small
    about, arrays = reference.load(planned[1].path)
    assert about["remedy"]["name"] == "augmentation" and about["n_train"] == 64
    shown = json.loads((folder / "results.json").read_text())
    row = shown["variants"][1]
    labels = data.test.labels
    assert row["each"]["auc"][0] == pytest.approx(
        comparison.influence(arrays["test"], labels)["auc"][0]
    )
    assert row["test"]["n"] == len(labels) + 40
    assert shown["provenance"]["trainings"] == len(planned)
    assert shown["cross_validation"]["n"] == remedies.FOLDS and shown["detectable"][0]["seeds"] == 3


def test_the_learning_curve_is_that_of_the_kept_trainings(small, computed):
    study, _data, planned, folder = small
    own, found = (
        overfitting.learning_curve(study, study.baseline()),
        reference.learning_curve(study, folder),
    )
    assert [row["n"] for row in found] == [8, 16, 32, 64]
    for ours, theirs in zip(own, found, strict=True):
        assert ours["n"] == theirs["n"] and ours["from_first"] == theirs["from_first"]
        for name in ("train_acc", "val_acc", "gap"):
            assert ours[name]["value"] == pytest.approx(theirs[name]["value"])
    assert (
        reference.learning_curve(
            open_study(data="phantom", weights="gabor", preset="smoke", device="cpu"), folder
        )
        is None
    )
    one = next(each for each in planned if each.remedy.name == "part16")
    whole = one.path.read_bytes()
    one.path.unlink()
    try:
        assert reference.learning_curve(study, folder) is None
    finally:
        one.path.write_bytes(whole)


def test_a_check_agrees_bit_for_bit_and_sees_a_changed_prediction(
    small, computed, capsys, monkeypatch
):
    study, _data, planned, _folder = small
    one = next(each for each in planned if each.remedy.name == "small_cnn")
    assert computing.check([one], study, 3)
    assert "sama bit demi bit" in capsys.readouterr().out
    whole = one.path.read_bytes()
    about, arrays = reference.load(one.path)
    about["digest"] = "0" * 64
    arrays["test"] = -arrays["test"]
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(one.path, **arrays)
    try:
        assert not computing.check([one], study, 3)
        assert "TIDAK COCOK" in capsys.readouterr().out
    finally:
        one.path.write_bytes(whole)


@pytest.mark.parametrize(
    ("value", "n", "within"), [(0.89, 5, True), (0.8, 5, False), (0.97, 5, False), (0.89, 2, False)]
)
def test_a_check_on_another_machine_asks_for_the_spread_of_the_seeds(value, n, within):
    assert computing._within(value, np.array([0.88, 0.9, 0.89, 0.91, 0.87])[:n]) is within


def test_a_fold_is_checked_against_the_folds_and_other_bits_of_the_same_processor_are_said(
    small, computed, capsys
):
    study, _data, planned, _folder = small
    folds = [each for each in planned if each.is_fold]
    whole = folds[0].path.read_bytes()
    about, arrays = reference.load(folds[0].path)
    about["digest"] = "0" * 64
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez(folds[0].path, **arrays)
    try:
        assert computing.check(folds, study, len(folds))
    finally:
        folds[0].path.write_bytes(whole)
    said = capsys.readouterr().out
    assert said.count("sama bit demi bit") == len(folds) - 1
    assert said.count("dalam sebaran seed, bitnya lain walaupun nama prosesornya sama") == 1


def test_a_wrong_check_is_refused_in_one_line():
    result = subprocess.run(
        [sys.executable, "-m", "report.reference"],
        env={**os.environ, "CHECK": "banyak"},
        capture_output=True,
        text=True,
        cwd=files.ROOT,
    )
    assert (
        result.returncode == 2
        and result.stderr.count("\n") == 1
        and "CHECK=banyak" in result.stderr
    )


# --- reading it -----------------------------------------------------------------------------------------------------


def test_a_missing_study_is_said_in_one_line(tmp_path):
    with pytest.raises(InputError, match="make reference"):
        reference.read(tmp_path)


def known(name, auc, verdict=None):
    gap = {"value": 0.1, "ci95": [0.0, 0.2]}
    row = {
        "name": name,
        "title": name,
        "seeds": list(range(len(auc))),
        "each": {"auc": auc, "gap": [0.1] * len(auc)},
        "gap": gap,
    }
    row["parts"] = []
    row["test"] = {"auc": {"value": auc[0]}}
    return row | (
        {"verdict": verdict, "difference": {"auc": {"ci95": [0, 0]}}}
        if verdict
        else {"verdict": "pembanding", "difference": None}
    )


@pytest.mark.parametrize(
    ("ci", "verdict", "alone"),
    [
        ((0.01, 0.03), comparison.BETTER, None),
        ((0.01, 0.03), comparison.UNDECIDED, "misleads"),
        ((0.01, 0.03), comparison.WORSE, "misleads"),
        ((0.01, 0.03), comparison.MAJORITY, "misleads"),
        ((-0.03, -0.01), comparison.WORSE, None),
        ((-0.03, -0.01), comparison.MAJORITY, None),
        ((-0.03, -0.01), comparison.EQUAL, "misleads"),
        ((-0.01, 0.03), comparison.BETTER, "misses"),
        ((-0.03, 0.01), comparison.WORSE, "misses"),
        ((-0.01, 0.03), comparison.UNDECIDED, None),
        ((-0.01, 0.03), comparison.EQUAL, None),
    ],
)
def test_a_readers_row_misleads_where_it_shows_what_the_verdict_does_not_say(ci, verdict, alone):
    study = {"variants": [known("baseline", [0.8, 0.9]), known("dropout", [0.8, 0.85], verdict)]}
    mine = [known("baseline", [0.95]), known("dropout", [0.82], "x"), known("unknown", [0.5], "x")]
    mine[1]["difference"]["auc"]["ci95"] = list(ci)
    for row in mine:
        row["seeds"] = [7]
    first, second = reference.place(mine, study)
    assert (
        first["auc"]["where"] == "above"
        and first["verdict"] == "pembanding"
        and first["alone"] is None
    )
    assert (
        second["auc"]["where"] == "within"
        and second["alone"] == alone
        and second["verdict"] == verdict
    )
    assert reference.place([known("baseline", [0.7])], study)[0]["auc"]["where"] == "below"


def test_a_readers_row_is_placed_among_the_seeds_that_they_did_not_train():
    study = {"variants": [known("baseline", [0.8, 0.9, 0.85])]}
    (placed,) = reference.place(
        [known("baseline", [0.8])], study
    )  # seed 0, as the reference's lowest
    assert placed["seeds"] == 2 and placed["auc"] == {
        "value": 0.8,
        "lowest": 0.85,
        "highest": 0.9,
        "where": "below",
    }
    (placed,) = reference.place([known("baseline", [0.8, 0.9, 0.85])], study)
    assert placed["seeds"] == 0 and placed["auc"] == {
        "value": 0.8,
        "lowest": None,
        "highest": None,
        "where": None,
    }


def test_another_combination_is_not_placed_in_the_references():
    study = {
        "variants": [
            known("baseline", [0.8, 0.9]),
            known("combination", [0.9], comparison.BETTER) | {"parts": ["A", "B"]},
        ]
    }
    mine = [known("baseline", [0.8]), known("combination", [0.9], "x") | {"parts": ["A", "C"]}]
    assert [one["row"] for one in reference.place(mine, study)] == [0]
    mine[1]["parts"] = ["A", "B"]
    assert [one["row"] for one in reference.place(mine, study)] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "seeds", "source"),
    [
        ("phantom", 2, "reference"),
        ("phantom", 3, "own"),
        ("chestmnist", 1, "own"),
        ("chestmnist", 5, "own"),
    ],
)
def test_a_readers_own_rows_are_judged_where_all_of_them_are_there_and_say_more_than_the_reference(
    kind, seeds, source
):
    question = {
        "predicts": {"verdict": comparison.EQUAL},
        "overfits": {"verdict": comparison.EQUAL},
    }
    full = lambda name, n: (
        known(name, [0.8] * n, comparison.EQUAL) | question | {"fewer_parameters": False}
    )  # noqa: E731
    beside = ("ensemble", "cross_validation", "detectable")
    study = {
        "variants": [full("baseline", 5), full("cosine", 5)],
        "provenance": {"trainings": 2},
    } | dict.fromkeys(beside, "theirs")
    mine = [full(name, seeds) for name in ("baseline", "augmentation", "dropout")]
    found = reference.beside(mine, study, kind, dict.fromkeys(beside, "ours"))
    assert found["source"] == source and len(found["shown"]) == (2 if source == "reference" else 3)
    assert (
        found["ensemble"] == found["detectable"] == ("theirs" if source == "reference" else "ours")
    )
    assert (found["cross_validation"], found["folds_source"]) == ("ours", "own") and found[
        "margin"
    ] == comparison.MARGIN
    assert (found["background"] is None) is (kind == "phantom")
    few = reference.beside(mine[:2], study, kind)
    assert (
        few["source"] == "reference"
        and few["background"] is None
        and few["folds_source"] == "reference"
    )
    assert bool(few["repeated"]) is (kind == "phantom")


def test_the_spread_is_that_of_the_baselines_seeds():
    found = reference.spread({"variants": [known("baseline", [0.8, 0.9, 0.85])]})
    assert found == {"n": 3, "sd": pytest.approx(0.05), "range": pytest.approx(0.1)}
    assert reference.spread({"variants": [known("baseline", [0.8])]})["sd"] is None


# --- the study that ships -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shipped():
    return reference.read()


def test_what_ships_is_small_and_of_this_phantom(shipped):
    folder = files.ROOT / "notebooks" / "reference"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 3e6
    assert shipped["provenance"]["precision"] == "float32"
    assert (
        f"versi {phantom.VERSION}" in shipped["provenance"]["data"]["title"]
        or shipped["provenance"]["data"]["kind"] == "phantom"
    )


def test_the_shipped_combination_can_be_trained(shipped):
    chosen = reference.combination(shipped)
    if chosen is not None:
        study = open_study(data="phantom", weights="random", preset="smoke", device="cpu")
        assert remedies.config_of(study, chosen, 0).changed().keys() >= chosen.changes.keys()


def test_the_shipped_summary_follows_its_rows(shipped):
    found = verdicts.summarise(shipped["variants"])
    assert found["n"] == len(shipped["variants"]) - 1
    few = [row for row in shipped["variants"][1:] if len(row["seeds"]) < comparison.LEAST_SEEDS]
    assert all(
        row["predicts"]["verdict"] in (comparison.UNDECIDED, comparison.MAJORITY) for row in few
    )
