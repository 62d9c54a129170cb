"""Checkpoints as people bring them: the network is found, or one line says what the file is."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from cxr_helpers import model
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


def another_head(network: nn.Module) -> dict:
    """As student repositories write it: a head beside the backbone."""
    own = copy.deepcopy(network)
    own.fc = nn.Identity()
    return nn.ModuleDict({"backbone": own, "classifier": nn.Linear(512, 2)}).state_dict()


def lightning(network: nn.Module) -> dict:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(64, 3, 7, 7)}}, "param_groups": [{"lr": 1}]}
    return {
        "state_dict": under("model.", network.state_dict()),
        "optimizer_states": [optimizer],
    }


def medmnist_own(network: nn.Module) -> dict:
    """As MedMNIST's reference code writes it: under "net", with other names."""
    state = network.state_dict()
    other = {name.replace("downsample", "shortcut"): state[name] for name in state}
    return {"net": {name.replace("fc.", "linear."): other[name] for name in other}}


SAVED = {
    "MedMNIST's own ResNet": medmnist_own,
    "DataParallel, then compiled": lambda net: under("_orig_mod.module.", net.state_dict()),
    "Lightning": lightning,
    "a backbone with a head of its own": another_head,
}


@pytest.mark.parametrize("how", SAVED)
def test_the_network_is_found_wherever_it_stands(network, state, tmp_path, how):
    """The network that is built holds the file's own values in every tensor but the head."""
    torch.save(SAVED[how](network), tmp_path / "bobot.pth")
    found = model.resolve_weights(str(tmp_path / "bobot.pth"))
    unused = ("classifier.bias", "classifier.weight")
    assert all((name in found.note) == ("backbone" in how) for name in unused)
    loaded = model.build(found, 0, size=64).state_dict()
    assert torch.equal(loaded["conv1.weight"], model.adapt_conv1(state["conv1.weight"], kernel=7))
    rest = {n: t for n, t in state.items() if not n.startswith(("fc.", "conv1."))}
    assert all(torch.equal(loaded[name], rest[name]) for name in rest)


def spoiled(state: dict, name: str, value: float) -> dict:
    """One number of one tensor is `value`."""
    tensor = state[name].clone()
    tensor.view(-1)[3] = value
    return {**state, name: tensor}


REFUSED = {
    r"conv1\.weight \(int8\)": lambda state: {n: t.to(torch.int8) for n, t in state.items()},
    r"conv1\.weight .*memuat": lambda state: spoiled(state, "layer3.0.conv1.weight", float("nan")),
    "di student dan di teacher": lambda state: {
        **under("student.", state),
        **under("teacher.", {n: t + 1 for n, t in state.items()}),
    },
    r"nn\.modules\.linear\.Linear": lambda state: nn.Linear(2, 2),
    r"conv1\.weight, ": lambda state: torchvision.models.mobilenet_v3_small().state_dict(),
    "bukan state dict": lambda state: {"epoch": 3},
    "utuh dan aman": lambda state: b"",
    "halaman web": lambda state: b"<!DOCTYPE html><html>",
    "Git LFS": lambda state: b"version https://git-lfs.github.com/spec/v1\n",
    r"bn1\.running_var": lambda state: spoiled(state, "bn1.running_var", -1.0),
}


@pytest.mark.parametrize("said", REFUSED)
def test_what_is_no_network_or_two_of_them_is_said_to_be_what_it_is(state, tmp_path, said):
    content, path = REFUSED[said](state), tmp_path / "a.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(InputError, match=said) as caught:
        model.resolve_weights(str(path))
    one_line(caught)
