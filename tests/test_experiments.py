"""What students try (notebook 05) is trained and told from the rest; what is wrong is one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cxr_helpers import evaluation, experiments, model
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.experiments import Experiment, Guess, duga
from cxr_helpers.model import resolve_weights
from cxr_helpers.study import Study
from tests.conftest import made

MINE = """
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, lr_scheduler


class Net(nn.Module):
    def __init__(self, width=8, outputs=1):
        super().__init__()
        self.conv, self.drop = nn.Conv2d(1, width, 3), nn.Dropout(0.2)
        self.fc = nn.Linear(width, outputs)

    def forward(self, x):
        return self.fc(self.drop(F.relu(self.conv(x)).mean((2, 3))))


def smoothed(z, y):
    return F.binary_cross_entropy_with_logits(z, 0.9 * y + 0.05)


def noise_both(x, y):
    return x + 0.1 * torch.randn_like(x), y
"""


class Small(Study):
    """Whose recipe takes the small CNN."""

    def config(self, **changes):
        return super().config(**{"architecture": "small_cnn", **changes})


@pytest.fixture(scope="module")
def small() -> Study:
    """A study on 48 tiny images, two epochs."""
    dataset, weights = made(), resolve_weights("random")
    where = (torch.device("cpu"), "float32", Path("build"), "sekarang", 0.0)
    return Small(dataset, dataset, weights, settings.PRESETS["smoke"], 0, *where)


@pytest.fixture(scope="module")
def mine(tmp_path_factory, small):
    path = tmp_path_factory.mktemp("mine") / "mine.py"
    path.write_text(MINE)
    return small.load(path)


OWN = {
    "network": lambda s, m: s.train(network=lambda: m.Net(4)),
    "optimizer": lambda s, m: s.train(network=m.Net, optimizer=m.partial(m.SGD, momentum=0.9)),
    "schedule": lambda s, m: s.train(network=m.Net, schedule=m.lr_scheduler.CosineAnnealingLR),
    "loss": lambda s, m: s.train(network=m.Net, loss=m.nn.HuberLoss(delta=0.5)),
    "loss function": lambda s, m: s.train(network=m.Net, loss=m.smoothed),
    "augmentation": lambda s, m: s.train(network=m.Net, augment=[m.noise_both, "flip"]),
}


@pytest.mark.parametrize("name", OWN)
def test_parts_of_ones_own_are_trained_and_kept_with_their_text(name, small, mine):
    run = OWN[name](small, mine).runs[0]
    assert np.isfinite(run.history.to_numpy()).all()
    assert (files.runs_folder() / run.key / "code.py").read_text() == run.config.own
    before = (run.folder / "info.json").stat().st_mtime_ns
    again = OWN[name](small, mine).runs[0]
    assert again.key == run.key and (again.folder / "info.json").stat().st_mtime_ns == before
    plain = small.train(network=mine.Net).runs[0]
    assert run.key != plain.key
    assert not np.array_equal(run.logits["val_last"], plain.logits["val_last"])


def test_every_seed_starts_fresh_and_a_run_is_the_start_of_another(small, mine, store):
    first = small.train(2, network=mine.Net, lr=0.01)
    assert [run.config.seed for run in first.runs] == [0, 1]
    assert not np.array_equal(*(run.logits["val_last"] for run in first.runs))
    second = small.train(network=mine.Net, lr=1e-9, start=first)
    for name, tensor in first.runs[0].weights("best").items():
        torch.testing.assert_close(second.runs[0].weights("last")[name], tensor, atol=1e-5, rtol=0)
    assert second.runs[0].key != small.train(network=mine.Net, lr=1e-9).runs[0].key
    with pytest.raises(InputError, match="jaringan lain"):
        small.train(network=lambda: mine.Net(4), start=first)


WRONG = {
    r"\(16, 2\)": lambda s, m: s.train(network=lambda: m.Net(outputs=2)),
    "sigmoid": lambda s, m: s.train(network=lambda: m.nn.Sequential(m.Net(), m.nn.Sigmoid())),
    "BCELoss .*pakai": lambda s, m: s.train(network=m.Net, loss=m.nn.BCELoss()),
    "Gradien": lambda s, m: s.train(network=lambda: m.nn.Sequential(m.Net(), m.nn.Threshold(9, 0))),
    "batch_size": lambda s, m: s.train(network=lambda: m.torch.zeros(10**15)),
    "optimizer: berikan": lambda s, m: s.train(
        network=m.Net, optimizer=m.SGD(m.Net().parameters())
    ),
    "colour": lambda s, m: s.train(network=lambda: m.Net(colour=3)),
    "maksud Anda lr": lambda s, m: s.train(learning_rate=0.1),
    "seeds=0": lambda s, m: s.train(seeds=0),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_one_indonesian_line(words, small, mine):
    with pytest.raises(InputError, match=words) as found:
        WRONG[words](small, mine)
    assert "\n" not in str(found.value)


def test_a_network_with_room_memorises_and_one_without_does_not(small, mine, capsys):
    small.check(lr=3e-3, memorise=True)
    assert "100,0%" in capsys.readouterr().out
    small.check(network=mine.Net, lr=1e-9, memorise=True)
    assert "periksa loss" in capsys.readouterr().out


def test_torchvisions_networks_take_one_channel_and_give_one_logit():
    network = model.classifier("densenet121", 28)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 1)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert (first.kernel_size, first.stride) == ((3, 3), (1, 1))


def test_experiments_are_compared_with_the_recipe_and_guesses_with_what_came_out(small, mine):
    rows = [
        Experiment("Satu", "Alasan.", duga("turun", 0.01), network=mine.Net),
        Experiment("Dua", guess=duga("sama", ukuran="kesenjangan"), dropout=0.3),
    ]
    found = experiments.run_all(small, rows, 3).as_dict()
    base, first, second = found["variants"]
    assert [row["title"] for row in (first, second)] == ["Satu", "Dua"]
    assert found["partner"] == "own" and base["seeds"] == [0]
    assert first["changed"] == {"network": "mine.Net"} and second["changed"] == {"dropout": 0.3}
    guesses = found["guesses"]
    assert guesses[0]["size"] == -0.01 and guesses[1]["direction"] == "across"
    assert guesses[0]["value"] == first["predicts"]["value"]
    assert guesses[1]["value"] == second["overfits"]["value"]
    assert len(found["ensembles"][0]["seeds"]) == 3


def test_a_mistake_in_the_last_shows_before_the_first_is_trained(small, mine, store, capsys):
    rows = [Experiment("Satu", dropout=0.3), Experiment("Dua", network=lambda: mine.Net(colour=3))]
    with pytest.raises(InputError, match="colour"):
        experiments.run_all(small, rows, 2)
    assert not list(store.glob("*/info.json")) and not capsys.readouterr().out


def test_a_result_on_other_images_is_not_judged_by_this_studys_labels(small, mine, store, capsys):
    shuffled = np.random.default_rng(0).permutation(16)
    test = small.used.test
    part = {name: getattr(test, name)[shuffled] for name in ("images", "labels", "rows")}
    other = replace(small, used=replace(small.used, test=replace(test, **part)))
    kept = small.train(network=mine.Net)
    parts = {"network": mine.Net()}
    unkept = small.train(**parts)  # no text identifies it
    assert "tidak akan disimpan" in capsys.readouterr().err
    assert unkept.runs[0].key == "" and len(list(store.glob("*/info.json"))) == 1
    for result in (kept, unkept):
        with pytest.raises(InputError, match="x: dilatih dengan data lain"):
            other.compare({"x": result})


UP, DOWN, BOTH = (0.01, 0.03), (-0.03, -0.01), (-0.01, 0.03)


def outcome(guess: Guess, ci95: tuple[float, float], **why) -> dict:
    found = {"value": sum(ci95) / 2, "ci95": ci95} | why
    return experiments.outcome(guess, {"predicts": found, "overfits": found})


@pytest.mark.parametrize(
    ("direction", "size", "ci95", "within"),
    [
        ("naik", 0.01, UP, True),  # the interval holds its bounds
        ("naik", 0.03, UP, True),
        ("naik", 0.031, UP, False),
        ("naik", 0.02, DOWN, False),  # as large, the other way
        ("turun", 0.02, DOWN, True),
        ("naik", 0.02, BOTH, True),  # the size may be right where the direction is not decided
        ("sama", 0.0, UP, False),
        ("turun", None, DOWN, None),
    ],
)
def test_a_guessed_size_lies_within_the_interval_or_outside(direction, size, ci95, within):
    assert outcome(duga(direction, size, "kesenjangan"), ci95)["within"] is within


def test_a_guessed_direction_is_judged_by_the_side_of_the_interval():
    for ci95, agrees in ((DOWN, "ya"), (UP, "tidak"), (BOTH, "belum dapat diputuskan")):
        assert outcome(duga("turun"), ci95)["agrees"] == agrees
        assert outcome(duga("naik"), tuple(-bound for bound in ci95[::-1]))["agrees"] == agrees


@pytest.mark.parametrize(("measure", "margin"), [("auc", 0.01), ("kesenjangan", 0.02)])
def test_a_guess_that_nothing_changes_is_judged_by_the_margin_of_its_measure(measure, margin):
    guess = duga("sama", ukuran=measure)
    for low, high, agrees in (
        (-0.9 * margin, 0.9 * margin, "ya"),
        (1.1 * margin, 2 * margin, "tidak"),
        (0.5 * margin, margin, "belum dapat diputuskan"),
    ):
        assert outcome(guess, (low, high))["agrees"] == agrees
        assert outcome(guess, (-high, -low))["agrees"] == agrees


@pytest.mark.parametrize("why", [{"p": None}, {"p": 0.001, "verdict": evaluation.MAJORITY}])
def test_without_a_verdict_no_guess_is_decided(why):
    assert outcome(duga("naik"), UP, **why)["agrees"] == evaluation.UNDECIDED
