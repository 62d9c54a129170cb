"""The networks: their shapes, their start, and the parts that are frozen (cxr_helpers/model.py)."""

import pytest
import torch
from torchvision.models import resnet18

from cxr_helpers import model, weights


def grey(n: int = 4, size: int = 20) -> torch.Tensor:
    return torch.randn(n, 1, size, size, generator=torch.Generator().manual_seed(2))


def test_small_images_get_the_course_stem():
    network = model.course_resnet18(28)
    stem = network.conv1
    assert stem.weight.shape == (64, 1, 3, 3) and stem.bias is None
    assert (stem.stride, stem.padding) == ((1, 1), (1, 1)) and isinstance(
        network.maxpool, torch.nn.Identity
    )
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 1)


def test_larger_images_keep_the_stock_stem():
    network = model.course_resnet18(64)
    assert network.conv1.weight.shape == (64, 1, 7, 7) and network.conv1.stride == (2, 2)
    assert isinstance(network.maxpool, torch.nn.MaxPool2d)
    assert network(torch.zeros(2, 1, 64, 64)).shape == (2, 1)


def test_build_draws_from_its_seed_and_leaves_the_global_state():
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    random = weights.resolve_weights("random")
    one, same, other = (model.build(random, seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("trainable", ["head", "layer4+head"])
def test_split_network_is_the_network(trainable):
    network = model.build(weights.resolve_weights("random"), 0).eval()
    frozen, trained = model.split_frozen(network, trainable)
    with torch.no_grad():
        assert torch.allclose(
            trained.eval()(frozen.eval()(grey(2, 28))), network(grey(2, 28)), atol=1e-5
        )


def test_frozen_batch_norm_keeps_its_statistics_in_train_mode():
    network = model.build(weights.resolve_weights("random"), 0)
    model.freeze(network, "head")
    network.train()(grey(8, 28))
    assert torch.equal(network.bn1.running_mean, torch.zeros(64))


@pytest.mark.parametrize("architecture", ["resnet18", "resnet18_layer2", "small_cnn"])
def test_the_layout_changes_rounding_only(architecture):
    network = model.build(weights.resolve_weights("random"), 0, architecture=architecture).eval()
    images = grey(4, 28)
    with torch.no_grad():
        plain = network(images)
        assert torch.allclose(model.lay_out(network, torch.device("cpu"))(images), plain, atol=1e-5)
    if architecture == "resnet18":
        kernel = network.layer4[0].conv1.weight
        assert kernel.is_contiguous() and not network.layer3[0].conv1.weight.is_contiguous()


def test_names_of_the_tensors_are_those_of_torchvision():
    ours, theirs = model.course_resnet18().state_dict(), resnet18(num_classes=1).state_dict()
    assert list(ours) == list(theirs)
