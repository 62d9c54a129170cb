"""Any torchvision classifier for one grey channel and one logit (notebook 05).

Its first convolution takes one channel, and for images of at most 32 pixels gives up its stride and the pooling behind it, as in
model.py; a layer that cuts the image into patches (ConvNeXt, ViT) stays as it is. Its last linear layer gives one logit. A vision
transformer is made for the size that it gets (Dosovitskiy et al. 2021).
"""

import difflib

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models

from cxr_helpers.engine.errors import InputError
from cxr_helpers.weights import adapt_conv1

POOLS = (nn.MaxPool2d, nn.AvgPool2d)
SMALL_IMAGE = 32  # pixels; up to here the stem keeps the resolution


def known() -> list[str]:
    """Names of torchvision's image classifiers."""
    return models.list_models(module=models)


def check(name: str) -> None:
    """Raises InputError, with the nearest known names, unless torchvision has a classifier of this name."""
    if name not in known():
        near = difflib.get_close_matches(str(name), known(), n=3) or ["resnet34", "densenet121", "mobilenet_v3_small"]
        raise InputError(
            f"architecture={name!r} tidak dikenal: pilih resnet18, resnet18_layer2, small_cnn, atau jaringan torchvision, "
            f"misalnya {', '.join(near)}."
        )


def classifier(name: str, size: int, dropout: float = 0.0, adaptation: dict[str, str] | None = None) -> nn.Module:
    """The torchvision network `name`, randomly initialised, for (N, 1, size, size) → (N, 1).

    dropout: before the last layer; adaptation: how the first convolution's three channels become one (adapt_conv1). Raises
    InputError for an unknown name, and for a network that cannot be made for this size or read it.
    """
    check(name)
    options = {"image_size": size} if name.startswith("vit_") else {}
    options |= {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    try:
        network = models.get_model(name, weights=None, **options)
    except (ValueError, AssertionError, RuntimeError) as error:
        raise _too_small(name, "dibuat untuk", size, error) from None
    _one_channel(network, size, adaptation or {})
    _one_logit(network, dropout)
    try:
        with torch.no_grad():
            network.eval()(torch.zeros(1, 1, size, size))
    except RuntimeError as error:
        raise _too_small(name, "membaca", size, error) from None
    return network.train()


def _too_small(name: str, what: str, size: int, error: Exception) -> InputError:
    said = (str(error).splitlines() or [type(error).__name__])[0][:120]
    return InputError(
        f"architecture={name!r} tidak dapat {what} citra {size} piksel ({said}): perbesar masukannya, misalnya resize=64 atau "
        "resize=224."
    )


def _replace(network: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, new)


def _one_channel(network: nn.Module, size: int, adaptation: dict[str, str]) -> None:
    """Replace the first convolution, and for small images the pooling that follows before any other convolution."""
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, (nn.Conv2d, *POOLS))]
    name, conv = next((name, layer) for name, layer in layers if isinstance(layer, nn.Conv2d))
    kernel, stride, padding = conv.kernel_size[0], conv.stride, conv.padding
    patches = conv.stride == conv.kernel_size and kernel > 1
    if size <= SMALL_IMAGE and not patches and kernel > 3:
        kernel, padding = 3, 1
    if size <= SMALL_IMAGE and not patches:
        stride = 1
        after = layers[[n for n, _ in layers].index(name) + 1]
        if isinstance(after[1], POOLS):
            _replace(network, after[0], nn.Identity())
    new = nn.Conv2d(1, conv.out_channels, kernel, stride, padding, bias=conv.bias is not None)
    with torch.no_grad():
        new.weight.copy_(adapt_conv1(conv.weight, 1, kernel, **adaptation))
        if conv.bias is not None:
            new.bias.copy_(conv.bias)
    _replace(network, name, new)


def _one_logit(network: nn.Module, dropout: float) -> None:
    """Replace the last linear layer, or where there is none (SqueezeNet) the last 1×1 convolution."""
    layers = list(network.named_modules())
    linear = [(name, layer) for name, layer in layers if isinstance(layer, nn.Linear)]
    name, last = (linear or [(name, layer) for name, layer in layers if isinstance(layer, nn.Conv2d)])[-1]
    new = nn.Linear(last.in_features, 1) if linear else nn.Conv2d(last.in_channels, 1, 1)
    _replace(network, name, new)
    if dropout > 0:
        drop_before(new, dropout)


def drop_before(layer: nn.Module, rate: float) -> None:
    """Dropout of a layer's input, by a hook: the layer keeps its name, so weights with and without dropout are one format."""
    layer.register_forward_pre_hook(lambda layer, given: (F.dropout(given[0], rate, layer.training),))


def resized(network: nn.Module, size: int) -> nn.Module:
    """The network with its input enlarged to size × size (bilinear); its tensors keep their names."""

    def enlarge(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (F.interpolate(given[0], size=(size, size), mode="bilinear", align_corners=False),)

    network.register_forward_pre_hook(enlarge)
    return network
