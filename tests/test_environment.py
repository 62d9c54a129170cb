"""One list of packages in three files, and nothing that only some systems have."""

import ast
import re

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
CONDA = (ROOT / "environment.yml").read_text("utf-8")
LOCK = (ROOT / "requirements.txt").read_text("utf-8")
POSIX = set("fcntl grp pty pwd readline resource spwd syslog termios tty crypt nis".split())


def bounds(texts: list[str]) -> dict[str, Requirement]:
    return {canonicalize_name(one.name): one for one in map(Requirement, texts)}


DECLARED = bounds(
    re.findall(
        r'"([^"]+)"',
        "".join(re.findall(r"^(?:dependencies|test) = \[(.*?)^\]", PYPROJECT, re.M | re.S)),
    )
)
LOCKED: dict[str, list[str]] = {}
for name, number in re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, re.M):
    LOCKED.setdefault(canonicalize_name(name), []).append(number)


def test_conda_has_the_same_packages_with_the_same_bounds():
    listed = bounds(re.findall(r"^ {6}- ([^-\s].*)$", CONDA, re.M))
    assert {name: str(one.specifier) for name, one in listed.items()} == {
        name: str(one.specifier) for name, one in DECLARED.items()
    }
    python = re.search('requires-python = "(.+)"', PYPROJECT)[1]
    assert f"- python{python}\n" in CONDA and "- -e .\n" in CONDA


def test_the_lock_pins_every_declared_package_within_its_bounds_and_by_its_hash():
    assert len(DECLARED) > 30
    for name, requirement in DECLARED.items():
        assert LOCKED.get(name), f"{name} is not locked"
        assert all(requirement.specifier.contains(number) for number in LOCKED[name]), name
    assert "://" not in LOCK and "--index" not in LOCK and "--find-links" not in LOCK
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


def test_on_windows_nothing_is_imported_that_only_posix_has_but_in_a_try():
    wrong = []
    for room in ("cxr_helpers", "phantom", "report", "grading"):
        for path in (ROOT / room).rglob("*.py"):
            nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
            tried = {one for node in nodes if isinstance(node, ast.Try) for one in ast.walk(node)}
            for node in nodes:
                if isinstance(node, ast.Import | ast.ImportFrom) and node not in tried:
                    names = {getattr(node, "module", None), *(one.name for one in node.names)}
                    wrong += [(path.name, name) for name in names & POSIX]
    assert wrong == []
