"""Every label of the file before the pair: which images are used, what is kept, what follows."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from cxr_helpers import data, pretraining, remedies
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import Study, open_study
from report import forecast
from tests.medmnist_files import CHESTMNIST, made, one_line, written

N = {"train": 60, "val": 40, "test": 40}


class Small(Study):
    """A study whose recipe trains the small network."""

    def config(self, **changes):
        return super().config(**{"architecture": "small_cnn", "batch_size": 20, **changes})


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A study of a file of 14 labels; three of its training images judge the pair too."""
    folder = tmp_path_factory.mktemp("pretraining")
    arrays = {name: array[: N[name.split("_")[0]]] for name, array in made("chestmnist").items()}
    pair = {}
    for split in ("val", "test"):
        labels = arrays[f"{split}_labels"]
        pair[split] = np.flatnonzero((labels.sum(1) == 1) & labels[:, [1, 7]].any(1))
    other = np.flatnonzero(arrays["val_labels"][:, 2] == 1)[0]
    arrays["train_images"][0] = arrays["val_images"][pair["val"][0]]
    arrays["train_images"][7] = arrays["test_images"][pair["test"][3]]
    arrays["train_images"][9] = arrays["test_images"][pair["test"][0]]
    arrays["train_images"][11] = arrays["val_images"][other]  # the pair is not judged on it
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(files.RUNS, str(folder / "runs"))
        patch.setattr(pretraining, "EPOCHS", 2)
        path = str(written(folder / "mine.npz", arrays))
        study = open_study(data=path, weights="random", preset="smoke", device="cpu")
        yield Small(**vars(study)), arrays


@pytest.fixture
def study(opened):
    return opened[0]


def test_all_training_images_with_all_labels_but_not_those_that_judge_the_pair(opened):
    study, arrays = opened
    found = pretraining.wider(study)
    kept = np.setdiff1d(np.arange(N["train"]), [0, 7, 9])
    assert found.left_out == 3
    np.testing.assert_array_equal(found.images, arrays["train_images"][kept])
    np.testing.assert_array_equal(found.labels, arrays["train_labels"][kept])


def test_images_of_a_judged_patient_are_left_out_where_patients_are_known(real_layout):
    study = open_study(data=str(real_layout), weights="random", preset="smoke", device="cpu")
    assert len(pretraining.wider(study).images) == CHESTMNIST["train"]
    whose = study.data.train.patients.copy()
    whose[:5] = study.data.test.patients[0]  # as if five training images were of a test patient
    train = replace(study.data.train, patients=whose)
    changed = replace(study, data=data.with_splits(study.data, train=train))
    assert pretraining.wider(changed).left_out == 5


def test_a_file_of_one_label_an_image_and_the_phantom_have_no_more_to_give(study, tmp_path):
    path = str(written(tmp_path / "pneumoniamnist.npz", made("pneumoniamnist")))
    single = open_study(data=path, weights="random", preset="smoke", device="cpu")
    source = replace(study.data.source, kind="phantom")
    phantom = replace(study, data=replace(study.data, source=source))
    for one in (single, phantom):
        assert pretraining.wider(one) is None
        with pytest.raises(InputError, match="chestmnist") as caught:
            pretraining.pretrain(one)
        one_line(caught)


def test_it_learns_is_stored_is_read_again_and_leaves_the_random_state_alone(study, monkeypatch):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    found = pretraining.pretrain(study)
    assert torch.equal(torch.rand(2), wanted)
    result = study.train(start=found, lr=1e-9, epochs=1).runs[0]  # a student's
    begun = found.weights.state["conv3.weight"]
    torch.testing.assert_close(result.weights("last")["conv3.weight"], begun, atol=1e-5, rtol=0)
    assert (found.about["n"], found.about["labels"], found.about["epochs"]) == (57, 14, 2)
    assert found.about["losses"][1] < found.about["losses"][0]
    assert found.weights.state["fc.weight"].shape == (1, 128)
    monkeypatch.setattr(pretraining, "_epoch", lambda *_: pytest.fail("trained again"))
    again = pretraining.pretrain(study)
    assert again.weights.digest == found.weights.digest and again.about == found.about
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        pretraining.pretrain(study, study.config(seed=1))


def test_interrupted_it_goes_on_from_its_last_whole_epoch(study, monkeypatch, tmp_path):
    config, epoch, calls = study.config(seed=5), pretraining._epoch, []
    whole = pretraining.pretrain(study, config)
    monkeypatch.setenv(files.RUNS, str(tmp_path))

    def once(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return epoch(*given)

    monkeypatch.setattr(pretraining, "_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(study, config)
    again = pretraining.pretrain(study, config)
    assert len(calls) == 3 and again.weights.digest == whole.weights.digest
    assert again.about["losses"] == whole.about["losses"]


def test_the_preset_that_trains_every_row_has_one_more(study, monkeypatch, tmp_path):
    monkeypatch.setenv(files.RUNS, str(tmp_path))
    monkeypatch.setattr(remedies, "REMEDIES", ())
    rows = remedies.measure(study)
    assert [row["name"] for row in rows] == ["baseline"]
    assert remedies.about_pretraining(study, rows) is None
    preset = settings.Preset("full", 16, 12, 12, 1, 1, every_row=True, side_studies=True)
    full = replace(study, preset=preset)
    counted = forecast._pretraining(full)
    assert len(counted) == 2 and len(counted[0][1].train) == 57
    rows = remedies.measure(full)
    assert [row["name"] for row in rows] == ["baseline", "pretrained"]
    assert rows[1]["predicts"] is not None
    about = remedies.about_pretraining(full, rows)
    assert about["row"] == 1 and about["n"] == 57
    spent = pretraining.pretrain(full).about["seconds"]
    assert rows[1]["seconds"] > spent > 0
    assert rows[0]["seconds"] == full.baseline()[0].info["seconds"]
    assert forecast._pretraining(full) == []
