"""Any torchvision classifier for one grey channel and one logit, random or as it was trained on
ImageNet (notebook 05).

Its first convolution takes one channel, and for images of at most 32 pixels gives up its stride and
the pooling behind it, as in model.py; a layer that cuts the image into patches (ConvNeXt, ViT)
stays as it is. Its last linear layer gives one logit. A vision transformer is made for the size
that it gets (Dosovitskiy et al. 2021).
"""

import difflib
import os
import re
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from cxr_helpers.engine import ownfiles, sources
from cxr_helpers.engine.errors import InputError
from cxr_helpers.weights import Weights, adapt_conv1, digest

POOLS = (nn.MaxPool2d, nn.AvgPool2d)
SMALL_IMAGE = 32  # pixels; up to here the stem keeps the resolution


def known() -> list[str]:
    """Names of torchvision's image classifiers."""
    return models.list_models(module=models)


def check(name: str) -> None:
    """Raises InputError, with the nearest known names, unless torchvision has a classifier of this
    name.
    """
    if name not in known():
        near = difflib.get_close_matches(str(name), known(), n=3) or [
            "resnet34",
            "densenet121",
            "mobilenet_v3_small",
        ]
        raise InputError(
            f"architecture={name!r} tidak dikenal: pilih resnet18, resnet18_layer2, small_cnn, "
            f"atau jaringan torchvision, misalnya {', '.join(near)}."
        )


def classifier(
    name: str, size: int, dropout: float = 0.0, adaptation: dict[str, str] | None = None
) -> nn.Module:
    """The torchvision network `name`, randomly initialised, for (N, 1, size, size) → (N, 1).

    dropout: before the last layer; adaptation: how the first convolution's three channels become
    one (adapt_conv1). Raises InputError for an unknown name, and for a network that cannot be made
    for this size or read it.
    """
    check(name)
    options = {"image_size": size} if name.startswith("vit_") else {}
    options |= (
        {"init_weights": True, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    )
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
        f"architecture={name!r} tidak dapat {what} citra {size} piksel ({said}): "
        "perbesar masukannya, misalnya resize=64 atau resize=224."
    )


def _replace(network: nn.Module, name: str, new: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, new)


def _first(network: nn.Module) -> tuple[str, nn.Conv2d]:
    return next(
        (name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Conv2d)
    )


def _last(network: nn.Module) -> tuple[str, nn.Module]:
    """The last linear layer, or where there is none (SqueezeNet) the last 1×1 convolution."""
    layers = list(network.named_modules())
    linear = [(name, layer) for name, layer in layers if isinstance(layer, nn.Linear)]
    return (linear or [(name, layer) for name, layer in layers if isinstance(layer, nn.Conv2d)])[-1]


def _one_channel(network: nn.Module, size: int, adaptation: dict[str, str]) -> None:
    """Replace the first convolution, and for small images the pooling that follows before any other
    convolution.
    """
    layers = [
        (name, layer)
        for name, layer in network.named_modules()
        if isinstance(layer, (nn.Conv2d, *POOLS))
    ]
    name, conv = _first(network)
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
    name, last = _last(network)
    new = (
        nn.Linear(last.in_features, 1)
        if isinstance(last, nn.Linear)
        else nn.Conv2d(last.in_channels, 1, 1)
    )
    _replace(network, name, new)
    if dropout > 0:
        drop_before(new, dropout)


def drop_before(layer: nn.Module, rate: float) -> None:
    """Dropout of a layer's input, by a hook: the layer keeps its name, so weights with and without
    dropout are one format.
    """
    layer.register_forward_pre_hook(
        lambda layer, given: (F.dropout(given[0], rate, layer.training),)
    )


def resized(network: nn.Module, size: int) -> nn.Module:
    """The network with its input enlarged to size × size (bilinear); its tensors keep their
    names.
    """

    def enlarge(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return (F.interpolate(given[0], size=(size, size), mode="bilinear", align_corners=False),)

    network.register_forward_pre_hook(enlarge)
    return network


# --- weights from ImageNet ------------------------------------------------------------------------


def published(name: str, given: str, folder: Path) -> Weights:
    """Weights of the torchvision network `name`: given "imagenet", torchvision's own, else the path
    of a file of that network.

    The official file is looked for in `folder`, recognised by the digits of its SHA-256 in its
    name, and fetched where it is missing. Raises InputError with one line: no such file, another
    network's, a download that fails.
    """
    check(name)
    path, title = Path(os.path.expanduser(given)), f"Bobot {name} dari {Path(given).name}"
    if given == "imagenet":
        official = models.get_model_weights(name).DEFAULT
        remote = sources.Remote(
            official.url, "sha256:" + re.search(r"-([0-9a-f]{8,})\.pth$", official.url)[1]
        )
        path, title = folder / Path(official.url).name, f"Bobot ImageNet {name} ({official.name})"
        if not path.exists():
            path = sources.fetch(remote, path)
        elif sources.recognise(remote, [path]) is None:
            raise InputError(
                f"{path} bukan berkas resminya (SHA-256-nya berbeda) atau rusak: "
                "hapus berkas itu, lalu ulangi."
            )
    options = (
        {"aux_logits": False, "init_weights": False}
        if name in ("googlenet", "inception_v3")
        else {}
    )
    state = ownfiles.read_checkpoint(path, models.get_model(name, weights=None, **options)).state
    return Weights(
        "published",
        title,
        "Lapisan pertama diadaptasi ke satu kanal; lapisan klasifikasi baru.",
        state,
        digest(state),
    )


def fill(network: nn.Module, weights: Weights, adaptation: dict[str, str]) -> None:
    """Load `published` weights into a network of `classifier`: its first convolution adapted
    (adapt_conv1), its head left new.

    A vision transformer's positions are interpolated to its size (Dosovitskiy et al. 2021, sec.
    3.2). Raises InputError where they are another network's.
    """
    own, state = network.state_dict(), weights.state
    if hasattr(network, "image_size") and "encoder.pos_embedding" in state:
        state = interpolate_embeddings(network.image_size, network.patch_size, dict(state))
    conv, head = f"{_first(network)[0]}.weight", f"{_last(network)[0]}."
    wanted = {
        key: value
        for key, value in own.items()
        if not key.startswith(head) and not key.endswith("num_batches_tracked")
    }
    if conv in state and state[conv].ndim == 4:
        state = {**state, conv: adapt_conv1(state[conv], 1, wanted[conv].shape[-1], **adaptation)}
    wrong = [
        key for key, value in wanted.items() if key not in state or state[key].shape != value.shape
    ]
    if wrong:
        raise InputError(
            f"{weights.title} bukan milik jaringan ini: {wrong[0]} tidak ada atau bentuknya lain."
        )
    network.load_state_dict({**own, **{key: state[key] for key in wanted}}, strict=True)
