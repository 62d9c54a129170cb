"""Check the settings of `make report` and note them, so that make rebuilds only what a changed
setting touches.

`python report/check.py settings|cover|environment` reads DATA, WEIGHTS, PRESET, SEED, DEVICE, SIZE,
CLASSES, PRECISION, SEEDS, REPEAT, NAME, NIM and BUILD from the environment and writes
BUILD/.settings, BUILD/.cover, or (with the versions found) BUILD/.environment, only if its content
changed. Wrong settings or a missing package: one line, exit 2, nothing written. It runs at every
make, and where packages are missing, so it imports the standard library only (not files.py, which
needs filelock).
"""

import json
import os
import re
import sys
import time
import unicodedata
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

NOBODY = {"name": "", "nim": "", "former": []}
WEIGHT_ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors")
ROOMS = ("cxr_helpers", "phantom", "notebooks", "report", "tests", "bench", "grading", ".git")
NIM = re.compile(r"(?=.{1,32}$)[0-9A-Z]+(?:[/.-][0-9A-Z]+)*")  # such as 21/473821/TK/48541
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cxr_helpers.engine import files, settings  # noqa: E402
from cxr_helpers.engine.errors import InputError  # noqa: E402


def _file(name: str, path: str, endings: tuple[str, ...]) -> list | None:
    """Path, size and time of a file that a setting names; None for a word such as 'auto'."""
    path = os.path.expanduser(path)
    if not (path.lower().endswith(endings) or os.sep in path or os.path.isfile(path)):
        return None
    try:
        state = os.stat(path)
    except OSError:
        why = "berkas tidak ditemukan. Periksa letak dan ejaannya."
        raise InputError(f"{name}={path}: {why}") from None
    if not os.path.isfile(path) or not os.access(path, os.R_OK):
        raise InputError(f"{name}={path}: berkas tidak dapat dibaca. Periksa izin berkas itu.")
    return [os.path.abspath(path), state.st_size, state.st_mtime_ns]


def _real_files() -> list[str]:
    """The real data and weights that are here: their arrival is a change for `auto`."""
    ours = (".", "phantom-")
    here = [path for path in files.data_folder().glob("*") if path.is_file()]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "torch"
    weights = Path(os.environ.get("TORCH_HOME") or cache) / "hub/checkpoints"
    brought = [path.name for path in here if not path.name.startswith(ours)]  # whatever its name
    return sorted(brought + [path.name for path in weights.glob("resnet18-*.pth")])


def _environment() -> dict:
    """{package of pyproject.toml: version}. Raises InputError for one missing or too old."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = re.search(r"^dependencies = \[(.*?)^\]", text, re.M | re.S)[1]
    installed, wrong = {}, []
    for name, least in re.findall(r'"([\w-]+)>=([\d.]+)', block):
        try:
            installed[name] = version(name)
            if _numbers(installed[name]) < _numbers(least):
                wrong.append(f"{name}>={least}")
        except PackageNotFoundError:
            wrong.append(name)
    if wrong:
        cure = "jalankan `make setup` di lingkungan yang sama."
        raise InputError(f"{sys.executable} belum memiliki paket {', '.join(wrong)}: {cure}")
    return installed


def _numbers(written: str) -> list[int]:
    return [int(part) for part in re.match(r"[\d.]+", written)[0].strip(".").split(".")]


def read_cover(folder: Path) -> dict:
    """Name and number of the student whose build this is, and of those before ("former")."""
    try:
        return {**NOBODY, **json.loads((folder / ".cover").read_text(encoding="utf-8"))}
    except (OSError, ValueError, TypeError):
        return dict(NOBODY)


def nims(text: str) -> list[str]:
    """Students' numbers, with commas between them, in the one form in which they are compared: NFKC
    (fullwidth digits are digits), capitals, nothing that is not seen. Raises InputError.
    """
    seen = [c for c in unicodedata.normalize("NFKC", text).upper() if c.isprintable()]
    numbers = [number for number in "".join(seen).replace(" ", "").split(",") if number]
    wrong = [number for number in numbers if not NIM.fullmatch(number)]
    if wrong or len(set(numbers)) < len(numbers):
        rule = "tulis angka dan huruf (di antaranya boleh /, ., atau -), tiap NIM sekali"
        raise InputError(f"NIM={text[:60]} tidak dapat dipakai: {rule}, dipisahkan koma.")
    return numbers


def seed(folder: Path) -> str:
    """SEED, else the student's own (settings.seed_of), by NIM as given now or as kept."""
    return os.environ.get("SEED") or str(settings.seed_of(cover(folder)["nim"]))


