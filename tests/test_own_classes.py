"""Files that people bring: any name, classes of their own, and what is said of odd ones."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cxr_helpers import data, folds
from cxr_helpers.engine import sources
from cxr_helpers.engine.errors import InputError
from tests.medmnist_files import made, one_line, written

SIZES = {"train": 60, "val": 30, "test": 40}


def own(values=(0, 1), shape=(28, 28)) -> dict[str, np.ndarray]:
    """Random images; labels (N,) that go through `values` in turn."""
    rng, arrays = np.random.default_rng(1), {}
    for split, n in SIZES.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.resize(values, n)
    return arrays


def loaded(path: Path | str, classes: str = "auto") -> data.Dataset:
    return data.load(sources.resolve(str(path)), classes)


@pytest.fixture
def kept(tmp_path):
    """kept(arrays): the path of a file that holds them."""
    return lambda arrays: written(tmp_path / "foto.npz", arrays)


@pytest.mark.parametrize("name", ["foto (1).npz", "Salinan.NPZ", "рентген.npz", "a", "c.zip"])
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
        ((7, -1), "auto", ("-1", "7"), -1),
        (("sakit", "normal"), "auto", ("normal", "sakit"), "normal"),
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


def test_three_classes_are_chosen_from_by_the_files_own_names(kept):
    arrays = {**own((0, 1, 2)), "kelas": np.array(["normal", "TB", "covid"])}
    with pytest.raises(InputError, match="normal; TB; covid") as caught:
        loaded(kept(arrays))
    one_line(caught)
    dataset = loaded(kept(arrays), "tb,Normal")
    assert dataset.classes == ("TB", "normal")
    np.testing.assert_array_equal(dataset.val.rows, [i for i in range(30) if i % 3 != 2])
    np.testing.assert_array_equal(dataset.val.labels, [1, 0] * 10)
    fields = json.loads(json.dumps({**vars(dataset.source), "path": str(dataset.source.path)}))
    source = sources.Source(**{**fields, "path": dataset.source.path})  # as notebooks get it
    assert data.load(source, "tb,Normal").fingerprint == dataset.fingerprint


def test_one_column_a_class(kept):
    arrays = own((0, 1, 2))
    for split in SIZES:
        arrays[f"{split}_labels"] = np.eye(3, dtype=np.uint8)[arrays[f"{split}_labels"]]
    arrays["train_labels"][2] = (1, 1, 0)  # two findings at once: neither
    dataset = loaded(kept(arrays), "0,2")
    rows = [i for i in range(60) if i % 3 != 1 and i != 2]
    np.testing.assert_array_equal(dataset.train.rows, rows)
    assert dataset.source.many_labels


@pytest.mark.parametrize("order", ["C", "F"])
def test_shapes_and_orders_that_mean_the_same_give_the_same(tmp_path, order):
    arrays = made("pneumoniamnist")
    expected = loaded(written(tmp_path / "pneumoniamnist.npz", arrays)).fingerprint
    for name, array in arrays.items():
        changed = array[..., None] if name.endswith("images") else array[:, 0]
        arrays[name] = np.array(changed, order=order)
    dataset = loaded(written(tmp_path / "pneumoniamnist (1).npz", arrays))
    assert dataset.fingerprint == expected and dataset.classes == ("normal", "pneumonia")
    assert dataset.train.images.flags.c_contiguous


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros(300, int), "1 nilai"),
        (np.arange(300), "nilai yang berbeda"),
        (np.linspace(0, 1, 300), "float64"),
        (np.full((300, 4), 3), "0 atau 1"),
    ],
)
def test_labels_that_are_no_classes(kept, labels, said):
    arrays = {f"{split}_images": np.zeros((300, 28, 28), np.uint8) for split in SIZES}
    with pytest.raises(InputError, match=said) as caught:
        loaded(kept(arrays | {f"{split}_labels": labels for split in SIZES}))
    one_line(caught)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("foto.png", b"\x89PNG\r\n\x1a\n", "gambar PNG.*Kumpulkan"),
        ("foto.npz", b"\xff\xd8\xff\xe0", "gambar JPEG"),
        ("foto.dcm", bytes(128) + b"DICM", "DICOM"),
        ("unduhan.npz", b"<!DOCTYPE html><html>404</html>", "halaman web"),
        ("lfs.npz", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
        (".", None, "Kumpulkan"),
        ("citra.npy", np.zeros((3, 28, 28)), r"\.npy"),
        ("lain.npz", {"x_train": np.zeros(3), "y": np.zeros(3)}, "x_train, y"),
    ],
)
def test_what_is_no_data_set_is_called_what_it_is(tmp_path, name, content, said):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content + bytes(90))
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        np.save(path, content)
    with pytest.raises(InputError, match=said) as caught:
        sources.resolve(str(path))
    assert "rusak" not in str(caught.value)


@pytest.mark.parametrize(("side", "said"), [(64, "SIZE=64"), (32, "28, 64, 128, 224")])
def test_a_size_that_is_there_is_offered_and_one_that_is_not_is_not(kept, side, said):
    with pytest.raises(InputError, match=said):
        loaded(kept(own(shape=(side, side))))


# --- what is said of odd ones -------------------------------------------------------------------


def rare(ratio: int, n: int = 600) -> dict[str, np.ndarray]:
    rng, arrays = np.random.default_rng(0), {}
    for split in SIZES:
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % (ratio + 1) != 0).astype(np.uint8)
    return arrays


def test_a_lopsided_and_a_tiny_split_are_said_once(kept):
    dataset = loaded(kept(rare(299)), "sakit,normal")
    note = dataset.source.note
    assert note.count("1:299") == note.count("2 citra kelas sakit") == 3
    assert data.load(dataset.source, "sakit,normal").source.note == note
    assert "berbanding" not in loaded(kept(rare(1))).source.note


def test_flat_and_equal_images_are_said(kept):
    arrays = own()
    arrays["train_images"][:] = arrays["train_images"][0]
    arrays["val_images"][:5] = 128
    note = loaded(kept(arrays)).source.note
    assert "split train sama persis" in note and "5 dari 30 citra split val" in note
    assert "test" not in note


def test_a_rare_class_is_in_every_subset_and_every_fold_or_one_line_names_it(kept):
    dataset = loaded(kept(rare(299)), "sakit,normal")  # 2 sick a split
    for n in (4, 16, 160):
        small = data.take(dataset, n, n, n, seed=3)
        assert all(counts == {"sakit": 1, "normal": n - 1} for counts in small.counts.values())
    with pytest.raises(InputError, match=r"sakit .* 4 citra .* 5 lipatan") as caught:
        folds.folds(dataset, seed=0)
    one_line(caught)
    for fold in folds.folds(dataset, seed=0, n=4):
        assert (fold.val.labels == 0).sum() == 1 and (fold.train.labels == 0).sum() == 3


def test_folds_count_patients_where_they_are_known(kept):
    dataset = loaded(kept(own()), "sakit,normal")
    same = {}
    for split, n in SIZES.items():
        part = getattr(dataset, split)
        same[split] = replace(part, patients=np.where(part.labels == 0, 1, np.arange(n) + 2))
    with pytest.raises(InputError, match=r"sakit .* 2 pasien"):
        data.enough(data.with_splits(dataset, **same), 5)
