"""The pages that people look at, in a real browser, and the PDF beside them."""

import os
import re
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect
from pypdf import PdfReader

from tests.conftest import ROOT

AXE = ROOT / "tests/node_modules/axe-core/axe.min.js"
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
PAGES = ["laporan", *NOTEBOOKS]
# Pictures are there, in the page's own typeface, and what is folded has the triangle that says so.
LAID_OUT = """[...document.images].every(i => i.complete && i.naturalWidth > 50)
&& [...document.fonts].filter(f => f.status === 'loaded').length > 2
&& [...document.querySelectorAll('summary')].every(s => getComputedStyle(s).display === 'list-item')
"""


def report_file(built, name: str) -> Path:
    return built.folder / f"build/report/{name}.html"


@pytest.fixture
def page(chromium):
    """A page with a profile of its own, 1280 pixels wide."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(180_000)  # the tests share a busy computer
    yield opened
    opened.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_alone_and_quiet_and_its_links_lead_somewhere(built, page, name):
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    address = report_file(built, name).as_uri()
    page.goto(address)
    for width, media in ((1280, "screen"), (1100, "screen"), (360, "screen"), (800, "print")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(media=media)
        # another width or medium may load a picture or a font
        tries = (page.evaluate(LAID_OUT) or page.wait_for_timeout(100) for _ in range(100))
        assert any(tries), "pictures, fonts or triangles are missing"
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "scrolls sideways"
    expect(page.locator("nav"), "the contents are printed").to_have_css("display", "none")
    assert requests == [address] and errors == []
    assert page.locator('nav a[href^="#"]').count() >= 4
    links = page.evaluate("[...document.links].map(a => a.getAttribute('href'))")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => '#' + e.id)")
    assert not {unquote(link) for link in links if link.startswith("#")} - set(ids)
    beside = {link.partition("#")[0] for link in links if re.match(r"\w+\.html", link)}
    others = NOTEBOOKS if name == "laporan" else ["laporan"]
    assert beside == {f"{page}.html" for page in ("index", *others)}


@pytest.mark.parametrize("name", ["index", *PAGES])
def test_axe_finds_no_violation_in_light_and_dark(built, page, name):
    """The report at each width that changes its layout; the notebooks' pages are of its kind."""
    if not AXE.exists():
        if os.environ.get("CXR_NEED_AXE"):
            pytest.fail("axe-core is not installed: npm ci --prefix tests")
        pytest.skip("axe-core is not installed (npm ci --prefix tests)")
    page.goto(report_file(built, name).as_uri())
    page.evaluate(AXE.read_text("utf-8") + "; true")  # the page itself forbids script tags
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    violations = "v => [v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))]"
    for width in (390, 768, 1280) if name == "laporan" else (1280,):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = page.evaluate(f"axe.run().then(r => r.violations.map({violations}))")
            assert found == [], (width, scheme)


def on_pages(said: str, text: str) -> bool:
    """Whether the pages' text holds a sentence, whole or with the end of one page within it."""
    return any(said[:cut] in text and said[cut:] in text for cut in range(len(said)))


def test_pdf_and_html_say_the_same(built):
    html = BeautifulSoup(report_file(built, "laporan").read_text("utf-8"), "html.parser").main
    for source in html.find_all("small"):  # where a number stands is a link of the page
        source.decompose()
    paper = PdfReader(built.folder / "build/report/laporan.pdf")
    pages = [page.extract_text() for page in paper.pages]
    squeezed = "".join("".join(pages).split())
    for said in [*html.find_all("figcaption"), *html.find_all("p", class_=False)]:
        if not said.find("math"):
            words = said.get_text(" ", strip=True)
            for part in re.split(r"(?<=\.) ", words):  # a page may end between two sentences
                assert on_pages("".join(part.split()), squeezed), part
    cells = [cell.get_text(" ", strip=True) for cell in html.find_all(["td", "th"])]
    in_tables, on_paper = (Counter(re.findall(r"\d+,\d+", " ".join(x))) for x in (cells, pages))
    assert in_tables and not in_tables - on_paper
