"""Trainings on several processes and on a dask cluster that loses a worker."""

import asyncio
import io
import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from distributed import LocalCluster, Worker
from joblib.externals.loky.backend import context

from cxr_helpers import experiments, training
from cxr_helpers.engine import files, parallel, runs, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.model import resolve_weights
from cxr_helpers.study import Study
from cxr_helpers.training import TrainConfig
from tests.conftest import made

OWN = """from torch import nn
BAGIAN = {"network": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 1))}
"""
CPU, WEIGHTS, DATA = torch.device("cpu"), resolve_weights("random"), made()
FIRST = TrainConfig(epochs=2, batch_size=16, architecture="small_cnn")
TASKS = [(replace(FIRST, seed=seed), DATA, WEIGHTS, CPU) for seed in range(3)]
TASKS.append((TrainConfig(epochs=2, batch_size=16, own=OWN), DATA, WEIGHTS, CPU))


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def alone(one_thread, tmp_path_factory) -> list[runs.Run]:
    """The same trainings in this process, in a store of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(files.RUNS, str(tmp_path_factory.mktemp("alone")))
        return training.run_all(TASKS)


def assert_same(found: list[runs.Run], expected: list[runs.Run], store: Path) -> None:
    assert [run.folder for run in found] == [store / run.key for run in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.history.equals(theirs.history)
        for name, values in theirs.logits.items():
            np.testing.assert_array_equal(ours.logits[name], values)
        assert (ours.folder / "code.py").exists() == bool(ours.config.own)


def test_two_processes_give_the_very_numbers_of_one_and_the_order_of_the_tasks(store, alone):
    told = []
    found = training.run_all([*TASKS, TASKS[0]], n_jobs=2, done=told.append)
    assert_same(found, [*alone, alone[0]], store)
    assert sum(told) == len(TASKS)
    study = Study(DATA, DATA, WEIGHTS, settings.PRESETS["smoke"], 0, CPU, "float32", store, "", 0.0)
    recipe = experiments.Recipe(FIRST.changed() | {"epochs": 2})
    again = experiments.train(study, recipe, seeds=2, n_jobs=2)
    assert [run.key for run in again.runs] == [run.key for run in alone[:2]]
    with pytest.raises(InputError, match="learning rate"):
        training.run_all([(replace(FIRST, lr=1e30), DATA, WEIGHTS, CPU)], n_jobs=2)


def test_a_silent_dask_scheduler_is_asked_only_for_what_is_missing(store, monkeypatch):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 2)
    first, nobody = training.run_all(TASKS[3:]), "dask://127.0.0.1:9"
    assert_same(training.run_all(TASKS[3:], cluster=nobody), first, store)
    with pytest.raises(InputError, match=f"{nobody}: .*tidak menjawab"):
        training.run_all(TASKS, cluster=nobody)


def test_processes_share_the_cores(monkeypatch, request):
    monkeypatch.setattr(settings, "cores", lambda: 2)
    request.addfinalizer(lambda: torch.set_num_threads(1))
    torch.set_num_threads(3)
    with parallel.sharing(2, CPU):
        assert torch.get_num_threads() == 1
    with parallel.sharing(2, CPU, "dask://127.0.0.1:1"):
        assert torch.get_num_threads() == 3


def test_threads_follow_the_quota_of_a_container(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(8), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os.path, "exists", lambda path: path == "/sys/fs/cgroup/cpu.max")
    half = io.StringIO("50000 100000\n")
    monkeypatch.setattr(context, "open", lambda path: half, raising=False)
    monkeypatch.delenv(files.THREADS, raising=False)
    assert settings.threads() == 1


def work(address: str, store: str) -> None:
    """A dask worker in a process of its own, whose run store is not ours."""
    os.environ[files.RUNS] = store

    async def serve() -> None:
        async with Worker(address, nthreads=1, host="127.0.0.1", dashboard=False) as worker:
            await worker.finished()

    asyncio.run(serve())


def test_a_killed_dask_worker_costs_no_row(store, alone, tmp_path):
    fresh = multiprocessing.get_context("forkserver")  # torch is imported once for both
    fresh.set_forkserver_preload(["tests.test_parallel"])
    with LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        stores = [str(tmp_path / "first"), str(tmp_path / "second")]
        workers = [fresh.Process(target=work, args=(address, each)) for each in stores]
        try:
            for process in workers:
                process.start()
            cluster.wait_for_workers(2, timeout=180)  # importing torch takes long
            dask = address.replace("tcp://", "dask://")
            kill = workers[0].kill  # as soon as a run has come in
            found = training.run_all(TASKS, cluster=dask, done=lambda n: kill())
        finally:
            for process in workers:
                process.kill()
                process.join()
    assert_same(found, alone, store)
