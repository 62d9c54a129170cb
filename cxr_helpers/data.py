"""Two classes of a MedMNIST file as arrays: images, labels, splits, folds (notebook 02).

Which file it is, engine/sources.py decides. MedMNIST: Yang et al., Scientific Data 10:41 (2023).
"""

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cxr_helpers import evaluation
from cxr_helpers.engine import npz
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import number
from cxr_helpers.engine.npz import LUMINANCE, SPLITS, check_layout, headers, one_line
from cxr_helpers.engine.sources import Source

DEFAULT_CLASSES = "cardiomegaly,pneumothorax"
UNKNOWN_PATIENTS = (
    "Susunan labelnya berbeda dari daftar pasien ChestX-ray14, sehingga pasiennya tidak diketahui "
    "dan setiap citra dianggap berasal dari pasien yang berlainan."
)
FOLDS = 5
FEW = 10  # images of a class in a split
LOPSIDED = 20  # images of one class for each of the other
FLAT = 0.01  # share of a split's images that hold a single grey value
INDONESIAN = {  # of ChestMNIST and PneumoniaMNIST; others are shown as their file writes them
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
}


@dataclass(frozen=True)
class Split:
    """images (N, H, W) uint8; labels (N,) uint8 in {0, 1}; rows (N,) int64, the images' place in
    the file's split; truth: the phantom's {name: (N, …)}, or None, for analysis alone; patients:
    (N,) int64, or None where each image counts as a patient of its own.
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

    def at(self, rows: np.ndarray) -> "Split":
        """Some of the images, by their numbers in this split."""
        truth = self.truth and {name: array[rows] for name, array in self.truth.items()}
        patients = evaluation.among(self.patients, rows)
        return Split(self.images[rows], self.labels[rows], self.rows[rows], truth, patients)


@dataclass(frozen=True)
class Dataset:
    """Two classes of one source, as MedMNIST writes them: label 0 is classes[0], label 1 is
    classes[1]. extra: further test images, which the phantom can draw at will, or None.
    """

    source: Source
    classes: tuple[str, str]
    train: Split
    val: Split
    test: Split
    extra: Split | None = None

    @property
    def splits(self) -> dict[str, Split]:
        """Train, val and test by name."""
        return {name: getattr(self, name) for name in SPLITS}

    @property
    def class_names_id(self) -> tuple[str, str]:
        """The classes for display."""
        return tuple(INDONESIAN.get(name, name) for name in self.classes)

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """{split: {class: number of images}}."""
        return {
            split: {name: int((part.labels == i).sum()) for i, name in enumerate(self.classes)}
            for split, part in self.splits.items()
        }

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of SHA-256 over images and labels; of the phantom over rows and
        labels, since another processor rounds some of its pixels otherwise.
        """
        drawn = self.source.kind == "phantom"
        digest = hashlib.sha256(self.source.path.stem.encode() if drawn else b"")
        extra = {} if self.extra is None else {"extra": self.extra}
        for name, part in (self.splits | extra).items():
            digest.update(f"{name}{part.images.shape}".encode())
            for array in (part.rows if drawn else part.images, part.labels):
                digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()[:16]

    @cached_property
    def overlap(self) -> dict[str, int]:
        """{"train-val": n, …}: images of the second split that are in the first, too."""
        shared = {}
        for (one, first), (other, second) in itertools.combinations(self.splits.items(), 2):
            there = {image.tobytes() for image in first.images}
            shared[f"{one}-{other}"] = sum(image.tobytes() in there for image in second.images)
        return shared


# --- reading it -----------------------------------------------------------------------------------


def load(source: Source, classes: str = "auto") -> Dataset:
    """Read two classes of `source`, every split, in the file's order; colour becomes grey. classes:
    two names as the file or MedMNIST writes them, any case, separated by a comma; the first becomes
    label 0. "auto": the course's two for ChestMNIST, both of a set that has two. Images whose ONLY
    label is one of the two are kept. `cautions` are added to the source's note. Raises InputError.
    """
    check_layout(source.path, source.flag, source.size)
    names, pair = _pair(source, str(classes).lower())
    chosen = names[pair[0]], names[pair[1]]
    with one_line(source.path):
        splits = {name: _read_split(source, name, names, pair) for name in SPLITS}
    if source.kind == "phantom":
        splits = {name: _with_truth(source, name, part) for name, part in splits.items()}
        return Dataset(source, chosen, **splits)
    return _of_people(source, chosen, splits)


