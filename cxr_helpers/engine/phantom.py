"""A drawn stand-in for ChestMNIST: 28×28 frontal chest radiographs from a small physical model
(notebook 02 shows them).

Made so that the whole course runs without a network. It is no clinical data and supports no
clinical conclusion. Here: who is drawn (labels, then the values of each patient) and the files;
anatomy.py says how a patient becomes a picture.

Sources
  Cardiothoracic ratio and its threshold of 0.50: Danzer, The cardiothoracic ratio, Am J Med Sci 157
    (1919).
  Chest tubes as a shortcut to the label: Oakden-Rayner et al., Hidden stratification causes
    clinically meaningful failures in machine learning for medical imaging, ACM CHIL 2020.
  Labels mined from text and their errors: Wang et al., ChestX-ray8, CVPR 2017; Oakden-Rayner,
    Exploring large-scale public medical image datasets, Academic Radiology 27 (2020).
  Layout, label order: Yang et al., MedMNIST v2, Scientific Data 10 (2023).
  Images a patient has: those of ChestX-ray14's two classes, patients.py. Of a patient the anatomy
    stays; breath, position, exposure and the amount of air are another image's own.
The spreads of size, shape and position are our choice, calibrated by bench/phantom_calibration.py:
as hard as the real pair is for networks of this size.
"""

import io
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cxr_helpers.engine import anatomy, files, npz
from cxr_helpers.engine.anatomy import Arrays
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runtime import bar, keep_freed_memory

VERSION = 2  # raise when the pixels change
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
SINGLE_LABEL = {"train": (754, 1552), "val": (97, 208), "test": (243, 439)}
# further images, relative to the above: no finding, one other finding, several findings
EXTRA_SHARE = 1 / 3
FLIP_SHARE = 0.035  # written labels of the two classes that the anatomy contradicts

# What is known of each image, see generate.
TRUTH = tuple(
    "patient ctr side size tension tube flipped exposure heart lungs pneumothorax tube_mask".split()
)

# Where the classes overlap: cardiothoracic ratio (means, SD), air as a share of the hemithorax's
# area, and of the ray's way.
LARGE, NORMAL, HEART_SPREAD = 0.58, 0.47, 0.047
AIR_LEAST, AIR_SPAN, AIR_BETA = 0.06, 0.62, (1.2, 3.0)
SUPINE_DEPTH, UPRIGHT_DEPTH = (0.35, 0.8), (0.8, 1)

SIZE = anatomy.SIZE  # pixels along each side of an image
BATCH = 16  # patients drawn together: the arrays of one step stay in the processor's cache

# Finding, thickness of the shadow in cm, its radius in cm, and the sharpness of its edge (1 a
# Gaussian, 8 a disc).
SHADOWS = (
    ("infiltration", (1.5, 4), (2.5, 5), (1, 1)),
    ("infiltration", (1, 3), (2, 4), (1, 1)),
    ("consolidation", (5, 9), (2.5, 4.5), (2, 3)),
    ("pneumonia", (3, 7), (2, 4), (1, 2)),
    ("mass", (4, 8), (1.8, 3), (5, 8)),
    ("nodule", (2.5, 4), (0.8, 1.4), (5, 8)),
)


# ---------------------------------------------------------------- who is drawn


@dataclass(frozen=True)
class People:
    """written: labels (N,14) bool; flipped: (N,) bool, the anatomy contradicts the label; patient:
    (N,) int32, from 0.
    """

    written: np.ndarray
    flipped: np.ndarray
    patient: np.ndarray

    def findings(self) -> np.ndarray:
        """What is drawn, (N,14) bool: of a flipped image the other of the two labels."""
        drawn = self.written.copy()
        drawn[self.flipped, CARDIOMEGALY] = self.written[self.flipped, PNEUMOTHORAX]
        drawn[self.flipped, PNEUMOTHORAX] = self.written[self.flipped, CARDIOMEGALY]
        return drawn

    def __getitem__(self, rows: np.ndarray) -> "People":
        return People(self.written[rows], self.flipped[rows], self.patient[rows])


