"""The phantom: counts, determinism, ground truth that agrees with the pictures, and no trivial cue."""

import hashlib
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from medmnist import INFO
from scipy import ndimage
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cxr_helpers.engine import patients, phantom
from cxr_helpers.engine.errors import InputError

SPLITS = tuple(phantom.SINGLE_LABEL)


@pytest.fixture(scope="session")
def cached(tmp_path_factory):
    return phantom.ensure(tmp_path_factory.mktemp("phantom"), seed=0)


@pytest.fixture(scope="session")
def arrays(cached):
    with np.load(cached[0], allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="session")
def truth(cached):
    with np.load(cached[1], allow_pickle=False) as file:
        return dict(file)


def single(arrays, split):
    labels = arrays[f"{split}_labels"]
    return (labels.sum(1) == 1) & (
        labels[:, [phantom.CARDIOMEGALY, phantom.PNEUMOTHORAX]].sum(1) == 1
    )


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def small(monkeypatch):
    """A set of some dozen images, for what needs to be drawn again and again."""
    monkeypatch.setattr(phantom, "SINGLE_LABEL", {"train": (12, 24), "val": (3, 6), "test": (4, 8)})


def test_labels_and_layout_are_those_of_chestmnist(arrays):
    assert tuple(INFO["chestmnist"]["label"].values()) == phantom.LABELS
    assert set(arrays) == {f"{s}_{kind}" for s in SPLITS for kind in ("images", "labels")}
    for split in SPLITS:
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        assert images.dtype == labels.dtype == np.uint8
        assert images.shape == (len(labels), 28, 28)
        assert labels.shape == (len(images), 14)
        assert set(np.unique(labels)) == {0, 1}
        assert images.min() == 0
        assert images.max() > 200
        assert (images.std(axis=(1, 2)) > 10).all()


@pytest.mark.parametrize(
    ("split", "cardiomegaly", "pneumothorax"),
    [("train", 754, 1552), ("val", 97, 208), ("test", 243, 439)],
)
def test_counts_of_the_course(arrays, split, cardiomegaly, pneumothorax):
    labels, rows = arrays[f"{split}_labels"], single(arrays, split)
    assert labels[rows, 1].sum() == cardiomegaly
    assert labels[rows, 7].sum() == pneumothorax


def test_the_single_label_filter_has_work_to_do(arrays):
    labels = arrays["train_labels"]
    others = ~single(arrays, "train")
    assert 0.2 < others.sum() / (~others).sum() < 0.5
    assert (labels.sum(1) == 0).sum() > 100
    assert (labels.sum(1) > 1).sum() > 100
    assert (labels[labels[:, 1] == 1].sum(1) > 1).any()
    assert (labels[labels[:, 7] == 1].sum(1) > 1).any()
    assert (labels.sum(0) > 20).all()
    # Shuffled: no long run of kept rows, and the two classes are mixed.
    assert 0.6 < single(arrays, "train")[:400].mean() < 0.9
    assert 0.55 < labels[single(arrays, "train")][:400, 7].mean() < 0.8


def test_same_seed_same_bytes(small, tmp_path):
    first, second = phantom.ensure(tmp_path / "a", 3), phantom.ensure(tmp_path / "b", 3)
    assert [digest(p) for p in first] == [digest(p) for p in second]
    program = (
        "import sys, json; from cxr_helpers.engine import phantom; from pathlib import Path; "
        "phantom.SINGLE_LABEL = json.loads(sys.argv[2]); phantom.ensure(Path(sys.argv[1]), 3)"
    )
    counts = json.dumps(phantom.SINGLE_LABEL)
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "c"), counts], check=True)
    assert digest(tmp_path / "c" / first[0].name) == digest(first[0])
    assert digest(tmp_path / "c" / first[1].name) == digest(first[1])


def test_other_seeds_are_other_patients(small):
    one, two = (phantom.generate(seed, progress=False) for seed in (1, 2))
    for split in SPLITS:
        assert not set(one[1][f"{split}_ctr"]) & set(two[1][f"{split}_ctr"])
        pictures = {image.tobytes() for image in one[0][f"{split}_images"]}
        assert not pictures & {image.tobytes() for image in two[0][f"{split}_images"]}


