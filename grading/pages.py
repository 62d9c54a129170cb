"""What an instructor reads of a graded class: a table, a page a student, a page of the class, the
essays beside their rubrics.

Every page is one file without scripts; what a student wrote is escaped by Jinja, and a content
policy forbids what would be left.
"""

import csv
import io
import re
from collections import Counter
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import combinations, zip_longest
from math import ceil
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cxr_helpers.engine import files, indonesian
from cxr_helpers.engine.errors import InputError
from grading import challenge, claims, package
from grading.answers import own_words
from grading.course import Course
from grading.marking import HAND, Part

LATE = 0.1  # of the points, for each day that has begun
# tokens of a piece; share of the class that makes it common; share that is remarked
GRAM, COMMON, ALIKE = 5, 1 / 3, 0.8
HALVES = {"public": "terbuka", "private": "tertutup"}  # of the challenge's images
HANDMADE = ("nim", "bagian", "poin", "catatan")


def deadline(text: str) -> datetime | None:
    """BATAS, in local time unless it names a zone. Raises InputError."""
    if not text.strip():
        return None
    try:
        given = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(
            f'BATAS={text} tidak dapat dibaca: tulis misalnya BATAS="2026-12-01 23:59".'
        ) from None
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
    """As Indonesian Excel reads it: a decimal comma; what begins like a formula stays text."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".").replace(".", ",")
    words = " ".join(str(value).split())
    formula = words[:1] in tuple("=+-@") and not re.fullmatch(r"-?[\d,]+", words)
    return f"'{words}" if formula else words


def table(rows: list[list]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=";", lineterminator="\r\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue().encode("utf-8-sig", "replace")


def marks_by_hand(path: Path, records: list) -> dict[tuple[str, str], dict]:
    """The marks given by hand, {(number, part): {"poin": number or None, "catatan"}}; missing rows
    are added to the file, none is dropped. Raises InputError for points that are no number.
    """
    given = _handmade(path)
    wanted = [(r.student, n) for r in records for n, p in r.parts.items() if p["points"] is None]
    new = [key for key in wanted if key not in given]
    if new or not path.exists():
        given |= {key: {"poin": None, "catatan": ""} for key in new}
        lines = [[*key, mark["poin"], mark["catatan"]] for key, mark in given.items()]
        files.write(path, table([list(HANDMADE), *lines]))
    return given


def _handmade(path: Path) -> dict[tuple[str, str], dict]:
    """What tangan.csv holds. Raises InputError."""
    rows = package.table(path.read_bytes()) if path.exists() else []
    same = "berkas itu tidak diubah."
    if rows and not set(HANDMADE[:3]) <= rows[0].keys():
        raise InputError(f"{path}: kolom {', '.join(HANDMADE)} tidak ditemukan; {same}")
    given = {}
    for row in rows:
        if not any(row.values()):
            continue  # Excel leaves empty lines
        nim, part, words = row["nim"], row.get("bagian"), row.get("poin", "").replace(",", ".")
        if not part:
            whole = "; ".join(row.values())
            raise InputError(f"{path}: baris {whole!r} tidak menyebut bagian; {same}")
        if re.fullmatch(r"\d([.,]\d+)?E\+?\d+", nim, re.I):
            raise InputError(
                f"{path}: NIM {nim} ditulis ulang oleh Excel sebagai bilangan; buka lagi dengan "
                f"kolom nim sebagai teks, dan kembalikan NIM-nya; {same}"
            )
        if words and not re.fullmatch(r"\d+(\.\d+)?", words):
            raise InputError(f"{path}: poin {row['poin']!r} untuk {nim}, {part} bukan bilangan.")
        mark = {"poin": float(words) if words else None, "catatan": row.get("catatan", "")}
        given[nim.lstrip("'"), part] = mark
    return given


def graded(record, course: Course, given: dict, limit: datetime | None) -> dict:
    """What a student has; "parts" are (name, points or None, most, part)."""
    parts = []
    for chapter in course.chapters:
        for name, asked in chapter.asked.items():
            part = record.parts.get(name) or asdict(Part(record.status, 0.0, asked.points))
            mark = given.get((record.student, name), {"poin": None, "catatan": ""})
            points = mark["poin"] if mark["poin"] is not None else part["points"]
            part = part | {"mark": mark["catatan"], "chapter": chapter.name}
            parts.append((name, points, asked.points, part))
    total = sum(points or 0.0 for _, points, _, _ in parts)
    late = min(1.0, LATE * days_late(record.made, limit))
    waiting = sum(points is None for _, points, _, _ in parts)
    most = sum(most for _, _, most, _ in parts)
    sums = {"sum": total, "most": most, "open": waiting, "late": late, "total": total * (1 - late)}
    return {"record": record, "parts": parts, **sums}


def _csv(rows: list[dict], course: Course, remarks: dict[str, list[str]]) -> bytes:
    head = ["NIM", "Nama", "Kumpulan", "Status"]
    for name in [name for chapter in course.chapters for name in chapter.asked]:
        head += [name, f"{name} (status)"]
    head += "Jumlah;Dari;Belum dinilai;Potongan terlambat (%);Nilai".split(";")
    head += "Klaim;Latih ulang;Kotak;Catatan".split(";")
    lines = []
    for row in rows:
        record, cells = row["record"], []
        notes = [record.why, record.claim.get("why", ""), *record.remarks]
        notes += remarks.get(record.name, [])
        for name, points, _, part in row["parts"]:
            cells += [points, part["status"]]
            notes += [f"{name}: {part['remark']}"] if part["remark"] else []
        cells += [row["sum"], row["most"], row["open"], 100 * row["late"], row["total"]]
        cells += [record.claim.get("status", ""), record.again]
        cells += ["ya" if record.boxed else "tanpa kotak", "; ".join(filter(None, notes))]
        for nim, name in zip_longest(record.nims, record.names[: len(record.nims)], fillvalue=""):
            lines.append([nim, name, record.name, record.status, *cells])
    return table([head, *lines])


def _grams(source: str) -> set[tuple[str, ...]]:
    tokens = re.findall(r"\w+|[^\w\s]", source)
    return {tuple(tokens[i : i + GRAM]) for i in range(len(tokens) - GRAM + 1)}


def resemblance(records: list) -> list[tuple[str, str, float]]:
    """(student, student, share) whose answers share most of what is rare in the class."""
    given = {record.student: record.given.values() for record in records if record.given}
    own = {who: set().union(*map(_grams, texts)) for who, texts in given.items()}
    often = Counter(gram for grams in own.values() for gram in grams)
    most = max(2, COMMON * len(own))
    rare = {who: {gram for gram in grams if often[gram] <= most} for who, grams in own.items()}
    with_some = sorted(who for who, grams in rare.items() if grams)
    alike = []
    for a, b in combinations(with_some, 2):
        share = len(rare[a] & rare[b]) / len(rare[a] | rare[b])
        alike += [(a, b, share)] if share >= ALIKE else []
    return sorted(alike, key=lambda pair: -pair[2])


def _questions(rows: list[dict], course: Course) -> list[dict]:
    """How the class did in each question: counts of statuses, mean share of its points."""
    questions = []
    names = [(c.name, name) for c in course.chapters for name in c.asked]
    for place, (chapter, name) in enumerate(names):
        mine = [row["parts"][place] for row in rows]
        share = [points / most for _, points, most, _ in mine if points is not None and most]
        counts = Counter(part["status"] for _, _, _, part in mine).most_common()
        mean = sum(share) / len(share) if share else None
        questions.append({"name": name, "chapter": chapter, "counts": counts, "mean": mean})
    return questions


def write(out: Path, records: list, course: Course, limit: datetime | None) -> None:
    """All pages of a graded class; nothing where the marks cannot be read (InputError)."""
    given = marks_by_hand(out / "tangan.csv", records)
    rows = [graded(record, course, given, limit) for record in records]
    claimed = {r.name: claims.Claim(**r.claim) for r in records if r.claim}
    remarks = claims.remarks(claimed)
    env = _environment()
    files.write(out / "nilai.csv", _csv(rows, course, remarks))
    (out / "mahasiswa").mkdir(exist_ok=True)
    for row in rows:
        safe = re.sub(r"[^0-9A-Za-z._-]+", "-", "_".join(row["record"].nims)).strip(".-")[:80]
        _page(env, "mahasiswa.html.j2", out / f"mahasiswa/{safe or 'tanpa-nim'}.html", row=row)
    both = {who: c for who, c in claimed.items() if c.claimed and c.recomputed}
    content = {
        "rows": rows,
        "questions": _questions(rows, course),
        "points": [(c.claimed["auc"], c.recomputed["auc"], who) for who, c in both.items()],
        "alike": resemblance(records),
        "remarks": remarks,
    }
    _page(env, "kelas.html.j2", out / "kelas.html", **content)
    asked = [(chapter.name, part) for chapter in course.chapters for part in chapter.asked.values()]
    essays = [(c, a, course.rubrics.get(a.grade_id, "")) for c, a in asked if a.essay]
    _page(env, "esai.html.j2", out / "esai.html", essays=essays, rows=rows, given=given)


def challenge_board(out: Path, records: list, key: challenge.Key, limit: datetime | None) -> None:
    """The ranking of the challenge, tantangan.csv and .html; the private half once the limit has
    passed. records: of every hand-in; what is wrong with an answer becomes a remark of its record.
    """
    given, wrong = [], {}
    for record in sorted(records, key=lambda record: moment(record.made)):
        values, why = None, record.answer_fault
        if record.answer:
            values, why = challenge.in_order(record.answer, key)
        if values is not None:
            given.append((record.student, values))
        elif why:
            wrong[record.student] = why
            record.remarks.append(why)
    counted = challenge.count(out / "tantangan-riwayat.json", given)
    over = limit is not None and datetime.now().astimezone() > limit
    halves = ["public", "private"] if over else ["public"]
    answers = {who: values for who, (values, _, _) in counted.items()}
    boards = {half: challenge.rank(answers, key, half) for half in halves}
    head = "Paruh;Peringkat;NIM;AUC;Batas bawah;Batas atas;Setara dengan peringkat 1"
    lines = [[*head.split(";"), "Kumpulan dihitung"]]
    for half, rows in boards.items():
        for row in rows:
            numbers = [indonesian.number(value, 4) for value in (row["auc"], *row["ci95"])]
            times, level = None, ""
            if row["place"]:
                times, level = counted[row["who"]][1], "ya" if row["level"] else "tidak"
            lines.append([HALVES[half], row["place"], row["who"], *numbers, level, times])
    files.write(out / "tantangan.csv", table(lines))
    content = {"boards": boards, "counted": counted, "wrong": wrong}
    _page(_environment(), "tantangan.html.j2", out / "tantangan.html", **content)


def _environment() -> Environment:
    templates = FileSystemLoader(Path(__file__).with_name("templates"))
    env = Environment(loader=templates, autoescape=True, undefined=StrictUndefined)
    env.trim_blocks = True
    env.filters |= {name: getattr(indonesian, name) for name in ("number", "percent", "interval")}
    env.globals |= {"HAND": HAND, "COMPARED": claims.COMPARED, "own_words": own_words}
    env.globals |= {"HALVES": HALVES, "MOST": challenge.MOST}
    return env


def _page(env: Environment, template: str, path: Path, **content) -> None:
    files.write(path, env.get_template(template).render(**content).encode("utf-8", "replace"))
