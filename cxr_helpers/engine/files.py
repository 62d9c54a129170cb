"""Where the project keeps its files, and how they are written: whole, by one process at a time."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent  # of the code
REFERENCE = ROOT / "notebooks" / "reference"  # the reference study
# Other places than <project>/runs and <project>/data.
RUNS, DATA = "CXR_RUNS", "CXR_DATA"
# Set by report/execute.py: the folder that collects the results of a notebook until it has ended
# well, the file in which report/sources.py wrote what `auto` chose, and the terminal behind the
# notebook ("" if there is none).
RESULTS, SOURCES, TERMINAL = "CXR_RESULTS", "CXR_SOURCES", "CXR_TERMINAL"
STUDENT = "CXR_STUDENT"  # set by report/execute.py: name and number of the student, as JSON
THREADS = "CXR_THREADS"  # threads of a training on a CPU


def project() -> Path:
    """The clone around the working folder, else the one that holds this code."""
    try:
        here = Path.cwd()
    except OSError:  # the folder was deleted
        return ROOT
    for folder in (here, *here.parents):
        if (folder / "cxr_helpers/engine/files.py").is_file():
            return folder
    return ROOT


def runs_folder() -> Path:
    return Path(os.environ.get(RUNS) or project() / "runs")


def data_folder() -> Path:
    return Path(os.environ.get(DATA) or project() / "data")


def write(path: Path, content: bytes) -> None:
    """Write whole or not at all, also through a power cut. Raises OSError."""
    partial = path.with_name(f".{path.name}.part")
    try:
        with open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file; say `waiting` while another process holds it. Raises OSError."""
    # not above: report/check.py runs before it is known that the packages are there
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(waiting, file=sys.stderr, flush=True)
        lock.acquire()
    try:  # not `with lock`: that would count a second hold, which nothing gives back
        yield
    finally:
        lock.release()


def from_root(given: str) -> str:
    """A notebook runs in notebooks/, a person thinks of the project's root: look there too."""
    there = ROOT / given
    return str(there) if not os.path.exists(given) and there.is_file() else given
