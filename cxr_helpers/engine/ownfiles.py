"""Single files that people bring: what they are, the network in a checkpoint, the grey values of a
picture. Whatever is wrong with one, one line says so.

Training programs wrap a state dict ({"state_dict": …, "optimizer": …}) and rename it (`module.`,
`model.backbone.`). Wrapper and prefix are one thing here: every tensor gets its whole path as its
name, and the network is what stands behind the beginning that makes the most of these names its
own. Only tensors are read (weights_only=True): a file that would run code is refused.
"""

import argparse
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn

from cxr_helpers.engine.errors import InputError

# What a file is by its first bytes: (at which byte, the bytes there, Indonesian). The first that
# matches speaks.
MARKS = (
    (0, b"version https://git-lfs", "penunjuk Git LFS: jalankan git lfs pull"),
    (0, b"\x89PNG\r\n", "gambar PNG"),
    (0, b"\xff\xd8\xff", "gambar JPEG"),
    (128, b"DICM", "citra DICOM"),
    (0, b"%PDF", "dokumen PDF"),
    (0, b"\x89HDF\r\n", "berkas HDF5"),
    (0, b"\x93NUMPY", "satu larik .npy"),
    (0, b"MATLAB", "berkas MATLAB"),
    (0, b"\x1f\x8b", "berkas gzip"),
)
WEB_PAGE = "halaman web, bukan berkas yang dimaksud: unduh lagi dari tautan berkasnya"
PICTURES = ("gambar", "citra")
TEXT = "berkas teks"
# of the web, also where a Path has made one slash of two; C:/ is a disk
ADDRESS = re.compile(r"\w{2,}:/")
# of checkpoints, as people name them; any other file is tried as well
ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors")
DEEPEST = 8  # dicts and lists within each other
# The attributes under which torch's own wrappers keep a network: they may stand between any two
# parts of a name.
WRAPPERS = re.compile(
    r"(?<![^.])(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
Tensors = dict[str, tuple[Tensor, str]]  # {whole name: (tensor, name of the dict that holds it)}
FORMATS = ("PNG", "JPEG")
MOST_PIXELS = 100_000_000  # ten times a chest radiograph; more would fill the memory


def kind(path: Path) -> str | None:
    """'gambar PNG', 'halaman web', …; None where the first bytes tell nothing. Raises OSError where
    it cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(512)
    for at, mark, what in MARKS:
        if head[at : at + len(mark)] == mark:
            return what
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return WEB_PAGE
    if head and all(byte >= 32 or byte in b"\t\r\n" for byte in head):
        return TEXT
    return None


# --- a checkpoint: from bytes to tensors ----------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """A network found in a file.

    state: its tensors by its own names, those of floating point as float32; below: the wrapper and
    prefix they stood under, "" if none; unused: names of tensors beside them, in the same state
    dict, for which the network has no place.
    """

    state: dict[str, Tensor]
    below: str
    unused: list[str]


def read_checkpoint(path: Path, network: nn.Module) -> Checkpoint:
    """The tensors in `path` that bear the names of `network`'s, whatever wraps and precedes them.

    Read are .safetensors and what torch.save wrote, by content, not by ending. Shapes are not
    compared here (weights.fit_state). What stands beside a network that is complete (another head,
    a decoder) is left out and named in `unused`. Raises InputError with one line: no such file, not
    a whole and safe file of tensors, two networks that fit, a value that is no number.
    """
    tensors = _tensors(path, _load(path))
    wanted = network.state_dict()
    needed = [name for name in wanted if _decides(name)]
    begin = _beginning(path, tensors, needed)
    given = {
        name.removeprefix(begin): pair for name, pair in tensors.items() if name.startswith(begin)
    }
    _check_kinds(path, {name: given[name][0] for name in needed if name in given})
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, (tensor, _) in given.items()
    }
    unused = []
    if given.keys() >= set(needed):
        stages = {name.split(".")[0] for name in wanted}
        state = {name: tensor for name, tensor in state.items() if name.split(".")[0] in stages}
        homes = {given[name][1] for name in needed}
        beside = [name for name, (_, home) in tensors.items() if home in homes]
        unused = sorted(name for name in beside if name.removeprefix(begin) not in state)
    _check_values(path, {name: tensor for name, tensor in state.items() if name in wanted})
    return Checkpoint(state, begin.rstrip("."), unused)


def _decides(name: str) -> bool:
    """Whether a network without this tensor is incomplete: a head is replaced, and old files count
    no batches.
    """
    return not (name.startswith("fc.") or name.endswith("num_batches_tracked"))


def _load(path: Path) -> object:
    # unlike Path's it answers for any text, a name too long for the disk included
    if not os.path.isfile(path):
        if ADDRESS.match(str(path)):
            raise InputError(
                f"WEIGHTS={path} adalah alamat: "
                "unduh berkasnya dahulu, lalu berikan letaknya di komputer ini."
            )
        what = "itu folder, bukan berkas bobot" if os.path.isdir(path) else "berkas tidak ditemukan"
        raise InputError(f"WEIGHTS={path}: {what}. Periksa letak dan ejaannya.")
    try:
        with open(path, "rb") as file:
            begins = file.read(9)
        if begins[8:] == b"{":
            from safetensors.torch import load_file

            return load_file(path)
        # Plain values that training programs keep beside the weights (arguments, a NumPy score);
        # none of them can run code. NumPy 2 moved its scalar, and files of either version are
        # about.
        scalar = np.float64(0).__reduce__()[0]
        scalars = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
        kinds = {type(np.dtype(kind)) for kind in "?bhilBHILefd"}
        with (
            torch.serialization.safe_globals([argparse.Namespace, np.dtype, *scalars, *kinds]),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"WEIGHTS={path}: {_why_unreadable(path, error)}") from None


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"berkas tidak dapat dibaca ({error.strerror}): periksa izin bacanya."
    if path.stat().st_size == 0:
        return "berkasnya kosong: unduh atau simpan ulang."
    if what := kind(path):
        return f"isinya {what}. Berikan berkas bobot (.pth, .safetensors)."
    again = "simpan ulang dengan torch.save(model.state_dict(), …) atau sebagai .safetensors"
    refused = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)", str(error))
    if refused:
        return (
            f"bukan berkas bobot yang utuh dan aman: ia menyimpan objek {refused[1]}, "
            "bukan tensor saja, dan kode tidak pernah dijalankan. "
            f"Bila Anda memercayai asalnya, {again}."
        )
    return (
        "bukan berkas bobot yang utuh dan aman (hanya tensor yang dibaca, "
        f"kode tidak pernah dijalankan). Hapus atau ganti dengan salinan yang utuh, atau {again}."
    )


def _walk(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Tensor, str]]:
    """(name, tensor, name of the dict or list that holds it) of every tensor within `value`."""
    items = enumerate(value) if isinstance(value, (list, tuple)) else ()
    if isinstance(value, dict):
        items = value.items()
    for key, inner in items if len(path) <= DEEPEST else ():
        whole = (*path, str(key))
        if isinstance(inner, Tensor):
            yield ".".join(whole), inner.detach(), ".".join(path)
        else:
            yield from _walk(inner, whole)


def _tensors(path: Path, content: object) -> Tensors:
    tensors: Tensors = {}
    for name, tensor, home in _walk(content):
        plain = WRAPPERS.sub("", name)
        tensors[name if plain in tensors else plain] = tensor, home
    if not tensors:
        raise InputError(
            f"WEIGHTS={path}: isinya bukan state dict. "
            "Simpan dengan torch.save(model.state_dict(), …)."
        )
    return tensors


# --- a checkpoint: which tensors are the network's ------------------------------------------------


def _beginning(path: Path, tensors: Tensors, needed: list[str]) -> str:
    """What precedes the names in `needed`: the beginning, such as "model.", behind which the most
    of them stand, if that is at least half.

    Refuses two networks of which nothing says which is meant (student and teacher, weights and
    their moving average).
    """
    names, count = set(needed), Counter()
    for name in tensors:
        parts = name.split(".")
        for i in range(len(parts)):
            if ".".join(parts[i:]) in names:
                count["".join(f"{part}." for part in parts[:i])] += 1
    most = max(count.values(), default=0)
    if most < len(needed) / 2:
        return ""
    best, *others = sorted((begin for begin in count if count[begin] == most), key=len)
    for other in others:
        both = [name for name in needed if best + name in tensors and other + name in tensors]
        if any(not torch.equal(tensors[best + n][0], tensors[other + n][0]) for n in both):
            places = [begin.rstrip(".") or "lapisan teratas" for begin in (best, other)]
            raise InputError(
                f"WEIGHTS={path}: memuat dua jaringan yang berbeda isinya, "
                f"di {' dan di '.join(places)}. "
                "Simpan ulang yang Anda maksud saja: torch.save(state_dict_itu, …)."
            )
    return best


def _check_kinds(path: Path, state: dict[str, Tensor]) -> None:
    """Refuse tensors whose numbers the network's own could not hold: whole, complex, quantised,
    sparse, or none at all.
    """
    for name, tensor in state.items():
        dense = tensor.layout is torch.strided and not tensor.is_quantized
        if not (dense and tensor.is_floating_point() and tensor.device.type != "meta"):
            held = str(tensor.dtype if dense else tensor.layout).removeprefix("torch.")
            held = "tanpa isi" if tensor.device.type == "meta" else held
            raise InputError(
                f"WEIGHTS={path}: {name} ({held}) bukan bobot berupa bilangan pecahan. "
                "Simpan ulang jaringan aslinya, sebelum dikuantisasi atau diubah, "
                "dengan torch.save(model.state_dict(), …)."
            )


def _check_values(path: Path, state: dict[str, Tensor]) -> None:
    """Refuse NaN, infinity and negative variances, which a training that failed leaves."""
    for name, tensor in state.items():
        finite = bool(torch.isfinite(tensor).all())
        if not finite or (name.endswith("running_var") and bool((tensor < 0).any())):
            raise InputError(
                f"WEIGHTS={path}: {name} memuat nilai "
                "yang bukan bilangan terhingga (NaN, tak hingga, atau varians negatif). "
                "Pelatihan yang menyimpannya telah gagal: pakai berkas dari epoch sebelumnya."
            )
        if tensor.ndim == 4 and tensor.numel() > 1 and tensor.min() == tensor.max():
            raise InputError(
                f"WEIGHTS={path}: "
                f"setiap nilai di {name} sama, maka kernelnya tidak dapat belajar hal yang "
                "berbeda. Berkas itu bukan hasil pelatihan: pakai berkas lain atau WEIGHTS=random."
            )


# --- a picture ------------------------------------------------------------------------------------


def read_picture(path: str | Path) -> np.ndarray:
    """Grey values (H, W) uint8 of the first picture in a PNG, JPEG or DICOM file, turned upright as
    its EXIF data say.

    Colour becomes luminance (ITU-R BT.601), what is transparent becomes black, as the surroundings
    of a radiograph are. Deeper greys are scaled by the bits that are in use, so that 12 bits in a
    16-bit PNG are not taken for darkness; a DICOM image by its own window, and MONOCHROME1 is
    inverted. Raises InputError.
    """
    path = Path(path).expanduser()
    try:
        what = kind(path)
        if what == "citra DICOM" or path.suffix.lower() in (".dcm", ".dicom"):
            return _dicom(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns below our own limit
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, *image.size)
                return _grey(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"Berkas {path} tidak ditemukan: periksa letak dan ejaannya.") from None
    except UnidentifiedImageError:
        raise InputError(
            f"Berkas {path} bukan PNG, JPEG, atau DICOM: "
            "simpan citranya dalam salah satu bentuk itu."
        ) from None
    except Image.DecompressionBombError:
        _check_size(path, MOST_PIXELS, MOST_PIXELS)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if getattr(error, "strerror", None):
            raise InputError(f"Berkas {path} tidak dapat dibaca ({error.strerror}).") from None
        raise InputError(
            f"Berkas {path} terpotong atau rusak: ambil atau simpan lagi citranya."
        ) from None


def _check_size(path: Path, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(
            f"Citra {path} terlalu besar: perkecil dahulu hingga paling banyak 10000×10000 piksel."
        )


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
    bits = max(8, int(np.ceil(np.log2(values.max() + 1))))
    return (values / (2**bits - 1) * 255).round().astype(np.uint8)


def _dicom(path: Path) -> np.ndarray:
    """pydicom is no dependency: whoever has such files installs it."""
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut
    except ImportError:
        raise InputError(
            f"Berkas {path} tidak dapat dibaca: untuk DICOM pasang dahulu pydicom dengan "
            "`python -m pip install pydicom`, atau simpan citranya sebagai PNG."
        ) from None
    try:
        dataset = pydicom.dcmread(path)
        _check_size(path, int(dataset.Columns), int(dataset.Rows))
        pixels = dataset.pixel_array
        if pixels.ndim != 2:
            raise InputError(
                f"Berkas {path} memuat beberapa citra atau citra berwarna: "
                "simpan satu citra keabuan."
            )
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(np.float64)
    except InputError:
        raise
    except Exception as error:  # pydicom and its decoders raise what they like
        raise InputError(
            f"Berkas {path} tidak dapat dibaca sebagai DICOM ({type(error).__name__}): "
            "simpan sebagai PNG."
        ) from None
    low, high = values.min(), values.max()
    share = (values - low) / max(high - low, 1e-12)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        share = 1 - share
    return (share * 255).round().astype(np.uint8)
