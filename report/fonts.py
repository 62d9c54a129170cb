"""The fonts of the PDF: Typst's own, DejaVu Sans (Arabic, Hebrew, signs; matplotlib brings it), and
Noto Emoji (huruf/).

None of the system's fonts is used: the same report has the same bytes on any computer. Typst takes
a glyph that the first font lacks from another. A character that none of them has would end PDF/A,
so it is drawn as a box, and that is said.
"""

import re
import shutil
import unicodedata
from functools import cache
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

BESIDE = (
    Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf",
    Path(__file__).resolve().parent / "huruf/NotoEmoji-Regular.ttf",
)
# What the fonts draw that the typst wheel carries, in its own blocks of Unicode; a mathematical
# letter outside a formula too.
TYPST = re.compile(
    r"[\n\t -~\xa0-\u036f\u0370-\u04ff\u1e00-\u1eff\u2010-\u2027\u2030-\u205e"
    r"\u20a0-\u20bf\u20d0-\u20f0\u2100-\u214f\u2190-\u23ff"
    r"\u2460-\u24ff\u25a0-\u25ff\u27c0-\u27ef\u2900-\u2bff\U0001d400-\U0001d7ff✓✗]"
)
BOX = "□"


@cache
def _added() -> frozenset[int]:
    codes = {code for path in BESIDE for code in FT2Font(str(path)).get_charmap()}
    # PDF/UA refuses private characters; Ogham's space is a line, which Typst takes for a space and
    # does not draw.
    return frozenset(code for code in codes - {0x1680} if unicodedata.category(chr(code)) != "Co")


def _has(sign: str) -> bool:
    # What is not yet in Python's own Unicode may well be in a font, but not in Typst's blocks,
    # whose gaps are old.
    return ord(sign) in _added() or (bool(TYPST.match(sign)) and unicodedata.category(sign) != "Cn")


def missing(text: str) -> list[str]:
    """The characters of `text` for which no font has a glyph, each once, in their order."""
    return [sign for sign in dict.fromkeys(text) if not _has(sign)]


def drawable(text: str) -> str:
    """`text` with a box for each character that no font has."""
    return text.translate(dict.fromkeys(map(ord, missing(text)), BOX))


def put(folder: Path) -> None:
    """Copy the fonts that Typst does not carry into a folder for typst.compile's font_paths."""
    folder.mkdir()
    for path in BESIDE:
        shutil.copy(path, folder)
