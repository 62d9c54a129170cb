"""A kernel for a student's code: in bubblewrap, without network, home or key; its process outside
speaks to it over sockets.

Bounded inside by prlimit (address space, processes, file size, CPU seconds) and a small tmpfs, and
watched from here (wall clock, output, memory and number of all its processes together, what it
leaves beside the sockets): prlimit counts each process by itself, and does not bound the number of
processes of root.
"""

import ast
import json
import os
import queue
import shutil
import site
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
OUTPUT, LARGEST = 5 * 2**20, 32 * 2**20  # bytes of a cell's output, and of one message
# seconds: until a kernel answers; from the interrupt to the end; for output to follow
START, GRACE, LAST_OUTPUT = 120, 3, 10
LIFE = 3600  # seconds of a box, should its grader be killed before it could end the box
PROJECT = "/tmp/proyek"  # what the box sees of this repository, and under which names:
OURS = ("cxr_helpers", "phantom", "report", "grading/__init__.py", "grading/exercises.py")
BESIDE = {name: name for name in OURS} | {"grading/inside.py": "nilai_dalam.py"}
PASSED_ON = ("LANG", "TZ")


class Ended(Exception):
    """The kernel was ended, or died. status: Indonesian, for example "waktu habis" or "memori"."""

    def __init__(self, status: str):
        super().__init__(status)
        self.status = status


def refusal() -> str | None:
    """Why the box cannot be used here and how to cure it (Indonesian, one line), or None."""
    cure = "atau jalankan dengan TANPA_KOTAK=1 (kode mahasiswa berjalan dengan hak akses Anda, "
    cure += "dan setiap hasil ditandai)."
    if sys.platform != "linux":
        return f"Kotak (bubblewrap) hanya ada di Linux: menilailah di Linux atau WSL, {cure}"
    for program, package in (("bwrap", "bubblewrap"), ("prlimit", "util-linux")):
        if shutil.which(program) is None:
            return f"{program} belum terpasang: jalankan `sudo apt-get install {package}`, {cure}"
    ask = "bwrap --unshare-all --ro-bind / / true".split()
    tried = subprocess.run(ask, capture_output=True, text=True)
    if tried.returncode:
        why = (tried.stderr.strip().splitlines() or ["tanpa pesan"])[-1][:120]
        return (
            f"bubblewrap tidak boleh membuat ruang nama (namespace) di sini ({why}): "
            "di Ubuntu 23.10 ke atas pasang profil AppArmor untuk bwrap yang memuat `userns,`; "
            f"di dalam kontainer jalankan di luarnya; {cure}"
        )
    return None


def command(
    sockets: Path, boxed: bool, shown: dict[Path, str], named: dict[str, str], cpu: int
) -> list[str]:
    """What starts a kernel, in the box or (`boxed=False`) with the instructor's rights.

    shown: {folder of ours: where the box sees it}; named: what its environment holds besides.
    """
    kernel = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    if not boxed:
        return kernel
    limits = f"--as={ADDRESS} --nproc={THREADS} --fsize={FILE_SIZE} --core=0 --cpu={cpu}"
    bounded = f"timeout -s KILL {LIFE} prlimit {limits} --".split()
    alone = "--unshare-all --unshare-user --disable-userns --die-with-parent --new-session "
    alone += "--cap-drop ALL --clearenv"
    given = []
    for name, value in (environment("/tmp/home", PROJECT) | named).items():
        given += ["--setenv", name, value]
    seen = [*_system(), *_project(shown), "--bind", str(sockets), str(sockets)]
    seen += "--remount-ro / --chdir /tmp/kerja".split()
    return ["bwrap", *alone.split(), *given, *seen, "--", *bounded, *kernel]


