"""An image of one's own: whatever its size, depth and colour it is read, shown and answered; a bad file is one line."""

import time

import numpy as np
import pytest
import torch
from PIL import Image

from cxr_helpers import ownimage
from cxr_helpers.engine import files, picturefile, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.setup import Setup
from cxr_helpers.weights import resolve_weights
from tests.conftest import made

RAMP = np.tile(
    np.linspace(0, 255, 60).round().astype(np.uint8), (40, 1)
)  # dark on the left, 40 × 60


def saved(folder, image: Image.Image, name: str = "foto.png", **options):
    image.save(folder / name, **options)
    return folder / name


def rgba() -> Image.Image:
    """The ramp, opaque on the left half only."""
    image = Image.fromarray(RAMP).convert("RGBA")
    image.putalpha(
        Image.fromarray(np.where(np.arange(60) < 30, 255, 0).astype(np.uint8)[None].repeat(40, 0))
    )
    return image


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(RAMP), RAMP),
        (Image.fromarray(RAMP).convert("RGB"), RAMP),
        (Image.fromarray(RAMP).convert("P"), RAMP),
        (Image.fromarray(RAMP).convert("LA"), RAMP),
        (Image.fromarray(RAMP > 127), np.where(RAMP > 127, 255, 0)),
        (Image.fromarray(RAMP.astype(np.uint16) * 257), RAMP),
        (
            Image.fromarray(RAMP.astype(np.uint16) * 16),
            RAMP * (4080 / 4095),
        ),  # 12 bits in a 16-bit file
        (rgba(), np.where(np.arange(60) < 30, RAMP, 0)),
    ],
    ids=["grey", "RGB", "palette", "grey and alpha", "1 bit", "16 bits", "12 bits", "transparent"],
)
def test_every_kind_of_png_gives_its_grey_values(tmp_path, image, expected):
    found = picturefile.read(saved(tmp_path, image))
    assert found.dtype == np.uint8 and np.abs(found - np.asarray(expected, float)).max() <= 1


def test_colour_becomes_luminance(tmp_path):
    pure = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8))
    assert picturefile.read(saved(tmp_path, pure)).tolist() == [[76, 150, 29]]


@pytest.mark.parametrize(
    ("orientation", "turned"), [(3, np.rot90(RAMP, 2)), (6, np.rot90(RAMP, -1)), (2, RAMP[:, ::-1])]
)
def test_a_photograph_is_turned_upright(tmp_path, orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path, Image.fromarray(RAMP).convert("RGB"), "foto.jpg", exif=exif, quality=100)
    found = picturefile.read(path)
    assert found.shape == turned.shape and np.abs(found.astype(int) - turned).max() <= 3


def test_a_print_in_cmyk_is_read(tmp_path):
    found = picturefile.read(
        saved(
            tmp_path, Image.fromarray(RAMP).convert("RGB").convert("CMYK"), "foto.jpeg", quality=100
        )
    )
    assert found[0, 0] < 20 and found[0, -1] > 235


def bad(folder, name: str):
    path = folder / name
    whole = saved(
        folder,
        Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)),
        "utuh.png",
    )
    contents = {
        "kosong.png": b"",
        "teks.png": b"bukan citra\n" * 20,
        "terpotong.png": whole.read_bytes()[:20_000],
        "foto.heic": b"\0\0\0\x18ftypheic" + bytes(200),
        "palsu.dcm": b"\0" * 128 + b"DICM" + bytes(10),
    }
    if name == "folder":
        path.mkdir()
    elif name in contents:
        path.write_bytes(contents[name])
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("tiada.png", "tidak ditemukan"),
        ("folder", "tidak dapat dibaca"),
        ("kosong.png", "kosong"),
        ("teks.png", "bukan PNG, JPEG, atau DICOM"),
        ("foto.heic", "bukan PNG, JPEG, atau DICOM"),
        ("terpotong.png", "terpotong atau rusak"),
        ("palsu.dcm", "DICOM"),
    ],
)
def test_a_bad_file_is_one_line(tmp_path, name, said):
    with pytest.raises(InputError, match=said) as failure:
        picturefile.read(bad(tmp_path, name))
    assert "\n" not in str(failure.value) and name in str(failure.value)


