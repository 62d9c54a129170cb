"""A chapter: what its sections measured, and the sentences, tables and figures that show it.

    bab = Chapter("02_pelatihan", study)
    bab.record(test=metrics(…))      # written to the results file at once
    bab.table("tbl-uji")             # and shown, in JupyterLab and in the typeset report alike

A caption stands where the notebook shows its figure or table. What depends on results stands in
notebooks/text/<name>.md.j2: a Jinja macro for each text and table. A template words what the
results say; it computes nothing. Every number that a filter prints is noted with its place in the
results file.

Each output carries, beside what JupyterLab shows, the metadata {"laporan": {"kind", "id",
"caption", "alt", "source", "printed", …}} that report/exporters.py turns into numbered figures and
tables. All text is Pandoc Markdown; what comes from outside (names, file names) goes through the
filter `aman` first.
"""

import json
import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import jinja2
import mistune
import pypandoc
from IPython.display import display
from matplotlib.figure import Figure

from cxr_helpers import figures
from cxr_helpers.engine import files, indonesian, results
from cxr_helpers.engine.results import COVER, KEY
from cxr_helpers.evaluation import LEAST_SEEDS

TEXTS = files.ROOT / "notebooks" / "text"
CITED = re.compile(r"(?<=[\[; ]@)\w+(?=[\];])|(?<=\(#ref-)\w+(?=\))")


# --- values that know their place in a results file -----------------------------------------------


class _Whole(int):
    """A number of a results file; `path` says where it stands: "02_pelatihan.test.acc.value"."""


class _Real(float):
    pass


class _Text(str):
    pass


class _List(list):
    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, at):
        value = super().__getitem__(at)
        if isinstance(at, slice):
            return value
        return traced(value, f"{self.path}[{range(len(self))[at]}]")


class _Dict(dict):
    def __getitem__(self, name):
        return traced(super().__getitem__(name), f"{self.path}.{name}")

    def items(self):
        return [(name, self[name]) for name in self]

    def values(self):
        return [self[name] for name in self]


KINDS = {dict: _Dict, list: _List, str: _Text, int: _Whole, float: _Real}


def traced(value, path: str):
    """A value of a results file that knows its `path` and hands it on; not True, False and None."""
    if isinstance(value, bool) or value is None:
        return value
    placed = KINDS[type(value)](value)
    placed.path = path
    return placed


# --- filters: how a number is written, and where it came from -------------------------------------


def escape(text: str) -> str:
    """Free text as Pandoc Markdown that shows it literally, on one line."""
    flat = " ".join(str(text).split())
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", flat)


def _percent_with_interval(estimate: dict) -> str:
    share = indonesian.percent(estimate["value"])
    return f"{share} (IK 95% {indonesian.interval(estimate['ci95'])})"


def _number_with_interval(estimate: dict, digits: int = 3) -> str:
    number = indonesian.number(estimate["value"], digits)
    return f"{number} (IK 95% {indonesian.interval(estimate['ci95'], digits, 1)})"


def _points_with_interval(estimate: dict) -> str:
    points = indonesian.points(estimate["value"])
    return f"{points} poin persen (IK 95% {indonesian.interval(estimate['ci95'])})"


def _moved_with_interval(estimate: dict) -> str:
    way = "turun" if estimate["value"] < 0 else "naik"
    return f"{way} {_points_with_interval(estimate).lstrip('+−')}"


def _as_code(value) -> str:
    """A setting as one types it: 'geometry+flip', '20', '0.0015'."""
    if isinstance(value, (list, str)):
        return "+".join([value] if isinstance(value, str) else value)
    return str(int(value)) if value == int(value) else repr(float(value))


