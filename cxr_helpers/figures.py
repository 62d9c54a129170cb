"""Every figure, in Indonesian, from plain data (all notebooks). Each function returns a Figure and
shows nothing.

Arguments are what a results file holds (numbers, lists, dictionaries) or arrays of the same shape;
estimates are {"value", "ci95"}.

Colours are the colour-blind safe palette of seaborn; lines and markers also differ in shape, so
that grey print stays readable.
"""

from collections.abc import Sequence
from textwrap import wrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike

from cxr_helpers.engine.indonesian import join, number, plain, signed
from cxr_helpers.evaluation import BETTER, MAJORITY, MARGIN, WORSE

LETTERS = 84  # of a title's size, side by side over WIDTH
# inches: the text width of the A4 report, so that nothing is scaled and 8 pt stays 8 pt
WIDTH = 6.3
BLUE, ORANGE, GREEN = sns.color_palette("colorblind")[:3]
# the palette's own red is orange to the eye; the text calls frames red
RED, GREY = (0.75, 0.07, 0.16), (0.45, 0.45, 0.45)
SPLIT_NAMES = {"train": "latih", "val": "validasi"}
TRANSFORM_NAMES = {"geometry": "geometri", "exposure": "pencahayaan", "flip": "cermin kiri-kanan"}

sns.set_theme(
    context="paper",
    style="ticks",
    palette="colorblind",
    rc={
        "figure.constrained_layout.use": True,
        # The serif that comes with matplotlib, akin to the text's; its glyphs are small, hence half
        # a point more.
        "font.family": ["STIXGeneral", "DejaVu Sans"],
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.labelsize": 9.5,
        "xtick.labelsize": 9,
        "ytick.labelsize": 9,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlelocation": "left",
        "svg.hashsalt": "cxr",  # the same figure gives the same bytes
    },
)


class Comma(FuncFormatter):
    """Tick labels with a decimal comma and as many digits as the largest tick needs."""

    def __init__(self, digits: int):
        super().__init__(lambda value, _: number(value, digits))


def _epoch_axis(panel, epochs) -> None:
    """Whole epochs only, also when there is just one."""
    panel.set(xlabel="Epoch", xlim=(min(epochs) - 0.3, max(epochs) + 0.3))
    whole = MaxNLocator(integer=True) if len(epochs) > 12 else FixedLocator(list(epochs))
    panel.xaxis.set_major_locator(whole)


def _percent_axis(axis) -> None:
    """Ticks of a share as percents, each written as it is: "77,5%" where the ticks are that
    close.
    """
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{plain(round(100 * value, 6))}%"))


def picture(axes, image: ArrayLike, title: str = "", colour=None, **kwargs) -> None:
    """An image in its panel, pixel by pixel, with a title and a frame of that colour."""
    axes.imshow(image, interpolation="none", **{"cmap": "gray", **kwargs})
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(colour is not None)
        spine.set_color(colour or "none")
        spine.set_linewidth(1.8)
    if title:
        axes.set_title(title, loc="center")


