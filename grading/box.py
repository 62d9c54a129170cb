"""A kernel for a student's code: in bubblewrap, without network, home or key; its process outside
speaks to it over sockets.

It may write in two small tmpfs and nowhere else, where its sockets lie, too. Bounded inside by
prlimit and a filter of system calls; watched from here, because prlimit counts each process by
itself and bounds no processes of root. What comes out is measured before it is parsed, and an error
comes out as its kind alone: a text could tell what the key asks.
"""

import builtins
import json
import os
import platform
import queue
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
import zmq
from jupyter_client import KernelManager
from jupyter_client.kernelspec import KernelSpec

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError

ADDRESS, FILE_SIZE, SCRATCH = 6 * 2**30, 100 * 2**20, 256 * 2**20
MEMORY = 4 * 2**30  # resident, of all processes of a kernel together
PROCESSES, THREADS, CPU = 40, 512, 600
# bytes of a cell's output, of one message, and of what is parsed at once, an answer among it
OUTPUT, LARGEST, PARSED = 5 * 2**20, 32 * 2**20, 200_000
# seconds: until a kernel answers; from the interrupt to the end; for output to follow
START, GRACE, LAST_OUTPUT = 120, 3, 10
HANDIN, LEAST = 80, 1  # seconds: for all answers of a hand-in; for an answer at least
PROJECT = "/tmp/proyek"  # where the box sees of this repository:
OURS = "cxr_helpers phantom report grading/__init__.py grading/inside.py grading/exercises.py "
OURS += "grading/kesalahan.json"
SOCKETS = "/tmp/s"  # begin so, in the box
# memfd_create, memfd_secret, shmget: memory that no process and no tmpfs accounts for. By machine:
# (its number in a filter, those of the calls)
HIDDEN_MEMORY = {"x86_64": (0xC000003E, (319, 447, 29)), "aarch64": (0xC00000B7, (279, 447, 194))}


class Ended(Exception):
    """The kernel was ended, or died. status: Indonesian, for example "waktu habis" or "memori"."""

    status = property(str)


def refusal() -> str | None:
    """Why the box cannot be used here and how to cure it (Indonesian, one line), or None."""
    cure = "atau jalankan dengan TANPA_KOTAK=1 (kode mahasiswa berjalan dengan hak akses Anda, "
    cure += "dan setiap hasil ditandai)."
    if not all(map(shutil.which, ("bwrap", "prlimit"))):
        why = "Kotak memerlukan bubblewrap dan prlimit, di Linux atau WSL"
        return f"{why}: jalankan `sudo apt-get install bubblewrap util-linux`, {cure}"
    ask = "bwrap --unshare-all --ro-bind / / true".split()
    tried = subprocess.run(ask, capture_output=True, text=True)
    if tried.returncode:
        return (
            f"bubblewrap tidak boleh membuat ruang nama di sini ({tried.stderr.strip()[-120:]}): "
            "di Ubuntu 23.10 ke atas pasang profil AppArmor untuk bwrap yang memuat `userns,`; "
            f"di dalam kontainer jalankan di luarnya; {cure}"
        )
    return None


