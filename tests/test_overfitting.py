"""The measurements of notebook 03 on made-up logits whose answer is known (cxr_helpers/overfitting.py)."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from cxr_helpers import overfitting
from cxr_helpers.data import Split
from cxr_helpers.engine.runs import Run
from cxr_helpers.training import TrainConfig
from tests.conftest import made


def fit(logits: dict, folder: Path, best: int = 1) -> Run:
    """A finished run whose recorded logits are these; those of the test split lie in its folder, as the run store keeps them."""
    epochs = len(logits["val"])
    history = pd.DataFrame({"epoch": range(1, epochs + 1), "val_loss": [0.0 if e == best - 1 else 1.0 for e in range(epochs)]})
    seen = {name: values for name, values in logits.items() if name != "test"}
    keep_test(folder, logits["test"], logits["test"][best - 1])
    return Run("key", folder, TrainConfig(epochs=epochs), history, seen, {"best_epoch": best})


def keep_test(folder: Path, epochs: np.ndarray, best: np.ndarray) -> None:
    np.savez(folder / "predictions.npz", test=epochs, test_best=best, test_last=epochs[-1])


def signed(labels: np.ndarray, right: float, size: float = 2.0) -> np.ndarray:
    """Logits of which the first `right` share is right."""
    sign = np.where(np.arange(len(labels)) < round(right * len(labels)), 1, -1)
    return size * sign * np.where(labels == 1, 1, -1)


@pytest.fixture
def case(tmp_path):
    data = made()
    y = {split: getattr(data, split).labels for split in ("train", "val", "test")}
    logits = {
        "train": np.stack([signed(y["train"], 0.75), signed(y["train"], 1.0)]),
        "val": np.stack([signed(y["val"], 0.75, 0.5), signed(y["val"], 0.75, 5)]),
        "test": np.stack([signed(y["test"], 1.0), signed(y["test"], 0.5)]),
    }
    return data, fit(logits, tmp_path)


def test_gap_and_losses_by_epoch_are_those_of_the_logits(case):
    data, run = case
    first, last = overfitting.by_epoch([run], data)
    assert first["gap"]["value"] == pytest.approx(0) and last["gap"]["value"] == pytest.approx(0.25)
    ours = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(run.logits["val"][1]), torch.from_numpy(data.val.labels.astype(float))
    )
    assert last["val_loss"]["value"] == pytest.approx(ours.item())
    assert last["loss_gap"]["value"] == pytest.approx(last["val_loss"]["value"] - last["train_loss"]["value"])
    for name in ("train_loss", "val_loss", "train_acc", "val_acc", "loss_gap", "gap"):
        low, high = last[name]["ci95"]
        assert low <= last[name]["value"] <= high


def test_the_turn_is_where_validation_loss_is_lowest_and_its_rise_is_paired(case):
    data, run = case
    found = overfitting.turn([run], data)
    assert found["epoch"] == 1 and found["epochs"] == 2
    assert found["rise"]["value"] > 0 and found["rise"]["ci95"][0] < found["rise"]["value"] < found["rise"]["ci95"][1]
    assert found["turned"] and found["rises"] is (found["rise"]["ci95"][0] > 0)


def test_selection_reads_the_test_split_at_the_epoch_that_validation_chose(case):
    data, run = case
    rules = {rule["rule"]: rule for rule in overfitting.selection([run], data)}
    assert rules["last"]["epochs"] == [2] and rules["last"]["acc"]["value"] == 0.5 and rules["last"]["difference"] is None
    assert rules["loss"]["epochs"] == [1] and rules["loss"]["acc"]["value"] == 1.0
    assert rules["loss"]["difference"]["acc"]["value"] == pytest.approx(0.5)
    assert rules["loss"]["differs"] and not rules["last"]["differs"]


def test_memorisation_is_counted_apart_for_flipped_labels(case):
    data, run = case
    flipped = np.arange(len(data.train)) >= 36  # exactly the images that epoch 1 gets wrong
    split = Split(data.train.images, data.train.labels, data.train.rows, {"flipped": flipped})
    rows = overfitting.memorisation([run], split)
    assert (rows["n_correct"], rows["n_flipped"]) == (36, 12)
    first, last = rows["by_epoch"]
    assert (first["correct"]["value"], first["flipped"]["value"], last["flipped"]["value"]) == (1, 0, 1)
    assert overfitting.memorisation([run], data.train) is None


def test_temperature_recovers_the_factor_by_which_logits_are_too_sure():
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, 20000)
    labels = (generator.random(20000) < expit(honest)).astype(np.uint8)
    assert overfitting.fit_temperature(3 * honest, labels) == pytest.approx(3, rel=0.1)
    half = slice(0, 1000), slice(1000, 2000)
    found = overfitting.temperature(3 * honest[half[0]], labels[half[0]], 3 * honest[half[1]], labels[half[1]])
    assert found["difference"]["ece"]["ci95"][1] < 0 and found["difference"]["loss"]["ci95"][1] < 0
    assert found["after"]["loss"]["value"] < found["before"]["loss"]["value"]


def test_confident_errors_come_surest_first_with_what_is_known(case):
    data, _ = case
    logits = signed(data.val.labels, 0.75)
    logits[-1] *= 3
    n = len(logits)
    truth = {"flipped": np.arange(n) == n - 1, "size": np.full(n, 0.05), "ctr": np.full(n, 0.4)}
    found = overfitting.confident_errors(logits, Split(data.val.images, data.val.labels, data.val.rows, truth))
    assert len(found["labels"]) == 4 and found["remarks"] == ["label terbalik,\npneumotoraks kecil"] + ["pneumotoraks kecil"] * 3
    assert found["n"] == 1 and found["n_flipped"] == 1  # σ(2) is below 0.9, σ(6) is above
    unknown = overfitting.confident_errors(logits, data.val)
    assert unknown["n_flipped"] is None and set(unknown["remarks"]) == {""}


@pytest.fixture
def anatomy(case):
    data, run = case
    n = len(data.test)
    side = np.where(np.arange(n) < n // 2, 0, 1)
    tube = np.arange(n) % 2 == 0
    truth = dict(
        ctr=np.linspace(0.4, 0.6, n), size=0.2 * side, side=side, tube=tube, exposure=np.ones(n), flipped=np.zeros(n, bool)
    )
    test = Split(data.test.images, data.test.labels, data.test.rows, truth)
    return SimpleNamespace(train=data.train, val=data.val, test=test), run


def test_a_network_that_reads_the_tube_alone_is_caught(anatomy):
    data, run = anatomy
    keep_test(run.folder, np.zeros((2, len(data.test))), np.where(data.test.truth["tube"], 3.0, -3.0))
    rows = overfitting.tube_effect([run], data)
    assert [row["pneumothorax"] for row in rows] == [False, True]
    assert all(row["difference"]["value"] == 1 and row["difference"]["ci95"][0] > 0 for row in rows)


def test_a_network_that_reads_the_air_alone_is_not(anatomy):
    data, run = anatomy
    keep_test(run.folder, np.zeros((2, len(data.test))), np.where(data.test.truth["side"] > 0, 3.0, -3.0))
    assert all(row["difference"]["value"] == 0 for row in overfitting.tube_effect([run], data))


def test_subgroups_divide_the_images_and_leave_flipped_ones_out(anatomy):
    data, run = anatomy
    data.test.truth["flipped"][:2] = True
    keep_test(run.folder, np.zeros((2, len(data.test))), signed(data.test.labels, 1.0))
    rows = overfitting.subgroups([run], data)
    n = {divides: sum(r["n"] for r in rows if r["divides"] == divides) for divides in {r["divides"] for r in rows}}
    assert n["Rasio kardiotoraks"] == n["Selang dada"] == n["Paparan sinar"] == 14 and n["Label"] == 16
    assert all(row["acc"]["value"] == 1 for row in rows)


@pytest.mark.parametrize(
    ("ci", "side"), [((0.01, 0.2), "above"), ((0.0, 0.2), "across"), ((-0.1, 0.0), "across"), ((-0.2, -0.01), "below")]
)
def test_the_final_gap_says_on_which_side_of_zero_it_lies(ci, side):
    found = overfitting.final_gap([{"gap": {}}, {"gap": {"value": sum(ci) / 2, "ci95": ci}}])
    assert found["side"] == side and found["ci95"] == ci


@pytest.mark.parametrize(("first", "last", "helps"), [((0.6, 0.7), (0.71, 0.8), True), ((0.6, 0.7), (0.7, 0.8), False)])
def test_more_data_helps_when_both_intervals_are_apart(first, last, helps):
    assert overfitting.more_data_helps([{"val_acc": {"ci95": first}}, {"val_acc": {"ci95": last}}]) is helps


def test_groups_apart_are_the_worst_and_the_best_of_one_division():
    def row(divides, value, low, high):
        return {"divides": divides, "acc": {"value": value, "ci95": [low, high]}}

    rows = [row("A", 0.9, 0.85, 0.95), row("A", 0.5, 0.4, 0.6), row("B", 0.5, 0.4, 0.6), row("B", 0.7, 0.6, 0.8)]
    rows += [row("Label", 0.9, 0.85, 0.95), row("Label", 0.1, 0.0, 0.2)]
    assert overfitting.groups_apart(rows) == [{"worst": 1, "best": 0}]  # B's intervals touch, a label is no group of patients
    assert overfitting.groups_apart(None) is None
