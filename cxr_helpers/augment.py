"""Augmentation of whole batches on the device (notebook 04), as far as is plausible for a frontal
chest radiograph. A horizontal flip is apart, because it moves the heart to the other side.
"""

import inspect
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from cxr_helpers.engine.errors import InputError

ROTATION = 7.0  # degrees, either way
SHIFT = 0.07  # of the image's width: about 2 of 28 pixels
SCALE = 0.08  # relative
CONTRAST = 0.15  # relative, about the middle grey
BRIGHTNESS = 0.10  # of half the grey range


def _uniform(n: int, half_width: float, like: Tensor) -> Tensor:
    return (torch.rand(n, device=like.device) * 2 - 1) * half_width


def geometry(images: Tensor) -> Tensor:
    """Rotate, shift and scale each image of (N, 1, H, W) by a little; borders go on."""
    n, (height, width) = len(images), images.shape[2:]
    angle = _uniform(n, math.radians(ROTATION), images)
    zoom = 1 + _uniform(n, SCALE, images)
    matrix = torch.zeros(n, 2, 3, device=images.device)
    matrix[:, 0, 0] = matrix[:, 1, 1] = torch.cos(angle) * zoom
    matrix[:, 0, 1] = -torch.sin(angle) * zoom
    matrix[:, 1, 0] = torch.sin(angle) * zoom
    matrix[:, 0, 2] = _uniform(n, 2 * SHIFT, images)
    matrix[:, 1, 2] = _uniform(n, 2 * SHIFT, images)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    if images.device.type == "mps":
        # Older PyTorch has no border there: the grid ends at the centres of the outer pixels.
        outer = 1 - 1 / torch.tensor([width, height], dtype=grid.dtype, device=grid.device)
        grid = torch.minimum(torch.maximum(grid, -outer), outer)
        return F.grid_sample(images, grid, align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def exposure(images: Tensor) -> Tensor:
    """Change contrast and brightness of images (N, 1, H, W) in −1…1, clipped as a detector does."""
    n = len(images)
    gain = 1 + _uniform(n, CONTRAST, images).view(n, 1, 1, 1)
    offset = _uniform(n, BRIGHTNESS, images).view(n, 1, 1, 1)
    return (images * gain + offset).clamp(-1, 1)


def flip(images: Tensor) -> Tensor:
    """Mirror each image of (N, 1, H, W) left to right with probability one half."""
    mirrored = torch.rand(len(images), device=images.device) < 0.5
    return torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images)


TRANSFORMS = {"geometry": geometry, "exposure": exposure, "flip": flip}


def apply(images: Tensor, names: tuple[str, ...], only: Tensor | None = None) -> Tensor:
    """Apply the named transforms in order to images (N, 1, H, W), or to those in `only` (N,)."""
    changed = images
    for name in names:
        changed = TRANSFORMS[name](changed)
    return changed if only is None else torch.where(only.view(-1, 1, 1, 1), changed, images)


def apply_own(images: Tensor, labels: Tensor, steps: Sequence[Callable]) -> tuple[Tensor, Tensor]:
    """Apply steps of one's own in order to images (N, 1, H, W) with labels (N, 1): functions of the
    images, or of images and labels that give both back, or transforms of torchvision. InputError
    where one takes no tensor, or changes the shape or the kind of the numbers.
    """
    images, labels = images.clone(), labels.clone()  # a step may change them in place
    wanted = [(images.shape, images.dtype), (labels.shape, labels.dtype)]
    for step in steps:
        made = _apply_step(step, images, labels)
        whole = isinstance(made, tuple) and all(isinstance(part, Tensor) for part in made)
        if not whole or [(part.shape, part.dtype) for part in made] != wanted:
            raise InputError(
                f"Augmentasi {getattr(step, '__name__', type(step).__name__)} harus mengembalikan "
                f"tensor {tuple(images.shape)} {images.dtype} seperti masukannya, dan bila ia "
                "menerima label, labelnya juga: return citra, label."
            )
        images, labels = made
    return images, labels


def _of_library(step: Callable) -> bool:
    homes = [str(getattr(kind, "__module__", "")) for kind in (step, *type(step).__mro__)]
    return any(home.startswith(("torchvision.", "albumentations.", "PIL.")) for home in homes)


def prepare(step: Callable, images: Tensor) -> Tensor:
    """Images (N, 1, H, W) by a step of one's own; transforms of a library get one image after the
    other, so that each draws anew, in 0…1 as they expect it. Raises InputError.
    """
    if not _of_library(step):
        return step(images.clone())  # which it may change in place
    try:
        return torch.stack([step(image) for image in (images + 1) / 2])
    except (AttributeError, TypeError, ValueError, KeyError):
        name = getattr(step, "__name__", type(step).__name__)
        cure = "pakai torchvision.transforms.v2, atau tulis fungsi atas tensor (N, 1, H, W)"
        raise InputError(f"{name} bukan untuk tensor, mungkin untuk PIL: {cure}.") from None


def _apply_step(step: Callable, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    inner = getattr(step, "transforms", [step])
    if any(type(transform).__name__ in ("MixUp", "CutMix") for transform in inner):
        both = torch.cat([1 - labels, labels], dim=1)  # they mix the share of each class
        mixed, shares = step(images, both)
        return mixed, shares[:, 1:]
    if _of_library(step):
        return prepare(step, images) * 2 - 1, labels
    parameters = inspect.signature(step).parameters.values()
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    return step(images, labels) if len(needed) > 1 else (step(images), labels)


def preview(image: np.ndarray, names: tuple[str, ...], n: int, seed: int = 0) -> np.ndarray:
    """n versions (n, H, W) uint8 of an image (H, W) uint8 under the named transforms, to see."""
    copies = torch.from_numpy(image / 127.5 - 1).float().expand(n, 1, -1, -1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = apply(copies, names)
    return ((made.squeeze(1) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
