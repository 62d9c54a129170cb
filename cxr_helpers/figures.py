"""Every figure, in Indonesian, from plain data (all notebooks).

Each function takes what a results file holds, or arrays of the same shape, and returns a matplotlib
Figure; an estimate is {"value", "ci95"}. Lines and markers differ in shape as well as in colour
(seaborn's colour-blind safe palette), so that grey print stays readable.
"""

import io
from collections.abc import Sequence
from textwrap import wrap

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike
from torchvision.utils import make_grid

from cxr_helpers.engine.indonesian import join, number, plain, signed
from cxr_helpers.evaluation import BETTER, MAJORITY, MARGIN, WORSE

# inches: the text width of the A4 report, so that nothing is scaled and 8 pt stays 8 pt
WIDTH = 6.3
NARROW = 0.72 * WIDTH  # of a figure with one panel
LETTERS = 84  # of a title's size, side by side over WIDTH
DPI = 100  # where a notebook shows a figure
BLUE, ORANGE, GREEN = sns.color_palette("colorblind")[:3]
# the palette's own red is orange to the eye; the text calls frames red
RED, GREY, PURPLE = (0.75, 0.07, 0.16), (0.45, 0.45, 0.45), (0.6, 0.3, 0.7)
# One colour for one organ in every figure, under the names that results files give the masks.
ORGANS = {"jantung": ORANGE, "paru": BLUE, "pneumotoraks": GREEN, "selang dada": PURPLE}
TRAIN = {"label": "latih", "color": BLUE, "marker": "o", "ls": "-", "ms": 3.5}
VAL = {"label": "validasi", "color": ORANGE, "marker": "s", "ls": "--", "ms": 3.5}
SPLITS = {"train": TRAIN, "val": VAL}
TRANSFORM_NAMES = {"geometry": "geometri", "exposure": "pencahayaan", "flip": "cermin kiri-kanan"}

sns.set_theme(
    context="paper",
    style="ticks",
    palette="colorblind",
    rc={
        "figure.constrained_layout.use": True,
        # the serif that comes with matplotlib, akin to the text's
        "font.family": ["STIXGeneral", "DejaVu Sans"],
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "svg.hashsalt": "cxr",  # the same figure gives the same bytes
    },
)

# --- what several figures are made of -------------------------------------------------------------


class Canvas(Figure):
    """A Figure that pyplot does not hold: any thread may draw it. JupyterLab shows it as PNG."""

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.savefig(stream, format="png", dpi=DPI)
        return stream.getvalue()


def decimals(value: float, _=None) -> str:
    """A tick's label with a decimal comma, with all its digits."""
    return plain(round(value, 6))


def percents(value: float, _=None) -> str:
    """A share at a tick as a percentage, with all its digits: "77,5%"."""
    return f"{plain(round(100 * value, 6))}%"


def canvas(rows=1, columns=1, width=WIDTH, height=2.4, y=decimals, **how):
    """An empty figure, width × height inches, and its panels as of matplotlib's `subplots`; y: how
    the ticks there are written.
    """
    figure = Canvas(figsize=(width, height))
    panels = figure.subplots(rows, columns, **how)
    for panel in figure.axes:
        panel.xaxis.set_major_formatter(decimals)
        panel.yaxis.set_major_formatter(y)
    return figure, panels


def with_legend(figure: Figure, panel: Axes, columns: int = 4, side: str = "center") -> Figure:
    """The figure with one legend under all panels: what `panel` shows."""
    handles, names = panel.get_legend_handles_labels()
    if names:
        figure.legend(handles, names, loc=f"outside lower {side}", ncols=min(columns, len(names)))
    return figure


def epoch_axis(panel: Axes, epochs: Sequence[int]) -> None:
    """Ticks at whole epochs, also when there is just one."""
    panel.set(xlabel="Epoch", xlim=(min(epochs) - 0.3, max(epochs) + 0.3))
    whole = MaxNLocator(integer=True) if len(epochs) > 12 else FixedLocator(list(epochs))
    panel.xaxis.set_major_locator(whole)


