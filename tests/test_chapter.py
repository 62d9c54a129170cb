"""How results become words, tables and figures (report/chapter.py), and what a template may do."""

import io
import re
import time
from types import SimpleNamespace

import jinja2
import pypandoc
import pytest
from bs4 import BeautifulSoup
from jinja2 import nodes
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pypdf import PdfReader

from cxr_helpers.engine import files, results
from report import chapter as chapters
from report import exporters

TEMPLATES = {
    path.name: chapters._environment(chapters.TEXTS).parse(path.read_text("utf-8"))
    for path in sorted(chapters.TEXTS.glob("*.md.j2"))
}
# What a template may say in digits of its own: names, sizes and thresholds, never a result.
NAMES = re.compile(
    r"\[\([^)]*\)\]\(#ref-\w+\)|ResNet-18|ChestX-ray14|@\w+|\d+×\d+|[89][05]%|0,[59]|\b0\d_\w+|255"
)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_holds_no_result_typed_by_hand(name):
    said = [data.data for data in TEMPLATES[name].find_all(nodes.TemplateData)]
    constants = TEMPLATES[name].find_all(nodes.Const)
    said += [const.value for const in constants if isinstance(const.value, str)]
    for text in said:
        assert not re.search(r"\d+,\d|\d\s?%|\d{2}", NAMES.sub("", text)), text


def test_the_templates_hold_what_depends_on_results_and_no_more():
    said = " ".join(d.data for t in TEMPLATES.values() for d in t.find_all(nodes.TemplateData))
    assert 1000 < len(re.findall(r"[A-Za-zÀ-ÿ][\w\-’']+", said)) <= 2700


def test_a_link_to_literature_names_authors_and_year_as_the_bibliography_does():
    paths = [*chapters.TEXTS.glob("*.j2"), *chapters.TEXTS.parent.glob("*.ipynb")]
    said = " ".join(path.read_text("utf-8") for path in paths)
    named = {key: words for words, key in re.findall(r"\[(\([^\]]*\))\]\(#ref-(\w+)\)", said)}
    options = "--citeproc --bibliography=pustaka.bib -M lang=id -M suppress-bibliography=true"
    asked, folder = "\n\n".join(f"[@{key}]" for key in named), str(files.ROOT / "report")
    lines = pypandoc.convert_text(asked, "plain", "md", extra_args=options.split(), cworkdir=folder)
    expected = re.sub(r"(\d{4})[ab]\)", r"\1)", lines).split("\n\n")  # of two in one year
    assert len(named) > 15 and [line.strip() for line in expected] == list(named.values())


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """chapter({macro: template}, key=value, …): a Chapter that has recorded these results."""
    monkeypatch.delenv(files.RESULTS, raising=False)
    monkeypatch.setattr(chapters, "TEXTS", tmp_path)

    study = SimpleNamespace(provenance=lambda: {"clock": time.time(), "seed": 1}, build=tmp_path)

    def make(macros: dict[str, str], **body) -> chapters.Chapter:
        text = "".join(f"{{% macro {k}() %}}{v}{{% endmacro %}}" for k, v in macros.items())
        (tmp_path / "uji.md.j2").write_text(text, encoding="utf-8")
        made = chapters.Chapter("uji", study)
        made.record(**body)
        return made

    return make


@pytest.fixture
def shown(monkeypatch):
    """What the cells of a notebook would have shown: (data, metadata)."""
    seen = []
    monkeypatch.setattr(
        chapters, "display", lambda data, raw, metadata: seen.append((data, metadata["laporan"]))
    )
    return seen


def test_each_printed_number_is_noted_with_its_place(chapter):
    template = (
        "\nAkurasi {{ r.test.acc | persen_ik }},\nlalu {{ r.rows[-1].n | bilangan }} dari "
        "{{ r.rows | banyak | bilangan }}.\n"
    )
    test = {"acc": {"value": 0.853, "ci95": [0.81, 0.88]}}
    words, printed = chapter({"a": template}, test=test, rows=[{"n": 1}, {"n": 1234}]).words("a")
    assert words == "Akurasi 85,3% (IK 95% 81,0–88,0), lalu 1.234 dari 2."
    assert [(one["path"], one["text"]) for one in printed] == [
        ("uji.test.acc", "85,3% (IK 95% 81,0–88,0)"),
        ("uji.rows[1].n", "1.234"),
        ("uji.rows.length", "2"),
    ]


