"""What the figures draw from plain data: outliers leave the scale alone, ticks are honest."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from cxr_helpers import pictures, plots
from cxr_helpers.comparison import BETTER, MAJORITY, UNDECIDED
from cxr_helpers.engine import anatomy, phantom
from matplotlib.colors import to_hex
from report import exporters
from seaborn.utils import relative_luminance

PARTNER = {"title": "Pembanding"}
LONG = "Dua lapisan konvolusi yang lebih lebar, tanpa pergeseran dan dengan loss Brier"


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
    alone = plots.forest([PARTNER, row("C", -0.3, MAJORITY)]).axes[0]
    assert alone.get_xlim()[0] < -0.32 and not alone.texts


def test_long_titles_leave_the_forest_its_axes_and_their_labels():
    figure = plots.forest([PARTNER, row("A", 0.03, BETTER), row(LONG, 0.01, UNDECIDED)])
    figure.canvas.draw()
    for panel in figure.axes:
        box = panel.xaxis.label.get_window_extent()
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
    names = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert names[0].y0 > names[1].y1 and min(box.x0 for box in names) >= figure.bbox.x0


@pytest.mark.parametrize("n", [2, 3, 4])
def test_long_titles_over_curves_do_not_run_into_each_other(n):
    history = [{"epoch": i, "train_acc": 0.7, "val_acc": 0.6} for i in (1, 2)]
    rows = [{"name": str(i), "title": LONG[: 20 + 60 * i], "history": history} for i in range(n)]
    figure = plots.compared_curves(rows, "0123")
    figure.canvas.draw()
    boxes = [panel.title.get_window_extent() for panel in figure.axes]
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes))
    assert boxes[-1].x1 <= figure.bbox.x1 and max(box.y1 for box in boxes) <= figure.bbox.y1


def test_close_percents_keep_their_decimals():
    lesson = {"test_acc": [0.751, 0.775, 0.8, 0.822], "honest": [2, 0.775], "course": [4, 0.822]}
    figure = plots.leakage(lesson)
    figure.canvas.draw()
    for label in figure.axes[0].yaxis.get_ticklabels():
        shown = float(label.get_text().rstrip("%").replace(",", "."))
        assert shown == pytest.approx(100 * label.get_position()[1])


@pytest.mark.parametrize("right", [0, 20, 40, 50, 60, 70, 80, 100])
def test_numbers_on_a_confusion_matrix_stand_out_and_keep_their_colour_on_a_dark_page(right):
    panel = plots.confusion([[right, 100 - right], [100 - right, right]], ("a", "b")).axes[0]
    for words, cell in zip(panel.texts, panel.collections[0].get_facecolors(), strict=True):
        dark, bright = sorted(relative_luminance(each) for each in (words.get_color(), cell[:3]))
        assert (bright + 0.05) / (dark + 0.05) >= 4.5
        assert f"fill: {to_hex(words.get_color())}" not in exporters.DARK


def test_the_phantom_is_explained_by_the_steps_that_draw_it():
    steps = phantom.explain()
    assert steps["transmitted"].min() > 0 and steps["transmitted"].max() <= 1
    assert steps["image"].dtype == np.uint8 and steps["pneumothorax"].any()
    # What lets least through is brightest.
    coarse = steps["transmitted"].reshape(28, 2, 28, 2).mean(axis=(1, 3))
    assert np.corrcoef(-np.log(coarse).ravel(), steps["image"].ravel())[0, 1] > 0.8
    assert len(pictures.phantom(steps).axes) == 6
    again = phantom.explain()
    assert all(np.array_equal(steps[name], again[name]) for name in steps)


def test_bone_stops_more_of_the_beam_than_soft_tissue_and_soft_tissue_more_than_lung():
    field, none = np.full((1, 4, 4), 5.0, np.float32), np.zeros((1, 4, 4), np.float32)

    def share(soft, lung, bone):
        return float(anatomy.Rays(soft, lung, none + 1, bone, none, {}).transmitted().mean())

    bony, soft = share(field, none, field), share(field, none, none)
    assert bony < soft < share(none, field, none)
    assert soft == pytest.approx(np.exp(-5 * anatomy.MU_SOFT))
