"""`make nilai KUMPULAN=folder [KELAS=daftar.csv] [KUNCI=folder] [BATAS="2026-12-01 23:59"]
[TERLAMBAT=10] [ULANG=0|1|all] [TANPA_KOTAK=1]`: grade a class.

Writes BUILD/nilai/: nilai.csv, mahasiswa/*.html, kelas.html, esai.html, tangan.csv (marks given by
hand: yours to edit), Moodle's files, and hasil/*.json, one record a hand-in, by which a second run
knows what is done. One broken hand-in never stops the class.
"""

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from cxr_helpers.engine import files, indonesian, settings, sources
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runtime import bar
from grading import again, answers, box, challenge, claims, marking, package, pages, roster
from grading.course import Course, read_course
from grading.roster import Roster, Student
from grading.submit import GROUP

AT_ONCE = 2  # kernels; each may take a core and up to 1 GB
RECORD = 5  # of what a record holds; a new number grades anew
SAID, ROWS = 10, 8  # NIMs of a manifest, rows of notebook 05 that are kept
SOON = 86400  # seconds by which another computer's clock may be ahead


@dataclass
class Record:
    """All that is known of one hand-in. status: "dinilai", or why it could not be read; nims,
    names: as it says, until `identify` has looked them up; sender: who sent it, "" if not known.
    """

    name: str
    student: str
    nims: list[str]
    names: list[str]
    sender: str = ""
    digest: str = ""
    conflict: bool = False
    status: str = "dinilai"
    why: str = ""
    made: str = ""
    parts: dict[str, dict] = field(default_factory=dict)
    given: dict[str, str] = field(default_factory=dict)
    experiments: list[list[str]] = field(default_factory=list)
    claim: dict = field(default_factory=dict)
    again: str = ""
    answer: dict[str, float] = field(default_factory=dict)  # to the challenge
    answer_fault: str = ""
    remarks: list[str] = field(default_factory=list)
    boxed: bool = True
    basis: str = ""


def said(handin: package.Handin, path: Path) -> dict:
    """What a hand-in says of who made it and when, within bounds, else what its file says."""
    body, made = package.manifest(handin)[1], None
    with suppress(OSError):
        state = (path.parent if path.parent.is_file() else path).stat()
        made = datetime.fromtimestamp(state.st_mtime).astimezone().isoformat(timespec="seconds")
    given = {key: body[key] if isinstance(body.get(key), list) else [] for key in ("nims", "names")}
    texts = {key: [package.clean(x)[:100] for x in given[key][:SAID]] for key in given}
    moodle = package.MOODLE.match(path.name)
    # a manifest may say anything, but never that Moodle said it
    sender = (
        f"Moodle {moodle[2]}" if moodle else f"ZIP {package.clean(body.get('sender', ''))[:64]}"
    )
    return {**texts, "sender": sender, "made": package.clean(body.get("made") or made or "")[:40]}


def grade(
    path: Path, course: Course, expected: dict, boxed: bool, studies: claims.Studies
) -> Record:
    """One hand-in, whatever is in it."""
    try:
        handin = package.read(path)
    except package.Refused as error:
        return _unread(path, error.status, str(error), boxed)
    about = {"digest": handin.digest, "boxed": boxed, **said(handin, path)}
    record, to_run, lifted = Record(handin.name, "", **about), {}, {}
    for chapter in course.chapters:
        lifted |= _lifted(record, handin, chapter)
    for name, given in lifted.items():
        if given.source and not given.empty and not course.asked[name].essay:
            to_run[name] = given.source
    outcomes = marking.run(course.steps, to_run, course.probes, boxed) if to_run else {}
    for name, given in lifted.items():
        part = marking.grade_part(course.asked[name], given, outcomes.get(name), expected.get(name))
        record.parts[name] = asdict(part)
    record.answer, record.answer_fault = challenge.answer(handin)
    record.claim = asdict(claims.check(handin, studies))
    record.experiments = experiments(handin)
    record.remarks += [*dict.fromkeys(handin.remarks)][:20] + package.altered(handin)
    return record


def _unread(path: Path, status: str, why: str, boxed: bool) -> Record:
    """The record of a hand-in of which nothing could be read."""
    name = package.clean(path.name)
    about = said(package.Handin(name), path)
    return Record(name, "", status=status, why=why, boxed=boxed, **about)


def _lifted(
    record: Record, handin: package.Handin, chapter: answers.Chapter
) -> dict[str, answers.Answer]:
    """The answers in one notebook; where it cannot be read, each part carries that status."""
    try:
        given = answers.lift(chapter, package.notebook(package.find(handin, chapter.name)[1]))
    except package.Refused as error:
        record.remarks.append(f"{chapter.name}: {error}")
        for name, asked in chapter.asked.items():
            record.parts[name] = asdict(marking.Part(error.status, 0.0, asked.points))
        return {}
    record.given |= {n: answer.source for n, answer in given.items() if answer.source is not None}
    return given


