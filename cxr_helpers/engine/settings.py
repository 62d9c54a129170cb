"""The settings of `make report` and of the notebooks' parameter cells, checked before any work
begins. Standard library only: report/check.py runs where packages may be missing.
"""

import dataclasses
import hashlib
import os
import re
from dataclasses import dataclass

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError

LAB = "CXR_LAB"  # set by `make lab`
OWN_SEEDS = 1000  # the first seed that a student's number gives
SIZES = (28, 64, 128, 224)  # pixels along a side, of MedMNIST and MedMNIST+


@dataclass(frozen=True)
class Preset:
    """How much is computed: images of each split (None: every one), epochs, seeds, every remedy in
    notebook 04, and the side studies of notebooks 01 (starting weights) and 03 (learning curve).
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
CHOICES = {
    "preset": ("auto", *PRESETS),
    "device": ("auto", "cpu", "cuda", "mps"),
    "size": tuple(map(str, SIZES)),
    "precision": ("auto", "float32", "bfloat16"),
}


@dataclass(frozen=True)
class Settings:
    """Checked settings. preset "auto": the device decides; seeds None: the preset decides."""

    data: str
    weights: str
    preset: str
    seed: int
    device: str
    size: int
    classes: str
    precision: str
    seeds: int | None


DEFAULTS = {field.name: "auto" for field in dataclasses.fields(Settings)}
DEFAULTS |= {"seed": "0", "size": "28"}


def parse(**given) -> Settings:
    """Check settings by the names of DEFAULTS, whose values fill the gaps. Raises InputError."""
    checked = {}
    for name, default in DEFAULTS.items():
        checked[name] = str(given.get(name, default)).strip() or default
        if name in CHOICES:
            _check_choice(name.upper(), checked[name], CHOICES[name])
    seeds = checked["seeds"]
    checked["seeds"] = None if seeds == "auto" else to_number("SEEDS", seeds, (1, 100))
    checked["seed"] = to_number("SEED", checked["seed"], (0, 2**31 - 1))
    checked["size"] = int(checked["size"])
    return Settings(**checked)


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value} tidak dikenal: pilih {', '.join(choices)}.")


def to_number(name: str, value, limits: tuple = (), whole: bool = True) -> int | float:
    """A number as a cell, a shell or NumPy gives it, within limits, both included. InputError."""
    # float() would also take 1_000, nan and Arabic digits, which nobody means
    written = re.compile(r"\s*[+-]?[\d.]+(e[+-]?\d+)?\s*", re.ASCII | re.IGNORECASE)
    try:
        if isinstance(value, str) and not written.fullmatch(value):
            raise ValueError
        number = float(value)
        if isinstance(value, bool) or (whole and not number.is_integer()):
            raise ValueError
        if limits and not limits[0] <= number <= limits[1]:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        kind = "bilangan bulat" if whole else "bilangan, dengan titik sebagai tanda desimal"
        bounds = f" mulai dari {limits[0]} sampai {limits[1]}" if limits else ""
        why = f"nilainya harus {kind}{bounds}"
        raise InputError(f"{name}={str(value)[:40]} tidak dapat dipakai: {why}.") from None
    return int(number) if whole else number


def of_lab(**given) -> dict:
    """The settings; what `make lab DATA=…` was given takes the place of defaults."""
    if not os.environ.get(LAB):
        return given
    typed = {}
    for name, value in given.items():
        text = os.environ.get(name.upper(), "")
        if str(value) == DEFAULTS[name] and text not in ("", DEFAULTS[name]):
            typed[name] = text
    if typed:
        shown = ", ".join(f"{name.upper()}={text}" for name, text in typed.items())
        print(f"Dari make lab: {shown}.")
    return given | typed


def seed_of(nim: str) -> int:
    """The seed of a student's number, 1000 … 1000999, so that no two reports agree; else 0."""
    number = re.sub(r"\s+", "", nim).upper()
    if not number:
        return 0
    return OWN_SEEDS + int(hashlib.sha256(number.encode()).hexdigest(), 16) % 1_000_000


def parse_repeat(repeat="auto") -> str:
    """REPEAT: which rows notebook 04 trains beside the preset's. Raises InputError."""
    text = str(repeat).strip() or "auto"
    _check_choice("REPEAT", text, ("auto", "augmentation", "all"))
    return text


def parse_jobs(n_jobs=1, cluster="") -> tuple[int, str]:
    """Check N_JOBS (at most one a core) and CLUSTER ("" or "dask://host:port")."""
    jobs, cluster = to_number("N_JOBS", n_jobs or 1, (1, 1024)), str(cluster).strip()
    if cluster and not re.fullmatch(r"dask://[^/:\s]+:\d+", cluster):
        raise InputError(f"CLUSTER={cluster} tidak dapat dipakai: tulis dask://host:port.")
    return jobs if cluster or jobs == 1 else min(jobs, cores()), cluster


def cores() -> int:
    """The processor cores that this process may use, within a container's quota too."""
    # not above: report/check.py runs where packages may be missing
    from joblib import cpu_count

    return cpu_count()


def threads() -> int:
    """CXR_THREADS, or else every core. Raises InputError."""
    text = os.environ.get(files.THREADS, "").strip()
    return to_number(files.THREADS, text, (1, 1024)) if text else cores()


def to_plain(config) -> None:
    """Turn NumPy's 3 and "3" in a frozen dataclass into 3, a word or list of words into a tuple."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is None and field.type in (int | None, float | None):
            continue
        if field.type in (int, int | None, float, float | None):
            value = to_number(field.name, value, whole=field.type in (int, int | None))
        elif field.type == tuple[str, ...]:
            value = (value,) if isinstance(value, str) else tuple(value)
        object.__setattr__(config, field.name, value)
