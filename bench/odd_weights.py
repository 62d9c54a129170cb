"""Checkpoints as training programs write them, and files that are none (bench/inputs.py tries
them).
"""

import argparse
import copy
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from bench.case import Case, zipped
from cxr_helpers import model, weights


def _under(prefix: str, state: dict) -> dict:
    return {prefix + name: tensor for name, tensor in state.items()}


def _taken(path: Path, state: dict) -> None:
    """The network that is built from the file holds the file's own values in every tensor but its
    head.
    """
    loaded = model.build(weights.resolve_weights(str(path)), seed=0).state_dict()
    assert torch.equal(
        loaded["conv1.weight"], weights.adapt_conv1(state["conv1.weight"].float())
    ), "conv1 berbeda"
    for name, tensor in state.items():
        if not name.startswith("fc.") and name != "conv1.weight":
            assert torch.equal(loaded[name], tensor.to(loaded[name].dtype)), f"{name} berbeda"


def _spoilt(state: dict, name: str, value: float) -> dict:
    broken = copy.deepcopy(state)
    broken[name].view(-1)[0] = value
    return broken


class _Runs:
    def __reduce__(self):
        return print, ("kode dijalankan",)


def _classifier(network: nn.Module) -> dict:
    body = copy.deepcopy(network)
    body.fc = nn.Identity()
    return nn.ModuleDict({"features": body, "classifier": nn.Linear(512, 2)}).state_dict()


def _dropout_head(network: nn.Module) -> dict:
    body = copy.deepcopy(network)
    body.fc = nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 2))
    return body.state_dict()


