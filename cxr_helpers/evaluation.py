"""How good, how sure, and which is better: metrics with their intervals, and verdicts on recipes,
from logits and labels (notebooks 02, 03 and 04). Class 1 is the positive class. A result would be
another with other patients and with another seed; both are drawn at random, like cases and readers
in a reader study (Obuchowski & Rockette 1995; Gallas 2006):

    variance = variance between images + variance between seeds

  images   from the influence of each image on the metric (for the AUC the structural components of
           DeLong et al. 1988), averaged over the seeds and summed over the images of a patient
           (Obuchowski 1997); None for the patients: each image counts for itself
  seeds    the sample variance of the metric over the seeds, over their number (Welch 1947)

The interval is Student's with Satterthwaite's degrees of freedom (1946), of a share and the AUC it
is Wilson's (1927); below LEAST_SEEDS seeds it counts images alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import expit
from scipy.stats import rankdata, t
from statsmodels.stats.multitest import multipletests

LEVEL = 0.95
NORMAL = float(t.ppf((1 + LEVEL) / 2, np.inf))
LEAST_SEEDS = 3  # for a verdict; with fewer there is no telling a recipe from its luck
# With fewer seeds of a recipe Welch's degrees of freedom, themselves an estimate, are set to their
# least: else bench.null_study, splitting one recipe's seeds, finds a difference in more than 5%.
ENOUGH_SEEDS = 5
BINS = 15  # of the expected calibration error, as in Guo et al. 2017
DRAWS = 2000  # of labels, to see what chance does to the calibration error
BETTER, WORSE, EQUAL, UNDECIDED = "lebih baik", "lebih buruk", "setara", "belum dapat diputuskan"
MAJORITY = "menebak mayoritas"
VERDICTS = (BETTER, WORSE, EQUAL, UNDECIDED, MAJORITY)
SIGNIFICANCE = 0.05
POWER = 0.8
ONE_CLASS = 0.95  # a network that gives more of its predictions to one class guesses
# Set before any result was seen: smaller differences change nothing for a user of the network. That
# the gap is that to the test images was decided after.
MARGIN = {"auc": 0.01, "gap": 0.02}
KINDS = {"auc": "auc", "overconfidence": "plain"}  # of interval; the other metrics are shares


# --- images and their patients --------------------------------------------------------------------


def among(patients: np.ndarray | None, which: np.ndarray | slice) -> np.ndarray | None:
    """The patients of some images (a mask, row numbers or a slice); None where they are unknown."""
    return None if patients is None else patients[which]


def n_patients(patients: np.ndarray | None, which: np.ndarray | slice = slice(None)) -> int | None:
    """How many patients some images show; None where they are unknown."""
    return None if patients is None else len(np.unique(patients[which]))


def right(logits: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    """Right decisions as 1, others as 0 (seeds, N), of logits (N,) a seed; NaN of NaN."""
    logits = np.stack(logits)
    return np.where(np.isnan(logits), np.nan, (logits > 0) == (labels == 1))


def loss(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Binary cross-entropy of each image, shape as logits (..., N)."""
    return np.logaddexp(0, np.where(labels == 1, -logits, logits))


def confidence(logits: np.ndarray) -> np.ndarray:
    """Probability of the predicted class, in [0.5, 1]; shape as logits."""
    return expit(np.abs(logits))


def majority_share(labels: np.ndarray) -> float:
    """Accuracy of always guessing the more frequent class of labels (N,) in {0, 1}."""
    return float(max(labels.mean(), 1 - labels.mean()))


# --- metrics, and what each image adds to them ----------------------------------------------------


