"""One list of packages in three files: pyproject.toml, the lock, and environment.yml."""

import re
import sys
from importlib.metadata import version

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
CONDA = (ROOT / "environment.yml").read_text("utf-8")
LOCK = (ROOT / "requirements.txt").read_text("utf-8")


def declared() -> dict[str, Requirement]:
    blocks = re.findall(r"^(?:dependencies|test) = \[(.*?)^\]", PYPROJECT, re.M | re.S)
    wanted = [Requirement(text) for block in blocks for text in re.findall(r'"([^"]+)"', block)]
    return {canonicalize_name(r.name): r for r in wanted}


def locked() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, number in re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, re.M):
        found.setdefault(canonicalize_name(name), []).append(number)
    return found


def test_conda_has_the_same_packages_with_the_same_bounds():
    listed = [Requirement(text) for text in re.findall(r"^ {6}- ([^-\s].*)$", CONDA, re.M)]
    assert {canonicalize_name(r.name): str(r.specifier) for r in listed} == {
        n: str(r.specifier) for n, r in declared().items()
    }
    python = re.search(r'requires-python = "(.+)"', PYPROJECT)[1]
    assert f"- python{python}" in CONDA and "- -e ." in CONDA


def test_lock_pins_every_declared_package_within_its_bounds():
    pins = locked()
    for name, requirement in declared().items():
        assert pins.get(name), f"{name} is not locked"
        assert all(requirement.specifier.contains(number) for number in pins[name]), name


def test_lock_has_hashes_and_no_addresses():
    assert "://" not in LOCK and "--index" not in LOCK and "--find-links" not in LOCK
    for entry in re.split(r"\n(?=[\w.-]+==)", LOCK.strip()):
        assert "--hash=sha256:" in entry, entry.splitlines()[0]


@pytest.mark.parametrize(
    "name", ["torch", "torchvision", "medmnist", "nbconvert", "papermill", "typst"]
)
def test_the_locked_version_is_the_installed_one(name):
    if sys.prefix != str(ROOT / ".venv"):
        pytest.skip("not the project's own .venv")
    assert version(name).split("+")[0] in locked()[canonicalize_name(name)]


def test_what_a_setup_without_gpu_leaves_out_is_in_the_lock():
    """A package that the lock no longer names would be installed again unnoticed."""
    setup = (ROOT / "report/cpu.awk").read_text("utf-8")
    named, family = re.search(r"\^\(([\w|-]+)\|nvidia-\(([\w|-]+)\)\)==", setup).groups()
    assert {*named.split("|"), *(f"nvidia-{name}" for name in family.split("|"))} <= locked().keys()
