"""The networks: ResNet-18 for one-channel images, a small CNN, others; all of it trained, or a part
(notebooks 01, 02 and 05).

ResNet-18: He et al. 2016, table 1. Stock stem: conv1 64×3×7×7, stride 2, padding 3, then a 3×3
max-pool of stride 2. For images of at most 32 pixels: conv1 64×1×3×3, stride 1, padding 1, no bias,
and no max-pool, as for CIFAR in He et al. 2016, section 4.2.
"""

import difflib
import hashlib
import math
import os
import re
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision import models
from torchvision.models import ResNet18_Weights, resnet18
from torchvision.models.vision_transformer import interpolate_embeddings

from cxr_helpers.data import LUMINANCE
from cxr_helpers.engine import ownfiles, sources
from cxr_helpers.engine.errors import InputError

REDUCTIONS = ("mean", "sum", "luminance")
RESIZES = ("bilinear", "bilinear_antialias", "bicubic", "area", "crop", "pinv")
SCALES = ("none", "dc", "norm")
# torchvision's IMAGENET1K_V1 and its digest, as the official file's name begins it and projects
# that pin the file publish it.
IMAGENET = sources.Remote(
    ResNet18_Weights.IMAGENET1K_V1.url,
    "sha256:f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
)
# sizes worth a digest when it is looked for under another name
IMAGENET_BYTES = range(46_000_000, 48_000_000)
STAGES = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "fc")


# --- weight adaptation ----------------------------------------------------------------------------


def interpolation_matrix(source: int, target: int) -> Tensor:
    """(target, source): bilinear resize of a line of `source` points, without antialiasing, as a
    matrix (notebook 01).
    """
    lines = torch.eye(source, dtype=torch.float64).unsqueeze(1)
    return F.interpolate(lines, size=target, mode="linear", align_corners=False)[:, 0].T


def _resize(weight: Tensor, kernel: int, method: str) -> Tensor:
    source = weight.shape[-1]
    if source == kernel:
        return weight.clone()
    if method == "crop":
        if kernel > source or (source - kernel) % 2:
            raise InputError(
                f"resize='crop' tidak dapat mengambil kernel {kernel}×{kernel} "
                f"dari tengah kernel {source}×{source}."
            )
        margin = (source - kernel) // 2
        return weight[..., margin : margin + kernel, margin : margin + kernel].clone()
    if method == "area":
        return F.adaptive_avg_pool2d(weight, kernel)
    if method == "pinv":
        # FlexiViT (Beyer et al. 2023, eq. 4): the small kernel whose dot product with a resized
        # patch is nearest to that of the large kernel with the patch; B enlarges nothing here but
        # shrinks patches, so w' = pinv(B)ᵀ w on either axis.
        inverse = torch.linalg.pinv(interpolation_matrix(source, kernel))  # (source, kernel)
        return torch.einsum("oiyx,ya,xb->oiab", weight.double(), inverse, inverse).to(weight.dtype)
    mode = "bicubic" if method == "bicubic" else "bilinear"
    return F.interpolate(
        weight,
        size=(kernel, kernel),
        mode=mode,
        align_corners=False,
        antialias=method == "bilinear_antialias",
    )