def _system() -> list[str]:
    """What the box sees of the computer, read only: programs, libraries, Python."""
    seen = ["--ro-bind", "/usr", "/usr"]
    for link in ("/bin", "/lib", "/lib32", "/lib64", "/sbin"):
        if os.path.islink(link):
            seen += ["--symlink", os.readlink(link), link]
        elif os.path.isdir(link):
            seen += ["--ro-bind", link, link]
    seen += ["--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    small = f"--size {SCRATCH} --tmpfs"  # without a size, a tmpfs holds half of the memory
    seen += f"--proc /proc --dev /dev {small} /dev/shm --remount-ro /dev {small} /tmp".split()
    for place in sorted({sys.base_prefix, sys.prefix, *site.getsitepackages()}):
        if not Path(place).is_relative_to("/usr"):
            seen += ["--ro-bind", place, place]
    return seen


def _project(shown: dict[Path, str]) -> list[str]:
    """What it sees of ours, read only, and the folders in which it may write."""
    seen = ["--dir", "/tmp/kerja", "--dir", "/tmp/home"]
    for ours, there in BESIDE.items():
        seen += ["--ro-bind", str(files.ROOT / ours), f"{PROJECT}/{there}"]
    for place, there in shown.items():
        seen += ["--ro-bind-try", str(place), there]
    return seen


def environment(home: str, project: str) -> dict[str, str]:
    """All that a student's code sees of ours: no name, no path of the instructor."""
    fixed = {
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
    return fixed | {name: os.environ[name] for name in PASSED_ON if name in os.environ}


class Kernel:
    """A kernel, a context manager. Who breaks a limit of time or size ends it (Ended)."""

    def __init__(self, boxed: bool = True, shown=(), named=(), cpu: int = CPU):
        self.boxed, self.more = boxed, (dict(shown), dict(named), cpu)  # as of `command`

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
            ip=str(self.folder / "s"),
        )
        argv = command(self.folder, self.boxed, *self.more)
        self._manager._kernel_spec = KernelSpec(
            argv=argv, display_name="nilai", language="python", interrupt_mode="message"
        )
        project = self.folder / "proyek"
        if not self.boxed:
            for ours, there in BESIDE.items():
                (project / there).parent.mkdir(parents=True, exist_ok=True)
                (project / there).symlink_to(files.ROOT / ours)
        quiet = dict.fromkeys(("stdout", "stderr"), subprocess.DEVNULL)
        seen = environment(str(self.folder), str(project)) | self.more[1]
        self._manager.start_kernel(env=seen, cwd=str(self.folder), **quiet)
        self._client = self._manager.client()
        self._client.start_channels()
        try:
            self._client.wait_for_ready(timeout=START)
            self.run("import nilai_dalam; del nilai_dalam", START)
        except (RuntimeError, Ended) as error:
            self.__exit__()
            raise InputError(
                f"Kernel untuk menilai tidak dapat dimulai ({error}): "
                "periksa `make setup`, lalu ulangi."
            ) from None
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        tree = self._processes()  # before the first of them is gone; the box takes its own along
        try:
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
        left = [p for p in self.folder.iterdir() if p.name != "k.json" and p.is_file()]
        if len(tree) > PROCESSES or (self.boxed and left):
            raise Ended("melanggar kotak")
        if memory > MEMORY:
            raise Ended("memori")

    def run(self, code: str, seconds: float, question: str = "") -> tuple[str | None, object]:
        """(error of a cell or None, value of the expression `question` from JSON). Raises Ended."""
        asked = {"nilai": question} if question else None
        message = self._client.execute(
            code, store_history=False, allow_stdin=False, user_expressions=asked
        )
        try:
            reply = self._wait(message, seconds)
        except (KeyError, ValueError, TypeError, AttributeError):
            # a message that is none: something in the kernel was replaced
            raise Ended("kernel rusak") from None
        error = f"{reply['ename']}: {reply['evalue']}"[:300] if reply["status"] == "error" else None
        answer = reply.get("user_expressions", {}).get("nilai", {})
        if not question or answer.get("status") != "ok":
            return error, None
        try:
            return error, json.loads(ast.literal_eval(answer["data"]["text/plain"]))
        except (ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError):
            return error, None

    def _wait(self, message: str, seconds: float) -> dict:
        """The reply, once all of its output has come, too: a flood arrives after the reply."""
        deadline, looked, reply = time.monotonic() + seconds, 0.0, None
        output, interrupted, idle = 0, False, False
        while True:
            size, done = self._drain(message)
            output, idle = output + size, idle or done
            if output > OUTPUT:
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

    def _drain(self, message: str) -> tuple[int, bool]:
        """(bytes of output that waited and are forgotten, whether the kernel is done with it)."""
        size, idle = 0, False
        while size <= OUTPUT and not idle:
            try:
                arrived = self._client.get_iopub_msg(timeout=0)
            except queue.Empty:
                break
            size += len(str(arrived["content"]))
            ours = arrived["parent_header"].get("msg_id") == message
            idle = ours and arrived["content"].get("execution_state") == "idle"
        return size, idle
