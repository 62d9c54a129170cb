"""The interactive parts answer when a person moves them."""

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


@pytest.mark.parametrize(("control", "value"), [("Ukuran", "pinv"), ("Kernel", 40), ("Citra", 3)])
def test_a_moved_control_draws_anew(panel, control, value):
    controls, said, picture = parts(panel)
    before, text = bytes(picture.value), said.value
    assert before.startswith(b"\x89PNG")
    controls[control].value = value
    assert bytes(picture.value) != before and said.value != text


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
    assert "Tidak ada citra" in said.value and bytes(picture.value) == b"" and picture.layout.display == "none"
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
    assert "geometri, pencahayaan, dan cermin kiri-kanan" in said.value and bytes(picture.value) != before