def adapt_conv1(
    weight: Tensor,
    channels: int = 1,
    kernel: int = 3,
    reduce: str = "mean",
    resize: str = "bilinear",
    scale: str = "none",
) -> Tensor:
    """Adapt first-layer kernels (O, I, K, K) to (O, channels, kernel, kernel); the defaults are the
    course's (notebook 01).

    reduce: "mean" (the course), "sum" (keeps the response to a grey image copied to every channel)
    or "luminance" (ITU-R BT.601, three channels only). With channels > 1 the reduced kernel is
    shared equally among them: equal channels give its response. resize: "bilinear" (the course:
    torch's bilinear without antialiasing, which reads only some of the taps), "bilinear_antialias",
    "bicubic", "area", "crop" (the centre) or "pinv" (least squares, Beyer et al. 2023). scale:
    "none" (the course), "dc" (each kernel keeps its sum, that is its response to a constant image)
    or "norm" (each kernel keeps its L2 norm). dc leaves a kernel alone whose resized sum is nearly
    zero. Raises InputError on an unknown choice or a weight of another shape.
    """
    for name, value, known in (
        ("reduce", reduce, REDUCTIONS),
        ("resize", resize, RESIZES),
        ("scale", scale, SCALES),
    ):
        if value not in known:
            raise InputError(f"{name}={value!r} tidak dikenal: pilih {', '.join(known)}.")
    if weight.ndim != 4 or weight.shape[2] != weight.shape[3]:
        raise InputError(
            f"Bobot conv1 berbentuk {tuple(weight.shape)}; "
            "yang diperlukan (keluaran, masukan, K, K)."
        )
    if reduce == "luminance":
        if weight.shape[1] != 3:
            raise InputError(
                "reduce='luminance' memerlukan 3 kanal, "
                f"sedangkan bobotnya {weight.shape[1]} kanal."
            )
        reduced = torch.einsum(
            "ocyx,c->oyx", weight, weight.new_tensor(LUMINANCE) / 1000
        ).unsqueeze(1)
    else:
        reduced = getattr(weight, reduce)(dim=1, keepdim=True)
    small = _resize(reduced, kernel, resize)
    if scale == "dc":
        before, after = reduced.sum((1, 2, 3), keepdim=True), small.sum((1, 2, 3), keepdim=True)
        usable = after.abs() > 1e-6 * small.abs().sum((1, 2, 3), keepdim=True)
        small = torch.where(usable, small * before / torch.where(usable, after, 1.0), small)
    elif scale == "norm":
        small = (
            small
            * reduced.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
            / small.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1)
        )
    return small.expand(-1, channels, -1, -1) / channels


def gabor_bank() -> Tensor:
    """(64, 3, 7, 7) oriented filters by formula, shaped like a trained first layer: no download
    needed (notebook 01).

    48 are grey: Gabor functions (Daugman 1985, eq. 1 on a square grid) of 8 orientations,
    wavelengths of 3, 4.5 and 7 pixels, even and odd; 16 weigh the colours against each other
    (red–green, blue–yellow) over 8 orientations, as trained first layers do (Krizhevsky et al.
    2012, fig. 3). Each has zero mean in every channel pair that it compares and the norm that He et
    al. 2015 draw on average for this layer.
    """
    y, x = torch.meshgrid(torch.arange(-3.0, 4.0), torch.arange(-3.0, 4.0), indexing="ij")
    angles = [math.pi * i / 8 for i in range(8)]

    def gabor(angle: float, wavelength: float, phase: float) -> Tensor:
        along = x * math.cos(angle) + y * math.sin(angle)
        envelope = torch.exp(-(x**2 + y**2) / (2 * (0.5 * wavelength) ** 2))
        wave = envelope * torch.cos(2 * math.pi * along / wavelength + phase)
        return wave - envelope * wave.sum() / envelope.sum()  # no answer to a flat image

    grey = [
        gabor(a, w, p).expand(3, -1, -1)
        for w in (3.0, 4.5, 7.0)
        for a in angles
        for p in (0.0, math.pi / 2)
    ]
    opponents = torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])
    colour = [c.view(3, 1, 1) * gabor(a, 7.0, math.pi / 2) for c in opponents for a in angles]
    bank = torch.stack([*grey, *colour])
    # torchvision draws with variance 2 / (output channels × taps)
    norm = math.sqrt(2 / (64 * 49)) * math.sqrt(3 * 49)
    return bank * (norm / bank.flatten(1).norm(dim=1)).view(-1, 1, 1, 1)