def by_epoch(
    panel: Axes, history: list[dict], quantity: str, best: int | None = None, majority: float = 0
) -> None:
    """A quantity of training and validation by epoch, as far as the rows of a history have it:
    "epoch", "train_<quantity>", "val_<quantity>"; with the chosen epoch, the share of the majority.
    """
    table = pd.DataFrame(history)
    for split, style in SPLITS.items():
        if f"{split}_{quantity}" in table:
            panel.plot(table["epoch"], table[f"{split}_{quantity}"], **style)
    if best is not None:
        panel.axvline(best, color=GREY, lw=0.8, ls=":", label=f"epoch terpilih ({best})")
    if majority:
        panel.axhline(majority, color=GREY, lw=0.8, ls="-.", label="tebakan mayoritas")
    epoch_axis(panel, table["epoch"])
    panel.yaxis.set_major_formatter(percents if quantity == "acc" else decimals)


def with_intervals(
    panel: Axes, x: Sequence[float], estimates: Sequence[dict], style: dict, bars: bool = False
) -> None:
    """Estimates with their intervals: a curve in a band, or points with bars."""
    values, low, high = _columns(estimates)
    if bars:
        lengths = np.abs([values - low, high - values])
        panel.errorbar(x, values, lengths, **style | {"ls": "none", "ms": 4}, elinewidth=1)
    else:
        panel.fill_between(x, low, high, color=style["color"], alpha=0.2, lw=0)
        panel.plot(x, values, **style)


def _columns(estimates: Sequence[dict]) -> np.ndarray:
    """Values, lower and upper bounds (3, n)."""
    return np.array([(estimate["value"], *estimate["ci95"]) for estimate in estimates]).T


def picture(panel: Axes, image: ArrayLike, title: str = "", frame=None, **how) -> None:
    """An image pixel by pixel, in grey values 0–255 unless `how` says otherwise."""
    panel.imshow(image, **{"cmap": "gray", "vmin": 0, "vmax": 255, "interpolation": "none"} | how)
    panel.set(xticks=[], yticks=[])
    for spine in panel.spines.values():
        spine.set(visible=frame is not None, color=frame or "none", linewidth=1.8)
    if title:
        panel.set_title(title, loc="center")


def signed_picture(panel: Axes, values: np.ndarray, title: str = "", limit: float = 0) -> None:
    """Values (H, W) from blue (−limit, or their own largest size) over white to red."""
    limit = limit or largest(values)
    picture(panel, values, title, cmap="RdBu_r", vmin=-limit, vmax=limit)


def largest(*arrays: np.ndarray) -> float:
    """The largest absolute value in arrays, a little more than zero at least."""
    return max(*(float(np.abs(array).max()) for array in arrays), 1e-12)


def outline(panel: Axes, masks: dict[str, ArrayLike]) -> None:
    """Contours of named masks (H, W) over an image, with their names for a legend."""
    for name, mask in masks.items():
        colour = ORGANS.get(name, RED)
        panel.plot([], [], color=colour, label=name)
        if np.any(mask):
            panel.contour(np.asarray(mask, bool), levels=[0.5], colors=[colour], linewidths=0.9)


def rows_of_classes(
    panels: Sequence[Sequence[Axes]],
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    outlines: dict[str, ArrayLike] | None = None,
) -> None:
    """Images (n, H, W) of either class in its row, as many as find a place, with named masks."""
    for of_class, row in enumerate(panels):
        places = np.flatnonzero(np.asarray(labels) == of_class)
        for panel, i in zip(row, places, strict=False):
            picture(panel, images[i])
            outline(panel, {name: masks[i] for name, masks in (outlines or {}).items()})
        for panel in row:
            panel.set_axis_off()
        row[0].set_title(class_names[of_class])


# --- notebook 01: adaptation ----------------------------------------------------------------------


