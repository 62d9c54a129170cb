"""What a step rests on, found by reading its imports: the make fragment that stands beside each output.

A notebook, or a module of this project, rests on every file of cxr_helpers and report that it imports, directly or through others. A
notebook also shows words: a chapter those of its own template, the report those of all. make includes the fragment, so a changed
helper rebuilds exactly what rests on it.
"""

import ast
import json
from pathlib import Path

from cxr_helpers.engine import files

ROOMS = ("cxr_helpers", "report")
TEXTS = Path("notebooks/text")


def _imported(source: str, root: Path) -> set[Path]:
    """Files of ROOMS under `root` that a piece of Python imports, relative to it; imports inside functions count."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    found = set()
    for name in names:
        parts = name.split(".")
        if parts[0] not in ROOMS:
            continue
        # A package runs its __init__ first, then the module.
        inits = [Path(*parts[:n], "__init__.py") for n in range(1, len(parts) + 1)]
        found |= {path for path in (*inits, Path(*parts).with_suffix(".py")) if (root / path).is_file()}
    return found


def _source(path: Path) -> str:
    if path.suffix != ".ipynb":
        return path.read_text(encoding="utf-8")
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    lines = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code").splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))  # IPython's own commands


def needed(start: Path, root: Path = files.ROOT) -> list[Path]:
    """Every file that `start` (a notebook or module under `root`) rests on, itself left out, relative to root and sorted.

    A file that cannot be parsed rests on nothing more: running it will say what is wrong.
    """
    waiting, known = [start], set()
    while waiting:
        try:
            imported = _imported(_source(root / waiting.pop()), root)
        except (SyntaxError, ValueError, KeyError):
            continue
        waiting += imported - known
        known |= imported
    if start.suffix == ".ipynb":
        words = {path.relative_to(root) for path in (root / TEXTS).glob("*.j2")}
        own = {TEXTS / f"{start.stem}.md.j2", TEXTS / "istilah.md.j2"}
        known |= words if start.parent.name == "report" else words & own
    return sorted(known - {start})


def note(output: Path, start: Path) -> None:
    """Write `.NAME.d` beside `output`, which make includes: output rests on what `start` rests on; a deleted file asks for a new run."""
    start = start.resolve().relative_to(files.ROOT)
    paths = [str(path).replace(" ", "\\ ") for path in needed(start)]
    target = str(output).replace(" ", "\\ ")
    lines = [f"{target}: {' '.join(paths)}", *(f"{path}:" for path in paths)]
    files.write(output.with_name(f".{output.name.lstrip('.')}.d"), ("\n".join(lines) + "\n").encode())
