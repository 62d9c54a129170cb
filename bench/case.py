"""One odd input and what is right for it: the value that it must become, or the one line that
refuses it.
"""

import io
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cxr_helpers.engine.errors import InputError


@dataclass(frozen=True)
class Case:
    """group, name: Indonesian; run(folder) raises AssertionError on a wrong value; line: a word of
    the one line that is right here, None where the input must be taken.
    """

    group: str
    name: str
    run: Callable[[Path], object]
    line: str | None = None


def judge(case: Case) -> tuple[str, str]:
    """("benar", "baris jelas" or "CACAT", what was said)."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            case.run(Path(folder))
        except InputError as error:
            text = str(error).replace(f"{folder}/", "")
            clear = case.line is not None and case.line in text and text.endswith(".")
            return ("baris jelas" if clear else "CACAT"), text
        except AssertionError as error:
            return "CACAT", f"nilai salah: {error}"
        except Exception as error:
            return "CACAT", f"{type(error).__name__}: {error}"
    return ("benar", "") if case.line is None else ("CACAT", "diterima, padahal seharusnya ditolak")


def zipped(content: dict[str, bytes]) -> bytes:
    """The bytes of a zip that holds these files."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return stream.getvalue()
