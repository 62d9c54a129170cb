"""One epoch, its evaluation, and the whole training that settings ask for (notebook 02). `fit`
knows of no files; `run` asks the run store, which hands back its checkpoints.
"""

import copy
import inspect
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from importlib.metadata import version

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from cxr_helpers import augment, data, evaluation, model
from cxr_helpers.data import Dataset, to_tensor
from cxr_helpers.engine import owncode, parallel, runs, runtime, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Outcome, Run, Task
from cxr_helpers.model import COURSE, OURS, Weights

PARTS = {  # what a person may give that is their own, and how that is said
    "network": "kelas nn.Module, atau fungsi yang membuatnya: citra (N, 1, H, W) → logit (N, 1)",
    "loss": "fungsi atau nn.Module: logit dan label (N, 1) → satu bilangan",
    "optimizer": "kelas torch.optim, atau fungsi: parameter → pengoptimal",
    "schedule": "kelas torch.optim.lr_scheduler, atau fungsi: pengoptimal → jadwal",
    "augment": "daftar fungsi citra (N, 1, H, W), bernilai −1…1, dan transformasi torchvision",
    "preprocess": "fungsi citra untuk ketiga bagian data, atau transformasi torchvision",
    "step": "fungsi network, citra, label → loss, sebagai ganti loss",
    "model": "pengklasifikasi scikit-learn atas piksel, sebagai ganti network",
}
# They take no weight decay, need sparse gradients or matrices; the first is what all are.
WITHOUT = ("optimizer", "lbfgs", "rprop", "sparseadam", "muon")
OPTIMIZERS = {
    name.lower(): kind
    for name, kind in sorted(vars(torch.optim).items())
    if inspect.isclass(kind) and issubclass(kind, Optimizer) and name.lower() not in WITHOUT
}
EACH_BATCH = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)  # the others of torch count epochs
NETWORKS = f"{', '.join(OURS)}, atau model torchvision, misalnya mobilenet_v3_small"
EMA_DECAY = 0.99  # of the averaged weights in each step: a memory of about a hundred steps
RECORDED = ("val", "test")  # splits whose logits are recorded after each epoch
# its activations still fit the cache of a laptop: measured faster than 16 and than 256
EVALUATION_BATCH = 64

Device = str | torch.device
Loss = Callable[[Tensor, Tensor], Tensor]  # of logits and labels (B, 1)
Transform = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # of images and labels of a batch

# --- settings -------------------------------------------------------------------------------------


def _setting(rule: str, holds: Callable[..., bool], **usual):
    """A field with what a value must hold, how that is said, and the recipe's value."""
    return field(metadata={"rule": rule, "holds": holds}, **usual)


def _one_of(*choices: str):
    """The recipe's comes first."""
    rule = f"salah satu dari {', '.join(choices)}"
    return _setting(rule, choices.__contains__, default=choices[0])


def _some_of(names: dict, **usual):
    rule = f"beberapa dari {', '.join(names)}"
    return _setting(rule, lambda given: set(given) <= set(names), **usual)


def _whole(usual: int | None, unit: str, low: int = 1, high: float = math.inf):
    limits = f"mulai dari {low}" if high == math.inf else f"dari {low} sampai {high}"
    rule = f"bilangan bulat {limits} ({unit})"
    return _setting(rule, lambda n: low <= n <= high, default=usual)


TOGETHER = {  # what settings c ask of one another, by how that is said
    "augment_target='minority': augment=(…), tanpa balance=…": lambda c: (
        c.augment_target == "all" or (c.augment and not c.own and c.balance == "none")
    ),
    "unfreeze sendiri membuka lapisan: hapus trainable=…": lambda c: (
        c.trainable == "all" or not c.unfreeze
    ),
    "average memerlukan trainable='all'": lambda c: c.trainable == "all" or c.average == "none",
    "tta memerlukan augment=(…)": lambda c: not c.tta or c.augment or c.own,
}