def drift(drift: list[dict]) -> Figure:
    """How far the images' statistics are from those stored in each BatchNorm: one {"shift",
    "scale"} a layer; none is 0 and 1.
    """
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.4))
    place = np.arange(1, len(drift) + 1)
    for panel, key, title, none in (
        (panels[0], "shift", "Pergeseran rata-rata", 0),
        (panels[1], "scale", "Rasio simpangan baku", 1),
    ):
        panel.axhline(none, color=GREY, linewidth=0.8)
        panel.plot(place, [layer[key] for layer in drift], marker="o", markersize=3.5, color=BLUE)
        panel.set(title=title, xlabel="Lapisan BatchNorm ke-")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(round(value, 6))))
    panels[1].set_yscale("log")
    panels[1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panels[1].yaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    panels[1].yaxis.set_minor_formatter(NullFormatter())
    return figure


def responses(
    before: np.ndarray, after: np.ndarray, image: np.ndarray, target: np.ndarray, ours: np.ndarray
) -> Figure:
    """One kernel before (3, 7, 7) and after (k, k) adaptation, an image (H, W), and what either
    kernel answers to it.

    A kernel is shown on a scale of its own, which its title gives; both answers share one scale, so
    that the size of a change shows.
    """
    figure, panels = plt.subplots(1, 5, figsize=(WIDTH * 1.3, 2.1))
    limits = [max(float(np.abs(kernel).max()), 1e-12) for kernel in (before, after)]
    titles = [
        f"{name}\n±{plain(float(f'{limit:.2g}'))}"
        for name, limit in zip(("Kernel asal", "Diadaptasi"), limits, strict=True)
    ]
    picture(panels[0], (np.moveaxis(before, 0, -1) / limits[0] + 1) / 2, titles[0])
    picture(panels[1], after, titles[1], cmap="RdBu_r", vmin=-limits[1], vmax=limits[1])
    picture(panels[2], image, "Citra", vmin=0, vmax=255)
    # The border answers to the padding, not to the image.
    limit = max(*(float(np.abs(response[2:-2, 2:-2]).max()) for response in (target, ours)), 1e-12)
    for panel, response, title in (
        (panels[3], target, "Respons asal"),
        (panels[4], ours, "Respons adaptasi"),
    ):
        picture(panel, response, title, cmap="RdBu_r", vmin=-limit, vmax=limit)
    return figure


def intensity(
    edges: ArrayLike, pixels: ArrayLike, images: ArrayLike, class_names: Sequence[str]
) -> Figure:
    """Shares (2, bins) of pixels, and of images by their mean, by grey value and class; edges (bins
    + 1,) in 0…256.
    """
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 2.3))
    for panel, shares, title in (
        (panels[0], pixels, "Setiap piksel"),
        (panels[1], images, "Rerata setiap citra"),
    ):
        for share, name, colour, style in zip(
            shares, class_names, (BLUE, ORANGE), ("-", "--"), strict=True
        ):
            panel.stairs(share, edges, color=colour, ls=style, lw=1.3, label=name)
        panel.set(
            title=title,
            xlabel="Nilai keabuan",
            xlim=(0, 256),
            ylim=(0, None),
            xticks=range(0, 257, 64),
        )
        panel.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))  # whole percents
        _percent_axis(panel.yaxis)
    panels[0].set_ylabel("Proporsi dalam kelasnya")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _by_epoch(panel, table: pd.DataFrame, quantity: str, best_epoch: int) -> None:
    panel.plot(table["epoch"], table[f"train_{quantity}"], "o-", color=BLUE, ms=3.5, label="latih")
    panel.plot(
        table["epoch"], table[f"val_{quantity}"], "s--", color=ORANGE, ms=3.5, label="validasi"
    )
    panel.axvline(best_epoch, color=GREY, lw=0.8, ls=":", label=f"epoch terpilih ({best_epoch})")
    _epoch_axis(panel, table["epoch"])


def accuracy_by_epoch(panel, table: pd.DataFrame, best_epoch: int, majority: float) -> None:
    """Accuracy of training and validation in a panel, with the chosen epoch and the majority
    line.
    """
    _by_epoch(panel, table, "acc", best_epoch)
    panel.axhline(majority, color=GREY, lw=0.8, ls="-.", label="tebakan mayoritas")
    _percent_axis(panel.yaxis)


