"""Whether laporan.html and laporan.pdf say what the hand-in's own results say.

The report's sentences and tables are worded once more, from its results and our templates: every
word and number of them has to stand in the pages as often. Their order is not compared.
"""

import base64
import html
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
WORD, TAG = re.compile(r"\w+(?:,\d+)?"), re.compile(r"<[^<>]*>")
WITHIN = re.compile(r"</?(?:a|b|code|em|i|span|strong|su[bp])\b[^<>]*>")  # tags that end no word
# of Markdown, what the pages do not show as it is: targets of links, citations, formulas
UNSHOWN = re.compile(r"\]\([^()]*\)|@\w+|<[^<>]*>|\$[^$]*\$|\{[^{}]*\}|\\(?=.)")
SECONDS, ASK = 60, "hasil['kurang'] = sorted(lost)"
LOST = "kata atau angka dari hasilnya tidak ada di sana"
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
lost = collections.Counter({wanted!r}) - collections.Counter(re.findall({word!r}, words.lower()))
"""


def expected(handin: package.Handin) -> Counter:
    """How often the report says each word and number that follows from its results."""
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
    said = " ".join(parts[part].words(macro)[0] for part, macro in macros)
    return _words(UNSHOWN.sub(" ", said))


def _words(text: str) -> Counter:
    return Counter(WORD.findall(text.lower()))


def _lost(wanted: Counter, name: str, content: bytes, boxed: bool) -> list[str]:
    """Which words a page lacks; the box reads a PDF, because any file may lie there."""
    if name.endswith("html"):
        text = TAG.sub(" ", WITHIN.sub("", package.text(content)))
        return sorted(wanted - _words(html.unescape(text)))
    given = {"content": base64.b64encode(content), "paths": PATHS, "word": WORD.pattern}
    with box.Kernel(boxed) as kernel:
        answer = kernel.run(PDF.format(**given, wanted=dict(wanted)), SECONDS, ASK)[1]
    return [package.clean(word) for word in answer["kurang"]]


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
            lost = _lost(wanted, name, content, boxed)
        except (box.Ended, TypeError, KeyError, ValueError):
            lost = ["semuanya"]
        if lost:
            said.append(f"{name}: {LOST}: {package.listed(lost)}")
    return said
