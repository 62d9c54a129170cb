"""The number of threads and torch's switches that make two trainings of one computer give the same numbers."""

import os

import torch


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_deterministic(threads: int | None = None) -> None:
    """Fix the number of threads (default: CXR_THREADS, else every core) and ask torch for its deterministic algorithms.

    A fixed number of threads fixes the order of sums; more threads than cores only slow a CPU down. On CUDA torch warns where an
    operation has no deterministic form.
    """
    torch.set_num_threads(threads or int(os.environ.get("CXR_THREADS") or cores()))
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what torch asks for before it promises equal sums on CUDA
    torch.use_deterministic_algorithms(True, warn_only=True)
    # It would also fill every new tensor with NaN, to expose a read before the first write: a search for faults, not a part of equal sums.
    torch.utils.deterministic.fill_uninitialized_memory = False
