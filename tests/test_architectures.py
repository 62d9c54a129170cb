"""Torchvision's networks with the weights that they were published with: read from a file of that network, adapted, refused."""

import hashlib

import pytest
import torch
from torchvision import models

from cxr_helpers import architectures, model
from cxr_helpers.engine import download
from cxr_helpers.engine.errors import InputError
from cxr_helpers.weights import adapt_conv1


@pytest.fixture
def kept(tmp_path):
    """{name: path} of a file as torchvision publishes it, made once each, with random values."""

    def make(name: str):
        path = tmp_path / f"{name}.pth"
        torch.manual_seed(1)
        torch.save(models.get_model(name, weights=None).state_dict(), path)
        return path

    return make


@pytest.mark.parametrize(
    ("name", "conv", "head"),
    [
        ("resnet34", "conv1", "fc"),
        ("densenet121", "features.conv0", "classifier"),
        ("mobilenet_v3_small", "features.0.0", "classifier.3"),
        ("squeezenet1_1", "features.0", "classifier.1"),
    ],
)
def test_a_file_of_the_network_fills_all_but_its_head(kept, tmp_path, name, conv, head):
    path = kept(name)
    given = torch.load(path, weights_only=True)
    weights = architectures.published(name, str(path), tmp_path)
    network = model.build(weights, 0, 28, architecture=name, reduce="sum")
    state = network.state_dict()
    assert torch.equal(
        state[f"{conv}.weight"], adapt_conv1(given[f"{conv}.weight"], kernel=3, reduce="sum")
    )
    same = [
        key
        for key in state
        if not key.startswith((conv, head)) and not key.endswith("num_batches_tracked")
    ]
    assert len(same) > 20 and all(torch.equal(state[key], given[key]) for key in same)
    assert network.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 1)


def test_a_vision_transformers_positions_are_interpolated():
    torch.manual_seed(0)
    given = models.get_model("vit_b_32", weights=None, image_size=96).state_dict()
    network = architectures.classifier("vit_b_32", 64)
    architectures.fill(network, architectures.Weights("published", "Bobot", "", given, "x"), {})
    assert network.state_dict()["encoder.pos_embedding"].shape == (1, 1 + 2 * 2, 768)
    assert torch.equal(
        network.encoder.pos_embedding[:, 0], given["encoder.pos_embedding"][:, 0]
    )  # of the class token


def test_another_networks_file_is_refused_in_one_line(kept, tmp_path):
    weights = architectures.published("resnet50", str(kept("resnet34")), tmp_path)
    with pytest.raises(InputError, match="bukan milik jaringan ini") as refused:
        model.build(weights, 0, 28, architecture="resnet50")
    assert "\n" not in str(refused.value)


def test_the_official_file_is_known_by_the_digits_in_its_name(tmp_path):
    official = tmp_path / models.get_model_weights("resnet34").DEFAULT.url.rpartition("/")[2]
    official.write_bytes(b"something else")
    with pytest.raises(InputError, match="SHA-256"):
        architectures.published("resnet34", "imagenet", tmp_path)
    digits = hashlib.sha256(b"something else").hexdigest()
    assert download.recognise(download.Remote("", f"sha256:{digits[:8]}"), [official]) == official
    assert download.recognise(download.Remote("", f"sha256:{digits[1:9]}"), [official]) is None


def test_every_publication_says_its_digest():
    """Every default of torchvision's classifiers ends in the first digits of its SHA-256."""
    for name in architectures.known():
        assert (
            models.get_model_weights(name)
            .DEFAULT.url.rpartition("-")[2]
            .removesuffix(".pth")
            .isalnum()
        )


def test_without_network_it_is_said_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    with pytest.raises(InputError, match="tidak dapat diunduh") as refused:
        architectures.published("resnet34", "imagenet", tmp_path)
    assert "\n" not in str(refused.value) and not list(tmp_path.glob("*.pth"))
