"""A few rows of a large npz, read in pieces, kept and mapped."""

import zipfile

import numpy as np
import pytest

from cxr_helpers import data
from cxr_helpers.engine import files, npz, sources
from tests.medmnist_files import written

WANTED = np.array([0, 3, 4, 250, 499])
NAME = "train_images"


@pytest.fixture
def images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (500, 12, 12), dtype=np.uint8)
    return written(tmp_path / "besar.npz", {NAME: images}), images


def test_the_rows_are_those_of_the_file_whatever_the_pieces(images, tmp_path, monkeypatch, capsys):
    path, whole = images
    for piece in (1, 12 * 12 * 7, 2**20):
        monkeypatch.setattr(npz, "PIECE", piece)
        found = npz.rows(path, NAME, WANTED, tmp_path / str(piece))
        assert isinstance(found, np.memmap) and np.array_equal(found, whole[WANTED])
    assert "sekali saja" in capsys.readouterr().out
    npz.rows(path, NAME, WANTED, tmp_path / "1")
    assert capsys.readouterr().out == ""  # the second time it is there
    written(path, {NAME: whole[::-1]})  # another file
    assert np.array_equal(npz.rows(path, NAME, WANTED[:2], tmp_path / "1"), whole[::-1][WANTED[:2]])


def test_a_data_set_is_the_same_by_either_way(chest, tmp_path, monkeypatch):
    monkeypatch.setenv(files.DATA, str(tmp_path / "data"))
    source = sources.resolve(str(chest))
    whole = data.load(source)
    monkeypatch.setattr(npz, "LARGE", 1)
    small = data.load(source)
    assert small.fingerprint == whole.fingerprint and small.counts == whole.counts
    for split in sources.SPLITS:
        one, other = getattr(small, split), getattr(whole, split)
        assert np.array_equal(one.images, other.images) and np.array_equal(one.rows, other.rows)


@pytest.mark.parametrize("name", ["info.txt", "labels.json", "__MACOSX/._train_images.npy", NAME])
def test_what_else_an_archive_holds_is_not_read(chest, name):
    plain = data.load(sources.resolve(str(chest)))
    with zipfile.ZipFile(chest, "a") as archive:
        archive.writestr(name, b"\0\5\x16\7")
    assert data.load(sources.resolve(str(chest))).fingerprint == plain.fingerprint
