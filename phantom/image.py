"""From the values of patients (anatomy.py) to radiographs of 28×28 pixels and the masks that go
with them; the physics and its sources stand in phantom/__init__.py.

Shapes: B patients are drawn together. p, the values of the patients, holds float32 (B,1,1) by name,
lengths in cm, flags as 0 or 1; a field is an array (B,112,112) on the fine grid, float32 unless it
says otherwise, thicknesses in cm along the ray.

Image side: column 0 is the patient's right, as a radiograph is hung; the heart points to the right
of the image.
"""

import re
from dataclasses import dataclass
from functools import partial

import numpy as np

from phantom.anatomy import Arrays

SIZE, FINE = 28, 4  # pixels of an image, and how many fine pixels make one along each axis

# Linear attenuation coefficients in 1/cm: mass coefficient (cm²/g) × density (g/cm³).
MU_SOFT = 0.205 * 1.05
MU_LUNG = 0.205 * 0.36  # 0.26 in ICRU-44; denser after the shallow breath of a bedside film
MU_BONE = 0.28 * 1.45  # ribs and vertebrae: a shell of cortical bone (0.315 × 1.92) around marrow


@dataclass(frozen=True)
class Rays:
    """What the rays meet, as fields: soft tissue, lung and bone in cm, the lung's density (1 is
    nominal), and what lies in or on the patient as attenuation without a unit.

    truth: heart, lungs (both hemithoraces, air included), pneumothorax, tube_mask (B,28,28) bool;
    size (B,) float32, the air as a share of its hemithorax's area, 0 without a pneumothorax.
    """

    soft: np.ndarray
    lung: np.ndarray
    density: np.ndarray
    bone: np.ndarray
    foreign: np.ndarray
    truth: Arrays

    def transmitted(self) -> np.ndarray:
        """Share of the beam that goes through, by Beer–Lambert. Bone takes soft tissue's place."""
        lung = MU_LUNG * self.density * self.lung
        return np.exp(
            -(MU_SOFT * self.soft + lung + (MU_BONE - MU_SOFT) * self.bone + self.foreign)
        )


