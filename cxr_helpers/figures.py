"""Every figure, in Indonesian, from plain data (all notebooks).

Each takes what a results file holds, or arrays of the same shape; an estimate is {"value", "ci95"}.
Lines and markers differ in shape as well as in colour, so that grey print stays readable.
"""

import base64
import io
import re
from collections.abc import Sequence
from html import escape
from pathlib import Path
from textwrap import wrap

import numpy as np
import pandas as pd
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Ellipse
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter

from cxr_helpers.engine.indonesian import join, number, plain, signed
from cxr_helpers.evaluation import BETTER, MAJORITY, MARGIN, WORSE

# inches: the text width of the A4 report, so that nothing is scaled and 8 pt stays 8 pt
WIDTH = 6.3
NARROW = 0.72 * WIDTH  # of a figure with one panel
LETTERS = 96  # of a title's size, side by side over WIDTH
EM_PER_INCH = 7.3  # one scale in JupyterLab: letters are as large in every figure
DARK = Path(__file__).with_name("gelap.css").read_text("utf-8")
BLUE, ORANGE, GREEN = sns.color_palette("colorblind")[:3]
# the palette's own red is orange to the eye; the text calls frames red
RED, GREY, PURPLE = (0.75, 0.07, 0.16), (0.45, 0.45, 0.45), (0.6, 0.3, 0.7)
# One colour for one organ in every figure, under the names that results files give the masks.
ORGANS = {"jantung": ORANGE, "paru": BLUE, "pneumotoraks": GREEN, "selang dada": PURPLE}
TRAIN = {"label": "latih", "color": BLUE, "marker": "o", "ls": "-", "ms": 3.5}
VAL = {"label": "validasi", "color": ORANGE, "marker": "s", "ls": "--", "ms": 3.5}
METHODS = {"gradients": "model", "grad_cam": "Grad-CAM", "unlearnt": "bobot acak"}
SPLITS = {"train": TRAIN, "val": VAL}
TRANSFORM_NAMES = {"geometry": "geometri", "exposure": "paparan", "flip": "cermin kiri-kanan"}
# What changes in a patient, and how its values are called where they are no measure.
THINGS = {
    "ratio": ("Rasio kardiotoraks",),
    "air": ("Udara, bagian hemitoraks",),
    "tube": ("Selang dada", "tanpa", "dengan"),
    "side": ("Sisi pneumotoraks", "kanan pasien", "kiri pasien"),
    "exposure": ("Paparan",),
    "mirror": ("Pencerminan kiri-kanan", "tanpa", "dengan"),
}

sns.set_theme(
    context="paper",
    style="ticks",
    palette="colorblind",
    font_scale=0.92,  # 8 to 9 pt on paper
    rc={
        "figure.constrained_layout.use": True,
        # the serif that comes with matplotlib, akin to the text's
        "font.family": ["STIXGeneral", "DejaVu Sans"],
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "svg.hashsalt": "cxr",  # the same figure gives the same bytes
        "svg.fonttype": "path",  # and looks the same whatever fonts a machine has
    },
)

# --- what several figures are made of -------------------------------------------------------------


class Canvas(Figure):
    """A Figure that pyplot does not hold: any thread may draw it."""

    def svg(self) -> str:
        """The figure without a background: equal figures give equal bytes."""
        stream, undated = io.StringIO(), {"Date": None, "Creator": None}
        self.savefig(stream, format="svg", metadata=undated, transparent=True)
        return stream.getvalue()

    def _repr_html_(self, alt: str = "") -> str:
        """For JupyterLab: white where its theme is light, or where a browser cannot tell."""
        rules = f"<style>svg {{ background: white }} {DARK}</style>"
        drawn = self.svg().replace("<defs>", f"{rules}<defs>", 1)
        source = "data:image/svg+xml;base64," + base64.b64encode(drawn.encode()).decode()
        width = f"max-width: 100%; width: {EM_PER_INCH * self.get_figwidth():.1f}em"
        shown = f'<img class="cxr" alt="{escape(alt)}" src="{source}" style="{width}">'
        return f"<style>[data-jp-theme-light=false] .cxr {{ color-scheme: dark }}</style>{shown}"


def decimals(value: float, _=None) -> str:
    """A tick's label with a decimal comma, with all its digits."""
    return plain(round(value, 6))


def percents(value: float, _=None) -> str:
    """A share at a tick as a percentage, with all its digits: "77,5%"."""
    return f"{plain(round(100 * value, 6))}%"


