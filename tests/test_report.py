"""The smoke report, made by real make, papermill, nbconvert, pandoc and typst: is it whole, honest and legible?"""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from cxr_helpers import show

FILES = (
    "01_adaptasi_bobot",
    "02_pelatihan",
    "03_analisis_overfitting",
    "04_perbaikan",
    "05_percobaan",
)
SECTIONS = (
    "Perubahan Arsitektur",
    "Perubahan Pelatihan",
    "Analisis Hasil",
    "Perbaikan",
    "Percobaan",
    "Kesimpulan",
)
METRICS = ("acc", "balanced_acc", "auc", "f1", "sensitivity", "specificity", "ece")


@pytest.fixture(scope="module")
def results(built) -> dict[str, dict]:
    return {
        name: json.loads((built.folder / f"build/results/{name}.json").read_text("utf-8"))
        for name in FILES
    }


@pytest.fixture(scope="module")
def html(built) -> BeautifulSoup:
    return BeautifulSoup(
        (built.folder / "build/report/laporan.html").read_text("utf-8"), "html.parser"
    )


@pytest.fixture(scope="module")
def pdf(built) -> PdfReader:
    return PdfReader(built.folder / "build/report/laporan.pdf")


def comma(value: float, digits: int) -> str:
    """1234.5 → '1.234,5', written here once more so that the report's own way of writing is checked."""
    whole, _, rest = f"{abs(value):.{digits}f}".partition(".")
    groups = re.sub(r"(?<=\d)(?=(\d{3})+$)", ".", whole)
    return (
        ("−" if f"{value:.{digits}f}".startswith("-") else "")
        + groups
        + (f",{rest}" if rest else "")
    )


def cells(html: BeautifulSoup, id: str) -> list[list[str]]:
    return [
        [c.get_text(" ", strip=True) for c in row.find_all(["th", "td"])]
        for row in html.find(id=id).tbody.find_all("tr")
    ]


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_each_results_file_says_where_it_comes_from(results, name):
    origin = results[name]["provenance"]
    assert results[name]["schema"] == 1
    assert set(origin) >= {
        "data",
        "weights",
        "preset",
        "seed",
        "device",
        "packages",
        "commit",
        "started",
        "seconds",
    }
    assert set(origin["data"]) >= {"kind", "fingerprint", "counts"}
    assert origin["preset"]["name"] == "smoke" and origin["data"]["kind"] == "phantom"


