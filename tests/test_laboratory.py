"""The laboratory of notebook 04: it asks for a guess, trains, and sets the result beside it."""

import signal

import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxr_helpers import experiments, panels
from cxr_helpers.engine import runs, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import number, signed
from cxr_helpers.evaluation import MARGIN
from cxr_helpers.experiments import duga
from cxr_helpers.model import resolve_weights
from cxr_helpers.study import Study
from tests.conftest import made


@pytest.fixture
def bench(store, tmp_path):
    """A laboratory over 80 images and two epochs, with a run store of its own."""
    data, preset, cpu = made(), settings.PRESETS["smoke"], torch.device("cpu")
    weights = resolve_weights("random")
    study = Study(data, data, weights, preset, 0, cpu, "float32", tmp_path, "", 0.0)
    return panels.Laboratory(study)


def press(bench, guess: str = "naik") -> None:
    bench.guess.value = guess
    bench.button.click()


def test_a_training_stands_beside_its_guess_judged_by_validation_alone(bench, monkeypatch):
    monkeypatch.setattr(runs.Run, "open_test", lambda run: pytest.fail("the test split was opened"))
    assert bench.button.disabled and not bench.lines
    bench.controls["dropout"].value = 0.5
    press(bench, "naik")
    first = bench.picture.value
    assert "data:image/svg+xml" in first and bench.picture.layout.display is None
    assert bench.button.disabled, "the next guess is a new one"
    val = bench.study.used.val.labels
    ours, theirs = (
        experiments.train(bench.study, experiments.Recipe(panels.PARTNER.changed() | changes))
        for changes in ({"dropout": 0.5}, {})
    )
    aucs = [roc_auc_score(val, result.runs[0].logits["val_last"]) for result in (ours, theirs)]
    assert bench.lines[0]["AUC validasi"] == number(aucs[0])
    assert bench.lines[0]["Selisih"].startswith(f"{signed(aucs[0] - aucs[1])} (IK 95%")
    bench.controls["batch_size"].value = 8
    press(bench, "sama")
    assert bench.picture.value != first
    assert [line["Dugaan"] for line in bench.lines] == ["naik", "sama"]
    assert "dropout 0,5; ukuran batch 8" in bench.table.value
    assert "dari 2 dugaan" in bench.said.value


def test_an_interrupt_of_the_kernel_stops_after_the_epoch_and_it_goes_on(bench, monkeypatch):
    """The kernel ignores the signal while it runs no cell."""
    follow, met = panels.Follower.__call__, []

    def signalled(self, history):
        follow(self, history)
        met.append(len(history))
        if len(met) == 3:  # the first epoch of the choice, after both of the partner
            signal.raise_signal(signal.SIGINT)

    bench.controls["dropout"].value = 0.2
    monkeypatch.setattr(panels.Follower, "__call__", signalled)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        press(bench, "turun")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Dihentikan" in bench.said.value and not bench.lines
    assert not any(one.disabled for one in (bench.button, *bench.controls.values()))
    bench.button.click()
    assert met == [1, 2, 1, 2] and bench.lines[0]["Dugaan"] == "turun"


def test_the_time_left_is_that_of_the_epochs_left_also_of_one_resumed():
    shown, row = [], dict.fromkeys(("train_loss", "val_loss", "train_acc", "val_acc", "val_auc"), 1)
    follower = panels.Follower(shown.append, experiments.TrainConfig(epochs=10), [])
    follower.begun -= 60  # the one epoch since
    follower([row | {"epoch": epoch} for epoch in range(1, 10)])
    assert "Epoch 9 dari 10; sisa waktu 1 menit" in shown[0].get_suptitle()


def test_what_is_wrong_is_said_in_the_panel(bench, monkeypatch):
    def refuse(*given, **named):
        raise InputError("Turunkan learning rate.")

    bench.controls["dropout"].value = 0.8
    monkeypatch.setattr(experiments, "train", refuse)
    press(bench)
    assert bench.said.value == "Turunkan learning rate." and not bench.button.disabled


@pytest.mark.parametrize(
    ("guess", "value", "p", "said"),
    [
        ("naik", 0.03, None, "searah"),
        ("naik", 0.0, None, "tidak searah"),
        ("sama", -0.99 * MARGIN["auc"], None, "searah"),
        ("sama", MARGIN["auc"], None, "tidak searah"),
        ("naik", 0.03, 0.01, "sesuai"),
    ],
)
def test_few_seeds_give_a_direction_and_more_a_verdict(guess, value, p, said):
    found = {"value": value, "ci95": (value - 0.02, value + 0.02), "p": p}
    assert panels.came_true(duga(guess), found) == said
