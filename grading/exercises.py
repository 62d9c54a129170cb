"""The exercises of notebooks 01–04: `periksa("jumlah-kanal", sum_channels)` says at once what is
right or wrong, and the hidden tests ask for the same cases with other numbers.

An exercise is written once, as a function that yields its cases: the arguments, the value that our
own helpers give, and what to say of other values. Nothing here stops a notebook: an answer that is
still `...` is said to be open, and an error in an answer is told in one line.
"""

import copy
import inspect
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.random import Generator
from scipy.stats import norm
from torch import nn

from cxr_helpers import evaluation
from cxr_helpers.engine.indonesian import number
from cxr_helpers.model import adapt_conv1, interpolation_matrix

RELATIVE, ABSOLUTE = 1e-4, 1e-6  # how near a number must be
VISIBLE = 0  # the seed of the cases that `periksa` tries


@dataclass(frozen=True)
class Case:
    """One call of an answer. situation: what is tried, in Indonesian; given: its arguments; wrong:
    what to say of another value; mistakes: {what to say: the value that a usual mistake gives};
    reached: gives what is compared, where several values are equally good.
    """

    situation: str
    given: tuple
    expected: object
    wrong: str
    mistakes: dict[str, object] = field(default_factory=dict)
    reached: Callable | None = None


EXERCISES: dict[str, Callable[[Generator], Iterator[Case]]] = {}


def _exercise(name: str) -> Callable:
    def keep(cases: Callable) -> Callable:
        EXERCISES[name] = cases
        return cases

    return keep


def probe(name: str, answer: str, seed: int) -> str:
    """The program of a hidden test (see marking) of the function called `answer`: calls with their
    arguments written out, so that it takes no expected value and no import of ours along.
    """
    program, calls = ["import numpy as np"], {}
    for case in EXERCISES[name](np.random.default_rng(seed)):
        given = ", ".join(map(_literal, case.given))
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
    else:
        print(_feedback(name, answer))


def _feedback(name: str, answer: Callable) -> str:
    try:
        for case in EXERCISES[name](np.random.default_rng(VISIBLE)):
            value = answer(*copy.deepcopy(case.given))
            if value is ... or (isinstance(value, tuple) and ... in value):
                return f"○ {name}: belum dikerjakan."
            if wrong := _wrong(case, value):
                return f"✘ {name}: {wrong}"
    except Exception as error:
        # whatever a student's function raises is told, and the notebook goes on
        kind = type(error).__name__
        return f"✘ {name}: fungsi Anda berhenti{_line(error)} dengan {kind}: {error}"
    return f"✔ {name}: benar."


def _wrong(case: Case, value) -> str:
    """What is wrong with the value of one call, "" for nothing."""
    text = isinstance(case.expected, str)
    tensor = isinstance(case.expected, torch.Tensor)
    fits = isinstance(value, str) if text else np.asarray(value).dtype.kind in "iuf"
    if not fits or np.shape(value) != np.shape(case.expected) or tensor > torch.is_tensor(value):
        wanted = "tensor (lihat keepdim=True)" if tensor else "bilangan"
        wanted = "teks" if text else wanted
        shape = f" berbentuk {tuple(np.shape(case.expected))}" if np.ndim(case.expected) else ""
        return f"yang dikembalikan {_kind(value)}; yang diminta {wanted}{shape}."
    compared = case.reached(value, *case.given) if case.reached else value
    if _close(compared, case.expected):
        return ""
    for words, mistaken in case.mistakes.items():
        if _close(value, mistaken):
            return words
    given = "; ".join(map(_shown, case.given))
    return f"untuk ({given}) hasilnya {_shown(value)}: {case.wrong}"


def _close(value, expected) -> bool:
    if isinstance(expected, str):
        return value == expected
    return np.allclose(value, expected, RELATIVE, ABSOLUTE)


def _kind(value) -> str:
    if value is None:
        return "None (apakah `return` lupa ditulis?)"
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" berbentuk {tuple(shape)}" if shape is not None else "")


