"""Figures that are made of images: kernels, examples, attribution maps, the report's first page
(all notebooks).

Like plots.py, each function returns a Figure in Indonesian from plain data and shows nothing.
Images are enlarged by whole pixels, never smoothed, and both classes share one grey window, 0–255.
"""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cxr_helpers.engine.indonesian import number
from cxr_helpers.plots import BLUE, GREEN, ORANGE, RED, WIDTH, accuracy_by_epoch, picture

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
