"""The three functions of training: epoch, evaluation, fit (explained in notebook 02).

What the settings make of a run stands in recipe.py. `fit` knows of no files: the run store keeps
what it returns and hands back its checkpoints, and `run` asks the store.
"""

import inspect
import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from functools import partial

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from cxr_helpers import augment, data, evaluation, model
from cxr_helpers.data import Dataset, to_tensor
from cxr_helpers.engine import owncode, parallel, runs, runtime, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Outcome, Run, Task
from cxr_helpers.engine.runtime import bar
from cxr_helpers.evaluation import area_under_curve
from cxr_helpers.model import Weights

PARTS = ("network", "loss", "optimizer", "schedule", "augment")
WITHOUT = {"lbfgs", "sparseadam", "muon"}  # need a closure, sparse gradients, matrices alone
OPTIMIZERS = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW} | {
    name.lower(): kind
    for name, kind in sorted(vars(torch.optim).items())
    if inspect.isclass(kind)
    and issubclass(kind, torch.optim.Optimizer)
    and name.lower() not in {"optimizer", *WITHOUT}
}
ADAPTATION = ("reduce", "resize", "scale")  # of weights.adapt_conv1
EACH_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)  # the others of torch count epochs
EMA_DECAY = 0.99  # of the averaged weights in each step: a memory of about a hundred steps
CHOICES = {
    "optimizer": tuple(OPTIMIZERS),
    "schedule": ("constant", "cosine", "onecycle"),
    "trainable": ("all", "layer4+head", "head"),
    "balance": ("none", "pos_weight", "sampler", "repeat"),
    "augment_target": ("all", "minority"),
    "monitor": ("auc", "loss"),
    "average": ("none", "ema", "swa"),
    "precision": ("float32", "bfloat16"),
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything a person may set about a run; the defaults are the course's recipe.

    epochs, batch_size ≥ 1; lr > 0 (the peak, where a schedule moves it); weight_decay ≥ 0; 0 ≤
    dropout < 1; `balance="repeat"` repeats the rarer class to the size of the other; `augment`
    names transforms of augment.py, and `augment_target="minority"` repeats the rarer class and
    augments it alone, which teaches a network to see the augmentation (remedies.shortcut shows it);
    `monitor` is the validation metric that chooses the best epoch: the highest AUC (which sees the
    order of the predictions, not how sure they are) or the lowest loss; `patience` stops after that
    many epochs without a better one (None: never); `precision` is that of the multiplications while
    training (bfloat16 by autocast: weights and evaluation stay in float32; Kalamkar et al. 2019).

    For experiments of one's own (notebook 05): `architecture` may be any torchvision classifier,
    `resize` enlarges the input to so many pixels, `clip` bounds the norm of the gradient (Pascanu
    et al. 2013), `average` judges averaged weights: "ema", an exponential mean of the steps, or
    "swa", the mean over the later half of the epochs (Izmailov et al. 2018); `layer_lr` < 1
    multiplies the learning rate once more for each stage below the head, and `unfreeze` = k trains
    the head alone for k epochs, then one stage more every k epochs (Howard & Ruder 2018); `tta`
    averages the final predictions over so many augmented copies; `own` is the program that makes
    the parts of one's own (engine/owncode.py), "" if there are none. Raises InputError on a value
    outside its range.
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
    adaptation: dict[str, str] = field(
        default_factory=lambda: dict(reduce="mean", resize="bilinear", scale="none")
    )
    precision: str = "float32"
    resize: int | None = None
    clip: float | None = None
    average: str = "none"
    layer_lr: float = 1.0
    unfreeze: int | None = None
    tta: int = 0
    own: str = ""
    seed: int = 0

    def __post_init__(self):
        settings.to_plain(self)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(
                    f"{name}={getattr(self, name)!r} tidak dikenal: pilih {', '.join(known)}."
                )
        model.check_architecture(self.architecture)
        if not isinstance(self.adaptation, dict) or set(self.adaptation) - set(ADAPTATION):
            raise InputError(
                f"adaptation={self.adaptation!r} tidak dapat dipakai: berikan misalnya "
                f"adaptation={{'reduce': 'sum'}} (yang dapat diatur: {', '.join(ADAPTATION)})."
            )
        unknown = [name for name in self.augment if name not in augment.TRANSFORMS]
        if unknown:
            raise InputError(
                f"Augmentasi {', '.join(unknown)} tidak dikenal: "
                f"pilih {', '.join(augment.TRANSFORMS)}."
            )
        if self.augment_target == "minority" and (self.balance != "none" or not self.augment):
            raise InputError(
                "augment_target='minority' sudah mengulang kelas yang lebih jarang: "
                "berikan augment=(…) dan balance='none', atau pakai balance='repeat' "
                "dengan augment_target='all'."
            )
        for name, holds, rule in (
            ("epochs", self.epochs >= 1, "bilangan bulat mulai dari 1"),
            ("batch_size", self.batch_size >= 1, "bilangan bulat mulai dari 1"),
            ("lr", 0 < self.lr < math.inf, "lebih besar dari 0"),
            ("weight_decay", 0 <= self.weight_decay < math.inf, "0 atau lebih"),
            ("dropout", 0 <= self.dropout < 1, "antara 0 dan 1 (1 tidak termasuk)"),
            (
                "patience",
                self.patience is None or self.patience >= 1,
                "bilangan bulat mulai dari 1",
            ),
            (
                "resize",
                self.resize is None or 8 <= self.resize <= 512,
                "bilangan bulat dari 8 sampai 512",
            ),
            ("clip", self.clip is None or 0 < self.clip < math.inf, "lebih besar dari 0"),
            ("layer_lr", 0 < self.layer_lr <= 1, "lebih besar dari 0 dan paling besar 1"),
            (
                "unfreeze",
                self.unfreeze is None or self.unfreeze >= 1,
                "bilangan bulat mulai dari 1",
            ),
            ("tta", 0 <= self.tta <= 100, "bilangan bulat dari 0 sampai 100"),
            ("seed", 0 <= self.seed < 2**31, "bilangan bulat dari 0 sampai 2147483647"),
        ):
            if not holds:
                raise InputError(
                    f"{name}={getattr(self, name)!r} tidak dapat dipakai: nilainya harus {rule}."
                )
        self._check_together()

    def _check_together(self) -> None:
        """Settings that exclude each other."""
        for wrong, why in (
            (
                self.unfreeze and self.trainable != "all",
                "unfreeze memulai dari lapisan klasifikasi saja: hapus trainable",
            ),
            (
                self.average != "none" and self.trainable != "all",
                "average memerlukan trainable='all'",
            ),
            (
                self.tta and not (self.augment or self.own),
                "tta memerlukan augmentasi: berikan augment=(…)",
            ),
            (
                self.own and self.augment_target == "minority",
                "augment_target='minority' hanya untuk augmentasi bernama",
            ),
        ):
            if wrong:
                raise InputError(f"Pengaturan itu tidak dapat dipakai bersama: {why}.")

    @property
    def title(self) -> str:
        """What is trained, for a progress bar."""
        return owncode.expressions(self.own).get("network", self.architecture)[:40]

    def changed(self) -> dict:
        """The settings that differ from the course's recipe (seed and precision are none of it)."""
        recipe = asdict(TrainConfig())
        return {
            k: v
            for k, v in asdict(self).items()
            if v != recipe[k] and k not in ("seed", "precision")
        }


# --- what the settings make -----------------------------------------------------------------------


def make_optimizer(
    config: TrainConfig, network: nn.Module, device: torch.device, parts: dict
) -> torch.optim.Optimizer:
    """Of the trained parameters; one group, or with `layer_lr` one for each stage, the head
    first.
    """
    groups = [p for p in network.parameters() if p.requires_grad or config.unfreeze]
    if config.layer_lr < 1:
        stages = [
            [p for p in stage.parameters() if p.requires_grad or config.unfreeze]
            for stage in model.stages(network)
        ]
        groups = [
            {"params": stage, "lr": config.lr * config.layer_lr**i}
            for i, stage in enumerate(stages)
            if stage
        ]
    make = parts.get("optimizer")
    if make is None:
        kind = OPTIMIZERS[config.optimizer]
        # The fused step is the same arithmetic in one pass over the parameters.
        fused = (
            {"fused": device.type in ("cpu", "cuda")}
            if config.optimizer in ("adam", "adamw")
            else {}
        )
        decay = (
            {"weight_decay": config.weight_decay}
            if "weight_decay" in inspect.signature(kind).parameters
            else {}
        )
        return kind(groups, lr=config.lr, **decay, **fused)
    if isinstance(make, torch.optim.Optimizer):
        raise InputError(
            "optimizer: "
            "berikan pembuatnya, bukan yang sudah jadi, misalnya partial(SGD, momentum=0.9)."
        )
    made = _called(
        make,
        groups,
        lr=config.lr,
        **({"weight_decay": config.weight_decay} if config.weight_decay else {}),
    )
    if not isinstance(made, torch.optim.Optimizer):
        raise InputError(
            f"optimizer: hasilnya {type(made).__name__}, seharusnya sebuah torch.optim.Optimizer."
        )
    return made


def _called(make: Callable, *given, **known):
    """make(*given) with those of `known` that it takes and that a partial has not fixed."""
    fixed = make.keywords if isinstance(make, partial) else {}
    try:
        takes = inspect.signature(make).parameters
    except (TypeError, ValueError):
        takes = {}
    every = any(p.kind is p.VAR_KEYWORD for p in takes.values())
    return make(
        *given, **{k: v for k, v in known.items() if (k in takes or every) and k not in fixed}
    )


class Schedule:
    """The learning rate of a run: `step` after each batch, `end_epoch` after each epoch, whichever
    the scheduler counts.
    """

    def __init__(self, scheduler, each_batch: bool):
        self.scheduler, self._each_batch = scheduler, each_batch

    def step(self) -> None:
        if self._each_batch:
            self.scheduler.step()

    def end_epoch(self, val_loss: float) -> None:
        if not self._each_batch:
            plateau = isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau)
            self.scheduler.step(*([val_loss] if plateau else []))

    def state_dict(self) -> dict:
        return self.scheduler.state_dict()

    def load_state_dict(self, state: dict) -> None:
        self.scheduler.load_state_dict(state)


