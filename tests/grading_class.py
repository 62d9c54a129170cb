"""A small course and a class of good and bad hand-ins of which is known what they are worth."""

import csv
import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from grading import claims

FIRST, SECOND = "06_akurasi", "07_sensitivitas"
CHAPTERS = {FIRST: ("akurasi", "jumlah"), SECOND: ("sensitivitas", "esai-bocor")}
POINTS = {"akurasi": 4, "jumlah": 2, "sensitivitas": 2, "esai-bocor": 5}
SOLUTIONS = {
    "akurasi": "def akurasi(logit, label):\n"
    "    return float(((np.asarray(logit) > 0) == np.asarray(label)).mean())",
    "jumlah": "jumlah = 64 * 3 * 3\nbanyak_lapis = 18",
    "sensitivitas": "def sensitivitas(logit, label):\n"
    "    return float((np.asarray(logit)[np.asarray(label) == 1] > 0).mean())",
}
SKELETONS = {
    "akurasi": "def akurasi(logit, label):\n    ...",
    "jumlah": "jumlah = ...\nbanyak_lapis = ...",
    "sensitivitas": "def sensitivitas(logit, label):\n    ...",
}
KEYS = {
    "akurasi": "hasil['kelas seimbang'] = lambda: akurasi([1.0, -2, 3, -4], [1, 0, 0, 1])\n"
    "hasil['semua salah'] = lambda: akurasi([1.0], [0])",
    "sensitivitas": "hasil['dua dari tiga'] = lambda: sensitivitas([1.0, 2, -3, 4], [1, 1, 1, 0])",
}
GOOD = SOLUTIONS | {"esai-bocor": "Data uji dipakai memilih epoch, jadi angkanya terlalu baik."}
LOOP = "while True:\n    pass"
EQUAL = """class Sama:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __float__(self): return 1.0
def akurasi(logit, label):
    return Sama()"""
REDEFINED = "import builtins\nbuiltins.print = lambda *a, **k: 1 / 0\nlist = dict = len = 3\n"
SLEEPS = "import time\ntime.sleep(10**6)"
# what would show what asks, and flood who grades
LEAKS = "import sys\ndef akurasi(logit, label):\n"
LEAKS += "    raise type(str(sys._getframe(1).f_code.co_consts), (Exception,), {})"
FLOODS = "import os\nos.write(4, b'[' * 8_000_000)"
# what the kernel itself speaks by
FORGED = "import json.encoder\njson.JSONEncoder.encode = lambda *a, **k: '{}'\n"
MORE: dict[str, str] = {}  # files of every ordinary hand-in besides


def notebook(chapter: str, answers: dict[str, str] = SKELETONS):
    """One of the two notebooks with the answers given, those of a student or the skeletons."""
    cells = [
        new_code_cell("import numpy as np", id="impor"),
        new_code_cell("raise RuntimeError('a training that grading must not run')", id="latih"),
    ]
    for name in CHAPTERS[chapter]:
        marks = {"grade_id": name, "solution": True, "points": POINTS[name]}
        text = answers.get(name, "Tulis jawaban Anda di sini.")
        source, cell = f"# JAWABAN: {name}\n{text}", new_code_cell
        if name.startswith("esai"):
            source, cell = f"<!-- JAWABAN: {name} -->\n{text}", new_markdown_cell
        cells.append(cell(source, id=f"j-{name}", metadata={"nbgrader": marks}))
    return new_notebook(cells=cells)


def course_folder(folder: Path) -> Path:
    """folder/notebooks, folder/solutions and folder/kunci as an instructor has them."""
    for name in ("notebooks", "solutions", "kunci"):
        (folder / name).mkdir(parents=True)
    for chapter in CHAPTERS:
        nbformat.write(notebook(chapter), folder / "notebooks" / f"{chapter}.ipynb")
    for place, programs in (("solutions", SOLUTIONS), ("kunci", KEYS)):
        for name, source in programs.items():
            (folder / place / f"{name}.py").write_text(source, encoding="utf-8")
    (folder / "solutions/esai-bocor.md").write_text("Menyebut data uji.", encoding="utf-8")
    return folder


