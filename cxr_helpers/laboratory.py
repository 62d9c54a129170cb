"""The laboratory of notebook 04: choose remedies, write down what you expect, train, and see what
came of it.

Everything is judged on validation images: who tries many settings and keeps the best has chosen
with those images, and the test split must not choose. `experiments.train` trains, so that a
training is checked, kept, and goes on where it was interrupted.
"""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import ipywidgets
import numpy as np
import pandas as pd
from IPython import get_ipython
from matplotlib.figure import Figure

from cxr_helpers import comparison, experiments, live, training, widgets
from cxr_helpers.comparison import MARGIN, Difference
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import interval, number, signed
from cxr_helpers.engine.runs import Run
from cxr_helpers.experiments import DIRECTIONS, Guess, Recipe, Result, duga
from cxr_helpers.setup import Setup
from cxr_helpers.training import TrainConfig

EARLIER = 5  # trainings whose curves stay in grey
# what the recipe is changed to, so that a training takes seconds
BASE = {"architecture": "small_cnn"}
# What may be chosen, and which settings of TrainConfig it changes; {} is the partner's choice.
CHOICES: dict[str, dict[str, dict]] = {
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
    for label, choices in CHOICES.items()
}
SLIDERS = ("Dropout", "Weight decay", "Learning rate", "Ukuran batch")
# Seeds counted from the study's own; the first single one and the first three are the partner's.
SEEDS = {"0": (0,), "1": (1,), "2": (2,), "0, 1, 2": (0, 1, 2), "3, 4, 5": (3, 4, 5)}
ITSELF = "Pilihan itu sama dengan pembandingnya: ubahlah satu hal, atau seed-nya."
WIDE = "26em"  # of a control
NOT_YET = "(pilih dahulu)"
RULES = (
    "Pembandingnya CNN kecil dengan resep tanpa perubahan, pada citra validasi yang sama, "
    "setelah epoch terakhir. Dengan satu seed, intervalnya hanya memperhitungkan ragam antarcitra: "
    "hasilnya petunjuk, bukan putusan."
)


# --- what a trial is, and what came of it ---------------------------------------------------------


def validation_difference(study: Setup, ours: Sequence[Run], theirs: Sequence[Run]) -> Difference:
    """Validation AUC after the last epoch, minus that of the partner's runs; see
    comparison.Difference.
    """
    logits = [[run.logits["val_last"] for run in each] for each in (ours, theirs)]
    return comparison.differences(*logits, study.used.val.labels, study.used.val.patients)["auc"]


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

    def __init__(self, study: Setup):
        self.study, self.trials, self.histories = study, [], []
        self.controls = {
            label: _control(label, choices, USUAL[label]) for label, choices in CHOICES.items()
        }
        self.controls["Seed"] = _control("Seed", SEEDS, "0")
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
        for label, choices in CHOICES.items():
            changes |= choices[self.controls[label].value]
        return [
            self.study.config(**changes, seed=self.study.seed + i)
            for i in SEEDS[self.controls["Seed"].value]
        ]

    def _plain(self) -> list[TrainConfig]:
        """The settings of the partner's trainings: as many as are chosen."""
        seeds = SEEDS["0, 1, 2" if len(self._chosen()) > 1 else "0"]
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
        self.picture.value, self.picture.layout.display = widgets.png(figure), None

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
            live.curves(
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
        follower = live.Follower(self._show, configs[0], len(configs), self.histories[-EARLIER:])

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


def open_laboratory(study: Setup) -> ipywidgets.VBox:
    """The laboratory as a panel that stands in a notebook; nothing is trained before the button is
    pressed.
    """
    return Laboratory(study).box
