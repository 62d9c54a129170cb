"""A hand-in (ZIP, folder, part of Moodle's archive) as {name: content} in memory: nothing is
extracted, bytes are counted as they are read; what is unsafe is left out and remarked.
"""

import csv
import hashlib
import io
import json
import math
import os
import re
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from cxr_helpers.engine.errors import InputError

MEMBERS = 5_000
ONE, TOTAL = 20 * 2**20, 100 * 2**20  # bytes of a file, and of all files that are read
MOST = {".json": 8 * 2**20, ".csv": 2**17}  # of files that take many times their size once parsed
WANTED = (".ipynb", ".json", ".npz", ".csv", ".py", "laporan.html", "laporan.pdf")
LEFTOVER = set("__MACOSX .DS_Store Thumbs.db desktop.ini .ipynb_checkpoints".split())
LEFTOVER |= {".git", ".venv", "__pycache__"}
CELLS, CELL_TEXT = 2_000, 100_000  # of a notebook; characters of a cell
# how Moodle's "Download all" names what a student sent, and how programs name copies
MOODLE = re.compile(r"([^/]{0,255}?)_(\d{1,12})_assignsubmission_file_")
COPY = r"(?: ?\((\d{1,4})\)|-Copy(\d{1,4})| ?- ?(?:Copy|Salin)[^/.]{0,20})?"
NOTEBOOK = re.compile(
    rf"(?:Salinan dari |Copy of )?(0[^/]{{1,80}}?){COPY}(?:\.ipynb(?:\.txt)?)?", re.I
)
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError)
DAMAGED += (UnicodeDecodeError, NotImplementedError)
LISTED = 3  # names in a remark


class Refused(InputError):
    """What cannot be read. status: a word of the table that an instructor gets."""

    def __init__(self, status: str, why: str):
        super().__init__(why)
        self.status = status


@dataclass
class Handin:
    """{path with /, NFC: content} of the wanted files, remarks, digest of all of it."""

    name: str
    files: dict[str, bytes] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    digest: str = ""


def read(path: Path) -> Handin:
    """Raises Refused: "rusak", "terkunci", "terlalu besar", "bentuk lain", "kosong"."""
    handin = Handin(unicodedata.normalize("NFC", clean(path.name)))
    try:
        _take(_of_folder(path, handin) if path.is_dir() else _of_file(path, handin), handin)
        inner = [name for name in handin.files if name.lower().endswith(".zip")]
        if len(inner) == 1 and not any(name.lower().endswith(".ipynb") for name in handin.files):
            _take(_of_zip(io.BytesIO(handin.files[inner[0]]), handin), handin)
    except DAMAGED as error:
        why = f"Tidak dapat dibaca ({type(error).__name__}): minta mahasiswa mengumpulkan lagi."
        raise Refused("rusak", why) from None
    handin.files = {n: c for n, c in handin.files.items() if not n.lower().endswith(".zip")}
    if not handin.files:
        why = "Tidak memuat notebook atau hasil apa pun: minta ZIP buatan `make kumpul`."
        raise Refused("kosong", why)
    digests = sorted(n + hashlib.sha256(c).hexdigest() for n, c in handin.files.items())
    handin.digest = hashlib.sha256("\n".join(digests).encode()).hexdigest()
    return handin


def _take(members: Iterator[tuple[str, io.BufferedIOBase]], handin: Handin) -> None:
    """Read members, counting what really comes out of them."""
    total = 0
    for name, stream in members:
        most = MOST.get(Path(name).suffix.lower(), ONE)
        with stream:
            content = stream.read(most + 1)
        total += len(content)
        if total > TOTAL:
            why = f"Semua berkasnya lebih besar daripada yang dibaca ({TOTAL >> 20} MB)."
            raise Refused("terlalu besar", why)
        if len(content) <= most:
            handin.files[name] = content
        else:
            handin.remarks.append(f"terlalu besar, tidak dibaca: {name[-80:]}")


