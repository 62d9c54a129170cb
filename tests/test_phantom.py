"""The phantom: its patients, bytes and truth, and that no trivial cue separates its classes."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import phantom
from cxr_helpers.engine import files, sources
from phantom import anatomy, dataset

SPLITS = ("train", "val", "test")
SIDE = 28
LARGE_HEART, AIR = 1, 7  # columns of ChestMNIST's labels
FLIPPED = 0.035  # share of the written labels that the anatomy contradicts


@pytest.fixture(scope="module")
def drawn() -> dict[str, dict[str, np.ndarray]]:
    """Images, labels and truth of seed 0 by split; ours: the rows of the two classes alone."""
    source, splits = sources.resolve("phantom", folder=files.data_folder()), {}
    with np.load(source.path) as images, np.load(source.truth) as truth:
        for split in SPLITS:
            every = ((name.partition("_"), array) for name, array in {**images, **truth}.items())
            one = {name: array for (first, _, name), array in every if first == split}
            labels = one["labels"]
            one["ours"] = (labels.sum(1) == 1) & (labels[:, [LARGE_HEART, AIR]].sum(1) == 1)
            splits[split] = one
    return splits


@pytest.fixture
def small(monkeypatch):
    """A set of some dozen images, for what needs to be drawn again and again."""
    few = {"train": (12, 24), "val": (3, 6), "test": (4, 8)}
    monkeypatch.setattr(anatomy, "SINGLE_LABEL", few)


def test_further_test_images_are_other_patients_of_the_same_kind(drawn):
    images, labels, facts = phantom.more_test_images(300)
    assert len(images) == 300 and len(set(facts["patient"])) == 300
    assert labels.sum() == 300 - round(300 * 243 / 682)
    old = {image.tobytes() for image in drawn["test"]["images"]}
    assert not old & {image.tobytes() for image in images}
    assert facts["flipped"].sum() == round(FLIPPED * 107) + round(FLIPPED * 193)
    assert (((facts["side"] > 0) == (labels == 1)) == ~facts["flipped"]).all()


@pytest.mark.parametrize("split", SPLITS)
def test_the_truth_contradicts_itself_nowhere_and_the_labels_only_where_flipped(drawn, split):
    one = drawn[split]
    side, air, lungs, flipped = (one[name] for name in ("side", "pneumothorax", "lungs", "flipped"))
    assert set(side) == {0, 1, 2} and ((one["size"] > 0) == (side > 0)).all()
    assert not air[side == 0].any() and not one["tube_mask"][~one["tube"]].any()
    assert not (air & ~lungs).any() and not (one["heart"] & lungs).any()
    agrees = (side > 0) == (one["labels"][:, AIR] == 1)
    assert (agrees == ~flipped)[one["ours"]].all() and not flipped[~one["ours"]].any()
    for label in (LARGE_HEART, AIR):
        mine = flipped[one["ours"] & (one["labels"][:, label] == 1)]
        assert mine.sum() == round(FLIPPED * len(mine))


def test_air_is_darker_than_lung_and_the_heart_brighter(drawn):
    train, darker, brighter = drawn["train"], [], []
    for i in range(len(train["images"])):
        image, heart, air = (train[name][i] for name in ("images", "heart", "pneumothorax"))
        lung = train["lungs"][i] & ~air
        if heart.any() and lung.any():
            brighter.append(image[heart].mean() > image[lung].mean() + 10)
        beside = lung & air.any(axis=0)  # the columns of the same side
        if train["size"][i] > 0.35 and beside.sum() > 10:
            darker.append(image[air].mean() < image[beside].mean() - 10)
    assert len(darker) > 100 and np.mean(darker) > 0.85
    assert np.mean(brighter) > 0.97


def test_pixels_alone_find_some_of_it_and_brightness_nothing(drawn):
    x, y = ({}, {})
    for split in SPLITS:
        rows = drawn[split]["ours"]
        x[split] = drawn[split]["images"][rows].reshape(-1, SIDE * SIDE) / 255
        y[split] = drawn[split]["labels"][rows, AIR]
    majority = y["test"].mean()
    pixels = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=300))
    accuracy = pixels.fit(x["train"], y["train"]).score(x["test"], y["test"])
    assert majority + 0.03 < accuracy < 0.8
    mean = {split: x[split].mean(1, keepdims=True) for split in SPLITS}
    brightness = LogisticRegression().fit(mean["train"], y["train"])
    assert abs(brightness.score(mean["test"], y["test"]) - majority) < 0.03


def test_the_same_seed_gives_the_same_bytes_and_another_other_patients(small, tmp_path):
    first, second = phantom.ensure(tmp_path / "a", 3), phantom.ensure(tmp_path / "b", 3)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    _, one = phantom.generate(3, progress=False)
    _, two = phantom.generate(4, progress=False)
    assert not set(one["train_ctr"]) & set(two["train_ctr"])


def test_a_kept_set_is_read_and_a_damaged_one_drawn_again(small, tmp_path, monkeypatch):
    images, truth = phantom.ensure(tmp_path)
    whole, facts = images.read_bytes(), truth.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "generate", None)
        assert phantom.ensure(tmp_path) == (images, truth)
    for path, damaged in ((images, whole[: len(whole) // 2]), (truth, facts[:-1])):
        path.write_bytes(damaged)
        phantom.ensure(tmp_path)
        assert (images.read_bytes(), truth.read_bytes()) == (whole, facts)
    assert sorted(tmp_path.iterdir()) == sorted((images, truth))


def test_a_patient_drawn_again_differs_in_the_one_thing_that_was_changed():
    patients = phantom.patients(20)
    as_they_are, once_more = phantom.redraw(patients), phantom.redraw(patients)
    assert (as_they_are == once_more).all() and not patients["tension"].any()
    ends = {"ratio": (0.4, 0.7), "air": (0, 0.5), "side": (-1, 1), "tube": (0, 1)}
    for thing, values in (ends | {"exposure": (0.5, 2)}).items():
        before, after = (phantom.redraw(patients, **{thing: value}) for value in values)
        moved = (before != after).any((1, 2)).sum()
        assert moved == (10 if thing == "side" else 20), thing  # half of them have air
    small, large = (phantom.redraw(patients, ratio=value).mean(0) for value in ends["ratio"])
    assert (large > small)[8:16, 14:22].all(), "the heart lies in the middle"