def filtered() -> bytes:
    """A filter of system calls (seccomp, classic BPF) that refuses HIDDEN_MEMORY and the calls of
    another machine; it allows all where this machine's numbers are not known.
    """
    machine, calls = HIDDEN_MEMORY.get(platform.machine(), (0, ()))
    last, allow, refuse = len(calls), (0x06, 0, 0, 0x7FFF0000), (0x06, 0, 0, 0x50001)  # EPERM
    program = [(0x20, 0, 0, 4), (0x15, 0, last + 3, machine)]  # the machine, of the call's data
    program += [(0x20, 0, 0, 0), (0x35, last + 1, 0, 0x40000000)]  # its number; x32's begin there
    program += [(0x15, last - place, 0, call) for place, call in enumerate(calls)]
    steps = [*program, allow, refuse] if calls else [allow]
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def command(
    connection: Path, shown: dict[Path, str], named: dict[str, str], cpu: int, seccomp: int
) -> list[str]:
    """What starts a kernel in the box. shown: {folder of ours: where the box sees it}; named: what
    its environment holds besides; seccomp: the open file of its filter.
    """
    alone = "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session "
    alone += f"--cap-drop ALL --clearenv --seccomp {seccomp}"
    given = []
    for name, value in (environment("/tmp/home", PROJECT) | named).items():
        given += ["--setenv", name, value]
    seen = {files.ROOT / ours: f"{PROJECT}/{ours}" for ours in OURS.split()}
    seen |= {connection: "/tmp/k.json"} | shown
    given += _system()
    for place, there in seen.items():
        given += ["--ro-bind-try", str(place), there]
    given += "--dir /tmp/kerja --dir /tmp/home --remount-ro / --chdir /tmp/kerja --".split()
    limits = f"--as={ADDRESS} --nproc={THREADS} --fsize={FILE_SIZE} --core=0 --cpu={cpu}"
    kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "/tmp/k.json"]
    return ["bwrap", *alone.split(), *given, "prlimit", *limits.split(), "--", *kernel]


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


def ask(probe: str) -> str:
    """The question for what a probe gives of the student's names (see inside)."""
    return f"__import__('grading.inside').inside.ask({probe!r}, globals())"


class Allowance:
    """Seconds for all answers of a hand-in: none takes more than a quarter of what is left."""

    left = HANDIN

    def run(self, kernel: "Kernel", code: str, most: float, question: str = "") -> tuple:
        """As Kernel.run, for at most so many seconds."""
        begun = time.monotonic()
        try:
            return kernel.run(code, min(most, max(LEAST, self.left / 4)), question)
        finally:
            self.left -= time.monotonic() - begun


