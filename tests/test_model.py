"""The networks: what they compute, where they start, what is frozen; torchvision's others too."""

import pytest
import torch
import torch.nn.functional as F
from torchvision import models

from cxr_helpers import model
from cxr_helpers.engine.errors import InputError
from cxr_helpers.model import Weights, adapt_conv1, resolve_weights

RANDOM = resolve_weights("random")


def grey(n: int = 4, size: int = 28) -> torch.Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", [32, 33])
def test_up_to_32_pixels_the_stem_keeps_the_resolution(size):
    small = size <= 32
    network = model.course_resnet18(size)
    stem, side = network.conv1, model.stem_kernel(size)
    assert stem.weight.shape == (64, 1, side, side) and side == (3 if small else 7)
    assert stem.bias is None and stem.stride == ((1, 1) if small else (2, 2))
    assert stem.padding == ((1, 1) if small else (3, 3))
    assert isinstance(network.maxpool, torch.nn.Identity if small else torch.nn.MaxPool2d)
    assert network(torch.zeros(2, 1, size, size)).shape == (2, 1)
    assert list(network.state_dict()) == list(models.resnet18(num_classes=1).state_dict())


def test_the_small_network_is_three_convolutions_written_out():
    network = model.build(RANDOM, 0, architecture="small_cnn").eval()
    state, x = network.state_dict(), grey()
    for i, width in ((1, 32), (2, 64), (3, 128)):
        assert len(state[f"conv{i}.weight"]) == width
        x = F.conv2d(x, state[f"conv{i}.weight"], padding=1)
        mean, variance = (state[f"bn{i}.running_{of}"] for of in ("mean", "var"))
        x = F.relu(F.batch_norm(x, mean, variance, state[f"bn{i}.weight"], state[f"bn{i}.bias"]))
        x = F.max_pool2d(x, 2) if i < 3 else x.mean((2, 3))
    expected = F.linear(x, state["fc.weight"], state["fc.bias"])
    torch.testing.assert_close(network(grey()), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("architecture", ["resnet18_layer2", "small_cnn"])
def test_dropout_acts_in_training_alone_and_keeps_the_names(architecture):
    plain = model.build(RANDOM, 0, architecture=architecture)
    dropped = model.build(RANDOM, 0, dropout=0.5, architecture=architecture)
    dropped.load_state_dict(plain.state_dict())
    assert torch.equal(dropped.eval()(grey()), plain.eval()(grey()))
    assert not torch.allclose(dropped.train()(grey()), plain.train()(grey()))


def test_build_draws_from_its_seed_and_leaves_the_global_state():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    one, same, other = (
        model.build(RANDOM, seed, architecture="small_cnn").state_dict() for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


def test_weights_of_a_run_fill_that_very_network_and_no_other():
    given = model.build(RANDOM, 1, architecture="small_cnn").state_dict()
    run = Weights("run", "Hasil", "", given, "x")
    filled = model.build(run, 2, architecture="small_cnn").state_dict()
    assert all(torch.equal(filled[name], given[name]) for name in given)
    with pytest.raises(InputError, match="Hasil"):
        model.build(run, 2, architecture="resnet18_layer2")
    other = Weights("file", "Berkas", "", models.resnet18().state_dict(), "x")
    untouched = model.build(other, 1, architecture="small_cnn").state_dict()  # another network's
    assert all(torch.equal(untouched[name], given[name]) for name in given)


@pytest.mark.parametrize("trainable", ["head", "layer4+head"])
def test_the_two_parts_of_a_frozen_network_are_the_network(trainable):
    network = model.build(RANDOM, 0).eval()
    frozen, trained = model.split_frozen(network, trainable)
    features = model.features(frozen.train(), grey(5), batch=2)
    with torch.no_grad():
        torch.testing.assert_close(trained.eval()(features), network(grey(5)), atol=1e-5, rtol=0)
    assert ("layer4" in dict(trained.named_children())) == (trainable == "layer4+head")


def test_frozen_stages_learn_nothing_and_batch_norm_keeps_its_statistics():
    network = model.build(RANDOM, 0, architecture="small_cnn")
    assert [child for child in model.stages(network)] == [
        getattr(network, name) for name in ("fc", "bn3", "conv3", "bn2", "conv2", "bn1", "conv1")
    ]
    model.open_stages(network, 2)
    network.train()(grey()).sum().backward()
    open_parts = {n.split(".")[0] for n, p in network.named_parameters() if p.grad is not None}
    assert open_parts == {"fc", "bn3"} and network.bn3.training and not network.bn1.training
    assert not network.bn1.running_mean.any() and network.bn3.running_mean.any()
    model.open_stages(network, 4)
    assert network.train().bn2.training and network.bn2.weight.requires_grad
    with pytest.raises(InputError, match="layer4"):
        model.freeze(network, "layer4+head")
    model.freeze(network, "head")
    assert {n for n, p in network.named_parameters() if p.requires_grad} == {"fc.weight", "fc.bias"}


def test_the_layout_changes_rounding_only():
    network = model.build(RANDOM, 0).eval()
    with torch.no_grad():
        plain = network(grey())
        laid_out = model.lay_out(network, torch.device("cpu"))
        torch.testing.assert_close(laid_out(grey()), plain, atol=1e-5, rtol=0)
    kernel = network.layer4[0].conv1.weight
    assert kernel.is_contiguous() and not network.layer3[0].conv1.weight.is_contiguous()


def test_a_file_of_the_network_fills_all_but_its_head(tmp_path):
    given = models.resnet34().state_dict()
    torch.save(given, tmp_path / "resnet34.pth")
    weights = resolve_weights(str(tmp_path / "resnet34.pth"), tmp_path, "resnet34")
    state = model.build(weights, 0, 28, architecture="resnet34", reduce="sum").state_dict()
    stem = adapt_conv1(given["conv1.weight"], kernel=3, reduce="sum")
    assert torch.equal(state["conv1.weight"], stem)
    same = [key for key in state if key not in ("conv1.weight", "fc.weight", "fc.bias")]
    assert all(torch.equal(state[key], given[key]) for key in same)
    with pytest.raises(InputError, match="resnet34") as refused:
        model.build(weights, 0, 28, architecture="resnet50")
    assert "\n" not in str(refused.value)