@pytest.mark.parametrize(
    ("split", "images", "persons"), [("train", 2306, 1193), ("val", 305, 164), ("test", 682, 360)]
)
def test_patients_have_as_many_images_as_the_real_ones(arrays, truth, split, images, persons):
    who, rows = truth[f"{split}_patient"], single(arrays, split)
    assert rows.sum() == images and len(set(who[rows])) == persons
    known = patients.read()[split]
    assert sorted(np.unique(who[rows], return_counts=True)[1]) == sorted(
        np.unique(known["patients"], return_counts=True)[1]
    )
    assert len(set(who[~rows])) == (~rows).sum() and not set(who[rows]) & set(who[~rows])
    label = arrays[f"{split}_labels"][rows, phantom.PNEUMOTHORAX]
    pairs = np.unique(np.c_[who[rows], label], axis=0, return_counts=True)[1]
    assert sorted(pairs) == sorted(
        np.unique(np.c_[known["patients"], known["labels"]], axis=0, return_counts=True)[1]
    )


def test_no_patient_is_in_two_splits(truth):
    every = [set(truth[f"{split}_patient"]) for split in SPLITS]
    assert len(set.union(*every)) == sum(map(len, every))


def test_a_patient_keeps_the_anatomy_and_not_the_picture(arrays, truth):
    """Of one patient the cardiothoracic ratio spreads much less than between patients; no two pictures are alike."""
    rows = single(arrays, "train") & (truth["train_side"] == 0) & ~truth["train_flipped"]
    who, ratio, exposure = (truth[f"train_{name}"][rows] for name in ("patient", "ctr", "exposure"))
    several = [one for one, n in zip(*np.unique(who, return_counts=True), strict=True) if n > 2]
    within = [[np.std(value[who == one]) for one in several] for value in (ratio, exposure)]
    assert np.mean(within[0]) < 0.5 * ratio.std()
    assert np.mean(within[1]) > 0.6 * exposure.std()


def test_further_test_images_are_other_patients_of_the_same_kind(arrays, truth):
    images, labels, facts = phantom.more_test_images(300)
    assert images.shape == (300, 28, 28) and len(set(facts["patient"])) == 300
    assert labels.mean() == pytest.approx(439 / 682, abs=0.002)
    assert not {image.tobytes() for image in images} & {
        image.tobytes() for image in arrays["test_images"]
    }
    assert facts["flipped"].mean() == pytest.approx(phantom.FLIP_SHARE, abs=0.006)
    assert ((facts["side"] > 0) == (labels == 1))[~facts["flipped"]].all()
    again = phantom.more_test_images(300)
    assert np.array_equal(images, again[0]) and np.array_equal(labels, again[1])
    rows = single(arrays, "test") & ~truth["test_flipped"]
    for name in ("ctr", "size", "tube"):
        assert (
            abs(facts[name].mean() - truth[f"test_{name}"][rows].mean())
            < 4 * facts[name].std() / np.sqrt(300) + 0.02
        )


def test_splits_share_no_image(arrays):
    pictures = [image.tobytes() for split in SPLITS for image in arrays[f"{split}_images"]]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("seed", [-1, 1.5, "0", True, None])
def test_a_wrong_seed_is_refused_in_one_line(seed, tmp_path):
    with pytest.raises(InputError, match="bilangan bulat") as caught:
        phantom.ensure(tmp_path, seed)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("split", SPLITS)
def test_truth_is_complete_and_consistent(arrays, truth, split):
    n = len(arrays[f"{split}_images"])
    kinds = dict(
        patient="i4",
        ctr="f4",
        side="i1",
        size="f4",
        tension="?",
        tube="?",
        flipped="?",
        exposure="f4",
    )
    for name, kind in kinds.items():
        assert truth[f"{split}_{name}"].dtype == np.dtype(kind), name
        assert truth[f"{split}_{name}"].shape == (n,), name
    for name in ("heart", "lungs", "pneumothorax", "tube_mask"):
        assert truth[f"{split}_{name}"].dtype == bool, name
        assert truth[f"{split}_{name}"].shape == (n, 28, 28), name
    side, size = truth[f"{split}_side"], truth[f"{split}_size"]
    assert set(np.unique(side)) == {0, 1, 2}
    assert ((size > 0) == (side > 0)).all()
    assert (size < 0.86).all()
    assert (side[truth[f"{split}_tension"]] > 0).all()
    assert not truth[f"{split}_pneumothorax"][side == 0].any()
    assert not truth[f"{split}_tube_mask"][~truth[f"{split}_tube"]].any()
    assert not (truth[f"{split}_pneumothorax"] & ~truth[f"{split}_lungs"]).any()
    assert not (truth[f"{split}_heart"] & truth[f"{split}_lungs"]).any()
    assert 0.5 < np.median(truth[f"{split}_exposure"]) < 2


