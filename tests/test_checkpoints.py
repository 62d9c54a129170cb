"""Checkpoints as people bring them: the network is found by its names, or one line says what the file is
(cxr_helpers/engine/checkpoints.py)."""

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


class Classifier(nn.Module):
    """What many student repositories write: a backbone without its head, and a head of their own."""

    def __init__(self, backbone: nn.Module):
        super().__init__()
        self.backbone = copy.deepcopy(backbone)
        self.backbone.fc = nn.Identity()
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(512, 2))


def sequential(network):
    return nn.Sequential(
        nn.Sequential(*list(network.children())[:-1]), nn.Flatten(), nn.Linear(512, 2)
    ).state_dict()


def dropout_head(network):
    own = copy.deepcopy(network)
    own.fc = nn.Sequential(nn.Dropout(0.3), nn.Linear(512, 14))
    return own.state_dict()


SAVED = {
    "bare": lambda net: net.state_dict(),
    "state_dict": lambda net: {
        "state_dict": net.state_dict(),
        "epoch": 3,
        "best_acc": np.float64(0.81),
    },
    "model_state_dict": lambda net: {
        "model_state_dict": net.state_dict(),
        "loss": torch.tensor(0.2),
    },
    "a wrapper of no known name": lambda net: {
        "hasil": {"jaringan_terbaik": net.state_dict()},
        "args": argparse.Namespace(lr=1),
    },
    "a list": lambda net: [net.state_dict(), 12],
    "DataParallel": lambda net: nn.DataParallel(net).state_dict(),
    "DataParallel, then compiled": lambda net: under("_orig_mod.module.", net.state_dict()),
    "compiled, then DataParallel": lambda net: {
        "net": under("module._orig_mod.", net.state_dict())
    },
    "one stage compiled": lambda net: {
        n.replace("layer2.", "layer2._orig_mod."): t for n, t in net.state_dict().items()
    },
    "Lightning": lambda net: {
        "state_dict": {**under("model.", net.state_dict()), "metrik.total": torch.tensor(3)},
        "pytorch-lightning_version": "2.4.0",
        "callbacks": {"ModelCheckpoint": {"best_model_score": torch.tensor(0.9)}},
        "optimizer_states": [
            {"state": {0: {"exp_avg": torch.zeros(64, 3, 7, 7)}}, "param_groups": [{"lr": 1e-3}]}
        ],
    },
    "a backbone with a head of its own": lambda net: Classifier(net).state_dict(),
    "an encoder beside a decoder": lambda net: {
        **under("unet.encoder.", net.state_dict()),
        "unet.decoder.conv1.weight": torch.zeros(2, 2, 3, 3),
    },
    "numbered stages": sequential,
    "a head of several layers": dropout_head,
    "no batch counters": lambda net: {
        n: t for n, t in net.state_dict().items() if not n.endswith("num_batches_tracked")
    },
    "parameters, not tensors": lambda net: {**net.state_dict(), **dict(net.named_parameters())},
    "the same twice": lambda net: {
        "model": net.state_dict(),
        "ema": copy.deepcopy(net.state_dict()),
    },
}


@pytest.mark.parametrize("how", SAVED)
def test_the_network_is_found_wherever_it_stands(network, state, tmp_path, how):
    """The network that is built holds the file's own values in every tensor but the head."""
    torch.save(SAVED[how](network), tmp_path / "bobot.pth")
    found = weights.resolve_weights(str(tmp_path / "bobot.pth"))
    loaded = model.build(found, 0, size=64).state_dict()
    assert torch.equal(loaded["conv1.weight"], weights.adapt_conv1(state["conv1.weight"], kernel=7))
    body = [name for name in state if not name.startswith("fc.") and name != "conv1.weight"]
    if how == "no batch counters":
        body = [name for name in body if not name.endswith("num_batches_tracked")]
    assert len(body) >= 99 and all(torch.equal(loaded[name], state[name]) for name in body)


@pytest.mark.parametrize(
    "name", "a.PTH a.pth.tar a.ckpt a.bin a.Pt a bobot~akhir~(1).pth a.safetensors.bin".split()
)
def test_the_ending_decides_nothing(state, tmp_path, name):
    path = tmp_path / name.replace("~", " ")
    save_file(state, path) if "safetensors" in name else torch.save(state, path)
    assert torch.equal(
        weights.resolve_weights(str(path)).state["layer4.1.bn2.weight"],
        state["layer4.1.bn2.weight"],
    )


