"""A drawn stand-in for ChestMNIST: 28×28 frontal chest radiographs from a small physical model (notebook 02 shows them).

Made so that the whole course runs without a network. It is no clinical data and supports no clinical conclusion.

The way of a picture, in physical terms:
  patient (centimetres) → thickness of each tissue along the ray → Beer–Lambert → scatter and exposure → 4×4 pixels of the
  fine grid summed into one → quantum and electronic noise → window to uint8.

Sources
  Beer–Lambert, I = I0·exp(−Σ μ_i·t_i), and its use in radiography: Bushberg et al., The Essential Physics of Medical Imaging.
  Attenuation coefficients: Hubbell & Seltzer, Tables of X-Ray Mass Attenuation Coefficients, NISTIR 5632 (NIST, 1995), and
    NIST XCOM; read at 60 keV, near the mean energy of a 120 kVp chest beam, for the ICRU-44 tissues.
  Cardiothoracic ratio and its threshold of 0.50: Danzer, The cardiothoracic ratio, Am J Med Sci 157 (1919).
  Pneumothorax (visceral pleural line, no lung markings beyond it, mediastinal shift under tension): O'Connor & Morgan,
    Radiological review of pneumothorax, BMJ 330 (2005) 1493.
  Chest tubes as a shortcut to the label: Oakden-Rayner et al., Hidden stratification causes clinically meaningful failures
    in machine learning for medical imaging, ACM CHIL 2020.
  Labels mined from text and their errors: Wang et al., ChestX-ray8, CVPR 2017; Oakden-Rayner, Exploring large-scale public
    medical image datasets, Academic Radiology 27 (2020).
  Layout, label order: Yang et al., MedMNIST v2, Scientific Data 10 (2023).
The spreads of size, shape and position are our choice, calibrated by bench/phantom_calibration.py.

Image side: column 0 is the patient's right, as a radiograph is hung; the heart points to the right of the image.
"""

import io
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.progress import bar

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

SIZE, FINE = 28, 4  # pixels of an image, and how many fine pixels make one along each axis
BATCH = 16  # patients drawn together: the arrays of one step stay in the processor's cache

# Linear attenuation coefficients in 1/cm: mass coefficient (cm²/g) × density (g/cm³).
MU_SOFT = 0.205 * 1.05
MU_LUNG = 0.205 * 0.36  # 0.26 in ICRU-44; denser after the shallow breath of a bedside film
MU_BONE = 0.28 * 1.45  # ribs and vertebrae: a shell of cortical bone (0.315 × 1.92) around marrow

# Finding, thickness of the shadow in cm, its radius in cm, and the sharpness of its edge (1 a Gaussian, 8 a disc).
SHADOWS = (
    ("infiltration", (1.5, 4), (2.5, 5), (1, 1)),
    ("infiltration", (1, 3), (2, 4), (1, 1)),
    ("consolidation", (5, 9), (2.5, 4.5), (2, 3)),
    ("pneumonia", (3, 7), (2, 4), (1, 2)),
    ("mass", (4, 8), (1.8, 3), (5, 8)),
    ("nodule", (2.5, 4), (0.8, 1.4), (5, 8)),
)

Arrays = dict[str, np.ndarray]


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


