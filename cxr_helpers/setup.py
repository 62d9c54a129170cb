"""What a study consists of: settings → device, data, weights, preset and provenance (every
notebook, through study.py).
"""

import dataclasses
import json
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from cxr_helpers import data as datasets
from cxr_helpers import training
from cxr_helpers.engine import files, results, runtime, settings, sources
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.runs import Run
from cxr_helpers.training import TrainConfig
from cxr_helpers.weights import Weights, resolve_weights


@dataclass(frozen=True)
class Setup:
    """One set of settings, ready to work with.

    data: the whole filtered data set; used: what every notebook trains and judges on (cut down by
    the preset, stratified by class, the same images for every seed); precision: of the
    multiplications while training, "float32" or "bfloat16".
    """

    data: datasets.Dataset
    used: datasets.Dataset
    weights: Weights
    preset: settings.Preset
    seed: int
    device: torch.device
    precision: str
    build: Path
    started: str
    clock: float

    def config(self, **changes) -> TrainConfig:
        """The course's recipe at this preset's length, this study's seed and precision, with the
        given changes.
        """
        return TrainConfig(
            **{
                "epochs": self.preset.epochs,
                "seed": self.seed,
                "precision": self.precision,
                **changes,
            }
        )

    def baseline(self, **changes) -> list[Run]:
        """The course's recipe, one run a seed of the preset; notebooks 02, 03 and 04 share these
        runs.
        """
        first = self.config(**changes)
        configs = [replace(first, seed=self.seed + i) for i in range(self.preset.seeds)]
        return [training.run(config, self.used, self.weights, self.device) for config in configs]

    def provenance(self) -> dict:
        """Where numbers come from; results.write completes it."""
        used = self.used
        patients = {split: getattr(used, split).n_patients for split in sources.SPLITS}
        return {
            "data": {
                "kind": used.source.kind,
                "title": used.source.title,
                "note": used.source.note,
                "collection": used.source.collection,
                "single_label_filter": used.source.many_labels,
                "size": used.source.size,
                "classes": list(used.classes),
                "class_names": list(used.class_names_id),
                "fingerprint": used.fingerprint,
                "counts": used.counts,
                "totals": {split: sum(counts.values()) for split, counts in used.counts.items()},
                "patients": patients if used.train.patients is not None else None,
                "counts_available": self.data.counts,
                "overlap": self.data.overlap,
                "shared": [
                    {"splits": pair.split("-"), "n": n}
                    for pair, n in self.data.overlap.items()
                    if n
                ],
            },
            "weights": {
                "kind": self.weights.kind,
                "title": self.weights.title,
                "note": self.weights.note,
                "digest": self.weights.digest,
            },
            "preset": dataclasses.asdict(self.preset),
            "seed": self.seed,
            "seeds": [self.seed + i for i in range(self.preset.seeds)],
            "precision": self.precision,
            "device": {
                "type": self.device.type,
                "threads": torch.get_num_threads(),
                "name": device_name(self.device),
            },
            "started": self.started,
            "clock": self.clock,
        }


def device_name(device: torch.device) -> str:
    """'CPU (2 thread)' or the GPU's own name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({torch.get_num_threads()} thread)" if device.type == "cpu" else "GPU Apple (MPS)"


def pick_device(name: str) -> torch.device:
    """auto: CUDA, then MPS, then the CPU. Raises InputError when the named device is not there."""
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if there[kind])
    if not there[name]:
        raise InputError(
            f"DEVICE={name} tidak tersedia pada komputer ini: pakai DEVICE=cpu atau DEVICE=auto."
        )
    return torch.device(name)


def _decided() -> dict | None:
    path = os.environ.get(files.SOURCES)
    return json.loads(Path(path).read_text(encoding="utf-8")) if path else None


def _source(data: str, size: int, folder: Path) -> sources.Source:
    decided = _decided()
    if decided is None:
        # SEED draws trainings, not patients: the data stays the same
        return sources.resolve(data, size, folder)
    fields = decided["source"]
    return sources.Source(
        **{
            **fields,
            "path": Path(fields["path"]),
            "truth": fields["truth"] and Path(fields["truth"]),
        }
    )


def _weights(weights: str, folder: Path) -> Weights:
    decided = _decided()
    if decided is None or weights != "auto":
        return resolve_weights(weights, folder=folder)
    return replace(resolve_weights(decided["weights"], folder=folder), note=decided["weights_note"])


def _precision(name: str, device: torch.device) -> str:
    decided = _decided()
    return (
        runtime.pick_precision(name, device)
        if decided is None or name != "auto"
        else decided["precision"]
    )


def open_setup(
    data="auto",
    weights="auto",
    preset="auto",
    seed=0,
    device="auto",
    size=28,
    classes="auto",
    precision="auto",
    seeds="auto",
    build="build",
) -> Setup:
    """Check the settings, find data and weights, and set the number of threads. Raises InputError
    with one line for the person.

    As for `make report`; every notebook passes its parameter cell on, and `make lab` gives what
    stands there at its default. A relative path is taken from the project's root when it does not
    exist in the working folder.
    """
    started, clock = results.now(), time.time()
    named = dict(
        seed=seed, device=device, size=size, classes=classes, precision=precision, seeds=seeds
    )
    given = settings.parse(**settings.of_lab(data=data, weights=weights, preset=preset, **named))
    where = pick_device(given.device)
    runtime.prepare()
    usual = "quick" if where.type == "cpu" else "full"
    amount = settings.PRESETS[usual if given.preset == "auto" else given.preset]
    amount = replace(amount, seeds=given.seeds or amount.seeds)
    folder = files.data_folder()
    everything = datasets.load(_source(from_root(given.data), given.size, folder), given.classes)
    return Setup(
        data=everything,
        used=datasets.take(everything, amount.train, amount.val, amount.test, seed=0),
        weights=_weights(from_root(given.weights), folder),
        preset=amount,
        seed=given.seed,
        device=where,
        precision=_precision(given.precision, where),
        build=Path(build),
        started=started,
        clock=clock,
    )


def from_root(given: str) -> str:
    """A notebook runs in notebooks/, a person thinks of the project's root: look there too."""
    there = files.ROOT / given
    return str(there) if not os.path.exists(given) and there.is_file() else given
