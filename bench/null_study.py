"""What the report's intervals and verdicts are worth: `python -m bench.null_study` (some minutes).

By simulation, with its own error (two standard errors): how often a 95% interval of each kind holds
the truth (93% at least), and how often two equal recipes are told apart (level). Images come from
patients, networks from seeds; the spread is that of the reference study (AUC .897, its standard
deviation over seeds .0133). And on that study's own seeds: the recipe is split into two groups,
every way there is, which are compared as if they were two recipes. Exit status 1 where an interval
covers too little or equal recipes come out apart too often.
"""

import itertools
import os
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from scipy.stats import norm

from cxr_helpers import evaluation, remedies
from cxr_helpers.engine.indonesian import number, percent
from cxr_helpers.evaluation import LEAST_SEEDS, SIGNIFICANCE, Measured, of_images, right
from cxr_helpers.study import open_study
from report import reference

STRENGTH, SEED_SD = 0.8945, 0.0525  # of the score, in standard deviations of an image
TRAINED = 1.9  # strength on the training images
# The score's variance: of a patient, of a recipe on a patient, of an image, of a training.
SHARES = (0.35, 0.15, 0.25, 0.25)
DESIGNS = ((3, 3), (3, 10), (5, 10), (10, 10))  # seeds of two recipes
SPREADS = (0.1, 1.0, 2.0)  # of the seeds, in units of SEED_SD
SIZES = {682: 1000, 6682: 200}  # test images, and studies that are simulated
LEAST = 0.93
SPLITS = (3, 5)  # seeds a group


# --- simulated studies ----------------------------------------------------------------------------


class Images:
    """Labels and scores of images of patients, who have one to 20 images, 2.1 on average."""

    def __init__(self, generator: np.random.Generator, n: int):
        sizes = generator.choice([1, 2, 3, 6, 20], n, p=[0.66, 0.16, 0.09, 0.07, 0.02])
        self.generator, self.n = generator, n
        self.patients = np.repeat(np.arange(n), sizes)[:n]
        self.labels = (generator.random(n) < 0.64)[self.patients].astype(int)
        self.shared = self._of_patients(SHARES[0]) + generator.normal(0, SHARES[2] ** 0.5, n)

    def _of_patients(self, variance: float) -> np.ndarray:
        return self.generator.normal(0, variance**0.5, self.n)[self.patients]

    def networks(self, strengths: np.ndarray) -> list[np.ndarray]:
        """Logits of trainings of one recipe that tell the classes apart by these strengths."""
        own = self.shared + self._of_patients(SHARES[1])
        noise = self.generator.normal(0, SHARES[3] ** 0.5, (len(strengths), self.n))
        return list((2 * self.labels - 1) * strengths[:, None] + own + noise)


def accuracy(strength: float, spread: float = 0.0) -> float:
    """True accuracy of networks whose strength spreads so over the seeds."""
    return float(norm.cdf(strength / np.sqrt(1 + spread**2)))


def auc(strength: float, spread: float = 0.0) -> float:
    return float(norm.cdf(np.sqrt(2) * strength / np.sqrt(1 + 2 * spread**2)))


def one_training(generator: np.random.Generator, n: int, strength: float) -> Iterator[tuple]:
    """(kind of interval, the interval, the truth, no p) of one network and of two epochs of it."""
    images = Images(generator, n)
    (early,), (late,) = (images.networks(np.array([s])) for s in (strength, strength + 0.05))
    found = evaluation.metrics(early, images.labels, images.patients)
    yield "akurasi", found["acc"]["ci95"], accuracy(strength), None
    yield "AUC", found["auc"]["ci95"], auc(strength), None
    hits = right([early, late], images.labels)
    moved = evaluation.change(hits[1:] - hits[:1], images.patients)
    true = accuracy(strength + 0.05) - accuracy(strength)
    yield "perubahan akurasi", moved["ci95"], true, None
    half = images.patients % 2 == 0
    groups = evaluation.compare_groups(
        hits[0][half], hits[0][~half], images.patients[half], images.patients[~half]
    )
    yield "dua kelompok citra", groups["ci95"], 0.0, groups["p"]


def gap(images: Images, training: Images, strengths: np.ndarray, test: list) -> Measured:
    """Training minus test accuracy of the networks whose test logits are given."""
    fitted = training.networks(strengths + TRAINED - STRENGTH)
    parts = ((fitted, training), (test, images))
    return evaluation.minus(*(of_images(right(g, i.labels), i.patients) for g, i in parts))


def two_recipes(
    generator: np.random.Generator, n: int, seeds: tuple[int, int], spread: float
) -> Iterator[tuple]:
    """(kind of interval, the interval, the truth, its p-value) of two recipes of equal strength."""
    images, training = Images(generator, n), Images(generator, 2306)
    strengths = [generator.normal(STRENGTH, spread, k) for k in seeds]
    logits = [images.networks(each) for each in strengths]
    ours, theirs = (evaluation.measured(each, images.labels, images.patients) for each in logits)
    mean = evaluation.estimate(ours["auc"], "auc")
    yield "rerata AUC", mean["ci95"], auc(STRENGTH, spread), None
    mean = evaluation.estimate(ours["acc"], "share")
    yield "rerata akurasi", mean["ci95"], accuracy(STRENGTH, spread), None
    apart = evaluation.difference(ours["auc"], theirs["auc"])
    yield "selisih AUC", apart.ci95, 0.0, apart.p
    gaps = [gap(images, training, *each) for each in zip(strengths, logits, strict=True)]
    true = accuracy(TRAINED, spread) - accuracy(STRENGTH, spread)
    yield "kesenjangan", evaluation.estimate(gaps[0])["ci95"], true, None
    apart = evaluation.difference(*gaps)
    yield "selisih kesenjangan", apart.ci95, 0.0, apart.p


