"""Compare the numbers of two builds: `make compare A=FOLDER B=FOLDER [TOL=0.01] [RINCI=1]`.

First whether they are the same, and what about data, weights, preset, seed, machine and versions is
not; then each metric that differs, the largest against its own interval first. Pixels, curves and
words are counted, and listed with RINCI=1. Exit 1 if a metric differs by more than TOL or is
missing on one side, 2 on wrong input. What any re-run changes (times, memory) is left out.
"""

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cxr_helpers.engine import results, settings
from cxr_helpers.engine.errors import InputError
from cxr_helpers.engine.indonesian import join, number, plain
from report import status

OWN_TO_A_RUN = ("started", "seconds", "runs_bytes", "images_per_second", "peak_memory_mb")
# what an entry of a list may be called by
NAMES = ("name", "id", "title", "group", "rule", "layer", "epoch", "n")
DECIDING = ("python", "torch", "torchvision", "numpy", "scipy", "scikit-learn", "medmnist")
SHOWN = 40  # rows of the table without RINCI=1
SEEDS_COUNT = 3  # from so many seeds on the intervals count seeds (evaluation.LEAST_SEEDS)


@dataclass
class Numbers:
    """What a build holds, by its path in the results, and each file's provenance."""

    metrics: dict[str, float | None] = field(default_factory=dict)
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    rest: dict[str, object] = field(default_factory=dict)
    provenances: dict[str, dict] = field(default_factory=dict)

    def add(self, value: object, path: str) -> None:
        """Sort a JSON value and what it holds: a number under a name is a metric."""
        if isinstance(value, dict) and isinstance(value.get("value", ""), (int, float, type(None))):
            self.metrics[path] = value["value"]
            if value.get("ci95") and None not in value["ci95"]:
                self.intervals[path] = tuple(value["ci95"])
            value = {name: inner for name, inner in value.items() if name not in ("value", "ci95")}
        if isinstance(value, dict):
            for name, inner in value.items():
                if name not in OWN_TO_A_RUN:
                    self.add(inner, f"{path}.{name}")
        elif isinstance(value, list) and value and all(isinstance(entry, dict) for entry in value):
            for label, entry in zip(_labels(value), value, strict=True):
                self.add(entry, f"{path}[{label}]")
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            self.metrics[path] = value
        else:
            self.rest[path] = value


def _labels(entries: list[dict]) -> list[str]:
    for name in NAMES:
        labels = [str(entry.get(name)) for entry in entries]
        if len(set(labels)) == len(labels) and all(name in entry for entry in entries):
            return labels
    return [str(i) for i in range(len(entries))]


def read(folder: str) -> Numbers:
    """Every results file of a BUILD folder, or of any folder of such files. Raises InputError."""
    given = Path(os.path.expanduser(folder)).resolve()
    paths = sorted((given / "results").glob("*.json")) or sorted(given.glob("*.json"))
    if not paths:
        raise InputError(
            f"Tidak ada hasil (*.json) di {given} atau di {given / 'results'}: "
            "berikan folder BUILD dari make report."
        )
    numbers = Numbers()
    for path in paths:
        try:
            body = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(
                f"Berkas hasil {path} rusak: minta atau buat salinan yang utuh."
            ) from None
        if not isinstance(body, dict) or body.get("schema") != results.SCHEMA:
            raise InputError(
                f"Berkas hasil {path} dibuat oleh versi lain: jalankan `make report` lagi."
            )
        numbers.provenances[path.stem] = body.pop("provenance", {})
        for name in ("schema", "config", "run"):
            body.pop(name, None)
        numbers.add(body, path.stem)
    return numbers


# --- why ------------------------------------------------------------------------------------------


def _facts(provenance: dict) -> dict[str, str]:
    """What decides the numbers, {what it is called: in words}; versions one by one."""
    data, device = provenance.get("data", {}), provenance.get("device", {})
    packages = provenance.get("packages", {})
    facts = {
        "data": f"{data.get('title')} ({data.get('fingerprint')})",
        "bobot": str(provenance.get("weights", {}).get("title")),
        "preset": str(provenance.get("preset", {}).get("name")),
        "seed": ", ".join(map(str, provenance.get("seeds", [provenance.get("seed")]))),
        "mesin": f"{device.get('name')}, {device.get('threads')} thread",
    }
    facts |= {f"versi {name}": str(packages.get(name)) for name in DECIDING}
    return facts | {"kode": str(provenance.get("commit"))}


def reasons(a: Numbers, b: Numbers) -> list[str]:
    """One line for each thing that differs between the provenances of notebooks that both have."""
    lines = {}
    for name in a.provenances.keys() & b.provenances.keys():
        first, second = _facts(a.provenances[name]), _facts(b.provenances[name])
        differing = [fact for fact in first if first[fact] != second[fact]]
        lines |= {fact: f"{fact}: {first[fact]} ≠ {second[fact]}" for fact in differing}
    return [lines[fact] for fact in _facts({}) if fact in lines]


# --- how much -------------------------------------------------------------------------------------


def differing(
    a: Numbers, b: Numbers, tolerance: float
) -> list[tuple[str, float | None, float | None, float | None]]:
    """(path, A, B, difference in halves of A's 95% interval) of every metric on both sides that
    differs by more than the tolerance; those with an interval first, the largest in front.
    """
    rows = []
    for path in a.metrics.keys() & b.metrics.keys():
        first, second = a.metrics[path], b.metrics[path]
        if first == second or (None not in (first, second) and abs(first - second) <= tolerance):
            continue
        low, high = a.intervals.get(path) or b.intervals.get(path) or (0, 0)
        measurable = None not in (first, second) and high > low
        ratio = abs(first - second) / ((high - low) / 2) if measurable else None
        rows.append((path, first, second, ratio))
    return sorted(rows, key=lambda row: (row[3] is None, -(row[3] or 0), row[0]))