@dataclass(frozen=True)
class TrainConfig:
    """Everything a person may set about a run; the defaults are the course's recipe, and what
    another value does is said where that is done. `own`: see engine/owncode.py. Raises InputError.
    """

    epochs: int = _whole(10, "kali semua citra latih")
    batch_size: int = _whole(32, "citra")
    optimizer: str = _one_of("adam", *(name for name in OPTIMIZERS if name != "adam"))
    lr: float = _setting("di atas 0 (per langkah)", lambda x: 0 < x < math.inf, default=4e-4)
    weight_decay: float = _setting("0 atau lebih", lambda x: 0 <= x < math.inf, default=0.0)
    schedule: str = _one_of("constant", "cosine", "onecycle")
    dropout: float = _setting("dari 0 sampai di bawah 1", lambda x: 0 <= x < 1, default=0.0)
    architecture: str = _setting(
        NETWORKS, lambda name: name in OURS or model.is_of_torchvision(name), default="resnet18"
    )
    trainable: str = _one_of("all", "layer4+head", "head")
    augment: tuple[str, ...] = _some_of(augment.TRANSFORMS, default=())
    augment_target: str = _one_of("all", "minority")
    balance: str = _one_of("none", "pos_weight", "sampler", "repeat")
    monitor: str = _one_of("auc", "loss", "acc", "f1")
    patience: int | None = _whole(None, "epoch")
    adaptation: dict[str, str] = _some_of(COURSE, default_factory=COURSE.copy)  # noqa: RUF009
    precision: str = _one_of("float32", "bfloat16")
    resize: int | None = _whole(None, "piksel", 8, 512)
    clip: float | None = _setting("di atas 0 (norma)", lambda x: 0 < x < math.inf, default=None)
    average: str = _one_of("none", "ema", "swa")
    layer_lr: float = _setting("di atas 0 sampai 1", lambda x: 0 < x <= 1, default=1.0)
    unfreeze: int | None = _whole(None, "epoch")
    tta: int = _whole(0, "salinan citra", 0, 100)
    own: str = ""
    seed: int = _whole(0, "awal bilangan acak", 0, 2**31 - 1)

    def __post_init__(self):
        settings.to_plain(self)
        for setting in fields(self):
            value, rule = getattr(self, setting.name), setting.metadata.get("rule")
            if rule and value is not None and not setting.metadata["holds"](value):
                why = f"nilainya harus {rule}"
                raise InputError(f"{setting.name}={value!r} tidak dapat dipakai: {why}.")
        for why, fits in TOGETHER.items():
            if not fits(self):
                raise InputError(f"Pengaturan itu tidak dapat dipakai bersama: {why}.")

    def changed(self) -> dict:
        """The settings that differ from the course's recipe (seed and precision are none of it)."""
        recipe = asdict(TrainConfig(seed=self.seed, precision=self.precision))
        return {name: value for name, value in asdict(self).items() if value != recipe[name]}


def listed_settings() -> str:
    """A line for each setting, with its value in the recipe, and each part of one's own."""
    recipe, listed = TrainConfig(), [field for field in fields(TrainConfig) if field.metadata]
    rules = {f"{f.name}={getattr(recipe, f.name)!r}": f.metadata["rule"] for f in listed}
    rules |= {f"{part}=…": rule for part, rule in PARTS.items()}
    return "".join(f"\n        {name}: {rule}" for name, rule in rules.items())


# --- what the settings make -----------------------------------------------------------------------


def _made(part: str, kinds: tuple[type, ...], make: Callable, *given, **offered):
    """make(*given) with those of `offered` that it takes and a partial has not fixed."""
    fixed = make.keywords if isinstance(make, partial) else {}
    takes = inspect.signature(make).parameters if callable(make) else {}
    names = set(takes) - ({"total_steps"} if "steps_per_epoch" in fixed else set())
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes.values()):
        names |= {"lr", "weight_decay"}
    offered = {name: offered[name] for name in offered if name in names and name not in fixed}
    try:
        made = make(*given, **offered) if callable(make) else None
    except TypeError as error:
        example = f"partial({getattr(make, '__name__', part)}, nama=nilai)"
        raise InputError(f"{part}: {error}. Berikan argumennya dengan {example}.") from None
    if not isinstance(made, kinds):
        wanted = f"kelas atau fungsi yang membuat {kinds[0].__name__} dari torch.optim"
        raise InputError(f"{part}: berikan {wanted}, bukan yang sudah jadi atau yang lain.")
    return made


