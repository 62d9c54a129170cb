"""Is one recipe better than another? Differences that count both images and seeds, and what may be
said of them (notebook 04).

A recipe is trained with several seeds and judged on the same images as the baseline. Its result
would differ with other seeds and with other patients; both are drawn at random, like readers and
cases in a reader study (Obuchowski & Rockette 1995; Gallas 2006):

    variance of the difference = variance between images + variance between seeds

  images   from the influence of each image on the metric (for the AUC the structural components of
           DeLong et al. 1988), averaged over the seeds and summed over the images of a patient
           (Obuchowski 1997)
  seeds    the sample variance of the metric over the seeds of either recipe, each over its number
           of seeds (Welch 1947)

The interval is Student's, with the degrees of freedom of Satterthwaite (1946), to which images
count as infinitely many. With fewer than ENOUGH_SEEDS seeds of a recipe, those of the spread
between seeds are set to the fewest that they can be.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata, t

from cxr_helpers import evaluation

BETTER, WORSE, EQUAL, UNDECIDED = "lebih baik", "lebih buruk", "setara", "belum dapat diputuskan"
MAJORITY = "menebak mayoritas"
VERDICTS = (BETTER, WORSE, EQUAL, UNDECIDED, MAJORITY)
SIGNIFICANCE = 0.05
POWER = 0.8
# for a verdict; with fewer there is no telling a recipe from its luck
LEAST_SEEDS = evaluation.FEWEST_SEEDS
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
        "overconfidence": mean(evaluation.confidence(logits) - right),
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
    return float(t.ppf((1 + evaluation.LEVEL) / 2, df) * np.sqrt(variance + seeds)), float(df)


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
        single = [evaluation.area_under_curve(one, labels) for one in each]
        return float(evaluation.area_under_curve(np.mean(each, axis=0), labels) - np.mean(single))

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
    adjusted = (
        dict(zip(with_p, evaluation.holm([found[i].p for i in with_p]), strict=True))
        if with_p
        else {}
    )
    rows = []
    for i, one in enumerate(found):
        p = adjusted.get(i)
        word = MAJORITY if guessing and guessing[i] else verdict(one, p, margin, higher_is_better)
        by_holm = word == UNDECIDED and p is not None and one.p < SIGNIFICANCE
        rows.append(one.as_dict() | {"p_adjusted": p, "verdict": word, "by_holm": by_holm})
    return rows
