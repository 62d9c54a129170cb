"""What a process that trains runs on; torch is imported where it is needed."""

import ctypes
import os
import sys
import threading
import time
from typing import TYPE_CHECKING

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.settings import threads

if TYPE_CHECKING:
    import torch
    from tqdm import tqdm

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3) of the GNU C library
LARGE, NEVER = 32 * 2**20, 2**31 - 1  # bytes: more than any tensor of a batch, more than there are


def begin_worker() -> None:
    """End soon after the process that asked is gone."""
    asking = os.getppid()

    def follow() -> None:
        while os.getppid() == asking:
            time.sleep(1)
        os._exit(1)  # as hard as a kill, which the run store survives

    threading.Thread(target=follow, daemon=True).start()


def pick_device(name: str) -> "torch.device":
    """auto: CUDA, then MPS, then the CPU. Raises InputError when the named device is not there."""
    import torch

    known = {"cuda": torch.cuda, "mps": torch.backends.mps}
    there = [kind for kind, backend in known.items() if backend.is_available()] + ["cpu"]
    if name not in ("auto", *there):
        raise InputError(f"DEVICE={name} tidak ada di sini: pakai DEVICE=cpu atau DEVICE=auto.")
    return torch.device(there[0] if name == "auto" else name)


def device_name(device: "torch.device") -> str:
    """'CPU (2 thread)' or the GPU's own name."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({torch.get_num_threads()} thread)" if device.type == "cpu" else "GPU Apple (MPS)"


def prepare(n_threads: int | None = None) -> None:
    """What every process that trains does first: fix the number of threads, and so the order of
    sums (default: CXR_THREADS, else every core), and ask for deterministic algorithms.
    """
    import torch

    keep_freed_memory()
    torch.set_num_threads(n_threads or threads())
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    # what torch asks for before it promises equal sums on CUDA
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # it would also fill every new tensor with NaN, to expose a read before the first write
    torch.utils.deterministic.fill_uninitialized_memory = False


def check_torch() -> None:
    """Raises InputError where a notebook has switched torch to what no training can run with."""
    import torch

    if not torch.is_grad_enabled() or torch.get_default_dtype() != torch.float32:
        cure = "torch.set_grad_enabled(True) dan torch.set_default_dtype(torch.float32)"
        raise InputError(f"torch tidak pada pengaturan umumnya: jalankan {cure}, lalu ulangi.")


def keep_freed_memory() -> None:
    """Let glibc's malloc hold freed blocks: what goes back to the system must be mapped and zeroed
    anew, tens of thousands of page faults a batch (bench/training_speed.py).
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, NEVER)


def peak_memory_mb(device: "torch.device") -> float:
    """Largest memory so far: the GPU's, or resident (NaN on Windows)."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:
        return float("nan")
    scale = 2**20 if sys.platform == "darwin" else 2**10  # ru_maxrss: bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


def native_bfloat16(device: "torch.device") -> bool:
    """Whether the processor or GPU multiplies bfloat16 itself, as far as PyTorch can tell."""
    import torch

    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    return any(map(torch.cpu.get_capabilities().get, ("avx512_bf16", "amx_bf16")))


def pick_precision(name: str, device: "torch.device") -> str:
    """PRECISION on this device; auto is bfloat16 where that is native. Raises InputError."""
    if name == "bfloat16" and device.type == "mps":
        raise InputError("PRECISION=bfloat16 tidak ada pada GPU Apple: pakai PRECISION=float32.")
    if name != "auto":
        return name
    return "bfloat16" if native_bfloat16(device) else "float32"


def someone_watches() -> bool:
    """Whether this is a kernel of JupyterLab, and no headless run."""
    return "ipykernel.kernelapp" in sys.modules and files.TERMINAL not in os.environ


def bar(total: int | None, description: str, unit: str = "batch", initial: int = 0) -> "tqdm":
    """A tqdm bar where the person looks: a headless notebook's terminal, never its outputs."""
    from tqdm import tqdm

    options = {"total": total, "initial": initial, "desc": description, "unit": unit}
    # the time left by the mean so far, which a busy program nearby does not throw about
    options |= {"leave": False, "dynamic_ncols": True, "unit_scale": unit == "B", "smoothing": 0}
    terminal = os.environ.get(files.TERMINAL)
    if terminal:
        stream = open(terminal, "w")  # noqa: SIM115 - tqdm writes until it is closed
        return tqdm(file=stream, **options)
    if someone_watches():
        from tqdm.auto import tqdm as notebook_bar

        return notebook_bar(**options)
    return tqdm(disable=terminal is not None or not sys.stderr.isatty(), **options)
