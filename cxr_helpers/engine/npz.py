"""What is in an npz of MedMNIST's layout (Yang et al., Scientific Data 10:41, 2023): for train, val
and test `{split}_images` (N, H, W[, 3]) uint8, `{split}_labels` (N, 1) or (N, K) of 0/1.
"""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from medmnist import INFO

from cxr_helpers.engine import files, ownfiles
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.settings import SIZES

SPLITS = ("train", "val", "test")
LUMINANCE = (299, 587, 114)  # thousandths of red, green, blue: ITU-R BT.601
ARRAYS = tuple(f"{split}_{content}" for split in SPLITS for content in ("images", "labels"))
FLAGS = tuple(flag for flag in INFO if not flag.endswith("3d"))
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)
MANY_CLASSES = 100  # more different values are measurements, not classes
LARGE = 512 * 2**20  # bytes of an array from which on its rows are kept
PIECE = 32 * 2**20  # bytes read at once
KEPT_AT_MOST = 2 * 2**30  # bytes of all rows kept
KEPT_IN = ".pilihan"
PATIENTS = Path(__file__).with_name("chestxray14_patients.csv")


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """Turn whatever a damaged or unreadable file raises into one line."""
    try:
        yield
    except InputError:
        raise
    except DAMAGED as error:
        content = ownfiles.kind(path) or "rusak, terpotong, atau memuat pickle"
        cure = "ganti dengan npz yang utuh dan bersusunan MedMNIST"
        raise InputError(f"Berkas {path} bukan npz yang utuh ({content}): {cure}.") from error
    except OSError as error:
        why = f"tidak dapat dibaca ({error.strerror or error}): periksa izin bacanya"
        raise InputError(f"Berkas {path} {why}.") from error


def headers(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """{array name: (shape, dtype)} of the six arrays, not read. Raises InputError."""
    # unlike Path.is_file it answers for any text, a name too long for the disk included
    if not os.path.isfile(path):
        raise InputError(f"Berkas {path} tidak ada atau bukan berkas: periksa nama dan foldernya.")
    shapes = {}
    with one_line(path), zipfile.ZipFile(path) as archive:
        # what else people pack in is not read
        inside = [name[:-4] for name in archive.namelist() if name.endswith(".npy")]
        missing = [name for name in ARRAYS if name not in inside]
        if missing:
            why = f"tidak memuat {', '.join(missing)}, tetapi {', '.join(inside[:8])}"
            raise InputError(f"Berkas {path} {why}: berikan npz dengan susunan MedMNIST.")
        for name in ARRAYS:
            with archive.open(f"{name}.npy") as stream:
                shape, _, dtype = _header(stream)
                shapes[name] = shape, dtype
    return shapes


def read(path: Path, *names: str) -> list[np.ndarray]:
    """These arrays of an npz. Raises np.load's errors for a damaged file."""
    with np.load(path, allow_pickle=False) as archive:
        return [archive[f"{name}.npy"] for name in names]


def _header(stream) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether in Fortran order, dtype) of the npy that begins here."""
    if np.lib.format.read_magic(stream) == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def many_labels(flag: str) -> bool:
    """Whether an image of this MedMNIST set may carry several labels."""
    return INFO[flag]["task"].startswith("multi-label")


def check_layout(path: Path, flag: str, size: int) -> int:
    """Colour channels (1 or 3) of a file in the layout of `flag` ("": its own), else InputError."""
    shapes = headers(path)
    for split in SPLITS:
        why = _why_not(split, shapes, flag, size)
        if why:
            raise InputError(f"Di {path}, {split}_{why}.")
    return 3 if any(shapes[f"{split}_images"][0][3:] == (3,) for split in SPLITS) else 1


def _why_not(split: str, shapes: dict, flag: str, size: int) -> str:
    """Why a split has not that layout, in Indonesian; "" if it has."""
    (images, pixel), (labels, label) = shapes[f"{split}_images"], shapes[f"{split}_labels"]
    if pixel != np.uint8 or len(images) < 3 or images[3:] not in ((), (1,), (3,)):
        wanted = "uint8 berbentuk (N, tinggi, lebar) atau (N, tinggi, lebar, 3)"
        return f"images harus {wanted}, bukan {pixel} berbentuk {images}"
    height, width = images[1:3]
    if height != size or width != size:
        advice = f"ubah ukurannya menjadi {', '.join(map(str, SIZES))} piksel"
        if height == width and height in SIZES:
            advice = f"berikan SIZE={height}"
        return f"images berukuran {height}×{width}, sedangkan SIZE={size}: {advice}"
    # of one's own classes the train split says how many columns there are, and names are allowed
    columns = len(INFO[flag]["label"]) if flag else (*shapes["train_labels"][0][1:], 1)[0]
    many = many_labels(flag) if flag else columns > 1
    shapes_allowed = ((columns,),) if many else ((1,), ())
    if label.kind not in ("uib" if flag else "uibU") or labels[1:] not in shapes_allowed:
        wanted = f"(N, {columns})" if many else "(N, 1) atau (N,)"
        return f"labels harus bilangan bulat berbentuk {wanted}, bukan {label} berbentuk {labels}"
    if images[0] != labels[0]:
        return f"images memuat {images[0]} citra tetapi ada {labels[0]} baris label"
    return ""


def own_labels(path: Path) -> tuple[tuple[str, ...], bool, dict[str, np.ndarray]]:
    """(class names, whether there is a column a class, {split: (N,) places in the names, or (N, K)
    columns}) of a file with classes of its own. Raises InputError, and the errors of `read`.
    """
    labels = dict(zip(SPLITS, read(path, *ARRAYS[1::2]), strict=True))
    width = (*labels["train"].shape[1:], 1)[0]
    if width > 1:
        names = tuple(map(str, range(width)))
        return names, True, {split: columns.astype(np.int64) for split, columns in labels.items()}
    flat = {split: column.reshape(-1) for split, column in labels.items()}
    words = any(column.dtype.kind == "U" for column in flat.values())
    if words:
        flat = {split: np.char.strip(column.astype(str)) for split, column in flat.items()}
    values = np.unique(np.concatenate(list(flat.values())))
    if not 2 <= len(values) <= MANY_CLASSES:
        wanted = f"yang diperlukan 2 sampai {MANY_CLASSES} kelas"
        raise InputError(f"Label di {path} mempunyai {len(values)} nilai yang berbeda: {wanted}.")
    names = tuple(str(value if words else int(value)) for value in values)
    spellings = {name.casefold() for name in names}
    if len(spellings) < len(names) or spellings & {"", "nan"}:  # pandas' word for an empty cell
        why = "ada yang kosong, nan, atau hanya berbeda ejaannya: perbaiki labelnya"
        raise InputError(f"Label di {path} {why}.")
    return names, False, {split: np.searchsorted(values, column) for split, column in flat.items()}


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether an array of bytes is too large to be read whole (3.9 GB at 224×224 pixels)."""
    return int(np.prod(shape, dtype=np.int64)) >= LARGE