# --- weights --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """Initial weights (notebook 01).

    kind: "imagenet", "gabor", "random", "file", "run" (those of an earlier training) or "published"
    (architectures.py); title, note: Indonesian, for the cover; digest: for the run's key. state: a
    ResNet-18 state dict with any head (it is replaced; of "run" and "published" that network's), or
    None for random initialisation. partial: what `state` lacks stays random.
    """

    kind: str
    title: str
    note: str
    state: dict[str, Tensor] | None
    digest: str
    partial: bool = False


def digest(state: dict[str, Tensor]) -> str:
    """16 hexadecimal digits of SHA-256 over the names and values of a state dict."""
    summary = hashlib.sha256()
    for name in sorted(state):
        summary.update(name.encode())
        summary.update(
            state[name].detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        )
    return summary.hexdigest()[:16]


def _imagenet(folder: Path, timeout: float, retries: int) -> dict[str, Tensor]:
    """IMAGENET from `folder` (under any name), from torch's own cache, or fetched into `folder`.

    Raises DownloadError if it can't be had, InputError if what bears its name is something else.
    """
    name = Path(IMAGENET.url).name
    kept, cached = folder / name, Path(torch.hub.get_dir()) / "checkpoints" / name
    others = [
        path
        for path in sorted(folder.glob("[!.]*"))
        if path.is_file() and path.stat().st_size in IMAGENET_BYTES
    ]
    path = next((path for path in (kept, cached) if path.exists()), None) or sources.recognise(
        IMAGENET, others
    )
    if path is None:
        path = sources.fetch(IMAGENET, kept, timeout, retries)
    elif sources.recognise(IMAGENET, [path]) is None:
        raise InputError(
            f"Salinan bobot ImageNet di {path} rusak "
            "atau bukan berkas resminya (SHA-256-nya berbeda): hapus berkas itu, lalu ulangi, "
            f"atau berikan WEIGHTS={path} bila memang berkas itu yang Anda maksud."
        )
    return ownfiles.read_checkpoint(path, resnet18()).state


def _from_file(path: Path) -> Weights:
    """A person's own checkpoint. Raises InputError that lists what differs where it is not
    ResNet-18.
    """
    network = resnet18()
    found = ownfiles.read_checkpoint(path, network)
    try:
        # what does not fit is said now, not after the first notebook
        fit_state(found.state, network, reset_head=True)
    except InputError as error:
        raise InputError(f"WEIGHTS={path}: {error}") from None
    note = "Berkas dari pengguna; lapisan klasifikasi diganti."
    if found.below:
        note += f" Jaringannya tersimpan di bawah {found.below}."
    if found.unused:
        more = ", …" if len(found.unused) > 3 else ""
        note += (
            f" {len(found.unused)} tensor di luar ResNet-18 tidak dipakai "
            f"({', '.join(found.unused[:3])}{more})."
        )
    return Weights("file", f"Bobot dari {path.name}", note, found.state, digest(found.state))


def resolve_weights(
    weights: str = "auto", folder: Path = Path("data"), timeout: float = 10.0
) -> Weights:
    """auto (ImageNet if it can be had, else random with a note that says so), imagenet, gabor,
    random, or a file's path.

    What a start means, and what it is worth: notebook 01. folder: where the ImageNet file is kept.
    timeout: seconds a server may be silent; auto asks once, for at most AUTO_TIMEOUT, imagenet
    three times. Raises InputError with one line: a word that
    is no choice, a file that is damaged or does not fit, no ImageNet where it was asked for.
    """
    if weights == "gabor":
        state = {"conv1.weight": gabor_bank()}
        note = (
            "Lapisan pertama berisi saringan berarah yang dihitung dengan rumus; "
            "lapisan lainnya acak."
        )
        return Weights("gabor", "Bank Gabor", note, state, digest(state), partial=True)
    if weights == "random":
        return Weights(
            "random", "Bobot acak", "Jaringan belum pernah melihat citra apa pun.", None, "random"
        )
    if weights in ("auto", "imagenet"):
        auto = weights == "auto"
        patience = (min(timeout, sources.AUTO_TIMEOUT), 0) if auto else (timeout, 2)
        try:
            state = _imagenet(folder, *patience)
        except sources.DownloadError as error:
            if not auto:
                raise
            note = (
                f"Bobot ImageNet tidak dapat diunduh ({error.reason}), "
                "maka pelatihan mulai dari bobot acak."
            )
            return Weights("random", "Bobot acak", note, None, "random")
        note = (
            "Dari torchvision, dilatih pada ImageNet-1K; lapisan pertama diadaptasi ke satu kanal."
        )
        return Weights("imagenet", "Bobot ImageNet (IMAGENET1K_V1)", note, state, digest(state))
    path = Path(os.path.expanduser(weights))
    if not (os.path.exists(path) or os.sep in weights or path.suffix.lower() in ownfiles.ENDINGS):
        known = ", ".join(ownfiles.ENDINGS)
        raise InputError(
            f"WEIGHTS={weights} tidak dikenal: "
            f"pilih auto, imagenet, gabor, random, atau berkas bobot ({known})."
        )
    return _from_file(path)


def fit_state(
    state: dict[str, Tensor],
    network: nn.Module,
    reset_head: bool = False,
    partial: bool = False,
    **adapt: str,
) -> dict[str, Tensor]:
    """The tensors of `state` that `network` needs; conv1 is adapted (`adapt` goes to adapt_conv1)
    if its shape differs.

    reset_head: a head of another shape, or none, is left out, so that the network keeps its own;
    else it does not fit. partial: tensors may be missing. Raises InputError that lists every tensor
    that is missing, of another shape or unknown. Tensors of stages that a truncated network lacks
    are not needed (notebook 01).
    """
    wanted, given = network.state_dict(), dict(state)
    conv1, place = given.get("conv1.weight"), wanted["conv1.weight"].shape
    if (
        conv1 is not None
        and conv1.shape != place
        and conv1.ndim == 4
        and conv1.shape[2] == conv1.shape[3]
    ):
        given["conv1.weight"] = adapt_conv1(conv1, *place[1:3], **adapt)
    fitting, wrong = {}, []
    for name, tensor in wanted.items():
        if (
            name.startswith("fc.")
            and reset_head
            and (name not in given or given[name].shape != tensor.shape)
        ):
            continue
        if name not in given:
            if not partial and not name.endswith("num_batches_tracked"):
                wrong.append(f"{name} tidak ada")
        elif given[name].shape != tensor.shape:
            wrong.append(f"{name} {tuple(given[name].shape)} seharusnya {tuple(tensor.shape)}")
        else:
            fitting[name] = given[name]
    # the stages that a truncated network lacks
    cut = {*STAGES} - {name.split(".")[0] for name in wanted}
    spare = cut | ({"fc"} if reset_head else set())
    foreign = [name for name in given if name not in wanted and name.split(".")[0] not in spare]
    if wrong or foreign:
        said = wrong[:4] + [
            f"{name} {tuple(given[name].shape)} tidak dikenal" for name in foreign[:4]
        ]
        left = len(wrong) + len(foreign) - len(said)
        more = f", dan {left} lagi" if left else ""
        raise InputError(f"Bobot itu tidak cocok dengan ResNet-18: {'; '.join(said)}{more}.")
    return fitting


POOLS = (nn.MaxPool2d, nn.AvgPool2d)
SMALL_IMAGE = 32  # pixels; up to here the stem keeps the resolution


def torchvision_networks() -> list[str]:
    """Names of torchvision's image classifiers."""
    return models.list_models(module=models)


def check_torchvision(name: str) -> None:
    """Raises InputError, with the nearest known names, unless torchvision has a classifier of this
    name.
    """
    if name not in torchvision_networks():
        near = difflib.get_close_matches(str(name), torchvision_networks(), n=3) or [
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
    check_torchvision(name)
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
    check_torchvision(name)
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


def fill_published(network: nn.Module, weights: Weights, adaptation: dict[str, str]) -> None:
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
        drop_before(network.fc, dropout)
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
        check_torchvision(name)


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
            network = classifier(architecture, enlarge or size, dropout, adapt)
    if weights.kind == "run":
        fill(network, weights)
    elif weights.kind == "published":
        fill_published(network, weights, adapt)
    elif weights.state is not None and architecture in OURS and architecture != "small_cnn":
        # The course's head is new whatever the weights were trained for.
        fitting = fit_state(
            weights.state, network, reset_head=True, partial=weights.partial, **adapt
        )
        network.load_state_dict({**network.state_dict(), **fitting}, strict=True)
    return resized(network, enlarge) if enlarge else network


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
