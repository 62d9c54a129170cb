"""Execute one notebook headless by papermill: `python -m report.execute NOTEBOOK OUTPUT [NEWER …]`.

The parameters come from the environment (DATA, WEIGHTS, PRESET, SEED, DEVICE, SIZE, CLASSES,
PRECISION, SEEDS, REPEAT, N_JOBS, CLUSTER, NAME, NIM, BUILD); a notebook gets those that its cell
tagged `parameters` declares. The executed notebook and the results it wrote are moved into place
only when every cell has ended well; otherwise one line says what failed, and everything that was
there before stays. NEWER: what make found newer than the output; where that is the notebook alone
and its code is what was executed, only its words are put there (JupyterLab also saves a notebook
that was only opened).
"""

import ast
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import nbformat
import papermill
import psutil
from ipykernel.kernelspec import write_kernel_spec
from papermill.exceptions import PapermillExecutionError

from cxr_helpers.engine import files, indonesian, settings
from cxr_helpers.engine.errors import InputError
from report import check, environment, status

KERNEL = "python3"
SILENT, SILENT_LOG = 10, 60  # seconds
STAGING = ".sementara-"
STOPPED = "Dihentikan. Jalankan perintah yang sama untuk melanjutkan dari epoch utuh terakhir."
PERSONAL = "JUPYTER_RUNTIME_DIR JUPYTER_DATA_DIR JUPYTER_CONFIG_DIR JUPYTER_PATH IPYTHONDIR".split()
DEFAULTS = dict(
    settings.DEFAULTS, repeat="auto", n_jobs="1", cluster="", name="", nim="", build="build"
)
CONFLICT = re.compile(r"^(?:<{7}|>{7}) ", re.M)


def whole(notebook: Path) -> nbformat.NotebookNode:
    """The notebook. Raises InputError where it is empty, cut off, or holds a Git conflict."""
    again = f"ambil kembali dengan `git checkout -- {notebook.parent.name}/{notebook.name}`"
    try:
        text = notebook.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = type(error).__name__
        raise InputError(f"{notebook.name} tidak dapat dibaca ({why}): {again}.") from None
    if not text.strip():
        raise InputError(f"{notebook.name} kosong: {again}.")
    if mark := CONFLICT.search(text):
        line = text[: mark.start()].count("\n") + 1
        raise InputError(
            f"{notebook.name} memuat tanda konflik Git pada baris {line}: "
            f"pilih satu dari kedua versi, atau {again}."
        )
    try:
        content = nbformat.reads(text, as_version=4)
        sources = [cell.source for cell in content.cells if cell.cell_type]  # each has both
    except (ValueError, AttributeError, KeyError, TypeError, nbformat.ValidationError):
        raise InputError(f"{notebook.name} terpotong atau bukan notebook: {again}.") from None
    for number, source in enumerate(sources, start=1):
        if CONFLICT.search(source):
            raise InputError(
                f"{notebook.name}, sel ke-{number} memuat tanda konflik Git: "
                "hapus versi yang tidak dipakai di sel itu."
            )
    return content


def _declared(name: str, content: nbformat.NotebookNode) -> list[str]:
    """What the cell tagged `parameters` assigns; [] where there is none."""
    tagged = [cell for cell in content.cells if "parameters" in cell.metadata.get("tags", [])]
    try:
        nodes = ast.parse(tagged[0].source if tagged else "").body
    except SyntaxError as error:
        raise InputError(
            f"{name}: sel parameter tidak dapat dibaca, baris {error.lineno}: {error.msg}."
        ) from None
    targets = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in nodes if isinstance(node, ast.AnnAssign)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _build() -> Path:
    return Path(os.environ.get("BUILD") or DEFAULTS["build"])