def rows(path: Path, name: str, wanted: np.ndarray, folder: Path | None = None) -> np.ndarray:
    """The rows `wanted` (ascending) of the array `name` of an npz: read in pieces once, kept in
    `folder` (default: beside the data), mapped from there afterwards. Raises as np.load does.
    """
    state = path.stat()
    version = state.st_size, state.st_mtime_ns
    try:
        memory = joblib.Memory((folder or files.data_folder()) / KEPT_IN, mmap_mode="r", verbose=0)
        memory.reduce_size(bytes_limit=KEPT_AT_MOST)  # what was used longest ago goes
        return memory.cache(_read_rows)(path.resolve(), name, wanted, version)
    except (OSError, KeyError):  # no place for it
        return _read_rows(path, name, wanted, version)


def _read_rows(path: Path, name: str, wanted: np.ndarray, version: tuple) -> np.ndarray:
    """version: of the file, for joblib, which keeps one answer for each set of arguments."""
    print(f"Membaca {len(wanted)} citra dari {name} di {path.name}, sekali saja …", flush=True)
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as stream:
        shape, fortran, dtype = _header(stream)
        if fortran:
            raise ValueError(f"{name} in Fortran order")
        size = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        at_once = max(1, PIECE // size)
        pieces = []
        for start in range(0, shape[0], at_once):
            count = min(at_once, shape[0] - start)
            content = stream.read(count * size)
            if len(content) != count * size:
                raise EOFError(f"{name} is cut off")
            first, end = np.searchsorted(wanted, (start, start + count))
            piece = np.frombuffer(content, dtype).reshape(count, *shape[1:])
            pieces.append(piece[wanted[first:end] - start])
    return np.concatenate(pieces)


def read_patients() -> dict[str, dict[str, np.ndarray]]:
    """{split: {"rows", "patients", "labels"}}, each (n,) int64, of the ChestMNIST images with one
    finding: patients' numbers in NIH ChestX-ray14 (Wang et al. 2017), by the split lists of
    arnoweng/CheXNet; compared before they are used (patients_of).
    """
    table = pd.read_csv(PATIENTS, names=["split", "rows", "patients", "labels"], header=0)
    columns = ("rows", "patients", "labels")
    return {
        split: {name: part[name].to_numpy(np.int64) for name in columns}
        for split, part in table.groupby("split")
    }


def patients_of(splits: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray] | None:
    """The listed patients (N,) of `splits`, {split: (rows, labels)}; None for other rows."""
    listed = read_patients()
    for split, given in splits.items():
        if not all(map(np.array_equal, given, (listed[split]["rows"], listed[split]["labels"]))):
            return None
    return {split: listed[split]["patients"] for split in splits}
