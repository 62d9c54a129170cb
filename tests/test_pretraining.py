"""The whole file before the pair: which images are used, and what starts from it."""

import numpy as np
import pytest

from cxr_helpers import remedies
from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import open_study
from tests.medmnist_files import made, written

N = {"train": 60, "val": 40, "test": 40}


def opened(path, arrays):
    path = str(written(path, arrays))
    return open_study(data=path, weights="random", preset="smoke", device="cpu")


def test_all_images_but_those_that_judge_the_pair_are_learned_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    monkeypatch.setattr(remedies, "PRETRAINING_EPOCHS", 2)
    arrays = {name: array[: N[name.split("_")[0]]] for name, array in made("chestmnist").items()}
    for split in ("train", "val"):
        arrays[f"{split}_labels"][::4] = 0  # nothing found
    labels = arrays["test_labels"]
    pair = np.flatnonzero((labels.sum(1) == 1) & labels[:, [1, 7]].any(1))
    other = np.flatnonzero(arrays["val_labels"][:, 2] == 1)[0]
    arrays["train_images"][[0, 7]] = arrays["test_images"][pair[[0, 3]]]
    arrays["train_images"][11] = arrays["val_images"][other]  # the pair is not judged on it
    study, kept = opened(tmp_path / "mine.npz", arrays), np.setdiff1d(np.arange(60), [0, 7])
    learned = remedies.wider(study).train
    np.testing.assert_array_equal(learned.images, arrays["train_images"][kept])
    np.testing.assert_array_equal(learned.labels, arrays["train_labels"][kept].any(axis=1))
    small = {"architecture": "small_cnn", "batch_size": 20, "epochs": 9}
    config = study.config(**small)
    start, (run,) = remedies.pretrain(study, config), (tmp_path / "runs").iterdir()
    assert len((run / "history.csv").read_text().splitlines()) == 1 + 2
    before = (run / "info.json").stat().st_mtime_ns
    assert remedies.pretrain(study, config).digest == start.digest
    assert (run / "info.json").stat().st_mtime_ns == before  # read, not trained again
    begun = study.train(start=start, **small | {"lr": 1e-9, "epochs": 1}).runs[0]
    for name in ("conv3.weight", "fc.weight"):
        learned = start.state[name].numpy()
        np.testing.assert_allclose(begun.weights("last")[name], learned, atol=1e-5)


@pytest.mark.parametrize("flag", ["pneumoniamnist", "chestmnist"])
def test_a_file_of_one_label_an_image_or_where_all_show_a_finding_has_no_more_to_give(
    tmp_path, flag
):
    with pytest.raises(InputError, match="tanpa temuan"):
        remedies.pretrain(opened(tmp_path / f"{flag}.npz", made(flag)))
