"""The remedies that the course's report recommends, each as a change of the recipe, their training
and what may be said of them (notebook 04).

Validation chooses (the combination), the test split judges. The rows of the reference study that
ships with the package are judged by the same functions; report/reference.py computes them.
"""

import hashlib
import json
import sys
import time
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cxr_helpers import augment, evaluation, model, training
from cxr_helpers.data import Dataset, folds, grey, to_tensor
from cxr_helpers.engine import files, npz, runs, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Outcome, Run
from cxr_helpers.engine.runtime import bar
from cxr_helpers.evaluation import Measured
from cxr_helpers.model import Weights, small_cnn
from cxr_helpers.training import TrainConfig, evaluate


@dataclass(frozen=True)
class Remedy:
    """recommendation: a key of RECOMMENDED; changes: TrainConfig settings; which: the epoch that is
    judged, "last" or "best"; parts: of a combination, the titles of its remedies.
    """

    name: str
    recommendation: str
    title: str
    changes: dict = field(default_factory=dict)
    which: str = "last"
    parts: tuple[str, ...] = ()


# The eleven recommendations in the course's order.
RECOMMENDED = (
    *("dropout", "weight_decay", "augmentation", "simpler_architecture", "fewer_layers"),
    *("schedule", "batch_size", "early_stopping", "balancing", "minority_augmentation"),
    "cross_validation",
)

ANATOMICAL = ("geometry", "exposure")
BASELINE = Remedy("baseline", "", "Pembanding (resep mata kuliah)")
REMEDIES = (
    Remedy("dropout", "dropout", "Dropout 0,5", {"dropout": 0.5}),
    Remedy(
        "weight_decay",
        "weight_decay",
        "Weight decay 0,05 (AdamW)",
        {"optimizer": "adamw", "weight_decay": 0.05},
    ),
    Remedy(
        "augmentation",
        "augmentation",
        "Augmentasi geometri dan pencahayaan",
        {"augment": ANATOMICAL},
    ),
    Remedy("flip", "augmentation", "Augmentasi cermin kiri-kanan", {"augment": ("flip",)}),
    Remedy("small_cnn", "simpler_architecture", "CNN kecil", {"architecture": "small_cnn"}),
    Remedy(
        "resnet18_layer2",
        "simpler_architecture",
        "ResNet-18 hingga layer2",
        {"architecture": "resnet18_layer2"},
    ),
    Remedy("head_only", "fewer_layers", "Hanya lapisan klasifikasi", {"trainable": "head"}),
    Remedy(
        "layer4_and_head",
        "fewer_layers",
        "Layer4 dan lapisan klasifikasi",
        {"trainable": "layer4+head"},
    ),
    Remedy("cosine", "schedule", "Jadwal kosinus", {"schedule": "cosine"}),
    # Its point is a peak far above the constant rate (Smith & Topin 2018).
    Remedy(
        "onecycle",
        "schedule",
        "Jadwal one-cycle, puncak 0,0015",
        {"schedule": "onecycle", "lr": 1.5e-3},
    ),
    Remedy("batch_8", "batch_size", "Batch 8", {"batch_size": 8}),
    Remedy("batch_128", "batch_size", "Batch 128", {"batch_size": 128}),
    Remedy(
        "early_stopping",
        "early_stopping",
        "Early stopping (patience 2 epoch)",
        {"patience": 2},
        which="best",
    ),
    Remedy("pos_weight", "balancing", "Bobot kelas pada loss", {"balance": "pos_weight"}),
    Remedy("weighted_sampler", "balancing", "Pengambilan berimbang", {"balance": "sampler"}),
    Remedy(
        "minority_augmentation",
        "minority_augmentation",
        "Augmentasi kelas minoritas saja",
        {"augment": ANATOMICAL, "augment_target": "minority"},
    ),
    Remedy(
        "minority_repeated",
        "minority_augmentation",
        "Kelas minoritas diulang, augmentasi kedua kelas",
        {"augment": ANATOMICAL, "balance": "repeat"},
    ),
)
PRETRAINED = Remedy("pretrained", "", "Prapelatihan dengan semua label (tambahan kami)")
# the single remedies that are trained even where the preset doesn't train every row
ALWAYS = ("augmentation",)
# at most so many remedies in the combination: each more makes it harder to say what helped
COMBINED = 4
# both take capacity away; a smaller network may not have the layers to freeze
EXCLUSIVE = {"simpler_architecture", "fewer_layers"}


