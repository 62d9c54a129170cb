"""Trainings on several processes and on a dask cluster that loses a worker; how long they take."""

import asyncio
import itertools
import multiprocessing
import os
import re
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from distributed import LocalCluster, Worker

from cxr_helpers import experiments, overfitting, reference, remedies
from cxr_helpers.engine import files, parallel, runs, runtime, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.study import Study
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import resolve_weights
from report import forecast
from tests.conftest import made

OWN = """from torch import nn
BAGIAN = {"network": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 1))}
"""
CPU, WEIGHTS, DATA = torch.device("cpu"), resolve_weights("random"), made()
FIRST = TrainConfig(epochs=10, batch_size=16, architecture="small_cnn")
TASKS = [(replace(FIRST, seed=seed), DATA) for seed in range(4)]
TASKS.append((TrainConfig(epochs=10, batch_size=16, own=OWN), DATA))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def store(monkeypatch, tmp_path) -> Path:
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture(scope="module")
def alone(one_thread, tmp_path_factory) -> list[runs.Run]:
    """The same trainings in this process, in a store of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(files.RUNS, str(tmp_path_factory.mktemp("alone")))
        return parallel.train(TASKS, WEIGHTS, CPU)


def assert_same(found: list[runs.Run], expected: list[runs.Run], store: Path) -> None:
    assert [run.folder for run in found] == [store / run.key for run in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.history.equals(theirs.history)
        for name, values in theirs.logits.items():
            np.testing.assert_array_equal(ours.logits[name], values)
        assert (ours.folder / "code.py").exists() == bool(ours.config.own)


def test_two_processes_give_the_very_numbers_of_one_and_the_order_of_the_tasks(store, alone):
    told = []
    found = parallel.train([*TASKS, TASKS[0]], WEIGHTS, CPU, n_jobs=2, done=told.append)
    assert_same(found, [*alone, alone[0]], store)
    assert sum(told) == len(TASKS)
    study = Study(DATA, DATA, WEIGHTS, settings.PRESETS["smoke"], 0, CPU, "float32", store, "", 0.0)
    recipe = experiments.Recipe(FIRST.changed() | {"epochs": 10})
    again = experiments.train(study, recipe, seeds=2, n_jobs=2)
    assert [run.key for run in again.runs] == [run.key for run in alone[:2]]
    with pytest.raises(InputError, match="learning rate"):
        parallel.train([(replace(FIRST, lr=1e30), DATA)], WEIGHTS, CPU, n_jobs=2)


def test_what_the_store_holds_is_not_sent_to_a_worker(store):
    first = parallel.train(TASKS[4:], WEIGHTS, CPU)
    nobody = "dask://127.0.0.1:9"
    assert_same(parallel.train(TASKS[4:], WEIGHTS, CPU, cluster=nobody), first, store)


@pytest.mark.parametrize(
    ("threads", "cores", "each", "at_a_time"),
    [(2, 2, 1, 2), (4, 8, 4, 2), (3, 8, 3, 2), (3, 2, 1, 2), (1, 8, 1, 2), (2, 1, 1, 1)],
)
def test_processes_share_the_cores_and_give_the_threads_back(
    monkeypatch, threads, cores, each, at_a_time
):
    monkeypatch.setattr(runtime, "cores", lambda: cores)
    torch.set_num_threads(threads)
    try:
        with parallel.sharing(2, CPU) as together:
            assert (torch.get_num_threads(), together) == (each, at_a_time)
        assert torch.get_num_threads() == threads
        for given in ((1, CPU), (2, torch.device("cuda")), (2, CPU, "dask://127.0.0.1:1")):
            with parallel.sharing(*given) as together:
                assert (torch.get_num_threads(), together) == (threads, 1)
    finally:
        torch.set_num_threads(1)


# --- dask ---------------------------------------------------------------------------------------


def work(address: str, store: str) -> None:
    """A dask worker in a process of its own, whose run store is not ours."""
    os.environ[files.RUNS] = store

    async def serve() -> None:
        async with Worker(address, nthreads=1, host="127.0.0.1", dashboard=False) as worker:
            await worker.finished()

    asyncio.run(serve())


@pytest.fixture(scope="module")
def cluster():
    """A dask scheduler in this process, without workers."""
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as found:
        yield found


def in_the_middle(store: Path, told: list[int], stores: list[Path]) -> str | None:
    """The key of the run that is trained in a store from which every finished run has come in."""
    ended = {path.parent for path in store.glob("*/info.json")}
    begun = {path.parent for path in store.glob("*/checkpoint-*.pt")} - ended
    finished = sum(len(list(each.glob("*/info.json"))) for each in stores)
    return begun.pop().name if ended and begun and sum(told) == finished else None


def test_a_killed_dask_worker_costs_no_row_and_no_run_is_computed_twice(
    cluster, store, alone, tmp_path
):
    fresh = multiprocessing.get_context("forkserver")  # torch is imported once for both
    fresh.set_forkserver_preload(["tests.test_parallel"])
    stores = [tmp_path / "first", tmp_path / "second"]
    address, told, killed = cluster.scheduler_address, [], []
    workers = [fresh.Process(target=work, args=(address, str(each))) for each in stores]

    def kill_the_first_in_the_middle() -> None:
        while workers[0].is_alive():
            os.kill(workers[0].pid, signal.SIGSTOP)  # it must not end between look and kill
            if key := in_the_middle(stores[0], told, stores):
                killed.append(key)
                workers[0].kill()
                workers[0].join()
            else:
                os.kill(workers[0].pid, signal.SIGCONT)
                time.sleep(0.01)

    killer = threading.Thread(target=kill_the_first_in_the_middle)
    try:
        for process in workers:
            process.start()
        cluster.wait_for_workers(2, timeout=180)  # importing torch takes long on a busy computer
        killer.start()
        dask = address.replace("tcp://", "dask://")
        found = parallel.train(TASKS, WEIGHTS, CPU, cluster=dask, done=told.append)
    finally:
        for process in workers:
            process.kill()
            process.join()
    killer.join()
    assert_same(found, alone, store)
    ended = [path.parent.name for each in stores for path in each.glob("*/info.json")]
    assert sorted(ended) == sorted(run.key for run in found)
    begun = [path.name for each in stores for path in each.iterdir()]
    assert sorted(begun) == sorted([*ended, *killed]), "the interrupted run alone was begun again"
    assert len(killed) == 1


def test_a_cluster_that_does_not_answer_or_has_no_worker_is_said_in_one_line(
    cluster, store, monkeypatch
):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 2)
    while cluster.scheduler.workers:  # those of another test are still leaving
        time.sleep(0.1)
    address = cluster.scheduler_address.replace("tcp://", "dask://")
    for given, words in (("dask://127.0.0.1:9", "tidak menjawab"), (address, "tidak ada pekerja")):
        with pytest.raises(InputError, match=f"{given}: .*{words}"):
            parallel.train(TASKS, WEIGHTS, CPU, cluster=given)


def test_settings_that_cannot_be_used_are_refused():
    assert settings.parse_jobs("4", "dask://10.0.0.5:8786") == (4, "dask://10.0.0.5:8786")
    assert settings.parse_jobs("1", "") == settings.parse_jobs("", "") == (1, "")
    wrong = (
        ("abc", ""),
        ("0", ""),
        ("-1", ""),
        (1, "10.0.0.5:8786"),
        (1, "dask://a"),
        (2, "ray://a:1"),
    )
    for given in wrong:
        with pytest.raises(InputError, match="tidak dapat dipakai"):
            settings.parse_jobs(*given)


# --- how long it will take ----------------------------------------------------------------------


def test_a_forecast_counts_what_is_missing_once_and_every_epoch(store, monkeypatch):
    ticks = itertools.count()  # the epoch that is timed takes a second of this clock
    monkeypatch.setattr(parallel, "time", SimpleNamespace(perf_counter=lambda: next(ticks)))
    monkeypatch.setattr(runtime, "cores", lambda: 2)
    tiny = TASKS[4][0]
    asked = [(replace(tiny, epochs=n, seed=n), DATA, WEIGHTS) for n in (2, 30, 2, 500)]
    assert parallel.forecast(asked, CPU) == (3, pytest.approx(532))
    assert parallel.forecast(asked, CPU, n_jobs=2) == (3, pytest.approx(266))
    assert parallel.forecast(asked, CPU, 2, "dask://a:1") == (3, pytest.approx(532))
    parallel.train([(config, data) for config, data, _ in asked[:2]], WEIGHTS, CPU)
    assert parallel.forecast(asked, CPU) == (1, pytest.approx(500))
    assert parallel.forecast(asked[:3], CPU) == (0, 0.0)


class Small(Study):
    """Whose recipe takes the small CNN."""

    def config(self, **changes) -> TrainConfig:
        return super().config(**{"architecture": "small_cnn", **changes})


@pytest.fixture
def study(store) -> Study:
    preset = replace(settings.PRESETS["smoke"], seeds=2)
    return Small(DATA, DATA, WEIGHTS, preset, 0, CPU, "float32", store, "", 0.0)


def missing(study, repeat: str = "auto") -> dict[str, tuple]:
    tasks = {runs.run_key(runs.identity(*t, CPU)): t for t in forecast.tasks(study, repeat)}
    return {key: task for key, task in tasks.items() if not runs.finished(key)}


CHOSEN = reference.combination(reference.read())


def test_every_training_of_the_report_is_counted_once_a_seed(study):
    rows = 2 + (CHOSEN is not None)  # the recipe, the augmentation, the combination
    curve, starts, shortcut = len(overfitting.PARTS), 2, 2
    assert len(missing(study)) == 2 * (rows + curve + starts) + shortcut
    whole = Study(**vars(study))  # whose recipe has the layers that some rows freeze
    every = len(remedies.REMEDIES) + 2
    more = 2 * (every - rows) + remedies.FOLDS
    assert len(missing(whole, "all")) == len(missing(whole)) + more


def test_what_the_notebooks_train_is_what_was_counted(study):
    """Notebook 04's rows and notebook 03's learning curve leave only the starting weights."""
    study = replace(study, preset=replace(study.preset, seeds=1))
    remedies.measure(study, chosen=CHOSEN)
    remedies.shortcut(study)
    overfitting.learning_curve(study, study.baseline())
    assert [weights.kind for _, _, weights in missing(study).values()] == ["gabor"] * 2


def test_the_line_names_number_and_time_and_says_where_all_is_stored(study, monkeypatch):
    task = (study.config(epochs=1), study.used, study.weights)
    monkeypatch.setattr(forecast, "tasks", lambda study, repeat: [task])
    said = r"Pelatihan yang belum tersimpan: 1, seluruhnya sekitar 1 menit pada CPU .*"
    assert re.fullmatch(said, forecast.said(study))
    assert "CLUSTER" in forecast.said(study, cluster="dask://a:1")
    runs.get(*task, CPU)
    assert forecast.said(study) == "Semua pelatihan sudah tersimpan."
