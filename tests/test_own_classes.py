"""Files that people bring: any name, classes of their own, and what is said of odd ones (engine/ownfile.py, data.py)."""

import json
from dataclasses import replace

import numpy as np
import pytest

from cxr_helpers import data, remedies
from cxr_helpers.engine import download, sources
from cxr_helpers.engine.errors import InputError
from tests.medmnist_files import made, one_line, written

SIZES = {"train": 60, "val": 30, "test": 40}


def own(values=(0, 1), shape=(28, 28), seed=1) -> dict[str, np.ndarray]:
    """Random images; labels (N,) that go through `values` in turn."""
    rng, arrays = np.random.default_rng(seed), {}
    for split, n in SIZES.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
        arrays[f"{split}_labels"] = np.array([values[i % len(values)] for i in range(n)])
    return arrays


def loaded(path, classes="auto", size=28) -> data.Dataset:
    return data.load(sources.resolve(str(path), size=size), classes)


@pytest.mark.parametrize(
    "name",
    ["foto.npz", "foto (1).npz", "Data Akhir - Salinan.NPZ", "рентген.npz", "a", "chest.zip"],
)
def test_any_name_and_ones_own_classes(tmp_path, name):
    arrays = own()
    path = written(tmp_path / "x.npz", arrays).rename(tmp_path / name)
    dataset = loaded(path, "Sehat, sakit")
    assert (
        dataset.classes == ("sehat", "sakit")
        and dataset.source.kind == "file"
        and name in dataset.source.title
    )
    for split, n in SIZES.items():
        part = getattr(dataset, split)
        np.testing.assert_array_equal(part.rows, np.arange(n))
        np.testing.assert_array_equal(part.labels, arrays[f"{split}_labels"])
        np.testing.assert_array_equal(part.images, arrays[f"{split}_images"])


def test_the_order_of_bare_numbers_is_the_order_of_names(tmp_path):
    path = written(tmp_path / "foto.npz", own(values=(7, -1)))
    dataset = loaded(path, "negatif,positif")
    np.testing.assert_array_equal(
        dataset.train.labels, np.arange(60) % 2 == 0
    )  # 7 is the higher, so the second name
    plain = loaded(path)
    assert plain.classes == ("-1", "7")
    np.testing.assert_array_equal(plain.train.labels, dataset.train.labels)


def test_three_classes_are_chosen_from_by_number_or_by_the_files_own_names(tmp_path):
    path = written(tmp_path / "foto.npz", own(values=(0, 1, 2)))
    with pytest.raises(InputError, match="0; 1; 2") as caught:
        loaded(path)
    one_line(caught)
    dataset = loaded(path, "2,0")
    assert dataset.classes == ("2", "0") and dataset.counts["train"] == {"2": 20, "0": 20}
    named = written(
        tmp_path / "bernama.npz",
        {**own(values=(0, 1, 2)), "kelas": np.array(["normal", "TB", "covid"])},
    )
    dataset = loaded(named, "tb,Normal")
    assert dataset.classes == ("TB", "normal")
    np.testing.assert_array_equal(dataset.val.rows, [i for i in range(30) if i % 3 != 2])
    np.testing.assert_array_equal(dataset.val.labels, [i % 3 == 0 for i in range(30) if i % 3 != 2])


def test_labels_may_be_words(tmp_path):
    dataset = loaded(written(tmp_path / "foto.npz", own(values=("sakit", "normal"))))
    assert dataset.classes == ("normal", "sakit")  # as np.unique sorts them
    np.testing.assert_array_equal(dataset.test.labels, np.arange(40) % 2 == 0)


def test_one_column_a_class(tmp_path):
    arrays = own(values=(0, 1, 2))
    for split in SIZES:
        arrays[f"{split}_labels"] = np.eye(3, dtype=np.uint8)[arrays[f"{split}_labels"]]
    arrays["train_labels"][2] = (1, 1, 0)  # two findings at once: neither
    dataset = loaded(written(tmp_path / "foto.npz", arrays), "0,2")
    np.testing.assert_array_equal(
        dataset.train.rows, [i for i in range(60) if i % 3 != 1 and i != 2]
    )
    assert dataset.source.many_labels


@pytest.mark.parametrize("change", ["(N,)", "(N, 28, 28, 1)", "Fortran", "both"])
def test_shapes_and_orders_that_mean_the_same_give_the_same(tmp_path, change):
    arrays = made("pneumoniamnist")
    expected = loaded(written(tmp_path / "pneumoniamnist.npz", arrays)).fingerprint
    for split in SIZES:
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if change in ("(N, 28, 28, 1)", "both"):
            images = images[..., None]
        if change in ("Fortran", "both"):
            images = np.asfortranarray(images)
        if change in ("(N,)", "both"):
            labels = labels[:, 0]
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    dataset = loaded(written(tmp_path / "pneumoniamnist (1).npz", arrays))
    assert dataset.fingerprint == expected and dataset.classes == ("normal", "pneumonia")
    assert dataset.train.images.flags.c_contiguous


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    written(tmp_path / "foto.npz", own())
    assert loaded("~/foto.npz").counts["val"] == {"0": 15, "1": 15}