def combine(validation: dict[str, dict[str, float]]) -> Remedy | None:
    """The remedies that help most on validation as one; at most COMBINED. The test split has no
    say. None where fewer than two go together.

    validation: {name: Row.validation} of the baseline and the remedies. A candidate has a lower
    loss and a higher AUC than the baseline (loss alone would choose networks that learned too
    little to be wrong with confidence); the highest AUC goes first.
    """
    base = validation["baseline"]
    better = [
        remedy
        for remedy in REMEDIES
        if remedy.name in validation
        and validation[remedy.name]["loss"] < base["loss"]
        and validation[remedy.name]["auc"] > base["auc"]
    ]
    chosen: list[Remedy] = []
    for remedy in sorted(better, key=lambda remedy: -validation[remedy.name]["auc"]):
        if len(chosen) < COMBINED and all(_go_together(remedy, other) for other in chosen):
            chosen.append(remedy)
    if len(chosen) < 2:
        return None
    changes = {key: value for remedy in chosen for key, value in remedy.changes.items()}
    which = "best" if any(remedy.which == "best" for remedy in chosen) else "last"
    parts = tuple(remedy.title for remedy in chosen)
    return Remedy("combination", "", "Gabungan pilihan validasi", changes, which, parts)


def _go_together(one: Remedy, other: Remedy) -> bool:
    """Whether they follow two recommendations, not both of EXCLUSIVE, and change no setting
    twice.
    """
    advice = {one.recommendation, other.recommendation}
    return len(advice) == 2 and advice != EXCLUSIVE and not set(one.changes) & set(other.changes)


# --- a row: a remedy with its trainings -----------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """What one training left that a judgement needs.

    logits: (N,) in eval mode of "train", "val", "test" and, where there are further test images,
    "extra", in the epoch that is judged; "val_last" of the last epoch, by which every row is
    chosen. info: its "seconds", "parameters" and "trained_parameters".
    """

    seed: int
    logits: dict[str, np.ndarray]
    history: list[dict]
    info: dict


def trained(run: Run, which: str = "last") -> Trained:
    """What a judgement needs of a finished run; which: the epoch that is judged."""
    test = run.open_test()
    logits = {split: run.logits[f"{split}_{which}"] for split in ("train", "val")}
    logits |= {"val_last": run.logits["val_last"], "test": test[which]}
    if f"extra_{which}" in test:
        logits["extra"] = test[f"extra_{which}"]
    return Trained(run.config.seed, logits, run.history.to_dict("records"), run.info)


def test_images(data: Dataset) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Labels, patients and, where the phantom knows, which labels the anatomy contradicts, of all
    test images: the extra ones behind those of the test split.
    """
    splits = [split for split in (data.test, data.extra) if split is not None]
    patients = flipped = None
    if data.test.patients is not None:
        patients = np.concatenate([split.patients for split in splits])
    if data.test.truth is not None:
        flipped = np.concatenate([split.truth["flipped"] for split in splits])
    return np.concatenate([split.labels for split in splits]), patients, flipped


