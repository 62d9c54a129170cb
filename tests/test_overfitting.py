"""The measurements of notebook 03 on made-up logits whose answer is known (cxr_helpers/overfitting.py)."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.special import expit

from cxr_helpers import evaluation, overfitting
from cxr_helpers.data import Dataset, Split
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.sources import Source
from cxr_helpers.training import TrainConfig
from tests.conftest import made


def fit(logits: dict, folder: Path, best: int = 1) -> Run:
    """A finished run whose recorded logits are these; those of the test split lie in its folder, as the run store keeps them.

    In eval mode it answers as recorded, unless "train_last", "val_best" and the like say otherwise.
    """
    epochs = len(logits["val"])
    history = pd.DataFrame(
        {
            "epoch": range(1, epochs + 1),
            "val_loss": [0.0 if e == best - 1 else 1.0 for e in range(epochs)],
        }
    )
    final = {
        f"{name}_{which}": logits[name][e]
        for name in ("train", "val")
        for which, e in (("last", -1), ("best", best - 1))
    }
    keep_test(folder, logits["test"], logits["test"][best - 1])
    seen = final | {name: values for name, values in logits.items() if name != "test"}
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


def test_losses_and_accuracies_by_epoch_are_those_of_the_logits(case):
    data, run = case
    first, last = overfitting.by_epoch([run], data)
    assert (first["train_acc"]["value"], last["train_acc"]["value"]) == (0.75, 1)
    ours = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(run.logits["val"][1]), torch.from_numpy(data.val.labels.astype(float))
    )
    assert last["val_loss"]["value"] == pytest.approx(ours.item())
    for name in ("train_loss", "val_loss", "train_acc", "val_acc"):
        low, high = last[name]["ci95"]
        assert low <= last[name]["value"] <= high


def test_the_gap_is_that_of_the_finished_network_not_of_the_curve(case, tmp_path):
    data, run = case
    eval_mode = {
        "train_last": signed(data.train.labels, 0.875),
        "train_best": signed(data.train.labels, 0.75),
    }
    run = fit({**run.logits, **eval_mode, "test": run.open_test()["epochs"]}, tmp_path)
    last, best = overfitting.gap([run], data), overfitting.gap([run], data, "best")
    assert last["value"] == pytest.approx(0.125) and best["value"] == pytest.approx(
        0
    )  # the curve ends at 100% − 75%
    assert (last["epochs"], best["epochs"]) == ([2], [1])
    assert last["value"] == pytest.approx(last["train_acc"]["value"] - last["val_acc"]["value"])
    assert last["loss_gap"]["value"] == pytest.approx(
        last["val_loss"]["value"] - last["train_loss"]["value"]
    )


@pytest.mark.parametrize(
    ("train", "val", "side"), [(1.0, 0.5, "above"), (0.75, 0.75, "across"), (0.25, 0.9, "below")]
)
def test_the_gap_says_on_which_side_of_zero_it_lies(case, tmp_path, train, val, side):
    data, run = case
    seen = {
        "train": signed(data.train.labels, train)[None],
        "val": signed(data.val.labels, val)[None],
    }
    found = overfitting.gap([fit({**seen, "test": run.open_test()["epochs"]}, tmp_path)], data)
    assert found["side"] == side
    assert found["ci95"][0] <= found["value"] <= found["ci95"][1]


def noisy(
    trend: np.ndarray, folder: Path, seed: int = 0, n: int = 300
) -> tuple[Run, SimpleNamespace]:
    """A run whose validation losses follow `trend` (epochs,) but for a noise of each image and epoch, and its data."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(n) % 2).astype(np.uint8)
    loss = np.maximum(0.6 + trend[:, None] + generator.normal(0, 0.25, (len(trend), n)), 0.01)
    logits = -np.log(np.expm1(loss)) * np.where(labels == 1, 1, -1)  # the logit with this loss
    split = SimpleNamespace(labels=labels, patients=None)
    found = fit({"train": logits, "val": logits, "test": logits}, folder)
    return found, SimpleNamespace(train=split, val=split, test=split)


def test_the_turn_is_where_validation_loss_is_lowest(tmp_path):
    run, data = noisy(np.array([0.3, 0.0, 0.1, 0.3]), tmp_path)
    found = overfitting.turn([run], data)
    assert (found["epoch"], found["epochs"], found["each_seed"], found["turned"]) == (
        2,
        4,
        [1],
        True,
    )
    assert (
        found["rise"]["value"] == pytest.approx(0.3, abs=0.05) and found["rise"]["side"] == "above"
    )
    falling, data = noisy(np.array([0.3, 0.2, 0.1, 0.0]), tmp_path)
    found = overfitting.turn([falling], data)
    assert not found["turned"] and found["rise"]["side"] == "across"


