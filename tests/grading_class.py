"""A small course and a class that hands in every good and bad thing: what each is worth is known by how it was made."""

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

FIRST, SECOND = "01_adaptasi_bobot", "02_pelatihan"
SOLUTIONS = {
    "rerata": "def rerata_kernel(kernel):\n    return np.asarray(kernel, float).mean(axis=0)",
    "akurasi": "def akurasi(logit, label):\n    return float(((np.asarray(logit) > 0) == np.asarray(label)).mean())",
    "jumlah": "jumlah = 64 * 3 * 3\nbanyak_lapis = 18",
    "sensitivitas": (
        "def sensitivitas(logit, label):\n    logit, label = np.asarray(logit), np.asarray(label)\n"
        "    return float((logit[label == 1] > 0).mean())"
    ),
}
SKELETONS = {
    "rerata": "def rerata_kernel(kernel):\n    ...",
    "akurasi": "def akurasi(logit, label):\n    ...",
    "jumlah": "jumlah = ...\nbanyak_lapis = ...",
    "sensitivitas": "def sensitivitas(logit, label):\n    ...",
}
KEYS = {
    "rerata": "hasil['rerata tiga saluran'] = lambda: rerata_kernel([[1.0, 2], [3, 4], [5, 9]])\n"
    "hasil['satu saluran tetap'] = lambda: rerata_kernel([[7.0, 8]])",
    "akurasi": "hasil['kelas seimbang'] = lambda: akurasi([1.0, -2, 3, -4], [1, 0, 0, 1])\n"
    "hasil['tepat pada ambang'] = lambda: akurasi([0.0, 0.0], [0, 0])\n"
    "hasil['semua salah'] = lambda: akurasi([1.0], [0])\n"
    "hasil['tujuh dari delapan'] = lambda: akurasi([1.0] * 7 + [-1.0], [1] * 8)",
    "sensitivitas": "hasil['dua dari tiga'] = lambda: sensitivitas([1.0, 2, -3, 4], [1, 1, 1, 0])",
}
POINTS = {"rerata": 2, "akurasi": 4, "jumlah": 2, "sensitivitas": 2, "esai-bocor": 5}
CHAPTERS = {FIRST: ("rerata", "akurasi", "jumlah"), SECOND: ("sensitivitas", "esai-bocor")}


def marks(name: str, grade: bool, solution: bool, points: float | None = None) -> dict:
    found = {
        "schema_version": 3,
        "grade_id": name,
        "grade": grade,
        "solution": solution,
        "locked": grade and not solution,
    }
    return {"nbgrader": found | {"task": False} | ({} if points is None else {"points": points})}


def notebook(chapter: str, answers: dict[str, str] = SKELETONS):
    """One of the two notebooks with the answers given, those of a student or the skeletons."""
    cells = [new_code_cell("import numpy as np", id="impor")]
    cells.append(
        new_code_cell("raise RuntimeError('a training that grading must not run')", id="latih")
    )
    for name in CHAPTERS[chapter]:
        if name.startswith("esai"):
            text = answers.get(name, "Tulis jawaban Anda di sini.")
            both = marks(name, True, True, POINTS[name])
            cells.append(
                new_markdown_cell(
                    f"<!-- JAWABAN: {name} -->\n{text}", id=f"j-{name}", metadata=both
                )
            )
        else:
            source = f"# JAWABAN: {name}\n{answers[name]}"
            cells.append(new_code_cell(source, id=f"j-{name}", metadata=marks(name, False, True)))
            check = marks(f"tes-{name}", True, False, POINTS[name])
            cells.append(new_code_cell(f'periksa("{name}", None)', id=f"t-{name}", metadata=check))
    return new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}}
    )


def course_folder(folder: Path) -> Path:
    """folder/notebooks, folder/solutions and folder/kunci as an instructor has them."""
    for name in ("notebooks", "solutions", "kunci"):
        (folder / name).mkdir(parents=True)
    for chapter in CHAPTERS:
        nbformat.write(notebook(chapter), folder / "notebooks" / f"{chapter}.ipynb")
    for name, source in SOLUTIONS.items():
        (folder / "solutions" / f"{name}.py").write_text(source, encoding="utf-8")
    for name, source in KEYS.items():
        (folder / "kunci" / f"{name}.py").write_text(source, encoding="utf-8")
    (folder / "solutions" / "esai-bocor.md").write_text(
        "Menyebut bahwa data uji dipakai memilih.", encoding="utf-8"
    )
    return folder


