"""What the figures draw from plain data: outliers that leave the scale alone, honest ticks, the phantom's steps."""

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex
from seaborn.utils import relative_luminance

from cxr_helpers import pictures, plots
from cxr_helpers.comparison import BETTER, MAJORITY, UNDECIDED
from cxr_helpers.engine import anatomy, phantom
from report import exporters


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def row(title: str, value: float, verdict: str) -> dict:
    estimate = {"value": value, "ci95": [value - 0.02, value + 0.02], "verdict": verdict}
    return {"title": title, "predicts": estimate, "overfits": estimate}


def test_a_network_that_guesses_does_not_stretch_the_forest_and_its_value_is_written():
    rows = [
        {"title": "Pembanding"},
        row("A", 0.03, BETTER),
        row("B", -0.01, UNDECIDED),
        row("C", -0.333, MAJORITY),
    ]
    left, right = plots.forest(rows).axes
    assert left.get_xlim() == pytest.approx(plots.forest(rows[:3]).axes[0].get_xlim())
    assert -0.05 < left.get_xlim()[0] < -0.03 and 0.05 < left.get_xlim()[1] < 0.06
    assert [text.get_text() for text in left.texts] == ["−0,333"] and [
        text.get_text() for text in right.texts
    ] == ["−33,3"]
    inside = plots.forest([*rows[:3], row("C", 0.0, MAJORITY)]).axes[0]
    assert not inside.texts  # a guess that lies on the scale is drawn like the others
    assert len(inside.collections) == len(plots.forest(rows).axes[0].collections) + 2


def test_long_titles_leave_the_forest_its_axes_and_their_labels():
    long = "Dua lapisan konvolusi yang lebih lebar, tanpa pergeseran dan dengan loss Brier"
    figure = plots.forest(
        [{"title": "Pembanding"}, row("A", 0.03, BETTER), row(long, 0.01, UNDECIDED)]
    )
    figure.canvas.draw()
    whole = figure.bbox
    for panel in figure.axes:
        box = panel.xaxis.label.get_window_extent()
        assert whole.x0 <= box.x0 and box.x1 <= whole.x1
    names = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    assert names[0].y0 > names[1].y1 and min(box.x0 for box in names) >= whole.x0


def test_a_forest_of_guesses_alone_still_has_a_scale():
    left, _ = plots.forest([{"title": "Pembanding"}, row("C", -0.3, MAJORITY)]).axes
    assert left.get_xlim()[0] < -0.32 and not left.texts


def test_close_percents_keep_their_decimals():
    lesson = {"test_acc": [0.751, 0.775, 0.8, 0.822], "honest": [2, 0.775], "course": [4, 0.822]}
    figure = plots.leakage(lesson)
    figure.canvas.draw()
    ticks = figure.axes[0].yaxis.get_ticklabels()
    shown = [(label.get_text(), label.get_position()[1]) for label in ticks]
    assert all(
        float(text.rstrip("%").replace(",", ".")) == pytest.approx(100 * place)
        for text, place in shown
    )


@pytest.mark.parametrize("right", [0, 20, 40, 50, 60, 70, 80, 100])
def test_numbers_on_a_confusion_matrix_stand_out_and_keep_their_colour_on_a_dark_page(right):
    panel = plots.confusion([[right, 100 - right], [100 - right, right]], ("a", "b")).axes[0]
    for words, cell in zip(panel.texts, panel.collections[0].get_facecolors(), strict=True):
        bright = sorted(relative_luminance(colour) for colour in (words.get_color(), cell[:3]))
        assert (bright[1] + 0.05) / (bright[0] + 0.05) >= 4.5
        assert f"fill: {to_hex(words.get_color())}" not in exporters.DARK


@pytest.mark.parametrize("n", [2, 3, 4])
def test_long_titles_over_curves_do_not_run_into_each_other(n):
    history = [
        {"epoch": 1, "train_acc": 0.7, "val_acc": 0.6},
        {"epoch": 2, "train_acc": 0.8, "val_acc": 0.7},
    ]
    titles = [
        "Pembanding",
        *["Tiga lapisan konvolusi, derau, dan loss Brier dengan bobot"] * (n - 1),
    ]
    figure = plots.compared_curves(
        [{"name": str(i), "title": title, "history": history} for i, title in enumerate(titles)],
        "0123",
    )
    figure.canvas.draw()
    boxes = [panel.title.get_window_extent() for panel in figure.axes]
    assert (
        all(left.x1 < right.x0 for left, right in pairwise(boxes))
        and boxes[-1].x1 <= figure.bbox.x1
    )
    assert max(box.y1 for box in boxes) <= figure.bbox.y1


def test_the_phantom_is_explained_by_the_steps_that_draw_it():
    steps = phantom.explain()
    assert {
        name: steps[name].shape for name in ("soft", "lung", "bone", "transmitted")
    } == dict.fromkeys(("soft", "lung", "bone", "transmitted"), (56, 56))
    assert steps["transmitted"].min() > 0 and steps["transmitted"].max() <= 1
    assert (
        steps["image"].shape == (28, 28)
        and steps["image"].dtype == np.uint8
        and steps["pneumothorax"].any()
    )
    # What lets least through is brightest.
    coarse = steps["transmitted"].reshape(28, 2, 28, 2).mean(axis=(1, 3))
    assert np.corrcoef(-np.log(coarse).ravel(), steps["image"].ravel())[0, 1] > 0.8
    assert len(pictures.phantom(steps).axes) == 6
    again = phantom.explain()
    assert all(np.array_equal(steps[name], again[name]) for name in steps)


def test_bone_stops_more_of_the_beam_than_soft_tissue_and_soft_tissue_more_than_lung():
    field = np.full((1, 4, 4), 5.0, np.float32)
    none = np.zeros_like(field)
    one = np.ones_like(field)
    soft, lung = (
        anatomy.Rays(field, none, one, none, none, {}),
        anatomy.Rays(none, field, one, none, none, {}),
    )
    bony = anatomy.Rays(field, none, one, field, none, {})
    shares = [float(rays.transmitted().mean()) for rays in (bony, soft, lung)]
    assert shares == sorted(shares) and shares[1] == pytest.approx(np.exp(-5 * anatomy.MU_SOFT))