@dataclass(frozen=True)
class Row:
    """A remedy with its trainings on the same images, one a seed; changed: the settings that
    differ from the recipe.
    """

    remedy: Remedy
    trained: list[Trained]
    changed: dict

    def logits(self, split: str) -> list[np.ndarray]:
        """Of each seed, (N,)."""
        return [training.logits[split] for training in self.trained]

    def test(self, data: Dataset) -> list[np.ndarray]:
        """Logits of all test images of `data`, the extra ones last, of each seed."""
        splits = ["test"] if data.extra is None else ["test", "extra"]
        return [np.concatenate([one.logits[name] for name in splits]) for one in self.trained]

    def thresholds(self, data: Dataset) -> list[float]:
        """The logit above which each seed's network decides for class 1, chosen on validation."""
        return [evaluation.chosen_threshold(val, data.val.labels) for val in self.logits("val")]

    def gap(self, data: Dataset) -> Measured:
        """Training minus validation accuracy."""
        train, val = (
            evaluation.of_images(evaluation.right(self.logits(name), split.labels), split.patients)
            for name, split in (("train", data.train), ("val", data.val))
        )
        return evaluation.minus(train, val)

    def validation(self, data: Dataset) -> dict[str, float]:
        """Mean validation "loss" and "auc" over the seeds after the last epoch, the same measure
        for every row.
        """
        labels, logits = data.val.labels, self.logits("val_last")
        loss = [evaluation.loss(one, labels).mean() for one in logits]
        auc = [evaluation.area_under_curve(one, labels) for one in logits]
        return {"loss": float(np.mean(loss)), "auc": float(np.mean(auc))}


# --- what may be said of rows ---------------------------------------------------------------------

LISTED = 6  # rows that a sentence still names one by one; the table names them all
COMPARED = "pembanding"  # the verdict of the row that the others are compared with


def judge(rows: list[Row], data: Dataset) -> list[dict]:
    """Each row as 04_perbaikan.json holds it; the first is the baseline, with which the others are
    compared.

    difference: of every metric on all test images, and of the gap. predicts, overfits: that of the
    AUC and that of the gap with their verdicts, adjusted by Holm over the rows.
    """
    labels, patients, _ = test_images(data)
    measured = [
        evaluation.measured(row.test(data), labels, patients, row.thresholds(data))
        | {"gap": row.gap(data)}
        for row in rows
    ]
    differences = [
        {name: evaluation.difference(ours[name], theirs) for name, theirs in measured[0].items()}
        for ours in measured[1:]
    ]
    guessing = [evaluation.guesses(row.test(data)) for row in rows[1:]]
    predicts, overfits = (
        evaluation.judge([one[name] for one in differences], margin, name == "auc", guessing)
        for name, margin in evaluation.MARGIN.items()
    )
    judged = [_described(row, data) for row in rows]
    judged[0] |= dict.fromkeys(("difference", "predicts", "overfits")) | {"verdict": COMPARED}
    for row, difference, auc, gap in zip(judged[1:], differences, predicts, overfits, strict=True):
        row["difference"] = {name: one.as_dict() for name, one in difference.items()}
        row |= {"predicts": auc, "overfits": gap, "verdict": auc["verdict"]}
    return judged


def _described(row: Row, data: Dataset) -> dict:
    """What a row is, and its metrics over the seeds; without a comparison."""
    labels, patients, flipped = test_images(data)
    test = evaluation.metrics(row.test(data), labels, patients, row.thresholds(data))
    test["patients"] = evaluation.n_patients(patients)
    if flipped is not None:
        drawn = labels ^ flipped.astype(labels.dtype)
        test["truth_auc"] = evaluation.metrics(row.test(data), drawn, patients)["auc"]
    first = row.trained[0]
    return {
        "name": row.remedy.name,
        "recommendation": row.remedy.recommendation,
        "title": row.remedy.title,
        "changed": row.changed,
        "parts": list(row.remedy.parts),
        "epoch_judged": row.remedy.which,
        "seeds": [training.seed for training in row.trained],
        "n_train": len(first.logits["train"]),
        "epochs": len(first.history),
        "seconds": sum(training.info["seconds"] for training in row.trained),
        "parameters": first.info["parameters"],
        "trained_parameters": first.info["trained_parameters"],
        "gap": evaluation.estimate(row.gap(data)),
        "validation": row.validation(data),
        "test": test,
        "history": first.history,
    }


