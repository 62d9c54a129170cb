"""What a step rests on, found by reading its imports: the make fragment that stands beside each
output.

A notebook, or a module of this project, rests on every file of ROOMS that it imports, directly or
through others. A notebook also shows words: a chapter those of its own template and of those that
this one names, the report those of all. make includes the fragment, so a changed helper rebuilds
exactly what rests on it.
"""

import ast
import json
import re
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from cxr_helpers.engine import files

ROOMS = ("cxr_helpers", "phantom", "report")
TEXTS = Path("notebooks/text")
# what a module reads that is no module
READS = {Path("cxr_helpers/reference.py"): {Path("notebooks/reference/results.json")}}
# what a template takes from others
NAMED = re.compile(r"""\{%[-+]?\s*(?:from|import|include|extends)\s+["']([^"']+)""")
# in a file's name: make reads more into these, however they are quoted
UNQUOTABLE = re.compile(r"[:;=|%\\]")


def _imported(source: str, root: Path) -> set[Path]:
    """Files of ROOMS under `root` that a piece of Python imports, relative to it; imports inside
    functions count.

    What cannot be parsed imports nothing: running it will say what is wrong.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return set()
    names = set()
    for node in ast.walk(tree):
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
        found |= {
            path for path in (*inits, Path(*parts).with_suffix(".py")) if (root / path).is_file()
        }
    return found


def _sources(path: Path) -> list[str]:
    """A module's text, or a notebook's code cells as plain Python: without `%%time`, `!ls` and the
    like as calls.
    """
    if path.suffix != ".ipynb":
        return [path.read_text(encoding="utf-8")]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    return [
        TransformerManager().transform_cell(re.sub(r"\A\s*%%.*", "", source)) for source in code
    ]


def _words(notebook: Path, root: Path) -> list[Path]:
    if notebook.parent.name != "notebooks":  # the report, which joins all chapters
        return [
            path.relative_to(root)
            for path in (root / TEXTS).glob("*.j2")
            if not UNQUOTABLE.search(path.name)
        ]
    return [TEXTS / f"{notebook.stem}.md.j2"]


def _direct(path: Path, root: Path) -> set[Path]:
    """The files that a notebook, module or template itself imports, reads or names, relative to
    root.
    """
    if path.suffix == ".json":
        return set()
    if path.suffix == ".j2":
        found = {TEXTS / name for name in NAMED.findall((root / path).read_text(encoding="utf-8"))}
    else:
        found = set().union(*(_imported(source, root) for source in _sources(root / path)))
        found |= {*_words(path, root)} if path.suffix == ".ipynb" else READS.get(path, set())
    return {path for path in found if (root / path).is_file()}


def needed(start: Path, root: Path = files.ROOT) -> list[Path]:
    """Every file that `start` (a notebook or module under `root`) rests on, itself left out,
    relative to root and sorted.
    """
    waiting, known = {start}, {start}
    while waiting:
        waiting = set().union(*(_direct(path, root) for path in waiting)) - known
        known |= waiting
    return sorted(known - {start})


def note(output: Path, start: Path) -> None:
    """Write `.NAME.d` beside an output in BUILD or BUILD/notebooks: it rests on what `start` rests
    on.

    A file that is gone by the time make reads this asks for a new run and is no error. BUILD is
    left for make to fill in, which knows the folder by the name that the person types.
    """
    needs = needed(start.resolve().relative_to(files.ROOT))
    paths = [re.sub("[ #]", r"\\\g<0>", path.as_posix().replace("$", "$$")) for path in needs]
    target = "/".join(
        ["$(BUILD)", *(["notebooks"] if start.suffix == ".ipynb" else []), output.name]
    )
    lines = [f"{target}: {' '.join(paths)}", *(f"{path}:" for path in paths)]
    files.write(
        output.with_name(f".{output.name.lstrip('.')}.d"), ("\n".join(lines) + "\n").encode()
    )
