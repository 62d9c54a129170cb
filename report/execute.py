"""Execute one notebook headless by papermill: `python -m report.execute NOTEBOOK OUTPUT`.

The parameters come from the environment (DATA, WEIGHTS, PRESET, SEED, DEVICE, SIZE, CLASSES, PRECISION, SEEDS, REPEAT, N_JOBS,
CLUSTER, NAME, NIM, BUILD);
a notebook gets those that its cell tagged `parameters` declares. The executed notebook and the results it wrote are moved into
place only when every cell has ended well; otherwise one line says what failed, and everything that was there before stays.
"""

import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import papermill
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from cxr_helpers.engine import files, indonesian, settings
from cxr_helpers.engine.errors import InputError
from report import check, depends

DEFAULTS = {**settings.DEFAULTS, "repeat": "auto", "n_jobs": "1", "cluster": "", "name": "", "nim": "", "build": "build"}


def parameters(notebook: Path) -> dict:
    """The values for the parameters that the notebook declares. Raises InputError if it declares none or an unknown one."""
    declared = papermill.inspect_notebook(str(notebook))
    unknown = sorted(set(declared) - set(DEFAULTS))
    if not declared or unknown:
        what = f"parameter {', '.join(unknown)} tidak dikenal" if unknown else "tidak ada sel bertanda `parameters`"
        raise InputError(f"{notebook.name}: {what}. Samakan sel itu dengan notebook 01.")
    cover = check.read_cover(Path(os.environ.get("BUILD") or DEFAULTS["build"]))
    student = {name: os.environ.get(name.upper(), cover[name]) for name in ("name", "nim")}  # not given, it stays with the build
    given = {name: student.get(name) or os.environ.get(name.upper()) or DEFAULTS[name] for name in declared}
    for name in ("data", "weights", "build"):  # the notebook runs in another folder
        if name in given and (name == "build" or os.path.exists(given[name])):
            given[name] = os.path.abspath(given[name])
    given |= {name: int(given[name]) for name in ("seed", "size", "n_jobs") if name in given}
    return given


def _one_student(build: Path) -> dict:
    """Name and number of this build's student. Raises InputError where a results file in it was made by somebody else."""
    cover = check.read_cover(build)
    mine = {name: cover[name] for name in ("name", "nim")}
    for path in sorted((build / "results").glob("*.json")):
        try:
            other = json.loads(path.read_text(encoding="utf-8"))["provenance"].get("student")
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # results.read says what is wrong with it
        if other and any(other.values()) and other != mine and other not in cover["former"]:
            whose = " ".join(part for part in (other.get("name"), other.get("nim")) if part)
            raise InputError(
                f"{path} dibuat oleh mahasiswa lain ({whose}): hapus dengan `make clean`, lalu jalankan `make report` "
                "(pelatihan yang tersimpan tidak diulang)."
            )
    return mine


def _terminal() -> str:
    return os.ttyname(2) if hasattr(os, "ttyname") and sys.stderr.isatty() else ""


def _explain(notebook: Path, error: PapermillExecutionError, kept: Path) -> str:
    if error.ename == "InputError":
        return error.evalue
    cells = nbformat.read(kept, as_version=4).cells[: error.cell_index + 1]
    cell = sum("injected-parameters" not in cell.metadata.get("tags", []) for cell in cells)  # as the person's notebook counts
    first = next((line for line in error.source.splitlines() if line.strip()), "")
    why = (error.evalue.splitlines() or [""])[0]
    return f"{notebook.name} gagal pada sel ke-{cell} ({first.strip()[:60]}): {error.ename}: {why} — lihat {kept}"


def execute(notebook: Path, output: Path) -> None:
    """Run the notebook; move output and results into place. Raises InputError with one line on failure."""
    given = parameters(notebook)
    output.parent.mkdir(parents=True, exist_ok=True)
    build = Path(given["build"])
    student = _one_student(build)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".sementara-") as staging:
        draft, collected = Path(staging) / notebook.name, Path(staging) / "results"
        sources = build / ".sources"
        os.environ |= {files.RESULTS: str(collected), files.TERMINAL: _terminal()}
        os.environ |= {files.STUDENT: json.dumps(student) if any(student.values()) else ""}
        os.environ |= {files.SOURCES: str(sources.resolve())} if sources.exists() else {}
        started = time.monotonic()
        logging.getLogger("papermill").setLevel(logging.CRITICAL)  # what went wrong comes as an exception, and is said once
        try:
            papermill.execute_notebook(
                str(notebook),
                str(draft),
                given,
                kernel_name="python3",
                language="python",
                cwd=str(files.ROOT / "notebooks"),
                progress_bar=False,
                # The kernel's own remarks (it listens on the loopback address only) are nothing that a reader can act on.
                extra_arguments=["--IPKernelApp.log_level=CRITICAL"],
            )
        except PapermillExecutionError as error:
            kept = build / "gagal" / notebook.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            os.replace(draft, kept)
            raise InputError(_explain(notebook, error, kept)) from None
        except DeadKernelError:
            raise InputError(
                f"{notebook.name}: prosesnya dimatikan, biasanya karena memori habis. Tutup program lain (atau kurangi N_JOBS), "
                "lalu jalankan perintah yang sama; pelatihan dilanjutkan dari epoch utuh terakhir."
            ) from None
        for path in sorted(collected.glob("*.json")):
            (build / "results").mkdir(parents=True, exist_ok=True)
            os.replace(path, build / "results" / path.name)
        os.replace(draft, output)
    print(f"{notebook.stem}: selesai dalam {indonesian.duration(time.monotonic() - started)}.", flush=True)


def main() -> int:
    notebook, output = (Path(path).resolve() for path in sys.argv[1:3])  # the notebook runs in another folder
    print(f"{notebook.stem}: dijalankan …", flush=True)
    try:
        execute(notebook, output)
        depends.note(Path(sys.argv[2]), notebook)
    except InputError as error:
        print(f"Galat: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        logging.getLogger("asyncio").disabled = True  # it would list the kernel's abandoned answers, with their tracebacks
        print("Dihentikan. Jalankan perintah yang sama untuk melanjutkan dari epoch utuh terakhir.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