class Kernel:
    """A kernel, a context manager. Who breaks a limit of time or size ends it (Ended). said: the
    text of the last error, for errors of our own cells.
    """

    def __init__(self, boxed: bool = True, shown=(), named=(), cpu: int = CPU):
        self.boxed, self.said, self.more = boxed, "", (dict(shown), dict(named), cpu)

    def __enter__(self) -> "Kernel":
        place = "/tmp" if os.path.isdir("/tmp") else None  # a socket's path must be short
        self.folder = Path(tempfile.mkdtemp(prefix="nilai-", dir=place))
        self._context = zmq.Context()
        # what is larger is dropped before it fills our memory
        self._context.setsockopt(zmq.MAXMSGSIZE, LARGEST)
        self._manager = KernelManager(
            context=self._context,
            transport="ipc",
            connection_file=str(self.folder / "k.json"),
            ip=SOCKETS if self.boxed else str(self.folder / "s"),
        )
        self._manager.session.unpack, self._came = self._parsed, 0
        self._client = None
        try:
            self._start()
            self._client = self._manager.client()
            self._client.start_channels()
            self._client.wait_for_ready(timeout=START)
            self.run("import grading.inside; del grading", START)
        except BaseException as error:
            self.__exit__()
            if not isinstance(error, (RuntimeError, Ended)):
                raise
            cure = "periksa `make setup`, lalu ulangi."
            raise InputError(
                f"Kernel untuk menilai tidak dapat dimulai ({error}): {cure}"
            ) from None
        return self

    def _start(self) -> None:
        """Start it; in the box, find its sockets. Raises RuntimeError."""
        quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        seen = environment(str(self.folder), str(files.ROOT)) | self.more[1]
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        (self.folder / "saringan").write_bytes(filtered())
        with open(self.folder / "saringan", "rb") as program:
            if self.boxed:
                argv = command(self.folder / "k.json", *self.more, program.fileno())
            self._manager._kernel_spec = KernelSpec(
                argv=argv, display_name="nilai", language="python", interrupt_mode="message"
            )
            quiet["pass_fds"] = (program.fileno(),)
            self._manager.start_kernel(env=seen, cwd=str(self.folder), **quiet)
        deadline = time.monotonic() + START
        while self.boxed and self._manager.ip == SOCKETS:
            for process in self._processes()[1:]:
                inside = f"/proc/{process.pid}/root{SOCKETS}"
                if all(os.path.exists(f"{inside}-{port}") for port in self._manager.ports):
                    self._manager.ip = inside
                    # else a link in place of a socket could lead us to one out here
                    self._context.setsockopt(zmq.RECONNECT_IVL, -1)
            if not self._manager.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("kotaknya tidak menjawab")
            time.sleep(0.02)

    def _parsed(self, raw: bytes) -> dict:
        """A part of a message from JSON, numbers as floats; {} for what is no JSON or too large."""
        self._came += len(raw)
        try:
            return json.loads(raw, parse_int=float) if len(raw) <= PARSED else {}
        except (ValueError, RecursionError):
            return {}

    def __exit__(self, *_) -> None:
        tree = self._processes()  # before the first of them is gone; the box takes its own along
        try:
            if self._client:
                self._client.stop_channels()
        finally:
            self._manager.shutdown_kernel(now=True)
            for process in tree:
                with suppress(psutil.Error):
                    process.kill()
            psutil.wait_procs(tree, timeout=10)
            self._context.destroy(linger=0)
            shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        try:
            first = psutil.Process(self._manager.provisioner.pid)
            return [first, *first.children(recursive=True)]
        except (psutil.Error, AttributeError, TypeError):
            return []

    def _watch(self) -> None:
        """Raises Ended."""
        if not self._manager.is_alive():
            raise Ended("kernel mati")
        tree, memory = self._processes(), 0
        for process in tree:
            with suppress(psutil.Error):
                memory += process.memory_info().rss
        if len(tree) > PROCESSES:
            raise Ended("melanggar kotak")
        if memory > MEMORY:
            raise Ended("memori")

    def run(self, code: str, seconds: float, question: str = "") -> tuple[str | None, object]:
        """(kind of a cell's error or None, what `question` gives as JSON or None). Raises Ended."""
        asked = {"nilai": question} if question else None
        message = self._client.execute(
            code, store_history=False, allow_stdin=False, user_expressions=asked
        )
        try:
            reply = self._wait(message, seconds)
            if not reply:
                raise Ended("keluaran berlebihan")
            error = reply.get("ename", "galat") if reply["status"] != "ok" else None
            self.said = f"{error}: {reply.get('evalue', '')}"[:300]
            answer = reply.get("user_expressions", {}).get("nilai", {})
            text = answer["data"]["text/plain"] if answer.get("status") == "ok" else ""
        except (KeyError, ValueError, TypeError, AttributeError):
            # a message that is none: something in the kernel was replaced
            raise Ended("kernel rusak") from None
        if error is not None and error not in dir(builtins):
            error = "galat buatan sendiri"
        return error, self._parsed(str(text).encode()) or None

    def _wait(self, message: str, seconds: float) -> dict:
        """The reply, once all of its output has come, too: a flood arrives after the reply."""
        deadline, looked, reply = time.monotonic() + seconds, 0.0, None
        self._came, interrupted, idle = 0, False, False
        while True:
            idle = self._drain(message) or idle
            if self._came > OUTPUT:
                raise Ended("keluaran berlebihan")
            if reply is not None and idle:
                return reply
            try:
                arrived = self._client.get_shell_msg(timeout=0.1)
                if arrived["parent_header"].get("msg_id") == message:
                    if interrupted:
                        raise Ended("waktu habis")
                    reply = arrived["content"]
                    deadline = min(deadline, time.monotonic() + LAST_OUTPUT)
            except queue.Empty:
                pass
            now = time.monotonic()
            if now - looked > 0.5:
                self._watch()
                looked = now
            if now > deadline + GRACE * interrupted:
                if interrupted or reply is not None:
                    raise Ended("waktu habis" if reply is None else "keluaran berlebihan")
                self._manager.interrupt_kernel()
                interrupted = True

    def _drain(self, message: str) -> bool:
        """Forget the output that waits; whether the kernel is done with the message."""
        while self._came <= OUTPUT:
            try:
                arrived = self._client.get_iopub_msg(timeout=0)
            except queue.Empty:
                return False
            ours = arrived["parent_header"].get("msg_id") == message
            if ours and arrived["content"].get("execution_state") == "idle":
                return True
        return False
