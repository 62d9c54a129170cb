"""Files that people bring: weights, of which tensors alone are read; pictures; own code's."""

import hashlib
import itertools
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor, nn

from cxr_helpers.engine.errors import InputError

# What a file is by its first bytes: (at which byte, the bytes there, Indonesian).
MARKS = (
    (0, b"version https://git-lfs", "penunjuk Git LFS: jalankan git lfs pull"),
    (0, b"\x89PNG\r\n", "gambar PNG"),
    (0, b"\xff\xd8\xff", "gambar JPEG"),
    (128, b"DICM", "citra DICOM"),
    (0, b"\x93NUMPY", "satu larik .npy"),
    (0, b"\x1f\x8b", "berkas gzip"),
)
DEEPEST = 8  # dicts and lists within each other
# Parts of names in files (the first: torch's own wrappers), and what torchvision's code has there.
OTHER_NAMES = (
    (r"(?<![^.])(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.", ""),
    (r"(denselayer\d+\.(?:norm|conv))\.(?=\d)", r"\1"),  # torchvision's files of DenseNet
    (r"(?<![^.])shortcut\.", "downsample."),  # MedMNIST's own ResNet
)


def kind(path: Path) -> str | None:
    """'gambar PNG', …; None where the first bytes tell nothing. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(512)
    for start, mark, name in MARKS:
        if head[start : start + len(mark)] == mark:
            return name
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "halaman web, bukan berkas yang dimaksud: unduh lagi dari tautan berkasnya"
    return None


def read_checkpoint(path: Path, network: nn.Module) -> tuple[dict[str, Tensor], list[str]]:
    """Tensors in a file by the names of `network`'s, and names without a place. InputError."""
    state_dicts = dict(_state_dicts(_load(path)))
    if not state_dicts:
        cure = "simpan dengan torch.save(model.state_dict(), …)"
        raise InputError(f"Berkas bobot {path}: isinya bukan state dict: {cure}.")
    wanted = network.state_dict()
    # a head is replaced, and old files count no batches
    needed = [n for n in wanted if not n.startswith("fc.") and not n.endswith("_batches_tracked")]
    place, prefix = _find(path, state_dicts, needed)
    stages = {name.split(".")[0] for name in wanted}
    state, unused = {}, []
    for name, tensor in state_dicts[place].items():
        own_name = name.removeprefix(prefix)
        if name.startswith(prefix) and own_name.split(".")[0] in stages:
            state[own_name] = tensor.float() if tensor.is_floating_point() else tensor
        else:
            unused.append(own_name)
    for name in needed:
        if name in state:
            _check_tensor(path, name, state[name])
    return state, sorted(unused)


def _load(path: Path) -> object:
    # unlike Path's it answers for any text, a name too long for the disk included
    if not os.path.isfile(path):
        raise InputError(f"Berkas bobot {path}: tidak ada, atau bukan berkas. Periksa letaknya.")
    try:
        with open(path, "rb") as file:
            begins = file.read(9)
        if begins[8:] == b"{":
            from safetensors.torch import load_file

            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(f"Berkas bobot {path}: {_why_unreadable(path, error)}") from None


