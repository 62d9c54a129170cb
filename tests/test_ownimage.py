"""An image of one's own: of any size, depth and colour it is read and answered, or refused."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from cxr_helpers import panels
from cxr_helpers.engine import files, ownfiles, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.model import resolve_weights
from cxr_helpers.study import Study
from tests.conftest import made

RAMP = np.linspace(0, 255, 60).round().astype(np.uint8)[None].repeat(40, 0)  # dark on the left
GREY = Image.fromarray(RAMP)
LEFT = np.arange(60)[None].repeat(40, 0) < 30
TRANSPARENT = GREY.convert("RGBA")  # opaque on the left half only
TRANSPARENT.putalpha(Image.fromarray(LEFT))


def saved(folder, image: Image.Image, name: str = "foto.png", **options):
    image.save(folder / name, **options)
    return folder / name


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (GREY, RAMP),
        (GREY.convert("RGB"), RAMP),
        (GREY.convert("P"), RAMP),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), RAMP),
        (Image.fromarray(RAMP.astype(np.uint16) * 16), RAMP * (4080 / 4095)),
        (TRANSPARENT, np.where(LEFT, RAMP, 0)),
        (Image.fromarray(np.diag([255] * 3).astype(np.uint8)[None, :, :]), [[76, 150, 29]]),
    ],
    ids="grey RGB palette 16-bits 12-bits-in-16 transparent colours".split(),
)
def test_every_kind_of_png_gives_its_grey_values(tmp_path, image, expected):
    found = ownfiles.read_picture(saved(tmp_path, image))
    assert found.dtype == np.uint8 and np.abs(found - np.asarray(expected, float)).max() <= 1


@pytest.mark.parametrize(
    ("orientation", "mode", "turned"), [(1, "CMYK", RAMP), (6, "RGB", np.rot90(RAMP, -1))]
)
def test_a_photograph_is_turned_upright(tmp_path, orientation, mode, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = GREY.convert("RGB").convert(mode)
    found = ownfiles.read_picture(saved(tmp_path, picture, "foto.jpg", exif=exif, quality=100))
    assert found.shape == turned.shape and np.abs(found.astype(int) - turned).max() <= 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("tiada.png", None, "tidak ditemukan"),
        ("teks.png", b"bukan citra\n" * 20, "bukan PNG, JPEG, atau DICOM"),
        ("palsu.dcm", b"\0" * 128 + b"DICM" + bytes(10), "DICOM"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, name, content, said):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as failure:
        ownfiles.read_picture(path)
    assert "\n" not in str(failure.value) and path.name in str(failure.value)


def test_a_truncated_picture_and_one_that_would_fill_the_memory_are_refused(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(InputError, match="terpotong atau rusak"):
        ownfiles.read_picture(path)
    with pytest.raises(InputError, match="terlalu besar"):
        ownfiles.read_picture(saved(tmp_path, Image.new("1", (40_000, 2_501))))


def test_the_centre_is_cut_and_shrunk():
    image = np.zeros((100, 300), np.uint8)
    image[:, 100:200] = 200
    square, seen = panels.as_seen(image, 28)
    assert np.array_equal(square, np.full((100, 100), 200))
    assert np.array_equal(seen, np.full((28, 28), 200))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of an epoch on made-up images, and its study."""
    folder, data, weights = tmp_path_factory.mktemp("own"), made(), resolve_weights("random")
    about = (settings.PRESETS["smoke"], 0, torch.device("cpu"), "float32", folder, "", time.time())
    study = Study(data, data, weights, *about)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(files.RUNS, str(folder))
        yield study.baseline(epochs=1)[0], study


def test_an_image_of_the_data_gets_the_answer_that_it_got_in_the_data(trained):
    run, study = trained
    logits = run.logits["val_best"]
    for row in (logits.argmin(), logits.argmax()):
        image, logit = study.used.val.images[row], logits[row]
        answer = panels.ask(image, run, study)
        assert answer.predicted == (logit > 0) and (answer.seen == image).all()
        for found, scale in ((answer.confidence, 1), (answer.calibrated, answer.temperature)):
            assert found == pytest.approx(1 / (1 + np.exp(-abs(logit) / scale)), abs=1e-4)
        assert answer.attributed.shape == image.shape and np.abs(answer.attributed).max() > 0


def test_it_is_shown_with_the_warning_and_nothing_is_shown_without_a_file(
    trained, tmp_path, monkeypatch
):
    shown = []
    monkeypatch.setattr(panels, "display", shown.append)
    panels.show_own_image(None, *trained)
    assert shown == []
    panels.show_own_image(saved(tmp_path, TRANSPARENT), *trained)
    figure, said = shown
    assert {panel.images[0].get_clim() for panel in figure.axes[:2]} == {(0, 255)}
    assert "bukan diagnosis" in said.data
    assert any(name in said.data for name in trained[1].used.class_names_id)
