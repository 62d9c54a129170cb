"""How the report lies on its pages, and whether the HTML is as its standard asks."""

import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import typst
from PIL import Image
from pypdf import PdfReader

from tests.conftest import ROOT
from tests.test_pages import page  # noqa: F401 - a fixture

VALIDATOR = ROOT / "tests/node_modules/.bin/html-validate"
TOP, BOTTOM = 27 / 297, 1 - 25 / 297  # the margins of laporan.typ
SIDE = 15 / 210  # a wide table may reach into those at the sides


@pytest.fixture(scope="module")
def paper(built) -> PdfReader:
    return PdfReader(built.folder / "build/report/laporan.pdf")


@pytest.fixture(scope="module")
def drawn(built, paper, tmp_path_factory) -> list[np.ndarray]:
    """Each page as grey values, a pixel about 0.7 mm; drawn by Typst, which reads PDFs too."""
    folder = tmp_path_factory.mktemp("drawn")
    shutil.copy(built.folder / "build/report/laporan.pdf", folder / "it.pdf")
    paged = "#set page(width: auto, height: auto, margin: 0mm)\n"
    images = [f'#image("it.pdf", page: {i + 1})' for i in range(len(paper.pages))]
    (folder / "it.typ").write_text("\n#pagebreak()\n".join([paged + images[0], *images[1:]]))
    each = typst.compile(str(folder / "it.typ"), format="png", ppi=36)
    return [np.asarray(Image.open(io.BytesIO(one)).convert("L")) for one in each]


def test_no_page_is_more_than_a_third_empty_but_before_a_new_chapter(drawn, paper):
    titles = [entry for entry in paper.outline if not isinstance(entry, list)]
    chapters = {paper.get_destination_page_number(title) for title in titles}
    shares = {}
    for place, picture in enumerate(drawn[:-1]):
        inked = (picture[int(TOP * len(picture)) : int(BOTTOM * len(picture))] < 200).any(axis=1)
        stretches = np.diff([-1, *np.flatnonzero(inked), len(inked)]) - 1
        turned = picture.shape[1] > picture.shape[0]  # for tables of which none is broken
        if place + 1 not in chapters and not turned:
            shares[place] = stretches.max() / len(inked)
    assert len(shares) > 5 and max(shares.values()) <= 1 / 3, shares


def test_nothing_is_cut_off_at_the_sides_of_the_paper(drawn):
    for place, picture in enumerate(drawn):
        side = int(SIDE * picture.shape[1])
        assert picture[:, :side].min() > 200 and picture[:, -side:].min() > 200, place


def test_the_tables_fit_on_a_screen_and_on_paper(built, page):  # noqa: F811
    """A smoke report on the phantom shows every remedy of the reference study."""
    scrolled = "[...document.querySelectorAll('.gulir')].filter(b => b.scrollWidth > b.clientWidth)"
    page.goto((built.folder / "build/report/laporan.html").as_uri())
    assert page.evaluate("document.querySelectorAll('.gulir').length") > 10
    for width, media in ((1280, "screen"), (800, "print")):  # on a phone a table scrolls in a box
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(media=media)
        assert page.evaluate(f"{scrolled}.map(b => b.parentElement.id)") == [], width


def test_html_validate_finds_nothing(built, tmp_path):
    if not VALIDATOR.exists():
        if os.environ.get("CXR_NEED_AXE"):
            pytest.fail("html-validate is not installed: npm ci --prefix tests")
        pytest.skip("html-validate is not installed (npm ci --prefix tests)")
    (tmp_path / "rules.json").write_text('{"root": true, "extends": ["html-validate:standard"]}')
    (tmp_path / "wrong.html").write_text("<p><div></p>")
    pages = [*(built.folder / "build/report").glob("*.html"), tmp_path / "wrong.html"]
    command = [VALIDATOR, "--config", tmp_path / "rules.json", "--formatter", "json", *pages]
    done = subprocess.run(command, capture_output=True, text=True)
    assert {Path(one["filePath"]).name for one in json.loads(done.stdout)} == {"wrong.html"}
