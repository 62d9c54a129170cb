"""A kernel for a student's code: in bubblewrap, without network, home or key. It speaks with us by
two pipes (see inside), a line a cell; what it prints goes nowhere.

It may write in two small tmpfs. It is watched from here, because prlimit counts each process by
itself and bounds none of root. An error comes out as its kind alone: a text could tell the key.
"""

import builtins
import json
import os
import platform
import select
import shutil
import site
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError

ADDRESS, FILE_SIZE, SCRATCH = 6 * 2**30, 100 * 2**20, 256 * 2**20
MEMORY = 4 * 2**30  # resident, of all processes of a kernel together
PROCESSES, THREADS, CPU = 40, 512, 600
LINE = 200_000  # bytes of what is parsed, an answer among it
PIPE = 4096  # bytes that a pipe which is ready takes without waiting
START, LOOK = 120, 0.3  # seconds: until a kernel answers; between two looks at it
# On an overloaded machine computing may take so many times its seconds; asleep, it is charged each.
SLOWEST = 10
HANDIN, LEAST = 80, 1  # seconds: for all answers of a hand-in; for an answer at least
PROJECT = "/tmp/proyek"  # where the box sees of this repository:
OURS = "cxr_helpers phantom report grading/__init__.py grading/inside.py grading/exercises.py "
OURS += "grading/kesalahan.json"
# memfd_create, memfd_secret, shmget: memory that no process and no tmpfs accounts for. By machine:
# (its number in a filter, those of the calls)
HIDDEN_MEMORY = {"x86_64": (0xC000003E, (319, 447, 29)), "aarch64": (0xC00000B7, (279, 447, 194))}
PROGRAM = [sys.executable, "-m", "grading.inside"]


class Ended(Exception):
    """The kernel was ended, or died. status: Indonesian, for example "waktu habis" or "memori"."""

    status = property(str)


def refusal() -> str | None:
    """Why the box cannot be used here and how to cure it (Indonesian, one line), or None."""
    cure = "atau TANPA_KOTAK=1 (kode mahasiswa berjalan dengan hak akses Anda, dan ditandai)."
    if not all(map(shutil.which, ("bwrap", "prlimit"))):
        why = "Kotak memerlukan bubblewrap dan prlimit, di Linux atau WSL"
        return f"{why}: jalankan `sudo apt-get install bubblewrap util-linux`, {cure}"
    ask = "bwrap --unshare-all --ro-bind / / true".split()
    tried = subprocess.run(ask, capture_output=True, text=True)
    if tried.returncode:
        why = f"bubblewrap tidak boleh membuat ruang nama di sini ({tried.stderr.strip()[-120:]})"
        how = "di Ubuntu 23.10 ke atas pasang profil AppArmor untuk bwrap yang memuat `userns,`"
        return f"{why}: {how}; di dalam kontainer jalankan di luarnya; {cure}"
    return None


def filtered() -> bytes:
    """A seccomp filter (classic BPF) of HIDDEN_MEMORY; it allows all on an unknown machine."""
    machine, calls = HIDDEN_MEMORY.get(platform.machine(), (0, ()))
    last, allow, refuse = len(calls), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x50001)  # EPERM
    program = [(0x20, 0, 0, 4), (0x15, 0, last + 3, machine)]  # the machine, of the call's data
    program += [(0x20, 0, 0, 0), (0x35, last + 1, 0, 0x40000000)]  # its number; x32's begin there
    program += [(0x15, last - place, 0, call) for place, call in enumerate(calls)]
    steps = [*program, allow, refuse] if calls else [allow]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def command(shown: dict[Path, str], named: dict[str, str], cpu: int, seccomp: int) -> list[str]:
    """What starts a kernel. shown: {folder: where the box sees it}; named: environment besides."""
    alone = "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session "
    alone += f"--cap-drop ALL --clearenv --seccomp {seccomp}"
    given = []
    for name, value in (environment("/tmp/home", PROJECT) | named).items():
        given += ["--setenv", name, value]
    seen = {files.ROOT / ours: f"{PROJECT}/{ours}" for ours in OURS.split()}
    given += _system()
    for place, there in (seen | shown).items():
        given += ["--ro-bind-try", str(place), there]
    given += "--dir /tmp/kerja --dir /tmp/home --remount-ro / --chdir /tmp/kerja --".split()
    limits = f"--as={ADDRESS} --nproc={THREADS} --fsize={FILE_SIZE} --core=0 --cpu={cpu}"
    return ["bwrap", *alone.split(), *given, "prlimit", *limits.split(), "--", *PROGRAM]


def _system() -> list[str]:
    """What the box sees of the computer, read only: programs, libraries, Python."""
    seen = []
    for place in "/usr /bin /lib /lib32 /lib64 /sbin /etc/ld.so.cache".split():
        seen += ["--ro-bind-try", place, place]
    small = f"--size {SCRATCH} --tmpfs"  # without a size, a tmpfs holds half of the memory
    seen += f"--proc /proc --dev /dev {small} /dev/shm --remount-ro /dev {small} /tmp".split()
    for place in sorted({sys.base_prefix, sys.prefix, *site.getsitepackages()}):
        if not Path(place).is_relative_to("/usr"):
            seen += ["--ro-bind", place, place]
    return seen