def parameters(notebook: Path) -> dict:
    """{parameter that the notebook declares: value}. Raises InputError for none or an unknown."""
    declared = _declared(notebook.name, whole(notebook))
    unknown = sorted(set(declared) - set(DEFAULTS))
    if not declared or unknown:
        fault = "tidak ada sel bertanda `parameters`"
        if unknown:
            fault = f"parameter {', '.join(unknown)} tidak dikenal"
        raise InputError(f"{notebook.name}: {fault}. Samakan sel itu dengan notebook 01.")
    build = _build()
    student = check.cover(build)
    given = {
        name: student.get(name) or os.environ.get(name.upper()) or DEFAULTS[name]
        for name in declared
    }
    if "seed" in given:
        given["seed"] = check.seed(build)
    for name in ("data", "weights", "build"):  # the notebook runs in another folder
        if name in given and (name == "build" or os.path.exists(given[name])):
            given[name] = os.path.abspath(given[name])
    given |= {name: int(given[name]) for name in ("seed", "size", "n_jobs") if name in given}
    return given


def _one_student(build: Path) -> dict:
    """Name and number of this build's student. Raises InputError for results of another."""
    cover = check.cover(build)  # .cover itself is written after the notebooks
    mine = {name: cover[name] for name in ("name", "nim")}
    for path in sorted((build / "results").glob("*.json")):
        try:
            other = json.loads(path.read_text(encoding="utf-8"))["provenance"].get("student")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # results.read says what is wrong with it
        if other and any(other.values()) and other != mine and other not in cover["former"]:
            whose = f"{other.get('name', '')} {other.get('nim', '')}".strip()
            raise InputError(
                f"{path} dibuat oleh mahasiswa lain ({whose}): hapus dengan `make clean`, "
                "lalu jalankan `make report` (pelatihan yang tersimpan tidak diulang)."
            )
    return mine


def _clear(folder: Path) -> None:
    """Remove what killed processes have left behind in a folder."""
    for left in folder.glob(f"{STAGING}*"):
        number = re.match(r"(\d+)-", left.name.removeprefix(STAGING))
        if not (number and psutil.pid_exists(int(number[1]))):
            shutil.rmtree(left, ignore_errors=True)


def _surroundings(build: Path, student: dict, staging: Path, collected: Path) -> dict[str, str]:
    """The environment variables of the notebook's process, in which no settings of a person's own
    count, and in whose `staging` the kernel KERNEL is this very Python.
    """
    seen = hasattr(os, "ttyname") and sys.stderr.isatty()
    told = {
        files.RESULTS: str(collected),
        files.TERMINAL: os.ttyname(2) if seen else "",
        files.STUDENT: json.dumps(student) if any(student.values()) else "",
    }
    if os.pathsep in str(files.ROOT):  # it cannot stand in PYTHONPATH
        told["PYTHONPATH"] = ".."
    if (build / ".sources").exists():
        told[files.SOURCES] = str((build / ".sources").resolve())
    write_kernel_spec(staging / "kernels" / KERNEL)
    told |= dict.fromkeys(PERSONAL, str(staging))
    return told | {"MATPLOTLIBRC": os.devnull, "PYTHONSTARTUP": ""}


def _explain(notebook: Path, error: PapermillExecutionError, kept: Path) -> str:
    cells = nbformat.read(kept, as_version=4).cells[: error.cell_index + 1]
    # as the person's notebook counts
    cell = sum("injected-parameters" not in cell.metadata.get("tags", []) for cell in cells)
    if error.ename == "InputError":
        return f"{error.evalue} ({notebook.name}, sel ke-{cell})"
    first = next((line for line in error.source.splitlines() if line.strip()), "")
    why = (error.evalue.splitlines() or [""])[0]
    return (
        f"{notebook.name} gagal pada sel ke-{cell} ({first.strip()[:60]}): "
        f"{error.ename}: {why} — lihat {kept}"
    )


class Pulse:
    """Says at which cell a notebook is: now and then on a terminal, every minute in a log."""

    def __init__(self, name: str, cells: int):
        self.name, self.cells, self.at, self.started = name, cells, 0, time.monotonic()
        self._terminal, self._ended = sys.stderr.isatty(), threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)
        self._thread.start()

    def begin(self, cell_index: int, **_) -> None:
        self.at = max(1, cell_index)  # papermill has put one cell in front, behind the parameters

    def end(self) -> None:
        self._ended.set()
        self._thread.join()
        if self._terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _beat(self) -> None:
        while not self._ended.wait(SILENT if self._terminal else SILENT_LOG):
            passed = indonesian.duration(time.monotonic() - self.started)
            said = f"{self.name}: sel ke-{self.at} dari {self.cells}, {passed} …"
            if self._terminal:
                print(f"\r{said}\x1b[K", end="", file=sys.stderr, flush=True)
            else:
                print(said, flush=True)


