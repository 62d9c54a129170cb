"""Cells of a student's own as the Markdown that the exporters typeset: what JupyterLab shows, or a
sentence where it cannot be.

Markdown cells keep their words, whatever they begin with; pictures that are attached, lie beside
the notebook or are part of an output go into `Pictures`; HTML is handed on to foreign.lua, which
reads it. Of an output's types JupyterLab's own choice is taken.
"""

import base64
import binascii
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from urllib.parse import unquote

from nbconvert.filters import strip_ansi
from PIL import Image

from cxr_helpers.engine import files

WIDEST = 640  # CSS pixels that fill the width of the text (foreign.lua knows the same)
LARGEST = 20 * 2**20  # bytes of one picture
ENDINGS = {"PNG": "png", "JPEG": "jpg", "GIF": "gif", "WEBP": "webp"}
PICTURES = ("image/svg+xml", "image/png", "image/jpeg", "image/gif", "image/webp")
INTERACTIVE = re.compile(r"application/(?:vnd\.(?:plotly|vega|vegalite|bokehjs)|javascript)")
# Code first, so that what is written about Markdown is not taken for it.
CODE = (
    r"(?P<code>^(?P<in> {0,3})(?P<f>`{3,}|~{3,}).*?(?:(?P<end>^ {0,3}(?P=f)[`~]*[ \t]*$)|\Z)"
    r"|(?P<t>`+)(?!`).+?(?<!`)(?P=t)(?!`))"
)
LOADED = (
    r"<(?P<loaded>iframe|video|audio|canvas|object|embed|svg)\b(?P<about>[^>]*)>"
    r"(?:.*?</(?P=loaded)\s*>)?"
)
MARKED = re.compile(
    CODE
    + "|"
    + LOADED
    + r"|(?P<table><table\b.*?</table\s*>)"
    + r"|!\[(?P<alt>(?:[^\]\\]|\\.)*)\]"
    + r"\(\s*(?:<(?P<angle>[^>\n]*)>|(?P<src>[^\s)]+))(?:\s+[\"'][^\"'\n]*[\"'])?\s*\)"
    + r"(?P<attr>\{[^}\n]*\})?"
    + r"|(?P<img><img\b[^>]*>)"
    + r"|(?P<env>(?<!\$)\$\$.*?\$\$"
    + r"|\\begin\{(?P<name>(?:align|equation|gather|eqnarray|multline)\*?)\}.*?\\end\{(?P=name)\})"
    + r"|(?P<formula>(?<![\\$])\$(?=[^\s$])(?:[^$\n]|\n(?!\s*\n))*?(?<=[^\s\\])\$(?!\d))"
    + r"|(?<![\\$])\$[ \t]+(?P<math>[^$\n]+?)[ \t]+\$(?!\$)",
    re.S | re.M | re.I,
)
SOURCE = re.compile(r"""\bsrc\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)""", re.I)
INVISIBLE = re.compile(r"<(script|style)\b.*?</\1\s*>|<!--.*?-->", re.S | re.I)
IMAGE = re.compile(r"<img\b[^>]*>", re.I)
COLOURED = re.compile(r"(?:background(?:-color)?|(?<![\w-])color)\s*:", re.I)


class Pictures:
    """The pictures of one document that both pages can show, {file name: content}."""

    def __init__(self, folders: list[Path]):
        self.folders, self.content = folders, {}

    def add(self, content: bytes) -> tuple[str, int] | None:
        """Name and width (percent of the text's) of a picture; None if it cannot be shown."""
        kind = _raster(content) or _vector(content)
        if kind is None or len(content) > LARGEST:
            return None
        ending, pixels = kind
        names = [name for name, other in self.content.items() if other == content]
        name = names[0] if names else f"keluaran-{len(self.content)}.{ending}"
        self.content[name] = content
        return name, max(1, min(100, round(100 * pixels / WIDEST)))

    def find(self, source: str, attached: dict) -> tuple[str, int] | None:
        """The picture that a Markdown cell names: attached, in the address, or in a file."""
        if source.startswith("attachment:"):
            kept = attached.get(unquote(source.removeprefix("attachment:")), {})
            content = _decoded(next(iter(kept.values()), ""))
        elif source.startswith("data:"):
            head, _, body = source.partition(",")
            content = _decoded(body) if head.endswith(";base64") else unquote(body).encode()
        else:
            content = self._read(unquote(source))
        return self.add(content) if content else None

    def _read(self, source: str) -> bytes:
        if re.match(r"\w+://", source):
            return b""
        for folder in self.folders:
            try:
                path = (folder / source).resolve()
                inside = any(path.is_relative_to(root.resolve()) for root in (folder, files.ROOT))
                if inside and path.is_file() and path.stat().st_size <= LARGEST:
                    return path.read_bytes()
            except (OSError, ValueError):
                continue
        return b""


def folders(notebook) -> list[Path]:
    """Where relative pictures may lie: beside the executed notebook, then in notebooks/."""
    executed = notebook.metadata.get("papermill", {}).get("input_path") or ""
    return [*([Path(executed).parent] if executed else []), files.ROOT / "notebooks", files.ROOT]


def _decoded(text) -> bytes:
    try:
        return base64.b64decode("".join(text).encode(), validate=False)
    except (binascii.Error, ValueError):
        return b""


def _raster(content: bytes) -> tuple[str, int] | None:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            kind, width = picture.format, picture.width
            picture.load()  # a truncated file opens and then fails
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return (ENDINGS[kind], width) if kind in ENDINGS else None


