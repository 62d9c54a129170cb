"""The settings of a run and what they make: optimizer, schedule, loss, augmentation (notebook 02;
one's own parts: notebook 05).

A part of one's own (network, loss, optimizer, schedule, augment) takes the place of what the
settings would make. It is given as what makes it, a class or `functools.partial`, so that every
seed starts with a fresh one.
"""

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from cxr_helpers import augment, model
from cxr_helpers.engine import owncode, settings
from cxr_helpers.engine.errors import InputError

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


def optimizer(
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


def schedule(
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


def criterion(
    config: TrainConfig, labels: Tensor, parts: dict
) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of logits (B, 1) and labels (B, 1). labels: (N,) of the training images."""
    own = parts.get("loss")
    if own is not None:
        return own() if inspect.isclass(own) else own
    if config.balance != "pos_weight":
        return nn.BCEWithLogitsLoss()
    return nn.BCEWithLogitsLoss(pos_weight=(labels < 0.5).sum() / (labels > 0.5).sum())


def transform(
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
