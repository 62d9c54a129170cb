"""Whether laporan.html and laporan.pdf show the numbers of the hand-in's own results.

The report's sentences and tables are worded once more, from its results and our templates: every
decimal number that they print has to stand in the pages as often. Words are not compared.
"""

import base64
import re
from collections import Counter

import nbformat

from cxr_helpers.engine import files
from grading import box, package
from report.chapter import Chapter

REPORT = files.ROOT / "report/laporan.ipynb"
CHAPTER = re.compile(r'^(\w+) = Chapter\.read\("(\w+)"', re.M)
SHOWN = re.compile(r"^(\w+)\.(text|table)\((.+)\)$", re.M)  # what hangs on a condition is indented
COVER = [("report", name) for name in ("abstract", "facts", "points")]
DECIMAL, TAG = re.compile(r"\d+,\d+"), re.compile(r"<[^<>]*>")
SECONDS, ASK = 60, "hasil['ada'] = dict(numbers)"
LOST = "angka dari hasilnya tidak ada di sana"
# without the lines and curves of figures, which take pypdf seconds; strings match first and stay
PATHS = rb"(\((?:[^()\\]|\\.)*\))|(?:[-+]?[\d.]+\s+){2,6}(?:[clmvy]|re)(?![A-Za-z])"
PDF = """
import base64, collections, io, pypdf, re
pages, words = pypdf.PdfReader(io.BytesIO(base64.b64decode({content!r}))).pages, ''
for page in pages:
    drawn, kept = page.get_contents().get_data(), pypdf.generic.DecodedStreamObject()
    kept.set_data(re.sub({paths!r}, lambda match: match[1] or b'', drawn, flags=re.S))
    page[pypdf.generic.NameObject('/Contents')] = kept
    words += page.extract_text() + ' '
numbers = collections.Counter(re.findall({decimal!r}, words))
"""


def expected(handin: package.Handin) -> Counter:
    """How often the report prints each decimal number of its results."""
    source = "\n".join(cell.source for cell in nbformat.read(REPORT, 4).cells)
    parts = {}
    for part, name in CHAPTER.findall(source):
        parts[part] = Chapter(name)
        parts[part].result = package.results(handin, name)
    parts["report"] = Chapter.join("laporan", **parts)
    macros = list(COVER)
    for part, kind, given in SHOWN.findall(source):
        names = re.findall(r'"([\w-]+)"', given)
        macros += [(part, f"text_{n}" if kind == "text" else n.replace("-", "_")) for n in names]
    printed = [n["text"] for part, macro in macros for n in parts[part].words(macro)[1]]
    return Counter(DECIMAL.findall(" ".join(printed)))


def _of_pdf(content: bytes, boxed: bool) -> Counter:
    """The decimal numbers of a PDF, which the box reads: any file may lie there."""
    given = {"content": base64.b64encode(content), "paths": PATHS, "decimal": DECIMAL.pattern}
    with box.Kernel(boxed) as kernel:
        return Counter(kernel.run(PDF.format(**given), SECONDS, ASK)[1]["ada"])


def remarks(handin: package.Handin, boxed: bool) -> list[str]:
    """What is odd about the report's two pages."""
    said = []
    try:
        wanted = expected(handin)
    except Exception as error:  # a results file may hold anything
        return [f"laporan tidak dapat dibandingkan dengan hasilnya ({type(error).__name__})"]
    for name in ("laporan.html", "laporan.pdf"):
        content = next((c for p, c in handin.files.items() if p.rsplit("/", 1)[-1] == name), b"")
        try:
            words = DECIMAL.findall(TAG.sub(" ", package.text(content)))
            there = _of_pdf(content, boxed) if name.endswith("pdf") else Counter(words)
            lost = [*(wanted - there)]
        except (box.Ended, TypeError, KeyError, ValueError):
            lost = ["semuanya"]
        if lost:
            said.append(f"{name}: {LOST}: {package.listed(lost)}")
    return said