def ensemble(row: Row, data: Dataset) -> dict | None:
    """The mean of a row's logits over its seeds as one prediction: its metrics on the test images,
    and the difference of its AUC from the mean of the single seeds. None below LEAST_SEEDS.

    What other seeds would have given is estimated by leaving out each seed in turn (jackknife:
    Efron & Tibshirani 1993, ch. 11).
    """
    logits, (labels, patients, _) = row.test(data), test_images(data)
    if len(logits) < evaluation.LEAST_SEEDS:
        return None
    mean = np.mean(logits, axis=0)
    difference = evaluation.ensemble_difference(logits, labels, patients)
    guessing = [evaluation.guesses([mean])]
    return {
        "seeds": [training.seed for training in row.trained],
        "test": evaluation.metrics([mean], labels, patients),
        "difference": evaluation.judge([difference], evaluation.MARGIN["auc"], True, guessing)[0],
    }


def spread(values: Sequence[float]) -> dict:
    """What one value of several trainings differs by; sd is None of a single one."""
    low, high = float(min(values)), float(max(values))
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"n": len(values), "lowest": low, "highest": high, "range": high - low, "sd": sd}


def summarise_folds(parts: list[Dataset], trainings: list[Trained]) -> dict:
    """The spread of validation accuracy and AUC over the folds, and the test AUC of the mean of
    their logits as one prediction ("ensemble") and of single folds ("single").
    """
    labels, patients, _ = test_images(parts[0])
    test = Row(Remedy("folds", "", ""), trainings, {}).test(parts[0])
    val = [(one.logits["val_last"], part.val.labels) for one, part in zip(trainings, parts)]
    single = evaluation.metrics(test, labels, patients)
    together = evaluation.metrics([np.mean(test, axis=0)], labels, patients)
    return {
        "n": len(parts),
        "val_acc": spread([((logits > 0) == truth).mean() for logits, truth in val]),
        "val_auc": spread([evaluation.area_under_curve(logits, truth) for logits, truth in val]),
        "ensemble": {"auc": together["auc"]},
        "single": {"auc": single["auc"]},
    }


def summarise(rows: list[dict]) -> dict:
    """What the sentences about the rows of `judge` say; a row is named by its place.

    predicts, overfits: for each verdict that was reached how many rows, and their titles unless
    they are too many. shown: the row whose curve stands beside the baseline's: the combination,
    else the first that overfits less, else the first.
    """
    places = {row["name"]: place for place, row in enumerate(rows)}
    calmer = [
        place
        for place, row in enumerate(rows)
        if place and row["overfits"]["verdict"] == evaluation.BETTER
    ]
    shown = places.get("combination", (calmer or [1])[0])
    most = rows[0]["trained_parameters"]
    return {
        "n": len(rows) - 1,
        "predicts": _counted(rows[1:], "predicts"),
        "overfits": _counted(rows[1:], "overfits"),
        "compared": [rows[0]["name"], rows[shown]["name"]],
        "shown": shown,
        "smaller": [place for place, row in enumerate(rows) if row["trained_parameters"] < most],
        "combination": places.get("combination"),
    }


def _counted(rows: list[dict], question: str) -> list[dict]:
    counted = []
    for verdict in evaluation.VERDICTS:
        titles = [row["title"] for row in rows if row[question]["verdict"] == verdict]
        named = titles if len(titles) <= LISTED else None
        counted.append({"verdict": verdict, "n": len(titles), "titles": named})
    return [group for group in counted if group["n"]]


# --- training them --------------------------------------------------------------------------------


def trains_every_row(study, repeat: str = "auto") -> bool:
    """Whether every remedy is trained: the preset says so, or REPEAT=all."""
    return bool(settings.parse_repeat(repeat) or study.preset.every_row)


def planned(study, repeat: str = "auto") -> list[Remedy]:
    """The remedies that are trained before validation has chosen: all of them, or ALWAYS and the
    combination that the reference study chose.
    """
    if trains_every_row(study, repeat):
        return list(REMEDIES)
    chosen = reference_combination(read_reference())
    return [one for one in REMEDIES if one.name in ALWAYS] + ([chosen] if chosen else [])


