"""The measurements of notebook 03 on made-up logits and networks whose answer is known."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit
from torch import nn

from cxr_helpers import evaluation, overfitting, training
from cxr_helpers.data import Split
from cxr_helpers.engine.runs import Run
from cxr_helpers.training import TrainConfig
from tests.conftest import lesson, made


def split_of(n: int, **more) -> Split:
    labels = (np.arange(n) % 2).astype(np.uint8)
    return Split(np.zeros((n, 28, 28), np.uint8), labels, np.arange(n), **more)


def fit(folder: Path, test: np.ndarray, best: int = 1, **logits: np.ndarray) -> Run:
    """A run with these logits (epochs, N); in eval mode it answers alike, or as "…_last" says."""
    loss = np.ones(len(test))
    loss[best - 1] = 0
    history = {"epoch": np.arange(len(test)) + 1, "val_loss": loss, "val_auc": 1 - loss}
    for name in ("train", "val"):
        logits.setdefault(name, test)
        ends = {f"{name}_best": logits[name][best - 1], f"{name}_last": logits[name][-1]}
        logits = ends | logits
    np.savez(folder / "predictions.npz", test=test, test_best=test[best - 1], test_last=test[-1])
    return Run("", folder, TrainConfig(), pd.DataFrame(history), logits, {"best_epoch": best})


def signed(labels: np.ndarray, right: float, size: float = 2.0) -> np.ndarray:
    """Logits of which the first `right` share is right."""
    sign = np.where(np.arange(len(labels)) < round(right * len(labels)), 1, -1)
    return size * sign * np.where(labels == 1, 1, -1)


def with_loss(loss: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return -np.log(np.expm1(loss)) * np.where(labels == 1, 1, -1)


def test_the_gap_is_that_of_the_finished_network_not_of_the_curve(tmp_path):
    train, val = split_of(48), split_of(16)
    epochs = np.stack([signed(train.labels, 0.75), signed(train.labels, 1.0)])
    seen = np.stack([signed(val.labels, 0.75, 0.5), signed(val.labels, 0.75, 5)])
    finished = signed(train.labels, 0.875)
    run = fit(tmp_path, seen, train=epochs, train_last=finished)
    data = SimpleNamespace(train=train, val=val)
    known = lesson("03_analisis_overfitting", "sel-07", fits=[run], run=run, val=val)
    for loss, epoch in zip(known["losses"], seen, strict=True):
        assert loss.values == [evaluation.loss(epoch, val.labels).mean()]
    assert overfitting.gap([run], data)["value"] == pytest.approx(0.125)
    for share, side in ((1.0, "above"), (0.75, "across"), (0.25, "below")):
        run.logits["train_last"] = signed(train.labels, share)
        assert overfitting.gap([run], data)["side"] == side


@pytest.mark.parametrize(
    ("trend", "epoch", "side"),
    [((0.3, 0, 0.1, 0.3), 2, "above"), ((0.3, 0.2, 0.1, 0), 4, "across")],
)
def test_the_turn_is_where_validation_loss_is_lowest(tmp_path, trend, epoch, side):
    val, noise = split_of(300), np.random.default_rng(0).normal(0, 0.25, (4, 300))
    loss = np.maximum(0.6 + np.array(trend)[:, None] + noise, 0.01)
    run = fit(tmp_path, with_loss(loss, val.labels))
    found = overfitting.turn([run], SimpleNamespace(val=val))
    assert (found["epoch"], found["epochs"], found["each_seed"]) == (epoch, 4, [1])
    assert found["turned"] is (epoch < 4) and found["rise"]["side"] == side
    assert found["rise"]["value"] == pytest.approx(trend[-1] - min(trend), abs=0.05)


@pytest.mark.parametrize(("skill", "side"), [(0.5, "below"), (1, "across")])
def test_the_loss_may_rise_with_confidence_alone_where_ranking_is_kept(tmp_path, skill, side):
    val, noise = split_of(400), np.random.default_rng(0).normal(0, 1, (2, 400))
    able = (noise + np.array([[1], [skill]])) * np.where(val.labels == 1, 1, -1)
    run = fit(tmp_path, able * [[1], [20]])
    found = overfitting.turn([run], SimpleNamespace(val=val))
    assert (found["rise"]["side"], found["ranking"]["side"]) == ("above", side)
    first, last = (evaluation.measured([logits], val.labels)["auc"] for logits in able)
    wanted = evaluation.difference(last, first)["ci95"]
    assert found["ranking"]["ci95"] == pytest.approx(wanted, abs=0.001)


def test_the_images_that_chose_the_lowest_loss_do_not_measure_the_rise_from_it(tmp_path):
    """Every epoch but the last suits one patient and harms all others, who end better off."""
    who = np.repeat(np.arange(10), 2)
    loss = np.vstack([np.where(np.eye(10)[:, who] == 1, 0.01, 0.54), np.full(20, 0.5)])
    val = replace(split_of(20), labels=(who % 2).astype(np.uint8), patients=who)
    run = fit(tmp_path, with_loss(loss, val.labels))
    rise = overfitting.turn([run], SimpleNamespace(val=val))["rise"]
    assert rise["value"] == pytest.approx(-0.04) and rise["side"] == "below"


def test_selection_reads_the_test_split_at_the_epoch_that_validation_chose(tmp_path):
    """Both epochs call every image 1; the second, which neither rule chooses, in no order."""
    test = split_of(40)
    blurred = np.where(np.arange(40) % 4 < 2, 2.0, 1.0)
    logits = np.stack([np.where(test.labels == 1, 2.0, 1.0), blurred])
    rules = overfitting.selection([fit(tmp_path, logits)], SimpleNamespace(val=test, test=test))
    assert [rule["epochs"] for rule in rules] == [[2], [1], [1]]
    assert [rule["auc"]["value"] for rule in rules] == [0.5, 1, 1]
    for rule in rules[1:]:
        assert rule["difference"]["auc"]["value"] == 0.5
        assert rule["difference"]["acc"]["value"] == 0 and rule["differs"] == ["auc"]


def test_what_both_rules_owe_to_a_seed_is_no_difference_between_them():
    """Three trainings far apart, in each of which one rule is better by .01."""
    values, images = np.array([[0.61, 0.71, 0.81], [0.6, 0.7, 0.8]]), np.zeros((3, 9))
    ours, theirs = (evaluation.Measured(each, ((images, None),)) for each in values)
    assert evaluation.side(evaluation.difference(ours, theirs)["ci95"]) == "across"
    found = evaluation.estimate(overfitting.paired(ours, theirs))
    assert found["ci95"] == pytest.approx([0.01, 0.01])


def test_a_change_of_the_learning_curve_is_seen_where_intervals_overlap(tmp_path):
    """80%, 84%, 80% right, the same images and more: every change is a gain, or a loss."""
    val = split_of(400)
    data = SimpleNamespace(train=val, val=val)
    points = [(data, [fit(tmp_path, signed(val.labels, x)[None])]) for x in (0.80, 0.84, 0.80)]
    first, middle, last = overfitting.curve(points)
    assert first["val_acc"]["ci95"][1] > middle["val_acc"]["ci95"][0]
    assert first["from_first"] is first["from_previous"] is None
    assert middle["from_first"]["value"] == pytest.approx(0.04)
    assert (middle["from_previous"]["side"], last["from_previous"]["side"]) == ("above", "below")
    assert (middle["from_first"]["side"], last["from_first"]["side"]) == ("above", "across")


@pytest.mark.parametrize(
    ("first", "last", "rise", "lead"),
    [
        ((0.9, 0.1), (1.0, 0.9), "above", "above"),
        ((0.5, 0.5), (1.0, 1.0), "above", "across"),  # memorised, but nothing general came first
        ((0.9, 0.1), (1.0, 0.1), "across", "above"),
    ],
)
def test_memorisation_follows_when_flipped_labels_rise_after_correct_ones_lead(
    tmp_path, first, last, rise, lead
):
    """first, last: shares of correct and of flipped labels that are fitted in that epoch."""
    flipped, air = np.arange(120) >= 80, np.arange(120) % 2
    truth = {"flipped": flipped, "side": air, "ctr": 0.6 - 0.1 * flipped}
    truth["size"] = np.where(flipped, first[1], 0.5) * air
    train = split_of(120, truth=truth, patients=np.arange(120) // 3)
    parts = train.labels[:80], train.labels[80:]
    epochs = [np.concatenate([*map(signed, parts, shares)]) for shares in (first, last)]
    found = overfitting.memorisation([fit(tmp_path, np.stack(epochs))], train)
    assert (found["rise"]["side"], found["lead"]["side"]) == (rise, lead)
    assert found["follows"] is (rise == lead == "above")
    for name, share, n in (("correct", first[0], 80), ("flipped", first[1], 40)):
        assert found["by_epoch"][0][name]["value"] == pytest.approx(share)
        assert found[name]["n"] == n
        drawn = (0.6, 0.5) if name == "correct" else (0.5, first[1])
        assert (found[name]["ctr"], found[name]["air"]) == pytest.approx(drawn)
    assert found["weaker"] is (first[1] < 0.5)


@pytest.mark.parametrize(
    ("val", "test", "side"),
    [
        (3, 3, "below"),  # too sure
        (1 / 3, 1 / 3, "below"),  # not sure enough
        (3, 1, "above"),  # validation is too sure, the test split was calibrated before
        (1.15, 1.15, "across"),  # too little to mend
    ],
)
def test_temperature_softens_what_is_too_sure_and_may_mend_or_harm(val, test, side):
    """Logits of validation and test images are `val` and `test` times the true ones."""
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, 1600)
    labels = (generator.random(1600) < expit(honest)).astype(np.uint8)
    sure, y = test * honest[1000:], labels[1000:]
    splits = [SimpleNamespace(labels=one, patients=None) for one in (labels[:1000], y)]
    found = overfitting.temperature(val * honest[:1000], splits[0], sure, splits[1])
    t = found["temperature"]
    assert t == pytest.approx(val, rel=0.15)
    assert found["difference"]["side"] == side
    gain = evaluation.loss(sure / t, y) - evaluation.loss(sure, y)
    assert found["difference"]["value"] == pytest.approx(gain.mean())
    assert found["before"]["beyond_chance"] is (test in (3, 1 / 3))
    assert found["after"]["ece_measured"] < found["before"]["ece_measured"] or side != "below"


def test_attribution_finds_the_only_pixels_that_count_and_its_sum_is_the_change_of_the_logit():
    mask, data = np.zeros((28, 28), bool), made()
    mask[5:12, 8:20] = True
    weight = np.where(mask, np.random.default_rng(0).normal(size=(28, 28)), 0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 1))
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(weight).reshape(1, -1))
    maps = overfitting.attribute(network, data.val.images, data.train.images[0])
    change = (data.val.images.astype(float) - data.train.images[0]) / 127.5
    assert maps == pytest.approx(weight * change, abs=1e-4)


class Answering(nn.Module):
    """A network whose logit is answer(image (H, W))."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, x):
        return torch.tensor([[float(self.answer(image[0].numpy()))] for image in x])


