"""Data: which file, is it whole, which images and labels, in which order (cxr_helpers/data.py)."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import medmnist
import numpy as np
import pytest
import torch
from medmnist import INFO

from cxr_helpers import data
from cxr_helpers.engine.download import DownloadError, Remote
from cxr_helpers.engine.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
COUNTS = {"train": 240, "val": 120, "test": 160}
RESOLVE_PHANTOM = "import sys; from cxr_helpers import data; print(data.resolve('phantom', folder=sys.argv[1]).path)"


def made(flag: str, size: int = 28, seed: int = 0) -> dict[str, np.ndarray]:
    """Random images and labels in the layout of `flag`."""
    rng = np.random.default_rng(seed)
    names, colour = INFO[flag]["label"], (3,) * (INFO[flag]["n_channels"] == 3)
    arrays = {}
    for split, n in COUNTS.items():
        arrays[f"{split}_images"] = rng.integers(0, 256, (n, size, size, *colour), dtype=np.uint8)
        if flag == "chestmnist":
            labels = (rng.random((n, 14)) < 0.05).astype(np.uint8)
            labels[np.arange(n), rng.choice([1, 7, 1, 7, 2], n)] = 1
        else:
            labels = rng.integers(0, len(names), (n, 1)).astype(np.uint8)
        arrays[f"{split}_labels"] = labels
    return arrays


def written(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def chest(tmp_path) -> Path:
    return written(tmp_path / "mine.npz", made("chestmnist"))


@pytest.fixture(scope="module")
def phantom_folder(tmp_path_factory) -> Path:
    """The phantom, asked for by two processes at once in a folder that does not exist yet."""
    folder = tmp_path_factory.mktemp("data") / "new"
    ask = [sys.executable, "-c", RESOLVE_PHANTOM, str(folder)]
    both = [subprocess.Popen(ask, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return folder


@pytest.fixture
def answering(monkeypatch):
    """A function that starts a loopback server answering every request with (status, body), and returns its Remote."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = []

    def start(status: int, body: bytes = b"") -> Remote:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        running.append((server, thread))
        return Remote(f"http://127.0.0.1:{server.server_port}/set.npz", hashlib.md5(body, usedforsecurity=False).hexdigest())

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


def one_line(caught) -> str:
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".")
    return text


# --- which file -----------------------------------------------------------------------------------------------------


def test_auto_downloads_the_real_file(tmp_path, answering, capsys):
    stream = io.BytesIO()
    np.savez_compressed(stream, **made("chestmnist"))
    source = data.resolve("auto", folder=tmp_path / "data", remote=answering(200, stream.getvalue()))
    assert (source.kind, source.flag, source.truth) == ("chestmnist", "chestmnist", None)
    assert source.path == tmp_path / "data" / "chestmnist.npz" and source.path.read_bytes() == stream.getvalue()
    assert "cocok" in source.note
    assert capsys.readouterr().out == f"Data: {source.title}. {source.note}\n"
    assert data.load(source).counts["train"]["cardiomegaly"] > 0


def test_auto_falls_back_to_the_phantom_and_says_so(phantom_folder, answering, capsys):
    source = data.resolve("auto", folder=phantom_folder, remote=answering(503))
    assert source.kind == "phantom" and source.truth is not None
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1 and "fantom" in printed and "kode 503" in printed and source.note in printed


def test_a_named_set_is_never_replaced_by_the_phantom(phantom_folder, answering):
    with pytest.raises(DownloadError, match="kode 503") as caught:
        data.resolve("chestmnist", folder=phantom_folder, remote=answering(503))
    assert "chestmnist.npz" in one_line(caught)


def test_another_size_has_no_phantom(tmp_path, answering):
    with pytest.raises(DownloadError):
        data.resolve("auto", size=64, folder=tmp_path, remote=answering(404))
    with pytest.raises(InputError, match="SIZE=64"):
        data.resolve("phantom", size=64, folder=tmp_path)


