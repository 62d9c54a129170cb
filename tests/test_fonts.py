"""Signs beyond Latin letters: what a font has is printed, and what none has is said."""

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pypdf import PdfReader

from report import exporters, fonts

COMMON = "😀😂🤔👍🏽🙏🎉🚀🔥✅❌⚠️⭐❤️💡📈📊🔬📝🧠🫁🩻🇮🇩👩‍⚕️➡️"
ARABIC = "السلام عليكم ورحمة الله"


def paper(folder, *cells) -> tuple[str, list[str]]:
    """The squeezed text of the PDF of these cells, and what was remarked."""
    exporter = exporters.LaporanPDF()
    notebook = new_notebook(cells=[new_markdown_cell("# Uji"), *cells])
    (folder / "a.pdf").write_bytes(exporter.from_notebook_node(notebook)[0])
    sheets = PdfReader(folder / "a.pdf").pages
    text = "".join("".join(sheet.extract_text().split()) for sheet in sheets)
    return text, exporter.notes


def printing(text: str):
    return new_code_cell("x", outputs=[new_output("stream", name="stdout", text=text)])


def test_arabic_and_common_emoji_are_printed(tmp_path):
    words = new_markdown_cell(f"{ARABIC}, lalu {COMMON} dan **{COMMON}**")
    text, notes = paper(tmp_path, words, printing(COMMON))
    assert notes == [] and fonts.BOX not in text
    assert [text.count(sign) for sign in "😀🚀✅🫁"] == [3, 3, 3, 3]
    assert all(word in text or word[::-1] in text for word in ARABIC.split())


@pytest.mark.parametrize("sign", ["你", "\u0378"])
def test_a_sign_of_no_font_is_said_with_its_cell(tmp_path, sign):
    text, notes = paper(tmp_path, new_markdown_cell("Biasa."), printing(f"kata {sign} akhir"))
    assert fonts.BOX in text and "akhir" in text
    assert len(notes) == 1 and notes[0].startswith("Sel ke-3: ") and sign in notes[0]
