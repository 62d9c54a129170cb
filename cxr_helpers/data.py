"""Two classes of a MedMNIST file as arrays: images, labels, splits (explained in notebook 02).

`load` reads the file through the medmnist package's own class and keeps two classes, `take` and
`subset` cut it down, `to_tensor` makes the network's input. Which file it is, engine/sources.py
decides. MedMNIST: Yang et al., Scientific Data 10:41 (2023).
"""

import hashlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import medmnist
import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cxr_helpers import evaluation
from cxr_helpers.engine import indonesian, npz
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.npz import SPLITS, check_layout, headers, one_line
from cxr_helpers.engine.sources import Source, place

DEFAULT_CLASSES = "cardiomegaly,pneumothorax"
UNKNOWN_PATIENTS = (
    "Susunan labelnya berbeda dari daftar pasien ChestX-ray14, sehingga pasiennya tidak diketahui "
    "dan setiap citra dianggap berasal dari pasien yang berlainan."
)
FEW = 10  # images of a class in a split
LOPSIDED = 20  # images of one class for each of the other
FLAT = 0.01  # share of a split's images that hold a single grey value
LUMINANCE = (299, 587, 114)  # thousandths of red, green, blue: ITU-R BT.601
INDONESIAN = {
    "atelectasis": "Atelektasis",
    "cardiomegaly": "Kardiomegali",
    "effusion": "Efusi pleura",
    "infiltration": "Infiltrat",
    "mass": "Massa",
    "nodule": "Nodul",
    "pneumonia": "Pneumonia",
    "pneumothorax": "Pneumotoraks",
    "consolidation": "Konsolidasi",
    "edema": "Edema paru",
    "emphysema": "Emfisema",
    "fibrosis": "Fibrosis",
    "pleural": "Penebalan pleura",
    "hernia": "Hernia",
    "normal": "Normal",
    "malignant": "Ganas",
    "normal, benign": "Normal atau jinak",
    "bladder": "Kandung kemih",
    "femur-left": "Femur kiri",
    "femur-right": "Femur kanan",
    "heart": "Jantung",
    "kidney-left": "Ginjal kiri",
    "kidney-right": "Ginjal kanan",
    "liver": "Hati",
    "lung-left": "Paru kiri",
    "lung-right": "Paru kanan",
    "pancreas": "Pankreas",
    "spleen": "Limpa",
}


@dataclass(frozen=True)
class Split:
    """images (N, H, W) uint8; labels (N,) uint8 in {0, 1}; rows (N,) int64, the images' place in
    the file's split.

    truth: the phantom's ground truth of these images, {name: (N, …)}, or None. It is for analysis
    and never reaches a network. patients: (N,) int64, equal for images of one patient; None where
    each image counts as a patient of its own.
    """

    images: np.ndarray
    labels: np.ndarray
    rows: np.ndarray
    truth: dict[str, np.ndarray] | None = None
    patients: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def n_patients(self) -> int | None:
        """How many patients the images show; None where they are not known."""
        return evaluation.n_patients(self.patients)


@dataclass(frozen=True)
class Dataset:
    """Two classes of one source. Label 0 is classes[0], label 1 is classes[1].

    classes: as MedMNIST writes them; class_names_id: for display; fingerprint: 16 hexadecimal
    digits of SHA-256 over images (of the phantom: rows) and labels; counts: {split: {class: n}};
    overlap: {"train-val": n, …}, how many images of the second split are also in the first, pixel
    by pixel; extra: further test images, which the phantom can draw at will, or None.
    """

    source: Source
    classes: tuple[str, str]
    class_names_id: tuple[str, str]
    train: Split
    val: Split
    test: Split
    fingerprint: str
    counts: dict[str, dict[str, int]]
    overlap: dict[str, int]
    extra: Split | None = None


# --- reading it -----------------------------------------------------------------------------------


