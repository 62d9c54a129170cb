"""What students try: each can be said, is trained, and is told from the others; what is wrong is one line (notebook 05)."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_helpers import comparison, data, experiments, model, show, training
from cxr_helpers.engine import files, results, runs, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.experiments import Experiment, duga
from cxr_helpers.study import Study
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import resolve_weights
from tests.conftest import made

MINE = """
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD
from torch.optim import lr_scheduler
from torchvision.transforms import v2


class Net(nn.Module):
    def __init__(self, width=8, outputs=1):
        super().__init__()
        self.conv, self.drop, self.fc = nn.Conv2d(1, width, 3), nn.Dropout(0.2), nn.Linear(width, outputs)

    def forward(self, x):
        return self.fc(self.drop(F.relu(self.conv(x)).mean((2, 3))))


class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0):
        super().__init__()
        self.gamma = gamma

    def forward(self, z, y):
        p = torch.sigmoid(z)
        return (F.binary_cross_entropy_with_logits(z, y, reduction="none") * (y - p).abs() ** self.gamma).mean()


def smoothed(z, y):
    return F.binary_cross_entropy_with_logits(z, 0.9 * y + 0.05)


def warm_up(optimizer):
    return lr_scheduler.SequentialLR(
        optimizer,
        [lr_scheduler.LinearLR(optimizer, 0.1, total_iters=1), lr_scheduler.ExponentialLR(optimizer, 0.9)],
        milestones=[1],
    )


def shift(x):
    return x.roll(1, -1)


def noise_both(x, y):
    return x + 0.1 * torch.randn_like(x), y


def half(x):
    return x.half()


def integers(x, y):
    return x, y.long()


def detached():
    return nn.Sequential(nn.Conv2d(1, 4, 3), Cut(), nn.Flatten(), nn.Linear(4 * 26 * 26, 1))


class Cut(nn.Module):
    def forward(self, x):
        return x.detach()


def two_outputs():
    return Net(outputs=2)


def squashed():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 1), nn.Sigmoid())


def no_module():
    return 3


def no_schedule(optimizer):
    return optimizer


def greedy():
    return torch.zeros(10**15)
