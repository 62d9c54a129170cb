"""What moves in JupyterLab: trainings, panels, the laboratory, own images (all notebooks)."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import ipywidgets
import numpy as np
import pandas as pd
import torch
from IPython import get_ipython
from IPython.display import Markdown, Pretty, display
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from scipy.special import logit
from sklearn.metrics import confusion_matrix, roc_curve
from torch import Tensor, nn

import phantom
from cxr_helpers import adaptation, augment, evaluation, experiments, figures, overfitting, training
from cxr_helpers.data import to_tensor
from cxr_helpers.engine import files, ownfiles
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import duration, interval, number, percent, plain, points, signed
from cxr_helpers.engine.runs import Run
from cxr_helpers.engine.runtime import someone_watches
from cxr_helpers.experiments import DIRECTIONS, Comparison, Guess, Recipe, Result, duga
from cxr_helpers.model import REDUCTIONS, RESIZES, SCALES, adapt_conv1
from cxr_helpers.remedies import read_reference
from cxr_helpers.training import TrainConfig

SHARE = 0.1  # of the time may go into pictures; one may take longer than an epoch
AUGMENTATIONS = {figures.TRANSFORM_NAMES[name]: (name,) for name in augment.TRANSFORMS}
AUGMENTATIONS["geometri dan paparan"] = ("geometry", "exposure")

# --- a training as it goes, and what came of several ----------------------------------------------


class Follower:
    """After an epoch it hands `show` the curves, beside those of `others`, and the time left."""

    def __init__(self, show: Callable[[Figure], None], config: TrainConfig, others: list):
        self.show, self.others, self.epochs = show, others, config.epochs
        self.begun, self.done, self.next = time.monotonic(), 0, 0.0

    def __call__(self, history: list[dict]) -> None:
        self.done += 1
        now = time.monotonic()
        if now < self.next and len(history) < self.epochs:
            return
        left = (now - self.begun) / self.done * (self.epochs - len(history))
        title = f"Epoch {len(history)} dari {self.epochs}; sisa waktu {duration(left)}"
        self.show(figures.progress(history, self.others, self.epochs, title))
        drawn = time.monotonic()
        self.next = drawn + (drawn - now) * (1 / SHARE - 1)


@contextmanager
def watching(study, config: TrainConfig) -> Iterator[Callable[[list[dict]], None]]:
    """A Follower, on the phantom beside the reference study's recipe, where someone looks."""
    if not someone_watches():
        yield lambda history: None
        return
    others = []
    if study.used.source.kind == "phantom":
        with suppress(InputError):  # a training can do without the reference study
            others = [read_reference()["variants"][0]["history"]]
    place = display(Pretty(""), display_id=True)
    yield Follower(place.update, config, others)


def shown(comparison: Comparison) -> Comparison:
    """Show a comparison as a table, its differences with their intervals, and its first curves."""
    lines = {}
    for row in comparison.variants:
        line = {"Seed": len(row["seeds"]), "AUC uji": number(row["test"]["auc"]["value"])}
        line |= dict.fromkeys(("Selisih AUC", "Selisih kesenjangan"), "–")
        line |= dict.fromkeys(("Putusan AUC", "Putusan kesenjangan"), row["verdict"])
        if row["predicts"]:
            auc, gap = row["predicts"], row["overfits"]
            line["Selisih AUC"] = f"{signed(auc['value'])} [{interval(auc['ci95'], 3, 1)}]"
            line["Selisih kesenjangan"] = f"{points(gap['value'])} [{interval(gap['ci95'])}]"
            line["Putusan kesenjangan"] = gap["verdict"]
        lines[row["title"]] = line
    display(pd.DataFrame.from_dict(lines, orient="index").rename_axis("Percobaan"))
    display(figures.forest(comparison.variants))
    display(figures.compared_curves(comparison.variants, comparison.compared))
    return comparison


# --- panels: controls above a picture -------------------------------------------------------------


