"""Independent trainings on several processes or several computers, through joblib (notebook 04).

One computer: joblib's own processes. More: joblib's dask backend sends the same calls to an
existing dask scheduler. Every finished run ends in the run store, so nothing is trained twice and a
study that was stopped goes on where it was.
"""

import os
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import joblib
import torch

from cxr_helpers.data import Dataset, subset, with_splits
from cxr_helpers.engine import files, runs, runtime, worker
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import duration, number
from cxr_helpers.training import Fitting, TrainConfig, draw_batches
from cxr_helpers.weights import Weights

Task = tuple[TrainConfig, Dataset]
CONNECT_SECONDS = 15
SPLITS = ("train", "val", "test", "extra")
# what makes a step cheap or dear
DEAR = ("architecture", "trainable", "batch_size", "resize", "average", "precision", "own")
PROBE = 64  # images: about a second of a ResNet-18 on two cores
# the random state is the process's: a worker of several threads still trains one by one
_one_at_a_time = threading.Lock()


@contextmanager
def sharing(n_jobs: int, device: torch.device, cluster: str = ""):
    """torch's threads while n_jobs processes of this computer train on its CPU: no more together
    than it has cores.

    Two processes of two threads on two cores took 2.3 times as long for an epoch as two of one
    thread. The number of threads is part of a run's identity. The workers of a cluster do not share
    this computer. Gives how many trainings go at a time.
    """
    before, at_a_time = torch.get_num_threads(), 1
    if n_jobs > 1 and device.type == "cpu" and not cluster:
        at_a_time = min(n_jobs, runtime.cores())
        torch.set_num_threads(max(1, min(before, runtime.cores() // n_jobs)))
    try:
        yield at_a_time
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
    config: TrainConfig,
    data: Dataset,
    weights: Weights,
    device: str,
    threads: int,
    number: int,
    store: str | None,
) -> tuple:
    """In a worker: train one run there (or read it) and send back its key and its files."""
    with _one_at_a_time:
        # the bar of the whole study is drawn by the process that asked
        os.environ[files.TERMINAL] = ""
        if store is not None:
            os.environ[files.RUNS] = store
        runtime.prepare(threads)
        # one GPU a worker where several can be seen; a cluster shows each worker its own
        if device == "cuda":
            device = f"cuda:{number % torch.cuda.device_count()}"
        run = runs.get(config, data, weights, device, keep_weights=False)
        return run.key, {
            path.name: path.read_bytes() for path in run.folder.iterdir() if path.name in runs.FILES
        }


@contextmanager
def _backend(n_jobs: int, cluster: str, shared: list):
    """joblib's processes on this computer, or the workers of a dask scheduler, which get `shared`
    once and not with every task.
    """
    if not cluster:
        threads = max(1, runtime.cores() // n_jobs)
        with joblib.parallel_config(
            backend="loky", n_jobs=n_jobs, inner_max_num_threads=threads, initializer=worker.begin
        ):
            yield
        return
    try:
        from distributed import Client
        from joblib._dask import DaskDistributedBackend
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

        class Backend(DaskDistributedBackend):
            def effective_n_jobs(self, n_jobs: int) -> int:
                # joblib takes one worker of one thread for no cluster, and would train here instead
                # of there.
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
    """The run of each task, in order: read from the store, or trained by n_jobs processes, or by
    the workers of a dask cluster.

    cluster: "" or "dask://host:port". `done(n)` is told as runs come in. The processes share the
    cores of this computer: each trains with the threads of `sharing`. Raises InputError from a
    training, when a process dies (too little memory), or when the cluster does not answer or has
    another version of the code.
    """
    with sharing(n_jobs, device, cluster):
        return _train(tasks, weights, device, n_jobs, cluster, done)


def _train(
    tasks: list[Task],
    weights: Weights,
    device: torch.device,
    n_jobs: int,
    cluster: str,
    done: Callable[[int], None],
) -> list[runs.Run]:
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
        with _backend(
            n_jobs, cluster, _distinct([weights, *(data for _, data in missing.values())])
        ):
            try:
                sent = _Counting(done, batch_size=1, pre_dispatch="all")(calls)
            except InputError:
                raise
            except (
                joblib.externals.loky.process_executor.TerminatedWorkerError,
                RuntimeError,
            ) as error:
                raise InputError(
                    f"Sebuah proses pekerja mati ({type(error).__name__}), "
                    "biasanya karena memori habis: kurangi N_JOBS, lalu jalankan lagi; "
                    "pelatihan yang sudah selesai tidak diulang."
                ) from error
        for key, (there, sent_files) in zip(missing, sent, strict=True):
            if there != key:
                raise InputError(
                    f"Pekerja di {cluster} memakai versi kode atau paket yang lain: "
                    "samakan git commit dan lingkungannya."
                )
            runs.put(key, sent_files)
    return [runs.get(config, data, weights, device, keep_weights=False) for config, data in tasks]


def forecast(
    tasks: list[tuple[TrainConfig, Dataset, Weights]],
    device: torch.device,
    n_jobs: int = 1,
    cluster: str = "",
) -> tuple[int, float]:
    """How many of the tasks the store lacks, and the seconds that they will take on this computer,
    n_jobs at a time.

    Of every kind of step (network, trained part, batch, input, precision) two short epochs are
    trained, and the second is timed; every epoch is counted, although early stopping may leave some
    out.
    """
    missing, seconds_of, total = {}, {}, 0.0
    with sharing(n_jobs, device, cluster) as at_a_time:
        for config, data, weights in tasks:
            key = runs.run_key(runs.identity(config, data, weights, device))
            if not runs.finished(key):
                missing[key] = (config, data, weights)
        for config, data, weights in missing.values():
            kind = tuple(getattr(config, name) for name in DEAR)
            if kind not in seconds_of:
                seconds_of[kind] = _seconds_of_an_image(config, data, weights, device)
            total += seconds_of[kind] * _visited(config, data) * config.epochs
    return len(missing), total / at_a_time


def forecast_text(n: int, seconds: float, where: str) -> str:
    """What `forecast` found, in Indonesian and without a full stop; where: name of the computer
    that will train.
    """
    said = f"Pelatihan yang belum tersimpan: {number(n, 0)}"
    return (
        said + f", seluruhnya sekitar {duration(60 * max(1, round(seconds / 60)))} pada {where}"
        if n
        else said
    )


def _visited(config: TrainConfig, data: Dataset) -> int:
    """Images of an epoch; some are visited twice where a class is repeated."""
    batches = draw_batches(
        config, torch.from_numpy(data.train.labels).float(), torch.Generator().manual_seed(0)
    )
    return sum(map(len, batches))


def _seconds_of_an_image(
    config: TrainConfig, data: Dataset, weights: Weights, device: torch.device
) -> float:
    """Of one training image in one epoch, with its share of the images that are judged after the
    epoch.
    """
    share = max(PROBE, config.batch_size) / len(data.train)
    few = {
        name: subset(split, max(2, round(share * len(split))), 0)
        for name in SPLITS
        if (split := getattr(data, name))
    }
    small = with_splits(data, **few)
    fitting, seconds = Fitting(config, small, weights, device, None), 0.0
    for _ in range(2):  # the first prepares memory and kernels
        began = time.perf_counter()
        fitting.epoch(lambda: None)
        seconds = time.perf_counter() - began
    return seconds / _visited(config, small)