def execute(notebook: Path, output: Path) -> None:
    """Run the notebook; move output and results into place. Raises InputError on failure."""
    given = parameters(notebook)
    output.parent.mkdir(parents=True, exist_ok=True)
    build = _build().absolute()
    student = _one_student(build)
    _clear(output.parent)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(
        dir=output.parent, prefix=f"{STAGING}{os.getpid()}-"
    ) as staging:
        draft, collected = Path(staging) / notebook.name, Path(staging) / "results"
        with environment(_surroundings(build, student, Path(staging), collected)):
            _run(notebook, draft, given, build)
        for path in sorted(collected.glob("[!.]*")):
            (build / "results").mkdir(parents=True, exist_ok=True)
            os.replace(path, build / "results" / path.name)
        os.replace(draft, output)
    passed = indonesian.duration(time.monotonic() - started)
    print(f"{notebook.stem}: selesai dalam {passed}.", flush=True)


def _run(notebook: Path, draft: Path, given: dict, build: Path) -> None:
    """Execute into `draft`; one that fails is kept in the build's gagal/. Raises InputError."""
    # what went wrong comes as an exception, and is said once
    logging.getLogger("papermill").setLevel(logging.CRITICAL)
    pulse = Pulse(notebook.stem, len(nbformat.read(notebook, as_version=4).cells))
    try:
        papermill.execute_notebook(
            str(notebook),
            str(draft),
            given,
            kernel_name=KERNEL,
            language="python",
            cwd=str(files.ROOT / "notebooks"),
            progress_bar=False,
            on_cell_start=pulse.begin,
            # The kernel's own remarks (it listens on the loopback address only) are nothing
            # that a reader can act on.
            extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
        )
    except PapermillExecutionError as error:
        kept = build / "gagal" / notebook.name
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.replace(draft, kept)
        raise InputError(_explain(notebook, error, kept)) from None
    except RuntimeError:  # of nbclient, whose kernel has died
        raise InputError(
            f"{notebook.name}: prosesnya dimatikan, biasanya karena memori habis. "
            "Tutup program lain (atau kurangi N_JOBS), lalu jalankan perintah yang sama; "
            "pelatihan dilanjutkan dari epoch utuh terakhir."
        ) from None
    finally:
        pulse.end()


def _about(cell: nbformat.NotebookNode) -> tuple:
    return cell.cell_type, cell.source, cell.metadata.get("tags", [])


def retell(notebook: Path, output: Path, newer: list[str]) -> bool:
    """Whether nothing but the notebook's words is newer than its output; they are put there."""
    if [Path(path).resolve() for path in newer] != [notebook]:
        return False
    told, cells = whole(notebook), []
    try:
        done = nbformat.read(output, as_version=4)
        executed = [cell for cell in done.cells if cell.cell_type == "code"]
    except (OSError, ValueError, AttributeError, nbformat.ValidationError):
        return False
    for cell in told.cells:
        if cell.cell_type == "code":
            if not executed or _about(cell) != _about(executed[0]):
                return False
            cell = executed.pop(0)
        cells.append(cell)
        while executed and "injected-parameters" in executed[0].metadata.get("tags", []):
            cells.append(executed.pop(0))
    if executed:
        return False
    if list(map(_about, cells)) != list(map(_about, done.cells)):
        done.cells = cells
        files.write(output, nbformat.writes(done).encode())
    return True


def main() -> None:
    # the notebook runs in another folder
    notebook, output = (Path(path).resolve() for path in sys.argv[1:3])
    if retell(notebook, output, sys.argv[3:]):
        return
    print(f"{notebook.stem}: dijalankan …", flush=True)
    try:
        execute(notebook, output)
    except KeyboardInterrupt:
        # it would list the kernel's abandoned answers, with their tracebacks
        logging.getLogger("asyncio").disabled = True
        raise


if __name__ == "__main__":
    sys.exit(status(main, STOPPED))
