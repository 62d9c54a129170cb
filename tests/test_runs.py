"""The run store: an equal run is read, a killed one goes on, a full disk is said."""

import multiprocessing
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_helpers import augment, data, training
from cxr_helpers.engine import files, runs
from cxr_helpers.engine.errors import InputError
from cxr_helpers.model import resolve_weights
from cxr_helpers.training import TrainConfig
from tests.conftest import made

OWN = """from torch import nn
BAGIAN = {
    "network": lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU(), nn.Linear(8, 1))
}
"""
TINY = TrainConfig(epochs=4, batch_size=16, own=OWN, seed=5)
SMALL = TrainConfig(epochs=10, batch_size=16, architecture="small_cnn", seed=5)
WEIGHTS = resolve_weights("random")
VAL = replace(made().val, labels=np.arange(16) % 2)  # a riddle: the last epoch is not the best
DATA = replace(made(), val=VAL, extra=data.subset(made().test, 8, 0))


def get(config: TrainConfig = TINY, **how) -> runs.Run:
    return training.run(config, DATA, WEIGHTS, **how)


def fit(**how) -> runs.Outcome:
    return training.fit(TINY, DATA, WEIGHTS, **how)


def assert_same(one: runs.Run, other: runs.Run) -> None:
    assert one.history.equals(other.history)
    assert one.logits.keys() == other.logits.keys()
    for name, values in one.logits.items():
        np.testing.assert_array_equal(values, other.logits[name])


def assert_whole(folder: Path) -> None:
    names = [path.name for path in folder.iterdir()]
    assert "info.json" in names and not [n for n in names if "checkpoint" in n or ".part" in n]


def test_a_run_is_what_was_trained_and_is_read_ever_after(store):
    outcome, asked = fit(), training.task(TINY, DATA, WEIGHTS, "cpu")
    assert not asked.finished
    run = get()
    assert asked.finished and run.identity["data"] == DATA.fingerprint
    assert_whole(store / run.key)
    assert run.history.to_dict("records") == outcome.history
    assert {name.split("_")[0] for name in run.logits} == {"train", "val"}, "the test split waits"
    opened = run.open_test()
    for which in ("best", "last"):
        found = {split: run.logits[f"{split}_{which}"] for split in ("train", "val")}
        found |= {"test": opened[which], "extra": opened[f"extra_{which}"]}
        for split, values in found.items():
            np.testing.assert_array_equal(values, outcome.logits[f"{split}_{which}"].numpy())
        kept = outcome.weights[which]
        assert all(torch.equal(tensor, kept[n]) for n, tensor in run.weights(which).items())
    every = outcome.logits["test"].numpy()
    np.testing.assert_array_equal(opened["epochs"], every)
    info = run.info
    assert info["best_epoch"] == outcome.info["best_epoch"] < 4
    assert info["parameters"] == info["trained_parameters"] == 785 * 8 + 9
    assert info["images_per_second"] == pytest.approx(48 * 4 / info["seconds"])
    again = get(on_epoch=lambda history: pytest.fail("trained again"))
    assert_same(again, run)
    assert again.info == info


def test_a_run_without_weights_says_nothing_of_the_test_split_between(store):
    less = get(keep_weights=False)
    without = less.open_test()
    assert "epochs" not in without and not list(less.folder.glob("*.safetensors"))
    more = get()  # in its place
    for name, values in without.items():
        np.testing.assert_array_equal(values, more.open_test()[name])
    for name, values in less.logits.items():
        np.testing.assert_array_equal(values, more.logits[name])


def test_two_who_ask_for_one_run_get_one_training(store, capsys):
    found = []

    def meanwhile(history: list) -> None:
        if len(history) == 1:
            second.start()
            while "menunggu" not in capsys.readouterr().err:
                time.sleep(0.01)

    second = threading.Thread(target=lambda: found.append(get(on_epoch=found.append)))
    first = get(on_epoch=meanwhile)
    second.join()
    (waited,) = found
    assert_same(waited, first)


@pytest.mark.parametrize("asked", [False, True])
def test_a_checkpoint_goes_on_only_where_its_epochs_hold_what_is_to_be_recorded(tmp_path, asked):
    whole = fit(checkpoint=partial(runs.save_checkpoint, tmp_path), every_epoch=False)
    saved, later = runs.load_checkpoint(tmp_path), []  # of epoch 3
    again = fit(resume=saved, checkpoint=lambda *now: later.append(now[0]), every_epoch=asked)
    assert later == ([1, 2, 3] if asked else [])  # from the first epoch on
    assert len(again.logits.get("test", ())) == (4 if asked else 0)
    assert all(torch.equal(values, again.logits[name]) for name, values in whole.logits.items())


def test_the_key_changes_with_whatever_can_change_the_numbers(monkeypatch):
    """Every setting of TrainConfig, the images and their size, the weights, device and threads."""
    other = {
        "epochs": 3, "batch_size": 8, "optimizer": "adamw", "lr": 1.0, "weight_decay": 0.1,
        "schedule": "cosine", "dropout": 0.1, "architecture": "resnet34", "trainable": "head",
        "augment": ("flip",), "augment_target": "minority", "balance": "sampler",
        "monitor": "loss", "patience": 3, "adaptation": {"reduce": "sum"},
        "precision": "bfloat16", "resize": 64, "clip": 1.0, "average": "ema", "layer_lr": 0.5,
        "unfreeze": 1, "tta": 2, "own": "BAGIAN = {}", "seed": 1,
    }  # fmt: skip
    base = TrainConfig(augment=("geometry",))
    assert other.keys() == asdict(base).keys(), "a new setting needs its line here"

    def key(config=base, dataset=DATA, weights=WEIGHTS, device="cpu"):
        return training.task(config, dataset, weights, device).key

    on_a_gpu = key(device="cuda")
    keys = [
        key(),
        key(dataset=replace(DATA, source=replace(DATA.source, size=64))),
        key(dataset=replace(DATA, extra=None)),
        key(weights=replace(WEIGHTS, digest="lain")),
        on_a_gpu,
        *(key(replace(base, **{name: value})) for name, value in other.items()),
    ]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 99)
    keys.append(key())
    assert len(set(keys)) == len(keys) and {len(one) for one in keys} == {16}
    assert key(device="cuda") == on_a_gpu, "the processor's threads decide nothing there"


