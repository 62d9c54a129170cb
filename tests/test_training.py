"""The recipe against a plain loop, exact resume, the settings' limits, and the run store."""

import multiprocessing
import os
import platform
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from cxr_helpers import augment, data, model, training
from cxr_helpers.engine import runs
from cxr_helpers.engine.errors import InputError
from cxr_helpers.training import TrainConfig
from tests.conftest import ROOT, made

EPOCHS = 400  # of the run that is killed: long enough to be killed often
SMALL = TrainConfig(epochs=3, batch_size=16, architecture="small_cnn", seed=5)


@pytest.fixture(scope="module")
def dataset() -> data.Dataset:
    return made()


@pytest.fixture(scope="module")
def weights() -> model.Weights:
    return model.resolve_weights("random")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv(runs.STORE, str(tmp_path / "runs"))
    return tmp_path / "runs"


def plain_loop(config: TrainConfig, dataset: data.Dataset, weights: model.Weights) -> list[float]:
    """The course's loop, written out: NCHW, no fused step. Returns the loss of every batch."""
    network = model.build(weights, config.seed, 28, config.dropout, config.architecture, **config.adaptation)
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr, fused=False, foreach=False)
    criterion = nn.BCEWithLogitsLoss()
    images = data.to_tensor(dataset.train.images)
    labels = torch.from_numpy(dataset.train.labels.astype(np.float32)).unsqueeze(1)
    losses = []
    for epoch in range(config.epochs):
        network.train()
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(training._seed(config, epoch)))
        for rows in order.split(config.batch_size):
            loss = criterion(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("architecture", ["small_cnn", "resnet18"])
def test_losses_equal_the_plain_loop_step_by_step(dataset, weights, architecture, monkeypatch):
    config = replace(SMALL, architecture=architecture, epochs=2 if architecture == "resnet18" else 3)
    seen = []

    class Recorded(nn.BCEWithLogitsLoss):
        def forward(self, *args):
            loss = super().forward(*args)
            seen.append(loss.item())
            return loss

    monkeypatch.setattr(training, "_criterion", lambda config, labels: Recorded())
    training.fit(config, dataset, weights)
    expected = plain_loop(config, dataset, weights)
    assert len(seen) == len(expected) == config.epochs * 3
    assert seen[0] == pytest.approx(expected[0], abs=1e-6)
    # Rounding differs by layout and grows with every step of training; it must still be rounding.
    assert seen == pytest.approx(expected, abs=2e-3)


def test_the_loss_falls_and_the_history_is_whole(dataset, weights):
    outcome = training.fit(replace(SMALL, epochs=6, watch_test=True), dataset, weights)
    history = outcome.progress.history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    assert set(history[0]) == {"epoch", "train_loss", "train_acc", "val_loss", "val_acc", "val_auc", "test_loss", "test_acc"}
    best = max(range(6), key=lambda i: (history[i]["val_auc"], -history[i]["val_loss"]))
    assert outcome.progress.best_epoch == 1 + best
    val = outcome.progress.logits["val"][best].numpy()
    assert history[best]["val_auc"] == pytest.approx(roc_auc_score(dataset.val.labels, val))
    assert set(outcome.final) == {f"{s}_{w}" for s in ("train", "val", "test") for w in ("best", "last")}
    network = model.build(weights, SMALL.seed, 28, 0.0, "small_cnn", **SMALL.adaptation)
    for which, kept in (("best", outcome.progress.best_weights), ("last", outcome.last_weights)):
        network.load_state_dict(kept)
        for split in ("train", "val", "test"):
            again = training.evaluate(network, data.to_tensor(getattr(dataset, split).images))
            torch.testing.assert_close(outcome.final[f"{split}_{which}"], again)


def test_the_test_split_is_not_read_before_the_end(dataset, weights):
    history = training.fit(replace(SMALL, epochs=1), dataset, weights).progress.history
    assert not [name for name in history[0] if name.startswith("test")]


REMEDIES = {
    "dropout": {"dropout": 0.5},
    "adamw": {"optimizer": "adamw", "weight_decay": 0.05},
    "augment": {"augment": ("geometry", "exposure", "flip")},
    "cosine": {"schedule": "cosine"},
    "onecycle": {"schedule": "onecycle", "lr": 2e-3},
    "pos_weight": {"balance": "pos_weight"},
    "sampler": {"balance": "sampler"},
    "minority": {"augment": ("geometry",), "augment_target": "minority"},
    "resnet18": {"architecture": "resnet18"},
    "resnet18, frozen part": {"architecture": "resnet18", "trainable": "layer4+head"},
}


@pytest.mark.parametrize("name", REMEDIES)
def test_resume_is_exact(dataset, weights, name):
    """Stopped after the first or second epoch and resumed: history, logits and weights are equal, bit for bit."""
    config, states = replace(SMALL, **REMEDIES[name]), []

    def keep(state: dict) -> None:
        stream = training_bytes(state)
        states.append(stream)

    whole = training.fit(config, dataset, weights, checkpoint=keep)
    assert len(states) == config.epochs - 1  # the last epoch is kept with the finished run
    for stream in states:
        resumed = training.fit(config, dataset, weights, resume=torch.load(stream, weights_only=True))
        assert resumed.progress.history == whole.progress.history
        for split in ("train", "val"):
            for a, b in zip(resumed.progress.logits[split], whole.progress.logits[split], strict=True):
                assert torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        assert all(torch.equal(a, whole.last_weights[key]) for key, a in resumed.last_weights.items())


def training_bytes(state: dict):
    import io

    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return stream


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is told to keep memory")
def test_freed_memory_is_kept_when_asked():
    """Page faults of a process that frees 160 MB and asks for them again, five times."""
    code = (
        "import resource, numpy; from cxr_helpers.engine.runtime import keep_freed_memory\n"
        "def work(): blocks = [numpy.ones(2_500_000) for _ in range(8)]\n"
        "{}work()\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "for _ in range(5): work()\nprint(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    )
    faults = [
        int(
            subprocess.run(
                [sys.executable, "-c", code.format(first)], capture_output=True, text=True, check=True, cwd=ROOT
            ).stdout
        )
        for first in ("", "keep_freed_memory()\n")
    ]
    assert faults[1] < 0.1 * faults[0], faults


def test_training_leaves_the_global_random_state_alone(dataset, weights):
    before = torch.random.get_rng_state()
    training.fit(replace(SMALL, epochs=1, dropout=0.3), dataset, weights)
    assert torch.equal(before, torch.random.get_rng_state())


def test_early_stopping_stops_when_validation_no_longer_falls(dataset, weights):
    noise = replace(dataset, val=replace(dataset.val, labels=1 - dataset.val.labels))
    outcome = training.fit(replace(SMALL, epochs=20, patience=2, monitor="loss"), noise, weights)
    losses = [row["val_loss"] for row in outcome.progress.history]
    assert len(losses) == outcome.progress.best_epoch + 2 < 20
    assert min(losses) == losses[outcome.progress.best_epoch - 1]


@pytest.mark.parametrize("trainable", ["head", "layer4+head"])
def test_frozen_parts_do_not_move(dataset, weights, trainable):
    config = TrainConfig(epochs=1, batch_size=16, trainable=trainable)
    start = model.build(weights, config.seed, 28, **config.adaptation).state_dict()
    end = training.fit(config, dataset, weights).last_weights
    moved = {name.split(".")[0] for name in start if not torch.equal(start[name], end[name])}
    assert moved == ({"fc"} if trainable == "head" else {"layer4", "fc"})


def test_a_loss_that_is_not_finite_stops_with_one_line(dataset, weights):
    with pytest.raises(InputError, match=r"^Pelatihan berhenti pada epoch 1: .*Turunkan learning rate") as caught:
        training.fit(replace(SMALL, lr=1e30), dataset, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"optimizer": "sgd"}, "adam, adamw"),
        ({"augment": ("blur",)}, "blur"),
        ({"patience": 0}, "patience=0"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(changes, words):
    with pytest.raises(InputError, match=words):
        TrainConfig(**changes)


def test_schedules_have_the_shape_of_torch():
    steps, lr = 50, 0.01
    parameter = [nn.Parameter(torch.zeros(1))]
    for schedule, make in (
        ("cosine", lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, steps)),
        ("onecycle", lambda o: torch.optim.lr_scheduler.OneCycleLR(o, lr, total_steps=steps, cycle_momentum=False)),
    ):
        optimizer = torch.optim.SGD(parameter, lr=lr)
        scheduler, theirs = make(optimizer), []
        for _ in range(steps):
            theirs.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        ours = [training.learning_rate(TrainConfig(schedule=schedule, lr=lr), step, steps) for step in range(steps)]
        assert np.abs(np.subtract(ours, theirs)).max() < 0.08 * lr
        assert np.argmax(ours) in (np.argmax(theirs), np.argmax(theirs) + 1)


def test_minority_augmentation_balances_and_touches_only_the_rarer_class():
    labels = torch.tensor([0.0] * 10 + [1.0] * 30)
    config = TrainConfig(augment=("exposure",), augment_target="minority")
    rows = torch.cat(training.draw_batches(config, labels, torch.Generator().manual_seed(0)))
    assert (labels[rows] == 0).sum() == (labels[rows] == 1).sum() == 30
    x = torch.zeros(40, 1, 28, 28)
    changed = training._transform(config, labels)(x, labels.unsqueeze(1)).flatten(1).abs().sum(1) > 0
    assert changed[:10].all()
    assert not changed[10:].any()


def test_weighted_sampler_draws_both_classes_alike():
    labels = torch.tensor([0.0] * 200 + [1.0] * 800)
    rows = torch.cat(training.draw_batches(TrainConfig(balance="sampler"), labels, torch.Generator().manual_seed(0)))
    assert len(rows) == 1000
    assert abs((labels[rows] == 0).float().mean().item() - 0.5) < 0.06


def test_augmentation_keeps_shape_and_range_and_flips_exactly():
    torch.manual_seed(0)
    x = torch.rand(64, 1, 28, 28) * 2 - 1
    for name in augment.TRANSFORMS:
        y = augment.apply(x, (name,))
        assert y.shape == x.shape
        assert y.abs().max() <= 1
        assert not torch.equal(x, y)
    y = augment.flip(x)
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all()
    assert 15 < mirrored.sum() < 49


# --- the run store --------------------------------------------------------------------------------------------------


def test_an_equal_run_is_read_and_not_trained_again(dataset, weights, store, monkeypatch):
    first = runs.get(SMALL, dataset, weights)
    assert {p.name for p in first.folder.iterdir()} == {
        "config.json", "history.csv", "info.json", "predictions.npz", "best.safetensors", "last.safetensors", "lock",
    }  # fmt: skip
    monkeypatch.setattr(training, "fit", lambda *a, **k: pytest.fail("trained again"))
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


def test_a_damaged_checkpoint_is_said_and_the_one_before_is_used(dataset, weights, tmp_path, capsys):
    training.fit(replace(SMALL, epochs=4), dataset, weights, checkpoint=lambda state: runs.save_checkpoint(tmp_path, state))
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


def test_a_disk_too_full_for_checkpoints_is_said_and_training_goes_on(dataset, weights, store, limited, capsys):
    config = replace(SMALL, epochs=3)
    whole = training.fit(config, dataset, weights).progress.history
    limited(600_000)  # enough for the weights, not for weights and optimizer
    run = runs.get(config, dataset, weights)
    assert run.history.to_dict("records") == whole
    assert "Titik simpan epoch 1 tidak dapat ditulis" in capsys.readouterr().err
    assert not list(run.folder.glob("*.part"))


def test_a_disk_too_full_for_the_result_is_one_line_and_the_run_can_be_had_later(dataset, weights, store, limited):
    limited(20)
    with pytest.raises(InputError, match="sediakan ruang"):
        runs.get(SMALL, dataset, weights)
    limited(10**9)
    assert len(runs.get(SMALL, dataset, weights).history) == SMALL.epochs


def train_long(folder: str) -> None:
    """What the killed process does."""
    os.environ[runs.STORE] = folder
    torch.set_num_threads(1)
    runs.get(replace(SMALL, epochs=EPOCHS), made(), model.resolve_weights("random"))


def test_killed_at_random_moments_it_ends_with_the_very_same_numbers(tmp_path):
    """A real process is killed 24 times while it trains and writes checkpoints; history, logits and weights equal an undisturbed one's."""
    fresh = multiprocessing.get_context("forkserver")  # its server has torch loaded, so a process is there at once
    fresh.set_forkserver_preload(["tests.test_training"])
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
        assert not run("killed", float(generator.uniform(0.05, 0.4))), "too short to be killed so often"
        kills += 1
    assert run("killed")
    whole, killed = (next((tmp_path / name).iterdir()) for name in ("whole", "killed"))
    for file in ("history.csv", "predictions.npz", "best.safetensors", "last.safetensors"):
        assert (whole / file).read_bytes() == (killed / file).read_bytes(), file
    assert not list(killed.glob("*.part")) and not list(killed.glob("checkpoint-*"))
