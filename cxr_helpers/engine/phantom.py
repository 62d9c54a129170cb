"""A drawn stand-in for ChestMNIST: 28×28 frontal chest radiographs from a small physical model (notebook 02 shows them).

Made so that the whole course runs without a network. It is no clinical data and supports no clinical conclusion.
Here: who is drawn (labels, then the values of each patient) and the files; anatomy.py says how a patient becomes a picture.

Sources
  Cardiothoracic ratio and its threshold of 0.50: Danzer, The cardiothoracic ratio, Am J Med Sci 157 (1919).
  Chest tubes as a shortcut to the label: Oakden-Rayner et al., Hidden stratification causes clinically meaningful failures
    in machine learning for medical imaging, ACM CHIL 2020.
  Labels mined from text and their errors: Wang et al., ChestX-ray8, CVPR 2017; Oakden-Rayner, Exploring large-scale public
    medical image datasets, Academic Radiology 27 (2020).
  Layout, label order: Yang et al., MedMNIST v2, Scientific Data 10 (2023).
The spreads of size, shape and position are our choice, calibrated by bench/phantom_calibration.py.
"""

import io
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from cxr_helpers.engine import anatomy, files
from cxr_helpers.engine.anatomy import Arrays
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.progress import bar
from cxr_helpers.engine.runtime import keep_freed_memory

VERSION = 1  # raise when the pixels change
LABELS = (
    "atelectasis",
    "cardiomegaly",
    "effusion",
    "infiltration",
    "mass",
    "nodule",
    "pneumonia",
    "pneumothorax",
    "consolidation",
    "edema",
    "emphysema",
    "fibrosis",
    "pleural",
    "hernia",
)
CARDIOMEGALY, PNEUMOTHORAX = LABELS.index("cardiomegaly"), LABELS.index("pneumothorax")

# Images whose only label, as written, is (cardiomegaly, pneumothorax): the counts of the course.
SINGLE_LABEL = {"train": (754, 1552), "val": (97, 208), "test": (242, 434)}
EXTRA_SHARE = 1 / 3  # further images, relative to the above: no finding, one other finding, several findings
FLIP_SHARE = 0.08  # written labels of the two classes that the anatomy contradicts

# What is known of each image, see generate.
TRUTH = tuple("ctr side size tension tube flipped exposure heart lungs pneumothorax tube_mask".split())

SIZE = anatomy.SIZE  # pixels along each side of an image
BATCH = 16  # patients drawn together: the arrays of one step stay in the processor's cache

# Finding, thickness of the shadow in cm, its radius in cm, and the sharpness of its edge (1 a Gaussian, 8 a disc).
SHADOWS = (
    ("infiltration", (1.5, 4), (2.5, 5), (1, 1)),
    ("infiltration", (1, 3), (2, 4), (1, 1)),
    ("consolidation", (5, 9), (2.5, 4.5), (2, 3)),
    ("pneumonia", (3, 7), (2, 4), (1, 2)),
    ("mass", (4, 8), (1.8, 3), (5, 8)),
    ("nodule", (2.5, 4), (0.8, 1.4), (5, 8)),
)


# ---------------------------------------------------------------- who is drawn


