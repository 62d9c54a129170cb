"""What every notebook begins with: settings → data, weights and device as one study."""

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch

from cxr_helpers import data as datasets
from cxr_helpers import experiments, panels, training
from cxr_helpers.engine import files, owncode, results, runs, runtime, settings, sources
from cxr_helpers.engine.runs import Run
from cxr_helpers.model import Weights, resolve_weights
from cxr_helpers.training import TrainConfig


@dataclass(frozen=True)
class Study:
    """One set of settings, ready to work with. data: the whole filtered data set; used: what every
    notebook trains and judges on (cut down by the preset, the same images for every seed). Changes
    of a recipe are any setting of TrainConfig, and the parts of one's own of training.PARTS.
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
        """The course's recipe at this preset's length, seed and precision, with changes."""
        usual = {"epochs": self.preset.epochs, "seed": self.seed, "precision": self.precision}
        return TrainConfig(**usual | changes)

    def baseline(self, keep_weights: bool = True, **changes) -> list[Run]:
        """The recipe, one run a seed of the preset; notebooks 02, 03 and 04 share these runs."""
        first = self.config(**changes)
        configs = [replace(first, seed=self.seed + i) for i in range(self.preset.seeds)]
        given = (self.used, self.weights, self.device, keep_weights)
        return [training.run(config, *given) for config in configs]

    def train(
        self,
        seeds: int = 1,
        start: experiments.Result | str | None = None,
        n_jobs: int = 1,
        cluster: str = "",
        **changes,
    ) -> experiments.Result:
        """Train the recipe with `changes`, over as many seeds.

        start: the result of an earlier training of the same network, or its weights: "imagenet" or
        a file. In JupyterLab curves follow the training; it can be interrupted, and called again it
        goes on from its last whole epoch. Raises InputError.

        Yang dapat diubah, dengan nilai resep dan batasnya:
        """
        recipe = experiments.separate(changes, sys._getframe(1))
        watched = self.config(**recipe.changes)
        with experiments.interruptible(), panels.watching(self, watched) as on_epoch:
            how = {"n_jobs": n_jobs, "cluster": cluster, "on_epoch": on_epoch}
            return experiments.train(self, recipe, seeds, start, **how)

    def check(self, start: experiments.Result | str | None = None, **changes) -> None:
        """Send one batch through a recipe with `changes`; see experiments.check. InputError."""
        experiments.check(self, experiments.separate(changes, sys._getframe(1)), start)
        print("Satu batch lolos pemeriksaan: bentuk keluaran, loss, dan gradien baik.")

    def few(self, n: int) -> "Study":
        """The same study on n images of each split, which shows soon what can learn by heart."""
        return replace(self, used=replace(datasets.take(self.used, n, n, n, seed=0), extra=None))

    def compare(self, results: dict[str, experiments.Result], *more) -> experiments.Comparison:
        """Hold results of `train`, {title: result}, against the recipe: a table and figures."""
        return panels.shown(experiments.compare(self, None if more else results))

    def runs(self, clear: bool = False) -> pd.DataFrame:
        """The stored trainings with their sizes; clear: delete those of other code."""
        return runs.stored(training.CODE.digest, clear)

    def load(self, path: str | Path) -> owncode.Own:
        """What a Python file of one's own defines; its path may count from the project's root."""
        return owncode.load(files.from_root(str(path)))

    def provenance(self) -> dict:
        """Where numbers come from; results.write completes it."""
        used, overlap = self.used, self.data.overlap
        device = {"type": self.device.type, "name": runtime.device_name(self.device)}
        patients = {split: part.n_patients for split, part in used.splits.items()}
        described = ("kind", "title", "note")
        return {
            "data": {
                **{name: getattr(used.source, name) for name in (*described, "collection", "size")},
                "single_label_filter": used.source.many_labels,
                "classes": list(used.classes),
                "class_names": list(used.class_names_id),
                "fingerprint": used.fingerprint,
                "counts": used.counts,
                "totals": {split: len(part) for split, part in used.splits.items()},
                "patients": patients if used.train.patients is not None else None,
                "counts_available": self.data.counts,
                "shared": [{"splits": pair.split("-"), "n": n} for pair, n in overlap.items() if n],
            },
            "weights": {name: getattr(self.weights, name) for name in (*described, "digest")},
            "preset": vars(self.preset),
            "seed": self.seed,
            "seeds": [self.seed + i for i in range(self.preset.seeds)],
            "precision": self.precision,
            "device": device | {"threads": torch.get_num_threads()},
            "started": self.started,
            "clock": self.clock,
        }


Study.train.__doc__ = Study.train.__doc__.rstrip() + training.listed_settings()


def open_study(
    data: str = "auto",
    weights: str = "auto",
    preset: str = "auto",
    seed: int = 0,
    device: str = "auto",
    size: int = 28,
    classes: str = "auto",
    precision: str = "auto",
    seeds: int | str = "auto",
    build: str | Path = "build",
) -> Study:
    """Check the settings, find data and weights, and set the number of threads.

    data: auto, chestmnist, another MedMNIST set, phantom, or an .npz file; weights: auto, imagenet,
    gabor, random, or a file; preset: auto, smoke, quick, full. They mean what they mean for `make
    report`; what stands at its default, `make lab` gives. A relative path counts from the project's
    root too. Raises InputError.
    """
    started, clock = results.now(), time.time()
    typed = {"data": data, "weights": weights, "preset": preset, "seed": seed, "device": device}
    typed |= {"size": size, "classes": classes, "precision": precision, "seeds": seeds}
    given = settings.parse(**settings.of_lab(**typed))
    where = runtime.pick_device(given.device)
    runtime.prepare()
    usual = "quick" if where.type == "cpu" else "full"
    amount = settings.PRESETS[usual if given.preset == "auto" else given.preset]
    amount = replace(amount, seeds=given.seeds or amount.seeds)
    source, weights, precision = _chosen(given, where)
    everything = datasets.load(source, given.classes)
    # SEED draws trainings, not patients: the data stays the same
    used = datasets.take(everything, amount.train, amount.val, amount.test, seed=0)
    about = (amount, given.seed, where, precision, Path(build), started, clock)
    return Study(everything, used, weights, *about)


def _chosen(given: settings.Settings, device: torch.device) -> tuple[sources.Source, Weights, str]:
    """Source, weights and precision."""
    if os.environ.get(files.SOURCES):
        return _decided(given, device)
    source = sources.resolve(files.from_root(given.data), given.size, files.data_folder())
    weights = resolve_weights(files.from_root(given.weights), files.data_folder())
    return source, weights, runtime.pick_precision(given.precision, device)


def _decided(given: settings.Settings, device: torch.device) -> tuple[sources.Source, Weights, str]:
    """As `make report` decided for all notebooks, but for what is named here."""
    choice = json.loads(Path(os.environ[files.SOURCES]).read_text(encoding="utf-8"))
    paths = {name: choice["source"][name] for name in ("path", "truth")}
    paths = {name: path and files.project() / path for name, path in paths.items()}
    source = sources.Source(**choice["source"] | paths)
    automatic = given.weights == "auto"
    taken = choice["weights"] if automatic else files.from_root(given.weights)
    weights = resolve_weights(taken, files.data_folder())
    if automatic:
        weights = replace(weights, note=choice["weights_note"])
    taken = choice["precision"] if given.precision == "auto" else given.precision
    return source, weights, runtime.pick_precision(taken, device)