def _two_classes(rng: np.random.Generator, counts: tuple[int, int], patient: np.ndarray) -> People:
    """Images with one label only: first those of cardiomegaly, then those of pneumothorax; patient:
    any numbers (N,).
    """
    written = np.zeros((sum(counts), len(LABELS)), bool)
    written[: counts[0], CARDIOMEGALY] = written[counts[0] :, PNEUMOTHORAX] = True
    flipped = np.concatenate(
        [rng.permutation(count) < round(FLIP_SHARE * count) for count in counts]
    )
    return People(written, flipped, np.unique(patient, return_inverse=True)[1].astype(np.int32))


def _others(rng: np.random.Generator, n: int) -> np.ndarray:
    """Labels (n,14) bool of images with no finding, another one, or several."""
    written = np.zeros((n, len(LABELS)), bool)
    others = [i for i in range(len(LABELS)) if i not in (CARDIOMEGALY, PNEUMOTHORAX)]
    for row, kind in zip(written, rng.choice(3, n, p=(0.45, 0.3, 0.25)), strict=True):
        if kind == 1:
            row[rng.choice(others)] = True
        elif kind == 2:
            row[rng.choice(len(LABELS), rng.integers(2, 4), replace=False)] = True
    return written


def _people(rng: np.random.Generator, split: str) -> People:
    """Everyone of a split, in shuffled order. Those with other labels have one image each."""
    counts, known = SINGLE_LABEL[split], npz.read_patients()[split]
    who = [
        known["patients"][known["labels"] == label][:count] for label, count in enumerate(counts)
    ]
    pair = _two_classes(rng, counts, np.concatenate(who))
    others = _others(rng, round(EXTRA_SHARE * sum(counts)))
    everyone = People(
        np.concatenate([pair.written, others]),
        np.concatenate([pair.flipped, np.zeros(len(others), bool)]),
        np.concatenate(
            [pair.patient, pair.patient.max() + 1 + np.arange(len(others), dtype=np.int32)]
        ),
    )
    return everyone[rng.permutation(len(everyone.written))]


class _Sampler:
    """Random values (N,) float64, or bool for chance: one for each image, or the same for all
    images of a patient.

    of: (N,) the patient of each image, counted from 0; None: every image is its own.
    """

    def __init__(self, rng: np.random.Generator, n: int, of: np.ndarray | None = None):
        self.rng, self.of = rng, np.arange(n) if of is None else of
        self.n = int(self.of.max()) + 1

    def spread(self, mean, sd, low=-np.inf, high=np.inf):
        """Normal, clipped to low … high."""
        return np.clip(mean + sd * self.rng.standard_normal(self.n)[self.of], low, high)

    def uniform(self, low, high):
        return low + (high - low) * self.rng.random(self.n)[self.of]

    def beta(self, a, b):
        return self.rng.beta(a, b, self.n)[self.of]

    def chance(self, share):
        return self.rng.random(self.n)[self.of] < share

    def side(self):
        """+1 the right of the image, the patient's left; −1 the other."""
        return np.where(self.chance(0.5), 1, -1)


def _values(
    rng: np.random.Generator, findings: np.ndarray, slight: np.ndarray, of: np.ndarray
) -> Arrays:
    """One value per image for everything the drawing needs: float32 (N,), lengths in cm.

    findings: (N,14) bool; slight: (N,) bool, both findings are hard to see; of: (N,) the patient of
    each image. The order of the parts is the order of the random numbers: another order is another
    phantom.
    """
    image, patient = _Sampler(rng, len(findings)), _Sampler(rng, len(findings), of)
    has = {name: findings[:, i] for i, name in enumerate(LABELS)}
    size = patient.spread(1, 0.06, 0.8, 1.2)  # of the skeleton, 1 = 28 cm across the inner rib cage
    # bedside films: less breath, arms down, magnified heart
    ap = image.chance(np.where(has["pneumothorax"], 0.45, 0.35))
    # cm by which the diaphragm lies lower than usual
    breath = image.spread(0, 0.8, -2, 1.6) - 1.2 * ap
    p = (
        _position(image)
        | _trunk(image, patient, has, size, ap, breath)
        | _heart(image, patient, has, ap, breath, slight)
    )
    p |= _lungs(image, patient, has) | _pneumothorax(image, patient, has, ap, slight)
    p |= _other_findings(image, has) | _devices(image, patient, has, ap) | _film(image)
    p |= _tension_and_tube(image, has, p)
    p |= _shadows(image, has)
    return {name: value.astype(np.float32) for name, value in p.items()}


