"""Rows of a study: what is said of each, on synthetic predictions whose truth is known."""

import numpy as np
import pytest

from cxr_helpers import comparison, verdicts
from cxr_helpers.comparison import BETTER, EQUAL, MAJORITY, UNDECIDED, WORSE
from cxr_helpers.verdicts import Combination, Images, Remedy, Row, Trained

N = {"train": 600, "val": 200, "test": 500}


@pytest.fixture(scope="module")
def images():
    generator = np.random.default_rng(5)
    labels = {split: (generator.random(n) < 0.65).astype(np.uint8) for split, n in N.items()}
    return Images(labels, dict.fromkeys(N), {"test": np.arange(N["test"]) % 20 == 0})


def row(images, name, skill, seeds=5, fit=3.0, guess=False, kind=Remedy, **more):
    """Networks of this skill (distance of the classes on new images) that separate the training images by `fit`."""
    generator, each = np.random.default_rng(sum(map(ord, name))), []
    easy = {split: np.random.default_rng(1).normal(0, 1, n) for split, n in N.items()}
    for seed in range(seeds):
        logits = {}
        for split, n in N.items():
            apart = fit if split == "train" else skill * (1 + 0.02 * generator.normal())
            logits[split] = (
                apart * (images.labels[split] - 0.5) + easy[split] + 0.3 * generator.normal(0, 1, n)
            )
            logits[split] = (logits[split] / 100 + 5 if guess else logits[split]).astype(np.float32)
        history = [{"epoch": 1, "val_loss": 0.5}]
        each.append(
            Trained(
                seed,
                **logits,
                val_last=logits["val"],
                extra=None,
                history=history,
                seconds=2.0,
                parameters=9,
                trained_parameters=9 - len(name) % 2,
            )
        )
    return Row(kind(name, "", name.title(), **more), each, {}, N["train"], 10)


@pytest.fixture(scope="module")
def judged(images):
    rows = [
        row(images, "baseline", 1.5, seeds=6, fit=4),
        row(images, "strong", 3.0, fit=3),
        row(images, "feeble", 0.5, fit=6),
    ]
    rows += [
        row(images, "same", 1.5, fit=4),
        row(images, "guess", 2.0, guess=True),
        row(images, "lonely", 3.0, seeds=1),
    ]
    return {found["name"]: found for found in verdicts.judge(rows, images)}


@pytest.mark.parametrize(
    ("name", "predicts", "overfits"),
    [
        ("strong", BETTER, BETTER),
        ("feeble", WORSE, WORSE),
        ("guess", MAJORITY, MAJORITY),
        ("lonely", UNDECIDED, UNDECIDED),
    ],
)
def test_both_questions_get_the_verdict_that_was_built_in(judged, name, predicts, overfits):
    assert (judged[name]["predicts"]["verdict"], judged[name]["overfits"]["verdict"]) == (
        predicts,
        overfits,
    )


def test_the_same_recipe_under_other_seeds_is_neither_better_nor_worse(judged):
    assert judged["same"]["predicts"]["verdict"] in (EQUAL, UNDECIDED)


def test_values_are_means_over_the_seeds(images, judged):
    strong = row(images, "strong", 3.0, fit=3)
    labels = images.labels["test"]
    accuracies = [np.mean((one.test > 0) == labels) for one in strong.trained]
    assert judged["strong"]["test"]["acc"]["value"] == pytest.approx(np.mean(accuracies))
    assert judged["strong"]["test"]["acc"]["sd"] == pytest.approx(np.std(accuracies, ddof=1))
    drawn = labels ^ images.flipped["test"]
    assert judged["strong"]["test"]["truth_acc"]["value"] == pytest.approx(
        np.mean([(one.test > 0) == drawn for one in strong.trained])
    )
    assert (
        judged["lonely"]["test"]["acc"]["sd"] is None and judged["lonely"]["predicts"]["p"] is None
    )


