"""What weight adaptation preserves, measured on the images at hand (notebook 01): what the smaller
stem costs, how alike the adapted kernels answer, how far the stored BatchNorm statistics are off,
and whether a start is better than a random one.
"""

import copy
from dataclasses import replace
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet18

from cxr_helpers import evaluation, model, training
from cxr_helpers.data import Split, to_tensor
from cxr_helpers.model import Weights

STAGES = ("conv1", "maxpool", "layer1", "layer2", "layer3", "layer4", "fc")
# torchvision's normalisation of the RGB values in [0, 1] for IMAGENET1K_V1
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
COURSE = {"reduce": "mean", "resize": "bilinear", "scale": "none"}
LEAST_SQUARES = {"reduce": "sum", "resize": "pinv", "scale": "none"}
# The course's choice first; then one thing changed at a time, then the combinations that theory
# favours.
STRATEGIES = (
    COURSE,
    COURSE | {"reduce": "sum"},
    COURSE | {"reduce": "luminance"},
    COURSE | {"resize": "bilinear_antialias"},
    COURSE | {"resize": "bicubic"},
    COURSE | {"resize": "area"},
    COURSE | {"resize": "crop"},
    LEAST_SQUARES,
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "dc"},
    {"reduce": "sum", "resize": "bilinear_antialias", "scale": "norm"},
)


# --- what the smaller stem costs ------------------------------------------------------------------


@torch.no_grad()
def _describe(title: str, network: nn.Module, channels: int, size: int) -> dict:
    stages = {}

    def note(name: str, layer: nn.Module, given: tuple, output: Tensor) -> None:
        stages[name] = {"output": "×".join(map(str, output.shape[1:]))}

    for name in STAGES:
        network.get_submodule(name).register_forward_hook(partial(note, name))
    with FlopCounterMode(display=False) as counter:
        network.eval()(torch.zeros(1, channels, size, size))
    return {
        "title": title,
        "answers": network.fc.out_features,
        "parameters": sum(p.numel() for p in network.parameters()),
        "multiply_adds": counter.get_total_flops() // 2,
        "stages": stages,
    }


def describe_architectures(size: int = 28) -> list[dict]:
    """torchvision's own ResNet-18 (He et al. 2016), ours with and ours without the max-pool, run on
    an image of `size` pixels. A multiply-add is one multiplication with its addition.
    """
    pooled = model.course_resnet18(size)
    pooled.maxpool = nn.MaxPool2d(3, 2, 1)
    ours = model.course_resnet18(size)
    return [
        _describe("ResNet-18 asli (3 kanal)", resnet18(), 3, size),
        _describe("Adaptasi dengan max-pool", pooled, 1, size),
        _describe("Adaptasi mata kuliah (tanpa max-pool)", ours, 1, size),
    ]


def pooling(architectures: list[dict]) -> dict:
    """Whether the course's network has no max-pool at this size, and its work in units of that with
    one.
    """
    _, pooled, ours = architectures
    stages = ours["stages"]
    removed = stages["maxpool"]["output"] == stages["conv1"]["output"]
    return {"removed": removed, "work": ours["multiply_adds"] / pooled["multiply_adds"]}


# --- how alike the adapted kernels answer ---------------------------------------------------------


def _has_rgb_kernels(weights: Weights) -> bool:
    kernels = (weights.state or {}).get("conv1.weight")
    return kernels is not None and kernels.shape[1:] == (3, 7, 7)


def source_kernels(weights: Weights) -> tuple[Tensor, str]:
    """The RGB kernels (64, 3, 7, 7) that the notebook adapts, and what they are (Indonesian): of
    weights that have none, the Gabor bank.
    """
    if _has_rgb_kernels(weights):
        return weights.state["conv1.weight"], weights.title
    why = "karena bobot awal pelatihan tidak mempunyai kernel RGB 7×7"
    return model.gabor_bank(), f"Bank Gabor sebagai contoh, {why}"


