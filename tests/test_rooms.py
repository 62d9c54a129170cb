"""Imports run one way."""

import ast
from graphlib import TopologicalSorter

from tests.conftest import ROOT


def test_imports_run_one_way():
    modules = {}
    for path in [*(ROOT / "cxr_helpers").rglob("*.py"), *(ROOT / "report").glob("*.py")]:
        modules[".".join(path.relative_to(ROOT).with_suffix("").parts)] = path
    graph = {}
    for name, path in modules.items():
        asked = set()
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                asked |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
            elif isinstance(node, ast.Import):
                asked |= {alias.name for alias in node.names}
        graph[name] = asked & modules.keys()
    assert graph["cxr_helpers.training"]  # it reads what it is meant to read
    for name, asked in graph.items():
        assert not name.startswith("cxr") or all(other.startswith("cxr") for other in asked), name
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle
