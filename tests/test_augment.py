"""Augmentation keeps what it must keep (cxr_helpers/augment.py)."""

import torch

from cxr_helpers import augment


def test_augmentation_keeps_shape_and_range_and_flips_exactly():
    torch.manual_seed(0)
    x = torch.rand(64, 1, 28, 28) * 2 - 1
    for name in augment.TRANSFORMS:
        y = augment.apply(x, (name,))
        assert y.shape == x.shape
        assert y.abs().max() <= 1
        assert not torch.equal(x, y)
    y = augment.flip(x)
    mirrored = (y == x.flip(-1)).flatten(1).all(1)
    assert (mirrored | (y == x).flatten(1).all(1)).all()
    assert 15 < mirrored.sum() < 49
