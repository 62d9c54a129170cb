"""Trainings on several processes, and on a real dask cluster of which one worker is killed."""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from cxr_helpers.engine import files, owncode, parallel, runs, runtime, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import resolve_weights
from tests.conftest import ROOT, made

CONFIGS = [
    TrainConfig(epochs=20, batch_size=16, architecture="small_cnn", seed=seed) for seed in range(6)
]
CPU = torch.device("cpu")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def tasks(monkeypatch, tmp_path) -> list[parallel.Task]:
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    dataset = made()
    return [(config, dataset) for config in CONFIGS]


@pytest.fixture(scope="module")
def alone(one_thread, tmp_path_factory) -> list[runs.Run]:
    """The same trainings in this process, in a store of their own."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(files.RUNS, str(tmp_path_factory.mktemp("alone")))
        return parallel.train(
            [(config, made()) for config in CONFIGS], resolve_weights("random"), CPU
        )


def assert_same(found: list[runs.Run], expected: list[runs.Run]) -> None:
    assert [run.key for run in found] == [run.key for run in expected]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.history.equals(theirs.history)
        assert all(
            np.array_equal(ours.logits[k], v, equal_nan=True) for k, v in theirs.logits.items()
        )


def test_a_forecast_counts_what_is_missing_once_and_grows_with_epochs(tasks):
    start = resolve_weights("random")
    asked = [(config, data, start) for config, data in [*tasks[:3], tasks[0]]]
    n, seconds = parallel.forecast(asked, CPU)
    assert n == 3 and seconds > 0
    parallel.train(tasks[:2], start, CPU)
    began = time.perf_counter()
    parallel.train(tasks[2:3], start, CPU)
    spent = time.perf_counter() - began
    longer = [(replace(tasks[3][0], epochs=2000), tasks[3][1], start)]
    assert (
        parallel.forecast(longer, CPU)[1] > 10 * spent
    )  # a hundred times the epochs; other work on the machine may disturb
    assert parallel.forecast(asked, CPU) == (0, 0.0)


def test_a_repeated_class_is_counted_as_often_as_it_is_visited(tasks):
    config, data = tasks[0]
    assert parallel._visited(config, data) == 48
    rarer = int((data.train.labels == 0).sum())
    assert parallel._visited(replace(config, balance="repeat"), data) == 2 * (48 - rarer)


def test_two_processes_give_the_very_numbers_of_one_and_the_order_of_the_tasks(tasks, alone):
    told = []
    found = parallel.train(
        [*tasks, tasks[0]], resolve_weights("random"), CPU, n_jobs=2, done=told.append
    )
    assert_same(found, [*alone, alone[0]])
    assert sum(told) >= len(tasks)


def test_what_the_store_holds_is_not_sent_to_a_worker(tasks, monkeypatch):
    weights = resolve_weights("random")
    first = parallel.train(tasks[:2], weights, CPU)
    monkeypatch.setattr(parallel, "_backend", lambda *a: pytest.fail("asked a worker"))
    assert_same(parallel.train(tasks[:2], weights, CPU, n_jobs=2), first)


@pytest.mark.parametrize(("threads", "cores", "each"), [(2, 2, 1), (4, 8, 4), (3, 2, 1), (1, 8, 1)])
def test_processes_share_the_cores_and_give_the_threads_back(
    tasks, monkeypatch, threads, cores, each
):
    monkeypatch.setattr(runtime, "cores", lambda: cores)
    torch.set_num_threads(threads)
    try:
        with parallel.sharing(2, CPU) as at_a_time:
            assert (torch.get_num_threads(), at_a_time) == (each, 2)
        with parallel.sharing(2, CPU, "dask://127.0.0.1:1") as at_a_time:
            assert (torch.get_num_threads(), at_a_time) == (threads, 1)
        (run,) = parallel.train(tasks[:1], resolve_weights("random"), CPU, n_jobs=2)
        assert json.loads((run.folder / "config.json").read_text())["threads"] == each
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(1)


def test_an_error_of_a_training_comes_back_as_one_line(tasks):
    config, dataset = tasks[0]
    with pytest.raises(InputError, match="Turunkan learning rate"):
        parallel.train(
            [(replace(config, lr=1e30), dataset)], resolve_weights("random"), CPU, n_jobs=2
        )


# --- dask -----------------------------------------------------------------------------------------------------------


@contextmanager
def started(*words: str, **environment: str):
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler():
    """The address of a dask scheduler of its own on the loopback address."""
    words = "distributed.cli.dask_scheduler --host 127.0.0.1 --port 0 --no-dashboard --no-show"
    with started(*words.split()) as process:
        for line in process.stderr:
            if found := re.search(r"Scheduler at:\s+tcp://(127\.0\.0\.1:\d+)", line):
                break
        else:
            pytest.fail("the scheduler did not start")
        yield found[1]


def worker(address: str, **environment: str):
    words = f"distributed.cli.dask_worker tcp://{address} --host 127.0.0.1 --nthreads 1 --no-nanny --no-dashboard"
    return started(*words.split(), "--preload", str(ROOT / "tests/dask_preload.py"), **environment)


def wait_for_workers(address: str, n: int) -> None:
    from distributed import Client

    with Client(f"tcp://{address}", set_as_default=False) as client:
        client.wait_for_workers(n, timeout=180)  # importing torch takes long on a busy computer


def test_a_killed_dask_worker_costs_no_row_and_no_run_is_computed_twice(
    scheduler, tasks, alone, tmp_path
):
    log = tmp_path / "log"
    log.touch()
    # The workers' store is not ours, as on a cluster without a shared disk: the runs must come over.
    environment = {
        "CXR_TEST_LOG": str(log),
        files.RUNS: str(tmp_path / "elsewhere"),
        "OMP_NUM_THREADS": "1",
    }
    killed = []

    with worker(scheduler, **environment) as first, worker(scheduler, **environment):
        wait_for_workers(scheduler, 2)

        def kill_the_first_while_it_trains(_) -> None:
            """Called as runs come in: the other worker is at work then, and so is the first."""
            last = [
                line.split()
                for line in log.read_text().splitlines()
                if line.endswith(f" {first.pid}")
            ]
            if not killed and last and last[-1][0] == "begin":
                killed.append(last[-1][1])
                first.kill()

        found = parallel.train(
            tasks,
            resolve_weights("random"),
            CPU,
            cluster=f"dask://{scheduler}",
            done=kill_the_first_while_it_trains,
        )
    assert killed, "no worker was killed in the middle of a run"
    assert_same(found, alone)
    assert {run.folder.parent for run in found} == {tmp_path / "runs"}
    lines = [line.split() for line in log.read_text().splitlines()]
    assert Counter(key for word, key, _ in lines if word == "end") == Counter(
        run.key for run in found
    )
    begun = Counter(key for word, key, _ in lines if word == "begin")
    assert begun == Counter(run.key for run in found) + Counter(
        killed
    )  # the interrupted run alone was taken up again


OWN = """
from torch import nn