def make_optimizer(
    config: TrainConfig, network: nn.Module, device: torch.device, parts: dict
) -> Optimizer:
    """Of the trained parameters, in one group but for `layer_lr`. One's own may also take
    `network`, to give each layer its rate. Raises InputError.
    """
    groups = [p for p in network.parameters() if p.requires_grad or config.unfreeze]
    if not groups:
        raise InputError("Model itu tidak mempunyai parameter yang dilatih.")
    if config.layer_lr < 1:
        groups = _by_stage(config, network, groups)
    rates = {"lr": config.lr, "weight_decay": config.weight_decay}
    if "optimizer" in parts:
        return _own_optimizer(parts["optimizer"], groups, network, rates)
    if config.optimizer in ("adam", "adamw"):
        # The fused step is the same arithmetic in one pass over the parameters.
        rates["fused"] = device.type in ("cpu", "cuda")
    return OPTIMIZERS[config.optimizer](groups, **rates)


def _own_optimizer(make: Callable, groups: list, network: nn.Module, rates: dict) -> Optimizer:
    """By torch's class, or a function."""
    if not rates["weight_decay"]:  # its own default may be another one
        del rates["weight_decay"]
    return _made("optimizer", (Optimizer,), make, groups, network=network, **rates)


def _by_stage(config: TrainConfig, network: nn.Module, trained: list) -> list[dict]:
    """The head first; `layer_lr` multiplies the rate once more for each stage below it."""
    wanted = set(trained)
    stages = [[p for p in part.parameters() if p in wanted] for part in model.stages(network)]
    rates = [config.lr * config.layer_lr**i for i in range(len(stages))]
    return [{"params": p, "lr": lr} for p, lr in zip(stages, rates, strict=True) if p]


@dataclass
class Schedule:
    """The learning rate, moved after each batch or each epoch, whichever the scheduler counts."""

    scheduler: lr_scheduler.LRScheduler | lr_scheduler.ReduceLROnPlateau
    each_batch: bool = True

    def step(self) -> None:
        if self.each_batch:
            self.scheduler.step()

    def end_epoch(self, val_loss: float, highest: float) -> None:
        """Of those that count epochs. highest: what a scheduler with mode="max" follows."""
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(highest if self.scheduler.mode == "max" else val_loss)
        elif not self.each_batch:
            self.scheduler.step()


def _one_cycle(optimizer: Optimizer, steps: int) -> lr_scheduler.LRScheduler:
    """Smith & Topin 2018: a warm-up over 30% of the steps from lr/25, then a cosine to lr/10⁴."""
    peaks = [group["lr"] for group in optimizer.param_groups]
    how = {"total_steps": steps, "final_div_factor": 400, "cycle_momentum": False}
    return lr_scheduler.OneCycleLR(optimizer, peaks, **how)


SCHEDULES = {  # by optimizer and the number of its steps
    "constant": lambda optimizer, steps: lr_scheduler.LambdaLR(optimizer, lambda step: 1.0),
    "cosine": lr_scheduler.CosineAnnealingLR,  # Loshchilov & Hutter 2017, without restarts
    "onecycle": _one_cycle,
}


def make_schedule(config: TrainConfig, optimizer: Optimizer, steps: int, parts: dict) -> Schedule:
    """The learning rate over `steps` optimisation steps."""
    if "schedule" in parts:
        return _own_schedule(config, optimizer, steps, parts["schedule"])
    return Schedule(SCHEDULES[config.schedule](optimizer, steps))


def _own_schedule(
    config: TrainConfig, optimizer: Optimizer, steps: int, make: Callable
) -> Schedule:
    """By torch's class, or a function; it counts epochs, but for those of EACH_BATCH."""
    kinds = (lr_scheduler.LRScheduler, lr_scheduler.ReduceLROnPlateau)
    offered = {"total_steps": steps, "max_lr": config.lr, "T_max": config.epochs}
    made = _made("schedule", kinds, make, optimizer, **offered)
    return Schedule(made, isinstance(made, EACH_BATCH))


def make_criterion(config: TrainConfig, labels: Tensor, parts: dict) -> Loss:
    """The loss of a batch. labels: (N,) of the training images."""
    if "loss" in parts:
        return parts["loss"]() if inspect.isclass(parts["loss"]) else copy.deepcopy(parts["loss"])
    ratio = (labels < 0.5).sum() / (labels > 0.5).sum() if config.balance == "pos_weight" else None
    return nn.BCEWithLogitsLoss(pos_weight=ratio)