def test_extra_images_are_judged_with_the_test_split(images):
    one = row(images, "a", 2.0)
    more = Images(
        images.labels | {"extra": images.labels["val"]},
        images.patients | {"extra": None},
        images.flipped | {"extra": np.zeros(N["val"], bool)},
    )
    longer = Row(
        one.remedy, [Trained(**vars(each) | {"extra": each.val}) for each in one.trained], {}, 1, 1
    )
    assert verdicts.judge([longer], more)[0]["test"]["n"] == N["test"] + N["val"]


def test_an_ensemble_of_noisy_seeds_is_better_than_one_of_them(images):
    noisy = row(images, "noisy", 2.0, seeds=8)
    for i, each in enumerate(noisy.trained):
        noisy.trained[i] = Trained(
            **vars(each)
            | {
                "test": each.test
                + np.random.default_rng(i).normal(0, 2, N["test"]).astype(np.float32)
            }
        )
    found = verdicts.ensemble(noisy, images)
    assert found["difference"]["verdict"] == BETTER and found["difference"]["value"] > 0.05
    assert verdicts.ensemble(Row(noisy.remedy, noisy.trained[:2], {}, 1, 1), images) is None


def test_a_detectable_difference_shrinks_with_seeds_and_is_found_as_often_as_it_says(images):
    base = row(images, "baseline", 1.5, seeds=10)
    found = verdicts.detectable(base, images)
    sizes = [one["difference"] for one in found]
    assert [one["seeds"] for one in found] == list(verdicts.CHANCE) and sizes == sorted(
        sizes, reverse=True
    )
    # Normal values with these two spreads, in which the difference is there: how often is it seen?
    generator, k = np.random.default_rng(0), 5
    each = [comparison.influence(one.test, images.labels["test"])["auc"] for one in base.trained]
    sd = np.std([value for value, _ in each], ddof=1)
    image = comparison.image_variance(each[0][1] - each[1][1]) / k
    seen = 0
    for _ in range(400):
        ours, theirs = generator.normal(found[1]["difference"], sd, k), generator.normal(0, sd, k)
        seen += (
            comparison.combine(ours + generator.normal(0, np.sqrt(image)), theirs, image).p < 0.05
        )
    assert 0.7 < seen / 400 < 0.9


def test_the_summary_counts_every_row_once_under_each_question(judged):
    found = verdicts.summarise(list(judged.values()))
    assert found["n"] == 5 and found["seeds"] == [1, 6]
    for question in verdicts.QUESTIONS:
        assert sum(one["n"] for one in found[question]) == 5
    assert found["predicts"][0] == {"verdict": BETTER, "n": 1, "titles": ["Strong"]}
    assert (
        found["combination"] is None
        and found["compared"] == ["baseline", "strong"]
        and found["shown"] == 1
    )
    assert found["smaller"] == [i for i, name in enumerate(judged) if len(name) % 2 and i]


def test_without_a_combination_the_curve_is_of_the_first_that_overfits_less(judged):
    found = verdicts.summarise([judged[name] for name in ("baseline", "feeble", "guess", "strong")])
    assert found["compared"] == ["baseline", "strong"] and found["shown"] == 3
    found = verdicts.summarise([judged[name] for name in ("baseline", "guess", "feeble")])
    assert found["compared"] == ["baseline", "guess"] and found["shown"] == 1


@pytest.mark.parametrize("n", [verdicts.LISTED, verdicts.LISTED + 1])
def test_a_sentence_names_only_a_few_rows(judged, n):
    rows = [judged["baseline"], *[judged["strong"]] * n]
    assert (verdicts.summarise(rows)["predicts"][0]["titles"] is None) is (n > verdicts.LISTED)


def test_the_curve_beside_the_baseline_is_the_combinations_not_the_best_on_test(images):
    rows = [
        row(images, "baseline", 1.5),
        row(images, "strong", 3.0),
        row(images, "combination", 1.0, kind=Combination, parts=("A", "B")),
    ]
    found = verdicts.summarise(verdicts.judge(rows, images))
    assert found["compared"] == ["baseline", "combination"] and found["combination"] == 2