def environment(home: str, project: str) -> dict[str, str]:
    """All that a student's code sees of ours: no name, no path of the instructor."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": home,
        "USER": "mahasiswa",
        "PYTHONPATH": project,
        "OMP_NUM_THREADS": "1",
        "CXR_THREADS": "1",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "agg",
        "LANG": "C.UTF-8",
    }


class Allowance:
    """Seconds for all answers of a hand-in: none takes more than a quarter of what is left."""

    left = HANDIN

    def run(self, kernel: "Kernel", code: str, most: float, probe: str = "") -> tuple:
        """As Kernel.run, for at most so many seconds."""
        before = kernel.charged
        try:
            return kernel.run(code, min(most, max(LEAST, self.left / 4)), probe)
        finally:
            self.left -= kernel.charged - before


class Kernel:
    """A kernel, a context manager. Who breaks a limit of time or size ends it (Ended). said: the
    text of the last error, for errors of our own cells; charged: the seconds of what ran so far,
    those of a processor while it computes, all while it sleeps.
    """

    def __init__(self, boxed: bool = True, shown=(), named=(), cpu: int = CPU):
        self.boxed, self.more = boxed, (dict(shown), dict(named), cpu)
        self.said, self.charged, self._asked = "", 0.0, 0
        self._looked, self._busy = time.monotonic(), 0.0

    def __enter__(self) -> "Kernel":
        self.folder = Path(tempfile.mkdtemp(prefix="nilai-"))  # where it works without the box
        seen = environment(str(self.folder), str(files.ROOT)) | self.more[1]
        program, writing = os.pipe()
        os.write(writing, filtered())
        os.close(writing)
        asked = command(*self.more, program) if self.boxed else PROGRAM
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(
            asked, env=seen, cwd=self.folder, pass_fds=(program,), start_new_session=True, **pipes
        )
        os.close(program)
        try:
            self.run("", START)
        except BaseException as error:
            self.__exit__()
            if not isinstance(error, Ended):
                raise
            why = f"Kernel untuk menilai tidak dapat dimulai ({error})"
            raise InputError(f"{why}: periksa `make setup`, lalu ulangi.") from None
        return self

    def __exit__(self, *_) -> None:
        tree = self._processes()  # before the first of them is gone; the box takes its own along
        for process in tree:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(tree, timeout=10)
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):
                pipe.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._process.pid)
            return [first, *first.children(recursive=True)]
        except psutil.Error:
            return []

    def _look(self) -> None:
        """Charge the time since the last look. Raises Ended."""
        tree, memory, busy, awake = self._processes(), 0, 0.0, False
        for process in tree:
            with suppress(psutil.Error), process.oneshot():
                memory += process.memory_info().rss
                busy += sum(process.cpu_times()[:4])  # with children that are gone
                awake |= process.status() == psutil.STATUS_RUNNING  # or waits for a processor
        now = time.monotonic()
        passed, self._looked = now - self._looked, now
        asleep = passed if not awake else passed / SLOWEST
        self.charged += max(busy - self._busy, asleep)
        self._busy = busy
        if len(tree) > PROCESSES:
            raise Ended("melanggar kotak")
        if memory > MEMORY:
            raise Ended("memori")

    def run(self, code: str, seconds: float, probe: str = "") -> tuple[str | None, object]:
        """(kind of a cell's error or None, what a probe fills `hasil` with). Raises Ended."""
        self._asked += 1
        self._looked = time.monotonic()  # it waited for us until now
        line = self._exchange(json.dumps([self._asked, code, probe]).encode() + b"\n", seconds)
        try:
            number, error, self.said, values = json.loads(line, parse_int=float)
        except (ValueError, TypeError, RecursionError):
            number = None  # something in the kernel was replaced
        if number != self._asked or not isinstance(error, str | None):
            raise Ended("kernel rusak")
        if error is not None and error not in dir(builtins):
            error = "galat buatan sendiri"
        return error, values

    def _exchange(self, left: bytes, seconds: float) -> bytes:
        """Send a line; the line that comes back. Raises Ended."""
        sending, coming = self._process.stdin.fileno(), self._process.stdout.fileno()
        came, until = b"", self.charged + seconds
        while not came.endswith(b"\n"):
            ready = select.select([coming], [sending] if left else [], [], LOOK)
            try:
                left = left[os.write(sending, left[:PIPE]) :] if ready[1] else left
                piece = os.read(coming, LINE) if ready[0] else b""
            except BrokenPipeError:
                raise Ended("kernel mati") from None
            if ready[0] and not piece:
                raise Ended("kernel mati")
            came += piece
            if len(came) > LINE:
                raise Ended("keluaran berlebihan")
            if time.monotonic() - self._looked > LOOK:
                self._look()
            if self.charged > until:
                raise Ended("waktu habis")
        return came
