"""Imports run downwards, and each room keeps to its budget (printed after every run)."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import ROOT

FIGURES = ("figures.py", "panels.py")
# Lines at 100 columns. A change may lower a limit, and raises none.
LIMITS = {
    "cxr_helpers": 4000,
    "figures and panels": 1100,
    "cxr_helpers/engine": 2200,
    "phantom": 1100,
    "report": 2500,
    "report, Lua": 450,
    "grading": 3200,
    "bench": 800,
    "tests": 8500,
}
FLOORS = {"cxr_helpers": 10, "": 13}  # of the modules whose names begin so
LOADED = 24  # own modules that `open_study` brings
# What a room may import beside itself.
BELOW = {
    "engine": {"phantom"},
    "phantom": {"engine"},
    "cxr_helpers": {"engine", "phantom"},
    "report": {"cxr_helpers", "engine", "phantom"},
    "grading": {"report", "cxr_helpers", "engine", "phantom"},
}


def files(room: str) -> list[Path]:
    if room == "figures and panels":
        return [ROOT / "cxr_helpers" / name for name in FIGURES]
    if room == "report, Lua":
        return sorted((ROOT / "report").glob("*.lua"))
    inner = sorted((ROOT / room / "solutions").glob("*.py"))  # of the exercises
    apart = FIGURES if room == "cxr_helpers" else ()
    return inner + [path for path in sorted((ROOT / room).glob("*.py")) if path.name not in apart]


def lines(room: str) -> int:
    return sum(len(path.read_text("utf-8").splitlines()) for path in files(room))


@cache
def imports() -> dict[str, set[str]]:
    """{module: the modules of ours that it imports}, imports inside functions included."""
    rooms = [room for room in LIMITS if room not in ("tests", "report, Lua")]
    paths = {path for room in rooms for path in files(room)}
    names = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in paths}
    graph = {}
    for name, path in names.items():
        asked = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                asked |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                asked |= {alias.name for alias in node.names}
        graph[name] = asked & names.keys()
    return graph


def floors() -> dict[str, int]:
    """{module: 1 where it imports none of ours, else one above the highest that it imports}."""
    height: dict[str, int] = {}
    for name in TopologicalSorter(imports()).static_order():  # CycleError names a circle
        height[name] = 1 + max((height[below] for below in imports()[name]), default=0)
    return height


def loaded(name: str) -> set[str]:
    """A module with all that it imports, directly or not."""
    return {name}.union(*(loaded(below) for below in imports()[name]))


def highest(prefix: str) -> int:
    return max(height for name, height in floors().items() if name.startswith(prefix))


def table() -> str:
    rooms = ", ".join(f"{room} {lines(room)} of {limit}" for room, limit in LIMITS.items())
    high = ", ".join(f"{where or 'house'} {highest(where)}" for where in FLOORS)
    brought = len(loaded("cxr_helpers.study"))
    return f"lines: {rooms}; floors: {high}; modules that open_study loads: {brought}"


def room(name: str) -> str:
    parts = name.split(".")
    return "engine" if parts[:2] == ["cxr_helpers", "engine"] else parts[0]


@pytest.mark.parametrize("where", BELOW)
def test_a_room_imports_only_from_rooms_below(where):
    asked = {room(to) for name, below in imports().items() if room(name) == where for to in below}
    assert asked and asked <= BELOW[where] | {where}


def test_the_house_stays_small():
    assert {room: n for room, limit in LIMITS.items() if (n := lines(room)) > limit} == {}
    assert {where: n for where, limit in FLOORS.items() if (n := highest(where)) > limit} == {}
    assert len(loaded("cxr_helpers.study")) <= LOADED
