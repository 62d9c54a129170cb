"""What an instructor reads of a class: pages without scripts; what a student wrote is escaped."""

import io
import keyword
import re
import zipfile
from collections import Counter
from dataclasses import asdict, replace
from datetime import datetime, timezone
from itertools import combinations
from math import ceil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cxr_helpers.engine import files, indonesian
from cxr_helpers.engine.errors import InputError
from grading import challenge, claims, package
from grading.answers import own_words
from grading.course import Course
from grading.marking import HAND, Part
from grading.roster import Roster, Student

LATE = 0.1  # of the points, for each day that has begun
# tokens of a piece; share of the class that makes it common; share that is remarked
GRAM, COMMON, ALIKE = 5, 1 / 3, 0.8
# characters of an answer that are compared, and of those that are shown side by side
READ, SHOWN = 8_000, 2_000
HALVES = {"public": "terbuka", "private": "tertutup"}  # of the challenge's images
HANDMADE = ("nim", "bagian", "poin", "tingkat", "catatan")
POINTS, LEVELS = r"\d{1,6}(\.\d{1,6})?", r"[0-3]([ ,;]{0,3}[0-3]){0,9}"
HIGHEST = 3  # level of grading/rubrik.md
LOOK = "perlu dilihat"


def deadline(text: str, name: str = "BATAS") -> datetime | None:
    """In local time unless it names a zone; a day alone ends at night. Raises InputError."""
    words = text.strip()
    if not words:
        return None
    try:
        given = datetime.fromisoformat(words if len(words) > 10 else f"{words} 23:59:59")
    except ValueError:
        example = "tulis misalnya 2026-12-01 23:59"
        raise InputError(f"{name}={words} tidak dapat dibaca: {example}.") from None
    return given if given.tzinfo else given.astimezone()