def load(source: Source, classes: str = "auto") -> Dataset:
    """Read the two classes of `source`, every split, in the file's order.

    classes: two names as MedMNIST or the file itself writes them, any case, separated by a comma;
    the first becomes label 0, the second label 1. "auto": the course's two classes for ChestMNIST,
    both classes of a set that has two. Where an image may carry several labels (ChestMNIST) only
    those whose ONLY label is one of the two are kept. What is odd about the images (cautions) is
    added to the source's note. Colour becomes grey by ITU-R BT.601 luminance, 0.299 R + 0.587 G +
    0.114 B. Raises InputError when the file has not the layout, a name is unknown, or a split has
    no image of a class.
    """
    check_layout(source.path, source.flag, source.size)
    names = _named(source, classes)
    pair = _parse_classes(_default_classes(source, names) if classes == "auto" else classes, names)
    splits = {}
    with one_line(source.path), _arrays(source) as read:
        for split in SPLITS:
            splits[split] = _read_split(source, split, pair, names, *read(split))
    if source.truth is not None:
        splits = {name: _with_truth(source, name, part) for name, part in splits.items()}
    classes = names[pair[0]], names[pair[1]]
    if (
        source.kind != "phantom"
        and source.flag == "chestmnist"
        and set(classes) == set(DEFAULT_CLASSES.split(","))
    ):
        source, splits = _with_patients(
            source, splits, swapped=",".join(classes) != DEFAULT_CLASSES
        )
    if source.kind != "phantom":
        for sentence in cautions(splits, classes):
            source = _noted(source, sentence)
    return _dataset(source, classes, splits)


def _noted(source: Source, sentence: str) -> Source:
    """The source with a sentence more in its note; what a study passes on already has it."""
    return source if sentence in source.note else replace(source, note=f"{source.note} {sentence}")


def _named(source: Source, classes: str) -> list[str]:
    """The file's class names. Two bare numbers take the two names of CLASSES, in ascending
    order.
    """
    names = list(source.class_names)
    words = [word.strip().lower() for word in str(classes).split(",")]
    bare = not source.flag and all(name.lstrip("-").isdigit() for name in names)
    if (
        bare
        and len(names) == len(words) == len(set(words)) == 2
        and all(words)
        and not set(words) & set(names)
    ):
        return words
    return names


def _default_classes(source: Source, names: list[str]) -> str:
    if source.flag == "chestmnist":
        return DEFAULT_CLASSES
    if len(names) == 2:
        return ",".join(names)
    raise InputError(
        f"{source.title} mempunyai {len(names)} kelas: pilih dua dengan CLASSES=a,b. "
        f"Kelas yang ada: {'; '.join(names)}."
    )


def _parse_classes(classes: str, names: list[str]) -> tuple[int, int]:
    known = {name.lower(): index for index, name in enumerate(names)}
    words = str(classes).lower().split(",")
    # Some names hold a comma themselves ("normal, benign"), so every comma is tried as the one
    # between the two.
    halves = [
        (",".join(words[:i]).strip(), ",".join(words[i:]).strip()) for i in range(1, len(words))
    ]
    for first, second in halves:
        if first in known and second in known:
            if first == second:
                raise InputError(
                    f"CLASSES={classes} menyebut kelas yang sama dua kali: "
                    "berikan dua kelas yang berbeda."
                )
            return known[first], known[second]
    listed = "; ".join(names)
    if len(words) != 2:
        raise InputError(
            f"CLASSES={classes} harus berisi dua kelas yang dipisahkan koma. "
            f"Kelas yang ada: {listed}."
        )
    unknown = ", ".join(word.strip() or "(kosong)" for word in words if word.strip() not in known)
    raise InputError(
        f"Kelas {unknown} pada CLASSES={classes} tidak dikenal. Kelas yang ada: {listed}."
    )


@contextmanager
def _arrays(source: Source) -> Iterator[Callable[[str], tuple[np.ndarray | None, np.ndarray]]]:
    """A function that gives a split's images (N, H, W[, C]; None where engine/npz.py is to
    read those that are wanted) and labels, (N,) class numbers or (N, K) columns 0/1.
    """
    large = npz.is_large(headers(source.path)["train_images"][0])
    if large or not source.flag:
        own = None if source.flag else npz.own_labels(source.path)[2]
        with np.load(source.path, allow_pickle=False) as arrays:
            labels = own or {split: arrays[f"{split}_labels"] for split in SPLITS}
            flat = (
                labels
                if source.many_labels
                else {split: each.reshape(-1) for split, each in labels.items()}
            )
            yield lambda split: (None if large else arrays[f"{split}_images"], flat[split])
        return
    with _medmnist_root(source) as root:

        def read(split: str) -> tuple[np.ndarray, np.ndarray]:
            # Its len() and repr() assert the published number of images, so only its arrays are
            # used.
            kind = getattr(medmnist, source.collection)
            whole = kind(split=split, root=str(root), size=source.size, download=False)
            labels = np.asarray(whole.labels)
            return whole.imgs, labels if source.many_labels else labels.reshape(-1)

        yield read