def simulated(study: Callable[[], Iterator[tuple]], times: int) -> pd.DataFrame:
    """Coverage of each kind of interval, and how often it tells equals apart (NaN without p)."""
    studies = pd.DataFrame([line for _ in range(times) for line in study()])
    studies.columns = ["kind", "interval", "truth", "p"]
    low, high = np.array(studies["interval"].tolist()).T
    studies["covers"] = (low <= studies["truth"]) & (studies["truth"] <= high)
    studies["apart"] = (studies["p"] < SIGNIFICANCE).where(studies["p"].notna()).astype(float)
    return studies.groupby("kind", sort=False)[["covers", "apart"]].mean()


def show(title: str, times: int, outcome: pd.DataFrame) -> bool:
    """Print a line a kind of interval; whether all cover enough, within the simulation's error."""
    error = 2 * np.sqrt(0.05 * 0.95 / times)
    for kind, covers, apart in outcome.itertuples():
        level = "–" if np.isnan(apart) else percent(apart)
        print(f"| {title} | {kind} | {percent(covers)} | {level} | {percent(error)} |", flush=True)
    enough = (outcome["covers"] > LEAST - error).all()
    return bool(enough and not (outcome["apart"] > SIGNIFICANCE + error).any())


def simulate() -> bool:
    """Print coverage and level of each kind of interval."""
    generator, fine = np.random.default_rng(0), True
    print("| Rancangan | Selang | Memuat kebenaran | Dinyatakan berbeda | Galat simulasi |")
    print("|:--|:--|--:|--:|--:|")
    for n, strength in ((682, STRENGTH), (120, norm.ppf(0.97) / np.sqrt(2))):
        outcome = simulated(lambda n=n, s=strength: one_training(generator, n, s), SIZES[682])
        fine &= show(f"{n} citra, satu pelatihan", SIZES[682], outcome)
    for n, times in SIZES.items():
        for seeds, spread in itertools.product(DESIGNS, SPREADS):
            design = (generator, n, seeds, spread * SEED_SD)
            outcome = simulated(lambda design=design: two_recipes(*design), times)
            title = f"{n} citra, seed {seeds[0]} dan {seeds[1]}, ragam seed ×{number(spread, 1)}"
            fine &= show(title, times, outcome)
    return fine


# --- the reference study's own seeds --------------------------------------------------------------


def only(measured: Measured, seeds: list[int]) -> Measured:
    parts = tuple((influences[seeds], patients) for influences, patients in measured.parts)
    return Measured(measured.values[seeds], parts)


def null_rate(measured: Measured, size: int) -> tuple[float, int]:
    """Share of the splits of the seeds into two groups of `size` that come out as different, and
    their number.
    """
    groups = map(list, itertools.combinations(range(len(measured.values)), size))
    pairs = [(a, b) for a, b in itertools.combinations(groups, 2) if not set(a) & set(b)]
    apart = [evaluation.difference(only(measured, a), only(measured, b)).p for a, b in pairs]
    return float(np.mean(np.array(apart) < SIGNIFICANCE)), len(pairs)


def split(measured: dict[str, Measured]) -> bool:
    """Print the null rates; whether none is above the level of significance."""
    rates = []
    print("\n| Ukuran | Seed tiap kelompok | Pembagian | Dinyatakan berbeda |\n|:--|--:|--:|--:|")
    for question, one in measured.items():
        for size in (size for size in SPLITS if 2 * size <= len(one.values)):
            rate, pairs = null_rate(one, size)
            rates.append(rate)
            print(f"| {question} | {size} | {number(pairs, 0)} | {percent(rate)} |", flush=True)
    return max(rates, default=0.0) <= SIGNIFICANCE


def main() -> int:
    fine = simulate()
    study = open_study(
        data="phantom", weights="random", preset="full", device="cpu", precision="float32"
    )
    data = reference.with_extra(study.used)
    rows = reference.rows(reference.plan(study, data), [remedies.BASELINE.name])
    if not rows or len(rows[0].trained) < 2 * LEAST_SEEDS:
        print("Studi acuan belum mempunyai cukup seed untuk dibagi dua (`make reference`).")
        return int(not fine)
    (row,), (labels, patients) = rows, remedies.test_images(data)
    measured = {"kesenjangan": row.gap(data)}
    for n in sorted({len(data.test), len(labels)}):
        logits, who = [given[:n] for given in row.test(data)], evaluation.among(patients, slice(n))
        measured[f"AUC, {n} citra uji"] = evaluation.measured(logits, labels[:n], who)["auc"]
    return int(not (split(measured) and fine))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
