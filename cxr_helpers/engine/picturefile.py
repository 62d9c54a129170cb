"""One picture file of a person's own (PNG, JPEG, DICOM) as grey values; whatever it is instead, one
line says so.

PNG and JPEG by Pillow; DICOM by pydicom, which is no dependency: whoever has such files installs
it.
"""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from cxr_helpers.engine.errors import InputError

FORMATS = ("PNG", "JPEG")
MOST = 100_000_000  # pixels: ten times a chest radiograph; more would fill the memory
WITHOUT_PYDICOM = (
    "untuk DICOM pasang dahulu pydicom dengan `python -m pip install pydicom`, "
    "atau simpan citranya sebagai PNG."
)


def read(path: str | Path) -> np.ndarray:
    """Grey values (H, W) uint8 of the first picture in the file, turned upright as its EXIF data
    say.

    Colour becomes luminance (ITU-R BT.601), what is transparent becomes black, as the surroundings
    of a radiograph are. Deeper greys are scaled by the bits that are in use, so that 12 bits in a
    16-bit PNG are not taken for darkness; a DICOM image by its own window, and MONOCHROME1 is
    inverted. Raises InputError.
    """
    path = Path(path).expanduser()
    try:
        with open(path, "rb") as stream:
            head = stream.read(132)
    except FileNotFoundError:
        raise InputError(f"Berkas {path} tidak ditemukan: periksa letak dan ejaannya.") from None
    except OSError as error:
        raise InputError(f"Berkas {path} tidak dapat dibaca ({error.strerror}).") from None
    if not head:
        raise InputError(f"Berkas {path} kosong.")
    if head[128:] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom"):
        return _dicom(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns below our own limit
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, *image.size)
                return _grey(ImageOps.exif_transpose(image))
    except UnidentifiedImageError:
        raise InputError(
            f"Berkas {path} bukan PNG, JPEG, atau DICOM: "
            "simpan citranya dalam salah satu bentuk itu."
        ) from None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"Berkas {path} terpotong atau rusak: ambil atau simpan lagi citranya."
        ) from None


def _too_large(path: Path) -> InputError:
    return InputError(
        f"Citra {path} terlalu besar: perkecil dahulu hingga paling banyak 10000×10000 piksel."
    )


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST:
        raise _too_large(path)


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits, whole or not
        return _eight_bits(np.asarray(image, np.float64))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.array(image.convert("RGB").convert("L"))


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of any depth as uint8, by the smallest number of bits, 8 at least, that holds the
    largest.
    """
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    if 0 < values.max() <= 1 and (values % 1).any():  # shares of white
        return (values * 255).round().astype(np.uint8)
    bits = max(8, int(np.ceil(np.log2(values.max() + 1))))
    return (values / (2**bits - 1) * 255).round().astype(np.uint8)


def _dicom(path: Path) -> np.ndarray:
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError:
        raise InputError(f"Berkas {path} tidak dapat dibaca: {WITHOUT_PYDICOM}") from None
    try:
        found = pydicom.dcmread(path)
        if "PixelData" not in found:
            raise InputError(f"Berkas {path} tidak memuat citra: pilih berkas DICOM lain.")
        _check_size(path, int(found.Columns), int(found.Rows))
        pixels = found.pixel_array
        if pixels.ndim != 2:
            raise InputError(
                f"Berkas {path} memuat beberapa citra atau citra berwarna: "
                "simpan satu citra keabuan."
            )
        values = apply_voi_lut(apply_modality_lut(pixels, found), found).astype(np.float64)
    except InputError:
        raise
    except Exception as error:  # pydicom and its decoders raise what they like
        raise InputError(
            f"Berkas {path} tidak dapat dibaca sebagai DICOM ({type(error).__name__}): "
            "simpan sebagai PNG."
        ) from None
    low, high = values.min(), values.max()
    scaled = (values - low) / max(high - low, 1e-12)
    inverted = found.get("PhotometricInterpretation") == "MONOCHROME1"
    return ((1 - scaled if inverted else scaled) * 255).round().astype(np.uint8)
