"""Images of one patient belong together: whose image it is, and how many images they count as."""

from dataclasses import replace

import numpy as np
import pytest

from cxr_helpers import data, evaluation
from cxr_helpers.engine import npz, sources
from cxr_helpers.evaluation import of_images
from tests.medmnist_files import CHESTMNIST

# Measured on the list itself: images and patients of each split.
KNOWN = {"train": (2306, 1193), "val": (305, 164), "test": (682, 360)}


@pytest.fixture(scope="module")
def real(real_layout) -> data.Dataset:
    return data.load(sources.resolve(str(real_layout)))


def test_each_image_of_the_real_layout_has_its_patient_in_one_split_alone(real):
    listed = npz.read_patients()
    for split, (n, m) in KNOWN.items():
        part, known = getattr(real, split), listed[split]
        assert (len(part), part.n_patients) == (n, m) and set(known["labels"]) == {0, 1}
        assert (np.diff(known["rows"]) > 0).all() and known["rows"].max() < CHESTMNIST[split]
        np.testing.assert_array_equal(part.patients, known["patients"])
        np.testing.assert_array_equal(part.rows, known["rows"])
    every = np.concatenate([part["patients"] for part in listed.values()])
    assert len(np.unique(every)) == sum(m for _, m in KNOWN.values())
    assert data.UNKNOWN_PATIENTS not in real.source.note


def test_the_patients_follow_their_images_and_change_no_training(real, real_layout):
    back = data.load(sources.resolve(str(real_layout)), "pneumothorax,cardiomegaly")
    np.testing.assert_array_equal(back.test.patients, real.test.patients)
    np.testing.assert_array_equal(back.test.labels, 1 - real.test.labels)
    owner = dict(zip(real.train.rows, real.train.patients, strict=True))
    few = data.take(real, 60, None, 40, seed=1)
    assert [owner[row] for row in few.train.rows] == few.train.patients.tolist()
    assert few.val.patients is real.val.patients
    unknown = replace(real, train=replace(real.train, patients=None))
    assert unknown.fingerprint == real.fingerprint


@pytest.mark.parametrize("findings", [[1, 7], [3]], ids=["another class", "one more finding"])
def test_one_row_that_differs_and_no_patient_is_used(real_layout, real, tmp_path, findings):
    arrays = dict(np.load(real_layout))
    arrays["test_labels"][real.test.rows[5], findings] ^= 1
    np.savez(tmp_path / "changed.npz", **arrays)
    other = data.load(sources.resolve(str(tmp_path / "changed.npz")))
    assert all(getattr(other, split).patients is None for split in sources.SPLITS)
    assert other.source.note.endswith(data.UNKNOWN_PATIENTS)


def effective(hits: np.ndarray, patients: np.ndarray | None = None) -> float:
    share = of_images(hits, patients)
    return share.effective_size(share.image_variance())


def test_patients_are_counted_and_an_effective_size_is_that_by_hand():
    who = np.array([5, 5, 7, 9, 9])
    for which, n in ((slice(None), 3), (who < 9, 2), ([3, 4], 1), (who > 9, 0)):
        assert evaluation.n_patients(who, which) == n
    assert evaluation.n_patients(None) is None
    hits, who = np.array([1, 1, 1, 0, 0, 0, 1, 0]), np.array([0, 0, 0, 1, 1, 1, 2, 2])
    # share 1/2, patients' sums of hits − share: 1.5, −1.5, 0; variance 3/2 · 4.5 / 64
    assert effective(hits, who) == pytest.approx(0.25 / (1.5 * 4.5 / 64))
    assert effective(hits) == pytest.approx(7)
    # Where nothing varies, a patient counts as one image.
    assert effective(np.ones(8), who) == pytest.approx(64 / 22)
    alternating = np.arange(100) % 2
    assert effective(alternating, np.arange(100) // 2) == 100  # never more than n
