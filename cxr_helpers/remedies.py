"""The remedies that the course's report recommends, each as a change of the recipe, and their
measurement (notebook 04).

Validation chooses (the combination), the test split judges. What may be said of a row, verdicts.py
and comparison.py decide, the same for the rows of the reference study that ships with the package
(reference.py).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from cxr_helpers import augment, evaluation, pretraining, training, verdicts
from cxr_helpers.data import to_tensor
from cxr_helpers.engine import settings
from cxr_helpers.engine.runtime import bar
from cxr_helpers.folds import FOLDS, folds
from cxr_helpers.model import small_cnn
from cxr_helpers.setup import Setup
from cxr_helpers.training import TrainConfig, evaluate
from cxr_helpers.verdicts import Combination, Images, Remedy, Row, trained

# at most so many remedies in the combination: each more makes it harder to say what helped
COMBINED = 4
EXCLUSIVE = {
    "simpler_architecture",
    "fewer_layers",
}  # both take capacity away; a smaller network may not have the layers to freeze
# the single remedies that are trained even where the preset doesn't train every row
ALWAYS = ("augmentation",)
# The eleven recommendations in the course's order.
RECOMMENDED = {
    "dropout": "dropout",
    "weight_decay": "weight decay",
    "augmentation": "augmentasi data",
    "simpler_architecture": "arsitektur lebih sederhana",
    "fewer_layers": "menyetel lebih sedikit lapisan",
    "schedule": "jadwal learning rate",
    "batch_size": "ukuran batch",
    "early_stopping": "early stopping",
    "balancing": "penyeimbangan kelas",
    "minority_augmentation": "augmentasi kelas minoritas",
    "cross_validation": "validasi silang",
}


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
CROSS_VALIDATION = Remedy(
    "cross_validation", "cross_validation", f"Validasi silang {FOLDS} lipatan"
)


def config_of(study: Setup, remedy: Remedy, seed: int) -> TrainConfig:
    """The settings of one training of a row."""
    return study.config(**{"seed": seed, **remedy.changes})


def _train(study: Setup, remedies: Sequence[Remedy], n_jobs: int, cluster: str) -> list[Row]:
    """Train what these rows rest on, under one bar that counts trainings and shows the time
    left.
    """
    seeds = [study.seed + i for i in range(study.preset.seeds)]
    configs = [config_of(study, remedy, seed) for remedy in remedies for seed in seeds]
    given = [(config, study.used, study.weights, study.device) for config in configs]
    with bar(len(given), f"Perbaikan ({len(remedies)} baris)", unit="pelatihan") as progress:
        found = iter(training.run_all(given, n_jobs, cluster, progress.update))
    rows = []
    for remedy in remedies:
        fits = [next(found) for _ in seeds]
        each = [trained(run, remedy.which) for run in fits]
        rows.append(
            Row(remedy, each, fits[0].config.changed(), len(study.used.train), study.preset.epochs)
        )
    return rows


def choose_combination(rows: Sequence[Row], images: Images) -> Combination | None:
    """`combine` by the rows' validation."""
    return combine({row.remedy.name: row.validation(images) for row in rows})


def combine(validation: dict[str, dict[str, float]]) -> Combination | None:
    """The remedies that help most on validation as one; at most COMBINED, one a recommendation. The
    test split has no say.

    validation: {name: {"loss", "auc"}} of the baseline and the remedies. A candidate has a lower
    loss and a higher AUC than the baseline (loss alone would choose networks that learned too
    little to be wrong with confidence); the highest AUC goes first. Of two remedies that change the
    same setting the better one stays. None when fewer than two remain.
    """
    base = validation["baseline"]
    found = [(r, validation[r.name]) for r in REMEDIES if r.name in validation]
    better = [
        r for r, value in found if value["loss"] < base["loss"] and value["auc"] > base["auc"]
    ]
    better.sort(key=lambda r: -validation[r.name]["auc"])
    chosen: list[Remedy] = []
    for remedy in better:
        taken = {key for one in chosen for key in one.changes}
        advice = {one.recommendation for one in chosen}
        if (
            len(chosen) < COMBINED
            and not taken & set(remedy.changes)
            and remedy.recommendation not in advice
            and len(EXCLUSIVE & (advice | {remedy.recommendation})) < 2
        ):
            chosen.append(remedy)
    if len(chosen) < 2:
        return None
    changes = {key: value for one in chosen for key, value in one.changes.items()}
    which = "best" if any(one.which == "best" for one in chosen) else "last"
    return Combination(
        "combination",
        "",
        "Gabungan pilihan validasi",
        changes,
        which,
        tuple(one.title for one in chosen),
    )


def _baseline(study: Setup) -> Row:
    """The recipe's row, from the runs of notebook 02: with their threads, however the other rows
    share the cores.
    """
    each = [trained(run) for run in study.baseline()]
    return Row(BASELINE, each, {}, len(study.used.train), study.preset.epochs)


def _train_pretrained(study: Setup) -> list[Row]:
    """The recipe after pre-training on every label of the file (pretraining.py), one a seed; none
    where the file has no more.
    """
    if pretraining.wider(study) is None:
        return []
    each = []
    for i in range(study.preset.seeds):
        config = study.config(seed=study.seed + i)
        start = pretraining.pretrain(study, config)
        one = trained(
            training.run(config, study.used, start.start(), study.device, keep_weights=False)
        )
        each.append(replace(one, seconds=one.seconds + start.about["seconds"]))
    return [
        Row(PRETRAINED, each, {"start": "pretraining"}, len(study.used.train), study.preset.epochs)
    ]


