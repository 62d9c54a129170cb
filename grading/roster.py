"""Who is in the class (KELAS=daftar.csv), and which of them a number or a file's name means."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cxr_helpers.engine.errors import InputError
from grading import package
from report.check import nims

# The columns of daftar.csv as instructors and Moodle's own exports call them.
COLUMNS = {
    "nim": ("nim", "nomor id", "id number"),
    "name": ("nama", "nama lengkap", "full name"),
    "email": ("email", "surel", "alamat email", "email address"),
    "moodle": ("moodle", "pengenal", "identifier"),
    "limit": ("batas",),
}
NUMBER = re.compile(r"\d{1,32}(?:\.\d{1,15})?(?:E\+?\d{1,2})?")
# what Moodle, WhatsApp and cameras number by themselves, which is no NIM
NUMBERED = re.compile(r"_\d+_assignsubmission_.*|WhatsApp.*|(?:IMG|DOC|VID)-.*|\b20\d{6}\b")
WORD, SHORTEST = re.compile(r"[0-9A-Z]+(?:[.-][0-9A-Z]+)*"), 5


@dataclass(frozen=True)
class Student:
    """A row of the roster. moodle: participant number; limit: a BATAS of one's own."""

    nim: str
    name: str = ""
    email: str = ""
    moodle: str = ""
    limit: str = ""


def normal(written: str) -> str | None:
    """A NIM in the one form that is compared, None for what is none."""
    try:
        (number,) = nims(written.lstrip("'"))
    except ValueError:
        return None
    return number


def bare(written: str) -> str:
    """What is left of a NIM where signs are left out and Excel takes it for a number."""
    text = written.strip("' ").replace(",", ".").upper()
    if NUMBER.fullmatch(text):
        return f"{float(text):.15g}"
    return re.sub(r"[^0-9A-Z]+", "", text).lstrip("0")


class Roster:
    """Students by NIM. Without a list (listed=False) these are the ones who handed in."""

    def __init__(self, students: Iterable[Student], listed: bool = True):
        self.students = {student.nim: student for student in students}
        self.listed = listed

    def find(self, written: str) -> str | None:
        """The NIM that is meant: the same, or the only one that looks so in Excel."""
        if (number := normal(written)) in self.students:
            return number
        alike = [nim for nim in self.students if bare(nim) == bare(written)]
        return alike[0] if len(alike) == 1 else None

    def sender(self, said: str) -> Student | None:
        """Who "Moodle 483921 di Tugas.zip" is."""
        people = {f"Moodle {s.moodle}": s for s in self.students.values() if s.moodle}
        return people.get(said.split(" di ")[0])

    def named(self, name: str) -> list[str]:
        """The NIMs in a file's name, where / is -; without a list its longer numbers."""
        text = NUMBERED.sub(" ", name).upper()
        words = dict.fromkeys(re.findall(r"[0-9A-Z]+", text) + WORD.findall(text))
        if not self.listed:
            return [word for word in words if word.isdecimal() and len(word) >= SHORTEST]
        return [nim for nim in map(self.find, words) if nim]


def read(path: Path) -> Roster:
    """KELAS: a CSV as Excel or Moodle writes it. Raises InputError."""
    if not path.is_file():
        raise InputError(f"KELAS={path}: berkas itu tidak ada.")
    students: dict[str, Student] = {}
    rows = package.table(path.read_bytes())
    if not any(row.get(title) for row in rows for title in COLUMNS["nim"]):
        cure = "simpan sebagai CSV; baris pertamanya memuat nama kolom, di antaranya nim"
        raise InputError(f"{path}: tidak ada kolom nim yang terisi: {cure}.")
    for row in rows:
        given = {
            n: next((row[t] for t in titles if row.get(t)), "") for n, titles in COLUMNS.items()
        }
        if not any(given.values()):
            continue  # Excel leaves empty lines
        nim = normal(given["nim"])
        digits = re.sub(r"\D", "", given["moodle"])  # "Peserta 483921"
        again = nim in students or digits in {s.moodle for s in students.values()} - {""}
        if nim is None or again:
            why = "NIM atau nomor Moodle-nya ada dua kali" if nim else "NIM-nya bukan NIM"
            raise InputError(f"{path}: baris {'; '.join(row.values())[:80]!r}: {why}.")
        students[nim] = Student(**given | {"nim": nim, "moodle": digits})
    return Roster(students.values())