def experiments(handin: package.Handin) -> list[list[str]]:
    """Notebook 05's table for the reader of its essays, as short texts; [] if it cannot be read."""
    lines = []
    try:
        for row in (package.results(handin, "05_percobaan") or {})["variants"][:ROWS]:
            changed = "; ".join(f"{name} = {value}" for name, value in row["changed"].items())
            auc = indonesian.number(row["test"]["auc"]["value"], 3)
            words = (row["title"], changed[:200], len(row["seeds"]), auc, row["verdict"])
            lines.append([package.clean(word)[:200] for word in words])
    except Exception:  # a results file may hold anything
        return []
    return lines


def handins(folder: Path) -> list[Path]:
    """What lies in KUMPULAN, one entry a hand-in; Moodle's archive holds one a student. Raises
    InputError.
    """
    if not folder.exists():
        cure = "Kumpulkan ZIP atau folder mahasiswa di satu folder."
        raise InputError(f"KUMPULAN={folder}: folder itu tidak ada. {cure}")
    paths = [folder] if folder.is_file() else sorted(folder.iterdir())
    left = (".", *package.LEFTOVER)
    whole = [path for path in paths if (path.is_file() or path.is_dir()) and not path.is_symlink()]
    visible = [path for path in whole if not path.name.startswith(left)]
    parts = {path: package.moodle_parts(path) for path in visible if path.is_file()}
    entries = [entry for path in visible for entry in parts.get(path) or [path]]
    if not entries:
        raise InputError(f"KUMPULAN={folder}: tidak ada ZIP atau folder di dalamnya.")
    return entries


def basis(path: Path, course: Course, boxed: bool) -> str:
    """Digest of all that decides a record."""
    digest = hashlib.sha256(f"{RECORD}{course.digest}{boxed}{path.name}".encode(errors="replace"))
    if path.parent.is_file():
        with zipfile.ZipFile(path.parent) as archive:
            mine = [m for m in archive.infolist() if m.filename.startswith(path.name)]
        digest.update(repr([(m.filename, m.CRC) for m in mine]).encode(errors="replace"))
    for entry in [path] if path.is_file() else sorted(path.rglob("*")):
        if entry.is_file() and not entry.is_symlink() and ".git" not in entry.parts:
            state = entry.stat()
            what = f"{entry.relative_to(path)}{state.st_size}{state.st_mtime_ns}"
            digest.update(what.encode(errors="replace"))
    return digest.hexdigest()


def record_path(folder: Path, path: Path) -> Path:
    """Where the record of a hand-in is kept."""
    return folder / f"{package.file_name(path.name)}.json"


def write_record(path: Path, record: Record) -> None:
    files.write(path, json.dumps(asdict(record), ensure_ascii=True, indent=1).encode())