def test_a_file_with_another_md5_is_used_and_named(tmp_path):
    path = written(tmp_path / "chestmnist.npz", made("chestmnist"))
    before = path.read_bytes()
    for name in ("auto", "chestmnist", "ChestMNIST"):
        source = data.resolve(name, folder=tmp_path)
        assert source.path == path and source.kind == "chestmnist" and "bukan berkas resmi" in source.note
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["auto", "chestmnist"])
def test_a_damaged_file_is_neither_used_nor_replaced(tmp_path, answering, name):
    path = tmp_path / "chestmnist.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="rusak") as caught:
        data.resolve(name, folder=tmp_path, remote=answering(200, b"anything"))
    assert str(path) in one_line(caught)
    assert path.read_bytes() == b"not a zip"


@pytest.mark.parametrize("size", [28, 64])
def test_a_medmnist_name_looks_for_the_file_of_its_size(tmp_path, size):
    name = "pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz"
    written(tmp_path / name, made("pneumoniamnist", size))
    source = data.resolve("pneumoniamnist", size=size, folder=tmp_path)
    assert (source.kind, source.flag, source.size, source.path.name) == ("medmnist", "pneumoniamnist", size, name)
    assert data.load(source, "normal,pneumonia").train.images.shape[1:] == (size, size)


def test_where_the_published_files_are():
    remote = data._published("chestmnist", 28)
    assert (remote.url, remote.md5) == (INFO["chestmnist"]["url"], INFO["chestmnist"]["MD5"])
    remote = data._published("pathmnist", 224)
    assert (remote.url, remote.md5) == (INFO["pathmnist"]["url_224"], INFO["pathmnist"]["MD5_224"])


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("chestmnst", "tidak dikenal"),
        ("organmnist3d", "3D"),
        ("no/such.npz", "tidak ada"),
        ("~nobody-here/such.npz", "tidak ada"),
        ("x" * 300 + ".npz", "tidak ada"),
        (".", "bukan berkas"),
    ],
)
def test_a_data_setting_that_means_nothing(tmp_path, name, said):
    with pytest.raises(InputError, match=said) as caught:
        data.resolve(name, folder=tmp_path)
    assert name in one_line(caught)


def test_a_size_that_is_not_published(tmp_path):
    with pytest.raises(InputError, match="28, 64, 128, 224"):
        data.resolve("phantom", size=32, folder=tmp_path)


# --- a file of one's own --------------------------------------------------------------------------------------------


def test_the_single_label_filter(chest):
    arrays = np.load(chest)
    source = data.resolve(str(chest))
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
        assert (part.images.dtype, part.labels.dtype, part.rows.dtype) == (np.uint8, np.uint8, np.int64)
        assert dataset.counts[split] == {
            "cardiomegaly": sum(label == 0 for _, label in kept),
            "pneumothorax": sum(label == 1 for _, label in kept),
        }


def test_the_order_of_classes_is_the_order_of_labels(chest):
    source = data.resolve(str(chest))
    forward, back = data.load(source), data.load(source, " Pneumothorax , CARDIOMEGALY ")
    assert back.classes == ("pneumothorax", "cardiomegaly")
    np.testing.assert_array_equal(back.val.rows, forward.val.rows)
    np.testing.assert_array_equal(back.val.labels, 1 - forward.val.labels)
    assert back.fingerprint != forward.fingerprint


def test_another_pair_of_findings(chest):
    labels = np.load(chest)["test_labels"]
    dataset = data.load(data.resolve(str(chest)), "effusion,pneumothorax")
    np.testing.assert_array_equal(labels[dataset.test.rows, 2], 1 - dataset.test.labels)
    assert dataset.class_names_id == ("Efusi pleura", "Pneumotoraks")


def test_a_single_label_set(tmp_path):
    path = written(tmp_path / "OrganAMNIST.npz", made("organamnist"))
    dataset = data.load(data.resolve(str(path)), "heart,Lung-Left")
    labels = np.load(path)["train_labels"][:, 0]
    np.testing.assert_array_equal(dataset.train.rows, np.flatnonzero(np.isin(labels, [3, 7])))
    np.testing.assert_array_equal(labels[dataset.train.rows] == 7, dataset.train.labels == 1)
    assert dataset.classes == ("heart", "lung-left") and dataset.class_names_id == ("Jantung", "Paru kiri")