def measure(study, n_jobs: int | str = 1, cluster: str = "", repeat: str = "auto") -> list[dict]:
    """Train the baseline and what is `planned` (or read them from the store), and judge them: rows
    as of `judge`.

    Where every remedy is trained, then also the combination that this study's validation chooses,
    and with a preset that trains every row, the recipe after `pretrain`. n_jobs processes share the
    cores of this computer, or the workers of `cluster` ("dask://host:port") do the work; see
    parallel.sharing. The baseline's runs are those of notebook 02. Raises InputError.
    """
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    rows = [_baseline(study)]
    # one after the other, with every core
    pretrained = [_pretrained(study)] if study.preset.every_row and wider(study) else []
    rows += _train(study, planned(study, repeat), n_jobs, cluster)
    if trains_every_row(study, repeat):
        chosen = combine({row.remedy.name: row.validation(study.used) for row in rows})
        rows += _train(study, [chosen], n_jobs, cluster) if chosen else []
    return judge(rows + pretrained, study.used)


def _baseline(study) -> Row:
    return Row(BASELINE, [trained(run) for run in study.baseline()], {})


def _train(study, remedies: Sequence[Remedy], n_jobs: int, cluster: str) -> list[Row]:
    """Train these rows under one bar that counts trainings and shows the time left."""
    configs = [
        [study.config(seed=study.seed + i, **remedy.changes) for i in range(study.preset.seeds)]
        for remedy in remedies
    ]
    given = [
        (config, study.used, study.weights, study.device) for seeds in configs for config in seeds
    ]
    with bar(len(given), f"Perbaikan ({len(remedies)} baris)", unit="pelatihan") as progress:
        fits = iter(training.run_all(given, n_jobs, cluster, progress.update))
    return [
        Row(remedy, [trained(next(fits), remedy.which) for _ in seeds], seeds[0].changed())
        for remedy, seeds in zip(remedies, configs, strict=True)
    ]


def cross_validation(study, n_jobs: int, cluster: str) -> dict:
    """What folds say of the spread (`summarise_folds`), one training a fold; the test split is the
    same for all.
    """
    parts = folds(study.used, study.seed)
    given = [(study.config(), part, study.weights, study.device) for part in parts]
    with bar(len(given), "Validasi silang", unit="pelatihan") as progress:
        fits = training.run_all(given, n_jobs, cluster, progress.update)
    return summarise_folds(parts, [trained(run) for run in fits])


def shortcut(study) -> list[dict]:
    """What either form of minority augmentation teaches a small CNN (seed of the study): to see the
    class, or the augmentation?

    One dict a form and class of the test images: the shares of these images that are given class 1
    plain and augmented, and their difference, paired by image. An image means the same before and
    after an augmentation that is plausible, so a network that judges anatomy shows no difference.
    """
    test, rows = study.used.test, []
    images = to_tensor(test.images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)
        changed = augment.apply(images, ANATOMICAL)
    for remedy in [one for one in REMEDIES if one.recommendation == "minority_augmentation"]:
        config = study.config(architecture="small_cnn", **remedy.changes)
        run = training.run(config, study.used, study.weights, study.device)
        network = small_cnn()
        network.load_state_dict(run.weights("last"))
        before, after = (evaluate(network, x).numpy() > 0 for x in (images, changed))
        for label in (0, 1):
            which = test.labels == label
            patients = evaluation.among(test.patients, which)
            moved = after[which].astype(int) - before[which]
            change = evaluation.change(moved[None], patients)
            rows.append(
                {
                    "title": remedy.title,
                    "label": label,
                    "n": int(which.sum()),
                    "patients": evaluation.n_patients(patients),
                    "plain": evaluation.share(before[which], patients),
                    "augmented": evaluation.share(after[which], patients),
                    "difference": change,
                    "side": change["side"],
                }
            )
    return rows