def about_pretraining(study: Setup, rows: list[dict]) -> dict | None:
    """What the pre-trained row of `measure` rests on, as of Wider.about, and its place ("row");
    None where there is none.
    """
    place = next((i for i, row in enumerate(rows) if row["name"] == PRETRAINED.name), None)
    return None if place is None else pretraining.wider(study).about() | {"row": place}


def planned(study: Setup, chosen: Combination | None = None, repeat: str = "auto") -> list[Remedy]:
    """The rows that are trained before validation has chosen: all of them, or the baseline, ALWAYS
    and `chosen`.
    """
    every = trains_every_row(study, repeat)
    return [BASELINE, *(one for one in REMEDIES if every or one.name in ALWAYS)] + (
        [chosen] if chosen and not every else []
    )


def trains_every_row(study: Setup, repeat: str = "auto") -> bool:
    """Whether every remedy is trained: the preset says so, or REPEAT=all."""
    return bool(settings.parse_repeat(repeat) or study.preset.every_row)


def cross_validation(study: Setup, n_jobs: int | str = 1, cluster: str = "") -> dict:
    """What folds say of the spread: see verdicts.summarise_folds. One training a fold; the test
    split is the same for all.
    """
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    parts = folds(study.used, study.seed)
    given = [(study.config(), part, study.weights, study.device) for part in parts]
    with bar(len(given), "Validasi silang", unit="pelatihan") as progress:
        fits = training.run_all(given, n_jobs, cluster, progress.update)
    val = [(run.logits["val_last"], part.val.labels) for run, part in zip(fits, parts, strict=True)]
    return verdicts.summarise_folds(val, [trained(run) for run in fits], Images.of(study.used))


def beside(
    study: Setup, n_jobs: int | str = 1, cluster: str = "", repeat: str = "auto"
) -> dict | None:
    """What stands beside the rows of a study that trains every one of them; None of another.

    cross_validation; ensemble and detectable of the baseline's seeds (verdicts; None where they are
    too few).
    """
    if not trains_every_row(study, repeat):
        return None
    row, images = _baseline(study), Images.of(study.used)
    return {
        "cross_validation": cross_validation(study, n_jobs, cluster),
        "ensemble": verdicts.ensemble(row, images),
        "detectable": verdicts.detectable(row, images),
    }


def shortcut(study: Setup) -> list[dict]:
    """What either form of minority augmentation teaches a small CNN (seed of the study): to see the
    class, or the augmentation?

    One dict a form and class of the test images: title, label, n, patients (None where not known),
    plain and augmented (shares of these images that are given class 1, {"value", "ci95"}),
    difference (augmented − plain, paired by image) and side (of zero, on which its interval lies).
    An image means the same before and after an augmentation that is plausible, so a network that
    judges anatomy shows no difference (notebook 04).
    """
    data, rows = study.used, []
    images, labels, patients = to_tensor(data.test.images), data.test.labels, data.test.patients
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(study.seed)
        changed = augment.apply(images, ANATOMICAL)
    for remedy in (r for r in REMEDIES if r.recommendation == "minority_augmentation"):
        config = study.config(architecture="small_cnn", **remedy.changes)
        network = small_cnn()
        network.load_state_dict(
            training.run(config, data, study.weights, study.device).weights("last")
        )
        plain, augmented = ((evaluate(network, x).numpy() > 0) for x in (images, changed))
        for label in (0, 1):
            which = labels == label
            moved = np.where(which, augmented.astype(float) - plain, np.nan)
            change = evaluation.paired_change(moved[None], labels, patients, hits=True)
            rows.append(
                {
                    "title": remedy.title,
                    "label": label,
                    "n": int(which.sum()),
                    "patients": None if patients is None else len(np.unique(patients[which])),
                    "plain": evaluation.share(plain[which], evaluation.among(patients, which)),
                    "augmented": evaluation.share(
                        augmented[which], evaluation.among(patients, which)
                    ),
                    "difference": {"value": change["value"], "ci95": change["ci95"]},
                    "side": change["side"],
                }
            )
    return rows


def measure(
    study: Setup,
    n_jobs: int | str = 1,
    cluster: str = "",
    chosen: Combination | None = None,
    repeat: str = "auto",
) -> list[dict]:
    """Train the baseline and the remedies (or read them from the store), and judge them: rows as of
    `judge`, baseline first.

    Where the preset does not train every row and `repeat` is not "all": the baseline, ALWAYS and
    `chosen`, the combination that the reference study chose. Else every remedy, then the
    combination that this study's validation chooses, and where the preset trains every row and the
    file has many labels, the recipe after pre-training on all of them. n_jobs processes share the
    cores of this computer, or the workers of `cluster` ("dask://host:port") do the work; see
    parallel.sharing. The baseline's runs are those of notebook 02.
    """
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    every, rows = trains_every_row(study, repeat), [_baseline(study)]
    # one after the other, with every core
    last = _train_pretrained(study) if study.preset.every_row else []
    rows += _train(study, planned(study, chosen, repeat)[1:], n_jobs, cluster)
    images = Images.of(study.used)
    combination = choose_combination(rows, images) if every else None
    if combination is not None:
        rows += _train(study, [combination], n_jobs, cluster)
    return verdicts.judge(rows + last, images)
