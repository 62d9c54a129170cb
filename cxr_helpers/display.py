"""How a notebook shows a figure, a table, computed prose and the cover, so that JupyterLab and the typeset report agree.

Each output carries, beside what JupyterLab shows, the metadata {"laporan": {"kind", "id", "caption", "alt", …}} that
report/exporters.py turns into numbered figures and tables. Captions and cells are Pandoc Markdown; text from outside (names, file
names) goes through `escape` first.
"""

import base64
import html
import io
import json
import re

import pandas as pd
from IPython.display import display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

KEY = "laporan"
COVER = "application/vnd.laporan-sampul+json"
# Fixed metadata: the same figure gives the same bytes.
SVG_METADATA = {"Date": None, "Creator": None}
PNG_DPI = 150
NUMBER = re.compile(r"^[-+−–]?[\d.,]*[%]?(\s?\(.*\))?$")


def escape(text: str) -> str:
    """Free text as Pandoc Markdown that shows it literally, on one line."""
    flat = " ".join(str(text).split())
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", flat)


def _plain(markdown: str) -> str:
    """Markdown without its marks, for JupyterLab's captions."""
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[*`]|\[@[^\]]*\]", "", markdown))


def _emit(data: dict, kind: str, **fields) -> None:
    display(data, raw=True, metadata={KEY: {"kind": kind, **{k: v for k, v in fields.items() if v is not None}}})


def show_figure(fig: Figure, id: str, caption: str, alt: str, width: str | None = None) -> None:
    """Show and close a matplotlib figure. id: "fig-…"; caption: Markdown; alt: what it shows, as text; width: share of the text's."""
    vector, raster = io.BytesIO(), io.BytesIO()
    # Text as paths: the report looks the same whatever fonts a machine has.
    with plt.rc_context({"svg.fonttype": "path"}):
        fig.savefig(vector, format="svg", metadata=SVG_METADATA)
    fig.savefig(raster, format="png", dpi=PNG_DPI, metadata={"Software": None})
    plt.close(fig)
    image = base64.b64encode(raster.getvalue()).decode()
    shown = (
        f'<figure><img alt="{html.escape(alt)}" style="max-width: 100%; width: 46em" src="data:image/png;base64,{image}">'
        f"<figcaption>{html.escape(_plain(caption))}</figcaption></figure>"
    )
    data = {"text/html": shown, "image/svg+xml": vector.getvalue().decode(), "text/plain": alt}
    _emit(data, "figure", id=id, caption=caption, alt=alt, width=width)


def show_table(frame: pd.DataFrame, id: str, caption: str, align: str | None = None) -> None:
    """Show a table of ready strings. id: "tbl-…"; cells and caption: Markdown; align: one of l, c, r a column (default: numbers right)."""
    names, rows = [str(name) for name in frame.columns], frame.astype(str).values.tolist()
    align = align or "".join("r" if i and all(NUMBER.match(row[i]) for row in rows) else "l" for i in range(len(names)))
    rule = {"l": ":--", "c": ":-:", "r": "--:"}

    def line(cells: list[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    markdown = "\n".join([line(names), "|" + "|".join(rule[a] for a in align) + "|", *map(line, rows)])
    side = {"l": "left", "c": "center", "r": "right"}

    def cells(tag: str, values: list[str]) -> str:
        return "".join(
            f'<{tag} style="text-align: {side[a]}">{html.escape(_plain(v))}</{tag}>' for a, v in zip(align, values, strict=True)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    shown = (
        f'<table><caption style="text-align: left">{html.escape(_plain(caption))}</caption>'
        f"<thead><tr>{cells('th', names)}</tr></thead><tbody>{body}</tbody></table>"
    )
    _emit(
        {"text/html": shown, "text/markdown": markdown, "text/plain": frame.to_string(index=False)},
        "table",
        id=id,
        caption=caption,
    )


def show_text(markdown: str) -> None:
    """Show computed prose."""
    _emit({"text/markdown": markdown, "text/plain": _plain(markdown)}, "prose")


def show_cover(
    title: str, subtitle: str, author: dict[str, str], facts: list[tuple[str, str]], abstract: str, date: str, moment: str
) -> None:
    """The cover of the report. Everything but abstract and subtitle is free text; moment: ISO time, which dates the PDF."""
    content = {
        "title": escape(title),
        "subtitle": subtitle,
        "author_plain": " ".join(next(iter(author.values()), "").split()),
        "author": [{"label": escape(k), "value": escape(v)} for k, v in author.items()],
        "fact": [{"label": escape(k), "value": escape(v)} for k, v in facts],
        "abstract": abstract,
        "date": escape(date),
        "moment": moment,
    }
    lines = [
        f"# {title}",
        subtitle,
        *(f"**{k}:** {escape(v)}" for k, v in [*author.items(), ("Tanggal", date), *facts]),
        abstract,
    ]
    _emit({COVER: json.dumps(content), "text/markdown": "\n\n".join(lines), "text/plain": title}, "cover")