def make_schedule(
    config: TrainConfig, optimizer: torch.optim.Optimizer, steps: int, parts: dict
) -> Schedule:
    """The learning rate over `steps` optimisation steps: cosine (Loshchilov & Hutter 2017) without
    restarts, or one-cycle (Smith & Topin 2018), a warm-up over 30% of the steps from lr/25, then a
    cosine down to lr/10⁴. One's own is torch's scheduler class, or a function that makes one; it
    counts epochs, but for those of EACH_BATCH.
    """
    make = parts.get("schedule")
    if make is not None:
        made = _called(make, optimizer, total_steps=steps, max_lr=config.lr, T_max=config.epochs)
        if not isinstance(made, (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)):
            raise InputError(
                f"schedule: hasilnya {type(made).__name__}, "
                "seharusnya sebuah penjadwal torch.optim.lr_scheduler."
            )
        return Schedule(made, isinstance(made, EACH_BATCH))
    if config.schedule == "cosine":
        made = lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    elif config.schedule == "onecycle":
        peaks = [group["lr"] for group in optimizer.param_groups]
        made = lr_scheduler.OneCycleLR(
            optimizer, peaks, total_steps=steps, final_div_factor=400, cycle_momentum=False
        )
    else:
        made = lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    return Schedule(made, each_batch=True)