def _position(image: _Sampler) -> Arrays:
    """Of the patient on the detector: the field's side and shifts in cm, tilt in radians."""
    return dict(
        field=36 * image.spread(1, 0.09, 0.82, 1.25),
        shift_x=image.spread(0, 2, -4.5, 4.5),
        shift_y=image.spread(2, 2, -2.5, 6.5),
        tilt=np.deg2rad(image.spread(0, 4, -10, 10)),
        # cm by which turning the patient moves the mediastinum off the spine
        rotation=image.spread(0, 0.8, -2, 2),
    )


def _trunk(
    image: _Sampler,
    patient: _Sampler,
    has: Arrays,
    size: np.ndarray,
    ap: np.ndarray,
    breath: np.ndarray,
) -> Arrays:
    """Rib cage, diaphragm and soft tissue, in cm; heights are y, downwards from between apex and
    diaphragm.
    """
    dome = (
        8.5
        + patient.spread(0, 0.9, -2.5, 2)
        + breath
        + 1.2 * has["emphysema"]
        - 1.0 * has["fibrosis"]
    )
    return dict(
        half_width=14 * size * patient.spread(1, 0.05, 0.85, 1.15),
        depth=15 * size * patient.spread(1, 0.1, 0.75, 1.25),
        fat=np.exp(patient.spread(0.5, 0.5, -0.7, 1.7)),
        apex=-12.5 * size,
        dome_right=size * dome,
        dome_lower_left=patient.spread(1.1, 0.6, -0.5, 2.5),
        dome_height=patient.uniform(4, 6.5) * np.where(has["emphysema"], 0.5, 1),
        shoulder=(patient.spread(-11, 0.7) + image.spread(0, 0.4)) * size,
        breast=np.where(patient.chance(0.45), patient.uniform(0.5, 4), 0),
        breast_y=patient.uniform(2, 7),
        arms=ap & image.chance(0.6),
    )


def _heart(
    image: _Sampler,
    patient: _Sampler,
    has: Arrays,
    ap: np.ndarray,
    breath: np.ndarray,
    slight: np.ndarray,
) -> Arrays:
    """Heart and mediastinum. ratio: the cardiothoracic ratio; Danzer's threshold separates the
    classes on average only.
    """
    large = has["cardiomegaly"]
    ratio = patient.spread(np.where(large, LARGE, NORMAL), HEART_SPREAD) - 0.04 * (large & slight)
    return dict(
        ratio=np.clip(ratio + image.spread(0, 0.012) - 0.008 * breath + 0.01 * ap, 0.34, 0.75),
        heart_tilt=np.deg2rad(patient.uniform(15, 45)),
        heart_slim=patient.uniform(0.68, 0.85),
        # centre of the heart left of the midline, in heart widths
        heart_left=patient.spread(0.15, 0.03, 0.08, 0.22),
        knob=patient.uniform(0.5, 2.2),
        mediastinum=patient.spread(2.4, 0.35, 1.7, 3.4),
    )


def _lungs(image: _Sampler, patient: _Sampler, has: Arrays) -> Arrays:
    """Density of the lung (1 is nominal), contrast of its markings, thickness of hilum and haze in
    cm.
    """
    return dict(
        lung=patient.spread(1, 0.1, 0.75, 1.3)
        * image.spread(1, 0.06, 0.85, 1.15)
        * np.where(has["emphysema"], 0.7, 1),
        markings=patient.uniform(0.1, 0.3) + 0.25 * (has["fibrosis"] | has["edema"]),
        hilum=patient.uniform(0.6, 1.6) + 1.2 * has["edema"],
        haze=np.where(
            has["edema"],
            image.uniform(1.5, 4),
            np.where(
                image.chance(np.where(has["cardiomegaly"], 0.3, 0.1)), image.uniform(0, 1.5), 0
            ),
        ),
    )