def moment(made: str) -> float:
    """A hand-in's time in seconds (UTC where it names no zone); 0 where it is not known."""
    try:
        given = datetime.fromisoformat(made)
        return (given if given.tzinfo else given.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return 0.0


def days_late(made: str, limit: datetime | None) -> int:
    """Days that have begun since the limit; 0 without one, or where the time is not known."""
    return max(0, ceil((moment(made) - limit.timestamp()) / 86400)) if limit and moment(made) else 0


def _cell(value) -> str:
    """As Indonesian Excel reads it; what it would rewrite (a formula, 0012, 2E10) stays text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".").replace(".", ",")
    words = " ".join(str(value).split())
    formula = words[:1] in tuple("=+-@") and not re.fullmatch(r"-?[\d,]+", words)
    rewritten = re.fullmatch(r"0\d+|\d+E\d+|\d{12,}|\d+[-/]\d+([-/]\d+)?", words)
    return f"'{words}" if formula or rewritten else words


def _quoted(value) -> str:
    words = _cell(value)
    return f'"{words.replace(chr(34), 2 * chr(34))}"' if set(words) & set(';"') else words


def table(rows: list[list]) -> bytes:
    lines = [";".join(map(_quoted, row)) + "\r\n" for row in rows]
    return "".join(lines).encode("utf-8-sig", "replace")


def marks_by_hand(
    path: Path, records: list, course: Course
) -> tuple[dict[tuple[str, str], dict], dict[str, list[str]]]:
    """({(student, part): mark}, {fault: rows}); adds missing rows. Raises InputError."""
    owner = {nim: record.student for record in records for nim in record.nims}
    people = Roster(map(Student, owner))
    content, given, wrong = path.read_bytes() if path.exists() else b"", {}, {}
    rows = package.table(content)
    if b"\n" in content.strip() and not set(HANDMADE[:3]) <= (rows or [{}])[0].keys():
        missing = f"kolom {', '.join(HANDMADE)} tidak ditemukan"
        raise InputError(f"{path}: {missing}; berkas itu tidak diubah.")
    rows = [{name: row.get(name, "") for name in HANDMADE} for row in rows if any(row.values())]
    for row in rows:
        student = owner.get(row["nim"]) or owner.get(people.find(row["nim"]))
        asked, fault = course.asked.get(row["bagian"]), ""
        if student is None or asked is None:
            fault = "tidak cocok dengan siapa pun" if asked else "bagiannya tidak ada"
        else:
            points = _points(path, row, asked.points)
            if points is not None and points > asked.points:
                fault, points = f"poin di atas maksimum ({asked.points:g}), tidak dihitung", None
            given[student, asked.grade_id] = {"poin": points, "catatan": row["catatan"]}
        if fault:
            wrong.setdefault(f"tangan.csv, {fault}", []).append(f"{row['nim']} {row['bagian']}")
    wanted = [(r.student, n) for r in records for n, p in r.parts.items() if p["points"] is None]
    new = [[*key, None, None, None] for key in dict.fromkeys(wanted) if key not in given]
    if new or not path.exists():
        files.write(path, table([list(HANDMADE), *(list(row.values()) for row in rows), *new]))
    return given, wrong


def _points(path: Path, row: dict[str, str], most: float) -> float | None:
    """The points of a row, or the share that its levels are of the highest. Raises InputError."""
    words, levels = row["poin"].replace(",", "."), row["tingkat"]
    for text, allowed, example in ((words, POINTS, "4,5"), (levels, LEVELS, "3 2 2 3")):
        if text and not re.fullmatch(allowed, text):
            which = f"{path}, {row['nim']}, {row['bagian']}: {text!r} tidak terbaca"
            raise InputError(f"{which}, tulis misalnya {example}; berkas itu tidak diubah.")
    numbers = [int(digit) for digit in re.findall(r"\d", levels)]
    if words or not numbers:
        return float(words) if words else None
    return most * sum(numbers) / (HIGHEST * len(numbers))


def graded(
    record, course: Course, given: dict, limit: datetime | None, per_day: float = LATE
) -> dict:
    """What a student has; "parts" are (name, points or None, most, part)."""
    parts, notes = [], [record.why, record.claim.get("why", ""), *record.remarks]
    for chapter in course.chapters:
        for name, asked in chapter.asked.items():
            part = record.parts.get(name) or asdict(Part(record.status, 0.0, asked.points))
            mark = given.get((record.student, name), {"poin": None, "catatan": ""})
            points = mark["poin"] if mark["poin"] is not None else part["points"]
            part = part | {"mark": mark["catatan"], "chapter": chapter.name}
            parts.append((name, points, asked.points, part))
            notes += [f"{name}: {part['remark']}"] if part["remark"] else []
    row = {"record": record, "parts": parts, "notes": [note for note in notes if note]}
    name = package.file_name("_".join(record.nims), record.sender * record.conflict)
    row["page"] = f"{name}.html"
    row["sum"] = sum(points or 0.0 for _, points, _, _ in parts)
    row["most"] = sum(most for _, _, most, _ in parts)
    row["open"] = sum(points is None for _, points, _, _ in parts)
    row["late"] = min(1.0, per_day * days_late(record.made, limit))
    row["total"] = row["sum"] * (1 - row["late"])
    return row


def _grams(source: str, kept: set[str] | None) -> set[tuple[str, ...]]:
    """Pieces of a text; of code (kept: names of ours) with every other name alike."""
    tokens = re.findall(r"\w+|[^\w\s]", source)
    if kept is not None:
        tokens = [x if x in kept or not x.isidentifier() else "_" for x in tokens]
    return {tuple(tokens[i : i + GRAM]) for i in range(len(tokens) - GRAM + 1)}


def resemblance(records: list, course: Course) -> list[tuple]:
    """(record, record, share, [(part, text, text)]) whose answers share most of what is rare."""
    ours = [code for _, code in course.steps] + [*course.solutions.values(), *keyword.kwlist]
    kept, own, asked = set(re.findall(r"\w+", "\n".join(ours))), [], course.asked
    for record in records:
        texts = record.given.items()
        pieces = [_grams(t[:READ], None if asked[n].essay else kept) for n, t in texts]
        own.append(set().union(*pieces))
    often = Counter(gram for grams in own for gram in grams)
    most = max(2, COMMON * sum(map(bool, own)))
    rare = [{gram for gram in grams if often[gram] <= most} for grams in own]
    alike = []
    for a, b in combinations([place for place, grams in enumerate(rare) if grams], 2):
        share = len(rare[a] & rare[b]) / len(rare[a] | rare[b])
        if share >= ALIKE:
            left, right = records[a].given, records[b].given
            texts = [(n, left[n][:SHOWN], right[n][:SHOWN]) for n in left if n in right]
            alike.append((records[a], records[b], share, texts))
    return sorted(alike, key=lambda pair: -pair[2])


def write(
    out: Path,
    records: list,
    course: Course,
    limit: datetime | None,
    people: Roster | None = None,
    per_day: float = LATE,
) -> str:
    """All pages of a graded class; what its instructor has to look at. Raises InputError."""
    people = people or Roster([Student(nim) for record in records for nim in record.nims])
    given, wrong = marks_by_hand(out / "tangan.csv", records, course)
    rows = []
    for record in records:
        own = [deadline(people.students[n].limit) for n in record.nims if n in people.students]
        last = max(filter(None, [limit, *own]), default=None)
        row = graded(record, course, given, last, per_day)
        try:
            _pages([row], course, people, given, wrong)
        except Exception as error:  # the class goes on
            why = f"Halamannya tidak dapat dibuat ({type(error).__name__}): periksa dengan tangan."
            record = replace(record, status=LOOK, why=why, claim={}, experiments=[], remarks=[])
            row = graded(record, course, given, last, per_day)
        rows.append(row)
    pages = _pages(rows, course, people, given, wrong)
    (out / "mahasiswa").mkdir(exist_ok=True)
    for path in (out / "mahasiswa").glob("*.html"):  # also of conflicts that are settled
        path.unlink()
    for name, content in pages.items():
        files.write(out / name, content)
    return "\n".join(filter(None, pages["catatan.txt"].decode().splitlines()))


def _pages(
    rows: list[dict], course: Course, people: Roster, given: dict, wrong: dict
) -> dict[str, bytes]:
    """{name: content} of every page and table."""
    records, env = [row["record"] for row in rows], _environment()
    claimed = {r.name: claims.Claim(**r.claim) for r in records if r.claim}
    there = {nim for record in records for nim in record.nims}
    listed = people.students.values() if people.listed else ()
    content = {"rows": rows, "course": course, "people": people, "given": given, "wrong": wrong}
    content["alike"] = resemblance(records, course)
    content["remarks"] = claims.remarks(claimed)
    content["absent"] = [student for student in listed if student.nim not in there]
    shares = [row["total"] / row["most"] for row in rows if row["most"]]
    content["shares"] = [min(9, int(10 * share)) for share in shares]
    pages = {}
    for name in ("nilai.csv", "kelas.html", "esai.html", "catatan.txt", "moodle-nilai.csv"):
        text = env.get_template(f"{name}.j2").render(content)
        if text.strip() or name == "catatan.txt":
            pages[name] = text.encode("utf-8-sig" if name == "nilai.csv" else "utf-8", "replace")
    of_student = env.get_template("mahasiswa.html.j2")
    for row in rows:
        text = of_student.render(row=row)
        pages[f"mahasiswa/{row['page']}"] = text.encode("utf-8", "replace")
    if "moodle-nilai.csv" in pages:
        pages["moodle-umpan-balik.zip"] = _feedback(rows, people, pages)
    return pages


def _feedback(rows: list[dict], people: Roster, pages: dict[str, bytes]) -> bytes:
    """A ZIP of the students' pages as Moodle takes it: a folder each, named as Moodle names it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for row in [row for row in rows if not row["record"].conflict]:
            sent = package.MOODLE.match(row["record"].name)
            mine = [people.students[n] for n in row["record"].nims if n in people.students]
            named = [f"{s.name.replace('_', ' ')}_{s.moodle}" for s in mine if s.moodle]
            for name in named or ([f"{sent[1]}_{sent[2]}"] if sent else []):
                place = f"{name}_assignsubmission_file_/{row['page']}"
                archive.writestr(place, pages[f"mahasiswa/{row['page']}"])
    return stream.getvalue()


def challenge_board(out: Path, records: list, key: challenge.Key, limit: datetime | None) -> None:
    """tantangan.csv and .html of every hand-in; the private half once the limit has passed."""
    answers, wrong = {}, {}
    for record in sorted(records, key=lambda record: moment(record.made)):
        values, why = None, record.answer_fault
        if record.answer:
            values, why = challenge.in_order(record.answer, key)
        if values is not None:
            answers[record.student] = values
        elif why:
            wrong[record.student] = why
            record.remarks.append(why)
    over = limit is not None and datetime.now().astimezone() > limit
    halves = ["public", "private"] if over else ["public"]
    boards = {half: challenge.rank(answers, key, half) for half in halves}
    content = {"boards": boards, "wrong": wrong}
    for name, encoding in (("tantangan.csv", "utf-8-sig"), ("tantangan.html", "utf-8")):
        text = _environment().get_template(f"{name}.j2").render(content)
        files.write(out / name, text.encode(encoding, "replace"))


def _environment() -> Environment:
    templates = FileSystemLoader(Path(__file__).with_name("templates"))
    env = Environment(
        loader=templates, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    env.autoescape = lambda name: ".html" in (name or "")
    env.filters |= {"cell": _quoted, "listed": package.listed}
    env.filters |= {name: getattr(indonesian, name) for name in ("number", "percent", "interval")}
    env.globals |= {"HAND": HAND, "COMPARED": claims.COMPARED, "own_words": own_words}
    env.globals |= {"HALVES": HALVES}
    return env
