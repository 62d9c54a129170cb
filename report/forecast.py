"""How long the trainings of `make report` will take, said before the first of them
(report/sources.py).
"""

from dataclasses import replace

from cxr_helpers import adaptation, overfitting, pretraining, reference, remedies
from cxr_helpers.data import subset, with_splits
from cxr_helpers.engine import parallel, settings
from cxr_helpers.model import stem_kernel
from cxr_helpers.remedies import ANATOMICAL
from cxr_helpers.setup import Setup, device_name
from cxr_helpers.verdicts import Combination

# What validation will choose is not known yet; it is about as dear as the recipe with augmentation.
SOME = Combination("combination", "", "", {"augment": ANATOMICAL, "dropout": 0.5})


def tasks(study: Setup, repeat: str = "auto") -> list[tuple]:
    """(config, data, weights) of every training of notebooks 01 to 04, some of them twice."""
    every, data = remedies.trains_every_row(study, repeat), study.used
    rows = remedies.planned(study, reference.combination(reference.read()), repeat) + (
        [SOME] if every else []
    )
    seeds = [study.seed + i for i in range(study.preset.seeds)]
    found = [
        (remedies.config_of(study, row, seed), data, study.weights)
        for row in rows
        for seed in seeds
    ]
    # remedies.shortcut
    shown = [
        row.changes for row in remedies.REMEDIES if row.recommendation == "minority_augmentation"
    ]
    found += [
        (study.config(architecture="small_cnn", **changes), data, study.weights)
        for changes in shown
    ]
    if every:
        found += [
            (study.config(), fold, study.weights) for fold in remedies.folds(data, study.seed)
        ]
    if study.preset.side_studies:
        for seed in seeds:
            config = study.config(seed=seed)
            for _, weights, strategy in adaptation.starts(
                study.weights, stem_kernel(data.source.size)
            ):
                found.append((replace(config, adaptation=dict(strategy)), data, weights))
            sizes = [round(part * len(data.train)) for part in overfitting.PARTS]
            smaller = [
                with_splits(data, train=subset(data.train, n, study.seed)) for n in sizes if n >= 4
            ]
            found += [(config, part, study.weights) for part in smaller]
    return found + (_pretraining(study) if study.preset.every_row else [])


def _pretraining(study: Setup) -> list[tuple]:
    """Pre-training and the recipe after it, whose start is not known yet, as trainings that cost as
    much.
    """
    wider = pretraining.wider(study)
    if wider is None:
        return []
    both = with_splits(study.used, train=pretraining.as_pair(wider))
    # as dear, and no training that has been counted
    again = with_splits(study.used, test=study.used.val)
    configs = [study.config(seed=study.seed + i) for i in range(study.preset.seeds)]
    missing = [config for config in configs if not pretraining.finished(study, config, wider)]
    return [
        task
        for config in missing
        for task in (
            (replace(config, epochs=pretraining.EPOCHS), both, study.weights),
            (config, again, study.weights),
        )
    ]


def said(study: Setup, repeat: str = "auto", n_jobs: int | str = 1, cluster: str = "") -> str:
    """One line: how many trainings are not stored yet, and how long they take together."""
    n_jobs, cluster = settings.parse_jobs(n_jobs, cluster)
    n, seconds = parallel.forecast(tasks(study, repeat), study.device, n_jobs, cluster)
    if not n:
        return "Semua pelatihan sudah tersimpan."
    shared = ", dibagi para pekerja CLUSTER" if cluster else ""
    return (
        f"{parallel.forecast_text(n, seconds, device_name(study.device))}{shared} "
        "(diukur dari beberapa batch)."
    )