def test_what_stands_beside_the_network_is_named(network, tmp_path):
    torch.save(SAVED["a backbone with a head of its own"](network), tmp_path / "a.pth")
    note = weights.resolve_weights(str(tmp_path / "a.pth")).note
    assert "di bawah backbone" in note
    assert (
        "2 tensor di luar ResNet-18 tidak dipakai (classifier.1.bias, classifier.1.weight)" in note
    )


def test_half_precision_becomes_single(state, tmp_path):
    torch.save(
        {name: t.half() if t.is_floating_point() else t for name, t in state.items()},
        tmp_path / "a.pt",
    )
    found = weights.resolve_weights(str(tmp_path / "a.pt")).state
    assert found["conv1.weight"].dtype == torch.float32
    assert torch.equal(found["conv1.weight"], state["conv1.weight"].half().float())


OTHERS = {
    "resnet34": ("resnet34", "layer1.2.conv1.weight (64, 64, 3, 3) tidak dikenal"),
    "resnet50": ("resnet50", "layer1.0.conv1.weight (64, 64, 1, 1) seharusnya (64, 64, 3, 3)"),
    "densenet121": ("densenet121", "conv1.weight tidak ada"),
    "vgg16_bn": ("vgg16_bn", "features.0.weight (64, 3, 3, 3) tidak dikenal"),
    "mobilenet_v3_small": ("mobilenet_v3_small", "conv1.weight tidak ada"),
    "mobilenet_v2": ("mobilenet_v2", "conv1.weight tidak ada"),
    "swin_t": ("swin_t", "features.0.0.weight (96, 3, 4, 4) tidak dikenal"),
    "resnext50_32x4d": ("resnext50_32x4d", "layer1.0.conv1.weight"),
}


@pytest.mark.parametrize(
    ("name", "prefix"),
    [*((name, "") for name in OTHERS), ("resnet34", "module.model."), ("vgg16_bn", "net.")],
)
def test_another_network_is_named_with_what_differs(tmp_path, name, prefix):
    other = getattr(torchvision.models, name)(num_classes=3).state_dict()
    torch.save({"state_dict": under(prefix, other)}, tmp_path / "a.ckpt")
    with pytest.raises(InputError, match=f"tampaknya {OTHERS[name][0]} dari torchvision") as caught:
        weights.resolve_weights(str(tmp_path / "a.ckpt"))
    assert OTHERS[name][1].split(" ")[0] in one_line(caught)
    if not prefix:
        assert OTHERS[name][1] in str(caught.value)


def test_chexnets_old_names_are_a_densenet(tmp_path):
    other = torchvision.models.densenet121(num_classes=14).state_dict()
    old = {
        n.replace("norm1", "norm.1")
        .replace("conv1", "conv.1")
        .replace("norm2", "norm.2")
        .replace("conv2", "conv.2"): t
        for n, t in other.items()
    }
    torch.save({"state_dict": under("module.densenet121.", old)}, tmp_path / "a.pth.tar")
    with pytest.raises(InputError, match="densenet121"):
        weights.resolve_weights(str(tmp_path / "a.pth.tar"))


def test_our_own_small_cnn_is_named(tmp_path):
    torch.save(model.small_cnn().state_dict(), tmp_path / "best.pt")
    with pytest.raises(InputError, match="CNN kecil paket ini") as caught:
        weights.resolve_weights(str(tmp_path / "best.pt"))
    one_line(caught)


def test_a_network_that_nobody_knows_is_not_given_a_name(tmp_path):
    torch.save(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1)).state_dict(), tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"0\.weight \(4, 4\) tidak dikenal") as caught:
        weights.resolve_weights(str(tmp_path / "a.pt"))
    assert "tampaknya" not in one_line(caught)


