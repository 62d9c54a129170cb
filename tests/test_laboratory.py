"""The laboratory of notebook 04: it asks for a guess, trains, sets the result beside it, and survives an interruption."""

import signal
import threading
import time
from types import SimpleNamespace

import pytest
import torch

from cxr_helpers import experiments, laboratory
from cxr_helpers.comparison import Difference
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.experiments import duga
from cxr_helpers.study import Study
from cxr_helpers.weights import resolve_weights
from tests.conftest import made


@pytest.fixture
def bench(tmp_path, monkeypatch):
    """A laboratory over 80 images and two epochs, with a run store of its own."""
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    data, preset = made(), settings.PRESETS["smoke"]
    weights = resolve_weights("random")
    study = Study(
        data, data, weights, preset, 0, torch.device("cpu"), "float32", tmp_path, "", time.time()
    )
    return laboratory.Laboratory(study)


def press(bench, guess: str = "naik") -> None:
    bench.guess.value = guess
    bench.button.click()


def test_every_choice_is_a_training_of_its_own(bench):
    """The picture of a trial must change with each control, so each value of each control must change what is trained."""
    usual = bench._chosen()
    for label, control in bench.controls.items():
        seen = [usual]
        for option in control.options:
            if option != laboratory.USUAL.get(label, "0"):
                control.value = option
                assert bench._chosen() not in seen, (label, option)
                seen.append(bench._chosen())
        control.value = laboratory.USUAL.get(label, "0")
    assert bench._chosen() == usual == bench._plain()


def test_nothing_is_trained_without_a_guess(bench):
    assert bench.button.disabled and not bench.trials
    bench.guess.value = "turun"
    assert not bench.button.disabled


def test_a_training_stands_beside_its_guess_and_under_the_curves_before_it(bench):
    bench.controls["Dropout"].value = "0,5"
    press(bench, "naik")
    first = bytes(bench.picture.value)
    assert first.startswith(b"\x89PNG") and bench.picture.layout.display is None
    assert bench.guess.value == laboratory.NOT_YET and bench.button.disabled, (
        "the next guess is a new one"
    )
    bench.controls["Ukuran batch"].value = "8"
    press(bench, "sama")
    assert bytes(bench.picture.value) != first
    assert (
        "dropout 0,5; ukuran batch 8" in bench.table.value and "dropout 0,5<" in bench.table.value
    )
    assert [trial.guess for trial in bench.trials] == [
        "naik",
        "sama",
    ] and "dari 2 dugaan" in bench.said.value


def test_only_validation_images_are_judged(bench, monkeypatch):
    monkeypatch.setattr(
        "cxr_helpers.engine.runs.Run.open_test",
        lambda run: pytest.fail("the test split was opened"),
    )
    bench.controls["Jadwal"].value = "kosinus"
    press(bench)
    (trial,) = bench.trials
    logits = [run.logits["val_last"] for run in experiments.train(bench.study, recipe(bench)).runs]
    val = bench.study.used.val
    positive, negative = logits[0][val.labels == 1], logits[0][val.labels == 0]
    assert trial.auc == pytest.approx((positive[:, None] > negative).mean())


def recipe(bench) -> experiments.Recipe:
    (config,) = bench._chosen()
    return experiments.Recipe(config.changed())


def test_the_partner_itself_is_refused(bench):
    press(bench)
    assert "sama dengan pembandingnya" in bench.said.value and not bench.trials
    bench.controls["Seed"].value = "1"
    press(bench)
    assert len(bench.trials) == 1 and bench.trials[0].title == "tanpa perubahan"


def test_an_interrupted_training_leaves_the_panel_usable_and_goes_on(bench, monkeypatch):
    follow, met = laboratory.live.Follower.__call__, []

    def interrupted(self, history):
        follow(self, history)
        met.append(len(history))
        if len(met) == 3:  # the first epoch of the choice, after both of the partner
            raise KeyboardInterrupt

    bench.controls["Dropout"].value = "0,2"
    monkeypatch.setattr(laboratory.live.Follower, "__call__", interrupted)
    press(bench, "turun")
    assert "Dihentikan" in bench.said.value and not bench.trials
    assert not bench.button.disabled and not any(
        control.disabled for control in bench.controls.values()
    )
    bench.button.click()
    assert met == [1, 2, 1, 2] and bench.trials[0].guess == "turun"


