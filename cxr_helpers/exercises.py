"""Checks of the exercises (notebooks 01–04): `periksa("jumlah-kanal", sum_channels)` says at once
what is right or wrong.

An exercise is a sequence of steps, each a condition and what to say where it fails; the first that
fails speaks. The shape comes first, the value last, and the expected value is computed by our own
helpers. Nothing here stops a notebook: an answer that is still `...` is said to be open, and an
error in an answer is told in one line.
"""

import traceback
from collections.abc import Callable, Iterator

import numpy as np
import torch
from scipy.stats import norm
from torch import nn

from cxr_helpers import comparison, evaluation
from cxr_helpers.engine.indonesian import number
from cxr_helpers.weights import adapt_conv1, interpolation_matrix

Steps = Iterator[tuple[bool, str]]
CHECKS: dict[str, Callable[..., Steps]] = {}


class _Open(Exception):
    """The answer is still `...`."""


def _exercise(name: str) -> Callable:
    def keep(steps: Callable[..., Steps]) -> Callable[..., Steps]:
        CHECKS[name] = steps
        return steps

    return keep


def _answer(function: Callable, *given):
    """What the student's function returns; `...` anywhere in it means that it is still open."""
    found = function(*given)
    if found is ... or (isinstance(found, tuple) and ... in found):
        raise _Open
    return found


def _is_number(value) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return value.ndim == 0
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _a_number(value) -> tuple[bool, str]:
    return _is_number(value), f"yang dikembalikan {_kind(value)}; yang diminta satu bilangan."


def _kind(value) -> str:
    if value is None:
        return "None (apakah `return` lupa ditulis?)"
    shape = getattr(value, "shape", None)
    return type(value).__name__ + (f" berbentuk {tuple(shape)}" if shape is not None else "")


def _close(value, expected: float, tolerance: float = 1e-6) -> bool:
    return abs(float(value) - expected) <= tolerance


def periksa(name: str, answer: Callable) -> None:
    """Print one line about the answer, a function, to the exercise `name`: right, open, or what is
    wrong and what to do.

    A name that no exercise has is said too; nothing is raised (notebooks 01–04).
    """
    if name not in CHECKS:
        print(f"✘ {name}: tidak ada latihan dengan nama itu. Pilihannya: {', '.join(CHECKS)}.")
    elif answer is ...:
        print(f"○ {name}: belum dikerjakan.")
    elif not callable(answer):
        print(f"✘ {name}: yang diperiksa sebuah fungsi, sedangkan yang diberikan {_kind(answer)}.")
    else:
        print(_judged(name, answer))


def _judged(name: str, answer: Callable) -> str:
    try:
        for holds, wrong in CHECKS[name](answer):
            if not holds:
                return f"✘ {name}: {wrong}"
    except _Open:
        return f"○ {name}: belum dikerjakan."
    except Exception as error:
        # whatever a student's function raises is told, and the notebook goes on
        return (
            f"✘ {name}: fungsi Anda berhenti{_line(error)} dengan {type(error).__name__}: {error}"
        )
    return f"✔ {name}: benar."


def _line(error: Exception) -> str:
    """In which line of the answer's cell an error arose, as text; "" where it is not in the
    answer.
    """
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__
    ]
    return f" pada baris {frames[0].lineno}" if frames else ""


# --- 01 Adaptasi bobot ----------------------------------------------------------------------------


@_exercise("jumlah-kanal")
def _sum_channels(answer: Callable) -> Steps:
    weight = torch.randn(8, 3, 7, 7, generator=torch.Generator().manual_seed(0))
    found = _answer(answer, weight.clone())
    yield isinstance(found, torch.Tensor), f"yang dikembalikan {_kind(found)}; yang diminta tensor."
    yield (
        found.shape == (8, 1, 7, 7),
        f"bentuknya {tuple(found.shape)} untuk masukan (8, 3, 7, 7), seharusnya (8, 1, 7, 7): "
        "sumbu kanal dipertahankan dengan keepdim=True.",
    )
    mean = adapt_conv1(weight, kernel=7)
    yield (
        not torch.allclose(found, mean, atol=1e-5),
        "itu cara rata-rata: responsnya menjadi sepertiga dari yang asli.",
    )
    expected = adapt_conv1(weight, kernel=7, reduce="sum")
    yield (
        torch.allclose(found, expected, atol=1e-4),
        "responsnya terhadap citra keabuan berbeda "
        "dari respons kernel asal terhadap salinannya pada tiga kanal.",
    )


@_exercise("banyak-bobot")
def _n_weights(answer: Callable) -> Steps:
    for outputs, inputs, side in ((64, 3, 7), (64, 1, 3), (5, 2, 1)):
        found, given = _answer(answer, outputs, inputs, side), f"({outputs}, {inputs}, {side})"
        yield _a_number(found)
        yield (
            not (inputs > 1 and _close(found, outputs * side**2)),
            f"untuk {given} hasilnya {number(found, 0)}: "
            "setiap kernel mempunyai satu lapis untuk setiap kanal masukan.",
        )
        expected = nn.Conv2d(inputs, outputs, side, bias=False).weight.numel()
        yield (
            _close(found, expected),
            f"untuk {given} hasilnya {number(found, 0)}; "
            "cobalah menghitungnya dengan tangan untuk (5, 2, 1).",
        )


