"""Cells of students: what JupyterLab shows is on both pages, or a word for it (foreign.py)."""

import base64
import copy
import io
import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output, new_raw_cell
from PIL import Image
from pypdf import PdfReader

from cxr_helpers.engine.errors import InputError
from report import exporters

SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30" viewBox="0 0 40 30">'
    '<rect width="40" height="30"/></svg>'
)


def picture(kind: str = "PNG", width: int = 40) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((30, width), 90, np.uint8)).save(stream, kind)
    return stream.getvalue()


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def shows(data: dict) -> nbformat.NotebookNode:
    return new_code_cell("x", outputs=[new_output("display_data", data=data)])


def shows_error(name: str, text: str, **metadata) -> nbformat.NotebookNode:
    error = new_output("error", ename=name, evalue=text, traceback=[])
    return new_code_cell("x", outputs=[error], metadata=metadata)


def pages(*cells, beside: Path | None = None, title: str = "# Percobaan"):
    """(main part of the HTML page, PDF, remarks) of a notebook with these cells after a title."""
    where = {"papermill": {"input_path": str(beside / "x.ipynb")}} if beside else {}
    made, notes = [], []
    for exporter in (exporters.LaporanHTML(), exporters.LaporanPDF()):
        whole = new_notebook(cells=copy.deepcopy([*cells]), metadata=where)
        if title:
            whole.cells.insert(0, new_markdown_cell(title))
        made.append(exporter.from_notebook_node(whole)[0])
        notes += exporter.notes
    return BeautifulSoup(made[0], "html.parser").main, PdfReader(io.BytesIO(made[1])), notes


def squeezed(shown: BeautifulSoup | PdfReader | str) -> str:
    if isinstance(shown, PdfReader):
        shown = "".join(sheet.extract_text() for sheet in shown.pages)
    return "".join((shown if isinstance(shown, str) else shown.get_text()).split())


def assert_in_order(said: list[str], *pages: BeautifulSoup | PdfReader) -> None:
    for text in map(squeezed, pages):
        place = 0
        for words in said:
            place = text.find(squeezed(words), place)
            assert place >= 0, words


# --- words --------------------------------------------------------------------------------------


# Each is one Markdown cell, and what of it a reader must find.
WORDS = [
    ("---\njudul: Hipotesis saya\n---\n\nIsinya.", ["judul: Hipotesis saya", "Isinya."]),
    ("---\n\nSesudah garis", ["Sesudah garis"]),
    ("% Persen di awal", ["% Persen di awal"]),
    ("Saya <b>sangat</b> yakin<br>akan <u>ini</u>, H<sub>2</sub>O", ["sangat", "akan ini", "O"]),
    ('<div align="center">\n\nDi *tengah*\n\n</div>', ["Di tengah"]),
    ("<center>\n<h3>Judul kecil</h3>\nisi</center>", ["Judul kecil", "isi"]),
    ('<font color="red">merah</font> dan <unknown>aneh</unknown>', ["merah", "aneh"]),
    ("<table><tr><th>A</th><td>1</td></tr></table>\n\nsesudahnya", ["A", "1", "sesudahnya"]),
    ("Surel: budi@kampus.id, @budi dan [@tidakada20]", ["budi@kampus.id", "@budi", "@tidakada20"]),
    ("Rumus $\\tidakada{x}$ dan $ E = mc^2 $", ["\\tidakada{x}"]),
    ("\\begin{align}a &= b\\\\ c &= d\\end{align}\n\nselesai", ["selesai"]),
    ("[ke mana](#tidak-ada) lalu", ["ke mana", "lalu"]),
    ("![grafik saya](tidak/ada.png) setelah", ["grafik saya", "tidak/ada.png", "setelah"]),
    ("![jauh](https://contoh.invalid/a.png)", ["jauh", "https://contoh.invalid/a.png"]),
    ("<iframe src='https://contoh.invalid/v'></iframe>\n\nya", ["https://contoh.invalid/v", "ya"]),
    ("`![x](y)` dan\n\n```\n<b>bukan</b> $ 1 $\n```", ["![x](y)", "<b>bukan</b> $ 1 $"]),
    ("harga \\$5 <!-- komentar --> dan 3 < 4 & 5 > 2", ["harga $5", "dan 3 < 4 & 5 > 2"]),
    ("{{ 7*7 }} {% raw %} ::: tanda :::", ["{{ 7*7 }} {% raw %} ::: tanda :::"]),
    ("::: catatan\nterbuka tanpa tutup", ["terbuka tanpa tutup"]),
]


