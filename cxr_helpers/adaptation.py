"""What weight adaptation preserves, measured on the images at hand, and the architectures side by
side (notebook 01).

Notebook 01 asks four things in this order: what the smaller stem costs (ResNet-18: He et al. 2016),
how alike the adapted kernels answer (least squares: Beyer et al. 2023), how far the stored
BatchNorm statistics are off and what re-estimating them repairs (AdaBN: Li et al. 2017), and
whether a start is better than a random one. The adaptation itself stands in weights.py.
"""

import copy
import dataclasses

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from cxr_helpers import evaluation, training
from cxr_helpers.data import Split, to_tensor
from cxr_helpers.model import (
    STAGES,
    Weights,
    adapt_conv1,
    build,
    course_resnet18,
    gabor_bank,
    lay_out,
    resolve_weights,
    split_frozen,
    stem_kernel,
)
from cxr_helpers.model import features as frozen_features

# torchvision's normalisation of the RGB values in [0, 1] for IMAGENET1K_V1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
COURSE = {"reduce": "mean", "resize": "bilinear", "scale": "none"}
LEAST_SQUARES = {"reduce": "sum", "resize": "pinv", "scale": "none"}
# The course's choice first; then one thing changed at a time, then the combinations that theory
# favours.
STRATEGIES = (
    COURSE,
    {"reduce": "sum", "resize": "bilinear", "scale": "none"},
    {"reduce": "luminance", "resize": "bilinear", "scale": "none"},
    {"reduce": "mean", "resize": "bilinear_antialias", "scale": "none"},
    {"reduce": "mean", "resize": "bicubic", "scale": "none"},
    {"reduce": "mean", "resize": "area", "scale": "none"},
    {"reduce": "mean", "resize": "crop", "scale": "none"},
    LEAST_SQUARES,
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "dc"},
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "norm"},
)


def _has_rgb_kernels(weights: Weights) -> bool:
    given = None if weights.state is None else weights.state.get("conv1.weight")
    return given is not None and given.shape[1:] == (3, 7, 7)


def source_kernels(weights: Weights) -> tuple[Tensor, str]:
    """The RGB 7×7 kernels (64, 3, 7, 7) that the notebook adapts, and what they are (Indonesian,
    for captions).

    Where the weights have none (random, or a network of one's own with 3×3 kernels), the Gabor bank
    stands in, so that the arithmetic has something to show.
    """
    if _has_rgb_kernels(weights):
        return weights.state["conv1.weight"], weights.title
    return (
        gabor_bank(),
        "Bank Gabor sebagai contoh, karena bobot awal pelatihan tidak mempunyai kernel RGB 7×7",
    )


# --- architecture ---------------------------------------------------------------------------------


def _outputs(network: nn.Module, image: Tensor) -> dict[str, str]:
    """{stage: output shape as text}, channels first, of one image (1, C, H, W): "64×28×28"."""
    shapes: dict[str, str] = {}

    def note(name: str):
        def hook(module: nn.Module, args: tuple, output: Tensor) -> None:
            shapes[name] = "×".join(map(str, output.shape[1:]))

        return hook

    handles = [getattr(network, name).register_forward_hook(note(name)) for name in STAGES]
    network(image)
    for handle in handles:
        handle.remove()
    return shapes