def _patients(rng: np.random.Generator, findings: np.ndarray) -> Arrays:
    """One value per patient for everything the drawing needs: float32 (N,), lengths in cm. findings: (N,14) bool."""
    n = len(findings)
    has = {name: findings[:, i] for i, name in enumerate(LABELS)}

    def spread(mean, sd, low=-np.inf, high=np.inf):
        return np.clip(mean + sd * rng.standard_normal(n), low, high)

    def uniform(low, high):
        return rng.uniform(low, high, n)

    def chance(share):
        return rng.random(n) < share

    ptx = has["pneumothorax"]
    size = spread(1, 0.06, 0.8, 1.2)  # of the skeleton, 1 = 28 cm across the inner rib cage
    ap = chance(np.where(ptx, 0.45, 0.35))  # bedside films: less breath, arms down, magnified heart
    p = dict(
        # Position on the detector.
        field=36 * spread(1, 0.09, 0.82, 1.25),
        shift_x=spread(0, 2, -4.5, 4.5),
        shift_y=spread(2, 2, -2.5, 6.5),
        tilt=np.deg2rad(spread(0, 4, -10, 10)),
        # Trunk.
        half_width=14 * size * spread(1, 0.05, 0.85, 1.15),
        depth=15 * size * spread(1, 0.1, 0.75, 1.25),
        fat=np.exp(spread(0.5, 0.5, -0.7, 1.7)),
        apex=-12.5 * size,
        dome_right=size * (8.5 + spread(0, 1.2, -3, 2.5) - 1.2 * ap + 1.2 * has["emphysema"] - 1.0 * has["fibrosis"]),
        dome_lower_left=spread(1.1, 0.6, -0.5, 2.5),
        dome_height=uniform(4, 6.5) * np.where(has["emphysema"], 0.5, 1),
        shoulder=spread(-11, 0.8) * size,
        rotation=spread(0, 0.8, -2, 2),  # cm by which turning the patient moves the mediastinum off the spine
        breast=np.where(chance(0.45), uniform(0.5, 4), 0),
        breast_y=uniform(2, 7),
        arms=ap & chance(0.6),
        # Heart and mediastinum. Danzer's ratio separates the classes on average only.
        ratio=np.where(has["cardiomegaly"], spread(0.59, 0.05, 0.47, 0.75), spread(0.465, 0.045, 0.34, 0.58)) + 0.02 * ap,
        heart_tilt=np.deg2rad(uniform(15, 45)),
        heart_slim=uniform(0.68, 0.85),
        heart_left=spread(0.15, 0.03, 0.08, 0.22),  # centre of the heart left of the midline, in heart widths
        knob=uniform(0.5, 2.2),
        mediastinum=spread(2.4, 0.35, 1.7, 3.4),
        # Lung.
        lung=spread(1, 0.12, 0.7, 1.35) * np.where(has["emphysema"], 0.7, 1),
        markings=uniform(0.1, 0.3) + 0.25 * (has["fibrosis"] | has["edema"]),
        hilum=uniform(0.6, 1.6) + 1.2 * has["edema"],
        haze=np.where(has["edema"], uniform(1.5, 4), np.where(has["cardiomegaly"] & chance(0.3), uniform(0, 1.5), 0)),
        # Pneumothorax.
        ptx=ptx,
        ptx_side=np.where(chance(0.5), 1, -1),  # +1 the right of the image, the patient's left
        ptx_size=np.where(ptx, 0.12 + 0.7 * rng.beta(1.6, 2.6, n), 0),
        ptx_apical=np.where(ap, uniform(-0.25, 0.3), uniform(0.2, 0.8)),  # upright, the air rises to the apex
        ptx_depth=uniform(0.85, 1),  # share of the depth that is air where the lung has gone
        # Other findings.
        effusion=np.where(has["effusion"], uniform(2.5, 8), np.where(chance(0.12), uniform(0.3, 1.5), 0)),
        effusion_side=np.where(chance(0.5), 1, -1),
        pleural=np.where(has["pleural"], uniform(0.8, 2.5), 0),
        fibrosis=has["fibrosis"],
        plate=np.where(has["atelectasis"], uniform(1, 3), 0),
        plate_side=np.where(chance(0.5), 1, -1),
        plate_y=uniform(2, 6),
        hernia=np.where(has["hernia"], uniform(1.8, 3.5), 0),
        stomach=np.where(chance(0.55), uniform(0.8, 2.6), 0),
        stomach_x=uniform(3.5, 8),
        bowel=uniform(-1.5, 1.5),
        # Devices.
        tube_end=uniform(0.1, 0.45),
        tube_bend=uniform(-2.5, 2.5),
        line=chance(0.15 + 0.2 * ap),
        leads=chance(0.1 + 0.35 * ap),
        lead_x=uniform(-6, 6),
        lead_slope=uniform(-0.5, 0.5),
        pacemaker=chance(np.where(has["cardiomegaly"], 0.08, 0.03)),
        marker=np.where(chance(0.5), np.where(chance(0.5), 1, -1), 0),
        # Detector and display.
        exposure=np.exp(spread(0, 0.3, -0.8, 0.8)),
        scatter=uniform(0.1, 0.35),
        level=spread(0, 0.07, -0.2, 0.2),
        width=np.exp(spread(0, 0.13, -0.35, 0.35)),
        gamma=np.exp(spread(0, 0.2, -0.5, 0.5)),
        **{f"crop_{edge}": np.where(chance(0.15), uniform(0.5, 3), 0) for edge in ("left", "right", "top", "bottom")},
    )
    p["tension"] = ptx & (p["ptx_size"] > 0.15) & chance(0.3)
    p["push"] = p["tension"] * uniform(1, 3.5)
    # The shortcut: most tubes lie in a pneumothorax, some drain an effusion or were left in place.
    p["tube"] = chance(np.where(ptx, 0.4, np.where(has["effusion"], 0.25, 0.06)))
    p["tube_side"] = np.where(ptx, p["ptx_side"], p["effusion_side"])
    for k, (name, thickness, radius, edge) in enumerate(SHADOWS):
        p |= {
            f"spot{k}": np.where(has[name], uniform(*thickness), 0),
            f"spot{k}_radius": uniform(*radius),
            f"spot{k}_edge": uniform(*edge),
            f"spot{k}_x": np.where(chance(0.5), 1, -1) * uniform(4.5, 10),
            f"spot{k}_y": uniform(-8, 6),
        }
    return {name: value.astype(np.float32) for name, value in p.items()}