def canvas(rows=1, columns=1, width=WIDTH, height=2.4, y=decimals, **how):
    """An empty figure, width × height inches, and its panels; y: how its ticks are written."""
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
    """A quantity of training and validation by epoch, as far as the rows of a history have it."""
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


# The mask by which a reader of radiographs tells a class.
SIGNS = {"cardiomegaly": "jantung", "pneumothorax": "pneumotoraks"}


def signs(panels: Sequence[Axes], samples: dict, data: dict) -> None:
    """An image of each class of `data`, where masks are known with what to look for: the edge of
    the air; the widths whose quotient is the cardiothoracic ratio.
    """
    masks = {name: np.asarray(m, bool) for name, m in (samples["outlines"] or {}).items()}
    for of_class, (panel, key) in enumerate(zip(panels, data["classes"], strict=True)):
        places = np.flatnonzero(np.asarray(samples["labels"]) == of_class)
        sign = SIGNS.get(key) if masks else None
        sizes = masks[sign][places].sum(axis=(1, 2)) if sign else [0]
        shown = places[np.argmax(sizes)]  # the plainest: a label may be wrong
        picture(panel, samples["images"][shown], data["class_names"][of_class])
        if sign == "pneumotoraks":
            outline(panel, {sign: masks[sign][shown]})
            panel.set_xlabel("tepi udara")
        elif sign:
            for name, above in (("paru", 1.5), ("jantung", 4.5)):
                ends = np.flatnonzero(masks[name][shown].any(axis=0))[[0, -1]] + (-0.5, 0.5)
                height = [len(masks[name][shown]) - above] * 2
                panel.plot(ends, height, "|-", color=ORGANS[name], lw=1.6, ms=7, mew=1.6)
            panel.set_xlabel("jantung : rongga dada")


def projection(panel: Axes, source: float, heart: float, title: str) -> None:
    """Rays from a source past the heart to the detector, seen from above."""
    detector, radius = 10, 0.9
    half = radius * (detector - source) / (heart - source)
    panel.add_patch(Ellipse((8, 0), 3.4, 6.4, color=GREY, alpha=0.25, lw=0))
    panel.add_patch(Circle((heart, 0), radius, color=ORANGE))
    panel.plot([detector, source, detector], [-half, 0, half], "o-", color=GREY, lw=0.8, ms=3)
    panel.vlines(detector, -half, half, color=RED, lw=4)
    panel.set(xlim=(-0.5, 10.5), ylim=(-4.2, 4.2), aspect="equal")
    panel.set_axis_off()
    panel.set_title(title, loc="center")


# --- notebook 01: adaptation ----------------------------------------------------------------------


