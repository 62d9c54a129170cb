"""Cells that students write themselves: what JupyterLab shows stands on the page, or a word in its place (report/foreign.py)."""

import base64
import io
import json
import re

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

SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="30" viewBox="0 0 40 30"><rect width="40" height="30"/></svg>'


def picture(kind: str = "PNG", width: int = 40) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((30, width), 90, np.uint8)).save(stream, kind)
    return stream.getvalue()


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def pages(tmp_path, *cells, metadata=None) -> tuple[BeautifulSoup, str, list[str]]:
    """The HTML page, the squeezed text of the PDF, and the remarks, of a notebook with these cells."""
    notebook = new_notebook(
        cells=[new_markdown_cell("# Percobaan"), *cells], metadata=metadata or {}
    )
    html, pdf = exporters.LaporanHTML(), exporters.LaporanPDF()
    page = BeautifulSoup(
        html.from_notebook_node(nbformat.from_dict(notebook.copy()))[0], "html.parser"
    )
    notebook = new_notebook(
        cells=[new_markdown_cell("# Percobaan"), *cells], metadata=metadata or {}
    )
    (tmp_path / "a.pdf").write_bytes(pdf.from_notebook_node(notebook)[0])
    text = "".join(
        "".join(sheet.extract_text() for sheet in PdfReader(tmp_path / "a.pdf").pages).split()
    )
    return page, text, pdf.notes


def shows(data: dict, source: str = "x") -> nbformat.NotebookNode:
    return new_code_cell(source, outputs=[new_output("display_data", data=data)])


def on_paper(tmp_path) -> int:
    return sum(len(sheet.images) for sheet in PdfReader(tmp_path / "a.pdf").pages)


WORDS = [
    ("---\njudul: Hipotesis saya\n---\n\nIsinya.", ["judul: Hipotesis saya", "Isinya."]),
    ("---\n\nSesudah garis", ["Sesudah garis"]),
    ("% Persen di awal", ["% Persen di awal"]),
    ("Saya <b>sangat</b> yakin<br>akan <u>ini</u>, H<sub>2</sub>O", ["sangat", "akan ini", "O"]),
    ('<div align="center">\n\nDi *tengah*\n\n</div>', ["Di tengah"]),
    ("<center>\n<h3>Judul kecil</h3>\nisi</center>", ["Judul kecil", "isi"]),
    ('<font color="red">merah</font> dan <unknown>aneh</unknown>', ["merah", "aneh"]),
    ("<table><tr><th>A</th><td>1</td></tr></table>\n\nsesudahnya", ["A", "1", "sesudahnya"]),
    (
        "Surel: budi@kampus.ac.id, kata @budi dan [@tidakada2020]",
        ["budi@kampus.ac.id", "@budi", "@tidakada2020"],
    ),
    ("Rumus $\\tidakada{x}$ dan $ E = mc^2 $", ["\\tidakada{x}"]),
    ("\\begin{align}a &= b\\\\ c &= d\\end{align}\n\nselesai", ["selesai"]),
    ("[ke mana](#tidak-ada) lalu", ["ke mana", "lalu"]),
    ("![grafik saya](tidak/ada.png) setelah", ["grafik saya", "tidak/ada.png", "setelah"]),
    ("![jauh](https://contoh.invalid/a.png)", ["jauh", "https://contoh.invalid/a.png"]),
    (
        "<iframe src='https://contoh.invalid/v'></iframe>\n\nakhir",
        ["https://contoh.invalid/v", "akhir"],
    ),
    (
        "`![x](y)` dan\n\n```\n<b>bukan</b> ![x](y.png) $ 1 $\n```",
        ["![x](y)", "<b>bukan</b> ![x](y.png) $ 1 $"],
    ),
    ("harga \\$5 <!-- komentar --> dan 3 < 4 & 5 > 2", ["harga $5", "dan 3 < 4 & 5 > 2"]),
    ("{{ 7*7 }} {% raw %} ::: tanda :::", ["{{ 7*7 }} {% raw %} ::: tanda :::"]),
    ("::: catatan\nterbuka tanpa tutup", ["terbuka tanpa tutup"]),
]


@pytest.mark.parametrize(("source", "words"), WORDS, ids=[source[:20] for source, _ in WORDS])
def test_no_word_of_a_markdown_cell_is_lost(tmp_path, source, words):
    page, paper, _ = pages(
        tmp_path, new_markdown_cell(source), new_markdown_cell("Sel berikutnya.")
    )
    whole = "".join(page.main.get_text().split())
    for said in [*words, "Sel berikutnya."]:
        assert "".join(said.split()) in whole, page.main
        assert "".join(said.split()) in paper, paper
    assert "komentar" not in whole and not page.main.find_all(["iframe", "script", "font"])


