"""The laboratory of notebook 04: it asks for a guess, trains, and sets the result beside it."""

import signal
import threading
from types import SimpleNamespace

import pytest
import torch
from sklearn.metrics import roc_auc_score

from cxr_helpers import experiments, laboratory, live
from cxr_helpers.comparison import MARGIN, Difference
from cxr_helpers.engine import files, runs, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.experiments import duga
from cxr_helpers.study import Study
from cxr_helpers.weights import resolve_weights
from tests.conftest import made


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A laboratory over 80 images and two epochs, with a run store of its own."""
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    data, preset, cpu = made(), settings.PRESETS["smoke"], torch.device("cpu")
    weights = resolve_weights("random")
    study = Study(data, data, weights, preset, 0, cpu, "float32", tmp_path, "", 0.0)
    return laboratory.Laboratory(study)


def press(bench, guess: str = "naik") -> None:
    bench.guess.value = guess
    bench.button.click()


def test_every_choice_is_a_training_of_its_own(bench, monkeypatch):
    monkeypatch.setattr(laboratory, "seconds_needed", lambda study, config: 1.0)
    usual = bench._chosen()
    for label, control in bench.controls.items():
        seen, before = [usual], control.value
        for option in control.options:
            if option != before:
                control.value = option
                assert bench._chosen() not in seen, (label, option)
                seen.append(bench._chosen())
        control.value = before
    assert bench._chosen() == usual == bench._plain()


def test_a_training_stands_beside_its_guess_judged_by_validation_alone(bench, monkeypatch):
    monkeypatch.setattr(runs.Run, "open_test", lambda run: pytest.fail("the test split was opened"))
    assert bench.button.disabled and not bench.trials
    bench.controls["Dropout"].value = "0,5"
    press(bench, "naik")
    first = bytes(bench.picture.value)
    assert first.startswith(b"\x89PNG") and bench.picture.layout.display is None
    assert bench.button.disabled, "the next guess is a new one"
    val = bench.study.used.val.labels
    ours, theirs = (
        experiments.train(bench.study, experiments.Recipe(laboratory.BASE | changes)).runs[0]
        for changes in ({"dropout": 0.5}, {})
    )
    (trial,) = bench.trials
    aucs = [roc_auc_score(val, run.logits["val_last"]) for run in (ours, theirs)]
    assert trial.auc == pytest.approx(aucs[0])
    assert trial.found.value == pytest.approx(aucs[0] - aucs[1])
    bench.controls["Ukuran batch"].value = "8"
    press(bench, "sama")
    assert bytes(bench.picture.value) != first
    titles = ["dropout 0,5", "dropout 0,5; ukuran batch 8"]
    assert [(trial.title, trial.guess) for trial in bench.trials] == [
        (titles[0], "naik"),
        (titles[1], "sama"),
    ]
    assert titles[1] in bench.table.value and "dari 2 dugaan" in bench.said.value


def test_the_partner_itself_is_refused(bench):
    press(bench)
    assert bench.said.value == laboratory.ITSELF and not bench.trials


def test_an_interrupt_of_the_kernel_stops_after_the_epoch_and_it_goes_on(bench, monkeypatch):
    """The kernel ignores the signal while it runs no cell."""
    follow, met = live.Follower.__call__, []

    def signalled(self, history):
        follow(self, history)
        met.append(len(history))
        if len(met) == 3:  # the first epoch of the choice, after both of the partner
            signal.raise_signal(signal.SIGINT)

    bench.controls["Dropout"].value = "0,2"
    monkeypatch.setattr(live.Follower, "__call__", signalled)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        press(bench, "turun")
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert "Dihentikan" in bench.said.value and not bench.trials
    assert not any(one.disabled for one in (bench.button, *bench.controls.values()))
    bench.button.click()
    assert met == [1, 2, 1, 2] and bench.trials[0].guess == "turun"


def test_curves_take_a_tenth_of_the_time_at_most(bench, monkeypatch):
    """On a slow computer a picture takes longer than an epoch: training must not wait for it."""
    clock, shown = [0.0], []

    def show(figure):
        clock[0] += 2
        shown.append(clock[0])

    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    follower = live.Follower(show, bench.study.config(epochs=100), 1)
    for epoch in range(1, 101):
        clock[0] += 1  # an epoch
        follower([{"epoch": 1, "train_loss": 0.7, "val_loss": 0.7}] * epoch)
    assert len(shown) >= 5 and 2 * len(shown) <= 0.1 * clock[0] + 4, "but for the first and last"
    assert clock[0] == shown[-1], "the last epoch is shown"


def test_what_a_subshell_asks_for_is_done_where_cells_run(monkeypatch):
    """JupyterLab answers widgets in another thread, which hands the work to the kernel's loop."""
    handed, done = [], []
    kernel = SimpleNamespace(io_loop=SimpleNamespace(add_callback=handed.append))
    monkeypatch.setattr(laboratory, "get_ipython", lambda: SimpleNamespace(kernel=kernel))
    laboratory._in_main_thread(lambda: done.append("here"))
    thread = threading.Thread(target=laboratory._in_main_thread, args=(done.append,))
    thread.start()
    thread.join()
    assert done == ["here"] and handed == [done.append]


def test_what_is_wrong_is_said_in_the_panel(bench, monkeypatch):
    def refuse(*given, **named):
        raise InputError("Turunkan learning rate.")

    bench.controls["Dropout"].value = "0,8"
    monkeypatch.setattr(experiments, "train", refuse)
    press(bench)
    assert bench.said.value == "Turunkan learning rate." and not bench.button.disabled


def test_the_time_is_said_beforehand_and_a_kept_training_needs_none(bench):
    assert bench.time.value == laboratory.ITSELF
    bench.controls["Dropout"].value = "0,5"
    assert "pilihan Anda sekitar" in bench.time.value
    assert "pembandingnya sekitar" in bench.time.value
    for changes in ({}, {"dropout": 0.5}):
        experiments.train(bench.study, experiments.Recipe(laboratory.BASE | changes))
    for choice in ("0", "0,5"):
        bench.controls["Dropout"].value = choice
    assert "sudah tersimpan" in bench.time.value and "pembandingnya" not in bench.time.value
    short, long = (
        laboratory.seconds_needed(bench.study, bench.study.config(epochs=n, **laboratory.BASE))
        for n in (2, 200)
    )
    assert long > 10 * short > 0


@pytest.mark.parametrize(
    ("guess", "value", "p", "said"),
    [
        ("naik", 0.03, None, "searah"),
        ("naik", 0.0, None, "tidak searah"),
        ("turun", -0.03, None, "searah"),
        ("turun", 0.0, None, "tidak searah"),
        ("sama", -0.99 * MARGIN["auc"], None, "searah"),
        ("sama", MARGIN["auc"], None, "tidak searah"),
        ("naik", 0.03, 0.01, "sesuai"),
        ("turun", 0.03, 0.01, "tidak sesuai"),
        ("naik", 0.01, 0.2, "belum dapat diputuskan"),
    ],
)
def test_few_seeds_give_a_direction_and_more_a_verdict(guess, value, p, said):
    found = Difference(value, (value - 0.02, value + 0.02), p, 0.01, None, None)
    assert laboratory.came_true(duga(guess), found) == said