def _pneumothorax(
    image: _Sampler, patient: _Sampler, has: Arrays, ap: np.ndarray, slight: np.ndarray
) -> Arrays:
    """Air beside the lung; its amount comes and goes between a patient's images."""
    ptx = has["pneumothorax"]
    amount = (AIR_LEAST + AIR_SPAN * patient.beta(*AIR_BETA)) * np.exp(
        image.spread(0, 0.3, -0.8, 0.8)
    )
    return dict(
        ptx=ptx,
        ptx_side=patient.side(),
        # share of the hemithorax
        ptx_size=np.where(ptx, np.clip(amount * np.where(slight, 0.5, 1), 0.03, 0.85), 0),
        # upright, the air rises to the apex
        ptx_apical=np.where(ap, image.uniform(-0.25, 0.3), image.uniform(0.2, 0.8)),
        # Share of the depth that is air where the lung has gone: of a patient who lies, the air is
        # in front of the lung.
        ptx_depth=np.where(ap, image.uniform(*SUPINE_DEPTH), image.uniform(*UPRIGHT_DEPTH)),
    )


def _other_findings(image: _Sampler, has: Arrays) -> Arrays:
    """Thickness or radius of each finding in cm, 0 where the patient has none, and gas in stomach
    and bowel.
    """
    return dict(
        effusion=np.where(
            has["effusion"],
            image.uniform(2.5, 8),
            np.where(image.chance(0.12), image.uniform(0.3, 1.5), 0),
        ),
        effusion_side=image.side(),
        pleural=np.where(has["pleural"], image.uniform(0.8, 2.5), 0),
        fibrosis=has["fibrosis"],
        plate=np.where(has["atelectasis"], image.uniform(1, 3), 0),
        plate_side=image.side(),
        plate_y=image.uniform(2, 6),
        hernia=np.where(has["hernia"], image.uniform(1.8, 3.5), 0),
        stomach=np.where(image.chance(0.55), image.uniform(0.8, 2.6), 0),
        stomach_x=image.uniform(3.5, 8),
        bowel=image.uniform(-1.5, 1.5),
    )


def _devices(image: _Sampler, patient: _Sampler, has: Arrays, ap: np.ndarray) -> Arrays:
    """What lies in or on the patient; whether there is a tube, see _tension_and_tube."""
    return dict(
        tube_end=image.uniform(0.1, 0.45),
        tube_bend=image.uniform(-2.5, 2.5),
        line=image.chance(0.15 + 0.2 * ap),
        leads=image.chance(0.1 + 0.35 * ap),
        lead_x=image.uniform(-6, 6),
        lead_slope=image.uniform(-0.5, 0.5),
        pacemaker=patient.chance(np.where(has["cardiomegaly"], 0.08, 0.03)),
        marker=np.where(image.chance(0.5), image.side(), 0),
    )


def _film(image: _Sampler) -> Arrays:
    """Detector and display: exposure and scatter as shares, the window, the collimator's leaves in
    pixels.
    """
    return dict(
        exposure=np.exp(image.spread(0, 0.3, -0.8, 0.8)),
        scatter=image.uniform(0.1, 0.35),
        level=image.spread(0, 0.07, -0.2, 0.2),
        width=np.exp(image.spread(0, 0.13, -0.35, 0.35)),
        gamma=np.exp(image.spread(0, 0.2, -0.5, 0.5)),
        **{
            f"crop_{e}": np.where(image.chance(0.15), image.uniform(0.5, 3), 0)
            for e in ("left", "right", "top", "bottom")
        },
    )


