"""The interactive parts answer when a person moves them."""

import re

import numpy as np
import pytest

from cxr_helpers import widgets
from cxr_helpers.weights import gabor_bank


@pytest.fixture
def panel():
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    return widgets.adaptation_panel(gabor_bank(), images, 3)


def parts(panel) -> tuple:
    controls, said, picture = panel.children
    return {control.description: control for control in controls.children}, said, picture


def other(control):
    """A value of a control that it does not have now."""
    if hasattr(control, "options"):
        return next(value for _, value in control._options_full if value != control.value)
    return control.min if control.value != control.min else control.max


@pytest.mark.parametrize("name", ["adaptation", "threshold", "browser", "augmentation"])
def test_every_control_changes_the_picture(name):
    generator = np.random.default_rng(0)
    images, labels, logits = (
        generator.integers(0, 256, (30, 28, 28)).astype(np.uint8),
        np.arange(30) % 2,
        generator.normal(size=30),
    )
    make = {
        "adaptation": lambda: widgets.adaptation_panel(gabor_bank(), images, 3),
        "threshold": lambda: widgets.threshold_panel(logits, labels, ("A", "B")),
        "browser": lambda: widgets.image_browser(images, labels, logits, ("A", "B")),
        "augmentation": lambda: widgets.augmentation_panel(images),
    }[name]
    for label in parts(make())[0]:
        controls, _, picture = parts(make())
        before = bytes(picture.value)
        assert before.startswith(b"\x89PNG")
        controls[label].value = other(controls[label])
        assert bytes(picture.value) not in (before, b""), label


def test_the_size_of_the_answer_is_said(panel):
    """Mean and sum of the channels give the same pattern: a third of the size."""
    controls, said, _ = parts(panel)
    sizes = {}
    for reduce in ("mean", "sum"):
        controls["Kanal"].value = reduce
        sizes[reduce] = float(
            re.search(r"adaptasi: ([\d,]+) kali", said.value)[1].replace(",", ".")
        )
    assert sizes["sum"] / sizes["mean"] == pytest.approx(3, rel=0.05)


def test_another_kind_of_prediction_begins_at_its_first_page_and_ends_at_its_last():
    labels = np.arange(40) % 2
    logits = np.where(labels == 1, 1.0, -1.0)
    logits[:3] *= -1  # three wrong
    controls, said, _ = parts(
        widgets.image_browser(np.zeros((40, 28, 28), np.uint8), labels, logits, ("A", "B"))
    )
    controls["Halaman"].value = 4
    controls["Prediksi"].value = "salah"
    assert said.value == "3 citra; halaman 1 dari 1." and controls["Halaman"].disabled
    controls["Prediksi"].value = "benar"
    assert controls["Halaman"].max == 4 and not controls["Halaman"].disabled


def test_a_colour_kernel_loses_its_answer_in_the_mean_and_says_so(panel):
    controls, said, _ = parts(panel)
    controls["Kernel"].value = 50
    assert "responsnya nol" in said.value


def test_headless_shows_nothing(monkeypatch):
    monkeypatch.setattr(widgets, "display", lambda *a: pytest.fail("shown"))
    widgets.show(lambda: None)


def test_no_picture_stays_where_there_is_nothing_to_show():
    images, labels = np.zeros((4, 28, 28), np.uint8), np.array([0, 1, 0, 1])
    logits = np.where(labels == 1, 1.0, -1.0)  # all right, none confident
    controls, said, picture = parts(widgets.image_browser(images, labels, logits, ("A", "B")))
    assert bytes(picture.value).startswith(b"\x89PNG")
    controls["Prediksi"].value = "salah dan yakin"
    assert (
        "Tidak ada citra" in said.value
        and bytes(picture.value) == b""
        and picture.layout.display == "none"
    )
    controls["Prediksi"].value = "benar"
    assert bytes(picture.value).startswith(b"\x89PNG") and picture.layout.display is None


def test_the_threshold_moves_the_operating_point():
    labels, logits = np.array([0, 0, 1, 1]), np.array([-2.0, 1.0, -0.5, 3.0])
    controls, said, _ = parts(widgets.threshold_panel(logits, labels, ("A", "B")))
    assert "sensitivitas 50,0%, spesifisitas 50,0%" in said.value
    controls["Ambang"].value = 0.9
    assert "sensitivitas 50,0%, spesifisitas 100,0%" in said.value


def test_augmentations_are_shown_by_their_names():
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28)).astype(np.uint8)
    controls, said, picture = parts(widgets.augmentation_panel(images))
    before = bytes(picture.value)
    controls["Augmentasi"].value = ("geometry", "exposure", "flip")
    assert (
        "geometri, pencahayaan, dan cermin kiri-kanan" in said.value
        and bytes(picture.value) != before
    )
