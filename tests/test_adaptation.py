"""What adaptation preserves, and the BatchNorm statistics (cxr_helpers/adaptation.py)."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from cxr_helpers import adaptation, model, weights
from cxr_helpers.data import Split, to_tensor
from cxr_helpers.engine import files, runs
from cxr_helpers.study import open_study


def work_by_hand(
    channels: int, kernel: int, after_conv1: int, into_layer1: int, answers: int
) -> dict[str, int]:
    """{stage: multiply-adds} of a ResNet-18 by the formula: kernels × inputs × k × k × output positions of every convolution."""
    work = {
        "conv1": 64 * channels * kernel**2 * after_conv1**2,
        "maxpool": 0,
        "layer1": 4 * 64 * 64 * 9 * into_layer1**2,
    }
    side = into_layer1
    for name, width in (("layer2", 128), ("layer3", 256), ("layer4", 512)):
        side = -(-side // 2)
        half = width // 2
        work[name] = (
            width * half * 9 + 3 * width * width * 9 + width * half
        ) * side**2  # the last: the 1×1 shortcut
    return work | {"fc": 512 * answers}


def test_every_stages_work_is_that_of_the_formula_and_parameters_are_counted():
    described = adaptation.describe_architectures(28)
    by_hand = [
        work_by_hand(3, 7, 14, 7, 1000),
        work_by_hand(1, 3, 28, 14, 1),
        work_by_hand(1, 3, 28, 28, 1),
    ]
    for network, expected in zip(described, by_hand, strict=True):
        assert {
            name: stage["multiply_adds"] for name, stage in network["stages"].items()
        } == expected
        assert network["multiply_adds"] == sum(expected.values())
    assert described[0]["parameters"] == 11_689_512
    assert described[2]["parameters"] == sum(
        p.numel() for p in model.course_resnet18(28).parameters()
    )


def test_same_kernels_on_same_images_answer_alike():
    images = np.random.default_rng(0).integers(0, 256, (8, 64, 64)).astype(np.uint8)
    table = adaptation.compare_strategies(torch.randn(64, 3, 7, 7), images, kernel=7)
    summed = table[(table["reduce"] == "sum") & (table["scale"] == "none")]
    assert (summed["correlation"] > 0.8).all() and len(table) == 3


def test_a_network_without_rgb_kernels_has_the_bank_to_show():
    own = weights.Weights(
        "file", "Bobot dari own.pt", "", model.course_resnet18().state_dict(), "x"
    )
    kernels, said = adaptation.source_kernels(own)
    assert torch.equal(kernels, weights.gabor_bank()) and "Gabor" in said


def test_rgb_kernels_are_shown_as_they_are():
    kernels = torch.randn(64, 3, 7, 7)
    own = weights.Weights("imagenet", "Bobot ImageNet", "", {"conv1.weight": kernels}, "x")
    assert adaptation.source_kernels(own) == (kernels, "Bobot ImageNet")


def test_the_stem_of_large_images_keeps_the_kernels_size():
    kernels = torch.zeros(64, 3, 7, 7)
    assert [
        adaptation.keeps_size(kernels, model.stem_kernel(size)) for size in (28, 32, 33, 64)
    ] == [False, False, True, True]


def test_the_best_strategy_is_the_first_of_highest_correlation():
    table = pd.DataFrame({"reduce": ["mean", "sum", "luminance"], "correlation": [0.1, 0.5, 0.5]})
    assert adaptation.best_strategy(table)["reduce"] == "sum"


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


def test_the_drift_is_that_of_all_images_whatever_the_batch():
    network = model.build(weights.resolve_weights("random"), 0)
    bright = np.concatenate(
        [images(64), np.full((32, 28, 28), 255, np.uint8)]
    )  # the second batch is another kind, and shorter
    first = adaptation.batch_norm_drift(network, bright, batch=64)[0]
    with torch.no_grad():
        response = network.conv1(to_tensor(bright))
    stored = (network.bn1.running_var + network.bn1.eps).sqrt()
    shift, scale = response.mean((0, 2, 3)).abs() / stored, response.std((0, 2, 3)) / stored
    assert first["shift"] == pytest.approx(shift.median().item(), rel=1e-4)
    assert first["scale"] == pytest.approx(scale.median().item(), rel=1e-4)


def test_reestimated_statistics_are_the_plain_mean_over_the_batches():
    network = model.build(weights.resolve_weights("random"), 0)
    repaired = adaptation.reestimate_batch_norm(network, images(96), batch=64)
    with torch.no_grad():
        responses = [
            network.conv1(part) for part in to_tensor(images(96)).split(64)
        ]  # 64 and 32 images: they count alike
    means, variances = (
        torch.stack([getattr(r, of)((0, 2, 3)) for r in responses]).mean(0)
        for of in ("mean", "var")
    )
    assert torch.allclose(repaired.bn1.running_mean, means, atol=1e-6)
    assert torch.allclose(repaired.bn1.running_var, variances, rtol=1e-5)
    assert not repaired.training and repaired.bn1.num_batches_tracked == 2


def test_probe_reads_what_the_features_hold():
    labels = (np.arange(96) % 2).astype(np.uint8)
    told = images()
    told[labels == 1] //= 3
    split = Split(told, labels, np.arange(96))
    network = adaptation.reestimate_batch_norm(
        model.build(weights.resolve_weights("random"), 0), told
    )
    assert adaptation.probe(network, split, split)["value"] > 0.95


def test_answers_and_outputs_are_those_of_the_stages():
    stock, _, ours = adaptation.describe_architectures(28)
    assert ours["answers"] == 1 and stock["answers"] == 1000
    assert ours["stages"]["maxpool"] == {"parameters": 0, "multiply_adds": 0, "output": "64×28×28"}
    assert stock["stages"]["layer4"]["output"] == "512×1×1"


def test_the_max_pools_removal_is_told_with_its_work():
    small, large = (
        adaptation.pooling(adaptation.describe_architectures(size)) for size in (28, 64)
    )
    assert small["removed"] and 3 < small["work"] < 4
    assert not large["removed"] and large["work"] == 1


@pytest.mark.parametrize("swapped", [False, True])
def test_a_repair_is_judged_on_the_same_images(monkeypatch, swapped):
    """80% and 84% right, the same images and more: the intervals overlap, and yet every image that changed was mended."""
    labels = (np.arange(400) % 2).astype(np.uint8)
    sign = np.where(labels == 1, 1, -1)
    answers = [sign * np.where(np.arange(400) < right, 1, -1) for right in (320, 336)]
    given = iter(reversed(answers) if swapped else answers)
    monkeypatch.setattr(adaptation, "probe_logits", lambda *_: next(given))
    split = Split(images(400), labels, np.arange(400))
    few = Split(images(8), labels[:8], np.arange(8))
    found = adaptation.repair(weights.resolve_weights("random"), few, split, 0, 28)
    low, high = sorted((found["before"], found["after"]), key=lambda one: one["value"])
    assert low["ci95"][1] > high["ci95"][0]
    assert found["change"]["value"] == pytest.approx(-0.04 if swapped else 0.04)
    assert found["change"]["side"] == ("below" if swapped else "above")


@pytest.mark.parametrize(
    ("mended", "broken", "side"),
    [(0, 0, "across"), (8, 8, "across"), (4, 0, "across"), (20, 4, "above"), (4, 20, "below")],
)
def test_a_repair_that_breaks_what_it_mends_or_mends_a_few_decides_nothing(
    monkeypatch, mended, broken, side
):
    labels, place = (np.arange(400) % 2).astype(np.uint8), np.arange(400)
    sign, before = np.where(labels == 1, 1, -1), place < 320
    after = (before & (place >= broken)) | ((place >= 320) & (place < 320 + mended))
    given = iter([sign * np.where(right, 1, -1) for right in (before, after)])
    monkeypatch.setattr(adaptation, "probe_logits", lambda *_: next(given))
    split = Split(images(400), labels, place)
    few = Split(images(8), labels[:8], np.arange(8))
    change = adaptation.repair(weights.resolve_weights("random"), few, split, 0, 28)["change"]
    assert change["side"] == side and change["value"] == pytest.approx((mended - broken) / 400)


@pytest.mark.parametrize(
    ("ci", "better", "worse"),
    [((0.01, 0.1), 1, 0), ((0.0, 0.1), 0, 0), ((-0.1, -0.01), 0, 1), ((-0.1, 0.0), 0, 0)],
)
@pytest.mark.parametrize("seeds", [2, 3])
def test_starts_are_told_apart_by_their_paired_interval(ci, better, worse, seeds):
    starts = [
        {"title": "Bobot acak", "kind": "random", "seeds": list(range(seeds)), "difference": None},
        {
            "title": "Bank Gabor",
            "kind": "gabor",
            "seeds": list(range(seeds)),
            "difference": {"acc": {"ci95": ci}},
        },
    ]
    found = adaptation.summarise_starts(starts)
    assert (len(found["better"]), len(found["worse"]), found["gabor"]) == (better, worse, True)
    assert found["counts_seeds"] is (seeds == 3)


@pytest.mark.parametrize("kind", ["random", "gabor"])
def test_the_baseline_is_not_trained_again_after_the_starts_were_compared(
    tmp_path, monkeypatch, kind
):
    monkeypatch.setenv(files.RUNS, str(tmp_path))
    study = open_study(
        data="phantom", weights=kind, preset="smoke", device="cpu", precision="float32"
    )
    assert len(adaptation.measure_starts(study)) == 3
    monkeypatch.setattr(
        runs,
        "training",
        SimpleNamespace(fit=lambda *_, **__: pytest.fail("trained again"), RECORDED=("val",)),
    )
    assert study.baseline()[0].open_test()["epochs"].shape == (
        study.preset.epochs,
        len(study.used.test),
    )