def test_a_class_name_that_holds_a_comma(tmp_path):
    path = written(tmp_path / "breastmnist.npz", made("breastmnist"))
    source = data.resolve(str(path))
    assert data.load(source, "normal, benign,malignant").classes == ("normal, benign", "malignant")
    assert data.load(source, "malignant, normal, benign").classes == ("malignant", "normal, benign")


def test_colour_becomes_grey_by_luminance(tmp_path):
    arrays = made("bloodmnist")
    for row, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (10, 20, 30)]):
        arrays["train_images"][row] = colour
        arrays["train_labels"][row] = row % 2
    path = written(tmp_path / "bloodmnist.npz", arrays)
    source = data.resolve(str(path))
    assert "BT.601" in source.note
    dataset = data.load(source, "basophil,eosinophil")
    assert dataset.train.images.shape[1:] == (28, 28) and dataset.train.images.dtype == np.uint8
    assert dataset.train.images[:5, 0, 0].tolist() == [76, 150, 29, 255, 18]  # 0.299 R + 0.587 G + 0.114 B
    assert dataset.class_names_id == ("basophil", "eosinophil")  # no Indonesian name known: as MedMNIST writes it


@pytest.mark.parametrize("flag", data.FLAGS)
def test_every_2d_set_of_medmnist_can_be_read(tmp_path, flag):
    path = written(tmp_path / f"{flag}.npz", made(flag))
    names = list(INFO[flag]["label"].values())
    first, second = (names[1], names[7]) if flag == "chestmnist" else names[:2]
    dataset = data.load(data.resolve(str(path)), f"{first},{second}")
    assert dataset.classes == (first, second)
    assert min(n for split in dataset.counts.values() for n in split.values()) > 0


def test_reading_goes_through_medmnist_and_leaves_the_file_alone(chest, monkeypatch):
    before, names = chest.read_bytes(), sorted(os.listdir(chest.parent))
    used = []
    monkeypatch.setattr(
        medmnist.ChestMNIST,
        "__init__",
        lambda self, split, _original=medmnist.ChestMNIST.__init__, **k: (used.append(split), _original(self, split, **k))[1],
    )
    data.load(data.resolve(str(chest)))
    assert used == ["train", "val", "test"]
    assert chest.read_bytes() == before and sorted(os.listdir(chest.parent)) == names


def test_without_links_the_file_is_copied(chest, monkeypatch):
    def refuse(*args):
        raise OSError("links are not for everybody on Windows")

    expected = data.load(data.resolve(str(chest))).fingerprint
    monkeypatch.setattr(os, "symlink", refuse)
    monkeypatch.setattr(os, "link", refuse)
    assert data.load(data.resolve(str(chest))).fingerprint == expected


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ("cardiomegaly,pneumotoraks", "pneumotoraks"),
        ("cardiomegaly,Cardiomegaly", "dua kali"),
        ("cardiomegaly", "dua kelas"),
        ("", "dua kelas"),
        ("cardiomegaly,", r"\(kosong\)"),
        ("cardiomegaly,pneumothorax,edema", "dua kelas"),
    ],
)
def test_classes_that_cannot_be_meant(chest, classes, said):
    with pytest.raises(InputError, match=said) as caught:
        data.load(data.resolve(str(chest)), classes)
    if "dua kali" not in said:
        assert "hernia" in one_line(caught)  # the known names are listed


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_class_without_images_in_a_split(tmp_path, split):
    arrays = made("chestmnist")
    labels = arrays[f"{split}_labels"]
    labels[labels.sum(axis=1) == 1, 7] = 0  # pneumothorax only together with another finding
    path = written(tmp_path / "mine.npz", arrays)
    with pytest.raises(InputError, match=rf"pneumothorax.*split {split}") as caught:
        data.load(data.resolve(str(path)))
    one_line(caught)


def without_key(arrays):
    del arrays["val_labels"]


