"""Independent trainings on several processes or several computers, through joblib (notebook 04).

One computer: joblib's own processes. More: joblib's dask backend sends the same calls to an
existing dask scheduler. Every finished run ends in the run store, so nothing is trained twice and a
study that was stopped goes on where it was.
"""

import os
import threading
from collections.abc import Callable
from contextlib import contextmanager

import joblib
import torch

from cxr_helpers.engine import files, runs, runtime
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Outcome, Run, Task

CONNECT_SECONDS = 15
Maker = Callable[..., Task]  # of what a training is given: how the store sees it
Trainer = Callable[..., Outcome]  # as runs.get takes it
# the random state is the process's: a worker of several threads still trains one by one
_one_at_a_time = threading.Lock()


@contextmanager
def sharing(n_jobs: int, device: torch.device, cluster: str = ""):
    """torch's threads while n_jobs processes of this computer train on its CPU: no more together
    than it has cores.

    Two processes of two threads on two cores took 2.3 times as long for an epoch as two of one
    thread. The number of threads is part of a run's identity. The workers of a cluster do not share
    this computer.
    """
    before = torch.get_num_threads()
    if n_jobs > 1 and device.type == "cpu" and not cluster:
        torch.set_num_threads(max(1, min(before, runtime.cores() // n_jobs)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Counting(joblib.Parallel):
    """joblib's Parallel that calls `done(n)` whenever n more tasks have ended."""

    def __init__(self, done: Callable[[int], None], **options):
        super().__init__(**options)
        self._done, self._told = done, 0

    def print_progress(self) -> None:
        self._done(self.n_completed_tasks - self._told)
        self._told = self.n_completed_tasks


def _work(
    make: Maker, train: Trainer, threads: int, number: int, store: str | None, *given
) -> tuple[str, dict[str, bytes]]:
    """In a worker: train one run there (or read it) and send back its key and its files."""
    with _one_at_a_time:
        # the bar of the whole study is drawn by the process that asked
        os.environ[files.TERMINAL] = ""
        if store is not None:
            os.environ[files.RUNS] = store
        runtime.prepare(threads)
        *rest, device = given
        # one GPU a worker where several can be seen; a cluster shows each worker its own
        if device.type == "cuda":
            device = torch.device("cuda", number % torch.cuda.device_count())
        run = runs.get(make(*rest, device), train)
        kept = [path for path in run.folder.iterdir() if path.name in runs.FILES]
        return run.key, {path.name: path.read_bytes() for path in kept}


@contextmanager
def _backend(n_jobs: int, cluster: str, shared: list):
    """joblib's processes on this computer, or the workers of a dask scheduler, which get `shared`
    once and not with every task.
    """
    if not cluster:
        threads = max(1, runtime.cores() // n_jobs)
        with joblib.parallel_config(
            backend="loky",
            n_jobs=n_jobs,
            inner_max_num_threads=threads,
            initializer=runtime.begin_worker,
        ):
            yield
        return
    with _client(cluster) as client:
        from joblib._dask import DaskDistributedBackend

        class Backend(DaskDistributedBackend):
            def effective_n_jobs(self, n_jobs: int) -> int:
                # joblib takes one worker of one thread for no cluster, and would train here instead
                # of there.
                return max(2, super().effective_n_jobs(n_jobs))

        with joblib.parallel_config(backend=Backend(client=client, scatter=shared), n_jobs=-1):
            yield


@contextmanager
def _client(cluster: str):
    """Connected to a dask scheduler that has workers."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            "CLUSTER memerlukan paket distributed: jalankan `make setup`, lalu ulangi."
        ) from None
    address = cluster.replace("dask://", "tcp://")
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError):
        raise InputError(
            f"CLUSTER={cluster}: penjadwal dask tidak menjawab. "
            "Periksa alamatnya, dan jalankan dask-scheduler di sana."
        ) from None
    with client:
        if not client.ncores():
            raise InputError(
                f"CLUSTER={cluster}: tidak ada pekerja. "
                "Jalankan dask-worker yang terhubung ke penjadwal itu."
            )
        yield client


def train(
    given: list[tuple],
    make: Maker,
    trainer: Trainer,
    n_jobs: int = 1,
    cluster: str = "",
    done: Callable[[int], None] = lambda n: None,
) -> list[Run]:
    """The run of each training, in order: read from the store, or trained by n_jobs processes, or
    by the workers of a dask cluster.

    given: what `make` (which says how the store sees it) and `trainer` (see runs.get) are called
    with, the device last. cluster: "" or "dask://host:port". `done(n)` is told as runs come in.
    Raises InputError from a training, when a process dies (too little memory), or when the cluster
    does not answer or has another version of the code.
    """
    with sharing(n_jobs, given[0][-1], cluster):
        tasks = [make(*each) for each in given]
        if n_jobs == 1 and not cluster:
            found = []
            for task in tasks:
                found.append(runs.get(task, trainer))
                done(1)
            return found
        missing = {task.key: task for task in tasks if not task.finished}
        for task in tasks:
            if task.finished:
                done(1)
        if missing:
            _fetch(missing, make, trainer, n_jobs, cluster, done)
        return [runs.get(task, trainer) for task in tasks]


def _fetch(
    missing: dict[str, Task],
    make: Maker,
    trainer: Trainer,
    n_jobs: int,
    cluster: str,
    done: Callable[[int], None],
) -> None:
    """Have the missing runs trained and put them into the store."""
    # On a cluster the store may lie elsewhere; processes of this computer use this very one.
    store = None if cluster else str(files.runs_folder().resolve())
    threads = torch.get_num_threads()
    calls = [
        joblib.delayed(_work)(make, trainer, threads, number, store, *task.given)
        for number, task in enumerate(missing.values())
    ]
    shared = {id(one): one for task in missing.values() for one in task.given[1:-1]}
    died = joblib.externals.loky.process_executor.TerminatedWorkerError
    with _backend(n_jobs, cluster, list(shared.values())):
        try:
            sent = _Counting(done, batch_size=1, pre_dispatch="all")(calls)
        except InputError:
            raise
        except (died, RuntimeError) as error:
            raise InputError(
                f"Sebuah proses pekerja mati ({type(error).__name__}), biasanya karena memori "
                "habis: kurangi N_JOBS, lalu jalankan lagi; "
                "pelatihan yang sudah selesai tidak diulang."
            ) from error
    for key, (there, contents) in zip(missing, sent, strict=True):
        if there != key:
            raise InputError(
                f"Pekerja di {cluster} memakai versi kode atau paket yang lain: "
                "samakan git commit dan lingkungannya."
            )
        runs.put(key, contents)
