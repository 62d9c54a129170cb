"""`make nilai KUMPULAN=folder [KELAS=daftar.csv] [KUNCI=folder] [BATAS="2026-12-01 23:59"]
[TERLAMBAT=10] [ULANG=1] [TANPA_KOTAK=1]`: grade a class; BUILD/nilai/ holds what came of it.

hasil/*.json is one record a hand-in, by which a second run knows what is done.
"""

import hashlib
import json
import os
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from cxr_helpers.engine import files, indonesian, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runtime import bar
from grading import again, answers, box, challenge, claims, marking, package, pages, roster, shown
from grading.course import Course, read_course
from grading.roster import Roster, Student
from grading.submit import GROUP

AT_ONCE = 3  # kernels, of up to 1 GB each: an answer may sleep while others compute
RECORD = 7  # of what a record holds; a new number grades anew
SAID, ROWS = 10, 8  # NIMs of a manifest, rows of notebook 05 that are kept
SOON = 86400  # seconds by which another computer's clock may be ahead


@dataclass
class Record:
    """One hand-in. status: "dinilai", or why it was not; nims: `identify` settles them."""

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
    """What a hand-in says of who made it and when, within bounds."""
    body = package.manifest(handin)
    given = {key: body[key] if isinstance(body.get(key), list) else [] for key in ("nims", "names")}
    texts = {key: [package.clean(x)[:100] for x in given[key][:SAID]] for key in given}
    moodle = package.MOODLE.match(path.name)
    # who says nothing is nobody else who says nothing; a ZIP could pretend to be Moodle's
    sender = f"ZIP {body['sender']}" if body.get("sender") else f"berkas {path.name}"
    sender = f"Moodle {moodle[2]} di {path.parent.name}/{path.name}" if moodle else sender
    sender = package.clean(sender)[:99]
    return {**texts, "sender": sender, "made": package.clean(body.get("made") or "")[:40]}


def grade(
    path: Path, course: Course, expected: dict, boxed: bool, studies: claims.Studies
) -> Record:
    """One hand-in, whatever is in it; what nobody foresaw is a status, for a person to look at."""
    try:
        handin = package.read(path)
        record, to_run, lifted = Record(handin.name, "", **said(handin, path)), {}, {}
        record.digest, record.boxed = handin.digest, boxed
        for chapter in course.chapters:
            lifted |= _lifted(record, handin, chapter)
        for name, given in lifted.items():
            if given.source and not given.empty and not course.asked[name].essay:
                to_run[name] = given.source
        outcomes = marking.run(course.steps, to_run, course.probes, boxed) if to_run else {}
        for name, given in lifted.items():
            outcome, values = outcomes.get(name), expected.get(name)
            part = marking.grade_part(course.asked[name], given, outcome, values)
            record.parts[name] = asdict(part)
        record.answer, record.answer_fault = challenge.answer(handin)
        claim = claims.check(handin, studies)
        record.claim, record.experiments = asdict(claim), experiments(handin)
        record.remarks += [*dict.fromkeys(handin.remarks)][:20]
        record.remarks += shown.remarks(handin, boxed) if claim.recomputed else []
        return record
    except package.Refused as error:
        status, why = error.status, str(error)
    except Exception as error:  # the class goes on; nothing is counted as a silent zero
        status, fault = pages.LOOK, f"{type(error).__name__}: {str(error)[:200]}"
        why = f"Penilaian terhenti ({fault}): periksa dengan tangan."
    unread = package.Handin(package.clean(path.name))
    return Record(unread.name, "", status=status, why=why, boxed=boxed, **said(unread, path))


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
            words = (row["title"], changed, len(row["seeds"]), auc, row["verdict"])
            lines.append([package.clean(word)[:200] for word in words])
    except Exception:  # a results file may hold anything
        return []
    return lines


def handins(folder: Path) -> list[Path]:
    """What lies in KUMPULAN, an entry a hand-in (Moodle: a student). Raises InputError."""
    paths = [folder] if folder.is_file() else sorted(folder.glob("*"))
    entries = []
    for path in paths:
        if path.is_symlink() or path.name.startswith((".", *package.LEFTOVER)):
            continue
        parts = package.moodle_parts(path) if path.is_file() else []
        if parts:
            print(f"{path.name}: arsip Moodle dengan {len(parts)} kumpulan")
        entries += parts or [path]
    if not entries:
        cure = "Kumpulkan ZIP atau folder mahasiswa di satu folder."
        raise InputError(f"KUMPULAN={folder} tidak ada atau kosong. {cure}")
    return entries


def basis(path: Path, course: Course, boxed: bool) -> str:
    """Digest of all that decides a record."""
    try:
        content = package.read(path).digest
    except Exception as error:  # graded, this is its status
        content = str(error)
    words = f"{RECORD}{course.digest}{boxed}{path.name}{content}"
    return hashlib.sha256(words.encode(errors="replace")).hexdigest()


