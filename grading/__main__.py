"""`python -m grading WORD`, as the Makefile calls it: kumpul, tugas, nilai, tantangan, bundel."""

import sys
from importlib import import_module

from cxr_helpers.engine.errors import InputError

COMMANDS = {"kumpul": "submit", "tugas": "release", "nilai": "grade"}
COMMANDS |= {"tantangan": "challenge", "bundel": "bundle"}


def main() -> int:
    try:
        return import_module(f"grading.{COMMANDS[sys.argv[1]]}").main()
    except InputError as error:
        print(f"Galat: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"Galat: {error.filename or 'berkas'}: {error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Dihentikan. Jalankan perintah yang sama untuk melanjutkan.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
