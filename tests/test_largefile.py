"""A few rows of a large npz, read in pieces, kept and mapped (cxr_helpers/engine/largefile.py)."""

import os
import tracemalloc

import numpy as np
import pytest

from cxr_helpers import data
from cxr_helpers.engine import files, largefile, sources
from tests.medmnist_files import made, written

WANTED = np.array([0, 3, 4, 250, 499])


@pytest.fixture
def images(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (500, 12, 12), dtype=np.uint8)
    return written(tmp_path / "besar.npz", {"train_images": images}), images


def test_the_rows_are_those_of_the_file_whatever_the_pieces(images, tmp_path, monkeypatch, capsys):
    path, whole = images
    for piece in (1, 12 * 12 * 7, 2**20):
        monkeypatch.setattr(largefile, "PIECE", piece)
        found = largefile.rows(path, "train_images", WANTED, tmp_path / str(piece))
        assert isinstance(found, np.memmap) and np.array_equal(found, whole[WANTED])
    assert "sekali saja" in capsys.readouterr().out
    largefile.rows(path, "train_images", WANTED, tmp_path / "1")
    assert capsys.readouterr().out == ""  # the second time it is there


def test_another_file_or_other_rows_are_read_anew(images, tmp_path):
    path, whole = images
    largefile.rows(path, "train_images", WANTED, tmp_path)
    assert np.array_equal(
        largefile.rows(path, "train_images", WANTED[:2], tmp_path), whole[WANTED[:2]]
    )
    written(path, {"train_images": whole[::-1]})
    assert np.array_equal(
        largefile.rows(path, "train_images", WANTED, tmp_path), whole[::-1][WANTED]
    )


def test_what_is_kept_is_bounded_and_the_oldest_goes_first(images, tmp_path, monkeypatch):
    path, _ = images
    monkeypatch.setattr(largefile, "MOST", 3000)
    for n in range(1, 13):
        largefile.rows(path, "train_images", np.arange(n), tmp_path)
    kept = list((tmp_path / largefile.FOLDER).glob("*.npy"))
    assert (
        sum(path.stat().st_size for path in kept) <= 3000
        and len(np.load(max(kept, key=os.path.getsize))) == 12
    )


def test_where_nothing_can_be_kept_the_rows_come_all_the_same(images, tmp_path):
    path, whole = images
    (tmp_path / largefile.FOLDER).touch()  # a file where the folder should be
    assert np.array_equal(largefile.rows(path, "train_images", WANTED, tmp_path), whole[WANTED])


def test_a_file_that_is_cut_off_is_no_shorter_array(tmp_path, monkeypatch):
    images = np.zeros((100, 8, 8), np.uint8)
    path = written(tmp_path / "a.npz", {"train_images": images})
    monkeypatch.setattr(
        np.lib.format,
        "read_array_header_1_0",
        lambda stream: ((200, 8, 8), False, np.dtype(np.uint8)),
    )
    with pytest.raises(EOFError):
        largefile.rows(path, "train_images", WANTED[:3], tmp_path)


@pytest.mark.parametrize("flag", ["chestmnist", "bloodmnist", ""])
def test_a_data_set_is_the_same_by_either_way(tmp_path, monkeypatch, flag):
    monkeypatch.setenv(files.DATA, str(tmp_path / "data"))
    arrays = made(flag or "pneumoniamnist", seed=1)
    source = sources.resolve(str(written(tmp_path / f"{flag or 'foto'}.npz", arrays)))
    classes = {"bloodmnist": "basophil,eosinophil"}.get(flag, "auto")
    whole = data.load(source, classes)
    monkeypatch.setattr(largefile, "LARGE", 1)
    small = data.load(source, classes)
    assert small.fingerprint == whole.fingerprint and small.counts == whole.counts
    assert np.array_equal(small.test.images, whole.test.images) and np.array_equal(
        small.train.rows, whole.train.rows
    )
    assert np.array_equal(data.to_tensor(small.val.images), data.to_tensor(whole.val.images))


def test_no_more_than_the_wanted_rows_and_a_piece_are_in_memory(tmp_path, monkeypatch):
    path = written(
        tmp_path / "a.npz", {"train_images": np.zeros((4000, 64, 64), np.uint8)}
    )  # 16 MB
    monkeypatch.setattr(largefile, "PIECE", 2**18)
    tracemalloc.start()
    largefile.rows(path, "train_images", WANTED, tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 2**20
