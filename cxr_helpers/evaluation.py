"""Metrics with their 95% intervals, calibration and paired comparisons, from logits and labels
(notebooks 02, 03 and 04).

Class 1 is the positive class. Nothing here sees an image or a model. Intervals: Wilson (1927) for
shares of images (accuracy, sensitivity, specificity), which stays honest near 0 and 1 and in small
samples; Newcombe (1998) for sums and differences of two shares (balanced accuracy, gap); for
everything else the percentile bootstrap (Efron & Tibshirani 1993, ch. 13), resampled within each
class so that the class counts stay as they are. Differences are paired: both models are resampled
on the same images.

Images of one patient are not independent. Where `patients` (N,) is given, equal for images of one
patient, whole patients are resampled (Davison & Hinkley 1997, sec. 3.8; Field & Welsh 2007), and a
share has Wilson's interval at its effective number of images, n over the design effect (Rao & Scott
1992; compared by Dean & Pagano 2015). None: each image counts for itself.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import fisher_exact, rankdata, t
from sklearn.metrics import roc_curve
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

REPEATS = 2000
# numbers of a bootstrap in memory at once: 100,000 images take as little of it as 1,000
CHUNK = 1_000_000
LEVEL = 0.95
FEWEST_SEEDS = 3  # an interval over fewer counts images only
BINS = 15  # of the expected calibration error, as in Guo et al. 2017
METRICS = ("acc", "balanced_acc", "auc", "f1", "sensitivity", "specificity", "ece")
ECE = METRICS.index("ece")


def _chunks(repeats: int, n: int) -> Iterator[int]:
    """How many of `repeats` rows of n numbers to draw at a time, so that no more than CHUNK numbers
    are drawn at once.
    """
    most = max(1, CHUNK // n)
    return (min(most, repeats - done) for done in range(0, repeats, most))


def resample(
    labels: np.ndarray, repeats: int = REPEATS, seed: int = 0, patients: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Row numbers drawn with replacement within each class of labels (N,): `repeats` rows of N, in
    chunks (some, N).

    By whole patients if given; a patient with images of both classes (one in a hundred of
    ChestMNIST's) counts in each class as a patient of its own. Each class has a stream of random
    numbers of its own, so how they are cut into chunks changes nothing.
    """
    classes = [np.flatnonzero(labels == value) for value in np.unique(labels)]
    streams = np.random.default_rng(seed).spawn(len(classes))
    for some in _chunks(repeats, len(labels)):
        drawn = []
        for rows, stream in zip(classes, streams, strict=True):
            if patients is None:
                places = stream.integers(0, len(rows), (some, len(rows)))
            else:
                places = _whole_patients(patients[rows], some, stream)
            drawn.append(rows[places])
        yield np.concatenate(drawn, axis=1)


def replicates(
    statistic: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    seed: int = 0,
    patients: np.ndarray | None = None,
) -> np.ndarray:
    """A statistic of row numbers on every resample, `statistic((some, N) rows) → (…, some)`: (…,
    REPEATS).
    """
    return np.concatenate(
        [statistic(rows) for rows in resample(labels, seed=seed, patients=patients)], axis=-1
    )


def _whole_patients(
    patients: np.ndarray, repeats: int, generator: np.random.Generator
) -> np.ndarray:
    """(repeats, N) places in patients (N,): patients drawn with replacement, each with all its
    images, until N are there.

    The last patient is cut, as the stationary bootstrap cuts its last block (Politis & Romano
    1994), so that N stays as it is.
    """
    by_patient = np.argsort(patients, kind="stable")
    _, first, sizes = np.unique(patients[by_patient], return_index=True, return_counts=True)
    n = len(patients)
    places = np.empty((repeats, n), np.int64)
    for drawn in places:
        chosen = generator.integers(0, len(sizes), n)  # n patients are always enough
        count, end = sizes[chosen], np.cumsum(sizes[chosen])
        drawn[:] = (np.repeat(first[chosen] - (end - count), count) + np.arange(end[-1]))[:n]
    return by_patient[places]


def among(patients: np.ndarray | None, which: np.ndarray) -> np.ndarray | None:
    """The patients of some of the images (a mask or row numbers); None where patients are not
    known.
    """
    return None if patients is None else patients[which]


def n_patients(patients: np.ndarray | None, which: np.ndarray | slice = slice(None)) -> int | None:
    """How many patients some of the images (a mask, row numbers or a slice) show; None where
    patients are not known.
    """
    return None if patients is None else len(np.unique(patients[which]))