def _tension_and_tube(image: _Sampler, has: Arrays, p: Arrays) -> Arrays:
    """What follows from a pneumothorax or an effusion. push: cm by which tension moves the
    mediastinum.
    """
    ptx = has["pneumothorax"]
    tension = ptx & (p["ptx_size"] > 0.15) & image.chance(0.3)
    return dict(
        tension=tension,
        push=tension * image.uniform(1, 3.5),
        # The shortcut: most tubes lie in a pneumothorax, some drain an effusion or were left in
        # place.
        tube=image.chance(np.where(ptx, 0.4, np.where(has["effusion"], 0.25, 0.06))),
        tube_side=np.where(ptx, p["ptx_side"], p["effusion_side"]),
    )


def _shadows(image: _Sampler, has: Arrays) -> Arrays:
    """spot0, spot1, …: thickness (cm) of each round shadow of SHADOWS, 0 where the patient has
    none, and its shape.
    """
    p = {}
    for k, (name, thickness, radius, edge) in enumerate(SHADOWS):
        p |= {
            f"spot{k}": np.where(has[name], image.uniform(*thickness), 0),
            f"spot{k}_radius": image.uniform(*radius),
            f"spot{k}_edge": image.uniform(*edge),
            f"spot{k}_x": image.side() * image.uniform(4.5, 10),
            f"spot{k}_y": image.uniform(-8, 6),
        }
    return p


# ---------------------------------------------------------------- what is handed out


