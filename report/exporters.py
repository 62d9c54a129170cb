"""nbconvert exporters that typeset an executed notebook: HTML with MathML, and a tagged PDF by Typst.

An exporter's Jinja template writes ONE Pandoc Markdown document; the pandoc of the pypandoc_binary wheel and one Lua filter turn
it into HTML or Typst; the typst wheel makes the PDF. No LaTeX, no browser, no system font, no network.

    jupyter nbconvert --to report.exporters.LaporanHTML FILE.ipynb     (from the project's root; LaporanPDF likewise)
    python -m report.exporters FILE.ipynb --html OUT.html | --pdf OUT.pdf
"""

import base64
import json
import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import nbformat
import pypandoc
import typst
from nbconvert.exporters import TemplateExporter

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.results import COVER, KEY

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE / "templates"
# The wheel's own pandoc, not whatever is on PATH: the output must not depend on the machine.
PANDOC = Path(pypandoc.__file__).parent / "files" / ("pandoc.exe" if os.name == "nt" else "pandoc")
READER = "markdown+lists_without_preceding_blankline-markdown_in_html_blocks-raw_html-raw_tex"
COMMON = [
    "--wrap=preserve",
    "--columns=10000",
    "--fail-if-warnings",
    "-M",
    "lang=id",
    "-M",
    "link-citations=true",
    "--syntax-highlighting=none",
]
FOLDED = re.compile(r"<details><summary>(.*?)</summary>\n(.*?)\n</details>", re.S)
DROPPED_TAGS = {"parameters", "injected-parameters", "hapus"}
# What Typst's embedded fonts can draw; anything else (emoji, Arabic, CJK) becomes a visible box in the PDF.
DRAWABLE = re.compile(r"[^\n\t -~ -ʯͰ-ϿЀ-ӿḀ-ỿ‐-‧‰-⁞₠-₿℀-⅏←-⇿∀-⋿■-◿✓✗]")
# Figures have no background of their own; on a dark page the ink that seaborn draws text and axes with turns light.
DARK = (
    "<style>@media (prefers-color-scheme: dark) {"
    '[style*="fill: #262626"] { fill: #e6e4df !important } [style*="stroke: #262626"] { stroke: #e6e4df !important }'
    '[style*="stroke: #737373"] { stroke: #a3a09a !important } [style*="stroke: #0173b2"] { stroke: #4aa8e0 !important }'
    '[style*="fill: #0173b2"] { fill: #4aa8e0 !important } [style*="stroke: #bf1229"] { stroke: #ff6b6b !important }'
    "}</style>"
)
NO_DATE = datetime(1980, 1, 1, tzinfo=timezone.utc)


def _fail(cell: int, what: str) -> InputError:
    return InputError(f"Sel ke-{cell + 1}: {what}")