def test_masks_agree_with_the_cardiothoracic_ratio(truth):
    def width(masks):
        columns = masks.any(axis=1)
        return np.where(columns.any(1), 28 - columns.argmax(1) - columns[:, ::-1].argmax(1), 0)

    heart, lungs = width(truth["train_heart"]), width(truth["train_lungs"])
    inside = ~truth["train_lungs"][:, :, [0, -1]].any(
        axis=(1, 2)
    )  # the whole cage lies on the detector
    measured, stated = heart[inside] / lungs[inside], truth["train_ctr"][inside]
    assert inside.mean() > 0.5
    assert np.corrcoef(measured, stated)[0, 1] > 0.85
    assert abs((measured - stated).mean()) < 0.04


def test_pneumothorax_mask_agrees_with_size_and_side(truth):
    measured, stated = [], []
    rows = np.flatnonzero(truth["train_side"] > 0)
    for i in rows:
        air = truth["train_pneumothorax"][i]
        parts, count = ndimage.label(truth["train_lungs"][i], structure=np.ones((3, 3)))
        if (
            not air.any() or count < 2
        ):  # a rim thinner than half a pixel; lungs that touch at this resolution
            continue
        areas = ndimage.sum_labels(np.ones_like(parts), parts, range(1, count + 1))
        one, two = np.argsort(areas)[-2:] + 1
        centre = [ndimage.center_of_mass(parts == k)[1] for k in (one, two)]
        sides = {1: (one, two)[int(np.argmax(centre))], 2: (one, two)[int(np.argmin(centre))]}
        here = parts == sides[int(truth["train_side"][i])]
        assert (air & here).sum() >= 0.5 * air.sum(), i
        measured.append((air & here).sum() / here.sum())
        stated.append(truth["train_size"][i])
    assert len(measured) > 0.8 * len(rows)
    assert np.corrcoef(measured, stated)[0, 1] > 0.85
    assert abs(np.mean(measured) - np.mean(stated)) < 0.05


def test_air_is_darker_than_the_lung_it_left(arrays, truth):
    darker = []
    for i in np.flatnonzero(truth["train_size"] > 0.35):
        air = truth["train_pneumothorax"][i]
        span = np.flatnonzero(air.any(0))[[0, -1]]
        lung = truth["train_lungs"][i] & ~air
        lung[:, : span[0]] = lung[:, span[1] + 1 :] = False  # the columns of the same hemithorax
        if lung.sum() > 10:
            darker.append(
                arrays["train_images"][i][air].mean() < arrays["train_images"][i][lung].mean() - 10
            )
    assert len(darker) > 100
    assert np.mean(darker) > 0.85


def test_heart_is_brighter_than_lung_and_leans_to_the_patients_left(arrays, truth):
    heart, lungs = truth["train_heart"], truth["train_lungs"] & ~truth["train_pneumothorax"]
    images = arrays["train_images"].astype(float)
    inside = np.array(
        [i[h].mean() if h.any() else np.nan for i, h in zip(images, heart, strict=True)]
    )
    around = np.array(
        [i[m].mean() if m.any() else np.nan for i, m in zip(images, lungs, strict=True)]
    )
    assert np.nanmean(inside > around + 10) > 0.97
    column = np.arange(28)

    def centre(masks):
        total = masks.sum((1, 2))
        return (masks.sum(1) * column).sum(1)[total > 0] / total[total > 0]

    both = heart.any((1, 2)) & lungs.any((1, 2))
    assert (centre(heart[both]) > centre(lungs[both])).mean() > 0.75