def menu(label: str, options: dict | Sequence, **start) -> ipywidgets.Dropdown:
    """A choice between options: {what is read: value}, or words that are both."""
    looks = {"style": {"description_width": "9em"}, "layout": {"width": "26em"}}
    return ipywidgets.Dropdown(options=options, description=label, **looks, **start)


def slider(label: str, low: float, high: float, kind=ipywidgets.IntSlider, **how):
    """It answers when it is let go: a picture for each place on the way would come late."""
    return kind(description=label, min=low, max=high, continuous_update=False, **how)


def beside(*parts: ipywidgets.Widget) -> ipywidgets.HBox:
    """Parts in a row, which breaks where the page ends."""
    return ipywidgets.HBox(parts, layout={"flex_flow": "row wrap"})


def panel(controls: list, draw: Callable[..., tuple[Figure, str]]) -> ipywidgets.VBox:
    """Controls above a line of text and a picture: draw(*values) whenever a control changes."""
    # ipywidgets.interactive_output empties and fills again at every move: the page would jump.
    picture, said = ipywidgets.HTML(), ipywidgets.HTML()

    def redraw(_=None) -> None:
        figure, said.value = draw(*(control.value for control in controls))
        picture.value = figure._repr_html_()

    for control in controls:
        control.observe(redraw, "value")
    redraw()
    return ipywidgets.VBox([beside(*controls), said, picture])


def show_panel(make: Callable[..., ipywidgets.Widget], *args) -> None:
    """Show make(*args) where someone can use it."""
    if someone_watches():
        display(Markdown("Bila panelnya tidak bergerak, jalankan lagi sel ini."), make(*args))


def adaptation_panel(kernels: Tensor, images: np.ndarray, size: int) -> ipywidgets.VBox:
    """Choose how RGB kernels (n, 3, 7, 7) become size × size, and what one answers to an image."""
    same = size == kernels.shape[-1]

    def draw(reduce: str, resize: str, scale: str, channel: int, image: int) -> tuple[Figure, str]:
        kernel, seen = kernels[channel : channel + 1], images[image : image + 1]
        adapted = adapt_conv1(kernel, kernel=size, reduce=reduce, resize=resize, scale=scale)
        target = adaptation.original_response(kernel, seen, 1 if same else 2)[0, 0].numpy()
        ours = adaptation.adapted_response(adapted, seen, 2 if same else 1)[0, 0].numpy()
        figure = figures.responses(kernel[0].numpy(), adapted[0, 0].numpy(), seen[0], target, ours)
        inner = [response[1:-1, 1:-1].ravel() for response in (target, ours)]
        before, after = (response.std() for response in inner)
        if min(before, after) <= 1e-9:
            return figure, "Korelasi respons pada citra ini: tidak ada, karena responsnya nol."
        return figure, (
            f"Korelasi respons pada citra ini: {number(np.corrcoef(*inner)[0, 1])}. "
            f"Simpangan baku respons adaptasi: {number(after / before, 2)} kali asalnya."
        )

    controls = [  # named as in code
        menu("reduce", tuple(REDUCTIONS)),
        menu("resize", tuple(RESIZES)),
        menu("scale", tuple(SCALES)),
        slider("Kernel", 0, len(kernels) - 1),
        slider("Citra", 0, len(images) - 1),
    ]
    return panel(controls, draw)


def threshold_panel(
    logits: np.ndarray, labels: np.ndarray, class_names: tuple[str, str]
) -> ipywidgets.VBox:
    """Move the threshold of the probability; what it decides on logits (N,) moves along."""
    curve = roc_curve(labels, logits)[:2]
    area = float(evaluation.area_under_curve(logits, labels))

    def draw(threshold: float) -> tuple[Figure, str]:
        matrix = confusion_matrix(labels, logits > logit(threshold))
        specificity, sensitivity = matrix.diagonal() / matrix.sum(axis=1)
        return figures.roc(curve, matrix=matrix, class_names=class_names, area=area), (
            f"Ambang {number(threshold, 2)}: sensitivitas {percent(sensitivity)}, "
            f"spesifisitas {percent(specificity)}."
        )

    return panel([slider("Ambang", 0.01, 0.99, ipywidgets.FloatSlider, step=0.01, value=0.5)], draw)


