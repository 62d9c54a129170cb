"""nbconvert exporters that typeset an executed notebook: HTML with MathML, and a tagged PDF by
Typst.

An exporter's Jinja template writes ONE Pandoc Markdown document; the pandoc of the pypandoc_binary
wheel and two Lua filters turn it into HTML or Typst; the typst wheel makes the PDF. No LaTeX, no
browser, no system font, no network.

    jupyter nbconvert --to report.exporters.LaporanHTML FILE.ipynb    (in the project's folder)
    python -m report.exporters FILE.ipynb --html OUT.html | --pdf OUT.pdf
"""

import base64
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import nbformat
import pypandoc
import typst
from nbconvert.exporters import TemplateExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.results import COVER, KEY
from report import fonts, foreign, status
from report.foreign import fence

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "templates"
# The wheel's own pandoc, not whatever is on PATH: the output must not depend on the machine.
PANDOC = Path(pypandoc.__file__).parent / "files" / ("pandoc.exe" if os.name == "nt" else "pandoc")
# Without what only pandoc reads into a cell: a line --- is a line, not a block of settings.
# foreign.lua takes the HTML out again.
READER = (
    "markdown+lists_without_preceding_blankline+tex_math_double_backslash-raw_tex"
    "-yaml_metadata_block-pandoc_title_block-implicit_figures-raw_attribute"
    "-simple_tables-multiline_tables-grid_tables"
)
OPTIONS = "-s --wrap=preserve --columns=10000 -M lang=id -M link-citations=true"
OPTIONS += " --metadata-file=meta.json --syntax-highlighting=none --lua-filter=foreign.lua"
OPTIONS += " --lua-filter=laporan.lua --citeproc --bibliography=pustaka.bib"
HTML = "-t html5 --mathml --toc --toc-depth=2 --section-divs --template=laporan.html"
TYPST = "-t typst --template=laporan.typ"
BESIDE = [HERE / "foreign.lua", HERE / "laporan.lua", HERE / "pustaka.bib"]
BESIDE += [HERE / "huruf/huruf.css", *TEMPLATES.glob("laporan.*")]
UTF8 = {"LC_ALL": "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"}
FOLDED = re.compile(r"<details><summary>(.*?)</summary>\n(.*?)\n</details>", re.S)
DROPPED_TAGS = {"parameters", "injected-parameters", "hapus"}
# figures have no background of their own
DARK = f"<style>{(files.ROOT / 'cxr_helpers/gelap.css').read_text('utf-8')}</style>"
IN_TEXT = re.compile(r"([+−\d][\d.,%]*(?: poin persen)?)\s(\(IK 95% [^()<]*\))")  # 0,892 (IK 95% …)
NO_DATE = datetime(1980, 1, 1, tzinfo=timezone.utc)