def _why_unreadable(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"berkas tidak dapat dibaca ({error.strerror}): periksa izin bacanya."
    name = kind(path)
    if name:
        return f"isinya {name}. Berikan berkas bobot (.pth, .safetensors)."
    refused = re.search(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)", str(error))
    held = f"ia menyimpan objek {refused[1]}, padahal " if refused else ""
    return (
        f"bukan berkas bobot yang utuh dan aman: {held}hanya tensor yang dibaca, dan kode tidak "
        "pernah dijalankan. Pakai salinan yang utuh, atau, bila Anda memercayai asalnya, simpan "
        "ulang dengan torch.save(model.state_dict(), …)."
    )


def _state_dicts(value: object, place: str = "") -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(where it stands, such as "model.", its tensors) of everything that holds tensors."""
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, (list, tuple)):
        items = enumerate(value)
    tensors = {}
    for key, inner in items:
        if isinstance(inner, Tensor):
            for theirs, ours in OTHER_NAMES:
                key = re.sub(theirs, ours, str(key))
            tensors[key] = inner.detach()
        elif place.count(".") < DEEPEST:
            yield from _state_dicts(inner, f"{place}{key}.")
    if tensors:
        yield place, tensors


def _find(path: Path, state_dicts: dict, needed: list[str]) -> tuple[str, str]:
    """Where most names of `needed` stand, and their beginning; two that differ are refused."""
    count = Counter()
    for place, tensors in state_dicts.items():
        for name, own_name in itertools.product(tensors, needed):
            if f".{name}".endswith(f".{own_name}"):
                count[place, name.removesuffix(own_name)] += 1
    most = max(count.values(), default=0)
    if most < len(needed) / 2:
        return next(iter(state_dicts)), ""
    fitting = [candidate for candidate in count if count[candidate] == most]
    best, *others = sorted(fitting, key=lambda candidate: len("".join(candidate)))
    for other, name in itertools.product(others, needed):
        first, second = (state_dicts[place].get(prefix + name) for place, prefix in (best, other))
        if first is not None and second is not None and not torch.equal(first, second):
            places = ["".join(pair).rstrip(".") or "lapisan teratas" for pair in (best, other)]
            cure = "Simpan ulang yang Anda maksud saja: torch.save(state_dict_itu, …)."
            raise InputError(
                f"Berkas bobot {path}: memuat dua model, di {' dan di '.join(places)}. {cure}"
            )
    return best


def _check_tensor(path: Path, name: str, tensor: Tensor) -> None:
    """Refuse what no network that was trained well holds."""
    dense = tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta
    sound = dense and tensor.is_floating_point() and bool(torch.isfinite(tensor).all())
    if not sound or (name.endswith("running_var") and (tensor < 0).any()):
        raise InputError(
            f"Berkas bobot {path}: {name} ({str(tensor.dtype).removeprefix('torch.')}) memuat "
            "bilangan bulat, NaN, tak hingga, atau varians negatif. Simpan ulang model aslinya."
        )


def read_picture(path: str | Path) -> np.ndarray:
    """Grey values (H, W) uint8, upright, of a PNG, JPEG or DICOM file. Raises InputError."""
    path = Path(path).expanduser()
    try:
        if kind(path) == "citra DICOM" or path.suffix.lower() in (".dcm", ".dicom"):
            return _dicom(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                return _grey(ImageOps.exif_transpose(image))
    except InputError:
        raise
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        why = "tidak ditemukan atau tidak boleh dibaca: periksa letak dan ejaannya"
    except UnidentifiedImageError:
        why = "bukan PNG, JPEG, atau DICOM: simpan citranya dalam salah satu bentuk itu"
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        why = "terlalu besar: perkecil dahulu hingga paling banyak 9000×9000 piksel"
    except (OSError, SyntaxError, ValueError, EOFError):
        why = "terpotong atau rusak: ambil atau simpan lagi citranya"
    raise InputError(f"Berkas {path} {why}.")


def _grey(image: Image.Image) -> np.ndarray:
    if image.mode.startswith(("I", "F")):  # 16 or 32 bits, whole or not
        values = np.nan_to_num(np.asarray(image, np.float64), posinf=0.0).clip(min=0)
        # by the bits in use, so that 12 bits in a 16-bit file are not taken for darkness
        bits = max(8, int(np.ceil(np.log2(values.max() + 1))))
        return (values / (2**bits - 1) * 255).round().astype(np.uint8)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "black"), image)
    return np.array(image.convert("RGB").convert("L"))


def _dicom(path: Path) -> np.ndarray:
    """A DICOM image by its own window; pydicom is no dependency of ours."""
    try:
        import pydicom
        from pydicom.pixels import apply_modality_lut, apply_voi_lut

        dataset = pydicom.dcmread(path)
        values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset)
        values = values.astype(np.float64)
        if values.ndim != 2:
            raise ValueError("several images, or colour")
    except Exception as error:  # pydicom and its decoders raise what they like
        why = f"bukan satu citra DICOM keabuan ({type(error).__name__}): simpan sebagai PNG"
        if isinstance(error, ImportError):
            why = "adalah DICOM: pasang pydicom (python -m pip install pydicom), atau simpan PNG"
        raise InputError(f"Berkas {path} {why}.") from None
    share = (values - values.min()) / max(float(np.ptp(values)), 1e-12)
    if dataset.get("PhotometricInterpretation") == "MONOCHROME1":
        share = 1 - share
    return (share * 255).round().astype(np.uint8)


# what is nobody's data: hidden files, Python's, the system's, those of a stored run
FOREIGN = r"/\.|\.pyc?$|^/(proc|sys|dev|etc)/|/[0-9a-f]{16}/|^" + re.escape(sys.prefix)
OPENED = set()  # what this process has opened
sys.addaudithook(lambda event, given: event == "open" and OPENED.add(str(given[0])))


def files_read(source: str) -> dict[str, str]:
    """SHA-256 of the files that a program names, but those of Python: it holds their text."""
    words = sorted(set(re.split(r"[\"'\n]", source)))
    named = [word for word in words if os.path.isfile(word) and not word.endswith(".py")]
    return {name: hashlib.sha256(Path(name).read_bytes()).hexdigest() for name in named}


def reading(source: str) -> str:
    """A program that also names the files of one's own that were opened, for `files_read`."""
    others = filter(os.path.isfile, OPENED - files_read(source).keys())
    read = sorted(name for name in others if not re.search(FOREIGN, os.path.abspath(name)))
    return f"BERKAS = {read}\n\n{source}" if read else source
