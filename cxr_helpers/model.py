"""The networks: ResNet-18 for one-channel images, a small CNN, others; all of it trained, or a part
(notebooks 01, 02 and 05).

ResNet-18: He et al. 2016, table 1. Stock stem: conv1 64×3×7×7, stride 2, padding 3, then a 3×3
max-pool of stride 2. For images of at most 32 pixels: conv1 64×1×3×3, stride 1, padding 1, no bias,
and no max-pool, as for CIFAR in He et al. 2016, section 4.2.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from cxr_helpers import architectures
from cxr_helpers.architectures import SMALL_IMAGE
from cxr_helpers.engine.errors import InputError
from cxr_helpers.weights import Weights, fit_state

OURS = ("resnet18", "resnet18_layer2", "small_cnn")
TRAINABLE = {"all": None, "layer4+head": ("layer4", "fc"), "head": ("fc",)}


# --- the network ----------------------------------------------------------------------------------


def stem_kernel(size: int) -> int:
    """Side of the first layer's kernels for images of `size` pixels."""
    return 3 if size <= SMALL_IMAGE else 7


class PlainOnCPU(nn.Sequential):
    """layer4, which on a CPU takes its images in the plain (NCHW) layout: see `lay_out`."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous() if x.device.type == "cpu" else x)


def course_resnet18(
    size: int = 28, channels: int = 1, dropout: float = 0.0, architecture: str = "resnet18"
) -> nn.Module:
    """ResNet-18 with the stem that `size` asks for and one logit: (N, channels, size, size) → (N,
    1). Randomly initialised.

    "resnet18_layer2" ends after layer2 (0.7 million parameters instead of 11.2).
    """
    network = resnet18(num_classes=1)
    if size <= SMALL_IMAGE:
        network.conv1 = nn.Conv2d(channels, 64, 3, stride=1, padding=1, bias=False)
        network.maxpool = nn.Identity()
    else:
        network.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    if architecture == "resnet18_layer2":
        network.layer3, network.layer4, network.fc = nn.Identity(), nn.Identity(), nn.Linear(128, 1)
    else:
        network.layer4 = PlainOnCPU(*network.layer4)
    if dropout > 0:
        architectures.drop_before(network.fc, dropout)
    return network


def small_cnn(channels: int = 1, dropout: float = 0.0) -> nn.Module:
    """A plain small network: three 3×3 convolutions with BatchNorm, ReLU and pooling, global
    average, one logit (94 thousand parameters).
    """
    layers: list[tuple[str, nn.Module]] = []
    for i, (before, after) in enumerate(((channels, 32), (32, 64), (64, 128)), start=1):
        layers += [
            (f"conv{i}", nn.Conv2d(before, after, 3, padding=1, bias=False)),
            (f"bn{i}", nn.BatchNorm2d(after)),
            (f"relu{i}", nn.ReLU(inplace=True)),
            (f"pool{i}", nn.MaxPool2d(2) if i < 3 else nn.AdaptiveAvgPool2d(1)),
        ]
    layers += [
        ("flatten", nn.Flatten()),
        ("dropout", nn.Dropout(dropout)),
        ("fc", nn.Linear(128, 1)),
    ]
    return nn.Sequential(OrderedDict(layers))


def check_architecture(name: str) -> None:
    """Raises InputError unless `name` is one of OURS or of torchvision's classifiers."""
    if name not in OURS:
        architectures.check(name)


