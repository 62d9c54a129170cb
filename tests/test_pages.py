"""The pages that people look at, in a real browser: report and notebooks as HTML, JupyterLab itself; and the PDF beside them."""

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup
from playwright.sync_api import expect
from pypdf import PdfReader

from cxr_helpers import show
from cxr_helpers.engine import files, results
from report import exporters
from tests.conftest import ROOT, environment

AXE = ROOT / "tests/node_modules/axe-core/axe.min.js"
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
PAGES = ["laporan", *NOTEBOOKS]
NASTY = r"""O'"Hara" \n <script>alert(1)</script> #let x = 1 $y$ \textbf{a} *m* _e_ [l](http://x) @he2016 {{ 7*7 }} `c` ]) // %d"""


def report_file(built, name: str) -> Path:
    return built.folder / f"build/report/{name}.html"


@pytest.fixture
def page(chromium):
    """A page with a profile of its own, 1280 pixels wide."""
    opened = chromium.new_page(viewport={"width": 1280, "height": 900})
    yield opened
    opened.close()


# --- HTML -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_alone_and_quiet(built, page, name):
    requests, errors = [], []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on(
        "console", lambda message: errors.append(message.text) if message.type == "error" else None
    )
    for width, scheme, media in (
        (1280, "light", "screen"),
        (360, "dark", "screen"),
        (800, "light", "print"),
    ):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme, media=media)
        page.goto(report_file(built, name).as_uri())
        assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 50)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, (
            "the page scrolls sideways"
        )
    assert requests == 3 * [report_file(built, name).as_uri()]
    assert errors == []
    expect(page.locator("nav"), "the contents are printed").to_have_css("display", "none")


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(built, page, name):
    page.goto(report_file(built, name).as_uri())
    assert page.locator('nav a[href^="#"]').count() >= 4
    links = page.evaluate(
        "[...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))"
    )
    targets = {
        f"#{name}"
        for name in page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    }
    assert not {unquote(link) for link in links if link.startswith("#")} - targets
    beside = {link.partition("#")[0] for link in links if re.match(r"\w+\.html", link)}
    assert beside == ({f"{n}.html" for n in NOTEBOOKS} if name == "laporan" else {"laporan.html"})
    assert all((report_file(built, name).parent / link).exists() for link in beside)


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(built, page, name, scheme):
    if not AXE.exists():
        if os.environ.get("CXR_NEED_AXE"):
            pytest.fail("axe-core is not installed: npm ci --prefix tests")
        pytest.skip("axe-core is not installed (npm ci --prefix tests)")
    page.emulate_media(color_scheme=scheme)
    page.goto(report_file(built, name).as_uri())
    page.evaluate(
        AXE.read_text("utf-8") + "; true"
    )  # not as a script tag: the page itself forbids scripts
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    found = "axe.run().then(r => r.violations.map(v => [v.id, v.nodes.slice(0, 3).map(n => n.html.slice(0, 200))]))"
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(found) == [], width


def test_a_folded_answer_opens_without_a_script(built, page):
    page.goto(report_file(built, "03_analisis_overfitting").as_uri())
    answer = page.locator("details.lipat").first
    assert answer.get_attribute("open") is None
    answer.locator("summary").press("Enter")
    assert answer.get_attribute("open") is not None and len(answer.inner_text()) > 100


# --- free text ------------------------------------------------------------------------------------------------------


COVER = """
{% macro title() %}{{ r.text | aman }}{% endmacro %}
{% macro subtitle() %}Uji{% endmacro %}
{% macro facts() %}- Data | {{ r.text | aman }}{% endmacro %}
{% macro abstract() %}Ringkasan.{% endmacro %}
{% macro date() %}1 Januari 2026{% endmacro %}
"""