def checkpoints() -> list[Case]:
    """Ways in which training programs write a ResNet-18, and files that are none."""
    torch.manual_seed(0)
    network = torchvision.models.resnet18()
    state = network.state_dict()
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    without = {
        name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")
    }
    taken = {
        "state dict polos": ("a.pth", state, state),
        "di bawah state_dict, dengan skor NumPy": (
            "a.pth",
            {"state_dict": state, "best": np.float64(0.9)},
            state,
        ),
        "di bawah model": ("a.pt", {"model": state, "epoch": 3}, state),
        "di bawah model_state_dict": (
            "a.pth",
            {"model_state_dict": state, "loss": torch.tensor(0.3)},
            state,
        ),
        "di bawah net": ("a.pth", {"net": state, "acc": 81.2}, state),
        "di bawah weights, dengan argparse": (
            "a.pth",
            {"weights": state, "args": argparse.Namespace(lr=1)},
            state,
        ),
        "pembungkus bernama sembarang": ("a.pth", {"hasil": {"terbaik": state}}, state),
        "di dalam daftar": ("a.pth", [state, 7], state),
        "DataParallel": ("a.pth", _under("module.", state), state),
        "torch.compile": ("a.pth", _under("_orig_mod.", state), state),
        "DataParallel lalu torch.compile": ("a.pth", _under("_orig_mod.module.", state), state),
        "torch.compile lalu DataParallel": (
            "a.pth",
            {"net": _under("module._orig_mod.", state)},
            state,
        ),
        "Lightning": (
            "a.ckpt",
            {"state_dict": _under("model.", state), "callbacks": {"c": {"best": 1.0}}},
            state,
        ),
        "awalan bertingkat": (
            "a.pth",
            {"state_dict": _under("module.student.backbone.", state)},
            state,
        ),
        "kepala sendiri di samping": ("a.pth", _classifier(network), state),
        "kepala dengan dropout": ("a.pth", _dropout_head(network), state),
        "tanpa penghitung BatchNorm": ("a.pth", without, without),
        "setengah presisi": ("a.pth", half, half),
        "akhiran .pth.tar": (
            "model_best.pth.tar",
            {"state_dict": state, "optimizer": {"state": {}}},
            state,
        ),
        "akhiran .PTH": ("BOBOT.PTH", state, state),
        "akhiran .bin": ("pytorch_model.bin", state, state),
        "bobot dan rata-ratanya sama": (
            "a.pth",
            {"model": state, "ema": copy.deepcopy(state)},
            state,
        ),
    }
    refused = {
        "ResNet-34": (torchvision.models.resnet34().state_dict(), "layer1.2.conv1.weight"),
        "ResNet-50 dengan DataParallel": (
            _under("module.", torchvision.models.resnet50().state_dict()),
            "layer1.0.conv1.weight",
        ),
        "DenseNet-121": (torchvision.models.densenet121().state_dict(), "conv1.weight tidak ada"),
        "CNN kecil paket ini": (model.small_cnn().state_dict(), "conv2.weight"),
        "ResNet-18 tiga dimensi": (
            {n: t.unsqueeze(2) if t.ndim == 4 else t for n, t in state.items()},
            "seharusnya",
        ),
        "bobot NaN": (
            _spoilt(state, "layer3.0.conv1.weight", float("nan")),
            "layer3.0.conv1.weight",
        ),
        "varians negatif": (_spoilt(state, "bn1.running_var", -1.0), "bn1.running_var"),
        "bobot nol semua": (
            {n: torch.zeros_like(t) for n, t in state.items()},
            "conv1.weight sama",
        ),
        "bilangan bulat 8 bit": (
            {n: t.to(torch.int8) for n, t in state.items()},
            "conv1.weight (int8)",
        ),
        "bilangan kompleks": ({n: t.to(torch.complex64) for n, t in half.items()}, "complex64"),
        "tensor jarang": (
            {n: t.to_sparse() if t.ndim == 4 else t for n, t in state.items()},
            "conv1.weight (sparse_coo)",
        ),
        "tensor tanpa isi": ({n: t.to("meta") for n, t in state.items()}, "tanpa isi"),
        "parameter tanpa BatchNorm": (
            dict(network.named_parameters()),
            "bn1.running_mean tidak ada",
        ),
        "hanya optimizer": (torch.optim.SGD(network.parameters()).state_dict(), "bukan state dict"),
        "MobileNetV2": (torchvision.models.mobilenet_v2().state_dict(), "conv1.weight tidak ada"),
        "ResNet-18 untuk video": (torchvision.models.video.r3d_18().state_dict(), "stem.0.weight"),
        "larik NumPy": ({n: t.numpy() for n, t in state.items()}, "kode tidak pernah"),
        "dua jaringan berbeda": (
            {"student": state, "teacher": _spoilt(state, "bn1.bias", 2.0)},
            "dua jaringan",
        ),
        "satu tensor hilang": (
            {n: t for n, t in state.items() if n != "layer2.0.bn1.bias"},
            "layer2.0.bn1.bias tidak ada",
        ),
        "bukan state dict": ({"epoch": 3}, "bukan state dict"),
        "jaringan utuh, bukan tensornya": (nn.Linear(2, 2), "Linear"),
        "kode yang akan dijalankan": ({"conv1.weight": _Runs()}, "tidak pernah dijalankan"),
    }
    stream = io.BytesIO()
    torch.save(state, stream)
    raw = {
        "terpotong": ("a.pth", stream.getvalue()[:100_000], "utuh dan aman"),
        "kosong": ("a.pth", b"", "kosong"),
        "gzip": ("a.pth.gz", b"\x1f\x8b" + bytes(50), "gzip"),
        "HDF5": ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        "zip yang bukan dari torch": ("a.zip", zipped({"w.pth": b"x"}), "utuh dan aman"),
        "halaman web": ("a.pth", b"<!DOCTYPE html><html>masuk dahulu</html>", "halaman web"),
        "penunjuk Git LFS": (
            "a.pth",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
            "Git LFS",
        ),
    }
    cases = [Case("bobot", name, _saved_and_taken(*how)) for name, how in taken.items()]
    cases.append(
        Case(
            "bobot",
            "safetensors",
            lambda folder: (save_file(state, folder / "a"), _taken(folder / "a", state)),
        )
    )
    cases += [
        Case("bobot", name, _saved_and_read(content), line)
        for name, (content, line) in refused.items()
    ]
    cases += [Case("bobot", name, _written_and_read(*how[:2]), how[2]) for name, how in raw.items()]
    for name, given, line in (
        ("folder", ".", "folder"),
        ("alamat web", "https://contoh.invalid/resnet18.pth", "alamat"),
        ("nama berisi ganti baris", "a\nb.pth", "tidak ditemukan"),
        ("nama sepanjang 5.000 huruf", "x" * 5000 + ".pth", "tidak ditemukan"),
    ):
        cases.append(
            Case("bobot", name, lambda _folder, given=given: weights.resolve_weights(given), line)
        )
    return cases


def _saved_and_taken(name: str, content: object, state: dict) -> Callable[[Path], None]:
    return lambda folder: (torch.save(content, folder / name), _taken(folder / name, state))


def _saved_and_read(content: object) -> Callable[[Path], object]:
    return lambda folder: (
        torch.save(content, folder / "a.pth"),
        weights.resolve_weights(str(folder / "a.pth")),
    )


def _written_and_read(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (
        (folder / name).write_bytes(content),
        weights.resolve_weights(str(folder / name)),
    )
