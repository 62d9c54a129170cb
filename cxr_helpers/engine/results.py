"""What a notebook hands on: build/results/*.json, written whole and read back with one line for what is wrong."""

import json
import math
import os
import platform
import subprocess
import time
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.files import ROOT

SCHEMA = 1
VERSION = "0.2.0"  # of this package; CHANGELOG.md says what is new in it
# How a notebook marks what report/exporters.py typesets: the key in an output's metadata, and the MIME type of the cover.
KEY = "laporan"
COVER = "application/vnd.laporan-sampul+json"
PACKAGES = (
    "torch torchvision medmnist numpy scipy scikit-learn pandas matplotlib seaborn papermill nbconvert pypandoc_binary typst"
).split()


def _commit() -> str:
    try:
        ask = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "tidak diketahui"


def packages() -> dict[str, str]:
    """Versions of Python and of the packages that decide the numbers or the look of the report."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "tidak terpasang"
    return found


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def plain(value):
    """NumPy values and NaN as JSON knows them (NaN becomes null, so that the file is strict JSON)."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write(name: str, body: dict, provenance: dict, build: Path | str = "build") -> Path:
    """Write build/results/{name}.json whole or not at all; returns its path. `provenance` comes from Study."""
    finished = {
        **provenance,
        "seconds": round(time.time() - provenance["clock"], 1),
        "version": VERSION,
        "commit": _commit(),
        "packages": packages(),
    }
    finished.pop("clock")
    folder = Path(os.environ.get(files.RESULTS) or ROOT / build / "results")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    text = json.dumps(plain({"schema": SCHEMA, "provenance": finished, **body}), ensure_ascii=False, indent=1, allow_nan=False)
    files.write(path, (text + "\n").encode())
    return path


def read(name: str, build: Path | str = "build") -> dict:
    """Read build/results/{name}.json. Raises InputError if it is missing or of another schema."""
    path = ROOT / build / "results" / f"{name}.json"
    if os.environ.get(files.RESULTS) and (draft := Path(os.environ[files.RESULTS]) / path.name).exists():
        path = draft  # written by this very notebook, not yet moved into place
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"Berkas hasil {path} belum ada: jalankan `make report` atau notebook {name} dahulu.") from None
    except (OSError, ValueError):
        raise InputError(f"Berkas hasil {path} rusak: hapus berkas itu, lalu jalankan `make report` lagi.") from None
    if not isinstance(body, dict) or body.get("schema") != SCHEMA:
        raise InputError(f"Berkas hasil {path} dibuat oleh versi lain: jalankan `make report` lagi.")
    return body