def make_criterion(
    config: TrainConfig, labels: Tensor, parts: dict
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of logits (B, 1) and labels (B, 1). labels: (N,) of the training images."""
    own = parts.get("loss")
    if own is not None:
        return own() if inspect.isclass(own) else own
    if config.balance != "pos_weight":
        return nn.BCEWithLogitsLoss()
    return nn.BCEWithLogitsLoss(pos_weight=(labels < 0.5).sum() / (labels > 0.5).sum())


def make_transform(
    config: TrainConfig, labels: Tensor, parts: dict
) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """What augments a batch (B, 1, H, W) with labels (B, 1). labels: (N,) of the training
    images.
    """
    own: Iterable | None = parts.get("augment")
    if own is not None:
        steps = [augment.TRANSFORMS[one] if isinstance(one, str) else one for one in own]
        return lambda x, y: augment.apply_own(x, y, steps)
    if config.augment_target == "all":
        return lambda x, y: (augment.apply(x, config.augment), y)
    minority = float(labels.mean() <= 0.5)
    return lambda x, y: (augment.apply(x, config.augment, only=y.squeeze(1) == minority), y)


RECORDED = ("val", "test")  # splits whose logits are recorded after each epoch
# its activations still fit the cache of a laptop: measured faster than 16 and than 256
EVALUATION_BATCH = 64


def summarise(history: pd.DataFrame, best_epoch: int) -> dict:
    """The rows of a history that a reader asks for (notebook 02): "first", "last", "chosen"
    (best_epoch) and "lowest" (validation loss).

    How far the loss rises from its lowest is no difference of two of these rows, see
    overfitting.turn.
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
    """Where a fit stands after a whole epoch: plain data that a checkpoint can hold. Logits are
    (epochs, N) float32.
    """

    history: list[dict[str, float]] = field(default_factory=list)
    logits: dict[str, list[Tensor]] = field(
        default_factory=lambda: {"train": [], "val": [], "test": []}
    )
    seconds: list[float] = field(default_factory=list)
    best_epoch: int = 0  # counted from 1; 0 before the first epoch
    best_weights: dict[str, Tensor] = field(default_factory=dict)

    @property
    def epoch(self) -> int:
        return len(self.history)


def loss_and_accuracy(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Mean BCE and share of right decisions at p = 0.5 over logits and labels (N,); NaN logits
    (never visited) are left out.
    """
    seen = ~torch.isnan(logits)
    logits, labels = logits[seen], labels[seen]
    loss = F.binary_cross_entropy_with_logits(logits, labels)
    return loss.item(), ((logits > 0) == (labels > 0.5)).float().mean().item()


def draw_batches(
    config: TrainConfig, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Row numbers of one epoch's batches, drawn on the CPU so that every device sees the same
    order. labels: (N,).
    """
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
    criterion: Callable[[Tensor, Tensor], Tensor],
    schedule: Schedule,
    transform: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    after_step: Callable[[], None],
    precision: str = "float32",
    clip: float | None = None,
) -> Tensor:
    """One pass over the batches; returns the logits as they were while training (the course's
    "train accuracy"), on the CPU: (N,) of labels (N, 1), (N, K) of labels (N, K).

    inputs (N, …) and labels lie on the device; `schedule` moves the learning rate after each batch;
    `transform(x, y)` augments; `clip` bounds the norm of the gradient.
    """
    # Entered anew for each batch: autocast keeps the weights it has cast until it is left, and they
    # would go stale.
    autocast = torch.autocast(inputs.device.type, torch.bfloat16, enabled=precision == "bfloat16")
    network.train()
    logits = torch.full(labels.shape, math.nan, device=inputs.device)
    for rows in batches:
        rows = rows.to(inputs.device)
        x, y = transform(inputs[rows], labels[rows])
        optimizer.zero_grad(set_to_none=True)
        with autocast:
            output = network(x)
        output = output.float()
        criterion(output, y).backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), clip)
        optimizer.step()
        schedule.step()
        logits[rows] = output.detach()
        after_step()
    return logits.squeeze(1).cpu()


