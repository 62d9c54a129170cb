"""The networks (notebooks 01, 02 and 05): a first layer for one channel, our own networks, those of
torchvision, where weights come from, and which part of a network is trained.
"""

import copy
import math
import os
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cxr_helpers.engine import ownfiles, sources
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.npz import LUMINANCE
from cxr_helpers.engine.runs import digest

# How the course made kernels for one channel: see adapt_conv1.
COURSE = {"reduce": "mean", "resize": "bilinear", "scale": "none"}
OURS = ("resnet18", "resnet18_layer2", "small_cnn")
SMALL_IMAGE = 32  # pixels; up to here the stem keeps the resolution
# the whole digest; of other networks' files torchvision tells the first digits, in the name
SHA256 = {"resnet18": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec"}


# --- a first layer for one channel ----------------------------------------------------------------


def interpolation_matrix(source: int, target: int) -> Tensor:
    """(target, source): bilinear resize of a line of points, without antialiasing, as a matrix."""
    lines = torch.eye(source, dtype=torch.float64).unsqueeze(1)
    return F.interpolate(lines, size=target, mode="linear", align_corners=False)[:, 0].T


def _luminance(weight: Tensor) -> Tensor:
    shares = weight.new_tensor(LUMINANCE) / 1000
    return torch.einsum("ocyx,c->oyx", weight, shares).unsqueeze(1)


def _least_squares(weight: Tensor, size: tuple[int, int]) -> Tensor:
    """The small kernels whose dot product with a resized patch is nearest to that of the large ones
    with the patch (FlexiViT: Beyer et al. 2023, eq. 4).
    """
    # B enlarges nothing here but shrinks patches, so w' = pinv(B)ᵀ w on either axis.
    inverse = torch.linalg.pinv(interpolation_matrix(weight.shape[-1], size[0]))
    return torch.einsum("oiyx,ya,xb->oiab", weight.double(), inverse, inverse).to(weight.dtype)


def _keep_sum(small: Tensor, large: Tensor) -> Tensor:
    before, after = (kernels.sum((1, 2, 3), keepdim=True) for kernels in (large, small))
    # A kernel whose sum is nearly zero, as that of an edge filter, is left alone.
    usable = after.abs() > 1e-6 * small.abs().sum((1, 2, 3), keepdim=True)
    return torch.where(usable, small * before / torch.where(usable, after, 1.0), small)


def _keep_norm(small: Tensor, large: Tensor) -> Tensor:
    before, after = (kernels.flatten(1).norm(dim=1) for kernels in (large, small))
    return small * before.view(-1, 1, 1, 1) / after.view(-1, 1, 1, 1).clamp_min(1e-12)


REDUCTIONS = {
    "mean": lambda weight: weight.mean(dim=1, keepdim=True),
    "sum": lambda weight: weight.sum(dim=1, keepdim=True),  # the answer to a grey image stays
    "luminance": _luminance,  # ITU-R BT.601
}
RESIZES = {
    "bilinear": partial(F.interpolate, mode="bilinear"),  # reads only some of the taps
    "bilinear_antialias": partial(F.interpolate, mode="bilinear", antialias=True),
    "bicubic": partial(F.interpolate, mode="bicubic"),
    "area": F.adaptive_avg_pool2d,
    "crop": lambda weight, size: F.pad(weight, 4 * [(size[0] - weight.shape[-1]) // 2]),
    "pinv": _least_squares,
}
SCALES = {
    "none": lambda small, large: small,
    "dc": _keep_sum,  # that is the response to a constant image
    "norm": _keep_norm,
}


def adapt_conv1(
    weight: Tensor,
    channels: int = 1,
    kernel: int = 3,
    reduce: str = "mean",
    resize: str = "bilinear",
    scale: str = "none",
) -> Tensor:
    """First-layer kernels (O, I, K, K) as (O, channels, kernel, kernel), by default as the course
    did. More channels share the reduced kernel equally: equal channels give its response. Raises
    InputError on an unknown way or a weight of another shape.
    """
    given = {"reduce": (reduce, REDUCTIONS), "resize": (resize, RESIZES), "scale": (scale, SCALES)}
    for name, (way, ways) in given.items():
        if way not in ways:
            raise InputError(f"{name}={way!r} tidak dikenal: pilih {', '.join(ways)}.")
    square = weight.ndim == 4 and weight.shape[2] == weight.shape[3]
    if not square or (reduce == "luminance" and weight.shape[1] != 3):
        raise InputError(
            f"Bobot conv1 berbentuk {tuple(weight.shape)}; yang diperlukan "
            "(keluaran, masukan, K, K), dan untuk reduce='luminance' 3 kanal masukan."
        )
    reduced = small = REDUCTIONS[reduce](weight)
    if kernel != weight.shape[-1]:
        small = RESIZES[resize](reduced, (kernel, kernel))
    return SCALES[scale](small, reduced).expand(-1, channels, -1, -1) / channels


# --- our networks ---------------------------------------------------------------------------------


def stem_kernel(size: int) -> int:
    """Side of the first layer's kernels for images of `size` pixels."""
    return 3 if size <= SMALL_IMAGE else 7


def course_resnet18(
    size: int = 28, dropout: float = 0.0, architecture: str = "resnet18"
) -> nn.Module:
    """ResNet-18 (He et al. 2016, table 1) for one channel, (N, 1, size, size) → (N, 1). Small
    images keep their resolution in the stem, as CIFAR's do in section 4.2. "resnet18_layer2" ends
    after layer2 (0.7 million parameters instead of 11.2).
    """
    from torchvision import models

    network = models.resnet18(num_classes=1)
    kernel, stride = stem_kernel(size), 1 if size <= SMALL_IMAGE else 2
    network.conv1 = nn.Conv2d(1, 64, kernel, stride, padding=kernel // 2, bias=False)
    if size <= SMALL_IMAGE:
        network.maxpool = nn.Identity()
    if architecture == "resnet18_layer2":
        network.layer3, network.layer4, network.fc = nn.Identity(), nn.Identity(), nn.Linear(128, 1)
    if dropout:
        drop_before(network.fc, dropout)
    return network


def small_cnn(dropout: float = 0.0) -> nn.Module:
    """A plain small network, (N, 1, H, W) → (N, 1), of 94 thousand parameters."""
    layers, channels = OrderedDict(), 1
    for i, width in enumerate((32, 64, 128), start=1):
        layers[f"conv{i}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers[f"bn{i}"] = nn.BatchNorm2d(width)
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
        layers[f"pool{i}"] = nn.MaxPool2d(2) if i < 3 else nn.AdaptiveAvgPool2d(1)
        channels = width
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = nn.Dropout(dropout)
    layers["fc"] = nn.Linear(channels, 1)
    return nn.Sequential(layers)


def drop_before(layer: nn.Module, rate: float) -> None:
    """Dropout of a layer's input, by a hook: weights with and without dropout are one format."""
    layer.register_forward_pre_hook(partial(_drop, rate))


def _drop(rate: float, layer: nn.Module, given: tuple) -> tuple[Tensor]:
    return (F.dropout(given[0], rate, layer.training),)


def change_input(change: Callable, layer: nn.Module, given: tuple) -> tuple[Tensor]:
    """A hook, by `partial`, of what a layer is given: unlike a lambda it is saved with it."""
    return (change(given[0]),)


def lay_out(network: nn.Module, device: torch.device) -> nn.Module:
    """Move to `device`, in the layout that trains fastest there (bench/training_speed.py)."""
    network = network.to(device, memory_format=torch.channels_last)
    last = getattr(network, "layer4", None)
    if device.type == "cpu" and isinstance(last, nn.Sequential):
        # ResNet's images have shrunk to 4×4 here while the kernels hold three quarters of all
        # weights, and torch reorders the gradient of a channels_last kernel twice in every step.
        last.to(memory_format=torch.contiguous_format)
        last.register_forward_pre_hook(partial(change_input, Tensor.contiguous))
    return network


# --- any classifier of torchvision ----------------------------------------------------------------


def is_of_torchvision(name: str) -> bool:
    """Whether it is one of torchvision's classifiers."""
    from torchvision import models  # late, as everything of torchvision: it takes seconds to import

    return name in models.list_models(module=models)


def classifier(name: str, size: int, dropout: float = 0.0, **adapt: str) -> nn.Module:
    """The torchvision network `name`, randomly initialised, for (N, 1, size, size) → (N, 1), with
    dropout before its last layer; `adapt`: of adapt_conv1. Raises InputError where the network
    cannot be made for this size or read it.
    """
    try:
        network = _stock(name, size)
        _take_one_channel(network, size, adapt)
        place = _last_layer(network)
        last = network.get_submodule(place)
        linear = isinstance(last, nn.Linear)
        new = nn.Linear(last.in_features, 1) if linear else nn.Conv2d(last.in_channels, 1, 1)
        network.set_submodule(place, new)
        if dropout:
            drop_before(new, dropout)
        with torch.no_grad():
            network.eval()(torch.zeros(1, 1, size, size))
    except (AssertionError, RuntimeError) as error:
        raise InputError(
            f"architecture={name!r} tidak dapat membaca citra {size} piksel ({str(error)[:120]}): "
            "perbesar masukannya, misalnya resize=64 atau resize=224."
        ) from None
    return network.train()


def _stock(name: str, size: int = 224, **options) -> nn.Module:
    """A network as torchvision makes it, randomly initialised, without Inception's side heads."""
    from torchvision import models

    if name.startswith("vit_"):
        options |= {"image_size": size}
    if name in ("googlenet", "inception_v3"):
        options |= {"init_weights": True, "aux_logits": False}
    return models.get_model(name, weights=None, **options)


def _names(network: nn.Module, kinds: type | tuple[type, ...]) -> list[str]:
    return [name for name, layer in network.named_modules() if isinstance(layer, kinds)]


def _last_layer(network: nn.Module) -> str:
    """The last linear layer, or where there is none (SqueezeNet) the last convolution."""
    return (_names(network, nn.Linear) or _names(network, nn.Conv2d))[-1]


def _take_one_channel(network: nn.Module, size: int, adapt: dict[str, str]) -> None:
    """Replace the first convolution; for small images a pooling right after it goes."""
    pools = (nn.MaxPool2d, nn.AvgPool2d)
    first, *others = _names(network, (nn.Conv2d, *pools))
    conv = network.get_submodule(first)
    kernel, stride, padding = conv.kernel_size[0], conv.stride, conv.padding
    patches = conv.stride == conv.kernel_size and kernel > 1
    if size <= SMALL_IMAGE and not patches:
        stride = 1
        if kernel > 3:
            kernel, padding = 3, 1
        if isinstance(network.get_submodule(others[0]), pools):
            network.set_submodule(others[0], nn.Identity())
    new = nn.Conv2d(1, conv.out_channels, kernel, stride, padding, bias=conv.bias is not None)
    with torch.no_grad():
        new.weight.copy_(adapt_conv1(conv.weight, kernel=kernel, **adapt))
        if conv.bias is not None:
            new.bias.copy_(conv.bias)
    network.set_submodule(first, new)


class Classifier(nn.Module):
    """A classifier of scikit-learn on pixels as a network without parameters, (N, 1, H, W) →
    (N, 1): its scores, above 0 for class 1, take the place of logits.
    """

    def __init__(self, classifier):
        super().__init__()
        self.classifier = copy.deepcopy(classifier)  # what was passed stays as it is

    def fit(self, images: Tensor, labels: Tensor) -> None:
        """Learn from images (N, 1, H, W) and labels (N,)."""
        self.classifier.fit(images.flatten(1).cpu().numpy(), labels.numpy())

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.flatten(1).cpu().numpy()
        if hasattr(self.classifier, "decision_function"):
            scores = torch.from_numpy(self.classifier.decision_function(pixels))
        else:  # log-odds
            scores = torch.from_numpy(self.classifier.predict_proba(pixels)[:, 1]).logit(eps=1e-6)
        return scores.float().unsqueeze(1).to(images.device)


# --- where weights come from ----------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """Initial weights. kind: "random", "gabor", "imagenet" or "file" (ResNet-18's), "published"
    (another torchvision network's) or "run" (an earlier training's, head included); title, note:
    Indonesian; state: None where everything is drawn; digest: for the run's key.
    """

    kind: str
    title: str
    note: str
    state: dict[str, Tensor] | None
    digest: str


def gabor_bank() -> Tensor:
    """(64, 3, 7, 7) oriented filters by formula, shaped like a trained first layer.

    48 are grey: Gabor functions (Daugman 1985, eq. 1 on a square grid) of 8 orientations, even and
    odd; 16 weigh the colours against each other (red–green, blue–yellow), as trained first layers
    do (Krizhevsky et al. 2012, fig. 3).
    """
    y, x = torch.meshgrid(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0), indexing="ij")
    angles, odd = [math.pi * i / 8 for i in range(8)], math.pi / 2

    def gabor(angle: float, wavelength: float, phase: float) -> Tensor:
        along = x * math.cos(angle) + y * math.sin(angle)
        envelope = torch.exp(-(x**2 + y**2) / (2 * (0.5 * wavelength) ** 2))
        wave = envelope * torch.cos(2 * math.pi * along / wavelength + phase)
        return wave - envelope * wave.sum() / envelope.sum()  # no answer to a flat image

    kernels = []
    for wavelength in (3.0, 4.5, 7.0):  # pixels
        for angle in angles:
            kernels += [gabor(angle, wavelength, phase).expand(3, -1, -1) for phase in (0.0, odd)]
    for colour in torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]]):
        kernels += [colour.view(3, 1, 1) * gabor(angle, 7.0, odd) for angle in angles]
    bank = torch.stack(kernels)
    # The norm that He et al. 2015 draw on average: variance 2 / (output channels × taps).
    norm = math.sqrt(2 / (64 * 49)) * math.sqrt(3 * 49)
    return bank * (norm / bank.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)


def resolve_weights(
    weights: str = "auto", folder: Path = Path("data"), architecture: str = "resnet18"
) -> Weights:
    """Of a torchvision network: imagenet (torchvision's own), auto (those if they can be had, else
    random with a note that says so), gabor, random, or the path of a file of that network. folder:
    where the official file is kept. Raises InputError, also where a file does not fit the network.
    """
    note = "Model belum pernah melihat citra apa pun."
    if weights == "gabor":
        return _gabor()
    if weights != "random":
        try:
            return _from_file(weights, folder, architecture)
        except sources.DownloadError as error:
            if weights == "imagenet":
                raise
            note = f"Bobot ImageNet tidak dapat diunduh ({error.reason}), maka dimulai dari acak."
    return Weights("random", "Bobot acak", note, None, "random")


def _gabor() -> Weights:
    state = {"conv1.weight": gabor_bank()}
    note = "Lapisan pertama berisi saringan berarah dari rumus; lapisan lainnya acak."
    return Weights("gabor", "Bank Gabor", note, state, digest(state))


def _from_file(weights: str, folder: Path, architecture: str) -> Weights:
    if weights in ("auto", "imagenet"):
        path = _official_file(architecture, folder, once=weights == "auto")
        kind, title = "imagenet", f"Bobot ImageNet ({architecture})"
        note = "Dari torchvision, dilatih pada ImageNet-1K."
    else:
        path = Path(os.path.expanduser(weights))
        kind, title, note = "file", f"Bobot dari {path.name}", "Berkas dari pengguna."
    network = _stock(architecture)
    state, unused = ownfiles.read_checkpoint(path, network)
    if unused:
        note += f" Tidak dipakai: {', '.join(unused[:3])}."
    kind = kind if architecture == "resnet18" else "published"
    read = Weights(kind, title, note, state, digest(state))
    fill(network, read)  # what does not fit is said now, not after the first notebook
    return read


def _official_file(architecture: str, folder: Path, once: bool) -> Path:
    """torchvision's best: from `folder` (any .pth), from torch's own cache, or fetched."""
    from torchvision import models

    url = models.get_model_weights(architecture).DEFAULT.url
    name, digits = Path(url).name, re.search(r"-([0-9a-f]{8,})\.pth$", url)[1]
    remote = sources.Remote(url, f"sha256:{SHA256.get(architecture, digits)}")
    places = [*sorted(folder.glob("*.pth")), Path(torch.hub.get_dir()) / "checkpoints" / name]
    path = sources.recognise(remote, [place for place in places if place.exists()])
    if path is None and (folder / name).exists():
        raise InputError(
            f"{folder / name} rusak atau bukan berkas resminya (SHA-256-nya berbeda): "
            "hapus atau ganti namanya, lalu ulangi."
        )
    patience = (sources.AUTO_TIMEOUT, 0) if once else ()
    return path or sources.fetch(remote, folder / name, *patience)


def fill(network: nn.Module, weights: Weights, **adapt: str) -> None:
    """Load weights: a run's as they are, others fitted. InputError for another network's."""
    state = weights.state
    if weights.kind == "gabor":
        state = network.state_dict() | state
    if weights.kind != "run":
        state = _fitted(state, network, adapt)
    ours, theirs = (
        {name: tensor.shape for name, tensor in states.items()}
        for states in (network.state_dict(), state)
    )
    if differ := [name for name in ours | theirs if ours.get(name) != theirs.get(name)]:
        what = f"{weights.title} berasal dari model lain, bukan {type(network).__name__}"
        raise InputError(f"{what} (yang berbeda: {', '.join(differ[:4])}): pakai bobotnya sendiri.")
    network.load_state_dict(state)


def _fitted(state: dict[str, Tensor], network: nn.Module, adapt: dict) -> dict[str, Tensor]:
    """A first convolution of another shape is adapted, a vision transformer's positions are
    interpolated to its size (Dosovitskiy et al. 2021, sec. 3.2), a head of another shape is the
    network's own, and stages that a truncated network lacks are left out.
    """
    own, state = network.state_dict(), dict(state)
    if hasattr(network, "image_size") and "encoder.pos_embedding" in state:
        from torchvision.models.vision_transformer import interpolate_embeddings

        state = interpolate_embeddings(network.image_size, network.patch_size, state)
    conv, head = f"{_names(network, nn.Conv2d)[0]}.weight", f"{_last_layer(network)}."
    if conv in state and state[conv].shape != own[conv].shape:
        state[conv] = adapt_conv1(state[conv], *own[conv].shape[1:3], **adapt)
    stages = {name.split(".")[0] for name in own}
    fitted = {name: own[name] for name in own if name.startswith(head) or "num_batches" in name}
    for name, tensor in state.items():
        same_shape = name in own and own[name].shape == tensor.shape
        if same_shape or (name.split(".")[0] in stages and not name.startswith(head)):
            fitted[name] = tensor
    return fitted


def build(
    weights: Weights,
    seed: int,
    size: int = 28,
    dropout: float = 0.0,
    architecture: str = "resnet18",
    **adapt: str,
) -> nn.Module:
    """The network at its start: drawn from `seed` (the global random state is left alone), then
    filled from `weights`; ResNet-18's leave any other network as drawn. `adapt`: of adapt_conv1.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if architecture == "small_cnn":
            network = small_cnn(dropout)
        elif architecture in OURS:
            network = course_resnet18(size, dropout, architecture)
        else:
            network = classifier(architecture, size, dropout, **adapt)
    belongs = architecture in OURS[:2] or weights.kind in ("published", "run")
    if weights.state is not None and belongs:
        fill(network, weights, **adapt)
    return network


# --- which part is trained ------------------------------------------------------------------------


def stages(network: nn.Module) -> list[nn.Module]:
    """The children of a network that hold parameters, the head first."""
    holders = [child for child in network.children() if list(child.parameters())]
    return holders[::-1] or [network]


def freeze(network: nn.Module, trainable: str) -> None:
    """Leave the named part alone trainable. Raises InputError where the network lacks it."""
    if trainable == "layer4+head" and getattr(network, "layer4", None) not in stages(network):
        raise InputError(
            "trainable='layer4+head' memerlukan layer4, yang tidak ada pada model ini: "
            "pakai trainable='head' atau 'all'."
        )
    open_stages(network, 1 if trainable == "head" else 2)


def open_stages(network: nn.Module, n: int) -> None:
    """Leave only the first n of `stages` trainable; frozen BatchNorm keeps its statistics."""
    frozen = stages(network)[n:]
    network.requires_grad_(True)
    for child in frozen:
        child.requires_grad_(False)

    def keep_frozen_in_eval(mode: bool = True) -> nn.Module:
        nn.Module.train(network, mode)
        for child in frozen:
            child.eval()
        return network

    network.train = keep_frozen_in_eval


def split_frozen(network: nn.Module, trainable: str) -> tuple[nn.Module, nn.Module]:
    """(all before the first trained child, the rest) of a network of ours, with its tensors."""
    children = list(network.named_children())
    first = {"layer4+head": "layer4", "head": "fc"}[trainable]
    at = [name for name, _ in children].index(first)
    before, rest = children[:at], children[at:]
    rest.insert(-1, ("flatten", nn.Flatten()))  # ResNet-18 does this in its forward
    return nn.Sequential(OrderedDict(before)), nn.Sequential(OrderedDict(rest))


def plain_numbers(network: nn.Module) -> dict[str, float]:
    """What its modules count in plain Python, by name: its state_dict, and so a file, lacks it."""
    return {
        f"{place}.{name}".strip("."): value
        for place, module in network.named_modules()
        for name, value in vars(module).items()
        if name != "training" and isinstance(value, int | float)
    }


@torch.no_grad()
def features(network: nn.Module, images: Tensor, batch: int = 256) -> Tensor:
    """What a network or a part of it gives for every image (N, …), in eval mode."""
    network.eval()
    return torch.cat([network(part) for part in images.split(batch)])