def _safe(raw: str, handin: Handin) -> str | None:
    """The name with / in NFC, or None for what is not wanted; what is unsafe is remarked."""
    name = unicodedata.normalize("NFC", raw.replace("\\", "/")).removeprefix("./")
    parts = name.split("/")
    if ".." in parts or re.match(r"/|[A-Za-z]:", name) or re.search(r"[\x00-\x1f]", name):
        handin.remarks.append(f"nama berkas tidak aman, tidak dibaca: {ascii(name)[:80]}")
        return None
    if LEFTOVER & set(parts) or parts[-1].startswith(("._", ".~")):
        return None
    without_ending = "." not in parts[-1] and NOTEBOOK.fullmatch(parts[-1])
    wanted = name.lower().endswith((*WANTED, ".zip", ".ipynb.txt")) or without_ending
    return name if wanted else None


def moodle_parts(path: Path) -> list[Path]:
    """The hand-ins in Moodle's archive, as paths below the file; [] where it is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            matches = [MOODLE.match(name) for name in archive.namelist()]
    except DAMAGED:
        return []
    return [path / clean(part) for part in sorted({match[0] for match in matches if match})]


def _of_file(path: Path, handin: Handin) -> Iterator[tuple[str, io.BufferedIOBase]]:
    """Of a ZIP, whatever its ending, or of one student's part of Moodle's."""
    if path.parent.is_file():
        return _of_zip(path.parent, handin, path.name)
    if not zipfile.is_zipfile(path) and path.suffix.lower() != ".zip":
        raise Refused("bentuk lain", "Bukan ZIP: minta ZIP buatan `make kumpul`.")
    return _of_zip(path, handin)


def _of_zip(source, handin: Handin, under: str = "") -> Iterator[tuple[str, io.BufferedIOBase]]:
    with zipfile.ZipFile(source) as archive:
        members = [m for m in archive.infolist() if clean(m.filename).startswith(under)]
        if len(members) > MEMBERS:
            why = f"ZIP berisi {len(members)} berkas; paling banyak {MEMBERS}."
            raise Refused("terlalu besar", why)
        for member in members:
            name = _safe(member.filename[len(under) :].lstrip("/" if under else ""), handin)
            if name is None or member.is_dir():
                continue
            if stat.S_ISLNK(member.external_attr >> 16):
                handin.remarks.append(f"tautan, tidak dibaca: {name[:80]}")
                continue
            if member.flag_bits & 1:
                why = "ZIP berkata sandi: minta mahasiswa mengumpulkan tanpa kata sandi."
                raise Refused("terkunci", why)
            yield name, archive.open(member)


def _of_folder(folder: Path, handin: Handin) -> Iterator[tuple[str, io.BufferedIOBase]]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - LEFTOVER)
        for path in [Path(place, name) for name in sorted({*folders, *names} - LEFTOVER)]:
            name = os.fsencode(path.relative_to(folder)).decode("utf-8", "replace")
            if path.is_symlink():
                handin.remarks.append(f"tautan, tidak dibaca: {ascii(name)[:80]}")
            elif path.is_file() and (safe := _safe(name, handin)):
                yield safe, open(path, "rb")  # noqa: SIM115 - who reads it closes it


def text(content: bytes) -> str:
    """Decoded as its byte order mark says, else as UTF-8, else as Windows-1252."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")


def table(content: bytes) -> list[dict[str, str]]:
    """Rows of a CSV as Excel leaves it, any delimiter and encoding. Names in lower case."""
    words = text(content).lstrip("\ufeff")
    first = words.split("\n", 1)[0]
    how = {"delimiter": max(";,\t", key=first.count), "strict": True}
    try:
        return [
            {(k or "").strip().lower(): v.strip() for k, v in row.items() if isinstance(v, str)}
            for row in csv.DictReader(io.StringIO(words), **how)
        ]
    except csv.Error:
        return []


def clean(text) -> str:
    """Any text without the lone surrogates of JSON and file names, which no encoding can write."""
    return str(text).encode("utf-8", "replace").decode("utf-8")


def chapters(folder: Path) -> list[Path]:
    """The assignment's notebooks in a folder, without copies of them."""
    return [path for path in sorted(folder.glob("0*.ipynb")) if not is_copy(path.name)]


def is_copy(name: str) -> bool:
    """Whether a file's name is that of a copy."""
    match = NOTEBOOK.fullmatch(name)
    return match is not None and name.lower() != f"{match[1]}.ipynb".lower()