def as_float(arrays):
    arrays["train_images"] = arrays["train_images"].astype(np.float32)


def flat(arrays):
    arrays["test_images"] = arrays["test_images"].reshape(COUNTS["test"], -1)


def short_labels(arrays):
    arrays["val_labels"] = arrays["val_labels"][:-1]


def other_size(arrays):
    arrays["val_images"] = np.zeros((COUNTS["val"], 64, 64), np.uint8)


def four_channels(arrays):
    arrays["val_images"] = np.zeros((COUNTS["val"], 28, 28, 4), np.uint8)


def labels_as_float(arrays):
    arrays["val_labels"] = arrays["val_labels"].astype(float)


def other_columns(arrays):
    arrays["test_labels"] = arrays["test_labels"][:, :5]


def out_of_range(arrays):
    arrays["val_labels"][3, 4] = 2


def no_images(arrays):
    arrays["val_images"], arrays["val_labels"] = arrays["val_images"][:0], arrays["val_labels"][:0]


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_key, "val_labels"),
        (as_float, "train_images.*float32"),
        (flat, "test_images.*784"),
        (short_labels, "val.*120 citra.*119"),
        (other_size, "64×64.*SIZE=28"),
        (four_channels, "val_images.*4"),
        (labels_as_float, "val_labels.*float64"),
        (other_columns, "test_labels.*14"),
        (out_of_range, "val_labels.*0 sampai 1"),
        (no_images, "split val"),
    ],
)
def test_a_file_of_another_layout(tmp_path, spoil, said):
    arrays = made("chestmnist")
    spoil(arrays)
    path = written(tmp_path / "chestmnist.npz", arrays)
    with pytest.raises(InputError, match=said) as caught:
        data.load(data.resolve(str(path)))
    assert str(path) in one_line(caught)


def test_a_class_number_that_the_set_does_not_have(tmp_path):
    arrays = made("pneumoniamnist")
    arrays["test_labels"][0] = 2
    path = written(tmp_path / "pneumoniamnist.npz", arrays)
    with pytest.raises(InputError, match=r"test_labels.*0 sampai 1"):
        data.load(data.resolve(str(path)), "normal,pneumonia")


def test_a_file_whose_names_cannot_be_guessed(tmp_path):
    path = written(tmp_path / "foto.npz", made("pneumoniamnist"))
    with pytest.raises(InputError, match=r"pneumoniamnist\.npz") as caught:
        data.resolve(str(path))
    one_line(caught)
    path = path.rename(tmp_path / "pneumoniamnist_64.npz")  # the size in a name decides nothing
    assert data.resolve(str(path)).flag == "pneumoniamnist"


def test_a_file_cut_short_or_altered_never_passes_as_whole(chest):
    """Damage anywhere either changes nothing that is read or ends in one line."""
    whole, content = data.load(data.resolve(str(chest))).fingerprint, chest.read_bytes()
    rng = np.random.default_rng(0)
    ends = [0, 1, 100, len(content) // 2, len(content) - 30, len(content) - 1]
    damaged = [content[:end] for end in ends]
    for position in rng.integers(0, len(content), 60).tolist() + list(range(0, 60, 3)) + list(range(-120, 0, 3)):
        altered = bytearray(content)
        altered[position] ^= 0xFF
        damaged.append(bytes(altered))
    refused = 0
    for number, body in enumerate(damaged):
        chest.write_bytes(body)
        try:
            assert data.load(data.resolve(str(chest))).fingerprint == whole
            assert number >= len(ends), "a truncated file was taken for whole"
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 60


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    for key in ("train_labels", "val_images"):
        arrays = made("chestmnist")
        arrays[key] = np.array([Trap()] * COUNTS[key.split("_")[0]], dtype=object)
        path = written(tmp_path / "chestmnist.npz", arrays)
        with pytest.raises(InputError):
            data.load(data.resolve(str(path)))
    path.unlink()
    with zipfile.ZipFile(path, "w") as archive:  # members that are bare pickles
        for name in made("chestmnist"):
            archive.writestr(f"{name}.npy", b"\x80\x04N.")
    with pytest.raises(InputError, match="rusak"):
        data.resolve(str(path))
    assert not (tmp_path / "executed").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="everything is readable to this user")