def _shown(value) -> str:
    """A value as text, a long array as its shape."""
    if isinstance(value, str):
        return repr(value)
    if np.ndim(value):
        short = np.ndim(value) == 1 and len(value) <= 8
        return str(np.round(value, 4).tolist()) if short else f"larik {tuple(np.shape(value))}"
    return number(value, 0 if float(value).is_integer() else 4)


def _line(error: Exception) -> str:
    """In which line of the answer's cell an error arose, as text; "" where it is not there."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename != __file__]
    return f" pada baris {own[0].lineno}" if own else ""


# --- 01 Adaptasi bobot ----------------------------------------------------------------------------


@_exercise("jumlah-kanal")
def _sum_channels(rng: Generator) -> Iterator[Case]:
    for situation, n, side in (("delapan kernel 7×7", 8, 7), ("satu kernel 2×2", 1, 2)):
        weight = torch.tensor(rng.normal(size=(n, 3, side, side)), dtype=torch.float32)
        expected = adapt_conv1(weight, kernel=side, reduce="sum")
        wrong = "responsnya terhadap citra keabuan berbeda dari respons kernel asal terhadap "
        wrong += "salinannya pada tiga kanal."
        mean = "itu cara rata-rata: responsnya menjadi sepertiga dari yang asli."
        yield Case(situation, (weight,), expected, wrong, {mean: expected / 3})


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
        wrong = "cobalah menghitungnya dengan tangan untuk (5, 2, 1)."
        layers = "setiap kernel mempunyai satu lapis untuk setiap kanal masukan."
        mistakes = {layers: outputs * side**2}
        yield Case(situation, (outputs, inputs, side), expected, wrong, mistakes)


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
        wrong = "hitunglah kolom matriks yang tidak seluruhnya nol, sebagai proporsi dari 0 ke 1."
        axes = "itu proporsi satu baris; sebuah kernel mempunyai dua sumbu."
        yield Case(situation, (source, target), line**2, wrong, {axes: line})


# --- 02 Pelatihan ---------------------------------------------------------------------------------


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
        wrong = "kelas yang lebih banyak tidak selalu kelas 1."
        yield Case(situation, (given,), evaluation.majority_share(given), wrong)


@_exercise("ambang")
def _accuracy_at(rng: Generator) -> Iterator[Case]:
    low, high = rng.uniform(0.05, 0.4), rng.uniform(0.6, 0.95)
    thresholds = {"tepat 0,5": [0.5], "di bawah 0,5": [0.2, low], "di atas 0,5": [0.9, high]}
    for situation, probability in _pairs(thresholds):
        logits, labels = _logits(rng, 90)
        threshold = np.log(probability / (1 - probability))
        right, mixed = (((logits > t) == (labels == 1)).mean() for t in (threshold, probability))
        wrong = "itu bukan proporsi jawaban yang benar pada ambang itu."
        first = "logit dibandingkan langsung dengan probabilitas: ubah dahulu salah satunya."
        yield Case(situation, (logits, labels, probability), right, wrong, {first: mixed})


@_exercise("youden")
def _best_threshold(rng: Generator) -> Iterator[Case]:
    sizes = {
        "citra sedikit": [(25, 0), (40, 0)],
        "citra banyak": [(300, 0), (300, 0)],
        "logit yang semuanya jauh dari nol": [(80, 9), (80, -9)],
    }
    for situation, (n, up) in _pairs(sizes):
        logits, labels = _logits(rng, n, up)
        curve = evaluation.roc(logits, labels)
        best = float((curve["true_positive"] - curve["false_positive"]).max())
        wrong = "indeks Youden di sana belum yang terbesar: cobalah setiap logit, bukan "
        wrong += "probabilitas, sebagai ambang; kelas 1 diputuskan bila logit > ambang."
        yield Case(situation, (logits, labels), best, wrong, reached=_youden)


def _youden(threshold: float, logits: np.ndarray, labels: np.ndarray) -> float:
    positive = logits > float(threshold)
    return float(positive[labels == 1].mean() - positive[labels == 0].mean())


# --- 03 Analisis overfitting ----------------------------------------------------------------------


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
    for situation, (a, b) in _pairs(pairs):
        gap = 100 * float(np.mean((a[0] > 0) == a[1]) - np.mean((b[0] > 0) == b[1]))
        mistakes = {
            "hasilnya proporsi; yang diminta poin persen.": gap / 100,
            "tandanya terbalik: kesenjangan adalah akurasi latih dikurangi validasi.": -gap,
        }
        wrong = "keputusan kelas 1 diambil bila logit di atas nol."
        yield Case(situation, (*a, *b), gap, wrong, mistakes)


@_exercise("ece")
def _calibration_error(rng: Generator) -> Iterator[Case]:
    logits, labels = _logits(rng, 250)
    sure = 1 / (1 + np.exp(-2.5 * logits))
    few = (rng.uniform(0.94, 0.99, 3), np.array([1, 1, 0]))
    networks = {
        "jaringan yang terlalu yakin": [(sure, labels)],
        "jaringan yang kurang yakin": [(0.5 + (sure - 0.5) / 5, labels)],
        "citra sedikit, banyak kelompok kosong": [few],
    }
    for situation, (probability, truth) in _pairs(networks):
        right = (probability > 0.5) == (truth == 1)
        signed = abs((np.maximum(probability, 1 - probability) - right).mean())
        expected = float(evaluation.expected_calibration_error(probability, truth))
        wrong = "keyakinan ialah probabilitas kelas yang dipilih; kelompoknya lima belas dari 0 "
        wrong += "sampai 1, berbobot menurut banyaknya citra, dan yang kosong dilewati."
        late = "nilai mutlak diambil setelah semua kelompok dijumlahkan: penyimpangan ke atas dan "
        late += "ke bawah saling menghapus."
        yield Case(situation, (probability, truth), expected, wrong, {late: signed})


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
        wrong = "setengah lebar interval normal adalah 1,96 kali akar dari p(1 − p)/n."
        whole = "itu untuk seluruh lebar interval; yang diminta setengah lebarnya."
        yield Case(situation, (share, half), expected, wrong, {whole: expected / 4})


# --- 04 Perbaikan ---------------------------------------------------------------------------------


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
        bonferroni = "itu koreksi Bonferroni; pada Holm pengalinya berkurang satu setiap langkah, "
        bonferroni += "dari nilai-p terkecil."
        order = "nilainya benar tetapi urutannya tidak: kembalikan menurut urutan masukan."
        mistakes = {
            bonferroni: np.minimum(1, len(p_values) * np.array(p_values)),
            order: np.sort(expected),
        }
        wrong = "nilai-p yang dikoreksi tidak boleh turun lagi, dan paling besar 1."
        yield Case(situation, (p_values,), expected, wrong, mistakes)


@_exercise("putusan")
def _decide(rng: Generator) -> Iterator[Case]:
    m = float(rng.uniform(0.01, 0.03))
    intervals = {
        "seluruhnya di satu sisi nol": [(1.1 * m, 5 * m, m), (-9 * m, -1.1 * m, m)],
        "di dalam batas, atau tepat di luarnya": [(0.1 * m, 0.8 * m, m), (0.1 * m, 1.2 * m, m)],
        "memuat nol": [(-0.4 * m, 0.6 * m, m), (-m / 2, 3 * m, m), (-2 * m, m / 2, m)],
        "batas yang lain": [(-0.04, 0.03, 0.05), (-0.04, 0.03, 0.005), (0.001, 0.002, 0.0001)],
    }
    words = [word for word in evaluation.VERDICTS if word != evaluation.MAJORITY]
    for situation, (low, high, margin) in _pairs(intervals):
        p = 1.0 if low < 0 < high else 0.0
        measured = evaluation.Difference((low + high) / 2, (low, high), p)
        expected = evaluation.verdict(measured, p, margin)
        wrong = f"pilihlah satu dari {', '.join(words)} menurut letak interval dan batasnya."
        yield Case(situation, (low, high, margin), expected, wrong)
