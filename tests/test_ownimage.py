"""An image of one's own: of any size, depth and colour it is read and answered, or refused."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from cxr_helpers import overfitting, panels
from cxr_helpers.engine import files, ownfiles, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import percent
from cxr_helpers.experiments import Result
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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of an epoch on made-up images, and its study."""
    folder, data, weights = tmp_path_factory.mktemp("own"), made(), resolve_weights("random")
    about = (settings.PRESETS["smoke"], 0, torch.device("cpu"), "float32", folder, "", time.time())
    study = Study(data, data, weights, *about)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(files.RUNS, str(folder))
        yield study.baseline(epochs=1)[0], study


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(panels, "display", outputs.append)
    return outputs


def test_an_image_of_the_data_gets_the_answer_that_it_got_in_the_data(trained, shown, tmp_path):
    run, study = trained
    with pytest.raises(InputError, match="hasil study"):
        panels.show_own_image("foto.png", torch.nn.Flatten(), study)
    logits = run.logits["val_best"]
    temperature = overfitting.fit_temperature(logits, study.used.val.labels)
    for row in (logits.argmin(), logits.argmax()):
        image, size = study.used.val.images[row], abs(logits[row])
        panels.show_own_image(saved(tmp_path, Image.fromarray(image)), Result((run,)), study)
        figure, said = shown[-2:]
        _, seen, attributed = (panel.images[0].get_array() for panel in figure.axes)
        assert (seen == image).all() and np.abs(attributed).max() > 0
        sure, calibrated = (percent(1 / (1 + np.exp(-size / t))) for t in (1, temperature))
        name = study.used.class_names_id[int(logits[row] > 0)]
        assert f"**{name}**, dengan keyakinan {sure}" in said.data
        assert f"**{calibrated}**" in said.data and "bukan diagnosis" in said.data


def test_the_centre_is_cut_and_shrunk_and_nothing_is_shown_without_a_file(trained, shown, tmp_path):
    panels.show_own_image(None, *trained)
    assert shown == []
    image = np.repeat([[0, 200, 0]], 100, axis=1).repeat(100, axis=0).astype(np.uint8)
    panels.show_own_image(saved(tmp_path, Image.fromarray(image)), *trained)
    square, seen = (panel.images[0] for panel in shown[0].axes[:2])
    assert (square.get_array() == 200).all() and square.get_array().shape == (100, 100)
    assert (seen.get_array() == 200).all() and square.get_clim() == seen.get_clim() == (0, 255)
