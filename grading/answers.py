"""The answers of a notebook: which ones our notebook asks for, and where they are in a student's,
whatever an editor did to it.

An answer is found by cell id, by grade_id in nbgrader's metadata, by its marker (`# JAWABAN: id`,
`<!-- JAWABAN: id -->`), and by the name of the function that it defines: editors strip any one of
these.
"""

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cxr_helpers.engine.errors import InputError
from grading import package

MARKER = re.compile(r"^\s*(?:#|<!--)\s*JAWABAN:\s*([A-Za-z0-9_\-]+)\s*(?:-->)?\s*$", re.M)
# of an essay: `> Mengapa …`, `**1.4 (5 poin).** Mengapa …`
PROMPT = re.compile(r"^\s*(?:>|\*\*\d+\.\d+ \().*$", re.M)
FEWEST_WORDS = 5  # of an essay
# tags of our cells that grading runs, beside the answers and the imports of every cell
RUNS = {"parameters", "nilai"}


@dataclass(frozen=True)
class Asked:
    """One part of the assignment. names: what it defines, which tells its cell when all else is
    gone; points: its worth.
    """

    grade_id: str
    cell_id: str
    essay: bool
    skeleton: str
    names: tuple[str, ...]
    points: float


@dataclass(frozen=True)
class Answer:
    """What a student gave for one part. source: None where no cell was found; remark: Indonesian,
    "" for nothing odd.
    """

    source: str | None
    empty: bool = False
    remark: str = ""


@dataclass(frozen=True)
class Chapter:
    """One of our notebooks: what it asks, and the steps that grading runs in order, (grade_id or
    "", code).
    """

    name: str
    asked: dict[str, Asked]
    steps: tuple[tuple[str, str], ...]


def marks(cell) -> dict:
    """nbgrader's metadata of a cell, {} where there is none or it is no mapping."""
    found = cell.metadata.get("nbgrader")
    return found if isinstance(found, dict) else {}


def identity(cell) -> str | None:
    """The grade_id that a cell's metadata or marker gives."""
    if marks(cell).get("solution") and isinstance(marks(cell).get("grade_id"), str):
        return marks(cell)["grade_id"]
    found = MARKER.search("\n".join(cell.source.splitlines()[:3]))
    return found[1] if found else None


def defined(source: str) -> tuple[str, ...]:
    """Names that a cell defines or sets at its top, functions and classes first; also of a cell
    that Python cannot read.
    """
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
            essay = cell.cell_type == "markdown"
            points = float(marks(cell).get("points") or 0) or _points(cells, name)
            asked[name] = Asked(
                name, cell.get("id", ""), essay, cell.source, defined(cell.source), points
            )
            if not essay:
                steps.append((name, cell.source))
        elif cell.cell_type == "code":
            code = (
                cell.source if RUNS & set(cell.metadata.get("tags", [])) else _imports(cell.source)
            )
            steps += [("", code)] if code else []
    return Chapter(path.stem, asked, tuple(steps))


def _points(cells, name: str) -> float:
    """Of the locked cell that checks this answer."""
    check = re.compile(rf"""periksa\(\s*["']{re.escape(name)}["']""")
    return sum(
        float(marks(c).get("points") or 0)
        for c in cells
        if marks(c).get("locked") and check.search(c.source)
    )


def _body(source: str) -> list[ast.stmt] | None:
    """The statements at the top of a cell; None where it is no plain Python."""
    try:
        return ast.parse(source).body
    except SyntaxError:
        return None


def _imports(source: str) -> str:
    """The import statements at the top of a cell: what they bind, an answer below may use; the rest
    of it may take hours.
    """
    return "\n".join(
        ast.unparse(node)
        for node in _body(source) or ()
        if isinstance(node, (ast.Import, ast.ImportFrom))
    )


def needed(steps: Sequence[tuple[str, str]], mentioned: Iterable[str]) -> list[tuple[str, str]]:
    """The steps without imports of what neither they nor the texts `mentioned` name: to import
    PyTorch takes seconds.
    """
    bodies = [None if name else _body(code) for name, code in steps]
    imports = (ast.Import, ast.ImportFrom)
    rest = [
        ast.unparse(node) for body in bodies for node in body or () if not isinstance(node, imports)
    ]
    words = set(re.findall(r"\w+", "\n".join([*rest, *mentioned])))
    for node in [node for body in bodies for node in body or () if isinstance(node, imports)]:
        node.names = [
            one
            for one in node.names
            if one.name == "*" or (one.asname or one.name.split(".")[0]) in words
        ]
    lines = [
        [ast.unparse(node) for node in body or () if getattr(node, "names", True)]
        for body in bodies
    ]
    return [
        (name, code if body is None else "\n".join(line))
        for (name, code), body, line in zip(steps, bodies, lines, strict=True)
    ]


def same(a: str, b: str) -> bool:
    """Whether two cells say the same but for blanks and the marker."""
    bare = [re.sub(r"\s+", "", MARKER.sub("", text)) for text in (a, b)]
    return bare[0] == bare[1]


def unanswered(source: str) -> bool:
    """Whether a student's own copy still has the gap: `...` in code; in an essay nothing but marker
    and prompt (PROMPT).
    """
    if not re.search(r"<!--\s*JAWABAN", source):
        return bool(
            re.search(
                r"(^|[=:]|\breturn)\s*\.\.\.\s*(#.*)?$|raise NotImplementedError", source, re.M
            )
        )
    own = PROMPT.sub("", MARKER.sub("", source))
    return (
        len(re.findall(r"\w+", re.sub(r"[Tt]ulis(lah)? jawaban Anda[^.\n]*", "", own)))
        < FEWEST_WORDS
    )


def own_words(source: str, skeleton: str) -> str:
    """An essay without the lines that were there before."""
    known = {line.strip() for line in skeleton.splitlines()}
    return "\n".join(
        line for line in source.splitlines() if line.strip() not in known or not line.strip()
    ).strip()


def lift(ours: Chapter, notebook) -> dict[str, Answer]:
    """The answer to each part, by grade_id. Of several cells the one that most signs agree on, and
    that is not left as it was.
    """
    found = {}
    for name, asked in ours.asked.items():
        signs = []
        for place, cell in enumerate(notebook.cells):
            known = identity(cell)
            by = [
                bool(asked.cell_id) and cell.get("id") == asked.cell_id and known in (name, None),
                marks(cell).get("grade_id") == name and bool(marks(cell).get("solution")),
                name in MARKER.findall(cell.source),
                known in (name, None)
                and bool(asked.names)
                and set(asked.names) <= set(defined(cell.source)),
            ]
            if any(by):
                signs.append((not same(cell.source, asked.skeleton), sum(by[:3]), by[3], -place))
        if not signs:
            found[name] = Answer(None)
            continue
        chosen = notebook.cells[-max(signs)[-1]]
        others = {notebook.cells[-one[-1]].source for one in signs if one[1]} - {
            chosen.source,
            asked.skeleton,
        }
        remark = (
            "jawaban ganda, satu yang dinilai"
            if others
            else ""
            if max(signs)[1]
            else "ditemukan dari nama yang dibuatnya"
        )
        found[name] = Answer(chosen.source, same(chosen.source, asked.skeleton), remark)
    return found