def read_record(path: Path, basis: str) -> Record | None:
    """The kept record, if it still says what grading anew would say and needs no look."""
    try:
        record = Record(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return record if record.basis == basis and record.status != pages.LOOK else None


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
        kept = "yang sudah selesai disimpan, jadi Ctrl-C tidak menghapusnya."
        print(f"{len(todo)} kumpulan dinilai; {kept}", flush=True)
        with bar(len(paths), "Menilai", "kumpulan", len(records)) as progress:
            for path, record in _graded(todo, course, boxed):
                record.basis = bases[path]
                write_record(record_path(out / "hasil", path), record)
                records[path] = record
                progress.update(1)
                if progress.disable:  # no terminal
                    print(f"{len(records)}/{len(paths)} {record.name}: {record.status}", flush=True)
    return {path: records[path] for path in paths}, len(todo)


def _graded(todo: list[Path], course: Course, boxed: bool) -> Iterator[tuple[Path, Record]]:
    """Each hand-in with its record, as soon as it is there."""
    expected = marking.expect(course.steps, course.solutions, course.probes, boxed)
    studies = claims.Studies()
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
        fault = f"{type(error).__name__}: {str(error)[:200]}"
        return _unread(
            path, pages.LOOK, f"Penilaian terhenti ({fault}): periksa dengan tangan.", boxed
        )


def handed_in(records: list[Record]) -> Roster:
    """In the place of a list: everybody who says a NIM."""
    nobody = Roster([], listed=False)
    written = [nim for record in records for nim in record.nims or nobody.named(record.name)]
    return Roster((Student(nim) for nim in map(roster.normal, written) if nim), listed=False)


def identify(record: Record, people: Roster) -> None:
    """Whose hand-in it is, by the roster and by Moodle; what does not fit is remarked."""
    written, student = record.nims or people.named(record.name), people.students
    numbers = [people.find(nim) or roster.normal(nim) or nim for nim in written]
    given = dict(zip(numbers, record.names, strict=False))
    sender = people.sender(record.sender)
    if sender and sender.nim not in numbers:
        if numbers:
            who = f"dikirim di Moodle oleh {sender.nim}, padahal manifesnya menyebut"
            record.remarks.append(f"{who} {package.listed(numbers)}")
        numbers = [sender.nim]
    record.nims = list(dict.fromkeys(numbers)) or [record.name]
    record.student = record.nims[0]
    listed = {nim: student[nim].name for nim in record.nims if nim in student}
    record.names = [listed.get(nim) or given.get(nim, "") for nim in record.nims]
    unknown = [nim for nim in record.nims if nim not in student]
    if unknown:
        record.remarks.append(f"tidak ada dalam daftar kelas, atau bukan NIM: {', '.join(unknown)}")
    if len(record.nims) > GROUP:
        record.remarks.append(f"kelompok {len(record.nims)} orang, paling banyak {GROUP}")
    at, now = pages.moment(record.made), datetime.now().timestamp()
    if not at or at > now + SOON:
        why = "di masa depan" if at else "tidak terbaca"
        record.remarks.append(f"waktunya {why} ({record.made}): periksa keterlambatannya")


def latest(records: dict[Path, Record], people: Roster | None = None) -> list[Record]:
    """What counts, by student: of one sender the newest hand-in. Where two senders give one NIM
    both stay, in conflict, for the instructor to settle.
    """
    people = people or handed_in([*records.values()])
    for record in records.values():
        identify(record, people)
    order = sorted(records.values(), key=lambda r: (pages.moment(r.made), r.name))
    # what each member of a group sent is one
    order = [*{(*r.nims, r.digest or r.name): r for r in order}.values()]
    readable = {tuple(r.nims) for r in order if r.digest}
    newest: dict[tuple, Record] = {}
    for record in order:
        nims = tuple(record.nims)
        if not record.digest and nims in readable:
            continue  # as good as not handed in; said below
        same = (nims, record.sender)
        if before := newest.pop(same, None):
            record.remarks.append(f"menggantikan kumpulan sebelumnya: {before.name}")
        newest[same] = record
    for record in newest.values():
        mine = [other for other in order if set(other.nims) & set(record.nims)]
        broken = [other.name for other in mine if not other.digest and other is not record]
        others = [o.name for o in newest.values() if o in mine and o.digest != record.digest]
        if broken:
            record.remarks.append(f"kumpulan lain tidak dapat dibaca: {package.listed(broken)}")
        if others:
            record.conflict = True
            cure = "pindahkan yang bukan miliknya dari KUMPULAN"
            record.remarks.append(f"KONFLIK dengan {package.listed(others)}: {cure}")
    return sorted(newest.values(), key=lambda record: (record.student, record.name))


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
            try:
                given = package.read(path), claimed[record.name], recipe, studies, salt, boxed
                record.again = again.retrain(*given)
            except Exception as error:  # the class goes on
                record.again = f"tidak dapat diulang ({type(error).__name__})"
            place = record_path(out / "hasil", path)
            if kept := read_record(place, record.basis):  # as it was before it was identified
                kept.again = record.again
                write_record(place, kept)
            progress.update(1)


def fetch_nothing(remote: sources.Remote, path: Path, *_, **__) -> Path:
    """In the place of sources.fetch while a class is graded."""
    if path.exists():
        return path
    raise InputError(f"{path.name} tidak ada di sini, dan penilaian tidak mengunduh apa pun")


def main() -> int:
    get = os.environ.get
    ulang, boxed = get("ULANG") or "0", get("TANPA_KOTAK", "") in ("", "0")
    if ulang not in ("0", "1", "all"):
        raise InputError(f"ULANG={ulang} tidak dikenal: pilih 0, 1, atau all.")
    if not get("KUMPULAN"):
        example = "make nilai KUMPULAN=kumpulan"
        raise InputError(f"berikan folder yang berisi kumpulan, misalnya: {example}")
    limit = pages.deadline(get("BATAS") or "")
    per_day = settings.to_number("TERLAMBAT", get("TERLAMBAT") or 10, (0, 100), whole=False) / 100
    if boxed and (why := box.refusal()):
        raise InputError(why)
    sources.fetch = fetch_nothing
    own = Path(get("KUNCI")) if get("KUNCI") else None
    course, key = read_course(own_keys=own), challenge.read_key(own)
    people = roster.read(Path(get("KELAS"))) if get("KELAS") else None
    for student in people.students.values() if people else ():
        pages.deadline(student.limit)  # before an hour of grading, not after it
    out = Path(get("BUILD") or "build") / "nilai"
    records, now = grade_class(Path(get("KUMPULAN")), out, course, boxed)
    people = people or handed_in([*records.values()])
    chosen = latest(records, people)
    retrain(records, chosen, ulang, out, boxed)
    if key:
        settled = [record for record in records.values() if not record.conflict]
        pages.challenge_board(out, settled, key, limit)
    notes = pages.write(out, chosen, course, limit, people, per_day)
    words = f"{now} kumpulan dinilai" if now else "Tidak ada kumpulan baru"
    where = f"{out}/nilai.csv, {out}/kelas.html, {out}/mahasiswa/, {out}/esai.html"
    print(f"{words}; {len(chosen)} mahasiswa atau kelompok: {where}\n{notes}".strip())
    return 0