# ---------------------------------------------------------------- how it is drawn


def _ramp(distance: np.ndarray, width: float = 0.5) -> np.ndarray:
    """0 outside, 1 inside, linear over `width` cm around the edge at distance 0 (positive inside)."""
    return np.clip(distance / width + 0.5, 0, 1)


def _half_ellipse(r2: np.ndarray) -> np.ndarray:
    """Thickness profile of an ellipsoid, 1 at the centre and 0 from r² = 1 on."""
    return np.sqrt(np.clip(1 - r2, 0, None))


def _enlarge(field: np.ndarray) -> np.ndarray:
    """(B, n, n) → fine grid by repeating pixels."""
    times = SIZE * FINE // field.shape[1]
    return field.repeat(times, axis=1).repeat(times, axis=2)


def _coarse(field: np.ndarray) -> np.ndarray:
    """(B, 112, 112) → mean over the fine pixels of each pixel, (B, 28, 28) float32."""
    rows = field.reshape(len(field), SIZE, FINE, SIZE * FINE).mean(axis=2, dtype=np.float32)
    return rows.reshape(len(field), SIZE, SIZE, FINE).mean(axis=3)


def _add(field: np.ndarray, amount: np.ndarray, shape) -> None:
    """field[i] += amount[i]·shape(i) for the patients i that have any: what few have is computed for few."""
    rows = np.flatnonzero(amount)
    if rows.size:
        field[rows] += amount[rows] * shape(rows)