class _Laporan(TemplateExporter):
    """Notebook → one Pandoc Markdown document (the Jinja template) → `typeset`."""

    export_from_notebook = None
    template_data_paths = ()

    def __init__(self, *args, **kw):
        super().__init__(*args, **kw)
        self.beside: dict[
            str, set[str]
        ] = {}  # for each notebook whose page stands beside this one: the ids of its figures and tables

    @property
    def template_paths(self):
        return [str(TEMPLATES)]

    def _template_file_default(self):
        return "document.md.j2"

    def default_filters(self):
        yield from super().default_filters()
        yield ("shown", self._shown)

    def from_notebook_node(self, nb, resources=None, **kw):
        self._figures: dict[str, str] = {}
        cover = _find_cover(nb)
        self._report = cover is not None
        for index, cell in enumerate(nb.cells):
            _check(index, cell)
            cell.metadata["laporan_index"] = index
            if cell.cell_type == "markdown":  # the only HTML that JupyterLab needs and that we typeset
                cell.source = FOLDED.sub(r'::: {.lipat judul="\1"}\n\2\n:::', cell.source)
            tags = set(cell.metadata.get("tags", []))
            cell.metadata["laporan_drop"] = bool(tags & DROPPED_TAGS)
            cell.metadata["laporan_code"] = "hide-input" not in tags and self._with_code(cover)
        markdown, resources = super().from_notebook_node(nb, resources, **kw)
        meta = dict(cover or {"title": _first_title(nb)}, report=cover is not None)
        resources["output_extension"] = self.file_extension
        return self.typeset(markdown, meta), resources

    def _with_code(self, cover: dict | None) -> bool:
        return cover is None  # the report is to be read; a notebook is to be studied

    def _source(self, mark: dict) -> str:
        """Where the numbers of a figure or table of the report stand: results file, keys, and the notebook's page."""
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
        index = cell.metadata["laporan_index"]
        if output.output_type == "stream":
            return "" if output.name == "stderr" else _fence(output.text.rstrip(), "keluaran")
        data, mark = output.get("data", {}), output.get("metadata", {}).get(KEY)
        if mark is None:
            return self._foreign(data, index)
        if mark["kind"] == "cover":
            return ""
        if mark["kind"] == "prose":
            return data["text/markdown"]
        attributes = f"#{mark['id']} .{mark['kind']}{self._source(mark)}"
        if mark["kind"] == "table":
            return f"::: {{{attributes}}}\n{data['text/markdown']}\n\n::: keterangan\n{mark['caption']}\n:::\n:::"
        name = self._keep_figure(mark["id"], data["image/svg+xml"])
        options = {"alt": mark["alt"], "lebar": mark.get("width"), "berkas": name}
        quoted = " ".join(f'{k}="{_attribute(v)}"' for k, v in options.items() if v)
        return f"::: {{{attributes} {quoted}}}\n{mark['caption']}\n:::"

    def _foreign(self, data: dict, index: int) -> str:
        """An output without our metadata: a picture without number, a table or text as it is."""
        if "application/vnd.jupyter.widget-view+json" in data:
            return ""  # an interactive control; its static twin stands beside it
        for kind in ("image/svg+xml", "image/png"):
            if kind in data:
                raise _fail(index, "gambar tanpa nomor dan keterangan; tampilkan dengan cxr_helpers.show.Chapter.")
        if "text/markdown" in data:
            return data["text/markdown"]
        return _fence(data["text/plain"], "keluaran") if "text/plain" in data else ""

    def _keep_figure(self, id: str, svg: str) -> str:
        name = f"{id}.svg"
        self._figures[name] = svg
        return name

    def _pandoc(self, folder: Path, markdown: str, meta: dict, options: list[str]) -> str:
        (folder / "document.md").write_text(markdown, encoding="utf-8")
        # pandoc reads metadata as Markdown; the plain name of the author goes in as a variable, literally.
        meta = {name: value for name, value in meta.items() if name != "author_plain"}
        (folder / "meta.json").write_text(json.dumps(meta, ensure_ascii=False), encoding="utf-8")
        for name, svg in self._figures.items():
            (folder / name).write_text(svg, encoding="utf-8")
        command = [str(PANDOC), "document.md", "-f", READER, "--metadata-file=meta.json", *COMMON, *options]
        command += [f"--lua-filter={HERE / 'laporan.lua'}", "--citeproc", f"--bibliography={HERE / 'pustaka.bib'}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise InputError(f"Dokumen tidak dapat disusun: {' '.join(done.stderr.split())[:300]}")
        return done.stdout


class LaporanHTML(_Laporan):
    """One self-contained HTML file: no script, no request, figures embedded as SVG, formulas as MathML."""

    file_extension = ".html"
    output_mimetype = "text/html"
    export_from_notebook = "Laporan HTML"

    def _keep_figure(self, id: str, svg: str) -> str:
        ruled = re.sub(r"(<svg[^>]*>)", lambda opening: opening[1] + DARK, svg, count=1)
        return "data:image/svg+xml;base64," + base64.b64encode(ruled.encode()).decode()

    def typeset(self, markdown: str, meta: dict) -> str:
        with tempfile.TemporaryDirectory() as folder:
            options = ["-s", "-t", "html5", "--mathml", "--toc", "--toc-depth=2", "-N", "--section-divs"]
            options += [
                f"--template={TEMPLATES / 'laporan.html'}",
                "-V",
                f"style={(TEMPLATES / 'laporan.css').read_text('utf-8')}",
            ]
            return self._pandoc(Path(folder), markdown, meta, options)


class LaporanPDF(_Laporan):
    """A tagged PDF (PDF/A-2a, PDF/UA-1) with embedded fonts; the same input gives the same bytes."""

    file_extension = ".pdf"
    output_mimetype = "application/pdf"
    export_from_notebook = "Laporan PDF"

    def typeset(self, markdown: str, meta: dict) -> bytes:
        moment = datetime.fromisoformat(meta["moment"]) if "moment" in meta else NO_DATE
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            options = ["-s", "-t", "typst", f"--template={TEMPLATES / 'laporan.typ'}"]
            if "author_plain" in meta:
                options += ["-V", f"author-plain={_attribute(DRAWABLE.sub('□', meta['author_plain']))}"]
            drawable = json.loads(DRAWABLE.sub("□", json.dumps(meta, ensure_ascii=False)))
            source = self._pandoc(folder, DRAWABLE.sub("□", markdown), drawable, options)
            (folder / "document.typ").write_text(source, encoding="utf-8")
            try:
                pdf, warnings = typst.compile_with_warnings(
                    str(folder / "document.typ"),
                    root=str(folder),
                    ignore_system_fonts=True,
                    format="pdf",
                    pdf_standards=["a-2a", "ua-1"],
                    timestamp=int(moment.timestamp()),
                )
            except typst.TypstError as error:
                if os.environ.get("CXR_KEEP_TYPST"):
                    Path(os.environ["CXR_KEEP_TYPST"]).write_text(source, encoding="utf-8")
                raise InputError(f"PDF tidak dapat disusun: {' '.join(str(error).split())[:300]}") from None
            if warnings:
                raise InputError(f"PDF tidak dapat disusun dengan bersih: {' '.join(str(warnings[0]).split())[:300]}")
            return pdf


def _fence(text: str, kind: str) -> str:
    ticks = "`" * (3 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks} {{.{kind}}}\n{text}\n{ticks}" if text else ""


def _attribute(text: str) -> str:
    return re.sub(r"(\\|\")", r"\\\1", " ".join(text.split()))


def _find_cover(nb) -> dict | None:
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            if COVER in output.get("data", {}):
                content = output["data"][COVER]
                return json.loads(content) if isinstance(content, str) else content
    return None


def _first_title(nb) -> str:
    for cell in nb.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"^# (.+?)(?: *\{.*\})?$", cell.source, re.M)):
            return found[1]
    return "Notebook"


