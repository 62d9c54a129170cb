"""Interactive parts answer when a person moves them; figures scale and label honestly."""

import numpy as np
import pytest
from torch import nn

from cxr_helpers import figures, panels
from cxr_helpers.evaluation import BETTER, EQUAL, MAJORITY, UNDECIDED
from cxr_helpers.model import gabor_bank

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.integers(0, 256, (30, 28, 28)).astype(np.uint8)
LABELS, LOGITS = np.arange(30) % 2, GENERATOR.normal(size=30)


def parts(panel) -> tuple:
    controls, said, picture = panel.children
    return {control.description: control for control in controls.children}, said, picture


def other(control):
    """A value of a control that it does not have now."""
    if hasattr(control, "options"):
        return next(value for _, value in control._options_full if value != control.value)
    return control.min if control.value != control.min else control.max


@pytest.mark.parametrize(
    "make",
    [
        lambda: panels.adaptation_panel(gabor_bank(), IMAGES[:5], 3),
        lambda: panels.threshold_panel(LOGITS, LABELS, ("A", "B")),
    ],
)
def test_every_control_changes_the_picture(make):
    controls, _, picture = parts(make())
    for label, control in controls.items():
        before = picture.value
        assert "data:image/svg+xml" in before
        control.value = other(control)
        assert picture.value not in (before, ""), label


def test_the_threshold_moves_the_operating_point():
    labels, logits = np.array([0, 0, 1, 1]), np.array([-2.0, 1.0, -0.5, 3.0])
    controls, said, _ = parts(panels.threshold_panel(logits, labels, ("A", "B")))
    assert "sensitivitas 50,0%, spesifisitas 50,0%" in said.value
    controls["Ambang"].value = 0.9
    assert "sensitivitas 50,0%, spesifisitas 100,0%" in said.value


def test_a_guess_comes_before_the_logit_and_each_change_asks_for_another(monkeypatch):
    drawn = []
    response = figures.response
    monkeypatch.setattr(figures, "response", lambda rows: drawn.append(rows) or response(rows))
    brightness = nn.Sequential(nn.Flatten(), nn.Linear(784, 1, bias=False))
    nn.init.ones_(brightness[1].weight)
    controls, said, picture = parts(panels.patient_panel({"Resep": brightness, "Lain": brightness}))
    for label in ("Rasio", "Selang dada"):
        before, usual = picture.value, controls[label].value
        controls[label].value = other(controls[label])
        assert said.value.startswith("Dugalah") and picture.value != before
        assert np.isnan(drawn[-1][0]["logits"]).all()
        controls["Logit"].value = "naik"
        assert said.value == "Dugaan Anda: naik."
        assert [row["thing"] for row in drawn[-1]] == ["Resep", "Lain"]
        assert drawn[-1][0]["change"]["value"] != 0
        controls[label].value = usual
        assert controls["Logit"].value == panels.NOT_YET


PARTNER = {"title": "Pembanding"}


def row(title: str, value: float, verdict: str) -> dict:
    estimate = {"value": value, "ci95": [value - 0.02, value + 0.02], "verdict": verdict}
    estimate["narrow"] = verdict == EQUAL
    return {"title": title, "predicts": estimate, "overfits": estimate}


def test_a_network_that_guesses_does_not_stretch_the_forest_and_its_value_is_written():
    rows = [PARTNER, row("A", 0.03, BETTER), row("B", -0.01, UNDECIDED), row("C", -0.333, MAJORITY)]
    left, right = figures.forest(rows).axes
    assert left.get_xlim() == pytest.approx(figures.forest(rows[:3]).axes[0].get_xlim())
    assert -0.05 < left.get_xlim()[0] < -0.03 and 0.05 < left.get_xlim()[1] < 0.06
    assert [text.get_text() for text in left.texts] == ["+0,030", "−0,010", "−0,333"]
    assert [text.get_text() for text in right.texts] == ["+3,0", "−1,0", "−33,3"]


def test_the_forest_is_sorted_by_the_effect_and_says_whether_equal_can_be_reached():
    for verdict, title in ((UNDECIDED, "interval terlalu lebar"), (EQUAL, "pita: setara")):
        rows = [row("A", -0.01, UNDECIDED), row("B", 0.03, BETTER), row("C", 0.0, verdict)]
        axes = figures.forest([PARTNER, *rows]).axes
        assert [label.get_text() for label in axes[0].get_yticklabels()] == ["B", "C", "A"]
        assert all(panel.get_title("left").startswith(title) for panel in axes)


def test_close_percents_keep_their_decimals():
    lesson = {"test_acc": [0.751, 0.775, 0.8, 0.822], "honest": [2, 0.775], "course": [4, 0.822]}
    figure = figures.leakage(lesson)
    figure.draw_without_rendering()
    for label in figure.axes[0].yaxis.get_ticklabels():
        shown = float(label.get_text().rstrip("%").replace(",", "."))
        assert shown == pytest.approx(100 * label.get_position()[1])
