"""Folds of whole patients: what a memoriser gains where a patient's images lie on both sides (notebook 03)."""

from dataclasses import replace

import numpy as np
import pytest

from cxr_helpers import folds
from cxr_helpers.data import Split, with_splits
from tests.conftest import made


def studied(copies: int, noise: float, patients: bool = True, n: int = 60, seed: int = 0):
    """n patients whose class no pixel shows, with `copies` images each that differ by `noise`: only likeness can be learned."""
    generator = np.random.default_rng(seed)
    face = generator.integers(0, 200, (n, 28, 28))
    who = np.repeat(np.arange(n), copies)
    images = np.clip(face[who] + generator.normal(0, noise, (len(who), 28, 28)), 0, 255).astype(
        np.uint8
    )
    labels = (who % 2).astype(np.uint8)
    parts = {}
    for name, which in (("train", who < 48), ("val", who >= 48)):
        parts[name] = Split(
            images[which],
            labels[which],
            np.flatnonzero(which),
            None,
            who[which] if patients else None,
        )
    return with_splits(made(), **parts)


def test_a_memoriser_recognises_patients_in_random_folds_alone():
    found = folds.by_patient(studied(copies=4, noise=5))
    assert found["random"]["value"] > 0.95 and found["shared"] > 0.95 and found["recognised"] > 0.95
    assert found["grouped"]["ci95"][0] < 0.5 < found["grouped"]["ci95"][1]
    assert found["flattery"]["side"] == "above"
    assert found["flattery"]["value"] == pytest.approx(
        found["random"]["value"] - found["grouped"]["value"]
    )
    assert (found["n"], found["patients"], found["majority"]) == (240, 60, 0.5)


def test_with_one_image_a_patient_there_is_nothing_to_gain():
    found = folds.by_patient(studied(copies=1, noise=5))
    assert found["shared"] == found["recognised"] == 0 and found["flattery"]["side"] == "across"


def test_a_memoriser_is_worse_in_random_folds_where_a_patients_images_bear_both_labels():
    """The nearest image is the same patient's, and its label the other one."""
    alike = studied(copies=2, noise=5)
    parts = {name: getattr(alike, name) for name in ("train", "val")}
    both = {
        name: replace(part, labels=(np.arange(len(part)) % 2).astype(np.uint8))
        for name, part in parts.items()
    }
    found = folds.by_patient(with_splits(alike, **both))
    assert found["random"]["value"] < 0.3 and found["recognised"] > 0.7
    assert found["flattery"]["side"] == "below" and found["flattery"]["value"] < -0.2


def test_without_patients_or_with_fewer_than_folds_nothing_is_said():
    assert folds.by_patient(studied(copies=2, noise=5, patients=False)) is None
    few = studied(copies=20, noise=5, n=8)
    assert (
        min(len(np.unique(few.train.patients[few.train.labels == label])) for label in (0, 1))
        < folds.FOLDS
    )
    assert folds.by_patient(few) is None


def test_distances_are_those_of_the_pixels():
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    flat = images.reshape(5, -1).astype(float)
    wanted = ((flat[:, None] - flat[None]) ** 2).sum(-1)
    assert folds._distances(images) == pytest.approx(wanted, abs=50)  # float32 sums of millions
    larger = np.repeat(np.repeat(images, 2, axis=1), 2, axis=2)
    assert folds._distances(larger) == pytest.approx(wanted, abs=50)