class Tiny(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, images):
        return self.layers(images)

def darker(images):
    return images - 0.1
"""


def test_own_code_goes_to_a_dask_worker_as_text_and_gives_the_same_numbers(
    scheduler, monkeypatch, tmp_path
):
    """The worker has never seen the student's file: it gets its text, and sends plain arrays back."""
    (tmp_path / "milik.py").write_text(OWN)
    mine = owncode.load(tmp_path / "milik.py")

    def program(**parts) -> str:
        return owncode.program(parts, sys._getframe(1))

    own = program(network=mine.Tiny, augment=[mine.darker])
    tasks = [
        (TrainConfig(epochs=2, batch_size=16, own=own, seed=seed), made()) for seed in range(2)
    ]
    monkeypatch.setenv(files.RUNS, str(tmp_path / "di sini"))
    here = parallel.train(tasks, resolve_weights("random"), CPU)
    (tmp_path / "milik.py").unlink()
    monkeypatch.setenv(files.RUNS, str(tmp_path / "dari sana"))
    environment = {
        "CXR_TEST_LOG": str(tmp_path / "log"),
        files.RUNS: str(tmp_path / "elsewhere"),
        "OMP_NUM_THREADS": "1",
    }
    with worker(scheduler, **environment):
        wait_for_workers(scheduler, 1)
        there = parallel.train(tasks, resolve_weights("random"), CPU, cluster=f"dask://{scheduler}")
    assert_same(there, here)
    assert {run.folder.parent for run in there} == {tmp_path / "dari sana"}
    assert all("class Tiny" in (run.folder / "code.py").read_text("utf-8") for run in there)


def test_a_cluster_that_does_not_answer_or_has_no_worker_is_said_in_one_line(
    scheduler, tasks, monkeypatch
):
    monkeypatch.setattr(parallel, "CONNECT_SECONDS", 2)
    weights = resolve_weights("random")
    with pytest.raises(InputError, match="tidak menjawab"):
        parallel.train(tasks, weights, CPU, cluster="dask://127.0.0.1:9")
    with pytest.raises(InputError, match="tidak ada pekerja"):
        parallel.train(tasks, weights, CPU, cluster=f"dask://{scheduler}")


@pytest.mark.parametrize(
    "given",
    [
        ("abc", ""),
        ("0", ""),
        ("-1", ""),
        (1, "10.0.0.5:8786"),
        (1, "dask://nohost"),
        (2, "ray://a:1"),
    ],
)
def test_unusable_settings_are_refused(given):
    with pytest.raises(InputError, match="tidak dapat dipakai"):
        settings.parse_jobs(*given)


def test_usable_settings():
    assert settings.parse_jobs("4", "dask://10.0.0.5:8786") == (4, "dask://10.0.0.5:8786")
    assert settings.parse_jobs("", "") == (1, "")
