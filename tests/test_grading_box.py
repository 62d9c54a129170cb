"""The box holds: what a kernel may reach, and what ends it."""

import os
import shutil
import socket

import pytest

from grading import box
from tests.grading_class import LOOP, SWALLOW

REFUSED = box.refusal()
boxed = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))


def ask(kernel, expression: str):
    """The value of an expression in the kernel."""
    return kernel.run(
        "", 20, f"__import__('nilai_dalam').ask({f'hasil[0] = {expression}'!r}, globals())"
    )[1]["0"]


@boxed
def test_what_the_box_sees_and_does_not(tmp_path, monkeypatch):
    secret = tmp_path / "kunci"
    secret.mkdir()
    (secret / "akurasi.py").write_text("x")
    monkeypatch.setenv("RAHASIA", "x")
    server = socket.create_server(("127.0.0.1", 0))
    with box.Kernel() as kernel:
        kernel.run("import os, socket, pathlib", 20)
        for place in (
            secret,
            box.files.ROOT / "grading",
            box.files.ROOT / "notebooks",
            os.path.expanduser("~/.ssh"),
            "/etc/passwd",
        ):
            assert ask(kernel, f"os.path.exists({str(place)!r})") is False, place
        assert ask(kernel, "'RAHASIA' in os.environ") is False
        error, _ = kernel.run(f"socket.create_connection({server.getsockname()!r}, 2)", 20)
        assert error.startswith(("OSError", "ConnectionRefusedError"))
        for place in (
            "/x",
            "/dev/x",
            "/usr/x",
            f"{box.PROJECT}/cxr_helpers/x",
            f"{os.path.dirname(os.__file__)}/x",
        ):
            assert kernel.run(f"open({place!r}, 'w')", 20)[0].startswith("OSError"), place
        assert kernel.run(
            "with open('penuh', 'wb') as f:\n    while True:\n        f.write(bytes(10**7))", 20
        )[0].startswith("OSError")
        filled = "with open('/dev/shm/x', 'wb') as f:\n    for _ in range(40):\n        f.write(bytes(10**7))"
        assert kernel.run(filled, 20)[0].startswith("OSError")
        assert kernel.run("import cxr_helpers.evaluation", 120) == (None, None)
    assert not (box.files.ROOT / "cxr_helpers" / "x").exists()


ENDS = {
    "loop": (LOOP, "waktu habis"),
    "swallow": (SWALLOW, "waktu habis"),
    "ignores the signal": (
        "import signal, time\nsignal.signal(2, signal.SIG_IGN)\ntime.sleep(60)",
        "waktu habis",
    ),
    "forks": ("import os\nwhile True:\n    os.fork()", "melanggar kotak"),
    "flood": ("for _ in range(3000):\n    print('x' * 100_000)", "keluaran berlebihan"),
    "endless flood": ("while True:\n    print('x' * 100_000)", "keluaran berlebihan"),
    "one huge line": ("print('x' * 400_000_000)", "keluaran berlebihan"),
    "dies": ("import os\nos._exit(1)", "kernel mati"),
    "litters": (
        "import pathlib, time\nplace = next(pathlib.Path('/tmp').glob('nilai-*'))\n(place / 'x').write_text('x')\ntime.sleep(9)",
        "melanggar kotak",
    ),
}


@boxed
@pytest.mark.parametrize("name", ENDS)
def test_who_breaks_a_limit_ends_the_kernel_and_leaves_nothing(name):
    code, status = ENDS[name]
    with box.Kernel() as kernel:
        with pytest.raises(box.Ended) as ended:
            kernel.run(code, 4 if status == "waktu habis" else 120)
        tree = kernel._processes()
    assert ended.value.status == status
    assert not kernel.folder.exists()
    assert not [
        process for process in tree if process.is_running() and process.status() != "zombie"
    ]


@boxed
def test_memory_is_bounded_over_all_processes(monkeypatch):
    monkeypatch.setattr(
        box, "MEMORY", 600 * 2**20
    )  # filling the real limit takes a slow machine long
    hungry = "import os, time\nfor _ in range(3):\n    os.fork()\nx = bytearray(b'1') * (100 * 2**20)\ntime.sleep(60)"
    with box.Kernel() as kernel, pytest.raises(box.Ended, match="memori"):
        kernel.run(hungry, 40)


@boxed
def test_one_process_gets_no_more_than_its_address_space():
    with box.Kernel() as kernel:
        assert kernel.run("x = bytearray(7 * 2**30)", 40)[0].startswith("MemoryError")


def test_without_bubblewrap_the_refusal_names_the_cure(monkeypatch):
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else real(name))
    assert "apt-get install bubblewrap" in box.refusal() and "TANPA_KOTAK=1" in box.refusal()


def test_forbidden_namespaces_are_refused_with_the_reason(monkeypatch, tmp_path):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert "Permission denied" in box.refusal() and "AppArmor" in box.refusal()


def test_unboxed_only_the_same_kernel_runs():
    with box.Kernel(boxed=False) as kernel:
        assert kernel.run("import numpy as np\nx = np.float64(3)", 60) == (None, None)
        assert ask(kernel, "x + 1") == 4
        with pytest.raises(box.Ended):
            kernel.run("import os\nos._exit(1)", 5)