def test_prose_changes_nothing_and_edited_code_is_noticed(tmp_path, monkeypatch):
    def said(module, old: str, new: str) -> str | None:
        text = Path(module.__file__).read_text("utf-8")
        assert old in text
        (tmp_path / "edited.py").write_text(text.replace(old, new), "utf-8")
        with monkeypatch.context() as patch:
            patch.setattr(module, "__file__", str(tmp_path / "edited.py"))
            return training.CODE.altered()

    assert said(training, '"""What makes an', '# why\n    """What then makes an') is None
    first = "followed = ()"  # right after a docstring
    assert said(training, first, "followed = (0,)") is not None
    assert said(data, "def take(", "def taken(") is None, "it decides no run's numbers"
    assert said(data, "def to_tensor(images", "def to_tensor(image") is not None
    assert "sedang diubah" in said(training, "import math", "import math (")


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        (training, "EVALUATION_BATCH", 1),
        (training.Fitting, "epoch", lambda self, tick: {}),
        (augment.TRANSFORMS, "flip", lambda images: images + 0.1),
    ],
)
def test_code_that_was_replaced_is_noticed(where, name, value, monkeypatch):
    assert training.CODE.altered() is None
    (monkeypatch.setitem if isinstance(where, dict) else monkeypatch.setattr)(where, name, value)
    assert "diganti" in training.CODE.altered()


def test_altered_code_reads_and_keeps_no_run_and_that_is_said(store, monkeypatch, capsys):
    change = training, "make_criterion", lambda *given: torch.nn.MSELoss()
    with monkeypatch.context() as patch:
        meanwhile = get(on_epoch=lambda history: patch.setattr(*change))
    assert not list(store.glob("*/info.json"))
    kept = get()
    monkeypatch.setattr(*change)
    again = get()
    assert capsys.readouterr().err.count("tidak disimpan") == 2
    for run in (meanwhile, again):
        assert run.key == "" and run.identity["data"] == DATA.fingerprint and len(run.history) == 4
    assert again.weights("last").keys() == {"1.weight", "1.bias", "3.weight", "3.bias"}
    assert not again.history.equals(kept.history)
    assert len(list(store.glob("*/info.json"))) == 1


def test_a_damaged_checkpoint_is_said_and_not_used(tmp_path, capsys):
    fit(checkpoint=partial(runs.save_checkpoint, tmp_path))
    assert len(runs.load_checkpoint(tmp_path)["progress"]["history"]) == 3
    path = tmp_path / runs.CHECKPOINT
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert runs.load_checkpoint(tmp_path) is None
    assert str(path) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["predictions.npz", "history.csv", "info.json"])
def test_a_damaged_result_is_trained_again(store, capsys, name):
    first, seen = get(), []
    path = first.folder / name
    path.write_bytes(path.read_bytes()[:20])
    assert_same(get(on_epoch=lambda history: seen.append(len(history))), first)
    assert seen == [1, 2, 3, 4] and "rusak" in capsys.readouterr().err


@contextmanager
def full_disk(n: int):
    """A file of this process may hold n bytes at most, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_said_and_costs_checkpoints_alone_or_one_line(store, capsys):
    with full_disk(20), pytest.raises(InputError, match="sediakan ruang"):
        get()
    with full_disk(40_000):  # enough for the weights, not for weights and optimizer
        run = get()
    assert run.history.to_dict("records") == fit().history
    assert "Titik simpan epoch 1 tidak dapat ditulis" in capsys.readouterr().err
    assert_whole(run.folder)


def train_until(epoch: int, folder: str) -> None:
    """What the killed process does; it never ends by itself."""
    os.environ[files.RUNS] = folder
    torch.set_num_threads(1)
    get(SMALL, on_epoch=lambda history: time.sleep(600 if len(history) == epoch else 0))


def test_a_killed_training_goes_on_to_the_very_same_numbers(tmp_path, monkeypatch):
    fresh = multiprocessing.get_context("forkserver")  # test_parallel.py's serves here as well
    fresh.set_forkserver_preload(["tests.test_runs"])
    folder = tmp_path / "killed"

    def reached() -> int:
        saved = [runs.load_checkpoint(path.parent) for path in folder.glob(f"*/{runs.CHECKPOINT}")]
        return max((len(state["progress"]["history"]) for state in saved), default=0)

    process = fresh.Process(target=train_until, args=(8, str(folder)))
    process.start()
    while reached() < 4:
        assert process.is_alive(), "it ended before it could be killed"
        time.sleep(0.002)
    process.kill()
    process.join()
    seen, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        monkeypatch.setenv(files.RUNS, str(folder))
        resumed = get(SMALL, on_epoch=lambda history: seen.append(len(history)))
        monkeypatch.setenv(files.RUNS, str(tmp_path / "whole"))
        whole = get(SMALL)
    finally:
        torch.set_num_threads(threads)
    assert seen == list(range(seen[0], 11)) and seen[0] > 4, "it goes on where it was"
    for name in ("history.csv", "predictions.npz", "best.safetensors", "last.safetensors"):
        assert (whole.folder / name).read_bytes() == (resumed.folder / name).read_bytes(), name
    assert_whole(resumed.folder)
