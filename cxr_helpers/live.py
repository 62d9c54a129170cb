"""What moves while one trains in JupyterLab, and how a comparison is shown there (notebook 05).

A headless run shows neither curves nor a clock.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Pretty, display
from matplotlib.figure import Figure

from cxr_helpers import plots, reference
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import duration
from cxr_helpers.experiments import Comparison
from cxr_helpers.setup import Setup
from cxr_helpers.training import TrainConfig
from cxr_helpers.widgets import someone_watches

PAUSE = 1.0  # seconds between two pictures; a short epoch must not wait for its own curve
QUANTITIES = (("loss", "Loss (BCE)"), ("acc", "Akurasi"), ("auc", "AUC validasi"))


def _nothing(history: list[dict]) -> None:
    pass


@contextmanager
def watching(study: Setup, config: TrainConfig, seeds: int) -> Iterator[Callable[[list[dict]], None]]:
    """What `fit` calls after each epoch: it shows curves beside the recipe's in grey, and the time left, where somebody looks."""
    if not someone_watches():
        yield _nothing
        return
    recipe = _recipe_history(study)
    canvas = display(Pretty("Pelatihan dimulai …"), display_id=True)
    begun, done, drawn = time.monotonic(), 0, 0.0

    def on_epoch(history: list[dict]) -> None:
        nonlocal done, drawn
        done += 1
        if time.monotonic() - drawn < PAUSE and len(history) < config.epochs:
            return
        drawn = time.monotonic()
        left = (time.monotonic() - begun) / done * (config.epochs * seeds - done)
        figure = curves(history, recipe, config.epochs, f"Epoch {len(history)} dari {config.epochs}; sisa waktu {duration(left)}")
        canvas.update(figure)
        plt.close(figure)

    yield on_epoch
    if not done:
        canvas.update(Pretty("Hasilnya sudah tersimpan; tidak ada yang dilatih lagi."))


def _recipe_history(study: Setup) -> list[dict]:
    """The recipe's curve in the reference study; none for other data, or where that study is missing."""
    try:
        return reference.read()["variants"][0]["history"] if study.used.source.kind == "phantom" else []
    except (InputError, KeyError, IndexError):
        return []


def curves(history: list[dict], recipe: list[dict], epochs: int, title: str) -> Figure:
    """Loss, accuracy and validation AUC by epoch so far; the recipe's in grey. Rows as of a run's history."""
    figure, panels = plt.subplots(1, 3, figsize=(plots.WIDTH * 1.3, 2.6))
    table, grey = pd.DataFrame(history), pd.DataFrame(recipe)
    for panel, (quantity, label) in zip(panels, QUANTITIES, strict=True):
        for split, style, colour in (("train", "o-", plots.BLUE), ("val", "s--", plots.ORANGE)):
            name = f"{split}_{quantity}"
            if name in grey:
                panel.plot(grey["epoch"], grey[name], style[1:], color=plots.GREY, lw=0.8)
            if name in table:
                panel.plot(table["epoch"], table[name], style, color=colour, ms=3.5, label=plots.SPLIT_NAMES[split])
        panel.set(title=label, xlabel="Epoch", xlim=(0.7, epochs + 0.3))
        panel.yaxis.set_major_formatter(plots.Comma(2))
    panels[1].legend()
    figure.suptitle(title, fontsize=9)
    return figure


def shown(comparison: Comparison) -> Comparison:
    """Show a comparison as a table, its differences with their intervals, and its curves over each other."""
    names = [row["name"] for row in comparison.rows][:4]
    display(comparison.table)
    for figure in (plots.forest(comparison.rows), plots.compared_curves(comparison.rows, names)):
        display(figure)
        plt.close(figure)
    return comparison