def effective_size(hits: np.ndarray, patients: np.ndarray | None = None) -> float:
    """How many independent images say as much about the share hits (N,) in [0, 1] as these do: N
    over the design effect.

    The variance of the share between patients is that of a ratio (Rao & Scott 1992), never counted
    below that of N independent images. Where all hits are alike it says nothing, and the images of
    a patient count as one (Kish 1965: N² / Σ sizes²).
    """
    n, value = len(hits), float(np.mean(hits))
    if patients is None:
        return n
    who = np.unique(patients, return_inverse=True)[1]
    sizes, excess = np.bincount(who), np.bincount(who, np.asarray(hits, float) - value)
    if len(sizes) == 1 or value in (0, 1):
        return float(n**2 / (sizes**2).sum())
    variance = len(sizes) / (len(sizes) - 1) * (excess**2).sum() / n**2
    return min(float(n), value * (1 - value) / max(variance, 1e-12))


def expected_calibration_error(probability: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """ECE of the predicted class over 15 bins of equal width (Guo et al. 2017, eq. 3); arrays (...,
    N), result (...).
    """
    predicted = probability > 0.5
    confidence = np.where(predicted, probability, 1 - probability)
    correct = predicted == labels
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    error = np.zeros(probability.shape[:-1])
    for one in range(BINS // 2, BINS):  # the confidence of a predicted class is at least 0.5
        gap = np.where(which == one, correct - confidence, 0).sum(-1)
        error += np.abs(gap) / probability.shape[-1]
    return error


def without_bias(
    point: float, samples: np.ndarray, least: float = -np.inf
) -> tuple[float, np.ndarray]:
    """An ECE (or a difference of two) and its resamples (REPEATS,) without its bias as the
    bootstrap estimates it.

    Chance moves every bin off its confidence and the ECE adds up how far: it is too large, most of
    all near 0, and that of a resample is too large once more, which says by how much (Efron &
    Tibshirani 1993, ch. 10; for the ECE Kumar et al. 2019). At 0 some is left: whether an ECE is
    above chance at all, `chance_calibration_error` says.
    """
    return max(least, float(2 * point - samples.mean())), np.maximum(least, 2 * point - samples)


def chance_calibration_error(
    logits: np.ndarray, patients: np.ndarray | None = None, seed: int = 0
) -> dict:
    """The ECE that a calibrated network with these logits (N,) would show by chance: {"value",
    "range95"}, mean and range.

    Labels are drawn from the network's own probabilities (consistency resampling: Bröcker & Smith
    2007); images of one patient share the draw, as they mostly share the class.
    """
    probability = expit(logits)
    who = (
        np.arange(len(logits)) if patients is None else np.unique(patients, return_inverse=True)[1]
    )
    generator, found = np.random.default_rng(seed), []
    for some in _chunks(REPEATS, len(logits)):
        labels = generator.random((some, who.max() + 1))[:, who] < probability
        found.append(expected_calibration_error(np.broadcast_to(probability, labels.shape), labels))
    found = np.concatenate(found)
    return {"value": float(found.mean()), "range95": list(percentile(found))}


def area_under_curve(score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve by the rank sum (Hanley & McNeil 1982); ties count one half. Arrays
    (..., N), result (...).
    """
    positive = labels == 1
    n_positive, n = positive.sum(-1), labels.shape[-1]
    ranks = rankdata(score, axis=-1)
    rank_sum = np.where(positive, ranks, 0).sum(-1)
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * (n - n_positive))


def metric_values(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Every metric of METRICS from logits and labels of the same shape (..., N); each result has
    shape (...).

    The decision is p > 0.5. F1 is 0 where nothing is predicted positive. Both classes must be
    present.
    """
    positive, predicted = labels == 1, logits > 0
    true_positive = (positive & predicted).sum(-1)
    sensitivity = true_positive / positive.sum(-1)
    specificity = (~positive & ~predicted).sum(-1) / (~positive).sum(-1)
    return {
        "acc": (positive == predicted).mean(-1),
        "balanced_acc": (sensitivity + specificity) / 2,
        "auc": area_under_curve(logits, labels),
        "f1": 2 * true_positive / (positive.sum(-1) + predicted.sum(-1)),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ece": expected_calibration_error(expit(logits), labels),
    }


def _every_metric(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`metric_values` as one array, (metrics, …) in the order of METRICS."""
    return np.stack(list(metric_values(logits, labels).values()))


def wilson(successes: float, n: int, level: float = LEVEL) -> tuple[float, float]:
    """Wilson's score interval of the share successes / n (Wilson 1927). A mean over seeds may be a
    fractional count.
    """
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    share = successes / n
    # at 0 and 1 a bound is the share itself, which rounding would miss
    return min(share, float(low)), max(share, float(high))


def percentile(samples: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The percentile interval of bootstrap samples (repeats,)."""
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def majority_share(labels: np.ndarray) -> float:
    """Accuracy of always guessing the more frequent class of labels (N,) in {0, 1}."""
    return float(max(labels.mean(), 1 - labels.mean()))


def metrics(
    logits: np.ndarray, labels: np.ndarray, seed: int = 0, patients: np.ndarray | None = None
) -> dict:
    """{"n": N, "majority": share, metric: {"value", "ci95"} for each of METRICS} of logits (N,) and
    labels (N,) in {0, 1}.
    """
    drawn = replicates(
        lambda rows: _every_metric(logits[rows], labels[rows]), labels, seed, patients
    )
    samples, point = dict(zip(METRICS, drawn, strict=True)), metric_values(logits, labels)
    point["ece"], samples["ece"] = without_bias(point["ece"], samples["ece"], least=0)
    positive, right = labels == 1, (logits > 0) == (labels == 1)
    # of which images
    shares = {"acc": np.ones(len(labels), bool), "sensitivity": positive, "specificity": ~positive}
    result = {"n": len(labels), "majority": majority_share(labels)}
    for name in METRICS:
        ci = (
            share(right[shares[name]], among(patients, shares[name]))["ci95"]
            if name in shares
            else percentile(samples[name])
        )
        result[name] = {"value": float(point[name]), "ci95": list(ci)}
    halves = [
        [bound / 2 for bound in result[name]["ci95"]] for name in ("sensitivity", "specificity")
    ]
    ci = square_and_add(point["sensitivity"] / 2, halves[0], point["specificity"] / 2, halves[1])
    result["balanced_acc"]["ci95"] = list(ci)
    return result


def _over_seeds(samples: np.ndarray, seed: int) -> np.ndarray:
    """Mean of samples (seeds, …, REPEATS) over the seeds, (…, REPEATS): from three seeds on each
    resample draws them, too, with replacement; of fewer, every one counts once.
    """
    seeds = len(samples)
    if seeds < FEWEST_SEEDS:
        return samples.mean(0)
    picks = np.random.default_rng(seed + 1).integers(0, seeds, (REPEATS, seeds))
    weight = np.stack([(picks == one).mean(axis=1) for one in range(seeds)])
    return np.einsum("s...r,sr->...r", samples, weight)


def paired_difference(
    logits: list[np.ndarray],
    baseline: list[np.ndarray],
    labels: np.ndarray,
    seed: int = 0,
    patients: np.ndarray | None = None,
) -> dict[str, dict]:
    """Mean over seeds of metric(logits) − metric(baseline), {"value", "ci95", "p"} for each of
    METRICS.

    logits and baseline hold one array (N,) a seed, in the same order of seeds and on the same
    images. Images are resampled within each class, the same for both models; with three or more
    seeds the pairs of seeds are resampled too. p is the two-sided bootstrap p-value: twice the
    smaller share of resamples on one side of zero (at least 2/(repeats+1)).
    """

    def gained(rows: np.ndarray) -> np.ndarray:
        drawn = labels[rows]
        pairs = zip(logits, baseline, strict=True)
        return np.stack(
            [
                _every_metric(ours[rows], drawn) - _every_metric(theirs[rows], drawn)
                for ours, theirs in pairs
            ]
        )

    point = gained(np.arange(len(labels))).mean(0)
    samples = _over_seeds(replicates(gained, labels, seed, patients), seed)
    point[ECE], samples[ECE] = without_bias(point[ECE], samples[ECE])
    result = {}
    for name, value, drawn in zip(METRICS, point, samples, strict=True):
        tail = min((drawn <= 0).mean(), (drawn >= 0).mean())
        p = min(1.0, max(2 * tail, 2 / (REPEATS + 1)))
        result[name] = {"value": float(value), "ci95": list(percentile(drawn)), "p": float(p)}
    return result


def mean_over_seeds(
    logits: list[np.ndarray], labels: np.ndarray, seed: int = 0, patients: np.ndarray | None = None
) -> dict:
    """As `metrics`, averaged over seeds (one array (N,) each); images are resampled and, from three
    seeds on, the seeds too.
    """
    if len(logits) == 1:
        return metrics(logits[0], labels, seed, patients)

    def every(rows: np.ndarray) -> np.ndarray:
        return np.stack([_every_metric(one[rows], labels[rows]) for one in logits])

    point, samples = (
        every(np.arange(len(labels))).mean(0),
        _over_seeds(replicates(every, labels, seed, patients), seed),
    )
    point[ECE], samples[ECE] = without_bias(point[ECE], samples[ECE], least=0)
    estimates = {
        name: {"value": float(value), "ci95": list(percentile(drawn))}
        for name, value, drawn in zip(METRICS, point, samples, strict=True)
    }
    return {"n": len(labels), "majority": majority_share(labels)} | estimates


def square_and_add(
    a: float, a_ci: tuple, b: float, b_ci: tuple, sign: int = 1
) -> tuple[float, float]:
    """95% interval of a + sign·b from those of two independent estimates (Newcombe 1998, method
    10); never collapses at 0 or 1.

    The estimates may be halves of shares or means over seeds; statsmodels'
    confint_proportions_2indep knows two counts only.
    """
    b, (b_low, b_high) = sign * b, sorted(sign * bound for bound in b_ci)
    low = np.hypot(a - a_ci[0], b - b_low)
    high = np.hypot(a_ci[1] - a, b_high - b)
    return float(a + b - low), float(a + b + high)


def difference(a: dict, b: dict) -> dict:
    """a − b of two independent estimates {"value", "ci95"}, with the interval of
    `square_and_add`.
    """
    ci = square_and_add(a["value"], a["ci95"], b["value"], b["ci95"], sign=-1)
    return {"value": a["value"] - b["value"], "ci95": list(ci)}


def leakage(
    val_acc: np.ndarray,
    test_logits: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray | None = None,
) -> dict:
    """What choosing the epoch by the test itself ("course") reports, beside choosing it by
    validation ("honest"; notebook 02).

    val_acc: (epochs,); test_logits: (epochs, N); labels: (N,). Gives "test_acc" (epochs,); for
    either protocol [epoch from 1, test accuracy] and its "…_ci95"; "flattery", course − honest with
    its paired interval; "flatters", whether that is above zero.
    """
    test_acc = ((test_logits > 0) == (labels == 1)).mean(axis=1)
    chosen = {"honest": int(np.argmax(val_acc)), "course": int(np.argmax(test_acc))}
    lesson = {"test_acc": test_acc}
    for name, epoch in chosen.items():
        lesson[name] = [epoch + 1, float(test_acc[epoch])]
        lesson[f"{name}_ci95"] = metrics(test_logits[epoch], labels, patients=patients)["acc"][
            "ci95"
        ]
    course, honest = ([test_logits[chosen[name]]] for name in ("course", "honest"))
    found = paired_difference(course, honest, labels, patients=patients)["acc"]
    flattery = {"value": found["value"], "ci95": found["ci95"]}
    return lesson | {"flattery": flattery, "flatters": bool(flattery["value"] > 0)}


def right(logits: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Which decisions are right, 1 or 0, of logits (N,) a seed: (seeds, N); NaN where there is no
    logit.
    """
    return np.stack([np.where(np.isnan(one), np.nan, (one > 0) == (labels == 1)) for one in logits])


def mean_accuracy(
    logits: list[np.ndarray], labels: np.ndarray, patients: np.ndarray | None = None
) -> dict:
    """Mean over seeds of the share of right decisions: {"value", "ci95"}, by Wilson's interval.

    logits hold one array (N,) a seed; NaN logits (images that an epoch did not visit) are left out.
    Seeds see the same images, so the number of images, not of images times seeds, sets the width.
    """
    found = right(logits, labels)
    known = (~np.isnan(found)).any(0)
    return share(np.nanmean(found[:, known], axis=0), among(patients, known))


def accuracy_gap(
    train: list[np.ndarray],
    train_labels: np.ndarray,
    val: list[np.ndarray],
    val_labels: np.ndarray,
    train_patients: np.ndarray | None = None,
    val_patients: np.ndarray | None = None,
) -> dict:
    """Training minus validation accuracy, mean over seeds: {"value", "ci95"}, by Newcombe's
    interval for a difference of shares.

    train and val hold logits (N,) a seed, as for mean_accuracy.
    """
    return difference(
        mean_accuracy(train, train_labels, train_patients),
        mean_accuracy(val, val_labels, val_patients),
    )


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of each image, shape as logits (..., N)."""
    return np.logaddexp(0, np.where(labels == 1, -logits, logits))


def mean_loss(
    logits: list[np.ndarray], labels: np.ndarray, seed: int = 0, patients: np.ndarray | None = None
) -> dict:
    """Mean over seeds of the mean binary cross-entropy of logits (N,): {"value", "ci95"}; NaN
    logits are left out.
    """
    each = np.stack([loss(one, labels) for one in logits])
    known = ~np.isnan(each).all(0)
    mean, labels = np.nanmean(each[:, known], axis=0), labels[known]
    ci = bootstrap(lambda rows: mean[rows].mean(axis=1), labels, seed, among(patients, known))
    return {"value": float(mean.mean()), "ci95": list(ci)}


def share(hits: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """Share of True in hits (N,), which may be means over seeds, with Wilson's interval: {"value",
    "ci95"}; of nothing, NaN.
    """
    if len(hits) == 0:
        return {"value": float("nan"), "ci95": [float("nan")] * 2}
    n = effective_size(hits, patients)
    return {"value": float(np.mean(hits)), "ci95": list(wilson(np.sum(hits) * n / len(hits), n))}


def paired_change(
    changes: np.ndarray,
    labels: np.ndarray,
    patients: np.ndarray | None = None,
    seed: int = 0,
    hits: bool = False,
) -> dict:
    """Mean of changes (seeds, N), after − before on the same images: {"value", "ci95", "side" of
    zero}.

    Images are resampled within each class of labels (N,) and, from three seeds on, the seeds too;
    NaN is left out. hits: of changed decisions, few of which make a bootstrap too sure; the
    interval is never narrower than that of gains minus losses, as two shares (Zou & Donner 2008).
    """
    samples = replicates(lambda rows: np.nanmean(changes[:, rows], axis=-1), labels, seed, patients)
    low, high = percentile(_over_seeds(samples, seed))
    if hits:
        known = ~np.isnan(changes).all(0)
        moved, who = np.nanmean(changes[:, known], axis=0), among(patients, known)
        least = difference(share(np.maximum(moved, 0), who), share(np.maximum(-moved, 0), who))[
            "ci95"
        ]
        low, high = min(low, least[0]), max(high, least[1])
    return {
        "value": float(np.nanmean(changes, axis=-1).mean()),
        "ci95": [low, high],
        "side": side((low, high)),
    }


def compare_groups(
    a: np.ndarray,
    b: np.ndarray,
    a_patients: np.ndarray | None = None,
    b_patients: np.ndarray | None = None,
) -> dict:
    """Share of hits a (N,) minus that of b (M,), two groups of other images: {"value", "ci95", "p",
    "side" of zero}.

    The interval is Newcombe's, p that of Fisher's exact test (Fisher 1935) on the effective numbers
    of images; hits may be means over seeds, in [0, 1].
    """
    table = []
    for hits, patients in ((a, a_patients), (b, b_patients)):
        n = max(1, round(effective_size(hits, patients)))
        successes = round(float(np.mean(hits)) * n)
        table.append([successes, n - successes])
    found = difference(share(a, a_patients), share(b, b_patients))
    return {**found, "p": float(fisher_exact(table).pvalue), "side": side(found["ci95"])}


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted for their number by Holm's step-down procedure (Holm 1979), in the order
    given.
    """
    return multipletests(p_values, method="holm")[1].tolist()


def bootstrap(
    statistic: Callable[[np.ndarray], np.ndarray],
    labels: np.ndarray,
    seed: int = 0,
    patients: np.ndarray | None = None,
) -> tuple[float, float]:
    """95% interval of any statistic of row numbers: `statistic((some, N) rows) → (some,)`,
    stratified by labels (N,).
    """
    return percentile(replicates(statistic, labels, seed, patients))


def side(ci: Sequence[float], of: float = 0.0) -> str:
    """Where an interval (low, high) lies: "above" or "below" the value `of` as a whole, or "across"
    it (it holds the value).
    """
    low, high = ci
    return "above" if low > of else "below" if high < of else "across"


def confusion(logits: np.ndarray, labels: np.ndarray, threshold: float = 0.0) -> list[list[int]]:
    """[[0 as 0, 0 as 1], [1 as 0, 1 as 1]]: counts of true class as predicted class; class 1 is
    predicted above `threshold`.
    """
    predicted = logits > threshold
    return [[int(((labels == t) & (predicted == p)).sum()) for p in (False, True)] for t in (0, 1)]


def operating_point(matrix: list[list[int]]) -> dict[str, float]:
    """{"sensitivity", "specificity"} of a confusion matrix as `confusion` gives it; both classes
    must be present.
    """
    (true_negative, false_positive), (false_negative, true_positive) = matrix
    return {
        "sensitivity": true_positive / (true_positive + false_negative),
        "specificity": true_negative / (true_negative + false_positive),
    }


def roc(logits: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """The ROC curve of logits (N,): {"false_positive", "true_positive"} rates from threshold +∞
    down to −∞.
    """
    false_positive, true_positive, _ = roc_curve(labels, logits)
    return {"false_positive": false_positive, "true_positive": true_positive}


def confidence(logits: np.ndarray) -> np.ndarray:
    """Probability of the predicted class, in [0.5, 1]; shape as logits."""
    return expit(np.abs(logits))


def reliability(
    logits: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None
) -> pd.DataFrame:
    """Reliability diagram of the predicted class: one row a non-empty bin (confidence, accuracy,
    ci95 low and high, n).
    """
    sure, right = confidence(logits), (logits > 0) == (labels == 1)
    which = np.minimum((sure * BINS).astype(int), BINS - 1)
    table = []
    for one in np.unique(which):
        inside = which == one
        low, high = share(right[inside], among(patients, inside))["ci95"]
        table.append(
            (float(sure[inside].mean()), float(right[inside].mean()), low, high, int(inside.sum()))
        )
    return pd.DataFrame(table, columns=["confidence", "accuracy", "low", "high", "n"])


BETTER, WORSE, EQUAL, UNDECIDED = "lebih baik", "lebih buruk", "setara", "belum dapat diputuskan"
MAJORITY = "menebak mayoritas"
VERDICTS = (BETTER, WORSE, EQUAL, UNDECIDED, MAJORITY)
SIGNIFICANCE = 0.05
POWER = 0.8
# for a verdict; with fewer there is no telling a recipe from its luck
LEAST_SEEDS = FEWEST_SEEDS
# Welch's degrees of freedom are themselves an estimate. With fewer seeds of a recipe they are set
# to their least possible value: without this bench.null_study, splitting one recipe's seeds three
# against three, found a difference in more than 5% of cases.
ENOUGH_SEEDS = 5
ONE_CLASS = 0.95  # a network that gives more of its predictions to one class guesses
# Set before any result was seen: smaller differences change nothing for a user of the network.
MARGIN = {"auc": 0.01, "gap": 0.02}


@dataclass(frozen=True)
class Difference:
    """Mean over the seeds of the recipe minus that of the baseline.

    ci95 counts images and seeds; where a recipe has fewer than LEAST_SEEDS it counts images alone
    and p (two-sided) is None. se_images and se_seeds: the standard errors that make it up; df: its
    degrees of freedom (None: the normal distribution).
    """

    value: float
    ci95: tuple[float, float]
    p: float | None
    se_images: float
    se_seeds: float | None
    df: float | None

    def as_dict(self) -> dict:
        return asdict(self)


def placements(score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image (N,) the share of the other class's images that it is on the right side of;
    ties count one half.

    Their mean over either class is the AUC (DeLong, DeLong & Clarke-Pearson 1988).
    """
    positive = labels == 1
    below = np.empty(len(labels))
    everywhere = rankdata(score)
    for which in (positive, ~positive):
        below[which] = (everywhere[which] - rankdata(score[which])) / (~which).sum()
    return np.where(positive, below, 1 - below)


def influence(
    logits: np.ndarray, labels: np.ndarray, threshold: float = 0.0
) -> dict[str, tuple[float, np.ndarray]]:
    """{metric: (value, influence (N,))} of logits (N,): what each image adds to the metric; the
    influences sum to zero.

    acc, balanced_acc, sensitivity, specificity and f1 decide at p = 0.5, acc_chosen at `threshold`
    (a logit); brier is the mean squared error of the probability (Brier 1950); overconfidence is
    the mean probability of the predicted class minus acc, 0 where the network is calibrated on the
    whole.
    """
    positive, chosen = labels == 1, logits > 0
    n, n_positive, n_negative = len(labels), positive.sum(), (~positive).sum()

    def mean(values: np.ndarray) -> tuple[float, np.ndarray]:
        return float(values.mean()), (values - values.mean()) / n

    place = placements(logits, labels)
    auc = place[positive].mean()
    right = (chosen == positive).astype(float)
    hit, kept = right[positive].mean(), right[~positive].mean()
    sensitivity, specificity = (
        positive * (right - hit) / n_positive,
        ~positive * (right - kept) / n_negative,
    )
    both = n_positive + chosen.sum()
    f1 = 2 * (positive & chosen).sum() / both
    return {
        "auc": (float(auc), (place - auc) / np.where(positive, n_positive, n_negative)),
        "acc": mean(right),
        "acc_chosen": mean(((logits > threshold) == positive).astype(float)),
        "balanced_acc": (float((hit + kept) / 2), (sensitivity + specificity) / 2),
        "sensitivity": (float(hit), sensitivity),
        "specificity": (float(kept), specificity),
        "f1": (
            float(f1),
            (2.0 * (positive & chosen) - f1 * (positive.astype(float) + chosen)) / both,
        ),
        "brier": mean((expit(logits) - positive) ** 2),
        "overconfidence": mean(confidence(logits) - right),
    }


def image_variance(influences: np.ndarray, patients: np.ndarray | None = None) -> float:
    """Variance of a metric from the influence of each image (N,), summed over the images of a
    patient where known.
    """
    if patients is not None:
        influences = np.bincount(np.unique(patients, return_inverse=True)[1], influences)
    n = len(influences)
    return float(n / (n - 1) * (influences**2).sum()) if n > 1 else np.inf


def _half_width(variance: float, seeds: float = 0.0, df_seeds: float = 1) -> tuple[float, float]:
    """Half the interval of a value from its variances between images and between seeds, the latter
    known by df_seeds degrees of freedom, and the degrees of freedom of both together (Satterthwaite
    1946).
    """
    df = (variance + seeds) ** 2 / (seeds**2 / df_seeds) if seeds else np.inf
    return float(t.ppf((1 + LEVEL) / 2, df) * np.sqrt(variance + seeds)), float(df)


def _difference(value: float, variance: float, seeds: float, df_seeds: float) -> Difference:
    """The difference with its variances, its interval and its p-value."""
    half, df = _half_width(variance, seeds, df_seeds)
    p = float(2 * t.sf(abs(value) / max(np.sqrt(variance + seeds), 1e-300), df)) if value else 1.0
    ci = (value - half, value + half)
    return Difference(
        value,
        ci,
        p,
        float(np.sqrt(variance)),
        float(np.sqrt(seeds)),
        df if np.isfinite(df) else None,
    )


def ensemble_difference(
    logits: list[np.ndarray], labels: np.ndarray, patients: np.ndarray | None = None
) -> Difference:
    """AUC of the mean of the logits (one array (N,) a seed, three at least) minus the mean of their
    AUCs.

    Its variance between seeds is the jackknife's.
    """

    def gain(each: list[np.ndarray]) -> float:
        single = [area_under_curve(one, labels) for one in each]
        return float(area_under_curve(np.mean(each, axis=0), labels) - np.mean(single))

    k = len(logits)
    apart = influence(np.mean(logits, axis=0), labels)["auc"][1] - np.mean(
        [influence(one, labels)["auc"][1] for one in logits], axis=0
    )
    without = np.array([gain(logits[:i] + logits[i + 1 :]) for i in range(k)])
    seeds = (k - 1) / k * ((without - without.mean()) ** 2).sum()
    return _difference(gain(logits), image_variance(apart, patients), float(seeds), k - 1)


def detectable(
    logits: list[np.ndarray], labels: np.ndarray, patients: np.ndarray | None, seeds: int
) -> float:
    """The true difference in AUC that a study with this many seeds a recipe sees in POWER of all
    cases (Cohen 1988, ch. 2).

    Both recipes are taken to spread as these do: logits (N,) of one recipe, one array a seed, three
    at least.
    """
    each = [influence(one, labels)["auc"] for one in logits]
    spread = np.var([value for value, _ in each], ddof=1)
    pairs = combinations([influences for _, influences in each], 2)
    between_images = (
        np.mean([image_variance(one - other, patients) for one, other in pairs]) / seeds
    )
    part = spread / seeds
    half, df = _half_width(between_images, 2 * part, _df_seeds([(part, seeds)] * 2))
    return half + float(t.ppf(POWER, df) * np.sqrt(between_images + 2 * part))


def _df_seeds(parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom of a variance between seeds that is a sum of parts, one a recipe:
    (variance of its mean, its seeds).

    Welch's (1947); below ENOUGH_SEEDS their lower bound, those of the recipe with fewer seeds.
    """
    if (fewest := min(k for _, k in parts)) < ENOUGH_SEEDS:
        return fewest - 1
    return sum(part for part, _ in parts) ** 2 / max(
        sum(part**2 / (k - 1) for part, k in parts), 1e-300
    )


def combine(ours: np.ndarray, theirs: np.ndarray, variance: float) -> Difference:
    """The difference of two recipes from a value a seed of each, ours (k,) and theirs (k0,), and
    its variance between images.
    """
    value = float(np.mean(ours) - np.mean(theirs))
    if min(len(ours), len(theirs)) < LEAST_SEEDS:
        half, _ = _half_width(variance)
        return Difference(
            value, (value - half, value + half), None, float(np.sqrt(variance)), None, None
        )
    parts = [(np.var(values, ddof=1) / len(values), len(values)) for values in (ours, theirs)]
    return _difference(value, variance, float(sum(part for part, _ in parts)), _df_seeds(parts))


def differences(
    ours: list[np.ndarray],
    theirs: list[np.ndarray],
    labels: np.ndarray,
    patients: np.ndarray | None = None,
    thresholds: tuple[list[float], list[float]] | None = None,
) -> dict[str, Difference]:
    """{metric: Difference} for each metric of `influence`; ours and theirs hold logits (N,), one a
    seed, on the same images.

    thresholds: of either recipe one logit a seed, chosen on validation; None: 0.
    """
    points = thresholds or ([0.0] * len(ours), [0.0] * len(theirs))
    each = [
        [influence(logits, labels, point) for logits, point in zip(recipe, found, strict=True)]
        for recipe, found in zip((ours, theirs), points, strict=True)
    ]
    found = {}
    for metric in each[0][0]:
        values = [np.array([seed[metric][0] for seed in recipe]) for recipe in each]
        apart = np.mean([seed[metric][1] for seed in each[0]], axis=0) - np.mean(
            [seed[metric][1] for seed in each[1]], axis=0
        )
        found[metric] = combine(*values, image_variance(apart, patients))
    return found


def _mean(values: np.ndarray, variance: float) -> dict:
    """{"value", "ci95", "sd"} of a metric from a value a seed (k,) and the variance of their mean
    between images.
    """
    k = len(values)
    value, sd = float(np.mean(values)), float(np.std(values, ddof=1)) if k > 1 else None
    half, _ = _half_width(variance, sd**2 / k, k - 1) if k >= LEAST_SEEDS else _half_width(variance)
    return {"value": value, "ci95": [value - half, value + half], "sd": sd}


def means(
    logits: list[np.ndarray],
    labels: np.ndarray,
    patients: np.ndarray | None = None,
    thresholds: list[float] | None = None,
) -> dict[str, dict]:
    """{metric: {"value", "ci95", "sd"}} of a recipe, mean over its seeds, for each metric of
    `influence`.

    sd: over the seeds, None for one. ci95 counts images and, from LEAST_SEEDS seeds on, seeds;
    shares stay within 0 and 1, overconfidence within −1 and 1.
    """
    each = [
        influence(one, labels, point)
        for one, point in zip(logits, thresholds or [0.0] * len(logits), strict=True)
    ]
    found = {}
    for metric in each[0]:
        variance = image_variance(np.mean([seed[metric][1] for seed in each], axis=0), patients)
        found[metric] = _mean(np.array([seed[metric][0] for seed in each]), variance)
        least = -1.0 if metric == "overconfidence" else 0.0
        found[metric]["ci95"] = [min(max(bound, least), 1.0) for bound in found[metric]["ci95"]]
    return found


@dataclass(frozen=True)
class Fitted:
    """Right decisions at p = 0.5 of one recipe, in eval mode: train and val (seeds, N) bool, and
    patients (N,) where known.
    """

    train: np.ndarray
    val: np.ndarray
    train_patients: np.ndarray | None = None
    val_patients: np.ndarray | None = None

    def gaps(self) -> np.ndarray:
        """Training minus validation accuracy of each seed."""
        return self.train.mean(axis=1) - self.val.mean(axis=1)


def _gap_variance(train: np.ndarray, val: np.ndarray, fitted: Fitted) -> float:
    """Variance between images of mean(train) − mean(val), values (N,) of the training and
    validation images.
    """
    parts = ((train, fitted.train_patients), (val, fitted.val_patients))
    return sum(
        image_variance((values - values.mean()) / len(values), patients)
        for values, patients in parts
    )


def mean_gap(fitted: Fitted) -> dict:
    """{"value", "ci95", "sd"} of the gap between training and validation accuracy, mean over the
    seeds.
    """
    return _mean(
        fitted.gaps(), _gap_variance(fitted.train.mean(axis=0), fitted.val.mean(axis=0), fitted)
    )


def gap_difference(ours: Fitted, theirs: Fitted) -> Difference:
    """How much wider the gap between training and validation accuracy is than the baseline's, on
    the same images.
    """
    train, val = (
        getattr(ours, split).mean(axis=0) - getattr(theirs, split).mean(axis=0)
        for split in ("train", "val")
    )
    return combine(ours.gaps(), theirs.gaps(), _gap_variance(train, val, ours))


def chosen_threshold(logits: np.ndarray, labels: np.ndarray) -> float:
    """The logit above which class 1 is decided so that most of these (validation) images (N,) are
    right; of ties nearest to 0.
    """
    order = np.argsort(logits, kind="stable")
    score, positive = logits[order], labels[order] == 1
    # of the k lowest called 0
    right = np.concatenate(
        [[positive.sum()], positive.sum() + np.cumsum(np.where(positive, -1, 1))]
    )
    between = np.concatenate([[score[0] - 1], (score[1:] + score[:-1]) / 2, [score[-1] + 1]])
    # equal logits fall on one side
    splits = np.concatenate([[True], score[1:] > score[:-1], [True]])
    best = between[splits & (right == right[splits].max())]
    return float(best[np.abs(best).argmin()])


def guesses(logits: list[np.ndarray]) -> bool:
    """Whether a recipe's networks give (nearly) every image to one class: its share is above
    ONE_CLASS, on average over seeds.
    """
    positive = np.array([(one > 0).mean() for one in logits])
    return bool(np.maximum(positive, 1 - positive).mean() > ONE_CLASS)


def verdict(
    difference: Difference, p_adjusted: float | None, margin: float, higher_is_better: bool = True
) -> str:
    """One of BETTER, WORSE, EQUAL, UNDECIDED.

    EQUAL: the whole interval lies within ±margin, whatever its side of zero. BETTER and WORSE: the
    p-value, adjusted for the number of rows, is below SIGNIFICANCE. With fewer than LEAST_SEEDS
    seeds (p_adjusted None) nothing can be decided.
    """
    if p_adjusted is None:
        return UNDECIDED
    low, high = difference.ci95
    if -margin < low and high < margin:
        return EQUAL
    if p_adjusted >= SIGNIFICANCE:
        return UNDECIDED
    return BETTER if (difference.value > 0) == higher_is_better else WORSE


def judge(
    found: list[Difference],
    margin: float,
    higher_is_better: bool = True,
    guessing: list[bool] | None = None,
) -> list[dict]:
    """Each difference as a dict with "p_adjusted" (Holm 1979 over those that have a p), its
    "verdict", and "by_holm": whether it is undecided although its own interval excludes zero.

    guessing: rows whose networks guess one class get MAJORITY instead.
    """
    with_p = [i for i, one in enumerate(found) if one.p is not None]
    adjusted = dict(zip(with_p, holm([found[i].p for i in with_p]), strict=True)) if with_p else {}
    rows = []
    for i, one in enumerate(found):
        p = adjusted.get(i)
        word = MAJORITY if guessing and guessing[i] else verdict(one, p, margin, higher_is_better)
        by_holm = word == UNDECIDED and p is not None and one.p < SIGNIFICANCE
        rows.append(one.as_dict() | {"p_adjusted": p, "verdict": word, "by_holm": by_holm})
    return rows