def make_transform(config: TrainConfig, labels: Tensor, parts: dict) -> Transform:
    """What augments a batch (B, 1, H, W). labels: (N,) of the training images."""
    if "augment" in parts:
        return _own_transform(parts["augment"])
    if config.augment_target == "minority":
        return _of_minority(config, labels)
    return lambda x, y: (augment.apply(x, config.augment), y)


def _own_transform(given: list) -> Transform:
    """Of one's own functions, and names among them."""
    named = augment.TRANSFORMS
    steps = [named[step] if isinstance(step, str) else step for step in given]
    return lambda x, y: augment.apply_own(x, y, steps)


def _of_minority(config: TrainConfig, labels: Tensor) -> Transform:
    """Of the rarer class alone, which teaches a network to see the augmentation."""
    minority = float(labels.mean() <= 0.5)
    return lambda x, y: (augment.apply(x, config.augment, only=y.squeeze(1) == minority), y)


def make_mean(config: TrainConfig, network: nn.Module, optimizer: Optimizer) -> AveragedModel:
    """What is judged: the exponential mean of the steps, or swa's (Izmailov et al. 2018)."""
    if config.average == "swa":
        return AveragedModel(network)
    every_step = get_ema_multi_avg_fn(EMA_DECAY)
    mean = AveragedModel(network, multi_avg_fn=every_step, use_buffers=True)
    optimizer.register_step_post_hook(lambda *_: mean.update_parameters(network))
    return mean


def network_of(
    config: TrainConfig, size: int, weights: Weights, device: torch.device, parts: dict
) -> nn.Module:
    """The network for images of `size` pixels at its start, on the device. Raises InputError."""
    runtime.check_torch()
    if parts.keys() & {"network", "model"}:
        network = _own_network(config, parts)
    else:
        given = (weights, config.seed, config.resize or size, config.dropout, config.architecture)
        network = model.build(*given, **config.adaptation)
    if parts or config.resize:
        _prepare(config, size, weights, network, parts)
    return model.lay_out(network, device)


def _own_network(config: TrainConfig, parts: dict) -> nn.Module:
    if "model" in parts:
        return model.Classifier(parts["model"])
    network = parts["network"]
    if config.dropout:
        raise InputError("dropout=… tidak berlaku bagi model sendiri: tulis nn.Dropout di sana.")
    network = network if isinstance(network, nn.Module) else network()
    if not isinstance(network, nn.Module):
        raise InputError(f"network: {type(network).__name__} bukan nn.Module: berikan kelasnya.")
    with suppress(RuntimeError):  # torch copies none under the old weight_norm
        network = copy.deepcopy(network)  # what was passed stays as it is
    return network


def _prepare(
    config: TrainConfig, size: int, weights: Weights, network: nn.Module, parts: dict
) -> None:
    """It gets images as `preprocess` leaves them, enlarged to `resize`; one's own is filled."""
    if config.resize:
        side = (config.resize, config.resize)
        enlarge = partial(F.interpolate, size=side, mode="bilinear", align_corners=False)
        network.register_forward_pre_hook(partial(model.change_input, enlarge))
    if parts.keys() & {"network", "preprocess"}:  # which may change what they are given
        prepare = partial(augment.prepare, parts.get("preprocess", nn.Identity()))
        network.register_forward_pre_hook(partial(model.change_input, prepare), prepend=True)
    if any(map(nn.parameter.is_lazy, network.parameters())):
        with torch.no_grad():  # which gives lazy layers their shapes
            network.eval()(torch.zeros(2, 1, size, size))
    if "network" in parts and weights.kind == "run":
        model.fill(network, weights)


def parts_of(config: TrainConfig, device: torch.device) -> dict:
    """The parts of one's own that settings hold as text, made anew."""
    with seeded(config.seed, device):  # what they draw
        return owncode.namespace(config.own)[owncode.PARTS] if config.own else {}


def restored(run: Run | str, which: str = "best", parts: dict | None = None) -> nn.Module:
    """The network of a run, or of its key, after its "best" or "last" epoch, on the CPU in eval
    mode; parts: in place of what its text makes. Raises InputError.
    """
    run, cpu = runs.read(run) if isinstance(run, str) else run, torch.device("cpu")
    config = TrainConfig(**run.identity["config"])
    weights = Weights("run", "Bobot pelatihan itu", "", run.weights(which), "")
    parts = parts_of(config, cpu) if parts is None else parts
    if "model" in parts:
        raise InputError("model=… tidak disimpan: latih pengklasifikasi itu sendiri dengan fit.")
    network = network_of(config, run.identity["size"], weights, cpu, parts)
    if run.key:  # how a program that rests on it makes it again
        network.again_ = f"training.restored({run.key!r}, {which!r})"
    return network.eval()