@contextmanager
def _medmnist_root(source: Source) -> Iterator[Path]:
    """A folder in which the file bears the name that the medmnist class looks for."""
    expected = place(source.flag, source.size, source.path.parent)
    if source.path == expected:
        yield expected.parent
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as root:
        alias = Path(root) / expected.name
        # Windows lets few users make links
        for give_name in (os.symlink, os.link, shutil.copyfile):
            try:
                give_name(source.path.resolve(), alias)
                break
            except OSError:
                if give_name is shutil.copyfile:
                    raise
        yield Path(root)


def _read_split(
    source: Source,
    split: str,
    pair: tuple[int, int],
    names: list[str],
    images: np.ndarray | None,
    labels: np.ndarray,
) -> Split:
    highest = 1 if source.many_labels else len(names) - 1
    if labels.size and (labels.min() < 0 or labels.max() > highest):
        raise InputError(
            f"{split}_labels di {source.path} memuat nilai di luar 0 sampai {highest}: "
            "perbaiki berkasnya."
        )
    if source.many_labels:
        single = labels.sum(axis=1) == 1
        member = [single & (labels[:, index] == 1) for index in pair]
    else:
        member = [labels == index for index in pair]
    for index, chosen in zip(pair, member, strict=True):
        if not chosen.any():
            only = " dengan label itu saja" if source.many_labels else ""
            raise InputError(
                f"Kelas {names[index]} tidak mempunyai citra{only} di split {split} "
                f"pada {source.path}: pilih kelas lain."
            )
    rows = np.flatnonzero(member[0] | member[1]).astype(np.int64)
    chosen = npz.rows(source.path, f"{split}_images", rows) if images is None else images[rows]
    return Split(grey(chosen), member[1][rows].astype(np.uint8), rows)