"""


@pytest.fixture(scope="module")
def small():
    """A study on 48 tiny images, two epochs."""
    dataset = made()
    preset = replace(settings.PRESETS["smoke"], epochs=2)
    return Study(
        dataset,
        dataset,
        resolve_weights("random"),
        preset,
        0,
        torch.device("cpu"),
        "float32",
        Path("build"),
        "sekarang",
        0.0,
    )


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv(files.RUNS, str(tmp_path / "runs"))
    return tmp_path / "runs"


@pytest.fixture
def mine(tmp_path, small):
    (tmp_path / "mine.py").write_text(MINE)
    return small.load(tmp_path / "mine.py")


PLAIN = [
    {"optimizer": "sgd", "lr": 0.01},
    {"optimizer": "rmsprop"},
    {"optimizer": "nadam"},
    {"dropout": 0.3},
    {"clip": 1.0},
    {"average": "ema"},
    {"average": "swa"},
    {"layer_lr": 0.5},
    {"unfreeze": 1},
    {"balance": "pos_weight"},
    {"augment": ["flip"], "tta": 2},
    {"resize": 40},
]


@pytest.mark.parametrize("changes", PLAIN, ids=str)
def test_settings_that_students_try_are_trained_and_told_apart(changes, small, store):
    plain = small.train(architecture="small_cnn")
    found = small.train(architecture="small_cnn", **changes)
    assert np.isfinite(found.history.to_numpy()).all()
    assert found.runs[0].key != plain.runs[0].key
    assert not np.array_equal(found.runs[0].logits["val_last"], plain.runs[0].logits["val_last"])
    assert found.runs[0].config.changed().keys() == {"epochs", "architecture", *changes}


OWN = {
    "network": lambda s, m: s.train(network=m.Net),
    "made network": lambda s, m: s.train(network=lambda: m.Net(4)),
    "SGD with momentum": lambda s, m: s.train(
        network=m.Net, optimizer=m.partial(m.SGD, momentum=0.9)
    ),
    "StepLR": lambda s, m: s.train(
        network=m.Net, schedule=m.partial(m.lr_scheduler.StepLR, step_size=1, gamma=0.1)
    ),
    "MultiStepLR": lambda s, m: s.train(
        network=m.Net, schedule=m.partial(m.lr_scheduler.MultiStepLR, milestones=[1])
    ),
    "ExponentialLR": lambda s, m: s.train(
        network=m.Net, schedule=m.partial(m.lr_scheduler.ExponentialLR, gamma=0.5)
    ),
    "plateau": lambda s, m: s.train(network=m.Net, schedule=m.lr_scheduler.ReduceLROnPlateau),
    "cosine": lambda s, m: s.train(network=m.Net, schedule=m.lr_scheduler.CosineAnnealingLR),
    "one-cycle": lambda s, m: s.train(network=m.Net, schedule=m.lr_scheduler.OneCycleLR),
    "warm-up": lambda s, m: s.train(network=m.Net, schedule=m.warm_up),
    "focal loss": lambda s, m: s.train(network=m.Net, loss=m.FocalLoss(1.0)),
    "loss class": lambda s, m: s.train(network=m.Net, loss=m.FocalLoss),
    "label smoothing": lambda s, m: s.train(network=m.Net, loss=m.smoothed),
    "pos_weight": lambda s, m: s.train(
        network=m.Net, loss=m.nn.BCEWithLogitsLoss(pos_weight=m.torch.tensor(2.0))
    ),
    "own augmentation": lambda s, m: s.train(network=m.Net, augment=[m.shift, "flip"]),
    "on images and labels": lambda s, m: s.train(network=m.Net, augment=[m.noise_both]),
    "MixUp": lambda s, m: s.train(network=m.Net, augment=[m.v2.MixUp(alpha=0.3)]),
    "CutMix": lambda s, m: s.train(network=m.Net, augment=[m.v2.CutMix(alpha=1.0)]),
    "random erasing": lambda s, m: s.train(network=m.Net, augment=[m.v2.RandomErasing(p=1.0)]),
    "averaged": lambda s, m: s.train(network=m.Net, average="ema", clip=0.5),
}


@pytest.mark.parametrize("name", OWN)
def test_parts_of_ones_own_are_trained_and_kept_with_their_text(name, small, mine, store):
    found = OWN[name](small, mine)
    run = found.runs[0]
    assert np.isfinite(found.history.to_numpy()).all()
    assert run.folder.parent == store, "kept"
    assert (run.folder / "code.py").read_text() == run.config.own
    before = (run.folder / "info.json").stat().st_mtime_ns
    again = OWN[name](small, mine).runs[0]
    assert again.key == run.key and (again.folder / "info.json").stat().st_mtime_ns == before
    plain = small.train(network=mine.Net)
    if name not in ("network",):
        assert run.key != plain.runs[0].key
        assert not np.array_equal(
            run.logits["val_last"], plain.runs[0].logits["val_last"]
        ) or name in ("plateau", "warm-up")


def test_every_seed_starts_fresh_and_own_code_works_in_worker_processes(
    small, mine, store, tmp_path, monkeypatch
):
    alone = small.train(seeds=2, network=mine.Net, loss=mine.FocalLoss(1.0))
    monkeypatch.setenv(files.RUNS, str(tmp_path / "other"))
    beside = small.train(seeds=2, n_jobs=2, network=mine.Net, loss=mine.FocalLoss(1.0))
    for one, other in zip(alone.runs, beside.runs, strict=True):
        assert one.key == other.key
        np.testing.assert_array_equal(one.logits["val_last"], other.logits["val_last"])
    assert not np.array_equal(alone.runs[0].logits["val_last"], alone.runs[1].logits["val_last"])


def test_an_interrupted_training_of_own_code_goes_on_where_it_was(small, mine, store):
    def interrupt(history):
        raise KeyboardInterrupt

    longer = replace(small, preset=replace(small.preset, epochs=4))
    own = experiments.separate({"network": mine.Net}, _frame(mine)).changes["own"]
    recipe = experiments.Recipe({"own": own, "average": "ema"})
    with pytest.raises(KeyboardInterrupt):
        experiments.train(longer, recipe, on_epoch=interrupt)
    seen = []
    resumed = experiments.train(longer, recipe, on_epoch=lambda history: seen.append(len(history)))
    assert seen == [2, 3, 4]
    whole = training.fit(resumed.runs[0].config, longer.used, longer.weights)
    np.testing.assert_array_equal(
        resumed.runs[0].logits["val_last"], whole.final["val_last"].numpy()
    )


def _frame(mine):
    """A frame in which `network=mine.Net` stands in a call."""
    import sys

    def call(**parts):
        return sys._getframe(1)

    return call(network=mine.Net)


def test_a_run_is_the_start_of_another(small, mine, store):
    first = small.train(network=mine.Net, lr=0.01)
    second = small.train(network=mine.Net, lr=1e-9, start=first)
    for name, tensor in first.runs[0].weights("best").items():
        torch.testing.assert_close(second.runs[0].weights("last")[name], tensor, atol=1e-5, rtol=0)
    assert second.runs[0].key != small.train(network=mine.Net, lr=1e-9).runs[0].key
    with pytest.raises(InputError, match="jaringan lain"):
        small.train(network=lambda: mine.Net(4), start=first)


WRONG = {
    r"memberi \(16, 2\).*satu logit": lambda s, m: s.train(network=m.two_outputs),
    "hapus sigmoid": lambda s, m: s.train(network=m.squashed),
    "pakai nn.BCEWithLogitsLoss": lambda s, m: s.train(network=m.Net, loss=m.nn.BCELoss()),
    "satu bilangan terhingga": lambda s, m: s.train(
        network=m.Net, loss=m.nn.BCEWithLogitsLoss(reduction="none")
    ),
    "mengubah citra dari": lambda s, m: s.train(network=m.Net, augment=[m.half]),
    "mengubah label dari": lambda s, m: s.train(network=m.Net, augment=[m.integers]),
    "Gradien tidak sampai": lambda s, m: s.train(network=m.detached),
    "seharusnya sebuah nn.Module": lambda s, m: s.train(network=m.no_module),
    "kecilkan batch_size": lambda s, m: s.train(network=m.greedy),
    "berikan pembuatnya": lambda s, m: s.train(
        network=m.Net, optimizer=m.SGD(m.Net().parameters(), lr=0.1)
    ),
    "penjadwal": lambda s, m: s.train(network=m.Net, schedule=m.no_schedule),
    "mungkin maksud Anda dropout": lambda s, m: s.train(dropot=0.1),
    "berikan sebuah daftar": lambda s, m: s.train(augment=m.shift),
    "di dalam jaringan Anda sendiri": lambda s, m: s.train(network=m.Net, dropout=0.1),
    "resnet34": lambda s, m: s.train(architecture="resnet_34"),
    "resize=64": lambda s, m: s.train(architecture="convnext_tiny"),
    "Turunkan learning rate": lambda s, m: s.train(architecture="small_cnn", lr=1e30),
    "yang tidak ada pada jaringan ini": lambda s, m: s.train(
        network=m.Net, trainable="layer4+head"
    ),
    "gagal pada baris": lambda s, m: s.train(network=lambda: m.Net(colour=3)),
    "CrossEntropyLoss atas satu logit": lambda s, m: s.train(
        network=m.Net, loss=m.nn.CrossEntropyLoss()
    ),
    "adaptation={'reduce': 'sum'}": lambda s, m: s.train(adaptation="mean"),
    "mungkin maksud Anda lr": lambda s, m: s.train(learning_rate=0.1),
    "yang ada: .*batch_size": lambda s, m: s.train(qqq=1),
    "architecture=": lambda s, m: s.train(network="resnet34"),
    "loss='bce'.*berikan sebuah nn.Module": lambda s, m: s.train(loss="bce"),
    "seeds=0 tidak dapat": lambda s, m: s.train(seeds=0),
    "seeds=.*tidak dapat": lambda s, m: s.train(seeds=[0, 1]),
    "n_jobs='1' tidak dapat": lambda s, m: s.train(n_jobs="1"),
    "study.compare": lambda s, m: s.compare([1]),
    "sebuah daftar percobaan": lambda s, m: experiments.run_all(s, Experiment("Satu"), 3),
    "10 poin persen": lambda s, m: duga("turun", 10, "kesenjangan"),
    "0 sampai 1": lambda s, m: duga("naik", "sedikit"),
}


@pytest.mark.parametrize("words", WRONG)
def test_what_is_wrong_is_one_indonesian_line(words, small, mine, store):
    with pytest.raises(InputError, match=words) as found:
        WRONG[words](small, mine)
    assert "\n" not in str(found.value)


def test_a_start_without_weights_is_one_line(small, store):
    found = small.train(architecture="small_cnn", lr=2e-4)
    for path in found.runs[0].folder.glob("*.safetensors"):
        path.unlink()
    with pytest.raises(InputError, match="n_jobs=1"):
        small.train(architecture="small_cnn", start=found)


def test_what_no_text_identifies_is_trained_and_not_kept_and_that_is_said(
    small, mine, store, capsys
):
    parts = {"network": mine.Net()}
    found = small.train(**parts)
    assert "tidak akan disimpan" in capsys.readouterr().err
    assert found.runs[0].key == "" and not list(store.glob("*/info.json"))
    assert np.isfinite(found.history.to_numpy()).all()


def test_a_network_with_room_memorises_and_one_without_does_not(small, mine, store, capsys):
    small.check(architecture="small_cnn", lr=3e-3, memorise=True)
    assert "100,0% dapat dihafal" in capsys.readouterr().out
    small.check(network=mine.Net, lr=1e-9, memorise=True)
    assert "periksa loss" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("resnet34", 28), ("resnet50", 28), ("densenet121", 28), ("efficientnet_b0", 28), ("mobilenet_v3_small", 28),
        ("mobilenet_v3_small", 64), ("squeezenet1_1", 28), ("convnext_tiny", 64), ("vit_b_16", 32),
    ],
)  # fmt: skip
def test_torchvisions_networks_take_one_channel_and_give_one_logit(name, size):
    network = model.build(
        resolve_weights("random"), 0, 28, architecture=name, enlarge=None if size == 28 else size
    )
    assert network.train()(torch.zeros(2, 1, 28, 28)).shape == (2, 1)
    first = next(layer for layer in network.modules() if isinstance(layer, torch.nn.Conv2d))
    assert first.in_channels == 1
    patches = name in ("convnext_tiny", "vit_b_16")
    assert patches or size > 32 or first.stride == (1, 1)


def test_a_published_network_is_a_start(small, store, tmp_path):
    torch.manual_seed(1)
    path = tmp_path / "milik teman.pth"
    torch.save(
        model.architectures.models.get_model("squeezenet1_1", weights=None).state_dict(), path
    )
    alone = small.train(architecture="squeezenet1_1", lr=1e-9).runs[0]
    begun = small.train(architecture="squeezenet1_1", lr=1e-9, start=str(path)).runs[0]
    assert alone.key != begun.key and not np.array_equal(
        alone.logits["val_last"], begun.logits["val_last"]
    )
    with pytest.raises(InputError, match="tidak mempunyai bobot terbitan"):
        small.train(architecture="small_cnn", start="imagenet")
    with pytest.raises(InputError, match="start: berikan"):
        small.train(start=3)
    with pytest.raises(InputError, match="tidak ditemukan"):
        small.check(architecture="squeezenet1_1", start="tidak-ada.pth")


def test_a_stored_kernel_is_adapted_as_resnets_is():
    torch.manual_seed(0)
    stock = model.architectures.models.get_model("densenet121", weights=None).features.conv0.weight
    torch.manual_seed(0)
    ours = model.architectures.classifier(
        "densenet121", 28, adaptation={"reduce": "sum", "resize": "area"}
    ).features.conv0.weight
    torch.testing.assert_close(
        ours, torch.nn.functional.adaptive_avg_pool2d(stock.sum(1, keepdim=True), 3)
    )


def test_experiments_are_compared_with_the_recipe_and_guesses_with_what_came_out(
    small, mine, store
):
    rows = [
        Experiment("Satu", "Alasan.", duga("naik", 0.01), network=mine.Net),
        Experiment("Dua", guess=duga("sama", ukuran="kesenjangan"), architecture="small_cnn"),
    ]
    found = experiments.run_all(small, rows, 3).as_dict()
    assert [row["title"] for row in found["variants"][1:]] == ["Satu", "Dua"]
    assert found["partner"] == "own" and found["variants"][0]["seeds"] == [0]
    assert found["variants"][1]["changed"] == {"network": "mine.Net"}
    assert found["guesses"][0]["size"] == 0.01 and found["guesses"][1]["direction"] == "across"
    assert found["guesses"][0]["value"] == found["variants"][1]["predicts"]["value"]
    assert len(found["ensembles"][0]["seeds"]) == 3
    with pytest.raises(InputError, match="Dua percobaan bernama Satu"):
        experiments.run_all(small, [rows[0], rows[0]], 3)
    with pytest.raises(InputError, match="berikan hasil dari study"):
        small.compare({"x": 3})


def test_where_one_watches_it_is_said_how_long_it_takes_and_a_mistake_in_the_last_shows_before_the_first_is_trained(
    small, mine, store, capsys, monkeypatch
):
    monkeypatch.setattr(experiments, "someone_watches", lambda: True)
    rows = [
        Experiment("Satu", architecture="small_cnn"),
        Experiment("Dua", network=lambda: mine.Net(colour=3)),
    ]
    with pytest.raises(InputError, match="gagal pada baris"):
        experiments.run_all(small, rows, 3)
    assert not list(store.glob("*/info.json")) and not capsys.readouterr().out
    rows[1] = Experiment("Dua", network=mine.Net)
    experiments.run_all(small, rows, 3)
    said = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"Pelatihan yang belum tersimpan: 6, seluruhnya sekitar \d+ menit pada CPU \(\d+ thread\)\.",
        said[0],
    )
    assert said[1:] == ["Percobaan ke-1: Satu", "Percobaan ke-2: Dua"]
    unknown = {"network": mine.Net()}
    experiments.run_all(small, [*rows, Experiment("Tiga", **unknown)], 3)
    assert (
        "Pelatihan yang belum tersimpan: 0; selain itu 3 pelatihan yang tidak dapat disimpan."
        in capsys.readouterr().out
    )


def test_a_result_on_other_images_is_not_judged_by_this_studys_labels(small, mine, store):
    shuffled = np.random.default_rng(0).permutation(len(small.used.test))
    part = {name: getattr(small.used.test, name)[shuffled] for name in ("images", "labels", "rows")}
    used = data.with_splits(small.used, test=replace(small.used.test, **part))
    other = replace(small, data=used, used=used)
    parts = {"network": mine.Net()}  # not kept
    for result in (small.train(architecture="small_cnn"), small.train(**parts)):
        assert len(small.compare({"x": result}).rows) == 2
        with pytest.raises(InputError, match="x: dilatih dengan data lain"):
            other.compare({"x": result})


@pytest.mark.parametrize(
    ("direction", "ci95", "agrees"),
    [
        ("above", (0.01, 0.03), "ya"),
        ("above", (-0.03, -0.01), "tidak"),
        ("above", (-0.01, 0.03), comparison.UNDECIDED),
        ("below", (-0.03, -0.01), "ya"),
        ("across", (-0.005, 0.005), "ya"),
        ("across", (0.02, 0.03), "tidak"),
        ("across", (-0.02, 0.03), comparison.UNDECIDED),
    ],
)
def test_a_guess_agrees_only_where_the_whole_interval_does(direction, ci95, agrees):
    row = {"predicts": {"value": sum(ci95) / 2, "ci95": ci95}}
    assert (
        experiments.outcome(experiments.Guess("predicts", direction, None), row)["agrees"] == agrees
    )
    for why in (
        {"p": None},
        {"p": 0.001, "verdict": comparison.MAJORITY},
    ):  # no verdict, so no guess that came true either
        few = {"predicts": row["predicts"] | why}
        assert (
            experiments.outcome(experiments.Guess("predicts", direction, None), few)["agrees"]
            == comparison.UNDECIDED
        )


def test_a_setting_that_goes_back_to_the_courses_own_is_a_change_of_a_shorter_study(small, store):
    row = small.compare(
        {"x": small.train(architecture="small_cnn", epochs=10, precision="bfloat16")}
    ).rows[1]
    assert row["changed"] == {"architecture": "small_cnn", "epochs": 10, "precision": "bfloat16"}


def test_the_table_says_whose_seeds_are_too_few_for_a_verdict(small, store, tmp_path, monkeypatch):
    monkeypatch.setenv(files.RESULTS, str(tmp_path))
    for seeds, words in (
        (1, "belum dapat diputuskan (satu seed)"),
        (3, "belum dapat diputuskan (pembanding satu seed)"),
    ):
        body = small.compare({"x": small.train(seeds, architecture="small_cnn")}).as_dict()
        body["variants"][1]["predicts"]["verdict"] = (
            comparison.UNDECIDED
        )  # such small networks may guess one class
        results.write("05_percobaan", body, small.provenance(), tmp_path)
        assert words in show.Chapter("05_percobaan", tmp_path).words("tbl_percobaan")[0]


def test_the_key_changes_with_whatever_can_change_the_numbers(small, store):
    """Every setting of TrainConfig, the images' size, the data, the weights and the device."""
    other = {
        "epochs": 3, "batch_size": 8, "optimizer": "adamw", "lr": 1.0, "weight_decay": 0.1, "schedule": "cosine", "dropout": 0.1,
        "architecture": "resnet34", "trainable": "head", "augment": ("flip",), "augment_target": "minority", "balance": "sampler",
        "monitor": "loss", "patience": 3, "adaptation": {"reduce": "sum"}, "precision": "bfloat16", "resize": 64, "clip": 1.0,
        "average": "ema", "layer_lr": 0.5, "unfreeze": 1, "tta": 2, "own": "BAGIAN = {}", "seed": 1,
    }  # fmt: skip
    base = TrainConfig(augment=("geometry",))
    assert other.keys() == vars(base).keys(), "a new setting needs its line here"

    def key(config=base, used=small.used, device="cpu"):
        return runs.run_key(runs.identity(config, used, small.weights, device))

    larger = replace(small.used, source=replace(small.used.source, size=64))
    keys = [
        key(),
        key(used=larger),
        key(device="cuda"),
        *(key(replace(base, **{name: value})) for name, value in other.items()),
    ]
    assert len(set(keys)) == len(keys)


def test_replaced_or_edited_code_is_trained_but_neither_read_nor_kept(
    small, store, monkeypatch, capsys
):
    first = small.train(architecture="small_cnn").runs[0]
    with monkeypatch.context() as patch:
        patch.setattr(
            training.recipe, "criterion", lambda config, labels, parts: torch.nn.MSELoss()
        )
        other = small.train(architecture="small_cnn").runs[0]
    assert "diganti sesudah diimpor" in capsys.readouterr().err
    assert other.key == "" and not np.array_equal(
        other.logits["val_last"], first.logits["val_last"]
    )
    with monkeypatch.context() as patch:
        patch.setitem(training.recipe.augment.TRANSFORMS, "flip", lambda images: images + 0.1)
        assert small.train(architecture="small_cnn").runs[0].key == ""
    with monkeypatch.context() as patch:
        patch.setattr(runs, "_READ", [])
        patch.setattr(runs, "_IMPORTED", [])
        assert runs.altered() == "berkas cxr_helpers diubah sesudah diimpor"
    assert small.train(architecture="small_cnn").runs[0].key == first.key