KINDS = {
    "int8": lambda t: t.to(torch.int8),
    "complex64": lambda t: t.to(torch.complex64),
    "sparse_coo": lambda t: t.to_sparse() if t.ndim == 4 else t,
    "tanpa isi": lambda t: t.to("meta"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_that_are_no_weights_are_refused_not_rounded(state, tmp_path, kind):
    torch.save({name: KINDS[kind](tensor) for name, tensor in state.items()}, tmp_path / "a.pth")
    with pytest.raises(InputError, match=rf"conv1\.weight \({kind}\)") as caught:
        weights.resolve_weights(str(tmp_path / "a.pth"))
    one_line(caught)


def test_a_network_of_zeros_is_no_start(state, tmp_path):
    torch.save(
        {name: torch.zeros_like(tensor) for name, tensor in state.items()}, tmp_path / "a.pth"
    )
    with pytest.raises(InputError, match=r"conv1\.weight sama"):
        weights.resolve_weights(str(tmp_path / "a.pth"))


@pytest.mark.parametrize("name", ["https://contoh.invalid/a.pth", "a\nb.pth"])
def test_an_address_or_a_name_of_two_lines_is_one_line(name):
    with pytest.raises(InputError) as caught:
        weights.resolve_weights(name)
    assert ("unduh" in one_line(caught)) == name.startswith("https")


def test_two_networks_are_not_guessed_between(network, tmp_path):
    other = {name: t + 1 for name, t in network.state_dict().items()}
    torch.save(
        {**under("student.", network.state_dict()), **under("teacher.", other)}, tmp_path / "a.pth"
    )
    with pytest.raises(InputError, match="di student dan di teacher") as caught:
        weights.resolve_weights(str(tmp_path / "a.pth"))
    one_line(caught)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("layer3.0.conv1.weight", lambda t: t.view(-1)[5:6].fill_(float("nan"))),
        ("bn1.bias", lambda t: t[0:1].fill_(float("inf"))),
        ("layer2.1.bn2.running_var", lambda t: t[3:4].fill_(-0.1)),
    ],
)
def test_weights_that_are_no_numbers_are_refused(state, tmp_path, name, spoil):
    broken = copy.deepcopy(state)
    spoil(broken[name])
    torch.save(broken, tmp_path / "a.pth")
    with pytest.raises(InputError, match="terhingga") as caught:
        weights.resolve_weights(str(tmp_path / "a.pth"))
    assert name in one_line(caught)


def test_a_head_that_is_replaced_may_hold_anything(state, tmp_path):
    torch.save({**state, "aux.weight": torch.full((2,), float("nan"))}, tmp_path / "a.pth")
    assert "aux.weight" in weights.resolve_weights(str(tmp_path / "a.pth")).note


def whole_module(path: Path):
    torch.save(nn.Linear(2, 2), path)


FOREIGN = {
    "itself.pth": (whole_module, r"torch\.nn\.modules\.linear\.Linear"),
    "kosong.pth": (lambda path: path.write_bytes(b""), "kosong"),
    "halaman.pth": (lambda path: path.write_text("<!DOCTYPE html><html>"), "halaman web"),
    "lfs.pth": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        "Git LFS",
    ),
    "foto.pth": (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "gambar PNG"),
    "keras.bin": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(40)), "HDF5"),
    "angka.pt": (lambda path: torch.save({"epoch": 3}, path), "bukan state dict"),
    "folder.pt": (lambda path: path.mkdir(), "folder"),
    "larik.pt": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + bytes(120)), r"\.npy"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_is_no_checkpoint_is_said_to_be_what_it_is(tmp_path, name):
    make, said = FOREIGN[name]
    make(tmp_path / name)
    with pytest.raises(InputError, match=said) as caught:
        weights.resolve_weights(str(tmp_path / name))
    assert name in one_line(caught)


@pytest.mark.parametrize(
    "word", ["imagnet", "~tidak-ada-orangnya/a.pth", "a\x00b.pth", "x" * 300 + ".pth"]
)
def test_a_weights_setting_that_means_nothing(word):
    with pytest.raises(InputError):
        weights.resolve_weights(word)


def test_a_three_dimensional_resnet_is_no_traceback(state, tmp_path):
    solid = {n: t.unsqueeze(2) if t.ndim == 4 else t for n, t in state.items()}
    torch.save(under("module.", solid), tmp_path / "medicalnet.pth")
    with pytest.raises(
        InputError, match=r"conv1\.weight \(64, 3, 1, 7, 7\) seharusnya \(64, 3, 7, 7\)"
    ):
        weights.resolve_weights(str(tmp_path / "medicalnet.pth"))


def test_the_portrait_needs_shapes_too():
    wide = {
        name: tuple(t.shape)
        for name, t in torchvision.models.wide_resnet50_2().state_dict().items()
    }
    assert checkpoints.portrait(wide) == "wide_resnet50_2 dari torchvision"
