"""The recipe against a plain loop, exact resume, and the settings' limits (cxr_helpers/training.py)."""

import io
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from cxr_helpers import data, model, recipe, training
from cxr_helpers.engine.errors import InputError
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import Weights, resolve_weights
from tests.conftest import made

SMALL = TrainConfig(epochs=3, batch_size=16, architecture="small_cnn", seed=5)


@pytest.fixture(scope="module")
def dataset() -> data.Dataset:
    return made()


@pytest.fixture(scope="module")
def weights() -> Weights:
    return resolve_weights("random")


def plain_loop(config: TrainConfig, dataset: data.Dataset, weights: Weights) -> list[float]:
    """The course's loop, written out: NCHW, no fused step. Returns the loss of every batch."""
    network = model.build(
        weights, config.seed, 28, config.dropout, config.architecture, **config.adaptation
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=config.lr, fused=False, foreach=False)
    criterion = nn.BCEWithLogitsLoss()
    images = data.to_tensor(dataset.train.images)
    labels = torch.from_numpy(dataset.train.labels.astype(np.float32)).unsqueeze(1)
    losses = []
    for epoch in range(config.epochs):
        network.train()
        order = torch.randperm(
            len(labels), generator=torch.Generator().manual_seed(training._seed(config, epoch))
        )
        for rows in order.split(config.batch_size):
            loss = criterion(network(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("architecture", ["small_cnn", "resnet18"])
def test_losses_equal_the_plain_loop_step_by_step(dataset, weights, architecture, monkeypatch):
    config = replace(
        SMALL, architecture=architecture, epochs=2 if architecture == "resnet18" else 3
    )
    seen = []

    class Recorded(nn.BCEWithLogitsLoss):
        def forward(self, *args):
            loss = super().forward(*args)
            seen.append(loss.item())
            return loss

    monkeypatch.setattr(recipe, "criterion", lambda config, labels, parts: Recorded())
    training.fit(config, dataset, weights)
    expected = plain_loop(config, dataset, weights)
    assert len(seen) == len(expected) == config.epochs * 3
    assert seen[0] == pytest.approx(expected[0], abs=1e-6)
    # Rounding differs by layout and grows with every step of training; it must still be rounding.
    assert seen == pytest.approx(expected, abs=2e-3)


def test_the_loss_falls_and_the_history_is_whole(dataset, weights):
    outcome = training.fit(replace(SMALL, epochs=6), dataset, weights)
    history = outcome.progress.history
    assert [row["epoch"] for row in history] == [1, 2, 3, 4, 5, 6]
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    assert set(history[0]) == {"epoch", "train_loss", "train_acc", "val_loss", "val_acc", "val_auc"}
    best = max(range(6), key=lambda i: (history[i]["val_auc"], -history[i]["val_loss"]))
    assert outcome.progress.best_epoch == 1 + best
    val = outcome.progress.logits["val"][best].numpy()
    assert history[best]["val_auc"] == pytest.approx(roc_auc_score(dataset.val.labels, val))
    assert set(outcome.final) == {
        f"{s}_{w}" for s in ("train", "val", "test") for w in ("best", "last")
    }
    network = model.build(weights, SMALL.seed, 28, 0.0, "small_cnn", **SMALL.adaptation)
    for which, kept in (("best", outcome.progress.best_weights), ("last", outcome.last_weights)):
        network.load_state_dict(kept)
        for split in ("train", "val", "test"):
            again = training.evaluate(network, data.to_tensor(getattr(dataset, split).images))
            torch.testing.assert_close(outcome.final[f"{split}_{which}"], again)


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
        resumed = training.fit(
            config, dataset, weights, resume=torch.load(stream, weights_only=True)
        )
        assert resumed.progress.history == whole.progress.history
        for split in ("train", "val", "test"):
            for a, b in zip(
                resumed.progress.logits[split], whole.progress.logits[split], strict=True
            ):
                assert torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
        assert all(
            torch.equal(a, whole.last_weights[key]) for key, a in resumed.last_weights.items()
        )


def training_bytes(state: dict) -> io.BytesIO:
    stream = io.BytesIO()
    torch.save(state, stream)
    stream.seek(0)
    return stream


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
    with pytest.raises(
        InputError, match=r"^Pelatihan berhenti pada epoch 1: .*Turunkan learning rate"
    ) as caught:
        training.fit(replace(SMALL, lr=1e30), dataset, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"lr": -1.0}, "lr=-1.0"),
        ({"dropout": 1.0}, "dropout=1.0"),
        ({"optimizer": "lion"}, "adam, adamw"),
        ({"augment": ("blur",)}, "blur"),
        ({"patience": 0}, "patience=0"),
        ({"seed": -1}, "seed=-1"),
        ({"augment_target": "minority"}, "sudah mengulang"),
        (
            {"augment_target": "minority", "augment": ("flip",), "balance": "sampler"},
            "balance='repeat'",
        ),
    ],
)
def test_settings_out_of_range_are_refused_by_name(changes, words):
    with pytest.raises(InputError, match=words):
        TrainConfig(**changes)