@torch.no_grad()
def original_response(weight: Tensor, images: np.ndarray, enlarge: int = 2) -> Tensor:
    """Response (N, 64, H, W) of the original kernels, stride 2, to grey images (N, H, W) uint8,
    enlarged so that each pixel has one, in three channels and normalised as ImageNet's.
    """
    grey = torch.from_numpy(images).float().div(255).unsqueeze(1)
    large = F.interpolate(grey, scale_factor=enlarge, mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    seen = (large.expand(-1, 3, -1, -1) - mean) / std
    return F.conv2d(seen, weight, stride=2, padding=weight.shape[-1] // 2)


@torch.no_grad()
def adapted_response(weight: Tensor, images: np.ndarray, stride: int = 1) -> Tensor:
    """Response (N, 64, H, W) of adapted kernels (64, 1, k, k) to grey images (N, H, W) uint8."""
    return F.conv2d(to_tensor(images), weight, stride=stride, padding=weight.shape[-1] // 2)


def _agreement(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """(mean correlation over channels, relative error ‖a−b‖/‖b‖) of two responses (N, C, H, W),
    without the border pixel.
    """
    a, b = (r[..., 1:-1, 1:-1].transpose(0, 1).flatten(1) for r in (ours, theirs))
    a0, b0 = a - a.mean(1, keepdim=True), b - b.mean(1, keepdim=True)
    # A colour kernel does not answer a grey image: nothing to correlate with.
    varied = b0.norm(dim=1) > 1e-4 * b0.norm(dim=1).max()
    correlation = F.cosine_similarity(a0, b0)[varied].mean()
    return correlation.item(), ((a - b).norm() / b.norm()).item()


def compare_strategies(weight: Tensor, images: np.ndarray, kernel: int = 3) -> list[dict]:
    """How well the stem adapted by each of STRATEGIES answers images (N, H, W) uint8 as the
    original one (64, 3, 7, 7) does.

    error: relative, before and after BatchNorm (Ioffe & Szegedy 2015), which leaves the correlation
    alone; gain: ratio of the standard deviations, 1 is best.
    """
    same = kernel == weight.shape[-1]  # only the channels are reduced
    batch_norm = partial(F.batch_norm, running_mean=None, running_var=None, training=True)
    target = original_response(weight, images, 1 if same else 2)
    rows = []
    for strategy in [s for s in STRATEGIES if not same or s["resize"] == "bilinear"]:
        adapted = model.adapt_conv1(weight, kernel=kernel, **strategy)
        ours = adapted_response(adapted, images, 2 if same else 1)
        correlation, error = _agreement(ours, target)
        _, error_bn = _agreement(batch_norm(ours), batch_norm(target))
        gain = (ours.std((0, 2, 3)) / target.std((0, 2, 3)).clamp_min(1e-12)).median().item()
        measured = {"correlation": correlation, "error": error, "error_bn": error_bn, "gain": gain}
        rows.append(strategy | measured)
    return rows


# --- the statistics of batch normalisation --------------------------------------------------------


@torch.no_grad()
def batch_norm_drift(network: nn.Module, images: np.ndarray, batch: int = 64) -> list[dict]:
    """How far each BatchNorm's stored statistics are from those of images (N, H, W) uint8, in eval
    mode: of the means in stored standard deviations, and the ratio of the latter; medians over the
    channels.
    """
    norms = {n: layer for n, layer in network.named_modules() if isinstance(layer, nn.BatchNorm2d)}
    moments = dict.fromkeys(norms, 0.0)

    def add(name: str, layer: nn.BatchNorm2d, given: tuple) -> None:
        x = given[0].double()
        moments[name] += len(x) * torch.stack([x.mean((0, 2, 3)), (x**2).mean((0, 2, 3))])

    handles = [layer.register_forward_pre_hook(partial(add, n)) for n, layer in norms.items()]
    network.eval()
    for part in to_tensor(images).split(batch):
        network(part)
    for handle in handles:
        handle.remove()
    rows = []
    for name, layer in norms.items():
        mean, square = moments[name] / len(images)
        stored = (layer.running_var.double() + layer.eps).sqrt()
        shift = (mean - layer.running_mean).abs() / stored
        scale = (square - mean**2).clamp_min(0).sqrt() / stored
        rows.append({"layer": name, "shift": shift.median().item(), "scale": scale.median().item()})
    return rows


def reestimate_batch_norm(network: nn.Module, images: np.ndarray, batch: int = 64) -> nn.Module:
    """A copy in eval mode whose BatchNorm statistics are those of images (N, H, W) uint8, a plain
    mean over the batches; no label is needed (Li et al. 2017).
    """
    network = copy.deepcopy(network)
    update_bn(to_tensor(images).split(batch), network)
    return network.eval()


def probe_logits(network: nn.Module, train: Split, test: Split, seed: int = 0) -> np.ndarray:
    """Logits (N,) on `test` of a logistic regression on the network's features as they are."""
    backbone, _ = model.split_frozen(network, "head")
    seen, unseen = (
        model.features(backbone, to_tensor(part.images)).flatten(1).numpy()
        for part in (train, test)
    )
    regression = LogisticRegression(C=0.01, max_iter=2000, random_state=seed)
    classifier = make_pipeline(StandardScaler(), regression)
    return classifier.fit(seen, train.labels).decision_function(unseen)


def repair(weights: Weights, train: Split, val: Split, seed: int, size: int, **adapt: str) -> dict:
    """What re-estimating BatchNorm on the unlabelled training images repairs: the drift before, and
    the accuracy of `probe_logits` on validation before and after, image by image.
    """
    network = model.lay_out(model.build(weights, seed, size, **adapt), torch.device("cpu"))
    repaired = reestimate_batch_norm(network, train.images)
    logits = [probe_logits(each, train, val, seed) for each in (network, repaired)]
    before, after = evaluation.right(logits, val.labels)
    return {
        "drift": batch_norm_drift(network, train.images),
        "before": evaluation.share(before, val.patients),
        "after": evaluation.share(after, val.patients),
        "change": evaluation.change(after[None] - before[None], val.patients),
    }


# --- what a start is worth ------------------------------------------------------------------------


def starts(weights: Weights, kernel: int) -> list[tuple[str, Weights, dict]]:
    """(title, weights, strategy) of each start, the random one first. Where the kernels keep their
    7×7 pixels, only the sum is left of the second way.
    """
    random = ("Bobot acak", model.resolve_weights("random"), COURSE)
    rgb = _has_rgb_kernels(weights)
    if weights.state is not None and not rgb:
        return [random, (weights.title, weights, COURSE)]
    source = weights if rgb else model.resolve_weights("gabor")
    way = "jumlah" if kernel == 7 else "jumlah dan pseudo-inverse"
    return [
        random,
        (f"{source.title}, cara mata kuliah", source, COURSE),
        (f"{source.title}, {way}", source, LEAST_SQUARES),
    ]


def measure_starts(study) -> list[dict]:
    """The course's recipe from each of `starts`, over the preset's seeds (Raghu et al. 2019).

    first: validation accuracy after one epoch; test: metrics after the last epoch; difference: of
    each metric from the random start, on the same test images.
    """
    data, rows, random = study.used, [], None
    for title, weights, strategy in starts(study.weights, model.stem_kernel(data.source.size)):
        runs = _train(study, weights, strategy)
        first = evaluation.right([run.logits["val"][0] for run in runs], data.val.labels)
        logits = [run.open_test()["last"] for run in runs]
        test = evaluation.measured(logits, data.test.labels, data.test.patients)
        difference = None
        if random is None:
            random = test
        else:
            difference = {
                metric: evaluation.difference(test[metric], random[metric]).as_dict()
                for metric in test
            }
        rows.append(
            {
                "title": title,
                "kind": weights.kind,
                "seeds": [run.config.seed for run in runs],
                "n_train": len(data.train),
                "epochs": study.preset.epochs,
                "first": evaluation.estimate(
                    evaluation.of_images(first, data.val.patients), "share"
                ),
                "test": evaluation.metrics(logits, data.test.labels, data.test.patients),
                "difference": difference,
            }
        )
    return rows


def _train(study, weights: Weights, strategy: dict) -> list:
    config = study.config(adaptation=strategy)
    # The start that is the course's own: its runs are the baseline's, whose weights notebooks 02
    # and 03 ask for.
    keep = config == study.config() and weights.digest == study.weights.digest
    configs = [replace(config, seed=study.seed + i) for i in range(study.preset.seeds)]
    return [training.run(each, study.used, weights, study.device, keep) for each in configs]


def summarise_starts(starts: list[dict]) -> dict:
    """Titles of the starts that the interval of accuracy tells from the random one, whether the
    Gabor bank is among them, and whether that interval counts seeds or images alone.
    """
    others = starts[1:]
    sides = {s["title"]: evaluation.side(s["difference"]["acc"]["ci95"]) for s in others}
    return {
        "better": [title for title, side in sides.items() if side == "above"],
        "worse": [title for title, side in sides.items() if side == "below"],
        "gabor": any(s["kind"] == "gabor" for s in others),
        "counts_seeds": len(starts[0]["seeds"]) >= evaluation.LEAST_SEEDS,
    }