def test_no_word_of_a_markdown_cell_is_lost():
    cells, said = [], []
    for number, (source, words) in enumerate(WORDS):
        cells += [new_markdown_cell(source), new_markdown_cell(f"Penutup {number}.")]
        said += [*words, f"Penutup {number}."]
    page, paper, _ = pages(*cells)
    assert_in_order(said, page, paper)
    assert "komentar" not in page.text and not page.find_all(["iframe", "script", "font"])


def test_tags_formulas_and_lines_keep_their_meaning():
    source = "<b>tebal</b> <sub>bawah</sub> $a$ kata-kata di antara $b$ $ E = m $ "
    source += "\\\\(F = a\\\\)\n\n\\begin{align}a &= b\\end{align}\n\n[lihat](#Bagian-Dua)"
    latex = ("$\\displaystyle x^{2}$", "$$x^2$$", "\\begin{align}x &= 2\\end{align}")
    shown = [shows({"text/latex": text, "text/plain": "<Math object>"}) for text in latex]
    settings = "---\njudul: hipotesis\n---\n\nIsi."
    page, _, notes = pages(*map(new_markdown_cell, (settings, source, "## Bagian Dua")), *shown)
    assert page.strong.text == "tebal" and page.sub.text == "bawah"
    assert len(page.find_all("math")) == 5 + 3 and "object" not in page.text
    assert "kata-kata di antara" in page.text
    assert page.find("a", string="lihat")["href"] == "#bagian-dua" and notes == []
    assert page.hr and not page.table
    assert any("hipotesis" in heading.text for heading in page.find_all(["h1", "h2"]))


def test_what_is_printed_otherwise_is_said_with_its_cell():
    words = "kata @budi, $\\tidakada$, [x](#nanti)"
    *_, notes = pages(new_markdown_cell("Satu 你"), new_markdown_cell(words))
    for cell, what in ((2, "aksara 你"), (3, "@budi"), (3, "\\tidakada"), (3, "#nanti")):
        assert [note for note in notes if note.startswith(f"Sel ke-{cell}: {what}")], notes


@pytest.mark.parametrize(
    ("cell", "named"),
    [
        (new_markdown_cell("[Gambar](#fig-hilang)"), "fig-hilang"),
        (shows_error("ZeroDivisionError", ""), "ZeroDivisionError"),
    ],
)
def test_what_stops_a_page_is_one_line_with_its_cell_as_a_person_counts(cell, named):
    injected = new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    with pytest.raises(InputError, match=rf"^Sel ke-2: .*{named}"):
        pages(injected, cell)


@pytest.mark.parametrize(
    "first", ["### Tiga", "Judul\n=====\n\n#### Empat", "<h1>Satu</h1>\n\n<h4>Empat</h4>"]
)
def test_headings_of_any_level_are_kept(first):
    cells = [new_markdown_cell(first), shows({"text/html": "<h5>Lima</h5>"})]
    page, paper, _ = pages(*cells, title="")
    assert_in_order([*re.findall(r"[A-Z]\w+", first), "Lima"], page.parent, paper)


# --- pictures -----------------------------------------------------------------------------------


def pictures_on_paper(paper: PdfReader) -> int:
    return sum(len(sheet.images) for sheet in paper.pages)


def test_a_picture_in_a_markdown_cell_is_on_both_pages(tmp_path):
    (tmp_path / "foto saya.png").write_bytes(picture(width=50))
    (tmp_path / "lain.png").write_bytes(picture(width=60))
    attached = new_markdown_cell("![Foto](attachment:a%20b.png)")
    attached["attachments"] = {"a b.png": {"image/png": coded(picture(width=70))}}
    cells = [
        attached,
        new_markdown_cell(f"![Foto](data:image/png;base64,{coded(picture(width=80))})"),
        new_markdown_cell("![Foto](foto%20saya.png)"),
        new_markdown_cell('a <img src="lain.png" alt="Foto" width="900"> b'),
    ]
    page, paper, notes = pages(*cells, beside=tmp_path)
    found = [(image["alt"], image["src"][:22]) for image in page.find_all("img")]
    assert found == [("Foto", "data:image/png;base64,")] * 4
    assert pictures_on_paper(paper) == 4 and notes == []


