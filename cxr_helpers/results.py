"""What a notebook hands on: build/results/*.json, and numbers written the Indonesian way."""

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

from cxr_helpers.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
SCHEMA = 1
STAGING = "CXR_RESULTS"  # report/execute.py collects results here and moves them into place once the notebook has ended well
PACKAGES = (
    "torch torchvision medmnist numpy scipy scikit-learn pandas matplotlib seaborn papermill nbconvert pypandoc_binary typst"
).split()
MONTHS = "Januari Februari Maret April Mei Juni Juli Agustus September Oktober November Desember".split()


# --- numbers and dates as an Indonesian reader expects them ---------------------------------------------------------


def number(value: float, digits: int = 3) -> str:
    """1234.5 → '1.234,5' (digits=1). A missing value (None, NaN) is '–'."""
    if value is None or not math.isfinite(value):
        return "–"
    text = f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))
    return "−" + text[1:] if text.startswith("-") else text


def percent(value: float, digits: int = 1) -> str:
    """0.853 → '85,3%'."""
    return number(None if value is None else 100 * value, digits) + ("" if value is None else "%")


def points(value: float, digits: int = 1) -> str:
    """A difference of shares in percentage points with its sign: 0.021 → '+2,1'."""
    text = number(100 * value, digits)
    return text if text.startswith("−") else "+" + text


def interval(ci: tuple[float, float], digits: int = 1, scale: float = 100) -> str:
    """(0.81, 0.88) → '81,0–88,0'; an interval that holds negative numbers is written with 'hingga'."""
    low, high = (number(scale * bound, digits) for bound in ci)
    return f"{low} hingga {high}" if "−" in low + high else f"{low}–{high}"


def duration(seconds: float) -> str:
    """75 → '1 menit 15 detik'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours} jam"] * bool(hours) + [f"{minutes} menit"] * bool(minutes)
    return " ".join(parts + ([f"{rest} detik"] if rest or not parts else []))


def date(iso: str) -> str:
    """'2026-11-23T18:00:00+00:00' → '23 November 2026'."""
    moment = datetime.fromisoformat(iso)
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}"


def join(words: list[str]) -> str:
    """['a', 'b', 'c'] → 'a, b, dan c'."""
    if len(words) < 3:
        return " dan ".join(words)
    return ", ".join(words[:-1]) + ", dan " + words[-1]


# --- the files ------------------------------------------------------------------------------------------------------


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


def _plain(value):
    """NumPy values and NaN as JSON knows them (NaN becomes null, so that the file is strict JSON)."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write(name: str, body: dict, provenance: dict, build: Path | str = "build") -> Path:
    """Write build/results/{name}.json whole or not at all; returns its path. `provenance` comes from Study."""
    finished = {
        **provenance,
        "seconds": round(time.time() - provenance["clock"], 1),
        "commit": _commit(),
        "packages": packages(),
    }
    finished.pop("clock")
    folder = Path(os.environ.get(STAGING) or ROOT / build / "results")
    folder.mkdir(parents=True, exist_ok=True)
    path, partial = folder / f"{name}.json", folder / f".{name}.json.part"
    text = json.dumps(_plain({"schema": SCHEMA, "provenance": finished, **body}), ensure_ascii=False, indent=1, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


def read(name: str, build: Path | str = "build") -> dict:
    """Read build/results/{name}.json. Raises InputError if it is missing or of another schema."""
    path = ROOT / build / "results" / f"{name}.json"
    if os.environ.get(STAGING) and (draft := Path(os.environ[STAGING]) / path.name).exists():
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