def grey(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W[, 1 or 3]) → uint8 (N, H, W), in C order."""
    if images.ndim == 3 or images.shape[3] == 1:
        return np.ascontiguousarray(images.reshape(images.shape[:3]))
    weights = np.array(LUMINANCE, np.uint32)
    # Whole numbers, so that every machine rounds alike; one image at a time, since 32 bits a
    # channel are four times the file.
    return np.array([(image.astype(np.uint32) @ weights + 500) // 1000 for image in images]).astype(
        np.uint8
    )


def _with_truth(source: Source, split: str, part: Split) -> Split:
    truth = _read_truth(source, split, part.rows)
    return replace(part, truth=truth, patients=truth["patient"].astype(np.int64))


def _read_truth(source: Source, split: str, rows: np.ndarray) -> dict[str, np.ndarray]:
    expected = headers(source.path)[f"{split}_labels"][0][0]
    with one_line(source.truth), np.load(source.truth, allow_pickle=False) as arrays:
        prefix = f"{split}_"
        whole = {
            name.removeprefix(prefix): arrays[name]
            for name in arrays.files
            if name.startswith(prefix)
        }
    if not whole or any(len(array) != expected for array in whole.values()):
        raise InputError(
            f"Berkas {source.truth} tidak cocok dengan fantomnya: "
            "hapus berkas itu, lalu jalankan lagi."
        )
    return {name: array[rows] for name, array in whole.items()}


def _with_patients(
    source: Source, splits: dict[str, Split], swapped: bool
) -> tuple[Source, dict[str, Split]]:
    """The splits with their patients where rows and labels are those of the patients' list; else a
    note that says so.

    swapped: whether label 0 is the default pair's second class.
    """
    known = npz.patients_of(
        {name: (part.rows, part.labels ^ swapped) for name, part in splits.items()}
    )
    if known is None:
        return _noted(source, UNKNOWN_PATIENTS), splits
    return source, {name: replace(part, patients=known[name]) for name, part in splits.items()}


# --- what is odd about it -------------------------------------------------------------------------


def cautions(splits: dict[str, Split], classes: tuple[str, str]) -> list[str]:
    """What a reader must know before believing numbers from these splits, as Indonesian sentences:
    few images of a class, one class far rarer than the other, flat or equal images (notebook 02).
    """
    said = []
    for name, part in splits.items():
        counts = [int((part.labels == label).sum()) for label in (0, 1)]
        rare, n = int(np.argmin(counts)), len(part)
        if min(counts) < FEW:
            said.append(
                f"Split {name} hanya memuat {counts[rare]} citra kelas {classes[rare]}: "
                "angkanya sangat tidak pasti."
            )
        if max(counts) >= LOPSIDED * min(counts):
            ratio = indonesian.number(max(counts) / min(counts), 0)
            said.append(
                f"Di split {name} kelas {classes[rare]} berbanding 1:{ratio} "
                f"dengan kelas {classes[1 - rare]}: "
                "akurasi hampir tidak berarti di sana, bacalah AUC dan akurasi seimbang."
            )
        flat = int((part.images.min(axis=(1, 2)) == part.images.max(axis=(1, 2))).sum())
        if all(np.array_equal(image, part.images[0]) for image in part.images):
            said.append(
                f"Semua citra split {name} sama persis: tidak ada yang dapat dipelajari darinya."
            )
        elif flat > FLAT * n:
            said.append(
                f"{indonesian.number(flat, 0)} dari {indonesian.number(n, 0)} citra "
                f"split {name} berwarna rata."
            )
    return said


def enough(dataset: Dataset, n: int) -> None:
    """Refuse to divide the training and validation images into n folds when a class has fewer
    images (or patients) than that.

    Raises InputError that names the class and its number (notebook 04).
    """
    pool = [dataset.train, dataset.val]
    for label, name in enumerate(dataset.class_names_id):
        mine = [np.flatnonzero(part.labels == label) for part in pool]
        known = all(part.patients is not None for part in pool)
        count = sum(
            len(np.unique(part.patients[rows])) if known else len(rows)
            for part, rows in zip(pool, mine, strict=True)
        )
        if count < n:
            raise InputError(
                f"Kelas {name} hanya mempunyai {count} {'pasien' if known else 'citra'} "
                f"di split latih dan validasi, kurang dari {n} lipatan validasi silang: "
                "pakai PRESET=full atau tambahkan citra kelas itu."
            )


# --- the contract ---------------------------------------------------------------------------------


def _dataset(
    source: Source, classes: tuple[str, str], splits: dict[str, Split], extra: Split | None = None
) -> Dataset:
    held = splits if extra is None else splits | {"extra": extra}
    return Dataset(
        source=source,
        classes=classes,
        class_names_id=tuple(INDONESIAN.get(name, name) for name in classes),
        **splits,
        fingerprint=_fingerprint(source, held),
        counts={
            split: {name: int((part.labels == label).sum()) for label, name in enumerate(classes)}
            for split, part in splits.items()
        },
        overlap=_overlap(splits),
        extra=extra,
    )


def _fingerprint(source: Source, splits: dict[str, Split]) -> str:
    digest = hashlib.sha256(
        source.path.stem.encode() if (drawn := source.kind == "phantom") else b""
    )
    for name, part in splits.items():
        digest.update(f"{name}{part.images.shape}".encode())
        # another processor rounds some of its pixels otherwise
        for array in (part.rows if drawn else part.images, part.labels):
            digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()[:16]


def _overlap(splits: dict[str, Split]) -> dict[str, int]:
    digests = {
        name: [hashlib.sha256(image).digest() for image in part.images]
        for name, part in splits.items()
    }
    pairs = itertools.combinations(splits, 2)
    seen = {name: set(each) for name, each in digests.items()}
    return {f"{a}-{b}": sum(digest in seen[a] for digest in digests[b]) for a, b in pairs}


def subset(split: Split, n: int | None, seed: int) -> Split:
    """n images with the classes in the split's own proportion (at least one of each), in the
    split's order; None or n ≥ N: all.

    The same seed gives the same images; of the same seed, a smaller subset lies within a larger one
    up to the rounding of the proportion. Raises InputError when n < 2.
    """
    if n is None or n >= len(split):
        return split
    if n < 2:
        raise InputError(f"{n} citra tidak cukup untuk dua kelas: berikan sedikitnya 2.")
    positives = int((split.labels == 1).sum())
    wanted = min(max(round(n * positives / len(split)), 1), n - 1)
    chosen = []
    for label, count in ((0, n - wanted), (1, wanted)):
        candidates = np.flatnonzero(split.labels == label)
        chosen.append(np.random.default_rng([seed, label]).permutation(candidates)[:count])
    keep = np.sort(np.concatenate(chosen))
    truth = split.truth and {name: array[keep] for name, array in split.truth.items()}
    who = evaluation.among(split.patients, keep)
    return Split(split.images[keep], split.labels[keep], split.rows[keep], truth, who)


def take(
    dataset: Dataset, train: int | None, val: int | None, test: int | None, seed: int
) -> Dataset:
    """The data set with each split cut down by `subset`; fingerprint, counts and overlap are those
    of what is left.
    """
    sizes = {"train": train, "val": val, "test": test}
    if all(n is None or n >= len(getattr(dataset, name)) for name, n in sizes.items()):
        return dataset
    splits = {name: subset(getattr(dataset, name), n, seed) for name, n in sizes.items()}
    return _dataset(dataset.source, dataset.classes, splits, dataset.extra)


def with_splits(dataset: Dataset, **splits: Split) -> Dataset:
    """The data set with other splits (train=, val=, test=, extra=); fingerprint, counts and overlap
    follow.
    """
    extra = splits.pop("extra", dataset.extra)
    return _dataset(
        dataset.source,
        dataset.classes,
        {name: splits.get(name, getattr(dataset, name)) for name in SPLITS},
        extra,
    )


def to_tensor(images: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
    """uint8 (N, H, W) in 0…255 → float32 (N, 1, H, W) in −1…1 on `device`: (x/255 − 0.5)/0.5, the
    course's normalisation.
    """
    return (
        torch.from_numpy(np.array(images))
        .to(device)
        .float()
        .div(255)
        .sub(0.5)
        .div(0.5)
        .unsqueeze(1)
    )


def intensity(split: Split, bins: int = 32) -> dict:
    """Grey values of a split by class: {"edges": (bins + 1,) in 0…256, "pixels", "images": (2,
    bins), "auc", "brighter"} (notebook 02).

    "pixels" and "images" are the shares of a class's pixels, and of its images by their mean, in
    each bin; "auc" is the estimate of how well the mean alone tells the classes apart, "brighter"
    the label of the brighter class where its interval leaves out 0.5, else None.
    """
    edges = np.linspace(0, 256, bins + 1)

    def by_class(values: np.ndarray) -> list[np.ndarray]:
        counts = [np.histogram(values[split.labels == c], edges)[0] for c in (0, 1)]
        return [n / n.sum() for n in counts]

    brightness = split.images.mean(axis=(1, 2))
    auc = evaluation.metrics(brightness, split.labels, patients=split.patients)["auc"]
    return {
        "edges": edges,
        "pixels": by_class(split.images),
        "images": by_class(brightness),
        "auc": auc,
        "brighter": {"above": 1, "below": 0, "across": None}[evaluation.side(auc["ci95"], 0.5)],
    }


def describe(dataset: Dataset) -> list[tuple[str, str]]:
    """The contract as (label, value) lines in Indonesian: classes and their order, counts, image
    range, fingerprint, overlap.
    """
    splits = {name: getattr(dataset, name) for name in SPLITS}
    shown = zip(dataset.classes, dataset.class_names_id, strict=True)
    lines = [("Sumber data", dataset.source.title), ("Keterangan", dataset.source.note)]
    lines += [
        (f"Label {label}", f"{name_id} ({name})") for label, (name, name_id) in enumerate(shown)
    ]
    for split, part in splits.items():
        each = [
            f"{name} {indonesian.number(dataset.counts[split][key], 0)}"
            for key, name in zip(dataset.classes, dataset.class_names_id, strict=True)
        ]
        of = (
            "" if part.patients is None else f" dari {indonesian.number(part.n_patients, 0)} pasien"
        )
        lines.append(
            (f"Citra {split}", f"{indonesian.number(len(part), 0)}{of} ({', '.join(each)})")
        )
    low = min(int(part.images.min()) for part in splits.values())
    high = max(int(part.images.max()) for part in splits.values())
    lines.append(
        (
            "Ukuran dan rentang piksel",
            f"{dataset.source.size}×{dataset.source.size}, {low} sampai {high} (uint8)",
        )
    )
    lines.append(
        (
            "Citra identik antarsplit",
            ", ".join(f"{pair} {n}" for pair, n in dataset.overlap.items()),
        )
    )
    lines.append(("Sidik jari data", dataset.fingerprint))
    return lines


FOLDS = 5


def _pool(data: Dataset) -> dict[str, np.ndarray]:
    """Images, labels, rows and (where known) patients of the training and validation images
    together.
    """
    names = (
        "images",
        "labels",
        "rows",
        *(("patients",) if data.train.patients is not None else ()),
    )
    return {
        name: np.concatenate([getattr(data.train, name), getattr(data.val, name)]) for name in names
    }


def folds(data: Dataset, seed: int, n: int = FOLDS) -> list[Dataset]:
    """n data sets over the pooled training and validation images: stratified folds, one for
    validation each; test untouched.

    Where patients are known, all images of a patient are in one fold.
    """
    enough(data, n)
    pool = _pool(data)
    splitter = (StratifiedGroupKFold if "patients" in pool else StratifiedKFold)(
        n, shuffle=True, random_state=seed
    )
    made = []
    for train, val in splitter.split(pool["images"], pool["labels"], pool.get("patients")):
        parts = (
            Split(**{name: array[rows] for name, array in pool.items()}) for rows in (train, val)
        )
        made.append(with_splits(data, **dict(zip(("train", "val"), parts, strict=True))))
    return made