def patient_panel(networks: dict[str, nn.Module]) -> ipywidgets.VBox:
    """Redraw a phantom's patient; once a guess is made, each network's logit moves."""
    patients = phantom.patients(overfitting.PATIENTS)
    usual = {"ratio": 0.45, "air": 0.0, "side": 1, "tube": 0, "exposure": 1.0}

    def draw(patient: int, *values: float | str) -> tuple[Figure, str]:
        one = {name: value[patient : patient + 1] for name, value in patients.items()}
        changed, guess = dict(zip(usual, values, strict=False)), values[-1]
        images = np.concatenate([phantom.redraw(one, **now) for now in (usual, changed)])
        rows = []
        for title, network in networks.items():
            before, after = training.evaluate(network, to_tensor(images)).tolist()
            if guess == NOT_YET:
                before = after = np.nan
            row = {"thing": title, "values": (0, 1), "logits": [[before, after]], "images": images}
            rows.append(row | {"change": {"value": after - before}})
        asked = "Dugalah dahulu: naik atau turunkah logitnya?"
        return figures.response(rows), asked if guess == NOT_YET else f"Dugaan Anda: {guess}."

    real = partial(slider, kind=ipywidgets.FloatSlider, step=0.05)
    things = [
        slider("Pasien", 0, overfitting.PATIENTS - 1),
        real("Rasio", 0.4, 0.7, value=usual["ratio"]),
        real("Udara", 0, 0.6, value=usual["air"]),
        menu("Sisi udara", {"kiri pasien": 1, "kanan pasien": -1}),
        menu("Selang dada", {"tanpa": 0, "dengan": 1}),
        real("Paparan", 0.5, 2, value=usual["exposure"]),
    ]
    guess = menu("Logit", [NOT_YET, *DIRECTIONS])
    for control in things:  # before the panel's own: a new change asks for a new guess
        control.observe(lambda _: setattr(guess, "value", NOT_YET), "value")
    return panel([*things, guess], draw)


# --- the laboratory of notebook 04 ----------------------------------------------------------------

PARTNER = TrainConfig(architecture="small_cnn")  # the recipe, but trained in seconds
NETWORKS = {
    "CNN kecil": "small_cnn",
    "ResNet-18 tanpa layer3–4": "resnet18_layer2",
    "ResNet-18": "resnet18",
}
BALANCING = {
    "tanpa": "none",
    "bobot kelas": "pos_weight",
    "pencuplikan berimbang": "sampler",
    "oversampling kelas minoritas": "repeat",
}
# {setting of TrainConfig: (what it is called, {what is read: value})}
LAB_CHOICES = {
    "architecture": ("Model", NETWORKS),
    "dropout": ("Dropout", {plain(p): p for p in (0.0, 0.2, 0.5, 0.8)}),
    "weight_decay": ("Weight decay", {plain(p): p for p in (0.0, 0.001, 0.01, 0.05, 0.3)}),
    "lr": ("Learning rate", {plain(p): p for p in (0.0001, 0.0004, 0.001, 0.003, 0.01)}),
    "batch_size": ("Ukuran batch", {plain(n): n for n in (8, 32, 128)}),
    "augment": ("Augmentasi", {"tanpa": ()} | AUGMENTATIONS),
    "balance": ("Penyeimbangan", BALANCING),
    "schedule": ("Jadwal", {"konstan": "constant", "kosinus": "cosine", "one-cycle": "onecycle"}),
}
# Seeds counted from the study's own; the first single one and the first three are the partner's.
LAB_SEEDS = {"0": (0,), "1": (1,), "2": (2,), "0, 1, 2": (0, 1, 2), "3, 4, 5": (3, 4, 5)}
NOT_YET = "(pilih dahulu)"
RULES = (
    "Pembandingnya CNN kecil dengan resep tanpa perubahan, pada citra validasi yang sama, "
    "setelah epoch terakhir. Dengan satu seed, intervalnya hanya memperhitungkan ragam antarcitra: "
    "hasilnya petunjuk, bukan putusan."
)