@_exercise("bagian-terbaca")
def _share_read(answer: Callable) -> Steps:
    for source, target in ((7, 7), (7, 3), (5, 3), (9, 3)):
        found = _answer(answer, source, target)
        yield _a_number(found)
        yield (
            0 < float(found) <= 1,
            f"hasilnya {number(found)} untuk ({source}, {target}); "
            "yang diminta sebuah proporsi, antara 0 dan 1.",
        )
        line = int((interpolation_matrix(source, target).abs().sum(0) > 1e-9).sum())
        yield (
            line == source or not _close(found, line / source),
            f"untuk ({source}, {target}) itu proporsi satu baris; "
            "sebuah kernel mempunyai dua sumbu.",
        )
        yield (
            _close(found, (line / source) ** 2),
            f"untuk ({source}, {target}) hasilnya {number(found)}; "
            "hitunglah kolom matriks yang tidak seluruhnya nol.",
        )


# --- 02 Pelatihan ---------------------------------------------------------------------------------


def _logits(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (N,) and labels (N,) in {0, 1} of a network that is right more often than not."""
    generator = np.random.default_rng(seed)
    labels = (generator.random(n) < 0.7).astype(np.int64)
    return generator.normal(1.5 * labels - 0.4, 1.3), labels


@_exercise("mayoritas")
def _majority(answer: Callable) -> Steps:
    for labels in (np.array([1, 1, 1, 0]), np.array([0, 0, 0, 0, 1]), np.array([0, 1])):
        found = _answer(answer, labels.copy())
        yield _a_number(found)
        yield (
            _close(found, evaluation.majority_share(labels)),
            f"untuk label {labels.tolist()} hasilnya {number(found)}: "
            "kelas yang lebih banyak tidak selalu kelas 1.",
        )


@_exercise("ambang")
def _accuracy_at(answer: Callable) -> Steps:
    logits, labels = _logits()

    def right(threshold: float) -> float:
        return float(((logits > threshold) == (labels == 1)).mean())

    for probability in (0.5, 0.2, 0.9):
        found = _answer(answer, logits.copy(), labels.copy(), probability)
        yield _a_number(found)
        yield (
            0 <= float(found) <= 1,
            f"hasilnya {number(found)}; akurasi adalah proporsi, antara 0 dan 1.",
        )
        expected = right(np.log(probability / (1 - probability)))
        yield (
            _close(found, expected) or not _close(found, right(probability)),
            f"pada ambang {number(probability, 1)} logit dibandingkan langsung "
            "dengan probabilitas: ubah dahulu salah satunya.",
        )
        yield (
            _close(found, expected),
            f"pada ambang {number(probability, 1)} hasilnya {number(found)}, "
            "bukan proporsi jawaban yang benar.",
        )


@_exercise("youden")
def _best_threshold(answer: Callable) -> Steps:
    for seed in (0, 1):
        logits, labels = _logits(120, seed)
        found = _answer(answer, logits.copy(), labels.copy())
        yield _a_number(found)

        def youden(threshold: float, logits=logits, labels=labels) -> float:
            point = evaluation.operating_point(evaluation.confusion(logits, labels, threshold))
            return point["sensitivity"] + point["specificity"] - 1

        curve = evaluation.roc(logits, labels)
        best = float((curve["true_positive"] - curve["false_positive"]).max())
        probability = 1 / (1 + np.exp(-logits))
        yield (
            _close(youden(float(found)), best)
            or not _close(youden(float(found), probability), best),
            "itu ambang probabilitas; yang diminta ambang logit.",
        )
        yield (
            _close(youden(float(found)), best),
            f"pada ambang {number(found)} indeks Youden {number(youden(float(found)))}, sedangkan "
            "ambang lain memberi nilai yang lebih besar: cobalah setiap logit sebagai ambang, "
            "dengan keputusan kelas 1 bila logit lebih besar daripada ambang.",
        )


# --- 03 Analisis overfitting ----------------------------------------------------------------------


@_exercise("kesenjangan")
def _gap_points(answer: Callable) -> Steps:
    (train, train_labels), (val, val_labels) = _logits(300, 2), _logits(80, 3)
    train = train + 2 * (2 * train_labels - 1)  # trained on: right nearly always
    given = (train, train_labels, val, val_labels)
    found = _answer(answer, *(part.copy() for part in given))
    yield _a_number(found)
    expected = 100 * evaluation.accuracy_gap([train], train_labels, [val], val_labels)["value"]
    yield not _close(found, expected / 100), "hasilnya proporsi; yang diminta poin persen."
    yield (
        not _close(found, -expected),
        "tandanya terbalik: kesenjangan adalah akurasi latih dikurangi akurasi validasi.",
    )
    yield (
        _close(found, expected),
        f"hasilnya {number(found)} poin; keputusan kelas 1 diambil bila logit di atas nol.",
    )


@_exercise("ece")
def _calibration_error(answer: Callable) -> Steps:
    logits, labels = _logits(400, 4)
    probability = 1 / (1 + np.exp(-3 * logits))
    found = _answer(answer, probability.copy(), labels.copy())
    yield _a_number(found)
    expected = float(evaluation.expected_calibration_error(probability, labels))
    signed = abs(
        float(
            (
                np.maximum(probability, 1 - probability) - ((probability > 0.5) == (labels == 1))
            ).mean()
        )
    )
    yield (
        _close(found, expected) or not _close(found, signed),
        "nilai mutlak diambil setelah semua kelompok dijumlahkan: "
        "penyimpangan ke atas dan ke bawah saling menghapus.",
    )
    yield (
        _close(found, expected, 1e-4),
        f"hasilnya {number(found, 4)}. Periksalah: "
        "keyakinan ialah probabilitas kelas yang dipilih, kelompoknya lima belas dari 0 sampai 1, "
        "dan setiap kelompok berbobot menurut banyaknya citra.",
    )
    alone = _answer(answer, np.array([0.97, 0.98, 0.96]), np.array([1, 1, 1]))
    yield (
        _is_number(alone) and np.isfinite(float(alone)),
        "kelompok yang kosong memberi nilai tak tentu: lewatilah kelompok itu.",
    )


@_exercise("banyak-citra")
def _n_images(answer: Callable) -> Steps:
    for share, half in ((0.85, 0.04), (0.85, 0.02), (0.5, 0.03)):
        found = _answer(answer, share, half)
        yield _a_number(found)
        expected = norm.ppf(0.975) ** 2 * share * (1 - share) / half**2
        yield (
            not _close(found, expected / 4, 1 + expected / 400),
            "itu untuk seluruh lebar interval; yang diminta setengah lebarnya.",
        )
        yield (
            abs(float(found) - expected) <= 1 + 0.005 * expected,
            f"untuk akurasi {number(share, 2)} "
            f"dan setengah lebar {number(half, 2)} hasilnya {number(found)}: "
            "setengah lebar interval normal adalah 1,96 kali akar dari p(1 − p)/n.",
        )


# --- 04 Perbaikan ---------------------------------------------------------------------------------


@_exercise("holm")
def _holm_adjusted(answer: Callable) -> Steps:
    for given in ([0.01, 0.04, 0.03], [0.2, 0.001, 0.03, 0.04], [0.7, 0.9]):
        found = _answer(answer, list(given))
        yield (
            found is not None and np.shape(found) == (len(given),),
            f"yang dikembalikan {_kind(found)}; diminta {len(given)} nilai-p.",
        )
        found, expected = np.asarray(found, float), np.array(evaluation.holm(given))
        yield not (found > 1).any(), f"untuk {given} ada nilai-p di atas 1: batasilah pada 1."
        yield (
            np.allclose(found, expected) or not np.allclose(np.sort(found), np.sort(expected)),
            f"untuk {given} nilainya benar tetapi urutannya tidak: "
            "kembalikan menurut urutan masukan.",
        )
        bonferroni = np.minimum(1, len(given) * np.array(given))
        yield (
            np.allclose(found, expected) or not np.allclose(found, bonferroni),
            "itu koreksi Bonferroni; "
            "pada Holm pengalinya berkurang satu setiap langkah, dari nilai-p terkecil.",
        )
        yield (
            np.allclose(found, expected),
            f"untuk {given} hasilnya {found.round(4).tolist()}: nilai-p tidak boleh turun lagi.",
        )


@_exercise("putusan")
def _decide(answer: Callable) -> Steps:
    words = [word for word in comparison.VERDICTS if word != comparison.MAJORITY]
    for low, high in (
        (0.02, 0.06),
        (-0.05, -0.01),
        (-0.004, 0.006),
        (0.001, 0.008),
        (-0.02, 0.005),
        (-0.001, 0.03),
    ):
        found = _answer(answer, low, high, 0.01)
        p = 1.0 if low < 0 < high else 0.0
        measured = comparison.Difference((low + high) / 2, (low, high), p, 0.0, None, None)
        expected = comparison.verdict(measured, p, 0.01)
        yield (
            isinstance(found, str),
            f"yang dikembalikan {_kind(found)}; "
            "yang diminta teks, salah satu dari keempat putusan.",
        )
        yield found in words, f"putusan {found!r} tidak dikenal: {', '.join(words)}."
        yield (
            found == expected,
            f"interval {number(low)} sampai {number(high)} "
            f"dengan batas ±0,01 Anda putuskan {found!r}.",
        )
