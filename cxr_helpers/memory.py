"""Memory that training gives back stays with the process, because the next batch asks for the same again (bench/training_speed.py)."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # mallopt(3) of the GNU C library
LARGE = 32 * 2**20  # bytes; the most that every glibc accepts, and more than any tensor of a 28×28 batch
NEVER = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc's malloc hold freed blocks of up to 32 MiB instead of returning them to the system; elsewhere do nothing.

    A batch frees and asks again for hundreds of megabytes; what went back to the system must be mapped and zeroed anew, tens of
    thousands of page faults a batch. The largest memory of the process stays the same, only the valleys between are filled.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGE)
        mallopt(M_TRIM_THRESHOLD, NEVER)
