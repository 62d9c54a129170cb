"""A person's own npz: MedMNIST's six arrays, but classes of its own.

Labels may be class numbers or names of shape (N,) or (N, 1), or one column 0/1 a class, (N, K).
What the classes are called stands in the labels themselves, or in an array of K names within the
npz (under any key), or else the numbers are the names.
"""

import re
from pathlib import Path

import numpy as np

from cxr_helpers.engine.errors import InputError

SPLITS = ("train", "val", "test")
MISSING = ("", "nan")  # what pandas writes where a cell of a table is empty
NAMING = re.compile(r"kelas|class|label|nama|name", re.I)
MOST = 100  # more different values are measurements, not classes


def read_labels(path: Path) -> tuple[tuple[str, ...], bool, dict[str, np.ndarray]]:
    """(class names, whether there is a column a class, {split: (N,) int64 places in the names, or
    (N, K) 0/1}).

    Raises InputError where the labels are no classes; what a damaged file raises, np.load's errors,
    is the caller's.
    """
    with np.load(path, allow_pickle=False) as arrays:
        labels = {split: np.asarray(arrays[f"{split}_labels"]) for split in SPLITS}
        names = _names(arrays)
    columns = labels["train"].shape[1:] not in ((), (1,))
    if columns:
        width = labels["train"].shape[1]
        if any(np.isin(each, (0, 1)).sum() != each.size for each in labels.values()):
            raise InputError(
                f"Label di {path} berkolom {width}, "
                "maka harus 0 atau 1 di setiap kolom: perbaiki berkasnya."
            )
        named = names if len(names) == width else tuple(map(str, range(width)))
        return named, True, {split: each.astype(np.int64) for split, each in labels.items()}
    flat = {split: each.reshape(-1) for split, each in labels.items()}
    values = np.unique(np.concatenate(list(flat.values())))
    if not 2 <= len(values) <= MOST:
        raise InputError(
            f"Label di {path} mempunyai {len(values)} nilai yang berbeda: "
            f"yang diperlukan 2 sampai {MOST} kelas."
        )
    numbered = values.dtype.kind in "iub"
    if numbered and names and values.min() >= 0 and values.max() < len(names):
        return names, False, {split: each.astype(np.int64) for split, each in flat.items()}
    named = (
        names
        if len(names) == len(values)
        else tuple(str(int(v)) if numbered else str(v).strip() for v in values)
    )
    if not numbered:
        _check_words(path, named, flat)
    return named, False, {split: np.searchsorted(values, each) for split, each in flat.items()}


def _check_words(path: Path, words: tuple[str, ...], labels: dict[str, np.ndarray]) -> None:
    """Refuse words that are no label, or that only their spelling tells apart. Raises
    InputError.
    """
    for split, each in labels.items():
        empty = sum(str(word).strip().lower() in MISSING for word in each)
        if empty:
            raise InputError(
                f"Di {path}, {empty} label pada {split} kosong atau nan: "
                "isi labelnya, atau buang citranya."
            )
    for i, word in enumerate(words):
        same = [other for other in words[:i] if other.casefold() == word.casefold()]
        if same:
            raise InputError(
                f"Label {same[0]!r} dan {word!r} di {path} hanya berbeda huruf besar "
                "atau spasi: samakan ejaannya."
            )


def has_names(path: Path) -> bool:
    """Whether the file names its classes itself."""
    with np.load(path, allow_pickle=False) as arrays:
        return bool(_names(arrays)) or arrays["train_labels"].dtype.kind == "U"


def _names(arrays: np.lib.npyio.NpzFile) -> tuple[str, ...]:
    """The one array of words in the npz, other than the six, or of several the one whose key says
    so; () if there is none.
    """
    known = {f"{split}_{what}" for split in SPLITS for what in ("images", "labels")}
    words = {}
    for key in arrays.files:
        if key not in known:
            try:
                found = arrays[key]
            except ValueError:  # an array of objects: never opened
                continue
            if (
                found.dtype.kind == "U"
                and found.ndim == 1
                and len(set(found.tolist())) == len(found) >= 2
            ):
                words[key] = tuple(str(name).strip() for name in found)
    named = (
        words
        if len(words) == 1
        else {key: names for key, names in words.items() if NAMING.search(key)}
    )
    return next(iter(named.values())) if len(named) == 1 else ()