def _check(index: int, cell) -> None:
    """Refuse what would vanish or look broken in print. Raises InputError that names the cell."""
    if cell.cell_type == "markdown" and re.search(r"\\begin\{(align|equation|gather)", cell.source) and "$$" not in cell.source:
        raise _fail(index, "rumus LaTeX di luar $$ … $$ akan hilang; apitlah dengan $$.")
    for output in cell.get("outputs", []):
        if output.output_type == "error":
            raise _fail(index, f"keluarannya sebuah galat ({output.ename}); jalankan notebook itu sampai selesai dahulu.")


def _ids(notebook: Path) -> set[str]:
    return set(re.findall(r'"id": "((?:fig|tbl)-[\w-]+)"', notebook.read_text(encoding="utf-8")))


def export(notebook: Path, output: Path, kind: str) -> None:
    """Typeset `notebook` into `output` ("html" or "pdf"), whole or not at all. Raises InputError."""
    try:
        nb = nbformat.read(notebook, as_version=4)
    except (OSError, ValueError) as error:
        raise InputError(f"{notebook} tidak dapat dibaca sebagai notebook ({type(error).__name__}).") from None
    exporter = {"html": LaporanHTML, "pdf": LaporanPDF}[kind]()
    exporter.beside = {path.stem: _ids(path) for path in notebook.parent.glob("*.ipynb") if path != notebook}
    content, _ = exporter.from_notebook_node(nb)
    output.parent.mkdir(parents=True, exist_ok=True)
    files.write(output, content if isinstance(content, bytes) else content.encode("utf-8"))


def main() -> int:
    notebook, option, output = sys.argv[1:4]
    try:
        export(Path(notebook), Path(output), option.removeprefix("--"))
    except InputError as error:
        print(f"Galat: {notebook}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
