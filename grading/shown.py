"""Whether laporan.html and laporan.pdf say what the hand-in's own results say.

The report's sentences and tables are worded once more, from its results and our templates. Each
line of them has to stand in the HTML, in its order; its words in the PDF, as often.
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
# elements whose text nobody reads
UNSEEN = re.compile(r"<(head|style|script|template|details)\b[^<]*(?:<(?!/\1)[^<]*)*", re.I)
STYLE, OURS = re.compile(r"<style\b[^<]*", re.I), ("huruf/huruf.css", "templates/laporan.css")
INLINE = re.compile(
    r"""\shidden\b|\sstyle\s*=(?!"(?:text-align: (?:left|right);|width:\d+%)")""", re.I
)
# of Markdown, what the pages do not show as it is: targets of links, citations, formulas
UNSHOWN = re.compile(r"\]\([^()]*\)|@\w+|<[^<>]*>|\$[^$]*\$|\{[^{}]*\}|\\(?=.)|\n")
SECONDS, ASK = 60, "hasil['kurang'] = sorted(lost)"
LOST = "lain daripada hasilnya"
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


def expected(handin: package.Handin) -> list[str]:
    """The words and numbers, a blank between, of each line that follows from the results."""
    cells = nbformat.read(REPORT, 4).cells
    source = "\n".join(cell.source for cell in cells)
    parts = {}
    for part, name in CHAPTER.findall(source):
        parts[part] = Chapter(name)
        parts[part].result = package.results(handin, name)
    parts["report"] = Chapter.join("laporan", **parts)
    macros = list(COVER)
    for part, kind, given in SHOWN.findall(source):
        names = re.findall(r'"([\w-]+)"', given)
        macros += [(part, f"text_{n}" if kind == "text" else n.replace("-", "_")) for n in names]
    said = [parts[part].words(macro)[0] for part, macro in macros]
    said += [cell.source for cell in cells if cell.cell_type == "markdown"]
    lines = [" ".join(WORD.findall(line)) for line in UNSHOWN.split("\n".join(said).lower())]
    return list(filter(None, lines))


def _lost(wanted: list[str], name: str, content: bytes, boxed: bool) -> list[str]:
    """What a page lacks; the box reads a PDF, because any file may lie there."""
    if name.endswith("html"):
        page = package.text(content)
        text = html.unescape(TAG.sub(" ", UNSEEN.sub(" ", page)))
        shown = " ".join(WORD.findall(text.lower()))
        lost = [line for line in wanted if f" {line} " not in f" {shown} "]
        ours = "".join((files.ROOT / "report" / name).read_text("utf-8") for name in OURS)
        styles = ["".join(style.split()) for style in STYLE.findall(page)]
        hides = styles != ["<style>" + "".join(ours.split())] or INLINE.search(page)
        return lost + ["gaya halaman (dapat menyembunyikan teks)"] * bool(hides)
    words = Counter(" ".join(wanted).split())
    given = {"content": base64.b64encode(content), "paths": PATHS, "word": WORD.pattern}
    with box.Kernel(boxed) as kernel:
        answer = kernel.run(PDF.format(**given, wanted=dict(words)), SECONDS, ASK)[1]
    return [package.clean(word) for word in answer["kurang"]]


def remarks(handin: package.Handin, boxed: bool) -> list[str]:
    """What is odd about the report's two pages."""
    said = []
    try:
        wanted = expected(handin)
    except Exception as error:  # a results file may hold anything
        return [f"laporan tidak dapat dibandingkan dengan hasilnya ({type(error).__name__})"]
    for name in ("laporan.html", "laporan.pdf"):
        pages = [c for p, c in handin.files.items() if p.rsplit("/", 1)[-1] == name] or [b""]
        try:
            lost = _lost(wanted, name, pages[0], boxed)
        except (box.Ended, TypeError, KeyError, ValueError):
            lost = ["semuanya"]
        lost += ["berkas lain dengan nama itu"] * (len(set(pages)) > 1)
        if lost:
            said.append(f"{name}: {LOST}: {package.listed([one[:80] for one in lost])}")
    return said
