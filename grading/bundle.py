"""`make bundel OUT=../tugas`: what `make tugas` hands out, with its packages and the phantom, in
one archive for no network.

OUT/bundel-SYSTEM-PYTHON.tar holds the folder cxr/; on a like machine `make setup` in it installs
from cxr/wheels/ alone (report/setup.sh), and every other command works as usual. The packages are
the lock's for a CPU, checked by their hashes.
"""

import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import phantom
from cxr_helpers.engine import files, indonesian
from cxr_helpers.engine.errors import InputError
from grading import release

FOLDER = "cxr"


def name() -> str:
    """bundel-linux-x86_64-py311.tar: the system and Python for which the packages are."""
    major, minor = sys.version_info[:2]
    return f"bundel-{platform.system()}-{platform.machine()}-py{major}{minor}.tar".lower()


def download(lock: str, wheels: Path) -> None:
    """Fetch every package of a lock into a folder, but for those there. Raises InputError."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as listed:
        listed.write(lock)
        listed.flush()
        options = "--no-deps --require-hashes --only-binary :all: --quiet"
        ask = [sys.executable, "-m", "pip", "download", *options.split()]
        if subprocess.run([*ask, "--dest", str(wheels), "-r", listed.name]).returncode:
            raise InputError(
                "Paket tidak dapat diunduh: "
                "periksa jaringan dan ruang disk (5 GB), lalu ulangi; yang ada dipakai."
            )


def pack(student: Path, wheels: Path, target: Path) -> int:
    """Write the archive whole or not at all; its size in bytes."""
    partial = target.with_name(f".{target.name}.part")
    skip = {"wheels", ".venv", "build", "runs", "kumpulan"}
    with tarfile.open(partial, "w") as archive:  # wheels are compressed already
        for path in sorted(student.iterdir()):
            if path.name not in skip:
                archive.add(path, f"{FOLDER}/{path.name}")
        archive.add(wheels, f"{FOLDER}/wheels")
    os.replace(partial, target)
    return target.stat().st_size


def main() -> int:
    out = release.handed_out()
    student = out / "mahasiswa"
    print("Mengunduh paket (sekitar 3 GB) …", flush=True)
    cpu = ["awk", "-f", str(files.ROOT / "report/cpu.awk"), str(student / "requirements.txt")]
    lock = subprocess.run(cpu, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    download(lock, out / "wheels")
    phantom.ensure(student / "data")
    size = pack(student, out / "wheels", out / name())
    print(
        f"{out / name()} ({indonesian.number(size / 1e9, 1)} GB): "
        f"di komputer lab `tar xf`, `cd {FOLDER}`, lalu `make setup`."
    )
    return 0