def history(history: list[dict], best_epoch: int, majority: float) -> Figure:
    """Loss and accuracy by epoch, training against validation; the chosen epoch and the majority
    line are marked.

    history: epoch, train_loss, train_acc, val_loss, val_acc, one row an epoch (accuracies as
    shares).
    """
    table = pd.DataFrame(history)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7))
    left.set_title("Loss (BCE)")
    _by_epoch(left, table, "loss", best_epoch)
    left.yaxis.set_major_formatter(Comma(2))
    left.set_ylim(bottom=0)
    right.set_title("Akurasi")
    accuracy_by_epoch(right, table, best_epoch, majority)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def compared_curves(variants: list[dict], compared: list[str]) -> Figure:
    """Accuracy by epoch of the rows whose names are in `compared` side by side, training against
    validation, on one scale.
    """
    shown = [variant for name in compared for variant in variants if variant["name"] == name]
    figure, panels = plt.subplots(1, len(shown), figsize=(WIDTH, 2.5), sharey=True, squeeze=False)
    for panel, variant in zip(panels[0], shown, strict=True):
        table = pd.DataFrame(variant["history"])
        panel.plot(table["epoch"], table["train_acc"], "o-", color=BLUE, ms=3.5, label="latih")
        panel.plot(table["epoch"], table["val_acc"], "s--", color=ORANGE, ms=3.5, label="validasi")
        panel.set_title("\n".join(wrap(variant["title"], LETTERS // len(shown))))
        _epoch_axis(panel, table["epoch"])
        _percent_axis(panel.yaxis)
    panels[0][0].set_ylabel("Akurasi")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def predictions(
    images: ArrayLike,
    labels: ArrayLike,
    probability: ArrayLike,
    class_names: Sequence[str],
    remarks: Sequence[str] = (),
) -> Figure:
    """Images (n, H, W) with predicted class, its probability, the truth and a remark.

    A wrong prediction has a red frame and a cross.
    """
    n = len(images)
    columns = min(5, n)
    rows = -(-n // columns)
    remarks = remarks or [""] * n
    # below each image
    lines = max(1 + f"\n{remark}".count("\n") * bool(remark) for remark in remarks)
    # the images are as narrow as their words allow
    height = rows * (0.75 * WIDTH / columns + 0.35 + 0.15 * lines)
    figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, height), squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    for panel, image, label, p, remark in zip(
        panels.flat, images, labels, probability, remarks, strict=False
    ):
        predicted = int(p > 0.5)
        right = predicted == label
        panel.set_axis_on()
        sure = number(100 * (p if predicted else 1 - p), 0)
        mark = "✓" if right else "✗"
        picture(
            panel,
            image,
            f"{mark} {class_names[predicted]} {sure}%",
            BLUE if right else RED,
            vmin=0,
            vmax=255,
        )
        panel.title.set_fontsize(7.5)
        panel.set_xlabel(
            f"label: {class_names[int(label)]}" + f"\n{remark}" * bool(remark), fontsize=7.5
        )
    return figure


def roc(
    false_positive: ArrayLike,
    true_positive: ArrayLike,
    matrix: list[list[int]],
    class_names: Sequence[str],
    area: float,
) -> Figure:
    """ROC curve with the operating point of a threshold, beside the confusion matrix of that
    threshold.
    """
    (true_negative, wrongly_positive), (wrongly_negative, rightly_positive) = matrix
    point = (
        wrongly_positive / (true_negative + wrongly_positive),
        rightly_positive / (wrongly_negative + rightly_positive),
    )
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.7), width_ratios=(1, 1))
    left.plot([0, 1], [0, 1], color=GREY, lw=0.8, ls="--", label="menebak")
    left.plot(
        false_positive, true_positive, color=BLUE, lw=1.4, label=f"jaringan, AUC {number(area)}"
    )
    left.plot(*point, "D", color=ORANGE, ms=7, label="ambang yang dipakai")
    left.set(
        xlabel="1 − spesifisitas",
        ylabel="Sensitivitas",
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        aspect="equal",
    )
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(Comma(1))
    left.legend(loc="lower right")
    _matrix(right, matrix, class_names)
    return figure


def _matrix(panel, matrix: list[list[int]], class_names: Sequence[str]) -> None:
    counts = np.asarray(matrix)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    text = [
        [f"{number(counts[i, j], 0)}\n({number(100 * share[i, j], 0)}%)" for j in (0, 1)]
        for i in (0, 1)
    ]
    sns.heatmap(
        share, annot=text, fmt="", cmap="Blues", vmin=0, vmax=1, cbar=False, square=True,
        linewidths=1, xticklabels=class_names, yticklabels=class_names, ax=panel,
        annot_kws={"size": 9},
    )  # fmt: skip
    for words, cell in zip(panel.texts, panel.collections[0].get_facecolors(), strict=True):
        # Black as well as white reach a contrast of 4.5 there (WCAG 2.2); the ink of axes would
        # turn light on a dark page.
        words.set_color("black" if sns.utils.relative_luminance(cell[:3]) > 0.179 else "white")
    panel.set(xlabel="Prediksi", ylabel="Label")


def confusion(matrix: list[list[int]], class_names: Sequence[str]) -> Figure:
    """Confusion matrix, rows the label, columns the prediction; counts and shares of the row."""
    figure, panel = plt.subplots(figsize=(WIDTH / 2, 2.4))
    _matrix(panel, matrix, class_names)
    return figure


def augmentations(image: ArrayLike, examples: dict[str, ArrayLike]) -> Figure:
    """An image (H, W) and, one row a transform or several joined by "+", what they make of it:
    {names: (n, H, W)}, in grey values 0–255.
    """
    n = max(len(made) for made in examples.values())
    figure, panels = plt.subplots(
        len(examples),
        n + 1,
        figsize=(WIDTH, len(examples) * (WIDTH / (n + 1) + 0.25)),
        squeeze=False,
    )
    for row, (names, made) in zip(panels, examples.items(), strict=True):
        picture(row[0], image, "asal", vmin=0, vmax=255)
        for panel, one in zip(row[1:], made, strict=True):
            picture(panel, one, vmin=0, vmax=255)
        row[1].set_title(join([TRANSFORM_NAMES[name] for name in names.split("+")]))
    return figure


def leakage(lesson: dict) -> Figure:
    """Test accuracy by epoch ("test_acc"), with [epoch, accuracy] chosen by validation ("honest")
    or by the test ("course").
    """
    epochs = range(1, len(lesson["test_acc"]) + 1)
    figure, panel = plt.subplots(figsize=(WIDTH * 0.72, 2.4))
    panel.plot(epochs, lesson["test_acc"], "o-", color=GREY, ms=3.5, label="akurasi uji")
    panel.plot(*lesson["honest"], "D", color=BLUE, ms=11, label="dipilih berdasarkan validasi")
    panel.plot(
        *lesson["course"], "*", color=RED, ms=9, label="dipilih berdasarkan data uji sendiri"
    )
    panel.set_ylabel("Akurasi uji")
    _epoch_axis(panel, epochs)
    _percent_axis(panel.yaxis)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _bands(
    panel,
    x: list[int],
    curves: dict[str, list[dict]],
    styles: tuple = ((BLUE, "o-"), (ORANGE, "s--")),
) -> None:
    """One or two curves of estimates with their intervals as bands."""
    for (name, estimates), (colour, style) in zip(curves.items(), styles, strict=False):
        value, low, high = np.array([(e["value"], *e["ci95"]) for e in estimates]).T
        panel.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
        panel.plot(x, value, style, color=colour, ms=3.5, label=name)
    if len(curves) > 1:
        panel.figure.legend(
            *panel.get_legend_handles_labels(), loc="outside lower center", ncols=len(curves)
        )


def gap(epochs: list[dict], mark: int, chosen: dict, last: dict) -> Figure:
    """Loss "val_loss" by epoch, `mark` pointed out (left); "train_acc" and "val_acc" of the chosen
    and the last epoch (right).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 2.5))
    x = [row["epoch"] for row in epochs]
    _bands(left, x, {"validasi": [row["val_loss"] for row in epochs]}, ((ORANGE, "s--"),))
    left.axvline(mark, color=GREY, lw=0.8, ls=":")
    left.set_title("Loss validasi (BCE)")
    left.yaxis.set_major_formatter(Comma(2))
    _epoch_axis(left, x)
    for (split, name), colour, style, shift in zip(
        SPLIT_NAMES.items(), (BLUE, ORANGE), "os", (-0.06, 0.06), strict=True
    ):
        value, low, high = np.array(
            [(e["value"], *e["ci95"]) for e in (chosen[f"{split}_acc"], last[f"{split}_acc"])]
        ).T
        right.errorbar(
            [shift, 1 + shift],
            value,
            [value - low, high - value],
            fmt=style,
            color=colour,
            ms=4,
            lw=1,
            label=name,
        )
    right.set(
        title="Akurasi, mode evaluasi",
        xlim=(-0.5, 1.5),
        xticks=(0, 1),
        xticklabels=("epoch terpilih", "epoch terakhir"),
    )
    _percent_axis(right.yaxis)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def learning_curve(points: list[dict]) -> Figure:
    """Accuracies ("train_acc", "val_acc") over the number "n" of training images, on a logarithmic
    axis.
    """
    figure, panel = plt.subplots(figsize=(WIDTH * 0.72, 2.4))
    n = [point["n"] for point in points]
    _bands(
        panel,
        n,
        {name: [point[f"{split}_acc"] for point in points] for split, name in SPLIT_NAMES.items()},
    )
    panel.set(xscale="log", xlabel="Banyaknya citra latih", ylabel="Akurasi, epoch terakhir")
    panel.set_xticks(n, [number(one, 0) for one in n])
    panel.minorticks_off()
    _percent_axis(panel.yaxis)
    return figure


def memorisation(by_epoch: list[dict]) -> Figure:
    """Share of labels fitted by "epoch": the estimates "correct" and "flipped"."""
    figure, panel = plt.subplots(figsize=(WIDTH * 0.72, 2.4))
    epochs = [row["epoch"] for row in by_epoch]
    shown = {"correct": "label benar", "flipped": "label terbalik"}
    _bands(panel, epochs, {name: [row[key] for row in by_epoch] for key, name in shown.items()})
    panel.set(ylabel="Prediksi sesuai label", ylim=(-0.02, 1.02))
    _epoch_axis(panel, epochs)
    _percent_axis(panel.yaxis)
    return figure


def confidence(right: ArrayLike, wrong: ArrayLike) -> Figure:
    """Histogram of the probability of the predicted class (0.5–1), for right and for wrong
    predictions.
    """
    figure, panel = plt.subplots(figsize=(WIDTH * 0.72, 2))
    bins = np.linspace(0.5, 1, 11)
    panel.hist(
        [right, wrong],
        bins=bins,
        stacked=True,
        color=[BLUE, RED],
        label=["benar", "salah"],
        edgecolor="white",
        lw=0.5,
    )
    panel.set(xlabel="Probabilitas kelas yang diprediksi", ylabel="Jumlah citra")
    panel.xaxis.set_major_formatter(Comma(1))
    panel.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(*panel.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def reliability(before: list[dict], after: list[dict]) -> Figure:
    """Reliability diagrams before and after temperature scaling: confidence, accuracy, low, high by
    bin.

    The diagonal is perfect.
    """
    tables = {
        "Sebelum penskalaan suhu": pd.DataFrame(before),
        "Sesudah penskalaan suhu": pd.DataFrame(after),
    }
    figure, panels = plt.subplots(1, len(tables), figsize=(WIDTH, 2.4), sharey=True, squeeze=False)
    for panel, (title, table) in zip(panels[0], tables.items(), strict=True):
        panel.plot([0.5, 1], [0.5, 1], color=GREY, lw=0.8, ls="--", label="kalibrasi sempurna")
        error = [table["accuracy"] - table["low"], table["high"] - table["accuracy"]]
        panel.errorbar(
            table["confidence"],
            table["accuracy"],
            yerr=np.abs(error),
            fmt="o",
            color=BLUE,
            ms=4,
            lw=1,
            label="model, IK 95%",
        )
        panel.set(
            title=title, xlabel="Probabilitas rata-rata", xlim=(0.48, 1.02), ylim=(-0.02, 1.04)
        )
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_formatter(Comma(1))
    panels[0][0].set_ylabel("Proporsi yang benar")
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _limits(rows: list[dict], question: str, margin: float) -> tuple[float, float]:
    """The span of the intervals and of ±margin, with some air; a network that guesses the majority
    doesn't stretch it.
    """
    judged = [row[question]["ci95"] for row in rows if row[question]["verdict"] != MAJORITY] or [
        row[question]["ci95"] for row in rows
    ]
    ends = [*np.ravel(judged), -margin, margin]
    air = 0.06 * (max(ends) - min(ends))
    return min(ends) - air, max(ends) + air


def _difference(panel, y: float, estimate: dict, scale: float, digits: int) -> None:
    """One row of `forest`: a point with its interval; beyond the panel an arrow at its edge, with
    the value.
    """
    colour = GREY if estimate["verdict"] == MAJORITY else BLUE
    value, (low, high), (left, right) = (
        scale * estimate["value"],
        scale * np.array(estimate["ci95"]),
        panel.get_xlim(),
    )
    if left <= value <= right:
        panel.hlines(y, max(low, left), min(high, right), color=colour, lw=1.4)
        filled = estimate["verdict"] in (BETTER, WORSE)
        panel.scatter(
            value, y, 22, facecolors=colour if filled else "white", edgecolors=colour, zorder=3
        )
        return
    edge, marker, side, step = (left, "<", "left", 6) if value < left else (right, ">", "right", -6)
    panel.plot(edge, y, marker, color=colour, ms=5, clip_on=False)
    panel.annotate(
        signed(value, digits),
        (edge, y),
        (step, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        fontsize=8,
    )


def forest(variants: list[dict]) -> Figure:
    """Differences from the baseline with their intervals, one row a remedy: test AUC on the left,
    gap on the right.

    variants: rows of verdicts.judge, baseline first. Grey bands: differences that count as none.
    Grey rows guess the majority.
    """
    rows = variants[1:]
    # the axes keep two thirds of the width
    titles = [wrap(row["title"], LETTERS // 3) for row in rows]
    height = 1.1 + len(rows) * max(0.24, 0.16 * max(map(len, titles)))
    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, height), sharey=True)
    y = np.arange(len(rows))[::-1]
    predicts = ("predicts", 1, MARGIN["auc"], "Selisih AUC uji", 3)
    overfits = ("overfits", 100, MARGIN["gap"], "Selisih kesenjangan (poin persen)", 1)
    for panel, (question, scale, margin, label, digits) in zip(
        panels, (predicts, overfits), strict=True
    ):
        low, high = _limits(rows, question, margin)
        panel.set(xlabel=label, xlim=(scale * low, scale * high), ylim=(-0.6, len(rows) - 0.4))
        panel.axvspan(-scale * margin, scale * margin, color=GREY, alpha=0.18, lw=0)
        panel.axvline(0, color=GREY, lw=0.9)
        for place, row in zip(y, rows, strict=True):
            _difference(panel, place, row[question], scale, digits)
        panel.xaxis.set_major_locator(MaxNLocator(5))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(round(value, 6))))
    panels[0].set_yticks(y, ["\n".join(lines) for lines in titles])
    return figure


PURPLE = (0.6, 0.3, 0.7)
# One colour for one organ in every figure, under the names that results files give the masks.
ORGANS = {"jantung": ORANGE, "paru": BLUE, "pneumotoraks": GREEN, "selang dada": PURPLE}


def kernels(before: ArrayLike, after: ArrayLike) -> Figure:
    """The first-layer kernels: before (n, 3, 7, 7) as colours, after (n, 1, 3, 3) as signed grey,
    each scaled by its own largest value.
    """
    before, after = np.asarray(before), np.asarray(after)
    n = len(before)
    columns = 16
    rows = -(-n // columns)
    figure, panels = plt.subplots(2, 1, figsize=(WIDTH, 0.42 * rows * 2 + 0.5))
    limit_before = np.abs(before).max(axis=(1, 2, 3), keepdims=True)
    limit_after = np.abs(after).max(axis=(1, 2, 3), keepdims=True)
    colour = (before / np.where(limit_before > 0, limit_before, 1) + 1) / 2
    signed = after[:, 0] / np.where(limit_after > 0, limit_after, 1)[:, 0]
    panels[0].set_title(
        f"Kernel asal: {n} buah, {before.shape[1]}×{before.shape[2]}×{before.shape[3]} (RGB)"
    )
    panels[1].set_title(
        "Setelah diadaptasi: "
        f"{n} buah, {after.shape[1]}×{after.shape[2]}×{after.shape[3]} (keabuan)"
    )
    panels[0].imshow(_mosaic(np.moveaxis(colour, 1, -1), columns, 1.0), interpolation="none")
    panels[1].imshow(
        _mosaic(signed, columns, np.nan), interpolation="none", cmap="RdBu_r", vmin=-1, vmax=1
    )
    for panel in panels:
        panel.set_axis_off()
    return figure


def _masks(outlines: dict[str, ArrayLike] | None) -> dict[str, np.ndarray]:
    return {name: np.asarray(masks, bool) for name, masks in (outlines or {}).items()}


def _mosaic(tiles: np.ndarray, columns: int, gap: float) -> np.ndarray:
    """Tiles (n, h, w[, 3]) in rows of `columns`, one pixel apart."""
    n, h, w = tiles.shape[:3]
    rows = -(-n // columns)
    canvas = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1, *tiles.shape[3:]), gap)
    for i, tile in enumerate(tiles):
        y, x = (i // columns) * (h + 1), (i % columns) * (w + 1)
        canvas[y : y + h, x : x + w] = tile
    return canvas


def samples(
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    outlines: dict[str, ArrayLike] | None = None,
) -> Figure:
    """Rows of example images (n, H, W), one row a class; `outlines` draws the contours of named
    masks (n, H, W) over them.
    """
    images, labels, outlines = np.asarray(images), np.asarray(labels), _masks(outlines)
    per_class = max(int((labels == c).sum()) for c in (0, 1))
    figure, panels = plt.subplots(
        2, per_class, figsize=(WIDTH, 2 * WIDTH / per_class + 0.3), squeeze=False
    )
    for c in (0, 1):
        rows = np.flatnonzero(labels == c)
        for j, panel in enumerate(panels[c]):
            panel.set_axis_off()
            if j >= len(rows):
                continue
            panel.imshow(images[rows[j]], cmap="gray", vmin=0, vmax=255, interpolation="none")
            for name, masks in outlines.items():
                if masks[rows[j]].any():
                    panel.contour(
                        masks[rows[j]], levels=[0.5], colors=[ORGANS.get(name, RED)], linewidths=0.9
                    )
        panels[c][0].set_title(class_names[c])
    if outlines:
        handles = [plt.Line2D([], [], color=ORGANS.get(name, RED), label=name) for name in outlines]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def phantom(steps: dict) -> Figure:
    """How the phantom makes an image, from left to right: what the rays meet, what goes through,
    and the pixels with their masks.

    steps: of phantom.explain; thicknesses in cm, the transmitted share as its attenuation
    −ln(I/I0).
    """
    figure, panels = plt.subplots(1, 6, figsize=(WIDTH, 1.75))
    for panel, name, title in zip(
        panels, ("soft", "lung", "bone"), ("Jaringan lunak", "Paru", "Tulang"), strict=False
    ):
        field = np.asarray(steps[name])
        picture(panel, field, title, cmap="cividis", vmin=0, vmax=max(float(field.max()), 1e-9))
        panel.set_xlabel(f"0–{number(field.max(), 0 if field.max() >= 10 else 1)} cm", fontsize=8)
    picture(panels[3], -np.log(np.maximum(steps["transmitted"], 1e-6)), "Atenuasi")
    panels[3].set_xlabel("$-\\ln(I/I_0)$", fontsize=8)
    for panel, title in zip(panels[4:], ("Citra", "Masker acuan"), strict=True):
        picture(panel, steps["image"], title, vmin=0, vmax=255)
    masks = {
        "jantung": steps["heart"],
        "paru": steps["lungs"],
        "pneumotoraks": steps["pneumothorax"],
    }
    for name, mask in masks.items():
        panels[5].contour(
            np.asarray(mask, bool), levels=[0.5], colors=[ORGANS[name]], linewidths=0.9
        )
    panels[4].set_xlabel("28×28 piksel", fontsize=8)
    for panel in panels:
        panel.title.set_fontsize(8.5)
    handles = [plt.Line2D([], [], color=ORGANS[name], label=name) for name in masks]
    figure.legend(handles=handles, loc="outside lower right", ncols=len(handles), fontsize=8)
    return figure


def attributions(examples: dict, class_names: Sequence[str]) -> Figure:
    """Images above their signed attribution maps, each map on its own scale; contours of named
    masks over both.

    examples: "images" and "maps" (n, H, W), "labels" (n,), "probability" of class 1 (n,),
    "outlines": {name: (n, H, W)} or None.
    """
    images, maps, outlines = (
        np.asarray(examples["images"]),
        np.asarray(examples["maps"]),
        _masks(examples["outlines"]),
    )
    predicted = np.asarray(examples["probability"]) > 0.5
    right = predicted == (np.asarray(examples["labels"]) == 1)
    titles = [
        f"{'✓' if ok else '✗'} {class_names[int(p)]}"
        for ok, p in zip(right, predicted, strict=True)
    ]
    n = len(images)
    figure, panels = plt.subplots(2, n, figsize=(WIDTH, 2 * WIDTH / n + 0.5), squeeze=False)
    for j in range(n):
        limit = max(float(np.abs(maps[j]).max()), 1e-12)
        picture(panels[0][j], images[j], titles[j], BLUE if right[j] else RED, vmin=0, vmax=255)
        panels[0][j].title.set_fontsize(7)
        picture(panels[1][j], maps[j], cmap="RdBu_r", vmin=-limit, vmax=limit)
        for panel in panels[:, j]:
            for name, masks in outlines.items():
                if masks[j].any():
                    panel.contour(
                        masks[j], levels=[0.5], colors=[ORGANS.get(name, RED)], linewidths=0.8
                    )
    if outlines:
        handles = [plt.Line2D([], [], color=ORGANS.get(name, RED), label=name) for name in outlines]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    return figure


def own_image(original: np.ndarray, seen: np.ndarray, attributed: np.ndarray) -> Figure:
    """An image (S, S), what the network sees of it (H, W), both in one grey window, and its signed
    attribution map (H, W).
    """
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, WIDTH / 3 + 0.2))
    limit = max(float(np.abs(attributed).max()), 1e-12)
    picture(
        panels[0],
        original,
        f"Citra Anda ({original.shape[1]}×{original.shape[0]})",
        vmin=0,
        vmax=255,
    )
    picture(
        panels[1],
        seen,
        f"Yang dilihat jaringan ({seen.shape[1]}×{seen.shape[0]})",
        vmin=0,
        vmax=255,
    )
    picture(
        panels[2], attributed, "Piksel yang berpengaruh", cmap="RdBu_r", vmin=-limit, vmax=limit
    )
    return figure


def overview(
    images: ArrayLike,
    labels: ArrayLike,
    class_names: Sequence[str],
    history: list[dict],
    best_epoch: int,
    majority: float,
) -> Figure:
    """The report in one picture: two images (n, H, W) of each class, and accuracy by epoch (rows as
    in plots.history).
    """
    images, labels = np.asarray(images), np.asarray(labels)
    figure, panels = plt.subplot_mosaic(
        [["0.0", "0.1", "curve"], ["1.0", "1.1", "curve"]],
        figsize=(WIDTH, 2.7),
        width_ratios=(1, 1, 4),
    )
    for c in (0, 1):
        for j, row in enumerate(np.flatnonzero(labels == c)[:2]):
            picture(panels[f"{c}.{j}"], images[row], vmin=0, vmax=255)
        for j in (0, 1):
            panels[f"{c}.{j}"].set_axis_off()
        panels[f"{c}.0"].set_title(class_names[c])
    panels["curve"].set_title("Akurasi menurut epoch")
    accuracy_by_epoch(panels["curve"], pd.DataFrame(history), best_epoch, majority)
    figure.legend(*panels["curve"].get_legend_handles_labels(), loc="outside lower right", ncols=4)
    return figure
