"""What moves while one trains in JupyterLab, and how a comparison is shown there (notebooks 04 and
05).

A headless run shows neither curves nor a clock.
"""

import io
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from IPython import get_ipython
from IPython.display import Markdown, Pretty, display
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image
from scipy.special import expit, logit
from torch import Tensor

from cxr_helpers import (
    adaptation,
    augment,
    evaluation,
    experiments,
    figures,
    overfitting,
    remedies,
    training,
)
from cxr_helpers.data import to_tensor
from cxr_helpers.engine import files, ownfiles
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import duration, interval, join, number, percent, plain, signed
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.runtime import someone_watches
from cxr_helpers.evaluation import MARGIN, Difference
from cxr_helpers.experiments import DIRECTIONS, Comparison, Guess, Recipe, Result, duga
from cxr_helpers.figures import TRANSFORM_NAMES
from cxr_helpers.model import REDUCTIONS, RESIZES, SCALES, adapt_conv1
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
def watching(study, config: TrainConfig, seeds: int) -> Iterator[Callable[[list[dict]], None]]:
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


def _recipe_history(study) -> list[dict]:
    """The recipe's curve in the reference study; none for other data, or where that study is
    missing.
    """
    try:
        return (
            remedies.read_reference()["variants"][0]["history"]
            if study.used.source.kind == "phantom"
            else []
        )
    except (InputError, KeyError, IndexError):
        return []