def draw_batches(
    config: TrainConfig, labels: Tensor, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Row numbers of one epoch's batches of labels (N,), drawn on the CPU as on any device."""
    if config.balance in ("sampler", "repeat") or config.augment_target == "minority":
        rows = _balanced_rows(config, labels, generator)
    else:
        rows = torch.randperm(len(labels), generator=generator)
    return rows.split(config.batch_size)


def _balanced_rows(config: TrainConfig, labels: Tensor, generator: torch.Generator) -> Tensor:
    """Both classes alike: drawn with replacement, or each image once and the rarer again."""
    positive = labels > 0.5
    minority = positive if positive.sum() <= (~positive).sum() else ~positive
    if config.balance == "sampler":
        share = torch.where(minority, 1 / minority.sum(), 1 / (~minority).sum())
        return torch.multinomial(share, len(labels), replacement=True, generator=generator)
    rare, common = minority.nonzero().flatten(), (~minority).nonzero().flatten()
    repeated = rare.repeat(math.ceil(len(common) / len(rare)))[: len(common)]
    rows = torch.cat([common, repeated])
    return rows[torch.randperm(len(rows), generator=generator)]


# --- one epoch ------------------------------------------------------------------------------------


@dataclass
class Method:
    """What an epoch is trained with; step(network, x, y) gives a loss in place of criterion's."""

    optimizer: Optimizer
    criterion: Loss
    schedule: Schedule
    transform: Transform = lambda x, y: (x, y)
    precision: str = "float32"
    clip: float | None = None
    step: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None

    def loss(self, network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and the logits that it was made of."""
        # Entered anew for each batch: autocast keeps the weights it has cast until it is left, and
        # they would go stale. (The multiplications alone are in bfloat16: Kalamkar et al. 2019.)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            if self.step is not None:
                return watched(self.step, network, x, y)
            output = network(x)
        logits = output.detach().float().clone()  # a loss may change its input
        return self.criterion(output.float(), y), logits

    def gradient(self, network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients by a batch; returns its loss, and its logits."""
        self.optimizer.zero_grad(set_to_none=True)
        loss, logits = self.loss(network, x, y)
        if loss.requires_grad:  # else the step of one's own has done it
            loss.backward()
        if self.clip is not None:  # Pascanu et al. 2013
            nn.utils.clip_grad_norm_(network.parameters(), self.clip)
        return loss, logits

    def update(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """One step on a batch; returns its logits as they were before."""
        if isinstance(self.optimizer, torch.optim.LBFGS):
            return self._update_by_closure(network, x, y)
        _, logits = self.gradient(network, x, y)
        self.optimizer.step()
        return logits

    def _update_by_closure(self, network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """For an optimizer that asks for the loss several times in a step."""
        asked = []

        def closure() -> Tensor:
            asked.append(self.gradient(network, x, y))
            return asked[-1][0]

        self.optimizer.step(closure)
        return asked[0][1]


def train_epoch(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    batches: tuple[Tensor, ...],
    method: Method,
    after_step: Callable[[], object] = lambda: None,
) -> Tensor:
    """One pass over the batches; returns the logits as they were while training (the course's
    "train accuracy"), on the CPU: (N,) of labels (N, 1), (N, K) of labels (N, K).

    inputs (N, …) and labels lie on the device.
    """
    network.train()
    logits = torch.full(labels.shape, math.nan, device=inputs.device)
    for rows in batches:
        rows = rows.to(inputs.device)
        logits[rows] = method.update(network, *method.transform(inputs[rows], labels[rows]))
        method.schedule.step()
        after_step()
    return logits.squeeze(1).cpu()


def watched(step: Callable, network: nn.Module, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of a step of one's own, and the (first) logits that the network gave on the way."""
    outputs = []
    hook = network.register_forward_hook(lambda _, given, output: outputs.append(output))
    loss = step(network, x, y)
    hook.remove()
    first = [output[0] if isinstance(output, tuple) else output for output in outputs]
    return loss, torch.cat([x.new_empty(0), *first])[: len(x)].detach().float()


def evaluate(network: nn.Module, inputs: Tensor) -> Tensor:
    """Logits (N,) on the CPU of inputs (N, …), in eval mode and without gradient."""
    return model.features(network, inputs, EVALUATION_BATCH).squeeze(1).cpu()


def merit(config: TrainConfig, row: dict[str, float]) -> tuple[float, ...]:
    """What makes an epoch better: `monitor` (AUC sees the order, not how sure), then the loss."""
    followed = () if config.monitor == "loss" else (row[f"val_{config.monitor}"],)
    return (*followed, -row["val_loss"])


def _row(config: TrainConfig, epoch: int, logits: dict[str, Tensor], labels: dict) -> dict:
    """The row of the history after so many epochs; a logit of NaN was never visited."""
    row = {"epoch": epoch}
    for name in ("train", "val"):
        seen = ~torch.isnan(logits[name])
        z, y = logits[name][seen], labels[name][seen]
        row[f"{name}_loss"] = F.binary_cross_entropy_with_logits(z, y).item()
        row[f"{name}_acc"] = ((z > 0) == (y > 0.5)).float().mean().item()
    scores, truth = logits["val"].numpy(), labels["val"].numpy()
    row["val_auc"] = float(evaluation.area_under_curve(scores, truth))
    if config.monitor == "f1":
        row["val_f1"] = float(f1_score(truth, scores > 0, zero_division=0.0))
    return row


# --- the whole training ---------------------------------------------------------------------------


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers of `seed` alone, also Python's and NumPy's, which own code may draw."""
    before, numpys = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(numpys)


# of a Fitting, in a checkpoint
PROGRESS = ("history", "logits", "recorded", "seconds", "best_epoch", "best_weights")


class Fitting:
    """One training: what the settings make, and where it stands after each whole epoch. part: what
    is trained of `network`; inputs, labels: by split; logits: {split: [(N,) an epoch]}.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset,
        weights: Weights,
        device: torch.device,
        parts: dict | None = None,
        recorded: tuple[str, ...] = RECORDED,
    ):
        self.config, self.device, self.recorded = config, device, recorded
        self.history, self.seconds, self.best_epoch, self.best_weights = [], [], 0, {}
        self.logits = {"train": [], "val": [], "test": []}
        parts = parts_of(config, device) if parts is None else parts
        with seeded(config.seed, device):  # whatever was drawn before the network
            network = network_of(config, data.source.size, weights, device, parts)
            criterion = make_criterion(config, torch.from_numpy(data.train.labels), parts)
        if isinstance(criterion, nn.Module):
            criterion = criterion.to(device)
        self.network = self.part = network
        self._take(data)
        if config.trainable != "all":
            self._freeze(parts)
        labels = self.labels["train"]
        self.target = labels.unsqueeze(1).to(device)
        self.per_epoch = len(draw_batches(config, labels, torch.Generator().manual_seed(0)))
        self.mean, self.method = None, None  # of a classifier, which no step trains
        if "model" not in parts:
            optimizer = make_optimizer(config, self.part, device, parts)
            schedule = make_schedule(config, optimizer, self.per_epoch * config.epochs, parts)
            transform, step = make_transform(config, labels, parts), parts.get("step")
            how = (criterion, schedule, transform, config.precision, config.clip, step)
            self.method = Method(optimizer, *how)
            self.stateful = {"network": network, "optimizer": optimizer}
            self.stateful["schedule"] = schedule.scheduler
            if config.average != "none":
                self.mean = self.stateful["mean"] = make_mean(config, network, optimizer)

    def _take(self, data: Dataset) -> None:
        """The images on the device, the labels (N,) on the CPU, by split."""
        self.inputs, self.labels = {}, {}
        extra = {} if data.extra is None else {"extra": data.extra}
        for name, split in (data.splits | extra).items():
            images = to_tensor(split.images, self.device)
            self.inputs[name] = images.contiguous(memory_format=torch.channels_last)
            self.labels[name] = torch.from_numpy(split.labels.astype(np.float32))

    def _freeze(self, parts: dict) -> None:
        """Train a part alone; what the rest gives, if always the same, becomes the input now."""
        config = self.config
        model.freeze(self.network, config.trainable)
        if config.architecture in OURS and not (config.augment or parts or config.resize):
            frozen, self.part = model.split_frozen(self.network, config.trainable)
            self.inputs = {name: model.features(frozen, x) for name, x in self.inputs.items()}

    @property
    def stopped(self) -> bool:
        """Whether every epoch is done, or `patience` epochs have passed without a better one."""
        done, patience = len(self.history), self.config.patience or math.inf
        return done >= self.config.epochs or done - self.best_epoch >= patience

    def epoch(self, tick: Callable[[], object] = lambda: None) -> dict[str, float]:
        """Train one epoch and record it; returns its row of the history."""
        config, epoch, started = self.config, len(self.history), time.perf_counter()
        logits = {"train": self._train(epoch, tick)}
        for name in self.recorded:
            logits[name] = evaluate(self._judged(), self.inputs[name])
        row = _row(config, epoch + 1, logits, self.labels)
        if not all(map(math.isfinite, row.values())):
            cure = f"Turunkan learning rate (sekarang {config.lr:g}), lalu jalankan lagi"
            raise InputError(f"Loss epoch {epoch + 1} bukan bilangan terhingga. {cure}.")
        if self.method is not None and not self.method.schedule.each_batch:
            self.method.schedule.end_epoch(row["val_loss"], merit(config, row)[0])
        self.history.append(row)
        for name, values in logits.items():
            self.logits[name].append(values)
        if merit(config, row) >= max(merit(config, earlier) for earlier in self.history):
            self.best_epoch, self.best_weights = epoch + 1, self._weights()
        self.seconds.append(time.perf_counter() - started)
        return row

    def _train(self, epoch: int, tick: Callable[[], object]) -> Tensor:
        """One epoch (from 0), and what it adds to the averaged weights."""
        config = self.config
        seed = config.seed * 10_007 + epoch + 1  # 0 must not reuse the seed that drew the weights
        if self.method is None:
            return self._fit_classifier(seed)
        if config.unfreeze:  # a stage more every so many epochs (Howard & Ruder 2018)
            model.open_stages(self.network, 1 + epoch // config.unfreeze)
        generator = torch.Generator().manual_seed(seed)
        batches = draw_batches(config, self.labels["train"], generator)
        given = self.part, self.inputs["train"], self.target, batches, self.method
        with seeded(seed, self.device):
            logits = train_epoch(*given, tick)
        if config.average == "swa" and epoch >= config.epochs // 2:  # the mean of later epochs
            self._average()
        return logits

    def _fit_classifier(self, seed: int) -> Tensor:
        """All that a classifier learns, in one epoch; returns its logits (N,)."""
        with seeded(seed, self.device):
            self.network.fit(self.inputs["train"], self.labels["train"])
        return evaluate(self.network, self.inputs["train"])

    def _average(self) -> None:
        """Add the weights to their mean, and take its BatchNorm's statistics anew."""
        self.mean.update_parameters(self.network)
        update_bn(self.inputs["train"].split(EVALUATION_BATCH), self.mean)

    def _judged(self) -> nn.Module:
        """What predictions are made with: the averaged weights, as soon as there are some."""
        begun = self.mean is not None and self.mean.n_averaged > 0
        return self.mean.module if begun else self.part

    def _weights(self) -> dict[str, Tensor]:
        """Of the whole network as it is judged now, on the CPU."""
        judged = self._judged()
        state = (self.network if judged is self.part else judged).state_dict()
        plain = partial(torch.clone, memory_format=torch.contiguous_format)
        return {name: plain(tensor.detach().cpu()) for name, tensor in state.items()}

    def predict(self, split: str) -> Tensor:
        """Final logits (N,) of a split."""
        inputs = self.inputs[split]
        return self._of_copies(inputs) if self.config.tta else evaluate(self.part, inputs)

    def _of_copies(self, inputs: Tensor) -> Tensor:
        """The mean logits (N,) over `tta` augmented copies of images."""
        labels = torch.zeros(len(inputs), 1, device=self.device)  # a transform takes some
        with seeded(self.config.seed, self.device):
            copies = (self.method.transform(inputs, labels)[0] for _ in range(self.config.tta))
            return torch.stack([evaluate(self.part, images) for images in copies]).mean(0)

    def take(self, weights: dict[str, Tensor]) -> None:
        """Go over to the weights of a finished training; a classifier learns once more."""
        if self.method is None:
            self.epoch()
        self.network.load_state_dict(weights)

    def checkpoint(self) -> dict:
        """Everything needed to go on after the last whole epoch."""
        progress = {name: getattr(self, name) for name in PROGRESS}
        states = {name: part.state_dict() for name, part in self.stateful.items()}
        return states | {"progress": progress}

    def resume(self, saved: dict) -> None:
        """Go on from a checkpoint, unless its epochs lack a split that is to be recorded."""
        if set(self.recorded) <= set(saved["progress"]["recorded"]):
            vars(self).update(saved["progress"])
            for name, part in self.stateful.items():
                part.load_state_dict(saved[name])

    def outcome(self) -> Outcome:
        """What the run store keeps of the whole training."""
        n, weights = len(self.history), {"last": self._weights(), "best": self.best_weights}
        logits = {name: torch.stack(epochs) for name, epochs in self.logits.items() if epochs}
        for which, epoch in (("last", n), ("best", self.best_epoch)):
            self.network.load_state_dict(weights[which])
            for split in self.inputs:
                # what was recorded in training mode, or without the copies, says nothing of the end
                known = split in self.recorded and not self.config.tta
                end = self.logits[split][epoch - 1] if known else self.predict(split)
                logits[f"{split}_{which}"] = end
        info = {
            "best_epoch": self.best_epoch,
            "parameters": sum(p.numel() for p in self.network.parameters()),
            "trained_parameters": sum(p.numel() for p in self.part.parameters() if p.requires_grad),
            "seconds": sum(self.seconds),
            "images_per_second": len(self.target) * n / sum(self.seconds),
            "peak_memory_mb": runtime.peak_memory_mb(self.device),
        }
        return Outcome(self.history, logits, weights, info)


def fit(
    config: TrainConfig,
    data: Dataset,
    weights: Weights,
    device: Device = "cpu",
    parts: dict | None = None,
    resume: dict | None = None,
    checkpoint: Callable[[int, dict], None] = lambda epoch, state: None,
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
    every_epoch: bool = True,
) -> Outcome:
    """Train as `config` says. `checkpoint(epoch, state)` gets all that is needed to go on, bit for
    bit, by `resume=state`; `every_epoch`: the test split's logits are recorded after each too,
    which nothing here looks at; `parts` stand for what `config.own` makes. Raises InputError.
    """
    recorded = RECORDED if every_epoch else RECORDED[:1]
    fitting = Fitting(config, data, weights, torch.device(device), parts, recorded)
    if resume is not None:
        fitting.resume(resume)
    steps, done = (fitting.per_epoch * n for n in (config.epochs, len(fitting.history)))
    network = owncode.expressions(config.own).get("network", config.architecture)[:40]
    with runtime.bar(steps, f"Melatih {network}, seed {config.seed}", initial=done) as progress:
        while not fitting.stopped:
            row = fitting.epoch(progress.update)
            progress.set_postfix(epoch=row["epoch"], val_acc=f"{row['val_acc']:.3f}")
            if not fitting.stopped:  # after the last epoch the whole run is kept at once
                checkpoint(row["epoch"], fitting.checkpoint())
            on_epoch(fitting.history)
    return fitting.outcome()


# --- through the run store ------------------------------------------------------------------------


def task(
    config: TrainConfig, data: Dataset, weights: Weights, device: Device, keep_weights: bool = True
) -> Task:
    """A training as the run store sees it: what decides its numbers, as JSON can hold it, and what
    it is given. keep_weights: else predictions of two epochs alone.
    """
    device = torch.device(device)
    identity = {
        "config": asdict(config),
        "data": data.fingerprint,
        "weights": weights.digest,
        "device": device.type,
        "threads": torch.get_num_threads() if device.type == "cpu" else None,
        "size": data.source.size,
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "code": CODE.digest,
    }
    if read := owncode.files_read(config.own):
        identity["files"] = read
    given = (config, data, weights, device)
    return Task(identity, given, data.fingerprint, config.own, CODE.altered, keep_weights)


def run(
    config: TrainConfig,
    data: Dataset,
    weights: Weights,
    device: Device = "cpu",
    keep_weights: bool = True,
    on_epoch: Callable[[list[dict]], None] = lambda history: None,
    parts: dict | None = None,
) -> Run:
    """The run of these settings, read or trained; with `parts`, which have no text, not kept."""
    asked = task(config, data, weights, device, keep_weights)
    asked = asked if parts is None else replace(asked, unkept=str)
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
        owncode: ("read", "namespace", "_execute"),
    },
)
