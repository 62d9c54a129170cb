"""Signs beyond Latin letters on paper: what a font has is printed, and what none has is said (report/fonts.py)."""

import json

import pytest
import typst
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pypdf import PdfReader

from cxr_helpers.engine.results import COVER
from report import exporters, fonts

COMMON = "😀😂🤔👍🏽🙏🎉🚀🔥✅❌⚠️⭐❤️💡📈📊🔬📝🧠🫁🩻🇮🇩👩‍⚕️➡️"
ARABIC = "السلام عليكم ورحمة الله"


def paper(tmp_path, *cells) -> tuple[str, set[str], list[str]]:
    """The squeezed text of the PDF of a notebook with these cells, the fonts in it, and the remarks."""
    exporter = exporters.LaporanPDF()
    (tmp_path / "a.pdf").write_bytes(
        exporter.from_notebook_node(new_notebook(cells=[new_markdown_cell("# Uji"), *cells]))[0]
    )
    sheets = PdfReader(tmp_path / "a.pdf").pages
    used = {
        str(font.get_object()["/BaseFont"])
        for sheet in sheets
        for font in sheet["/Resources"]["/Font"].values()
    }
    return "".join("".join(sheet.extract_text() for sheet in sheets).split()), used, exporter.notes


def printing(text: str):
    return new_code_cell("x", outputs=[new_output("stream", name="stdout", text=text)])


def test_arabic_and_common_emoji_are_printed(tmp_path):
    text, used, notes = paper(
        tmp_path, new_markdown_cell(f"{ARABIC}, lalu {COMMON} dan **{COMMON}**"), printing(COMMON)
    )
    assert notes == [] and fonts.BOX not in text
    assert any("NotoEmoji" in name for name in used) and any("DejaVuSans" in name for name in used)
    for sign in "😀🚀✅🫁":
        assert text.count(sign) == 3, text
    assert all(word in text or word[::-1] in text for word in ARABIC.split())


@pytest.mark.parametrize("sign", ["你", "ไ", "\U00012000", "\ue000", "\u0378"])
def test_a_sign_of_no_font_is_said_with_its_cell(tmp_path, sign):
    text, _, notes = paper(tmp_path, new_markdown_cell("Biasa."), printing(f"kata {sign} akhir"))
    assert fonts.BOX in text and "akhir" in text
    assert len(notes) == 1 and notes[0].startswith("Sel ke-3: aksara ") and sign in notes[0]


def test_a_sign_in_a_formula_or_an_odd_letter_is_printed_or_said(tmp_path):
    odd = "Jose\u0301, 𝗧𝗲𝗯𝗮𝗹, ①②, x\u202fy, $\\text{🚀 naik}$, `∇²f`, $\\text{你}$"
    text, _, notes = paper(tmp_path, new_markdown_cell(odd))
    assert "naik" in text and "①②" in text and [note[:13] for note in notes] == ["Sel ke-2: aks"]


def test_a_name_on_the_cover_that_no_font_has_is_said(tmp_path):
    student = {"label": "Nama", "value": "李 Siti"}
    cover = dict.fromkeys(("title", "subtitle", "abstract", "date"), "x") | {
        "author": [student],
        "author_plain": "李 Siti",
        "fact": [],
    }
    cell = new_code_cell("x", outputs=[new_output("display_data", data={COVER: json.dumps(cover)})])
    _, _, notes = paper(tmp_path, cell)
    assert len(notes) == 1 and "aksara 李 tidak ada" in notes[0]


def test_typst_draws_every_sign_that_is_said_to_have_a_glyph(tmp_path):
    """PDF/A ends at the first sign without one."""
    every = [chr(code) for code in range(0x20, 0x20000) if not 0xD800 <= code < 0xE000]
    drawn = [sign for sign in every if not fonts.missing(sign)]
    assert len(drawn) > 8000
    fonts.put(tmp_path / "huruf")
    signs = "\n".join(f'#"\\u{{{ord(sign):x}}}"' for sign in drawn)
    (tmp_path / "a.typ").write_text(
        f'#set document(title: "x")\n#set text(font: "Libertinus Serif")\n{signs}', "utf-8"
    )
    pdf, warnings = typst.compile_with_warnings(
        str(tmp_path / "a.typ"),
        ignore_system_fonts=True,
        font_paths=[str(tmp_path / "huruf")],
        format="pdf",
        pdf_standards=["a-2a", "ua-1"],
    )
    assert pdf.startswith(b"%PDF") and not warnings
