"""Which file the images come from, and is it whole."""

import io
from pathlib import Path

import numpy as np
import pytest
from medmnist import INFO

from cxr_helpers import data
from cxr_helpers.engine import sources
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.sources import DownloadError
from phantom import anatomy
from tests.medmnist_files import COUNTS, made, one_line, written


def test_auto_downloads_the_real_file(tmp_path, answering, capsys):
    stream = io.BytesIO()
    np.savez_compressed(stream, **made("chestmnist"))
    remote = answering(200, stream.getvalue())
    source = sources.resolve("auto", folder=tmp_path / "data", remote=remote)
    assert (source.kind, source.path) == ("chestmnist", tmp_path / "data" / "chestmnist.npz")
    assert source.path.read_bytes() == stream.getvalue() and "cocok" in source.note
    assert source.note in capsys.readouterr().out


def test_only_auto_takes_the_phantom_instead(tmp_path, answering, capsys, monkeypatch):
    few = dict.fromkeys(sources.SPLITS, (6, 12))  # drawn in a moment
    monkeypatch.setattr(anatomy, "SINGLE_LABEL", few)
    remote = answering(503)
    source = sources.resolve("auto", folder=tmp_path, remote=remote)
    assert source.kind == "phantom" and source.truth.exists() and "kode 503" in source.note
    assert source.note in capsys.readouterr().out
    with pytest.raises(DownloadError, match=r"chestmnist\.npz.*kode 503"):
        sources.resolve("chestmnist", folder=tmp_path, remote=remote)


def test_the_published_file_is_recognised_under_any_name(tmp_path, real_layout, answering):
    """One with as many images and another digest is somebody's own: it is left alone."""
    remote = answering(503, real_layout.read_bytes())
    brought = tmp_path / "chest mnist (1).NPZ"
    brought.write_bytes(real_layout.read_bytes())
    written(tmp_path / "a.npz", made("chestmnist"))
    (tmp_path / "catatan.txt").write_text("bukan npz")
    source = sources.resolve("auto", folder=tmp_path, remote=remote)
    assert (source.kind, source.path) == ("chestmnist", brought) and "cocok" in source.note
    with open(brought, "ab") as file:
        file.write(b"?")
    with pytest.raises(DownloadError):
        sources.resolve("chestmnist", folder=tmp_path, remote=remote)


def test_a_damaged_file_is_neither_used_nor_replaced_and_one_not_there_is_one_line(
    tmp_path, answering
):
    path = tmp_path / "chestmnist.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(InputError, match="bukan npz") as caught:
        sources.resolve("auto", folder=tmp_path, remote=answering(200, b"anything"))
    assert str(path) in one_line(caught)
    assert path.read_bytes() == b"not a zip"
    with pytest.raises(InputError, match=r"foto saya\.npz tidak ada") as caught:
        sources.resolve("foto\nsaya.npz", folder=tmp_path)
    one_line(caught)


def test_a_medmnist_name_means_the_published_file_of_its_size(tmp_path):
    """A file of that name with another digest is used, and named."""
    path = written(tmp_path / "pneumoniamnist_64.npz", made("pneumoniamnist", 64))
    source = sources.resolve("pneumoniamnist", size=64, folder=tmp_path)
    assert (source.kind, source.flag, source.path) == ("medmnist", "pneumoniamnist", path)
    assert "bukan berkas resmi" in source.note
    assert data.load(source, "normal,pneumonia").train.images.shape[1:] == (64, 64)
    known, remote = INFO["pneumoniamnist"], sources.published("pneumoniamnist", 64)
    assert (remote.url, remote.digest) == (known["url_64"], f"md5:{known['MD5_64']}")


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        ("cardiomegaly,pneumotoraks", "pneumotoraks.*hernia"),  # and which names there are
        ("cardiomegaly,Cardiomegaly", "berbeda"),
        ("cardiomegaly", "dua kelas"),
    ],
)
def test_classes_that_cannot_be_meant(chest, classes, said):
    with pytest.raises(InputError, match=said):
        data.load(sources.resolve(str(chest)), classes)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda labels: labels[:, :5], "test_labels.*14"),
        (lambda labels: labels + 1, "cardiomegaly.*bagian test"),
        (lambda labels: labels * (np.arange(14) != 7), "pneumothorax.*bagian test"),
    ],
)
def test_labels_that_the_set_does_not_have(tmp_path, spoil, said):
    """What else a file may have wrong is tried in test_own_classes.py."""
    arrays = made("chestmnist")
    arrays["test_labels"] = spoil(arrays["test_labels"])
    path = written(tmp_path / "chestmnist.npz", arrays)
    with pytest.raises(InputError, match=said) as caught:
        data.load(sources.resolve(str(path)))
    assert str(path) in one_line(caught)


def test_a_file_cut_short_or_altered_never_passes_as_whole(chest):
    """What is cut short is refused; a changed byte is too, or changes nothing that is read."""
    whole, content = data.load(sources.resolve(str(chest))).fingerprint, chest.read_bytes()
    chest.write_bytes(content[:-1])
    with pytest.raises(InputError):
        data.load(sources.resolve(str(chest)))
    refused = 0
    for at in np.random.default_rng(0).integers(0, len(content), 20):
        altered = bytearray(content)
        altered[at] ^= 0xFF
        chest.write_bytes(altered)
        try:
            assert data.load(sources.resolve(str(chest))).fingerprint == whole
        except InputError:
            refused += 1
    assert refused > 10


def test_a_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    trapped = np.array([Trap()] * COUNTS["train"], dtype=object)
    path = written(tmp_path / "chestmnist.npz", made("chestmnist") | {"train_labels": trapped})
    with pytest.raises(InputError):
        data.load(sources.resolve(str(path)))
    assert not (tmp_path / "executed").exists()