# Each writes one value of a results file: a number, an interval [low, high], or an estimate
# {"value", "ci95"}.
FORMATS: dict[str, Callable[..., str]] = {
    "bilangan": lambda value, digits=0: indonesian.number(value, digits),
    "apa_adanya": indonesian.plain,
    "kode": _as_code,
    "bentuk": str,  # a shape, "64×28×28"
    "persen": indonesian.percent,
    "poin": indonesian.points,
    "selisih": indonesian.signed,
    "besarnya": lambda value, digits=3: indonesian.number(abs(value), digits),
    "poin_tanpa_tanda": lambda value, digits=1: indonesian.number(
        None if value is None else 100 * value, digits
    ),
    "juta": lambda value, digits=1: indonesian.number(value / 1e6, digits),
    "gib": lambda megabytes, digits=1: indonesian.number(megabytes / 1024, digits),
    "nilai_p": lambda p: "<0,001" if p < 0.001 else indonesian.number(p),
    "durasi": indonesian.duration,
    "tanggal": indonesian.date,
    "selang": indonesian.interval,
    "selang_bilangan": lambda ci, digits=3: indonesian.interval(ci, digits, 1),
    "persen_ik": _percent_with_interval,
    "bilangan_ik": _number_with_interval,
    "poin_ik": _points_with_interval,
    "gerak_ik": _moved_with_interval,  # "naik 3,1 poin persen (IK 95% …)"
}


def _noting(name: str) -> Callable:
    """The filter `name`: writes a value and notes its place. ValueError for one without a place."""

    @jinja2.pass_context
    def written(context, value, *options) -> str:
        if value is None:
            return indonesian.MISSING
        if not hasattr(value, "path"):
            raise ValueError(f"{name}: {value!r} berasal dari templat, bukan dari berkas hasil")
        text = FORMATS[name](value, *options)
        context["printed"].append(
            {"path": value.path, "format": name, "options": list(options), "text": text}
        )
        return text

    return written


def _count(values) -> _Whole:
    """How many a list or dictionary of a results file holds, as a number that knows its place."""
    return traced(len(values), f"{values.path}.length")


