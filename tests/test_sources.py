"""Which file the images come from, and is it whole (cxr_helpers/engine/sources.py)."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from medmnist import INFO

from cxr_helpers import data
from cxr_helpers.engine import sources
from cxr_helpers.engine.download import DownloadError
from cxr_helpers.engine.errors import InputError
from tests.medmnist_files import COUNTS, made, one_line, written

# --- which file -----------------------------------------------------------------------------------------------------


def test_auto_downloads_the_real_file(tmp_path, answering, capsys):
    stream = io.BytesIO()
    np.savez_compressed(stream, **made("chestmnist"))
    source = sources.resolve(
        "auto", folder=tmp_path / "data", remote=answering(200, stream.getvalue())
    )
    assert (source.kind, source.flag, source.truth) == ("chestmnist", "chestmnist", None)
    assert (
        source.path == tmp_path / "data" / "chestmnist.npz"
        and source.path.read_bytes() == stream.getvalue()
    )
    assert "cocok" in source.note
    assert capsys.readouterr().out == f"Data: {source.title}. {source.note}\n"
    assert data.load(source).counts["train"]["cardiomegaly"] > 0


def test_auto_falls_back_to_the_phantom_and_says_so(phantom_folder, answering, capsys):
    source = sources.resolve("auto", folder=phantom_folder, remote=answering(503))
    assert source.kind == "phantom" and source.truth is not None
    printed = capsys.readouterr().out
    assert (
        printed.count("\n") == 1
        and "fantom" in printed
        and "kode 503" in printed
        and source.note in printed
    )


def test_a_named_set_is_never_replaced_by_the_phantom(phantom_folder, answering):
    with pytest.raises(DownloadError, match="kode 503") as caught:
        sources.resolve("chestmnist", folder=phantom_folder, remote=answering(503))
    assert "chestmnist.npz" in one_line(caught)


def test_another_size_has_no_phantom(tmp_path, answering):
    with pytest.raises(DownloadError):
        sources.resolve("auto", size=64, folder=tmp_path, remote=answering(404))
    with pytest.raises(InputError, match="SIZE=64"):
        sources.resolve("phantom", size=64, folder=tmp_path)


def test_a_file_with_another_md5_is_used_and_named(tmp_path):
    path = written(tmp_path / "chestmnist.npz", made("chestmnist"))
    before = path.read_bytes()
    for name in ("auto", "chestmnist", "ChestMNIST"):
        source = sources.resolve(name, folder=tmp_path)
        assert (
            source.path == path
            and source.kind == "chestmnist"
            and "bukan berkas resmi" in source.note
        )
    assert path.read_bytes() == before


@pytest.mark.parametrize("data_setting", ["auto", "chestmnist"])
def test_the_published_file_is_recognised_under_any_name(
    tmp_path, real_layout, answering, data_setting
):
    """A file with the published number of images is looked at; another one, and one with another digest, is left alone."""
    remote = answering(503, real_layout.read_bytes())
    brought = tmp_path / "chest mnist (1).NPZ"
    brought.write_bytes(real_layout.read_bytes())
    written(tmp_path / "a.npz", made("chestmnist"))
    (tmp_path / "catatan.txt").write_text("bukan npz")
    source = sources.resolve(data_setting, folder=tmp_path, remote=remote)
    assert source.path == brought and source.kind == "chestmnist" and "cocok" in source.note
    assert data.load(source).train.patients is not None
    with open(brought, "ab") as file:
        file.write(b"?")
    with pytest.raises(DownloadError):
        sources.resolve("chestmnist", folder=tmp_path, remote=remote)


@pytest.mark.parametrize("name", ["auto", "chestmnist"])
def test_a_damaged_file_is_neither_used_nor_replaced(tmp_path, answering, name):
    path = tmp_path / "chestmnist.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="rusak") as caught:
        sources.resolve(name, folder=tmp_path, remote=answering(200, b"anything"))
    assert str(path) in one_line(caught)
    assert path.read_bytes() == b"not a zip"


@pytest.mark.parametrize("size", [28, 64])
def test_a_medmnist_name_looks_for_the_file_of_its_size(tmp_path, size):
    name = "pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz"
    written(tmp_path / name, made("pneumoniamnist", size))
    source = sources.resolve("pneumoniamnist", size=size, folder=tmp_path)
    assert (source.kind, source.flag, source.size, source.path.name) == (
        "medmnist",
        "pneumoniamnist",
        size,
        name,
    )
    assert data.load(source, "normal,pneumonia").train.images.shape[1:] == (size, size)


def test_where_the_published_files_are():
    remote = sources.published("chestmnist", 28)
    assert (remote.url, remote.digest) == (
        INFO["chestmnist"]["url"],
        "md5:" + INFO["chestmnist"]["MD5"],
    )
    remote = sources.published("pathmnist", 224)
    assert (remote.url, remote.digest) == (
        INFO["pathmnist"]["url_224"],
        "md5:" + INFO["pathmnist"]["MD5_224"],
    )


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
        sources.resolve(name, folder=tmp_path)
    assert name in one_line(caught)


def test_a_size_that_is_not_published(tmp_path):
    with pytest.raises(InputError, match="28, 64, 128, 224"):
        sources.resolve("phantom", size=32, folder=tmp_path)


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
        data.load(sources.resolve(str(chest)), classes)
    if "dua kali" not in said:
        assert "hernia" in one_line(caught)  # the known names are listed


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_class_without_images_in_a_split(tmp_path, split):
    arrays = made("chestmnist")
    labels = arrays[f"{split}_labels"]
    labels[labels.sum(axis=1) == 1, 7] = 0  # pneumothorax only together with another finding
    path = written(tmp_path / "mine.npz", arrays)
    with pytest.raises(InputError, match=rf"pneumothorax.*split {split}") as caught:
        data.load(sources.resolve(str(path)))
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
        data.load(sources.resolve(str(path)))
    assert str(path) in one_line(caught)


def test_a_class_number_that_the_set_does_not_have(tmp_path):
    arrays = made("pneumoniamnist")
    arrays["test_labels"][0] = 2
    path = written(tmp_path / "pneumoniamnist.npz", arrays)
    with pytest.raises(InputError, match=r"test_labels.*0 sampai 1"):
        data.load(sources.resolve(str(path)), "normal,pneumonia")


def test_the_size_in_a_name_decides_nothing(tmp_path):
    path = written(tmp_path / "pneumoniamnist_64.npz", made("pneumoniamnist"))
    assert sources.resolve(str(path)).flag == "pneumoniamnist"


def test_a_file_cut_short_or_altered_never_passes_as_whole(chest):
    """Damage anywhere either changes nothing that is read or ends in one line."""
    whole, content = data.load(sources.resolve(str(chest))).fingerprint, chest.read_bytes()
    rng = np.random.default_rng(0)
    ends = [0, 1, 100, len(content) // 2, len(content) - 30, len(content) - 1]
    damaged = [content[:end] for end in ends]
    for position in (
        rng.integers(0, len(content), 60).tolist() + list(range(0, 60, 3)) + list(range(-120, 0, 3))
    ):
        altered = bytearray(content)
        altered[position] ^= 0xFF
        damaged.append(bytes(altered))
    refused = 0
    for number, body in enumerate(damaged):
        chest.write_bytes(body)
        try:
            assert data.load(sources.resolve(str(chest))).fingerprint == whole
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
            data.load(sources.resolve(str(path)))
    path.unlink()
    with zipfile.ZipFile(path, "w") as archive:  # members that are bare pickles
        for name in made("chestmnist"):
            archive.writestr(f"{name}.npy", b"\x80\x04N.")
    with pytest.raises(InputError, match="rusak"):
        sources.resolve(str(path))
    assert not (tmp_path / "executed").exists()


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="everything is readable to this user"
)
def test_a_file_that_may_not_be_read(chest):
    chest.chmod(0)
    with pytest.raises(InputError, match="izin baca"):
        sources.resolve(str(chest))
