"""Which answers our notebook asks for, and where they are in a student's: editors strip signs, so
any will do: cell id, grade_id in nbgrader's metadata, marker, the name that the answer defines.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_helpers.engine.errors import InputError
from grading import package

# no expression may try a line twice: a cell may hold 80,000 empty ones
MARKER = re.compile(
    r"^[ \t]*(?:#|<!--)[ \t]*JAWABAN:[ \t]*([A-Za-z0-9_\-]{1,99})[ \t]*(?:-->)?[ \t\r]*$", re.M
)
# of an essay: `> Mengapa …`, `**1.4 (5 poin).** Mengapa …`
PROMPT = re.compile(r"^[ \t]*(?:>|\*\*\d+\.\d+ \().*$", re.M)
GAP = re.compile(r"(^|[=:]|\breturn)[ \t]*\.\.\.[ \t]*(#.*)?$|raise NotImplementedError", re.M)
IMPORTS = (ast.Import, ast.ImportFrom)
FEWEST_WORDS = 5  # of an essay
# tags of our cells that grading runs, beside the answers and the imports of every cell
RUNS = {"parameters", "nilai"}


@dataclass(frozen=True)
class Asked:
    """One part of the assignment, its points, and the names that it defines."""

    grade_id: str
    cell_id: str
    essay: bool
    skeleton: str
    names: tuple[str, ...]
    points: float


@dataclass(frozen=True)
class Answer:
    """What a student gave; source: None where no cell was found; remark: what is odd about it."""

    source: str | None
    empty: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Chapter:
    """One of our notebooks: what it asks, the steps that grading runs: (grade_id or "", code)."""

    name: str
    asked: dict[str, Asked]
    steps: tuple[tuple[str, str], ...]


def nbgrader(cell) -> dict:
    """nbgrader's metadata of a cell, {} where there is none or it is no mapping."""
    metadata = cell.metadata.get("nbgrader")
    return metadata if isinstance(metadata, dict) else {}


def identity(cell) -> str | None:
    """The grade_id that a cell's metadata or marker gives."""
    if nbgrader(cell).get("solution") and isinstance(nbgrader(cell).get("grade_id"), str):
        return nbgrader(cell)["grade_id"]
    marker = MARKER.search("\n".join(cell.source.splitlines()[:3]))
    return marker[1] if marker else None


def defined(source: str) -> tuple[str, ...]:
    """Names that a cell defines or sets at its top, functions and classes first."""
    made = re.findall(r"^(?:async\s+)?(?:def|class)\s+([A-Za-z_]\w*)", source, re.M)
    return tuple(made + re.findall(r"^([A-Za-z_]\w*)\s*=(?!=)", source, re.M))


def chapter(path: Path) -> Chapter:
    """Our own notebook. Raises InputError where it cannot be read, or asks for one thing twice."""
    try:
        cells = package.notebook(path.read_bytes()).cells
    except package.Refused as error:
        raise InputError(f"{path}: {error}") from None
    asked, steps = {}, []
    for cell in cells:
        name = identity(cell)
        if name in asked:
            raise InputError(f"{path}: jawaban {name} diminta dua kali.")
        if name:
            # nbgrader's mark of an answer that a person reads, also where it is code
            essay = cell.cell_type == "markdown" or bool(nbgrader(cell).get("grade"))
            names = defined(cell.source)
            points = float(nbgrader(cell).get("points") or 0) or _points(cells, name)
            asked[name] = Asked(name, cell.get("id", ""), essay, cell.source, names, points)
            if not essay:
                steps.append((name, cell.source))
        elif cell.cell_type == "code":
            runs = RUNS & set(cell.metadata.get("tags", []))
            code = cell.source if runs else _imports(cell.source)
            steps += [("", code)] if code else []
    return Chapter(path.stem, asked, tuple(steps))


def _points(cells, name: str) -> float:
    """Of the locked cell that checks this answer."""
    check = re.compile(rf"""periksa\(\s*["']{re.escape(name)}["']""")
    locked = [c for c in cells if nbgrader(c).get("locked") and check.search(c.source)]
    return sum(float(nbgrader(cell).get("points") or 0) for cell in locked)


def _body(source: str) -> list[ast.stmt] | None:
    """The statements at the top of a cell; None where it is no plain Python."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return None


def _imports(source: str) -> str:
    """The import statements at the top of a cell, which an answer below may use."""
    return "\n".join(ast.unparse(n) for n in _body(source) or () if isinstance(n, IMPORTS))


def needed(steps: Sequence[tuple[str, str]], mentioned: Iterable[str]) -> list[tuple[str, str]]:
    """The steps without imports of what nothing names: to import PyTorch takes seconds."""
    bodies = [None if name else _body(code) for name, code in steps]
    nodes = [node for body in bodies for node in body or ()]
    rest = [ast.unparse(node) for node in nodes if not isinstance(node, IMPORTS)]
    words = {"*", *re.findall(r"\w+", "\n".join([*rest, *mentioned]))}
    for node in [node for node in nodes if isinstance(node, IMPORTS)]:
        node.names = [a for a in node.names if (a.asname or a.name.split(".")[0]) in words]
    kept = []
    for (name, code), body in zip(steps, bodies, strict=True):
        if body is not None:
            code = "\n".join(ast.unparse(node) for node in body if getattr(node, "names", True))
        kept.append((name, code))
    return kept


def bare(source: str) -> str:
    """A cell without blanks and marker."""
    return re.sub(r"\s+", "", MARKER.sub("", source))


def unanswered(source: str) -> bool:
    """Whether a student's copy has the gap: `...` in code; nothing but the question in an essay."""
    if not re.search(r"<!--\s*JAWABAN", source):
        return bool(GAP.search(source))
    own = PROMPT.sub("", MARKER.sub("", source))
    own = re.sub(r"[Tt]ulis(lah)? jawaban Anda[^.\n]*", "", own)
    return len(re.findall(r"\w+", own)) < FEWEST_WORDS


def own_words(source: str, skeleton: str) -> str:
    """An essay without the lines that were there before."""
    before = {line.strip() for line in skeleton.splitlines()} - {""}
    return "\n".join(x for x in source.splitlines() if x.strip() not in before).strip()


def lift(ours: Chapter, notebook) -> dict[str, Answer]:
    """The answer to each part: of several cells the one with most signs that was changed."""
    return {name: _lifted(asked, notebook.cells) for name, asked in ours.asked.items()}


def _lifted(asked: Asked, cells: list) -> Answer:
    candidates = []  # (changed, signs, defines the names, place from the end, source)
    for place, cell in enumerate(cells):
        name = asked.grade_id
        free = identity(cell) in (name, None)  # no other part's answer
        by_id = free and bool(asked.cell_id) and cell.get("id") == asked.cell_id
        by_mark = nbgrader(cell).get("grade_id") == name and bool(nbgrader(cell).get("solution"))
        signs = by_id + by_mark + (name in MARKER.findall(cell.source))
        defines = free and bool(asked.names) and set(asked.names) <= set(defined(cell.source))
        if signs or defines:
            changed = bare(cell.source) != bare(asked.skeleton)
            candidates.append((changed, signs, defines, -place, cell.source))
    if not candidates:
        return Answer(None)
    changed, signs, _, _, source = max(candidates)
    signed = {text for _, signs, _, _, text in candidates if signs}
    others = signed - {source, asked.skeleton}
    remark = "" if signs else "ditemukan dari nama yang dibuatnya"
    remark = "jawaban ganda, satu yang dinilai" if others else remark
    return Answer(source, not changed, remark)
