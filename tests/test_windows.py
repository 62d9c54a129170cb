"""No module that a Windows computer imports needs what only POSIX has (README, Windows)."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

POSIX = "fcntl grp pty pwd readline resource spwd syslog termios tty crypt nis posix_ipc".split()
CALLS = "fork getuid geteuid getpgid killpg setsid ttyname sched_getaffinity getloadavg uname mkfifo chown".split()
ANSWERS = ("keys", "solutions")  # of grading: cells of a notebook, no modules
USED = [
    path
    for room in ("cxr_helpers", "report", "grading")
    for path in sorted((ROOT / room).rglob("*.py"))
    if path.parent.name not in ANSWERS
]
# Others' modules look at sys.platform themselves; here only ours see a computer without these.
IMPORTER = """
import builtins, importlib, os, pathlib, sys
usual = builtins.__import__
def careful(name, globals=None, *rest, **more):
    ours = str((globals or {}).get("__name__", "")).split(".")[0] in ("cxr_helpers", "report", "grading")
    if ours and name.split(".")[0] in {posix}:
        raise ImportError(f"No module named {name!r}")
    return usual(name, globals, *rest, **more)
builtins.__import__ = careful
every = [path for room in ("cxr_helpers", "report", "grading") for path in pathlib.Path(room).rglob("*.py")]
for path in sorted(path for path in every if path.parent.name not in {answers}):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if not name.endswith("__main__"):
        importlib.import_module(name)
        print(name)
"""


def test_every_module_can_be_imported_without_what_only_posix_has():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            IMPORTER.replace("{posix}", repr(set(POSIX))).replace("{answers}", repr(ANSWERS)),
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cxr_helpers.engine.runs" in done.stdout and "report.execute" in done.stdout


@pytest.mark.parametrize("path", USED, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_call_that_only_posix_has_is_asked_for_first(path):
    text = path.read_text("utf-8")
    called = {name for name in CALLS if re.search(rf"\bos\.{name}\b", text)}
    assert {name for name in called if f'hasattr(os, "{name}")' not in text} == set()
