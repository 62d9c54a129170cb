"""`make tugas OUT=folder`: OUT/mahasiswa is what is handed out, OUT/pengajar what stays (KUNCI).

What an instructor's notebook holds between `### BEGIN SOLUTION` and `### END SOLUTION` is emptied
and kept as pengajar/solusi/<grade_id>. The repository's solutions are never handed out.
"""

import os
import re
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import nbformat

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from grading import answers, course, package

GAP = re.compile(r"(?ms)^([ \t]*)### BEGIN SOLUTION[^\n]*\n(.*?)^[ \t]*### END SOLUTION[^\n]*$")
LEFT = re.compile(r"###\s*(BEGIN|END)\s+(SOLUTION|HIDDEN)", re.I)
STAYS = ("grading/solutions/", "tests/test_exercises.py")  # those tests run the solutions
ROUTES = ("build/", "runs/", "data/", "kumpulan/")  # what a copy without git leaves out


def split(path: Path) -> tuple[str, dict[str, str]]:
    """(the notebook as it is handed out, {name in solusi/: solution}). Raises InputError."""
    try:
        made = package.notebook(path.read_bytes())
    except InputError as error:
        raise InputError(f"{path.name}: {error}.") from None
    solutions = {}
    for cell in made.cells:
        name, essay = answers.identity(cell), cell.cell_type == "markdown"
        gap = "Tulis jawaban Anda di sini." if essay else r"\1..."
        asked = GAP.sub(gap, cell.source)
        if LEFT.search(asked) or (asked != cell.source and name is None):
            why = "tanda solusi yang tidak berpasangan, atau tanpa `JAWABAN: nama`"
            raise InputError(f"{path.name}: sel {name or cell.get('id')} memuat {why}.")
        if asked != cell.source:
            solution = GAP.sub(lambda gap: gap[2].rstrip("\n"), cell.source)
            solutions[f"{name}{'.md' if essay else '.py'}"] = solution
        cell.source = asked
    return nbformat.writes(made), solutions


def _tracked(root: Path) -> list[str]:
    """The repository's files: git's where this folder is its top, else all but what is made."""
    if (root / ".git").exists():
        ask = ["git", "-C", str(root), "ls-files", "-z"]
        with suppress(OSError, subprocess.CalledProcessError):
            done = subprocess.run(ask, capture_output=True, check=True)
            return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    names = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*"))]
    hidden = re.compile(r"(^|/)(\.|__pycache__/|node_modules/)")
    return [name for name in names if not hidden.search(name) and not name.startswith(ROUTES)]


def release(root: Path, out: Path) -> tuple[int, int]:
    """(files handed out, parts asked) of both folders, written to `out`. Raises InputError."""
    if out.exists() and any(out.iterdir()):
        raise InputError(f"OUT={out} sudah berisi: pilih folder baru.")
    student, teacher = out / "mahasiswa", out / "pengajar"
    paths = package.chapters(root / "notebooks")
    notebooks = {f"notebooks/{path.name}": split(path) for path in paths}
    kept = [name for name in _tracked(root) if not name.startswith(STAYS)]
    names = {name for name in kept if (root / name).is_file()} | notebooks.keys()
    for name in names:
        (student / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, student / name)
    (teacher / "solusi").mkdir(parents=True)
    for path in (root / course.SOLUTIONS.relative_to(files.ROOT)).glob("*.*"):
        shutil.copy2(path, teacher / "solusi" / path.name)
    for name, (text, solutions) in notebooks.items():
        (student / name).write_text(text, encoding="utf-8")
        for solved, solution in solutions.items():
            (teacher / "solusi" / solved).write_text(solution, encoding="utf-8")
    asked = sum(len(answers.chapter(student / name).asked) for name in notebooks)
    return len(names), asked


def main() -> int:
    if not os.environ.get("OUT"):
        raise InputError("berikan folder baru, misalnya: make tugas OUT=../tugas")
    out = Path(os.environ["OUT"]).resolve()
    if out.is_relative_to(files.ROOT):
        raise InputError(f"OUT={out} berada di dalam repositori: pilih folder di luarnya.")
    count, asked = release(files.ROOT, out)
    print(f"{out}/mahasiswa: {count} berkas untuk dibagikan, {asked} bagian yang dijawab.")
    print(f"{out}/pengajar: solusi, untuk `make nilai KUNCI={out}/pengajar`. Jangan dibagikan.")
    return 0
