"""What adaptation preserves, the BatchNorm statistics, and what a start is worth (notebook 01)."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.models import ResNet18_Weights

from cxr_helpers import adaptation, data, evaluation, model, weights
from cxr_helpers.engine import files, settings
from cxr_helpers.study import Study
from tests.conftest import made

RANDOM = weights.resolve_weights("random")


def images(n: int = 48, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size)).astype(np.uint8)


def test_parameters_and_work_are_those_that_are_published_and_follow_the_stem():
    stock = adaptation.describe_architectures(224)[0]
    published = ResNet18_Weights.IMAGENET1K_V1.meta
    assert stock["parameters"] == published["num_params"]
    assert stock["multiply_adds"] / 1e9 == pytest.approx(published["_ops"], abs=1e-3)
    _, pooled, ours = described = adaptation.describe_architectures(28)
    assert ours["parameters"] == stock["parameters"] - 513_000 - 64 * 147 + 64 * 9 + 513
    assert ours["stages"]["conv1"]["multiply_adds"] == 64 * 9 * 28**2
    assert (ours["answers"], ours["stages"]["maxpool"]["output"]) == (1, "64×28×28")
    work = pytest.approx(ours["multiply_adds"] / pooled["multiply_adds"])
    assert adaptation.pooling(described) == {"removed": True, "work": work}
    large = adaptation.pooling(adaptation.describe_architectures(33))
    assert large == {"removed": False, "work": 1}


def test_kernels_that_keep_their_size_are_only_reduced_and_answer_alike():
    kernels = torch.randn(64, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    table = adaptation.compare_strategies(kernels, images(4, 64), kernel=7)
    assert list(table["reduce"]) == ["mean", "sum", "luminance"] and table["correlation"][1] > 0.8
    assert [adaptation.keeps_size(kernels, kernel) for kernel in (3, 7)] == [False, True]
    equal = pd.DataFrame({"reduce": ["mean", "sum", "luminance"], "correlation": [0.1, 0.5, 0.5]})
    assert adaptation.best_strategy(equal)["reduce"] == "sum"


def test_a_network_without_rgb_kernels_has_the_bank_to_show():
    bank, rgb = weights.gabor_bank(), torch.ones(64, 3, 7, 7)
    for given, shown in ((torch.zeros(64, 1, 3, 3), bank), (rgb, rgb)):
        own = weights.Weights("file", "Milik saya", "", {"conv1.weight": given}, "x")
        assert torch.equal(adaptation.source_kernels(own)[0], shown)


@pytest.fixture(scope="module")
def network():
    return model.build(RANDOM, 0)


def test_the_drift_is_that_of_all_images_whatever_the_batch(network):
    bright = np.full((16, 16, 16), 255, np.uint8)  # the second batch is another kind, and shorter
    bright = np.concatenate([images(32), bright])
    drift = adaptation.batch_norm_drift(network, bright, batch=32)
    assert len(drift) == 20 and drift[0]["layer"] == "bn1"
    with torch.no_grad():
        response = network.conv1(data.to_tensor(bright))
    stored = (network.bn1.running_var + network.bn1.eps).sqrt()
    shift, scale = response.mean((0, 2, 3)).abs() / stored, response.std((0, 2, 3)) / stored
    assert drift[0]["shift"] == pytest.approx(shift.median().item(), rel=1e-3)
    assert drift[0]["scale"] == pytest.approx(scale.median().item(), rel=1e-3)


def test_reestimated_statistics_are_the_plain_mean_over_the_batches(network):
    repaired = adaptation.reestimate_batch_norm(network, images(), batch=32)
    with torch.no_grad():  # 32 and 16 images: they count alike
        responses = [network.conv1(part) for part in data.to_tensor(images()).split(32)]
    means = torch.stack([r.mean((0, 2, 3)) for r in responses]).mean(0)
    variances = torch.stack([r.var((0, 2, 3)) for r in responses]).mean(0)
    torch.testing.assert_close(repaired.bn1.running_mean, means, atol=1e-6, rtol=0)
    torch.testing.assert_close(repaired.bn1.running_var, variances)
    assert not repaired.training and not network.bn1.running_mean.any()  # itself left alone


def test_the_probe_reads_what_the_features_hold(network):
    labels, told = (np.arange(48) % 2).astype(np.uint8), images()
    told[labels == 1] //= 3
    split = data.Split(told, labels, np.arange(48))
    repaired = adaptation.reestimate_batch_norm(network, told)
    assert adaptation.probe(repaired, split, split)["value"] > 0.95


@pytest.mark.parametrize(
    ("mended", "broken", "side"),
    [(8, 8, "across"), (4, 0, "across"), (16, 0, "above"), (20, 4, "above"), (4, 20, "below")],
)
def test_a_repair_is_judged_by_the_images_that_it_changes(monkeypatch, mended, broken, side):
    """Of 400 images 320 are right before; alone, the two intervals would overlap."""
    labels, place = (np.arange(400) % 2).astype(np.uint8), np.arange(400)
    before, sign = place < 320, np.where(labels == 1, 1, -1)
    after = (before & (place >= broken)) | ((place >= 320) & (place < 320 + mended))
    given = iter([np.where(right, sign, -sign) for right in (before, after)])
    monkeypatch.setattr(adaptation, "probe_logits", lambda *_: next(given))
    few = data.Split(images(8), labels[:8], np.arange(8))
    val = data.Split(images(400), labels, place)
    change = adaptation.repair(RANDOM, few, val, 0, 28)["change"]
    assert (change["side"], change["value"]) == (side, pytest.approx((mended - broken) / 400))


@pytest.mark.parametrize(
    ("ci", "better", "worse"),
    [((0.01, 0.1), 1, 0), ((0.0, 0.1), 0, 0), ((-0.1, -0.01), 0, 1), ((-0.1, 0.0), 0, 0)],
)
@pytest.mark.parametrize("seeds", [2, 3])
def test_starts_are_told_apart_by_their_paired_interval(ci, better, worse, seeds):
    random = {"title": "Acak", "kind": "random", "seeds": list(range(seeds)), "difference": None}
    gabor = {"title": "Gabor", "kind": "gabor", "difference": {"acc": {"ci95": ci}}}
    found = adaptation.summarise_starts([random, gabor])
    assert found["better"] == ["Gabor"] * better and found["worse"] == ["Gabor"] * worse
    assert found["counts_seeds"] is (seeds == 3) and found["gabor"]


def test_starts_are_measured_and_the_baseline_is_not_trained_again(tmp_path, monkeypatch):
    monkeypatch.setenv(files.RUNS, str(tmp_path))
    whole = data.take(made(), 12, 8, 8, seed=0)
    parts = {s: getattr(whole, s) for s in ("train", "val", "test")}
    small = {s: replace(p, images=p.images[:, ::2, ::2].copy()) for s, p in parts.items()}
    few = data.with_splits(whole, **small)
    preset = replace(settings.PRESETS["smoke"], epochs=1)
    start, cpu = weights.resolve_weights("gabor"), torch.device("cpu")
    study = Study(few, few, start, preset, 0, cpu, "float32", Path("build"), "", 0.0)
    found = adaptation.measure_starts(study)
    assert [one["kind"] for one in found] == ["random", "gabor", "gabor"]
    assert [one["difference"] is None for one in found] == [True, False, False]
    trained = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/info.json")}
    run = study.baseline()[0].open_test()
    assert len(trained) == 3
    assert trained == {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/info.json")}
    judged = evaluation.mean_over_seeds([run["last"]], few.test.labels, patients=None)
    assert found[1]["test"]["acc"]["value"] == judged["acc"]["value"]