@pytest.mark.parametrize("height", [3_000, 6_000])  # Pillow itself refuses the larger one
def test_a_picture_that_would_fill_the_memory_is_refused(tmp_path, height):
    path = saved(tmp_path, Image.new("1", (40_000, height)))
    with pytest.raises(InputError, match="terlalu besar"):
        picturefile.read(path)


def test_dicom_is_read_where_pydicom_is(tmp_path):
    pydicom = pytest.importorskip("pydicom")
    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = pydicom.uid.generate_uid()
    data.Rows, data.Columns = RAMP.shape
    data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = (
        1,
        "MONOCHROME1",
        0,
    )
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
    data.PixelData = (RAMP.astype(np.uint16) * 16).tobytes()
    data.save_as(tmp_path / "foto", enforce_file_format=True)
    assert np.abs(picturefile.read(tmp_path / "foto") - (255.0 - RAMP)).max() <= 1


# --- what the network answers ---------------------------------------------------------------------------------------


def test_the_centre_is_cut_and_shrunk():
    image = np.zeros((100, 300), np.uint8)
    image[:, 100:200] = 200
    square, seen = ownimage.as_seen(image, 28)
    assert (
        square.shape == (100, 100)
        and (square == 200).all()
        and seen.shape == (28, 28)
        and (seen == 200).all()
    )
    assert (
        ownimage.as_seen(np.full((1, 5), 7, np.uint8), 28)[1].tolist()
        == np.full((28, 28), 7).tolist()
    )


@pytest.fixture(scope="module")
def study_and_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(files.RUNS, str(folder))
        data, weights = made(), resolve_weights("random")
        study = Setup(
            data,
            data,
            weights,
            settings.PRESETS["smoke"],
            0,
            torch.device("cpu"),
            "float32",
            folder,
            "",
            time.time(),
        )
        yield study, study.baseline()[0]


def test_an_image_of_the_data_gets_the_answer_that_it_got_in_the_data(study_and_run):
    study, run = study_and_run
    images, logits = study.used.val.images, run.logits["val_best"]
    for image, logit in zip(images[:4], logits, strict=False):
        answer = ownimage.ask(image, run, study)
        assert answer.predicted == (logit > 0) and (answer.seen == image).all()
        assert answer.confidence == pytest.approx(1 / (1 + np.exp(-abs(logit))), abs=1e-4)
        assert answer.calibrated == pytest.approx(
            1 / (1 + np.exp(-abs(logit) / answer.temperature)), abs=1e-4
        )
        assert answer.attributed.shape == image.shape and np.abs(answer.attributed).max() > 0


def test_it_is_shown_with_the_warning_and_nothing_is_shown_without_a_file(
    study_and_run, tmp_path, monkeypatch
):
    study, run = study_and_run
    shown = []
    monkeypatch.setattr(ownimage, "display", shown.append)
    ownimage.show(None, run, study)
    assert shown == []
    ownimage.show(saved(tmp_path, rgba()), run, study)
    figure, said = shown
    titles = [panel.get_title(loc="center") for panel in figure.axes]
    assert titles[0] == "Citra Anda (40×40)" and "28×28" in titles[1]
    windows = {panel.images[0].get_clim() for panel in figure.axes[:2]}
    assert windows == {(0, 255)}
    assert "bukan diagnosis" in said.data and any(
        name in said.data for name in study.used.class_names_id
    )


@pytest.mark.parametrize("wrong", ["", 3, "tiada.png"])
def test_what_is_no_file_is_one_line(study_and_run, wrong):
    study, run = study_and_run
    with pytest.raises(InputError):
        ownimage.show(wrong, run, study)