@pytest.mark.parametrize(
    ("guess", "line"),
    [
        (..., "Anda belum menebak; hasil pengukuran: 4,25 kali"),
        (2, "Tebakan Anda: 2; hasil pengukuran: 4,25 kali"),
        ("empat", "Tebakan Anda: empat; hasil pengukuran: 4,25 kali"),
    ],
)
def test_a_guess_stands_beside_what_was_measured(chapter, shown, guess, line):
    chapter({}, n=1).guess(guess, 4.25, "kali")
    ((data, mark),) = shown
    page = chapters.escape(line.replace("Anda belum menebak; h", "H") + ".")
    assert data["text/plain"] == line and mark == {"kind": "guess", "page": page}


def test_a_number_without_a_place_and_one_that_is_missing_stop_the_notebook(chapter):
    wrong = ("{{ r.n }}", "{{ 3 | bilangan }}", "{{ (r.n + 1) | bilangan }}")
    missing = {"gone": "{{ r.gone | bilangan }}", "absent": "{{ r.gone }}"}
    missing |= {"empty": "{{ r.empty | bilangan }}"}
    bab = chapter(dict(zip("abc", wrong, strict=True)) | missing, n=2, empty=None)
    for macro in "abc":
        with pytest.raises(ValueError, match=r"berkas hasil|tanpa filter"):
            bab.words(macro)
    for macro in ("gone", "absent"):
        with pytest.raises(jinja2.UndefinedError):
            bab.words(macro)
    assert bab.words("empty") == ("–", [])


def test_a_table_carries_caption_source_and_numbers(chapter, shown):
    rows = "{% for row in r.rows %}| {{ row.name | aman }} | {{ row.n | bilangan }} |{% endfor %}"
    caption = "Tabel *uji* <b>, {{ r.rows | banyak | bilangan }}."
    macros = {"tbl_x": "| Nama | n |\n|:--|--:|\n" + rows, "tbl_x_caption": caption}
    chapter(macros, rows=[{"name": "a|b <i>", "n": 2}]).table("tbl-x")
    data, meta = shown[0]
    assert data["text/markdown"].splitlines()[2] == "| a\\|b \\<i\\> | 2 |"
    assert (
        "a|b &lt;i&gt;" in data["text/html"]
        and "Tabel <em>uji</em> &lt;b&gt;, 1." in data["text/html"]
    )
    assert (meta["kind"], meta["id"], meta["source"]) == ("table", "tbl-x", ["uji.rows"])
    assert [one["path"] for one in meta["printed"]] == ["uji.rows[0].n", "uji.rows.length"]


def test_what_is_recorded_is_written_whole_and_shown_in_the_next_line(chapter, shown, tmp_path):
    bab = chapter({"text_n": "{{ r.rows[r.at].n | bilangan }}"}, at=1, rows=[])
    with pytest.raises(jinja2.UndefinedError):
        bab.text("n")
    bab.record(rows=[{"n": 1}, {"n": 2}])
    bab.text("n")
    bab.record(rows=[{"n": 1}, {"n": 3}], more=[float("nan")])
    bab.text("n")
    assert [data["text/markdown"] for data, _ in shown] == ["2", "3"]
    body = results.read("uji", tmp_path)
    assert body == bab.result == chapters.Chapter.read("uji", tmp_path).result
    assert (body["at"], body["rows"][1], body["more"]) == (1, {"n": 3}, [None])


NASTY = r"""O'"Hara" \n <script>alert(1)</script> #let x = 1 $y$ \textbf{a} *m* _e_ [l](http://x) @he2016 {{ 7*7 }} `c` ]) // %d"""  # noqa: E501


def test_free_text_stays_text_in_html_and_pdf(chapter, shown):
    """On a cover that carries what people may type."""
    text, free = NASTY + " 😀 محمد", "{{ r.text | aman }}"
    said = {"title": free, "facts": f"- Data | {free}"}
    said |= dict.fromkeys(("subtitle", "abstract", "date", "points"), "Uji")
    name = {"Nama": text, "NIM": text}
    chapters.cover(chapter(said, text=text), name, "2026-01-01T00:00:00")
    cover = [new_output("display_data", data, metadata={"laporan": of}) for data, of in shown]
    cells = [new_code_cell("", outputs=cover), new_markdown_cell("# Bagian\n\nIsi.")]
    notebook = new_notebook(cells=cells)
    html = BeautifulSoup(exporters.LaporanHTML().from_notebook_node(notebook)[0], "html.parser")
    assert not html.find_all("script") and not html.main.find_all(["strong", "em", "math"])
    assert not [a for a in html.find_all("a") if "http://x" in a["href"]]
    for shown in (html.find("h1"), *html.header.find_all("dd")[:2], html.title):
        assert " ".join(shown.get_text().split()) == " ".join(text.split())
    pdf = exporters.LaporanPDF().from_notebook_node(notebook)[0]
    whole = " ".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages)
    assert "".join(whole.split()).count("".join(NASTY.split())) >= 3
