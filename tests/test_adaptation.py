"""The BatchNorm statistics, their repair, and what a start is worth (notebook 01)."""

import numpy as np
import pytest
import torch

from cxr_helpers import adaptation, data, model

RANDOM = model.resolve_weights("random")


def images(n: int = 48, size: int = 16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, size, size)).astype(np.uint8)


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
