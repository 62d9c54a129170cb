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
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image
from pypdf import PdfReader

from cxr_helpers.engine.errors import InputError
from report import exporters, fonts


def picture(width: int, kind: str = "PNG") -> bytes:
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


def pages(*cells, beside: Path = Path("/tidak-ada")):
    """(main part of the HTML page, PDF, remarks) of a notebook with these cells after a title."""
    made, notes = [], []
    for exporter in (exporters.LaporanHTML(), exporters.LaporanPDF()):
        whole = new_notebook(cells=copy.deepcopy([new_markdown_cell("# Percobaan"), *cells]))
        whole.metadata["papermill"] = {"input_path": str(beside / "x.ipynb")}
        made.append(exporter.from_notebook_node(whole)[0])
        notes += exporter.notes
    return BeautifulSoup(made[0], "html.parser").main, PdfReader(io.BytesIO(made[1])), notes


def assert_in_order(said: list[str], page: BeautifulSoup, paper: PdfReader) -> None:
    for text in (page.get_text(), "".join(sheet.extract_text() for sheet in paper.pages)):
        text, place = "".join(text.split()), 0
        for words in said:
            place = text.find("".join(words.split()), place)
            assert place >= 0, words


LETTERS = "A" * 40_000
# Markdown cells as one stands behind the other, and what of each a reader must find.
WORDS = [
    ("---\njudul: Hipotesis saya\n---\n\nIsinya.", ["judul: Hipotesis saya", "Isinya."]),
    ("Saya <b>sangat</b> yakin<br>akan <u>ini</u>", ["sangat", "akan ini"]),
    ("Surel: budi@kampus.id, @budi dan [@tidakada20]", ["budi@kampus.id", "@budi", "@tidakada20"]),
    ("Rumus $\\tidakada{x}$ dan $ E = mc^2 $", ["\\tidakada{x}"]),
    ("![grafik saya](tidak/ada.png) setelah", ["grafik saya", "tidak/ada.png", "setelah"]),
    ("`![x](y)` dan\n\n```\n<b>bukan</b> $ 1 $\n```", ["![x](y)", "<b>bukan</b> $ 1 $"]),
    ("{{ 7*7 }} {% raw %} ::: tanda :::", ["{{ 7*7 }} {% raw %} ::: tanda :::"]),
    ("[a][1], [^1]\n\n[1]: http://satu\n\n[^1]: Catatan satu.", ["a", "1"]),
    ("[b][1]\n\n[1]: http://dua\n\n[^1]: Catatan dua.\n[^2]: Ketiga.", ["Catatan dua.", "Ketiga"]),
    ('<a id="top">puncak</a>\n\n## Hasil', ["puncak", "Hasil"]),
    ('<div id="top">dalam</div>\n\n## Hasil', ["dalam", "Hasil"]),
    ('<b id="top">lagi</b>\n\n- a\n\n  ```python\n  x = 1\n\n  buka', ["lagi", "x = 1", "buka"]),
    ("Sesudah **pagar**", ["Sesudah pagar"]),
    (f'<video src="data:a/b;base64,{LETTERS}"></video> ekor', ["<video> hanya", "ekor"]),
    (f"![foto](data:image/png,{LETTERS}) [a](data:,{LETTERS})", ["foto (data:image/png)", "a"]),
]


def test_each_markdown_cell_is_read_on_its_own_and_no_word_is_lost():
    page, paper, notes = pages(*(new_markdown_cell(source) for source, _ in WORDS))
    assert_in_order([words for _, said in WORDS for words in said], page, paper)
    assert "sangat" in [bold.text for bold in page.find_all("strong")]
    otherwise = ((4, "@budi"), (5, "\\tidakada"), (16, "data:image/png"))  # said with its cell
    for cell, printed in otherwise:
        assert [note for note in notes if note.startswith(f"Sel ke-{cell}: {printed}")], notes
    links = page.find_all("a", href=re.compile("^http"))
    assert [link["href"] for link in links] == ["http://satu", "http://dua"]
    ids = [element["id"] for element in page.find_all(id=True)]
    assert len(ids) == len(set(ids)) and "Catatan satu." in page.text and "```" not in page.text
    assert len(paper.pages) <= 2


def test_what_stops_a_page_is_one_line_with_its_cell_as_a_person_counts():
    injected = new_code_cell("seed = 1", metadata={"tags": ["injected-parameters"]})
    with pytest.raises(InputError, match=r"^Sel ke-2: .*ZeroDivisionError"):
        pages(injected, shows_error("ZeroDivisionError", ""))


