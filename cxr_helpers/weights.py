"""First-layer kernels adapted to one grey channel, and reading weights safely (notebook 01).

ResNet-18: He et al. 2016. The network's own definition stands in model.py; adaptation.py measures
what adaptation preserves. Why reading is not as simple as torch.load: a .pth file is a pickle,
which can run code; engine/ownfiles.py takes only tensors from it, and finds the network in it by
its names.
"""

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet18_Weights, resnet18

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