def test_tags_and_formulas_keep_their_meaning(tmp_path):
    source = "<b>tebal</b> <sub>bawah</sub> $a$ kata-kata di antara $b$ $ E = m $ "
    source += "\\\\(F = a\\\\)\n\n\\begin{align}a &= b\\end{align}\n\n[lihat](#Bagian-Dua)\n\n## Bagian Dua"
    page, _, notes = pages(tmp_path, new_markdown_cell(source))
    assert (
        page.main.strong.text == "tebal"
        and page.main.sub.text == "bawah"
        and len(page.main.find_all("math")) == 5
    )
    assert "kata-kata di antara" in page.main.text
    assert page.main.find("a", string="lihat")["href"] == "#bagian-dua" and notes == []


def test_text_between_lines_is_a_heading_as_in_jupyterlab(tmp_path):
    page, _, _ = pages(tmp_path, new_markdown_cell("---\njudul: hipotesis\n---\n\nIsi."))
    heading = page.main.section.find(["h1", "h2"])
    assert page.main.hr and not page.main.table and heading.get_text().endswith("judul: hipotesis")


def test_what_is_printed_otherwise_is_said_with_its_cell(tmp_path):
    cells = [
        new_markdown_cell("Satu 你"),
        new_markdown_cell("kata @budi, $\\tidakada$, [x](#nanti)"),
    ]
    _, _, notes = pages(tmp_path, *cells)
    assert [note for note in notes if note.startswith("Sel ke-2: aksara 你")]
    for what in ("@budi", "\\tidakada", "#nanti"):
        assert [note for note in notes if note.startswith(f"Sel ke-3: {what}")], notes


def test_an_anchor_of_a_figure_that_is_missing_is_one_line_with_its_cell():
    notebook = new_notebook(
        cells=[new_markdown_cell("# A"), new_markdown_cell("[Gambar](#fig-hilang)")]
    )
    with pytest.raises(InputError, match=r"^Sel ke-2: .*fig-hilang.* tidak bertujuan$"):
        exporters.LaporanHTML().from_notebook_node(notebook)


@pytest.mark.parametrize(
    "first", ["### Tiga", "Judul\n=====\n\n#### Empat", "<h1>Satu</h1>\n\n<h4>Empat</h4>"]
)
def test_headings_of_any_level_are_kept(tmp_path, first):
    notebook = new_notebook(cells=[new_markdown_cell(first), shows({"text/html": "<h5>Lima</h5>"})])
    page = BeautifulSoup(
        exporters.LaporanHTML().from_notebook_node(notebook.copy())[0], "html.parser"
    )
    (tmp_path / "a.pdf").write_bytes(exporters.LaporanPDF().from_notebook_node(notebook)[0])
    paper = "".join(sheet.extract_text() for sheet in PdfReader(tmp_path / "a.pdf").pages)
    for word in [*re.findall(r"[A-Z]\w+", first), "Lima"]:
        assert word in page.get_text() and word in paper


# --- pictures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["attachment", "data", "beside", "tag"])
def test_a_picture_in_a_markdown_cell_is_on_both_pages(tmp_path, how):
    (tmp_path / "foto saya.png").write_bytes(picture())
    address = {
        "attachment": "attachment:a%20b.png",
        "data": f"data:image/png;base64,{coded(picture())}",
    }.get(how)
    source = (
        f"![Foto]({address or 'foto%20saya.png'})"
        if how != "tag"
        else 'a <img src="foto saya.png" alt="Foto" width="900"> b'
    )
    cell = new_markdown_cell(source)
    if how == "attachment":
        cell["attachments"] = {"a b.png": {"image/png": coded(picture())}}
    page, _, notes = pages(
        tmp_path, cell, metadata={"papermill": {"input_path": str(tmp_path / "x.ipynb")}}
    )
    assert (
        page.main.img["src"].startswith("data:image/png;base64,") and page.main.img["alt"] == "Foto"
    )
    assert on_paper(tmp_path) == 1 and notes == []


OUTPUTS = {
    "png": {"image/png": coded(picture()), "text/plain": "<Figure size 640x480>"},
    "jpeg": {"image/jpeg": coded(picture("JPEG"))},
    "svg": {"image/svg+xml": SVG},
    "html with a picture": {
        "text/html": f'<p>lihat</p><img src="data:image/png;base64,{coded(picture())}">'
    },
    "webp": {"image/webp": coded(picture("WEBP"))},
    "gif": {"image/gif": coded(picture("GIF"))},
    "plotly with a picture": {"application/vnd.plotly.v1+json": {}, "image/png": coded(picture())},
}


@pytest.mark.parametrize("data", OUTPUTS.values(), ids=OUTPUTS)
def test_a_picture_that_a_cell_shows_is_on_both_pages(tmp_path, data):
    page, _, notes = pages(tmp_path, shows(data))
    assert page.main.img["src"].startswith("data:image/") and page.main.img["alt"] and notes == []
    assert "Figure size" not in page.main.text
    assert on_paper(tmp_path) == (0 if "image/svg+xml" in data else 1)