def kernels(before: ArrayLike, after: ArrayLike) -> Figure:
    """The first-layer kernels: before (n, 3, 7, 7) as colours, after (n, 1, 3, 3) signed."""
    before, after = np.asarray(before), np.asarray(after)
    figure, (above, below) = canvas(2, 1, height=0.84 * -(-len(before) // 16) + 0.5)
    picture(above, (_mosaic(before, gap=1) + 1) / 2)
    signed_picture(below, _mosaic(after, gap=np.nan)[..., 0], limit=1)
    before_shape, after_shape = ("×".join(map(str, a.shape[1:])) for a in (before, after))
    above.set_title(f"Kernel asal: {len(before)} buah, {before_shape} (RGB)")
    below.set_title(f"Setelah diadaptasi: {len(after)} buah, {after_shape} (keabuan)")
    return figure


def _mosaic(kernels: np.ndarray, gap: float) -> np.ndarray:
    """Kernels (n, 1 or 3, h, w), each divided by its own largest size, as one image (H, W, 3)."""
    tiles = torch.as_tensor(kernels)
    tiles = tiles / tiles.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return make_grid(tiles, nrow=16, padding=1, pad_value=gap).permute(1, 2, 0).numpy()


def responses(
    before: np.ndarray, after: np.ndarray, image: np.ndarray, target: np.ndarray, ours: np.ndarray
) -> Figure:
    """A kernel before (3, 7, 7) and after (k, k) adaptation, each on a scale of its own, an image
    (H, W), and what either answers to it, on one scale, so that the size of a change shows.
    """
    figure, panels = canvas(1, 5, WIDTH * 1.3, 2.1)
    scales = largest(before), largest(after)
    before_scale, after_scale = (plain(float(f"{scale:.2g}")) for scale in scales)
    colours = (np.moveaxis(before, 0, -1) / scales[0] + 1) / 2
    picture(panels[0], colours, f"Kernel asal\n±{before_scale}")
    signed_picture(panels[1], after, f"Diadaptasi\n±{after_scale}")
    picture(panels[2], image, "Citra")
    # The border answers to the padding, not to the image.
    limit = largest(target[2:-2, 2:-2], ours[2:-2, 2:-2])
    signed_picture(panels[3], target, "Respons asal", limit)
    signed_picture(panels[4], ours, "Respons adaptasi", limit)
    return figure


def drift(drift: list[dict]) -> Figure:
    """How far the images are from the statistics of each BatchNorm: {"shift", "scale"} a layer."""
    figure, (left, right) = canvas(1, 2)
    left.set_title("Pergeseran rata-rata")
    right.set(title="Rasio simpangan baku", yscale="log")
    for panel, key, unchanged in ((left, "shift", 0), (right, "scale", 1)):
        panel.axhline(unchanged, color=GREY, lw=0.8)
        values = [layer[key] for layer in drift]
        panel.plot(range(1, len(drift) + 1), values, "o-", ms=3.5, color=BLUE)
        panel.set_xlabel("Lapisan BatchNorm ke-")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_minor_formatter(NullFormatter())
    right.yaxis.set_major_formatter(decimals)
    return figure


# --- notebook 02: the data and the training -------------------------------------------------------


def phantom(steps: dict) -> Figure:
    """How the phantom makes an image: what rays meet (cm), what goes through, pixels, masks."""
    figure, panels = canvas(1, 6, height=1.75)
    tissues = {"soft": "Jaringan lunak", "lung": "Paru", "bone": "Tulang"}
    for panel, (name, title) in zip(panels, tissues.items(), strict=False):
        thickness = np.asarray(steps[name])
        thickest = float(thickness.max())
        picture(panel, thickness, title, cmap="cividis", vmax=max(thickest, 1e-9))
        panel.set_xlabel(f"0–{number(thickest, 0 if thickest >= 10 else 1)} cm")
    attenuation = -np.log(np.maximum(steps["transmitted"], 1e-6))
    picture(panels[3], attenuation, "Atenuasi", vmin=None, vmax=None)
    panels[3].set_xlabel("$-\\ln(I/I_0)$")
    picture(panels[4], steps["image"], "Citra")
    panels[4].set_xlabel("28×28 piksel")
    picture(panels[5], steps["image"], "Masker acuan")
    organs = {"jantung": "heart", "paru": "lungs", "pneumotoraks": "pneumothorax"}
    outline(panels[5], {organ: steps[name] for organ, name in organs.items()})
    return with_legend(figure, panels[5], side="right")


def samples(
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    outlines: dict[str, ArrayLike] | None = None,
) -> Figure:
    """Example images (n, H, W), one row a class, with the contours of named masks (n, H, W)."""
    columns = int(np.bincount(labels).max())
    figure, panels = canvas(2, columns, height=2 * WIDTH / columns + 0.3, squeeze=False)
    rows_of_classes(panels, images, labels, class_names, outlines)
    return with_legend(figure, panels[0][0])


def intensity(
    edges: ArrayLike, pixels: ArrayLike, images: ArrayLike, class_names: Sequence[str]
) -> Figure:
    """Shares (2, bins) of the pixels of a class, and of its images by their mean, by grey value."""
    figure, (left, right) = canvas(1, 2, height=2.3, y=percents)
    left.set(title="Setiap piksel", ylabel="Proporsi dalam kelasnya")
    right.set_title("Rerata setiap citra")
    for panel, shares in ((left, pixels), (right, images)):
        panel.stairs(shares[0], edges, color=BLUE, lw=1.3, label=class_names[0])
        panel.stairs(shares[1], edges, color=ORANGE, lw=1.3, ls="--", label=class_names[1])
        panel.set(xlabel="Nilai keabuan", xlim=(0, 256), ylim=(0, None), xticks=range(0, 257, 64))
        panel.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))  # whole percents
    return with_legend(figure, left)