def test_a_file_that_may_not_be_read(chest):
    chest.chmod(0)
    with pytest.raises(InputError, match="izin baca"):
        data.resolve(str(chest))


# --- the phantom ----------------------------------------------------------------------------------------------------


def test_the_phantom_is_read_like_the_real_set(phantom_folder):
    source = data.resolve("phantom", folder=phantom_folder)
    dataset = data.load(source)
    assert dataset.counts == {
        "train": {"cardiomegaly": 754, "pneumothorax": 1552},
        "val": {"cardiomegaly": 97, "pneumothorax": 208},
        "test": {"cardiomegaly": 242, "pneumothorax": 434},
    }
    assert dataset.overlap == {"train-val": 0, "train-test": 0, "val-test": 0}


def test_the_truth_follows_its_images(phantom_folder):
    dataset = data.take(data.load(data.resolve("phantom", folder=phantom_folder)), 300, None, 50, seed=3)
    for split in data.SPLITS:
        part = getattr(dataset, split)
        # A pneumothorax is drawn exactly where the label says so, unless the label was flipped.
        drawn = part.truth["size"] > 0
        assert 0 < drawn.sum() < len(part)
        np.testing.assert_array_equal(drawn, (part.labels == 1) ^ part.truth["flipped"].astype(bool))


def test_truth_of_another_phantom_is_refused(phantom_folder, tmp_path):
    source = data.resolve("phantom", folder=phantom_folder)
    other = written(tmp_path / "truth.npz", {f"{split}_ctr": np.zeros(3) for split in data.SPLITS})
    with pytest.raises(InputError, match=r"truth\.npz"):
        data.load(data.replace(source, truth=other))


# --- subsets, tensors, the printed contract -------------------------------------------------------------------------


@pytest.fixture
def dataset(chest) -> data.Dataset:
    return data.load(data.resolve(str(chest)))


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
    same = data.load(data.resolve(str(tmp_path / "same.npz")))
    arrays["test_images"][row, 5, 5] ^= 1
    pixel = data.load(data.resolve(str(written(tmp_path / "pixel.npz", arrays))))
    arrays["test_images"][row, 5, 5] ^= 1
    arrays["test_labels"][row, [1, 7]] ^= 1
    label = data.load(data.resolve(str(written(tmp_path / "label.npz", arrays))))
    assert same.fingerprint == dataset.fingerprint
    assert len({dataset.fingerprint, pixel.fingerprint, label.fingerprint}) == 3


def test_identical_images_in_two_splits_are_counted(chest, tmp_path, dataset):
    arrays = dict(np.load(chest))
    for source_row, target_row in zip(dataset.train.rows[:3], dataset.test.rows[:3], strict=True):
        arrays["test_images"][target_row] = arrays["train_images"][source_row]
    arrays["val_images"][dataset.val.rows[0]] = arrays["train_images"][dataset.train.rows[0]]
    copied = data.load(data.resolve(str(written(tmp_path / "copied.npz", arrays))))
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


def test_the_printed_contract(dataset):
    lines = dict(data.describe(dataset))
    counts = dataset.counts["val"]
    assert lines["Label 0"] == "Kardiomegali (cardiomegaly)" and lines["Label 1"] == "Pneumotoraks (pneumothorax)"
    assert lines["Citra val"] == (
        f"{len(dataset.val)} (Kardiomegali {counts['cardiomegaly']}, Pneumotoraks {counts['pneumothorax']})"
    )
    assert lines["Ukuran dan rentang piksel"] == "28×28, 0 sampai 255 (uint8)"
    assert lines["Sidik jari data"] == dataset.fingerprint and len(dataset.fingerprint) == 16
    assert lines["Citra identik antarsplit"] == "train-val 0, train-test 0, val-test 0"
    assert json.loads(json.dumps(dataset.counts)) == dataset.counts  # plain numbers, for the results files
