"""The phantom as a data set: the splits of ChestMNIST with their ground truth and the files that
keep them, further test images, and patients drawn again with one thing changed.
"""

import io
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runtime import bar, keep_freed_memory
from phantom import anatomy, image
from phantom.anatomy import Arrays

VERSION = 2  # raise when the pixels change
BATCH = 16  # patients drawn together: the arrays of one step stay in the processor's cache
# What is known of each image, see generate.
TRUTH = tuple(
    "patient ctr side size tension tube flipped exposure heart lungs pneumothorax tube_mask".split()
)


def generate(seed: int, progress: bool = True) -> tuple[Arrays, Arrays]:
    """Draw the whole set: (arrays in the layout of ChestMNIST, ground truth).

    The arrays, for s in train, val, test: `s_images` (N,28,28) uint8, `s_labels` (N,14) uint8 in
    the order of anatomy.LABELS. The truth, row by row beside them: `s_patient` int32, equal for
    images of one patient; `s_ctr` float32, cardiothoracic ratio of the drawn anatomy; `s_side`
    int8, 0 no pneumothorax, 1 the patient's left (right of the image), 2 the patient's right;
    `s_size` float32, air as a share of the hemithorax's area; `s_tension`, `s_tube`, `s_flipped`
    bool (flipped: the written label contradicts the anatomy); `s_exposure` float32, 1 is nominal;
    masks `s_heart`, `s_lungs` (both hemithoraces, air included), `s_pneumothorax`, `s_tube_mask`
    (N,28,28) bool. The truth is for the analysis (notebook 03), never for training. Another seed
    draws other patients; the splits share none. Raises InputError unless seed is a whole number
    ≥ 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(
            f"Seed fantom {seed!r} tidak dapat dipakai: berikan bilangan bulat mulai dari 0."
        )
    splits = anatomy.SINGLE_LABEL
    total = sum(sum(counts) + anatomy.n_others(counts) for counts in splits.values())
    shown = bar(total, "Menggambar fantom toraks", unit="citra") if progress else nullcontext()
    arrays, truth = {}, {}
    with shown:
        for number, split in enumerate(splits):
            rng = np.random.default_rng([int(seed), number])
            people = anatomy.people_of(rng, split)
            images, facts = _draw(rng, people, shown.update if progress else lambda drawn: None)
            arrays |= {
                f"{split}_images": images,
                f"{split}_labels": people.written.astype(np.uint8),
            }
            facts["patient"] += number * 100_000  # no patient is in two splits
            truth |= {f"{split}_{name}": facts[name] for name in TRUTH}
    return arrays, truth


def more_test_images(
    n: int, seed: int = 0, number: int = len(anatomy.SINGLE_LABEL)
) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Further images of the two classes in the test split's proportion, each of a patient of its
    own, none of them in `generate`.

    Gives images (n,28,28) uint8, labels (n,) uint8 as written (1 pneumothorax) and their ground
    truth named as in TRUTH.
    """
    counts = anatomy.SINGLE_LABEL["test"]
    rare = round(n * counts[0] / sum(counts))
    rng = np.random.default_rng([seed, number])
    people = anatomy.two_classes(rng, (rare, n - rare), np.arange(n))[rng.permutation(n)]
    with bar(n, "Menggambar citra uji tambahan", unit="citra") as shown:
        images, facts = _draw(rng, people, shown.update)
    return images, people.written[:, anatomy.PNEUMOTHORAX].astype(np.uint8), facts


def explain(seed: int = 0) -> dict[str, np.ndarray | float]:
    """The steps from one further patient to an image (notebook 02): of sixteen with a pneumothorax
    the one whose air takes nearest to a third of its side.

    soft, lung (at its nominal density), bone: cm along the ray; transmitted: share of the beam;
    each (56,56) float. image (28,28) uint8; heart, lungs, pneumothorax (28,28) bool; flip_share: of
    the written labels, the part made wrong on purpose.
    """
    rng = np.random.default_rng([seed, len(anatomy.SINGLE_LABEL) + 1])
    people = anatomy.two_classes(rng, (0, BATCH), np.arange(BATCH))
    values = anatomy.values_of(rng, people)
    values = {name: value[:, None, None] for name, value in values.items()}
    rays = image.cast(rng, values)
    transmitted = rays.transmitted()
    images = image.detect(rng, transmitted, values)
    i = int(np.argmin(np.abs(rays.truth["size"] - 1 / 3)))
    steps = {
        "soft": _halved(rays.soft[i]).round(2),
        "lung": _halved(rays.density[i] * rays.lung[i]).round(2),
        "bone": _halved(rays.bone[i]).round(2),
        "transmitted": _halved(transmitted[i]).round(4),
        "image": images[i],
    }
    masks = {name: rays.truth[name][i] for name in ("heart", "lungs", "pneumothorax")}
    return {**steps, **masks, "flip_share": anatomy.FLIP_SHARE}


