"""The benches that judge: the null rate is counted rightly, power grows, and equivalence is shown only where it is there."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import t, ttest_ind

from bench import null_study, precision, training_speed
from cxr_helpers.verdicts import Images, Remedy, Row, Trained
from report import reference as computing
from tests.conftest import made


def recipe(
    n_seeds: int, shift: float = 0.0, spread: float = 0.1, seed: int = 0
) -> tuple[Row, Images]:
    """Networks of one recipe, 300 test and 200 extra images; their skill is drawn with this spread around 2 + shift."""
    generator, fitting = np.random.default_rng(seed), np.random.default_rng(seed + 100)
    sizes = {"test": 300, "extra": 200, "train": 400, "val": 150}
    labels = {
        split: (np.random.default_rng(1).random(n) < 0.6).astype(np.uint8)
        for split, n in sizes.items()
    }
    easy = {
        split: np.random.default_rng(2).normal(0, 1, len(each)) for split, each in labels.items()
    }
    each = []
    for one in range(n_seeds):
        skill = 2 + shift + spread * generator.normal()
        drawn = {
            split: (generator if split in ("test", "extra") else fitting).normal(0, 1, n)
            for split, n in sizes.items()
        }
        test, extra, train, val = (
            skill * labels[s] + easy[s] + 0.2 * drawn[s] - (s in ("train", "val")) for s in sizes
        )
        each.append(Trained(one, train, val, val, test, extra, [], 1.0, 1, 1))
    return Row(Remedy("baseline", "", "Resep"), each, {}, 1, 1), Images(
        labels, dict.fromkeys(labels)
    )


# --- the null study -------------------------------------------------------------------------------------------------


def test_every_split_into_two_groups_is_made_once():
    assert (
        len(null_study.groups(10, 5)) == 126
        and len(null_study.groups(10, 3)) == 2100
        and len(null_study.groups(6, 3)) == 10
    )
    assert {frozenset(pair) for pair in null_study.groups(4, 2)} == {
        frozenset(pair) for pair in (((0, 1), (2, 3)), ((0, 2), (1, 3)), ((0, 3), (1, 2)))
    }


@pytest.mark.parametrize(
    ("values", "found"),
    [([0.9, 0.91, 0.92, 0.93, 0.94, 0.95], 0), ([0.8, 0.8001, 0.8002, 0.95, 0.9501, 0.9502], 1)],
)
def test_the_null_rate_is_that_of_welchs_test_with_two_degrees_of_freedom_where_images_add_nothing(
    values, found
):
    values = np.array(values)
    splits = [
        (list(a), list({*range(6)} - {*a})) for a in itertools.combinations(range(6), 3) if 0 in a
    ]
    wanted = [
        2 * t.sf(abs(ttest_ind(values[ours], values[theirs], equal_var=False).statistic), 2) < 0.05
        for ours, theirs in splits
    ]
    assert sum(wanted) == found
    assert null_study.null_rate(null_study.in_auc(values, np.zeros((6, 20)), None), 6, 3) == (
        pytest.approx(np.mean(wanted)),
        10,
    )


def test_of_a_true_null_few_splits_come_out_and_power_grows(capsys):
    row, images = recipe(10)
    assert null_study.show(row, images) <= 0.1  # one draw of ten seeds; its splits hang together
    table = capsys.readouterr().out
    for question in ("AUC, 300 citra uji", "AUC, 500 citra uji", "kesenjangan"):
        assert f"| {question} | 5 | 126 |" in table and f"| {question} | 3 | 2.100 |" in table
    curve = next(
        line.split("|")
        for line in table.split("Peluang")[1].splitlines()
        if line.startswith("| 500 | 10 |")
    )
    shares = [float(cell.strip(" %").replace(",", ".")) for cell in curve[3:-1]]
    assert shares == sorted(shares) and shares[-1] > 90


@pytest.mark.parametrize(("seeds", "sizes"), [(3, []), (6, [3]), (10, [3, 5])])
def test_it_shows_what_its_seeds_can_show(capsys, seeds, sizes):
    highest = null_study.show(*recipe(seeds))
    rates = capsys.readouterr().out.split("Peluang")[0]
    assert [size for size in null_study.SIZES if f"| kesenjangan | {size} |" in rates] == sizes
    assert (highest is None) is (not sizes)


# --- two precisions -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "shown", "word"),
    [(0.0, True, "| setara |"), (-0.8, False, "| belum terbukti setara |")],
)
def test_two_precisions_are_compared_over_all_their_seeds(shift, shown, word):
    theirs, images = recipe(10, spread=0.05)
    ours, _ = recipe(10, shift, spread=0.05, seed=7)
    found = computing.precision(ours, theirs, 10, 0.02, images)
    assert found["shown"] is shown is (found["p"] < 0.05) and word in _line(found)


def test_few_seeds_are_provisional_and_none_prove_nothing():
    theirs, images = recipe(10, spread=0.05)
    some = replace(theirs, trained=theirs.trained[:4])
    found = computing.precision(some, theirs, 10, 0.02, images)
    assert not found["shown"] and found["p"] < 0.05 and "| setara (sementara) |" in _line(found)
    for ours in (None, replace(theirs, trained=theirs.trained[:2])):
        found = computing.precision(ours, theirs, 10, 0.02, images)
        assert not found["shown"] and "value" not in found and "seed belum cukup" in _line(found)


def _line(found: dict) -> str:
    return precision.line({"name": "baseline"} | found)


# --- speed ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [training_speed.OURS, "cxr_helpers, bfloat16", training_speed.PRECOMPUTED]
)
def test_a_trial_trains(name):
    data = made()
    trial = training_speed.TRIALS[name](
        data.train.images[:8], data.train.labels[:8], torch.device("cpu")
    )
    before = [p.detach().clone() for p in trial.network.parameters() if p.requires_grad]
    trial()
    after = [p for p in trial.network.parameters() if p.requires_grad]
    assert any((a != b).any() for a, b in zip(after, before, strict=True))
