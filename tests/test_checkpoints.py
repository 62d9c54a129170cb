"""Checkpoints as people bring them: the network is found, or one line says what the file is."""

import argparse
import copy
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from cxr_helpers import model, weights
from cxr_helpers.engine import checkpoints
from cxr_helpers.engine.errors import InputError
from tests.medmnist_files import one_line


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(7)
    return torchvision.models.resnet18()


@pytest.fixture(scope="module")
def state(network) -> dict[str, torch.Tensor]:
    return network.state_dict()


def under(prefix: str, state: dict) -> dict:
    return {prefix + name: tensor for name, tensor in state.items()}


def numbered(network: nn.Module) -> dict:
    body = nn.Sequential(*list(network.children())[:-1])
    return nn.Sequential(body, nn.Flatten(), nn.Linear(512, 2)).state_dict()


def another_head(network: nn.Module, inside: nn.Module, beside: nn.Module | None = None) -> dict:
    """As student repositories write it: `inside` where the head was, perhaps a head beside it."""
    own = copy.deepcopy(network)
    own.fc = inside
    parts = {"backbone": own, "classifier": beside} if beside else {"net": own}
    return nn.ModuleDict(parts).state_dict()


def lightning(network: nn.Module) -> dict:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(64, 3, 7, 7)}}, "param_groups": [{"lr": 1}]}
    tensors = under("model.", network.state_dict())
    return {
        "state_dict": {**tensors, "metrik.total": torch.tensor(3)},
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}},
        "optimizer_states": [optimizer],
    }


def without_counters(state: dict) -> dict:
    return {n: tensor for n, tensor in state.items() if not n.endswith("num_batches_tracked")}


SAVED = {
    "a wrapper of no known name": lambda net: {
        "hasil": [{"terbaik": net.state_dict()}, argparse.Namespace(lr=1)],
        "best_acc": np.float64(0.81),
    },
    "DataParallel, then compiled": lambda net: under("_orig_mod.module.", net.state_dict()),
    "one stage compiled": lambda net: {
        n.replace("layer2.", "layer2._orig_mod."): t for n, t in net.state_dict().items()
    },
    "Lightning": lightning,
    "a backbone with a head of its own": lambda net: another_head(
        net, nn.Identity(), nn.Linear(512, 2)
    ),
    "numbered stages": numbered,
    "a head of several layers": lambda net: another_head(net, nn.Sequential(nn.Linear(512, 14))),
    "no batch counters": lambda net: without_counters(net.state_dict()),
    "parameters, not tensors": lambda net: {**net.state_dict(), **dict(net.named_parameters())},
    "the same twice": lambda net: {"model": net.state_dict(), "ema": dict(net.state_dict())},
    "a broken tensor beside it": lambda net: {
        **net.state_dict(),
        "aux.weight": torch.full((2,), float("nan")),
    },
}
UNUSED = {
    "a backbone with a head of its own": ["classifier.bias", "classifier.weight"],
    "a broken tensor beside it": ["aux.weight"],
}


@pytest.mark.parametrize("how", SAVED)
def test_the_network_is_found_wherever_it_stands(network, state, tmp_path, how):
    """The network that is built holds the file's own values in every tensor but the head."""
    torch.save(SAVED[how](network), tmp_path / "bobot.pth")
    found = weights.resolve_weights(str(tmp_path / "bobot.pth"))
    assert all(name in found.note for name in UNUSED.get(how, ()))
    loaded = model.build(found, 0, size=64).state_dict()
    assert torch.equal(loaded["conv1.weight"], weights.adapt_conv1(state["conv1.weight"], kernel=7))
    rest = {n: t for n, t in state.items() if not n.startswith(("fc.", "conv1."))}
    rest = without_counters(rest) if how == "no batch counters" else rest
    assert len(rest) >= 99 and all(torch.equal(loaded[name], rest[name]) for name in rest)


NAMES = ("a.PTH", "a.pth.tar", "a.ckpt", "a", "bobot akhir (1).pth", "a.safetensors.bin")


@pytest.mark.parametrize("name", NAMES)
def test_the_ending_decides_nothing_and_half_precision_becomes_single(state, tmp_path, name):
    half = {n: t.half() if t.is_floating_point() else t for n, t in state.items()}
    path, last = tmp_path / name, "layer4.1.bn2.weight"
    (save_file if "safetensors" in name else torch.save)(half, path)
    found = weights.resolve_weights(str(path)).state[last]
    assert found.dtype == torch.float32 and torch.equal(found, half[last].float())


def values(name: str) -> dict[str, torch.Tensor]:
    """Random tensors under the names and of the shapes of another network."""
    with torch.device("meta"):
        state = torchvision.models.get_model(name, num_classes=3).state_dict()
    return {key: torch.rand(tensor.shape) for key, tensor in state.items()}


def old_densenet() -> dict[str, torch.Tensor]:
    """As CheXNet was saved."""
    renamed = {}
    for name, tensor in values("densenet121").items():
        for part in ("norm", "conv"):
            name = name.replace(f"{part}1", f"{part}.1").replace(f"{part}2", f"{part}.2")
        renamed[f"module.densenet121.{name}"] = tensor
    return renamed


