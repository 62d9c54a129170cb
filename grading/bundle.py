"""`make bundel OUT=../tugas`: what `make tugas` hands out, with its packages (the lock's for a CPU,
checked by their hashes) and the phantom, in one archive for no network.

On a like machine `make setup` in its folder cxr/ installs from cxr/wheels/ alone (report/setup.sh).
"""

import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path

import phantom
from cxr_helpers.engine import files, indonesian
from cxr_helpers.engine.errors import InputError
from grading import release

FOLDER = "cxr"


def download(lock: str, wheels: Path) -> None:
    """Fetch every package of a lock into a folder, but for those there. Raises InputError."""
    options = "--no-deps --require-hashes --only-binary :all: --quiet -r /dev/stdin --dest"
    ask = [sys.executable, "-m", "pip", "download", *options.split(), str(wheels)]
    if subprocess.run(ask, input=lock, text=True).returncode:
        cure = "periksa jaringan dan ruang disk (5 GB), lalu ulangi; yang ada dipakai."
        raise InputError(f"Paket tidak dapat diunduh: {cure}")


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
    python = "".join(platform.python_version_tuple()[:2])
    target = out / f"bundel-{platform.system()}-{platform.machine()}-py{python}.tar".lower()
    print("Mengunduh paket (sekitar 3 GB) …", flush=True)
    cpu = ["awk", "-f", str(files.ROOT / "report/cpu.awk"), str(student / "requirements.txt")]
    lock = subprocess.run(cpu, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    download(lock, out / "wheels")
    phantom.ensure(student / "data")
    size = pack(student, out / "wheels", target)
    print(
        f"{target} ({indonesian.number(size / 1e9, 1)} GB): "
        f"di komputer lab `tar xf`, `cd {FOLDER}`, lalu `make setup`."
    )
    return 0
