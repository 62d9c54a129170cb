"""`make nilai KUMPULAN=folder [KUNCI=folder] [BATAS="2026-12-01 23:59"] [ULANG=0|1|all]
[TANPA_KOTAK=1]`: grade a class.

Writes BUILD/nilai/: nilai.csv, mahasiswa/*.html, kelas.html, esai.html, tangan.csv (marks given by
hand: yours to edit) and hasil/*.json, one record a hand-in, by which a second run knows what is
done. One broken hand-in never stops the class.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from itertools import permutations
from pathlib import Path

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runtime import bar
from grading import again, answers, box, challenge, claims, marking, package, pages
from grading.course import Course, read_course

AT_ONCE = 2  # kernels; each may take a core and up to 1 GB
LOOK = "perlu dilihat"
YEAR = re.compile(r"20\d\d")  # is nobody's number
RECORD = 3  # of what a record holds; a new number grades anew


@dataclass
class Record:
    """All that is known of one hand-in. status: "dinilai", or why it could not be read."""

    name: str
    student: str
    nims: list[str]
    names: list[str]
    status: str = "dinilai"
    why: str = ""
    made: str = ""
    chapters: dict[str, str] = field(default_factory=dict)
    parts: dict[str, dict] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    claim: dict = field(default_factory=dict)
    again: str = ""
    answer: dict[str, float] = field(default_factory=dict)  # to the challenge
    answer_fault: str = ""
    remarks: list[str] = field(default_factory=list)
    boxed: bool = True
    basis: str = ""


def who(handin: package.Handin, path: Path) -> tuple[list[str], list[str], str]:
    """(numbers, names, time) by the manifest, else the digits in the file's name, else it all."""
    try:
        manifest = package.manifest(handin)[1]
        nims, names = ([package.clean(x)[:100] for x in manifest[k][:3]] for k in ("nims", "names"))
        if nims:
            return nims, names, package.clean(manifest["made"])[:40]
    except (KeyError, TypeError):
        pass
    made = datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="seconds")
    stem = package.clean(path.stem if path.is_file() else path.name)
    numbers = [digits for digits in re.findall(r"\d{4,}", stem) if not YEAR.fullmatch(digits)]
    return numbers[:3] or [stem], [], made


def grade(
    path: Path, course: Course, expected: dict, boxed: bool, studies: claims.Studies
) -> Record:
    """One hand-in, whatever is in it."""
    try:
        handin = package.read(path)
    except package.Refused as error:
        return _unread(path, error.status, str(error), boxed)
    nims, names, made = who(handin, path)
    record = Record(handin.name, nims[0], nims, names, made=made, boxed=boxed)
    for chapter in course.chapters:
        _chapter(record, handin, chapter, course, expected)
    record.answer, record.answer_fault = challenge.answer(handin)
    record.claim = asdict(claims.check(handin, studies))
    record.remarks += [*dict.fromkeys(handin.remarks)][:20] + package.altered(handin)
    return record


def _unread(path: Path, status: str, why: str, boxed: bool) -> Record:
    """The record of a hand-in of which nothing could be read."""
    nims, names, made = who(package.Handin(path.name), path)
    name = package.clean(path.name)
    return Record(name, nims[0], nims, names, status, why, made, boxed=boxed)


def _chapter(
    record: Record, handin: package.Handin, chapter: answers.Chapter, course: Course, expected: dict
) -> None:
    """The parts of one notebook; where it cannot be read, each of them carries that status."""
    try:
        given = answers.lift(chapter, package.notebook(package.find(handin, chapter.name)[1]))
    except package.Refused as error:
        record.chapters[chapter.name] = error.status
        record.remarks.append(f"{chapter.name}: {error}")
        for name, asked in chapter.asked.items():
            record.parts[name] = asdict(marking.Part(error.status, 0.0, asked.points))
        return
    record.chapters[chapter.name] = "terbaca"
    record.given |= {n: answer.source for n, answer in given.items() if answer.source is not None}
    full = {n: answer.source for n, answer in given.items() if answer.source and not answer.empty}
    to_run = {n: source for n, source in full.items() if not chapter.asked[n].essay}
    outcomes = marking.run(chapter, to_run, course.probes, record.boxed) if to_run else {}
    for name, asked in chapter.asked.items():
        part = marking.grade_part(asked, given[name], outcomes.get(name), expected.get(name))
        record.parts[name] = asdict(part)


