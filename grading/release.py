"""`make tugas OUT=folder`: OUT/mahasiswa is what is handed out, OUT/pengajar what stays (and what
`make nilai KUNCI=` takes).

An instructor's own notebook may hold its answers between `### BEGIN SOLUTION` and `### END
SOLUTION`: these lines are emptied in what is handed out and kept as pengajar/solusi/<grade_id>.
The repository's solutions are never handed out.
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

GAP = re.compile(
    r"^([ \t]*)### BEGIN SOLUTION[^\n]*\n(.*?)^[ \t]*### END SOLUTION[^\n]*$", re.M | re.S
)
LEFT = re.compile(r"###\s*(BEGIN|END)\s+(SOLUTION|HIDDEN)", re.I)
STAYS = ("grading/solutions/", "tests/test_exercises.py")  # those tests run the solutions
# without git: what a copy leaves out, beside what is hidden
ROUTES = ("build/", "runs/", "data/", "kumpulan/")


def emptied(cell) -> str:
    """The source of a cell without its solution. Raises InputError where a mark is left over."""
    essay = cell.cell_type == "markdown"
    place = "Tulis jawaban Anda di sini."
    source = GAP.sub(lambda gap: place if essay else f"{gap[1]}...", cell.source)
    if LEFT.search(source):
        name = answers.identity(cell) or cell.get("id")
        raise InputError(f"tanda {LEFT.search(source)[0]} tidak berpasangan pada sel {name}")
    return source


def solution(cell) -> str | None:
    """The whole answer of an instructor's cell; None for a cell without marks."""
    if not GAP.search(cell.source):
        return None
    return GAP.sub(lambda gap: gap[2].rstrip("\n"), cell.source)


def split(path: Path) -> tuple[str, dict[str, str]]:
    """(the notebook as it is handed out, {name in solusi/: solution}). Raises InputError."""
    try:
        made = package.notebook(path.read_bytes())
        solutions = {}
        for cell in made.cells:
            answer = solution(cell)
            if answer is not None:
                name = answers.identity(cell)
                if name is None:
                    raise InputError(f"solusi di sel {cell.get('id')} tanpa `JAWABAN: nama`")
                solutions[f"{name}{'.md' if cell.cell_type == 'markdown' else '.py'}"] = answer
            cell.source = emptied(cell)
    except InputError as error:
        raise InputError(f"{path.name}: {error}.") from None
    return nbformat.writes(made), solutions


def _tracked(root: Path) -> list[str]:
    """Names of the repository's files: of git where this folder is the top of a repository, and not
    some folder within another one.
    """
    if (root / ".git").exists():
        ask = ["git", "-C", str(root), "ls-files", "-z"]
        with suppress(OSError, subprocess.CalledProcessError):
            done = subprocess.run(ask, capture_output=True, check=True)
            return [os.fsdecode(name) for name in done.stdout.split(b"\0") if name]
    paths = [path.relative_to(root) for path in sorted(root.rglob("*")) if path.is_file()]
    made = ("__pycache__", "node_modules")
    seen = [p for p in paths if not any(x in made or x.startswith(".") for x in p.parts)]
    return [path.as_posix() for path in seen if not path.as_posix().startswith(ROUTES)]


def release(root: Path, out: Path) -> tuple[int, int]:
    """(files handed out, parts asked) of both folders, written to `out`. Raises InputError."""
    if out.exists() and any(out.iterdir()):
        why = "pilih folder baru, agar tidak ada yang tertimpa."
        raise InputError(f"OUT={out} sudah berisi: {why}")
    student, teacher = out / "mahasiswa", out / "pengajar"
    paths = package.chapters(root / "notebooks")
    notebooks = {f"notebooks/{path.name}": split(path) for path in paths}
    kept = [name for name in _tracked(root) if not name.startswith(STAYS)]
    names = [name for name in kept if (root / name).is_file()]
    for name in names:
        (student / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, student / name)
    for name, (text, _) in notebooks.items():
        (student / name).parent.mkdir(parents=True, exist_ok=True)
        (student / name).write_text(text, encoding="utf-8")
    (teacher / "solusi").mkdir(parents=True)
    for path in sorted((root / course.SOLUTIONS.relative_to(files.ROOT)).glob("*.*")):
        shutil.copy2(path, teacher / "solusi" / path.name)
    for _, solutions in notebooks.values():
        for name, text in solutions.items():
            (teacher / "solusi" / name).write_text(text, encoding="utf-8")
    asked = sum(len(answers.chapter(student / name).asked) for name in notebooks)
    return len(set(names) | set(notebooks)), asked


def handed_out() -> Path:
    """OUT, the folder of an earlier `make tugas`. Raises InputError."""
    given = os.environ.get("OUT") or ""
    if not (given and all((Path(given) / name).is_dir() for name in ("mahasiswa", "pengajar"))):
        cure = "Jalankan dahulu `make tugas OUT=../tugas`, lalu ulangi."
        raise InputError(f"OUT={given} bukan folder dari `make tugas`. {cure}")
    return Path(given).resolve()


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