@pytest.mark.parametrize("split", SPLITS)
def test_flips_keep_the_counts_and_contradict_the_anatomy(arrays, truth, split):
    rows, flipped, side = single(arrays, split), truth[f"{split}_flipped"], truth[f"{split}_side"]
    assert not flipped[~rows].any()
    assert flipped[rows].mean() == pytest.approx(phantom.FLIP_SHARE, abs=0.003)
    written = arrays[f"{split}_labels"][:, phantom.PNEUMOTHORAX] == 1
    assert ((side > 0) == written)[rows & ~flipped].all()
    assert ((side > 0) != written)[rows & flipped].all()
    for label in (phantom.CARDIOMEGALY, phantom.PNEUMOTHORAX):
        mine = rows & (arrays[f"{split}_labels"][:, label] == 1)
        assert flipped[mine].mean() == pytest.approx(phantom.FLIP_SHARE, abs=0.006)


def test_cardiothoracic_ratio_separates_on_average_only(arrays, truth):
    rows = single(arrays, "train")
    large, normal = (
        truth["train_ctr"][rows & cond]
        for cond in (truth["train_side"] == 0, truth["train_side"] > 0)
    )
    assert large.mean() > 0.55
    assert normal.mean() < 0.5
    assert 0.02 < (large < 0.5).mean() < 0.2
    assert 0.1 < (normal > 0.5).mean() < 0.45


def test_tubes_go_with_pneumothorax_but_not_only(arrays, truth):
    rows, tube, ptx = single(arrays, "train"), truth["train_tube"], truth["train_side"] > 0
    assert ptx[tube].mean() > 0.6
    assert tube[rows & ptx].mean() > 3 * tube[rows & ~ptx].mean()
    assert tube[rows & ~ptx].any()
    assert (~tube[rows & ptx]).mean() > 0.3
    assert truth["train_tube_mask"][tube].any((1, 2)).mean() > 0.95


def test_no_trivial_cue_solves_the_task(arrays):
    x = {s: arrays[f"{s}_images"][single(arrays, s)].reshape(-1, 784) / 255 for s in SPLITS}
    y = {s: arrays[f"{s}_labels"][single(arrays, s), phantom.PNEUMOTHORAX] for s in SPLITS}
    majority = y["test"].mean()
    pixels = make_pipeline(StandardScaler(), LogisticRegression(C=1e-2, max_iter=300)).fit(
        x["train"], y["train"]
    )
    accuracy = pixels.score(x["test"], y["test"])
    assert majority + 0.03 < accuracy < 0.8  # learnable, and not by pixels alone
    mean = {s: x[s].mean(1, keepdims=True) for s in SPLITS}
    brightness = LogisticRegression().fit(mean["train"], y["train"])
    assert abs(brightness.score(mean["test"], y["test"]) - majority) < 0.03


def test_a_cached_set_is_read_and_a_damaged_one_drawn_again(small, tmp_path, monkeypatch):
    images, truth = phantom.ensure(tmp_path)
    before = digest(images), digest(truth)
    whole = images.read_bytes()

    def never(*_):
        raise AssertionError("drawn although the cache is whole")

    with monkeypatch.context() as patch:
        patch.setattr(phantom, "generate", never)
        assert phantom.ensure(tmp_path) == (images, truth)
    middle = len(whole) // 2
    for damaged in (
        whole[:middle],
        whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        b"",
        b"<html>",
    ):
        images.write_bytes(damaged)
        assert phantom.ensure(tmp_path) == (images, truth)
        assert (digest(images), digest(truth)) == before
    with zipfile.ZipFile(images, "w"):
        pass  # sound, but empty
    phantom.ensure(tmp_path)
    assert (digest(images), digest(truth)) == before
    truth.unlink()
    phantom.ensure(tmp_path)
    assert (digest(images), digest(truth)) == before
    assert sorted(tmp_path.iterdir()) == sorted((images, truth))


def test_a_failed_write_leaves_nothing_behind(small, tmp_path, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        phantom.ensure(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_said_in_one_line(small, tmp_path):
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(InputError, match="tidak dapat disimpan") as caught:
        phantom.ensure(tmp_path / "data")
    assert "\n" not in str(caught.value)
