"""An image of one's own through the trained network: what it sees, what it answers, how sure, and
why (notebook 03).

MedMNIST cuts an image that is not square to its centre and shrinks it (Yang et al. 2023); so does
`as_seen`. The temperature is that of Guo et al. (2017), the map integrated gradients
(attribution.py).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from IPython.display import Markdown, display
from matplotlib import pyplot as plt
from PIL import Image
from scipy.special import expit

from cxr_helpers import attribution, evaluation, overfitting, pictures
from cxr_helpers.data import to_tensor
from cxr_helpers.engine import ownfiles
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import number, percent
from cxr_helpers.engine.runs import Run
from cxr_helpers.setup import Setup, from_root

WARNING = (
    "**Bahan ajar, bukan diagnosis.** Jaringan ini hanya mengenal dua kelas dan harus memilih "
    "salah satunya: foto seekor kucing, rontgen tangan, atau paru yang sehat pun mendapat jawaban, "
    "sering kali dengan yakin."
)


@dataclass(frozen=True)
class Answer:
    """What a network says of one image.

    original: the square that was cut out (S, S) uint8; seen: what the network sees (H, W) uint8;
    attributed: its attribution map (H, W); predicted: 0 or 1; confidence: of the predicted class
    before, and calibrated after division by the temperature.
    """

    original: np.ndarray
    seen: np.ndarray
    attributed: np.ndarray
    predicted: int
    confidence: float
    calibrated: float
    temperature: float


def as_seen(image: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(the central square, the same at size × size) of grey values (H, W) uint8; shrinking averages
    what falls into a pixel.
    """
    side = min(image.shape)
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = image[top : top + side, left : left + side]
    return square, np.asarray(
        Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC)
    )


def ask(image: np.ndarray, run: Run, study: Setup) -> Answer:
    """What the chosen epoch's network answers to grey values (H, W) uint8 of any size; the
    temperature is of validation.
    """
    data, network = study.used, attribution.chosen_network(run, study)
    square, seen = as_seen(image, data.source.size)
    maps, _ = attribution.attribute(
        network, seen[None], data.train.images.mean(0).round().astype(np.uint8)
    )
    with torch.no_grad():
        logit = network(to_tensor(seen[None])).numpy().ravel()
    temperature = overfitting.fit_temperature(run.logits["val_best"], data.val.labels)
    sure, calibrated = (
        float(evaluation.confidence(one)[0]) for one in (logit, logit / temperature)
    )
    return Answer(square, seen, maps[0], int(expit(logit[0]) > 0.5), sure, calibrated, temperature)


def show(path: str | Path | None, run: Run, study: Setup) -> None:
    """Show the image in `path` (PNG, JPEG, DICOM) beside what the network sees of it, its answer
    and its attribution map.

    None: nothing. A relative path counts from the project's root too. Raises InputError.
    """
    if path is None:
        return
    if not isinstance(path, (str, Path)) or not str(path).strip():
        raise InputError('Berikan letak berkas citra dalam tanda kutip, misalnya "foto.png".')
    answer = ask(ownfiles.read_picture(from_root(str(path))), run, study)
    figure = pictures.own_image(answer.original, answer.seen, answer.attributed)
    display(figure)
    plt.close(figure)
    display(Markdown(_words(answer, study.used.class_names_id)))


def _words(answer: Answer, names: tuple[str, str]) -> str:
    sure, calibrated = percent(answer.confidence), percent(answer.calibrated)
    return (
        f"Jawaban jaringan: **{names[answer.predicted]}**, dengan keyakinan {sure}; "
        f"setelah dikalibrasi dengan suhu {number(answer.temperature, 2)}: **{calibrated}**. "
        f"Pada peta, piksel merah mendorong jawabannya ke {names[1].lower()}, "
        f"piksel biru ke {names[0].lower()}.\n\n{WARNING}"
    )
