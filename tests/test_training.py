"""Training against the same written out plainly, exact resume, augmentation, settings' limits."""

import copy
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from torch import nn
from torch.optim import SGD, lr_scheduler
from torch.optim.swa_utils import update_bn

from cxr_helpers import augment, data, model, training
from cxr_helpers.engine.errors import InputError
from cxr_helpers.model import resolve_weights
from cxr_helpers.training import TrainConfig
from tests.conftest import made

MINORITY = {"augment": ("exposure",), "augment_target": "minority"}
LONGER = {"epochs": 6, "steps_per_epoch": 2, "final_div_factor": 400}
SMALL = TrainConfig(epochs=3, batch_size=16, architecture="small_cnn", seed=5)
RANDOM = resolve_weights("random")


def cut(part: data.Split) -> data.Split:
    return replace(part, images=part.images[:, :16, 6:22].copy())


# 16 pixels a side take a third of the time that 28 take.
DATA = replace(made(), **{s: cut(getattr(made(), s)) for s in ("train", "val", "test")})
FEW = data.take(DATA, 12, 8, 8, seed=0)  # for ResNet-18
# The network learns what validation calls wrong: its loss rises from epoch to epoch.
OPPOSED = replace(DATA, val=replace(DATA.val, labels=1 - DATA.val.labels))


class Linear(nn.Module):
    """The smallest network of one's own."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(256, 1)

    def forward(self, x):
        return self.fc(x.flatten(1))


def network_at_its_start(config: TrainConfig) -> nn.Module:
    return model.build(
        RANDOM, config.seed, 28, config.dropout, config.architecture, **config.adaptation
    )


# --- the loop -------------------------------------------------------------------------------------


def cosine_between(high: float, low: float, done: float) -> float:
    """From `high` to `low` along half a cosine."""
    return low + (high - low) * (1 + math.cos(math.pi * done)) / 2


def published_rates(schedule: str, lr: float, steps: int) -> list[float]:
    """The learning rate of each step by the papers' formulas."""
    if schedule == "constant":
        return [lr] * steps
    if schedule == "cosine":
        return [cosine_between(lr, 0, step / steps) for step in range(steps)]
    top = 0.3 * steps - 1  # up from lr/25 in 30% of the steps, then down to lr/10⁴ at the last one
    up = [cosine_between(lr / 25, lr, step / top) for step in range(math.ceil(top))]
    left = [(step - top) / (steps - 1 - top) for step in range(len(up), steps)]
    return up + [cosine_between(lr, lr / 1e4, done) for done in left]


