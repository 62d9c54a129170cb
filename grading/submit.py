"""`make kumpul NAME="…" NIM="…"`: check one's work and pack it into kumpulan/<NIM>.zip.

NIM, NAME: one student, or up to three with commas. BELUM=1 packs in spite of what is missing, and
notes that. Without data and weights; what is missing is listed, and nothing is written.
"""

import hashlib
import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

from cxr_helpers.engine import files, results
from cxr_helpers.engine.errors import InputError
from grading import answers, challenge, package

MOST = 20 * 2**20
GROUP = 3
SCHEMA = 1
OF_A_RUN = ("config.json", "history.csv", "info.json", "predictions.npz", "code.py")


def people(names: str, nims: str) -> tuple[list[str], list[str]]:
    """The checked names and numbers. Raises InputError."""
    who = [[part.strip() for part in text.split(",") if part.strip()] for text in (names, nims)]
    if not who[0] or not who[1]:
        raise InputError('berikan nama dan NIM, misalnya: make kumpul NAME="Nama Anda" NIM="12345"')
    if len(who[1]) > GROUP:
        most = f"sebuah kelompok beranggota paling banyak {GROUP} orang."
        raise InputError(f"NIM memuat {len(who[1])} nomor: {most}")
    bad = [nim for nim in who[1] if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z.\-]{0,31}", nim)]
    if bad or len(set(who[1])) < len(who[1]):
        cure = "tulis angka dan huruf, dipisahkan koma, tiap NIM sekali."
        raise InputError(f"NIM {', '.join(bad) or nims} tidak dapat dipakai: {cure}")
    if len(who[0]) != len(who[1]):
        said = f"NAME memuat {len(who[0])} nama dan NIM {len(who[1])} nomor"
        raise InputError(f"{said}: tulis sama banyak, dipisahkan koma.")
    return who[0], who[1]


def missing(root: Path, build: Path, names: str, nims: str) -> tuple[list[str], dict[str, bytes]]:
    """(what is missing or does not fit, Indonesian; what is packed: {name in the ZIP: content})."""
    lacks, packed = [], {}
    for path in sorted((root / "notebooks").glob("0*.ipynb")):
        packed[f"notebooks/{path.name}"] = path.read_bytes()
        try:
            ours = package.notebook(path.read_bytes())
            asked = {answers.identity(cell): cell.source for cell in ours.cells}
            empty = [name for name, text in asked.items() if name and answers.unanswered(text)]
            lacks += [f"{path.stem}: jawaban {name} masih kosong" for name in empty]
            ran = build / "notebooks" / path.name
            if not ran.exists():
                lacks.append(f"{path.stem}: belum dijalankan, jalankan `make report`")
            elif _code(package.notebook(ran.read_bytes())) != _code(ours):
                late = "diubah sesudah laporan dibuat, jalankan `make report` lagi"
                lacks.append(f"{path.stem}: {late}")
        except InputError as error:
            lacks.append(f"{path.stem}: {error}")
    for name in ("laporan.html", "laporan.pdf"):
        path = build / "report" / name
        if path.exists():
            packed[f"build/report/{name}"] = path.read_bytes()
        else:
            shown = path.relative_to(root) if path.is_relative_to(root) else path
            lacks.append(f"{shown} belum ada: jalankan `make report`")
    cover = _json(build / ".cover")
    if cover and [_list(cover.get("name")), _list(cover.get("nim"))] != [_list(names), _list(nims)]:
        was = f"{cover.get('name') or 'tanpa nama'}, {cover.get('nim') or 'tanpa NIM'}"
        cure = "jalankan `make report` dengan NAME dan NIM ini"
        lacks.append(f"sampul laporan menyebut {was}: {cure}")
    results_folder = build / "results"
    for path in [*sorted(results_folder.glob("0*.json")), *results_folder.glob(challenge.ANSWER)]:
        packed[f"build/results/{path.name}"] = path.read_bytes()
    packed |= _runs(lacks, build)
    return lacks, packed


def _list(text) -> list[str]:
    return [part.strip() for part in str(text or "").split(",")]


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _code(notebook) -> list[str]:
    injected = "injected-parameters"
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [c.source for c in cells if injected not in c.metadata.get("tags", [])]


def _runs(lacks: list[str], build: Path) -> dict[str, bytes]:
    """The runs on the data that the report rests on, without their weights."""
    body = _json(build / "results" / "02_pelatihan.json")
    try:
        key, fingerprint = body["run"]["key"], body["provenance"]["data"]["fingerprint"]
    except (KeyError, TypeError):
        lacks.append("02_pelatihan.json belum ada atau rusak: jalankan `make report`")
        return {}
    packed, runs = {}, files.runs_folder()
    for folder in sorted(info.parent for info in runs.glob("*/info.json")):
        if folder.name == key or _json(folder / "config.json").get("data") == fingerprint:
            for path in [folder / name for name in OF_A_RUN if (folder / name).exists()]:
                packed[f"runs/{folder.name}/{path.name}"] = path.read_bytes()
    if f"runs/{key}/predictions.npz" not in packed:
        lacks.append(f"pelatihan {key} tidak ada lagi di {runs}: jalankan `make report` lagi")
    return packed


def _git(root: Path) -> list[dict]:
    """Who committed what, newest first; [] where there is no repository."""
    log = "log -n 500 --date=iso-strict --format=%H%x1f%an%x1f%ad%x1f%s"
    ask = ["git", "-C", str(root), *log.split()]
    try:
        done = subprocess.run(ask, capture_output=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    lines = done.stdout.decode("utf-8", "replace").splitlines()
    fields = ("commit", "author", "date", "subject")
    return [dict(zip(fields, line.split("\x1f"), strict=False)) for line in lines]


def pack(
    root: Path, build: Path, names: str, nims: str, unfinished: bool = False
) -> tuple[Path, list[str]]:
    """(path of kumpulan/<NIM>.zip, what is missing). Raises InputError with all that is missing."""
    who, numbers = people(names, nims)
    lacks, packed = missing(root, build, names, nims)
    if lacks and not unfinished:
        listed = "\n  - ".join(["belum lengkap:", *lacks])
        raise InputError(f"{listed}\nLengkapi, atau kumpulkan apa adanya dengan BELUM=1.")
    manifest = {
        "schema": SCHEMA,
        "names": who,
        "nims": numbers,
        "made": results.now(),
        "missing": lacks,
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()},
        "packages": results.packages(),
        "git": _git(root),
    }
    path = root / "kumpulan" / f"{'_'.join(numbers)}.zip"
    path.parent.mkdir(exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest, ensure_ascii=False, indent=1))
        for name, content in packed.items():
            archive.writestr(name, content)
    if partial.stat().st_size > MOST:
        said = f"ZIP-nya {partial.stat().st_size >> 20} MB, paling banyak {MOST >> 20} MB"
        partial.unlink()
        raise InputError(f"{said}: hapus keluaran notebook di notebooks/, lalu ulangi.")
    os.replace(partial, path)
    return path, lacks


def main() -> int:
    get = os.environ.get
    build = Path(get("BUILD") or "build").resolve()
    unfinished = get("BELUM", "") not in ("", "0")
    path, lacks = pack(files.ROOT, build, get("NAME", ""), get("NIM", ""), unfinished)
    size = max(1, path.stat().st_size >> 10)
    print(f"{path.relative_to(files.ROOT)} siap dikumpulkan ({size} KB).")
    print("".join(f"  belum ada: {lack}\n" for lack in lacks), end="")
    return 0