@torch.no_grad()
def evaluate(network: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N,) on the CPU of inputs (N, …), in eval mode and without gradient."""
    network.eval()
    return torch.cat([network(part).squeeze(1) for part in inputs.split(EVALUATION_BATCH)]).cpu()


def _seed(config: TrainConfig, epoch: int) -> int:
    # +1: epoch 0 must not reuse the seed that drew the weights
    return config.seed * 10_007 + epoch + 1


def merit(config: TrainConfig, row: dict[str, float]) -> tuple[float, ...]:
    """What makes an epoch (a row of the history) better than another: validation AUC, of equal ones
    the lower loss.

    Or the loss alone.
    """
    return (row["val_auc"], -row["val_loss"]) if config.monitor == "auc" else (-row["val_loss"],)


def stopped(config: TrainConfig, state: Progress) -> bool:
    """Whether every epoch is done, or `patience` epochs have passed without a better one."""
    return state.epoch >= config.epochs or (
        config.patience is not None and state.epoch - state.best_epoch >= config.patience
    )


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: t.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, t in state.items()
    }


def network_of(
    config: TrainConfig, data: Dataset, weights: Weights, device: torch.device, parts: dict
) -> nn.Module:
    """The network at its start, on the device: one's own, made anew, or what the settings say.

    Raises InputError where settings ask for what a network of one's own decides itself.
    """
    if "network" not in parts:
        size, adapt = data.source.size, config.adaptation
        network = model.build(
            weights, config.seed, size, config.dropout, config.architecture, config.resize, **adapt
        )
        return model.lay_out(network, device)
    if config.dropout:
        raise InputError(
            "dropout diatur di dalam jaringan Anda sendiri: "
            "hapus dropout=…, atau tulis nn.Dropout di jaringan itu."
        )
    network = parts["network"]
    network = network if isinstance(network, nn.Module) else network()
    if not isinstance(network, nn.Module):
        raise InputError(
            f"network: hasilnya {type(network).__name__}, seharusnya sebuah nn.Module "
            "atau fungsi yang membuatnya."
        )
    if weights.kind == "run":
        model.fill(network, weights)
    network = model.architectures.resized(network, config.resize) if config.resize else network
    return model.lay_out(network, device)


def _prepare(
    config: TrainConfig, data: Dataset, weights: Weights, device: torch.device, parts: dict
) -> tuple:
    """(network, the part of it that is trained, that part's inputs on the device, labels (N,) on
    the CPU), the last two by split.
    """
    network = part = network_of(config, data, weights, device, parts)
    model.freeze(network, config.trainable)
    splits = {
        name: getattr(data, name)
        for name in ("train", "val", "test", "extra")
        if getattr(data, name) is not None
    }
    inputs = {
        name: to_tensor(s.images, device).contiguous(memory_format=torch.channels_last)
        for name, s in splits.items()
    }
    labels = {name: torch.from_numpy(s.labels.astype(np.float32)) for name, s in splits.items()}
    plain = config.architecture in model.OURS and not (
        config.augment or config.own or config.resize
    )
    if config.trainable != "all" and plain:
        # What never changes is computed once: the frozen part's output becomes the input.
        frozen, part = model.split_frozen(network, config.trainable)
        inputs = {name: model.features(frozen, x) for name, x in inputs.items()}
    return network, part, inputs, labels


class _Averaged:
    """The averaged weights that `config.average` asks for; without, the network itself is what is
    judged.
    """

    def __init__(self, config: TrainConfig, network: nn.Module):
        self.config, self.network, self.mean = config, network, None
        if config.average == "ema":
            self.mean = AveragedModel(
                network, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY), use_buffers=True
            )
        elif config.average == "swa":
            self.mean = AveragedModel(network)

    def after_step(self) -> None:
        if self.config.average == "ema":
            self.mean.update_parameters(self.network)

    def end_epoch(self, epoch: int, inputs: Tensor) -> nn.Module:
        """The network to judge after this epoch (from 0)."""
        if self.config.average == "swa" and epoch >= self.config.epochs // 2:
            self.mean.update_parameters(self.network)
            # statistics of the averaged weights
            update_bn(inputs.split(EVALUATION_BATCH), self.mean)
        begun = self.mean is not None and int(self.mean.n_averaged) > 0
        return self.mean.module if begun else self.network

    def state_dict(self) -> dict:
        return {} if self.mean is None else self.mean.state_dict()

    def load_state_dict(self, state: dict) -> None:
        if self.mean is not None:
            self.mean.load_state_dict(state)


def _history_row(logits: dict[str, Tensor], labels: dict[str, Tensor]) -> dict[str, float]:
    """A row of the history from one epoch's logits (N,) by split."""
    row = {}
    for name, values in logits.items():
        row[f"{name}_loss"], row[f"{name}_acc"] = loss_and_accuracy(values, labels[name])
        if name == "val":
            row["val_auc"] = float(area_under_curve(values.numpy(), labels["val"].numpy()))
    return row


