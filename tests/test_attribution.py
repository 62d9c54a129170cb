"""Integrated gradients on networks whose answer is known."""

import numpy as np
import pytest
import torch
from cxr_helpers import attribution, model
from cxr_helpers.weights import resolve_weights
from torch import nn

from tests.conftest import made


def test_attribution_finds_the_only_pixels_that_count_and_its_sum_is_the_change_of_the_logit():
    mask, data = np.zeros((28, 28), bool), made()
    mask[5:12, 8:20] = True
    weight = np.where(mask, np.random.default_rng(0).normal(size=(28, 28)), 0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 1))
    with torch.no_grad():
        network[1].weight.copy_(torch.from_numpy(weight).reshape(1, -1))
    maps, missing = attribution.attribute(network, data.val.images, data.train.images[0])
    change = (data.val.images.astype(float) - data.train.images[0]) / 127.5
    assert maps == pytest.approx(weight * change, abs=1e-4) and missing < 1e-4
    found = attribution.inside(maps, np.broadcast_to(mask, maps.shape), data.val.labels)
    assert found["share"] == pytest.approx(1)
    assert found["ratio"]["value"] == pytest.approx(1 / mask.mean())


def test_attribution_integrates_a_real_network_well():
    network, data = model.build(resolve_weights("random"), seed=0, architecture="small_cnn"), made()
    maps, missing = attribution.attribute(network, data.val.images[:6], data.train.images[0])
    assert maps.shape == (6, 28, 28) and missing < 0.2


@pytest.mark.parametrize(("weight", "side"), [(2, "above"), (1, "across"), (0.5, "below")])
def test_a_region_that_counts_more_or_less_than_its_area_is_told_from_one_that_does_not(
    weight, side
):
    generator = np.random.default_rng(1)
    masks = generator.random((60, 28, 28)) < 0.2
    maps = generator.normal(size=(60, 28, 28)) * np.where(masks, weight, 1)
    found = attribution.inside(maps, masks, np.arange(60) % 2)
    share = [np.abs(m)[k].sum() / np.abs(m).sum() for m, k in zip(maps, masks, strict=True)]
    assert found["side"] == side and found["n"] == 60 and found["patients"] is None
    assert found["ratio"]["value"] == pytest.approx(np.mean(share) / masks.mean())
    for n, known in ((9, False), (10, True)):  # images that have the region
        few = masks & (np.arange(60) < n)[:, None, None]
        assert (attribution.inside(maps, few, np.arange(60) % 2) is not None) is known


def test_attribution_counts_patients_where_they_are_known():
    generator = np.random.default_rng(2)
    looks = np.repeat(generator.random(20) < 0.5, 5)  # at the region, or beside it
    masks = np.zeros((100, 28, 28), bool)
    masks[:, :5] = True
    maps = np.where(masks == looks[:, None, None], 1.0, 0.1) * generator.random((100, 28, 28))
    alone, together = (
        attribution.inside(maps, masks, np.zeros(100), who) for who in (None, np.arange(100) // 5)
    )
    assert (alone["n"], together["patients"]) == (100, 20)
    assert np.ptp(together["ratio"]["ci95"]) > 1.5 * np.ptp(alone["ratio"]["ci95"])