@pytest.fixture
def nasty(tmp_path, monkeypatch):
    """A notebook whose cover carries what people may type, and that text."""
    shown, text = [], NASTY + " 😀 محمد"
    monkeypatch.delenv(files.RESULTS, raising=False)
    monkeypatch.setattr(show, "TEXTS", tmp_path)
    monkeypatch.setattr(show, "display", lambda data, raw, metadata: shown.append((data, metadata)))
    (tmp_path / "uji.md.j2").write_text(COVER, encoding="utf-8")
    results.write("uji", {"text": text}, {"clock": time.time()}, tmp_path)
    show.cover(show.Chapter("uji", tmp_path), {"Nama": text, "NIM": text}, "2026-01-01T00:00:00")
    outputs = [
        nbformat.v4.new_output("display_data", data=data, metadata=metadata)
        for data, metadata in shown
    ]
    cells = [
        nbformat.v4.new_code_cell("", outputs=outputs),
        nbformat.v4.new_markdown_cell("# Bagian\n\nIsi."),
    ]
    return nbformat.v4.new_notebook(cells=cells), text


def test_free_text_stays_text_in_html(nasty):
    notebook, text = nasty
    html = BeautifulSoup(exporters.LaporanHTML().from_notebook_node(notebook)[0], "html.parser")
    assert not html.find_all("script") and not html.main.find_all(["strong", "em", "math"])
    assert not [a for a in html.find_all("a") if "http://x" in a["href"]]
    for shown in (html.find("h1"), *html.header.find_all("dd")[:2], html.title):
        assert " ".join(shown.get_text().split()) == " ".join(text.split())


def test_free_text_stays_text_in_pdf(nasty, tmp_path):
    (tmp_path / "nasty.pdf").write_bytes(exporters.LaporanPDF().from_notebook_node(nasty[0])[0])
    whole = "".join(
        " ".join(p.extract_text() for p in PdfReader(tmp_path / "nasty.pdf").pages).split()
    )
    assert whole.count("".join(NASTY.split())) >= 3


# --- the PDF beside the HTML ----------------------------------------------------------------------------------------


def test_the_same_notebook_gives_the_same_bytes(built):
    notebook = built.folder / "build/notebooks/laporan.ipynb"
    for kind in ("html", "pdf"):
        exporters.export(notebook, built.folder / f"again.{kind}", kind)
        assert (built.folder / f"again.{kind}").read_bytes() == (
            built.folder / f"build/report/laporan.{kind}"
        ).read_bytes()


def on_pages(said: str, text: str) -> bool:
    """Whether a sentence stands in the text of the pages, whole or with the end of one page within it."""
    return any(said[:cut] in text and said[cut:] in text for cut in range(len(said)))


def test_pdf_and_html_say_the_same(built):
    html = BeautifulSoup(report_file(built, "laporan").read_text("utf-8"), "html.parser")
    paper = PdfReader(built.folder / "build/report/laporan.pdf")
    squeezed = "".join("".join(p.extract_text() for p in paper.pages).split())
    for said in [*html.main.find_all("figcaption"), *html.main.find_all("p", class_=False)]:
        if not said.find("math"):
            words = said.get_text(" ", strip=True)
            for part in re.split(r"(?<=\.) ", words):  # a page may end between two sentences
                assert on_pages("".join(part.split()), squeezed), part
    for kind, tags in (
        ("Gambar", html.select("figure:not(.tabel) > figcaption")),
        ("Tabel", html.select(".tabel > figcaption")),
    ):
        numbers = [
            int(re.match(rf"{kind} (\d+)\.", tag.get_text(" ", strip=True))[1]) for tag in tags
        ]
        assert numbers == list(range(1, len(tags) + 1))
    number = re.compile(r"\d+,\d+")
    in_tables = Counter(
        number.findall(
            " ".join(c.get_text(" ", strip=True) for c in html.main.find_all(["td", "th"]))
        )
    )
    on_paper = Counter(number.findall(" ".join(p.extract_text() for p in paper.pages)))
    assert in_tables and not in_tables - on_paper


