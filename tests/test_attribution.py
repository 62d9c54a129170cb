"""Integrated gradients on networks whose answer is known (cxr_helpers/attribution.py)."""

import numpy as np
import pytest
import torch
from torch import nn

from cxr_helpers import attribution, model
from cxr_helpers.weights import resolve_weights
from tests.conftest import made


def test_attribution_finds_the_only_pixels_that_count_and_its_sum_is_the_change_of_the_logit():
    mask = np.zeros((28, 28), bool)
    mask[5:12, 8:20] = True
    linear = nn.Linear(28 * 28, 1)
    with torch.no_grad():
        linear.weight.copy_(
            torch.from_numpy(
                np.where(mask, np.random.default_rng(0).normal(size=(28, 28)), 0)
            ).reshape(1, -1)
        )
    data = made()
    maps, missing = attribution.attribute(
        nn.Sequential(nn.Flatten(), linear), data.val.images, data.train.images[0]
    )
    assert missing < 1e-4
    found = attribution.inside(maps, np.broadcast_to(mask, maps.shape), data.val.labels)
    assert found["share"] == pytest.approx(1) and found["ratio"]["value"] == pytest.approx(
        1 / mask.mean()
    )


def test_attribution_of_noise_is_spread_evenly_and_a_missing_region_is_none():
    generator = np.random.default_rng(1)
    maps, masks = generator.normal(size=(60, 28, 28)), generator.random((60, 28, 28)) < 0.2
    low, high = attribution.inside(maps, masks, np.arange(60) % 2)["ratio"]["ci95"]
    assert low < 1 < high and high - low < 0.1
    few = masks & (np.arange(60) < 9)[:, None, None]
    assert attribution.inside(maps, few, np.arange(60) % 2) is None


@pytest.mark.parametrize(("weight", "side"), [(2, "above"), (1, "across"), (0.5, "below")])
def test_a_region_that_counts_more_or_less_than_its_area_is_told_from_one_that_does_not(
    weight, side
):
    generator = np.random.default_rng(1)
    masks = generator.random((60, 28, 28)) < 0.2
    maps = generator.normal(size=(60, 28, 28)) * np.where(masks, weight, 1)
    found = attribution.inside(maps, masks, np.arange(60) % 2)
    assert found["side"] == side and found["n"] == 60
    assert found["ratio"]["value"] == pytest.approx(weight / (1 + 0.2 * (weight - 1)), rel=0.05)


def test_attribution_counts_patients_where_they_are_known():
    generator = np.random.default_rng(2)
    looks = np.repeat(
        generator.random(20) < 0.5, 5
    )  # at the region, or beside it: as one patient's images do
    masks = np.zeros((100, 28, 28), bool)
    masks[:, :5] = True
    maps = np.where(masks == looks[:, None, None], 1.0, 0.1) * generator.random((100, 28, 28))
    by_image, by_patient = (
        attribution.inside(maps, masks, np.zeros(100), p) for p in (None, np.arange(100) // 5)
    )
    assert (by_image["n"], by_image["patients"], by_patient["patients"]) == (100, None, 20)
    assert np.ptp(by_patient["ratio"]["ci95"]) > 1.5 * np.ptp(by_image["ratio"]["ci95"])


def test_attribution_integrates_a_real_network_well():
    network = model.build(resolve_weights("random"), seed=0)
    data = made()
    maps, missing = attribution.attribute(
        network, data.val.images[:6], data.train.images.mean(0).round().astype(np.uint8)
    )
    assert maps.shape == (6, 28, 28) and np.isfinite(maps).all() and missing < 0.2