def area_under_curve(score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Area under the ROC curve of arrays (..., N), ties as one half (Hanley & McNeil 1982)."""
    positive = labels == 1
    n_positive, n = positive.sum(-1), labels.shape[-1]
    ranks = rankdata(score, axis=-1)
    rank_sum = np.where(positive, ranks, 0).sum(-1)
    return (rank_sum - n_positive * (n_positive + 1) / 2) / (n_positive * (n - n_positive))


def placements(score: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image (N,) the share of the other class's images that it is on the right side of
    (ties: one half); their mean over either class is the AUC (DeLong et al. 1988).
    """
    positive, below = labels == 1, np.empty(len(labels))
    everywhere = rankdata(score)
    for which in (positive, ~positive):
        below[which] = (everywhere[which] - rankdata(score[which])) / (~which).sum()
    return np.where(positive, below, 1 - below)


def influence(
    logits: np.ndarray, labels: np.ndarray, threshold: float = 0.0
) -> dict[str, tuple[float, np.ndarray]]:
    """{metric: (value, influence (N,))} of logits (N,): what each image adds to the metric, which
    sums to zero. acc_chosen decides at `threshold` (a logit), the others at p = 0.5; brier: Brier
    1950; overconfidence: the mean probability of the predicted class minus acc.
    """
    positive, chosen = labels == 1, logits > 0
    hits, everything = (chosen == positive).astype(float), np.ones(len(labels), bool)

    def mean(values: np.ndarray, which: np.ndarray = everything) -> tuple[float, np.ndarray]:
        value = values[which].mean()
        return float(value), which * (values - value) / which.sum()

    place, both = placements(logits, labels), positive.sum() + chosen.sum()
    (auc, of_positive), (_, of_negative) = mean(place, positive), mean(place, ~positive)
    (hit, of_hit), (kept, of_kept) = mean(hits, positive), mean(hits, ~positive)
    f1 = 2 * (positive & chosen).sum() / both
    of_f1 = (2.0 * (positive & chosen) - f1 * (positive.astype(float) + chosen)) / both
    return {
        "auc": (auc, of_positive + of_negative),
        "acc": mean(hits),
        "acc_chosen": mean((logits > threshold) == positive),
        "balanced_acc": ((hit + kept) / 2, (of_hit + of_kept) / 2),
        "sensitivity": (hit, of_hit),
        "specificity": (kept, of_kept),
        "f1": (float(f1), of_f1),
        "brier": mean((expit(logits) - positive) ** 2),
        "overconfidence": mean(confidence(logits) - hits),
    }


@dataclass(frozen=True)
class Measured:
    """A metric of one recipe, seed by seed: values (k,), and independent sets of images, each as
    (influences (k, n) on every seed's value, patients (n,) or None).
    """

    values: np.ndarray
    parts: tuple[tuple[np.ndarray, np.ndarray | None], ...]

    def image_variance(self) -> float:
        """Variance between images of the mean over the seeds."""
        return sum(image_variance(each.mean(axis=0), patients) for each, patients in self.parts)

    def image_freedom(self) -> float:
        """Degrees of freedom, of a χ² that varies alike: few where few patients make most of it."""
        sums = [of_patients(each.mean(axis=0), patients) for each, patients in self.parts]
        spread = sum((each**4).sum() - (each**2).sum() ** 2 / len(each) for each in sums)
        return 2 * sum((each**2).sum() for each in sums) ** 2 / spread if spread > 0 else np.inf

    def seed_variance(self) -> float:
        """Variance between seeds of their mean, without what the variance between images holds
        already: by how much more single seeds vary between images than their mean does. May be
        negative by chance.
        """
        k = len(self.values)
        alone = [image_variance(i, patients) for each, patients in self.parts for i in each]
        shared = (sum(alone) / k - self.image_variance()) / (k - 1)
        return float(np.var(self.values, ddof=1)) / k - shared

    def effective_size(self, variance: float, patients_alone: bool = False) -> float:
        """How many independent images would know a share with this variance as well, at most as
        many as there are (or patients); where all are alike those of Kish (1965): N² / Σ sizes².
        """
        value, (influences, patients) = float(self.values.mean()), self.parts[0]
        n = influences.shape[1]
        sizes = of_patients(np.ones(n), patients)
        if value in (0, 1) or len(sizes) == 1:
            return float(n**2 / (sizes**2).sum())
        most = len(sizes) if patients_alone else n
        return min(float(most), value * (1 - value) / max(variance, 1e-12))


def of_patients(influences: np.ndarray, patients: np.ndarray | None) -> np.ndarray:
    """Influences of images (N,), summed over each patient's."""
    if patients is None:
        return influences
    return np.bincount(np.unique(patients, return_inverse=True)[1], influences)


def image_variance(influences: np.ndarray, patients: np.ndarray | None = None) -> float:
    """Variance of a metric from each image's influence (N,), by patients."""
    sums = of_patients(influences, patients)
    n = len(sums)
    return float(n / (n - 1) * (sums**2).sum()) if n > 1 else np.inf


def of_images(values: np.ndarray, patients: np.ndarray | None = None) -> Measured:
    """A mean over images: values (seeds, N) or (N,); NaN, what an epoch did not visit, is out."""
    values = np.atleast_2d(np.asarray(values, float))
    seen = ~np.isnan(values)
    mean = np.nanmean(values, axis=1, keepdims=True)
    influences = np.where(seen, values - mean, 0) / seen.sum(axis=1, keepdims=True)
    return Measured(mean[:, 0], ((influences, patients),))


def minus(a: Measured, b: Measured) -> Measured:
    """a − b, of the same seeds on two independent sets of images, as the gap."""
    negative = tuple((-influences, patients) for influences, patients in b.parts)
    return Measured(a.values - b.values, a.parts + negative)


def measured(
    logits: Sequence[np.ndarray],
    labels: np.ndarray,
    patients: np.ndarray | None = None,
    thresholds: Sequence[float] | None = None,
) -> dict[str, Measured]:
    """Every metric of `influence` from logits (N,) and thresholds (None: 0), one a seed."""
    pairs = zip(logits, thresholds or [0.0] * len(logits), strict=True)
    seeds = [influence(given, labels, threshold) for given, threshold in pairs]
    images, result = {"sensitivity": labels == 1, "specificity": labels == 0}, {}
    for metric in seeds[0]:
        which = images.get(metric, slice(None))
        values, influences = zip(*(seed[metric] for seed in seeds), strict=True)
        part = np.stack(influences)[:, which], among(patients, which)
        result[metric] = Measured(np.array(values), (part,))
    return result


# --- intervals ------------------------------------------------------------------------------------


def wilson(share: float, n: float, quantile: float = NORMAL) -> list[float]:
    """Wilson's score interval (1927) of a share of n images, which may be fractional."""
    middle = (share + quantile**2 / (2 * n)) / (1 + quantile**2 / n)
    half = np.sqrt(share * (1 - share) / n + quantile**2 / (4 * n**2)) * quantile
    half /= 1 + quantile**2 / n
    # at 0 and 1 a bound is the share itself, which rounding would miss
    low, high = min(share, float(middle - half)), max(share, float(middle + half))
    return [max(0.0, low), min(1.0, high)]


def freedom(*parts: tuple[float, float]) -> float:
    """Degrees of freedom of a sum of variances, from (variance, its own degrees) each."""
    least = sum(variance**2 / df for variance, df in parts if variance and df < np.inf)
    return sum(variance for variance, _ in parts) ** 2 / least if least else np.inf


def tested(value: float, *parts: tuple[float, float]) -> dict:
    """{"value", "ci95", "p" (two-sided, against 0)} from the parts of the variance, as freedom."""
    df, error = freedom(*parts), np.sqrt(sum(variance for variance, _ in parts))
    half = float(t.ppf((1 + LEVEL) / 2, df) * error)
    p = float(2 * t.sf(abs(value) / max(error, 1e-300), df))
    return {"value": value, "ci95": [value - half, value + half], "p": p}


def estimate(recipe: Measured, kind: str = "plain") -> dict:
    """{"value", "ci95", "sd" (None for one seed)}. kind: "share" has Wilson's interval at the
    number of images that would have this variance, with Student's quantile, so that it has a width
    at 0 and 1; "auc" too, where patients count, not their images.
    """
    k, value, variance = len(recipe.values), float(np.mean(recipe.values)), recipe.image_variance()
    sd = float(np.std(recipe.values, ddof=1)) if k > 1 else None
    seeds = max(0.0, recipe.seed_variance()) if k >= LEAST_SEEDS else 0.0
    if kind == "plain":
        ci = tested(value, (variance, recipe.image_freedom()), (seeds, k - 1))["ci95"]
    else:
        n = recipe.effective_size(variance + seeds, patients_alone=kind == "auc")
        df = freedom((variance, np.inf), (seeds, k - 1))
        ci = wilson(value, n, float(t.ppf((1 + LEVEL) / 2, df)))
    return {"value": value, "ci95": ci, "sd": sd}


def prediction(recipe: Measured, kind: str = "plain", trainings: int = 1) -> dict:
    """The estimate with the 95% interval of the mean of so many further trainings: their spread
    joins the mean's by square-and-add (Hahn & Meeker 1991); below LEAST_SEEDS, images alone.
    """
    result, k = estimate(recipe, kind), len(recipe.values)
    if k < LEAST_SEEDS:
        return result
    spread = t.ppf((1 + LEVEL) / 2, k - 1) * result["sd"] / np.sqrt(trainings)
    half = np.hypot(np.subtract(result["ci95"], result["value"]), spread)
    ends = result["value"] + half * [-1, 1]
    return result | {"ci95": (ends if kind == "plain" else ends.clip(0, 1)).tolist()}


def share(hits: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """{"value", "ci95"} of hits (N,) or their means over seeds, of images alone; of none NaN."""
    if len(hits) == 0:
        return {"value": float("nan"), "ci95": [float("nan")] * 2}
    result = estimate(of_images(hits, patients), "share")
    return {"value": result["value"], "ci95": result["ci95"]}


def metrics(
    logits: np.ndarray | Sequence[np.ndarray],
    labels: np.ndarray,
    patients: np.ndarray | None = None,
    thresholds: Sequence[float] | None = None,
) -> dict:
    """{"n", "patients", "majority", metric: estimate} for each metric of `influence`, and "ece":
    {"value"}; of logits (N,), or one array a seed, and labels (N,) in {0, 1}.
    """
    seeds = list(np.atleast_2d(np.stack(logits)))
    # A network's logits spread so rarely; those of an untrained one tell nothing at a half.
    confined = 0 <= np.min(seeds) < 0.1 and 0.9 < np.max(seeds) <= 1
    if confined and np.mean((np.stack(seeds) > 0.5) == labels) > majority_share(labels):
        cure = "bila itu probabilitas p, berikan logitnya, scipy.special.logit(p)"
        print(f"Catatan: metrics menerima logit, dan semua nilai ini antara 0 dan 1; {cure}.")
    ece = [expected_calibration_error(expit(given), labels) for given in seeds]
    every = measured(seeds, labels, patients, thresholds)
    return {
        "n": len(labels),
        "patients": n_patients(patients),
        "majority": majority_share(labels),
        **{name: estimate(measure, KINDS.get(name, "share")) for name, measure in every.items()},
        "ece": {"value": float(np.mean(ece))},
    }


def unpaired(a: dict, b: dict) -> dict:
    """a − b of estimates on other images, with its "side", by square-and-add (Newcombe 1998)."""
    value, (a_low, a_high), (b_low, b_high) = a["value"] - b["value"], a["ci95"], b["ci95"]
    low = float(value - np.hypot(a["value"] - a_low, b_high - b["value"]))
    high = float(value + np.hypot(a_high - a["value"], b["value"] - b_low))
    return {"value": value, "ci95": [low, high], "side": side([low, high])}


def change(moved: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """Mean change of decisions (seeds, N) on the same images, without NaN: {"value", "ci95", "side"
    of zero}; never narrower than gains minus losses, as two shares (Zou & Donner 2008).
    """
    whole = estimate(of_images(moved, patients))
    seen = ~np.isnan(moved).all(axis=0)
    mean, who = np.nanmean(moved[:, seen], axis=0), among(patients, seen)
    least = unpaired(share(np.maximum(mean, 0), who), share(np.maximum(-mean, 0), who))["ci95"]
    # of a single patient the variance is not known: no narrower than what is possible
    ci = [max(-1.0, min(whole["ci95"][0], least[0])), min(1.0, max(whole["ci95"][1], least[1]))]
    return {"value": whole["value"], "ci95": ci, "side": side(ci)}


def side(ci: Sequence[float], of: float = 0.0) -> str:
    """Where an interval (low, high) lies: "above" or "below" the value `of`, or "across" it."""
    low, high = ci
    if low > of:
        return "above"
    return "below" if high < of else "across"


# --- two recipes ----------------------------------------------------------------------------------


def _df_seeds(parts: Sequence[tuple[float, int]]) -> float:
    """Degrees of freedom (Welch 1947) of a variance that is a sum of parts, one a recipe: (variance
    of its mean, its seeds); below ENOUGH_SEEDS the fewest they can be.
    """
    fewest = min(k for _, k in parts)
    return fewest - 1 if fewest < ENOUGH_SEEDS else freedom(*((part, k - 1) for part, k in parts))


def difference(ours: Measured, theirs: Measured) -> dict:
    """A recipe's mean over the seeds minus another's on the same images, as `tested`. Where one has
    fewer than LEAST_SEEDS, the interval counts images alone and p is None.
    """
    value = float(np.mean(ours.values) - np.mean(theirs.values))
    variance = 0.0
    for (a, patients), (b, _) in zip(ours.parts, theirs.parts, strict=True):
        apart = a.mean(axis=0) - b.mean(axis=0)
        # of two that guess alike: that none of these images moved is a share of 0, not a certainty
        unseen = wilson(0, n_patients(patients) or len(apart))[1] / NORMAL
        variance += image_variance(apart, patients) or unseen**2
    recipes = (ours.values, theirs.values)
    if min(map(len, recipes)) < LEAST_SEEDS:
        return tested(value, (variance, np.inf)) | {"p": None}
    seeds = max(0.0, ours.seed_variance() + theirs.seed_variance())
    parts = [(np.var(values, ddof=1) / len(values), len(values)) for values in recipes]
    return tested(value, (variance, np.inf), (seeds, _df_seeds(parts)))


def ensemble_difference(
    logits: list[np.ndarray], labels: np.ndarray, patients: np.ndarray | None = None
) -> dict:
    """AUC of the mean of the logits (one array (N,) a seed, three at least) minus the mean of their
    AUCs; its variance between seeds is the jackknife's (Efron & Tibshirani 1993, ch. 11).
    """

    def gain(seeds: list[np.ndarray]) -> float:
        single = [area_under_curve(given, labels) for given in seeds]
        return float(area_under_curve(np.mean(seeds, axis=0), labels) - np.mean(single))

    k, single = len(logits), measured(logits, labels)["auc"].parts[0][0].mean(axis=0)
    apart = influence(np.mean(logits, axis=0), labels)["auc"][1] - single
    without = np.array([gain(logits[:i] + logits[i + 1 :]) for i in range(k)])
    seeds = (k - 1) / k * ((without - without.mean()) ** 2).sum()
    images = image_variance(apart, patients), np.inf
    return tested(gain(logits), images, (float(seeds), k - 1))


def plan(recipe: Measured, seeds: int, partners: int, rows: int = 1, between: float = 0) -> dict:
    """What a study with so many seeds of a remedy and of its partner, which both spread as this
    recipe, shows in POWER of all cases (Cohen 1988, ch. 2): "seen", a true difference of this size,
    at Holm's first step among `rows` remedies; "equal", that equal recipes are EQUAL within it.
    between: variance between images of what sets two recipes apart, however many their seeds.
    """
    influences, patients = recipe.parts[0]
    apart = [image_variance(a - b, patients) for a, b in combinations(influences, 2)]
    parts = [(np.var(recipe.values, ddof=1) / k, k) for k in (seeds, partners)]
    whole = between + sum(part for part, _ in parts)
    # what a training makes of these images is in the variance between seeds, as in `difference`
    images = min(whole, between + np.mean(apart) / 2 * (1 / seeds + 1 / partners))
    df = freedom((images, np.inf), (whole - images, _df_seeds(parts)))
    seen = t.ppf(1 - SIGNIFICANCE / rows / 2, df) + t.ppf(POWER, df)
    equal = t.ppf((1 + LEVEL) / 2, df) + t.ppf((1 + POWER) / 2, df)
    return {"seen": float(seen * np.sqrt(whole)), "equal": float(equal * np.sqrt(whole))}


def holm(p_values: list[float]) -> list[float]:
    """p-values adjusted by Holm's step-down procedure (Holm 1979), in the order given."""
    return multipletests(p_values, method="holm")[1].tolist() if p_values else []


def guesses(logits: list[np.ndarray]) -> bool:
    """Whether a recipe's networks give more than ONE_CLASS of the images to one class."""
    positive = np.array([(given > 0).mean() for given in logits])
    return bool(np.maximum(positive, 1 - positive).mean() > ONE_CLASS)


def verdict(
    difference: dict, p_adjusted: float | None, margin: float, higher_is_better: bool = True
) -> str:
    """EQUAL: the whole interval lies within ±margin, whatever its side of zero; BETTER or WORSE:
    the adjusted p-value is below SIGNIFICANCE; else, and without a p-value, UNDECIDED.
    """
    if p_adjusted is None:
        return UNDECIDED
    low, high = difference["ci95"]
    if -margin < low and high < margin:
        return EQUAL
    if p_adjusted >= SIGNIFICANCE:
        return UNDECIDED
    return BETTER if (difference["value"] > 0) == higher_is_better else WORSE


def judge(
    differences: list[dict], metric: str, guessing: Sequence[bool], earlier: Sequence[float] = ()
) -> list[dict]:
    """Each difference in a metric of MARGIN with "p_adjusted" (Holm 1979 over those that have a p
    and over `earlier`, the p-values of what was compared before), its "verdict" (MAJORITY where the
    networks are guessing), "by_holm": whether it is undecided although its own p is small, and
    "narrow": whether its interval could lie within the margin.
    """
    own = [row["p"] for row in differences if row["p"] is not None]
    adjusted, margin, rows = iter(holm([*own, *earlier])), MARGIN[metric], []
    for row, guessed in zip(differences, guessing, strict=True):
        p = None if row["p"] is None else next(adjusted)
        word = MAJORITY if guessed else verdict(row, p, margin, metric == "auc")
        by_holm = word == UNDECIDED and p is not None and row["p"] < SIGNIFICANCE
        narrow = p is not None and row["ci95"][1] - row["ci95"][0] < 2 * margin
        judged = {"p_adjusted": p, "verdict": word, "by_holm": by_holm, "narrow": narrow}
        rows.append(row | judged)
    return rows


# --- thresholds and calibration -------------------------------------------------------------------


def chosen_threshold(logits: np.ndarray, labels: np.ndarray) -> float:
    """The logit above which to decide for class 1 so that most are right; of ties nearest to 0."""
    score = np.unique(logits)
    between = np.concatenate([[score[0] - 1], (score[1:] + score[:-1]) / 2, [score[-1] + 1]])
    correct = np.array([((logits > limit) == (labels == 1)).sum() for limit in between])
    best = between[correct == correct.max()]
    return float(best[np.abs(best).argmin()])


def expected_calibration_error(probability: np.ndarray, labels: np.ndarray) -> float:
    """ECE of the predicted class over 15 bins of equal width (Guo et al. 2017, eq. 3)."""
    predicted = probability > 0.5
    sure = np.where(predicted, probability, 1 - probability)
    bins = np.minimum((sure * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, (predicted == (labels == 1)) - sure)
    return float(np.abs(gaps).sum() / len(labels))


def calibration(logits: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None) -> dict:
    """The measured ECE of logits (N,) beside what a calibrated network with these logits would show
    by chance, mean "value" and "range95": labels are drawn from its probabilities (consistency
    resampling: Bröcker & Smith 2007), one draw a patient.
    """
    probability, who = expit(logits), np.arange(len(logits))
    if patients is not None:
        who = np.unique(patients, return_inverse=True)[1]
    generator, errors = np.random.default_rng(0), []
    for _ in range(DRAWS):
        drawn = generator.random(who.max() + 1)[who] < probability
        errors.append(expected_calibration_error(probability, drawn))
    chance = np.quantile(errors, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
    measured = expected_calibration_error(probability, labels)
    return {
        "ece_measured": measured,
        "ece_chance": {"value": float(np.mean(errors)), "range95": chance},
        "beyond_chance": measured > chance[1],
    }


def reliability(
    logits: np.ndarray, labels: np.ndarray, patients: np.ndarray | None = None
) -> list[dict]:
    """A row a non-empty bin of the predicted class: confidence, n, and the accuracy's estimate."""
    sure, hits = confidence(logits), (logits > 0) == (labels == 1)
    places, rows = np.minimum((sure * BINS).astype(int), BINS - 1), []
    for inside in (places == place for place in np.unique(places)):
        row = {"confidence": sure[inside].mean(), "n": inside.sum()}
        rows.append(row | share(hits[inside], among(patients, inside)))
    return rows
