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

from cxr_helpers.engine import runtime
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
OWN_SEEDS = 1000  # the first seed that a student's number gives
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
    """Check what a person gave, by the names of DEFAULTS; what is missing or empty has its default.
    Raises InputError that names the setting and what it may be.
    """
    text = {name: _text(given.get(name, default)) or default for name, default in DEFAULTS.items()}
    _check_choice("PRESET", text["preset"], ("auto", *PRESETS))
    _check_choice("DEVICE", text["device"], DEVICES)
    _check_choice("SIZE", text["size"], tuple(map(str, SIZES)))
    _check_choice("PRECISION", text["precision"], PRECISIONS)
    numbers = {
        "seed": _whole_number("SEED", text["seed"], 0, 2**31 - 1),
        "size": int(text["size"]),
        "seeds": None if text["seeds"] == "auto" else _whole_number("SEEDS", text["seeds"], 1, 100),
    }
    return Settings(**text | numbers)


def _text(value) -> str:
    """What a person gave, as text: 3, "3", 3.0 and NumPy's 3 are '3'."""
    whole = isinstance(value, Real) and not isinstance(value, bool) and value % 1 == 0
    return str(int(value)) if whole else str(value).strip()


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{name}={value} tidak dikenal: pilih {', '.join(choices)}.")


def _whole_number(name: str, text: str, least: int, most: int) -> int:
    # int() would also take '1_000' and Arabic digits, which make and a shell do not mean.
    digits = text.isascii() and text.isdigit() and len(text) < 20
    if not digits or not least <= int(text) <= most:
        raise InputError(
            f"{name}={text[:40]} tidak dapat dipakai: "
            f"berikan bilangan bulat dari {least} sampai {most}."
        )
    return int(text)


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
        shown = ", ".join(f"{name.upper()}={value}" for name, value in taken.items())
        print(f"Dari make lab: {shown}.")
    return given | taken


def seed_of(nim: str) -> int:
    """The training seed of a student's number (of a group, of all its numbers as given): 1000 …
    1000999; 0 without a number.

    So forty reports differ, a copied one shows, and none shares its seeds with the reference study.
    """
    plain = re.sub(r"\s+", "", nim).upper()
    if not plain:
        return 0
    return OWN_SEEDS + int(hashlib.sha256(plain.encode()).hexdigest(), 16) % 1_000_000


def parse_repeat(repeat="auto") -> bool | None:
    """Check REPEAT: True for "all" (notebook 04 trains every row), None for "auto" (the preset
    decides). Raises InputError.
    """
    text = str(repeat).strip() or "auto"
    _check_choice("REPEAT", text, ("auto", "all"))
    return True if text == "all" else None


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
            if not re.fullmatch(r"\s*[+-]?[\d.]+(e[+-]?\d+)?\s*", value, re.A | re.I):
                raise ValueError
            value = float(value)
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
    jobs, cluster = _whole_number("N_JOBS", _text(n_jobs or 1), 1, 1024), str(cluster).strip()
    if cluster and not re.fullmatch(r"dask://[^/:\s]+:\d+", cluster):
        raise InputError(f"CLUSTER={cluster} tidak dapat dipakai: tulis dask://host:port.")
    return jobs if cluster else min(jobs, runtime.cores()), cluster