def test_an_interrupt_of_the_kernel_stops_after_the_epoch(bench, monkeypatch):
    """The kernel ignores the signal while it runs no cell."""
    follow, met = laboratory.live.Follower.__call__, []

    def signalled(self, history):
        follow(self, history)
        met.append(len(history))
        if len(met) == 1:
            signal.raise_signal(signal.SIGINT)

    bench.controls["Dropout"].value = "0,2"
    monkeypatch.setattr(laboratory.live.Follower, "__call__", signalled)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        press(bench)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert met == [1] and "Dihentikan" in bench.said.value and not bench.button.disabled


def test_curves_take_a_tenth_of_the_time_at_most(bench, monkeypatch):
    """On a slow computer a picture takes longer than an epoch of the small CNN: training must not wait for its own curve."""
    clock, shown = [0.0], []

    def show(figure):
        clock[0] += 2
        shown.append(clock[0])

    monkeypatch.setattr(laboratory.live, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    config = bench.study.config(epochs=100)
    follower = laboratory.live.Follower(show, config, 1)
    row = {"epoch": 1, "train_loss": 0.7, "val_loss": 0.7}
    for epoch in range(1, 101):
        clock[0] += 1  # an epoch
        follower([row] * epoch)
    trained = 100
    assert len(shown) * 2 <= 0.1 * clock[0] + 4, (
        "more than a tenth, the first and the last picture aside"
    )
    assert len(shown) >= 0.05 * trained, "the curve does not move"
    assert clock[0] == shown[-1], "the last epoch is shown"


def test_what_a_subshell_asks_for_is_done_where_cells_run(monkeypatch):
    """JupyterLab answers widgets in another thread than the main one, which hands the work on to the kernel's loop."""
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
        raise InputError("loss tidak lagi berupa bilangan terhingga.")

    bench.controls["Dropout"].value = "0,8"
    monkeypatch.setattr(experiments, "train", refuse)
    press(bench)
    assert (
        bench.said.value == "loss tidak lagi berupa bilangan terhingga."
        and not bench.button.disabled
    )


def test_the_time_is_said_beforehand_and_a_kept_training_needs_none(bench):
    assert "sama dengan pembandingnya" in bench.time.value
    bench.controls["Jaringan"].value = "ResNet-18"
    assert (
        "pilihan Anda sekitar" in bench.time.value and "pembandingnya sekitar" in bench.time.value
    )
    bench.controls["Jaringan"].value, bench.controls["Dropout"].value = "CNN kecil", "0,5"
    press(bench)
    assert "sudah tersimpan" in bench.time.value and "pembandingnya" not in bench.time.value


def test_a_longer_training_is_estimated_longer(bench):
    study = bench.study
    short = laboratory.seconds_needed(study, study.config(architecture="small_cnn", epochs=2))
    long = laboratory.seconds_needed(study, study.config(architecture="small_cnn", epochs=200))
    assert long > 10 * short > 0


@pytest.mark.parametrize(
    ("guess", "value", "p", "said"),
    [
        ("naik", 0.03, None, "searah"),
        ("turun", 0.03, None, "tidak searah"),
        ("sama", 0.004, None, "searah"),
        ("sama", -0.03, None, "tidak searah"),
        ("naik", 0.03, 0.01, "sesuai"),
        ("turun", 0.03, 0.01, "tidak sesuai"),
        ("naik", 0.01, 0.2, "belum dapat diputuskan"),
    ],
)
def test_few_seeds_give_a_direction_and_more_a_verdict(guess, value, p, said):
    found = Difference(value, (value - 0.02, value + 0.02), p, 0.01, None, None)
    assert laboratory.came_true(duga(guess), found) == said