def _of_people(source: Source, chosen: tuple[str, str], splits: dict[str, Split]) -> Dataset:
    """Real images, with their patients where they are known, and with what is to be said."""
    said = cautions(splits, chosen)
    if source.flag == "chestmnist" and set(chosen) == set(DEFAULT_CLASSES.split(",")):
        swapped = ",".join(chosen) != DEFAULT_CLASSES
        listed = {name: (part.rows, part.labels ^ swapped) for name, part in splits.items()}
        patients = npz.patients_of(listed)
        if patients is None:
            said = [UNKNOWN_PATIENTS, *said]
        else:
            splits = {name: replace(part, patients=patients[name]) for name, part in splits.items()}
    new = [sentence for sentence in said if sentence not in source.note]  # a study passes it on
    return Dataset(replace(source, note=" ".join([source.note, *new])), chosen, **splits)


def _pair(source: Source, classes: str) -> tuple[list[str], tuple[int, int]]:
    """The names of the file's classes, and the places there of label 0 and label 1."""
    names = list(source.class_names)
    if classes == "auto" and len(names) == 2:
        return names, (0, 1)
    wanted = DEFAULT_CLASSES if classes == "auto" and source.flag == "chestmnist" else classes
    if not source.flag and len(names) == 2 and all(name.lstrip("-").isdigit() for name in names):
        # Bare numbers take the two names given, in ascending order.
        given = [word.strip() for word in wanted.split(",")]
        if len(given) == len({*given} - {"", *names}) == 2:
            return given, (0, 1)
    for pair in itertools.permutations(range(len(names)), 2):  # a name may itself hold a comma
        written = ",".join(names[place] for place in pair).lower()
        if written.replace(" ", "") == wanted.replace(" ", ""):
            return names, pair
    raise InputError(
        f"CLASSES={classes} tidak memilih dua dari {len(names)} kelas {source.title}: "
        f"berikan dua kelas yang berbeda, dipisahkan koma. Kelas yang ada: {'; '.join(names)}."
    )


def _read_split(source: Source, split: str, names: list[str], pair: tuple[int, int]) -> Split:
    if source.flag:
        labels = npz.read(source.path, f"{split}_labels")[0]
    else:
        labels = npz.own_labels(source.path)[2][split]
    if not source.many_labels:
        labels = labels.reshape(-1, 1) == np.arange(len(names))
    single = labels.sum(axis=1) == 1
    members = [single & (labels[:, place] == 1) for place in pair]
    for place, member in zip(pair, members, strict=True):
        if not member.any():
            raise InputError(
                f"Tidak ada citra berlabel {names[place]} saja di bagian {split} "
                f"pada {source.path}: pilih kelas lain."
            )
    rows = np.flatnonzero(members[0] | members[1]).astype(np.int64)
    if npz.is_large(headers(source.path)["train_images"][0]):
        images = npz.rows(source.path, f"{split}_images", rows)
    else:
        images = npz.read(source.path, f"{split}_images")[0][rows]
    return Split(grey(images), members[1][rows].astype(np.uint8), rows)


