"""The remedies that the course's report recommends, each as a change of the recipe, and their measurement (notebook 04)."""

from dataclasses import dataclass, field, replace

from cxr_helpers import evaluation, runs
from cxr_helpers.progress import bar
from cxr_helpers.study import Study

BETTER, WORSE, SAME = "lebih baik", "lebih buruk", "tidak terbedakan"
SIGNIFICANCE = 0.05
# The eleven recommendations in the course's order; REMEDIES says which are measured.
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


@dataclass(frozen=True)
class Remedy:
    """`recommendation` is a key of RECOMMENDED; `changes` are TrainConfig settings; `which` is the epoch that is judged."""

    name: str
    recommendation: str
    title: str
    changes: dict = field(default_factory=dict)
    which: str = "last"


BASELINE = Remedy("baseline", "", "Pembanding (resep mata kuliah)")
REMEDIES = (
    Remedy("dropout", "dropout", "Dropout 0,5", {"dropout": 0.5}),
    Remedy("weight_decay", "weight_decay", "Weight decay 0,05 (AdamW)", {"optimizer": "adamw", "weight_decay": 0.05}),
    Remedy("augmentation", "augmentation", "Augmentasi geometri dan pencahayaan", {"augment": ("geometry", "exposure")}),
    Remedy("early_stopping", "early_stopping", "Early stopping (sabar 2 epoch)", {"patience": 2}, which="best"),
)


def _fits(study: Study, remedy: Remedy) -> list[runs.Run]:
    config = study.config(epochs=study.preset.remedy_epochs, **remedy.changes)
    configs = [replace(config, seed=study.seed + i) for i in range(study.preset.remedy_seeds)]
    return [runs.get(one, study.remedy_data, study.weights, study.device, keep_weights=False) for one in configs]


def _variant(study: Study, remedy: Remedy, fits: list[runs.Run], baseline: list[runs.Run]) -> dict:
    data, which = study.remedy_data, remedy.which
    test = [run.logits[f"test_{which}"] for run in fits]
    gap = evaluation.accuracy_gap(
        [run.logits[f"train_{which}"] for run in fits],
        data.train.labels,
        [run.logits[f"val_{which}"] for run in fits],
        data.val.labels,
    )
    return {
        "name": remedy.name,
        "title": remedy.title,
        "changed": fits[0].config.changed(),
        "epoch_judged": which,
        "seeds": [run.config.seed for run in fits],
        "n_train": len(data.train),
        "epochs": study.preset.remedy_epochs,
        "seconds": sum(run.info["seconds"] for run in fits),
        "parameters": fits[0].info["parameters"],
        "gap": gap,
        "test": evaluation.mean_over_seeds(test, data.test.labels),
        "difference": None
        if remedy is BASELINE
        else evaluation.paired_difference(test, [run.logits["test_last"] for run in baseline], data.test.labels),
        "history": fits[0].history.to_dict("records"),
    }


def verdict(difference: float, adjusted_p: float) -> str:
    """lebih baik / lebih buruk when the p-value, adjusted for the number of remedies, is below 0.05; else tidak terbedakan."""
    if adjusted_p >= SIGNIFICANCE:
        return SAME
    return BETTER if difference > 0 else WORSE


def measure(study: Study) -> list[dict]:
    """Run baseline and remedies (or read them from the store); one dict a row as 04_perbaikan.json holds them, baseline first."""
    fits = {}
    with bar(len(REMEDIES) + 1, "Perbaikan", unit="baris") as progress:
        for remedy in (BASELINE, *REMEDIES):
            fits[remedy.name] = _fits(study, remedy)
            progress.update()
    rows = [_variant(study, remedy, fits[remedy.name], fits["baseline"]) for remedy in (BASELINE, *REMEDIES)]
    adjusted = evaluation.holm([row["difference"]["acc"]["p"] for row in rows[1:]])
    rows[0]["verdict"] = "pembanding"
    for row, p in zip(rows[1:], adjusted, strict=True):
        row["p_adjusted"] = p
        row["verdict"] = verdict(row["difference"]["acc"]["value"], p)
    return rows


def unmeasured() -> list[str]:
    """Recommendations that no row of REMEDIES measures yet."""
    measured = {remedy.recommendation for remedy in REMEDIES}
    return [title for name, title in RECOMMENDED.items() if name not in measured]
