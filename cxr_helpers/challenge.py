"""The class's challenge: predict images whose labels only the instructor has (notebook 05).

`make tantangan` draws the images from a phantom of a secret seed; `make kumpul` takes the answer
along, `make nilai` ranks it.
"""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from cxr_helpers import data, experiments, training
from cxr_helpers.engine import files, results
from cxr_helpers.engine.errors import InputError
from cxr_helpers.setup import Setup

IMAGES = Path("tantangan") / "citra.npz"  # in the data folder
ANSWER = "tantangan.csv"  # beside the results files


def read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """(ids (N,) text, images (N, 28, 28) uint8) of what was handed out. Raises InputError for a
    damaged file.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return arrays["id"], arrays["images"]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        raise InputError(
            f"{path} rusak: salin lagi berkas tantangan yang dibagikan pengajar."
        ) from None


def probabilities(
    study: Setup, experiment: experiments.Experiment, seeds: int, images: np.ndarray
) -> np.ndarray:
    """P(class 1) (N,) of images (N, H, W) uint8: the mean over the seeds of the experiment's best
    epochs, read or trained.
    """
    result = experiments.train(study, experiment.recipe, seeds, experiment.start)
    start = experiments.starting(study, result.runs[0].config.architecture, experiment.start)
    unknown = data.Split(images, np.zeros(len(images), np.uint8), np.arange(len(images)))
    asked, found = data.with_splits(study.used, extra=unknown), []
    for run in result.runs:
        fitting = training.Fitting(run.config, asked, start, study.device, experiment.recipe.live)
        fitting.network.load_state_dict(run.weights("best"))
        found.append(expit(fitting.predict("extra").numpy().astype(np.float64)))
    return np.mean(found, axis=0)


def predict(study: Setup, experiment: experiments.Experiment, seeds: int = 1) -> Path | None:
    """Write tantangan.csv (`id,probability`) beside the results files; None, and a line, where no
    challenge was handed out.

    Raises InputError for images of another size than the study's.
    """
    path = files.data_folder() / IMAGES
    if not path.exists():
        print(f"Tidak ada tantangan: {path} belum dibagikan, sel ini dilewati.")
        return None
    ids, images = read(path)
    if images.shape[1:] != study.used.test.images.shape[1:]:
        raise InputError(
            f"Citra tantangan berukuran {images.shape[1]} piksel, "
            f"studi ini {study.used.source.size}: pakai SIZE=28."
        )
    answer = pd.DataFrame(
        {"id": ids, "probability": probabilities(study, experiment, seeds, images)}
    )
    target = results.folder(study.build) / ANSWER
    target.parent.mkdir(parents=True, exist_ok=True)
    files.write(target, answer.to_csv(index=False, float_format="%.8f").encode())
    # which predicts them once more
    when = "" if target.parent.name == "results" else " sesudah make report dijalankan"
    print(
        f"Prediksi {len(answer)} citra tantangan dengan “{experiment.title}” ikut dikumpulkan "
        f"oleh make kumpul{when}."
    )
    return target
