"""The run store: an equal run is read, a killed one goes on, a full disk is said (cxr_helpers/engine/runs.py)."""

import multiprocessing
import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cxr_helpers import data, training
from cxr_helpers.engine import files, runs
from cxr_helpers.engine.errors import InputError
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import Weights, resolve_weights
from tests.conftest import made

EPOCHS = 400  # of the run that is killed: long enough to be killed often
SMALL = TrainConfig(epochs=3, batch_size=16, architecture="small_cnn", seed=5)


@pytest.fixture(scope="module")
def dataset() -> data.Dataset:
    return made()


@pytest.fixture(scope="module")
def weights() -> Weights:
    return resolve_weights("random")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_only_open_test_hands_out_the_test_split(dataset, weights, store):
    run = runs.get(SMALL, dataset, weights)
    assert {name.split("_")[0] for name in run.logits} == {"train", "val"}
    assert not [column for column in run.history.columns if column.startswith("test")]
    opened = run.open_test()
    assert opened["epochs"].shape == (SMALL.epochs, len(dataset.test))
    np.testing.assert_array_equal(opened["last"], opened["epochs"][-1])
    np.testing.assert_array_equal(opened["best"], opened["epochs"][int(run.info["best_epoch"]) - 1])


def test_a_run_without_weights_has_the_same_predictions_but_none_of_the_test_split_between(
    dataset, weights, store
):
    config = replace(SMALL, epochs=4)
    less = runs.get(config, dataset, weights, keep_weights=False)
    without = less.open_test()
    more = runs.get(config, dataset, weights)  # in its place
    assert "epochs" not in without and more.open_test()["epochs"].shape == (4, len(dataset.test))
    for name, values in without.items():
        np.testing.assert_array_equal(values, more.open_test()[name])
    for name, values in less.logits.items():
        np.testing.assert_array_equal(values, more.logits[name])


@pytest.mark.parametrize("recorded", [("val",), training.RECORDED])
def test_a_checkpoint_goes_on_only_where_its_epochs_hold_what_is_to_be_recorded(
    dataset, weights, tmp_path, recorded
):
    config = replace(SMALL, epochs=4)
    whole = training.fit(config, dataset, weights)
    training.fit(
        config,
        dataset,
        weights,
        checkpoint=lambda state: runs.save_checkpoint(tmp_path, state),
        recorded=recorded,
    )
    for asked in (("val",), training.RECORDED):
        saved, later = runs.load_checkpoint(tmp_path), []  # of epoch 3
        again = training.fit(
            config, dataset, weights, resume=saved, recorded=asked, checkpoint=later.append
        )
        assert len(later) == (0 if set(asked) <= set(recorded) else 3)  # from the first epoch on
        assert len(again.progress.logits["test"]) == (4 if "test" in (*asked, *recorded) else 0)
        for name, values in whole.final.items():
            assert torch.equal(values, again.final[name])
    saved = runs.load_checkpoint(tmp_path)
    saved["progress"]["history"] = saved["progress"]["history"][:1]
    runs.save_checkpoint(tmp_path, saved)  # of a training that started over
    assert [path.name for path in tmp_path.glob("checkpoint-*.pt")] == ["checkpoint-0001.pt"]


def test_an_equal_run_is_read_and_not_trained_again(dataset, weights, store, monkeypatch):
    first = runs.get(SMALL, dataset, weights)
    assert {p.name for p in first.folder.iterdir()} == {
        "config.json", "history.csv", "info.json", "predictions.npz", "best.safetensors", "last.safetensors", "lock",
    }  # fmt: skip
    monkeypatch.setattr(
        runs, "training", SimpleNamespace(fit=lambda *a, **k: pytest.fail("trained again"))
    )
    second = runs.get(SMALL, dataset, weights)
    assert second.history.equals(first.history)
    assert second.info == first.info
    assert all(np.array_equal(second.logits[k], v, equal_nan=True) for k, v in first.logits.items())