def _final_logits(fitting: "Fitting", states: dict) -> dict[str, Tensor]:
    """Eval-mode logits of each of `states` ({"last" or "best": (epoch, weights)}) on every split.

    Recorded ones are not computed twice.
    """
    final, of_epoch = {}, {}
    for which, (epoch, weights) in states.items():
        if epoch not in of_epoch:
            fitting.network.load_state_dict(weights)
            # The recorded training logits are those of the training mode, so they are computed
            # here, as those of extra images.
            recorded = () if fitting.config.tta else fitting.recorded
            known = {name: fitting.state.logits[name][epoch - 1] for name in recorded}
            of_epoch[epoch] = {
                name: fitting.predict(name) for name in fitting.inputs if name not in known
            } | known
        final |= {f"{name}_{which}": logits for name, logits in of_epoch[epoch].items()}
    return final


class Fitting:
    """One fit from its settings to its end: what `fit` makes of them, and where it stands."""

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset,
        weights: Weights,
        device: torch.device,
        parts: dict | None,
        recorded: tuple[str, ...] = RECORDED,
    ):
        self.config, self.device, self.state, self.recorded = config, device, Progress(), recorded
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)  # of what one's own code draws
            parts = (owncode.make(config.own) if config.own else {}) if parts is None else parts
            self.network, self.part, self.inputs, self.labels = _prepare(
                config, data, weights, device, parts
            )
        self.optimizer = make_optimizer(config, self.part, device, parts)
        self.criterion = make_criterion(config, self.labels["train"], parts)
        if isinstance(self.criterion, nn.Module):
            self.criterion = self.criterion.to(device)
        self.transform = make_transform(config, self.labels["train"], parts)
        self.target = self.labels["train"].unsqueeze(1).to(device)
        self.per_epoch = len(
            draw_batches(config, self.labels["train"], torch.Generator().manual_seed(0))
        )
        self.schedule = make_schedule(config, self.optimizer, self.per_epoch * config.epochs, parts)
        self.averaged = _Averaged(config, self.part)
        self.last = self.network  # what was judged after the last epoch

    def parts_of_state(self) -> dict:
        every = {
            "network": self.network,
            "optimizer": self.optimizer,
            "schedule": self.schedule,
            "averaged": self.averaged,
        }
        return (
            every
            if self.averaged.mean is not None
            else {k: v for k, v in every.items() if k != "averaged"}
        )

    def resume(self, saved: dict) -> None:
        """Go on from a checkpoint, unless its epochs lack a split that is to be recorded."""
        known = Progress(**saved["progress"])
        if any(len(known.logits[name]) < known.epoch for name in self.recorded):
            return
        self.recorded = tuple(name for name in RECORDED if len(known.logits[name]) == known.epoch)
        for name, part in self.parts_of_state().items():
            part.load_state_dict(saved[name])
        self.state = known

    def checkpoint(self) -> dict:
        return {name: part.state_dict() for name, part in self.parts_of_state().items()} | {
            "progress": dict(vars(self.state))
        }

    def predict(self, split: str) -> Tensor:
        """Final logits (N,) of a split: of its images, or with `tta` the mean over augmented copies
        of them.
        """
        inputs, copies = self.inputs[split], self.config.tta
        if not copies:
            return evaluate(self.part, inputs)
        found = []
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self.config.seed)
            dummy = torch.zeros(len(inputs), 1, device=self.device)
            for _ in range(copies):
                found.append(evaluate(self.part, self.transform(inputs, dummy)[0]))
        return torch.stack(found).mean(0)

    def epoch(self, tick: Callable[[], None]) -> dict[str, float]:
        """Train one epoch and record it; returns its row of the history."""
        config, epoch, started = self.config, self.state.epoch, time.perf_counter()
        if config.unfreeze:
            model.open_stages(self.network, 1 + epoch // config.unfreeze)
        batches = draw_batches(
            config, self.labels["train"], torch.Generator().manual_seed(_seed(config, epoch))
        )

        def after_step() -> None:
            self.averaged.after_step()
            tick()

        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(_seed(config, epoch))
            how = (
                self.optimizer,
                self.criterion,
                self.schedule,
                self.transform,
                after_step,
                config.precision,
                config.clip,
            )
            train = train_epoch(self.part, self.inputs["train"], self.target, batches, *how)
        judged = self.averaged.end_epoch(epoch, self.inputs["train"])
        recorded = {"train": train} | {
            name: evaluate(judged, self.inputs[name]) for name in self.recorded
        }
        row = _history_row({"train": train, "val": recorded["val"]}, self.labels)
        if not all(math.isfinite(value) for value in row.values()):
            raise InputError(
                f"Pelatihan berhenti pada epoch {epoch + 1}: loss tidak lagi berupa bilangan "
                f"terhingga. Turunkan learning rate (sekarang {config.lr:g}), lalu jalankan lagi."
            )
        self.schedule.end_epoch(row["val_loss"])
        self.state.history.append({"epoch": epoch + 1, **row})
        for name, values in recorded.items():
            self.state.logits[name].append(values)
        self.last = self.network if judged is self.part else judged
        if merit(config, row) >= max(merit(config, h) for h in self.state.history):
            self.state.best_epoch, self.state.best_weights = (
                epoch + 1,
                _copy(self.last.state_dict()),
            )
        self.state.seconds.append(time.perf_counter() - started)
        return row


def fit(
    config: TrainConfig,
    data: Dataset,
    weights: Weights,
    device: str | torch.device = "cpu",
    parts: dict | None = None,
    resume: dict | None = None,
    checkpoint: Callable[[int, dict], None] = lambda epoch, state: None,
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
    every_epoch: bool = True,
) -> Outcome:
    """Train as `config` says and return plain data (notebook 02).

    After each epoch `checkpoint(epoch, state)` gets everything needed to go on; `resume=state` goes
    on from there, bit for bit on the same machine: every epoch draws its random numbers from (seed,
    epoch) alone. The best epoch is the one that `monitor` names. `every_epoch`: whether the logits
    of the test split are recorded after each epoch, as those of validation are; nothing here looks
    at them. `on_epoch(history)` watches and never steers; `parts` takes the place of what
    `config.own` makes. Raises InputError when the loss is no longer finite.
    """
    recorded = RECORDED if every_epoch else RECORDED[:1]
    fitting = Fitting(config, data, weights, torch.device(device), parts, recorded)
    if resume is not None:
        fitting.resume(resume)
    steps, state = fitting.per_epoch * config.epochs, fitting.state
    title, done = f"Melatih {config.title}, seed {config.seed}", state.epoch * fitting.per_epoch
    with bar(steps, title, initial=done) as progress:
        while not stopped(config, state):
            row = fitting.epoch(progress.update)
            progress.set_postfix(epoch=state.epoch, val_acc=f"{row['val_acc']:.3f}")
            if not stopped(config, state):  # after the last epoch the whole run is kept at once
                checkpoint(state.epoch, fitting.checkpoint())
            on_epoch(state.history)
    return _outcome(fitting)


def _outcome(fitting: Fitting) -> Outcome:
    state, last = fitting.state, _copy(fitting.last.state_dict())
    states = {"last": (state.epoch, last), "best": (state.best_epoch, state.best_weights)}
    every = {name: torch.stack(epochs) for name, epochs in state.logits.items() if epochs}
    seconds = sum(state.seconds)
    return Outcome(
        history=state.history,
        logits=every | _final_logits(fitting, states),
        weights={"best": state.best_weights, "last": last},
        info={
            "best_epoch": state.best_epoch,
            "parameters": sum(p.numel() for p in fitting.network.parameters()),
            "trained_parameters": sum(
                p.numel() for p in fitting.part.parameters() if p.requires_grad
            ),
            "seconds": seconds,
            "images_per_second": len(fitting.target) * state.epoch / seconds,
            "peak_memory_mb": runtime.peak_memory_mb(fitting.device),
        },
    )


# --- through the run store ------------------------------------------------------------------------


def identity(
    config: TrainConfig, data: Dataset, weights: Weights, device: str | torch.device
) -> dict:
    """Everything that decides the numbers of a run, as JSON can hold it."""
    return {
        "config": asdict(config),
        "data": data.fingerprint,
        "weights": weights.digest,
        "device": torch.device(device).type,
        "threads": torch.get_num_threads() if torch.device(device).type == "cpu" else None,
        "size": data.source.size,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "code": CODE.digest,
    }


def _altered() -> str | None:  # a function of this file, which a worker can be sent by its name
    return CODE.altered()


def task(
    config: TrainConfig,
    data: Dataset,
    weights: Weights,
    device: str | torch.device = "cpu",
    keep_weights: bool = True,
) -> Task:
    """A training as the run store sees it. keep_weights: else the predictions only, those of the
    test split of the best and the last epoch alone.
    """
    what = identity(config, data, weights, device)
    given = (config, data, weights, torch.device(device))
    return Task(what, given, data.fingerprint, config.own, _altered, keep_weights)


def run(
    config: TrainConfig,
    data: Dataset,
    weights: Weights,
    device: str | torch.device = "cpu",
    keep_weights: bool = True,
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
    parts: dict | None = None,
) -> Run:
    """The run of these settings: read from the store, or trained (`fit`).

    With `parts`, which no text identifies, it is trained and not kept. Raises InputError.
    """
    asked = task(config, data, weights, device, keep_weights)
    if parts is not None:
        asked = replace(asked, unkept=str)
    return runs.get(asked, partial(fit, parts=parts), on_epoch)


def run_all(
    given: list[tuple[TrainConfig, Dataset, Weights, torch.device]],
    n_jobs: int = 1,
    cluster: str = "",
    done: Callable[[int], None] = lambda n: None,
) -> list[Run]:
    """The runs of many settings, without their weights, n_jobs at a time; see parallel.train."""
    return parallel.train(given, partial(task, keep_weights=False), fit, n_jobs, cluster, done)


# What decides a run's numbers: of `only`, no more than what is named.
CODE = runs.Code(
    (sys.modules[__name__], model, augment, owncode, data, evaluation),
    only={
        data: ("to_tensor",),
        evaluation: ("area_under_curve",),
        owncode: ("read", "make", "_execute"),
    },
)