def _vector(content: bytes) -> tuple[str, int] | None:
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, ValueError):
        return None
    # without its namespace no browser draws it
    if root.tag.rpartition("}")[2] != "svg" or root.tag == "svg":
        return None
    width = re.match(r"\s*([\d.]+)\s*(pt|px)?\s*$", root.get("width", ""))
    box = root.get("viewBox", "").replace(",", " ").split()
    if width:
        pixels = float(width[1]) * (4 / 3 if width[2] == "pt" else 1)
    elif len(box) == 4:
        pixels = float(box[2])
    else:
        pixels = WIDEST
    return "svg", round(pixels)


# --- Markdown cells -------------------------------------------------------------------------------


def markdown(cell, pictures: Pictures) -> str:
    """A Markdown cell as pandoc and foreign.lua read it, its pictures in `pictures`."""
    attached = cell.get("attachments", {})

    def written(match: re.Match) -> str:
        if match["code"] or match["formula"]:
            # a fence left open reaches to the end of its cell
            left_open = match["f"] and not match["end"]
            return match[0] + (f"\n{match['in']}{match['f']}" if left_open else "")
        if match["loaded"]:
            return _said(match)
        if match["table"]:
            return html(match["table"], pictures)
        if match["env"]:
            return match[0] if match["env"].startswith("$$") else f"$${match[0]}$$"
        if match["math"]:
            return f"${match['math']}$"
        if match["img"]:
            return _placed(match["img"], pictures, attached)
        kept = pictures.find(match["src"] or match["angle"], attached)
        if kept is None:
            return match[0]
        return f"![{match['alt']}]({kept[0]})" + (match["attr"] or f"{{width={kept[1]}%}}")

    return MARKED.sub(written, cell.source)


def _placed(tag: str, pictures: Pictures, attached: dict) -> str:
    source = SOURCE.search(tag)
    kept = pictures.find(source[1].strip("\"'"), attached) if source else None
    if kept is None:
        return tag
    width = "" if re.search(r"\bwidth\s*=", tag, re.I) else f' width="{kept[1]}%"'
    return tag[: source.start()] + f'src="{kept[0]}"{width}' + tag[source.end() :]


def html(text: str, pictures: Pictures) -> str:
    """HTML for foreign.lua, without what runs or loads; a sentence says where colours are lost."""
    kept = re.sub(LOADED, _said, INVISIBLE.sub("", text), flags=re.S | re.I)
    kept = IMAGE.sub(lambda tag: _placed(tag[0], pictures, {}), kept)
    block = fence(kept if kept.strip() else "<div></div>", "keluaran-html")
    if "<table" in text.lower() and COLOURED.search(text):
        block += "\n\n*[Warna tabel ini hanya tampil di JupyterLab.]*"
    return block


def _said(tag: re.Match) -> str:
    source = SOURCE.search(tag["about"])
    address = source[1].strip("\"'") if source else "tanpa alamat"
    if address.startswith("data:"):
        address = "isinya tersimpan di dalam sel"
    return f"<em>[&lt;{tag['loaded']}&gt; hanya tampil di JupyterLab: {address}]</em>"


# --- outputs --------------------------------------------------------------------------------------


def output(data: dict, number: int, pictures: Pictures, alone: bool) -> str:
    """What a cell shows, as Markdown; alone: whether the cell shows nothing else."""
    if "application/vnd.jupyter.widget-view+json" in data:
        # A control of the package has a static twin beside it.
        return "*[Kendali interaktif ini hanya tampil di JupyterLab.]*" if alone else ""
    kept = _picture(data, pictures)
    if any(INTERACTIVE.match(kind) for kind in data) and kept is None:
        return f"*[Keluaran interaktif sel ke-{number} hanya tampil di JupyterLab.]*"
    if "text/html" in data and not (kept and INTERACTIVE.search(" ".join(data))):
        return html("".join(data["text/html"]), pictures)
    if "text/markdown" in data:
        return "".join(data["text/markdown"])
    if "text/latex" in data:
        return _latex("".join(data["text/latex"]))
    if kept:
        return f"![Keluaran sel ke-{number}]({kept[0]}){{width={kept[1]}%}}"
    if any(kind.startswith("image/") for kind in data):
        return f"*[Gambar keluaran sel ke-{number} rusak atau terlalu besar dan tidak disertakan.]*"
    return fence(clean("".join(data.get("text/plain", ""))), "keluaran")


def _picture(data: dict, pictures: Pictures) -> tuple[str, int] | None:
    for kind in PICTURES:
        if kind in data:
            text = "".join(data[kind])
            content = text.encode() if kind == "image/svg+xml" else _decoded(text)
            if kept := pictures.add(content):
                return kept
    return None


def _latex(text: str) -> str:
    text = text.strip()
    inner = re.fullmatch(r"\${1,2}\s*(?:\\displaystyle\s*)?([^$]+?)\s*\${1,2}", text)
    if inner:
        return f"$${inner[1]}$$"
    return text if "$" in text else f"$${text}$$"


def clean(text: str) -> str:
    """Printed text as a terminal shows it: no colours, what \\r covers, or control characters."""
    lines = strip_ansi(text).replace("\r\n", "\n").split("\n")
    shown = "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in lines)
    return re.sub(
        r"[^\n\t -\x7e\x80-\uffff\U00010000-\U0010ffff]|[\x80-\x9f\ufffe\uffff]|[\ud800-\udfff]",
        "",
        shown,
    ).rstrip()


def fence(text: str, kind: str) -> str:
    """Text as a block of code of a class that the filters know; "" for none."""
    ticks = "`" * (3 + max((len(run) for run in re.findall(r"`+", text)), default=0))
    return f"{ticks} {{.{kind}}}\n{text}\n{ticks}" if text else ""