def test_pictures_are_on_both_pages_but_none_from_outside_the_project(tmp_path):
    project, outside = tmp_path / "dalam", tmp_path / "luar.png"
    project.mkdir()
    (project / "foto saya.png").write_bytes(picture(50))
    outside.write_bytes(picture(40))
    attached = new_markdown_cell("![Foto](attachment:a%20b.png)")
    attached["attachments"] = {"a b.png": {"image/png": coded(picture(60))}}
    cells = [attached, new_markdown_cell("![Foto](foto%20saya.png)")]
    figure = {"image/png": coded(picture(70)), "text/plain": "<Figure size 640x480>"}
    inside = {"text/html": f'<img src="data:image/png;base64,{coded(picture(80))}">'}
    cells += map(shows, (figure, inside, {"image/webp": coded(picture(90, "WEBP"))}))
    cells += [new_markdown_cell(f"![a]({source})") for source in ("../luar.png", outside)]
    page, paper, notes = pages(*cells, beside=project)
    images = page.find_all("img")
    assert len(images) == 5 and all(image["alt"] for image in images)
    assert all(image["src"].startswith("data:image/") for image in images)
    assert sum(len(sheet.images) for sheet in paper.pages) == 5
    assert "Figure size" not in page.text
    assert page.text.count("Gambar tidak disertakan") == 2
    assert {note.split(":")[0] for note in notes} == {"Sel ke-7", "Sel ke-8"}


def test_what_a_cell_shows_is_on_both_pages_and_no_address_of_an_object():
    numbers = pd.DataFrame({"AUC": [0.91, 0.88]}, index=["satu", "dua"])
    styled = numbers.style.highlight_max(color="yellow")._repr_html_()
    printed = new_output("stream", name="stdout", text="\x1b[31mmerah\x1b[0m\n10%\r100%\nya\x07")
    plotly = {"application/vnd.plotly.v1+json": {"data": []}, "text/html": "<div></div>"}
    shown = [
        (shows({"text/html": styled, "text/plain": "<Styler at 0x7f>"}), ["satu", "0.91", "Warna"]),
        (shows({"text/html": "<p style='color:red'>$5 *bukan* @x</p>"}), ["$5 *bukan* @x"]),
        (shows(plotly), ["hanya tampil di JupyterLab"]),
        (shows({"text/plain": "array([1, 2])"}), ["array([1, 2])"]),
        (new_code_cell("y", outputs=[printed]), ["merah 100% ya"]),  # no colour, bell, 10%
        (shows_error("ValueError", "memang", tags=["raises-exception"]), ["ValueError: memang"]),
    ]
    page, paper, _ = pages(*[cell for cell, _ in shown])
    assert_in_order([words for _, said in shown for words in said], page, paper)
    assert "0x7f" not in page.text


def test_the_page_asks_nothing_of_a_network():
    source = '<script src="http://a/b.js"></script><link rel=stylesheet href="http://a">'
    source += '<b onclick="x()">kata</b> <img src="http://a/i.png">'
    page, *_ = pages(new_markdown_cell(source), shows({"text/html": source}))
    assert page.text.count("kata") == 2
    assert not page.find_all(["script", "link", "img"])
    assert not re.search(r"onclick|src=", str(page))


COMMON = "😀😂🤔👍🏽🙏🎉🚀🔥✅❌⚠️⭐❤️💡📈📊🔬📝🧠🫁🩻🇮🇩👩‍⚕️➡️"
ARABIC = "السلام عليكم ورحمة الله"


def squeezed(*cells) -> tuple[str, list[str]]:
    """The text of the PDF of these cells without white space, and what was remarked."""
    _, paper, notes = pages(*cells)
    return "".join("".join(sheet.extract_text().split()) for sheet in paper.pages), notes


def printing(text: str):
    return new_code_cell("x", outputs=[new_output("stream", name="stdout", text=text)])


def test_arabic_and_common_emoji_are_printed():
    words = new_markdown_cell(f"{ARABIC}, lalu {COMMON} dan **{COMMON}**")
    text, notes = squeezed(words, printing(COMMON))
    assert notes == [] and fonts.BOX not in text
    assert [text.count(sign) for sign in "😀🚀✅🫁"] == [3, 3, 3, 3]
    assert all(word in text or word[::-1] in text for word in ARABIC.split())


@pytest.mark.parametrize("sign", ["你", "\u0378"])
def test_a_sign_of_no_font_is_said_with_its_cell(sign):
    text, notes = squeezed(new_markdown_cell("Biasa."), printing(f"kata {sign} akhir"))
    assert fonts.BOX in text and "akhir" in text
    assert len(notes) == 1 and notes[0].startswith("Sel ke-3: ") and sign in notes[0]