def _written_labels(rng: np.random.Generator, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels (N,14) as written, findings (N,14) as drawn, flipped (N,), all bool, in shuffled order."""
    blocks, flipped = [], []
    for label, count in zip((CARDIOMEGALY, PNEUMOTHORAX), SINGLE_LABEL[split], strict=True):
        block = np.zeros((count, len(LABELS)), bool)
        block[:, label] = True
        blocks.append(block)
        flipped.append(np.arange(count) < round(FLIP_SHARE * count))
    extra = round(EXTRA_SHARE * sum(SINGLE_LABEL[split]))
    block = np.zeros((extra, len(LABELS)), bool)
    others = [i for i in range(len(LABELS)) if i not in (CARDIOMEGALY, PNEUMOTHORAX)]
    for row, kind in zip(block, rng.choice(3, extra, p=(0.45, 0.3, 0.25)), strict=True):
        if kind == 1:
            row[rng.choice(others)] = True
        elif kind == 2:
            row[rng.choice(len(LABELS), rng.integers(2, 4), replace=False)] = True
    order = rng.permutation(sum(SINGLE_LABEL[split]) + extra)
    written = np.concatenate([*blocks, block])[order]
    wrong = np.concatenate([*flipped, np.zeros(extra, bool)])[order]
    drawn = written.copy()
    drawn[wrong, CARDIOMEGALY] = written[wrong, PNEUMOTHORAX]
    drawn[wrong, PNEUMOTHORAX] = written[wrong, CARDIOMEGALY]
    return written, drawn, wrong


class _Sampler:
    """Random values, one per patient: (N,) float64, or bool for chance."""

    def __init__(self, rng: np.random.Generator, n: int):
        self.rng, self.n = rng, n

    def spread(self, mean, sd, low=-np.inf, high=np.inf):
        """Normal, clipped to low … high."""
        return np.clip(mean + sd * self.rng.standard_normal(self.n), low, high)

    def uniform(self, low, high):
        return self.rng.uniform(low, high, self.n)

    def chance(self, share):
        return self.rng.random(self.n) < share

    def side(self):
        """+1 the right of the image, the patient's left; −1 the other."""
        return np.where(self.chance(0.5), 1, -1)


def _patients(rng: np.random.Generator, findings: np.ndarray) -> Arrays:
    """One value per patient for everything the drawing needs: float32 (N,), lengths in cm. findings: (N,14) bool.

    The order of the parts is the order of the random numbers: another order is another phantom.
    """
    sample = _Sampler(rng, len(findings))
    has = {name: findings[:, i] for i, name in enumerate(LABELS)}
    size = sample.spread(1, 0.06, 0.8, 1.2)  # of the skeleton, 1 = 28 cm across the inner rib cage
    ap = sample.chance(np.where(has["pneumothorax"], 0.45, 0.35))  # bedside films: less breath, arms down, magnified heart
    p = _position(sample) | _trunk(sample, has, size, ap) | _heart(sample, has, ap) | _lungs(sample, has)
    p |= _pneumothorax(sample, has, ap) | _other_findings(sample, has) | _devices(sample, has, ap) | _film(sample)
    p |= _tension_and_tube(sample, has, p)
    p |= _shadows(sample, has)
    return {name: value.astype(np.float32) for name, value in p.items()}


def _position(sample: _Sampler) -> Arrays:
    """Of the patient on the detector: the field's side and shifts in cm, tilt in radians."""
    return dict(
        field=36 * sample.spread(1, 0.09, 0.82, 1.25),
        shift_x=sample.spread(0, 2, -4.5, 4.5),
        shift_y=sample.spread(2, 2, -2.5, 6.5),
        tilt=np.deg2rad(sample.spread(0, 4, -10, 10)),
    )


def _trunk(sample: _Sampler, has: Arrays, size: np.ndarray, ap: np.ndarray) -> Arrays:
    """Rib cage, diaphragm and soft tissue, in cm; heights are y, downwards from between apex and diaphragm."""
    return dict(
        half_width=14 * size * sample.spread(1, 0.05, 0.85, 1.15),
        depth=15 * size * sample.spread(1, 0.1, 0.75, 1.25),
        fat=np.exp(sample.spread(0.5, 0.5, -0.7, 1.7)),
        apex=-12.5 * size,
        dome_right=size * (8.5 + sample.spread(0, 1.2, -3, 2.5) - 1.2 * ap + 1.2 * has["emphysema"] - 1.0 * has["fibrosis"]),
        dome_lower_left=sample.spread(1.1, 0.6, -0.5, 2.5),
        dome_height=sample.uniform(4, 6.5) * np.where(has["emphysema"], 0.5, 1),
        shoulder=sample.spread(-11, 0.8) * size,
        rotation=sample.spread(0, 0.8, -2, 2),  # cm by which turning the patient moves the mediastinum off the spine
        breast=np.where(sample.chance(0.45), sample.uniform(0.5, 4), 0),
        breast_y=sample.uniform(2, 7),
        arms=ap & sample.chance(0.6),
    )


def _heart(sample: _Sampler, has: Arrays, ap: np.ndarray) -> Arrays:
    """Heart and mediastinum. ratio: the cardiothoracic ratio; Danzer's threshold separates the classes on average only."""
    large, normal = sample.spread(0.59, 0.05, 0.47, 0.75), sample.spread(0.465, 0.045, 0.34, 0.58)
    return dict(
        ratio=np.where(has["cardiomegaly"], large, normal) + 0.02 * ap,
        heart_tilt=np.deg2rad(sample.uniform(15, 45)),
        heart_slim=sample.uniform(0.68, 0.85),
        heart_left=sample.spread(0.15, 0.03, 0.08, 0.22),  # centre of the heart left of the midline, in heart widths
        knob=sample.uniform(0.5, 2.2),
        mediastinum=sample.spread(2.4, 0.35, 1.7, 3.4),
    )


def _lungs(sample: _Sampler, has: Arrays) -> Arrays:
    """Density of the lung (1 is nominal), contrast of its markings, thickness of hilum and haze in cm."""
    return dict(
        lung=sample.spread(1, 0.12, 0.7, 1.35) * np.where(has["emphysema"], 0.7, 1),
        markings=sample.uniform(0.1, 0.3) + 0.25 * (has["fibrosis"] | has["edema"]),
        hilum=sample.uniform(0.6, 1.6) + 1.2 * has["edema"],
        haze=np.where(
            has["edema"],
            sample.uniform(1.5, 4),
            np.where(has["cardiomegaly"] & sample.chance(0.3), sample.uniform(0, 1.5), 0),
        ),
    )


def _pneumothorax(sample: _Sampler, has: Arrays, ap: np.ndarray) -> Arrays:
    ptx = has["pneumothorax"]
    return dict(
        ptx=ptx,
        ptx_side=sample.side(),
        ptx_size=np.where(ptx, 0.12 + 0.7 * sample.rng.beta(1.6, 2.6, sample.n), 0),  # share of the hemithorax
        ptx_apical=np.where(ap, sample.uniform(-0.25, 0.3), sample.uniform(0.2, 0.8)),  # upright, the air rises to the apex
        ptx_depth=sample.uniform(0.85, 1),  # share of the depth that is air where the lung has gone
    )


def _other_findings(sample: _Sampler, has: Arrays) -> Arrays:
    """Thickness or radius of each finding in cm, 0 where the patient has none, and gas in stomach and bowel."""
    return dict(
        effusion=np.where(has["effusion"], sample.uniform(2.5, 8), np.where(sample.chance(0.12), sample.uniform(0.3, 1.5), 0)),
        effusion_side=sample.side(),
        pleural=np.where(has["pleural"], sample.uniform(0.8, 2.5), 0),
        fibrosis=has["fibrosis"],
        plate=np.where(has["atelectasis"], sample.uniform(1, 3), 0),
        plate_side=sample.side(),
        plate_y=sample.uniform(2, 6),
        hernia=np.where(has["hernia"], sample.uniform(1.8, 3.5), 0),
        stomach=np.where(sample.chance(0.55), sample.uniform(0.8, 2.6), 0),
        stomach_x=sample.uniform(3.5, 8),
        bowel=sample.uniform(-1.5, 1.5),
    )


def _devices(sample: _Sampler, has: Arrays, ap: np.ndarray) -> Arrays:
    """What lies in or on the patient; whether there is a tube, see _tension_and_tube."""
    return dict(
        tube_end=sample.uniform(0.1, 0.45),
        tube_bend=sample.uniform(-2.5, 2.5),
        line=sample.chance(0.15 + 0.2 * ap),
        leads=sample.chance(0.1 + 0.35 * ap),
        lead_x=sample.uniform(-6, 6),
        lead_slope=sample.uniform(-0.5, 0.5),
        pacemaker=sample.chance(np.where(has["cardiomegaly"], 0.08, 0.03)),
        marker=np.where(sample.chance(0.5), sample.side(), 0),
    )


def _film(sample: _Sampler) -> Arrays:
    """Detector and display: exposure and scatter as shares, the window, the collimator's leaves in pixels."""
    return dict(
        exposure=np.exp(sample.spread(0, 0.3, -0.8, 0.8)),
        scatter=sample.uniform(0.1, 0.35),
        level=sample.spread(0, 0.07, -0.2, 0.2),
        width=np.exp(sample.spread(0, 0.13, -0.35, 0.35)),
        gamma=np.exp(sample.spread(0, 0.2, -0.5, 0.5)),
        **{f"crop_{e}": np.where(sample.chance(0.15), sample.uniform(0.5, 3), 0) for e in ("left", "right", "top", "bottom")},
    )


def _tension_and_tube(sample: _Sampler, has: Arrays, p: Arrays) -> Arrays:
    """What follows from a pneumothorax or an effusion. push: cm by which tension moves the mediastinum."""
    ptx = has["pneumothorax"]
    tension = ptx & (p["ptx_size"] > 0.15) & sample.chance(0.3)
    return dict(
        tension=tension,
        push=tension * sample.uniform(1, 3.5),
        # The shortcut: most tubes lie in a pneumothorax, some drain an effusion or were left in place.
        tube=sample.chance(np.where(ptx, 0.4, np.where(has["effusion"], 0.25, 0.06))),
        tube_side=np.where(ptx, p["ptx_side"], p["effusion_side"]),
    )


def _shadows(sample: _Sampler, has: Arrays) -> Arrays:
    """spot0, spot1, …: thickness (cm) of each round shadow of SHADOWS, 0 where the patient has none, and its shape."""
    p = {}
    for k, (name, thickness, radius, edge) in enumerate(SHADOWS):
        p |= {
            f"spot{k}": np.where(has[name], sample.uniform(*thickness), 0),
            f"spot{k}_radius": sample.uniform(*radius),
            f"spot{k}_edge": sample.uniform(*edge),
            f"spot{k}_x": sample.side() * sample.uniform(4.5, 10),
            f"spot{k}_y": sample.uniform(-8, 6),
        }
    return p


# ---------------------------------------------------------------- what is handed out


def generate(seed: int, progress: bool = True) -> tuple[Arrays, Arrays]:
    """Draw the whole set: (arrays in the layout of ChestMNIST, ground truth).

    The arrays, for s in train, val, test: `s_images` (N,28,28) uint8, `s_labels` (N,14) uint8 in the order of LABELS.
    The truth, row by row beside them: `s_ctr` float32, cardiothoracic ratio of the drawn anatomy; `s_side` int8, 0 no
    pneumothorax, 1 the patient's left (right of the image), 2 the patient's right (left of the image); `s_size` float32, air as
    a share of the hemithorax's area; `s_tension`, `s_tube`, `s_flipped` bool (flipped: the written label contradicts the
    anatomy); `s_exposure` float32, 1 is nominal; masks `s_heart`, `s_lungs` (both hemithoraces, air included),
    `s_pneumothorax`, `s_tube_mask` (N,28,28) bool. The truth is for the analysis (notebook 03), never for training.
    Another seed draws other patients; the splits share none. Raises InputError unless seed is a whole number ≥ 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(f"Seed fantom {seed!r} tidak dapat dipakai: berikan bilangan bulat mulai dari 0.")
    keep_freed_memory()  # the fields of one batch take the place of the last one's: a third less time
    arrays, truth = {}, {}
    total = sum(sum(counts) + round(EXTRA_SHARE * sum(counts)) for counts in SINGLE_LABEL.values())
    with bar(total, "Menggambar fantom toraks", unit="citra") if progress else nullcontext() as shown:
        for number, split in enumerate(SINGLE_LABEL):
            rng = np.random.default_rng([int(seed), number])
            images, labels, facts = _split(rng, split, shown.update if progress else lambda drawn: None)
            arrays |= {f"{split}_images": images, f"{split}_labels": labels}
            truth |= {f"{split}_{name}": facts[name] for name in TRUTH}
    return arrays, truth


def _split(rng: np.random.Generator, split: str, drawn: Callable[[int], object]) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Images, labels and truth of one split, named as in TRUTH; `drawn` hears of each batch how many images it has."""
    written, findings, flipped = _written_labels(rng, split)
    values = _patients(rng, findings)
    images, details = [], []
    for start in range(0, len(written), BATCH):
        picture, detail = anatomy.draw(rng, {name: value[start : start + BATCH, None, None] for name, value in values.items()})
        images.append(picture)
        details.append(detail)
        drawn(len(picture))
    side = np.where(values["ptx"] > 0, np.where(values["ptx_side"] > 0, 1, 2), 0).astype(np.int8)
    facts = dict(ctr=values["ratio"], side=side, tension=values["tension"] > 0, tube=values["tube"] > 0)
    facts |= dict(flipped=flipped, exposure=values["exposure"])
    facts |= {name: np.concatenate([d[name] for d in details]) for name in details[0]}
    return np.concatenate(images), written.astype(np.uint8), facts


def _write(path: Path, arrays: Arrays) -> None:
    """An .npz with fixed timestamps and no compression: equal arrays, equal bytes. The old file stays until it is whole."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, value in arrays.items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            with archive.open(entry, "w") as member:
                np.lib.format.write_array(member, np.ascontiguousarray(value), allow_pickle=False)
    files.write(path, content.getvalue())


def _whole(path: Path, kinds: tuple[str, ...]) -> bool:
    """Whether the file is there with one array of each kind per split, and each passes its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = {f"{split}_{kind}.npy" for split in SINGLE_LABEL for kind in kinds}
            return set(archive.namelist()) == wanted and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError):
        return False


def ensure(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Paths of the phantom and of its ground truth under `folder`, drawn the first time (some seconds) and kept.

    The same seed gives the same bytes on the pinned versions. A damaged file is noticed and drawn again.
    Raises InputError when the folder cannot be written.
    """
    folder = Path(folder)
    images, truth = (folder / f"phantom-v{VERSION}-s{seed}{end}.npz" for end in ("", "-truth"))
    if not (_whole(images, ("images", "labels")) and _whole(truth, TRUTH)):
        arrays, facts = generate(seed)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write(truth, facts)
            _write(images, arrays)
        except OSError as error:
            raise InputError(
                f"Fantom tidak dapat disimpan di {folder} ({error.strerror}): periksa izin tulis dan ruang disk."
            ) from error
    return images, truth