def test_the_loss_falls_from_an_epoch_that_only_the_images_that_chose_it_favour(tmp_path):
    """Each epoch but the last suits one image and harms all others: whichever it is, the other half is better off at the end."""
    n = 20
    loss = np.vstack([np.where(np.eye(n) == 1, 0.01, 0.54), np.full(n, 0.5)])
    labels = (np.arange(n) % 2).astype(np.uint8)
    logits = -np.log(np.expm1(loss)) * np.where(labels == 1, 1, -1)  # the logit with this loss
    found = overfitting.turn(
        [fit(dict.fromkeys(("train", "val", "test"), logits), tmp_path)],
        SimpleNamespace(val=SimpleNamespace(labels=labels, patients=None)),
    )
    assert (
        found["rise"]["value"] == pytest.approx(-0.04)
        and found["rise"]["side"] == "below"
        and not found["turned"]
    )


def test_a_flat_loss_does_not_rise_from_its_own_lowest_value(tmp_path):
    """40 runs whose expected loss is the same in all ten epochs: last − lowest is above zero in almost every one."""
    selected, fitted = [], []
    for seed in range(40):
        run, data = noisy(np.zeros(10), tmp_path, seed)
        loss = evaluation.loss(run.logits["val"], data.val.labels).mean(1)
        selected.append(loss[-1] - loss.min())
        fitted.append(overfitting.turn([run], data)["rise"])
    values = np.array([one["value"] for one in fitted])
    assert np.mean(selected) > 0.015
    assert abs(values.mean()) < 0.25 * np.mean(selected)
    assert sum(one["side"] == "above" for one in fitted) <= 5  # of 40; one is 2.5%


def test_halves_hold_whole_patients_and_every_image_once():
    labels, who = np.arange(60) % 2, np.arange(60) // 5
    for patients in (who, None):
        (a, b), (c, d) = overfitting._halves(SimpleNamespace(labels=labels, patients=patients), 0)
        assert sorted([*a, *b]) == sorted([*c, *d]) == list(range(60)) and set(a) == set(d)
        assert patients is None or not set(who[a]) & set(who[b])


def test_selection_reads_the_test_split_at_the_epoch_that_validation_chose(case):
    data, run = case
    rules = {rule["rule"]: rule for rule in overfitting.selection([run], data)}
    assert (
        rules["last"]["epochs"] == [2]
        and rules["last"]["acc"]["value"] == 0.5
        and rules["last"]["difference"] is None
    )
    assert rules["loss"]["epochs"] == [1] and rules["loss"]["acc"]["value"] == 1.0
    assert rules["loss"]["difference"]["acc"]["value"] == pytest.approx(0.5)
    assert rules["loss"]["differs"] == ["acc", "auc"] and rules["last"]["differs"] == []


def test_selection_judges_accuracy_and_area_each_by_its_own_interval(case, tmp_path):
    data, run = case
    labels = data.test.labels
    sure = np.where(labels == 1, 2.0, 1.0)  # every image is called 1, in the right order
    blurred = np.where(np.arange(len(labels)) % 2 == 0, 2.0, 1.0)  # and in no order
    keep_test(run.folder, np.stack([blurred, sure]), blurred)
    loss = next(rule for rule in overfitting.selection([run], data) if rule["rule"] == "loss")
    assert loss["difference"]["acc"]["value"] == 0 and loss["difference"]["auc"]["value"] < -0.3
    assert loss["differs"] == ["auc"]


