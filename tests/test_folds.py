"""Folds of whole patients, and what a memoriser gains from folds that part a patient's images."""

from dataclasses import replace

import numpy as np
import pytest

from cxr_helpers import overfitting
from cxr_helpers.data import Dataset, Split, folds
from tests.conftest import made


def studied(copies: int, n: int = 60, patients: bool = True) -> Dataset:
    """n patients with `copies` much alike images each: only likeness can be learned."""
    generator = np.random.default_rng(0)
    face, who = generator.integers(0, 200, (n, 28, 28)), np.repeat(np.arange(n), copies)
    images = np.clip(face[who] + generator.normal(0, 5, (len(who), 28, 28)), 0, 255)
    labels = who % 2
    parts = {}
    for name, of in (("train", who < 0.8 * n), ("val", who >= 0.8 * n)):
        whose = who[of] if patients else None
        rows = np.flatnonzero(of)
        parts[name] = Split(
            images[of].astype(np.uint8), labels[of].astype(np.uint8), rows, None, whose
        )
    return replace(made(), **parts)


def test_a_memoriser_recognises_patients_in_random_folds_alone():
    found = overfitting.by_patient(studied(copies=4))
    assert found["random"]["value"] > 0.95 and found["recognised"] > 0.95
    assert found["grouped"]["ci95"][0] < 0.5 < found["grouped"]["ci95"][1]
    gain = found["random"]["value"] - found["grouped"]["value"]
    assert found["flattery"]["value"] == pytest.approx(gain)
    assert found["flattery"]["side"] == "above"
    assert (found["n"], found["patients"], found["majority"]) == (240, 60, 0.5)


def test_with_one_image_a_patient_or_too_few_patients_nothing_is_said():
    found = overfitting.by_patient(studied(copies=1))
    assert found["recognised"] == 0 and found["flattery"]["side"] == "across"
    assert overfitting.by_patient(studied(copies=2, patients=False)) is None
    assert overfitting.by_patient(studied(copies=10, n=8)) is None  # four a class, for five folds


@pytest.mark.parametrize("patients", [True, False])
def test_folds_are_stratified_share_nothing_and_leave_the_test_split_alone(patients):
    data, held = studied(copies=3, patients=patients), []
    for fold in folds(data, seed=3):
        assert sorted([*fold.train.rows, *fold.val.rows]) == list(range(180))
        assert abs(fold.val.labels.mean() - 0.5) <= 0.1
        assert not patients or not {*fold.train.patients} & {*fold.val.patients}
        assert fold.test is data.test
        assert fold.fingerprint != data.fingerprint  # else the run store would take one for another
        held += fold.val.rows.tolist()
    assert sorted(held) == list(range(180))
