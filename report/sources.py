"""Decide once per build which data and weights are used: `python -m report.sources OUTPUT`.

`auto` may ask the network; asking once, before the first notebook, keeps all notebooks on the same
answer and tells the person at once. The choice is written as JSON, which `open_study` reads (see
files.SOURCES). Wrong input: one line, exit 2, nothing written.
"""

import json
import sys
from pathlib import Path

from cxr_helpers import study
from cxr_helpers.engine import files, runtime
from report import check, status


def decide(output: Path) -> None:
    """Open the study as the notebooks will, say what it holds, and write the choice."""
    given = check.given(output.parent)
    opened = study.open_study(**given)
    source = opened.data.source
    if given["data"] != "auto":  # what auto found has been said by data.resolve
        print(f"Data: {source.title}. {source.note}")
    print(f"Bobot: {opened.weights.title}. {opened.weights.note}")
    classes = opened.data.classes
    print(f"Kelas: {classes[0]} (label 0) dan {classes[1]} (label 1).")
    where = runtime.device_name(opened.device)
    print(f"Preset: {opened.preset.name} pada {where}, seed {opened.seed}.", flush=True)
    choice = {
        "source": vars(source),
        "weights": opened.weights.kind,
        "weights_note": opened.weights.note,
        "precision": opened.precision,
    }
    text = json.dumps(choice, ensure_ascii=False, indent=1, default=_from_project)
    files.write(output, text.encode())


def _from_project(path: Path) -> str:  # whose folder may be moved
    path, project = path.resolve(), files.project().resolve()
    return str(path.relative_to(project) if path.is_relative_to(project) else path)


if __name__ == "__main__":
    sys.exit(status(lambda: decide(Path(sys.argv[1]))))