def test_memorisation_is_counted_apart_for_flipped_labels(case):
    data, run = case
    flipped = np.arange(len(data.train)) >= 36  # exactly the images that epoch 1 gets wrong
    split = Split(data.train.images, data.train.labels, data.train.rows, {"flipped": flipped})
    rows = overfitting.memorisation([run], split)
    assert (rows["n_correct"], rows["n_flipped"]) == (36, 12)
    first, last = rows["by_epoch"]
    assert (first["correct"]["value"], first["flipped"]["value"], last["flipped"]["value"]) == (
        1,
        0,
        1,
    )
    assert rows["rise"]["value"] == 1 and rows["lead"]["value"] == 1 and rows["follows"]
    assert (rows["patients_correct"], rows["patients_flipped"]) == (None, None)
    known = overfitting.memorisation([run], replace(split, patients=np.arange(48) // 5))
    assert (known["patients_correct"], known["patients_flipped"]) == (
        8,
        3,
    )  # one patient has images of both
    assert overfitting.memorisation([run], data.train) is None


@pytest.mark.parametrize(
    ("first", "last", "rise", "lead", "follows"),
    [
        ((0.9, 0.1), (1.0, 0.9), "above", "above", True),
        (
            (0.5, 0.5),
            (1.0, 1.0),
            "above",
            "across",
            False,
        ),  # memorised, but nothing general came first
        ((0.9, 0.1), (1.0, 0.1), "across", "above", False),
        ((0.5, 0.5), (1.0, 0.0), "below", "across", False),
    ],
)
def test_memorisation_follows_when_flipped_labels_rise_after_correct_ones_lead(
    tmp_path, first, last, rise, lead, follows
):
    flipped, labels = np.arange(120) >= 80, (np.arange(120) % 2).astype(np.uint8)
    epochs = []
    for correct, wrong in (first, last):
        logits = np.concatenate([signed(labels[:80], correct), signed(labels[80:], wrong)])
        epochs.append(logits)
    run = fit(dict.fromkeys(("train", "val", "test"), np.stack(epochs)), tmp_path)
    found = overfitting.memorisation(
        [run],
        Split(np.zeros((120, 28, 28), np.uint8), labels, np.arange(120), {"flipped": flipped}),
    )
    assert (found["rise"]["side"], found["lead"]["side"], found["follows"]) == (rise, lead, follows)


def test_temperature_recovers_the_factor_by_which_logits_are_too_sure():
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, 20000)
    labels = (generator.random(20000) < expit(honest)).astype(np.uint8)
    assert overfitting.fit_temperature(3 * honest, labels) == pytest.approx(3, rel=0.1)
    half = slice(0, 1000), slice(1000, 2000)
    found = overfitting.temperature(
        3 * honest[half[0]], labels[half[0]], 3 * honest[half[1]], labels[half[1]]
    )
    assert found["difference"]["ece"]["ci95"][1] < 0 and found["difference"]["loss"]["ci95"][1] < 0
    assert found["after"]["loss"]["value"] < found["before"]["loss"]["value"]
    assert found["before"]["beyond_chance"] and not found["after"]["beyond_chance"]
    assert found["after"]["ece_chance"] == evaluation.chance_calibration_error(
        3 * honest[half[1]] / found["temperature"]
    )
    assert found["after"]["ece"]["value"] < found["after"]["ece_measured"]


@pytest.mark.parametrize(
    ("val", "test", "softens", "side"),
    [
        (3, 3, True, "below"),  # too sure
        (1 / 3, 1 / 3, False, "below"),  # not sure enough
        (3, 1, True, "above"),  # validation is too sure, the test split was calibrated before
        (1 / 3, 1, False, "above"),
        (1.15, 1.15, True, "across"),  # too little to mend
        (0.85, 0.85, False, "across"),
    ],
)
def test_temperature_softens_what_is_too_sure_and_may_mend_or_harm(val, test, softens, side):
    """Logits of validation and test images are `val` and `test` times the true ones."""
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, 1600)
    labels = (generator.random(1600) < expit(honest)).astype(np.uint8)
    found = overfitting.temperature(
        val * honest[:1000], labels[:1000], test * honest[1000:], labels[1000:]
    )
    assert found["temperature"] == pytest.approx(val, rel=0.15)
    assert (found["softens"], found["side"]) == (softens, side)


@pytest.mark.parametrize(("sure", "beyond"), [(1, False), (3, True)])
def test_calibration_is_judged_against_what_chance_would_show(sure, beyond):
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 2, 400)
    found = overfitting.confidence(
        sure * honest, (generator.random(400) < expit(honest)).astype(np.uint8)
    )
    assert found["beyond_chance"] is beyond
    assert found["beyond_chance"] is (found["ece_measured"] > found["ece_chance"]["range95"][1])
    assert found["ece"]["value"] < found["ece_measured"]


