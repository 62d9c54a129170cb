"""Every label of the file before the pair: a start learned from all its training images (notebook
04; of one's own: notebook 05).

A file of many labels, as ChestMNIST, holds far more images than those of the two classes. Networks
that learned all fourteen labels tell the pair apart better than ours, which see the pair alone
(from the predictions that INQUIRELAB/casp-chestmnist published). Only the train split is used,
without the images that the pair is judged on.
"""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from cxr_helpers import recipe, training
from cxr_helpers import weights as weight_code
from cxr_helpers.data import Split, grey, to_tensor
from cxr_helpers.engine import files, largefile, ownfile, runs, sources
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.progress import bar
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
    if largefile.is_large(sources.headers(source.path)["train_images"][0]):
        return None
    with sources.one_line(source.path), np.load(source.path, allow_pickle=False) as arrays:
        images = grey(arrays["train_images"])
        labels = (
            arrays["train_labels"] if source.flag else ownfile.read_labels(source.path)[2]["train"]
        )
    kept = np.ones(len(images), bool)
    judged = {image.tobytes() for part in (data.val, data.test) for image in part.images}
    kept[[image.tobytes() in judged for image in images]] = False
    if data.train.patients is not None:
        others = np.concatenate([data.val.patients, data.test.patients])
        kept[data.train.rows[np.isin(data.train.patients, others)]] = False
    return Wider(images[kept], labels[kept].astype(np.uint8), int((~kept).sum()))


def as_pair(found: Wider) -> Split:
    """The images with one label, whether anything is found: what costs as much to train on."""
    return Split(
        found.images, (found.labels.any(axis=1)).astype(np.uint8), np.arange(len(found.images))
    )


def _folder(study: Setup, config: TrainConfig, found: Wider) -> Path:
    what = hashlib.sha256(
        np.ascontiguousarray(found.images).tobytes() + np.ascontiguousarray(found.labels).tobytes()
    )
    identity = runs.identity(config, study.used, study.weights, study.device)
    return files.runs_folder() / runs.run_key(
        identity | {"pretraining": [EPOCHS, what.hexdigest(), CODE]}
    )


def finished(study: Setup, config: TrainConfig, found: Wider) -> bool:
    """Whether the run store holds this pre-training."""
    return (_folder(study, config, found) / "about.json").exists()


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
    folder = _folder(study, config, found)
    with files.locked(
        folder / "lock",
        f"Proses lain sedang mengerjakan prapelatihan {folder.name}: menunggu hasilnya.",
    ):
        if not finished(study, config, found):
            began = time.perf_counter()
            state, losses = _fit(study, config, found, folder)
            files.write(folder / "start.safetensors", save(state))
            about = found.about() | {"losses": losses, "seconds": time.perf_counter() - began}
            files.write(folder / "about.json", json.dumps(about).encode())
            for checkpoint in folder.glob("checkpoint-*.pt"):
                checkpoint.unlink()
        state = load_file(folder / "start.safetensors")
        about = json.loads((folder / "about.json").read_text())
    note = "Dilatih lebih dahulu dengan semua label citra latih berkas yang sama."
    return Pretrained(
        Weights("run", "Prapelatihan dengan semua label", note, state, weight_code.digest(state)),
        about,
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


def _fit(
    study: Setup, config: TrainConfig, found: Wider, folder: Path
) -> tuple[dict[str, Tensor], list[float]]:
    """The state of the network after EPOCHS epochs, with the pair's own last layer, and the mean
    loss of each epoch.
    """
    network = training.network_of(config, study.used, study.weights, study.device, {})
    holder, name = _last_layer(network)
    own = getattr(holder, name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        setattr(holder, name, nn.Linear(own.in_features, found.labels.shape[1]).to(study.device))
    optimizer, losses = recipe.optimizer(config, network, study.device, {}), []
    if saved := runs.load_checkpoint(folder):
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        losses = list(saved["progress"]["history"])
    per_epoch = -(-len(found.images) // config.batch_size)
    with bar(
        EPOCHS * per_epoch, f"Prapelatihan, seed {config.seed}", initial=len(losses) * per_epoch
    ) as progress:
        while len(losses) < EPOCHS:
            losses.append(
                _epoch(
                    network, optimizer, config, found, study.device, len(losses), progress.update
                )
            )
            state = {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "progress": {"history": losses},
            }
            runs.save_checkpoint(folder, state)
    setattr(holder, name, own)
    return {
        key: t.detach().cpu().contiguous().clone() for key, t in network.state_dict().items()
    }, losses


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
