"""The settings of `make report` and of the notebooks' parameter cells, checked before any work
begins; no heavy imports.
"""

import dataclasses
import hashlib
import operator
import os
import re
from dataclasses import dataclass
from numbers import Real

from cxr_helpers.engine.errors import InputError

DEFAULTS = {
    "data": "auto",
    "weights": "auto",
    "preset": "auto",
    "seed": "0",
    "device": "auto",
    "size": "28",
    "classes": "auto",
    "precision": "auto",
    "seeds": "auto",
}
LAB = "CXR_LAB"  # set by `make lab`
SIZES = (28, 64, 128, 224)  # MedMNIST and MedMNIST+
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "float32", "bfloat16")


@dataclass(frozen=True)
class Preset:
    """How much is computed. None: every image of that split.

    every_row: notebook 04 trains each remedy, not some of them. side_studies: other starting
    weights (notebook 01) and the learning curve (03) are trained.
    """

    name: str
    train: int | None
    val: int | None
    test: int | None
    epochs: int
    seeds: int
    every_row: bool
    side_studies: bool


PRESETS = {
    "smoke": Preset("smoke", 64, 24, 32, 2, 1, every_row=False, side_studies=True),
    "quick": Preset("quick", None, None, None, 10, 1, every_row=False, side_studies=False),
    "full": Preset("full", None, None, None, 10, 5, every_row=True, side_studies=True),
}


@dataclass(frozen=True)
class Settings:
    """Checked settings; `preset` may still be "auto", which the device decides. seeds: None where
    the preset decides.
    """

    data: str
    weights: str
    preset: str
    seed: int
    device: str
    size: int
    classes: str
    precision: str
    seeds: int | None


def parse(**given) -> Settings:
    """Check what a person gave, by the names of DEFAULTS; what is missing has its default. Raises
    InputError that names the setting and what it may be.
    """
    data, weights, preset, seed, device, size, classes, precision, seeds = (
        {**DEFAULTS, **given}[name] for name in DEFAULTS
    )
    preset, device, text, size = (
        str(preset) or "auto",
        str(device) or "auto",
        _digits(seed),
        _digits(size),
    )
    if preset not in ("auto", *PRESETS):
        raise InputError(f"PRESET={preset} tidak dikenal: pilih {', '.join(PRESETS)}, atau auto.")
    if device not in DEVICES:
        raise InputError(f"DEVICE={device} tidak dikenal: pilih {', '.join(DEVICES)}.")
    # int() would also take '1_000' and Arabic digits, which make and a shell do not mean.
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 2**31):
        raise InputError(
            f"SEED={text[:40]} tidak dapat dipakai: "
            "berikan bilangan bulat dari 0 sampai 2147483647."
        )
    if size not in map(str, SIZES):
        raise InputError(f"SIZE={size} tidak tersedia: pilih {', '.join(map(str, SIZES))}.")
    precision, many = str(precision) or "auto", _digits(seeds) or "auto"
    if precision not in PRECISIONS:
        raise InputError(f"PRECISION={precision} tidak dikenal: pilih {', '.join(PRECISIONS)}.")
    if many != "auto" and not (
        many.isascii() and many.isdigit() and len(many) < 4 and 1 <= int(many) <= 100
    ):
        raise InputError(
            f"SEEDS={many} tidak dapat dipakai: berikan banyaknya seed, dari 1 sampai 100."
        )
    words = {
        "data": str(data) or "auto",
        "weights": str(weights) or "auto",
        "classes": str(classes).strip() or "auto",
    }
    words |= {"precision": precision, "seeds": None if many == "auto" else int(many)}
    return Settings(preset=preset, seed=int(text), device=device, size=int(size), **words)


def of_lab(**given) -> dict:
    """The settings, and in a JupyterLab that `make lab DATA=… SEED=…` opened those given there for
    what is at its default.
    """
    untouched = [
        name for name in given if os.environ.get(LAB) and str(given[name]) == DEFAULTS[name]
    ]
    typed = {name: os.environ.get(name.upper(), "") for name in untouched}
    taken = {name: value for name, value in typed.items() if value not in ("", DEFAULTS[name])}
    if taken:
        print(
            "Dari make lab: "
            f"{', '.join(f'{name.upper()}={value}' for name, value in taken.items())}."
        )
    return given | taken


OWN_SEEDS = 1000  # the first that a number gives


def seed_of(nim: str) -> int:
    """The training seed of a student's number (of a group, of all its numbers as given): 1000 …
    1000999; 0 without a number.

    So forty reports differ, a copied one shows, and none shares its seeds with the reference study.
    """
    plain = re.sub(r"\s+", "", nim).upper()
    return (
        OWN_SEEDS + int(hashlib.sha256(plain.encode()).hexdigest(), 16) % 1_000_000 if plain else 0
    )


def parse_repeat(repeat="auto") -> bool | None:
    """Check REPEAT: True for "all" (notebook 04 trains every row), None for "auto" (the preset
    decides). Raises InputError.
    """
    text = str(repeat).strip() or "auto"
    if text not in ("auto", "all"):
        raise InputError(f"REPEAT={text} tidak dikenal: pilih auto atau all.")
    return True if text == "all" else None


def _digits(value) -> str:
    """What a person gave for a whole number, as text: 3, "3", 3.0 and NumPy's 3 are '3'."""
    whole = isinstance(value, Real) and not isinstance(value, bool) and value % 1 == 0
    return str(int(value)) if whole else str(value).strip()


def to_plain(config) -> None:
    """Turn the numbers of a frozen dataclass into Python's own, by its fields' types: NumPy's 3 and
    "3" become 3.

    Raises InputError that names the field where it is no number, or no whole one where that is
    asked for.
    """
    for field in dataclasses.fields(config):
        value, optional = getattr(config, field.name), field.type in (int | None, float | None)
        if field.type in (int, float) or (optional and value is not None):
            whole = field.type in (int, int | None)
            object.__setattr__(config, field.name, _number(field.name, value, whole))


def _number(name: str, value, whole: bool) -> int | float:
    try:
        if isinstance(value, bool):
            raise ValueError
        if isinstance(value, str):
            value = (
                float(value)
                if re.fullmatch(r"\s*[+-]?[\d.]+(e[+-]?\d+)?\s*", value, re.A | re.I)
                else operator.index(value)
            )
        if not whole:
            return float(value)
        return operator.index(value) if not float(value).is_integer() else int(value)
    except (TypeError, ValueError, OverflowError):
        kind = "bilangan bulat" if whole else "bilangan, dengan titik sebagai tanda desimal"
        raise InputError(f"{name}={value!r} tidak dapat dipakai: nilainya harus {kind}.") from None


def parse_jobs(n_jobs=1, cluster="") -> tuple[int, str]:
    """Check N_JOBS (processes of notebook 04) and CLUSTER ("" or "dask://host:port"). Raises
    InputError.

    More processes than cores only wait for each other, each with a network of its own in memory:
    the cores are the most.
    """
    text, cluster = _digits(n_jobs or 1), str(cluster).strip()
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1024):
        raise InputError(
            f"N_JOBS={text} tidak dapat dipakai: berikan banyaknya proses, mulai dari 1."
        )
    if cluster and not re.fullmatch(r"dask://[^/:\s]+:\d+", cluster):
        raise InputError(f"CLUSTER={cluster} tidak dapat dipakai: tulis dask://host:port.")
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return int(text) if cluster else min(int(text), max(cores, 1)), cluster