def curves(history: list[dict], others: Sequence[list[dict]], epochs: int, title: str) -> Figure:
    """Loss, accuracy and validation AUC by epoch so far; those of other trainings in grey. Rows as
    of a run's history.
    """
    figure, panels = plt.subplots(1, 3, figsize=(figures.WIDTH * 1.3, 2.6))
    table, greys = pd.DataFrame(history), [pd.DataFrame(other) for other in others]
    for panel, (quantity, label) in zip(panels, QUANTITIES, strict=True):
        for split, style, colour in (("train", "o-", figures.BLUE), ("val", "s--", figures.ORANGE)):
            name = f"{split}_{quantity}"
            for grey in greys:
                if name in grey:
                    panel.plot(
                        grey["epoch"], grey[name], style[1:], color=figures.GREY, lw=0.8, alpha=0.6
                    )
            if name in table:
                panel.plot(
                    table["epoch"],
                    table[name],
                    style,
                    color=colour,
                    ms=3.5,
                    label=figures.SPLIT_NAMES[split],
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
    for figure in (
        figures.forest(comparison.rows),
        figures.compared_curves(comparison.rows, names),
    ):
        display(figure)
        plt.close(figure)
    return comparison


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
        figure = figures.responses(
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
        figure = figures.roc(
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
        figure = figures.predictions(
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
        return figures.augmentations(
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


def show_panel(make: Callable[..., ipywidgets.Widget], *args) -> None:
    """Show make(*args) where someone can use it."""
    if someone_watches():
        display(make(*args))


EARLIER = 5  # trainings whose curves stay in grey
# what the recipe is changed to, so that a training takes seconds
BASE = {"architecture": "small_cnn"}
# What may be chosen, and which settings of TrainConfig it changes; {} is the partner's choice.
LAB_CHOICES: dict[str, dict[str, dict]] = {
    "Jaringan": {
        "CNN kecil": {},
        "ResNet-18 hingga layer2": {"architecture": "resnet18_layer2"},
        "ResNet-18": {"architecture": "resnet18"},
    },
    "Dropout": {"0": {}} | {number(p, 1): {"dropout": p} for p in (0.2, 0.5, 0.8)},
    "Weight decay": {"0": {}}
    | {
        f"{p:g}".replace(".", ","): {"optimizer": "adamw", "weight_decay": p}
        for p in (0.001, 0.01, 0.05, 0.3)
    },
    "Learning rate": {
        "0,0001": {"lr": 1e-4},
        "0,0004": {},
        "0,001": {"lr": 1e-3},
        "0,003": {"lr": 3e-3},
        "0,01": {"lr": 1e-2},
    },
    "Ukuran batch": {"8": {"batch_size": 8}, "32": {}, "128": {"batch_size": 128}},
    "Augmentasi": {
        "tanpa": {},
        "geometri": {"augment": ("geometry",)},
        "pencahayaan": {"augment": ("exposure",)},
        "cermin kiri-kanan": {"augment": ("flip",)},
        "geometri dan pencahayaan": {"augment": ("geometry", "exposure")},
    },
    "Penyeimbangan": {
        "tanpa": {},
        "bobot kelas": {"balance": "pos_weight"},
        "pengambilan berimbang": {"balance": "sampler"},
        "kelas jarang diulang": {"balance": "repeat"},
    },
    "Jadwal": {
        "konstan": {},
        "kosinus": {"schedule": "cosine"},
        "one-cycle": {"schedule": "onecycle"},
    },
}
USUAL = {
    label: next(name for name, changes in choices.items() if not changes)
    for label, choices in LAB_CHOICES.items()
}
SLIDERS = ("Dropout", "Weight decay", "Learning rate", "Ukuran batch")
# Seeds counted from the study's own; the first single one and the first three are the partner's.
LAB_SEEDS = {"0": (0,), "1": (1,), "2": (2,), "0, 1, 2": (0, 1, 2), "3, 4, 5": (3, 4, 5)}
ITSELF = "Pilihan itu sama dengan pembandingnya: ubahlah satu hal, atau seed-nya."
WIDE = "26em"  # of a control
NOT_YET = "(pilih dahulu)"
RULES = (
    "Pembandingnya CNN kecil dengan resep tanpa perubahan, pada citra validasi yang sama, "
    "setelah epoch terakhir. Dengan satu seed, intervalnya hanya memperhitungkan ragam antarcitra: "
    "hasilnya petunjuk, bukan putusan."
)


# --- what a trial is, and what came of it ---------------------------------------------------------


def validation_difference(study, ours: Sequence[Run], theirs: Sequence[Run]) -> Difference:
    """Validation AUC after the last epoch, minus that of the partner's runs; see
    comparison.Difference.
    """
    logits = [[run.logits["val_last"] for run in each] for each in (ours, theirs)]
    return evaluation.differences(*logits, study.used.val.labels, study.used.val.patients)["auc"]


def came_true(guess: Guess, found: Difference) -> str:
    """What a difference says of a guess (Indonesian): its direction alone where there are too few
    seeds for a verdict.
    """
    if found.p is not None:
        agrees = experiments.outcome(
            guess, {guess.measure: {"value": found.value, "ci95": found.ci95}}
        )["agrees"]
        return {"ya": "sesuai", "tidak": "tidak sesuai"}.get(agrees, agrees)
    near = abs(found.value) < MARGIN["auc"]
    holds = {"above": found.value > 0, "below": found.value < 0, "across": near}[guess.direction]
    return "searah" if holds else "tidak searah"


@dataclass(frozen=True)
class Trial:
    """One press of the button: what was changed (Indonesian), with which seeds, the expected
    direction, and what came.
    """

    title: str
    seeds: str
    guess: str
    auc: float
    found: Difference

    def line(self) -> dict[str, str]:
        return {
            "Perubahan": self.title,
            "Seed": self.seeds,
            "Dugaan": self.guess,
            "AUC validasi": number(self.auc),
            "Selisih (IK 95%)": f"{signed(self.found.value)} ({interval(self.found.ci95, 3, 1)})",
            "Hasil": came_true(duga(self.guess), self.found),
        }


# --- the panel ------------------------------------------------------------------------------------


class Laboratory:
    """The controls, what they trained so far, and how it is shown; `box` is the whole panel."""

    def __init__(self, study):
        self.study, self.trials, self.histories = study, [], []
        self.controls = {
            label: _control(label, choices, USUAL[label]) for label, choices in LAB_CHOICES.items()
        }
        self.controls["Seed"] = _control("Seed", LAB_SEEDS, "0")
        self.guess = _control("AUC validasi", dict.fromkeys([NOT_YET, *DIRECTIONS]), NOT_YET)
        self.button = ipywidgets.Button(
            description="Latih", button_style="primary", icon="play", disabled=True
        )
        self.work, self.said, self.table = (ipywidgets.HTML() for _ in range(3))
        self.table.add_class("jp-RenderedHTMLCommon")  # JupyterLab's own style of tables
        self.picture = ipywidgets.Image(format="png", layout={"display": "none"})
        columns = ipywidgets.Layout(grid_template_columns=f"repeat(auto-fill, {WIDE})")
        wrapped = ipywidgets.Layout(flex_flow="row wrap")
        self.box = ipywidgets.VBox(
            [
                ipywidgets.GridBox(list(self.controls.values()), layout=columns),
                self.work,
                ipywidgets.HBox(
                    [ipywidgets.HTML("<b>Dugaan Anda:</b>"), self.guess, self.button],
                    layout=wrapped,
                ),
                self.said,
                self.picture,
                self.table,
            ]
        )
        for control in self.controls.values():
            control.observe(lambda _: _in_main_thread(self._say_work), "value")
        self.guess.observe(lambda _: self._free(), "value")
        self.button.on_click(lambda _: _in_main_thread(self.train))
        self._say_work()

    def _chosen(self) -> list[TrainConfig]:
        """The settings of each training, one a seed."""
        changes = dict(BASE)
        for label, choices in LAB_CHOICES.items():
            changes |= choices[self.controls[label].value]
        return [
            self.study.config(**changes, seed=self.study.seed + i)
            for i in LAB_SEEDS[self.controls["Seed"].value]
        ]

    def _plain(self) -> list[TrainConfig]:
        """The settings of the partner's trainings: as many as are chosen."""
        seeds = LAB_SEEDS["0, 1, 2" if len(self._chosen()) > 1 else "0"]
        return [self.study.config(**BASE, seed=self.study.seed + i) for i in seeds]

    def _left(self, configs: list[TrainConfig]) -> list[TrainConfig]:
        """Those that the run store does not hold yet."""
        study = self.study
        given = (study.used, study.weights, study.device)
        return [one for one in configs if not training.task(one, *given).finished]

    def _say_work(self) -> None:
        """How much is to be trained, before it starts."""
        if self._chosen() == self._plain():
            self.work.value = ITSELF
            return
        ours = self._left(self._chosen())
        theirs = [config for config in self._left(self._plain()) if config not in ours]
        parts = [f"{len(ours)} pelatihan" if ours else "pilihan Anda sudah tersimpan"]
        if theirs:
            parts.append(f"dan {len(theirs)} untuk pembandingnya, sekali saja")
        self.work.value = f"Yang akan dilatih: {' '.join(parts)}."

    def _free(self, busy: bool = False) -> None:
        """Let the person choose again; the button waits for a guess."""
        for control in (*self.controls.values(), self.guess):
            control.disabled = busy
        self.button.disabled = busy or self.guess.value == NOT_YET

    def _show(self, figure: Figure) -> None:
        self.picture.value, self.picture.layout.display = png(figure), None

    def train(self) -> None:
        """Train what is chosen and its partner, and set the result beside the guess."""
        chosen = self._chosen()
        if chosen == self._plain():
            self.said.value = ITSELF
            return
        self._free(busy=True)
        try:
            with _interruptions() as asked:
                self._add(chosen, asked)
            self.guess.value, self.said.value = NOT_YET, self._summary()
        except KeyboardInterrupt:
            self.said.value = (
                "Dihentikan. "
                "Tekan Latih lagi dengan pilihan yang sama untuk melanjutkan dari epoch terakhir."
            )
        except InputError as error:
            self.said.value = str(error)
        finally:
            self._free()
            self._say_work()

    def _add(self, chosen: list[TrainConfig], asked: threading.Event) -> None:
        """asked: whether to stop."""
        partner = self._result("pembandingnya", self._plain(), asked)
        result = self._result("pilihan Anda", chosen, asked)
        found = validation_difference(self.study, result.runs, partner.runs)
        auc = np.mean([run.history["val_auc"].iloc[-1] for run in result.runs])
        self.trials.append(
            Trial(self._title(), self.controls["Seed"].value, self.guess.value, float(auc), found)
        )
        history = result.history.to_dict("records")
        self._show(
            curves(
                history,
                self.histories[-EARLIER:],
                chosen[0].epochs,
                f"Pelatihan ke-{len(self.trials)}",
            )
        )
        self.histories.append(history)
        lines = pd.DataFrame(
            [trial.line() for trial in self.trials], index=range(1, len(self.trials) + 1)
        )
        self.table.value = lines.to_html(border=0) + f"<p>{RULES}</p>"

    def _result(self, what: str, configs: list[TrainConfig], asked: threading.Event) -> Result:
        self.said.value = (
            f"Melatih {what} … Untuk berhenti setelah epoch ini, "
            "pilih menu <i>Kernel → Interrupt Kernel</i>."
        )
        follower = Follower(self._show, configs[0], len(configs), self.histories[-EARLIER:])

        def on_epoch(history: list[dict]) -> None:
            follower(history)
            if asked.is_set():  # the epoch is kept already
                raise KeyboardInterrupt

        changes = configs[0].changed() | {"seed": configs[0].seed}
        return experiments.train(self.study, Recipe(changes), len(configs), on_epoch=on_epoch)

    def _title(self) -> str:
        changed = [
            (label, control.value)
            for label, control in self.controls.items()
            if control.value != USUAL.get(label)
        ]
        words = [
            value if label == "Jaringan" else f"{label.lower()} {value}"
            for label, value in changed
            if label != "Seed"
        ]
        return "; ".join(words) or "tanpa perubahan"

    def _summary(self) -> str:
        came = [trial.line()["Hasil"] for trial in self.trials]
        right = sum(word in ("searah", "sesuai") for word in came)
        return (
            f"Dugaan Anda: {self.trials[-1].guess}; hasilnya {came[-1]}. "
            f"Sejauh ini {right} dari {len(came)} dugaan tepat."
        )


@contextmanager
def _interruptions() -> Iterator[threading.Event]:
    """An event that an interrupt of the kernel sets; a kernel that runs no cell would ignore it."""
    asked = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: asked.set())
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _in_main_thread(call: Callable[[], None]) -> None:
    """Do it where cells run, one after the other: two trainings at once would draw from one stream
    of random numbers.

    JupyterLab answers widgets in a thread of their own (a subshell of the kernel), in which no
    interrupt arrives either.
    """
    if threading.current_thread() is threading.main_thread():
        call()
    else:
        get_ipython().kernel.io_loop.add_callback(call)


def _control(label: str, choices: dict, usual: str) -> ipywidgets.Widget:
    kind = ipywidgets.SelectionSlider if label in SLIDERS else ipywidgets.Dropdown
    wide = {"style": {"description_width": "9em"}, "layout": {"width": WIDE}}
    slides = {"continuous_update": False} if label in SLIDERS else {}
    return kind(options=list(choices), value=usual, description=label, **slides, **wide)


def open_laboratory(study) -> ipywidgets.VBox:
    """The laboratory as a panel that stands in a notebook; nothing is trained before the button is
    pressed.
    """
    return Laboratory(study).box


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


def ask(image: np.ndarray, run: Run, study) -> Answer:
    """What the chosen epoch's network answers to grey values (H, W) uint8 of any size; the
    temperature is of validation.
    """
    data, network = study.used, overfitting.chosen_network(run, study)
    square, seen = as_seen(image, data.source.size)
    maps, _ = overfitting.attribute(
        network, seen[None], data.train.images.mean(0).round().astype(np.uint8)
    )
    with torch.no_grad():
        logit = network(to_tensor(seen[None])).numpy().ravel()
    temperature = overfitting.fit_temperature(run.logits["val_best"], data.val.labels)
    sure, calibrated = (
        float(evaluation.confidence(one)[0]) for one in (logit, logit / temperature)
    )
    return Answer(square, seen, maps[0], int(expit(logit[0]) > 0.5), sure, calibrated, temperature)


def show_own_image(path: str | Path | None, run: Run, study) -> None:
    """Show the image in `path` (PNG, JPEG, DICOM) beside what the network sees of it, its answer
    and its attribution map.

    None: nothing. A relative path counts from the project's root too. Raises InputError.
    """
    if path is None:
        return
    if not isinstance(path, (str, Path)) or not str(path).strip():
        raise InputError('Berikan letak berkas citra dalam tanda kutip, misalnya "foto.png".')
    answer = ask(ownfiles.read_picture(files.from_root(str(path))), run, study)
    figure = figures.own_image(answer.original, answer.seen, answer.attributed)
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
