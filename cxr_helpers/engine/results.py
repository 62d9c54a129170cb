"""What a notebook hands on: under `make report` to build/results/*.json, run by hand to build/lab/,
so that exploring never changes what a report is made from.
"""

import json
import math
import os
import platform
import subprocess
import time
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import version
from pathlib import Path

import numpy as np

from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError

SCHEMA = 1
VERSION = "0.2.0"  # of this package; CHANGELOG.md says what is new in it
# How a notebook marks what is typeset: the key in an output's metadata, the cover's MIME type.
KEY = "laporan"
COVER = "application/vnd.laporan-sampul+json"
# Where in their provenance the results that one report joins must agree.
COMMON = {
    "data": ("data", "fingerprint"),
    "bobot": ("weights", "digest"),
    "preset": ("preset",),
    "seed": ("seed",),
    "perangkat": ("device",),
    "presisi": ("precision",),
}
PACKAGES = "torch torchvision medmnist numpy scipy scikit-learn pandas matplotlib seaborn".split()
PACKAGES += "papermill nbconvert pypandoc_binary typst".split()


@cache
def _commit() -> str:
    try:
        ask = ["git", "-C", str(files.ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "tidak diketahui"


@cache
def packages() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers or the look of the report."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def plain(value):
    """NumPy values and NaN as strict JSON can hold them; NaN becomes null."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def folder(build: Path | str = "build") -> Path:
    """Where a notebook hands on: what make collects, or without make the build's lab/."""
    return Path(os.environ.get(files.RESULTS) or files.project() / build / "lab")


def write(name: str, body: dict, provenance: dict, build: Path | str = "build") -> Path:
    """Hand on {name}.json, its provenance (of Study.provenance) completed; returns its path."""
    kept = [path for path in files.runs_folder().rglob("*") if path.is_file()]
    student = json.loads(os.environ.get(files.STUDENT) or "{}")
    number = student.get("nim", "")
    complete = provenance | {
        "seconds": round(time.time() - provenance["clock"], 1),
        "runs_bytes": sum(path.stat().st_size for path in kept),
        "version": VERSION,
        "commit": _commit(),
        "packages": packages(),
        "seed_of_nim": bool(number) and provenance["seed"] == settings.seed_of(number),
    }
    del complete["clock"]
    if student:
        complete["student"] = student
    path = folder(build) / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = plain({"schema": SCHEMA, "provenance": complete, **body})
    text = json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)
    files.write(path, (text + "\n").encode())
    return path


def read(name: str, build: Path | str = "build") -> dict:
    """Read build/results/{name}.json, or what was handed on by hand. Raises InputError."""
    path = files.project() / build / "results" / f"{name}.json"
    newer = folder(build) / path.name
    if newer.exists():  # under make: written by this very notebook, not yet moved into place
        path = newer
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        why = f"belum ada: jalankan `make report` atau notebook {name} dahulu"
    except (OSError, ValueError):
        why = "rusak: hapus berkas itu, lalu jalankan `make report` lagi"
    else:
        if isinstance(body, dict) and body.get("schema") == SCHEMA:
            return body
        why = "dibuat oleh versi lain: jalankan `make report` lagi"
    raise InputError(f"Berkas hasil {path} {why}.")


def agree(bodies: dict[str, dict]) -> None:
    """Refuse to join results, {notebook: content}, that differ in what COMMON names."""
    for title, place in COMMON.items():
        values = {}
        for name, body in bodies.items():
            value = body.get("provenance", {})
            for key in place:
                value = value.get(key, {})
            if value != {}:
                values[name] = json.dumps(value, sort_keys=True, ensure_ascii=False)
        if len(set(values.values())) > 1:
            shown = "; ".join(f"{name}: {value}" for name, value in values.items())
            cure = "jalankan `make clean`, lalu `make report` (yang sudah dilatih tidak diulang)"
            raise InputError(f"Hasil yang digabungkan berbeda pada {title} ({shown}): {cure}.")