def test_the_key_follows_what_decides_the_numbers(dataset, weights):
    def key(config=SMALL, dataset=dataset, weights=weights):
        return runs.run_key(runs.identity(config, dataset, weights, "cpu"))

    keys = [
        key(),
        key(replace(SMALL, seed=6)),
        key(replace(SMALL, lr=1e-3)),
        key(dataset=replace(dataset, fingerprint="lain")),
        key(weights=replace(weights, digest="lain")),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_prose_does_not_change_the_code_digest():
    a = runs._without_docstrings('"""Doc."""\n# why\ndef f(x):\n    """Doc."""\n    return x + 1\n')
    b = runs._without_docstrings("def f(x):\n    return x+1  # because\n")
    c = runs._without_docstrings("def f(x):\n    return x + 2\n")
    assert a == b != c


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(
    dataset, weights, tmp_path, capsys
):
    training.fit(
        replace(SMALL, epochs=4),
        dataset,
        weights,
        checkpoint=lambda state: runs.save_checkpoint(tmp_path, state),
    )
    newest = sorted(tmp_path.glob("checkpoint-*.pt"))
    assert [p.name for p in newest] == ["checkpoint-0002.pt", "checkpoint-0003.pt"]
    content = newest[1].read_bytes()
    for damaged in (content[: len(content) // 2], content[:500] + b"x" + content[501:], b""):
        newest[1].write_bytes(damaged)
        state = runs.load_checkpoint(tmp_path)
        assert len(state["progress"]["history"]) == 2
        assert "checkpoint-0003.pt rusak" in capsys.readouterr().err


def test_a_damaged_result_is_trained_again(dataset, weights, store, capsys):
    first = runs.get(SMALL, dataset, weights, keep_weights=False)
    (first.folder / "predictions.npz").write_bytes(b"PK\x03\x04 cut short")
    second = runs.get(SMALL, dataset, weights, keep_weights=False)
    assert second.history.equals(first.history)
    assert "rusak" in capsys.readouterr().err


@pytest.fixture
def limited():
    """limited(n): a file of this process may hold n bytes at most, as on a disk that is full."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda n: resource.setrlimit(resource.RLIMIT_FSIZE, (n, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_too_full_for_checkpoints_is_said_and_training_goes_on(
    dataset, weights, store, limited, capsys
):
    config = replace(SMALL, epochs=3)
    whole = training.fit(config, dataset, weights).progress.history
    limited(600_000)  # enough for the weights, not for weights and optimizer
    run = runs.get(config, dataset, weights)
    assert run.history.to_dict("records") == whole
    assert "Titik simpan epoch 1 tidak dapat ditulis" in capsys.readouterr().err
    assert not list(run.folder.glob("*.part"))


def test_a_disk_too_full_for_the_result_is_one_line_and_the_run_can_be_had_later(
    dataset, weights, store, limited
):
    limited(20)
    with pytest.raises(InputError, match="sediakan ruang"):
        runs.get(SMALL, dataset, weights)
    limited(10**9)
    assert len(runs.get(SMALL, dataset, weights).history) == SMALL.epochs


def train_long(folder: str) -> None:
    """What the killed process does."""
    os.environ[files.RUNS] = folder
    torch.set_num_threads(1)
    runs.get(replace(SMALL, epochs=EPOCHS), made(), resolve_weights("random"))


def test_killed_at_random_moments_it_ends_with_the_very_same_numbers(tmp_path):
    """A real process is killed 24 times while it trains and writes checkpoints.

    History, logits and weights equal an undisturbed one's.
    """
    fresh = multiprocessing.get_context(
        "forkserver"
    )  # its server has torch loaded, so a process is there at once
    fresh.set_forkserver_preload(["tests.test_runs"])
    generator = np.random.default_rng(4)

    def run(name: str, patience: float | None = None) -> bool:
        """Whether the process ended by itself within `patience` seconds of its first sign of life."""
        process = fresh.Process(target=train_long, args=(str(tmp_path / name),))
        process.start()
        process.join(patience)
        ended = process.exitcode is not None
        process.kill()
        process.join()
        return ended and process.exitcode == 0

    assert run("whole")
    kills = 0
    while kills < 24:
        assert not run("killed", float(generator.uniform(0.05, 0.4))), (
            "too short to be killed so often"
        )
        kills += 1
    assert run("killed")
    whole, killed = (next((tmp_path / name).iterdir()) for name in ("whole", "killed"))
    for file in ("history.csv", "predictions.npz", "best.safetensors", "last.safetensors"):
        assert (whole / file).read_bytes() == (killed / file).read_bytes(), file
    assert not list(killed.glob("*.part")) and not list(killed.glob("checkpoint-*"))