STYLED = (
    pd.DataFrame({"AUC": [0.91, 0.88]}, index=["satu", "dua"])
    .style.highlight_max(color="yellow")
    ._repr_html_()
)
TEXTS = {
    "styled table": (
        {"text/html": STYLED, "text/plain": "<pandas.io.formats.style.Styler at 0x7f>"},
        ["satu", "0.91", "Warna"],
    ),
    "table": (
        {"text/html": pd.DataFrame({"x|y": ["a*b*", "<c>"]}).to_html(), "text/plain": "x"},
        ["x|y", "a*b*", "<c>"],
    ),
    "html": (
        {"text/html": "<h4>Hasil</h4><p style='color:red'>$5 *bukan* @x</p>"},
        ["Hasil", "$5 *bukan* @x"],
    ),
    "markdown": ({"text/markdown": "**Tebal** saja"}, ["Tebal saja"]),
    "plotly": (
        {"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<div></div>"},
        ["hanya tampil di JupyterLab"],
    ),
    "script": ({"text/html": "<script>alert(1)</script>"}, ["hanya tampil di JupyterLab"]),
    "frame": (
        {"text/html": '<iframe width="9" src="https://contoh.invalid/v"></iframe>'},
        ["https://contoh.invalid/v"],
    ),
    "broken": ({"image/png": coded(b"bukan gambar"), "text/plain": "<Image object>"}, ["rusak"]),
    "plain": ({"text/plain": "array([1, 2])"}, ["array([1, 2])"]),
    "unknown": ({"application/x-lain": "?", "text/plain": "isi lain"}, ["isi lain"]),
}


@pytest.mark.parametrize(("data", "words"), TEXTS.values(), ids=TEXTS)
def test_what_a_cell_shows_is_on_both_pages_and_no_address_of_an_object(tmp_path, data, words):
    page, paper, _ = pages(tmp_path, shows(data))
    whole = "".join(page.main.get_text().split())
    for said in words:
        assert "".join(said.split()) in whole and "".join(said.split()) in paper
    assert "0x7f" not in whole and "alert(1)" not in whole and "Imageobject" not in whole


@pytest.mark.parametrize(
    "text", ["$\\displaystyle x^{2}$", "$$x^2$$", "\\begin{align}x &= 2\\end{align}"]
)
def test_a_formula_that_a_cell_shows_is_a_formula(tmp_path, text):
    page, _, notes = pages(
        tmp_path, shows({"text/latex": text, "text/plain": "<IPython.core.display.Math object>"})
    )
    assert len(page.main.find_all("math")) == 1 and "object" not in page.main.text and notes == []


def test_raw_cells_colours_and_expected_errors_are_shown(tmp_path):
    stream = new_output(
        "stream", name="stdout", text="\x1b[31mmerah\x1b[0m\n10%\r100%\nlonceng\x07"
    )
    error = new_output("error", ename="ValueError", evalue="memang begitu", traceback=[])
    failing = new_code_cell("x", outputs=[error], metadata={"tags": ["raises-exception"]})
    page, paper, _ = pages(
        tmp_path,
        new_raw_cell("Kata dalam *sel* mentah"),
        new_code_cell("y", outputs=[stream]),
        failing,
    )
    shown = [block.get_text() for block in page.main.find_all("pre")]
    assert (
        "Kata dalam *sel* mentah" in shown
        and "merah\n100%\nlonceng" in shown
        and "ValueError: memang begitu" in shown
    )
    assert "Katadalam*sel*mentah" in paper and "ValueError:memangbegitu" in paper


def test_the_injected_cell_is_not_counted():
    injected = new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    failed = new_code_cell(
        "1 / 0", outputs=[new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])]
    )
    with pytest.raises(InputError, match=r"^Sel ke-2: .*ZeroDivisionError"):
        exporters.LaporanHTML().from_notebook_node(
            new_notebook(cells=[new_markdown_cell("# A"), injected, failed])
        )


def test_a_picture_outside_the_project_is_not_read(tmp_path):
    (tmp_path / "dalam").mkdir()
    (tmp_path / "luar.png").write_bytes(picture())
    where = {"papermill": {"input_path": str(tmp_path / "dalam/x.ipynb")}}
    for source in ("../luar.png", str(tmp_path / "luar.png")):
        page, _, _ = pages(tmp_path, new_markdown_cell(f"![a]({source})"), metadata=where)
        assert not page.main.img and "Gambar tidak disertakan" in page.main.text


def test_the_page_asks_nothing_of_a_network(tmp_path):
    source = '<script src="http://a/b.js"></script><link rel=stylesheet href="http://a">'
    source += '<b onclick="x()">kata</b> <img src="http://a/i.png">'
    page, _, _ = pages(tmp_path, new_markdown_cell(source), shows({"text/html": source}))
    assert page.main.text.count("kata") == 2
    assert not page.main.find_all(["script", "link", "img"]) and not re.search(
        r"onclick|src=", json.dumps(str(page.main))
    )