def test_confident_errors_come_surest_first_with_what_is_known(case):
    data, _ = case
    logits = signed(data.val.labels, 0.75)
    logits[-1] *= 3
    n = len(logits)
    truth = {"flipped": np.arange(n) == n - 1, "size": np.full(n, 0.05), "ctr": np.full(n, 0.4)}
    found = overfitting.confident_errors(
        logits, Split(data.val.images, data.val.labels, data.val.rows, truth)
    )
    assert (
        len(found["labels"]) == 4
        and found["remarks"] == ["label terbalik,\npneumotoraks kecil"] + ["pneumotoraks kecil"] * 3
    )
    assert found["n"] == 1 and found["n_flipped"] == 1  # σ(2) is below 0.9, σ(6) is above
    unknown = overfitting.confident_errors(logits, data.val)
    assert (
        unknown["n_flipped"] is None
        and unknown["patients"] is None
        and set(unknown["remarks"]) == {""}
    )
    surer = overfitting.confident_errors(3 * logits, replace(data.val, patients=np.arange(n) // 3))
    assert (surer["n"], surer["patients"]) == (4, 2)  # images 12–14 and 15


@pytest.fixture
def anatomy(case):
    data, run = case
    n = len(data.test)
    side = np.where(np.arange(n) < n // 2, 0, 1)
    tube = np.arange(n) % 2 == 0
    truth = dict(
        ctr=np.linspace(0.4, 0.6, n),
        size=0.2 * side,
        side=side,
        tube=tube,
        exposure=np.ones(n),
        flipped=np.zeros(n, bool),
    )
    test = Split(data.test.images, data.test.labels, data.test.rows, truth)
    return SimpleNamespace(train=data.train, val=data.val, test=test), run


@pytest.mark.parametrize(("logit", "side"), [(3.0, "above"), (-3.0, "below")])
def test_a_network_that_reads_the_tube_alone_is_caught(anatomy, logit, side):
    """As a sign of class 1, or of the other."""
    data, run = anatomy
    keep_test(
        run.folder, np.zeros((2, len(data.test))), np.where(data.test.truth["tube"], logit, -logit)
    )
    rows = overfitting.tube_effect([run], data)
    assert [row["pneumothorax"] for row in rows] == [False, True]
    for row in rows:
        low, high = row["difference"]["ci95"]
        assert (
            row["side"] == side and row["difference"]["value"] == np.sign(logit) and low * high > 0
        )


def test_the_patients_with_and_without_a_tube_are_counted_where_they_are_known(anatomy):
    data, run = anatomy
    rows = overfitting.tube_effect([run], data)
    assert all(
        (row["n_with"], row["patients_with"], row["patients_without"]) == (4, None, None)
        for row in rows
    )
    data.test = replace(
        data.test, patients=np.arange(16) // 4
    )  # two patients an anatomy, each with and without the tube
    known = overfitting.tube_effect([run], data)
    assert [(row["patients_with"], row["patients_without"]) for row in known] == [(2, 2)] * 2


def test_a_network_that_reads_the_air_alone_is_not(anatomy):
    data, run = anatomy
    keep_test(
        run.folder, np.zeros((2, len(data.test))), np.where(data.test.truth["side"] > 0, 3.0, -3.0)
    )
    rows = overfitting.tube_effect([run], data)
    assert len(rows) == 2 and all(
        row["difference"]["value"] == 0 and row["side"] == "across" for row in rows
    )


def test_subgroups_divide_the_images_and_leave_flipped_ones_out(anatomy):
    data, run = anatomy
    data.test.truth["flipped"][:2] = True
    keep_test(run.folder, np.zeros((2, len(data.test))), signed(data.test.labels, 1.0))
    rows = overfitting.subgroups([run], data)
    n = {
        divides: sum(r["n"] for r in rows if r["divides"] == divides)
        for divides in {r["divides"] for r in rows}
    }
    assert (
        n["Rasio kardiotoraks"] == n["Selang dada"] == n["Paparan sinar"] == 14 and n["Label"] == 16
    )
    assert all(row["acc"]["value"] == 1 and row["patients"] is None for row in rows)
    data.test = replace(data.test, patients=np.arange(16) // 4)
    of = {row["group"]: (row["n"], row["patients"]) for row in overfitting.subgroups([run], data)}
    assert (of["benar"], of["terbalik"], of["ada"], of["kiri pasien"]) == (
        (14, 4),
        (2, 1),
        (7, 4),
        (8, 2),
    )


@pytest.fixture
def curve(tmp_path, monkeypatch):
    """curve(right, …): the learning curve of runs of which the first `right` share of 400 validation images is right."""
    labels = (np.arange(400) % 2).astype(np.uint8)
    split = Split(np.zeros((400, 28, 28), np.uint8), labels, np.arange(400))
    data = Dataset(
        Source("file", "chestmnist", None, 28, "uji", "uji"),
        ("a", "b"),
        ("A", "B"),
        split,
        split,
        split,
        "",
        {},
        {},
    )

    def measured(*right: float) -> list[dict]:
        *parts, whole = (
            fit(
                dict.fromkeys(("train", "val", "test"), np.stack([signed(labels, one)] * 2)),
                tmp_path,
            )
            for one in right
        )
        trained = iter(parts)
        monkeypatch.setattr(overfitting, "PARTS", [0.25, 0.5][-len(parts) :])
        monkeypatch.setattr(
            overfitting.runs,
            "get",
            lambda config, *rest, **more: replace_logits(next(trained), rest[0]),
        )
        study = SimpleNamespace(
            used=data,
            seed=0,
            weights=None,
            device=None,
            config=lambda **changes: TrainConfig(**changes),
        )
        return overfitting.learning_curve(study, [whole])

    def replace_logits(run: Run, part: Dataset) -> Run:
        """Trained on fewer images, it has fewer training logits."""
        few = {
            name: values[..., : len(part.train)]
            for name, values in run.logits.items()
            if name.startswith("train")
        }
        return replace(run, logits=run.logits | few)

    return measured


def test_the_learning_curve_compares_on_the_same_images(curve):
    """80% → 84% → 84% right, the same images and more: their intervals overlap, and every change is a gain."""
    first, middle, last = curve(0.80, 0.84, 0.84)
    assert first["val_acc"]["ci95"][1] > last["val_acc"]["ci95"][0]
    assert first["from_first"] is None and first["from_previous"] is None and first["seeds"] == 1
    assert (
        last["from_first"]["value"] == pytest.approx(0.04) and last["from_first"]["side"] == "above"
    )
    assert middle["from_previous"]["side"] == "above" and last["from_previous"]["side"] == "across"


@pytest.mark.parametrize(("last", "side"), [(0.8, "across"), (0.7, "below")])
def test_more_images_may_change_nothing_or_harm(curve, last, side):
    assert curve(0.8, last)[-1]["from_first"]["side"] == side


def test_a_last_step_that_harms_is_told_from_the_whole_way(curve):
    last = curve(0.80, 0.84, 0.80)[-1]
    assert last["from_previous"]["side"] == "below" and last["from_previous"][
        "value"
    ] == pytest.approx(-0.04)
    assert last["from_first"]["side"] == "across"


def groups(anatomy, right: np.ndarray, **truth) -> list[dict]:
    """`subgroups` of a network that is right on these of the test images."""
    data, run = anatomy
    data.test.truth.update(truth)
    sign = np.where(right, 1, -1) * np.where(data.test.labels == 1, 1, -1)
    keep_test(run.folder, np.zeros((2, len(data.test))), 3.0 * sign)
    return overfitting.subgroups([run], data)


def test_groups_are_compared_with_the_others_of_their_division(anatomy):
    n = len(anatomy[0].test)
    exposure = np.where(np.arange(n) < n // 2, 0.5, 1.0)
    rows = groups(
        anatomy, np.arange(n) >= n // 2, exposure=exposure
    )  # wrong on all that are underexposed
    low, fair = (row for row in rows if row["divides"] == "Paparan sinar")
    assert low["difference"]["value"] == -1 and low["side"] == "below" and low["p_adjusted"] < 0.05
    assert fair["difference"] is None and fair["side"] == "across"  # it would say the same again
    assert all(row["difference"] is None for row in rows if row["divides"] == "Label")
    ratio = [row for row in rows if row["divides"] == "Rasio kardiotoraks"]
    assert len(ratio) == 3 and all(row["difference"] for row in ratio)


@pytest.mark.parametrize(("right_on_low", "side"), [(True, "above"), (False, "below")])
def test_a_group_may_be_right_more_often_or_less(anatomy, right_on_low, side):
    low = np.arange(len(anatomy[0].test)) % 2 == 0
    rows = groups(anatomy, low == right_on_low, exposure=np.where(low, 0.5, 1.0))
    first = next(row for row in rows if row["divides"] == "Paparan sinar")
    assert first["group"].startswith("kurang") and first["side"] == side
    assert first["difference"]["value"] == (1 if right_on_low else -1)


def test_groups_that_may_differ_by_chance_are_not_called_apart(anatomy):
    n = len(anatomy[0].test)
    rows = groups(anatomy, np.arange(n) % 4 > 0)
    tested = [row for row in rows if row["difference"]]
    assert tested and all(
        row["side"] == "across" and row["p_adjusted"] >= row["difference"]["p"] for row in tested
    )