def build(
    weights: Weights,
    seed: int,
    size: int = 28,
    dropout: float = 0.0,
    architecture: str = "resnet18",
    enlarge: int | None = None,
    **adapt: str,
) -> nn.Module:
    """The network at its start: drawn from `seed` (the global random state is left alone), then
    filled from `weights`.

    size: of the images; enlarge: to which the network enlarges them. `adapt` goes to adapt_conv1.
    Weights of kind "run" or "published" must be those of this very network; others are ResNet-18's,
    and any other network stays random.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture == "small_cnn":
            network = small_cnn(dropout=dropout)
        elif architecture in OURS:
            network = course_resnet18(enlarge or size, dropout=dropout, architecture=architecture)
        else:
            network = architectures.classifier(architecture, enlarge or size, dropout, adapt)
    if weights.kind == "run":
        fill(network, weights)
    elif weights.kind == "published":
        architectures.fill(network, weights, adapt)
    elif weights.state is not None and architecture in OURS and architecture != "small_cnn":
        # The course's head is new whatever the weights were trained for.
        fitting = fit_state(
            weights.state, network, reset_head=True, partial=weights.partial, **adapt
        )
        network.load_state_dict({**network.state_dict(), **fitting}, strict=True)
    return architectures.resized(network, enlarge) if enlarge else network


def fill(network: nn.Module, weights: Weights) -> None:
    """Load the weights of another run of the same network. Raises InputError where it is another
    network.
    """
    try:
        network.load_state_dict(weights.state, strict=True)
    except RuntimeError:
        raise InputError(
            f"{weights.title} berasal dari jaringan lain: "
            "latihlah jaringan yang sama untuk keduanya."
        ) from None


# --- training it, or a part of it -----------------------------------------------------------------


def lay_out(network: nn.Module, device: torch.device) -> nn.Module:
    """Move the network to `device` in the memory layout that trains fastest there
    (bench/training_speed.py).

    Only rounding changes. That is channels_last, but on a CPU layer4 stays in the plain layout: its
    images have shrunk to 4×4 while its kernels hold three quarters of all weights, and torch
    reorders the gradient of a channels_last kernel twice in every step.
    """
    network = network.to(device, memory_format=torch.channels_last)
    for part in network.modules():
        if isinstance(part, PlainOnCPU) and device.type == "cpu":
            part.to(memory_format=torch.contiguous_format)
    return network


def stages(network: nn.Module) -> list[nn.Module]:
    """The children of a network that hold parameters, the head first."""
    return [
        child
        for child in reversed(list(network.children()))
        if next(child.parameters(), None) is not None
    ] or [network]


def freeze(network: nn.Module, trainable: str) -> None:
    """Leave only the named part trainable ("all", "layer4+head", "head"). Raises InputError where
    the network lacks that part.
    """
    parts, children = TRAINABLE[trainable], dict(network.named_children())
    if parts is None:
        return
    if not {*parts} <= {*children}:
        raise InputError(
            f"trainable={trainable!r} memerlukan {' dan '.join(parts)}, "
            "yang tidak ada pada jaringan ini."
        )
    hold(network, [child for name, child in children.items() if name not in parts])


def open_stages(network: nn.Module, n: int) -> None:
    """Leave only the first n of `stages` trainable."""
    network.requires_grad_(True)
    hold(network, stages(network)[n:])


def hold(network: nn.Module, frozen: list[nn.Module]) -> None:
    """Train nothing in these children. Frozen BatchNorm keeps its statistics in train mode too."""
    for child in frozen:
        child.requires_grad_(False)

    def keep_frozen_in_eval(mode: bool = True) -> nn.Module:
        nn.Module.train(network, mode)
        for child in frozen:
            child.eval()
        return network

    network.train = keep_frozen_in_eval


def split_frozen(network: nn.Module, trainable: str) -> tuple[nn.Module, nn.Module]:
    """(frozen part, trained part) of a frozen ResNet-18; one after the other they are the network.
    They share its tensors.
    """
    cut = {"layer4+head": "layer4", "head": "fc"}[trainable]
    children = [(name, child) for name, child in network.named_children() if name != "fc"]
    at = [name for name, _ in children].index(cut) if cut != "fc" else len(children)
    tail = OrderedDict([*children[at:], ("flatten", nn.Flatten()), ("fc", network.fc)])
    return nn.Sequential(OrderedDict(children[:at])), nn.Sequential(tail)


@torch.no_grad()
def features(frozen: nn.Module, images: Tensor, batch: int = 256) -> Tensor:
    """The frozen part's output for every image (N, …), in eval mode."""
    frozen.eval()
    return torch.cat([frozen(part) for part in images.split(batch)])