def kernels(before: ArrayLike, after: ArrayLike) -> Figure:
    """The first-layer kernels: before (n, 3, 7, 7) as colours, after (n, 1, 3, 3) signed."""
    before, after = np.asarray(before), np.asarray(after)
    figure, (above, below) = canvas(2, 1, height=0.84 * -(-len(before) // 16) + 0.5)
    picture(above, (_mosaic(before, gap=1) + 1) / 2)
    signed_picture(below, _mosaic(after, gap=np.nan)[..., 0], limit=1)
    above.set_title("Kernel asal (RGB)")
    below.set_title("Setelah diadaptasi (keabuan)")
    return figure


def _mosaic(kernels: np.ndarray, gap: float) -> np.ndarray:
    """Kernels (n, 1 or 3, h, w), each divided by its own largest size, as one image (H, W, 3)."""
    from torchvision.utils import make_grid

    tiles = torch.as_tensor(kernels)
    tiles = tiles / tiles.abs().amax((1, 2, 3), keepdim=True).clamp_min(1e-12)
    return make_grid(tiles, nrow=16, padding=1, pad_value=gap).permute(1, 2, 0).numpy()


def responses(
    before: np.ndarray, after: np.ndarray, image: np.ndarray, target: np.ndarray, ours: np.ndarray
) -> Figure:
    """A kernel before and after adaptation, an image, and what either answers, on one scale."""
    figure, panels = canvas(1, 5, WIDTH * 1.3, 2.1)
    picture(panels[0], (np.moveaxis(before, 0, -1) / largest(before) + 1) / 2, "Kernel asal")
    signed_picture(panels[1], after, "Diadaptasi")
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
    right.set_title("Rasio simpangan baku")
    for panel, key, unchanged in ((left, "shift", 0), (right, "scale", 1)):
        panel.axhline(unchanged, color=GREY, lw=0.8)
        values = [layer[key] for layer in drift]
        panel.plot(range(1, len(drift) + 1), values, "o-", ms=3.5, color=BLUE)
        panel.set_xlabel("Lapisan BatchNorm ke-")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
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
    picture(panels[5], steps["image"], "Masker kebenaran")
    organs = {"jantung": "heart", "paru": "lungs", "pneumotoraks": "pneumothorax"}
    outline(panels[5], {organ: steps[name] for organ, name in organs.items()})
    return with_legend(figure, panels[5], side="right")


def samples(samples: dict, class_names: Sequence[str]) -> Figure:
    """Example images (n, H, W) with labels, one row a class, and contours of named outlines."""
    labels, outlines = np.asarray(samples["labels"]), samples["outlines"] or {}
    columns = int(np.bincount(labels).max())
    figure, panels = canvas(2, columns, height=2 * WIDTH / columns + 0.3, squeeze=False)
    for of_class, row in enumerate(panels):
        for panel, i in zip(row, np.flatnonzero(labels == of_class), strict=False):
            picture(panel, samples["images"][i])
            outline(panel, {name: masks[i] for name, masks in outlines.items()})
        for panel in row:
            panel.set_axis_off()
        row[0].set_title(class_names[of_class])
    return with_legend(figure, panels[0][0])


def history(
    history: list[dict], best_epoch: int, majority: float = 0, second: str = "acc"
) -> Figure:
    """Loss and accuracy, or AUC, by epoch, training against validation; see `by_epoch`."""
    figure, (left, right) = canvas(1, 2, height=2.4)
    left.set_title("Loss (BCE)")
    by_epoch(left, history, "loss", best_epoch)
    left.set_ylim(bottom=0)
    right.set_title({"acc": "Akurasi", "auc": "AUC validasi"}[second])
    by_epoch(right, history, second, best_epoch, majority)
    return with_legend(figure, left if second == "auc" else right)


def reading(samples: dict, data: dict) -> Figure:
    """What a reader of radiographs looks for (see `signs`), and why PA and AP differ."""
    figure, panels = canvas(1, 4, height=2.0, width_ratios=(1, 1, 1.2, 1.2))
    signs(panels[:2], samples, data)
    projection(panels[2], 0, 9, "PA: jantung dekat detektor")
    projection(panels[3], 3, 7, "AP: jantung jauh")
    return figure


def overview(
    samples: dict, data: dict, history: list[dict], majority: float, variants: list[dict]
) -> Figure:
    """The report in one picture: signs, accuracy by epoch, and what remedies do to the AUC."""
    figure = Canvas(figsize=(WIDTH, 3.5))
    panels = figure.subplot_mosaic("abe;cce", width_ratios=(1, 1, 1.9), height_ratios=(1, 1.1))
    signs([panels["a"], panels["b"]], samples, data)
    panels["c"].set_title("Akurasi")
    by_epoch(panels["c"], history, "acc", majority=majority)
    rows = by_effect(variants)
    differences(panels["e"], [row["predicts"] for row in rows], MARGIN["auc"], 1, 3)
    panels["e"].set_title("Selisih AUC uji setiap perbaikan")
    name_rows(panels["e"], [re.split(r", | \(", row["title"])[0] for row in rows])
    return with_legend(figure, panels["c"], side="left")


def predictions(examples: dict, class_names: Sequence[str]) -> Figure:
    """Images (n, H, W) with predicted class, its probability, the label, and remarks if any."""
    images, labels = examples["images"], examples["labels"]
    columns = min(5, len(images))
    rows = -(-len(images) // columns)
    below = [f"label: {class_names[int(label)]}" for label in labels]
    if any(examples.get("remarks", [])):
        below = [f"{one}\n{remark}" for one, remark in zip(below, examples["remarks"], strict=True)]
    lines = 2 + max(words.count("\n") for words in below)
    # the images are as narrow as their words allow
    height = rows * (0.75 * WIDTH / columns + 0.45 + 0.2 * lines)
    figure, panels = canvas(rows, columns, height=height, squeeze=False)
    for i, panel in enumerate(panels.flat):
        if i >= len(images):
            panel.set_axis_off()
            continue
        p = examples["probability"][i]
        # rounded down: no network is sure of all of it
        sure = number(np.floor(1000 * max(p, 1 - p)) / 10, 1)
        _answer(panel, images[i], p, labels[i], class_names, f"\n{sure}%")
        panel.set_xlabel(below[i])
    return figure


def _answer(panel, image, p, label, class_names, sure: str = "") -> None:
    """An image under the class that p (of class 1) predicts; a wrong one is red, with a cross."""
    predicted = int(p > 0.5)
    right = predicted == label
    title = f"{'✓' if right else '✗'} {class_names[predicted]}{sure}"
    picture(panel, image, title, BLUE if right else RED)


def roc(
    curve: tuple[ArrayLike, ArrayLike],
    matrix: list[list[int]],
    class_names: Sequence[str],
    area: float,
) -> Figure:
    """ROC curve (false, true positives) with a threshold's point, beside its confusion matrix."""
    figure, (left, right) = canvas(1, 2, height=2.7)
    _roc_axes(left)
    left.plot(*curve, color=BLUE, lw=1.4, label=f"model, AUC {number(area)}")
    positive = [row[1] / sum(row) for row in matrix]  # of the negative and of the positive images
    left.plot(*positive, "D", color=ORANGE, ms=7, label="ambang yang dipakai")
    left.legend(loc="lower right")
    _matrix(right, matrix, class_names)
    return figure


def _roc_axes(panel: Axes) -> None:
    panel.plot([0, 1], [0, 1], "--", color=GREY, lw=0.8, label="menebak")
    panel.set(xlabel="1 − spesifisitas", ylabel="Sensitivitas", aspect="equal")
    panel.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))


def against_ruler(ruler: dict, points: dict) -> Figure:
    """ROC curves of a network and of a score without one; the points of two thresholds."""
    figure, panel = canvas(width=NARROW, height=2.4)
    _roc_axes(panel)
    names = {"ratio": "rasio kardiotoraks saja", "pixels": "regresi logistik atas piksel"}
    curves = ((ruler, names[ruler["kind"]], GREEN, "-."), (ruler["network"], "model", BLUE, "-"))
    for scored, name, colour, dashes in curves:
        panel.plot(*scored["curve"], ls=dashes, color=colour, lw=1.3, label=name)
    styles = {"half": ("ambang bawaan", "D", ORANGE), "chosen": ("ambang validasi", "s", RED)}
    for decided, (name, marker, colour) in styles.items():
        point = points[decided]
        (x, right, left), (y, low, high) = _columns([point["specificity"], point["sensitivity"]]).T
        bars = np.abs([[y - low, y - high], [x - left, x - right]])[:, :, None]
        style = {"fmt": marker, "color": colour, "ms": 6, "elinewidth": 1, "label": name}
        panel.errorbar(1 - x, y, *bars, **style)
    panel.legend(loc="center left", bbox_to_anchor=(1.02, 0.5))
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


def gap(epochs: list[dict], mark: int) -> Figure:
    """Validation loss by epoch, the lowest pointed out."""
    figure, panel = canvas(width=NARROW)
    x = [row["epoch"] for row in epochs]
    with_intervals(panel, x, [row["val_loss"] for row in epochs], VAL)
    panel.axvline(mark, color=GREY, lw=0.8, ls=":")
    panel.set_ylabel("Loss validasi (BCE)")
    epoch_axis(panel, x)
    return figure


def learning_curve(points: list[dict]) -> Figure:
    """Accuracies ("train_acc", "val_acc") over the number "n" of training images."""
    n = [point["n"] for point in points]
    figure, panel = _two_curves(points, n, {"train_acc": TRAIN, "val_acc": VAL})
    panel.set(xscale="log", xlabel="Banyaknya citra latih", ylabel="Akurasi, epoch terakhir")
    panel.set_xticks(n, [number(images, 0) for images in n])
    panel.minorticks_off()
    return with_legend(figure, panel)


def memorisation(by_epoch: list[dict]) -> Figure:
    """Share of labels fitted by "epoch": the estimates "correct" and "flipped"."""
    epochs = [row["epoch"] for row in by_epoch]
    styles = {"correct": TRAIN | {"label": "label benar"}}
    styles["flipped"] = VAL | {"label": "label terbalik"}
    figure, panel = _two_curves(by_epoch, epochs, styles)
    panel.set(ylabel="Prediksi sesuai label", ylim=(-0.02, 1.02))
    epoch_axis(panel, epochs)
    return with_legend(figure, panel)


def _two_curves(rows: list[dict], x: list[int], styles: dict[str, dict]) -> tuple[Figure, Axes]:
    """Estimates under either key of the rows, each in its band, over x."""
    figure, panel = canvas(width=NARROW, y=percents)
    for name, style in styles.items():
        with_intervals(panel, x, [row[name] for row in rows], style)
    return figure, panel


def reliability(before: list[dict], after: list[dict]) -> Figure:
    """Reliability before and after temperature scaling, over the counts of the bins."""
    figure, panels = canvas(2, 2, height=2.3, sharex=True, sharey="row", height_ratios=(3, 1))
    panels[0][0].set_ylabel("Proporsi yang benar")
    panels[1][0].set_ylabel("Citra")
    for panel, word in zip(panels[0], ("Sebelum", "Sesudah"), strict=True):
        panel.set_title(f"{word} penskalaan suhu")
    style = {"label": "model, IK 95%", "color": BLUE, "marker": "o"}
    for (above, below), bins in zip(panels.T, (before, after), strict=True):
        x = [row["confidence"] for row in bins]
        above.plot([0.5, 1], [0.5, 1], "--", color=GREY, lw=0.8, label="kalibrasi sempurna")
        with_intervals(above, x, bins, style, bars=True)
        below.bar(x, [row["n"] for row in bins], 0.02, color=BLUE)
        below.set(xlabel="Probabilitas rata-rata", xlim=(0.48, 1.02))
    return with_legend(figure, panels[0][0])


def attributions(examples: dict, class_names: Sequence[str]) -> Figure:
    """Images above their signed attribution maps, smoothed, each on a scale of its own."""
    images, outlines = examples["images"], examples["outlines"] or {}
    names = [f"\n{name}" for name in class_names]  # below its mark: the images are narrow
    shape = (1 + len(METHODS), len(images))
    height = 0.85 * WIDTH * shape[0] / shape[1] + 0.6
    figure, panels = canvas(*shape, 0.85 * WIDTH, height, squeeze=False)
    for i, (above, *below) in enumerate(panels.T):
        _answer(above, images[i], examples["probability"][i], examples["labels"][i], names)
        for panel, method in zip(below, METHODS, strict=True):
            smooth = gaussian_filter(np.asarray(examples["maps"][method][i]), 1)
            signed_picture(panel, smooth / largest(smooth), limit=1)
        for panel in (above, *below):
            outline(panel, {name: masks[i] for name, masks in outlines.items()})
    for panel, title in zip(panels[1:, 0], METHODS.values(), strict=True):
        panel.set_ylabel(title)
    shown = ScalarMappable(Normalize(-1, 1), "RdBu_r")
    bar = figure.colorbar(shown, ax=panels[1:], ticks=(-1, 0, 1), aspect=40, pad=0.02)
    bar.ax.set_yticklabels((class_names[0], "0", class_names[1]), rotation=90, va="center")
    return with_legend(figure, panels[0][0])


def response(rows: list[dict]) -> Figure:
    """What each thing does to the patients' logits, on one scale, beside one patient's images."""
    shape = {"height": 1.05 * len(rows) + 0.3, "width_ratios": (2, 3)}
    figure, panels = canvas(len(rows), 2, sharey="col", squeeze=False, **shape)
    for row, (left, right) in zip(rows, panels, strict=True):
        at, logits = range(len(row["values"])), np.asarray(row["logits"])
        left.plot(at, logits.T, color=GREY, lw=0.4, alpha=0.5)
        left.plot(at, logits.mean(axis=0), "o-", color=BLUE, ms=3.5)
        title, *words = THINGS.get(row["thing"], (row["thing"], "semula", "sekarang"))
        left.set_title(f"{title}: {signed(row['change']['value'], 2)}")
        left.set_xticks(at, words or map(decimals, row["values"]))
        left.set_ylabel("Logit")
        gaps = np.pad(row["images"], ((0, 0), (0, 0), (0, 1)), constant_values=255)
        picture(right, np.hstack(gaps))
        right.set_anchor("W")
    return figure


def own_image(original: np.ndarray, seen: np.ndarray, attributed: np.ndarray) -> Figure:
    """An image (S, S), what the network sees of it (H, W), and its attribution map (H, W)."""
    figure, panels = canvas(1, 3, height=WIDTH / 3 + 0.2)
    picture(panels[0], original, f"Citra Anda ({len(original)}×{len(original)})")
    picture(panels[1], seen, f"Yang dilihat model ({len(seen)}×{len(seen)})")
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
    """The last of the rows whose names are in `compared` by epoch, the others in grey."""
    *others, last = [row for row in variants if row["name"] in compared]
    histories = [row["history"] for row in others]
    return progress(last["history"], histories, len(last["history"]), last["title"])


def progress(history: list[dict], others: Sequence[list[dict]], epochs: int, title: str) -> Figure:
    """Loss, accuracy and validation AUC by epoch so far; those of other trainings in grey."""
    figure, panels = canvas(1, 3, height=2.4)
    quantities = {"loss": "Loss (BCE)", "acc": "Akurasi", "auc": "AUC validasi"}
    for panel, (quantity, name) in zip(panels, quantities.items(), strict=True):
        for other in others:
            by_epoch(panel, other, quantity)
        for line in panel.lines:
            line.set(color=GREY, lw=0.8, alpha=0.6, marker="", label=None)
        by_epoch(panel, history, quantity)
        panel.set_title(name)
        epoch_axis(panel, range(1, epochs + 1))
    figure.suptitle(title, fontsize=9)
    return with_legend(figure, panels[1])


def by_effect(variants: list[dict]) -> list[dict]:
    """The rows that are judged, all but the first, the best test AUC on top."""
    return sorted(variants[1:], key=lambda row: -row["predicts"]["value"])


def name_rows(panel: Axes, titles: list[str]) -> None:
    """Titles, wrapped, at the rows of a panel, the first on top."""
    names = ["\n".join(wrap(title, LETTERS // 2)) for title in titles]
    panel.set_yticks(range(len(names)), names)
    panel.set_ylim(len(names) - 0.4, -0.6)


def forest(variants: list[dict]) -> Figure:
    """Differences from the baseline, the first row, in test AUC and gap; the best AUC on top."""
    rows = by_effect(variants)
    lines = max(len(wrap(row["title"], LETTERS // 2)) for row in rows)
    height = 1.1 + len(rows) * max(0.21, 0.15 * lines)
    figure, (left, right) = canvas(1, 2, height=height, sharey=True)
    left.set_xlabel("Selisih AUC uji")
    differences(left, [row["predicts"] for row in rows], MARGIN["auc"], 1, 3)
    right.set_xlabel("Selisih kesenjangan (poin persen)")
    differences(right, [row["overfits"] for row in rows], MARGIN["gap"], 100, 1)
    for panel, question in ((left, "predicts"), (right, "overfits")):
        reachable = any(row[question]["narrow"] for row in rows)
        panel.set_title("pita: setara" if reachable else "interval terlalu lebar untuk setara")
    name_rows(left, [row["title"] for row in rows])
    return figure


def training_sets(rows: list[dict]) -> Figure:
    """Differences in AUC of the seeds that share one training set, and that each have their own."""
    estimates = [row[sets] for row in rows for sets in ("shared", "own")]
    titles = [f"{row['title']}, {sets}" for row in rows for sets in ("satu himpunan", "sendiri")]
    figure, panel = canvas(height=0.9 + 0.3 * len(titles))
    differences(panel, estimates, MARGIN["auc"], 1, 3)
    name_rows(panel, titles)
    return figure


def differences(panel: Axes, estimates: list[dict], margin: float, scale: int, digits: int) -> None:
    """Points with intervals, times `scale`, over the band of "none"; grey guesses the majority."""
    columns = scale * _columns(estimates)
    guesses = np.array([estimate["verdict"] == MAJORITY for estimate in estimates])
    # a network that guesses the majority doesn't stretch the scale
    ends = [*columns[1:, ~guesses | guesses.all()].flat, -scale * margin, scale * margin]
    air = 0.06 * (max(ends) - min(ends))
    left, right = min(ends) - air, max(ends) + air
    panel.set_xlim(left, right)
    panel.axvspan(-scale * margin, scale * margin, color=GREY, alpha=0.18, lw=0)
    panel.axvline(0, color=GREY, lw=0.9)
    beside = {"transform": panel.get_yaxis_transform(), "va": "center", "color": "#262626"}
    for y, (value, low, high) in enumerate(columns.T):
        colour = GREY if guesses[y] else BLUE
        panel.text(1.03, y, signed(value, digits), **beside)
        if left <= value <= right:
            inside = colour if estimates[y]["verdict"] in (BETTER, WORSE) else "white"
            panel.hlines(y, max(low, left), min(high, right), color=colour, lw=1.4)
            panel.scatter(value, y, 22, facecolors=inside, edgecolors=colour, zorder=3)
        else:
            edge, marker = (left, "<") if value < left else (right, ">")
            panel.plot(edge, y, marker, color=colour, ms=5, clip_on=False)
    panel.xaxis.set_major_locator(MaxNLocator(4))
    panel.xaxis.set_major_formatter(decimals)
