"""The hidden tests: solutions agree with our own helpers on other inputs than the visible checks', and mistakes lose points."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from cxr_helpers import comparison, evaluation, exercises
from cxr_helpers.weights import adapt_conv1, interpolation_matrix
from grading import answers, box, inside, marking
from grading.course import KEYS, load

COURSE = load()
CODE = {
    name: asked
    for chapter in COURSE.chapters
    for name, asked in chapter.asked.items()
    if not asked.essay
}
REFUSED = box.refusal()


def verdict(low, high, margin):
    p = 1.0 if low < 0 < high else 0.0
    return comparison.verdict(
        comparison.Difference((low + high) / 2, (low, high), p, 0.0, None, None), p, margin
    )


def threshold(logits, labels):
    curve = evaluation.roc(logits, labels)
    best = (curve["true_positive"] - curve["false_positive"]).max()

    def youden(at):
        point = evaluation.operating_point(evaluation.confusion(logits, labels, at))
        return point["sensitivity"] + point["specificity"] - 1

    return next(float(at) for at in [*logits, logits.min() - 1] if math.isclose(youden(at), best))


# The same by our own helpers, which the solutions do not use.
BY_HELPERS = {
    "jumlah-kanal": lambda weight: adapt_conv1(weight, kernel=weight.shape[-1], reduce="sum"),
    "banyak-bobot": lambda o, i, k: torch.nn.Conv2d(i, o, k, bias=False).weight.numel(),
    "bagian-terbaca": lambda s, t: (
        (int((interpolation_matrix(s, t).abs().sum(0) > 1e-9).sum()) / s) ** 2
    ),
    "mayoritas": evaluation.majority_share,
    "ambang": lambda logits, labels, p: evaluation.metric_values(
        logits - math.log(p / (1 - p)), labels
    )["acc"].item(),
    "youden": threshold,
    "kesenjangan": lambda a, b, c, d: 100 * evaluation.accuracy_gap([a], b, [c], d)["value"],
    "ece": lambda p, labels: float(evaluation.expected_calibration_error(p, labels)),
    "banyak-citra": lambda share, half: norm.ppf(0.975) ** 2 * share * (1 - share) / half**2,
    "putusan": verdict,
    "holm": evaluation.holm,
}
MISTAKES = {
    "jumlah-kanal": [
        "lambda w: w.mean(1, keepdim=True)",
        "lambda w: w.sum(1)",
        "lambda w: w[:, :1]",
    ],
    "banyak-bobot": [
        "lambda o, i, k: o * k**2",
        "lambda o, i, k: o * i * k",
        "lambda o, i, k: o * i * k**2 + o",
    ],
    "bagian-terbaca": [
        "lambda s, t: (t / s) ** 2",
        "lambda s, t: 1.0",
        "lambda s, t: min(1, 2 * t / s)",
    ],
    "mayoritas": ["lambda y: float(np.mean(y == 1))", "lambda y: 0.5"],
    "ambang": [
        "lambda z, y, p: float(np.mean((z > p) == (y == 1)))",
        "lambda z, y, p: float(np.mean((z > 0) == (y == 1)))",
    ],
    "youden": ["lambda z, y: 0.0", "lambda z, y: float(np.median(z))"],
    "kesenjangan": [
        "lambda a, b, c, d: float(np.mean((a > 0) == (b == 1)) - np.mean((c > 0) == (d == 1)))",
        "lambda a, b, c, d: float(100 * (np.mean((c > 0) == (d == 1)) - np.mean((a > 0) == (b == 1))))",
    ],
    "ece": [
        "lambda p, y: 0.0",
        "lambda p, y: float(abs(np.maximum(p, 1 - p).mean() - np.mean((p > 0.5) == (y == 1))))",
    ],
    "banyak-citra": [
        "lambda p, h: 1.96**2 * p * (1 - p) / (h / 2) ** 2",
        "lambda p, h: 4 * p * (1 - p) / h**2",
    ],
    "putusan": [
        "lambda low, high, m: 'lebih baik' if low > 0 else 'lebih buruk' if high < 0 else 'belum dapat diputuskan'",
        "lambda low, high, m: 'setara' if low < 0 < high else 'lebih baik' if low > 0 else 'lebih buruk'",
    ],
    "holm": [
        "lambda p: np.minimum(1, len(p) * np.array(p)).tolist()",
        "lambda p: sorted(p)",
        "lambda p: list(p)",
    ],
}


def values(name: str, answer) -> dict:
    """What the key brings back of an answer (a function), as the box does."""
    return json.loads(
        inside.ask(COURSE.probes[name], {CODE[name].names[0]: answer, "np": np, "torch": torch})
    )


def solved(name: str):
    space = {"np": np, "torch": torch}
    exec(COURSE.solutions[name], space)
    return space[CODE[name].names[0]]


def test_every_exercise_has_points_a_solution_and_a_hidden_test_and_nothing_is_left_over():
    asked = {name for chapter in COURSE.chapters for name in chapter.asked}
    assert (
        set(CODE)
        == COURSE.solutions.keys()
        == BY_HELPERS.keys()
        == MISTAKES.keys()
        == exercises.CHECKS.keys()
    )
    assert asked - set(CODE) == COURSE.rubrics.keys() and all(
        name.startswith("esai-") for name in COURSE.rubrics
    )
    assert {path.stem for path in KEYS.glob("*.py")} == set(CODE)
    assert all(one.points > 0 for chapter in COURSE.chapters for one in chapter.asked.values())
    assert all(
        answers.unanswered(one.skeleton)
        for chapter in COURSE.chapters
        for one in chapter.asked.values()
    )


@pytest.mark.parametrize("name", sorted(CODE))
def test_the_solution_gives_what_our_helpers_give(name):
    found, expected = values(name, solved(name)), values(name, BY_HELPERS[name])
    assert len(found) >= 2 and all(
        marking.wrong(expected[what], value) == "" for what, value in found.items()
    ), (found, expected)


@pytest.mark.parametrize("name", sorted(CODE))
def test_mistakes_and_constants_lose_points(name):
    expected, asked = values(name, solved(name)), CODE[name]
    for mistake in [
        *MISTAKES[name],
        "lambda *given: 1",
        "lambda *given: 'setara'",
        "lambda *given: ...",
        "lambda *given: None",
    ]:
        given = values(name, eval(mistake, {"np": np}))
        part = marking.judge(asked, answers.Answer(mistake), ("", None, given), expected)
        assert part.points < asked.points, mistake
        if "*given" in mistake:
            assert part.points == 0, mistake


@pytest.mark.skipif(REFUSED is not None, reason=str(REFUSED))
def test_in_the_box_solutions_have_full_points_and_may_use_what_the_notebook_imported():
    expected = {}
    for chapter in COURSE.chapters:
        expected |= marking.expect(chapter, COURSE.solutions, COURSE.probes, boxed=True)
    assert expected.keys() == CODE.keys()
    chapter = next(one for one in COURSE.chapters if "ambang" in one.asked)
    own = "def accuracy_at(logits, labels, probability):\n    return float(((expit(logits) > probability) == (labels == 1)).mean())"
    outcome = marking.run(chapter, {"ambang": own}, COURSE.probes, boxed=True)["ambang"]
    part = marking.judge(chapter.asked["ambang"], answers.Answer(own), outcome, expected["ambang"])
    assert (part.status, part.points) == ("benar", 4), part
