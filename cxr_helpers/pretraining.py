"""Every label of the file before the pair: a start learned from all its training images (notebook
04; of one's own: notebook 05).

A file of many labels, as ChestMNIST, holds far more images than those of the two classes. Networks
that learned all fourteen labels tell the pair apart better than ours, which see the pair alone
(from the predictions that INQUIRELAB/casp-chestmnist published). Only the train split is used,
without the images that the pair is judged on.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cxr_helpers import recipe, training
from cxr_helpers import weights as weight_code
from cxr_helpers.data import Dataset, grey, to_tensor
from cxr_helpers.engine import npz, runs
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Outcome
from cxr_helpers.engine.runtime import bar
from cxr_helpers.recipe import TrainConfig
from cxr_helpers.setup import Setup
from cxr_helpers.weights import Weights

# over all images of the file: of ChestMNIST ten times the steps that the pair's ten epochs take
EPOCHS = 3
CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


@dataclass(frozen=True)
class Wider:
    """images (N, H, W) uint8 and labels (N, K) uint8 of the file's train split; left_out: how many
    of its images are not here.
    """

    images: np.ndarray
    labels: np.ndarray
    left_out: int

    def about(self) -> dict[str, int]:
        """n, labels and left_out as numbers, and epochs, how long a network is trained on them."""
        return {
            "n": len(self.images),
            "labels": self.labels.shape[1],
            "left_out": self.left_out,
            "epochs": EPOCHS,
        }


@dataclass(frozen=True)
class Pretrained:
    """What pre-training left: `start()` begins another training, as that of an experiment's result
    (Study.train, start=).

    about: that of Wider, losses (mean training loss of each epoch) and seconds.
    """

    weights: Weights
    about: dict

    def start(self) -> Weights:
        return self.weights


def wider(study: Setup) -> Wider | None:
    """Every image of the file's train split with all its labels; None where the file has one label
    an image, is the phantom (which draws the two classes alone), or is too large to be read whole.

    Left out are images that equal one of the pair's validation or test images pixel by pixel, and
    those of a patient who is known to be among these.
    """
    source, data = study.data.source, study.data
    if not source.many_labels or source.kind == "phantom":
        return None
    if npz.is_large(npz.headers(source.path)["train_images"][0]):
        return None
    with npz.one_line(source.path), np.load(source.path, allow_pickle=False) as arrays:
        images = grey(arrays["train_images"])
        labels = arrays["train_labels"] if source.flag else npz.own_labels(source.path)[2]["train"]
    kept = np.ones(len(images), bool)
    judged = {image.tobytes() for part in (data.val, data.test) for image in part.images}
    kept[[image.tobytes() in judged for image in images]] = False
    if data.train.patients is not None:
        others = np.concatenate([data.val.patients, data.test.patients])
        kept[data.train.rows[np.isin(data.train.patients, others)]] = False
    return Wider(images[kept], labels[kept].astype(np.uint8), int((~kept).sum()))


def pretrain(study: Setup, config: TrainConfig | None = None) -> Pretrained:
    """Train the network of `config` (default: the recipe) on all labels of the study's file, or
    read it from the run store.

    One logit a label, mean binary cross-entropy, EPOCHS epochs with the recipe's batch, optimizer
    and learning rate; goes on from its last whole epoch. Afterwards the last layer is drawn anew
    for the pair. Raises InputError where `wider` gives None, or the network has no linear last
    layer.
    """
    config, found = config or study.config(), wider(study)
    if found is None:
        raise InputError(
            "Prapelatihan memerlukan berkas dengan banyak label setiap citra, "
            "misalnya DATA=chestmnist SIZE=28."
        )
    what = hashlib.sha256(np.ascontiguousarray(found.images))
    what.update(np.ascontiguousarray(found.labels))
    identity = training.identity(config, study.used, study.weights, study.device)
    identity |= {"pretraining": [EPOCHS, what.hexdigest(), CODE]}
    given = (config, found, study.used, study.weights, study.device)
    run = runs.get(runs.Task(identity, given, study.used.fingerprint), fit)
    state = run.weights("last")
    note = "Dilatih lebih dahulu dengan semua label citra latih berkas yang sama."
    return Pretrained(
        Weights("run", "Prapelatihan dengan semua label", note, state, weight_code.digest(state)),
        found.about()
        | {"losses": run.history["train_loss"].tolist(), "seconds": run.info["seconds"]},
    )


def _last_layer(network: nn.Module) -> tuple[nn.Module, str]:
    """The last linear layer as (the module that holds it, its name there)."""
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not names:
        raise InputError(
            "Prapelatihan memerlukan jaringan dengan lapisan linear terakhir: "
            "pilih resnet18 atau jaringan lain."
        )
    parent, _, last = names[-1].rpartition(".")
    return network.get_submodule(parent), last


def fit(
    config: TrainConfig,
    found: Wider,
    data: Dataset,
    weights: Weights,
    device: torch.device,
    resume: dict | None = None,
    checkpoint: Callable[[int, dict], None] = lambda epoch, state: None,
    **_,
) -> Outcome:
    """As training.fit, on all labels: the state after EPOCHS epochs, with the pair's own last
    layer, and the mean loss of each epoch.
    """
    network = training.network_of(config, data, weights, device, {})
    holder, name = _last_layer(network)
    own = getattr(holder, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        setattr(holder, name, nn.Linear(own.in_features, found.labels.shape[1]).to(device))
    optimizer, history = recipe.optimizer(config, network, device, {}), []
    if resume:
        network.load_state_dict(resume["network"])
        optimizer.load_state_dict(resume["optimizer"])
        history = list(resume["history"])
    began, per_epoch = time.perf_counter(), -(-len(found.images) // config.batch_size)
    title, done = f"Prapelatihan, seed {config.seed}", len(history) * per_epoch
    with bar(EPOCHS * per_epoch, title, initial=done) as progress:
        for epoch in range(len(history), EPOCHS):
            loss = _epoch(network, optimizer, config, found, device, epoch, progress.update)
            history.append({"epoch": epoch + 1, "train_loss": loss})
            parts = {"network": network, "optimizer": optimizer}
            state = {key: part.state_dict() for key, part in parts.items()}
            checkpoint(epoch + 1, state | {"history": history})
    setattr(holder, name, own)
    last = {key: t.detach().cpu().contiguous().clone() for key, t in network.state_dict().items()}
    info = {"seconds": time.perf_counter() - began}
    return Outcome(history, {}, {"last": last}, info)


def _epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    found: Wider,
    device: torch.device,
    epoch: int,
    tick: Callable[[], object],
) -> float:
    """One pass over all images in an order of (seed, epoch) alone; the mean loss."""
    network.train()
    generator, total = torch.Generator().manual_seed(config.seed * 10_007 + epoch + 1), 0.0
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(config.seed * 10_007 + epoch + 1)
        for rows in torch.randperm(len(found.images), generator=generator).split(config.batch_size):
            x = to_tensor(found.images[rows.numpy()], device).contiguous(
                memory_format=torch.channels_last
            )
            y = torch.from_numpy(found.labels[rows.numpy()]).float().to(device)
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast(
                device.type, torch.bfloat16, enabled=config.precision == "bfloat16"
            ):
                output = network(x)
            loss = nn.functional.binary_cross_entropy_with_logits(output.float(), y)
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows)
            tick()
    return total / len(found.images)
