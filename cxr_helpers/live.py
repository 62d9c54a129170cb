"""What moves while one trains in JupyterLab, and how a comparison is shown there (notebooks 04 and
05).

A headless run shows neither curves nor a clock.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import Pretty, display
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from cxr_helpers import plots, reference
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import duration, plain
from cxr_helpers.engine.runtime import someone_watches
from cxr_helpers.experiments import Comparison
from cxr_helpers.setup import Setup
from cxr_helpers.training import TrainConfig

PAUSE = 1.0  # seconds between two pictures at least; a short epoch must not wait for its own curve
# of the time may go into pictures; on a slow computer one takes longer than an epoch of the small
# CNN
SHARE = 0.1
QUANTITIES = (("loss", "Loss (BCE)"), ("acc", "Akurasi"), ("auc", "AUC validasi"))


def _nothing(history: list[dict]) -> None:
    pass


class Follower:
    """What `fit` calls after each epoch: it hands `show` the curves beside those of `others`, with
    the time left.

    config: of one of so many `trainings`; done: epochs met so far, 0 where everything was in the
    store.
    """

    def __init__(
        self,
        show: Callable[[Figure], None],
        config: TrainConfig,
        trainings: int,
        others: Sequence[list[dict]] = (),
    ):
        self.show, self.others, self.epochs, self.trainings = show, others, config.epochs, trainings
        self.begun, self.done, self.next = time.monotonic(), 0, 0.0

    def __call__(self, history: list[dict]) -> None:
        self.done += 1
        now = time.monotonic()
        if now < self.next and len(history) < self.epochs:
            return
        left = (now - self.begun) / self.done * (self.epochs * self.trainings - self.done)
        title = f"Epoch {len(history)} dari {self.epochs}; sisa waktu {duration(left)}"
        figure = curves(history, self.others, self.epochs, title)
        self.show(figure)
        plt.close(figure)
        drawn = time.monotonic()
        self.next = drawn + max(PAUSE, (drawn - now) * (1 / SHARE - 1))


@contextmanager
def watching(
    study: Setup, config: TrainConfig, seeds: int
) -> Iterator[Callable[[list[dict]], None]]:
    """A Follower that shows the curves beside the recipe's in grey where somebody looks; elsewhere
    one that does nothing.
    """
    if not someone_watches():
        yield _nothing
        return
    canvas = display(Pretty("Pelatihan dimulai …"), display_id=True)
    follower = Follower(canvas.update, config, seeds, [_recipe_history(study)])
    yield follower
    if not follower.done:
        canvas.update(Pretty("Hasilnya sudah tersimpan; tidak ada yang dilatih lagi."))


def _recipe_history(study: Setup) -> list[dict]:
    """The recipe's curve in the reference study; none for other data, or where that study is
    missing.
    """
    try:
        return (
            reference.read()["variants"][0]["history"]
            if study.used.source.kind == "phantom"
            else []
        )
    except (InputError, KeyError, IndexError):
        return []


def curves(history: list[dict], others: Sequence[list[dict]], epochs: int, title: str) -> Figure:
    """Loss, accuracy and validation AUC by epoch so far; those of other trainings in grey. Rows as
    of a run's history.
    """
    figure, panels = plt.subplots(1, 3, figsize=(plots.WIDTH * 1.3, 2.6))
    table, greys = pd.DataFrame(history), [pd.DataFrame(other) for other in others]
    for panel, (quantity, label) in zip(panels, QUANTITIES, strict=True):
        for split, style, colour in (("train", "o-", plots.BLUE), ("val", "s--", plots.ORANGE)):
            name = f"{split}_{quantity}"
            for grey in greys:
                if name in grey:
                    panel.plot(
                        grey["epoch"], grey[name], style[1:], color=plots.GREY, lw=0.8, alpha=0.6
                    )
            if name in table:
                panel.plot(
                    table["epoch"],
                    table[name],
                    style,
                    color=colour,
                    ms=3.5,
                    label=plots.SPLIT_NAMES[split],
                )
        panel.set(title=label, xlabel="Epoch", xlim=(0.7, epochs + 0.3))
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(round(value, 6))))
    panels[1].legend()
    figure.suptitle(title, fontsize=9)
    return figure


def shown(comparison: Comparison) -> Comparison:
    """Show a comparison as a table, its differences with their intervals, and its curves over each
    other.
    """
    names = [row["name"] for row in comparison.rows][:4]
    display(comparison.table)
    for figure in (plots.forest(comparison.rows), plots.compared_curves(comparison.rows, names)):
        display(figure)
        plt.close(figure)
    return comparison