def cast(rng: np.random.Generator, p: Arrays) -> Rays:
    """The patients as the rays meet them."""
    cloud, blotches, speckle = (
        rng.standard_normal((len(p["field"]), n, n), dtype=np.float32)
        for n in (SIZE // 2, SIZE, SIZE * 2)
    )
    at = _place(p)
    cage = _rib_cage(p, at)
    middle = _mediastinum(p, at, cage)
    air, pleura, size = _pneumothorax(p, cage, middle)
    density = _lung_density(p, cage, air, blotches, speckle)
    water = _water(p, at, cage, middle, air, 1 + 0.3 * cloud)
    soft = _trunk(p, at, cage) + (middle.solid + pleura) + water
    _add_breasts_and_arms(soft, p, at)
    _add_gas(soft, p, at, cage, middle)
    soft = np.clip(soft, 0, None)
    bone = _bone(p, at, cage)
    tube = _tube(p, at)
    foreign = _devices(p, at, middle, tube)
    masks = dict(
        heart=_coarse((middle.heart_r2 < 1) & (cage.above > -1.5)) > 0.5,
        lungs=_coarse(middle.chest) > 0.5,
        pneumothorax=_coarse(air * middle.chest) > 0.5,
        tube_mask=_coarse(tube) > 0.1,
    )
    return Rays(soft, middle.lung - water, density, bone, foreign, masks | {"size": size})


# ---------------------------------------------------------------- profiles and grids


def _ramp(distance: np.ndarray, width: float = 0.5) -> np.ndarray:
    """0 outside, 1 inside (distance > 0), linear over `width` cm around the edge."""
    return np.clip(distance / width + 0.5, 0, 1)


def _half_ellipse(r2: np.ndarray) -> np.ndarray:
    """Thickness profile of an ellipsoid, 1 at the centre and 0 from r² = 1 on."""
    return np.sqrt(np.clip(1 - r2, 0, None))


def _enlarge(field: np.ndarray) -> np.ndarray:
    """(B,n,n) → fine grid (B,112,112) by repeating pixels."""
    times = SIZE * FINE // field.shape[1]
    return field.repeat(times, axis=1).repeat(times, axis=2)


def _coarse(field: np.ndarray) -> np.ndarray:
    """(B,112,112) → mean over the fine pixels of each pixel, (B,28,28) float32."""
    rows = field.reshape(len(field), SIZE, FINE, SIZE * FINE).mean(axis=2, dtype=np.float32)
    return rows.reshape(len(field), SIZE, SIZE, FINE).mean(axis=3)


def _add(field: np.ndarray, amount: np.ndarray, shape) -> None:
    """field[i] += amount[i]·shape(i), computed for the patients i that have any amount."""
    rows = np.flatnonzero(amount)
    if rows.size:
        field[rows] += amount[rows] * shape(rows)


# ---------------------------------------------------------------- lungs, mediastinum and heart


@dataclass(frozen=True)
class Place:
    """Where the ray of each fine pixel meets the patient, in cm.

    across (B,1,112), down (B,112,1): from the middle of the detector, moved with the patient but
    not turned. x, y: to the right of the image and downwards, origin on the spine between apex and
    diaphragm. ax: |x|. left: 1 on the patient's left (right of the image), else 0.
    """

    across: np.ndarray
    down: np.ndarray
    x: np.ndarray
    y: np.ndarray
    ax: np.ndarray
    left: np.ndarray


@dataclass(frozen=True)
class Cage:
    """The rib cage as fields.

    h: 1 at the apex, 0 at the widest level. lateral, lateral2: 0 at the spine, 1 at the inner side
    of the ribs, and its square. dome: y of the diaphragm (cm). above: height over it (cm). cavity:
    depth of the thoracic cavity (cm along the ray). ptx_half: 1 in the hemithorax that holds the
    air of a pneumothorax, else 0.
    """

    h: np.ndarray
    lateral: np.ndarray
    lateral2: np.ndarray
    dome: np.ndarray
    above: np.ndarray
    cavity: np.ndarray
    ptx_half: np.ndarray


@dataclass(frozen=True)
class Middle:
    """Mediastinum and heart, and the lung that they leave room for, as fields.

    mx: x from the middle of the mediastinum (cm). edge: distance inwards from its border (cm,
    negative in the lung). heart_y (B,1,1): y of the heart's centre (cm). heart_r2: squared distance
    from it, 1 at the heart's outline. solid: heart and mediastinum, lung: what else the cavity
    holds (cm along the ray). chest: bool, rays through lung alone.
    """

    mx: np.ndarray
    edge: np.ndarray
    heart_y: np.ndarray
    heart_r2: np.ndarray
    solid: np.ndarray
    lung: np.ndarray
    chest: np.ndarray


def _place(p: Arrays) -> Place:
    """From the detector to the patient: magnification, shift and tilt."""
    axis = ((np.arange(SIZE * FINE, dtype=np.float32) + 0.5) / (SIZE * FINE) - 0.5)[None]
    across = axis[:, None, :] * p["field"] - p["shift_x"]
    down = axis[:, :, None] * p["field"] + p["shift_y"]
    cos, sin = np.cos(p["tilt"]), np.sin(p["tilt"])
    x, y = cos * across + sin * down, cos * down - sin * across
    return Place(across, down, x, y, ax=np.abs(x), left=(x > 0).astype(np.float32))


def _rib_cage(p: Arrays, at: Place) -> Cage:
    """Inner half-width at each height, both domes of the diaphragm, depth of the cavity."""
    half, widest = p["half_width"], p["dome_right"] + 1
    h = np.clip((widest - at.y) / (widest - p["apex"]), 0, 1)
    h4 = np.square(h * h)
    wall = half * np.sqrt(1 - h4) * (1 - 0.1 * h) + 1e-3
    lateral = at.ax / wall
    lateral2 = np.square(lateral)
    ptx_half = p["ptx"] * np.abs((p["ptx_side"] < 0) - at.left)
    dome = p["dome_right"] + at.left * p["dome_lower_left"] + ptx_half * p["tension"] * 1.5
    dome += p["dome_height"] * np.square((at.ax / half - 0.45) / 0.55)
    above = dome - at.y
    cavity = p["depth"] * (1 - 0.5 * h4) * _half_ellipse(lateral2 * lateral) * _ramp(above, 1.4)
    return Cage(h, lateral, lateral2, dome, above, cavity, ptx_half)


def _mediastinum(p: Arrays, at: Place, cage: Cage) -> Middle:
    """Mediastinum and heart, pushed away from a tension pneumothorax."""
    centre = p["rotation"] - p["ptx_side"] * p["push"]
    mx = at.x - centre * np.clip(0.6 + 0.05 * at.y, 0, 1)
    edge = p["mediastinum"] + 0.06 * np.clip(at.y + 6, 0, None) - np.abs(mx)
    edge += p["knob"] * np.clip(1 - np.square((at.y + 4.5) / 2.2), 0, None) * (mx > 0)
    # The heart: an ellipse whose width as projected, not its long axis, makes the cardiothoracic
    # ratio.
    width = p["ratio"] * 2 * p["half_width"]
    cos, sin = np.cos(p["heart_tilt"]), np.sin(p["heart_tilt"])
    long = width / 2 / np.sqrt(cos * cos + np.square(p["heart_slim"] * sin))
    short = long * p["heart_slim"]
    heart_y = (
        p["dome_right"]
        + p["dome_lower_left"]
        + 1.5
        - np.sqrt(np.square(long * sin) + np.square(short * cos))
    )
    hx, hy = at.x - centre - p["heart_left"] * width, at.y - heart_y
    heart_r2 = np.square((cos * hx + sin * hy) / long) + np.square((cos * hy - sin * hx) / short)
    heart = np.minimum(1.4 * long * np.sqrt(np.clip(2 * (1 - heart_r2), 0, 1)), 0.85 * cage.cavity)
    solid = np.maximum(heart, 0.75 * _ramp(edge, 0.8) * cage.cavity)
    lung = np.clip(cage.cavity - solid, 0, None)
    chest = (cage.lateral < 1) & (cage.above > 0) & (edge < 0) & (heart_r2 > 1)
    return Middle(mx, edge, heart_y, heart_r2, solid, lung, chest)


# ---------------------------------------------------------------- pneumothorax, lung, and findings


def _pneumothorax(
    p: Arrays, cage: Cage, middle: Middle
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lung falls back from ribs and apex until the wanted share of the hemithorax is air.

    air: field, 1 where the lung has gone, else 0. pleura: field, the visceral pleura seen edge-on
    (cm). size: (B,) float32, share of the hemithorax's area that is air.
    """
    hemi = middle.chest & (cage.ptx_half > 0)
    air, pleura = np.zeros_like(cage.h), np.zeros_like(cage.h)
    size = np.zeros(len(air), np.float32)
    for i in np.flatnonzero(p["ptx"]):
        reach = 1 - cage.lateral[i] + p["ptx_apical"][i] * (1 - cage.h[i])
        inside = np.sort(reach[hemi[i]])
        limit = inside[int(p["ptx_size"][i, 0, 0] * inside.size)]
        air[i] = (reach < limit) * cage.ptx_half[i]
        pleura[i] = (np.abs(reach - limit) < 0.02) & hemi[i]
        size[i] = np.searchsorted(inside, limit) / inside.size
    return air, pleura, size


def _lung_density(
    p: Arrays, cage: Cage, air: np.ndarray, blotches: np.ndarray, speckle: np.ndarray
) -> np.ndarray:
    """Density of the lung as a field, 1 is nominal: collapse, then the markings, noise of (B,28,28)
    and (B,56,56).

    Lung markings fade towards the ribs, in fibrosis not at the base, and are absent where there is
    air only.
    """
    collapse = cage.ptx_half * p["ptx_size"] / (1 - p["ptx_size"])  # the same tissue in less room
    density = p["lung"] * (1 + collapse) * (1 - air * p["ptx_depth"])
    grain = _enlarge(0.6 * blotches.repeat(2, axis=1).repeat(2, axis=2) + 0.5 * speckle)
    contrast = p["markings"] * (1.15 - np.minimum(cage.lateral, 1) * (1 - p["fibrosis"] * cage.h))
    density *= np.clip(1 + contrast * grain * (1 - air), 0.2, None)
    return density


def _water(
    p: Arrays, at: Place, cage: Cage, middle: Middle, air: np.ndarray, cloud: np.ndarray
) -> np.ndarray:
    """Fluid or tissue in the place of lung (cm along the ray): vessels at the hilum, then the
    findings.

    cloud: (B,14,14), unevenness of diffuse shadows around 1. Never more than there is lung, none in
    the air.
    """
    water = 2.2 * p["hilum"] * np.clip(1 - np.square((np.abs(middle.mx) - 3.8) / 2.5), 0, None)
    water *= np.clip(1 - np.square((at.y + 0.5 - 0.8 * at.left) / 4), 0, None)
    fluid_top = p["dome_right"] + p["dome_height"] * 0.8 - p["effusion"] * 0.55

    def haze(i):
        return np.exp(-np.square(at.x[i] / 7) - np.square(at.y[i] / 7)) * _enlarge(cloud[i])

    def effusion(i):  # the meniscus climbs the ribs
        depth = at.y[i] - fluid_top[i] + 0.45 * p["effusion"][i] * cage.lateral2[i]
        return (p["effusion_side"][i] * at.x[i] > 0) * middle.lung[i] * _ramp(depth, 1.2)

    def plate(i):
        return (p["plate_side"][i] * at.x[i] > 0) * _ramp(
            0.6 - np.abs(at.y[i] - p["plate_y"][i] - 0.15 * at.ax[i])
        )

    _add(water, p["haze"], haze)
    _add(water, np.sign(p["effusion"]), effusion)
    _add(water, p["pleural"], lambda i: (cage.lateral[i] > 0.86) * (0.5 + _enlarge(cloud[i])))
    _add(water, p["plate"], plate)
    _add_spots(water, p, at)
    return np.minimum(water, middle.lung) * (1 - air)


def _add_spots(water: np.ndarray, p: Arrays, at: Place) -> None:
    """Round shadows, from a soft infiltrate to a sharp nodule: spot0, spot1, … as many as p has."""

    def shadow(spot, i):
        r2 = np.square(at.x[i] - p[spot + "_x"][i]) + np.square(at.y[i] - p[spot + "_y"][i])
        return np.exp(-np.power(r2 / np.square(p[spot + "_radius"][i]), p[spot + "_edge"][i]))

    for spot in (name for name in p if re.fullmatch(r"spot\d+", name)):
        _add(water, p[spot], partial(shadow, spot))


# ---------------------------------------------------------------- soft tissue, gas and bone


def _trunk(p: Arrays, at: Place, cage: Cage) -> np.ndarray:
    """Trunk and neck around the thoracic cavity: soft tissue in cm along the ray."""
    slope = np.clip(at.y - p["shoulder"], -9, 0)
    outer = (
        p["half_width"]
        + 3.2
        + p["fat"]
        + 2 * np.clip(1 - np.square((at.y - p["shoulder"]) / 5), 0, None)
        + 2.2 * slope
    )
    outer = np.maximum(outer, 5.5 + 0.3 * p["fat"])
    trunk = (p["depth"] + 4 + 2 * p["fat"] + 0.75 * slope) * np.sqrt(
        _half_ellipse(np.square(at.ax / outer))
    )
    return np.maximum(trunk - cage.cavity, 0)


def _from_arm(p: Arrays, at: Place, i: np.ndarray) -> np.ndarray:
    """Distance (cm) of the rays of patients i from the axis of the upper arm; above it infinite."""
    distance = np.abs(at.ax[i] - p["half_width"][i] - p["fat"][i] - 9)
    return np.where(at.y[i] > p["shoulder"][i], distance, np.float32(np.inf))


def _add_breasts_and_arms(soft: np.ndarray, p: Arrays, at: Place) -> None:
    def breast(i):
        r2 = np.square((at.ax[i] - 0.55 * p["half_width"][i]) / 6) + np.square(
            (at.y[i] - p["breast_y"][i]) / 5
        )
        return _half_ellipse(r2)

    _add(soft, p["breast"], breast)
    _add(soft, p["arms"], lambda i: 9 * _half_ellipse(np.square(_from_arm(p, at, i) / 4.5)))


def _add_gas(soft: np.ndarray, p: Arrays, at: Place, cage: Cage, middle: Middle) -> None:
    """Gas in the place of soft tissue: trachea, bowel, stomach (below the left dome), hernia."""
    soft -= 1.5 * _ramp(0.8 - np.abs(middle.mx)) * _ramp(-1 - at.y)
    loops = np.sin(0.5 * at.x + p["bowel"]) * np.sin(0.8 * at.y + 3 * p["bowel"])
    soft -= 3 * np.clip(loops - 0.4, 0, None) * _ramp(-cage.above - 5, 3)

    def bubble(i):
        below = 0.8 * p["stomach"][i] + 0.8 - at.y[i] + cage.dome[i]
        r2 = np.square((at.x[i] - p["stomach_x"][i]) / 1.3) + np.square(below)
        return -1.6 * _half_ellipse(r2 / np.square(p["stomach"][i]))

    def sac(i):  # behind the heart: fluid below, gas above
        r2 = np.square(at.x[i] - 1.5) + np.square(at.y[i] - middle.heart_y[i] - 2)
        return _half_ellipse(r2 / np.square(p["hernia"][i])) * (
            1.5 - 3 * (at.y[i] < middle.heart_y[i] + 1.5)
        )

    _add(soft, p["stomach"], bubble)
    _add(soft, p["hernia"], sac)


def _bone(p: Arrays, at: Place, cage: Cage) -> np.ndarray:
    """Ribs, spine, clavicles and humerus in cm along the ray."""
    half = p["half_width"]
    # Posterior ribs fall towards the side, anterior ribs towards the middle.
    u = at.ax / half
    turn = np.float32(2 * np.pi / 2.3 * 14) / half
    back = np.cos(turn * (at.y - 1.4 * u - 3.2 * u * u * u))
    front = np.cos(turn * (at.y + 4.5 * u)) * (u > 0.3)
    ribs = 0.75 * np.clip(back - 0.2, 0, None) + 0.4 * np.clip(front - 0.3, 0, None)
    # more bone where the ray grazes a rib
    tangent = np.minimum(1 / np.sqrt(np.clip(1.05 - cage.lateral2, 0.1, None)), 2.5)
    bone = (
        ribs
        * tangent
        * _ramp((1.04 - cage.lateral) * half)
        * _ramp(cage.above + 3, 4)
        * (cage.h > 0)
    )
    bone += 1.8 * _ramp(1.9 - at.ax, 0.8) * (1 + 0.15 * np.cos(np.float32(2 * np.pi / 2.6) * at.y))
    clavicle = at.y - p["shoulder"] - 1.6 + 0.14 * at.ax - 0.8 * np.sin(at.ax * 0.35)
    bone += 1.1 * _ramp(0.75 - np.abs(clavicle), 0.6) * _ramp(at.ax - 1.8) * _ramp(half + 1 - at.ax)
    _add(bone, p["arms"], lambda i: 2 * _ramp(1.3 - _from_arm(p, at, i)))
    return bone


# ---------------------------------------------------------------- devices and detector


def _tube(p: Arrays, at: Place) -> np.ndarray:
    """Field, 1 where a chest tube lies: it enters between the ribs and runs up towards the apex."""
    tube = np.zeros_like(at.x)

    def drain(i):
        half, apex = p["half_width"][i], p["apex"][i]
        along = (at.y[i] - apex) / (p["dome_right"][i] - apex)
        path = half * (p["tube_end"][i] + 0.95 * along) + p["tube_bend"][i] * np.sin(3 * along)
        near = np.abs(p["tube_side"][i] * at.x[i] - np.minimum(path, half * 1.15)) < 0.45
        return near * (along > 0.1 + p["tube_end"][i] * 0.4) * (along < 0.85)

    _add(tube, p["tube"], drain)
    return tube


def _devices(p: Arrays, at: Place, middle: Middle, tube: np.ndarray) -> np.ndarray:
    """Tube, venous line, electrodes, pacemaker, letter of the side: attenuation without a unit."""
    foreign = 0.9 * tube

    def electrodes(i):
        wire = (np.abs(at.x[i] - p["lead_x"][i] - p["lead_slope"][i] * at.y[i]) < 0.2) * (
            at.y[i] > -9
        )
        return 0.5 * wire + 0.8 * (
            np.square(at.ax[i] - 8) + np.square(at.y[i] + 6 - 3 * at.left[i]) < 0.8
        )

    def generator(i):
        case = np.square((at.x[i] - 8.5) / 2.2) + np.square((at.y[i] + 7.5) / 1.8) < 1
        lead = np.abs(at.x[i] - 1.5 - 0.1 * np.square(at.y[i] - 2)) < 0.25
        return 3.2 * case + 0.6 * lead * (np.abs(at.y[i] + 1) < 5)

    def letter(i):
        beside_edge = np.abs(at.across[i] * p["marker"][i] - 0.36 * p["field"][i]) < 0.7
        return beside_edge * (np.abs(at.down[i] - p["shift_y"][i] + 0.4 * p["field"][i]) < 0.9)

    _add(
        foreign,
        p["line"],
        lambda i: 0.5 * (np.abs(middle.mx[i] + 2.4 + 0.05 * at.y[i]) < 0.25) * (at.y[i] < 1),
    )
    _add(foreign, p["leads"], electrodes)
    _add(foreign, p["pacemaker"], generator)
    _add(foreign, 2 * np.abs(p["marker"]), letter)
    return foreign


def detect(rng: np.random.Generator, transmitted: np.ndarray, p: Arrays) -> np.ndarray:
    """Transmitted share of the beam (B,112,112) → image (B,28,28) uint8, dense tissue bright."""
    primary = _coarse(transmitted)
    # comes from the patient, not the air
    scattered = p["scatter"] * primary[:, 6:-6, 6:-6].mean(axis=(1, 2), keepdims=True)
    photons = 2e5 * p["exposure"] * (primary + scattered)
    counts = photons + np.sqrt(photons) * rng.standard_normal(photons.shape, dtype=np.float32)
    counts += 20 * rng.standard_normal(photons.shape, dtype=np.float32)  # electronic noise
    signal = -np.log(np.maximum(counts, 50))
    # The window follows the histogram of the middle of the picture, as automatic processing does,
    # not quite well.
    middle = np.sort(signal[:, 5:-3, 4:-4].reshape(len(signal), -1), axis=1)
    low, high = (middle[:, int(q * middle.shape[1]), None, None] for q in (0.02, 0.99))
    value = (
        (signal - low) / (1.35 * (high - low) * p["width"])
        + 0.17
        + p["level"]
        - 0.1 * np.log(p["exposure"])
    )
    value = np.power(np.clip(value, 0, 1), p["gamma"])
    column, row = np.arange(SIZE)[None, None, :], np.arange(SIZE)[None, :, None]
    exposed = (column >= p["crop_left"]) & (column < SIZE - p["crop_right"])
    # the collimator's leaves
    exposed = exposed & (row >= p["crop_top"]) & (row < SIZE - p["crop_bottom"])
    return np.rint(250 * value * exposed).astype(np.uint8)