def handins(folder: Path) -> list[Path]:
    """What lies in KUMPULAN, one entry a hand-in. Raises InputError."""
    if not folder.is_dir():
        cure = "Kumpulkan ZIP atau folder mahasiswa di satu folder."
        raise InputError(f"KUMPULAN={folder}: folder itu tidak ada. {cure}")
    visible = [p for p in sorted(folder.iterdir()) if not p.name.startswith((".", "__MACOSX"))]
    entries = [path for path in visible if not path.is_symlink()]
    archives = (".zip", ".ipynb", *package.OTHER_ARCHIVES)
    loose = [path for path in entries if path.is_file()]
    others = [path.name for path in loose if path.suffix.lower() not in archives]
    entries = [path for path in entries if path.name not in others]
    if not entries:
        raise InputError(f"KUMPULAN={folder}: tidak ada ZIP atau folder di dalamnya.")
    if others:
        print(f"Bukan kumpulan, dilewati: {package.listed(list(map(ascii, others)))}", flush=True)
    return entries


def basis(path: Path, course: Course, boxed: bool) -> str:
    """Digest of all that decides a record."""
    digest = hashlib.sha256(f"{RECORD}{course.digest}{boxed}{path.name}".encode(errors="replace"))
    for entry in [path] if path.is_file() else sorted(path.rglob("*")):
        if entry.is_file() and not entry.is_symlink() and ".git" not in entry.parts:
            state = entry.stat()
            said = f"{entry.relative_to(path)}{state.st_size}{state.st_mtime_ns}"
            digest.update(said.encode(errors="replace"))
    return digest.hexdigest()


def record_path(folder: Path, path: Path) -> Path:
    """Where the record of a hand-in is kept: its name may hold anything."""
    plain = re.sub(r"[^0-9A-Za-z]+", "-", path.name)[:40].strip("-")
    digest = hashlib.sha256(path.name.encode(errors="replace")).hexdigest()
    return folder / f"{plain}-{digest[:8]}.json"


def write_record(path: Path, record: Record) -> None:
    files.write(path, json.dumps(asdict(record), ensure_ascii=True, indent=1).encode())


def read_record(path: Path, basis: str) -> Record | None:
    """The kept record, if it still says what grading anew would say and needs no look."""
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.basis == basis and record.status != LOOK else None


def grade_class(
    folder: Path, out: Path, course: Course, boxed: bool
) -> tuple[dict[Path, Record], int]:
    """(the record of every hand-in, kept as soon as it is there; how many were graded now)."""
    paths, records = handins(folder), {}
    (out / "hasil").mkdir(parents=True, exist_ok=True)
    bases = {path: basis(path, course, boxed) for path in paths}
    for path in paths:
        record = read_record(record_path(out / "hasil", path), bases[path])
        if record:
            records[path] = record
    todo = [path for path in paths if path not in records]
    if todo:
        said = "yang sudah selesai disimpan, jadi Ctrl-C tidak menghapusnya."
        print(f"{len(todo)} kumpulan dinilai; {said}", flush=True)
        with bar(len(paths), "Menilai", "kumpulan", len(records)) as progress:
            for path, record in _graded(todo, course, boxed):
                record.basis = bases[path]
                write_record(record_path(out / "hasil", path), record)
                records[path] = record
                progress.update(1)
                if progress.disable:  # no terminal
                    said = f"{record.name}: {record.status}"
                    print(f"{len(records)}/{len(paths)} {said}", flush=True)
    return {path: records[path] for path in paths}, len(todo)