@pytest.fixture
def sees(monkeypatch):
    """sees(kind, answer): by thing the row of `response` of such a network on such data."""

    def rows(kind: str, answer) -> dict[str, dict]:
        monkeypatch.setattr(training, "restored", lambda run: Answering(answer))
        data = replace(made(), source=replace(made().source, kind=kind))
        found = overfitting.response([None], SimpleNamespace(used=data))
        return {row["thing"]: row for row in found}

    return rows


def test_what_a_network_uses_moves_its_logit_and_nothing_else_does(sees):
    """One sees the middle, into which a heart grows; one answers always alike."""
    rows = sees("phantom", lambda image: image[12:16, 12:16].mean())
    assert rows.keys() == overfitting.THINGS.keys()
    assert rows["ratio"]["change"]["side"] == "above" and rows["ratio"]["n"] == 50
    assert rows["side"]["n"] == 25, "those who have air"
    for thing, row in rows.items():
        values = overfitting.THINGS[thing]
        assert row["logits"].shape == (row["n"], len(values)) == (row["n"], len(row["images"]))
    for row in sees("phantom", lambda image: 0.0).values():
        assert row["change"]["value"] == 0 and row["change"]["side"] == "across"


@pytest.mark.parametrize(("sign", "sides"), [(1, ("above", "below")), (-1, ("below", "above"))])
def test_real_images_are_only_mirrored_and_exposed(sees, sign, sides):
    """Of `made` the left half of class 1 is brighter; more exposure is darker."""
    rows = sees("file", lambda image: sign * (image[:, 14:].mean() - 0.5 * image[:, :14].mean()))
    assert rows.keys() == {"mirror", "exposure"}
    assert (rows["mirror"]["change"]["side"], rows["exposure"]["change"]["side"]) == sides


@pytest.mark.parametrize(("known", "side"), [(True, "below"), (False, "above")])
def test_a_ruler_ranks_without_a_network_and_pixels_stand_in_for_it(tmp_path, known, side):
    """Hearts of class 0 are larger, which tells all; the pixels of these images tell nothing."""
    part = split_of(80)
    part = replace(part, truth={"ctr": 0.5 - 0.1 * part.labels} if known else None)
    run = fit(tmp_path, signed(part.labels, 0.9)[None])
    cells = ("penggaris", "penggaris-catat")
    bab = lesson("03_analisis_overfitting", *cells, fits=[run], train=part, test=part)["bab"]
    found = bab.record.call_args.kwargs["ruler"]
    assert (found["kind"], found["auc"]["value"]) == (("ratio", 1) if known else ("pixels", 0.5))
    assert found["difference"]["side"] == side