def zipped(members: dict[str, bytes | str]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


@dataclass
class Planted:
    """A hand-in: its file's name, its content ({name: text} makes a folder), and what grading must say of it."""

    name: str
    content: bytes | dict
    status: str = "dinilai"
    points: dict[str, float | None] = field(default_factory=dict)
    parts: dict[str, str] = field(default_factory=dict)


def texts(answers: dict[str, str], nim: str, root: str = "") -> dict[str, str]:
    """The files of an ordinary hand-in, in the folder `root` ("" or with / at its end)."""
    found = {
        f"{root}notebooks/{chapter}.ipynb": nbformat.writes(notebook(chapter, answers))
        for chapter in CHAPTERS
    }
    about = {
        "schema": 1,
        "nims": [nim],
        "names": [f"Mahasiswa {nim}"],
        "made": "2026-11-20T08:00:00+00:00",
    }
    return found | {f"{root}manifest.json": json.dumps(about)}


FULL = {name: float(points) for name, points in POINTS.items() if not name.startswith("esai")} | {
    "esai-bocor": None
}
GOOD = SOLUTIONS | {"esai-bocor": "Data uji dipakai memilih epoch, jadi angkanya terlalu baik."}
LOOP = "while True:\n    pass"
SWALLOW = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
EQUAL = (
    "class Sama:\n    def __eq__(self, other): return True\n    def __ne__(self, other): return False\n"
    "    def __float__(self): return 1.0\n    def __hash__(self): return 0\n"
    "def akurasi(logit, label):\n    return Sama()"
)
FLOOD = SOLUTIONS["akurasi"] + "\nfor _ in range(3000):\n    print('x' * 100_000)"
READING = (
    "import os, pathlib\nfor place in ('HOME_PLACE', 'KEY_PLACE'):\n    if os.path.exists(place):\n"
    "        pathlib.Path(place, 'ditulis').write_text('x')\n" + SOLUTIONS["akurasi"]
)
NETWORK = (
    "import socket\ntry:\n    socket.create_connection(('127.0.0.1', PORT), 2)\nexcept OSError:\n    pass\n"
    + SOLUTIONS["akurasi"]
)
REDEFINED = (
    "import builtins\nbuiltins.print = lambda *a, **k: 1 / 0\nlist = dict = len = isinstance = 3\n"
    + SOLUTIONS["akurasi"]
)
FORGED = (
    "import json\njson.dumps = lambda *a, **k: '{}'\n" + SOLUTIONS["akurasi"]
)  # the kernel itself speaks by it
# What each does to the answer `akurasi` (4 points): its code, the status, the points.
HOSTILE = {
    "putaran": (LOOP, "waktu habis", 0.0),
    "telan": (SWALLOW, "waktu habis", 0.0),
    "garpu": ("import os\nwhile True:\n    os.fork()", "melanggar kotak", 0.0),
    "banjir": (FLOOD, "keluaran berlebihan", 0.0),
    "mati": ("import os\nos._exit(3)", "kernel mati", 0.0),
    "sama": (EQUAL, "salah", 0.0),
    "ganti": (REDEFINED, "benar", 4.0),
    "json": (FORGED, "kernel rusak|waktu habis", 0.0),
    "galat": ("def akurasi(logit, label):\n    return label / 0", "salah", 0.0),
    "sintaks": ("def akurasi(logit, label)\n    return 1", "galat", 0.0),
    "tetap": ("def akurasi(logit, label):\n    return 0.5", "sebagian", 1.0),
}


def edited(chapter: str, change) -> str:
    """The good notebook as an editor or a student left it: `change(notebook)`."""
    made = notebook(chapter, GOOD)
    change(made)
    return nbformat.writes(made)


def without_metadata(made) -> None:
    for cell in made.cells:
        cell.metadata.clear()


def without_ids(made) -> None:
    made.nbformat_minor = 4
    for cell in made.cells:
        cell.metadata.clear()
        cell.pop("id")


def without_markers(made) -> None:
    without_ids(made)
    for cell in made.cells:
        cell.source = "\n".join(line for line in cell.source.splitlines() if "JAWABAN" not in line)


def without_one(made) -> None:
    made.cells = [cell for cell in made.cells if cell.id != "j-akurasi"]


def duplicated(made) -> None:
    """The answer once as it was handed out, and once more below, done."""
    place = next(i for i, cell in enumerate(made.cells) if cell.id == "j-akurasi")
    copy = new_code_cell(
        made.cells[place].source, id="salinan", metadata=dict(made.cells[place].metadata)
    )
    made.cells[place].source = f"# JAWABAN: akurasi\n{SKELETONS['akurasi']}"
    made.cells.insert(place + 1, copy)


def cheating_tests(made) -> None:
    """The student's own checks print whatever they like, and kill the kernel besides."""
    for cell in made.cells:
        if cell.source.startswith("periksa("):
            cell.source = "import os; print('benar 4 dari 4'); os._exit(0)"


def linked(files: dict[str, str]) -> bytes:
    """A ZIP that also holds a link to a file of the system."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        link = zipfile.ZipInfo("notebooks/tautan.json")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    return stream.getvalue()


def broken(status: str, chapter: str = FIRST) -> tuple[dict, dict]:
    """Points and statuses of a hand-in whose one notebook cannot be read."""
    lost = CHAPTERS[chapter]
    return FULL | dict.fromkeys(lost, 0.0), dict.fromkeys(lost, status)


def planted_class(home: str, key: str, port: int) -> list[Planted]:
    """Forty hand-ins: good, partial, wrong, hostile, broken."""
    found: list[Planted] = []

    def add(content, points=FULL, parts=None, status="dinilai", name=None):
        nim = f"1300{len(found):02d}"
        content = content(nim) if callable(content) else content
        found.append(Planted(name or f"{nim}.zip", content, status, dict(points), parts or {}))

    def answers(**changed):
        return lambda nim: zipped(texts(GOOD | changed, nim))

    def first(content):
        return lambda nim: zipped(texts(GOOD, nim) | {f"notebooks/{FIRST}.ipynb": content})

    for _ in range(3):
        add(answers())
    for name, (code, status, points) in HOSTILE.items():
        if name != "telan":
            add(answers(akurasi=code), FULL | {"akurasi": points}, {"akurasi": status})
    add(
        answers(sensitivitas=SWALLOW), FULL | {"sensitivitas": 0.0}, {"sensitivitas": "waktu habis"}
    )
    add(
        answers(akurasi=READING.replace("HOME_PLACE", home).replace("KEY_PLACE", key)),
        FULL,
        {"akurasi": "benar"},
    )
    add(answers(akurasi=NETWORK.replace("PORT", str(port))), FULL, {"akurasi": "benar"})
    add(
        answers(jumlah="jumlah = 576\nbanyak_lapis = 34"),
        FULL | {"jumlah": 1.0},
        {"jumlah": "sebagian"},
    )
    add(
        answers(jumlah="jumlah = True\nbanyak_lapis = '18'"),
        FULL | {"jumlah": 0.0},
        {"jumlah": "salah"},
    )
    add(
        answers(**SKELETONS),
        dict.fromkeys(FULL, 0.0) | {"esai-bocor": None},
        dict.fromkeys(SKELETONS, "kosong"),
    )
    for change in (without_metadata, without_ids, without_markers, duplicated, cheating_tests):
        add(first(edited(FIRST, change)))
    add(first(edited(FIRST, without_one)), FULL | {"akurasi": 0.0}, {"akurasi": "tidak ada"})
    add(first("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> main\n"), *broken("konflik"))
    add(first(""), *broken("kosong"))
    add(first('{"cells": [{"cell_type": "code", "sour'), *broken("rusak"))
    add(
        lambda nim: zipped({k: v for k, v in texts(GOOD, nim).items() if FIRST not in k}),
        *broken("tidak ada"),
    )
    add(lambda nim: zipped({k: v.encode("utf-16") for k, v in texts(GOOD, nim).items()}))
    add(
        lambda nim: zipped(
            {f"Tugas Akhir/{nim}/{k}": v for k, v in texts(GOOD, nim).items()}
            | {"__MACOSX/._x.ipynb": "x"}
        )
    )
    add(
        lambda nim: zipped(
            {k.replace("/", "\\"): v for k, v in texts(GOOD, nim).items()} | {"desktop.ini": "x"}
        )
    )
    add(
        lambda nim: zipped(texts(GOOD, nim) | {"../../keluar.json": "{}", "/etc/keluar.json": "{}"})
    )
    add(lambda nim: linked(texts(GOOD, nim)))
    add(lambda nim: zipped({"dalam.zip": zipped(texts(GOOD, nim))}))
    add(lambda nim: texts(GOOD, nim), name="folder-130035")
    nothing = dict.fromkeys(FULL, 0.0)
    add(lambda nim: zipped(texts(GOOD, nim))[:-200], nothing, status="rusak")
    add(zipped({"bom.json": bytes(60 * 2**20)}), nothing, status="terlalu besar")
    add(zipped({"catatan.txt": "tidak ada apa-apa"}), nothing, status="kosong")
    add(b"Rar!", nothing, status="bentuk lain", name="130039.rar")
    add(b"{}", nothing, status="bentuk lain", name=f"130040_{FIRST}.ipynb")
    return found


def lay_out(planted: list[Planted], folder: Path) -> None:
    """Write the hand-ins into KUMPULAN."""
    for one in planted:
        if isinstance(one.content, bytes):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / one.name).write_bytes(one.content)
        else:
            for name, content in one.content.items():
                path = folder / one.name / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content, encoding="utf-8")