def zipped(members: dict[str, bytes | str], link: str = "") -> bytes:
    """A ZIP; link: the name of a link to a file of the system in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        if link:
            about = zipfile.ZipInfo(link)
            about.external_attr = 0o120777 << 16
            archive.writestr(about, "/etc/passwd")
    return stream.getvalue()


def texts(answers: dict[str, str], nim: str, **manifest) -> dict[str, str]:
    """The files of an ordinary hand-in."""
    about = {"nims": [nim], "names": [f"Mahasiswa {nim}"], "made": "2026-11-20T08:00:00+00:00"}
    found = {f"notebooks/{c}.ipynb": nbformat.writes(notebook(c, answers)) for c in CHAPTERS}
    return MORE | found | {"manifest.json": json.dumps(about | {"sender": nim} | manifest)}


@dataclass
class Planted:
    """A hand-in (a dict makes a folder); parts: {part: (status, points)} not all right in it."""

    name: str
    content: bytes | dict
    status: str = "dinilai"
    parts: dict[str, tuple[str, float]] = field(default_factory=dict)
    remark: str = ""

    def points(self, course) -> dict[str, float | None]:
        """What each part is worth: our essay waits for its reader, those of MORE are open."""
        if self.status != "dinilai":
            return dict.fromkeys(course.asked, 0.0)
        full = {name: 0.0 if a.essay else a.points for name, a in course.asked.items()}
        return full | {"esai-bocor": None} | {name: n for name, (_, n) in self.parts.items()}


def planted_class(places: list[str], size: int = 0) -> list[Planted]:
    """Hand-ins of every kind, filled up with good ones; places: what no answer may reach."""
    reach = "if pathlib.Path({0!r}).exists(): pathlib.Path({0!r}, 'ditulis').touch()\n"
    reaching = "import pathlib\n" + "".join(reach.format(place) for place in places)
    constant = {"akurasi": "def akurasi(logit, label):\n    return 0.5", "jumlah": "jumlah = True"}
    endless = {"akurasi": LOOP, "sensitivitas": "def f(x)\n    return 1"}
    equal = {"akurasi": EQUAL, "sensitivitas": REDEFINED + SOLUTIONS["sensitivitas"]}
    forged = {"akurasi": FORGED + SOLUTIONS["akurasi"], "jumlah": SKELETONS["jumlah"]}
    sleeping = {"akurasi": SLEEPS, "jumlah": "jumlah = 10**400\nbanyak_lapis = 18"}
    leaking = {"akurasi": LEAKS, "jumlah": "jumlah = 'x' * 8_000_000\nbanyak_lapis = 18"}
    broken, half = ("kernel rusak|waktu habis", 0.0), ("sebagian", 1.0)
    answers = [  # (what differs from a good hand-in, what is not all right in it)
        ({"akurasi": reaching + SOLUTIONS["akurasi"]}, {}),
        (constant, {"akurasi": ("sebagian", 2.0), "jumlah": ("salah", 0.0)}),
        (endless, {"akurasi": ("waktu habis", 0.0), "sensitivitas": ("galat", 0.0)}),
        (equal, {"akurasi": ("salah", 0.0)}),
        (forged, {"akurasi": broken, "jumlah": ("kosong", 0.0)}),
        (sleeping, {"akurasi": ("waktu habis", 0.0), "jumlah": half}),
        (leaking, {"akurasi": ("salah", 0.0), "jumlah": half}),
        ({"akurasi": FLOODS}, {"akurasi": ("keluaran berlebihan", 0.0)}),
    ]
    found = []
    for i, (changed, parts) in enumerate(answers):
        files = texts(GOOD | changed, f"13000{i}")
        found.append(Planted(f"13000{i}.zip", zipped(files), parts=parts))
    conflict = "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> main\n"
    folder = texts(GOOD, "130017") | {f"notebooks/{SECOND}.ipynb": conflict}
    lost = dict.fromkeys(CHAPTERS[SECOND], ("konflik", 0.0))
    found.append(Planted("folder-130017", folder, parts=lost))
    found.append(Planted("130018.zip", zipped(texts(GOOD, "130018"))[:-200], "rusak"))
    found += delivered()
    names = [f"14{place:04}" for place in range(size - len(found))]
    return found + [Planted(f"{name}.zip", zipped(texts(GOOD, name))) for name in names]


def delivered() -> list[Planted]:
    """Hand-ins that are odd in how they came, or that would harm the others."""
    first = nbformat.writes(notebook(FIRST, GOOD))
    copied = MORE | {f"notebooks/Salinan dari {FIRST}.ipynb": first}
    copied |= {f"{SECOND} (1).ipynb.txt": nbformat.writes(notebook(SECOND, GOOD))}
    endless = {"esai-bocor": "\n" * 80_000 + GOOD["esai-bocor"]}
    huge = json.dumps({"test": {name: {"value": 1e300} for name in ("auc", "acc")}})
    four = [str(nim) for nim in range(130_020, 130_024)]
    victim, future = "130000", "2999-11-20T08:00:00+00:00"
    attacker = texts(dict.fromkeys(GOOD, "x"), victim, sender="lain")
    nothing = dict.fromkeys(SOLUTIONS, ("salah|galat", 0.0))
    claim = texts(GOOD, "130011") | {"build/results/02_pelatihan.json": huge}
    data = {"kind": "chestmnist", "size": 224, "classes": ["cardiomegaly", "pneumothorax"]}
    about = {"seed": 0, "data": data, "preset": {"name": "smoke"}, "weights": {"kind": "random"}}
    test = {name: {"value": 1} for name in claims.COMPARED}
    away = json.dumps({"run": {"key": "k"}, "provenance": about, "test": test})
    away = {"results/02_pelatihan.json": away, "runs/k/predictions.npz": ""}
    moodle = "Siti Rahma_483921_assignsubmission_file_"
    same = "2E10", "19/473", "19/473/", "19\u200b/473"
    return [
        *[Planted(f"x-{i}.zip", zipped(texts(GOOD, nim))) for i, nim in enumerate(same)],
        Planted(f"moodle.zip/{moodle}", {"130014.zip": zipped(texts(GOOD, "130014"))}),
        Planted("130010", copied, remark="salinan"),
        Planted("130011.zip", zipped(claim)),
        Planted("130015.zip", zipped(texts(GOOD, "130015") | away), remark="tidak mengunduh"),
        Planted("130012.zip", zipped(texts(GOOD | endless, "130012", made=future)), remark="masa"),
        Planted("kelompok.zip", zipped(texts(GOOD, "", nims=four)), remark="kelompok 4 orang"),
        Planted("nanti.zip", zipped(attacker), parts=nothing, remark="KONFLIK dengan 130000.zip"),
        Planted("tanpa-akhiran", zipped(texts(GOOD, "130013"))),
        Planted(f"{SECOND}.ipynb", b"{}", "bentuk lain"),
    ]


def faults(planted: list[Planted], out: Path, course) -> list[str]:
    """What nilai.csv says of the hand-ins that was not planned."""
    rows = csv.DictReader(io.StringIO((out / "nilai.csv").read_text("utf-8-sig")), delimiter=";")
    rows, wrong = {row["Kumpulan"]: row for row in rows}, []
    for one in planted:
        row = rows[one.name.split("/")[-1]]
        if row["Status"] != one.status or one.remark not in row["Catatan"]:
            wrong.append(f"{one.name}: {row['Status']}, {row['Catatan']}")
        for name, points in one.points(course).items():
            usual = "periksa tangan" if points is None else "benar|kosong"
            status = one.parts.get(name, (usual,))[0] if one.status == "dinilai" else one.status
            said = row[name], row[f"{name} (status)"]
            given = "" if points is None else f"{points:g}".replace(".", ",")
            wrong += [f"{one.name}: {name} {said}"] * (
                said not in product([given], status.split("|"))
            )
    return wrong


def state(base: Path) -> dict[Path, str]:
    """Digest of every file that is the instructor's or a student's."""
    paths = [p for part in ("kuliah", "rumah", "kumpulan") for p in (base / part).rglob("*")]
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}


def lay_out(planted: list[Planted], folder: Path) -> None:
    """Write the hand-ins into KUMPULAN."""
    for one in planted:
        members = one.content if isinstance(one.content, dict) else {"": one.content}
        if "/" in one.name:  # a part of Moodle's archive
            archive, part = one.name.split("/")
            (folder / archive).write_bytes(zipped({f"{part}{n}": c for n, c in members.items()}))
            continue
        for name, content in members.items():
            path = folder / one.name / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