def history(history: list[dict], best_epoch: int, majority: float) -> Figure:
    """Loss and accuracy by epoch, training against validation; see `by_epoch`."""
    figure, (left, right) = canvas(1, 2, height=2.7)
    left.set_title("Loss (BCE)")
    by_epoch(left, history, "loss", best_epoch)
    left.set_ylim(bottom=0)
    right.set_title("Akurasi")
    by_epoch(right, history, "acc", best_epoch, majority)
    return with_legend(figure, right)


def overview(
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    history: list[dict],
    best_epoch: int,
    majority: float,
) -> Figure:
    """The report in one picture: two images (n, H, W) of each class, and accuracy by epoch."""
    figure = Canvas(figsize=(WIDTH, 2.7))
    panels = figure.subplot_mosaic("abe;cde", width_ratios=(1, 1, 4))
    rows = [[panels["a"], panels["b"]], [panels["c"], panels["d"]]]
    rows_of_classes(rows, images, labels, class_names)
    panels["e"].set_title("Akurasi menurut epoch")
    by_epoch(panels["e"], history, "acc", best_epoch, majority)
    return with_legend(figure, panels["e"], side="right")


def predictions(
    images: ArrayLike,
    labels: ArrayLike,
    probability: ArrayLike,
    class_names: Sequence[str],
    remarks: Sequence[str] = (),
) -> Figure:
    """Images (n, H, W) with predicted class, its probability, the truth and a remark."""
    columns = min(5, len(images))
    rows = -(-len(images) // columns)
    below = [f"label: {class_names[int(label)]}" for label in labels]
    if any(remarks):
        below = [f"{truth}\n{remark}" for truth, remark in zip(below, remarks, strict=True)]
    lines = 1 + max(words.count("\n") for words in below)
    # the images are as narrow as their words allow
    height = rows * (0.75 * WIDTH / columns + 0.35 + 0.15 * lines)
    figure, panels = canvas(rows, columns, height=height, squeeze=False)
    for panel, image, label, p, words in zip(
        panels.flat, images, labels, probability, below, strict=False
    ):
        sure = number(100 * max(p, 1 - p), 0)
        _answer(panel, image, p, label, class_names, f" {sure}%", 7.5)
        panel.set_xlabel(words, fontsize=7.5)
    for panel in panels.flat[len(images) :]:
        panel.set_axis_off()
    return figure


def _answer(panel, image, p, label, class_names, sure: str, size: float) -> None:
    """An image under the class that p (of class 1) predicts; a wrong one is red, with a cross."""
    predicted = int(p > 0.5)
    right = predicted == label
    title = f"{'✓' if right else '✗'} {class_names[predicted]}{sure}"
    picture(panel, image, title, BLUE if right else RED)
    panel.title.set_fontsize(size)


def roc(
    false_positive: ArrayLike,
    true_positive: ArrayLike,
    matrix: list[list[int]],
    class_names: Sequence[str],
    area: float,
) -> Figure:
    """ROC curve with the operating point of a threshold, beside its confusion matrix."""
    figure, (left, right) = canvas(1, 2, height=2.7)
    left.plot([0, 1], [0, 1], "--", color=GREY, lw=0.8, label="menebak")
    name = f"jaringan, AUC {number(area)}"
    left.plot(false_positive, true_positive, color=BLUE, lw=1.4, label=name)
    positive = [row[1] / sum(row) for row in matrix]  # of the negative and of the positive images
    left.plot(*positive, "D", color=ORANGE, ms=7, label="ambang yang dipakai")
    left.set(xlabel="1 − spesifisitas", ylabel="Sensitivitas", aspect="equal")
    left.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    left.legend(loc="lower right")
    _matrix(right, matrix, class_names)
    return figure


def confusion(matrix: list[list[int]], class_names: Sequence[str]) -> Figure:
    """Confusion matrix, rows the label, columns the prediction; counts and shares of the row."""
    figure, panel = canvas(width=WIDTH / 2)
    _matrix(panel, matrix, class_names)
    return figure


def _matrix(panel: Axes, matrix: list[list[int]], class_names: Sequence[str]) -> None:
    counts = np.asarray(matrix)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    picture(panel, shares, cmap="Blues", vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        words = f"{number(counts[row, column], 0)}\n({number(100 * share, 0)}%)"
        # On the blue of 0.715 both inks reach a contrast of 4.5 (WCAG 2.2).
        ink = "white" if share > 0.715 else "black"
        panel.text(column, row, words, ha="center", va="center", color=ink)
    panel.axhline(0.5, color="white", lw=1)
    panel.axvline(0.5, color="white", lw=1)
    panel.set(xlabel="Prediksi", ylabel="Label")
    panel.set_xticks((0, 1), class_names)
    panel.set_yticks((0, 1), class_names, rotation=90, va="center")


def leakage(lesson: dict) -> Figure:
    """Test accuracy by epoch, with the [epoch, accuracy] that validation or the test chooses."""
    figure, panel = canvas(width=NARROW, y=percents)
    epochs = range(1, len(lesson["test_acc"]) + 1)
    panel.plot(epochs, lesson["test_acc"], "o-", color=GREY, ms=3.5, label="akurasi uji")
    honest, course = "dipilih berdasarkan validasi", "dipilih berdasarkan data uji sendiri"
    panel.plot(*lesson["honest"], "D", color=BLUE, ms=11, label=honest)
    panel.plot(*lesson["course"], "*", color=RED, ms=9, label=course)
    panel.set_ylabel("Akurasi uji")
    epoch_axis(panel, epochs)
    return with_legend(figure, panel, 2)


# --- notebook 03: overfitting ---------------------------------------------------------------------


def gap(epochs: list[dict], mark: int, chosen: dict, last: dict) -> Figure:
    """Validation loss by epoch, `mark` pointed out; accuracies of the chosen and last epoch."""
    figure, (left, right) = canvas(1, 2, height=2.5)
    left.set_title("Loss validasi (BCE)")
    x = [row["epoch"] for row in epochs]
    with_intervals(left, x, [row["val_loss"] for row in epochs], VAL)
    left.axvline(mark, color=GREY, lw=0.8, ls=":")
    epoch_axis(left, x)
    right.set(title="Akurasi, mode evaluasi", xlim=(-0.5, 1.5))
    for split, beside in (("train", -0.06), ("val", 0.06)):
        estimates = [chosen[f"{split}_acc"], last[f"{split}_acc"]]
        with_intervals(right, [beside, 1 + beside], estimates, SPLITS[split], bars=True)
    right.set_xticks((0, 1), ("epoch terpilih", "epoch terakhir"))
    right.yaxis.set_major_formatter(percents)
    return with_legend(figure, right)


def learning_curve(points: list[dict]) -> Figure:
    """Accuracies ("train_acc", "val_acc") over the number "n" of training images."""
    figure, panel = canvas(width=NARROW, y=percents)
    n = [point["n"] for point in points]
    for split, style in SPLITS.items():
        with_intervals(panel, n, [point[f"{split}_acc"] for point in points], style)
    panel.set(xscale="log", xlabel="Banyaknya citra latih", ylabel="Akurasi, epoch terakhir")
    panel.set_xticks(n, [number(images, 0) for images in n])
    panel.minorticks_off()
    return with_legend(figure, panel)


def memorisation(by_epoch: list[dict]) -> Figure:
    """Share of labels fitted by "epoch": the estimates "correct" and "flipped"."""
    figure, panel = canvas(width=NARROW, y=percents)
    epochs = [row["epoch"] for row in by_epoch]
    styles = {
        "correct": TRAIN | {"label": "label benar"},
        "flipped": VAL | {"label": "label terbalik"},
    }
    for labels, style in styles.items():
        with_intervals(panel, epochs, [row[labels] for row in by_epoch], style)
    panel.set(ylabel="Prediksi sesuai label", ylim=(-0.02, 1.02))
    epoch_axis(panel, epochs)
    return with_legend(figure, panel)


def confidence(right: ArrayLike, wrong: ArrayLike) -> Figure:
    """Histogram of the probability of the predicted class (0.5–1) of right and wrong answers."""
    figure, panel = canvas(width=NARROW, height=2)
    style = {"color": [BLUE, RED], "label": ["benar", "salah"], "edgecolor": "white", "lw": 0.5}
    panel.hist([right, wrong], np.linspace(0.5, 1, 11), stacked=True, **style)
    panel.set(xlabel="Probabilitas kelas yang diprediksi", ylabel="Jumlah citra")
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    return with_legend(figure, panel)


def reliability(before: list[dict], after: list[dict]) -> Figure:
    """Reliability before and after temperature scaling: confidence, accuracy, low, high by bin."""
    figure, (left, right) = canvas(1, 2, sharey=True)
    left.set(title="Sebelum penskalaan suhu", ylabel="Proporsi yang benar")
    right.set_title("Sesudah penskalaan suhu")
    style = {"label": "model, IK 95%", "color": BLUE, "marker": "o"}
    for panel, bins in ((left, before), (right, after)):
        x = [row["confidence"] for row in bins]
        shares = [{"value": row["accuracy"], "ci95": (row["low"], row["high"])} for row in bins]
        panel.plot([0.5, 1], [0.5, 1], "--", color=GREY, lw=0.8, label="kalibrasi sempurna")
        with_intervals(panel, x, shares, style, bars=True)
        panel.set(xlabel="Probabilitas rata-rata", xlim=(0.48, 1.02), ylim=(-0.02, 1.04))
    return with_legend(figure, left)


def attributions(examples: dict, class_names: Sequence[str]) -> Figure:
    """Images above their signed attribution maps, each on its own scale: images and maps (n, H, W),
    labels, probability of class 1 (n,), outlines {name: (n, H, W)} or None.
    """
    images, outlines = examples["images"], examples["outlines"] or {}
    height = 2 * WIDTH / len(images) + 0.5
    figure, panels = canvas(2, len(images), height=height, squeeze=False)
    for i, (above, below) in enumerate(panels.T):
        p, label = examples["probability"][i], examples["labels"][i]
        _answer(above, images[i], p, label, class_names, "", 7)
        signed_picture(below, np.asarray(examples["maps"][i]))
        for panel in (above, below):
            outline(panel, {name: masks[i] for name, masks in outlines.items()})
    return with_legend(figure, panels[0][0])


def own_image(original: np.ndarray, seen: np.ndarray, attributed: np.ndarray) -> Figure:
    """An image (S, S), what the network sees of it (H, W), and its attribution map (H, W)."""
    figure, panels = canvas(1, 3, height=WIDTH / 3 + 0.2)
    side, size = len(original), len(seen)
    picture(panels[0], original, f"Citra Anda ({side}×{side})")
    picture(panels[1], seen, f"Yang dilihat jaringan ({size}×{size})")
    signed_picture(panels[2], attributed, "Piksel yang berpengaruh")
    return figure


# --- notebooks 04 and 05: remedies and experiments ------------------------------------------------


def augmentations(image: ArrayLike, examples: dict[str, ArrayLike]) -> Figure:
    """An image (H, W) and what transforms make of it: {names joined by "+": (n, H, W)}."""
    columns = 1 + max(len(made) for made in examples.values())
    height = len(examples) * (WIDTH / columns + 0.25)
    figure, panels = canvas(len(examples), columns, height=height, squeeze=False)
    for row, (names, made) in zip(panels, examples.items(), strict=True):
        picture(row[0], image, "asal")
        for panel, changed in zip(row[1:], made, strict=True):
            picture(panel, changed)
        row[1].set_title(join([TRANSFORM_NAMES[name] for name in names.split("+")]))
    return figure


def compared_curves(variants: list[dict], compared: list[str]) -> Figure:
    """Accuracy by epoch of the rows whose names are in `compared`, on one scale."""
    named = {variant["name"]: variant for variant in variants}
    columns = len(compared)
    figure, panels = canvas(1, columns, height=2.5, sharey=True, squeeze=False)
    for panel, name in zip(panels[0], compared, strict=True):
        by_epoch(panel, named[name]["history"], "acc")
        panel.set_title("\n".join(wrap(named[name]["title"], LETTERS // columns)))
    panels[0][0].set_ylabel("Akurasi")
    return with_legend(figure, panels[0][0])


def progress(history: list[dict], others: Sequence[list[dict]], epochs: int, title: str) -> Figure:
    """Loss, accuracy and validation AUC by epoch so far; those of other trainings in grey."""
    figure, panels = canvas(1, 3, WIDTH * 1.3, 2.6)
    quantities = {"loss": "Loss (BCE)", "acc": "Akurasi", "auc": "AUC validasi"}
    for panel, (quantity, name) in zip(panels, quantities.items(), strict=True):
        for other in others:
            by_epoch(panel, other, quantity)
        for line in panel.lines:
            line.set(color=GREY, lw=0.8, alpha=0.6, marker="", label=None)
        by_epoch(panel, history, quantity)
        panel.set_title(name)
        epoch_axis(panel, range(1, epochs + 1))
    panels[1].legend()
    figure.suptitle(title, fontsize=9)
    return figure


def forest(variants: list[dict]) -> Figure:
    """Differences from the baseline, the first row, in test AUC and gap; the best AUC on top."""
    rows = sorted(variants[1:], key=lambda row: -row["predicts"]["value"])
    # the axes keep two thirds of the width
    titles = [wrap(row["title"], LETTERS // 3) for row in rows]
    height = 1.1 + len(rows) * max(0.24, 0.16 * max(map(len, titles)))
    figure, (left, right) = canvas(1, 2, height=height, sharey=True)
    left.set_xlabel("Selisih AUC uji")
    _differences(left, [row["predicts"] for row in rows], MARGIN["auc"], 1, 3)
    right.set_xlabel("Selisih kesenjangan (poin persen)")
    _differences(right, [row["overfits"] for row in rows], MARGIN["gap"], 100, 1)
    left.set_yticks(range(len(rows)), ["\n".join(lines) for lines in titles])
    left.set_ylim(len(rows) - 0.4, -0.6)
    return figure


def training_sets(rows: list[dict]) -> Figure:
    """Differences in AUC of seeds that share one training set, and below that have their own."""
    estimates = [row[sets] for row in rows for sets in ("shared", "own")]
    figure, panel = canvas(height=0.9 + 0.3 * len(estimates))
    _differences(panel, estimates, MARGIN["auc"], 1, 3)
    titles = [title for row in rows for title in (row["title"], "himpunan sendiri")]
    panel.set_yticks(range(len(titles)), titles)
    panel.invert_yaxis()
    return figure


def _differences(
    panel: Axes, estimates: list[dict], margin: float, scale: int, digits: int
) -> None:
    """Points with their intervals, times `scale`; outside the panel an arrow with the value.
    Within the grey band a difference counts as none; a grey row guesses the majority.
    """
    columns = scale * _columns(estimates)
    guesses = np.array([estimate["verdict"] == MAJORITY for estimate in estimates])
    # a network that guesses the majority doesn't stretch the scale
    ends = [*columns[1:, ~guesses | guesses.all()].flat, -scale * margin, scale * margin]
    air = 0.06 * (max(ends) - min(ends))
    left, right = min(ends) - air, max(ends) + air
    panel.set_xlim(left, right)
    panel.axvspan(-scale * margin, scale * margin, color=GREY, alpha=0.18, lw=0)
    panel.axvline(0, color=GREY, lw=0.9)
    reachable = any(estimate["narrow"] for estimate in estimates)
    panel.set_title(
        "pita: setara" if reachable else "interval terlalu lebar untuk setara", fontsize=8
    )
    for y, (value, low, high) in enumerate(columns.T):
        colour = GREY if guesses[y] else BLUE
        if left <= value <= right:
            inside = colour if estimates[y]["verdict"] in (BETTER, WORSE) else "white"
            panel.hlines(y, max(low, left), min(high, right), color=colour, lw=1.4)
            panel.scatter(value, y, 22, facecolors=inside, edgecolors=colour, zorder=3)
        else:
            edge, marker, side = (left, "<", "left") if value < left else (right, ">", "right")
            panel.plot(edge, y, marker, color=colour, ms=5, clip_on=False)
            words = f"  {signed(value, digits)}  "
            panel.text(edge, y, words, ha=side, va="center", fontsize=8)
    panel.xaxis.set_major_locator(MaxNLocator(5))
