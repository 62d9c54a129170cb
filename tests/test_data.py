"""Two classes of a file: which images and labels, in which order (cxr_helpers/data.py)."""

import json
import os
from dataclasses import replace

import medmnist
import numpy as np
import pytest
import torch
from medmnist import INFO

from cxr_helpers import data, reference
from cxr_helpers.engine import sources
from cxr_helpers.engine.errors import InputError
from tests.medmnist_files import COUNTS, made, written

# --- a file of one's own --------------------------------------------------------------------------------------------


def test_the_single_label_filter(chest):
    arrays = np.load(chest)
    source = sources.resolve(str(chest))
    assert (source.kind, source.flag) == ("file", "chestmnist") and "mine.npz" in source.title
    dataset = data.load(source)
    assert dataset.classes == ("cardiomegaly", "pneumothorax")
    assert dataset.class_names_id == ("Kardiomegali", "Pneumotoraks")
    for split, n in COUNTS.items():
        part, kept = getattr(dataset, split), []
        for row in range(n):  # the same rule, written the slow way
            present = [finding for finding in range(14) if arrays[f"{split}_labels"][row, finding]]
            if present in ([1], [7]):
                kept.append((row, int(present == [7])))
        assert 0 < len(kept) < n
        assert list(zip(part.rows, part.labels, strict=True)) == kept
        np.testing.assert_array_equal(part.images, arrays[f"{split}_images"][part.rows])
        assert (part.images.dtype, part.labels.dtype, part.rows.dtype) == (
            np.uint8,
            np.uint8,
            np.int64,
        )
        assert dataset.counts[split] == {
            "cardiomegaly": sum(label == 0 for _, label in kept),
            "pneumothorax": sum(label == 1 for _, label in kept),
        }


def test_the_order_of_classes_is_the_order_of_labels(chest):
    source = sources.resolve(str(chest))
    forward, back = data.load(source), data.load(source, " Pneumothorax , CARDIOMEGALY ")
    assert back.classes == ("pneumothorax", "cardiomegaly")
    np.testing.assert_array_equal(back.val.rows, forward.val.rows)
    np.testing.assert_array_equal(back.val.labels, 1 - forward.val.labels)
    assert back.fingerprint != forward.fingerprint


def test_another_pair_of_findings(chest):
    labels = np.load(chest)["test_labels"]
    dataset = data.load(sources.resolve(str(chest)), "effusion,pneumothorax")
    np.testing.assert_array_equal(labels[dataset.test.rows, 2], 1 - dataset.test.labels)
    assert dataset.class_names_id == ("Efusi pleura", "Pneumotoraks")


def test_a_single_label_set(tmp_path):
    path = written(tmp_path / "OrganAMNIST.npz", made("organamnist"))
    dataset = data.load(sources.resolve(str(path)), "heart,Lung-Left")
    labels = np.load(path)["train_labels"][:, 0]
    np.testing.assert_array_equal(dataset.train.rows, np.flatnonzero(np.isin(labels, [3, 7])))
    np.testing.assert_array_equal(labels[dataset.train.rows] == 7, dataset.train.labels == 1)
    assert dataset.classes == ("heart", "lung-left") and dataset.class_names_id == (
        "Jantung",
        "Paru kiri",
    )


def test_a_class_name_that_holds_a_comma(tmp_path):
    path = written(tmp_path / "breastmnist.npz", made("breastmnist"))
    source = sources.resolve(str(path))
    assert data.load(source, "normal, benign,malignant").classes == ("normal, benign", "malignant")
    assert data.load(source, "malignant, normal, benign").classes == ("malignant", "normal, benign")


def test_colour_becomes_grey_by_luminance(tmp_path):
    arrays = made("bloodmnist")
    for row, colour in enumerate(
        [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (10, 20, 30)]
    ):
        arrays["train_images"][row] = colour
        arrays["train_labels"][row] = row % 2
    path = written(tmp_path / "bloodmnist.npz", arrays)
    source = sources.resolve(str(path))
    assert "BT.601" in source.note
    dataset = data.load(source, "basophil,eosinophil")
    assert dataset.train.images.shape[1:] == (28, 28) and dataset.train.images.dtype == np.uint8
    assert dataset.train.images[:5, 0, 0].tolist() == [
        76,
        150,
        29,
        255,
        18,
    ]  # 0.299 R + 0.587 G + 0.114 B
    assert dataset.class_names_id == (
        "basophil",
        "eosinophil",
    )  # no Indonesian name known: as MedMNIST writes it


@pytest.mark.parametrize("flag", sources.FLAGS)
def test_every_2d_set_of_medmnist_can_be_read(tmp_path, flag):
    path = written(tmp_path / f"{flag}.npz", made(flag))
    names = list(INFO[flag]["label"].values())
    first, second = (names[1], names[7]) if flag == "chestmnist" else names[:2]
    dataset = data.load(sources.resolve(str(path)), f"{first},{second}")
    assert dataset.classes == (first, second)
    assert min(n for split in dataset.counts.values() for n in split.values()) > 0