def _words_only(value):
    """What a template prints without a filter may be words, never a number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError(
            f"{value!r} dicetak tanpa filter; pakai salah satu dari {', '.join(FORMATS)}"
        )
    return value


def _in_a_sentence(title: str) -> str:
    """A title within a sentence: up to its first comma, in lower case unless it begins a name."""
    word, *rest = title.split(", ")[0].split(" ")
    return " ".join([word.lower() if word[1:].islower() else word, *rest])


@cache  # a template is compiled once
def _environment(folder: Path) -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown, not HTML
        finalize=_words_only,
    )
    templates.filters |= {name: _noting(name) for name in FORMATS}
    templates.filters |= {
        "aman": escape,
        "banyak": _count,
        "daftar": lambda words: indonesian.join([str(word) for word in words]),
        "kecil": _in_a_sentence,
        "kurang_seed": lambda seeds: len(seeds) < LEAST_SEEDS,
    }
    return templates


# --- figures: who draws what, from which keys of the results file ---------------------------------


class Drawing:
    """A function that draws, the keys of its arguments, its share of the width of the text."""

    def __init__(
        self, draw: Callable[..., Figure], *keys: str, width: str | None = None, **named: str
    ):
        self.draw, self.width = draw, width
        self.keys = {key.rpartition(".")[2]: key for key in keys} | named


NAMES = "provenance.data.class_names"
FIGURES = {
    # 01_adaptasi_bobot
    "fig-kernel": Drawing(figures.kernels, "kernels.before", "kernels.after"),
    "fig-pergeseran": Drawing(figures.drift, "batch_norm.drift"),
    # 02_pelatihan
    "fig-fantom": Drawing(figures.phantom, steps="phantom"),
    "fig-contoh": Drawing(figures.samples, "samples", NAMES),
    "fig-riwayat": Drawing(figures.history, "history", "best_epoch", majority="majority.val"),
    "fig-prediksi": Drawing(figures.predictions, NAMES, examples="val_examples"),
    "fig-roc": Drawing(
        figures.roc,
        "roc.curve",
        NAMES,
        matrix="roc.confusion",
        area="roc.auc",
    ),
    "fig-kebocoran": Drawing(figures.leakage, width="72%", lesson="leakage"),
    # 03_analisis_overfitting
    "fig-kesenjangan": Drawing(figures.gap, "epochs", width="72%", mark="turn.epoch"),
    "fig-belajar": Drawing(figures.learning_curve, width="72%", points="learning_curve"),
    "fig-kalibrasi": Drawing(
        figures.reliability,
        before="temperature.reliability_before",
        after="temperature.reliability_after",
    ),
    "fig-salah-yakin": Drawing(figures.predictions, NAMES, examples="confident_errors"),
    "fig-hafalan": Drawing(figures.memorisation, "memorisation.by_epoch", width="72%"),
    "fig-respons": Drawing(figures.response, rows="response"),
    "fig-atribusi": Drawing(figures.attributions, NAMES, width="85%", examples="attribution"),
    # 04_perbaikan
    "fig-augmentasi": Drawing(
        figures.augmentations, "augmentations.image", "augmentations.examples"
    ),
    "fig-himpunan-latih": Drawing(figures.training_sets, rows="training_sets"),
    "fig-selisih": Drawing(figures.forest, variants="shown"),
    "fig-kurva": Drawing(figures.compared_curves, "summary.compared", variants="shown"),
    # 05_percobaan
    "fig-percobaan": Drawing(figures.forest, "variants"),
    "fig-kurva-percobaan": Drawing(figures.compared_curves, "variants", "compared"),
    # laporan; its keys begin with the chapter's name in the report
    "fig-ringkasan": Drawing(
        figures.overview,
        "training.samples",
        "training.provenance.data",
        "training.history",
        majority="training.majority.val",
        variants="remedies.shown",
    ),
    "fig-baca": Drawing(figures.reading, "training.samples", "training.provenance.data"),
    "fig-pelatihan": Drawing(
        partial(figures.history, second="auc"), "training.history", "training.best_epoch"
    ),
    "fig-uji": Drawing(
        figures.against_ruler, "overfitting.ruler", width="72%", points="overfitting.threshold.run"
    ),
}


def pick(result: dict, key: str):
    """The value at a dotted key, for example "test.acc.value"."""
    for name in key.split("."):
        result = result[name]
    return result


# --- a chapter ------------------------------------------------------------------------------------


class Chapter:
    """One results file and the sentences about it; for the report as a whole, several.

    name: of the results file, and of the template in notebooks/text; study: where the chapter
    measures. `result` holds what has been recorded, as JSON gives it back, or {part: content}.
    """

    def __init__(self, name: str, study=None):
        self.name, self.result = name, {}
        self._study = study
        self._files: dict[str, str] = {}  # of the report: {part: name of its results file}
        self._printed: list[dict] = []
        self._told: list[str] = []
        self._macros = None

    @classmethod
    def read(cls, name: str, build: Path | str = "build") -> "Chapter":
        """A chapter that was measured before. Raises InputError from results.read."""
        chapter = cls(name)
        chapter.result = results.read(name, build)
        return chapter

    @classmethod
    def join(cls, name: str, **parts: "Chapter") -> "Chapter":
        """The report, which sees each chapter under its part's name. Raises InputError where they
        were made from different data or settings.
        """
        results.agree({chapter.name: chapter.result for chapter in parts.values()})
        report = cls(name)
        report.result = {part: chapter.result for part, chapter in parts.items()}
        report._files = {part: chapter.name for part, chapter in parts.items()}
        return report

    def record(self, **measured) -> None:
        """Add what a section measured to the results file, which is written whole each time."""
        before = {name: self.result[name] for name in self.result.keys() - {"schema", "provenance"}}
        results.write(self.name, before | measured, self._study.provenance(), self._study.build)
        self.result = results.read(self.name, self._study.build)
        self._macros = None

    def _module(self):
        """The template's macros, on what has been recorded so far."""
        if self._macros is None:
            files_of = self._files or {"r": self.name}
            bodies = self.result if self._files else {"r": self.result}
            seen = {part: traced(body, files_of[part]) for part, body in bodies.items()}
            template = _environment(TEXTS).get_template(f"{self.name}.md.j2")
            self._macros = template.make_module({**seen, "printed": self._printed})
        return self._macros

    def words(self, macro: str) -> tuple[str, list[dict]]:
        """The Markdown of a macro, a paragraph on one line, and the numbers that it printed."""
        del self._printed[:]
        lines = "\n".join(line.strip() for line in getattr(self._module(), macro)().splitlines())
        joined = [
            part if part.startswith(("|", "1. ", "- ")) else " ".join(part.split())
            for part in re.split(r"\n{2,}", lines.strip("\n"))
        ]
        self._told += joined
        return "\n\n".join(joined), list(self._printed)

    def text(self, *names: str) -> None:
        """Show the texts `text_<name>` as one paragraph."""
        texts = [self.words(f"text_{name}") for name in names]
        markdown = " ".join(words for words, _ in texts if words)
        if markdown:
            printed = [number for _, numbers in texts for number in numbers]
            _emit({"text/markdown": markdown, "text/plain": _plain(markdown)}, "prose", printed)

    def guess(self, guess, measured, unit: str = "") -> None:
        """Show a reader's guess (`...`: none yet) beside what was measured, numbers or words; the
        page folds it, and leaves out that nobody guessed.
        """
        said = "Anda belum menebak" if guess is ... else f"Tebakan Anda: {_said(guess)}"
        result = f"{_said(measured)} {unit}".strip()
        line = f"{said}; hasil pengukuran: {result}"
        page = escape(f"Hasil pengukuran: {result}." if guess is ... else f"{line}.")
        _emit({"text/markdown": f"**{line}**", "text/plain": line}, "guess", page=page)

    def table(self, id: str, caption: str = "") -> None:
        """Show the table `id` ("tbl-…") with its caption (see `_caption`)."""
        markdown, printed = self.words(id.replace("-", "_"))
        caption, noted = self._caption(id, caption)
        source = sorted({".".join(re.split(r"[.\[]", n["path"])[:2]) for n in printed})
        head = f'<table><caption style="text-align: left">{_inline(caption)}</caption>'
        shown = _html(markdown).replace(" hingga ", "\u00a0hingga\u00a0")  # an interval stays whole
        data = {"text/html": shown.replace("<table>", head, 1)}
        data |= {"text/markdown": markdown, "text/plain": _plain(markdown)}
        _emit(data, "table", printed + noted, id=id, caption=caption, source=source)

    def figure(self, id: str, caption: str = "") -> None:
        """Draw and show the figure `id` ("fig-…") of FIGURES with caption and alternative text."""
        drawing, alt = FIGURES[id], f"{id.replace('-', '_')}_alt"
        figure = drawing.draw(**{name: pick(self.result, k) for name, k in drawing.keys.items()})
        caption, printed = self._caption(id, caption)
        alt, noted = self.words(alt) if hasattr(self._module(), alt) else (_plain(caption), [])
        about = {"id": id, "caption": caption, "alt": alt, "width": drawing.width}
        about["source"] = [self._place(key) for key in drawing.keys.values()]
        _emit(_pictures(figure, caption, alt), "figure", printed + noted, **about)

    def _caption(self, id: str, given: str) -> tuple[str, list[dict]]:
        """The caption that the notebook gave, kept for the report; without one, the template's."""
        kept = self.result.get("captions", {})
        if given and self._study:
            self.record(captions=kept | {id: given})
        caption = given or kept.get(id)
        return (caption, []) if caption else self.words(f"{id.replace('-', '_')}_caption")

    def _place(self, key: str) -> str:
        """Where a key of `result` stands: the name of its results file, then the key in it."""
        part, _, rest = key.partition(".")
        return f"{self._files[part]}.{rest}" if part in self._files else f"{self.name}.{key}"

    def references(self) -> None:
        """Show, in JupyterLab alone, the literature that notebook and texts link to by #ref-key."""
        cells = _cells(files.ROOT / "notebooks" / f"{self.name}.ipynb")
        told = self._told + ["".join(cell["source"]) for cell in cells]
        cited = sorted({key for text in told for key in CITED.findall(text)})
        listed = f"---\nlang: id\nnocite: |\n  {', '.join('@' + key for key in cited)}\n...\n"
        options = ["--citeproc", "--bibliography=pustaka.bib"]
        folder = str(files.ROOT / "report")
        shown = pypandoc.convert_text(
            listed, "html", format="markdown", extra_args=options, cworkdir=folder
        )
        _emit({"text/html": shown, "text/plain": ", ".join(cited)}, "lab")


