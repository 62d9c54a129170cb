"""Threads, memory and torch's switches that make two trainings of one computer give the same
numbers, fast.
"""

import ctypes
import os
import platform
import sys

import torch

try:
    import resource
except ImportError:  # Windows
    resource = None
    import psutil

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3) of the GNU C library
# bytes; the most that every glibc accepts, and more than any tensor of a 28×28 batch
LARGE = 32 * 2**20
NEVER = 2**31 - 1


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name as the system gives it, with the number of cores that this process may
    use.
    """
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            name = next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
                name,
            )
    except OSError:
        pass
    return f"{name}, {cores()} core"


def prepare(threads: int | None = None) -> None:
    """What every process that trains does first."""
    make_deterministic(threads)
    keep_freed_memory()


def _threads() -> int:
    """CXR_THREADS, or else every core. Raises InputError."""
    text = os.environ.get(files.THREADS, "").strip() or str(cores())
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= 1024):
        raise InputError(
            f"{files.THREADS}={text[:40]} tidak dapat dipakai: "
            "berikan banyaknya thread, mulai dari 1."
        )
    return int(text)


def make_deterministic(threads: int | None = None) -> None:
    """Fix the number of threads (default: CXR_THREADS, else every core) and ask torch for its
    deterministic algorithms.

    A fixed number of threads fixes the order of sums; more threads than cores only slow a CPU down.
    On CUDA torch warns where an operation has no deterministic form. Raises InputError where
    CXR_THREADS is no number of threads.
    """
    torch.set_num_threads(threads or _threads())
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # what torch asks for before it promises equal sums on CUDA
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would also fill every new tensor with NaN, to expose a read before the first write: a
    # search for faults only.
    torch.utils.deterministic.fill_uninitialized_memory = False


def keep_freed_memory() -> None:
    """Let glibc's malloc hold freed blocks of up to 32 MiB instead of returning them to the system;
    elsewhere do nothing.

    A batch frees and asks again for hundreds of megabytes; what went back to the system must be
    mapped and zeroed anew, tens of thousands of page faults a batch (bench/training_speed.py). The
    largest memory of the process stays the same, only the valleys between are filled.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory of this process so far: of the GPU if that is `device`, else resident."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if resource is None:
        return psutil.Process().memory_info().peak_wset / 2**20
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale
