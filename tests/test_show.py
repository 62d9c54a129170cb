"""How results become words, tables and figures (cxr_helpers/show.py), and what a template may do (notebooks/text)."""

import re
import time

import jinja2
import nbformat
import pytest
from jinja2 import nodes
from nbformat.v4 import new_markdown_cell, new_notebook

from cxr_helpers import show
from cxr_helpers.engine import files, results

TEMPLATES = sorted(path.name for path in show.TEXTS.glob("*.md.j2"))
# What a template may say in digits of its own: names of things, rules and definitions, never a result.
LITERALS = [
    *(
        r"9[05]%",
        r"ResNet-18",
        r"ChestX-ray14",
        r"layer\d",
        r"\b[Ff]1\b",
        r"[37]×[37]",
        r"berlangkah [12]",
    ),
    *(
        r"\(x/255 − 0,5\)/0,5",
        r"0,5 berarti menebak",
        r"memuat 0,5",
        r"ambang probabilitas 0,5",
        r"ambang 0,5",
    ),
    *(
        r"di atas 0,9",
        r"di atas 1\b",
        r"paling baik pada [01]",
        r"pada 0\.",
        r"\([01]: [a-z ]+\)",
        r"Perbandingan 1\b",
    ),
    *(
        r"epoch 1\b",
        r"label [01]\b",
        r"^\d\. ",
        r"0\d_\w+",
        r"@\w+",
        r"istilah\.md\.j2",
        r"\.md\.j2",
        r"I_0 ",
        r"0 hitam, 255 putih",
    ),
]


def tree(name: str) -> nodes.Template:
    return show._environment().parse((show.TEXTS / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_words_and_never_computes(name):
    parsed = tree(name)
    sums = (nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow)
    assert not [node.lineno for node in parsed.find_all(sums)]
    for compare in parsed.find_all(nodes.Compare):
        for operand in compare.ops:
            assert operand.op in ("eq", "ne", "in", "notin"), (
                f"{name}:{compare.lineno} compares by size"
            )
            constant = [
                part for part in (compare.expr, operand.expr) if isinstance(part, nodes.Const)
            ]
            assert not [c.value for c in constant if isinstance(c.value, (int, float))], (
                f"{name}:{compare.lineno}"
            )
    computing = {"sum", "max", "min", "sort", "round", "abs", "length", "count", "int", "float"}
    assert not {node.name for node in parsed.find_all(nodes.Filter)} & computing


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_holds_no_result_typed_by_hand(name):
    parsed = tree(name)
    said = [data.data for data in parsed.find_all(nodes.TemplateData)]
    said += [const.value for const in parsed.find_all(nodes.Const) if isinstance(const.value, str)]
    for text in said:
        left = re.sub("|".join(LITERALS), "", text, flags=re.M)
        assert not re.findall(r"[^\n]{0,30}\d[^\n]{0,20}", left)


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """Chapter("uji") over a body and a template given as text."""
    monkeypatch.delenv(files.RESULTS, raising=False)
    monkeypatch.setattr(show, "TEXTS", tmp_path)

    def make(template: str, **body) -> show.Chapter:
        (tmp_path / "uji.md.j2").write_text(template, encoding="utf-8")
        results.write("uji", body, {"clock": time.time()}, tmp_path)
        return show.Chapter("uji", tmp_path)

    return make


@pytest.fixture
def shown(monkeypatch):
    """What the cells of a notebook would have shown: (data, metadata)."""
    seen = []
    monkeypatch.setattr(
        show, "display", lambda data, raw, metadata: seen.append((data, metadata["laporan"]))
    )
    return seen


def test_each_printed_number_is_noted_with_its_place(chapter):
    bab = chapter(
        "{% macro text_a() %}\nAkurasi {{ r.test.acc | persen_ik }},\nlalu {{ r.rows[-1].n | bilangan }} dari "
        "{{ r.rows | banyak | bilangan }}.\n{% endmacro %}",
        test={"acc": {"value": 0.853, "ci95": [0.81, 0.88]}},
        rows=[{"n": 1}, {"n": 1234}],
    )
    words, printed = bab.words("text_a")
    assert words == "Akurasi 85,3% (IK 95% 81,0–88,0), lalu 1.234 dari 2."
    assert [(one["path"], one["text"]) for one in printed] == [
        ("uji.test.acc", "85,3% (IK 95% 81,0–88,0)"),
        ("uji.rows[1].n", "1.234"),
        ("uji.rows.length", "2"),
    ]


@pytest.mark.parametrize("wrong", ["{{ r.n }}", "{{ 3 | bilangan }}", "{{ (r.n + 1) | bilangan }}"])
def test_a_number_out_of_nowhere_is_an_error(chapter, wrong):
    bab = chapter("{% macro text_a() %}" + wrong + "{% endmacro %}", n=2)
    with pytest.raises(ValueError, match=r"berkas hasil|tanpa filter"):
        bab.words("text_a")


def test_a_missing_number_is_an_error_and_an_empty_one_a_dash(chapter):
    bab = chapter(
        "{% macro text_a() %}{{ r.tiada | bilangan }}{% endmacro %}{% macro text_b() %}{{ r.n | bilangan }}{% endmacro %}",
        n=None,
    )
    with pytest.raises(jinja2.UndefinedError):
        bab.words("text_a")
    assert bab.words("text_b") == ("–", [])


def test_lists_and_tables_keep_their_lines_and_paragraphs_lose_theirs(chapter):
    bab = chapter(
        "{% macro text_a() %}\nSatu\n  dua.\n\n1. tiga\n2. empat\n\n\n| a |\n|--|\n{% endmacro %}"
    )
    assert bab.words("text_a")[0] == "Satu dua.\n\n1. tiga\n2. empat\n\n| a |\n|--|"


def test_a_table_carries_caption_source_and_numbers(chapter, shown):
    bab = chapter(
        "{% macro tbl_x() %}\n| Nama | n |\n|:--|--:|\n{% for row in r.rows %}\n"
        "| {{ row.name | aman }} | {{ row.n | bilangan }} |\n{% endfor %}\n{% endmacro %}"
        "{% macro tbl_x_caption() %}Tabel *uji*.{% endmacro %}",
        rows=[{"name": "a|b <i>", "n": 2}],
    )
    bab.table("tbl-x")
    data, meta = shown[0]
    assert data["text/markdown"].splitlines()[2] == "| a\\|b \\<i\\> | 2 |"
    assert "a|b &lt;i&gt;" in data["text/html"] and "Tabel <em>uji</em>." in data["text/html"]
    assert (meta["kind"], meta["id"], meta["source"]) == ("table", "tbl-x", ["uji.rows"])
    assert [one["path"] for one in meta["printed"]] == ["uji.rows[0].n"]


def test_a_figure_carries_caption_alternative_and_source(chapter, shown):
    bab = chapter(
        "{% macro fig_kebingungan_caption() %}Matriks.{% endmacro %}"
        "{% macro fig_kebingungan_alt() %}{{ r.confusion[1][1] | bilangan }} benar{% endmacro %}",
        confusion=[[3, 1], [2, 40]],
    )
    bab.result["provenance"]["data"] = {"class_names": ["A", "B"]}
    bab.figure("fig-kebingungan")
    data, meta = shown[0]
    assert (
        data["image/svg+xml"].startswith("<?xml")
        and meta["alt"] == "40 benar"
        and meta["width"] == "50%"
    )
    assert meta["source"] == ["uji.confusion", "uji.provenance.data.class_names"]


def test_several_texts_are_one_paragraph_and_nothing_shows_nothing(chapter, shown):
    bab = chapter(
        "{% macro text_a() %}Satu.{% endmacro %}{% macro text_b() %}{% endmacro %}{% macro text_c() %}Dua.{% endmacro %}"
    )
    bab.text("a", "b", "c")
    bab.text("b")
    assert [data["text/markdown"] for data, _ in shown] == ["Satu. Dua."]


def test_free_text_is_shown_literally():
    assert show.escape("a *b* [@c]\nd") == r"a \*b\* \[\@c\] d"


@pytest.mark.parametrize("id", sorted(show.FIGURES))
def test_every_figure_has_a_caption_and_an_alternative_text(id):
    macros = {macro.name for name in TEMPLATES for macro in tree(name).find_all(nodes.Macro)}
    assert {f"{id.replace('-', '_')}_caption", f"{id.replace('-', '_')}_alt"} <= macros


def test_words_whose_tag_has_gone_are_missed_aloud(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(
        show, "display", lambda data, raw, metadata: shown.append(data["text/markdown"])
    )
    monkeypatch.setattr(files, "project", lambda: tmp_path)
    cells = [
        new_markdown_cell("Dugaan saya.", metadata={"tags": ["hipotesis"]}),
        new_markdown_cell("Lain."),
    ]
    (tmp_path / "build/notebooks").mkdir(parents=True)
    nbformat.write(new_notebook(cells=cells), tmp_path / "build/notebooks/05_percobaan.ipynb")
    show.words_of_reader("05_percobaan", "hipotesis")
    show.words_of_reader("05_percobaan", "pembahasan")
    assert shown[0] == "Dugaan saya." and len(shown) == 2
    assert "bertanda `pembahasan`" in shown[1]
