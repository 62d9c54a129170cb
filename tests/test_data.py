"""Two classes of a file: which images and labels, in which order (cxr_helpers/data.py)."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cxr_helpers import data, remedies
from cxr_helpers.engine import sources
from cxr_helpers.engine.errors import InputError
from tests.conftest import lesson
from tests.medmnist_files import COUNTS, made, written


def opened(path, classes: str = "auto") -> data.Dataset:
    return data.load(sources.resolve(str(path)), classes)


@pytest.fixture
def dataset(chest) -> data.Dataset:
    return opened(chest)


# --- a file of one's own --------------------------------------------------------------------------


def test_only_images_with_exactly_one_of_the_two_labels_are_kept(chest, dataset):
    arrays = np.load(chest)
    assert dataset.classes == ("cardiomegaly", "pneumothorax")
    for split, n in COUNTS.items():
        part, kept = getattr(dataset, split), []
        for row in range(n):  # the same rule, written the slow way
            present = [finding for finding in range(14) if arrays[f"{split}_labels"][row, finding]]
            if present in ([1], [7]):
                kept.append((row, int(present == [7])))
        assert list(zip(part.rows, part.labels, strict=True)) == kept
        np.testing.assert_array_equal(part.images, arrays[f"{split}_images"][part.rows])
        assert (part.images.dtype, part.labels.dtype) == (np.uint8, np.uint8)
        assert list(dataset.counts[split].values()) == [
            sum(label == of for _, label in kept) for of in (0, 1)
        ]


def test_another_pair_and_a_set_of_one_label_an_image(chest, tmp_path):
    labels = np.load(chest)["test_labels"]
    effusion = opened(chest, "effusion,pneumothorax")
    np.testing.assert_array_equal(labels[effusion.test.rows, 2], 1 - effusion.test.labels)
    assert effusion.class_names_id == ("Efusi pleura", "Pneumotoraks")
    path = written(tmp_path / "OrganAMNIST.npz", made("organamnist"))
    organs, labels = opened(path, "heart,Lung-Left"), np.load(path)["train_labels"][:, 0]
    np.testing.assert_array_equal(organs.train.rows, np.flatnonzero(np.isin(labels, [3, 7])))
    np.testing.assert_array_equal(organs.train.labels, labels[organs.train.rows] == 7)


def test_colour_becomes_grey_by_luminance(tmp_path):
    arrays = made("bloodmnist")
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (10, 20, 35)]
    arrays["train_images"][:5] = np.array(colours)[:, None, None]
    arrays["train_labels"][:5, 0] = [0, 1, 0, 1, 0]
    path = written(tmp_path / "bloodmnist.npz", arrays)
    cells = opened(path, "basophil,eosinophil")
    # 0.299 R + 0.587 G + 0.114 B
    assert cells.train.images[:5, 0, 0].tolist() == [76, 150, 29, 255, 19]
    assert cells.train.images.shape[1:] == (28, 28) and cells.train.images.dtype == np.uint8
    with pytest.raises(InputError, match="8 kelas"):
        opened(path)


# --- the phantom ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantom(phantom_folder) -> data.Dataset:
    return data.load(sources.resolve("phantom", folder=phantom_folder))


def test_the_phantom_is_read_like_the_real_set(phantom):
    counts = [tuple(counts.values()) for counts in phantom.counts.values()]
    assert counts == [(754, 1552), (97, 208), (243, 439)]
    assert phantom.overlap == {"train-val": 0, "train-test": 0, "val-test": 0}
    parts = [getattr(phantom, split) for split in sources.SPLITS]
    assert [part.n_patients for part in parts] == [1193, 164, 360]
    every = np.concatenate([np.unique(part.patients) for part in parts])
    assert len(np.unique(every)) == len(every)  # no patient is in two splits


def test_the_truth_follows_its_images(phantom):
    few = data.take(phantom, 300, None, 50, seed=3)
    for split in sources.SPLITS:
        part = getattr(few, split)
        # A pneumothorax is drawn exactly where the label says so, unless the label was flipped.
        drawn = part.truth["size"] > 0
        assert 0 < drawn.sum() < len(part)
        flipped = part.truth["flipped"].astype(bool)
        np.testing.assert_array_equal(drawn, (part.labels == 1) ^ flipped)
        np.testing.assert_array_equal(part.patients, part.truth["patient"])


def test_the_phantom_of_another_processor_is_the_same_one(phantom, tmp_path):
    """Its float32 sums end in other bits there, and some grey values round the other way."""
    images = phantom.test.images.copy()
    images[0, 5, 5] ^= 1
    there = replace(phantom, test=replace(phantom.test, images=images))
    assert there.fingerprint == phantom.fingerprint
    shipped = remedies.read_reference()["provenance"]["data"]["without_extra"]
    assert shipped == phantom.fingerprint  # the reference study is about this very phantom
    labels = replace(phantom.test, labels=1 - phantom.test.labels)
    rows = replace(phantom.test, rows=phantom.test.rows[::-1])
    other = replace(phantom.source, path=tmp_path / "phantom-v2-s1.npz")
    changed = [replace(phantom, test=part) for part in (labels, rows)]
    changed.append(replace(replace(phantom, source=other)))
    assert len({phantom.fingerprint, *(one.fingerprint for one in changed)}) == 4


# --- subsets, tensors, brightness -----------------------------------------------------------------


@pytest.mark.parametrize("n", [2, 41])
def test_a_subset_keeps_the_proportion(dataset, n):
    part = data.subset(dataset.train, n, seed=1)
    assert len(part) == n and len(set(part.rows)) == n and (np.diff(part.rows) > 0).all()
    share = dataset.train.labels.mean()
    assert abs(part.labels.sum() - n * share) <= 0.5 and set(part.labels) == {0, 1}
    where = np.searchsorted(dataset.train.rows, part.rows)
    np.testing.assert_array_equal(dataset.train.images[where], part.images)
    np.testing.assert_array_equal(dataset.train.labels[where], part.labels)


def test_a_subset_is_decided_by_its_seed(dataset):
    rows = [data.subset(dataset.train, 40, seed=seed).rows.tolist() for seed in (0, 0, 1)]
    assert rows[0] == rows[1] != rows[2]
    assert set(data.subset(dataset.train, 20, seed=0).rows) < set(rows[0])
    for n in (None, len(dataset.train), 10**6):
        assert data.subset(dataset.train, n, seed=0) is dataset.train
    assert len(data.subset(dataset.train, len(dataset.train) - 1, seed=0)) < len(dataset.train)
    with pytest.raises(InputError, match="1 citra"):
        data.subset(dataset.train, 1, seed=0)


def test_the_fingerprint_sees_one_pixel_and_one_label_but_not_the_file(chest, tmp_path, dataset):
    arrays = dict(np.load(chest))
    row = int(dataset.test.rows[0])
    np.savez(tmp_path / "same.npz", **arrays)  # uncompressed: other bytes, same images
    arrays["test_images"][row, 5, 5] ^= 1
    pixel = opened(written(tmp_path / "pixel.npz", arrays))
    arrays["test_images"][row, 5, 5] ^= 1
    arrays["test_labels"][row, [1, 7]] ^= 1
    label = opened(written(tmp_path / "label.npz", arrays))
    assert opened(tmp_path / "same.npz").fingerprint == dataset.fingerprint
    assert len({dataset.fingerprint, pixel.fingerprint, label.fingerprint}) == 3


def test_identical_images_in_two_splits_are_counted(dataset):
    test, val = dataset.test.images.copy(), dataset.val.images.copy()
    test[:3] = dataset.train.images[:3]
    val[0] = dataset.train.images[0]
    splits = {"test": replace(dataset.test, images=test), "val": replace(dataset.val, images=val)}
    copied = replace(dataset, **splits)
    assert dataset.overlap == {"train-val": 0, "train-test": 0, "val-test": 0}
    assert copied.overlap == {"train-val": 1, "train-test": 3, "val-test": 1}


def test_the_tensor_is_normalised_as_in_the_course():
    images = np.array([0, 51, 255], np.uint8).reshape(3, 1, 1)
    tensor = data.to_tensor(images)
    assert tensor.shape == (3, 1, 1, 1) and tensor.dtype == torch.float32
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, -0.6, 1.0]))
    tensor += 1
    assert images.flatten().tolist() == [0, 51, 255]  # not a view of the images


def brightness(images: np.ndarray, labels: np.ndarray) -> dict:
    train = data.Split(images, labels.astype(np.uint8), np.arange(len(labels)))
    dataset = SimpleNamespace(train=train)
    return lesson("02_pelatihan", "pelajaran-kecerahan-kode", dataset=dataset)


@pytest.mark.parametrize(("apart", "brighter"), [(40, 1), (-40, 0), (0, None)])
def test_a_class_is_brighter_only_where_the_interval_leaves_out_one_half(apart, brighter):
    """Class 1 is brighter by `apart`; of either class no two images are equally bright."""
    labels = np.arange(40) % 2
    grey = 100 + np.arange(40) // 2 + apart * labels
    images = np.broadcast_to(grey[:, None, None], (40, 28, 28)).astype(np.uint8)
    measured = brightness(images, labels)
    assert measured["brighter"] == brighter
    assert measured["auc"]["value"] == pytest.approx({1: 1, 0: 0, None: 0.5}[brighter])


ODD = [
    (10, 10, 0, None),
    (9, 10, 0, "9 citra kelas a"),
    (200, 10, 0, "1:20"),
    (10, 200, 0, "1:20"),
    (199, 10, 0, None),
    (100, 100, 2, None),
    (100, 100, 3, "3 dari 200"),
]


@pytest.mark.parametrize(("zeros", "ones", "flat", "said"), ODD)
def test_what_is_odd_about_a_split_is_said_on_one_side_of_each_limit(zeros, ones, flat, said):
    images = np.random.default_rng(0).integers(0, 256, (zeros + ones, 4, 4)).astype(np.uint8)
    images[:flat] = 7
    labels = np.repeat([0, 1], [zeros, ones]).astype(np.uint8)
    split = data.Split(images, labels, np.arange(len(labels)))
    found = data.cautions({"val": split}, ("a", "b"))
    assert len(found) == (said is not None)
    assert all("val" in one and said in one for one in found)
