"""The smoke report, made by real make, papermill, nbconvert, pandoc and typst: whole and honest?"""

import re

import nbformat
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from report import chapter
from tests.conftest import ROOT

CHAPTERS = [path.stem for path in sorted((ROOT / "notebooks").glob("*.ipynb"))]
SECTIONS = "Perubahan Arsitektur|Data dan Pelatihan|Analisis Hasil|Perbaikan|Percobaan|Kesimpulan"
SECTIONS = tuple(SECTIONS.split("|"))
METRICS = ("acc", "balanced_acc", "auc", "f1", "sensitivity", "specificity", "ece")
PROPORTIONS = ("acc", "balanced_acc", "sensitivity", "specificity")


@pytest.fixture(scope="module")
def results(built) -> dict[str, dict]:
    return {name: built.result(name) for name in CHAPTERS}


@pytest.fixture(scope="module")
def html(built) -> BeautifulSoup:
    page = (built.folder / "build/report/laporan.html").read_text("utf-8")
    return BeautifulSoup(page, "html.parser")


@pytest.fixture(scope="module")
def pdf(built) -> PdfReader:
    return PdfReader(built.folder / "build/report/laporan.pdf")


def comma(value: float, digits: int) -> str:
    """1234.5 → '1.234,5', written here once more to check the report's own way of writing."""
    swapped = str.maketrans(",.-", ".,−")
    return f"{value:,.{digits}f}".translate(swapped)


def text_of(tag) -> str:
    return " ".join(tag.get_text(" ", strip=True).split())


def test_make_report_gives_html_and_pdf(built):
    folder = built.folder / "build/report"
    for name in (*CHAPTERS, "laporan"):
        page = (folder / f"{name}.html").read_text("utf-8")
        assert BeautifulSoup(page, "html.parser").main.h1
    assert len(PdfReader(folder / "laporan.pdf").pages) >= 8


def test_the_test_table_says_what_the_results_say(html, results):
    body, rows = results["02_pelatihan"], html.find(id="tbl-uji").tbody.find_all("tr")
    for name, row in zip(METRICS, rows, strict=True):
        _, *said = [text_of(cell) for cell in row.find_all(["th", "td"])]
        expected = []
        for metric in (body["test"][name], body["test_last"][name]):
            scale, digits, sign = (100, 1, "%") if name in PROPORTIONS else (1, 3, "")
            expected.append(comma(scale * metric["value"], digits) + sign)
            bounds = metric.get("ci95", ())  # the calibration error has none
            expected.append("–".join(comma(scale * bound, digits) for bound in bounds) or "–")
        assert said == expected


def at(results: dict[str, dict], path: str):
    """The value at "02_pelatihan.history[3].val_loss" of the results; ".length" counts."""
    found = results
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        if name == "length" and not (isinstance(found, dict) and name in found):
            return len(found)
        found = found[int(index)] if index else found[name]
    return found


def computed(built, name: str) -> list[tuple[dict, dict]]:
    """(data, metadata) of each figure, table and text that an executed notebook shows."""
    cells = nbformat.read(built.folder / f"build/notebooks/{name}.ipynb", 4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    marked = [(o["data"], o["metadata"].get(chapter.KEY)) for o in outputs if "data" in o]
    return [(data, mark) for data, mark in marked if mark and mark["kind"] != "cover"]


@pytest.mark.parametrize("name", (*CHAPTERS, "laporan"))
def test_every_printed_number_is_that_of_its_place_in_the_results(built, results, name):
    """A number without its place stops the notebook (tests/test_chapter.py)."""
    checked = 0
    for data, mark in computed(built, name):
        parts = (data.get("text/markdown"), mark.get("caption"), mark.get("alt"))
        words = " ".join(part for part in parts if part)
        for one in mark.get("printed", []):
            written = chapter.FORMATS[one["format"]](at(results, one["path"]), *one["options"])
            assert one["text"] == written and written in words, one
            words = words.replace(written, " ", 1)
            checked += 1
        for key in mark.get("source", []):
            at(results, key)  # each figure and table names what it was made from
    assert checked > 25, checked


def test_html_is_indonesian_with_the_sections_of_the_course_and_a_short_abstract(html):
    assert html.html["lang"] == "id"
    headings = [text_of(heading) for heading in html.main.find_all("h1")]
    for number, section in enumerate(SECTIONS, start=1):
        assert f"{number} {section}" in headings
    abstract = html.find(class_="abstrak").p.get_text()
    assert len(abstract.split()) <= 100
    assert len(html.header.find(class_="kotak").find_all("li")) == 3


PAGES, WORDS, DECIMALS, INTERVALS = 12, 4800, 300, 25


def test_the_body_of_the_report_stays_short(html, pdf):
    """Front page and chapters, up to the first chapter of the appendix."""
    parts = html.find(class_="badan").find_all(recursive=False)
    appendix = next(part for part in parts if part.h1 and text_of(part.h1).startswith("A "))
    body = [html.header, *parts[: parts.index(appendix)]]
    said = " ".join(part.get_text(" ") for part in body)
    running = [p.get_text() for part in body for p in part.find_all(["p", "li"])]
    titles = [entry for entry in pdf.outline if not isinstance(entry, list)]
    begins = next(entry for entry in titles if entry.title.startswith("A "))
    assert pdf.get_destination_page_number(begins) <= PAGES
    assert 1000 < len(said.split()) <= WORDS
    assert len(re.findall(r"\d,\d", said)) <= DECIMALS
    assert sum(words.count("IK 95%") for words in running) <= INTERVALS


def test_every_figure_is_named_and_has_a_text(html):
    inner = {a["href"][1:] for a in html.find_all("a", href=re.compile("^#"))}
    assert all(len(image["alt"]) > 20 for image in html.find_all("img"))
    # the one of the front page needs no name; that of the starts is "di atas"
    named = inner | {"fig-ringkasan", "tbl-awal"}
    assert not {tag["id"] for tag in html.find_all("figure")} - named, "never named"


def test_both_pages_say_who_and_what_and_the_pdf_has_text_on_every_page(html, pdf, results):
    texts = [page.extract_text() for page in pdf.pages]
    assert all(len(text) > 100 for text in texts)
    whole, cover = " ".join(" ".join(texts).split()), text_of(html.find("header"))
    origin = results["02_pelatihan"]["provenance"]
    said = ["Siti <b>Rahma</b> & Co $x", "13/22.TK-01", "Fantom toraks", "Bobot acak", "smoke"]
    for words in (*said, origin["commit"], origin["device"]["name"]):
        assert words in cover, words
    for words in (*said, "bukan alat medis", *SECTIONS):
        assert words in whole, words


def test_pdf_is_tagged_titled_indonesian_with_embedded_fonts_and_outline(pdf):
    catalog = pdf.trailer["/Root"]
    assert catalog["/Lang"] == "id" and catalog["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in catalog
    assert pdf.metadata.title and pdf.metadata.author == "Siti <b>Rahma</b> & Co $x"
    titles = [entry.title for entry in pdf.outline if not isinstance(entry, list)]
    assert [title for title in titles if title.endswith(SECTIONS)]
    for page in pdf.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            descriptor = font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"]
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descriptor)
