"""The smoke report, made by real make, papermill, nbconvert, pandoc and typst: is it whole, honest and legible?"""

import json
import re

import numpy as np
import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from cxr_helpers import presentation

FILES = ("01_adaptasi_bobot", "02_pelatihan", "03_analisis_overfitting", "04_perbaikan")
SECTIONS = ("Perubahan Arsitektur", "Perubahan Pelatihan", "Analisis Hasil", "Perbaikan", "Kesimpulan")
METRICS = ("acc", "balanced_acc", "auc", "f1", "sensitivity", "specificity", "ece")
NUMBER = re.compile(r"(?<![\w.,])[−-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?(?![\w])|(?<![\w.,])[−-]?\d+(?:,\d+)?(?![\w.,]*\w)")


@pytest.fixture(scope="module")
def results(built) -> dict[str, dict]:
    return {name: json.loads((built.folder / f"build/results/{name}.json").read_text("utf-8")) for name in FILES}


@pytest.fixture(scope="module")
def html(built) -> BeautifulSoup:
    return BeautifulSoup((built.folder / "build/report/laporan.html").read_text("utf-8"), "html.parser")


@pytest.fixture(scope="module")
def pdf(built) -> PdfReader:
    return PdfReader(built.folder / "build/report/laporan.pdf")


def comma(value: float, digits: int) -> str:
    """1234.5 → '1.234,5', written here once more so that the report's own way of writing is checked."""
    whole, _, rest = f"{abs(value):.{digits}f}".partition(".")
    groups = re.sub(r"(?<=\d)(?=(\d{3})+$)", ".", whole)
    return ("−" if f"{value:.{digits}f}".startswith("-") else "") + groups + (f",{rest}" if rest else "")


def cells(html: BeautifulSoup, id: str) -> list[list[str]]:
    return [[c.get_text(" ", strip=True) for c in row.find_all(["th", "td"])] for row in html.find(id=id).tbody.find_all("tr")]


# --- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_each_results_file_says_where_it_comes_from(results, name):
    origin = results[name]["provenance"]
    assert results[name]["schema"] == 1
    assert set(origin) >= {"data", "weights", "preset", "seed", "device", "packages", "commit", "started", "seconds"}
    assert set(origin["data"]) >= {"kind", "fingerprint", "counts"}
    assert origin["preset"]["name"] == "smoke" and origin["data"]["kind"] == "phantom"


def test_the_network_learned(results):
    history = results["02_pelatihan"]["history"]
    assert history[-1]["train_loss"] < history[0]["train_loss"]


def test_every_metric_lies_in_its_interval(results):
    judged = [results["02_pelatihan"]["test"], *(v["test"] for v in results["04_perbaikan"]["variants"])]
    for test in judged:
        for name in METRICS:
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


def test_the_lesson_on_leakage_takes_the_best_epoch_of_either_split(results):
    body = results["02_pelatihan"]
    lesson, val_acc = body["leakage"], [row["val_acc"] for row in body["history"]]
    for which, epoch in (("honest", int(np.argmax(val_acc))), ("course", int(np.argmax(lesson["test_acc"])))):
        assert lesson[which] == [epoch + 1, lesson["test_acc"][epoch]]
        low, high = lesson[f"{which}_ci95"]
        assert low <= lesson["test_acc"][epoch] <= high
    low, high = lesson["flattery_ci95"]
    assert low <= lesson["course"][1] - lesson["honest"][1] <= high


def test_the_remedies_table_says_what_the_results_say(html, results):
    for variant, row in zip(results["04_perbaikan"]["variants"], cells(html, "tbl-perbaikan"), strict=True):
        assert row[0] == variant["title"] and row[-1] == variant["verdict"]
        assert row[2] == comma(100 * variant["test"]["acc"]["value"], 1) + "%"
        if variant["difference"]:
            assert row[6].lstrip("+").split(" ")[0] == comma(100 * variant["difference"]["acc"]["value"], 1)


def numbers_of(value) -> set[str]:
    """Every way in which the report may write the numbers of a results file."""
    if isinstance(value, dict):
        return set().union(*map(numbers_of, value.values()))
    if isinstance(value, list):
        return numbers_of(len(value)) | set().union(set(), *map(numbers_of, value))
    if isinstance(value, str):
        return {found[0] for found in NUMBER.finditer(value)} | {
            found[0].replace(".", ",") for found in re.finditer(r"\d+\.\d+", value)
        }
    if isinstance(value, bool) or value is None:
        return set()
    sums = [scale * value for scale in (1, 100, 1e-6)]
    return {comma(v, digits) for v in sums for digits in (0, 1, 2, 3)} | {f"{value:g}".replace(".", ",")}