def test_reading_goes_through_medmnist_and_leaves_the_file_alone(chest, monkeypatch):
    before, names = chest.read_bytes(), sorted(os.listdir(chest.parent))
    used = []
    monkeypatch.setattr(
        medmnist.ChestMNIST,
        "__init__",
        lambda self, split, _original=medmnist.ChestMNIST.__init__, **k: (
            used.append(split),
            _original(self, split, **k),
        )[1],
    )
    data.load(sources.resolve(str(chest)))
    assert used == ["train", "val", "test"]
    assert chest.read_bytes() == before and sorted(os.listdir(chest.parent)) == names


def test_without_links_the_file_is_copied(chest, monkeypatch):
    def refuse(*args):
        raise OSError("links are not for everybody on Windows")

    expected = data.load(sources.resolve(str(chest))).fingerprint
    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    assert data.load(sources.resolve(str(chest))).fingerprint == expected


# --- the phantom ----------------------------------------------------------------------------------------------------


def test_the_phantom_is_read_like_the_real_set(phantom_folder):
    source = sources.resolve("phantom", folder=phantom_folder)
    dataset = data.load(source)
    assert dataset.counts == {
        "train": {"cardiomegaly": 754, "pneumothorax": 1552},
        "val": {"cardiomegaly": 97, "pneumothorax": 208},
        "test": {"cardiomegaly": 243, "pneumothorax": 439},
    }
    assert dataset.overlap == {"train-val": 0, "train-test": 0, "val-test": 0}
    assert [getattr(dataset, split).n_patients for split in sources.SPLITS] == [1193, 164, 360]
    who = [set(getattr(dataset, split).patients) for split in sources.SPLITS]
    assert len(set.union(*who)) == sum(map(len, who))  # no patient is in two splits
    assert dataset.source == source  # and nothing is missed


def test_the_truth_follows_its_images(phantom_folder):
    dataset = data.take(
        data.load(sources.resolve("phantom", folder=phantom_folder)), 300, None, 50, seed=3
    )
    for split in sources.SPLITS:
        part = getattr(dataset, split)
        # A pneumothorax is drawn exactly where the label says so, unless the label was flipped.
        drawn = part.truth["size"] > 0
        assert 0 < drawn.sum() < len(part)
        np.testing.assert_array_equal(
            drawn, (part.labels == 1) ^ part.truth["flipped"].astype(bool)
        )


def test_truth_of_another_phantom_is_refused(phantom_folder, tmp_path):
    source = sources.resolve("phantom", folder=phantom_folder)
    other = written(
        tmp_path / "truth.npz", {f"{split}_ctr": np.zeros(3) for split in sources.SPLITS}
    )
    with pytest.raises(InputError, match=r"truth\.npz"):
        data.load(data.replace(source, truth=other))


# --- subsets, tensors, the printed contract -------------------------------------------------------------------------


@pytest.fixture
def dataset(chest) -> data.Dataset:
    return data.load(sources.resolve(str(chest)))


@pytest.mark.parametrize("n", [2, 3, 10, 41, 60])
def test_a_subset_keeps_the_proportion(dataset, n):
    part = data.subset(dataset.train, n, seed=1)
    assert len(part) == n and len(set(part.rows)) == n
    share = dataset.train.labels.mean()
    assert abs(part.labels.sum() - n * share) <= 0.5 and set(part.labels) == {0, 1}
    where = np.searchsorted(dataset.train.rows, part.rows)
    np.testing.assert_array_equal(dataset.train.images[where], part.images)
    np.testing.assert_array_equal(dataset.train.labels[where], part.labels)


