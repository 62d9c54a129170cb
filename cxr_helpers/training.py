"""TrainConfig and the three functions of training: epoch, evaluation, fit (explained in notebook 02).

Nothing here knows of files: engine/runs.py keeps what `fit` returns and hands back its checkpoints.
"""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, LRScheduler, OneCycleLR

from cxr_helpers import augment, model
from cxr_helpers.data import Dataset, to_tensor
from cxr_helpers.engine import settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.progress import bar
from cxr_helpers.evaluation import area_under_curve
from cxr_helpers.weights import Weights

EVALUATION_BATCH = 64  # its activations still fit the cache of a laptop: measured faster than 16 and than 256
CHOICES = {
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine", "onecycle"),
    "architecture": ("resnet18", "resnet18_layer2", "small_cnn"),
    "trainable": ("all", "layer4+head", "head"),
    "balance": ("none", "pos_weight", "sampler", "repeat"),
    "augment_target": ("all", "minority"),
    "monitor": ("auc", "loss"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything a person may set about a run; the defaults are the course's recipe.

    epochs, batch_size ≥ 1; lr > 0 (the peak, where a schedule moves it); weight_decay ≥ 0; 0 ≤ dropout < 1;
    `balance="repeat"` repeats the rarer class to the size of the other; `augment` names transforms of augment.py, and
    `augment_target="minority"` repeats the rarer class and augments it alone, which teaches a network to see the augmentation
    (remedies.shortcut shows it); `monitor` is the validation metric that chooses the best epoch: the highest AUC (which sees
    the order of the predictions, not how sure they are) or the lowest loss; `patience` stops after that many epochs without a
    better one (None: never); `precision` is that of the multiplications while training (bfloat16 by autocast: weights and
    evaluation stay in float32; Kalamkar et al. 2019).
    Raises InputError on a value outside its range.
    """

    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "adam"
    lr: float = 4e-4
    weight_decay: float = 0.0
    schedule: str = "constant"
    dropout: float = 0.0
    architecture: str = "resnet18"
    trainable: str = "all"
    augment: tuple[str, ...] = ()
    augment_target: str = "all"
    balance: str = "none"
    monitor: str = "auc"
    patience: int | None = None
    adaptation: dict[str, str] = field(default_factory=lambda: dict(reduce="mean", resize="bilinear", scale="none"))
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self):
        settings.to_plain(self)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name}={getattr(self, name)!r} tidak dikenal: pilih {', '.join(known)}.")
        unknown = [name for name in self.augment if name not in augment.TRANSFORMS]
        if unknown:
            raise InputError(f"Augmentasi {', '.join(unknown)} tidak dikenal: pilih {', '.join(augment.TRANSFORMS)}.")
        if self.augment_target == "minority" and (self.balance != "none" or not self.augment):
            raise InputError(
                "augment_target='minority' sudah mengulang kelas yang lebih jarang: berikan augment=(…) dan balance='none', atau "
                "pakai balance='repeat' dengan augment_target='all'."
            )
        for name, holds, rule in (
            ("epochs", self.epochs >= 1, "bilangan bulat mulai dari 1"),
            ("batch_size", self.batch_size >= 1, "bilangan bulat mulai dari 1"),
            ("lr", 0 < self.lr < math.inf, "lebih besar dari 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 atau lebih"),
            ("dropout", 0 <= self.dropout < 1, "antara 0 dan 1 (1 tidak termasuk)"),
            ("patience", self.patience is None or self.patience >= 1, "bilangan bulat mulai dari 1"),
            ("seed", 0 <= self.seed < 2**31, "bilangan bulat dari 0 sampai 2147483647"),
        ):
            if not holds:
                raise InputError(f"{name}={getattr(self, name)!r} tidak dapat dipakai: nilainya harus {rule}.")

    def changed(self) -> dict:
        """The settings that differ from the course's recipe (seed and precision are none of it)."""
        recipe = asdict(TrainConfig())
        return {k: v for k, v in asdict(self).items() if v != recipe[k] and k not in ("seed", "precision")}


def summarise(history: pd.DataFrame, best_epoch: int) -> dict:
    """The rows of a history that a reader asks for (notebook 02): "first", "last", "chosen" (best_epoch) and "lowest"
    (validation loss).

    How far the loss rises from its lowest is no difference of two of these rows, see overfitting.turn.
    """
    rows = history.to_dict("records")
    return {
        "first": rows[0],
        "last": rows[-1],
        "chosen": rows[best_epoch - 1],
        "lowest": rows[int(history["val_loss"].argmin())],
    }


@dataclass
class Progress:
    """Where a fit stands after a whole epoch: plain data that a checkpoint can hold. Logits are (epochs, N) float32."""

    history: list[dict[str, float]] = field(default_factory=list)
    logits: dict[str, list[Tensor]] = field(default_factory=lambda: {"train": [], "val": [], "test": []})
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; 0 before the first epoch
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        return len(self.history)


@dataclass(frozen=True)
class Outcome:
    """What fit returns: progress, the last weights, and the logits (N,) of both chosen states on every split, in eval mode."""

    progress: Progress
    last_weights: dict[str, Tensor]
    final: dict[str, Tensor]  # "train_best", "train_last", "val_best", …, "test_last"; "extra_…" where there are extra images
    parameters: int
    trained_parameters: int


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean BCE and share of right decisions at p = 0.5 over logits and labels (N,); NaN logits (never visited) are left out."""
    seen = ~torch.isnan(logits)
    logits, labels = logits[seen], labels[seen]
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    return loss.item(), ((logits > 0) == (labels > 0.5)).float().mean().item()


def draw_batches(config: TrainConfig, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Row numbers of one epoch's batches, drawn on the CPU so that every device sees the same order. labels: (N,)."""
    positive = labels > 0.5
    minority = positive if positive.sum() <= (~positive).sum() else ~positive
    if config.balance == "sampler":
        share = torch.where(minority, 1 / minority.sum(), 1 / (~minority).sum())
        rows = torch.multinomial(share, len(labels), replacement=True, generator=generator)
    elif config.balance == "repeat" or config.augment_target == "minority":
        rare, common = minority.nonzero().flatten(), (~minority).nonzero().flatten()
        repeated = rare.repeat(math.ceil(len(common) / len(rare)))[: len(common)]
        rows = torch.cat([common, repeated])
        rows = rows[torch.randperm(len(rows), generator=generator)]
    else:
        rows = torch.randperm(len(labels), generator=generator)
    return rows.split(config.batch_size)


def train_epoch(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    batches: tuple[Tensor, ...],
    optimizer: torch.optim.Optimizer,
    criterion: nn.Module,
    schedule: LRScheduler,
    transform: Callable[[Tensor, Tensor], Tensor],
    tick: Callable[[], None],
    precision: str = "float32",
) -> Tensor:
    """One pass over the batches; returns the logits (N,) as they were while training (the course's "train accuracy").

    inputs (N, …) and labels (N, 1) lie on the device; `schedule` moves the learning rate after each batch; `transform(x, y)`
    augments.
    """
    # Entered anew for each batch: autocast keeps the weights it has cast until it is left, and they would go stale.
    autocast = torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    network.train()
    logits = torch.full((len(labels),), math.nan, device=inputs.device)
    for rows in batches:
        rows = rows.to(inputs.device)
        x, y = inputs[rows], labels[rows]
        optimizer.zero_grad(set_to_none=True)
        x = transform(x, y)
        with autocast:
            output = network(x)
        output = output.float()
        criterion(output, y).backward()
        optimizer.step()
        schedule.step()
        logits[rows] = output.detach().squeeze(1)
        tick()
    return logits.cpu()


@torch.no_grad()
def evaluate(network: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N,) on the CPU of inputs (N, …), in eval mode and without gradient."""
    network.eval()
    return torch.cat([network(part).squeeze(1) for part in inputs.split(EVALUATION_BATCH)]).cpu()


def _seed(config: TrainConfig, epoch: int) -> int:
    return config.seed * 10_007 + epoch + 1  # +1: epoch 0 must not reuse the seed that drew the weights


def _optimizer(config: TrainConfig, network: nn.Module, device: torch.device) -> torch.optim.Optimizer:
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[config.optimizer]
    trained = [p for p in network.parameters() if p.requires_grad]
    # The fused step is the same arithmetic in one pass over the parameters.
    return kind(trained, lr=config.lr, weight_decay=config.weight_decay, fused=device.type in ("cpu", "cuda"))


def _schedule(config: TrainConfig, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """The learning rate of each of `steps` optimisation steps: cosine (Loshchilov & Hutter 2017) without restarts, or one-cycle
    (Smith & Topin 2018), a warm-up over 30% of the steps from lr/25, then a cosine down to lr/10⁴."""
    if config.schedule == "cosine":
        return CosineAnnealingLR(optimizer, T_max=steps)
    if config.schedule == "onecycle":
        return OneCycleLR(optimizer, config.lr, total_steps=steps, final_div_factor=400, cycle_momentum=False)
    return LambdaLR(optimizer, lambda step: 1.0)


def _criterion(config: TrainConfig, labels: Tensor) -> nn.Module:
    if config.balance != "pos_weight":
        return nn.BCEWithLogitsLoss()
    return nn.BCEWithLogitsLoss(pos_weight=(labels < 0.5).sum() / (labels > 0.5).sum())


def _transform(config: TrainConfig, labels: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
    if config.augment_target == "all":
        return lambda x, y: augment.apply(x, config.augment)
    minority = float(labels.mean() <= 0.5)
    return lambda x, y: augment.apply(x, config.augment, only=y.squeeze(1) == minority)


def merit(config: TrainConfig, row: dict[str, float]) -> tuple[float, ...]:
    """What makes an epoch (a row of the history) better than another: validation AUC, of equal ones the lower loss.

    Or the loss alone.
    """
    return (row["val_auc"], -row["val_loss"]) if config.monitor == "auc" else (-row["val_loss"],)


def stopped(config: TrainConfig, state: Progress) -> bool:
    """Whether every epoch is done, or `patience` epochs have passed without a better one."""
    return state.epoch >= config.epochs or (config.patience is not None and state.epoch - state.best_epoch >= config.patience)


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().cpu().clone(memory_format=torch.contiguous_format) for name, t in state.items()}


def _prepare(config: TrainConfig, data: Dataset, weights: Weights, device: torch.device) -> tuple:
    """(network, the part of it that is trained, that part's inputs on the device, labels (N,) on the CPU), the last two by
    split.
    """
    network = model.build(weights, config.seed, data.source.size, config.dropout, config.architecture, **config.adaptation)
    network = part = model.lay_out(network, device)
    model.freeze(network, config.trainable)
    splits = {name: getattr(data, name) for name in ("train", "val", "test", "extra") if getattr(data, name) is not None}
    inputs = {name: to_tensor(s.images, device).contiguous(memory_format=torch.channels_last) for name, s in splits.items()}
    labels = {name: torch.from_numpy(s.labels.astype(np.float32)) for name, s in splits.items()}
    if config.trainable != "all" and not config.augment:
        # What never changes is computed once: the frozen part's output becomes the input.
        frozen, part = model.split_frozen(network, config.trainable)
        inputs = {name: model.features(frozen, x) for name, x in inputs.items()}
    return network, part, inputs, labels


def _history_row(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, float]:
    """A row of the history from one epoch's logits (N,) by split."""
    row = {}
    for name, values in logits.items():
        row[f"{name}_loss"], row[f"{name}_acc"] = loss_and_accuracy(values, labels[name])
        if name == "val":
            row["val_auc"] = float(area_under_curve(values.numpy(), labels["val"].numpy()))
    return row


def _final_logits(
    network: nn.Module, part: nn.Module, inputs: dict[str, Tensor], states: dict, recorded: dict
) -> dict[str, Tensor]:
    """Eval-mode logits of each of `states` ({"last" or "best": (epoch, weights)}) on every split.

    Recorded ones are not computed twice.
    """
    final, of_epoch = {}, {}
    for which, (epoch, weights) in states.items():
        if epoch not in of_epoch:
            network.load_state_dict(weights)
            # The recorded training logits are those of the training mode, so they are computed here, as those of extra images.
            known = {name: recorded[name][epoch - 1] for name in ("val", "test")}
            of_epoch[epoch] = {name: evaluate(part, inputs[name]) for name in inputs if name not in known} | known
        final |= {f"{name}_{which}": logits for name, logits in of_epoch[epoch].items()}
    return final


def fit(
    config: TrainConfig,
    data: Dataset,
    weights: Weights,
    device: str | torch.device = "cpu",
    resume: dict | None = None,
    checkpoint: Callable[[dict], None] | None = None,
) -> Outcome:
    """Train as `config` says and return plain data (notebook 02).

    After each epoch `checkpoint(state)` is called with everything needed to go on; `resume=state` goes on from there, bit for bit
    on the same machine: every epoch draws its random numbers from (seed, epoch) alone. The best epoch is the one that `monitor`
    names. The logits of the test split are recorded after each epoch, and nothing here looks at them.
    Raises InputError when the loss is no longer finite.
    """
    device = torch.device(device)
    network, part, inputs, labels = _prepare(config, data, weights, device)
    optimizer = _optimizer(config, part, device)
    criterion = _criterion(config, labels["train"]).to(device)
    transform = _transform(config, labels["train"])
    target = labels["train"].unsqueeze(1).to(device)
    per_epoch = len(draw_batches(config, labels["train"], torch.Generator().manual_seed(0)))
    steps = per_epoch * config.epochs
    schedule = _schedule(config, optimizer, steps)
    state = Progress()
    if resume is not None:
        for name, part_of_state in (("network", network), ("optimizer", optimizer), ("schedule", schedule)):
            part_of_state.load_state_dict(resume[name])
        state = Progress(**resume["progress"])

    with bar(steps, f"Melatih {config.architecture}, seed {config.seed}", initial=state.epoch * per_epoch) as progress:
        while not stopped(config, state):
            epoch, started = state.epoch, time.perf_counter()
            batches = draw_batches(config, labels["train"], torch.Generator().manual_seed(_seed(config, epoch)))
            with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
                torch.manual_seed(_seed(config, epoch))
                how = (optimizer, criterion, schedule, transform, progress.update, config.precision)
                train = train_epoch(part, inputs["train"], target, batches, *how)
            recorded = {"train": train} | {name: evaluate(part, inputs[name]) for name in ("val", "test")}
            row = _history_row({"train": train, "val": recorded["val"]}, labels)
            if not all(math.isfinite(value) for value in row.values()):
                raise InputError(
                    f"Pelatihan berhenti pada epoch {epoch + 1}: loss tidak lagi berupa bilangan terhingga. "
                    f"Turunkan learning rate (sekarang {config.lr:g}), lalu jalankan lagi."
                )
            state.history.append({"epoch": epoch + 1, **row})
            for name, values in recorded.items():
                state.logits[name].append(values)
            if merit(config, row) >= max(merit(config, h) for h in state.history):
                state.best_epoch, state.best_weights = epoch + 1, _copy(network.state_dict())
            state.seconds.append(time.perf_counter() - started)
            progress.set_postfix(epoch=epoch + 1, val_acc=f"{row['val_acc']:.3f}")
            if checkpoint is not None and not stopped(config, state):  # after the last epoch the whole run is kept at once
                kept = {"network": network, "optimizer": optimizer, "schedule": schedule}
                checkpoint({name: each.state_dict() for name, each in kept.items()} | {"progress": dict(vars(state))})

    last_weights = _copy(network.state_dict())
    states = {"last": (state.epoch, last_weights), "best": (state.best_epoch, state.best_weights)}
    return Outcome(
        progress=state,
        last_weights=last_weights,
        final=_final_logits(network, part, inputs, states, state.logits),
        parameters=sum(p.numel() for p in network.parameters()),
        trained_parameters=sum(p.numel() for p in part.parameters() if p.requires_grad),
    )