def test_a_picture_that_a_cell_shows_is_on_both_pages():
    inside = f'<p>lihat</p><img src="data:image/png;base64,{coded(picture(width=50))}">'
    plotly = {"application/vnd.plotly.v1+json": {}, "image/png": coded(picture(width=60))}
    outputs = [
        {"image/png": coded(picture()), "text/plain": "<Figure size 640x480>"},
        {"image/jpeg": coded(picture("JPEG"))},
        {"image/svg+xml": SVG},
        {"text/html": inside},
        {"image/webp": coded(picture("WEBP"))},
        {"image/gif": coded(picture("GIF"))},
        plotly,
    ]
    page, paper, notes = pages(*map(shows, outputs))
    images = page.find_all("img")
    kinds = [re.match(r"data:image/([\w+]+);", image["src"])[1] for image in images]
    assert kinds == ["png", "jpeg", "svg+xml", "png", "webp", "gif", "png"]
    assert all(image["alt"] for image in images) and "Figure size" not in page.text
    assert pictures_on_paper(paper) == 6 and notes == []  # the seventh is drawn as lines


def test_a_picture_outside_the_project_is_not_read(tmp_path):
    (tmp_path / "dalam").mkdir()
    (tmp_path / "luar.png").write_bytes(picture())
    sources = ("../luar.png", str(tmp_path / "luar.png"))
    cells = [new_markdown_cell(f"![a]({source})") for source in sources]
    page, *_ = pages(*cells, beside=tmp_path / "dalam")
    assert not page.img and page.text.count("Gambar tidak disertakan") == 2


# --- other outputs ------------------------------------------------------------------------------


def test_what_a_cell_shows_is_on_both_pages_and_no_address_of_an_object():
    numbers = pd.DataFrame({"AUC": [0.91, 0.88]}, index=["satu", "dua"])
    styled = numbers.style.highlight_max(color="yellow")._repr_html_()
    table = pd.DataFrame({"x|y": ["a*b*", "<c>"]}).to_html()
    frame = '<iframe width="9" src="https://contoh.invalid/v"></iframe>'
    terminal = "\x1b[31mmerah\x1b[0m\n10%\r100%\nlonceng\x07"
    printed = new_output("stream", name="stdout", text=terminal)
    plotly = {"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<div></div>"}
    shown = [
        (shows({"text/html": styled, "text/plain": "<Styler at 0x7f>"}), ["satu", "0.91", "Warna"]),
        (shows({"text/html": table, "text/plain": "0x7f"}), ["x|y", "a*b*", "<c>"]),
        (shows({"text/html": "<p style='color:red'>$5 *bukan* @x</p>"}), ["$5 *bukan* @x"]),
        (shows({"text/markdown": "**Tebal** saja"}), ["Tebal saja"]),
        (shows(plotly), ["hanya tampil di JupyterLab"]),
        (shows({"text/html": "<script>alert(1)</script>"}), ["hanya tampil di JupyterLab"]),
        (shows({"text/html": frame}), ["https://contoh.invalid/v"]),
        (shows({"image/png": coded(b"bukan"), "text/plain": "<Image object>"}), ["rusak"]),
        (shows({"text/plain": "array([1, 2])"}), ["array([1, 2])"]),
        (shows({"application/x-lain": "?", "text/plain": "isi lain"}), ["isi lain"]),
        (new_raw_cell("Kata dalam *sel* mentah"), ["Kata dalam *sel* mentah"]),
        (new_code_cell("y", outputs=[printed]), ["merah 100% lonceng"]),  # no colour, bell, 10%
        (shows_error("ValueError", "memang", tags=["raises-exception"]), ["ValueError: memang"]),
    ]
    page, paper, _ = pages(*[cell for cell, _ in shown])
    assert_in_order([words for _, said in shown for words in said], page, paper)
    for never in ("0x7f", "alert(1)", "<Image object>"):
        assert never not in page.text


def test_the_page_asks_nothing_of_a_network():
    source = '<script src="http://a/b.js"></script><link rel=stylesheet href="http://a">'
    source += '<b onclick="x()">kata</b> <img src="http://a/i.png">'
    page, *_ = pages(new_markdown_cell(source), shows({"text/html": source}))
    assert page.text.count("kata") == 2
    assert not page.find_all(["script", "link", "img"])
    assert not re.search(r"onclick|src=", str(page))