# --- pre-training on every label of the file ------------------------------------------------------

# over all images of the file: of ChestMNIST ten times the steps that the pair's ten epochs take
PRETRAINING_EPOCHS = 3


def wider(study) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Images (N, H, W) of the file's train split, all their labels (N, K), and how many images are
    left out: those that equal one of the pair's validation or test images pixel by pixel, and those
    of a patient who is known to be among these.

    None where the file has one label an image, is the phantom, or is too large to be read whole.
    """
    source, data = study.data.source, study.data
    if not source.many_labels or source.kind == "phantom":
        return None
    if npz.is_large(npz.headers(source.path)["train_images"][0]):
        return None
    with npz.one_line(source.path), np.load(source.path, allow_pickle=False) as arrays:
        images = grey(arrays["train_images"])
        labels = arrays["train_labels"] if source.flag else npz.own_labels(source.path)[2]["train"]
    judged = {image.tobytes() for split in (data.val, data.test) for image in split.images}
    kept = np.array([image.tobytes() not in judged for image in images])
    if data.train.patients is not None:
        others = np.concatenate([data.val.patients, data.test.patients])
        kept[data.train.rows[np.isin(data.train.patients, others)]] = False
    return images[kept], labels[kept], int((~kept).sum())


def pretrain(study, config: TrainConfig | None = None) -> Weights:
    """The network of `config` (default: the recipe) trained on all labels of the study's file, as
    the start of another training; read from the run store where it is kept.

    Afterwards its last layer is that of an untrained one. Raises InputError where `wider` gives
    None, or the network has no linear last layer.
    """
    state = _pretraining(study, config or study.config()).weights("last")
    note = "Dilatih lebih dahulu dengan semua label citra latih berkas yang sama."
    return Weights("run", "Prapelatihan dengan semua label", note, state, model.digest(state))


def _pretraining(study, config: TrainConfig) -> Run:
    found = wider(study)
    if found is None:
        raise InputError(
            "Prapelatihan memerlukan berkas dengan banyak label setiap citra, "
            "misalnya DATA=chestmnist SIZE=28."
        )
    images, labels, _ = found
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    identity = training.identity(config, study.used, study.weights, study.device)
    identity |= {"pretraining": [PRETRAINING_EPOCHS, digest, PRETRAINING_CODE.digest]}
    given = (config, images, labels, study.used, study.weights, study.device)
    return runs.get(runs.Task(identity, given, study.used.fingerprint), fit_all_labels)


def fit_all_labels(
    config: TrainConfig,
    images: np.ndarray,
    labels: np.ndarray,
    data: Dataset,
    weights: Weights,
    device: torch.device,
    **_,
) -> Outcome:
    """As training.fit, on images (N, H, W) with labels (N, K): one logit a label, mean binary
    cross-entropy, PRETRAINING_EPOCHS epochs with the recipe's batch, optimizer and learning rate.
    """
    network = training.network_of(config, data, weights, device, {})
    names = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    if not names:
        raise InputError(
            "Prapelatihan memerlukan jaringan dengan lapisan linear terakhir: "
            "pilih resnet18 atau jaringan lain."
        )
    head = network.get_submodule(names[-1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network.set_submodule(names[-1], nn.Linear(head.in_features, labels.shape[1]).to(device))
    x, y = to_tensor(images, device), torch.from_numpy(labels).float().to(device)
    criterion, optimizer = (
        nn.BCEWithLogitsLoss(),
        training.make_optimizer(config, network, device, {}),
    )
    steps = PRETRAINING_EPOCHS * -(-len(x) // config.batch_size)
    schedule = training.make_schedule(config, optimizer, steps, {})
    history, began = [], time.perf_counter()
    with (
        bar(steps, f"Prapelatihan, seed {config.seed}") as progress,
        torch.random.fork_rng(devices=[device] if device.type == "cuda" else []),
    ):
        for epoch in range(1, PRETRAINING_EPOCHS + 1):
            torch.manual_seed(config.seed * 10_007 + epoch)
            batches = torch.randperm(
                len(x), generator=torch.Generator().manual_seed(config.seed * 10_007 + epoch)
            ).split(config.batch_size)
            how = (optimizer, criterion, schedule, lambda x, y: (x, y), progress.update)
            logits = training.train_epoch(network, x, y, batches, *how, config.precision)
            history.append({"epoch": epoch, "train_loss": criterion(logits, y.cpu()).item()})
    network.set_submodule(names[-1], head)
    state = {
        name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()
    }
    return Outcome(history, {}, {"last": state}, {"seconds": time.perf_counter() - began})


PRETRAINING_CODE = runs.Code((sys.modules[__name__],), {sys.modules[__name__]: ("fit_all_labels",)})


def _pretrained(study) -> Row:
    """The recipe after `pretrain`, whose time counts too, one a seed."""
    trainings = []
    for i in range(study.preset.seeds):
        config = study.config(seed=study.seed + i)
        start = pretrain(study, config)
        run = training.run(config, study.used, start, study.device, keep_weights=False)
        one, before = trained(run), _pretraining(study, config).info["seconds"]
        trainings.append(replace(one, info=one.info | {"seconds": one.info["seconds"] + before}))
    return Row(PRETRAINED, trainings, {"start": "pretraining"})


def about_pretraining(study, rows: list[dict]) -> dict | None:
    """What the pre-trained row of `measure` rests on and its place; None where there is none."""
    names = [row["name"] for row in rows]
    if PRETRAINED.name not in names:
        return None
    images, labels, left_out = wider(study)
    counts = {"n": len(images), "labels": labels.shape[1], "left_out": left_out}
    return counts | {"epochs": PRETRAINING_EPOCHS, "row": names.index(PRETRAINED.name)}


# --- the reference study that ships with the package ----------------------------------------------

REFERENCE = files.REFERENCE
TRAININGS = REFERENCE / "trainings"
BFLOAT16 = REFERENCE / "bfloat16"  # its recipe and combination in bfloat16
EXACT = ("val", "val_last", "test")  # kept in float32; the many other logits in float16
ROUNDING = 1e-6  # the same predictions in another order of sums
# the verdicts that agree with an interval on this side of zero; who guesses the majority looks
# worse, and rightly
AGREES = {
    "above": (evaluation.BETTER,),
    "below": (evaluation.WORSE, evaluation.MAJORITY),
    "across": (evaluation.EQUAL, evaluation.UNDECIDED, evaluation.MAJORITY),
}


def read_reference(folder: Path | None = None) -> dict:
    """What notebooks/reference/results.json holds. Raises InputError where it is missing or
    damaged.
    """
    folder = folder or REFERENCE
    try:
        return json.loads((folder / "results.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise InputError(
            f"Studi acuan di {folder} tidak ada atau rusak: "
            "ambil lagi folder itu dari repositori, atau jalankan `make reference`."
        ) from None


def load_training(path: Path) -> tuple[dict, Trained] | None:
    """(about, what a judgement needs) of a training's file; None where it is missing or damaged."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            about = json.loads(arrays["about"].tobytes())
            logits = {name: arrays[name].astype(np.float32) for name in (*EXACT, "train", "extra")}
        return about, Trained(about["config"]["seed"], logits, about["history"], about)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def is_reference(study, reference: dict) -> bool:
    """Whether the reference study is about this study's images, start and length."""
    about = reference["provenance"]
    return (about["data"].get("without_extra"), "random", about["epochs"]) == (
        study.used.fingerprint,
        study.weights.kind,
        study.preset.epochs,
    )