def _draw(rng: np.random.Generator, p: Arrays) -> tuple[np.ndarray, Arrays]:
    """Images (B,28,28) uint8 and their masks, from the values of B patients shaped (B,1,1)."""
    count = len(p["field"])
    noise = [rng.standard_normal((count, n, n), dtype=np.float32) for n in (SIZE // 2, SIZE, SIZE * 2)]
    axis = ((np.arange(SIZE * FINE, dtype=np.float32) + 0.5) / (SIZE * FINE) - 0.5)[None]
    # Detector → patient: x to the right of the image, y downwards, origin on the spine between apex and diaphragm.
    across = axis[:, None, :] * p["field"] - p["shift_x"]
    down = axis[:, :, None] * p["field"] + p["shift_y"]
    cos, sin = np.cos(p["tilt"]), np.sin(p["tilt"])
    x, y = cos * across + sin * down, cos * down - sin * across
    ax = np.abs(x)
    left = (x > 0).astype(np.float32)  # the patient's left

    # Rib cage: inner half-width at each height, and the depth of the cavity along the ray.
    half, apex = p["half_width"], p["apex"]
    h = np.clip((p["dome_right"] + 1 - y) / (p["dome_right"] + 1 - apex), 0, 1)  # 1 at the apex, 0 at the widest level
    h4 = np.square(h * h)
    wall = half * np.sqrt(1 - h4) * (1 - 0.1 * h) + 1e-3
    lateral = ax / wall  # 0 at the spine, 1 at the ribs
    ptx_half = p["ptx"] * np.abs((p["ptx_side"] < 0) - left)  # 1 in the hemithorax that holds the air
    dome = p["dome_right"] + left * p["dome_lower_left"] + ptx_half * p["tension"] * 1.5
    dome += p["dome_height"] * np.square((ax / half - 0.45) / 0.55)
    above = dome - y
    square = np.square(lateral)
    cavity = p["depth"] * (1 - 0.5 * h4) * _half_ellipse(square * lateral) * _ramp(above, 1.4)

    # Mediastinum and heart, pushed away from a tension pneumothorax.
    middle = p["rotation"] - p["ptx_side"] * p["push"]
    mx = x - middle * np.clip(0.6 + 0.05 * y, 0, 1)
    edge = p["mediastinum"] + 0.06 * np.clip(y + 6, 0, None) - np.abs(mx)
    edge += p["knob"] * np.clip(1 - np.square((y + 4.5) / 2.2), 0, None) * (mx > 0)
    width = p["ratio"] * 2 * half
    c, s = np.cos(p["heart_tilt"]), np.sin(p["heart_tilt"])
    long = width / 2 / np.sqrt(c * c + np.square(p["heart_slim"] * s))
    short = long * p["heart_slim"]
    centre_y = p["dome_right"] + p["dome_lower_left"] + 1.5 - np.sqrt(np.square(long * s) + np.square(short * c))
    hx, hy = x - middle - p["heart_left"] * width, y - centre_y
    heart_r2 = np.square((c * hx + s * hy) / long) + np.square((c * hy - s * hx) / short)
    heart = np.minimum(1.4 * long * np.sqrt(np.clip(2 * (1 - heart_r2), 0, 1)), 0.85 * cavity)
    solid = np.maximum(heart, 0.75 * _ramp(edge, 0.8) * cavity)
    lung = np.clip(cavity - solid, 0, None)
    chest = (lateral < 1) & (above > 0) & (edge < 0) & (heart_r2 > 1)

    # Pneumothorax: the lung falls back from ribs and apex until the wanted share of the hemithorax is air.
    hemi = chest & (ptx_half > 0)
    air = np.zeros_like(x)
    size = np.zeros(count, np.float32)
    for i in np.flatnonzero(p["ptx"]):
        reach = 1 - lateral[i] + p["ptx_apical"][i] * (1 - h[i])
        inside = np.sort(reach[hemi[i]])
        limit = inside[int(p["ptx_size"][i, 0, 0] * inside.size)]
        air[i] = (reach < limit) * ptx_half[i]
        size[i] = np.searchsorted(inside, limit) / inside.size
        solid[i] += 1.0 * (np.abs(reach - limit) < 0.02) * hemi[i]  # the visceral pleura, seen edge-on
    collapse = ptx_half * p["ptx_size"] / (1 - p["ptx_size"])  # the same tissue in less room
    density = p["lung"] * (1 + collapse) * (1 - air * p["ptx_depth"])

    # Lung markings fade towards the ribs and are absent where there is air only.
    grain = _enlarge(0.6 * noise[1].repeat(2, axis=1).repeat(2, axis=2) + 0.5 * noise[2])
    texture = p["markings"] * (1.15 - np.minimum(lateral, 1) * (1 - p["fibrosis"] * h))
    density *= np.clip(1 + texture * grain * (1 - air), 0.2, None)

    # Fluid or tissue in the place of lung: vessels at the hilum, then the other findings.
    water = 2.2 * p["hilum"] * np.clip(1 - np.square((np.abs(mx) - 3.8) / 2.5), 0, None)
    water *= np.clip(1 - np.square((y + 0.5 - 0.8 * left) / 4), 0, None)
    cloud = 1 + 0.3 * noise[0]
    _add(water, p["haze"], lambda i: np.exp(-np.square(x[i] / 7) - np.square(y[i] / 7)) * _enlarge(cloud[i]))
    fluid_side, plate_side = p["effusion_side"] * x > 0, p["plate_side"] * x > 0
    fluid_top = p["dome_right"] + p["dome_height"] * 0.8 - p["effusion"] * 0.55
    _add(
        water,
        np.sign(p["effusion"]),  # the meniscus climbs the ribs
        lambda i: fluid_side[i] * lung[i] * _ramp(y[i] - fluid_top[i] + 0.45 * p["effusion"][i] * square[i], 1.2),
    )
    _add(water, p["pleural"], lambda i: (lateral[i] > 0.86) * (0.5 + _enlarge(cloud[i])))
    _add(water, p["plate"], lambda i: plate_side[i] * _ramp(0.6 - np.abs(y[i] - p["plate_y"][i] - 0.15 * ax[i])))
    for spot in (f"spot{k}" for k in range(len(SHADOWS))):

        def shadow(i, spot=spot):
            r2 = np.square(x[i] - p[spot + "_x"][i]) + np.square(y[i] - p[spot + "_y"][i])
            return np.exp(-np.power(r2 / np.square(p[spot + "_radius"][i]), p[spot + "_edge"][i]))

        _add(water, p[spot], shadow)
    water = np.minimum(water, lung) * (1 - air)
    lung -= water

    # Trunk, neck, breasts, arms: soft tissue around it all.
    slope = np.clip(y - p["shoulder"], -9, 0)
    outer = half + 3.2 + p["fat"] + 2 * np.clip(1 - np.square((y - p["shoulder"]) / 5), 0, None) + 2.2 * slope
    outer = np.maximum(outer, 5.5 + 0.3 * p["fat"])
    trunk = (p["depth"] + 4 + 2 * p["fat"] + 0.75 * slope) * np.sqrt(_half_ellipse(np.square(ax / outer)))
    soft = np.maximum(trunk - cavity, 0) + solid + water
    beside = ax - half - p["fat"] - 9  # from the axis of the upper arm
    lowered = y > p["shoulder"]
    _add(
        soft,
        p["breast"],
        lambda i: _half_ellipse(np.square((ax[i] - 0.55 * half[i]) / 6) + np.square((y[i] - p["breast_y"][i]) / 5)),
    )
    _add(soft, p["arms"], lambda i: 9 * _half_ellipse(np.square(beside[i] / 4.5)) * lowered[i])

    # Gas: trachea, bowel, a bubble in the stomach below the left dome, another in a hernia behind the heart.
    soft -= 1.5 * _ramp(0.8 - np.abs(mx)) * _ramp(-1 - y)
    loops = np.sin(0.5 * x + p["bowel"]) * np.sin(0.8 * y + 3 * p["bowel"])
    soft -= 3 * np.clip(loops - 0.4, 0, None) * _ramp(-above - 5, 3)

    def bubble(i):
        r2 = np.square((x[i] - p["stomach_x"][i]) / 1.3) + np.square(0.8 * p["stomach"][i] + 0.8 - y[i] + dome[i])
        return -1.6 * _half_ellipse(r2 / np.square(p["stomach"][i]))

    def sac(i):
        r2 = np.square(x[i] - 1.5) + np.square(y[i] - centre_y[i] - 2)
        return _half_ellipse(r2 / np.square(p["hernia"][i])) * (1.5 - 3 * (y[i] < centre_y[i] + 1.5))

    _add(soft, p["stomach"], bubble)
    _add(soft, p["hernia"], sac)
    soft = np.clip(soft, 0, None)

    # Bone: posterior ribs fall towards the side, anterior ribs towards the middle; spine; clavicles; humerus.
    u = ax / half
    turn = np.float32(2 * np.pi / 2.3 * 14) / half
    back = np.cos(turn * (y - 1.4 * u - 3.2 * u * u * u))
    front = np.cos(turn * (y + 4.5 * u)) * (u > 0.3)
    ribs = 0.75 * np.clip(back - 0.2, 0, None) + 0.4 * np.clip(front - 0.3, 0, None)
    tangent = np.minimum(1 / np.sqrt(np.clip(1.05 - square, 0.1, None)), 2.5)  # more bone where the ray grazes a rib
    bone = ribs * tangent * _ramp((1.04 - lateral) * half) * _ramp(above + 3, 4) * (h > 0)
    bone += 1.8 * _ramp(1.9 - ax, 0.8) * (1 + 0.15 * np.cos(np.float32(2 * np.pi / 2.6) * y))
    collar = y - p["shoulder"] - 1.6 + 0.14 * ax - 0.8 * np.sin(ax * 0.35)
    bone += 1.1 * _ramp(0.75 - np.abs(collar), 0.6) * _ramp(ax - 1.8) * _ramp(half + 1 - ax)
    _add(bone, p["arms"], lambda i: 2 * _ramp(1.3 - np.abs(beside[i])) * lowered[i])

    # Devices, in units of attenuation.
    foreign, tube = np.zeros_like(x), np.zeros_like(x)
    along = (y - apex) / (p["dome_right"] - apex)

    def drain(i):  # enters between the ribs and runs up towards the apex
        path = half[i] * (p["tube_end"][i] + 0.95 * along[i]) + p["tube_bend"][i] * np.sin(3 * along[i])
        near = np.abs(p["tube_side"][i] * x[i] - np.minimum(path, half[i] * 1.15)) < 0.45
        return near * (along[i] > 0.1 + p["tube_end"][i] * 0.4) * (along[i] < 0.85)

    def generator(i):
        case = np.square((x[i] - 8.5) / 2.2) + np.square((y[i] + 7.5) / 1.8) < 1
        lead = np.abs(x[i] - 1.5 - 0.1 * np.square(y[i] - 2)) < 0.25
        return 3.2 * case + 0.6 * lead * (np.abs(y[i] + 1) < 5)

    def electrodes(i):
        wire = (np.abs(x[i] - p["lead_x"][i] - p["lead_slope"][i] * y[i]) < 0.2) * (y[i] > -9)
        return 0.5 * wire + 0.8 * (np.square(ax[i] - 8) + np.square(y[i] + 6 - 3 * left[i]) < 0.8)

    def letter(i):
        beside_edge = np.abs(across[i] * p["marker"][i] - 0.36 * p["field"][i]) < 0.7
        return beside_edge * (np.abs(down[i] - p["shift_y"][i] + 0.4 * p["field"][i]) < 0.9)

    _add(tube, p["tube"], drain)
    foreign += 0.9 * tube
    _add(foreign, p["line"], lambda i: 0.5 * (np.abs(mx[i] + 2.4 + 0.05 * y[i]) < 0.25) * (y[i] < 1))
    _add(foreign, p["leads"], electrodes)
    _add(foreign, p["pacemaker"], generator)
    _add(foreign, 2 * np.abs(p["marker"]), letter)

    attenuation = MU_SOFT * soft + MU_LUNG * density * lung + (MU_BONE - MU_SOFT) * bone + foreign
    images = _detect(rng, np.exp(-attenuation), p)
    masks = dict(
        heart=_coarse((heart_r2 < 1) & (above > -1.5)) > 0.5,
        lungs=_coarse(chest) > 0.5,
        pneumothorax=_coarse(air * hemi) > 0.5,
        tube_mask=_coarse(tube) > 0.1,
    )
    return images, masks | {"size": size}


def _detect(rng: np.random.Generator, transmitted: np.ndarray, p: Arrays) -> np.ndarray:
    """Transmitted share of the beam on the fine grid (B,112,112) → image (B,28,28) uint8, dense tissue bright."""
    primary = _coarse(transmitted)
    scattered = p["scatter"] * primary[:, 6:-6, 6:-6].mean(axis=(1, 2), keepdims=True)  # comes from the patient, not the air
    photons = 2e5 * p["exposure"] * (primary + scattered)
    counts = photons + np.sqrt(photons) * rng.standard_normal(photons.shape, dtype=np.float32)
    counts += 20 * rng.standard_normal(photons.shape, dtype=np.float32)  # electronic noise
    signal = -np.log(np.maximum(counts, 50))
    # The window follows the histogram of the middle of the picture, as automatic processing does, not quite well.
    middle = np.sort(signal[:, 5:-3, 4:-4].reshape(len(signal), -1), axis=1)
    low, high = (middle[:, int(q * middle.shape[1]), None, None] for q in (0.02, 0.99))
    value = (signal - low) / (1.35 * (high - low) * p["width"]) + 0.17 + p["level"] - 0.1 * np.log(p["exposure"])
    value = np.power(np.clip(value, 0, 1), p["gamma"])
    column, row = np.arange(SIZE)[None, None, :], np.arange(SIZE)[None, :, None]
    exposed = (column >= p["crop_left"]) & (column < SIZE - p["crop_right"])
    exposed = exposed & (row >= p["crop_top"]) & (row < SIZE - p["crop_bottom"])  # the collimator's leaves
    return np.rint(250 * value * exposed).astype(np.uint8)


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
    arrays, truth = {}, {}
    total = sum(sum(counts) + round(EXTRA_SHARE * sum(counts)) for counts in SINGLE_LABEL.values())
    with bar(total, "Menggambar fantom toraks", unit="citra") if progress else nullcontext() as shown:
        for number, split in enumerate(SINGLE_LABEL):
            rng = np.random.default_rng([int(seed), number])
            written, drawn, flipped = _written_labels(rng, split)
            values = _patients(rng, drawn)
            images, details = [], []
            for start in range(0, len(written), BATCH):
                batch = {name: value[start : start + BATCH, None, None] for name, value in values.items()}
                picture, detail = _draw(rng, batch)
                images.append(picture)
                details.append(detail)
                if shown is not None:
                    shown.update(len(picture))
            arrays[f"{split}_images"] = np.concatenate(images)
            arrays[f"{split}_labels"] = written.astype(np.uint8)
            side = np.where(values["ptx"] > 0, np.where(values["ptx_side"] > 0, 1, 2), 0).astype(np.int8)
            facts = dict(ctr=values["ratio"], side=side, tension=values["tension"] > 0, tube=values["tube"] > 0)
            facts |= dict(flipped=flipped, exposure=values["exposure"])
            facts |= {name: np.concatenate([d[name] for d in details]) for name in details[0]}
            truth |= {f"{split}_{name}": facts[name] for name in TRUTH}
    return arrays, truth


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