def generate(seed: int, progress: bool = True) -> tuple[Arrays, Arrays]:
    """Draw the whole set: (arrays in the layout of ChestMNIST, ground truth).

    The arrays, for s in train, val, test: `s_images` (N,28,28) uint8, `s_labels` (N,14) uint8 in
    the order of LABELS. The truth, row by row beside them: `s_patient` int32, equal for images of
    one patient; `s_ctr` float32, cardiothoracic ratio of the drawn anatomy; `s_side` int8, 0 no
    pneumothorax, 1 the patient's left (right of the image), 2 the patient's right (left of the
    image); `s_size` float32, air as a share of the hemithorax's area; `s_tension`, `s_tube`,
    `s_flipped` bool (flipped: the written label contradicts the anatomy); `s_exposure` float32, 1
    is nominal; masks `s_heart`, `s_lungs` (both hemithoraces, air included), `s_pneumothorax`,
    `s_tube_mask` (N,28,28) bool. The truth is for the analysis (notebook 03), never for training.
    Another seed draws other patients; the splits share none. Raises InputError unless seed is a
    whole number ≥ 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise InputError(
            f"Seed fantom {seed!r} tidak dapat dipakai: berikan bilangan bulat mulai dari 0."
        )
    arrays, truth = {}, {}
    total = sum(sum(counts) + round(EXTRA_SHARE * sum(counts)) for counts in SINGLE_LABEL.values())
    with (
        bar(total, "Menggambar fantom toraks", unit="citra") if progress else nullcontext() as shown
    ):
        for number, split in enumerate(SINGLE_LABEL):
            rng = np.random.default_rng([int(seed), number])
            people = _people(rng, split)
            images, facts = _draw(rng, people, shown.update if progress else lambda drawn: None)
            arrays |= {
                f"{split}_images": images,
                f"{split}_labels": people.written.astype(np.uint8),
            }
            facts["patient"] += number * 100_000  # no patient is in two splits
            truth |= {f"{split}_{name}": facts[name] for name in TRUTH}
    return arrays, truth


def more_test_images(
    n: int, seed: int = 0, number: int = len(SINGLE_LABEL)
) -> tuple[np.ndarray, np.ndarray, Arrays]:
    """Further images of the two classes in the test split's proportion, each of a patient of its
    own, none of them in `generate`.

    Gives images (n,28,28) uint8, labels (n,) uint8 as written (1 pneumothorax) and their ground
    truth named as in TRUTH.
    """
    rare = round(n * SINGLE_LABEL["test"][0] / sum(SINGLE_LABEL["test"]))
    rng = np.random.default_rng([seed, number])
    people = _two_classes(rng, (rare, n - rare), np.arange(n))[rng.permutation(n)]
    with bar(n, "Menggambar citra uji tambahan", unit="citra") as shown:
        images, facts = _draw(rng, people, shown.update)
    return images, people.written[:, PNEUMOTHORAX].astype(np.uint8), facts


def explain(seed: int = 0) -> dict[str, np.ndarray | float]:
    """The steps from one further patient to an image (notebook 02): of sixteen with a pneumothorax
    the one whose air takes nearest to a third of its side.

    soft, lung (at its nominal density), bone: cm along the ray; transmitted: share of the beam;
    each (56,56) float. image (28,28) uint8; heart, lungs, pneumothorax (28,28) bool; flip_share: of
    the written labels, the part made wrong on purpose.
    """
    rng = np.random.default_rng([seed, len(SINGLE_LABEL) + 1])
    people = _two_classes(rng, (0, BATCH), np.arange(BATCH))
    values = {
        name: one[:, None, None]
        for name, one in _values(rng, people.findings(), people.flipped, people.patient).items()
    }
    rays = anatomy.cast(rng, values)
    image = anatomy.detect(rng, rays.transmitted(), values)
    one = int(np.argmin(np.abs(rays.known["size"] - 1 / 3)))
    fields = {
        "soft": rays.soft,
        "lung": rays.density * rays.lung,
        "bone": rays.bone,
        "transmitted": rays.transmitted(),
    }
    halved = {
        name: field[one].reshape(2 * SIZE, 2, 2 * SIZE, 2).mean(axis=(1, 3))
        for name, field in fields.items()
    }
    shown = {
        name: np.round(field.astype(np.float64), 2 if name != "transmitted" else 4)
        for name, field in halved.items()
    }
    masks = {name: rays.known[name][one] for name in ("heart", "lungs", "pneumothorax")}
    return {**shown, "image": image[one], **masks, "flip_share": FLIP_SHARE}


def _draw(
    rng: np.random.Generator, people: People, drawn: Callable[[int], object]
) -> tuple[np.ndarray, Arrays]:
    """Images (N,28,28) and truth named as in TRUTH; `drawn` hears of each batch how many images it
    has.
    """
    # the fields of one batch take the place of the last one's: a third less time
    keep_freed_memory()
    values = _values(rng, people.findings(), people.flipped, people.patient)
    images, details = [], []
    for start in range(0, len(people.written), BATCH):
        picture, detail = anatomy.draw(
            rng, {name: value[start : start + BATCH, None, None] for name, value in values.items()}
        )
        images.append(picture)
        details.append(detail)
        drawn(len(picture))
    side = np.where(values["ptx"] > 0, np.where(values["ptx_side"] > 0, 1, 2), 0).astype(np.int8)
    facts = dict(
        ctr=values["ratio"], side=side, tension=values["tension"] > 0, tube=values["tube"] > 0
    )
    facts |= dict(
        flipped=people.flipped, exposure=values["exposure"], patient=people.patient.copy()
    )
    facts |= {name: np.concatenate([d[name] for d in details]) for name in details[0]}
    return np.concatenate(images), facts


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


def _whole(path: Path, kinds: tuple[str, ...]) -> bool:
    """Whether the file is there with one array of each kind per split, and each passes its
    checksum.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            wanted = {f"{split}_{kind}.npy" for split in SINGLE_LABEL for kind in kinds}
            return set(archive.namelist()) == wanted and archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError, ValueError):
        return False


def ensure(folder: Path, seed: int = 0) -> tuple[Path, Path]:
    """Paths of the phantom and of its ground truth under `folder`, drawn the first time (some
    seconds) and kept.

    The same seed gives the same bytes on the pinned versions. A damaged file is noticed and drawn
    again. Raises InputError when the folder cannot be written.
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
                f"Fantom tidak dapat disimpan di {folder} ({error.strerror}): "
                "periksa izin tulis dan ruang disk."
            ) from error
    return images, truth
