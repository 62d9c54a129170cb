"""What adaptation preserves, and the BatchNorm statistics (cxr_helpers/adaptation.py)."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from cxr_helpers import adaptation, model, weights
from cxr_helpers.data import Split, to_tensor


def test_architectures_are_counted_on_the_real_networks():
    stock, _, ours = adaptation.describe_architectures(28)
    assert stock["parameters"] == 11_689_512
    for described, network, channels in ((stock, resnet18(), 3), (ours, model.course_resnet18(28), 1)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(torch.zeros(1, channels, 28, 28))
        assert described["multiply_adds"] == counter.get_total_flops() / 2
        assert described["parameters"] == sum(p.numel() for p in network.parameters())


def test_same_kernels_on_same_images_answer_alike():
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64)).astype(np.uint8)
    table = adaptation.compare_strategies(torch.randn(64, 3, 7, 7), images, kernel=7)
    summed = table[(table["reduce"] == "sum") & (table["scale"] == "none")]
    assert (summed["correlation"] > 0.8).all() and len(table) == 3


def test_a_network_without_rgb_kernels_has_the_bank_to_show():
    own = weights.Weights("file", "Bobot dari own.pt", "", model.course_resnet18().state_dict(), "x")
    kernels, said = adaptation.source_kernels(own)
    assert torch.equal(kernels, weights.gabor_bank()) and "Gabor" in said


def images(n: int = 96) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 28, 28)).astype(np.uint8)


def test_reestimated_statistics_are_those_of_the_images():
    network = model.build(weights.resolve_weights("random"), 0)
    drift = adaptation.batch_norm_drift(network, images())
    assert len(drift) == 20 and drift[0]["layer"] == "bn1"
    assert abs(drift[0]["scale"] - 1) > 0.1
    repaired = adaptation.reestimate_batch_norm(network, images())
    assert network.bn1.running_mean.abs().max() == 0  # the network itself is left alone
    after = adaptation.batch_norm_drift(repaired, images())[0]
    assert after["shift"] < 0.02 and after["scale"] == pytest.approx(1, abs=0.02)
    response = repaired.conv1(to_tensor(images()))
    assert torch.allclose(repaired.bn1.running_mean, response.mean((0, 2, 3)), atol=0.01)


def test_probe_reads_what_the_features_hold():
    labels = (np.arange(96) % 2).astype(np.uint8)
    told = images()
    told[labels == 1] //= 3
    split = Split(told, labels, np.arange(96))
    network = adaptation.reestimate_batch_norm(model.build(weights.resolve_weights("random"), 0), told)
    assert adaptation.probe(network, split, split)["value"] > 0.95


def test_the_first_layers_work_is_kernels_times_positions():
    stock, _, ours = adaptation.describe_architectures(28)
    assert ours["stages"]["conv1"]["multiply_adds"] == 64 * 1 * 3 * 3 * 28 * 28
    assert stock["stages"]["conv1"]["multiply_adds"] == 64 * 3 * 7 * 7 * 14 * 14
    assert ours["stages"]["fc"]["multiply_adds"] == 512 and ours["answers"] == 1 and stock["answers"] == 1000
    assert ours["stages"]["maxpool"] == {"parameters": 0, "multiply_adds": 0, "output": "64×28×28"}
    assert ours["multiply_adds"] == sum(stage["multiply_adds"] for stage in ours["stages"].values())


def test_the_max_pools_removal_is_told_with_its_work():
    small, large = (adaptation.pooling(adaptation.describe_architectures(size)) for size in (28, 64))
    assert small["removed"] and 3 < small["work"] < 4
    assert not large["removed"] and large["work"] == 1


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [((0.5, 0.6), (0.61, 0.7), "better"), ((0.5, 0.6), (0.6, 0.7), "undecided"), ((0.5, 0.6), (0.4, 0.49), "worse")],
)
def test_a_repair_is_judged_by_intervals_apart(before, after, said):
    assert adaptation.verdict({"ci95": before}, {"ci95": after}) == said


@pytest.mark.parametrize(
    ("ci", "better", "worse"), [((0.01, 0.1), 1, 0), ((0.0, 0.1), 0, 0), ((-0.1, -0.01), 0, 1), ((-0.1, 0.0), 0, 0)]
)
def test_starts_are_told_apart_by_their_paired_interval(ci, better, worse):
    starts = [
        {"title": "Bobot acak", "kind": "random", "difference": None},
        {"title": "Bank Gabor", "kind": "gabor", "difference": {"acc": {"ci95": ci}}},
    ]
    found = adaptation.summarise_starts(starts)
    assert (len(found["better"]), len(found["worse"]), found["gabor"]) == (better, worse, True)