def reference_baseline(study) -> Row | None:
    """The reference study's seeds of the recipe in this study's precision; None where that study is
    another one (`is_reference`).
    """
    if not is_reference(study, read_reference()):
        return None
    folder = BFLOAT16 if study.precision == "bfloat16" else TRAININGS
    kept = [load_training(path) for path in folder.glob("baseline-s*.npz")]
    trainings = [found[1] for found in kept if found is not None]
    return Row(BASELINE, sorted(trainings, key=lambda one: one.seed), {}) if trainings else None


def reference_combination(reference: dict) -> Remedy | None:
    """The combination that the reference study's validation chose."""
    chosen = reference["combination"]
    if chosen is None:
        return None
    changes = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in chosen["changes"].items()
    }
    return Remedy(**chosen | {"changes": changes, "parts": tuple(chosen["parts"])})


def place(rows: list[dict], reference: dict) -> list[dict]:
    """Where a reader's rows (of `judge`) fall among the reference's seeds, but those that the
    reader took too: a training repeated falls where it fell before. The combination: the very same.

    alone: what the reader's interval of the difference in AUC would say alone: "misleads" (a
    difference that the reference's verdict does not confirm), "misses" (none, though there is one),
    or None.
    """
    variants, placed = {row["name"]: row for row in reference["variants"]}, []
    for i, row in enumerate(rows):
        theirs = variants.get(row["name"])
        if theirs is None or theirs["parts"] != row["parts"]:
            continue
        others = [k for k, seed in enumerate(theirs["seeds"]) if seed not in row["seeds"]]
        shown = row["predicts"] and evaluation.side(row["predicts"]["ci95"])
        alone = None
        if shown and theirs["verdict"] not in AGREES[shown]:
            alone = "misses" if shown == "across" else "misleads"
        placed.append(
            {
                "row": i,
                "seeds": len(others),
                "auc": _among(
                    row["test"]["auc"]["value"], [theirs["each"]["auc"][k] for k in others]
                ),
                "gap": _among(row["gap"]["value"], [theirs["each"]["gap"][k] for k in others]),
                "shown": shown,
                "verdict": theirs["verdict"],
                "alone": alone,
            }
        )
    return placed


