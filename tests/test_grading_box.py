"""The box holds: what a kernel may reach, and what ends it."""

import os
import shutil
import socket

import pytest

from cxr_helpers.engine.errors import InputError
from grading import box, grade
from tests.grading_class import LOOP, SWALLOW

REFUSED = box.refusal()
boxed = pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))


def ask(kernel, expression: str):
    """The value of an expression in the kernel."""
    probe = f"hasil[0] = {expression}"
    return kernel.run("", 60, f"__import__('nilai_dalam').ask({probe!r}, globals())")[1]["0"]


@boxed
def test_the_box_sees_no_key_no_home_and_no_network_and_writes_nothing(tmp_path, monkeypatch):
    (tmp_path / "akurasi.py").write_text("x")
    monkeypatch.setenv("RAHASIA", "x")
    ours = (tmp_path, box.files.ROOT / "grading", box.files.ROOT / "notebooks", "/etc/passwd")
    own, library = f"{box.PROJECT}/cxr_helpers/x", f"{os.path.dirname(os.__file__)}/x"
    with socket.create_server(("127.0.0.1", 0)) as server, box.Kernel() as kernel:
        kernel.run("import os, socket", 60)
        for place in (*ours, os.path.expanduser("~/.ssh")):
            assert ask(kernel, f"os.path.exists({str(place)!r})") is False, place
        assert ask(kernel, "'RAHASIA' in os.environ") is False
        error, _ = kernel.run(f"socket.create_connection({server.getsockname()!r}, 2)", 60)
        assert error.startswith(("OSError", "ConnectionRefusedError"))
        for place in ("/x", "/dev/x", "/usr/x", own, library):
            assert kernel.run(f"open({place!r}, 'w')", 60)[0].startswith("OSError"), place
        for place in ("penuh", "/dev/shm/penuh"):  # each holds 256 MB at most
            fill = (
                f"with open({place!r}, 'wb') as f:\n    for _ in range(40): f.write(bytes(10**7))"
            )
            assert kernel.run(fill, 60)[0].startswith("OSError"), place
        assert kernel.run("x = bytearray(7 * 2**30)", 60)[0].startswith("MemoryError")
        assert kernel.run("import cxr_helpers.engine.indonesian", 120) == (None, None)
    assert not (box.files.ROOT / "cxr_helpers/x").exists()


ENDS = {
    "loop": (LOOP, "waktu habis"),
    "swallow": (SWALLOW, "waktu habis"),
    "forks": ("import os\nwhile True:\n    os.fork()", "melanggar kotak"),
    "flood": ("for _ in range(200):\n    print('x' * 100_000)", "keluaran berlebihan"),
    "one huge line": ("print('x' * 40_000_000)", "keluaran berlebihan"),
    "dies": ("import os\nos._exit(1)", "kernel mati"),
    "litters": (
        "import pathlib, time\n(next(pathlib.Path('/tmp').glob('nilai-*')) / 'x').touch()\n"
        "time.sleep(60)",
        "melanggar kotak",
    ),
    "fills the memory": (  # 600 MB: to fill the real limit takes a slow machine long
        "import os, time\nfor _ in range(3):\n    os.fork()\n"
        "x = bytearray(b'1') * (100 * 2**20)\ntime.sleep(60)",
        "memori",
    ),
}


@boxed
@pytest.mark.parametrize("name", ENDS)
def test_who_breaks_a_limit_ends_the_kernel_and_leaves_nothing(name, monkeypatch):
    code, status = ENDS[name]
    monkeypatch.setattr(box, "GRACE", 1)
    if status == "memori":
        monkeypatch.setattr(box, "MEMORY", 600 * 2**20)
    monkeypatch.setattr(box, "LAST_OUTPUT", 4)
    with box.Kernel() as kernel:
        with pytest.raises(box.Ended) as ended:
            kernel.run(code, 2 if status == "waktu habis" else 120)
        tree = kernel._processes()
    assert ended.value.status == status
    assert not kernel.folder.exists()
    assert not [one for one in tree if one.is_running() and one.status() != "zombie"]


def test_without_bubblewrap_no_class_is_graded_and_the_cure_is_named(tmp_path, monkeypatch):
    real = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "bwrap" else real(name))
    monkeypatch.setenv("KUMPULAN", str(tmp_path))
    for name in ("TANPA_KOTAK", "ULANG", "BATAS", "KUNCI"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"apt-get install bubblewrap.*TANPA_KOTAK=1"):
        grade.main()


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
        with pytest.raises(box.Ended, match="kernel mati"):
            kernel.run("import os\nos._exit(1)", 60)
