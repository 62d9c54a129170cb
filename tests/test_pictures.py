"""What the figures draw from plain data: outliers leave the scale alone, ticks are honest."""

import matplotlib.pyplot as plt
import pytest

from cxr_helpers import plots
from cxr_helpers.comparison import BETTER, MAJORITY, UNDECIDED

PARTNER = {"title": "Pembanding"}


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def row(title: str, value: float, verdict: str) -> dict:
    estimate = {"value": value, "ci95": [value - 0.02, value + 0.02], "verdict": verdict}
    return {"title": title, "predicts": estimate, "overfits": estimate}


def test_a_network_that_guesses_does_not_stretch_the_forest_and_its_value_is_written():
    rows = [PARTNER, row("A", 0.03, BETTER), row("B", -0.01, UNDECIDED), row("C", -0.333, MAJORITY)]
    left, right = plots.forest(rows).axes
    assert left.get_xlim() == pytest.approx(plots.forest(rows[:3]).axes[0].get_xlim())
    assert -0.05 < left.get_xlim()[0] < -0.03 and 0.05 < left.get_xlim()[1] < 0.06
    assert [text.get_text() for text in left.texts] == ["−0,333"]
    assert [text.get_text() for text in right.texts] == ["−33,3"]
    inside = plots.forest([*rows[:3], row("C", 0.0, MAJORITY)]).axes[0]
    assert not inside.texts  # a guess that lies on the scale is drawn like the others
    assert len(inside.collections) == len(left.collections) + 2


def test_close_percents_keep_their_decimals():
    lesson = {"test_acc": [0.751, 0.775, 0.8, 0.822], "honest": [2, 0.775], "course": [4, 0.822]}
    figure = plots.leakage(lesson)
    figure.canvas.draw()
    for label in figure.axes[0].yaxis.get_ticklabels():
        shown = float(label.get_text().rstrip("%").replace(",", "."))
        assert shown == pytest.approx(100 * label.get_position()[1])