def test_every_number_in_a_table_is_in_the_results(html, results):
    known = numbers_of(list(results.values()))
    data = results["02_pelatihan"]["provenance"]["data"]
    for counts in data["counts"].values():
        known |= {comma(sum(counts.values()), 0), comma(100 * max(counts.values()) / sum(counts.values()), 1)}
    seconds = [round(r["provenance"]["seconds"]) for r in results.values()]
    seconds += [round(v["seconds"]) for v in results["04_perbaikan"]["variants"]]
    known |= {str(part) for s in seconds for part in (s, s // 60, s % 60)}
    checked = 0
    for table in html.find_all("table"):
        skip = 1 if table["id"] in ("tbl-resep",) else 0  # its last but one row is the formula of the normalisation
        for row in table.tbody.find_all("tr"):
            text = row.get_text(" ", strip=True)
            if (skip and "Normalisasi" in text) or table["id"] == "tbl-paket":
                continue
            for found in NUMBER.finditer(text):
                checked += 1
                assert found[0].replace("+", "") in known, f"{table['id']}: {found[0]} in {text!r}"
    assert checked > 150


def test_every_decimal_in_the_prose_is_in_the_results(html, results):
    known = numbers_of(list(results.values()))
    _, pooled, ours = results["01_adaptasi_bobot"]["architectures"]
    history, lesson = results["02_pelatihan"]["history"], results["02_pelatihan"]["leakage"]
    losses = [row["val_loss"] for row in history]
    known |= {
        comma(ours["multiply_adds"] / pooled["multiply_adds"], 1),
        comma(losses[-1] - min(losses), 3),
        comma(100 * (lesson["course"][1] - lesson["honest"][1]), 1),
        comma(results["02_pelatihan"]["run"]["peak_memory_mb"] / 1024, 1),
        comma(0.5, 1),  # the threshold of a decision
        comma(0.9, 1),  # what the course calls confident
        comma(0.05, 2),  # the weight decay in a row's title
    }
    assert len(known) > 1000
    checked = 0
    for said in [*html.main.find_all("p"), *html.main.find_all("figcaption"), *html.main.find_all("caption")]:
        for found in re.finditer(r"(?<![\w.,])\d{1,3}(?:\.\d{3})*,\d+", said.get_text(" ", strip=True)):
            checked += 1
            assert found[0] in known or f"−{found[0]}" in known, f"{found[0]} in {said.get_text(' ', strip=True)[:200]!r}"
    assert checked > 60


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
    for _, fact in presentation.cover_facts(results["02_pelatihan"]):
        assert fact in text


def test_every_reference_has_a_target_and_every_figure_a_text(html):
    ids = [tag["id"] for tag in html.find_all(id=True)]
    assert len(ids) == len(set(ids))
    inner = [a["href"][1:] for a in html.find_all("a", href=re.compile("^#"))]
    assert inner and set(inner) <= set(ids)
    assert all(len(image["alt"]) > 20 for image in html.find_all("img"))
    shown = {tag["id"] for tag in [*html.find_all("figure"), *html.main.find_all("table")]}
    assert shown <= set(inner), f"never referred to: {shown - set(inner)}"


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
    for words in ("Siti <b>Rahma</b> & Co $x", "13_22*01", "Fantom toraks", "Bobot acak", "smoke", "bukan alat medis", *SECTIONS):
        assert words in whole, words


def test_pdf_numbers_are_those_of_the_results(pdf, results):
    whole = " ".join(" ".join(page.extract_text() for page in pdf.pages).split())
    test = results["02_pelatihan"]["test"]
    for name in ("acc", "sensitivity", "specificity"):
        assert f"{comma(100 * test[name]['value'], 1)}%" in whole


def test_pdf_is_tagged_titled_indonesian_with_embedded_fonts_and_outline(pdf):
    catalog = pdf.trailer["/Root"]
    assert catalog["/Lang"] == "id" and catalog["/MarkInfo"]["/Marked"] and "/StructTreeRoot" in catalog
    assert pdf.metadata.title and pdf.metadata.author == "Siti <b>Rahma</b> & Co $x"
    titles = [entry.title for entry in pdf.outline if not isinstance(entry, list)]
    assert [t for t in titles if any(t.endswith(s) for s in SECTIONS)]
    for page in pdf.pages:
        for font in page["/Resources"].get("/Font", {}).values():
            descendant = font.get_object()["/DescendantFonts"][0].get_object()
            assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(descendant["/FontDescriptor"])