def came_true(guess: Guess, difference: dict) -> str:
    """What a difference of the AUC says of a guess: too few seeds give its direction alone."""
    if difference["p"] is None:
        point = (difference["value"], difference["value"])
        return "searah" if experiments.agrees(guess, point) == "ya" else "tidak searah"
    agrees = experiments.agrees(guess, difference["ci95"])
    return {"ya": "sesuai", "tidak": "tidak sesuai"}.get(agrees, agrees)


class Laboratory(ipywidgets.VBox):
    """A panel: its controls, what they trained so far, and how it is shown."""

    def __init__(self, study):
        super().__init__()
        self.study, self.lines, self.histories = study, [], []
        self.controls = {
            setting: menu(label, options, value=getattr(PARTNER, setting))
            for setting, (label, options) in LAB_CHOICES.items()
        }
        self.seeds = menu("Seed", LAB_SEEDS)
        self.guess = menu("AUC validasi", [NOT_YET, *DIRECTIONS])
        self.button = ipywidgets.Button(description="Latih", button_style="primary", disabled=True)
        self.said, self.table = ipywidgets.HTML(), ipywidgets.HTML()
        self.table.add_class("jp-RenderedHTMLCommon")  # JupyterLab's own style of tables
        self.picture = ipywidgets.HTML()
        choices = beside(*self.controls.values(), self.seeds)
        guess = beside(ipywidgets.HTML("<b>Dugaan Anda:</b>"), self.guess, self.button)
        self.children = [choices, guess, self.said, self.picture, self.table]
        self.guess.observe(self._free, "value")
        self.button.on_click(lambda _: _in_main_thread(self.train))

    def _free(self, _=None, busy: bool = False) -> None:
        """Let the person choose again; the button waits for a guess."""
        for control in (*self.controls.values(), self.seeds, self.guess):
            control.disabled = busy
        self.button.disabled = busy or self.guess.value == NOT_YET

    def _changed(self) -> dict[str, ipywidgets.Dropdown]:
        """The controls that stand elsewhere than the partner's setting."""
        return {
            setting: control
            for setting, control in self.controls.items()
            if control.value != getattr(PARTNER, setting)
        }

    def train(self) -> None:
        """Train what is chosen and its partner, and set the result beside the guess."""
        changes = {setting: control.value for setting, control in self._changed().items()}
        seeds, partner = self.seeds.value, range(len(self.seeds.value))
        if "weight_decay" in changes:
            changes["optimizer"] = "adamw"
        self._free(busy=True)
        try:
            with _interruptions() as stop:
                theirs = self._trained("pembandingnya", {}, partner, stop)
                ours = self._trained("pilihan Anda", changes, seeds, stop)
            self._add(ours, theirs)
        except KeyboardInterrupt:
            self.said.value = "Dihentikan. Tekan Latih lagi untuk melanjutkan dari epoch terakhir."
        except InputError as error:
            self.said.value = str(error)
        finally:
            self._free()

    def _trained(
        self, whose: str, changes: dict, seeds: Sequence[int], stop: threading.Event
    ) -> Result:
        self.said.value = (
            f"Melatih {whose} … Untuk berhenti setelah epoch ini, "
            "pilih menu <i>Kernel → Interrupt Kernel</i>."
        )
        changes = PARTNER.changed() | changes | {"seed": self.study.seed + seeds[0]}
        follower = Follower(self._show, self.study.config(**changes), self.histories)

        def on_epoch(history: list[dict]) -> None:
            follower(history)
            if stop.is_set():  # the epoch is kept already
                raise KeyboardInterrupt

        return experiments.train(self.study, Recipe(changes), len(seeds), on_epoch=on_epoch)

    def _show(self, figure: Figure) -> None:
        self.picture.value = figure._repr_html_()

    def _add(self, ours: Result, theirs: Result) -> None:
        """Show a result as one more line of the table, its curves, and whether the guess held."""
        val = self.study.used.val
        logits = ([run.logits["val_last"] for run in result.runs] for result in (ours, theirs))
        auc, partner = (
            evaluation.measured(seeds, val.labels, val.patients)["auc"] for seeds in logits
        )
        apart, guess = evaluation.difference(auc, partner), self.guess.value
        controls = self._changed().values()
        changed = [f"{control.description.lower()} {control.label}" for control in controls]
        line = {
            "Perubahan": "; ".join(changed) or "tanpa perubahan",
            "Seed": self.seeds.label,
            "Dugaan": guess,
            "AUC validasi": number(auc.values.mean()),
            "Selisih": f"{signed(apart['value'])} (IK 95% {interval(apart['ci95'], 3, 1)})",
            "Hasil": came_true(duga(guess), apart),
        }
        self.lines.append(line)
        n, history = len(self.lines), ours.history.to_dict("records")
        table = pd.DataFrame(self.lines, index=range(1, n + 1))
        self.table.value = table.to_html(border=0) + f"<p>{RULES}</p>"
        self._show(figures.progress(history, self.histories, len(history), f"Pelatihan ke-{n}"))
        self.histories.append(history)
        held = sum(line["Hasil"] in ("searah", "sesuai") for line in self.lines)
        self.guess.value = NOT_YET
        self.said.value = (
            f"Dugaan Anda: {guess}; hasilnya {line['Hasil']}. "
            f"Sejauh ini {held} dari {n} dugaan tepat."
        )