OTHERS = {
    r"resnet34 .*layer1\.2\.conv1.* tidak": lambda: under("net.module.", values("resnet34")),
    r"resnet50 .*\(64, 64, 1, 1\) seharusnya \(64, 64, 3, 3\)": lambda: values("resnet50"),
    r"mobilenet_v3_small .*conv1\.weight tidak ada": lambda: values("mobilenet_v3_small"),
    "densenet121": old_densenet,
    "CNN kecil paket ini": lambda: model.small_cnn().state_dict(),
}


@pytest.fixture
def few_known(monkeypatch):
    """All that are known are many seconds."""
    some = "resnet18 resnet34 resnet50 wide_resnet50_2 densenet121 vgg19_bn mobilenet_v3_small"
    monkeypatch.setattr(checkpoints, "LIKELY", some.split())


@pytest.mark.parametrize("said", OTHERS)
def test_another_network_is_named_with_what_differs(tmp_path, few_known, said):
    torch.save(OTHERS[said](), tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=f"tampaknya {said}") as caught:
        weights.resolve_weights(str(tmp_path / "a.ckpt"))
    one_line(caught)


def test_a_network_that_nobody_knows_is_not_given_a_name(tmp_path, few_known):
    torch.save(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)).state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"0\.weight \(4, 4\) tidak dikenal") as caught:
        weights.resolve_weights(str(tmp_path / "a.pt"))
    assert "tampaknya" not in one_line(caught)


def test_networks_of_the_same_names_are_told_apart_by_their_shapes(few_known):
    shapes = {name: tuple(t.shape) for name, t in values("wide_resnet50_2").items()}
    assert checkpoints.portrait(shapes) == "wide_resnet50_2 dari torchvision"


def spoiled(name: str, value: float):
    """A change of a state dict: one number of one tensor is `value`."""

    def spoil(state: dict) -> dict:
        tensor = state[name].clone()
        tensor.view(-1)[3] = value
        return {**state, name: tensor}

    return spoil


REFUSED = {
    r"conv1\.weight \(int8\)": lambda state: {n: t.to(torch.int8) for n, t in state.items()},
    r"\(complex64\)": lambda state: {n: t.to(torch.complex64) for n, t in state.items()},
    r"\(sparse_coo\)": lambda state: {
        n: t.to_sparse() if t.ndim == 4 else t for n, t in state.items()
    },
    r"\(tanpa isi\)": lambda state: {n: t.to("meta") for n, t in state.items()},
    r"conv1\.weight sama": lambda state: {n: torch.zeros_like(t) for n, t in state.items()},
    r"layer3\.0\.conv1\.weight memuat": spoiled("layer3.0.conv1.weight", float("nan")),
    r"bn1\.bias memuat": spoiled("bn1.bias", float("inf")),
    r"layer2\.1\.bn2\.running_var memuat": spoiled("layer2.1.bn2.running_var", -0.1),
    "di student dan di teacher": lambda state: {
        **under("student.", state),
        **under("teacher.", {n: t + 1 for n, t in state.items()}),
    },
    r"\(64, 3, 1, 7, 7\) seharusnya \(64, 3, 7, 7\)": lambda state: {
        n: t.unsqueeze(2) if t.ndim == 4 else t for n, t in state.items()
    },
}


@pytest.mark.parametrize("said", REFUSED)
def test_numbers_that_are_no_weights_and_two_networks_are_refused(state, tmp_path, few_known, said):
    torch.save(REFUSED[said](state), tmp_path / "a.pth")
    with pytest.raises(InputError, match=said) as caught:
        weights.resolve_weights(str(tmp_path / "a.pth"))
    one_line(caught)


FOREIGN = {
    "itself.pth": (lambda path: torch.save(nn.Linear(2, 2), path), r"nn\.modules\.linear\.Linear"),
    "kosong.pth": (lambda path: path.write_bytes(b""), "kosong"),
    "halaman.pth": (lambda path: path.write_text("<!DOCTYPE html><html>"), "halaman web"),
    "foto.pth": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "gambar PNG"),
    "keras.bin": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40)), "HDF5"),
    "angka.pt": (lambda path: torch.save({"epoch": 3}, path), "bukan state dict"),
    "folder.pt": (Path.mkdir, "folder"),
    "larik.pt": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(120)), r"\.npy"),
    "https:/contoh.invalid/a.pth": (None, "tidak ditemukan"),
    "x" * 300 + ".pth": (None, "tidak ditemukan"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_checkpoint_is_said_to_be_what_it_is(tmp_path, name):
    make, said = FOREIGN[name]
    if make:
        make(tmp_path / name)
    with pytest.raises(InputError, match=said) as caught:
        weights.resolve_weights(str(tmp_path / name))
    assert name in one_line(caught)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("imagnet", "imagnet"),
        ("https://contoh.invalid/a.pth", "unduh"),
        ("a\nb.pth", "tidak ditemukan"),
        ("a\x00b.pth", "WEIGHTS="),
        ("~tidak-ada-orangnya/a.pth", "WEIGHTS="),
    ],
)
def test_a_weights_setting_that_means_nothing_is_one_line(word, said):
    with pytest.raises(InputError, match=said) as caught:
        weights.resolve_weights(word)
    one_line(caught)