def _among(value: float, seeds: list[float]) -> dict:
    """A value and where it falls: "below", "within" or "above" those of the seeds."""
    if not seeds:
        return {"value": value} | dict.fromkeys(("lowest", "highest", "where"))
    low, high, where = min(seeds), max(seeds), "within"
    if value < low - ROUNDING:
        where = "below"
    elif value > high + ROUNDING:
        where = "above"
    return {"value": value, "lowest": low, "highest": high, "where": where}


def beside(
    study, rows: list[dict], n_jobs: int | str = 1, cluster: str = "", repeat: str = "auto"
) -> dict:
    """What notebook 04 says beside the rows of `measure`: whose rows the table shows, with what
    belongs to them, and where the reader's fall among the reference's seeds (`place`).

    The reader's own are shown ("own") where they trained every remedy, and on the phantom, which
    the reference is about, with seeds enough for a verdict. Folds that they trained are shown in
    any case.
    """
    reference, phantom = read_reference(), study.used.source.kind == "phantom"
    shown = {name: reference[name] for name in ("ensemble", "detectable", "cross_validation")}
    every = trains_every_row(study, repeat)
    fewest = min(len(row["seeds"]) for row in rows)
    own = every and (not phantom or fewest >= evaluation.LEAST_SEEDS)
    if every:
        shown["cross_validation"] = cross_validation(study, *settings.parse_jobs(n_jobs, cluster))
    if own:
        shown |= {"ensemble": ensemble(_baseline(study), study.used), "detectable": None}
    variants = rows if own else reference["variants"]
    return shown | {
        "shown": variants,
        "source": "own" if own else "reference",
        "folds_source": "own" if every else "reference",
        "summary": summarise(variants),
        "numbers": {name: number for number, name in enumerate(RECOMMENDED, start=1)},
        "margin": evaluation.MARGIN,
        "reference": reference["provenance"],
        "background": summarise(reference["variants"]) if own and not phantom else None,
        "precisions": reference["precisions"],
        "spread": spread(reference["variants"][0]["each"]["auc"]),
        "repeated": place(rows, reference) if phantom else [],
    }
