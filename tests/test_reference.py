"""The reference study: computed in small by the same code, checked; and the one that ships."""

import os
import shutil
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

import phantom
from cxr_helpers import data, evaluation, overfitting, remedies
from cxr_helpers.engine import files, settings
from cxr_helpers.model import resolve_weights
from cxr_helpers.study import Study
from report import reference as computing
from tests.conftest import made
from tests.test_experiments import Small

REMEDIES = [one for one in remedies.REMEDIES if one.name in ("dropout", "augmentation", "cosine")]
PRESET = replace(settings.PRESETS["smoke"], epochs=1)


def drawn() -> data.Dataset:
    """48 + 16 + 16 images of the phantom, which are harder to tell apart than the made-up ones."""
    images, labels, _ = phantom.more_test_images(80, seed=1)
    places = {"train": np.arange(48), "val": np.arange(48, 64), "test": np.arange(64, 80)}
    parts = {name: data.Split(images[at], labels[at], at) for name, at in places.items()}
    return replace(made(), **parts)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    about = (PRESET, 0, torch.device("cpu"), "float32", folder, "", time.time())
    study = Small(drawn(), drawn(), resolve_weights("random"), *about)
    sizes = {"EXTRA": 40, "BASELINE_SEEDS": 3, "SEEDS": 2, "FEW_SEEDS": 1, "REMEDIES": REMEDIES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(remedies, "REFERENCE", folder)
        patch.setattr(remedies, "TRAININGS", folder / "trainings")
        patch.setenv(files.RUNS, str(folder / "runs"))
        patch.setattr(computing, "open_study", lambda **_: study)
        for name, value in sizes.items():
            patch.setattr(computing, name, value)
        yield study


@pytest.fixture(scope="module")
def planned(study):
    """What `make reference` plans, after it has been computed."""
    assert computing.main() == 0
    return computing.plan(study, computing.with_extra(study.used))


def named(planned, name):
    return [one for one in planned if one.remedy.name == name]


def test_a_study_that_is_whole_is_not_trained_again(planned, monkeypatch):
    seeds = {one.remedy.name: len(named(planned, one.remedy.name)) for one in planned}
    few = ["part6", "part12", "part24", *(f"fold{n}" for n in range(1, 6))]
    rows = {one.name: 2 for one in REMEDIES}
    assert seeds == {"baseline": 3} | rows | dict.fromkeys(few, 1)
    assert all(computing.is_kept(one) for one in planned)
    before = remedies.read_reference(remedies.REFERENCE)
    monkeypatch.setattr(computing.training, "run_all", lambda *_: pytest.fail("trained again"))
    assert computing.main() == 0 and remedies.read_reference(remedies.REFERENCE) == before


def test_a_damaged_file_or_other_settings_are_trained_again(planned, tmp_path, monkeypatch):
    shutil.copy(planned[0].path, tmp_path)
    monkeypatch.setattr(remedies, "TRAININGS", tmp_path)
    one = planned[0]
    assert computing.is_kept(one)
    assert not computing.is_kept(replace(one, config=replace(one.config, dropout=0.1)))
    assert not computing.is_kept(replace(one, weights=resolve_weights("gabor")))
    assert not computing.is_kept(replace(one, data=named(planned, "part24")[0].data))
    whole = one.path.read_bytes()
    for wrong in (whole[:-50], b"", b"<html>"):
        one.path.write_bytes(wrong)
        assert not computing.is_kept(one)


def test_a_check_trains_again_and_leaves_run_store_and_threads_alone(planned, study, capsys):
    before = (os.environ[files.RUNS], torch.get_num_threads())
    assert computing.check(planned[:1], study, 1)
    assert "sama bit demi bit" in capsys.readouterr().out
    assert (os.environ[files.RUNS], torch.get_num_threads()) == before


def test_the_results_are_those_of_the_predictions(planned):
    shown = remedies.read_reference(remedies.REFERENCE)
    used = planned[0].data
    for row, seeds in zip(shown["variants"][:4], ([0, 1, 2], [0, 1], [0, 1], [0, 1]), strict=True):
        alone, both = [], []
        for one in named(planned, row["name"]):
            arrays = remedies.load_training(one.path).logits
            alone.append(roc_auc_score(used.test.labels, arrays["test"]))
            labels = np.concatenate([used.test.labels, used.extra.labels])
            both.append(roc_auc_score(labels, np.concatenate([arrays["test"], arrays["extra"]])))
        assert row["seeds"] == seeds and row["test"]["n"] == 16 + 40
        assert row["each"]["auc"] == pytest.approx(alone)
        assert len(row["each"]["gap"]) == len(seeds)
        assert row["test"]["auc"]["value"] == pytest.approx(np.mean(both), abs=1e-3)
    trainings = len(planned) + (computing.SEEDS if shown["combination"] else 0)
    assert shown["provenance"]["trainings"] == shown["provenance"]["planned"] == trainings
    assert shown["cross_validation"]["n"] == data.FOLDS
    assert [plan["images"] for plan in shown["detectable"]] == [16, 16 + 40]
    for plan in shown["detectable"]:
        assert (plan["seeds"], plan["rows"]) == ([2, 3], len(shown["variants"]) - 1)
    assert shown["training_sets"] is None


def test_rows_with_training_sets_of_their_own_are_judged_beside_the_shared_one(
    study, planned, tmp_path, monkeypatch
):
    monkeypatch.setattr(remedies, "TRAININGS", tmp_path)
    drawn = phantom.ensure(files.data_folder(), 0)  # drawing more takes its time
    monkeypatch.setattr(phantom, "ensure", lambda folder, seed: drawn)
    data, variants = planned[0].data, remedies.read_reference(remedies.REFERENCE)["variants"]
    again = replace(REMEDIES[0], name="combination")
    chosen = [remedies.BASELINE, REMEDIES[1], again]
    jobs = computing.own_sets(study, data, chosen)
    images = {(job.config.seed, job.data.train.images.tobytes()) for job in jobs}
    assert len(jobs) == 6 and len(images) == 2 and len({seen for _, seen in images}) == 2
    shared = [*variants[:4], variants[1] | {"name": "combination"}]
    assert computing._training_sets(shared, data) is None
    computing.train(jobs, study, 1, "")
    test, (labels, _) = {}, remedies.test_images(data)
    for name, row in computing.rows(jobs).items():
        test[name] = np.mean([roc_auc_score(labels, logits) for logits in row.test(data)])
    base, *others = test.values()
    found = computing._training_sets(shared, data)
    assert [row["own"]["value"] for row in found] == pytest.approx(np.subtract(others, base))
    theirs = {row["name"]: row["predicts"] for row in shared}
    assert [row["shared"] for row in found] == [theirs[remedy.name] for remedy in chosen[1:]]


def test_the_learning_curve_is_that_of_the_kept_trainings(study, planned):
    own = overfitting.learning_curve(study, study.baseline())
    found = remedies.reference_curve(study, remedies.REFERENCE)
    assert [row["n"] for row in found] == [6, 12, 24, 48]
    for ours, theirs in zip(own, found, strict=True):
        assert ours["n"] == theirs["n"] and ours["from_first"] == theirs["from_first"]
        for name in ("train_acc", "val_acc"):
            assert ours[name]["value"] == pytest.approx(theirs[name]["value"])
    other_start = replace(study, weights=resolve_weights("gabor"))
    assert remedies.reference_curve(other_start, remedies.REFERENCE) is None


def known(name, auc, verdict="pembanding", parts=(), ci95=(0, 0)):
    """A row as remedies.judge gives it, as far as it is read here."""
    row = {"name": name, "title": name, "parts": list(parts), "seeds": list(range(len(auc)))}
    row |= {"each": {"auc": auc, "gap": [0.1] * len(auc)}, "trained_parameters": 9}
    row |= {"test": {"auc": {"value": np.mean(auc)}}, "gap": {"value": 0.1}}
    judged = {"ci95": list(ci95), "verdict": evaluation.EQUAL, "narrow": False}
    row |= dict.fromkeys(("predicts", "overfits"), judged if verdict != "pembanding" else None)
    return row | {"verdict": verdict}


@pytest.mark.parametrize(
    ("ci", "confirmed"),
    [
        ((0.01, 0.03), "BETTER"),
        ((-0.03, -0.01), "WORSE MAJORITY"),
        ((-0.03, 0.03), "UNDECIDED EQUAL MAJORITY"),
    ],
)
def test_a_readers_row_misleads_where_the_verdict_says_otherwise(ci, confirmed):
    """Another combination, in the end, is not placed."""
    mine = [known("baseline", [0.8]), known("dropout", [0.8], "x", ci95=ci)]
    mine.append(known("combination", [0.9], "x", parts=("A", "B")))
    for name in ("BETTER", "WORSE", "EQUAL", "UNDECIDED", "MAJORITY"):
        verdict = getattr(evaluation, name)
        rows = [known("baseline", [0.8, 0.9]), known("dropout", [0.8, 0.7, 0.75], verdict)]
        rows.append(known("combination", [0.9], "x", parts=("A", "C")))
        first, second = computing.place(mine, {"variants": rows})
        assert first["verdict"] == "pembanding" and not first["misleads"]
        assert (second["verdict"], second["misleads"]) == (verdict, name not in confirmed.split())
        assert first["auc"] == {"interval": None, "place": None} and second["seeds"] == 3


@pytest.mark.parametrize("trainings", [1, 4])
def test_a_value_is_placed_in_the_prediction_interval_of_the_seeds(trainings):
    """Student's 97.5% quantile with two degrees of freedom is 4.302653."""
    half = 4.302653 * 0.05 * (1 / trainings + 1 / 3) ** 0.5
    for times, place in ((-1.01, "below"), (-0.99, "within"), (0.99, "within"), (1.01, "above")):
        found = computing._placed(0.75 + times * half, [0.7, 0.75, 0.8], trainings)
        assert found["place"] == place
        assert found["interval"] == pytest.approx([0.75 - half, 0.75 + half])


@pytest.mark.parametrize(
    ("kind", "seeds", "own"),
    [("phantom", 2, False), ("phantom", 3, True), ("chestmnist", 1, True)],
)
def test_a_readers_own_rows_are_judged_where_they_say_more(kind, seeds, own, study, monkeypatch):
    beside = ("ensemble", "cross_validation", "detectable", "training_sets")
    beside = dict.fromkeys(beside, "theirs")
    theirs = [known("baseline", [0.8] * 5), known("cosine", [0.8] * 5, "x")]
    reference = {"variants": theirs, "provenance": {}, "precisions": []} | beside
    mine = [known("baseline", [0.8] * seeds), known("dropout", [0.8] * seeds, "x")]
    monkeypatch.setattr(remedies, "read_reference", lambda: reference)
    monkeypatch.setattr(computing, "cross_validation", lambda *_: "ours")
    monkeypatch.setattr(remedies, "ensemble", lambda *_: "ours")
    monkeypatch.setattr(remedies, "baseline", lambda _: None)
    used = replace(study.used, source=replace(study.used.source, kind=kind))
    found = computing.beside(replace(study, used=used), mine, repeat="all")
    shown = [found[name] for name in ("source", "shown", "ensemble", "detectable", "training_sets")]
    others = ["own", mine, "ours", None, None]
    assert shown == (others if own else ["reference", theirs, *["theirs"] * 3])
    assert computing.beside(study, mine)["cross_validation"] == "theirs"
    assert found["cross_validation"] == "ours"
    assert (found["background"] is None) is (kind == "phantom")


def test_the_study_that_ships_is_whole_and_small_and_its_combination_can_be_trained():
    shipped = remedies.read_reference(files.REFERENCE)
    rows, about = shipped["variants"], shipped["provenance"]
    folder = files.REFERENCE.rglob("*")
    assert sum(path.stat().st_size for path in folder if path.is_file()) < 3.4e6
    assert about["precision"] == "float32" and about["data"]["kind"] == "phantom"
    assert about["trainings"] == about["planned"]
    assert [len(row["seeds"]) for row in rows] == [10] + [5] * (len(rows) - 1)
    assert remedies.summarise(rows)["n"] == len(rows) - 1
    study = Study(*[made()] * 2, None, PRESET, 0, torch.device("cpu"), "float32", "", "", 0)
    chosen = remedies.planned(study)[-1]
    names = {"augment": tuple(chosen.changes.get("augment", ()))}  # JSON knows no tuple
    assert study.config(**chosen.changes).changed() == {"epochs": 1} | chosen.changes | names
    assert (chosen.name, chosen.parts) == ("combination", shipped["combination"]["parts"])
