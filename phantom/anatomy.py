"""Which patients are drawn, and the values of each patient's anatomy: lengths in cm, densities,
flags.

The images that a patient has are those of ChestX-ray14's two classes (engine/npz.py). Of a
patient the anatomy stays; breath, position, exposure and the amount of air are another image's own.
"""

from dataclasses import dataclass

import numpy as np

from cxr_helpers.engine import npz

Arrays = dict[str, np.ndarray]

LABELS = tuple(
    "atelectasis cardiomegaly effusion infiltration mass nodule pneumonia pneumothorax "
    "consolidation edema emphysema fibrosis pleural hernia".split()
)
CARDIOMEGALY, PNEUMOTHORAX = LABELS.index("cardiomegaly"), LABELS.index("pneumothorax")
OTHERS = [i for i in range(len(LABELS)) if i not in (CARDIOMEGALY, PNEUMOTHORAX)]

# Images whose only label, as written, is (cardiomegaly, pneumothorax): the counts of the course.
SINGLE_LABEL = {"train": (754, 1552), "val": (97, 208), "test": (243, 439)}
# further images, relative to the above: no finding, one other finding, several findings
EXTRA_SHARE = 1 / 3
FLIP_SHARE = 0.035  # written labels of the two classes that the anatomy contradicts

# Where the classes overlap: cardiothoracic ratio (means, SD), air as a share of the hemithorax's
# area, and of the ray's way.
LARGE, NORMAL, HEART_SPREAD = 0.58, 0.47, 0.047
AIR_LEAST, AIR_SPAN, AIR_BETA = 0.06, 0.62, (1.2, 3.0)
SUPINE_DEPTH, UPRIGHT_DEPTH = (0.35, 0.8), (0.8, 1)

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


def people_of(rng: np.random.Generator, split: str) -> People:
    """Everyone of a split, in shuffled order. Those with other labels have one image each."""
    counts, listed = SINGLE_LABEL[split], npz.read_patients()[split]
    numbers = [
        listed["patients"][listed["labels"] == label][:count] for label, count in enumerate(counts)
    ]
    pair = two_classes(rng, counts, np.concatenate(numbers))
    others = _other_labels(rng, n_others(counts))
    new_patients = pair.patient.max() + 1 + np.arange(len(others), dtype=np.int32)
    everyone = People(
        np.concatenate([pair.written, others]),
        np.concatenate([pair.flipped, np.zeros(len(others), bool)]),
        np.concatenate([pair.patient, new_patients]),
    )
    return everyone[rng.permutation(len(everyone.written))]


def n_others(counts: tuple[int, int]) -> int:
    """The number of images with other labels beside `counts` images of the two classes."""
    return round(EXTRA_SHARE * sum(counts))


def two_classes(rng: np.random.Generator, counts: tuple[int, int], patient: np.ndarray) -> People:
    """Images with one label only: cardiomegaly, then pneumothorax. patient: any numbers (N,)."""
    written = np.zeros((sum(counts), len(LABELS)), bool)
    written[: counts[0], CARDIOMEGALY] = written[counts[0] :, PNEUMOTHORAX] = True
    flipped = np.concatenate(
        [rng.permutation(count) < round(FLIP_SHARE * count) for count in counts]
    )
    return People(written, flipped, np.unique(patient, return_inverse=True)[1].astype(np.int32))


def _other_labels(rng: np.random.Generator, n: int) -> np.ndarray:
    """Labels (n,14) bool of images with no finding, another one, or several."""
    written = np.zeros((n, len(LABELS)), bool)
    for row, kind in zip(written, rng.choice(3, n, p=(0.45, 0.3, 0.25)), strict=True):
        if kind == 1:
            row[rng.choice(OTHERS)] = True
        elif kind == 2:
            row[rng.choice(len(LABELS), rng.integers(2, 4), replace=False)] = True
    return written


# ---------------------------------------------------------------- the values of their anatomy


class _Sampler:
    """Random values (N,) float64, or bool for chance: one for each image, or the same for all
    images of a patient.

    patient: (N,) the patient of each image, counted from 0; None: every image draws its own.
    """

    def __init__(self, rng: np.random.Generator, n: int, patient: np.ndarray | None = None):
        self.rng, self.row = rng, np.arange(n) if patient is None else patient
        self.n = int(self.row.max()) + 1

    def spread(self, mean, sd, low=-np.inf, high=np.inf):
        """Normal, clipped to low … high."""
        return np.clip(mean + sd * self.rng.standard_normal(self.n)[self.row], low, high)

    def uniform(self, low, high):
        return low + (high - low) * self.rng.random(self.n)[self.row]

    def beta(self, a, b):
        return self.rng.beta(a, b, self.n)[self.row]

    def chance(self, share):
        return self.rng.random(self.n)[self.row] < share

    def side(self):
        """+1 the right of the image, the patient's left; −1 the other."""
        return np.where(self.chance(0.5), 1, -1)


def values_of(rng: np.random.Generator, people: People) -> Arrays:
    """One value per image for everything the drawing needs: float32 (N,), lengths in cm.

    Both findings are hard to see where the label is flipped. The order of the parts is the order of
    the random numbers: another order is another phantom.
    """
    findings, slight = people.findings(), people.flipped
    n = len(findings)
    image, patient = _Sampler(rng, n), _Sampler(rng, n, people.patient)
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
    """Rib cage, diaphragm and soft tissue in cm; heights are y (image.Place)."""
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
    """Density of the lung (1 is nominal), contrast of its markings; hilum and haze in cm."""
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
    """Thickness or radius of each finding in cm, 0 without it; gas in stomach and bowel."""
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
    """Exposure and scatter as shares, the display's window, the collimator's leaves in pixels."""
    return dict(
        exposure=np.exp(image.spread(0, 0.3, -0.8, 0.8)),
        scatter=image.uniform(0.1, 0.35),
        level=image.spread(0, 0.07, -0.2, 0.2),
        width=np.exp(image.spread(0, 0.13, -0.35, 0.35)),
        gamma=np.exp(image.spread(0, 0.2, -0.5, 0.5)),
        **{
            f"crop_{edge}": np.where(image.chance(0.15), image.uniform(0.5, 3), 0)
            for edge in ("left", "right", "top", "bottom")
        },
    )


def _tension_and_tube(image: _Sampler, has: Arrays, p: Arrays) -> Arrays:
    """What follows from the findings. push: cm by which tension moves the mediastinum."""
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
    """spot0, spot1, …: thickness (cm) of each of SHADOWS, 0 without it, and its shape."""
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