def test_a_subset_is_decided_by_its_seed(dataset):
    rows = [data.subset(dataset.train, 40, seed=seed).rows.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    assert set(data.subset(dataset.train, 20, seed=0).rows) < set(rows[0])
    assert data.subset(dataset.train, None, seed=0) is dataset.train
    assert data.subset(dataset.train, 10**6, seed=0) is dataset.train
    with pytest.raises(InputError, match="sedikitnya 2"):
        data.subset(dataset.train, 1, seed=0)


def test_a_smaller_data_set_has_its_own_contract(dataset):
    small = data.take(dataset, 20, None, 10, seed=0)
    assert [len(small.train), len(small.val), len(small.test)] == [20, len(dataset.val), 10]
    assert sum(small.counts["train"].values()) == 20 and sum(small.counts["test"].values()) == 10
    assert small.fingerprint != dataset.fingerprint
    assert small.fingerprint == data.take(dataset, 20, None, 10, seed=0).fingerprint
    assert data.take(dataset, None, None, None, seed=0) is dataset


def test_the_fingerprint_sees_one_pixel_and_one_label_but_not_the_file(chest, tmp_path, dataset):
    arrays = dict(np.load(chest))
    row = int(dataset.test.rows[0])
    np.savez(tmp_path / "same.npz", **arrays)  # uncompressed: other bytes, same images
    same = data.load(sources.resolve(str(tmp_path / "same.npz")))
    arrays["test_images"][row, 5, 5] ^= 1
    pixel = data.load(sources.resolve(str(written(tmp_path / "pixel.npz", arrays))))
    arrays["test_images"][row, 5, 5] ^= 1
    arrays["test_labels"][row, [1, 7]] ^= 1
    label = data.load(sources.resolve(str(written(tmp_path / "label.npz", arrays))))
    assert same.fingerprint == dataset.fingerprint
    assert len({dataset.fingerprint, pixel.fingerprint, label.fingerprint}) == 3


def test_the_phantom_of_another_processor_is_the_same_one(tmp_path):
    """Its float32 sums end in other bits there, and some grey values round the other way."""
    source = sources.resolve("phantom", folder=tmp_path)
    drawn = data.load(source)
    images = drawn.test.images.copy()
    images[0, 5, 5] ^= 1
    there = data.with_splits(drawn, test=replace(drawn.test, images=images))
    labels = data.with_splits(drawn, test=replace(drawn.test, labels=1 - drawn.test.labels))
    rows = data.with_splits(drawn, test=replace(drawn.test, rows=drawn.test.rows[::-1]))
    seed = data.with_splits(
        replace(drawn, source=replace(source, path=tmp_path / "phantom-v2-s1.npz"))
    )
    assert there.fingerprint == drawn.fingerprint
    assert len({drawn.fingerprint, labels.fingerprint, rows.fingerprint, seed.fingerprint}) == 4


def test_the_shipped_study_is_about_the_phantom_that_is_drawn_here(tmp_path):
    drawn = data.load(sources.resolve("phantom", folder=tmp_path))
    assert reference.read()["provenance"]["data"]["without_extra"] == drawn.fingerprint


def test_identical_images_in_two_splits_are_counted(chest, tmp_path, dataset):
    arrays = dict(np.load(chest))
    for source_row, target_row in zip(dataset.train.rows[:3], dataset.test.rows[:3], strict=True):
        arrays["test_images"][target_row] = arrays["train_images"][source_row]
    arrays["val_images"][dataset.val.rows[0]] = arrays["train_images"][dataset.train.rows[0]]
    copied = data.load(sources.resolve(str(written(tmp_path / "copied.npz", arrays))))
    assert dataset.overlap == {"train-val": 0, "train-test": 0, "val-test": 0}
    assert copied.overlap == {"train-val": 1, "train-test": 3, "val-test": 1}


def test_the_tensor_is_normalised_as_in_the_course():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1)
    tensor = data.to_tensor(images)
    assert tensor.shape == (3, 1, 1, 1) and tensor.dtype == torch.float32
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, -0.6, 1.0]))
    tensor += 1
    assert images.flatten().tolist() == [0, 51, 255]  # not a view of the images


def test_grey_values_are_counted_within_each_class():
    images = np.zeros((3, 28, 28), np.uint8)
    images[0, :14] = 255  # class 0: half black, half white, mean 127.5; class 1: all black
    found = data.intensity(data.Split(images, np.array([0, 1, 1], np.uint8), np.arange(3)), bins=4)
    assert found["edges"].tolist() == [0, 64, 128, 192, 256]
    assert np.array(found["pixels"]).tolist() == [[0.5, 0, 0, 0.5], [1, 0, 0, 0]]
    assert np.array(found["images"]).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize(("apart", "brighter"), [(40, 1), (-40, 0), (0, None)])
def test_a_class_is_brighter_only_where_the_interval_leaves_out_one_half(apart, brighter):
    """Class 1 is brighter by `apart`; of either class no two images are equally bright."""
    labels = np.arange(40) % 2
    grey = 100 + np.arange(40) // 2 + apart * labels
    images = np.broadcast_to(grey[:, None, None], (40, 28, 28)).astype(np.uint8)
    found = data.intensity(data.Split(images, labels.astype(np.uint8), np.arange(40)))
    assert (
        found["brighter"] == brighter and found["auc"]["value"] == {1: 1, 0: 0, None: 0.5}[brighter]
    )


def test_the_printed_contract(dataset):
    lines = dict(data.describe(dataset))
    counts = dataset.counts["val"]
    assert (
        lines["Label 0"] == "Kardiomegali (cardiomegaly)"
        and lines["Label 1"] == "Pneumotoraks (pneumothorax)"
    )
    assert lines["Citra val"] == (
        f"{len(dataset.val)} (Kardiomegali {counts['cardiomegaly']}, Pneumotoraks {counts['pneumothorax']})"
    )
    assert lines["Ukuran dan rentang piksel"] == "28×28, 0 sampai 255 (uint8)"
    assert lines["Sidik jari data"] == dataset.fingerprint and len(dataset.fingerprint) == 16
    assert lines["Citra identik antarsplit"] == "train-val 0, train-test 0, val-test 0"
    assert (
        json.loads(json.dumps(dataset.counts)) == dataset.counts
    )  # plain numbers, for the results files
