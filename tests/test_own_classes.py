"""Files that people bring: any name, their own classes, their own chapter, odd ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxr_helpers import data
from cxr_helpers.engine import settings, sources
from cxr_helpers.engine.errors import InputError
from tests.conftest import ROOT
from tests.medmnist_files import made, one_line, written

SIZES = {"train": 60, "val": 30, "test": 40}


def own(values=(0, 1), n: int | None = None) -> dict[str, np.ndarray]:
    """Random images, n a split; labels (N,) that go through `values` in turn."""
    rng, arrays = np.random.default_rng(1), {}
    for split, usual in SIZES.items():
        many = n or usual
        arrays[f"{split}_images"] = rng.integers(0, 256, (many, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.resize(values, many)
    return arrays


def loaded(path: Path | str, classes: str = "auto") -> data.Dataset:
    return data.load(sources.resolve(str(path)), classes)


@pytest.fixture
def kept(tmp_path):
    """kept(arrays): the path of a file that holds them."""
    return lambda arrays: written(tmp_path / "foto.npz", arrays)


@pytest.mark.parametrize("name", ["рентген (1).NPZ", "a"])
def test_any_name_and_ones_own_classes(tmp_path, monkeypatch, name):
    arrays = own()
    written(tmp_path / "x.npz", arrays).rename(tmp_path / name)
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset = loaded(f"~/{name}", "Sehat, sakit")
    assert dataset.classes == ("sehat", "sakit") and name in dataset.source.title
    for split, n in SIZES.items():
        part = getattr(dataset, split)
        np.testing.assert_array_equal(part.rows, np.arange(n))
        np.testing.assert_array_equal(part.labels, arrays[f"{split}_labels"])
        np.testing.assert_array_equal(part.images, arrays[f"{split}_images"])


@pytest.mark.parametrize(
    ("values", "given", "classes", "first"),
    [
        ((7, -1), "negatif,positif", ("negatif", "positif"), -1),  # in the order of the numbers
        ((0, 1, 2), "2,0", ("2", "0"), 2),
    ],
)
def test_the_order_of_classes_is_that_of_the_names_given_or_of_the_labels(
    kept, values, given, classes, first
):
    dataset = loaded(kept(own(values)), given)
    assert dataset.classes == classes
    rows = [i for i in range(60) if str(values[i % len(values)]) != "1"]
    np.testing.assert_array_equal(dataset.train.rows, rows)
    labels = [int(values[i % len(values)] != first) for i in rows]
    np.testing.assert_array_equal(dataset.train.labels, labels)
    counts = {classes[0]: labels.count(0), classes[1]: labels.count(1)}
    assert dataset.counts["train"] == counts


WRITTEN = {
    "words": lambda labels: np.array(["normal", "sakit"])[labels],
    "a column a class": lambda labels: np.eye(2, dtype=np.uint8)[labels],
    "true or false": lambda labels: labels.astype(bool),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_labels_are_read_as_people_write_them(kept, how):
    arrays = own()
    arrays |= {f"{split}_labels": WRITTEN[how](arrays[f"{split}_labels"]) for split in SIZES}
    np.testing.assert_array_equal(loaded(kept(arrays)).train.labels, np.resize([0, 1], 60))


REFUSED = {
    "float64": lambda images, labels: (images / 255, labels),
    r"\(60, 1, 28, 28\)": lambda images, labels: (images[:, None], labels),
    "28×20": lambda images, labels: (images[:, :, :20], labels),
    "SIZE=64": lambda images, labels: (np.resize(images, (len(images), 64, 64)), labels),
    "28, 64, 128, 224": lambda images, labels: (images[:, 4:, 4:], labels),
    "1 nilai": lambda images, labels: (images, 0 * labels),
    "labels .*float64": lambda images, labels: (images, labels / 2),
}


@pytest.mark.parametrize("said", REFUSED)
def test_images_and_labels_that_cannot_be_read_are_described(kept, said):
    arrays = own()
    for split in SIZES:
        names = f"{split}_images", f"{split}_labels"
        changed = REFUSED[said](*(arrays[name] for name in names))
        arrays |= dict(zip(names, changed, strict=True))
    with pytest.raises(InputError, match=said) as caught:
        loaded(kept(arrays))
    one_line(caught)


def test_a_rare_class_is_in_every_subset_and_every_fold_or_one_line_names_it(kept):
    rare = own([0] + 299 * [1], n=600)  # 2 sick a split
    dataset = loaded(kept(rare), "sakit,normal")
    assert dataset.source.note.count("1:299") == 3, "said of each split"
    for n in (4, 160):
        small = data.take(dataset, n, n, n, seed=3)
        assert all(counts == {"sakit": 1, "normal": n - 1} for counts in small.counts.values())
    with pytest.raises(InputError, match=r"sakit .* 4 citra .* 5 lipatan") as caught:
        data.folds(dataset, seed=0)
    one_line(caught)
    for fold in data.folds(dataset, seed=0, n=4):
        assert (fold.val.labels == 0).sum() == 1 and (fold.train.labels == 0).sum() == 3


def test_a_file_of_ones_own_gets_its_own_chapter(tmp_path, monkeypatch):
    """Notebook 02 as far as it computes on a set that is not ChestMNIST, and its words."""
    few = replace(settings.PRESETS["smoke"], train=16, val=10, test=12, epochs=1)
    monkeypatch.setitem(settings.PRESETS, "smoke", few)
    path = written(tmp_path / "bloodmnist.npz", made("bloodmnist"))
    given = {"data": str(path), "weights": "random", "preset": "smoke", "device": "cpu"}
    given |= {"classes": "Platelet, eosinophil", "build": str(tmp_path / "build")}
    notebook = json.loads((ROOT / "notebooks/02_pelatihan.ipynb").read_text("utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    known: dict = {}
    for cell in code:
        if "terbuka" not in cell["metadata"].get("tags", ()):
            exec("".join(cell["source"]), known)
            known |= given
        if "bab" in known and "against_majority" in known["bab"].result:
            break  # the test split is opened, and recorded

    labels = np.load(path)["test_labels"]
    said = known["bab"].result
    available = said["provenance"]["data"]["counts_available"]["test"]
    assert available == {"platelet": (labels == 7).sum(), "eosinophil": (labels == 1).sum()}
    assert np.sum(said["confusion"]) == 12 and said["phantom"] is None
    words = known["bab"].words("text_filter")[0]
    assert "tepat satu label" in words and "eosinophil" in words and "Kardiomegali" not in words
