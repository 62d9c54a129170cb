"""`make kumpul NAME="…" NIM="…"`: check one's work and pack it, without data and weights, into
kumpulan/<NIM>.zip. Up to three students, with commas or semicolons. BELUM=1: as it is.
"""

import io
import json
import os
import secrets
import sys
import zipfile
from pathlib import Path

from cxr_helpers.engine import files, results
from cxr_helpers.engine.errors import InputError
from grading import answers, challenge, package
from report import check

GROUP = 3
OF_A_RUN = ("config.json", "history.csv", "info.json", "predictions.npz", "code.py")


def people(names: str, nims: str) -> tuple[list[str], list[str]]:
    """The checked names and numbers. Raises InputError."""
    numbers = check.nims(nims)
    who = [names.strip()]  # of one person all of it: "Siti, S.T."
    if len(numbers) > 1:
        sign = ";" if ";" in names else ","
        who = [part.strip() for part in names.split(sign) if part.strip()]
    if not numbers or not all(who):
        raise InputError('berikan nama dan NIM, misalnya: make kumpul NAME="Nama Anda" NIM="12345"')
    if len(who) != len(numbers) or len(numbers) > GROUP:
        said = f"NAME memuat {len(who)} nama dan NIM {len(numbers)} nomor"
        cure = f"tulis sama banyak, paling banyak {GROUP}, dipisahkan koma (atau titik koma)"
        raise InputError(f"{said}: {cure}.")
    return who, numbers


def missing(root: Path, build: Path, names: str, nims: str) -> tuple[list[str], dict[str, bytes]]:
    """(what is missing or does not fit, {name in the ZIP: content})."""
    lacks, packed = [], {}
    for path in package.chapters(root / "notebooks"):
        packed[f"notebooks/{path.name}"] = path.read_bytes()
        try:
            ours = package.notebook(path.read_bytes())
            asked = {answers.identity(cell): cell.source for cell in ours.cells}
            empty = [name for name, text in asked.items() if name and answers.unanswered(text)]
            lacks += [f"{path.stem}: jawaban {name} masih kosong" for name in empty]
            ran = build / "notebooks" / path.name
            if not ran.exists() or _code(package.notebook(ran.read_bytes())) != _code(ours):
                late = "belum dijalankan, atau diubah sesudah laporan dibuat"
                lacks.append(f"{path.stem}: {late}, jalankan `make report`")
        except InputError as error:
            lacks.append(f"{path.stem}: {error}")
    report = build / "report"
    for name in ("laporan.html", "laporan.pdf"):
        if not (report / name).exists():
            lacks.append(f"{report / name} belum ada: jalankan `make report`")
    # with the pages of the notebooks, to which the report links
    for path in [*sorted(report.glob("*.html")), *report.glob("laporan.pdf")]:
        packed[f"build/report/{path.name}"] = path.read_bytes()
    cover = _json(build / ".cover")
    said = [cover.get(key) for key in ("name", "nim")]
    if cover and said != [names.strip(), ",".join(check.nims(nims))]:
        was = ", ".join(map(str, said))
        cure = "jalankan `make report` dengan NAME dan NIM ini"
        lacks.append(f"sampul laporan menyebut {was}: {cure}")
    for path in [*sorted(build.glob("results/0*.json")), build / "results" / challenge.ANSWER]:
        if path.exists():
            packed[f"build/results/{path.name}"] = path.read_bytes()
    packed |= _runs(lacks, build)
    return lacks, packed


def _json(path: Path) -> dict:
    return package.read_json(path.read_bytes() if path.exists() else None) or {}


def _code(notebook) -> list[str]:
    """The code of its cells, without the one that make report put in."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [c.source for c in cells if "injected-parameters" not in c.metadata.get("tags", [])]


def _runs(lacks: list[str], build: Path) -> dict[str, bytes]:
    """The runs of the report's data and code, not abandoned ones of another, without weights."""
    try:
        key = _json(build / "results" / "02_pelatihan.json")["run"]["key"]
    except (KeyError, TypeError):
        lacks.append("02_pelatihan.json belum ada atau rusak: jalankan `make report`")
        return {}
    packed, runs = {}, files.runs_folder()
    report = _json(runs / key / "config.json")
    for folder in sorted(info.parent for info in runs.glob("*/info.json")):
        if all(_json(folder / "config.json").get(n) == report.get(n) for n in ("data", "code")):
            for path in [folder / name for name in OF_A_RUN if (folder / name).exists()]:
                packed[f"runs/{folder.name}/{path.name}"] = path.read_bytes()
    if f"runs/{key}/predictions.npz" not in packed:
        lacks.append(f"pelatihan {key} tidak ada lagi di {runs}: jalankan `make report` lagi")
    return packed


def pack(
    root: Path, build: Path, names: str, nims: str, unfinished: bool = False
) -> tuple[Path, list[str]]:
    """(path of kumpulan/<NIM>.zip, what is missing). Raises InputError where something is."""
    who, numbers = people(names, nims)
    lacks, packed = missing(root, build, names, nims)
    if lacks and not unfinished:
        print("Belum lengkap:", *lacks, sep="\n  - ", file=sys.stderr)
        cure = "lengkapi, atau kumpulkan apa adanya dengan BELUM=1."
        raise InputError(f"{len(lacks)} hal belum lengkap: {cure}")
    path = root / "kumpulan" / f"{'_'.join(numbers).replace('/', '-')}.zip"
    path.parent.mkdir(exist_ok=True)
    sender = path.with_name(".pengirim")  # a random word that stays with this copy of the project
    if not sender.exists():
        files.write(sender, secrets.token_hex(16).encode())
    manifest = {"names": who, "nims": numbers, "made": results.now()}
    manifest["sender"] = sender.read_text("utf-8")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", json.dumps(manifest, ensure_ascii=False, indent=1))
        for name, content in packed.items():
            archive.writestr(name, content)
    files.write(path, stream.getvalue())
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
