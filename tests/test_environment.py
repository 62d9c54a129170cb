"""One list of packages, its lock, and how that is installed."""

import os
import re
import shutil
import subprocess

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
CONDA = (ROOT / "environment.yml").read_text("utf-8")
LOCK = (ROOT / "requirements.txt").read_text("utf-8")
LISTS = re.findall(r"^(?:dependencies|test) = \[(.*?)^\]", PYPROJECT, re.M | re.S)
DECLARED = [Requirement(text) for text in re.findall(r'"([^"]+)"', "".join(LISTS))]
LOCKED: dict[str, list[str]] = {}
for name, number in re.findall(r"^([\w.-]+)==([^\s;\\]+)", LOCK, re.M):
    LOCKED.setdefault(canonicalize_name(name), []).append(number)


def test_conda_takes_its_packages_from_pyproject():
    python = re.search('requires-python = "(.+)"', PYPROJECT)[1]
    assert f"- python{python}\n" in CONDA and "- -e .[test]\n" in CONDA


def test_the_lock_pins_every_declared_package_within_its_bounds_and_by_its_hash():
    assert len(DECLARED) > 30
    for requirement in DECLARED:
        name = canonicalize_name(requirement.name)
        assert LOCKED.get(name), f"{name} is not locked"
        assert all(requirement.specifier.contains(number) for number in LOCKED[name]), name
    assert "://" not in LOCK and "--index" not in LOCK and "--find-links" not in LOCK
    entries = re.split(r"\n(?=[\w.-]+==)", LOCK.strip())
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []


STUB = """#!/bin/sh
echo "$*" >> asked
case "$*" in *--dry-run*) exit $REFUSED ;; esac
"""


@pytest.mark.parametrize("refused", [0, 2])
def test_setup_for_a_cpu_takes_pytorchs_own_builds_where_their_index_answers(tmp_path, refused):
    """Else what the registry has, without what is opened on a GPU only."""
    for name in ("requirements.txt", "report/setup.sh", "report/cpu.awk"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    for name in ("uv", "pip", "python"):
        path = tmp_path / ".venv/bin" / name
        path.write_text(STUB if name == "uv" else "#!/bin/sh\n")
        path.chmod(0o755)
    env = os.environ | {"CPU": "1", "REFUSED": str(refused), "UV_OFFLINE": "1"}
    subprocess.run(["sh", "report/setup.sh"], cwd=tmp_path, env=env, check=True)
    *builds, rest = (tmp_path / "asked").read_text().splitlines()
    assert ["--dry-run" in build for build in builds] == ([True] if refused else [True, False])
    assert rest.endswith("--require-hashes -r .venv/cpu.txt") and "torch-backend" not in rest
    lock = (tmp_path / ".venv/cpu.txt").read_text()
    assert [f"\n{name}==" in lock for name in ("torch", "nvidia-cublas")] == [bool(refused)] * 2
    assert all("--torch-backend=cpu" in build for build in builds)