def plain_loop(config: TrainConfig, dataset: data.Dataset) -> tuple[list[dict], int]:
    """What the settings promise, written out: logits of each epoch, and the parameters trained."""
    network = network_at_its_start(config)
    stages = [child for child in reversed([*network.children()]) if [*child.parameters()]]
    frozen = {"all": [], "head": stages[1:], "layer4+head": stages[2:]}[config.trainable]
    groups = [
        {"params": [*s.parameters()], "times": config.layer_lr**i} for i, s in enumerate(stages)
    ]
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": SGD}
    optimizer = kinds[config.optimizer](groups, weight_decay=config.weight_decay, foreach=False)
    inputs = {s: data.to_tensor(getattr(dataset, s).images) for s in ("train", "val", "test")}
    images, labels = inputs["train"], torch.from_numpy(dataset.train.labels).float()
    positives = labels.sum()
    heavier = (len(labels) - positives) / positives if config.balance == "pos_weight" else 1
    mean, averaged, rates, epochs = copy.deepcopy(network), 0, None, []
    for epoch in range(config.epochs):
        seed = config.seed * 10_007 + epoch + 1
        batches = training.draw_batches(config, labels, torch.Generator().manual_seed(seed))
        steps = len(batches) * config.epochs
        rates = rates or iter(published_rates(config.schedule, config.lr, steps))
        network.train()
        held = stages[1 + epoch // config.unfreeze :] if config.unfreeze else frozen
        for stage in stages:
            stage.requires_grad_(stage not in held)
            stage.train(stage not in held)
        torch.manual_seed(seed)
        train = torch.full([len(labels)], math.nan)
        for rows in batches:
            rate = next(rates)
            for group in optimizer.param_groups:
                group["lr"] = rate * group["times"]
            y, z = labels[rows], network(augment.apply(images[rows], config.augment))[:, 0]
            loss = -heavier * y * nn.functional.logsigmoid(z)
            loss = loss - (1 - y) * nn.functional.logsigmoid(-z)
            optimizer.zero_grad()
            loss.mean().backward()
            if config.clip:
                gradients = [p.grad for p in network.parameters() if p.grad is not None]
                norm = torch.cat([g.flatten() for g in gradients]).norm()
                for gradient in gradients:
                    gradient *= min(1, config.clip / norm)
            optimizer.step()
            train[rows] = z.detach()
            if config.average == "ema":
                average(mean.state_dict(), network.state_dict(), 0.01 if averaged else 1)
                averaged += 1
        if config.average == "swa" and epoch >= config.epochs // 2:
            averaged += 1
            average(dict(mean.named_parameters()), dict(network.named_parameters()), 1 / averaged)
            update_bn([images], mean)
        judged = (mean if averaged else network).eval()
        with torch.no_grad():
            seen = {split: judged(inputs[split])[:, 0] for split in ("val", "test")}
        epochs.append(seen | {"train": train})
    trained = [p.numel() for p in network.parameters() if p.requires_grad]
    return epochs, sum(trained)


@torch.no_grad()
def average(means: dict, values: dict, share: float) -> None:
    for name, value in values.items():
        if value.is_floating_point():
            means[name] += share * (value - means[name])


RESNET = {"architecture": "resnet18", "optimizer": "sgd", "lr": 0.02, "epochs": 1}
RECIPES = {
    "the course's": {},
    "AdamW on a cosine": {"optimizer": "adamw", "weight_decay": 0.5, "schedule": "cosine"},
    "bounded, dropout": {"optimizer": "sgd", "lr": 0.1, "clip": 0.2, "dropout": 0.5},
    "one-cycle, weighted": {"schedule": "onecycle", "lr": 2e-3, "balance": "pos_weight"},
    "repeated on a cosine": {"balance": "repeat", "schedule": "cosine"},
    "exponential mean": {"average": "ema", "lr": 2e-3},
    "mean of later epochs": {"average": "swa", "lr": 2e-3, "epochs": 4},
    "a rate for each stage": {"layer_lr": 0.3, "lr": 4e-3},
    "stage after stage": {"unfreeze": 1, "lr": 4e-3},
    "ResNet-18": RESNET | {"batch_size": 6},
    "its head": RESNET | {"trainable": "head", "epochs": 2},
    "its last stage, augmented": RESNET | {"trainable": "layer4+head", "augment": ("flip",)},
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_epochs_predictions_are_those_of_the_plain_loop(name):
    config = replace(SMALL, **RECIPES[name])
    dataset = FEW if config.architecture == "resnet18" else DATA
    outcome = training.fit(config, dataset, RANDOM)
    with torch.random.fork_rng():
        expected, trained = plain_loop(config, dataset)
    # Rounding differs by layout and grows with each step; it must still be rounding.
    near = 1e-4 if dataset is DATA else 5e-3
    for epoch, wanted in enumerate(expected):
        found = {split: outcome.logits[split][epoch] for split in wanted}
        torch.testing.assert_close(found, wanted, atol=near, rtol=0, equal_nan=True)
    assert outcome.info["trained_parameters"] == trained


def test_the_history_and_the_two_chosen_states_are_those_of_the_predictions():
    more, lengths = replace(OPPOSED, extra=OPPOSED.val), []
    config = replace(SMALL, epochs=20, patience=3, monitor="loss")
    outcome = training.fit(config, more, RANDOM, on_epoch=lambda h: lengths.append(len(h)))
    history, logits = outcome.history, outcome.logits
    assert lengths == [row["epoch"] for row in history] == [*range(1, len(history) + 1)]
    for epoch, row in enumerate(history):
        for split, labels in (("train", more.train.labels), ("val", more.val.labels)):
            z = logits[split][epoch].double().numpy()
            loss = log_loss(labels, 1 / (1 + np.exp(-z)))
            assert row[f"{split}_loss"] == pytest.approx(loss)
            assert row[f"{split}_acc"] == pytest.approx(accuracy_score(labels, z > 0))
        assert row["val_auc"] == pytest.approx(roc_auc_score(labels, z))
    losses, best = [row["val_loss"] for row in history], outcome.info["best_epoch"]
    assert losses[best - 1] == min(losses) and len(history) == best + 3 < 20  # stopped by patience
    network = network_at_its_start(SMALL)
    for which, kept in outcome.weights.items():
        network.load_state_dict(kept)
        for split in ("train", "val", "test", "extra"):
            again = training.evaluate(network, data.to_tensor(getattr(more, split).images))
            torch.testing.assert_close(outcome.logits[f"{split}_{which}"], again)
    assert not torch.equal(outcome.logits["val_best"], outcome.logits["val_last"])
    assert "extra" not in logits  # shown to nobody before


def test_torch_switched_to_what_cannot_train_is_one_line(request):
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    for dtype, gradients in ((torch.float64, True), (torch.float32, False)):
        torch.set_default_dtype(dtype)
        with torch.set_grad_enabled(gradients), pytest.raises(InputError, match="set_default_dty"):
            training.fit(SMALL, DATA, RANDOM)


RESUMED = {
    "exponential mean": {"dropout": 0.5, "augment": ("geometry", "flip"), "average": "ema"},
    "mean of later epochs": {"balance": "sampler", "schedule": "cosine", "average": "swa"},
    "stage after stage": MINORITY | {"unfreeze": 1},
    "ResNet-18's last stage": RESNET | {"trainable": "layer4+head", "epochs": 2},
}


@pytest.mark.parametrize("name", RESUMED)
def test_resume_is_exact(name):
    """Stopped after any epoch and resumed: history, logits and weights are equal, bit for bit."""
    config, states = replace(SMALL, **RESUMED[name]), []
    dataset = FEW if config.architecture == "resnet18" else DATA
    train = partial(training.fit, config, dataset, RANDOM)
    whole = train(checkpoint=lambda epoch, state: states.append(copy.deepcopy(state)))
    assert len(states) == config.epochs - 1  # the last epoch is kept with the finished run
    for saved in states:
        resumed = train(resume=saved)
        assert resumed.history == whole.history
        exactly = partial(torch.testing.assert_close, rtol=0, atol=0, equal_nan=True)
        exactly(resumed.weights["last"], whole.weights["last"])
        exactly(resumed.logits, whole.logits)


def test_predictions_are_averaged_over_augmented_copies_and_the_random_state_is_left_alone():
    config = replace(SMALL, epochs=1, augment=("exposure",), tta=3, dropout=0.3)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    outcome = training.fit(config, DATA, RANDOM)
    assert torch.equal(before, torch.random.get_rng_state())
    network = network_at_its_start(config)
    network.load_state_dict(outcome.weights["last"])
    images = data.to_tensor(DATA.test.images)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        copies = [training.evaluate(network, augment.exposure(images)) for _ in range(3)]
    torch.testing.assert_close(outcome.logits["test_last"], sum(copies) / 3)
    assert not torch.equal(outcome.logits["test_last"], outcome.logits["test"][-1])


def test_bfloat16_multiplies_while_training_and_never_while_judging():
    """It follows float32 roughly: autocast that outlived a batch would keep the first weights."""
    config = replace(SMALL, optimizer="sgd", lr=0.01)
    exact, coarse = (
        training.fit(replace(config, precision=p), DATA, RANDOM, parts={"network": Linear})
        for p in ("float32", "bfloat16")
    )
    first, *_, last = coarse.logits["train"]
    difference = (last - exact.logits["train"][-1]).abs().max()
    assert 0 < difference < 0.05 < (first - last).abs().max()
    network = Linear()
    network.load_state_dict(coarse.weights["last"])  # float32, as they are
    judged = training.evaluate(network, data.to_tensor(DATA.val.images))
    torch.testing.assert_close(coarse.logits["val_last"], judged, atol=1e-6, rtol=0)


def test_a_network_of_ones_own_gets_images_enlarged_and_as_preprocess_leaves_them():
    parts = {"network": nn.Sequential(nn.Flatten(), nn.Linear(24 * 24, 1))}
    training.fit(replace(SMALL, epochs=1, resize=24), DATA, RANDOM, parts=parts)
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(1))
    parts = {"network": lazy, "preprocess": lambda images: images[..., 2:, 2:]}
    outcome = training.fit(replace(SMALL, epochs=1), made(), RANDOM, parts=parts)
    assert outcome.info["parameters"] == 26 * 26 + 1


def test_a_loss_that_is_not_finite_stops_and_names_epoch_and_rate():
    with pytest.raises(InputError, match=r"epoch 1\b.*1e\+30"):
        training.fit(replace(SMALL, lr=1e30), DATA, RANDOM)


# --- the order of the images ----------------------------------------------------------------------


def batches(labels: torch.Tensor, **settings) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return training.draw_batches(TrainConfig(**settings), labels, generator)


@pytest.mark.parametrize("rare", [0, 1])
def test_an_epoch_shows_every_image_once_or_both_classes_alike(rare):
    labels = torch.tensor([rare] * 200 + [1 - rare] * 700).float()
    shuffled = batches(labels, batch_size=32)
    assert [len(rows) for rows in shuffled] == [32] * 28 + [4]
    order = torch.randperm(900, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat(shuffled), order)
    for settings in ({"balance": "repeat"}, MINORITY):
        rows = torch.cat(batches(labels, **settings))
        times = torch.bincount(rows, minlength=900).tolist()
        assert times == [4] * 100 + [3] * 100 + [1] * 700
        assert not torch.equal(rows.sort().values, rows)
    rows = torch.cat(batches(labels, balance="sampler"))
    assert len(rows) == 900 and abs((labels[rows] == rare).float().mean().item() - 0.5) < 0.06


# --- what the settings make -----------------------------------------------------------------------


@pytest.mark.parametrize("rare", [0, 1])
def test_minority_augmentation_touches_only_the_rarer_class(rare):
    labels = torch.tensor([rare] * 10 + [1 - rare] * 30).float()
    transform = training.make_transform(TrainConfig(**MINORITY), labels, {})
    x, _ = transform(torch.zeros(40, 1, 28, 28), labels.unsqueeze(1))
    assert torch.equal(x.flatten(1).any(1), labels == rare)


def test_an_optimizer_of_ones_own_gets_the_rate_unless_it_has_one():
    network, cpu = Linear(), torch.device("cpu")

    def group(make, **settings) -> dict:
        config = TrainConfig(lr=0.2, **settings)
        return training.make_optimizer(config, network, cpu, {"optimizer": make}).param_groups[0]

    assert group(partial(SGD, momentum=0.9))["lr"] == 0.2
    found = group(partial(SGD, lr=3.0), weight_decay=0.1)
    assert (found["lr"], found["weight_decay"]) == (3.0, 0.1)
    assert group(lambda params, **named: SGD(params, **named))["lr"] == 0.2
    for wrong in (SGD(network.parameters(), lr=0.1), lambda params: params):
        with pytest.raises(InputError, match="optimizer"):
            group(wrong)


@pytest.mark.parametrize(
    ("make", "wanted"),
    [
        (partial(lr_scheduler.StepLR, step_size=1, gamma=0.5), [1, 1, 0.5, 0.5, 0.25, 0.25]),
        (partial(lr_scheduler.ReduceLROnPlateau, patience=0), [1, 1, 1, 1, 0.1, 0.1]),
        (lr_scheduler.CosineAnnealingLR, [1, 1, 0.75, 0.75, 0.25, 0.25]),
        (partial(lr_scheduler.OneCycleLR, final_div_factor=400), published_rates("onecycle", 1, 6)),
        (partial(lr_scheduler.OneCycleLR, **LONGER), published_rates("onecycle", 1, 12)[:6]),
    ],
)
def test_a_schedule_of_ones_own_counts_what_it_counts(make, wanted):
    """Batches of one-cycle, epochs of the others; who asks for it sees the validation loss."""
    config, optimizer = TrainConfig(epochs=3, lr=1.0), SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule, seen = training.make_schedule(config, optimizer, 6, {"schedule": make}), []
    for step, loss in enumerate((0.4, 0.4, 0.5, 0.5, 0.3, 0.3)):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step < 5:
            schedule.step()
        if step % 2:
            schedule.end_epoch(loss, 1 - loss)
    assert seen == pytest.approx(wanted)


def test_augmentation_keeps_shape_and_range_and_flips_exactly():
    torch.manual_seed(0)
    x = torch.rand(64, 1, 28, 28) * 2 - 1
    for name in augment.TRANSFORMS:
        y = augment.apply(x, (name,))
        assert y.shape == x.shape and y.abs().max() <= 1 and not torch.equal(x, y)
    y = augment.flip(x)
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all() and 15 < mirrored.sum() < 49


# --- limits ---------------------------------------------------------------------------------------


LIMITS = {
    "epochs": ([1, np.int64(3)], [0, 2.5, None, True]),
    "lr": ([1e-9, np.float32(0.5)], [0.0, -1.0, math.inf, math.nan, "0,001"]),
    "patience": ([1, None], [0]),
    "resize": ([8, 512], [7, 513]),
    "seed": ([0, 2**31 - 1], [-1, 2**31]),
}


@pytest.mark.parametrize("name", LIMITS)
def test_both_sides_of_every_limit(name):
    allowed, refused = LIMITS[name]
    for value in allowed:
        assert getattr(TrainConfig(**{name: value, "augment": ("flip",)}), name) == value
    for value in refused:
        with pytest.raises(InputError, match=f"{name}={value}|{name}={value!r}"):
            TrainConfig(**{name: value, "augment": ("flip",)})


REFUSED = {
    "blur": {"augment": ("blur",)},
    "resnet19": {"architecture": "resnet19"},
    "colour": {"adaptation": {"colour": "sum"}},
    "augment=": {"augment_target": "minority"},
    "balance=": MINORITY | {"balance": "sampler"},
    "minority": MINORITY | {"own": "x = 1"},
    "unfreeze": {"unfreeze": 1, "trainable": "head"},
    "average": {"average": "ema", "trainable": "head"},
    "tta": {"tta": 2},
}


@pytest.mark.parametrize("named", REFUSED)
def test_settings_that_mean_nothing_are_refused_by_name(named):
    with pytest.raises(InputError, match=named):
        TrainConfig(**REFUSED[named])
