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
    study = open_study(data="phantom", weights="random", preset="smoke", device="cpu", precision="float32")
    data = computing.with_extra(study.used)
    yield study, data, computing.plan(study, data), folder
    patch.undo()


@pytest.fixture(scope="module")
def computed(small):
    study, data, planned, _folder = small
    computing.train(planned, study, 1, "")
    return computing.summarise(planned, study, data)


def test_the_plan_has_ten_seeds_of_the_baseline_and_five_of_each_row():
    assert (computing.BASELINE_SEEDS, computing.SEEDS, computing.FEW_SEEDS, computing.EXTRA) == (10, 5, 3, 6000)


def test_every_planned_training_has_a_file_and_is_not_trained_twice(small, computed, monkeypatch):
    study, _data, planned, folder = small
    assert len({one.path for one in planned}) == len(planned) == len(list((folder / "trainings").iterdir()))
    names = {one.remedy.name for one in planned}
    assert {"baseline", "augmentation", "fold5", "part8", "start_gabor"} <= names

    def never(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(computing.parallel, "train", never)
    computing.train(planned, study, 1, "")


def test_the_combination_is_chosen_once_every_seed_of_every_row_is_there(small, computed, monkeypatch):
    study, data, planned, _folder = small
    asked = []
    monkeypatch.setattr(computing.remedies, "choose_combination", lambda *_: asked.append(True))
    monkeypatch.setattr(computing.files, "write", lambda *_: None)  # the others read the summary that is there
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
    assert row["each"]["auc"][0] == pytest.approx(comparison.influence(arrays["test"], labels)["auc"][0])
    assert row["test"]["n"] == len(labels) + 40
    assert shown["provenance"]["trainings"] == len(planned)
    assert shown["cross_validation"]["n"] == remedies.FOLDS and shown["detectable"][0]["seeds"] == 3


def test_the_learning_curve_is_that_of_the_kept_trainings(small, computed):
    study, _data, planned, folder = small
    own, found = overfitting.learning_curve(study, study.baseline()), reference.learning_curve(study, folder)
    assert [row["n"] for row in found] == [8, 16, 32, 64]
    for ours, theirs in zip(own, found, strict=True):
        assert ours["n"] == theirs["n"] and ours["from_first"] == theirs["from_first"]
        for name in ("train_acc", "val_acc", "gap"):
            assert ours[name]["value"] == pytest.approx(theirs[name]["value"])
    assert reference.learning_curve(open_study(data="phantom", weights="gabor", preset="smoke", device="cpu"), folder) is None
    one = next(each for each in planned if each.remedy.name == "part16")
    whole = one.path.read_bytes()
    one.path.unlink()
    try:
        assert reference.learning_curve(study, folder) is None
    finally:
        one.path.write_bytes(whole)


def test_a_check_agrees_bit_for_bit_and_sees_a_changed_prediction(small, computed, capsys, monkeypatch):
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


def test_a_wrong_check_is_refused_in_one_line():
    result = subprocess.run(
        [sys.executable, "-m", "report.reference"],
        env={**os.environ, "CHECK": "banyak"},
        capture_output=True,
        text=True,
        cwd=files.ROOT,
    )
    assert result.returncode == 2 and result.stderr.count("\n") == 1 and "CHECK=banyak" in result.stderr


# --- reading it -----------------------------------------------------------------------------------------------------


def test_a_missing_study_is_said_in_one_line(tmp_path):
    with pytest.raises(InputError, match="make reference"):
        reference.read(tmp_path)


def known(name, auc, verdict=None):
    gap = {"value": 0.1, "ci95": [0.0, 0.2]}
    row = {"name": name, "title": name, "seeds": [0, 1, 2], "each": {"auc": auc, "gap": [0.1, 0.12]}, "gap": gap}
    row["test"] = {"auc": {"value": auc[0]}}
    return row | (
        {"verdict": verdict, "difference": {"auc": {"ci95": [0, 0]}}}
        if verdict
        else {"verdict": "pembanding", "difference": None}
    )


@pytest.mark.parametrize(
    ("ci", "verdict", "misleads"),
    [
        ((0.01, 0.03), comparison.BETTER, False),
        ((0.01, 0.03), comparison.UNDECIDED, True),
        ((0.01, 0.03), comparison.WORSE, True),
        ((-0.03, -0.01), comparison.WORSE, False),
        ((-0.03, -0.01), comparison.EQUAL, True),
        ((-0.01, 0.03), comparison.BETTER, False),
    ],
)
def test_a_readers_row_misleads_where_it_shows_what_the_verdict_does_not_say(ci, verdict, misleads):
    study = {"variants": [known("baseline", [0.8, 0.9]), known("dropout", [0.8, 0.85], verdict)]}
    mine = [known("baseline", [0.95]), known("dropout", [0.82], "x"), known("unknown", [0.5], "x")]
    mine[1]["difference"]["auc"]["ci95"] = list(ci)
    first, second = reference.place(mine, study)
    assert first["auc"]["where"] == "above" and first["verdict"] == "pembanding" and not first["misleads"]
    assert second["auc"]["where"] == "within" and second["misleads"] is misleads and second["verdict"] == verdict
    assert reference.place([known("baseline", [0.7])], study)[0]["auc"]["where"] == "below"


@pytest.mark.parametrize(("names", "source"), [(("augmentation",), "reference"), (("augmentation", "dropout"), "own")])
def test_a_readers_own_rows_are_judged_only_where_all_of_them_are_there(monkeypatch, names, source):
    monkeypatch.setattr(reference, "REMEDIES", [r for r in remedies.REMEDIES if r.name in ("augmentation", "dropout")])
    question = {"predicts": {"verdict": comparison.EQUAL}, "overfits": {"verdict": comparison.EQUAL}}
    full = lambda name: known(name, [0.8], comparison.EQUAL) | question | {"fewer_parameters": False}  # noqa: E731
    study = {"variants": [full("baseline"), full("cosine")], "provenance": {"trainings": 2}}
    study |= {"ensemble": "theirs", "cross_validation": "theirs", "detectable": "theirs"}
    found = reference.beside([full("baseline"), *map(full, names)], study, "phantom", "ours")
    assert found["source"] == source and len(found["shown"]) == 1 + (1 if source == "reference" else 2)
    assert found["cross_validation"] == ("theirs" if source == "reference" else "ours")
    assert (found["ensemble"] is None) is (source == "own") and found["margin"] == comparison.MARGIN
    assert reference.beside([full("baseline")], study, "chestmnist")["repeated"] == []


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
        f"versi {phantom.VERSION}" in shipped["provenance"]["data"]["title"] or shipped["provenance"]["data"]["kind"] == "phantom"
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
    assert all(row["predicts"]["verdict"] in (comparison.UNDECIDED, comparison.MAJORITY) for row in few)
