"""Independent trainings on several processes or several computers, through joblib (notebook 04).

One computer: joblib's own processes. More: joblib's dask backend sends the same calls to an existing dask scheduler. Every
finished run ends in the run store, so nothing is trained twice and a study that was stopped goes on where it was.
"""

import os
import threading
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import joblib
import torch

from cxr_helpers.data import Dataset
from cxr_helpers.engine import files, runs, runtime, worker
from cxr_helpers.engine.errors import InputError
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import Weights

Task = tuple[TrainConfig, Dataset]
CONNECT_SECONDS = 15
_one_at_a_time = threading.Lock()  # the random state is the process's: a worker of several threads still trains one by one


class _Counting(joblib.Parallel):
    """joblib's Parallel that calls `done(n)` whenever n more tasks have ended."""

    def __init__(self, done: Callable[[int], None], **options):
        super().__init__(**options)
        self._done, self._told = done, 0

    def print_progress(self) -> None:
        self._done(self.n_completed_tasks - self._told)
        self._told = self.n_completed_tasks


def _work(
    config: TrainConfig, data: Dataset, weights: Weights, device: str, threads: int, number: int, store: str | None
) -> tuple:
    """In a worker: train one run there (or read it) and send back its key and its files."""
    with _one_at_a_time:
        os.environ[files.TERMINAL] = ""  # the bar of the whole study is drawn by the process that asked
        if store is not None:
            os.environ[files.RUNS] = store
        runtime.prepare(threads)
        if device == "cuda":  # one GPU a worker where several can be seen; a cluster shows each worker its own
            device = f"cuda:{number % torch.cuda.device_count()}"
        run = runs.get(config, data, weights, device, keep_weights=False)
        return run.key, {path.name: path.read_bytes() for path in run.folder.iterdir() if path.name in runs.FILES}


@contextmanager
def _backend(n_jobs: int, cluster: str, shared: list):
    """joblib's processes on this computer, or the workers of a dask scheduler, which get `shared` once and not with every
    task.
    """
    if not cluster:
        threads = max(1, runtime.cores() // n_jobs)
        with joblib.parallel_config(backend="loky", n_jobs=n_jobs, inner_max_num_threads=threads, initializer=worker.begin):
            yield
        return
    try:
        from distributed import Client
        from joblib._dask import DaskDistributedBackend
    except ImportError:
        raise InputError("CLUSTER memerlukan paket distributed: jalankan `make setup`, lalu ulangi.") from None
    address = cluster.replace("dask://", "tcp://")
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError):
        raise InputError(
            f"CLUSTER={cluster}: penjadwal dask tidak menjawab. Periksa alamatnya, dan jalankan dask-scheduler di sana."
        ) from None
    with client:
        if not client.ncores():
            raise InputError(f"CLUSTER={cluster}: tidak ada pekerja. Jalankan dask-worker yang terhubung ke penjadwal itu.")

        class Backend(DaskDistributedBackend):
            def effective_n_jobs(self, n_jobs: int) -> int:
                # joblib takes one worker of one thread for no cluster, and would train here instead of there.
                return max(2, super().effective_n_jobs(n_jobs))

        with joblib.parallel_config(backend=Backend(client=client, scatter=shared), n_jobs=-1):
            yield


def _distinct(things: list) -> list:
    return list({id(thing): thing for thing in things}.values())


def train(
    tasks: list[Task],
    weights: Weights,
    device: torch.device,
    n_jobs: int = 1,
    cluster: str = "",
    done: Callable[[int], None] = lambda n: None,
) -> list[runs.Run]:
    """The run of each task, in order: read from the store, or trained by n_jobs processes, or by the workers of a dask cluster.

    cluster: "" or "dask://host:port". `done(n)` is told as runs come in. Raises InputError from a training, when a process
    dies (too little memory), or when the cluster does not answer or has another version of the code.
    """
    if n_jobs == 1 and not cluster:
        found = []
        for config, data in tasks:
            found.append(runs.get(config, data, weights, device, keep_weights=False))
            done(1)
        return found
    # On a cluster the store may lie elsewhere; processes of this computer use this very one.
    store = None if cluster else str(Path(files.runs_folder()).resolve())
    missing = {}
    for config, data in tasks:
        key = runs.run_key(runs.identity(config, data, weights, device))
        if runs.finished(key):
            done(1)
        else:
            missing[key] = (config, data)
    threads = torch.get_num_threads()
    calls = [
        joblib.delayed(_work)(config, data, weights, device.type, threads, number, store)
        for number, (config, data) in enumerate(missing.values())
    ]
    if calls:
        with _backend(n_jobs, cluster, _distinct([weights, *(data for _, data in missing.values())])):
            try:
                sent = _Counting(done, batch_size=1, pre_dispatch="all")(calls)
            except InputError:
                raise
            except (joblib.externals.loky.process_executor.TerminatedWorkerError, RuntimeError) as error:
                raise InputError(
                    f"Sebuah proses pekerja mati ({type(error).__name__}), biasanya karena memori habis: kurangi N_JOBS, lalu "
                    "jalankan lagi; pelatihan yang sudah selesai tidak diulang."
                ) from error
        for key, (there, sent_files) in zip(missing, sent, strict=True):
            if there != key:
                raise InputError(
                    f"Pekerja di {cluster} memakai versi kode atau paket yang lain: samakan git commit dan lingkungannya."
                )
            runs.put(key, sent_files)
    return [runs.get(config, data, weights, device, keep_weights=False) for config, data in tasks]
