"""Who may know whom: imports run one way, and each room keeps to its size and its word (README, section on the helpers)."""

import ast
import re
from pathlib import Path

import pytest

import cxr_helpers
from tests.conftest import ROOT

HELPERS = ROOT / "cxr_helpers"
TAUGHT = {path.stem: path for path in HELPERS.glob("*.py") if path.stem != "__init__"}
ENGINE = {path.stem: path for path in (HELPERS / "engine").glob("*.py") if path.stem != "__init__"}
KNOW_TRAINING = {"runs", "parallel"}  # the run store and the workers
SHOWING = {"plots", "pictures", "show", "widgets", "live", "laboratory", "ownimage"}
DOOR = {"study"}  # what a notebook opens shows the curves of what is trained in it


def imported(path: Path) -> set[str]:
    """Names of our own modules that a file imports, "engine.x" for those of the engine; imports inside functions count."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cxr_helpers"):
            below = node.module.removeprefix("cxr_helpers").removeprefix(".")
            for alias in node.names:
                name = f"{below}.{alias.name}".removeprefix(".")
                known = name if name in TAUGHT or name.removeprefix("engine.") in ENGINE else below
                found.add(known)
        elif isinstance(node, ast.Import):
            found |= {
                alias.name.removeprefix("cxr_helpers.")
                for alias in node.names
                if alias.name.startswith("cxr_helpers.")
            }
    return found


@pytest.mark.parametrize("name", sorted(ENGINE))
def test_the_engine_knows_training_only_in_the_run_store_and_the_workers(name):
    taught = {other for other in imported(ENGINE[name]) if not other.startswith("engine")}
    assert name in KNOW_TRAINING or not taught
    assert not taught & SHOWING


def test_imports_run_one_way():
    graph = {name: imported(path) for name, path in TAUGHT.items()}
    graph |= {f"engine.{name}": imported(path) for name, path in ENGINE.items()}
    done: set[str] = set()
    while graph.keys() - done:
        free = {name for name in graph.keys() - done if graph[name] & graph.keys() <= done}
        assert free, f"a circle among {sorted(graph.keys() - done)}"
        done |= free


def test_what_is_drawn_and_shown_is_nobodys_business_but_the_notebooks():
    users = {name for name, path in TAUGHT.items() if imported(path) & SHOWING}
    assert users <= SHOWING | DOOR


@pytest.mark.parametrize(
    "path", sorted([*TAUGHT.values(), *ENGINE.values()]), ids=lambda path: path.name
)
def test_a_file_and_a_function_can_be_held_in_view(path):
    source = path.read_text(encoding="utf-8")
    assert source.count("\n") <= 450
    tree = ast.parse(source)
    long = [
        f"{node.name}: {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno + 1 > 75
    ]
    assert not long
    assert ast.get_docstring(tree)


@pytest.mark.parametrize("name", sorted(TAUGHT))
def test_each_taught_file_is_on_the_map_and_names_its_notebook(name):
    assert f"{name}.py" in cxr_helpers.__doc__
    assert re.search(
        r"[Nn]otebooks? 0\d|all notebooks|[Ee]very notebook",
        ast.get_docstring(ast.parse(TAUGHT[name].read_text())),
    )


def test_the_map_names_nothing_that_is_not_there():
    named = set(re.findall(r"(\w+)\.py", cxr_helpers.__doc__))
    assert named <= TAUGHT.keys() | ENGINE.keys()


@pytest.mark.parametrize("readme", ["README.md", "README.en.md"])
def test_the_readme_tells_the_same_map(readme):
    text = (ROOT / readme).read_text(encoding="utf-8")
    assert not [name for name in TAUGHT if f"`{name}`" not in text and f"{name}.py" not in text]
