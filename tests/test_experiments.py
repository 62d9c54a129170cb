"""What students try (notebook 05) is trained and told from the rest; what is wrong is one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from cxr_helpers import architectures, comparison, data, experiments, training
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.experiments import Experiment, Guess, duga
from cxr_helpers.study import Study
from cxr_helpers.weights import resolve_weights
from tests.conftest import made

MINE = """
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD, lr_scheduler
from torchvision.transforms import v2


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


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    return tmp_path / "runs"


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
    "loss class": lambda s, m: s.train(network=m.Net, loss=m.nn.HuberLoss),
    "loss function": lambda s, m: s.train(network=m.Net, loss=m.smoothed),
    "augmentation": lambda s, m: s.train(network=m.Net, augment=[m.noise_both, "flip"]),
    "MixUp": lambda s, m: s.train(network=m.Net, augment=[m.v2.MixUp(alpha=0.3)]),
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


def test_an_interrupted_training_of_own_code_goes_on_where_it_was(small, mine, store):
    def interrupt(history):
        raise KeyboardInterrupt

    own = small.train(network=mine.Net).runs[0].config.own
    longer = replace(small, preset=replace(small.preset, epochs=4))
    tried = experiments.Recipe({"own": own, "average": "ema"})
    with pytest.raises(KeyboardInterrupt):
        experiments.train(longer, tried, on_epoch=interrupt)
    seen = []
    resumed = experiments.train(longer, tried, on_epoch=lambda history: seen.append(len(history)))
    assert seen == [2, 3, 4]
    whole = training.fit(resumed.runs[0].config, longer.used, longer.weights).final["val_last"]
    np.testing.assert_array_equal(resumed.runs[0].logits["val_last"], whole.numpy())


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
    for path in first.runs[0].folder.glob("*.safetensors"):  # as trained by several processes
        path.unlink()
    with pytest.raises(InputError, match="n_jobs=1"):
        small.train(network=mine.Net, start=first)


