"""The exercises of notebooks 01–04: `periksa("jumlah-kanal", sum_channels)` says at once what is
right or wrong, and the hidden tests ask for the same cases with other numbers.

An exercise yields its cases with the values that our helpers give. Each usual mistake
(kesalahan.json) gives another value in some case, or `periksa` would praise what costs points.
"""

import copy
import inspect
import json
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from IPython import get_ipython
from numpy.random import Generator
from scipy.special import logit
from scipy.stats import norm
from sklearn.metrics import roc_curve
from torch import nn

from cxr_helpers import evaluation
from cxr_helpers.engine.indonesian import number
from cxr_helpers.model import adapt_conv1, interpolation_matrix

RELATIVE, ABSOLUTE = 1e-4, 1e-6  # how near a number must be
VISIBLE = range(3)  # the seeds of the cases that `periksa` tries
# {exercise: {a wrong expression of its arguments: what to say; "": of any other value}}
MISTAKES = json.loads(Path(__file__).with_name("kesalahan.json").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Case:
    """One call of an answer. reached: gives what is compared, where several values are as good."""

    situation: str
    given: dict
    expected: object
    reached: Callable | None = None


EXERCISES: dict[str, Callable[[Generator], Iterator[Case]]] = {}


def _exercise(name: str) -> Callable:
    return lambda cases: EXERCISES.setdefault(name, cases)


def probe(name: str, answer: str, seed: int) -> str:
    """The program of a hidden test (see marking) that calls `answer` in every case."""
    program, calls = ["import numpy as np"], {}
    for case in EXERCISES[name](np.random.default_rng(seed)):
        given = ", ".join(map(_literal, case.given.values()))
        call = f"{answer}({given})"
        if case.reached is not None:
            program[1:] = [inspect.getsource(case.reached)]
            call = f"{case.reached.__name__}({call}, {given})"
        calls.setdefault(case.situation, []).append(call)
    for situation, texts in calls.items():
        program.append(f"hasil[{situation!r}] = lambda: [{', '.join(texts)}]")
    return "\n".join(program)


def _literal(value) -> str:
    if isinstance(value, torch.Tensor):
        return f"__import__('torch').tensor({value.tolist()})"
    return f"np.array({value.tolist()})" if isinstance(value, np.ndarray) else repr(value)


def periksa(name: str, answer: Callable) -> None:
    """Print one line about the answer to the exercise `name`: right, open, or what to do."""
    if name not in EXERCISES:
        print(f"✘ {name}: tidak ada latihan dengan nama itu. Pilihannya: {', '.join(EXERCISES)}.")
    elif answer is ...:
        print(f"○ {name}: belum dikerjakan.")
    elif not callable(answer):
        print(f"✘ {name}: yang diperiksa sebuah fungsi, sedangkan yang diberikan {_kind(answer)}.")
    elif _outdated(name):
        cure = "perbaiki tanda kurung, titik dua, atau indentasinya, lalu jalankan sel itu lagi."
        print(f"✘ {name}: sel jawaban Anda yang terakhir bukan Python (SyntaxError): {cure}")
    else:
        print(_feedback(name, answer))


def _outdated(name: str) -> bool:
    """Whether the answer's cell, as it was run last, is no Python: its function is an older one."""
    shell, marker = get_ipython(), re.compile(rf"^# JAWABAN: {re.escape(name)}\s*$", re.M)
    cells = [cell for cell in shell.user_ns.get("In", ()) if marker.search(cell)] if shell else []
    return bool(cells) and shell.check_complete(cells[-1])[0] == "invalid"


def _feedback(name: str, answer: Callable) -> str:
    try:
        for case in (c for seed in VISIBLE for c in EXERCISES[name](np.random.default_rng(seed))):
            value = answer(*copy.deepcopy([*case.given.values()]))
            if value is ... or (isinstance(value, tuple) and ... in value):
                return f"○ {name}: belum dikerjakan."
            if wrong := _wrong(case, value, MISTAKES[name]):
                return f"✘ {name}: {wrong}"
    except Exception as error:
        # whatever a student's function raises is told, and the notebook goes on
        own = [x for x in traceback.extract_tb(error.__traceback__) if x.filename != __file__]
        line = f" pada baris {own[0].lineno}" if own else ""
        return f"✘ {name}: fungsi Anda berhenti{line} dengan {type(error).__name__}: {error}"
    return f"✔ {name}: benar."


def _wrong(case: Case, value, mistakes: dict[str, str]) -> str:
    """What is wrong with the value of one call, "" for nothing."""
    text = isinstance(case.expected, str)
    tensor = isinstance(case.expected, torch.Tensor)
    fits = isinstance(value, str) if text else np.asarray(value).dtype.kind in "iuf"
    if not fits or np.shape(value) != np.shape(case.expected) or tensor > torch.is_tensor(value):
        kinds = f"yang dikembalikan {_kind(value)}; yang diminta {_kind(case.expected)}"
        return f"{kinds}: {mistakes['']}"
    compared = case.reached(value, *case.given.values()) if case.reached else value
    if _close(compared, case.expected):
        return ""
    names = {"np": np, "torch": torch, **copy.deepcopy(case.given)}
    given, hint = "; ".join(map(_shown, case.given.values())), mistakes[""]
    for expression in filter(None, mistakes):
        with suppress(ArithmeticError, ValueError, RuntimeError):
            mistaken = eval(expression, names)  # ours, of the file
            if np.shape(mistaken) == np.shape(value) and _close(value, mistaken):
                hint = mistakes[expression] or hint
                break
    return f"untuk ({given}) hasilnya {_shown(value)}: {hint}"


def _close(value, expected) -> bool:
    if isinstance(expected, str):
        return value == expected
    return np.allclose(value, expected, RELATIVE, ABSOLUTE)


def _kind(value) -> str:
    if value is None:
        return "None (apakah `return` lupa ditulis?)"
    shape = getattr(value, "shape", ())
    return type(value).__name__ + (f" berbentuk {tuple(shape)}" if shape else "")


def _shown(value) -> str:
    """A value as text, a long array as its shape."""
    if isinstance(value, str):
        return repr(value)
    if np.ndim(value):
        short = np.ndim(value) == 1 and len(value) <= 8
        return str(np.round(value, 4).tolist()) if short else f"larik {tuple(np.shape(value))}"
    return number(value, 0 if float(value).is_integer() else 4)


@_exercise("jumlah-kanal")
def _sum_channels(rng: Generator) -> Iterator[Case]:
    for situation, n, side in (("delapan kernel 7×7", 8, 7), ("satu kernel 2×2", 1, 2)):
        weight = torch.tensor(rng.normal(size=(n, 3, side, side)), dtype=torch.float32)
        expected = adapt_conv1(weight, kernel=side, reduce="sum")
        yield Case(situation, {"weight": weight}, expected)


@_exercise("banyak-bobot")
def _n_weights(rng: Generator) -> Iterator[Case]:
    a, b, c = rng.integers(4, 20, 3).tolist()
    shapes = {
        "lapisan dengan banyak kanal": [(64, 3, 7), (8 * b, 8 * c, 3)],
        "satu kanal masukan": [(64, 1, 3), (a, 1, 7)],
        "kernel 1×1": [(5, 2, 1), (c, a, 1)],
    }
    for situation, (outputs, inputs, side) in _pairs(shapes):
        expected = nn.Conv2d(inputs, outputs, side, bias=False).weight.numel()
        given = {"outputs": outputs, "inputs": inputs, "side": side}
        yield Case(situation, given, expected)


def _pairs(cases: dict[str, list]) -> Iterator[tuple[str, tuple]]:
    for situation, calls in cases.items():
        for given in calls:
            yield situation, given


@_exercise("bagian-terbaca")
def _share_read(rng: Generator) -> Iterator[Case]:
    a, b = rng.permutation([5, 9, 11]).tolist()[:2]
    sizes = {
        "ke 3×3": [(7, 3), (a, 3)],
        "ke ukuran lain": [(b, 5), (8, 2), (10, 4)],
        "ukuran yang sama dan yang lebih besar": [(a, a), (3, b), (6, 2)],
    }
    for situation, (source, target) in _pairs(sizes):
        line = int((interpolation_matrix(source, target).abs().sum(0) > 1e-9).sum()) / source
        yield Case(situation, {"source": source, "target": target}, line**2)


def _logits(rng: Generator, n: int, up: float = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N,) and labels (N,) in {0, 1} of a network that is right more often than not."""
    labels = (rng.random(n) < 0.6).astype(np.int64)
    return rng.normal(2 * labels - 0.7, 1.6) + up, labels


@_exercise("mayoritas")
def _majority(rng: Generator) -> Iterator[Case]:
    both = np.array([0] * rng.integers(1, 100) + [1] * rng.integers(120, 300))
    labels = {
        "kelas 1 lebih banyak": [np.array([1, 1, 1, 0]), both],
        "kelas 0 lebih banyak": [np.array([0, 0, 0, 0, 1]), 1 - both],
        "satu kelas saja, dan sama banyak": [np.array([1, 1]), np.array([0, 1])],
    }
    for situation, given in _pairs(labels):
        yield Case(situation, {"labels": given}, evaluation.majority_share(given))


@_exercise("ambang")
def _accuracy_at(rng: Generator) -> Iterator[Case]:
    low, high = rng.uniform(0.05, 0.4), rng.uniform(0.6, 0.95)
    thresholds = {"tepat 0,5": [0.5], "di bawah 0,5": [0.2, low], "di atas 0,5": [0.9, high]}
    for situation, probability in _pairs(thresholds):
        logits, labels = _logits(rng, 301)
        right = ((logits > logit(probability)) == (labels == 1)).mean()
        given = {"logits": logits, "labels": labels, "probability": probability}
        yield Case(situation, given, right)


@_exercise("youden")
def _best_threshold(rng: Generator) -> Iterator[Case]:
    sizes = {
        "citra sedikit": [(25, 0), (40, 0)],
        "citra banyak": [(300, 0), (300, 0)],
        "logit yang semuanya jauh dari nol": [(80, 9), (80, -9)],
    }
    for situation, (n, up) in _pairs(sizes):
        logits, labels = _logits(rng, n, up)
        logits = np.round(logits, 2) + 1000 * (np.arange(n) == 0)  # no even grid finds the best
        false_positive, true_positive, _ = roc_curve(labels, logits)
        best = float((true_positive - false_positive).max())
        yield Case(situation, {"logits": logits, "labels": labels}, best, _youden)


def _youden(threshold: float, logits: np.ndarray, labels: np.ndarray) -> float:
    positive = logits > float(threshold)
    return float(positive[labels == 1].mean() - positive[labels == 0].mean())


@_exercise("kesenjangan")
def _gap_points(rng: Generator) -> Iterator[Case]:
    (logits, labels), val = _logits(rng, 120), _logits(rng, 50)
    train = (logits + 2 * (2 * labels - 1), labels)  # trained on: right nearly always
    rare = (logits - 1, labels * (logits > 1))
    pairs = {
        "latih lebih baik": [(train, val)],
        "validasi lebih baik": [(val, train)],
        "kelas 1 jarang": [(rare, val)],
    }
    names = "train_logits train_labels val_logits val_labels".split()
    for situation, (a, b) in _pairs(pairs):
        gap = 100 * float(np.mean((a[0] > 0) == a[1]) - np.mean((b[0] > 0) == b[1]))
        given = dict(zip(names, (*a, *b), strict=True))
        yield Case(situation, given, gap)


def _alternating(rng: Generator, by_class: bool) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and labels, too sure and too unsure: in other groups, these cancel."""
    group, chosen = np.repeat(np.arange(8, 15), 30), rng.permutation(210) % 2
    sure = (group + rng.uniform(0.1, 0.9, 210)) / 15
    unsure = (chosen if by_class else group % 2) == 1
    right = np.arange(210) % 30 < 30 * np.where(unsure, sure + 0.2, sure - 0.3)
    return np.where(chosen == 1, sure, 1 - sure), np.where(right, chosen, 1 - chosen)


@_exercise("ece")
def _calibration_error(rng: Generator) -> Iterator[Case]:
    few = (np.append(rng.uniform(0.94, 0.99, 3), [1.0, 0.3]), np.array([1, 1, 1, 0, 0]))
    networks = {
        "model yang terlalu yakin di sebagian kelompok": [_alternating(rng, by_class=False)],
        "model yang terlalu yakin pada satu kelas": [_alternating(rng, by_class=True)],
        "citra sedikit, banyak kelompok kosong": [few],
    }
    for situation, (probability, labels) in _pairs(networks):
        expected = evaluation.expected_calibration_error(probability, labels)
        yield Case(situation, {"probability": probability, "labels": labels}, expected)


@_exercise("banyak-citra")
def _n_images(rng: Generator) -> Iterator[Case]:
    # so many images that rounding makes no difference, nor do further digits of 1.96
    high, middle = rng.uniform(0.85, 0.97), rng.uniform(0.5, 0.6)
    widths = {
        "akurasi tinggi": [(0.85, 0.001), (high, 0.0005)],
        "akurasi di dekat 0,5": [(0.5, 0.0005), (middle, 0.0008)],
    }
    for situation, (share, half) in _pairs(widths):
        expected = norm.ppf(0.975) ** 2 * share * (1 - share) / half**2
        yield Case(situation, {"share": share, "half": half}, expected)


@_exercise("holm")
def _holm_adjusted(rng: Generator) -> Iterator[Case]:
    small = rng.uniform(0.001, 0.004)
    lists = {
        "urutan acak": [[0.03, 0.3, 0.04, small], [0.2, small, 0.03, 0.04]],
        "nilai yang sama": [[0.03, 0.03, 0.2, 10 * small]],
        "tidak turun lagi": [[0.01, 0.04, 0.03], [0.012, 0.011, 0.016, 4 * small]],
        "satu nilai, dan nilai besar": [[0.2], [0.7, 0.9], [0.6, 0.8, 0.55]],
    }
    for situation, p_values in _pairs(lists):
        expected = np.array(evaluation.holm(p_values))
        yield Case(situation, {"p_values": p_values}, expected)


@_exercise("putusan")
def _decide(rng: Generator) -> Iterator[Case]:
    m = float(rng.uniform(0.01, 0.03))
    intervals = {  # (low, high, p after Holm, margin)
        "p kecil": [(1.1 * m, 5 * m, 0.01, m), (m / 5, 3 * m, 0.04, m), (-9 * m, -m / 2, 0.01, m)],
        "di batas": [(0.1 * m, 0.8 * m, 0.001, m), (0.1 * m, 1.2 * m, 0.04, m)],
        "memuat nol": [(-0.4 * m, 0.6 * m, 1.0, m), (-m / 2, 3 * m, 0.3, m), (-2 * m, m, 0.2, m)],
        "p besar": [(m / 5, 3 * m, 0.06, m), (-m / 2, -m / 4, 0.1, m), (-3 * m, -m, 0.4, m)],
    }
    for situation, (low, high, p, margin) in _pairs(intervals):
        measured = {"value": (low + high) / 2, "ci95": (low, high)}
        given = {"low": low, "high": high, "p": p, "margin": margin}
        yield Case(situation, given, evaluation.verdict(measured, p, margin))
