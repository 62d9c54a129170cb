"""Reading somebody's checkpoint: the network inside it is found by the names of its tensors,
wherever the file keeps it.

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
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models import get_model_builder

from cxr_helpers.engine import filetypes
from cxr_helpers.engine.errors import InputError

# as people name them; any other file is tried as well
ENDINGS = (".pth", ".pt", ".ckpt", ".bin", ".tar", ".safetensors")
DEEPEST = 8  # dicts and lists within each other
# The attributes under which torch's own wrappers keep a network: they may stand between any two
# parts of a name.
WRAPPERS = re.compile(
    r"(?<![^.])(module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
LIKELY = (
    "resnet18 resnet34 resnet50 resnet101 resnet152 wide_resnet50_2 resnext50_32x4d densenet121 "
    "densenet169 densenet201 alexnet vgg11 vgg13 vgg16 vgg19 vgg11_bn vgg13_bn vgg16_bn "
    "vgg19_bn squeezenet1_0 squeezenet1_1 mobilenet_v2 mobilenet_v3_small mobilenet_v3_large "
    "efficientnet_b0 efficientnet_b1 efficientnet_b2 efficientnet_b3 efficientnet_b4 "
    "shufflenet_v2_x1_0 mnasnet1_0 convnext_tiny convnext_base vit_b_16 vit_b_32 swin_t "
    "inception_v3 googlenet densenet161 resnext101_32x8d"
).split()
Found = dict[str, tuple[Tensor, str]]  # {whole name: (tensor, name of the dict that holds it)}
ALIKE = 0.5  # of all names: so many must agree, shapes too, before a network is named
# model.small_cnn's, without BatchNorm
OWN_SMALL_CNN = {"conv1.weight", "conv2.weight", "conv3.weight", "fc.weight"}


@dataclass(frozen=True)
class Checkpoint:
    """A network found in a file.

    state: its tensors by its own names, those of floating point as float32; below: the wrapper and
    prefix they stood under, "" if none; unused: names of tensors beside them, in the same state
    dict, for which the network has no place; shapes: of every tensor in the file.
    """

    state: dict[str, Tensor]
    below: str
    unused: list[str]
    shapes: dict[str, tuple[int, ...]]


def read(path: Path, network: nn.Module) -> Checkpoint:
    """The tensors in `path` that bear the names of `network`'s, whatever wraps and precedes them.

    Read are .safetensors and what torch.save wrote, by content, not by ending. Shapes are not
    compared here (weights.fit_state). What stands beside a network that is complete (another head,
    a decoder) is left out and named in `unused`. Raises InputError with one line: no such file, not
    a whole and safe file of tensors, two networks that fit, a value that is no number.
    """
    found = _tensors(path, _load(path))
    shapes = {name: tuple(tensor.shape) for name, (tensor, _) in found.items()}
    named, order = _as_named(found, network)
    below = order[0][1] if order else ""
    given = {
        name.removeprefix(below): pair for name, pair in named.items() if name.startswith(below)
    }
    wanted = network.state_dict()
    _check_kinds(
        path,
        {name: tensor for name, (tensor, _) in given.items() if name in wanted and _decides(name)},
    )
    _only_one(path, named, order)
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, (tensor, _) in given.items()
    }
    unused = []
    if all(name in given for name in wanted if _decides(name)):
        own, homes = (
            {name.split(".")[0] for name in wanted},
            {home for name, (_, home) in given.items() if name in wanted},
        )
        state = {name: tensor for name, tensor in state.items() if name.split(".")[0] in own}
        unused = sorted(
            name
            for name, (_, home) in named.items()
            if home in homes and name.removeprefix(below) not in state
        )
    _check_values(path, {name: tensor for name, tensor in state.items() if name in wanted})
    return Checkpoint(state, below.rstrip("."), unused, shapes)


def _decides(name: str) -> bool:
    """Whether a network without this tensor is incomplete: a head is replaced, and old files count
    no batches.
    """
    return not (name.startswith("fc.") or name.endswith("num_batches_tracked"))


# --- from bytes to tensors ------------------------------------------------------------------------


def _load(path: Path) -> object:
    # unlike Path's it answers for any text, a name too long for the disk included
    if not os.path.isfile(path):
        if filetypes.ADDRESS.match(str(path)):
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
        raise InputError(f"WEIGHTS={path}: {_why(path, error)}") from None


def _why(path: Path, error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"berkas tidak dapat dibaca ({error.strerror}): periksa izin bacanya."
    if path.stat().st_size == 0:
        return "berkasnya kosong: unduh atau simpan ulang."
    if what := filetypes.kind(path):
        return f"isinya {what}. Berikan berkas bobot (.pth, .safetensors)."
    again = "simpan ulang dengan torch.save(model.state_dict(), …) atau sebagai .safetensors"
    if kind := re.search(r"(?:Unsupported global: GLOBAL|Unsupported class) ([\w.]+)", str(error)):
        return (
            f"bukan berkas bobot yang utuh dan aman: ia menyimpan objek {kind[1]}, "
            "bukan tensor saja, dan kode tidak pernah dijalankan. "
            f"Bila Anda memercayai asalnya, {again}."
        )
    return (
        "bukan berkas bobot yang utuh dan aman (hanya tensor yang dibaca, "
        f"kode tidak pernah dijalankan). Hapus atau ganti dengan salinan yang utuh, atau {again}."
    )


def _walk(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Tensor, str]]:
    """(name, tensor, name of the dict or list that holds it) of every tensor within `value`."""
    if len(path) > DEEPEST:
        return
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, (list, tuple))
        else ()
    )
    for key, inner in items:
        if not isinstance(inner, Tensor):
            yield from _walk(inner, (*path, str(key)))
        else:
            yield ".".join((*path, str(key))), inner.detach(), ".".join(path)


def _tensors(path: Path, content: object) -> Found:
    found: Found = {}
    for name, tensor, home in _walk(content):
        plain = WRAPPERS.sub("", name)
        found[name if plain in found else plain] = tensor, home
    if not found:
        raise InputError(
            f"WEIGHTS={path}: isinya bukan state dict. "
            "Simpan dengan torch.save(model.state_dict(), …)."
        )
    return found


# --- which of them are the network's --------------------------------------------------------------


def _beginnings(names: Iterable[str], wanted: Container[str]) -> list[tuple[int, str]]:
    """(how many of `wanted`'s names follow it, beginning) for whatever precedes one of them, the
    most first.
    """
    count: Counter[str] = Counter()
    for name in names:
        parts = name.split(".")
        for i in range(len(parts)):
            if ".".join(parts[i:]) in wanted:
                count["".join(f"{part}." for part in parts[:i])] += 1
    return sorted(
        ((n, beginning) for beginning, n in count.items()),
        key=lambda pair: (-pair[0], len(pair[1])),
    )


def _as_named(found: Found, network: nn.Module) -> tuple[Found, list[tuple[int, str]]]:
    """The tensors under `network`'s own names, and the beginnings behind which at least half of it
    stands.

    nn.Sequential(*network.children()) numbers the stages; such numbers get their names back.
    """
    wanted = {name for name in network.state_dict() if _decides(name)}
    numbers = {}
    for i, (stage, _) in enumerate(network.named_children()):
        numbers |= {
            name.replace(stage, str(i), 1): name for name in wanted if name.startswith(f"{stage}.")
        }
    order, numbered = (
        [pair for pair in _beginnings(found, names) if pair[0] >= len(names) / 2]
        for names in (wanted, numbers)
    )
    if order or not numbered:
        return found, order
    below = numbered[0][1]
    named = {
        below + numbers.get(name.removeprefix(below), name.removeprefix(below)): pair
        for name, pair in found.items()
    }
    return named, [pair for pair in _beginnings(named, wanted) if pair[1] == below]


def _only_one(path: Path, named: Found, order: list[tuple[int, str]]) -> None:
    """Refuse two networks of which nothing says which is meant (student and teacher, weights and
    their moving average).
    """
    for n, other in order[1:]:
        below = order[0][1]
        first, second = (
            {
                name.removeprefix(begin): tensor
                for name, (tensor, _) in named.items()
                if name.startswith(begin)
            }
            for begin in (below, other)
        )
        differ = [
            name
            for name in first.keys() & second.keys()
            if _decides(name) and not torch.equal(first[name], second[name])
        ]
        if n == order[0][0] and differ:
            places = " dan di ".join(
                begin.rstrip(".") or "lapisan teratas" for begin in (below, other)
            )
            raise InputError(
                f"WEIGHTS={path}: memuat dua jaringan yang berbeda isinya, di {places}. "
                "Simpan ulang yang Anda maksud saja: torch.save(state_dict_itu, …)."
            )


def _check_kinds(path: Path, state: dict[str, Tensor]) -> None:
    """Refuse tensors whose numbers the network's own could not hold: whole, complex, quantised,
    sparse, or none at all.
    """
    for name, tensor in state.items():
        dense = tensor.layout is torch.strided and not tensor.is_quantized
        if not (dense and tensor.is_floating_point() and tensor.device.type != "meta"):
            kind = (
                "tanpa isi"
                if tensor.device.type == "meta"
                else str(tensor.dtype if dense else tensor.layout)
            )
            kind = "terkuantisasi" if tensor.is_quantized else kind.removeprefix("torch.")
            raise InputError(
                f"WEIGHTS={path}: {name} ({kind}) bukan bobot berupa bilangan pecahan. "
                "Simpan ulang jaringan aslinya, sebelum dikuantisasi atau diubah, "
                "dengan torch.save(model.state_dict(), …)."
            )


def _check_values(path: Path, state: dict[str, Tensor]) -> None:
    wrong = [
        name
        for name, tensor in state.items()
        if tensor.is_floating_point()
        and (
            not torch.isfinite(tensor).all()
            or (name.endswith("running_var") and bool((tensor < 0).any()))
        )
    ]
    if wrong:
        more = f" dan {len(wrong) - 3} tensor lain" if len(wrong) > 3 else ""
        raise InputError(
            f"WEIGHTS={path}: {', '.join(wrong[:3])}{more} memuat nilai "
            "yang bukan bilangan terhingga (NaN, tak hingga, atau varians negatif). "
            "Pelatihan yang menyimpannya telah gagal: pakai berkas dari epoch sebelumnya."
        )
    flat = [
        name
        for name, tensor in state.items()
        if tensor.ndim == 4 and tensor.numel() > 1 and tensor.min() == tensor.max()
    ]
    if flat:
        raise InputError(
            f"WEIGHTS={path}: "
            f"setiap nilai di {flat[0]} sama, maka kernelnya tidak dapat belajar hal yang berbeda. "
            "Berkas itu bukan hasil pelatihan: pakai berkas lain atau WEIGHTS=random."
        )


def portrait(shapes: dict[str, tuple[int, ...]]) -> str | None:
    """Which network these names and shapes look like ("resnet34 dari torchvision"); None where none
    agrees well enough.
    """
    names = shapes
    if any(".denselayer" in name for name in shapes):
        # torchvision's DenseNet of before 2018 wrote norm.1 for norm1, and many chest X-ray
        # checkpoints are that old.
        names = {
            re.sub(r"\.(norm|conv)\.(\d)\.", r".\1\2.", name): shape
            for name, shape in shapes.items()
        }
    plain = [name for name in names if ".bn" not in f".{name}" and not name.endswith("fc.bias")]
    if (
        len(plain)
        == len(OWN_SMALL_CNN)
        == next((n for n, _ in _beginnings(plain, OWN_SMALL_CNN)), 0)
    ):
        return "CNN kecil paket ini (small_cnn), yang selalu mulai dari bobot acak"
    best, like = ALIKE, None
    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        for candidate in LIKELY:
            wanted = {
                name: tuple(t.shape)
                for name, t in get_model_builder(candidate)().state_dict().items()
            }
            order = _beginnings(names, wanted)
            below = order[0][1] if order else ""
            same = sum(names.get(below + name) == shape for name, shape in wanted.items())
            share = same / (len(names) + len(wanted) - same)
            if share > best:
                best, like = share, f"{candidate} dari torchvision"
    return like