def _graded(todo: list[Path], course: Course, boxed: bool) -> Iterator[tuple[Path, Record]]:
    """Each hand-in with its record, as soon as it is there."""
    expected, studies = {}, claims.Studies()
    for chapter in course.chapters:
        expected |= marking.expect(chapter, course.solutions, course.probes, boxed)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(_safely, p, course, expected, boxed, studies): p for p in todo}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _safely(
    path: Path, course: Course, expected: dict, boxed: bool, studies: claims.Studies
) -> Record:
    """Grade; what nobody foresaw becomes a status of this hand-in, for a person to look at."""
    try:
        return grade(path, course, expected, boxed, studies)
    except Exception as error:  # the class goes on; nothing is counted as a silent zero
        said = f"{type(error).__name__}: {str(error)[:200]}"
        return _unread(path, LOOK, f"Penilaian terhenti ({said}): periksa dengan tangan.", boxed)


def latest(records: dict[Path, Record]) -> list[Record]:
    """One hand-in a student: of several the newest that can be read; the others are said."""
    chosen: dict[str, Record] = {}
    by_name = sorted(records.values(), key=lambda record: record.name)
    by_time = sorted(by_name, key=lambda record: pages.moment(record.made))
    for record in sorted(by_time, key=lambda record: record.status == "dinilai"):
        before = chosen.get(record.student)
        if before is not None:
            record.remarks.append(f"kumpulan lain dari NIM yang sama tidak dinilai: {before.name}")
        chosen[record.student] = record
    newest = sorted(chosen.values(), key=lambda r: r.student)
    for record, other in permutations(newest, 2):
        if set(record.nims) & set(other.nims):
            record.remarks.append(f"NIM yang sama juga ada dalam {other.name}")
    return newest


def retrain(
    records: dict[Path, Record], chosen: list[Record], ulang: str, out: Path, boxed: bool
) -> None:
    """Train claimed runs again (ULANG) and keep what came of it."""
    salt, studies, begun = again.salt(out), claims.Studies(), time.monotonic()
    claimed = {record.name: claims.Claim(**record.claim) for record in chosen if record.claim}
    waiting = {r.name: (path, r) for path, r in records.items() if ulang != "0" and not r.again}
    names = [n for n in again.order(salt, claimed) if n in waiting and claimed[n].trained]
    todo = [waiting[name] for name in names]
    with bar(len(todo), "Melatih ulang", "kumpulan") as progress:
        for path, record in todo:
            if ulang == "1" and time.monotonic() - begun > again.HOUR:
                break
            recipe = claims.distribution(record.name, claimed)
            given = package.read(path), claimed[record.name], recipe, studies, salt, boxed
            record.again = again.retrain(*given)
            place = record_path(out / "hasil", path)
            remarks = read_record(place, record.basis).remarks
            write_record(place, replace(record, remarks=remarks))
            progress.update(1)


def main() -> int:
    get = os.environ.get
    ulang, boxed = get("ULANG") or "0", get("TANPA_KOTAK", "") in ("", "0")
    if ulang not in ("0", "1", "all"):
        raise InputError(f"ULANG={ulang} tidak dikenal: pilih 0, 1, atau all.")
    if not get("KUMPULAN"):
        example = "make nilai KUMPULAN=kumpulan"
        raise InputError(f"berikan folder yang berisi kumpulan, misalnya: {example}")
    limit = pages.deadline(get("BATAS") or "")
    if boxed and (why := box.refusal()):
        raise InputError(why)
    own = Path(get("KUNCI")) if get("KUNCI") else None
    course, key = read_course(own_keys=own), challenge.read_key(own)
    out = Path(get("BUILD") or "build") / "nilai"
    records, now = grade_class(Path(get("KUMPULAN")), out, course, boxed)
    chosen = latest(records)
    retrain(records, chosen, ulang, out, boxed)
    if key:
        pages.challenge_board(out, list(records.values()), key, limit)
    pages.write(out, chosen, course, limit)
    words = f"{now} kumpulan dinilai" if now else "Tidak ada kumpulan baru"
    where = f"{out}/nilai.csv, {out}/kelas.html, {out}/mahasiswa/, {out}/esai.html"
    print(f"{words}; {len(chosen)} mahasiswa atau kelompok: {where}")
    return 0