class _Laporan(TemplateExporter):
    """Notebook → one Pandoc Markdown document (the Jinja template) → `typeset`."""

    export_from_notebook = None
    template_data_paths = ()
    paged = False

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)  # a loop's prints
        # for each notebook whose page stands beside this one: the ids of its figures and tables
        self.beside: dict[str, set[str]] = {}

    @property
    def template_paths(self):
        return [str(TEMPLATES)]

    def _template_file_default(self):
        return "document.md.j2"

    def default_filters(self):
        yield from super().default_filters()
        yield ("shown", self._shown)
        yield ("verbatim", lambda source: fence(source, "keluaran"))
        yield ("sel", lambda source: fence(source, "sel"))

    def from_notebook_node(self, nb, resources=None, **kw):
        self._figures: dict[str, str] = {}
        self._pictures = foreign.Pictures(foreign.folders(nb))
        self.notes: list[str] = []
        self._cells = nb.cells
        cover = _find_cover(nb)
        self._report = cover is not None
        for number, cell in _numbered(nb.cells):
            _refuse_error(number, cell)
            cell.metadata["laporan_number"] = number
            if cell.cell_type == "markdown":
                cell.source = FOLDED.sub(r'::: {.lipat judul="\1"}\n\2\n:::', cell.source)
                cell.source = foreign.markdown(cell, self._pictures)
            tags = set(cell.metadata.get("tags", []))
            cell.metadata["laporan_drop"] = bool(tags & DROPPED_TAGS)
            # the report is to be read; a notebook is to be studied
            cell.metadata["laporan_code"] = "hide-input" not in tags and not self._report
            marks = cell.metadata.get("nbgrader")
            answer = isinstance(marks, dict) and bool(marks.get("solution"))
            # what was answered, and a lesson's code
            cell.metadata["laporan_open"] = answer or "terbuka" in tags
        markdown, resources = super().from_notebook_node(nb, resources, **kw)
        meta = dict(cover or {"title": _first_title(nb)}, report=cover is not None)
        resources["output_extension"] = self.file_extension
        return self.typeset(markdown, meta), resources

    def _source(self, mark: dict) -> str:
        """Where the numbers of a figure or table stand: results file, keys, the notebook's page."""
        keys = [key.split(".", 1) for key in mark.get("source", []) if ".provenance" not in key]
        if not (self._report and keys):
            return ""
        stem = keys[0][0]
        inner = [key for name, key in keys if name == stem]
        named = f"{stem}.json: {', '.join(inner[:3])}{', …' if inner[3:] else ''}"
        anchor = f"#{mark['id']}" if mark["id"] in self.beside.get(stem, ()) else ""
        return f' sumber="{_attribute(named)}" halaman="{stem}.html{anchor}"'

    def _shown(self, output, cell) -> str:
        """One output as Markdown."""
        number = cell.metadata["laporan_number"]
        if output.output_type == "stream":
            return "" if output.name == "stderr" else fence(foreign.clean(output.text), "keluaran")
        if output.output_type == "error":  # of a cell that is meant to fail
            return fence(foreign.clean(f"{output.ename}: {output.evalue}"), "keluaran")
        data, mark = output.get("data", {}), output.get("metadata", {}).get(KEY)
        if mark is None:
            return foreign.output(data, number, self._pictures, alone=len(cell.outputs) == 1)
        if mark["kind"] in ("cover", "lab"):  # set by the template; for JupyterLab alone
            return ""
        if mark["kind"] == "guess":  # whoever reads the page may guess as well
            return f'::: {{.lipat judul="Jawaban"}}\n{mark["page"]}\n:::'
        if mark["kind"] == "prose":
            if "note" in mark and not self.paged:
                self._note(mark["note"])
            return data["text/markdown"]
        attributes = f"#{mark['id']} .{mark['kind']}{self._source(mark)}"
        if mark["kind"] == "table":
            return (
                f"::: {{{attributes}}}\n{data['text/markdown']}\n\n"
                f"::: keterangan\n{mark['caption']}\n:::\n:::"
            )
        name = self._keep_figure(mark["id"], data["image/svg+xml"])
        options = {"alt": mark["alt"], "lebar": mark.get("width"), "berkas": name}
        quoted = " ".join(f'{k}="{_attribute(v)}"' for k, v in options.items() if v)
        return f"::: {{{attributes} {quoted}}}\n{mark['caption']}\n:::"

    def _keep_figure(self, id: str, svg: str) -> str:
        name = f"{id}.svg"
        self._figures[name] = svg
        return name

    def _pandoc(self, folder: Path, markdown: str, meta: dict, options: list[str]) -> str:
        (folder / "document.md").write_text(markdown, encoding="utf-8")
        # pandoc reads metadata as Markdown; the plain name of the author goes in as a variable,
        # literally.
        meta = {name: value for name, value in meta.items() if name != "author_plain"}
        (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
        for name, svg in self._figures.items():
            (folder / name).write_text(svg, encoding="utf-8")
        for name, content in self._pictures.content.items():
            (folder / name).write_bytes(content)
        # by their bare names: in the C locale pandoc cannot open a path with letters beyond ASCII
        for path in BESIDE:
            shutil.copy(path, folder)
        command = [str(PANDOC), "document.md", "-f", READER, *OPTIONS.split(), *options]
        decoded = {"capture_output": True, "text": True, "encoding": "utf-8"}
        done = subprocess.run(command, cwd=folder, env=os.environ | UTF8, **decoded)
        if done.returncode or re.search(r"^\[WARNING\]", done.stderr, re.M):
            said = re.search(r"\.lua:\d+: (.*)", done.stderr)
            fault = said[1] if said else " ".join(done.stderr.split())[:300]
            id = re.search(r"#[\w-]+", fault)
            where = self._cell_with(id[0] if id else fault)
            raise InputError(f"{where}tidak dapat disusun: {fault}")
        for text, remark in re.findall(r"^CATATAN\t(.*?)\t(.*)$", done.stderr, re.M):
            self._note(f"{self._cell_with(text)}{text}: {remark}.")
        return done.stdout

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _cell_with(self, text: str) -> str:
        """'Sel ke-7: ' for the first cell in which a text stands; "" where it cannot be told."""
        squeezed = "".join(text.split())
        for number, cell in _numbered(self._cells):
            shown = [str(o.get("data", o.get("text", ""))) for o in cell.get("outputs", [])]
            if squeezed and squeezed in "".join((cell.source + "".join(shown)).split()):
                return f"Sel ke-{number}: "
        return ""


class LaporanHTML(_Laporan):
    """One self-contained HTML file: no script, no request, SVG figures, MathML formulas."""

    file_extension = ".html"
    output_mimetype = "text/html"
    export_from_notebook = "Laporan HTML"

    def _keep_figure(self, id: str, svg: str) -> str:
        ruled = re.sub(r"(<svg[^>]*>)", lambda opening: opening[1] + DARK, svg, count=1)
        return "data:image/svg+xml;base64," + base64.b64encode(ruled.encode()).decode()

    def typeset(self, markdown: str, meta: dict) -> str:
        with tempfile.TemporaryDirectory() as folder:
            page = self._pandoc(Path(folder), markdown, meta, HTML.split())
        page = re.sub(r"(?s)<p>.*?</p>", _with_margin, page)
        return re.sub(r'(<img\b[^>]*\bsrc=")(keluaran-\d+\.\w+)"', self._embedded, page)

    def _embedded(self, source: re.Match) -> str:
        opening, name = source.groups()
        ending = name.rpartition(".")[2]
        kind = {"svg": "svg+xml", "jpg": "jpeg"}.get(ending, ending)
        content = base64.b64encode(self._pictures.content[name]).decode()
        return f'{opening}data:image/{kind};base64,{content}"'


class LaporanPDF(_Laporan):
    """A tagged PDF (PDF/A-2a, PDF/UA-1) with embedded fonts; equal input, equal bytes."""

    file_extension = ".pdf"
    output_mimetype = "application/pdf"
    export_from_notebook = "Laporan PDF"
    paged = True

    def typeset(self, markdown: str, meta: dict) -> bytes:
        moment = datetime.fromisoformat(meta["moment"]) if "moment" in meta else NO_DATE
        cover = json.dumps(meta, ensure_ascii=False)
        for sign in fonts.missing(cover + markdown):
            where = self._cell_with(sign) or ("Sampul: " if sign in cover else "")
            remark = f"tidak ada pada huruf PDF dan dicetak sebagai {fonts.BOX}"
            self._note(f"{where}aksara {sign} {remark}.")
        meta, markdown = json.loads(fonts.drawable(cover)), fonts.drawable(markdown)
        options = TYPST.split()
        if "author_plain" in meta:
            options += ["-V", f"author-plain={_attribute(meta['author_plain'])}"]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            source = self._pandoc(folder, markdown, meta, options)
            fonts.put(folder / "huruf")
            try:
                (folder / "document.typ").write_text(source, encoding="utf-8")
                pdf, warnings = typst.compile_with_warnings(
                    str(folder / "document.typ"),
                    root=name,
                    font_paths=[str(folder / "huruf")],
                    ignore_system_fonts=True,
                    format="pdf",
                    pdf_standards=["a-2a", "ua-1"],
                    timestamp=int(moment.timestamp()),
                )
            except typst.TypstError as error:
                raise _unclean("PDF tidak dapat disusun", error) from None
            if warnings:
                raise _unclean("PDF tidak dapat disusun dengan bersih", warnings[0])
            return pdf


def _with_margin(paragraph: re.Match) -> str:
    """A paragraph whose intervals a wide screen shows in the margin, with their numbers."""
    return IN_TEXT.sub(r'\1<span class="samping" data-angka="\1"> \2</span>', paragraph[0])


def _unclean(fault: str, said: object) -> InputError:
    return InputError(f"{fault}: {' '.join(str(said).split())[:300]}")


def _attribute(text: str) -> str:
    return re.sub(r"(\\|\")", r"\\\1", " ".join(text.split()))


def _find_cover(nb) -> dict | None:
    outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
    covers = [output.data[COVER] for output in outputs if COVER in output.get("data", {})]
    if not covers:
        return None
    return json.loads(covers[0]) if isinstance(covers[0], str) else covers[0]


def _first_title(nb) -> str:
    written = "\n".join(cell.source for cell in nb.cells if cell.cell_type == "markdown")
    title = re.search(r"^# (.+?)(?: *\{.*\})?$", written, re.M)
    return title[1] if title else "Notebook"


def _numbered(cells) -> list[tuple[int, dict]]:
    """Each cell with its place as a person counts, who has no injected cell."""
    place, numbered = 0, []
    for cell in cells:
        place += "injected-parameters" not in cell.metadata.get("tags", [])
        numbered.append((place, cell))
    return numbered


def _refuse_error(number: int, cell) -> None:
    """Refuse a notebook that has not ended well. Raises InputError that names the cell."""
    meant = "raises-exception" in cell.metadata.get("tags", [])
    for output in cell.get("outputs", []):
        if output.output_type == "error" and not meant:
            raise InputError(
                f"Sel ke-{number}: keluarannya sebuah galat ({output.ename}); "
                "jalankan notebook itu sampai selesai dahulu."
            )


def _ids(notebook: Path) -> set[str]:
    return set(re.findall(r'"id": "((?:fig|tbl)-[\w-]+)"', notebook.read_text(encoding="utf-8")))


def export(notebook: Path, output: Path, kind: str) -> None:
    """Typeset `notebook` into `output` ("html" or "pdf"), whole or not at all, or InputError."""
    try:
        nb = nbformat.read(notebook, as_version=4)
    except (OSError, ValueError) as error:
        fault = f"tidak dapat dibaca sebagai notebook ({type(error).__name__})"
        raise InputError(f"{notebook} {fault}.") from None
    exporter = {"html": LaporanHTML, "pdf": LaporanPDF}[kind]()
    exporter.beside = {
        path.stem: _ids(path) for path in notebook.parent.glob("*.ipynb") if path != notebook
    }
    content, _ = exporter.from_notebook_node(nb)
    for note in exporter.notes:
        print(f"Catatan: {notebook.stem} ({kind.upper()}): {note}", flush=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write(output, content if isinstance(content, bytes) else content.encode("utf-8"))
    print(f"{output.name}: selesai disusun.", flush=True)


def main() -> None:
    notebook, option, output = sys.argv[1:4]
    try:
        export(Path(notebook), Path(output), option.removeprefix("--"))
    except InputError as error:
        raise InputError(f"{notebook}: {error}") from None


if __name__ == "__main__":
    sys.exit(status(main))