def _cells(path: Path) -> list[dict]:
    """The cells of a notebook; none where there is no such file."""
    return json.loads(path.read_text(encoding="utf-8"))["cells"] if path.exists() else []


def words_of_reader(notebook: str, tag: str, build: Path | str = "build") -> None:
    """Show the Markdown cells with a tag of an executed notebook, or a line where there is none."""
    tagged = [
        cell
        for cell in _cells(files.project() / build / "notebooks" / f"{notebook}.ipynb")
        if cell["cell_type"] == "markdown" and tag in cell["metadata"].get("tags", [])
    ]
    for cell in tagged:
        markdown = "".join(cell["source"])
        example = f"{notebook}: sel `{tag}` masih berisi contoh; gantilah sebelum dikumpulkan."
        note = example if markdown.startswith("*(") else None  # as the notebook is handed out
        _emit({"text/markdown": markdown, "text/plain": _plain(markdown)}, "prose", note=note)
    if not tagged:
        missing = (
            f"Tidak ada sel Markdown bertanda `{tag}` di notebook {notebook}: pilih selnya di "
            "JupyterLab, klik gambar roda gigi di kanan atas, lalu tambahkan tanda itu (Cell Tags)."
        )
        data = {"text/markdown": f"*({missing})*", "text/plain": _plain(missing)}
        _emit(data, "prose", note=_plain(missing))


