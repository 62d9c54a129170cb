"""Things to play with in JupyterLab (ipywidgets; notebooks 01, 02, 04).

A headless run shows none of them: the report has static twins.
"""

import io
from collections.abc import Callable

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from scipy.special import expit, logit
from torch import Tensor

from cxr_helpers import adaptation, augment, evaluation, plots
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import join, number, percent
from cxr_helpers.engine.runtime import someone_watches
from cxr_helpers.plots import TRANSFORM_NAMES
from cxr_helpers.weights import REDUCTIONS, RESIZES, SCALES, adapt_conv1

DPI = 100
REDUCE_NAMES = {"mean": "rata-rata", "sum": "jumlah", "luminance": "luminans"}
RESIZE_NAMES = {
    "bilinear": "bilinear",
    "bilinear_antialias": "bilinear antialias",
    "bicubic": "bikubik",
    "area": "rata-rata area",
    "crop": "potong tengah",
    "pinv": "pseudo-inverse",
}
SCALE_NAMES = {
    "none": "tanpa penskalaan",
    "dc": "respons terhadap masukan konstan",
    "norm": "norma",
}
PER_PAGE = 10  # images


def png(figure: Figure) -> bytes:
    """The figure as a picture that a widget shows; closes it."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    plt.close(figure)
    return stream.getvalue()


def _choice(label: str, values: tuple[str, ...], names: dict[str, str]) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=[(names[v], v) for v in values], description=label)


def _slider(label: str, low: int, high: int) -> ipywidgets.IntSlider:
    """It answers when it is let go: a picture for each place on the way would come late, one after
    the other.
    """
    return ipywidgets.IntSlider(low, low, high, description=label, continuous_update=False)


def panel(controls: list, draw: Callable[..., tuple[Figure, str]]) -> ipywidgets.VBox:
    """Controls above a picture and a line of text, drawn anew by draw(*values) whenever a control
    changes.

    An InputError of `draw` is shown as the text, without a picture. ipywidgets.interactive_output
    would do the same through an Output widget, which empties and fills again at every move, so that
    the page jumps, and holds nothing outside a kernel.
    """
    picture, said = ipywidgets.Image(format="png"), ipywidgets.HTML()

    def redraw(_=None) -> None:
        try:
            figure, said.value = draw(*(control.value for control in controls))
            picture.value, picture.layout.display = png(figure), None
        except InputError as error:
            # Hidden too: a browser marks an empty image as broken.
            said.value, picture.value, picture.layout.display = str(error), b"", "none"

    for control in controls:
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox(
        [ipywidgets.HBox(controls, layout=ipywidgets.Layout(flex_flow="row wrap")), said, picture]
    )


def adaptation_panel(kernels: Tensor, images: np.ndarray, size: int) -> ipywidgets.VBox:
    """Choose how RGB kernels (64, 3, 7, 7) are adapted to size × size, which of them, and which of
    images (N, H, W) uint8.

    Shows the kernel before and after, and what either answers to the image.
    """
    same = size == kernels.shape[-1]

    def draw(reduce: str, resize: str, scale: str, channel: int, image: int) -> tuple[Figure, str]:
        one = kernels[channel : channel + 1]
        adapted = adapt_conv1(one, kernel=size, reduce=reduce, resize=resize, scale=scale)
        picked = images[image : image + 1]
        target = adaptation.original_response(one, picked, 1 if same else 2)
        ours = adaptation.adapted_response(adapted, picked, 2 if same else 1)
        flat = [r[0, 0, 1:-1, 1:-1].numpy().ravel() for r in (target, ours)]
        spread = [part.std() for part in flat]
        said = "Korelasi respons pada citra ini: tidak ada, karena responsnya nol."
        if min(spread) > 1e-9:
            said = (
                f"Korelasi respons pada citra ini: {number(np.corrcoef(*flat)[0, 1])}. "
                "Simpangan baku respons adaptasi: "
            )
            said += f"{number(spread[1] / spread[0], 2)} kali asalnya."
        figure = plots.responses(
            one[0].numpy(),
            adapted[0, 0].numpy(),
            picked[0],
            target[0, 0].numpy(),
            ours[0, 0].numpy(),
        )
        return figure, said

    return panel(
        [
            _choice("Kanal", REDUCTIONS, REDUCE_NAMES),
            _choice("Ukuran", RESIZES, RESIZE_NAMES),
            _choice("Skala", SCALES, SCALE_NAMES),
            _slider("Kernel", 0, len(kernels) - 1),
            _slider("Citra", 0, len(images) - 1),
        ],
        draw,
    )


def threshold_panel(
    logits: np.ndarray, labels: np.ndarray, class_names: tuple[str, str]
) -> ipywidgets.VBox:
    """Move the threshold of the probability over logits (N,) with labels (N,) in {0, 1}.

    The point on the ROC curve, the confusion matrix, sensitivity and specificity move along.
    """
    curve, area = evaluation.roc(logits, labels), float(evaluation.area_under_curve(logits, labels))

    def draw(threshold: float) -> tuple[Figure, str]:
        matrix = evaluation.confusion(logits, labels, logit(threshold))
        figure = plots.roc(
            curve["false_positive"], curve["true_positive"], matrix, class_names, area
        )
        found = evaluation.operating_point(matrix)
        shares = (
            f"sensitivitas {percent(found['sensitivity'])}, "
            f"spesifisitas {percent(found['specificity'])}"
        )
        return figure, f"Ambang {number(threshold, 2)}: {shares}."

    slider = ipywidgets.FloatSlider(
        0.5, min=0.01, max=0.99, step=0.01, description="Ambang", continuous_update=False
    )
    return panel([slider], draw)


def image_browser(
    images: np.ndarray, labels: np.ndarray, logits: np.ndarray, class_names: tuple[str, str]
) -> ipywidgets.VBox:
    """Leaf through predictions on images (N, H, W): all, right, wrong, wrong and confident (above
    0.9), in doubt (below 0.6).
    """
    right, sure = (logits > 0) == (labels == 1), evaluation.confidence(logits)
    kinds = {
        "semua": np.ones(len(labels), bool),
        "benar": right,
        "salah": ~right,
        "salah dan yakin": ~right & (sure > 0.9),
        "ragu": sure < 0.6,
    }

    def pages(kind: str) -> int:
        return max(1, -(-int(kinds[kind].sum()) // PER_PAGE))

    choice = ipywidgets.Dropdown(options=list(kinds), description="Prediksi")
    leaf = _slider("Halaman", 1, pages("semua"))

    def turn_back(_) -> None:
        """To the first page of what was chosen, and no further than its last."""
        leaf.value, leaf.max = 1, pages(choice.value)
        leaf.disabled = leaf.max == 1

    choice.observe(turn_back, "value")  # before the panel's own: it draws what is left

    def draw(kind: str, page: int) -> tuple[Figure, str]:
        rows = np.flatnonzero(kinds[kind])
        if not len(rows):
            raise InputError(f"Tidak ada citra dengan prediksi {kind}.")
        picked = rows[(page - 1) * PER_PAGE : page * PER_PAGE]
        figure = plots.predictions(
            images[picked], labels[picked], expit(logits[picked]), class_names
        )
        return figure, f"{number(len(rows), 0)} citra; halaman {page} dari {pages(kind)}."

    return panel([choice, leaf], draw)


def augmentation_panel(images: np.ndarray) -> ipywidgets.VBox:
    """Choose a transform, one of the images (N, H, W) uint8 and a draw; see what training would
    see.
    """

    def draw(names: tuple[str, ...], image: int, seed: int) -> tuple[Figure, str]:
        made = augment.preview(images[image], names, 6, seed)
        title = join([TRANSFORM_NAMES[name] for name in names])
        return plots.augmentations(
            images[image], {"+".join(names): made}
        ), f"Enam hasil acak: {title}."

    options = [(TRANSFORM_NAMES[name], (name,)) for name in augment.TRANSFORMS] + [
        ("semuanya", tuple(augment.TRANSFORMS))
    ]
    return panel(
        [
            ipywidgets.Dropdown(options=options, description="Augmentasi"),
            _slider("Citra", 0, len(images) - 1),
            _slider("Nomor acak", 0, 99),
        ],
        draw,
    )


def show(make: Callable[..., ipywidgets.Widget], *args) -> None:
    """Show make(*args) where someone can use it."""
    if someone_watches():
        display(make(*args))