WRONG = {
    r"\(16, 2\)": lambda s, m: s.train(network=lambda: m.Net(outputs=2)),
    "sigmoid": lambda s, m: s.train(network=lambda: m.nn.Sequential(m.Net(), m.nn.Sigmoid())),
    "BCELoss .*pakai": lambda s, m: s.train(network=m.Net, loss=m.nn.BCELoss()),
    "CrossEntropyLoss": lambda s, m: s.train(network=m.Net, loss=m.nn.CrossEntropyLoss()),
    r"hasilnya \(16, 1\)": lambda s, m: s.train(network=m.Net, loss=lambda z, y: z),
    "hasilnya inf": lambda s, m: s.train(network=m.Net, loss=lambda z, y: z.sum() / 0),
    "citra .*float16": lambda s, m: s.train(network=m.Net, augment=[lambda x: x.half()]),
    "label .*int64": lambda s, m: s.train(network=m.Net, augment=[lambda x, y: (x, y.long())]),
    "Gradien": lambda s, m: s.train(network=lambda: m.nn.Sequential(m.Net(), m.nn.Threshold(9, 0))),
    "hasilnya int.*nn.Module": lambda s, m: s.train(network=lambda: 3),
    "batch_size": lambda s, m: s.train(network=lambda: m.torch.zeros(10**15)),
    "partial": lambda s, m: s.train(network=m.Net, optimizer=m.SGD(m.Net().parameters())),
    "hasilnya Adam": lambda s, m: s.train(network=m.Net, schedule=lambda o: o),
    "colour": lambda s, m: s.train(network=lambda: m.Net(colour=3)),
    "dropout=": lambda s, m: s.train(network=m.Net, dropout=0.1),
    "layer4 dan fc": lambda s, m: s.train(network=m.Net, trainable="layer4+head"),
    "maksud Anda dropout": lambda s, m: s.train(dropot=0.1),
    "maksud Anda lr": lambda s, m: s.train(learning_rate=0.1),
    "yang ada: .*batch_size": lambda s, m: s.train(qqq=1),
    "daftar": lambda s, m: s.train(augment=m.smoothed),
    "resnet34": lambda s, m: s.train(architecture="resnet_34"),
    "resize=64": lambda s, m: s.train(architecture="convnext_tiny"),
    "learning rate": lambda s, m: s.train(lr=1e30),
    "adaptation=": lambda s, m: s.train(adaptation="mean"),
    "loss='bce'": lambda s, m: s.train(loss="bce"),
    "start='imagenet'": lambda s, m: s.train(start="imagenet"),
    "bukan int": lambda s, m: s.train(start=3),
    "tidak-ada.pth": lambda s, m: s.train(architecture="alexnet", start="tidak-ada.pth"),
    "seeds=0": lambda s, m: s.train(seeds=0),
    "n_jobs='1'": lambda s, m: s.train(n_jobs="1"),
    "study.compare": lambda s, m: s.compare([1]),
    "x: .*int": lambda s, m: s.compare({"x": 3}),
    "Experiment": lambda s, m: experiments.run_all(s, Experiment("Satu"), 3),
    "bernama Satu": lambda s, m: experiments.run_all(s, [Experiment("Satu")] * 2, 3),
    "besar=10": lambda s, m: duga("turun", 10, "kesenjangan"),
    "arah='lebih'": lambda s, m: duga("lebih"),
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


# Above 32 pixels a network keeps its first layer's stride; patches stay as they are.
FIRST_LAYERS = [("densenet121", 28, 3, 1), ("squeezenet1_1", 64, 3, 2), ("convnext_tiny", 64, 4, 4)]


@pytest.mark.parametrize(("name", "size", "kernel", "stride"), FIRST_LAYERS)
def test_torchvisions_networks_take_one_channel_and_give_one_logit(name, size, kernel, stride):
    network = architectures.classifier(name, size)
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 1)
    first = next(layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert (first.kernel_size, first.stride) == ((kernel, kernel), (stride, stride))


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


def test_a_mistake_in_the_last_shows_before_the_first_is_trained_and_the_time_is_said(
    small, mine, store, capsys, monkeypatch
):
    monkeypatch.setattr(experiments, "someone_watches", lambda: True)
    rows = [Experiment("Satu", dropout=0.3), Experiment("Dua", network=lambda: mine.Net(colour=3))]
    with pytest.raises(InputError, match="colour"):
        experiments.run_all(small, rows, 2)
    assert not list(store.glob("*/info.json")) and not capsys.readouterr().out
    unknown = {"network": mine.Net()}
    rows[1] = Experiment("Dua", **unknown)
    experiments.run_all(small, rows, 2)
    said = capsys.readouterr().out.splitlines()
    assert ": 2, seluruhnya sekitar 1 menit" in said[0]
    assert "selain itu 2 pelatihan" in said[0]
    assert said[1:] == ["Percobaan ke-1: Satu", "Percobaan ke-2: Dua"]


def test_a_result_on_other_images_is_not_judged_by_this_studys_labels(small, mine, store, capsys):
    shuffled = np.random.default_rng(0).permutation(16)
    test = small.used.test
    part = {name: getattr(test, name)[shuffled] for name in ("images", "labels", "rows")}
    other = replace(small, used=data.with_splits(small.used, test=replace(test, **part)))
    kept = small.train(network=mine.Net, epochs=10, precision="bfloat16")
    assert capsys.readouterr().err == ""
    parts = {"network": mine.Net()}
    unkept = small.train(**parts)  # no text identifies it
    assert "tidak akan disimpan" in capsys.readouterr().err
    assert unkept.runs[0].key == "" and len(list(store.glob("*/info.json"))) == 1
    compared = small.compare({"x": kept, "y": unkept})
    # 10 and bfloat16 are the course's own, and yet a change of this shorter study
    changed = {"network": "mine.Net", "epochs": 10, "precision": "bfloat16"}
    assert compared.rows[1]["changed"] == changed
    for result in (kept, unkept):
        with pytest.raises(InputError, match="x: dilatih dengan data lain"):
            other.compare({"x": result})


EDGE = comparison.MARGIN["auc"]


@pytest.mark.parametrize(
    ("direction", "ci95", "agrees"),
    [
        ("above", (0.01, 0.03), "ya"),
        ("above", (-0.03, -0.01), "tidak"),
        ("above", (-0.01, 0.03), comparison.UNDECIDED),
        ("below", (-0.03, -0.01), "ya"),
        ("across", (-0.99 * EDGE, 0.99 * EDGE), "ya"),
        ("across", (0.0, EDGE), comparison.UNDECIDED),
        ("across", (1.01 * EDGE, 0.03), "tidak"),
        ("across", (-0.03, -1.01 * EDGE), "tidak"),
    ],
)
def test_a_guess_agrees_only_where_the_whole_interval_does(direction, ci95, agrees):
    def outcome(**why):
        row = {"predicts": {"value": sum(ci95) / 2, "ci95": ci95} | why}
        return experiments.outcome(Guess("predicts", direction, 0.02), row)

    size = -0.02 if direction == "below" else 0.02
    found = outcome()
    assert (found["agrees"], found["size"]) == (agrees, size)
    assert found["within"] == (ci95[0] <= size <= ci95[1])
    for why in ({"p": None}, {"p": 0.001, "verdict": comparison.MAJORITY}):  # no verdict
        assert outcome(**why)["agrees"] == comparison.UNDECIDED