def table(rows: list[tuple], seeds: int) -> list[str]:
    """The rows as lines of equal columns."""
    ruler = "÷ sebaran seed" if seeds >= SEEDS_COUNT else "÷ setengah IK"
    cells = [("angka", "A", "B", "selisih", ruler)]
    for path, first, second, ratio in rows:
        gap = None if None in (first, second) else second - first
        share = "–" if ratio is None else f"{number(ratio, 1)}×"
        cells.append((path, *(number(value, 4) for value in (first, second, gap)), share))
    wide = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = [[row[0].ljust(wide[0]), *map(str.rjust, row[1:], wide[1:])] for row in cells]
    return ["  ".join(row).rstrip() for row in padded]


def _rest(a: Numbers, b: Numbers) -> tuple[list[str], list[str]]:
    """(words and verdicts that differ, arrays that differ), a line each."""
    words, arrays = [], []
    for path in sorted(a.rest.keys() & b.rest.keys()):
        first, second = a.rest[path], b.rest[path]
        if first == second:
            continue
        if isinstance(first, list) and isinstance(second, list):
            n, m = (len(json.dumps(value).split(",")) for value in (first, second))
            arrays.append(f"{path}: larik {number(n, 0)} dan {number(m, 0)} nilai")
        else:
            words.append(f"{path}: {_short(first)} ≠ {_short(second)}")
    return words, arrays


def _short(value: object) -> str:
    words = {"None": "tidak ada", "True": "ya", "False": "tidak"}
    text = words.get(str(value), str(value))
    return text if len(text) <= 60 else text[:57] + "…"


# --- said -----------------------------------------------------------------------------------------


def compare(a: Numbers, b: Numbers, tolerance: float, whole: bool) -> tuple[list[str], bool]:
    """The lines to print, and whether the metrics are the same."""
    both, rows = a.metrics.keys() & b.metrics.keys(), differing(a, b, tolerance)
    only = {"A": sorted(a.metrics.keys() - both), "B": sorted(b.metrics.keys() - both)}
    same = not rows and not only["A"] and not only["B"]
    allowed = f" dalam toleransi {plain(tolerance)}" if tolerance else ""
    shared = number(len(both), 0)
    if same:
        notebooks = len(a.provenances.keys() | b.provenances.keys())
        lines = [f"SAMA{allowed}: {shared} angka dari {notebooks} notebook."]
    else:
        few = f"{number(len(rows), 0)} dari {shared} angka"
        lines = [f"BERBEDA: {few} yang ada pada keduanya berbeda{allowed}."]
    for side, missing in only.items():
        if missing:
            examples = f"{number(len(missing), 0)} angka, misalnya {join(missing[:3])}"
            lines.append(f"Hanya pada {side}: {examples}.")
    why = reasons(a, b)
    lines += [f"  {line}" for line in why]
    if not why and not same:
        lines.append(
            "  Data, bobot, preset, seed, mesin, versi, dan kodenya sama: "
            "hasil seperti itu seharusnya sama persis, jadi periksa apakah ada berkas hasil "
            "yang diubah atau pelatihan yang berbeda."
        )
    if rows:
        provenances = [*a.provenances.values(), *b.provenances.values()]
        seeds = min((len(made.get("seeds", [0])) for made in provenances), default=1)
        lines += ["", *_listed(rows, seeds, whole)]
    return lines + _beside(a, b, whole), same


def _listed(rows: list[tuple], seeds: int, whole: bool) -> list[str]:
    """The table of what differs, and what to know of it; seeds: the fewest of either build."""
    lines = table(rows if whole else rows[:SHOWN], seeds)
    if seeds < SEEDS_COUNT:
        lines.append(
            f"Dengan {seeds} seed sebaran antarseed tidak diketahui: "
            "selisih dibandingkan dengan setengah interval kepercayaan 95% A, "
            "yang hanya memperhitungkan ragam antarcitra."
        )
    if len(rows) > SHOWN and not whole:
        lines.append(f"… dan {number(len(rows) - SHOWN, 0)} angka lagi: tambahkan RINCI=1.")
    return lines


def _beside(a: Numbers, b: Numbers, whole: bool) -> list[str]:
    """How many words and arrays differ; with RINCI=1 which."""
    words, arrays = _rest(a, b)
    if not words and not arrays:
        return []
    ask = "" if whole else " (RINCI=1 menampilkannya)"
    counts = f"{len(words)} kata atau putusan dan {len(arrays)} larik"
    said = f"Selain angka: {counts} (piksel, kurva) berbeda{ask}."
    return ["", said, *(f"  {line}" for line in (words + arrays if whole else []))]


def main() -> int:
    folders = sys.argv[1:] or [os.environ.get(name, "") for name in "AB"]
    if len(folders) != 2 or not all(folders):
        raise InputError(
            "berikan dua folder hasil, misalnya: make compare A=build B=build-mahasiswa"
        )
    given = os.environ.get("TOL", "").strip().replace(",", ".")
    tolerance = settings.to_number("TOL", given or 0, (0, 1e9), whole=False)
    whole = os.environ.get("RINCI", "") not in ("", "0")
    lines, same = compare(read(folders[0]), read(folders[1]), tolerance, whole)
    print("\n".join(lines))
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(status(main))