def record_path(folder: Path, path: Path) -> Path:
    archive = path.parent.name if path.parent.is_file() else ""
    return folder / f"{package.file_name(path.name, archive)}.json"


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
    (out / "hasil").mkdir(parents=True, exist_ok=True)
    bases = {path: basis(path, course, boxed) for path in handins(folder)}
    places = {path: record_path(out / "hasil", path) for path in bases}
    records = {path: read_record(places[path], bases[path]) for path in bases}
    todo = [path for path in bases if records[path] is None]
    if not todo:
        return records, 0
    print(f"{len(todo)} kumpulan dinilai; yang sudah selesai tersimpan (Ctrl-C aman).", flush=True)
    expected = marking.expect(course.steps, course.solutions, course.probes, boxed)
    studies = claims.Studies()
    progress = bar(len(bases), "Menilai", "kumpulan", len(bases) - len(todo))
    with progress, redirect_stdout(None), ThreadPoolExecutor(AT_ONCE) as pool:
        waiting = {pool.submit(grade, p, course, expected, boxed, studies): p for p in todo}
        try:
            for future in as_completed(waiting):
                path, record = waiting[future], future.result()
                record.basis = bases[path]
                write_record(places[path], record)
                records[path] = record
                progress.update(1)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return records, len(todo)


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
    """Of one sender the newest that can be read; of two for one NIM both: a conflict."""
    people = people or handed_in([*records.values()])
    for record in records.values():
        identify(record, people)
    order = sorted(records.values(), key=lambda r: (bool(r.digest), pages.moment(r.made), r.name))
    # what each member of a group sent is one
    order = [*{(*r.nims, r.digest or r.name): r for r in order}.values()]
    newest: dict[tuple, Record] = {}
    for record in order:
        same = (*sorted(record.nims), record.sender)
        if before := newest.pop(same, None):
            record.remarks.append(f"menggantikan kumpulan sebelumnya: {before.name}")
        newest[same] = record
    for record in newest.values():
        others = [o.name for o in newest.values() if o is not record and {*o.nims} & {*record.nims}]
        if others:
            record.conflict = True
            cure = "pindahkan yang bukan miliknya dari KUMPULAN"
            record.remarks.append(f"KONFLIK dengan {package.listed(others)}: {cure}")
    return sorted(newest.values(), key=lambda record: (record.student, record.name))


def retrain(records: dict[Path, Record], chosen: list[Record], out: Path) -> None:
    """Train claimed runs again (ULANG), for about an hour, and keep what came of it."""
    salt, studies, begun = again.salt(out), claims.Studies(), time.monotonic()
    claimed = {record.name: claims.Claim(**record.claim) for record in chosen if record.claim}
    waiting = {record.name: (path, record) for path, record in records.items() if not record.again}
    names = [n for n in again.order(salt, claimed) if n in waiting and claimed[n].trained]
    with bar(len(names), "Melatih ulang", "kumpulan") as progress:
        for path, record in map(waiting.get, names):
            if time.monotonic() - begun > again.HOUR:
                break
            recipe = claims.distribution(record.name, claimed)
            try:
                given = package.read(path), claimed[record.name], recipe, studies, salt
                record.again = again.retrain(*given)
            except Exception as error:  # the class goes on
                record.again = f"tidak dapat diulang ({type(error).__name__})"
            place = record_path(out / "hasil", path)
            if kept := read_record(place, record.basis):  # as it was before it was identified
                kept.again = record.again
                write_record(place, kept)
            progress.update(1)


def main() -> int:
    get = os.environ.get
    boxed, repeat = get("TANPA_KOTAK", "") in ("", "0"), get("ULANG", "") not in ("", "0")
    if not get("KUMPULAN"):
        raise InputError("berikan folder kumpulannya, misalnya: make nilai KUMPULAN=kumpulan")
    limit = pages.deadline(get("BATAS") or "")
    per_day = settings.to_number("TERLAMBAT", get("TERLAMBAT") or 10, (0, 100), whole=False) / 100
    if (boxed or repeat) and (why := box.refusal()):
        raise InputError(why)
    own = Path(get("KUNCI")) if get("KUNCI") else None
    course, key = read_course(own_keys=own), challenge.read_key(own)
    people = roster.read(Path(get("KELAS"))) if get("KELAS") else None
    for student in people.students.values() if people else ():
        # before an hour of grading, not after it
        pages.deadline(student.limit, f"KELAS, NIM {student.nim}: batas")
    out = Path(get("BUILD") or "build") / "nilai"
    records, now = grade_class(Path(get("KUMPULAN")), out, course, boxed)
    people = people or handed_in([*records.values()])
    chosen = latest(records, people)
    if repeat:
        retrain(records, chosen, out)
    if key:
        settled = [record for record in records.values() if not record.conflict]
        pages.challenge_board(out, settled, key, limit)
    notes = pages.write(out, chosen, course, limit, people, per_day)
    words = f"{now} kumpulan dinilai" if now else "Tidak ada kumpulan baru"
    where = f"{out}/nilai.csv, {out}/kelas.html, {out}/mahasiswa/, {out}/esai.html"
    print(f"{words}; {len(chosen)} mahasiswa atau kelompok: {where}\n{notes}".strip())
    return 0
