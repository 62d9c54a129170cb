"""The interactive parts answer when a person moves them."""

import numpy as np
import pytest

from cxr_helpers import model, widgets


@pytest.fixture
def panel():
    images = np.random.default_rng(0).integers(0, 256, (5, 28, 28)).astype(np.uint8)
    return widgets.adaptation_panel(model.gabor_bank(), images, 3)


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
    assert "tanggapannya nol" in said.value


def test_headless_shows_nothing(monkeypatch):
    monkeypatch.setattr(widgets, "display", lambda *a: pytest.fail("shown"))
    widgets.show(lambda: None)