def cosine_between(high: float, low: float, done: float) -> float:
    """From `high` to `low` along half a cosine."""
    return low + (high - low) * (1 + math.cos(math.pi * done)) / 2


def rates(schedule: str, lr: float, steps: int) -> list[float]:
    """The learning rate of each step, as the optimizer sees it."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler, seen = (
        recipe.schedule(TrainConfig(schedule=schedule, lr=lr), optimizer, steps, {}),
        [],
    )
    for _ in range(steps):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(seen) < steps else None
    return seen


@pytest.mark.parametrize("steps", [10, 50, 730])
def test_the_schedules_are_the_published_ones(steps):
    lr = 0.01
    assert rates("constant", lr, steps) == [lr] * steps
    cosine = [cosine_between(lr, 0, step / steps) for step in range(steps)]
    assert rates("cosine", lr, steps) == pytest.approx(cosine, rel=1e-9)
    # One-cycle: from lr/25 up to lr after 30% of the steps, then down to lr/10⁴ at the last one.
    top = 0.3 * steps - 1
    onecycle = [
        cosine_between(lr / 25, lr, step / top)
        if step <= top
        else cosine_between(lr, lr / 1e4, (step - top) / (steps - 1 - top))
        for step in range(steps)
    ]
    assert rates("onecycle", lr, steps) == pytest.approx(onecycle, rel=1e-6)


def test_minority_augmentation_balances_and_touches_only_the_rarer_class():
    labels = torch.tensor([0.0] * 10 + [1.0] * 30)
    config = TrainConfig(augment=("exposure",), augment_target="minority")
    rows = torch.cat(training.draw_batches(config, labels, torch.Generator().manual_seed(0)))
    assert (labels[rows] == 0).sum() == (labels[rows] == 1).sum() == 30
    x = torch.zeros(40, 1, 28, 28)
    changed = (
        recipe.transform(config, labels, {})(x, labels.unsqueeze(1))[0].flatten(1).abs().sum(1) > 0
    )
    assert changed[:10].all()
    assert not changed[10:].any()


def test_a_repeated_minority_is_as_frequent_and_augmented_like_the_other():
    labels = torch.tensor([0.0] * 10 + [1.0] * 30)
    config = TrainConfig(augment=("exposure",), balance="repeat")
    rows = torch.cat(training.draw_batches(config, labels, torch.Generator().manual_seed(0)))
    assert (labels[rows] == 0).sum() == (labels[rows] == 1).sum() == 30
    changed = (
        recipe.transform(config, labels, {})(torch.zeros(40, 1, 28, 28), labels.unsqueeze(1))[0]
        .flatten(1)
        .abs()
        .sum(1)
        > 0
    )
    assert changed.all()


def test_weighted_sampler_draws_both_classes_alike():
    labels = torch.tensor([0.0] * 200 + [1.0] * 800)
    rows = torch.cat(
        training.draw_batches(
            TrainConfig(balance="sampler"), labels, torch.Generator().manual_seed(0)
        )
    )
    assert len(rows) == 1000
    assert abs((labels[rows] == 0).float().mean().item() - 0.5) < 0.06


@pytest.mark.parametrize("losses", [(0.5, 0.4, 0.7), (0.5, 0.4, 0.3)])
def test_a_history_is_summarised_by_its_decisive_rows(losses):
    history = pd.DataFrame({"epoch": [1, 2, 3], "val_loss": losses})
    found = training.summarise(history, 1)
    assert found["chosen"]["epoch"] == found["first"]["epoch"] == 1 and found["last"]["epoch"] == 3
    assert found["lowest"]["val_loss"] == min(losses)


# --- precision ------------------------------------------------------------------------------------------------------


def test_bfloat16_learns_and_leaves_weights_and_evaluation_in_float32(dataset, weights):
    """Autocast that outlived a batch would train on weights cast once, and learn nothing."""
    config = replace(SMALL, epochs=8, batch_size=8, lr=2e-3)
    exact, coarse = (
        training.fit(replace(config, precision=name), dataset, weights)
        for name in ("float32", "bfloat16")
    )
    for outcome in (exact, coarse):
        assert (
            outcome.progress.history[-1]["train_loss"]
            < 0.5 * outcome.progress.history[0]["train_loss"]
        )
        assert {t.dtype for t in outcome.last_weights.values()} == {torch.float32, torch.int64}
    assert not torch.equal(exact.final["val_last"], coarse.final["val_last"])
    network = model.build(weights, config.seed, 28, 0.0, config.architecture, **config.adaptation)
    network.load_state_dict(coarse.last_weights)
    again = training.evaluate(network, data.to_tensor(dataset.val.images))
    assert torch.allclose(
        again, coarse.final["val_last"], atol=1e-4
    )  # far finer than bfloat16, which has three digits


def test_extra_test_images_are_judged_and_shown_to_nobody_before(dataset, weights):
    more = data.with_splits(dataset, extra=dataset.val)
    outcome = training.fit(SMALL, more, weights)
    assert torch.equal(outcome.final["extra_last"], outcome.final["val_last"])
    assert "extra" not in outcome.progress.logits
    assert more.fingerprint != data.with_splits(dataset).fingerprint
