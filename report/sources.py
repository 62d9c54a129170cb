"""Decide once per build which data and weights are used: `python -m report.sources OUTPUT`.

`auto` may ask the network; asking once, before the first notebook, keeps all notebooks on the same
answer and tells the person at once. The choice is written as JSON, which `open_study` reads (see
files.SOURCES). Wrong input: one line, exit 2, nothing written.
"""

import json
import os
import sys
from pathlib import Path

from cxr_helpers import setup
from cxr_helpers.engine import files, settings
from cxr_helpers.engine.errors import InputError
from report import check


def decide(output: Path) -> None:
    """Open the study as the notebooks will, say what was found, and write the choice. Raises
    InputError.
    """
    given = {
        name: os.environ.get(name.upper()) or value for name, value in settings.DEFAULTS.items()
    }
    opened = setup.open_setup(**given | {"seed": check.seed(output.parent)})
    source = opened.data.source
    if given["data"] != "auto":  # what auto found has been said by data.resolve
        print(f"Data: {source.title}. {source.note}")
    print(f"Bobot: {opened.weights.title}. {opened.weights.note}")
    classes = opened.data.classes
    print(f"Kelas: {classes[0]} (label 0) dan {classes[1]} (label 1).")
    print(
        "Preset: "
        f"{opened.preset.name} pada {setup.device_name(opened.device)}, seed {opened.seed}.",
        flush=True,
    )
    fields = {
        name: str(value.resolve()) if isinstance(value, Path) else value
        for name, value in vars(source).items()
    }
    choice = {"source": fields, "weights": opened.weights.kind, "weights_note": opened.weights.note}
    choice["precision"] = opened.precision
    files.write(output, json.dumps(choice, ensure_ascii=False, indent=1).encode())


def main() -> int:
    try:
        decide(Path(sys.argv[1]))
    except InputError as error:
        print(f"Galat: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
