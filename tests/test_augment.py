"""Augmentation keeps what it must keep (cxr_helpers/augment.py)."""

import torch
import torch.nn.functional as functional

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


def test_a_grid_that_ends_at_the_outer_pixels_continues_the_border():
    images, grid = torch.rand(2, 1, 7, 5), torch.rand(2, 7, 5, 2) * 4 - 2
    border = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    zeros = functional.grid_sample(images, augment.within(grid, images), align_corners=False)
    torch.testing.assert_close(zeros, border)
    assert not torch.allclose(functional.grid_sample(images, grid, align_corners=False), border)