def cover(folder: Path) -> dict:
    """As `read_cover`, by what is given now; what is not given stays as it was."""
    kept = read_cover(folder)
    before = {"name": kept["name"], "nim": kept["nim"]}
    student = {name: os.environ.get(name.upper(), value) for name, value in before.items()}
    student["nim"] = ",".join(nims(student["nim"]))
    new = before != student and any(before.values()) and before not in kept["former"]
    return {**student, "former": kept["former"] + [before] * new}


def given(folder: Path) -> dict[str, str]:
    """The settings as the environment gives them, else their defaults; SEED as of `seed`."""
    said = {n: os.environ.get(n.upper()) or value for n, value in settings.DEFAULTS.items()}
    return said | {"seed": seed(folder)}


def wanted(name: str, folder: Path) -> dict:
    """The content of BUILD/.settings, BUILD/.cover or BUILD/.environment. Raises InputError."""
    get = os.environ.get
    if name == "environment":
        return _environment()
    if name == "cover":
        return cover(folder)
    parsed = settings.parse(**given(folder))
    repeat = settings.parse_repeat(get("REPEAT") or "auto")
    # How many processes, and where, decides no number: a change rebuilds nothing.
    settings.parse_jobs(get("N_JOBS") or 1, get("CLUSTER") or "")
    return {
        **vars(parsed),
        "repeat": repeat,
        "data_file": _file("DATA", parsed.data, (".npz",)),
        "weights_file": _file("WEIGHTS", parsed.weights, WEIGHT_ENDINGS),
        "real_files": _real_files() if "auto" in (parsed.data, parsed.weights) else None,
    }


def _from_the_future() -> None:
    """Files dated after now (a wrong clock) would be built anew for ever: they are dated now."""
    now = time.time()
    paths = [path for room in ROOMS for path in (ROOT / room).rglob("*")]
    for path in [ROOT / "pyproject.toml", *paths]:
        with suppress(OSError):
            if path.stat().st_mtime > now + 1:
                os.utime(path, (now, now))


def note(folder: Path, name: str) -> None:
    """Write folder/.{what} if its content changed. Raises InputError."""
    if (folder / "cxr_helpers").exists() or folder.resolve() in [ROOT / name for name in ROOMS]:
        raise InputError(
            f"BUILD={os.environ.get('TYPED') or folder} memuat berkas proyek: "
            "pilih folder tersendiri, misalnya BUILD=build."
        )
    text = json.dumps(wanted(name, folder), indent=1, ensure_ascii=False)
    path, old = folder / f".{name}", folder / f".{name}.old"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".probe").touch()
        (folder / ".probe").unlink()
        if name == "settings":
            _from_the_future()
            (folder / ".begin").touch()  # what is newer than this was made by the make now running
        old.unlink(missing_ok=True)
        if not path.exists():
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            # put back by make if these settings turn out to be unusable: the old outputs stay valid
            os.replace(path, old)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"BUILD={folder} tidak dapat ditulisi ({error.strerror}): "
            "pilih folder lain dengan BUILD=…"
        ) from None


if __name__ == "__main__":
    try:
        folder, name = Path(os.environ.get("BUILD") or "build"), sys.argv[1]
        if name == "seed":  # for `make lab`
            print(seed(folder))
        else:
            note(folder, name)
    except InputError as error:
        print(f"Galat: {error}", file=sys.stderr)
        sys.exit(2)