def _halved(field: np.ndarray) -> np.ndarray:
    """(112,112) float32 → the mean of every 2×2 fine pixels, (56,56) float64."""
    side = 2 * image.SIZE
    return field.reshape(side, 2, side, 2).mean(axis=(1, 3)).astype(np.float64)


def _draw(
    rng: np.random.Generator, people: anatomy.People, drawn: Callable[[int], object]
) -> tuple[np.ndarray, Arrays]:
    """Images (N,28,28) and truth named as in TRUTH; `drawn` is told the number of images of each
    batch.
    """
    # the fields of one batch take the place of the last one's: a third less time
    keep_freed_memory()
    values = anatomy.values_of(rng, people)
    images, masks = _images(rng, values, drawn)
    side = np.where(values["ptx"] > 0, np.where(values["ptx_side"] > 0, 1, 2), 0)
    truth = dict(
        patient=people.patient.copy(),
        flipped=people.flipped,
        ctr=values["ratio"],
        side=side.astype(np.int8),
        tension=values["tension"] > 0,
        tube=values["tube"] > 0,
        exposure=values["exposure"],
    )
    return images, truth | masks


def _images(
    rng: np.random.Generator, values: Arrays, drawn: Callable[[int], object]
) -> tuple[np.ndarray, Arrays]:
    """Images (N,28,28) of patients with these values (N,), and what image.Rays knows of each."""
    images, details = [], []
    for start in range(0, len(values["field"]), BATCH):
        batch = {name: v[start : start + BATCH, None, None] for name, v in values.items()}
        rays = image.cast(rng, batch)
        images.append(image.detect(rng, rays.transmitted(), batch))
        details.append(rays.truth)
        drawn(len(images[-1]))
    known = {name: np.concatenate([detail[name] for detail in details]) for name in details[0]}
    return np.concatenate(images), known


# ---------------------------------------------------------------- one patient, one thing changed


def patients(n: int, seed: int = 0) -> Arrays:
    """The values (anatomy.values_of) of n further patients for `redraw`: half with a large heart,
    half with a pneumothorax without tension, whose air alone can then be changed.
    """
    rng = np.random.default_rng([seed, len(anatomy.SINGLE_LABEL) + 2])
    people = anatomy.two_classes(rng, (n // 2, n - n // 2), np.arange(n))
    values = anatomy.values_of(rng, replace(people, flipped=np.zeros(n, bool)))
    return values | {name: np.zeros(n, np.float32) for name in ("tension", "push")}


def redraw(values: Arrays, **changed: float) -> np.ndarray:
    """Images (n,28,28) uint8 of the same patients with the same noise, some things changed in all.

    ratio: the cardiothoracic ratio; air: its share of the hemithorax's area, 0 none; side: of the
    air and the tube in it, 1 the patient's left, −1 the right; tube: 0 or 1; exposure: 1 is
    nominal.
    """
    names = {"air": "ptx_size", "side": "ptx_side"}
    given = {names.get(thing, thing): value for thing, value in changed.items()}
    if "air" in changed:
        given["ptx"] = changed["air"] > 0
    like = np.zeros_like(values["field"])
    values = values | {name: like + np.float32(value) for name, value in given.items()}
    values["tube_side"] = np.where(values["ptx"], values["ptx_side"], values["tube_side"])
    return _images(np.random.default_rng(0), values, lambda drawn: None)[0]


# ---------------------------------------------------------------- the files


def ensure(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Paths of the phantom and of its ground truth under `folder`, drawn the first time (some
    seconds) and kept.

    The same seed gives the same bytes on the pinned versions. A damaged file is noticed and drawn
    again. Raises InputError when the folder cannot be written.
    """
    folder = Path(folder)
    images, truth = (folder / f"phantom-v{VERSION}-s{seed}{end}.npz" for end in ("", "-truth"))
    if _is_whole(images, ("images", "labels")) and _is_whole(truth, TRUTH):
        return images, truth
    arrays, facts = generate(seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write(truth, facts)
        _write(images, arrays)
    except OSError as error:
        raise InputError(
            f"Fantom tidak dapat disimpan di {folder} ({error.strerror}): "
            "periksa izin tulis dan ruang disk."
        ) from error
    return images, truth


def _write(path: Path, arrays: Arrays) -> None:
    """An .npz with fixed timestamps and no compression: equal arrays, equal bytes. The old file
    stays until it is whole.
    """
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, value in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(value), allow_pickle=False)
    files.write(path, content.getvalue())


def _is_whole(path: Path, kinds: tuple[str, ...]) -> bool:
    """Whether the file has one array of each kind per split, and each passes its checksum."""
    wanted = {f"{split}_{kind}.npy" for split in anatomy.SINGLE_LABEL for kind in kinds}
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) == wanted and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError):
        return False
