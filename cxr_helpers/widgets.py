"""Things to play with in JupyterLab (ipywidgets). A headless run shows none of them: the report has their static twins."""

import io
import os
import sys
from collections.abc import Callable

import ipywidgets
import numpy as np
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from cxr_helpers import adaptation, plots, progress
from cxr_helpers.errors import InputError
from cxr_helpers.model import REDUCTIONS, RESIZES, SCALES, adapt_conv1
from cxr_helpers.presentation import REDUCE_NAMES, RESIZE_NAMES, SCALE_NAMES
from cxr_helpers.results import number

DPI = 100


def _someone_watches() -> bool:
    return "ipykernel" in sys.modules and progress.TERMINAL not in os.environ


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DPI)
    plt.close(figure)
    return stream.getvalue()


def _choice(label: str, values: tuple[str, ...], names: dict[str, str]) -> ipywidgets.Dropdown:
    return ipywidgets.Dropdown(options=[(names[v].replace("*", ""), v) for v in values], description=label)


def panel(controls: list, draw: Callable[..., tuple[Figure, str]]) -> ipywidgets.VBox:
    """Controls above a picture and a line of text, drawn anew by draw(*values) whenever a control changes.

    An InputError of `draw` is shown as the text, and the picture stays.
    """
    picture, said = ipywidgets.Image(format="png"), ipywidgets.HTML()

    def redraw(_=None) -> None:
        try:
            figure, said.value = draw(*(control.value for control in controls))
            picture.value = _png(figure)
        except InputError as error:
            said.value = str(error)

    for control in controls:
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([ipywidgets.HBox(controls, layout=ipywidgets.Layout(flex_flow="row wrap")), said, picture])


def adaptation_panel(kernels: Tensor, images: np.ndarray, size: int) -> ipywidgets.VBox:
    """Choose how RGB kernels (64, 3, 7, 7) are adapted, which channel, which of the images (N, H, W) uint8; see kernels and responses."""
    same = size == kernels.shape[-1]

    def draw(reduce: str, resize: str, scale: str, channel: int, image: int) -> tuple[Figure, str]:
        one = kernels[channel : channel + 1]
        adapted = adapt_conv1(one, kernel=size, reduce=reduce, resize=resize, scale=scale)
        picked = images[image : image + 1]
        target = adaptation.original_response(one, picked, 1 if same else 2)
        ours = adaptation.adapted_response(adapted, picked, 2 if same else 1)
        flat = [r[0, 0, 1:-1, 1:-1].numpy().ravel() for r in (target, ours)]
        varied = min(part.std() for part in flat) > 1e-9
        agreement = number(np.corrcoef(*flat)[0, 1]) if varied else "tidak ada, karena tanggapannya nol"
        figure = plots.responses(one[0].numpy(), adapted[0, 0].numpy(), picked[0], target[0, 0].numpy(), ours[0, 0].numpy())
        return figure, f"Korelasi tanggapan pada citra ini: {agreement}."

    return panel(
        [
            _choice("Kanal", REDUCTIONS, REDUCE_NAMES),
            _choice("Ukuran", RESIZES, RESIZE_NAMES),
            _choice("Skala", SCALES, SCALE_NAMES),
            ipywidgets.IntSlider(0, 0, len(kernels) - 1, description="Kernel"),
            ipywidgets.IntSlider(0, 0, len(images) - 1, description="Citra"),
        ],
        draw,
    )


def show(make: Callable[..., ipywidgets.Widget], *args) -> None:
    """Show make(*args) where someone can use it."""
    if _someone_watches():
        display(make(*args))
