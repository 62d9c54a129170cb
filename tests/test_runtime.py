"""Threads and memory of a process that trains (cxr_helpers/engine/runtime.py)."""

import platform
import subprocess
import sys

import pytest

from cxr_helpers.engine import runtime
from cxr_helpers.engine.errors import InputError
from tests.conftest import ROOT


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep memory"
)
def test_freed_memory_is_kept_when_asked():
    """Page faults of a process that frees 160 MB and asks for them again, five times."""
    code = (
        "import resource, numpy; from cxr_helpers.engine.runtime import keep_freed_memory\n"
        "def work(): blocks = [numpy.ones(2_500_000) for _ in range(8)]\n"
        "{}work()\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(5): work()\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", code.format(first)],
                capture_output=True,
                text=True,
                check=True,
                cwd=ROOT,
            ).stdout
        )
        for first in ("", "keep_freed_memory()\n")
    ]
    assert faults[1] < 0.1 * faults[0], faults


@pytest.mark.parametrize("given", ["abc", "0", "-2", "1.5", "9" * 5000, "٣"])
def test_a_number_of_threads_that_is_none_is_one_line(monkeypatch, given):
    monkeypatch.setenv("CXR_THREADS", given)
    with pytest.raises(InputError, match=r"^CXR_THREADS=.*mulai dari 1"):
        runtime.make_deterministic()