def test_nbconvert_itself_typesets_any_notebook(built):
    folder = built.folder / "build/notebooks"
    command = [
        sys.executable,
        "-m",
        "nbconvert",
        "--to",
        "report.exporters.LaporanPDF",
        "--output-dir",
        str(built.folder / "alone"),
    ]
    done = subprocess.run(
        [*command, str(folder / "02_pelatihan.ipynb")],
        cwd=built.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(PdfReader(built.folder / "alone/02_pelatihan.pdf").pages) >= 5


# --- JupyterLab -----------------------------------------------------------------------------------------------------


@pytest.fixture
def lab(built, tmp_path):
    """JupyterLab on the loopback address over the project whose runs are there already; gives the address of a notebook."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folders = {
        name: str(tmp_path / name)
        for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    }
    folders |= {
        f"JUPYTERLAB_{name}_DIR": str(tmp_path / name) for name in ("SETTINGS", "WORKSPACES")
    }
    options = [
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--IdentityProvider.token=uji",
        "--expose-app-in-browser",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, "--notebook-dir=."],
        cwd=built.folder,
        env={**environment(), **folders, "PYTHONPATH": str(built.folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api?token=uji", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/notebooks/{name}?token=uji"
    finally:
        process.terminate()
        process.wait(30)


def test_notebook_01_runs_in_jupyterlab_and_its_widgets_answer(
    built, lab, page
):  # page ends before lab, which it still asks
    notebook = nbformat.read(built.folder / "notebooks/01_adaptasi_bobot.ipynb", 4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    for name, value in (
        ("data", "phantom"),
        ("weights", "random"),
        ("preset", "smoke"),
        ("build", "build-lab"),
    ):
        cell.source = re.sub(rf'^{name} = "\w+"', f'{name} = "{value}"', cell.source, flags=re.M)
    nbformat.write(notebook, built.folder / "notebooks/coba.ipynb")
    page.goto(lab("coba.ipynb"))
    page.wait_for_function(
        "window.jupyterapp?.shell.currentWidget?.content?.model?.cells?.length > 10",
        timeout=180_000,
    )
    content, session = (
        f"jupyterapp.shell.currentWidget.{part}" for part in ("content", "sessionContext")
    )
    page.wait_for_function(f"{session}.session?.kernel?.status === 'idle'", timeout=180_000)
    assert page.evaluate(f"{session}.kernelDisplayName").startswith("Python 3")
    page.evaluate("jupyterapp.commands.execute('notebook:run-all-cells'); true")
    cells = f"{content}.model.toJSON().cells.filter(c => c.cell_type === 'code')"
    failed = (
        f"{cells}.flatMap(c => c.outputs).filter(o => o.output_type === 'error').map(o => o.evalue)"
    )
    page.wait_for_function(
        f"{cells}.every(c => c.execution_count) || {failed}.length", timeout=240_000, polling=500
    )
    assert page.evaluate(failed) == []
    for key, shown in (
        ("#ref-he2016", page.get_by_role("link", name="(He dkk. 2016)")),
        ("references(", page.get_by_text("He, Kaiming")),
    ):
        cell = next(i for i, c in enumerate(notebook.cells) if key in c.source)
        page.evaluate(f"{content}.scrollToItem({cell}, 'center').then(() => true)")
        expect(shown.first).to_be_in_viewport(timeout=90_000)
    at = next(i for i, c in enumerate(notebook.cells) if "widgets.show" in c.source)
    page.evaluate(
        f"{content}.activeCellIndex = {at}; {content}.scrollToItem({at}, 'center').then(() => true)"
    )
    picture = page.locator("img.jupyter-widgets, .jupyter-widgets img").first
    before = picture.get_attribute("src")
    page.locator(".jupyter-widgets select").nth(1).select_option(index=4)
    expect(picture).not_to_have_attribute("src", before, timeout=90_000)
    if os.environ.get("CXR_PICTURES"):
        page.screenshot(path=Path(os.environ["CXR_PICTURES"]) / "lab.png")