def find(handin: Handin, name: str) -> tuple[str, bytes]:
    """The notebook `name`, else its newest copy; executed ones last. Raises Refused "tidak ada"."""
    ranks = {}
    for path in handin.files:
        last = path.rsplit("/", 1)[-1]
        match = NOTEBOOK.fullmatch(last)
        if match and match[1].lower() == name.lower():
            newest = -int(match[2] or match[3] or 0)
            ranks[path] = "build/" in f"/{path}", is_copy(last), newest, path.count("/"), path
    if not ranks:
        raise Refused("tidak ada", f"{name}.ipynb tidak ada.")
    chosen = min(ranks, key=ranks.get)
    others = {handin.files[path] for path in ranks if not ranks[path][0]}
    if len(others) > 1 or ranks[chosen][1]:
        handin.remarks.append(f"{name}: ada salinan, yang dinilai {chosen[-80:]}")
    return chosen, handin.files[chosen]


def notebook(content: bytes):
    """The notebook, within CELLS and CELL_TEXT. Raises Refused: "kosong", "konflik", "rusak"."""
    words = text(content)
    if not words.strip():
        raise Refused("kosong", "Berkas notebook itu kosong.")
    if re.search(r"^(<{7}|>{7}) ", words, re.M):
        why = "selesaikan penggabungannya, lalu kumpulkan lagi."
        raise Refused("konflik", f"Notebook memuat tanda konflik git (<<<<<<<): {why}")
    try:
        raw = json.loads(words)
        about = {
            name: raw[name] for name in ("nbformat", "nbformat_minor", "metadata") if name in raw
        }
        made = {"metadata": {}} | _bounded(about)
        made["cells"] = [_cell(cell) for cell in raw["cells"][:CELLS]]
        return nbformat.reads(json.dumps(made), as_version=4)
    except Exception as error:  # whatever an odd file makes of nbformat must not stop the class
        why = f"Notebook tidak dapat dibaca ({type(error).__name__}): simpan ulang dari JupyterLab."
        raise Refused("rusak", why) from None


def _bounded(about: dict) -> dict:
    """What has no more parts than a notebook has cells: nbformat takes its time for each."""
    return {k: v for k, v in about.items() if sum(map(json.dumps(v).count, "{[,")) <= CELLS}


def _cell(cell: dict) -> dict:
    """What is read of a cell: no outputs, which may be what is wrong."""
    source = clean("".join(map(str, cell.pop("source", "")))[:CELL_TEXT])
    cell.pop("outputs", None)
    kept = _bounded(cell) | {"source": source}
    if not isinstance(kept.get("metadata"), dict):
        kept["metadata"] = {}
    if cell.get("cell_type") == "code":
        kept |= {"outputs": [], "execution_count": None}
    return kept


def manifest(handin: Handin) -> dict:
    """What its manifest.json says, {} where there is none."""
    return results(handin, "manifest") or {}


def file_name(name: str, more: str = "") -> str:
    """A file's name for any text: readable, and another one for every other text."""
    plain = re.sub(r"[^0-9A-Za-z]+", "-", name)[:40].strip("-")
    return f"{plain}-{hashlib.sha256((name + more).encode(errors='replace')).hexdigest()[:8]}"


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" dan {len(names) - LISTED} lainnya" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def read_json(content: bytes | None) -> dict | None:
    """None for what is no JSON object."""
    try:
        body = json.loads(text(content or b""))
    except (ValueError, RecursionError):
        return None
    return body if isinstance(body, dict) else None


def is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def same(right, said, relative: float, absolute: float, without: tuple[str, ...] = ()) -> bool:
    """Whether JSON holds what it should, numbers nearly; parts named in `without` in any way."""
    if is_number(right) and is_number(said):
        return math.isclose(right, said, rel_tol=relative, abs_tol=absolute)
    if type(right) is not type(said):
        return False
    how = relative, absolute, without
    if isinstance(right, list):
        pairs = zip(right, said, strict=False)
        return len(right) == len(said) and all(same(*pair, *how) for pair in pairs)
    if isinstance(right, dict):
        names = right.keys() - set(without)
        return names <= said.keys() and all(same(right[n], said[n], *how) for n in names)
    return right == said


def results(handin: Handin, name: str) -> dict | None:
    """build/results/{name}.json of the hand-in, None where there is none that can be read."""
    paths = [path for path in handin.files if path.rsplit("/", 1)[-1] == f"{name}.json"]
    bodies = [read_json(handin.files[path]) for path in sorted(paths, key=lambda p: p.count("/"))]
    return next((body for body in bodies if body is not None), None)
