"""Compare the numbers of two builds: `make compare A=BUILD_A B=BUILD_B` prints each that differs; exit 1 if any does.

What a re-run may change (times, the commit, package versions, memory) is left out; everything else must be equal.
"""

import sys
from pathlib import Path

from cxr_helpers.engine import results
from cxr_helpers.engine.errors import InputError

OWN_TO_A_RUN = ("started", "seconds", "commit", "packages", "images_per_second", "peak_memory_mb")


def differences(a, b, path: str = "") -> list[str]:
    """One line a place where two JSON values differ, in reading order."""
    if isinstance(a, dict) and isinstance(b, dict):
        names = [name for name in [*a, *(name for name in b if name not in a)] if name not in OWN_TO_A_RUN]
        return [line for name in names for line in differences(a.get(name), b.get(name), f"{path}.{name}" if path else name)]
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        return [line for i, (x, y) in enumerate(zip(a, b, strict=True)) for line in differences(x, y, f"{path}[{i}]")]
    return [] if a == b else [f"{path}: {_short(a)} ≠ {_short(b)}"]


def _short(value) -> str:
    text = "tidak ada" if value is None else str(value)
    return text if len(text) <= 60 else text[:57] + "…"


def main() -> int:
    if len(sys.argv) != 3:
        print("Galat: berikan dua folder hasil, misalnya: make compare A=build B=build-mahasiswa", file=sys.stderr)
        return 2
    a, b = (Path(path).resolve() for path in sys.argv[1:])
    names = sorted({path.stem for build in (a, b) for path in (build / "results").glob("*.json")})
    if not names:
        print(f"Galat: tidak ada results/*.json di {a} dan {b}. Berikan folder BUILD, bukan folder results.", file=sys.stderr)
        return 2
    found = 0
    for name in names:
        try:
            lines = differences(results.read(name, a), results.read(name, b))
        except InputError as error:
            lines = [str(error)]
        found += len(lines)
        print(f"{name}: {'sama' if not lines else f'{len(lines)} perbedaan'}")
        for line in lines:
            print(f"  {line}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