# --- outputs --------------------------------------------------------------------------------------


def _emit(data: dict, kind: str, printed: list[dict] | None = None, **fields) -> None:
    mark = {"kind": kind, "printed": printed, **fields}
    said = {name: value for name, value in mark.items() if value is not None}
    display(data, raw=True, metadata={KEY: said})


def _said(value) -> str:
    return value if isinstance(value, str) else indonesian.plain(value)


def _plain(markdown: str) -> str:
    """Markdown without its marks."""
    told = re.sub(r"\[([^\]]*)\]\(#[^)]*\)", r"\1", markdown)
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)[*`]", "", told))


def _html(markdown: str) -> str:
    """Markdown as HTML for JupyterLab."""
    return mistune.create_markdown(escape=True, plugins=["table"])(markdown)


def _inline(markdown: str) -> str:
    return _html(markdown).strip().removeprefix("<p>").removesuffix("</p>")


def _pictures(figure: figures.Canvas, caption: str, alt: str) -> dict[str, str]:
    """The figure for the report (SVG) and for JupyterLab."""
    shown = f"<figure>{figure._repr_html_(alt)}<figcaption>{_inline(caption)}</figcaption></figure>"
    return {"text/html": shown, "image/svg+xml": figure.svg(), "text/plain": alt}


def items(markdown: str) -> list[str]:
    """The items of a list, each on one line."""
    return [" ".join(item.split()) for item in re.split(r"^- ", markdown, flags=re.M)[1:]]


def cover(report: Chapter, author: dict[str, str], moment: str) -> None:
    """Show the cover, whose words come from the template's macros (`facts`: "- label | text").
    author: {label: free text}; moment: ISO time, which dates the PDF.
    """
    title, subtitle, abstract, date, facts, points = (
        report.words(name)[0]
        for name in ("title", "subtitle", "abstract", "date", "facts", "points")
    )
    pairs = [tuple(part.strip() for part in line.split("|", 1)) for line in items(facts)]
    content = {
        "title": title,
        "subtitle": subtitle,
        "author_plain": " ".join(next(iter(author.values()), "").split()),
        "author": [{"label": escape(k), "value": escape(v)} for k, v in author.items()],
        "fact": [{"label": k, "value": v} for k, v in pairs],
        "abstract": abstract,
        "point": items(points),
        "date": date,
        "moment": moment,
    }
    _emit({COVER: json.dumps(content), "text/plain": title}, "cover")
