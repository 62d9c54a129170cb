"""Every label of the file before the pair: which images are used, what is stored, and what goes on from it."""

import numpy as np
import pytest
import torch

from cxr_helpers import pretraining, remedies, verdicts
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import open_study
from report import forecast
from tests.medmnist_files import CHESTMNIST, COUNTS, made, one_line, written


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A study of a small file of 14 labels; three of its training images are also validation or test images of the pair."""
    folder = tmp_path_factory.mktemp("pretraining")
    arrays = made("chestmnist")
    single = {s: arrays[f"{s}_labels"].sum(1) == 1 for s in ("val", "test")}
    pair = {s: np.flatnonzero(single[s] & arrays[f"{s}_labels"][:, [1, 7]].any(1)) for s in single}
    other = np.flatnonzero(arrays["val_labels"][:, 2] == 1)[0]
    arrays["train_images"][0] = arrays["val_images"][pair["val"][0]]
    arrays["train_images"][7] = arrays["test_images"][pair["test"][3]]
    arrays["train_images"][9] = arrays["test_images"][pair["test"][0]]
    arrays["train_images"][11] = arrays["val_images"][
        other
    ]  # of no image that the pair is judged on
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_DATA", str(folder / "data"))
        patch.setenv(files.RUNS, str(folder / "runs"))
        patch.setattr(pretraining, "EPOCHS", 2)
        yield (
            open_study(
                data=str(written(folder / "mine.npz", arrays)),
                weights="random",
                preset="smoke",
                device="cpu",
            ),
            arrays,
        )


@pytest.fixture
def study(opened):
    return opened[0]


@pytest.fixture
def small(study):
    return study.config(architecture="small_cnn", batch_size=60)


def test_all_training_images_with_all_labels_but_not_those_that_judge_the_pair(opened):
    study, arrays = opened
    found = pretraining.wider(study)
    assert found.left_out == 3 and found.images.shape == (COUNTS["train"] - 3, 28, 28)
    kept = np.setdiff1d(np.arange(COUNTS["train"]), [0, 7, 9])
    assert np.array_equal(found.images, arrays["train_images"][kept])
    assert (
        np.array_equal(found.labels, arrays["train_labels"][kept]) and found.labels.shape[1] == 14
    )
    judged = {
        image.tobytes() for part in (study.data.val, study.data.test) for image in part.images
    }
    assert not judged & {image.tobytes() for image in found.images}


def test_images_of_a_judged_patient_are_left_out_where_patients_are_known(
    real_layout, monkeypatch, tmp_path
):
    monkeypatch.setenv("CXR_DATA", str(tmp_path))
    study = open_study(data=str(real_layout), weights="random", preset="smoke", device="cpu")
    if study.data.train.patients is None:
        pytest.fail("the layout of the real file has patients")
    black = sum(
        not image.any() for part in (study.data.val, study.data.test) for image in part.images
    )
    found = pretraining.wider(study)
    assert black == 0 and found.left_out == 0 and len(found.images) == CHESTMNIST["train"]
    again = verdicts.Images.of(study.data).patients["test"][0]
    shared = study.data.train.patients.copy()
    shared[:5] = again  # as if five training images were of a test patient
    changed = open_study(data=str(real_layout), weights="random", preset="smoke", device="cpu")
    object.__setattr__(changed.data.train, "patients", shared)
    assert pretraining.wider(changed).left_out == 5


@pytest.mark.parametrize("flag", ["pneumoniamnist", "phantom"])
def test_a_file_of_one_label_an_image_and_the_phantom_have_no_more_to_give(
    flag, tmp_path, monkeypatch
):
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "data"))
    data = flag if flag == "phantom" else str(written(tmp_path / f"{flag}.npz", made(flag)))
    study = open_study(data=data, weights="random", preset="smoke", device="cpu")
    assert pretraining.wider(study) is None
    with pytest.raises(InputError) as caught:
        pretraining.pretrain(study)
    assert "ChestMNIST".lower() in one_line(caught)


def test_it_learns_is_stored_and_is_read_again(study, small, monkeypatch):
    found = pretraining.pretrain(study, small)
    assert (
        found.about["n"] == COUNTS["train"] - 3
        and found.about["labels"] == 14
        and found.about["epochs"] == 2
    )
    assert found.about["losses"][1] < found.about["losses"][0]
    assert found.weights.state["fc.weight"].shape == (1, 128)

    def never(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(pretraining, "_epoch", never)
    again = pretraining.pretrain(study, small)
    assert again.weights.digest == found.weights.digest and again.about == found.about
    with pytest.raises(AssertionError, match="trained again"):
        pretraining.pretrain(study, study.config(architecture="small_cnn", batch_size=60, seed=1))


def test_interrupted_it_goes_on_from_its_last_whole_epoch(study, monkeypatch):
    config = study.config(architecture="small_cnn", batch_size=60, seed=5)
    whole = pretraining.pretrain(study, config)
    folder = pretraining._folder(study, config, pretraining.wider(study))
    for path in folder.iterdir():
        path.unlink()
    real, calls = pretraining._epoch, []

    def once(*given):
        if calls:
            raise KeyboardInterrupt
        calls.append(1)
        return real(*given)

    monkeypatch.setattr(pretraining, "_epoch", once)
    with pytest.raises(KeyboardInterrupt):
        pretraining.pretrain(study, config)
    counted = []
    monkeypatch.setattr(pretraining, "_epoch", lambda *given: counted.append(1) or real(*given))
    again = pretraining.pretrain(study, config)
    assert len(counted) == 1 and again.weights.digest == whole.weights.digest


def test_a_students_training_starts_from_it(study, small):
    start = pretraining.pretrain(study, small)
    result = study.train(start=start, architecture="small_cnn", epochs=1)
    plain = study.train(architecture="small_cnn", epochs=1)
    assert result.runs[0].key != plain.runs[0].key
    assert not np.array_equal(result.runs[0].logits["val_last"], plain.runs[0].logits["val_last"])
    with pytest.raises(InputError, match="jaringan lain"):
        study.train(start=start, epochs=1)


def test_the_preset_that_trains_every_row_has_one_more(study, monkeypatch):
    monkeypatch.setattr(remedies, "REMEDIES", ())
    rows = remedies.measure(study)
    assert [row["name"] for row in rows] == ["baseline"] and remedies.about_pretraining(
        study, rows
    ) is None
    full = open_study(
        data=str(study.data.source.path), weights="random", preset="smoke", device="cpu"
    )
    object.__setattr__(
        full, "preset", settings.Preset("full", 64, 24, 32, 2, 1, every_row=True, side_studies=True)
    )
    counted = forecast._pretraining(full)
    assert len(counted) == 2 and len(counted[0][1].train) == COUNTS["train"] - 3
    rows = remedies.measure(full)
    assert [row["name"] for row in rows] == ["baseline", "pretrained"] and rows[1][
        "predicts"
    ] is not None
    about = remedies.about_pretraining(full, rows)
    assert about["row"] == 1 and about["n"] == COUNTS["train"] - 3
    run = full.baseline()[0]
    spent = pretraining.pretrain(full).about["seconds"]
    assert rows[1]["seconds"] > spent > 0 and rows[0]["seconds"] == run.info["seconds"]
    assert forecast._pretraining(full) == []


def test_the_random_state_is_left_alone(study):
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    pretraining.pretrain(study, study.config(architecture="small_cnn", batch_size=60, seed=9))
    assert torch.equal(torch.rand(2), wanted)
