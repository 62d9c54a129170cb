"""`python -m grading WORD`, as the Makefile calls it: kumpul, tugas, nilai, tantangan, bundel."""

import subprocess
import sys
from importlib import import_module

from cxr_helpers.engine import files
from cxr_helpers.engine.errors import InputError
from report import status

COMMANDS = {"kumpul": "submit", "tugas": "release", "nilai": "grade", "tantangan": "challenge"}
STOPPED = "Dihentikan. Jalankan perintah yang sama untuk melanjutkan."


def work() -> int:
    if sys.argv[1] == "bundel":
        return subprocess.call(["sh", "grading/bundel.sh", sys.executable], cwd=files.ROOT)
    try:
        return import_module(f"grading.{COMMANDS[sys.argv[1]]}").main()
    except OSError as error:
        raise InputError(f"{error.filename or 'berkas'}: {error.strerror or error}") from None


if __name__ == "__main__":
    sys.exit(status(work, STOPPED))