def grey(images: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W[, 1 or 3]) → uint8 (N, H, W), in C order."""
    if images.ndim == 3 or images.shape[3] == 1:
        return np.ascontiguousarray(images.reshape(images.shape[:3]))
    weights = np.array(LUMINANCE, np.uint32)
    # Whole numbers round alike on every machine; one image at a time, since they take 32 bits.
    shades = [(image.astype(np.uint32) @ weights + 500) // 1000 for image in images]
    return np.array(shades).astype(np.uint8)


def _with_truth(source: Source, split: str, part: Split) -> Split:
    """A split of the phantom with its ground truth and its patients."""
    with one_line(source.truth), np.load(source.truth, allow_pickle=False) as arrays:
        names = [name for name in arrays if name.startswith(f"{split}_")]
        truth = {name.removeprefix(f"{split}_"): arrays[name][part.rows] for name in names}
    return replace(part, truth=truth, patients=truth["patient"].astype(np.int64))


def cautions(splits: dict[str, Split], classes: Sequence[str]) -> list[str]:
    """What a reader must know of these splits, as Indonesian sentences (notebook 02)."""
    said = []
    for name, part in splits.items():
        counts = np.bincount(part.labels, minlength=2)
        rare = int(counts.argmin())
        few = f"Bagian {name} hanya memuat {counts.min()} citra kelas {classes[rare]}"
        if counts.min() < FEW:
            said.append(f"{few}: angkanya sangat tidak pasti.")
        if counts.max() >= LOPSIDED * counts.min():
            ratio = number(counts.max() / counts.min(), 0)
            cure = "akurasi hampir tidak berarti di sana, bacalah AUC dan akurasi seimbang"
            said.append(f"{few}, 1:{ratio} terhadap kelas yang lain: {cure}.")
        flat = (part.images.min(axis=(1, 2)) == part.images.max(axis=(1, 2))).sum()
        if flat > FLAT * len(part):
            of = f"{number(flat, 0)} dari {number(len(part), 0)}"
            said.append(f"{of} citra bagian {name} berwarna rata.")
    return said


# --- parts of it ----------------------------------------------------------------------------------


def subset(split: Split, n: int | None, seed: int) -> Split:
    """n images with the classes in the split's own proportion (at least one of each), in the
    split's order; None or n ≥ N: all. Of the same seed, a smaller subset lies within a larger one
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
    return split.at(np.sort(np.concatenate(chosen)))


def take(
    dataset: Dataset, train: int | None, val: int | None, test: int | None, seed: int
) -> Dataset:
    """The data set with each split cut down by `subset`."""
    sizes = zip(dataset.splits.items(), (train, val, test), strict=True)
    return replace(dataset, **{name: subset(part, n, seed) for (name, part), n in sizes})


def pool(dataset: Dataset) -> Split:
    """The training and validation images as one split, without the phantom's truth."""
    parts, joined = (dataset.train, dataset.val), {}
    for name in ("images", "labels", "rows", "patients"):
        if getattr(dataset.train, name) is not None:
            joined[name] = np.concatenate([getattr(part, name) for part in parts])
    return Split(**joined)


def folds(dataset: Dataset, seed: int, n: int = FOLDS) -> list[Dataset]:
    """n data sets over the pooled training and validation images: stratified folds, one for
    validation each, all images of a patient in the same one; test untouched. Raises InputError
    where a class has fewer patients (or images) than there are folds.
    """
    whole = pool(dataset)
    known = whole.patients is not None
    who = whole.patients if known else np.arange(len(whole))
    for label, name in enumerate(dataset.class_names_id):
        count = len(np.unique(who[whole.labels == label]))
        if count < n:
            raise InputError(
                f"Kelas {name} hanya mempunyai {count} {'pasien' if known else 'citra'} "
                f"di bagian latih dan validasi, kurang dari {n} lipatan validasi silang: "
                "pakai PRESET=full atau tambahkan citra kelas itu."
            )
    kind = StratifiedGroupKFold if known else StratifiedKFold
    places = kind(n, shuffle=True, random_state=seed).split(who, whole.labels, whole.patients)
    return [replace(dataset, train=whole.at(train), val=whole.at(val)) for train, val in places]


def to_tensor(images: np.ndarray, device: str | torch.device = "cpu") -> torch.Tensor:
    """uint8 (N, H, W) → float32 (N, 1, H, W) in −1…1, the course's normalisation, on `device`."""
    shares = torch.from_numpy(np.array(images)).to(device).float().div(255)
    return shares.sub(0.5).div(0.5).unsqueeze(1)
