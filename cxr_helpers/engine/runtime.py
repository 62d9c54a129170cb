"""What a process that trains runs on: worker processes, threads, memory, precision, a progress bar.

torch and tqdm are imported where they are needed, so that `begin_worker` is in force at once.
"""

import ctypes
import os
import platform
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING

try:
    import resource
except ImportError:  # Windows
    resource = None

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3) of the GNU C library
# bytes; the most that every glibc accepts, and more than any tensor of a 28×28 batch
LARGE = 32 * 2**20
NEVER = 2**31 - 1


# --- processes, threads, memory -------------------------------------------------------------------


def begin_worker() -> None:
    """What a worker process of parallel.py does first: leave Ctrl-C, which reaches every process of
    a terminal, to the asking process, and end within a second or two when that process is gone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asking = os.getppid()

    def follow() -> None:
        while os.getppid() == asking:
            time.sleep(1)
        os._exit(1)  # as hard as a kill, which the run store survives

    threading.Thread(target=follow, daemon=True).start()


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
            named = [line.split(":", 1)[1].strip() for line in lines if line[:10] == "model name"]
    except OSError:
        named = []
    return f"{(named or [name])[0]}, {cores()} core"


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
    import torch

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


def peak_memory_mb(device: "torch.device") -> float:
    """Largest memory of this process so far: of the GPU if that is `device`, else resident."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    if resource is None:
        import psutil

        return psutil.Process().memory_info().peak_wset / 2**20
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


# --- precision ------------------------------------------------------------------------------------


def native_bfloat16(device: "torch.device") -> bool:
    """Whether the processor or GPU multiplies bfloat16 (float32's range with 8 instead of 24
    significant bits) itself; elsewhere it is emulated, and slower. Where PyTorch is too old to
    tell, or the computer is a Mac: no.
    """
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tell = getattr(torch.cpu, "get_capabilities", dict)
    capabilities = tell() if device.type == "cpu" else {}
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16"))


def pick_precision(name: str, device: "torch.device") -> str:
    """What PRECISION means on this device: auto is "bfloat16" where that is native, else "float32".
    Raises InputError where the device cannot train in bfloat16.
    """
    if name == "bfloat16" and device.type == "mps":
        raise InputError(
            "PRECISION=bfloat16 tidak tersedia pada GPU Apple: pakai PRECISION=float32."
        )
    if name != "auto":
        return name
    return "bfloat16" if native_bfloat16(device) else "float32"


# --- a progress bar -------------------------------------------------------------------------------


def someone_watches() -> bool:
    """Whether this is a kernel of JupyterLab, and no headless run."""
    return "ipykernel" in sys.modules and files.TERMINAL not in os.environ


def bar(total: int | None, description: str, unit: str = "batch", initial: int = 0) -> "tqdm":
    """A tqdm bar for the terminal or JupyterLab. A headless notebook draws it on the terminal that
    started it, never into the notebook's outputs.
    """
    from tqdm import tqdm

    options = {"total": total, "initial": initial, "desc": description, "unit": unit}
    options |= {"leave": False, "dynamic_ncols": True, "unit_scale": unit == "B"}
    terminal = os.environ.get(files.TERMINAL)
    if terminal:
        stream = open(terminal, "w")  # noqa: SIM115 - tqdm writes until it is closed
        return tqdm(file=stream, **options)
    if terminal is not None:
        return tqdm(disable=True, **options)
    if "ipykernel" in sys.modules:
        from tqdm.auto import tqdm as notebook_bar

        return notebook_bar(**options)
    return tqdm(disable=not sys.stderr.isatty(), **options)
