"""How the report lies on its pages: nothing cut off, no half-empty page, tables that fit, HTML and PDF as their standards ask."""

import copy
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import typst
from bs4 import BeautifulSoup
from PIL import Image
from pypdf import PdfReader
from pypdf.generic import ArrayObject, DictionaryObject

from cxr_helpers import remedies, show
from cxr_helpers.engine import files
from report import exporters
from tests.conftest import ROOT
from tests.test_pages import PAGES, page, report_file  # noqa: F401 - page is a fixture

VALIDATOR = ROOT / "tests/node_modules/.bin/html-validate"
TOP, BOTTOM, SIDE = (
    27 / 297,
    1 - 25 / 297,
    15 / 210,
)  # the margins of laporan.typ; a wide table may reach into those at the sides


def pictures(pdf: Path) -> list[np.ndarray]:
    """Each page of a PDF as (height, width) grey values 0–255, a pixel about 0.7 mm; drawn by Typst, which reads PDFs too."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(pdf, f"{folder}/it.pdf")
        each = (
            f'#image("it.pdf", page: {i + 1}, width: 210mm)'
            for i in range(len(PdfReader(pdf).pages))
        )
        Path(folder, "it.typ").write_text(
            "#set page(width: 210mm, height: 297mm, margin: 0mm)\n" + "\n".join(each)
        )
        drawn = typst.compile(f"{folder}/it.typ", format="png", ppi=36)
    return [np.asarray(Image.open(io.BytesIO(one)).convert("L")) for one in drawn]


def emptiest(picture: np.ndarray) -> float:
    """The largest stretch of a page without ink between its margins, as a share of the height between them."""
    height = len(picture)
    inked = np.flatnonzero((picture < 200).any(1)[int(TOP * height) : int(BOTTOM * height)])
    room = int(BOTTOM * height) - int(TOP * height)
    return float(np.diff([-1, *inked, room]).max() - 1) / room


@pytest.fixture(scope="module")
def paper(built) -> Path:
    return built.folder / "build/report/laporan.pdf"


def headings(pdf: PdfReader) -> list[tuple[str, int]]:
    """(title, page) of each heading, from the outline."""

    def walk(entries):
        for entry in entries:
            if isinstance(entry, list):
                yield from walk(entry)
            else:
                yield entry.title, pdf.get_destination_page_number(entry)

    return list(walk(pdf.outline))


def test_no_page_is_more_than_a_third_empty_but_before_a_new_chapter(paper):
    pdf = PdfReader(paper)
    chapters = {
        pdf.get_destination_page_number(entry)
        for entry in pdf.outline
        if not isinstance(entry, list)
    }
    shares = [emptiest(picture) for picture in pictures(paper)]
    assert emptiest(np.full((842, 595), 255)) > 0.98
    inner = {i: share for i, share in enumerate(shares[:-1]) if i + 1 not in chapters}
    assert len(inner) > 5 and max(inner.values()) <= 1 / 3, inner


def test_each_figure_stands_in_its_section(paper, built):
    pdf = PdfReader(paper)
    text = ["".join(one.extract_text().split()) for one in pdf.pages]
    starts = [("".join(title.split()), number) for title, number in headings(pdf)] + [
        ("", len(text))
    ]
    after = {title: number for (title, _), (_, number) in itertools.pairwise(starts)}
    html = BeautifulSoup(report_file(built, "laporan").read_text("utf-8"), "html.parser").main
    here, checked = "", 0
    for one in html.find_all(["h1", "h2", "figure"]):
        words = "".join(
            (one.figcaption if one.name == "figure" else one).get_text(" ", strip=True).split()
        )
        if one.name != "figure":
            here = words
        elif "tabel" not in one.get("class", []):
            (at,) = [i for i, there in enumerate(text) if words[:40] in there]
            assert dict(starts)[here] <= at <= after[here], words
            checked += 1
    assert checked > 10


@pytest.mark.parametrize("mark", ["=", "=="])
def test_a_figure_that_would_float_into_the_next_section_stays_in_its_own(tmp_path, mark):
    (tmp_path / "fig-a.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" width="100" height="60"/>'
    )
    shell = (exporters.TEMPLATES / "laporan.typ").read_text("utf-8")
    measured = shell[shell.index("#context {\n  let place") :]
    filled = '#set page(height: 200mm)\n= Satu\n#block(height: 120mm)[Gambar]\n#metadata("fig-a") <sebutan-gambar>\n'
    drawn = '#figure(image("fig-a.svg", width: 100%), placement: bottom, caption: [A.#metadata("fig-a") <letak-gambar>]) <fig-a>\n'
    late = filled + drawn + f"{mark} Dua\nIsi.\n" + measured
    assert "placement: none" in exporters._settled(tmp_path, late)
    fits = late.replace("120mm", "10mm").replace(f"{mark} Dua", f"#pagebreak()\n{mark} Dua")
    assert exporters._settled(tmp_path, fits) == fits


def test_the_literature_fills_both_columns_alike(paper):
    last = pictures(paper)[-1]
    height, width = last.shape
    halves = (
        last[int(TOP * height) : int(BOTTOM * height), : width // 2],
        last[int(TOP * height) : int(BOTTOM * height), width // 2 :],
    )
    ends = [np.flatnonzero((half < 200).any(1)).max() / height for half in halves]
    assert abs(ends[0] - ends[1]) < 0.1, ends


def test_nothing_is_cut_off_at_the_sides_of_the_paper(paper):
    for number, picture in enumerate(pictures(paper), start=1):
        side = int(SIDE * picture.shape[1])
        assert picture[:, :side].min() > 200 and picture[:, -side:].min() > 200, f"page {number}"


def test_no_heading_ends_a_page(paper):
    pdf = PdfReader(paper)
    for title, number in headings(pdf):
        lines = [
            line.strip() for line in pdf.pages[number].extract_text().splitlines() if line.strip()
        ]
        assert "".join(title.split()) not in "".join(" ".join(lines[-2:]).split()), (
            title,
            lines[-2:],
        )


# --- wide tables ----------------------------------------------------------------------------------------------------


@pytest.fixture
def whole_study(built, tmp_path, monkeypatch):
    """A notebook with the tables and the figure of a reference study that has every row, with the longest of each cell."""
    body = built.result("04_perbaikan")
    body["ensemble"] = body["cross_validation"] = None
    base, other = body["shown"][:2]
    estimate = {
        "value": -0.333,
        "ci95": [-0.365, -0.301],
        "p": None,
        "p_adjusted": None,
        "verdict": "belum dapat diputuskan",
    }
    body["shown"] = [base]
    for remedy in (*remedies.REMEDIES, remedies.CROSS_VALIDATION):
        row = copy.deepcopy(other) | {
            "name": remedy.name,
            "recommendation": remedy.recommendation,
            "title": remedy.title,
        }
        row |= {
            "predicts": estimate,
            "overfits": estimate,
            "trained_parameters": 11_168_193,
            "seconds": 86_399,
        }
        body["shown"].append(
            row | {"changed": {**remedy.changes, "augment": ["geometry", "exposure"]}}
        )
    body["shown"][-1]["title"] = "Gabungan pilihan validasi dengan nama yang sepanjang-panjangnya"
    (tmp_path / "results").mkdir()
    (tmp_path / "results/04_perbaikan.json").write_text(json.dumps(body), encoding="utf-8")
    monkeypatch.delenv(files.RESULTS, raising=False)
    shown = []
    monkeypatch.setattr(show, "display", lambda data, raw, metadata: shown.append((data, metadata)))
    chapter = show.Chapter("04_perbaikan", tmp_path)
    for id in ("tbl-perbaikan", "tbl-pendamping", "tbl-rincian"):
        chapter.table(id)
    chapter.figure("fig-selisih")
    outputs = [
        nbformat.v4.new_output("display_data", data=data, metadata=metadata)
        for data, metadata in shown
    ]
    cells = [
        nbformat.v4.new_markdown_cell("# Studi"),
        nbformat.v4.new_code_cell("", outputs=outputs),
    ]
    return nbformat.v4.new_notebook(cells=cells)


def test_the_tables_of_a_whole_study_fit(whole_study, page, tmp_path):  # noqa: F811
    (tmp_path / "studi.html").write_text(
        exporters.LaporanHTML().from_notebook_node(whole_study)[0], encoding="utf-8"
    )
    for width, media in ((1280, "screen"), (1024, "screen"), (800, "print"), (390, "screen")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(media=media)
        page.goto((tmp_path / "studi.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, width
        if width in (1280, 800):  # on a phone a table scrolls in a box of its own
            boxes = page.evaluate(
                "[...document.querySelectorAll('.gulir')].map(b => [b.scrollWidth, b.clientWidth])"
            )
            assert len(boxes) == 3 and all(inner <= outer for inner, outer in boxes), (width, boxes)


def test_no_table_of_the_report_scrolls_on_a_desktop(built, page):  # noqa: F811
    page.goto(report_file(built, "laporan").as_uri())
    ids = "[...document.querySelectorAll('.gulir')].filter(b => b.scrollWidth > b.clientWidth).map(b => b.parentElement.id)"
    assert page.evaluate(ids) == []


def test_the_tables_of_a_whole_study_fit_on_paper(whole_study, tmp_path):
    (tmp_path / "studi.pdf").write_bytes(exporters.LaporanPDF().from_notebook_node(whole_study)[0])
    text = "".join(one.extract_text() for one in PdfReader(tmp_path / "studi.pdf").pages)
    assert all(text.count(remedy.title.split()[0]) >= 3 for remedy in remedies.REMEDIES)
    test_nothing_is_cut_off_at_the_sides_of_the_paper(tmp_path / "studi.pdf")


NUMBER = re.compile(r"[+−–]?\d[\d.]*(?:,(\d+))?(?![\w×/])")


@pytest.mark.parametrize("name", PAGES)
def test_numbers_of_one_unit_stand_with_their_commas_under_each_other(built, name):
    """Flush right with equally many decimals: the digits of the typefaces are equally wide."""
    html = BeautifulSoup(report_file(built, name).read_text("utf-8"), "html.parser").main
    for grid in html.select("figure.tabel table"):
        heads = [head.get_text(" ", strip=True) for head in grid.thead.find_all("th")]
        metric = heads.index("Metrik") if "Metrik" in heads else None
        rows = [row.find_all(["th", "td"]) for row in grid.tbody.find_all("tr")]
        kinds = {row[metric].get_text() for row in rows} if metric is not None else {""}
        for kind, place in itertools.product(kinds, range(len(heads))):
            if heads[place] == "Sidik data" or heads[place].startswith(
                "Versi"
            ):  # names, which may be all digits
                continue
            cells = [row[place] for row in rows if metric is None or row[metric].get_text() == kind]
            texts = [cell.get_text(" ", strip=True) for cell in cells]
            found = {text: number for text in texts if (number := NUMBER.match(text))}
            if len(found) < 2 or any(text not in found and len(text) > 2 for text in texts):
                continue  # words, or numbers among them
            after = [
                re.sub(r"\d[\d.,]*", "0", text[number.end() :]) for text, number in found.items()
            ]
            if len(set(after)) == 1:
                where = (grid.find_parent("figure")["id"], texts)
                assert len({len(number[1] or "") for number in found.values()}) == 1, where
                assert all("text-align: right" in cell.get("style", "") for cell in cells), where


# --- standards ------------------------------------------------------------------------------------------------------


def test_html_validate_finds_nothing(built, tmp_path):
    if not VALIDATOR.exists():
        if os.environ.get("CXR_NEED_AXE"):
            pytest.fail("html-validate is not installed: npm ci --prefix tests")
        pytest.skip("html-validate is not installed (npm ci --prefix tests)")
    (tmp_path / "rules.json").write_text('{"root": true, "extends": ["html-validate:standard"]}')
    (tmp_path / "wrong.html").write_text("<p><div></p>")
    command = [str(VALIDATOR), "--config", str(tmp_path / "rules.json"), "--formatter", "json"]
    pages = [str(report_file(built, name)) for name in PAGES]
    done = subprocess.run(
        [*command, *pages, str(tmp_path / "wrong.html")], capture_output=True, text=True
    )
    found = {
        Path(one["filePath"]).name: [m["message"] for m in one["messages"]]
        for one in json.loads(done.stdout)
    }
    assert found.pop("wrong.html") and not found


def elements(node) -> list[DictionaryObject]:
    """Every structure element below a node of the PDF's tree of tags."""
    node, found = node.get_object(), []
    if isinstance(node, ArrayObject):
        return [one for kid in node for one in elements(kid)]
    if isinstance(node, DictionaryObject):
        found = [node] if "/S" in node else []
        found += elements(node["/K"]) if "/K" in node else []
    return found


def test_pdf_claims_and_carries_the_tags_of_pdf_ua(paper, built):
    root = PdfReader(paper).trailer["/Root"]
    assert "<pdfuaid:part>1</pdfuaid:part>" in root["/Metadata"].get_object().get_data().decode()
    assert root["/ViewerPreferences"]["/DisplayDocTitle"] and root["/Lang"] == "id"
    tags = elements(root["/StructTreeRoot"])
    kinds = [tag["/S"] for tag in tags]
    drawn = [tag for tag in tags if tag["/S"] in ("/Figure", "/Formula")]
    html = BeautifulSoup(report_file(built, "laporan").read_text("utf-8"), "html.parser").main
    assert kinds.count("/Figure") == len(html.find_all("img")) and kinds.count("/Table") == len(
        html.find_all("table")
    )
    assert all(str(tag.get("/Alt", "")).strip() for tag in drawn), [
        tag.get("/Alt") for tag in drawn
    ]
    assert kinds.count("/TH") >= kinds.count("/Table") and {"/H1", "/H2", "/Caption", "/L"} <= set(
        kinds
    )