@contextmanager
def _interruptions() -> Iterator[threading.Event]:
    """An event that an interrupt of the kernel sets; a kernel that runs no cell would ignore it."""
    stop = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _in_main_thread(call: Callable[[], None]) -> None:
    """Do it where cells run: JupyterLab answers widgets in another thread, where no interrupt
    arrives and two trainings at once would draw from one stream of random numbers.
    """
    if threading.current_thread() is threading.main_thread():
        call()
    else:
        get_ipython().kernel.io_loop.add_callback(call)


# --- an image of one's own (notebook 03) ----------------------------------------------------------

WARNING = (
    "**Bahan ajar, bukan diagnosis.** Model ini hanya mengenal dua kelas dan harus memilih "
    "salah satunya: foto seekor kucing, rontgen tangan, atau paru yang sehat pun mendapat jawaban, "
    "sering kali dengan yakin."
)


def show_own_image(path: str | Path | None, run: Run | Result, study) -> None:
    """Show a PNG, JPEG or DICOM, what the network sees of it, its map and answer; None: nothing."""
    if path is None:
        return
    run = getattr(run, "runs", [run])[0]  # of a result, its first
    if not isinstance(run, Run):
        raise InputError("Berikan hasil study.train, bukan modelnya: ia diukur dengan datanya.")
    data, network = study.used, training.restored(run)
    image = Image.fromarray(ownfiles.read_picture(files.from_root(str(path))))
    side, size = min(image.size), data.source.size
    square = ImageOps.fit(image, (side, side), Image.Resampling.NEAREST)
    seen = np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))
    average = data.train.images.mean(0).round().astype(np.uint8)
    maps = overfitting.attribute(network, seen[None], average)
    with torch.no_grad():
        logit = float(network(to_tensor(seen[None])))
    temperature = overfitting.fit_temperature(run.logits["val_best"], data.val.labels)
    display(figures.own_image(np.asarray(square), seen, maps[0]))
    names = data.class_names_id
    calibrated = percent(evaluation.confidence(logit / temperature))
    words = (
        f"Jawaban model: **{names[int(logit > 0)]}**, dengan keyakinan "
        f"{percent(evaluation.confidence(logit))}; setelah dikalibrasi dengan suhu "
        f"{number(temperature, 2)}: **{calibrated}**. Pada peta, piksel merah mendorong jawabannya "
        f"ke {names[1].lower()}, piksel biru ke {names[0].lower()}.\n\n{WARNING}"
    )
    display(Markdown(words))
