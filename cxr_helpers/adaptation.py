"""What weight adaptation preserves, measured on the images at hand, and the architectures side by side (notebook 01)."""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import resnet18

from cxr_helpers.data import to_tensor
from cxr_helpers.model import adapt_conv1, course_resnet18

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # torchvision's normalisation of the RGB values in [0, 1] for IMAGENET1K_V1
IMAGENET_STD = (0.229, 0.224, 0.225)
STAGES = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "fc")
# The course's choice first; then one thing changed at a time, then the combinations that theory favours.
STRATEGIES = (
    {"reduce": "mean", "resize": "bilinear", "scale": "none"},
    {"reduce": "sum", "resize": "bilinear", "scale": "none"},
    {"reduce": "luminance", "resize": "bilinear", "scale": "none"},
    {"reduce": "mean", "resize": "bilinear_antialias", "scale": "none"},
    {"reduce": "mean", "resize": "bicubic", "scale": "none"},
    {"reduce": "mean", "resize": "area", "scale": "none"},
    {"reduce": "mean", "resize": "crop", "scale": "none"},
    {"reduce": "sum", "resize": "pinv", "scale": "none"},
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "dc"},
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "norm"},
)


# --- architecture ---------------------------------------------------------------------------------------------------


def _trace(network: nn.Module, channels: int, size: int) -> dict[str, tuple[int, str]]:
    """{stage: (multiply-adds, output shape as text)} of one image, by hooks on the real modules."""
    work: dict[nn.Module, int] = {}
    shapes: dict[str, str] = {}

    def count(module: nn.Module, args: tuple, output: Tensor) -> None:
        fan_in = module.weight[0].numel()
        work[module] = fan_in * output[0].numel()

    def note(name: str):
        def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
            shapes[name] = "×".join(map(str, output.shape[1:]))

        return hook

    handles = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    handles += [getattr(network, name).register_forward_hook(note(name)) for name in STAGES]
    with torch.no_grad():
        network.eval()(torch.zeros(1, channels, size, size))
    for handle in handles:
        handle.remove()
    return {name: (sum(work.get(m, 0) for m in getattr(network, name).modules()), shapes[name]) for name in STAGES}


def describe_architectures(size: int = 28) -> list[dict]:
    """Three networks for an image of `size` pixels: torchvision's own, ours with and ours without the max-pool.

    Each: title, parameters, multiply_adds (one image), stages: {name: {"parameters", "multiply_adds", "output"}}. Nothing is typed in:
    hooks count on the real modules. A multiply-add is one multiplication with its addition in a convolution or linear layer.
    """
    pooled = course_resnet18(size)
    pooled.maxpool = nn.MaxPool2d(3, 2, 1)
    networks = (
        ("ResNet-18 asli (3 kanal)", resnet18(), 3),
        ("Adaptasi dengan max-pool", pooled, 1),
        ("Adaptasi mata kuliah (tanpa max-pool)", course_resnet18(size), 1),
    )
    described = []
    for title, network, channels in networks:
        stages = {}
        for name, (work, shape) in _trace(network, channels, size).items():
            own = sum(p.numel() for p in getattr(network, name).parameters())
            stages[name] = {"parameters": own, "multiply_adds": work, "output": shape}
        described.append(
            {
                "title": title,
                "parameters": sum(p.numel() for p in network.parameters()),
                "multiply_adds": sum(stage["multiply_adds"] for stage in stages.values()),
                "stages": stages,
            }
        )
    return described


# --- preservation ---------------------------------------------------------------------------------------------------


@torch.no_grad()
def original_response(weight: Tensor, images: np.ndarray, enlarge: int = 2) -> Tensor:
    """Response (N, 64, H, W) of the original 7×7, stride-2 kernels to the same content brought to their input.

    Each grey image (N, H, W) uint8 is enlarged (bilinear), copied to three channels and normalised as ImageNet's images were,
    with enlarge=2 a stride of 2 gives one response for each pixel of the small image; enlarge=1 leaves the image as it is.
    """
    grey = torch.from_numpy(images).float().div(255).unsqueeze(1)
    large = F.interpolate(grey, scale_factor=enlarge, mode="bilinear", align_corners=False).expand(-1, 3, -1, -1)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return F.conv2d((large - mean) / std, weight, stride=2, padding=weight.shape[-1] // 2)


@torch.no_grad()
def adapted_response(weight: Tensor, images: np.ndarray, stride: int = 1) -> Tensor:
    """Response (N, 64, H, W) of adapted kernels (64, 1, k, k) to grey images (N, H, W) uint8, normalised as in the course."""
    return F.conv2d(to_tensor(images), weight, stride=stride, padding=weight.shape[-1] // 2)


def _batch_norm(response: Tensor) -> Tensor:
    """BatchNorm with batch statistics, as in training, and without its affine part: each channel to mean 0, variance 1."""
    return F.batch_norm(response, None, None, training=True)


def _agreement(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """(mean correlation over channels, relative error ‖a−b‖/‖b‖) of two responses (N, C, H, W); the border pixel is left out."""
    a, b = (r[..., 1:-1, 1:-1].transpose(0, 1).flatten(1) for r in (ours, theirs))
    a0, b0 = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    correlation = (a0 * b0).sum(1) / (a0.norm(dim=1) * b0.norm(dim=1)).clamp_min(1e-12)
    return correlation.mean().item(), ((a - b).norm() / b.norm()).item()


def compare_strategies(weight: Tensor, images: np.ndarray, kernel: int = 3) -> pd.DataFrame:
    """One row a strategy of STRATEGIES: how well the adapted stem answers as the original stem does, on these images.

    weight: (64, 3, 7, 7); images: (N, H, W) uint8. Columns: reduce, resize, scale, correlation (mean over the channels, unchanged by
    BatchNorm, which moves and scales each channel only), error (relative, before BatchNorm), error_bn (after it), gain (ratio of the
    responses' standard deviations, 1 is best).
    """
    same = kernel == weight.shape[-1]  # the stem of larger images keeps kernel and stride: only the channels are reduced
    target = original_response(weight, images, 1 if same else 2)
    rows = []
    for strategy in [s for s in STRATEGIES if not same or s["resize"] == "bilinear"]:
        ours = adapted_response(adapt_conv1(weight, kernel=kernel, **strategy), images, 2 if same else 1)
        correlation, error = _agreement(ours, target)
        _, error_bn = _agreement(_batch_norm(ours), _batch_norm(target))
        gain = (ours.std((0, 2, 3)) / target.std((0, 2, 3)).clamp_min(1e-12)).median().item()
        rows.append({**strategy, "correlation": correlation, "error": error, "error_bn": error_bn, "gain": gain})
    return pd.DataFrame(rows)
