"""Independent trainings on several processes of this computer, or through joblib's dask backend on
several computers (notebook 04). Every finished run ends in the run store.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import contextmanager
from multiprocessing import resource_tracker

import joblib
import torch
from joblib.externals import loky

from cxr_helpers.engine import files, runs, runtime, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Outcome, Run, Task

CONNECT_SECONDS = 15
Maker = Callable[..., Task]  # of what a training is given: how the store sees it
Done = Callable[[int], None]  # is told how many runs have come in
Trainer = Callable[..., Outcome]  # as runs.get takes it
# the random state is the process's: a worker of several threads still trains one by one
_one_at_a_time = threading.Lock()


@contextmanager
def sharing(n_jobs: int, device: torch.device, cluster: str = ""):
    """torch's threads while n_jobs processes share this computer's cores."""
    before = torch.get_num_threads()
    if n_jobs > 1 and device.type == "cpu" and not cluster:
        torch.set_num_threads(max(1, min(before, settings.cores() // n_jobs)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(
    given: list[tuple],
    make: Maker,
    trainer: Trainer,
    n_jobs: int = 1,
    cluster: str = "",
    done: Done = lambda n: None,
) -> list[Run]:
    """The run of each training, in order: read, or trained by n_jobs processes or the workers of
    "dask://host:port". given: what `make` and `trainer` take, the device last. Raises InputError.
    """
    with sharing(n_jobs, given[0][-1], cluster):
        tasks, missing, trained = [make(*arguments) for arguments in given], {}, []
        if n_jobs > 1 or cluster:
            missing = {task.key: task for task in tasks if not task.finished}
        if missing:
            _fetch(missing, make, trainer, n_jobs, cluster, done)
        for task in tasks:
            trained.append(runs.get(task, trainer))
            if task.key not in missing:
                done(1)
        return trained


def _fetch(
    missing: dict[str, Task], make: Maker, trainer: Trainer, n_jobs: int, cluster: str, done: Done
) -> None:
    """Have the missing runs trained and put them into the store as they come in."""
    # on a cluster the store may lie elsewhere; processes of this computer use this very one
    store = None if cluster else str(files.runs_folder().resolve())
    calls = [
        joblib.delayed(_work)(make, trainer, torch.get_num_threads(), number, store, *task.given)
        for number, task in enumerate(missing.values())
    ]
    # data and weights, which dask sends once and not with every task
    shared = {id(value): value for task in missing.values() for value in task.given[1:-1]}
    options = {"return_as": "generator_unordered", "batch_size": 1, "pre_dispatch": "all"}
    with _backend(n_jobs, cluster, list(shared.values())):
        try:
            with _leaving_interrupts():
                coming = joblib.Parallel(**options)(calls)
            for key, contents in coming:
                if key not in missing:
                    raise InputError("Pekerja memakai kode lain: samakan git commit dan paketnya.")
                runs.put(key, contents)
                done(1)
        except (loky.process_executor.TerminatedWorkerError, RuntimeError) as error:
            why = f"Proses pekerja mati ({type(error).__name__}), biasanya karena memori habis"
            raise InputError(f"{why}: kurangi N_JOBS, lalu jalankan lagi.") from error


def _work(
    make: Maker, train: Trainer, threads: int, number: int, store: str | None, *given
) -> tuple[str, dict[str, bytes]]:
    """In a worker: train one run there (or read it) and send back its key and its files."""
    with _one_at_a_time:
        os.environ[files.TERMINAL] = ""  # the process that asked draws the bar of the whole study
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
def _leaving_interrupts():
    """Processes that start here inherit that Ctrl-C is blocked; a thread still hears it here."""
    resource_tracker.ensure_running()  # starting later, it would end the block
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _backend(n_jobs: int, cluster: str, shared: list):
    """joblib's processes here, or the workers of a dask scheduler, which get `shared` once."""
    if not cluster:
        threads = max(1, settings.cores() // n_jobs)
        worker = {"inner_max_num_threads": threads, "initializer": runtime.begin_worker}
        with joblib.parallel_config(backend="loky", n_jobs=n_jobs, **worker):
            try:
                yield
            except KeyboardInterrupt:  # also of workers that are still starting
                loky.get_reusable_executor().shutdown(kill_workers=True)
                raise
        return
    try:
        from distributed import Client
        from joblib._dask import DaskDistributedBackend

        address = cluster.replace("dask://", "tcp://")
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (ImportError, OSError, ValueError):
        raise InputError(
            f"CLUSTER={cluster}: penjadwal dask tidak menjawab, atau paket distributed belum ada. "
            "Periksa alamatnya, jalankan dask-scheduler di sana, dan `make setup` di sini."
        ) from None
    with client:
        if not client.ncores():
            raise InputError(f"CLUSTER={cluster}: tidak ada pekerja. Jalankan dask-worker di sana.")

        class Backend(DaskDistributedBackend):
            def effective_n_jobs(self, n_jobs: int) -> int:
                # joblib takes one worker of one thread for no cluster, and would train here
                return max(2, super().effective_n_jobs(n_jobs))

        with joblib.parallel_config(backend=Backend(client=client, scatter=shared), n_jobs=-1):
            yield
