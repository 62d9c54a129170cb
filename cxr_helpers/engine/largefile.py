"""A few rows of a large npz without the whole of it in memory: read in pieces once, kept beside the
data, mapped afterwards.

ChestMNIST at 224×224 pixels is 3.9 GB of training images unpacked; the two classes are 2,306 of its
78,468 images, 116 MB. The npy format: NumPy Enhancement Proposal 1.
"""

import hashlib
import os
import zipfile
from pathlib import Path

import numpy as np

from cxr_helpers.engine import files

LARGE = 512 * 2**20  # bytes of an array from which on its rows are kept
PIECE = 32 * 2**20  # bytes read at once
MOST = 2 * 2**30  # bytes of all rows kept
FOLDER = ".pilihan"


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether an array of bytes (uint8) of this shape is too large to be read whole."""
    return int(np.prod(shape, dtype=np.int64)) >= LARGE


def rows(path: Path, name: str, wanted: np.ndarray, folder: Path | None = None) -> np.ndarray:
    """The rows `wanted` (ascending) of the array `name` of an npz, mapped from `folder`; in memory
    where it cannot be written.

    Raises what numpy and zipfile raise for a damaged file, and ValueError for an array in Fortran
    order.
    """
    folder = (folder or files.data_folder()) / FOLDER
    state = path.stat()
    known = (
        f"{path.resolve()}|{state.st_size}|{state.st_mtime_ns}|{name}|".encode()
        + wanted.astype(np.int64).tobytes()
    )
    kept = folder / f"{hashlib.sha256(known).hexdigest()[:24]}.npy"
    try:
        os.utime(kept)  # what is used last goes last
        return np.load(kept, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError):
        pass
    found = _read(path, name, wanted)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_name(f".{kept.stem}.{os.getpid()}.npy")
        np.save(partial, found)
        os.replace(partial, kept)
        _bound(folder)
        megabytes = found.nbytes // 2**20
        print(
            f"{len(found)} citra {name} ({megabytes} MB) disimpan di {kept} "
            "dan selanjutnya dibaca dari sana.",
            flush=True,
        )
        return np.load(kept, mmap_mode="r", allow_pickle=False)
    except OSError:
        return found


def _read(path: Path, name: str, wanted: np.ndarray) -> np.ndarray:
    print(f"Membaca {len(wanted)} citra dari {name} di {path.name}, sekali saja …", flush=True)
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read_header(stream)
        if fortran:
            raise ValueError(f"{name} in Fortran order")
        size = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        at_once = max(1, PIECE // size)
        found = np.empty((len(wanted), *shape[1:]), dtype)
        done = 0
        for start in range(0, shape[0], at_once):
            count = min(at_once, shape[0] - start)
            content = stream.read(count * size)
            if len(content) != count * size:
                raise EOFError(f"{name} is cut off")
            piece = np.frombuffer(content, dtype).reshape(count, *shape[1:])
            here = wanted[done : np.searchsorted(wanted, start + count)] - start
            found[done : done + len(here)] = piece[here]
            done += len(here)
    return found


def _bound(folder: Path) -> None:
    """Delete the rows that were used longest ago until all of them fit into MOST."""
    kept = sorted((path for path in folder.glob("*.npy")), key=lambda path: path.stat().st_mtime_ns)
    total = sum(path.stat().st_size for path in kept)
    for path in kept[:-1]:
        if total <= MOST:
            break
        total -= path.stat().st_size
        path.unlink(missing_ok=True)