def test_the_network_learned(results):
    history = results["02_pelatihan"]["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_every_metric_lies_in_its_interval(results):
    judged = [
        results["02_pelatihan"]["test"],
        *(v["test"] for v in results["04_perbaikan"]["variants"]),
    ]
    for test in judged:
        for name in [name for name in METRICS if name in test]:
            low, high = test[name]["ci95"]
            assert low <= test[name]["value"] <= high, name


def test_accuracy_is_that_of_the_confusion_matrix(results):
    test, matrix = results["02_pelatihan"]["test"], results["02_pelatihan"]["confusion"]
    assert test["n"] == sum(map(sum, matrix))
    assert test["acc"]["value"] == pytest.approx((matrix[0][0] + matrix[1][1]) / test["n"])
    assert test["sensitivity"]["value"] == pytest.approx(matrix[1][1] / sum(matrix[1]))


# --- numbers in the report ------------------------------------------------------------------------------------------


def test_the_test_table_says_what_the_results_say(html, results):
    body = results["02_pelatihan"]
    for name, row in zip(METRICS, cells(html, "tbl-uji"), strict=True):
        for which, value, ci in (("test", row[1], row[2]), ("test_last", row[3], row[4])):
            percent = name in ("acc", "balanced_acc", "sensitivity", "specificity")
            scale, digits = (100, 1) if percent else (1, 3)
            metric = body[which][name]
            assert value == comma(scale * metric["value"], digits) + "%" * percent
            assert ci == "–".join(comma(scale * bound, digits) for bound in metric["ci95"])


def test_beside_each_count_of_images_stands_that_of_their_patients(results):
    one, three = results["01_adaptasi_bobot"], results["03_analisis_overfitting"]
    rows = [
        three["confident_errors"],
        three["attribution"],
        *filter(None, three["attribution"]["regions"].values()),
    ]
    counted = [(row["n"], row["patients"]) for row in (*rows, *three["subgroups"])] + [
        (one["n_images"], one["n_patients"])
    ]
    for row, names in (
        (three["memorisation"], ("correct", "flipped")),
        *((tube, ("with", "without")) for tube in three["tube"]),
    ):
        counted += [(row[f"n_{name}"], row[f"patients_{name}"]) for name in names]
    assert all((n == 0) == (patients == 0) and patients <= n for n, patients in counted), counted


def test_beside_the_calibration_error_of_the_test_split_stands_that_of_chance(results):
    for one in results["02_pelatihan"]["calibration"].values():
        low, high = one["ece_chance"]["range95"]
        assert low < one["ece_chance"]["value"] < high and one["beyond_chance"] is (
            one["ece_measured"] > high
        )


def test_the_lesson_on_leakage_takes_the_best_epoch_of_either_split(results):
    body = results["02_pelatihan"]
    lesson, val_acc = body["leakage"], [row["val_acc"] for row in body["history"]]
    for which, epoch in (
        ("honest", int(np.argmax(val_acc))),
        ("course", int(np.argmax(lesson["test_acc"]))),
    ):
        assert lesson[which] == [epoch + 1, lesson["test_acc"][epoch]]
        low, high = lesson[f"{which}_ci95"]
        assert low <= lesson["test_acc"][epoch] <= high
    low, high = lesson["flattery"]["ci95"]
    assert low <= lesson["flattery"]["value"] == lesson["course"][1] - lesson["honest"][1] <= high


def test_the_remedies_table_says_what_the_results_say(html, results):
    for variant, row in zip(
        results["04_perbaikan"]["shown"], cells(html, "tbl-perbaikan"), strict=True
    ):
        assert row[0] == variant["title"] and row[8] == str(len(variant["seeds"]))
        assert row[6] == comma(variant["test"]["auc"]["value"], 3)
        for question, place, scale, digits in (("predicts", 3, 1, 3), ("overfits", 5, 100, 1)):
            one = variant[question]
            assert row[place].split(" (")[0].lstrip("+") == (
                "–" if one is None else comma(scale * one["value"], digits)
            )
            assert row[place - 1].startswith(variant["verdict"] if one is None else one["verdict"])


def test_the_readers_own_rows_are_placed_among_the_reference(html, results):
    body = results["04_perbaikan"]
    assert body["source"] == "reference" and body["repeated"][0]["verdict"] == "pembanding"
    for placed, row in zip(body["repeated"], cells(html, "tbl-pengulangan"), strict=True):
        assert row[0] == body["variants"][placed["row"]]["title"] and row[1] == comma(
            placed["auc"]["value"], 3
        )


def at(results: dict[str, dict], path: str):
    """The value at "02_pelatihan.history[3].val_loss" of the results files; ".length" at the end counts."""
    found = results
    for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", path):
        if name == "length" and not (isinstance(found, dict) and name in found):
            return len(found)
        found = found[int(index)] if index else found[name]
    return found


def computed(notebook: Path) -> list[tuple[dict, dict]]:
    """(data, metadata) of each figure, table and text that an executed notebook shows."""
    outputs = [
        o for cell in nbformat.read(notebook, as_version=4).cells for o in cell.get("outputs", [])
    ]
    marked = [
        (o["data"], o["metadata"][show.KEY]) for o in outputs if show.KEY in o.get("metadata", {})
    ]
    return [(data, mark) for data, mark in marked if mark["kind"] != "cover"]


@pytest.mark.parametrize("name", (*FILES, "laporan"))
def test_every_printed_number_is_that_of_its_place_in_the_results(built, results, name):
    """Nothing else can be printed: a template that prints a number without its place stops the notebook (tests/test_show.py)."""
    checked = 0
    for data, mark in computed(built.folder / f"build/notebooks/{name}.ipynb"):
        words = " ".join(
            part
            for part in (data.get("text/markdown"), mark.get("caption"), mark.get("alt"))
            if part
        )
        for one in mark.get("printed", []):
            checked += 1
            assert one["text"] == show.FORMATS[one["format"]](
                at(results, one["path"]), *one["options"]
            ), one
            assert one["text"] in words, one
            words = words.replace(one["text"], " ", 1)
        for key in mark.get("source", []):
            at(results, key)  # each figure and table names what it was made from
    assert checked > 25, checked


def test_the_page_shows_the_numbers_that_the_report_printed(built, html):
    whole = " ".join(html.main.get_text(" ", strip=True).split())
    for data, mark in computed(built.folder / "build/notebooks/laporan.ipynb"):
        place = (
            whole
            if mark["kind"] == "prose"
            else " ".join(html.find(id=mark["id"]).get_text(" ", strip=True).split())
        )
        shown = " ".join(part for part in (data.get("text/markdown"), mark.get("caption")) if part)
        for one in mark.get("printed", []):
            if one["text"] in shown:  # the others are of alternative texts
                assert one["text"] in place, one


# --- HTML -----------------------------------------------------------------------------------------------------------


def test_html_is_indonesian_with_the_sections_of_the_course(html):
    assert html.html["lang"] == "id"
    headings = [h.get_text(" ", strip=True) for h in html.main.find_all("h1")]
    for number, section in enumerate(SECTIONS, start=1):
        assert any(h.split(" ", 1) == [str(number), section] for h in headings), headings


def test_cover_says_who_data_weights_and_preset(html, results):
    text = html.find("header").get_text(" ", strip=True)
    assert "Siti <b>Rahma</b> & Co $x" in text and "13_22*01" in text
    assert "Fantom" in text and "Bobot acak" in text and "smoke" in text
    origin = results["02_pelatihan"]["provenance"]
    for fact in (
        origin["data"]["note"],
        origin["weights"]["note"],
        origin["device"]["name"],
        origin["commit"],
    ):
        assert fact in text


def test_every_reference_has_a_target_and_every_figure_a_text(html):
    ids = [tag["id"] for tag in html.find_all(id=True)]
    assert len(ids) == len(set(ids))
    inner = [a["href"][1:] for a in html.find_all("a", href=re.compile("^#"))]
    assert inner and set(inner) <= set(ids)
    assert all(len(image["alt"]) > 20 for image in html.find_all("img"))
    shown = {tag["id"] for tag in html.find_all("figure")}
    assert all(table.find_parent("figure") for table in html.main.find_all("table"))
    assert shown <= set(inner), f"never referred to: {shown - set(inner)}"


def test_a_caption_does_not_scroll_away_with_its_table(html):
    for table in html.main.find_all("table"):
        assert table.find_parent(class_="gulir") and not table.find("caption")
        assert not table.find_parent("figure").figcaption.find_parent(class_="gulir")


def test_the_report_shows_no_code_and_names_the_source_of_each_figure_and_table(built, html):
    assert not html.find_all("details", class_="kode")
    for shown in html.find_all("figure"):
        link = shown.find("a", class_="sumber")
        if link is None:  # made of provenance alone
            assert shown["id"] in ("tbl-notebook", "tbl-asal", "tbl-paket"), shown["id"]
            continue
        name, _, anchor = link["href"].partition("#")
        assert link["title"].startswith(f"{name.removesuffix('.html')}.json: ")
        beside = BeautifulSoup(
            (built.folder / f"build/report/{name}").read_text("utf-8"), "html.parser"
        )
        assert not anchor or beside.find(id=anchor), link["href"]


def test_the_abstract_is_short(html):
    assert len(html.find(class_="abstrak").p.get_text().split()) <= 120


def test_figures_write_a_decimal_comma_on_every_axis(results):
    results = results | {
        "laporan": dict(
            zip(
                ("adaptation", "training", "overfitting", "remedies"),
                results.values(),
                strict=False,
            )
        )
    }
    for id, drawing in show.FIGURES.items():
        for body in results.values():
            try:
                values = {name: show.pick(body, key) for name, key in drawing.keys.items()}
            except KeyError:
                continue  # another chapter's figure
            if not all(value is not None and value != [] for value in values.values()):
                continue
            figure = drawing.function(**values)
            figure.canvas.draw()
            for axes in (axes for axes in figure.axes if axes.axison):
                ticks = [
                    label.get_text()
                    for axis in (axes.xaxis, axes.yaxis)
                    for label in axis.get_ticklabels()
                ]
                assert not [tick for tick in ticks if re.search(r"\d\.\d(?!\d\d)", tick)], (
                    id,
                    ticks,
                )
            plt.close(figure)


def test_html_names_nothing_to_be_loaded(html):
    for tag in html.find_all(src=True):
        assert tag["src"].startswith("data:")
    assert not html.find_all(["script", "link", "iframe", "object"])
    assert "url(" not in html.style.text and "@import" not in html.style.text


# --- PDF ------------------------------------------------------------------------------------------------------------


def test_pdf_has_text_on_every_page(pdf):
    texts = [page.extract_text() for page in pdf.pages]
    assert len(texts) >= 8 and all(len(text) > 100 for text in texts)
    whole = " ".join(" ".join(texts).split())
    for words in (
        "Siti <b>Rahma</b> & Co $x",
        "13_22*01",
        "Fantom toraks",
        "Bobot acak",
        "smoke",
        "bukan alat medis",
        *SECTIONS,
    ):
        assert words in whole, words


def test_pdf_numbers_are_those_of_the_results(pdf, results):
    whole = " ".join(" ".join(page.extract_text() for page in pdf.pages).split())
    test = results["02_pelatihan"]["test"]
    for name in ("acc", "sensitivity", "specificity"):
        assert f"{comma(100 * test[name]['value'], 1)}%" in whole


def test_pdf_is_tagged_titled_indonesian_with_embedded_fonts_and_outline(pdf):
    catalog = pdf.trailer["/Root"]
    assert (
        catalog["/Lang"] == "id"
        and catalog["/MarkInfo"]["/Marked"]
        and "/StructTreeRoot" in catalog
    )
    assert pdf.metadata.title and pdf.metadata.author == "Siti <b>Rahma</b> & Co $x"
    titles = [entry.title for entry in pdf.outline if not isinstance(entry, list)]
    assert [t for t in titles if any(t.endswith(s) for s in SECTIONS)]
    for page in pdf.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            descendant = font.get_object()["/DescendantFonts"][0].get_object()
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descendant["/FontDescriptor"])