def test_the_choice_survives_the_way_to_the_notebooks(tmp_path):
    """report/sources.py writes the source as JSON and study.py reads it back."""
    first = loaded(written(tmp_path / "foto.npz", own(values=(0, 1, 2))), "0,2")
    fields = json.loads(json.dumps({**vars(first.source), "path": str(first.source.path)}))
    again = data.load(sources.Source(**{**fields, "path": first.source.path}), "0,2")
    assert again.fingerprint == first.fingerprint and again.source.note == first.source.note


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.zeros, "1 nilai"),
        (np.arange, "nilai yang berbeda"),
        (lambda n: np.linspace(0, 1, n), "float64"),
        (lambda n: np.full((n, 4), 3), "0 atau 1"),
    ],
)
def test_labels_that_are_no_classes(tmp_path, labels, said):
    arrays = own()
    for split, n in {**SIZES, "train": 300}.items():
        arrays[f"{split}_images"] = np.zeros((n, 28, 28), np.uint8)
        arrays[f"{split}_labels"] = labels(n) if labels is not np.zeros else np.zeros(n, int)
    with pytest.raises(InputError, match=said) as caught:
        loaded(written(tmp_path / "foto.npz", arrays))
    one_line(caught)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("foto.png", b"\x89PNG\r\n\x1a\n" + bytes(90), "gambar PNG.*Kumpulkan"),
        ("foto.jpg", b"\xff\xd8\xff\xe0" + bytes(90), "gambar JPEG.*Kumpulkan"),
        ("foto.npz", b"\x89PNG\r\n\x1a\n" + bytes(90), "gambar PNG"),
        ("foto.dcm", bytes(128) + b"DICM" + bytes(90), "DICOM"),
        ("unduhan.npz", b"<!DOCTYPE html><html>404</html>", "halaman web"),
        ("lfs.npz", b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS"),
    ],
)
def test_a_picture_is_called_a_picture_and_not_broken(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as caught:
        sources.resolve(str(tmp_path / name))
    assert "rusak" not in one_line(caught)


def test_a_folder_of_pictures_and_a_bare_array(tmp_path):
    with pytest.raises(InputError, match="Kumpulkan"):
        sources.resolve(str(tmp_path))
    np.save(tmp_path / "citra.npy", np.zeros((3, 28, 28)))
    with pytest.raises(InputError, match=r"satu larik \.npy"):
        sources.resolve(str(tmp_path / "citra.npy"))
    np.savez(tmp_path / "lain.npz", x_train=np.zeros(3), y_train=np.zeros(3))
    with pytest.raises(InputError, match=r"isinya: x_train, y_train"):
        sources.resolve(str(tmp_path / "lain.npz"))


def test_a_size_that_is_there_is_offered_and_one_that_is_not_is_not(tmp_path):
    for side, said in ((64, "berikan SIZE=64"), (32, "ubah ukurannya menjadi 28, 64, 128, 224")):
        with pytest.raises(InputError, match=said):
            loaded(written(tmp_path / f"{side}.npz", own(shape=(side, side))))


def test_an_official_file_is_known_by_its_digest_under_any_name(tmp_path, monkeypatch):
    path = written(tmp_path / "unduhan(3).npz", made("organamnist"))
    monkeypatch.setattr(
        sources, "_by_digest", lambda: {download.digest(path, "md5"): "organamnist"}
    )
    assert loaded(path, "heart,liver").classes == ("heart", "liver")


# --- what is said of odd ones ---------------------------------------------------------------------------------------


def rare(ratio: int, n: int = 600) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    arrays = {}
    for split in SIZES:
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{split}_labels"] = (np.arange(n) % (ratio + 1) != 0).astype(np.uint8)
    return arrays


def test_a_lopsided_and_a_tiny_split_are_said_once(tmp_path):
    dataset = loaded(written(tmp_path / "foto.npz", rare(299)), "sakit,normal")
    note = dataset.source.note
    assert note.count("kelas sakit berbanding 1:299 dengan kelas normal") == 3
    assert note.count("hanya memuat 2 citra kelas sakit") == 3
    assert data.load(dataset.source, "sakit,normal").source.note == note
    assert "berbanding" not in loaded(written(tmp_path / "seimbang.npz", rare(1))).source.note


def test_flat_and_equal_images_are_said(tmp_path):
    arrays = own()
    arrays["train_images"][:] = arrays["train_images"][0]
    arrays["val_images"][:5] = 128
    note = loaded(written(tmp_path / "foto.npz", arrays)).source.note
    assert (
        "Semua citra split train sama persis" in note
        and "5 dari 30 citra split val berwarna rata" in note
    )
    assert "test" not in note


@pytest.mark.parametrize("n", [4, 16, 160])
def test_a_rare_class_is_in_every_subset_in_its_proportion(tmp_path, n):
    dataset = loaded(written(tmp_path / "foto.npz", rare(299)), "sakit,normal")
    small = data.take(dataset, n, n, n, seed=3)
    assert {split: counts["sakit"] for split, counts in small.counts.items()} == dict.fromkeys(
        SIZES, 1
    )


def test_folds_hold_both_classes_or_one_line_names_the_class(tmp_path):
    dataset = loaded(written(tmp_path / "foto.npz", rare(299)), "sakit,normal")  # 2 + 2 sick
    with pytest.raises(
        InputError, match=r"Kelas sakit hanya mempunyai 4 citra .* 5 lipatan"
    ) as caught:
        remedies.folds(dataset, seed=0)
    one_line(caught)
    for fold in remedies.folds(dataset, seed=0, n=4):
        assert (fold.val.labels == 0).sum() == 1 and (fold.train.labels == 0).sum() == 3


def test_folds_count_patients_where_they_are_known(tmp_path):
    dataset = loaded(written(tmp_path / "foto.npz", own()), "sakit,normal")
    same = {
        split: replace(
            getattr(dataset, split),
            patients=np.where(getattr(dataset, split).labels == 0, 1, np.arange(n) + 2),
        )
        for split, n in SIZES.items()
    }
    with pytest.raises(InputError, match="Kelas sakit hanya mempunyai 2 pasien"):
        data.enough(data.with_splits(dataset, **same), 5)