def _multiply_adds(network: nn.Module, image: Tensor) -> dict[str, int]:
    """{stage: multiply-adds} of one image (1, C, H, W), as torch counts them: its FLOPs are two a
    multiply-add.
    """
    with FlopCounterMode(display=False) as counter:
        network(image)
    counts, whole = counter.get_flop_counts(), type(network).__name__
    return {name: sum(counts.get(f"{whole}.{name}", {}).values()) // 2 for name in STAGES}


@torch.no_grad()
def _describe(title: str, network: nn.Module, channels: int, size: int) -> dict:
    image = torch.zeros(1, channels, size, size)
    network.eval()
    outputs, work = _outputs(network, image), _multiply_adds(network, image)

    def parameters(part: nn.Module) -> int:
        return sum(p.numel() for p in part.parameters())

    return {
        "title": title,
        "answers": network.fc.out_features,
        "parameters": parameters(network),
        "multiply_adds": sum(work.values()),
        "stages": {
            name: {
                "parameters": parameters(getattr(network, name)),
                "multiply_adds": work[name],
                "output": outputs[name],
            }
            for name in STAGES
        },
    }


def describe_architectures(size: int = 28) -> list[dict]:
    """Three networks for an image of `size` pixels: torchvision's own (He et al. 2016), ours with
    and ours without the max-pool.

    One dict each, for notebook 01: title, answers (classes or logits), parameters, multiply_adds
    (one image), stages: {name: {"parameters", "multiply_adds", "output"}}. Nothing is typed in: the
    real networks are run. A multiply-add is one multiplication with its addition in a convolution
    or linear layer.
    """
    pooled = course_resnet18(size)
    pooled.maxpool = nn.MaxPool2d(3, 2, 1)
    return [
        _describe("ResNet-18 asli (3 kanal)", resnet18(), 3, size),
        _describe("Adaptasi dengan max-pool", pooled, 1, size),
        _describe("Adaptasi mata kuliah (tanpa max-pool)", course_resnet18(size), 1, size),
    ]


def pooling(architectures: list[dict]) -> dict:
    """What became of the max-pool in the course's network, from `describe_architectures` (notebook
    01).

    removed: whether the stage between conv1 and layer1 leaves the image as it is; work:
    multiply-adds in units of those with the max-pool.
    """
    _, pooled, ours = architectures
    return {
        "removed": ours["stages"]["maxpool"]["output"] == ours["stages"]["conv1"]["output"],
        "work": ours["multiply_adds"] / pooled["multiply_adds"],
    }


# --- preservation ---------------------------------------------------------------------------------


@torch.no_grad()
def original_response(weight: Tensor, images: np.ndarray, enlarge: int = 2) -> Tensor:
    """Response (N, 64, H, W) of the original 7×7, stride-2 kernels to the same content brought to
    their input.

    Each grey image (N, H, W) uint8 is enlarged (bilinear), copied to three channels and normalised
    as ImageNet's images were. With enlarge=2 a stride of 2 gives one response for each pixel of the
    small image; enlarge=1 leaves the image as it is (notebook 01).
    """
    grey = torch.from_numpy(images).float().div(255).unsqueeze(1)
    large = F.interpolate(grey, scale_factor=enlarge, mode="bilinear", align_corners=False).expand(
        -1, 3, -1, -1
    )
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return F.conv2d((large - mean) / std, weight, stride=2, padding=weight.shape[-1] // 2)


@torch.no_grad()
def adapted_response(weight: Tensor, images: np.ndarray, stride: int = 1) -> Tensor:
    """Response (N, 64, H, W) of adapted kernels (64, 1, k, k) to grey images (N, H, W) uint8
    (notebook 01).

    The images are normalised as in the course.
    """
    return F.conv2d(to_tensor(images), weight, stride=stride, padding=weight.shape[-1] // 2)


def _batch_norm(response: Tensor) -> Tensor:
    """BatchNorm with batch statistics, as in training, and without its affine part: each channel to
    mean 0, variance 1.
    """
    return F.batch_norm(response, None, None, training=True)


def _agreement(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """(mean correlation over channels, relative error ‖a−b‖/‖b‖) of two responses (N, C, H, W); the
    border pixel is left out.

    A channel whose target does not vary (a colour kernel on a grey image) has nothing to correlate
    with and does not count.
    """
    a, b = (r[..., 1:-1, 1:-1].transpose(0, 1).flatten(1) for r in (ours, theirs))
    a0, b0 = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    varied = b0.norm(dim=1) > 1e-4 * b0.norm(dim=1).max()
    correlation = (a0 * b0).sum(1) / (a0.norm(dim=1) * b0.norm(dim=1)).clamp_min(1e-12)
    return correlation[varied].mean().item(), ((a - b).norm() / b.norm()).item()


def keeps_size(weight: Tensor, kernel: int) -> bool:
    """Whether kernels of side `kernel` are as large as the original `weight` (64, 3, 7, 7), as in
    the stem of larger images.

    Notebook 01. Kernel and stride are the original's then and only the channels are reduced; else
    the image is enlarged for it.
    """
    return kernel == weight.shape[-1]


def compare_strategies(weight: Tensor, images: np.ndarray, kernel: int = 3) -> pd.DataFrame:
    """One row a strategy of STRATEGIES: how well the adapted stem answers as the original stem
    does, on these images.

    weight: (64, 3, 7, 7); images: (N, H, W) uint8. Columns: reduce, resize, scale, correlation
    (mean over the channels, unchanged by BatchNorm, which moves and scales each channel only),
    error (relative, before BatchNorm), error_bn (after it), gain (ratio of the responses' standard
    deviations, 1 is best). The table of notebook 01; BatchNorm: Ioffe & Szegedy 2015, pinv: Beyer
    et al. 2023.
    """
    same = keeps_size(weight, kernel)
    target = original_response(weight, images, 1 if same else 2)
    rows = []
    for strategy in [s for s in STRATEGIES if not same or s["resize"] == "bilinear"]:
        ours = adapted_response(
            adapt_conv1(weight, kernel=kernel, **strategy), images, 2 if same else 1
        )
        correlation, error = _agreement(ours, target)
        _, error_bn = _agreement(_batch_norm(ours), _batch_norm(target))
        gain = (ours.std((0, 2, 3)) / target.std((0, 2, 3)).clamp_min(1e-12)).median().item()
        rows.append(
            {
                **strategy,
                "correlation": correlation,
                "error": error,
                "error_bn": error_bn,
                "gain": gain,
            }
        )
    return pd.DataFrame(rows)


def best_strategy(strategies: pd.DataFrame) -> dict:
    """The row of `compare_strategies` whose correlation is highest, the first of equals (notebook
    01).
    """
    return max(strategies.to_dict("records"), key=lambda row: row["correlation"])


# --- the statistics of batch normalisation --------------------------------------------------------


def _norms(network: nn.Module) -> dict[str, nn.BatchNorm2d]:
    return {
        name: layer for name, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)
    }


@torch.no_grad()
def batch_norm_drift(network: nn.Module, images: np.ndarray, batch: int = 64) -> list[dict]:
    """How far each BatchNorm's stored statistics are from those of these images (N, H, W) uint8, in
    eval mode.

    One dict a layer, in order: layer, shift (median over the channels of |mean − stored mean| in
    stored standard deviations; 0 is none) and scale (median ratio of the standard deviations; 1 is
    none). A later layer also suffers from the drift of those before it (notebook 01; Li et al.
    2017).
    """
    parts, norms = to_tensor(images).split(batch), _norms(network)
    sums = {
        name: torch.zeros(2, layer.num_features, dtype=torch.float64)
        for name, layer in norms.items()
    }

    def note(name: str):
        def hook(layer: nn.BatchNorm2d, args: tuple) -> None:
            # Moments of a batch, added in double precision: all activations at once would take
            # gigabytes.
            variance, mean = (
                moment.double() for moment in torch.var_mean(args[0], (0, 2, 3), correction=0)
            )
            sums[name] += len(args[0]) * torch.stack([mean, variance + mean**2])

        return hook

    handles = [layer.register_forward_pre_hook(note(name)) for name, layer in norms.items()]
    network.eval()
    for part in parts:
        network(part)
    for handle in handles:
        handle.remove()
    found = []
    for name, layer in norms.items():
        mean, square = sums[name] / len(images)
        stored = (layer.running_var.double() + layer.eps).sqrt()
        shift, scale = (
            (mean - layer.running_mean).abs() / stored,
            (square - mean**2).clamp_min(0).sqrt() / stored,
        )
        found.append(
            {"layer": name, "shift": shift.median().item(), "scale": scale.median().item()}
        )
    return found


def reestimate_batch_norm(network: nn.Module, images: np.ndarray, batch: int = 64) -> nn.Module:
    """A copy in eval mode whose BatchNorm statistics are those of these images (N, H, W) uint8, a
    plain mean over the batches.

    No label is needed (AdaBN, Li et al. 2017; notebook 01).
    """
    network = copy.deepcopy(network)
    update_bn(to_tensor(images).split(batch), network)
    return network.eval()


def probe_logits(network: nn.Module, train: Split, test: Split, seed: int = 0) -> np.ndarray:
    """Logits (N,) on `test` of a logistic regression on the frozen features before fc.

    What the features are worth as they are, before any training of the network (notebooks 01 and
    03).
    """
    backbone, _ = split_frozen(network, "head")
    known, unknown = (
        frozen_features(backbone, to_tensor(part.images)).flatten(1).numpy()
        for part in (train, test)
    )
    classifier = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, max_iter=2000, random_state=seed)
    )
    return classifier.fit(known, train.labels).decision_function(unknown)


def probe(network: nn.Module, train: Split, test: Split, seed: int = 0) -> dict:
    """Accuracy of `probe_logits`: {"value", "ci95"}."""
    return evaluation.mean_accuracy(
        [probe_logits(network, train, test, seed)], test.labels, test.patients
    )


def repair(weights: Weights, train: Split, val: Split, seed: int, size: int, **adapt: str) -> dict:
    """What re-estimating BatchNorm on the unlabelled training images repairs: {"drift", "before",
    "after", "change"}.

    drift: `batch_norm_drift` of the adapted network before; before and after: {"value", "ci95"},
    accuracy of `probe_logits` on validation; change: after − before, paired by image, with its side
    of zero (notebook 01; Li et al. 2017).
    """
    network = lay_out(build(weights, seed, size, **adapt), torch.device("cpu"))
    before = [probe_logits(network, train, val, seed)]
    after = [probe_logits(reestimate_batch_norm(network, train.images), train, val, seed)]
    moved = evaluation.right(after, val.labels) - evaluation.right(before, val.labels)
    return {
        "drift": batch_norm_drift(network, train.images),
        "before": evaluation.mean_accuracy(before, val.labels, val.patients),
        "after": evaluation.mean_accuracy(after, val.labels, val.patients),
        "change": evaluation.paired_change(moved, val.labels, val.patients, hits=True),
    }


# --- what a start is worth ------------------------------------------------------------------------


def starts(weights: Weights, kernel: int) -> list[tuple[str, Weights, dict]]:
    """(title, weights, strategy) of each start; the first is random and the others are compared
    with it.

    Kernels of side `kernel` that are as large as the source's are not resized: of the second way
    only the sum is left.
    """
    random = ("Bobot acak", resolve_weights("random"), COURSE)
    if weights.state is not None and not _has_rgb_kernels(weights):
        return [random, (weights.title, weights, COURSE)]
    source = weights if _has_rgb_kernels(weights) else resolve_weights("gabor")
    resized = not keeps_size(source_kernels(source)[0], kernel)
    return [
        random,
        (f"{source.title}, cara mata kuliah", source, COURSE),
        (
            f"{source.title}, jumlah" + (" dan pseudo-inverse" if resized else ""),
            source,
            LEAST_SQUARES,
        ),
    ]


def measure_starts(study) -> list[dict]:
    """The course's recipe on study.used from each start, over the preset's seeds (read from the run
    store if it is there).

    One dict a start, random first: title, kind (of its weights), seeds, n_train, epochs, first
    (validation accuracy after one epoch: {"value", "ci95"}), test (metrics after the last epoch)
    and difference (paired with the random start on the same test images, None for itself). Notebook
    01; does ImageNet help medical images: Raghu et al. 2019.
    """
    data, preset = study.used, study.preset
    rows, baseline = [], None
    for title, weights, strategy in starts(study.weights, stem_kernel(data.source.size)):
        config = study.config(adaptation=dict(strategy))
        # The start that is the course's own: its runs are the baseline's, whose weights notebooks
        # 02 and 03 ask for.
        keep = config == study.config() and weights.digest == study.weights.digest
        configs = [dataclasses.replace(config, seed=study.seed + i) for i in range(preset.seeds)]
        fits = [
            training.run(one, data, weights, study.device, keep_weights=keep) for one in configs
        ]
        test = [fit.open_test()["last"] for fit in fits]
        first = [fit.logits["val"][0] for fit in fits]
        rows.append(
            {
                "title": title,
                "kind": weights.kind,
                "seeds": [fit.config.seed for fit in fits],
                "n_train": len(data.train),
                "epochs": preset.epochs,
                "first": evaluation.mean_over_seeds(
                    first, data.val.labels, patients=data.val.patients
                )["acc"],
                "test": evaluation.mean_over_seeds(
                    test, data.test.labels, patients=data.test.patients
                ),
                "difference": baseline
                and evaluation.paired_difference(
                    test, baseline, data.test.labels, patients=data.test.patients
                ),
            }
        )
        baseline = baseline or test
    return rows


def summarise_starts(starts: list[dict]) -> dict:
    """Titles of the starts of `measure_starts` that are better or worse than the first, random, in
    these trainings: {"better", "worse", "gabor", "counts_seeds"}.

    Better or worse: the 95% interval of the paired difference in accuracy is clear of zero.
    counts_seeds: whether that interval counts seeds (three or more) or images alone, which says
    nothing of another training. gabor: whether the Gabor bank is among them, which fills the first
    layer only (notebook 01).
    """
    others = starts[1:]
    sides = {s["title"]: evaluation.side(s["difference"]["acc"]["ci95"]) for s in others}
    return {
        "better": [title for title, side in sides.items() if side == "above"],
        "worse": [title for title, side in sides.items() if side == "below"],
        "gabor": any(s["kind"] == "gabor" for s in others),
        "counts_seeds": len(starts[0]["seeds"]) >= evaluation.FEWEST_SEEDS,
    }
